//! Settings of the program that take one of a few words.
//!
//! Each is an enum of its own, so that the command line, the files and the readers share one list of words. Not for
//! what an environment is like: those words are in `settings`.

use std::{ffi::OsStr, fmt, os::unix::ffi::OsStrExt, path::PathBuf, str::FromStr};

/// An enum whose variants are written as words. `WORDS` lists them in the order of declaration.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl $name {
            /// Every word that is understood.
            pub const WORDS: &'static [&'static str] = &[$($word,)+];
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$variant => $word,)+ })
            }
        }

        impl FromStr for $name {
            type Err = String;

            /// The error lists the words that are understood.
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("`{text}` is none of {}", Self::WORDS.join(", "))),
                }
            }
        }
    };
}

choice! {
    /// Which program resolves and builds distributions.
    InstallerChoice {
        /// uv where it is found, else pip.
        Auto = "auto",
        /// uv only.
        Uv = "uv",
        /// pip only.
        Pip = "pip",
    }
}

choice! {
    /// When progress is shown.
    ProgressChoice {
        /// On a terminal, for work that takes longer than half a second.
        Auto = "auto",
        /// Not at all.
        Never = "never",
    }
}

choice! {
    /// When messages are coloured.
    ColorChoice {
        /// On a terminal, unless `NO_COLOR` is set; everywhere if `CLICOLOR_FORCE` is.
        Auto = "auto",
        /// Also into files and pipes.
        Always = "always",
        /// Not at all.
        Never = "never",
    }
}

choice! {
    /// What is written to the log.
    LogLevel {
        /// Nothing.
        Off = "off",
        /// Operations that failed.
        Error = "error",
        /// Also what went otherwise than it should, and what was done about it.
        Warn = "warn",
        /// Also every operation.
        Info = "info",
        /// Also their steps.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

/// What commands see as their home directory, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserHome {
    /// One of the environment's own.
    Private,
    /// The caller's.
    Host,
    /// This directory.
    Path(PathBuf),
}

impl UserHome {
    /// Reads the word or path as written; a relative path stays one. A path has a slash in it, so that a slip in a
    /// word does not make a directory.
    pub fn from_os(text: &OsStr) -> Result<Self, String> {
        match text.to_str() {
            Some("private") => Ok(Self::Private),
            Some("host") => Ok(Self::Host),
            _ if text.as_bytes().contains(&b'/') || text == "~" => Ok(Self::Path(text.into())),
            _ => Err(format!(
                "`{}` is neither `private` nor `host`, and a path has a slash in it",
                text.display()
            )),
        }
    }
}

impl fmt::Display for UserHome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("private"),
            Self::Host => f.write_str("host"),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_to_what_it_was_written_from() {
        for word in InstallerChoice::WORDS {
            assert_eq!(&word.parse::<InstallerChoice>().unwrap().to_string(), word);
        }
        assert_eq!(
            "conda".parse::<InstallerChoice>().unwrap_err(),
            "`conda` is none of auto, uv, pip"
        );
    }
}
