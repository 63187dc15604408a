//! What keeps a store in order.

use ptest::Collection;
use ptest::settings::Profile;
use ptest_report::{
    CollectedReport, ImprovedReport, ProofReport, RecoveredReport, RemovedReport,
    StoreVerificationReport,
};
use pyo3::prelude::*;

use super::{SILENT, Store};
use crate::document::{Seconds, depth, dictionary};
use crate::error::Result;
use crate::wait::interruptible;

#[pymethods]
impl Store {
    /// Takes away what is of no use.
    fn collect<'py>(
        &self,
        py: Python<'py>,
        older_than: Seconds,
        keep_size: Option<u64>,
        dry_run: bool,
    ) -> Result<Bound<'py, PyAny>> {
        let collection = Collection {
            older_than: older_than.0,
            keep_size,
            dry_run,
        };
        let ptest = self.ptest.clone();
        let (collected, size) = interruptible(
            py,
            |_| (),
            move || -> ptest::Result<_> { Ok((ptest.collect(&collection)?, ptest.size()?)) },
        )??;
        dictionary(py, &CollectedReport::new(dry_run, &collected, &size))
    }

    /// Takes away environments that nobody has used for so long.
    fn prune<'py>(
        &self,
        py: Python<'py>,
        older_than: Seconds,
        dry_run: bool,
    ) -> Result<Bound<'py, PyAny>> {
        let ptest = self.ptest.clone();
        let pruned = interruptible(py, |_| (), move || ptest.prune(older_than.0, dry_run))??;
        dictionary(py, &RemovedReport::new(pruned.removed, &pruned.failed))
    }

    /// Finishes or undoes what dead processes left.
    fn recover<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let ptest = self.ptest.clone();
        let (found, thrown_away) = interruptible(
            py,
            |_| (),
            move || -> ptest::Result<_> { Ok((ptest.recover()?, ptest.thrown_away()?)) },
        )??;
        let report = RecoveredReport::new(
            &found.removed,
            &found.settled,
            found.released_ports,
            &found.lost,
            &found.failed,
            thrown_away,
        );
        dictionary(py, &report)
    }

    /// Checks every layer, and mends what can be mended.
    fn verify<'py>(&self, py: Python<'py>, layers: &str) -> Result<Bound<'py, PyAny>> {
        let depth = depth(layers)?;
        let (ptest, cancel) = self.for_a_call(false, None);
        let verification = interruptible(
            py,
            |_| cancel.cancel(),
            move || ptest.verify_store(depth, SILENT),
        )??;
        dictionary(py, &StoreVerificationReport::from(&verification))
    }

    /// Makes what was used start faster, now.
    fn improve<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let (ptest, cancel) = self.for_a_call(false, None);
        let improved = interruptible(py, |_| cancel.cancel(), move || ptest.improve(SILENT))??;
        dictionary(py, &ImprovedReport::from(improved))
    }

    /// Attacks environments of these profiles, and says what held.
    fn prove<'py>(&self, py: Python<'py>, profiles: Vec<String>) -> Result<Bound<'py, PyAny>> {
        let profiles: Vec<Profile> = profiles
            .iter()
            .map(|text| text.parse())
            .collect::<ptest::Result<_>>()?;
        let (ptest, cancel) = self.for_a_call(false, None);
        let proof = interruptible(
            py,
            |_| cancel.cancel(),
            move || ptest.prove(&profiles, SILENT),
        )??;
        dictionary(py, &ProofReport::from(&proof))
    }

    /// Metrics of the store and of every environment, as Prometheus reads them.
    fn metrics(&self, py: Python<'_>) -> Result<String> {
        Ok(py.detach(|| self.ptest.metrics_text())?)
    }

    /// Deletes what was thrown away, for so long; lets hooks be served that wait, and what could start faster be worked on.
    fn tidy(&self, py: Python<'_>, patience: Seconds) -> Result<()> {
        py.detach(|| {
            self.let_hooks_be_served()?;
            self.ptest.tidy(patience.0)?;
            if *self.config.improve
                && let Some(program) = &self.program
            {
                self.ptest.let_be_improved(program)?;
            }
            Ok(())
        })
    }
}
