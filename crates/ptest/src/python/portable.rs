//! Whether what one Python builds of a project is what every other would build.

use std::fs;
use std::path::Path;

use super::name::WheelName;

/// What decides which distributions a project needs, and what it brings.
const SAID: [&str; 6] = [
    "dependencies",
    "optional-dependencies",
    "requires-python",
    "scripts",
    "gui-scripts",
    "entry-points",
];

/// Whether the project's definition leaves nothing of that to the program that builds it, which may
/// look at the Python that runs it: then a wheel that says that it is for every Python is.
///
/// Old projects compute what they need in a `setup.py`, and call the wheel pure all the same.
pub fn is_static(project: &Path) -> bool {
    if project.join("setup.py").exists() {
        return false;
    }
    let text = fs::read_to_string(project.join("pyproject.toml"));
    let Some(definition) = text.ok().and_then(|text| text.parse::<toml::Table>().ok()) else {
        return false;
    };
    let Some(project) = definition.get("project").and_then(toml::Value::as_table) else {
        return false;
    };
    let computed = project.get("dynamic").and_then(toml::Value::as_array);
    !computed
        .into_iter()
        .flatten()
        .any(|name| name.as_str().is_none_or(|name| SAID.contains(&name)))
}

/// Whether a wheel is for every Python on every machine, as its name says.
pub fn is_pure(file_name: &str) -> bool {
    WheelName::parse(file_name)
        .is_some_and(|name| name.tags.iter().any(|tag| tag == "py3-none-any"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_build_may_compute_is_not_static() {
        let directory = tempfile::tempdir().unwrap();
        let says = |text: &str| {
            fs::write(directory.path().join("pyproject.toml"), text).unwrap();
            is_static(directory.path())
        };
        assert!(says("[project]\nname = 'a'\nversion = '1'\n"));
        assert!(says(
            "[project]\nname = 'a'\ndynamic = ['version', 'description']\n"
        ));
        assert!(!says(
            "[project]\nname = 'a'\ndynamic = ['version', 'dependencies']\n"
        ));
        assert!(!says("[build-system]\nrequires = []\n"));
        assert!(!says("[project\n"));
        assert!(says("[project]\nname = 'a'\nversion = '1'\n"));
        fs::write(directory.path().join("setup.py"), "").unwrap();
        assert!(!is_static(directory.path()));
        assert!(!is_static(Path::new("/nonexistent")));
    }

    #[test]
    fn a_wheel_for_one_python_or_machine_is_not_pure() {
        assert!(is_pure("a-1-py3-none-any.whl"));
        assert!(is_pure("a-1-py2.py3-none-any.whl"));
        assert!(!is_pure("a-1-py39-none-any.whl"));
        assert!(!is_pure("a-1-cp39-abi3-linux_x86_64.whl"));
        assert!(!is_pure("a-1.tar.gz"));
    }
}
