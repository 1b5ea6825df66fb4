//! Engine state as checkpoint bytes and back; refuses unknown versions.

use std::io;

use proctor_engine::{Checkpoint, Engine};

use crate::{DecodeError, versioned};

/// The version that is written.
pub const VERSION: u8 = 3;

/// Returns the bytes of the whole engine state.
///
/// # Errors
/// When the state holds a number that has no canonical form, which would be an engine bug: the
/// checkpoint must not be written then.
pub fn encode(engine: &Engine) -> io::Result<Vec<u8>> {
    let mut bytes = vec![VERSION];
    engine.save(&mut bytes)?;
    Ok(bytes)
}

/// Writes the bytes of the whole engine state piece by piece, those of [`encode`].
///
/// # Errors
/// As [`encode`], and when `writer` fails.
pub fn write<W: io::Write>(checkpoint: &Checkpoint, writer: &mut W) -> io::Result<()> {
    writer.write_all(&[VERSION])?;
    checkpoint.save(writer)
}

/// Returns the engine whose state `bytes` encode.
///
/// # Errors
/// [`DecodeError`] for an unknown version, trailing bytes or a state that breaks its invariants.
pub fn decode(bytes: &[u8]) -> Result<Engine, DecodeError> {
    Ok(Engine::load(versioned(bytes, VERSION)?)?)
}
