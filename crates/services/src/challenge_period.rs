//! The service ChallengePeriod: the bucket of each trader, pending reasons, scores, refresh.
//!
//! A decision and the record of the elimination are made in one commit. The register of reasons
//! only shows decisions until they are acknowledged, so no order of its calls can lose one.

#[cfg(test)]
mod tests;
pub mod view;

use std::collections::BTreeMap;

use proctor_engine::challenge_period::reasons::ReasonsCommand;
use proctor_engine::challenge_period::{Cause, Decision, PlagiarismReport, Stage, Standing};
use proctor_engine::input::StagesCommand;
use proctor_engine::{Event, Input, Rejection, View};
use proctor_rpc::v1::challenge_period_server::ChallengePeriod;
use proctor_rpc::{Problem, Reason, v1};
use proctor_sequencer::{Receipt, Since};
use proctor_types::{OperatorId, TraderId};
use tonic::{Request, Response, Status};

use crate::auth::{Role, require};
use crate::backend::Backend;
use crate::watch::{Gate, Stream, stream};
use crate::{health, parse, refusal};

pub use view::standing_of;

/// The service ChallengePeriod.
#[derive(Clone, Debug)]
pub struct ChallengePeriodService {
    backend: Backend,
    gate: Gate,
}

impl ChallengePeriodService {
    /// Returns the service; `gate` bounds its watchers.
    #[must_use]
    pub fn new(backend: Backend, gate: Gate) -> Self {
        Self { backend, gate }
    }

    /// Looks `request`'s trader up in the newest view.
    fn look<T>(
        &self,
        request: &v1::TraderRequest,
        found: impl FnOnce(&View, &TraderId) -> T,
    ) -> Result<(Option<v1::AsOf>, T), Problem> {
        let trader = parse::trader("trader", &request.trader)?;
        self.all(|view| found(view, &trader))
    }

    /// Reads something of the newest view.
    fn all<T>(&self, found: impl FnOnce(&View) -> T) -> Result<(Option<v1::AsOf>, T), Problem> {
        let view = self.backend.read()?;
        Ok((Some(self.backend.as_of(&view)), found(&view)))
    }

    fn start_times(&self, stage: Stage) -> Result<Response<v1::GetMinersResponse>, Status> {
        let (as_of, start_time_ms) = self.all(|view| view::start_times(view, stage).collect())?;
        Ok(Response::new(v1::GetMinersResponse { as_of, start_time_ms }))
    }

    /// Submits `input`; `refused` says what of the request the rules refuse.
    async fn command(
        &self,
        input: Input,
        refused: impl FnOnce(&Rejection) -> Problem,
    ) -> Result<Receipt, Problem> {
        let receipt = self.backend.submit(vec![input]).await?;
        match receipt.replies.first() {
            Some(Ok(())) => Ok(receipt),
            Some(Err(rejection)) => Err(refused(rejection)),
            None => Err(Problem::new(Reason::Internal, "the commit holds no answer to its input")),
        }
    }

    async fn publish(
        &self,
        request: &v1::UpdateEliminationReasonsRequest,
    ) -> Result<v1::UpdateEliminationReasonsResponse, Problem> {
        let batch = each("reasons", &request.reasons, view::published)?;
        let traders: Vec<TraderId> = batch.iter().map(|p| p.trader.clone()).collect();
        let input = Input::Reasons(ReasonsCommand::Update(batch));
        self.command(input, |r| refusal::of_row(r, "reasons", &traders.iter().collect::<Vec<_>>()))
            .await?;
        let (as_of, pending) = self.all(view::pending)?;
        Ok(v1::UpdateEliminationReasonsResponse { as_of, pending })
    }

    /// Acknowledges the decision on a trader. Of several who do so at once one gets the decision.
    async fn pop(
        &self,
        request: &v1::TraderRequest,
    ) -> Result<v1::PopEliminationReasonResponse, Problem> {
        let trader = parse::trader("trader", &request.trader)?;
        let before = self.backend.read()?;
        let input = Input::Reasons(ReasonsCommand::Pop(trader.clone()));
        let receipt = self.command(input, |r| refusal::problem(r, Some("trader".into()))).await?;
        let reason = match acknowledged(&receipt) {
            Some((seq, _)) => Some(view::reason(&self.decision(&before, &receipt, &trader, seq)?)),
            None => None,
        };
        let as_of = Some(self.backend.at(receipt.stamp));
        Ok(v1::PopEliminationReasonResponse { as_of, reason })
    }

    /// Returns the decision `seq` on `trader`, which the commit of `receipt` has taken from the
    /// register: it stood there `before`, or was made since.
    fn decision(
        &self,
        before: &View,
        receipt: &Receipt,
        trader: &TraderId,
        seq: u64,
    ) -> Result<Decision, Problem> {
        let known = before.challenge.reasons.of(trader).filter(|decision| decision.seq == seq);
        if let Some(decision) = known {
            return Ok(decision.clone());
        }
        let made = |event: &Event| {
            let Event::DecisionRegistered { decision } = event else { return None };
            (decision.seq == seq).then(|| decision.clone())
        };
        if let Some(decision) = receipt.events.iter().find_map(made) {
            return Ok(decision);
        }
        let between = match self.backend.views().since(before.stamp.commit, usize::MAX) {
            Since::Commits(commits) => {
                commits.iter().find_map(|applied| applied.events.iter().find_map(made))
            }
            Since::Gap { .. } => None,
        };
        between.ok_or_else(|| {
            let text = format!(
                "decision {seq} on {trader} was acknowledged, but what it was is not kept any \
                 more: the record of the elimination has it"
            );
            Problem::new(Reason::Unavailable, text).with_code("acknowledged")
        })
    }

    async fn clear(
        &self,
        request: &v1::ClearEliminationReasonsRequest,
    ) -> Result<v1::ClearEliminationReasonsResponse, Problem> {
        let input = Input::Reasons(ReasonsCommand::Clear { up_to: request.up_to_seq });
        let receipt =
            self.command(input, |r| refusal::problem(r, Some("up_to_seq".into()))).await?;
        let cleared = acknowledged(&receipt).map_or(0, |(_, decisions)| decisions);
        let (as_of, pending) = self.all(view::pending)?;
        Ok(v1::ClearEliminationReasonsResponse { as_of, cleared, pending })
    }

    async fn set(
        &self,
        request: v1::SetMinerBucketRequest,
    ) -> Result<v1::SetMinerBucketResponse, Problem> {
        let miner = request.miner.ok_or_else(|| Problem::invalid("miner", "is missing"))?;
        let input = Input::Stages(StagesCommand::Set(vec![view::setting("miner", &miner)?]));
        let receipt = self.command(input, |r| refusal::problem(r, Some("miner".into()))).await?;
        let is_new = moved(&receipt, Cause::Set).any(|from| from.is_none());
        Ok(v1::SetMinerBucketResponse { as_of: Some(self.backend.at(receipt.stamp)), is_new })
    }

    async fn update(
        &self,
        request: &v1::UpdateMinersRequest,
    ) -> Result<v1::UpdateMinersResponse, Problem> {
        let settings = each("miners", &request.miners, view::setting)?;
        let updated = u32::try_from(settings.len()).unwrap_or(u32::MAX);
        let traders: Vec<TraderId> = settings.iter().map(|(trader, _)| trader.clone()).collect();
        let input = Input::Stages(StagesCommand::Set(settings));
        let receipt = self
            .command(input, |r| refusal::of_row(r, "miners", &traders.iter().collect::<Vec<_>>()))
            .await?;
        Ok(v1::UpdateMinersResponse { as_of: Some(self.backend.at(receipt.stamp)), updated })
    }

    async fn remove(
        &self,
        request: &v1::TraderRequest,
    ) -> Result<v1::RemoveMinerResponse, Problem> {
        let trader = parse::trader("trader", &request.trader)?;
        let input = Input::Stages(StagesCommand::Remove(trader));
        let receipt = self.command(input, |r| refusal::problem(r, Some("trader".into()))).await?;
        let removed = moved(&receipt, Cause::Removed).next().is_some();
        Ok(v1::RemoveMinerResponse { as_of: Some(self.backend.at(receipt.stamp)), removed })
    }

    async fn report(
        &self,
        request: &v1::UpdatePlagiarismMinersRequest,
    ) -> Result<v1::WriteResponse, Problem> {
        let suspects = each("suspects", &request.suspects, view::suspect)?;
        let traders: Vec<TraderId> = suspects.iter().map(|(trader, _)| trader.clone()).collect();
        let receipt = self
            .command(Input::Plagiarism(PlagiarismReport::new(suspects)), |r| {
                refusal::of_row(r, "suspects", &traders.iter().collect::<Vec<_>>())
            })
            .await?;
        Ok(v1::WriteResponse { as_of: Some(self.backend.at(receipt.stamp)) })
    }
}

/// Returns what `parse` makes of each entry of `field`.
fn each<M, T>(
    field: &str,
    messages: &[M],
    parse: impl Fn(&str, &M) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    parse::bounded(field, messages.len())?;
    let one = |(place, message)| parse(&format!("{field}[{place}]"), message);
    messages.iter().enumerate().map(one).collect()
}

/// Returns the newest decision that the inputs of `receipt` themselves took from the register, and
/// how many they took.
fn acknowledged(receipt: &Receipt) -> Option<(u64, u32)> {
    receipt.own_events().iter().find_map(|event| {
        let Event::DecisionsAcknowledged { seq, decisions } = event else { return None };
        Some((*seq, *decisions))
    })
}

/// Returns where those were before whom the inputs of `receipt` themselves moved for `cause`.
fn moved(receipt: &Receipt, why: Cause) -> impl Iterator<Item = Option<Standing>> {
    receipt.own_events().iter().filter_map(move |event| {
        let Event::StageChanged { cause, from, .. } = event else { return None };
        (*cause == why).then_some(*from)
    })
}

/// Returns who writes, when he may.
fn operator<T>(request: &Request<T>) -> Result<OperatorId, Problem> {
    Ok(require(request.extensions(), Role::Operator)?.name)
}

#[tonic::async_trait]
impl ChallengePeriod for ChallengePeriodService {
    type WatchStream = Stream<v1::WatchChallengePeriodResponse>;

    async fn health_check(
        &self,
        _: Request<v1::HealthCheckRequest>,
    ) -> Result<Response<v1::HealthCheckResponse>, Status> {
        let view = self.backend.views().latest();
        let details = BTreeMap::from([
            ("active_miners_count", view::standings(&view).len()),
            ("elimination_reasons_count", view.challenge.reasons.open().len()),
        ]);
        Ok(Response::new(health::check(&self.backend, "challenge_period", details)))
    }

    async fn has_miner(
        &self,
        request: Request<v1::TraderRequest>,
    ) -> Result<Response<v1::HasMinerResponse>, Status> {
        let (as_of, standing) = self.look(request.get_ref(), standing_of)?;
        Ok(Response::new(v1::HasMinerResponse { as_of, has_miner: standing.is_some() }))
    }

    async fn get_miner_bucket(
        &self,
        request: Request<v1::TraderRequest>,
    ) -> Result<Response<v1::GetMinerBucketResponse>, Status> {
        let (as_of, standing) = self.look(request.get_ref(), standing_of)?;
        let bucket = standing.map(|standing| standing.stage.label().into());
        Ok(Response::new(v1::GetMinerBucketResponse { as_of, bucket }))
    }

    async fn get_miner_previous_bucket(
        &self,
        request: Request<v1::TraderRequest>,
    ) -> Result<Response<v1::GetMinerBucketResponse>, Status> {
        let (as_of, standing) = self.look(request.get_ref(), standing_of)?;
        let before = standing.and_then(|standing| standing.before);
        let bucket = before.map(|(stage, _)| stage.label().into());
        Ok(Response::new(v1::GetMinerBucketResponse { as_of, bucket }))
    }

    async fn get_miner_start_time(
        &self,
        request: Request<v1::TraderRequest>,
    ) -> Result<Response<v1::GetMinerTimeResponse>, Status> {
        let (as_of, standing) = self.look(request.get_ref(), standing_of)?;
        let time_ms = standing.map(|standing| standing.since.0);
        Ok(Response::new(v1::GetMinerTimeResponse { as_of, time_ms }))
    }

    async fn get_miner_previous_time(
        &self,
        request: Request<v1::TraderRequest>,
    ) -> Result<Response<v1::GetMinerTimeResponse>, Status> {
        let (as_of, standing) = self.look(request.get_ref(), standing_of)?;
        let before = standing.and_then(|standing| standing.before);
        let time_ms = before.map(|(_, since)| since.0);
        Ok(Response::new(v1::GetMinerTimeResponse { as_of, time_ms }))
    }

    async fn get_hotkeys_by_bucket(
        &self,
        request: Request<v1::GetHotkeysByBucketRequest>,
    ) -> Result<Response<v1::GetHotkeysByBucketResponse>, Status> {
        let stage = parse::bucket("bucket", &request.get_ref().bucket)?;
        let (as_of, traders) = self.all(|view| view::traders_in(view, stage))?;
        Ok(Response::new(v1::GetHotkeysByBucketResponse { as_of, traders }))
    }

    async fn get_all_miner_hotkeys(
        &self,
        _: Request<v1::GetMinersRequest>,
    ) -> Result<Response<v1::GetHotkeysByBucketResponse>, Status> {
        let (as_of, traders) =
            self.all(|view| view::standings(view).keys().map(ToString::to_string).collect())?;
        Ok(Response::new(v1::GetHotkeysByBucketResponse { as_of, traders }))
    }

    async fn get_testing_miners(
        &self,
        _: Request<v1::GetMinersRequest>,
    ) -> Result<Response<v1::GetMinersResponse>, Status> {
        self.start_times(Stage::Challenge)
    }

    async fn get_success_miners(
        &self,
        _: Request<v1::GetMinersRequest>,
    ) -> Result<Response<v1::GetMinersResponse>, Status> {
        self.start_times(Stage::Funded)
    }

    async fn get_probation_miners(
        &self,
        _: Request<v1::GetMinersRequest>,
    ) -> Result<Response<v1::GetMinersResponse>, Status> {
        self.start_times(Stage::Probation)
    }

    async fn get_plagiarism_miners(
        &self,
        _: Request<v1::GetMinersRequest>,
    ) -> Result<Response<v1::GetMinersResponse>, Status> {
        self.start_times(Stage::UnderReview)
    }

    async fn get_miner_scores(
        &self,
        _: Request<v1::GetMinersRequest>,
    ) -> Result<Response<v1::GetMinerScoresResponse>, Status> {
        let (as_of, (ranked, classes)) = self.all(view::scores)?;
        Ok(Response::new(v1::GetMinerScoresResponse { as_of, ranked, classes }))
    }

    async fn meets_time_criteria(
        &self,
        request: Request<v1::MeetsTimeCriteriaRequest>,
    ) -> Result<Response<v1::MeetsTimeCriteriaResponse>, Status> {
        let trader = parse::trader("trader", &request.get_ref().trader)?;
        let (as_of, (meets, ends_ms)) = self.all(|view| view::time_criteria(view, &trader))?;
        Ok(Response::new(v1::MeetsTimeCriteriaResponse { as_of, meets, ends_ms }))
    }

    async fn snapshot(
        &self,
        _: Request<v1::SnapshotRequest>,
    ) -> Result<Response<v1::SnapshotResponse>, Status> {
        let view = self.backend.read()?;
        Ok(Response::new(view::snapshot(&view, self.backend.as_of(&view))))
    }

    async fn has_elimination_reasons(
        &self,
        _: Request<v1::GetReasonsRequest>,
    ) -> Result<Response<v1::HasEliminationReasonsResponse>, Status> {
        let (as_of, pending) = self.all(view::pending)?;
        let has_reasons = pending > 0;
        Ok(Response::new(v1::HasEliminationReasonsResponse { as_of, has_reasons }))
    }

    async fn get_all_elimination_reasons(
        &self,
        _: Request<v1::GetReasonsRequest>,
    ) -> Result<Response<v1::GetAllEliminationReasonsResponse>, Status> {
        let (as_of, (reasons, newest_seq)) =
            self.all(|view| (view::reasons(view), view.challenge.reasons.newest()))?;
        Ok(Response::new(v1::GetAllEliminationReasonsResponse { as_of, reasons, newest_seq }))
    }

    async fn update_elimination_reasons(
        &self,
        request: Request<v1::UpdateEliminationReasonsRequest>,
    ) -> Result<Response<v1::UpdateEliminationReasonsResponse>, Status> {
        operator(&request)?;
        Ok(Response::new(self.publish(request.get_ref()).await?))
    }

    async fn pop_elimination_reason(
        &self,
        request: Request<v1::TraderRequest>,
    ) -> Result<Response<v1::PopEliminationReasonResponse>, Status> {
        operator(&request)?;
        Ok(Response::new(self.pop(request.get_ref()).await?))
    }

    async fn clear_elimination_reasons(
        &self,
        request: Request<v1::ClearEliminationReasonsRequest>,
    ) -> Result<Response<v1::ClearEliminationReasonsResponse>, Status> {
        operator(&request)?;
        Ok(Response::new(self.clear(request.get_ref()).await?))
    }

    async fn set_miner_bucket(
        &self,
        request: Request<v1::SetMinerBucketRequest>,
    ) -> Result<Response<v1::SetMinerBucketResponse>, Status> {
        operator(&request)?;
        Ok(Response::new(self.set(request.into_inner()).await?))
    }

    async fn update_miners(
        &self,
        request: Request<v1::UpdateMinersRequest>,
    ) -> Result<Response<v1::UpdateMinersResponse>, Status> {
        operator(&request)?;
        Ok(Response::new(self.update(request.get_ref()).await?))
    }

    async fn remove_miner(
        &self,
        request: Request<v1::TraderRequest>,
    ) -> Result<Response<v1::RemoveMinerResponse>, Status> {
        operator(&request)?;
        Ok(Response::new(self.remove(request.get_ref()).await?))
    }

    async fn update_plagiarism_miners(
        &self,
        request: Request<v1::UpdatePlagiarismMinersRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        operator(&request)?;
        Ok(Response::new(self.report(request.get_ref()).await?))
    }

    async fn refresh(
        &self,
        request: Request<v1::RefreshRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        operator(&request)?;
        let receipt = self.backend.command(Input::Stages(StagesCommand::Refresh)).await?;
        Ok(Response::new(v1::WriteResponse { as_of: Some(self.backend.at(receipt.stamp)) }))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchChallengePeriodRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let watched = view::Watched { generation: self.backend.generation() };
        let from = request.get_ref().from_commit;
        Ok(Response::new(stream(&self.backend, &self.gate, from, watched)?))
    }
}
