//! Writes headers. One member has one form, so that one tree is one file.

use super::{BLOCK, MAGIC, Member, checksum, field, padding};
use crate::manifest::Mtime;

/// What ends a tar.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The largest number that a field of twelve bytes holds.
const MOST: u64 = 0o777_7777_7777;

/// Writes the header of a member, and before it an extended one with what does not fit.
///
/// Its contents, [`padding`] and after the last one [`END`] are the caller's to write.
pub(crate) fn header(out: &mut Vec<u8>, member: &Member) {
    let mut records = Vec::new();
    if member.name.len() > field::NAME.len() {
        record(&mut records, "path", &member.name);
    }
    if member.link.len() > field::LINK.len() {
        record(&mut records, "linkpath", &member.link);
    }
    if member.size > MOST {
        record(&mut records, "size", member.size.to_string().as_bytes());
    }
    let mtime = plain(member.mtime);
    if mtime.is_none() {
        record(&mut records, "mtime", decimal(member.mtime).as_bytes());
    }
    if !records.is_empty() {
        let size = records.len() as u64;
        out.extend_from_slice(&block(b"PaxHeader", b'x', 0o644, size, 0, b""));
        out.extend_from_slice(&records);
        out.resize(out.len() + padding(size), 0);
    }
    out.extend_from_slice(&block(
        &member.name,
        member.kind.flag(),
        member.mode,
        // What is said above is not said again.
        if member.size > MOST { 0 } else { member.size },
        mtime.unwrap_or_default(),
        &member.link,
    ));
}

fn block(name: &[u8], flag: u8, mode: u32, size: u64, mtime: u64, link: &[u8]) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    put(&mut header[field::NAME], name);
    put_octal(&mut header[field::MODE], mode.into());
    put_octal(&mut header[field::UID], 0);
    put_octal(&mut header[field::GID], 0);
    put_octal(&mut header[field::SIZE], size);
    put_octal(&mut header[field::MTIME], mtime);
    header[field::TYPE] = flag;
    put(&mut header[field::LINK], link);
    header[field::MAGIC].copy_from_slice(MAGIC);
    let sum = checksum(&header);
    // Seven bytes, then by custom a space.
    put_octal(&mut header[field::CHECKSUM][..7], sum);
    header[field::CHECKSUM][7] = b' ';
    header
}

/// As much as there is room for: what is longer is said in the extended header.
fn put(place: &mut [u8], bytes: &[u8]) {
    let length = bytes.len().min(place.len());
    place[..length].copy_from_slice(&bytes[..length]);
}

/// Octal digits, and a zero byte at the end.
fn put_octal(place: &mut [u8], mut number: u64) {
    if let Some((_, digits)) = place.split_last_mut() {
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (number & 7) as u8;
            number >>= 3;
        }
    }
}

/// The seconds, if they say it all and fit.
fn plain(mtime: Mtime) -> Option<u64> {
    let seconds = u64::try_from(mtime.seconds).ok()?;
    (mtime.nanoseconds == 0 && seconds <= MOST).then_some(seconds)
}

/// As POSIX writes times: a sign, seconds and a fraction, of which the sign is the sign.
fn decimal(mtime: Mtime) -> String {
    const BILLION: i128 = 1_000_000_000;
    let all = i128::from(mtime.seconds) * BILLION + i128::from(mtime.nanoseconds);
    let sign = if all < 0 { "-" } else { "" };
    let (seconds, nanoseconds) = (all.abs() / BILLION, all.abs() % BILLION);
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `LENGTH KEY=VALUE\n`, where the length counts itself.
fn record(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} {key}=").as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}
