//! `ptest apply`: environments as a file declares them.

use std::path::PathBuf;

use clap::Args;
use ptest::{
    EnvironmentSpec, Lifetime,
    apply::{Action, Allowed, Applied, Declared, Difference, File, Plan, PlannedHook},
};

use crate::{
    commands::many,
    context::Context,
    error::CliError,
    exit_code::Exit,
    host::Host,
    options::{Format, ReportOptions},
    progress::Shown,
    spec, table,
    ui::Ui,
};
use ptest_report::AppliedReport;

/// Bring environments to what a file says: make those that are not there, change those that differ.
///
/// Applying a file twice does nothing the second time; after a failure the next time goes on. What the file did not make
/// is never touched. Ends with 1 if anything is not as the file says.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The file.
    file: PathBuf,

    /// Only show what would be done.
    #[arg(long)]
    plan: bool,

    /// Take away what the file made and does not name any more.
    #[arg(long)]
    prune: bool,

    /// Make anew what cannot be changed where it stands; what commands wrote in it is lost.
    #[arg(long)]
    recreate: bool,

    /// Choose versions anew, whatever is known.
    #[arg(long)]
    refresh: bool,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let host = context.host();
    let file = File::read(&host.absolute(&arguments.file), &config, host.home())?;
    let _signals = context.stop_making_on_signals()?;
    let store = context.open(&config, arguments.refresh)?;
    let specs = specs(&ui, host, &file)?;
    let allowed = Allowed {
        recreate: arguments.recreate,
        prune: arguments.prune,
    };
    let progress = Shown::new(&ui);
    let plan = store.plan(&file.source, &specs, &file.hooks, allowed, &progress)?;
    if arguments.plan {
        drop(progress);
        show(&ui, arguments.report.format, plan)?;
        return Ok(Exit::Success);
    }
    let hooks = plan.hooks.clone();
    let applied = store.apply(plan, &progress)?;
    drop(progress);
    let converged = applied.iter().all(|step| step.result.is_ok());
    if arguments.report.format == Format::Text {
        say(&ui, &applied, &hooks);
    }
    many::explain(&ui, &failed(&applied));
    if arguments.report.format == Format::Json {
        ui.json(&AppliedReport::new(file.source, applied, hooks))?;
    }
    Ok(if converged {
        Exit::Success
    } else {
        Exit::Findings
    })
}

fn failed(applied: &[Applied]) -> Vec<(String, CliError)> {
    let each = applied.iter().filter_map(|step| {
        let error = step.result.as_ref().err()?.clone();
        Some((step.planned.label.clone(), error.into()))
    });
    each.collect()
}

/// What the file declares, as what is asked for: everything in it is seen from where it lies.
fn specs(ui: &Ui, host: &Host, file: &File) -> Result<Vec<EnvironmentSpec>, CliError> {
    let host = Host {
        working_directory: Some(file.directory.clone()),
        ..host.clone()
    };
    let seen = host.library();
    let specs = file.environments.iter().map(|Declared { name, asked }| {
        asked.environment(&seen, &seen, Some(name.clone()), Lifetime::Detached)
    });
    let specs = specs.collect::<ptest::Result<Vec<_>>>()?;
    if let Some(first) = specs.first() {
        // What is said of the directory is the same for all.
        spec::warn(ui, &host, &first.settings)?;
    }
    Ok(specs)
}

fn show(ui: &Ui, format: Format, plan: Plan) -> Result<(), CliError> {
    if format == Format::Json {
        return ui.json(&AppliedReport::planned(plan));
    }
    let converged = plan.is_converged();
    let rows: Vec<Vec<String>> = plan
        .steps
        .iter()
        .map(|step| {
            vec![
                step.action.as_str().to_owned(),
                step.label.clone(),
                remark(step.action, step.is_allowed, &step.differences),
            ]
        })
        .collect();
    let of_hooks = plan.hooks.iter().map(|planned| {
        let PlannedHook { hook, action } = planned;
        let called = format!("{} calls {}", hook.events.join(", "), hook.action);
        vec![action.as_str().to_owned(), "(hook)".to_owned(), called]
    });
    let rows: Vec<Vec<String>> = rows.into_iter().chain(of_hooks).collect();
    if rows.is_empty() {
        ui.note("the file names no environment");
    } else {
        ui.data(table::render(&["ACTION", "NAME", "WHY"], &rows))?;
    }
    if converged && !rows.is_empty() {
        ui.note("everything is as the file says");
    }
    Ok(())
}

fn remark(action: Action, is_allowed: bool, differences: &[Difference]) -> String {
    let differ = differences.iter().map(|it| {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        format!("{}: {} -> {}", it.what, value(&it.found), value(&it.wanted))
    });
    let mut words: Vec<String> = differ.collect();
    words.extend(match (action, is_allowed) {
        (Action::Remove, false) => Some("not in the file any more; only with --prune".to_owned()),
        (Action::Remove, true) => Some("not in the file any more".to_owned()),
        (Action::Recreate, false) => Some("only with --recreate".to_owned()),
        (Action::Refuse, _) => Some("the file did not make it".to_owned()),
        _ => None,
    });
    words.join("; ")
}

fn say(ui: &Ui, applied: &[Applied], hooks: &[PlannedHook]) {
    for PlannedHook { hook, action } in hooks {
        match action {
            Action::Create => ui.done("Hooked", &hook.action),
            Action::Remove => ui.done("Unhooked", &hook.action),
            _ => {}
        }
    }
    let mut kept = 0;
    for Applied { planned, result } in applied {
        let verb = match planned.action {
            _ if result.is_err() => continue,
            Action::Remove if !planned.is_allowed => {
                ui.note(format_args!(
                    "{} is not in the file any more; `--prune` takes it away",
                    planned.label
                ));
                continue;
            }
            Action::Keep | Action::Refuse => {
                kept += 1;
                continue;
            }
            Action::Create => "Created",
            Action::Change => "Changed",
            Action::Recreate => "Recreated",
            Action::Remove => "Removed",
        };
        ui.done(verb, &planned.label);
    }
    if kept > 0 {
        ui.note(format_args!("{kept} as the file says already"));
    }
}
