//! The task that feeds a replica: streams, breaks, and what is taken from them.

use std::sync::Arc;
use std::time::Duration;

use proctor_rpc::v1::AsOf;
use tokio::time::{Instant, timeout};
use tonic::Streaming;

use super::freshness::Freshness;
use super::{LocalCopy, Progress, ReplicaState, Shared};
use crate::connection::{Connection, words};
use crate::fate::{Fate, fate};

/// Feeds until the task is ended.
pub(crate) async fn run<S: ReplicaState>(connection: Connection, shared: Arc<Shared<S>>) {
    let mut feeder = Feeder {
        freshness: Freshness::new(Instant::now()),
        copy: None,
        progress: Progress::default(),
        shared,
        connection,
    };
    let mut failures = 0;
    loop {
        let (taken, why) = feeder.one_stream().await;
        // A stream that said something ends the row of failures, but not the wait: a server
        // that breaks off each time is not asked without pause.
        failures = if taken { 1 } else { failures + 1 };
        feeder.shared.why.store(Arc::new(why));
        let backoff = feeder.connection.settings().backoff;
        tokio::time::sleep(backoff.delay(failures, feeder.connection.random().draw())).await;
    }
}

struct Feeder<S> {
    connection: Connection,
    shared: Arc<Shared<S>>,
    freshness: Freshness,
    /// What is published; absent as well when it is void and the server is asked for everything.
    copy: Option<(Arc<S>, AsOf)>,
    progress: Progress,
}

/// What a message was.
enum Taken {
    /// A part of the copy.
    Yes,
    /// The copy had it already.
    Repeat,
    /// It does not fit the copy, which is not to be gone on with.
    Unfit(String),
}

impl<S: ReplicaState> Feeder<S> {
    /// Opens a stream and takes what it says; returns whether it said anything, and why it ended.
    async fn one_stream(&mut self) -> (bool, String) {
        let from_commit = self.copy.as_ref().map_or(0, |(_, as_of)| as_of.commit);
        self.progress.streams += 1;
        self.freshness.on_open(Instant::now());
        let silence_max = self.shared.limits.silence_max;
        let attempt = self.connection.begin();
        let mut stream = match timeout(silence_max, S::open(&self.connection, from_commit)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(status)) => {
                if matches!(fate(&status), Fate::NotTaken { unreached: true, .. }) {
                    self.connection.unreached();
                }
                return (false, words(&status));
            }
            Err(_) => return (false, "the server does not answer".into()),
        };
        let mut taken = false;
        loop {
            let message = match next(&mut stream, silence_max).await {
                Ok(message) => message,
                Err(why) => {
                    if !taken {
                        // The commit that was asked for may be one that the server does not have.
                        self.void();
                    }
                    return (taken, why);
                }
            };
            let as_of = S::head(&message).as_of;
            match self.take(message) {
                Taken::Yes => {}
                Taken::Repeat => self.progress.repeats += 1,
                Taken::Unfit(why) => {
                    self.void();
                    return (taken, why);
                }
            }
            taken = true;
            self.connection.reached(attempt, as_of.as_ref());
            self.publish();
            if let Some(late) = self.too_late() {
                let late = late.as_millis();
                return (taken, format!("the stream is {late} ms behind and is opened again"));
            }
        }
    }

    /// Takes one message into the copy that is not published yet.
    fn take(&mut self, message: S::Message) -> Taken {
        let head = S::head(&message);
        let Some(as_of) = head.as_of else {
            return Taken::Unfit("a message does not say as of what it is".into());
        };
        let now = Instant::now();
        if head.reset {
            // Another start of the server may be another log: what is known of this one's age says
            // nothing of that one's.
            let mut state = S::default();
            state.take(message);
            self.copy = Some((Arc::new(state), as_of));
            self.progress.resets += 1;
            self.freshness.on_message(now, as_of.as_of_ms, true, true);
            return Taken::Yes;
        }
        let Some((state, known)) = &mut self.copy else {
            return Taken::Unfit("changes came before the state they change".into());
        };
        if as_of.generation != known.generation {
            return Taken::Unfit(
                "the server was started again, and is asked for everything".into(),
            );
        }
        if as_of.commit < known.commit || (as_of.commit == known.commit && head.changes) {
            return Taken::Repeat;
        }
        let advanced = as_of.commit > known.commit;
        *known = as_of;
        self.freshness.on_message(now, as_of.as_of_ms, !head.changes, advanced);
        if head.changes {
            Arc::make_mut(state).take(message);
        }
        Taken::Yes
    }

    /// The next stream asks for everything. The copy that is published stays, and grows old.
    fn void(&mut self) {
        self.copy = None;
        self.freshness.forget();
    }

    fn publish(&mut self) {
        let Some((state, as_of)) = &self.copy else { return };
        let Some(complete_at) = self.freshness.complete_at() else { return };
        let copy = LocalCopy { state: Arc::clone(state), as_of: *as_of, complete_at };
        self.shared.copy.store(Arc::new(Some(copy)));
        self.progress.as_of = Some(*as_of);
        self.shared.progress.send_replace(self.progress);
        self.shared.why.store(Arc::new("the stream says nothing".into()));
    }

    /// Returns how late the stream is when the copy is too old in spite of it. One that was just
    /// opened has its time to catch up.
    fn too_late(&self) -> Option<Duration> {
        let (now, age_max) = (Instant::now(), self.shared.limits.age_max);
        let age = now.saturating_duration_since(self.freshness.complete_at()?);
        let open = now.saturating_duration_since(self.freshness.opened());
        (age > age_max && open > age_max).then_some(age)
    }
}

/// Returns the next message, or why there is none.
async fn next<M>(stream: &mut Streaming<M>, silence_max: Duration) -> Result<M, String> {
    match timeout(silence_max, stream.message()).await {
        Ok(Ok(Some(message))) => Ok(message),
        Ok(Ok(None)) => Err("the server ended the stream".into()),
        Ok(Err(status)) => Err(words(&status)),
        Err(_) => Err(format!("the server said nothing for {} ms", silence_max.as_millis())),
    }
}
