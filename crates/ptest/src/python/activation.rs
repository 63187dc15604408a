//! The scripts that a shell reads to use a virtual environment, for another place than the one they were made for.
//!
//! They are made for a place that no shell has to quote, and Pythons differ in whether they do it nevertheless. So what
//! stands in double quotes is escaped, and what stands bare is put into quotes: shells agree on both, but for `csh` on paths
//! that have quotes themselves.

/// The text with `to` wherever it names `from`. The way back gives the same text again.
pub(crate) fn moved(text: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut moved = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((start, length, is_quoted)) = mention(rest, from) {
        let (before, after) = (&rest[..start], &rest[start + length..]);
        moved.extend_from_slice(before);
        match before.last() {
            _ if is_quoted => moved.extend(bare(to)),
            Some(b'"') => moved.extend(escaped(to)),
            Some(b'\'') => moved.extend(within_quotes(to)),
            _ => moved.extend(bare(to)),
        }
        rest = after;
    }
    moved.extend_from_slice(rest);
    moved
}

/// Where a path begins that a text names first, how long it is there, and whether the quotes around it are part of that.
fn mention(text: &[u8], path: &[u8]) -> Option<(usize, usize, bool)> {
    let spellings = [
        (quoted(path), true),
        (escaped(path), false),
        (within_quotes(path), false),
        (path.to_vec(), false),
    ];
    let found = spellings.into_iter().filter_map(|(spelling, is_quoted)| {
        let start = (0..text.len()).find(|start| {
            let rest = text[*start..].strip_prefix(spelling.as_slice());
            rest.is_some_and(|rest| is_quoted || !continues_a_name(rest))
        })?;
        Some((start, spelling.len(), is_quoted))
    });
    found.min_by_key(|(start, length, _)| (*start, usize::MAX - length))
}

/// Whether what follows makes a path the beginning of another name.
fn continues_a_name(rest: &[u8]) -> bool {
    rest.first()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(byte))
}

/// For a place without quotes.
fn bare(path: &[u8]) -> Vec<u8> {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,".contains(byte);
    if path.iter().all(is_plain) {
        path.to_vec()
    } else {
        quoted(path)
    }
}

/// In single quotes.
pub(crate) fn quoted(text: &[u8]) -> Vec<u8> {
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
        String::from_utf8(moved(text.as_bytes(), b"/ptest/env", to.as_bytes())).unwrap()
    }

    #[test]
    fn a_place_is_quoted_as_its_surroundings_want_it() {
        let text = "A=\"/ptest/env\"; B=/ptest/env; C='/ptest/env'; (/ptest/env)";
        assert_eq!(
            moved_to(text, "/a b/$c"),
            "A=\"/a b/\\$c\"; B='/a b/$c'; C='/a b/$c'; ('/a b/$c')"
        );
        assert_eq!(moved_to("B=/ptest/env", "/it's"), "B='/it'\\''s'");
        assert_eq!(moved_to("B=/ptest/env", "/v"), "B=/v");
    }

    #[test]
    fn the_way_back_gives_the_same_text_again() {
        let text = "A=\"/ptest/env\"; B=/ptest/env; C='/ptest/env/bin'; (/ptest/env)\n";
        for place in ["/v", "/a b", "/a'b", "/a$b\"`\\c", "/ptest/envs/e1", "/é"] {
            let there = moved_to(text, place);
            let back = moved(there.as_bytes(), place.as_bytes(), b"/ptest/env");
            assert_eq!(String::from_utf8(back).unwrap(), text, "{there}");
        }
    }
}
