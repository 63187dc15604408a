//! What one process of the soak knows of its own things, in a file: whoever takes over from a killed one goes on with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What an environment holds, or a snapshot of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Content {
    /// What a command wrote last.
    pub(crate) word: String,
    /// Whether the package is installed.
    pub(crate) package: bool,
}

/// What must be found under each name: one of these, where a process was killed. `None`: nothing.
pub(crate) type Possible = Vec<Option<Content>>;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    things: BTreeMap<String, Possible>,
    /// What is being done.
    doing: String,
    /// How often each was done.
    done: BTreeMap<String, u64>,
}

/// The file, and what is in it.
pub(crate) struct Model {
    path: PathBuf,
    known: Known,
}

impl Model {
    /// Reads the file, or begins one.
    pub(crate) fn at(path: &Path) -> Self {
        let known = match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap(),
            Err(_) => Known::default(),
        };
        Self {
            path: path.to_owned(),
            known,
        }
    }

    pub(crate) fn doing(&self) -> &str {
        &self.known.doing
    }

    pub(crate) fn done(&self) -> &BTreeMap<String, u64> {
        &self.known.done
    }

    pub(crate) fn things(&self) -> Vec<String> {
        self.known.things.keys().cloned().collect()
    }

    pub(crate) fn possible(&self, thing: &str) -> Possible {
        let known = self.known.things.get(thing);
        known.cloned().unwrap_or_else(|| vec![None])
    }

    /// What a thing is, once that is certain.
    pub(crate) fn is(&self, thing: &str) -> Option<Content> {
        let [known] = &self.possible(thing)[..] else {
            panic!("{thing} is not known: {:?}", self.known);
        };
        known.clone()
    }

    /// What was found is what it is from now on.
    pub(crate) fn found(&mut self, thing: &str, found: Option<Content>) {
        let possible = self.possible(thing);
        assert!(
            possible.contains(&found),
            "{thing} is {found:?}, and not {possible:?}, after {}",
            self.known.doing
        );
        self.known.things.insert(thing.to_owned(), vec![found]);
    }

    /// Does something that leaves a thing as it is.
    pub(crate) fn does<T>(&mut self, what: &str, act: impl FnOnce() -> T) -> T {
        what.clone_into(&mut self.known.doing);
        self.save();
        let given = act();
        *self.known.done.entry(what.to_owned()).or_default() += 1;
        given
    }

    /// Does something that makes a thing `after`: until it has come to its end both are possible.
    pub(crate) fn makes(
        &mut self,
        what: &str,
        thing: &str,
        after: Option<Content>,
        act: impl FnOnce(),
    ) {
        let before = self.is(thing);
        let both = vec![before, after.clone()];
        self.known.things.insert(thing.to_owned(), both);
        self.does(what, act);
        self.known.things.insert(thing.to_owned(), vec![after]);
    }

    /// At once or not at all: this process may be killed meanwhile.
    pub(crate) fn save(&self) {
        let beside = self.path.with_extension("new");
        fs::write(&beside, serde_json::to_vec(&self.known).unwrap()).unwrap();
        fs::rename(&beside, &self.path).unwrap();
    }
}
