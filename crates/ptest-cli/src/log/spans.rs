//! Operations as a collector of OpenTelemetry gets them: kept until the command has ended.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ptest::secrets::Secrets;
use ptest::telemetry::Span;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// How many operations are kept: a command that does more is told of in part.
const MOST: usize = 1_000;
/// The span of an operation.
const OPERATION: &str = "operation";

/// What is kept. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spans(Arc<Mutex<Vec<Span>>>);

impl Spans {
    /// All that is over, which is then no longer kept.
    pub(crate) fn take(&self) -> Vec<Span> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Keeps operations.
pub(super) struct Keeper {
    pub(super) spans: Spans,
    pub(super) secrets: Secrets,
}

/// An operation that goes on.
struct Open {
    began: SystemTime,
    fields: Vec<(String, String)>,
    error: Option<String>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Keeper {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if attributes.metadata().name() != OPERATION {
            return;
        }
        if let Some(span) = context.span(id) {
            let mut open = Open {
                began: SystemTime::now(),
                fields: Vec::new(),
                error: None,
            };
            attributes.record(&mut Into(&self.secrets, &mut open.fields));
            span.extensions_mut().insert(open);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            values.record(&mut Into(&self.secrets, &mut open.fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if *event.metadata().level() != tracing::Level::ERROR {
            return;
        }
        let mut fields = Vec::new();
        event.record(&mut Into(&self.secrets, &mut fields));
        if let Some(span) = context.event_span(event)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            open.error = taken(&mut fields, "error");
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let Some(mut open) = span.extensions_mut().remove::<Open>() else {
            return;
        };
        let number = |text: String| u64::from_str_radix(text.strip_prefix('o')?, 16).ok();
        let Some(id) = taken(&mut open.fields, "operation").and_then(number) else {
            return;
        };
        let parent = taken(&mut open.fields, "parent").and_then(number);
        let name = taken(&mut open.fields, "kind");
        let mut spans = self.spans.0.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.len() < MOST {
            spans.push(Span {
                id,
                parent,
                name: name.unwrap_or_else(|| OPERATION.to_owned()),
                began: open.began,
                ended: SystemTime::now(),
                attributes: open.fields,
                error: open.error,
            });
        }
    }
}

fn taken(fields: &mut Vec<(String, String)>, name: &str) -> Option<String> {
    let place = fields.iter().position(|(known, _)| known == name)?;
    Some(fields.swap_remove(place).1)
}

/// Keeps fields without what may not be shown.
struct Into<'a>(&'a Secrets, &'a mut Vec<(String, String)>);

impl Visit for Into<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.1
            .push((field.name().to_owned(), self.0.hide(value).into_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
