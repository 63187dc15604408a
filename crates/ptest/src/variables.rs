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
    /// The port, on `127.0.0.1`, of the proxy that is the way to other hosts, where there is one.
    pub proxy: Option<u16>,
}

/// The variables that a command starts with.
///
/// Weakest first: what passes of `host`, what names `places`, what `pass` names
/// of `host`, `set`. A variable that names a place can so be overridden on purpose. Those of a proxy are set only where
/// nothing is, in capitals or not: programs differ in which they look at.
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
    if let Some(port) = places.proxy {
        set_proxy(&mut variables, port);
    }
    variables
}

/// `ALL_PROXY` is HTTP too, though the proxy speaks SOCKS: widely used clients in Python fail at once when it names that and
/// a library which they do not require is not installed.
fn set_proxy(variables: &mut Variables, port: u16) {
    let proxy = format!("http://127.0.0.1:{port}");
    for (name, value) in [
        ("ALL_PROXY", proxy.as_str()),
        ("HTTPS_PROXY", &proxy),
        ("HTTP_PROXY", &proxy),
        ("NO_PROXY", "localhost,127.0.0.1,::1"),
    ] {
        let spellings = [
            OsString::from(name),
            OsString::from(name.to_ascii_lowercase()),
        ];
        if !spellings.iter().any(|name| variables.contains_key(name)) {
            variables.extend(spellings.map(|name| (name, value.into())));
        }
    }
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
            proxy: None,
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
    fn a_way_out_is_named_in_every_spelling_unless_one_was_set() {
        let with_proxy = Places {
            proxy: Some(1023),
            ..places()
        };
        let host = variables(&[("HTTP_PROXY", "http://user:secret@host")]);
        let none = for_command(&host, places(), &[], &Variables::new());
        assert!(!none.contains_key(OsStr::new("HTTP_PROXY")));
        let own = variables(&[("https_proxy", "http://mine")]);
        let inside = for_command(&host, with_proxy, &[], &own);
        let of = |name: &str| {
            inside
                .get(OsStr::new(name))
                .map(|value| value.to_str().unwrap())
        };
        for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
            assert_eq!(of(name), Some("http://127.0.0.1:1023"), "{name}");
        }
        for name in ["NO_PROXY", "no_proxy"] {
            assert_eq!(of(name), Some("localhost,127.0.0.1,::1"), "{name}");
        }
        assert_eq!(of("https_proxy"), Some("http://mine"));
        assert_eq!(of("HTTPS_PROXY"), None);
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
