//! What is told of a run, in events.

use super::{Outcome, RunId};
use crate::engine::RunUsage;
use crate::events::Event;

/// That it ended, after what there is to say of how.
pub(super) fn ended(id: RunId, number: u32, outcome: &Outcome) -> Vec<Event> {
    let exit = outcome.exit();
    let usage = exit.map_or_else(RunUsage::default, |exit| exit.usage);
    let run = || id.to_string();
    let struck = exit
        .and_then(|exit| exit.struck)
        .map(|struck| Event::LimitStruck {
            run: run(),
            limit: struck.limit.as_str().to_owned(),
            configured: struck.configured,
            reached: struck.reached,
            ended: struck.ended,
        });
    let leaked = exit
        .filter(|exit| exit.leaked > 0)
        .map(|exit| Event::ProcessesLeaked {
            run: run(),
            count: exit.leaked,
        });
    let ended = Event::RunEnded {
        run: run(),
        number,
        exit_code: exit.map(|exit| exit.status.shell_code()),
        timed_out: exit.is_some_and(|exit| exit.timed_out),
        message: match outcome {
            Outcome::Ended(_) => None,
            Outcome::NotStarted { why } | Outcome::Lost { why } => Some(why.clone()),
        },
        elapsed_seconds: usage.elapsed.as_secs_f64(),
        cpu_seconds: (usage.user + usage.system).as_secs_f64(),
        memory_peak_bytes: usage.memory_peak,
    };
    struck.into_iter().chain(leaked).chain([ended]).collect()
}
