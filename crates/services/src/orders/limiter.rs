//! Pure: how many orders of one trader from one address are looked at, in a fixed amount of memory.

use std::net::IpAddr;

use proctor_types::{DurationMs, TraderId, UtcMs};

/// How many places there are for the same hash; the one that is longest unused is given away.
const WAYS: usize = 8;

/// What one trader may send from one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How many orders in one window.
    pub orders: u32,
    /// The window; it begins with the first order and is followed by the next.
    pub window: DurationMs,
    /// How many traders and addresses are remembered, rounded up to a multiple of 8. Beyond them
    /// the one that is longest silent is forgotten, and begins anew.
    pub remembered: usize,
}

impl RateLimit {
    /// A hundred orders a second, for 16,384 traders: far above anybody who trades and far below
    /// what would make the engine forget an order's id within its window.
    pub const GENEROUS: Self =
        Self { orders: 6_000, window: DurationMs(60_000), remembered: 16_384 };
}

/// Counts the orders of each trader. All its memory is taken when it is made.
///
/// Orders are counted before their signature is checked, so anybody can send one in a trader's name.
/// The sender's address counts too: who floods in another's name uses up nothing of what comes from
/// the trader's own address.
#[derive(Debug)]
pub struct Limiter {
    limit: RateLimit,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Hash of trader and address.
    key: [u8; 16],
    /// Beginning of the window.
    since: UtcMs,
    /// Orders in it; none in a place that is free.
    count: u32,
    /// When the last order came.
    last: UtcMs,
}

impl Limiter {
    /// Returns a limiter that has seen nobody.
    #[must_use]
    pub fn new(limit: RateLimit) -> Self {
        let free = Slot { key: [0; 16], since: UtcMs(0), count: 0, last: UtcMs(i64::MIN) };
        let slots = vec![free; limit.remembered.div_ceil(WAYS).max(1) * WAYS];
        Self { limit, slots }
    }

    /// Counts an order in the name of `trader` from `address`.
    ///
    /// # Errors
    /// How long to wait, when there were too many; the order is not counted then.
    pub fn admit(
        &mut self,
        trader: &TraderId,
        address: Option<IpAddr>,
        now: UtcMs,
    ) -> Result<(), DurationMs> {
        let RateLimit { orders, window, .. } = self.limit;
        let key = key(trader, address);
        let slot = self.slot(key);
        if slot.count == 0 || slot.key != key {
            *slot = Slot { key, since: now, count: 0, last: now };
        }
        // A clock that was set back begins a window, or nobody would be let in until it is right.
        let passed = now.since(slot.since);
        if passed >= window || passed.0 < 0 {
            (slot.since, slot.count) = (now, 0);
        }
        slot.last = now;
        if slot.count >= orders {
            return Err(DurationMs(slot.since.0.saturating_add(window.0).saturating_sub(now.0)));
        }
        slot.count += 1;
        Ok(())
    }

    /// Returns the place of `key`, or the one that it may take.
    fn slot(&mut self, key: [u8; 16]) -> &mut Slot {
        let sets = self.slots.len() / WAYS;
        let mut number = [0; 8];
        number.copy_from_slice(&key[..8]);
        let spread = u64::from_le_bytes(number) % u64::try_from(sets).unwrap_or(u64::MAX);
        let first = usize::try_from(spread).unwrap_or(0) * WAYS;
        let set = &mut self.slots[first..first + WAYS];
        let own = set.iter().position(|slot| slot.count > 0 && slot.key == key);
        let place = own.unwrap_or_else(|| {
            let oldest = set.iter().enumerate().min_by_key(|(_, slot)| slot.last);
            oldest.map_or(0, |(place, _)| place)
        });
        &mut set[place]
    }
}

fn key(trader: &TraderId, address: Option<IpAddr>) -> [u8; 16] {
    let text = address.map_or_else(|| format!("{trader}"), |address| format!("{trader} {address}"));
    let mut key = [0; 16];
    key.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..16]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trader(number: usize) -> TraderId {
        TraderId::new(&format!("trader{number}")).expect("a name")
    }

    fn limiter(orders: u32, remembered: usize) -> Limiter {
        Limiter::new(RateLimit { orders, window: DurationMs(1_000), remembered })
    }

    #[test]
    fn a_window_begins_with_the_first_order_and_holds_so_many() {
        let mut limiter = limiter(2, 8);
        for (at, answer) in [
            (100, Ok(())),
            (900, Ok(())),
            (1_000, Err(100)),
            (1_099, Err(1)),
            (1_100, Ok(())),
            (1_100, Ok(())),
            (1_100, Err(1_000)),
            (50, Ok(())), // The clock was set back.
        ] {
            let admitted = limiter.admit(&trader(0), None, UtcMs(at));
            assert_eq!(admitted, answer.map_err(DurationMs), "at {at}");
        }
        assert_eq!(limiter.admit(&trader(1), None, UtcMs(1_100)), Ok(()), "another trader");
    }

    #[test]
    fn who_floods_in_anothers_name_uses_up_nothing_of_his() {
        let mut limiter = limiter(1, 8);
        let [theirs, own] = [[1, 2, 3, 4], [5, 6, 7, 8]].map(|bytes| Some(IpAddr::from(bytes)));
        assert_eq!(limiter.admit(&trader(0), theirs, UtcMs(0)), Ok(()));
        assert!(limiter.admit(&trader(0), theirs, UtcMs(0)).is_err());
        assert_eq!(limiter.admit(&trader(0), own, UtcMs(0)), Ok(()));
    }

    #[test]
    fn memory_is_fixed_and_the_longest_silent_is_forgotten() {
        let mut limiter = limiter(1, 64);
        let places = limiter.slots.len();
        for number in 0..10_000 {
            let now = UtcMs(i64::try_from(number).expect("small"));
            assert_eq!(limiter.admit(&trader(number), None, now), Ok(()));
            assert!(limiter.admit(&trader(number), None, now).is_err(), "just now is remembered");
        }
        assert_eq!((limiter.slots.len(), limiter.slots.capacity()), (places, places));
        assert_eq!(limiter.admit(&trader(0), None, UtcMs(500)), Ok(()), "long forgotten");
    }
}
