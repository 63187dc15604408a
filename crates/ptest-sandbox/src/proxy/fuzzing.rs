//! What must hold of anything that a proxy hears, for a fuzzer. Only with the feature `fuzzing`.

use crate::proxy::http;
use crate::proxy::rules::{Host, Rule, authority};
use crate::proxy::socks;

/// A head is found wherever its bytes are split; what is passed on is one head, for the host that was read.
pub fn http(bytes: &[u8]) {
    let Some(length) = http::head_length(bytes, 0) else {
        return;
    };
    for seen in 0..length {
        assert_eq!(http::head_length(&bytes[..seen], 0), None);
        assert_eq!(http::head_length(bytes, seen), Some(length));
    }
    let Ok(request) = http::parse(&bytes[..length]) else {
        return;
    };
    assert_one_host(&request.host, request.port);
    if let Some(head) = request.head {
        assert_eq!(http::head_length(&head, 0), Some(head.len()));
        let text = String::from_utf8(head).unwrap_or_default();
        let mut hosts = text
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(name, _)| name.eq_ignore_ascii_case("host"));
        let named = hosts.next().map(|(_, value)| value.trim());
        let named = named.and_then(|named| Host::parse_with_port(named, Some(80)));
        assert_eq!(named, Some((request.host, request.port)));
        assert_eq!(hosts.next(), None);
    }
}

/// A message is read when it is whole, and not before.
pub fn socks(bytes: &[u8]) {
    if let Some((_, length)) = socks::greeting(bytes) {
        for seen in 0..length {
            assert_eq!(socks::greeting(&bytes[..seen]), None);
        }
    }
    if let Ok(Some(((host, port), length))) = socks::request(bytes) {
        for seen in 0..length {
            assert_eq!(socks::request(&bytes[..seen]), Ok(None));
        }
        assert_one_host(&host, port);
    }
}

/// A rule means the same when it is written and read again.
pub fn rule(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(rule) = text.parse::<Rule>() {
        assert_eq!(rule.to_string().parse(), Ok(rule));
    }
}

/// It means the same when it is written and read again: it is what is asked of the resolver, recorded and answered.
fn assert_one_host(host: &Host, port: u16) {
    let text = authority(&host.to_string(), port);
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(!text.contains(['"', '\\']));
    assert_eq!(
        Host::parse_with_port(&text, None),
        Some((host.clone(), port))
    );
}
