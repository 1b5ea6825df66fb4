//! The service Eliminations: records of accounts that ended, departed traders, reinstatement.
//!
//! A write answers from what its own inputs did, never from a later look, so that of two callers
//! who ask for the same thing at once exactly one is told that it was he.

#[cfg(test)]
mod tests;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};

use proctor_engine::eliminations::{
    EliminationsCommand, Reentry, Reinstatement, SyncedEliminations,
};
use proctor_engine::input::StagesCommand;
use proctor_engine::{Event, Input, Rejection, View};
use proctor_rpc::v1::eliminations_server::Eliminations;
use proctor_rpc::{Problem, Reason, v1};
use proctor_sequencer::Receipt;
use proctor_types::{OperatorId, TraderId, UtcMs, ValidatorId};
use tonic::{Request, Response, Status};

use crate::auth::{Role, require};
use crate::backend::Backend;
use crate::watch::{Gate, Stream, stream};
use crate::{health, parse, refusal};

pub use view::{is_eliminated, record_of};

/// How often an addition is tried again that met a record which was lifted before it could be told.
const ADD_ATTEMPTS: usize = 8;

/// The service Eliminations.
#[derive(Clone, Debug)]
pub struct EliminationsService {
    backend: Backend,
    gate: Gate,
}

impl EliminationsService {
    /// Returns the service; `gate` bounds its watchers.
    #[must_use]
    pub fn new(backend: Backend, gate: Gate) -> Self {
        Self { backend, gate }
    }

    /// Adds one record, or returns the one that stands: the record is never overwritten.
    async fn add(
        &self,
        by: OperatorId,
        request: v1::AddEliminationRequest,
    ) -> Result<v1::AddEliminationResponse, Problem> {
        let why = parse::remark("why", &request.why)?;
        let row = request.row.ok_or_else(|| Problem::invalid("row", "is missing"))?;
        let row = view::row("row", &row)?;
        let trader = row.trader.clone();
        let input = Input::Eliminations(EliminationsCommand::Add { by, why, rows: vec![row] });
        for _ in 0..ADD_ATTEMPTS {
            let receipt = self.backend.submit(vec![input.clone()]).await?;
            let is_new = match reply(&receipt)? {
                Ok(()) => true,
                Err(Rejection::AlreadyEliminated(_)) => false,
                Err(rejection) => return Err(refusal::problem(rejection, Some("row".into()))),
            };
            // A record that is made in a commit is not lifted in it: it stands after it.
            let made = receipt.events.iter().find_map(|event| {
                let Event::Eliminated { trader: of, record } = event else { return None };
                (*of == trader).then_some(record)
            });
            if let Some(record) = made {
                let elimination = Some(view::message(&trader, record));
                let as_of = Some(self.backend.at(receipt.stamp));
                return Ok(v1::AddEliminationResponse { as_of, is_new, elimination });
            }
            // Who was in the way came before this commit, and still is, or was lifted meanwhile.
            let view = self.backend.read()?;
            if let Some(record) = record_of(&view, &trader) {
                let elimination = Some(view::message(&trader, record));
                let as_of = Some(self.backend.as_of(&view));
                return Ok(v1::AddEliminationResponse { as_of, is_new, elimination });
            }
        }
        let text = format!("the record of {trader} comes and goes; look at it and try again");
        Err(Problem::new(Reason::Busy, text).with_code("record_changes"))
    }

    async fn add_all(
        &self,
        by: OperatorId,
        request: &v1::AddEliminationsRequest,
    ) -> Result<v1::WriteResponse, Problem> {
        let why = parse::remark("why", &request.why)?;
        let rows = view::rows("rows", &request.rows)?;
        let traders: Vec<TraderId> = rows.iter().map(|row| row.trader.clone()).collect();
        let input = Input::Eliminations(EliminationsCommand::Add { by, why, rows });
        let receipt = self.backend.submit(vec![input]).await?;
        let traders: Vec<&TraderId> = traders.iter().collect();
        reply(&receipt)?.map_err(|rejection| refusal::of_row(rejection, "rows", &traders))?;
        Ok(self.written(&receipt))
    }

    /// Lifts the records of `traders`, whichever stand; who has none is passed over.
    async fn remove(
        &self,
        by: OperatorId,
        traders: BTreeSet<TraderId>,
        why: &str,
    ) -> Result<v1::RemoveEliminationResponse, Problem> {
        let why = parse::remark("why", why)?;
        // One input for each: a batch would be refused whole for one who has none.
        let each = |trader: TraderId| {
            let (by, why, traders) = (by.clone(), why.clone(), vec![trader.clone()]);
            (trader, Input::Eliminations(EliminationsCommand::Remove { by, why, traders }))
        };
        self.lift(traders.into_iter().map(each).collect()).await
    }

    /// Lifts the records that were decided up to a commit. Each is named by its decision, so that
    /// one that is made meanwhile stays, whoever it is about.
    async fn clear(
        &self,
        by: OperatorId,
        request: &v1::ClearEliminationsRequest,
    ) -> Result<v1::RemoveEliminationResponse, Problem> {
        let why = parse::remark("why", &request.why)?;
        let view = self.backend.read()?;
        let (up_to, newest) = (request.up_to_commit, view.stamp.commit);
        if up_to > newest {
            let text = format!("commit {up_to} has not been made, the newest is {newest}");
            return Err(Problem::invalid("up_to_commit", text).with_code("not_decided"));
        }
        let known = view::records(&view).into_iter().filter(|(_, r)| r.stamp.commit <= up_to);
        let inputs = known.map(|(trader, record)| {
            let command = Reinstatement {
                trader: trader.clone(),
                by: by.clone(),
                why: why.clone(),
                decided: record.stamp,
                reentry: Reentry::Challenge,
            };
            (trader.clone(), Input::Reinstate(command))
        });
        self.lift(inputs.collect()).await
    }

    /// Submits one input for each trader in one commit; tells whose record it lifted.
    async fn lift(
        &self,
        inputs: Vec<(TraderId, Input)>,
    ) -> Result<v1::RemoveEliminationResponse, Problem> {
        if inputs.is_empty() {
            let as_of = Some(self.backend.as_of(&*self.backend.read()?));
            return Ok(v1::RemoveEliminationResponse { as_of, ..Default::default() });
        }
        let (traders, inputs): (Vec<TraderId>, Vec<Input>) = inputs.into_iter().unzip();
        let receipt = self.backend.submit(inputs).await?;
        let mut lifted = Vec::new();
        for (trader, reply) in traders.iter().zip(&receipt.replies) {
            match reply {
                Ok(()) => lifted.push(trader.to_string()),
                Err(Rejection::NoSuchElimination(_)) => {}
                Err(rejection) => return Err(refusal::problem(rejection, None)),
            }
        }
        Ok(v1::RemoveEliminationResponse {
            as_of: Some(self.backend.at(receipt.stamp)),
            removed: !lifted.is_empty(),
            traders: lifted,
        })
    }

    async fn sync(
        &self,
        request: &v1::SyncEliminationsRequest,
    ) -> Result<v1::SyncEliminationsResponse, Problem> {
        let source =
            ValidatorId::new(&request.source).map_err(|error| Problem::invalid("source", error))?;
        let as_of = parse::moment("list_as_of_ms", request.list_as_of_ms)?;
        let rows = view::rows("rows", &request.rows)?;
        let traders: Vec<TraderId> = rows.iter().map(|row| row.trader.clone()).collect();
        let list = SyncedEliminations { source, as_of, rows };
        let receipt = self.backend.submit(vec![Input::SyncEliminations(list)]).await?;
        reply(&receipt)?.map_err(|rejection| {
            if matches!(rejection, Rejection::SyncAhead(_) | Rejection::StaleSync { .. }) {
                refusal::problem(rejection, Some("list_as_of_ms".into()))
            } else {
                refusal::of_row(rejection, "rows", &traders.iter().collect::<Vec<_>>())
            }
        })?;
        let names = |traders: &[TraderId]| traders.iter().map(ToString::to_string).collect();
        let synced = receipt.own_events().iter().find_map(|event| {
            let Event::EliminationsSynced { added, removed, .. } = event else { return None };
            Some((names(added), names(removed)))
        });
        let (added, removed) = synced.unwrap_or_default();
        let as_of = Some(self.backend.at(receipt.stamp));
        Ok(v1::SyncEliminationsResponse { as_of, added, removed })
    }

    async fn undo(
        &self,
        by: OperatorId,
        request: &v1::ReinstateRequest,
    ) -> Result<v1::WriteResponse, Problem> {
        let reentry = if request.restore_stage { Reentry::Restored } else { Reentry::Challenge };
        let command = Reinstatement {
            trader: parse::trader("trader", &request.trader)?,
            by,
            why: parse::remark("why", &request.why)?,
            decided: parse::stamp("decided", request.decided)?,
            reentry,
        };
        self.command(Input::Reinstate(command), "decided").await
    }

    async fn settle(&self, request: &v1::SettleSlashRequest) -> Result<v1::WriteResponse, Problem> {
        let trader = parse::trader("trader", &request.trader)?;
        let decided = parse::stamp("decided", request.decided)?;
        self.command(Input::SlashSettled(trader, decided), "decided").await
    }

    /// Submits `input`; a refusal is about `field` of the request.
    async fn command(&self, input: Input, field: &str) -> Result<v1::WriteResponse, Problem> {
        let receipt = self.backend.submit(vec![input]).await?;
        reply(&receipt)?.map_err(|rejection| refusal::problem(rejection, Some(field.into())))?;
        Ok(self.written(&receipt))
    }

    fn written(&self, receipt: &Receipt) -> v1::WriteResponse {
        v1::WriteResponse { as_of: Some(self.backend.at(receipt.stamp)) }
    }

    /// Looks `request`'s trader up in the newest view.
    fn look<T>(
        &self,
        request: &v1::TraderRequest,
        found: impl FnOnce(&View, &TraderId) -> T,
    ) -> Result<(Option<v1::AsOf>, T), Problem> {
        let trader = parse::trader("trader", &request.trader)?;
        let view = self.backend.read()?;
        Ok((Some(self.backend.as_of(&view)), found(&view, &trader)))
    }

    /// Reads something of the newest view.
    fn all<T>(&self, found: impl FnOnce(&View) -> T) -> Result<(Option<v1::AsOf>, T), Problem> {
        let view = self.backend.read()?;
        Ok((Some(self.backend.as_of(&view)), found(&view)))
    }

    fn find(&self, request: &v1::TraderRequest) -> Result<v1::GetEliminationResponse, Problem> {
        let (as_of, elimination) = self.look(request, |view, trader| {
            record_of(view, trader).map(|record| view::message(trader, record))
        })?;
        Ok(v1::GetEliminationResponse { as_of, elimination })
    }
}

/// Returns the answer to the only input of a submission.
fn reply(receipt: &Receipt) -> Result<Result<(), &Rejection>, Problem> {
    let reply = receipt
        .replies
        .first()
        .ok_or_else(|| Problem::new(Reason::Internal, "the commit holds no answer to its input"))?;
    Ok(reply.as_ref().copied())
}

/// Returns who writes, when he may.
fn operator<T>(request: &Request<T>) -> Result<OperatorId, Problem> {
    Ok(require(request.extensions(), Role::Operator)?.name)
}

#[tonic::async_trait]
impl Eliminations for EliminationsService {
    type WatchEliminationsStream = Stream<v1::WatchEliminationsResponse>;

    async fn health_check(
        &self,
        _: Request<v1::HealthCheckRequest>,
    ) -> Result<Response<v1::HealthCheckResponse>, Status> {
        let view = self.backend.views().latest();
        let details = BTreeMap::from([
            ("num_eliminations", view::records(&view).len()),
            ("num_departed_hotkeys", view.roster.departed().len()),
        ]);
        Ok(Response::new(health::check(&self.backend, "eliminations", details)))
    }

    async fn is_hotkey_eliminated(
        &self,
        request: Request<v1::TraderRequest>,
    ) -> Result<Response<v1::IsHotkeyEliminatedResponse>, Status> {
        let (as_of, eliminated) = self.look(request.get_ref(), is_eliminated)?;
        Ok(Response::new(v1::IsHotkeyEliminatedResponse { as_of, eliminated }))
    }

    async fn are_hotkeys_eliminated(
        &self,
        request: Request<v1::TradersRequest>,
    ) -> Result<Response<v1::TradersResponse>, Status> {
        let traders = parse::traders("traders", &request.get_ref().traders)?;
        let (as_of, traders) = self.all(|view| view::eliminated_of(view, traders))?;
        Ok(Response::new(v1::TradersResponse { as_of, traders }))
    }

    async fn get_elimination(
        &self,
        request: Request<v1::TraderRequest>,
    ) -> Result<Response<v1::GetEliminationResponse>, Status> {
        Ok(Response::new(self.find(request.get_ref())?))
    }

    async fn hotkey_in_eliminations(
        &self,
        request: Request<v1::TraderRequest>,
    ) -> Result<Response<v1::GetEliminationResponse>, Status> {
        Ok(Response::new(self.find(request.get_ref())?))
    }

    async fn get_eliminated_hotkeys(
        &self,
        _: Request<v1::GetEliminatedHotkeysRequest>,
    ) -> Result<Response<v1::TradersResponse>, Status> {
        let (as_of, traders) =
            self.all(|view| view::records(view).keys().map(ToString::to_string).collect())?;
        Ok(Response::new(v1::TradersResponse { as_of, traders }))
    }

    async fn get_eliminations_from_memory(
        &self,
        _: Request<v1::GetEliminationsRequest>,
    ) -> Result<Response<v1::GetEliminationsResponse>, Status> {
        let (as_of, eliminations) = self.all(view::messages)?;
        Ok(Response::new(v1::GetEliminationsResponse { as_of, eliminations }))
    }

    async fn get_eliminations_dict(
        &self,
        _: Request<v1::GetEliminationsRequest>,
    ) -> Result<Response<v1::GetEliminationsDictResponse>, Status> {
        let (as_of, eliminations) = self.all(view::messages)?;
        let eliminations = eliminations.into_iter().map(|e| (e.trader.clone(), e)).collect();
        Ok(Response::new(v1::GetEliminationsDictResponse { as_of, eliminations }))
    }

    async fn is_hotkey_re_registered(
        &self,
        request: Request<v1::TraderRequest>,
    ) -> Result<Response<v1::IsHotkeyReRegisteredResponse>, Status> {
        let (as_of, re_registered) = self.look(request.get_ref(), view::is_re_registered)?;
        Ok(Response::new(v1::IsHotkeyReRegisteredResponse { as_of, re_registered }))
    }

    async fn get_departed_hotkeys(
        &self,
        _: Request<v1::GetDepartedHotkeysRequest>,
    ) -> Result<Response<v1::GetDepartedHotkeysResponse>, Status> {
        let (as_of, departed) = self.all(view::departures)?;
        Ok(Response::new(v1::GetDepartedHotkeysResponse { as_of, departed }))
    }

    async fn get_departed_hotkey_info(
        &self,
        request: Request<v1::TraderRequest>,
    ) -> Result<Response<v1::GetDepartedHotkeyInfoResponse>, Status> {
        let (as_of, departed) = self.look(request.get_ref(), view::departure_of)?;
        Ok(Response::new(v1::GetDepartedHotkeyInfoResponse { as_of, departed }))
    }

    async fn get_cached_elimination_data(
        &self,
        _: Request<v1::GetEliminationsRequest>,
    ) -> Result<Response<v1::GetCachedEliminationDataResponse>, Status> {
        let (as_of, (eliminations, departed)) =
            self.all(|view| (view::messages(view), view::departures(view)))?;
        Ok(Response::new(v1::GetCachedEliminationDataResponse { as_of, eliminations, departed }))
    }

    async fn is_zombie_hotkey(
        &self,
        request: Request<v1::TraderRequest>,
    ) -> Result<Response<v1::IsZombieHotkeyResponse>, Status> {
        let (as_of, zombie) = self.look(request.get_ref(), view::is_zombie)?;
        Ok(Response::new(v1::IsZombieHotkeyResponse { as_of, zombie }))
    }

    async fn add_elimination(
        &self,
        request: Request<v1::AddEliminationRequest>,
    ) -> Result<Response<v1::AddEliminationResponse>, Status> {
        let by = operator(&request)?;
        Ok(Response::new(self.add(by, request.into_inner()).await?))
    }

    async fn append_elimination_row(
        &self,
        request: Request<v1::AddEliminationRequest>,
    ) -> Result<Response<v1::AddEliminationResponse>, Status> {
        let by = operator(&request)?;
        let mut request = request.into_inner();
        // The old call's time is optional and means now.
        if let Some(row) = &mut request.row
            && row.elimination_initiated_time_ms == 0
        {
            let UtcMs(now) = self.backend.clock().now();
            row.elimination_initiated_time_ms = now;
        }
        Ok(Response::new(self.add(by, request).await?))
    }

    async fn add_eliminations(
        &self,
        request: Request<v1::AddEliminationsRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let by = operator(&request)?;
        Ok(Response::new(self.add_all(by, request.get_ref()).await?))
    }

    async fn remove_elimination(
        &self,
        request: Request<v1::RemoveEliminationRequest>,
    ) -> Result<Response<v1::RemoveEliminationResponse>, Status> {
        let (by, request) = (operator(&request)?, request.into_inner());
        let traders = BTreeSet::from([parse::trader("trader", &request.trader)?]);
        Ok(Response::new(self.remove(by, traders, &request.why).await?))
    }

    async fn delete_eliminations(
        &self,
        request: Request<v1::DeleteEliminationsRequest>,
    ) -> Result<Response<v1::RemoveEliminationResponse>, Status> {
        let (by, request) = (operator(&request)?, request.into_inner());
        let traders = parse::traders("traders", &request.traders)?.into_iter().collect();
        Ok(Response::new(self.remove(by, traders, &request.why).await?))
    }

    async fn clear_eliminations(
        &self,
        request: Request<v1::ClearEliminationsRequest>,
    ) -> Result<Response<v1::RemoveEliminationResponse>, Status> {
        let by = operator(&request)?;
        Ok(Response::new(self.clear(by, request.get_ref()).await?))
    }

    async fn sync_eliminations(
        &self,
        request: Request<v1::SyncEliminationsRequest>,
    ) -> Result<Response<v1::SyncEliminationsResponse>, Status> {
        operator(&request)?;
        Ok(Response::new(self.sync(request.get_ref()).await?))
    }

    async fn reinstate(
        &self,
        request: Request<v1::ReinstateRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let by = operator(&request)?;
        Ok(Response::new(self.undo(by, request.get_ref()).await?))
    }

    async fn settle_slash(
        &self,
        request: Request<v1::SettleSlashRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        operator(&request)?;
        Ok(Response::new(self.settle(request.get_ref()).await?))
    }

    async fn process_eliminations(
        &self,
        request: Request<v1::ProcessEliminationsRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        operator(&request)?;
        let receipt = self.backend.command(Input::Stages(StagesCommand::Refresh)).await?;
        Ok(Response::new(self.written(&receipt)))
    }

    async fn watch_eliminations(
        &self,
        request: Request<v1::WatchEliminationsRequest>,
    ) -> Result<Response<Self::WatchEliminationsStream>, Status> {
        let watched = view::Watched { generation: self.backend.generation() };
        let from = request.get_ref().from_commit;
        Ok(Response::new(stream(&self.backend, &self.gate, from, watched)?))
    }
}
