//! Who collects operations and metrics, if anybody: told when a command has ended.

use ptest::{
    Ptest,
    telemetry::{Exporter, Span},
};

/// A collector of OpenTelemetry, as the configuration or the standard variables name it.
pub(crate) struct Collector {
    pub(crate) endpoint: String,
    pub(crate) headers: String,
}

impl Collector {
    /// Sends what was done, and how things are now.
    pub(crate) fn send(&self, store: &Ptest, spans: Vec<Span>) -> ptest::Result<()> {
        let exporter = Exporter::new(&self.endpoint, &self.headers)?;
        if !spans.is_empty() {
            exporter.send_spans(&spans)?;
        }
        exporter.send_metrics(&store.metrics()?)
    }
}
