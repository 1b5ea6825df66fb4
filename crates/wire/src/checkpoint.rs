//! Engine state as checkpoint bytes and back; refuses unknown versions.

use proctor_engine::Engine;

use crate::{DecodeError, versioned};

/// The version that is written.
pub const VERSION: u8 = 3;

/// Returns the bytes of the whole engine state.
///
/// # Errors
/// When the state holds a number that has no canonical form, which would be an engine bug: the
/// checkpoint must not be written then.
pub fn encode(engine: &Engine) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![VERSION];
    engine.save(&mut bytes)?;
    Ok(bytes)
}

/// Returns the engine whose state `bytes` encode.
///
/// # Errors
/// [`DecodeError`] for an unknown version, trailing bytes or a state that breaks its invariants.
pub fn decode(bytes: &[u8]) -> Result<Engine, DecodeError> {
    Ok(Engine::load(versioned(bytes, VERSION)?)?)
}
