//! Rows of a CSV file: columns found by name, fields made into checked values.

use std::borrow::Cow;

use proctor_types::{NotFinite, Price, UtcMs};

use super::text::{FileError, TextFile};

/// The first moment that is believed, 1973-03-03: earlier "milliseconds" are seconds.
const TIME_MIN: i64 = 100_000_000_000;
/// The first moment that is no longer believed, 2100-01-01: later ones are microseconds.
const TIME_END: i64 = 4_102_444_800_000;

/// Why a row's fields cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FieldError {
    /// The row is shorter or longer than the header.
    #[error("the row has {found} fields, the header {expected}")]
    Count {
        /// Fields in the row.
        found: usize,
        /// Columns in the header.
        expected: usize,
    },
    /// The row is not UTF-8.
    #[error("the row is not text")]
    NotText,
    /// The field is empty.
    #[error("{column} is empty")]
    Empty {
        /// The column.
        column: &'static str,
    },
    /// The field is not a number.
    #[error("{column} {text:?} is not a number")]
    NotANumber {
        /// The column.
        column: &'static str,
        /// The field's first characters.
        text: String,
    },
    /// The field is NaN or infinite.
    #[error("{column} {text:?} is not a finite number")]
    NotFinite {
        /// The column.
        column: &'static str,
        /// The field's first characters.
        text: String,
    },
    /// The field is not a whole number in its range.
    #[error("{column} {text:?} is not a whole number in its range")]
    NotWhole {
        /// The column.
        column: &'static str,
        /// The field's first characters.
        text: String,
    },
    /// The time is not one of the years 1973 to 2099.
    #[error("{column} {ms} is not in 1973 to 2099; times are milliseconds since 1970")]
    Time {
        /// The column.
        column: &'static str,
        /// The time as it stands.
        ms: i64,
    },
}

/// How much of a field an error message shows.
const FIELD_CHARS_MAX: usize = 40;

/// Returns the first `chars` characters of a text, so that error messages are of bounded length.
pub(super) fn excerpt(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
    }
}

/// Returns `ms` as a moment.
pub(super) fn moment(column: &'static str, ms: i64) -> Result<UtcMs, FieldError> {
    if (TIME_MIN..TIME_END).contains(&ms) {
        Ok(UtcMs(ms))
    } else {
        Err(FieldError::Time { column, ms })
    }
}

/// Splits one line into its fields; a quoted field may hold commas but not line feeds.
fn split(line: &str) -> Vec<Cow<'_, str>> {
    if !line.contains('"') {
        return line.split(',').map(|field| Cow::Borrowed(field.trim())).collect();
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .buffer_capacity(1024)
        .from_reader(line.as_bytes());
    let mut record = csv::StringRecord::new();
    match reader.read_record(&mut record) {
        Ok(_) => record.iter().map(|field| Cow::Owned(field.trim().to_owned())).collect(),
        // A slice of UTF-8 text gives no error; if it did, the count of fields would say so.
        Err(_) => Vec::new(),
    }
}

/// The columns of a file.
pub(super) struct Header {
    names: Vec<String>,
    line: u64,
}

impl Header {
    /// Reads the first line that is not blank.
    pub(super) fn read(text: &mut TextFile) -> Result<Self, FileError> {
        loop {
            let Some(line) = text.next_line()? else {
                return Err(FileError::Empty { file: text.path().to_owned() });
            };
            let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            let names = match std::str::from_utf8(line) {
                Ok(line) if line.chars().any(|c| c.is_control() && c != '\t') => None,
                Ok(line) if line.trim().is_empty() => continue,
                Ok(line) => Some(split(line).into_iter().map(Cow::into_owned).collect()),
                Err(_) => None,
            };
            let line = text.line();
            return match names {
                Some(names) => Ok(Self { names, line }),
                None => Err(FileError::NotText { file: text.path().to_owned(), line }),
            };
        }
    }

    /// Returns where `column` is, if it is there.
    pub(super) fn find(
        &self,
        text: &TextFile,
        column: &'static str,
    ) -> Result<Option<Column>, FileError> {
        let mut places = self.names.iter().enumerate().filter(|(_, name)| *name == column);
        let Some((index, _)) = places.next() else { return Ok(None) };
        if places.next().is_some() {
            let (file, line) = (text.path().to_owned(), self.line);
            return Err(FileError::RepeatedColumn { file, line, column });
        }
        Ok(Some(Column { name: column, index }))
    }

    /// Returns where `column` is.
    pub(super) fn require(
        &self,
        text: &TextFile,
        column: &'static str,
    ) -> Result<Column, FileError> {
        self.find(text, column)?.ok_or_else(|| FileError::MissingColumn {
            file: text.path().to_owned(),
            line: self.line,
            column,
            found: excerpt_of_list(&self.names),
        })
    }

    /// Returns the fields of a line, or `None` for a blank line.
    pub(super) fn row<'a>(&self, line: &'a [u8]) -> Result<Option<Row<'a>>, FieldError> {
        let line = std::str::from_utf8(line).map_err(|_| FieldError::NotText)?;
        if line.trim().is_empty() {
            return Ok(None);
        }
        let fields = split(line);
        if fields.len() != self.names.len() {
            return Err(FieldError::Count { found: fields.len(), expected: self.names.len() });
        }
        Ok(Some(Row { fields }))
    }
}

fn excerpt_of_list(names: &[String]) -> String {
    const NAMES_MAX: usize = 24;
    let mut text = names
        .iter()
        .take(NAMES_MAX)
        .map(|n| format!("{:?}", excerpt(n, FIELD_CHARS_MAX)))
        .collect::<Vec<_>>()
        .join(", ");
    if names.len() > NAMES_MAX {
        text.push_str(", ...");
    }
    text
}

/// A column of a file.
#[derive(Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    index: usize,
}

/// The fields of one line, as many as the header has columns.
pub(super) struct Row<'a> {
    fields: Vec<Cow<'a, str>>,
}

impl Row<'_> {
    /// Returns the field; may be empty.
    pub(super) fn text(&self, column: Column) -> &str {
        self.fields.get(column.index).map_or("", |field| field.as_ref())
    }

    /// Returns the field, which must not be empty.
    pub(super) fn filled(&self, column: Column) -> Result<&str, FieldError> {
        match self.text(column) {
            "" => Err(FieldError::Empty { column: column.name }),
            text => Ok(text),
        }
    }

    /// Returns the field as a finite number.
    pub(super) fn number(&self, column: Column) -> Result<f64, FieldError> {
        let text = self.filled(column)?;
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            Ok(_) => Err(FieldError::NotFinite {
                column: column.name,
                text: excerpt(text, FIELD_CHARS_MAX),
            }),
            Err(_) => Err(FieldError::NotANumber {
                column: column.name,
                text: excerpt(text, FIELD_CHARS_MAX),
            }),
        }
    }

    /// Returns the field as a price of any sign.
    pub(super) fn price(&self, column: Column) -> Result<Price, FieldError> {
        Price::new(self.number(column)?).map_err(|NotFinite(number)| FieldError::NotFinite {
            column: column.name,
            text: number.to_string(),
        })
    }

    /// Returns the field as a whole number.
    pub(super) fn whole<T: std::str::FromStr>(&self, column: Column) -> Result<T, FieldError> {
        let text = self.filled(column)?;
        text.parse().map_err(|_| FieldError::NotWhole {
            column: column.name,
            text: excerpt(text, FIELD_CHARS_MAX),
        })
    }

    /// Returns the field as a moment.
    pub(super) fn moment(&self, column: Column) -> Result<UtcMs, FieldError> {
        moment(column.name, self.whole(column)?)
    }
}
