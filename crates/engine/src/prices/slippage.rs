//! Slippage models per asset class.

use serde::Deserialize;

use crate::rulebook::RulebookError;

/// Constants of the slippage models (trading 4).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlippageRules {}

impl SlippageRules {
    pub(crate) fn check(&self) -> Result<(), RulebookError> {
        Ok(())
    }
}
