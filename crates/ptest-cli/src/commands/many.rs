//! What commands that work on many environments at once have in common: which are meant, and how what became of each
//! is told.

use std::ffi::OsString;

use ptest::{
    Environment, Ptest,
    environment::{Owner, Record, Status},
};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, SelectorOptions},
    progress::Shown,
    ui::Ui,
};
use ptest_report::BulkReport;

/// What became of one of many.
pub(super) type Outcome<T> = (String, Result<T, CliError>);

/// Which of many failed, and why.
pub(super) type Failures = Vec<(String, CliError)>;

/// The environments that meet a selector and do not live for a process that runs: what these have is theirs.
pub(super) fn detached(store: &Ptest, selector: &SelectorOptions) -> Result<Vec<Record>, CliError> {
    let mut records = store.select(&selector.selector())?;
    records.retain(|record| matches!(record.owner, Owner::Detached));
    Ok(records)
}

/// The environments of names or ids of the command line; one that is not there is an outcome too.
pub(super) fn named(context: &Context, store: &Ptest, names: &[OsString]) -> Vec<Outcome<Record>> {
    names
        .iter()
        .map(|name| {
            let found = context.find(store, name).and_then(|it| Ok(it.record()?));
            (name.to_string_lossy().into_owned(), found)
        })
        .collect()
}

/// Does the same with each environment, several at a time, and shows how far it is.
pub(super) fn each<T: Send>(
    ui: &Ui,
    store: &Ptest,
    records: &[Record],
    work: impl Fn(Environment) -> ptest::Result<T> + Sync,
) -> Vec<Outcome<T>> {
    let progress = Shown::new(ui);
    let results = store.each(records, &progress, work);
    let labels = records.iter().map(|record| record.label().to_owned());
    labels
        .zip(results)
        .map(|(label, result)| (label, result.map_err(CliError::from)))
        .collect()
}

/// Takes the failures out of what became of many, in order.
pub(super) fn failures<T>(outcomes: Vec<Outcome<T>>) -> (Vec<(String, T)>, Failures) {
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (label, outcome) in outcomes {
        match outcome {
            Ok(value) => done.push((label, value)),
            Err(error) => failed.push((label, error)),
        }
    }
    (done, failed)
}

/// Tells every failure, the same one once with the names of all that it happened to, and gives what the program ends
/// with.
pub(super) fn explain(ui: &Ui, failed: &[(String, CliError)]) -> Exit {
    let mut told: Vec<(String, &CliError, Vec<&str>)> = Vec::new();
    for (label, error) in failed {
        let words = format!(
            "{error}\0{}\0{:?}",
            error.causes().join("\0"),
            error.output()
        );
        match told.iter_mut().find(|(known, ..)| *known == words) {
            Some((.., labels)) => labels.push(label),
            None => told.push((words, error, vec![label])),
        }
    }
    for (_, error, labels) in &told {
        ui.explain(error);
        if let [label] = labels[..]
            && error.to_string().contains(label)
        {
            continue;
        }
        ui.failed_for(labels);
    }
    if failed.is_empty() {
        Exit::Success
    } else {
        Exit::Failed
    }
}

/// Reports environments that were worked on: in JSON all, in words the failures; `say` says the others.
pub(super) fn report(
    ui: &Ui,
    format: Format,
    outcomes: Vec<Outcome<Status>>,
    say: impl FnOnce(&[(String, Status)]),
) -> Result<Exit, CliError> {
    let (done, failed) = failures(outcomes);
    if format == Format::Text {
        say(&done);
    }
    let exit = explain(ui, &failed);
    if format == Format::Json {
        let statuses = done.into_iter().map(|(_, status)| status);
        ui.json(&BulkReport::new(statuses, &failed))?;
    }
    Ok(exit)
}

/// Says one by one what was done, or that there was nothing to do it with.
pub(super) fn say(ui: &Ui, verb: &str, selector: &SelectorOptions, done: &[(String, Status)]) {
    for (label, _) in done {
        ui.done(verb, label);
    }
    if done.is_empty() {
        ui.note(selector.nothing());
    }
}
