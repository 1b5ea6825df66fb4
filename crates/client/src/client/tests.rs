//! Signed orders whose answers are lost: taken once, and told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use proctor_rpc::v1::submit_result::Result as Became;
use proctor_rpc::v1::{
    Fill, GetOrderResponse, NotTaken, OrderOutcome, SubmitManyResponse, SubmitResult,
};
use proctor_rpc::{Problem, Reason};
use tokio::time::Instant;

use super::{Client, SignedBytes, Submitted};
use crate::connection::Settings;
use crate::error::{Ask, CallError};
use crate::testing::{Network, Reply, Scripts};

/// What the server does with one copy of the order, and what of the answer arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Sent {
    /// Judges it and answers.
    Answered,
    /// Judges it; the connection breaks before the answer.
    TakenThenBroken,
    /// The connection breaks before it is judged.
    LostThenBroken,
    /// Judges it and never answers.
    TakenThenHung,
    /// Has no room.
    Busy,
    /// Does not take it any more: its window is over.
    TooLate,
}

/// How the engine judges the order when it is new.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Judgement {
    Filled,
    Refused,
    /// Filled, and cancelled or forgotten before anybody asks; a copy is told of it.
    Cancelled,
    /// The same, and a copy is told that the id was taken.
    Gone,
}

/// Plays `copies`; the last goes on for ever. Returns the result and how often an order was filled.
async fn play(judgement: Judgement, copies: &[Sent]) -> (Result<Submitted, CallError>, usize) {
    let filled: Arc<Mutex<BTreeMap<Vec<u8>, usize>>> = Arc::default();
    let (judge, known) = (Arc::clone(&filled), Arc::clone(&filled));
    let script = Mutex::new((copies.to_vec(), 0));
    let network = Network::default();
    network.serve(Scripts {
        submit: Box::new(move |order| {
            let (copies, next) = &mut *script.lock().expect("no panic");
            let copy = copies[(*next).min(copies.len() - 1)];
            *next += 1;
            let mut judge = judge.lock().expect("no panic");
            let mut outcome = || {
                let mut outcome = OrderOutcome::default();
                if judgement == Judgement::Refused {
                    outcome.code = "market_closed".into();
                } else if judge.contains_key(&order.payload) && judgement == Judgement::Gone {
                    outcome.code = "duplicate_id".into();
                } else if judge.contains_key(&order.payload) {
                    (outcome.accepted, outcome.repeated) = (true, true);
                } else {
                    outcome.accepted = true;
                    *judge.entry(order.payload.clone()).or_default() += 1;
                }
                outcome
            };
            match copy {
                Sent::Answered => Reply::Ok(outcome()),
                Sent::TakenThenBroken => {
                    outcome();
                    Reply::Break
                }
                Sent::LostThenBroken => Reply::Break,
                Sent::TakenThenHung => {
                    outcome();
                    Reply::Hang
                }
                Sent::Busy => Reply::Fail(Problem::new(Reason::Busy, "full").into()),
                Sent::TooLate => {
                    Reply::Fail(Problem::invalid("payload.valid_until_ms", "over").into())
                }
            }
        }),
        get_order: Box::new(move |_| {
            let found =
                !known.lock().expect("no panic").is_empty() && judgement == Judgement::Filled;
            let fill = found.then(Fill::default);
            let state = if found { "filled" } else { "unknown" };
            Reply::Ok(GetOrderResponse { state: state.into(), fill, ..Default::default() })
        }),
        ..Scripts::default()
    });
    let client = Client::over(&network.connect(Settings::default()));
    let order = order();
    let begun = Instant::now();
    let result = client.submit(&order).await;
    assert!(begun.elapsed() <= Settings::default().deadline, "{:?}", begun.elapsed());
    let times = filled.lock().expect("no panic").values().sum();
    (result, times)
}

fn order() -> SignedBytes {
    SignedBytes {
        trader: "alice".into(),
        order_id: "a-1".into(),
        payload: b"{}".to_vec(),
        signature: vec![0; 64],
    }
}

fn name(result: &Result<Submitted, CallError>) -> String {
    match result {
        Ok(Submitted::Judged { outcome, resent }) => {
            let judged = if outcome.accepted { "accepted" } else { &outcome.code };
            format!("{judged}{}", if *resent { " resent" } else { "" })
        }
        Ok(Submitted::Found(order)) => format!("found {}", order.state),
        Ok(Submitted::TakenBefore(_)) => "taken before".into(),
        Err(CallError::OutcomeUnknown(unknown)) => {
            let ask = Ask::Order { trader: "alice".into(), order_id: "a-1".into() };
            assert_eq!(unknown.ask, ask);
            "unknown".into()
        }
        Err(CallError::Refused(problem)) => format!("not taken: {}", problem.reason.name()),
        Err(error @ CallError::NotTaken { .. }) => format!("gave up: {error}"),
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_whose_answer_is_lost_is_taken_once_and_its_outcome_is_found() {
    use Judgement::{Cancelled, Filled, Gone, Refused};
    use Sent::{Answered, Busy, LostThenBroken, TakenThenBroken, TakenThenHung, TooLate};
    let table: [(Judgement, &[Sent], &str, usize); 14] = [
        (Filled, &[Answered], "accepted", 1),
        (Refused, &[Answered], "market_closed", 0),
        (Filled, &[Busy, Busy, Answered], "accepted", 1),
        (Filled, &[TakenThenBroken, Answered], "found filled", 1),
        (Filled, &[TakenThenHung, Answered], "found filled", 1),
        (Filled, &[LostThenBroken, Answered], "accepted resent", 1),
        (Filled, &[LostThenBroken, LostThenBroken, TakenThenBroken], "found filled", 1),
        (Refused, &[LostThenBroken, Answered], "market_closed resent", 0),
        (Gone, &[TakenThenBroken, Answered], "taken before", 1),
        (Cancelled, &[TakenThenBroken, Answered], "accepted resent", 1),
        (Filled, &[TooLate], "not taken: INVALID_ARGUMENT", 0),
        // The second copy is too late, which says nothing of the first.
        (Gone, &[TakenThenBroken, TooLate], "unknown", 1),
        (Gone, &[TakenThenBroken, Busy], "unknown", 1),
        (Filled, &[LostThenBroken], "unknown", 0),
    ];
    for (judgement, copies, expected, fills) in table {
        let (result, times) = play(judgement, copies).await;
        assert_eq!(name(&result), expected, "{judgement:?} {copies:?}");
        assert_eq!(times, fills, "{judgement:?} {copies:?}");
    }
    let (result, times) = play(Filled, &[Busy]).await;
    assert!(name(&result).starts_with("gave up: Submit was not taken"), "{result:?}");
    assert_eq!(times, 0);
}

/// Plays `copies` of a call with two orders; the last goes on for ever. Returns what the caller is told
/// of the two, and how often they were judged.
async fn play_many(copies: &'static [Sent]) -> (Vec<String>, usize) {
    let judged: Arc<Mutex<usize>> = Arc::default();
    let (judge, sent) = (Arc::clone(&judged), Mutex::new(0));
    let network = Network::default();
    network.serve(Scripts {
        submit_many: Box::new(move |request| {
            let mut next = sent.lock().expect("no panic");
            let copy = copies[(*next).min(copies.len() - 1)];
            *next += 1;
            let mut judged = judge.lock().expect("no panic");
            let answer = |became: Became| {
                let results = request.orders.iter();
                let results = results.map(|_| SubmitResult { result: Some(became.clone()) });
                SubmitManyResponse { results: results.collect(), ..Default::default() }
            };
            let repeated = *judged > 0;
            if matches!(copy, Sent::Answered | Sent::TakenThenBroken | Sent::TakenThenHung) {
                *judged = 1;
            }
            let outcome = OrderOutcome { accepted: true, repeated, ..Default::default() };
            match copy {
                Sent::Answered => Reply::Ok(answer(Became::Outcome(outcome))),
                Sent::TooLate => Reply::Ok(answer(Became::NotTaken(NotTaken::default()))),
                Sent::TakenThenBroken | Sent::LostThenBroken => Reply::Break,
                Sent::TakenThenHung => Reply::Hang,
                Sent::Busy => Reply::Fail(Problem::new(Reason::Busy, "full").into()),
            }
        }),
        ..Scripts::default()
    });
    let client = Client::over(&network.connect(Settings::default()));
    let begun = Instant::now();
    let told = match client.submit_many(&[order(), order()]).await {
        Ok(answer) => answer.results.iter().map(became).collect(),
        Err(CallError::OutcomeUnknown(unknown)) => {
            assert_eq!(unknown.ask, Ask::Orders);
            vec!["unknown".into()]
        }
        Err(error) => vec![format!("gave up: {error}")],
    };
    assert!(begun.elapsed() <= Settings::default().deadline, "{:?}", begun.elapsed());
    let times = *judged.lock().expect("no panic");
    (told, times)
}

fn became(result: &SubmitResult) -> String {
    match &result.result {
        Some(Became::Outcome(outcome)) if outcome.repeated => "repeated".into(),
        Some(Became::Outcome(_)) => "accepted".into(),
        Some(Became::NotTaken(_)) | None => "not taken".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn many_orders_whose_answer_is_lost_are_sent_again_and_each_is_taken_once() {
    use Sent::{Answered, Busy, LostThenBroken, TakenThenBroken, TakenThenHung, TooLate};
    let table: [(&'static [Sent], &[&str], usize); 8] = [
        (&[Answered], &["accepted", "accepted"], 1),
        (&[Busy, Answered], &["accepted", "accepted"], 1),
        (&[TakenThenBroken, Answered], &["repeated", "repeated"], 1),
        (&[TakenThenHung, Answered], &["repeated", "repeated"], 1),
        (&[LostThenBroken, Answered], &["accepted", "accepted"], 1),
        (&[TooLate], &["not taken", "not taken"], 0),
        // The second copy is too late, which says nothing of the first.
        (&[TakenThenBroken, TooLate], &["unknown"], 1),
        (&[LostThenBroken], &["unknown"], 0),
    ];
    for (copies, expected, judged) in table {
        let (told, times) = play_many(copies).await;
        assert_eq!(told, expected, "{copies:?}");
        assert_eq!(times, judged, "{copies:?}");
    }
    let (told, times) = play_many(&[Busy]).await;
    assert!(told[0].starts_with("gave up: SubmitMany was not taken"), "{told:?}");
    assert_eq!(times, 0);
}
