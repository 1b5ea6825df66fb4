//! `Refusal`: why a signed order is not taken, with a stable code and the field it is about.

use proctor_types::{DurationMs, UtcMs};

use crate::signed_order::payload::{Field, PAYLOAD_LEN_MAX};
use crate::sr25519::{InvalidPublicKey, InvalidSignature};
use crate::ss58::InvalidAddress;

/// Why a signed order is not taken.
///
/// First the payload is read, field by field, to [`Refusal::TimeOutOfRange`]; then come the checks, in the
/// order of the variants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than [`PAYLOAD_LEN_MAX`]; holds the length in bytes.
    #[error("the payload has {0} bytes, at most {PAYLOAD_LEN_MAX} are read")]
    TooLong(usize),
    /// Not an object of texts and numbers in the one form that is accepted.
    #[error("byte {at} of the payload: {wanted} is wanted (no white space, no escapes)")]
    Syntax {
        /// The place, in bytes from 0.
        at: usize,
        /// What should stand there.
        wanted: &'static str,
    },
    /// A field that no order has; holds the beginning of its name.
    #[error("the field {0:?} is unknown")]
    UnknownField(String),
    /// A field that is there already.
    #[error("the field {} occurs twice", .0.name())]
    DuplicateField(Field),
    /// A field that belongs before the one that it follows.
    #[error("the field {} is not in the order of names", .0.name())]
    FieldOutOfOrder(Field),
    /// A field that every order has.
    #[error("the field {} is missing", .0.name())]
    MissingField(Field),
    /// A number or a word where a text in quotation marks belongs.
    #[error("the field {} must be a text", .0.name())]
    NotAText(Field),
    /// Not a number.
    #[error("the field {} must be a number", .0.name())]
    NotANumber(Field),
    /// Not a number, or one beyond those that can be told.
    #[error("the field {} must be a finite number", .0.name())]
    NotFinite(Field),
    /// Another number than the one that the order would have.
    #[error(
        "the field {} is not the shortest form of its number: a double would be {nearest:?}",
        .field.name()
    )]
    NotShortest {
        /// The field.
        field: Field,
        /// The nearest double, in its shortest form.
        nearest: String,
    },
    /// A text that the field cannot have.
    #[error("the field {}: {why}", .field.name())]
    InvalidValue {
        /// The field.
        field: Field,
        /// What is wrong with it.
        why: String,
    },
    /// A time that is not whole milliseconds in the years 1970 to 9999.
    #[error("the field {} must be whole milliseconds in the years 1970 to 9999", .0.name())]
    TimeOutOfRange(Field),
    /// Marked as something else than an order of this version.
    #[error("the field domain must be {:?}", super::DOMAIN)]
    WrongDomain,
    /// Signed for another network or programme.
    #[error("the field chain names another network or programme than this one")]
    WrongChain,
    /// The window ends before or when it begins.
    #[error("the field valid_until_ms must be later than valid_from_ms")]
    WindowEmpty,
    /// Longer than the receiver allows.
    #[error("the window is {} ms long, at most {} ms are accepted", .length.0, .max.0)]
    WindowTooLong {
        /// Its length.
        length: DurationMs,
        /// The longest that is accepted.
        max: DurationMs,
    },
    /// Not valid yet.
    #[error("the order is valid from {from}, and it is {now}: is a clock wrong?")]
    WindowNotOpen {
        /// From when on.
        from: UtcMs,
        /// The receiver's time.
        now: UtcMs,
    },
    /// Not valid any more.
    #[error("the order was valid until {until}, and it is {now}: sign it again")]
    WindowOver {
        /// Until when.
        until: UtcMs,
        /// The receiver's time.
        now: UtcMs,
    },
    /// The trader is no address, so there is no key that could have signed.
    #[error("the field trader is no address: {0}")]
    NotAnAddress(InvalidAddress),
    /// The trader is the address of no key that can sign.
    #[error("the field trader is no account that can sign: {0}")]
    UnusableKey(InvalidPublicKey),
    /// Signed by another than the trader, or changed since, or not signed at all: these cannot be
    /// told apart.
    #[error("the field trader names somebody who has not signed this: {0}")]
    Signature(InvalidSignature),
}

impl Refusal {
    /// Returns the stable name of the reason; it never changes its meaning.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong(_) => "payload_too_long",
            Self::Syntax { .. } => "payload_syntax",
            Self::UnknownField(_) => "field_unknown",
            Self::DuplicateField(_) => "field_duplicate",
            Self::FieldOutOfOrder(_) => "field_out_of_order",
            Self::MissingField(_) => "field_missing",
            Self::NotAText(_) => "field_not_a_text",
            Self::NotANumber(_) => "field_not_a_number",
            Self::NotFinite(_) => "number_not_finite",
            Self::NotShortest { .. } => "number_not_shortest",
            Self::InvalidValue { .. } => "field_invalid",
            Self::WrongDomain => "domain_wrong",
            Self::WrongChain => "chain_wrong",
            Self::TimeOutOfRange(_) => "time_out_of_range",
            Self::WindowEmpty => "window_empty",
            Self::WindowTooLong { .. } => "window_too_long",
            Self::WindowNotOpen { .. } => "window_not_open",
            Self::WindowOver { .. } => "window_over",
            Self::NotAnAddress(_) => "trader_not_an_address",
            Self::UnusableKey(_) => "trader_key_unusable",
            Self::Signature(_) => "signature_invalid",
        }
    }

    /// Returns the name of the field that the reason is about, if it is about one.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        let field = match self {
            Self::TooLong(_) | Self::Syntax { .. } => return None,
            Self::UnknownField(name) => return Some(name),
            Self::DuplicateField(field)
            | Self::FieldOutOfOrder(field)
            | Self::MissingField(field)
            | Self::NotAText(field)
            | Self::NotANumber(field)
            | Self::NotFinite(field)
            | Self::NotShortest { field, .. }
            | Self::InvalidValue { field, .. }
            | Self::TimeOutOfRange(field) => *field,
            Self::WrongDomain => Field::Domain,
            Self::WrongChain => Field::Chain,
            Self::WindowNotOpen { .. } => Field::ValidFromMs,
            Self::WindowEmpty | Self::WindowTooLong { .. } | Self::WindowOver { .. } => {
                Field::ValidUntilMs
            }
            Self::NotAnAddress(_) | Self::UnusableKey(_) | Self::Signature(_) => Field::Trader,
        };
        Some(field.name())
    }
}
