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
    let output = Command::new("python3")
        .args(["-I", "-c", SCRIPT])
        .args([directory.to_str().unwrap(), version, requires])
        .args(names)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines().map(PathBuf::from).collect()
}
