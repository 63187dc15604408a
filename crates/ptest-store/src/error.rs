//! What can go wrong in the store: one enum with the facts, and a kind that callers branch on.
//!
//! Not for messages to people: a caller prints the chain of `Display` texts and then [`Error::hint`].

use std::io;
use std::path::{Path, PathBuf};

use crate::id::{LayerId, StackId};
use crate::manifest::ManifestError;
use crate::pack::PackageError;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of the store.
///
/// `Display` never includes the text of the source, so that a printed chain says each thing once.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call on a path failed.
    #[error("failed to {action} {}", path.display())]
    Io {
        /// What was being done, as a verb that fits before the path.
        action: &'static str,
        /// The path it was done to.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },

    /// The database refused.
    #[error("the database failed to {action}")]
    Database {
        /// What was being done.
        action: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },

    /// There are layers, and no database, or one with nothing in it.
    #[error("the database of the store is gone: {}", path.display())]
    DatabaseLost {
        /// Where it should be.
        path: PathBuf,
    },

    /// The database is to be made anew while somebody uses it.
    #[error("another process has the database open: {}", path.display())]
    InUse {
        /// The database.
        path: PathBuf,
    },

    /// A path was given as a relative one; the store never looks at the current directory.
    #[error("not an absolute path: {}", path.display())]
    RelativePath {
        /// The path given.
        path: PathBuf,
    },

    /// The directory holds something that no store made.
    #[error("not a ptest store, and not empty: {}", path.display())]
    NotAStore {
        /// The directory.
        path: PathBuf,
    },

    /// The store belongs to another user.
    #[error("the store {} belongs to user {owner}, not to user {user}", path.display())]
    ForeignOwner {
        /// The store's home.
        path: PathBuf,
        /// The user that owns it.
        owner: u32,
        /// The user of this process.
        user: u32,
    },

    /// The store, or a part of its database, was written by a newer ptest.
    #[error("{what} has format {found}, this program knows up to {known}: {}", path.display())]
    NewerFormat {
        /// The part that is newer.
        what: String,
        /// The format found.
        found: u32,
        /// The newest format known here.
        known: u32,
        /// Where it was found.
        path: PathBuf,
    },

    /// The marker of a store cannot be understood.
    #[error("the marker of the store is damaged: {}", path.display())]
    DamagedMarker {
        /// The marker file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },

    /// A handle was used in a forked child of the process that opened it.
    #[error("the store was opened by process {opened_by} and used in its child {used_by}")]
    Forked {
        /// The process that opened it.
        opened_by: u32,
        /// The process that used it.
        used_by: u32,
    },

    /// A tree to be committed has an entry that no layer can hold.
    #[error("a layer cannot hold {what}: {}", path.display())]
    Refused {
        /// The entry, relative to the tree.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },

    /// A path that the store does not manage, or manages as a whole.
    #[error("not a path that the store may move: {}", path.display())]
    NotOurs {
        /// The path.
        path: PathBuf,
    },

    /// The place where a tree should go is taken.
    #[error("already there, and not an empty directory: {}", path.display())]
    DestinationTaken {
        /// The place.
        path: PathBuf,
    },

    /// The new prefix cannot be written into scripts.
    #[error("a script cannot name this path: {}", path.display())]
    UnusablePrefix {
        /// The prefix.
        path: PathBuf,
    },

    /// Root asked for copies that are further names of the layers' files.
    #[error(
        "files are not hard-linked as root, whom no permission keeps from writing into a layer"
    )]
    LinksAsRoot,

    /// No layer of that id is in the store.
    #[error("no layer {id}")]
    LayerMissing {
        /// The layer.
        id: LayerId,
    },

    /// A layer is known but its tree or manifest is not what was committed.
    #[error("layer {id} is corrupt: {detail}")]
    LayerCorrupt {
        /// The layer.
        id: LayerId,
        /// The first difference found.
        detail: String,
    },

    /// A manifest cannot be read.
    #[error("bad manifest {}", path.display())]
    Manifest {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        source: ManifestError,
    },

    /// No stack of that id is in the store.
    #[error("no stack {id}")]
    StackMissing {
        /// The stack.
        id: StackId,
    },

    /// A stored stack is not a list of layer ids, or not the one that its id names.
    #[error("the record of a stack is damaged")]
    DamagedStack,

    /// A file is not a package that can be imported.
    #[error("the package {} cannot be imported", path.display())]
    Package {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: PackageError,
    },

    /// A stack has something that a package cannot express.
    #[error("an image cannot hold {what}: {}", path.display())]
    Unpackable {
        /// What it is about: an entry of a layer, or a name.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },

    /// A name that cannot be one component of a path.
    #[error("not a name for a directory of the store: {name:?}")]
    BadName {
        /// The name.
        name: String,
    },
}

/// What to do about a database that cannot be read.
const REBUILD: &str = "`ptest recover --rebuild` makes the database anew of what can be read of it and of what is on \
                       the disk, and keeps the damaged one";

impl Error {
    /// What sort of failure this is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Io { source, .. } => kind_of_io(source),
            Self::Database { source, .. } => kind_of_sqlite(source),
            Self::RelativePath { .. }
            | Self::Refused { .. }
            | Self::NotOurs { .. }
            | Self::UnusablePrefix { .. }
            | Self::LinksAsRoot
            | Self::Unpackable { .. }
            | Self::BadName { .. } => ErrorKind::InvalidInput,
            Self::Package { source, .. } => source.kind(),
            Self::NotAStore { .. } | Self::DestinationTaken { .. } => ErrorKind::AlreadyExists,
            Self::ForeignOwner { .. } => ErrorKind::PermissionDenied,
            Self::NewerFormat { .. } => ErrorKind::NewerFormat,
            Self::Forked { .. } => ErrorKind::Forked,
            Self::LayerMissing { .. } | Self::StackMissing { .. } => ErrorKind::NotFound,
            Self::InUse { .. } => ErrorKind::Busy,
            Self::DatabaseLost { .. }
            | Self::DamagedMarker { .. }
            | Self::LayerCorrupt { .. }
            | Self::Manifest { .. }
            | Self::DamagedStack => ErrorKind::Corrupt,
        }
    }

    /// What a person can do about it, as a full sentence, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotAStore { .. } => Some(
                "name an empty directory, or one that does not exist yet: ptest never puts its \
                 store among other files"
                    .to_owned(),
            ),
            Self::ForeignOwner { .. } => Some(
                "run ptest as the user who owns the store, or name another directory for it with PTEST_HOME: layers of \
                 another user cannot be used"
                    .to_owned(),
            ),
            Self::NewerFormat { .. } => {
                Some("update ptest, or name another store for this version".to_owned())
            }
            Self::DatabaseLost { .. } => Some(REBUILD.to_owned()),
            Self::Database {
                source: rusqlite::Error::FromSqlConversionFailure(..),
                ..
            } => Some(
                "a newer ptest wrote what this one cannot read, or somebody changed it: update ptest"
                    .to_owned(),
            ),
            Self::InUse { path } => Some(format!(
                "end what uses the store; `fuser -v '{}'` says what that is",
                path.display()
            )),
            Self::LinksAsRoot => Some(
                "take `hard_links` out of the configuration, or use ptest as an ordinary user"
                    .to_owned(),
            ),
            Self::Package { source, .. } => Some(source.hint().to_owned()),
            Self::Unpackable { .. } => Some("give it another name".to_owned()),
            Self::RelativePath { .. } => Some("give the full path, from the root".to_owned()),
            Self::Forked { .. } => Some("open the store again in the child process".to_owned()),
            Self::LayerCorrupt { .. } | Self::LayerMissing { .. } => Some(
                "it is made again with the next environment that has the same packages".to_owned(),
            ),
            Self::Io { path, .. } if self.kind() == ErrorKind::PermissionDenied => Some(format!(
                "`namei -l '{}'` shows who may do that; let its owner give it to you, or name another directory for the \
                 store with PTEST_HOME",
                path.display()
            )),
            _ => match self.kind() {
                ErrorKind::ReadOnly => Some(
                    "the store is on a read-only file system: name a store on a writable one"
                        .to_owned(),
                ),
                ErrorKind::NoSpace => {
                    Some("the disk is full, or a quota is reached: free some space".to_owned())
                }
                ErrorKind::Corrupt if matches!(self, Self::Database { .. }) => {
                    Some(REBUILD.to_owned())
                }
                ErrorKind::Busy => Some(
                    "another process has held the store's database for ten seconds: try again, or look for it with \
                     `fuser -v` on ptest.db"
                        .to_owned(),
                ),
                _ => None,
            },
        }
    }

    /// The layer that this error is about, when it is corrupt or missing: a caller can quarantine
    /// it and make it again.
    pub fn layer(&self) -> Option<LayerId> {
        match self {
            Self::LayerCorrupt { id, .. } | Self::LayerMissing { id } => Some(*id),
            _ => None,
        }
    }

    pub(crate) fn database(action: &'static str) -> impl FnOnce(rusqlite::Error) -> Self {
        move |source| Self::Database { action, source }
    }
}

/// A query inside [`Database::write`](crate::Database::write) or
/// [`Database::read`](crate::Database::read) failed.
impl From<rusqlite::Error> for Error {
    fn from(source: rusqlite::Error) -> Self {
        Self::Database {
            action: "run a statement",
            source,
        }
    }
}

/// The sorts of failure that callers treat differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file system cannot be written to.
    ReadOnly,
    /// The disk is full or a quota is reached.
    NoSpace,
    /// The system forbids it to this user.
    PermissionDenied,
    /// It is not there.
    NotFound,
    /// Something else is there.
    AlreadyExists,
    /// Another process kept the database locked for too long.
    Busy,
    /// What is stored is not what was written.
    Corrupt,
    /// Written by a newer version.
    NewerFormat,
    /// Used in a forked child.
    Forked,
    /// The caller asked for something that cannot be.
    InvalidInput,
    /// Anything else.
    Other,
}

/// Adds the action and the path to a failed system call.
pub(crate) trait Context<T> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| Error::Io {
            action,
            path: path.as_ref().to_owned(),
            source: source.into(),
        })
    }
}

pub(crate) fn kind_of_io(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => ErrorKind::ReadOnly,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::NoSpace,
        io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        io::ErrorKind::NotFound => ErrorKind::NotFound,
        io::ErrorKind::AlreadyExists | io::ErrorKind::DirectoryNotEmpty => ErrorKind::AlreadyExists,
        _ => ErrorKind::Other,
    }
}

fn kind_of_sqlite(error: &rusqlite::Error) -> ErrorKind {
    use rusqlite::ErrorCode;
    match error.sqlite_error_code() {
        Some(ErrorCode::ReadOnly) => ErrorKind::ReadOnly,
        Some(ErrorCode::DiskFull) => ErrorKind::NoSpace,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorKind::Busy,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ErrorKind::Corrupt,
        Some(ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied) => {
            ErrorKind::PermissionDenied
        }
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_full_and_a_read_only_disk_are_told_apart() {
        let full: Result<()> = Err(rustix::io::Errno::NOSPC).at("write", "/x");
        let quota: Result<()> = Err(rustix::io::Errno::DQUOT).at("write", "/x");
        let read_only: Result<()> = Err(rustix::io::Errno::ROFS).at("write", "/x");
        assert_eq!(full.unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(quota.unwrap_err().kind(), ErrorKind::NoSpace);
        assert_eq!(read_only.unwrap_err().kind(), ErrorKind::ReadOnly);
    }

    #[test]
    fn what_is_stored_and_cannot_be_read_has_a_hint() {
        let source = Box::new(io::Error::other("missing field"));
        let text = rusqlite::types::Type::Text;
        let error = Error::from(rusqlite::Error::FromSqlConversionFailure(3, text, source));
        assert!(error.hint().unwrap().contains("update ptest"));
    }

    #[test]
    fn display_leaves_the_source_to_the_chain() {
        let error = Result::<(), _>::Err(rustix::io::Errno::NOSPC)
            .at("write", "/x/y")
            .unwrap_err();
        assert_eq!(error.to_string(), "failed to write /x/y");
        assert!(error.source().unwrap().to_string().contains("No space"));
        assert!(error.hint().unwrap().contains("full"));
    }
}
