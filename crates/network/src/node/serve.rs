//! The server's actions: reads, submissions, answers.

use proctor_p2p::NodeId;
use proctor_p2p::server::ServerAction;

use super::Node;
use crate::frame::Frame;
use crate::tasks::Submitter;

impl Node {
    pub(super) fn on_server_action(&mut self, asker: Option<NodeId>, action: ServerAction) {
        match action {
            ServerAction::Read(ticket, read) => {
                if let Some(peer) = asker {
                    self.jobs.load(peer, ticket, read);
                }
            }
            ServerAction::Submit(ticket, peer, input) => {
                self.counters.submitted += 1;
                self.jobs.hand.push((Submitter::Peer(ticket), peer, input));
            }
            ServerAction::Answer { peer, id, answer, last } => {
                self.send_to(peer, &Frame::Answer { id, answer, last });
            }
            ServerAction::Penalise { peer, offence } => self.penalise(peer, offence),
        }
    }
}
