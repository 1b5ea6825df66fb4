//! How old a copy is: from when its messages came, and from how late they were.
//!
//! A message that comes now may have waited on the way. Servers say as of when each message is; the
//! smallest difference to this end's clock that a stream has shown is taken for the difference of the
//! clocks, and what a message shows above it is its delay. The clocks need not agree. A clock that
//! jumps makes a copy look older than it is, until the stream is opened again; never younger.

use std::time::Duration;

use tokio::time::Instant;

/// What is known of one stream and of the copy that it feeds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Freshness {
    /// Any moment: local times are counted from here.
    origin: Instant,
    /// When the stream was asked for.
    opened: Instant,
    /// Smallest local time minus server time of this stream, in ms.
    skew_ms: Option<i64>,
    /// The moment up to which all changes are in the copy.
    complete_at: Option<Instant>,
}

impl Freshness {
    pub(crate) fn new(now: Instant) -> Self {
        Self { origin: now, opened: now, skew_ms: None, complete_at: None }
    }

    /// The stream is asked for: what it says first was not said before this moment.
    pub(crate) fn on_open(&mut self, now: Instant) {
        self.opened = now;
        self.skew_ms = None;
    }

    /// The copy is void.
    pub(crate) fn forget(&mut self) {
        self.complete_at = None;
    }

    /// A message was taken. `whole` says that it tells everything up to when it was sent;
    /// `advanced`, that its commit is later than the copy's was, so that its time is that of
    /// something that just happened.
    pub(crate) fn on_message(&mut self, now: Instant, as_of_ms: i64, whole: bool, advanced: bool) {
        let complete_at = match self.skew_ms {
            // It was not sent before it was asked for.
            None if whole => {
                self.skew_ms = Some(self.offset_ms(self.opened, as_of_ms));
                Some(self.opened)
            }
            // A change of long ago, with others behind it.
            None => None,
            Some(skew_ms) => {
                let offset_ms = self.offset_ms(now, as_of_ms);
                let skew_ms = skew_ms.min(offset_ms);
                self.skew_ms = Some(skew_ms);
                // When nothing has happened since the message before, its time says nothing.
                let late_ms = if advanced { offset_ms.saturating_sub(skew_ms) } else { 0 };
                now.checked_sub(Duration::from_millis(u64::try_from(late_ms).unwrap_or(0)))
            }
        };
        self.complete_at = self.complete_at.max(complete_at);
    }

    /// Returns how far this end's time is ahead of the server's when `as_of_ms` is `at`.
    fn offset_ms(&self, at: Instant, as_of_ms: i64) -> i64 {
        let local_ms = at.saturating_duration_since(self.origin).as_millis();
        i64::try_from(local_ms).unwrap_or(i64::MAX).saturating_sub(as_of_ms)
    }

    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    pub(crate) fn complete_at(&self) -> Option<Instant> {
        self.complete_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays rows of `local s, event`; an event is `open`, or `kind as_of_s age_s` with the
    /// age in seconds that must be known afterwards (`-` for none).
    fn check(table: &str) {
        let origin = Instant::now();
        let mut freshness = Freshness::new(origin);
        for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let words: Vec<&str> = row.split_whitespace().collect();
            let seconds = |word: &str| word.parse::<u64>().expect("seconds");
            let now = origin + Duration::from_secs(seconds(words[0]));
            match words[1..] {
                ["open"] => freshness.on_open(now),
                [kind, as_of, age] => {
                    let as_of_ms = i64::try_from(seconds(as_of)).expect("small") * 1_000;
                    let whole = kind == "reset" || kind.starts_with("quiet");
                    let advanced = kind != "quiet";
                    freshness.on_message(now, as_of_ms, whole, advanced);
                    let known = freshness.complete_at().map(|at| (now - at).as_secs().to_string());
                    assert_eq!(known.as_deref().unwrap_or("-"), age, "{row}");
                }
                _ => panic!("{row}"),
            }
        }
    }

    #[test]
    fn a_copy_is_as_old_as_its_last_message_and_what_that_was_late() {
        // The server's clock is 1,000 s ahead; nobody needs to know. The first message was asked
        // for 2 s before it came. Two come late together, by 4 s and by 1 s.
        check(
            "
            10 open
            12 reset    1010 2
            13 quiet    1010 0
            14 change   1014 0
            20 change   1016 4
            20 quiet+   1019 1
            21 change   1021 0
        ",
        );
    }

    #[test]
    fn what_is_caught_up_after_a_break_is_not_fresh_before_the_end_is_told() {
        check(
            "
            0 open
            0 reset     100 0
            1 quiet     100 0
            30 open
            31 change   102 30
            31 change   110 30
            31 change   131 30
            32 quiet    131 2
            33 quiet    131 0
        ",
        );
    }

    #[test]
    fn a_clock_that_goes_back_makes_a_stream_look_late_until_it_is_opened_again() {
        // The server's stamps stand still until its clock has caught up.
        check(
            "
            0 open
            0 reset     100 0
            1 change    101 0
            20 change   101 19
            20 open
            20 quiet    101 0
        ",
        );
    }

    #[test]
    fn a_node_at_rest_is_not_taken_for_a_late_one() {
        check(
            "
            0 open
            0 reset     100 0
            60 quiet    100 0
            61 change   161 0
        ",
        );
    }
}
