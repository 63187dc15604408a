//! What is installed in an environment, and whether it is what its lists say.
//!
//! Reads the metadata that every installer leaves; also finds what the user's own pip did.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::name::normalize;
use super::record::{self, Hasher, RecordEntry};
use super::tree::Tree;
use super::wheel::header;

/// A distribution that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledDistribution {
    /// Name as the distribution writes it.
    pub name: String,
    /// Normalised name: the one to compare.
    pub normalized: String,
    /// Version.
    pub version: String,
    /// Its metadata directory, relative to the environment.
    pub metadata: PathBuf,
    /// Whether it was asked for itself.
    pub requested: bool,
    /// Whether it is used from a project directory.
    pub editable: bool,
    /// Where it came from, if not from an index.
    pub url: Option<String>,
    /// Who installed it: `ptest`, `pip`, `uv`.
    pub installer: Option<String>,
}

/// Something about an installed distribution that is not as its list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deviation {
    /// The file, relative to the environment.
    pub path: PathBuf,
    /// What is wrong with it.
    pub kind: DeviationKind,
}

/// What can be wrong with a file of a distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviationKind {
    /// It is not there.
    Missing,
    /// It has another content.
    Changed,
    /// The list itself is missing or malformed.
    Unlisted,
}

/// All distributions in `site_packages` (relative) of an environment, sorted by normalised name.
///
/// What has no readable metadata is left out: an interrupted installation leaves such
/// directories behind, and pip ignores them too.
pub fn installed(
    tree: &dyn Tree,
    site_packages: &Path,
) -> Result<Vec<InstalledDistribution>, InstalledError> {
    let mut found = Vec::new();
    let failed = |path: &Path, source| InstalledError {
        path: path.to_owned(),
        source,
    };
    let names = tree
        .list(site_packages)
        .map_err(|source| failed(site_packages, source))?;
    for name in names {
        let is_metadata = name
            .to_str()
            .is_some_and(|name| name.ends_with(".dist-info") && !name.starts_with('~'));
        if !is_metadata {
            continue;
        }
        let metadata = site_packages.join(&name);
        let distribution = read(tree, &metadata).map_err(|source| failed(&metadata, source))?;
        found.extend(distribution);
    }
    found.sort_by(|one, two| one.normalized.cmp(&two.normalized));
    Ok(found)
}

/// Compares the files of a distribution with its list. An empty answer means that all is right.
pub fn verify(
    tree: &dyn Tree,
    site_packages: &Path,
    distribution: &InstalledDistribution,
) -> Result<Vec<Deviation>, InstalledError> {
    let list = distribution.metadata.join("RECORD");
    let failed = |path: &Path, source| InstalledError {
        path: path.to_owned(),
        source,
    };
    let listed = text(tree, &list)
        .map_err(|source| failed(&list, source))?
        .and_then(|text| record::parse(&text))
        .filter(|entries| !entries.is_empty());
    let Some(listed) = listed else {
        return Ok(vec![Deviation {
            path: list,
            kind: DeviationKind::Unlisted,
        }]);
    };
    let mut deviations = Vec::new();
    for entry in listed {
        let Some(path) = inside(site_packages, &entry.path) else {
            // A file outside of the environment is none of its own.
            continue;
        };
        let kind = check(tree, &path, &entry).map_err(|source| failed(&path, source))?;
        deviations.extend(kind.map(|kind| Deviation { path, kind }));
    }
    Ok(deviations)
}

/// An environment's files cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {path} of the environment", path = .path.display())]
pub struct InstalledError {
    /// The file or directory, relative to the environment.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

fn read(tree: &dyn Tree, metadata: &Path) -> io::Result<Option<InstalledDistribution>> {
    let Some(description) = text(tree, &metadata.join("METADATA"))? else {
        return Ok(None);
    };
    let (Some(name), Some(version)) = (
        header(&description, "Name"),
        header(&description, "Version"),
    ) else {
        return Ok(None);
    };
    let direct = text(tree, &metadata.join("direct_url.json"))?
        .and_then(|text| serde_json::from_str::<DirectUrl>(&text).ok());
    Ok(Some(InstalledDistribution {
        normalized: normalize(&name),
        name,
        version,
        requested: tree.open(&metadata.join("REQUESTED"))?.is_some(),
        editable: direct
            .as_ref()
            .and_then(|direct| direct.dir_info.as_ref())
            .is_some_and(|info| info.editable),
        url: direct.map(|direct| direct.url),
        installer: text(tree, &metadata.join("INSTALLER"))?.map(|text| text.trim().to_owned()),
        metadata: metadata.to_owned(),
    }))
}

#[derive(Deserialize)]
struct DirectUrl {
    url: String,
    dir_info: Option<DirInfo>,
}

#[derive(Deserialize)]
struct DirInfo {
    #[serde(default)]
    editable: bool,
}

fn check(tree: &dyn Tree, path: &Path, entry: &RecordEntry) -> io::Result<Option<DeviationKind>> {
    let Some(mut file) = tree.open(path)? else {
        // Bytecode may go at any time.
        let is_bytecode = path.extension().is_some_and(|suffix| suffix == "pyc");
        return Ok((!is_bytecode).then_some(DeviationKind::Missing));
    };
    let changed = Some(DeviationKind::Changed);
    if entry.hash.is_empty() {
        return Ok(None);
    }
    if !entry.size.is_empty() && file.metadata()?.len().to_string() != entry.size {
        return Ok(changed);
    }
    let Some(mut hasher) = Hasher::for_hash(&entry.hash) else {
        return Ok(None);
    };
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hasher.update(&buffer[..count]),
        }
    }
    let is_same = hasher.finish().named == entry.hash.trim_end_matches('=');
    Ok(if is_same { None } else { changed })
}

/// The path of a listed file in the environment; `None` if it is outside.
pub(crate) fn inside(site_packages: &Path, listed: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for part in site_packages.join(listed).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => {
                if !path.pop() {
                    return None;
                }
            }
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path)
}

fn text(tree: &dyn Tree, path: &Path) -> io::Result<Option<String>> {
    let Some(mut file) = tree.open(path)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
