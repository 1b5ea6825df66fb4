//! `Session`: `input`, `poll_transmit`, `poll_event`, `poll_deadline`, `on_deadline`.
//!
//! Whoever owns the stream calls, and always knows when to call again:
//!
//! * [`Session::input`] with every byte that arrives, at once: reading never waits for anything.
//! * [`Session::poll_transmit`] whenever the bytes it gave before are written, after any other call.
//! * [`Session::poll_event`] after any other call, until it returns `None`.
//! * [`Session::on_deadline`] when the moment of [`Session::poll_deadline`] has come.
//!
//! Nothing is notified. Every answer is a function of the present state: whoever asks late gets the
//! same answer as whoever asked early, and who stops asking changes nothing.

mod deadline;
#[cfg(test)]
mod hooks;
mod outcome;
mod receive;
mod seal;

use std::collections::VecDeque;

pub use outcome::{Data, Event, Freshness, Life, Progress, Refused, Status, Ticket, Unusable};

use crate::credit::{Receiving, Sending, cost};
use crate::crypto::Crypto;
use crate::frame::{Frame, HEADER_BYTES};
use crate::key_schedule::{self, Agreed, InitialKeys};
use crate::limit::{Bucket, CONTROL_RESERVE, Limits, Moment, RECORDS_PER_EPOCH_MAX};
use crate::reason::Reason;
use crate::rekey::{Rekey, Side};

/// Codes of [`Session::close`] below this are the protocol's own, see [`Reason::code`].
pub const APPLICATION_CODES: u16 = 256;

/// Messages that are not sealed yet.
#[cfg_attr(test, derive(Clone, Debug, PartialEq, Eq, Hash))]
struct Queue {
    messages: VecDeque<Vec<u8>>,
    /// Bytes of the first message that are sealed already.
    sealed: usize,
    bytes: usize,
}

/// The last epoch that carried data of a direction, and whether a message has more to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Carried {
    epoch: Option<u64>,
    unfinished: bool,
}

impl Carried {
    /// Returns whether data in `epoch` would be a second message of it.
    fn is_second(self, epoch: u64) -> bool {
        !self.unfinished && self.epoch == Some(epoch)
    }
}

/// What was already told by events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Told {
    epoch: u64,
    slow: u64,
    stalled: u64,
    peer_closing: bool,
    over: bool,
}

/// One end of a secure stream.
///
/// It is one value with one owner: no locks, no copies of derived facts, no future that holds a
/// part of it. It cannot be copied:
///
/// ```compile_fail
/// fn copyable<T: Clone>() {}
/// fn session<C: proctor_ratchet::Crypto>() {
///     copyable::<proctor_ratchet::Session<C>>();
/// }
/// ```
#[cfg_attr(test, derive(Clone, Debug, PartialEq, Eq, Hash))]
pub struct Session<C: Crypto> {
    crypto: C,
    agreed: Agreed,
    limits: Limits,
    side: Side,
    now: Moment,
    life: Life,
    /// All secrets; gone when the session is over.
    pub(crate) rekey: Option<Rekey<C>>,
    /// The epoch reached when the session ended.
    ended_at: u64,
    /// The epoch that was asked for by tickets.
    pub(crate) wanted: u64,
    /// Since when the present epoch is confirmed.
    epoch_since: Moment,
    /// Since when a round is overdue by age.
    overdue_since: Option<Moment>,
    rounds: Bucket,
    queue: Queue,
    pub(crate) credit: Sending,
    carried_out: Carried,
    received: VecDeque<Data>,
    window: Receiving,
    carried_in: Carried,
    /// The number of the last ping sent, and how many are unanswered.
    pings: u64,
    unanswered: u64,
    ping_due: bool,
    pong_due: Option<u64>,
    /// When something last came from the peer, or a ping was last due.
    heard: Moment,
    close_code: u16,
    closing_since: Moment,
    /// The code of the peer's CLOSE, which was its last record.
    peer_code: Option<u16>,
    /// What is left to send when the session is over: a CLOSE that says why.
    last_words: Vec<u8>,
    told: Told,
}

impl<C: Crypto> Session<C> {
    /// Begins a session with the keys of a handshake.
    ///
    /// # Errors
    /// [`Unusable`], when the two ends cannot be told apart or the terms contradict themselves.
    pub fn new(
        crypto: C,
        agreed: Agreed,
        limits: Limits,
        keys: InitialKeys,
        now: Moment,
    ) -> Result<Self, Unusable> {
        let (ours, theirs) = (crypto.identity(), crypto.peer_identity());
        let (side, low, high) = match ours.cmp(&theirs) {
            std::cmp::Ordering::Less => (Side::Low, ours, theirs),
            std::cmp::Ordering::Greater => (Side::High, theirs, ours),
            std::cmp::Ordering::Equal => return Err(Unusable::SameIdentity),
        };
        if !(1..=1 << 16).contains(&agreed.payload_max) {
            return Err(Unusable::Payload(agreed.payload_max));
        }
        if u64::from(agreed.credit) < cost(payload_max(&agreed)) {
            return Err(Unusable::Credit(agreed.credit));
        }
        if limits.records_hard > RECORDS_PER_EPOCH_MAX - CONTROL_RESERVE {
            return Err(Unusable::Records(limits.records_hard));
        }
        let (binding, first) = key_schedule::first::<C>(keys, &agreed, &low, &high);
        Ok(Self {
            crypto,
            side,
            now,
            life: Life::Open,
            rekey: Some(Rekey::new(side, &agreed, binding, first)),
            ended_at: 0,
            wanted: 0,
            epoch_since: now,
            overdue_since: None,
            rounds: Bucket::full(&limits, now),
            queue: Queue { messages: VecDeque::new(), sealed: 0, bytes: 0 },
            credit: Sending::new(agreed.credit),
            carried_out: Carried::default(),
            received: VecDeque::new(),
            window: Receiving::new(agreed.credit, agreed.payload_max),
            carried_in: Carried::default(),
            pings: 0,
            unanswered: 0,
            ping_due: false,
            pong_due: None,
            heard: now,
            close_code: 0,
            closing_since: now,
            peer_code: None,
            last_words: Vec::new(),
            told: Told::default(),
            agreed,
            limits,
        })
    }

    /// Takes bytes from the peer, opens whole records in place, and returns how many bytes it used.
    /// Call again with the rest and what follows it. A session that is over uses everything.
    ///
    /// # Errors
    /// Why the session is dead. Any wrong byte is fatal; send what `poll_transmit` still gives.
    pub fn input(&mut self, now: Moment, bytes: &mut [u8]) -> Result<usize, Reason> {
        self.set_clock(now);
        let mut used = 0;
        loop {
            match self.life {
                Life::Dead(reason) => return Err(reason),
                Life::Closed => return Ok(bytes.len()),
                Life::Open | Life::Closing | Life::CloseSent => {}
            }
            let rest = bytes.get_mut(used..).unwrap_or_default();
            let Some((header, rest)) = rest.split_first_chunk_mut() else { break };
            match self.record(header, rest) {
                Ok(Some(length)) => used += HEADER_BYTES + length,
                Ok(None) => break,
                Err(reason) => self.die(reason),
            }
        }
        self.check();
        Ok(used)
    }

    /// Notes that the peer's bytes have ended. Without its CLOSE they were cut.
    pub fn end_of_input(&mut self, now: Moment) {
        self.set_clock(now);
        if self.peer_code.is_none() && !self.life.is_over() {
            self.die(Reason::Truncated);
        }
    }

    /// Seals what is due and appends it to `out`, until `max` bytes are reached or passed by the
    /// last record. Returns how many bytes that was; 0 means that nothing is due before another
    /// call changes the state. Records are sealed in the order in which they must be written, and
    /// never again: call only when the bytes before are on their way.
    pub fn poll_transmit(&mut self, now: Moment, out: &mut Vec<u8>, max: usize) -> usize {
        self.set_clock(now);
        let before = out.len();
        while out.len() - before < max {
            match self.seal_next(out) {
                Ok(true) => {}
                Ok(false) => break,
                Err(reason) => {
                    self.die(reason);
                    break;
                }
            }
        }
        out.append(&mut self.last_words);
        self.check();
        out.len() - before
    }

    /// Returns the next event. The end comes after all data.
    pub fn poll_event(&mut self) -> Option<Event> {
        let epoch = self.epoch();
        if epoch > self.told.epoch {
            self.told.epoch = epoch;
            return Some(Event::Epoch(epoch));
        }
        if let Some(rekey) = &self.rekey {
            let target = rekey.target();
            let is_slow = rekey.wait().is_some_and(|wait| wait.slow.is_some());
            if is_slow && target > self.told.slow {
                self.told.slow = target;
                return Some(Event::RekeySlow(target));
            }
            let sending = rekey.send.epoch;
            if self.is_stalled() && self.told.stalled <= sending {
                self.told.stalled = sending + 1;
                return Some(Event::Stalled(sending));
            }
        }
        if let Some(data) = self.received.pop_front() {
            return Some(Event::Data(data));
        }
        if let Some(code) = self.peer_code
            && !std::mem::replace(&mut self.told.peer_closing, true)
        {
            return Some(Event::PeerClosing(code));
        }
        if self.life.is_over() && !std::mem::replace(&mut self.told.over, true) {
            return Some(match self.life {
                Life::Dead(reason) => Event::Dead(reason),
                Life::Open | Life::Closing | Life::CloseSent | Life::Closed => Event::Closed,
            });
        }
        None
    }

    /// Queues a message.
    ///
    /// # Errors
    /// [`Refused`]; the message was not taken, not even in part.
    pub fn send(&mut self, message: Vec<u8>) -> Result<(), Refused> {
        let (queue, limits) = (&mut self.queue, &self.limits);
        if self.life != Life::Open {
            return Err(Refused::Closed);
        }
        if message.is_empty() {
            return Err(Refused::Empty);
        }
        if message.len() > limits.message_max {
            return Err(Refused::TooLong { found: message.len(), max: limits.message_max });
        }
        let crowded = queue.messages.len() >= limits.queue_messages
            || queue.bytes + message.len() > limits.queue_bytes;
        if crowded && !queue.messages.is_empty() {
            return Err(Refused::Full);
        }
        queue.bytes += message.len();
        queue.messages.push_back(message);
        Ok(())
    }

    /// Notes that the application is done with data of this [`Data::cost`], in parts or at once.
    pub fn consume(&mut self, cost: u64) {
        self.window.consume(cost);
    }

    /// Asks for a round. Requests do not add up: a round serves all that were made before it.
    ///
    /// # Errors
    /// [`Refused::Closed`].
    pub fn request_rekey(&mut self, freshness: Freshness) -> Result<Ticket, Refused> {
        let Some(rekey) = self.rekey.as_mut().filter(|_| self.life == Life::Open) else {
            return Err(Refused::Closed);
        };
        let epoch = match freshness {
            Freshness::Any => rekey.confirmed() + 1,
            Freshness::Fresh => rekey.target() + 1,
        };
        #[cfg(test)]
        if let Some(ticket) = rekey.mutate_request(epoch, &mut self.wanted) {
            return Ok(Ticket { epoch: ticket });
        }
        self.wanted = self.wanted.max(epoch);
        Ok(Ticket { epoch })
    }

    /// Returns what became of a request; once done or failed, it stays so.
    #[must_use]
    pub fn progress(&self, ticket: Ticket) -> Progress {
        if self.epoch() >= ticket.epoch {
            Progress::Done
        } else if self.life.is_over() {
            Progress::Failed
        } else {
            // A closing end may still see the FIN of a round that it has answered.
            Progress::Pending
        }
    }

    /// Ends the sending direction with `code` (0, or from [`APPLICATION_CODES`] on); what is queued
    /// stays unsent. To send it first, wait until nothing is queued. Closing again has no effect.
    pub fn close(&mut self, now: Moment, code: u16) {
        self.set_clock(now);
        if self.life == Life::Open {
            self.start_closing(code);
        }
        self.check();
    }

    /// Returns the state as others may see it.
    #[must_use]
    pub fn status(&self) -> Status {
        let is_idle = self.rekey.as_ref().is_none_or(|rekey| rekey.is_idle());
        Status {
            life: self.life,
            epoch: self.epoch(),
            rekeying: !is_idle || self.is_round_wanted(),
            credit: self.credit.left,
            queued_bytes: self.queue.bytes,
        }
    }

    /// Ends the session here and returns the messages that were not sealed to their end, in order.
    #[must_use]
    pub fn into_unsent(self) -> Vec<Vec<u8>> {
        self.queue.messages.into()
    }

    fn epoch(&self) -> u64 {
        self.rekey.as_ref().map_or(self.ended_at, Rekey::confirmed)
    }

    /// A clock that went back stands still instead.
    fn set_clock(&mut self, now: Moment) {
        self.now = self.now.max(now);
    }

    fn epoch_began(&mut self) {
        self.epoch_since = self.now;
        self.overdue_since = None;
    }

    /// Row 13.
    fn start_closing(&mut self, code: u16) {
        self.close_code = code;
        self.closing_since = self.now;
        self.life = Life::Closing;
        if let Some(rekey) = &mut self.rekey {
            rekey.withdraw();
        }
    }

    /// Row 17. The peer is told why, if it can still be told anything.
    fn die(&mut self, reason: Reason) {
        if let Some(rekey) = &mut self.rekey
            && matches!(self.life, Life::Open | Life::Closing)
        {
            let code = reason.code();
            rekey
                .send
                .seal(&mut self.last_words, |out| Frame::Close { code, reason: &[] }.encode(out));
        }
        self.end(Life::Dead(reason));
    }

    /// Drops all secrets.
    fn end(&mut self, life: Life) {
        self.ended_at = self.epoch();
        self.rekey = None;
        self.life = life;
    }

    /// What must hold after every call.
    fn check(&self) {
        let Some(rekey) = &self.rekey else { return };
        #[cfg(test)]
        if rekey.mutation.mutant.is_some() {
            return;
        }
        debug_assert!(rekey.send.epoch.abs_diff(rekey.recv.epoch) <= 1, "I4: skew of one end");
        debug_assert!(
            self.life != Life::Open
                || !rekey.is_idle()
                || rekey.switch.is_some()
                || rekey.send.epoch == rekey.recv.epoch,
            "I11: at rest there is one epoch"
        );
    }
}

fn payload_max(agreed: &Agreed) -> usize {
    usize::try_from(agreed.payload_max).unwrap_or(usize::MAX)
}
