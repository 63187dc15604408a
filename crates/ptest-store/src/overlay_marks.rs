//! The marks that overlayfs leaves in an upper directory, and those that it understands in a
//! lower one.
//!
//! A mount reads either `trusted.overlay.*` or, with the option `userxattr`, `user.overlay.*`,
//! never both: a mark of the wrong family is silently ignored and deleted files come back. So a
//! layer carries exactly one kind of each: a whiteout is a character device 0:0, an opaque
//! directory has `user.overlay.opaque=y`.

use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, XattrFlags, mknodat};
use rustix::io::Errno;

const USER: &[u8] = b"user.overlay.";
const TRUSTED: &[u8] = b"trusted.overlay.";
pub(crate) const OPAQUE: &CStr = c"user.overlay.opaque";

/// What the extended attributes of an entry say.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Marks {
    /// Everything below is hidden.
    pub(crate) opaque: bool,
    /// And it is said by [`OPAQUE`], which every mount of ptest reads.
    pub(crate) opaque_for_users: bool,
    /// The entry stands for a deleted one.
    pub(crate) whiteout: bool,
    /// The entry takes its name or contents from a lower layer, so it is not complete by itself.
    pub(crate) incomplete: bool,
    /// Attributes that a layer does not carry.
    pub(crate) strip: Vec<CString>,
    /// Of these, those that say something that a layer cannot hold.
    pub(crate) lost: Vec<CString>,
}

impl Marks {
    /// Reads the marks of an open file or directory.
    pub(crate) fn read(fd: impl AsFd) -> rustix::io::Result<Self> {
        let mut marks = Self::default();
        for name in names(&fd)? {
            marks.add(name, |name| value(&fd, name))?;
        }
        Ok(marks)
    }

    fn add(
        &mut self,
        name: CString,
        value: impl FnOnce(&CStr) -> rustix::io::Result<Vec<u8>>,
    ) -> rustix::io::Result<()> {
        let bytes = name.to_bytes();
        let overlay = bytes
            .strip_prefix(USER)
            .or_else(|| bytes.strip_prefix(TRUSTED));
        match overlay {
            // `x` says that whiteouts by attribute are inside; it hides nothing.
            Some(b"opaque") => {
                let opaque = value(&name)? == b"y";
                self.opaque |= opaque;
                if opaque && name.as_c_str() == OPAQUE {
                    self.opaque_for_users = true;
                    return Ok(());
                }
            }
            Some(b"whiteout") => self.whiteout = true,
            Some(b"redirect" | b"metacopy") => self.incomplete = true,
            Some(_) => {}
            None if is_kept(bytes) => return Ok(()),
            None => self.lost.push(name.clone()),
        }
        self.strip.push(name);
        Ok(())
    }
}

/// Marks a directory as hiding what lies below it.
pub(crate) fn set_opaque(path: &Path) -> rustix::io::Result<()> {
    rustix::fs::lsetxattr(path, OPAQUE, b"y", XattrFlags::empty())
}

/// Removes an attribute; one that is gone is good.
pub(crate) fn strip(path: &Path, name: &CStr) -> rustix::io::Result<()> {
    match rustix::fs::lremovexattr(path, name) {
        Err(Errno::NODATA) => Ok(()),
        result => result,
    }
}

/// Makes a whiteout. Since Linux 5.8 this needs no privilege.
pub(crate) fn make_whiteout(directory: impl AsFd, path: &Path) -> rustix::io::Result<()> {
    mknodat(directory, path, FileType::CharacterDevice, Mode::empty(), 0)
}

/// Attributes of the system that are not part of what a file says, and not ours to remove.
fn is_kept(name: &[u8]) -> bool {
    name != b"security.capability"
        && !name.starts_with(b"system.posix_acl_")
        && !name.starts_with(b"user.")
        && !name.starts_with(b"trusted.")
}

fn names(fd: impl AsFd) -> rustix::io::Result<Vec<CString>> {
    let mut buffer: Vec<u8> = Vec::new();
    let mut small = [0u8; 512];
    let list = match rustix::fs::flistxattr(&fd, &mut small) {
        Ok(0) | Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Ok(length) => &small[..length],
        Err(Errno::RANGE) => {
            // The kernel's own limit.
            buffer.resize(65_536, 0);
            let length = rustix::fs::flistxattr(&fd, buffer.as_mut_slice())?;
            &buffer[..length]
        }
        Err(errno) => return Err(errno),
    };
    Ok(list
        .split_inclusive(|byte| *byte == 0)
        .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
        .map(CStr::to_owned)
        .collect())
}

/// The value, cut at a few bytes: all that is ever compared is shorter.
fn value(fd: impl AsFd, name: &CStr) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = [0u8; 64];
    match rustix::fs::fgetxattr(fd, name, &mut buffer) {
        Ok(length) => Ok(buffer[..length].to_vec()),
        Err(Errno::RANGE) => Ok(Vec::new()),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marks(attributes: &[(&CStr, &[u8])]) -> Marks {
        let mut marks = Marks::default();
        for (name, value) in attributes {
            marks
                .add((*name).to_owned(), |_| Ok(value.to_vec()))
                .unwrap();
        }
        marks
    }

    #[test]
    fn only_the_value_y_hides() {
        assert!(marks(&[(OPAQUE, b"y")]).opaque);
        let inside = marks(&[(OPAQUE, b"x")]);
        assert!(!inside.opaque);
        assert_eq!(inside.strip, [OPAQUE.to_owned()]);
    }

    #[test]
    fn the_family_of_the_mark_is_translated() {
        let trusted = marks(&[(c"trusted.overlay.opaque", b"y")]);
        assert!(trusted.opaque);
        assert_eq!(trusted.strip.len(), 1);
        assert!(marks(&[(OPAQUE, b"y")]).strip.is_empty());
    }

    #[test]
    fn bookkeeping_is_stripped_and_nothing_is_lost_by_it() {
        let names = [
            c"user.overlay.origin",
            c"trusted.overlay.impure",
            c"user.overlay.uuid",
        ];
        let found = marks(&names.map(|name| (name, b"".as_slice())));
        assert_eq!(found.strip.len(), 3);
        assert!(found.lost.is_empty());
    }

    #[test]
    fn what_needs_a_lower_layer_is_seen() {
        assert!(marks(&[(c"user.overlay.redirect", b"/x")]).incomplete);
        assert!(marks(&[(c"trusted.overlay.metacopy", b"")]).incomplete);
    }

    #[test]
    fn privileges_and_private_attributes_do_not_enter_a_layer() {
        let found = marks(&[
            (c"security.capability", b"x"),
            (c"user.note", b"x"),
            (c"security.selinux", b"x"),
        ]);
        assert_eq!(found.lost.len(), 2);
        assert_eq!(found.strip.len(), 2);
    }
}
