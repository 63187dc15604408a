//! Assembles the new root, step by step as the plan says, without any decision of its own.
//!
//! In three phases: everything that depends on the host's tree is *prepared* as detached mounts,
//! so that nothing can be covered before it was opened; an empty tmpfs becomes the root and the
//! host's tree is let go, unless the plan builds on it; then every step is *attached* with ordinary
//! paths, whose symbolic links resolve inside the root.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount,
    open_tree, unmount,
};
use rustix::process::{fchdir, pivot_root, umask};

use crate::init::memory::Memory;
use crate::init::{AtStage as _, overlay, security};
use crate::plan::{Access, Mount, Plan, Root, Source};
use crate::protocol::{Failure, LeftOut, Stage};
use crate::sys;

pub(super) const SAFE: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);
const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// Makes the plan's root this process's root. Returns what could not be had.
pub(super) fn assemble(plan: &Plan) -> Result<Vec<LeftOut>, Failure> {
    let inherited = umask(Mode::empty());
    let mut left_out = Vec::new();
    let mut prepared = Vec::with_capacity(plan.mounts.len());
    isolate()?;
    let mut memory = Memory::new(plan.discarded_size);
    for mount in &plan.mounts {
        prepared.push(match prepare(mount, &mut memory) {
            Ok(ready) => {
                if let (Mount::Proc { .. }, Some(procfs)) = (mount, &ready)
                    && plan.privileges.no_nested_namespaces
                {
                    security::refuse_nested_namespaces(procfs.as_fd())
                        .at(Stage::Privileges, "user namespaces")?;
                }
                Some(ready)
            }
            Err(failure) => {
                leave_out(mount, failure, &mut left_out)?;
                None
            }
        });
    }
    // The kernel lets nobody make user namespaces whose root is not what is topmost at the root.
    memory.detach().at(Stage::Root, "/")?;
    let mut sealed = Vec::new();
    match plan.root {
        Root::Empty => sealed.push(change_root()?),
        Root::Host(access) => {
            let root = host_root()?;
            restrict(root.as_fd(), true, attributes(access, true)).at(Stage::Root, "/")?;
        }
    }
    for (mount, ready) in plan.mounts.iter().zip(prepared) {
        let Some(ready) = ready else { continue };
        match attach(mount, ready) {
            Ok(Some(seal)) => sealed.push(seal),
            Ok(None) => {}
            Err(failure) => leave_out(mount, failure, &mut left_out)?,
        }
    }
    for mount in sealed {
        restrict(mount.as_fd(), false, READ_ONLY).at(Stage::Root, "/")?;
    }
    umask(inherited);
    Ok(left_out)
}

/// A step's detached mount, if it needs one that was made before the root changed.
type Prepared = Option<OwnedFd>;

/// Tolerates the failure of an optional bind.
fn leave_out(mount: &Mount, failure: Failure, left_out: &mut Vec<LeftOut>) -> Result<(), Failure> {
    match mount {
        Mount::Bind {
            source: Source::Host(path) | Source::Inside(path),
            optional: true,
            ..
        } => {
            left_out.push(LeftOut {
                path: path.clone(),
                errno: failure.errno,
            });
            Ok(())
        }
        _ => Err(failure),
    }
}

fn prepare(mount: &Mount, memory: &mut Memory) -> Result<Prepared, Failure> {
    match mount {
        Mount::Bind {
            source: Source::Host(path),
            access,
            devices,
            ..
        } => {
            let tree = clone_host_tree(path).at(Stage::Source, path)?;
            restrict(tree.as_fd(), true, attributes(*access, *devices)).at(Stage::Source, path)?;
            Ok(Some(tree))
        }
        // A fresh procfs is refused once no other complete one is in sight.
        Mount::Proc { target } => {
            let attributes = SAFE | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            new_mount(c"proc", &[], attributes)
                .at(Stage::Mount, target)
                .map(Some)
        }
        Mount::Overlay(stack) => overlay::prepare(stack).map(Some),
        Mount::Discarded { path } => memory.cover(path).map(Some),
        _ => Ok(None),
    }
}

/// Carries out one step in the new root. Returns the mount if it is to be sealed at the end.
fn attach(mount: &Mount, ready: Prepared) -> Result<Option<OwnedFd>, Failure> {
    match mount {
        Mount::Bind {
            source,
            target,
            access,
            devices,
            ..
        } => {
            let tree = match (source, ready) {
                (_, Some(tree)) => tree,
                (Source::Host(path) | Source::Inside(path), None) => {
                    let tree = clone_tree(path).at(Stage::Source, path)?;
                    let attributes = attributes(*access, *devices);
                    restrict(tree.as_fd(), true, attributes).at(Stage::Source, path)?;
                    tree
                }
            };
            match source {
                Source::Host(_) => place_exactly(tree.as_fd(), target)?,
                Source::Inside(_) => place(tree.as_fd(), target)?,
            }
        }
        Mount::Proc { target }
        | Mount::Overlay(crate::plan::Overlay { target, .. })
        | Mount::Discarded { path: target } => {
            if let Some(ready) = ready {
                place(ready.as_fd(), target)?;
            }
        }
        Mount::Tmpfs {
            target,
            size,
            mode,
            read_only,
        } => {
            let mode = format!("{mode:o}");
            let size = size.map(|size| size.to_string());
            let mut options = vec![("mode", mode.as_str())];
            options.extend(size.as_deref().map(|size| ("size", size)));
            let tmpfs = new_mount(c"tmpfs", &options, SAFE).at(Stage::Mount, target)?;
            place(tmpfs.as_fd(), target)?;
            return Ok(read_only.then_some(tmpfs));
        }
        Mount::Directory { path, mode } => make_directory(path, *mode).at(Stage::Mount, path)?,
        Mount::Symlink { path, target } => {
            make_parents(path)
                .and_then(|()| symlink(target, path))
                .at(Stage::Mount, path)?;
        }
        Mount::File {
            path,
            contents,
            mode,
        } => {
            make_parents(path)
                .and_then(|()| fs::write(path, contents))
                .and_then(|()| fs::set_permissions(path, Permissions::from_mode(*mode)))
                .at(Stage::Mount, path)?;
        }
        Mount::DevPts { target } => {
            // Without gid=5: that group has no number in an ordinary user's namespace.
            let options = [("newinstance", ""), ("ptmxmode", "0666"), ("mode", "0620")];
            let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
            let devpts = new_mount(c"devpts", &options, attributes).at(Stage::Mount, target)?;
            place(devpts.as_fd(), target)?;
        }
        Mount::Hide { target } => return hide(target).at(Stage::Mount, target),
        Mount::ReadOnly { target } => match clone_tree(target) {
            Ok(tree) => {
                restrict(tree.as_fd(), true, READ_ONLY).at(Stage::Mount, target)?;
                place(tree.as_fd(), target)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).at(Stage::Mount, target),
        },
    }
    Ok(None)
}

/// Keeps mounts of the host from appearing and disappearing here, and ours from doing so there.
fn isolate() -> Result<(), Failure> {
    let root = host_root()?;
    sys::mount_setattr(root.as_fd(), true, 0, libc::MS_PRIVATE).at(Stage::Root, "/")
}

fn host_root() -> Result<OwnedFd, Failure> {
    open_tree(CWD, "/", OpenTreeFlags::OPEN_TREE_CLOEXEC).at(Stage::Root, "/")
}

/// Makes an empty tmpfs the root and lets the host's tree go. Returns the tmpfs.
fn change_root() -> Result<OwnedFd, Failure> {
    let change = || -> io::Result<OwnedFd> {
        let root = new_mount(c"tmpfs", &[("mode", "0755")], SAFE)?;
        move_mount(
            root.as_fd(),
            "",
            CWD,
            "/",
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )?;
        fchdir(&root)?;
        // The old root ends up on top of the new one, at the same place, and is taken off there.
        pivot_root(".", ".")?;
        unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")?;
        Ok(root)
    };
    change().at(Stage::Root, "/")
}

/// A tree of the host. No link is followed: who can write in a directory on the way could have put one there since the
/// plan was made, and would choose what is seen inside.
fn clone_host_tree(path: &Path) -> io::Result<OwnedFd> {
    let place = open_exactly(path)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(place, "", flags)?)
}

/// A path of the host, without links.
pub(super) fn open_exactly(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    openat2(CWD, path, flags, Mode::empty(), resolve)
}

/// A tree of the new root, where links lead as they do inside.
fn clone_tree(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE;
    Ok(open_tree(CWD, path, flags)?)
}

fn attributes(access: Access, devices: bool) -> MountAttrFlags {
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NOSUID;
    if !devices {
        attributes |= MountAttrFlags::MOUNT_ATTR_NODEV;
    }
    if access == Access::ReadOnly {
        attributes |= READ_ONLY;
    }
    attributes
}

fn restrict(mount: BorrowedFd<'_>, recursive: bool, attributes: MountAttrFlags) -> io::Result<()> {
    sys::mount_setattr(mount, recursive, attributes.bits().into(), 0)
}

/// A new file system that is not attached anywhere yet. Options without a value are flags.
pub(super) fn new_mount(
    kind: &std::ffi::CStr,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        if value.is_empty() {
            fsconfig_set_flag(context.as_fd(), *key)?;
        } else {
            fsconfig_set_string(context.as_fd(), *key, *value)?;
        }
    }
    fsconfig_create(context.as_fd())?;
    Ok(fsmount(
        context.as_fd(),
        FsMountFlags::FSMOUNT_CLOEXEC,
        attributes,
    )?)
}

/// Attaches a detached mount, creating what it is attached to.
fn place(mount: BorrowedFd<'_>, target: &Path) -> Result<(), Failure> {
    let attach = || {
        move_mount(
            mount,
            "",
            CWD,
            target,
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
        )
    };
    let attached = match attach() {
        Err(Errno::NOENT) => make_mount_point(mount, target).and_then(|()| Ok(attach()?)),
        other => other.map_err(io::Error::from),
    };
    attached.at(Stage::Mount, target)
}

/// The same, where a link on the way is an error: what is attached at a path of the host may be in a directory that others
/// write in.
fn place_exactly(mount: BorrowedFd<'_>, target: &Path) -> Result<(), Failure> {
    let attach = || -> rustix::io::Result<()> {
        let flags =
            MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(mount, "", open_exactly(target)?, "", flags)
    };
    let attached = match attach() {
        Err(Errno::NOENT) => make_mount_point(mount, target).and_then(|()| Ok(attach()?)),
        other => other.map_err(io::Error::from),
    };
    attached.at(Stage::Mount, target)
}

fn make_mount_point(mount: BorrowedFd<'_>, target: &Path) -> io::Result<()> {
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(mount)?.st_mode);
    if kind.is_dir() {
        make_directory(target, 0o755)
    } else {
        make_parents(target)?;
        fs::File::create(target).map(drop)
    }
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    make_parents(path)?;
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn make_parents(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) => DirBuilder::new().recursive(true).mode(0o755).create(parent),
        None => Ok(()),
    }
}

fn hide(target: &Path) -> io::Result<Option<OwnedFd>> {
    let metadata = match fs::metadata(target) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        // What cannot even be looked at is hidden well enough.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(None),
        Err(error) => return Err(error),
    };
    let (cover, seal) = if metadata.is_dir() {
        (new_mount(c"tmpfs", &[("mode", "0755")], SAFE)?, true)
    } else {
        (clone_tree(Path::new("/dev/null"))?, false)
    };
    move_mount(
        cover.as_fd(),
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )?;
    Ok(seal.then_some(cover))
}
