//! Which file configures the project that the caller stands in.
//!
//! The nearest directory upwards from the working directory with a `ptest.toml`, or with a `pyproject.toml` that has a
//! `[tool.ptest]` table, decides; of two in one directory `ptest.toml` counts, and a warning says so.
//!
//! A file that a stranger planted in a shared directory (`/tmp/ptest.toml`) must not configure anybody's work: a file
//! counts only if it belongs to the caller, to root or to the owner of the working directory; else a warning names it.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path};

use super::{
    error::ConfigError,
    toml_file::{TomlFile, is_absent},
};

/// What the search found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) file: Option<TomlFile>,
    pub(super) warnings: Vec<String>,
}

/// Searches upwards from `start`.
pub(super) fn find(start: &Path, user: u32) -> Result<Found, ConfigError> {
    let mut found = Found::default();
    let trusted = [
        Some(user),
        Some(0),
        fs::metadata(start).ok().map(|directory| directory.uid()),
    ];
    for directory in start.ancestors() {
        let own = candidate(
            &directory.join("ptest.toml"),
            &[],
            &trusted,
            &mut found.warnings,
        )?;
        let pyproject = candidate(
            &directory.join("pyproject.toml"),
            &["tool", "ptest"],
            &trusted,
            &mut found.warnings,
        )?;
        if let (Some(own), Some(pyproject)) = (&own, &pyproject) {
            found.warnings.push(format!(
                "[tool.ptest] in {} is left out, because {} counts",
                pyproject.path().display(),
                own.path().display()
            ));
        }
        found.file = own.or(pyproject);
        if found.file.is_some() {
            break;
        }
    }
    Ok(found)
}

fn candidate(
    path: &Path,
    section: &'static [&'static str],
    trusted: &[Option<u32>],
    warnings: &mut Vec<String>,
) -> Result<Option<TomlFile>, ConfigError> {
    let owner = match fs::metadata(path) {
        Ok(metadata) => metadata.uid(),
        Err(error) if is_absent(&error) => return Ok(None),
        // The caller may stand below directories that it cannot look into: whatever lies there is not its project.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        Err(source) => {
            return Err(ConfigError::Read {
                file: path.to_owned(),
                source,
            });
        }
    };
    if trusted.contains(&Some(owner)) {
        return TomlFile::read(path, section);
    }
    // Another user's pyproject.toml on the way up is nothing to speak of unless it is about ptest.
    match TomlFile::read(path, section) {
        Ok(None) => {}
        Ok(Some(_)) | Err(_) => {
            warnings.push(format!(
                "{} is left out, because it belongs to user {owner}",
                path.display()
            ));
        }
    }
    Ok(None)
}
