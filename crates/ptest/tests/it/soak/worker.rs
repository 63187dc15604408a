//! One process of the soak: does anything with environments and snapshots of its own and with one that all share, and
//! checks each result.

use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ptest::engine::ExitStatus;
use ptest::environment::ProcessIdentity;
use ptest::progress::Silent;
use ptest::settings::Profile;
use ptest::{
    Collection, Depth, Environment, EnvironmentSpec, ErrorKind, Fork, Lifetime, Name, PortOwner,
    PortRequest, Ptest, Requirements, Result,
};
use rustix::process::getppid;

use super::model::{Content, Model};
use super::{PACKAGE, SHARED};
use crate::context::{open, open_with_patience, spec};
use crate::run::shell;
use crate::snapshots::fork;

/// What a process works with.
pub(crate) struct Worker {
    place: PathBuf,
    ptest: Ptest,
    model: Model,
    random: Random,
    /// Its environment, the snapshot of that, and what is forked of either.
    names: [String; 3],
    profile: Option<Profile>,
}

impl Worker {
    pub(crate) fn new(place: &Path, number: usize, profile: Option<Profile>) -> Self {
        let seed = u64::from(std::process::id()) << 20 | number as u64;
        Self {
            place: place.to_owned(),
            ptest: open(&place.join("store")),
            model: Model::at(&place.join(format!("model-{number}"))),
            random: Random(seed | 1),
            names: ["web", "kept", "fork"].map(|name| format!("{name}-{number}")),
            profile,
        }
    }

    /// Works until the time has come, or nobody waits for it.
    pub(crate) fn work(&mut self, end: Duration) {
        let parent = getppid();
        self.take_over();
        while SystemTime::now().duration_since(UNIX_EPOCH).unwrap() < end && getppid() == parent {
            match self.random.below(10) {
                0 => self.be_another(),
                1 => self.share(),
                2 => self.pass_by(),
                3 => self.look_after_the_store(),
                _ => self.change(),
            }
        }
        self.model.save();
    }

    /// Looks at what a killed one has left.
    fn take_over(&mut self) {
        for thing in self.model.things() {
            let found = if thing == self.names[1] {
                self.of_snapshot(&thing)
            } else {
                self.of_environment(&thing)
            };
            self.model.found(&thing, found);
        }
        self.drop_fork();
        self.model.save();
    }

    /// What is in an environment, found by its name; `None` without one.
    fn of_environment(&self, name: &str) -> Option<Content> {
        match self.ptest.find(name).and_then(|it| try_content(&it)) {
            Ok(content) => Some(content),
            // Also one that a killed process was removing, and another is at it now.
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => panic!("{error:?}"),
        }
    }

    fn of_snapshot(&self, name: &str) -> Option<Content> {
        match self.ptest.snapshot(name) {
            Ok(_) => {
                let fork = Fork {
                    name: None,
                    lifetime: Lifetime::Process,
                    ..fork("unnamed")
                };
                let forked = self.ptest.fork(name, &[fork]).unwrap();
                Some(content(&forked.environments[0]))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => panic!("{error:?}"),
        }
    }

    fn environment(&self) -> Environment {
        self.ptest.find(&self.names[0]).unwrap()
    }

    fn spec(&self) -> EnvironmentSpec {
        let mut spec = spec(&self.place.join("project"));
        spec.settings.profile = self.profile;
        spec
    }

    /// Changes or uses what is its own.
    fn change(&mut self) {
        let [name, kept, _] = self.names.clone();
        let Some(now) = self.model.is(&name) else {
            return self.begin();
        };
        let before = self.model.is(&kept);
        match (self.random.below(12), before) {
            (0, _) => {
                let environment = self.environment();
                self.model
                    .makes("remove", &name, None, || environment.remove().unwrap());
            }
            (1 | 2, None) => {
                let (environment, after) = (self.environment(), Some(now));
                let snapshot: Name = kept.parse().unwrap();
                self.model.makes("snapshot", &kept, after, || {
                    environment.snapshot(Some(snapshot)).unwrap();
                });
            }
            (1, Some(_)) => {
                let ptest = self.ptest.clone();
                self.model.makes("remove a snapshot", &kept, None, || {
                    ptest.remove_snapshot(&kept).unwrap();
                });
            }
            (2, after) => {
                let environment = self.environment();
                self.model.makes("restore", &name, after, || {
                    environment.restore(&kept).unwrap();
                });
            }
            (3, _) => self.fork(&name, now),
            (4, Some(before)) => self.fork(&kept, before),
            (5, _) if now.package || self.random.below(4) == 0 => self.install(&name, now),
            (6, _) => {
                let environment = self.environment();
                self.model.does("deactivate", || {
                    environment.deactivate(Duration::from_millis(50)).unwrap()
                });
            }
            (7, _) => {
                let environment = self.environment();
                self.model.does("verify", || {
                    let verified = environment.verify(Depth::Full).unwrap();
                    assert_eq!(verified.problems, []);
                });
            }
            (8, _) => {
                let found = content(&self.environment());
                assert_eq!(found, now);
                self.model.does("read", || {});
            }
            _ => self.write(&name, now),
        }
    }

    /// Makes its environment anew.
    fn begin(&mut self) {
        let [name, kept, _] = self.names.clone();
        match self.model.is(&kept) {
            Some(before) if self.random.below(2) == 0 => {
                let ptest = self.ptest.clone();
                let fork = [fork(&name)];
                self.model.makes("fork", &name, Some(before), || {
                    ptest.fork(&kept, &fork).unwrap();
                });
            }
            _ => {
                let spec = EnvironmentSpec {
                    name: Some(name.parse().unwrap()),
                    ..self.spec()
                };
                let empty = Content {
                    word: String::new(),
                    package: false,
                };
                let ptest = self.ptest.clone();
                self.model.makes("create", &name, Some(empty), || {
                    ptest.create(&spec, &Silent).unwrap();
                });
            }
        }
    }

    fn write(&mut self, name: &str, now: Content) {
        let word = format!("{:x}", self.random.next());
        let environment = self.environment();
        let script = format!(
            "echo {word} > \"$VIRTUAL_ENV/new\" && mv \"$VIRTUAL_ENV/new\" \"$VIRTUAL_ENV/word\""
        );
        let after = Content { word, ..now };
        self.model.makes("execute", name, Some(after), || {
            assert_eq!(code_of(&environment, &script), 0);
        });
    }

    fn fork(&mut self, source: &str, content: Content) {
        let name = self.names[2].clone();
        let (ptest, fork) = (self.ptest.clone(), [fork(&name)]);
        self.model.makes("fork", &name, Some(content.clone()), || {
            ptest.fork(source, &fork).unwrap();
        });
        assert_eq!(self.of_environment(&name), Some(content));
        self.drop_fork();
    }

    fn drop_fork(&mut self) {
        let fork = self.names[2].clone();
        if self.model.is(&fork).is_some() {
            let environment = self.ptest.find(&fork).unwrap();
            self.model
                .makes("remove", &fork, None, || environment.remove().unwrap());
        }
    }

    fn install(&mut self, name: &str, now: Content) {
        let environment = self.environment();
        let after = Content {
            package: !now.package,
            ..now
        };
        if now.package {
            self.model.makes("uninstall", name, Some(after), || {
                let package = [PACKAGE.to_owned()];
                environment.uninstall(&package, &Silent).unwrap();
            });
        } else {
            let wheel = self.place.join(format!("{PACKAGE}-1.5-py3-none-any.whl"));
            let wanted = Requirements {
                specifiers: vec![wheel.to_str().unwrap().to_owned()],
                ..Requirements::default()
            };
            self.model.makes("install", name, Some(after), || {
                environment.install(&wanted, &Silent).unwrap();
            });
        }
    }

    /// Opens the store again, as each process that begins does.
    fn be_another(&mut self) {
        let home = self.place.join("store");
        self.ptest = self.model.does("open", || open(&home));
    }

    /// Uses the environment that all use; refuses to wait for the others now and then, which is all that may be refused.
    fn share(&mut self) {
        let hasty = self.random.below(2) == 0;
        let home = self.place.join("store");
        let ptest = if hasty {
            self.model
                .does("open", || open_with_patience(&home, Duration::ZERO))
        } else {
            self.ptest.clone()
        };
        let shared = ptest.find(SHARED).unwrap();
        let asked = self.random.below(3);
        let answer = self.model.does("use what all share", || match asked {
            0 => shared.run(shell("exit 5")).map(|done| {
                assert_eq!(done.ended.unwrap().status, ExitStatus::Code(5));
            }),
            1 => shared.activate().map(drop),
            _ => shared.snapshot(None).map(|taken| {
                ptest.remove_snapshot(taken.snapshot.name.as_str()).unwrap();
            }),
        });
        match answer {
            Ok(()) => {}
            Err(error) if hasty && error.kind() == ErrorKind::Busy => {
                self.model.does("be refused", || {});
            }
            Err(error) => panic!("{asked}: {error:?}"),
        }
    }

    /// What lives for this process alone.
    fn pass_by(&mut self) {
        let spec = EnvironmentSpec {
            lifetime: Lifetime::Process,
            ..self.spec()
        };
        let ptest = self.ptest.clone();
        let owner = PortOwner::Process(ProcessIdentity::current().unwrap());
        let request = PortRequest {
            count: NonZeroU16::new(3).unwrap(),
            ..PortRequest::new(owner)
        };
        self.model.does("run for a moment", || {
            let environment = ptest.create(&spec, &Silent).unwrap();
            let leases = ptest.acquire_ports(&request).unwrap();
            assert_eq!(code_of(&environment, "exit 7"), 7);
            let ports: Vec<u16> = leases.iter().map(|lease| lease.port).collect();
            assert_eq!(ptest.release_ports(&ports).unwrap(), ports);
        });
    }

    fn look_after_the_store(&mut self) {
        let ptest = self.ptest.clone();
        if self.random.below(4) == 0 {
            let collection = Collection {
                older_than: Duration::ZERO,
                keep_size: None,
                dry_run: false,
            };
            self.model.does("collect", || {
                ptest.collect(&collection).unwrap();
            });
        } else {
            self.model
                .does("tidy", || ptest.tidy(Duration::MAX).unwrap());
        }
    }
}

fn content(environment: &Environment) -> Content {
    try_content(environment).unwrap()
}

/// What is in an environment, as a command sees it.
fn try_content(environment: &Environment) -> Result<Content> {
    let script = "cat \"$VIRTUAL_ENV/word\" 2> /dev/null; exit 0";
    let done = environment.run(shell(script))?;
    assert_eq!(done.ended?.status, ExitStatus::Code(0));
    let word = String::from_utf8(done.stdout.head).unwrap();
    Ok(Content {
        word: word.trim().to_owned(),
        package: environment.package(PACKAGE)?.is_some(),
    })
}

fn code_of(environment: &Environment, script: &str) -> i32 {
    let ended = environment.run(shell(script)).unwrap().ended.unwrap();
    ended.status.shell_code()
}

/// Random choices (xorshift64*).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit`, which is not zero.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 33) % limit
    }
}
