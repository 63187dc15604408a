//! Environments and snapshots as files, and back, on any machine with such an interpreter.
//!
//! What the file is, and that nothing in it is believed, is the store's. Here is what it says of
//! the environment, and how that meets an interpreter that lies elsewhere: the lowest layer, which
//! alone names it, is made anew. A package never teaches the store what a distribution is: its
//! layers are shared, and nothing is installed from them.

mod document;

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use ptest_store::{Compression, ImportLimits, LayerId, Package, Stack, TreePath};

use self::document::{Document, Facts, LABEL};
use crate::environment::{EnvironmentId, Name, Python};
use crate::error::{Error, ErrorKind, Result};
use crate::lease::Lease;
use crate::names;
use crate::progress::Progress;
use crate::provision::{self, Provisioned};
use crate::ptest::{self, Ptest};
use crate::python::interpreter::Interpreter;
use crate::recipe::{self, Contents};
use crate::settings::Settings;
use crate::snapshot::{Origin, Snapshot, table};
use crate::spec::{EnvironmentSpec, Lifetime};
use crate::sync;
use crate::timestamp::Timestamp;

/// Where the tree of an environment lies in an image.
const PREFIX: &str = "ptest/env";

/// The engine that it runs on here.
const ENGINE: &str = "virtualenv";

/// What was packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// How long the file is, in bytes.
    pub bytes: u64,
    /// How many layers are in it.
    pub layers: usize,
    /// The digest of the image, `sha256:…`.
    pub image: String,
    /// What the environment has and no layer can hold, each a sentence for people.
    pub left_out: Vec<String>,
}

/// How a package is to be unpacked.
#[derive(Clone, Debug)]
pub struct Import {
    /// Another name than it had.
    pub name: Option<Name>,
    /// What the environment is to be like here. Variables, limits and labels that the package has
    /// are added where none is given.
    pub settings: Settings,
}

/// What was unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// The name that it has here, or the id of an environment without a name.
    pub label: String,
    /// Whether it is a snapshot, and not an environment.
    pub is_snapshot: bool,
    /// The version of its Python here.
    pub python: String,
    /// How many layers the store did not have.
    pub added: usize,
    /// How many it had.
    pub shared: usize,
    /// What is not here as it was there, each a sentence for people.
    pub differs: Vec<String>,
}

impl Ptest {
    /// Writes an environment, by its name or id, or a snapshot as one file: an OCI image.
    ///
    /// The same thing gives the same bytes, whenever it is packed. What runs in an active
    /// environment is stopped while what was written in it is copied. What is in `out` after a
    /// failure is no package.
    pub fn export(
        &self,
        source: &str,
        compression: Compression,
        out: &mut dyn Write,
        progress: &dyn Progress,
    ) -> Result<Packed> {
        self.operation("export", source, || {
            self.export_now(source, compression, out, progress)
        })
    }

    /// The same, into a file that has its name when it is complete and on the disk.
    pub fn export_to(
        &self,
        source: &str,
        compression: Compression,
        file: &Path,
        progress: &dyn Progress,
    ) -> Result<Packed> {
        into_file(file, |out| self.export(source, compression, out, progress))
    }

    fn export_now(
        &self,
        source: &str,
        compression: Compression,
        out: &mut dyn Write,
        progress: &dyn Progress,
    ) -> Result<Packed> {
        let lease = Lease::take(self.store())?;
        let found = self.source(source)?;
        let executable = found.python.executable.to_str();
        let interpreter = self
            .provisioner()
            .interpreter(self.store(), executable, progress)?;
        let document = Document::new(
            &interpreter,
            &found,
            &self.contents_of(&found)?,
            self.host(),
        );
        let prefix = TreePath::new(PREFIX.as_bytes()).map_err(|source| {
            Error::new(ErrorKind::Unexpected, "the place in an image").with_source(source)
        })?;
        let mut package = Package::new(found.stack.clone(), prefix);
        package
            .labels
            .insert(LABEL.to_owned(), crate::json::text(&document)?);
        package.env.extend(found.settings.variables.clone());
        package.env.extend([
            ("VIRTUAL_ENV".to_owned(), format!("/{PREFIX}")),
            (
                "PATH".to_owned(),
                format!(
                    "/{PREFIX}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
                ),
            ),
        ]);
        let exported = self.store().export(&package, compression, out)?;
        drop(lease);
        Ok(Packed {
            bytes: exported.bytes,
            layers: found.stack.layers().len(),
            image: exported.image,
            left_out: found.left_out,
        })
    }

    /// Makes of a file what it was made of: an environment, or a snapshot.
    ///
    /// Either it is there, wholly and verified, or nothing of it is. Layers that the store has are
    /// shared.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](ErrorKind::Unsupported) when no interpreter here can run what is in it: the
    /// message says what differs.
    pub fn import(
        &self,
        file: &Path,
        import: &Import,
        progress: &dyn Progress,
    ) -> Result<Unpacked> {
        let label = import.name.as_ref().map_or("", Name::as_str);
        self.operation("import", label, || self.import_now(file, import, progress))
    }

    fn import_now(
        &self,
        file: &Path,
        import: &Import,
        progress: &dyn Progress,
    ) -> Result<Unpacked> {
        let limits = ImportLimits::default();
        // Whatever can be refused is refused before anything is unpacked.
        let labels = self.store().package_labels(file, &limits)?;
        let document = Document::read(&labels)?;
        let name = import.name.clone().or_else(|| document.name.clone());
        if let Some(name) = &name {
            names::refuse_taken_now(self.store().database(), name)?;
        }
        let (interpreter, differs) = self.interpreter_for(&document, progress)?;
        let lease = Lease::take(self.store())?;
        let imported = self.store().import(file, &limits)?;
        if imported.package.labels != labels {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!("{} was changed while it was read", file.display()),
            )
            .with_hint("try again when nothing writes it"));
        }
        let contents = document.contents(&imported.package.stack)?;
        let stack = self.on_interpreter(&imported.package.stack, &interpreter)?;
        let found = Found {
            python: provision::python(&interpreter),
            settings: settings(&document, &import.settings),
            document,
            stack,
            contents,
        };
        let is_snapshot = found.document.snapshot.is_some();
        let label = if is_snapshot {
            self.store().sync()?;
            self.enter_snapshot(&found, name)?
        } else {
            self.enter_environment(&found, name)?
        };
        drop(lease);
        sync::beside(self.store());
        Ok(Unpacked {
            label,
            is_snapshot,
            python: found.python.version,
            added: imported.added.len(),
            shared: imported.shared.len(),
            differs,
        })
    }

    /// The interpreter here that runs what was made for another, and what is not the same.
    fn interpreter_for(
        &self,
        document: &Document,
        progress: &dyn Progress,
    ) -> Result<(Interpreter, Vec<String>)> {
        let there = &document.interpreter;
        let mut refused = None;
        for request in there.requests() {
            let found = self
                .provisioner()
                .interpreter(self.store(), Some(&request), progress);
            let Ok(interpreter) = found else {
                continue;
            };
            let differences = there.differences(&Facts::of(&interpreter));
            if differences.serious.is_empty() {
                return Ok((interpreter, differences.slight));
            }
            refused = refused.or(Some(differences.serious));
        }
        let what = format!(
            "{} {} for {}",
            there.implementation, there.version, there.platform
        );
        Err(match refused {
            Some(differences) => Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the package is made for {what}, and no Python here is the same: {}",
                    differences.join("; ")
                ),
            ),
            None => Error::new(
                ErrorKind::Unsupported,
                format!("the package is made for {what}, and there is no such Python here"),
            ),
        }
        .with_hint(format!(
            "install {} {}",
            there.implementation,
            there.series()
        )))
    }

    /// A stack whose lowest layer names this interpreter.
    fn on_interpreter(&self, stack: &Stack, interpreter: &Interpreter) -> Result<Stack> {
        let skeleton: LayerId = self.provisioner().skeleton(self.store(), interpreter)?;
        let rest = stack.layers().iter().skip(1).copied();
        Ok(std::iter::once(skeleton).chain(rest).collect())
    }

    fn enter_environment(&self, found: &Found, name: Option<Name>) -> Result<String> {
        let spec = EnvironmentSpec {
            name,
            lifetime: Lifetime::Detached,
            engine: ENGINE.to_owned(),
            python: None,
            requirements: found.document.requirements(self.host()),
            settings: found.settings.clone(),
        };
        let id = self
            .store()
            .database()
            .write(|transaction| recipe::know(transaction, &found.stack, &found.contents))?;
        let provisioned = Provisioned {
            stack: found.stack.clone(),
            recipe: found.recipe(),
            python: found.python.clone(),
            requirements: found.document.requirements(self.host()),
            lease: None,
        };
        let entered = self
            .enter(&spec, provisioned, ptest::Descent::default())?
            .ok_or(ptest_store::Error::StackMissing { id })?;
        let environment = self.realize(entered, Lifetime::Detached)?;
        Ok(environment.record()?.label().to_owned())
    }

    fn enter_snapshot(&self, found: &Found, name: Option<Name>) -> Result<String> {
        let Some(taken) = &found.document.snapshot else {
            return Err(Error::new(ErrorKind::Unexpected, "it is no snapshot"));
        };
        let environment: EnvironmentId = taken.environment.parse()?;
        let snapshot = self.store().database().write(|transaction| {
            let stack = recipe::know(transaction, &found.stack, &found.contents)?;
            let (number, name) = table::next(transaction, name, &taken.label)?;
            let snapshot = Snapshot {
                name,
                of: Origin {
                    environment,
                    label: taken.label.clone(),
                },
                engine: ENGINE.to_owned(),
                stack,
                recipe: found.recipe(),
                python: found.python.clone(),
                requirements: found.document.requirements(self.host()),
                settings: found.settings.clone(),
                author: taken.author.clone(),
                created_at: Timestamp::from_millisecond(taken.at),
            };
            table::insert(transaction, number, &snapshot)?;
            Ok::<_, Error>(snapshot)
        })?;
        self.store().database().checkpoint()?;
        Ok(snapshot.name.into())
    }
}

/// What is in a package, on an interpreter of this machine.
struct Found {
    document: Document,
    stack: Stack,
    contents: Contents,
    python: Python,
    settings: Settings,
}

impl Found {
    /// What was asked for led to this elsewhere; here it is known by what it is.
    fn recipe(&self) -> String {
        format!("{}{}", recipe::PINS, self.stack.id())
    }
}

/// How strongly it is kept apart is this machine's to say, and where it may look, too.
fn settings(document: &Document, here: &Settings) -> Settings {
    let mut settings = here.clone();
    for (name, value) in &document.variables {
        let variables = &mut settings.variables;
        variables
            .entry(name.clone())
            .or_insert_with(|| value.clone());
    }
    for (key, value) in &document.labels {
        let labels = &mut settings.labels;
        labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    settings.limits = settings.limits.or(document.limits);
    settings
}

/// Gives a file its name when it is complete and on the disk.
fn into_file(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<Packed>) -> Result<Packed> {
    let failed = |source| Error::io(format!("write {}", path.display()), source);
    let name = path.file_name().ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidInput,
            format!("{} is not the name of a file", path.display()),
        )
    })?;
    let mut unfinished = OsString::from(".");
    unfinished.push(name);
    unfinished.push(format!(".{}", std::process::id()));
    let unfinished = path.with_file_name(unfinished);
    let file = File::create_new(&unfinished).map_err(failed)?;
    let written = (|| {
        let mut out = BufWriter::with_capacity(1 << 20, &file);
        let packed = fill(&mut out)?;
        out.flush()
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&unfinished, path))
            .map_err(failed)?;
        Ok(packed)
    })();
    if written.is_err() {
        // Why it failed is what the caller must know.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use crate::project::Project;
    use crate::settings::Profile;
    use crate::spec::Requirements;
    use crate::test_support::{self, open};

    fn spec(project: &Path) -> EnvironmentSpec {
        let spec = test_support::spec(project);
        EnvironmentSpec {
            name: Some("web".parse().unwrap()),
            requirements: Requirements {
                pip: true,
                ..Requirements::default()
            },
            settings: Settings {
                profile: Some(Profile::None),
                ..spec.settings
            },
            ..spec
        }
    }

    fn document(ptest: &Ptest) -> Document {
        let lease = Lease::take(ptest.store()).unwrap();
        let source = ptest.source("web").unwrap();
        let interpreter = ptest
            .provisioner()
            .interpreter(ptest.store(), source.python.executable.to_str(), &Silent)
            .unwrap();
        drop(lease);
        let contents = ptest.contents_of(&source).unwrap();
        let host = ptest.host();
        Document::new(&interpreter, &source, &contents, host)
    }

    #[test]
    fn an_interpreter_that_lies_elsewhere_is_found_by_its_version() {
        let directory = tempfile::tempdir().unwrap();
        let ptest = open(&directory.path().join("store"));
        let web = ptest.create(&spec(directory.path()), &Silent).unwrap();
        let here = document(&ptest);
        let (found, differs) = ptest.interpreter_for(&here, &Silent).unwrap();
        assert_eq!(Facts::of(&found), here.interpreter);
        assert_eq!(differs, Vec::<String>::new());

        let mut newer = here.clone();
        newer.interpreter.numbers[2] = 99;
        newer.interpreter.version = format!("{}.99", here.interpreter.series());
        let (_, differs) = ptest.interpreter_for(&newer, &Silent).unwrap();
        assert_eq!(differs.len(), 1);
        assert!(differs[0].starts_with("patch version: "), "{differs:?}");

        let mut foreign = here.clone();
        foreign.interpreter.platform = "linux-riscv64".to_owned();
        let refused = ptest.interpreter_for(&foreign, &Silent).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported);
        let platform = format!(
            "platform: linux-riscv64 there, {} here",
            here.interpreter.platform
        );
        assert!(refused.to_string().contains(&platform), "{refused}");
        web.remove().unwrap();
    }

    #[test]
    fn only_the_layer_that_names_the_interpreter_is_another_one_elsewhere() {
        let directory = tempfile::tempdir().unwrap();
        let ptest = open(&directory.path().join("store"));
        let web = ptest.create(&spec(directory.path()), &Silent).unwrap();
        let own = ptest.store().stack(&web.record().unwrap().stack).unwrap();
        let staging = ptest.store().stage().unwrap();
        let other = ptest
            .store()
            .commit(staging, ptest_store::CommitOptions::default());
        let other = other.unwrap().layer.id;
        let rest = own.layers()[1..].iter().copied();
        let foreign: Stack = std::iter::once(other).chain(rest).collect();
        let (interpreter, _) = ptest.interpreter_for(&document(&ptest), &Silent).unwrap();
        assert_eq!(ptest.on_interpreter(&foreign, &interpreter).unwrap(), own);
        web.remove().unwrap();
    }

    #[test]
    fn how_far_an_environment_is_kept_apart_is_not_the_packages_to_say() {
        let directory = tempfile::tempdir().unwrap();
        let ptest = open(&directory.path().join("store"));
        let web = ptest.create(&spec(directory.path()), &Silent).unwrap();
        let mut document = document(&ptest);
        document.variables = [("A", "there"), ("B", "there")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        document.limits.pids = Some(7);
        let mut here = Settings::new(Project::at(directory.path()));
        here.variables.insert("A".to_owned(), "here".to_owned());
        let both = settings(&document, &here);
        assert_eq!(both.profile, None);
        assert_eq!(both.variables["A"], "here");
        assert_eq!(both.variables["B"], "there");
        assert_eq!(both.limits.pids, Some(7));
        web.remove().unwrap();
    }
}
