//! What tells how old the applied state may be: when it last grew, and when the orderer said that there
//! is no more.

use proctor_p2p::Moment;

/// Both moments, and what is missing for the second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Vouched {
    applied: u64,
    /// When the newest applied commit was applied; `None` before the first since the start.
    pub(super) grew_at: Option<Moment>,
    /// What a member of the committee said that it has, and when: it is not all applied yet.
    claim: Option<(u64, Moment)>,
    /// When a member of the committee last said what is applied by now.
    pub(super) complete_at: Option<Moment>,
}

impl Vouched {
    /// Starts at the commit that is applied, of which nothing is known yet.
    pub(crate) fn new(applied: u64) -> Self {
        Self { applied, ..Self::default() }
    }

    /// A member of the committee says that its newest commit is `height`. A claim that waits is kept: a
    /// newer one in its place could keep an orderer's every word from ever coming true.
    pub(super) fn claimed(&mut self, now: Moment, height: u64) {
        self.claim = self.claim.or(Some((height, now)));
        self.settle();
    }

    /// Everything up to `height` is applied.
    pub(super) fn applied(&mut self, now: Moment, height: u64) {
        if height > self.applied {
            self.grew_at = Some(now);
        }
        self.applied = height;
        self.settle();
    }

    fn settle(&mut self) {
        if let Some((_, at)) = self.claim.take_if(|(height, _)| *height <= self.applied) {
            self.complete_at = self.complete_at.max(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_counts_from_when_it_was_made_and_once_all_of_it_is_applied() {
        let mut vouched = Vouched::new(7);
        assert_eq!((vouched.grew_at, vouched.complete_at), (None, None), "nothing is known yet");
        vouched.claimed(Moment(10), 9);
        vouched.claimed(Moment(20), 12);
        vouched.applied(Moment(25), 8);
        assert_eq!((vouched.grew_at, vouched.complete_at), (Some(Moment(25)), None));
        vouched.applied(Moment(30), 9);
        assert_eq!(vouched.complete_at, Some(Moment(10)), "not from when it was applied");
        vouched.claimed(Moment(40), 9);
        assert_eq!(vouched.complete_at, Some(Moment(40)));
        vouched.applied(Moment(50), 9);
        assert_eq!(vouched.grew_at, Some(Moment(30)), "the same state again is no growth");
    }
}
