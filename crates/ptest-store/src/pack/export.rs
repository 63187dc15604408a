//! Writes a package: every layer into a blob, then all of it into one tar.

use std::fs::{self, File};
use std::io::{self, Read as _, Write};

use super::blob::{self, Blob, Source};
use super::codec::{Codec, Compression};
use super::oci::{
    self, Config, Descriptor, Digest, DockerImage, Execution, History, Index, Layout, Manifest,
    RootFs,
};
use super::package::Package;
use super::pool;
use super::tar::{Member, MemberKind, padding, write};
use crate::Store;
use crate::error::{Context as _, Result};
use crate::manifest::Mtime;
use crate::staging::Staging;
use crate::steps::reach;

/// What [`Store::export`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// How long the file is.
    pub bytes: u64,
    /// How long the layers' tars are before they are compressed.
    pub unpacked: u64,
    /// The digest by which registries and container engines know the image, `sha256:…`.
    pub image: String,
}

impl Store {
    /// Writes a stack of layers as one file: an OCI image layout in a tar, with one blob a layer,
    /// which container engines read and [`Store::import`] reads back.
    ///
    /// - The file is the same to the byte for the same package and compression, wherever and
    ///   however often it is made by one version of ptest: owners are 0, times are the layers' or
    ///   1970, and the order is fixed.
    /// - Every file is compared with its layer's manifest on the way.
    /// - Blobs are made in the store's staging directory, so that there must be room for the
    ///   package; a killed process leaves what [`Store::recover`] removes.
    /// - `out` gets the file in order, from the thread of the caller. What is in it after a
    ///   failure is no package.
    ///
    /// # Errors
    ///
    /// [`Error::Unpackable`](crate::Error::Unpackable) for what an image cannot express: a name
    /// that begins with `.wh.`, a label of ptest's own; [`LayerMissing`](crate::Error::LayerMissing)
    /// or [`LayerCorrupt`](crate::Error::LayerCorrupt).
    pub fn export(
        &self,
        package: &Package,
        compression: Compression,
        out: &mut dyn Write,
    ) -> Result<Exported> {
        package.check()?;
        let places = self.stack_paths(&package.stack)?;
        let staging = Staging::begin(self)?;
        let mut sources = Vec::with_capacity(places.len());
        for (layer, tree) in package.stack.layers().iter().zip(places) {
            let manifest = self.manifest(layer)?;
            blob::check_names(&manifest)?;
            sources.push(Source {
                layer: *layer,
                manifest,
                tree,
                prefix: &package.prefix,
                path: staging.wrapper().join(layer.to_string()),
            });
        }
        let codec = Codec::new(compression);
        let blobs = pool::run(&sources, |pool, source| blob::pack(pool, &codec, source))?;
        reach("export.packed")?;
        let documents = Documents::new(package, compression, &blobs)?;
        let mut file = PackageFile { out, bytes: 0 };
        file.write_all(&blobs, &documents)?;
        for blob in &blobs {
            fs::remove_file(&blob.path).at("remove", &blob.path)?;
        }
        reach("export.written")?;
        Ok(Exported {
            bytes: file.bytes,
            unpacked: blobs.iter().map(|blob| blob.unpacked).sum(),
            image: documents.manifest_digest.to_string(),
        })
    }
}

/// The JSON documents of a package, as they are written.
struct Documents {
    layout: Vec<u8>,
    index: Vec<u8>,
    docker: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
    manifest_digest: Digest,
}

impl Documents {
    fn new(package: &Package, compression: Compression, blobs: &[Blob]) -> Result<Self> {
        Self::encode(package, compression, blobs)
            .map_err(io::Error::from)
            .at("write", "the documents of the package")
    }

    fn encode(
        package: &Package,
        compression: Compression,
        blobs: &[Blob],
    ) -> serde_json::Result<Self> {
        let config = serde_json::to_vec(&config(package, blobs))?;
        let manifest = serde_json::to_vec(&Manifest {
            schema_version: 2,
            media_type: Some(oci::MANIFEST.to_owned()),
            config: descriptor(oci::CONFIG, &config),
            layers: blobs
                .iter()
                .map(|blob| Descriptor {
                    media_type: compression.media_type().to_owned(),
                    digest: blob.digest,
                    size: blob.size,
                    annotations: Some(
                        [(oci::LAYER_ANNOTATION.to_owned(), blob.layer.to_string())].into(),
                    ),
                })
                .collect(),
        })?;
        let in_index = descriptor(oci::MANIFEST, &manifest);
        let manifest_digest = in_index.digest;
        Ok(Self {
            layout: serde_json::to_vec(&Layout {
                version: Layout::VERSION.to_owned(),
            })?,
            index: serde_json::to_vec(&Index {
                schema_version: 2,
                media_type: Some(oci::INDEX.to_owned()),
                manifests: vec![in_index],
            })?,
            docker: serde_json::to_vec(&[DockerImage {
                config: Digest::of(&config).blob(),
                repo_tags: None,
                layers: blobs.iter().map(|blob| blob.digest.blob()).collect(),
            }])?,
            config,
            manifest,
            manifest_digest,
        })
    }
}

fn config(package: &Package, blobs: &[Blob]) -> Config {
    let mut labels = package.labels.clone();
    // Whether it is text was checked.
    let prefix = String::from_utf8_lossy(package.prefix.as_bytes());
    labels.insert(oci::PREFIX_LABEL.to_owned(), prefix.into_owned());
    let variables = package.env.iter();
    Config {
        created: Some(CREATED.to_owned()),
        architecture: package.architecture.clone(),
        os: "linux".to_owned(),
        execution: Some(Execution {
            env: Some(
                variables
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect(),
            ),
            entrypoint: (!package.entrypoint.is_empty()).then(|| package.entrypoint.clone()),
            labels: Some(labels),
        }),
        rootfs: RootFs {
            kind: RootFs::KIND.to_owned(),
            diff_ids: blobs.iter().map(|blob| blob.diff_id).collect(),
        },
        history: blobs
            .iter()
            .map(|_| History {
                created: CREATED,
                created_by: "ptest",
            })
            .collect(),
    }
}

fn descriptor(media_type: &str, document: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(document),
        size: document.len() as u64,
        annotations: None,
    }
}

/// The file of a package in the making.
struct PackageFile<'a> {
    out: &'a mut dyn Write,
    bytes: u64,
}

impl PackageFile<'_> {
    /// Small things first: a program that only wants to know what it is need not read far.
    fn write_all(&mut self, blobs: &[Blob], documents: &Documents) -> Result<()> {
        self.document(oci::LAYOUT_FILE, &documents.layout)?;
        self.document(oci::INDEX_FILE, &documents.index)?;
        self.document(oci::DOCKER_FILE, &documents.docker)?;
        for directory in ["blobs/", oci::BLOBS] {
            self.header(directory, MemberKind::Directory, 0o755, 0)?;
        }
        let Documents {
            config, manifest, ..
        } = documents;
        self.document(&documents.manifest_digest.blob(), manifest)?;
        self.document(&Digest::of(config).blob(), config)?;
        let mut buffer = vec![0; 256 * 1024];
        for blob in blobs {
            let mut file = File::open(&blob.path).at("open", &blob.path)?;
            self.header(&blob.digest.blob(), MemberKind::File, 0o644, blob.size)?;
            let mut left = blob.size;
            while left > 0 {
                let most = buffer
                    .len()
                    .min(usize::try_from(left).unwrap_or(usize::MAX));
                file.read_exact(&mut buffer[..most])
                    .at("read", &blob.path)?;
                self.put(&buffer[..most])?;
                left -= most as u64;
            }
            self.put(&[0; 512][..padding(blob.size)])?;
        }
        self.put(&write::END)?;
        self.out.flush().at("write", PACKAGE)
    }

    fn document(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let size = bytes.len() as u64;
        self.header(name, MemberKind::File, 0o644, size)?;
        self.put(bytes)?;
        self.put(&[0; 512][..padding(size)])
    }

    fn header(&mut self, name: &str, kind: MemberKind, mode: u32, size: u64) -> Result<()> {
        let mut header = Vec::new();
        let member = Member {
            name: name.as_bytes().to_vec(),
            kind,
            mode,
            size,
            mtime: Mtime::default(),
            link: Vec::new(),
        };
        write::header(&mut header, &member);
        self.put(&header)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).at("write", PACKAGE)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

const PACKAGE: &str = "the package";
/// One time for all, so that the same package is the same file.
const CREATED: &str = "1970-01-01T00:00:00Z";
