//! Random histories: plans that proptest can shrink, and a world that turns a plan into commits.
//!
//! A plan says what kind of thing happens; the world knows the time, the prices and the ids in use,
//! so that most orders get as far as a fill and the rest fail in every way there is.

pub(crate) mod found;

use proctor_engine::challenge_period::reasons::{Published, ReasonsCommand};
use proctor_engine::challenge_period::{PlagiarismReport, Stage, Standing};
use proctor_engine::eliminations::{
    DrawdownNote, EliminationRow, EliminationsCommand, Reason, Reentry, Reinstatement,
    SyncedEliminations,
};
use proctor_engine::input::{PriceCorrection, RecordedFill, Roster, StagesCommand};
use proctor_engine::rulebook::{VANTA, VANTA_PARITY};
use proctor_engine::{Commit, Input};
use proctor_types::{
    AssetClass, Cancel, DurationMs, ExecutionType, Fraction, Leverage, OperatorId, OrderId,
    OrderRequest, PairName, Percent, Price, Quantity, Quote, Remark, Side, SizeFields, SourceName,
    Stamp, TradePair, TraderId, Usd, UtcMs, ValidatorId,
};
use proptest::prelude::*;

/// Monday 2025-11-03 14:00 UTC: every market but the indices is open.
pub(crate) const T0: i64 = 1_762_178_400_000;

const DAY: i64 = 86_400_000;

/// Pairs with what they cost in the beginning: crypto, forex with and without a cross, one without
/// prices, one blocked.
const PAIRS: [(&str, f64); 8] = [
    ("BTCUSD", 100_000.0),
    ("ETHUSD", 4_000.0),
    ("EURUSD", 1.1),
    ("USDCAD", 1.35),
    ("AUDUSD", 0.66),
    ("AUDCAD", 0.9),
    ("TAOUSD", 400.0),
    ("USDJPY", 150.0),
];
const TRADERS: u32 = 6;

/// What happens in one commit, after `gap` of time.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    gap: Gap,
    acts: Vec<Act>,
}

#[derive(Clone, Copy, Debug)]
enum Gap {
    None,
    Ms(i64),
}

#[derive(Clone, Debug)]
enum Act {
    /// One quote for each move, in one batch.
    Prices(Vec<(usize, u8, Move, Shape)>),
    Order(OrderPlan),
    Recorded(OrderPlan, FillPlan),
    /// The traders whose bit is set are registered.
    Roster(u8, RosterKind),
    Size(u32, f64),
    Class(u32, AssetClass),
    Rulebook(Rules),
    Tick,
    /// Suspects by number, and how long before the commit the suspicion began.
    Suspects(Vec<(u32, i64)>),
    /// Traders into stages that began so long before the commit; the last with a stage before.
    Set(Vec<(u32, Stage, i64, Option<Stage>)>),
    Remove(u32),
    Refresh,
    Publish(Vec<(u32, Reason, Option<f64>)>),
    Pop(u32),
    /// Clears up to this number.
    Clear(u64),
    Eliminations(Records),
    /// Another price for an order: how many orders back, and by what its price is multiplied.
    Correct(u32, FillPlan),
}

/// What is written about eliminations from outside; rows are of the traders whose bit is set.
#[derive(Clone, Copy, Debug)]
enum Records {
    Add { mask: u8, reason: Reason, lag: i64 },
    Remove { trader: u32 },
    Reinstate { trader: u32, back: usize },
    Settle { trader: u32, back: usize },
    Sync { source: u8, mask: u8, reason: Reason, lag: i64 },
}

#[derive(Clone, Copy, Debug)]
enum Move {
    /// Per mille of the price of before.
    Drift(i32),
    /// A factor.
    Jump(f64),
    /// The price itself, however absurd; the world's price stays as it was.
    Spike(f64),
}

#[derive(Clone, Copy, Debug)]
enum Shape {
    Event,
    Bar(i64),
    Spread(f64),
    /// At a time of its own, however absurd.
    Dated(i64, i64),
}

#[derive(Clone, Copy, Debug)]
enum RosterKind {
    Next,
    Stale,
    /// Sixty traders more, so that losing them is an anomaly.
    Crowd,
}

/// The rulebooks a history may adopt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rules {
    /// The built-in one.
    Vanta,
    /// No cooldown, three orders per position, eight ids remembered.
    Quick,
    /// Every switch as the reference behaves.
    Parity,
    /// Not a rulebook.
    Broken,
}

#[derive(Clone, Debug)]
struct OrderPlan {
    trader: u32,
    pair: PairPlan,
    side: Side,
    size: SizePlan,
    repeats_id: bool,
    execution: ExecutionType,
    /// Of the world's price.
    limit: Option<Level>,
    stop_loss: Option<Level>,
    take_profit: Option<Level>,
    cancel: CancelPlan,
}

#[derive(Clone, Copy, Debug)]
enum Level {
    /// This far below the world's price for a LONG and above it for a SHORT, as a fraction.
    Behind(f64),
    /// The price itself, however absurd.
    At(f64),
}

#[derive(Clone, Copy, Debug)]
enum CancelPlan {
    /// The order sent this many orders ago.
    Order(u32),
    /// The bracket of the order sent this many orders ago.
    Bracket(u32),
    Pair,
    All,
    Nothing,
}

#[derive(Clone, Copy, Debug)]
enum PairPlan {
    /// One of the trader's class.
    Own(usize),
    Known(usize),
    Any(usize),
    Unknown,
}

#[derive(Clone, Copy, Debug)]
enum SizePlan {
    /// A part of what the pair allows.
    Usual(f64),
    /// The three fields as they are.
    Fields(Option<f64>, Option<f64>, Option<f64>),
}

#[derive(Clone, Copy, Debug)]
enum FillPlan {
    /// At the world's price times this.
    Near(f64),
    /// Anything: price, bid, ask, slippage.
    Absurd(f64, Option<f64>, Option<f64>, Option<f64>),
}

impl OrderPlan {
    /// The place of the order's pair among those that the world prices.
    fn place(&self) -> Option<usize> {
        match self.pair {
            // As in the prologue: traders 0 and 1 have crypto, the others forex.
            PairPlan::Own(number) if self.trader < 2 => Some(number % 2),
            PairPlan::Own(number) => Some(2 + number % 4),
            PairPlan::Known(place) => Some(place),
            PairPlan::Any(_) | PairPlan::Unknown => None,
        }
    }
}

impl Rules {
    pub(crate) fn text(self) -> String {
        let replaced = |pairs: &[(&str, &str)]| {
            pairs.iter().fold(VANTA.to_owned(), |text, (from, to)| {
                assert!(text.contains(from), "the built-in rulebook no longer says {from}");
                text.replace(from, to)
            })
        };
        match self {
            Self::Vanta => VANTA.into(),
            Self::Quick => replaced(&[
                ("cooldown = { value = 10_000", "cooldown = { value = 0"),
                (
                    "orders_per_position_max = { value = 100",
                    "orders_per_position_max = { value = 3",
                ),
                ("ids_remembered = { value = 100_000", "ids_remembered = { value = 8"),
                ("resting_max = { value = 100", "resting_max = { value = 3"),
                ("fill_interval = { value = 30_000", "fill_interval = { value = 0"),
                // One place in each class, after a day: ranks move traders all the time.
                ("funded_per_class = { value = 25", "funded_per_class = { value = 1"),
                ("complete_days_min = { value = 61", "complete_days_min = { value = 1"),
                ("coverage_min = { value = 0.9", "coverage_min = { value = 0.5"),
                (
                    "records_without_account_max = { value = 100_000",
                    "records_without_account_max = { value = 2",
                ),
                ("sync_sources_max = { value = 64", "sync_sources_max = { value = 2"),
                ("lifted_records_max = { value = 16", "lifted_records_max = { value = 2"),
            ]),
            Self::Parity => VANTA_PARITY.into(),
            Self::Broken => "name = \"nothing else\"".into(),
        }
    }
}

/// A finite number of any size and sign.
fn absurd() -> impl Strategy<Value = f64> {
    let scale = (-300_i32..=300, prop::bool::ANY)
        .prop_map(|(exponent, negative)| (if negative { -1.0 } else { 1.0 }, exponent))
        .prop_map(|(sign, exponent)| sign * format!("1e{exponent}").parse::<f64>().unwrap());
    prop_oneof![scale, Just(0.0), Just(1.0), Just(f64::MAX), Just(f64::MIN_POSITIVE), Just(5e-324)]
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        12 => (-20_i32..=20).prop_map(Move::Drift),
        2 => (0.3..3.0_f64).prop_map(Move::Jump),
        1 => absurd().prop_map(Move::Spike),
    ]
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        8 => Just(Shape::Event),
        3 => prop_oneof![Just(1_000), Just(60_000)].prop_map(Shape::Bar),
        1 => (0.0..0.004_f64).prop_map(Shape::Spread),
        1 => (-120_000_i64..3_000, -5_i64..100_000).prop_map(|(at, span)| Shape::Dated(at, span)),
        1 => (any::<i64>(), any::<i64>()).prop_map(|(at, span)| Shape::Dated(at, span)),
    ]
}

fn prices() -> impl Strategy<Value = Act> {
    prop::collection::vec((0..PAIRS.len(), 0..3_u8, moves(), shape()), 1..6).prop_map(Act::Prices)
}

/// A quote for every pair, so that the orders that follow find a price.
fn all_prices() -> impl Strategy<Value = Act> {
    let calm = prop_oneof![
        60 => (-8_i32..=8).prop_map(Move::Drift),
        1 => moves(),
    ];
    prop::collection::vec(calm, PAIRS.len()).prop_map(|moves| {
        Act::Prices(moves.into_iter().enumerate().map(|(n, m)| (n, 0, m, Shape::Event)).collect())
    })
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![4 => Just(Side::Long), 3 => Just(Side::Short), 2 => Just(Side::Flat)]
}

fn order() -> impl Strategy<Value = OrderPlan> {
    let pair = prop_oneof![
        30 => (0..6_usize).prop_map(PairPlan::Own),
        4 => (0..PAIRS.len()).prop_map(PairPlan::Known),
        1 => (0..TradePair::COUNT).prop_map(PairPlan::Any),
        1 => Just(PairPlan::Unknown),
    ];
    let size = prop_oneof![
        12 => (0.02..1.3_f64).prop_map(SizePlan::Usual),
        1 => (prop::option::of(absurd()), prop::option::of(absurd()), prop::option::of(absurd()))
            .prop_map(|(leverage, value, quantity)| SizePlan::Fields(leverage, value, quantity)),
        1 => (0..3, absurd()).prop_map(|(form, number)| match form {
            0 => SizePlan::Fields(Some(number), None, None),
            1 => SizePlan::Fields(None, Some(number), None),
            _ => SizePlan::Fields(None, None, Some(number)),
        }),
    ];
    let execution = prop_oneof![
        30 => Just(ExecutionType::Market),
        8 => Just(ExecutionType::Limit),
        4 => Just(ExecutionType::Bracket),
        2 => Just(ExecutionType::LimitCancel),
    ];
    let repeats_id = prop::bool::weighted(0.04);
    let trader = prop_oneof![5 => 0..4_u32, 1 => 0..TRADERS];
    let what = (trader, pair, side(), size, repeats_id, execution);
    let limit = prop::option::weighted(0.95, level(-0.004..0.02));
    let protection = prop_oneof![
        3 => Just((None, None)),
        3 => (level(0.0..0.03), level(-0.03..0.0)).prop_map(|(s, t)| (Some(s), Some(t))),
        1 => (level(-0.01..0.03), Just(None)).prop_map(|(s, t)| (Some(s), t)),
        1 => (Just(None), level(-0.03..0.01)).prop_map(|(s, t)| (s, Some(t))),
    ];
    (what, limit, protection, cancel()).prop_map(
        |(
            (trader, pair, side, size, repeats_id, execution),
            limit,
            (stop_loss, take_profit),
            cancel,
        )| {
            // A bracket is nearly always for the whole position.
            let size = match (execution, size) {
                (ExecutionType::Bracket, SizePlan::Usual(part)) if part > 0.3 => {
                    SizePlan::Fields(None, None, None)
                }
                (_, size) => size,
            };
            OrderPlan {
                trader,
                pair,
                side,
                size,
                repeats_id,
                execution,
                limit,
                stop_loss,
                take_profit,
                cancel,
            }
        },
    )
}

fn level(behind: std::ops::Range<f64>) -> impl Strategy<Value = Level> {
    prop_oneof![20 => behind.prop_map(Level::Behind), 1 => absurd().prop_map(Level::At)]
}

fn cancel() -> impl Strategy<Value = CancelPlan> {
    prop_oneof![
        4 => (0..8_u32).prop_map(CancelPlan::Order),
        2 => (0..8_u32).prop_map(CancelPlan::Bracket),
        1 => Just(CancelPlan::Pair),
        1 => Just(CancelPlan::All),
        1 => Just(CancelPlan::Nothing),
    ]
}

fn fill() -> impl Strategy<Value = FillPlan> {
    let any = || prop::option::of(absurd());
    prop_oneof![
        6 => (0.9..1.1_f64).prop_map(FillPlan::Near),
        1 => (absurd(), any(), any(), any()).prop_map(|(p, b, a, s)| FillPlan::Absurd(p, b, a, s)),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let class = prop_oneof![
        3 => Just(AssetClass::Crypto),
        3 => Just(AssetClass::Forex),
        1 => Just(AssetClass::Equities),
    ];
    let kind = prop_oneof![
        3 => Just(RosterKind::Next),
        1 => Just(RosterKind::Stale),
        1 => Just(RosterKind::Crowd),
    ];
    let rules = prop_oneof![
        Just(Rules::Vanta),
        Just(Rules::Quick),
        Just(Rules::Parity),
        Just(Rules::Broken)
    ];
    prop_oneof![
        20 => order().prop_map(Act::Order),
        6 => (order(), fill()).prop_map(|(order, fill)| Act::Recorded(order, fill)),
        6 => prices(),
        4 => Just(Act::Tick),
        1 => (any::<u8>(), kind).prop_map(|(mask, kind)| Act::Roster(mask | 3, kind)),
        1 => (0..TRADERS, prop_oneof![1.0..1e6_f64, absurd()]).prop_map(|(t, s)| Act::Size(t, s)),
        1 => (0..TRADERS, class).prop_map(|(trader, class)| Act::Class(trader, class)),
        1 => rules.prop_map(Act::Rulebook),
        3 => stages(),
        3 => records().prop_map(Act::Eliminations),
        5 => (0..4_u32, fill()).prop_map(|(back, fill)| Act::Correct(back, fill)),
    ]
}

/// What concerns stages and reasons.
fn stages() -> impl Strategy<Value = Act> {
    let who = || 0..TRADERS;
    let ago = || prop_oneof![4 => 0..100 * DAY, 1 => Just(-1_i64), 1 => any::<i64>()];
    let stage = || prop::sample::select(Stage::ALL.to_vec());
    let setting = (who(), stage(), ago(), prop::option::weighted(0.3, stage()));
    let reason = prop::sample::select(Reason::ALL.to_vec());
    let percent = prop::option::of(prop_oneof![4 => 0.0..100.0_f64, 1 => absurd()]);
    prop_oneof![
        3 => prop::collection::vec((who(), ago()), 0..4).prop_map(Act::Suspects),
        4 => prop::collection::vec(setting, 1..4).prop_map(Act::Set),
        1 => who().prop_map(Act::Remove),
        2 => Just(Act::Refresh),
        1 => prop::collection::vec((who(), reason, percent), 1..3).prop_map(Act::Publish),
        1 => who().prop_map(Act::Pop),
        1 => (0..8_u64).prop_map(Act::Clear),
    ]
}

fn records() -> impl Strategy<Value = Records> {
    let reason = || (0..Reason::ALL.len()).prop_map(|place| Reason::ALL[place]);
    // Few at a time, or nobody would be left to trade.
    let mask =
        || prop_oneof![6 => (0..8_u32).prop_map(|bit| 1 << bit), 1 => Just(0), 1 => any::<u8>()];
    let lag = || prop_oneof![8 => 0..DAY, 1 => Just(-1_i64), 1 => any::<i64>()];
    prop_oneof![
            1 => (mask(), reason(), lag()).prop_map(|(mask, reason, lag)| Records::Add { mask, reason, lag }),
            1 => (0..TRADERS).prop_map(|trader| Records::Remove { trader }),
            1 => (0..TRADERS, 0..6_usize).prop_map(|(trader, back)| Records::Reinstate { trader, back }),
    3 => (0..4_u32, 0..2_usize).prop_map(|(trader, back)| Records::Settle { trader, back }),
            2 => (0..3_u8, mask(), reason(), lag())
                .prop_map(|(source, mask, reason, lag)| Records::Sync { source, mask, reason, lag }),
        ]
}

fn gap() -> impl Strategy<Value = Gap> {
    prop_oneof![
        3 => Just(Gap::None),
        6 => (1_i64..9_000).prop_map(Gap::Ms),
        12 => (10_000_i64..90_000).prop_map(Gap::Ms),
        4 => (60_000_i64..DAY / 4).prop_map(Gap::Ms),
        3 => (DAY / 2..3 * DAY).prop_map(Gap::Ms),
        1 => (3 * DAY..200 * DAY).prop_map(Gap::Ms),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let acts = (prop::option::weighted(0.8, all_prices()), prop::collection::vec(act(), 1..5));
    (gap(), acts).prop_map(|(gap, (prices, acts))| Step {
        gap,
        acts: prices.into_iter().chain(acts).collect(),
    })
}

/// A history: it begins with a rulebook, a roster, sizes and classes, unless `bare`.
#[derive(Clone, Debug)]
pub(crate) struct History {
    bare: bool,
    rules: Rules,
    steps: Vec<Step>,
}

/// Returns histories of at most `steps` commits after the first.
pub(crate) fn history(steps: usize) -> impl Strategy<Value = History> {
    let rules =
        prop_oneof![3 => Just(Rules::Vanta), 3 => Just(Rules::Quick), 1 => Just(Rules::Parity)];
    (prop::bool::weighted(0.05), rules, prop::collection::vec(step(), 1..=steps))
        .prop_map(|(bare, rules, steps)| History { bare, rules, steps })
}

impl History {
    /// Returns the commits of the history.
    pub(crate) fn commits(&self) -> Vec<Commit> {
        let mut world = World::new();
        let mut commits = Vec::new();
        if !self.bare {
            commits.push(world.prologue(self.rules));
            world.at = T0;
        }
        for step in &self.steps {
            if let Gap::Ms(ms) = step.gap {
                world.at += ms;
            }
            let inputs = step.acts.iter().map(|act| world.input(act)).collect();
            commits.push(world.commit(inputs));
        }
        commits
    }
}

struct World {
    at: i64,
    commits: u64,
    prices: Vec<f64>,
    orders: u32,
    /// Whose order each number was, and the place of its pair.
    owners: Vec<(u32, usize)>,
    roster_version: u64,
    /// The times of the commits so far.
    times: Vec<i64>,
}

impl World {
    fn new() -> Self {
        let prices = PAIRS.iter().map(|(_, price)| *price).collect();
        Self {
            at: T0 - 2 * DAY,
            commits: 0,
            prices,
            orders: 0,
            owners: vec![(0, 0)],
            roster_version: 0,
            times: Vec::new(),
        }
    }

    fn commit(&mut self, inputs: Vec<Input>) -> Commit {
        self.commits += 1;
        self.times.push(self.at);
        Commit { index: self.commits, at: UtcMs(self.at), inputs }
    }

    /// Traders 0 to 4 are registered; 0 to 3 have a class, 4 has none and 5 is nobody.
    fn prologue(&mut self, rules: Rules) -> Commit {
        let mut inputs = vec![Input::Rulebook(rules.text())];
        inputs.push(self.roster(0b1_1111, RosterKind::Next));
        for number in 0..4 {
            let size = 50_000.0 * f64::from(number + 1);
            inputs.push(Input::AccountSize(trader(number), Usd::new(size).unwrap()));
            let class = if number < 2 { AssetClass::Crypto } else { AssetClass::Forex };
            inputs.push(Input::AssetClass(trader(number), class));
        }
        self.commit(inputs)
    }

    fn roster(&mut self, mask: u8, kind: RosterKind) -> Input {
        let crowd = match kind {
            RosterKind::Stale => 0,
            RosterKind::Next => {
                self.roster_version += 1;
                0
            }
            RosterKind::Crowd => {
                self.roster_version += 1;
                60
            }
        };
        let known = (0..TRADERS).filter(|bit| mask >> bit & 1 == 1);
        let traders = known.chain(100..100 + crowd).map(trader).collect();
        Input::Roster(Roster::new(self.roster_version, traders))
    }

    fn input(&mut self, act: &Act) -> Input {
        match act {
            Act::Prices(moves) => {
                Input::Prices(moves.iter().map(|quote| self.quote(*quote)).collect())
            }
            Act::Order(plan) => Input::Order(self.order(plan)),
            Act::Recorded(plan, fill) => {
                let request = self.order(plan);
                Input::RecordedOrder(request, self.fill(plan, *fill))
            }
            Act::Roster(mask, kind) => self.roster(*mask, *kind),
            Act::Size(number, size) => {
                Input::AccountSize(trader(*number), Usd::new(*size).unwrap())
            }
            Act::Class(number, class) => Input::AssetClass(trader(*number), *class),
            Act::Rulebook(rules) => Input::Rulebook(rules.text()),
            Act::Tick => Input::Tick,
            Act::Suspects(list) => {
                let verdicts = list.iter().map(|(number, ago)| (trader(*number), self.ago(*ago)));
                Input::Plagiarism(PlagiarismReport::new(verdicts.collect()))
            }
            Act::Set(list) => {
                let setting = |(number, stage, ago, before): &(u32, Stage, i64, Option<Stage>)| {
                    let since = self.ago(*ago);
                    let before = before.map(|before| (before, since));
                    (trader(*number), Standing { stage: *stage, since, before })
                };
                Input::Stages(StagesCommand::Set(list.iter().map(setting).collect()))
            }
            Act::Remove(number) => Input::Stages(StagesCommand::Remove(trader(*number))),
            Act::Refresh => Input::Stages(StagesCommand::Refresh),
            Act::Publish(list) => {
                let batch = list.iter().map(|(number, reason, percent)| Published {
                    trader: trader(*number),
                    reason: *reason,
                    drawdown: percent.map_or(DrawdownNote::NotApplicable, |percent| {
                        DrawdownNote::Percent(Percent::new(percent).unwrap())
                    }),
                });
                Input::Reasons(ReasonsCommand::Update(batch.collect()))
            }
            Act::Pop(number) => Input::Reasons(ReasonsCommand::Pop(trader(*number))),
            Act::Clear(up_to) => Input::Reasons(ReasonsCommand::Clear { up_to: *up_to }),
            Act::Eliminations(records) => self.records(*records),
            Act::Correct(back, fill) => self.correction(*back, *fill),
        }
    }

    /// Eight traders, of whom two never have an account.
    fn rows(mask: u8, reason: Reason, decided_at: i64) -> Vec<EliminationRow> {
        let named = (0..8).filter(|bit| mask >> bit & 1 == 1);
        let row = |number| EliminationRow {
            trader: trader(number),
            reason,
            drawdown: DrawdownNote::without_number(reason),
            decided_at: UtcMs(decided_at),
        };
        named.map(row).collect()
    }

    fn records(&self, records: Records) -> Input {
        let by = OperatorId::new("desk").unwrap();
        let why = Remark::new("a test").unwrap();
        let stamp = |back: usize| {
            let place = self.times.len().saturating_sub(back);
            let at = place.checked_sub(1).and_then(|place| self.times.get(place)).copied();
            Stamp { commit: place as u64, at: UtcMs(at.unwrap_or(0)) }
        };
        match records {
            Records::Add { mask, reason, lag } => {
                let rows = Self::rows(mask, reason, self.at.saturating_sub(lag));
                Input::Eliminations(EliminationsCommand::Add { by, why, rows })
            }
            Records::Remove { trader: number } => {
                let traders = vec![trader(number)];
                Input::Eliminations(EliminationsCommand::Remove { by, why, traders })
            }
            Records::Reinstate { trader: number, back } => Input::Reinstate(Reinstatement {
                trader: trader(number),
                by,
                why,
                decided: stamp(back),
                reentry: Reentry::Challenge,
            }),
            Records::Settle { trader: number, back } => {
                Input::SlashSettled(trader(number), stamp(back))
            }
            Records::Sync { source, mask, reason, lag } => {
                let as_of = self.at.saturating_sub(lag);
                Input::SyncEliminations(SyncedEliminations {
                    source: ValidatorId::new(&format!("v{source}")).unwrap(),
                    as_of: UtcMs(as_of),
                    rows: Self::rows(mask, reason, as_of.saturating_sub(1_000)),
                })
            }
        }
    }

    fn ago(&self, ms: i64) -> UtcMs {
        UtcMs(self.at.saturating_sub(ms))
    }

    fn quote(&mut self, (place, source, moved, shape): (usize, u8, Move, Shape)) -> Quote {
        let number = match moved {
            Move::Drift(per_mille) => {
                self.prices[place] *= 1.0 + f64::from(per_mille) / 1_000.0;
                self.prices[place]
            }
            Move::Jump(factor) => {
                self.prices[place] *= factor;
                self.prices[place]
            }
            Move::Spike(price) => price,
        };
        let pair = TradePair::from_id(PAIRS[place].0).unwrap();
        let source = SourceName::new(&format!("s{source}")).unwrap();
        let event = Quote::event(pair, source, UtcMs(self.at), price(number));
        match shape {
            Shape::Event => event,
            Shape::Bar(span) => {
                Quote { start: UtcMs(self.at - span), span: DurationMs(span), ..event }
            }
            Shape::Spread(spread) => {
                let bid = number * (1.0 - spread / 2.0);
                Quote {
                    bid: Price::new(bid).ok(),
                    ask: Price::new(bid * (1.0 + spread)).ok(),
                    ..event
                }
            }
            Shape::Dated(at, span) => {
                Quote { start: UtcMs(self.at.saturating_add(at)), span: DurationMs(span), ..event }
            }
        }
    }

    fn order(&mut self, plan: &OrderPlan) -> OrderRequest {
        if !plan.repeats_id {
            self.orders += 1;
            self.owners.push((plan.trader, plan.place().unwrap_or(0)));
        }
        let name = match plan.pair {
            PairPlan::Own(_) | PairPlan::Known(_) => PAIRS[plan.place().unwrap_or(0)].0,
            PairPlan::Any(row) => TradePair::all().nth(row).unwrap().id(),
            PairPlan::Unknown => "NOPAIR",
        };
        let most = TradePair::from_id(name).map_or(1.0, |pair| match pair.class() {
            AssetClass::Crypto => 0.5,
            AssetClass::Forex | AssetClass::Equities | AssetClass::Indices => 5.0,
        });
        let (leverage, value, quantity) = match plan.size {
            SizePlan::Usual(part) => (Some(most * part), None, None),
            SizePlan::Fields(leverage, value, quantity) => (leverage, value, quantity),
        };
        let now = plan.place().map_or(1.0, |place| self.prices[place]);
        let level = |level: Level| {
            let sign = if plan.side == Side::Short { 1.0 } else { -1.0 };
            price(match level {
                Level::Behind(part) => now * (1.0 + sign * part),
                Level::At(number) => number,
            })
        };
        let before = |ago: u32| format!("o{}", self.orders.saturating_sub(ago));
        let cancel = match plan.cancel {
            CancelPlan::Order(ago) => Some(Cancel::Order(OrderId::new(&before(ago)).unwrap())),
            CancelPlan::Bracket(ago) => {
                Some(Cancel::Order(OrderId::new(&format!("{}-bracket", before(ago))).unwrap()))
            }
            CancelPlan::Pair => Some(Cancel::Pair),
            CancelPlan::All => Some(Cancel::All),
            CancelPlan::Nothing => None,
        };
        OrderRequest {
            trader: trader(plan.trader),
            id: OrderId::new(&format!("o{}", self.orders)).unwrap(),
            pair: PairName::new(name).unwrap(),
            side: plan.side,
            execution: plan.execution,
            size: SizeFields {
                leverage: leverage.map(|n| Leverage::new(n).unwrap()),
                value: value.map(|n| Usd::new(n).unwrap()),
                quantity: quantity.map(|n| Quantity::new(n).unwrap()),
            },
            limit_price: plan.limit.map(level),
            stop_loss: plan.stop_loss.map(level),
            take_profit: plan.take_profit.map(level),
            cancel,
        }
    }

    fn correction(&self, back: u32, fill: FillPlan) -> Input {
        let number = self.orders.saturating_sub(back);
        let owner = usize::try_from(number).ok().and_then(|place| self.owners.get(place));
        let (owner, place) = owner.copied().unwrap_or((0, 0));
        let (price, bid, ask) = match fill {
            FillPlan::Near(factor) => (price(self.prices[place] * factor), None, None),
            FillPlan::Absurd(number, bid, ask, _) => {
                (price(number), bid.map(price), ask.map(price))
            }
        };
        Input::CorrectPrice(PriceCorrection {
            trader: trader(owner),
            order: OrderId::new(&format!("o{number}")).unwrap(),
            price,
            bid,
            ask,
            source: SourceName::new("audit").unwrap(),
            by: OperatorId::new("officer").unwrap(),
            why: Remark::new("it was wrong").unwrap(),
        })
    }

    fn fill(&self, order: &OrderPlan, plan: FillPlan) -> RecordedFill {
        let current = order.place().map_or(1.0, |place| self.prices[place]);
        match plan {
            FillPlan::Near(factor) => RecordedFill {
                price: price(current * factor),
                bid: None,
                ask: None,
                slippage: Fraction::new(0.0001).ok(),
            },
            FillPlan::Absurd(number, bid, ask, slippage) => RecordedFill {
                price: price(number),
                bid: bid.map(price),
                ask: ask.map(price),
                slippage: slippage.map(|n| Fraction::new(n).unwrap()),
            },
        }
    }
}

pub(crate) fn trader(number: u32) -> TraderId {
    TraderId::new(&format!("t{number}")).unwrap()
}

/// A price, at most the greatest number: a few moves of a greater one would leave the finite ones.
fn price(number: f64) -> Price {
    Price::new(number.clamp(-f64::MAX, f64::MAX)).unwrap()
}

/// Returns the inputs of a trader who buys for next to nothing and sells for a fortune, again and
/// again, and then loses everything: the product of the returns overflows, and then meets a zero.
pub(crate) fn fortune() -> Vec<Input> {
    let mut world = World::new();
    let mut inputs = vec![
        Input::Rulebook(Rules::Quick.text()),
        world.roster(1, RosterKind::Next),
        Input::AssetClass(trader(0), AssetClass::Crypto),
    ];
    let trades = [(1e-280, 1e3), (1e-280, 1e3), (1e-280, 1e3), (1e3, 1e280)];
    for (place, (buy, sell)) in trades.into_iter().enumerate() {
        // The last one is a short that loses everything.
        let side = if place == 3 { Side::Short } else { Side::Long };
        for (side, number) in [(side, buy), (Side::Flat, sell)] {
            let plan = OrderPlan {
                trader: 0,
                pair: PairPlan::Own(0),
                side,
                size: SizePlan::Usual(0.9),
                repeats_id: false,
                execution: ExecutionType::Market,
                limit: None,
                stop_loss: None,
                take_profit: None,
                cancel: CancelPlan::Nothing,
            };
            let fill = FillPlan::Absurd(number, None, None, Some(0.0));
            inputs.push(Input::RecordedOrder(world.order(&plan), world.fill(&plan, fill)));
        }
    }
    inputs
}
