//! Sends a message to a URL, in a bounded time.
//!
//! Plain HTTP only: whoever needs more runs something on the machine that sends on. Not for fetching, which installers do.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// A way to send messages.
#[derive(Debug)]
pub(crate) struct Sender {
    agent: ureq::Agent,
}

impl Sender {
    /// One that gives each message this long.
    pub(crate) fn new(patience: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(patience))
            // Never what the process environment says.
            .proxy(None)
            .build();
        Self {
            agent: config.new_agent(),
        }
    }

    /// Posts a JSON text. An answer that says that it failed is an error.
    pub(crate) fn post(
        &self,
        url: &str,
        headers: &[(String, String)],
        message: String,
    ) -> Result<()> {
        let mut request = self
            .agent
            .post(url)
            .header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.send(message).map(drop).map_err(|source| {
            Error::new(ErrorKind::Network, format!("cannot send to {url}")).with_source(source)
        })
    }
}

/// Checks that messages can be sent to a URL at all.
///
/// # Errors
///
/// [`InvalidInput`](ErrorKind::InvalidInput) for what is no such URL, [`Unsupported`](ErrorKind::Unsupported) for `https`.
pub(crate) fn check(url: &str) -> Result<()> {
    if url.starts_with("https://") {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("`{url}` needs TLS, which ptest does not speak"),
        )
        .with_hint("send to a program on this machine, and let it send on"));
    }
    if !url.starts_with("http://") {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("`{url}` is no URL that ptest can send to"),
        )
        .with_hint("it is such as http://localhost:4318"));
    }
    Ok(())
}
