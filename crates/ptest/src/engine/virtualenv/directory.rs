//! The directory of one instance: where its parts are, how it comes and goes.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ptest_sandbox::{Upper, cgroup, quota, ring};
use ptest_store::Store;

use super::driver::Driver;
use super::{clone, root};
use crate::engine::Instance;
use crate::environment::EnvironmentId;
use crate::error::{Error, ErrorKind, Result};
use crate::settings::{GitIdentity, Home, Profile};

// Each with the number of its generation after it.
const UPPER: &str = "upper-";
const TAKEN: &str = "taken-";
const WORK: &str = "work-";
const TREE: &str = "tree-";
const LIST: &str = "list-";

/// The generation that something in an instance's directory is of; `None` when it is of all.
fn generation_of(name: &str) -> Option<u32> {
    let number = [UPPER, TAKEN, WORK, TREE, LIST]
        .iter()
        .find_map(|prefix| name.strip_prefix(prefix))?;
    number.parse().ok()
}

/// `envs/<id>`.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Init's socket.
    pub(super) const SOCKET: &'static str = "socket";

    pub(super) fn of(instances: &Path, id: &EnvironmentId) -> Self {
        Self {
            path: instances.join(id.as_str()),
        }
    }

    /// Every instance that has a directory.
    pub(super) fn all(instances: &Path) -> Result<Vec<EnvironmentId>> {
        let failed = |source| Error::io(format!("read {}", instances.display()), source);
        let mut found = Vec::new();
        for entry in fs::read_dir(instances).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            // What has another name was not made by this engine.
            found.extend(
                name.to_str()
                    .and_then(|name| name.parse::<EnvironmentId>().ok()),
            );
        }
        Ok(found)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn exists(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// Whether an init was ever started: it is then that its socket is made.
    pub(super) fn was_active(&self) -> bool {
        self.path.join(Self::SOCKET).symlink_metadata().is_ok()
    }

    pub(super) fn open(&self) -> Result<OwnedFd> {
        let file = File::open(&self.path)
            .map_err(|source| Error::io(format!("open {}", self.path.display()), source))?;
        Ok(file.into())
    }

    /// What commands write in the environment.
    pub(super) fn upper(&self, generation: u32) -> PathBuf {
        self.path.join(format!("{UPPER}{generation}"))
    }

    /// That, while it becomes a layer: where nobody looks for it.
    fn taken(&self, generation: u32) -> PathBuf {
        self.path.join(format!("{TAKEN}{generation}"))
    }

    /// Moves it there.
    pub(super) fn take(&self, generation: u32) -> Result<PathBuf> {
        let (upper, taken) = (self.upper(generation), self.taken(generation));
        fs::rename(&upper, &taken)
            .map_err(|source| Error::io(format!("move {}", upper.display()), source))?;
        Ok(taken)
    }

    /// The kernel's own, for the overlay.
    pub(super) fn work(&self, generation: u32) -> PathBuf {
        self.path.join(format!("{WORK}{generation}"))
    }

    /// Where what is written in a directory of the host goes, if that is not to get it.
    pub(super) fn scratch(&self, number: usize) -> Upper {
        Upper {
            directory: self.path.join(format!("scratch{number}")),
            work: self.path.join(format!("scratch{number}.work")),
        }
    }

    /// The private home directory.
    pub(super) fn home(&self) -> PathBuf {
        self.path.join("home")
    }

    /// Where the tree of a clone is for those who use it: a link, so that it is the same for every
    /// generation. Files in the tree name it.
    pub(super) fn tree(&self) -> PathBuf {
        self.path.join("tree")
    }

    /// The tree of a generation.
    pub(super) fn tree_of(&self, generation: u32) -> PathBuf {
        self.path.join(format!("{TREE}{generation}"))
    }

    /// What that tree was when it was fresh.
    pub(super) fn list(&self, generation: u32) -> PathBuf {
        self.path.join(format!("{LIST}{generation}"))
    }

    /// Caches that are the instance's alone.
    pub(super) fn cache(&self) -> PathBuf {
        self.path.join("cache")
    }

    /// Temporary files of a clone.
    pub(super) fn temporary(&self) -> PathBuf {
        self.path.join("tmp")
    }

    /// What shows the instance's files to the host, and where an overlay also appears inside.
    pub(super) fn view(&self) -> PathBuf {
        self.path.join("view")
    }

    /// What is recorded of an activation's use.
    fn ring(&self) -> PathBuf {
        self.path.join("usage")
    }

    /// Begins the record of an activation, in the place of the one before.
    pub(super) fn begin_ring(&self) -> Result<OwnedFd> {
        let path = self.ring();
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        let begun = options.mode(0o600).open(&path).and_then(ring::begin);
        begun.map_err(|source| Error::io(format!("write {}", path.display()), source))
    }

    /// Reads the record of the last activation, if there is one.
    pub(super) fn read_ring(&self) -> Result<Option<ring::Reader>> {
        let path = self.ring();
        let read = match File::open(&path) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.and_then(ring::Reader::new),
        };
        read.map_err(|source| Error::io(format!("read {}", path.display()), source))
    }

    /// Keeps where the groups of the instance's init may be, before it is made: whoever ends it may look elsewhere.
    pub(super) fn keep_groups(&self, places: &[PathBuf]) -> Result<()> {
        let path = self.groups();
        let lines: Vec<&[u8]> = places
            .iter()
            .map(|place| place.as_os_str().as_bytes())
            .collect();
        fs::write(&path, lines.join(&b'\n'))
            .map_err(|source| Error::io(format!("write {}", path.display()), source))
    }

    /// Takes away the groups of an init that has ended.
    pub(super) fn remove_groups(&self) -> Result<()> {
        let places = self.group_places()?;
        if places.is_empty() {
            return Ok(());
        }
        cgroup::remove(&places);
        let path = self.groups();
        fs::remove_file(&path)
            .map_err(|source| Error::io(format!("remove {}", path.display()), source))
    }

    /// Where the groups of the instance's init may be; none if it has none.
    pub(super) fn group_places(&self) -> Result<Vec<PathBuf>> {
        let path = self.groups();
        let places = match fs::read(&path) {
            Ok(places) => places,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(Error::io(format!("read {}", path.display()), source)),
        };
        let places = places.split(|byte| *byte == b'\n');
        Ok(places
            .map(|place| OsStr::from_bytes(place).into())
            .collect())
    }

    fn groups(&self) -> PathBuf {
        self.path.join("groups")
    }

    /// What stands for the project that what commands write is of, where the kernel limits that.
    pub(super) fn project(&self) -> PathBuf {
        self.path.join("project")
    }

    /// Whether what commands write is of a project, or was.
    pub(super) fn is_in_project(&self) -> bool {
        self.project().symlink_metadata().is_ok()
    }

    /// Takes the kernel's limit of what commands write away, if there is one.
    pub(super) fn lift_quota(&self) {
        // Where no limit can be taken away any more, as on a disk that has no quotas now, none holds.
        let _ = quota::lift(&self.project());
    }

    /// The driver that the instance was made with.
    pub(super) fn driver(&self) -> Result<Driver> {
        let path = self.instead();
        match fs::read_to_string(&path) {
            Ok(instead) => Ok(Driver::Clone {
                instead: Some(instead).filter(|text| !text.is_empty()),
            }),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(Driver::Overlay),
            Err(source) => Err(Error::io(format!("read {}", path.display()), source)),
        }
    }

    /// There for a clone only: why it is one, or empty.
    fn instead(&self) -> PathBuf {
        self.path.join("clone")
    }

    pub(super) fn create(&self, store: &Store, instance: &Instance, driver: &Driver) -> Result<()> {
        match make(&self.path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("instance {} exists", instance.id),
                ));
            }
            made => made?,
        }
        let filled = self.fill(store, instance, driver);
        if filled.is_err() {
            // Why it cannot be filled is what the caller must know; what is left of it has no row.
            let _ = store.trash(&self.path);
        }
        filled
    }

    /// Throws away what is of every generation but this one, of which all is in its place then. A loss of power does not bring
    /// back a record that names another.
    pub(super) fn settle(&self, store: &Store, generation: u32) -> Result<()> {
        let (taken, upper) = (self.taken(generation), self.upper(generation));
        match fs::rename(&taken, &upper) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(format!("move back {}", taken.display()), source));
            }
            _ => {}
        }
        let failed = |source| Error::io(format!("read {}", self.path.display()), source);
        let mut is_recorded = false;
        for entry in fs::read_dir(&self.path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let other = name.to_str().and_then(generation_of);
            if other.is_some_and(|other| other != generation) {
                if !is_recorded {
                    store.database().flush()?;
                    is_recorded = true;
                }
                if self.is_in_project() {
                    // It may stay in the trash for a while, and counts there.
                    quota::let_go(&entry.path());
                }
                store.trash(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Makes the empty upper of a generation.
    pub(super) fn make_upper(&self, generation: u32) -> Result<()> {
        let upper = self.upper(generation);
        make(&upper)?;
        // The mode of the environment's own directory, whatever the umask of who makes it: that of
        // every layer.
        fs::set_permissions(&upper, Permissions::from_mode(0o755))
            .map_err(|source| Error::io(format!("change the mode of {}", upper.display()), source))
    }

    /// Makes what only an active instance needs, unless it is there.
    pub(super) fn prepare(&self, instance: &Instance, driver: &Driver) -> Result<()> {
        let work = self.work(instance.generation);
        if *driver == Driver::Overlay && !work.exists() {
            make(&work)?;
        }
        for number in 0..root::scratch(instance).len() {
            let Upper { directory, work } = self.scratch(number);
            if !directory.exists() {
                make(&directory)?;
                make(&work)?;
            }
        }
        if instance.settings.home == Home::Private && !self.home().exists() {
            match instance.settings.profile {
                Some(Profile::Strict) => make(&self.home())?,
                _ => self.seed_home(instance.settings.git_identity.as_ref())?,
            }
        }
        Ok(())
    }

    /// Complete before it has its name: commands may delete what is in it, and then it stays so.
    fn seed_home(&self, identity: Option<&GitIdentity>) -> Result<()> {
        let seed = self.path.join("home.new");
        if !seed.exists() {
            make(&seed)?;
        }
        let config = seed.join(".gitconfig");
        fs::write(&config, git_config(identity))
            .map_err(|source| Error::io(format!("write {}", config.display()), source))?;
        let home = self.home();
        fs::rename(&seed, &home)
            .map_err(|source| Error::io(format!("create {}", home.display()), source))
    }

    fn fill(&self, store: &Store, instance: &Instance, driver: &Driver) -> Result<()> {
        match driver {
            Driver::Overlay => self.make_upper(instance.generation)?,
            Driver::Clone { instead } => {
                let path = self.instead();
                fs::write(&path, instead.as_deref().unwrap_or_default())
                    .map_err(|source| Error::io(format!("write {}", path.display()), source))?;
                make(&self.temporary())?;
                clone::create(store, self, instance)?;
            }
        }
        Ok(())
    }
}

fn make(path: &Path) -> Result<()> {
    DirBuilder::new()
        .mode(0o755)
        .create(path)
        .map_err(|source| Error::io(format!("create {}", path.display()), source))
}

/// A checkout of another user is no danger inside: what git would run is contained.
fn git_config(identity: Option<&GitIdentity>) -> String {
    let mut config = String::from("[safe]\n\tdirectory = *\n");
    if let Some(identity) = identity {
        config.push_str("[user]\n");
        for (key, value) in [("name", &identity.name), ("email", &identity.email)] {
            if let Some(value) = value {
                let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
                config.push_str(&format!("\t{key} = \"{quoted}\"\n"));
            }
        }
    }
    config
}
