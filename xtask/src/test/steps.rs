//! The steps of a run: which failed, and how long each took, so that who waits sees what for.

use std::fmt;
use std::time::{Duration, Instant};

use crate::process::Result;

/// What was done so far.
#[derive(Debug, Default)]
pub(super) struct Steps {
    taken: Vec<(String, Duration)>,
    /// The names of those that failed.
    pub(super) failed: Vec<String>,
}

impl Steps {
    /// Does one; an error of it is told at once, and the next can go on.
    pub(super) fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Option<T> {
        self.timed(name, work)
            .map_err(|error| self.fail(name, error))
            .ok()
    }

    /// Does one without which there is nothing to go on with.
    ///
    /// # Errors
    ///
    /// As the step itself.
    pub(super) fn timed<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let began = Instant::now();
        let result = work();
        self.took(name, began.elapsed());
        result
    }

    /// Takes down how long a step took that was done beside others.
    pub(super) fn took(&mut self, name: &str, time: Duration) {
        self.taken.push((name.to_owned(), time));
    }

    /// Tells of a failure and counts it.
    pub(super) fn fail(&mut self, name: &str, why: impl fmt::Display) {
        eprintln!("FAILED {name}: {why}");
        self.failed.push(name.to_owned());
    }
}

/// A line for each, in order.
impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, time) in &self.taken {
            writeln!(f, "{:>5.0} s  {name}", time.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_a_line_with_its_time_and_one_that_fails_is_named() {
        let mut steps = Steps::default();
        assert_eq!(steps.step("quick", || Ok(1)), Some(1));
        steps.took("beside", Duration::from_millis(61_400));
        assert_eq!(
            steps.step("broken", || Result::<()>::Err("no".into())),
            None
        );
        assert_eq!(
            steps.to_string(),
            "    0 s  quick\n   61 s  beside\n    0 s  broken\n"
        );
        assert_eq!(steps.failed, ["broken"]);
    }
}
