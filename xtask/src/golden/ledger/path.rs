//! The simulated price of a pair over time, in candles.

use serde::Deserialize;

/// A price path: knots at a fixed step, straight lines between them, and times without candles.
#[derive(Deserialize)]
pub(super) struct Path {
    t0: i64,
    step_ms: i64,
    prices: Vec<f64>,
    #[serde(default)]
    gaps: Vec<(i64, i64)>,
}

impl Path {
    /// Returns the close of the candle that starts at `key`, in ms since 1970 UTC; none in a gap.
    ///
    /// The reference fetches candles in batches and keeps them; what it has at a key is what its
    /// vendor had, so the batches need not be replayed.
    pub(super) fn close(&self, key: i64) -> Option<f64> {
        if self.gaps.iter().any(|(from, to)| (*from..*to).contains(&key)) {
            return None;
        }
        let (first, last) = (self.prices.first()?, self.prices.last()?);
        let (knot, past) =
            ((key - self.t0).div_euclid(self.step_ms), (key - self.t0).rem_euclid(self.step_ms));
        let Ok(knot) = usize::try_from(knot) else { return Some(*first) };
        match self.prices.get(knot..=knot + 1) {
            Some([from, to]) => Some(from + (to - from) * (float(past) / float(self.step_ms))),
            _ => Some(*last),
        }
    }
}

/// Steps are shorter than 2^32 ms, so that they are exact as floats.
fn float(ms: i64) -> f64 {
    f64::from(u32::try_from(ms).expect("a step of a path is shorter than 49 days"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_run_straight_between_knots_and_stay_at_the_ends() {
        let path = Path { t0: 1_000, step_ms: 4_000, prices: vec![1.0, 2.0], gaps: Vec::new() };
        let closes: Vec<_> = [0, 1_000, 2_000, 5_000, 9_000].map(|t| path.close(t)).into();
        assert_eq!(closes, [1.0, 1.0, 1.25, 2.0, 2.0].map(Some));
    }

    #[test]
    fn a_gap_has_no_candle_from_its_beginning_up_to_its_end() {
        let gaps = vec![(2_000, 4_000)];
        let path = Path { t0: 0, step_ms: 1_000, prices: vec![1.0], gaps };
        assert_eq!(
            [1_000, 2_000, 3_000, 4_000].map(|t| path.close(t).is_some()),
            [true, false, false, true]
        );
    }
}
