//! The console scripts that a distribution declares, and the programs made from them.

use super::ENV_PREFIX;
use super::ini;

/// A program that calls a function of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) name: String,
    module: String,
    attribute: String,
}

/// The first line of every script.
pub(crate) fn first_line() -> String {
    format!("#!{ENV_PREFIX}/bin/python\n")
}

/// The scripts in the text of an `entry_points.txt`; the text of the first that is malformed as
/// error.
pub(crate) fn scripts(text: &str) -> Result<Vec<Script>, String> {
    let ini = ini::parse(text);
    let mut scripts: Vec<Script> = Vec::new();
    for section in ["console_scripts", "gui_scripts"] {
        for (name, value) in ini.get(section).into_iter().flatten() {
            let script = Script::parse(name, value).ok_or_else(|| format!("{name} = {value}"))?;
            scripts.retain(|known| known.name != script.name);
            scripts.push(script);
        }
    }
    Ok(scripts)
}

impl Script {
    fn parse(name: &str, value: &str) -> Option<Self> {
        // Extras in brackets are part of the form; the script is made whatever they say.
        let value = value.split('[').next()?.trim();
        let (module, attribute) = value.split_once(':')?;
        let (module, attribute) = (module.trim(), attribute.trim());
        let usable = is_file_name(name) && is_dotted(module) && is_dotted(attribute);
        usable.then(|| Self {
            name: name.to_owned(),
            module: module.to_owned(),
            attribute: attribute.to_owned(),
        })
    }

    /// The program's text.
    pub(crate) fn text(&self) -> String {
        let first = self.attribute.split('.').next().unwrap_or_default();
        format!(
            "{}import sys\nfrom {} import {first}\nif __name__ == '__main__':\n    sys.exit({}())\n",
            first_line(),
            self.module,
            self.attribute
        )
    }
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() < 256
        && !matches!(name, "." | "..")
        && !name.starts_with('-')
        && !name.contains(['/', '\\'])
        && !name.chars().any(char::is_control)
}

fn is_dotted(name: &str) -> bool {
    name.split('.').all(|part| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_read_and_written() {
        let scripts = scripts(
            "[console_scripts]\none = a.b:main\ntwo=a : C.run [extra]\n[gui_scripts]\nthree = g:f\n[other]\nx = not:checked!\n",
        )
        .unwrap();
        let names: Vec<&str> = scripts.iter().map(|script| script.name.as_str()).collect();
        assert_eq!(names, ["one", "two", "three"]);
        assert_eq!(
            scripts[1].text(),
            "#!/ptest/env/bin/python\nimport sys\nfrom a import C\nif __name__ == '__main__':\n    sys.exit(C.run())\n"
        );
    }

    #[test]
    fn a_script_cannot_leave_its_directory_or_carry_code() {
        for line in [
            "../x = a:b",
            "a/b = a:b",
            ".. = a:b",
            "x = a",
            "x = a:b();import os",
            "x = a.:b",
            "-x = a:b",
        ] {
            assert!(
                scripts(&format!("[console_scripts]\n{line}\n")).is_err(),
                "{line}"
            );
        }
    }
}
