//! Brings what was made to the disk while nobody waits for it.

use std::thread;

use ptest_store::Store;

/// Syncs the store in a thread of its own.
///
/// What goes on need not wait: layers that are not synced are verified after a crash. A process
/// that ends meanwhile does wait, for the kernel does not interrupt this.
pub(crate) fn beside(store: &Store) {
    let store = store.clone();
    let syncing = thread::Builder::new().name("sync".to_owned());
    // Without it the next one that syncs does more.
    drop(syncing.spawn(move || store.sync()));
}
