//! How a node begins, ends, and refuses to begin.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proctor_commit_log::Reader;
use proctor_daemon::{NodeError, Running, Stop};
use proctor_engine::Input;
use proctor_node::data_dir::log_of;
use proctor_rpc::v1::node_client::NodeClient;
use proctor_rpc::v1::{SetAccountSizeRequest, SetRosterRequest};
use proctor_sequencer::Replay;
use proctor_services::Role;
use tokio::task::JoinSet;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::common::{Node, authorized, config};

/// How many submit at the same time.
const SUBMITTERS: u32 = 64;
/// How many answers there are before the node is asked to stop.
const ANSWERS: usize = 500;

/// Returns the inputs of every commit in the log below `data`, folded from the first.
fn log(data: &Path) -> BTreeMap<u64, Vec<Input>> {
    let reader = Reader::open(log_of(data).expect("a log")).expect("it can be read");
    let mut replay = Replay::from_the_first(reader);
    let mut commits = BTreeMap::new();
    while let Some((commit, _)) = replay.step().expect("a good log") {
        commits.insert(commit.index, commit.inputs);
    }
    commits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_stop_while_64_submit_loses_nothing_that_was_acknowledged() {
    let node = Node::start(&[]).await;
    let secret = node.secret(Role::Operator);
    let channel = node.channel("node").await;
    let roster = SetRosterRequest { traders: vec!["alice".into()] };
    let mut client = NodeClient::new(channel.clone());
    client.set_roster(authorized(roster, &secret)).await.expect("a roster");
    let (answers, enough) = (Arc::new(AtomicUsize::new(0)), node.stop.clone());
    let mut submitters = JoinSet::new();
    for number in 0..SUBMITTERS {
        let (mut client, secret) = (NodeClient::new(channel.clone()), secret.clone());
        let (answers, enough) = (Arc::clone(&answers), enough.clone());
        submitters.spawn(async move {
            let mut acknowledged = Vec::new();
            for turn in 1.. {
                let size_usd = f64::from(number * 1_000_000 + turn);
                let request = SetAccountSizeRequest { trader: "alice".into(), size_usd };
                let Ok(answer) = client.set_account_size(authorized(request, &secret)).await else {
                    break;
                };
                let as_of = answer.into_inner().as_of.expect("always there");
                acknowledged.push((as_of.commit, size_usd));
                if answers.fetch_add(1, Ordering::Relaxed) + 1 == ANSWERS {
                    enough.stop();
                }
            }
            acknowledged
        });
    }
    let acknowledged: Vec<(u64, f64)> = submitters.join_all().await.into_iter().flatten().collect();
    assert!(acknowledged.len() >= ANSWERS);
    let dir = node.end().await;
    let commits = log(dir.path());
    for (commit, size) in &acknowledged {
        let holds = |input: &Input| matches!(input, Input::AccountSize(_, s) if s.get() == *size);
        let inputs = commits.get(commit).unwrap_or_else(|| panic!("commit {commit} is missing"));
        assert_eq!(inputs.iter().filter(|input| holds(input)).count(), 1, "{size} in {commit}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_and_nothing_is_made() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("bound").port();
    for name in ["node", "orders", "challenge_period", "metrics"] {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path().join("data");
        let config = config(&data, &[&format!("listen.{name}={port}")]);
        let error = Running::start(config, Stop::default()).await.expect_err("the port is taken");
        assert!(matches!(error, NodeError::Bind(_)), "{error:?}");
        let text = error.to_string();
        for part in [format!("127.0.0.1:{port}"), format!("listen.{name}"), "in use".into()] {
            assert!(text.contains(&part), "{text}");
        }
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!data.exists(), "nothing was made");
    }
}

#[tokio::test]
async fn a_directory_that_is_locked_stays_with_whom_it_belongs_to() {
    let node = Node::start(&[]).await;
    let before = node.status().await;
    let second = Running::start(config(node.dir.path(), &[]), Stop::default()).await;
    let error = second.expect_err("another node has it");
    let text = error.to_string();
    assert!(matches!(error, NodeError::DataDir(_)), "{text}");
    assert!(text.contains(&node.dir.path().display().to_string()), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    let after = node.status().await;
    assert_eq!(before.started_ms, after.started_ms);
    let dir = node.end().await;
    log(dir.path());
}

/// Returns every file below `path` with its contents.
fn files(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry")) {
        if entry.path().is_dir() {
            found.append(&mut files(&entry.path()));
        } else {
            found.insert(entry.path(), fs::read(entry.path()).expect("readable"));
        }
    }
    found
}

#[tokio::test]
async fn a_token_file_that_others_may_read_stops_the_start_and_nothing_is_changed() {
    let dir = Node::start(&[]).await.end().await;
    let tokens = dir.path().join("tokens.toml");
    fs::set_permissions(&tokens, fs::Permissions::from_mode(0o644)).expect("changed");
    let before = files(dir.path());
    let refused = Running::start(config(dir.path(), &[]), Stop::default()).await;
    let text = refused.expect_err("others may read it").to_string();
    assert!(text.contains("chmod 600") && text.lines().count() == 1, "{text}");
    assert_eq!(files(dir.path()), before);
    fs::set_permissions(&tokens, fs::Permissions::from_mode(0o600)).expect("changed");
    Node::start_in(dir, &[]).await.end().await;
}

#[tokio::test]
async fn who_watches_the_health_hears_of_the_end_on_every_port_and_does_not_hold_it_up() {
    let node = Node::start(&["stop.grace_ms=25000"]).await;
    let mut watchers = Vec::new();
    for (_, address) in &node.ports {
        let mut client = HealthClient::new(crate::common::connect(*address).await);
        let watch = client.watch(HealthCheckRequest { service: String::new() }).await;
        let mut watch = watch.expect("health is served").into_inner();
        let first = watch.message().await.expect("no error").expect("the state of now");
        assert_eq!(first.status, ServingStatus::Serving as i32);
        watchers.push(watch);
    }
    let began = std::time::Instant::now();
    let stop = node.stop.clone();
    stop.stop();
    for mut watch in watchers {
        let next = watch.message().await.expect("no error").expect("the news");
        assert_eq!(next.status, ServingStatus::NotServing as i32);
    }
    node.end().await;
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
}

#[tokio::test]
async fn every_port_lists_by_reflection_what_it_serves() {
    let node = Node::start(&[]).await;
    for (name, service) in [
        ("node", "proctor.v1.Node"),
        ("prices", "proctor.v1.Prices"),
        ("positions", "proctor.v1.Positions"),
        ("orders", "proctor.v1.Orders"),
        ("eliminations", "proctor.v1.Eliminations"),
        ("challenge_period", "proctor.v1.ChallengePeriod"),
    ] {
        let mut client = ServerReflectionClient::new(node.channel(name).await);
        let question = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let answers = client.server_reflection_info(tokio_stream::once(question)).await;
        let answer = answers.expect("reflection is served").into_inner().message().await;
        let answer = answer.expect("no error").expect("one answer").message_response;
        let Some(MessageResponse::ListServicesResponse(list)) = answer else {
            panic!("{answer:?}");
        };
        let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
        for wanted in [service, "grpc.health.v1.Health"] {
            assert!(names.iter().any(|name| name == wanted), "{wanted} of {names:?}");
        }
    }
    node.end().await;
}
