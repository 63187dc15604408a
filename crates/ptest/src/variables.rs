//! Which of the caller's variables a command sees, and what ptest sets itself.
//!
//! The list is of what passes, not of what is held back: a secret or a variable
//! that redirects Python has no way in but by name. Not for installers: what
//! they see is `python::command`'s.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// Variables by name.
pub type Variables = BTreeMap<OsString, OsString>;

/// How programs talk to people, and how many threads they use: nothing that
/// names a place, a host or a secret.
const PASSED: [&str; 42] = [
    "CI",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "COLORTERM",
    "COLUMNS",
    "FORCE_COLOR",
    "GITHUB_ACTIONS",
    "LANG",
    "LANGUAGE",
    "LINES",
    "LOGNAME",
    "MKL_NUM_THREADS",
    "NO_COLOR",
    "NUMEXPR_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "OPENBLAS_NUM_THREADS",
    "PYTEST_ADDOPTS",
    "PYTEST_THEME",
    "PYTHONASYNCIODEBUG",
    "PYTHONBREAKPOINT",
    "PYTHONDEVMODE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONFAULTHANDLER",
    "PYTHONHASHSEED",
    "PYTHONIOENCODING",
    "PYTHONMALLOC",
    "PYTHONOPTIMIZE",
    "PYTHONSAFEPATH",
    "PYTHONTRACEMALLOC",
    "PYTHONUNBUFFERED",
    "PYTHONUTF8",
    "PYTHONVERBOSE",
    "PYTHONWARNDEFAULTENCODING",
    "PYTHONWARNINGS",
    "PY_COLORS",
    "SHELL",
    "SOURCE_DATE_EPOCH",
    "TERM",
    "TZ",
    "USER",
];

/// Where things are, as the command sees them.
#[derive(Clone, Copy, Debug)]
pub struct Places<'a> {
    /// The virtual environment.
    pub prefix: &'a Path,
    /// The home directory.
    pub home: &'a Path,
    /// Where caches are kept.
    pub cache: &'a Path,
    /// The directory for temporary files.
    pub temporary: &'a Path,
    /// The directory for sockets of this user, where there is a private one.
    pub runtime: Option<&'a Path>,
    /// Where a ptest inside keeps its store, where the machine's own is hidden.
    pub store: Option<&'a Path>,
}

/// The variables that a command starts with.
///
/// Weakest first: what passes of `host`, what names `places`, what `pass` names
/// of `host`, `set`. A variable that names a place can so be overridden on purpose.
pub fn for_command(
    host: &Variables,
    places: Places<'_>,
    pass: &[String],
    set: &Variables,
) -> Variables {
    let mut variables: Variables = host
        .iter()
        .filter(|(name, _)| passes(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut place = |name: &str, value: &OsStr| {
        variables.insert(name.into(), value.to_owned());
    };
    place("HOME", places.home.as_os_str());
    place(
        "PATH",
        &path_with(places.prefix, host.get(OsStr::new("PATH"))),
    );
    place("PIP_CACHE_DIR", places.cache.join("pip").as_os_str());
    place("TMPDIR", places.temporary.as_os_str());
    place("UV_CACHE_DIR", places.cache.join("uv").as_os_str());
    place("VIRTUAL_ENV", places.prefix.as_os_str());
    place("XDG_CACHE_HOME", places.cache.as_os_str());
    if let Some(runtime) = places.runtime {
        place("XDG_RUNTIME_DIR", runtime.as_os_str());
    }
    if let Some(store) = places.store {
        place("PTEST_HOME", store.as_os_str());
    }
    for name in pass {
        if let Some(value) = host.get(OsStr::new(name)) {
            variables.insert(name.into(), value.clone());
        }
    }
    variables.extend(
        set.iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    variables
}

fn passes(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| name.starts_with("LC_") || PASSED.binary_search(&name).is_ok())
}

/// An empty element means the working directory to execvp(3): it is left out.
fn path_with(prefix: &Path, host: Option<&OsString>) -> OsString {
    const DEFAULT: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut path = prefix.join("bin").into_os_string();
    let host = host.map_or(OsStr::new(DEFAULT), OsString::as_os_str);
    for element in std::env::split_paths(host).filter(|element| !element.as_os_str().is_empty()) {
        path.push(":");
        path.push(element);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Places<'static> {
        Places {
            prefix: Path::new("/ptest/env"),
            home: Path::new("/ptest/home"),
            cache: Path::new("/ptest/cache"),
            temporary: Path::new("/tmp"),
            runtime: Some(Path::new("/run/user/0")),
            store: None,
        }
    }

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        pairs
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect()
    }

    #[test]
    fn the_list_is_sorted_so_that_it_can_be_searched() {
        assert!(PASSED.is_sorted());
    }

    #[test]
    fn what_redirects_python_or_pip_and_what_is_secret_does_not_pass() {
        let host = variables(&[
            ("PYTHONHOME", "/x"),
            ("PYTHONPATH", "/x"),
            ("PYTHONSTARTUP", "/x"),
            ("PYTHONPLATLIBDIR", "x"),
            ("PYTHONEXECUTABLE", "/x"),
            ("__PYVENV_LAUNCHER__", "/x"),
            ("PIP_TARGET", "/x"),
            ("PIP_PREFIX", "/x"),
            ("PIP_USER", "1"),
            ("PIP_REQUIRE_VIRTUALENV", "1"),
            ("UV_PYTHON", "/x"),
            ("PIP_INDEX_URL", "https://user:secret@index"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("SSH_AUTH_SOCK", "/x"),
            ("LD_PRELOAD", "/x"),
        ]);
        let inside = for_command(&host, places(), &[], &Variables::new());
        for name in host.keys() {
            assert!(!inside.contains_key(name), "{}", name.display());
        }
    }

    #[test]
    fn the_environment_comes_first_on_path_and_the_working_directory_never() {
        let inside = for_command(
            &variables(&[("PATH", "/usr/bin::/bin:")]),
            places(),
            &[],
            &Variables::new(),
        );
        assert_eq!(inside[OsStr::new("PATH")], "/ptest/env/bin:/usr/bin:/bin");
    }

    #[test]
    fn a_variable_passes_by_name_and_is_overridden_by_a_set_one() {
        let host = variables(&[("TOKEN", "a"), ("HOME", "/root"), ("VIRTUAL_ENV", "/old")]);
        let pass = ["TOKEN".to_owned(), "ABSENT".to_owned()];
        let inside = for_command(&host, places(), &pass, &variables(&[("HOME", "/mine")]));
        assert_eq!(inside[OsStr::new("TOKEN")], "a");
        assert_eq!(inside[OsStr::new("HOME")], "/mine");
        assert_eq!(inside[OsStr::new("VIRTUAL_ENV")], "/ptest/env");
        assert!(!inside.contains_key(OsStr::new("ABSENT")));
    }
}
