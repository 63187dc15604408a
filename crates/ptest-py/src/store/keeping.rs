//! Snapshots, and files that environments are packed into.

use std::fs::File;
use std::path::PathBuf;

use ptest::config::Config;
use ptest::{Asked, Compression, ErrorKind, Import};
use ptest_report::{
    DifferenceReport, PackedReport, SnapshotReport, SnapshotsReport, UnpackedReport,
};
use pyo3::prelude::*;

use super::{SILENT, Store};
use crate::document::{TextPath, dictionary};
use crate::error::Result;
use crate::host::Host;
use crate::wait::interruptible;

#[pymethods]
impl Store {
    /// Every snapshot, oldest first.
    fn snapshots<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let snapshots = py.detach(|| {
            let each = self.ptest.snapshots()?.into_iter().map(|snapshot| {
                let distributions = self.ptest.distributions(&snapshot.stack)?;
                Ok((snapshot, distributions))
            });
            each.collect::<ptest::Result<Vec<_>>>()
        })?;
        dictionary(py, &SnapshotsReport::new(snapshots))
    }

    /// The snapshot of a name.
    fn snapshot<'py>(&self, py: Python<'py>, name: &str) -> Result<Bound<'py, PyAny>> {
        let (snapshot, distributions) = py.detach(|| -> ptest::Result<_> {
            let snapshot = self.ptest.snapshot(name)?;
            let distributions = self.ptest.distributions(&snapshot.stack)?;
            Ok((snapshot, distributions))
        })?;
        dictionary(
            py,
            &SnapshotReport::new(snapshot, distributions, Vec::new()),
        )
    }

    /// Takes a snapshot away.
    fn remove_snapshot(&self, py: Python<'_>, name: &str) -> Result<()> {
        Ok(py.detach(|| self.ptest.remove_snapshot(name))?)
    }

    /// What is different in one environment or snapshot from another.
    fn diff<'py>(
        &self,
        py: Python<'py>,
        before: String,
        after: String,
    ) -> Result<Bound<'py, PyAny>> {
        let (ptest, names) = (self.ptest.clone(), (before.clone(), after.clone()));
        let difference = interruptible(py, |_| (), move || ptest.diff(&names.0, &names.1))??;
        dictionary(py, &DifferenceReport::new(&before, &after, difference))
    }

    /// Writes an environment or a snapshot as one file.
    fn export<'py>(
        &self,
        py: Python<'py>,
        source: String,
        file: Destination,
        compression: &str,
    ) -> Result<Bound<'py, PyAny>> {
        let compression = match compression {
            "zstd" => Compression::Zstd,
            "gzip" => Compression::Gzip,
            other => {
                let message = format!("there is no compression `{}`", other.escape_debug());
                let error = ptest::Error::new(ErrorKind::InvalidInput, message);
                return Err(error.with_hint("there is `zstd` and `gzip`").into());
            }
        };
        let to: Target = match file {
            Destination::Path(path) => Target::File(Host::now()?.environment.cwd.join(&*path)),
            Destination::Descriptor(descriptor) => {
                let failed = |source| ptest::Error::io("write to a descriptor", source);
                Target::Open(ptest::duplicate(descriptor).map_err(failed)?.into())
            }
        };
        let (ptest, cancel) = self.for_a_call(false, None);
        let work = move || match to {
            Target::File(path) => ptest.export_to(&source, compression, &path, SILENT),
            Target::Open(mut file) => ptest.export(&source, compression, &mut file, SILENT),
        };
        let packed = interruptible(py, |_| cancel.cancel(), work)??;
        dictionary(py, &PackedReport::from(packed))
    }

    /// Makes of a file what it was made of.
    #[pyo3(name = "import_")]
    fn import<'py>(
        &self,
        py: Python<'py>,
        file: TextPath,
        name: Option<&str>,
    ) -> Result<Bound<'py, PyAny>> {
        let name = name.map(str::parse).transpose()?;
        let place = self.place(&Host::now()?).environment;
        let asked = Asked::new(Config::clone(&self.config));
        let (ptest, cancel) = self.for_a_call(false, None);
        let work = move || -> ptest::Result<_> {
            let settings = asked.settings(&place)?;
            ptest.import(&file, &Import { name, settings }, SILENT)
        };
        let unpacked = interruptible(py, |_| cancel.cancel(), work)??;
        dictionary(py, &UnpackedReport::from(unpacked))
    }
}

/// Where a file is written, as the package says it.
#[derive(FromPyObject)]
enum Destination {
    Descriptor(i32),
    Path(TextPath),
}

enum Target {
    File(PathBuf),
    Open(File),
}
