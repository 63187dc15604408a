//! `ptest doctor`: whether ptest can do its work here, and what its environments keep out.

use std::path::Path;

use clap::Args;
use ptest::{
    Ptest,
    doctor::{self, Health},
    prove::{ATTACKS, Proof, Subject, Verdict},
    settings::Profile,
};

use crate::{
    context::Context,
    error::CliError,
    exit_code::Exit,
    options::{Format, ReportOptions, words},
    progress::Shown,
    table::render,
    ui::Ui,
};
use ptest_report::{DoctorReport, ProofReport};

/// Check what ptest needs and can use: there or not, why, what to do.
///
/// Ends with 1 if something is missing that ptest needs; with `--prove` if an attack works that a profile claims to stop.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// Attack environments instead, to see what they keep out: each attack is tried outside first, where it must work, then
    /// inside.
    #[arg(long)]
    prove: bool,

    /// Attack environments of this profile [default: standard and strict].
    #[arg(long, value_name = "PROFILE", requires = "prove", value_parser = words::<Profile>(Profile::WORDS))]
    profile: Vec<Profile>,

    #[command(flatten)]
    report: ReportOptions,
}

pub(crate) fn run(ui: &Ui, context: &Context, arguments: Arguments) -> Result<Exit, CliError> {
    let (config, ui) = context.config(ui)?;
    let opened = match context.open(&config, false) {
        Err(CliError::Ptest(error)) if !arguments.prove => Err(error),
        opened => Ok(opened?),
    };
    if let Ok(store) = &opened
        && arguments.prove
    {
        return prove(&ui, store, &arguments);
    }
    let beside = context.host().program.as_deref().and_then(Path::parent);
    let home = context.store_home(&config)?;
    let findings = doctor::examine(&home, &opened, beside, config.python.as_deref())?;
    if arguments.report.format == Format::Json {
        ui.json(&DoctorReport {
            findings: findings.iter().map(Into::into).collect(),
        })?;
    } else {
        let rows: Vec<Vec<String>> = findings
            .iter()
            .map(|finding| {
                let hint = finding.hint.as_deref().map(|hint| format!(" ({hint})"));
                vec![
                    finding.name.to_owned(),
                    finding.health.as_str().to_owned(),
                    format!("{}{}", finding.detail, hint.unwrap_or_default()),
                ]
            })
            .collect();
        ui.data(render(&["NAME", "STATE", "DETAIL"], &rows))?;
    }
    let missing = findings
        .iter()
        .any(|finding| finding.health == Health::Missing);
    Ok(if missing {
        Exit::Findings
    } else {
        Exit::Success
    })
}

fn prove(ui: &Ui, store: &Ptest, arguments: &Arguments) -> Result<Exit, CliError> {
    let both = [Profile::Standard, Profile::Strict];
    let profiles = match arguments.profile.as_slice() {
        [] => both.as_slice(),
        asked => asked,
    };
    let proof = {
        let progress = Shown::new(ui);
        store.prove(profiles, &progress)?
    };
    if arguments.report.format == Format::Json {
        ui.json(&ProofReport::from(&proof))?;
    } else {
        ui.data(table(&proof))?;
        ui.data(details(&proof))?;
    }
    Ok(match proof.count(Verdict::Breach) {
        0 => Exit::Success,
        _ => Exit::Findings,
    })
}

/// A line for each attack, a column for each kind of environment.
fn table(proof: &Proof) -> String {
    let mut subjects: Vec<Subject> = Vec::new();
    for trial in &proof.trials {
        if !subjects.contains(&trial.subject) {
            subjects.push(trial.subject);
        }
    }
    let heading = |subject: &Subject| {
        if subject.network == subject.profile.network() {
            subject.profile.as_str().to_uppercase()
        } else {
            format!("{}, NETWORK {}", subject.profile, subject.network).to_uppercase()
        }
    };
    let headings: Vec<String> = subjects.iter().map(heading).collect();
    let mut header = vec!["A COMMAND TRIES TO"];
    header.extend(headings.iter().map(String::as_str));
    let rows: Vec<Vec<String>> = ATTACKS
        .iter()
        .map(|attack| {
            let verdict = |subject: &Subject| {
                let mut trials = proof.trials.iter();
                let trial =
                    trials.find(|trial| trial.attack == attack && trial.subject == *subject);
                trial.map_or_else(String::new, |trial| trial.verdict().as_str().to_owned())
            };
            let mut row = vec![attack.what.to_owned()];
            row.extend(subjects.iter().map(verdict));
            row
        })
        .collect();
    render(&header, &rows)
}

/// What has to be explained: what got through, and what proves nothing.
fn details(proof: &Proof) -> String {
    let mut text = String::from("\n");
    let mut explained = Vec::new();
    for trial in &proof.trials {
        let (what, profile) = (trial.attack.what, trial.subject.profile);
        match trial.verdict() {
            Verdict::Breach => {
                text += &format!(
                    "BREACH: under {profile} a command can {what}: {}\n",
                    trial.inside.detail
                );
            }
            Verdict::Vacuous if explained.contains(&what) => {}
            Verdict::Vacuous => {
                explained.push(what);
                text += &format!(
                    "vacuous: not even outside can a command {what}: {}\n",
                    trial.outside.detail
                );
            }
            Verdict::Stopped | Verdict::Open => {}
        }
    }
    let counted = [
        Verdict::Stopped,
        Verdict::Open,
        Verdict::Vacuous,
        Verdict::Breach,
    ]
    .map(|verdict| format!("{} {}", proof.count(verdict), verdict.as_str()));
    text + &counted.join(", ") + "\n"
}
