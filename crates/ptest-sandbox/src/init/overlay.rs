//! Makes an overlay of any number of layers, as a mount that is not attached anywhere yet.
//!
//! Layers are named by descriptors (`/proc/self/fd/N`), because the kernel takes option values of
//! 255 bytes and option strings of one page at most. What is in the layers is the store's business.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, open, unlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, open_tree,
    unmount,
};

use crate::init::AtStage as _;
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
            let mounted = match by_appending(&directories) {
                // Before Linux 6.7 layers cannot be appended one by one.
                Err(Errno::INVAL) => by_option_string(&directories, &lowers[0]),
                other => other,
            };
            mounted.at(Stage::Overlay, &stack.target)
        }
    }
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

fn by_appending(directories: &Directories) -> Result<OwnedFd, Errno> {
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let context = context.as_fd();
    for lower in &directories.lowers {
        fsconfig_set_string(context, c"lowerdir+", name(lower))?;
    }
    if let Some((upper, work)) = &directories.upper {
        fsconfig_set_string(context, c"upperdir", name(upper))?;
        fsconfig_set_string(context, c"workdir", name(work))?;
        // Nothing here outlives a crash of the machine unnoticed: the store checks after a boot.
        fsconfig_set_flag(context, c"volatile")?;
    }
    // Also as root: whiteouts and opaque marks must mean the same to every user.
    fsconfig_set_flag(context, c"userxattr")?;
    fsconfig_create(context)?;
    fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, safe(directories))
}

/// The same through mount(2), which wants a `place`: any directory will do, since the mount is taken
/// away from it at once.
fn by_option_string(directories: &Directories, place: &Path) -> Result<OwnedFd, Errno> {
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
    let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;

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
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).at(Stage::Source, path)
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
