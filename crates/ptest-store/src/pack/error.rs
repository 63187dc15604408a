//! Why a file is not a package that can be imported, or a stack not one that can be exported.

use std::io;

use crate::error::{ErrorKind, kind_of_io};
use crate::id::LayerId;
use crate::manifest::ManifestError;

/// What is wrong with a package.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackageError {
    /// The file is not an OCI image layout, or one of another form than ptest reads.
    #[error("{problem}: {name}")]
    Form {
        /// The part of the package, or the thing in it.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },

    /// A part is not what its digest or size says.
    #[error("{name} is damaged: it has {what} {found}, and should have {expected}")]
    Damaged {
        /// The part.
        name: String,
        /// What was compared, such as `the size`.
        what: &'static str,
        /// What was found.
        found: String,
        /// What the package says of it.
        expected: String,
    },

    /// One of the JSON documents cannot be understood.
    #[error("the document {name} cannot be read")]
    Document {
        /// The part.
        name: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },

    /// The file, or the tar of a layer, has something that no package has.
    #[error("{name} cannot be read")]
    Tar {
        /// The part.
        name: String,
        /// What is wrong with it.
        source: TarError,
    },

    /// A layer has an entry that no layer of ptest can hold.
    #[error("{name} has {what}: {path}")]
    Entry {
        /// The layer, as a part of the package.
        name: String,
        /// The entry, as it is named there.
        path: String,
        /// What it is.
        what: &'static str,
    },

    /// A layer is another one than the package says.
    #[error("{name} is the layer {found}, and the package says {said}")]
    OtherLayer {
        /// The layer, as a part of the package.
        name: String,
        /// What it is.
        found: LayerId,
        /// What the package says that it is.
        said: LayerId,
    },

    /// The disk does not keep what the layer holds, such as a time far in the future.
    #[error("{name} is the layer {said}, of which the disk keeps another, {found}")]
    NotKept {
        /// The layer, as a part of the package.
        name: String,
        /// What it is.
        said: LayerId,
        /// What it became.
        found: LayerId,
    },

    /// What is in a layer breaks a rule of layers.
    #[error("{name} is not a layer")]
    Rules {
        /// The layer, as a part of the package.
        name: String,
        /// The rule.
        source: ManifestError,
    },

    /// The package is larger than was allowed.
    #[error("it exceeds the limit of {limit}: at least {found}, allowed are {allowed}")]
    Limit {
        /// The limit, in words, such as `unpacked bytes`.
        limit: &'static str,
        /// How much there was when it was seen.
        found: u64,
        /// How much was allowed.
        allowed: u64,
    },
}

impl PackageError {
    /// A tar that cannot be read; a limit that was exceeded by reading it is that.
    pub(crate) fn of_tar(name: &str, source: TarError) -> Self {
        let source = match source {
            TarError::Io(error) => match error.downcast::<Self>() {
                Ok(limit) => return limit,
                Err(error) => TarError::Io(error),
            },
            problem @ TarError::Problem { .. } => problem,
        };
        Self::Tar {
            name: name.to_owned(),
            source,
        }
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Form { .. } | Self::Entry { .. } | Self::Rules { .. } | Self::Limit { .. } => {
                ErrorKind::InvalidInput
            }
            Self::Damaged { .. } | Self::Document { .. } | Self::OtherLayer { .. } => {
                ErrorKind::Corrupt
            }
            Self::Tar { source, .. } => match source {
                TarError::Problem { .. } => ErrorKind::Corrupt,
                TarError::Io(error) => match kind_of_io(error) {
                    // What a decompressor says of damage is of no kind of its own.
                    ErrorKind::Other => ErrorKind::Corrupt,
                    kind => kind,
                },
            },
            Self::NotKept { .. } => ErrorKind::Other,
        }
    }

    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Limit { .. } => "import it with higher limits if you trust where it comes from",
            Self::Damaged { .. } | Self::Document { .. } | Self::Tar { .. } => {
                "fetch or export it again: it was damaged on the way, or is not a package"
            }
            Self::OtherLayer { .. } => "do not use it: it is not what it says",
            Self::Form { .. } | Self::Entry { .. } | Self::Rules { .. } => {
                "import a file that ptest exported"
            }
            Self::NotKept { .. } => {
                "keep the store on another file system: this one does not hold all times"
            }
        }
    }
}

/// What is wrong with a tar.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TarError {
    /// It has something that is not allowed, or not tar.
    #[error("at byte {offset} there is {problem}")]
    Problem {
        /// What.
        problem: &'static str,
        /// Where, in the unpacked stream.
        offset: u64,
    },
    /// It could not be read, or its compression is damaged.
    #[error("reading failed")]
    Io(#[from] io::Error),
}
