//! Reads pip's installation report (`pip install --report`).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::installer::{Pinned, Source};
use super::name::{normalize, path_of_file_url, url_file_name};
use super::redact::without_user;
use super::stage::Stage;

/// The distributions that the report `text` names.
pub(crate) fn read(text: &str, stage: &Stage) -> Result<Vec<Pinned>, String> {
    let report: Report = serde_json::from_str(text).map_err(|error| error.to_string())?;
    report
        .install
        .into_iter()
        .map(|item| item.pin(stage))
        .collect()
}

#[derive(Deserialize)]
struct Report {
    install: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    download_info: DownloadInfo,
    is_direct: bool,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    version: String,
}

#[derive(Deserialize)]
struct DownloadInfo {
    url: String,
    subdirectory: Option<String>,
    archive_info: Option<ArchiveInfo>,
    vcs_info: Option<VcsInfo>,
    dir_info: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct ArchiveInfo {
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    hash: Option<String>,
}

#[derive(Deserialize)]
struct VcsInfo {
    vcs: String,
    commit_id: String,
    requested_revision: Option<String>,
}

impl ArchiveInfo {
    fn sha256(&self) -> Option<String> {
        self.hashes
            .get("sha256")
            .map(String::as_str)
            .or_else(|| self.hash.as_deref()?.strip_prefix("sha256="))
            .map(str::to_lowercase)
    }
}

impl Item {
    fn pin(self, stage: &Stage) -> Result<Pinned, String> {
        let name = normalize(&self.metadata.name);
        let url = without_user(&self.download_info.url);
        let subdirectory = self.download_info.subdirectory;
        let source = if let Some(vcs) = self.download_info.vcs_info {
            Source::Repository {
                system: vcs.vcs,
                url,
                commit: vcs.commit_id,
                requested_revision: vcs.requested_revision,
                subdirectory,
            }
        } else if self.download_info.dir_info.is_some() {
            stage
                .source(&url, None)
                .ok_or_else(|| format!("{name} is at {url}, which nobody asked for"))?
        } else {
            let sha256 = self
                .download_info
                .archive_info
                .as_ref()
                .and_then(ArchiveInfo::sha256);
            archive(url, sha256, subdirectory, self.is_direct, stage)?
        };
        Ok(Pinned {
            name,
            version: Some(self.metadata.version),
            source,
            requested: false,
        })
    }
}

fn archive(
    url: String,
    sha256: Option<String>,
    subdirectory: Option<String>,
    is_direct: bool,
    stage: &Stage,
) -> Result<Source, String> {
    if is_direct {
        if let Some(source) = stage.source(&url, sha256.as_deref()) {
            return Ok(source);
        }
        return Ok(match path_of_file_url(&url) {
            Some(path) => Source::File { path, sha256 },
            None => Source::Archive {
                url,
                sha256,
                subdirectory,
            },
        });
    }
    let file_name = url_file_name(&url).ok_or_else(|| format!("{url} has no file name"))?;
    Ok(if file_name.ends_with(".whl") {
        Source::Wheel {
            url,
            file_name,
            sha256,
        }
    } else {
        Source::Sdist { url, sha256 }
    })
}
