//! Pure: how much a page holds, and page tokens, which name the place of the last row that was sent.
//!
//! A token names a place in an order that does not depend on time, not a number of rows: rows that
//! come and go between two pages shift nothing, so no row that stays is left out or sent twice.

use proctor_rpc::{Message, Problem, encoded_len};
use proctor_types::TraderId;

/// The most rows of a page.
pub const PAGE_MAX: u32 = 1_000;
/// About the most bytes of the rows of a page, so that no page meets the usual limit of clients, 4 MiB
/// a message. A row that is larger is a page of its own.
pub const PAGE_BYTES: usize = 2 << 20;
/// The longest token: a trader, an id, and what stands around them.
const TOKEN_LEN_MAX: usize = 160;

/// What is listed: a token of one list is none of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Positions, by trader and position.
    Positions,
    /// Accounts, by trader.
    Accounts,
    /// Resting orders, by trader and in the order in which they came to rest.
    Resting,
}

/// The place of a row: rows behind it follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Whose row it is.
    pub trader: TraderId,
    /// Which of the trader's rows; empty where there is but one.
    pub row: String,
}

impl List {
    fn letter(self) -> &'static str {
        match self {
            Self::Positions => "p",
            Self::Accounts => "a",
            Self::Resting => "r",
        }
    }

    /// Returns the token of the row `row` of `trader`. The characters of `row` are those of
    /// identifiers.
    #[must_use]
    pub fn token(self, trader: &TraderId, row: &str) -> String {
        let body = format!("{}.{trader}.{row}", self.letter());
        let sum = sum(&body);
        format!("{body}.{sum}")
    }

    /// Returns the place that the token in the field `page_token` names; `None` for the first page.
    ///
    /// # Errors
    /// [`proctor_rpc::Reason::InvalidArgument`] when this list has made no such token.
    pub fn place(self, token: &str) -> Result<Option<Place>, Problem> {
        if token.is_empty() {
            return Ok(None);
        }
        self.read(token).map(Some).ok_or_else(|| {
            Problem::invalid("page_token", "send what the page before gave, or nothing")
        })
    }

    fn read(self, token: &str) -> Option<Place> {
        let (body, claimed) = token.rsplit_once('.').filter(|_| token.len() <= TOKEN_LEN_MAX)?;
        let mut parts = body.split('.');
        let (letter, trader, row) = (parts.next()?, parts.next()?, parts.next()?);
        let sound = parts.next().is_none() && letter == self.letter() && claimed == sum(body);
        let trader = TraderId::new(trader).ok().filter(|_| sound)?;
        Some(Place { trader, row: row.into() })
    }
}

/// Returns what tells a token that was cut or made up from one of ours. It guards no secret: a token
/// grants nothing that the call without it does not.
fn sum(body: &str) -> String {
    blake3::hash(body.as_bytes()).to_hex().chars().take(8).collect()
}

/// Returns how many rows the field `page_size` asks for; 0 stands for `usual`.
///
/// # Errors
/// [`proctor_rpc::Reason::InvalidArgument`] for more than [`PAGE_MAX`].
pub fn size(asked: u32, usual: usize) -> Result<usize, Problem> {
    match asked {
        0 => Ok(usual),
        1..=PAGE_MAX => Ok(usize::try_from(asked).unwrap_or(usual)),
        _ => Err(Problem::invalid("page_size", format!("is {asked}, at most {PAGE_MAX}"))),
    }
}

/// Returns a page of `rows`, each of which comes with its place: at most `size`, and no more than
/// [`PAGE_BYTES`] together; and the place of the last of them when more follow.
pub fn fill<P, M: Message>(rows: impl Iterator<Item = (P, M)>, size: usize) -> (Vec<M>, Option<P>) {
    let (mut page, mut last, mut bytes) = (Vec::new(), None, 0);
    for (place, row) in rows {
        bytes += encoded_len(&row);
        if page.len() == size || (bytes > PAGE_BYTES && !page.is_empty()) {
            return (page, last);
        }
        page.push(row);
        last = Some(place);
    }
    (page, None)
}

#[cfg(test)]
mod tests {
    use proctor_rpc::v1;

    use super::*;

    fn trader() -> TraderId {
        TraderId::new("alice").expect("a name")
    }

    #[test]
    fn a_token_leads_back_to_its_place_and_no_other_text_does() {
        let token = List::Positions.token(&trader(), "o-1");
        let place = Place { trader: trader(), row: "o-1".into() };
        assert_eq!(List::Positions.place(&token), Ok(Some(place)));
        assert_eq!(List::Positions.place(""), Ok(None));
        let longest = "x".repeat(64);
        let longest_trader = TraderId::new(&longest).expect("a name");
        let long = List::Positions.token(&longest_trader, &longest);
        assert!(List::Positions.place(&long).is_ok(), "{} bytes", long.len());
        let cut = &token[..token.len() - 1];
        let moved = token.replace("o-1", "o-2");
        let endless = "x".repeat(1 << 20);
        for bad in [cut, &moved, "p.alice.o-1", "...", ".", "\u{0}", "p.al ice.o.x", &endless] {
            let problem = List::Positions.place(bad).expect_err("no token");
            assert_eq!(problem.field.as_deref(), Some("page_token"));
            assert!(!problem.message.contains("alice"), "it is not repeated");
        }
        let other = List::Accounts.token(&trader(), "o-1");
        assert!(List::Positions.place(&other).is_err(), "a token of another list");
    }

    /// Returns the sizes of the pages of rows of `bytes` each, as somebody reads them who asks for `size`.
    fn pages(bytes: &[usize], size: usize) -> Vec<usize> {
        let (mut pages, mut from) = (Vec::new(), 0);
        loop {
            let row = |place: usize| v1::Position {
                trader: "x".repeat(bytes[place]),
                ..v1::Position::default()
            };
            let rows = (from..bytes.len()).map(|place| (place, row(place)));
            let (page, last) = fill(rows, size);
            let held: usize = page.iter().map(encoded_len).sum();
            assert!(held <= PAGE_BYTES || page.len() == 1, "{held} bytes");
            pages.push(page.len());
            match last {
                Some(last) => from = last + 1,
                None => return pages,
            }
        }
    }

    #[test]
    fn a_page_ends_where_its_rows_or_its_bytes_do_and_every_row_is_on_one() {
        let third = PAGE_BYTES / 3 - 100;
        assert_eq!(pages(&[], 10), [0]);
        assert_eq!(pages(&[10; 20], 10), [10, 10], "no empty page at the end");
        assert_eq!(pages(&[10; 21], 10), [10, 10, 1]);
        assert_eq!(pages(&[third; 7], 1_000), [3, 3, 1], "bounded in bytes");
        assert_eq!(
            pages(&[third, 2 * PAGE_BYTES, third], 10),
            [1, 1, 1],
            "a row that fits nowhere"
        );
    }

    #[test]
    fn a_page_has_a_thousand_rows_at_most() {
        assert_eq!(size(0, 100), Ok(100));
        assert_eq!(size(1_000, 100), Ok(1_000));
        let problem = size(1_001, 100).expect_err("too many");
        assert_eq!(problem.field.as_deref(), Some("page_size"));
    }
}
