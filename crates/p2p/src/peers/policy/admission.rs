//! Who may come in: limits by address before any cryptography, by key before Hello.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::ties::simultaneous;
use super::{
    Bye, Conn, ConnAction, ConnId, ConnPolicy, Direction, HELLO_MS, Life, OF_ALL, Refusal,
    SECURE_MS, State, Subnet,
};
use crate::NodeId;
use crate::moment::{MINUTE_MS, Moment};
use crate::peers::rules::Standing;

/// When somebody for whom there was no room may come again.
const FULL_RETRY_MS: u64 = MINUTE_MS;

/// How many connections there are, by what the limits count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnCounts {
    /// Of peers that are not required, in any state but draining.
    pub total: usize,
    /// Inbound, past the secure handshake, of peers that no configuration names.
    pub unknown_inbound: usize,
    /// Inbound before the end of Hello.
    pub pending_in: usize,
    /// Outbound before the end of Hello, those to required peers aside.
    pub pending_out: usize,
    /// Outbound and active, to peers that are not required.
    pub band: usize,
    /// Saying goodbye.
    pub draining: usize,
    /// The most with one host, required peers and their hosts aside.
    pub most_per_host: usize,
    /// The most with one site, likewise.
    pub most_per_site: usize,
    /// The most with one peer, draining ones aside.
    pub most_per_peer: usize,
    /// All that the policy knows of.
    pub all: usize,
    /// Peers that can be spoken to.
    pub up: usize,
}

impl ConnPolicy {
    pub(super) fn on_accepted(
        &mut self,
        now: Moment,
        number: u64,
        ip: IpAddr,
        actions: &mut Vec<ConnAction>,
    ) {
        let conn = ConnId { direction: Direction::Inbound, number };
        if self.conns.contains_key(&conn) {
            return;
        }
        if let Err(why) = self.admit(now, ip, actions) {
            actions.push(ConnAction::Refuse { conn, why });
            return;
        }
        self.conns.insert(
            conn,
            Conn {
                state: State::Securing,
                peer: None,
                ip: Some(ip),
                since: now,
                deadline: now.after(SECURE_MS),
                instance: 0,
                life: Life::default(),
            },
        );
        actions.push(ConnAction::Secure { conn });
    }

    /// Checks everything that needs no key. The hosts of required peers are held to their own rate only.
    fn admit(
        &mut self,
        now: Moment,
        ip: IpAddr,
        actions: &mut Vec<ConnAction>,
    ) -> Result<(), Refusal> {
        if self.rules.deny.denies_ip(ip) {
            return Err(Refusal::Denied);
        }
        let required_host = self.required_hosts.contains(&Subnet::host(ip));
        if !self.hosts.take(now, Subnet::host(ip)) {
            return Err(Refusal::TooFast);
        }
        if !required_host {
            self.has_room_beside(ip)?;
            if !self.sites.take(now, Subnet::site(ip)) || !self.all.take(OF_ALL, now, 1) {
                return Err(Refusal::TooFast);
            }
        }
        let counts = self.counts();
        if counts.pending_in >= self.limits.pending_in {
            self.drop_oldest_pending(now, actions)?;
        } else if counts.total >= self.limits.total && !required_host {
            return Err(Refusal::Full);
        }
        Ok(())
    }

    /// Checks the limits per host and site for one more connection with `ip`.
    pub(super) fn has_room_beside(&self, ip: IpAddr) -> Result<(), Refusal> {
        let (host, site) = (Subnet::host(ip), Subnet::site(ip));
        let counted = || {
            self.conns
                .values()
                .filter(|conn| self.is_counted_by_address(conn))
                .filter_map(|conn| conn.ip)
        };
        if counted().filter(|ip| host.contains(*ip)).count() >= self.limits.per_host {
            Err(Refusal::HostFull)
        } else if counted().filter(|ip| site.contains(*ip)).count() >= self.limits.per_site {
            Err(Refusal::SiteFull)
        } else {
            Ok(())
        }
    }

    fn is_counted_by_address(&self, conn: &Conn) -> bool {
        conn.state != State::Draining
            && !self.is_required(conn)
            && !conn.ip.is_some_and(|ip| self.required_hosts.contains(&Subnet::host(ip)))
    }

    /// Makes room for one more handshake: the one that began first goes, since it had its time. Those
    /// from hosts of required peers stay.
    fn drop_oldest_pending(
        &mut self,
        now: Moment,
        actions: &mut Vec<ConnAction>,
    ) -> Result<(), Refusal> {
        let pending = self.conns.iter().filter(|(id, conn)| {
            id.direction == Direction::Inbound
                && matches!(conn.state, State::Securing | State::Hello)
                && self.is_counted_by_address(conn)
        });
        let oldest = pending.min_by_key(|(id, conn)| (conn.since, **id)).map(|(id, _)| *id);
        let Some(oldest) = oldest else {
            return Err(Refusal::Full);
        };
        let peer = self.conns.remove(&oldest).and_then(|conn| conn.peer);
        actions.push(ConnAction::Abort { conn: oldest });
        self.detach(now, oldest, peer, actions);
        Ok(())
    }

    pub(super) fn on_secured(
        &mut self,
        now: Moment,
        id: ConnId,
        peer: NodeId,
        actions: &mut Vec<ConnAction>,
    ) {
        let Some(expected) = (self.conns.get(&id))
            .filter(|conn| conn.state == State::Securing)
            .map(|conn| conn.peer)
        else {
            return;
        };
        if let Some(expected) = expected
            && expected != peer
        {
            let why = if peer == self.me { Bye::Myself } else { Bye::WrongPeer };
            self.close(now, id, why, actions);
            self.remember_bye(now, expected, Bye::WrongPeer, actions);
            return;
        }
        if let Some(why) = self.turned_away(id, &peer) {
            self.close(now, id, why, actions);
            return;
        }
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.peer = Some(peer);
            conn.enter(State::Hello, now, HELLO_MS);
        }
        self.resolve_handshakes(now, id, peer, actions);
    }

    fn turned_away(&self, id: ConnId, peer: &NodeId) -> Option<Bye> {
        if *peer == self.me {
            return Some(Bye::Myself);
        }
        if self.rules.deny.denies_key(peer) || !self.rules.allows(peer) {
            return Some(Bye::NotAllowed);
        }
        if self.standing(peer) == Standing::Required || id.direction == Direction::Outbound {
            return None;
        }
        let counts = self.counts();
        let unknown = self.standing(peer) == Standing::Unknown;
        // A peer that comes back replaces itself and needs no more room.
        let returns = self.links.contains_key(peer);
        let full = unknown && counts.unknown_inbound >= self.limits.unknown_inbound && !returns;
        full.then_some(Bye::Full { retry_ms: FULL_RETRY_MS })
    }

    /// Keeps at most one handshake with a peer beside an active connection.
    fn resolve_handshakes(
        &mut self,
        now: Moment,
        id: ConnId,
        peer: NodeId,
        actions: &mut Vec<ConnAction>,
    ) {
        let others = self.conns.iter().filter(|(other, conn)| {
            **other != id && conn.peer == Some(peer) && conn.state == State::Hello
        });
        let others: Vec<_> = others.map(|(other, _)| *other).collect();
        for other in others {
            if simultaneous(self.me, peer, id, other) == id {
                self.close(now, other, Bye::Duplicate, actions);
            } else {
                self.close(now, id, Bye::Duplicate, actions);
                return;
            }
        }
        actions.push(ConnAction::Hello { conn: id });
    }

    /// Ends what stands above the limits after the rules have changed: peers that were required and are
    /// not any more count from now on. The youngest goes first.
    pub(super) fn shed(&mut self, now: Moment, actions: &mut Vec<ConnAction>) {
        for _ in 0..self.conns.len() {
            let counts = self.counts();
            let over = |count: usize, max: usize| count > max;
            let surplus = self.conns.iter().filter(|(id, conn)| {
                let inbound = id.direction == Direction::Inbound;
                let unknown = conn
                    .peer
                    .is_some_and(|peer| self.standing(&peer) == Standing::Unknown && inbound);
                let dialling = !inbound && conn.state < State::Active;
                let by_address = conn
                    .ip
                    .is_some_and(|ip| self.is_counted_by_address(conn) && self.is_over_beside(ip));
                conn.state != State::Draining
                    && !self.is_required(conn)
                    && (over(counts.total, self.limits.total)
                        || unknown && over(counts.unknown_inbound, self.limits.unknown_inbound)
                        || dialling && over(counts.pending_out, self.limits.pending_out)
                        || by_address)
            });
            let youngest = surplus.max_by_key(|(id, conn)| (conn.since, **id)).map(|(id, _)| *id);
            let Some(youngest) = youngest else {
                return;
            };
            self.close(now, youngest, Bye::Full { retry_ms: FULL_RETRY_MS }, actions);
        }
    }

    fn is_over_beside(&self, ip: IpAddr) -> bool {
        let (host, site) = (Subnet::host(ip), Subnet::site(ip));
        let counted = self.conns.values().filter(|conn| self.is_counted_by_address(conn));
        let ips: Vec<_> = counted.filter_map(|conn| conn.ip).collect();
        ips.iter().filter(|ip| host.contains(**ip)).count() > self.limits.per_host
            || ips.iter().filter(|ip| site.contains(**ip)).count() > self.limits.per_site
    }

    /// Returns how many connections there are.
    #[must_use]
    pub fn counts(&self) -> ConnCounts {
        let mut counts = ConnCounts { up: self.links.len(), ..ConnCounts::default() };
        let (mut hosts, mut sites, mut peers) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for (id, conn) in &self.conns {
            counts.all += 1;
            if conn.state == State::Draining {
                counts.draining += 1;
                continue;
            }
            let (required, inbound) = (self.is_required(conn), id.direction == Direction::Inbound);
            let pending = conn.state != State::Active;
            counts.total += usize::from(!required);
            counts.pending_in += usize::from(inbound && pending);
            counts.pending_out += usize::from(!inbound && pending && !required);
            counts.band += usize::from(!inbound && !pending && !required);
            if let Some(peer) = conn.peer {
                let unknown = self.standing(&peer) == Standing::Unknown;
                counts.unknown_inbound += usize::from(inbound && unknown);
                if conn.state >= State::Hello {
                    *peers.entry(peer).or_insert(0) += 1;
                }
            }
            if let Some(ip) = conn.ip.filter(|_| self.is_counted_by_address(conn)) {
                *hosts.entry(Subnet::host(ip)).or_insert(0) += 1;
                *sites.entry(Subnet::site(ip)).or_insert(0) += 1;
            }
        }
        counts.most_per_host = hosts.into_values().max().unwrap_or(0);
        counts.most_per_site = sites.into_values().max().unwrap_or(0);
        counts.most_per_peer = peers.into_values().max().unwrap_or(0);
        counts
    }
}
