//! The view on a terminal, of a store: somebody looks once a second, keys and news change what is known, and that is drawn.
//!
//! One thread draws, and sleeps until a key, news or a signal comes; another looks, so that an environment that does not
//! answer keeps nobody from quitting. The terminal is as it was when this ends, however it ends.

use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use ptest::Ptest;
use ptest::environment::{EnvironmentId, State as Life};
use ptest::labels::Selector;
use ptest::timestamp::Timestamp;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use rustix::event::{PollFd, PollFlags, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use signal_hook::{flag, low_level};

use super::state::{Action, Effect, News, REMEMBERED, Snapshot, State, Subject};
use super::{Key, draw};
use crate::error::CliError;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(1);
/// Every how many looks what was sampled is taken into the history.
const FOLD: u32 = 60;
/// How long what runs in an environment has to end by itself.
const GRACE: Duration = Duration::from_secs(5);

/// Shows a store until somebody quits.
pub(crate) fn run(store: &Ptest) -> Result<(), CliError> {
    let failed = |what| move |source| CliError::Process { what, source };
    let signals = Arrivals::new().map_err(failed("take signals"))?;
    let (bell, ringer) = io::pipe().map_err(failed("make a pipe"))?;
    let (news, heard) = mpsc::channel();
    let voice = Voice { news, ringer };
    let asks = look_from_now_on(store, &voice).map_err(failed("start a thread"))?;
    let mut screen = Screen::open().map_err(failed("take over the terminal"))?;
    let mut state = State::default();
    loop {
        screen
            .show(&state)
            .map_err(failed("write to the terminal"))?;
        let goes_on = wait(&bell, &signals.pipe).map_err(failed("wait for a key"))?;
        if let Some(signal) = signals.ending() {
            return Err(CliError::Interrupted { signal });
        }
        if !goes_on {
            return Ok(());
        }
        let mut effects = Vec::new();
        for key in keys().map_err(failed("read keys"))? {
            effects.extend(state.press(key));
        }
        drain(&bell);
        effects.extend(heard.try_iter().filter_map(|news| state.hear(news)));
        for effect in effects {
            match effect {
                Effect::Quit => return Ok(()),
                // Who looks has ended only if this is about to.
                Effect::Look(id) => drop(asks.send(id)),
                Effect::Do(subject, action) => do_beside(store, &voice, subject, action),
            }
        }
    }
}

/// The terminal, drawn upon.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> io::Result<Self> {
        // It also sees to it that a panic gives the terminal back before it is told.
        ratatui::try_init().map(Self)
    }

    fn show(&mut self, state: &State) -> io::Result<()> {
        self.0.draw(|frame| draw(frame, state)).map(drop)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _gone = ratatui::try_restore();
    }
}

/// What tells of news, from any thread.
struct Voice {
    news: Sender<News>,
    ringer: PipeWriter,
}

impl Voice {
    fn say(&mut self, news: News) -> bool {
        self.news.send(news).is_ok() && self.ringer.write_all(&[0]).is_ok()
    }

    fn another(&self) -> io::Result<Self> {
        Ok(Self {
            news: self.news.clone(),
            ringer: self.ringer.try_clone()?,
        })
    }
}

/// Looks once a second, and at once when another environment is asked for.
fn look_from_now_on(store: &Ptest, voice: &Voice) -> io::Result<Sender<Option<EnvironmentId>>> {
    let (asks, asked) = mpsc::channel();
    let (store, mut voice) = (store.clone(), voice.another()?);
    thread::Builder::new().spawn(move || {
        let mut selected = None;
        let mut looks = 0;
        loop {
            let next = Instant::now() + INTERVAL;
            let news = match look(&store, selected.as_ref(), looks) {
                Ok(snapshot) => News::Seen(snapshot),
                Err(error) => News::Done(error.to_string()),
            };
            looks += 1;
            if !voice.say(news) || !wait_for_asks(&asked, next, &mut selected) {
                return;
            }
        }
    })?;
    Ok(asks)
}

/// Returns when it is time or another environment was asked for; `false` when nobody asks any more.
fn wait_for_asks(
    asked: &Receiver<Option<EnvironmentId>>,
    next: Instant,
    selected: &mut Option<EnvironmentId>,
) -> bool {
    match asked.recv_timeout(next.saturating_duration_since(Instant::now())) {
        Ok(id) => {
            // Whoever holds a key down wants the last.
            *selected = asked.try_iter().last().unwrap_or(id);
            true
        }
        Err(RecvTimeoutError::Timeout) => true,
        Err(RecvTimeoutError::Disconnected) => false,
    }
}

fn look(store: &Ptest, selected: Option<&EnvironmentId>, looks: u32) -> ptest::Result<Snapshot> {
    let statuses = store.statuses(&Selector::default())?;
    let active = statuses
        .iter()
        .filter(|status| status.record.state == Life::Active)
        .map(|status| &status.record.id);
    let mut history = Vec::new();
    if looks.is_multiple_of(FOLD) {
        for id in active {
            // It may be removed at any moment.
            let Ok(stats) = store
                .find(id.as_str())
                .and_then(|environment| environment.stats(INTERVAL * REMEMBERED as u32))
            else {
                continue;
            };
            if looks == 0 {
                history.push((id.clone(), by_second(&stats)));
            }
        }
    }
    let processes = match selected {
        Some(id) => match store.find(id.as_str()) {
            Ok(environment) => Some((id.clone(), environment.processes()?)),
            Err(_) => None,
        },
        None => None,
    };
    Ok(Snapshot {
        time: Timestamp::now(),
        entries: statuses.into_iter().map(Into::into).collect(),
        processes,
        history,
    })
}

/// What was used in each second; nothing where nothing is known.
fn by_second(stats: &ptest::monitor::Stats) -> Vec<(f64, u64)> {
    let second = |time: Timestamp| (time.as_millisecond() - stats.from.as_millisecond()) / 1_000;
    let mut all = vec![(0.0, 0); usize::try_from(second(stats.to)).unwrap_or_default()];
    for point in &stats.points {
        let place = usize::try_from(second(point.time)).ok();
        if let Some(value) = place.and_then(|place| all.get_mut(place)) {
            *value = (point.cpus, point.memory);
        }
    }
    all
}

/// Does something to an environment, which may take a while, and tells what came of it.
fn do_beside(store: &Ptest, voice: &Voice, subject: Subject, action: Action) {
    let store = store.clone();
    let voice = voice.another();
    thread::spawn(move || {
        let done = carry_out(&store, &subject, &action);
        let sentence = done.unwrap_or_else(|error| error.to_string());
        if let Ok(mut voice) = voice {
            voice.say(News::Done(sentence));
        }
    });
}

fn carry_out(store: &Ptest, subject: &Subject, action: &Action) -> ptest::Result<String> {
    let environment = store.find(subject.id.as_str())?;
    let label = &subject.label;
    let (is_done, done, otherwise) = match action {
        Action::Signal(process, signal) => {
            let pid = process.pid;
            (
                environment.signal(process, *signal)?,
                format!("sent signal {signal} to process {pid} of {label}"),
                format!("process {pid} of {label} has ended"),
            )
        }
        Action::Deactivate => (
            environment.deactivate(GRACE)?,
            format!("deactivated {label}"),
            format!("{label} was not active"),
        ),
        Action::Remove => {
            environment.remove()?;
            (true, format!("removed {label}"), String::new())
        }
    };
    Ok(if is_done { done } else { otherwise })
}

/// The signals that matter here, and what is readable when one has come.
struct Arrivals {
    pipe: PipeReader,
    ended: Arc<AtomicUsize>,
}

impl Arrivals {
    fn new() -> io::Result<Self> {
        let (pipe, writer) = io::pipe()?;
        let ended = Arc::new(AtomicUsize::new(0));
        for signal in [SIGHUP, SIGINT, SIGTERM] {
            flag::register_usize(signal, Arc::clone(&ended), signal as usize)?;
            low_level::pipe::register(signal, writer.try_clone()?)?;
        }
        low_level::pipe::register(SIGWINCH, writer)?;
        Ok(Self { pipe, ended })
    }

    /// The signal that asks to end.
    fn ending(&self) -> Option<i32> {
        let signal = self.ended.load(Ordering::Relaxed);
        i32::try_from(signal).ok().filter(|signal| *signal != 0)
    }
}

/// Sleeps until there is a key, news or a signal. `false` when the terminal is gone.
fn wait(bell: &PipeReader, signals: &PipeReader) -> io::Result<bool> {
    let stdin = io::stdin();
    let mut sources = [
        PollFd::new(&stdin, PollFlags::IN),
        PollFd::new(bell, PollFlags::IN),
        PollFd::new(signals, PollFlags::IN),
    ];
    match poll(&mut sources, None) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    if !sources[2].revents().is_empty() {
        drain(signals);
    }
    Ok(!sources[0]
        .revents()
        .intersects(PollFlags::HUP | PollFlags::ERR))
}

/// The keys that have arrived. A change of the terminal's size is none, but was a reason to draw.
fn keys() -> io::Result<Vec<Key>> {
    let mut keys = Vec::new();
    while event::poll(Duration::ZERO)? {
        if let Event::Key(key) = event::read()? {
            keys.extend(Key::of(key));
        }
    }
    Ok(keys)
}

/// Takes what a pipe has.
fn drain(pipe: &PipeReader) {
    let mut state = [PollFd::new(pipe, PollFlags::IN)];
    if poll(&mut state, Some(&rustix::event::Timespec::default())) == Ok(1) {
        let _taken = (&*pipe).read(&mut [0; 4096]);
    }
}
