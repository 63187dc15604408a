//! Reports of snapshots, and of what differs between two of them.

use ptest::{
    Difference, Distribution, FileChange, Name, PackageChange, Snapshot, environment::Status,
};
use serde::Serialize;

use crate::{
    ErrorDto, Report,
    environment::EnvironmentDto,
    packages::{ChangeDto, change_samples},
};

/// What `snapshot create` writes.
#[derive(Debug, Serialize)]
pub struct SnapshotReport {
    snapshot: SnapshotDto,
    /// What the environment has and no layer can hold, each a sentence for people.
    left_out: Vec<String>,
}

/// What `snapshot list` writes.
#[derive(Debug, Serialize)]
pub struct SnapshotsReport {
    /// Oldest first.
    snapshots: Vec<SnapshotDto>,
}

#[derive(Debug, Serialize)]
struct SnapshotDto {
    name: String,
    environment: OriginDto,
    engine: String,
    /// The stack of layers.
    stack: String,
    /// The recipe that led to its packages.
    recipe: String,
    /// The version of its Python.
    python: String,
    /// The base interpreter on this machine.
    interpreter: String,
    requirements: Vec<String>,
    distributions: Vec<DistributionDto>,
    /// The user who took it.
    created_by: String,
    created_at: String,
}

/// The environment that it was taken of, which may be gone.
#[derive(Debug, Serialize)]
struct OriginDto {
    id: String,
    /// Its name then, or its id.
    label: String,
}

/// A distribution that ptest put there.
#[derive(Debug, Serialize)]
struct DistributionDto {
    /// Normalised.
    name: String,
    version: String,
    /// Asked for itself, not only needed by another.
    requested: bool,
    /// The project that it is an editable install of.
    editable: Option<String>,
    /// The wheel that it was made from.
    file: String,
    sha256: String,
    /// Where it was found, without credentials.
    found_at: Option<String>,
}

impl SnapshotReport {
    /// A snapshot, with what it could not hold.
    pub fn new(
        snapshot: Snapshot,
        distributions: Vec<Distribution>,
        left_out: Vec<String>,
    ) -> Self {
        Self {
            snapshot: SnapshotDto::new(snapshot, distributions),
            left_out,
        }
    }
}

impl SnapshotsReport {
    /// Snapshots, each with what ptest put there.
    pub fn new(snapshots: Vec<(Snapshot, Vec<Distribution>)>) -> Self {
        let snapshots = snapshots.into_iter();
        Self {
            snapshots: snapshots
                .map(|(snapshot, distributions)| SnapshotDto::new(snapshot, distributions))
                .collect(),
        }
    }
}

impl SnapshotDto {
    fn new(snapshot: Snapshot, distributions: Vec<Distribution>) -> Self {
        Self {
            name: snapshot.name.to_string(),
            environment: OriginDto {
                id: snapshot.of.environment.to_string(),
                label: snapshot.of.label,
            },
            engine: snapshot.engine,
            stack: snapshot.stack.to_string(),
            recipe: snapshot.recipe,
            python: snapshot.python.version,
            interpreter: snapshot.python.executable.display().to_string(),
            requirements: snapshot.requirements.specifiers,
            distributions: distributions.into_iter().map(Into::into).collect(),
            created_by: snapshot.author,
            created_at: snapshot.created_at.to_string(),
        }
    }

    fn sample() -> Self {
        let distribution = |text: Option<&str>| DistributionDto {
            name: "requests".to_owned(),
            version: "2.28.1".to_owned(),
            requested: true,
            editable: text.map(str::to_owned),
            file: "requests-2.28.1-py3-none-any.whl".to_owned(),
            sha256: "7c5599b102feddaa661c826c56ab4fee28bfd17f5abca1ebbe3e7f19d7c97983".to_owned(),
            found_at: text.map(str::to_owned),
        };
        Self {
            name: "web-1".to_owned(),
            environment: OriginDto {
                id: "e0".to_owned(),
                label: "web".to_owned(),
            },
            engine: "virtualenv".to_owned(),
            stack: "bbe6".to_owned(),
            recipe: "7c55".to_owned(),
            python: "3.12.3".to_owned(),
            interpreter: "/usr/bin/python3.12".to_owned(),
            requirements: vec!["requests".to_owned()],
            distributions: vec![distribution(None), distribution(Some("/project"))],
            created_by: "anna".to_owned(),
            created_at: "2026-01-01T00:00:00.000Z".to_owned(),
        }
    }
}

impl From<Distribution> for DistributionDto {
    fn from(distribution: Distribution) -> Self {
        let Distribution {
            name,
            version,
            requested,
            editable,
            file,
            sha256,
            found_at,
        } = distribution;
        Self {
            name,
            version,
            requested,
            editable,
            file,
            sha256,
            found_at,
        }
    }
}

impl Report for SnapshotReport {
    const NAME: &'static str = "ptest.snapshot";

    fn samples() -> Vec<Self> {
        vec![Self {
            snapshot: SnapshotDto::sample(),
            left_out: vec!["lib/pipe is left out: a FIFO".to_owned()],
        }]
    }
}

impl Report for SnapshotsReport {
    const NAME: &'static str = "ptest.snapshots";

    fn samples() -> Vec<Self> {
        vec![Self {
            snapshots: vec![SnapshotDto::sample()],
        }]
    }
}

/// What `snapshot restore` writes.
#[derive(Debug, Serialize)]
pub struct RestoredReport {
    /// The snapshot's name.
    snapshot: String,
    environment: EnvironmentDto,
}

impl RestoredReport {
    /// An environment that is as it was.
    pub fn new(snapshot: &Name, status: Status) -> Self {
        Self {
            snapshot: snapshot.to_string(),
            environment: status.into(),
        }
    }
}

impl Report for RestoredReport {
    const NAME: &'static str = "ptest.restored";

    fn samples() -> Vec<Self> {
        EnvironmentDto::samples()
            .into_iter()
            .map(|environment| Self {
                snapshot: "web-1".to_owned(),
                environment,
            })
            .collect()
    }
}

/// What `snapshot remove` writes.
#[derive(Debug, Serialize)]
pub struct RemovedSnapshotsReport {
    removed: Vec<String>,
    failed: Vec<FailedDto>,
}

#[derive(Debug, Serialize)]
struct FailedDto {
    snapshot: String,
    error: ErrorDto,
}

impl RemovedSnapshotsReport {
    /// The snapshots that were removed, and those that could not be.
    pub fn new<E>(removed: Vec<String>, failed: &[(String, E)]) -> Self
    where
        for<'a> ErrorDto: From<&'a E>,
    {
        let failed = failed.iter().map(|(name, error)| FailedDto {
            snapshot: name.clone(),
            error: error.into(),
        });
        Self {
            removed,
            failed: failed.collect(),
        }
    }
}

impl Report for RemovedSnapshotsReport {
    const NAME: &'static str = "ptest.removed_snapshots";

    fn samples() -> Vec<Self> {
        let failed = ErrorDto::samples().into_iter().map(|error| FailedDto {
            snapshot: "web-2".to_owned(),
            error,
        });
        vec![Self {
            removed: vec!["web-1".to_owned()],
            failed: failed.collect(),
        }]
    }
}

/// What `snapshot diff` writes.
#[derive(Debug, Serialize)]
pub struct DifferenceReport {
    before: String,
    after: String,
    packages: Vec<ChangeDto>,
    files: Vec<FileChangeDto>,
}

#[derive(Debug, Serialize)]
struct FileChangeDto {
    /// Relative to the environment.
    path: String,
    /// `added`, `removed` or `changed`.
    change: &'static str,
    /// Null if it was not there.
    before_bytes: Option<u64>,
    /// Null if it is not there any more.
    after_bytes: Option<u64>,
}

impl DifferenceReport {
    /// What differs in one from another.
    pub fn new(before: &str, after: &str, difference: Difference) -> Self {
        let Difference { packages, files } = difference;
        Self {
            before: before.to_owned(),
            after: after.to_owned(),
            packages: packages.into_iter().map(Into::into).collect(),
            files: files.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<FileChange> for FileChangeDto {
    fn from(change: FileChange) -> Self {
        Self {
            path: change.path.display().to_string(),
            change: match (change.before, change.after) {
                (None, _) => "added",
                (_, None) => "removed",
                (Some(_), Some(_)) => "changed",
            },
            before_bytes: change.before,
            after_bytes: change.after,
        }
    }
}

impl Report for DifferenceReport {
    const NAME: &'static str = "ptest.difference";

    fn samples() -> Vec<Self> {
        let file = |before, after| FileChange {
            path: "lib/notes".into(),
            before,
            after,
        };
        let packages: Vec<PackageChange> = change_samples();
        vec![Self::new(
            "web-1",
            "web",
            Difference {
                packages,
                files: vec![file(None, Some(1)), file(Some(1), None)],
            },
        )]
    }
}
