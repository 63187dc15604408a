//! Who the caller's commits are by, read from git's own configuration.
//!
//! Reads `user.name` and `user.email` from `$GIT_CONFIG_GLOBAL`, else from `$XDG_CONFIG_HOME/git/config` and
//! `~/.gitconfig`, without starting git: a process would cost more than an environment. Not for what a repository's own
//! configuration says (git reads that inside, where the repository is) and not for included files.

use std::{fs, path::PathBuf};

use crate::{python::HostEnv, settings::GitIdentity};

/// The identity that the caller's configuration gives; none if it gives neither name nor address.
pub fn identity(host: &HostEnv) -> Option<GitIdentity> {
    let mut identity = GitIdentity::default();
    for file in files(host) {
        // A file that is not there or cannot be read says nothing: git would go on without it too.
        let Ok(text) = fs::read_to_string(file) else {
            continue;
        };
        for (key, value) in user_section(&text) {
            match key.as_str() {
                "name" => identity.name = Some(value),
                "email" => identity.email = Some(value),
                _ => {}
            }
        }
    }
    (identity != GitIdentity::default()).then_some(identity)
}

/// Weakest first.
fn files(host: &HostEnv) -> Vec<PathBuf> {
    if let Some(global) = host.var("GIT_CONFIG_GLOBAL") {
        return vec![global.into()];
    }
    let home = host.home();
    let xdg = host
        .var("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(home.as_ref()?.join(".config")));
    [
        xdg.map(|xdg| xdg.join("git/config")),
        home.map(|home| home.join(".gitconfig")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The keys, in lower case, and values of `[user]`, in order.
fn user_section(text: &str) -> Vec<(String, String)> {
    let mut within = false;
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            within = section
                .split(']')
                .next()
                .is_some_and(|name| name.trim().eq_ignore_ascii_case("user"));
        } else if within && let Some((key, value)) = line.split_once('=') {
            found.push((key.trim().to_ascii_lowercase(), unquoted(value.trim())));
        }
    }
    found
}

/// A value without quotes, escapes and comment (git-config(1), "Values").
fn unquoted(value: &str) -> String {
    let mut text = String::new();
    let mut quoted = false;
    let mut characters = value.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted = !quoted,
            '\\' => text.extend(characters.next()),
            '#' | ';' if !quoted => break,
            other => text.push(other),
        }
    }
    if quoted {
        text
    } else {
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity_of(home: &[(&str, &str)]) -> Option<GitIdentity> {
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in home {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        identity(&HostEnv::new(
            [("HOME".into(), directory.path().into())],
            "/",
        ))
    }

    fn named(name: &str, email: &str) -> GitIdentity {
        GitIdentity {
            name: Some(name.to_owned()),
            email: Some(email.to_owned()),
        }
    }

    #[test]
    fn name_and_address_are_read_as_git_reads_them() {
        let text = "[core]\n\tname = no\n[User]\n\tName = \"Zoë # \\\"Z\\\"\" ; comment\n\temail=z@example.org # home\n[user \"x\"]\nname = no\n";
        assert_eq!(
            identity_of(&[(".gitconfig", text)]),
            Some(named("Zoë # \"Z\"", "z@example.org"))
        );
    }

    #[test]
    fn the_file_in_the_home_directory_is_stronger() {
        let xdg = "[user]\nname = a\nemail = a@example.org\n";
        let home = "[user]\nname = b\n";
        assert_eq!(
            identity_of(&[(".config/git/config", xdg), (".gitconfig", home)]),
            Some(named("b", "a@example.org"))
        );
    }

    #[test]
    fn without_a_configuration_there_is_none() {
        assert_eq!(identity_of(&[]), None);
        assert_eq!(
            identity_of(&[(".gitconfig", "[core]\nbare = false\n")]),
            None
        );
    }
}
