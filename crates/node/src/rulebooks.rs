//! Rulebook documents for people: by file or built-in name, checked, shown, compared.
//!
//! What a rulebook means is the engine's; here a document is taken apart constant by constant, without
//! knowing any of them, so that a new section is shown and compared as soon as it is written.

mod constants;
mod diff;

use std::path::{Path, PathBuf};

use proctor_engine::rulebook::{Rulebook, RulebookError, VANTA, VANTA_PARITY};
use serde::Serialize;

pub use constants::Constant;
pub use diff::{Comparison, Row, compare};

/// The rulebooks that are compiled in, by name.
const BUILT_IN: [(&str, &str); 2] = [("vanta", VANTA), ("vanta-parity", VANTA_PARITY)];

/// The text of a rulebook and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// A file, or `built-in NAME`.
    pub origin: String,
    /// The text.
    pub text: String,
}

/// Why there is no rulebook.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// No file of this name, and no built-in rulebook.
    #[error(
        "there is no file {path}, and no built-in rulebook of this name: built in are {}",
        names()
    )]
    NotFound {
        /// What was taken for a file.
        path: PathBuf,
    },
    /// The operating system refused, or the file is not text.
    #[error("cannot read the rulebook {path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// The text is not a rulebook.
    #[error("{origin}{}: {problem}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Invalid {
        /// Where the text comes from.
        origin: String,
        /// The line that is wrong, counted from 1, where one can be named.
        line: Option<usize>,
        /// The field and what is wrong with it.
        problem: String,
    },
}

fn names() -> String {
    BUILT_IN.map(|(name, _)| name).join(", ")
}

/// What a valid document is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Where the text comes from.
    pub origin: String,
    /// The programme's name.
    pub name: String,
    /// The document's version.
    pub version: u32,
    /// Hash of the document.
    pub hash: String,
    /// From when on accounts enrol under it.
    pub effective_from: crate::explain::Moment,
    /// How many constants it states; each era of a schedule counts.
    pub constants: usize,
    /// How many of them hold for an era only.
    pub in_eras: usize,
    /// The name of the built-in rulebook that has the same switches, if one has.
    pub switches_as_in: Option<&'static str>,
}

impl Document {
    /// Returns the built-in rulebook `name`, or else the text of the file of that name.
    ///
    /// # Errors
    /// [`DocumentError::NotFound`] or [`DocumentError::Io`].
    pub fn read(name: &str) -> Result<Self, DocumentError> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            return Ok(Self { origin: format!("built-in {name}"), text: (*text).into() });
        }
        let path = Path::new(name).to_owned();
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Self { origin: name.into(), text }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(DocumentError::NotFound { path })
            }
            Err(error) => Err(DocumentError::Io { path, error }),
        }
    }

    /// Returns what the document is.
    ///
    /// # Errors
    /// [`DocumentError::Invalid`] names the line and the field that are wrong.
    pub fn check(&self) -> Result<Check, DocumentError> {
        let rules = self.rules()?;
        let constants = constants::of(&self.text);
        let stated = constants.iter().filter(|constant| constant.path.contains('.'));
        let switches_as_in = BUILT_IN.iter().find_map(|(name, text)| {
            let built_in = Rulebook::parse(text).ok()?;
            (built_in.switches == rules.switches).then_some(*name)
        });
        Ok(Check {
            origin: self.origin.clone(),
            name: rules.name,
            version: rules.version,
            hash: Rulebook::hash(&self.text).to_string(),
            effective_from: rules.effective_from_ms.into(),
            constants: stated.clone().count(),
            in_eras: stated.filter(|constant| constant.from.is_some()).count(),
            switches_as_in,
        })
    }

    /// Returns every constant of the document, in its order.
    ///
    /// # Errors
    /// [`DocumentError::Invalid`] names the line and the field that are wrong.
    pub fn constants(&self) -> Result<Vec<Constant>, DocumentError> {
        self.rules()?;
        Ok(constants::of(&self.text))
    }

    fn rules(&self) -> Result<Rulebook, DocumentError> {
        Rulebook::parse(&self.text).map_err(|error| {
            let (line, problem) = match error {
                RulebookError::Syntax { line, problem } => (Some(line), problem),
                RulebookError::Field { field, problem } => {
                    (constants::line_of(&self.text, &field), format!("{field}: {problem}"))
                }
            };
            DocumentError::Invalid { origin: self.origin.clone(), line, problem }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(from: &str, to: &str) -> Document {
        assert!(VANTA.contains(from), "{from:?} stands in the rulebook");
        Document { origin: "mine.toml".into(), text: VANTA.replacen(from, to, 1) }
    }

    #[test]
    fn the_built_in_rulebooks_are_found_by_name_and_counted() {
        let vanta = Document::read("vanta").expect("built in").check().expect("valid");
        assert_eq!((vanta.name.as_str(), vanta.switches_as_in), ("vanta", Some("vanta")));
        assert_eq!(vanta.hash, Rulebook::hash(VANTA).to_string());
        assert!(vanta.constants > 100 && vanta.in_eras > 20 && vanta.in_eras < vanta.constants);
        let parity = Document::read("vanta-parity").expect("built in").check().expect("valid");
        assert_eq!(parity.switches_as_in, Some("vanta-parity"));
        assert_eq!(parity.constants, vanta.constants);
        let own = edited("drawdown_limit = \"ratio\"", "drawdown_limit = \"percent\"");
        assert_eq!(own.check().expect("valid").switches_as_in, None);
    }

    #[test]
    fn what_is_neither_built_in_nor_a_file_is_told_the_names() {
        let error = Document::read("vantaa").expect_err("no such file").to_string();
        assert!(error.contains("built in are vanta, vanta-parity"), "{error}");
    }

    #[test]
    fn an_error_names_line_and_field() {
        let line = |start: &str| {
            VANTA.lines().position(|line| line.starts_with(start)).expect("a line") + 1
        };
        for (from, to, at, says) in [
            ("cooldown = {", "cool_down = {", line("cooldown"), "unknown field `cool_down`"),
            (
                "drawdown_max = { value = 0.1",
                "drawdown_max = { value = 10",
                line("drawdown_max"),
                "elimination.drawdown_max: must lie between 0 and 1",
            ),
            (
                "from_ms = 1727161200000, cap",
                "from_ms = 0, cap",
                line("[leverage.portfolio_cap]"),
                "leverage.portfolio_cap: eras must be listed by increasing from_ms",
            ),
        ] {
            let error = edited(from, to).check().expect_err("refused").to_string();
            assert!(error.starts_with(&format!("mine.toml, line {at}: ")), "{error}");
            assert!(error.contains(says), "{error}");
        }
    }
}
