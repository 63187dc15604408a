//! Operations and metrics for collectors of OpenTelemetry: OTLP over HTTP, in its JSON encoding.
//!
//! Sends what it is given, at once and in a bounded time; what cannot be sent is the caller's to forget. Not for collecting:
//! metrics are `monitor`'s, and who hears of operations is the program's business.

mod encoding;

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::error::Result;
use crate::http::{self, Sender};
use crate::monitor::Family;

/// How long a collector may take for one message.
const PATIENCE: Duration = Duration::from_secs(2);

/// An operation that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its number: what an operation's id is.
    pub id: u64,
    /// The operation that it was part of.
    pub parent: Option<u64>,
    /// What was done, by its verb.
    pub name: String,
    /// When it began.
    pub began: SystemTime,
    /// When it ended.
    pub ended: SystemTime,
    /// What there is to say of it.
    pub attributes: Vec<(String, String)>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// A way to a collector.
#[derive(Debug)]
pub struct Exporter {
    sender: Sender,
    endpoint: String,
    headers: Vec<(String, String)>,
}

impl Exporter {
    /// A way to the collector at `endpoint`, such as `http://localhost:4318`, with further headers as OpenTelemetry's
    /// variables have them: `name=value`, with commas between.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for what is no such URL, [`Unsupported`](crate::ErrorKind::Unsupported) for
    /// `https`.
    pub fn new(endpoint: &str, headers: &str) -> Result<Self> {
        http::check(endpoint)?;
        let pairs = headers.split(',').filter_map(|pair| pair.split_once('='));
        Ok(Self {
            sender: Sender::new(PATIENCE),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            headers: pairs
                .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
                .collect(),
        })
    }

    /// Sends operations, as one trace.
    pub fn send_spans(&self, spans: &[Span]) -> Result<()> {
        let trace = u128::from_ne_bytes(crate::random::bytes()?);
        self.send("v1/traces", &encoding::traces(trace, spans))
    }

    /// Sends metrics as they are now.
    pub fn send_metrics(&self, families: &[Family]) -> Result<()> {
        let now = SystemTime::now();
        self.send("v1/metrics", &encoding::metrics(families, now))
    }

    fn send(&self, path: &str, message: &Value) -> Result<()> {
        let url = format!("{}/{path}", self.endpoint);
        self.sender.post(&url, &self.headers, message.to_string())
    }
}
