//! The report of what a file has to do with what is there.

use ptest::apply::{Action, Applied, Difference, Plan, Planned, PlannedHook};
use serde::Serialize;

use crate::{ErrorDto, HookDto, Report};

/// What `apply` writes.
#[derive(Debug, Serialize)]
pub struct AppliedReport {
    /// What the file is known by: the name that it gives itself, or its path.
    source: String,
    /// Whether everything is as the file says, now that it was applied or planned.
    converged: bool,
    environments: Vec<StepDto>,
    hooks: Vec<PlannedHookDto>,
}

/// One environment.
#[derive(Debug, Serialize)]
struct StepDto {
    name: String,
    /// `keep`, `create`, `change`, `recreate`, `remove` or `refuse`.
    action: &'static str,
    /// `done`, `failed`, `planned`, or `waiting` for `--recreate` or `--prune`.
    result: &'static str,
    differences: Vec<DifferenceDto>,
    error: Option<ErrorDto>,
}

/// One hook of the file.
#[derive(Debug, Serialize)]
struct PlannedHookDto {
    /// `keep`, `create` or `remove`.
    action: &'static str,
    #[serde(flatten)]
    hook: HookDto,
}

/// Something that is, or was, not as the file says.
#[derive(Debug, Serialize)]
struct DifferenceDto {
    what: String,
    /// What was there; null where it was not set.
    found: Option<String>,
    wanted: Option<String>,
}

impl AppliedReport {
    /// What was done.
    pub fn new(source: String, applied: Vec<Applied>, hooks: Vec<PlannedHook>) -> Self {
        let converged = applied.iter().all(|step| step.result.is_ok());
        let environments = applied
            .into_iter()
            .map(|Applied { planned, result }| {
                let mut step = StepDto::of(planned, "done");
                if let Err(error) = result {
                    step.result = "failed";
                    step.error = Some((&error).into());
                }
                step
            })
            .collect();
        Self {
            source,
            converged,
            environments,
            hooks: hooks.into_iter().map(PlannedHookDto::from).collect(),
        }
    }

    /// What would be done.
    pub fn planned(plan: Plan) -> Self {
        let converged = plan.is_converged();
        let steps = plan.steps.into_iter();
        Self {
            source: plan.source,
            converged,
            environments: steps.map(|step| StepDto::of(step, "planned")).collect(),
            hooks: plan.hooks.into_iter().map(PlannedHookDto::from).collect(),
        }
    }
}

impl StepDto {
    fn of(planned: Planned, result: &'static str) -> Self {
        let is_waiting = !planned.is_allowed && planned.action != Action::Refuse;
        let differences = planned.differences.into_iter();
        Self {
            name: planned.label,
            action: planned.action.as_str(),
            result: if is_waiting { "waiting" } else { result },
            differences: differences.map(DifferenceDto::from).collect(),
            error: None,
        }
    }
}

impl From<PlannedHook> for PlannedHookDto {
    fn from(planned: PlannedHook) -> Self {
        Self {
            action: planned.action.as_str(),
            hook: planned.hook.into(),
        }
    }
}

impl From<Difference> for DifferenceDto {
    fn from(difference: Difference) -> Self {
        Self {
            what: difference.what,
            found: difference.found,
            wanted: difference.wanted,
        }
    }
}

impl Report for AppliedReport {
    const NAME: &'static str = "ptest.applied";

    fn samples() -> Vec<Self> {
        let difference = |found: Option<&str>, wanted: Option<&str>| DifferenceDto {
            what: "memory".to_owned(),
            found: found.map(str::to_owned),
            wanted: wanted.map(str::to_owned),
        };
        let step = |error| StepDto {
            name: "web".to_owned(),
            action: "change",
            result: "done",
            differences: vec![difference(Some("1"), None), difference(None, Some("2"))],
            error,
        };
        let errors = ErrorDto::samples().into_iter().map(Some);
        vec![Self {
            source: "/project/environments.toml".to_owned(),
            converged: true,
            environments: errors.chain([None]).map(step).collect(),
            hooks: HookDto::samples()
                .into_iter()
                .map(|hook| PlannedHookDto {
                    action: "keep",
                    hook,
                })
                .collect(),
        }]
    }
}
