//! The helper of the tests that install: one call from requirements to unpacked trees.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use ptest::python::fetch::{FetchRequest, Fetched, fetch, sha256_of};
use ptest::python::wheel::{Layout, Unpacked, unpack};
use ptest::python::{
    Context, HostEnv, IndexSettings, Installer, InstallerError, Interpreter, NoCache, Pip,
    Requirements, Resolution, ResolveRequest, Supervision, Uv,
};
use tempfile::TempDir;

use super::support::{host, pip_tool, python, skip};

/// A place to install in, for one interpreter.
pub(crate) struct Bench {
    pub(crate) host: HostEnv,
    pub(crate) interpreter: Interpreter,
    pub(crate) directory: TempDir,
}

/// Where one resolution and its wheels are.
pub(crate) struct Work {
    directory: TempDir,
}

impl Bench {
    /// For the interpreter that answers `request`; `None` (said visibly) if there is none.
    pub(crate) fn new(request: &str) -> Option<Self> {
        let Some(interpreter) = python(request) else {
            skip(&format!("python{request}"), "it is not installed");
            return None;
        };
        let directory = tempfile::tempdir().unwrap();
        let mut host = host();
        directory.path().clone_into(&mut host.cwd);
        Some(Self {
            host,
            interpreter,
            directory,
        })
    }

    /// As [`Bench::new`], and there is an index on the network.
    pub(crate) fn with_network(request: &str) -> Option<Self> {
        if let Err(why) = ptest_testkit::requirement::network().into_result() {
            skip("network", &why);
            return None;
        }
        Self::new(request)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn set(&mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) {
        self.host.env.insert(name.into(), value.as_ref().to_owned());
    }

    pub(crate) fn requirements(&self, with: &[&str], files: &[&str]) -> Requirements {
        Requirements::read(with, files, &self.host).unwrap()
    }

    pub(crate) fn resolve(
        &self,
        installer: &dyn Installer,
        requirements: &Requirements,
    ) -> (Work, Result<Resolution, InstallerError>) {
        let work = Work {
            directory: tempfile::tempdir().unwrap(),
        };
        let index = IndexSettings::from_host(&self.host);
        let supervision = Supervision::default();
        let tool = pip_tool();
        let resolution = installer.resolve(&ResolveRequest {
            context: self.context(work.directory.path(), &index, &supervision, &tool),
            requirements,
            described: &BTreeMap::new(),
            offline_first: false,
        });
        (work, resolution)
    }

    pub(crate) fn fetch(
        &self,
        work: &Work,
        installer: &dyn Installer,
        requirements: &Requirements,
        resolution: &Resolution,
    ) -> Result<Vec<Fetched>, InstallerError> {
        let index = IndexSettings::from_host(&self.host);
        let supervision = Supervision::default();
        let tool = pip_tool();
        fetch(&FetchRequest {
            context: self.context(work.directory.path(), &index, &supervision, &tool),
            installer,
            offline_first: false,
            pins: &resolution.distributions,
            requirements,
            on_wheel: &|_| {},
        })
    }

    pub(crate) fn context<'a>(
        &'a self,
        work_dir: &'a Path,
        index: &'a IndexSettings,
        supervision: &'a Supervision,
        pip: &'a ptest::python::PipTool,
    ) -> Context<'a> {
        Context {
            interpreter: &self.interpreter,
            host: &self.host,
            index,
            pip,
            supervision,
            work_dir,
            deadline: Duration::from_mins(5),
        }
    }

    /// Resolves, fetches and unpacks into one tree for each distribution.
    pub(crate) fn install(
        &self,
        installer: &dyn Installer,
        with: &[&str],
        files: &[&str],
    ) -> Installed {
        let requirements = self.requirements(with, files);
        let (work, resolution) = self.resolve(installer, &requirements);
        let resolution = resolution.unwrap_or_else(|error| panic!("{error}: {error:?}"));
        let fetched = self
            .fetch(&work, installer, &requirements, &resolution)
            .unwrap_or_else(|error| panic!("{error}: {error:?}"));
        let trees = tempfile::tempdir().unwrap();
        let layout = Layout::of(&self.interpreter);
        let mut unpacked = BTreeMap::new();
        for fetched in fetched {
            let tree = trees.path().join(&fetched.pin.name);
            let done = unpack(&fetched.wheel, &layout, &tree)
                .unwrap_or_else(|error| panic!("{error}: {error:?}"));
            unpacked.insert(fetched.pin.name.clone(), (tree, done));
        }
        Installed {
            resolution,
            trees,
            unpacked,
        }
    }
}

pub(crate) struct Installed {
    pub(crate) resolution: Resolution,
    #[expect(dead_code, reason = "keeps the trees")]
    trees: TempDir,
    pub(crate) unpacked: BTreeMap<String, (PathBuf, Unpacked)>,
}

impl Installed {
    pub(crate) fn names(&self) -> Vec<&str> {
        self.unpacked.keys().map(String::as_str).collect()
    }

    /// Every file of every tree: mode and hash.
    pub(crate) fn listing(&self) -> BTreeMap<String, String> {
        self.unpacked
            .iter()
            .flat_map(|(name, (tree, _))| {
                listing(tree)
                    .into_iter()
                    .map(move |(path, facts)| (format!("{name}:{path}"), facts))
            })
            .collect()
    }

    /// The value that `code` prints with these distributions, and nothing else, importable.
    pub(crate) fn run(&self, interpreter: &Interpreter, code: &str) -> String {
        let path: Vec<String> = self
            .unpacked
            .values()
            .map(|(tree, _)| {
                let packages = tree.join(&interpreter.site_packages);
                format!("site.addsitedir({:?})", packages.to_str().unwrap())
            })
            .collect();
        let output = std::process::Command::new(&interpreter.executable)
            .args(["-I", "-S", "-B", "-c"])
            .arg(format!("import site; {}\n{code}", path.join("; ")))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

pub(crate) fn listing(tree: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut directories = vec![tree.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten() {
            let path = entry.unwrap().path();
            let facts = path.symlink_metadata().unwrap();
            if facts.is_dir() {
                directories.push(path);
            } else {
                let name = path
                    .strip_prefix(tree)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                let mode = facts.permissions().mode() & 0o777;
                found.insert(name, format!("{mode:o} {}", sha256_of(&path).unwrap()));
            }
        }
    }
    found
}

/// A uv, from this machine or from the index; `None` (said visibly) if there is none.
pub(crate) fn uv() -> Option<Uv> {
    static UV: OnceLock<Option<Uv>> = OnceLock::new();
    let found = UV.get_or_init(|| {
        let supervision = Supervision::default();
        let host = HostEnv::new(std::env::vars_os(), "/");
        if let Some(found) = Uv::find(&host, None, &supervision, &NoCache) {
            return Some(found);
        }
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("uv");
        if !kept.exists() {
            let bench = Bench::with_network(">=3.10")?;
            let installed = bench.install(&Pip, &["uv"], &[]);
            let partial = kept.with_extension(std::process::id().to_string());
            fs::copy(installed.unpacked["uv"].0.join("bin/uv"), &partial).unwrap();
            fs::rename(&partial, &kept).unwrap();
        }
        Uv::at(&kept, &host, &supervision).ok()
    });
    if found.is_none() {
        skip("uv", "it is not installed");
    }
    found.clone()
}
