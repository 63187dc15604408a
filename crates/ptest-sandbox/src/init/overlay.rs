//! Makes an overlay of any number of layers, as a mount that is not attached anywhere yet.
//!
//! Layers are named by descriptors (`/proc/self/fd/N`), because the kernel takes option values of
//! 255 bytes and option strings of one page at most. What is in the layers is the store's business.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, unlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_fd, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    mount, open_tree, unmount,
};

use crate::init::{AtStage as _, root};
use crate::plan::{MAX_LAYERS, Overlay, Upper};
use crate::protocol::{Failure, Stage};
use crate::sys;

/// Mounts a stack. See [`Overlay`] for what the stack means.
pub(super) fn prepare(stack: &Overlay) -> Result<OwnedFd, Failure> {
    if stack.lowers.len() > MAX_LAYERS {
        return Err(Errno::TOOBIG).at(Stage::Overlay, &stack.target);
    }
    match (stack.lowers.as_slice(), &stack.upper) {
        ([], None) => Err(Errno::INVAL).at(Stage::Overlay, &stack.target),
        ([], Some(upper)) => bind(&upper.directory, false),
        ([only], None) => bind(only, true),
        (lowers, upper) => {
            let directories = Directories::open(lowers, upper.as_ref())?;
            mount_newest(&directories, &lowers[0]).at(Stage::Overlay, &stack.target)
        }
    }
}

/// How layers are handed to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mechanism {
    /// One by one, as descriptors: Linux 6.13.
    Descriptors,
    /// One by one, as names: Linux 6.7.
    Names,
    /// All in one string.
    OptionString,
}

impl Mechanism {
    /// From the fastest to the one that every kernel has.
    const ALL: [Self; 3] = [Self::Descriptors, Self::Names, Self::OptionString];

    fn mount(self, directories: &Directories, place: &Path) -> Result<OwnedFd, Errno> {
        match self {
            Self::Descriptors => one_by_one(directories, |context, key, directory| {
                fsconfig_set_fd(context, key, directory.as_fd())
            }),
            Self::Names => one_by_one(directories, |context, key, directory| {
                fsconfig_set_string(context, key, name(directory))
            }),
            Self::OptionString => all_at_once(directories, place),
        }
    }
}

/// Mounts by the first mechanism that this kernel knows.
fn mount_newest(directories: &Directories, place: &Path) -> Result<OwnedFd, Errno> {
    let mut refusal = Errno::INVAL;
    for mechanism in Mechanism::ALL {
        match mechanism.mount(directories, place) {
            // What a kernel that does not know it says, but not that alone: the next one tells. Before Linux 6.5 overlays
            // take no descriptors at all.
            Err(error @ (Errno::INVAL | Errno::BADF | Errno::OPNOTSUPP)) => refusal = error,
            other => return other,
        }
    }
    Err(refusal)
}

/// Mounts a directory of the host below two that are open: what is written goes into the first, the second is the kernel's.
pub(super) fn over(path: &Path, upper: OwnedFd, work: OwnedFd) -> Result<OwnedFd, Failure> {
    let directories = Directories {
        lowers: vec![hold(path)?],
        upper: Some((upper, work)),
    };
    mount_newest(&directories, path).at(Stage::Overlay, path)
}

/// The directories of a stack, held open, the topmost lower first as the kernel wants them.
struct Directories {
    lowers: Vec<OwnedFd>,
    upper: Option<(OwnedFd, OwnedFd)>,
}

impl Directories {
    fn open(lowers: &[std::path::PathBuf], upper: Option<&Upper>) -> Result<Self, Failure> {
        let lowers = lowers
            .iter()
            .rev()
            .map(|path| hold(path))
            .collect::<Result<_, _>>()?;
        let upper = match upper {
            Some(upper) => {
                forget_volatility(&upper.work).at(Stage::Overlay, &upper.work)?;
                Some((hold(&upper.directory)?, hold(&upper.work)?))
            }
            None => None,
        };
        Ok(Self { lowers, upper })
    }
}

fn one_by_one(
    directories: &Directories,
    set: impl Fn(BorrowedFd<'_>, &CStr, &OwnedFd) -> Result<(), Errno>,
) -> Result<OwnedFd, Errno> {
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let context = context.as_fd();
    for lower in &directories.lowers {
        set(context, c"lowerdir+", lower)?;
    }
    if let Some((upper, work)) = &directories.upper {
        set(context, c"upperdir", upper)?;
        set(context, c"workdir", work)?;
        // Nothing here outlives a crash of the machine unnoticed: the store checks after a boot.
        fsconfig_set_flag(context, c"volatile")?;
    }
    // Also as root: whiteouts and opaque marks must mean the same to every user.
    fsconfig_set_flag(context, c"userxattr")?;
    fsconfig_create(context)?;
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, safe(directories))
}

/// Through mount(2), which wants a `place`: any directory will do, since the mount is taken away from
/// it at once.
fn all_at_once(directories: &Directories, place: &Path) -> Result<OwnedFd, Errno> {
    // From here numbers alone name the directories, so that 500 of them fit into one page.
    rustix::process::chdir("/proc/self/fd")?;
    let number = |descriptor: &OwnedFd| descriptor.as_raw_fd().to_string();
    let lowers: Vec<_> = directories.lowers.iter().map(number).collect();
    let lowers = lowers.join(":");
    let options = match &directories.upper {
        None => format!("userxattr,lowerdir={lowers}"),
        Some((upper, work)) => {
            let (upper, work) = (number(upper), number(work));
            format!("userxattr,lowerdir={lowers},upperdir={upper},workdir={work},volatile")
        }
    };
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;

    mount(
        c"ptest",
        place,
        c"overlay",
        MountFlags::NOSUID | MountFlags::NODEV,
        options.as_c_str(),
    )?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let tree = open_tree(CWD, place, flags);
    unmount(place, UnmountFlags::DETACH)?;
    rustix::process::chdir("/")?;
    tree
}

fn safe(directories: &Directories) -> MountAttrFlags {
    let safe = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    match directories.upper {
        Some(_) => safe,
        None => safe | MountAttrFlags::MOUNT_ATTR_RDONLY,
    }
}

fn bind(path: &Path, read_only: bool) -> Result<OwnedFd, Failure> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, path, flags).at(Stage::Source, path)?;
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    if read_only {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    sys::mount_setattr(tree.as_fd(), true, attributes.bits().into(), 0).at(Stage::Source, path)?;
    Ok(tree)
}

fn hold(path: &Path) -> Result<OwnedFd, Failure> {
    root::open_exactly(path).at(Stage::Source, path)
}

fn name(descriptor: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", descriptor.as_raw_fd())
}

/// Removes the mark by which the kernel refuses to mount a volatile upper again.
fn forget_volatility(work: &Path) -> io::Result<()> {
    let inner = work.join("work");
    let marks = [
        ("incompat/volatile/dirty", AtFlags::empty()),
        ("incompat/volatile", AtFlags::REMOVEDIR),
        ("incompat", AtFlags::REMOVEDIR),
    ];
    for (mark, flags) in marks {
        match unlinkat(CWD, inner.join(mark), flags) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(other) => return Err(other.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use rustix::mount::{MoveMountFlags, move_mount};

    use super::*;

    /// Runs in a mount namespace of its own, which only root can have without a user namespace.
    fn privately(test: impl FnOnce() + Send + 'static) {
        if !rustix::process::geteuid().is_root() {
            let required = std::env::var("PTEST_TEST_REQUIRE").unwrap_or_default();
            assert!(!required.contains("root"), "root is required here");
            return;
        }
        let thread = std::thread::spawn(|| {
            sys::unshare(libc::CLONE_NEWNS).unwrap();
            let flags = OpenTreeFlags::OPEN_TREE_CLOEXEC;
            let root = open_tree(CWD, "/", flags).unwrap();
            sys::mount_setattr(root.as_fd(), true, 0, libc::MS_PRIVATE).unwrap();
            test();
        });
        thread.join().unwrap();
    }

    #[test]
    fn every_mechanism_that_the_kernel_knows_mounts_the_same_stack() {
        privately(|| {
            let scratch = tempfile::tempdir().unwrap();
            let path = |name: &str| scratch.path().join(name);
            let make = |name: String| -> PathBuf {
                let layer = path(&name);
                fs::create_dir(&layer).unwrap();
                fs::write(layer.join("shared"), &name).unwrap();
                fs::write(layer.join(&name), &name).unwrap();
                layer
            };
            let lowers: Vec<PathBuf> = (0..129)
                .map(|index| make(format!("layer{index}")))
                .collect();
            for name in ["upper", "work", "target"] {
                fs::create_dir(path(name)).unwrap();
            }
            let upper = Upper {
                directory: path("upper"),
                work: path("work"),
            };
            let mut mounted = Vec::new();
            for mechanism in Mechanism::ALL {
                let directories = Directories::open(&lowers, Some(&upper)).unwrap();
                let Ok(stack) = mechanism.mount(&directories, &lowers[0]) else {
                    continue;
                };
                let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
                move_mount(&stack, "", CWD, path("target"), flags).unwrap();
                assert_eq!(
                    fs::read_to_string(path("target/shared")).unwrap(),
                    "layer128"
                );
                assert_eq!(fs::read_dir(path("target")).unwrap().count(), 130);
                unmount(path("target"), UnmountFlags::DETACH).unwrap();
                mounted.push(mechanism);
            }
            assert!(mounted.contains(&Mechanism::OptionString), "{mounted:?}");
            assert!(fs::read_dir(&lowers[0]).unwrap().count() == 2);
        });
    }
}
