//! Spread and carry fees of one position.

use serde::Deserialize;

use crate::rulebook::RulebookError;

/// Constants of the fees (trading 3.8, 3.9).
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeeRules {}

impl FeeRules {
    pub(crate) fn check(&self) -> Result<(), RulebookError> {
        Ok(())
    }
}
