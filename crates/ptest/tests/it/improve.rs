//! Bytecode that is compiled once, and stacks that become one layer.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use ptest::progress::Silent;
use ptest::{Collection, Depth, Environment, EnvironmentSpec, Improved, Ptest, Requirements};
use ptest_store::Stack;
use ptest_testkit::{require, requirement};
use walkdir::WalkDir;

use crate::context::{open, with_pip};
use crate::snapshots::shell;

/// The least that has modules and can be mounted.
fn mounted(project: &Path) -> EnvironmentSpec {
    let mut spec = with_pip(project);
    spec.settings.profile = None;
    spec
}

fn serving(ptest: &Ptest, environment: &Environment) -> Option<Stack> {
    let stack = environment.record().unwrap().stack;
    let read = |connection: &_| Stack::serving(connection, &stack);
    ptest.store().database().read(read).unwrap()
}

fn collect(ptest: &Ptest) -> usize {
    let everything = Collection {
        older_than: Duration::ZERO,
        keep_size: None,
        dry_run: false,
    };
    ptest.collect(&everything).unwrap().layers
}

/// What was written in an environment while pip was imported in it.
fn written_by_an_import(environment: &Environment) -> usize {
    shell(environment, "python -c 'import pip._internal.cli.main'");
    let record = environment.record().unwrap();
    environment.changes(&record).unwrap().len()
}

#[test]
fn what_piles_up_to_be_deleted_is_deleted_where_nobody_waits() {
    let directory = tempfile::tempdir().unwrap();
    let ptest = open(&directory.path().join("store"));
    let trash = ptest.store().home().join("trash");
    let throw_away = |count: usize| {
        for number in 0..count {
            fs::write(trash.join(number.to_string()), "").unwrap();
        }
    };
    throw_away(10);
    assert!(!ptest.can_improve().unwrap());
    throw_away(100);
    assert!(ptest.can_improve().unwrap());
    ptest.improve(&Silent).unwrap();
    assert!(!ptest.can_improve().unwrap());
    assert_eq!(fs::read_dir(&trash).unwrap().count(), 0);
}

#[test]
fn no_environment_compiles_what_was_compiled() {
    require!(requirement::userns());
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ptest = open(&directory.path().join("store"));
    let first = ptest.create(&mounted(directory.path()), &Silent).unwrap();
    assert!(!ptest.can_improve().unwrap());
    assert!(written_by_an_import(&first) > 0);
    assert!(ptest.can_improve().unwrap());
    let improved = ptest.improve(&Silent).unwrap();
    assert_eq!((improved.compiled, improved.flattened), (1, 0));
    assert!(!ptest.can_improve().unwrap());
    assert_eq!(ptest.improve(&Silent).unwrap(), Improved::default());

    let second = ptest.create(&mounted(directory.path()), &Silent).unwrap();
    let (old, new) = (first.record().unwrap(), second.record().unwrap());
    assert_eq!((&old.stack, &old.recipe), (&new.stack, &new.recipe));
    assert_eq!(written_by_an_import(&second), 0);
    // It was compiled for the place where it is.
    let code = "import pip; assert pip.__file__ == pip.main.__code__.co_filename";
    shell(&second, &format!("python -c '{code}'"));
    shell(
        &second,
        "test -f lib/python*/site-packages/pip/__pycache__/__main__.*.pyc",
    );
    assert_eq!(second.verify(Depth::Full).unwrap().problems, []);
    // A package that is changed is compiled anew.
    shell(
        &second,
        "echo 'print(7)' | tee -a lib/python*/site-packages/pip/__init__.py",
    );
    shell(&second, "test \"$(python -c 'import pip')\" = 7");
    first.remove().unwrap();
    second.remove().unwrap();
}

#[test]
fn a_stack_that_is_used_often_becomes_one_layer_and_stays_what_it_is() {
    require!(requirement::userns());
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ptest = open(&directory.path().join("store"));
    let web = ptest.create(&mounted(directory.path()), &Silent).unwrap();
    shell(&web, "echo 1 > note");
    web.snapshot(Some("kept".parse().unwrap())).unwrap();
    let before = web.record().unwrap();
    for _ in 0..3 {
        web.deactivate(Duration::ZERO).unwrap();
        web.activate().unwrap();
    }
    assert_eq!(ptest.improve(&Silent).unwrap().flattened, 1);
    assert_eq!(serving(&ptest, &web).unwrap().layers().len(), 1);
    web.deactivate(Duration::ZERO).unwrap();
    let after = web.record().unwrap();
    assert_eq!((before.stack, before.recipe), (after.stack, after.recipe));
    shell(&web, "test \"$(cat note)\" = 1; pip --version");
    assert_eq!(web.verify(Depth::Full).unwrap().problems, []);
    let taken = web.snapshot(Some("later".parse().unwrap())).unwrap();
    let later = taken.snapshot;
    // What is made of it begins with that one layer, and with what was written on top.
    let mut forked = ptest
        .fork("later", &[crate::snapshots::fork("copy")])
        .unwrap();
    let copy = forked.environments.remove(0);
    assert_eq!(copy.record().unwrap().stack, later.stack);
    assert_eq!(serving(&ptest, &copy).unwrap().layers().len(), 2);
    shell(&copy, "test \"$(cat note)\" = 1; pip --version");
    web.remove().unwrap();
    copy.remove().unwrap();
}

#[test]
fn what_was_improved_is_collected_with_what_it_was_made_of_and_not_before() {
    require!(requirement::userns());
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ptest = open(&directory.path().join("store"));
    let web = ptest.create(&mounted(directory.path()), &Silent).unwrap();
    for _ in 0..3 {
        web.activate().unwrap();
        web.deactivate(Duration::ZERO).unwrap();
    }
    ptest.improve(&Silent).unwrap();
    let layers = ptest.store().layers().unwrap().len();
    assert_eq!(collect(&ptest), 0);
    assert_eq!(written_by_an_import(&web), 0);
    web.remove().unwrap();
    assert_eq!(collect(&ptest), layers);
    assert_eq!(ptest.store().layers().unwrap(), []);
    let again = ptest.create(&mounted(directory.path()), &Silent).unwrap();
    assert!(written_by_an_import(&again) > 0);
    ptest.improve(&Silent).unwrap();
    again.remove().unwrap();
}

/// Every bytecode file of a tree, with what tells it from one that was written anew.
fn bytecode(tree: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let files = WalkDir::new(tree).into_iter().map(Result::unwrap);
    let files = files.filter(|file| file.path().extension().is_some_and(|it| it == "pyc"));
    files
        .map(|file| {
            let facts = file.metadata().unwrap();
            let mark = (facts.ino(), facts.modified().unwrap());
            (file.into_path(), mark)
        })
        .collect()
}

/// Says which files the functions of a module are from.
const FILES_OF_CODE: &str = "
import types
import pip._internal.utils.misc as module

def codes(code):
    yield code
    for within in code.co_consts:
        if isinstance(within, types.CodeType):
            yield from codes(within)

functions = [it for it in vars(module).values() if getattr(it, '__module__', None) == module.__name__]
plain = [it for it in functions if isinstance(it, types.FunctionType) and not hasattr(it, '__wrapped__')]
print(*{code.co_filename for it in plain for code in codes(it.__code__)})
";

/// Runs code with the Python of a virtual environment that is on its own.
fn python(tree: &Path, code: &str) -> String {
    let mut command = Command::new(tree.join("bin/python"));
    let output = command.args(["-c", code]).env_clear().output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A store, and a directory for virtual environments with pip that are on their own.
struct Copies {
    ptest: Ptest,
    requirements: Requirements,
    directory: tempfile::TempDir,
}

impl Copies {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        Self {
            ptest: open(&directory.path().join("store")),
            requirements: with_pip(directory.path()).requirements,
            directory,
        }
    }

    fn make(&self, name: &str) -> PathBuf {
        let place = self.directory.path().join(name);
        let made = self
            .ptest
            .materialize(None, &self.requirements, &place, &Silent);
        made.unwrap();
        place
    }
}

#[test]
fn a_plain_virtual_environment_has_what_was_compiled_and_python_takes_it() {
    require!(requirement::userns());
    let copies = Copies::new();
    let import = "import pip._internal.cli.main";

    let first = copies.make("first");
    assert!(bytecode(&first).is_empty());
    python(&first, import);
    assert!(!bytecode(&first).is_empty());
    // However often it is copied, one layer would make no difference.
    copies.make("second");
    copies.make("third");
    let improved = copies.ptest.improve(&Silent).unwrap();
    assert_eq!((improved.compiled, improved.flattened), (1, 0));

    let plain = copies.make("plain");
    let before = bytecode(&plain);
    assert!(!before.is_empty());
    python(&plain, import);
    assert_eq!(bytecode(&plain), before);
    // Tracebacks name the files that are there, also of what is within a function.
    let said = python(&plain, FILES_OF_CODE);
    let misc = before.keys().find_map(|path| {
        let source = path.parent()?.parent()?.join("misc.py");
        source.ends_with("utils/misc.py").then_some(source)
    });
    assert_eq!(said.trim_end(), misc.unwrap().to_str().unwrap());
    // What is imported is what the source says.
    let site = before.keys().find_map(|path| {
        let mut above = path.ancestors();
        above.find(|place| place.ends_with("site-packages"))
    });
    let source = site.unwrap().join("pip/__init__.py");
    fs::write(&source, "print(7)").unwrap();
    assert_eq!(python(&plain, "import pip"), "7\n");
}

#[test]
fn a_plain_virtual_environment_needs_no_bytecode() {
    require!(requirement::userns());
    let copies = Copies::new();
    let ptest = &copies.ptest;
    copies.make("first");
    let layers = ptest.store().layers().unwrap();
    ptest.improve(&Silent).unwrap();
    let companions = ptest.store().layers().unwrap().into_iter();
    for companion in companions.filter(|layer| !layers.contains(layer)) {
        fs::remove_dir_all(ptest.store().layer_path(&companion.id)).unwrap();
    }
    let plain = copies.make("plain");
    assert!(bytecode(&plain).is_empty());
    python(&plain, "import pip._internal.cli.main");
}

#[test]
fn a_damaged_companion_costs_time_and_nothing_else() {
    require!(requirement::userns());
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let ptest = open(&directory.path().join("store"));
    let web = ptest.create(&mounted(directory.path()), &Silent).unwrap();
    web.activate().unwrap();
    web.deactivate(Duration::ZERO).unwrap();
    ptest.improve(&Silent).unwrap();
    let own = ptest.store().stack(&web.record().unwrap().stack).unwrap();
    let serving = serving(&ptest, &web).unwrap();
    let companion = serving
        .layers()
        .iter()
        .find(|layer| !own.layers().contains(layer))
        .unwrap();
    fs::remove_dir_all(ptest.store().layer_path(companion)).unwrap();
    assert!(written_by_an_import(&web) > 0);
    let damaged = ptest.verify_store(Depth::Full, &Silent).unwrap().damaged;
    assert_eq!(damaged.len(), 1);
    web.remove().unwrap();
}

#[test]
fn of_many_that_improve_at_once_one_does() {
    require!(requirement::userns());
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let web = ptest.create(&mounted(directory.path()), &Silent).unwrap();
    web.activate().unwrap();
    let compiled: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| open(&home).improve(&Silent).unwrap().compiled))
            .collect();
        let workers = workers.into_iter();
        workers.map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(compiled, 1);
    web.remove().unwrap();
    let envs = fs::read_dir(home.join("envs")).unwrap().count();
    assert_eq!(envs, 0);
}
