//! `ptest matrix`: one command in each cell of a matrix.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use ptest::{
    Lifetime,
    config::{Config, Timeout},
    engine::ExitStatus,
    matrix::{
        CellPlan, CellResult, Declared, Install, Outcome, RequirementSet, RunOptions, installable,
        merge, plan, told,
    },
    python::HostEnv,
};

use crate::{
    cells::{Cells, outcome},
    context::Context,
    error::CliError,
    exit_code::Exit,
    host::Host,
    options::{CommandOptions, EnvironmentOptions, Format, ReportOptions, TimeOptions, words},
    spec, table,
    ui::Ui,
};
use ptest_report::MatrixReport;

/// Run a command in each cell of a matrix: interpreters, sets of requirements, variables. Each has a fresh environment.
///
/// What is not said here is as `[tool.ptest.matrix]` in pyproject.toml, or `[matrix]` in ptest.toml, has it. Ends with the
/// code of the worst cell.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// These interpreters, with commas between them or given several times.
    #[arg(long, short, value_name = "PYTHON", value_delimiter = ',')]
    python: Vec<String>,

    /// A set with this requirement; several with one name are one set, and `NAME=` is one with nothing in it.
    #[arg(long, value_name = "NAME=REQUIREMENT", value_parser = named)]
    with_set: Vec<(String, String)>,

    /// Only these cells.
    #[arg(long, value_name = "NAME")]
    cell: Vec<String>,

    /// Show which cells there are, and run none.
    #[arg(long)]
    list: bool,

    /// How the project itself is installed [default: wheel].
    #[arg(long, value_name = "HOW", value_parser = words::<Install>(Install::WORDS))]
    install: Option<Install>,

    /// Run so many at a time [default: as many as there are processors].
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    jobs: Option<u32>,

    /// End the others when one fails.
    #[arg(long)]
    fail_fast: bool,

    /// Write the test results of all cells to this file. pytest writes its own; other commands write to the file that
    /// `{junit}` in the command or the variable PTEST_JUNIT_XML names, or the command itself is one test.
    #[arg(long, value_name = "FILE")]
    junit_xml: Option<PathBuf>,

    /// Keep what the commands write in this directory, one file for each cell [default: in the store, until the next
    /// matrix of the project].
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,

    #[command(flatten)]
    environment: EnvironmentOptions,

    #[command(flatten)]
    command_options: CommandOptions,

    #[command(flatten)]
    time: TimeOptions,

    #[command(flatten)]
    report: ReportOptions,

    /// The command and its arguments; `{cell}` in it is the name of the cell.
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config_for(ui, arguments.environment.profile)?;
    let declared = declared(context, &arguments)?;
    let cells = cells(&ui, context, &config, &declared, &arguments)?;
    if arguments.list {
        return list(&ui, arguments.report.format, &cells);
    }
    let signals = context.stop_making_on_signals()?;
    let store = context.open(&config, arguments.environment.refresh)?;
    let host = context.host();
    let project = &cells[0].spec.settings.project.root;
    let output = match &arguments.output {
        Some(directory) => host.absolute(directory),
        None => store.matrix_output(project)?,
    };
    let cannot_write = |path: &Path, source| CliError::Write {
        what: path.display().to_string(),
        source,
    };
    fs::create_dir_all(&output).map_err(|source| cannot_write(&output, source))?;
    let options = RunOptions {
        jobs: arguments.jobs.or(declared.jobs).map(|jobs| jobs as usize),
        fail_fast: arguments.fail_fast,
        results: arguments.junit_xml.is_some(),
        output,
        working_directory: host.working_directory.clone(),
        caller: host.variables.clone(),
        timeout: arguments
            .time
            .timeout
            .or(*config.timeout)
            .map(Timeout::duration),
        grace: arguments.time.grace.unwrap_or(*config.grace),
    };
    let results = {
        let shown = Cells::new(&ui, &cells);
        store.run_matrix(&cells, &options, &shown)
    };
    let pairs: Vec<_> = cells.iter().zip(&results).collect();
    if let Some(file) = &arguments.junit_xml {
        let text = merge(&pairs, |result| told(&result.output))?;
        let file = host.absolute(file);
        fs::write(&file, text).map_err(|source| cannot_write(&file, source))?;
    }
    if arguments.report.format == Format::Json {
        ui.json(&MatrixReport::new(&pairs))?;
    } else {
        ui.data(summary(&pairs))?;
    }
    match signals.stopped_by() {
        Some(signal) => Ok(Exit::Signal(signal)),
        None => Ok(worst(&ui, &results)),
    }
}

/// The project's matrix, with what is said here in place of what its file says.
fn declared(context: &Context, arguments: &Arguments) -> Result<Declared, CliError> {
    let mut declared = Declared::load(&context.host().sources())?.unwrap_or_default();
    if !arguments.python.is_empty() {
        declared.axes.pythons.clone_from(&arguments.python);
    }
    if !arguments.with_set.is_empty() {
        declared.axes.sets = sets(&arguments.with_set);
    }
    if !arguments.command.is_empty() {
        declared.command.clone_from(&arguments.command);
    }
    declared.install = arguments.install.or(declared.install);
    if arguments.list && declared.command.is_empty() {
        // What is not run need not be said.
        declared.command = vec![String::new()];
    }
    Ok(declared)
}

/// The cells that are meant, with all that each needs.
fn cells(
    ui: &Ui,
    context: &Context,
    config: &Config,
    declared: &Declared,
    arguments: &Arguments,
) -> Result<Vec<CellPlan>, CliError> {
    let host = context.host();
    let environment = &arguments.environment;
    let process = Lifetime::Process;
    let mut base = spec::environment(ui, host, config, None, process, environment)?;
    base.settings
        .variables
        .extend(spec::kept(context.variables(&arguments.command_options))?);
    let root = base.settings.project.root.clone();
    let project = installable(&root).then_some(root.as_path());
    let mut cells = plan(declared, &base, project, &host_at(host, &root))?;
    if !arguments.cell.is_empty() {
        for name in &arguments.cell {
            if !cells.iter().any(|cell| cell.cell.name == *name) {
                return Err(CliError::Usage {
                    message: format!("there is no cell `{}`", name.escape_debug()),
                    hint: Some("`ptest matrix --list` shows which there are"),
                });
            }
        }
        cells.retain(|cell| arguments.cell.contains(&cell.cell.name));
    }
    Ok(cells)
}

/// The project's file speaks of what is beside it.
fn host_at(host: &Host, directory: &Path) -> HostEnv {
    HostEnv {
        cwd: directory.to_owned(),
        ..host.library()
    }
}

/// The requirements of each name, in the order of the names.
fn sets(named: &[(String, String)]) -> Vec<RequirementSet> {
    let mut sets: Vec<RequirementSet> = Vec::new();
    for (name, requirement) in named {
        let index = sets
            .iter()
            .position(|set| set.name == *name)
            .unwrap_or_else(|| {
                sets.push(RequirementSet {
                    name: name.clone(),
                    requirements: Vec::new(),
                });
                sets.len() - 1
            });
        if !requirement.is_empty() {
            sets[index].requirements.push(requirement.clone());
        }
    }
    sets
}

fn named(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some(("", _)) => Err("the name before `=` is empty"),
        // What follows the name of a set would be read as its version: `click==8` has no name.
        Some((_, requirement)) if requirement.starts_with('=') => {
            Err("there is no name before the requirement; write NAME=REQUIREMENT")
        }
        Some((name, requirement)) => Ok((name.to_owned(), requirement.to_owned())),
        None => Err("there is no `=`; write NAME=REQUIREMENT"),
    }
}

fn list(ui: &Ui, format: Format, cells: &[CellPlan]) -> Result<Exit, CliError> {
    if format == Format::Json {
        ui.json(&MatrixReport::planned(cells))?;
        return Ok(Exit::Success);
    }
    let rows: Vec<Vec<String>> = cells
        .iter()
        .map(|plan| {
            let cell = &plan.cell;
            let set = cell.set.as_ref();
            let variables = cell
                .variables
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            vec![
                cell.name.clone(),
                cell.python.clone().unwrap_or_default(),
                set.map(|set| set.requirements.join(" "))
                    .unwrap_or_default(),
                variables.collect::<Vec<_>>().join(" "),
            ]
        })
        .collect();
    ui.data(table::render(
        &["CELL", "PYTHON", "REQUIREMENTS", "VARIABLES"],
        &rows,
    ))?;
    Ok(Exit::Success)
}

/// A line for each cell.
fn summary(cells: &[(&CellPlan, &CellResult)]) -> String {
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    let rows: Vec<Vec<String>> = cells
        .iter()
        .map(|(plan, result)| {
            vec![
                plan.cell.name.clone(),
                outcome(result),
                seconds(result.prepared),
                seconds(result.elapsed),
            ]
        })
        .collect();
    table::render(&["CELL", "RESULT", "PREPARED", "RAN"], &rows)
}

/// The code of the worst cell: ptest's own failures are worse than any of commands.
fn worst(ui: &Ui, results: &[CellResult]) -> Exit {
    let failed = results.iter().filter(|result| !result.has_passed()).count();
    if failed == 0 {
        ui.done("Passed", format_args!("all {} cells", results.len()));
        return Exit::Success;
    }
    ui.error(format_args!("{failed} of {} cells failed", results.len()));
    let exits = results.iter().filter_map(exit_of);
    // A command's own code can be the same number.
    let rank = |exit: &Exit| (*exit == Exit::Failed, exit.number());
    exits.max_by_key(rank).unwrap_or(Exit::Failed)
}

fn exit_of(result: &CellResult) -> Option<Exit> {
    if result.has_passed() {
        return None;
    }
    match &result.outcome {
        _ if result.not_removed.is_some() => Some(Exit::Failed),
        Outcome::Ended(exit) if exit.timed_out => Some(Exit::TimedOut),
        Outcome::Ended(exit) => Some(match exit.status {
            // The kernel keeps eight bits of a code.
            ExitStatus::Code(code) => Exit::Command(code as u8),
            ExitStatus::Signal(signal) => Exit::Signal(signal),
        }),
        Outcome::Error(error) => Some(CliError::from(error.clone()).exit()),
        Outcome::Stopped => None,
    }
}
