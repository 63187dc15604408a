//! A process killed between any two effects: what the next one finds.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use ptest_store::faults::{self, Fault};
use ptest_store::{
    CommitOptions, Compression, Error, ImportLimits, LayerId, Package, Result, Stack, Store,
    TreePath,
};
use rustix::io::Errno;

use crate::support::{again, assert_consistent, commit, names, tree};

fn sample(root: &Path) {
    fs::create_dir(root.join("d")).unwrap();
    for name in ["d/f", "g"] {
        fs::write(root.join(name), "x").unwrap();
        let file = fs::File::options()
            .write(true)
            .open(root.join(name))
            .unwrap();
        file.set_modified(tree::time(1_000)).unwrap();
    }
}

/// Every operation that writes, one after the other.
fn work(home: &Path) -> Result<()> {
    let store = Store::open(home)?;
    let staging = store.stage()?;
    sample(staging.path());
    let layer = store.commit(staging, CommitOptions::default())?.layer;
    let staging = store.stage()?;
    fs::write(staging.path().join("h"), "y").unwrap();
    let prepared = store.prepare(staging, CommitOptions::default())?;
    let top = prepared.sync()?.publish()?.layer;
    let both = Stack::new([layer.id, top.id]);
    let flat = Stack::new([store.flatten(&both)?.id]);
    let [from, to] = [b"d", b"e"].map(|name| TreePath::new(name.as_slice()).unwrap());
    store.moved(&layer.id, &from, &to)?;
    let database = store.database();
    database.write(|transaction| flat.serve(transaction, &both.id()))?;
    let stack = Stack::new([layer.id]);
    store.put_stack(&stack)?;
    let file = home.with_extension("package");
    export(&store, &stack, &file)?;
    let env = store.dir("envs")?.join("one");
    store.clone_tree(&stack, &env, None)?;
    store.quarantine(&layer.id)?;
    store.import(&file, &ImportLimits::default())?;
    drop(store);
    rebuild(home)?;
    let store = Store::open(home)?;
    store.collect::<Error>(|_, layers| Ok(layers))?;
    store.trash(&env)
}

fn rebuild(home: &Path) -> Result<()> {
    let rebuilding = Store::rebuild(home)?;
    rebuilding.salvage()?;
    rebuilding.finish().map(drop)
}

fn export(store: &Store, stack: &Stack, file: &Path) -> Result<()> {
    let prefix = TreePath::new(b"env".as_slice()).unwrap();
    let mut out = fs::File::create(file).unwrap();
    let package = Package::new(stack.clone(), prefix);
    store.export(&package, Compression::Zstd, &mut out)?;
    Ok(())
}

/// What the work leaves, wherever it ended, is served right or not at all, can be done again, and
/// is put in order by recovery.
fn assert_harmless(home: &Path, expected: LayerId, how: &str) {
    let store = Store::open(home).unwrap_or_else(|error| {
        // Nobody makes an empty one where one was being made anew.
        assert!(how.starts_with("rebuild."), "{how}: {error:?}");
        assert!(
            matches!(error, Error::DatabaseLost { .. }),
            "{how}: {error:?}"
        );
        rebuild(home).unwrap();
        let store = Store::open(home).unwrap();
        assert_eq!(store.layers().unwrap().len(), 4, "{how}");
        assert!(!home.join("ptest.db-unfinished").exists(), "{how}");
        store
    });
    for layer in store.layers().unwrap() {
        // Served or refused, but never wrong.
        if let Ok(Some(_)) = store.layer(&layer.id) {
            let path = store.layer_path(&layer.id);
            let names = names(&path);
            let whole: [&[&str]; 4] = [&["d", "g"], &["e", "g"], &["h"], &["d", "g", "h"]];
            assert!(whole.iter().any(|it| names == *it), "{how}: {names:?}");
        }
    }
    // Before any recovery, the work can be done again.
    assert_eq!(
        commit(&store, CommitOptions::default(), sample).id,
        expected,
        "{how}"
    );
    assert!(store.stack_paths(&Stack::new([expected])).is_ok());

    store.recover().unwrap();
    assert_consistent(&store);
    let envs = store.dir("envs").unwrap();
    assert!(names(&envs).iter().all(|name| name == "one"), "{how}");
    if envs.join("one").exists() {
        assert_eq!(names(envs.join("one")), ["d", "g"], "{how}");
    }
    let emptied = store.empty_trash().unwrap();
    assert!(emptied.failed.is_empty());
    assert_eq!(names(home.join("trash")), Vec::<String>::new());
    let left: Vec<String> = names(home)
        .into_iter()
        .filter(|name| name.contains("store.") || name.contains(".new-"))
        .collect();
    assert_eq!(left, Vec::<String>::new(), "{how}");
}

fn expected() -> LayerId {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    commit(&store, CommitOptions::default(), sample).id
}

#[test]
fn a_process_killed_at_any_step_leaves_nothing_that_is_served_wrong() {
    let name = "faults::a_process_killed_at_any_step_leaves_nothing_that_is_served_wrong";
    if let Some(argument) = again::argument() {
        let (step, home) = argument.split_once(' ').unwrap();
        faults::at(step, Fault::Abort);
        return work(home.as_ref()).unwrap();
    }
    let expected = expected();
    for step in faults::STEPS {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("störe");
        let output = again::test(name, &format!("{step} {}", home.display()))
            .output()
            .unwrap();
        // Each step is reached: a list that names one too many would test nothing there.
        assert_eq!(output.status.signal(), Some(6), "{step}: {output:?}");
        assert_harmless(&home, expected, step);
    }
}

#[test]
fn a_failure_at_any_step_is_said_and_leaves_nothing_that_is_served_wrong() {
    let name = "faults::a_failure_at_any_step_is_said_and_leaves_nothing_that_is_served_wrong";
    if let Some(argument) = again::argument() {
        let mut words = argument.splitn(3, ' ');
        let [step, errno, home] = std::array::from_fn(|_| words.next().unwrap());
        let errno: i32 = errno.parse().unwrap();
        faults::at(step, Fault::Errno(errno));
        let error = work(home.as_ref()).unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        let source: &std::io::Error = source.downcast_ref().unwrap();
        assert_eq!(source.raw_os_error(), Some(errno), "{error}");
        return;
    }
    let expected = expected();
    for errno in [Errno::IO, Errno::NOSPC] {
        for step in faults::STEPS {
            let dir = tempfile::tempdir().unwrap();
            let home = dir.path().join("störe");
            let argument = format!("{step} {} {}", errno.raw_os_error(), home.display());
            again::assert_success(&again::test(name, &argument).output().unwrap());
            assert_harmless(&home, expected, &format!("{step}: {errno}"));
        }
    }
}

#[test]
fn a_panic_at_any_step_leaves_nothing_that_is_served_wrong() {
    let name = "faults::a_panic_at_any_step_leaves_nothing_that_is_served_wrong";
    if let Some(argument) = again::argument() {
        let (step, home) = argument.split_once(' ').unwrap();
        faults::at(step, Fault::Panic);
        let home = home.to_owned();
        assert!(std::panic::catch_unwind(|| work(home.as_ref())).is_err());
        return;
    }
    let expected = expected();
    for step in faults::STEPS {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("störe");
        let output = again::test(name, &format!("{step} {}", home.display())).output();
        again::assert_success(&output.unwrap());
        assert_harmless(&home, expected, step);
    }
}

#[test]
fn a_process_killed_before_recovery_is_finished_by_recovery_alone() {
    let name = "faults::a_process_killed_before_recovery_is_finished_by_recovery_alone";
    if let Some(argument) = again::argument() {
        let (step, home) = argument.split_once(' ').unwrap();
        let store = Store::open(home.as_ref()).unwrap();
        faults::at(step, Fault::Abort);
        commit(&store, CommitOptions::default(), sample);
        return;
    }
    for (step, adopted, abandoned) in [
        ("stage.wrapper", 0, 1),
        ("commit.scanned", 0, 1),
        ("commit.applied", 0, 1),
        ("commit.manifest-staged", 0, 1),
        ("commit.tree-renamed", 1, 1),
        ("commit.manifest-renamed", 1, 1),
        ("commit.row", 0, 1),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let output = again::test(name, &format!("{step} {}", dir.path().display()))
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(6), "{step}: {output:?}");
        let recovered = store.recover().unwrap();
        assert_eq!(recovered.adopted.len(), adopted, "{step}");
        assert_eq!(recovered.abandoned, abandoned, "{step}");
        assert_consistent(&store);
    }
}

#[test]
fn an_import_that_is_killed_is_done_by_the_next_one_and_leaves_nothing_else() {
    let name = "faults::an_import_that_is_killed_is_done_by_the_next_one_and_leaves_nothing_else";
    if let Some(argument) = again::argument() {
        let mut words = argument.splitn(3, ' ');
        let [step, file, home] = std::array::from_fn(|_| words.next().unwrap());
        let store = Store::open(home.as_ref()).unwrap();
        faults::at(step, Fault::Abort);
        store
            .import(file.as_ref(), &ImportLimits::default())
            .unwrap();
        return;
    }
    let origin = crate::support::TestStore::new();
    let stack = Stack::new([
        origin.commit(sample).id,
        origin
            .commit(|root| fs::create_dir(root.join("e")).unwrap())
            .id,
    ]);
    let file = tempfile::NamedTempFile::new().unwrap();
    export(&origin.store, &stack, file.path()).unwrap();
    // What appears before the kill: nothing, or whole layers from the bottom.
    for (step, layers) in [
        ("stage.wrapper", 0),
        ("import.unpacked", 0),
        ("commit.scanned", 0),
        ("commit.manifest-staged", 0),
        ("import.prepared", 0),
        ("commit.row", 1),
        ("import.published", 1),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let argument = format!("{step} {} {}", file.path().display(), dir.path().display());
        let output = again::test(name, &argument).output().unwrap();
        assert_eq!(output.status.signal(), Some(6), "{step}: {output:?}");
        assert_eq!(store.layers().unwrap().len(), layers, "{step}");
        store.recover().unwrap();
        assert_consistent(&store);
        let imported = store.import(file.path(), &ImportLimits::default()).unwrap();
        assert_eq!(imported.package.stack, stack, "{step}");
        assert_eq!(imported.shared.len(), layers, "{step}");
        assert_consistent(&store);
    }
}

#[test]
fn an_upper_whose_publication_was_cut_off_is_where_what_was_recorded_with_it_says() {
    let name =
        "faults::an_upper_whose_publication_was_cut_off_is_where_what_was_recorded_with_it_says";
    if let Some(argument) = again::argument() {
        let (step, home) = argument.split_once(' ').unwrap();
        let store = Store::open(home.as_ref()).unwrap();
        let prepared = prepare_whole(&store);
        faults::at(step, Fault::Abort);
        let published = prepared.sync().unwrap().publish_with(|transaction, _| {
            transaction.execute("INSERT INTO journal VALUES (1)", [])?;
            Ok::<_, Error>(())
        });
        published.unwrap();
        return;
    }
    // With what another process's recovery does in between, and without.
    for (step, is_recovered) in [
        ("commit.synced", false),
        ("commit.tree-renamed", false),
        ("commit.tree-renamed", true),
        ("commit.manifest-renamed", false),
        ("commit.manifest-renamed", true),
        ("commit.row", false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let journal = "CREATE TABLE journal (done INTEGER)";
        let made = store.database().write(|transaction| {
            transaction.execute(journal, [])?;
            Ok::<_, Error>(())
        });
        made.unwrap();
        let argument = format!("{step} {}", dir.path().display());
        let output = again::test(name, &argument).output().unwrap();
        assert_eq!(output.status.signal(), Some(6), "{step}: {output:?}");
        if is_recovered {
            assert_eq!(store.recover().unwrap().adopted.len(), 1, "{step}");
        }
        let is_recorded = store.database().read(|connection| {
            let rows = connection.query_row("SELECT count(*) FROM journal", [], |row| row.get(0));
            Ok::<i64, Error>(rows?)
        });
        let is_recorded = is_recorded.unwrap() == 1;
        assert_eq!(is_recorded, step == "commit.row");
        let upper = store.home().join("envs/upper");
        let id = upper_id();
        // Once more changes nothing.
        for _ in 0..2 {
            store.settle_tree(&id, &upper, is_recorded).unwrap();
            assert_eq!(upper.exists(), !is_recorded, "{step}");
        }
        assert_eq!(
            store.layers().unwrap().len(),
            usize::from(is_recorded || is_recovered)
        );
        if !is_recorded {
            // It is nobody else's.
            fs::write(upper.join("g"), "changed").unwrap();
            assert_eq!(names(&upper), ["d", "g"], "{step}");
        }
        store.recover().unwrap();
        assert_consistent(&store);
    }
}

#[test]
fn an_upper_whose_row_reached_the_disk_before_its_move_did_is_moved() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let upper = store.home().join("envs/upper");
    let layer = prepare_whole(&store)
        .sync()
        .unwrap()
        .publish()
        .unwrap()
        .layer;
    assert!(layer.synced);
    fs::rename(store.layer_path(&layer.id), &upper).unwrap();
    fs::remove_file(store.home().join("manifests").join(layer.id.to_string())).unwrap();
    store.settle_tree(&layer.id, &upper, true).unwrap();
    assert!(!upper.exists());
    assert_eq!(names(store.layer_path(&layer.id)), ["d", "g"]);
    assert_consistent(&store);
}

#[test]
fn recovery_leaves_what_a_journal_names_even_if_it_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let id = prepare_whole(&store).id();
    let (upper, place) = (store.home().join("envs/upper"), store.layer_path(&id));
    fs::rename(&upper, &place).unwrap();
    fs::write(place.join("g"), "damaged").unwrap();
    assert_eq!(store.recover_but(&[id]).unwrap().strays, 0);
    store.settle_tree(&id, &upper, false).unwrap();
    assert_eq!(fs::read_to_string(upper.join("g")).unwrap(), "damaged");
    assert_consistent(&store);
}

fn prepare_whole(store: &Store) -> ptest_store::Prepared {
    let upper = store.dir("envs").unwrap().join("upper");
    fs::create_dir(&upper).unwrap();
    sample(&upper);
    let staging = store.stage_existing(&upper).unwrap();
    store.prepare_whole(staging, &|_| true).unwrap()
}

fn upper_id() -> LayerId {
    let dir = tempfile::tempdir().unwrap();
    prepare_whole(&Store::open(dir.path()).unwrap()).id()
}

#[test]
fn an_upper_is_either_in_its_place_or_a_layer() {
    let name = "faults::an_upper_is_either_in_its_place_or_a_layer";
    if let Some(argument) = again::argument() {
        let (step, home) = argument.split_once(' ').unwrap();
        let store = Store::open(home.as_ref()).unwrap();
        let upper = store.dir("envs").unwrap().join("upper");
        fs::create_dir(&upper).unwrap();
        sample(&upper);
        // A file with a second name, which a commit gives contents of its own.
        fs::hard_link(upper.join("g"), upper.join("h")).unwrap();
        let staging = store.stage_existing(&upper).unwrap();
        faults::at(step, Fault::Abort);
        store.commit(staging, CommitOptions::default()).unwrap();
        return;
    }
    for step in faults::STEPS
        .iter()
        .filter(|step| step.starts_with("commit.") && **step != "commit.synced")
    {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let output = again::test(name, &format!("{step} {}", dir.path().display()))
            .output()
            .unwrap();
        assert_eq!(output.status.signal(), Some(6), "{step}: {output:?}");
        store.recover().unwrap();
        assert_consistent(&store);
        let upper = store.home().join("envs/upper");
        let layers = store.layers().unwrap();
        let place = match layers.as_slice() {
            [] => upper,
            [layer] => {
                assert!(!upper.exists(), "{step}");
                store.layer_path(&layer.id)
            }
            more => panic!("{more:?}"),
        };
        assert_eq!(names(place), ["d", "g", "h"], "{step}");
    }
}
