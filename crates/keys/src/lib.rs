//! Who signed an order, and what exactly was signed: addresses, keys, signatures, signed orders.
//!
//! Nothing here knows the time, reads a file or has entropy: all three are arguments. Whether a
//! trader may trade, and whether an order's id is new, is for the engine to say.
#![forbid(unsafe_code)]

pub mod hex;
pub mod key_file;
pub mod signed_order;
pub mod sr25519;
pub mod ss58;

pub use key_file::KeyFile;
pub use signed_order::{ChainId, Refusal, Rules, SignedOrder, Terms, Verified, Window};
pub use sr25519::{Keypair, PublicKey, Seed, Signature, Wrapping};
pub use ss58::{Address, Prefix};
