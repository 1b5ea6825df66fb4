//! The node's side of process mode: inputs of children are put in order, and commits announced.
//!
//! A child is known by the secret that the supervisor gave this very process: the one before it is
//! nobody any more, so what it still sends is refused (services 8, X-20, X-21, X-33). Every message
//! is tested for that, not only the first.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use proctor_rpc::internal_v1::sequencer_server::{Sequencer, SequencerServer};
use proctor_rpc::internal_v1::{
    Durable, FollowRequest, Place, Refused, Stale, SubmitReply, SubmitRequest, submit_reply,
};
use proctor_rpc::{Problem, Reason};
use proctor_wire::log_entry;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Extensions, Request, Response, Status, Streaming};

use crate::backend::Backend;
use crate::watch::closed;

/// The metadata with the child's service.
pub const SERVICE_HEADER: &str = "proctor-child";
/// The metadata with the child's secret.
pub const SECRET_HEADER: &str = "proctor-secret";
/// How many bytes the inputs of one submission may have: as many as a commit's.
pub const INPUT_BYTES_MAX: usize = 16 << 20;
/// How many bytes of one child may wait for their commit; each submission counts
/// [`SUBMISSION_BYTES_MIN`] at least.
const IN_FLIGHT_BYTES: u32 = 64 << 20;
/// What a small submission counts for: 4,096 of them may be in flight.
const SUBMISSION_BYTES_MIN: u32 = 16 << 10;
/// How many answers wait for a child that does not take them.
const REPLIES: usize = 64;
/// How often a child hears something, even when nothing changes.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);
/// How long a child may take no announcement.
const PATIENCE: Duration = Duration::from_secs(10);

const _: () = assert!(INPUT_BYTES_MAX < IN_FLIGHT_BYTES as usize);

/// What a child proves with that it is the one its supervisor started.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// Returns the secret made of 256 bits of `entropy`.
    #[must_use]
    pub fn new(entropy: [u8; 32]) -> Self {
        Self(blake3::Hash::from(entropy).to_hex().to_string())
    }

    /// Returns the secret that `text` is; `None` when it cannot be one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |c: u8| c.is_ascii_digit() || (b'a'..=b'f').contains(&c);
        (text.len() == 64 && text.bytes().all(hex)).then(|| Self(text.to_owned()))
    }

    /// Returns the secret as text.
    ///
    /// # Security
    /// For the pipe to the child and the metadata of its calls, nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A child at one start of its process.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Child {
    service: String,
    start: u64,
}

#[derive(Debug, Default)]
struct Admissions {
    /// The hash of each child's secret, and which start it belongs to.
    by_service: BTreeMap<String, (blake3::Hash, u64)>,
    starts: u64,
}

/// The children that may call; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Children(Arc<RwLock<Admissions>>);

impl Children {
    /// Lets the process with `secret` be the child for `service`; the one before is no longer.
    pub fn admit(&self, service: &str, secret: &Secret) {
        let mut admissions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        admissions.starts += 1;
        let admitted = (blake3::hash(secret.0.as_bytes()), admissions.starts);
        admissions.by_service.insert(service.to_owned(), admitted);
    }

    /// Lets nobody be the child for `service`.
    pub fn dismiss(&self, service: &str) {
        let mut admissions = self.0.write().unwrap_or_else(PoisonError::into_inner);
        admissions.by_service.remove(service);
    }

    fn find(&self, service: &str, secret: &str) -> Option<Child> {
        let admissions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let (hash, start) = admissions.by_service.get(service)?;
        // Hashes are compared in constant time.
        let known = blake3::hash(secret.as_bytes()) == *hash;
        known.then(|| Child { service: service.to_owned(), start: *start })
    }

    /// Whether `child` is still the one that was started last.
    fn is_current(&self, child: &Child) -> bool {
        let admissions = self.0.read().unwrap_or_else(PoisonError::into_inner);
        admissions.by_service.get(&child.service).is_some_and(|(_, start)| *start == child.start)
    }
}

/// Lets only [`Children`] in.
#[derive(Clone, Debug)]
pub struct ChildrenOnly(Children);

impl Interceptor for ChildrenOnly {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let text = |header| request.metadata().get(header).and_then(|value| value.to_str().ok());
        let child = text(SERVICE_HEADER)
            .zip(text(SECRET_HEADER))
            .and_then(|(service, secret)| self.0.find(service, secret))
            .ok_or_else(stranger)?;
        request.extensions_mut().insert(child);
        Ok(request)
    }
}

fn stranger() -> Status {
    Problem::new(Reason::Unauthenticated, "this is no child that this node has started").into()
}

/// The internal Sequencer service.
#[derive(Clone, Debug)]
pub struct Link {
    backend: Backend,
    children: Children,
}

impl Link {
    /// Returns the service for `children` over `backend`, which must be the node's own.
    #[must_use]
    pub fn service(
        backend: Backend,
        children: Children,
    ) -> InterceptedService<SequencerServer<Self>, ChildrenOnly> {
        let only = ChildrenOnly(children.clone());
        let link = SequencerServer::new(Self { backend, children })
            // With room for the frame around the inputs.
            .max_decoding_message_size(INPUT_BYTES_MAX + 1024);
        InterceptedService::new(link, only)
    }
}

fn child(extensions: &Extensions) -> Result<Child, Status> {
    extensions.get::<Child>().cloned().ok_or_else(stranger)
}

#[tonic::async_trait]
impl Sequencer for Link {
    type SubmitStream = ReceiverStream<Result<SubmitReply, Status>>;
    type FollowStream = ReceiverStream<Result<Durable, Status>>;

    async fn submit(
        &self,
        request: Request<Streaming<SubmitRequest>>,
    ) -> Result<Response<Self::SubmitStream>, Status> {
        let child = child(request.extensions())?;
        let (replies, stream) = mpsc::channel(REPLIES);
        let intake = Intake { link: self.clone(), child, replies };
        tokio::spawn(intake.run(request.into_inner()));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn follow(
        &self,
        request: Request<FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        let child = child(request.extensions())?;
        let (sender, stream) = mpsc::channel(1);
        tokio::spawn(announce(self.clone(), child, sender));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

/// What one child submits over one stream.
struct Intake {
    link: Link,
    child: Child,
    replies: mpsc::Sender<Result<SubmitReply, Status>>,
}

impl Intake {
    /// Takes submissions until the child or the node ends; what was taken is answered.
    async fn run(self, mut requests: Streaming<SubmitRequest>) {
        let room = Arc::new(Semaphore::new(IN_FLIGHT_BYTES as usize));
        let mut closing = self.link.backend.closing();
        loop {
            let request = tokio::select! {
                request = requests.message() => request,
                () = self.replies.closed() => return,
                () = closed(&mut closing) => return,
            };
            // An error is a broken link or a message beyond the limits: the stream is over.
            let Ok(Some(request)) = request else { return };
            if !self.link.children.is_current(&self.child) {
                drop(self.replies.send(Err(stranger())).await);
                return;
            }
            let bytes = u32::try_from(request.inputs.len()).unwrap_or(IN_FLIGHT_BYTES);
            let bytes = bytes.clamp(SUBMISSION_BYTES_MIN, IN_FLIGHT_BYTES);
            // Without room nothing more is read, so the child waits.
            let Ok(permit) = Arc::clone(&room).acquire_many_owned(bytes).await else { return };
            let (backend, replies) = (self.link.backend.clone(), self.replies.clone());
            tokio::spawn(async move {
                let reply = place(&backend, request).await;
                // A child that is gone asks its own log after it is started again.
                drop(replies.send(Ok(reply)).await);
                drop(permit);
            });
        }
    }
}

async fn place(backend: &Backend, request: SubmitRequest) -> SubmitReply {
    let refused = |code: &str, message: String| {
        submit_reply::Result::Refused(Refused { code: code.to_owned(), message })
    };
    let result = match log_entry::decode_inputs(&request.inputs) {
        Err(error) => refused("malformed", format!("the inputs cannot be decoded: {error}")),
        Ok(inputs) => match backend.submit(inputs).await {
            Ok(receipt) => submit_reply::Result::Place(Place {
                commit: receipt.stamp.commit,
                // A commit's 16 MiB do not hold 2^32 inputs.
                first: u32::try_from(receipt.first).unwrap_or(u32::MAX),
                count: u32::try_from(receipt.replies.len()).unwrap_or(u32::MAX),
            }),
            Err(problem) => {
                let default = if problem.reason == Reason::Busy { "busy" } else { "stopped" };
                refused(problem.code.as_deref().unwrap_or(default), problem.message)
            }
        },
    };
    SubmitReply { id: request.id, result: Some(result) }
}

/// Tells the child what is durable, until either end.
async fn announce(link: Link, child: Child, sender: mpsc::Sender<Result<Durable, Status>>) {
    let mut closing = link.backend.closing();
    loop {
        // Taken before the look, so that nothing published after it is missed.
        let changed = link.backend.views().changed();
        let draining = *closing.borrow();
        let current = link.children.is_current(&child);
        let message = if current {
            let commit = link.backend.views().peek().stamp.commit;
            let stale = link.backend.read().err().map(|problem| Stale {
                code: problem.code.unwrap_or_default(),
                message: problem.message,
            });
            Ok(Durable { commit, now_ms: link.backend.clock().now().0, draining, stale })
        } else {
            Err(stranger())
        };
        // Who takes nothing is let go: it begins again with what is durable then.
        let told = tokio::time::timeout(PATIENCE, sender.send(message)).await;
        if !matches!(told, Ok(Ok(()))) || draining || !current {
            return;
        }
        tokio::select! {
            () = changed => {}
            () = tokio::time::sleep(ANNOUNCE_EVERY) => {}
            () = closed(&mut closing) => {}
            () = sender.closed() => return,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
