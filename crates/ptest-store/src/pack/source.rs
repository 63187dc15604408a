//! A file of which several threads read different parts at once, and readers that measure and hash
//! what goes through them.

use std::fs::File;
use std::io::{self, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest as _, Sha256};

use super::error::PackageError;
use super::limits::Meter;
use super::oci::Digest;

/// Something of which any place can be read at any time.
pub(crate) trait ReadAt: Sync {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }
}

impl ReadAt for &[u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        self.get(offset..).unwrap_or_default().read(buffer)
    }
}

/// Reads a part of a source.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    source: &'a dyn ReadAt,
    offset: u64,
    end: u64,
}

impl<'a> Part<'a> {
    pub(crate) fn new(source: &'a dyn ReadAt, offset: u64, size: u64) -> Self {
        let end = offset.saturating_add(size);
        Self {
            source,
            offset,
            end,
        }
    }

    pub(crate) fn skip(&mut self, bytes: u64) {
        self.offset = self.offset.saturating_add(bytes);
    }
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_sub(self.offset);
        let most = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let length = self.source.read_at(&mut buffer[..most], self.offset)?;
        self.offset += length as u64;
        Ok(length)
    }
}

/// Hashes what is read through it.
pub(crate) struct Hashing<R> {
    inner: R,
    hasher: Sha256,
}

impl<R> Hashing<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
        }
    }

    /// The digest of what was read through.
    pub(crate) fn finish(self) -> (R, Digest) {
        (self.inner, self.hasher.into())
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..length]);
        Ok(length)
    }
}

/// Stops when a limit is exceeded.
pub(crate) struct Metered<'a, R> {
    inner: R,
    meter: &'a Meter<'a>,
    packed: u64,
    unpacked: u64,
}

impl<'a, R> Metered<'a, R> {
    /// `packed` is the size of the blob that is unpacked here.
    pub(crate) fn new(inner: R, meter: &'a Meter<'a>, packed: u64) -> Self {
        Self {
            inner,
            meter,
            packed,
            unpacked: 0,
        }
    }

    pub(crate) fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.unpacked += length as u64;
        self.meter
            .unpacked(length as u64)
            .and_then(|()| self.meter.ratio(self.packed, self.unpacked))
            .map_err(io::Error::other)?;
        Ok(length)
    }
}

/// Undoes the compression of a layer.
pub(crate) enum Decoder<R: Read> {
    Plain(R),
    Gzip(Box<MultiGzDecoder<BufReader<R>>>),
    Zstd(zstd::Decoder<'static, BufReader<R>>),
}

impl<R: Read> Decoder<R> {
    pub(crate) fn new(media_type: &str, inner: R, name: &str) -> Result<Self, PackageError> {
        Ok(match media_type {
            super::oci::LAYER => Self::Plain(inner),
            super::oci::LAYER_GZIP => Self::Gzip(Box::new(MultiGzDecoder::new(
                BufReader::with_capacity(BUFFER, inner),
            ))),
            super::oci::LAYER_ZSTD => {
                let inner = BufReader::with_capacity(BUFFER, inner);
                let decoder = zstd::Decoder::with_buffer(inner).and_then(|mut decoder| {
                    decoder.window_log_max(WINDOW)?;
                    Ok(decoder)
                });
                Self::Zstd(decoder.map_err(|source| PackageError::Tar {
                    name: name.to_owned(),
                    source: source.into(),
                })?)
            }
            _ => {
                return Err(PackageError::Form {
                    name: name.to_owned(),
                    problem: "a layer of another media type than OCI's tar, tar+gzip and tar+zstd",
                });
            }
        })
    }

    pub(crate) fn into_inner(self) -> R {
        match self {
            Self::Plain(inner) => inner,
            Self::Gzip(decoder) => decoder.into_inner().into_inner(),
            Self::Zstd(decoder) => decoder.finish().into_inner(),
        }
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(inner) => inner.read(buffer),
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
        }
    }
}

const BUFFER: usize = 128 * 1024;
/// The largest window that is unpacked, as a power of two, 32 MiB: each thread holds one. What
/// container tools write needs a quarter of it.
const WINDOW: u32 = 25;
