//! A replica against a scripted server: what it holds is the server's state of the commit it tells,
//! and it is never older than the limit without saying so.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proctor_rpc::v1::{AsOf, Elimination, Gap, WatchEliminationsResponse};
use proctor_rpc::{Problem, Reason};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::wrappers::{ReceiverStream, UnboundedReceiverStream};
use tonic::{Status, Streaming};

use super::eliminations::{EliminationReplica, Eliminations};
use super::*;
use crate::connection::Settings;
use crate::testing::{Messages, Network, Reply, Scripts};

const GENERATION: u64 = 7;

/// One commit of the model: who got a record, and whose was lifted.
#[derive(Clone, Debug, Default)]
struct Commit {
    added: Vec<&'static str>,
    removed: Vec<&'static str>,
}

/// The model: commits from 1 on.
#[derive(Clone, Debug)]
struct Model(Vec<Commit>);

const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

impl Model {
    /// Commits in which each name comes and goes, some of them without a change.
    fn new(commits: usize) -> Self {
        let mut model = Self(Vec::new());
        for index in 0..commits {
            let name = NAMES[index * 7 % NAMES.len()];
            let mut commit = Commit::default();
            if index % 4 != 3 {
                if model.state(index as u64).contains(name) {
                    commit.removed.push(name);
                } else {
                    commit.added.push(name);
                }
            }
            model.0.push(commit);
        }
        model
    }

    fn head(&self) -> u64 {
        self.0.len() as u64
    }

    fn state(&self, commit: u64) -> BTreeSet<String> {
        let mut state = BTreeSet::new();
        for commit in self.0.iter().take(usize::try_from(commit).expect("small")) {
            for name in &commit.removed {
                state.remove(*name);
            }
            state.extend(commit.added.iter().map(|name| (*name).to_owned()));
        }
        state
    }

    /// What a server sends to who knows everything up to `from`.
    fn messages(&self, from: u64, generation: u64) -> Vec<WatchEliminationsResponse> {
        let mut messages = Vec::new();
        let mut known = from;
        if from == 0 {
            known = self.head().div_ceil(2);
            messages.push(self.reset(known, generation));
        }
        for commit in known + 1..=self.head() {
            messages.extend(self.change(commit, generation));
        }
        messages.push(heartbeat(self.head(), generation));
        messages
    }

    fn reset(&self, commit: u64, generation: u64) -> WatchEliminationsResponse {
        let added = self.state(commit).iter().map(|name| record(name)).collect();
        WatchEliminationsResponse { reset: true, added, ..heartbeat(commit, generation) }
    }

    fn change(&self, commit: u64, generation: u64) -> Option<WatchEliminationsResponse> {
        let what = &self.0[usize::try_from(commit - 1).expect("small")];
        let added = what.added.iter().map(|name| record(name)).collect::<Vec<_>>();
        let removed = what.removed.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let is_change = !(added.is_empty() && removed.is_empty());
        is_change.then(|| WatchEliminationsResponse {
            added,
            removed,
            ..heartbeat(commit, generation)
        })
    }
}

fn record(name: &str) -> Elimination {
    Elimination { trader: name.into(), ..Default::default() }
}

fn heartbeat(commit: u64, generation: u64) -> WatchEliminationsResponse {
    let as_of_ms = i64::try_from(commit).expect("small") * 1_000;
    let as_of = Some(AsOf { commit, as_of_ms, generation });
    WatchEliminationsResponse { as_of, ..Default::default() }
}

/// Eliminations that write down each state they went through.
#[derive(Clone, Debug, Default)]
struct Recorded {
    now: Eliminations,
    states: Vec<(u64, BTreeSet<String>)>,
}

impl Recorded {
    fn names(&self) -> BTreeSet<String> {
        self.now.records().map(|record| record.trader.clone()).collect()
    }
}

impl ReplicaState for Recorded {
    type Message = WatchEliminationsResponse;

    async fn open(
        connection: &Connection,
        from_commit: u64,
    ) -> Result<Streaming<Self::Message>, Status> {
        Eliminations::open(connection, from_commit).await
    }

    fn head(message: &Self::Message) -> Head {
        Eliminations::head(message)
    }

    fn take(&mut self, message: Self::Message) {
        let commit = message.as_of.expect("checked before").commit;
        self.now.take(message);
        self.states.push((commit, self.names()));
    }
}

/// How a stream ends early.
#[derive(Clone, Copy, Debug)]
enum End {
    Clean,
    Failed,
    Cut,
    Silent,
}

const ENDS: [End; 4] = [End::Clean, End::Failed, End::Cut, End::Silent];

/// Returns a stream of `messages` that ends as `end`; with `None` heartbeats follow.
fn stream(
    network: &Network,
    messages: Vec<WatchEliminationsResponse>,
    end: Option<End>,
) -> Messages<WatchEliminationsResponse> {
    let (sender, receiver) = mpsc::channel(1);
    let network = network.clone();
    tokio::spawn(async move {
        let quiet = messages.last().and_then(|message| message.as_of);
        for message in messages {
            if sender.send(Ok(message)).await.is_err() {
                return;
            }
        }
        match end {
            Some(End::Clean) => {}
            Some(End::Failed) => {
                let problem = Problem::new(Reason::Unavailable, "the node is stopping");
                drop(sender.send(Err(problem.with_code("stopping").into())).await);
            }
            Some(End::Cut) => {
                // Lets what was sent arrive, in virtual time.
                sleep(Duration::from_millis(1)).await;
                network.cut();
            }
            Some(End::Silent) => sender.closed().await,
            None => loop {
                sleep(Duration::from_secs(1)).await;
                let message = WatchEliminationsResponse { as_of: quiet, ..Default::default() };
                if sender.send(Ok(message)).await.is_err() {
                    return;
                }
            },
        }
    });
    Box::pin(ReceiverStream::new(receiver))
}

/// Serves `first` to the first watcher and the model to all after it.
fn serve(
    network: &Network,
    model: &Model,
    generation: u64,
    first: Option<(Vec<WatchEliminationsResponse>, End)>,
) -> Arc<Mutex<Vec<u64>>> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (first, asks) = (Mutex::new(first), Arc::clone(&asked));
    let (model, wires) = (model.clone(), network.clone());
    network.serve(Scripts {
        watch: Box::new(move |from| {
            asks.lock().expect("no panic").push(from);
            let first = first.lock().expect("no panic").take();
            let (messages, end) = match first {
                Some((messages, end)) => (messages, Some(end)),
                None => (model.messages(from, generation), None),
            };
            Reply::Ok(stream(&wires, messages, end))
        }),
        ..Scripts::default()
    });
    asked
}

fn start(network: &Network) -> (Replica<Recorded>, Feed) {
    Replica::start(&network.connect(Settings::default()), Limits::default())
}

/// Every state that the copy went through since its last reset was the model's, and came once.
fn assert_equals_model(replica: &Replica<Recorded>, model: &Model) {
    let copy = replica.copy().expect("a copy");
    assert_eq!(copy.state.names(), model.state(copy.as_of.commit), "{:?}", copy.as_of);
    let states = &copy.state.states;
    for (commit, names) in states {
        assert_eq!(*names, model.state(*commit), "as of {commit}");
    }
    assert!(states.windows(2).all(|pair| pair[0].0 < pair[1].0), "{states:?}");
}

#[tokio::test(start_paused = true)]
async fn a_break_at_any_message_leaves_no_gap_and_no_repeat() {
    let model = Model::new(12);
    let whole = model.messages(0, GENERATION);
    for end in ENDS {
        for cut in 0..=whole.len() {
            let network = Network::default();
            let first = Some((whole[..cut].to_vec(), end));
            let asked = serve(&network, &model, GENERATION, first);
            let (replica, _feed) = start(&network);
            replica.reaches(model.head()).await;
            // A stream that has said everything is not over yet: what comes after its end counts.
            sleep(Duration::from_secs(10)).await;
            assert_equals_model(&replica, &model);
            let wanted = cut
                .checked_sub(1)
                .map_or(0, |last| whole[last].as_of.as_ref().expect("each has one").commit);
            let asked = asked.lock().expect("no panic").clone();
            assert_eq!(asked, [0, wanted], "{end:?} after {cut} messages");
            let progress = *replica.progress().borrow();
            assert_eq!(progress.repeats, 0);
            assert_eq!(progress.resets, 1, "{end:?} after {cut} messages");
            assert!(replica.ask(|_| ()).is_ok(), "fresh again");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_again_is_not_taken_again() {
    let model = Model::new(12);
    let whole = model.messages(0, GENERATION);
    for again in 1..whole.len() {
        for back in 1..=again.min(4) {
            // Goes back by some messages in the middle of the stream and tells them again.
            let mut messages = whole[..=again].to_vec();
            messages.extend(whole[again - back + 1..].to_vec());
            let network = Network::default();
            serve(&network, &model, GENERATION, Some((messages, End::Silent)));
            let (replica, _feed) = start(&network);
            replica.reaches(model.head()).await;
            sleep(Duration::from_secs(1)).await;
            assert_equals_model(&replica, &model);
            let repeats = replica.progress().borrow().repeats;
            // The last message changes nothing, so its repeat is none.
            let expected = if again == whole.len() - 1 { back - 1 } else { back };
            assert_eq!(repeats, expected as u64, "{again} {back}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reset_in_the_middle_replaces_everything_and_needs_no_earlier_message() {
    let model = Model::new(12);
    for gap_at in 7..=12 {
        let mut messages = vec![model.reset(6, GENERATION)];
        let gap = Some(Gap { wanted_after: 6, oldest: gap_at });
        messages.push(WatchEliminationsResponse { gap, ..model.reset(gap_at, GENERATION) });
        messages.extend(model.messages(gap_at, GENERATION));
        let network = Network::default();
        serve(&network, &model, GENERATION, Some((messages, End::Silent)));
        let (replica, _feed) = start(&network);
        replica.reaches(model.head()).await;
        assert_equals_model(&replica, &model);
        assert_eq!(replica.progress().borrow().resets, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn x_19_a_server_that_was_started_again_is_asked_for_everything() {
    let before = Model::new(12);
    let network = Network::default();
    serve(&network, &before, GENERATION, None);
    let connection = network.connect(Settings::default());
    let (replica, _feed) = Replica::<Recorded>::start(&connection, Limits::default());
    replica.reaches(before.head()).await;
    network.end();
    sleep(Duration::from_secs(3)).await;
    // The new start has another history: shorter than, as long as, or longer than the one before.
    for (generation, commits) in [(8, 5), (9, 12), (10, 20)] {
        let mut after = Model::new(commits);
        after.0[0].added.push("frank");
        network.end();
        let asked = serve(&network, &after, generation, None);
        let mut progress = replica.progress();
        let told = progress.wait_for(|progress| {
            progress
                .as_of
                .is_some_and(|as_of| (as_of.generation, as_of.commit) == (generation, after.head()))
        });
        tokio::time::timeout(Duration::from_secs(60), told).await.expect("in time").expect("told");
        assert_equals_model(&replica, &after);
        assert!(replica.ask(|state| state.names().contains("frank")).expect("fresh"));
        assert_eq!(connection.link().borrow().generation, Some(generation));
        assert_eq!(asked.lock().expect("no panic").last(), Some(&0));
    }
}

#[tokio::test(start_paused = true)]
async fn e_82_while_the_owner_is_down_answers_end_after_the_limit_and_come_back_with_it() {
    let model = Model::new(12);
    let network = Network::default();
    serve(&network, &model, GENERATION, None);
    let connection = network.connect(Settings::default());
    let (replica, _feed) = EliminationReplica::start(&connection, Limits::default());
    let stale = replica.is_eliminated("alice").expect_err("nothing has come yet");
    assert_eq!(stale.age, None);
    replica.replica().reaches(model.head()).await;
    let eliminated = model.state(12);
    for name in NAMES {
        assert_eq!(replica.is_eliminated(name), Ok(eliminated.contains(name)), "{name}");
        assert_eq!(replica.get(name).expect("fresh").is_some(), eliminated.contains(name));
    }
    assert_eq!(replica.all().expect("fresh").len(), eliminated.len());
    network.end();
    sleep(Duration::from_millis(14_900)).await;
    assert!(replica.is_eliminated("alice").is_ok(), "within the limit");
    sleep(Duration::from_millis(200)).await;
    for _ in 0..100 {
        let stale = replica.is_eliminated("alice").expect_err("the owner is down");
        assert!(stale.age > Some(stale.age_max), "{stale}");
        assert!(replica.get("alice").is_err() && replica.all().is_err());
        assert!(replica.as_of().is_some(), "the old copy can be looked at by who asks for it");
        sleep(Duration::from_secs(60)).await;
    }
    serve(&network, &model, GENERATION, None);
    sleep(Duration::from_secs(6)).await;
    assert_eq!(replica.is_eliminated("alice"), Ok(eliminated.contains("alice")));
}

#[tokio::test(start_paused = true)]
async fn e_84_a_stream_that_stays_open_and_says_nothing_makes_no_old_copy_look_fresh() {
    let model = Model::new(12);
    let network = Network::default();
    let opened = Arc::new(AtomicU64::new(0));
    let (count, wires, messages) =
        (Arc::clone(&opened), network.clone(), model.messages(0, GENERATION));
    network.serve(Scripts {
        watch: Box::new(move |_| {
            let first = count.fetch_add(1, Ordering::SeqCst) == 0;
            let messages = if first { messages.clone() } else { Vec::new() };
            Reply::Ok(stream(&wires, messages, Some(End::Silent)))
        }),
        ..Scripts::default()
    });
    let (replica, feed) = start(&network);
    replica.reaches(model.head()).await;
    sleep(Duration::from_millis(15_001)).await;
    assert!(replica.ask(|_| ()).is_err());
    assert!(opened.load(Ordering::SeqCst) >= 3, "a silent stream is opened again");
    drop(feed);
    sleep(Duration::from_secs(60)).await;
    let opened_then = opened.load(Ordering::SeqCst);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(opened.load(Ordering::SeqCst), opened_then, "a dropped feed asks for nothing");
}

/// A small generator: the tests need many cases, not good randomness.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// A node that ticks every second and whose messages are late by what the script says, in order.
struct LateNode {
    begun: Instant,
    /// Moments of all commits, ascending; the commit's index is its place and one.
    commits: Mutex<Vec<Instant>>,
    /// How late messages are that are sent from a moment on.
    delays: Vec<(Duration, Duration)>,
}

impl LateNode {
    fn commit(&self) -> u64 {
        let mut commits = self.commits.lock().expect("no panic");
        commits.push(Instant::now());
        commits.len() as u64
    }

    fn message(&self, commit: u64, reset: bool) -> WatchEliminationsResponse {
        let at =
            self.commits.lock().expect("no panic")[usize::try_from(commit - 1).expect("small")];
        let as_of_ms = i64::try_from((at - self.begun).as_millis()).expect("small") + 5_000_000;
        let as_of = Some(AsOf { commit, as_of_ms, generation: GENERATION });
        // Every fifth commit changes something; its record is named after it.
        let added =
            if commit.is_multiple_of(5) { vec![record(&commit.to_string())] } else { Vec::new() };
        WatchEliminationsResponse { as_of, reset, added, ..Default::default() }
    }

    fn delay(&self, sent: Instant) -> Duration {
        let since = sent - self.begun;
        let past = self.delays.iter().rev().find(|(from, _)| *from <= since);
        past.map_or(Duration::ZERO, |(_, delay)| *delay)
    }

    /// A stream whose messages arrive late, and not before the one before.
    fn watch(self: &Arc<Self>, from: u64) -> Messages<WatchEliminationsResponse> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let (line, mut queue) = mpsc::unbounded_channel::<(Instant, WatchEliminationsResponse)>();
        tokio::spawn(async move {
            while let Some((arrives, message)) = queue.recv().await {
                sleep_until(arrives).await;
                if sender.send(Ok(message)).is_err() {
                    return;
                }
            }
        });
        let node = Arc::clone(self);
        tokio::spawn(async move {
            let mut known = from;
            loop {
                let head = node.commits.lock().expect("no panic").len() as u64;
                for commit in known.max(1)..=head {
                    // A reset brings the whole: here, the last record.
                    let message = if known == 0 {
                        node.message(head, true)
                    } else if commit > known {
                        node.message(commit, false)
                    } else {
                        continue;
                    };
                    known = message.as_of.expect("each has one").commit;
                    let now = Instant::now();
                    if line.send((now + node.delay(now), message)).is_err() {
                        return;
                    }
                }
                sleep(Duration::from_millis(100)).await;
            }
        });
        Box::pin(UnboundedReceiverStream::new(receiver))
    }
}

#[tokio::test(start_paused = true)]
async fn e_82_a_copy_that_answers_is_never_older_than_the_limit_however_late_messages_are() {
    for seed in 0..40 {
        let mut random = Lcg(seed);
        let mut delays = Vec::new();
        for step in 0..6 {
            let delay = Duration::from_millis(
                [0, 300, 4_000, 20_000, 40_000][usize::try_from(random.below(5)).expect("small")],
            );
            delays.push((Duration::from_secs(step * 30), delay));
        }
        let node = Arc::new(LateNode { begun: Instant::now(), commits: Mutex::default(), delays });
        node.commit();
        let network = Network::default();
        let serving = Arc::clone(&node);
        network.serve(Scripts {
            watch: Box::new(move |from| Reply::Ok(serving.watch(from))),
            ..Scripts::default()
        });
        let ticking = Arc::clone(&node);
        let ticks = tokio::spawn(async move {
            loop {
                sleep(Duration::from_millis(1_000 - random.below(400))).await;
                ticking.commit();
            }
        });
        let (replica, _feed) = Replica::<Eliminations>::start(
            &network.connect(Settings::default()),
            Limits::default(),
        );
        let limit = Limits::default().age_max;
        let (mut fresh, mut stale) = (0, 0);
        for _ in 0..800 {
            sleep(Duration::from_millis(250)).await;
            let Ok(()) = replica.ask(|_| ()) else {
                stale += 1;
                continue;
            };
            fresh += 1;
            let copy = replica.copy().expect("it has answered");
            let commits = node.commits.lock().expect("no panic");
            // The oldest commit that the copy lacks must be younger than the limit.
            let lacks = commits.get(usize::try_from(copy.as_of.commit).expect("small"));
            let age = lacks.map(|at| at.elapsed()).unwrap_or_default();
            assert!(age <= limit + Duration::from_millis(200), "seed {seed}: {age:?} old");
        }
        assert!(fresh > 0, "seed {seed} answers at times");
        let late = node.delays.iter().any(|(_, delay)| *delay > limit);
        assert!(late || stale < 10, "seed {seed}: {stale} times stale without a reason");
        ticks.abort();
        network.end();
    }
}
