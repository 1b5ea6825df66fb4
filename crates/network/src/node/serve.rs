//! The server's actions: reads, submissions, answers.

use proctor_p2p::NodeId;
use proctor_p2p::server::ServerAction;

use super::Node;
use super::own::Asker;
use crate::frame::Frame;

impl Node {
    pub(super) fn on_server_action(&mut self, asker: Option<NodeId>, action: ServerAction) {
        match action {
            ServerAction::Read(ticket, read) => {
                if let Some(peer) = asker {
                    self.jobs.load(peer, ticket, read);
                }
            }
            ServerAction::Submit(ticket, peer, submission) => {
                self.pass_on(Asker::Peer(ticket, peer), submission);
            }
            ServerAction::Answer { peer, id, answer, last } => {
                self.send_to(peer, &Frame::Answer { id, answer, last });
            }
            ServerAction::Penalise { peer, offence } => self.penalise(peer, offence),
        }
    }
}
