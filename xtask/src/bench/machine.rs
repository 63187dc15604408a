//! Names the machine that was measured: figures without it say nothing.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::process::Result;

/// What a figure depends on.
#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
    pub(crate) system: String,
    pub(crate) filesystem: String,
    pub(crate) uid: u32,
}

impl Machine {
    /// Reads it; `directory` is where the work was done.
    ///
    /// # Errors
    ///
    /// When `/proc` cannot be read.
    pub(crate) fn describe(directory: &Path) -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let memory = fs::read_to_string("/proc/meminfo")?;
        let status = fs::read_to_string("/proc/self/status")?;
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let directory = directory.canonicalize()?;
        Ok(Self {
            cpu: value(&cpuinfo, "model name", ':').unwrap_or_else(|| String::from("unknown")),
            cores: std::thread::available_parallelism()?.get(),
            memory_bytes: value(&memory, "MemTotal", ':')
                .and_then(|size| size.split_whitespace().next()?.parse::<u64>().ok())
                .map_or(0, |kibibytes| kibibytes * 1024),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?
                .trim()
                .to_owned(),
            system: value(&release, "PRETTY_NAME", '=')
                .map_or_else(|| String::from("unknown"), |it| it.replace('"', "")),
            filesystem: filesystem(&fs::read_to_string("/proc/self/mountinfo")?, &directory),
            uid: value(&status, "Uid", ':')
                .and_then(|ids| ids.split_whitespace().nth(1)?.parse().ok())
                .unwrap_or(0),
        })
    }
}

fn value(text: &str, key: &str, separator: char) -> Option<String> {
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(separator)?;
        (name.trim() == key).then(|| value.trim().to_owned())
    })
}

/// The type of the file system on the longest mount point above `directory`.
fn filesystem(mountinfo: &str, directory: &Path) -> String {
    mountinfo
        .lines()
        .filter_map(|line| {
            let (left, right) = line.split_once(" - ")?;
            let point = left.split(' ').nth(4)?;
            directory
                .starts_with(point)
                .then(|| (point.len(), right.split(' ').next().unwrap_or_default()))
        })
        .max_by_key(|(length, _)| *length)
        .map_or_else(|| String::from("unknown"), |(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount_names_the_file_system() {
        let mounts =
            "1 0 8:1 / / rw - ext4 /dev/vda rw\n2 1 0:9 / /tmp rw shared:1 - tmpfs tmpfs rw\n";
        assert_eq!(filesystem(mounts, Path::new("/tmp/a")), "tmpfs");
        assert_eq!(filesystem(mounts, Path::new("/tmpx")), "ext4");
    }

    #[test]
    fn a_value_is_what_stands_behind_its_key() {
        assert_eq!(
            value("a : b\nmodel name\t: X: Y\n", "model name", ':').as_deref(),
            Some("X: Y")
        );
    }
}
