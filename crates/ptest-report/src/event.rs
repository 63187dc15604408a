//! What `events` writes.

use ptest::events::{Event, Recorded};
use ptest::timestamp::Timestamp;
use serde::Serialize;

use crate::Report;

/// Several events.
#[derive(Debug, Serialize)]
pub struct EventsReport {
    /// In the order in which they happened.
    pub events: Vec<Recorded>,
}

/// One event.
#[derive(Debug, Serialize)]
pub struct EventReport {
    /// What happened.
    pub event: Recorded,
}

fn samples() -> Vec<Recorded> {
    let recorded = |event: Event| Recorded {
        sequence: 7,
        time: Timestamp::from_millisecond(0),
        environment: None,
        label: None,
        operation: None,
        caused_by: None,
        event,
    };
    let mut samples: Vec<Recorded> = Event::samples().into_iter().map(recorded).collect();
    if let Some(first) = samples.first_mut() {
        first.environment = "e0123456789abcdef0123456789abcdef".parse().ok();
        first.label = Some("web".to_owned());
        first.operation = Some("o0".to_owned());
        first.caused_by = Some(6);
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
