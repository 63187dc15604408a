//! What a store and its environments are now, as numbers with names: for Prometheus, and whoever else collects such.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::alert::Standing;
use super::history;
use crate::environment::{State, Status};
use crate::error::Result;
use crate::labels::Selector;
use crate::ptest::Ptest;
use crate::settings::Limit;

/// Numbers of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name, after Prometheus' rules: the unit is in it, and `_total` ends what only grows.
    pub name: &'static str,
    /// What it is.
    pub help: &'static str,
    /// Whether it only grows.
    pub is_counter: bool,
    /// The numbers, each with its labels.
    pub samples: Vec<(Labels, f64)>,
}

/// What tells the numbers of one family apart.
pub type Labels = Vec<(&'static str, String)>;

impl Ptest {
    /// The metrics of the store and of every environment.
    ///
    /// Takes what is new of the samples of active environments into their history, and so judges alerts.
    pub fn metrics(&self) -> Result<Vec<Family>> {
        let statuses = self.statuses(&Selector::default())?;
        let mut families = self.metrics_of_the_store(&statuses)?;
        let mut of_each: Vec<Family> = PER_ENVIRONMENT
            .iter()
            .map(|(name, help, is_counter)| family(name, help, *is_counter))
            .collect();
        let mut raised = family(
            "ptest_environment_alert_raised",
            "Alerts that are raised: 1 for each.",
            false,
        );
        for Status { record, usage, .. } in &statuses {
            let folded = match record.state {
                State::Active => self.fold(record)?,
                _ => history::folded(self.store().database(), &record.id)?.map(|(_, it)| it),
            };
            let labels = vec![
                ("environment", record.label().to_owned()),
                ("id", record.id.to_string()),
            ];
            let totals = folded
                .as_ref()
                .map(|folded| folded.totals)
                .unwrap_or_default();
            let limit = |limit| {
                let achieved = record.achieved.iter();
                let mut limits = achieved.flat_map(|achieved| &achieved.limits);
                let kept = limits.find(|kept| kept.limit == limit);
                kept.map(|kept| kept.configured as f64)
            };
            let values = [
                Some(f64::from(record.state == State::Active)),
                Some(totals.cpu.as_secs_f64()),
                Some(usage.memory as f64),
                Some(totals.memory_peak.max(usage.memory_peak) as f64),
                limit(Limit::Memory),
                Some(usage.processes.into()),
                Some(totals.read as f64),
                Some(totals.written as f64),
                totals.traffic.map(|traffic| traffic.received as f64),
                totals.traffic.map(|traffic| traffic.sent as f64),
            ];
            for (family, value) in of_each.iter_mut().zip(values) {
                family
                    .samples
                    .extend(value.map(|value| (labels.clone(), value)));
            }
            let standing = folded.as_ref().map(|folded| &folded.standing);
            for alert in standing.into_iter().flat_map(Standing::raised) {
                let mut labels = labels.clone();
                labels.push(("alert", alert.to_owned()));
                raised.samples.push((labels, 1.0));
            }
        }
        families.extend(of_each);
        families.push(raised);
        Ok(families)
    }

    /// The metrics as text: version 0.0.4 of Prometheus' exposition format, for its textfile collector or an endpoint.
    pub fn metrics_text(&self) -> Result<String> {
        Ok(exposition(&self.metrics()?))
    }

    fn metrics_of_the_store(&self, statuses: &[Status]) -> Result<Vec<Family>> {
        let mut states = family("ptest_environments", "Environments by state.", false);
        let mut counts: BTreeMap<&str, u32> =
            State::ALL.iter().map(|state| (state.as_str(), 0)).collect();
        for status in statuses {
            *counts.entry(status.record.state.as_str()).or_default() += 1;
        }
        let counted = counts.into_iter();
        states.samples = counted
            .map(|(state, count)| (vec![("state", state.to_owned())], count.into()))
            .collect();
        let layers = self.store().layers()?;
        let bytes: u64 = layers.iter().map(|layer| layer.bytes).sum();
        let ports: usize = statuses.iter().map(|status| status.ports.len()).sum();
        let one = |name, help, value| {
            let mut family = family(name, help, false);
            family.samples = vec![(Vec::new(), value)];
            family
        };
        Ok(vec![
            states,
            one("ptest_layers", "Layers in the store.", layers.len() as f64),
            one(
                "ptest_layers_bytes",
                "What the files of all layers take, in bytes.",
                bytes as f64,
            ),
            one(
                "ptest_snapshots",
                "Snapshots that are kept.",
                self.snapshots()?.len() as f64,
            ),
            one(
                "ptest_environment_ports",
                "Ports that are leased to environments.",
                ports as f64,
            ),
        ])
    }
}

/// Name, help, and whether it only grows.
const PER_ENVIRONMENT: [(&str, &str, bool); 10] = [
    (
        "ptest_environment_active",
        "Whether the environment's init runs.",
        false,
    ),
    (
        "ptest_environment_cpu_seconds_total",
        "Processor time used in all activations.",
        true,
    ),
    ("ptest_environment_memory_bytes", "Memory in use.", false),
    (
        "ptest_environment_memory_peak_bytes",
        "The most memory that was in use.",
        false,
    ),
    (
        "ptest_environment_memory_limit_bytes",
        "How much memory may be in use.",
        false,
    ),
    (
        "ptest_environment_processes",
        "Processes of commands.",
        false,
    ),
    (
        "ptest_environment_read_bytes_total",
        "Bytes read from disks.",
        true,
    ),
    (
        "ptest_environment_written_bytes_total",
        "Bytes written to disks.",
        true,
    ),
    (
        "ptest_environment_network_received_bytes_total",
        "Bytes that arrived through a network of its own.",
        true,
    ),
    (
        "ptest_environment_network_sent_bytes_total",
        "Bytes sent through a network of its own.",
        true,
    ),
];

fn family(name: &'static str, help: &'static str, is_counter: bool) -> Family {
    Family {
        name,
        help,
        is_counter,
        samples: Vec::new(),
    }
}

fn exposition(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families.iter().filter(|family| !family.samples.is_empty()) {
        let kind = if family.is_counter {
            "counter"
        } else {
            "gauge"
        };
        // Writing to a text cannot fail.
        let _ = writeln!(text, "# HELP {} {}", family.name, family.help);
        let _ = writeln!(text, "# TYPE {} {kind}", family.name);
        for (labels, value) in &family.samples {
            text += family.name;
            if !labels.is_empty() {
                let pairs: Vec<String> = labels
                    .iter()
                    .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
                    .collect();
                let _ = write!(text, "{{{}}}", pairs.join(","));
            }
            let _ = writeln!(text, " {value}");
        }
    }
    text
}

/// The value of a label may be any text.
fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_have_their_help_and_type_once_and_labels_are_escaped() {
        let families = [
            Family {
                samples: vec![
                    (vec![("alert", "a\"b\\c\nd".to_owned())], 1.0),
                    (Vec::new(), 1_500_000_000_000.0),
                ],
                ..family("x_total", "What x is.", true)
            },
            family("empty", "Nothing.", false),
        ];
        let expected = "# HELP x_total What x is.\n# TYPE x_total counter\n\
                        x_total{alert=\"a\\\"b\\\\c\\nd\"} 1\nx_total 1500000000000\n";
        assert_eq!(exposition(&families), expected);
    }
}
