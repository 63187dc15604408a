//! Whom the kernel ends when memory has run out: commands rather than init, which is to tell of it. See
//! proc_pid_oom_score_adj(5).

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;

const FILE: &str = "/proc/self/oom_score_adj";
/// How much more a command is to be preferred than init, which takes hardly any memory.
const DIFFERENCE: i32 = 500;
const LARGEST: i32 = 1000;

/// How much this process is to be preferred. Raising that, and going back, is everybody's right.
pub(super) struct Preference {
    /// Open, for a process that is closed to others is closed to itself too, unless it is root's. None where there is none.
    file: Option<File>,
    own: i32,
}

impl Preference {
    /// Of this process.
    pub(super) fn own() -> Self {
        let text = fs::read_to_string(FILE).unwrap_or_default();
        Self {
            file: OpenOptions::new().write(true).open(FILE).ok(),
            own: text.trim().parse().unwrap_or_default(),
        }
    }

    /// Makes processes that are to end rather than this one: they inherit what it is meanwhile.
    pub(super) fn for_others<T>(&self, make: impl FnOnce() -> T) -> T {
        self.set((self.own + DIFFERENCE).min(LARGEST));
        let made = make();
        self.set(self.own);
        made
    }

    fn set(&self, value: i32) {
        if let Some(file) = &self.file {
            // Without it the kernel may end init, and with it all commands.
            let _as_likely = file.write_all_at(value.to_string().as_bytes(), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_different_only_while_others_are_made() {
        let now = || -> i32 { fs::read_to_string(FILE).unwrap().trim().parse().unwrap() };
        let before = now();
        let preference = Preference::own();
        assert_eq!(
            preference.for_others(now),
            (before + DIFFERENCE).min(LARGEST)
        );
        assert_eq!(now(), before);
    }
}
