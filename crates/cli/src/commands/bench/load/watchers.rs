//! Watchers of orders that are too slow, or take nothing at all: what they were told.

use std::time::Duration;

use anyhow::{Context, Result};
use proctor_client::{Problem, v1};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tonic::Streaming;
use tonic::transport::Endpoint;

use super::node::LoadNode;

/// How often a slow watcher reads.
const SLOW: Duration = Duration::from_millis(200);
/// How long a watcher waits for its next message in the end.
const LAST: Duration = Duration::from_secs(2);

/// The watchers.
pub(super) struct Watchers {
    end: watch::Sender<bool>,
    tasks: JoinSet<Value>,
}

/// Begins to watch, each watcher over a connection of its own.
pub(super) async fn attach(node: &LoadNode, stuck: usize, slow: usize) -> Result<Watchers> {
    let (end, ended) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for number in 0..stuck + slow {
        let endpoint = Endpoint::from_shared(format!("http://{}", node.orders_address()))?;
        let channel = endpoint.connect().await.context("a watcher cannot connect")?;
        let mut orders = v1::orders_client::OrdersClient::new(channel);
        let from_now = v1::WatchOrdersRequest::default();
        let stream = orders.watch(from_now).await.context("a watcher is not let in")?.into_inner();
        let every = (number >= stuck).then_some(SLOW);
        tasks.spawn(watch_orders(stream, every, ended.clone()));
    }
    Ok(Watchers { end, tasks })
}

impl Watchers {
    /// Lets each read what is there for it, and returns what they were told.
    pub(super) async fn end(mut self) -> Vec<Value> {
        self.end.send_replace(true);
        let mut told = Vec::new();
        while let Some(watcher) = self.tasks.join_next().await {
            told.extend(watcher.ok());
        }
        told
    }
}

/// Reads a message `every` now and then, or nothing; in the end what is left, for a little while.
async fn watch_orders(
    mut stream: Streaming<v1::WatchOrdersResponse>,
    every: Option<Duration>,
    mut ended: watch::Receiver<bool>,
) -> Value {
    let (mut messages, mut events, mut gaps) = (0_u64, 0_usize, 0_u64);
    let kind = if every.is_some() { "slow" } else { "stuck" };
    let mut count = |message: &v1::WatchOrdersResponse| {
        messages += 1;
        events += message.events.len();
        gaps += u64::from(message.gap.is_some());
    };
    let mut last = None;
    loop {
        let read = async {
            match every {
                Some(every) => sleep(every).await,
                None => std::future::pending().await,
            }
            stream.message().await
        };
        tokio::select! {
            message = read => match message {
                Ok(Some(message)) => count(&message),
                other => {
                    last = Some(end_of(other.map(drop)));
                    break;
                }
            },
            () = told(&mut ended) => break,
        }
    }
    let last = match last {
        Some(last) => last,
        None => {
            let rest = async {
                loop {
                    match stream.message().await {
                        Ok(Some(message)) => count(&message),
                        other => return end_of(other.map(drop)),
                    }
                }
            };
            timeout(LAST, rest).await.unwrap_or_else(|_| "still watching".into())
        }
    };
    json!({ "watcher": kind, "messages": messages, "events": events, "gaps": gaps, "end": last })
}

/// Waits until the run is over.
async fn told(ended: &mut watch::Receiver<bool>) {
    // An error says that the run is gone, and with it is over.
    drop(ended.wait_for(|ended| *ended).await.map(drop));
}

fn end_of(end: Result<(), tonic::Status>) -> String {
    match end {
        Ok(()) => "ended without a word".into(),
        Err(status) => match Problem::of(&status) {
            Some(problem) => problem.reason.name().into(),
            None => format!("{:?}: {}", status.code(), status.message()),
        },
    }
}
