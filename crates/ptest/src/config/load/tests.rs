//! The order of the sources, and what each is refused for.

use std::{
    fs,
    num::NonZeroU32,
    os::unix::fs::{MetadataExt, chown},
    time::Duration,
};

use super::*;
use crate::config::UserHome;

/// A machine of its own: /etc, a home and a project, all below one temporary directory.
struct Machine {
    root: tempfile::TempDir,
    sources: Sources,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        fs::create_dir_all(path.join("home")).unwrap();
        fs::create_dir_all(path.join("project/deep/down")).unwrap();
        let sources = Sources {
            variables: BTreeMap::from([("HOME".into(), path.join("home").into())]),
            working_directory: Some(path.join("project/deep/down")),
            user: fs::metadata(path).unwrap().uid(),
            system_file: path.join("etc/config.toml"),
            profile: None,
        };
        Self { root, sources }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn variable(&mut self, name: &str, value: &str) {
        self.sources.variables.insert(name.into(), value.into());
    }

    fn load(&self) -> Config {
        let (config, warnings) = Config::load(&self.sources).unwrap();
        assert_eq!(warnings, Vec::<String>::new());
        config
    }

    /// The error's text, with the temporary directory taken out of it, and its hint.
    fn error(&self) -> (String, Option<String>) {
        let error = Config::load(&self.sources).unwrap_err();
        (
            error
                .to_string()
                .replace(self.root.path().to_str().unwrap(), "ROOT"),
            error.hint(),
        )
    }
}

#[test]
fn each_source_is_stronger_than_the_one_before() {
    let mut machine = Machine::new();
    let origin = |config: &Config| config.grace.origin().source;
    assert_eq!(origin(&machine.load()), Source::BuiltIn);
    machine.write("etc/config.toml", "grace = '1s'");
    assert_eq!(
        (*machine.load().grace, origin(&machine.load())),
        (Duration::from_secs(1), Source::System)
    );
    machine.write("home/.config/ptest/config.toml", "grace = '2s'");
    assert_eq!(
        (*machine.load().grace, origin(&machine.load())),
        (Duration::from_secs(2), Source::User)
    );
    machine.write("project/pyproject.toml", "[tool.ptest]\ngrace = '3s'");
    assert_eq!(
        (*machine.load().grace, origin(&machine.load())),
        (Duration::from_secs(3), Source::Project)
    );
    machine.variable("PTEST_GRACE", "4s");
    assert_eq!(
        (*machine.load().grace, origin(&machine.load())),
        (Duration::from_secs(4), Source::Variable)
    );
    let mut config = machine.load();
    config
        .grace
        .replace(Some(Duration::from_secs(5)), Origin::OPTION);
    assert_eq!(
        (*config.grace, origin(&config)),
        (Duration::from_secs(5), Source::Option)
    );
    config.grace.replace(None, Origin::OPTION);
    assert_eq!(*config.grace, Duration::from_secs(5));
}

#[test]
fn a_value_remembers_file_and_line() {
    let machine = Machine::new();
    machine.write(
        "project/ptest.toml",
        "# a comment\n\npids = 40\n\n[env]\nA = 'b'\n",
    );
    let config = machine.load();
    assert_eq!(*config.pids, NonZeroU32::new(40));
    let origin = config.pids.origin();
    assert_eq!(
        (origin.file.clone(), origin.line),
        (Some(machine.path("project/ptest.toml")), Some(3))
    );
    assert_eq!(config.env.origin().line, Some(5));
    assert_eq!(config.env.get("A").map(String::as_str), Some("b"));
}

#[test]
fn an_unknown_key_is_an_error_with_its_place_and_the_nearest_key() {
    let machine = Machine::new();
    machine.write(
        "project/pyproject.toml",
        "[project]\nname = 'x'\n\n[tool.ptest]\n  timout = '5s'\n",
    );
    assert_eq!(
        machine.error(),
        (
            "ROOT/project/pyproject.toml:5:3: there is no setting `timout`".to_owned(),
            Some("did you mean `timeout`?".to_owned())
        )
    );
}

#[test]
fn a_wrong_type_is_an_error_with_its_place() {
    let machine = Machine::new();
    let mut seen = Vec::new();
    for text in [
        "pip = 'yes'",
        "pids = 0",
        "timeout = '5 parsecs'",
        "timeout = 0",
        "pass = 'CI'",
        "pass = ['CI', 5]",
        "env = ['A']",
        "env.A = 5",
        "installer = 'conda'",
        "user_home = 'hosts'",
        "python = ''",
        "python = 3.12",
    ] {
        machine.write("project/ptest.toml", text);
        seen.push(machine.error().0.replace("ROOT/project/ptest.toml:", ""));
    }
    assert_eq!(
        seen,
        [
            "1:7: `pip` must be true or false, not a string",
            "1:8: `pids` must be a whole number from 1 to 4294967295, not 0",
            "1:11: `timeout` must be a duration longer than zero such as \"90s\" or \"1h\", \
             not `5 parsecs` (a unit is missing)",
            "1:11: `timeout` must be a duration longer than zero such as \"90s\" or \"1h\", \
             not `0` (it is zero; leave it out for no limit)",
            "1:8: `pass` must be a list of names of variables, not a string",
            "1:8: `pass` must be a list of names of variables, not an array with an integer in it",
            "1:7: `env` must be a table of variables with their values, not an array",
            "1:1: `env` must be a table of variables with their values, not a table where `A` is an integer",
            "1:13: `installer` must be auto, uv or pip, not `conda`",
            "1:13: `user_home` must be private, host or a path, not `hosts` (a path has a slash in it)",
            "1:10: `python` must be text, not empty",
            "1:10: `python` must be text, not a float",
        ]
    );
}

#[test]
fn broken_toml_is_an_error_with_its_place() {
    let machine = Machine::new();
    machine.write("home/.config/ptest/config.toml", "pids = 4\ngrace = \n");
    let (message, hint) = machine.error();
    assert!(
        message.starts_with("ROOT/home/.config/ptest/config.toml:2:"),
        "{message}"
    );
    assert_eq!(hint, None);
}

#[test]
fn a_project_that_is_not_trusted_gives_its_code_nothing() {
    let mut machine = Machine::new();
    let lax = "profile = 'none'\nwrite = ['/home']\npids = 9\ntimeout = '1m'\n";
    machine.write("project/ptest.toml", lax);
    let user = "write = ['/mine']\n";
    machine.write("home/.config/ptest/config.toml", user);
    assert_eq!(*machine.load().write, [PathBuf::from("/home")]);

    let distrusts = |machine: &Machine| {
        let (config, warnings) = Config::load(&machine.sources).unwrap();
        assert_eq!(*config.write, [PathBuf::from("/mine")]);
        assert_eq!(*config.pids, None);
        assert_eq!(config.timeout.map(|it| it.duration().as_secs()), Some(60));
        let said = |warning: &String| warning.contains("ptest.toml:2 does not count");
        assert!(warnings.iter().any(said), "{warnings:?}");
        *config.profile
    };
    // Whoever asks for it, unless it is the project.
    machine.sources.profile = Some(Profile::Strict);
    assert_eq!(distrusts(&machine), None);
    machine.sources.profile = None;
    let strict = format!("profile = 'strict'\n{user}");
    machine.write("home/.config/ptest/config.toml", &strict);
    assert_eq!(distrusts(&machine), Some(Profile::Strict));
    machine.write("home/.config/ptest/config.toml", user);
    machine.variable("PTEST_PROFILE", "strict");
    assert_eq!(distrusts(&machine), Some(Profile::Strict));
    machine.variable("PTEST_PROFILE", "standard");
    assert_eq!(*machine.load().write, [PathBuf::from("/home")]);
}

#[test]
fn the_nearest_project_file_counts_and_a_pyproject_without_the_table_is_none() {
    let machine = Machine::new();
    machine.write("project/ptest.toml", "pids = 1");
    machine.write(
        "project/deep/pyproject.toml",
        "[project]\nname = 'ptest-like'",
    );
    assert_eq!(*machine.load().pids, NonZeroU32::new(1));
    machine.write("project/deep/down/pyproject.toml", "[tool.ptest]\npids = 2");
    assert_eq!(*machine.load().pids, NonZeroU32::new(2));
}

#[test]
fn of_two_files_in_one_directory_one_counts_and_a_warning_says_which() {
    let machine = Machine::new();
    machine.write("project/ptest.toml", "pids = 1");
    machine.write("project/pyproject.toml", "[tool.ptest]\npids = 2");
    let (config, warnings) = Config::load(&machine.sources).unwrap();
    assert_eq!(*config.pids, NonZeroU32::new(1));
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("pyproject.toml is left out"),
        "{warnings:?}"
    );
}

#[test]
fn a_strangers_file_does_not_configure_the_project() {
    if !require_root("a_strangers_file_does_not_configure_the_project") {
        return;
    }
    let mut machine = Machine::new();
    machine.write("project/ptest.toml", "pids = 1");
    chown(machine.path("project/ptest.toml"), Some(12_345), None).unwrap();
    let (config, warnings) = Config::load(&machine.sources).unwrap();
    assert_eq!(*config.pids, None);
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].ends_with("ptest.toml is left out, because it belongs to user 12345"),
        "{warnings:?}"
    );
    // A checkout that belongs to that user as a whole is no plant.
    chown(machine.path("project/deep/down"), Some(12_345), None).unwrap();
    assert_eq!(*machine.load().pids, NonZeroU32::new(1));
    // Root's files count for everybody.
    chown(machine.path("project/ptest.toml"), Some(0), None).unwrap();
    machine.sources.user = 23_456;
    assert_eq!(*machine.load().pids, NonZeroU32::new(1));
}

/// Whether a test that needs root can run; fails if that is demanded.
fn require_root(test: &str) -> bool {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    let demanded = std::env::var("PTEST_TEST_REQUIRE")
        .is_ok_and(|list| list.split(',').any(|name| name == "root"));
    assert!(
        is_root || !demanded,
        "{test} needs root, and PTEST_TEST_REQUIRE demands it"
    );
    if !is_root {
        eprintln!("SKIP {test}: it gives files to another user, which takes root");
    }
    is_root
}

#[test]
fn relative_paths_start_from_the_file_or_from_the_working_directory() {
    let mut machine = Machine::new();
    machine.write(
        "project/ptest.toml",
        "write = ['build', './out', '~/w', '/abs']",
    );
    machine.variable("PTEST_READ", "data:/abs::");
    machine.variable("PTEST_USER_HOME", "./home");
    let config = machine.load();
    assert_eq!(
        *config.write,
        [
            machine.path("project/build"),
            machine.path("project/out"),
            machine.path("home/w"),
            "/abs".into()
        ]
    );
    assert_eq!(
        *config.read,
        [machine.path("project/deep/down/data"), "/abs".into()]
    );
    assert_eq!(
        *config.user_home,
        UserHome::Path(machine.path("project/deep/down/home"))
    );
}

#[test]
fn a_deleted_working_directory_only_matters_to_relative_paths() {
    let mut machine = Machine::new();
    machine.sources.working_directory = None;
    machine.variable("PTEST_WRITE", "/abs");
    assert_eq!(*machine.load().write, [PathBuf::from("/abs")]);
    machine.variable("PTEST_WRITE", "rel");
    assert_eq!(
        machine.error().0,
        "variable PTEST_WRITE: `write` must be a list of paths, \
         not the relative path `rel` while the working directory is gone"
    );
}

#[test]
fn variables_are_read_by_type_and_an_empty_one_counts_as_not_set() {
    let mut machine = Machine::new();
    machine.variable("PTEST_PASS", "CI, LANG,");
    machine.variable("PTEST_ENV", "A=1,2\nB=x=y\n");
    machine.variable("PTEST_PIP", "off");
    machine.variable("PTEST_GRACE", "");
    let config = machine.load();
    assert_eq!(*config.pass, ["CI", "LANG"]);
    assert_eq!(config.env["A"], "1,2");
    assert_eq!(config.env["B"], "x=y");
    assert!(!*config.pip);
    assert_eq!(config.grace.origin().source, Source::BuiltIn);
}

#[test]
fn a_variable_that_is_nearly_a_setting_is_warned_of_and_others_are_not() {
    let mut machine = Machine::new();
    machine.variable("PTEST_TIMEOUTS", "5s");
    machine.variable("PTEST_UV", "/usr/bin/uv");
    machine.variable("PTEST_TEST_REQUIRE", "userns");
    let (_, warnings) = Config::load(&machine.sources).unwrap();
    assert_eq!(
        warnings,
        ["the variable PTEST_TIMEOUTS is no setting; did you mean PTEST_TIMEOUT?"]
    );
}

#[test]
fn the_store_is_where_the_user_keeps_data_and_for_root_where_the_machine_does() {
    let mut machine = Machine::new();
    machine.sources.user = 1000;
    assert_eq!(
        *machine.load().home,
        Some(machine.path("home/.local/share/ptest"))
    );
    machine.variable("XDG_DATA_HOME", "/data");
    assert_eq!(*machine.load().home, Some("/data/ptest".into()));
    machine.variable("XDG_DATA_HOME", "not/absolute");
    assert_eq!(
        *machine.load().home,
        Some(machine.path("home/.local/share/ptest"))
    );
    machine.sources.user = 0;
    assert_eq!(*machine.load().home, Some("/var/lib/ptest".into()));
    machine.variable("PTEST_HOME", "/elsewhere");
    assert_eq!(*machine.load().home, Some("/elsewhere".into()));
}

#[test]
fn rows_tell_values_as_toml_and_as_json() {
    let machine = Machine::new();
    machine.write(
        "project/ptest.toml",
        "timeout = 90\nwrite = ['/a']\n[env]\nA = 'b c'",
    );
    let config = machine.load();
    let row = |key| config.row(key).unwrap();
    assert_eq!(row("timeout").toml().as_deref(), Some("\"1m30s\""));
    assert_eq!(row("timeout").text().as_deref(), Some("1m30s"));
    assert_eq!(row("write").toml().as_deref(), Some("[\"/a\"]"));
    assert_eq!(row("env").json(), serde_json::json!({"A": "b c"}));
    assert_eq!(row("pip").json(), serde_json::json!(true));
    assert_eq!(row("pids").toml(), None);
    assert_eq!(row("pids").json(), serde_json::Value::Null);
    assert!(config.row("nothing").is_none());
}
