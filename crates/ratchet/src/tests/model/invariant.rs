//! The invariants I1 to I15 and the progress measure L4, as functions of one state.

use stateright::Property;

use super::{Net, World, kind, tickets_answered};
use crate::crypto::symbolic::Symbolic;
use crate::key_schedule::Mode;
use crate::rekey::{Rekey, State};
use crate::session::{Life, Session};

const INIT: u8 = 1;
const RESP: u8 = 2;
const FIN: u8 = 3;
const PING: u8 = 6;

pub(crate) fn properties() -> Vec<Property<World>> {
    vec![
        Property::always("I1: no fatal error between honest ends", i1),
        Property::always("I2, I12, I13, L4: no step breaks a law", |_, net: &Net| {
            net.broken.is_none()
        }),
        Property::always("I3, I15: at rest both ends are idle and agree", i3),
        Property::always("I4: the skew is at most one epoch", i4),
        Property::always("I5: at most two handshake frames per direction", i5),
        Property::always("I6: no ticket is orphaned at rest", i6),
        Property::always("I7: after a clean close all sealed data has arrived", i7),
        Property::always("I8: unread data is within the credit", i8),
        Property::always("I9: closing ends without timers", i9),
        Property::always("I10: who waits has a witness under way", i10),
        Property::always("I11: at rest nothing is left over", i11),
        Property::always("I14: the secrets are those of the state", i14),
        Property::sometimes("two INITs cross", |_, net: &Net| living(net).any(has_crossed)),
        Property::sometimes("the last epoch is reached", |world: &World, net: &Net| {
            living(net).all(|rekey| rekey.confirmed() >= top(world))
        }),
        Property::sometimes("both ends close in order", |world: &World, net: &Net| {
            world.close == [false; 2]
                || net.ends.iter().all(|end| end.status().life == Life::Closed)
        }),
    ]
}

/// The epoch that every configuration can reach: all requests of one side, one after the other.
fn top(world: &World) -> u64 {
    let most = world.requests.iter().max().copied().unwrap_or_default();
    u64::from(most).min(world.epochs)
}

fn living(net: &Net) -> impl Iterator<Item = &Rekey<Symbolic>> {
    net.ends.iter().filter_map(|end| end.rekey.as_ref())
}

fn has_crossed(rekey: &Rekey<Symbolic>) -> bool {
    matches!(rekey.state, State::AwaitResp { crossed: true, .. })
}

fn is_honest(world: &World, net: &Net) -> bool {
    world.faults == 0 && !net.cut
}

fn is_open(net: &Net) -> bool {
    net.ends.iter().all(|end| end.status().life == Life::Open)
}

fn i1(world: &World, net: &Net) -> bool {
    let died = |end: &Session<_>| matches!(end.status().life, Life::Dead(_));
    !is_honest(world, net) || !net.ends.iter().any(died)
}

fn i3(world: &World, net: &Net) -> bool {
    if !is_honest(world, net) || !is_open(net) || !net.is_quiet(world) {
        return true;
    }
    let mut living = living(net);
    let (Some(low), Some(high)) = (living.next(), living.next()) else { return false };
    let nothing_waits = net.ends.iter().all(|end| {
        let status = end.status();
        !status.rekeying && (status.queued_bytes == 0 || !world.reads)
    });
    low.is_idle() && high.is_idle() && low.chain == high.chain && nothing_waits
}

fn i4(_: &World, net: &Net) -> bool {
    let mut living = living(net);
    let (Some(low), Some(high)) = (living.next(), living.next()) else { return true };
    let skew = |a: u64, b: u64| a.abs_diff(b) <= 1;
    skew(low.send.epoch, high.recv.epoch)
        && skew(high.send.epoch, low.recv.epoch)
        && skew(low.send.epoch, low.recv.epoch)
        && skew(high.send.epoch, high.recv.epoch)
        && skew(low.chain.epoch, high.chain.epoch)
}

fn i5(world: &World, net: &Net) -> bool {
    world.faults > 0
        || (0..2).all(|side| {
            let under_way =
                net.pipes[side].iter().filter(|record| [INIT, RESP, FIN].contains(&kind(record)));
            let pending = net.ends[side].rekey.as_ref().is_some_and(|rekey| rekey.switch.is_some());
            under_way.count() + usize::from(pending) <= 2
        })
}

fn i6(world: &World, net: &Net) -> bool {
    if !is_honest(world, net) || !net.is_quiet(world) {
        return true;
    }
    (0..2).all(|side| tickets_answered(net, side))
}

fn i7(world: &World, net: &Net) -> bool {
    let closed = net.ends.iter().all(|end| end.status().life == Life::Closed);
    if !is_honest(world, net) || !closed || !world.reads || !net.is_quiet(world) {
        return true;
    }
    net.sealed == net.read
}

/// Records that were received and not read; one costs 65.
pub(crate) fn unread(end: &Session<Symbolic>) -> u64 {
    end.unread_cost() / 65
}

fn i8(world: &World, net: &Net) -> bool {
    net.ends.iter().all(|end| unread(end) <= u64::from(world.credit))
}

fn i9(world: &World, net: &Net) -> bool {
    if !is_honest(world, net) || !net.is_quiet(world) {
        return true;
    }
    let hangs = |end: &Session<_>| matches!(end.status().life, Life::Closing | Life::CloseSent);
    !net.ends.iter().any(hangs)
}

/// Lemma L3: an end that waits has a frame under way that will end its waiting.
fn i10(world: &World, net: &Net) -> bool {
    if !is_honest(world, net) || !is_open(net) {
        return true;
    }
    let under_way = |from: usize, wanted: u8| net.pipes[from].iter().any(|r| kind(r) == wanted);
    let pending = |side: usize, wanted: u8| {
        let switch = net.ends[side].rekey.as_ref().and_then(|rekey| rekey.switch.as_ref());
        switch.is_some_and(|switch| switch.frame[0] == wanted)
    };
    (0..2).all(|side| {
        let peer = 1 - side;
        match net.ends[side].rekey.as_ref().map(|rekey| &rekey.state) {
            Some(State::AwaitResp { .. }) => {
                // Low has ignored High's INIT, and its own has not arrived yet.
                let stands = side == 1 && under_way(peer, INIT);
                stands || under_way(side, INIT) || pending(peer, RESP) || under_way(peer, RESP)
            }
            Some(State::AwaitFin { .. }) => {
                pending(side, RESP)
                    || under_way(side, RESP)
                    || pending(peer, FIN)
                    || under_way(peer, FIN)
            }
            Some(State::Idle) | None => true,
        }
    })
}

fn i11(_: &World, net: &Net) -> bool {
    net.ends.iter().filter(|end| end.status().life == Life::Open).all(|end| {
        end.rekey.as_ref().is_some_and(|rekey| {
            !rekey.is_idle()
                || rekey.switch.is_some()
                || (rekey.send.epoch == rekey.recv.epoch && rekey.send.epoch == rekey.chain.epoch)
        })
    })
}

/// The census of the docs, 4: which epochs' keys exist in which state. That there are no others is
/// the type's doing: an ephemeral secret and a receiving key to come exist in their state only.
fn i14(_: &World, net: &Net) -> bool {
    net.ends.iter().all(|end| {
        let over = end.status().life.is_over();
        let Some(rekey) = &end.rekey else { return over };
        let newest = rekey.chain.epoch;
        let staged = rekey.switch.as_ref().map(|switch| switch.next.epoch);
        let (send, recv) = (rekey.send.epoch, rekey.recv.epoch);
        let is_closing = end.status().life != Life::Open;
        !over
            && match &rekey.state {
                // Between RESP and FIN the initiator reads under the new key already.
                State::Idle => match staged {
                    Some(staged) => (staged, recv, send + 1) == (newest, newest, newest),
                    None => is_closing || (send, recv) == (newest, newest),
                },
                State::AwaitResp { .. } => {
                    is_closing || (send, recv, staged) == (newest, newest, None)
                }
                State::AwaitFin { recv_next, .. } => {
                    let sends = staged.map_or(send, |staged| staged.min(send + 1));
                    recv_next.epoch == newest && recv + 1 == newest && sends == newest
                }
            }
    })
}

/// L4: what is still to be done. Every flush, delivery and read makes it less.
pub(crate) fn measure(net: &Net) -> u64 {
    let mut sum = 0;
    for (end, pipe) in net.ends.iter().zip(&net.pipes) {
        sum += pipe.iter().map(|record| weight(kind(record))).sum::<u64>();
        sum += pending(end);
    }
    sum
}

/// A frame of this kind under way; one that is pending weighs one more.
fn weight(kind: u8) -> u64 {
    match kind {
        super::DATA => 5,
        INIT => 5,
        RESP | PING => 3,
        _ => 1,
    }
}

/// What an end still has to seal, to read, and to ask for.
fn pending(end: &Session<Symbolic>) -> u64 {
    let Some(rekey) = &end.rekey else {
        return 4 * unread(end) + 2 * u64::from(end.has_last_words());
    };
    let status = end.status();
    let mut sum = 4 * unread(end);
    sum += rekey.switch.as_ref().map_or(0, |switch| weight(switch.frame[0]) + 1);
    sum += match status.life {
        Life::Open => 3,
        Life::Closing => 2,
        Life::CloseSent | Life::Closed | Life::Dead(_) => 0,
    };
    if status.life == Life::Open {
        // Messages of one byte, and in the strict mode the rounds that they need: one each, but
        // for the first when its round is over or under way.
        let queued = status.queued_bytes as u64;
        sum += 6 * queued;
        if end.mode() == Mode::FreshEpoch {
            sum += 6 * if end.needs_fresh_round() { queued } else { queued.saturating_sub(1) };
        }
        sum += 2 * u64::from(end.is_window_due());
        sum += 6 * end.wanted.saturating_sub(rekey.target());
    }
    sum
}
