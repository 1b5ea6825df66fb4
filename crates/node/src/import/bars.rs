//! Price bars from CSV files, one bar a line, in the order of time.
//!
//! Two shapes, told apart by their columns: `open, high, low, close`, and the same four for bid and
//! for ask. A bar that breaks a rule is refused, or skipped and counted: never mended.

mod argument;
mod merge;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use proctor_types::quote::InvalidQuote;
use proctor_types::{Digest, DurationMs, Price, Quote, SourceName, TradePair, UtcMs};

use super::rows::{Column, FieldError, Header, Row};
use super::text::{FileError, Progress, TextFile};

pub use argument::{BarArgumentError, BarFile};
pub use merge::{MergeError, MergedBars};

/// What to do with a row that breaks a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum BadRows {
    /// Stop with an error at the first.
    #[default]
    Refuse,
    /// Leave it out and count it; at the end, too many are an error all the same.
    Skip {
        /// The largest share of bad rows among all rows, as a ratio: `0.05` is one in twenty.
        max_share: f64,
    },
}

/// Why a row is not a usable bar.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadRow {
    /// A field cannot be read.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// The bar starts before the bar before it.
    #[error("the bar starts {0} ms before the one above it")]
    Backward(i64),
    /// The bar starts when the bar before it starts.
    #[error("the bar has the same time as the one above it")]
    Repeated,
    /// The bar starts before the bar before it ends.
    #[error("the bar starts {after} ms after the one above it, but bars last {} ms", .span.0)]
    Overlapping {
        /// From start to start, in ms.
        after: i64,
        /// How long bars last.
        span: DurationMs,
    },
    /// The prices contradict each other.
    #[error(transparent)]
    Quote(#[from] InvalidQuote),
}

/// The kinds of [`BadRow`], for counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BadRowCause {
    /// A field is missing or is not what it should be.
    Field,
    /// A number is NaN or infinite.
    NotFinite,
    /// Time goes back.
    Backward,
    /// Time stands still.
    Repeated,
    /// The bars overlap.
    Overlapping,
    /// A price is zero or negative.
    NotPositive,
    /// The high is below the low.
    Inverted,
    /// Open or close lies outside low and high.
    Outside,
    /// The ask is below the bid.
    Crossed,
}

impl BadRow {
    /// Returns what kind of fault this is.
    #[must_use]
    pub fn cause(&self) -> BadRowCause {
        match self {
            Self::Field(FieldError::NotFinite { .. }) => BadRowCause::NotFinite,
            Self::Field(_)
            | Self::Quote(InvalidQuote::NegativeSpan(_) | InvalidQuote::Time { .. }) => {
                BadRowCause::Field
            }
            Self::Backward(_) => BadRowCause::Backward,
            Self::Repeated => BadRowCause::Repeated,
            Self::Overlapping { .. } => BadRowCause::Overlapping,
            Self::Quote(InvalidQuote::NotPositive(_)) => BadRowCause::NotPositive,
            Self::Quote(InvalidQuote::Inverted { .. }) => BadRowCause::Inverted,
            Self::Quote(InvalidQuote::Outside(_)) => BadRowCause::Outside,
            Self::Quote(InvalidQuote::Crossed { .. }) => BadRowCause::Crossed,
        }
    }
}

impl fmt::Display for BadRowCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Field => "unreadable field",
            Self::NotFinite => "number not finite",
            Self::Backward => "time goes back",
            Self::Repeated => "time repeated",
            Self::Overlapping => "bars overlap",
            Self::NotPositive => "price not positive",
            Self::Inverted => "high below low",
            Self::Outside => "open or close outside low and high",
            Self::Crossed => "ask below bid",
        })
    }
}

/// What was left out of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkippedRows {
    /// How many rows of each cause.
    pub by_cause: BTreeMap<BadRowCause, u64>,
}

impl SkippedRows {
    /// Returns how many rows were left out.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_cause.values().sum()
    }
}

impl fmt::Display for SkippedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (cause, count)) in self.by_cause.iter().enumerate() {
            write!(f, "{}{count} {cause}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

/// Why a file of bars cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BarError {
    /// The file itself cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A row breaks a rule.
    #[error("{}, line {line}: {fault}; correct the file or allow broken rows to be skipped", .file.display())]
    Row {
        /// The file.
        file: PathBuf,
        /// The line.
        line: u64,
        /// What is wrong.
        fault: Box<BadRow>,
    },
    /// More rows were skipped than is allowed.
    #[error(
        "{}: {} of {rows} rows are broken ({skipped}), the first in line {first_line}; \
         use a better file or allow a larger share than {max_share}",
        .file.display(), .skipped.total()
    )]
    TooManyBadRows {
        /// The file.
        file: PathBuf,
        /// All rows.
        rows: u64,
        /// Those that were skipped.
        skipped: Box<SkippedRows>,
        /// The line of the first that was skipped.
        first_line: u64,
        /// The share that is allowed, as a ratio.
        max_share: f64,
    },
    /// The bars are further apart than the file's name says that they last.
    ///
    /// Bars that are thought too short would be known before they end.
    #[error(
        "{}: no two bars are closer than {} s, but by its name they last {} s; write {pair}:{}=PATH \
         if they last longer, {pair}:{}=PATH if many are missing",
        .file.display(), .step.0 / 1_000, .span.0 / 1_000, .step.0 / 1_000, .span.0 / 1_000
    )]
    SpanTooShort {
        /// The file.
        file: PathBuf,
        /// Its pair.
        pair: TradePair,
        /// What its name says.
        span: DurationMs,
        /// The smallest time between two of its bars.
        step: DurationMs,
    },
    /// The bars' length is neither in the file's name nor in its times.
    #[error("{}: how long its bars last is not known; write {pair}:SECONDS=PATH", .file.display())]
    NoSpan {
        /// The file.
        file: PathBuf,
        /// Its pair.
        pair: TradePair,
    },
}

/// Returns the moment from which a bar may be used: its end, or an event's own time.
#[must_use]
pub fn known_at(quote: &Quote) -> UtcMs {
    UtcMs(quote.start.0.saturating_add(quote.span.0))
}

enum PriceColumns {
    Plain([Column; 4]),
    BidAsk { bid: [Column; 4], ask: [Column; 4] },
}

struct Columns {
    start: Column,
    prices: PriceColumns,
}

impl Columns {
    fn find(header: &Header, text: &TextFile) -> Result<Self, FileError> {
        let start = header.require(text, "ts_ms")?;
        let four = |[open, high, low, close]: [&'static str; 4]| {
            Ok::<_, FileError>([
                header.require(text, open)?,
                header.require(text, high)?,
                header.require(text, low)?,
                header.require(text, close)?,
            ])
        };
        let is_plain = header.find(text, "open")?.is_some();
        let prices = if is_plain || header.find(text, "bid_open")?.is_none() {
            PriceColumns::Plain(four(["open", "high", "low", "close"])?)
        } else {
            PriceColumns::BidAsk {
                bid: four(["bid_open", "bid_high", "bid_low", "bid_close"])?,
                ask: four(["ask_open", "ask_high", "ask_low", "ask_close"])?,
            }
        };
        Ok(Self { start, prices })
    }
}

/// What makes a line of one file a bar.
struct Form {
    header: Header,
    columns: Columns,
    pair: TradePair,
    source: SourceName,
    span: DurationMs,
}

impl Form {
    /// Returns the bar on `line`, or `None` for a blank line.
    fn bar(&self, line: &[u8], previous: Option<UtcMs>) -> Result<Option<Quote>, BadRow> {
        let Some(row) = self.header.row(line)? else { return Ok(None) };
        let start = row.moment(self.columns.start)?;
        let ([open, high, low, close], bid, ask) = match &self.columns.prices {
            PriceColumns::Plain(columns) => (four_prices(&row, columns)?, None, None),
            PriceColumns::BidAsk { bid, ask } => {
                let (bids, asks) = (four_prices(&row, bid)?, four_prices(&row, ask)?);
                // Each side is judged by itself: the middle of two broken bars may look whole.
                self.quote(start, bids, None, None).check()?;
                self.quote(start, asks, None, None).check()?;
                (middle(bids, asks)?, Some(bids[3]), Some(asks[3]))
            }
        };
        let quote = self.quote(start, [open, high, low, close], bid, ask);
        quote.check()?;
        match previous.map(|previous| start.since(previous).0) {
            Some(0) => Err(BadRow::Repeated),
            Some(after) if after < 0 => Err(BadRow::Backward(-after)),
            Some(after) if after < self.span.0 => {
                Err(BadRow::Overlapping { after, span: self.span })
            }
            Some(_) | None => Ok(Some(quote)),
        }
    }

    fn quote(
        &self,
        start: UtcMs,
        [open, high, low, close]: [Price; 4],
        bid: Option<Price>,
        ask: Option<Price>,
    ) -> Quote {
        let (pair, source, span) = (self.pair, self.source.clone(), self.span);
        Quote { pair, source, start, span, open, high, low, close, bid, ask }
    }
}

fn four_prices(row: &Row<'_>, columns: &[Column; 4]) -> Result<[Price; 4], FieldError> {
    let [open, high, low, close] = columns.map(|column| row.price(column));
    Ok([open?, high?, low?, close?])
}

/// Returns the prices half-way between bid and ask.
fn middle(bids: [Price; 4], asks: [Price; 4]) -> Result<[Price; 4], FieldError> {
    let half_way = |i: usize| {
        // Halved first, so that the sum of two finite prices is finite.
        let price = bids[i].get() / 2.0 + asks[i].get() / 2.0;
        Price::new(price)
            .map_err(|_| FieldError::NotFinite { column: "bid and ask", text: price.to_string() })
    };
    Ok([half_way(0)?, half_way(1)?, half_way(2)?, half_way(3)?])
}

/// Reads the bars of one file, forward and once; ends after the first error.
pub struct BarReader {
    text: TextFile,
    form: Form,
    bad_rows: BadRows,
    previous: Option<UtcMs>,
    /// The smallest time between two bars, where it is to be compared with the span.
    smallest_step: Option<DurationMs>,
    must_check_span: bool,
    rows: u64,
    skipped: SkippedRows,
    first_skipped: u64,
    is_done: bool,
}

/// Bars are streamed, so that only their lines are bounded, not their number.
const BYTES_MAX: u64 = u64::MAX;
/// Among so many rows, two bars follow each other without a gap, however thin the market.
const ROWS_TO_JUDGE_SPAN: u64 = 100;

impl BarFile {
    /// Opens the file; its header is read and, where the name does not tell how long bars last,
    /// all its times.
    ///
    /// # Errors
    /// [`BarError`] when there is no such file, or none with the columns of bars.
    pub fn open(&self, bad_rows: BadRows) -> Result<BarReader, BarError> {
        let span = match self.span {
            Some(span) => span,
            None => smallest_step(&self.path)?
                .ok_or_else(|| BarError::NoSpan { file: self.path.clone(), pair: self.pair })?,
        };
        let mut text = TextFile::open(&self.path, BYTES_MAX)?;
        let header = Header::read(&mut text)?;
        let columns = Columns::find(&header, &text)?;
        Ok(BarReader {
            text,
            form: Form { header, columns, pair: self.pair, source: self.source.clone(), span },
            bad_rows,
            previous: None,
            smallest_step: None,
            must_check_span: self.is_span_from_name,
            rows: 0,
            skipped: SkippedRows::default(),
            first_skipped: 0,
            is_done: false,
        })
    }
}

/// Returns the smallest time from one bar to the next; rows that are broken do not count.
fn smallest_step(path: &Path) -> Result<Option<DurationMs>, BarError> {
    let mut text = TextFile::open(path, BYTES_MAX)?;
    let header = Header::read(&mut text)?;
    let start = header.require(&text, "ts_ms")?;
    let (mut previous, mut smallest) = (None, None);
    while let Some(line) = text.next_line()? {
        let Ok(Some(row)) = header.row(line) else { continue };
        let Ok(at) = row.moment(start) else { continue };
        let step = previous.replace(at).map(|previous| at.since(previous)).filter(|s| s.0 > 0);
        smallest = smallest.into_iter().chain(step).min();
    }
    Ok(smallest)
}

impl BarReader {
    /// Returns the pair that the bars price.
    #[must_use]
    pub fn pair(&self) -> TradePair {
        self.form.pair
    }

    /// Returns the name under which the bars go.
    #[must_use]
    pub fn source(&self) -> &SourceName {
        &self.form.source
    }

    /// Returns how long each bar lasts.
    #[must_use]
    pub fn span(&self) -> DurationMs {
        self.form.span
    }

    /// Returns the file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.text.path()
    }

    /// Returns how many rows were read, with those that were skipped.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Returns what was skipped so far.
    #[must_use]
    pub fn skipped(&self) -> &SkippedRows {
        &self.skipped
    }

    /// Returns how much of the file was read.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.text.progress()
    }

    /// Returns the hash of the decompressed bytes read so far: of the whole file once the reader
    /// has ended or was drained.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.text.digest()
    }

    /// Reads the rest of the file without making bars of it, so that the hash covers it all.
    ///
    /// # Errors
    /// [`FileError`] when the rest cannot be read.
    pub fn drain(&mut self) -> Result<(), FileError> {
        self.is_done = true;
        self.text.drain()
    }

    fn next_bar(&mut self) -> Result<Option<Quote>, BarError> {
        while let Some(line) = self.text.next_line()? {
            let bar = match self.form.bar(line, self.previous) {
                Ok(None) => continue,
                Ok(Some(bar)) => Ok(bar),
                Err(fault) => Err(fault),
            };
            self.rows += 1;
            match (bar, self.bad_rows) {
                (Ok(bar), _) => {
                    let step = self.previous.replace(bar.start).map(|at| bar.start.since(at));
                    self.smallest_step = self.smallest_step.into_iter().chain(step).min();
                    return Ok(Some(bar));
                }
                (Err(fault), BadRows::Refuse) => {
                    let (file, line) = (self.text.path().to_owned(), self.text.line());
                    return Err(BarError::Row { file, line, fault: Box::new(fault) });
                }
                (Err(fault), BadRows::Skip { .. }) => self.skip(&fault),
            }
        }
        self.judge()?;
        Ok(None)
    }

    fn skip(&mut self, fault: &BadRow) {
        if self.skipped.by_cause.is_empty() {
            self.first_skipped = self.text.line();
        }
        *self.skipped.by_cause.entry(fault.cause()).or_default() += 1;
    }

    /// Judges the file at its end.
    fn judge(&self) -> Result<(), BarError> {
        let file = || self.text.path().to_owned();
        if self.rows == 0 {
            return Err(FileError::NoRows { file: file() }.into());
        }
        let (pair, span) = (self.form.pair, self.form.span);
        match self.smallest_step {
            Some(step)
                if self.must_check_span && step > span && self.rows >= ROWS_TO_JUDGE_SPAN =>
            {
                return Err(BarError::SpanTooShort { file: file(), pair, span, step });
            }
            Some(_) | None => {}
        }
        let BadRows::Skip { max_share } = self.bad_rows else { return Ok(()) };
        // Counts of rows are far below 2^53, so both conversions are exact.
        let share = self.skipped.total() as f64 / self.rows as f64;
        // A file without one good row is not prices, whatever share is allowed.
        if share <= max_share && share < 1.0 {
            return Ok(());
        }
        Err(BarError::TooManyBadRows {
            file: file(),
            rows: self.rows,
            skipped: Box::new(self.skipped.clone()),
            first_line: self.first_skipped,
            max_share,
        })
    }
}

impl Iterator for BarReader {
    type Item = Result<Quote, BarError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_done {
            return None;
        }
        let bar = self.next_bar().transpose();
        self.is_done = !matches!(bar, Some(Ok(_)));
        bar
    }
}
