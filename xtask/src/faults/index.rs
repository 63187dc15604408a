//! Wheels made on the spot, so that the load needs no network.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::process::{self, Result};

/// What there is to install.
pub(crate) const NAMES: [&str; 3] = ["alpha", "beta", "gamma"];

const SCRIPT: &str = r#"
import base64, hashlib, sys, zipfile
directory, *names = sys.argv[1:]
for name in names:
    info = f"{name}-1.0.dist-info"
    files = {
        f"{name}/__init__.py": f"name = {name!r}\n",
        f"{name}/data": name * 50000,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: faults\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    for number in range(200):
        files[f"{name}/module_{number}.py"] = f"number = {number}\n"
    record = ""
    with zipfile.ZipFile(f"{directory}/{name}-1.0-py3-none-any.whl", "w") as wheel:
        for file, text in files.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            record += f"{file},sha256={digest},{len(text.encode())}\n"
            wheel.writestr(file, text)
        wheel.writestr(f"{info}/RECORD", record + f"{info}/RECORD,,\n")
"#;

/// Makes a wheel of each name in a new directory.
pub(crate) fn make(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory)?;
    process::run(
        Command::new("python3")
            .args(["-I", "-c", SCRIPT])
            .arg(directory)
            .args(NAMES),
    )
}
