//! Many callers of services that are processes of their own: whole sets, and nothing lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proctor_client::{Client, v1};
use proctor_sequencer::{Clock as _, SystemClock};
use proctor_services::Role;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::node::{ChaosNode, PATIENCE};

/// How often the whole list is replaced.
const REPLACEMENTS: usize = 400;
/// How many decisions each producer takes.
const DECISIONS: usize = 25;
const PRODUCERS: usize = 8;
const SETS: [[&str; 4]; 2] = [["a0", "a1", "a2", "a3"], ["b0", "b1", "b2", "b3"]];

/// A decision: whose, and the commit that took it.
type Decision = (String, u64);

fn decision(record: &v1::Elimination) -> Decision {
    (record.trader.clone(), record.decided.expect("a record has its commit").commit)
}

fn row(trader: &str, at_ms: i64) -> v1::EliminationRow {
    v1::EliminationRow {
        trader: trader.into(),
        reason: "PLAGIARISM".into(),
        dd: None,
        elimination_initiated_time_ms: at_ms,
    }
}

#[test]
fn x_1_x_8_callers_of_other_processes_see_whole_sets_and_no_decision_is_lost_or_taken_twice() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let mut node = ChaosNode::new(directory.path(), 1);
        node.start().await;
        let operator = node.client(Some(Role::Operator));
        let roster = SETS.iter().flatten().map(|name| (*name).to_owned()).collect();
        operator.set_roster(roster).await.expect("a roster");
        replaced(&node, &operator).await;
        cleared(&node).await;
        noise(&mut node).await;
        node.stop().await;
        node.verify();
    });
}

/// Sends bytes that are nothing to every port, most of which are those of children: each goes on as
/// the process that it was.
async fn noise(node: &mut ChaosNode) {
    let before = node.children().await;
    let mut state = 7_u64;
    let mut byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    for port in node.ports() {
        for case in 0..24 {
            let mut bytes = match case % 2 {
                0 => Vec::new(),
                _ => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
            };
            bytes.extend((0..case * 100).map(|_| byte()));
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it is open");
            // Who is refused early may find that nobody reads any more.
            drop(stream.write_all(&bytes).await);
            drop(stream.shutdown().await);
            let read = stream.read_to_end(&mut bytes);
            drop(tokio::time::timeout(PATIENCE, read).await.expect("closed in time"));
        }
    }
    node.all_ready().await;
    let generation = |service: &v1::ServiceStatus| (service.name.clone(), service.generation);
    let now: Vec<_> = node.children().await.values().map(generation).collect();
    assert_eq!(now, before.values().map(generation).collect::<Vec<_>>(), "none was replaced");
}

/// Replaces the whole set again and again while others read it all the time.
async fn replaced(node: &ChaosNode, operator: &Client) {
    let at_ms = SystemClock.now().0 - 60_000;
    let replace = |round: usize| v1::SyncEliminationsRequest {
        source: "other".into(),
        list_as_of_ms: at_ms,
        rows: SETS[round % 2].iter().map(|name| row(name, at_ms)).collect(),
    };
    operator.sync_eliminations(replace(0)).await.expect("taken");
    let over = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for _ in 0..4 {
        let (client, over) = (node.client(None), Arc::clone(&over));
        readers.spawn(async move {
            let (mut reads, mut newest) = (0, 0);
            while !over.load(Ordering::SeqCst) {
                let all = client.eliminations().await.expect("an answer");
                let names: Vec<&str> = all.eliminations.iter().map(|e| &*e.trader).collect();
                assert!(SETS.iter().any(|set| set[..] == names[..]), "neither set: {names:?}");
                let commit = all.as_of.expect("every answer has one").commit;
                assert!(commit >= newest, "{commit} after {newest}: it went back");
                (reads, newest) = (reads + 1, commit);
            }
            reads
        });
    }
    for round in 1..=REPLACEMENTS {
        let done = operator.sync_eliminations(replace(round)).await.expect("taken");
        assert_eq!(done.added, SETS[round % 2], "round {round}");
        assert_eq!(done.removed, SETS[(round + 1) % 2], "round {round}");
    }
    over.store(true, Ordering::SeqCst);
    let reads: Vec<u64> = readers.join_all().await;
    println!("{REPLACEMENTS} replacements, {reads:?} reads by each of {}", reads.len());
    assert!(reads.iter().all(|reads| *reads > 0));
    // An empty list changes nothing, so the set is lifted by hand.
    let last = operator.eliminations().await.expect("an answer");
    let up_to = last.as_of.expect("every answer has one").commit;
    operator.clear_eliminations(up_to, "the next test").await.expect("cleared");
}

/// Takes decisions while others read all of them and clear what they have read.
async fn cleared(node: &ChaosNode) {
    let over = Arc::new(AtomicBool::new(false));
    let mut producers = JoinSet::new();
    for number in 0..PRODUCERS {
        producers.spawn(decide(node.client(Some(Role::Operator)), format!("t{number}")));
    }
    let mut consumers = JoinSet::new();
    for _ in 0..3 {
        consumers.spawn(consume(node.client(Some(Role::Operator)), Arc::clone(&over)));
    }
    let mut made = producers.join_all().await.concat();
    over.store(true, Ordering::SeqCst);
    let mut handled = consumers.join_all().await.concat();
    made.sort_unstable();
    handled.sort_unstable();
    assert_eq!(made.len(), PRODUCERS * DECISIONS);
    assert_eq!(made, handled, "every decision is handled, and by one consumer only");
}

/// Ends the account again and again, whenever others have lifted the record.
async fn decide(client: Client, trader: String) -> Vec<Decision> {
    let mut made = Vec::new();
    while made.len() < DECISIONS {
        let row = Some(row(&trader, SystemClock.now().0 - 1_000));
        let request = v1::AddEliminationRequest { row, why: "a test of races".into() };
        let answer = client.add_elimination(request).await.expect("an answer");
        if answer.is_new {
            made.push(decision(&answer.elimination.expect("the record that stands")));
        }
    }
    made
}

/// Takes what there is and clears up to what was seen, until there is nothing and `over`.
async fn consume(client: Client, over: Arc<AtomicBool>) -> Vec<Decision> {
    let mut handled = Vec::new();
    loop {
        let last = over.load(Ordering::SeqCst);
        let all = client.eliminations().await.expect("an answer");
        if all.eliminations.is_empty() && last {
            return handled;
        }
        let up_to = all.as_of.expect("every answer has one").commit;
        let seen: BTreeMap<String, Decision> =
            all.eliminations.iter().map(|e| (e.trader.clone(), decision(e))).collect();
        let cleared = client.clear_eliminations(up_to, "handled").await.expect("cleared");
        for trader in cleared.traders {
            // What is cleared was seen: nothing that was decided meanwhile goes with it.
            handled.push(seen.get(&trader).expect("cleared without being seen").clone());
        }
    }
}
