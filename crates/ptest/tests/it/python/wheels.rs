//! Unpacking wheels: good ones to exact bytes, malformed ones to errors.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ptest::python::ArchiveError;
use ptest::python::provenance::{Provenance, requested_layer};
use ptest::python::wheel::{Layout, Unpacked, WheelError, WheelProblem, unpack};
use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// The mode of a file that is to be a symbolic link.
const LINK: u32 = 0o120_777;

/// Builds a wheel, right unless told otherwise.
pub(crate) struct Builder {
    name: String,
    version: String,
    files: Vec<(String, Vec<u8>, u32)>,
    unlisted: Vec<String>,
    record: Option<String>,
}

impl Builder {
    pub(crate) fn new(name: &str, version: &str) -> Self {
        let name = name.to_lowercase();
        let info = format!("{name}-{version}.dist-info");
        Self {
            files: vec![
                (
                    format!("{info}/METADATA"),
                    format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText\n")
                        .into(),
                    0o644,
                ),
                (
                    format!("{info}/WHEEL"),
                    "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
                        .into(),
                    0o644,
                ),
            ],
            name,
            version: version.to_owned(),
            unlisted: Vec::new(),
            record: None,
        }
    }

    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        self.mode(name, text, 0o644)
    }

    fn mode(mut self, name: &str, text: &str, mode: u32) -> Self {
        self.files.push((name.to_owned(), text.into(), mode));
        self
    }

    fn info(self, name: &str, text: &str) -> Self {
        let path = format!("{}/{name}", self.dist_info());
        self.file(&path, text)
    }

    fn without(mut self, name: &str) -> Self {
        self.files.retain(|(path, ..)| !path.ends_with(name));
        self
    }

    fn unlisted(mut self, name: &str) -> Self {
        self.unlisted.push(name.to_owned());
        self
    }

    fn record(mut self, text: &str) -> Self {
        self.record = Some(text.to_owned());
        self
    }

    fn dist_info(&self) -> String {
        format!("{}-{}.dist-info", self.name, self.version)
    }

    pub(crate) fn write(self, directory: &Path) -> PathBuf {
        let path = directory.join(format!("{}-{}-py3-none-any.whl", self.name, self.version));
        let own = format!("{}/RECORD", self.dist_info());
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        let mut record = String::new();
        for (name, content, mode) in &self.files {
            let options = SimpleFileOptions::default().unix_permissions(*mode);
            if *mode == LINK {
                let target = String::from_utf8(content.clone()).unwrap();
                zip.add_symlink(name, target, options).unwrap();
            } else {
                zip.start_file(name, options).unwrap();
                zip.write_all(content).unwrap();
            }
            if !self.unlisted.contains(name) {
                record.push_str(&format!(
                    "\"{name}\",sha256={},{}\n",
                    base64(&Sha256::digest(content)),
                    content.len()
                ));
            }
        }
        record.push_str(&format!("{own},,\n"));
        let record = self.record.unwrap_or(record);
        if record != "absent" {
            zip.start_file(own, SimpleFileOptions::default()).unwrap();
            zip.write_all(record.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        path
    }
}

fn base64(bytes: &[u8]) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: String = bytes.iter().map(|byte| format!("{byte:08b}")).collect();
    bits.as_bytes()
        .chunks(6)
        .map(|chunk| {
            let text = format!("{:0<6}", std::str::from_utf8(chunk).unwrap());
            alphabet[usize::from_str_radix(&text, 2).unwrap()] as char
        })
        .collect()
}

fn layout() -> Layout {
    Layout {
        site_packages: "lib/python3.12/site-packages".into(),
        lib_name: "python3.12".to_owned(),
    }
}

fn unpacked(builder: Builder) -> (tempfile::TempDir, Result<Unpacked, WheelError>) {
    let directory = tempfile::tempdir().unwrap();
    let wheel = builder.write(directory.path());
    let result = unpack(&wheel, &layout(), &directory.path().join("tree"));
    (directory, result)
}

fn problem(builder: Builder) -> WheelProblem {
    let (directory, result) = unpacked(builder);
    let outside: Vec<_> = fs::read_dir(directory.path().parent().unwrap())
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name() == "evil")
        .collect();
    assert!(outside.is_empty());
    result.unwrap_err().problem
}

fn text(directory: &tempfile::TempDir, name: &str) -> String {
    fs::read_to_string(directory.path().join("tree").join(name)).unwrap()
}

fn mode(directory: &tempfile::TempDir, name: &str) -> u32 {
    let path = directory.path().join("tree").join(name);
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn every_part_goes_to_its_place_and_the_list_says_so() {
    let (directory, result) = unpacked(
        Builder::new("thing", "1.0")
            .file("thing/__init__.py", "x = 1\n")
            .mode("thing/tool", "binary", 0o775)
            .file("thing/__pycache__/__init__.cpython-312.pyc", "stale")
            .file("thing/odd,name.txt", "")
            .file("thing-1.0.data/purelib/pure.py", "")
            .file("thing-1.0.data/scripts/run.py", "#!python -u\nprint(1)\n")
            .file("thing-1.0.data/scripts/run.sh", "#!/bin/sh\n")
            .file("thing-1.0.data/headers/thing.h", "")
            .file("thing-1.0.data/data/share/thing/d.json", "{}")
            .file("thing-1.0.data/data/lib64/x", "")
            .info(
                "entry_points.txt",
                "[console_scripts]\nthing = thing:main\n",
            )
            .info("INSTALLER", "other")
            .info("REQUESTED", ""),
    );
    let done = result.unwrap();
    assert_eq!(done.scripts, ["run.py", "run.sh", "thing"]);
    assert_eq!(
        text(&directory, "bin/run.py"),
        "#!/ptest/env/bin/python\nprint(1)\n"
    );
    assert_eq!(text(&directory, "bin/run.sh"), "#!/bin/sh\n");
    assert_eq!(mode(&directory, "bin/run.sh"), 0o755);
    assert_eq!(mode(&directory, "bin/thing"), 0o755);
    let site = "lib/python3.12/site-packages";
    assert_eq!(mode(&directory, &format!("{site}/thing/tool")), 0o755);
    assert_eq!(mode(&directory, &format!("{site}/pure.py")), 0o644);
    assert_eq!(text(&directory, "share/thing/d.json"), "{}");
    assert_eq!(
        text(&directory, "include/site/python3.12/thing/thing.h"),
        ""
    );
    assert_eq!(text(&directory, "lib/x"), "");
    assert_eq!(
        text(&directory, &format!("{site}/thing-1.0.dist-info/INSTALLER")),
        "ptest\n"
    );
    let record = text(&directory, &format!("{site}/thing-1.0.dist-info/RECORD"));
    let paths: Vec<&str> = record
        .lines()
        .map(|line| line.rsplitn(3, ',').last().unwrap())
        .collect();
    assert_eq!(
        paths,
        [
            "../../../bin/run.py",
            "../../../bin/run.sh",
            "../../../bin/thing",
            "../../../include/site/python3.12/thing/thing.h",
            "../../../lib/x",
            "../../../share/thing/d.json",
            "pure.py",
            "thing-1.0.dist-info/INSTALLER",
            "thing-1.0.dist-info/METADATA",
            "thing-1.0.dist-info/RECORD",
            "thing-1.0.dist-info/WHEEL",
            "thing-1.0.dist-info/entry_points.txt",
            "thing/__init__.py",
            "\"thing/odd,name.txt\"",
            "thing/tool",
        ]
    );
    assert_eq!(done.files, paths.len());
}

#[test]
fn paths_that_leave_the_prefix_are_refused() {
    for name in [
        "../evil",
        "/evil",
        "a/../../evil",
        "a//b",
        "thing-1.0.data/scripts/../../evil",
    ] {
        let found = problem(Builder::new("thing", "1.0").file(name, "x"));
        assert!(
            matches!(
                found,
                WheelProblem::Archive(ArchiveError::UnsafePath { .. })
            ),
            "{name}: {found:?}"
        );
    }
    let link = Builder::new("thing", "1.0").mode("link", "/etc/passwd", LINK);
    let found = problem(link);
    assert!(
        matches!(found, WheelProblem::Archive(ArchiveError::Link { .. })),
        "{found:?}"
    );
    let found = problem(Builder::new("thing", "1.0").record("../evil,,\n"));
    assert!(matches!(
        found,
        WheelProblem::Archive(ArchiveError::UnsafePath { .. })
    ));
    let script =
        Builder::new("thing", "1.0").info("entry_points.txt", "[console_scripts]\n../evil = a:b\n");
    assert!(matches!(problem(script), WheelProblem::Script { .. }));
}

#[test]
fn what_the_list_says_must_be_true() {
    let thing = || Builder::new("thing", "1.0").file("a.py", "x");
    assert!(matches!(
        problem(thing().record("absent")),
        WheelProblem::Metadata { file: "RECORD" }
    ));
    assert!(matches!(
        problem(thing().unlisted("a.py")),
        WheelProblem::Extra { path } if path == "a.py"
    ));
    let info = "thing-1.0.dist-info";
    let all = format!("{info}/METADATA,,\n{info}/WHEEL,,\n");
    assert!(matches!(
        problem(thing().record(&format!("{all}a.py,,\nb.py,,\n"))),
        WheelProblem::Missing { path } if path == "b.py"
    ));
    for line in ["a.py,sha256=AAAA,1", "a.py,md5=AAAA,1", "a.py,,2"] {
        assert!(matches!(
            problem(thing().record(&format!("{all}{line}\n"))),
            WheelProblem::Content { path } if path == "a.py"
        ));
    }
    // A line without a hash only says that the file is there.
    assert!(
        unpacked(thing().record(&format!("{all}a.py,,\n")))
            .1
            .is_ok()
    );
}

#[test]
fn what_is_no_wheel_or_another_one_is_refused() {
    let thing = || Builder::new("thing", "1.0");
    assert!(matches!(
        problem(thing().without("WHEEL")),
        WheelProblem::Metadata { file: "WHEEL" }
    ));
    assert!(matches!(
        problem(thing().without("METADATA")),
        WheelProblem::Metadata { file: "METADATA" }
    ));
    assert!(matches!(
        problem(
            thing()
                .without("WHEEL")
                .info("WHEEL", "Wheel-Version: 2.0\n")
        ),
        WheelProblem::Format { .. }
    ));
    assert!(matches!(
        problem(thing().without("METADATA").info("METADATA", "Name: other\nVersion: 1.0\n")),
        WheelProblem::OtherName { found } if found == "other"
    ));
    assert!(matches!(
        problem(thing().file("other-1.0.dist-info/METADATA", "")),
        WheelProblem::Metadata {
            file: "metadata directory"
        }
    ));
    assert!(matches!(
        problem(thing().file("thing-1.0.data/nowhere/x", "")),
        WheelProblem::Place { .. }
    ));
    assert!(matches!(
        problem(
            thing()
                .file("x.py", "")
                .file("thing-1.0.data/purelib/x.py", "")
        ),
        WheelProblem::Twice { .. }
    ));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("thing-1.0-py3-none-any.whl");
    fs::write(&path, "not a zip").unwrap();
    let error = unpack(&path, &layout(), &directory.path().join("tree")).unwrap_err();
    assert!(matches!(error.problem, WheelProblem::Archive(_)));
}

#[test]
fn two_distributions_that_own_one_file_are_unpacked_apart() {
    let (one, first) = unpacked(Builder::new("one", "1.0").file("shared/x.py", "one\n"));
    let (two, second) = unpacked(Builder::new("two", "1.0").file("shared/x.py", "two\n"));
    first.unwrap();
    second.unwrap();
    let name = "lib/python3.12/site-packages/shared/x.py";
    assert_eq!(
        (text(&one, name), text(&two, name)),
        ("one\n".into(), "two\n".into())
    );
}

#[test]
fn provenance_is_a_tree_of_its_own_that_completes_the_list() {
    let (directory, result) = unpacked(Builder::new("thing", "1.0").file("a.py", "x"));
    let done = result.unwrap();
    let tree = directory.path().join("tree");
    let dest = directory.path().join("layer");
    let distribution = Provenance {
        tree: &tree,
        dist_info: &done.dist_info,
        requested: true,
        direct_url: Some("{}"),
    };
    assert!(requested_layer(&[distribution], &layout(), &dest).unwrap());
    let info = dest.join("lib/python3.12/site-packages/thing-1.0.dist-info");
    let mut names: Vec<_> = fs::read_dir(&info)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["RECORD", "REQUESTED", "direct_url.json"]);
    let record = fs::read_to_string(info.join("RECORD")).unwrap();
    assert!(record.contains(
        "thing-1.0.dist-info/REQUESTED,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n"
    ));
    assert!(record.contains("a.py,sha256="));
    let nothing = Provenance {
        requested: false,
        direct_url: None,
        ..distribution
    };
    assert!(!requested_layer(&[nothing], &layout(), &dest).unwrap());
}
