//! Limits and deadlines: when a rekey is due, and when a session dies.
//!
//! Time never decides what a message means. A deadline asks for a round, raises an event, asks for
//! a sign of life, or closes the session. The deadlines that end a round or a key run from the
//! moment their warning was raised, so one late timer cannot end a healthy session.

/// A moment on a clock that does not go back, in milliseconds since any origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// Returns the moment `ms` milliseconds later.
    #[must_use]
    pub fn after(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// The most records that any end may seal in one direction and epoch: the bound for AES-GCM of
/// RFC 9001, section 6.6, with room for the control frames that can still change the key.
pub const RECORDS_PER_EPOCH_MAX: u64 = (1 << 23) + CONTROL_RESERVE;
/// Records that are kept free for control frames when data has reached the hard limit.
pub const CONTROL_RESERVE: u64 = 64;
/// Of these, what only a round or a close may use: RESP or FIN, INIT, CLOSE.
pub(crate) const HANDSHAKE_RESERVE: u64 = 4;

/// What this end asks for and puts up with; not agreed with the peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Records of an epoch and direction after which this end asks for a round.
    pub records_soft: u64,
    /// Records after which no data is sealed until a round completes; at most 2^23.
    pub records_hard: u64,
    /// Sealed bytes after which this end asks for a round.
    pub bytes_soft: u64,
    /// Sealed bytes after which no data is sealed until a round completes.
    pub bytes_hard: u64,
    /// Age of an epoch, in ms, at which this end asks for a round if there was data.
    pub age_active_ms: u64,
    /// Age of an epoch, in ms, at which it asks for one in any case.
    pub age_idle_ms: u64,
    /// How long after a due round keys may still be used, in ms.
    pub age_grace_ms: u64,
    /// How long a round may take before it is reported as slow, in ms.
    pub round_slow_ms: u64,
    /// How long a slow round may go on, in ms.
    pub round_grace_ms: u64,
    /// How many rounds the peer may open at once after a pause.
    pub rounds_burst: u32,
    /// How many rounds a second the peer may open.
    pub rounds_per_second: u32,
    /// How long an answer is held back from a peer that asks too often, in ms.
    pub defer_max_ms: u64,
    /// Silence after which the peer is asked for a sign of life, in ms.
    pub ping_ms: u64,
    /// How many pings may stay unanswered.
    pub pings_max: u64,
    /// How long the peer may take to answer a close, in ms.
    pub linger_ms: u64,
    /// Bytes that wait to be sent.
    pub queue_bytes: usize,
    /// Messages that wait to be sent.
    pub queue_messages: usize,
    /// The longest message, in bytes. One that is alone in the queue may exceed `queue_bytes`.
    pub message_max: usize,
    /// The last epoch.
    pub epoch_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            records_soft: 1 << 20,
            records_hard: 1 << 23,
            bytes_soft: 64 << 30,
            bytes_hard: 256 << 30,
            age_active_ms: 120_000,
            age_idle_ms: 3_600_000,
            age_grace_ms: 600_000,
            round_slow_ms: 2_000,
            round_grace_ms: 28_000,
            rounds_burst: 8,
            rounds_per_second: 2,
            defer_max_ms: 10_000,
            ping_ms: 15_000,
            pings_max: 3,
            linger_ms: 5_000,
            queue_bytes: 4 << 20,
            queue_messages: 4096,
            message_max: 16 << 20,
            epoch_max: 1 << 48,
        }
    }
}

/// How many rounds the peer may open: a bucket that fills with time.
#[cfg_attr(test, derive(Clone, Debug, PartialEq, Eq, Hash))]
pub(crate) struct Bucket {
    /// In thousandths of a round.
    level: u64,
    at: Moment,
}

impl Bucket {
    pub(crate) fn full(limits: &Limits, now: Moment) -> Self {
        Self { level: u64::from(limits.rounds_burst) * 1000, at: now }
    }

    /// Takes one round out and returns when it may be answered.
    pub(crate) fn take(&mut self, limits: &Limits, now: Moment) -> Moment {
        let rate = u64::from(limits.rounds_per_second);
        let filled = now.0.saturating_sub(self.at.0).saturating_mul(rate);
        let brim = u64::from(limits.rounds_burst) * 1000;
        self.level = self.level.saturating_add(filled).min(brim);
        // What was promised for later moves the clock of the bucket ahead of now.
        let from = now.max(self.at);
        if self.level >= 1000 {
            self.level -= 1000;
            self.at = from;
        } else {
            let missing = 1000 - std::mem::take(&mut self.level);
            self.at = from.after(missing.checked_div(rate).map_or(u64::MAX, |ms| ms.max(1)));
        }
        self.at
    }
}
