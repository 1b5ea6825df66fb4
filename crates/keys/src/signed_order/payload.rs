//! The payload: its fields, how they are written, and how bytes become fields and an order.

use std::collections::BTreeMap;

use proctor_types::{
    Cancel, ExecutionType, InvalidId, Leverage, NotFinite, OrderId, OrderRequest, PairName, Price,
    Quantity, Side, SizeFields, TraderId, Usd, UtcMs,
};

use crate::signed_order::refusal::Refusal;
use crate::signed_order::{DOMAIN, Terms, Window, number};

/// The longest payload that is read, in bytes. The longest that is written has less than 1024.
pub const PAYLOAD_LEN_MAX: usize = 8 * 1024;

/// How much of an unknown field's name is repeated, in characters.
const NAME_SHOWN_MAX: usize = 64;

const CANCEL_ORDER: &str = "order:";

/// A field of the payload; the order of the variants is that of the names, and of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// What a cancellation cancels: `all`, `pair`, or `order:` and an id.
    Cancel,
    /// The network and programme.
    Chain,
    /// What was signed: [`DOMAIN`].
    Domain,
    /// `MARKET`, `LIMIT`, `BRACKET` or `LIMIT_CANCEL`.
    Execution,
    /// The trader's name for the order.
    Id,
    /// Size as a multiple of the account size.
    Leverage,
    /// The limit.
    LimitPrice,
    /// The pair.
    Pair,
    /// Size in lots.
    Quantity,
    /// `LONG`, `SHORT` or `FLAT`.
    Side,
    /// The stop loss.
    StopLoss,
    /// The take profit.
    TakeProfit,
    /// The address of who signs.
    Trader,
    /// The first moment at which the order may be taken.
    ValidFromMs,
    /// The first moment at which it may not be taken any more.
    ValidUntilMs,
    /// Size in dollars.
    Value,
}

impl Field {
    /// All fields, in the order of the payload.
    pub const ALL: [Self; 16] = [
        Self::Cancel,
        Self::Chain,
        Self::Domain,
        Self::Execution,
        Self::Id,
        Self::Leverage,
        Self::LimitPrice,
        Self::Pair,
        Self::Quantity,
        Self::Side,
        Self::StopLoss,
        Self::TakeProfit,
        Self::Trader,
        Self::ValidFromMs,
        Self::ValidUntilMs,
        Self::Value,
    ];

    /// Returns the name in the payload.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Chain => "chain",
            Self::Domain => "domain",
            Self::Execution => "execution",
            Self::Id => "id",
            Self::Leverage => "leverage",
            Self::LimitPrice => "limit_price",
            Self::Pair => "pair",
            Self::Quantity => "quantity",
            Self::Side => "side",
            Self::StopLoss => "stop_loss",
            Self::TakeProfit => "take_profit",
            Self::Trader => "trader",
            Self::ValidFromMs => "valid_from_ms",
            Self::ValidUntilMs => "valid_until_ms",
            Self::Value => "value",
        }
    }
}

/// Returns the payload of an order.
pub(super) fn write(terms: &Terms, request: &OrderRequest) -> String {
    let fields: Vec<String> = Field::ALL
        .into_iter()
        .filter_map(|field| {
            value(field, terms, request).map(|value| format!("\"{}\":{value}", field.name()))
        })
        .collect();
    format!("{{{}}}", fields.join(","))
}

/// Returns a field's value as JSON, or `None` when the order does not have the field.
fn value(field: Field, terms: &Terms, request: &OrderRequest) -> Option<String> {
    // Identifiers, chains and the words below have no character that needs an escape.
    let text = |text: &str| Some(format!("\"{text}\""));
    match field {
        Field::Cancel => match request.cancel.as_ref()? {
            Cancel::All => text("all"),
            Cancel::Pair => text("pair"),
            Cancel::Order(id) => text(&format!("{CANCEL_ORDER}{id}")),
        },
        Field::Chain => text(terms.chain_id.as_str()),
        Field::Domain => text(DOMAIN),
        Field::Execution => text(match request.execution {
            ExecutionType::Market => "MARKET",
            ExecutionType::Limit => "LIMIT",
            ExecutionType::Bracket => "BRACKET",
            ExecutionType::LimitCancel => "LIMIT_CANCEL",
        }),
        Field::Id => text(request.id.as_str()),
        Field::Leverage => request.size.leverage.map(|amount| number::write(amount.get())),
        Field::LimitPrice => request.limit_price.map(|amount| number::write(amount.get())),
        Field::Pair => text(request.pair.as_str()),
        Field::Quantity => request.size.quantity.map(|amount| number::write(amount.get())),
        Field::Side => text(&request.side.to_string()),
        Field::StopLoss => request.stop_loss.map(|amount| number::write(amount.get())),
        Field::TakeProfit => request.take_profit.map(|amount| number::write(amount.get())),
        Field::Trader => text(request.trader.as_str()),
        Field::ValidFromMs => Some(terms.window.from.0.to_string()),
        Field::ValidUntilMs => Some(terms.window.until.0.to_string()),
        Field::Value => request.size.value.map(|amount| number::write(amount.get())),
    }
}

/// A value of the payload, as it stands there.
#[derive(Clone, Copy)]
enum Value<'a> {
    /// What stands between quotation marks.
    Text(&'a str),
    /// What stands without: a number, or a word that the field will refuse.
    Bare(&'a str),
}

/// The fields of a payload, each once.
pub(super) struct Fields<'a>(BTreeMap<Field, Value<'a>>);

/// Returns the fields of `payload`.
///
/// Read by hand, because a general reader of JSON lets pass what would give one order several
/// payloads: white space, escapes, any order of fields, a field twice.
///
/// # Errors
/// [`Refusal::TooLong`] to [`Refusal::FieldOutOfOrder`].
pub(super) fn read(payload: &[u8]) -> Result<Fields<'_>, Refusal> {
    if payload.len() > PAYLOAD_LEN_MAX {
        return Err(Refusal::TooLong(payload.len()));
    }
    let mut reader = Reader { payload, at: 0 };
    let mut fields = BTreeMap::new();
    reader.expect(b'{', "{")?;
    loop {
        let name = reader.text()?;
        let field = Field::ALL.into_iter().find(|field| field.name() == name);
        let field = field
            .ok_or_else(|| Refusal::UnknownField(name.chars().take(NAME_SHOWN_MAX).collect()))?;
        if fields.contains_key(&field) {
            return Err(Refusal::DuplicateField(field));
        }
        if fields.last_key_value().is_some_and(|(last, _)| field < *last) {
            return Err(Refusal::FieldOutOfOrder(field));
        }
        reader.expect(b':', ":")?;
        fields.insert(field, reader.value()?);
        if !reader.takes(b',') {
            break;
        }
    }
    reader.expect(b'}', ", or }")?;
    if reader.at < payload.len() {
        return Err(reader.wants("the end"));
    }
    Ok(Fields(fields))
}

struct Reader<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.payload.get(self.at..).unwrap_or_default()
    }

    fn wants(&self, wanted: &'static str) -> Refusal {
        Refusal::Syntax { at: self.at, wanted }
    }

    /// Steps over `byte` when it comes next.
    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.rest().first() == Some(&byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8, wanted: &'static str) -> Result<(), Refusal> {
        if self.takes(byte) { Ok(()) } else { Err(self.wants(wanted)) }
    }

    fn value(&mut self) -> Result<Value<'a>, Refusal> {
        if self.rest().first() == Some(&b'"') {
            return self.text().map(Value::Text);
        }
        let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
        let bare = self.take_while(is_bare);
        if bare.is_empty() { Err(self.wants("a text or a number")) } else { Ok(Value::Bare(bare)) }
    }

    /// Returns what stands between quotation marks: printable ASCII without `"` and `\`.
    fn text(&mut self) -> Result<&'a str, Refusal> {
        self.expect(b'"', "\"")?;
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte);
        let text = self.take_while(is_plain);
        self.expect(b'"', "a printable ASCII character or \"")?;
        Ok(text)
    }

    /// Steps over bytes for which `is_meant` holds, all of them ASCII, and returns them.
    fn take_while(&mut self, is_meant: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let length = rest.iter().position(|byte| !is_meant(*byte)).unwrap_or(rest.len());
        self.at += length;
        let taken = rest.get(..length).unwrap_or_default();
        std::str::from_utf8(taken).expect("the callers' bytes are ASCII")
    }
}

impl Fields<'_> {
    /// Returns the text of a field that every order has.
    pub(super) fn text(&self, field: Field) -> Result<&str, Refusal> {
        self.optional_text(field)?.ok_or(Refusal::MissingField(field))
    }

    fn optional_text(&self, field: Field) -> Result<Option<&str>, Refusal> {
        match self.0.get(&field) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(Value::Bare(_)) => Err(Refusal::NotAText(field)),
        }
    }

    /// Returns the window, as it was stated.
    pub(super) fn window(&self) -> Result<Window, Refusal> {
        let from = self.moment(Field::ValidFromMs)?;
        Ok(Window { from, until: self.moment(Field::ValidUntilMs)? })
    }

    fn moment(&self, field: Field) -> Result<UtcMs, Refusal> {
        let digits = match self.0.get(&field) {
            None => return Err(Refusal::MissingField(field)),
            Some(Value::Text(_)) => return Err(Refusal::NotANumber(field)),
            Some(Value::Bare(digits)) => *digits,
        };
        // One spelling: digits only, and no zero before others.
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit())
            && (digits == "0" || !digits.starts_with('0'));
        let moment = if is_plain { digits.parse().ok() } else { None };
        let moment = moment.map(UtcMs).filter(|moment| moment.is_in_range());
        moment.ok_or(Refusal::TimeOutOfRange(field))
    }

    /// Returns a number as an amount, or `None` when the order does not have the field.
    fn amount<T>(
        &self,
        field: Field,
        amount: impl Fn(f64) -> Result<T, NotFinite>,
    ) -> Result<Option<T>, Refusal> {
        match self.0.get(&field) {
            None => Ok(None),
            Some(Value::Text(_)) => Err(Refusal::NotANumber(field)),
            Some(Value::Bare(text)) => {
                amount(number::read(field, text)?).map(Some).map_err(|_| Refusal::NotFinite(field))
            }
        }
    }

    /// Returns the order.
    pub(super) fn request(&self) -> Result<OrderRequest, Refusal> {
        Ok(OrderRequest {
            cancel: self.cancel()?,
            execution: self.execution()?,
            id: self.identifier(Field::Id, OrderId::new)?,
            size: SizeFields {
                leverage: self.amount(Field::Leverage, Leverage::new)?,
                quantity: self.amount(Field::Quantity, Quantity::new)?,
                value: self.amount(Field::Value, Usd::new)?,
            },
            limit_price: self.amount(Field::LimitPrice, Price::new)?,
            pair: self.identifier(Field::Pair, PairName::new)?,
            side: self.side()?,
            stop_loss: self.amount(Field::StopLoss, Price::new)?,
            take_profit: self.amount(Field::TakeProfit, Price::new)?,
            trader: self.identifier(Field::Trader, TraderId::new)?,
        })
    }

    fn identifier<T>(
        &self,
        field: Field,
        identifier: impl Fn(&str) -> Result<T, InvalidId>,
    ) -> Result<T, Refusal> {
        identifier(self.text(field)?).map_err(|why| invalid(field, why))
    }

    fn side(&self) -> Result<Side, Refusal> {
        // The error of `parse` would repeat the text, which may be as long as the payload.
        Side::parse(self.text(Field::Side)?)
            .map_err(|_| invalid(Field::Side, "is not one of LONG, SHORT, FLAT"))
    }

    fn execution(&self) -> Result<ExecutionType, Refusal> {
        // Not `ExecutionType::parse`, which takes every case: here a word has one spelling.
        match self.text(Field::Execution)? {
            "MARKET" => Ok(ExecutionType::Market),
            "LIMIT" => Ok(ExecutionType::Limit),
            "BRACKET" => Ok(ExecutionType::Bracket),
            "LIMIT_CANCEL" => Ok(ExecutionType::LimitCancel),
            _ => {
                Err(invalid(Field::Execution, "is not one of MARKET, LIMIT, BRACKET, LIMIT_CANCEL"))
            }
        }
    }

    fn cancel(&self) -> Result<Option<Cancel>, Refusal> {
        let Some(text) = self.optional_text(Field::Cancel)? else { return Ok(None) };
        match (text, text.strip_prefix(CANCEL_ORDER)) {
            ("all", _) => Ok(Some(Cancel::All)),
            ("pair", _) => Ok(Some(Cancel::Pair)),
            (_, Some(id)) => OrderId::new(id)
                .map(|id| Some(Cancel::Order(id)))
                .map_err(|why| invalid(Field::Cancel, why)),
            (_, None) => Err(invalid(Field::Cancel, "is not one of all, pair, order:ID")),
        }
    }
}

fn invalid(field: Field, why: impl ToString) -> Refusal {
    Refusal::InvalidValue { field, why: why.to_string() }
}
