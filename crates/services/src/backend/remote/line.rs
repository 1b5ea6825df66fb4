//! The line to the node: one task that connects, follows, sends submissions and takes answers.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use proctor_rpc::internal_v1::sequencer_client::SequencerClient;
use proctor_rpc::internal_v1::{
    Durable, FollowRequest, Place, Refused, SubmitReply, SubmitRequest, submit_reply,
};
use proctor_rpc::{Problem, Reason};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status, Streaming};

use super::fold::{Announcement, Announcements};
use super::{Random, RemoteError, Settings, disconnected, stopping, unknown};
use crate::backoff::Backoff;
use crate::link::{INPUT_BYTES_MAX, SECRET_HEADER, SERVICE_HEADER};

/// How long an attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the node may be silent; it says something every second.
const SILENCE: Duration = Duration::from_secs(5);
/// How many submissions wait for the node's answer.
const PENDING_MAX: usize = 4_096;
/// How many requests wait for the socket.
const REQUESTS: usize = 64;

/// Inputs on their way, and who waits for their place.
pub(super) struct Submission {
    pub(super) inputs: Vec<u8>,
    pub(super) answer: Answer,
}

type Answer = oneshot::Sender<Result<Place, Problem>>;

/// An open connection: the first announcement has come.
pub(super) struct Connection {
    durable: Durable,
    announcements: Streaming<Durable>,
    requests: mpsc::Sender<SubmitRequest>,
    replies: Streaming<SubmitReply>,
}

impl Connection {
    /// Returns what the node has announced first.
    pub(super) fn durable(&self) -> u64 {
        self.durable.commit
    }
}

/// The line and what waits on it.
pub(super) struct Line {
    settings: Settings,
    random: Random,
    submissions: mpsc::Receiver<Submission>,
    pending: HashMap<u64, Answer>,
    last_id: u64,
}

/// The line is no longer wanted, or can never work again.
struct Over;

/// What happened while the line was up.
enum Happened {
    Announced(Durable),
    Answered(SubmitReply),
    Submitted(Submission),
    Room,
    Lost,
    Over,
}

impl Line {
    pub(super) fn new(
        settings: Settings,
        random: Random,
        submissions: mpsc::Receiver<Submission>,
    ) -> Self {
        Self { settings, random, submissions, pending: HashMap::new(), last_id: 0 }
    }

    /// Connects for the first time; tries again until the node answers.
    pub(super) async fn first_connection(&mut self) -> Result<Connection, RemoteError> {
        let mut backoff = Backoff::default();
        loop {
            match connect(&self.settings).await {
                Ok(connection) => return Ok(connection),
                Err(status) if status.code() == Code::Unauthenticated => {
                    let message = status.message().to_owned();
                    return Err(RemoteError::Refused { node: self.settings.node, message });
                }
                Err(_) => tokio::time::sleep(backoff.next((self.random)())).await,
            }
        }
    }

    /// Keeps the line up until nobody can submit any more, or until the node is another one.
    pub(super) async fn run(
        mut self,
        mut connection: Connection,
        announcements: Announcements,
        draining: watch::Sender<bool>,
        failed: watch::Sender<Option<Arc<RemoteError>>>,
    ) {
        let mut highest = 0;
        loop {
            let ended = self.serve(connection, &mut highest, &announcements, &draining).await;
            for (_, answer) in self.pending.drain() {
                drop(answer.send(Err(unknown())));
            }
            let next = match ended {
                Ok(()) => self.reconnect(&draining).await,
                Err(ended) => Err(ended),
            };
            match next {
                Ok(next) => connection = next,
                Err(None) => return,
                Err(Some(error)) => {
                    failed.send_replace(Some(Arc::new(error)));
                    return;
                }
            }
        }
    }

    /// Serves one connection until it is lost; an error ends the line, with the reason if it is a
    /// fault.
    async fn serve(
        &mut self,
        connection: Connection,
        highest: &mut u64,
        announcements: &Announcements,
        draining: &watch::Sender<bool>,
    ) -> Result<(), Option<RemoteError>> {
        let Connection { durable, announcements: mut stream, requests, mut replies } = connection;
        let mut happened = Happened::Announced(durable);
        let mut heard = Instant::now();
        loop {
            match happened {
                Happened::Announced(Durable { commit, draining: drains, stale, .. }) => {
                    if commit < *highest {
                        let before = *highest;
                        return Err(Some(RemoteError::WentBack { announced: commit, before }));
                    }
                    *highest = commit;
                    heard = Instant::now();
                    announcements.tell(Announcement { commit, at: heard }, stale);
                    draining.send_if_modified(|now| std::mem::replace(now, drains) != drains);
                }
                Happened::Answered(reply) => self.answer(reply),
                Happened::Submitted(submission) => {
                    let id = self.register(submission.answer);
                    let request = SubmitRequest { id, inputs: submission.inputs };
                    // There is room: the next submission is taken only then.
                    if requests.try_send(request).is_err() {
                        return Ok(());
                    }
                }
                // The next round takes submissions again.
                Happened::Room => {}
                Happened::Lost => return Ok(()),
                Happened::Over => return Err(None),
            }
            let room = requests.capacity() > 0 && self.pending.len() < PENDING_MAX;
            happened = tokio::select! {
                biased;
                message = stream.message() => match message {
                    Ok(Some(durable)) => Happened::Announced(durable),
                    Ok(None) | Err(_) => Happened::Lost,
                },
                reply = replies.message() => match reply {
                    Ok(Some(reply)) => Happened::Answered(reply),
                    Ok(None) | Err(_) => Happened::Lost,
                },
                submission = self.submissions.recv(), if room => match submission {
                    Some(submission) => Happened::Submitted(submission),
                    None => Happened::Over,
                },
                permit = requests.reserve(), if requests.capacity() == 0 => match permit {
                    Ok(_) => Happened::Room,
                    Err(_) => Happened::Lost,
                },
                () = tokio::time::sleep_until(heard + SILENCE) => Happened::Lost,
            };
        }
    }

    fn register(&mut self, answer: Answer) -> u64 {
        self.last_id += 1;
        self.pending.insert(self.last_id, answer);
        self.last_id
    }

    fn answer(&mut self, reply: SubmitReply) {
        // An id that nobody waits for is the node's mistake and nobody's loss.
        let Some(answer) = self.pending.remove(&reply.id) else { return };
        let placed = match reply.result {
            Some(submit_reply::Result::Place(place)) => Ok(place),
            Some(submit_reply::Result::Refused(refused)) => Err(problem(refused)),
            None => Err(unknown()),
        };
        // Whoever no longer waits does not mind.
        drop(answer.send(placed));
    }

    /// Connects again with growing waits; refuses what is submitted meanwhile.
    async fn reconnect(
        &mut self,
        draining: &watch::Sender<bool>,
    ) -> Result<Connection, Option<RemoteError>> {
        let mut backoff = Backoff::default();
        let drains = *draining.borrow();
        let mut wait = backoff.next((self.random)());
        loop {
            let settings = self.settings.clone();
            let attempt = async move {
                tokio::time::sleep(wait).await;
                connect(&settings).await
            };
            match self.refusing(attempt, drains).await {
                Err(Over) => return Err(None),
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(status)) if status.code() == Code::Unauthenticated => {
                    let message = status.message().to_owned();
                    return Err(Some(RemoteError::Refused { node: self.settings.node, message }));
                }
                Ok(Err(_)) => wait = backoff.next((self.random)()),
            }
        }
    }

    /// Waits for `work`; refuses what is submitted meanwhile.
    async fn refusing<T>(
        &mut self,
        work: impl Future<Output = T>,
        drains: bool,
    ) -> Result<T, Over> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                submission = self.submissions.recv() => {
                    let submission = submission.ok_or(Over)?;
                    let problem = if drains { stopping() } else { disconnected() };
                    drop(submission.answer.send(Err(problem)));
                }
            }
        }
    }
}

/// Returns what a child's caller is told of a refusal by the node; as in direct mode.
fn problem(refused: Refused) -> Problem {
    let Refused { code, message } = refused;
    match code.as_str() {
        "busy" => Problem::new(Reason::Busy, message).retry_after(super::BUSY_RETRY),
        "too_large" => Problem::new(Reason::InvalidArgument, message).with_code(code),
        "malformed" => Problem::new(Reason::Internal, message).with_code(code),
        _ => Problem::new(Reason::Unavailable, message).with_code(code),
    }
}

async fn connect(settings: &Settings) -> Result<Connection, Status> {
    tokio::time::timeout(CONNECT, open(settings))
        .await
        .unwrap_or_else(|_| Err(Status::deadline_exceeded("the node does not answer")))
}

async fn open(settings: &Settings) -> Result<Connection, Status> {
    let unavailable = |error: tonic::transport::Error| Status::unavailable(error.to_string());
    let endpoint = Endpoint::from_shared(format!("http://{}", settings.node));
    let endpoint = endpoint.map_err(unavailable)?.connect_timeout(CONNECT);
    let channel = endpoint.connect().await.map_err(unavailable)?;
    let text = |text: &str| MetadataValue::<Ascii>::try_from(text);
    let service = text(&settings.service);
    let service = service.map_err(|_| Status::unauthenticated("the service's name is no name"))?;
    let secret = text(settings.secret.expose());
    let mut secret = secret.map_err(|_| Status::unauthenticated("the secret is no secret"))?;
    secret.set_sensitive(true);
    let named = move |mut request: Request<()>| {
        request.metadata_mut().insert(SERVICE_HEADER, service.clone());
        request.metadata_mut().insert(SECRET_HEADER, secret.clone());
        Ok(request)
    };
    let mut client = SequencerClient::with_interceptor(channel, named)
        .max_encoding_message_size(INPUT_BYTES_MAX + 1024);
    let follow = FollowRequest { service: settings.service.clone() };
    let mut announcements = client.follow(follow).await?.into_inner();
    let first = announcements.message().await?;
    let durable = first.ok_or_else(|| Status::unavailable("the node has ended the stream"))?;
    let (requests, sent) = mpsc::channel(REQUESTS);
    let replies = client.submit(ReceiverStream::new(sent)).await?.into_inner();
    Ok(Connection { durable, announcements, requests, replies })
}
