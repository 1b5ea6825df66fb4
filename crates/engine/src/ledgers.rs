//! Performance ledgers per trader: update cycle and window.

use serde::Deserialize;

use crate::rulebook::RulebookError;

/// Constants of the performance ledgers (trading 8).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerRules {}

impl LedgerRules {
    pub(crate) fn check(&self) -> Result<(), RulebookError> {
        Ok(())
    }
}
