//! How much an import may take, and the counting of what it takes.

use std::sync::atomic::{AtomicU64, Ordering};

use super::error::PackageError;

/// How much an import may take. A package that exceeds one of these is refused with an error that
/// names the limit, and nothing of it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportLimits {
    /// Bytes that all layers unpack to, together. 64 GiB by default.
    pub bytes: u64,
    /// Entries of the file and of all layers together. 4,000,000 by default.
    pub entries: u64,
    /// Bytes that the names and the links' targets of all entries have together: these are held in
    /// memory. 256 MiB by default.
    pub names: u64,
    /// How many times larger a layer may be unpacked than packed, after its first 64 MiB: that
    /// much anyone may have of zeros. 1,000 by default.
    pub ratio: u64,
    /// How many layers there may be. 10,000 by default.
    pub layers: u64,
    /// Bytes that each of the JSON documents may have. 4 MiB by default.
    pub document: u64,
}

impl Default for ImportLimits {
    fn default() -> Self {
        Self {
            bytes: 64 << 30,
            entries: 4_000_000,
            names: 256 << 20,
            ratio: 1_000,
            layers: 10_000,
            document: 4 << 20,
        }
    }
}

/// Where the ratio begins to matter.
const RATIO_AFTER: u64 = 64 << 20;

/// Counts what is taken, on any number of threads.
pub(crate) struct Meter<'a> {
    pub(crate) limits: &'a ImportLimits,
    bytes: AtomicU64,
    entries: AtomicU64,
    names: AtomicU64,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(limits: &'a ImportLimits) -> Self {
        Self {
            limits,
            bytes: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            names: AtomicU64::new(0),
        }
    }

    pub(crate) fn unpacked(&self, bytes: u64) -> Result<(), PackageError> {
        count(&self.bytes, bytes, "unpacked bytes", self.limits.bytes)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn entry(&self, names: usize) -> Result<(), PackageError> {
        count(&self.entries, 1, "entries", self.limits.entries)?;
        count(
            &self.names,
            names as u64,
            "bytes of names",
            self.limits.names,
        )
    }

    pub(crate) fn ratio(&self, packed: u64, unpacked: u64) -> Result<(), PackageError> {
        let ratio = unpacked / packed.max(1);
        if unpacked <= RATIO_AFTER {
            return Ok(());
        }
        check("times what is packed", ratio, self.limits.ratio)
    }

    pub(crate) fn layers(&self, layers: usize) -> Result<(), PackageError> {
        check("layers", layers as u64, self.limits.layers)
    }

    pub(crate) fn document(&self, bytes: u64) -> Result<(), PackageError> {
        check("bytes of a document", bytes, self.limits.document)
    }
}

fn count(
    counter: &AtomicU64,
    more: u64,
    limit: &'static str,
    allowed: u64,
) -> Result<(), PackageError> {
    let before = counter.fetch_add(more, Ordering::Relaxed);
    check(limit, before.saturating_add(more), allowed)
}

fn check(limit: &'static str, found: u64, allowed: u64) -> Result<(), PackageError> {
    if found <= allowed {
        return Ok(());
    }
    Err(PackageError::Limit {
        limit,
        found,
        allowed,
    })
}
