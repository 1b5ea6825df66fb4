//! `BarFile`: what a bar file's argument and name say about its pair, span and source.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proctor_types::id::ID_LEN_MAX;
use proctor_types::{DurationMs, SourceName, TradePair};

/// The longest bar that is believed: a week.
const SPAN_SECONDS_MAX: i64 = 7 * 86_400;

/// A file of bars and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarFile {
    /// The file.
    pub path: PathBuf,
    /// The pair that its bars price.
    pub pair: TradePair,
    /// How long each bar lasts; `None` means the smallest step between two bars.
    pub span: Option<DurationMs>,
    /// Whether the span was only read off the file's name: then the times of its bars must agree.
    pub is_span_from_name: bool,
    /// The name under which its bars go.
    pub source: SourceName,
}

/// Why an argument does not name a file of bars.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BarArgumentError {
    /// No path is given.
    #[error("{argument:?} names no file; write PATH, PAIR=PATH or PAIR:SECONDS=PATH")]
    NoPath {
        /// The argument.
        argument: String,
    },
    /// The text before `=` is not a pair.
    #[error("{name:?} is no trade pair; write PAIR=PATH, or ./{argument} if it is all a path")]
    UnknownPair {
        /// The text.
        name: String,
        /// The argument.
        argument: String,
    },
    /// The text after `PAIR:` is not a span.
    #[error(
        "{text:?} is not a number of seconds from 1 to {SPAN_SECONDS_MAX}; write PAIR:SECONDS=PATH, such as EURUSD:300=PATH"
    )]
    Span {
        /// The text.
        text: String,
    },
    /// The file's name names no pair.
    #[error("{}: no trade pair is in the file's name; write PAIR=PATH", .path.display())]
    NoPairInName {
        /// The file.
        path: PathBuf,
    },
    /// The file's name names several pairs.
    #[error("{}: the file's name could mean {}; write PAIR=PATH", .path.display(), .pairs.join(" or "))]
    SeveralPairsInName {
        /// The file.
        path: PathBuf,
        /// The pairs.
        pairs: Vec<&'static str>,
    },
    /// The file's name names several lengths of bars.
    #[error("{}: the file's name could mean bars of {} s; write {pair}:SECONDS=PATH", .path.display(), .seconds.join(" or "))]
    SeveralSpansInName {
        /// The file.
        path: PathBuf,
        /// The pair.
        pair: TradePair,
        /// The spans in seconds.
        seconds: Vec<String>,
    },
}

impl BarFile {
    /// Returns what `argument` means: `PATH`, `PAIR=PATH` or `PAIR:SECONDS=PATH`.
    ///
    /// # Errors
    /// [`BarArgumentError`] says what to write instead.
    pub fn parse(argument: &str) -> Result<Self, BarArgumentError> {
        let (terms, path) = match argument.split_once('=') {
            // What holds a dot or a slash is the beginning of a path.
            Some((terms, path)) if !terms.contains(['/', '\\', '.']) => (Some(terms), path),
            Some(_) | None => (None, argument),
        };
        let path = PathBuf::from(path);
        let Some(stem) = stem(&path) else {
            return Err(BarArgumentError::NoPath { argument: argument.to_owned() });
        };
        let (name, span) = match terms.map(|terms| terms.split_once(':').ok_or(terms)) {
            None => (None, None),
            Some(Err(name)) => (Some(name), None),
            Some(Ok((name, seconds))) => (Some(name), Some(span_of_seconds(seconds)?)),
        };
        let pair = match name {
            Some(name) => TradePair::from_id(&name.to_ascii_uppercase()).ok_or_else(|| {
                let (name, argument) = (name.to_owned(), argument.to_owned());
                BarArgumentError::UnknownPair { name, argument }
            })?,
            None => pair_of_name(&path, &stem)?,
        };
        let (span, is_span_from_name) = match span {
            Some(span) => (Some(span), false),
            None => (span_of_name(&path, &stem, pair)?, true),
        };
        Ok(Self { source: source_of_name(&stem), path, pair, span, is_span_from_name })
    }
}

/// Returns the file's name without folders and endings.
fn stem(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_string_lossy();
    let mut stem = name.as_ref();
    for ending in [".gz", ".csv", ".txt"] {
        let start = stem.len().saturating_sub(ending.len());
        if stem.get(start..).is_some_and(|end| end.eq_ignore_ascii_case(ending)) {
            stem = stem.get(..start).unwrap_or_default();
        }
    }
    (!stem.is_empty()).then(|| stem.to_owned())
}

fn words(stem: &str) -> impl Iterator<Item = &str> {
    stem.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

fn pair_of_name(path: &Path, stem: &str) -> Result<TradePair, BarArgumentError> {
    let pairs: BTreeSet<_> = words(stem).filter_map(pair_of_word).collect();
    let mut found = pairs.iter();
    match (found.next(), found.next()) {
        (Some(pair), None) => Ok(*pair),
        (None, _) => Err(BarArgumentError::NoPairInName { path: path.to_owned() }),
        (Some(_), Some(_)) => Err(BarArgumentError::SeveralPairsInName {
            path: path.to_owned(),
            pairs: pairs.iter().map(|pair| pair.id()).collect(),
        }),
    }
}

/// Returns the pair a word names; coins quoted in dollar tokens count as quoted in dollars.
fn pair_of_word(word: &str) -> Option<TradePair> {
    let word = word.to_ascii_uppercase();
    let in_dollars = ["USDT", "USDC"]
        .into_iter()
        .find_map(|token| word.strip_suffix(token))
        .map(|coin| format!("{coin}USD"));
    TradePair::from_id(&word).or_else(|| TradePair::from_id(&in_dollars?))
}

fn span_of_seconds(text: &str) -> Result<DurationMs, BarArgumentError> {
    match text.parse::<i64>() {
        Ok(seconds) if (1..=SPAN_SECONDS_MAX).contains(&seconds) => Ok(DurationMs(seconds * 1_000)),
        Ok(_) | Err(_) => Err(BarArgumentError::Span { text: text.to_owned() }),
    }
}

fn span_of_name(
    path: &Path,
    stem: &str,
    pair: TradePair,
) -> Result<Option<DurationMs>, BarArgumentError> {
    let spans: BTreeSet<_> = words(stem).filter_map(span_of_word).collect();
    if spans.len() > 1 {
        let seconds = spans.iter().map(|span| (span.0 / 1_000).to_string()).collect();
        return Err(BarArgumentError::SeveralSpansInName { path: path.to_owned(), pair, seconds });
    }
    Ok(spans.first().copied())
}

/// Returns the span a word such as `5m` names; `M` is months elsewhere and no span here.
fn span_of_word(word: &str) -> Option<DurationMs> {
    let (count, unit) = word.split_at_checked(word.len().checked_sub(1)?)?;
    let unit_seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    // A sign would parse too, but a word holds none.
    let seconds = count.parse::<i64>().ok()?.checked_mul(unit_seconds)?;
    (1..=SPAN_SECONDS_MAX).contains(&seconds).then_some(DurationMs(seconds * 1_000))
}

/// Returns the stem with what no name may hold made `_`, and cut to the length of a name.
fn source_of_name(stem: &str) -> SourceName {
    let name: String = stem
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' })
        .take(ID_LEN_MAX)
        .collect();
    SourceName::new(&name).expect("the stem is not empty and was made of safe characters only")
}
