//! Alerts: what an environment may use before somebody wants to know.
//!
//! Judged where samples are folded: nobody watches beside those who fold. Each is raised once when it is crossed, and
//! cleared once when that is over; both are events.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::fold::Used;
use crate::config::{Size, format_duration, parse_duration};
use crate::engine::Sample;
use crate::events::Event;
use crate::settings::Cpus;
use crate::timestamp::Timestamp;

/// What is wrong with the text of an alert.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InvalidAlert(String);

/// Something of which more than so much, for as long, is worth telling: `memory>400M`, `cpu>1.5 for 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alert {
    metric: Metric,
    /// In bytes, thousandths of a processor, or processes.
    above: u64,
    lasting: Duration,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Metric {
    Cpu,
    Memory,
    Processes,
    Disk,
}

impl Metric {
    const ALL: [Self; 4] = [Self::Cpu, Self::Memory, Self::Processes, Self::Disk];

    fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Processes => "processes",
            Self::Disk => "disk",
        }
    }
}

impl Alert {
    /// What is measured, by its word.
    pub fn metric(&self) -> &'static str {
        self.metric.as_str()
    }

    /// A value in the unit that people use: processors, bytes, processes.
    fn in_units(self, value: u64) -> f64 {
        match self.metric {
            Metric::Cpu => value as f64 / 1_000.0,
            _ => value as f64,
        }
    }

    /// The most that there was up to a sample, since the one before, if that is known.
    fn most(self, last: Option<&Sample>, sample: &Sample, used: &Used) -> Option<u64> {
        match self.metric {
            Metric::Cpu => {
                let milliseconds = used.over.max(1).unsigned_abs();
                let micros = u64::try_from(used.cpu.as_micros()).unwrap_or(u64::MAX);
                Some(micros / milliseconds)
            }
            Metric::Memory => {
                let peaked = last.is_none_or(|last| sample.memory_peak > last.memory_peak);
                Some(
                    sample
                        .memory
                        .max(if peaked { sample.memory_peak } else { 0 }),
                )
            }
            Metric::Processes => Some(sample.processes.into()),
            Metric::Disk => sample.disk,
        }
    }

    /// What there is at a sample, of which the most is known.
    fn now(self, sample: &Sample, most: u64) -> u64 {
        match self.metric {
            Metric::Memory => sample.memory,
            Metric::Cpu | Metric::Processes | Metric::Disk => most,
        }
    }
}

impl FromStr for Alert {
    type Err = InvalidAlert;

    fn from_str(text: &str) -> Result<Self, InvalidAlert> {
        let wrong = |why: String| InvalidAlert(why);
        let (metric, rest) = text.split_once('>').ok_or_else(|| {
            wrong(format!(
                "`{text}` has no `>`; an alert is such as `memory>400M`"
            ))
        })?;
        let metric = metric.trim();
        let metric = Metric::ALL
            .into_iter()
            .find(|known| known.as_str() == metric)
            .ok_or_else(|| {
                wrong(format!(
                    "there is no `{metric}`; there is cpu, memory, processes and disk"
                ))
            })?;
        let (value, lasting) = match rest.split_once(" for ") {
            Some((value, lasting)) => (value, parse_duration(lasting.trim())),
            None => (rest, Ok(Duration::ZERO)),
        };
        let lasting = lasting.map_err(|error| wrong(error.to_string()))?;
        let value = value.trim();
        let above = match metric {
            Metric::Cpu => value.parse::<Cpus>().ok().map(|cpus| cpus.0.into()),
            Metric::Memory | Metric::Disk => value.parse::<Size>().ok().map(Size::bytes),
            Metric::Processes => value.parse().ok(),
        };
        let above =
            above.ok_or_else(|| wrong(format!("`{value}` is no amount of {}", metric.as_str())))?;
        Ok(Self {
            metric,
            above,
            lasting,
        })
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>", self.metric.as_str())?;
        match self.metric {
            Metric::Cpu => write!(f, "{}", self.in_units(self.above))?,
            Metric::Processes => write!(f, "{}", self.above)?,
            Metric::Memory | Metric::Disk => {
                let (value, unit) = [
                    (1 << 40, "T"),
                    (1 << 30, "G"),
                    (1 << 20, "M"),
                    (1 << 10, "K"),
                ]
                .into_iter()
                .find(|(size, _)| self.above.is_multiple_of(*size))
                .map_or((self.above, ""), |(size, unit)| (self.above / size, unit));
                write!(f, "{value}{unit}")?;
            }
        }
        if !self.lasting.is_zero() {
            write!(f, " for {}", format_duration(self.lasting))?;
        }
        Ok(())
    }
}

impl Serialize for Alert {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Alert {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How alerts stand, by their texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Standing(BTreeMap<String, Stand>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stand {
    /// Since when there is more.
    since: Option<Timestamp>,
    raised: bool,
}

impl Standing {
    /// Judges a sample; gives what is to be told.
    pub(super) fn judge(
        &mut self,
        alerts: &[Alert],
        last: Option<&Sample>,
        sample: &Sample,
        used: &Used,
    ) -> Vec<Event> {
        let mut told = Vec::new();
        for alert in alerts {
            let Some(most) = alert.most(last, sample, used) else {
                continue;
            };
            let stand = self.0.entry(alert.to_string()).or_default();
            // What came and went between two samples is told of once, and does not keep up what was told of before.
            let value = if stand.raised {
                alert.now(sample, most)
            } else {
                most
            };
            if value > alert.above {
                let since = *stand.since.get_or_insert(sample.time);
                let lasted = sample.time.as_millisecond() - since.as_millisecond();
                let is_long = u128::from(lasted.max(0).unsigned_abs()) >= alert.lasting.as_millis();
                if is_long && !stand.raised {
                    stand.raised = true;
                    told.push(Event::AlertRaised {
                        alert: alert.to_string(),
                        metric: alert.metric().to_owned(),
                        threshold: alert.in_units(alert.above),
                        value: alert.in_units(value),
                        since,
                    });
                }
            } else {
                stand.since = None;
                if std::mem::take(&mut stand.raised) {
                    told.push(Event::AlertCleared {
                        alert: alert.to_string(),
                        metric: alert.metric().to_owned(),
                        threshold: alert.in_units(alert.above),
                        value: alert.in_units(value),
                    });
                }
            }
        }
        told
    }

    /// Whether time alone can change how they stand.
    pub(super) fn is_pending(&self) -> bool {
        self.0
            .values()
            .any(|stand| stand.since.is_some() && !stand.raised)
    }

    /// Those that are raised.
    pub(crate) fn raised(&self) -> impl Iterator<Item = &str> {
        let raised = self.0.iter().filter(|(_, stand)| stand.raised);
        raised.map(|(alert, _)| alert.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(text: &str) -> Alert {
        text.parse().unwrap()
    }

    fn used(cpu: u64) -> Used {
        Used {
            cpu: Duration::from_millis(cpu),
            over: 1_000,
            read: 0,
            written: 0,
            traffic: None,
        }
    }

    fn sample(second: i64, memory: u64) -> Sample {
        Sample {
            sequence: 1,
            time: Timestamp::from_millisecond(second * 1_000),
            cpu: Duration::ZERO,
            memory,
            memory_peak: 0,
            processes: 1,
            read: 0,
            written: 0,
            traffic: None,
            disk: None,
        }
    }

    #[test]
    fn an_alert_is_written_as_it_is_read() {
        for text in [
            "memory>400M",
            "memory>1500",
            "disk>2G for 1m",
            "cpu>1.5 for 30s",
            "processes>20",
        ] {
            assert_eq!(alert(text).to_string(), text);
        }
        assert_eq!(alert(" memory > 1024K "), alert("memory>1M"));
    }

    #[test]
    fn what_is_no_alert_is_refused_with_what_is_wrong() {
        for (text, said) in [
            ("memory", "no `>`"),
            ("speed>3", "there is no `speed`"),
            ("memory>much", "`much` is no amount of memory"),
            ("cpu>1 for ever", "ever"),
            ("processes>-1", "`-1`"),
        ] {
            let error = text.parse::<Alert>().unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn each_crossing_is_told_once() {
        let alerts = [alert("memory>100")];
        let mut standing = Standing::default();
        let told: Vec<Vec<&str>> = [50, 150, 160, 90, 80, 101]
            .into_iter()
            .enumerate()
            .map(|(second, memory)| {
                let sample = sample(second as i64, memory);
                let told = standing.judge(&alerts, Some(&sample), &sample, &used(0));
                told.iter().map(Event::kind).collect()
            })
            .collect();
        let (up, down) = (vec!["alert_raised"], vec!["alert_cleared"]);
        assert_eq!(told, [vec![], up.clone(), vec![], down, vec![], up]);
        assert_eq!(standing.raised().collect::<Vec<_>>(), ["memory>100"]);
    }

    #[test]
    fn what_does_not_last_is_not_told() {
        let alerts = [alert("cpu>0.5 for 3s")];
        let mut standing = Standing::default();
        let mut judge = |second, cpu| {
            let sample = sample(second, 0);
            standing
                .judge(&alerts, Some(&sample), &sample, &used(cpu))
                .len()
        };
        assert_eq!([judge(0, 900), judge(1, 900), judge(2, 100)], [0, 0, 0]);
        assert_eq!(
            [judge(3, 900), judge(5, 900), judge(6, 900), judge(7, 900)],
            [0, 0, 1, 0]
        );
    }
}
