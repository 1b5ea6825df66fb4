//! `forward`: what a third node does between two that cannot reach each other.
//!
//! It moves bytes and cannot read them: the two nodes run their handshake through it, each expecting
//! the other's key, so what passes here is sealed from the first byte that matters, and altering
//! it ends the stream. Who may ask for a relay is not the concern of this module.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// Bytes that are held for each way.
const BUFFER_BYTES: usize = 16 << 10;

/// Why a relay ended early.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// A connection failed.
    #[error("a relayed connection failed: {0}")]
    Io(#[from] io::Error),
    /// A way stood still for too long: no byte came, or none was taken.
    #[error("a relayed connection stood still for {0} ms")]
    Idle(u64),
    /// More bytes than the relay gives.
    #[error("a relayed connection carried more than {0} bytes")]
    Spent(u64),
}

/// What a relay gives.
#[derive(Clone, Copy, Debug)]
pub struct RelayLimits {
    /// How long a way may stand still, in ms. Streams ask for a sign of life each 15 s.
    pub idle_ms: u64,
    /// The most bytes each way.
    pub bytes: u64,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self { idle_ms: 120_000, bytes: 1 << 34 }
    }
}

/// Moves bytes between two connections until both ways have ended; returns how many there were each
/// way. When it ends early, both connections are dropped.
///
/// # Errors
/// [`RelayError`].
pub async fn forward<A, B>(one: A, other: B, limits: RelayLimits) -> Result<(u64, u64), RelayError>
where
    A: AsyncRead + AsyncWrite,
    B: AsyncRead + AsyncWrite,
{
    let (from_one, to_one) = tokio::io::split(one);
    let (from_other, to_other) = tokio::io::split(other);
    tokio::try_join!(way(from_one, to_other, limits), way(from_other, to_one, limits))
}

async fn way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    limits: RelayLimits,
) -> Result<u64, RelayError> {
    let idle = Duration::from_millis(limits.idle_ms);
    let stood_still = |_| RelayError::Idle(limits.idle_ms);
    let (mut total, mut buffer) = (0, vec![0; BUFFER_BYTES]);
    loop {
        let count = timeout(idle, from.read(&mut buffer)).await.map_err(stood_still)??;
        if count == 0 {
            timeout(idle, to.shutdown()).await.map_err(stood_still)??;
            return Ok(total);
        }
        total += count as u64;
        if total > limits.bytes {
            return Err(RelayError::Spent(limits.bytes));
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        let hand_on = async {
            to.write_all(bytes).await?;
            to.flush().await
        };
        timeout(idle, hand_on).await.map_err(stood_still)??;
    }
}
