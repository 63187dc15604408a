//! What commands were refused beyond the hosts that they are allowed, in words.

use ptest::{Environment, Refusal, RefusalReason, Refusals};

use crate::{error::CliError, ui::Ui};

/// Most hosts that are named; what is refused more often is seldom read.
const MOST_NAMED: usize = 10;

/// A look at what a command is refused, from before it starts.
pub(crate) struct Watch {
    seen: u64,
}

impl Watch {
    /// `None` for an environment that no hosts were allowed to: nothing of it is recorded.
    pub(crate) fn begin(environment: &Environment) -> Result<Option<Self>, CliError> {
        if environment.record()?.settings.allow.is_empty() {
            return Ok(None);
        }
        let seen = environment.refusals()?.total;
        Ok(Some(Self { seen }))
    }

    /// Says, once, what was refused since. What the command came to is what counts: that this cannot be told is no failure.
    pub(crate) fn tell(self, ui: &Ui, environment: &Environment) {
        if let Ok(refusals) = environment.refusals() {
            tell(ui, &refusals.after(self.seen));
        }
    }
}

fn tell(ui: &Ui, refusals: &Refusals) {
    let Some(text) = warning(refusals) else {
        return;
    };
    ui.warning(text);
    let mut rules: Vec<String> = Vec::new();
    for refusal in &refusals.latest {
        let rule = format!("--allow {}", refusal.missing_rule());
        if !rules.contains(&rule) && rules.len() < MOST_NAMED {
            rules.push(rule);
        }
    }
    ui.hint(format_args!(
        "`{}` would allow it, when the environment is made",
        rules.join(" ")
    ));
}

/// What was refused, each host once.
fn warning(refusals: &Refusals) -> Option<String> {
    let mut hosts: Vec<(String, usize)> = Vec::new();
    for refusal in &refusals.latest {
        let host = words(refusal);
        match hosts.iter_mut().find(|(known, _)| *known == host) {
            Some((_, count)) => *count += 1,
            None => hosts.push((host, 1)),
        }
    }
    if hosts.is_empty() {
        return None;
    }
    let more = hosts.len().saturating_sub(MOST_NAMED);
    let mut named: Vec<String> = hosts
        .into_iter()
        .take(MOST_NAMED)
        .map(|(host, count)| match count {
            1 => host,
            _ => format!("{host} ({count} times)"),
        })
        .collect();
    if more > 0 {
        named.push(format!("{more} others"));
    }
    Some(format!("the command was refused {}", named.join(", ")))
}

/// What was asked for, and where it leads if that is what is wrong with it.
pub(crate) fn words(refusal: &Refusal) -> String {
    match (refusal.reason, refusal.address) {
        (RefusalReason::LocalAddress, Some(address)) => {
            format!("{}, which is at {address}", refusal.target())
        }
        _ => refusal.target(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(host: &str, address: Option<&str>) -> Refusal {
        Refusal {
            number: 1,
            time: "2026-01-01T00:00:00.000Z".to_owned(),
            host: host.to_owned(),
            port: 443,
            reason: address.map_or(RefusalReason::NotAllowed, |_| RefusalReason::LocalAddress),
            address: address.map(|address| address.parse().unwrap()),
        }
    }

    #[test]
    fn each_host_is_named_once_and_not_too_many_are() {
        let mut latest = vec![
            refusal("a.example", None),
            refusal("a.example", None),
            refusal("db.example", Some("10.0.0.1")),
        ];
        let text = |latest: &[Refusal]| {
            warning(&Refusals {
                total: 0,
                latest: latest.to_vec(),
            })
        };
        assert_eq!(
            text(&latest).unwrap(),
            "the command was refused a.example:443 (2 times), db.example:443, which is at 10.0.0.1"
        );
        latest.extend((0..20).map(|n| refusal(&format!("h{n}.example"), None)));
        assert!(
            text(&latest)
                .unwrap()
                .ends_with(", h7.example:443, 12 others")
        );
        assert_eq!(text(&[]), None);
    }
}
