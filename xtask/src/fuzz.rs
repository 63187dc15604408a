//! `cargo xtask fuzz`: feeds what reads bytes of anybody with bytes that nobody thought of.
//!
//! Targets are the binaries of `crates/*/fuzz`, workspaces of their own because every crate in them is instrumented. The
//! stable compiler does that, so neither a nightly one nor cargo-fuzz is needed; cargo-fuzz runs the same targets. What a
//! target has learnt is kept under `target/fuzz`; it starts from that and from the checked-in seeds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Result};
use crate::workspace::Workspace;

/// Counts what is reached and shows the fuzzer comparisons, as cargo-fuzz asks it of the compiler.
const INSTRUMENTED: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                            -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
                            -Cllvm-args=-sanitizer-coverage-pc-table \
                            -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions \
                            -Ccodegen-units=1";

/// Feed what reads bytes of anybody with bytes that nobody thought of
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// The targets; all without one
    targets: Vec<String>,
}

impl Arguments {
    /// Every target for so long.
    pub(crate) fn all(seconds: u32) -> Self {
        Self {
            seconds,
            targets: Vec::new(),
        }
    }
}

/// Runs targets one after the other.
///
/// # Errors
///
/// When one cannot be built or named, and when one has found something: the message says where the bytes are.
pub(crate) fn run(workspace: &Workspace, arguments: &Arguments) -> Result<()> {
    let all = targets(workspace)?;
    for name in &arguments.targets {
        if !all.iter().any(|target| target.name == *name) {
            let known: Vec<&str> = all.iter().map(|target| target.name.as_str()).collect();
            return Err(format!("no fuzz target `{name}`; there are {}", known.join(", ")).into());
        }
    }
    for target in &all {
        if arguments.targets.is_empty() || arguments.targets.contains(&target.name) {
            target.run(workspace, arguments.seconds)?;
        }
    }
    Ok(())
}

struct Target {
    name: String,
    /// The workspace that it is in.
    directory: PathBuf,
}

impl Target {
    fn run(&self, workspace: &Workspace, seconds: u32) -> Result<()> {
        let triple = host(workspace)?;
        let built = workspace.target.join("fuzz");
        // With a triple, or build scripts and macros would be instrumented too.
        let mut build = workspace.cargo();
        build
            .args(["build", "--release", "--locked", "--manifest-path"])
            .arg(self.directory.join("Cargo.toml"))
            .args(["--bin", &self.name, "--target", &triple, "--target-dir"])
            .arg(&built)
            .env("RUSTFLAGS", INSTRUMENTED);
        process::run(&mut build)?;

        let learnt = built.join("corpus").join(&self.name);
        let found = built.join("found").join(&self.name);
        fs::create_dir_all(&learnt)?;
        fs::create_dir_all(&found)?;
        let mut fuzz = Command::new(built.join(&triple).join("release").join(&self.name));
        fuzz.arg(&learnt)
            .arg(self.directory.join("seeds").join(&self.name))
            .arg(format!("-artifact_prefix={}/", found.display()))
            .arg(format!("-max_total_time={seconds}"))
            .args(["-print_final_stats=1", "-verbosity=0", "-timeout=25"]);
        process::run(&mut fuzz).map_err(|error| {
            let place = found.display();
            format!(
                "{error}\nwhat it found is in {place}: mend it, and keep the bytes in its seeds"
            )
            .into()
        })
    }
}

/// Every target of every crate.
fn targets(workspace: &Workspace) -> Result<Vec<Target>> {
    let mut found = Vec::new();
    for package in &workspace.packages {
        let directory = package.manifest_path.with_file_name("fuzz");
        let Ok(entries) = fs::read_dir(directory.join("seeds")) else {
            continue;
        };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            found.push(Target {
                name,
                directory: directory.clone(),
            });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// The triple of this machine.
fn host(workspace: &Workspace) -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let words = process::output(
        Command::new(Path::new(&rustc))
            .arg("-vV")
            .current_dir(&workspace.root),
    )?;
    let host = words.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host
        .ok_or("rustc does not say which machine it is for")?
        .to_owned())
}
