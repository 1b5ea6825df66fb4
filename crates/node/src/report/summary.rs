//! `Summary`: what a run came to, account by account, as values, as tables and as files.

use std::collections::BTreeMap;
use std::fmt;

use proctor_engine::account::Account;
use proctor_engine::challenge_period::Stage;
use proctor_engine::{View, eliminations, ledgers};
use proctor_types::{Digest, TraderId, UtcMs};
use serde::Serialize;

use super::table::{Align, Table, count, percent};
use super::{OutputDir, OutputError};
use crate::tally::{RestingTally, Tally};

/// How many accounts the table of accounts shows from its top and from its bottom.
const ACCOUNTS_SHOWN: usize = 8;
/// How many verdicts the table of verdicts shows.
const VERDICTS_SHOWN: usize = 12;

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The last commit.
    pub commit: u64,
    /// Its time, in ms since 1970 UTC.
    pub as_of_ms: UtcMs,
    /// The state digest after it, hexadecimal.
    pub digest: String,
    /// Hash of the rulebook in force, hexadecimal.
    pub rulebook: String,
    /// Orders that were accepted.
    pub orders_accepted: u64,
    /// Limit and bracket orders.
    pub resting: RestingTally,
    /// Orders that were refused, by code.
    pub orders_refused: BTreeMap<&'static str, u64>,
    /// Other inputs that were refused, by code.
    pub inputs_refused: BTreeMap<&'static str, u64>,
    /// Price records that were not taken, by code.
    pub quotes_refused: BTreeMap<String, u64>,
    /// Positions that were closed.
    pub positions_closed: u64,
    /// Traders by stage.
    pub stages: BTreeMap<&'static str, u64>,
    /// Every account, best value first, ties by trader.
    pub accounts: Vec<AccountLine>,
}

/// What an account came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AccountLine {
    /// Whose.
    pub trader: TraderId,
    /// Account size in USD at the end.
    pub account_size_usd: f64,
    /// The stage at the end; absent for who has ended or left.
    pub stage: Option<&'static str>,
    /// Orders accepted.
    pub accepted: u64,
    /// Orders refused.
    pub refused: u64,
    /// Positions closed.
    pub closed: u64,
    /// Positions open at the end.
    pub open: usize,
    /// Value of the portfolio as a multiple of its start, after fees; 1 before the first order.
    pub value: f64,
    /// Realised profit and loss, USD.
    pub realized_pnl_usd: f64,
    /// Product of the spread fee factors: 1 is no fee.
    pub spread_fee: f64,
    /// Product of the carry fee factors: 1 is no fee.
    pub carry_fee: f64,
    /// The worst fall in the ledger's window.
    pub drawdown: Option<DrawdownLine>,
    /// The end of the account, if it has ended.
    pub elimination: Option<EliminationLine>,
}

/// A fall from a peak.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DrawdownLine {
    /// What was left of the peak: 0.9 is ten per cent down.
    pub ratio: f64,
    /// When the fall began.
    pub from_ms: UtcMs,
    /// When it was deepest.
    pub to_ms: UtcMs,
}

/// The end of an account.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EliminationLine {
    /// Why.
    pub reason: eliminations::Reason,
    /// The rule that was broken.
    pub rule: &'static str,
    /// The commit that decided.
    pub commit: u64,
    /// Its time, in ms since 1970 UTC.
    pub at_ms: UtcMs,
    /// What was lost of the peak, in per cent; absent when the verdict does not rest on a fall.
    pub drawdown_percent: Option<f64>,
}

impl Summary {
    /// Returns the summary of the run that `tally` counted and `view` is the end of.
    #[must_use]
    pub fn of(tally: &Tally, view: &View) -> Self {
        let rulebook = view.rulebook_in_force().map(|adopted| adopted.hash).unwrap_or_default();
        let mut accounts: Vec<AccountLine> =
            view.accounts.iter().map(|account| line(account, tally, view)).collect();
        accounts.sort_by(|a, b| b.value.total_cmp(&a.value).then_with(|| a.trader.cmp(&b.trader)));
        Self {
            commit: view.stamp.commit,
            as_of_ms: view.stamp.at,
            digest: view.digest.to_string(),
            rulebook: Digest::to_string(&rulebook),
            orders_accepted: tally.accepted,
            resting: tally.resting.clone(),
            orders_refused: tally.refused.clone(),
            inputs_refused: tally.inputs_refused.clone(),
            quotes_refused: tally.quotes_refused.clone(),
            positions_closed: tally.closed.len() as u64,
            stages: stages(view),
            accounts,
        }
    }

    /// Adds the files of this summary to `out`.
    ///
    /// # Errors
    /// [`OutputError`] when they cannot be written.
    pub fn write(&self, out: &mut OutputDir) -> Result<(), OutputError> {
        out.json("summary.json", self)?;
        let columns = [
            "trader",
            "account_size_usd",
            "stage",
            "accepted",
            "refused",
            "closed",
            "open",
            "value",
            "realized_pnl_usd",
            "spread_fee",
            "carry_fee",
            "drawdown_ratio",
            "drawdown_from_ms",
            "drawdown_to_ms",
            "eliminated",
            "eliminated_commit",
            "eliminated_ms",
        ];
        out.csv("accounts.csv", columns, self.accounts.iter().map(AccountLine::csv))
    }

    fn totals(&self) -> Table<2> {
        let mut table = Table::new([("orders", Align::Left), ("number", Align::Right)]);
        table.row(["accepted".into(), count(self.orders_accepted)]);
        let resting = &self.resting;
        for (what, number) in [
            ("limit orders that waited", resting.limits),
            ("limit orders filled", resting.limits_filled),
            ("brackets that waited", resting.brackets),
            ("brackets filled", resting.brackets_filled),
        ] {
            if number > 0 {
                table.row([what.into(), count(number)]);
            }
        }
        for (code, number) in &resting.cancelled {
            table.row([format!("waited and cancelled: {code}"), count(*number)]);
        }
        for (code, number) in &resting.brackets_refused {
            table.row([format!("filled without the bracket: {code}"), count(*number)]);
        }
        for (code, number) in &self.orders_refused {
            table.row([format!("refused: {code}"), count(*number)]);
        }
        for (code, number) in &self.quotes_refused {
            table.row([format!("price records refused: {code}"), count(*number)]);
        }
        for (code, number) in &self.inputs_refused {
            table.row([format!("other inputs refused: {code}"), count(*number)]);
        }
        table
    }

    fn accounts_table(&self) -> Table<9> {
        let mut table = Table::new([
            ("trader", Align::Left),
            ("orders", Align::Right),
            ("refused", Align::Right),
            ("closed", Align::Right),
            ("open", Align::Right),
            ("return", Align::Right),
            ("fees", Align::Right),
            ("drawdown", Align::Right),
            ("from .. to", Align::Left),
        ]);
        let traded: Vec<&AccountLine> = self.accounts.iter().filter(|a| a.accepted > 0).collect();
        let hidden = traded.len().saturating_sub(2 * ACCOUNTS_SHOWN);
        for (place, account) in traded.iter().enumerate() {
            if hidden > 0 && place == ACCOUNTS_SHOWN {
                let mut dots = [const { String::new() }; 9];
                dots[0] = format!("... {hidden} more ...");
                table.row(dots);
            }
            if hidden == 0 || place < ACCOUNTS_SHOWN || place >= ACCOUNTS_SHOWN + hidden {
                table.row(account.cells());
            }
        }
        table
    }

    fn reasons(&self) -> BTreeMap<eliminations::Reason, u64> {
        let mut reasons = BTreeMap::new();
        for ended in self.accounts.iter().filter_map(|account| account.elimination.as_ref()) {
            *reasons.entry(ended.reason).or_default() += 1;
        }
        reasons
    }

    fn verdicts(&self) -> Table<6> {
        let mut table = Table::new([
            ("time", Align::Left),
            ("commit", Align::Right),
            ("trader", Align::Left),
            ("reason", Align::Left),
            ("rule", Align::Left),
            ("loss", Align::Right),
        ]);
        let mut ended: Vec<(&TraderId, &EliminationLine)> = self
            .accounts
            .iter()
            .filter_map(|account| Some((&account.trader, account.elimination.as_ref()?)))
            .collect();
        ended.sort_by_key(|(trader, line)| (line.commit, *trader));
        for (trader, line) in ended.into_iter().take(VERDICTS_SHOWN) {
            table.row([
                line.at_ms.to_string(),
                line.commit.to_string(),
                trader.to_string(),
                line.reason.to_string(),
                line.rule.into(),
                line.drawdown_percent.map_or_else(String::new, |lost| format!("{lost:.2} %")),
            ]);
        }
        table
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.totals())?;
        let traded = self.accounts.iter().filter(|account| account.accepted > 0).count();
        let (known, positions) = (self.accounts.len(), count(self.positions_closed));
        writeln!(f, "{known} accounts, {traded} traded, {positions} positions closed")?;
        let stages: Vec<String> =
            self.stages.iter().map(|(stage, n)| format!("{stage} {}", count(*n))).collect();
        writeln!(f, "stages: {}\n", stages.join(", "))?;
        writeln!(f, "{}", self.accounts_table())?;
        let reasons = self.reasons();
        if reasons.is_empty() {
            writeln!(f, "no account was eliminated\n")?;
        } else {
            let total: u64 = reasons.values().sum();
            let parts: Vec<String> = reasons.iter().map(|(why, n)| format!("{why} {n}")).collect();
            writeln!(f, "{total} accounts were eliminated: {}; the first:\n", parts.join(", "))?;
            writeln!(f, "{}", self.verdicts())?;
        }
        writeln!(f, "commit    {} ({})", self.commit, self.as_of_ms)?;
        writeln!(f, "rulebook  {}", self.rulebook)?;
        writeln!(f, "digest    {}", self.digest)
    }
}

impl AccountLine {
    fn cells(&self) -> [String; 9] {
        let fees = 1.0 - self.spread_fee * self.carry_fee;
        let (fall, span) = match &self.drawdown {
            Some(fall) => (
                percent(1.0 - fall.ratio, 2),
                format!("{} .. {}", minute(fall.from_ms), minute(fall.to_ms)),
            ),
            None => (String::new(), String::new()),
        };
        [
            self.trader.to_string(),
            count(self.accepted),
            count(self.refused),
            count(self.closed),
            count(self.open as u64),
            percent(self.value - 1.0, 2),
            percent(fees, 2),
            fall,
            span,
        ]
    }

    fn csv(&self) -> [String; 17] {
        let ended = self.elimination.as_ref();
        let or_empty = |text: Option<String>| text.unwrap_or_default();
        [
            self.trader.to_string(),
            self.account_size_usd.to_string(),
            self.stage.unwrap_or("").to_owned(),
            self.accepted.to_string(),
            self.refused.to_string(),
            self.closed.to_string(),
            self.open.to_string(),
            self.value.to_string(),
            self.realized_pnl_usd.to_string(),
            self.spread_fee.to_string(),
            self.carry_fee.to_string(),
            or_empty(self.drawdown.map(|fall| fall.ratio.to_string())),
            or_empty(self.drawdown.map(|fall| fall.from_ms.0.to_string())),
            or_empty(self.drawdown.map(|fall| fall.to_ms.0.to_string())),
            or_empty(ended.map(|line| line.reason.to_string())),
            or_empty(ended.map(|line| line.commit.to_string())),
            or_empty(ended.map(|line| line.at_ms.0.to_string())),
        ]
    }
}

fn line(account: &Account, tally: &Tally, view: &View) -> AccountLine {
    let counts = tally.traders.get(&account.trader).copied().unwrap_or_default();
    let size = view
        .rulebook_of(account)
        .map_or(0.0, |adopted| account.terms.size(&adopted.rules, view.stamp.at).get());
    let portfolio = account.ledgers.as_ref().map(ledgers::Bundle::portfolio);
    let cell = portfolio.and_then(|ledger| ledger.current());
    // Of an account that has ended, the fall that the verdict was taken on: the flat orders made it
    // a little deeper afterwards.
    let verdict_on = account.elimination.as_ref().and_then(|record| record.fall);
    let fall = verdict_on.or_else(|| portfolio.and_then(|ledger| ledger.worst()));
    let drawdown = fall.map(|fall| DrawdownLine {
        ratio: fall.ratio(),
        from_ms: fall.peak.at,
        to_ms: fall.trough.at,
    });
    let elimination = account.elimination.as_ref().map(|record| EliminationLine {
        reason: record.reason,
        rule: record.reason.rule(),
        commit: record.stamp.commit,
        at_ms: record.stamp.at,
        drawdown_percent: record.fall.map(|fall| ledgers::drawdown::percent_reported(fall.ratio())),
    });
    // A liquidated account is worth nothing; its ledger ends with the last value that had a
    // logarithm.
    let liquidated = account
        .elimination
        .as_ref()
        .is_some_and(|record| record.reason == eliminations::Reason::Liquidated);
    AccountLine {
        trader: account.trader.clone(),
        account_size_usd: size,
        stage: account.standing.map(|standing| standing.stage.name()),
        accepted: counts.accepted,
        refused: counts.refused,
        closed: counts.closed,
        open: account.book.open_positions().count(),
        value: if liquidated { 0.0 } else { cell.map_or(1.0, |cell| cell.value) },
        realized_pnl_usd: cell.map_or(0.0, |cell| cell.realized_pnl_total),
        spread_fee: cell.map_or(1.0, |cell| cell.spread_fee),
        carry_fee: cell.map_or(1.0, |cell| cell.carry_fee),
        drawdown,
        elimination,
    }
}

/// Returns how many traders are in each stage.
fn stages(view: &View) -> BTreeMap<&'static str, u64> {
    Stage::ALL.map(|stage| (stage.name(), view.in_stage(stage).count() as u64)).into()
}

/// Returns `at` to the minute: `2026-01-05 00:46`.
fn minute(at: UtcMs) -> String {
    let text = at.to_string();
    text.get(..16).map_or(text.clone(), |text| text.replace('T', " "))
}
