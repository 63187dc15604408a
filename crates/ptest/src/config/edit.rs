//! Sets one key in a file, leaving comments, order and everything else in it as it is.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use toml_edit::{DocumentMut, Item};

use super::{
    error::{ConfigError, Place},
    keys::{Config, Raw},
    load::{Sources, invalid_value, unknown_key},
    origin::Origin,
    toml_file::{is_absent, one_line, position},
    value::Context,
};

/// Sets `key` to `text` in the user's file and returns that file's path. The text is read as a variable's is: lists
/// with commas (paths with colons), tables one `NAME=VALUE` a line. A path that is not absolute counts from the
/// working directory and is written out in full.
///
/// The file appears whole or not at all; a symlink to it stays one.
pub fn set(sources: &Sources, key: &str, text: &OsStr) -> Result<PathBuf, ConfigError> {
    let home = sources.home_directory();
    let context = Context {
        base: sources.working_directory.as_deref(),
        home: home.as_deref(),
    };
    let mut scratch = Config::default();
    match scratch.assign(key, Raw::Text(text), &context, Origin::OPTION) {
        Some(Ok(())) => {}
        Some(Err(invalid)) => return Err(invalid_value(key, Place::Argument, invalid.0)),
        None => return Err(unknown_key(key, Place::Argument)),
    }
    let value = scratch.row(key).and_then(super::keys::Row::into_value);
    let file = sources.user_file().ok_or(ConfigError::NoUserFile)?;

    let old = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if is_absent(&error) => String::new(),
        Err(source) => return Err(ConfigError::Read { file, source }),
    };
    let mut document: DocumentMut = old.parse().map_err(|error: toml_edit::TomlError| {
        let (line, column) = position(&old, error.span().map_or(0, |span| span.start));
        let place = Place::File {
            file: file.clone(),
            line,
            column,
        };
        ConfigError::Syntax {
            place,
            message: one_line(error.message()),
        }
    })?;
    if let Some(mut value) = value {
        // The comment at the end of a line belongs to the old value's decoration.
        if let Some(Item::Value(old)) = document.get_mut(key) {
            *value.decor_mut() = old.decor().clone();
            *old = value;
        } else {
            // A `[table]` of that name stands below all plain values; its new value stands among them.
            document.remove(key);
            document.insert(key, Item::Value(value));
        }
    }
    write_whole(&file, &document.to_string()).map_err(|source| ConfigError::Write {
        file: file.clone(),
        source,
    })?;
    Ok(file)
}

/// Writes beside the file and renames, so that a reader never sees half of it.
fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let target = match fs::canonicalize(file) {
        Ok(target) => target,
        Err(error) if error.kind() == io::ErrorKind::NotFound => file.to_owned(),
        Err(error) => return Err(error),
    };
    let directory = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
    fs::create_dir_all(directory)?;
    let temporary = directory.join(format!(".config.toml.{}", std::process::id()));
    let written = File::create(&temporary).and_then(|mut new| {
        if let Ok(old) = fs::metadata(&target) {
            new.set_permissions(old.permissions())?;
        }
        new.write_all(text.as_bytes())?;
        new.sync_all()?;
        fs::rename(&temporary, &target)
    });
    if written.is_err() {
        // The error that matters is the first one; a leftover here does no harm.
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn sources(home: &Path) -> Sources {
        Sources {
            variables: [("HOME".into(), home.into())].into(),
            working_directory: Some("/work/place".into()),
            ..Sources::default()
        }
    }

    #[test]
    fn a_first_value_makes_the_file() {
        let home = tempfile::tempdir().unwrap();
        let file = set(&sources(home.path()), "grace", OsStr::new("3s")).unwrap();
        assert_eq!(file, home.path().join(".config/ptest/config.toml"));
        assert_eq!(fs::read_to_string(file).unwrap(), "grace = \"3s\"\n");
    }

    #[test]
    fn comments_order_and_other_values_stay() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".config/ptest/config.toml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(
            &file,
            "# mine\npids = 4 # few\ngrace = '1s'\n\n[env]\nA = 'b'\n",
        )
        .unwrap();
        set(&sources(home.path()), "pids", OsStr::new("40")).unwrap();
        set(&sources(home.path()), "write", OsStr::new("/a:b")).unwrap();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "# mine\npids = 40 # few\ngrace = '1s'\nwrite = [\"/a\", \"/work/place/b\"]\n\n[env]\nA = 'b'\n"
        );
        set(&sources(home.path()), "env", OsStr::new("C=d")).unwrap();
        let (config, _) = Config::load(&sources(home.path())).unwrap();
        assert_eq!(config.env.len(), 1);
        assert_eq!(config.env["C"], "d");
    }

    #[test]
    fn a_symlink_to_the_file_stays_one() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".config/ptest/config.toml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(home.path().join("dotfile"), "").unwrap();
        symlink(home.path().join("dotfile"), &file).unwrap();
        set(&sources(home.path()), "pids", OsStr::new("4")).unwrap();
        assert!(fs::symlink_metadata(&file).unwrap().is_symlink());
        assert_eq!(
            fs::read_to_string(home.path().join("dotfile")).unwrap(),
            "pids = 4\n"
        );
    }

    #[test]
    fn what_is_wrong_is_refused_and_changes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let refused = |key, text: &str| {
            set(&sources(home.path()), key, OsStr::new(text))
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            refused("pids", "many"),
            "argument: `pids` must be a whole number from 1 to 4294967295, not `many`"
        );
        assert_eq!(refused("pid", "4"), "argument: there is no setting `pid`");
        assert!(!home.path().join(".config").exists());
        let file = home.path().join(".config/ptest/config.toml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "pids = ").unwrap();
        assert!(refused("pids", "4").contains("config.toml:1:"));
        assert_eq!(fs::read_to_string(&file).unwrap(), "pids = ");
    }
}
