//! File systems of a test's own: an image file, mounted as long as the test uses it.
//!
//! For what depends on the file system below, such as sharing contents. Needs root, loop devices, a kernel that has the
//! file system and its `mkfs`; `cargo xtask test` installs the latter.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::requirement::{self, Requirement};

/// What a file system is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// btrfs, which shares contents.
    Btrfs,
    /// XFS, which shares contents.
    Xfs,
}

/// A mounted file system, gone when dropped.
#[derive(Debug)]
pub struct Image {
    mounted: PathBuf,
    _directory: tempfile::TempDir,
}

impl Kind {
    fn format(self) -> &'static [&'static str] {
        match self {
            Self::Btrfs => &["mkfs.btrfs", "--quiet"],
            Self::Xfs => &["mkfs.xfs", "-q", "-m", "reflink=1"],
        }
    }
}

impl Image {
    /// The root of the file system.
    pub fn path(&self) -> &Path {
        &self.mounted
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // What still uses it keeps it; the search for what tests leave behind tells.
        let _ = requirement::succeeds(Command::new("umount").arg(&self.mounted));
    }
}

/// `reflink`: an empty file system of this kind, of half a gigabyte, made and mounted for the caller.
pub fn image(kind: Kind) -> Requirement<Image> {
    Requirement::new("reflink", mount(kind))
}

fn mount(kind: Kind) -> Result<Image, String> {
    // What XFS takes at least is 300 MiB.
    const BYTES: u64 = 512 << 20;
    requirement::root().into_result()?;
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let image = directory.path().join("image");
    File::create(&image)
        .and_then(|file| file.set_len(BYTES))
        .map_err(|error| format!("no image file: {error}"))?;
    let mounted = directory.path().join("mounted");
    std::fs::create_dir(&mounted).map_err(|error| error.to_string())?;
    let (program, options) = kind.format().split_at(1);
    requirement::succeeds(Command::new(program[0]).args(options).arg(&image))?;
    requirement::succeeds(
        Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(&mounted),
    )?;
    Ok(Image {
        mounted,
        _directory: directory,
    })
}
