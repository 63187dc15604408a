//! Snapshots, restores, forks and differences, with either driver.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ptest::engine::{Command, ExitStatus, Stdio};
use ptest::labels::Labels;
use ptest::progress::Silent;
use ptest::settings::Profile;
use ptest::variables::Variables;
use ptest::{
    Collection, Depth, Environment, EnvironmentSpec, ErrorKind, FileChange, Fork, Lifetime, Name,
    Outcome, PackageChange, Ptest, Requirements,
};
use ptest_testkit::{require, requirement};

use crate::context::{open, spec, with_pip};

const EVERYTHING: Collection = Collection {
    older_than: Duration::ZERO,
    keep_size: None,
    dry_run: false,
};

/// A store and what environments in it are asked for, with one driver.
struct Setting {
    directory: tempfile::TempDir,
    ptest: Ptest,
    profile: Option<Profile>,
}

impl Setting {
    fn new(profile: Option<Profile>) -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let ptest = open(&directory.path().join("store"));
        Self {
            directory,
            ptest,
            profile,
        }
    }

    fn spec(&self) -> EnvironmentSpec {
        let mut spec = with_pip(self.directory.path());
        spec.settings.profile = self.profile;
        spec
    }

    fn create(&self, label: &str) -> Environment {
        let spec = EnvironmentSpec {
            name: Some(name(label)),
            ..self.spec()
        };
        self.ptest.create(&spec, &Silent).unwrap()
    }

    fn fork(&self, source: &str, new: &str) -> Environment {
        let mut forked = self.ptest.fork(source, &[fork(new)]).unwrap();
        forked.environments.remove(0)
    }
}

/// Runs a test with both drivers, as far as they are to be had here.
fn with_either_driver(test: fn(&Setting)) {
    test(&Setting::new(Some(Profile::None)));
    require!(requirement::userns());
    test(&Setting::new(None));
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn fork(new: &str) -> Fork {
    Fork {
        name: Some(name(new)),
        lifetime: Lifetime::Detached,
        engine: None,
        settings: None,
        labels: Labels::new(),
    }
}

/// Runs a shell script in an environment; its first argument is the environment's directory.
pub(crate) fn shell(environment: &Environment, script: &str) {
    let process = start(environment, script);
    let exit = environment.wait(&process).unwrap();
    assert_eq!(exit.status, ExitStatus::Code(0), "{script}");
}

/// The same, without waiting for its end.
pub(crate) fn start(environment: &Environment, script: &str) -> ptest::runs::ActiveRun {
    let null = || {
        OwnedFd::from(
            File::options()
                .read(true)
                .write(true)
                .open("/dev/null")
                .unwrap(),
        )
    };
    let script = format!("cd \"$VIRTUAL_ENV\" && {script}");
    let command = Command {
        arguments: ["sh", "-euc", &script].map(OsString::from).to_vec(),
        working_directory: None,
        caller: Variables::from([("PATH".into(), "/usr/bin:/bin".into())]),
        variables: Variables::new(),
        stdio: Stdio::Descriptors {
            stdin: null(),
            stdout: null(),
            stderr: null(),
        },
        timeout: None,
        grace: Duration::from_millis(50),
    };
    environment.spawn(command).unwrap()
}

fn at_rest(environment: &Environment) {
    environment.deactivate(Duration::ZERO).unwrap();
}

fn packages(environment: &Environment) -> Vec<(String, String)> {
    let packages = environment.packages().unwrap().into_iter();
    packages.map(|it| (it.name, it.version)).collect()
}

fn paths(files: &[FileChange]) -> Vec<&str> {
    files.iter().map(|it| it.path.to_str().unwrap()).collect()
}

#[test]
fn a_restore_brings_back_what_a_snapshot_kept() {
    with_either_driver(|setting| {
        let web = setting.create("web");
        shell(
            &web,
            "echo 1 > note; mkdir d; echo x > d/x; rm -f bin/activate.fish",
        );
        let taken = web.snapshot(Some(name("kept"))).unwrap();
        assert_eq!(taken.left_out, Vec::<String>::new());
        shell(
            &web,
            "echo 2 > note; rm -r d; mkdir e; echo > bin/activate.fish",
        );
        at_rest(&web);
        assert_eq!(web.restore("kept").unwrap(), taken.snapshot);
        shell(
            &web,
            "test \"$(cat note)\" = 1; test -f d/x; test ! -e e; test ! -e bin/activate.fish",
        );
        // Its pip is the stack's own.
        shell(&web, "pip --version");
        at_rest(&web);
        let difference = setting.ptest.diff("kept", "web").unwrap();
        let beside_bytecode: Vec<_> = paths(&difference.files)
            .into_iter()
            .filter(|path| !path.contains("__pycache__"))
            .collect();
        assert_eq!(beside_bytecode, Vec::<&str>::new());
        web.remove().unwrap();
    });
}

#[test]
fn an_active_environment_goes_on_after_its_snapshot_and_what_it_writes_then_is_not_in_it() {
    require!(requirement::userns());
    let setting = Setting::new(None);
    let web = setting.create("web");
    // Counts upwards in two files, one after the other: a copy that is not of one moment shows
    // them more than one apart.
    let counter = start(
        &web,
        "i=0; while :; do i=$((i+1)); echo $i > a; echo $i > b; done",
    );
    let envs = setting.ptest.store().home().join("envs");
    let upper = envs.join(web.id().as_str()).join("upper-0");
    // `None` where it was opened and is not written yet.
    let number = |directory: &Path, file: &str| -> Option<i64> {
        let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
        text.trim().parse().ok()
    };
    let wait_beyond = |last: i64| {
        let end = Instant::now() + Duration::from_secs(30);
        while number(&upper, "b").is_none_or(|now| now <= last) {
            assert!(Instant::now() < end, "it does not go on after {last}");
            thread::yield_now();
        }
    };
    // On a busy machine most of them are of a moment in which one of the files is empty.
    let end = Instant::now() + Duration::from_mins(2);
    let (mut rounds, mut compared) = (0, 0);
    while rounds < 8 || compared == 0 {
        assert!(
            Instant::now() < end,
            "nothing was compared in {rounds} rounds"
        );
        rounds += 1;
        wait_beyond(number(&upper, "a").unwrap_or_default());
        let taken = web.snapshot(None).unwrap().snapshot;
        let stack = setting.ptest.store().stack(&taken.stack).unwrap();
        let place = setting.directory.path().join(format!("copy{rounds}"));
        setting
            .ptest
            .store()
            .clone_tree(&stack, &place, None)
            .unwrap();
        if let (Some(a), Some(b)) = (number(&place, "a"), number(&place, "b")) {
            assert!(a == b || a == b + 1, "{a} {b}");
            compared += 1;
            wait_beyond(a);
        }
    }
    drop(counter);
    web.remove().unwrap();
}

#[test]
fn a_fork_is_what_its_source_is_and_then_on_its_own() {
    with_either_driver(|setting| {
        let web = setting.create("web");
        shell(&web, "echo 1 > note");
        let copy = setting.fork("web", "copy");
        shell(
            &copy,
            "test \"$(cat note)\" = 1; echo 2 > note; pip --version",
        );
        shell(&web, "test \"$(cat note)\" = 1; echo 3 > note");
        shell(&copy, "test \"$(cat note)\" = 2");
        let record = copy.record().unwrap();
        assert_eq!(record.settings, web.record().unwrap().settings);
        web.remove().unwrap();
        shell(&copy, "test \"$(cat note)\" = 2");
        copy.remove().unwrap();
    });
}

#[test]
fn of_several_forks_all_are_there_or_none() {
    let setting = Setting::new(Some(Profile::None));
    let web = setting.create("web");
    let names = ["a", "b", "c"].map(fork);
    let forked = setting.ptest.fork("web", &names).unwrap();
    let labels: Vec<String> = forked
        .environments
        .iter()
        .map(|it| it.record().unwrap().label().to_owned())
        .collect();
    assert_eq!(labels, ["a", "b", "c"]);
    // The last one's name is taken by the one before, which only its row can tell.
    let twice = ["d", "e", "d"].map(fork);
    let error = setting.ptest.fork("web", &twice).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(setting.ptest.records().unwrap().len(), 4);
    for environment in forked.environments.into_iter().chain([web]) {
        environment.remove().unwrap();
    }
}

#[test]
fn a_snapshot_outlives_its_environment_and_is_kept_from_collection() {
    with_either_driver(|setting| {
        let web = setting.create("web");
        shell(&web, "echo 1 > note");
        let taken = web.snapshot(None).unwrap().snapshot;
        assert_eq!(taken.name.as_str(), "web-1");
        assert_eq!(
            (taken.of.label.as_str(), &taken.of.environment),
            ("web", web.id())
        );
        web.remove().unwrap();
        setting.ptest.collect(&EVERYTHING).unwrap();
        let again = setting.fork("web-1", "again");
        shell(&again, "test \"$(cat note)\" = 1; pip --version");
        assert_eq!(again.verify(Depth::Full).unwrap().problems, []);
        again.remove().unwrap();
        setting.ptest.remove_snapshot("web-1").unwrap();
        assert!(setting.ptest.collect(&EVERYTHING).unwrap().layers > 0);
        assert_eq!(setting.ptest.size().unwrap().layers, 0);
    });
}

#[test]
fn a_name_means_one_thing_and_one_that_ptest_made_is_not_made_again() {
    let setting = Setting::new(Some(Profile::None));
    let web = setting.create("web");
    let other = setting.create("web-2");
    let taken = |asked: Option<&str>| web.snapshot(asked.map(name)).map(|it| it.snapshot.name);
    assert_eq!(taken(None).unwrap().as_str(), "web-1");
    // An environment has the next.
    assert_eq!(taken(None).unwrap().as_str(), "web-3");
    for name in ["web-3", "web-1"] {
        setting.ptest.remove_snapshot(name).unwrap();
    }
    assert_eq!(taken(None).unwrap().as_str(), "web-4");
    assert_eq!(taken(Some("kept")).unwrap().as_str(), "kept");
    for held in ["kept", "web-2", "web"] {
        assert_eq!(
            taken(Some(held)).unwrap_err().kind(),
            ErrorKind::AlreadyExists,
            "{held}"
        );
    }
    let same = EnvironmentSpec {
        name: Some(name("kept")),
        ..setting.spec()
    };
    let error = setting.ptest.create(&same, &Silent).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.hint().unwrap().contains("ptest snapshot remove kept"));
    web.remove().unwrap();
    other.remove().unwrap();
}

#[test]
fn of_many_that_want_one_name_at_once_one_gets_it() {
    let setting = Setting::new(Some(Profile::None));
    let web = setting.create("web");
    let ids: Vec<_> = thread::scope(|scope| {
        let takers: Vec<_> = (0..8)
            .map(|number| {
                let (home, web) = (setting.ptest.store().home(), &web);
                scope.spawn(move || {
                    if number % 2 == 0 {
                        return web.snapshot(Some(name("same"))).is_ok();
                    }
                    let ptest = open(home);
                    ptest.fork("web", &[fork("same")]).is_ok()
                })
            })
            .collect();
        takers.into_iter().map(|it| it.join().unwrap()).collect()
    });
    assert_eq!(ids.iter().filter(|is_taken| **is_taken).count(), 1);
    let snapshots = setting.ptest.snapshots().unwrap().len();
    assert_eq!(snapshots + setting.ptest.records().unwrap().len(), 2);
    web.remove().unwrap();
    if let Ok(forked) = setting.ptest.find("same") {
        forked.remove().unwrap();
    }
}

#[test]
fn packages_go_below_what_commands_wrote() {
    with_either_driver(|setting| {
        let web = setting.create("web");
        shell(&web, "echo 1 > note");
        web.snapshot(Some(name("kept"))).unwrap();
        let copy = setting.fork("kept", "copy");
        assert_eq!(packages(&copy).len(), 1);
        shell(&copy, "echo 2 > other");
        at_rest(&copy);
        let changes = copy.uninstall(&["pip".to_owned()], &Silent).unwrap();
        assert_eq!(changes.len(), 1);
        assert_eq!(packages(&copy), []);
        shell(
            &copy,
            "test \"$(cat note other)\" = \"1\n2\"; test ! -e bin/pip",
        );
        at_rest(&copy);
        let more = Requirements {
            pip: true,
            ..Requirements::default()
        };
        copy.install(&more, &Silent).unwrap();
        shell(&copy, "test \"$(cat note other)\" = \"1\n2\"");
        at_rest(&copy);
        copy.restore("kept").unwrap();
        shell(
            &copy,
            "test \"$(cat note)\" = 1; test ! -e other; pip --version",
        );
        assert_eq!(copy.verify(Depth::Full).unwrap().problems, []);
        copy.remove().unwrap();
        web.remove().unwrap();
    });
}

#[test]
fn packages_that_commands_changed_are_seen_through_a_snapshot() {
    with_either_driver(|setting| {
        let web = setting.create("web");
        let [(pip, version)] = &packages(&web)[..] else {
            panic!("pip alone");
        };
        let metadata = "lib/python*/site-packages/pip-*.dist-info";
        shell(&web, &format!("rm -r {metadata}"));
        let gone = web.snapshot(Some(name("gone"))).unwrap().snapshot;
        assert_eq!(setting.ptest.distributions(&gone.stack).unwrap().len(), 1);
        let copy = setting.fork("gone", "copy");
        assert_eq!(packages(&copy), []);
        let error = copy.uninstall(&["pip".to_owned()], &Silent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IllegalState);
        let fresh = setting.create("fresh");
        let difference = setting.ptest.diff("gone", "fresh").unwrap();
        let came = PackageChange {
            name: pip.clone(),
            before: None,
            after: Some(version.clone()),
        };
        assert_eq!(difference.packages, [came]);
        assert!(!difference.files.is_empty());
        for file in &difference.files {
            assert!(file.before.is_none() && file.after.is_some(), "{file:?}");
        }
        for environment in [web, copy, fresh] {
            environment.remove().unwrap();
        }
    });
}

#[test]
fn a_difference_names_files_that_came_went_or_changed() {
    with_either_driver(|setting| {
        let web = setting.create("web");
        shell(
            &web,
            "echo 1 > same; echo 1 > changed; echo 1 > went; ln -s same link; echo 1 > mode",
        );
        web.snapshot(Some(name("before"))).unwrap();
        shell(
            &web,
            "touch -d 2001-01-01 same; echo 123 > changed; rm went; ln -sf changed link; chmod 700 mode; mkdir -p d/e; echo > d/e/came",
        );
        let files = setting.ptest.diff("before", "web").unwrap().files;
        let change = |path: &str, before, after| FileChange {
            path: path.into(),
            before,
            after,
        };
        let expected = [
            change("changed", Some(2), Some(4)),
            change("d/e/came", None, Some(1)),
            change("link", Some(4), Some(7)),
            change("mode", Some(2), Some(2)),
            change("went", Some(2), None),
        ];
        assert_eq!(files, expected);
        assert_eq!(setting.ptest.diff("web", "web").unwrap().files, []);
        web.remove().unwrap();
    });
}

#[test]
fn a_restore_that_cannot_be_leaves_the_environment_as_it_was() {
    let setting = Setting::new(Some(Profile::None));
    let ptest = &setting.ptest;
    let web = setting.create("web");
    shell(&web, "echo 1 > note");
    let taken = web.snapshot(Some(name("kept"))).unwrap().snapshot;
    shell(&web, "echo 2 > note");
    at_rest(&web);
    let before = web.record().unwrap();
    let assert_unchanged = || {
        let after = web.record().unwrap();
        assert_eq!(
            (after.stack, after.generation),
            (before.stack, before.generation)
        );
        shell(&web, "test \"$(cat note)\" = 2");
        at_rest(&web);
    };

    assert_eq!(web.restore("none").unwrap_err().kind(), ErrorKind::NotFound);
    assert_unchanged();

    let top = *ptest
        .store()
        .stack(&taken.stack)
        .unwrap()
        .layers()
        .last()
        .unwrap();
    let layer = ptest.store().layer_path(&top);
    let away = setting.directory.path().join("away");
    fs::rename(&layer, &away).unwrap();
    assert_eq!(web.restore("kept").unwrap_err().kind(), ErrorKind::Corrupt);
    assert_unchanged();
    fs::rename(&away, &layer).unwrap();

    let move_interpreter = |from: &str, to: &str| {
        let moved = ptest.store().database().write(|transaction| {
            transaction.execute(
                "UPDATE snapshots SET python = replace(python, ?1, ?2)",
                [from, to],
            )?;
            Ok::<_, ptest_store::Error>(())
        });
        moved.unwrap();
    };
    let executable = taken.python.executable.to_str().unwrap();
    move_interpreter(executable, "/gone/python");
    let error = web.restore("kept").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("/gone/python"), "{error}");
    assert_unchanged();
    move_interpreter("/gone/python", executable);

    web.restore("kept").unwrap();
    shell(&web, "test \"$(cat note)\" = 1");
    web.remove().unwrap();
}

#[test]
fn a_restore_that_would_end_a_command_is_refused_and_one_of_an_idle_environment_starts_it_again() {
    require!(requirement::userns());
    let setting = Setting::new(None);
    let web = setting.create("web");
    shell(&web, "echo 1 > note");
    web.snapshot(Some(name("kept"))).unwrap();
    shell(&web, "echo 2 > note");
    let sleeping = start(&web, "sleep 1000");
    assert_eq!(web.restore("kept").unwrap_err().kind(), ErrorKind::Busy);
    shell(&web, "test \"$(cat note)\" = 2");
    drop(sleeping);
    at_rest(&web);
    web.activate().unwrap();
    web.restore("kept").unwrap();
    assert_eq!(
        web.record().unwrap().state,
        ptest::environment::State::Active
    );
    shell(&web, "test \"$(cat note)\" = 1");
    web.remove().unwrap();
}

#[test]
fn who_reads_during_restores_sees_one_or_the_other() {
    let setting = Setting::new(Some(Profile::None));
    let web = setting.create("web");
    for text in ["1", "2"] {
        shell(&web, &format!("echo {text} > a; echo {text} > b"));
        web.snapshot(Some(name(&format!("s{text}")))).unwrap();
    }
    at_rest(&web);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..30 {
                web.restore(if round % 2 == 0 { "s1" } else { "s2" })
                    .unwrap();
            }
            done.store(true, Ordering::SeqCst);
        });
        while !done.load(Ordering::SeqCst) {
            let copy = setting.fork("web", "copy");
            shell(&copy, "test \"$(cat a)\" = \"$(cat b)\"");
            copy.remove().unwrap();
        }
    });
    web.remove().unwrap();
}

#[test]
fn a_damaged_layer_of_a_snapshot_is_made_again_unless_commands_wrote_it() {
    let setting = Setting::new(Some(Profile::None));
    let ptest = &setting.ptest;
    let web = setting.create("web");
    shell(&web, "echo 1 > note");
    let taken = web.snapshot(Some(name("kept"))).unwrap().snapshot;
    web.remove().unwrap();
    let stack = ptest.store().stack(&taken.stack).unwrap();
    let damage = |tree: &Path, file: &str| fs::write(tree.join(file), "damaged").unwrap();
    let [skeleton, .., top] = stack.layers() else {
        panic!("several layers");
    };
    damage(&ptest.store().layer_path(skeleton), "pyvenv.cfg");
    damage(&ptest.store().layer_path(top), "note");
    let damaged = ptest.verify_store(Depth::Full, &Silent).unwrap().damaged;
    assert_eq!(damaged.len(), 2);
    for layer in damaged {
        assert_eq!(
            (layer.environments, layer.snapshots),
            (vec![], vec!["kept".to_owned()])
        );
        match layer.outcome {
            Outcome::MadeAgain => assert_eq!(layer.id, *skeleton),
            Outcome::Failed(why) => {
                assert_eq!(layer.id, *top);
                assert!(why.to_string().contains("commands wrote"), "{why}");
            }
            Outcome::Unused => panic!("{}", layer.id),
        }
    }
}

#[test]
fn what_no_layer_can_hold_is_left_out_and_said() {
    let setting = Setting::new(Some(Profile::None));
    let web = setting.create("web");
    shell(&web, "mkfifo pipe; echo 1 > note; chmod u+s note");
    let mut left_out = web.snapshot(None).unwrap().left_out;
    left_out.sort();
    assert_eq!(
        left_out,
        [
            "note is kept without the set-user-id bit",
            "pipe is left out: a FIFO"
        ]
    );
    shell(&web, "test -p pipe; test -u note");
    web.remove().unwrap();
}

#[test]
fn a_snapshot_says_what_it_was_made_of() {
    let setting = Setting::new(Some(Profile::None));
    let empty = setting
        .ptest
        .create(&spec(setting.directory.path()), &Silent)
        .unwrap();
    let taken = empty.snapshot(None).unwrap().snapshot;
    // Nothing was written: it is the environment's own stack.
    assert_eq!(taken.stack, empty.record().unwrap().stack);
    let web = setting.create("web");
    let taken = web.snapshot(None).unwrap().snapshot;
    let record = web.record().unwrap();
    assert_eq!(
        (&taken.recipe, &taken.python),
        (&record.recipe, &*record.python)
    );
    assert_eq!(taken.requirements, *record.requirements);
    assert_ne!(taken.author, "");
    let [pip] = &setting.ptest.distributions(&taken.stack).unwrap()[..] else {
        panic!("pip alone");
    };
    assert_eq!((pip.name.as_str(), pip.sha256.len()), ("pip", 64));
    assert_eq!(setting.ptest.snapshots().unwrap().last(), Some(&taken));
    web.remove().unwrap();
    empty.remove().unwrap();
}
