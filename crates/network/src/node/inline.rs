//! Short bodies of the newest commits, to travel with their pushes: who gets one need not ask for it.

use std::collections::BTreeMap;

use proctor_p2p::Header;
use proctor_p2p::message::INLINE_BODY_BYTES_MAX;
use proctor_types::Digest;

/// Bodies that are kept; a push that waits in an outbox is replaced, so older ones are not pushed.
const KEPT_MAX: usize = 16;

/// The bodies, by height.
#[derive(Debug, Default)]
pub(crate) struct Inline(BTreeMap<u64, Vec<u8>>);

impl Inline {
    /// Keeps a body, if it is short.
    pub(super) fn keep(&mut self, header: &Header, body: &[u8]) {
        if body.len() <= INLINE_BODY_BYTES_MAX {
            self.0.insert(header.height, body.to_vec());
            while self.0.len() > KEPT_MAX {
                self.0.pop_first();
            }
        }
    }

    /// Returns the body of `header`, if it is kept. That of another history at this height is not it.
    pub(super) fn of(&self, header: &Header) -> Option<Vec<u8>> {
        let body = self.0.get(&header.height)?;
        (Digest::of(body) == header.facts.body).then(|| body.clone())
    }
}
