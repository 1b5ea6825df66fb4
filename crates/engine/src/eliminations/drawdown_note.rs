//! `DrawdownNote`: the `dd` of a record, whose meaning depends on the reason (E-3).

use borsh::{BorshDeserialize, BorshSerialize};
use proctor_types::{NotFinite, Percent};

use super::Reason;

/// What a record says about the drawdown.
///
/// The reference writes one number for it, with a sentinel per reason where there is none; here it
/// says what it means, and [`DrawdownNote::legacy`] writes the sentinels.
#[derive(Clone, Copy, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub enum DrawdownNote {
    /// What was lost of the peak, rounded to two places.
    Percent(Percent),
    /// Everything was lost.
    TotalLoss,
    /// The reason does not rest on a drawdown.
    NotApplicable,
    /// Something that its reason gives no meaning to, as another party wrote it.
    AsStated(Option<Percent>),
}

impl DrawdownNote {
    /// Returns the note that `percent` of the peak were lost; what is no percentage stays unsaid.
    #[must_use]
    pub fn percent(percent: f64) -> Self {
        Percent::new(percent).map_or(Self::AsStated(None), Self::Percent)
    }

    /// Returns what the reference's `dd` says in a record for `reason`; `None` is its `null`.
    ///
    /// # Errors
    /// [`NotFinite`]: a record must not hold such a number.
    pub fn from_legacy(reason: Reason, dd: Option<f64>) -> Result<Self, NotFinite> {
        let stated = dd.map(Percent::new).transpose()?;
        let note = if stated.map(Percent::get) == Self::sentinel(reason) {
            if reason == Reason::Liquidated { Self::TotalLoss } else { Self::NotApplicable }
        } else {
            let meant = |lost: &Percent| (0.0..=100.0).contains(&lost.get());
            match (reason, stated.filter(meant)) {
                (Reason::MaxTotalDrawdown | Reason::FailedChallengePeriodDrawdown, Some(lost)) => {
                    Self::Percent(lost)
                }
                _ => Self::AsStated(stated),
            }
        };
        Ok(note)
    }

    /// Returns the reference's `dd` for this note in a record for `reason`; `None` is `null`.
    #[must_use]
    pub fn legacy(self, reason: Reason) -> Option<f64> {
        match self {
            Self::Percent(lost) => Some(lost.get()),
            Self::TotalLoss => Some(0.0),
            Self::NotApplicable => Self::sentinel(reason),
            Self::AsStated(stated) => stated.map(Percent::get),
        }
    }

    /// Returns what the reference writes where there is no percentage.
    fn sentinel(reason: Reason) -> Option<f64> {
        match reason {
            Reason::Zombie => None,
            Reason::Liquidated => Some(0.0),
            Reason::Plagiarism
            | Reason::FailedChallengePeriodTime
            | Reason::MaxTotalDrawdown
            | Reason::FailedChallengePeriodDrawdown => Some(-1.0),
        }
    }

    /// Tells whether a number in the note, if there is one, can be a share in per cent.
    #[must_use]
    pub fn is_in_range(self) -> bool {
        match self {
            Self::Percent(lost) | Self::AsStated(Some(lost)) => (0.0..=100.0).contains(&lost.get()),
            Self::TotalLoss | Self::NotApplicable | Self::AsStated(None) => true,
        }
    }

    /// Returns the note that a decision for `reason` carries when no percentage is known.
    #[must_use]
    pub fn without_number(reason: Reason) -> Self {
        if reason == Reason::Liquidated { Self::TotalLoss } else { Self::NotApplicable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn e_3_each_reason_writes_its_own_sentinel() {
        for (reason, note, dd) in [
            (Reason::Zombie, DrawdownNote::NotApplicable, None),
            (Reason::Plagiarism, DrawdownNote::NotApplicable, Some(-1.0)),
            (Reason::FailedChallengePeriodTime, DrawdownNote::NotApplicable, Some(-1.0)),
            (Reason::Liquidated, DrawdownNote::TotalLoss, Some(0.0)),
            (Reason::MaxTotalDrawdown, DrawdownNote::percent(11.0), Some(11.0)),
            (Reason::FailedChallengePeriodDrawdown, DrawdownNote::percent(10.31), Some(10.31)),
        ] {
            assert_eq!(note.legacy(reason), dd, "{reason}");
            assert_eq!(DrawdownNote::from_legacy(reason, dd), Ok(note), "{reason}");
            if dd.is_none_or(|dd| dd <= 0.0) {
                assert_eq!(DrawdownNote::without_number(reason), note, "{reason}");
            }
        }
    }

    #[test]
    fn e_3_other_magnitudes_are_kept_as_they_were_stated() {
        let stated = |reason, dd| DrawdownNote::from_legacy(reason, dd).expect("finite");
        let odd = DrawdownNote::AsStated(Percent::new(10.5).ok());
        assert_eq!(stated(Reason::Zombie, Some(10.5)), odd);
        assert_eq!(stated(Reason::Plagiarism, None), DrawdownNote::AsStated(None));
        assert_eq!(stated(Reason::MaxTotalDrawdown, Some(0.08)), DrawdownNote::percent(0.08));
        assert!(DrawdownNote::from_legacy(Reason::Zombie, Some(f64::NAN)).is_err());
    }

    proptest! {
        #[test]
        fn e_3_what_is_read_is_written_again(
            place in 0..Reason::ALL.len(),
            dd in prop::option::of(prop_oneof![-1e3..1e3, Just(-1.0), Just(0.0), Just(100.0)]),
        ) {
            let reason = Reason::ALL[place];
            let note = DrawdownNote::from_legacy(reason, dd).expect("finite");
            prop_assert_eq!(note.legacy(reason), dd);
        }
    }
}
