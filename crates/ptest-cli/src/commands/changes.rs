//! What `install`, `uninstall` and `upgrade` report: which distributions came, went or changed.

use ptest::{Environment, PackageChange};

use crate::{error::CliError, exit_code::Exit, options::Format, ui::Ui};
use ptest_report::ChangesReport;

pub(crate) fn report(
    ui: &Ui,
    environment: &Environment,
    changes: Vec<PackageChange>,
    format: Format,
) -> Result<Exit, CliError> {
    let record = environment.record()?;
    if format == Format::Json {
        ui.json(&ChangesReport::new(record.label(), changes))?;
    } else if changes.is_empty() {
        ui.note(format_args!("{} has all that already", record.label()));
    } else {
        ui.data(changes.iter().map(line).collect::<String>())?;
    }
    Ok(Exit::Success)
}

/// A line that says what became of a distribution.
pub(super) fn line(change: &PackageChange) -> String {
    let PackageChange {
        name,
        before,
        after,
    } = change;
    match (before, after) {
        (None, Some(after)) => format!("+ {name} {after}\n"),
        (Some(before), None) => format!("- {name} {before}\n"),
        (Some(before), Some(after)) => format!("~ {name} {before} -> {after}\n"),
        (None, None) => String::new(),
    }
}
