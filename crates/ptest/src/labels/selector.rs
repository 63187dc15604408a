//! Which environments are meant: those whose labels meet every condition.

use std::str::FromStr;

use super::{LabelKey, LabelValue, invalid};
use crate::error::{Error, Result};

/// Conditions on labels, all of which must be met: `team=a,stage!=old,ci`.
///
/// `KEY=VALUE` (or `KEY==VALUE`) is met by what has that label, `KEY!=VALUE` by what does not have it,
/// `KEY` by what has any label of that key, `!KEY` by what has none. Without a condition everything is
/// meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    key: LabelKey,
    /// Any, if it is not said.
    value: Option<LabelValue>,
    /// Whether it is met by having such a label, not by having none.
    has: bool,
}

impl Selector {
    /// What has this label.
    pub fn having(key: LabelKey, value: LabelValue) -> Self {
        let condition = Condition {
            key,
            value: Some(value),
            has: true,
        };
        Self {
            conditions: vec![condition],
        }
    }

    /// What meets all of these.
    pub fn all(selectors: impl IntoIterator<Item = Self>) -> Self {
        let conditions = selectors.into_iter().flat_map(|it| it.conditions);
        Self {
            conditions: conditions.collect(),
        }
    }

    /// The condition on `id`, the column of an environment's identity, in SQL, with the values of its
    /// parameters. Each part is one look-up in the index of labels.
    pub(crate) fn sql(&self) -> (String, Vec<&str>) {
        let mut sql = String::from("1");
        let mut values = Vec::new();
        for Condition { key, value, has } in &self.conditions {
            let not = if *has { "" } else { "NOT " };
            let and = if value.is_some() {
                " AND value = ?"
            } else {
                ""
            };
            sql += &format!(" AND id {not}IN (SELECT environment FROM labels WHERE key = ?{and})");
            values.push(key.as_str());
            values.extend(value.as_ref().map(LabelValue::as_str));
        }
        (sql, values)
    }
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let condition = |part: &str| -> Result<Condition> {
            if part.is_empty() {
                return Err(invalid(
                    text,
                    "a selector",
                    "one of its conditions is empty",
                ));
            }
            let (key, value, has) = match part.split_once('=') {
                Some((key, value)) => match key.strip_suffix('!') {
                    Some(key) => (key, Some(value), false),
                    None => (key, Some(value.strip_prefix('=').unwrap_or(value)), true),
                },
                None => match part.strip_prefix('!') {
                    Some(key) => (key, None, false),
                    None => (part, None, true),
                },
            };
            Ok(Condition {
                key: key.trim().parse()?,
                value: value.map(|value| value.trim().parse()).transpose()?,
                has,
            })
        };
        let conditions = text.split(',').map(|part| condition(part.trim()));
        Ok(Self {
            conditions: conditions.collect::<Result<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_asked_of_the_database() {
        let selector: Selector = "team=a, stage!=old ,ci,!gone,x==".parse().unwrap();
        let (sql, values) = selector.sql();
        assert_eq!(values, ["team", "a", "stage", "old", "ci", "gone", "x", ""]);
        assert_eq!(sql.matches("NOT IN").count(), 2);
        assert_eq!(sql.matches('?').count(), values.len());
    }

    #[test]
    fn what_is_no_selector_is_refused() {
        for text in ["", "a,", ",a", "=a", "a=b c", "!a=b", "a>1", "!", "a=b=c"] {
            assert!(text.parse::<Selector>().is_err(), "{text:?}");
        }
    }
}
