//! What nobody waits for: after it, a store holds nothing that is of no use.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::context::{open, spec};

/// Longer than any tidying here takes.
const LONG: Duration = Duration::from_mins(1);

fn names(directory: &Path) -> Vec<String> {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_removed_environment_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let environment = ptest
        .create(&spec(directory.path()), &ptest::progress::Silent)
        .unwrap();
    environment.remove().unwrap();
    assert!(!names(&home.join("trash")).is_empty());
    ptest.tidy(LONG).unwrap();
    for place in ["envs", "leases", "staging", "trash"] {
        assert_eq!(names(&home.join(place)), Vec::<String>::new(), "{place}");
    }
}

#[test]
fn what_is_in_use_stays_and_what_no_row_knows_goes() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let kept = ptest
        .create(&spec(directory.path()), &ptest::progress::Silent)
        .unwrap();
    let unknown = format!("e{}", "0".repeat(32));
    fs::create_dir_all(home.join("envs").join(&unknown).join("upper")).unwrap();
    fs::create_dir(home.join("envs/not-of-an-engine")).unwrap();
    fs::write(home.join("leases/of-a-dead-process"), "").unwrap();
    ptest.tidy(LONG).unwrap();
    assert_eq!(names(&home.join("leases")), Vec::<String>::new());
    let mut left = names(&home.join("envs"));
    left.sort();
    assert_eq!(left, [kept.id().to_string(), "not-of-an-engine".to_owned()]);
    assert_eq!(names(&home.join("trash")), Vec::<String>::new());
    kept.remove().unwrap();
}

#[test]
fn the_log_of_the_database_does_not_grow_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let log = || fs::metadata(home.join("ptest.db-wal")).unwrap().len();
    while log() <= 1 << 20 {
        let padding = "x".repeat(100_000);
        let grown = ptest.store().database().write(|transaction| {
            transaction.execute_batch(&format!(
                "CREATE TABLE IF NOT EXISTS padding (text TEXT); INSERT INTO padding VALUES ('{padding}')"
            ))?;
            Ok::<_, ptest_store::Error>(())
        });
        grown.unwrap();
    }
    ptest.tidy(LONG).unwrap();
    assert_eq!(log(), 0);
}

#[test]
fn a_view_of_no_environment_goes_and_one_of_another_stack_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("store");
    let ptest = open(&home);
    let environment = ptest
        .create(&spec(directory.path()), &ptest::progress::Silent)
        .unwrap();
    let view = environment.view().unwrap();
    let stamp = view.path.join(".ptest-view");
    let made_for = fs::read_to_string(&stamp).unwrap();
    // As a process leaves it that is killed after the stack was swapped.
    fs::write(&stamp, "another").unwrap();
    let gone = format!("../envs/e{}/view", "0".repeat(32));
    std::os::unix::fs::symlink(gone, home.join("views/gone")).unwrap();
    fs::write(home.join("views/not-of-ptest"), "").unwrap();
    ptest.tidy(LONG).unwrap();
    assert_eq!(fs::read_to_string(&stamp).unwrap(), made_for);
    let mut left = names(&home.join("views"));
    left.sort();
    assert_eq!(
        left,
        [environment.id().to_string(), "not-of-ptest".to_owned()]
    );
    environment.remove().unwrap();
    assert_eq!(names(&home.join("views")), ["not-of-ptest"]);
}
