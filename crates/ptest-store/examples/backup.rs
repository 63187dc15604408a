//! Keeps the states that a directory had: what this crate is good for beside ptest.
//!
//! ```text
//! backup STORE save DIRECTORY      keeps it as it is now, and prints the number of this state
//! backup STORE list                every state, oldest first
//! backup STORE diff NUMBER NUMBER  what differs between two
//! backup STORE restore NUMBER NEW  makes a directory like it
//! backup STORE forget NUMBER       forgets one, and deletes what only it had
//! ```
//!
//! A state is a stack of one layer, named by a row in a table of the program's own. Two equal states are one layer. Any
//! number of these programs may run at once, and each may be killed at any moment.

use std::collections::HashSet;
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, absolute};
use std::process::{Command, ExitCode};

use ptest_store::rusqlite::{Connection, OptionalExtension as _};
use ptest_store::{
    CommitOptions, Error as StoreError, Kind, Layer, LayerId, Specials, Stack, StackId, Store,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The program's table, beside those of the store.
const TABLE: &str = "
    CREATE TABLE states (
        number    INTEGER PRIMARY KEY AUTOINCREMENT,
        directory TEXT NOT NULL,
        stack     BLOB NOT NULL
    ) STRICT;
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words, &mut io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "backup: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does what the words say; what it has to say goes to `out`.
pub(crate) fn run(words: &[&str], out: &mut dyn Write) -> Result<()> {
    let [home, action @ ..] = words else {
        return Err("usage: backup STORE save|list|diff|restore|forget …".into());
    };
    let store = Store::open(&absolute(home)?)?;
    store.database().migrate("backup", &[TABLE])?;
    store.recover()?;
    match *action {
        ["save", directory] => save(&store, &absolute(directory)?, out),
        ["list"] => list(&store, out),
        ["diff", before, after] => diff(&store, before.parse()?, after.parse()?, out),
        ["restore", number, new] => restore(&store, number.parse()?, &absolute(new)?),
        ["forget", number] => forget(&store, number.parse()?),
        _ => Err(
            "save DIRECTORY, list, diff NUMBER NUMBER, restore NUMBER NEW, or forget NUMBER".into(),
        ),
    }
}

fn save(store: &Store, directory: &Path, out: &mut dyn Write) -> Result<()> {
    loop {
        let layer = commit(store, directory, out)?;
        // What a loss of power may take is not kept yet.
        store.sync()?;
        match record(store, directory, layer) {
            // Between commit and row, another program's `forget` saw a layer that no state has.
            Err(StoreError::LayerMissing { .. }) => {}
            recorded => {
                writeln!(out, "{}", recorded?)?;
                return Ok(());
            }
        }
    }
}

fn commit(store: &Store, directory: &Path, out: &mut dyn Write) -> Result<LayerId> {
    let staging = store.stage()?;
    let copied = Command::new("cp")
        .args(["-a", "--reflink=auto", "--"])
        .args([&directory.join("."), staging.path()])
        .status()?;
    if !copied.success() {
        return Err(format!("cp could not copy {}", directory.display()).into());
    }
    let options = CommitOptions {
        specials: Specials::LeaveOut,
        ..CommitOptions::default()
    };
    let committed = store.commit(staging, options)?;
    for left in &committed.left_out {
        writeln!(out, "{left}")?;
    }
    Ok(committed.layer.id)
}

fn record(store: &Store, directory: &Path, layer: LayerId) -> ptest_store::Result<i64> {
    store.database().write(|transaction| {
        let stack = Stack::new([layer]).insert(transaction)?;
        transaction.execute(
            "INSERT INTO states (directory, stack) VALUES (?1, ?2)",
            (directory.to_string_lossy(), stack),
        )?;
        Ok(transaction.last_insert_rowid())
    })
}

fn list(store: &Store, out: &mut dyn Write) -> Result<()> {
    let states = store.database().read(states)?;
    for (number, directory, stack) in states {
        let view = store.resolve(&store.stack(&stack)?)?;
        writeln!(out, "{number}\t{} paths\t{directory}", view.len())?;
    }
    Ok(())
}

fn diff(store: &Store, before: i64, after: i64, out: &mut dyn Write) -> Result<()> {
    let [before, after] = [find(store, before)?, find(store, after)?];
    for change in store.diff(&before, &after)? {
        let mark = match (&change.before, &change.after) {
            (None, _) => '+',
            (_, None) => '-',
            _ => '~',
        };
        let size = match &change.after {
            Some(Kind::File { size, .. }) => format!(" ({size} bytes)"),
            _ => String::new(),
        };
        writeln!(out, "{mark} {}{size}", change.path)?;
    }
    Ok(())
}

fn restore(store: &Store, number: i64, new: &Path) -> Result<()> {
    store.clone_tree(&find(store, number)?, new, None)?;
    Ok(())
}

fn forget(store: &Store, number: i64) -> Result<()> {
    store.collect::<Box<dyn Error>>(|transaction, layers| {
        if transaction.execute("DELETE FROM states WHERE number = ?1", [number])? == 0 {
            return Err(no_state(number));
        }
        let mut used = HashSet::new();
        for (_, _, stack) in states(transaction)? {
            used.extend(
                Stack::find(transaction, &stack)?
                    .unwrap_or_default()
                    .layers()
                    .to_vec(),
            );
        }
        let is_unused = |layer: &Layer| !used.contains(&layer.id);
        Ok(layers.into_iter().filter(is_unused).collect())
    })?;
    store.empty_trash()?;
    Ok(())
}

fn states(connection: &Connection) -> ptest_store::Result<Vec<(i64, String, StackId)>> {
    let mut select =
        connection.prepare("SELECT number, directory, stack FROM states ORDER BY number")?;
    let rows = select.query_map([], |row| row.try_into())?;
    Ok(rows.collect::<std::result::Result<_, _>>()?)
}

fn find(store: &Store, number: i64) -> Result<Stack> {
    let stack = store.database().read(|connection| {
        let mut select = connection.prepare("SELECT stack FROM states WHERE number = ?1")?;
        Ok::<_, StoreError>(select.query_row([number], |row| row.get(0)).optional()?)
    })?;
    Ok(store.stack(&stack.ok_or_else(|| no_state(number))?)?)
}

fn no_state(number: i64) -> Box<dyn Error> {
    format!("there is no state {number}; `list` shows what there is").into()
}
