//! The reports of `ptest doctor`.

use ptest::{
    doctor::{Finding, Health},
    prove::{ATTACKS, Outcome, Proof, Subject, Trial},
    settings::{Network, Profile},
};
use serde::Serialize;

use crate::Report;

/// What `doctor` writes.
#[derive(Debug, Serialize)]
pub struct DoctorReport {
    /// Everything that was looked at.
    pub findings: Vec<FindingDto>,
}

#[derive(Debug, Serialize)]
pub struct FindingDto {
    name: &'static str,
    /// `ok`, `degraded` or `missing`.
    state: &'static str,
    detail: String,
    hint: Option<String>,
}

impl From<&Finding> for FindingDto {
    fn from(finding: &Finding) -> Self {
        Self {
            name: finding.name,
            state: finding.health.as_str(),
            detail: finding.detail.clone(),
            hint: finding.hint.clone(),
        }
    }
}

impl Report for DoctorReport {
    const NAME: &'static str = "ptest.doctor";

    fn samples() -> Vec<Self> {
        let finding = |health, hint: Option<&str>| Finding {
            name: "overlay",
            health,
            detail: "a stack was mounted".to_owned(),
            hint: hint.map(str::to_owned),
        };
        vec![Self {
            findings: vec![
                (&finding(Health::Ok, None)).into(),
                (&finding(Health::Missing, Some("what to do"))).into(),
            ],
        }]
    }
}

/// What `doctor --prove` writes.
#[derive(Debug, Serialize)]
pub struct ProofReport {
    /// One for each attack on each kind of environment.
    trials: Vec<TrialDto>,
}

#[derive(Debug, Serialize)]
struct TrialDto {
    attack: &'static str,
    /// What it tries.
    what: &'static str,
    profile: &'static str,
    network: &'static str,
    /// Whether that kind of environment claims to stop it.
    claimed: bool,
    /// `stopped`, `BREACH` (it works inside, against the claim), `open` (it works inside, and nothing else was claimed)
    /// or `vacuous` (it does not even work outside).
    verdict: &'static str,
    outside: OutcomeDto,
    inside: OutcomeDto,
}

#[derive(Debug, Serialize)]
struct OutcomeDto {
    succeeded: bool,
    /// What it got, or what stopped it.
    detail: String,
}

impl From<&Proof> for ProofReport {
    fn from(proof: &Proof) -> Self {
        Self {
            trials: proof.trials.iter().map(Into::into).collect(),
        }
    }
}

impl From<&Trial> for TrialDto {
    fn from(trial: &Trial) -> Self {
        Self {
            attack: trial.attack.name,
            what: trial.attack.what,
            profile: trial.subject.profile.as_str(),
            network: trial.subject.network.as_str(),
            claimed: trial.claimed,
            verdict: trial.verdict().as_str(),
            outside: (&trial.outside).into(),
            inside: (&trial.inside).into(),
        }
    }
}

impl From<&Outcome> for OutcomeDto {
    fn from(outcome: &Outcome) -> Self {
        Self {
            succeeded: outcome.succeeded,
            detail: outcome.detail.clone(),
        }
    }
}

impl Report for ProofReport {
    const NAME: &'static str = "ptest.proof";

    fn samples() -> Vec<Self> {
        let outcome = |succeeded| Outcome {
            succeeded,
            detail: "the secret".to_owned(),
        };
        let proof = Proof {
            trials: vec![Trial {
                attack: &ATTACKS[0],
                subject: Subject {
                    profile: Profile::Strict,
                    network: Network::Private,
                },
                claimed: true,
                outside: outcome(true),
                inside: outcome(false),
            }],
        };
        vec![(&proof).into()]
    }
}
