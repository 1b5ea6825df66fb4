//! `bench ratchet`: rounds and sealed records of a secure stream, beside their primitives alone.
//!
//! Both ends run on one thread with memory between them, so a round's rate is the processor time of
//! both ends together. The limit is what the bare primitives of the same round cost in the same run.

use std::sync::Arc;
use std::time::Duration;

use proctor_ratchet::crypto::Crypto;
use proctor_ratchet::session::Unusable;
use proctor_ratchet::{
    Agreed, CryptoError, Event, Freshness, InitialKeys, Limits, Mode, Moment, Progress, Reason,
    Secret, Session,
};
use proctor_ratchet_crypto::{Hybrid, Identity};
use serde_json::json;

use super::rounds::{Plan, per_second, timed};
use super::{Aim, BenchError, Figure, Scale};

const BENCH: &str = "ratchet";
/// What rounds are compared with.
const PRIMITIVES: &str = "their primitives alone";
/// Time stands still: nothing here is due by age.
const NOW: Moment = Moment(0);

/// Measures the ratchet over memory and tells `report` each figure.
///
/// # Errors
/// [`BenchError`] when the cryptography fails or a round does not complete.
pub fn ratchet(scale: Scale, report: &mut dyn FnMut(Figure)) -> Result<(), BenchError> {
    for signed in [true, false] {
        rounds(scale, signed, report)?;
    }
    crossing(scale, report)?;
    for (mode, payload) in [
        (Mode::Throughput, 256),
        (Mode::RecordFs, 256),
        (Mode::Throughput, 16 << 10),
        (Mode::RecordFs, 16 << 10),
    ] {
        records(scale, mode, payload, report)?;
    }
    Ok(())
}

fn broken(what: &str) -> BenchError {
    BenchError::Workload(what.to_owned())
}

impl From<CryptoError> for BenchError {
    fn from(error: CryptoError) -> Self {
        Self::Workload(error.to_string())
    }
}

impl From<Reason> for BenchError {
    fn from(reason: Reason) -> Self {
        Self::Workload(reason.to_string())
    }
}

impl From<Unusable> for BenchError {
    fn from(error: Unusable) -> Self {
        Self::Workload(error.to_string())
    }
}

/// Returns the cryptography of two nodes that know each other.
fn nodes() -> Result<[Hybrid; 2], CryptoError> {
    let (one, other) = (Identity::from_seed(&[1; 32])?, Identity::from_seed(&[2; 32])?);
    let (one_key, other_key) = (one.public(), other.public());
    Ok([Hybrid::new(Arc::new(one), other_key)?, Hybrid::new(Arc::new(other), one_key)?])
}

/// Returns two ends that never refuse for want of credit, patience or room.
fn ends(mode: Mode, signed: bool) -> Result<[Session<Hybrid>; 2], BenchError> {
    let agreed = Agreed { mode, signed, payload_max: 16 << 10, credit: u32::MAX };
    let limits = Limits {
        rounds_burst: u32::MAX,
        queue_bytes: usize::MAX,
        queue_messages: usize::MAX,
        ..Limits::default()
    };
    let [one, other] = nodes()?;
    let end = |crypto| {
        let exporter = Secret::take(&mut [7; 32]);
        let keys = InitialKeys { exporter, handshake_hash: [9; 32], psk: None };
        Session::new(crypto, agreed, limits.clone(), keys, NOW)
    };
    Ok([end(one)?, end(other)?])
}

/// Moves bytes until neither end has any; returns how many there were.
fn settle(ends: &mut [Session<Hybrid>; 2], buffer: &mut Vec<u8>) -> Result<usize, BenchError> {
    let (mut bytes, mut quiet) = (0, 0);
    while quiet < 2 {
        for _ in 0..2 {
            let [from, to] = ends;
            buffer.clear();
            let count = from.poll_transmit(NOW, buffer, usize::MAX);
            bytes += count;
            quiet = if count == 0 { quiet + 1 } else { 0 };
            if to.input(NOW, buffer)? != count {
                return Err(broken("a record is not whole"));
            }
            ends.swap(0, 1);
        }
    }
    Ok(bytes)
}

/// Runs `count` rounds that the ends open in turns; returns their bytes.
fn run_rounds(ends: &mut [Session<Hybrid>; 2], count: usize) -> Result<usize, BenchError> {
    let (mut bytes, mut buffer) = (0, Vec::new());
    for number in 0..count {
        let end = ends.get_mut(number % 2).ok_or_else(|| broken("there are two ends"))?;
        let ticket = end.request_rekey(Freshness::Fresh).map_err(|_| broken("closed"))?;
        bytes += settle(ends, &mut buffer)?;
        if ends.get(number % 2).map(|end| end.progress(ticket)) != Some(Progress::Done) {
            return Err(broken("a round did not complete"));
        }
    }
    Ok(bytes)
}

/// The primitives of a round and nothing else; of a `crossing`, with those of the INIT that yields.
fn run_primitives(nodes: &mut [Hybrid; 2], signed: bool, crossing: bool) -> Result<(), BenchError> {
    let [one, other] = nodes;
    let text = [0; 1400];
    if crossing {
        let _yields = other.generate()?;
        other.sign(&text)?;
    }
    let (ephemeral, share) = one.generate()?;
    let (_, answer) = other.answer(&share)?;
    Hybrid::complete(ephemeral, &answer)?;
    if signed {
        let (first, second) = (one.sign(&text)?, other.sign(&text)?);
        if !other.verify(&text, &first) || !one.verify(&text, &second) {
            return Err(broken("a signature is not its signer's"));
        }
    }
    Ok(())
}

fn rounds(scale: Scale, signed: bool, report: &mut dyn FnMut(Figure)) -> Result<(), BenchError> {
    let (turns, count) = (scale.pick(21, 2), scale.pick(400, 4));
    let (mut ends, mut nodes) = (ends(Mode::Throughput, signed)?, nodes()?);
    let (mut own, mut limit, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..turns {
        let (elapsed, sent) = timed(|| run_rounds(&mut ends, count));
        own.push(per_second(count, elapsed));
        bytes.push(sent? as f64 / count as f64);
        let (elapsed, result) =
            timed(|| (0..count).try_for_each(|_| run_primitives(&mut nodes, signed, false)));
        result?;
        limit.push(per_second(count, elapsed));
    }
    let plan = Plan {
        bench: BENCH,
        figure: "rounds of one pair",
        unit: "rounds per second",
        aim: Some(Aim::AtLeast(if signed { 2_500.0 } else { 4_000.0 })),
        params: json!({"signed": signed, "rounds": count}),
    };
    report(plan.compared(&own, PRIMITIVES, "rounds per second", &limit));
    if signed {
        let (figure, unit, aim) = ("bytes of a round", "bytes", Some(Aim::AtMost(2_700.0)));
        report(Plan { figure, unit, aim, ..plan }.measured(&bytes));
    }
    Ok(())
}

/// Rounds that both ends open at once: how long until both are in the new epoch. The primitives take
/// turns with them, so that what disturbs a few of a thousand disturbs both.
fn crossing(scale: Scale, report: &mut dyn FnMut(Figure)) -> Result<(), BenchError> {
    let count = scale.pick(10_000, 4);
    let (mut ends, mut nodes) = (ends(Mode::Throughput, true)?, nodes()?);
    let (mut own, mut limit) = (Vec::new(), Vec::new());
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for number in 0..count {
        let (elapsed, result) = timed(|| cross(&mut ends, &mut first, &mut second));
        result?;
        own.push(elapsed.as_secs_f64() * 1e6);
        if ends.iter().any(|end| end.status().epoch != number as u64 + 1) {
            return Err(broken("a crossing is one epoch"));
        }
        let (elapsed, result) = timed(|| run_primitives(&mut nodes, true, true));
        result?;
        limit.push(elapsed.as_secs_f64() * 1e6);
    }
    for samples in [&mut own, &mut limit] {
        samples.sort_by(f64::total_cmp);
    }
    let figures = [
        ("crossing round, median", count / 2, 450.0),
        ("crossing round, 99.9th percentile", count - 1 - count / 1000, 2_000.0),
    ];
    for (figure, at, aim) in figures {
        let unit = "microseconds";
        let (aim, params) = (Some(Aim::AtMost(aim)), json!({"rounds": count}));
        let at = |samples: &[f64]| samples.get(at).map_or([0.0], |sample| [*sample]);
        let plan = Plan { bench: BENCH, figure, unit, aim, params };
        report(plan.compared(&at(&own), PRIMITIVES, unit, &at(&limit)));
    }
    Ok(())
}

/// One crossing: both INITs are sealed before either arrives.
fn cross(
    ends: &mut [Session<Hybrid>; 2],
    first: &mut Vec<u8>,
    second: &mut Vec<u8>,
) -> Result<(), BenchError> {
    let [one, other] = ends;
    for (end, out) in [(&mut *one, &mut *first), (&mut *other, &mut *second)] {
        end.request_rekey(Freshness::Any).map_err(|_| broken("closed"))?;
        out.clear();
        end.poll_transmit(NOW, out, usize::MAX);
    }
    other.input(NOW, first)?;
    one.input(NOW, second)?;
    settle(ends, first).map(drop)
}

/// Records of one message each: sealing them, and opening them at the other end.
fn records(
    scale: Scale,
    mode: Mode,
    payload: usize,
    report: &mut dyn FnMut(Figure),
) -> Result<(), BenchError> {
    let (turns, count) = (scale.pick(21, 2), scale.pick((32 << 20) / payload, 4));
    let micros = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    let (mut own, mut limit) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..turns {
        let times = stream(&mut ends(mode, true)?, payload, count)?;
        let bare = bare_records(mode, payload, count)?;
        for (samples, time) in own.iter_mut().chain(&mut limit).zip(times.into_iter().chain(bare)) {
            samples.push(micros(time));
        }
    }
    let seal_aim = match (mode, payload) {
        (Mode::RecordFs, 256) => 1.0,
        (_, 256) => 0.45,
        // Two gigabytes a second.
        _ => payload as f64 / 2_000.0,
    };
    let other = match mode {
        Mode::Throughput => "AES-256-GCM alone, one key",
        Mode::RecordFs | Mode::FreshEpoch => "AES-256-GCM alone, a key of the chain each",
    };
    let unit = "microseconds per record";
    let params = json!({"mode": format!("{mode:?}"), "payload_bytes": payload, "records": count});
    let figures = [("seal", Some(Aim::AtMost(seal_aim))), ("open", None)];
    for ((figure, aim), (own, limit)) in figures.into_iter().zip(own.iter().zip(&limit)) {
        let plan = Plan { bench: BENCH, figure, unit, aim, params: params.clone() };
        report(plan.compared(own, other, unit, limit));
    }
    Ok(())
}

/// Seals `count` messages at the first end, a buffer at a time, and opens them at the second. No more
/// is queued at once than a stream queues, so that the memory it comes from is not what is measured.
fn stream(
    ends: &mut [Session<Hybrid>; 2],
    payload: usize,
    count: usize,
) -> Result<[Duration; 2], BenchError> {
    let [from, to] = ends;
    let (mut sealing, mut opening) = (Duration::ZERO, Duration::ZERO);
    let (mut buffer, mut arrived) = (Vec::with_capacity(192 << 10), 0);
    while arrived < count {
        buffer.clear();
        for _ in 0..((128 << 10) / payload).clamp(1, count - arrived) {
            from.send(vec![3; payload]).map_err(|_| broken("the queue is full"))?;
        }
        let (elapsed, sealed) = timed(|| from.poll_transmit(NOW, &mut buffer, usize::MAX));
        sealing += elapsed;
        let (elapsed, result) = timed(|| {
            to.input(NOW, &mut buffer)?;
            while let Some(event) = to.poll_event() {
                if let Event::Data(data) = event {
                    to.consume(data.cost());
                    arrived += 1;
                }
            }
            Ok::<_, Reason>(())
        });
        result?;
        opening += elapsed;
        if sealed == 0 {
            return Err(broken("the stream stands still"));
        }
    }
    Ok([sealing, opening])
}

/// Seals and opens as many payloads with nothing around it, and takes a key for each where the mode does.
fn bare_records(mode: Mode, payload: usize, count: usize) -> Result<[Duration; 2], BenchError> {
    let chain = || Hybrid::chain(&Secret::take(&mut [5; 32]));
    let each = mode.records_per_key() == 1;
    let (mut sealing, mut opening) = (chain(), chain());
    let mut keys = [Hybrid::step(&mut sealing), Hybrid::step(&mut opening)];
    let mut times = [Duration::ZERO; 2];
    // As many at once as `stream` has in its buffer.
    let at_once = (128 << 10) / payload;
    let mut buffers = vec![Vec::with_capacity(payload + Hybrid::TAG_BYTES); at_once];
    for first in (0..count).step_by(at_once) {
        let numbers = first as u64..count as u64;
        let (sealed, ()) = timed(|| {
            for (number, buffer) in numbers.clone().zip(&mut buffers) {
                buffer.clear();
                buffer.resize(payload, 3);
                if each {
                    keys[0] = Hybrid::step(&mut sealing);
                }
                Hybrid::seal(&keys[0], nonce(number), &[0; 8], buffer, 0);
            }
        });
        let (opened, all) = timed(|| {
            numbers.zip(&mut buffers).all(|(number, buffer)| {
                if each {
                    keys[1] = Hybrid::step(&mut opening);
                }
                Hybrid::open(&keys[1], nonce(number), &[0; 8], buffer).is_some()
            })
        });
        if !all {
            return Err(broken("a record does not open"));
        }
        times[0] += sealed;
        times[1] += opened;
    }
    Ok(times)
}

fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&number.to_le_bytes());
    nonce
}
