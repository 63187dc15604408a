//! Shows by attack what environments keep out: `ptest doctor --prove`.
//!
//! Each attack is run outside first, where it must succeed, or it proves nothing; then in environments of each profile. What
//! a profile claims to stop and what it stopped are both told. The attacks are in `assets/attacks.py`, what they are aimed
//! at is in [`field`], the claims are in [`attacks`].

pub mod attacks;
mod field;
mod subject;

use std::time::Duration;

use ptest_sandbox::Keep;
use serde::Deserialize;

pub use self::attacks::{ATTACKS, Attack};
use self::field::Field;
pub use self::subject::Subject;
use crate::engine::ExitStatus;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::operation;
use crate::progress::{Progress, Step};
use crate::ptest::Ptest;
use crate::python::command::{Supervision, Tool};
use crate::run::{Output, Run};
use crate::settings::{self, Profile};
use crate::variables::Variables;

const SOURCE: &str = include_str!("../assets/attacks.py");
/// How long one attack may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most that an attack can say that is heard.
const MOST_WORDS: usize = 64 << 10;

/// What came of all attacks.
#[derive(Clone, Debug)]
pub struct Proof {
    /// One for each attack on each kind of environment, in the order of [`ATTACKS`].
    pub trials: Vec<Trial>,
}

/// An attack on one kind of environment.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Which.
    pub attack: &'static Attack,
    /// On what.
    pub subject: Subject,
    /// Whether that claims to stop it.
    pub claimed: bool,
    /// What came of it outside.
    pub outside: Outcome,
    /// What came of it inside.
    pub inside: Outcome,
}

/// What came of an attack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it got what it wanted.
    pub succeeded: bool,
    /// What it got, or what stopped it.
    pub detail: String,
}

/// What a trial shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works outside and not inside.
    Stopped,
    /// It works inside, against the claim.
    Breach,
    /// It works inside, and nothing else was claimed.
    Open,
    /// It does not even work outside, and so proves nothing.
    Vacuous,
}

impl Verdict {
    /// The word used in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Breach => "BREACH",
            Self::Open => "open",
            Self::Vacuous => "vacuous",
        }
    }
}

impl Trial {
    /// What it shows.
    pub fn verdict(&self) -> Verdict {
        match (self.outside.succeeded, self.inside.succeeded) {
            (_, true) if self.claimed => Verdict::Breach,
            (_, true) => Verdict::Open,
            (true, false) => Verdict::Stopped,
            (false, false) => Verdict::Vacuous,
        }
    }
}

impl Proof {
    /// How many trials have this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.trials
            .iter()
            .filter(|trial| trial.verdict() == verdict)
            .count()
    }
}

impl Ptest {
    /// Attacks environments of these profiles, made for it and taken away again.
    ///
    /// # Errors
    ///
    /// When an environment cannot be made, or what is attacked cannot be; never for an attack, whatever comes of it.
    pub fn prove(&self, profiles: &[Profile], progress: &dyn Progress) -> Result<Proof> {
        operation::run("prove", "", || self.prove_now(profiles, progress))
    }

    fn prove_now(&self, profiles: &[Profile], progress: &dyn Progress) -> Result<Proof> {
        let field = Field::set_up(self)?;
        let outside: Vec<Outcome> = ATTACKS
            .iter()
            .map(|attack| {
                progress.step(Step::Attacking { what: attack.what });
                self.attack_outside(&field, attack)
            })
            .collect::<Result<_>>()?;
        let mut trials = Vec::new();
        for subject in profiles.iter().flat_map(|profile| Subject::of(*profile)) {
            trials.extend(self.attack_subject(&field, subject, &outside, progress)?);
        }
        field.take_away()?;
        // A table is read by attack.
        trials.sort_by_key(|trial| ATTACKS.iter().position(|one| one.name == trial.attack.name));
        Ok(Proof { trials })
    }

    fn attack_subject(
        &self,
        field: &Field,
        subject: Subject,
        outside: &[Outcome],
        progress: &dyn Progress,
    ) -> Result<Vec<Trial>> {
        let mut environment = subject.make(self, field)?;
        let mut trials = Vec::new();
        for (attack, outside) in ATTACKS.iter().zip(outside) {
            if !subject.is_tried_with(attack) {
                continue;
            }
            progress.step(Step::Attacking { what: attack.what });
            let _lent = field.lend(attack)?;
            let mut inside = field.judge(attack, attack_inside(&environment, field, attack)?);
            if attack.name == attacks::STAY_BEHIND {
                // Whether anything stayed is seen when the environment is gone.
                environment.remove()?;
                inside = field.left_behind()?;
                environment = subject.make(self, field)?;
            }
            trials.push(Trial {
                attack,
                subject,
                claimed: attack.is_stopped_by(&subject),
                outside: outside.clone(),
                inside,
            });
        }
        environment.remove()?;
        Ok(trials)
    }

    fn attack_outside(&self, field: &Field, attack: &Attack) -> Result<Outcome> {
        let _lent = field.lend(attack)?;
        let mut variables: Variables = [("PATH", "/usr/local/bin:/usr/bin:/bin")]
            .map(|(name, value)| (name.into(), value.into()))
            .into();
        variables.extend(field.variables(true)?);
        variables.extend(field.secret_variable());
        let tool = Tool::new(field.python(), field.project())
            .args(["-I", "-c", SOURCE, attack.name])
            .envs(variables)
            .deadline(PATIENCE);
        let said = match tool.run(&Supervision::default()) {
            Ok(output) => output.stdout.text(),
            Err(error) => return Ok(failed(error.to_string())),
        };
        let outcome = Said::read(&said).map_or_else(|| failed(said), Said::outcome);
        let outcome = field.judge(attack, outcome);
        if attack.name == attacks::STAY_BEHIND {
            return field.left_behind();
        }
        Ok(outcome)
    }
}

fn attack_inside(environment: &Environment, field: &Field, attack: &Attack) -> Result<Outcome> {
    let done = environment.run(Run {
        // What is passed on of it is what is tried.
        caller: field.secret_variable(),
        variables: field.variables(false)?,
        stdout: Output::Keep(Keep {
            tail: MOST_WORDS,
            ..Keep::nothing()
        }),
        stderr: Output::Null,
        timeout: Some(PATIENCE),
        grace: Duration::ZERO,
        ..Run::new(["python", "-I", "-c", SOURCE, attack.name])
    })?;
    let exit = done.ended?;
    if let Some(said) = Said::read(&done.stdout.text()) {
        return Ok(said.outcome());
    }
    let how = match (exit.struck, exit.status) {
        (Some(struck), _) => settings::tell(&struck),
        (None, ExitStatus::Code(code)) => format!("it ended with code {code}"),
        (None, ExitStatus::Signal(signal)) => format!("signal {signal} ended it"),
    };
    Ok(failed(how))
}

/// What an attack says of itself.
#[derive(Debug, Deserialize)]
struct Said {
    done: bool,
    detail: String,
}

impl Said {
    fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text.lines().last()?).ok()
    }

    fn outcome(self) -> Outcome {
        Outcome {
            succeeded: self.done,
            detail: self.detail,
        }
    }
}

fn failed(detail: String) -> Outcome {
    Outcome {
        succeeded: false,
        detail,
    }
}

/// Why nothing can be proved here.
fn unexpected(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::Unexpected, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Network;

    #[test]
    fn an_attack_that_fails_outside_proves_nothing_and_one_that_works_inside_is_a_breach() {
        let outcome = |succeeded| Outcome {
            succeeded,
            detail: String::new(),
        };
        let trial = |claimed, outside, inside| Trial {
            attack: &ATTACKS[0],
            subject: Subject {
                profile: Profile::Strict,
                network: Network::Private,
            },
            claimed,
            outside: outcome(outside),
            inside: outcome(inside),
        };
        assert_eq!(trial(true, true, false).verdict(), Verdict::Stopped);
        assert_eq!(trial(true, false, false).verdict(), Verdict::Vacuous);
        assert_eq!(trial(true, true, true).verdict(), Verdict::Breach);
        assert_eq!(trial(true, false, true).verdict(), Verdict::Breach);
        assert_eq!(trial(false, true, true).verdict(), Verdict::Open);
    }

    #[test]
    fn every_attack_is_in_the_program_that_runs_them_and_none_is_forgotten() {
        for attack in ATTACKS {
            let defined = format!("\ndef {}():", attack.name);
            assert!(SOURCE.contains(&defined), "{}", attack.name);
        }
        assert!(ATTACKS.len() >= 60);
    }
}
