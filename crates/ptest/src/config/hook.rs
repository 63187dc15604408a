//! Hooks as files and variables say them: tables with the keys of a hook.

use std::ffi::OsStr;

use toml_edit::{Array, InlineTable, Item, TableLike, Value};

use super::keys::nearest;
use super::units::Timeout;
use super::value::{ConfigValue, Context, Invalid, utf8, with_article};
use crate::hooks::{Action, Hook};
use crate::http;

const KEYS: [&str; 5] = ["events", "environments", "command", "url", "timeout"];

/// Reads hooks; what is wrong follows "not".
pub(crate) fn read(item: &Item, context: &Context<'_>) -> Result<Vec<Hook>, String> {
    Vec::<Hook>::from_toml(item, context).map_err(|invalid| invalid.0)
}

impl ConfigValue for Vec<Hook> {
    const EXPECTED: &'static str = "a list of tables with `events` and `command` or `url`, such as \
         [{ events = [\"failed\"], command = [\"notify\"] }]";

    /// Such a list, as TOML has it.
    fn from_text(text: &OsStr, context: &Context<'_>) -> Result<Self, Invalid> {
        let text = utf8(text)?;
        let value: Value = text.parse().map_err(|_| Invalid(format!("`{text}`")))?;
        Self::from_toml(&Item::Value(value), context)
    }

    fn from_toml(item: &Item, context: &Context<'_>) -> Result<Self, Invalid> {
        if let Some(tables) = item.as_array_of_tables() {
            return tables.iter().map(|table| hook(table, context)).collect();
        }
        let list = item.as_array().ok_or_else(|| Invalid::wrong_type(item))?;
        list.iter()
            .map(|value| match value {
                Value::InlineTable(table) => hook(table, context),
                other => Err(Invalid(format!(
                    "a list with {} in it",
                    with_article(other.type_name())
                ))),
            })
            .collect()
    }

    fn to_toml(&self) -> Option<Value> {
        Some(Value::Array(self.iter().map(table).collect::<Array>()))
    }
}

fn hook(table: &dyn TableLike, context: &Context<'_>) -> Result<Hook, Invalid> {
    if let Some((unknown, _)) = table.iter().find(|(key, _)| !KEYS.contains(key)) {
        let meant = nearest(KEYS.into_iter(), unknown)
            .map(|key| format!(" (did you mean `{key}`?)"))
            .unwrap_or_default();
        return Err(Invalid(format!("one with `{unknown}`{meant}")));
    }
    let events = texts(table, "events")?.unwrap_or_default();
    if events.is_empty() {
        return Err(Invalid(
            "one without `events` (`[\"*\"]` stands for all)".to_owned(),
        ));
    }
    Ok(Hook {
        events,
        environments: texts(table, "environments")?.unwrap_or_default(),
        action: action(table, context)?,
        timeout: match table.get("timeout") {
            Some(item) => Timeout::from_toml(item, context)
                .map_err(|invalid| Invalid(format!("one whose `timeout` is {}", invalid.0)))?
                .duration(),
            None => Hook::TIMEOUT,
        },
    })
}

fn action(table: &dyn TableLike, context: &Context<'_>) -> Result<Action, Invalid> {
    match (texts(table, "command")?, table.get("url")) {
        (Some(mut words), None) => {
            let program = words
                .first_mut()
                .ok_or_else(|| Invalid("one with an empty `command`".to_owned()))?;
            // A name is looked up when it is called.
            if program.contains('/') || program.starts_with('~') {
                *program = context.path(OsStr::new(program))?.display().to_string();
            }
            Ok(Action::Command(words))
        }
        (None, Some(item)) => {
            let url = item.as_str().ok_or_else(|| {
                Invalid(format!(
                    "one whose `url` is {}",
                    with_article(item.type_name())
                ))
            })?;
            http::check(url)
                .map_err(|error| Invalid(format!("one whose `url` is refused: {error}")))?;
            Ok(Action::Url(url.to_owned()))
        }
        (None, None) => Err(Invalid("one without `command` and `url`".to_owned())),
        (Some(_), Some(_)) => Err(Invalid("one with both `command` and `url`".to_owned())),
    }
}

/// A list of texts; `None` if the key is not there.
fn texts(table: &dyn TableLike, key: &str) -> Result<Option<Vec<String>>, Invalid> {
    let Some(item) = table.get(key) else {
        return Ok(None);
    };
    let wrong = |found: &str| {
        Invalid(format!(
            "one whose `{key}` is {found} instead of a list of texts"
        ))
    };
    let list = item
        .as_array()
        .ok_or_else(|| wrong(&with_article(item.type_name())))?;
    let texts = list.iter().map(|value| {
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| {
            wrong(&format!(
                "a list with {} in it",
                with_article(value.type_name())
            ))
        })
    });
    texts.collect::<Result<_, _>>().map(Some)
}

fn table(hook: &Hook) -> InlineTable {
    let list = |texts: &[String]| Value::Array(texts.iter().collect::<Array>());
    let mut table = InlineTable::new();
    table.insert("events", list(&hook.events));
    if !hook.environments.is_empty() {
        table.insert("environments", list(&hook.environments));
    }
    match &hook.action {
        Action::Command(words) => table.insert("command", list(words)),
        Action::Url(url) => table.insert("url", url.into()),
    };
    if let Some(timeout) = hook.timeout.to_toml() {
        table.insert("timeout", timeout);
    }
    table
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn read_text(text: &str) -> Result<Vec<Hook>, String> {
        let context = Context {
            base: Some(Path::new("/base")),
            home: Some(Path::new("/home/me")),
        };
        Vec::<Hook>::from_text(OsStr::new(text), &context).map_err(|invalid| invalid.0)
    }

    #[test]
    fn a_hook_is_written_as_it_is_read() {
        let text = "[{ events = [\"failed\", \"deployed\"], environments = [\"web\"], \
                    command = [\"/bin/notify\", \"-x\"], timeout = \"3s\" }, \
                    { events = [\"*\"], url = \"http://localhost:1/x\", timeout = \"10s\" }]";
        let hooks = read_text(text).unwrap();
        assert_eq!(hooks[0].timeout, Duration::from_secs(3));
        assert_eq!(hooks[1].timeout, Hook::TIMEOUT);
        let written = hooks.to_toml().unwrap().to_string();
        assert_eq!(written.trim(), text);
        assert_eq!(read_text(&written).unwrap(), hooks);
    }

    #[test]
    fn a_program_with_a_slash_is_a_path_and_another_is_a_name() {
        let program = |word: &str| {
            let hooks = read_text(&format!("[{{ events = ['*'], command = ['{word}'] }}]"));
            hooks.unwrap()[0].action.to_string()
        };
        assert_eq!(program("notify"), "notify");
        assert_eq!(program("./notify"), "/base/notify");
        assert_eq!(program("~/notify"), "/home/me/notify");
        assert_eq!(program("/bin/notify"), "/bin/notify");
    }

    #[test]
    fn what_is_no_hook_is_refused_with_what_is_wrong() {
        let wrong = |text: &str| read_text(text).unwrap_err();
        assert_eq!(wrong("failed"), "`failed`");
        assert_eq!(wrong("['failed']"), "a list with a string in it");
        assert_eq!(
            wrong("[{ event = ['*'], command = ['x'] }]"),
            "one with `event` (did you mean `events`?)"
        );
        assert_eq!(
            wrong("[{ command = ['x'] }]"),
            "one without `events` (`[\"*\"]` stands for all)"
        );
        assert_eq!(
            wrong("[{ events = ['*'] }]"),
            "one without `command` and `url`"
        );
        assert_eq!(
            wrong("[{ events = ['*'], command = ['x'], url = 'http://h' }]"),
            "one with both `command` and `url`"
        );
        assert_eq!(
            wrong("[{ events = ['*'], command = [] }]"),
            "one with an empty `command`"
        );
        assert_eq!(
            wrong("[{ events = '*', command = ['x'] }]"),
            "one whose `events` is a string instead of a list of texts"
        );
        assert_eq!(
            wrong("[{ events = ['*'], command = ['x'], timeout = '0' }]"),
            "one whose `timeout` is `0` (it is zero; leave it out for no limit)"
        );
        assert!(wrong("[{ events = ['*'], url = 'https://h' }]").contains("needs TLS"));
        assert!(wrong("[{ events = ['*'], url = 'h' }]").contains("no URL"));
    }
}
