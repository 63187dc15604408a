//! Where things are in a store's home, and names for new ones.
//!
//! Paths only: nothing here touches the disk, except to ask the kernel for random bytes.
//!
//! ```text
//! .ptest-store        the marker: this directory was made by ptest (see `home`)
//! ptest.db            the database: what is known
//! layers/<id>         the tree of a layer, used as it is as a lower directory of an overlay
//! manifests/<id>      the manifest of that layer
//! staging/<random>    what is being made: `tree/` and `manifest`, locked by its maker
//! trash/<random>      what is to be deleted
//! envs/ caches/ bin/  what the callers keep (see `Store::dir`)
//! ```

use std::path::{Path, PathBuf};

use rustix::rand::{GetRandomFlags, getrandom};

use crate::error::{Context as _, Error, Result};
use crate::id::LayerId;

/// The paths of one store.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    home: PathBuf,
}

impl Layout {
    pub(crate) const LAYERS: &'static str = "layers";
    pub(crate) const MANIFESTS: &'static str = "manifests";
    pub(crate) const STAGING: &'static str = "staging";
    pub(crate) const TRASH: &'static str = "trash";

    pub(crate) fn new(home: PathBuf) -> Self {
        Self { home }
    }

    pub(crate) fn home(&self) -> &Path {
        &self.home
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.home.join("ptest.db")
    }

    pub(crate) fn layers(&self) -> PathBuf {
        self.home.join(Self::LAYERS)
    }

    pub(crate) fn layer(&self, id: &LayerId) -> PathBuf {
        self.layers().join(id.to_string())
    }

    pub(crate) fn manifests(&self) -> PathBuf {
        self.home.join(Self::MANIFESTS)
    }

    pub(crate) fn manifest(&self, id: &LayerId) -> PathBuf {
        self.manifests().join(id.to_string())
    }

    pub(crate) fn staging(&self) -> PathBuf {
        self.home.join(Self::STAGING)
    }

    pub(crate) fn trash(&self) -> PathBuf {
        self.home.join(Self::TRASH)
    }

    /// The directories that every store has.
    pub(crate) fn directories(&self) -> [PathBuf; 4] {
        [
            self.layers(),
            self.manifests(),
            self.staging(),
            self.trash(),
        ]
    }
}

/// A name that nothing has yet: 26 characters of lower-case letters and digits, 130 random bits.
pub(crate) fn random_name() -> Result<String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0u8; 26];
    getrandom(&mut bytes, GetRandomFlags::empty()).at("read random bytes for", "a name")?;
    Ok(bytes
        .iter()
        .map(|byte| char::from(ALPHABET[usize::from(byte & 31)]))
        .collect())
}

/// Checks that a name is one ordinary component of a path.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let bad = name.is_empty()
        || name.len() > 255
        || name.starts_with('.')
        || name.bytes().any(|byte| byte == b'/' || byte == 0);
    if bad {
        return Err(Error::BadName {
            name: name.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_names_differ_and_are_plain() {
        let one = random_name().unwrap();
        let two = random_name().unwrap();
        assert_ne!(one, two);
        assert_eq!(one.len(), 26);
        check_name(&one).unwrap();
    }

    #[test]
    fn a_name_is_one_component() {
        for bad in ["", ".", "..", "a/b", "/", "\0", ".ptest-store"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
        check_name("envs").unwrap();
        check_name("ü ü").unwrap();
    }
}
