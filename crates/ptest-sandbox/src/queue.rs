//! A file that processes stand in queues at: each has its turn in the order in which they came, and who dies leaves.
//!
//! A place is one byte of the file, locked for as long as one stands there (open file description locks, fcntl(2)). The
//! file stays empty, so that a full disk keeps nobody from queueing. Who comes takes the place behind the last one; whose
//! turn it is has nobody before it. Nothing here waits: how long and how patiently is the caller's choice.
//!
//! One file has a queue for each name: 2²⁴ bytes at a place that is the hash of the name. Two names may share one, which
//! makes one wait for the other: with a thousand in use at once, one time in a million.

use std::fs::File;
use std::io;

use crate::sys::{self, Region};

/// How many bytes a queue has, by how many bits tell them apart. Of the 63 of an offset the others tell the queues apart.
const QUEUE_BITS: u32 = 24;
/// The first place, from the beginning of the queue. What is before it is the door's.
const FIRST: u64 = 8;

/// The bytes of one name.
#[derive(Debug, Clone, Copy)]
struct Queue {
    start: u64,
}

impl Queue {
    fn of(name: &str) -> Self {
        let number = hash(name) >> (QUEUE_BITS + 1);
        Self {
            start: number << QUEUE_BITS,
        }
    }

    /// Held for a moment by who takes a place, so that no two take the same.
    fn door(self) -> Region {
        Region {
            start: self.start,
            length: 1,
        }
    }

    fn first(self) -> u64 {
        self.start + FIRST
    }

    fn end(self) -> u64 {
        self.start + (1 << QUEUE_BITS)
    }
}

/// The same in every version, as all that use one file must agree: FNV-1a with 64 bits (RFC 9923).
fn hash(name: &str) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(PRIME);
    name.bytes().fold(OFFSET_BASIS, step)
}

/// A place in the queue, given up when dropped, whoever has a copy of its descriptor: a forked child has one of each.
#[derive(Debug)]
pub struct Place {
    file: File,
    queue: Queue,
    /// Which byte of the file.
    number: u64,
}

/// Takes the place behind all others in the queue of this name; gives the file back when somebody else is just taking one.
///
/// The file must be open for writing, and by nothing but this.
///
/// # Errors
///
/// What fcntl(2) says.
pub fn enter(file: File, name: &str) -> io::Result<Result<Place, File>> {
    take(file, Queue::of(name), |_| true)
}

/// Takes a place in the queue of this name if nobody else has one: then it is the caller's turn. Gives the file back
/// otherwise.
///
/// # Errors
///
/// What fcntl(2) says.
pub fn enter_empty(file: File, name: &str) -> io::Result<Result<Place, File>> {
    let queue = Queue::of(name);
    take(file, queue, |number| number == queue.first())
}

impl Place {
    /// Whether nobody is before this place.
    ///
    /// # Errors
    ///
    /// What fcntl(2) says.
    pub fn has_its_turn(&self) -> io::Result<bool> {
        let first = self.queue.first();
        if self.number == first {
            return Ok(true);
        }
        let before = Region {
            start: first,
            length: self.number - first,
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

fn take(
    file: File,
    queue: Queue,
    suits: impl FnOnce(u64) -> bool,
) -> io::Result<Result<Place, File>> {
    if !sys::lock_region(&file, queue.door())? {
        return Ok(Err(file));
    }
    let taken = behind_all(&file, queue).and_then(|behind| match behind {
        Some(number) if suits(number) => {
            let place = Region {
                start: number,
                length: 1,
            };
            Ok(sys::lock_region(&file, place)?.then_some(number))
        }
        _ => Ok(None),
    });
    sys::unlock_region(&file, queue.door())?;
    Ok(match taken? {
        Some(number) => Ok(Place {
            file,
            queue,
            number,
        }),
        None => Err(file),
    })
}

/// The first place that has no taken one behind it; `None` while the last one of all is taken.
fn behind_all(file: &File, queue: Queue) -> io::Result<Option<u64>> {
    let mut behind = queue.first();
    while behind < queue.end() {
        let rest = Region {
            start: behind,
            length: queue.end() - behind,
        };
        match sys::locked_by_others(file, rest)? {
            // Neighbouring locks may be told as one.
            Some(Region { start, length }) => behind = start + length.max(1),
            None => return Ok(Some(behind)),
        }
    }
    Ok(None)
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
        enter(open(directory), "queue").unwrap().unwrap()
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
        let holder = enter_empty(open(&directory), "queue").unwrap().unwrap();
        assert!(holder.has_its_turn().unwrap());
        let waiting = placed(&directory);
        drop(holder);
        assert!(enter_empty(open(&directory), "queue").unwrap().is_err());
        assert!(waiting.has_its_turn().unwrap());
        drop(waiting);
        assert!(enter_empty(open(&directory), "queue").unwrap().is_ok());
    }

    #[test]
    fn a_copy_of_the_descriptor_keeps_no_place() {
        let directory = tempfile::tempdir().unwrap();
        let place = placed(&directory);
        let copy = place.file().try_clone().unwrap();
        drop(place);
        assert!(enter_empty(open(&directory), "queue").unwrap().is_ok());
        drop(copy);
    }

    #[test]
    fn queues_of_other_names_are_others() {
        let directory = tempfile::tempdir().unwrap();
        let one = placed(&directory);
        let other = enter_empty(open(&directory), "other").unwrap().unwrap();
        assert!(one.has_its_turn().unwrap());
        assert!(other.has_its_turn().unwrap());
        assert!(enter_empty(open(&directory), "queue").unwrap().is_err());
    }

    #[test]
    fn a_queue_that_is_full_takes_nobody_until_somebody_leaves() {
        let directory = tempfile::tempdir().unwrap();
        let queue = Queue::of("queue");
        let file = open(&directory);
        let last = Region {
            start: queue.end() - 1,
            length: 1,
        };
        assert!(sys::lock_region(&file, last).unwrap());
        assert!(enter(open(&directory), "queue").unwrap().is_err());
        drop(file);
        assert!(enter(open(&directory), "queue").unwrap().is_ok());
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // RFC 9923, Appendix C.
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(hash("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_file_stays_empty() {
        let directory = tempfile::tempdir().unwrap();
        let place = placed(&directory);
        assert_eq!(place.file().metadata().unwrap().len(), 0);
    }
}
