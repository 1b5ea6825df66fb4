//! Segmentation: the ledgers of a trader's pairs of one class, merged into one (S-20).
//!
//! Of a cell that several pairs have, flows are summed in the order of the pairs. Levels cannot be
//! summed: by the right reading values and fee products are multiplied, as the portfolio's are, and
//! the worst drawdown is the deepest; the reference keeps those of the first pair.

use proctor_types::{AssetClass, UtcMs};

use super::Ledgers;
use super::days::{Calendar, Reading, Record};
use crate::ledgers::{Cell, Ledger};
use crate::rulebook::{ClassDrawdown, Rulebook};

/// Returns what the ledgers of a trader say of `class`; the empty record for one not traded.
pub(super) fn class_record(
    rulebook: &Rulebook,
    calendar: Calendar<'_>,
    class: AssetClass,
    ledgers: &Ledgers<'_>,
) -> Record {
    let of_class = ledgers.pairs.iter().filter(|(pair, _)| pair.class() == class);
    let longest = of_class.map(|(_, ledger)| ledger.len()).max().unwrap_or(0);
    let mut reading = Reading::new(rulebook, calendar, longest);
    merged_cells(rulebook.switches.merge_class_mdd, class, ledgers, |cell| reading.take(cell));
    reading.finish()
}

/// Tells `visit` each cell of `class`, oldest first, as a ledger of the whole class would have it.
pub fn merged_cells(
    switch: ClassDrawdown,
    class: AssetClass,
    ledgers: &Ledgers<'_>,
    mut visit: impl FnMut(&Cell),
) {
    let mut of_class = ledgers.pairs.iter().filter(|(pair, _)| pair.class() == class);
    let (first, second) = (of_class.next(), of_class.next());
    match (first, second) {
        (None, _) => {}
        (Some((_, only)), None) => only.cells().for_each(visit),
        (Some(_), Some(_)) => {
            let of_class = ledgers.pairs.iter().filter(|(pair, _)| pair.class() == class);
            let mut rows: Vec<_> = of_class.map(|(_, ledger)| cells(ledger).peekable()).collect();
            let earliest = |end: Option<UtcMs>, cell: &Cell| {
                Some(end.map_or(cell.last_update, |end| end.min(cell.last_update)))
            };
            while let Some(end) =
                rows.iter_mut().filter_map(|row| row.peek().copied()).fold(None, earliest)
            {
                let mut whole: Option<Cell> = None;
                for row in &mut rows {
                    while let Some(cell) = row.next_if(|cell| cell.last_update == end) {
                        match &mut whole {
                            None => whole = Some(*cell),
                            Some(whole) => add(switch, whole, cell),
                        }
                    }
                }
                if let Some(whole) = whole {
                    visit(&whole);
                }
            }
        }
    }
}

/// Gives the rows of a merge one type.
fn cells(ledger: &Ledger) -> impl Iterator<Item = &Cell> {
    ledger.cells()
}

fn add(switch: ClassDrawdown, whole: &mut Cell, part: &Cell) {
    whole.n_updates = whole.n_updates.saturating_add(part.n_updates);
    whole.gain += part.gain;
    whole.loss += part.loss;
    whole.spread_fee_loss += part.spread_fee_loss;
    whole.carry_fee_loss += part.carry_fee_loss;
    whole.realized_pnl += part.realized_pnl;
    whole.unrealized_pnl += part.unrealized_pnl;
    if switch == ClassDrawdown::FirstPair {
        return;
    }
    whole.realized_pnl_total += part.realized_pnl_total;
    whole.unrealized_pnl_total += part.unrealized_pnl_total;
    whole.value *= part.value;
    whole.spread_fee *= part.spread_fee;
    whole.carry_fee *= part.carry_fee;
    whole.worst_drawdown = whole.worst_drawdown.min(part.worst_drawdown);
    whole.peak = whole.peak.max(part.peak);
    whole.accum_ms = whole.accum_ms.max(part.accum_ms);
    whole.open_ms = whole.open_ms.max(part.open_ms);
}

#[cfg(test)]
mod tests {
    use proctor_types::TradePair;

    use super::*;
    use crate::rulebook::Switches;
    use crate::scoring::days::ForexDays;
    use crate::scoring::tests::{cells, close, ledger, rules};

    fn pair(id: &str) -> TradePair {
        TradePair::from_id(id).unwrap()
    }

    fn merged(switch: ClassDrawdown, class: AssetClass, pairs: &[(&str, &Ledger)]) -> Vec<Cell> {
        let pairs = pairs.iter().map(|(id, ledger)| (pair(id), *ledger)).collect();
        let mut merged = Vec::new();
        merged_cells(switch, class, &Ledgers { portfolio: None, pairs }, |cell| merged.push(*cell));
        merged
    }

    #[test]
    fn s_20_cells_of_the_same_end_are_summed_and_others_stand_in_order_of_time() {
        let bitcoin = ledger(&cells(0, &[(0.01, 10.0), (0.02, 20.0)]));
        let ether = ledger(&cells(1, &[(-0.005, -1.0), (0.03, 3.0)]));
        let euro = ledger(&cells(0, &[(0.5, 500.0)]));
        let pairs = [("BTCUSD", &bitcoin), ("ETHUSD", &ether), ("EURUSD", &euro)];
        let whole = merged(ClassDrawdown::Worst, AssetClass::Crypto, &pairs);
        assert!(whole.is_sorted_by_key(|cell| cell.last_update));
        let profits: Vec<f64> = whole.iter().map(|cell| cell.realized_pnl).collect();
        assert_eq!(profits, [10.0, 0.0, 19.0, 0.0, 3.0, 0.0]);
        close(whole[2].gain, 0.02);
        close(whole[2].loss, -0.005);
    }

    #[test]
    fn s_20_a_class_falls_as_deep_as_its_worst_pair_and_in_parity_as_the_first() {
        let mut of_bitcoin = cells(0, &[(0.0, 0.0)]);
        let mut of_ether = of_bitcoin.clone();
        of_bitcoin[1] = Cell { worst_drawdown: 0.97, value: 1.1, open_ms: 5, ..of_bitcoin[1] };
        of_ether[1] = Cell {
            worst_drawdown: 0.91,
            value: 0.9,
            open_ms: 7,
            unrealized_pnl_total: -40.0,
            ..of_ether[1]
        };
        let (bitcoin, ether) = (ledger(&of_bitcoin), ledger(&of_ether));
        let pairs = [("BTCUSD", &bitcoin), ("ETHUSD", &ether)];
        let levels = |switch| {
            let cell = merged(switch, AssetClass::Crypto, &pairs)[1];
            (cell.worst_drawdown, cell.value, cell.open_ms, cell.unrealized_pnl_total)
        };
        assert_eq!(levels(ClassDrawdown::Worst), (0.91, 1.1 * 0.9, 7, -40.0));
        assert_eq!(levels(ClassDrawdown::FirstPair), (0.97, 1.1, 5, 0.0));
    }

    #[test]
    fn s_20_a_class_that_is_not_traded_has_no_cells_and_scores_as_such() {
        let bitcoin = ledger(&cells(0, &[(0.01, 10.0)]));
        let pairs = [("BTCUSD", &bitcoin)];
        assert!(merged(ClassDrawdown::Worst, AssetClass::Forex, &pairs).is_empty());
        let rulebook = rules();
        let forex = ForexDays::up_to(UtcMs(0), rulebook.ledger.window.value);
        let ledgers = Ledgers { portfolio: None, pairs: vec![(pair("BTCUSD"), &bitcoin)] };
        let record = class_record(&rulebook, Calendar::Forex(&forex), AssetClass::Forex, &ledgers);
        assert_eq!(record, Record::default());
        assert_eq!(Switches::PARITY.merge_class_mdd, ClassDrawdown::FirstPair);
    }
}
