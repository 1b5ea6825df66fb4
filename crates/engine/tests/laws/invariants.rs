//! What must hold of every account after every commit (trading 8.12).

use std::collections::BTreeSet;

use proctor_engine::View;
use proctor_engine::account::Account;
use proctor_engine::ledgers::{Bundle, Cell, Ledger};
use proctor_engine::limit_orders::Terms;
use proctor_engine::positions::position::Position;
use proctor_engine::rulebook::{CarryMode, LiquidatedSize, PricelessFlat, Rulebook};
use proctor_types::{SizeFields, float};

/// The cell of every rulebook that the generator knows, in ms.
const CELL: i64 = 43_200_000;

/// Checks every account of `view`.
pub(crate) fn check(view: &View) -> Result<(), String> {
    for account in &view.accounts {
        let rules = &view.rulebook_of(account).expect("accounts keep an adopted rulebook").rules;
        check_account(rules, account).map_err(|e| format!("{}: {e}", account.trader))?;
        let registered = view.roster.admit(&account.trader).is_ok();
        check_standing(account, registered).map_err(|e| format!("{}: {e}", account.trader))?;
    }
    Ok(())
}

fn check_account(rules: &Rulebook, account: &Account) -> Result<(), String> {
    for book in account.book.pairs() {
        if let Some(open) = &book.open {
            ensure(!open.is_closed(), || "a closed position counts as open".into())?;
            ensure(open.net_leverage() != 0.0, || "an open position holds nothing".into())?;
            check_position(rules, open)?;
        }
        for closed in book.closed().iter() {
            ensure(closed.is_closed(), || "an open position counts as closed".into())?;
            let flat = [closed.net_leverage(), closed.net_quantity(), closed.net_value()];
            let keeps_sizes =
                closed.is_liquidated() && rules.switches.liquidated_size == LiquidatedSize::AsWas;
            ensure(keeps_sizes || flat == [0.0; 3], || format!("closed, but holds {flat:?}"))?;
            check_position(rules, &closed)?;
        }
    }
    check_resting(rules, account)?;
    if account.elimination.is_some() {
        let resting = account.resting.orders().len();
        ensure(resting == 0, || format!("eliminated with {resting} resting orders"))?;
        let open = account.book.open_positions().count();
        ensure(open == 0, || format!("eliminated with {open} open positions"))?;
    }
    account.ledgers.as_ref().map_or(Ok(()), |ledgers| check_bundle(rules, ledgers))
}

/// I1 and I2: who is registered is in one stage or has ended, who is not is in none; and nobody is
/// in a stage and ended.
fn check_standing(account: &Account, registered: bool) -> Result<(), String> {
    let ended = account.elimination.is_some();
    ensure(account.standing.is_none_or(|standing| standing.is_sound()), || {
        format!("{:?} remembers a stage that it must not", account.standing)
    })?;
    ensure(account.standing.is_some() == (registered && !ended), || {
        format!("registered {registered}, ended {ended}, and stands {:?}", account.standing)
    })
}

/// Resting orders: no more than may be, no id twice, and every bracket's position is open (L-8).
fn check_resting(rules: &Rulebook, account: &Account) -> Result<(), String> {
    let orders = account.resting.orders();
    let most = usize::try_from(rules.limit_orders.resting_max.value).expect("a small number");
    ensure(orders.len() <= most, || format!("{} orders rest", orders.len()))?;
    let ids: BTreeSet<_> = orders.iter().map(|order| &order.id).collect();
    ensure(ids.len() == orders.len(), || format!("an id rests twice: {orders:?}"))?;
    let mut whole = BTreeSet::new();
    for order in orders {
        let Terms::Bracket { position, direction, size, .. } = &order.terms else { continue };
        let open = account.book.pair(order.pair).and_then(|book| book.open.as_ref());
        let bound = open.filter(|open| open.id() == position);
        let bound = bound.ok_or_else(|| format!("{}'s position is not open", order.id))?;
        let opened = bound.orders().first().map(|order| order.side);
        ensure(opened == Some(*direction), || format!("{} is on the wrong side", order.id))?;
        let again = *size == SizeFields::default() && !whole.insert(position);
        ensure(!again, || format!("{position} has two brackets for the whole of it"))?;
    }
    Ok(())
}

fn check_position(rules: &Rulebook, position: &Position) -> Result<(), String> {
    let times: Vec<i64> = position.orders().iter().map(|order| order.at.0).collect();
    ensure(times.is_sorted(), || format!("orders at {times:?}"))?;
    ensure(position.direction().is_some(), || "a position without a direction".into())?;
    if rules.switches.carry_mode == CarryMode::Calendar {
        let fees = [position.spread_fee(), position.carry_fee()];
        ensure(fees.iter().all(|fee| (0.0..=1.0).contains(fee)), || format!("fees {fees:?}"))?;
        let (before, after) = (position.current_return(), position.return_at_close());
        ensure(after <= before, || format!("fees made {before} to {after}"))?;
    }
    Ok(())
}

fn check_bundle(rules: &Rulebook, bundle: &Bundle) -> Result<(), String> {
    let portfolio = bundle.portfolio();
    check_ledger(rules, portfolio).map_err(|e| format!("portfolio ledger: {e}"))?;
    for (pair, ledger) in bundle.pairs() {
        check_ledger(rules, ledger).map_err(|e| format!("ledger of {pair}: {e}"))?;
        let (own, all) = (ledger.last_update(), portfolio.last_update());
        ensure(own == all, || format!("{pair} is at {own:?}, the portfolio at {all:?}"))?;
    }
    let Some(whole) = portfolio.current() else { return Ok(()) };
    let parts: Vec<&Cell> = bundle.pairs().filter_map(|(_, ledger)| ledger.current()).collect();
    let product = |of: fn(&Cell) -> f64| parts.iter().map(|cell| of(cell)).product::<f64>();
    // The reference's flat without a price takes fees back (M-3), and a ledger without open
    // positions does not look at its value (trading 8.7): there, and only there, they part.
    if rules.switches.priceless_flat == PricelessFlat::KeepMark {
        close("value", whole.value, product(|cell| cell.value), 1e-12)?;
    }
    close("spread fee", whole.spread_fee, product(|cell| cell.spread_fee), 1e-12)?;
    close("carry fee", whole.carry_fee, product(|cell| cell.carry_fee), 1e-12)?;
    let adds_up = |what: &str, whole: f64, of: fn(&Cell) -> f64| {
        let sum: f64 = parts.iter().map(|cell| of(cell)).sum();
        // Rounding is in proportion to the parts, which may cancel.
        let size: f64 = parts.iter().map(|cell| of(cell).abs()).sum();
        let apart = (whole - sum).abs();
        ensure(apart <= size * 1e-12, || format!("{what} is {whole}, its parts make {sum}"))
    };
    adds_up("realized pnl", whole.realized_pnl_total, |cell| cell.realized_pnl_total)?;
    adds_up("unrealized pnl", whole.unrealized_pnl_total, |cell| cell.unrealized_pnl_total)
}

fn check_ledger(rules: &Rulebook, ledger: &Ledger) -> Result<(), String> {
    let cells: Vec<&Cell> = ledger.cells().collect();
    let complete = cells.len().saturating_sub(1);
    for (place, cell) in cells.iter().enumerate() {
        if place < complete {
            let end = cell.last_update.0;
            ensure(end % CELL == 0, || format!("a complete cell ends at {end}"))?;
            ensure(i64::from(cell.accum_ms) == CELL, || format!("{} ms complete", cell.accum_ms))?;
        }
        if let Some(next) = cells.get(place + 1) {
            let (end, start) = (cell.last_update, next.start());
            ensure(end == start, || format!("a cell ends at {end}, the next begins at {start}"))?;
        }
        check_cell(rules, cell).map_err(|e| format!("cell {place} of {}: {e}", cells.len()))?;
    }
    // Until cells leave the window, the log returns since the beginning add up to the value.
    let since_the_first =
        cells.first().is_some_and(|first| first.start() <= ledger.initialized_at());
    if since_the_first {
        let sum: f64 = cells.iter().map(|cell| cell.log_return()).sum();
        let size: f64 = cells.iter().map(|cell| cell.gain - cell.loss).sum();
        let apart = (sum - float::ln(ledger.value())).abs();
        ensure(apart <= 1e-9 * (1.0 + size), || {
            format!("log returns {sum}, value {}", ledger.value())
        })?;
    }
    Ok(())
}

fn check_cell(rules: &Rulebook, cell: &Cell) -> Result<(), String> {
    ensure(cell.gain >= 0.0 && cell.loss <= 0.0, || {
        format!("gain {}, loss {}", cell.gain, cell.loss)
    })?;
    let worst = cell.worst_drawdown;
    ensure(worst > 0.0 && worst <= 1.0, || format!("worst drawdown {worst}"))?;
    let (open, accum) = (cell.open_ms, cell.accum_ms);
    ensure(open <= accum && i64::from(accum) <= CELL, || format!("open {open} of {accum} ms"))?;
    ensure(cell.value > 0.0 && cell.value <= cell.peak, || format!("{} above peak", cell.value))?;
    if rules.switches.carry_mode == CarryMode::Calendar {
        let (spread, carry) = (cell.spread_fee_loss, cell.carry_fee_loss);
        ensure(spread <= 0.0 && carry <= 0.0, || format!("fee losses {spread} and {carry}"))?;
    }
    Ok(())
}

fn close(what: &str, number: f64, expected: f64, tolerance: f64) -> Result<(), String> {
    // Products this small or great have no relative precision left.
    if !(1e-280..1e280).contains(&expected) || !(1e-280..1e280).contains(&number) {
        return Ok(());
    }
    let apart = ((number - expected) / expected).abs();
    ensure(apart <= tolerance, || format!("{what} is {number}, its parts make {expected}"))
}

fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(problem()) }
}
