//! Reads a package back: every layer is unpacked and compared, and only then does any appear.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};

use super::archive::{Archive, Image, check_digest};
use super::error::PackageError;
use super::limits::{ImportLimits, Meter};
use super::oci::{Descriptor, Digest, LAYER_ANNOTATION};
use super::package::Package;
use super::pool::{self, Pool};
use super::source::{Decoder, Hashing, Metered};
use super::tar::read::Reader;
use super::target::Target;
use super::tree::{self, Reading};
use crate::Store;
use crate::commit::{CommitOptions, Prepared, Source};
use crate::error::{Context as _, Error, Result};
use crate::id::LayerId;
use crate::layer::Layer;
use crate::manifest::{Kind, Manifest, TreePath};
use crate::stack::Stack;
use crate::steps::reach;

/// The result of [`Store::import`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// What the package says; its stack can be used at once.
    pub package: Package,
    /// The layers that the store did not have, bottom first.
    pub added: Vec<Layer>,
    /// The layers that it had, bottom first.
    pub shared: Vec<LayerId>,
    /// How much was unpacked, to be written or to be compared.
    pub bytes: u64,
}

impl Store {
    /// Reads a package that [`Store::export`] wrote, whatever container tools did with it since.
    ///
    /// - Nothing that the file says is trusted: digests, sizes and the ids of layers are computed
    ///   from what is unpacked, also for layers that the store has; those are not written again.
    /// - No layer appears before all of them are unpacked and found right. They then appear one
    ///   after the other, as any commit; a process that ends in between leaves whole layers that
    ///   nothing refers to.
    /// - Owners and times of directories are no part of a layer. A hard link becomes a copy.
    /// - As with commits, only [`Store::sync`] waits for the disk, and what keeps the layers from
    ///   a collection is the caller's to say.
    ///
    /// # Errors
    ///
    /// [`Error::Package`] for a file that is not a package, is damaged, exceeds a limit, or has
    /// what no layer can hold.
    pub fn import(&self, file: &Path, limits: &ImportLimits) -> Result<Imported> {
        self.database().check_process()?;
        let error = |source| Error::Package {
            path: file.to_owned(),
            source,
        };
        let source = open(file)?;
        let meter = Meter::new(limits);
        let archive = Archive::open(&source, &meter).map_err(error)?;
        let image = archive.image(&meter).map_err(error)?;
        let prefix = Package::prefix(&image).map_err(error)?;
        let import = Import {
            store: Some(self),
            archive: &archive,
            prefix: &prefix,
            meter: &meter,
            error: &error,
        };
        let layers = import.layers(&image)?;
        let found = pool::run(&layers, |pool, layer| import.layer(pool, layer))?;
        let ids: Vec<LayerId> = found.iter().map(Found::id).collect();
        let stack = Stack::new(ids.iter().copied());
        if stack.layers().len() != ids.len() {
            return Err(error(PackageError::Form {
                name: image.manifest.config.digest.blob(),
                problem: "one layer twice",
            }));
        }
        let package = Package::of_image(&image, stack).map_err(error)?;
        reach("import.prepared")?;
        self.publish(package, found, meter.bytes())
    }

    /// What the labels of a package say, without a look at its layers: enough to refuse what is not
    /// wanted before anything is unpacked.
    ///
    /// # Errors
    ///
    /// As [`Store::import`], but for what is in layers.
    pub fn package_labels(
        &self,
        file: &Path,
        limits: &ImportLimits,
    ) -> Result<BTreeMap<String, String>> {
        let error = |source| Error::Package {
            path: file.to_owned(),
            source,
        };
        let source = open(file)?;
        let meter = Meter::new(limits);
        let archive = Archive::open(&source, &meter).map_err(error)?;
        let image = archive.image(&meter).map_err(error)?;
        let package = Package::of_image(&image, Stack::default()).map_err(error)?;
        Ok(package.labels)
    }

    fn publish(&self, package: Package, found: Vec<Found>, bytes: u64) -> Result<Imported> {
        let mut imported = Imported {
            package,
            added: Vec::new(),
            shared: Vec::new(),
            bytes,
        };
        for layer in found {
            match layer {
                Found::Shared(id) => {
                    // It may have been collected since it was compared.
                    if self.touch(&[id])?.is_empty() {
                        return Err(Error::LayerMissing { id });
                    }
                    imported.shared.push(id);
                }
                Found::New(prepared) => {
                    let committed = prepared.publish()?;
                    if committed.reused {
                        imported.shared.push(committed.layer.id);
                    } else {
                        imported.added.push(committed.layer);
                    }
                    reach("import.published")?;
                }
            }
        }
        Ok(imported)
    }
}

/// Opens a package, without waiting for the other end of a FIFO.
fn open(file: &Path) -> Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let source = rustix::fs::open(file, flags, Mode::empty());
    let source = File::from(source.at("open", file)?);
    if source.metadata().at("examine", file)?.is_file() {
        return Ok(source);
    }
    Err(Error::Package {
        path: file.to_owned(),
        source: PackageError::Form {
            name: "the file".to_owned(),
            problem: "not a regular file",
        },
    })
}

/// A layer of a package that is what the package says.
pub(super) enum Found {
    /// The store has it.
    Shared(LayerId),
    New(Box<Prepared>),
}

impl Found {
    pub(super) fn id(&self) -> LayerId {
        match self {
            Self::Shared(id) => *id,
            Self::New(prepared) => prepared.id(),
        }
    }
}

/// What all layers of an import have in common.
pub(super) struct Import<'a> {
    /// `None` to look only.
    pub(super) store: Option<&'a Store>,
    pub(super) archive: &'a Archive<'a>,
    pub(super) prefix: &'a TreePath,
    pub(super) meter: &'a Meter<'a>,
    pub(super) error: &'a (dyn Fn(PackageError) -> Error + Sync),
}

/// A layer as the documents speak of it.
pub(super) struct Said {
    name: String,
    descriptor: Descriptor,
    diff_id: Digest,
    id: Option<LayerId>,
}

impl Import<'_> {
    pub(super) fn layers(&self, image: &Image) -> Result<Vec<Said>> {
        let descriptors = image.manifest.layers.iter();
        descriptors
            .zip(&image.config.rootfs.diff_ids)
            .map(|(descriptor, diff_id)| {
                let name = descriptor.digest.blob();
                let annotations = descriptor.annotations.as_ref();
                let id = annotations
                    .and_then(|all| all.get(LAYER_ANNOTATION))
                    .map(|id| id.parse())
                    .transpose()
                    .map_err(|_| {
                        (self.error)(PackageError::Form {
                            name: name.clone(),
                            problem: "an annotation dev.ptest.layer that is not the id of a layer",
                        })
                    })?;
                Ok(Said {
                    name,
                    descriptor: descriptor.clone(),
                    diff_id: *diff_id,
                    id,
                })
            })
            .collect()
    }

    pub(super) fn layer(&self, pool: &Pool<'_>, said: &Said) -> Result<Found> {
        let Some(store) = self.store else {
            return Ok(Found::Shared(self.read(pool, said, None)?.id()));
        };
        if let Some(id) = said.id {
            match store.layer(&id) {
                Ok(Some(_)) => {
                    self.read(pool, said, None)?;
                    return Ok(Found::Shared(id));
                }
                // A corrupt one is replaced when this is published.
                Ok(None) | Err(Error::LayerCorrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let staging = store.stage()?;
        let target = Arc::new(Target::new(staging.path())?);
        let manifest = self.read(pool, said, Some(target))?;
        reach("import.unpacked")?;
        let options = CommitOptions {
            source: Source::OverlayUpper,
            ..CommitOptions::default()
        };
        // What was written was hashed on its way. All else is read from the disk.
        let assume = |path: &TreePath| match manifest.get(path.as_bytes())?.kind {
            Kind::File { hash, .. } => Some(hash),
            _ => None,
        };
        let prepared = store.prepare_knowing(staging, options, &assume)?;
        let id = manifest.id();
        if prepared.id() != id {
            return Err((self.error)(PackageError::NotKept {
                name: said.name.clone(),
                said: id,
                found: prepared.id(),
            }));
        }
        Ok(Found::New(Box::new(prepared)))
    }

    /// Reads the whole blob of a layer, and compares all that is said of it.
    fn read(&self, pool: &Pool<'_>, said: &Said, target: Option<Arc<Target>>) -> Result<Manifest> {
        let Said {
            name, descriptor, ..
        } = said;
        let blob = self.archive.blob(descriptor).map_err(self.error)?;
        let blob = Hashing::new(blob);
        let decoder = Decoder::new(&descriptor.media_type, blob, name).map_err(self.error)?;
        let metered = Metered::new(decoder, self.meter, descriptor.size);
        let buffered = std::io::BufReader::with_capacity(256 * 1024, Hashing::new(metered));
        let mut reader = Reader::new(buffered);
        let manifest = tree::read(
            &mut reader,
            &Reading {
                name,
                prefix: self.prefix,
                meter: self.meter,
                pool,
                target,
                error: &self.error,
            },
        )?;
        let (metered, diff_id) = reader.into_inner().into_inner().finish();
        let (_, digest) = metered.into_inner().into_inner().finish();
        // Of a blob that was not read to its end the digest is another, too.
        check_digest(name, digest, descriptor.digest)
            .and_then(|()| check_digest(name, diff_id, said.diff_id))
            .map_err(self.error)?;
        let found = manifest.id();
        match said.id {
            Some(id) if id != found => Err((self.error)(PackageError::OtherLayer {
                name: name.clone(),
                found,
                said: id,
            })),
            _ => Ok(manifest),
        }
    }
}
