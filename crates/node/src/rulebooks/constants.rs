//! A document taken apart: every constant with its path, era, unit and source.
//!
//! Knows the shapes of the document, not its content: `{ value, unit, source }` is a constant, a table
//! with `eras` a schedule, and `unit` and `source` of a table hold for everything below it.

use proctor_types::UtcMs;
use serde::Serialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

/// One constant of a rulebook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Constant {
    /// Where it stands, as `section.name`.
    pub path: String,
    /// First moment of the era that it holds for; absent when it has no era.
    pub from: Option<UtcMs>,
    /// First moment of the next era; absent in the last one.
    pub until: Option<UtcMs>,
    /// The value, lists by comma; an era without a value says `none`.
    pub value: String,
    /// Its unit, where one is stated.
    pub unit: String,
    /// Whether the unit is stated for the table around it: then it is that of the table's result,
    /// which parameters of a model need not have.
    pub unit_inherited: bool,
    /// The paragraph that states it, where one is named.
    pub source: String,
}

impl Constant {
    /// Tells whether the constant holds at `at`, as far as its era is concerned.
    #[must_use]
    pub fn holds_at(&self, at: UtcMs) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }

    /// Returns the value as a person would say it (`10 s`, `0.2 %`, a date), or nothing when it says
    /// all there is.
    #[must_use]
    pub fn meaning(&self) -> String {
        let is_time = self.unit == "ms since 1970 UTC" || self.path.ends_with("_ms");
        match (self.value.parse::<i64>(), self.value.parse::<f64>()) {
            (Ok(ms), _) if is_time => UtcMs(ms).to_string(),
            (Ok(ms), _) if self.unit == "ms" => span(ms),
            (_, Ok(number)) if self.is_fraction() && number != 0.0 => {
                // Twelve digits hide what the multiplication by 100 rounds.
                let percent: f64 = format!("{:.11e}", number * 100.0).parse().unwrap_or(number);
                format!("{percent} %")
            }
            _ => String::new(),
        }
    }

    fn is_fraction(&self) -> bool {
        self.unit.starts_with("fraction") && !self.unit_inherited
    }
}

/// Returns a span of time in the greatest unit that it is a whole number of.
fn span(ms: i64) -> String {
    for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")] {
        if ms != 0 && ms % unit == 0 {
            return format!("{} {name}", ms / unit);
        }
    }
    String::new()
}

/// Returns every constant of a valid document, in its order; none of a text that is not TOML.
pub(super) fn of(text: &str) -> Vec<Constant> {
    let mut constants = Vec::new();
    if let Ok(document) = DeTable::parse(text) {
        table(&mut constants, document.get_ref(), &Context::default());
    }
    constants
}

/// Returns the line of the deepest key of `field` that `text` has, counted from 1.
pub(super) fn line_of(text: &str, field: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let mut start = None;
    for name in field.split('.') {
        let Some((key, value)) = table.iter().find(|(key, _)| key.get_ref().as_ref() == name)
        else {
            break;
        };
        start = Some(key.span().start);
        let Some(below) = value.get_ref().as_table() else { break };
        table = below;
    }
    text.get(..start?).map(|before| before.matches('\n').count() + 1)
}

/// What holds for everything below a table.
#[derive(Clone, Default)]
struct Context {
    path: String,
    from: Option<UtcMs>,
    until: Option<UtcMs>,
    unit: String,
    source: String,
}

impl Context {
    /// Returns the context below `name`.
    fn below(&self, name: &str) -> Self {
        let path =
            if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { path, ..self.clone() }
    }

    fn with(&self, value: String) -> Constant {
        Constant {
            path: self.path.clone(),
            from: self.from,
            until: self.until,
            value,
            unit: self.unit.clone(),
            unit_inherited: !self.unit.is_empty(),
            source: self.source.clone(),
        }
    }
}

fn table(constants: &mut Vec<Constant>, table: &DeTable<'_>, context: &Context) {
    let text = |name: &str| table.get(name).and_then(|value| value.get_ref().as_str());
    let mut context = context.clone();
    if let Some(unit) = text("unit") {
        context.unit = unit.into();
    }
    if let Some(source) = text("source") {
        context.source = source.into();
    }
    if let (Some(stated), true) = (table.get("value"), table.contains_key("unit")) {
        let constant = context.with(plain(stated.get_ref()));
        constants.push(Constant { unit_inherited: false, ..constant });
        return;
    }
    if let Some(eras) = table.get("eras").and_then(|eras| eras.get_ref().as_array()) {
        schedule(constants, eras, &context);
        return;
    }
    // The parser sorts by name; a reader wants the order of the document.
    let mut fields: Vec<_> = table.iter().collect();
    fields.sort_by_key(|(name, _)| name.span().start);
    for (name, field) in fields {
        let name: &str = name.get_ref();
        if matches!(name, "unit" | "source" | "from_ms") && !context.path.is_empty() {
            continue;
        }
        value(constants, field.get_ref(), &context.below(name));
    }
}

fn schedule(constants: &mut Vec<Constant>, eras: &DeArray<'_>, context: &Context) {
    let eras: Vec<&DeTable<'_>> =
        eras.iter().filter_map(|era: &Spanned<DeValue<'_>>| era.get_ref().as_table()).collect();
    let starts: Vec<Option<UtcMs>> = eras
        .iter()
        .map(|era| plain(era.get("from_ms")?.get_ref()).parse().ok().map(UtcMs))
        .collect();
    for (place, era) in eras.into_iter().enumerate() {
        let from = starts[place];
        let until = starts.get(place + 1).copied().flatten();
        let context = Context { from, until, ..context.clone() };
        if era.len() > 1 {
            table(constants, era, &context);
        } else {
            constants.push(context.with("none".into()));
        }
    }
}

fn value(constants: &mut Vec<Constant>, found: &DeValue<'_>, context: &Context) {
    match found {
        DeValue::Table(below) => table(constants, below, context),
        DeValue::Array(list) if list.iter().any(|item| is_nested(item.get_ref())) => {
            for (place, item) in list.iter().enumerate() {
                let path = format!("{}[{place}]", context.path);
                value(constants, item.get_ref(), &Context { path, ..context.clone() });
            }
        }
        DeValue::Array(_)
        | DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => constants.push(context.with(plain(found))),
    }
}

fn is_nested(value: &DeValue<'_>) -> bool {
    value.is_array() || value.is_table()
}

/// Returns a value without nested tables as text; numbers that are equal give equal text.
fn plain(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or_else(|_| integer.as_str().to_owned(), |number| number.to_string()),
        DeValue::Float(float) => float
            .as_str()
            .parse::<f64>()
            .map_or_else(|_| float.as_str().to_owned(), |number| format!("{number:?}")),
        DeValue::Boolean(truth) => truth.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        DeValue::Array(list) => {
            let items: Vec<String> = list.iter().map(|item| plain(item.get_ref())).collect();
            items.join(", ")
        }
        DeValue::Table(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "\
name = 'x'
[orders]
wait = { value = 10_000, unit = 'ms', source = 'A 1' }
[pairs]
source = 'A 2'
blocked = ['B', 'A']
[size]
unit = 'x'
source = 'A 3'
eras = [{ from_ms = 0 }, { from_ms = 10, bounds = { min = 0.10, max = 5 } }]
[fit]
rows = [[1.0, 2.0], [3.0, 4e-3]]
";

    fn lines() -> Vec<String> {
        let told = |c: Constant| {
            let from = c.from.map_or("-".into(), |from| from.0.to_string());
            let until = c.until.map_or("-".into(), |until| until.0.to_string());
            format!("{} {from} {until} {} [{}] {}", c.path, c.value, c.unit, c.source)
        };
        of(DOCUMENT).into_iter().map(told).collect()
    }

    #[test]
    fn every_constant_is_found_in_the_order_of_the_document() {
        let expected = [
            "name - - x [] ",
            "orders.wait - - 10000 [ms] A 1",
            "pairs.blocked - - B, A [] A 2",
            "size 0 10 none [x] A 3",
            "size.bounds.min 10 - 0.1 [x] A 3",
            "size.bounds.max 10 - 5 [x] A 3",
            "fit.rows[0] - - 1.0, 2.0 [] ",
            "fit.rows[1] - - 3.0, 0.004 [] ",
        ];
        assert_eq!(lines(), expected);
    }

    #[test]
    fn an_era_holds_from_its_first_moment_until_the_next() {
        let at = |ms| {
            of(DOCUMENT).into_iter().filter(move |c| c.from.is_some() && c.holds_at(UtcMs(ms)))
        };
        assert_eq!(at(9).map(|c| c.value).collect::<Vec<_>>(), ["none"]);
        assert_eq!(at(10).map(|c| c.value).collect::<Vec<_>>(), ["0.1", "5"]);
    }

    #[test]
    fn a_value_is_said_in_the_words_of_its_unit() {
        let said = |value: &str, unit: &str| {
            let context = Context { path: "a.b".into(), unit: unit.into(), ..Context::default() };
            Constant { unit_inherited: false, ..context.with(value.into()) }.meaning()
        };
        assert_eq!(said("10000", "ms"), "10 s");
        assert_eq!(said("43200000", "ms"), "12 h");
        assert_eq!(said("10368000000", "ms"), "120 d");
        assert_eq!(said("1500", "ms"), "");
        assert_eq!(said("0.07", "fraction of peak"), "7 %");
        assert_eq!(said("1713198680000", "ms since 1970 UTC"), "2024-04-15T16:31:20.000Z");
        assert_eq!(said("5", "x account size"), "");
    }

    #[test]
    fn the_line_of_a_field_is_that_of_its_deepest_known_key() {
        assert_eq!(line_of(DOCUMENT, "orders.wait"), Some(3));
        assert_eq!(line_of(DOCUMENT, "size.min"), Some(7));
        assert_eq!(line_of(DOCUMENT, "nothing"), None);
    }
}
