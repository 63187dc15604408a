//! Reads tars, from anyone: every field is checked, and nothing is reserved for what a field says.

use std::io::{self, Read};

use super::{BLOCK, MAGIC, MAGIC_OF_GNU, Member, MemberKind, checksum, field, padding};
use crate::manifest::{Mtime, TreePath};
use crate::pack::error::TarError;

/// An extended header that names the longest path and the longest target is far smaller.
const MOST_EXTENDED: u64 = 64 * 1024;

/// How many zeros may follow the end. Programs fill up to what a tape took at a time.
const MOST_ZEROS: u64 = 1 << 20;

/// Reads the members of a tar one after the other.
pub(crate) struct Reader<R> {
    inner: R,
    /// What is left of the contents of the last member, and what follows it.
    contents: u64,
    padding: usize,
    offset: u64,
}

/// What an extended header said.
#[derive(Default)]
struct Extended {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    mtime: Option<Mtime>,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            contents: 0,
            padding: 0,
            offset: 0,
        }
    }

    /// Where the reader is.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn into_inner(self) -> R {
        self.inner
    }

    /// The next member; `None` at the end, which is then the end of everything.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, TarError> {
        self.skip_contents()?;
        let Some(header) = self.header()? else {
            return self.end().map(|()| None);
        };
        if header[field::TYPE] != b'x' {
            return self.member(&header, Extended::default()).map(Some);
        }
        let extended = self.extended(&header)?;
        match self.header()? {
            Some(header) if header[field::TYPE] != b'x' => self.member(&header, extended).map(Some),
            _ => Err(self.problem("an extended header that belongs to nothing")),
        }
    }

    /// Reads from the contents of the last member; 0 at their end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let most = buffer
            .len()
            .min(usize::try_from(self.contents).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        self.fill(&mut buffer[..most])?;
        self.contents -= most as u64;
        Ok(most)
    }

    /// Reads that many bytes of the contents of the last member.
    pub(crate) fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        if self.read(buffer)? == buffer.len() {
            Ok(())
        } else {
            Err(self.problem("contents that end too early"))
        }
    }

    /// Goes past contents whose bytes nobody wants, without reading them.
    pub(crate) fn leave_out(&mut self, skip: impl FnOnce(&mut R, u64)) {
        skip(&mut self.inner, self.contents);
        self.offset += self.contents;
        self.contents = 0;
    }

    fn skip_contents(&mut self) -> Result<(), TarError> {
        let mut buffer = [0; 8 * BLOCK];
        while self.read(&mut buffer)? > 0 {}
        let padding = std::mem::take(&mut self.padding);
        self.fill(&mut buffer[..padding])
    }

    /// A block that is not all zeros.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut header = [0; BLOCK];
        self.fill(&mut header)?;
        if header == [0; BLOCK] {
            return Ok(None);
        }
        if self.octal(&header[field::CHECKSUM])? != checksum(&header) {
            return Err(self.problem("a header whose checksum is wrong"));
        }
        let magic = &header[field::MAGIC];
        if magic != MAGIC && magic != MAGIC_OF_GNU {
            return Err(self.problem("a header of another format than POSIX's"));
        }
        Ok(Some(header))
    }

    /// After the first block of zeros.
    fn end(&mut self) -> Result<(), TarError> {
        let mut buffer = [0; 8 * BLOCK];
        self.fill(&mut buffer[..BLOCK])?;
        let mut zeros = 0;
        let mut length = BLOCK;
        while length > 0 {
            if buffer[..length].iter().any(|byte| *byte != 0) {
                return Err(self.problem("something after the end"));
            }
            zeros += length as u64;
            if zeros > MOST_ZEROS {
                return Err(self.problem("more than a mebibyte of zeros after the end"));
            }
            length = loop {
                match self.inner.read(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => break result?,
                }
            };
            self.offset += length as u64;
        }
        Ok(())
    }

    fn member(&mut self, header: &[u8; BLOCK], extended: Extended) -> Result<Member, TarError> {
        let kind = match header[field::TYPE] {
            b'0' | 0 => MemberKind::File,
            b'1' => MemberKind::HardLink,
            b'2' => MemberKind::Symlink,
            b'5' => MemberKind::Directory,
            b'3' | b'4' => return Err(self.problem("a device")),
            b'6' => return Err(self.problem("a FIFO")),
            b'S' => return Err(self.problem("a sparse file")),
            b'L' | b'K' => return Err(self.problem("a long name in the way of GNU tar")),
            b'g' => return Err(self.problem("a global extended header")),
            _ => return Err(self.problem("an entry of an unknown type")),
        };
        let said = self.octal(&header[field::SIZE])?;
        let size = match extended.size {
            Some(size) if said != 0 && said != size => {
                return Err(self.problem("an entry with two sizes"));
            }
            Some(size) => size,
            None => said,
        };
        if kind != MemberKind::File && size != 0 {
            return Err(self.problem("contents of what is not a file"));
        }
        let name = match extended.path {
            Some(path) => path,
            None if header[field::MAGIC] == *MAGIC && header[field::PREFIX.start] != 0 => [
                text(&header[field::PREFIX]),
                b"/",
                text(&header[field::NAME]),
            ]
            .concat(),
            None => text(&header[field::NAME]).to_vec(),
        };
        let mtime = match extended.mtime {
            Some(mtime) => mtime,
            None => Mtime {
                // Eleven octal digits.
                seconds: self.octal(&header[field::MTIME])? as i64,
                nanoseconds: 0,
            },
        };
        let link = extended
            .link
            .unwrap_or_else(|| text(&header[field::LINK]).to_vec());
        let mode = self.octal(&header[field::MODE])? as u32 & 0o7777;
        self.contents = size;
        self.padding = padding(size);
        Ok(Member {
            name,
            kind,
            mode,
            size,
            mtime,
            link,
        })
    }

    fn extended(&mut self, header: &[u8; BLOCK]) -> Result<Extended, TarError> {
        let size = self.octal(&header[field::SIZE])?;
        if size > MOST_EXTENDED {
            return Err(self.problem("an extended header of more than 64 KiB"));
        }
        let mut records = vec![0; size as usize];
        self.fill(&mut records)?;
        self.fill(&mut [0; BLOCK][..padding(size)])?;
        let mut extended = Extended::default();
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            let Some((key, value, after)) = split_record(rest) else {
                return Err(self.problem("an extended header that cannot be read"));
            };
            rest = after;
            self.record(&mut extended, key, value)?;
        }
        Ok(extended)
    }

    fn record(&self, extended: &mut Extended, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        let twice = || self.problem("an extended header that says one thing twice");
        let bad = || self.problem("an extended header with an impossible value");
        let is_new = match key {
            b"path" => extended
                .path
                .replace(bytes(value).ok_or_else(bad)?)
                .is_none(),
            b"linkpath" => extended
                .link
                .replace(bytes(value).ok_or_else(bad)?)
                .is_none(),
            b"size" => {
                let size = decimal(value).ok_or_else(bad)?;
                extended.size.replace(size).is_none()
            }
            b"mtime" => {
                let time = time(value).ok_or_else(bad)?;
                extended.mtime.replace(time).is_none()
            }
            // Whom it belonged to and when it was read say nothing about a layer.
            b"uid"
            | b"gid"
            | b"uname"
            | b"gname"
            | b"atime"
            | b"ctime"
            | b"comment"
            | b"charset"
            | b"hdrcharset"
            | b"LIBARCHIVE.creationtime" => true,
            key if key.starts_with(b"GNU.sparse.") => return Err(self.problem("a sparse file")),
            key if key.starts_with(b"SCHILY.xattr.") || key.starts_with(b"LIBARCHIVE.xattr.") => {
                return Err(self.problem("an extended attribute"));
            }
            key if key.starts_with(b"SCHILY.acl.") => {
                return Err(self.problem("an access control list"));
            }
            _ => return Err(self.problem("an extended header with an unknown key")),
        };
        if is_new { Ok(()) } else { Err(twice()) }
    }

    /// A number in octal digits; spaces or zero bytes around it.
    fn octal(&self, place: &[u8]) -> Result<u64, TarError> {
        let digits = place.trim_ascii_start();
        let end = digits
            .iter()
            .position(|byte| matches!(byte, 0 | b' '))
            .unwrap_or(digits.len());
        let (digits, rest) = digits.split_at(end);
        let is_octal = digits.iter().all(|byte| matches!(byte, b'0'..=b'7'));
        if !is_octal || rest.iter().any(|byte| !matches!(byte, 0 | b' ')) {
            return Err(self.problem("a header with a number that is not octal"));
        }
        // Twelve digits at most.
        Ok(digits
            .iter()
            .fold(0, |number, digit| number * 8 + u64::from(digit - b'0')))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<(), TarError> {
        match self.inner.read_exact(buffer) {
            Ok(()) => {
                self.offset += buffer.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.problem("no end: it is cut off"))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn problem(&self, problem: &'static str) -> TarError {
        TarError::Problem {
            problem,
            offset: self.offset,
        }
    }
}

/// Up to the first zero byte.
fn text(place: &[u8]) -> &[u8] {
    place.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// A name without a zero byte and not longer than any name can be.
fn bytes(value: &[u8]) -> Option<Vec<u8>> {
    // A directory may end with a slash.
    let is_good = !value.is_empty() && !value.contains(&0) && value.len() <= TreePath::MAX + 1;
    is_good.then(|| value.to_vec())
}

/// The first record, `LENGTH KEY=VALUE\n`, and what follows it.
fn split_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&records[..space])?).ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let pair = record.get(space + 1..)?.strip_suffix(b"\n")?;
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    Some((&pair[..equals], &pair[equals + 1..], rest))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let is_plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(digits).ok()?;
    if is_plain { text.parse().ok() } else { None }
}

/// Seconds, perhaps negative, perhaps with a fraction, of which what is finer than a nanosecond is
/// refused: it could not be kept.
fn time(text: &[u8]) -> Option<Mtime> {
    const BILLION: i128 = 1_000_000_000;
    let (sign, text) = match text.strip_prefix(b"-") {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    let (seconds, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, b"0".as_slice()),
    };
    if fraction.len() > 9 && fraction[9..].iter().any(|digit| *digit != b'0') {
        return None;
    }
    let mut digits = [b'0'; 9];
    let length = fraction.len().min(9);
    digits[..length].copy_from_slice(&fraction[..length]);
    let nanoseconds = decimal(&digits)?;
    let all = sign * (i128::from(decimal(seconds)?) * BILLION + i128::from(nanoseconds));
    Some(Mtime {
        seconds: i64::try_from(all.div_euclid(BILLION)).ok()?,
        nanoseconds: all.rem_euclid(BILLION) as u32,
    })
}
