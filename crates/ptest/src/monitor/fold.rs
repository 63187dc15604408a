//! From samples to parts of history: what each second, minute and hour of them had.
//!
//! Pure. A sample says what was used since the one before, and what is in use until the next: as long as something runs and
//! does nothing there is none.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::alert::{Alert, Standing};
use super::history::{Part, Place, RESOLUTIONS, Resolution, Totals};
use crate::engine::{Sample, Samples, Seen, Traffic, Usage};
use crate::events::Event;
use crate::timestamp::Timestamp;

/// How long before a sample what it tells of was done, at most, when samples are taken without a pause.
const PAUSE: i64 = 4_000;
/// The same after a time in which nothing ran.
const STEP: i64 = 1_000;

/// Up to where samples are folded, and what they come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Folded {
    /// Which activation the last sample is of.
    pub(crate) series: u64,
    pub(crate) last: Sample,
    pub(crate) totals: Totals,
    /// How alerts stand.
    #[serde(default)]
    pub(crate) standing: Standing,
}

impl Folded {
    /// What an engine need not give again.
    pub(crate) fn seen(&self) -> Seen {
        Seen {
            series: self.series,
            sequence: self.last.sequence,
        }
    }
}

/// What comes of folding.
#[derive(Debug)]
pub(crate) struct Folding {
    pub(crate) folded: Folded,
    /// What is added to history.
    pub(crate) parts: BTreeMap<Place, Part>,
    /// What is to be told of alerts.
    pub(crate) told: Vec<Event>,
}

/// Folds samples, and judges them by alerts; `None` without samples.
pub(crate) fn fold(
    before: Option<&Folded>,
    samples: &Samples,
    alerts: &[Alert],
) -> Option<Folding> {
    let mut totals = before.map_or_else(Totals::default, |before| before.totals);
    let mut standing = before.map_or_else(Standing::default, |before| before.standing.clone());
    let mut last = before
        .filter(|before| before.series == samples.series)
        .map(|before| before.last);
    let (mut parts, mut told) = (BTreeMap::new(), Vec::new());
    for sample in &samples.samples {
        let used = Used::between(last.as_ref(), sample);
        totals.add(&used, sample);
        add(&mut parts, last.as_ref(), sample, &used);
        told.extend(standing.judge(alerts, last.as_ref(), sample, &used));
        last = Some(*sample);
    }
    samples.samples.last()?;
    let folded = Folded {
        series: samples.series,
        last: last?,
        totals,
        standing,
    };
    Some(Folding {
        folded,
        parts,
        told,
    })
}

/// What comes of time alone, where what runs does nothing: alerts that wait for something to last. `None` if that is nothing.
pub(crate) fn wait(before: &Folded, alerts: &[Alert], now: Timestamp) -> Option<Folding> {
    let last = &before.last;
    let passed = now.as_millisecond() - last.time.as_millisecond();
    if last.processes == 0 || !before.standing.is_pending() || passed <= PAUSE + STEP {
        return None;
    }
    let held = Sample { time: now, ..*last };
    let used = Used::between(Some(last), &held);
    let mut folded = before.clone();
    let told = folded.standing.judge(alerts, Some(last), &held, &used);
    (folded.standing != before.standing).then_some(Folding {
        folded,
        parts: BTreeMap::new(),
        told,
    })
}

/// Adds what is used now, and is in no sample yet.
pub(crate) fn add_usage(totals: &mut Totals, last: Option<&Sample>, usage: &Usage) {
    let sample = Sample {
        sequence: 0,
        time: Timestamp::now(),
        cpu: usage.cpu,
        memory: usage.memory,
        memory_peak: usage.memory_peak,
        processes: usage.processes,
        read: usage.read,
        written: usage.written,
        traffic: usage.traffic,
        disk: None,
    };
    totals.add(&Used::between(last, &sample), &sample);
}

/// The same for an activation that is over although its last sample does not say so: init was killed.
pub(crate) fn end(folded: &Folded) -> Option<Samples> {
    (folded.last.processes > 0).then(|| {
        let last = Sample {
            sequence: folded.last.sequence + 1,
            time: folded.last.time.after(Duration::from_secs(1)),
            processes: 0,
            memory: 0,
            ..folded.last
        };
        Samples {
            series: folded.series,
            samples: vec![last],
        }
    })
}

/// What was used from one sample to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    pub(super) cpu: Duration,
    /// In how many milliseconds.
    pub(super) over: i64,
    pub(super) read: u64,
    pub(super) written: u64,
    pub(super) traffic: Option<Traffic>,
}

impl Used {
    fn between(last: Option<&Sample>, sample: &Sample) -> Self {
        // Counters begin at nothing with each activation.
        let since = |now: u64, then: Option<u64>| now.saturating_sub(then.unwrap_or_default());
        let then = last.and_then(|last| last.traffic);
        Self {
            cpu: sample
                .cpu
                .saturating_sub(last.map_or(Duration::ZERO, |last| last.cpu)),
            over: span(last, sample),
            read: since(sample.read, last.map(|last| last.read)),
            written: since(sample.written, last.map(|last| last.written)),
            traffic: sample.traffic.map(|now| Traffic {
                received: since(now.received, then.map(|then| then.received)),
                sent: since(now.sent, then.map(|then| then.sent)),
            }),
        }
    }
}

fn add(parts: &mut BTreeMap<Place, Part>, last: Option<&Sample>, sample: &Sample, used: &Used) {
    let (now, begin) = (
        sample.time.as_millisecond(),
        sample.time.as_millisecond().saturating_sub(used.over),
    );
    let was_busy = last.is_some_and(|last| last.processes > 0);
    let peaked = last.is_none_or(|last| sample.memory_peak > last.memory_peak);
    let most = if peaked { sample.memory_peak } else { 0 };
    for resolution in RESOLUTIONS {
        spread(parts, resolution, begin, now, |share| Part {
            memory_most: sample.memory.max(most),
            disk: sample.disk,
            ..Part::of(sample, used, share)
        });
        // What was in use stayed so. Of each second of it nobody keeps a record.
        if let Some(last) = last.filter(|_| was_busy && resolution != Resolution::Second) {
            let oldest = now.saturating_sub(resolution.kept());
            let then = last.time.as_millisecond();
            spread(parts, resolution, then.max(oldest), begin, |share| {
                Part::held(last, share)
            });
        }
    }
}

/// In how many milliseconds before a sample that was used which it tells of.
fn span(last: Option<&Sample>, sample: &Sample) -> i64 {
    let Some(last) = last else { return STEP };
    let passed = sample.time.as_millisecond() - last.time.as_millisecond();
    match passed {
        // The clock was set back.
        ..=0 => STEP,
        _ if last.processes == 0 => passed.min(STEP),
        // Those between were overwritten before anybody folded them.
        _ if last.sequence + 1 < sample.sequence => passed,
        _ => passed.min(PAUSE),
    }
}

/// The part of a time that falls into one place: from and to which of all of its milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) of: i64,
}

impl Share {
    /// What of an amount that was used evenly. The shares of a time add up to it.
    pub(super) fn amount(self, all: u64) -> u64 {
        let until = |moment: i64| {
            u128::from(all) * u128::from(moment.unsigned_abs()) / u128::from(self.of.unsigned_abs())
        };
        (until(self.to) - until(self.from)) as u64
    }

    pub(super) fn milliseconds(self) -> i64 {
        self.to - self.from
    }
}

fn spread(
    parts: &mut BTreeMap<Place, Part>,
    resolution: Resolution,
    begin: i64,
    end: i64,
    part: impl Fn(Share) -> Part,
) {
    let width = resolution.milliseconds();
    let mut from = begin;
    while from < end {
        let start = from.div_euclid(width);
        let to = end.min((start + 1) * width);
        let share = Share {
            from: from - begin,
            to: to - begin,
            of: end - begin,
        };
        let place = Place { resolution, start };
        parts.entry(place).or_default().add(&part(share));
        from = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sample of so many milliseconds after a whole hour, of somebody who uses half a processor.
    fn sample(sequence: u64, time: i64, memory: u64, processes: u32) -> Sample {
        Sample {
            sequence,
            time: Timestamp::from_millisecond(3_600_000 + time),
            cpu: Duration::from_millis(time.unsigned_abs() / 2),
            memory,
            memory_peak: memory,
            processes,
            read: time.unsigned_abs(),
            written: 0,
            traffic: None,
            disk: None,
        }
    }

    fn samples(series: u64, samples: Vec<Sample>) -> Samples {
        Samples { series, samples }
    }

    fn seconds(parts: &BTreeMap<Place, Part>, resolution: Resolution) -> Vec<(i64, Duration, f64)> {
        let of = |(place, part): (&Place, &Part)| {
            (place.resolution == resolution).then(|| (place.start, part.cpu, part.mean_memory()))
        };
        parts.iter().filter_map(of).collect()
    }

    fn fold(before: Option<&Folded>, samples: &Samples) -> Option<(Folded, BTreeMap<Place, Part>)> {
        super::fold(before, samples, &[]).map(|folding| (folding.folded, folding.parts))
    }

    const HALF: Duration = Duration::from_millis(500);

    #[test]
    fn each_second_has_what_was_used_in_it_whenever_samples_were_taken() {
        let taken = samples(
            1,
            vec![
                sample(1, 1_300, 100, 1),
                sample(2, 2_300, 200, 1),
                sample(3, 3_300, 200, 1),
            ],
        );
        let (folded, parts) = fold(None, &taken).unwrap();
        let found = seconds(&parts, Resolution::Second);
        assert_eq!(found[2], (3602, HALF, 200.0));
        assert_eq!(found[1].0, 3601);
        // Three parts of ten at 100, seven at 200.
        assert!((found[1].2 - 170.0).abs() < 0.1, "{found:?}");
        assert_eq!(folded.totals.cpu, Duration::from_millis(1_650));
        for resolution in RESOLUTIONS {
            let all: Duration = seconds(&parts, resolution).iter().map(|one| one.1).sum();
            assert_eq!(all, folded.totals.cpu, "{resolution:?}");
        }
    }

    #[test]
    fn folding_in_two_goes_gives_what_one_gives() {
        let all: Vec<Sample> = (1..=50)
            .map(|number| sample(number, number as i64 * 1_003, number * 10, 1))
            .collect();
        let (once, expected) = fold(None, &samples(1, all.clone())).unwrap();
        let (first, mut parts) = fold(None, &samples(1, all[..20].to_vec())).unwrap();
        let (twice, rest) = fold(Some(&first), &samples(1, all[20..].to_vec())).unwrap();
        for (place, part) in rest {
            parts.entry(place).or_default().add(&part);
        }
        assert_eq!(once, twice);
        assert_eq!(parts, expected);
    }

    #[test]
    fn what_is_in_use_while_nothing_is_done_counts_for_the_time_that_it_is() {
        let taken = samples(
            1,
            vec![sample(1, 1_000, 100, 1), sample(2, 121_000, 300, 1)],
        );
        let (_, parts) = fold(None, &taken).unwrap();
        let found = seconds(&parts, Resolution::Minute);
        assert_eq!(found.len(), 3);
        assert!(
            (found[1].2 - (56.0 * 100.0 + 4.0 * 300.0) / 60.0).abs() < 100.0,
            "{found:?}"
        );
        // Nothing is in use while nothing runs.
        let taken = samples(
            1,
            vec![sample(1, 1_000, 100, 0), sample(2, 121_000, 300, 1)],
        );
        let (_, parts) = fold(None, &taken).unwrap();
        assert_eq!(seconds(&parts, Resolution::Minute).len(), 2);
    }

    #[test]
    fn counters_begin_anew_with_each_activation_and_totals_go_on() {
        let first = samples(1, vec![sample(1, 2_000, 100, 0)]);
        let (folded, _) = fold(None, &first).unwrap();
        let second = samples(2, vec![sample(1, 4_000, 50, 0)]);
        let (folded, _) = fold(Some(&folded), &second).unwrap();
        assert_eq!(folded.totals.cpu, Duration::from_secs(3));
        assert_eq!(folded.totals.read, 6_000);
        assert_eq!(folded.totals.memory_peak, 100);
    }

    #[test]
    fn a_clock_that_is_set_back_loses_nothing() {
        let taken = samples(
            1,
            vec![sample(1, 50_000, 100, 1), sample(2, 10_000, 100, 1)],
        );
        let taken = Samples {
            samples: vec![
                taken.samples[0],
                Sample {
                    cpu: Duration::from_secs(26),
                    ..taken.samples[1]
                },
            ],
            ..taken
        };
        let (folded, parts) = fold(None, &taken).unwrap();
        assert_eq!(folded.totals.cpu, Duration::from_secs(26));
        let all: Duration = seconds(&parts, Resolution::Second)
            .iter()
            .map(|one| one.1)
            .sum();
        assert_eq!(all, Duration::from_secs(26));
    }

    #[test]
    fn an_activation_that_was_cut_off_is_ended_once() {
        let (folded, _) = fold(None, &samples(1, vec![sample(1, 2_000, 100, 1)])).unwrap();
        let (ended, _) = fold(Some(&folded), &end(&folded).unwrap()).unwrap();
        assert_eq!((ended.last.processes, ended.last.memory), (0, 0));
        assert_eq!(ended.totals, folded.totals);
        assert_eq!(end(&ended), None);
    }

    #[test]
    fn an_alert_that_waits_is_raised_by_time_where_what_runs_does_nothing() {
        let alerts = ["memory>50 for 10s".parse().unwrap()];
        let taken = samples(1, vec![sample(1, 1_000, 100, 1)]);
        let folding = super::fold(None, &taken, &alerts).unwrap();
        assert_eq!(folding.told, []);
        let at = |seconds| folding.folded.last.time.after(Duration::from_secs(seconds));
        assert!(wait(&folding.folded, &alerts, at(3)).is_none());
        assert!(wait(&folding.folded, &alerts, at(9)).is_none());
        let waited = wait(&folding.folded, &alerts, at(11)).unwrap();
        assert_eq!(waited.told.len(), 1);
        assert!(wait(&waited.folded, &alerts, at(20)).is_none());
        // Nothing runs: there is nothing to wait for.
        let rests = samples(1, vec![sample(1, 1_000, 100, 0)]);
        let rests = super::fold(None, &rests, &alerts).unwrap().folded;
        assert!(wait(&rests, &alerts, at(11)).is_none());
    }
}
