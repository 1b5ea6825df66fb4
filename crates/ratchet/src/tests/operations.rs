//! Random sequences of everything an owner, an application and a pipe can do.

use proptest::prelude::*;

use super::pair::{Pair, unhurried};
use crate::crypto::symbolic::{Symbolic, with_unique_nonces};
use crate::key_schedule::{Agreed, Mode};
use crate::session::{Event, Freshness, Life, Session};

/// One thing that happens; the first field is the side.
#[derive(Clone, Debug)]
enum Op {
    Request(usize, bool),
    Send(usize, usize),
    /// Seals at least so many bytes, if there are any.
    Flush(usize, usize),
    /// So many bytes arrive at the other side.
    Deliver(usize, usize),
    Read(usize),
    Advance(u64),
    Close(usize),
    /// A byte under way is altered.
    Corrupt(usize, usize),
    Cut,
}

fn op(with_faults: bool) -> impl Strategy<Value = Op> {
    let side = 0..2_usize;
    let honest = prop_oneof![
        3 => (side.clone(), any::<bool>()).prop_map(|(side, fresh)| Op::Request(side, fresh)),
        3 => (side.clone(), 1..300_usize).prop_map(|(side, bytes)| Op::Send(side, bytes)),
        6 => (side.clone(), 1..400_usize).prop_map(|(side, bytes)| Op::Flush(side, bytes)),
        6 => (side.clone(), 1..400_usize).prop_map(|(side, bytes)| Op::Deliver(side, bytes)),
        3 => side.clone().prop_map(Op::Read),
        1 => (0..1_000_u64).prop_map(Op::Advance),
    ];
    let rare = prop_oneof![
        side.clone().prop_map(Op::Close),
        (side, 0..4_000_usize).prop_map(|(side, at)| Op::Corrupt(side, at)),
        Just(Op::Cut),
    ];
    let weight = u32::from(with_faults);
    prop_oneof![40 => honest, weight => rare]
}

/// The byte that a side sends at a place.
fn pattern(at: usize) -> u8 {
    u8::try_from(at % 251).unwrap_or_default()
}

/// Two ends, the bytes between them, and what each side has sent and read.
struct Bench {
    ends: [Session<Symbolic>; 2],
    now: crate::limit::Moment,
    wires: [Vec<u8>; 2],
    sent: [Vec<u8>; 2],
    read: [Vec<u8>; 2],
    harmed: bool,
}

impl Bench {
    fn new(mode: Mode) -> Self {
        let agreed = Agreed { mode, signed: true, payload_max: 100, credit: 500 };
        let pair = Pair::with(agreed, &unhurried(), 0);
        Self {
            ends: pair.ends,
            now: pair.now,
            wires: Default::default(),
            sent: Default::default(),
            read: Default::default(),
            harmed: false,
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Request(side, fresh) => {
                let freshness = if fresh { Freshness::Fresh } else { Freshness::Any };
                let _ = self.ends[side].request_rekey(freshness);
            }
            Op::Send(side, length) => {
                let next = self.sent[side].len();
                let text: Vec<u8> = (next..next + length).map(pattern).collect();
                if self.ends[side].send(text.clone()).is_ok() {
                    self.sent[side].extend_from_slice(&text);
                }
            }
            Op::Flush(side, max) => {
                self.ends[side].poll_transmit(self.now, &mut self.wires[side], max);
            }
            Op::Deliver(side, count) => self.deliver(side, count),
            Op::Read(side) => self.take(side),
            Op::Advance(ms) => {
                self.now = self.now.after(ms);
                self.ends.iter_mut().for_each(|end| end.on_deadline(self.now));
            }
            Op::Close(side) => {
                self.harmed = true;
                self.ends[side].close(self.now, 300);
            }
            Op::Corrupt(side, at) => {
                if let Some(byte) = self.wires[side].get_mut(at) {
                    *byte ^= 0x10;
                    self.harmed = true;
                }
            }
            Op::Cut => {
                self.harmed = true;
                self.wires = Default::default();
                self.ends.iter_mut().for_each(|end| end.end_of_input(self.now));
            }
        }
    }

    /// The pipe hands over its first bytes; what is no whole record yet stays.
    fn deliver(&mut self, side: usize, count: usize) {
        let count = count.min(self.wires[side].len());
        let mut arrived: Vec<u8> = self.wires[side].drain(..count).collect();
        let used = self.ends[1 - side].input(self.now, &mut arrived).unwrap_or(arrived.len());
        self.wires[side].splice(0..0, arrived.split_off(used));
    }

    fn take(&mut self, side: usize) {
        while let Some(event) = self.ends[side].poll_event() {
            if let Event::Data(data) = event {
                self.ends[side].consume(data.cost());
                self.read[side].extend_from_slice(&data.payload);
            }
        }
    }

    /// What has been read is the beginning of what was sent, whatever happened.
    fn check(&self) {
        for side in 0..2 {
            assert!(self.sent[1 - side].starts_with(&self.read[side]));
            let life = self.ends[side].status().life;
            assert!(self.harmed || life == Life::Open, "{life:?}");
        }
    }

    /// Nobody asks for anything more: all comes to rest.
    fn rest(&mut self) {
        // What arrives in one turn is read in the next, and gives credit in the one after.
        let mut quiet = 0;
        for _ in 0..10_000 {
            let mut sealed = 0;
            for side in 0..2 {
                sealed += self.ends[side].poll_transmit(self.now, &mut self.wires[side], 4096);
                self.deliver(side, usize::MAX);
                self.take(side);
            }
            self.check();
            quiet = if sealed == 0 { quiet + 1 } else { 0 };
            if quiet == 3 {
                return;
            }
        }
        panic!("no rest");
    }
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::Throughput), Just(Mode::RecordFs), Just(Mode::FreshEpoch)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn whatever_honest_ends_do_all_arrives_and_both_rest_in_one_epoch(
        mode in mode(),
        ops in prop::collection::vec(op(false), 0..150),
    ) {
        with_unique_nonces(|| {
            let mut bench = Bench::new(mode);
            for op in &ops {
                bench.apply(op);
                bench.check();
            }
            bench.rest();
            for side in 0..2 {
                let (read, sent) = (&bench.read[side], &bench.sent[1 - side]);
                assert!(read == sent, "{} of {} bytes", read.len(), sent.len());
                let status = bench.ends[side].status();
                assert!(!status.rekeying && status.queued_bytes == 0);
            }
            assert_eq!(bench.ends[0].status().epoch, bench.ends[1].status().epoch);
        });
    }

    #[test]
    fn whatever_else_happens_nothing_panics_and_nothing_wrong_is_read(
        mode in mode(),
        ops in prop::collection::vec(op(true), 0..150),
    ) {
        with_unique_nonces(|| {
            let mut bench = Bench::new(mode);
            for op in &ops {
                bench.apply(op);
                bench.check();
            }
            bench.rest();
            for end in &mut bench.ends {
                let over = end.status().life.is_over();
                assert_eq!(end.rekey.is_none(), over, "an end that is over holds no secret");
            }
        });
    }
}
