//! What a stream and its driver share: two bounded buffers, requests, and the published state.
//!
//! One lock, held for a few lines and never across an await. Nothing in here decides anything of
//! the protocol: the driver moves what it finds, and publishes what came of it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use proctor_ratchet::{Agreed, Data, Freshness, RECORD_COST};
use tokio::io::ReadBuf;

use super::{Ended, Status};

/// The most bytes that wait between a writer and the driver.
const OUTBOUND_BYTES: usize = 256 << 10;
/// The most bytes of a message, in whole records; one record at least.
const MESSAGE_BYTES: usize = 64 << 10;
/// An empty buffer of what arrived keeps this much memory, so that a stream in use asks for none.
const INBOUND_KEPT_BYTES: usize = 256 << 10;

/// The first byte of a message holds flags; everything after it is data.
pub(super) const FLAG_END: u8 = 1;

/// What waiters look at: levels, never events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Published {
    pub(super) epoch: u64,
    /// Up to which request each kind is served.
    pub(super) any: u64,
    pub(super) fresh: u64,
    pub(super) ended: Option<Ended>,
}

impl Published {
    pub(super) fn served(&self, freshness: Freshness) -> u64 {
        match freshness {
            Freshness::Any => self.any,
            Freshness::Fresh => self.fresh,
        }
    }
}

/// What the driver takes at once.
#[derive(Debug, Default)]
pub(super) struct Commands {
    /// Cost of what was read.
    pub(super) consumed: u64,
    /// How many requests there were ever, of each kind.
    pub(super) any: u64,
    pub(super) fresh: u64,
    pub(super) close: Option<u16>,
    pub(super) reader_gone: bool,
    pub(super) writer_gone: bool,
}

/// A piece of a message, and how many bytes of it are flags.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) data: Data,
    pub(super) flags: usize,
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        self.data.payload.get(self.flags..).unwrap_or_default()
    }
}

#[derive(Debug)]
struct State {
    /// What arrived.
    inbound: VecDeque<u8>,
    /// The peer's direction has ended in order.
    at_end: bool,
    /// What is to be sent.
    outbound: VecDeque<u8>,
    /// The longest message: one byte of flags, then data.
    message_max: usize,
    /// The writer wants its direction to end.
    end_wanted: bool,
    end_taken: bool,
    /// All that was taken is sealed and handed to the connection.
    flushed: bool,
    status: Status,
    commands: Commands,
    /// Consumed cost that is worth waking the driver for; 0 is whatever empties the buffer.
    worthwhile: u64,
    /// The driver sleeps with an empty queue, so that something written is worth waking it for. With
    /// data in its queue it waits for the peer or the connection, and looks here when they move.
    hungry: bool,
    /// Something has changed since the driver looked.
    changed: bool,
    driver: Option<Waker>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl State {
    /// Notes a change and returns the driver, to be woken when the lock is released.
    fn change(&mut self) -> Option<Waker> {
        self.changed = true;
        self.driver.take()
    }

    /// Moves as much of what arrived as fits into `buffer`.
    fn read(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.inbound.len().min(buffer.remaining());
        take(&mut self.inbound, count, |part| buffer.put_slice(part));
        self.commands.consumed += count as u64;
        if self.inbound.is_empty() && self.inbound.capacity() > INBOUND_KEPT_BYTES {
            self.inbound = VecDeque::new();
        }
    }

    /// Makes the next message of what is to be sent, with the end of the direction if that is all.
    fn message(&mut self, only_full: bool) -> Option<Vec<u8>> {
        let count = self.outbound.len().min(self.message_max - 1);
        let ends = self.end_wanted && !self.end_taken && count == self.outbound.len();
        if (count == 0 && !ends) || (only_full && count < self.message_max - 1) {
            return None;
        }
        let mut message = Vec::with_capacity(1 + count);
        message.push(if ends { FLAG_END } else { 0 });
        take(&mut self.outbound, count, |part| message.extend_from_slice(part));
        self.end_taken |= ends;
        self.flushed = false;
        Some(message)
    }

    fn is_flushed(&self) -> bool {
        self.flushed && self.outbound.is_empty() && self.end_wanted == self.end_taken
    }
}

/// Returns what may stay untold of what was read, so that the peer never waits for credit for ever: it
/// waits when it has less left than a record costs, and a quarter of the credit is worth a WINDOW.
fn worthwhile(agreed: &Agreed) -> u64 {
    let record = RECORD_COST + u64::from(agreed.payload_max);
    let credit = u64::from(agreed.credit);
    (credit - credit / 4).saturating_sub(record).min(credit / 8)
}

/// Takes the first `count` bytes out, which are there, in one or two parts.
fn take(from: &mut VecDeque<u8>, count: usize, mut to: impl FnMut(&[u8])) {
    let (first, second) = from.as_slices();
    let (now, later) = first.split_at(first.len().min(count));
    to(now);
    if later.is_empty() {
        to(second.get(..count - now.len()).unwrap_or_default());
    }
    from.drain(..count);
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn wait(slot: &mut Option<Waker>, cx: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *slot = Some(cx.waker().clone()),
    }
}

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
}

/// The user's side.
impl Shared {
    pub(super) fn new(status: Status, agreed: &Agreed, record_max: usize) -> Self {
        Self {
            state: Mutex::new(State {
                inbound: VecDeque::new(),
                at_end: false,
                outbound: VecDeque::new(),
                message_max: record_max * (MESSAGE_BYTES / record_max).max(1),
                end_wanted: false,
                end_taken: false,
                flushed: true,
                status,
                commands: Commands::default(),
                worthwhile: worthwhile(agreed),
                hungry: true,
                changed: true,
                driver: None,
                reader: None,
                writer: None,
            }),
        }
    }

    /// A panic of somebody else cannot leave the state half changed: nothing in here panics.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn status(&self) -> Status {
        let state = self.lock();
        Status {
            unsent: state.status.unsent + state.outbound.len(),
            unread: state.inbound.len(),
            ..state.status
        }
    }

    pub(super) fn request_rekey(&self, freshness: Freshness) -> u64 {
        let mut state = self.lock();
        let count = match freshness {
            Freshness::Any => &mut state.commands.any,
            Freshness::Fresh => &mut state.commands.fresh,
        };
        *count += 1;
        let number = *count;
        let driver = state.change();
        drop(state);
        wake(driver);
        number
    }

    pub(super) fn close(&self, code: u16) {
        let mut state = self.lock();
        state.commands.close.get_or_insert(code);
        let driver = state.change();
        drop(state);
        wake(driver);
    }

    pub(super) fn drop_reader(&self) {
        let mut state = self.lock();
        state.commands.reader_gone = true;
        state.commands.consumed += std::mem::take(&mut state.inbound).len() as u64;
        let driver = state.change();
        drop(state);
        wake(driver);
    }

    pub(super) fn drop_writer(&self) {
        let mut state = self.lock();
        state.commands.writer_gone = true;
        state.end_wanted = true;
        let driver = state.change();
        drop(state);
        wake(driver);
    }

    pub(super) fn poll_read(
        &self,
        cx: &Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Ended>> {
        let mut state = self.lock();
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if state.inbound.is_empty() {
            if state.at_end {
                return Poll::Ready(Ok(()));
            }
            if let Some(ended) = state.status.ended {
                return Poll::Ready(Err(ended));
            }
            wait(&mut state.reader, cx);
            return Poll::Pending;
        }
        state.read(buffer);
        let is_due = match state.worthwhile {
            // Whoever has read everything has told so.
            0 => state.inbound.is_empty(),
            worthwhile => state.commands.consumed >= worthwhile,
        };
        let driver = if is_due { state.change() } else { None };
        drop(state);
        wake(driver);
        Poll::Ready(Ok(()))
    }

    pub(super) fn poll_write(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<Result<usize, Ended>> {
        let mut state = self.lock();
        if let Some(ended) = state.status.ended {
            return Poll::Ready(Err(ended));
        }
        if state.end_wanted {
            return Poll::Ready(Err(Ended::Closed));
        }
        let room = OUTBOUND_BYTES.saturating_sub(state.outbound.len());
        if room == 0 && !bytes.is_empty() {
            wait(&mut state.writer, cx);
            return Poll::Pending;
        }
        let (bytes, _) = bytes.split_at(bytes.len().min(room));
        state.outbound.extend(bytes);
        let driver = if state.hungry { state.change() } else { None };
        state.changed = true;
        drop(state);
        wake(driver);
        Poll::Ready(Ok(bytes.len()))
    }

    pub(super) fn poll_flush(&self, cx: &Context<'_>) -> Poll<Result<(), Ended>> {
        let mut state = self.lock();
        if state.is_flushed() {
            return Poll::Ready(Ok(()));
        }
        if let Some(ended) = state.status.ended {
            return Poll::Ready(Err(ended));
        }
        wait(&mut state.writer, cx);
        Poll::Pending
    }

    pub(super) fn poll_shutdown(&self, cx: &Context<'_>) -> Poll<Result<(), Ended>> {
        let mut state = self.lock();
        let driver =
            if std::mem::replace(&mut state.end_wanted, true) { None } else { state.change() };
        drop(state);
        wake(driver);
        self.poll_flush(cx)
    }
}

/// The driver's side.
impl Shared {
    /// Takes all commands. The counts of requests stay.
    pub(super) fn take_commands(&self) -> Commands {
        let mut state = self.lock();
        state.changed = false;
        let commands = &mut state.commands;
        Commands {
            consumed: std::mem::take(&mut commands.consumed),
            close: commands.close.take(),
            ..*commands
        }
    }

    /// Takes messages out, up to `room` or one message beyond it, and the end of the direction with the
    /// last of them; only full ones if `full`. Returns whether that end was ever taken.
    pub(super) fn take_messages(&self, room: usize, full: bool, to: &mut Vec<Vec<u8>>) -> bool {
        let mut state = self.lock();
        let (mut taken, before) = (0, state.outbound.len());
        while taken < room
            && let Some(message) = state.message(full)
        {
            taken += message.len();
            to.push(message);
        }
        let end_taken = state.end_taken;
        // There is room again.
        let writer = if state.outbound.len() < before { state.writer.take() } else { None };
        drop(state);
        wake(writer);
        end_taken
    }

    /// Hands over what arrived; returns the cost of what is not kept: of all that is not data, and of
    /// data that nobody will read.
    pub(super) fn deliver(&self, arrived: &mut Vec<Piece>, at_end: bool) -> u64 {
        let mut state = self.lock();
        state.at_end |= at_end;
        let mut done = 0;
        for piece in arrived.drain(..) {
            done += piece.data.cost();
            if !state.commands.reader_gone {
                let bytes = piece.bytes();
                state.inbound.extend(bytes);
                done -= bytes.len() as u64;
            }
        }
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        done
    }

    /// Publishes the state, and wakes those whom it concerns.
    pub(super) fn publish(&self, status: Status, flushed: bool) {
        let mut state = self.lock();
        let over = status.ended.is_some() && state.status.ended.is_none();
        state.status = status;
        let done = flushed && !std::mem::replace(&mut state.flushed, flushed);
        let writer = if done || over { state.writer.take() } else { None };
        let reader = if over { state.reader.take() } else { None };
        drop(state);
        wake(writer);
        wake(reader);
    }

    /// Goes to sleep, unless something has changed since the commands were taken. `hungry` says that
    /// the session has nothing to seal.
    pub(super) fn park(&self, cx: &Context<'_>, hungry: bool) -> bool {
        let mut state = self.lock();
        if state.changed {
            return false;
        }
        state.hungry = hungry;
        wait(&mut state.driver, cx);
        true
    }
}
