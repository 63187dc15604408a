//! What a process did to the disk, in order, as strace tells it. Knows nothing of stores.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The calls that change what is on a disk, or wait for it.
const CALLS: &str = "trace=openat,write,pwrite64,ftruncate,copy_file_range,rename,renameat,renameat2,link,linkat,symlinkat,\
                     mkdir,mkdirat,unlink,unlinkat,rmdir,fsync,fdatasync,syncfs";

/// One call that succeeded.
#[derive(Debug)]
pub(crate) enum Event {
    /// Bytes were written to a file, at the place that is given or wherever it was.
    Write {
        path: PathBuf,
        offset: Option<u64>,
        bytes: Vec<u8>,
    },
    /// A file has another length.
    Truncate { path: PathBuf, length: u64 },
    /// Something came to be at this path: a file, a directory, a link.
    Make { path: PathBuf },
    /// Something has another path.
    Rename { from: PathBuf, to: PathBuf },
    /// Something is gone.
    Unlink { path: PathBuf },
    /// All that was done to a file before the event of this number was on the disk when this was told.
    Sync { path: PathBuf, begun: usize },
    /// The same of everything.
    SyncAll { begun: usize },
}

/// Runs a command to its end, which must be good, and gives what it and all that it started did.
pub(crate) fn of(command: &Command, file: &Path) -> Vec<Event> {
    let mut strace = Command::new("strace");
    // Whole strings, whatever is in them, and the paths of descriptors.
    strace.args(["-f", "-y", "-xx", "-s", "1000000", "-e", CALLS, "-o"]);
    strace
        .arg(file)
        .arg(command.get_program())
        .args(command.get_args())
        .envs(
            command
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    let output = strace.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}\n{said}");
    parse(&fs::read_to_string(file).unwrap())
}

fn parse(text: &str) -> Vec<Event> {
    let mut events = Vec::new();
    // What has begun and not ended, by thread: how it begins, and how many events there were.
    let mut begun: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    for line in text.lines() {
        let Some((thread, call)) = line.split_once(' ') else {
            continue;
        };
        let call = call.trim_start();
        if let Some(head) = call.strip_suffix(" <unfinished ...>") {
            begun.insert(thread, (head, events.len()));
            continue;
        }
        let resumed = call
            .strip_prefix("<... ")
            .and_then(|rest| rest.split_once(" resumed>"))
            .and_then(|(_, tail)| Some((begun.remove(thread)?, tail)));
        let event = match resumed {
            Some(((head, since), tail)) => event(&format!("{head}{tail}"), since),
            None => event(call, events.len()),
        };
        events.extend(event);
    }
    events
}

/// What a call did; `None` for what failed or changed nothing.
fn event(call: &str, begun: usize) -> Option<Event> {
    let (name, rest) = call.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let arguments = arguments.trim_end().strip_suffix(')')?;
    if result.starts_with('-') || result.starts_with('?') {
        return None;
    }
    let arguments: Vec<&str> = arguments.split(", ").collect();
    let bytes = |at: usize| decode(arguments.get(at)?.trim_matches('"'));
    let named = |at: usize| Some(PathBuf::from(OsString::from_vec(bytes(at)?)));
    let open = |at: usize| descriptor(arguments.get(at)?);
    // Relative to the directory before it, unless it is absolute.
    let below = |at: usize| Some(open(at)?.join(named(at + 1)?));
    let number = |at: usize| arguments.get(at)?.parse().ok();
    Some(match name {
        "openat" if arguments.get(2)?.contains("O_CREAT") => Event::Make { path: below(0)? },
        "openat" if arguments.get(2)?.contains("O_TRUNC") => Event::Truncate {
            path: below(0)?,
            length: 0,
        },
        "write" => Event::Write {
            path: open(0)?,
            offset: None,
            bytes: bytes(1)?,
        },
        "pwrite64" => Event::Write {
            path: open(0)?,
            offset: Some(number(3)?),
            bytes: bytes(1)?,
        },
        "copy_file_range" => Event::Write {
            path: open(2)?,
            offset: None,
            bytes: Vec::new(),
        },
        "ftruncate" => Event::Truncate {
            path: open(0)?,
            length: number(1)?,
        },
        "mkdir" => Event::Make { path: named(0)? },
        "mkdirat" => Event::Make { path: below(0)? },
        "link" => Event::Make { path: named(1)? },
        "linkat" => Event::Make { path: below(2)? },
        "symlinkat" => Event::Make { path: below(1)? },
        "rename" => Event::Rename {
            from: named(0)?,
            to: named(1)?,
        },
        "renameat" | "renameat2" => Event::Rename {
            from: below(0)?,
            to: below(2)?,
        },
        "unlink" | "rmdir" => Event::Unlink { path: named(0)? },
        "unlinkat" => Event::Unlink { path: below(0)? },
        "fsync" | "fdatasync" => Event::Sync {
            path: open(0)?,
            begun,
        },
        "syncfs" => Event::SyncAll { begun },
        _ => return None,
    })
}

/// The path of a descriptor, which is shown as `5<path>`.
fn descriptor(text: &str) -> Option<PathBuf> {
    let (_, path) = text.split_once('<')?;
    let path = path.split_once('>')?.0;
    Some(PathBuf::from(OsString::from_vec(decode(path)?)))
}

/// The bytes of `\x2f\x77`.
fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.split("\\x").skip(1);
    digits
        .map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_also_when_threads_take_turns() {
        let text = r#"7 mkdir("\x2f\x61", 0700) = 0
8 syncfs(3<\x2f> <unfinished ...>
7 pwrite64(4<\x2f\x61\x2f\x62>, "\x00\x2c\x20", 3, 9) = 3
7 rename("\x2f\x61", "\x2f\x63") = -1 ENOENT (No such file or directory)
8 <... syncfs resumed>)             = 0
7 unlinkat(5<\x2f\x63>, "\x64", 0) = 0
7 +++ exited with 0 +++
"#;
        let events = parse(text);
        let [
            Event::Make { path: made },
            Event::Write {
                path,
                offset: Some(9),
                bytes,
            },
            Event::SyncAll { begun: 1 },
            Event::Unlink { path: gone },
        ] = &events[..]
        else {
            panic!("{events:?}");
        };
        assert_eq!(
            [made, path, gone],
            [Path::new("/a"), Path::new("/a/b"), Path::new("/c/d")]
        );
        assert_eq!(bytes, b"\0, ");
    }
}
