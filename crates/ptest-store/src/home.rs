//! The directory of a store: made on first use, recognised by its marker, refused when it is
//! somebody else's.
//!
//! The database inside it is the business of `db`.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Context as _, Error, Result};
use crate::layout::{Layout, random_name};
use crate::steps::reach;

const MARKER: &str = ".ptest-store";
const FORMAT: u32 = 1;

/// Opens the directory at `home`, or makes it, and returns the paths in it.
///
/// - `home` must be absolute; symbolic links in it are resolved once, here.
/// - A directory that does not exist, or is empty, becomes a store. Directories that are made
///   have mode 0700; an empty directory that was there keeps its mode.
/// - A directory with a marker must belong to this user and have a format known here.
/// - Any number of processes may do this at once.
pub(crate) fn open(home: &Path) -> Result<Layout> {
    if !home.is_absolute() {
        return Err(Error::RelativePath {
            path: home.to_owned(),
        });
    }
    match read_marker(home) {
        Ok(marker) => check(home, &marker)?,
        Err(Error::Io { source, .. })
            if matches!(
                source.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            create(home)?;
        }
        Err(error) => {
            // A store is private: of another user's not even the marker can be read.
            check_owner(home)?;
            return Err(error);
        }
    }
    let home = fs::canonicalize(home).at("resolve", home)?;
    Ok(Layout::new(home))
}

/// Makes the directories that are missing. Not part of [`open`] so that opening a store that is
/// complete costs nothing: it is called when the database is found to be new.
pub(crate) fn complete(layout: &Layout) -> Result<()> {
    for directory in layout.directories() {
        make_directory(&directory)?;
    }
    reach("open.directories")
}

/// Makes a directory with mode 0700; one that is there is good.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        result => result.at("create the directory", path),
    }
}

/// The file that says that a directory is a store.
pub(crate) fn marker(home: &Path) -> PathBuf {
    home.join(MARKER)
}

#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format: u32,
    made_by: String,
}

fn read_marker(home: &Path) -> Result<Marker> {
    let path = marker(home);
    let text = fs::read(&path).at("read", &path)?;
    serde_json::from_slice(&text).map_err(|source| Error::DamagedMarker { path, source })
}

fn check(home: &Path, marker: &Marker) -> Result<()> {
    check_owner(home)?;
    if marker.format > FORMAT {
        return Err(Error::NewerFormat {
            what: "the store".to_owned(),
            found: marker.format,
            known: FORMAT,
            path: home.to_owned(),
        });
    }
    Ok(())
}

fn check_owner(home: &Path) -> Result<()> {
    let owner = fs::metadata(home).at("examine", home)?.uid();
    let user = rustix::process::geteuid().as_raw();
    if owner == user {
        return Ok(());
    }
    Err(Error::ForeignOwner {
        path: home.to_owned(),
        owner,
        user,
    })
}

fn create(home: &Path) -> Result<()> {
    if let Some(parent) = home.parent() {
        fs::create_dir_all(parent).at("create the directory", parent)?;
    }
    make_directory(home)?;
    reach("open.directory")?;
    refuse_foreign(home)?;
    write_marker(home)?;
    reach("open.marker")?;
    check(home, &read_marker(home)?)
}

/// Refuses a directory with anything in it but what another process, which is making the same
/// store now or died doing so, put there.
fn refuse_foreign(home: &Path) -> Result<()> {
    for entry in fs::read_dir(home).at("list", home)? {
        let name = entry.at("list", home)?.file_name();
        if name.as_encoded_bytes() == MARKER.as_bytes() {
            return Ok(());
        }
        if !is_unfinished_marker(name.as_encoded_bytes()) {
            // Another process may have finished since: then the marker is there by now.
            if marker(home).exists() {
                return Ok(());
            }
            return Err(Error::NotAStore {
                path: home.to_owned(),
            });
        }
    }
    Ok(())
}

fn is_unfinished_marker(name: &[u8]) -> bool {
    name.strip_prefix(MARKER.as_bytes())
        .is_some_and(|rest| rest.starts_with(b"."))
}

/// Writes the marker so that it is either absent or whole. The first of many processes wins.
fn write_marker(home: &Path) -> Result<()> {
    let path = marker(home);
    let unfinished = home.join(format!("{MARKER}.{}", random_name()?));
    let marker = Marker {
        format: FORMAT,
        made_by: concat!("ptest-store ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let result = write_new(&unfinished, &marker)
        .and_then(|()| match fs::hard_link(&unfinished, &path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        })
        .at("write", &path);
    // A file of this name is ours alone; left behind, it would only be noise.
    let removed = fs::remove_file(&unfinished).at("remove", &unfinished);
    result.and(removed)
}

fn write_new(path: &PathBuf, marker: &Marker) -> io::Result<()> {
    let mut text = serde_json::to_vec(marker)?;
    text.push(b'\n');
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(&text)
}
