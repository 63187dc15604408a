//! HTTP as a proxy hears it: `CONNECT` and requests for absolute URLs, and what it answers itself.
//!
//! Reads a head that has arrived whole; nothing of bodies or of what passes a tunnel. Strict where the standard leaves a
//! choice: a head that two programs could read differently is malformed.

use crate::proxy::rules::{Host, authority};

/// What ends a head.
const END: &[u8] = b"\r\n\r\n";

/// Fields between two neighbours, never passed on (RFC 9110, 7.6.1).
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
];

/// A request to a proxy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// The head to send there; `None` for a tunnel.
    pub(crate) head: Option<Vec<u8>>,
}

/// Why a head is not understood, for people.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// How long the head is, its end included, once it is whole. That it does not end within the first `seen` bytes is known.
pub(crate) fn head_length(bytes: &[u8], seen: usize) -> Option<usize> {
    let from = seen.saturating_sub(END.len() - 1);
    let mut windows = bytes.get(from..)?.windows(END.len());
    let start = windows.position(|window| window == END)?;
    Some(from + start + END.len())
}

/// Reads a whole head.
pub(crate) fn parse(head: &[u8]) -> Result<Request, Malformed> {
    let malformed = Malformed("this is not an HTTP request");
    let Ok(text) = std::str::from_utf8(head) else {
        // Values may have any byte by the old standard; what a proxy needs is ASCII.
        return Err(malformed);
    };
    let text = text
        .strip_suffix("\r\n\r\n")
        .ok_or(Malformed("the head does not end"))?;
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(malformed);
    };
    if !is_token(method) || !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return Err(malformed);
    }
    let fields: Vec<(&str, &str)> = lines.map(field).collect::<Result<_, _>>()?;
    if method == "CONNECT" {
        let (host, port) = Host::parse_with_port(target, None)
            .ok_or(Malformed("CONNECT takes HOST:PORT, and this is none"))?;
        return Ok(Request {
            host,
            port,
            head: None,
        });
    }
    let rest = strip_scheme(target).ok_or(Malformed(
        "this is a proxy: it takes requests for http:// URLs, and CONNECT",
    ))?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (place, path) = rest.split_at(end);
    let (host, port) = Host::parse_with_port(place, Some(80))
        .ok_or(Malformed("the URL has no host that could be asked for"))?;
    if path.bytes().any(|byte| !byte.is_ascii_graphic()) {
        return Err(malformed);
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut forwarded = format!("{method} {slash}{path} {version}\r\nHost: {place}\r\n");
    let between = between_neighbours(&fields);
    for (name, value) in &fields {
        if !between.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            forwarded.push_str(&format!("{name}: {value}\r\n"));
        }
    }
    // One request a connection: the next one may be for another host.
    forwarded.push_str("Connection: close\r\n\r\n");
    Ok(Request {
        host,
        port,
        head: Some(forwarded.into_bytes()),
    })
}

/// What a tunnel begins with.
pub(crate) const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// What a proxy says itself. Most clients show people the first line alone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    Malformed(&'static str),
    TooSlow,
    TooLarge,
    /// Not allowed; what would allow it.
    Refused {
        host: &'a str,
        port: u16,
        remedy: &'a str,
    },
    /// Allowed, and not to be had.
    Failed {
        host: &'a str,
        port: u16,
        why: &'a str,
    },
}

impl Answer<'_> {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (status, body) = match self {
            Self::Malformed(why) => ("400 Bad Request".to_owned(), (*why).to_owned()),
            Self::TooSlow => (
                "408 Request Timeout".to_owned(),
                "the request did not come in time".to_owned(),
            ),
            Self::TooLarge => (
                "431 Request Header Fields Too Large".to_owned(),
                "the head of the request is too large".to_owned(),
            ),
            Self::Refused { host, port, remedy } => {
                let target = authority(host, *port);
                (
                    format!("403 Forbidden by ptest, {target} is not allowed"),
                    format!(
                        "this environment may not reach {target}\n\
                         `{remedy}` allows it when the environment is made"
                    ),
                )
            }
            Self::Failed { host, port, why } => {
                let target = authority(host, *port);
                (
                    "502 Bad Gateway".to_owned(),
                    format!("{target} cannot be reached: {why}"),
                )
            }
        };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\nptest: {body}\n",
            "ptest: \n".len() + body.len()
        )
        .into_bytes()
    }
}

fn strip_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    scheme.eq_ignore_ascii_case("http").then_some(rest)
}

/// One line of a head. One that goes on with the line before has no name.
fn field(line: &str) -> Result<(&str, &str), Malformed> {
    let (name, value) = line
        .split_once(':')
        .ok_or(Malformed("a field of the request has no `:`"))?;
    let value = value.trim_matches([' ', '\t']);
    let is_control = |byte: u8| byte.is_ascii_control() && byte != b'\t';
    if !is_token(name) || value.bytes().any(is_control) {
        return Err(Malformed("a field of the request is malformed"));
    }
    Ok((name, value))
}

/// The names of the fields that end here: the usual ones and those that the request names.
fn between_neighbours<'a>(fields: &[(&str, &'a str)]) -> Vec<&'a str> {
    let named = fields
        .iter()
        .filter(|(name, _)| {
            name.eq_ignore_ascii_case("connection") || name.eq_ignore_ascii_case("proxy-connection")
        })
        .flat_map(|(_, value)| value.split(','))
        .map(str::trim);
    // How long the body is must be known to the other side too.
    named
        .filter(|name| {
            !name.eq_ignore_ascii_case("content-length")
                && !name.eq_ignore_ascii_case("transfer-encoding")
        })
        .chain(HOP_BY_HOP)
        .collect()
}

fn is_token(text: &str) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(head: &str) -> Result<(String, String), &'static str> {
        let request = parse(head.replace('\n', "\r\n").as_bytes()).map_err(|error| error.0)?;
        let head = request.head.unwrap_or_default();
        Ok((
            authority(&request.host.to_string(), request.port),
            String::from_utf8(head).unwrap().replace("\r\n", "\n"),
        ))
    }

    #[test]
    fn a_tunnel_is_for_a_host_and_a_port() {
        for (target, meant) in [
            ("PyPI.org:443", "pypi.org:443"),
            ("192.0.2.1:8443", "192.0.2.1:8443"),
            ("[2001:db8::1]:443", "[2001:db8::1]:443"),
            ("[::ffff:192.0.2.1]:443", "192.0.2.1:443"),
        ] {
            let asked = request(&format!("CONNECT {target} HTTP/1.1\nHost: x\n\n")).unwrap();
            assert_eq!(asked, (meant.to_owned(), String::new()));
        }
        for target in [
            "pypi.org",
            "pypi.org:",
            ":443",
            "a:b:443",
            "user@pypi.org:443",
            "http://pypi.org:443",
            "::1:443",
            "[127.0.0.1]:443",
            "pypi.org:443x",
        ] {
            let asked = request(&format!("CONNECT {target} HTTP/1.1\n\n"));
            assert!(asked.is_err(), "{target}: {asked:?}");
        }
    }

    #[test]
    fn a_request_is_passed_on_for_its_path_and_without_what_is_the_proxys() {
        let asked = request(
            "GET http://Example.org:8080/a?b=c HTTP/1.1\nHost: other.example\nAccept: */*\n\
             Connection: keep-alive, X-Mine, Content-Length\nx-mine: 1\nContent-Length: 3\n\
             Proxy-Authorization: Basic c2VjcmV0\nProxy-Connection: keep-alive\n\n",
        )
        .unwrap();
        assert_eq!(asked.0, "example.org:8080");
        assert_eq!(
            asked.1,
            "GET /a?b=c HTTP/1.1\nHost: Example.org:8080\nAccept: */*\nContent-Length: 3\n\
             Connection: close\n\n"
        );
        let (host, head) = request("HEAD HTTP://a.example?q HTTP/1.0\n\n").unwrap();
        assert_eq!(host, "a.example:80");
        assert!(
            head.starts_with("HEAD /?q HTTP/1.0\nHost: a.example\n"),
            "{head}"
        );
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_malformed() {
        for head in [
            "\n\n",
            "GET / HTTP/1.1\n\n",
            "GET https://a.example/ HTTP/1.1\n\n",
            "GET http://a.example/ HTTP/2.0\n\n",
            "GET  http://a.example/ HTTP/1.1\n\n",
            "GET http://a.example/ HTTP/1.1 x\n\n",
            "GET http://u:p@a.example/ HTTP/1.1\n\n",
            "GET http:///path HTTP/1.1\n\n",
            "GET http://a.example/\u{1} HTTP/1.1\n\n",
            "GET http://a.example/ HTTP/1.1\nA: b\n continued\n\n",
            "GET http://a.example/ HTTP/1.1\nA : b\n\n",
            "GET http://a.example/ HTTP/1.1\nA: b\rX: y\n\n",
            "GET http://a.example/ HTTP/1.1\nA: b\0\n\n",
            "G(T http://a.example/ HTTP/1.1\n\n",
        ] {
            assert!(request(head).is_err(), "{head:?}");
        }
        let bare = "GET http://a.example/ HTTP/1.1\nA: b\r\n\r\n";
        assert!(parse(bare.as_bytes()).is_err());
    }

    #[test]
    fn a_head_is_found_however_it_arrives() {
        let bytes = b"GET / HTTP/1.1\r\nA: b\r\n\r\nbody\r\n\r\n";
        let whole = bytes.len() - 8;
        for seen in 0..whole {
            assert_eq!(head_length(&bytes[..seen], 0), None, "{seen}");
            assert_eq!(head_length(bytes, seen), Some(whole), "{seen}");
        }
    }

    #[test]
    fn an_answer_says_how_long_it_is() {
        let answer = Answer::Refused {
            host: "a.example",
            port: 443,
            remedy: "--allow a.example",
        };
        let text = String::from_utf8(answer.to_bytes()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())),
            "{text}"
        );
        assert!(head.starts_with("HTTP/1.1 403 "), "{text}");
        assert!(
            body.contains("a.example:443") && body.contains("--allow a.example"),
            "{text}"
        );
    }
}
