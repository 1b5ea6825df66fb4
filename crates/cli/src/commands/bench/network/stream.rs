//! An empty round trip on a secure stream of its own, over loopback: the least that any answer takes.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow};
use proctor_ratchet_crypto::Identity;
use proctor_transport::{Options, PeerId, SecureStream, Terms, accept, connect};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Bytes of a frame without a payload.
const FRAME_BYTES: usize = 13;

/// Returns how long each of `count` round trips took, in milliseconds, sorted.
pub(super) async fn round_trips(count: usize) -> Result<Vec<f64>> {
    let (mut near, mut far) = pair().await?;
    let echo = tokio::spawn(async move {
        let mut frame = [0; FRAME_BYTES];
        while far.read_exact(&mut frame).await.is_ok() {
            if far.write_all(&frame).await.is_err() || far.flush().await.is_err() {
                break;
            }
        }
    });
    let (mut took, mut frame) = (Vec::with_capacity(count), [7; FRAME_BYTES]);
    for _ in 0..count {
        let begun = Instant::now();
        near.write_all(&frame).await?;
        near.flush().await?;
        near.read_exact(&mut frame).await?;
        took.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    drop(near);
    echo.abort();
    took.sort_unstable_by(f64::total_cmp);
    Ok(took)
}

async fn pair() -> Result<(SecureStream, SecureStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (near, (far, _)) = (near?, far?);
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let identity = |seed: u8| {
        let made = Identity::from_seed(&[seed; 32]);
        made.map(Arc::new).map_err(|error| anyhow!("no key can be made: {error}"))
    };
    let (one, other) = (identity(1)?, identity(2)?);
    let (terms, expected) = (|| Terms::of_network([0; 32]), PeerId(other.public()));
    let (dialled, answered) = tokio::join!(
        connect(near, one, expected, terms(), Options::default()),
        accept(far, other, |_| true, terms(), Options::default()),
    );
    Ok((dialled?, answered?))
}
