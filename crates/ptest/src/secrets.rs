//! What may not be shown: keeps secrets out of logs.
//!
//! A secret is told by where it is said (the user part of a URL, after `password=`), by how it looks (tokens of well-known
//! services), or by the name of the variable that holds it. Not for what an environment sees: that is `variables`' business.
//! A short value, such as `1`, is no secret that could be kept: it would hide half of every line.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::sync::{Arc, PoisonError, RwLock};

use crate::python::redact::{redact, user_part};

/// What stands for a secret.
const HIDDEN: &str = "****";

/// The shortest value of a variable that is hidden wherever it appears.
const SHORTEST: usize = 6;

/// Parts of a variable's name that say that its value is a secret.
const SECRET_WORDS: [&str; 10] = [
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "PASSWD",
    "PASSPHRASE",
    "CREDENTIAL",
    "APIKEY",
    "ACCESSKEY",
    "PRIVATEKEY",
    "COOKIE",
];

/// Whole words of a variable's name that say so.
const SECRET_SEGMENTS: [&str; 5] = ["KEY", "PASS", "PAT", "AUTH", "PWD"];

/// Last words of a name that say that the value is where something is, not what it is.
const PLACES: [&str; 6] = ["SOCK", "FILE", "PATH", "DIR", "HOST", "USER"];

/// How tokens of well-known services begin.
const TOKENS: [&str; 17] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "pypi-AgE",
    "xoxb-",
    "xoxp-",
    "npm_",
    "hf_",
    "sk-",
    "dop_v1_",
    "AKIA",
    "ASIA",
    "eyJ",
];

/// The fewest characters that follow such a beginning, one of them a digit.
const TOKEN_LENGTH: usize = 16;

/// Words after which a secret is said, in lower case.
const INTRODUCTIONS: [&str; 14] = [
    "authorization: basic ",
    "authorization: bearer ",
    "bearer ",
    "password=",
    "password: ",
    "passwd=",
    "token=",
    "token: ",
    "secret=",
    "api_key=",
    "apikey=",
    "access_key=",
    "access-key=",
    "private_key=",
];

/// The secrets of a caller that are known by their value. Clones share them.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<Vec<String>>>);

/// Says how many there are and none of them.
impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let values = self.0.read().unwrap_or_else(PoisonError::into_inner);
        write!(f, "Secrets({})", values.len())
    }
}

impl Secrets {
    /// From now on hides the values of those variables that are secrets by their name, and the credentials in those that
    /// are URLs.
    pub fn learn<T: AsRef<OsStr>>(&self, variables: impl IntoIterator<Item = (T, T)>) {
        let mut values = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in variables {
            // What is not UTF-8 is in no line.
            let (Some(name), Some(value)) = (name.as_ref().to_str(), value.as_ref().to_str())
            else {
                continue;
            };
            let mut found: Vec<&str> = Vec::new();
            if is_secret(name) {
                found.extend(value.lines());
            }
            let words = value.split(|it: char| it.is_whitespace() || it == ',');
            for user in words.filter_map(user_part) {
                let user = user.trim_end_matches('@');
                found.push(user.split_once(':').map_or(user, |(_, password)| password));
            }
            for value in found.into_iter().map(str::trim) {
                if value.len() >= SHORTEST {
                    values.push(value.to_owned());
                    // As a debugger's form of a text has it.
                    values.push(value.escape_debug().to_string());
                }
            }
        }
        // A secret that begins with another is hidden whole.
        values.sort_unstable_by(|one, other| other.len().cmp(&one.len()).then(one.cmp(other)));
        values.dedup();
    }

    /// `text` with everything in it that may not be shown replaced by `****`.
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut shown = Cow::Borrowed(text);
        for value in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if shown.contains(value.as_str()) {
                shown = Cow::Owned(shown.replace(value.as_str(), HIDDEN));
            }
        }
        if shown.contains("://") {
            shown = Cow::Owned(redact(&shown));
        }
        match hide_by_look(&shown) {
            Some(hidden) => Cow::Owned(hidden),
            None => shown,
        }
    }
}

/// Whether the value of a variable of this name is a secret.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let mut segments = name.split(['_', '-']);
    let last = segments.clone().next_back().unwrap_or_default();
    !PLACES.contains(&last)
        && name != "PWD"
        && name != "OLDPWD"
        && (SECRET_WORDS.iter().any(|word| name.contains(word))
            || segments.any(|segment| SECRET_SEGMENTS.contains(&segment)))
}

/// The text without what looks like a secret; `None` when nothing does.
fn hide_by_look(text: &str) -> Option<String> {
    // Of the same length, so that places in it are places in the text.
    let lower = text.to_ascii_lowercase();
    let mut shown = String::new();
    let mut done = 0;
    let mut at = 0;
    while at < text.len() {
        match secret_at(text, &lower, at) {
            Some((from, to)) => {
                shown.push_str(&text[done..from]);
                shown.push_str(HIDDEN);
                (done, at) = (to, to);
            }
            None => at += text[at..].chars().next().map_or(1, char::len_utf8),
        }
    }
    if done == 0 {
        return None;
    }
    shown.push_str(&text[done..]);
    Some(shown)
}

/// The secret that is said or begins at a place.
fn secret_at(text: &str, lower: &str, at: usize) -> Option<(usize, usize)> {
    let introduced = INTRODUCTIONS
        .iter()
        .filter(|words| lower[at..].starts_with(**words))
        .map(|words| at + words.len())
        .max();
    if let Some(from) = introduced {
        let ends =
            |it: char| it.is_whitespace() || matches!(it, '"' | '\'' | '&' | ',' | ';' | ')');
        let from = from + usize::from(text[from..].starts_with(['"', '\'']));
        let to = text[from..].find(ends).map_or(text.len(), |end| from + end);
        let is_new = to > from && &text[from..to] != HIDDEN;
        return is_new.then_some((from, to));
    }
    let is_within_word = text[..at].ends_with(|it: char| it.is_ascii_alphanumeric());
    if is_within_word
        || !TOKENS
            .iter()
            .any(|beginning| text[at..].starts_with(beginning))
    {
        return None;
    }
    let is_part = |it: char| it.is_ascii_alphanumeric() || matches!(it, '_' | '-' | '.');
    let length = text[at..]
        .find(|it| !is_part(it))
        .unwrap_or(text.len() - at);
    let token = &text[at..at + length];
    (length >= TOKEN_LENGTH && token.contains(|it: char| it.is_ascii_digit()))
        .then_some((at, at + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn knowing(pairs: &[(&str, &str)]) -> Secrets {
        let secrets = Secrets::default();
        secrets.learn(pairs.iter().copied());
        secrets
    }

    #[test]
    fn a_variable_is_secret_by_its_name() {
        for name in [
            "GITHUB_TOKEN",
            "AWS_SECRET_ACCESS_KEY",
            "PGPASSWORD",
            "MYSQL_PWD",
            "TWINE_PASSWORD",
            "api_key",
            "OPENAI_APIKEY",
            "HTTP_AUTH",
            "GH_PAT",
        ] {
            assert!(is_secret(name), "{name}");
        }
        for name in [
            "PATH",
            "PWD",
            "OLDPWD",
            "SSH_AUTH_SOCK",
            "KEYBOARD",
            "AUTHOR",
            "PASSED",
            "HOME",
            "TOKEN_FILE",
            "DISPATCH",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    #[test]
    fn values_of_secret_variables_are_hidden_wherever_they_stand() {
        let secrets = knowing(&[
            ("API_TOKEN", "s3cr3t-value"),
            ("OTHER_TOKEN", "s3cr3t-value-and-more"),
            ("MULTI_SECRET", "line-one\nline-two"),
            ("ODD_PASSWORD", "has\"quote\\s"),
            ("CHATTY_TOKEN", "1"),
            ("COLOUR", "s3cr3t"),
        ]);
        assert_eq!(secrets.hide("a s3cr3t-value, b"), "a ****, b");
        assert_eq!(secrets.hide("s3cr3t-value-and-more"), "****");
        assert_eq!(secrets.hide("line-two"), "****");
        assert_eq!(secrets.hide("\"has\\\"quote\\\\s\""), "\"****\"");
        assert_eq!(secrets.hide("1 + 1"), "1 + 1");
        assert_eq!(secrets.hide("plain s3cr3t"), "plain s3cr3t");
    }

    #[test]
    fn credentials_of_indexes_are_hidden_also_out_of_their_url() {
        let secrets = knowing(&[("PIP_INDEX_URL", "https://me:p4ssw0rd@index/simple")]);
        assert_eq!(
            secrets.hide("401 for https://me:p4ssw0rd@index/simple (p4ssw0rd)"),
            "401 for https://****@index/simple (****)"
        );
    }

    #[test]
    fn what_looks_like_a_secret_is_hidden_though_nobody_told() {
        let secrets = Secrets::default();
        for (text, shown) in [
            ("ghp_0123456789abcdefABCD.", "****"),
            ("x ghp_0123456789abcdefABCD y", "x **** y"),
            (
                "Authorization: Bearer abc.def",
                "Authorization: Bearer ****",
            ),
            ("authorization: Basic dTpw", "authorization: Basic ****"),
            ("?token=abc&x=1", "?token=****&x=1"),
            ("password='hunter2'", "password='****'"),
            ("é password: hunter2 é", "é password: **** é"),
            ("AKIA0123456789ABCDEF", "****"),
        ] {
            assert_eq!(secrets.hide(text), shown, "{text}");
        }
        for text in [
            "sk-learn-contribution-package",
            "hf_hub",
            "token=****",
            "npm_config",
            "password=",
            "",
        ] {
            assert_eq!(secrets.hide(text), text);
        }
    }
}
