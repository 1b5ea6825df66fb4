//! What a script can do to two sessions and the pipes between them, and what must hold of it.

use proctor_fuzz::{Script, kind};

use super::super::model::ends;
use crate::crypto::symbolic::Symbolic;
use crate::frame::HEADER_BYTES;
use crate::key_schedule::{Agreed, Mode};
use crate::limit::{Limits, Moment};
use crate::reason::Reason;
use crate::session::{Event, Freshness, Life, Progress, Session, Ticket};

const PAYLOAD: u32 = 256;
const CREDIT: u32 = 4 << 10;
const QUEUE_BYTES: usize = 16 << 10;
const MESSAGE_MAX: usize = 2 << 10;
/// The longest record.
const RECORD_MAX: usize = HEADER_BYTES + 2 + PAYLOAD as usize + 8;

/// Who else takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Adversary {
    Nobody,
    /// Alters, drops, repeats and adds bytes between the ends.
    Between,
    /// Holds the keys of an end, and may alter bytes too.
    AtAnEnd,
}

pub(super) struct Lab {
    ends: [Session<Symbolic>; 2],
    now: Moment,
    adversary: Adversary,
    /// What each side has sealed and the other has not got.
    pipes: [Vec<u8>; 2],
    /// What each side has got and not used.
    inbox: [Vec<u8>; 2],
    /// The last thing that each side sealed, to be sent again.
    last: [Vec<u8>; 2],
    reads: [bool; 2],
    sent: [Vec<Vec<u8>>; 2],
    /// How many whole messages each side has got.
    got: [usize; 2],
    partial: [Vec<u8>; 2],
    tickets: [Vec<Ticket>; 2],
    epochs: [u64; 2],
    /// Somebody has altered what was sent, or ended it.
    tampered: bool,
    /// Sides whose keys were used for what they did not send.
    forged: [bool; 2],
    closed: bool,
    /// So much time has passed that a deadline may have ended something.
    late: bool,
}

impl Lab {
    /// The first byte says which terms there are, and who takes part.
    pub(super) fn new(script: &mut Script<'_>) -> Self {
        let plan = script.byte().unwrap_or(0);
        let mode = [Mode::Throughput, Mode::RecordFs, Mode::FreshEpoch][usize::from(plan) % 3];
        let agreed =
            Agreed { mode, signed: plan & 0x80 == 0, payload_max: PAYLOAD, credit: CREDIT };
        let hurried = plan & 0x08 == 0;
        let limits = Limits {
            rounds_burst: if hurried { u32::MAX } else { 3 },
            rounds_per_second: if hurried { u32::MAX } else { 20 },
            records_soft: if plan & 0x10 == 0 { 1 << 20 } else { 7 },
            records_hard: if plan & 0x10 == 0 { 1 << 23 } else { 12 },
            queue_bytes: QUEUE_BYTES,
            queue_messages: 40,
            message_max: MESSAGE_MAX,
            ..Limits::default()
        };
        let adversary = match plan >> 5 & 3 {
            0 => Adversary::Nobody,
            1 | 2 => Adversary::Between,
            _ => Adversary::AtAnEnd,
        };
        Self {
            ends: ends(agreed, &limits),
            now: Moment(0),
            adversary,
            pipes: Default::default(),
            inbox: Default::default(),
            last: Default::default(),
            reads: [true; 2],
            sent: Default::default(),
            got: Default::default(),
            partial: Default::default(),
            tickets: Default::default(),
            epochs: [0; 2],
            tampered: false,
            forged: [false; 2],
            closed: false,
            late: false,
        }
    }

    /// Does one thing; the lowest bit of the choice is the side it happens at.
    pub(super) fn step(&mut self, choice: u8, script: &mut Script<'_>) {
        let side = usize::from(choice & 1);
        match choice >> 1 & 0xf {
            0 => self.request(side, Freshness::Any),
            1 => self.send(side, 1 + script.number() % (MESSAGE_MAX + 100)),
            2 => self.deliver(side, 1 + script.below(64)),
            3 => _ = self.transmit(side, 1),
            4 => self.pass(u64::from(script.byte().unwrap_or(0)) % 51),
            5 => self.request(side, Freshness::Fresh),
            6 => _ = self.transmit(side, 4 << 10),
            7 => self.reads[side] = !self.reads[side],
            8 if script.below(8) == 0 => self.close(side),
            9 if script.below(8) == 0 => {
                self.late = true;
                self.pass([2_000, 15_000, 30_000, 125_000, 3_700_000][script.below(5)]);
            }
            10 | 11 if self.adversary != Adversary::Nobody => self.tamper(side, script),
            12 if self.adversary == Adversary::AtAnEnd => self.forge(side, script),
            13 => self.read(side),
            _ => self.deliver(side, usize::MAX),
        }
    }

    fn request(&mut self, side: usize, freshness: Freshness) {
        if let Ok(ticket) = self.ends[side].request_rekey(freshness) {
            self.tickets[side].push(ticket);
        }
    }

    /// Messages say whose they are and which, so that none can pass for another.
    fn send(&mut self, side: usize, length: usize) {
        let number = self.sent[side].len();
        let mut text = format!("{side}:{number}:").into_bytes();
        text.resize(length.max(text.len()), b'.');
        if self.ends[side].send(text.clone()).is_ok() {
            self.sent[side].push(text);
        }
    }

    fn close(&mut self, side: usize) {
        self.closed = true;
        self.ends[side].close(self.now, 300);
    }

    fn transmit(&mut self, side: usize, max: usize) -> usize {
        let mut out = Vec::new();
        let count = self.ends[side].poll_transmit(self.now, &mut out, max);
        assert_eq!(count, out.len());
        assert!(count < max + 2 * RECORD_MAX, "{count} bytes at once");
        if count > 0 {
            self.last[side].clone_from(&out);
        }
        self.pipes[side].append(&mut out);
        count
    }

    /// Hands bytes that `side` has sent to the other one.
    fn deliver(&mut self, side: usize, count: usize) {
        let to = 1 - side;
        let count = count.min(self.pipes[side].len());
        self.inbox[to].extend(self.pipes[side].drain(..count));
        match self.ends[to].input(self.now, &mut self.inbox[to]) {
            Ok(used) => drop(self.inbox[to].drain(..used)),
            Err(reason) => {
                assert_eq!(self.ends[to].status().life, Life::Dead(reason));
                self.inbox[to].clear();
            }
        }
        assert!(self.inbox[to].len() < RECORD_MAX, "a whole record was not used");
        if self.reads[to] {
            self.read(to);
        }
    }

    fn read(&mut self, side: usize) {
        for _ in 0..1_000 {
            match self.ends[side].poll_event() {
                None => return,
                Some(Event::Data(data)) => {
                    assert!(data.payload.len() <= 16 << 10);
                    self.ends[side].consume(data.cost());
                    self.partial[side].extend_from_slice(&data.payload);
                    if data.end {
                        self.take(side);
                    }
                }
                Some(_) => {}
            }
        }
        panic!("a session has endless events");
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.after(ms);
        for end in &mut self.ends {
            if end.poll_deadline().is_some_and(|due| due <= self.now) {
                end.on_deadline(self.now);
            }
        }
    }

    /// What stands between the ends, or at its border.
    fn tamper(&mut self, side: usize, script: &mut Script<'_>) {
        self.tampered = true;
        let pipe = &mut self.pipes[side];
        let kind = script.below(5);
        let at = script.number() % pipe.len().max(1);
        match kind {
            0 => {
                if let Some(byte) = pipe.get_mut(at) {
                    *byte ^= 1 << script.below(8);
                }
            }
            1 => drop(pipe.drain(at..pipe.len().min(at + 1 + script.below(64)))),
            2 => drop(pipe.splice(at..at, script.bytes().iter().copied())),
            3 => pipe.extend_from_slice(&self.last[script.below(2)]),
            _ => self.ends[side].end_of_input(self.now),
        }
    }

    /// Seals what the script says with the keys of an end.
    fn forge(&mut self, side: usize, script: &mut Script<'_>) {
        let frame = script.bytes();
        if let Some(rekey) = &mut self.ends[side].rekey {
            self.forged[side] = true;
            rekey.send.seal(&mut self.pipes[side], |out| out.extend_from_slice(frame));
        }
    }

    /// What must hold at every moment.
    pub(super) fn check(&mut self) {
        for side in 0..2 {
            let (end, status) = (&self.ends[side], self.ends[side].status());
            assert!(status.queued_bytes <= QUEUE_BYTES, "the queue is bounded");
            assert!(end.unread_cost() <= u64::from(CREDIT), "I8: unread data is within the credit");
            assert!(status.credit <= u64::from(CREDIT));
            assert!(status.epoch >= self.epochs[side], "I12: epochs only grow");
            self.epochs[side] = status.epoch;
            assert_eq!(
                end.rekey.is_none(),
                status.life.is_over(),
                "secrets live as long as the end"
            );
            assert_eq!(end.poll_deadline().is_none(), status.life.is_over());
            if !self.forged[1 - side] {
                self.check_data(side);
            }
        }
        let [Some(one), Some(other)] = [&self.ends[0].rekey, &self.ends[1].rekey] else { return };
        if self.forged == [false; 2] {
            assert!(one.chain.epoch.abs_diff(other.chain.epoch) <= 1, "I4");
            if one.chain.epoch == other.chain.epoch {
                assert_eq!(one.chain, other.chain, "I15: an epoch has one transcript and one salt");
            }
        }
    }

    /// I2: a whole message is the next one that was sent, whatever happened between.
    fn take(&mut self, side: usize) {
        let message = std::mem::take(&mut self.partial[side]);
        let sent = self.sent[1 - side].get(self.got[side]);
        assert!(self.forged[1 - side] || sent == Some(&message), "I2: nothing was invented");
        self.got[side] += 1;
    }

    /// I2, of a message that has begun to arrive.
    fn check_data(&self, side: usize) {
        let next = self.sent[1 - side].get(self.got[side]).map_or(&[][..], Vec::as_slice);
        assert!(next.starts_with(&self.partial[side]), "I2: nor a part of it");
    }

    /// Nobody does anything more, and nobody stands between: everything comes to rest.
    pub(super) fn rest(&mut self) {
        self.reads = [true; 2];
        for _ in 0..2_000 {
            let mut moved = 0;
            for side in 0..2 {
                moved += self.transmit(side, 4 << 10) + self.pipes[side].len();
                self.deliver(side, usize::MAX);
                self.read(side);
            }
            self.check();
            let still = |end: &Session<Symbolic>| {
                let status = end.status();
                status.life.is_over() || (!status.rekeying && status.queued_bytes == 0)
            };
            if moved == 0 && self.ends.iter().all(still) {
                break;
            }
            // An answer may be held back from one who asks too often; a silent peer is given up.
            let waits_for_nobody = self.ends.iter().any(|end| end.status().life.is_over());
            self.pass(if waits_for_nobody { 5_000 } else { 50 });
        }
        if self.adversary == Adversary::Nobody || !(self.tampered || self.forged != [false; 2]) {
            self.check_rest();
        }
    }

    /// What holds at rest between honest ends.
    fn check_rest(&self) {
        let lives = [self.ends[0].status().life, self.ends[1].status().life];
        if self.late && lives.iter().any(|life| is_timeout(*life)) {
            return;
        }
        if self.closed {
            assert_eq!(lives, [Life::Closed; 2], "I9: closing ends");
            return;
        }
        assert_eq!(lives, [Life::Open; 2], "I1: no fatal error between honest ends");
        let [one, other] = [0, 1].map(|side| self.ends[side].status());
        assert!(!one.rekeying && !other.rekeying && one.epoch == other.epoch, "I3");
        for side in 0..2 {
            assert_eq!(self.got[side], self.sent[1 - side].len(), "all that was sent has arrived");
            let done = |ticket: &Ticket| self.ends[side].progress(*ticket) == Progress::Done;
            assert!(self.tickets[side].iter().all(done), "I6: every ticket is answered");
        }
    }

    /// Tells what kind of course this was.
    pub(super) fn outcome(&self) -> String {
        let end = |side: usize| {
            let end = &self.ends[side];
            let counts = [end.status().epoch, self.got[side] as u64]
                .map(|count| count.checked_ilog2().map_or(0, |log| log + 1));
            format!("{} {counts:?}", kind(&end.status().life))
        };
        format!("{:?} {} {} {}", self.adversary, end(0), end(1), self.closed)
    }
}

fn is_timeout(life: Life) -> bool {
    matches!(
        life,
        Life::Dead(
            Reason::KeyTooOld
                | Reason::RekeyTimeout(_)
                | Reason::PeerSilent
                | Reason::CloseTimeout
                | Reason::Truncated
        )
    )
}
