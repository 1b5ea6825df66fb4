//! U5 to U8 in every mode: messages while keys change, with and without lags (T10); limits (T13).

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use proctor_ratchet::{Freshness, Limits, Mode, Reason};
use proctor_transport::{Ended, Options, SecureStream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

use crate::lab::{Dice, distant, pair, pattern, small, unhurried};

const RTT: Duration = Duration::from_millis(10);
const MODES: [Mode; 3] = [Mode::Throughput, Mode::RecordFs, Mode::FreshEpoch];
const MESSAGE_BYTES: usize = 12;

fn message(side: usize, number: usize) -> [u8; MESSAGE_BYTES] {
    let mut bytes = [b' '; MESSAGE_BYTES];
    let text = format!("{side}:{number}");
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

/// What one side does in a run.
struct Part {
    side: usize,
    /// Whether a message is sent only when the one before was answered (U5, U6), or all at once (U7, U8).
    turns: bool,
    /// Pauses before each message are shorter than this.
    lag_ms: u64,
    count: usize,
    /// A round is asked for before every so many messages.
    rounds: u64,
}

/// When each side wrote each message.
type Written = Rc<RefCell<[Vec<Instant>; 2]>>;

impl Part {
    /// Plays the part and returns the longest time that it waited for a message that was written.
    async fn play(
        self,
        mut stream: SecureStream,
        written: Written,
        mut dice: Dice,
    ) -> (SecureStream, Duration) {
        let mut worst = Duration::ZERO;
        for number in 0..self.count {
            if self.lag_ms > 0 {
                sleep(Duration::from_millis(dice.roll(self.lag_ms + 1))).await;
            }
            if dice.roll(self.rounds) == 0 {
                // Dropped at once: a round needs nobody who waits for it.
                drop(stream.control().request_rekey(Freshness::Fresh));
            }
            written.borrow_mut()[self.side].push(Instant::now());
            stream.write_all(&message(self.side, number)).await.unwrap();
            if self.turns {
                worst = worst.max(self.receive(&mut stream, &written, number).await);
            }
        }
        if !self.turns {
            for number in 0..self.count {
                worst = worst.max(self.receive(&mut stream, &written, number).await);
            }
        }
        (stream, worst)
    }

    async fn receive(
        &self,
        stream: &mut SecureStream,
        written: &Written,
        number: usize,
    ) -> Duration {
        let (asked, mut bytes) = (Instant::now(), [0; MESSAGE_BYTES]);
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(bytes, message(1 - self.side, number));
        // What it waited for this side to read, because this side paused, is not for the keys.
        written.borrow()[1 - self.side][number].max(asked).elapsed()
    }
}

/// One run. Returns the longest time that a side waited for a message that was written.
async fn contend(mode: Mode, turns: bool, lag_ms: u64, count: usize, dice: &mut Dice) -> Duration {
    let (one, other) = distant(RTT / 2, small(mode), &unhurried()).await;
    let written = Written::default();
    let slow = dice.roll(2) as usize;
    let rounds = if mode == Mode::FreshEpoch { u64::MAX } else { 4 };
    let part =
        |side| Part { side, turns, count, rounds, lag_ms: if side == slow { lag_ms } else { 0 } };
    let [first, second] = [(); 2].map(|()| Dice(dice.roll(1 << 30)));
    let ((one, near), (other, far)) = tokio::join!(
        part(0).play(one, Rc::clone(&written), first),
        part(1).play(other, Rc::clone(&written), second),
    );
    let worst = near.max(far);
    sleep(4 * RTT).await;
    for stream in [&one, &other] {
        let status = stream.status();
        assert!(status.ended.is_none() && status.slow == 0 && !status.rekeying, "{status:?}");
    }
    assert_eq!(one.status().epoch, other.status().epoch);
    worst
}

/// How many runs each mode gets, in whole multiples of the eight patterns.
fn runs_of_a_pattern() -> usize {
    let Ok(text) = std::env::var("PROCTOR_CONTENTION_RUNS") else { return 2 };
    let runs: usize = text.parse().expect("PROCTOR_CONTENTION_RUNS is a number");
    runs.div_ceil(8)
}

#[tokio::test(start_paused = true)]
async fn t10_u5_to_u8_all_messages_arrive_in_order_and_none_is_slow_in_every_mode() {
    let (runs, mut dice) = (runs_of_a_pattern(), Dice(5));
    // As many messages as in the reference's tests when it runs for long.
    let count = if runs > 2 { 100 } else { 20 };
    for mode in MODES {
        let mut worst = Duration::ZERO;
        for turns in [true, false] {
            for lag_ms in [0, 1, 10, 100] {
                for run in 0..runs {
                    let slowest = contend(mode, turns, lag_ms, count, &mut dice).await;
                    assert!(
                        slowest <= 4 * RTT,
                        "{mode:?}, in turns: {turns}, lag {lag_ms} ms, run {run}: {slowest:?}"
                    );
                    worst = worst.max(slowest);
                }
            }
        }
        println!("{mode:?}: {} runs, the slowest message took {worst:?}", 8 * runs);
    }
}

#[tokio::test(start_paused = true)]
async fn t13_a_key_at_its_hard_limit_is_renewed_before_more_is_sent() {
    let limits = Limits { records_soft: 8, records_hard: 8, ..unhurried().limits };
    let options = Options { limits, ..unhurried() };
    let (mut one, mut other) = pair(small(Mode::RecordFs), &options).await;
    let sent = pattern(0, 100 << 10);
    let (written, read) = tokio::join!(
        async {
            one.write_all(&sent).await.unwrap();
            one.flush().await
        },
        async {
            let mut bytes = vec![0; sent.len()];
            other.read_exact(&mut bytes).await.unwrap();
            bytes
        },
    );
    assert!(written.is_ok() && read == sent);
    // 1,023 bytes of data in a record, eight of them in an epoch.
    assert!(one.status().epoch >= 12, "{:?}", one.status());
    assert_eq!(one.status().slow, 0);
}

#[tokio::test(start_paused = true)]
async fn t13_with_the_last_epoch_used_up_nothing_more_is_sent_and_both_ends_are_told() {
    let limits = Limits { records_soft: 8, records_hard: 8, epoch_max: 3, ..unhurried().limits };
    let options = Options { limits, ..unhurried() };
    let (mut one, mut other) = pair(small(Mode::RecordFs), &options).await;
    let sent = pattern(0, 200 << 10);
    let (written, read) = tokio::join!(
        async {
            one.write_all(&sent).await.ok();
            one.flush().await
        },
        async {
            let mut bytes = Vec::new();
            let ended = other.read_to_end(&mut bytes).await;
            (bytes, ended.map(drop))
        },
    );
    let exhausted = Reason::EpochExhausted;
    assert!(written.is_err());
    let (bytes, ended) = read;
    assert!(ended.is_err(), "a cut never looks like an end");
    assert!(!bytes.is_empty() && sent.starts_with(&bytes), "{} bytes", bytes.len());
    let ends = [one.control().ended().await, other.control().ended().await];
    // Whichever end needs the round first names the reason; the other one is told it.
    for end in ends {
        let named =
            end == Ended::Session(exhausted) || end == Ended::ClosedByPeer(exhausted.code());
        assert!(named, "{end:?}");
    }
    assert!(ends.contains(&Ended::Session(exhausted)));
}
