//! `cargo xtask tidy`: the repository's rules that neither the compiler nor clippy knows.
//!
//! Each rule reads text or cargo's metadata and names file and line. Formatting and lints are not its business.

use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::process::Result;
use crate::workspace::{Package, Workspace};

/// Longer files hold more than one subject.
const MOST_LINES: usize = 800;

/// The order of the crates: a crate depends only on crates of a lower number (tests may look anywhere).
const ORDER: &[(&str, u8)] = &[
    ("ptest-sandbox", 0),
    ("ptest-store", 0),
    ("ptest", 1),
    ("ptest-report", 2),
    ("ptest-testkit", 2),
    ("ptest-server", 3),
    ("ptest-cli", 4),
    ("ptest-py", 4),
    ("xtask", 5),
];

/// The only crate that may hold unsafe code.
const UNSAFE_CRATE: &str = "crates/ptest-sandbox/";

// Put together here, so that this file does not break its own rules.
const UNFINISHED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("db", "g!("),
    concat!("to", "do!("),
    concat!("unimplemented", "!("),
];
const ALLOW: [&str; 2] = [concat!("#[", "allow("), concat!("#![", "allow(")];
const UNSAFE: [&str; 5] = ["{", "fn ", "impl ", "extern ", "trait "];

/// Checks every rule and prints each breach.
///
/// # Errors
///
/// When a rule is broken or a file cannot be read.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let mut problems = dependencies(&workspace.packages);
    for package in &workspace.packages {
        let manifest = relative(&workspace.root, &package.manifest_path);
        if !fs::read_to_string(&package.manifest_path)?.contains("[lints]\nworkspace = true") {
            problems.push(Problem::of_file(
                &manifest,
                "does not take the workspace's lints",
            ));
        }
    }
    let machine_paths = machine_paths(workspace);
    for path in files(&workspace.root)? {
        let name = relative(&workspace.root, &path);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => continue,
            Err(error) => return Err(format!("{}: {error}", path.display()).into()),
        };
        problems.extend(text_rules(&name, &text, &machine_paths));
        if path.extension().is_some_and(|extension| extension == "rs") {
            problems.extend(rust_rules(&name, &text));
        }
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(format!("{} breaches of the repository's rules", problems.len()).into())
    }
}

#[derive(Debug)]
struct Problem {
    file: String,
    line: Option<usize>,
    rule: String,
}

impl Problem {
    fn of_file(file: &str, rule: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            rule: rule.into(),
        }
    }

    fn of_line(file: &str, index: usize, rule: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: Some(index + 1),
            rule: rule.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.rule),
            None => write!(f, "{}: {}", self.file, self.rule),
        }
    }
}

/// What names the machine that it was written on: where the repository lies and where its user keeps tools.
fn machine_paths(workspace: &Workspace) -> Vec<String> {
    let home = env::var("HOME")
        .ok()
        .map(|home| format!("{}/.", home.trim_end_matches('/')));
    home.into_iter()
        .chain([workspace.root.to_string_lossy().into_owned()])
        .collect()
}

fn text_rules(file: &str, text: &str, machine_paths: &[String]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for path in machine_paths {
            // In the middle of a longer path it is something else.
            let names_it = line.match_indices(path).any(|(at, _)| {
                let before = line[..at].chars().next_back();
                before.is_none_or(|before| !before.is_alphanumeric() && !"._-~}/*".contains(before))
            });
            if names_it {
                problems.push(Problem::of_line(
                    file,
                    index,
                    format!("names a path of this machine: {path}"),
                ));
            }
        }
    }
    problems
}

fn rust_rules(file: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !text.starts_with("//! ") {
        problems.push(Problem::of_file(
            file,
            "does not open with `//!`: what it is for, what it is not for",
        ));
    }
    let length = text.lines().count();
    if length > MOST_LINES {
        problems.push(Problem::of_file(
            file,
            format!("has {length} lines, more than {MOST_LINES}: split it by subject"),
        ));
    }
    if file.split('/').rev().nth(1) == Some("tests") && file.starts_with("crates/") {
        problems.push(Problem::of_file(
            file,
            "is a test binary of its own: put it into tests/it",
        ));
    }
    for (index, line) in text.lines().enumerate() {
        if let Some(word) = UNFINISHED.into_iter().find(|word| line.contains(word)) {
            problems.push(Problem::of_line(
                file,
                index,
                format!("{} is left unfinished", word.trim_end_matches('(')),
            ));
        }
        if ALLOW.into_iter().any(|attribute| line.contains(attribute)) {
            problems.push(Problem::of_line(
                file,
                index,
                "suppresses a lint for ever: use `expect` with a reason",
            ));
        }
        if !file.starts_with(UNSAFE_CRATE) && is_unsafe(line) {
            problems.push(Problem::of_line(
                file,
                index,
                format!("unsafe code outside {UNSAFE_CRATE}"),
            ));
        }
    }
    problems
}

fn is_unsafe(line: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    code.split("unsafe ")
        .skip(1)
        .any(|rest| UNSAFE.into_iter().any(|start| rest.starts_with(start)))
}

fn dependencies(packages: &[Package]) -> Vec<Problem> {
    let place = |name: &str| {
        ORDER
            .iter()
            .find(|(package, _)| *package == name)
            .map(|(_, place)| *place)
    };
    let mut problems = Vec::new();
    for package in packages {
        let Some(own) = place(&package.name) else {
            problems.push(Problem::of_file(
                &package.name,
                "has no place in the order of crates (xtask/src/tidy.rs)",
            ));
            continue;
        };
        for dependency in &package.dependencies {
            let is_inner = dependency.path.is_some() && dependency.kind.as_deref() != Some("dev");
            if is_inner && place(&dependency.name).is_none_or(|other| other >= own) {
                problems.push(Problem::of_file(
                    &package.name,
                    format!("depends outward on {}", dependency.name),
                ));
            }
        }
    }
    problems
}

/// Every file of the repository: what is built, downloaded or hidden by git is left out.
fn files(root: &Path) -> io::Result<Vec<PathBuf>> {
    const LEFT_OUT: [&str; 5] = ["target", ".git", ".venv", "__pycache__", "node_modules"];
    let mut found = Vec::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && !LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
                pending.push(entry.path());
            } else if kind.is_file() && entry.file_name() != ".git" {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn relative(root: &Path, path: &Path) -> String {
    path.strip_prefix(root)
        .unwrap_or(path)
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Dependency;

    fn rules(file: &str, text: &str) -> Vec<String> {
        rust_rules(file, text)
            .into_iter()
            .map(|it| it.to_string())
            .collect()
    }

    fn package(name: &str, on: &str, kind: Option<&str>) -> Package {
        let dependency = Dependency {
            name: on.to_owned(),
            kind: kind.map(str::to_owned),
            path: Some(PathBuf::from("/x")),
        };
        Package {
            name: name.to_owned(),
            manifest_path: PathBuf::new(),
            dependencies: vec![dependency],
        }
    }

    #[test]
    fn a_file_in_order_breaks_no_rule() {
        assert_eq!(
            rules(
                "crates/ptest/src/a.rs",
                "//! A.\n\nfn a() {} // unsafe { } in words\n"
            ),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_file_says_what_it_is_for() {
        assert_eq!(rules("crates/ptest/src/a.rs", "fn a() {}\n").len(), 1);
    }

    #[test]
    fn a_long_file_is_split() {
        let text = format!("//! A.\n{}", "\n".repeat(MOST_LINES));
        assert_eq!(rules("crates/ptest/src/a.rs", &text).len(), 1);
    }

    #[test]
    fn unfinished_work_and_lasting_suppressions_are_named_with_their_line() {
        for word in UNFINISHED.into_iter().chain(ALLOW) {
            let found = rules("crates/ptest/src/a.rs", &format!("//! A.\n{word}x)]\n"));
            assert!(
                found.len() == 1 && found[0].contains("a.rs:2:"),
                "{word}: {found:?}"
            );
        }
    }

    #[test]
    fn unsafe_code_stays_in_its_crate() {
        let text = format!("//! A.\nlet a = {} {{ b() }};\n", "unsafe");
        assert_eq!(rules("crates/ptest/src/a.rs", &text).len(), 1);
        assert_eq!(rules("crates/ptest-sandbox/src/a.rs", &text).len(), 0);
    }

    #[test]
    fn paths_of_this_machine_are_found_and_parts_of_others_are_not() {
        let here = [String::from("/srv/code"), String::from("/home/me/.")];
        let found = text_rules(
            "a.md",
            "see `/srv/code/x`\nx/srv/code\n/home/me/.cargo\n/home/me/x\n",
            &here,
        );
        assert_eq!(
            found.iter().map(|problem| problem.line).collect::<Vec<_>>(),
            [Some(1), Some(3)]
        );
    }

    #[test]
    fn a_crate_has_one_test_binary() {
        assert_eq!(rules("crates/ptest/tests/a.rs", "//! A.\n").len(), 1);
        assert_eq!(rules("crates/ptest/tests/it/a.rs", "//! A.\n").len(), 0);
    }

    #[test]
    fn arrows_go_one_way_except_for_tests() {
        assert_eq!(
            dependencies(&[package("ptest-cli", "ptest", None)]).len(),
            0
        );
        assert_eq!(
            dependencies(&[package("ptest-store", "ptest", None)]).len(),
            1
        );
        assert_eq!(
            dependencies(&[package("ptest-store", "ptest-sandbox", Some("build"))]).len(),
            1
        );
        assert_eq!(
            dependencies(&[package("ptest-store", "ptest-testkit", Some("dev"))]).len(),
            0
        );
        assert_eq!(
            dependencies(&[package("ptest-new", "ptest", None)]).len(),
            1
        );
    }
}
