//! What a connection repeats, what it does not, and how long all of it takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use proctor_rpc::Reason;
use proctor_rpc::v1::{
    AddEliminationRequest, AddEliminationResponse, EliminationRow, IsHotkeyEliminatedResponse,
};

use super::*;
use crate::client::Client;
use crate::testing::{Network, Reply, Scripts};

fn as_of(generation: u64) -> Option<AsOf> {
    Some(AsOf { commit: 1, as_of_ms: 1, generation })
}

fn is_eliminated(generation: u64) -> Reply<IsHotkeyEliminatedResponse> {
    Reply::Ok(IsHotkeyEliminatedResponse { as_of: as_of(generation), eliminated: true })
}

/// Returns scripts whose `n`-th call of either kind gets what `reply` says for `n`, and the count.
fn counted(
    add: impl Fn(u32) -> Reply<AddEliminationResponse> + Send + Sync + 'static,
    read: impl Fn(u32) -> Reply<IsHotkeyEliminatedResponse> + Send + Sync + 'static,
) -> (Scripts, Arc<AtomicU32>) {
    let calls = Arc::new(AtomicU32::new(0));
    let (adds, reads) = (Arc::clone(&calls), Arc::clone(&calls));
    let scripts = Scripts {
        add: Box::new(move |_| add(adds.fetch_add(1, Ordering::SeqCst) + 1)),
        is_eliminated: Box::new(move |_| read(reads.fetch_add(1, Ordering::SeqCst) + 1)),
        ..Scripts::default()
    };
    (scripts, calls)
}

fn never<A>(_: u32) -> Reply<A> {
    Reply::Fail(Status::unimplemented("not in this test"))
}

fn added() -> Reply<AddEliminationResponse> {
    Reply::Ok(AddEliminationResponse { as_of: as_of(1), is_new: true, ..Default::default() })
}

fn row() -> AddEliminationRequest {
    let row = EliminationRow { trader: "alice".into(), ..Default::default() };
    AddEliminationRequest { row: Some(row), why: "test".into() }
}

fn client(network: &Network) -> Client {
    Client::over(&network.connect(Settings::default()))
}

#[tokio::test(start_paused = true)]
async fn x_19_a_client_survives_a_restart_of_the_server_and_notices_the_new_generation() {
    let network = Network::default();
    network.serve(counted(never, |_| is_eliminated(7)).0);
    let client = client(&network);
    let link = client.eliminations_connection().link();
    assert_eq!(link.borrow().generation, None);
    client.is_eliminated("alice").await.expect("an answer");
    assert_eq!(link.borrow().generation, Some(7));

    network.end();
    let error = client.is_eliminated("alice").await.expect_err("nobody is there");
    assert!(matches!(error, CallError::NoAnswer { attempts: 2.., .. }), "{error}");
    assert!(link.borrow().failures > 0);

    network.serve(counted(never, |_| is_eliminated(8)).0);
    client.is_eliminated("alice").await.expect("the same client, the same connection");
    // Level-triggered: this waiter comes after the change.
    let mut late = client.eliminations_connection().link();
    let link = late.wait_for(|link| link.generation == Some(8)).await.expect("it is told");
    assert_eq!(link.failures, 0);
}

#[tokio::test(start_paused = true)]
async fn a_read_is_repeated_when_the_connection_breaks_and_when_the_service_is_unavailable() {
    let network = Network::default();
    let (scripts, calls) = counted(never, |call| match call {
        1 => Reply::Break,
        2 => Reply::Fail(Problem::new(Reason::Unavailable, "the node is lost").into()),
        3 => Reply::Fail(Problem::new(Reason::Stale, "20 s old").into()),
        _ => is_eliminated(1),
    });
    network.serve(scripts);
    client(&network).is_eliminated("alice").await.expect("the fourth attempt");
    assert_eq!(calls.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_write_is_sent_again_only_when_nothing_was_taken() {
    let network = Network::default();
    let (scripts, calls) = counted(
        |call| match call {
            1 => Reply::Fail(
                Problem::new(Reason::Busy, "full").retry_after(Duration::from_millis(700)).into(),
            ),
            2 => Reply::Fail(
                Problem::new(Reason::Unavailable, "stopping").with_code("stopping").into(),
            ),
            _ => added(),
        },
        never,
    );
    let client = client(&network);
    let begun = Instant::now();
    // Nobody listens for the first second.
    let (answer, ()) = tokio::join!(client.add_elimination(row()), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        network.serve(scripts);
    });
    assert!(answer.expect("the third attempt that arrives").is_new);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
    assert!(begun.elapsed() >= Duration::from_millis(1_700), "{:?}", begun.elapsed());
    assert!(network.attempts() < 10, "{} connections in a second", network.attempts());
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_outcome_is_unknown_is_not_repeated_and_says_what_to_ask() {
    type Make = fn() -> Reply<AddEliminationResponse>;
    let table: [(Make, &str); 4] = [
        (|| Reply::Break, "broken"),
        (|| Reply::Hang, "no answer in time"),
        (
            || Reply::Fail(Problem::new(Reason::Unavailable, "lost the node").into()),
            "lost the node",
        ),
        (|| Reply::Fail(Status::internal("a fault")), "a fault"),
    ];
    for (reply, why) in table {
        let network = Network::default();
        let (scripts, calls) = counted(move |_| reply(), never);
        network.serve(scripts);
        let begun = Instant::now();
        let error = client(&network).add_elimination(row()).await.expect_err("no answer");
        let CallError::OutcomeUnknown(unknown) = error else { panic!("{why}: {error:?}") };
        assert_eq!(unknown.ask, Ask::Elimination { trader: "alice".into() });
        assert_eq!(calls.load(Ordering::SeqCst), 1, "{why}");
        if why != "broken" {
            assert!(unknown.to_string().contains(why), "{unknown}");
        }
        assert!(begun.elapsed() <= Settings::default().deadline, "{why}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_the_answer_and_is_not_asked_for_again() {
    let network = Network::default();
    let refusal = || Problem::new(Reason::Refused, "no").with_code("has_a_record");
    let (scripts, calls) = counted(move |_| Reply::Fail(refusal().into()), never);
    network.serve(scripts);
    let client = client(&network);
    let error = client.add_elimination(row()).await.expect_err("refused");
    assert_eq!(error.problem(), Some(&refusal()));
    let error = client.is_eliminated("alice").await.expect_err("not in the script");
    assert!(matches!(error, CallError::Foreign { .. }), "{error:?}");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn every_call_ends_at_its_deadline_whatever_the_server_does() {
    type Make = fn() -> Reply<IsHotkeyEliminatedResponse>;
    let table: [Make; 3] = [
        || Reply::Hang,
        || Reply::Break,
        || {
            let busy = Problem::new(Reason::Busy, "full");
            Reply::Fail(busy.retry_after(Duration::from_secs(3_600)).into())
        },
    ];
    for reply in table {
        let network = Network::default();
        network.serve(counted(never, move |_| reply()).0);
        let begun = Instant::now();
        let error = client(&network).is_eliminated("alice").await.expect_err("no answer");
        assert!(matches!(error, CallError::NoAnswer { .. }), "{error:?}");
        assert!(begun.elapsed() <= Duration::from_millis(5_010), "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn callers_of_a_server_that_is_gone_share_one_back_off_p_1() {
    let network = Network::default();
    let client = client(&network);
    let calls = (0..20).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.add_elimination(row()).await })
    });
    for call in calls.collect::<Vec<_>>() {
        let error = call.await.expect("no panic").expect_err("nobody is there");
        assert!(matches!(error, CallError::NotTaken { .. }), "{error:?}");
    }
    // With 3/4 of 50, 100, 200, ... ms in between, seven rounds fit into 5 s. The callers of a round
    // go together.
    let attempts = network.attempts();
    assert!(attempts <= 8 * 20, "{attempts}");
    assert!(attempts >= 6, "{attempts}");
}

#[test]
fn an_address_or_token_that_cannot_be_one_is_refused_and_no_token_is_told() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let _entered = runtime.as_ref().expect("a runtime").enter();
    let random = Random::new(|| 0);
    let make =
        |address: &str, token| Connection::new(address, token, Settings::default(), random.clone());
    assert!(make("127.0.0.1:50003", Some("s3cret")).is_ok());
    assert!(make("http://localhost:1", None).is_ok());
    for address in ["", "a b", "http://", ":::"] {
        let error = make(address, None).expect_err(address);
        assert_eq!(error, InvalidConnection::Address(address.into()));
    }
    let error = make("127.0.0.1:1", Some("s3c\nret")).expect_err("a line break");
    assert_eq!(error, InvalidConnection::Token);
    let connection = make("127.0.0.1:1", Some("s3cret")).expect("a connection");
    assert!(!format!("{connection:?}").contains("s3cret"));
}
