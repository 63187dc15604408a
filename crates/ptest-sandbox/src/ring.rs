//! The file in which init records what its sandbox uses, once a second while something runs: one side writes, any number of
//! others read, none waits for another.
//!
//! A header names the ring; records of one size follow, the oldest overwritten by the newest. Each has a number and a
//! checksum, so that one that is being written is never taken for one that is there. Not for what becomes of the records:
//! that is the business of who reads them.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::protocol::{Traffic, Usage};

/// How many records a ring holds: more than an hour of work without a pause.
pub const RECORDS: u64 = 4096;

/// The form of the file; another has another number.
const VERSION: u64 = 1;
const MAGIC: u64 = u64::from_le_bytes(*b"ptestuse");
/// Magic number, version, size of a record, number of records, and the ring's own number.
const HEADER_WORDS: usize = 5;
const HEADER: u64 = (HEADER_WORDS * WORD) as u64;
const WORDS: usize = 13;
const RECORD: u64 = (WORDS * WORD) as u64;
const WORD: usize = size_of::<u64>();
/// What is not known.
const UNKNOWN: u64 = u64::MAX;
/// How many records are read at a time.
const CHUNK: u64 = 64;

/// What a sandbox used at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its number in its ring: 1, 2, …
    pub sequence: u64,
    /// When it was taken, since 1970.
    pub time: Duration,
    /// Processes of commands.
    pub processes: u32,
    /// Processor time of all processes since the sandbox was made.
    pub cpu_time: Duration,
    /// Memory in use.
    pub memory_bytes: u64,
    /// The most that was.
    pub peak_memory_bytes: u64,
    /// Bytes read from disks since the sandbox was made.
    pub read_bytes: u64,
    /// Bytes written to disks since then.
    pub written_bytes: u64,
    /// What went through the network since then, where it is the sandbox's own.
    pub traffic: Option<Traffic>,
    /// What its limited directories take on disk, where somebody counts.
    pub disk_bytes: Option<u64>,
}

impl Sample {
    /// What is used now. The writer numbers it.
    pub(crate) fn now(usage: &Usage, disk_bytes: Option<u64>) -> Self {
        let time = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            sequence: 0,
            time: time.unwrap_or_default(),
            processes: usage.processes,
            cpu_time: usage.cpu_time,
            memory_bytes: usage.memory_bytes,
            peak_memory_bytes: usage.peak_memory_bytes,
            read_bytes: usage.read_bytes,
            written_bytes: usage.written_bytes,
            traffic: usage.traffic,
            disk_bytes,
        }
    }

    fn encode(&self) -> [u8; WORDS * WORD] {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(UNKNOWN);
        let mut words = [
            self.sequence,
            micros(self.time),
            self.processes.into(),
            micros(self.cpu_time),
            self.memory_bytes,
            self.peak_memory_bytes,
            self.read_bytes,
            self.written_bytes,
            self.traffic.map_or(UNKNOWN, |one| one.received_bytes),
            self.traffic.map_or(UNKNOWN, |one| one.sent_bytes),
            self.disk_bytes.unwrap_or(UNKNOWN),
            0,
            0,
        ];
        words[WORDS - 1] = checksum(&words[..WORDS - 1]);
        let mut bytes = [0; WORDS * WORD];
        for (target, word) in bytes.chunks_exact_mut(WORD).zip(words) {
            target.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads a record; `None` if it is none, or was being written.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let words: [u64; WORDS] = words(bytes)?;
        if words[0] == 0 || words[WORDS - 1] != checksum(&words[..WORDS - 1]) {
            return None;
        }
        let known = |word: u64| (word != UNKNOWN).then_some(word);
        Some(Self {
            sequence: words[0],
            time: Duration::from_micros(words[1]),
            processes: u32::try_from(words[2]).ok()?,
            cpu_time: Duration::from_micros(words[3]),
            memory_bytes: words[4],
            peak_memory_bytes: words[5],
            read_bytes: words[6],
            written_bytes: words[7],
            traffic: known(words[8])
                .zip(known(words[9]))
                .map(|(received_bytes, sent_bytes)| Traffic {
                    received_bytes,
                    sent_bytes,
                }),
            disk_bytes: known(words[10]),
        })
    }
}

/// Makes an empty file a ring with a number of its own, for init to write to.
pub fn begin(file: File) -> io::Result<OwnedFd> {
    let mut number = [0; WORD];
    rustix::rand::getrandom(&mut number, rustix::rand::GetRandomFlags::empty())?;
    let header = [MAGIC, VERSION, RECORD, RECORDS, u64::from_le_bytes(number)];
    let bytes: Vec<u8> = header.iter().flat_map(|word| word.to_le_bytes()).collect();
    file.write_all_at(&bytes, 0)?;
    Ok(file.into())
}

/// The side that writes.
#[derive(Debug)]
pub(crate) struct Writer {
    file: File,
    written: u64,
}

impl Writer {
    /// To a ring that has no record yet.
    pub(crate) fn new(ring: OwnedFd) -> Self {
        Self {
            file: ring.into(),
            written: 0,
        }
    }

    /// Adds a record. One that cannot be written is left out: no room on the disk is no reason to do nothing else.
    pub(crate) fn append(&mut self, sample: Sample) {
        let sequence = self.written + 1;
        let record = Sample { sequence, ..sample }.encode();
        if self.file.write_all_at(&record, place(sequence)).is_ok() {
            self.written = sequence;
        }
    }
}

/// The side that reads.
#[derive(Debug)]
pub struct Reader {
    file: File,
    number: u64,
}

impl Reader {
    /// Reads a ring; `None` if the file is none, or of another form.
    pub fn new(file: File) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER_WORDS * WORD];
        match file.read_exact_at(&mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        Ok(match words(&header) {
            Some([MAGIC, VERSION, RECORD, RECORDS, number]) => Some(Self { file, number }),
            _ => None,
        })
    }

    /// The ring's own number: the samples of each life of a sandbox are in a ring of their own.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The samples after one that was seen (0 for all), oldest first: those that were not overwritten.
    pub fn after(&self, seen: u64) -> io::Result<Vec<Sample>> {
        let mut samples: Vec<Sample> = Vec::new();
        loop {
            let next = samples
                .last()
                .map_or(seen, |last| last.sequence)
                .saturating_add(1);
            let slot = (next - 1) % RECORDS;
            let records = self.records(slot, CHUNK.min(RECORDS - slot))?;
            let (wanted, mut expected) = (records.len(), next);
            for record in records {
                match record {
                    Some(sample) if sample.sequence == expected => samples.push(sample),
                    // The writer has come round.
                    Some(sample) if sample.sequence > expected => return self.all_after(seen),
                    _ => return Ok(samples),
                }
                expected += 1;
            }
            if wanted == 0 {
                return Ok(samples);
            }
        }
    }

    fn all_after(&self, seen: u64) -> io::Result<Vec<Sample>> {
        let records = self.records(0, RECORDS)?.into_iter().flatten();
        let mut samples: Vec<Sample> = records.filter(|sample| sample.sequence > seen).collect();
        samples.sort_unstable_by_key(|sample| sample.sequence);
        Ok(samples)
    }

    fn records(&self, slot: u64, count: u64) -> io::Result<Vec<Option<Sample>>> {
        let mut bytes = vec![0; (count * RECORD) as usize];
        let mut read = 0;
        while read < bytes.len() {
            match self
                .file
                .read_at(&mut bytes[read..], HEADER + slot * RECORD + read as u64)
            {
                Ok(0) => break,
                Ok(count) => read += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let records = bytes[..read].chunks_exact(RECORD as usize);
        Ok(records.map(Sample::decode).collect())
    }
}

/// Where a record is.
fn place(sequence: u64) -> u64 {
    HEADER + (sequence - 1) % RECORDS * RECORD
}

fn words<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(WORD)) {
        *word = u64::from_le_bytes(bytes.try_into().ok()?);
    }
    (bytes.len() == N * WORD).then_some(words)
}

/// Against chance, not malice: FNV-1a over words instead of bytes.
fn checksum(words: &[u64]) -> u64 {
    words.iter().fold(0xcbf2_9ce4_8422_2325, |hash, word| {
        let mixed = (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        // A multiplication carries upwards only.
        mixed ^ mixed >> 32
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring() -> (tempfile::TempDir, Writer, Reader) {
        let directory = tempfile::tempdir().unwrap();
        let open = || {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false);
            options.open(directory.path().join("ring")).unwrap()
        };
        let writer = Writer::new(begin(open()).unwrap());
        let reader = Reader::new(open()).unwrap().unwrap();
        (directory, writer, reader)
    }

    fn sample(number: u64) -> Sample {
        Sample {
            sequence: number,
            time: Duration::from_millis(1_700_000_000_000 + number),
            processes: 3,
            cpu_time: Duration::from_micros(number * 7),
            memory_bytes: number << 20,
            peak_memory_bytes: number << 21,
            read_bytes: number,
            written_bytes: number + 1,
            traffic: number.is_multiple_of(2).then_some(Traffic {
                received_bytes: number,
                sent_bytes: number * 2,
            }),
            disk_bytes: number.is_multiple_of(3).then_some(number),
        }
    }

    fn numbers(samples: &[Sample]) -> Vec<u64> {
        samples.iter().map(|sample| sample.sequence).collect()
    }

    #[test]
    fn a_reader_gets_what_was_written_since_it_last_looked() {
        let (_directory, mut writer, reader) = ring();
        assert_eq!(reader.after(0).unwrap(), []);
        for number in 1..=200 {
            writer.append(sample(number));
        }
        assert_eq!(
            reader.after(0).unwrap(),
            (1..=200).map(sample).collect::<Vec<_>>()
        );
        writer.append(sample(201));
        assert_eq!(reader.after(200).unwrap(), [sample(201)]);
        assert_eq!(reader.after(201).unwrap(), []);
    }

    #[test]
    fn the_oldest_are_overwritten_and_the_file_stays_as_long_as_it_is() {
        let (directory, mut writer, reader) = ring();
        let last = RECORDS * 2 + 100;
        for number in 1..=last {
            writer.append(sample(number));
        }
        let all: Vec<u64> = (last - RECORDS + 1..=last).collect();
        assert_eq!(numbers(&reader.after(0).unwrap()), all);
        assert_eq!(numbers(&reader.after(5).unwrap()), all);
        // Across the end of the file.
        let some: Vec<u64> = (RECORDS * 2 - 9..=last).collect();
        assert_eq!(numbers(&reader.after(RECORDS * 2 - 10).unwrap()), some);
        let length = directory.path().join("ring").metadata().unwrap().len();
        assert_eq!(length, HEADER + RECORDS * RECORD);
    }

    #[test]
    fn a_record_of_which_any_word_is_another_is_none() {
        let bytes = sample(6).encode();
        assert_eq!(Sample::decode(&bytes), Some(sample(6)));
        for place in 0..bytes.len() {
            for bit in 0..8 {
                let mut torn = bytes;
                torn[place] ^= 1 << bit;
                assert_eq!(Sample::decode(&torn), None, "byte {place}, bit {bit}");
            }
        }
        // Half of it is the record of a turn before.
        let mut torn = sample(6 + RECORDS).encode();
        torn[..40].copy_from_slice(&bytes[..40]);
        assert_eq!(Sample::decode(&torn), None);
        assert_eq!(Sample::decode(&[0; WORDS * WORD]), None);
    }

    #[test]
    fn a_reader_beside_a_writer_never_gets_what_was_not_written() {
        let (_directory, mut writer, reader) = ring();
        let last = RECORDS * 4;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 1..=last {
                    writer.append(sample(number));
                }
            });
            let mut seen = 0;
            while seen < last {
                for found in reader.after(seen).unwrap() {
                    assert_eq!(found, sample(found.sequence));
                    assert!(found.sequence > seen);
                    seen = found.sequence;
                }
            }
        });
    }

    #[test]
    fn what_is_no_ring_of_this_form_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ring");
        for contents in [&[][..], &[0; 4096][..], &[7; 20][..]] {
            std::fs::write(&path, contents).unwrap();
            assert!(Reader::new(File::open(&path).unwrap()).unwrap().is_none());
        }
    }
}
