//! Where a value comes from, and the value with it.

use std::{fmt, ops::Deref, path::PathBuf};

/// The kinds of source, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The program itself.
    BuiltIn,
    /// The machine's file, `/etc/ptest/config.toml`.
    System,
    /// The user's file.
    User,
    /// The project's `ptest.toml` or `pyproject.toml`.
    Project,
    /// A `PTEST_*` variable.
    Variable,
    /// An option of the command line or an argument of a call.
    Option,
}

impl Source {
    /// The word for it in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::BuiltIn => "built-in",
            Self::System => "system",
            Self::User => "user",
            Self::Project => "project",
            Self::Variable => "variable",
            Self::Option => "option",
        }
    }
}

/// Where exactly a value was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The kind of source.
    pub source: Source,
    /// The file, for the sources that are files.
    pub file: Option<PathBuf>,
    /// The line in the file, counted from 1.
    pub line: Option<usize>,
    /// The variable's name, if it was one.
    pub variable: Option<String>,
}

impl Origin {
    /// The origin of every default.
    pub const BUILT_IN: Self = Self {
        source: Source::BuiltIn,
        file: None,
        line: None,
        variable: None,
    };

    /// The origin of what the command line or a caller says.
    pub const OPTION: Self = Self {
        source: Source::Option,
        file: None,
        line: None,
        variable: None,
    };

    pub(super) fn in_file(source: Source, file: PathBuf, line: usize) -> Self {
        Self {
            source,
            file: Some(file),
            line: Some(line),
            variable: None,
        }
    }

    pub(super) fn variable(name: String) -> Self {
        Self {
            source: Source::Variable,
            file: None,
            line: None,
            variable: Some(name),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, self.line, &self.variable) {
            (Some(file), Some(line), _) => write!(f, "{}:{line}", file.display()),
            (Some(file), None, _) => write!(f, "{}", file.display()),
            (None, _, Some(variable)) => f.write_str(variable),
            (None, _, None) => f.write_str(self.source.word()),
        }
    }
}

/// A value with its origin. Dereferences to the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    value: T,
    origin: Origin,
}

impl<T> Setting<T> {
    pub(super) const fn built_in(value: T) -> Self {
        Self {
            value,
            origin: Origin::BUILT_IN,
        }
    }

    /// Replaces the value if a stronger source gives one.
    pub fn replace(&mut self, value: Option<T>, origin: Origin) {
        if let Some(value) = value {
            *self = Self { value, origin };
        }
    }

    /// Where the value comes from.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The value alone.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> Deref for Setting<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
