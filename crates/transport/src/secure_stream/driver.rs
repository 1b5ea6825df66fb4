//! The driver of a stream: owns the session and the connection, and awaits everything at one point.
//!
//! It is a future whose every poll does all that can be done: take what the user wrote, read what
//! arrived, do what is due, hand data over, seal, write, publish. It sleeps when none of that moves
//! anything, and is woken by the connection, the timer, or the user's side. Reading never waits for
//! the user, because the session gives credit for what fits, and never for writing.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use proctor_ratchet::session::Unusable;
use proctor_ratchet::{
    Agreed, Data, Event, Freshness, InitialKeys, Life, Limits, Moment, Progress, Session, Ticket,
};
use proctor_ratchet_crypto::Hybrid;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::shared::{FLAG_END, Piece, Published, Shared};
use super::{CODE_BAD_MESSAGE, CODE_STALLED, Ended, Options, Status};

/// How many turns a poll makes before others get theirs.
const TURNS: usize = 16;
/// Bytes that are sealed at once, when those before are written.
const OUT_BYTES: usize = 64 << 10;
/// Bytes of messages in the session's queue beyond which no other message is added.
const QUEUE_BYTES: usize = 64 << 10;
/// How long a stream goes on after a deadline of its own has passed, in ms: a timer that rings late,
/// or a clock that jumps, must not end one whose relief has arrived meanwhile.
const GRACE_MS: u64 = 2_000;
/// Bytes that are read at once, beside what is left of a record.
const IN_BYTES: usize = 64 << 10;

/// Does the work of one stream. A future that is ready when the stream is over and the connection
/// is done with; dropping it earlier ends the stream with [`Ended::DriverGone`].
pub struct Driver<T> {
    io: T,
    session: Session<Hybrid>,
    shared: Arc<Shared>,
    published: watch::Sender<Published>,
    options: Options,
    begun: Instant,
    timer: Pin<Box<Sleep>>,
    armed: Moment,
    /// What arrived; its first `filled` bytes are not used yet.
    inbox: Vec<u8>,
    filled: usize,
    /// What is sealed; its first `written` bytes are written.
    out: Vec<u8>,
    written: usize,
    needs_flush: bool,
    arrived: Vec<Piece>,
    taken: Vec<Vec<u8>>,
    any: Requests,
    fresh: Requests,
    /// The own direction's end is in the session's queue, or sent.
    end_taken: bool,
    /// The flags of the message that has arrived in part.
    unfinished: Option<u8>,
    /// The peer's direction has ended in order.
    end_received: bool,
    peer_closed: bool,
    /// This end has closed the session in order; a close of the peer is the answer.
    closed_here: bool,
    /// The connection gives, or takes, no more.
    input_over: bool,
    output_over: bool,
    shut_down: bool,
    verdict: Option<Ended>,
    slow: u64,
    /// Bytes given to the session, how many of them were sealed when last looked at, and when.
    handed: u64,
    sealed: u64,
    sealed_at: Moment,
    abandoned_since: Option<Moment>,
    /// When it was seen that a deadline of the stream has passed.
    overdue_since: Option<Moment>,
    over_since: Option<Moment>,
}

/// Requests for rounds of one kind. Their epochs grow, so those of one epoch are one entry, and
/// there are never more than three.
#[derive(Default)]
struct Requests {
    asked: u64,
    waiting: VecDeque<(u64, Ticket)>,
    served: u64,
}

impl Requests {
    fn ask(&mut self, count: u64, freshness: Freshness, session: &mut Session<Hybrid>) {
        if count <= self.asked {
            return;
        }
        self.asked = count;
        // A session that is closing serves no request; the end of the stream answers it.
        let Ok(ticket) = session.request_rekey(freshness) else { return };
        match self.waiting.back_mut() {
            Some((until, last)) if *last == ticket => *until = count,
            Some(_) | None => self.waiting.push_back((count, ticket)),
        }
    }

    fn serve(&mut self, session: &Session<Hybrid>) {
        while let Some((until, _)) =
            self.waiting.pop_front_if(|(_, ticket)| session.progress(*ticket) == Progress::Done)
        {
            self.served = until;
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    pub(super) fn new(
        io: T,
        crypto: Hybrid,
        agreed: Agreed,
        options: Options,
        keys: InitialKeys,
    ) -> Result<(Self, Arc<Shared>, watch::Receiver<Published>), Unusable> {
        let record_max = usize::try_from(agreed.payload_max).unwrap_or(usize::MAX);
        if record_max < 2 {
            return Err(Unusable::Payload(agreed.payload_max));
        }
        // The bounds of the queue are this stream's own.
        let limits =
            Limits { queue_bytes: usize::MAX, queue_messages: usize::MAX, ..options.limits };
        let session = Session::new(crypto, agreed, limits, keys, Moment(0))?;
        let (published, watching) = watch::channel(Published::default());
        let shared = Arc::new(Shared::new(status_of(&session, 0, None), &agreed, record_max));
        let begun = Instant::now();
        let driver = Self {
            io,
            session,
            shared: Arc::clone(&shared),
            published,
            options,
            begun,
            timer: Box::pin(tokio::time::sleep_until(begun)),
            armed: Moment(0),
            inbox: vec![0; IN_BYTES + 2 * record_max],
            filled: 0,
            out: Vec::new(),
            written: 0,
            needs_flush: false,
            arrived: Vec::new(),
            taken: Vec::new(),
            any: Requests::default(),
            fresh: Requests::default(),
            end_taken: false,
            unfinished: None,
            end_received: false,
            peer_closed: false,
            closed_here: false,
            input_over: false,
            output_over: false,
            shut_down: false,
            verdict: None,
            slow: 0,
            handed: 0,
            sealed: 0,
            sealed_at: Moment(0),
            abandoned_since: None,
            overdue_since: None,
            over_since: None,
        };
        Ok((driver, shared, watching))
    }

    fn now(&self) -> Moment {
        Moment(u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Does what the user's side has asked for.
    fn obey(&mut self, now: Moment) {
        let commands = self.shared.take_commands();
        self.session.consume(commands.consumed);
        self.any.ask(commands.any, Freshness::Any, &mut self.session);
        self.fresh.ask(commands.fresh, Freshness::Fresh, &mut self.session);
        if let Some(code) = commands.close {
            self.give_up(now, Ended::ClosedHere(code), code);
        }
        if commands.reader_gone && commands.writer_gone {
            self.abandoned_since.get_or_insert(now);
        }
        if self.verdict.is_none() && self.session.status().life == Life::Open {
            self.take_messages();
            self.close_if_complete(now);
        }
    }

    /// Fills the session's queue. While something waits in it, small messages stay where more can
    /// be added to them.
    fn take_messages(&mut self) {
        let queued = self.session.status().queued_bytes;
        let room = QUEUE_BYTES.saturating_sub(queued);
        self.end_taken = self.shared.take_messages(room, queued > 0, &mut self.taken);
        for message in self.taken.drain(..) {
            self.handed += message.len() as u64;
            let sent = self.session.send(message);
            debug_assert_eq!(sent, Ok(()), "an open session without a limit takes every message");
        }
    }

    /// Closes the session when both directions have ended, or nobody waits for the other one.
    fn close_if_complete(&mut self, now: Moment) {
        let waits_for_peer = !self.end_received && self.abandoned_since.is_none();
        if self.end_taken && self.session.status().queued_bytes == 0 && !waits_for_peer {
            self.session.close(now, 0);
            self.closed_here = true;
        }
    }

    /// Ends the stream from here, with what the user and the peer are told. The first reason stays.
    fn give_up(&mut self, now: Moment, ended: Ended, code: u16) {
        if self.verdict.is_none() && !self.session.status().life.is_over() {
            self.verdict = Some(ended);
            self.session.close(now, code);
        }
    }

    /// Notes that the connection failed.
    fn fail(&mut self, now: Moment, kind: io::ErrorKind) {
        let complete = self.end_taken && self.end_received && self.peer_closed;
        let ended = if complete { Ended::Closed } else { Ended::Connection(kind) };
        self.input_over = true;
        self.output_over = true;
        if !self.session.status().life.is_over() {
            self.verdict.get_or_insert(ended);
        }
        self.session.end_of_input(now);
    }

    /// Takes what has arrived. Returns whether there was something.
    fn read(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        if self.input_over {
            return false;
        }
        let mut space = ReadBuf::new(self.inbox.get_mut(self.filled..).unwrap_or_default());
        let result = Pin::new(&mut self.io).poll_read(cx, &mut space);
        let count = space.filled().len();
        match result {
            Poll::Pending => return false,
            Poll::Ready(Err(error)) => self.fail(now, error.kind()),
            Poll::Ready(Ok(())) if count == 0 => {
                self.input_over = true;
                self.session.end_of_input(now);
            }
            Poll::Ready(Ok(())) => {
                self.filled += count;
                let bytes = self.inbox.get_mut(..self.filled).unwrap_or_default();
                // A session that is over has no use for more, and has said why.
                let used = self.session.input(now, bytes).unwrap_or(self.filled);
                self.inbox.copy_within(used..self.filled, 0);
                self.filled -= used;
            }
        }
        true
    }

    /// Does what is due by time.
    fn keep_time(&mut self, now: Moment) {
        if self.session.poll_deadline().is_some_and(|due| due <= now) {
            self.session.on_deadline(now);
        }
        let queued = self.session.status().queued_bytes as u64;
        let sealed = self.handed - queued.min(self.handed);
        if queued == 0 || sealed != self.sealed {
            self.sealed = sealed;
            self.sealed_at = now;
        }
        if self.stream_deadline(queued > 0).is_none_or(|due| due > now) {
            self.overdue_since = None;
        } else if self.overdue_since.get_or_insert(now).after(GRACE_MS) <= now {
            self.give_up(now, Ended::Stalled, CODE_STALLED);
        }
    }

    /// Returns when the stream ends because data finds no way out.
    fn stream_deadline(&self, has_queue: bool) -> Option<Moment> {
        if self.verdict.is_some() || self.session.status().life != Life::Open {
            return None;
        }
        let stall = has_queue.then(|| self.sealed_at.after(self.options.stall_ms));
        let linger = self.abandoned_since.map(|since| since.after(self.options.linger_ms));
        stall.into_iter().chain(linger).min()
    }

    /// Hands over what the session has to tell. Returns whether there was something.
    fn tell(&mut self, now: Moment) -> bool {
        let (mut told, ended_before) = (false, self.end_received);
        while let Some(event) = self.session.poll_event() {
            told = true;
            match event {
                Event::Data(data) if self.verdict.is_none() => self.on_data(now, data),
                Event::RekeySlow(epoch) => self.slow = epoch,
                Event::PeerClosing(code) => self.on_peer_closing(code),
                Event::Data(_)
                | Event::Epoch(_)
                | Event::Stalled(_)
                | Event::Closed
                | Event::Dead(_) => {}
            }
        }
        if !self.arrived.is_empty() || self.end_received != ended_before {
            let done = self.shared.deliver(&mut self.arrived, self.end_received);
            self.session.consume(done);
        }
        told
    }

    /// A message is one byte of flags and at least one byte of data or the end of the direction, which
    /// comes after its data.
    fn on_data(&mut self, now: Moment, data: Data) {
        let (flags, count) = match (self.unfinished, data.payload.as_slice()) {
            (Some(flags), _) => (flags, 0),
            (None, [0, _, ..]) if !self.end_received => (0, 1),
            (None, [FLAG_END, ..]) if !self.end_received => (FLAG_END, 1),
            (None, _) => return self.give_up(now, Ended::BadMessage, CODE_BAD_MESSAGE),
        };
        self.unfinished = if data.end { None } else { Some(flags) };
        self.end_received = data.end && flags == FLAG_END;
        self.arrived.push(Piece { data, flags: count });
    }

    fn on_peer_closing(&mut self, code: u16) {
        self.peer_closed = true;
        let is_sent = self.end_taken && self.session.status().queued_bytes == 0;
        let in_order = self.closed_here || (self.end_received && is_sent);
        if code != 0 || !in_order {
            self.verdict.get_or_insert(Ended::ClosedByPeer(code));
        }
    }

    /// Writes what is sealed and seals what is due. Returns whether something moved.
    fn write(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let mut moved = false;
        while !self.output_over {
            if self.written == self.out.len() {
                self.out.clear();
                self.written = 0;
                if self.session.poll_transmit(now, &mut self.out, OUT_BYTES) == 0 {
                    break;
                }
                moved = true;
            }
            let rest = self.out.get(self.written..).unwrap_or_default();
            match Pin::new(&mut self.io).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => self.fail(now, io::ErrorKind::WriteZero),
                Poll::Ready(Ok(count)) => {
                    self.written += count;
                    self.needs_flush = true;
                    moved = true;
                }
                Poll::Ready(Err(error)) => self.fail(now, error.kind()),
                Poll::Pending => return moved,
            }
        }
        if self.needs_flush && !self.output_over {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.needs_flush = false,
                Poll::Ready(Err(error)) => self.fail(now, error.kind()),
                Poll::Pending => {}
            }
        }
        moved
    }

    fn is_flushed(&self) -> bool {
        self.session.status().queued_bytes == 0
            && self.written == self.out.len()
            && !self.needs_flush
    }

    /// Publishes the state, at once and as a whole.
    fn publish(&mut self) {
        match self.session.status().life {
            Life::Dead(reason) => drop(self.verdict.get_or_insert(Ended::Session(reason))),
            Life::Closed => drop(self.verdict.get_or_insert(Ended::Closed)),
            Life::Open | Life::Closing | Life::CloseSent => {}
        }
        self.any.serve(&self.session);
        self.fresh.serve(&self.session);
        self.publish_as(self.verdict);
    }

    fn publish_as(&self, ended: Option<Ended>) {
        let status = status_of(&self.session, self.slow, ended);
        self.shared.publish(status, self.is_flushed());
        let now = Published {
            epoch: status.epoch,
            any: self.any.served,
            fresh: self.fresh.served,
            ended,
        };
        self.published.send_if_modified(|before| std::mem::replace(before, now) != now);
    }

    /// When the session is over: says the last words, then waits for the peer to have heard them,
    /// since closing a connection with unread input can take back what was written. Returns
    /// whether the connection may be dropped.
    fn finish(&mut self, cx: &mut Context<'_>, now: Moment) -> bool {
        let life = self.session.status().life;
        if !life.is_over() {
            return false;
        }
        let since = *self.over_since.get_or_insert(now);
        if self.output_over || since.after(self.options.limits.linger_ms) <= now {
            return true;
        }
        if self.written < self.out.len() || self.needs_flush {
            return false;
        }
        if !self.shut_down {
            match Pin::new(&mut self.io).poll_shutdown(cx) {
                Poll::Pending => return false,
                Poll::Ready(Err(_)) => return true,
                Poll::Ready(Ok(())) => self.shut_down = true,
            }
        }
        life == Life::Closed || self.input_over
    }

    /// Sets the timer to what is due next. Returns whether that is later than now.
    fn set_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let has_queue = self.session.status().queued_bytes > 0;
        let over = self.over_since.map(|since| since.after(self.options.limits.linger_ms));
        let own = match self.overdue_since {
            Some(since) => Some(since.after(GRACE_MS)),
            None => self.stream_deadline(has_queue),
        };
        let due = self.session.poll_deadline().into_iter();
        let Some(next) = due.chain(own).chain(over).min() else { return true };
        // Deadlines move with every record; a timer that rings too early is set again.
        if next < self.armed || self.timer.is_elapsed() {
            self.armed = next;
            self.timer.as_mut().reset(self.begun + Duration::from_millis(next.0));
        }
        self.timer.as_mut().poll(cx).is_pending()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Future for Driver<T> {
    type Output = Ended;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = self.get_mut();
        for _ in 0..TURNS {
            let now = this.now();
            this.obey(now);
            let mut moved = this.read(cx, now);
            this.keep_time(now);
            moved |= this.tell(now);
            moved |= this.write(cx, now);
            this.publish();
            if this.finish(cx, now) {
                return Poll::Ready(this.verdict.unwrap_or(Ended::Closed));
            }
            let hungry = this.session.status().queued_bytes == 0;
            if !moved && this.set_timer(cx) && this.shared.park(cx, hungry) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<T> Drop for Driver<T> {
    /// Whoever waits is told, also when the driver did not come to its end.
    fn drop(&mut self) {
        let ended = self.verdict.unwrap_or(Ended::DriverGone);
        let status = status_of(&self.session, self.slow, Some(ended));
        self.shared.publish(status, false);
        self.published.send_modify(|now| now.ended = Some(ended));
    }
}

fn status_of(session: &Session<Hybrid>, slow: u64, ended: Option<Ended>) -> Status {
    let status = session.status();
    Status {
        life: status.life,
        epoch: status.epoch,
        rekeying: status.rekeying,
        slow,
        unsent: status.queued_bytes,
        unread: 0,
        credit: status.credit,
        ended,
    }
}
