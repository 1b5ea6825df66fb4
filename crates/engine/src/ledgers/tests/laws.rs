//! Laws that hold for every sequence of samples (trading 8.12).

use proctor_types::float;
use proptest::prelude::*;

use super::*;

/// What happens to one pair from one sample to the next.
#[derive(Clone, Copy, Debug)]
struct Turn {
    log_return: f64,
    spread: f64,
    carry: f64,
    realized: f64,
    unrealized: f64,
    status: MarketStatus,
}

/// Time since the sample before and what happened to each of three pairs.
type Step = (i64, [Turn; 3]);

const PAIRS: [&str; 3] = ["BTCUSD", "SOLUSD", "EURUSD"];

fn turn() -> impl Strategy<Value = Turn> {
    let status = prop_oneof![
        Just(MarketStatus::NoOpenPositions),
        Just(MarketStatus::MarketNotOpen),
        Just(MarketStatus::OpenNoPriceChange),
        Just(MarketStatus::OpenPriceChange),
    ];
    let change = prop_oneof![3 => Just(0.0), 5 => -0.02..0.02_f64];
    let fee = prop_oneof![4 => Just(1.0), 1 => 0.999..1.0_f64];
    (change, fee.clone(), fee, -50.0..50.0_f64, -50.0..50.0_f64, status).prop_map(
        |(log_return, spread, carry, realized, unrealized, status)| Turn {
            log_return,
            spread,
            carry,
            realized,
            unrealized,
            status,
        },
    )
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let gap = prop_oneof![
        2 => Just(0_i64),
        6 => 1..60_000_i64,
        4 => 60_000..6 * HOUR_MS,
        2 => Just(12 * HOUR_MS),
        2 => 6 * HOUR_MS..60 * HOUR_MS,
    ];
    prop::collection::vec((gap, [turn(), turn(), turn()]), 1..60)
}

/// A trader with three pairs, of which the second joins at the fourth sample.
struct Trader {
    now: i64,
    count: usize,
    pairs: Vec<PairSample>,
}

impl Trader {
    fn new() -> Self {
        let new = |id: &&str| pair_sample(id, 1.0, MarketStatus::NoOpenPositions);
        Self { now: 7 * HOUR_MS, count: 0, pairs: PAIRS.iter().map(new).collect() }
    }

    fn turn(&mut self, (gap, turns): &Step) -> (UtcMs, Vec<PairSample>) {
        self.now += gap;
        self.count += 1;
        let joined = |index: usize| index != 1 || self.count > 3;
        for (index, (pair, turn)) in self.pairs.iter_mut().zip(turns).enumerate() {
            if joined(index) && self.count > 1 {
                pair.value *= float::exp(turn.log_return);
                pair.spread_fee *= turn.spread;
                pair.carry_fee *= turn.carry;
                pair.realized_pnl += turn.realized;
                pair.unrealized_pnl = turn.unrealized;
                pair.status = turn.status;
            }
        }
        let pairs = self.pairs.iter().enumerate().filter(|(index, _)| joined(*index));
        (at(self.now), pairs.map(|(_, pair)| *pair).collect())
    }
}

fn run(rules: &LedgerRules, bundle: &mut Bundle, trader: &mut Trader, steps: &[Step]) {
    for step in steps {
        let (at, pairs) = trader.turn(step);
        bundle.sample(rules, at, &pairs).unwrap();
    }
}

fn close(left: f64, right: f64) -> bool {
    (left - right).abs() <= 1e-9 * left.abs().max(right.abs())
}

fn check_cells(ledger: &Ledger, span: i64) {
    let cells: Vec<_> = ledger.cells().collect();
    for two in cells.windows(2) {
        assert_eq!(i64::from(two[0].accum_ms), span, "complete cells cover their half-day");
        assert_eq!(two[0].last_update.0 % span, 0, "and end on a boundary");
        assert_eq!(two[1].start(), two[0].last_update, "and the next one begins there");
    }
    for cell in &cells {
        assert!(cell.gain >= 0.0 && cell.loss <= 0.0);
        assert!(cell.spread_fee_loss <= 0.0 && cell.carry_fee_loss <= 0.0);
        assert!(cell.worst_drawdown > 0.0 && cell.worst_drawdown <= 1.0);
        assert!(cell.open_ms <= cell.accum_ms && i64::from(cell.accum_ms) <= span);
        assert!(cell.peak_ms <= cell.accum_ms && cell.peak >= cell.value);
    }
    let peak = cells.iter().map(|cell| cell.peak).fold(1.0, f64::max);
    assert_eq!(ledger.peak().value, peak, "the peak is that of the retained cells");
    let worst = cells.iter().map(|cell| cell.worst_drawdown).fold(1.0, f64::min);
    assert_eq!(ledger.worst_drawdown(), Some(worst), "and so is the worst drawdown");
    let worst = ledger.worst().unwrap();
    assert!(worst.peak.at <= worst.trough.at);
}

proptest! {
    #[test]
    fn cells_are_contiguous_and_their_numbers_in_range(steps in steps()) {
        let (mut bundle, mut trader) = (Bundle::new(at(7 * HOUR_MS)), Trader::new());
        run(&rules(), &mut bundle, &mut trader, &steps);
        for ledger in bundle.pairs().map(|(_, ledger)| ledger).chain([bundle.portfolio()]) {
            check_cells(ledger, 12 * HOUR_MS);
            prop_assert_eq!(ledger.last_update(), bundle.last_update());
            let sum: f64 = ledger.cells().map(Cell::log_return).sum();
            prop_assert!(close(float::exp(sum), ledger.value()), "log returns add up");
        }
    }

    #[test]
    fn a_portfolio_is_the_product_of_its_pairs_at_all_times(steps in steps()) {
        let rules = rules();
        let (mut bundle, mut trader) = (Bundle::new(at(7 * HOUR_MS)), Trader::new());
        for step in &steps {
            run(&rules, &mut bundle, &mut trader, std::slice::from_ref(step));
            let of = |field: fn(&Cell) -> f64| -> (f64, Vec<f64>) {
                let current = |ledger: &Ledger| field(ledger.current().unwrap());
                (current(bundle.portfolio()), bundle.pairs().map(|(_, l)| current(l)).collect())
            };
            for field in [|c: &Cell| c.value, |c: &Cell| c.spread_fee, |c: &Cell| c.carry_fee] {
                let (whole, parts) = of(field);
                prop_assert!(close(whole, parts.iter().product()));
            }
            let (whole, parts) = of(|cell| cell.realized_pnl_total);
            prop_assert!((whole - parts.iter().sum::<f64>()).abs() < 1e-6);
        }
    }

    #[test]
    fn a_window_holds_no_more_than_its_time(steps in steps(), days in 1..4_i64) {
        let rules = rules_with_window(days);
        let (mut bundle, mut trader) = (Bundle::new(at(7 * HOUR_MS)), Trader::new());
        for step in &steps {
            run(&rules, &mut bundle, &mut trader, std::slice::from_ref(step));
            let cells = bundle.portfolio().cells();
            let covered: i64 = cells.map(|cell| i64::from(cell.accum_ms)).sum();
            prop_assert!(covered <= days * DAY_MS);
        }
        check_cells(bundle.portfolio(), 12 * HOUR_MS);
    }

    #[test]
    fn a_restart_changes_nothing(steps in steps(), split in 0..60_usize, days in 1..5_i64) {
        let rules = rules_with_window(days);
        let (before, after) = steps.split_at(split.min(steps.len()));
        let (mut bundle, mut trader) = (Bundle::new(at(7 * HOUR_MS)), Trader::new());
        run(&rules, &mut bundle, &mut trader, before);
        let bytes = borsh::to_vec(&bundle).unwrap();
        let mut restarted: Bundle = borsh::from_slice(&bytes).unwrap();
        prop_assert_eq!(restarted.digest(), bundle.digest());
        let mut other = Trader { pairs: trader.pairs.clone(), ..trader };
        run(&rules, &mut bundle, &mut trader, after);
        run(&rules, &mut restarted, &mut other, after);
        prop_assert_eq!(borsh::to_vec(&restarted).unwrap(), borsh::to_vec(&bundle).unwrap());
        prop_assert_eq!(restarted.digest(), bundle.digest());
        prop_assert_eq!(restarted, bundle);
    }

    #[test]
    fn rewinding_and_telling_anew_what_follows_is_as_if_never_rewound_8_4(
        steps in steps(),
        split in 0..60_usize,
        days in 3..60_i64,
    ) {
        let rules = rules_with_window(days);
        let (before, after) = steps.split_at(split.min(steps.len()));
        let (mut bundle, mut trader) = (Bundle::new(at(7 * HOUR_MS)), Trader::new());
        run(&rules, &mut bundle, &mut trader, before);
        let (point, stood) = (bundle.point(), bundle.clone());
        let mut again = Trader { pairs: trader.pairs.clone(), ..trader };
        let oldest = |bundle: &Bundle| bundle.portfolio().cells().next().map(Cell::start);
        let mut first = oldest(&bundle);
        for step in after {
            run(&rules, &mut bundle, &mut trader, std::slice::from_ref(step));
            first = first.or(oldest(&bundle));
        }
        let whole = bundle.portfolio().digest();
        // Cells that have left the window meanwhile do not come back.
        let begun = oldest(&stood).or(first);
        prop_assume!(begun.is_none() || begun == oldest(&bundle));
        let mut rewound = bundle.rewound(&point);
        prop_assert_eq!(&rewound, &stood);
        run(&rules, &mut rewound, &mut again, after);
        prop_assert_eq!(rewound.portfolio().digest(), whole);
        prop_assert_eq!(rewound, bundle);
    }
}
