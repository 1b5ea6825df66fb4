//! The sum of the test runner's own `test result:` lines.

use std::fmt;

/// How many tests had which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tally {
    /// Counts what `line` says, if it is the last line of a test binary.
    pub(crate) fn add(&mut self, line: &str) {
        let Some((_, counts)) =
            line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split("; ") {
            let Some((number, outcome)) = count.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match outcome {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// Whether no test at all was counted.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// How many tests were left out by their own attribute.
    pub(crate) fn ignored(&self) -> u64 {
        self.ignored
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, expected: &str, ignored: u64) {
        let mut tally = Tally::default();
        output.lines().for_each(|line| tally.add(line));
        assert_eq!(tally.to_string(), expected);
        assert_eq!(tally.ignored(), ignored);
    }

    #[test]
    fn the_results_of_all_binaries_are_added_up() {
        check(
            "running 3 tests\n\
             test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
             test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.00s\n",
            "7 passed, 2 failed",
            1,
        );
    }

    #[test]
    fn only_result_lines_count() {
        check(
            "test a ... ok\nsaid: test result: ok. 9 passed; 0 failed\n9 passed; 1 failed\n",
            "0 passed, 0 failed",
            0,
        );
        assert!(Tally::default().is_empty());
    }
}
