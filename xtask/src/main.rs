//! Repository tasks, run as `cargo xtask <task>`: the tests, the repository's rules, generated files, the book, the benchmark,
//! the fault campaign, fuzzing, a virtual machine for tests, the Python package's wheel.
//!
//! Nothing here is part of ptest, and ptest is not linked in: the tasks drive cargo and the built program as a user would.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task speaks to the terminal"
)]

mod bench;
mod book;
mod docs;
mod faults;
mod fuzz;
mod process;
mod test;
mod tidy;
mod tools;
mod vm;
mod wheel;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::process::Result;
use crate::workspace::Workspace;

/// Repository tasks
#[derive(Parser)]
#[command(bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Test(test::Arguments),
    Tidy,
    Docs(docs::Arguments),
    /// Build the documents as a book
    Book,
    Bench(bench::Arguments),
    Faults(faults::Arguments),
    Fuzz(fuzz::Arguments),
    Vm(vm::Arguments),
    Wheel(wheel::Arguments),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match &arguments.task {
        Task::Test(arguments) => return test::run(&workspace, arguments),
        Task::Tidy => tidy::run(&workspace)?,
        Task::Docs(arguments) => docs::run(&workspace, arguments)?,
        Task::Book => book::run(&workspace)?,
        Task::Bench(arguments) => bench::run(&workspace, arguments)?,
        Task::Faults(arguments) => faults::run(&workspace, arguments)?,
        Task::Fuzz(arguments) => fuzz::run(&workspace, arguments)?,
        Task::Vm(arguments) => vm::run(&workspace, arguments)?,
        Task::Wheel(arguments) => wheel::run(&workspace, arguments)?,
    }
    Ok(ExitCode::SUCCESS)
}
