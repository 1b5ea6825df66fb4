//! What an operator or the node wants of the network.

use proctor_p2p::Signature;
use proctor_p2p::peers::PeersEvent;
use proctor_p2p::peers::record::OwnRecord;
use proctor_p2p::peers::score::ScoreEvent;

use super::Node;
use crate::clock::wall_ms;
use crate::handle::Command;

impl Node {
    pub(super) fn on_command(&mut self, command: Command) {
        self.show_due = true;
        match command {
            Command::Submit(input, reply) => self.on_submit(input, reply),
            Command::Ban(peer, ms, why) => {
                tracing::info!(%peer, ms, why, "an operator bans a peer");
                self.keep.bans_due = true;
                self.score(ScoreEvent::OperatorBans { peer, ms, why });
            }
            Command::Unban(peer) => {
                tracing::info!(%peer, "an operator lifts the ban of a peer");
                self.keep.bans_due = true;
                self.off.remove(&peer);
                self.score(ScoreEvent::OperatorLifts { peer });
                self.follow(peer);
            }
            Command::Dial(peer, endpoint) => {
                if let Some(endpoint) = endpoint {
                    let endpoints = self.rules.fixed.entry(peer).or_default();
                    if !endpoints.contains(&endpoint) {
                        endpoints.insert(0, endpoint);
                    }
                    self.set_rules();
                }
                self.tell_peers(PeersEvent::DialNow { peer });
            }
            Command::Rules(rules) => {
                self.rules = *rules;
                self.set_rules();
            }
        }
    }

    /// Signs what this node tells of itself anew, with a greater number.
    pub(crate) fn sign_own(&mut self) {
        let Some(own) = self.own_record.clone() else { return };
        let seq = OwnRecord::next_seq(self.own_seq, wall_ms());
        self.own_seq = Some(seq);
        let identity = &self.me.identity;
        let mut failed = false;
        let signed = own.sign(seq, &self.records, |bytes| {
            Signature(identity.sign(bytes).unwrap_or_else(|_| {
                failed = true;
                [0; 64]
            }))
        });
        match signed {
            Ok(record) => self.peers.set_own(Some(record)),
            Err(error) => tracing::error!(%error, failed, "the own record cannot be signed"),
        }
    }
}
