//! Entry points for a fuzzer: what reads packages, without a store and on one thread.

use super::archive::Archive;
use super::error::PackageError;
use super::import::{Found, Import};
use super::limits::{ImportLimits, Meter};
use super::package::Package;
use super::pool;
use super::tar::read::Reader;
use super::tree::{self, Reading};
use crate::error::{Error, Result};
use crate::manifest::{Manifest, TreePath};
use crate::stack::Stack;

/// Small, so that what costs much is found and what is large is not taken for it.
const LIMITS: ImportLimits = ImportLimits {
    bytes: 8 << 20,
    entries: 10_000,
    names: 1 << 20,
    ratio: 1_000,
    layers: 16,
    document: 1 << 20,
};

fn error(source: PackageError) -> Error {
    Error::Package {
        path: "a package".into(),
        source,
    }
}

/// Reads the tar of a layer.
pub fn tar(bytes: &[u8]) -> Result<Manifest> {
    let meter = Meter::new(&LIMITS);
    let prefix = TreePath::new(b"p".as_slice()).map_err(|_| Error::DamagedStack)?;
    let read = pool::run_on(1, &[()], |pool, ()| {
        let reading = Reading {
            name: "a layer",
            prefix: &prefix,
            meter: &meter,
            pool,
            target: None,
            error: &error,
        };
        tree::read(&mut Reader::new(bytes), &reading)
    })?;
    Ok(read.into_iter().next().unwrap_or_default())
}

/// Reads a whole package, of which the store has no layer.
pub fn package(bytes: &[u8]) -> Result<Package> {
    let meter = Meter::new(&LIMITS);
    let archive = Archive::open(&bytes, &meter).map_err(error)?;
    let image = archive.image(&meter).map_err(error)?;
    let prefix = Package::prefix(&image).map_err(error)?;
    let import = Import {
        store: None,
        archive: &archive,
        prefix: &prefix,
        meter: &meter,
        error: &error,
    };
    let layers = import.layers(&image)?;
    let found = pool::run_on(1, &layers, |pool, layer| import.layer(pool, layer))?;
    let stack = Stack::new(found.iter().map(Found::id));
    Package::of_image(&image, stack).map_err(error)
}
