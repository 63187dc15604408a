//! The view of an environment on the host: a directory that looks like a virtual environment, for
//! editors, type checkers and tracebacks.
//!
//! It is made on first need, from then on kept up to date, and goes with the environment. It lies
//! in the instance's directory; `views/<name>` leads there. What is in it is the business of
//! `files`.

mod files;

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

use self::files::{Build, Shims};
use crate::engine::HostFiles;
use crate::environment::{Environment, EnvironmentId, Record, table};
use crate::error::{Error, Result};
use crate::ptest::Ptest;

/// A view that is there and up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostView {
    /// Where it is; stays the same as long as the environment is there.
    pub path: PathBuf,
    /// Where its packages are, below that.
    pub site_packages: PathBuf,
    /// Where the programs are that run in the environment, below that.
    pub shims: PathBuf,
}

/// What a view was made of, in it: the stack, then what else tells whether it is up to date.
const STAMP: &str = ".ptest-view";
/// Views of another form, which another ptest made, are made anew.
const FORM: &str = "with bin/activate";

impl Environment {
    /// Makes the view of this environment, or brings it up to date.
    ///
    /// - The directory is complete at every moment: it is made beside and exchanged.
    /// - `lib/python3.X/site-packages` has the same files as inside, as links into the layers and
    ///   into what commands wrote; `pyvenv.cfg` is a file; each program in `bin` runs the one of
    ///   that name in the environment, and a shell reads `bin/activate` as in any other.
    /// - An installation, upgrade or removal of packages by ptest brings it up to date too; what a
    ///   command inside writes is seen after the next call. Nothing in it is to be edited.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported) when the engine keeps no files on this
    /// machine.
    pub fn view(&self) -> Result<HostView> {
        let (lock, record) = self.operate()?;
        let view = self.ptest.make_view(&record)?;
        drop(lock);
        Ok(view)
    }
}

impl Ptest {
    /// Where the view of an environment is, once it was made.
    pub(crate) fn view_path(&self, record: &Record) -> PathBuf {
        self.store().home().join("views").join(record.label())
    }

    /// Brings a view up to date, if there is one. The environment's lock is held.
    pub(crate) fn refresh_view(&self, record: &Record) -> Result<()> {
        if fs::symlink_metadata(self.view_path(record)).is_ok() {
            self.make_view(record)?;
        }
        Ok(())
    }

    /// Where the environment's files are on this machine.
    pub(crate) fn host_files(&self, record: &Record) -> Result<HostFiles> {
        let engine = self.engine(&record.engine)?;
        let instance = self.instance(record)?;
        self.block_on(engine.host_files(&instance))
    }

    fn make_view(&self, record: &Record) -> Result<HostView> {
        let host = self.host_files(record)?;
        let path = self.view_path(record);
        let shims = Shims {
            view: &path,
            home: self.store().home(),
            program: self.provisioner().program(),
            record,
            prefix: &host.prefix,
        };
        let next = host.view.with_extension("next");
        let build = Build::new(&host.trees, &next)?;
        // Read before what it is about: what is written meanwhile is seen the next time.
        let stamp = format!(
            "{}\n{}\n{:?}\n{FORM}\n",
            record.stack,
            build.mark()?,
            shims.program
        );
        if !fs::read_to_string(host.view.join(STAMP)).is_ok_and(|found| found == stamp) {
            if next.symlink_metadata().is_ok() {
                self.store().trash(&next)?;
            }
            build.run(&shims)?;
            write(&next.join(STAMP), &stamp)?;
            self.exchange(&host, &next)?;
        }
        lead(&path, &host.view)?;
        Ok(HostView {
            site_packages: path.join(build.site_packages()),
            shims: path.join("bin"),
            path,
        })
    }

    /// Puts the new directory in the place of the old one.
    fn exchange(&self, host: &HostFiles, next: &Path) -> Result<()> {
        let view = &host.view;
        if view.symlink_metadata().is_err() {
            return fs::rename(next, view)
                .map_err(|source| Error::io(format!("create {}", view.display()), source));
        }
        rustix::fs::renameat_with(CWD, next, CWD, view, RenameFlags::EXCHANGE)
            .map_err(|errno| Error::io(format!("replace {}", view.display()), errno.into()))?;
        Ok(self.store().trash(next)?)
    }

    /// Takes away what leads to the view of an environment; the view goes with its instance.
    pub(crate) fn forget_view(&self, record: &Record) -> Result<()> {
        remove(&self.view_path(record))
    }

    /// Puts right what dead processes left of views: those of environments that are gone, and
    /// those of another stack than the environment's own.
    pub(crate) fn tidy_views(&self) -> Result<()> {
        let directory = self.store().home().join("views");
        let failed = |source| Error::io(format!("read {}", directory.display()), source);
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let Some(id) = leads_to(&path) else {
                continue;
            };
            let database = self.store().database();
            let is_right = |record: &Record| {
                self.view_path(record) == path
                    && (is_of(&path, record) || record.state.is_transitional())
            };
            if table::by_id(database, &id)?.is_some_and(|record| is_right(&record)) {
                continue;
            }
            // Whoever makes one holds the lock, and has a row.
            let Some(_lock) = self.locks().try_acquire(id.as_str())? else {
                continue;
            };
            match table::by_id(database, &id)? {
                None => {
                    remove(&path)?;
                }
                Some(record) if is_right(&record) => {}
                // None is better than one that is wrong, and the next call says why it cannot be
                // made.
                Some(record) if self.view_path(&record) != path => remove(&path)?,
                Some(record) => {
                    if self.refresh_view(&record).is_err() {
                        remove(&path)?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The environment that a link in `views` leads to: `../envs/<id>/view`, or whatever an engine
/// has; the id is a component of it.
fn leads_to(link: &Path) -> Option<EnvironmentId> {
    let target = fs::read_link(link).ok()?;
    target
        .components()
        .find_map(|part| part.as_os_str().to_str()?.parse().ok())
}

fn is_of(view: &Path, record: &Record) -> bool {
    let stack = record.stack.to_string();
    fs::read_to_string(view.join(STAMP))
        .is_ok_and(|stamp| stamp.lines().next() == Some(stack.as_str()))
}

/// Makes the link `path` lead to `view`, whatever it was.
fn lead(path: &Path, view: &Path) -> Result<()> {
    if fs::read_link(path).is_ok_and(|target| target == view) {
        return Ok(());
    }
    let failed = |source| Error::io(format!("create {}", path.display()), source);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    let new = path.with_file_name(format!(".{}", crate::random::hex()?));
    symlink(view, &new)
        .and_then(|()| fs::rename(&new, path))
        .map_err(failed)
}

fn remove(link: &Path) -> Result<()> {
    match fs::remove_file(link) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("delete {}", link.display()), source))
        }
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|source| Error::io(format!("write {}", path.display()), source))
}
