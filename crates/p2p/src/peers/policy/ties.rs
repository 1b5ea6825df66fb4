//! Which of two connections between the same two nodes stays; both ends must answer alike.

use super::{ConnId, ConnPolicy, Direction, SETTLED_MS};
use crate::NodeId;
use crate::moment::Moment;

/// Returns which of two connections of `me` with `peer` stays when they were opened at the same time: of
/// opposite ones the one that the greater key dialled, of equal ones the later.
///
/// An end sees the direction that the other sees reversed, and the other key as greater or less: the two
/// reversals cancel, so both keep the same connection.
pub(super) fn simultaneous(me: NodeId, peer: NodeId, one: ConnId, other: ConnId) -> ConnId {
    let kept = if me > peer { Direction::Outbound } else { Direction::Inbound };
    match (one.direction == other.direction, one.direction == kept) {
        (true, _) => one.max(other),
        (false, true) => one,
        (false, false) => other,
    }
}

impl ConnPolicy {
    /// Returns which of `old`, which is active, and `new`, whose Hello has just come, stays.
    ///
    /// An old connection that leads to another process of the peer, or has been active for long, gives way
    /// to whatever comes: the peer has proved who it is, and an honest node does not dial whom it is
    /// connected to, so it was restarted, or saw the old one break. Waiting for the old one to be found
    /// dead would lock it out for half a minute.
    pub(super) fn survivor(&self, now: Moment, peer: NodeId, old: ConnId, new: ConnId) -> ConnId {
        let instance = |id| self.conns.get(&id).map(|conn| conn.instance);
        let settled = self.conns.get(&old).is_none_or(|conn| now.since(conn.since) >= SETTLED_MS);
        if settled || instance(old) != instance(new) {
            new
        } else {
            simultaneous(self.me, peer, old, new)
        }
    }
}
