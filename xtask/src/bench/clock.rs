//! Takes times: contenders in turn, and what their samples say. Knows nothing of what is measured.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::process::{self, Result};

/// One way to do a work.
pub(crate) struct Contender<'a> {
    pub(crate) name: String,
    /// Fewer rounds than the work has, for one that takes a minute.
    pub(crate) at_most: Option<usize>,
    round: Box<dyn FnMut(usize) -> Result<Duration> + 'a>,
}

impl<'a> Contender<'a> {
    /// `round` does the work once, on nothing that an earlier round made, and gives the time of the work alone.
    pub(crate) fn new(
        name: impl Into<String>,
        round: impl FnMut(usize) -> Result<Duration> + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            at_most: None,
            round: Box::new(round),
        }
    }

    /// Takes part in the first rounds only.
    pub(crate) fn at_most(self, rounds: usize) -> Self {
        Self {
            at_most: Some(rounds),
            ..self
        }
    }
}

/// A contender's samples, sorted.
pub(crate) struct Measured {
    pub(crate) name: String,
    samples: Vec<Duration>,
}

impl Measured {
    /// The time that a share of the samples stays within: the nearest rank.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let rank = (share * self.samples.len() as f64).ceil() as usize;
        let index = rank
            .saturating_sub(1)
            .min(self.samples.len().saturating_sub(1));
        self.samples.get(index).copied().unwrap_or_default()
    }

    /// The middle of the samples.
    pub(crate) fn median(&self) -> Duration {
        self.quantile(0.5)
    }

    /// How many samples there are.
    pub(crate) fn rounds(&self) -> usize {
        self.samples.len()
    }
}

/// Lets the contenders take turns for `rounds` rounds after one that does not count.
///
/// # Errors
///
/// The first error of any of them, with its name.
pub(crate) fn measure(rounds: usize, contenders: Vec<Contender<'_>>) -> Result<Vec<Measured>> {
    let mut all: Vec<(Contender<'_>, Vec<Duration>)> = contenders
        .into_iter()
        .map(|contender| (contender, Vec::new()))
        .collect();
    for round in 0..=rounds {
        for (contender, samples) in &mut all {
            let most = contender.at_most.unwrap_or(rounds);
            // What runs only a few times is slow for other reasons than a cold file cache: its first round counts.
            let is_warm_up = round == 0 && most == rounds;
            if samples.len() >= most {
                continue;
            }
            let time =
                (contender.round)(round).map_err(|error| format!("{}: {error}", contender.name))?;
            if !is_warm_up {
                samples.push(time);
            }
        }
    }
    Ok(all
        .into_iter()
        .map(|(contender, mut samples)| {
            samples.sort();
            Measured {
                name: contender.name,
                samples,
            }
        })
        .collect())
}

/// The time from the start of the first command to the end of the last.
///
/// # Errors
///
/// When one of them does not succeed; the message ends with what it said.
pub(crate) fn time(commands: &mut [Command]) -> Result<Duration> {
    for command in &mut *commands {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
    }
    let start = Instant::now();
    for command in &mut *commands {
        let status = command.status();
        if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
            // Said nothing while it was measured: once more for its words.
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            process::output(command)?;
            return Err(
                format!("{}: {status:?} once, then success", process::line(command)).into(),
            );
        }
    }
    Ok(start.elapsed())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn contenders_take_turns_and_the_first_round_does_not_count() {
        let turns = RefCell::new(Vec::new());
        let turn = |name: &'static str| {
            let turns = &turns;
            Contender::new(name, move |round| {
                turns.borrow_mut().push((name, round));
                Ok(Duration::from_millis(round as u64))
            })
        };
        let measured = measure(2, vec![turn("a"), turn("b").at_most(1)]).unwrap();
        assert_eq!(*turns.borrow(), [("a", 0), ("b", 0), ("a", 1), ("a", 2)]);
        assert_eq!(measured[0].samples, [1, 2].map(Duration::from_millis));
        assert_eq!(measured[1].rounds(), 1);
    }

    #[test]
    fn quantiles_are_samples_of_the_nearest_rank() {
        let measured = Measured {
            name: String::new(),
            samples: (1..=10).map(Duration::from_millis).collect(),
        };
        assert_eq!(
            [0.1, 0.5, 0.9].map(|share| measured.quantile(share).as_millis()),
            [1, 5, 9]
        );
        let one = Measured {
            name: String::new(),
            samples: vec![Duration::from_millis(7)],
        };
        assert_eq!(
            [0.1, 0.5, 0.9].map(|share| one.quantile(share).as_millis()),
            [7, 7, 7]
        );
    }

    #[test]
    fn work_that_was_not_done_has_no_time() {
        let mut commands = [Command::new("sh")];
        commands[0].args(["-c", "echo broken >&2; exit 1"]);
        assert!(
            time(&mut commands)
                .unwrap_err()
                .to_string()
                .ends_with("broken")
        );
    }
}
