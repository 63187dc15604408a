//! The example `backup`, run as a user would.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::names;

#[path = "../../examples/backup.rs"]
#[expect(dead_code, reason = "its main is what a test does")]
mod backup;

struct Backup {
    directory: tempfile::TempDir,
}

impl Backup {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    /// What it says; those of `words` that are names of files are in a directory of the test's own.
    fn run(&self, words: &[&str]) -> Result<String, String> {
        let store = self.path("store");
        let paths: Vec<String> = words
            .iter()
            .map(|word| match *word {
                "site" | "back" | "taken" => self.path(word).to_str().unwrap().to_owned(),
                word => word.to_owned(),
            })
            .collect();
        let mut all = vec![store.to_str().unwrap()];
        all.extend(paths.iter().map(String::as_str));
        let mut out = Vec::new();
        let result = backup::run(&all, &mut out);
        result.map_err(|error| error.to_string())?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn says(&self, words: &[&str]) -> String {
        self.run(words).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn states_are_kept_compared_restored_and_forgotten() {
    let backup = Backup::new();
    write(&backup.path("site/index"), "one");
    write(&backup.path("site/pages/a"), "a");
    assert_eq!(backup.says(&["save", "site"]), "1\n");
    write(&backup.path("site/index"), "two!");
    fs::remove_file(backup.path("site/pages/a")).unwrap();
    write(&backup.path("site/pages/b"), "b");
    assert_eq!(backup.says(&["save", "site"]), "2\n");
    // The same once more is another state of the same layer.
    assert_eq!(backup.says(&["save", "site"]), "3\n");
    assert_eq!(names(backup.path("store/layers")).len(), 2);

    assert_eq!(
        backup.says(&["diff", "1", "2"]),
        "~ index (4 bytes)\n- pages/a\n+ pages/b (1 bytes)\n"
    );
    backup.says(&["restore", "1", "back"]);
    assert_eq!(
        fs::read_to_string(backup.path("back/index")).unwrap(),
        "one"
    );
    assert_eq!(names(backup.path("back/pages")), ["a"]);

    backup.says(&["forget", "2"]);
    assert_eq!(names(backup.path("store/layers")).len(), 2);
    backup.says(&["forget", "3"]);
    assert_eq!(names(backup.path("store/layers")).len(), 1);
    let list = backup.says(&["list"]);
    assert!(
        list.starts_with("1\t3 paths\t") && list.lines().count() == 1,
        "{list}"
    );
}

#[test]
fn what_cannot_be_done_is_said() {
    let backup = Backup::new();
    for (words, said) in [
        (["restore", "7", "back"], "there is no state 7"),
        (["diff", "1", "x"], "invalid digit"),
        (["", "", ""], "save DIRECTORY"),
    ] {
        let error = backup.run(&words).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    write(&backup.path("taken/file"), "");
    backup.says(&["save", "taken"]);
    backup.run(&["restore", "1", "taken"]).unwrap_err();
    assert_eq!(names(backup.path("taken")), ["file"]);
}
