//! Two sessions with pipes of virtual time between them: the laboratory of the scenarios.

use std::collections::VecDeque;

use super::model::ends;
use crate::crypto::symbolic::Symbolic;
use crate::key_schedule::{Agreed, Mode};
use crate::limit::{Limits, Moment};
use crate::session::{Event, Session};

/// Limits under which a pair may open rounds as fast as it likes.
pub(crate) fn unhurried() -> Limits {
    Limits { rounds_burst: u32::MAX, rounds_per_second: u32::MAX, ..Limits::default() }
}

/// Terms with small records, so that messages have several.
pub(crate) fn terms(mode: Mode) -> Agreed {
    Agreed { mode, signed: true, payload_max: 1024, credit: 64 << 10 }
}

/// Bytes on their way, with the moment at which they arrive.
type Pipe = VecDeque<(Moment, Vec<u8>)>;

/// Two ends, the pipes between them, and what each has been told.
pub(crate) struct Pair {
    pub(crate) ends: [Session<Symbolic>; 2],
    pub(crate) now: Moment,
    /// One way, in ms.
    pub(crate) delay_ms: u64,
    pipes: [Pipe; 2],
    /// Which ways are cut.
    cut: [bool; 2],
    /// What has arrived and was not used yet.
    arrived: [Vec<u8>; 2],
    /// Whole messages that each side has received.
    pub(crate) messages: [Vec<Vec<u8>>; 2],
    partial: [Vec<u8>; 2],
    /// Events other than data.
    pub(crate) events: [Vec<Event>; 2],
    /// Kinds of all records that each side has sent.
    pub(crate) kinds: [Vec<u8>; 2],
    /// Whether the application of a side reads.
    pub(crate) reads: [bool; 2],
}

impl Pair {
    pub(crate) fn new(mode: Mode, delay_ms: u64) -> Self {
        Self::with(terms(mode), &unhurried(), delay_ms)
    }

    pub(crate) fn with(agreed: Agreed, limits: &Limits, delay_ms: u64) -> Self {
        Self {
            ends: ends(agreed, limits),
            now: Moment(0),
            delay_ms,
            pipes: Default::default(),
            cut: [false; 2],
            arrived: Default::default(),
            messages: Default::default(),
            partial: Default::default(),
            events: Default::default(),
            kinds: Default::default(),
            reads: [true; 2],
        }
    }

    /// Everything that can be done without time passing: write, arrive, read.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut moved = 0;
            for side in 0..2 {
                moved += self.write(side) + self.arrive(side);
                self.read(side);
            }
            if moved == 0 {
                return;
            }
        }
    }

    fn write(&mut self, side: usize) -> usize {
        let mut out = Vec::new();
        let count = self.ends[side].poll_transmit(self.now, &mut out, 4096);
        let mut rest = out.as_slice();
        while let [low, high, ..] = rest {
            let length = 8 + (usize::from(*low) | usize::from(*high) << 8);
            self.kinds[side].push(rest[8]);
            rest = &rest[length..];
        }
        if count > 0 && !self.cut[side] {
            self.pipes[side].push_back((self.now.after(self.delay_ms), out));
        }
        count
    }

    fn arrive(&mut self, side: usize) -> usize {
        let mut count = 0;
        while let Some((_, bytes)) = self.pipes[side].pop_front_if(|(at, _)| *at <= self.now) {
            count += bytes.len();
            let arrived = &mut self.arrived[1 - side];
            arrived.extend_from_slice(&bytes);
            if let Ok(used) = self.ends[1 - side].input(self.now, arrived) {
                arrived.drain(..used);
            } else {
                arrived.clear();
            }
        }
        count
    }

    pub(crate) fn read(&mut self, side: usize) {
        while self.reads[side]
            && let Some(event) = self.ends[side].poll_event()
        {
            let Event::Data(data) = event else {
                self.events[side].push(event);
                continue;
            };
            self.ends[side].consume(data.cost());
            self.partial[side].extend_from_slice(&data.payload);
            if data.end {
                self.messages[side].push(std::mem::take(&mut self.partial[side]));
            }
        }
    }

    /// Lets time pass to the next arrival or deadline, but not beyond `until`. Returns whether
    /// there was one.
    pub(crate) fn step(&mut self, until: Moment) -> bool {
        self.settle();
        let arrivals = self.pipes.iter().filter_map(|pipe| pipe.front().map(|(at, _)| *at));
        let deadlines = self.ends.iter().filter_map(Session::poll_deadline);
        let Some(next) = arrivals.chain(deadlines).min().filter(|next| *next <= until) else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(next);
        for end in &mut self.ends {
            if end.poll_deadline().is_some_and(|due| due <= self.now) {
                end.on_deadline(self.now);
            }
        }
        self.settle();
        true
    }

    /// Lets `ms` pass.
    pub(crate) fn run(&mut self, ms: u64) {
        let until = self.now.after(ms);
        while self.step(until) {}
    }

    /// Lets time pass until `done`, and returns how many ms that took; panics after `limit_ms`.
    pub(crate) fn until(&mut self, limit_ms: u64, done: impl Fn(&Self) -> bool) -> u64 {
        let begun = self.now;
        let until = begun.after(limit_ms);
        self.settle();
        while !done(self) {
            assert!(self.step(until), "not done after {limit_ms} ms");
        }
        self.now.0 - begun.0
    }

    /// Throws away what is under way from `side` and lets no more through: the cable is cut.
    pub(crate) fn lose(&mut self, side: usize) {
        self.pipes[side].clear();
        self.cut[side] = true;
    }

    pub(crate) fn epochs(&self) -> [u64; 2] {
        [self.ends[0].status().epoch, self.ends[1].status().epoch]
    }

    pub(crate) fn has_event(&self, side: usize, wanted: &Event) -> bool {
        self.events[side].contains(wanted)
    }
}

/// A small generator of repeatable choices.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Returns a number below `sides`.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % sides
    }
}
