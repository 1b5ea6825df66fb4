//! The peers of a running node, for those who administer it.

use std::sync::Arc;

use proctor_network::{BanRow, Network, PeerAt, PeerRow};
use proctor_p2p::NodeId;
use proctor_p2p::peers::policy::Direction;
use proctor_rpc::v1::{self, ListPeersResponse};
use proctor_rpc::{Problem, Reason};
use proctor_services::node::peers::{Commanded, PeerCommand, Peers};

/// Peers in one answer: with the longest addresses they stay below the limit of a message.
const LISTED_MAX: usize = 1_000;
/// A ban with more left than this holds until it is lifted: a century in milliseconds.
const ENDLESS_MS: u64 = 100 * 365 * 24 * 3_600 * 1_000;

/// The network, as the administration sees it.
#[derive(Debug)]
pub(super) struct Administered(pub(super) Arc<Network>);

impl Peers for Administered {
    fn list(&self) -> ListPeersResponse {
        let status = self.0.status();
        let target = status.marks.target;
        ListPeersResponse {
            as_of: None,
            peers: status.peers.iter().take(LISTED_MAX).map(|row| peer(row, target)).collect(),
            bans: status.bans.iter().take(LISTED_MAX).map(ban).collect(),
            target,
            applied: status.marks.applied,
        }
    }

    fn command(&self, key: String, command: PeerCommand) -> Commanded<'_> {
        Box::pin(async move {
            let peer: NodeId = key.parse().map_err(|error| Problem::invalid("key", error))?;
            let told = match command {
                PeerCommand::Ban { for_ms, why } => {
                    self.0.ban(peer, for_ms.unwrap_or(u64::MAX), why).await
                }
                PeerCommand::Unban => self.0.unban(peer).await,
                PeerCommand::Dial { address } => {
                    let at = address.map(|address| format!("{key}@{address}").parse::<PeerAt>());
                    let at = at.transpose().map_err(|error| Problem::invalid("address", error))?;
                    self.0.dial(peer, at.map(|at| at.endpoint)).await
                }
            };
            told.map_err(|stopped| Problem::new(Reason::Unavailable, stopped.to_string()))
        })
    }
}

fn peer(row: &PeerRow, target: u64) -> v1::Peer {
    v1::Peer {
        key: row.peer.to_string(),
        address: row.address.clone(),
        direction: match row.direction {
            Direction::Inbound => "in",
            Direction::Outbound => "out",
        }
        .into(),
        state: if row.is_asked { "active" } else { "unasked" }.into(),
        height: row.height,
        gap: target.saturating_sub(row.height),
        trust: u32::try_from(row.trust).unwrap_or(u32::MAX),
        quality: row.quality,
        since_ms: u64::try_from(row.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        rtt_ms: row.rtt_ms,
        bytes_in: row.bytes_in,
        bytes_out: row.bytes_out,
    }
}

fn ban(row: &BanRow) -> v1::Ban {
    v1::Ban {
        key: row.peer.to_string(),
        left_ms: (row.left_ms <= ENDLESS_MS).then_some(row.left_ms),
        by_operator: row.by_operator,
        why: row.why.clone(),
    }
}
