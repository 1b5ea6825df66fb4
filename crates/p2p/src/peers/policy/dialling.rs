//! Whom to dial and when: required peers for ever, others to fill a band; and what failed dials teach.

use std::net::IpAddr;

use super::{
    Bye, Conn, ConnAction, ConnId, ConnPolicy, DIAL_MS, Direction, Life, STABLE_MS, State, Subnet,
};
use crate::NodeId;
use crate::moment::{DAY_MS, HOUR_MS, MINUTE_MS, Moment, SECOND_MS};
use crate::peers::address::Endpoint;
use crate::peers::book::OTHER_CHAIN_MS;
use crate::peers::rules::Mode;

/// Peers of which the outcome of the last dial is remembered.
pub const MEMORY_MAX: usize = 4096;
/// Back-off to required peers: first and longest wait.
pub const REQUIRED_BACKOFF_MS: (u64, u64) = (500, MINUTE_MS);
/// Back-off to all others.
pub const OPTIONAL_BACKOFF_MS: (u64, u64) = (5 * SECOND_MS, 10 * MINUTE_MS);
/// How long a peer that speaks another version, or does not want us, is left alone.
pub const OLD_PROTO_MS: u64 = HOUR_MS;
/// The longest that a peer can send us away for.
const SENT_AWAY_MAX_MS: u64 = DAY_MS;
/// Dials at the same time that fill the band.
const FILLING_DIALS_MAX: usize = 8;
/// How often is looked for somebody to fill it.
const FILLING_MS: u64 = SECOND_MS;
/// How many connections of the band may lead to one provider while there are others to choose.
const PER_PROVIDER: usize = 2;

/// What is remembered of dials to one peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    /// Dials in a row that led to no stable connection.
    attempts: u32,
    not_before: Moment,
    /// Which of its endpoints comes next.
    endpoint: usize,
}

impl ConnPolicy {
    /// Returns the required peers that are to be dialled now.
    #[must_use]
    pub fn due(&self, now: Moment) -> Vec<NodeId> {
        self.required.iter().filter(|peer| self.may_dial(now, peer)).copied().collect()
    }

    /// Returns how many other peers are to be dialled now to fill the band; asks for some at most once a
    /// second (R14).
    #[must_use]
    pub fn wanted(&mut self, now: Moment) -> usize {
        if now < self.fill_at {
            return 0;
        }
        self.fill_at = now.after(FILLING_MS);
        let counts = self.counts();
        if counts.band < self.limits.band_low {
            self.filling = true;
        } else if counts.band >= self.limits.band_high {
            self.filling = false;
        }
        if !self.filling || self.rules.mode == Mode::CommitteeOnly {
            return 0;
        }
        let missing = self.limits.band_high.saturating_sub(counts.band + counts.pending_out);
        let dials = FILLING_DIALS_MAX.min(self.limits.pending_out);
        let room = self.limits.total.saturating_sub(counts.total);
        missing.min(dials.saturating_sub(counts.pending_out)).min(room)
    }

    /// Returns whether `peer` may be dialled now: not ourselves, allowed, long enough after the last
    /// failure, and neither connected nor about to be (B15).
    #[must_use]
    pub fn may_dial(&self, now: Moment, peer: &NodeId) -> bool {
        *peer != self.me
            && self.rules.allows(peer)
            && !self.rules.deny.denies_key(peer)
            && self.memory.get(peer).is_none_or(|memory| memory.not_before <= now)
            && !self.is_connected(peer)
    }

    /// Returns whether two connections of the band already lead to one of these providers.
    #[must_use]
    pub fn is_crowded(&self, providers: &[Subnet]) -> bool {
        providers.iter().any(|provider| {
            let in_band = |(id, conn): &(&ConnId, &Conn)| {
                id.direction == Direction::Outbound
                    && conn.state != State::Draining
                    && !self.is_required(conn)
                    && conn.ip.is_some_and(|ip| provider.contains(ip))
            };
            self.conns.iter().filter(in_band).count() >= PER_PROVIDER
        })
    }

    fn is_connected(&self, peer: &NodeId) -> bool {
        let with_peer = |conn: &Conn| conn.peer == Some(*peer) && conn.state != State::Draining;
        self.links.contains_key(peer) || self.conns.values().any(with_peer)
    }

    /// Dials `peer` at the next of `endpoints`; returns whether it did. Addresses that are denied or too
    /// crowded are passed over.
    pub fn dial(
        &mut self,
        now: Moment,
        peer: NodeId,
        endpoints: &[Endpoint],
        actions: &mut Vec<ConnAction>,
    ) -> bool {
        if !self.may_dial(now, &peer) {
            return false;
        }
        let required = self.required.contains(&peer);
        let counts = self.counts();
        let full =
            counts.total >= self.limits.total || counts.pending_out >= self.limits.pending_out;
        let usable: Vec<_> = (endpoints.iter())
            .filter(|endpoint| self.may_reach(ip_of(endpoint), required))
            .collect();
        let memory = self.memory.get(&peer).copied().unwrap_or_default();
        let Some(endpoint) = usable.get(memory.endpoint.checked_rem(usable.len()).unwrap_or(0))
        else {
            // Nothing to dial yet: look again when a failed dial would have been over.
            self.remember_failure(now, peer, 0);
            return false;
        };
        if full && !required {
            return false;
        }
        let conn = ConnId { direction: Direction::Outbound, number: self.next_outbound };
        self.next_outbound += 1;
        self.conns.insert(
            conn,
            Conn {
                state: State::Dialling,
                peer: Some(peer),
                ip: ip_of(endpoint),
                since: now,
                deadline: now.after(DIAL_MS),
                instance: 0,
                life: Life::default(),
            },
        );
        actions.push(ConnAction::Dial { conn, peer, endpoint: (*endpoint).clone() });
        self.remember(now, peer, Memory { endpoint: memory.endpoint.wrapping_add(1), ..memory });
        true
    }

    fn may_reach(&self, ip: Option<IpAddr>, required: bool) -> bool {
        ip.is_none_or(|ip| {
            !self.rules.deny.denies_ip(ip) && (required || self.has_room_beside(ip).is_ok())
        })
    }

    /// Takes note of a dial that led to nothing; the next comes after the back-off and `least_ms`.
    pub(super) fn remember_failure(&mut self, now: Moment, peer: NodeId, least_ms: u64) {
        let memory = self.memory.get(&peer).copied().unwrap_or_default();
        let required = self.required.contains(&peer);
        let (first, longest) = if required { REQUIRED_BACKOFF_MS } else { OPTIONAL_BACKOFF_MS };
        let doubled = first.checked_shl(memory.attempts.min(20)).unwrap_or(longest).min(longest);
        // Between half and all of it, so that nodes that failed together do not return together.
        let wait = doubled / 2 + self.dice.below(doubled / 2 + 1);
        let least = if required { least_ms.min(longest) } else { least_ms };
        let not_before = now.after(wait.max(least));
        let attempts = memory.attempts.saturating_add(1);
        self.remember(now, peer, Memory { attempts, not_before, ..memory });
    }

    /// Takes note that a connection ended after `lasted_ms`.
    pub(super) fn remember_end(&mut self, now: Moment, peer: NodeId, lasted_ms: u64) {
        if lasted_ms >= STABLE_MS
            && let Some(memory) = self.memory.get_mut(&peer)
        {
            memory.attempts = 0;
        }
        self.remember_failure(now, peer, 0);
    }

    /// Takes note of why a peer does not want us, or we do not want it.
    pub(super) fn remember_bye(
        &mut self,
        now: Moment,
        peer: NodeId,
        why: Bye,
        actions: &mut Vec<ConnAction>,
    ) {
        if why != Bye::Duplicate {
            let least_ms = least_wait(peer, why, actions);
            self.remember_failure(now, peer, least_ms);
        }
    }

    /// Takes note of why a peer ended what was a good connection, whose end is remembered already.
    pub(super) fn wait_at_least(
        &mut self,
        now: Moment,
        peer: NodeId,
        why: Bye,
        actions: &mut Vec<ConnAction>,
    ) {
        let wait = least_wait(peer, why, actions);
        let longest = if self.required.contains(&peer) { REQUIRED_BACKOFF_MS.1 } else { u64::MAX };
        let memory = self.memory.get(&peer).copied().unwrap_or_default();
        let not_before = memory.not_before.max(now.after(wait.min(longest)));
        self.remember(now, peer, Memory { not_before, ..memory });
    }

    fn remember(&mut self, now: Moment, peer: NodeId, memory: Memory) {
        self.memory.insert(peer, memory);
        if self.memory.len() > MEMORY_MAX {
            // Whose wait is over has little left to forget.
            let optional =
                self.memory.iter().filter(|(key, _)| **key != peer && !self.required.contains(key));
            let first = optional.min_by_key(|(key, memory)| (memory.not_before.max(now), **key));
            if let Some(first) = first.map(|(key, _)| *key) {
                self.memory.remove(&first);
            }
        }
    }

    /// Lets `peer` be dialled at once, by wish of an operator.
    pub fn forget_failures(&mut self, peer: &NodeId) {
        self.memory.remove(peer);
    }

    /// Returns when the next dial may be due.
    pub(super) fn next_dial(&self, now: Moment) -> Option<Moment> {
        let required = self.required.iter().filter(|peer| {
            !self.is_connected(peer) && self.rules.allows(peer) && **peer != self.me
        });
        let of_required = required
            .map(|peer| self.memory.get(peer).map_or(now, |memory| memory.not_before.max(now)))
            .min();
        let in_band = |(id, conn): &(&ConnId, &Conn)| {
            id.direction == Direction::Outbound
                && conn.state == State::Active
                && !self.is_required(conn)
        };
        let filling =
            self.filling || self.conns.iter().filter(in_band).count() < self.limits.band_low;
        let of_band = (filling && self.rules.mode != Mode::CommitteeOnly).then_some(self.fill_at);
        of_required.into_iter().chain(of_band).min()
    }
}

/// Returns how long a peer is left alone after this, in ms, whatever the back-off says.
fn least_wait(peer: NodeId, why: Bye, actions: &mut Vec<ConnAction>) -> u64 {
    match why {
        Bye::WrongChain => {
            actions.push(ConnAction::OtherChain { peer });
            OTHER_CHAIN_MS
        }
        Bye::WrongPeer => {
            actions.push(ConnAction::DialFailed { peer });
            0
        }
        Bye::OldProto | Bye::NotAllowed => OLD_PROTO_MS,
        Bye::Banned { ms } => ms.min(SENT_AWAY_MAX_MS),
        Bye::Full { retry_ms } => retry_ms.clamp(SECOND_MS, 10 * MINUTE_MS),
        Bye::Myself => DAY_MS,
        Bye::Duplicate | Bye::Timeout | Bye::Shutdown => 0,
    }
}

fn ip_of(endpoint: &Endpoint) -> Option<IpAddr> {
    match endpoint {
        Endpoint::Ip(address) => Some(address.ip),
        Endpoint::Name { .. } => None,
    }
}
