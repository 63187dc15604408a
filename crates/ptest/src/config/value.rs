//! How a value is read from TOML or from a variable's text, and written back as TOML.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    num::NonZeroU32,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Duration,
};

use toml_edit::{Array, InlineTable, Item, Value};

use super::{
    choice::{ColorChoice, InstallerChoice, LogLevel, ProgressChoice, UserHome},
    units::{InvalidUnit, Size, Timeout, format_duration, parse_duration},
};
use crate::monitor::{Alert, InvalidAlert};
use crate::ports::PortRange;
use crate::settings::{Cpus, HostRule, Network, Profile};

/// A type that a setting can have.
pub(super) trait ConfigValue: Sized {
    /// What the setting takes, to follow "must be".
    const EXPECTED: &'static str;

    /// Reads the text of a variable or of `ptest config set`.
    fn from_text(text: &OsStr, context: &Context<'_>) -> Result<Self, Invalid>;

    /// Reads a TOML value. Scalars are written as strings unless TOML has a type for them.
    fn from_toml(item: &Item, context: &Context<'_>) -> Result<Self, Invalid> {
        let text = item.as_str().ok_or_else(|| Invalid::wrong_type(item))?;
        Self::from_text(OsStr::new(text), context)
    }

    /// The value as TOML; `None` for "not set".
    fn to_toml(&self) -> Option<Value>;
}

/// What relative paths and `~` refer to.
pub(crate) struct Context<'a> {
    /// The directory of the file, or the working directory. `None` when that is gone.
    pub(crate) base: Option<&'a Path>,
    /// The user's home directory.
    pub(crate) home: Option<&'a Path>,
}

impl Context<'_> {
    pub(super) fn path(&self, text: &OsStr) -> Result<PathBuf, Invalid> {
        if text.is_empty() {
            return Err(Invalid("an empty path".to_owned()));
        }
        let path = Path::new(text);
        if let Ok(below_home) = path.strip_prefix("~") {
            let home = self
                .home
                .ok_or_else(|| Invalid(format!("`{}` while HOME is not set", path.display())))?;
            return Ok(home.join(below_home));
        }
        if path.is_absolute() {
            return Ok(path.to_owned());
        }
        let base = self.base.ok_or_else(|| {
            Invalid(format!(
                "the relative path `{}` while the working directory is gone",
                path.display()
            ))
        })?;
        // A leading `./` is how people say "relative" in a list of words; it is no part of the path.
        Ok(base.join(path.strip_prefix(".").unwrap_or(path)))
    }
}

/// What was found instead, to follow "not".
#[derive(Debug)]
pub(super) struct Invalid(pub(super) String);

impl Invalid {
    pub(super) fn wrong_type(item: &Item) -> Self {
        Self(with_article(item.type_name()))
    }
}

pub(super) fn with_article(type_name: &str) -> String {
    let article = if type_name.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {type_name}")
}

pub(super) fn utf8(text: &OsStr) -> Result<&str, Invalid> {
    text.to_str()
        .ok_or_else(|| Invalid(format!("text that is not UTF-8 ({})", text.display())))
}

/// Splits a variable's text; empty parts do not count, so that a trailing separator is harmless.
fn split(text: &OsStr, separator: u8) -> impl Iterator<Item = &OsStr> {
    text.as_bytes()
        .split(move |byte| *byte == separator)
        .filter(|part| !part.is_empty())
        .map(OsStr::from_bytes)
}

fn array(item: &Item) -> Result<Vec<&str>, Invalid> {
    let array = item.as_array().ok_or_else(|| Invalid::wrong_type(item))?;
    array
        .iter()
        .map(|value| {
            value.as_str().ok_or_else(|| {
                Invalid(format!(
                    "an array with {} in it",
                    with_article(value.type_name())
                ))
            })
        })
        .collect()
}

/// Whether a variable can have this name at all.
fn variable_name(name: &str) -> Result<String, Invalid> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(Invalid(format!(
            "`{name}`, which no variable can be called"
        )));
    }
    Ok(name.to_owned())
}

impl<T: ConfigValue> ConfigValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn from_text(text: &OsStr, context: &Context<'_>) -> Result<Self, Invalid> {
        T::from_text(text, context).map(Some)
    }

    fn from_toml(item: &Item, context: &Context<'_>) -> Result<Self, Invalid> {
        T::from_toml(item, context).map(Some)
    }

    fn to_toml(&self) -> Option<Value> {
        self.as_ref().and_then(T::to_toml)
    }
}

impl ConfigValue for String {
    const EXPECTED: &'static str = "text";

    fn from_text(text: &OsStr, _: &Context<'_>) -> Result<Self, Invalid> {
        if text.is_empty() {
            return Err(Invalid("empty".to_owned()));
        }
        utf8(text).map(str::to_owned)
    }

    fn to_toml(&self) -> Option<Value> {
        Some(self.into())
    }
}

impl ConfigValue for bool {
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &OsStr, _: &Context<'_>) -> Result<Self, Invalid> {
        match utf8(text)?.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            other => Err(Invalid(format!("`{other}`"))),
        }
    }

    fn from_toml(item: &Item, _: &Context<'_>) -> Result<Self, Invalid> {
        item.as_bool().ok_or_else(|| Invalid::wrong_type(item))
    }

    fn to_toml(&self) -> Option<Value> {
        Some((*self).into())
    }
}

impl ConfigValue for NonZeroU32 {
    const EXPECTED: &'static str = "a whole number from 1 to 4294967295";

    fn from_text(text: &OsStr, _: &Context<'_>) -> Result<Self, Invalid> {
        utf8(text)?
            .parse()
            .map_err(|_| Invalid(format!("`{}`", text.display())))
    }

    fn from_toml(item: &Item, _: &Context<'_>) -> Result<Self, Invalid> {
        let number = item.as_integer().ok_or_else(|| Invalid::wrong_type(item))?;
        u32::try_from(number)
            .ok()
            .and_then(Self::new)
            .ok_or_else(|| Invalid(number.to_string()))
    }

    fn to_toml(&self) -> Option<Value> {
        Some(i64::from(self.get()).into())
    }
}

/// A number with a unit, or what is wrong with it.
fn quantity<T>(read: Result<T, InvalidUnit>) -> Result<T, Invalid> {
    read.map_err(|error| Invalid(format!("`{}` ({})", error.text, error.why)))
}

/// TOML integers are taken for seconds or bytes, as bare numbers are everywhere.
fn quantity_text(item: &Item) -> Result<String, Invalid> {
    match (item.as_str(), item.as_integer()) {
        (Some(text), _) => Ok(text.to_owned()),
        (None, Some(seconds)) => Ok(seconds.to_string()),
        (None, None) => Err(Invalid::wrong_type(item)),
    }
}

impl ConfigValue for Duration {
    const EXPECTED: &'static str = "a duration such as \"90s\" or \"24h\"";

    fn from_text(text: &OsStr, _: &Context<'_>) -> Result<Self, Invalid> {
        quantity(parse_duration(utf8(text)?))
    }

    fn from_toml(item: &Item, context: &Context<'_>) -> Result<Self, Invalid> {
        Self::from_text(&OsString::from(quantity_text(item)?), context)
    }

    fn to_toml(&self) -> Option<Value> {
        Some(format_duration(*self).into())
    }
}

impl ConfigValue for Timeout {
    const EXPECTED: &'static str = "a duration longer than zero such as \"90s\" or \"1h\"";

    fn from_text(text: &OsStr, _: &Context<'_>) -> Result<Self, Invalid> {
        quantity(utf8(text)?.parse())
    }

    fn from_toml(item: &Item, context: &Context<'_>) -> Result<Self, Invalid> {
        Self::from_text(&OsString::from(quantity_text(item)?), context)
    }

    fn to_toml(&self) -> Option<Value> {
        self.duration().to_toml()
    }
}

impl ConfigValue for Size {
    const EXPECTED: &'static str = "a size larger than zero such as \"512M\" or \"2G\"";

    fn from_text(text: &OsStr, _: &Context<'_>) -> Result<Self, Invalid> {
        quantity(utf8(text)?.parse())
    }

    fn from_toml(item: &Item, context: &Context<'_>) -> Result<Self, Invalid> {
        Self::from_text(&OsString::from(quantity_text(item)?), context)
    }

    fn to_toml(&self) -> Option<Value> {
        Some(self.to_string().into())
    }
}

impl ConfigValue for Cpus {
    const EXPECTED: &'static str = "a number of processors such as 2 or 1.5, at least 0.01";

    fn from_text(text: &OsStr, _: &Context<'_>) -> Result<Self, Invalid> {
        let text = utf8(text)?;
        text.parse().map_err(|_| Invalid(format!("`{text}`")))
    }

    fn from_toml(item: &Item, context: &Context<'_>) -> Result<Self, Invalid> {
        let text = match (item.as_float(), item.as_integer()) {
            (Some(number), _) => number.to_string(),
            (None, Some(number)) => number.to_string(),
            (None, None) => return Err(Invalid::wrong_type(item)),
        };
        Self::from_text(OsStr::new(&text), context)
    }

    fn to_toml(&self) -> Option<Value> {
        Some((f64::from(self.0) / 1000.0).into())
    }
}

impl ConfigValue for PortRange {
    const EXPECTED: &'static str = "a range of ports such as \"20000-29999\", from 1 to 65535";

    fn from_text(text: &OsStr, _: &Context<'_>) -> Result<Self, Invalid> {
        let text = utf8(text)?;
        text.parse().map_err(|_| Invalid(format!("`{text}`")))
    }

    fn to_toml(&self) -> Option<Value> {
        Some(self.to_string().into())
    }
}

impl ConfigValue for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn from_text(text: &OsStr, context: &Context<'_>) -> Result<Self, Invalid> {
        context.path(text)
    }

    fn to_toml(&self) -> Option<Value> {
        Some(self.display().to_string().into())
    }
}

impl ConfigValue for Vec<PathBuf> {
    const EXPECTED: &'static str = "a list of paths";

    /// As in `PATH`, a colon stands between two paths.
    fn from_text(text: &OsStr, context: &Context<'_>) -> Result<Self, Invalid> {
        split(text, b':').map(|path| context.path(path)).collect()
    }

    fn from_toml(item: &Item, context: &Context<'_>) -> Result<Self, Invalid> {
        array(item)?
            .into_iter()
            .map(|path| context.path(OsStr::new(path)))
            .collect()
    }

    fn to_toml(&self) -> Option<Value> {
        Some(Value::Array(
            self.iter()
                .map(|path| path.display().to_string())
                .collect::<Array>(),
        ))
    }
}

impl ConfigValue for Vec<String> {
    const EXPECTED: &'static str = "a list of names of variables";

    fn from_text(text: &OsStr, _: &Context<'_>) -> Result<Self, Invalid> {
        split(text, b',')
            .map(|name| variable_name(utf8(name)?.trim()))
            .collect()
    }

    fn from_toml(item: &Item, _: &Context<'_>) -> Result<Self, Invalid> {
        array(item)?.into_iter().map(variable_name).collect()
    }

    fn to_toml(&self) -> Option<Value> {
        Some(Value::Array(self.iter().collect::<Array>()))
    }
}

impl ConfigValue for Vec<HostRule> {
    const EXPECTED: &'static str = "a list of hosts";

    fn from_text(text: &OsStr, _: &Context<'_>) -> Result<Self, Invalid> {
        split(text, b',')
            .map(|rule| host_rule(utf8(rule)?.trim()))
            .collect()
    }

    fn from_toml(item: &Item, _: &Context<'_>) -> Result<Self, Invalid> {
        array(item)?.into_iter().map(host_rule).collect()
    }

    fn to_toml(&self) -> Option<Value> {
        Some(Value::Array(
            self.iter().map(ToString::to_string).collect::<Array>(),
        ))
    }
}

fn host_rule(text: &str) -> Result<HostRule, Invalid> {
    text.parse::<HostRule>()
        .map_err(|invalid| Invalid(format!("`{}` ({})", invalid.text, invalid.why)))
}

impl ConfigValue for Vec<Alert> {
    const EXPECTED: &'static str =
        "a list of alerts such as \"memory>400M\" or \"cpu>1.5 for 30s\"";

    fn from_text(text: &OsStr, _: &Context<'_>) -> Result<Self, Invalid> {
        split(text, b',').map(|one| alert(utf8(one)?)).collect()
    }

    fn from_toml(item: &Item, _: &Context<'_>) -> Result<Self, Invalid> {
        array(item)?.into_iter().map(alert).collect()
    }

    fn to_toml(&self) -> Option<Value> {
        Some(Value::Array(
            self.iter().map(ToString::to_string).collect::<Array>(),
        ))
    }
}

fn alert(text: &str) -> Result<Alert, Invalid> {
    text.parse()
        .map_err(|invalid: InvalidAlert| Invalid(format!("`{text}` ({invalid})")))
}

impl ConfigValue for BTreeMap<String, String> {
    const EXPECTED: &'static str = "a table of variables with their values";

    /// One `NAME=VALUE` a line: a value may hold any other character.
    fn from_text(text: &OsStr, _: &Context<'_>) -> Result<Self, Invalid> {
        split(text, b'\n')
            .map(|line| {
                let line = utf8(line)?;
                let (name, value) = line
                    .split_once('=')
                    .ok_or_else(|| Invalid(format!("`{line}`, which has no `=`")))?;
                Ok((variable_name(name)?, value.to_owned()))
            })
            .collect()
    }

    fn from_toml(item: &Item, _: &Context<'_>) -> Result<Self, Invalid> {
        let table = item
            .as_table_like()
            .ok_or_else(|| Invalid::wrong_type(item))?;
        table
            .iter()
            .map(|(name, value)| {
                let text = value.as_str().ok_or_else(|| {
                    Invalid(format!(
                        "a table where `{name}` is {}",
                        with_article(value.type_name())
                    ))
                })?;
                Ok((variable_name(name)?, text.to_owned()))
            })
            .collect()
    }

    fn to_toml(&self) -> Option<Value> {
        Some(Value::InlineTable(self.iter().collect::<InlineTable>()))
    }
}

impl ConfigValue for UserHome {
    const EXPECTED: &'static str = "private, host or a path";

    fn from_text(text: &OsStr, context: &Context<'_>) -> Result<Self, Invalid> {
        match Self::from_os(text) {
            Ok(Self::Path(path)) => context.path(path.as_os_str()).map(Self::Path),
            Ok(word) => Ok(word),
            Err(_) => Err(Invalid(format!(
                "`{}` (a path has a slash in it)",
                text.display()
            ))),
        }
    }

    fn to_toml(&self) -> Option<Value> {
        Some(self.to_string().into())
    }
}

macro_rules! words {
    ($($name:ident: $expected:literal,)+) => {$(
        impl ConfigValue for $name {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &OsStr, _: &Context<'_>) -> Result<Self, Invalid> {
                let text = utf8(text)?;
                text.parse().map_err(|_| Invalid(format!("`{text}`")))
            }

            fn to_toml(&self) -> Option<Value> {
                Some(self.to_string().into())
            }
        }
    )+};
}

words! {
    Profile: "none, standard or strict",
    Network: "host, none or private",
    InstallerChoice: "auto, uv or pip",
    ProgressChoice: "auto or never",
    ColorChoice: "auto, always or never",
    LogLevel: "off, error, warn, info, debug or trace",
}
