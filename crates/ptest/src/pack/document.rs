//! What a package says of the environment in it: a label of the image, as JSON.
//!
//! Nothing of one machine is in it, and nothing of one moment but when a snapshot was taken: the same
//! environment is packed to the same bytes. It may have been written by anybody: no path in it is
//! used, and no text that could write on a terminal what is not there.

use std::collections::BTreeMap;

use ptest_store::{LayerId, Stack};
use serde::{Deserialize, Serialize};

use crate::environment::Name;
use crate::error::{Error, ErrorKind, Result};
use crate::fork::Source;
use crate::labels::Labels;
use crate::python::HostEnv;
use crate::python::interpreter::Interpreter;
use crate::python::requirement::Requirement;
use crate::recipe::{Contents, Pin};
use crate::settings::Limits;
use crate::spec::Requirements;

/// The name of the label.
pub(super) const LABEL: &str = "dev.ptest.environment";

/// The version of the document that is written, and the newest that is read.
const VERSION: u32 = 1;

/// What a package says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Document {
    version: u32,
    /// Its name; `None` for an environment that had none.
    pub(super) name: Option<Name>,
    /// There for a snapshot only.
    pub(super) snapshot: Option<Taken>,
    pub(super) interpreter: Facts,
    requirements: Requirements,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) limits: Limits,
    #[serde(default)]
    pub(super) labels: Labels,
    pins: Vec<Pin>,
    /// The layers that hold what commands wrote.
    written: Vec<String>,
}

/// How a snapshot came to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Taken {
    /// The id and the label of the environment that it was taken of.
    pub(super) environment: String,
    pub(super) label: String,
    pub(super) author: String,
    /// Milliseconds since 1970.
    pub(super) at: i64,
}

/// What must be the same of an interpreter, or be told when it is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts {
    pub(super) implementation: String,
    /// With pre-release parts: `3.12.1`, `3.15.0a2`.
    pub(super) version: String,
    pub(super) numbers: [u64; 3],
    pub(super) free_threaded: bool,
    pub(super) platform: String,
    pub(super) soabi: String,
    pub(super) magic: String,
    pub(super) libc: String,
    pub(super) site_packages: String,
}

impl Facts {
    pub(super) fn of(interpreter: &Interpreter) -> Self {
        Self {
            implementation: interpreter.implementation.clone(),
            version: interpreter.version.full.clone(),
            numbers: interpreter.version.parts(),
            free_threaded: interpreter.free_threaded,
            platform: interpreter.platform.clone(),
            soabi: interpreter.soabi.clone(),
            magic: interpreter.magic.clone(),
            libc: interpreter.libc.clone(),
            site_packages: interpreter.site_packages.display().to_string(),
        }
    }

    /// `3.12`, or `3.13t` of a build without the global lock.
    pub(super) fn series(&self) -> String {
        let [major, minor, _] = self.numbers;
        let kind = if self.free_threaded { "t" } else { "" };
        format!("{major}.{minor}{kind}")
    }

    /// How such an interpreter is asked for, the best first.
    pub(super) fn requests(&self) -> Vec<String> {
        let [major, minor, patch] = self.numbers;
        let kind = if self.free_threaded { "t" } else { "" };
        if self.implementation == "pypy" {
            return vec![format!("pypy{major}.{minor}")];
        }
        vec![format!("{major}.{minor}.{patch}{kind}"), self.series()]
    }

    /// What of an interpreter here is not as it was there: what keeps the packages from running,
    /// and what may be noticed. Each says both.
    pub(super) fn differences(&self, here: &Self) -> Differences {
        let compare = |pairs: &[(&str, &str, &str)]| -> Vec<String> {
            let differ = pairs.iter().filter(|(_, there, here)| there != here);
            differ
                .map(|(what, there, here)| format!("{what}: {there} there, {here} here"))
                .collect()
        };
        Differences {
            serious: compare(&[
                ("implementation", &self.implementation, &here.implementation),
                ("version", &self.series(), &here.series()),
                ("platform", &self.platform, &here.platform),
                ("ABI", &self.soabi, &here.soabi),
                (
                    "place of packages",
                    &self.site_packages,
                    &here.site_packages,
                ),
            ]),
            slight: compare(&[
                ("patch version", &self.version, &here.version),
                ("C library", &self.libc, &here.libc),
                ("bytecode", &self.magic, &here.magic),
            ]),
        }
    }
}

/// What is not the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    pub(super) serious: Vec<String>,
    pub(super) slight: Vec<String>,
}

impl Document {
    pub(super) fn new(
        interpreter: &Interpreter,
        source: &Source,
        contents: &Contents,
        host: &HostEnv,
    ) -> Self {
        Self {
            version: VERSION,
            name: source.name.clone(),
            snapshot: source.taken.as_ref().map(|(of, author, at)| Taken {
                environment: of.environment.to_string(),
                label: of.label.clone(),
                author: author.clone(),
                at: at.as_millisecond(),
            }),
            interpreter: Facts::of(interpreter),
            requirements: portable(&source.requirements, &contents.pins, host),
            variables: source.settings.variables.clone(),
            limits: source.settings.limits,
            labels: source.settings.labels.clone(),
            pins: contents.pins.clone(),
            written: contents.written.iter().map(LayerId::to_string).collect(),
        }
    }

    /// Reads the label of an image.
    pub(super) fn read(labels: &BTreeMap<String, String>) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let text = labels.get(LABEL).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("the package holds no environment: it has no label {LABEL}"),
            )
            .with_hint("`ptest export` makes packages of environments")
        })?;
        let damaged = |source| {
            let what = format!("the label {LABEL} of the package cannot be read");
            Error::new(ErrorKind::Corrupt, what).with_source(source)
        };
        let Versioned { version } = serde_json::from_str(text).map_err(damaged)?;
        if version > VERSION {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("the package has version {version}, and this ptest knows {VERSION}"),
            )
            .with_hint("use a newer ptest"));
        }
        let document: Self = serde_json::from_str(text).map_err(damaged)?;
        document.check()?;
        Ok(document)
    }

    /// Refuses texts that are shown to people and hold what no name or version does.
    fn check(&self) -> Result<()> {
        let facts = &self.interpreter;
        let mut shown = vec![
            &facts.implementation,
            &facts.version,
            &facts.platform,
            &facts.soabi,
            &facts.magic,
            &facts.libc,
            &facts.site_packages,
        ];
        if let Some(taken) = &self.snapshot {
            shown.extend([&taken.environment, &taken.label, &taken.author]);
        }
        for pin in &self.pins {
            shown.extend([
                &pin.name,
                &pin.version,
                &pin.file,
                &pin.sha256,
                &pin.dist_info,
            ]);
            shown.extend(
                pin.editable
                    .iter()
                    .chain(&pin.direct_url)
                    .chain(&pin.found_at),
            );
        }
        match shown.into_iter().find(|text| !is_plain(text)) {
            None => Ok(()),
            Some(text) => {
                let text: String = text.chars().take(80).flat_map(char::escape_debug).collect();
                let what = format!("the package has `{text}` for a name or a version");
                Err(Error::new(ErrorKind::Corrupt, what))
            }
        }
    }

    /// What was asked for, as far as a package may ask for it: building what it names somewhere
    /// would run that outside of any environment.
    pub(super) fn requirements(&self, host: &HostEnv) -> Requirements {
        let specifiers = self.requirements.specifiers.iter();
        Requirements {
            specifiers: specifiers
                .filter(|text| index_name(text, host).is_some())
                .cloned()
                .collect(),
            pip: self.requirements.pip,
            ..Requirements::default()
        }
    }

    /// What the package says of its layers, which must be its own.
    pub(super) fn contents(&self, stack: &Stack) -> Result<Contents> {
        let known = |layer: LayerId| {
            let what = format!("the package speaks of layer {layer}, which it does not have");
            let is_there = stack.layers().contains(&layer);
            is_there
                .then_some(layer)
                .ok_or_else(|| Error::new(ErrorKind::Corrupt, what))
        };
        for pin in &self.pins {
            known(pin.layer()?)?;
        }
        let written = self.written.iter().map(|text| {
            let layer = text.parse().map_err(|source| {
                let what = format!("the package speaks of `{}`", text.escape_debug());
                Error::new(ErrorKind::Corrupt, what).with_source(source)
            })?;
            known(layer)
        });
        Ok(Contents {
            pins: self.pins.clone(),
            written: written.collect::<Result<_>>()?,
        })
    }
}

/// Whether a text shows what it is, on one line of a bearable length.
fn is_plain(text: &str) -> bool {
    text.len() <= 4096 && !text.chars().any(char::is_control)
}

/// The name that an index is asked for.
fn index_name(text: &str, host: &HostEnv) -> Option<String> {
    match Requirement::parse(text, host) {
        Ok(Requirement::Index(index)) => Some(index.name),
        _ => None,
    }
}

/// What was asked for in words that mean something on another machine, and hold no credentials: what
/// was asked for by where it is, is asked for by the version that it had.
fn portable(requirements: &Requirements, pins: &[Pin], host: &HostEnv) -> Requirements {
    let specifiers = requirements.specifiers.iter();
    let mut specifiers: Vec<String> = specifiers
        .filter(|text| index_name(text, host).is_some())
        .cloned()
        .collect();
    let named: Vec<Option<String>> = specifiers
        .iter()
        .map(|text| index_name(text, host))
        .collect();
    let others = pins
        .iter()
        .filter(|pin| pin.requested && !named.contains(&Some(pin.name.clone())));
    specifiers.extend(others.map(|pin| format!("{}=={}", pin.name, pin.version)));
    Requirements {
        specifiers,
        pip: requirements.pip,
        ..Requirements::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            implementation: "cpython".to_owned(),
            version: "3.12.1".to_owned(),
            numbers: [3, 12, 1],
            free_threaded: false,
            platform: "linux-x86_64".to_owned(),
            soabi: "cpython-312-x86_64-linux-gnu".to_owned(),
            magic: "cb0d0d0a".to_owned(),
            libc: "glibc 2.36".to_owned(),
            site_packages: "lib/python3.12/site-packages".into(),
        }
    }

    #[test]
    fn each_difference_names_both_sides() {
        let there = facts();
        assert_eq!(there.differences(&facts()), Differences::default());
        let here = Facts {
            version: "3.12.7".to_owned(),
            platform: "linux-aarch64".to_owned(),
            ..facts()
        };
        let differences = there.differences(&here);
        assert_eq!(
            differences.serious,
            ["platform: linux-x86_64 there, linux-aarch64 here"]
        );
        assert_eq!(
            differences.slight,
            ["patch version: 3.12.1 there, 3.12.7 here"]
        );
    }

    #[test]
    fn what_was_asked_for_by_where_it_is_is_asked_for_by_its_version_elsewhere() {
        let pin = |name: &str| Pin {
            name: name.to_owned(),
            version: "1.0".to_owned(),
            requested: true,
            ..Pin::default()
        };
        let asked = Requirements {
            specifiers: vec![
                "alpha>=1".to_owned(),
                "beta @ https://anna:secret@example.org/beta.tar.gz".to_owned(),
            ],
            editables: vec!["/home/anna/gamma".to_owned()],
            ..Requirements::default()
        };
        let host = HostEnv::default();
        let portable = portable(&asked, &["alpha", "beta", "gamma"].map(pin), &host);
        assert_eq!(portable.specifiers, ["alpha>=1", "beta==1.0", "gamma==1.0"]);
        assert_eq!(portable.editables, Vec::<String>::new());
    }

    #[test]
    fn a_text_that_could_write_on_a_terminal_is_refused() {
        let mut document = Document {
            version: VERSION,
            name: None,
            snapshot: None,
            interpreter: facts(),
            requirements: Requirements::default(),
            variables: BTreeMap::new(),
            limits: Limits::default(),
            labels: Labels::new(),
            pins: vec![Pin::default()],
            written: Vec::new(),
        };
        let read = |document: &Document| {
            let text = crate::json::text(document).unwrap();
            Document::read(&BTreeMap::from([(LABEL.to_owned(), text)]))
        };
        assert_eq!(read(&document).unwrap(), document);
        document.pins[0].name = "six\u{1b}[2J".to_owned();
        let refused = read(&document).unwrap_err();
        assert!(refused.to_string().contains("\\u{1b}[2J"), "{refused}");
    }

    #[test]
    fn a_document_of_a_newer_ptest_is_refused_as_that() {
        let text = r#"{"version": 2, "unheard": "of"}"#;
        let labels = BTreeMap::from([(LABEL.to_owned(), text.to_owned())]);
        let refused = Document::read(&labels).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        let none = Document::read(&BTreeMap::new()).unwrap_err();
        assert_eq!(none.kind(), ErrorKind::InvalidInput);
    }
}
