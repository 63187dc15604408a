//! Wheels made on the spot, so that nothing needs a network: each is a module that says its version, and a command.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

const SCRIPT: &str = r#"
import base64, hashlib, sys, zipfile
directory, version, requires, *names = sys.argv[1:]
for name in names:
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"version = {version!r}\ndef main():\n    print({name!r}, version)\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            + "".join(f"Requires-Dist: {line}\n" for line in requires.split(",") if line),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n",
    }
    record = ""
    path = f"{directory}/{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{file},sha256={digest},{len(text.encode())}\n"
            wheel.writestr(file, text)
        wheel.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
    print(path)
"#;

/// Makes a wheel in a directory, which must be there, and gives its path. `requires` holds requirements with commas
/// between.
pub(crate) fn make(directory: &Path, name: &str, version: &str, requires: &str) -> PathBuf {
    make_all(directory, &[name.to_owned()], version, requires).remove(0)
}

/// The same for many names.
pub(crate) fn make_all(
    directory: &Path,
    names: &[String],
    version: &str,
    requires: &str,
) -> Vec<PathBuf> {
    let mut words = vec![directory.to_str().unwrap(), version, requires];
    words.extend(names.iter().map(String::as_str));
    said_by(SCRIPT, &words).lines().map(PathBuf::from).collect()
}

/// What `PIP_FIND_LINKS` calls a directory. pip takes a space for the end of a place.
pub(crate) fn place(directory: &Path) -> String {
    let path = directory.to_str().unwrap().bytes();
    let place: String = path
        .map(|byte| match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("file://{place}")
}

const SOURCE: &str = r#"
import io, sys, tarfile
directory, name, build = sys.argv[1:]
backend = f"""
import os
def prepare_metadata_for_build_wheel(directory, settings=None):
    os.mkdir(os.path.join(directory, "{name}-1.0.dist-info"))
    with open(os.path.join(directory, "{name}-1.0.dist-info", "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\\nName: {name}\\nVersion: 1.0\\n")
    return "{name}-1.0.dist-info"
def build_wheel(directory, settings=None, metadata=None):
    exec({build!r})
"""
files = {
    "pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
        + f"[project]\nname = '{name}'\nversion = '1.0'\n",
    "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
    "backend.py": backend,
}
with tarfile.open(f"{directory}/{name}-1.0.tar.gz", "w:gz") as archive:
    for path, text in files.items():
        facts = tarfile.TarInfo(f"{name}-1.0/{path}")
        facts.size = len(text.encode())
        archive.addfile(facts, io.BytesIO(text.encode()))
"#;

/// Makes version 1.0 of a distribution that there is only from source. Whoever builds it runs this Python.
pub(crate) fn make_source(directory: &Path, name: &str, build: &str) {
    said_by(SOURCE, &[directory.to_str().unwrap(), name, build]);
}

const LARGE: &str = r#"
import base64, hashlib, sys, zipfile
directory, name = sys.argv[1:]
info = f"{name}-1.0.dist-info"
files = {
    f"{name}.bin": bytes(1 << 28),
    f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
    f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
}
record = ""
with zipfile.ZipFile(f"{directory}/{name}-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as wheel:
    for file, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        record += f"{file},sha256={digest},{len(content)}\n"
        wheel.writestr(file, content)
    wheel.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
"#;

/// Makes a wheel of version 1.0 with a file of 256 MiB, `NAME.bin`, which takes a while to unpack.
pub(crate) fn make_large(directory: &Path, name: &str) {
    said_by(LARGE, &[directory.to_str().unwrap(), name]);
}

/// Runs this Python, and gives what it says.
fn said_by(script: &str, arguments: &[&str]) -> String {
    let output = Command::new("python3")
        .args(["-I", "-c", script])
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}
