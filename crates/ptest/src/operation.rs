//! The operations of the life cycle: each has an id, which every line that is logged for it carries, and every event that it
//! causes.
//!
//! An operation belongs to the thread that runs it, from its beginning to its end; threads that work for it continue it
//! ([`Here`]). Not for what an operation does, nor for putting right what one left.

use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::time::Instant;

use serde::{Serialize, Serializer};
use tracing::field::{Empty, display};
use tracing::span::EnteredSpan;
use tracing::{Span, debug, error, error_span, info, warn};

use crate::environment::Record;
use crate::error::{Error, Result, causes};

thread_local! {
    /// What this thread is doing, the outermost operation first.
    static RUNNING: RefCell<Vec<OperationId>> = const { RefCell::new(Vec::new()) };
}

/// The identity of one operation: random, so that it is one in all stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(u64);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "o{:016x}", self.0)
    }
}

impl Serialize for OperationId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The operation that the calling thread is in, the innermost of several.
pub fn current() -> Option<OperationId> {
    RUNNING.with_borrow(|running| running.last().copied())
}

/// The event whose hook started this process, if one did.
static CAUSE: OnceLock<i64> = OnceLock::new();

/// Says that this process is what a hook does for the event of this number.
pub(crate) fn set_cause(sequence: i64) {
    // A process has one beginning.
    let _ = CAUSE.set(sequence);
}

/// The event whose hook started this process, if one did.
pub(crate) fn cause() -> Option<i64> {
    CAUSE.get().copied()
}

/// Does `body` as one operation, and logs how it ended.
///
/// `kind` is its verb, the name of the command. `label` is what people call the thing it works on; empty if that is not
/// known yet, or is nothing ([`concerns`]).
pub(crate) fn run<T>(
    kind: &'static str,
    label: &str,
    body: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let id = OperationId(u64::from_ne_bytes(crate::random::bytes()?));
    // Of the highest level, so that an error carries it also where nothing less is heard.
    let span = error_span!(
        "operation",
        operation = %id,
        parent = current().map(display),
        kind,
        label = (!label.is_empty()).then_some(label),
        environment = Empty,
    );
    let running = Running::new(id, span);
    let began = Instant::now();
    debug!("begun");
    let result = body();
    let seconds = began.elapsed().as_secs_f64();
    match &result {
        Ok(_) => info!(seconds, "done"),
        Err(failed) => error!(
            seconds,
            error = %WithCauses(failed),
            error_kind = failed.kind().as_str(),
            output = failed.output(),
            "failed"
        ),
    }
    drop(running);
    result
}

/// Notes a failure that the caller is not told of, because another one counts more, or because the next process mends it.
pub(crate) fn passed_over<T>(what: &str, result: Result<T>) {
    if let Err(failed) = result {
        warn!(
            error = %WithCauses(&failed),
            error_kind = failed.kind().as_str(),
            "passed over: failed to {what}"
        );
    }
}

/// Says of the operation that the calling thread is in which environment it works on.
pub(crate) fn concerns(record: &Record) {
    let span = Span::current();
    span.record("environment", display(&record.id));
    span.record("label", record.label());
}

/// What a thread does, for other threads that work for it.
#[derive(Clone, Debug)]
pub(crate) struct Here(Option<(OperationId, Span)>);

impl Here {
    pub(crate) fn of_this_thread() -> Self {
        Self(current().map(|id| (id, Span::current())))
    }

    /// Does `body` as part of that operation.
    pub(crate) fn continued<T>(&self, body: impl FnOnce() -> T) -> T {
        let running = self
            .0
            .as_ref()
            .map(|(id, span)| Running::new(*id, span.clone()));
        let value = body();
        drop(running);
        value
    }
}

/// That the calling thread is in an operation.
#[derive(Debug)]
struct Running {
    id: OperationId,
    _span: EnteredSpan,
    /// What it undoes is the thread's own.
    _not_send: PhantomData<*const ()>,
}

impl Running {
    fn new(id: OperationId, span: Span) -> Self {
        RUNNING.with_borrow_mut(|running| running.push(id));
        Self {
            id,
            _span: span.entered(),
            _not_send: PhantomData,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Not always the last: guards of one scope may be dropped in any order.
        RUNNING.with_borrow_mut(|running| {
            if let Some(index) = running.iter().rposition(|id| *id == self.id) {
                running.remove(index);
            }
        });
    }
}

/// An error with all its causes on one line.
pub(crate) fn with_causes(error: &Error) -> String {
    WithCauses(error).to_string()
}

/// An error with all its causes on one line.
struct WithCauses<'a>(&'a Error);

impl fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        causes(self.0)
            .iter()
            .try_for_each(|cause| write!(f, ": {cause}"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record as Values};
    use tracing::subscriber::with_default;
    use tracing::{Event, Metadata, Subscriber};

    use super::*;
    use crate::error::ErrorKind;
    use crate::parallel;

    type Fields = BTreeMap<&'static str, String>;

    /// Keeps the fields of every span and of every event.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<(Vec<Fields>, Vec<Fields>)>>);

    struct Into<'a>(&'a mut Fields);

    impl Visit for Into<'_> {
        fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
            self.0.insert(field.name(), format!("{value:?}"));
        }
    }

    impl Subscriber for Kept {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, span: &Attributes<'_>) -> Id {
            let spans = &mut self.0.lock().unwrap().0;
            let mut fields = Fields::new();
            span.record(&mut Into(&mut fields));
            spans.push(fields);
            Id::from_u64(spans.len() as u64)
        }

        fn record(&self, span: &Id, values: &Values<'_>) {
            let spans = &mut self.0.lock().unwrap().0;
            values.record(&mut Into(&mut spans[span.into_u64() as usize - 1]));
        }

        fn event(&self, event: &Event<'_>) {
            let mut fields = Fields::new();
            event.record(&mut Into(&mut fields));
            self.0.lock().unwrap().1.push(fields);
        }

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[test]
    fn an_operation_within_another_says_which_and_gives_the_thread_back_to_it() {
        let kept = Kept::default();
        let (outer, inner) = with_default(kept.clone(), || {
            run("create", "web", || {
                let outer = current().unwrap();
                let inner = run("activate", "", || Ok(current().unwrap()))?;
                assert_eq!(current(), Some(outer));
                Ok((outer, inner))
            })
            .unwrap()
        });
        assert_eq!(current(), None);
        let spans = &kept.0.lock().unwrap().0;
        assert_eq!(spans[0]["operation"], outer.to_string());
        assert_eq!(spans[0]["label"], "\"web\"");
        assert_eq!(spans[0].get("parent"), None);
        assert_eq!(spans[1]["operation"], inner.to_string());
        assert_eq!(spans[1]["parent"], outer.to_string());
        assert_eq!(spans[1].get("label"), None);
    }

    #[test]
    fn a_failure_is_told_once_with_all_its_causes() {
        let kept = Kept::default();
        let failed = with_default(kept.clone(), || {
            run("remove", "web", || {
                Err::<(), _>(
                    Error::new(ErrorKind::Busy, "it is busy")
                        .with_source(std::io::Error::other("somebody works on it")),
                )
            })
        });
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Busy);
        let events = &kept.0.lock().unwrap().1;
        let failures: Vec<_> = events
            .iter()
            .filter(|it| it.contains_key("error"))
            .collect();
        assert_eq!(failures.len(), 1, "{events:?}");
        assert_eq!(failures[0]["error"], "it is busy: somebody works on it");
        assert_eq!(failures[0]["error_kind"], "\"busy\"");
    }

    #[test]
    fn threads_that_work_for_an_operation_are_in_it() {
        run("install", "web", || {
            let seen = parallel::try_map(&[(); 8], 4, |()| Ok::<_, Error>(current()))?;
            assert!(seen.iter().all(|id| *id == current()), "{seen:?}");
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn no_two_operations_have_one_id() {
        let ids: Vec<_> = (0..100)
            .map(|_| run("create", "", || Ok(current())).unwrap())
            .collect();
        let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(distinct.len(), ids.len());
    }
}
