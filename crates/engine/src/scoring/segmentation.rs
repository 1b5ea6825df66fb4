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
    let mut reading = Reading::new(rulebook, calendar);
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
