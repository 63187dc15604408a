//! Counts what test runners print. Knows libtest's form, which libtest-mimic shares, and pytest's.

use std::collections::BTreeSet;
use std::fmt;

/// Whose form the lines have.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Runner {
    Libtest,
    Pytest,
}

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
    /// Of a run of nothing, to add others to.
    pub(crate) fn of_nothing() -> Self {
        Self {
            succeeded: true,
            ..Self::default()
        }
    }

    /// Takes one line that a test runner printed; lines that say nothing of tests are ignored.
    pub(crate) fn add_line(&mut self, runner: Runner, line: &str) {
        match runner {
            Runner::Libtest => self.add_libtest(line),
            Runner::Pytest => self.add_pytest(line),
        }
    }

    fn add_libtest(&mut self, line: &str) {
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

    /// Its last line is `1 failed, 4 passed, 1 skipped in 1.23s`, that of a failed test `FAILED file::test - why`.
    fn add_pytest(&mut self, line: &str) {
        let name = line
            .strip_prefix("FAILED ")
            .or_else(|| line.strip_prefix("ERROR "));
        if let Some(name) = name {
            let name = name.split_once(" - ").map_or(name, |(name, _)| name);
            self.failing.push(name.to_owned());
        }
        let Some((counts, time)) = line.trim_matches(['=', ' ']).rsplit_once(" in ") else {
            return;
        };
        if !time.starts_with(|first: char| first.is_ascii_digit()) {
            return;
        }
        let counts: Option<Vec<(usize, &str)>> = counts
            .split(", ")
            .map(|part| {
                let (count, what) = part.split_once(' ')?;
                Some((count.parse().ok()?, what))
            })
            .collect();
        for (count, what) in counts.unwrap_or_default() {
            match what {
                "passed" | "xfailed" => self.passed += count,
                "failed" | "error" | "errors" | "xpassed" => self.failed += count,
                "skipped" => self.skipped += count,
                _ => {}
            }
        }
    }

    /// Adds what another run gave, whose failing tests are called so.
    pub(crate) fn add(&mut self, other: Self, prefix: &str) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        let failing = other.failing.iter().map(|name| format!("{prefix}{name}"));
        self.failing.extend(failing);
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
            summary.add_line(Runner::Libtest, line);
        }
        assert_eq!(summary.to_string(), "5 passed, 1 failed, 1 skipped");
        assert_eq!(summary.failing, ["a::c"]);
        assert!(!summary.ended_early());
    }

    #[test]
    fn a_test_that_skipped_itself_is_no_passed_test_however_often_it_says_so() {
        let mut summary = Summary::default();
        summary.add_line(
            Runner::Libtest,
            "test result: ok. 4 passed; 0 failed; 0 ignored",
        );
        summary.add_skips("a::b\tno moon\na::b\tno moon\na::c\tno sun\n");
        assert_eq!(summary.to_string(), "2 passed, 0 failed, 2 skipped");
    }

    #[test]
    fn pytests_last_line_is_counted_and_its_failing_tests_named() {
        let mut ran = Summary::default();
        for line in [
            "..F.s.E    [100%]",
            "E   1 passed in the argument",
            "FAILED python/tests/test_a.py::test_b[fork] - assert 1 == 2",
            "ERROR python/tests/test_a.py::test_c",
            "1 failed, 3 passed, 1 skipped, 2 warnings, 1 error in 71.23s (0:01:11)",
        ] {
            ran.add_line(Runner::Pytest, line);
        }
        assert_eq!(ran.to_string(), "3 passed, 2 failed, 1 skipped");
        let mut summary = Summary::default();
        summary.add(ran, "Python 3.9: ");
        assert_eq!(summary.to_string(), "3 passed, 2 failed, 1 skipped");
        assert_eq!(
            summary.failing,
            [
                "Python 3.9: python/tests/test_a.py::test_b[fork]",
                "Python 3.9: python/tests/test_a.py::test_c"
            ]
        );
    }
}
