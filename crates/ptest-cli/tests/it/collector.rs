//! What a collector of OpenTelemetry is told: a small server stands for one.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    thread::{self, JoinHandle},
};

use serde_json::Value;

use crate::context::TestContext;

/// Takes so many messages, each with the path and a header that it was sent with.
fn collect(listener: TcpListener, count: usize) -> JoinHandle<Vec<(String, String, Value)>> {
    thread::spawn(move || {
        let mut messages = Vec::new();
        while messages.len() < count {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            // A client may keep its connection.
            while let Some(message) = receive(&mut reader) {
                messages.push(message);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
                reader.get_mut().write_all(answer).unwrap();
                if messages.len() == count {
                    break;
                }
            }
        }
        messages
    })
}

fn receive(reader: &mut BufReader<std::net::TcpStream>) -> Option<(String, String, Value)> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        head.iter().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known
                .eq_ignore_ascii_case(name)
                .then(|| value.trim().to_owned())
        })
    };
    let length = header("content-length").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    assert_eq!(header("content-type").as_deref(), Some("application/json"));
    let path = head[0].split(' ').nth(1).unwrap().to_owned();
    let token = header("x-token").unwrap_or_default();
    Some((path, token, serde_json::from_slice(&body).unwrap()))
}

#[test]
fn operations_and_metrics_are_sent_when_a_command_has_ended() {
    let mut context = TestContext::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let collected = collect(listener, 2);
    context.set("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
    context.set("OTEL_EXPORTER_OTLP_HEADERS", "x-token=abc");
    // Also where nothing is logged.
    context.set("PTEST_LOG", "off");
    let outcome = context.run(["create", "web", "--no-pip"]).success();
    assert!(!outcome.stderr().contains("warning"), "{outcome}");
    let messages = collected.join().unwrap();
    let [(traces, token, spans), (metrics, _, numbers)] = &messages[..] else {
        panic!("{messages:#?}");
    };
    assert_eq!(
        (traces.as_str(), metrics.as_str()),
        ("/v1/traces", "/v1/metrics")
    );
    assert_eq!(token, "abc");
    let spans = &spans["resourceSpans"][0]["scopeSpans"][0]["spans"];
    let spans = spans.as_array().unwrap();
    let create = spans.iter().find(|span| span["name"] == "create").unwrap();
    assert_eq!(create["traceId"].as_str().unwrap().len(), 32);
    assert_eq!(create["spanId"].as_str().unwrap().len(), 16);
    let families = &numbers["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
    let mut families = families.as_array().unwrap().iter();
    assert!(families.any(|family| family["name"] == "ptest_environments"));

    context.set("OTEL_EXPORTER_OTLP_ENDPOINT", "");
    let _removed = context.run(["remove", "web"]).success();
    context.assert_nothing_is_left();
}

#[test]
fn a_collector_that_is_not_there_costs_a_warning_and_nothing_else() {
    let mut context = TestContext::new();
    // Bound and given back: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    context.set("PTEST_OTLP_ENDPOINT", format!("http://{address}"));
    let outcome = context.run(["create", "web", "--no-pip"]).success();
    assert!(
        outcome.stderr().contains("warning: cannot send to http://"),
        "{outcome}"
    );
    context.set("PTEST_OTLP_ENDPOINT", "https://collector.example");
    let outcome = context.run(["remove", "web"]).success();
    assert!(outcome.stderr().contains("needs TLS"), "{outcome}");
}
