//! Whether the other end of a connection lives: pings when it is idle, and its round trip.

use crate::moment::{Moment, SECOND_MS};

/// Silence after which a ping is sent, and the time between two pings.
pub const PING_MS: u64 = 10 * SECOND_MS;
/// Unanswered time after the first ping, after which the peer is dead: with timely timers thirty
/// seconds after its last sign of life.
pub const DEAD_MS: u64 = 20 * SECOND_MS;

/// What a connection needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Care {
    None,
    Ping,
    Dead,
}

/// Signs of life of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Life {
    heard: Moment,
    /// The last ping, and when it was sent.
    ping: Option<(u64, Moment)>,
    /// When the first ping was sent after which nothing was heard. The time to death runs from here
    /// and not from the last sign of life: so a timer that comes late, because this process
    /// stood still, asks before it judges.
    asked: Option<Moment>,
    rtt_ms: Option<u64>,
}

impl Life {
    pub(super) fn begin(now: Moment) -> Self {
        Self { heard: now, ..Self::default() }
    }

    pub(super) fn on_heard(&mut self, now: Moment) {
        self.heard = self.heard.max(now);
        self.asked = None;
    }

    pub(super) fn on_pong(&mut self, now: Moment, nonce: u64) {
        self.on_heard(now);
        if let Some((sent_nonce, at)) = self.ping
            && sent_nonce == nonce
        {
            let sample = now.since(at);
            let smoothed = |rtt: u64| (rtt.saturating_mul(7).saturating_add(sample)) / 8;
            self.rtt_ms = Some(self.rtt_ms.map_or(sample, smoothed));
            self.ping = None;
        }
    }

    pub(super) fn on_timer(&mut self, now: Moment, next_nonce: u64) -> Care {
        if self.asked.is_some_and(|asked| now.since(asked) >= DEAD_MS) {
            return Care::Dead;
        }
        let last = self.ping.map_or(self.heard, |(_, at)| self.heard.max(at));
        if now.since(last) < PING_MS {
            return Care::None;
        }
        self.asked.get_or_insert(now);
        self.ping = Some((next_nonce, now));
        Care::Ping
    }

    pub(super) fn deadline(&self) -> Moment {
        let last = self.ping.map_or(self.heard, |(_, at)| self.heard.max(at));
        let ping = last.after(PING_MS);
        self.asked.map_or(ping, |asked| ping.min(asked.after(DEAD_MS)))
    }

    pub(super) fn rtt_ms(&self) -> Option<u64> {
        self.rtt_ms
    }
}
