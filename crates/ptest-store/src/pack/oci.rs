//! The JSON documents of an OCI image, as far as a package has them (image-spec 1.1).
//!
//! Fields that are not known are ignored when they are read, as the specification asks.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(crate) const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

pub(crate) const LAYOUT_FILE: &str = "oci-layout";
pub(crate) const INDEX_FILE: &str = "index.json";
/// What `docker load` reads where docker keeps its images in the old way.
pub(crate) const DOCKER_FILE: &str = "manifest.json";
/// The same of even older ones; only ever read past.
pub(crate) const DOCKER_NAMES_FILE: &str = "repositories";
pub(crate) const BLOBS: &str = "blobs/sha256/";

/// Says of a layer which of ptest's it is.
pub(crate) const LAYER_ANNOTATION: &str = "dev.ptest.layer";
/// Says where in the image the tree lies: by this label an image is a package. A label, because
/// annotations are lost where docker keeps its images in the old way.
pub(crate) const PREFIX_LABEL: &str = "dev.ptest.prefix";

/// `oci-layout`.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Layout {
    #[serde(rename = "imageLayoutVersion")]
    pub(crate) version: String,
}

impl Layout {
    pub(crate) const VERSION: &str = "1.0.0";
}

/// `index.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    pub(crate) media_type: Option<String>,
    pub(crate) manifests: Vec<Descriptor>,
}

/// What is said of a blob where it is mentioned.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

/// The list of an image's parts.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    pub(crate) media_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// How an image is run, and what its layers are when they are unpacked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Config {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    pub(crate) architecture: String,
    pub(crate) os: String,
    #[serde(rename = "config")]
    pub(crate) execution: Option<Execution>,
    pub(crate) rootfs: RootFs,
    /// One item a layer: some tools refuse to build on an image that has none.
    #[serde(default, skip_deserializing)]
    pub(crate) history: Vec<History>,
}

/// Where a layer comes from.
#[derive(Debug, Serialize)]
pub(crate) struct History {
    pub(crate) created: &'static str,
    pub(crate) created_by: &'static str,
}

/// The part of a [`Config`] that a container starts from.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Execution {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) env: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entrypoint: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// The digests of the layers' tars before they were compressed, bottom first.
    pub(crate) diff_ids: Vec<Digest>,
}

impl RootFs {
    pub(crate) const KIND: &str = "layers";
}

/// An item of [`DOCKER_FILE`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerImage {
    pub(crate) config: String,
    pub(crate) repo_tags: Option<Vec<String>>,
    pub(crate) layers: Vec<String>,
}

/// A SHA-256 digest: displays as `sha256:` and 64 lower-case hexadecimal digits, and parses from
/// exactly that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Digest([u8; 32]);

impl Digest {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Sha256::new_with_prefix(bytes).into()
    }

    /// Where the blob with this digest is in the layout.
    pub(crate) fn blob(&self) -> String {
        format!("{BLOBS}{}", self.hex())
    }

    fn hex(self) -> impl fmt::Display {
        blake3::Hash::from_bytes(self.0).to_hex()
    }
}

impl From<Sha256> for Digest {
    fn from(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text
            .strip_prefix("sha256:")
            .filter(|digits| !digits.bytes().any(|byte| byte.is_ascii_uppercase()));
        digits
            .and_then(|digits| blake3::Hash::from_hex(digits).ok())
            .map(|hash| Self(hash.into()))
            .ok_or("not a SHA-256 digest")
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}
