//! Reports of the store as a whole.

use ptest::{Collected, Improved, Outcome, StoreSize, StoreVerification};
use serde::Serialize;

use crate::Report;

/// What `gc` writes.
#[derive(Debug, Serialize)]
pub struct CollectedReport {
    /// Whether it was only looked at.
    dry_run: bool,
    /// What was collected, or would be.
    collected: CollectedDto,
    /// The store afterwards; in a dry run as it is.
    store: StoreDto,
}

#[derive(Debug, Serialize)]
struct CollectedDto {
    layers: usize,
    recipes: usize,
    /// Caches of recipes.
    caches: usize,
    /// Programs and tools of other versions of ptest.
    programs: usize,
    /// What all of these took.
    bytes: u64,
    /// Trees that were thrown away before and are deleted too.
    thrown_away: usize,
    thrown_away_bytes: u64,
}

#[derive(Debug, Serialize)]
struct StoreDto {
    layers: usize,
    layer_bytes: u64,
    /// What environments have of their own.
    environment_bytes: u64,
    cache_bytes: u64,
}

impl CollectedReport {
    /// What was collected, or would be, and what is left.
    pub fn new(dry_run: bool, collected: &Collected, size: &StoreSize) -> Self {
        Self {
            dry_run,
            collected: CollectedDto {
                layers: collected.layers,
                recipes: collected.recipes,
                caches: collected.caches,
                programs: collected.programs,
                bytes: collected.bytes,
                thrown_away: collected.thrown_away.entries,
                thrown_away_bytes: collected.thrown_away.bytes,
            },
            store: StoreDto {
                layers: size.layers,
                layer_bytes: size.layer_bytes,
                environment_bytes: size.environment_bytes,
                cache_bytes: size.cache_bytes,
            },
        }
    }
}

impl Report for CollectedReport {
    const NAME: &'static str = "ptest.collected";

    fn samples() -> Vec<Self> {
        vec![Self::new(
            true,
            &Collected::default(),
            &StoreSize::default(),
        )]
    }
}

/// What `improve` writes.
#[derive(Debug, Serialize)]
pub struct ImprovedReport {
    /// Distributions whose bytecode was compiled.
    compiled: usize,
    /// Stacks that became one layer.
    flattened: usize,
}

impl From<Improved> for ImprovedReport {
    fn from(improved: Improved) -> Self {
        Self {
            compiled: improved.compiled,
            flattened: improved.flattened,
        }
    }
}

impl Report for ImprovedReport {
    const NAME: &'static str = "ptest.improved";

    fn samples() -> Vec<Self> {
        vec![Improved::default().into()]
    }
}

/// What `verify --store` writes.
#[derive(Debug, Serialize)]
pub struct StoreVerificationReport {
    /// Whether no layer was damaged.
    whole: bool,
    /// How many layers were looked at.
    layers: usize,
    damaged: Vec<DamagedDto>,
}

#[derive(Debug, Serialize)]
struct DamagedDto {
    layer: String,
    detail: String,
    /// The environments that are made of it.
    environments: Vec<String>,
    /// The snapshots that are made of it.
    snapshots: Vec<String>,
    /// `made_again`, `unused` or `failed`.
    outcome: &'static str,
    /// Why it could not be made again.
    error: Option<String>,
}

impl From<&StoreVerification> for StoreVerificationReport {
    fn from(verification: &StoreVerification) -> Self {
        let damaged = verification.damaged.iter().map(|layer| DamagedDto {
            layer: layer.id.to_string(),
            detail: layer.detail.clone(),
            environments: layer.environments.clone(),
            snapshots: layer.snapshots.clone(),
            outcome: match layer.outcome {
                Outcome::MadeAgain => "made_again",
                Outcome::Unused => "unused",
                Outcome::Failed(_) => "failed",
            },
            error: match &layer.outcome {
                Outcome::Failed(error) => Some(error.to_string()),
                Outcome::MadeAgain | Outcome::Unused => None,
            },
        });
        Self {
            whole: verification.damaged.is_empty(),
            layers: verification.layers,
            damaged: damaged.collect(),
        }
    }
}

impl Report for StoreVerificationReport {
    const NAME: &'static str = "ptest.store_verification";

    fn samples() -> Vec<Self> {
        let damaged = |outcome, error: Option<&str>| DamagedDto {
            layer: "0123".to_owned(),
            detail: "bin/python is missing".to_owned(),
            environments: vec!["web".to_owned()],
            snapshots: vec!["web-1".to_owned()],
            outcome,
            error: error.map(str::to_owned),
        };
        vec![Self {
            whole: false,
            layers: 2,
            damaged: vec![
                damaged("made_again", None),
                damaged("failed", Some("an index could not be reached")),
            ],
        }]
    }
}
