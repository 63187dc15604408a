//! The host as a process sees it, for one that goes on in a sandbox after it was forked: what it has open, has read and
//! knows the path of is where it was.
//!
//! Temporary files, home, devices and processes are the host's, unlike in a [`Shape`](super::Shape). What differs is where
//! writes go. Nothing of `/proc` is hidden: the kernel makes a fresh procfs, for a sandbox inside, only where a whole one is
//! in sight.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::{Level, real};
use crate::error::{Error, Result};
use crate::plan::{Access, Isolation, Mount, Network, Plan, Root};

/// What a mirror of the host is to be like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirror {
    /// What it has of a network.
    pub network: Network,
    /// Where writes go.
    pub writes: Writes,
}

/// Where writes go. All paths are absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Writes {
    /// To the host.
    #[default]
    Kept,
    /// Into memory, for as long as the sandbox lives.
    Discarded {
        /// Directories that can be written; so can the next ones.
        places: Vec<PathBuf>,
        /// The same, unless something is mounted below one, or it is not there: it is read-only then.
        others: Vec<PathBuf>,
        /// What is written all the same, if it is there. Everything else is read-only.
        kept: Vec<PathBuf>,
        /// Most bytes of all that is written into memory; half of the memory without it.
        size: Option<u64>,
    },
}

impl Mirror {
    /// The plan for this host as it is now.
    ///
    /// # Errors
    ///
    /// [`Error::Covered`] when something is mounted below a place whose writes are to be discarded.
    pub fn plan(&self) -> Result<Plan> {
        let root = geteuid().is_root();
        let (access, written, size) = match &self.writes {
            Writes::Kept => (Access::ReadWrite, Vec::new(), None),
            Writes::Discarded {
                places,
                others,
                kept,
                size,
            } => {
                let written = written(places, others, kept)?;
                (Access::ReadOnly, written, *size)
            }
        };
        let mut mounts = Vec::new();
        if self.writes != Writes::Kept {
            mounts.push(Mount::Tmpfs {
                target: "/dev/shm".into(),
                size,
                mode: 0o1777,
                read_only: false,
            });
            // Processes tell the kernel of themselves in it.
            mounts.push(Mount::same("/proc", Access::ReadWrite));
            // Sandboxes inside make groups below the process's own, where there are any.
            let groups = Path::new("/sys/fs/cgroup");
            if groups.is_dir() {
                mounts.push(Mount::same(groups, Access::ReadWrite));
            }
        }
        mounts.extend(written);
        Ok(Plan {
            isolation: Isolation::Namespaces {
                network: self.network,
                control_groups: false,
            },
            hostname: None,
            root: Root::Host(access),
            mounts,
            discarded_size: size,
            privileges: Level::Standard.privileges(root),
        })
    }
}

/// What can be written though everything else cannot, from the shortest path to the longest.
fn written(places: &[PathBuf], others: &[PathBuf], kept: &[PathBuf]) -> Result<Vec<Mount>> {
    let mounted = mounted();
    let covered = |place: &Path| {
        let below = |mount: &&PathBuf| mount.starts_with(place) && mount.as_path() != place;
        mounted.iter().find(below).cloned()
    };
    let mut discarded = Vec::new();
    for place in places {
        let place = real(place);
        if let Some(mount) = covered(&place) {
            return Err(Error::Covered { place, mount });
        }
        discarded.push(place);
    }
    let others = others.iter().map(|place| real(place));
    discarded.extend(others.filter(|place| place.is_dir() && covered(place).is_none()));
    // The outermost decides: what is below is written there.
    discarded.sort();
    discarded.dedup_by(|inner, outer| inner.starts_with(outer));

    let kept = kept
        .iter()
        .map(|place| real(place))
        .filter(|place| place.exists());
    let mut written: Vec<(PathBuf, Mount)> = discarded
        .into_iter()
        .map(|path| (path.clone(), Mount::Discarded { path }))
        .chain(kept.map(|path| (path.clone(), Mount::same(path, Access::ReadWrite))))
        .collect();
    written.sort_by_key(|(path, _)| path.components().count());
    Ok(written.into_iter().map(|(_, mount)| mount).collect())
}

/// Where something is mounted.
fn mounted() -> Vec<PathBuf> {
    parse(&fs::read("/proc/self/mountinfo").unwrap_or_default())
}

/// The fifth field of each line, in which blanks and backslashes are octal numbers: proc_pid_mountinfo(5).
fn parse(mountinfo: &[u8]) -> Vec<PathBuf> {
    let lines = mountinfo.split(|byte| *byte == b'\n');
    lines
        .filter_map(|line| line.split(|byte| *byte == b' ').nth(4))
        .map(|field| PathBuf::from(OsString::from_vec(unescaped(field))))
        .collect()
}

fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, others @ ..] = rest {
        match (first, others) {
            (b'\\', [a, b, c, after @ ..])
                if [a, b, c].iter().all(|digit| (b'0'..=b'7').contains(digit)) =>
            {
                text.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
                rest = after;
            }
            _ => {
                text.push(*first);
                rest = others;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounted_paths_are_read_with_their_blanks() {
        let text =
            b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:5 / /a\\040b\\134c rw - tmpfs none rw\n";
        assert_eq!(parse(text), [PathBuf::from("/"), "/a b\\c".into()]);
    }

    #[test]
    fn what_is_below_another_place_is_written_there() {
        let directory = tempfile::tempdir().unwrap();
        let outer = directory.path().canonicalize().unwrap();
        let inner = outer.join("a");
        fs::create_dir(&inner).unwrap();
        let places = [inner.clone(), outer.clone()];
        let written = written(&places, &[], std::slice::from_ref(&inner)).unwrap();
        assert_eq!(
            written,
            [
                Mount::Discarded { path: outer },
                Mount::same(inner, Access::ReadWrite)
            ]
        );
    }

    #[test]
    fn a_place_with_a_mount_below_it_is_refused_if_it_is_asked_for_and_else_read_only() {
        // Something is mounted at /proc everywhere.
        let refused = written(&["/".into()], &[], &[]).unwrap_err();
        assert!(matches!(refused, Error::Covered { .. }), "{refused:?}");
        assert!(refused.hint().is_some());
        assert!(written(&[], &["/".into()], &[]).unwrap().is_empty());
    }
}
