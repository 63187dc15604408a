//! Finds the interpreter that answers a request.
//!
//! Looks at the search path, then at pyenv's versions, then at those that uv manages. Nothing
//! is run whose name or directory already says that it does not fit. What an interpreter is,
//! and how it is asked, is in [`super::interpreter`].

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::host::HostEnv;
use super::interpreter::{Asking, Interpreter, InterpreterError};
use super::pyenv::{Pyenv, Resolved};
use super::request::PythonRequest;

/// Finds the interpreter for `request`.
///
/// - Nothing asked: the first supported Python on the search path.
/// - A version or range: the first that fits on the search path, then the newest that fits among
///   pyenv's versions, then among those that uv manages.
/// - A name: the program of that name in the same places.
/// - A path: that program, or `bin/python` in that directory. Anything that is wrong with it is
///   an error, never a reason to look further.
///
/// A program that does not work is passed over, unless it was asked for by its path, and named
/// in the error if nothing else is found.
pub fn find(request: &PythonRequest, asking: &Asking<'_>) -> Result<Interpreter, InterpreterError> {
    if let PythonRequest::Path(path) = request {
        return Interpreter::query(&program_at(path, asking.host)?, asking);
    }
    let mut passed_over = PassedOver::default();
    for candidate in candidates(request, asking.host) {
        match Interpreter::query(&candidate.program, asking) {
            Ok(found) if request.admits(&found.version, found.free_threaded) => return Ok(found),
            Ok(other) => passed_over.unfit(&other),
            Err(InterpreterError::Cancelled) => return Err(InterpreterError::Cancelled),
            Err(error) => passed_over.broken(error),
        }
    }
    passed_over.into_error(request, asking)
}

/// Everything that could be a Python on this machine, each once, in the order of [`find`].
///
/// Programs that do not work or are too old are left out.
pub fn all(asking: &Asking<'_>) -> Vec<Interpreter> {
    let mut found: Vec<Interpreter> = Vec::new();
    for candidate in every_candidate(asking.host) {
        if let Ok(interpreter) = Interpreter::query(&candidate.program, asking)
            && !found
                .iter()
                .any(|known| known.executable == interpreter.executable)
        {
            found.push(interpreter);
        }
    }
    found
}

/// A program that may be a Python.
#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    program: PathBuf,
}

#[derive(Default)]
struct PassedOver {
    unfit: Vec<String>,
    errors: Vec<InterpreterError>,
}

impl PassedOver {
    fn unfit(&mut self, interpreter: &Interpreter) {
        let line = describe(interpreter);
        if !self.unfit.contains(&line) {
            self.unfit.push(line);
        }
    }

    fn broken(&mut self, error: InterpreterError) {
        self.errors.push(error);
    }

    fn into_error(
        self,
        request: &PythonRequest,
        asking: &Asking<'_>,
    ) -> Result<Interpreter, InterpreterError> {
        let mut broken: Vec<String> = Vec::new();
        for error in &self.errors {
            let line = error.to_string();
            if !broken.contains(&line) {
                broken.push(line);
            }
        }
        let mut available = self.unfit;
        for interpreter in all(asking) {
            let line = describe(&interpreter);
            if !available.contains(&line) {
                available.push(line);
            }
        }
        Err(InterpreterError::NotFound {
            request: request.to_string(),
            searched: searched(asking.host),
            available,
            broken,
        })
    }
}

fn describe(interpreter: &Interpreter) -> String {
    format!(
        "{} ({})",
        interpreter.version,
        interpreter.executable.display()
    )
}

/// The program that a path means: itself, or that of the directory.
fn program_at(path: &Path, host: &HostEnv) -> Result<PathBuf, InterpreterError> {
    if path.is_dir() {
        return ["bin/python", "bin/python3"]
            .iter()
            .map(|name| path.join(name))
            .find(|program| is_program(program))
            .ok_or_else(|| InterpreterError::Missing {
                path: path.to_owned(),
            });
    }
    if !path.exists() {
        return Err(InterpreterError::Missing {
            path: path.to_owned(),
        });
    }
    // A shim given by its path is still a shim.
    if let (Some(pyenv), Some(directory), Some(name)) = (
        Pyenv::find(host),
        path.parent(),
        path.file_name().and_then(|name| name.to_str()),
    ) && pyenv.is_shims(directory)
        && let Resolved::Program(program) = pyenv.resolve(name, host)
    {
        return Ok(program);
    }
    Ok(path.to_owned())
}

/// What may answer `request`, best first. Each is only looked at when those before failed.
fn candidates(request: &PythonRequest, host: &HostEnv) -> Vec<Candidate> {
    let mut found = Vec::new();
    let pyenv = Pyenv::find(host);
    for directory in host.search_path() {
        let names = match request {
            PythonRequest::Any => vec!["python3".to_owned(), "python".to_owned()],
            PythonRequest::Version(version) => version.program_names(),
            PythonRequest::Name(name) => vec![name.clone()],
            PythonRequest::Range(_) => python_names(&directory, request),
            PythonRequest::Path(_) => Vec::new(),
        };
        for name in names {
            push_program(&mut found, &directory, &name, pyenv.as_ref(), host);
        }
    }
    for directory in managed_directories(host, pyenv.as_ref()) {
        if version_in_path(&directory).is_some_and(|parts| !may_admit(request, &parts)) {
            continue;
        }
        let names: &[&str] = match request {
            PythonRequest::Name(name) => &[name],
            // The build without the lock has the plain name in its own directory too.
            _ => &["python3", "python"],
        };
        if let Some(name) = names.iter().find(|name| is_program(&directory.join(name))) {
            push_program(&mut found, &directory, name, None, host);
        }
    }
    found
}

fn every_candidate(host: &HostEnv) -> Vec<Candidate> {
    let mut found = Vec::new();
    let pyenv = Pyenv::find(host);
    for directory in host.search_path() {
        for name in python_names(&directory, &PythonRequest::Any) {
            push_program(&mut found, &directory, &name, pyenv.as_ref(), host);
        }
    }
    for directory in managed_directories(host, pyenv.as_ref()) {
        push_program(&mut found, &directory, "python3", None, host);
    }
    found
}

fn push_program(
    found: &mut Vec<Candidate>,
    directory: &Path,
    name: &str,
    pyenv: Option<&Pyenv>,
    host: &HostEnv,
) {
    let mut program = directory.join(name);
    if !is_program(&program) {
        return;
    }
    if let Some(pyenv) = pyenv
        && pyenv.is_shims(directory)
    {
        match pyenv.resolve(name, host) {
            Resolved::Program(behind) => program = behind,
            // The rest of the search path is looked at anyway.
            Resolved::System | Resolved::Nothing => return,
        }
    }
    let candidate = Candidate { program };
    if !found.contains(&candidate) {
        found.push(candidate);
    }
}

/// The `bin` directories of Pythons that a manager keeps, newest first.
fn managed_directories(host: &HostEnv, pyenv: Option<&Pyenv>) -> Vec<PathBuf> {
    let mut directories = pyenv.map(Pyenv::bin_directories).unwrap_or_default();
    if let Some(root) = uv_root(host) {
        let mut managed: Vec<PathBuf> = fs::read_dir(root)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path().join("bin"))
            .filter(|bin| bin.is_dir())
            .collect();
        managed.sort_by_key(|bin| std::cmp::Reverse(version_in_path(bin)));
        directories.extend(managed);
    }
    directories
}

fn uv_root(host: &HostEnv) -> Option<PathBuf> {
    if let Some(root) = host.var("UV_PYTHON_INSTALL_DIR") {
        return Some(host.absolute(root.as_ref()));
    }
    let data = match host.var("XDG_DATA_HOME") {
        Some(data) => host.absolute(data.as_ref()),
        None => host.home()?.join(".local/share"),
    };
    Some(data.join("uv/python"))
}

/// Programs named `python3`, `python` or `python3.N` in `directory` that may fit: the plain
/// names first, because that is what the user calls, then the newest.
fn python_names(directory: &Path, request: &PythonRequest) -> Vec<String> {
    let mut numbered: Vec<(u64, String)> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| {
            let minor = name.strip_prefix("python3.")?.parse().ok()?;
            may_admit(request, &[3, minor]).then_some((minor, name))
        })
        .collect();
    numbered.sort();
    ["python3".to_owned(), "python".to_owned()]
        .into_iter()
        .chain(numbered.into_iter().rev().map(|(_, name)| name))
        .collect()
}

/// The version in a directory's name, as pyenv and uv name theirs: `…/3.12.1/bin`,
/// `…/cpython-3.12.1-linux-x86_64-gnu/bin`. `None` if the name says nothing certain.
fn version_in_path(bin: &Path) -> Option<Vec<u64>> {
    let name = bin.parent()?.file_name()?.to_str()?;
    let version = name.strip_prefix("cpython-").unwrap_or(name);
    let version = version.split(['-', '+']).next()?;
    version
        .trim_end_matches('t')
        .split('.')
        .map(|part| part.parse().ok())
        .collect()
}

/// Whether a version of which only these first numbers are known may answer the request.
fn may_admit(request: &PythonRequest, parts: &[u64]) -> bool {
    match request {
        PythonRequest::Version(version) => version.agrees(parts),
        PythonRequest::Range(range) if parts.len() >= 3 => {
            range.contains(&pep440_rs::Version::new(parts.iter().copied()))
        }
        _ => true,
    }
}

fn searched(host: &HostEnv) -> Vec<String> {
    let pyenv = Pyenv::find(host);
    let mut places = vec!["PATH".to_owned()];
    if pyenv.is_some() {
        places.push("pyenv".to_owned());
    }
    if let Some(root) = uv_root(host) {
        places.push(root.display().to_string());
    }
    places
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}
