//! When a sandbox ends by itself: at its time, or when it was not used for long enough.
//!
//! By a clock that stands still while the machine sleeps, as every clock of init's does.

use std::time::{Duration, Instant};

use crate::protocol::Term as Agreed;

/// How long commands have between SIGTERM and SIGKILL when the time is over.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// When it ends.
pub(super) struct Term {
    ends: Option<Instant>,
    idle: Option<Duration>,
    /// When it was last known to be used.
    used: Instant,
}

impl Term {
    pub(super) fn new(agreed: Agreed, now: Instant) -> Self {
        Self {
            // What is beyond the clock never comes.
            ends: agreed.left.and_then(|left| now.checked_add(left)),
            idle: agreed.idle,
            used: now,
        }
    }

    /// When [`Term::is_over`] may say so.
    pub(super) fn next_action(&self) -> Option<Instant> {
        let idle = self.idle.and_then(|idle| self.used.checked_add(idle));
        self.ends.into_iter().chain(idle).min()
    }

    /// That it is used now.
    pub(super) fn touch(&mut self, now: Instant) {
        self.used = now;
    }

    /// Whether it ends now.
    pub(super) fn is_over(&mut self, now: Instant, is_used: bool) -> bool {
        if self.next_action().is_none_or(|next| now < next) {
            return false;
        }
        if self.ends.is_some_and(|ends| ends <= now) {
            return true;
        }
        if is_used {
            self.used = now;
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn term(left: Option<Duration>, idle: Option<Duration>) -> (Term, Instant) {
        let now = Instant::now();
        (Term::new(Agreed { left, idle }, now), now)
    }

    #[test]
    fn its_time_ends_it_though_it_is_used() {
        let (mut term, now) = term(Some(HOUR), None);
        assert!(!term.is_over(now, true));
        assert!(term.is_over(now + HOUR, true));
    }

    #[test]
    fn without_use_it_ends_after_the_last_one() {
        let (mut term, now) = term(None, Some(HOUR));
        assert!(!term.is_over(now + HOUR / 2, false));
        term.touch(now + HOUR / 2);
        assert!(!term.is_over(now + HOUR, false));
        // Something runs: that is a use.
        assert!(!term.is_over(now + HOUR * 2, true));
        assert_eq!(term.next_action(), Some(now + HOUR * 3));
        assert!(term.is_over(now + HOUR * 3, false));
    }

    #[test]
    fn without_an_end_there_is_nothing_to_wait_for() {
        let (mut term, now) = term(None, None);
        assert_eq!(term.next_action(), None);
        assert!(!term.is_over(now + HOUR, false));
    }

    #[test]
    fn a_time_beyond_the_clock_never_comes() {
        let (endless, _) = term(Some(Duration::MAX), Some(Duration::MAX));
        assert_eq!(endless.next_action(), None);
    }
}
