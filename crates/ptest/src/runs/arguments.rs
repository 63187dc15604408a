//! What is recorded of a command's arguments: their bytes, without the secrets that show in them.
//!
//! A secret is told by what stands before it, so this cannot find all: whoever must pass one uses a variable, whose value is
//! never recorded.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use crate::python::redact::redact_bytes;

/// What stands for a secret.
const HIDDEN: &[u8] = b"****";
/// How names end, without their separators, that have a secret as their value.
const SECRETS: [&[u8]; 10] = [
    b"password",
    b"passwd",
    b"passphrase",
    b"secret",
    b"token",
    b"credential",
    b"credentials",
    b"apikey",
    b"accesskey",
    b"privatekey",
];

/// How many bytes of a command are recorded, and how many are told of in an event.
pub(super) const RECORDED: usize = 64 << 10;
pub(super) const TOLD: usize = 4 << 10;

/// The arguments as one value, secrets left out. What goes beyond `most` bytes is not in it, and an argument in its place says
/// so.
pub(super) fn encode(arguments: &[OsString], most: usize) -> Vec<u8> {
    let mut encoded = Vec::new();
    let mut hide_next = false;
    for (place, argument) in arguments.iter().enumerate() {
        if encoded.len() + argument.len() > most {
            let left: usize = arguments[place..]
                .iter()
                .map(|argument| argument.len())
                .sum();
            encoded.extend(format!("[… {left} bytes left out …]\0").into_bytes());
            break;
        }
        let bytes = argument.as_bytes();
        if hide_next && !bytes.starts_with(b"-") {
            encoded.extend_from_slice(HIDDEN);
        } else {
            encoded.extend(redact_bytes(&without_values(bytes)));
        }
        hide_next = asks_for_secret(bytes);
        // No argument has this byte in it.
        encoded.push(0);
    }
    encoded
}

/// The reverse of [`encode`].
pub(super) fn decode(encoded: &[u8]) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = encoded
        .split(|byte| *byte == 0)
        .map(|argument| OsString::from_vec(argument.to_vec()))
        .collect();
    arguments.pop();
    arguments
}

/// Whether an argument is an option whose value, a secret, is the next.
fn asks_for_secret(argument: &[u8]) -> bool {
    let option = argument.strip_prefix(b"--");
    option.is_some_and(|name| !name.starts_with(b"no-") && is_name(name) && names_secret(name))
}

/// An argument with the value hidden of each `NAME=VALUE` and `Some-Header: VALUE` in it that is a secret.
fn without_values(argument: &[u8]) -> Vec<u8> {
    let mut shown = Vec::with_capacity(argument.len());
    let mut rest = argument;
    while let Some(found) = rest.iter().position(|byte| matches!(byte, b'=' | b':')) {
        let (before, after) = rest.split_at(found + 1);
        shown.extend_from_slice(before);
        rest = after;
        let name_begins = before[..found].iter().rposition(|byte| !is_in_name(*byte));
        let name = &before[name_begins.map_or(0, |last| last + 1)..found];
        let is_header =
            rest.starts_with(b" ") && (name.contains(&b'-') || ends_with(name, b"authorization"));
        let end = match before[found] {
            // The whole argument is one value, spaces and all.
            b'=' if names_secret(name) && shown.len() == name.len() + 1 => rest.len(),
            b'=' if names_secret(name) => value_end(rest),
            b':' if is_header && (names_secret(name) || ends_with(name, b"authorization")) => {
                shown.push(b' ');
                let ends = |byte: &u8| matches!(byte, b'"' | b'\'' | b'\n' | b'\r');
                rest.iter().position(ends).unwrap_or(rest.len())
            }
            _ => continue,
        };
        if end > 0 {
            shown.extend_from_slice(HIDDEN);
        }
        rest = &rest[end..];
    }
    shown.extend_from_slice(rest);
    shown
}

/// Where a value ends among other words: at its second quote, or where the word ends.
fn value_end(rest: &[u8]) -> usize {
    let Some(quote) = rest.first().filter(|first| matches!(first, b'"' | b'\'')) else {
        let ends = |byte: &u8| byte.is_ascii_whitespace() || br#""'&;,)|<>"#.contains(byte);
        return rest.iter().position(ends).unwrap_or(rest.len());
    };
    let second = rest[1..].iter().position(|byte| byte == quote);
    second.map_or(rest.len(), |second| second + 2)
}

fn names_secret(name: &[u8]) -> bool {
    SECRETS.iter().any(|ending| ends_with(name, ending))
}

/// Whether a name ends so, separators and capitals left aside.
fn ends_with(name: &[u8], ending: &[u8]) -> bool {
    let letters = name
        .iter()
        .rev()
        .filter(|byte| byte.is_ascii_alphanumeric());
    let letters: Vec<u8> = letters
        .take(ending.len())
        .map(u8::to_ascii_lowercase)
        .collect();
    letters.iter().eq(ending.iter().rev())
}

fn is_name(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| is_in_name(*byte))
}

fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(arguments: &[OsString]) -> Vec<u8> {
        super::encode(arguments, RECORDED)
    }

    fn shown(argument: &str) -> String {
        let encoded = encode(&[argument.into()]);
        decode(&encoded)[0].to_str().unwrap().to_owned()
    }

    #[test]
    fn every_byte_of_harmless_arguments_is_kept() {
        let arguments = [
            "",
            "a b\n",
            "--max-tokens",
            "5",
            "tokenizer=x",
            "def f(token: str):",
            "http://h/a@b",
            "a:b=c",
        ];
        let mut arguments: Vec<OsString> = arguments.map(Into::into).into();
        arguments.push(OsString::from_vec(b"\xff\xfe".to_vec()));
        assert_eq!(decode(&encode(&arguments)), arguments);
        assert_eq!(decode(&encode(&[])), Vec::<OsString>::new());
    }

    #[test]
    fn what_is_named_as_a_secret_is_hidden() {
        for (argument, redacted) in [
            ("--password=a b c", "--password=****"),
            ("DB_PASSWORD=", "DB_PASSWORD="),
            ("API_TOKEN=x1 run --now", "API_TOKEN=****"),
            ("export apiToken=x1; run", "export apiToken=****; run"),
            (
                "env AWS_SECRET_ACCESS_KEY='a b' run",
                "env AWS_SECRET_ACCESS_KEY=**** run",
            ),
            (
                "http://h/?x=1&api-key=abc&y=2",
                "http://h/?x=1&api-key=****&y=2",
            ),
            ("https://me:se@cret@h/x", "https://****@h/x"),
            ("Authorization: Bearer abc", "Authorization: ****"),
            (
                "curl -H 'X-Auth-Token: abc' h",
                "curl -H 'X-Auth-Token: ****' h",
            ),
        ] {
            assert_eq!(shown(argument), redacted);
        }
    }

    #[test]
    fn the_value_that_follows_an_option_is_hidden_and_an_option_is_not() {
        let arguments = [
            "x",
            "--token",
            "abc",
            "--secret",
            "--now",
            "--no-password",
            "y",
        ]
        .map(OsString::from);
        let recorded = decode(&encode(&arguments));
        assert_eq!(
            recorded,
            [
                "x",
                "--token",
                "****",
                "--secret",
                "--now",
                "--no-password",
                "y"
            ]
        );
    }

    #[test]
    fn a_command_that_is_very_long_is_cut_and_says_so() {
        let arguments = ["a", "bcd", "efghi", "j"].map(OsString::from);
        let recorded = decode(&super::encode(&arguments, 7));
        assert_eq!(recorded, ["a", "bcd", "[… 6 bytes left out …]"]);
        assert_eq!(decode(&super::encode(&arguments, 100)), arguments);
    }

    #[test]
    fn a_secret_beside_bytes_that_are_not_utf8_is_hidden() {
        let argument = OsString::from_vec(b"\xffhttps://\xfe:pw@h TOKEN=\xfd\xfc x".to_vec());
        let recorded = decode(&encode(&[argument]));
        assert_eq!(recorded[0].as_bytes(), b"\xffhttps://****@h TOKEN=**** x");
    }
}
