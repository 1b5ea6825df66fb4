//! Immutable views to readers: one pointer swap per publication, no reader waits for the writer.

use std::sync::Arc;

use arc_swap::ArcSwap;
use proctor_engine::View;

/// Where readers find the newest view; cheap to clone.
#[derive(Clone, Debug)]
pub struct Views(Arc<ArcSwap<View>>);

impl Views {
    pub(crate) fn new(view: View) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(view)))
    }

    /// Returns the newest view: the whole state as of one commit. It does not change afterwards.
    #[must_use]
    pub fn latest(&self) -> Arc<View> {
        self.0.load_full()
    }

    pub(crate) fn publish(&self, view: View) {
        self.0.store(Arc::new(view));
    }
}
