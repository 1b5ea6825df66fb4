//! The model: two production sessions, two pipes, and everything that can happen between them.
//!
//! Stateright tries every order of requests, flushes, deliveries, reads, closes and cuts. Time does
//! not pass here, so whatever completes does so without a timer. Invariants carry the numbers of
//! `docs/ratchet.md`. Liveness is checked as safety: a state in which nothing can happen any more
//! must be one in which nobody waits (I3, I6, I9), and a measure must fall with every step that the
//! environment did not ask for (L4), so such a state is always reached.

mod invariant;
mod runs;

use std::collections::VecDeque;

use stateright::{Model, Property};

use super::mutant::Mutant;
use crate::crypto::symbolic::Symbolic;
use crate::frame::HEADER_BYTES;
use crate::key_schedule::{Agreed, InitialKeys, Mode, Secret};
use crate::limit::{Limits, Moment};
use crate::session::{Data, Event, Freshness, Life, Progress, Session, Ticket};

pub(crate) const NOW: Moment = Moment(0);

/// A configuration: what the environment may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub(crate) name: &'static str,
    /// Requests for a round by Low and High.
    pub(crate) requests: [u8; 2],
    /// Messages of one byte that Low and High have to send.
    pub(crate) messages: [u8; 2],
    /// The last epoch that is asked for.
    pub(crate) epochs: u64,
    /// Records that may be under way without having been read.
    pub(crate) credit: u32,
    /// Records that a pipe holds before its writer waits.
    pub(crate) pipe: usize,
    /// Who may close.
    pub(crate) close: [bool; 2],
    /// Whether the connection may be cut at any moment.
    pub(crate) cut: bool,
    /// How often the pipe may drop, repeat or swap records.
    pub(crate) faults: u8,
    pub(crate) mode: Mode,
    pub(crate) freshness: Freshness,
    pub(crate) mutant: Option<Mutant>,
    /// Whether the applications read at all.
    pub(crate) reads: bool,
}

impl World {
    pub(crate) const QUIET: Self = Self {
        name: "quiet",
        requests: [0; 2],
        messages: [0; 2],
        epochs: u64::MAX,
        credit: 2,
        pipe: 8,
        close: [false; 2],
        cut: false,
        faults: 0,
        mode: Mode::Throughput,
        freshness: Freshness::Fresh,
        mutant: None,
        reads: true,
    };
}

/// What can happen; the number is the side it happens at, 0 for Low.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Request(usize),
    /// One record is sealed and enters the pipe.
    Flush(usize),
    /// The first record of this side's outgoing pipe reaches the other.
    Deliver(usize),
    /// The application takes one piece of data.
    Read(usize),
    Close(usize),
    Cut,
    Drop(usize),
    Repeat(usize),
    Swap(usize),
}

/// Both ends, and what is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Net {
    pub(crate) ends: [Session<Symbolic>; 2],
    /// Records from each side to the other.
    pub(crate) pipes: [VecDeque<Vec<u8>>; 2],
    requests: [u8; 2],
    faults: u8,
    cut: bool,
    /// The latest tickets: one that is answered answers those before it.
    tickets: [Option<Ticket>; 2],
    /// Messages sealed by each side, and messages of it that the other side has read.
    sealed: [u8; 2],
    read: [u8; 2],
    /// A law that a single step has broken.
    broken: Option<&'static str>,
}

/// Makes the two ends of a session.
pub(crate) fn ends(agreed: Agreed, limits: &Limits) -> [Session<Symbolic>; 2] {
    let end = |me, peer| {
        let exporter = Secret::take(&mut [7; 32]);
        let keys = InitialKeys { exporter, handshake_hash: [9; 32], psk: None };
        Session::new(Symbolic::new(me, peer), agreed, limits.clone(), keys, NOW).unwrap()
    };
    [end(1, 2), end(2, 1)]
}

impl Net {
    fn new(world: &World) -> Self {
        let credit = if world.mutant == Some(Mutant::NoCredit) { 255 } else { world.credit } * 65;
        let agreed = Agreed { mode: world.mode, signed: true, payload_max: 1, credit };
        let limits = Limits { rounds_burst: 1000, ..Limits::default() };
        let mut ends = ends(agreed, &limits);
        for (end, messages) in ends.iter_mut().zip(world.messages) {
            end.rekey.as_mut().unwrap().mutation.mutant = world.mutant;
            for number in 0..messages {
                end.send(vec![number]).unwrap();
            }
        }
        Self {
            ends,
            pipes: [VecDeque::new(), VecDeque::new()],
            requests: world.requests,
            faults: world.faults,
            cut: false,
            tickets: [None; 2],
            sealed: [0; 2],
            read: [0; 2],
            broken: None,
        }
    }

    /// Returns the state after the step, `None` when it changes nothing.
    fn step(&self, world: &World, act: Act) -> Option<Self> {
        let mut net = self.clone();
        match act {
            Act::Request(side) => net.request(world, side)?,
            Act::Flush(side) => net.flush(side)?,
            Act::Deliver(side) => net.deliver(side)?,
            Act::Read(side) => net.take(side)?,
            Act::Close(side) => net.ends[side].close(NOW, 300),
            Act::Cut => {
                net.cut = true;
                net.pipes.iter_mut().for_each(VecDeque::clear);
                net.ends.iter_mut().for_each(|end| end.end_of_input(NOW));
            }
            Act::Drop(side) => net.fault(side).pop_front().map(drop)?,
            Act::Repeat(side) => {
                let pipe = net.fault(side);
                pipe.push_front(pipe.front()?.clone());
            }
            Act::Swap(side) => {
                let pipe = net.fault(side);
                (pipe.len() > 1).then(|| pipe.swap(0, 1))?;
            }
        }
        net.compare(self, act);
        Some(net)
    }

    /// Uses up a fault of the pipe.
    fn fault(&mut self, side: usize) -> &mut VecDeque<Vec<u8>> {
        self.faults -= 1;
        &mut self.pipes[side]
    }

    fn request(&mut self, world: &World, side: usize) -> Option<()> {
        let end = &mut self.ends[side];
        if end.rekey.as_ref()?.target().max(end.wanted) >= world.epochs {
            return None;
        }
        let ticket = end.request_rekey(world.freshness).ok()?;
        self.requests[side] -= 1;
        self.tickets[side] = self.tickets[side].max(Some(ticket));
        Some(())
    }

    fn flush(&mut self, side: usize) -> Option<()> {
        let mut out = Vec::new();
        if self.ends[side].poll_transmit(NOW, &mut out, 1) == 0 {
            return None;
        }
        while !out.is_empty() {
            let length = usize::from(out[0]) | usize::from(out[1]) << 8;
            let rest = out.split_off(HEADER_BYTES + length);
            self.sealed[side] += u8::from(kind(&out) == DATA);
            self.pipes[side].push_back(std::mem::replace(&mut out, rest));
        }
        Some(())
    }

    fn deliver(&mut self, side: usize) -> Option<()> {
        let mut record = self.pipes[side].pop_front()?;
        let peer = &mut self.ends[1 - side];
        if !peer.status().life.is_over() {
            let used = peer.input(NOW, &mut record);
            if used.is_ok_and(|used| used != record.len()) {
                self.broken = Some("a whole record is used whole");
            }
        }
        Some(())
    }

    /// The application of `side` reads one message of the other.
    fn take(&mut self, side: usize) -> Option<()> {
        let mut data = None;
        while let Some(event) = self.ends[side].poll_event() {
            if let Event::Data(piece) = event {
                data = Some(piece);
                break;
            }
        }
        let data: Data = data?;
        if data.payload != [self.read[1 - side]] || !data.end {
            self.broken = Some("I2: data arrives once and in order");
        }
        self.read[1 - side] += 1;
        self.ends[side].forget_told();
        self.ends[side].consume(data.cost());
        Some(())
    }

    /// Compares with the state before: what may only grow has grown, and what must fall has fallen.
    fn compare(&mut self, before: &Self, act: Act) {
        for (old, new) in before.ends.iter().zip(&self.ends) {
            let (Some(old), Some(new)) = (&old.rekey, &new.rekey) else { continue };
            let halves = [(&old.send, &new.send), (&old.recv, &new.recv)];
            if halves.iter().any(|(old, new)| (new.epoch, new.seq) < (old.epoch, old.seq)) {
                self.broken = Some("I12, I13: epochs and record numbers only grow");
            }
        }
        let own = matches!(act, Act::Flush(_) | Act::Deliver(_) | Act::Read(_));
        if own && invariant::measure(self) >= invariant::measure(before) {
            self.broken = Some("L4: the measure falls");
        }
    }

    /// Returns whether the first record from `side` can be read by the other. Without credit a
    /// reader must wait for its application.
    fn can_deliver(&self, world: &World, side: usize) -> bool {
        let is_blocked = world.mutant == Some(Mutant::NoCredit)
            && invariant::unread(&self.ends[1 - side]) >= u64::from(world.credit);
        !self.pipes[side].is_empty() && !is_blocked
    }

    /// Returns whether nothing can happen any more unless somebody asks for it.
    pub(crate) fn is_quiet(&self, world: &World) -> bool {
        (0..2).all(|side| !self.can_deliver(world, side))
            && (0..2).all(|side| {
                let unread = self.clone().take(side).is_some();
                !(unread && world.reads) && self.clone().flush(side).is_none()
            })
    }
}

pub(crate) const DATA: u8 = 0;

/// The kind of the frame in a record; the symbolic provider leaves it readable.
pub(crate) fn kind(record: &[u8]) -> u8 {
    record[HEADER_BYTES]
}

impl Model for World {
    type State = Net;
    type Action = Act;

    fn init_states(&self) -> Vec<Net> {
        vec![Net::new(self)]
    }

    fn actions(&self, net: &Net, acts: &mut Vec<Act>) {
        for side in 0..2 {
            if net.cut {
                // What is written now goes nowhere; what has arrived can still be read.
                acts.push(Act::Read(side));
                continue;
            }
            let is_open = net.ends[side].status().life == Life::Open;
            if net.requests[side] > 0 && is_open {
                acts.push(Act::Request(side));
            }
            if net.pipes[side].len() < self.pipe {
                acts.push(Act::Flush(side));
            }
            if net.can_deliver(self, side) {
                acts.push(Act::Deliver(side));
            }
            if self.reads {
                acts.push(Act::Read(side));
            }
            if self.close[side] && is_open {
                acts.push(Act::Close(side));
            }
            if net.faults > 0 && !net.pipes[side].is_empty() {
                acts.extend([Act::Drop(side), Act::Repeat(side), Act::Swap(side)]);
            }
        }
        if self.cut && !net.cut {
            acts.push(Act::Cut);
        }
    }

    fn next_state(&self, net: &Net, act: Act) -> Option<Net> {
        net.step(self, act)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        invariant::properties()
    }
}

/// Returns whether every ticket of a side is answered: orphans are tickets that nobody works on.
pub(crate) fn tickets_answered(net: &Net, side: usize) -> bool {
    net.tickets[side].iter().all(|ticket| net.ends[side].progress(*ticket) != Progress::Pending)
}
