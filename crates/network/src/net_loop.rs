//! The loop: one await, then a call into the cores and a drain of what they want done (R1).

use crate::node::Node;

/// Runs until the node has stopped.
pub(crate) async fn run(mut node: Node) -> Node {
    loop {
        let deadline = node.deadline();
        let event = node.sources.next(deadline).await;
        node.on_event(event);
        if node.is_over() {
            return node;
        }
    }
}
