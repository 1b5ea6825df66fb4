//! Defaults, file, environment and flags, one over the other, each value with where it is from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{ConfigError, DEFAULTS, one_line};

/// Where a value is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody stated it.
    Default,
    /// A configuration file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag of the command.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(text) => write!(f, "flag {text}"),
        }
    }
}

/// One field as it holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Path, such as `listen.prices`.
    pub path: String,
    /// The value, as TOML.
    pub value: String,
    /// Where it is from.
    pub origin: Origin,
    /// What it means, with unit.
    pub meaning: String,
}

/// The values of all fields and where they are from.
#[derive(Clone, Debug)]
pub struct Layers {
    table: Table,
    origins: BTreeMap<String, Origin>,
}

impl Default for Layers {
    /// Returns the defaults.
    ///
    /// # Panics
    /// Never: a test reads the embedded document.
    fn default() -> Self {
        let table = DEFAULTS.parse::<Table>().expect("the embedded defaults are TOML");
        Self { table, origins: BTreeMap::new() }
    }
}

impl Layers {
    /// Lays the file at `path` over what there is.
    ///
    /// # Errors
    /// [`ConfigError`] when it cannot be read, or states a field that does not exist.
    pub fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        let origin = Origin::File(path.to_owned());
        let table = text.parse::<Table>().map_err(|error| ConfigError::Syntax {
            origin: origin.clone(),
            error: one_line(&error.to_string()),
        })?;
        for (section, value) in table {
            let Value::Table(fields) = value else {
                self.set(&section, value, origin.clone())?;
                continue;
            };
            for (field, value) in fields {
                self.set(&format!("{section}.{field}"), value, origin.clone())?;
            }
        }
        Ok(())
    }

    /// Lays the variables of an environment over what there is; `variable` looks one up.
    ///
    /// # Errors
    /// [`ConfigError::Type`] when a variable does not hold what its field is.
    pub fn environment(
        &mut self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(), ConfigError> {
        for path in self.paths() {
            let name = format!("PROCTOR_{}", path.replace('.', "_").to_uppercase());
            if let Some(text) = variable(&name) {
                self.text(&path, &text, Origin::Variable(name))?;
            }
        }
        Ok(())
    }

    /// Lays one flag `PATH=VALUE` over what there is.
    ///
    /// # Errors
    /// [`ConfigError`] when it has another form, or names a field that does not exist.
    pub fn flag(&mut self, text: &str) -> Result<(), ConfigError> {
        let origin = Origin::Flag(format!("--set {text}"));
        let Some((path, value)) = text.split_once('=') else {
            let error = "is to be PATH=VALUE".to_owned();
            return Err(ConfigError::Syntax { origin, error });
        };
        self.text(path.trim(), value.trim(), origin)
    }

    /// Lays `value` of the field at `path` over what there is.
    ///
    /// # Errors
    /// [`ConfigError::Unknown`] or [`ConfigError::Type`].
    pub fn set(&mut self, path: &str, value: Value, origin: Origin) -> Result<(), ConfigError> {
        let hint = self.nearest(path);
        let Some(place) = self.place(path) else {
            return Err(ConfigError::Unknown { origin, path: path.into(), hint });
        };
        if place.type_str() != value.type_str() {
            let (wanted, given) = (with_article(place.type_str()), value.to_string());
            return Err(ConfigError::Type { origin, path: path.into(), wanted, given });
        }
        *place = value;
        self.origins.insert(path.into(), origin);
        Ok(())
    }

    /// Returns where the value at `path` is from.
    #[must_use]
    pub fn origin(&self, path: &str) -> Origin {
        self.origins.get(path).cloned().unwrap_or(Origin::Default)
    }

    /// Returns every field as it holds, in the order of the documentation.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        let (mut section, mut meaning) = (String::new(), Vec::new());
        for line in DEFAULTS.lines() {
            if let Some(words) = line.strip_prefix('#') {
                meaning.push(words.trim());
            } else if let Some(name) = line.strip_prefix('[') {
                name.trim_end_matches(']').clone_into(&mut section);
                meaning.clear();
            } else if let Some((field, _)) = line.split_once(" = ") {
                let path = format!("{section}.{field}");
                let value = self.table.get(&section).and_then(|s| s.get(field));
                let value = value.map(ToString::to_string).unwrap_or_default();
                let origin = self.origin(&path);
                settings.push(Setting { path, value, origin, meaning: meaning.join(" ") });
                meaning.clear();
            } else {
                meaning.clear();
            }
        }
        settings
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// Takes `text` as a value of the type that the field has: a word needs no quotes.
    fn text(&mut self, path: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let is_word = matches!(self.place(path), Some(Value::String(_)));
        let parsed = format!("value = {text}").parse::<Table>().ok();
        let value = match parsed.and_then(|mut table| table.remove("value")) {
            Some(value) if !is_word || value.is_str() => value,
            _ => Value::String(text.into()),
        };
        self.set(path, value, origin)
    }

    fn place(&mut self, path: &str) -> Option<&mut Value> {
        let (section, field) = path.split_once('.')?;
        self.table.get_mut(section)?.get_mut(field)
    }

    fn paths(&self) -> Vec<String> {
        let fields = |(section, fields): (&String, &Value)| {
            let section = section.clone();
            let names = fields.as_table().into_iter().flat_map(Table::keys);
            names.map(|field| format!("{section}.{field}")).collect::<Vec<_>>()
        };
        self.table.iter().flat_map(fields).collect()
    }

    /// Returns a word on the field whose name is most like the last part of `path`.
    fn nearest(&self, path: &str) -> String {
        let last = path.rsplit('.').next().unwrap_or(path);
        let same = |known: &String| known.rsplit('.').next() == Some(last);
        let like = |known: &String| known.starts_with(path) || known.contains(last);
        let paths = self.paths();
        let found = paths.iter().find(|known| same(known)).or(paths.iter().find(|k| like(k)));
        found.map(|known| format!(" (is {known} meant?)")).unwrap_or_default()
    }
}

/// Returns the name of a type of TOML as it stands in a sentence.
fn with_article(name: &str) -> &'static str {
    match name {
        "string" => "a text",
        "integer" => "a whole number",
        "boolean" => "true or false",
        "array" => "a list",
        _ => "a table",
    }
}
