//! What goes through the network of this process's namespace, as procfs shows it: proc_net(5).

use std::fs;

use crate::protocol::Traffic;

/// Through all interfaces together.
pub(super) fn through() -> Option<Traffic> {
    sum(&fs::read_to_string("/proc/self/net/dev").ok()?)
}

fn sum(text: &str) -> Option<Traffic> {
    let mut all = Traffic {
        received_bytes: 0,
        sent_bytes: 0,
    };
    // Two lines of headings.
    for line in text.lines().skip(2) {
        let fields: Vec<&str> = line.split_once(':')?.1.split_ascii_whitespace().collect();
        all.received_bytes += fields.first()?.parse::<u64>().ok()?;
        all.sent_bytes += fields.get(8)?.parse::<u64>().ok()?;
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_counts() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n    \
                    lo: 10 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n  eth0:5 1 0 0 0 0 0 0 7 1 0 0 0 0 0 0\n";
        let expected = Traffic {
            received_bytes: 15,
            sent_bytes: 27,
        };
        assert_eq!(sum(text), Some(expected));
    }
}
