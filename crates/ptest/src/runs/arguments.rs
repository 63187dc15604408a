//! What is recorded of a command's arguments: their bytes, without the secrets that show in them.
//!
//! What is a secret is [`secrets`](crate::secrets)' business. It cannot find all: whoever must pass one uses a variable, whose
//! value is never recorded.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

use crate::python::redact::redact_bytes;
use crate::secrets::{Secrets, is_secret};

/// What stands for a secret.
const HIDDEN: &[u8] = b"****";

/// How many bytes of a command are recorded, and how many are told of in an event.
pub(super) const RECORDED: usize = 64 << 10;
pub(super) const TOLD: usize = 4 << 10;

/// The arguments as one value, secrets left out. What goes beyond `most` bytes is not in it, and an argument in its place says
/// so.
pub(super) fn encode(arguments: &[OsString], secrets: &Secrets, most: usize) -> Vec<u8> {
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
            hide(bytes, secrets, &mut encoded);
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
    let option = argument.strip_prefix(b"--").and_then(name);
    option.is_some_and(|option| !option.starts_with("no-") && is_secret(option))
}

/// Adds an argument without its secrets.
fn hide(argument: &[u8], secrets: &Secrets, shown: &mut Vec<u8>) {
    let equals = argument.iter().position(|byte| *byte == b'=');
    if let Some(equals) = equals
        && name(argument[..equals].trim_ascii_start()).is_some_and(is_secret)
    {
        // All of it is one value, spaces and all.
        shown.extend_from_slice(&argument[..=equals]);
        shown.extend_from_slice(HIDDEN);
        return;
    }
    for chunk in redact_bytes(argument).utf8_chunks() {
        shown.extend_from_slice(secrets.hide(chunk.valid()).as_bytes());
        shown.extend_from_slice(chunk.invalid());
    }
}

/// Bytes that can be the name of a variable or an option, as that.
fn name(bytes: &[u8]) -> Option<&str> {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = !bytes.is_empty() && bytes.iter().all(is_part);
    std::str::from_utf8(bytes).ok().filter(|_| is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(arguments: &[OsString]) -> Vec<u8> {
        super::encode(arguments, &Secrets::default(), RECORDED)
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
            "--count",
            "5",
            "def f(x): return x",
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
            ("API_TOKEN=x1 run --now", "API_TOKEN=****"),
            ("export apiToken=x1; run", "export apiToken=****; run"),
            (
                "http://h/?x=1&token=abc&y=2",
                "http://h/?x=1&token=****&y=2",
            ),
            ("https://me:se@cret@h/x", "https://****@h/x"),
            ("Authorization: Bearer abc", "Authorization: Bearer ****"),
        ] {
            assert_eq!(shown(argument), redacted);
        }
    }

    #[test]
    fn the_value_of_a_secret_variable_of_the_command_is_hidden_wherever_it_stands() {
        let secrets = Secrets::default();
        secrets.learn([("API_TOKEN", "hunter2"), ("COLOUR", "orange")]);
        let arguments = ["x", "login:hunter2", "orange"].map(OsString::from);
        let recorded = decode(&super::encode(&arguments, &secrets, RECORDED));
        assert_eq!(recorded, ["x", "login:****", "orange"]);
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
        let recorded = decode(&super::encode(&arguments, &Secrets::default(), 7));
        assert_eq!(recorded, ["a", "bcd", "[… 6 bytes left out …]"]);
        assert_eq!(
            decode(&super::encode(&arguments, &Secrets::default(), 100)),
            arguments
        );
    }

    #[test]
    fn a_secret_beside_bytes_that_are_not_utf8_is_hidden() {
        let argument = OsString::from_vec(b"\xffhttps://\xfe:pw@h token=abc x\xfe".to_vec());
        let recorded = decode(&encode(&[argument]));
        assert_eq!(
            recorded[0].as_bytes(),
            b"\xffhttps://****@h token=**** x\xfe"
        );
    }
}
