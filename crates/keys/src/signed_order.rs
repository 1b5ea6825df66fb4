//! Signed orders: what a trader signs for an order or a cancellation, and what is made of it.
//!
//! The payload is one line of JSON that a person can read in the window of a wallet: the fields of
//! [`Field`] in the order of their names, without white space. The signature is over these very bytes.
//! The receiver checks the bytes that came and reads the same bytes; it never writes them anew.
//!
//! Not decided here: whether the id is new. The engine knows, and a window that is short keeps
//! the engine's memory long enough (`docs/authentication.md`).

mod number;
mod payload;
mod refusal;

use std::fmt;

use proctor_types::{DurationMs, OrderRequest, TraderId, UtcMs};

pub use payload::{Field, PAYLOAD_LEN_MAX};
pub use refusal::Refusal;

use crate::sr25519::{Keypair, PublicKey, Signature, Wrapping};
use crate::ss58::{Address, InvalidAddress};

/// What every payload is marked with: a signature over anything else is not one over an order, and
/// another version has other fields.
pub const DOMAIN: &str = "proctor.order.v1";

/// The longest name of a chain, in bytes.
pub const CHAIN_ID_LEN_MAX: usize = 64;

/// The text cannot name a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not name a chain: 1 to {CHAIN_ID_LEN_MAX} characters of A-Z a-z 0-9 _ - . do")]
pub struct InvalidChainId(String);

/// The name of a network and programme, such as `vanta-main`: an order signed for one is void in
/// every other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChainId(String);

impl ChainId {
    /// Returns the chain that is called `name`.
    ///
    /// # Errors
    /// [`InvalidChainId`] when the name is empty, too long, or has other characters.
    pub fn new(name: &str) -> Result<Self, InvalidChainId> {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if (1..=CHAIN_ID_LEN_MAX).contains(&name.len()) && name.bytes().all(is_known) {
            Ok(Self(name.into()))
        } else {
            Err(InvalidChainId(name.chars().take(CHAIN_ID_LEN_MAX).collect()))
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// When an order may be taken: from `from`, and before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The first moment.
    pub from: UtcMs,
    /// The first moment that is too late.
    pub until: UtcMs,
}

impl Window {
    /// Returns the first reason why the window is none, or `None`.
    fn fault(self) -> Option<Refusal> {
        for (field, at) in [(Field::ValidFromMs, self.from), (Field::ValidUntilMs, self.until)] {
            if !at.is_in_range() {
                return Some(Refusal::TimeOutOfRange(field));
            }
        }
        (self.until <= self.from).then_some(Refusal::WindowEmpty)
    }
}

/// What is signed beside the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// For which network and programme the order is meant.
    pub chain_id: ChainId,
    /// When it may be taken.
    pub window: Window,
}

/// What a receiver demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The receiver's own network and programme.
    pub chain_id: ChainId,
    /// The longest window that is accepted.
    pub window_max: DurationMs,
}

/// The order cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsignable {
    /// The order's trader is no address.
    #[error("the trader {trader} has no key: {why}")]
    NoAddress {
        /// The trader.
        trader: TraderId,
        /// Why it is no address.
        why: InvalidAddress,
    },
    /// The order is another's than the key's.
    #[error("the order is {trader}'s, and this is the key of {}", .key.trader())]
    OthersOrder {
        /// Whose order it is.
        trader: TraderId,
        /// The account of the key, on the trader's network.
        key: Address,
    },
    /// The window is empty, or outside the years 1970 to 9999.
    #[error("the window cannot be signed: {0}")]
    Window(Refusal),
}

/// An order as it is sent: the signed bytes, and the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedOrder {
    /// What was signed.
    pub payload: Vec<u8>,
    /// The signature, over the payload as it is or in `<Bytes>`.
    pub signature: Signature,
}

/// An order that its trader has signed, for this chain and for now.
///
/// Only [`SignedOrder::verify`] and [`Claim::prove`] make one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Verified {
    /// What was signed, and the signature.
    pub order: SignedOrder,
    /// What the trader asks for.
    pub request: OrderRequest,
    /// When it may be taken.
    pub window: Window,
    /// In which form it was signed.
    pub wrapping: Wrapping,
}

impl SignedOrder {
    /// Returns `request`, signed with its trader's key. `entropy` is explained at [`Keypair::sign`].
    ///
    /// # Errors
    /// [`Unsignable`] when nobody would accept it: the key is not the trader's, the window is none.
    pub fn sign(
        keypair: &Keypair,
        terms: &Terms,
        request: &OrderRequest,
        entropy: &[u8; 32],
    ) -> Result<Self, Unsignable> {
        let payload = Self::payload(terms, request)?;
        let trader = address_of(&request.trader)?;
        let key = keypair.public().address(trader.prefix);
        if key != trader {
            return Err(Unsignable::OthersOrder { trader: request.trader.clone(), key });
        }
        let signature = keypair.sign(&payload, entropy);
        Ok(Self { payload, signature })
    }

    /// Returns what the trader of `request` must sign, for a key that is elsewhere.
    ///
    /// # Errors
    /// [`Unsignable::NoAddress`] and [`Unsignable::Window`].
    pub fn payload(terms: &Terms, request: &OrderRequest) -> Result<Vec<u8>, Unsignable> {
        address_of(&request.trader)?;
        match terms.window.fault() {
            Some(fault) => Err(Unsignable::Window(fault)),
            None => Ok(payload::write(terms, request).into_bytes()),
        }
    }

    /// Returns the order when its trader has signed it, for this chain and for `now`.
    ///
    /// # Errors
    /// The first [`Refusal`] in the order that is told there.
    ///
    /// # Correctness
    /// `now` must not go back, or a window that was over opens again: after a restart it is the
    /// later of the clock and the newest commit.
    pub fn verify(&self, rules: &Rules, now: UtcMs) -> Result<Verified, Refusal> {
        self.claim(rules, now)?.prove()
    }

    /// Returns what the order claims to be, with everything tested but the signature: that test is
    /// by far the dearest, and who receives many orders may want to know first whose it is to be.
    ///
    /// # Errors
    /// As [`SignedOrder::verify`].
    ///
    /// # Correctness
    /// As [`SignedOrder::verify`].
    pub fn claim(&self, rules: &Rules, now: UtcMs) -> Result<Claim, Refusal> {
        let fields = payload::read(&self.payload)?;
        let (domain, chain) = (fields.text(Field::Domain)?, fields.text(Field::Chain)?);
        let (request, window) = (fields.request()?, fields.window()?);
        if domain != DOMAIN {
            return Err(Refusal::WrongDomain);
        }
        if chain != rules.chain_id.as_str() {
            return Err(Refusal::WrongChain);
        }
        if let Some(fault) = window.fault() {
            return Err(fault);
        }
        let length = window.until.since(window.from);
        if length > rules.window_max {
            return Err(Refusal::WindowTooLong { length, max: rules.window_max });
        }
        if now < window.from {
            return Err(Refusal::WindowNotOpen { from: window.from, now });
        }
        if now >= window.until {
            return Err(Refusal::WindowOver { until: window.until, now });
        }
        self.claimed(request, window)
    }

    /// Returns what the order claims to be, and for which chain, whatever the time: for who finds it in
    /// a log. That it was taken within its window is for the log to show.
    ///
    /// # Errors
    /// As [`SignedOrder::verify`], but for the chain and for what depends on the time.
    pub fn recorded(&self) -> Result<(ChainId, Claim), Refusal> {
        let fields = payload::read(&self.payload)?;
        let (domain, chain) = (fields.text(Field::Domain)?, fields.text(Field::Chain)?);
        let (request, window) = (fields.request()?, fields.window()?);
        if domain != DOMAIN {
            return Err(Refusal::WrongDomain);
        }
        let chain = ChainId::new(chain).map_err(|_| Refusal::WrongChain)?;
        if let Some(fault) = window.fault() {
            return Err(fault);
        }
        Ok((chain, self.claimed(request, window)?))
    }

    fn claimed(&self, request: OrderRequest, window: Window) -> Result<Claim, Refusal> {
        let address = request.trader.as_str().parse().map_err(Refusal::NotAnAddress)?;
        Ok(Claim { order: self.clone(), address, request, window })
    }
}

/// An order that says whose it is; whether he has signed it was not looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    order: SignedOrder,
    address: Address,
    request: OrderRequest,
    window: Window,
}

impl Claim {
    /// Returns whose order it claims to be.
    #[must_use]
    pub fn trader(&self) -> &TraderId {
        &self.request.trader
    }

    /// Returns the order when its trader has signed it.
    ///
    /// # Errors
    /// [`Refusal::UnusableKey`] and [`Refusal::Signature`].
    pub fn prove(self) -> Result<Verified, Refusal> {
        let Self { order, address, request, window } = self;
        let key = PublicKey::new(&address.account).map_err(Refusal::UnusableKey)?;
        let wrapping = key.verify(&order.payload, &order.signature).map_err(Refusal::Signature)?;
        Ok(Verified { order, request, window, wrapping })
    }
}

fn address_of(trader: &TraderId) -> Result<Address, Unsignable> {
    let parsed = trader.as_str().parse();
    parsed.map_err(|why| Unsignable::NoAddress { trader: trader.clone(), why })
}

#[cfg(test)]
mod tests;
