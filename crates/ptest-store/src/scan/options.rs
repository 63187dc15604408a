//! How a tree is read: what callers choose when they commit one, and what they are told.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::path::Path;

use rustix::fs::Stat;

use crate::error::{Context as _, Error, Result};
use crate::id::ContentHash;
use crate::manifest::{MODE_BITS, Mtime, TreePath};

/// How a tree is to be read.
#[derive(Clone, Copy)]
pub(crate) struct Reading<'a> {
    /// Whether overlayfs marks mean something.
    pub(crate) overlay: bool,
    pub(crate) times: Mtimes,
    pub(crate) modes: Modes,
    pub(crate) specials: Specials,
    /// A directory on the same file system, for copies: with it, a file with several names gets
    /// contents of its own.
    pub(crate) unshare: Option<&'a Path>,
    /// Answers for files whose contents need not be read.
    pub(crate) assume: &'a (dyn Fn(&TreePath) -> Option<ContentHash> + Sync),
    /// With it, a tree of which a layer would not be all is refused.
    pub(crate) whole: Option<Whole<'a>>,
}

/// What a tree must be for a layer to be all of it.
#[derive(Clone, Copy)]
pub(crate) struct Whole<'a> {
    /// The user and the group that everything in it belongs to.
    owner: (u32, u32),
    /// Says of an open file that no process can write to it.
    is_still: &'a (dyn Fn(BorrowedFd<'_>) -> bool + Sync),
}

impl<'a> Whole<'a> {
    /// Everything in it belongs to who owns the tree at `root`.
    pub(crate) fn of(
        root: &Path,
        is_still: &'a (dyn Fn(BorrowedFd<'_>) -> bool + Sync),
    ) -> Result<Self> {
        let stat = rustix::fs::lstat(root).at("examine", root)?;
        Ok(Self {
            owner: (stat.st_uid, stat.st_gid),
            is_still,
        })
    }

    pub(super) fn check_owner(&self, path: &TreePath, stat: &Stat) -> Result<()> {
        if (stat.st_uid, stat.st_gid) == self.owner {
            return Ok(());
        }
        Err(refused(path, "an entry of another owner"))
    }

    /// That it has no other name, by which it could be written to, and that nobody has it open.
    pub(super) fn check_file(
        &self,
        path: &TreePath,
        file: BorrowedFd<'_>,
        stat: &Stat,
    ) -> Result<()> {
        if stat.st_nlink > 1 {
            return Err(refused(path, "a file with several names"));
        }
        if !(self.is_still)(file) {
            return Err(refused(path, "a file that can be written to"));
        }
        Ok(())
    }
}

fn refused(path: &TreePath, what: &'static str) -> Error {
    Error::Refused {
        path: path.as_path().to_owned(),
        what,
    }
}

/// What to make of files' times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mtimes {
    /// As they are.
    #[default]
    Keep,
    /// `base` plus a number of seconds, less than ten years, drawn from the content. The same
    /// file has the same time wherever it comes from, and two files that differ in content have
    /// different times: Python takes bytecode as fresh when time and size agree.
    FromContent {
        /// Seconds since 1970.
        base: i64,
    },
}

impl Mtimes {
    pub(super) fn of(self, found: Mtime, hash: &ContentHash) -> Mtime {
        const TEN_YEARS: u64 = 10 * 365 * 24 * 60 * 60;
        match self {
            Self::Keep => found,
            Self::FromContent { base } => {
                let number = hash
                    .as_bytes()
                    .first_chunk()
                    .copied()
                    .map(u64::from_le_bytes);
                let seconds = number.unwrap_or_default() % TEN_YEARS;
                Mtime {
                    seconds: base.saturating_add(seconds as i64),
                    nanoseconds: 0,
                }
            }
        }
    }
}

/// What to make of permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Modes {
    /// As they are, without set-user-id and set-group-id.
    #[default]
    Keep,
    /// 0755 for directories and for files that anyone may execute, 0644 for all others: the
    /// result does not depend on the maker's umask.
    Normal,
}

impl Modes {
    pub(super) fn of(self, found: u32, directory: bool) -> u32 {
        match self {
            Self::Keep => found & MODE_BITS,
            Self::Normal if directory || found & 0o111 != 0 => 0o755,
            Self::Normal => 0o644,
        }
    }
}

/// What to make of sockets and FIFOs. Devices are always refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Specials {
    /// The tree is refused.
    #[default]
    Refuse,
    /// They are removed from the tree.
    LeaveOut,
}

/// Something of the tree that is not in the layer. As text it is a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// The entry that it belonged to.
    pub path: TreePath,
    /// What is not there.
    pub lost: Lost,
}

/// What a layer lacks of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// The entry itself, which was this, such as `a socket`.
    Entry(&'static str),
    /// This of it, such as `the attribute user.note`.
    Part(String),
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.lost {
            Lost::Entry(what) => write!(f, "{} is left out: {what}", self.path),
            Lost::Part(what) => write!(f, "{} is kept without {what}", self.path),
        }
    }
}
