//! Operations and metrics for collectors of OpenTelemetry: OTLP over HTTP, in its JSON encoding.
//!
//! Sends what it is given, at once and in a bounded time; what cannot be sent is the caller's to forget. Not for collecting:
//! metrics are `monitor`'s, and who hears of operations is the program's business.

mod encoding;

use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
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
    agent: ureq::Agent,
    endpoint: String,
    headers: Vec<(String, String)>,
}

impl Exporter {
    /// A way to the collector at `endpoint`, such as `http://localhost:4318`, with further headers as OpenTelemetry's
    /// variables have them: `name=value`, with commas between.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](ErrorKind::InvalidInput) for what is no such URL, [`Unsupported`](ErrorKind::Unsupported) for
    /// `https`.
    pub fn new(endpoint: &str, headers: &str) -> Result<Self> {
        if endpoint.starts_with("https://") {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("`{endpoint}` needs TLS, which ptest does not speak"),
            )
            .with_hint("send to a collector on this machine, and let it send on"));
        }
        if !endpoint.starts_with("http://") {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("`{endpoint}` is no URL of a collector"),
            )
            .with_hint("it is such as http://localhost:4318"));
        }
        let pairs = headers.split(',').filter_map(|pair| pair.split_once('='));
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            // Never what the process environment says.
            .proxy(None)
            .build();
        Ok(Self {
            agent: config.new_agent(),
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
        let mut request = self
            .agent
            .post(&url)
            .header("content-type", "application/json");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let sent = request.send(message.to_string());
        sent.map(drop).map_err(|source| {
            Error::new(ErrorKind::Network, format!("cannot send to {url}")).with_source(source)
        })
    }
}
