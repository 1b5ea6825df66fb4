//! The service Positions: positions, ledgers, leverage, and how far an account is from a breach.

pub mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use proctor_engine::account::Account;
use proctor_engine::{Rulebook, View};
use proctor_rpc::v1::positions_server::Positions;
use proctor_rpc::{Problem, Reason, v1};
use proctor_sequencer::Applied;
use proctor_types::{PositionId, Stamp, TraderId, UtcMs};
use tonic::{Request, Response, Status};

use crate::backend::Backend;
use crate::paging::{self, List, Place};
use crate::watch::{Changes, Gate, Stream, stream};
use crate::{health, parse};

/// Positions or accounts of a page that says nothing of its size.
const ROWS: usize = 100;
/// Ledger cells of a page that says nothing of its size: the whole window.
const CELLS: usize = 240;

/// The service Positions.
#[derive(Clone, Debug)]
pub struct PositionsService {
    backend: Backend,
    gate: Gate,
}

impl PositionsService {
    /// Returns the service; `gate` bounds its watchers.
    #[must_use]
    pub fn new(backend: Backend, gate: Gate) -> Self {
        Self { backend, gate }
    }

    fn list(
        &self,
        request: &v1::ListPositionsRequest,
    ) -> Result<v1::ListPositionsResponse, Problem> {
        let trader = request.trader.as_deref().map(|text| parse::trader("trader", text));
        let trader = trader.transpose()?;
        let pair = request.pair.as_deref().map(|text| parse::pair("pair", text)).transpose()?;
        let (open, closed) = match v1::PositionState::try_from(request.state) {
            Ok(v1::PositionState::Unspecified) => (true, true),
            Ok(v1::PositionState::Open) => (true, false),
            Ok(v1::PositionState::Closed) => (false, true),
            Err(_) => {
                let text = format!("{} is no state of a position", request.state);
                return Err(Problem::invalid("state", text));
            }
        };
        let wanted = view::Wanted { open, closed, pair };
        let size = paging::size(request.page_size, ROWS)?;
        let after = place(List::Positions, &request.page_token, trader.as_ref())?;
        let view = self.backend.read()?;
        let (positions, next_page_token) = if let Some(trader) = &trader {
            let account = account_of(&view, trader)?;
            view::positions(std::iter::once(account), wanted, after.as_ref(), size)
        } else {
            let first = after.as_ref().map(|place| &place.trader);
            view::positions(
                view::accounts_from(&view, first, |_| true),
                wanted,
                after.as_ref(),
                size,
            )
        };
        Ok(v1::ListPositionsResponse {
            as_of: Some(self.backend.as_of(&view)),
            positions,
            next_page_token,
        })
    }

    fn get(&self, request: &v1::GetPositionRequest) -> Result<v1::GetPositionResponse, Problem> {
        let trader = parse::trader("trader", &request.trader)?;
        let id = PositionId::new(&request.position_id)
            .map_err(|error| Problem::invalid("position_id", error))?;
        let view = self.backend.read()?;
        let account = account_of(&view, &trader)?;
        let found = view::find(account, &id).ok_or_else(|| {
            let text = format!("{trader} has no position {id}, or it is no longer kept");
            Problem { field: Some("position_id".into()), ..Problem::new(Reason::NotFound, text) }
        })?;
        Ok(v1::GetPositionResponse {
            as_of: Some(self.backend.as_of(&view)),
            position: Some(view::position_with_orders(&trader, &found)),
        })
    }

    fn leverage(
        &self,
        request: &v1::TraderRequest,
    ) -> Result<v1::GetPortfolioLeverageResponse, Problem> {
        let trader = parse::trader("trader", &request.trader)?;
        let view = self.backend.read()?;
        let account = account_of(&view, &trader)?;
        let (leverage, cap) = view::leverage(rules_of(&view, account)?, account, view.stamp.at);
        let as_of = Some(self.backend.as_of(&view));
        Ok(v1::GetPortfolioLeverageResponse { as_of, leverage, cap })
    }

    fn ledger(&self, request: &v1::GetLedgerRequest) -> Result<v1::GetLedgerResponse, Problem> {
        let trader = parse::trader("trader", &request.trader)?;
        let pair = request.pair.as_deref().map(|text| parse::pair("pair", text)).transpose()?;
        let size = paging::size(request.page_size, CELLS)?;
        let view = self.backend.read()?;
        let account = account_of(&view, &trader)?;
        let ledger = account.ledgers.as_ref().and_then(|ledgers| match pair {
            Some(pair) => ledgers.pair(pair),
            None => Some(ledgers.portfolio()),
        });
        // Who has not traded has a ledger without cells.
        let (cells, more) = ledger
            .map(|ledger| view::cells(ledger, UtcMs(request.after_ms), size))
            .unwrap_or_default();
        Ok(v1::GetLedgerResponse { as_of: Some(self.backend.as_of(&view)), cells, more })
    }

    fn account(&self, request: &v1::TraderRequest) -> Result<v1::GetAccountResponse, Problem> {
        let trader = parse::trader("trader", &request.trader)?;
        let view = self.backend.read()?;
        let account = account_of(&view, &trader)?;
        let account = view::account(&view, rules_of(&view, account)?, account);
        Ok(v1::GetAccountResponse {
            as_of: Some(self.backend.as_of(&view)),
            account: Some(account),
        })
    }

    fn accounts(
        &self,
        request: &v1::ListAccountsRequest,
    ) -> Result<v1::ListAccountsResponse, Problem> {
        let size = paging::size(request.page_size, ROWS)?;
        let after = place(List::Accounts, &request.page_token, None)?.map(|place| place.trader);
        let view = self.backend.read()?;
        let behind = |account: &Account| after.as_ref().is_none_or(|after| account.trader > *after);
        let mut missing = None;
        let rows = view::accounts_from(&view, after.as_ref(), behind).map_while(|account| {
            let rules = rules_of(&view, account).map_err(|problem| missing = Some(problem)).ok()?;
            Some((&account.trader, view::account(&view, rules, account)))
        });
        let (accounts, last) = paging::fill(rows, size);
        if let Some(problem) = missing {
            return Err(problem);
        }
        let token = last.map(|trader| List::Accounts.token(trader, ""));
        let next_page_token = token.unwrap_or_default();
        let as_of = Some(self.backend.as_of(&view));
        Ok(v1::ListAccountsResponse { as_of, accounts, next_page_token })
    }
}

/// Returns the account of `trader`.
pub(crate) fn account_of<'a>(view: &'a View, trader: &TraderId) -> Result<&'a Account, Problem> {
    view.account(trader).ok_or_else(|| Problem::unknown_trader(trader.as_str()))
}

fn rules_of<'a>(view: &'a View, account: &Account) -> Result<&'a Rulebook, Problem> {
    view.rulebook_of(account).map(|adopted| &adopted.rules).ok_or_else(|| {
        let text = format!("the rulebook of {} is missing from the state", account.trader);
        Problem::new(Reason::Internal, text)
    })
}

/// Returns the place of a page token, which must be one of the list of `trader` where one is named.
pub(crate) fn place(
    list: List,
    token: &str,
    trader: Option<&TraderId>,
) -> Result<Option<Place>, Problem> {
    let place = list.place(token)?;
    match (&place, trader) {
        (Some(place), Some(trader)) if place.trader != *trader => {
            Err(Problem::invalid("page_token", "is of the list of another trader"))
        }
        _ => Ok(place),
    }
}

/// What a watcher of positions is told.
struct PositionChanges {
    backend: Backend,
    trader: Option<TraderId>,
}

impl PositionChanges {
    fn message(&self, stamp: Stamp, changed: Vec<v1::Position>) -> v1::WatchPositionsResponse {
        v1::WatchPositionsResponse { as_of: Some(self.backend.at(stamp)), gap: None, changed }
    }
}

impl Changes for PositionChanges {
    type Message = v1::WatchPositionsResponse;

    /// All positions of all traders are no message: who begins, or begins again, lists them in pages
    /// after this one, and misses nothing, since every later change is told.
    fn reset(&mut self, view: &View, gap: Option<v1::Gap>) -> Self::Message {
        v1::WatchPositionsResponse { gap, ..self.message(view.stamp, Vec::new()) }
    }

    fn change(&mut self, applied: &Applied, view: &View) -> Option<Self::Message> {
        let changed = view::changed(view, &applied.events, self.trader.as_ref());
        // As of the commit that changed them, so that who resumes there is told the later changes.
        (!changed.is_empty()).then(|| self.message(applied.stamp, changed))
    }

    fn heartbeat(&mut self, stamp: Stamp) -> Self::Message {
        self.message(stamp, Vec::new())
    }

    fn bytes(message: &Self::Message) -> usize {
        proctor_rpc::encoded_len(message)
    }
}

type Answer<M> = Result<Response<M>, Status>;

#[tonic::async_trait]
impl Positions for PositionsService {
    type WatchStream = Stream<v1::WatchPositionsResponse>;

    async fn health_check(
        &self,
        _: Request<v1::HealthCheckRequest>,
    ) -> Answer<v1::HealthCheckResponse> {
        let view: Arc<View> = self.backend.views().latest();
        let open = view.accounts.iter().map(|account| account.book.open_positions().count()).sum();
        let details =
            BTreeMap::from([("num_accounts", view.accounts.len()), ("num_open_positions", open)]);
        Ok(Response::new(health::check(&self.backend, "positions", details)))
    }

    async fn list_positions(
        &self,
        request: Request<v1::ListPositionsRequest>,
    ) -> Answer<v1::ListPositionsResponse> {
        Ok(Response::new(self.list(request.get_ref())?))
    }

    async fn get_position(
        &self,
        request: Request<v1::GetPositionRequest>,
    ) -> Answer<v1::GetPositionResponse> {
        Ok(Response::new(self.get(request.get_ref())?))
    }

    async fn get_portfolio_leverage(
        &self,
        request: Request<v1::TraderRequest>,
    ) -> Answer<v1::GetPortfolioLeverageResponse> {
        Ok(Response::new(self.leverage(request.get_ref())?))
    }

    async fn get_ledger(
        &self,
        request: Request<v1::GetLedgerRequest>,
    ) -> Answer<v1::GetLedgerResponse> {
        Ok(Response::new(self.ledger(request.get_ref())?))
    }

    async fn get_account(
        &self,
        request: Request<v1::TraderRequest>,
    ) -> Answer<v1::GetAccountResponse> {
        Ok(Response::new(self.account(request.get_ref())?))
    }

    async fn list_accounts(
        &self,
        request: Request<v1::ListAccountsRequest>,
    ) -> Answer<v1::ListAccountsResponse> {
        Ok(Response::new(self.accounts(request.get_ref())?))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchPositionsRequest>,
    ) -> Answer<Self::WatchStream> {
        let v1::WatchPositionsRequest { from_commit, trader } = request.into_inner();
        let trader = trader.map(|text| parse::trader("trader", &text)).transpose()?;
        let changes = PositionChanges { backend: self.backend.clone(), trader };
        Ok(Response::new(stream(&self.backend, &self.gate, from_commit, changes)?))
    }
}

#[cfg(test)]
mod tests;
