//! Where distributions come from: indexes, directories, proxies and certificates.
//!
//! pip and uv are configured apart from each other. Here both configurations are read, and each
//! installer gets its own where it says something and the other's where it does not, so that
//! the two find the same distributions. Only what says where and how to look is taken; what says
//! where to install is not.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::PathBuf;

use super::host::HostEnv;
use super::ini;
use super::name::file_url;
use super::redact::{host_part, user_part, without_user};

/// pip's options that are let through, as they are called in its files.
const PIP_OPTIONS: [&str; 17] = [
    "index-url",
    "extra-index-url",
    "no-index",
    "find-links",
    "trusted-host",
    "cert",
    "client-cert",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
    "keyring-provider",
    "cache-dir",
    "no-binary",
    "only-binary",
    "prefer-binary",
    "pre",
];
/// uv's variables that are let through: exact names, and beginnings that end in `_`.
const UV_VARIABLES: [&str; 33] = [
    "UV_INDEX",
    "UV_INDEX_",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_CACHE_DIR",
    "UV_NO_CACHE",
    "UV_CONFIG_FILE",
    "UV_NO_CONFIG",
    "UV_HTTP_TIMEOUT",
    "UV_HTTP_CONNECT_TIMEOUT",
    "UV_HTTP_RETRIES",
    "UV_HTTP_PROXY",
    "UV_HTTPS_PROXY",
    "UV_NO_PROXY",
    "UV_REQUEST_TIMEOUT",
    "UV_NATIVE_TLS",
    "UV_SYSTEM_CERTS",
    "UV_INSECURE_HOST",
    "UV_INSECURE_NO_ZIP_VALIDATION",
    "UV_KEYRING_PROVIDER",
    "UV_CREDENTIALS_DIR",
    "UV_OFFLINE",
    "UV_EXCLUDE_NEWER",
    "UV_PRERELEASE",
    "UV_RESOLUTION",
    "UV_NO_BUILD",
    "UV_NO_BUILD_",
    "UV_NO_BINARY",
    "UV_NO_BINARY_",
    "UV_CONCURRENT_",
    "UV_TORCH_BACKEND",
    "UV_GIT_",
];

/// What both installers' configurations say of indexes and the network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexSettings {
    pip: BTreeMap<String, String>,
    uv: BTreeMap<OsString, OsString>,
    /// What uv's own files say, which uv reads itself.
    uv_files: Places,
}

/// Where an installer looks; `None` is what it does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Places {
    index: Option<String>,
    extra: Option<Vec<String>>,
    find_links: Option<Vec<String>>,
    no_index: Option<bool>,
}

impl IndexSettings {
    /// Reads pip's variables and files and uv's variables and files, as `host` says where they
    /// are. A file that cannot be read or understood counts as absent: the installer whose file
    /// it is will say so.
    pub fn from_host(host: &HostEnv) -> Self {
        let uv = host
            .env
            .iter()
            .filter(|(name, value)| !value.is_empty() && is_uv_variable(&name.to_string_lossy()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Self {
            pip: pip_options(host),
            uv,
            uv_files: uv_files(host),
        }
    }

    /// A text that is equal for settings that lead to the same distributions, for a recipe's
    /// key. Credentials are not part of it.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |text: &str| {
            hasher.update(text.as_bytes());
            hasher.update(b"\0");
        };
        for places in [self.pip_places(), self.uv_places()] {
            add(&places
                .index
                .as_deref()
                .map(without_user)
                .unwrap_or_default());
            for url in places
                .extra
                .iter()
                .flatten()
                .chain(places.find_links.iter().flatten())
            {
                add(&without_user(url));
            }
            add(if places.no_index == Some(true) {
                "no-index"
            } else {
                ""
            });
        }
        for name in ["no-binary", "only-binary", "prefer-binary", "pre"] {
            add(self.pip.get(name).map_or("", String::as_str));
        }
        for name in [
            "UV_EXCLUDE_NEWER",
            "UV_PRERELEASE",
            "UV_RESOLUTION",
            "UV_NO_BUILD",
            "UV_NO_BINARY",
            "UV_TORCH_BACKEND",
        ] {
            let value = self.uv.get(&OsString::from(name));
            add(&value
                .map(|value| value.to_string_lossy())
                .unwrap_or_default());
        }
        hasher.finalize().to_hex().to_string()
    }

    /// The variables that say all this to pip.
    pub(crate) fn pip_environment(&self) -> BTreeMap<OsString, OsString> {
        let mut env: BTreeMap<OsString, OsString> = self
            .pip
            .iter()
            .map(|(name, value)| {
                let variable = format!("PIP_{}", name.replace('-', "_").to_uppercase());
                (variable.into(), joined(value).into())
            })
            .collect();
        let places = self.pip_places().or(self.uv_places());
        places.put(
            &mut env,
            ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"],
            " ",
        );
        if places.no_index == Some(true) {
            env.insert("PIP_NO_INDEX".into(), "1".into());
        }
        // The files have been read here; one that sets a target must not be read by pip.
        for (name, value) in [
            ("PIP_CONFIG_FILE", "/dev/null"),
            ("PIP_NO_INPUT", "1"),
            ("PIP_NO_COLOR", "1"),
            ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
            ("PIP_PROGRESS_BAR", "off"),
            ("PIP_ROOT_USER_ACTION", "ignore"),
        ] {
            env.insert(name.into(), value.into());
        }
        env
    }

    /// The variables and options that say all this to uv.
    pub(crate) fn uv_environment(&self) -> (BTreeMap<OsString, OsString>, Vec<OsString>) {
        let mut env = self.uv.clone();
        let mut args: Vec<OsString> = Vec::new();
        let own = self.uv_places();
        let pip = self.pip_places();
        let translated = Places {
            index: own.index.is_none().then_some(pip.index).flatten(),
            extra: own.extra.is_none().then_some(pip.extra).flatten(),
            find_links: own.find_links.is_none().then_some(pip.find_links).flatten(),
            no_index: own.no_index.is_none().then_some(pip.no_index).flatten(),
        };
        translated.put(
            &mut env,
            ["UV_DEFAULT_INDEX", "UV_INDEX", "UV_FIND_LINKS"],
            " ",
        );
        if let Some(links) = &translated.find_links {
            // uv separates these by commas, and fails where pip only warns.
            let there: Vec<&str> = links
                .iter()
                .filter(|link| is_there(link))
                .map(String::as_str)
                .collect();
            env.remove(&OsString::from("UV_FIND_LINKS"));
            if !there.is_empty() {
                env.insert("UV_FIND_LINKS".into(), there.join(",").into());
            }
        }
        if translated.no_index == Some(true) {
            args.push("--no-index".into());
        }
        if translated.extra.is_some() && !self.uv.contains_key(&OsString::from("UV_INDEX_STRATEGY"))
        {
            // With several indexes pip takes the best of all, uv the first that has the name.
            env.insert("UV_INDEX_STRATEGY".into(), "unsafe-best-match".into());
        }
        for (option, variable) in [
            ("cert", "SSL_CERT_FILE"),
            ("client-cert", "SSL_CLIENT_CERT"),
            ("trusted-host", "UV_INSECURE_HOST"),
            ("timeout", "UV_HTTP_TIMEOUT"),
            ("default-timeout", "UV_HTTP_TIMEOUT"),
            ("retries", "UV_HTTP_RETRIES"),
            ("proxy", "ALL_PROXY"),
        ] {
            if let Some(value) = self.pip.get(option) {
                env.entry(variable.into())
                    .or_insert_with(|| joined(value).into());
            }
        }
        if self
            .pip
            .get("keyring-provider")
            .is_some_and(|value| value != "disabled" && value != "auto")
        {
            env.entry("UV_KEYRING_PROVIDER".into())
                .or_insert("subprocess".into());
        }
        if self.pip.get("pre").is_some_and(|value| is_true(value)) {
            env.entry("UV_PRERELEASE".into()).or_insert("allow".into());
        }
        for option in ["no-binary", "only-binary"] {
            for name in self
                .pip
                .get(option)
                .into_iter()
                .flat_map(|value| names(value))
            {
                args.push(format!("--{option}={name}").into());
            }
        }
        (env, args)
    }

    /// The variables by which a plain request finds its way out as both installers' do.
    pub(crate) fn plain_environment(&self, host: &HostEnv) -> BTreeMap<OsString, OsString> {
        let mut env = BTreeMap::new();
        let certificates = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"];
        let file = self
            .pip
            .get("cert")
            .map(|value| joined(value).into())
            .or_else(|| {
                certificates
                    .iter()
                    .find_map(|name| host.var(name).map(OsStr::to_owned))
            });
        env.extend(file.map(|file| ("SSL_CERT_FILE".into(), file)));
        for (small, large) in [("http_proxy", "HTTP_PROXY"), ("https_proxy", "HTTPS_PROXY")] {
            let said = self.pip.get("proxy").map(|value| joined(value).into());
            let said = said.or_else(|| self.uv.get(OsStr::new(&format!("UV_{large}"))).cloned());
            let is_known = host.var(small).or(host.var(large)).is_some();
            let all = host.var("ALL_PROXY").or(host.var("all_proxy"));
            let proxy = said.or_else(|| all.filter(|_| !is_known).map(OsStr::to_owned));
            env.extend(proxy.map(|proxy| (small.into(), proxy)));
        }
        if let Some(hosts) = self.uv.get(OsStr::new("UV_NO_PROXY")) {
            env.insert("no_proxy".into(), hosts.clone());
        }
        env
    }

    /// Whether nothing but directories of distributions is looked at.
    pub(crate) fn has_no_index(&self) -> bool {
        self.uv_places().or(self.pip_places()).no_index == Some(true)
    }

    /// Whether wheels of some distributions, or of all, are not to be used.
    pub(crate) fn refuses_wheels(&self) -> bool {
        let mut names = self.uv.keys().map(|name| name.to_string_lossy());
        self.pip.contains_key("no-binary") || names.any(|name| name.starts_with("UV_NO_BINARY"))
    }

    /// The user part for a URL of a host that an index of the same host has; `None` if the URL
    /// has its own or none is known. `more` are further index URLs.
    pub(crate) fn user_for(&self, url: &str, more: &[&str]) -> Option<String> {
        if user_part(url).is_some() {
            return None;
        }
        let host = host_part(url)?;
        let (pip, uv) = (self.pip_places(), self.uv_places());
        let known = [&pip, &uv]
            .into_iter()
            .flat_map(|places| places.index.iter().chain(places.extra.iter().flatten()));
        known
            .map(String::as_str)
            .chain(more.iter().copied())
            .find(|index| host_part(index) == Some(host) && user_part(index).is_some())
            .and_then(user_part)
            .map(str::to_owned)
    }

    fn pip_places(&self) -> Places {
        let list = |name| self.pip.get(name).map(|value| words(value));
        Places {
            index: self.pip.get("index-url").cloned(),
            extra: list("extra-index-url"),
            find_links: list("find-links"),
            no_index: self.pip.get("no-index").map(|value| is_true(value)),
        }
    }

    fn uv_places(&self) -> Places {
        let text = |name: &str| {
            self.uv
                .get(&OsString::from(name))
                .map(|value| value.to_string_lossy().into_owned())
        };
        // `name=url` is a named index; a URL may contain `=` only after its scheme.
        let url = |word: &str| match word.split_once('=') {
            Some((name, url)) if !name.contains(':') => url.to_owned(),
            _ => word.to_owned(),
        };
        let extra = text("UV_INDEX")
            .or_else(|| text("UV_EXTRA_INDEX_URL"))
            .map(|value| value.split_whitespace().map(url).collect());
        Places {
            index: text("UV_DEFAULT_INDEX")
                .or_else(|| text("UV_INDEX_URL"))
                .map(|word| url(&word)),
            extra,
            find_links: text("UV_FIND_LINKS").map(|value| {
                value
                    .split(',')
                    .map(|link| link.trim().to_owned())
                    .collect()
            }),
            no_index: None,
        }
        .or(self.uv_files.clone())
    }
}

impl Places {
    fn or(self, other: Self) -> Self {
        Self {
            index: self.index.or(other.index),
            extra: self.extra.or(other.extra),
            find_links: self.find_links.or(other.find_links),
            no_index: self.no_index.or(other.no_index),
        }
    }

    fn put(&self, env: &mut BTreeMap<OsString, OsString>, names: [&str; 3], separator: &str) {
        let [index, extra, find_links] = names;
        if let Some(url) = &self.index {
            env.insert(index.into(), url.into());
        }
        for (name, list) in [(extra, &self.extra), (find_links, &self.find_links)] {
            if let Some(list) = list {
                env.insert(name.into(), list.join(separator).into());
            }
        }
    }
}

fn is_uv_variable(name: &str) -> bool {
    UV_VARIABLES
        .iter()
        .any(|known| name == *known || (known.ends_with('_') && name.starts_with(known)))
}

/// pip's options by the names of its files: what `pip install` would use, variables last.
fn pip_options(host: &HostEnv) -> BTreeMap<String, String> {
    let mut options = BTreeMap::new();
    for file in pip_files(host) {
        let Ok(text) = fs::read_to_string(file) else {
            continue;
        };
        let parsed = ini::parse(&text);
        for section in ["global", "install"] {
            for (name, value) in parsed.get(section).into_iter().flatten() {
                let name = name
                    .trim_start_matches('-')
                    .replace('_', "-")
                    .to_lowercase();
                options.insert(name, value.clone());
            }
        }
    }
    for (name, value) in &host.env {
        if let (Some(name), Some(value)) = (
            name.to_str().and_then(|name| name.strip_prefix("PIP_")),
            value.to_str().filter(|value| !value.is_empty()),
        ) {
            options.insert(name.replace('_', "-").to_lowercase(), value.to_owned());
        }
    }
    options.retain(|name, _| PIP_OPTIONS.contains(&name.as_str()));
    if let Some(links) = options.get_mut("find-links") {
        // A path with a space in it has only this form in a variable.
        let urls: Vec<String> = words(links)
            .into_iter()
            .map(|link| {
                if link.contains("://") {
                    link
                } else {
                    file_url(&host.absolute(link.as_ref()))
                }
            })
            .collect();
        *links = urls.join("\n");
    }
    options
}

/// pip's files, the one that counts most last.
fn pip_files(host: &HostEnv) -> Vec<PathBuf> {
    let own = host.var("PIP_CONFIG_FILE");
    if own.is_some_and(|file| file == "/dev/null") {
        return Vec::new();
    }
    let mut files = Vec::new();
    for directory in config_directories(host) {
        files.push(directory.join("pip/pip.conf"));
    }
    files.push(PathBuf::from("/etc/pip.conf"));
    if let Some(file) = own {
        files.push(host.absolute(file.as_ref()));
    } else {
        files.extend(host.home().map(|home| home.join(".pip/pip.conf")));
        files.extend(config_home(host).map(|config| config.join("pip/pip.conf")));
    }
    files
}

fn uv_files(host: &HostEnv) -> Places {
    if host.text("UV_NO_CONFIG").is_some_and(is_true) {
        return Places::default();
    }
    let files = match host.var("UV_CONFIG_FILE") {
        Some(file) => vec![host.absolute(file.as_ref())],
        None => config_home(host)
            .into_iter()
            .chain(config_directories(host))
            .map(|directory| directory.join("uv/uv.toml"))
            .chain([PathBuf::from("/etc/uv/uv.toml")])
            .collect(),
    };
    files
        .iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .filter_map(|text| text.parse::<toml::Table>().ok())
        .map(|table| {
            let pip = table
                .get("pip")
                .and_then(toml::Value::as_table)
                .map(places_of)
                .unwrap_or_default();
            pip.or(places_of(&table))
        })
        .fold(Places::default(), Places::or)
}

fn places_of(table: &toml::Table) -> Places {
    let text = |name: &str| {
        table
            .get(name)
            .and_then(toml::Value::as_str)
            .map(str::to_owned)
    };
    let list = |name: &str| -> Option<Vec<String>> {
        let array = table.get(name)?.as_array()?;
        Some(
            array
                .iter()
                .filter_map(toml::Value::as_str)
                .map(str::to_owned)
                .collect(),
        )
    };
    let mut default = None;
    let mut extra = Vec::new();
    for index in table
        .get("index")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
    {
        let Some(url) = index.get("url").and_then(toml::Value::as_str) else {
            continue;
        };
        let flag = |name: &str| index.get(name).and_then(toml::Value::as_bool) == Some(true);
        if flag("default") {
            default.get_or_insert(url.to_owned());
        } else if !flag("explicit") {
            extra.push(url.to_owned());
        }
    }
    Places {
        index: default.or_else(|| text("index-url")),
        extra: (!extra.is_empty())
            .then_some(extra)
            .or_else(|| list("extra-index-url")),
        find_links: list("find-links"),
        no_index: table.get("no-index").and_then(toml::Value::as_bool),
    }
}

fn config_home(host: &HostEnv) -> Option<PathBuf> {
    match host.var("XDG_CONFIG_HOME") {
        Some(directory) => Some(host.absolute(directory.as_ref())),
        None => host.home().map(|home| home.join(".config")),
    }
}

fn config_directories(host: &HostEnv) -> Vec<PathBuf> {
    match host.var("XDG_CONFIG_DIRS") {
        Some(directories) => std::env::split_paths(directories).collect(),
        None => vec![PathBuf::from("/etc/xdg")],
    }
}

/// Whether a place on this machine exists; any other may.
fn is_there(link: &str) -> bool {
    super::name::path_of_file_url(link).is_none_or(|path| path.exists())
}

fn words(value: &str) -> Vec<String> {
    value.split_whitespace().map(str::to_owned).collect()
}

fn joined(value: &str) -> String {
    words(value).join(" ")
}

fn names(value: &str) -> impl Iterator<Item = &str> {
    value
        .split(|c: char| c == ',' || c.is_whitespace())
        .filter(|name| !name.is_empty())
}

fn is_true(value: &str) -> bool {
    matches!(
        value.trim().to_ascii_lowercase().as_str(),
        "1" | "y" | "yes" | "true" | "t" | "on"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> IndexSettings {
        IndexSettings::from_host(&host(pairs))
    }

    fn host(pairs: &[(&str, &str)]) -> HostEnv {
        let none = [
            ("XDG_CONFIG_DIRS", "/nonexistent"),
            ("PIP_CONFIG_FILE", "/dev/null"),
            ("UV_NO_CONFIG", "1"),
        ];
        HostEnv::new(
            none.iter()
                .chain(pairs)
                .map(|(name, value)| (name.into(), value.into())),
            "/",
        )
    }

    fn get(env: &BTreeMap<OsString, OsString>, name: &str) -> Option<String> {
        env.get(&OsString::from(name))
            .map(|value| value.to_string_lossy().into_owned())
    }

    #[test]
    fn what_only_pip_is_told_uv_is_told_too() {
        let settings = settings(&[
            ("PIP_INDEX_URL", "https://u:p@a/simple"),
            ("PIP_EXTRA_INDEX_URL", "https://b https://c"),
            ("PIP_FIND_LINKS", "/nonexistent /"),
            ("PIP_CERT", "/ca.pem"),
            ("PIP_TARGET", "/elsewhere"),
            ("PIP_NO_BINARY", "a,b"),
        ]);
        let (env, args) = settings.uv_environment();
        assert_eq!(
            get(&env, "UV_DEFAULT_INDEX").unwrap(),
            "https://u:p@a/simple"
        );
        assert_eq!(get(&env, "UV_INDEX").unwrap(), "https://b https://c");
        assert_eq!(get(&env, "UV_FIND_LINKS").unwrap(), "file:///");
        assert_eq!(get(&env, "UV_INDEX_STRATEGY").unwrap(), "unsafe-best-match");
        assert_eq!(get(&env, "SSL_CERT_FILE").unwrap(), "/ca.pem");
        assert_eq!(args, ["--no-binary=a", "--no-binary=b"]);
        assert_eq!(get(&settings.pip_environment(), "PIP_TARGET"), None);
    }

    #[test]
    fn each_keeps_what_it_says_itself() {
        let settings = settings(&[
            ("PIP_INDEX_URL", "https://pip"),
            ("UV_DEFAULT_INDEX", "mine=https://uv"),
            ("UV_PROJECT_ENVIRONMENT", "/elsewhere"),
        ]);
        let (env, _) = settings.uv_environment();
        assert_eq!(get(&env, "UV_DEFAULT_INDEX").unwrap(), "mine=https://uv");
        assert_eq!(get(&env, "UV_PROJECT_ENVIRONMENT"), None);
        assert_eq!(
            get(&settings.pip_environment(), "PIP_INDEX_URL").unwrap(),
            "https://pip"
        );
        let only_uv = self::settings(&[("UV_DEFAULT_INDEX", "mine=https://uv")]);
        assert_eq!(
            get(&only_uv.pip_environment(), "PIP_INDEX_URL").unwrap(),
            "https://uv"
        );
    }

    #[test]
    fn a_file_is_read_and_a_variable_comes_before_it() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pip.conf");
        fs::write(
            &file,
            "[global]\nindex-url = https://file\nextra_index_url =\n    https://x\n    https://y\ntarget = /elsewhere\n[install]\nuser = yes\n",
        )
        .unwrap();
        let file = file.to_str().unwrap();
        let from_file = settings(&[("PIP_CONFIG_FILE", file)]).pip_environment();
        assert_eq!(get(&from_file, "PIP_INDEX_URL").unwrap(), "https://file");
        assert_eq!(
            get(&from_file, "PIP_EXTRA_INDEX_URL").unwrap(),
            "https://x https://y"
        );
        assert_eq!(get(&from_file, "PIP_TARGET"), None);
        assert_eq!(get(&from_file, "PIP_USER"), None);
        assert_eq!(get(&from_file, "PIP_CONFIG_FILE").unwrap(), "/dev/null");
        let both = settings(&[
            ("PIP_CONFIG_FILE", file),
            ("PIP_INDEX_URL", "https://variable"),
        ]);
        assert_eq!(
            get(&both.pip_environment(), "PIP_INDEX_URL").unwrap(),
            "https://variable"
        );
    }

    #[test]
    fn a_fingerprint_follows_the_index_and_not_the_credentials() {
        let one = settings(&[("PIP_INDEX_URL", "https://u:p@a/simple")]);
        let two = settings(&[("PIP_INDEX_URL", "https://v:q@a/simple")]);
        let other = settings(&[("PIP_INDEX_URL", "https://u:p@b/simple")]);
        assert_eq!(one.fingerprint(), two.fingerprint());
        assert_ne!(one.fingerprint(), other.fingerprint());
    }

    #[test]
    fn credentials_of_an_index_count_for_its_host_only() {
        let settings = settings(&[("PIP_INDEX_URL", "https://u:p@a/simple")]);
        assert_eq!(
            settings.user_for("https://a/files/x.whl", &[]).unwrap(),
            "u:p@"
        );
        assert_eq!(settings.user_for("https://b/files/x.whl", &[]), None);
        assert_eq!(
            settings
                .user_for("https://b/x", &["https://t@b/s"])
                .unwrap(),
            "t@"
        );
    }

    #[test]
    fn uv_files_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("uv.toml");
        fs::write(
            &file,
            "[[index]]\nurl = \"https://one\"\n[[index]]\nurl = \"https://two\"\ndefault = true\n",
        )
        .unwrap();
        let mut host = host(&[("UV_CONFIG_FILE", file.to_str().unwrap())]);
        host.env.remove(&OsString::from("UV_NO_CONFIG"));
        let env = IndexSettings::from_host(&host).pip_environment();
        assert_eq!(get(&env, "PIP_INDEX_URL").unwrap(), "https://two");
        assert_eq!(get(&env, "PIP_EXTRA_INDEX_URL").unwrap(), "https://one");
    }
}
