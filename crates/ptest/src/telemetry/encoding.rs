//! What is sent, after the JSON encoding of OTLP: ids are hexadecimal, 64-bit numbers are texts.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::Span;
use crate::monitor::Family;

/// Inside of ptest, and for its own use: neither of a server nor of a client.
const KIND_INTERNAL: u32 = 1;
const STATUS_ERROR: u32 = 2;
/// Counters say what there was since they began.
const CUMULATIVE: u32 = 2;

pub(super) fn traces(trace: u128, spans: &[Span]) -> Value {
    let spans: Vec<Value> = spans.iter().map(|one| span(trace, one)).collect();
    json!({"resourceSpans": [{
        "resource": resource(),
        "scopeSpans": [{"scope": scope(), "spans": spans}],
    }]})
}

fn span(trace: u128, span: &Span) -> Value {
    let attributes = span.attributes.iter();
    let mut value = json!({
        "traceId": format!("{trace:032x}"),
        "spanId": format!("{:016x}", span.id),
        "name": span.name,
        "kind": KIND_INTERNAL,
        "startTimeUnixNano": nanoseconds(span.began),
        "endTimeUnixNano": nanoseconds(span.ended),
        "attributes": attributes.map(|(key, value)| attribute(key, value)).collect::<Vec<_>>(),
    });
    if let Some(parent) = span.parent {
        value["parentSpanId"] = format!("{parent:016x}").into();
    }
    if let Some(error) = &span.error {
        value["status"] = json!({"code": STATUS_ERROR, "message": error});
    }
    value
}

pub(super) fn metrics(families: &[Family], now: SystemTime) -> Value {
    let filled = families.iter().filter(|family| !family.samples.is_empty());
    let metrics: Vec<Value> = filled.map(|family| metric(family, now)).collect();
    json!({"resourceMetrics": [{
        "resource": resource(),
        "scopeMetrics": [{"scope": scope(), "metrics": metrics}],
    }]})
}

fn metric(family: &Family, now: SystemTime) -> Value {
    let points: Vec<Value> = family
        .samples
        .iter()
        .map(|(labels, value)| {
            let labels = labels.iter();
            json!({
                "attributes": labels.map(|(key, value)| attribute(key, value)).collect::<Vec<_>>(),
                "timeUnixNano": nanoseconds(now),
                "asDouble": value,
            })
        })
        .collect();
    let mut metric = json!({"name": family.name, "description": family.help});
    if family.is_counter {
        metric["sum"] = json!({
            "dataPoints": points,
            "aggregationTemporality": CUMULATIVE,
            "isMonotonic": true,
        });
    } else {
        metric["gauge"] = json!({"dataPoints": points});
    }
    metric
}

fn resource() -> Value {
    json!({"attributes": [
        attribute("service.name", "ptest"),
        attribute("service.version", env!("CARGO_PKG_VERSION")),
        attribute("host.name", &rustix::system::uname().nodename().to_string_lossy()),
    ]})
}

fn scope() -> Value {
    json!({"name": "ptest", "version": env!("CARGO_PKG_VERSION")})
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn nanoseconds(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_span_has_its_ids_in_hexadecimal_and_its_times_as_texts() {
        let began = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let failed = Span {
            id: 0xab,
            parent: Some(0xcd),
            name: "create".to_owned(),
            began,
            ended: began + Duration::from_millis(5),
            attributes: vec![("label".to_owned(), "web".to_owned())],
            error: Some("no room".to_owned()),
        };
        let sent = traces(0x11, &[failed]);
        let span = &sent["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(
            *span,
            json!({
                "traceId": "00000000000000000000000000000011",
                "spanId": "00000000000000ab",
                "parentSpanId": "00000000000000cd",
                "name": "create",
                "kind": 1,
                "startTimeUnixNano": "1700000000000000000",
                "endTimeUnixNano": "1700000000005000000",
                "attributes": [{"key": "label", "value": {"stringValue": "web"}}],
                "status": {"code": 2, "message": "no room"},
            })
        );
    }

    #[test]
    fn counters_are_sums_and_other_numbers_gauges() {
        let family = |is_counter| Family {
            name: "x",
            help: "What x is.",
            is_counter,
            samples: vec![(vec![("id", "e1".to_owned())], 1.5)],
        };
        let sent = metrics(&[family(true), family(false)], UNIX_EPOCH);
        let metrics = &sent["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
        assert_eq!(metrics[0]["sum"]["isMonotonic"], true);
        assert_eq!(metrics[1]["gauge"]["dataPoints"][0]["asDouble"], 1.5);
    }
}
