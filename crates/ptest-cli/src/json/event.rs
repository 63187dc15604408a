//! What `events` writes.

use ptest::events::{Event, Recorded};
use ptest::timestamp::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::Report;

/// Several events.
#[derive(Debug, Serialize)]
pub(crate) struct EventsReport {
    events: Vec<EventDto>,
}

/// One event.
#[derive(Debug, Serialize)]
pub(crate) struct EventReport {
    event: EventDto,
}

#[derive(Debug, Serialize)]
struct EventDto {
    /// Larger for each later one, and never used twice.
    sequence: i64,
    time: String,
    kind: &'static str,
    /// The id of the environment that it is about.
    environment: Option<String>,
    /// Its name then, or its id.
    label: Option<String>,
    /// The operation that it happened in, as the log has it.
    operation: Option<String>,
    /// The version of the payload's fields.
    version: u32,
    payload: Value,
}

/// What there is to say of an event besides its kind.
pub(crate) fn event_payload(event: &Event) -> Value {
    // Events are made of texts, numbers and lists of them: writing them cannot fail.
    let mut whole = serde_json::to_value(event).unwrap_or_default();
    whole["payload"].take()
}

impl EventsReport {
    pub(crate) fn new(events: &[Recorded]) -> Self {
        Self {
            events: events.iter().map(EventDto::from).collect(),
        }
    }
}

impl EventReport {
    pub(crate) fn new(event: &Recorded) -> Self {
        Self {
            event: event.into(),
        }
    }
}

impl From<&Recorded> for EventDto {
    fn from(recorded: &Recorded) -> Self {
        Self {
            sequence: recorded.sequence,
            time: recorded.time.to_string(),
            kind: recorded.event.kind(),
            environment: recorded.environment.as_ref().map(ToString::to_string),
            label: recorded.label.clone(),
            operation: recorded.operation.clone(),
            version: Event::VERSION,
            payload: event_payload(&recorded.event),
        }
    }
}

fn samples() -> Vec<EventDto> {
    let recorded = |event: Event| Recorded {
        sequence: 7,
        time: Timestamp::from_millisecond(0),
        environment: None,
        label: None,
        operation: None,
        event,
    };
    let mut samples: Vec<EventDto> = Event::samples()
        .into_iter()
        .map(|event| EventDto::from(&recorded(event)))
        .collect();
    if let Some(first) = samples.first_mut() {
        first.environment = Some("e0".to_owned());
        first.label = Some("web".to_owned());
        first.operation = Some("o0".to_owned());
    }
    samples
}

impl Report for EventsReport {
    const NAME: &'static str = "ptest.events";

    fn samples() -> Vec<Self> {
        vec![Self { events: samples() }]
    }
}

impl Report for EventReport {
    const NAME: &'static str = "ptest.event";

    fn samples() -> Vec<Self> {
        let one = |event| Self { event };
        samples().into_iter().map(one).collect()
    }
}
