//! A plain virtual environment, made from a stack and then on its own: it needs ptest no more, and
//! ptest knows nothing of it.

use std::io;
use std::path::{Path, PathBuf};

use ptest_store::{Cloned, Stack};

use crate::error::{Error, ErrorKind, Result};
use crate::improve::table::Use;
use crate::lease::Lease;
use crate::progress::Progress;
use crate::provision::Provisioned;
use crate::ptest::Ptest;
use crate::python::relocate;
use crate::spec::Requirements;
use crate::{improve, operation};

/// A plain virtual environment that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Materialized {
    /// Where it is, with symbolic links resolved.
    pub path: PathBuf,
    /// The version of its Python.
    pub python: String,
    /// The interpreter that its `bin/python` leads to.
    pub interpreter: PathBuf,
    /// How many files, links and directories it has.
    pub entries: u64,
    /// The sizes of its files together.
    pub bytes: u64,
    /// How many of its files share their contents with the store until one of the two is written.
    pub shared: u64,
}

impl Ptest {
    /// Makes a virtual environment at `destination` with these requirements.
    ///
    /// - `destination` is absolute; nothing is there, or an empty directory.
    /// - It appears complete or not at all: it is made elsewhere and renamed. Only into an empty
    ///   directory that something is mounted on it is moved piece by piece, `pyvenv.cfg` last.
    /// - Files are copied, or their contents shared where the file system can do that: whoever
    ///   writes to one changes no other environment.
    /// - What of it was compiled already is there too. The rest is when it is imported, and for the
    ///   next one by [`improve`](Self::improve): compiling all of it takes several times as long as
    ///   compiling what is used.
    pub fn materialize(
        &self,
        python: Option<&str>,
        requirements: &Requirements,
        destination: &Path,
        progress: &dyn Progress,
    ) -> Result<Materialized> {
        operation::run("materialize", &destination.to_string_lossy(), || {
            self.materialize_now(python, requirements, destination, progress)
        })
    }

    fn materialize_now(
        &self,
        python: Option<&str>,
        requirements: &Requirements,
        destination: &Path,
        progress: &dyn Progress,
    ) -> Result<Materialized> {
        let path = resolve(destination)?;
        // Refused before anything is fetched.
        self.store().check_destination(&path)?;
        let lease = Some(Lease::take(self.store())?);
        let provisioned =
            self.provisioner()
                .provision(self.store(), python, requirements, lease, progress)?;
        let cloned = self.clone_with_bytecode(&provisioned, &path, progress)?;
        let noted = improve::table::used(
            self.store().database(),
            &provisioned.stack.id(),
            &provisioned.python,
            Use::Copied,
        );
        operation::passed_over("note that a stack is used", noted);
        Ok(Materialized {
            path,
            python: provisioned.python.version,
            interpreter: provisioned.python.executable,
            entries: cloned.entries,
            bytes: cloned.bytes,
            shared: cloned.shared,
        })
    }

    /// Files keep their times, which is what Python knows bytecode by, and it corrects the paths in
    /// what it loads: so the bytecode of a layer is as good in a copy.
    fn clone_with_bytecode(
        &self,
        provisioned: &Provisioned,
        path: &Path,
        progress: &dyn Progress,
    ) -> Result<Cloned> {
        let (store, own) = (self.store(), &provisioned.stack);
        let executable = provisioned.python.executable.to_str();
        let interpreter = self
            .provisioner()
            .interpreter(store, executable, progress)?;
        let whole = improve::with_bytecode(store.database(), own, &interpreter.magic)?;
        let clone = |stack: &Stack| relocate::clone_tree(store, stack, path, path, false);
        match clone(&whole) {
            // Slow to import is better than not there.
            Err(damaged) if damaged.layer().is_some() && whole != *own => Ok(clone(own)?),
            cloned => Ok(cloned?),
        }
    }
}

/// The path that scripts will name: real, so that it means the same from everywhere.
fn resolve(destination: &Path) -> Result<PathBuf> {
    let failed = |path: &Path, source: io::Error| {
        let hint = (source.kind() == io::ErrorKind::NotFound)
            .then_some("make the directory that it is to lie in first");
        let error = Error::io(format!("resolve {}", path.display()), source);
        match hint {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    };
    match destination.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        resolved => return resolved.map_err(|source| failed(destination, source)),
    }
    let (Some(parent), Some(name)) = (destination.parent(), destination.file_name()) else {
        return Err(Error::new(
            ErrorKind::InvalidInput,
            format!("{} names no directory", destination.display()),
        ));
    };
    let parent = parent
        .canonicalize()
        .map_err(|source| failed(parent, source))?;
    Ok(parent.join(name))
}
