//! `Connection`: one address, reached again whenever it can be; calls with a deadline.

use std::future::Future;
use std::time::Duration;

use proctor_rpc::Problem;
use proctor_rpc::v1::AsOf;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};

use crate::backoff::{Backoff, Random};
use crate::error::{Ask, CallError, OutcomeUnknown};
use crate::fate::{Fate, fate, read_again};

mod answer;

pub use answer::Answer;

/// The longest message that is taken from a server, in bytes.
pub(crate) const MESSAGE_LEN_MAX: usize = 64 * 1024 * 1024;

/// Why a call has no answer when its time is over.
const NOT_IN_TIME: &str = "no answer in time";

/// How a connection behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Time for a call with all its attempts.
    pub deadline: Duration,
    /// Time for making a connection.
    pub connect: Duration,
    /// How often an idle connection is tried, and how long its answer may take: a server that
    /// is gone without a word is noticed after the two.
    pub keep_alive: Duration,
    /// Between attempts.
    pub backoff: Backoff,
}

impl Default for Settings {
    /// 5 s for a call, 2 s to connect, and a sign of life every 5 s.
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            connect: Duration::from_secs(2),
            keep_alive: Duration::from_secs(5),
            backoff: Backoff::default(),
        }
    }
}

/// The text cannot be used to connect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConnection {
    /// The address is none.
    #[error("{0:?} is not an address such as http://127.0.0.1:50003")]
    Address(String),
    /// The token cannot stand in a header; it is not repeated here.
    #[error("the token has characters that a token cannot have")]
    Token,
}

/// What is known of the other end; a state, so whoever looks late misses nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The generation of the newest answer: it changes with every start of the server.
    pub generation: Option<u64>,
    /// Attempts in a row that did not reach the server.
    pub failures: u32,
    /// Number of the attempt that told the generation, so that an answer that was overtaken
    /// does not bring an old one back.
    told_by: u64,
    /// Number of the last attempt.
    attempts: u64,
    /// No attempt before this.
    retry_at: Option<Instant>,
}

/// A connection to one address; cheap to clone, and all clones are the same connection.
#[derive(Clone, Debug)]
pub struct Connection {
    address: String,
    channel: Channel,
    token: Option<MetadataValue<Ascii>>,
    settings: Settings,
    random: Random,
    link: watch::Sender<Link>,
}

/// What a call does when it fails.
#[derive(Clone, Debug)]
pub(crate) enum Care {
    /// Asks again.
    Read,
    /// Sends again only what was not taken; says otherwise what to ask.
    Write(Ask),
}

/// A call, as it is told to whoever made it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) care: Care,
    pub(crate) deadline: Option<Instant>,
}

impl Call {
    pub(crate) fn read(method: &'static str) -> Self {
        Self { method, care: Care::Read, deadline: None }
    }

    pub(crate) fn write(method: &'static str, ask: Ask) -> Self {
        Self { method, care: Care::Write(ask), deadline: None }
    }

    pub(crate) fn until(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }
}

impl Connection {
    /// Returns a connection to `address`, such as `127.0.0.1:50003`. Nothing is sent before the
    /// first call.
    ///
    /// # Errors
    /// [`InvalidConnection`].
    pub fn new(
        address: &str,
        token: Option<&str>,
        settings: Settings,
        random: Random,
    ) -> Result<Self, InvalidConnection> {
        let url =
            if address.contains("://") { address.into() } else { format!("http://{address}") };
        let invalid = |_| InvalidConnection::Address(address.into());
        let endpoint = Endpoint::from_shared(url).map_err(invalid)?;
        if endpoint.uri().authority().is_none() {
            return Err(InvalidConnection::Address(address.into()));
        }
        let channel = endpoint
            .connect_timeout(settings.connect)
            .http2_keep_alive_interval(settings.keep_alive)
            .keep_alive_timeout(settings.keep_alive)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true)
            .connect_lazy();
        Self::over(channel, address, token, settings, random)
    }

    /// Returns a connection over `channel`, which must connect lazily and again after a break.
    ///
    /// # Errors
    /// [`InvalidConnection::Token`].
    pub fn over(
        channel: Channel,
        address: &str,
        token: Option<&str>,
        settings: Settings,
        random: Random,
    ) -> Result<Self, InvalidConnection> {
        let token = match token {
            None => None,
            Some(token) => {
                let header = MetadataValue::try_from(format!("Bearer {token}"));
                let mut header = header.map_err(|_| InvalidConnection::Token)?;
                header.set_sensitive(true);
                Some(header)
            }
        };
        let link = watch::Sender::new(Link::default());
        Ok(Self { address: address.into(), channel, token, settings, random, link })
    }

    /// Returns where the connection goes.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns how the connection behaves.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// Returns what is known of the other end, and how to wait for a change of it.
    #[must_use]
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    pub(crate) fn random(&self) -> &Random {
        &self.random
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Returns `message` as a request with the token.
    pub(crate) fn request<Q>(&self, message: Q) -> Request<Q> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }

    /// Returns the moment by which a call that begins now must have ended.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.settings.deadline
    }

    /// Makes a call, with as many attempts as are safe and as there is time for.
    ///
    /// # Errors
    /// [`CallError`].
    pub(crate) async fn call<Q, A, F>(
        &self,
        call: &Call,
        message: Q,
        send: impl Fn(Channel, Request<Q>) -> F,
    ) -> Result<A, CallError>
    where
        Q: Clone,
        A: Answer,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let deadline = call.deadline.unwrap_or_else(|| self.deadline());
        let mut attempts = 0;
        let mut last = String::from("the time was over before the first attempt");
        loop {
            if !self.wait_for_turn(deadline).await {
                return Err(self.given_up(call, attempts, last));
            }
            attempts += 1;
            let attempt = self.begin();
            let mut request = self.request(message.clone());
            request.set_timeout(deadline.saturating_duration_since(Instant::now()));
            let status = match timeout_at(deadline, send(self.channel(), request)).await {
                Ok(Ok(response)) => {
                    let answer = response.into_inner();
                    self.reached(attempt, answer.as_of());
                    return Ok(answer);
                }
                Ok(Err(status)) => status,
                Err(_) => return Err(self.unanswered(call, attempts, NOT_IN_TIME.into())),
            };
            // The transport and the server count the time as well, and word it each in its own way.
            let in_time = Instant::now() < deadline;
            last = if in_time { words(&status) } else { NOT_IN_TIME.into() };
            let fate = fate(&status);
            let again = match (&call.care, &fate) {
                (Care::Read, _) => read_again(&status),
                (Care::Write(_), Fate::NotTaken { .. }) => true,
                (Care::Write(_), Fate::Answered | Fate::Unknown) => false,
            };
            if !again {
                return Err(match fate {
                    Fate::Unknown => self.unanswered(call, attempts, last),
                    Fate::Answered | Fate::NotTaken { .. } => self.answered(call, &status),
                });
            }
            self.pause(&fate, attempts, deadline).await;
        }
    }

    /// Waits for the next attempt's turn; `false` when that is after the deadline.
    async fn wait_for_turn(&self, deadline: Instant) -> bool {
        loop {
            let now = Instant::now();
            if now >= deadline {
                return false;
            }
            let retry_at = self.link.borrow().retry_at;
            match retry_at.filter(|at| *at > now) {
                None => return true,
                Some(at) if at >= deadline => return false,
                Some(at) => tokio::time::sleep_until(at).await,
            }
        }
    }

    /// Waits after a failed attempt: for the server that has no room, and for the way to it.
    async fn pause(&self, fate: &Fate, attempts: u32, deadline: Instant) {
        match fate {
            // The turn of the next attempt comes after the back-off of the whole connection.
            Fate::NotTaken { unreached: true, .. } => self.unreached(),
            Fate::NotTaken { retry_after, .. } => {
                let asked_for = Instant::now() + retry_after.unwrap_or_default();
                self.rest(attempts, deadline).await;
                tokio::time::sleep_until(deadline.min(asked_for)).await;
            }
            Fate::Answered | Fate::Unknown => self.rest(attempts, deadline).await,
        }
    }

    /// Waits as after `failures` failures in a row, and not beyond `deadline`.
    pub(crate) async fn rest(&self, failures: u32, deadline: Instant) {
        let delay = self.settings.backoff.delay(failures, self.random.draw());
        tokio::time::sleep_until(deadline.min(Instant::now() + delay)).await;
    }

    /// Notes that the server could not be reached: nobody tries again before the back-off is over.
    pub(crate) fn unreached(&self) {
        let random = self.random.draw();
        let backoff = self.settings.backoff;
        self.link.send_modify(|link| {
            let now = Instant::now();
            // Callers that failed together count once.
            if link.retry_at.is_none_or(|at| at <= now) {
                link.failures = link.failures.saturating_add(1);
                link.retry_at = Some(now + backoff.delay(link.failures, random));
            }
        });
    }

    /// Returns the number of a new attempt.
    pub(crate) fn begin(&self) -> u64 {
        let mut attempt = 0;
        self.link.send_if_modified(|link| {
            link.attempts += 1;
            attempt = link.attempts;
            false
        });
        attempt
    }

    /// Notes an answer to `attempt`.
    pub(crate) fn reached(&self, attempt: u64, as_of: Option<&AsOf>) {
        self.link.send_if_modified(|link| {
            let before = (link.generation, link.failures);
            link.failures = 0;
            link.retry_at = None;
            if let Some(as_of) = as_of
                && attempt >= link.told_by
            {
                link.told_by = attempt;
                link.generation = Some(as_of.generation);
            }
            before != (link.generation, link.failures)
        });
    }

    /// Returns the error of a call that ran out of time between attempts: nothing is under way.
    fn given_up(&self, call: &Call, attempts: u32, last: String) -> CallError {
        let (address, method) = (self.address.clone(), call.method);
        match call.care {
            Care::Read => CallError::NoAnswer { address, method, attempts, last },
            Care::Write(_) => CallError::NotTaken { address, method, attempts, last },
        }
    }

    /// Returns the error of a call whose last attempt was sent and not answered.
    fn unanswered(&self, call: &Call, attempts: u32, why: String) -> CallError {
        let (address, method) = (self.address.clone(), call.method);
        match &call.care {
            Care::Read => CallError::NoAnswer { address, method, attempts, last: why },
            Care::Write(ask) => OutcomeUnknown { address, method, why, ask: ask.clone() }.into(),
        }
    }

    fn answered(&self, call: &Call, status: &Status) -> CallError {
        match Problem::of(status) {
            Some(problem) => CallError::Refused(problem),
            None => CallError::Foreign {
                address: self.address.clone(),
                method: call.method,
                code: status.code(),
                message: words(status),
            },
        }
    }
}

/// Returns what `status` says, with its innermost cause: the outer ones say "transport error".
pub(crate) fn words(status: &Status) -> String {
    let mut cause = std::error::Error::source(status);
    let mut innermost = None;
    while let Some(error) = cause {
        innermost = Some(error.to_string());
        cause = error.source();
    }
    match innermost {
        Some(cause) if !status.message().contains(&cause) => {
            format!("{}: {cause}", status.message())
        }
        Some(_) | None => status.message().to_owned(),
    }
}

#[cfg(test)]
mod tests;
