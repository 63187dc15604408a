//! The tests of limits in every place of the control groups of version 2 in which ptest may be started, in a machine that
//! has such groups and systemd. The places are in the script.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::process::{self, Result};
use crate::vm::{Machine, Outcome};
use crate::workspace::Workspace;

/// How long all of them may take, where the machine is emulated.
const DEADLINE: Duration = Duration::from_mins(8);

/// Runs them all.
///
/// # Errors
///
/// When the tests do not build or the machine does not get through them.
pub(crate) fn run(workspace: &Workspace, machine: &Machine) -> Result<Outcome> {
    let json = process::output(workspace.cargo().args([
        "test",
        "--quiet",
        "--package=ptest-sandbox",
        "--test=it",
        "--no-run",
        "--message-format=json",
    ]))?;
    let (suite, init) = (program(&json, "it")?, program(&json, "ptest-init")?);
    let script = format!(
        "SUITE={}\nINIT={}\n{}",
        suite.display(),
        init.display(),
        include_str!("places.sh")
    );
    machine.run(workspace, &script, DEADLINE)
}

/// A program among those that cargo says it has built.
fn program(json: &str, name: &str) -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Artifact {
        target: Target,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    // Other messages have other forms.
    json.lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        .filter(|artifact| artifact.target.name == name)
        .find_map(|artifact| artifact.executable)
        .ok_or_else(|| format!("cargo built no {name}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_among_cargos_messages() {
        let json = r#"{"reason":"compiler-message","target":{"name":"it"}}
{"reason":"compiler-artifact","target":{"name":"it"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"it"},"executable":"/target/it-1"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(program(json, "it").unwrap(), PathBuf::from("/target/it-1"));
        assert!(program(json, "ptest-init").is_err());
    }
}
