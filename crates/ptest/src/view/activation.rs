//! The scripts that a shell reads to use a virtual environment, for another place than the one they were made for.
//!
//! They are made for a place that no shell has to quote, and Pythons differ in whether they do it nevertheless. So what
//! stands in double quotes is escaped, and what stands bare is put into quotes: shells agree on both, but for `csh` on paths
//! that have quotes themselves.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The text with `to` wherever it names `from`.
pub(super) fn moved(text: &[u8], from: &Path, to: &Path) -> Vec<u8> {
    let (from, to) = (from.as_os_str().as_bytes(), to.as_os_str().as_bytes());
    let mut moved = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.windows(from.len()).position(|window| window == from) {
        let (before, after) = (&rest[..start], &rest[start + from.len()..]);
        moved.extend_from_slice(before);
        match before.last() {
            Some(b'"') => moved.extend(escaped(to)),
            Some(b'\'') => moved.extend(within_quotes(to)),
            _ => moved.extend(quoted(to)),
        }
        rest = after;
    }
    moved.extend_from_slice(rest);
    moved
}

/// In single quotes.
pub(super) fn quoted(text: &[u8]) -> Vec<u8> {
    [b"'", within_quotes(text).as_slice(), b"'"].concat()
}

/// For double quotes.
fn escaped(path: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for byte in path {
        if matches!(byte, b'"' | b'\\' | b'$' | b'`') {
            text.push(b'\\');
        }
        text.push(*byte);
    }
    text
}

/// For single quotes.
fn within_quotes(path: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for byte in path {
        match byte {
            b'\'' => text.extend_from_slice(b"'\\''"),
            byte => text.push(*byte),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved_to(text: &str, to: &str) -> String {
        String::from_utf8(moved(
            text.as_bytes(),
            Path::new("/ptest/env"),
            Path::new(to),
        ))
        .unwrap()
    }

    #[test]
    fn a_place_is_quoted_as_its_surroundings_want_it() {
        let text = "A=\"/ptest/env\"; B=/ptest/env; C='/ptest/env'; (/ptest/env)";
        assert_eq!(
            moved_to(text, "/a b/$c"),
            "A=\"/a b/\\$c\"; B='/a b/$c'; C='/a b/$c'; ('/a b/$c')"
        );
        assert_eq!(moved_to("B=/ptest/env", "/it's"), "B='/it'\\''s'");
    }
}
