//! The log: what the library tells while it works goes to a file of the store, a JSON object a line, and with `--verbose`
//! to stderr.
//!
//! Nothing is opened before there is something to write, so that a command that tells nothing pays nothing. That a log
//! cannot be written is no reason for an operation to fail. Not for what a command says to its caller: that is `ui`'s.

mod file;
mod line;
mod spans;

use std::{fmt::Debug, io::Write as _, path::PathBuf, time::Instant};

use ptest::{config::LogLevel, secrets::Secrets};
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
};

use self::{
    file::RotatedFile,
    line::{Fields, Line},
    spans::Keeper,
};

use crate::error::CliError;
pub(crate) use spans::Spans;

/// The target of what the caller is told of anyway.
const COMMAND: &str = "ptest::command";

/// Where the log goes, and how much of it.
#[derive(Debug)]
pub(crate) struct Options {
    /// The file.
    pub(crate) file: PathBuf,
    /// What goes there.
    pub(crate) level: LogLevel,
    /// Whether people watch on stderr.
    pub(crate) verbose: bool,
    /// What may be in neither.
    pub(crate) secrets: Secrets,
    /// Where operations are kept, if somebody collects them.
    pub(crate) spans: Option<Spans>,
}

/// From now on what is told is written, for as long as this process lives. The first call counts: a program that has a
/// log of its own keeps it.
pub(crate) fn start(options: Options) {
    let file = match filter(options.level) {
        LevelFilter::OFF => None,
        filter => Some((RotatedFile::new(options.file), filter)),
    };
    let people = options.verbose.then_some(LevelFilter::DEBUG);
    let spans = options.spans.map(|spans| Keeper {
        spans,
        secrets: options.secrets.clone(),
    });
    let is_read = file.is_some() || people.is_some();
    if !is_read && spans.is_none() {
        return;
    }
    let log = is_read.then(|| Log {
        file,
        people,
        secrets: options.secrets,
        began: Instant::now(),
    });
    let subscriber = Registry::default().with(log).with(spans);
    // As said above.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Keeps why a command failed.
pub(crate) fn failure(error: &CliError) {
    let mut why = error.to_string();
    for cause in error.causes() {
        why += &format!(": {cause}");
    }
    let exit = error.exit().number();
    tracing::error!(target: COMMAND, error = why, hint = error.hint(), exit, "the command failed");
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Writes what is told.
struct Log {
    file: Option<(RotatedFile, LevelFilter)>,
    people: Option<LevelFilter>,
    secrets: Secrets,
    began: Instant,
}

impl Log {
    fn most(&self) -> LevelFilter {
        let file = self.file.as_ref().map(|(_, level)| *level);
        file.max(self.people).unwrap_or(LevelFilter::OFF)
    }

    fn write(&self, line: &Line<'_>) {
        if let Some((file, level)) = &self.file
            && line.level <= *level
        {
            file.append(line.json().as_bytes());
        }
        if self.people.is_some_and(|level| line.level <= level) && line.target != COMMAND {
            let text = line.text(self.began.elapsed());
            // A closed stderr is no reason to fail.
            let _ = std::io::stderr().lock().write_all(text.as_bytes());
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= self.most()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most())
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::new();
            attributes.record(&mut Hiding(&self.secrets, &mut fields));
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(&mut Hiding(&self.secrets, fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Hiding(&self.secrets, &mut fields));
        // The innermost operation is the one that tells; it names the one that it is part of.
        let span = context.event_span(event).map(|span| {
            span.extensions()
                .get::<Fields>()
                .cloned()
                .unwrap_or_default()
        });
        self.write(&Line {
            level: *event.metadata().level(),
            target: event.metadata().target(),
            operation: span.as_ref(),
            fields: &fields,
        });
    }
}

/// Keeps fields without what may not be shown.
struct Hiding<'a>(&'a Secrets, &'a mut Fields);

impl Hiding<'_> {
    fn text(&mut self, field: &Field, text: &str) {
        self.1.set(field.name(), self.0.hide(text).as_ref().into());
    }
}

impl Visit for Hiding<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.1.set(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.1.set(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.1.set(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.1.set(field.name(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, &format!("{value:?}"));
    }
}
