//! Keeps credentials out of everything that is shown or stored.

/// `text` with the user part of every URL in it replaced by `****`.
///
/// Also hides a user without a password: many indexes take a token as the user.
pub fn redact(text: &str) -> String {
    // What is replaced lies between ASCII characters.
    String::from_utf8_lossy(&redact_bytes(text.as_bytes())).into_owned()
}

/// [`redact`] for what may not be UTF-8.
pub(crate) fn redact_bytes(text: &[u8]) -> Vec<u8> {
    const BEGIN: &[u8] = b"://";
    let mut shown = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.windows(BEGIN.len()).position(|part| part == BEGIN) {
        let (before, after) = rest.split_at(found + BEGIN.len());
        shown.extend_from_slice(before);
        rest = after;
        if let Some(end) = user_end(rest) {
            // `git+ssh://git@host` names no secret and is the usual form.
            let user: &[u8] = if &rest[..end] == b"git" {
                b"git"
            } else {
                b"****"
            };
            shown.extend_from_slice(user);
            rest = &rest[end..];
        }
    }
    shown.extend_from_slice(rest);
    shown
}

/// The user part of a URL, with its `@`, if it has one.
pub(crate) fn user_part(url: &str) -> Option<&str> {
    let after = &url[url.find("://")? + 3..];
    user_end(after.as_bytes()).map(|end| &after[..=end])
}

/// `url` without its user part.
pub(crate) fn without_user(url: &str) -> String {
    match user_part(url) {
        Some(user) => url.replacen(user, "", 1),
        None => url.to_owned(),
    }
}

/// The host and port of a URL.
pub(crate) fn host_part(url: &str) -> Option<&str> {
    let after = &url[url.find("://")? + 3..];
    let start = user_end(after.as_bytes()).map_or(0, |end| end + 1);
    let after = &after[start..];
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    Some(&after[..end])
}

/// The position of the `@` that ends the user part of what follows `://`. A password may
/// contain an `@`, so the last one before the path counts.
fn user_end(after: &[u8]) -> Option<usize> {
    let ends = |byte: &u8| br#"/?#"'<>)`"#.contains(byte) || byte.is_ascii_whitespace();
    let authority = after.iter().position(ends).unwrap_or(after.len());
    after[..authority].iter().rposition(|byte| *byte == b'@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_part_of_every_url_is_hidden() {
        assert_eq!(
            redact("from https://me:se@cret@host/simple and https://token@b/ (http://c/@x)"),
            "from https://****@host/simple and https://****@b/ (http://c/@x)"
        );
        assert_eq!(redact("git+ssh://git@h/r"), "git+ssh://git@h/r");
        assert_eq!(redact("https://"), "https://");
    }

    #[test]
    fn parts_of_a_url_are_found() {
        assert_eq!(user_part("https://a:b@h:8/x"), Some("a:b@"));
        assert_eq!(host_part("https://a:b@h:8/x"), Some("h:8"));
        assert_eq!(host_part("https://h"), Some("h"));
        assert_eq!(without_user("https://a:b@h:8/x"), "https://h:8/x");
    }
}
