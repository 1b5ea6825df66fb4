//! The parity switches: where the right behaviour and that of the reference part.

use serde::Deserialize;

use crate::eliminations::plan::{DrawdownStages, Reconcile, ZombieGuard};

/// The parity switches: the first variant of each is the right behaviour and the default of
/// `vanta.toml`; the second reproduces the reference, for golden vectors and comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Switches {
    /// How the intervals of the carry fee are cut (trading 3.9, M-1).
    pub carry_mode: CarryMode,
    /// Which size the slippage of a closing order is computed on (S-1).
    pub flat_slippage_mode: FlatSlippageMode,
    /// What a forced flat without a price does to the position's return (M-3).
    pub priceless_flat: PricelessFlat,
    /// What remains in the size fields of a liquidated position (M-6).
    pub liquidated_size: LiquidatedSize,
    /// Whether the value of a position in a closed market follows its fees (P-7).
    pub closed_market_value: ClosedMarketValue,
    /// Whether a drawdown of exactly the limit is a breach (P-15, S-12).
    pub drawdown_limit: DrawdownLimit,
    /// Whether the account floor also raises a recorded size below it (trading 2.5, T-10).
    pub account_floor: AccountFloor,
    /// Whether the last moment of a stage still belongs to it (services C-35).
    pub time_limit: TimeLimit,
    /// Whether the stages are inspected when nobody is in the challenge or on probation (C-30).
    pub inspection: Inspection,
    /// Whom the choice of an asset class keeps out of a ranking (C-50.1).
    pub unselected_class: UnselectedClass,
    /// Whether a score of zero can win a place among the funded (C-50.3).
    pub zero_score: ZeroScore,
    /// Whether traders that cannot be promoted yet take places (C-51).
    pub slots: Slots,
    /// What happens to funded traders without a score (C-52, C-53).
    pub unscored: Unscored,
    /// Whether days on which forex is closed count among the days of a forex ledger (S-4).
    pub forex_weekend_days: ForexWeekendDays,
    /// Which drawdown a class has that is traded in several pairs (S-20).
    pub merge_class_mdd: ClassDrawdown,
    /// Which open loss is charged to the last day and to the whole (S-1, S-6).
    pub open_loss: OpenLoss,
    /// Where a trader ranks in a class that he does not trade (S-22).
    pub idle_in_class: IdleInClass,
    /// Whose drawdown a pass looks at (services E-50).
    pub drawdown_stages: DrawdownStages,
    /// What keeps an outage from ending accounts as zombies' (services E-54).
    pub zombie_guard: ZombieGuard,
    /// When what an ended account still holds is closed (services E-30, E-59).
    pub reconcile: Reconcile,
    /// At which price a limit or bracket order that has been reached is filled (L-4).
    pub resting_fill_price: RestingFillPrice,
    /// Whether a price that nobody confirms may value positions and end accounts (trading 7).
    pub spike_guard: SpikeGuard,
}

impl Switches {
    /// Every switch as the reference implementation behaves: what golden vectors are run with.
    pub const PARITY: Self = Self {
        carry_mode: CarryMode::Legacy,
        flat_slippage_mode: FlatSlippageMode::SignalSize,
        priceless_flat: PricelessFlat::LastOrder,
        liquidated_size: LiquidatedSize::AsWas,
        closed_market_value: ClosedMarketValue::Frozen,
        drawdown_limit: DrawdownLimit::Percent,
        account_floor: AccountFloor::WhenUnknown,
        time_limit: TimeLimit::Inclusive,
        inspection: Inspection::WithCandidates,
        unselected_class: UnselectedClass::RankedUntilFirstChoice,
        zero_score: ZeroScore::WinsSlot,
        slots: Slots::AllRanked,
        unscored: Unscored::Demoted,
        forex_weekend_days: ForexWeekendDays::Counted,
        merge_class_mdd: ClassDrawdown::FirstPair,
        open_loss: OpenLoss::LastChange,
        idle_in_class: IdleInClass::ByValue,
        drawdown_stages: DrawdownStages::MainCompetition,
        zombie_guard: ZombieGuard::None,
        reconcile: Reconcile::FirstPass,
        resting_fill_price: RestingFillPrice::Level,
        spike_guard: SpikeGuard::Off,
    };
}

/// See [`Switches::carry_mode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CarryMode {
    /// Intervals end at the published boundaries; Wednesday counts three times, weekends not.
    Calendar,
    /// The reference's floating intervals of eight hours.
    Legacy,
}

/// See [`Switches::flat_slippage_mode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlatSlippageMode {
    /// The size that is closed.
    ClosingSize,
    /// The size field that came with the order.
    SignalSize,
}

/// See [`Switches::priceless_flat`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PricelessFlat {
    /// The return of the last mark stands.
    KeepMark,
    /// The return falls back to that of the last priced order.
    LastOrder,
}

/// See [`Switches::liquidated_size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LiquidatedSize {
    /// Zero, as in any closed position.
    Zeroed,
    /// What it was before the liquidation.
    AsWas,
}

/// See [`Switches::closed_market_value`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedMarketValue {
    /// The last price stands, fees go on.
    FeesApply,
    /// The last value stands, though the stored fee products move.
    Frozen,
}

/// See [`Switches::drawdown_limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DrawdownLimit {
    /// `value / peak <= 1 - limit` is a breach.
    Ratio,
    /// `(1 - value / peak) * 100 >= limit` on doubles, so that a ratio of 0.9 passes.
    Percent,
}

/// See [`Switches::account_floor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountFloor {
    /// The floor is the least size any order sees.
    Always,
    /// The floor is used only when nothing was recorded.
    WhenUnknown,
}

/// See [`Switches::time_limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeLimit {
    /// A stage of 90 days is over when 90 days have passed.
    Exclusive,
    /// It is over a millisecond later.
    Inclusive,
}

/// See [`Switches::inspection`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Inspection {
    /// The funded are ranked at every refresh.
    Always,
    /// With nobody in the challenge or on probation nobody is ranked, so nobody is demoted.
    WithCandidates,
}

/// See [`Switches::unselected_class`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnselectedClass {
    /// Who has chosen no class is ranked in none.
    Unranked,
    /// While nobody has chosen one, everybody is ranked in all of them.
    RankedUntilFirstChoice,
}

/// See [`Switches::zero_score`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroScore {
    /// It keeps a place that is held, while there are places, and wins none.
    KeepsSlot,
    /// It wins a place like any other score.
    WinsSlot,
}

/// See [`Switches::slots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Slots {
    /// Places go to those who are funded or may be.
    Eligible,
    /// Traders with too few days take places that nobody can then have.
    AllRanked,
}

/// See [`Switches::unscored`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unscored {
    /// They stay; and with too many of them nobody is demoted.
    Unchanged,
    /// They are demoted.
    Demoted,
}

/// See [`Switches::forex_weekend_days`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ForexWeekendDays {
    /// They are left out, as a year of forex is taken to have 252 days.
    Dropped,
    /// They count as days without return.
    Counted,
}

/// See [`Switches::merge_class_mdd`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassDrawdown {
    /// The deepest of its pairs'; running levels are the product or the sum over the pairs.
    Worst,
    /// That of the first pair, and so with every level.
    FirstPair,
}

/// See [`Switches::open_loss`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenLoss {
    /// What the open positions have lost as of the end of the last cell.
    Level,
    /// What they lost within the last cell only, so that an old open loss is free.
    LastChange,
}

/// See [`Switches::idle_in_class`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdleInClass {
    /// Below everyone with a complete day in it.
    Last,
    /// By the value that a metric has without data, which is above those who lost.
    ByValue,
}

/// See [`Switches::resting_fill_price`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestingFillPrice {
    /// The bid or ask that reached the level: a limit may fill better than its limit, and a stop
    /// that the market jumped over fills where the market is.
    Market,
    /// The level itself, also where the market jumped over it.
    Level,
}

/// See [`Switches::spike_guard`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpikeGuard {
    /// A price that is not believed values nothing and fills nothing; verdicts wait for it.
    Freeze,
    /// The nearest fresh record is taken as it is.
    Off,
}
