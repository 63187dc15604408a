//! Files of requirements: what they ask for and what they refer to.
//!
//! Installers read the files themselves. They are read here to know what a recipe depends on,
//! which names were asked for, which hashes are allowed, and where local projects are named.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::host::HostEnv;
use super::requirement::{Requirement, RequirementError};

/// A requirements or constraints file with everything it refers to.
#[derive(Debug, Clone)]
pub struct RequirementsFile {
    /// Absolute path.
    pub path: PathBuf,
    /// Whether it only restricts versions (`-c`).
    pub constraint: bool,
    pub(crate) lines: Vec<Line>,
    pub(crate) text: String,
}

/// A logical line: what it means and how it was written.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// As written, without the last line break.
    pub(crate) raw: String,
    pub(crate) content: Content,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// A comment or nothing.
    Blank,
    /// A requirement with the hashes (`sha256:…`) that it allows.
    Requirement {
        requirement: Requirement,
        hashes: Vec<String>,
        /// Options behind the requirement, as written.
        options: String,
    },
    /// `-r` or `-c` with a file on this machine.
    Nested(RequirementsFile),
    /// `-r` or `-c` with a URL.
    Remote,
    /// An index, or a place with distributions.
    Index(String),
    /// `-f` with a path.
    FindLinks(PathBuf),
    /// Any other option.
    Option,
}

impl RequirementsFile {
    /// Reads a file and everything it refers to. `path` may be relative to `host`'s working
    /// directory.
    pub fn read(path: &Path, constraint: bool, host: &HostEnv) -> Result<Self, RequirementError> {
        read(&host.absolute(path), constraint, host, &mut Vec::new())
    }

    /// This file and all nested ones.
    pub(crate) fn closure(&self) -> Vec<&Self> {
        let mut files = vec![self];
        for line in &self.lines {
            if let Content::Nested(nested) = &line.content {
                files.extend(nested.closure());
            }
        }
        files
    }

    /// Whether a file is on another machine, so that its content is not known.
    pub(crate) fn is_remote(&self) -> bool {
        self.closure()
            .iter()
            .flat_map(|file| &file.lines)
            .any(|line| matches!(line.content, Content::Remote))
    }

    /// Names of variables that the file uses as `${NAME}`.
    pub(crate) fn variables(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for file in self.closure() {
            for part in file.text.split("${").skip(1) {
                if let Some((name, _)) = part.split_once('}')
                    && !name.is_empty()
                    && name.bytes().all(|byte| {
                        byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
                    })
                {
                    names.insert(name.to_owned());
                }
            }
        }
        names
    }
}

fn read(
    path: &Path,
    constraint: bool,
    host: &HostEnv,
    parents: &mut Vec<PathBuf>,
) -> Result<RequirementsFile, RequirementError> {
    let failed = |reason: String| RequirementError::File {
        path: path.to_owned(),
        reason,
    };
    let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8".to_owned()))?;
    if parents.iter().any(|parent| parent == path) {
        return Err(failed("it includes itself".to_owned()));
    }
    parents.push(path.to_owned());
    let mut lines = Vec::new();
    for (number, raw) in logical_lines(&text) {
        let content =
            understand(&raw, path, constraint, host, parents).map_err(|problem| match problem {
                nested @ (RequirementError::Line { .. } | RequirementError::File { .. }) => nested,
                problem => RequirementError::Line {
                    path: path.to_owned(),
                    line: number,
                    problem: Box::new(problem),
                },
            })?;
        lines.push(Line { raw, content });
    }
    parents.pop();
    Ok(RequirementsFile {
        path: path.to_owned(),
        constraint,
        lines,
        text,
    })
}

/// Lines with those that end in a backslash joined, each with the number of its first part.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        match lines.last_mut() {
            Some((_, last)) if open => {
                last.push('\n');
                last.push_str(line);
            }
            _ => lines.push((index + 1, line.to_owned())),
        }
        open = line.ends_with('\\') && !line.trim_start().starts_with('#');
    }
    lines
}

fn understand(
    raw: &str,
    path: &Path,
    constraint: bool,
    host: &HostEnv,
    parents: &mut Vec<PathBuf>,
) -> Result<Content, RequirementError> {
    let joined = raw.replace("\\\n", " ");
    let line = without_comment(&joined).trim();
    if line.is_empty() {
        return Ok(Content::Blank);
    }
    if !line.starts_with('-') {
        let (requirement, options) = match line.find(" --") {
            Some(end) => (line[..end].trim(), line[end..].trim()),
            None => (line, ""),
        };
        return Ok(Content::Requirement {
            requirement: Requirement::parse(&expand(requirement, host), host)?,
            hashes: hashes(options),
            options: options.to_owned(),
        });
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    let option = |names: &[&str]| option_value(line, names).map(|value| expand(value, host));
    for (names, nested_constraint) in [
        (["-r", "--requirement"], constraint),
        (["-c", "--constraint"], true),
    ] {
        if let Some(value) = option(&names) {
            return if value.contains("://") {
                Ok(Content::Remote)
            } else {
                read(&directory.join(value), nested_constraint, host, parents).map(Content::Nested)
            };
        }
    }
    if let Some(value) = option(&["-e", "--editable"]) {
        let requirement = if value.contains("://") && !value.starts_with("file://") {
            // An editable checkout of a repository is installed as any other checkout.
            Requirement::parse(&value, host)?
        } else {
            Requirement::editable(&value, host)?
        };
        return Ok(Content::Requirement {
            requirement,
            hashes: Vec::new(),
            options: String::new(),
        });
    }
    if let Some(value) = option(&["-i", "--index-url"])
        .or_else(|| option(&["--extra-index-url", "--extra-index-url"]))
    {
        return Ok(Content::Index(value));
    }
    if let Some(value) = option(&["-f", "--find-links"]) {
        return Ok(if value.contains("://") {
            Content::Index(value)
        } else {
            // Relative to the file if it is there, else to the working directory, as pip does.
            let beside = directory.join(&value);
            Content::FindLinks(if beside.exists() {
                beside
            } else {
                host.absolute(value.as_ref())
            })
        });
    }
    Ok(Content::Option)
}

/// A comment begins at the start of the line or after a space: a URL may contain `#`.
fn without_comment(line: &str) -> &str {
    if line.starts_with('#') {
        return "";
    }
    let end = line
        .char_indices()
        .find(|&(at, c)| {
            c == '#'
                && line[..at]
                    .chars()
                    .next_back()
                    .is_some_and(char::is_whitespace)
        })
        .map_or(line.len(), |(at, _)| at);
    &line[..end]
}

/// The value of an option in the forms `-r x`, `-rx`, `--requirement x` and `--requirement=x`.
fn option_value<'a>(line: &'a str, names: &[&str]) -> Option<&'a str> {
    for name in names {
        let Some(rest) = line.strip_prefix(name) else {
            continue;
        };
        let is_long = name.starts_with("--");
        let value = match rest.chars().next() {
            Some('=') => &rest[1..],
            Some(c) if c.is_whitespace() => rest,
            Some(_) if !is_long => rest,
            _ => continue,
        };
        let value = value.trim();
        let quoted = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'))
            .or_else(|| {
                value
                    .strip_prefix('\'')
                    .and_then(|value| value.strip_suffix('\''))
            });
        return Some(quoted.unwrap_or(value));
    }
    None
}

fn hashes(options: &str) -> Vec<String> {
    let mut words = options.split_whitespace().peekable();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        if let Some(hash) = word.strip_prefix("--hash=") {
            found.push(hash.to_ascii_lowercase());
        } else if word == "--hash"
            && let Some(hash) = words.next()
        {
            found.push(hash.to_ascii_lowercase());
        }
    }
    found
}

/// Replaces `${NAME}` as pip does: upper-case names only, and unknown ones stay.
fn expand(text: &str, host: &HostEnv) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        expanded.push_str(&rest[..start]);
        let after = &rest[start + 2..];
        if let Some((name, tail)) = after.split_once('}')
            && let Some(value) = host.text(name)
        {
            expanded.push_str(value);
            rest = tail;
        } else {
            expanded.push_str("${");
            rest = after;
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixture(tempfile::TempDir);

    impl Fixture {
        fn new(files: &[(&str, &str)]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = directory.path().join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(directory)
        }

        fn read(&self, name: &str) -> Result<RequirementsFile, RequirementError> {
            let host = HostEnv::new([("TOKEN".into(), "t".into())], self.0.path());
            RequirementsFile::read(Path::new(name), false, &host)
        }
    }

    fn requirements(file: &RequirementsFile) -> Vec<String> {
        file.closure()
            .iter()
            .flat_map(|file| &file.lines)
            .filter_map(|line| match &line.content {
                Content::Requirement {
                    requirement,
                    hashes,
                    ..
                } => Some(format!("{requirement} {}", hashes.join(","))),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn comments_continuations_hashes_and_nested_files_are_read() {
        let fixture = Fixture::new(&[
            (
                "r.txt",
                "# a comment \\\n-r sub/more.txt\nsix==1.17.0 \\\n    --hash=sha256:AB \\\n    --hash=sha256:cd # why\n\n--no-binary :all:\n",
            ),
            ("sub/more.txt", "idna # nested\n-c c.txt\n"),
            ("sub/c.txt", "idna<4\n"),
        ]);
        let file = fixture.read("r.txt").unwrap();
        assert_eq!(
            requirements(&file),
            ["six==1.17.0 sha256:ab,sha256:cd", "idna ", "idna<4 "]
        );
        let names: Vec<_> = file
            .closure()
            .iter()
            .map(|file| (file.path.file_name().unwrap().to_owned(), file.constraint))
            .collect();
        assert_eq!(
            names,
            [
                ("r.txt".into(), false),
                ("more.txt".into(), false),
                ("c.txt".into(), true)
            ]
        );
    }

    #[test]
    fn a_wrong_line_is_named_by_file_and_number() {
        let fixture = Fixture::new(&[("r.txt", "idna\n\n==1\n")]);
        let error = fixture.read("r.txt").unwrap_err();
        assert!(error.to_string().contains("r.txt, line 3: "), "{error}");
    }

    #[test]
    fn a_file_that_includes_itself_is_an_error() {
        let fixture = Fixture::new(&[("a.txt", "-r b.txt\n"), ("b.txt", "--requirement=a.txt\n")]);
        let error = fixture.read("a.txt").unwrap_err();
        assert!(error.to_string().contains("includes itself"), "{error}");
        assert!(fixture.read("absent.txt").is_err());
    }

    #[test]
    fn variables_are_expanded_and_reported() {
        let fixture = Fixture::new(&[(
            "r.txt",
            "--extra-index-url https://${TOKEN}@h/s\n${UNKNOWN}x\n",
        )]);
        // What stays unexpanded is no requirement.
        assert!(fixture.read("r.txt").is_err());
        let fixture = Fixture::new(&[("r.txt", "-i https://${TOKEN}@h/s\n")]);
        let file = fixture.read("r.txt").unwrap();
        assert!(matches!(&file.lines[0].content, Content::Index(url) if url == "https://t@h/s"));
        assert!(file.variables().contains("TOKEN"));
    }
}
