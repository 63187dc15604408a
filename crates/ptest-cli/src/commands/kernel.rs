//! `ptest kernel`: environments as kernels of Jupyter.

use std::{
    ffi::OsString,
    fs::File,
    path::{Path, PathBuf},
    thread,
};

use clap::{Args, Subcommand};
use ptest::kernel::{self, Kernel, Kernels};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open},
};

use crate::{
    context::Context,
    error::CliError,
    execute::{Execution, Output, execute},
    exit_code::Exit,
    options::{Format, ReportOptions},
    table,
    ui::Ui,
};
use ptest_report::{KernelReport, KernelsReport};

/// Let Jupyter run notebooks in an environment.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Give your Jupyter a kernel that runs in an environment, which has ipykernel.
    ///
    /// It is written where Jupyter looks for kernels of yours: in JUPYTER_DATA_DIR, else ~/.local/share/jupyter.
    Install {
        /// The environment's name or id.
        environment: OsString,
        /// What Jupyter calls it [default: the environment's name].
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// What Jupyter shows [default: the environment's name and `(ptest)`].
        #[arg(long, value_name = "TEXT")]
        display_name: Option<String>,
        #[command(flatten)]
        report: ReportOptions,
    },
    /// Show the kernels that ptest installed.
    List(ReportOptions),
    /// Take a kernel away. Its environment stays.
    Remove {
        /// What Jupyter calls it.
        name: String,
        #[command(flatten)]
        report: ReportOptions,
    },
    /// Run a kernel, as Jupyter does.
    #[command(hide = true)]
    Start {
        /// The environment's name or id.
        environment: OsString,
        /// The file in which Jupyter says how it talks with the kernel.
        connection: PathBuf,
    },
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let kernels = Kernels::of_user(&context.host().library());
    match arguments.action {
        Action::Install {
            environment,
            name,
            display_name,
            report,
        } => {
            let (config, ui) = context.config(ui)?;
            let store = context.open(&config, false)?;
            let environment = context.find(&store, &environment)?;
            let (name, shown) = (name.as_deref(), display_name.as_deref());
            let kernel = environment.install_kernel(&kernels?, name, shown)?;
            tell(&ui, report.format, "Installed", kernel)
        }
        Action::List(report) => list(ui, report.format, kernels?.list()?),
        Action::Remove { name, report } => {
            let kernel = kernels?.remove(&name)?;
            tell(ui, report.format, "Removed", kernel)
        }
        Action::Start {
            environment,
            connection,
        } => start(ui, context, &environment, &connection),
    }
}

fn tell(ui: &Ui, format: Format, verb: &str, kernel: Kernel) -> Result<Exit, CliError> {
    if format == Format::Json {
        ui.json(&KernelReport::from(kernel))?;
    } else {
        ui.done(
            verb,
            format_args!("the kernel {} in {}", kernel.name, kernel.path.display()),
        );
    }
    Ok(Exit::Success)
}

fn list(ui: &Ui, format: Format, kernels: Vec<Kernel>) -> Result<Exit, CliError> {
    if format == Format::Json {
        ui.json(&KernelsReport::from(kernels))?;
    } else if kernels.is_empty() {
        ui.note("ptest installed no kernel");
    } else {
        let rows: Vec<Vec<String>> = kernels.into_iter().map(row).collect();
        ui.data(table::render(
            &["NAME", "SHOWN AS", "ENVIRONMENT", "STORE"],
            &rows,
        ))?;
    }
    Ok(Exit::Success)
}

fn row(kernel: Kernel) -> Vec<String> {
    vec![
        kernel.name,
        kernel.display_name,
        kernel.environment,
        kernel.store.display().to_string(),
    ]
}

fn start(
    ui: &Ui,
    context: &Context,
    environment: &OsString,
    connection: &Path,
) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let signals = context.stop_making_on_signals()?;
    let process = |what, source| CliError::Process { what, source };
    let connection =
        File::open(connection).map_err(|source| process("open the connection file", source))?;
    rustix::stdio::dup2_stdin(&connection)
        .map_err(|errno| process("hand on the connection file", errno.into()))?;
    end_with_caller(context);
    let store = context.open(&config, false)?;
    let environment = context.find(&store, environment)?;
    execute(
        &ui,
        context.host(),
        &signals,
        &environment,
        Execution {
            arguments: kernel::command(),
            variables: Default::default(),
            timeout: None,
            grace: *config.grace,
            output: Output::Passed,
        },
    )
}

/// A kernel cannot see from inside that its Jupyter was killed, so this does.
fn end_with_caller(context: &Context) {
    let parent = context
        .host()
        .parent
        .and_then(|parent| Pid::from_raw(i32::try_from(parent).ok()?));
    let Some(Ok(caller)) = parent.map(|parent| pidfd_open(parent, PidfdFlags::empty())) else {
        return;
    };
    thread::spawn(move || {
        while poll(&mut [PollFd::new(&caller, PollFlags::IN)], None).is_err() {}
        // It comes back to us as any other signal, and is the kernel's.
        let _ = kill_process(getpid(), Signal::TERM);
    });
}
