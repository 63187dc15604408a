//! Reports of `ptest config`.

use std::path::Path;

use ptest::config::{Files, Key, Row};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Report;

/// What `config list` and `config get` write.
#[derive(Debug, Serialize)]
pub struct ConfigReport {
    /// Every setting.
    pub settings: Vec<SettingDto>,
}

#[derive(Debug, Serialize)]
pub struct SettingDto {
    key: &'static str,
    /// Text, number, truth value, list or table; null if not set.
    value: Value,
    /// `built-in`, `system`, `user`, `project`, `variable` or `option`.
    source: &'static str,
    file: Option<String>,
    line: Option<usize>,
    /// The variable that sets it.
    variable: String,
}

impl From<Row> for SettingDto {
    fn from(row: Row) -> Self {
        Self {
            key: row.key,
            value: row.json(),
            source: row.origin.source.word(),
            file: row.origin.file.as_deref().map(path),
            line: row.origin.line,
            variable: Key::find(row.key).map(Key::variable).unwrap_or_default(),
        }
    }
}

impl Report for ConfigReport {
    const NAME: &'static str = "ptest.config";

    fn samples() -> Vec<Self> {
        let setting = |value, file: Option<&str>, line| SettingDto {
            key: "pids",
            value,
            source: "project",
            file: file.map(str::to_owned),
            line,
            variable: "PTEST_PIDS".to_owned(),
        };
        vec![Self {
            settings: vec![
                setting(json!(40), Some("/project/ptest.toml"), Some(3)),
                setting(json!("text"), None, None),
                setting(json!(true), None, None),
                setting(Value::Null, None, None),
                setting(json!(["a"]), None, None),
                setting(json!({}), None, None),
            ],
        }]
    }
}

/// What `config path` writes.
#[derive(Debug, Serialize)]
pub struct ConfigPathsReport {
    files: Vec<FileDto>,
}

#[derive(Debug, Serialize)]
struct FileDto {
    /// `system`, `user` or `project`.
    source: &'static str,
    path: Option<String>,
    exists: bool,
}

impl From<Files> for ConfigPathsReport {
    fn from(files: Files) -> Self {
        let file = |source, file: Option<&Path>| FileDto {
            source,
            exists: file.is_some_and(Path::exists),
            path: file.map(path),
        };
        Self {
            files: vec![
                file("system", Some(&files.system)),
                file("user", files.user.as_deref()),
                file("project", files.project.as_deref()),
            ],
        }
    }
}

impl Report for ConfigPathsReport {
    const NAME: &'static str = "ptest.config_paths";

    fn samples() -> Vec<Self> {
        vec![
            Files {
                system: "/etc/ptest/config.toml".into(),
                user: None,
                project: None,
            }
            .into(),
        ]
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
