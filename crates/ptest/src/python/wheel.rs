//! Unpacks one wheel into an empty prefix, always to the same bytes.
//!
//! Everything is checked against the wheel's own list, file by file. The result is normalised:
//! the same for every installer and every environment, so that all share one layer. What says
//! how one environment came to have the distribution is apart, in [`super::provenance`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::archive::{Archive, ArchiveError, Entry, is_safe};
use super::entry_points::{self, Script, first_line};
use super::installer::{Pinned, Source};
use super::interpreter::Interpreter;
use super::name::{WheelName, normalize, path_of_file_url, url_file_name};
use super::record::{self, Hasher, RecordEntry};

/// Raised whenever unpacking the same wheel would give other bytes than before.
const FLAVOUR: &str = "ptest-1";
/// The largest of a wheel's own descriptions that is read into memory.
const LARGEST_METADATA: u64 = 64 << 20;
const INSTALLER: &[u8] = b"ptest\n";

/// Where the parts of a wheel go, relative to the prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// `lib/python3.12/site-packages`.
    pub site_packages: PathBuf,
    /// `python3.12`.
    pub lib_name: String,
}

impl Layout {
    /// The layout of environments of `interpreter`.
    pub fn of(interpreter: &Interpreter) -> Self {
        Self {
            site_packages: interpreter.site_packages.clone(),
            lib_name: interpreter.lib_name().to_owned(),
        }
    }

    /// The way from the packages up to the prefix, as lists of files write it.
    pub(crate) fn up(&self) -> String {
        "../".repeat(self.site_packages.components().count())
    }
}

/// What was unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Name as the distribution writes it.
    pub name: String,
    /// Version.
    pub version: String,
    /// Name of its metadata directory, `requests-2.28.1.dist-info`.
    pub dist_info: String,
    /// Programs in `bin`.
    pub scripts: Vec<String>,
    /// Number of files.
    pub files: usize,
    /// Their size in bytes.
    pub bytes: u64,
}

/// Unpacks the wheel at `wheel` into `dest`, a directory that is empty or does not exist.
///
/// - Every file of the wheel is in its list and the other way round, with the right hash.
/// - Files have mode 644 or 755; scripts begin with the environment's interpreter; `INSTALLER`
///   is `ptest`; the list is rewritten and sorted; there is no bytecode.
/// - Nothing is written outside of `dest`, whatever the wheel says.
///
/// On an error `dest` is left half-written.
pub fn unpack(wheel: &Path, layout: &Layout, dest: &Path) -> Result<Unpacked, WheelError> {
    let file_name = wheel
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    unpack_named(wheel, &file_name, layout, dest).map_err(|problem| WheelError {
        wheel: file_name,
        problem,
    })
}

/// A text that is equal for wheels that unpack to the same files for every interpreter, at other
/// places; `None` for what is no wheel, or has no hash. With the name of the directory below `lib`
/// it is their [`distribution_key`].
pub fn wheel_key(source: &Source) -> Option<String> {
    let file = match source {
        Source::Wheel { file_name, .. } => file_name.clone(),
        Source::Archive { url, .. } => url_file_name(url)?,
        Source::File { path, .. } => path.file_name()?.to_str()?.to_owned(),
        Source::Sdist { .. } | Source::Repository { .. } | Source::Project { .. } => return None,
    };
    WheelName::parse(&file)?;
    Some(format!("{FLAVOUR} wheel {file} {}", source.sha256()?))
}

/// A text that is equal for distributions that unpack to the same layer, or `None` if that
/// cannot be known before the distribution is there (a local project, a file without a hash).
pub fn distribution_key(pin: &Pinned, interpreter: &Interpreter) -> Option<String> {
    let source = &pin.source;
    if let Some(key) = wheel_key(source) {
        return Some(format!("{key} {}", interpreter.lib_name()));
    }
    let file = match source {
        Source::Wheel { file_name, .. } => Some(file_name.clone()),
        Source::Archive { url, .. } | Source::Sdist { url, .. } => url_file_name(url),
        Source::File { path, .. } => Some(path.file_name()?.to_str()?.to_owned()),
        Source::Repository { .. } => None,
        Source::Project { .. } => return None,
    };
    let parts = match (source, file) {
        (
            Source::Repository {
                url,
                commit,
                subdirectory,
                ..
            },
            _,
        ) => [
            "repository".to_owned(),
            url.clone(),
            format!("{commit}/{}", subdirectory.as_deref().unwrap_or_default()),
            interpreter.build_tag(),
        ],
        // Without a hash.
        (_, Some(file)) if WheelName::parse(&file).is_some() => return None,
        // What a build gives may depend on all of the interpreter.
        (source, Some(file)) => [
            "source".to_owned(),
            match source {
                Source::Archive {
                    subdirectory: Some(directory),
                    ..
                } => format!("{file}/{directory}"),
                _ => file,
            },
            source.sha256()?.to_owned(),
            interpreter.build_tag(),
        ],
        (_, None) => return None,
    };
    Some(format!("{FLAVOUR} {}", parts.join(" ")))
}

/// A wheel that cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[error("the wheel {wheel} cannot be installed")]
pub struct WheelError {
    /// Its file name.
    pub wheel: String,
    /// Why.
    #[source]
    pub problem: WheelProblem,
}

/// What is wrong with a wheel.
#[derive(Debug, thiserror::Error)]
pub enum WheelProblem {
    /// Its file name is not that of a wheel.
    #[error("its name is not that of a wheel")]
    Name,
    /// The archive cannot be read or is refused.
    #[error("its archive is refused")]
    Archive(#[from] ArchiveError),
    /// A file that every wheel has is missing or not readable.
    #[error("its {file} is missing or malformed")]
    Metadata {
        /// `RECORD`, `WHEEL`, `METADATA` or the metadata directory.
        file: &'static str,
    },
    /// It is in a format that is not known.
    #[error("its format is version {version}, which is not supported")]
    Format {
        /// The version.
        version: String,
    },
    /// Its file name and its contents name different distributions.
    #[error("it contains {found}")]
    OtherName {
        /// The name that is inside.
        found: String,
    },
    /// Its list names a file that it does not contain.
    #[error("its list names {path}, which it does not contain")]
    Missing {
        /// The file.
        path: String,
    },
    /// It contains a file that its list does not name.
    #[error("it contains {path}, which its list does not name")]
    Extra {
        /// The file.
        path: String,
    },
    /// A file has another hash or size than the list says.
    #[error("{path} has another content than its list says")]
    Content {
        /// The file.
        path: String,
    },
    /// A path is for a place that does not exist.
    #[error("{path} belongs to no place in an environment")]
    Place {
        /// The path.
        path: String,
    },
    /// Two of its files are for one place.
    #[error("two of its files are for {path}")]
    Twice {
        /// The place.
        path: String,
    },
    /// A script is declared in a way that cannot be run.
    #[error("the script {text:?} is malformed")]
    Script {
        /// The declaration.
        text: String,
    },
    /// A file cannot be written.
    #[error("failed to write {path}", path = .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn unpack_named(
    wheel: &Path,
    file_name: &str,
    layout: &Layout,
    dest: &Path,
) -> Result<Unpacked, WheelProblem> {
    let named = WheelName::parse(file_name).ok_or(WheelProblem::Name)?;
    let mut archive = Archive::open(wheel)?;
    let description = Description::read(&mut archive)?;
    if normalize(&description.name) != normalize(&named.name) {
        return Err(WheelProblem::OtherName {
            found: description.name,
        });
    }
    let mut prefix = Prefix::new(dest, layout);
    let mut unlisted = description.record.clone();
    for entry in archive.entries().to_vec() {
        let Some(listed) = unlisted.remove(&entry.name) else {
            return Err(WheelProblem::Extra { path: entry.name });
        };
        if description.is_replaced(&entry.name) || is_bytecode(&entry.name) {
            continue;
        }
        prefix.add(&mut archive, &entry, &listed, &description)?;
    }
    if let Some(path) = unlisted
        .into_keys()
        .find(|path| !description.may_be_absent(path))
    {
        return Err(WheelProblem::Missing { path });
    }
    for script in &description.scripts {
        prefix.script(script)?;
    }
    prefix.finish(description)
}

/// What a wheel says of itself.
struct Description {
    name: String,
    version: String,
    dist_info: String,
    data: String,
    record: BTreeMap<String, RecordEntry>,
    scripts: Vec<Script>,
}

impl Description {
    fn read(archive: &mut Archive) -> Result<Self, WheelProblem> {
        let missing = |file| WheelProblem::Metadata { file };
        let directories: BTreeSet<&str> = archive
            .entries()
            .iter()
            .filter_map(|entry| entry.name.split_once('/'))
            .map(|(directory, _)| directory)
            .filter(|directory| directory.ends_with(".dist-info"))
            .collect();
        let dist_info = match directories.into_iter().collect::<Vec<_>>()[..] {
            [only] => only.to_owned(),
            _ => return Err(missing("metadata directory")),
        };
        let mut text = |name: &'static str| -> Result<Option<String>, WheelProblem> {
            let path = format!("{dist_info}/{name}");
            let Some(entry) = archive.entries().iter().find(|entry| entry.name == path) else {
                return Ok(None);
            };
            let entry = entry.clone();
            let content = archive.read(&entry, LARGEST_METADATA)?;
            String::from_utf8(content)
                .map(Some)
                .map_err(|_| WheelProblem::Metadata { file: name })
        };
        let format = text("WHEEL")?
            .and_then(|text| header(&text, "Wheel-Version"))
            .ok_or(missing("WHEEL"))?;
        if format.split('.').next() != Some("1") {
            return Err(WheelProblem::Format { version: format });
        }
        let metadata = text("METADATA")?.ok_or(missing("METADATA"))?;
        let name = header(&metadata, "Name").ok_or(missing("METADATA"))?;
        let version = header(&metadata, "Version").ok_or(missing("METADATA"))?;
        let listed = text("RECORD")?
            .and_then(|text| record::parse(&text))
            .ok_or(missing("RECORD"))?;
        let mut record = BTreeMap::new();
        for entry in listed {
            if !is_safe(&entry.path) {
                return Err(ArchiveError::UnsafePath { entry: entry.path }.into());
            }
            record.insert(entry.path.clone(), entry);
        }
        let scripts = match text("entry_points.txt")? {
            Some(text) => {
                entry_points::scripts(&text).map_err(|text| WheelProblem::Script { text })?
            }
            None => Vec::new(),
        };
        // The list need not name itself.
        let own = format!("{dist_info}/RECORD");
        record.entry(own.clone()).or_insert(RecordEntry::bare(own));
        Ok(Self {
            name,
            version,
            data: format!("{}.data/", dist_info.trim_end_matches(".dist-info")),
            dist_info,
            record,
            scripts,
        })
    }

    /// Files that are written anew, or that say how an environment came to be.
    fn is_replaced(&self, path: &str) -> bool {
        let Some(name) = self.own_file(path) else {
            return false;
        };
        matches!(
            name,
            "RECORD" | "RECORD.jws" | "RECORD.p7s" | "INSTALLER" | "REQUESTED" | "direct_url.json"
        )
    }

    /// Signatures of the list cannot be in it with a hash, and are listed without being there.
    fn may_be_absent(&self, path: &str) -> bool {
        matches!(self.own_file(path), Some("RECORD.jws" | "RECORD.p7s"))
    }

    fn own_file<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.dist_info.as_str())?
            .strip_prefix('/')
    }
}

/// The directory that is being filled.
struct Prefix<'a> {
    dest: &'a Path,
    layout: &'a Layout,
    made: BTreeSet<PathBuf>,
    record: BTreeMap<String, RecordEntry>,
    scripts: BTreeSet<String>,
    bytes: u64,
}

impl<'a> Prefix<'a> {
    fn new(dest: &'a Path, layout: &'a Layout) -> Self {
        Self {
            dest,
            layout,
            made: BTreeSet::new(),
            record: BTreeMap::new(),
            scripts: BTreeSet::new(),
            bytes: 0,
        }
    }

    /// Unpacks one file to where it belongs, and checks it on the way.
    fn add(
        &mut self,
        archive: &mut Archive,
        entry: &Entry,
        listed: &RecordEntry,
        description: &Description,
    ) -> Result<(), WheelProblem> {
        let wrong = || WheelProblem::Content {
            path: entry.name.clone(),
        };
        let (place, is_script) = self.place(&entry.name, description)?;
        if self.record.contains_key(&self.listed_as(&place)) {
            return Err(WheelProblem::Twice {
                path: place.display().to_string(),
            });
        }
        let hasher = Hasher::for_hash(&listed.hash).ok_or_else(wrong)?;
        if !listed.size.is_empty() && listed.size != entry.size.to_string() {
            return Err(wrong());
        }
        let digests = if is_script {
            let content = archive.read(entry, LARGEST_METADATA)?;
            let mut hasher = hasher;
            hasher.update(&content);
            let digests = hasher.finish();
            self.write(&place, &with_interpreter(content), true)?;
            self.scripts.insert(file_name(&place));
            digests
        } else {
            let file = self.create(&place, entry.executable)?;
            let mut sink = HashingFile { file, hasher };
            archive.copy(entry, &mut sink)?;
            let digests = sink.hasher.finish();
            self.list(&place, &digests.sha256, entry.size);
            digests
        };
        if !listed.hash.is_empty() && digests.named != listed.hash.trim_end_matches('=') {
            return Err(wrong());
        }
        Ok(())
    }

    fn script(&mut self, script: &Script) -> Result<(), WheelProblem> {
        let place = Path::new("bin").join(&script.name);
        // A wheel may bring a script of the same name, which the declared one replaces.
        let path = self.dest.join(&place);
        if self.scripts.contains(&script.name) {
            fs::remove_file(&path).map_err(|source| WheelProblem::Write { path, source })?;
        }
        self.write(&place, script.text().as_bytes(), true)?;
        self.scripts.insert(script.name.clone());
        Ok(())
    }

    fn finish(mut self, description: Description) -> Result<Unpacked, WheelProblem> {
        let directory = self.layout.site_packages.join(&description.dist_info);
        self.write(&directory.join("INSTALLER"), INSTALLER, false)?;
        let own = directory.join("RECORD");
        let listed = self.listed_as(&own);
        self.record
            .insert(listed.clone(), RecordEntry::bare(listed));
        let files = self.record.len();
        let text = record::write(std::mem::take(&mut self.record).into_values().collect());
        let mut file = self.create(&own, false)?;
        file.write_all(text.as_bytes())
            .map_err(|source| WheelProblem::Write {
                path: self.dest.join(&own),
                source,
            })?;
        Ok(Unpacked {
            name: description.name,
            version: description.version,
            dist_info: description.dist_info,
            scripts: self.scripts.into_iter().collect(),
            files,
            bytes: self.bytes + text.len() as u64,
        })
    }

    /// Where a file of the wheel goes, and whether that makes it a script.
    fn place(
        &self,
        name: &str,
        description: &Description,
    ) -> Result<(PathBuf, bool), WheelProblem> {
        let Some(rest) = name.strip_prefix(description.data.as_str()) else {
            return Ok((self.layout.site_packages.join(name), false));
        };
        let lost = || WheelProblem::Place {
            path: name.to_owned(),
        };
        let (kind, rest) = rest.split_once('/').ok_or_else(lost)?;
        match kind {
            "purelib" | "platlib" => Ok((self.layout.site_packages.join(rest), false)),
            "scripts" => Ok((Path::new("bin").join(rest), true)),
            "headers" => Ok((
                Path::new("include/site")
                    .join(&self.layout.lib_name)
                    .join(&description.name)
                    .join(rest),
                false,
            )),
            // `lib64` is a link to `lib` in an environment; a directory would hide it.
            "data" => Ok((
                match rest.strip_prefix("lib64/") {
                    Some(rest) => Path::new("lib").join(rest),
                    None => rest.into(),
                },
                false,
            )),
            _ => Err(lost()),
        }
    }

    fn write(
        &mut self,
        place: &Path,
        content: &[u8],
        executable: bool,
    ) -> Result<(), WheelProblem> {
        let mut file = self.create(place, executable)?;
        file.write_all(content)
            .map_err(|source| WheelProblem::Write {
                path: self.dest.join(place),
                source,
            })?;
        let mut hasher = Hasher::Sha256(sha2::Digest::new());
        hasher.update(content);
        self.list(place, &hasher.finish().sha256, content.len() as u64);
        Ok(())
    }

    fn create(&mut self, place: &Path, executable: bool) -> Result<File, WheelProblem> {
        let path = self.dest.join(place);
        let failed = |source| WheelProblem::Write {
            path: path.clone(),
            source,
        };
        if let Some(parent) = path.parent()
            && !self.made.contains(parent)
        {
            fs::create_dir_all(parent).map_err(failed)?;
            self.made.insert(parent.to_owned());
        }
        let mode = if executable { 0o755 } else { 0o644 };
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&path)
            .map_err(failed)?;
        // The caller's umask must not be part of a layer.
        rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(mode))
            .map_err(|error| failed(error.into()))?;
        Ok(file)
    }

    fn list(&mut self, place: &Path, digest: &[u8], size: u64) {
        let path = self.listed_as(place);
        self.bytes += size;
        self.record
            .insert(path.clone(), RecordEntry::new(path, digest, size));
    }

    fn listed_as(&self, place: &Path) -> String {
        match place.strip_prefix(&self.layout.site_packages) {
            Ok(inside) => inside.display().to_string(),
            Err(_) => format!("{}{}", self.layout.up(), place.display()),
        }
    }
}

struct HashingFile {
    file: File,
    hasher: Hasher,
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A script whose first line asks for some Python gets the environment's.
fn with_interpreter(content: Vec<u8>) -> Vec<u8> {
    if !content.starts_with(b"#!python") {
        return content;
    }
    let rest = content
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(&[][..], |end| &content[end + 1..]);
    [first_line().as_bytes(), rest].concat()
}

/// Compiled files beside their source are made anew by the interpreter that uses them.
fn is_bytecode(name: &str) -> bool {
    name.ends_with(".pyc") && name.split('/').any(|part| part == "__pycache__")
}

/// The value of a header in text like that of an e-mail.
pub(crate) fn header(text: &str, name: &str) -> Option<String> {
    text.lines()
        .take_while(|line| !line.trim().is_empty())
        .find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.trim()
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
        .filter(|value| !value.is_empty())
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The wheel on this machine that a pin means, if it is one.
pub(crate) fn local_wheel(source: &Source) -> Option<PathBuf> {
    let path = match source {
        Source::Wheel { url, .. } | Source::Archive { url, .. } => path_of_file_url(url)?,
        Source::File { path, .. } => path.clone(),
        _ => return None,
    };
    WheelName::parse(path.file_name()?.to_str()?)?;
    Some(path)
}
