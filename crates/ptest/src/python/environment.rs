//! The variables that an installer may see.
//!
//! A list of what is let through, not of what is kept out: a variable that redirects Python or
//! an installer, or carries a secret of something else, is never on it. Settings of indexes are
//! added by [`super::index`].

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::host::HostEnv;

/// Who the user is, and where temporary files, caches and keys are.
const SYSTEM: [&str; 17] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_CONFIG_DIRS",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSH_AUTH_SOCK",
    "SSH_ASKPASS",
    "CI",
];

/// The way to the network, and what says who one is there.
const NETWORK: [&str; 20] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSL_CLIENT_CERT",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NETRC",
    "PYTHON_KEYRING_BACKEND",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "KRB5CCNAME",
];

/// What a build may be steered by.
const BUILD: [&str; 28] = [
    "CC",
    "CXX",
    "LD",
    "AR",
    "FC",
    "CFLAGS",
    "CXXFLAGS",
    "CPPFLAGS",
    "FFLAGS",
    "LDFLAGS",
    "ARCHFLAGS",
    "MAKEFLAGS",
    "PKG_CONFIG",
    "PKG_CONFIG_PATH",
    "PKG_CONFIG_LIBDIR",
    "CPATH",
    "C_INCLUDE_PATH",
    "LIBRARY_PATH",
    "CARGO_HOME",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "SOURCE_DATE_EPOCH",
    "CUDA_HOME",
    "CUDA_PATH",
    "JAVA_HOME",
    "NPY_NUM_BUILD_JOBS",
];

const PREFIXES: [&str; 6] = [
    "LC_",
    "GIT_SSL_",
    "GIT_SSH",
    "GIT_CONFIG_",
    "CMAKE_",
    "SETUPTOOLS_SCM_PRETEND_VERSION",
];

/// What every tool of an installation sees, without settings of indexes. `named` are variables
/// that requirement files use.
pub(crate) fn tool_environment<'a>(
    host: &HostEnv,
    named: impl IntoIterator<Item = &'a str>,
) -> BTreeMap<OsString, OsString> {
    let mut env: BTreeMap<OsString, OsString> = host
        .env
        .iter()
        .filter(|(name, _)| {
            name.to_str().is_some_and(|name| {
                SYSTEM.contains(&name)
                    || NETWORK.contains(&name)
                    || BUILD.contains(&name)
                    || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            })
        })
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    for name in named {
        // A name in a file must not bring in what is kept out.
        let redirects = [
            "PYTHON",
            "PIP_",
            "UV_",
            "VIRTUAL_ENV",
            "CONDA_",
            "LD_",
            "GIT_",
        ];
        if !redirects.iter().any(|prefix| name.starts_with(prefix))
            && let Some(value) = host.var(name)
        {
            env.insert(name.into(), value.to_owned());
        }
    }
    // Neither waits for a password that nobody can type, nor writes into a repository by looking.
    env.insert("GIT_TERMINAL_PROMPT".into(), "0".into());
    env.insert("GIT_OPTIONAL_LOCKS".into(), "0".into());
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redirects_and_what_is_secret_is_kept_out() {
        let kept_out = [
            "PYTHONHOME",
            "PYTHONPATH",
            "VIRTUAL_ENV",
            "CONDA_PREFIX",
            "PIP_TARGET",
            "PIP_USER",
            "PIP_REQUIRE_VIRTUALENV",
            "UV_PROJECT_ENVIRONMENT",
            "UV_PYTHON",
            "AWS_SECRET_ACCESS_KEY",
            "GIT_DIR",
        ];
        let let_through = ["PATH", "HTTPS_PROXY", "CFLAGS", "LC_ALL"];
        let host = HostEnv::new(
            kept_out
                .iter()
                .chain(&let_through)
                .map(|name| ((*name).into(), "x".into())),
            "/",
        );
        let env = tool_environment(&host, ["PYTHONPATH", "AWS_SECRET_ACCESS_KEY"]);
        for name in let_through {
            assert!(env.contains_key(&OsString::from(name)), "{name}");
        }
        for name in kept_out {
            let expected = name == "AWS_SECRET_ACCESS_KEY";
            assert_eq!(env.contains_key(&OsString::from(name)), expected, "{name}");
        }
    }
}
