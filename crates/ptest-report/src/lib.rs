//! What `--format json` writes: types of its own, apart from those of the library, so that the library can change
//! without the reports changing.
//!
//! Each report is one object that begins with its schema's name and version. Fields may be added within a version;
//! one that goes, or changes its meaning or type, makes a new one. Times are RFC 3339, sizes bytes, durations seconds.

mod applied;
mod bulk;
mod config;
mod doctor;
mod environment;
mod error;
mod event;
mod hooks;
mod kernel;
mod materialized;
mod matrix;
mod package;
mod packages;
mod path;
mod port;
mod rebuilt;
mod recovered;
mod run;
mod schema;
mod scratch;
mod snapshot;
mod stats;
mod store;

use serde::Serialize;
use serde_json::Value;

pub use applied::AppliedReport;
pub use bulk::{BulkReport, RemovedReport};
pub use config::{ConfigPathsReport, ConfigReport};
pub use doctor::{DoctorReport, ProofReport};
pub use environment::{EnvironmentReport, EnvironmentsReport, Known};
pub use error::{ErrorDto, ErrorReport};
pub use event::{EventReport, EventsReport};
pub use hooks::{HookDto, HooksReport, ServedReport};
pub use kernel::{KernelReport, KernelsReport};
pub use materialized::MaterializedReport;
pub use matrix::MatrixReport;
pub use package::{PackedReport, UnpackedReport};
pub use packages::{ChangesReport, PackagesReport, VerificationReport};
pub use path::PathReport;
pub use port::{PortsReport, ReleasedPortsReport};
pub use rebuilt::RebuiltReport;
pub use recovered::RecoveredReport;
pub use run::{ExitDto, LogReport, PieceDto, RunsReport};
pub use scratch::{ScratchChange, ScratchReport};
pub use snapshot::{
    DifferenceReport, RemovedSnapshotsReport, RestoredReport, SnapshotReport, SnapshotsReport,
};
pub use stats::StatsReport;
pub use store::{CollectedReport, ImprovedReport, StoreVerificationReport};

/// A report: what one command writes.
pub trait Report: Serialize + Sized {
    /// The name of its schema.
    const NAME: &'static str;
    /// The version of its schema.
    const VERSION: u32 = 1;

    /// Reports that together show every field both filled and, where it can be, empty: the schema is made from them.
    fn samples() -> Vec<Self>;
}

/// A report as text.
pub fn to_text<R: Report>(report: &R) -> String {
    // Reports are made of texts, numbers and lists and maps of them with text keys: writing them cannot fail.
    serde_json::to_string_pretty(&Envelope::new(report)).unwrap_or_default() + "\n"
}

/// A report as one line of text.
pub fn to_line<R: Report>(report: &R) -> String {
    serde_json::to_string(&Envelope::new(report)).unwrap_or_default() + "\n"
}

/// The JSON schemas of all reports, by name.
pub fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        schema_of::<EnvironmentsReport>(),
        schema_of::<EnvironmentReport>(),
        schema_of::<BulkReport>(),
        schema_of::<AppliedReport>(),
        schema_of::<MatrixReport>(),
        schema_of::<StatsReport>(),
        schema_of::<MaterializedReport>(),
        schema_of::<PathReport>(),
        schema_of::<KernelReport>(),
        schema_of::<KernelsReport>(),
        schema_of::<RemovedReport>(),
        schema_of::<PortsReport>(),
        schema_of::<ReleasedPortsReport>(),
        schema_of::<PackagesReport>(),
        schema_of::<ChangesReport>(),
        schema_of::<VerificationReport>(),
        schema_of::<StoreVerificationReport>(),
        schema_of::<SnapshotReport>(),
        schema_of::<SnapshotsReport>(),
        schema_of::<RestoredReport>(),
        schema_of::<RemovedSnapshotsReport>(),
        schema_of::<DifferenceReport>(),
        schema_of::<PackedReport>(),
        schema_of::<UnpackedReport>(),
        schema_of::<CollectedReport>(),
        schema_of::<ImprovedReport>(),
        schema_of::<DoctorReport>(),
        schema_of::<ProofReport>(),
        schema_of::<ScratchReport>(),
        schema_of::<ConfigReport>(),
        schema_of::<ConfigPathsReport>(),
        schema_of::<RecoveredReport>(),
        schema_of::<RebuiltReport>(),
        schema_of::<EventsReport>(),
        schema_of::<EventReport>(),
        schema_of::<HooksReport>(),
        schema_of::<ServedReport>(),
        schema_of::<RunsReport>(),
        schema_of::<LogReport>(),
        schema_of::<ErrorReport>(),
    ]
}

#[derive(Serialize)]
struct Envelope<'a, R> {
    schema: SchemaName,
    #[serde(flatten)]
    report: &'a R,
}

#[derive(Serialize)]
struct SchemaName {
    name: &'static str,
    version: u32,
}

impl<'a, R: Report> Envelope<'a, R> {
    fn new(report: &'a R) -> Self {
        Self {
            schema: SchemaName {
                name: R::NAME,
                version: R::VERSION,
            },
            report,
        }
    }
}

fn schema_of<R: Report>() -> (&'static str, Value) {
    let samples: Vec<Value> = R::samples()
        .iter()
        .filter_map(|sample| serde_json::to_value(Envelope::new(sample)).ok())
        .collect();
    (R::NAME, schema::infer(&samples.iter().collect::<Vec<_>>()))
}
