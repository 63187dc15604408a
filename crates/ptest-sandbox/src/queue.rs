//! A file that processes stand in a queue at: each has its turn in the order in which they came, and who dies leaves.
//!
//! A place is one byte of the file, locked for as long as one stands there (open file description locks, fcntl(2)). The
//! file stays empty, so that a full disk keeps nobody from queueing. Who comes takes the place behind the last one; whose
//! turn it is has nobody before it. Nothing here waits: how long and how patiently is the caller's choice.

use std::fs::File;
use std::io;

use crate::sys::{self, Region};

/// Held for a moment by who takes a place, so that no two take the same.
const DOOR: Region = Region {
    start: 0,
    length: 1,
};
/// The first place.
const FIRST: u64 = 8;

/// A place in the queue, given up when dropped, whoever has a copy of its descriptor: a forked child has one of each.
#[derive(Debug)]
pub struct Place {
    file: File,
    number: u64,
}

/// Takes the place behind all others; gives the file back when somebody else is just taking one.
///
/// The file must be open for writing, and by nothing but this.
///
/// # Errors
///
/// What fcntl(2) says.
pub fn enter(file: File) -> io::Result<Result<Place, File>> {
    take(file, Some)
}

/// Takes a place if nobody else has one: then it is the caller's turn. Gives the file back otherwise.
///
/// # Errors
///
/// What fcntl(2) says.
pub fn enter_empty(file: File) -> io::Result<Result<Place, File>> {
    take(file, |number| (number == FIRST).then_some(number))
}

impl Place {
    /// Whether nobody is before this place.
    ///
    /// # Errors
    ///
    /// What fcntl(2) says.
    pub fn has_its_turn(&self) -> io::Result<bool> {
        if self.number == FIRST {
            return Ok(true);
        }
        let before = Region {
            start: FIRST,
            length: self.number - FIRST,
        };
        Ok(sys::locked_by_others(&self.file, before)?.is_none())
    }

    /// The file that the queue is at.
    pub fn file(&self) -> &File {
        &self.file
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let place = Region {
            start: self.number,
            length: 1,
        };
        // Closing the file does the same, where nobody has a copy.
        let _ = sys::unlock_region(&self.file, place);
    }
}

fn take(file: File, choose: impl FnOnce(u64) -> Option<u64>) -> io::Result<Result<Place, File>> {
    if !sys::lock_region(&file, DOOR)? {
        return Ok(Err(file));
    }
    let taken = behind_all(&file).and_then(|behind| match choose(behind) {
        Some(number) => {
            let place = Region {
                start: number,
                length: 1,
            };
            Ok(sys::lock_region(&file, place)?.then_some(number))
        }
        None => Ok(None),
    });
    sys::unlock_region(&file, DOOR)?;
    Ok(match taken? {
        Some(number) => Ok(Place { file, number }),
        None => Err(file),
    })
}

/// The first place that has no taken one behind it.
fn behind_all(file: &File) -> io::Result<u64> {
    let mut behind = FIRST;
    loop {
        let rest = Region {
            start: behind,
            // To the end of all files.
            length: 0,
        };
        match sys::locked_by_others(file, rest)? {
            // Neighbouring locks may be told as one.
            Some(Region { start, length }) => behind = start + length.max(1),
            None => return Ok(behind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(directory: &tempfile::TempDir) -> File {
        let path = directory.path().join("queue");
        let options = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path);
        options.unwrap()
    }

    fn placed(directory: &tempfile::TempDir) -> Place {
        enter(open(directory)).unwrap().unwrap()
    }

    #[test]
    fn each_has_its_turn_in_the_order_in_which_they_came() {
        let directory = tempfile::tempdir().unwrap();
        let mut queue: Vec<Place> = (0..20).map(|_| placed(&directory)).collect();
        while !queue.is_empty() {
            let turns: Vec<bool> = queue
                .iter()
                .map(|place| place.has_its_turn().unwrap())
                .collect();
            assert_eq!(turns.iter().filter(|turn| **turn).count(), 1);
            assert!(turns[0]);
            queue.remove(0);
        }
    }

    #[test]
    fn who_leaves_out_of_turn_keeps_nobody_waiting() {
        let directory = tempfile::tempdir().unwrap();
        let (first, second, third) = (placed(&directory), placed(&directory), placed(&directory));
        drop(second);
        assert!(!third.has_its_turn().unwrap());
        let fourth = placed(&directory);
        drop(first);
        assert!(third.has_its_turn().unwrap());
        assert!(!fourth.has_its_turn().unwrap());
        drop(third);
        assert!(fourth.has_its_turn().unwrap());
    }

    #[test]
    fn who_does_not_want_to_wait_does_not_get_before_who_does() {
        let directory = tempfile::tempdir().unwrap();
        let holder = enter_empty(open(&directory)).unwrap().unwrap();
        assert!(holder.has_its_turn().unwrap());
        let waiting = placed(&directory);
        drop(holder);
        assert!(enter_empty(open(&directory)).unwrap().is_err());
        assert!(waiting.has_its_turn().unwrap());
        drop(waiting);
        assert!(enter_empty(open(&directory)).unwrap().is_ok());
    }

    #[test]
    fn a_copy_of_the_descriptor_keeps_no_place() {
        let directory = tempfile::tempdir().unwrap();
        let place = placed(&directory);
        let copy = place.file().try_clone().unwrap();
        drop(place);
        assert!(enter_empty(open(&directory)).unwrap().is_ok());
        drop(copy);
    }

    #[test]
    fn the_file_stays_empty() {
        let directory = tempfile::tempdir().unwrap();
        let place = placed(&directory);
        assert_eq!(place.file().metadata().unwrap().len(), 0);
    }
}
