//! Quality: moving averages of how well and how fast a peer serves, and the choice among peers.

use crate::NodeId;
use crate::peers::dice::Dice;

/// Below this a peer is the last resort.
pub const QUALITY_LOW: f64 = 0.2;
const SUCCESS: f64 = 0.2;
const TIMEOUT: f64 = 0.1;
const NOT_HERE: f64 = 0.15;
/// An answer within this is perfect.
const PROMPT_MS: f64 = 1_000.0;
/// In percent of the choices, a peer that was never measured is tried.
const EXPLORATION: u64 = 5;
/// A slow peer is unlikely, not impossible.
const BYTES_PER_SECOND_MIN: f64 = 1_024.0;

/// How well one peer serves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Quality {
    value: f64,
    /// `None` until an answer was verified.
    bytes_per_second: Option<f64>,
}

impl Default for Quality {
    fn default() -> Self {
        Self { value: 0.5, bytes_per_second: None }
    }
}

impl Quality {
    pub(super) fn value(self) -> f64 {
        self.value
    }

    pub(super) fn on_verified(&mut self, took_ms: u64, bytes: u64) {
        let took_ms = as_f64(took_ms.max(1));
        let reached = if took_ms <= PROMPT_MS { 1.0 } else { PROMPT_MS / took_ms };
        self.value += SUCCESS * (reached - self.value);
        let speed = as_f64(bytes) * 1_000.0 / took_ms;
        let before = self.bytes_per_second.unwrap_or(speed);
        self.bytes_per_second = Some(before + SUCCESS * (speed - before));
    }

    pub(super) fn on_timeout(&mut self) {
        self.value -= TIMEOUT * self.value;
    }

    pub(super) fn on_not_here(&mut self) {
        self.value -= NOT_HERE * self.value;
    }

    fn weight(self) -> f64 {
        self.value * self.bytes_per_second.unwrap_or(0.0).max(BYTES_PER_SECOND_MIN)
    }
}

/// A count as a double; counts beyond 2^32 are cut to it, which is more than any peer serves.
fn as_f64(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

pub(super) fn choose(ready: &[(NodeId, Quality)], dice: &mut Dice) -> Option<NodeId> {
    let of = |keep: fn(&Quality) -> bool| -> Vec<(NodeId, f64)> {
        let kept = ready.iter().filter(|(_, quality)| keep(quality));
        kept.map(|(peer, quality)| (*peer, quality.weight())).collect()
    };
    let good = of(|quality| quality.value >= QUALITY_LOW && quality.bytes_per_second.is_some());
    let unmeasured =
        of(|quality| quality.value >= QUALITY_LOW && quality.bytes_per_second.is_none());
    let low = of(|quality| quality.value < QUALITY_LOW);
    let explores = dice.percent(EXPLORATION) && !unmeasured.is_empty();
    let group = match (explores, good.is_empty(), unmeasured.is_empty()) {
        (true, ..) | (false, true, false) => unmeasured,
        (false, false, _) => good,
        (false, true, true) => low,
    };
    let mut left = dice.unit() * group.iter().map(|(_, weight)| weight).sum::<f64>();
    for (peer, weight) in &group {
        left -= weight;
        if left < 0.0 {
            return Some(*peer);
        }
    }
    // The sum of the parts may be rounded to less than the whole.
    group.last().map(|(peer, _)| *peer)
}
