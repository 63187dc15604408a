//! How one environment came to have its distributions: the files beside a distribution's
//! metadata that differ between environments, in a small tree of their own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::installer::{Pinned, Source};
use super::name::file_url;
use super::record::{self, Hasher, RecordEntry};
use super::wheel::Layout;

/// A distribution of an environment and how it came there.
#[derive(Debug, Clone, Copy)]
pub struct Provenance<'a> {
    /// The tree that the distribution's wheel was unpacked to.
    pub tree: &'a Path,
    /// The name of its metadata directory.
    pub dist_info: &'a str,
    /// Whether it was asked for itself.
    pub requested: bool,
    /// The content of its `direct_url.json`, see [`direct_url`].
    pub direct_url: Option<&'a str>,
}

/// Writes `REQUESTED` and `direct_url.json` of each distribution that has one into `dest`, with
/// the lists that name them. Says whether there was anything to write.
///
/// Meant for a layer above those of the distributions: the lists replace theirs.
pub fn requested_layer(
    distributions: &[Provenance<'_>],
    layout: &Layout,
    dest: &Path,
) -> Result<bool, ProvenanceError> {
    let mut any = false;
    for distribution in distributions {
        let mut files: Vec<(&str, &str)> = Vec::new();
        if distribution.requested {
            files.push(("REQUESTED", ""));
        }
        if let Some(text) = distribution.direct_url {
            files.push(("direct_url.json", text));
        }
        if files.is_empty() {
            continue;
        }
        any = true;
        let place = layout.site_packages.join(distribution.dist_info);
        let directory = dest.join(&place);
        let failed = |path: &Path, source| ProvenanceError {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(&directory).map_err(|source| failed(&directory, source))?;
        let original = distribution.tree.join(&place).join("RECORD");
        let listed = fs::read_to_string(&original)
            .and_then(|text| {
                record::parse(&text).ok_or_else(|| io::Error::other("it is malformed"))
            })
            .map_err(|source| failed(&original, source))?;
        let mut listed = listed;
        for (name, text) in files {
            let path = directory.join(name);
            fs::write(&path, text).map_err(|source| failed(&path, source))?;
            let mut hasher = Hasher::Sha256(sha2::Digest::new());
            hasher.update(text.as_bytes());
            listed.push(RecordEntry::new(
                format!("{}/{name}", distribution.dist_info),
                &hasher.finish().sha256,
                text.len() as u64,
            ));
        }
        let path = directory.join("RECORD");
        fs::write(&path, record::write(listed)).map_err(|source| failed(&path, source))?;
    }
    Ok(any)
}

/// The content of `direct_url.json` (PEP 610) for a distribution that was asked for by where it
/// is; `None` for one of an index.
pub fn direct_url(pin: &Pinned) -> Option<String> {
    let archive_info = |sha256: Option<&str>| match sha256 {
        Some(sha256) => json!({
            "hash": format!("sha256={sha256}"),
            "hashes": { "sha256": sha256 },
        }),
        None => json!({}),
    };
    let mut object = Map::new();
    match &pin.source {
        Source::Wheel { .. } | Source::Sdist { .. } => return None,
        Source::Archive {
            url,
            sha256,
            subdirectory,
        } => {
            object.insert("archive_info".into(), archive_info(sha256.as_deref()));
            put(&mut object, "subdirectory", subdirectory.as_deref());
            put(&mut object, "url", Some(url));
        }
        Source::File { path, sha256 } => {
            object.insert("archive_info".into(), archive_info(sha256.as_deref()));
            put(&mut object, "url", Some(&file_url(path)));
        }
        Source::Project { path, editable, .. } => {
            let info = if *editable {
                json!({ "editable": true })
            } else {
                json!({})
            };
            object.insert("dir_info".into(), info);
            put(&mut object, "url", Some(&file_url(path)));
        }
        Source::Repository {
            system,
            url,
            commit,
            requested_revision,
            subdirectory,
        } => {
            put(&mut object, "subdirectory", subdirectory.as_deref());
            put(&mut object, "url", Some(url));
            let mut info = Map::new();
            put(&mut info, "commit_id", Some(commit));
            put(
                &mut info,
                "requested_revision",
                requested_revision.as_deref(),
            );
            put(&mut info, "vcs", Some(system));
            object.insert("vcs_info".into(), Value::Object(info));
        }
    }
    Some(Value::Object(object).to_string())
}

/// A file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the provenance at {path}", path = .path.display())]
pub struct ProvenanceError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

fn put(object: &mut Map<String, Value>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        object.insert(name.into(), value.into());
    }
}
