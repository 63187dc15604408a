//! An environment's tree at another path than the one that it was made for: which files mention
//! that path, and the lists of distributions whose scripts were changed.
//!
//! Not for how text is rewritten or files are copied: that is the store's.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use ptest_store::{Cloned, Rewrite, Stack, Store, Text, TreePath};
use sha2::{Digest as _, Sha256};

use super::ENV_PREFIX;
use super::activation;
use super::installed::inside;
use super::record::{self, RecordEntry};

/// Copies what a stack shows to `destination`, to be used at `place`: what names the prefix of
/// every environment names `place` instead, and each `RECORD` is true of the copy. With
/// `hard_links` files that cannot share their contents are the layers' own.
///
/// # Errors
///
/// As [`Store::clone_tree`] and [`Store::link_tree`].
pub(crate) fn clone_tree(
    store: &Store,
    stack: &Stack,
    destination: &Path,
    place: &Path,
    hard_links: bool,
) -> ptest_store::Result<Cloned> {
    let rewrite = Rewrite {
        from: ENV_PREFIX.as_bytes(),
        to: place.as_os_str().as_bytes(),
        select: &mentions_prefix,
        finish: &correct_records,
    };
    if hard_links {
        store.link_tree(stack, destination, Some(rewrite))
    } else {
        store.clone_tree(stack, destination, Some(rewrite))
    }
}

/// For a copy of files that were written at `place`, to be a layer: the other way round.
pub(crate) fn moved_back(place: &Path) -> Rewrite<'_> {
    Rewrite {
        from: place.as_os_str().as_bytes(),
        to: ENV_PREFIX.as_bytes(),
        select: &mentions_prefix,
        finish: &correct_records,
    }
}

/// What the text of these files says of the environment's place is rewritten.
fn mentions_prefix(path: &TreePath) -> Option<Text> {
    let bytes = path.as_bytes();
    let in_bin = bytes
        .strip_prefix(b"bin/")
        .is_some_and(|name| name.starts_with(b"activate") || name.starts_with(b"Activate"));
    match bytes {
        _ if in_bin => Some(Text::By(activation::moved)),
        b"pyvenv.cfg" => Some(Text::Plain),
        _ => None,
    }
}

/// Gives the files that were rewritten their new hashes in the lists that name them.
fn correct_records(root: &Path, rewritten: &[TreePath]) -> io::Result<()> {
    let mut open: BTreeSet<&Path> = rewritten.iter().map(TreePath::as_path).collect();
    if open.is_empty() {
        return Ok(());
    }
    for site_packages in site_packages(root)? {
        for entry in fs::read_dir(root.join(&site_packages))? {
            let name = entry?.file_name();
            if Path::new(&name).extension() == Some(OsStr::new("dist-info")) {
                correct(root, &site_packages, &name, &mut open)?;
            }
        }
    }
    Ok(())
}

/// The directories for packages of a tree, relative to it.
pub(crate) fn site_packages(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(root.join("lib")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let path = Path::new("lib")
            .join(entry?.file_name())
            .join("site-packages");
        if root.join(&path).is_dir() {
            found.push(path);
        }
    }
    Ok(found)
}

/// Corrects the list of one distribution. What it names is taken out of `open`.
fn correct(
    root: &Path,
    site_packages: &Path,
    dist_info: &OsStr,
    open: &mut BTreeSet<&Path>,
) -> io::Result<()> {
    let list = root.join(site_packages).join(dist_info).join("RECORD");
    let text = match fs::read_to_string(&list) {
        // What has no list that can be read has none that is wrong.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::InvalidData
            ) =>
        {
            return Ok(());
        }
        text => text?,
    };
    let Some(mut entries) = record::parse(&text) else {
        return Ok(());
    };
    let mut changed = false;
    for entry in &mut entries {
        let Some(path) = inside(site_packages, &entry.path) else {
            continue;
        };
        if !entry.hash.is_empty() && open.remove(path.as_path()) {
            let contents = fs::read(root.join(&path))?;
            *entry = RecordEntry::new(
                std::mem::take(&mut entry.path),
                &Sha256::digest(&contents),
                contents.len() as u64,
            );
            changed = true;
        }
    }
    if !changed {
        return Ok(());
    }
    let facts = fs::metadata(&list)?;
    // Another file, not another content: the old one may have other names.
    fs::remove_file(&list)?;
    fs::write(&list, record::write(entries))?;
    fs::set_permissions(&list, facts.permissions())?;
    File::options()
        .write(true)
        .open(&list)?
        .set_modified(facts.modified()?)
}
