//! Counts what test runners print. Knows libtest's form, which libtest-mimic shares.

use std::collections::BTreeSet;
use std::fmt;

/// The sum over all test binaries of a run.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    /// The tests that failed, by name.
    pub(crate) failing: Vec<String>,
    /// Whether the whole run ended with success.
    pub(crate) succeeded: bool,
}

impl Summary {
    /// Takes one line that a test binary printed; lines that say nothing of tests are ignored.
    pub(crate) fn add_line(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            for part in counts.split(['.', ';']) {
                let mut words = part.split_whitespace();
                let (Some(count), Some(what), None) = (words.next(), words.next(), words.next())
                else {
                    continue;
                };
                let Ok(count) = count.parse::<usize>() else {
                    continue;
                };
                match what {
                    "passed" => self.passed += count,
                    "failed" => self.failed += count,
                    "ignored" => self.skipped += count,
                    _ => {}
                }
            }
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.failing.push(name.to_owned());
        }
    }

    /// Takes the file of tests that skipped themselves, one `<test>\t<reason>` a line: the runner counted them as passed.
    pub(crate) fn add_skips(&mut self, file: &str) {
        let tests: BTreeSet<&str> = file
            .lines()
            .filter_map(|line| line.split('\t').next())
            .collect();
        self.passed = self.passed.saturating_sub(tests.len());
        self.skipped += tests.len();
    }

    /// How many tests gave a result.
    pub(crate) fn ran(&self) -> usize {
        self.passed + self.failed
    }

    /// Whether the run failed for another reason than a failed test.
    pub(crate) fn ended_early(&self) -> bool {
        !self.succeeded && self.failed == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binaries_are_summed_and_failing_tests_named() {
        let mut summary = Summary::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test a::c ... FAILED",
            "test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.23s",
        ] {
            summary.add_line(line);
        }
        assert_eq!(summary.to_string(), "5 passed, 1 failed, 1 skipped");
        assert_eq!(summary.failing, ["a::c"]);
        assert!(!summary.ended_early());
    }

    #[test]
    fn a_test_that_skipped_itself_is_no_passed_test_however_often_it_says_so() {
        let mut summary = Summary::default();
        summary.add_line("test result: ok. 4 passed; 0 failed; 0 ignored");
        summary.add_skips("a::b\tno moon\na::b\tno moon\na::c\tno sun\n");
        assert_eq!(summary.to_string(), "2 passed, 0 failed, 2 skipped");
    }
}
