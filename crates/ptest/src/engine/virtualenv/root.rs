//! What an instance shows of the host: its settings as a plan for the sandbox.

use ptest_sandbox::plan::Upper;
use ptest_sandbox::profile::{self, Stack};
use ptest_sandbox::{Plan, Standard};
use ptest_store::Store;

use super::directory::Directory;
use crate::engine::Instance;
use crate::error::Result;
use crate::project::Guard;
use crate::settings::{Home, Profile};

/// A plan, and the profile that it is of.
pub(super) struct Root {
    pub(super) plan: Plan,
    pub(super) profile: Profile,
}

/// The plan of an instance.
pub(super) fn plan(store: &Store, directory: &Directory, instance: &Instance) -> Result<Root> {
    let settings = &instance.settings;
    let project = &settings.project;
    let mut write = settings.write.clone();
    let mut read = instance.interpreter.clone();
    read.extend(settings.read.iter().cloned());
    match project.guarded {
        None => {
            write.push(project.root.clone());
            write.extend(project.git_common_dir.clone());
        }
        // Commands start there, so it is seen even where it lies below a private place.
        Some(Guard::Home | Guard::Store) => read.push(project.root.clone()),
        // What commands see there is their own.
        Some(Guard::FileSystemRoot | Guard::Temporary) => {}
    }
    let home = match &settings.home {
        Home::Private => profile::Home::Directory(directory.home()),
        Home::Path(path) => {
            write.push(path.clone());
            profile::Home::Host
        }
    };
    let cache = store.dir("caches")?.join(&instance.cache);
    std::fs::create_dir_all(&cache)
        .map_err(|source| crate::error::Error::io(format!("create {}", cache.display()), source))?;
    let standard = Standard {
        hostname: Some(hostname(instance)),
        read,
        write,
        hide: vec![store.home().to_owned()],
        home,
        cache: Some(cache),
        environment: Some(Stack {
            lowers: store.stack_paths(&instance.stack)?,
            upper: Some(Upper {
                directory: directory.upper(),
                work: directory.work(),
            }),
        }),
        runtime_directory: Some(super::running::runtime_directory()),
        ..Standard::default()
    };
    Ok(Root {
        plan: standard.plan()?,
        profile: Profile::Standard,
    })
}

/// Linux ends host names at 64 bytes; an id is half of that.
fn hostname(instance: &Instance) -> String {
    format!("ptest-{}", &instance.id.as_str()[1..9])
}
