//! Compresses the tar of a layer in pieces, each by itself, so that all threads can work on one
//! layer, and into the same bytes whoever does it.
//!
//! Both formats say that what is compressed in pieces is unpacked as one.

use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use flate2::GzBuilder;

use super::oci;

/// How layers are compressed in a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Smaller and several times faster. Docker reads it since 23.0, podman since 2.0.
    #[default]
    Zstd,
    /// For what is older.
    Gzip,
}

impl Compression {
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Zstd => oci::LAYER_ZSTD,
            Self::Gzip => oci::LAYER_GZIP,
        }
    }
}

/// How long a piece is before it is compressed: what a larger one would save is under a hundredth.
/// Part of the form: another length would give other files.
pub(crate) const PIECE: usize = 2 << 20;

const ZSTD_LEVEL: i32 = 3;
const GZIP_LEVEL: u32 = 6;
/// What gzip writes for a system that it does not name.
const UNKNOWN_SYSTEM: u8 = 255;

/// Compresses pieces, on any number of threads.
pub(crate) struct Codec {
    compression: Compression,
    /// Those that nobody uses now: making one costs as much as a small piece.
    spare: Mutex<Vec<zstd::bulk::Compressor<'static>>>,
}

impl Codec {
    pub(crate) fn new(compression: Compression) -> Self {
        Self {
            compression,
            spare: Mutex::default(),
        }
    }

    pub(crate) fn compress(&self, piece: &[u8]) -> io::Result<Vec<u8>> {
        match self.compression {
            Compression::Zstd => {
                let spare = || self.spare.lock().unwrap_or_else(PoisonError::into_inner);
                let taken = spare().pop();
                let mut compressor = match taken {
                    Some(compressor) => compressor,
                    None => zstd::bulk::Compressor::new(ZSTD_LEVEL)?,
                };
                let compressed = compressor.compress(piece)?;
                spare().push(compressor);
                Ok(compressed)
            }
            Compression::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                let mut encoder = GzBuilder::new()
                    .operating_system(UNKNOWN_SYSTEM)
                    .write(Vec::with_capacity(piece.len() / 4), level);
                encoder.write_all(piece)?;
                encoder.finish()
            }
        }
    }
}
