//! Events as JSON: what reports hold, and what hooks get.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::{Event, Recorded};
use crate::environment::EnvironmentId;

#[derive(Serialize)]
struct Document<'a> {
    /// Larger for each later one, and never used twice.
    sequence: i64,
    time: String,
    kind: &'static str,
    /// The id of the environment that it is about.
    environment: Option<&'a str>,
    /// Its name then, or its id.
    label: Option<&'a str>,
    /// The operation that it happened in, as the log has it.
    operation: Option<&'a str>,
    /// The event whose hook did it.
    caused_by: Option<i64>,
    /// The version of the payload's fields.
    version: u32,
    payload: Value,
}

impl Serialize for Recorded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let document = Document {
            sequence: self.sequence,
            time: self.time.to_string(),
            kind: self.event.kind(),
            environment: self.environment.as_ref().map(EnvironmentId::as_str),
            label: self.label.as_deref(),
            operation: self.operation.as_deref(),
            caused_by: self.caused_by,
            version: Event::VERSION,
            payload: self.event.payload(),
        };
        document.serialize(serializer)
    }
}

impl Event {
    /// What there is to say of it besides its kind.
    pub fn payload(&self) -> Value {
        // Events are made of texts, numbers and lists of them: writing them cannot fail.
        let mut whole = serde_json::to_value(self).unwrap_or_default();
        whole["payload"].take()
    }
}
