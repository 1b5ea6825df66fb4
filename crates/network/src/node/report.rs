//! The status: published when something changed, and ten times a second.

use std::sync::Arc;

use proctor_p2p::NodeId;
use proctor_p2p::peers::ban::BannedBy;

use super::{Node, Up};
use crate::status::{BanRow, LIMITS, PeerRow, Status};

impl Node {
    pub(super) fn show(&mut self) {
        let shown = Some((self.core.marks(), self.up.len()));
        if self.show_due || self.shown != shown {
            self.show_due = false;
            self.shown = shown;
            self.status.send_replace(Arc::new(self.picture(false)));
        }
    }

    /// Returns what is to be seen at this moment.
    pub(crate) fn picture(&self, is_over: bool) -> Status {
        let now = self.now;
        let bans = self.peers.scorer().bans().iter(now);
        Status {
            listening: self.sources.listener.as_ref().and_then(|one| one.address().ok()),
            marks: self.core.marks(),
            reason: self.core.reason(),
            halted: self.halted.clone(),
            grew_at: self.vouched.grew_at.and_then(|at| self.clock.instant(at)),
            complete_at: self.vouched.complete_at.and_then(|at| self.clock.instant(at)),
            join: self.core.join_progress(),
            peers: self.up.iter().filter_map(|(peer, up)| self.row(peer, up)).collect(),
            bans: bans
                .map(|(peer, ban)| BanRow {
                    peer: *peer,
                    left_ms: ban.until.since(now),
                    by_operator: ban.by == BannedBy::Operator,
                    why: ban.why.clone(),
                })
                .collect(),
            conns: self.peers.policy().counts(),
            book: self.peers.book().size(),
            held: self.core.held(),
            snapshot: self.available.latest_snapshot,
            clock_offset_ms: self.offset.ms(),
            limited: self.limited(),
            counters: self.counters,
            bytes: self.totals.look(),
            tasks: self.sources.tasks.len(),
            is_over,
        }
    }

    fn limited(&self) -> [u64; LIMITS.len()] {
        let (told, asked) = (self.core.limited(), self.server.limited());
        [
            told.statuses,
            told.pushes,
            self.counters.asked_too_often,
            asked.requests,
            asked.snapshots,
            asked.inputs,
        ]
    }

    fn row(&self, peer: &NodeId, up: &Up) -> Option<PeerRow> {
        let conn = self.conns.get(&up.conn)?;
        let link = conn.link();
        let (bytes_in, bytes_out) = link.map_or((0, 0), |link| link.traffic.bytes());
        let waiting = link.map_or(0, |link| link.outbox.bytes());
        let scorer = self.peers.scorer();
        Some(PeerRow {
            peer: *peer,
            address: conn.address.clone(),
            direction: up.conn.direction,
            roles: up.roles,
            height: up.status.status.height(),
            rtt_ms: self.peers.policy().rtt_ms(up.conn),
            trust: scorer.trust(self.now, peer),
            quality: scorer.quality(peer),
            since: self.clock.instant(up.since)?,
            is_asked: up.followed,
            bytes_in,
            bytes_out,
            bytes_waiting: u64::try_from(waiting).unwrap_or(u64::MAX),
        })
    }
}
