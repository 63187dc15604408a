//! Reads the dialect of INI that Python's `configparser` defines: pip's configuration and the
//! entry points of a wheel. Without interpolation, which neither uses.

use std::collections::BTreeMap;

/// Sections with their options, in order. Names of options are kept as written.
pub(crate) type Ini = BTreeMap<String, Vec<(String, String)>>;

/// Reads `text`. Lines outside of any section and lines that are no option are left out; an
/// indented line continues the value before it, as one more line of it.
pub(crate) fn parse(text: &str) -> Ini {
    let mut ini = Ini::new();
    let mut section: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = trimmed
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
            .map(|(name, _)| name.trim())
            .filter(|_| !line.starts_with(char::is_whitespace))
        {
            section = Some(name.to_owned());
            ini.entry(name.to_owned()).or_default();
            continue;
        }
        let Some(options) = section.as_ref().and_then(|name| ini.get_mut(name)) else {
            continue;
        };
        if line.starts_with(char::is_whitespace)
            && let Some((_, value)) = options.last_mut()
        {
            value.push('\n');
            value.push_str(trimmed);
            continue;
        }
        if let Some((name, value)) = trimmed.split_once(['=', ':']) {
            options.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    ini
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_options_comments_and_continuations_are_read() {
        let ini = parse(
            "stray = 1\n[global]\n# comment\nindex-url = https://a/b\nfind-links =\n    /one\n    /two\n\n[install]\nuser: yes\n",
        );
        assert_eq!(
            ini["global"],
            [
                ("index-url".to_owned(), "https://a/b".to_owned()),
                ("find-links".to_owned(), "\n/one\n/two".to_owned()),
            ]
        );
        assert_eq!(ini["install"], [("user".to_owned(), "yes".to_owned())]);
        assert_eq!(ini.len(), 2);
    }
}
