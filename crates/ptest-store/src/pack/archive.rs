//! The file of a package: where its parts are, and its documents, checked.
//!
//! What the layers hold is the business of `tree`.

use std::collections::HashMap;

use serde::de::DeserializeOwned;

use super::error::{PackageError, TarError};
use super::limits::Meter;
use super::oci::{self, Config, Descriptor, Digest, Index, Layout, Manifest, RootFs};
use super::source::{Part, ReadAt};
use super::tar::MemberKind;
use super::tar::read::Reader;

/// A file that has the form of an OCI image layout in a tar.
pub(crate) struct Archive<'a> {
    source: &'a dyn ReadAt,
    /// Place and size of each file in it.
    parts: HashMap<String, (u64, u64)>,
}

/// The documents of the one image that is in an archive.
pub(crate) struct Image {
    pub(crate) manifest: Manifest,
    pub(crate) config: Config,
}

impl<'a> Archive<'a> {
    /// Finds what is in the file.
    pub(crate) fn open(source: &'a dyn ReadAt, meter: &Meter<'_>) -> Result<Self, PackageError> {
        let broken = |source: TarError| PackageError::Tar {
            name: "the file".to_owned(),
            source,
        };
        let mut reader = Reader::new(Part::new(source, 0, u64::MAX));
        let mut parts = HashMap::new();
        while let Some(member) = reader.next().map_err(broken)? {
            meter.entry(member.name.len())?;
            let name = String::from_utf8_lossy(&member.name).into_owned();
            let wrong = |problem| PackageError::Form {
                name: name.clone(),
                problem,
            };
            let plain = name.strip_prefix("./").unwrap_or(&name);
            match member.kind {
                MemberKind::Directory if is_directory(plain) => {}
                MemberKind::File if is_file(plain) => {
                    let place = (reader.offset(), member.size);
                    if parts.insert(plain.to_owned(), place).is_some() {
                        return Err(wrong("a part that is there twice"));
                    }
                    reader.leave_out(Part::skip);
                }
                _ => return Err(wrong("not a part of an OCI image layout in a tar")),
            }
        }
        Ok(Self { source, parts })
    }

    /// Reads the documents, and checks what they say of each other.
    pub(crate) fn image(&self, meter: &Meter<'_>) -> Result<Image, PackageError> {
        let layout: Layout = parse(oci::LAYOUT_FILE, &self.read(oci::LAYOUT_FILE, meter)?)?;
        require(
            layout.version == Layout::VERSION,
            oci::LAYOUT_FILE,
            "a layout of another version than 1.0.0",
        )?;
        let index: Index = parse(oci::INDEX_FILE, &self.read(oci::INDEX_FILE, meter)?)?;
        let is_index = index.media_type.is_none_or(|found| found == oci::INDEX);
        require(
            index.schema_version == 2 && is_index,
            oci::INDEX_FILE,
            "not an image index",
        )?;
        let [descriptor] = index.manifests.as_slice() else {
            return Err(PackageError::Form {
                name: oci::INDEX_FILE.to_owned(),
                problem: "not one image, but none or several",
            });
        };
        let manifest: Manifest = self.document(descriptor, oci::MANIFEST, meter)?;
        let name = descriptor.digest.blob();
        let is_manifest = manifest
            .media_type
            .as_ref()
            .is_none_or(|found| found == oci::MANIFEST);
        require(
            manifest.schema_version == 2 && is_manifest,
            &name,
            "not an image manifest",
        )?;
        meter.layers(manifest.layers.len())?;
        let config: Config = self.document(&manifest.config, oci::CONFIG, meter)?;
        let name = manifest.config.digest.blob();
        require(config.os == "linux", &name, "an image for another system")?;
        require(
            config.rootfs.kind == RootFs::KIND
                && config.rootfs.diff_ids.len() == manifest.layers.len(),
            &name,
            "a list of layers that is not the manifest's",
        )?;
        Ok(Image { manifest, config })
    }

    /// A blob, whose contents are still to be compared with its digest.
    pub(crate) fn blob(&self, descriptor: &Descriptor) -> Result<Part<'a>, PackageError> {
        let name = descriptor.digest.blob();
        let (offset, size) = self.find(&name)?;
        if size != descriptor.size {
            return Err(PackageError::Damaged {
                name,
                what: "the size",
                found: size.to_string(),
                expected: descriptor.size.to_string(),
            });
        }
        Ok(Part::new(self.source, offset, size))
    }

    fn document<T: DeserializeOwned>(
        &self,
        descriptor: &Descriptor,
        media_type: &str,
        meter: &Meter<'_>,
    ) -> Result<T, PackageError> {
        let name = descriptor.digest.blob();
        require(
            descriptor.media_type == media_type,
            &name,
            "a document of another media type than OCI's image manifest and image config",
        )?;
        self.blob(descriptor)?;
        let bytes = self.read(&name, meter)?;
        check_digest(&name, Digest::of(&bytes), descriptor.digest)?;
        parse(&name, &bytes)
    }

    fn read(&self, name: &str, meter: &Meter<'_>) -> Result<Vec<u8>, PackageError> {
        let (offset, size) = self.find(name)?;
        meter.document(size)?;
        let mut bytes = Vec::new();
        let read =
            std::io::Read::read_to_end(&mut Part::new(self.source, offset, size), &mut bytes);
        read.map_err(|source| PackageError::Tar {
            name: name.to_owned(),
            source: source.into(),
        })?;
        Ok(bytes)
    }

    fn find(&self, name: &str) -> Result<(u64, u64), PackageError> {
        let found = self.parts.get(name).copied();
        found.ok_or_else(|| PackageError::Form {
            name: name.to_owned(),
            problem: "a part is missing",
        })
    }
}

/// Compares the digest of a part with what is said of it.
pub(crate) fn check_digest(
    name: &str,
    found: Digest,
    expected: Digest,
) -> Result<(), PackageError> {
    if found == expected {
        return Ok(());
    }
    Err(PackageError::Damaged {
        name: name.to_owned(),
        what: "the digest",
        found: found.to_string(),
        expected: expected.to_string(),
    })
}

fn require(is_so: bool, name: &str, problem: &'static str) -> Result<(), PackageError> {
    if is_so {
        return Ok(());
    }
    Err(PackageError::Form {
        name: name.to_owned(),
        problem,
    })
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, PackageError> {
    serde_json::from_slice(bytes).map_err(|source| PackageError::Document {
        name: name.to_owned(),
        source,
    })
}

fn is_directory(name: &str) -> bool {
    matches!(
        name,
        "" | "." | "blobs/" | "blobs" | "blobs/sha256/" | "blobs/sha256"
    )
}

/// Which of the files is used is another matter.
fn is_file(name: &str) -> bool {
    let is_blob = || {
        name.strip_prefix(oci::BLOBS)
            .is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    matches!(
        name,
        oci::LAYOUT_FILE | oci::INDEX_FILE | oci::DOCKER_FILE | oci::DOCKER_NAMES_FILE
    ) || is_blob()
}
