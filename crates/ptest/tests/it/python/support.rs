//! What the tests of this module share: where things are, and how a test is skipped.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

use ptest::python::{
    Asking, HostEnv, Interpreter, InterpreterCache, NoCache, PipTool, PythonRequest, Supervision,
    discover,
};

/// Tells the reason why a test cannot run here, or fails if the requirement was demanded.
pub(crate) fn skip(requirement: &str, reason: &str) {
    let demanded = std::env::var("PTEST_TEST_REQUIRE").unwrap_or_default();
    assert!(
        !demanded.split([',', ' ']).any(|name| name == requirement),
        "{requirement} is required but {reason}"
    );
    println!("SKIP: needs {requirement}: {reason}");
}

/// The variables of this process without those that would change what is tested.
pub(crate) fn host() -> HostEnv {
    let env: BTreeMap<OsString, OsString> = std::env::vars_os()
        .filter(|(name, _)| {
            let name = name.to_string_lossy();
            !name.starts_with("UV_")
                && !name.starts_with("PIP_FIND")
                && !name.starts_with("PYENV_V")
        })
        .collect();
    HostEnv::new(env, "/")
}

/// Pip copies that all tests share; unpacking is a second each time.
pub(crate) fn pip_tool() -> PipTool {
    static DIRECTORY: LazyLock<PathBuf> =
        LazyLock::new(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("pip"));
    PipTool::new(DIRECTORY.as_path())
}

/// The interpreter that answers `request`, or the reason why there is none.
pub(crate) fn python(request: &str) -> Option<Interpreter> {
    let host = host();
    let request = PythonRequest::parse(request, &host).unwrap();
    find(&request, &host, &NoCache).ok()
}

pub(crate) fn find(
    request: &PythonRequest,
    host: &HostEnv,
    cache: &dyn InterpreterCache,
) -> Result<Interpreter, ptest::python::InterpreterError> {
    discover::find(
        request,
        &Asking {
            host,
            cache,
            pip: &pip_tool().carried_wheel().unwrap(),
            supervision: &Supervision::default(),
        },
    )
}

/// A cache in memory that counts what it is asked.
#[derive(Default)]
pub(crate) struct MemoryCache {
    values: Mutex<BTreeMap<String, String>>,
}

impl MemoryCache {
    pub(crate) fn len(&self) -> usize {
        self.values.lock().unwrap().len()
    }
}

impl InterpreterCache for MemoryCache {
    fn get(&self, key: &str) -> Option<String> {
        self.values.lock().unwrap().get(key).cloned()
    }

    fn put(&self, key: &str, value: &str) {
        self.values
            .lock()
            .unwrap()
            .insert(key.to_owned(), value.to_owned());
    }
}
