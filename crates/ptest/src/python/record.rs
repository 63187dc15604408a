//! The list of files of a distribution (`RECORD`): reading, writing, hashes.

use std::fmt::Write as _;

use sha2::{Digest, Sha256, Sha384, Sha512};

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RecordEntry {
    /// As written: relative to the directory that holds the distribution's metadata directory.
    pub(crate) path: String,
    /// `sha256=…`; empty if there is none.
    pub(crate) hash: String,
    /// Empty if there is none.
    pub(crate) size: String,
}

impl RecordEntry {
    /// A line for a file whose SHA-256 and size are known.
    pub(crate) fn new(path: String, digest: &[u8], size: u64) -> Self {
        Self {
            path,
            hash: format!("sha256={}", base64(digest)),
            size: size.to_string(),
        }
    }

    /// A line that only names a file.
    pub(crate) fn bare(path: String) -> Self {
        Self {
            path,
            hash: String::new(),
            size: String::new(),
        }
    }
}

/// Reads a list; `None` if a line has too many fields or an open quotation mark.
pub(crate) fn parse(text: &str) -> Option<Vec<RecordEntry>> {
    let mut entries = Vec::new();
    let mut rest = text.trim_start_matches('\u{feff}');
    while !rest.is_empty() {
        let (fields, after) = row(rest)?;
        rest = after;
        if fields.iter().all(String::is_empty) {
            continue;
        }
        let mut fields = fields.into_iter();
        let entry = RecordEntry {
            path: fields.next()?,
            hash: fields.next().unwrap_or_default(),
            size: fields.next().unwrap_or_default(),
        };
        if fields.next().is_some() {
            return None;
        }
        entries.push(entry);
    }
    Some(entries)
}

/// Writes a list, sorted.
pub(crate) fn write(mut entries: Vec<RecordEntry>) -> String {
    entries.sort();
    let mut text = String::new();
    for entry in entries {
        for (field, end) in [(&entry.path, ','), (&entry.hash, ','), (&entry.size, '\n')] {
            if field.contains([',', '"', '\n', '\r']) {
                let _ = write!(text, "\"{}\"", field.replace('"', "\"\""));
            } else {
                text.push_str(field);
            }
            text.push(end);
        }
    }
    text
}

/// Splits the first line of CSV text, as Python's `csv` writes it, from the rest.
fn row(text: &str) -> Option<(Vec<String>, &str)> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let mut field = String::new();
        if let Some(mut quoted) = rest.strip_prefix('"') {
            loop {
                let end = quoted.find('"')?;
                field.push_str(&quoted[..end]);
                quoted = &quoted[end + 1..];
                match quoted.strip_prefix('"') {
                    Some(more) => {
                        field.push('"');
                        quoted = more;
                    }
                    None => break,
                }
            }
            rest = quoted;
        } else {
            let end = rest.find([',', '\n', '\r']).unwrap_or(rest.len());
            field.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        fields.push(field);
        if let Some(more) = rest.strip_prefix(',') {
            rest = more;
        } else if rest.is_empty() {
            return Some((fields, rest));
        } else {
            let after = rest
                .strip_prefix("\r\n")
                .or_else(|| rest.strip_prefix(['\n', '\r']))?;
            return Some((fields, after));
        }
    }
}

/// Hashes a file with SHA-256, and with what its list names if that is another kind.
pub(crate) enum Hasher {
    Sha256(Sha256),
    Sha384(Sha256, Sha384),
    Sha512(Sha256, Sha512),
}

/// The digests of a file.
pub(crate) struct Digests {
    pub(crate) sha256: Vec<u8>,
    /// In the form of a list: `sha512=…`.
    pub(crate) named: String,
}

impl Hasher {
    /// For a hash as a list has it; `None` if it is of a kind that proves nothing.
    pub(crate) fn for_hash(hash: &str) -> Option<Self> {
        match hash.split_once('=').map(|(kind, _)| kind) {
            None if hash.is_empty() => Some(Self::Sha256(Sha256::new())),
            Some("sha256") => Some(Self::Sha256(Sha256::new())),
            Some("sha384") => Some(Self::Sha384(Sha256::new(), Sha384::new())),
            Some("sha512") => Some(Self::Sha512(Sha256::new(), Sha512::new())),
            _ => None,
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher, named) => {
                hasher.update(bytes);
                named.update(bytes);
            }
            Self::Sha512(hasher, named) => {
                hasher.update(bytes);
                named.update(bytes);
            }
        }
    }

    pub(crate) fn finish(self) -> Digests {
        let (sha256, named) = match self {
            Self::Sha256(hasher) => {
                let digest = hasher.finalize().to_vec();
                let named = format!("sha256={}", base64(&digest));
                (digest, named)
            }
            Self::Sha384(hasher, named) => (
                hasher.finalize().to_vec(),
                format!("sha384={}", base64(&named.finalize())),
            ),
            Self::Sha512(hasher, named) => (
                hasher.finalize().to_vec(),
                format!("sha512={}", base64(&named.finalize())),
            ),
        };
        Digests { sha256, named }
    }
}

/// Base 64 with the alphabet for URLs and without padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .chain([&0, &0])
            .take(3)
            .fold(0_usize, |group, byte| group << 8 | usize::from(*byte));
        for position in 0..=chunk.len() {
            text.push(ALPHABET[group >> (18 - 6 * position) & 63] as char);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_comes_back_as_it_was_written() {
        let entries = vec![
            RecordEntry::bare("b.dist-info/RECORD".into()),
            RecordEntry::new("a, \"quoted\"\nname.py".into(), b"x", 1),
        ];
        let text = write(entries.clone());
        assert_eq!(
            text,
            "\"a, \"\"quoted\"\"\nname.py\",sha256=eA,1\nb.dist-info/RECORD,,\n"
        );
        let mut read = parse(&text).unwrap();
        read.reverse();
        assert_eq!(read, entries);
    }

    #[test]
    fn windows_line_ends_and_missing_fields_are_read() {
        let entries = parse("a.py,sha256=x,1\r\nb.py\r\n\r\n").unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1], RecordEntry::bare("b.py".into()));
        assert_eq!(parse("\"open"), None);
        assert_eq!(parse("a,b,c,d"), None);
    }

    #[test]
    fn hashes_are_those_of_the_standard() {
        let digest = |hash: &str| {
            let mut hasher = Hasher::for_hash(hash).unwrap();
            hasher.update(b"abc");
            hasher.finish().named
        };
        assert_eq!(
            digest("sha256=x"),
            "sha256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
        );
        assert!(digest("sha512=x").starts_with("sha512=3a81oZNherrMQXNJriBBMRLm-k6JqX6iCp7u5ktV05ohkpkqJ0_BqDa6PCOj_uu9RU1EI2Q86A4qmslPpUyknw"));
        assert!(Hasher::for_hash("md5=x").is_none());
    }
}
