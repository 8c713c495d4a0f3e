//! Takes a TOML table apart key by key, reporting every unknown key, missing key and wrong type on
//! the way.

use crate::address;
use crate::model::Word;
use crate::nearest::nearest;
use crate::report::At;
use crate::report::Fault;
use crate::report::Report;
use crate::report::Span;
use crate::schema;
use crate::schema::Schema;
use std::ops::RangeInclusive;
use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;

/// A value of the document.
pub(crate) type Value<'t> = Spanned<DeValue<'t>>;

/// A table whose keys are all known.
pub(crate) struct Table<'d, 't> {
    /// Its header.
    pub(crate) span: Span,
    schema: &'static Schema,
    table: &'d DeTable<'t>,
}

impl<'d, 't> Table<'d, 't> {
    /// The table as `schema` describes it; reports the keys that are not in it.
    pub(crate) fn new(
        report: &mut Report<'_>,
        schema: &'static Schema,
        table: &'d DeTable<'t>,
        span: Span,
    ) -> Self {
        for key in table.keys() {
            if !schema.keys.iter().any(|(known, _)| *known == key.get_ref().as_ref()) {
                report.fault(key.span().into(), unknown_key(key.get_ref(), schema));
            }
        }
        Self { span, schema, table }
    }

    /// The table under `key`, if given.
    pub(crate) fn table(
        &self,
        report: &mut Report<'_>,
        key: &str,
        schema: &'static Schema,
    ) -> Option<Self> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Self::new(report, schema, table, value.span().into())),
            _ => self.wrong_type(report, key, value, "one table"),
        }
    }

    /// The tables under `key`, in the order of the file; none if not given.
    pub(crate) fn tables(
        &self,
        report: &mut Report<'_>,
        key: &str,
        schema: &'static Schema,
    ) -> Vec<Self> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            return self.wrong_type(report, key, value, "a list of tables").unwrap_or_default();
        };
        let mut tables = Vec::with_capacity(items.len());
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(table) => {
                    tables.push(Self::new(report, schema, table, item.span().into()));
                }
                _ => self.wrong_type(report, key, item, "a list of tables").unwrap_or_default(),
            }
        }
        tables
    }

    /// Reports that `key` is missing, if it is.
    pub(crate) fn require(&self, report: &mut Report<'_>, key: &str) {
        self.require_with(report, key, &format!("add {key} = {}", self.schema.example(key)));
    }

    /// The same, saying `help`.
    pub(crate) fn require_with(&self, report: &mut Report<'_>, key: &str, help: &str) {
        if !self.table.contains_key(key) {
            report.error(self.span, format!("{} has no {key}", self.schema.header), help);
        }
    }

    /// Reports that `key` is an empty list, if it is.
    pub(crate) fn refuse_empty(&self, report: &mut Report<'_>, key: &str) {
        let items = self.table.get(key).map(Spanned::get_ref);
        if matches!(items, Some(DeValue::Array(items)) if items.is_empty()) {
            let help = format!("write {key} = {}", self.schema.example(key));
            report.error(self.span_of(key), format!("{key} is empty"), help);
        }
    }

    /// The string under `key`.
    pub(crate) fn string(&self, report: &mut Report<'_>, key: &str) -> Option<At<&'d str>> {
        self.string_of(report, key, self.table.get(key)?)
    }

    /// The string under `key`, parsed.
    pub(crate) fn parsed<T>(
        &self,
        report: &mut Report<'_>,
        key: &str,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Option<At<T>> {
        let text = self.string(report, key)?;
        parse_at(report, text, parse)
    }

    /// The strings of the list under `key`, parsed. A single string may stand for a list of one.
    pub(crate) fn parsed_list<T>(
        &self,
        report: &mut Report<'_>,
        key: &str,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Vec<At<T>> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let items = match value.get_ref() {
            DeValue::Array(items) => &items[..],
            _ => std::slice::from_ref(value),
        };
        let strings: Vec<_> =
            items.iter().filter_map(|item| self.string_of(report, key, item)).collect();
        strings.into_iter().filter_map(|text| parse_at(report, text, &parse)).collect()
    }

    /// The words of the list under `key`, each one of the names of `T`; a single one may stand for a
    /// list of one.
    pub(crate) fn words<T: Word>(&self, report: &mut Report<'_>, key: &str) -> Vec<At<T>> {
        self.parsed_list(report, key, parse_word)
    }

    /// The ports of the list under `key`: numbers, and ranges such as "8000-8080". A single one may
    /// stand for a list of one.
    pub(crate) fn ports(&self, report: &mut Report<'_>, key: &str) -> Vec<At<(u16, u16)>> {
        let Some(value) = self.table.get(key) else { return Vec::new() };
        let items = match value.get_ref() {
            DeValue::Array(items) => &items[..],
            _ => std::slice::from_ref(value),
        };
        let mut ports = Vec::with_capacity(items.len());
        for item in items {
            ports.extend(match item.get_ref() {
                DeValue::String(text) => {
                    let text = At { value: text.as_ref(), span: item.span().into() };
                    parse_at(report, text, address::parse_ports)
                }
                DeValue::Integer(_) => {
                    let port = self.number_of::<u16>(report, key, item, 1..=65_535, "");
                    port.map(|at| At { value: (at.value, at.value), span: at.span })
                }
                _ => self.wrong_type(report, key, item, "ports"),
            });
        }
        ports
    }

    /// The value under `key`, one of the names of `T`.
    pub(crate) fn word<T: Word>(&self, report: &mut Report<'_>, key: &str) -> Option<At<T>> {
        self.parsed(report, key, parse_word)
    }

    /// The integer under `key`, if it is in `range`; `unit` is said after the range.
    pub(crate) fn number<T: TryFrom<u64>>(
        &self,
        report: &mut Report<'_>,
        key: &str,
        range: RangeInclusive<u64>,
        unit: &str,
    ) -> Option<At<T>> {
        self.number_of(report, key, self.table.get(key)?, range, unit)
    }

    /// An integer, or `true` for the one that goes without saying.
    pub(crate) fn number_or_true<T: TryFrom<u64>>(
        &self,
        report: &mut Report<'_>,
        key: &str,
        default: u64,
        range: RangeInclusive<u64>,
        unit: &str,
    ) -> Option<At<T>> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(given) => {
                let value = T::try_from(default).ok().filter(|_| *given)?;
                Some(At { value, span: self.span_of(key) })
            }
            _ => self.number_of(report, key, value, range, unit),
        }
    }

    /// The integers of the list under `key`, and the list's place.
    pub(crate) fn numbers<T: TryFrom<u64>>(
        &self,
        report: &mut Report<'_>,
        key: &str,
        range: RangeInclusive<u64>,
    ) -> Option<At<Vec<At<T>>>> {
        let value = self.table.get(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            return self.wrong_type(report, key, value, "a list of integers");
        };
        let numbers =
            items.iter().filter_map(|item| self.number_of(report, key, item, range.clone(), ""));
        Some(At { value: numbers.collect(), span: value.span().into() })
    }

    /// The boolean under `key`.
    pub(crate) fn boolean(&self, report: &mut Report<'_>, key: &str) -> Option<At<bool>> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(boolean) => Some(At { value: *boolean, span: value.span().into() }),
            _ => self.wrong_type(report, key, value, "true or false"),
        }
    }

    /// Whether `key` is given.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// The place of the value of `key`; the header's, if it is not given.
    pub(crate) fn span_of(&self, key: &str) -> Span {
        self.table.get(key).map_or(self.span, |value| value.span().into())
    }

    fn string_of(
        &self,
        report: &mut Report<'_>,
        key: &str,
        value: &'d Value<'t>,
    ) -> Option<At<&'d str>> {
        match value.get_ref() {
            DeValue::String(text) => Some(At { value: text, span: value.span().into() }),
            _ => self.wrong_type(report, key, value, "a string"),
        }
    }

    fn number_of<T: TryFrom<u64>>(
        &self,
        report: &mut Report<'_>,
        key: &str,
        value: &Value<'t>,
        range: RangeInclusive<u64>,
        unit: &str,
    ) -> Option<At<T>> {
        let DeValue::Integer(integer) = value.get_ref() else {
            return self.wrong_type(report, key, value, "an integer");
        };
        let number = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let number = number
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok());
        let span = value.span().into();
        if number.is_none() {
            let space = if unit.is_empty() { "" } else { " " };
            let help = format!("expected {} to {}{space}{unit}", range.start(), range.end());
            report.error(
                span,
                format!("{key} {} is out of range", quote_bare(&integer.to_string())),
                help,
            );
        }
        number.map(|value| At { value, span })
    }

    /// Reports that `value` is not `expected`; always `None`.
    fn wrong_type<T>(
        &self,
        report: &mut Report<'_>,
        key: &str,
        value: &Value<'t>,
        expected: &str,
    ) -> Option<T> {
        let found = match value.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let example = self.schema.example(key);
        let help = match example.starts_with('[')
            && schema::ALL.iter().any(|table| table.header == example)
        {
            true => format!("write {example}"),
            false => format!("write {key} = {example}"),
        };
        report.error(value.span().into(), format!("{key} must be {expected}, not {found}"), help);
        None
    }
}

/// `text` in quotes for a message, made harmless and short.
pub(crate) fn quote(text: &str) -> String {
    format!("\"{}\"", quote_bare(text))
}

fn quote_bare(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut quoted: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() {
        quoted.push('…');
    }
    quoted
}

fn parse_at<T>(
    report: &mut Report<'_>,
    text: At<&str>,
    parse: impl Fn(&str) -> Result<T, Fault>,
) -> Option<At<T>> {
    match parse(text.value) {
        Ok(value) => Some(At { value, span: text.span }),
        Err(fault) => {
            report.fault(text.span, fault);
            None
        }
    }
}

fn unknown_key(key: &str, schema: &Schema) -> Fault {
    let place = if schema.header.is_empty() { "at the top of the file" } else { schema.header };
    let preposition = if schema.header.is_empty() { "" } else { "in " };
    let message = format!("unknown key {} {preposition}{place}", quote(key));
    let names = || schema.keys.iter().map(|(name, _)| *name);
    if let Some(right) = nearest(key, names()) {
        return Fault::new(message, format!("did you mean {}?", quote(right)));
    }
    let home = |table: &&&Schema| table.keys.iter().any(|(name, _)| *name == key);
    match schema::ALL.iter().find(home) {
        Some(home) => Fault::new(message, format!("it belongs to {}", home.header)),
        None => Fault::new(
            message,
            format!("expected one of {}", names().collect::<Vec<_>>().join(", ")),
        ),
    }
}

fn parse_word<T: Word>(text: &str) -> Result<T, Fault> {
    let known = T::ALL.iter().find(|(name, _)| *name == text);
    known.map(|(_, value)| *value).ok_or_else(|| unknown_word::<T>(text))
}

fn unknown_word<T: Word>(text: &str) -> Fault {
    let names = || T::ALL.iter().map(|(name, _)| *name);
    let lower = text.to_lowercase();
    let alias = T::ALIASES.iter().find(|(alias, _)| *alias == lower).map(|(_, name)| *name);
    let mut help = format!("expected one of {}", names().collect::<Vec<_>>().join(", "));
    if let Some(right) = alias.or_else(|| nearest(text, names())) {
        help.push_str(&format!("; did you mean {}?", quote(right)));
    }
    Fault::new(format!("unknown {} {}", T::WHAT, quote(text)), help)
}

/// The list of `schema` that is written with double brackets, for a hint on a duplicate key.
pub(crate) fn list_named(key: &str) -> Option<&'static Schema> {
    schema::ALL
        .into_iter()
        .find(|schema| schema.is_list() && schema.header.trim_matches(['[', ']']) == key)
}
