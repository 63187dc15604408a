//! Many processes at once, against a model in memory: each keeps stacks of its own, all make the same layers, and
//! what nobody keeps is collected all the time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Stdio;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use ptest_store::rusqlite::Connection;
use ptest_store::{CommitOptions, Depth, Error, LayerId, Source, Stack, StackId, Store, Verdict};

use crate::support::tree::{Children, any_tree, flat, flat_view, merge, read, write};
use crate::support::{TestStore, again, assert_consistent, names};

const PROCESSES: u8 = 32;

/// How many operations each process does; 1,000 is a campaign of some minutes.
const OPERATIONS: &str = "PTEST_STORE_TEST_OPERATIONS";

/// The table of what is kept.
const TABLE: &str = "CREATE TABLE kept (process INTEGER, place INTEGER, stack BLOB NOT NULL, \
                     PRIMARY KEY (process, place)) STRICT, WITHOUT ROWID";

/// How many trees there are in all: few, so that processes meet.
const TREES: usize = 10;

/// A place in which a process may keep a stack.
type Place = u8;

#[derive(Clone, Debug)]
enum Operation {
    /// Makes the layers of these trees where they are not there, and keeps a stack of them.
    Keep(Place, Vec<usize>),
    Drop(Place),
    /// Compares what the store says of a kept stack with the model.
    Resolve(Place),
    /// Copies a kept stack out and compares the files.
    Clone(Place),
    Verify(usize),
    Collect,
    Recover,
    EmptyTrash,
}

/// What a process keeps, were everything in memory.
#[derive(Default)]
struct Model {
    kept: BTreeMap<Place, Vec<usize>>,
}

impl Model {
    fn apply(&mut self, operation: &Operation) {
        match operation {
            Operation::Keep(place, trees) => {
                self.kept.insert(*place, trees.clone());
            }
            Operation::Drop(place) => {
                self.kept.remove(place);
            }
            _ => {}
        }
    }
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let place = 0..3u8;
    prop_oneof![
        4 => (place.clone(), proptest::collection::vec(0..TREES, 1..4))
            .prop_map(|(place, trees)| Operation::Keep(place, trees)),
        2 => place.clone().prop_map(Operation::Drop),
        2 => place.clone().prop_map(Operation::Resolve),
        1 => place.prop_map(Operation::Clone),
        1 => (0..TREES).prop_map(Operation::Verify),
        2 => Just(Operation::Collect),
        1 => Just(Operation::Recover),
        1 => Just(Operation::EmptyTrash),
    ]
}

/// A value that is the same in every process.
fn drawn<T>(strategy: impl Strategy<Value = T>, seed: u8) -> T {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    strategy.new_tree(&mut runner).unwrap().current()
}

fn trees() -> Vec<Children> {
    drawn(proptest::collection::vec(any_tree(true), TREES), u8::MAX)
}

fn operations(process: u8) -> Vec<Operation> {
    let count = std::env::var(OPERATIONS).map_or(20, |text| text.parse().unwrap());
    drawn(proptest::collection::vec(any_operation(), count), process)
}

fn shown(trees: &[Children], kept: &[usize]) -> Children {
    // A tree that is in a stack twice is at its highest place.
    let highest = |at: usize| !kept[at + 1..].contains(&kept[at]);
    let order = (0..kept.len()).filter(|at| highest(*at));
    order.fold(Children::new(), |below, at| merge(&below, &trees[kept[at]]))
}

/// One of the processes.
struct Worker<'a> {
    process: u8,
    store: &'a Store,
    trees: &'a [Children],
    model: Model,
}

impl Worker<'_> {
    fn run(&mut self, operation: &Operation) {
        match operation {
            Operation::Keep(place, trees) => self.keep(*place, trees),
            Operation::Drop(place) => {
                self.write("DELETE FROM kept WHERE process = ?1 AND place = ?2", *place);
            }
            Operation::Resolve(place) => self.resolve(*place),
            Operation::Clone(place) => self.clone_out(*place),
            Operation::Verify(tree) => self.verify(*tree),
            Operation::Collect => collect(self.store),
            Operation::Recover => {
                let recovered = self.store.recover().unwrap();
                assert_eq!(recovered.lost, []);
                assert_eq!(recovered.foreign, Vec::<std::path::PathBuf>::new());
            }
            Operation::EmptyTrash => {
                self.store.empty_trash().unwrap();
            }
        }
        self.model.apply(operation);
    }

    fn keep(&self, place: Place, trees: &[usize]) {
        loop {
            let stack: Stack = trees.iter().map(|tree| self.layer(*tree)).collect();
            let kept = self.store.database().write(|transaction| {
                let id = stack.insert(transaction)?;
                transaction.execute(
                    "INSERT OR REPLACE INTO kept VALUES (?1, ?2, ?3)",
                    (self.process, place, id),
                )?;
                Ok::<_, Error>(())
            });
            match kept {
                // Collected before it was kept: it is made again.
                Err(Error::LayerMissing { .. }) => {}
                kept => return kept.unwrap(),
            }
        }
    }

    fn layer(&self, tree: usize) -> LayerId {
        let staging = self.store.stage().unwrap();
        write(
            staging.path(),
            &self.trees[tree],
            self.process.is_multiple_of(2),
        );
        let options = CommitOptions {
            source: Source::OverlayUpper,
            ..CommitOptions::default()
        };
        self.store.commit(staging, options).unwrap().layer.id
    }

    /// The stack of a place where something is kept, and what it shows in the model.
    fn kept(&self, place: Place) -> Option<(Stack, Children)> {
        let expected = shown(self.trees, self.model.kept.get(&place)?);
        let id: StackId = self
            .store
            .database()
            .read(|connection| {
                let sql = "SELECT stack FROM kept WHERE process = ?1 AND place = ?2";
                Ok::<_, Error>(connection.query_row(sql, (self.process, place), |row| row.get(0))?)
            })
            .unwrap();
        Some((self.store.stack(&id).unwrap(), expected))
    }

    fn resolve(&self, place: Place) {
        if let Some((stack, expected)) = self.kept(place) {
            assert_eq!(
                flat_view(&self.store.resolve(&stack).unwrap()),
                flat(&expected)
            );
            assert!(
                self.store
                    .stack_paths(&stack)
                    .unwrap()
                    .iter()
                    .all(|path| path.is_dir())
            );
        }
    }

    fn clone_out(&self, place: Place) {
        if let Some((stack, expected)) = self.kept(place) {
            let name = format!("{}-{place}", self.process);
            let copy = self.store.dir("envs").unwrap().join(name);
            self.store.clone_tree(&stack, &copy, None).unwrap();
            assert_eq!(read(&copy), expected);
            self.store.trash(&copy).unwrap();
        }
    }

    /// A layer that a row keeps is sound at every moment.
    fn verify(&self, nth: usize) {
        let Some((stack, _)) = self.kept((nth % 3) as Place) else {
            return;
        };
        for id in stack.layers() {
            assert_eq!(self.store.verify(id, Depth::Full).unwrap(), Verdict::Sound);
        }
    }

    fn write(&self, sql: &str, place: Place) {
        let written = self.store.database().write(|transaction| {
            transaction.execute(sql, (self.process, place))?;
            Ok::<_, Error>(())
        });
        written.unwrap();
    }
}

fn used(connection: &Connection) -> Result<BTreeSet<LayerId>, Error> {
    let mut select = connection.prepare("SELECT DISTINCT stack FROM kept")?;
    let ids: Vec<StackId> = select
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut used = BTreeSet::new();
    for id in ids {
        used.extend(Stack::find(connection, &id)?.unwrap().layers().to_vec());
    }
    Ok(used)
}

fn collect(store: &Store) {
    let collected = store.collect::<Error>(|transaction, layers| {
        let used = used(transaction)?;
        Ok(layers
            .into_iter()
            .filter(|layer| !used.contains(&layer.id))
            .collect())
    });
    collected.unwrap();
}

fn work(process: u8, home: &Path) {
    let store = Store::open(home).unwrap();
    let mut worker = Worker {
        process,
        store: &store,
        trees: &trees(),
        model: Model::default(),
    };
    for operation in operations(process) {
        worker.run(&operation);
    }
    for place in 0..3 {
        worker.resolve(place);
    }
}

#[test]
fn any_number_of_processes_keep_what_the_model_keeps_while_the_rest_is_collected() {
    if let Some(argument) = again::argument() {
        let (process, home) = argument.split_once(' ').unwrap();
        return work(process.parse().unwrap(), home.as_ref());
    }
    let name =
        "processes::any_number_of_processes_keep_what_the_model_keeps_while_the_rest_is_collected";
    let test = TestStore::new();
    let database = test.store.database();
    database.migrate("kept", &[TABLE]).unwrap();
    let home = test.store.home().display();
    let running: Vec<_> = (0..PROCESSES)
        .map(|process| {
            let mut command = again::test(name, &format!("{process} {home}"));
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for process in running {
        again::assert_success(&process.wait_with_output().unwrap());
    }

    let trees = trees();
    let mut expected = BTreeMap::new();
    for process in 0..PROCESSES {
        let mut model = Model::default();
        for operation in &operations(process) {
            model.apply(operation);
        }
        for (place, kept) in model.kept {
            expected.insert((process, place), flat(&shown(&trees, &kept)));
        }
    }
    let kept: Vec<(u8, Place, StackId)> = database
        .read(|connection| {
            let mut select = connection.prepare("SELECT process, place, stack FROM kept")?;
            let rows = select.query_map([], |row| row.try_into())?;
            Ok::<_, Error>(rows.collect::<Result<_, _>>()?)
        })
        .unwrap();
    let found: BTreeMap<_, _> = kept
        .into_iter()
        .map(|(process, place, stack)| {
            let stack = test.store.stack(&stack).unwrap();
            (
                (process, place),
                flat_view(&test.store.resolve(&stack).unwrap()),
            )
        })
        .collect();
    assert_eq!(found, expected);

    collect(&test.store);
    let used = database.read(used).unwrap();
    let layers: BTreeSet<_> = test
        .store
        .layers()
        .unwrap()
        .iter()
        .map(|layer| layer.id)
        .collect();
    assert_eq!(layers, used);
    test.store.recover().unwrap();
    assert_consistent(&test.store);
    test.store.empty_trash().unwrap();
    assert_eq!(names(test.store.home().join("trash")), Vec::<String>::new());
    assert!(
        fs::read_dir(test.store.dir("envs").unwrap())
            .unwrap()
            .next()
            .is_none()
    );
}
