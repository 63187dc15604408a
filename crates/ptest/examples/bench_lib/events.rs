//! A work about events: from the recording of one until who follows has it.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ptest::Ptest;
use ptest::events::EventFilter;
use serde_json::Value;

use super::{Bench, Result};

/// How many events in one round.
const TIMES: u32 = 20;
/// How long to wait for one.
const PATIENCE: Duration = Duration::from_secs(10);

impl Bench {
    /// The time from the beginning of the recording, on average. Who follows has opened the store for itself, and sleeps.
    pub(super) fn event(&self) -> Result<Duration> {
        let other = Ptest::open(self.options.clone())?;
        let mut follower = other.follow(EventFilter::default())?;
        let (tell, told) = mpsc::channel();
        thread::scope(|scope| {
            let following = scope.spawn(move || -> Result<(), String> {
                for _ in 0..TIMES {
                    let events = follower
                        .next(Some(PATIENCE))
                        .map_err(|error| error.to_string())?;
                    tell.send((Instant::now(), events.len()))
                        .map_err(|error| error.to_string())?;
                }
                Ok(())
            });
            let mut total = Duration::ZERO;
            for _ in 0..TIMES {
                // Until the other one sleeps.
                thread::sleep(Duration::from_millis(30));
                let begin = Instant::now();
                self.ptest.emit(None, "measured", Value::Null)?;
                let (heard, count) = told.recv_timeout(PATIENCE)?;
                if count != 1 {
                    return Err(format!("{count} events instead of one").into());
                }
                total += heard.saturating_duration_since(begin);
            }
            following.join().map_err(|_| "a thread panicked")??;
            Ok(total / TIMES)
        })
    }
}
