//! Moves the text of a file from one prefix to another: what makes a tree that was made for
//! `/ptest/env` work where it is copied to.
//!
//! Bytes in, bytes out; which files are to be rewritten is the business of `materialize`.

/// The longest first line that every kernel reads in full.
const LONGEST_LINE: usize = 127;

/// From where to where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefix<'a> {
    pub(crate) from: &'a [u8],
    pub(crate) to: &'a [u8],
}

impl Prefix<'_> {
    /// Whether scripts can name the new prefix at all.
    pub(crate) fn is_usable(&self) -> bool {
        let breaks_a_line = |byte: &u8| matches!(byte, b'\n' | b'\r' | 0);
        !self.from.is_empty()
            && !self.to.is_empty()
            && !self.to.iter().any(breaks_a_line)
            // It has to stand in a string of Python, which this would end.
            && find(self.to, b"'''").is_none()
    }

    /// The text with every mention of the old prefix replaced; `None` when there is none, or when
    /// it is not text.
    pub(crate) fn text(&self, contents: &[u8]) -> Option<Vec<u8>> {
        if contents.contains(&0) {
            return None;
        }
        self.replace(contents)
    }

    /// The same for a script: its first line is rewritten even when the rest is not text, as in a
    /// zip archive that can be executed; `None` when there is nothing to change.
    pub(crate) fn script(&self, contents: &[u8]) -> Option<Vec<u8>> {
        let end = contents
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap_or(contents.len());
        let (line, rest) = contents.split_at(end);
        let new_line = self.first_line(line);
        let new_rest = self.text(rest);
        if new_line.is_none() && new_rest.is_none() {
            return None;
        }
        let mut new = new_line.unwrap_or_else(|| line.to_vec());
        new.extend_from_slice(new_rest.as_deref().unwrap_or(rest));
        Some(new)
    }

    /// The target of a symbolic link; `None` when it does not point into the old prefix.
    pub(crate) fn target(&self, target: &[u8]) -> Option<Vec<u8>> {
        let rest = target.strip_prefix(self.from)?;
        if !rest.is_empty() && !rest.starts_with(b"/") {
            return None;
        }
        Some([self.to, rest].concat())
    }

    /// A `#!` line without its end. Where the kernel could not read the new one, because it is
    /// too long or the interpreter's path has a space, `sh` starts the interpreter: the two lines
    /// are a command to `sh` and a string to Python, as pip writes them.
    fn first_line(&self, line: &[u8]) -> Option<Vec<u8>> {
        let command = line.strip_prefix(b"#!")?.trim_ascii();
        let split = command
            .iter()
            .position(u8::is_ascii_whitespace)
            .unwrap_or(command.len());
        let (old, arguments) = command.split_at(split);
        let Some(interpreter) = self.target(old) else {
            // `/usr/bin/env` and the like can still have it among the arguments.
            return self.replace(line);
        };
        let arguments = self
            .replace(arguments)
            .unwrap_or_else(|| arguments.to_vec());
        let plain = [b"#!", interpreter.as_slice(), &arguments].concat();
        let readable =
            plain.len() <= LONGEST_LINE && !interpreter.iter().any(u8::is_ascii_whitespace);
        if readable || !is_python(&interpreter) {
            return Some(plain);
        }
        let quoted = quote(&interpreter);
        Some(
            [
                b"#!/bin/sh\n'''exec' ".as_slice(),
                &quoted,
                &arguments,
                b" \"$0\" \"$@\"\n' '''",
            ]
            .concat(),
        )
    }

    fn replace(&self, contents: &[u8]) -> Option<Vec<u8>> {
        let mut new = Vec::new();
        let mut rest = contents;
        let mut changed = false;
        while let Some(start) = find(rest, self.from) {
            let end = start + self.from.len();
            new.extend_from_slice(&rest[..start]);
            if continues_a_name(&rest[end..]) {
                new.extend_from_slice(&rest[start..end]);
            } else {
                new.extend_from_slice(self.to);
                changed = true;
            }
            rest = &rest[end..];
        }
        new.extend_from_slice(rest);
        changed.then_some(new)
    }
}

/// Whether what follows makes the prefix the beginning of another name: `/ptest/environment` is
/// not in `/ptest/env`.
fn continues_a_name(rest: &[u8]) -> bool {
    let rest = rest.strip_prefix(b".").unwrap_or(rest);
    rest.first()
        .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn is_python(interpreter: &[u8]) -> bool {
    let name = interpreter.rsplit(|byte| *byte == b'/').next();
    name.is_some_and(|name| name.starts_with(b"python") || name.starts_with(b"pypy"))
}

/// In double quotes, for `sh`.
fn quote(path: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for byte in path {
        if matches!(byte, b'"' | b'\\' | b'$' | b'`') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    quoted
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut start = 0;
    while let Some(offset) = haystack[start..].iter().position(|byte| *byte == first) {
        let candidate = start + offset;
        if haystack[candidate..].starts_with(needle) {
            return Some(candidate);
        }
        start = candidate + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(to: &str) -> Prefix<'_> {
        Prefix {
            from: b"/ptest/env",
            to: to.as_bytes(),
        }
    }

    fn text(bytes: Option<Vec<u8>>) -> Option<String> {
        bytes.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn every_mention_is_replaced_and_longer_names_are_not() {
        let old =
            b"VIRTUAL_ENV='/ptest/env'\nx=-I/ptest/env/include:/ptest/environment:/ptest/env.d";
        assert_eq!(
            text(to("/v").text(old)).unwrap(),
            "VIRTUAL_ENV='/v'\nx=-I/v/include:/ptest/environment:/ptest/env.d"
        );
        assert_eq!(to("/v").text(b"nothing here"), None);
        assert_eq!(to("/v").text(b"/ptest/env\0"), None);
    }

    #[test]
    fn a_short_first_line_stays_one_line() {
        let old = b"#!/ptest/env/bin/python3 -E\nimport sys\n";
        assert_eq!(
            text(to("/v").script(old)).unwrap(),
            "#!/v/bin/python3 -E\nimport sys\n"
        );
    }

    #[test]
    fn a_long_first_line_or_a_space_goes_through_sh() {
        let expected = "#!/bin/sh\n'''exec' \"/a b/\\$x/bin/python\" -E \"$0\" \"$@\"\n' '''\nx\n";
        let old = b"#!/ptest/env/bin/python -E\nx\n";
        assert_eq!(text(to("/a b/$x").script(old)).unwrap(), expected);

        let fits = format!(
            "/{}",
            "d".repeat(LONGEST_LINE - 2 - 1 - "/bin/python".len())
        );
        let old = b"#!/ptest/env/bin/python\n";
        let new = text(to(&fits).script(old)).unwrap();
        assert_eq!(new, format!("#!{fits}/bin/python\n"));
        let too_long = format!("{fits}d");
        assert!(
            text(to(&too_long).script(old))
                .unwrap()
                .starts_with("#!/bin/sh\n")
        );
    }

    #[test]
    fn only_the_first_line_of_an_executable_archive_changes() {
        let old = b"#!/ptest/env/bin/python\nPK\0/ptest/env";
        let new = to("/v").script(old).unwrap();
        assert_eq!(new, b"#!/v/bin/python\nPK\0/ptest/env");
    }

    #[test]
    fn a_script_of_another_interpreter_is_left_alone() {
        assert_eq!(to("/v").script(b"#!/bin/sh\necho\n"), None);
        assert_eq!(
            text(to("/v").script(b"#!/usr/bin/env /ptest/env/bin/python\n")).unwrap(),
            "#!/usr/bin/env /v/bin/python\n"
        );
    }

    #[test]
    fn links_into_the_prefix_move_and_others_do_not() {
        assert_eq!(text(to("/v").target(b"/ptest/env/lib")).unwrap(), "/v/lib");
        assert_eq!(text(to("/v").target(b"/ptest/env")).unwrap(), "/v");
        assert_eq!(to("/v").target(b"/ptest/environment"), None);
        assert_eq!(to("/v").target(b"../ptest/env"), None);
    }

    #[test]
    fn a_prefix_that_would_end_the_line_or_the_string_is_unusable() {
        assert!(to("/a b/ü'").is_usable());
        for bad in ["", "/a\nb", "/a'''b"] {
            assert!(!to(bad).is_usable(), "{bad:?}");
        }
    }
}
