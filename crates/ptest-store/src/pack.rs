//! A stack of layers as one file, and back: an OCI image layout in a tar, one blob a layer.
//!
//! Not for other images: an image is read if ptest made it, whatever tools carried it since.
//!
//! | in an image | is |
//! |---|---|
//! | a layer's tar, below the prefix | a layer; the directories up to the prefix are nobody's |
//! | `.wh.NAME` | a whiteout of `NAME` |
//! | `.wh..wh..opq` | the mark of an opaque directory, in it |
//! | annotation `dev.ptest.layer` of a layer | its id, which is computed again from what is read |
//! | label `dev.ptest.prefix` of the image | where in it the tree lies |

mod archive;
mod blob;
mod codec;
mod error;
mod export;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod import;
mod limits;
mod oci;
mod package;
mod pool;
mod source;
mod tar;
mod target;
mod tree;

pub use self::codec::Compression;
pub use self::error::{PackageError, TarError};
pub use self::export::Exported;
pub use self::import::Imported;
pub use self::limits::ImportLimits;
pub use self::package::Package;
