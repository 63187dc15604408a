//! Builds `ptest-init`, the static program that the library carries inside itself, and fingerprints what it carries.
//!
//! A program that another package runs cannot be an ordinary dependency
//! (artifact dependencies are not stable), so cargo is called once more, with a
//! target directory of its own. Not for choosing features: there are none.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const MUSL: &str = "x86_64-unknown-linux-musl";
/// The wheel in `assets/` that the library carries too.
const CARRIED_PIP: &str = "pip-26.3-py3-none-any.whl";

fn main() -> Result<(), Box<dyn Error>> {
    let manifest_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let sandbox = manifest_dir.join("../ptest-sandbox");
    for input in ["src", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", sandbox.join(input).display());
    }
    let target = static_target()?;
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    // Next to where this is built, so that the library with other features has not all of it compiled again.
    let target_dir = out_dir.ancestors().nth(3).unwrap_or(&out_dir).join("init");
    let mut cargo = Command::new(env::var("CARGO")?);
    cargo
        .args([
            "build",
            "--quiet",
            "--profile",
            "init",
            "--bin",
            "ptest-init",
        ])
        .args(["--target", &target, "--target-dir"])
        .arg(&target_dir)
        .arg("--manifest-path")
        .arg(sandbox.join("Cargo.toml"))
        .env(
            "RUSTFLAGS",
            "-C target-feature=+crt-static -C relocation-model=static",
        );
    // What the outer cargo set for this script would change the inner build.
    for (name, _) in env::vars() {
        if name.starts_with("CARGO_CFG_")
            || name.starts_with("CARGO_FEATURE_")
            || name.starts_with("CARGO_PKG_")
        {
            cargo.env_remove(name);
        }
    }
    for name in [
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_MAKEFLAGS",
        "MAKEFLAGS",
        "RUSTC_WORKSPACE_WRAPPER",
        "CLIPPY_ARGS",
        "TARGET",
        "PROFILE",
    ] {
        cargo.env_remove(name);
    }
    if env::var("HOST")? == env::var("TARGET")? {
        // One for an older glibc links no program without one.
        let name = target.replace('-', "_").to_uppercase();
        cargo.env_remove(format!("CARGO_TARGET_{name}_LINKER"));
    }
    let status = cargo.status()?;
    if !status.success() {
        return Err(format!("building ptest-init for {target} failed: {status}").into());
    }
    // A file of its own, since the next build there may write another.
    let built = out_dir.join("ptest-init");
    fs::copy(target_dir.join(&target).join("init/ptest-init"), &built)?;
    println!("cargo::rustc-env=PTEST_INIT_PROGRAM={}", built.display());
    println!("cargo::rustc-env=PTEST_INIT_HASH={}", fingerprint(&built)?);
    let pip = manifest_dir.join("assets").join(CARRIED_PIP);
    println!("cargo::rerun-if-changed={}", pip.display());
    println!("cargo::rustc-env=PTEST_PIP_HASH={}", fingerprint(&pip)?);
    println!(
        "cargo::rustc-env=PTEST_PIP_LENGTH={}",
        fs::metadata(&pip)?.len()
    );
    Ok(())
}

/// Names a carried file by its content, so that a program need not read megabytes to know it.
fn fingerprint(path: &Path) -> Result<String, Box<dyn Error>> {
    Ok(blake3::hash(&fs::read(path)?).to_hex()[..16].to_owned())
}

/// The musl target where its standard library is installed, else glibc linked
/// statically, which needs the `libc.a` that Debian's libc6-dev brings.
fn static_target() -> Result<String, Box<dyn Error>> {
    let host = env::var("TARGET")?;
    if !host.starts_with("x86_64-") {
        return Ok(host);
    }
    let output = Command::new(env::var("RUSTC")?)
        .args(["--print", "target-libdir", "--target", MUSL])
        .output()?;
    let directory = String::from_utf8(output.stdout)?;
    let installed = Path::new(directory.trim()).is_dir();
    Ok(if installed { MUSL.to_owned() } else { host })
}
