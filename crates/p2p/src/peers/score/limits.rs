//! How often one peer may say something, on one connection.

use crate::moment::{Moment, SECOND_MS};
use crate::peers::bucket::{Bucket, Rate};

/// Kinds of messages that are counted.
///
/// What comes more often than its rate is ignored. Trust is lost only beyond a second bucket, which
/// fills four times as fast and holds whatever an honest peer can have sent during
/// `DELAY_MAX_MS`: a connection that stood still and then delivers everything at once is no
/// attack. A peer that keeps to the rate cannot exceed it, however the network delays it:
/// in any window of `w` ms at most `burst + rate x (w + delay)` arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// A status.
    Status,
    /// A request for peers.
    GetPeers,
    /// A new commit.
    PushCommit,
    /// An input for the sequencer.
    SubmitInput,
}

/// Longer than this no connection stands still: it is closed then.
pub(crate) const DELAY_MAX_MS: u64 = 30 * SECOND_MS;
const MIB: u64 = 1 << 20;
const READ: Rate = Rate::per_second(8 * MIB, 16 * MIB);
const WRITTEN: Rate = Rate::per_second(16 * MIB, 16 * MIB);

impl Limit {
    /// All kinds, in the order of their declaration.
    pub const ALL: [Self; 4] = [Self::Status, Self::GetPeers, Self::PushCommit, Self::SubmitInput];

    /// How often it is answered.
    #[must_use]
    pub const fn rate(self) -> Rate {
        match self {
            Self::Status => Rate::per_second(1, 4),
            Self::GetPeers => Rate { count: 1, per_ms: 30 * SECOND_MS, burst: 1 },
            Self::PushCommit => Rate::per_second(20, 40),
            Self::SubmitInput => Rate::per_second(50, 200),
        }
    }

    /// How often it costs nothing.
    fn abuse_rate(self) -> Rate {
        let rate = self.rate();
        let delayed = (rate.count * DELAY_MAX_MS).div_ceil(rate.per_ms) + rate.burst;
        Rate { count: 4 * rate.count, per_ms: rate.per_ms, burst: delayed.max(4 * rate.burst) }
    }
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Admission {
    /// It is looked at.
    Pass,
    /// It is dropped.
    Ignore,
}

#[derive(Clone, Debug)]
pub(super) struct Limits {
    kinds: [(Bucket, Bucket); 4],
    read: Bucket,
    written: Bucket,
}

impl Limits {
    pub(super) fn full(now: Moment) -> Self {
        Self {
            kinds: Limit::ALL.map(|limit| {
                (Bucket::full(limit.rate(), now), Bucket::full(limit.abuse_rate(), now))
            }),
            read: Bucket::full(READ, now),
            written: Bucket::full(WRITTEN, now),
        }
    }

    /// Counts one message; the second value says that it is an abuse.
    pub(super) fn take(&mut self, now: Moment, limit: Limit) -> (Admission, bool) {
        let [status, get_peers, push_commit, submit_input] = &mut self.kinds;
        let (rate, abuse) = match limit {
            Limit::Status => status,
            Limit::GetPeers => get_peers,
            Limit::PushCommit => push_commit,
            Limit::SubmitInput => submit_input,
        };
        let passes = rate.take(limit.rate(), now, 1);
        let abused = !abuse.take(limit.abuse_rate(), now, 1);
        (if passes { Admission::Pass } else { Admission::Ignore }, abused)
    }

    pub(super) fn read(&mut self, now: Moment, bytes: u64) -> u64 {
        self.read.spend(READ, now, bytes)
    }

    pub(super) fn written(&mut self, now: Moment, bytes: u64) -> u64 {
        self.written.spend(WRITTEN, now, bytes)
    }
}
