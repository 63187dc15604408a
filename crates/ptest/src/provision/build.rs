//! A new recipe: pins from an installer, a layer for each distribution, a stack.
//!
//! Everything that is on its way lies in one staging directory of the store, so
//! that what a dead process left is found and deleted with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use ptest_store::{CommitOptions, LayerId, Modes, Mtimes, Staging, Stack, Store};
use rayon::prelude::*;

use super::ask::Asked;
use super::{Provision, Provisioned, pip_tool, python};
use crate::config::InstallerChoice;
use crate::environment::Record;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::{Progress, Step};
use crate::python::installer::{Context, Installer, InstallerError, Pinned, Resolution, ResolveRequest};
use crate::python::interpreter::Interpreter;
use crate::python::{HostEnv, skeleton, wheel};
use crate::recipe::{self, Pin, Recipe};
use crate::spec::Requirements;
use crate::timestamp::Timestamp;

/// Every file of a layer is dated from here on, by its content: 2020-01-01.
const MTIME_BASE: i64 = 1_577_836_800;

/// The longest that one run of an installer may take: a build of a large project.
const DEADLINE: Duration = Duration::from_secs(3600);

/// Everything that a new recipe is made from.
pub(super) struct Build<'a> {
    pub(super) store: &'a Store,
    pub(super) host: &'a HostEnv,
    pub(super) options: &'a Provision,
    pub(super) interpreter: &'a Interpreter,
    pub(super) asked: &'a Asked,
    pub(super) kept: &'a BTreeMap<String, String>,
    pub(super) progress: &'a dyn Progress,
}
