//! Trees as values: written to disk, read back, merged by the plainest possible rules. Shares
//! nothing with the code under test.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileTimes};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, utimensat};

use ptest_store::{Kind, Mtime, View};

/// What a directory holds.
pub(crate) type Children = BTreeMap<OsString, Node>;

/// One path of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    File {
        contents: Vec<u8>,
        mode: u32,
        seconds: i64,
    },
    Link {
        target: OsString,
        seconds: i64,
    },
    Directory {
        mode: u32,
        children: Children,
    },
    Whiteout,
    Opaque {
        mode: u32,
        children: Children,
    },
}

/// Writes a tree into an existing directory, in its order or backwards.
pub(crate) fn write(directory: &Path, children: &Children, backwards: bool) {
    let mut order: Vec<_> = children.iter().collect();
    if backwards {
        order.reverse();
    }
    for (name, node) in order {
        let path = directory.join(name);
        match node {
            Node::File {
                contents,
                mode,
                seconds,
            } => {
                fs::write(&path, contents).unwrap();
                let file = fs::File::options().write(true).open(&path).unwrap();
                file.set_times(FileTimes::new().set_modified(time(*seconds)))
                    .unwrap();
                chmod(&path, *mode);
            }
            Node::Link { target, seconds } => {
                symlink(target, &path).unwrap();
                at(&path, *seconds, 0);
            }
            Node::Directory { mode, children } => {
                fs::create_dir(&path).unwrap();
                write(&path, children, backwards);
                chmod(&path, *mode);
            }
            Node::Whiteout => whiteout(&path),
            Node::Opaque { mode, children } => {
                fs::create_dir(&path).unwrap();
                opaque(&path);
                write(&path, children, backwards);
                chmod(&path, *mode);
            }
        }
    }
}

/// Reads what is in a directory, as any program would.
pub(crate) fn read(directory: &Path) -> Children {
    let (children, ghosts) = read_with_ghosts(directory);
    assert_eq!(ghosts, Vec::<PathBuf>::new());
    children
}

/// The same, and the paths that are listed and not there, sorted.
pub(crate) fn read_with_ghosts(directory: &Path) -> (Children, Vec<PathBuf>) {
    let mut ghosts = Vec::new();
    let children = read_into(directory, Path::new(""), &mut ghosts);
    ghosts.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    (children, ghosts)
}

fn read_into(root: &Path, relative: &Path, ghosts: &mut Vec<PathBuf>) -> Children {
    let mut children = Children::new();
    for entry in fs::read_dir(root.join(relative)).unwrap() {
        let name = entry.unwrap().file_name();
        let relative = relative.join(&name);
        let path = root.join(&relative);
        let Ok(metadata) = fs::symlink_metadata(&path) else {
            ghosts.push(relative);
            continue;
        };
        let mode = metadata.permissions().mode() & 0o7777;
        let seconds = metadata.mtime();
        let node = if metadata.is_dir() {
            let children = opened(&path, mode, 0o700, || read_into(root, &relative, ghosts));
            Node::Directory { mode, children }
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).unwrap().into_os_string();
            Node::Link { target, seconds }
        } else {
            assert!(metadata.is_file(), "{}", path.display());
            let contents = opened(&path, mode, 0o400, || fs::read(&path).unwrap());
            Node::File {
                contents,
                mode,
                seconds,
            }
        };
        children.insert(name, node);
    }
    children
}

/// What is seen when `upper` lies on `lower`.
pub(crate) fn merge(lower: &Children, upper: &Children) -> Children {
    let mut merged = lower.clone();
    for (name, node) in upper {
        let new = match node {
            Node::Whiteout => {
                merged.remove(name);
                continue;
            }
            Node::Opaque { mode, children } => Node::Directory {
                mode: *mode,
                children: merge(&Children::new(), children),
            },
            Node::Directory { mode, children } => {
                let below = match merged.get(name) {
                    Some(Node::Directory { children, .. }) => children.clone(),
                    _ => Children::new(),
                };
                Node::Directory {
                    mode: *mode,
                    children: merge(&below, children),
                }
            }
            node => node.clone(),
        };
        merged.insert(name.clone(), new);
    }
    merged
}

/// A tree as a flat list of what a view says of each path.
pub(crate) fn flat(children: &Children) -> BTreeMap<Vec<u8>, Kind> {
    fn add(into: &mut BTreeMap<Vec<u8>, Kind>, prefix: &[u8], children: &Children) {
        for (name, node) in children {
            let path = [prefix, name.as_bytes()].concat();
            let mtime = |seconds: &i64| Mtime {
                seconds: *seconds,
                nanoseconds: 0,
            };
            let kind = match node {
                Node::File {
                    contents,
                    mode,
                    seconds,
                } => Kind::File {
                    mode: *mode,
                    size: contents.len() as u64,
                    mtime: mtime(seconds),
                    hash: blake3::hash(contents).into(),
                },
                Node::Link { target, seconds } => Kind::Symlink {
                    mtime: mtime(seconds),
                    target: target.as_bytes().into(),
                },
                Node::Directory { mode, children } => {
                    add(into, &[&path, b"/".as_slice()].concat(), children);
                    Kind::Directory { mode: *mode }
                }
                Node::Opaque { mode, children } => {
                    add(into, &[&path, b"/".as_slice()].concat(), children);
                    Kind::Opaque { mode: *mode }
                }
                Node::Whiteout => Kind::Whiteout,
            };
            into.insert(path, kind);
        }
    }
    let mut flat = BTreeMap::new();
    add(&mut flat, b"", children);
    flat
}

/// The same for a view.
pub(crate) fn flat_view(view: &View) -> BTreeMap<Vec<u8>, Kind> {
    view.iter()
        .map(|(path, visible)| (path.as_bytes().to_vec(), visible.kind.clone()))
        .collect()
}

/// Makes a whiteout as overlayfs does.
pub(crate) fn whiteout(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
}

/// Marks a directory as overlayfs does on a mount with `userxattr`.
pub(crate) fn opaque(path: &Path) {
    rustix::fs::setxattr(path, c"user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
}

pub(crate) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Gives a path, not what it leads to, a time, so that two trees are the same.
pub(crate) fn at(path: &Path, seconds: i64, nanoseconds: i64) {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: nanoseconds,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub(crate) fn time(seconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs())
}

/// Random trees, with names that sort awkwardly and meet in different trees; with the marks of an
/// upper directory or without.
pub(crate) fn any_tree(marks: bool) -> impl Strategy<Value = Children> {
    let seconds = 1_000_000_000i64..1_000_000_100;
    let file = (
        prop_oneof![Just(0o644u32), Just(0o755), Just(0o400), Just(0)],
        proptest::collection::vec(any::<u8>(), 0..20),
        seconds.clone(),
    )
        .prop_map(|(mode, contents, seconds)| Node::File {
            contents,
            mode,
            seconds,
        });
    let link = (
        prop_oneof![Just("a"), Just("/etc"), Just("../../x")],
        seconds,
    )
        .prop_map(|(target, seconds)| Node::Link {
            target: target.into(),
            seconds,
        });
    let leaf = if marks {
        prop_oneof![4 => file, 1 => link, 2 => Just(Node::Whiteout)].boxed()
    } else {
        prop_oneof![4 => file, 1 => link].boxed()
    };
    let node = leaf.prop_recursive(3, 24, 5, move |inner| {
        let mode =
            prop_oneof![4 => Just(0o755u32), 1 => Just(0o555), 1 => Just(0o1777), 1 => Just(0)];
        let opaque = if marks {
            any::<bool>().boxed()
        } else {
            Just(false).boxed()
        };
        (mode, children(inner), opaque).prop_map(|(mode, children, opaque)| {
            if opaque {
                Node::Opaque { mode, children }
            } else {
                Node::Directory { mode, children }
            }
        })
    });
    children(node)
}

fn children(node: impl Strategy<Value = Node>) -> impl Strategy<Value = Children> {
    let names: [&[u8]; 6] = [b"a", b"b", b"a-b", b"a0", b"c d", b"\xff\xfe"];
    let name = proptest::sample::select(names.to_vec())
        .prop_map(|name| OsStr::from_bytes(name).to_owned());
    proptest::collection::btree_map(name, node, 0..6)
}

/// Opens every directory below, so that an ordinary user can delete them.
pub(crate) fn open_all(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|file_type| file_type.is_dir()) {
            chmod(&entry.path(), 0o700);
            open_all(&entry.path());
        }
    }
}

/// Runs `body` while an ordinary user's own file or directory of `mode` is open to them.
fn opened<T>(path: &Path, mode: u32, needed: u32, body: impl FnOnce() -> T) -> T {
    let closed = mode & needed != needed && !super::is_root();
    if closed {
        chmod(path, mode | needed);
    }
    let value = body();
    if closed {
        chmod(path, mode);
    }
    value
}
