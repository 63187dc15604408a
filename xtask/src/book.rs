//! `cargo xtask book`: the documents as a book to be read in a browser, in `target/book/site`.
//!
//! Its pages are files of the repository at their places, so that a link that holds in one holds in the other. Whatever
//! the book lacks is an error: a link or an anchor that leads nowhere, a page that no reader would come to, a Python name
//! that there is not. Not for generated pages: those are `docs`' to write.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, Result};
use crate::tools;
use crate::workspace::Workspace;

/// What the book is made with, and all that this needs, each at one version.
const REQUIREMENTS: &str = "docs/requirements.txt";

/// The Python that makes it: the one that the requirements were chosen for.
const PYTHON: &str = "3.12";

/// What the book is made of.
const PAGES: [&str; 5] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs",
];

/// Builds the book, and prints where it is.
///
/// # Errors
///
/// As [`check`].
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let uv = tools::uv(workspace)?;
    let site = check(workspace, &uv)?;
    println!("{}", site.join("index.html").display());
    Ok(())
}

/// Builds the book, and gives its directory.
///
/// # Errors
///
/// When a link leads nowhere, a page is not in the table of contents, or what makes the book cannot be installed.
pub(crate) fn check(workspace: &Workspace, uv: &Path) -> Result<PathBuf> {
    let program = installed(workspace, uv)?;
    let book = workspace.target.join("book");
    if book.exists() {
        fs::remove_dir_all(&book)?;
    }
    let pages = book.join("pages");
    fs::create_dir_all(&pages)?;
    for name in PAGES {
        copy(&workspace.root.join(name), &pages.join(name))?;
    }
    copy(
        &workspace.root.join("python/ptest"),
        &book.join("python/ptest"),
    )?;
    let contents = workspace.root.join("mkdocs.yml");
    fs::copy(&contents, book.join("mkdocs.yml"))?;
    let unlisted = unlisted(&fs::read_to_string(&contents)?, &markdown(&pages, &pages)?);
    if !unlisted.is_empty() {
        return Err(format!("not in `nav` of mkdocs.yml: {}", unlisted.join(", ")).into());
    }
    let mut build = Command::new(program);
    build
        .args(["build", "--strict", "--clean"])
        .current_dir(&book);
    process::captured(&mut build).map_err(|error| uncoloured(&error.to_string()))?;
    Ok(book.join("site"))
}

/// The program that makes the book, in a virtual environment that goes with the requirements.
fn installed(workspace: &Workspace, uv: &Path) -> Result<PathBuf> {
    let requirements = workspace.root.join(REQUIREMENTS);
    let wanted = fs::read(&requirements)?;
    let environment = workspace.tools().join("book");
    // Written when all is there, and what says for which requirements that is.
    let complete = environment.join("requirements.txt");
    if fs::read(&complete).ok().as_deref() != Some(wanted.as_slice()) {
        let python = tools::python_of(workspace, uv, PYTHON)
            .ok_or_else(|| format!("the book needs a Python {PYTHON}"))?;
        let mut create = Command::new(uv);
        create.args(["venv", "--quiet", "--clear", "--python"]);
        process::run(create.arg(python).arg(&environment))?;
        let mut install = Command::new(uv);
        install
            .args(["pip", "install", "--quiet", "--require-hashes", "--python"])
            .arg(environment.join("bin/python"))
            .arg("-r")
            .arg(&requirements)
            .env("UV_LINK_MODE", "copy");
        process::run(&mut install)?;
        fs::write(&complete, wanted)?;
    }
    Ok(environment.join("bin/zensical"))
}

/// What a terminal shows of a text: the builder colours each letter, whether or not it writes to one.
fn uncoloured(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |shown, piece| {
        shown + piece.split_once('m').map_or(piece, |(_, rest)| rest)
    })
}

/// Pages that the table of contents does not name.
fn unlisted(contents: &str, pages: &[String]) -> Vec<String> {
    let listed: Vec<&str> = contents
        .split_once("\nnav:\n")
        .map_or("", |(_, nav)| nav)
        .lines()
        .take_while(|line| line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().next_back())
        .collect();
    let is_listed = |page: &&String| !listed.contains(&page.as_str());
    pages.iter().filter(is_listed).cloned().collect()
}

/// Every page below a directory, as `top` sees it.
fn markdown(top: &Path, directory: &Path) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(markdown(top, &path)?);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path.strip_prefix(top)?.to_string_lossy().into_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// Copies a file or a tree; what programs leave in one is left out: bytecode, hidden files, extension modules.
fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            let is_left = name == "__pycache__" || name.to_string_lossy().starts_with('.');
            if !is_left && Path::new(&name).extension() != Some("so".as_ref()) {
                copy(&from.join(&name), &to.join(&name))?;
            }
        }
    } else {
        fs::copy(from, to).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_no_reader_would_come_to_is_named() {
        let contents = "docs_dir: pages\nnav:\n  - a.md\n  - Guide:\n      - B: docs/b.md\n\nother:\n  - c.md\n";
        let pages = ["a.md", "c.md", "docs/b.md"].map(str::to_owned);
        assert_eq!(unlisted(contents, &pages), ["c.md"]);
    }

    #[test]
    fn what_is_coloured_can_be_read_in_a_file() {
        let text = "\u{1b}[33mWarning:\u{1b}[0m page \u{1b}[38;5;249ma\u{1b}[0m.md";
        assert_eq!(uncoloured(text), "Warning: page a.md");
        assert_eq!(uncoloured("plain"), "plain");
    }

    #[test]
    fn pages_are_found_below_and_other_files_are_not() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("guide")).unwrap();
        for name in ["a.md", "guide/b.md", "c.toml"] {
            fs::write(directory.path().join(name), "").unwrap();
        }
        let found = markdown(directory.path(), directory.path()).unwrap();
        assert_eq!(found, ["a.md", "guide/b.md"]);
    }
}
