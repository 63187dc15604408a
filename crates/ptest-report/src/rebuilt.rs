//! What `recover --rebuild` writes.

use std::path::{Path, PathBuf};

use ptest::{Rebuilt, Salvaged, environment::EnvironmentId};
use serde::Serialize;

use crate::Report;

/// What became of a damaged database.
#[derive(Debug, Serialize)]
pub struct RebuiltReport {
    /// What was wrong with it.
    damage: String,
    /// Where it is now; null if there was none.
    aside: Option<String>,
    /// What was read of each table.
    tables: Vec<TableDto>,
    /// How many layers were found again on the disk.
    layers: usize,
    /// Environments of which nothing is known any more.
    lost: Vec<LostDto>,
}

#[derive(Debug, Serialize)]
struct TableDto {
    name: String,
    rows: u32,
    /// Whether that is every row that it had, as far as that can be known.
    whole: bool,
}

#[derive(Debug, Serialize)]
struct LostDto {
    /// Its id.
    environment: String,
    /// Where what was written in it is now.
    path: String,
}

impl From<&Rebuilt> for RebuiltReport {
    fn from(rebuilt: &Rebuilt) -> Self {
        Self {
            damage: rebuilt.damage.clone(),
            aside: rebuilt.aside.as_deref().map(text),
            tables: rebuilt.tables.iter().map(Into::into).collect(),
            layers: rebuilt.layers,
            lost: rebuilt.lost.iter().map(Into::into).collect(),
        }
    }
}

impl From<&Salvaged> for TableDto {
    fn from(table: &Salvaged) -> Self {
        Self {
            name: table.table.clone(),
            rows: table.rows,
            whole: table.is_whole,
        }
    }
}

impl From<&(EnvironmentId, PathBuf)> for LostDto {
    fn from((id, path): &(EnvironmentId, PathBuf)) -> Self {
        Self {
            environment: id.to_string(),
            path: text(path),
        }
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

impl Report for RebuiltReport {
    const NAME: &'static str = "ptest.rebuilt";

    fn samples() -> Vec<Self> {
        let report = |aside: Option<&str>| Self {
            damage: "database disk image is malformed".to_owned(),
            aside: aside.map(str::to_owned),
            tables: vec![TableDto {
                name: "environments".to_owned(),
                rows: 17,
                whole: false,
            }],
            layers: 3,
            lost: vec![LostDto {
                environment: "e0".to_owned(),
                path: "/store/lost/e0".to_owned(),
            }],
        };
        vec![report(None), report(Some("/store/ptest.db-damaged-1"))]
    }
}
