//! Makes a wheel of a project that is used in place.
//!
//! pip installs it into an empty prefix, because no command of pip gives the wheel that a build
//! back-end makes for this; what it installed is packed into a wheel again, so that everything
//! after this is the same as for any other distribution.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use walkdir::WalkDir;
use zip::write::SimpleFileOptions;

use super::installer::{Context, InstallerError, Pinned, Step, stopped};
use super::pip::{self, Failure, NAME};
use super::record::{self, Hasher, RecordEntry};
use super::wheel::{Layout, header};

/// Builds the project at `path` in place, which writes into it, and leaves a wheel in
/// `directory`.
pub(crate) fn build(
    context: &Context<'_>,
    path: &Path,
    directory: &Path,
    pin: &Pinned,
) -> Result<(), InstallerError> {
    let prefix = directory.join("prefix");
    let mut tool = pip::command(context, [])?
        .args(["install", "--no-deps", "--ignore-installed", "--no-compile"])
        .args([
            "--no-warn-script-location",
            "--use-pep517",
            "--prefix",
            "prefix",
            "--editable",
        ])
        .arg(path);
    directory.clone_into(&mut tool.cwd);
    let output = tool
        .run(context.supervision)
        .map_err(|error| stopped(error, NAME, Step::Build))?;
    if !output.status.success() {
        return Err(pip::failure(
            &output.stdout.text(),
            &output.stderr.text(),
            Failure {
                step: Step::Build,
                subject: Some(pin.name.clone()),
                exit: output.status.code(),
                names: &[],
            },
        ));
    }
    let layout = Layout::of(context.interpreter);
    pack(&prefix, &layout, directory).map_err(|source| InstallerError::Answer {
        installer: NAME,
        reason: format!(
            "the editable installation of {} is not usable: {source}",
            pin.name
        ),
    })
}

/// Packs what is installed in `prefix` into a wheel in `directory`.
fn pack(prefix: &Path, layout: &Layout, directory: &Path) -> io::Result<()> {
    let site_packages = prefix.join(&layout.site_packages);
    let dist_info = fs::read_dir(&site_packages)?
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .find(|name| name.ends_with(".dist-info"))
        .ok_or_else(|| io::Error::other("it has no metadata"))?;
    let metadata = fs::read_to_string(site_packages.join(&dist_info).join("METADATA"))?;
    let missing = |name| io::Error::other(format!("its metadata has no {name}"));
    let name = header(&metadata, "Name").ok_or_else(|| missing("name"))?;
    let version = header(&metadata, "Version").ok_or_else(|| missing("version"))?;
    let stem = dist_info.trim_end_matches(".dist-info");
    let file = format!(
        "{}-{}-py3-none-any.whl",
        name.replace(['-', '.'], "_"),
        version.replace('-', "_")
    );
    let mut wheel = Packer {
        zip: zip::ZipWriter::new(File::create(directory.join(file))?),
        record: Vec::new(),
    };
    for entry in WalkDir::new(prefix).sort_by_file_name() {
        let entry = entry?;
        let Ok(place) = entry.path().strip_prefix(prefix) else {
            continue;
        };
        if entry.file_type().is_file()
            && let Some(name) = name_in_wheel(place, layout, stem)
        {
            wheel.add(&name, &contents(entry.path(), &name, stem)?)?;
        }
    }
    wheel.finish(&format!("{dist_info}/RECORD"))
}

/// Where an installed file comes from in a wheel; `None` for what is made by installing.
fn name_in_wheel(place: &Path, layout: &Layout, stem: &str) -> Option<String> {
    let made = ["RECORD", "INSTALLER", "REQUESTED", "direct_url.json"];
    if let Ok(inside) = place.strip_prefix(&layout.site_packages) {
        let inside = inside.to_str()?;
        let own = inside
            .strip_prefix(stem)
            .and_then(|rest| rest.strip_prefix(".dist-info/"));
        return (!own.is_some_and(|name| made.contains(&name))).then(|| inside.to_owned());
    }
    let place = place.to_str()?;
    Some(match place.strip_prefix("bin/") {
        // A declared script is replaced when the wheel is unpacked.
        Some(script) => format!("{stem}.data/scripts/{script}"),
        None => format!("{stem}.data/data/{place}"),
    })
}

/// A script names the interpreter that it was installed for, which only stood in.
fn contents(path: &Path, name: &str, stem: &str) -> io::Result<Vec<u8>> {
    let content = fs::read(path)?;
    let is_script = name.starts_with(&format!("{stem}.data/scripts/"));
    let first = content
        .split(|byte| *byte == b'\n')
        .next()
        .unwrap_or_default();
    let is_python = first.starts_with(b"#!") && String::from_utf8_lossy(first).contains("python");
    if is_script && is_python {
        return Ok([b"#!python".as_slice(), &content[first.len()..]].concat());
    }
    Ok(content)
}

struct Packer {
    zip: zip::ZipWriter<File>,
    record: Vec<RecordEntry>,
}

impl Packer {
    fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.zip.start_file(name, SimpleFileOptions::default())?;
        self.zip.write_all(content)?;
        let mut hasher = Hasher::Sha256(sha2::Digest::new());
        hasher.update(content);
        self.record.push(RecordEntry::new(
            name.to_owned(),
            &hasher.finish().sha256,
            content.len() as u64,
        ));
        Ok(())
    }

    fn finish(mut self, record: &str) -> io::Result<()> {
        self.record.push(RecordEntry::bare(record.to_owned()));
        self.zip.start_file(record, SimpleFileOptions::default())?;
        let text = record::write(std::mem::take(&mut self.record));
        self.zip.write_all(text.as_bytes())?;
        self.zip.finish()?;
        Ok(())
    }
}
