//! The challenge period through the whole engine, and the races of the hand-over of reasons.
//!
//! Each race is told as the interleaving that broke the reference, as far as it can still be told:
//! a decision, the record and the bar are one commit, so most have nothing left to interleave.

use proctor_engine::account::Account;
use proctor_engine::challenge_period::reasons::{Published, ReasonsCommand};
use proctor_engine::challenge_period::{Alert, Cause, PlagiarismReport, Refusal, Stage, Standing};
use proctor_engine::eliminations::{DrawdownNote, Reason};
use proctor_engine::input::{Roster, StagesCommand};
use proctor_engine::rulebook::VANTA;
use proctor_engine::{Commit, Engine, Event, Input, Outcome, Rejection, View};
use proctor_types::{
    AssetClass, Leverage, OrderId, OrderRequest, PairName, Percent, Price, Quote, Side, SizeFields,
    SourceName, TradePair, TraderId, UtcMs,
};

/// Monday 2025-11-03 00:00 UTC.
const T0: i64 = 1_762_128_000_000;
const DAY: i64 = 86_400_000;
const REFRESH: i64 = 300_000;

struct World {
    engine: Engine,
    now: i64,
    orders: u32,
}

impl World {
    /// Alice, bob and carol have just been registered for crypto.
    fn new() -> Self {
        Self::with(VANTA)
    }

    fn with(rulebook: &str) -> Self {
        let mut world = Self { engine: Engine::new(), now: 0, orders: 0 };
        let mut inputs = vec![Input::Rulebook(rulebook.into()), roster(1, &NAMES)];
        inputs.extend(NAMES.map(|name| Input::AssetClass(trader(name), AssetClass::Crypto)));
        world.all(0, inputs);
        world
    }

    /// Applies `inputs` at `now` ms after [`T0`].
    fn commit(&mut self, now: i64, inputs: Vec<Input>) -> Outcome {
        self.now = now;
        let index = self.engine.stamp().commit + 1;
        let commit = Commit { index, at: UtcMs(T0 + now), inputs };
        let outcome = self.engine.apply(&commit).expect("in order");
        nobody_is_lost(&self.engine.view());
        outcome
    }

    /// Applies `inputs`, all of which are accepted.
    fn all(&mut self, now: i64, inputs: Vec<Input>) -> Outcome {
        let outcome = self.commit(now, inputs);
        assert!(outcome.replies.iter().all(Result::is_ok), "{:?}", outcome.replies);
        outcome
    }

    fn standing(&self, name: &str) -> Option<Standing> {
        self.account(name).standing
    }

    fn account(&self, name: &str) -> &Account {
        self.engine.account(&trader(name)).expect("enrolled")
    }

    fn reason(&self, name: &str) -> Option<Reason> {
        self.account(name).elimination.as_ref().map(|record| record.reason)
    }

    /// What the register says: numbers and traders.
    fn register(&self) -> Vec<(u64, String)> {
        let view = self.engine.view();
        let open = view.challenge.reasons.open();
        open.iter().map(|decision| (decision.seq, decision.trader.to_string())).collect()
    }

    fn order(&mut self, name: &str, side: Side) -> Input {
        self.orders += 1;
        Input::Order(OrderRequest::market(
            trader(name),
            OrderId::new(&format!("o{}", self.orders)).expect("valid"),
            PairName::new("BTCUSD").expect("valid"),
            side,
            SizeFields { leverage: Leverage::new(0.4).ok(), ..SizeFields::default() },
        ))
    }

    fn price(&self, now: i64, number: f64) -> Input {
        let pair = TradePair::from_id("BTCUSD").expect("in the table");
        // Two sources agree, so that any price is believed at once.
        let quote = |source: &str| {
            let source = SourceName::new(source).expect("valid");
            let price = Price::new(number).expect("finite");
            Quote::event(pair, source, UtcMs(T0 + now), price)
        };
        Input::Prices(vec![quote("test"), quote("test2")])
    }
}

const NAMES: [&str; 3] = ["alice", "bob", "carol"];

fn trader(name: &str) -> TraderId {
    TraderId::new(name).expect("valid")
}

fn roster(version: u64, names: &[&str]) -> Input {
    Input::Roster(Roster::new(version, names.iter().map(|name| trader(name)).collect()))
}

fn since(stage: Stage, now: i64) -> Option<Standing> {
    Some(Standing::new(stage, UtcMs(T0 + now)))
}

fn set(name: &str, stage: Stage, now: i64) -> Input {
    let standing = Standing::new(stage, UtcMs(T0 + now));
    Input::Stages(StagesCommand::Set(vec![(trader(name), standing)]))
}

fn suspects(list: &[(&str, i64)]) -> Input {
    let verdicts = list.iter().map(|(name, now)| (trader(name), UtcMs(T0 + now)));
    Input::Plagiarism(PlagiarismReport::new(verdicts.collect()))
}

fn publish(name: &str, reason: Reason, percent: Option<f64>) -> Published {
    let drawdown = percent.map_or(DrawdownNote::NotApplicable, |percent| {
        DrawdownNote::Percent(Percent::new(percent).expect("finite"))
    });
    Published { trader: trader(name), reason, drawdown }
}

fn update(name: &str) -> Input {
    let batch = vec![publish(name, Reason::FailedChallengePeriodTime, None)];
    Input::Reasons(ReasonsCommand::Update(batch))
}

fn refused(refusal: Refusal) -> Result<(), Rejection> {
    Err(Rejection::ChallengePeriod(refusal))
}

/// I1 and I2: a registered trader is in exactly one stage or has ended; who has ended, or is not
/// registered, is in none.
fn nobody_is_lost(view: &View) {
    for account in &view.accounts {
        let registered = view.roster.admit(&account.trader).is_ok();
        let placed = (account.standing.is_some(), account.elimination.is_some());
        let right = match placed {
            (true, true) => false,
            (true, false) => registered,
            (false, ended) => ended || !registered,
        };
        assert!(
            right,
            "{} registered {registered}, in a stage and ended {placed:?}",
            account.trader
        );
    }
}

fn moves(outcome: &Outcome) -> Vec<(String, Cause)> {
    let moved = outcome.events.iter().filter_map(|event| {
        if let Event::StageChanged { trader, cause, .. } = event {
            Some((trader.to_string(), *cause))
        } else {
            None
        }
    });
    moved.collect()
}

#[test]
fn c_23_c_56_registration_and_the_stage_change_in_one_commit() {
    let mut world = World::new();
    assert_eq!(world.standing("alice"), since(Stage::Challenge, 0));
    let left = world.all(1_000, vec![roster(2, &["bob", "carol"])]);
    assert_eq!(moves(&left), [("alice".into(), Cause::Departed)]);
    assert_eq!(world.standing("alice"), None);
    let back = world.all(2_000, vec![roster(3, &NAMES)]);
    assert_eq!(moves(&back), [("alice".into(), Cause::Admitted)]);
    assert_eq!(world.standing("alice"), since(Stage::Challenge, 2_000));
}

#[test]
fn c_24_the_first_order_moves_the_start_of_the_challenge_in_its_own_commit() {
    let mut world = World::new();
    let (price, order) = (world.price(5 * DAY, 100.0), world.order("alice", Side::Long));
    let outcome = world.all(5 * DAY, vec![price, order]);
    assert_eq!(moves(&outcome), [("alice".into(), Cause::FirstOrder)]);
    assert_eq!(world.standing("alice"), since(Stage::Challenge, 5 * DAY));
    let (price, order) = (world.price(6 * DAY, 100.0), world.order("alice", Side::Long));
    assert_eq!(moves(&world.all(6 * DAY, vec![price, order])), [], "only the first");
    // An operator's clock gives way to the first order, at the next refresh.
    world.all(6 * DAY, vec![set("alice", Stage::Challenge, DAY)]);
    let outcome = world.all(6 * DAY + REFRESH, vec![]);
    assert_eq!(moves(&outcome), [("alice".into(), Cause::FirstOrder)]);
    world.all(6 * DAY + REFRESH, vec![set("alice", Stage::Probation, 2 * DAY)]);
    assert_eq!(moves(&world.all(6 * DAY + 2 * REFRESH, vec![])), [], "only of a challenge");
}

#[test]
fn c_20_p_9_a_refresh_is_due_when_the_interval_has_passed_and_a_silence_is_one_refresh() {
    let mut world = World::new();
    let last = |world: &World| world.engine.view().challenge.refreshed_at.map(|at| at.0 - T0);
    assert_eq!(last(&world), None, "the rulebook came with the commit");
    world.all(1, vec![]);
    assert_eq!(last(&world), Some(1));
    world.all(REFRESH, vec![]);
    assert_eq!(last(&world), Some(1), "a millisecond short");
    world.all(REFRESH + 1, vec![]);
    assert_eq!(last(&world), Some(REFRESH + 1));
    world.all(20 * DAY, vec![]);
    world.all(20 * DAY + 1, vec![]);
    assert_eq!(last(&world), Some(20 * DAY));
}

#[test]
fn x_4_c_61_c_62_who_is_timed_out_is_ended_before_the_inputs_of_that_time_and_never_readmitted() {
    let mut world = World::new();
    world.all(90 * DAY - 1, vec![]);
    assert_eq!(world.standing("alice"), since(Stage::Challenge, 0));
    // The refresh is a level: it is due here whatever the inputs are, and they come after it.
    let (price, order) = (world.price(90 * DAY + REFRESH, 100.0), world.order("alice", Side::Long));
    let outcome = world.commit(90 * DAY + REFRESH, vec![price, order, roster(2, &NAMES)]);
    let ended = Err(Rejection::Eliminated(UtcMs(T0 + 90 * DAY + REFRESH)));
    assert_eq!(outcome.replies, [Ok(()), ended, Ok(())]);
    assert_eq!(world.reason("alice"), Some(Reason::FailedChallengePeriodTime));
    let expected: Vec<_> = NAMES.map(|name| (name.to_owned(), Cause::Ended)).into();
    assert_eq!(moves(&outcome), expected);
    // The reference admitted again whom it saw neither pending nor eliminated. Here nothing does.
    world.all(91 * DAY, vec![roster(3, &["bob", "carol"])]);
    let outcome =
        world.all(92 * DAY, vec![roster(4, &NAMES), Input::Stages(StagesCommand::Refresh)]);
    assert_eq!(moves(&outcome), []);
}

#[test]
fn x_1_c_60_what_was_decided_after_the_list_was_read_survives_the_clear() {
    let mut world = World::new();
    world.all(10, vec![update("alice")]);
    // The consumer reads the list, the producer adds to it, the consumer clears what it has read.
    let seen = world.engine.view().challenge.reasons.newest();
    world.all(20, vec![update("bob"), Input::Reasons(ReasonsCommand::Clear { up_to: seen })]);
    assert_eq!(world.register(), [(2, "bob".to_owned())]);
    // Whatever is cleared, the accounts have ended.
    world.all(30, vec![Input::Reasons(ReasonsCommand::Clear { up_to: 2 })]);
    assert_eq!(world.register(), []);
    assert!(world.reason("alice").is_some() && world.reason("bob").is_some());
    let ahead = Input::Reasons(ReasonsCommand::Clear { up_to: 3 });
    let outcome = world.commit(40, vec![ahead]);
    assert_eq!(outcome.replies, [refused(Refusal::NotDecided { up_to: 3, newest: 2 })]);
}

#[test]
fn x_2_x_3_c_63_c_64_c_65_a_crash_at_any_commit_loses_no_decision() {
    let steps = [
        vec![update("alice"), update("bob")],
        vec![Input::Reasons(ReasonsCommand::Pop(trader("alice")))],
        vec![Input::Reasons(ReasonsCommand::Clear { up_to: 2 })],
        vec![Input::Stages(StagesCommand::Refresh)],
    ];
    let run = |crash_after: usize| {
        let mut world = World::new();
        for (place, inputs) in steps.iter().enumerate() {
            world.all(10 * (i64::try_from(place).expect("few") + 1), inputs.clone());
            for name in ["alice", "bob"] {
                assert!(world.reason(name).is_some(), "{name} ended in the first commit, for good");
            }
            if place == crash_after {
                let mut bytes = Vec::new();
                world.engine.save(&mut bytes).expect("to memory");
                world.engine = Engine::load(&bytes).expect("what was saved");
            }
        }
        (world.engine.digest(), world.register())
    };
    let whole = run(usize::MAX);
    assert_eq!(whole.1, []);
    for crash_after in 0..steps.len() {
        assert_eq!(run(crash_after), whole, "crash after step {crash_after}");
    }
}

#[test]
fn c_66_c_69_the_first_reason_stands_and_a_later_one_is_passed_over() {
    let mut world = World::new();
    world.all(10, vec![update("alice")]);
    let later = vec![
        publish("alice", Reason::Plagiarism, None),
        publish("bob", Reason::FailedChallengePeriodDrawdown, Some(12.5)),
        publish("carol", Reason::MaxTotalDrawdown, Some(11.0)),
    ];
    world.all(20, vec![Input::Reasons(ReasonsCommand::Update(later))]);
    assert_eq!(world.reason("alice"), Some(Reason::FailedChallengePeriodTime));
    assert_eq!(
        world.account("bob").elimination.as_ref().map(|r| r.drawdown),
        Some(DrawdownNote::percent(12.5))
    );
    let view = world.engine.view();
    let told: Vec<_> = view
        .challenge
        .reasons
        .open()
        .iter()
        .map(|d| (d.seq, d.reason, d.drawdown.legacy(d.reason), d.decided.at.0 - T0))
        .collect();
    let expected = [
        (1, Reason::FailedChallengePeriodTime, Some(-1.0), 10),
        (2, Reason::FailedChallengePeriodDrawdown, Some(12.5), 20),
        (3, Reason::MaxTotalDrawdown, Some(11.0), 20),
    ];
    assert_eq!(told, expected, "with the time of the decision, not of its consumption");
    assert_eq!(view.challenge.reasons.of(&trader("bob")).map(|d| d.seq), Some(2));
}

#[test]
fn c_67_c_68_c_70_a_batch_of_reasons_is_judged_whole_in_the_commit_that_carries_it_out() {
    let mut world = World::new();
    let batch = |list: Vec<Published>| Input::Reasons(ReasonsCommand::Update(list));
    let alice = || publish("alice", Reason::Plagiarism, None);
    let replies = [
        (vec![alice(), publish("zoe", Reason::Plagiarism, None)], Refusal::Unknown(trader("zoe"))),
        (vec![alice(), alice()], Refusal::Repeated(trader("alice"))),
        (
            vec![alice(), publish("bob", Reason::MaxTotalDrawdown, Some(100.1))],
            Refusal::Percent(trader("bob")),
        ),
    ];
    for (list, refusal) in replies {
        let outcome = world.commit(world.now + 1, vec![batch(list)]);
        assert_eq!(outcome.replies, [refused(refusal)]);
        assert_eq!(world.reason("alice"), None);
    }
    // Popping what is not there is no error: an acknowledgement may be sent twice.
    let pop = || Input::Reasons(ReasonsCommand::Pop(trader("alice")));
    world.all(100, vec![batch(vec![alice()]), pop(), pop()]);
    assert_eq!((world.reason("alice"), world.register()), (Some(Reason::Plagiarism), vec![]));
}

#[test]
fn x_8_c_80_stages_are_set_all_or_none_and_nobody_sees_them_empty() {
    let mut world = World::new();
    let standing = |stage, now| Standing::new(stage, UtcMs(T0 + now));
    let funded = standing(Stage::Funded, 5);
    let before = Standing::new(Stage::UnderReview, UtcMs(T0 + 5));
    world.all(10, vec![update("carol"), roster(2, &["alice", "carol"])]);
    for (name, wrong, refusal) in [
        ("zoe", funded, Refusal::Unknown(trader("zoe"))),
        ("bob", funded, Refusal::NotRegistered(trader("bob"))),
        ("carol", funded, Refusal::Ended(trader("carol"))),
        ("alice", funded, Refusal::Repeated(trader("alice"))),
    ] {
        let list = vec![(trader("alice"), funded), (trader(name), wrong)];
        let outcome = world.commit(20, vec![Input::Stages(StagesCommand::Set(list))]);
        assert_eq!(outcome.replies, [refused(refusal)]);
        assert_eq!(world.standing("alice"), since(Stage::Challenge, 0), "as before");
    }
    let at = |ms| Standing::new(Stage::Funded, UtcMs(ms));
    for (wrong, refusal) in [
        (before, Refusal::Before(trader("alice"))),
        (at(T0 + 21), Refusal::Ahead { trader: trader("alice"), at: UtcMs(T0 + 21) }),
        (at(i64::MIN), Refusal::Calendar { trader: trader("alice"), at: UtcMs(i64::MIN) }),
        (at(i64::MAX), Refusal::Calendar { trader: trader("alice"), at: UtcMs(i64::MAX) }),
    ] {
        let list = vec![(trader("alice"), wrong)];
        let outcome = world.commit(20, vec![Input::Stages(StagesCommand::Set(list))]);
        assert_eq!(outcome.replies, [refused(refusal)]);
    }
    world.all(20, vec![set("alice", Stage::Funded, 5)]);
    assert_eq!(world.standing("alice"), Some(funded));
}

#[test]
fn who_is_taken_out_of_a_stage_begins_anew_in_the_same_commit() {
    let mut world = World::new();
    world.all(10, vec![set("alice", Stage::Funded, 5)]);
    let outcome = world.all(20, vec![Input::Stages(StagesCommand::Remove(trader("alice")))]);
    let expected = [Cause::Removed, Cause::Admitted].map(|cause| ("alice".to_owned(), cause));
    assert_eq!(moves(&outcome), expected);
    assert_eq!(world.standing("alice"), since(Stage::Challenge, 20));
}

#[test]
fn x_25_a_second_refresh_of_the_same_moment_does_nothing() {
    let mut world = World::new();
    world.all(REFRESH, vec![]);
    let mut inputs: Vec<Input> =
        vec![set("alice", Stage::Funded, 1), set("bob", Stage::Probation, 1)];
    inputs.push(suspects(&[("carol", 60 * DAY)]));
    inputs.extend([StagesCommand::Refresh, StagesCommand::Refresh].map(Input::Stages));
    let outcome = world.all(61 * DAY, inputs);
    let causes: Vec<Cause> = moves(&outcome).into_iter().map(|(_, cause)| cause).collect();
    assert_eq!(causes, [Cause::Set, Cause::Set, Cause::Suspected, Cause::Ended]);
    assert_eq!(world.reason("bob"), Some(Reason::FailedChallengePeriodTime));
}

#[test]
fn x_26_the_time_limit_is_that_of_the_stage_in_the_same_picture() {
    let mut world = World::new();
    // Funded just before the refresh that would have found the challenge's time over.
    world.all(90 * DAY - 1, vec![set("alice", Stage::Funded, 90 * DAY - 1)]);
    let outcome = world.commit(90 * DAY + REFRESH, vec![set("bob", Stage::Funded, 5)]);
    assert_eq!(world.standing("alice"), since(Stage::Funded, 90 * DAY - 1));
    // And just too late: the time was over when the command came.
    assert_eq!(outcome.replies, [refused(Refusal::Ended(trader("bob")))]);
}

#[test]
fn x_27_c_53_funded_traders_without_a_ledger_are_not_demoted_and_the_alert_is_told_once() {
    let mut world = World::new();
    let list = NAMES.map(|name| set(name, Stage::Funded, 1));
    world.all(10, list.into());
    let alerts = |outcome: &Outcome| {
        let told = outcome.events.iter().filter_map(|event| {
            if let Event::ChallengeAlerts { alerts } = event { Some(alerts.clone()) } else { None }
        });
        told.collect::<Vec<_>>()
    };
    let alert = Alert::Coverage { scored: 0, funded: 3 };
    assert_eq!(alerts(&world.all(REFRESH + 10, vec![])), [vec![alert]]);
    let again = world.all(2 * REFRESH + 10, vec![]);
    assert_eq!((alerts(&again), moves(&again)), (vec![], vec![]));
    assert_eq!(world.engine.view().challenge.alerts, [alert]);
    assert_eq!(world.engine.view().in_stage(Stage::Funded).count(), 3);
    // With nobody funded nothing stands in the way any more.
    let list = NAMES.map(|name| set(name, Stage::Challenge, 1));
    let cleared = world.all(
        3 * REFRESH + 10,
        list.into_iter().chain([Input::Stages(StagesCommand::Refresh)]).collect(),
    );
    assert_eq!(alerts(&cleared), [vec![]]);
}

#[test]
fn c_43_c_44_a_review_restores_the_stage_and_the_clock_or_ends_the_account() {
    let mut world = World::new();
    world.all(DAY, vec![set("alice", Stage::Probation, 100)]);
    let under = world.all(2 * DAY, vec![suspects(&[("alice", 0), ("stranger", 0)])]);
    assert_eq!(moves(&under), [("alice".into(), Cause::Suspected)]);
    let reviewed = world.standing("alice").expect("under review");
    assert_eq!(
        reviewed,
        Standing::new(Stage::Probation, UtcMs(T0 + 100)).reviewed(UtcMs(T0 + 2 * DAY))
    );
    // The same list again changes nothing; an empty list is a report and clears everybody.
    assert_eq!(moves(&world.all(3 * DAY, vec![suspects(&[("alice", 0)])])), []);
    let cleared = world.all(4 * DAY, vec![suspects(&[])]);
    assert_eq!(moves(&cleared), [("alice".into(), Cause::Cleared)]);
    assert_eq!(world.standing("alice"), since(Stage::Probation, 100));
    // Suspected again: fourteen days of the report's own time, strictly.
    world.all(5 * DAY, vec![suspects(&[("alice", 4 * DAY)])]);
    world.all(18 * DAY, vec![]);
    assert_eq!(world.reason("alice"), None);
    world.all(18 * DAY + REFRESH, vec![]);
    assert_eq!(world.reason("alice"), Some(Reason::Plagiarism));
    assert_eq!(world.register(), [(1, "alice".to_owned())]);
    assert_eq!(world.reason("bob"), None);
}

#[test]
fn a_report_with_a_time_outside_the_calendar_is_refused_and_the_one_before_stands() {
    let mut world = World::new();
    world.all(10, vec![suspects(&[("alice", 0)])]);
    let wrong = PlagiarismReport::new(vec![(trader("bob"), UtcMs(-1))]);
    let outcome = world.commit(20, vec![Input::Plagiarism(wrong)]);
    let refusal = Refusal::Calendar { trader: trader("bob"), at: UtcMs(-1) };
    assert_eq!(outcome.replies, [refused(refusal)]);
    assert_eq!(world.standing("alice").map(|s| s.stage), Some(Stage::UnderReview));
}

#[test]
fn c_37_e_50_the_drawdown_limit_holds_in_every_stage_and_is_named_after_it() {
    for (stage, reason) in [
        (Stage::Challenge, Reason::FailedChallengePeriodDrawdown),
        (Stage::Probation, Reason::FailedChallengePeriodDrawdown),
        (Stage::Funded, Reason::MaxTotalDrawdown),
        (Stage::UnderReview, Reason::MaxTotalDrawdown),
    ] {
        let mut world = World::new();
        let (price, order) = (world.price(1_000, 100.0), world.order("alice", Side::Long));
        world.all(1_000, vec![price, order]);
        let moved = if stage == Stage::UnderReview {
            suspects(&[("alice", 0)])
        } else {
            set("alice", stage, 1_000)
        };
        world.all(2_000, vec![moved]);
        assert_eq!(world.standing("alice").map(|s| s.stage), Some(stage));
        let price = world.price(60_000, 60.0);
        let outcome = world.all(60_000, vec![price]);
        assert_eq!(world.reason("alice"), Some(reason), "{stage}");
        assert_eq!(moves(&outcome), [("alice".into(), Cause::Ended)]);
        assert_eq!(world.register().len(), usize::from(reason.is_of_challenge_period()));
    }
}

/// Returns the share of `name` in the ranking of the last refresh.
fn share(world: &World, name: &str) -> Option<f64> {
    let view = world.engine.view();
    let ranking = view.challenge.ranking.clone()?;
    let class = ranking.classes.iter().find(|class| class.class == AssetClass::Crypto)?;
    class.scores.iter().find(|(trader, _)| trader.as_str() == name).map(|(_, share)| *share)
}

/// Two months of half-days: alice gains and takes her profit each day, bob gains less, carol's
/// position stands still.
fn two_months(world: &mut World) {
    for half in 1..=123_i64 {
        let now = half * DAY / 2 + 60_000;
        let price = world.price(now, 100.0 + f64::from(u32::try_from(half % 2).expect("0 or 1")));
        let mut inputs = vec![price];
        // Longs are opened at 100 and closed at 101.
        let opens = half % 2 == 0;
        let days = half / 2;
        for (name, every) in [("alice", 1), ("bob", 4), ("carol", 1_000)] {
            if days % every == 0 {
                let side = if opens { Side::Long } else { Side::Flat };
                inputs.push(world.order(name, side));
            } else if half == 2 {
                inputs.push(world.order(name, Side::Long));
            }
        }
        world.all(now, inputs);
    }
}

#[test]
fn c_40_c_50_a_whole_life_challenge_funded_probation_by_days_and_ranks() {
    // One place, so that the first of the class is funded and nobody else.
    let rulebook =
        VANTA.replacen("funded_per_class = { value = 25", "funded_per_class = { value = 1", 1);
    let mut world = World::with(&rulebook);
    two_months(&mut world);
    assert_eq!(world.engine.view().in_stage(Stage::Funded).count(), 0, "days are not complete yet");
    let from = 62 * DAY - 60_000;
    let mut promoted = None;
    for step in 0..6 {
        let now = from + step * DAY / 2;
        let outcome = world.all(now, vec![world.price(now, 100.0)]);
        promoted = promoted.or_else(|| {
            let moved = moves(&outcome);
            moved.iter().any(|(_, cause)| *cause == Cause::Promoted).then_some((now, moved))
        });
    }
    let (at, moved) = promoted.expect("sixty-one days are complete");
    assert_eq!(moved, [("alice".into(), Cause::Promoted)]);
    assert_eq!(world.standing("alice"), since(Stage::Funded, at), "counting from the promotion");
    let shares = ["alice", "bob", "carol"].map(|name| share(&world, name).expect("scored"));
    assert!(shares[0] > shares[1] && shares[1] > shares[2], "{shares:?}");
    assert_eq!(shares[2], 0.0, "the last of a class");
    // Bob is put before her: what has a better rank takes the place.
    let now = world.now + REFRESH;
    world.all(now, vec![set("bob", Stage::Funded, now), set("alice", Stage::Challenge, now)]);
    let outcome = world.all(now + REFRESH, vec![]);
    let expected = [
        ("alice".to_owned(), Cause::FirstOrder),
        ("alice".to_owned(), Cause::Promoted),
        ("bob".to_owned(), Cause::Demoted),
    ];
    assert_eq!(moves(&outcome), expected);
    assert_eq!(world.standing("bob"), since(Stage::Probation, now + REFRESH));
    // The clock of a probation runs from the demotion.
    let over = now + REFRESH + 60 * DAY;
    world.all(over - 1, vec![]);
    assert_eq!(world.reason("bob"), None);
    world.all(over + REFRESH, vec![]);
    assert_eq!(world.reason("bob"), Some(Reason::FailedChallengePeriodTime));
    assert_eq!(world.standing("alice").map(|s| s.stage), Some(Stage::Funded));
}
