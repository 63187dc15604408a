//! The tests of limits in every place of the control groups of version 2 in which ptest may be started, in a machine that
//! has such groups, systemd, and a disk with project quotas. The places are in the script.

use std::path::{Path, PathBuf};
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
    // As when all tests are built, so that they are not built again.
    let json = process::output(workspace.cargo().args([
        "test",
        "--quiet",
        "--workspace",
        "--test=it",
        "--no-run",
        "--message-format=json",
    ]))?;
    let script = format!(
        "SUITE={}\nINIT={}\nLIBRARY={}\n{}",
        program(&json, "ptest-sandbox", "it")?.display(),
        program(&json, "ptest-sandbox", "ptest-init")?.display(),
        program(&json, "ptest", "it")?.display(),
        include_str!("places.sh")
    );
    machine.run(workspace, &script, DEADLINE)
}

/// A program among those that cargo says it has built, of the package in a directory of this name.
fn program(json: &str, package: &str, name: &str) -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Artifact {
        manifest_path: PathBuf,
        target: Target,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        name: String,
    }
    let manifest = Path::new(package).join("Cargo.toml");
    // Other messages have other forms.
    json.lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        .filter(|artifact| artifact.target.name == name)
        .filter(|artifact| artifact.manifest_path.ends_with(&manifest))
        .find_map(|artifact| artifact.executable)
        .ok_or_else(|| format!("cargo built no {name} of {package}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_among_cargos_messages() {
        let json = r#"{"reason":"compiler-message","target":{"name":"it"}}
{"reason":"compiler-artifact","manifest_path":"/one/Cargo.toml","target":{"name":"it"},"executable":null}
{"reason":"compiler-artifact","manifest_path":"/other/Cargo.toml","target":{"name":"it"},"executable":"/target/it-0"}
{"reason":"compiler-artifact","manifest_path":"/one/Cargo.toml","target":{"name":"it"},"executable":"/target/it-1"}
{"reason":"build-finished","success":true}"#;
        let built = |package, name| program(json, package, name);
        assert_eq!(built("one", "it").unwrap(), PathBuf::from("/target/it-1"));
        assert!(built("one", "ptest-init").is_err());
        assert!(built("ne", "it").is_err());
    }
}
