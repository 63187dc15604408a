//! The schema of configuration files says what the reader of configuration files says.

use std::fs;
use std::path::Path;

use boon::{Compiler, SchemaIndex, Schemas};
use ptest::config::{Config, KEYS, Sources, file_schema, pyproject_schema};
use serde_json::Value;

/// One compiled schema.
struct Schema {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Schema {
    fn new(schema: Value) -> Self {
        let name = "file:///schema.json";
        let mut schemas = Schemas::new();
        let mut compiler = Compiler::new();
        compiler.add_resource(name, schema).unwrap();
        let index = compiler.compile(name, &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn refusal(&self, file: &str) -> Option<String> {
        let instance: Value = toml::from_str(file).unwrap();
        let verdict = self.schemas.validate(&instance, self.index);
        verdict.err().map(|error| error.to_string())
    }
}

/// What ptest says of a file of that name in a project.
fn read(directory: &Path, name: &str, contents: &str) -> Result<Config, String> {
    let path = directory.join(name);
    fs::write(&path, contents).unwrap();
    let sources = Sources {
        working_directory: Some(directory.to_owned()),
        user: rustix::process::geteuid().as_raw(),
        variables: [("HOME".into(), "/home/somebody".into())].into(),
        ..Sources::default()
    };
    let read = Config::load(&sources).map_err(|error| error.to_string());
    fs::remove_file(path).unwrap();
    read.map(|(config, _)| config)
}

/// For each type of setting, values that are good and values that are not.
const GOOD: &[&str] = &[
    "",
    "home = '/store'",
    "python = '>=3.10'",
    "profile = 'strict'\nnetwork = 'private'\nallow = ['example.org:443', '10.0.0.0/8']",
    "user_home = 'host'",
    "user_home = '~'",
    "user_home = './here'",
    "timeout = 5",
    "timeout = '1h30m'",
    "timeout = '1.5h'",
    "timeout = '90'",
    "grace = 0",
    "grace = '0s'",
    "grace = ' 1500ms '",
    "memory = '512M'\ndisk = '1.5 GiB'\nfile_size = 1024",
    "memory = '100mb'",
    "memory = '64k'",
    "memory = '10Ki'",
    "cpus = 1.5",
    "cpus = 2",
    "pids = 1",
    "env = { A = 'b', 'with space' = '' }",
    "[env]\nA = 'b'",
    "pass = ['CI']",
    "pass = []",
    "write = ['.', '~/x']",
    "scratch = true",
    "log = 'off'",
    "color = 'always'",
    "port_range = '20000-29999'",
    "keep_events = 4294967295",
];

const BAD: &[&str] = &[
    "unknown = 1",
    "Timeout = '5s'",
    "python = 3.12",
    "python = ''",
    "profile = 'weak'",
    "network = true",
    "allow = 'example.org'",
    "user_home = 'hst'",
    "timeout = 0",
    "timeout = '0s'",
    "timeout = '0h0m'",
    "timeout = 'soon'",
    "timeout = '5 s'",
    "timeout = '5x'",
    "grace = -1",
    "grace = '-1s'",
    "grace = ''",
    "memory = 0",
    "memory = '0M'",
    "memory = '512X'",
    "memory = 'M'",
    "memory = 1.5",
    "cpus = 0",
    "cpus = '2'",
    "pids = 0",
    "pids = 4294967296",
    "pids = 1.5",
    "env = { A = 1 }",
    "env = ['A=b']",
    "pass = ['A=b']",
    "pass = ['']",
    "write = ''",
    "write = ['']",
    "write = [1]",
    "scratch = 'yes'",
    "log = 'loud'",
    "port_range = 'some'",
];

#[test]
fn the_schema_and_the_reader_say_the_same_of_good_and_of_bad_files() {
    let schema = Schema::new(file_schema());
    let directory = tempfile::tempdir().unwrap();
    for file in GOOD {
        assert_eq!(schema.refusal(file), None, "{file}");
        let read = read(directory.path(), "ptest.toml", file);
        assert!(read.is_ok(), "{file}: {read:?}");
    }
    for file in BAD {
        assert!(schema.refusal(file).is_some(), "{file}");
        let read = read(directory.path(), "ptest.toml", file);
        assert!(read.is_err(), "{file}");
    }
}

#[test]
fn the_table_in_a_pyproject_is_the_same_and_the_rest_of_it_is_not_looked_at() {
    let schema = Schema::new(pyproject_schema());
    let directory = tempfile::tempdir().unwrap();
    let of = |settings: &str| {
        format!("[project]\nname = 'x'\n[tool.other]\nanything = 1\n[tool.ptest]\n{settings}")
    };
    let good = of("timeout = '5s'");
    assert_eq!(schema.refusal(&good), None);
    let config = read(directory.path(), "pyproject.toml", &good).unwrap();
    assert!(config.timeout.is_some());
    let bad = of("timeot = '5s'");
    assert!(schema.refusal(&bad).is_some());
    read(directory.path(), "pyproject.toml", &bad).unwrap_err();
    assert_eq!(schema.refusal("[project]\nname = 'x'"), None);
}

#[test]
fn every_setting_is_in_the_schema_with_what_it_is_for_and_a_default_that_it_takes() {
    let schema = Schema::new(file_schema());
    let whole = file_schema();
    let properties = whole["properties"].as_object().unwrap();
    assert_eq!(properties.len(), KEYS.len());
    let defaults = Config::default();
    for key in KEYS {
        let property = &properties[key.name];
        assert!(property["description"].is_string(), "{}", key.name);
        if let Some(value) = defaults.row(key.name).and_then(|row| row.toml()) {
            assert!(!property["default"].is_null(), "{}", key.name);
            let file = format!("{} = {value}", key.name);
            assert_eq!(schema.refusal(&file), None, "{file}");
        }
    }
}
