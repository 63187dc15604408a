//! The bytecode of a layer, as a layer of its own.
//!
//! Compiled by the interpreter itself from the layer alone, in a sandbox, and never taken from what
//! a command wrote: compiling runs nothing of what it compiles. Python trusts bytecode whose source
//! has the time and the size that it names, and a file of a layer has a time that follows from its
//! content.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use ptest_store::{Kind, LayerId, Manifest, Stack};

use crate::engine::{Command, Engine, Instance, Stdio};
use crate::environment::{EnvironmentId, Owner};
use crate::error::{Error, Result};
use crate::project::{Guard, Project};
use crate::ptest::{PATIENCE, Ptest};
use crate::python::interpreter::Interpreter;
use crate::settings::{Profile, Settings};
use crate::variables::Variables;

/// Without `site`, which runs what the layer's own `.pth` files say. What cannot be compiled, such
/// as a template, is left out.
const SCRIPT: &str = "\
import compileall, os, py_compile, sys
place = os.path.join(os.environ['VIRTUAL_ENV'], sys.argv[1])
compileall.compile_dir(place, maxlevels=100, quiet=2, invalidation_mode=py_compile.PycInvalidationMode.TIMESTAMP)
";

/// The longest that compiling one distribution may take.
const DEADLINE: Duration = Duration::from_mins(30);

/// Compiles what is in a layer that lies on a skeleton; `None` when there is nothing to compile.
pub(super) fn compile(
    ptest: &Ptest,
    engine: &dyn Engine,
    interpreter: &Interpreter,
    skeleton: LayerId,
    layer: LayerId,
) -> Result<Option<LayerId>> {
    let manifest = ptest.store().manifest(&layer)?;
    if !has_python(&manifest, &interpreter.site_packages) {
        return Ok(None);
    }
    let id = EnvironmentId::from_random(crate::random::bytes()?);
    // Without a row: whoever finds the instance while this lock is free takes it away.
    let lock = ptest
        .locks()
        .acquire(id.as_str(), PATIENCE, "a new instance")?;
    let instance = Instance {
        id,
        stack: Stack::new([skeleton, layer]),
        cache: None,
        settings: Settings {
            profile: Some(Profile::Standard),
            ..Settings::new(Project {
                guarded: Some(Guard::FileSystemRoot),
                ..Project::at(Path::new("/"))
            })
        },
        interpreter: interpreter.roots(),
        owner: Owner::Process(ptest.identity().clone()),
        generation: 0,
        ends_at: None,
    };
    let compiled = run(ptest, engine, interpreter, &instance);
    // Why it failed is what the caller must know; what is left is taken away by the next one.
    let removed = ptest.block_on(engine.remove(&instance.id));
    drop(lock);
    let companion = compiled?;
    removed?;
    let Some(companion) = companion else {
        return Ok(None);
    };
    let manifest = ptest.store().manifest(&companion)?;
    Ok(is_bytecode(&manifest, &interpreter.site_packages).then_some(companion))
}

fn run(
    ptest: &Ptest,
    engine: &dyn Engine,
    interpreter: &Interpreter,
    instance: &Instance,
) -> Result<Option<LayerId>> {
    ptest.block_on(engine.create(instance))?;
    ptest.block_on(engine.activate(instance))?;
    let null = || -> Result<OwnedFd> {
        let opened = File::options().read(true).write(true).open("/dev/null");
        let file = opened.map_err(|source| Error::io("open /dev/null", source))?;
        Ok(file.into())
    };
    let words = ["python", "-I", "-S", "-B", "-c", SCRIPT];
    let mut arguments: Vec<OsString> = words.map(OsString::from).to_vec();
    arguments.push(interpreter.site_packages.clone().into());
    let command = Command {
        arguments,
        working_directory: Some("/".into()),
        caller: Variables::new(),
        variables: Variables::new(),
        stdio: Stdio::Descriptors {
            stdin: null()?,
            stdout: null()?,
            stderr: null()?,
        },
        timeout: Some(DEADLINE),
        grace: Duration::ZERO,
    };
    let process = ptest.block_on(engine.spawn(instance, None, command))?;
    // However it ends, what it has compiled is good: each file is written whole.
    ptest.block_on(process.wait())?;
    ptest.block_on(engine.deactivate(&instance.id, Duration::ZERO))?;
    let copied = ptest.block_on(engine.snapshot(instance))?;
    let top = copied.stack.layers().last().copied();
    Ok(top.filter(|top| !instance.stack.layers().contains(top)))
}

/// Whether a layer has something to compile.
fn has_python(manifest: &Manifest, site_packages: &Path) -> bool {
    let mut entries = manifest.entries().iter();
    entries.any(|entry| {
        let path = entry.path.as_path();
        matches!(entry.kind, Kind::File { .. })
            && path.starts_with(site_packages)
            && path.extension().is_some_and(|extension| extension == "py")
    })
}

/// Whether nothing else is in a layer: whatever the interpreter did, it changes no module.
fn is_bytecode(manifest: &Manifest, site_packages: &Path) -> bool {
    let mut entries = manifest.entries().iter();
    entries.all(|entry| {
        let path = entry.path.as_path();
        let parent = path.parent().and_then(Path::file_name);
        match entry.kind {
            Kind::Directory { .. } => {
                path.starts_with(site_packages) || site_packages.starts_with(path)
            }
            Kind::File { .. } => {
                path.starts_with(site_packages)
                    && parent.is_some_and(|name| name == "__pycache__")
                    && path.extension().is_some_and(|extension| extension == "pyc")
            }
            Kind::Symlink { .. } | Kind::Whiteout | Kind::Opaque { .. } => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use ptest_store::{ContentHash, Entry, Mtime, TreePath};

    use super::*;

    fn manifest(paths: &[&str]) -> Manifest {
        let entries = paths.iter().map(|path| {
            let kind = match path.strip_suffix('/') {
                Some(_) => Kind::Directory { mode: 0o755 },
                None => Kind::File {
                    mode: 0o644,
                    size: 0,
                    mtime: Mtime::default(),
                    hash: ContentHash::from_bytes([0; 32]),
                },
            };
            Entry {
                path: TreePath::new(path.trim_end_matches('/').as_bytes()).unwrap(),
                kind,
            }
        });
        Manifest::new(entries.collect()).unwrap()
    }

    #[test]
    fn only_bytecode_of_packages_is_a_companion() {
        let site = Path::new("lib/site-packages");
        let cache = [
            "lib/",
            "lib/site-packages/",
            "lib/site-packages/__pycache__/",
        ];
        let with = |path| manifest(&[cache.as_slice(), &[path]].concat());
        assert!(is_bytecode(
            &with("lib/site-packages/__pycache__/a.pyc"),
            site
        ));
        for other in [
            "lib/site-packages/a.py",
            "lib/site-packages/a.pyc",
            "lib/site-packages/__pycache__/a.py",
            "lib/a.pyc",
            "bin/",
        ] {
            assert!(!is_bytecode(&with(other), site), "{other}");
        }
    }
}
