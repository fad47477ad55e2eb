//! The hashes in lock files that tell what the lock was written for: hashes of the output of
//! Python's `json.dumps` for parts of a file.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};
use toml::Value;

/// The separators between the parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `json.dumps`'s own: a blank after `,` and `:`.
    Spaced,
    Compact,
}

/// Hexadecimal. The keys of tables are sorted; a missing value is `null`.
pub(super) fn sha256_of_json(value: &Json<'_>, style: Style) -> String {
    let mut text = String::new();
    value.write(style, &mut text);
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

/// A document that is made of parts of others.
#[derive(Debug, Clone)]
pub(super) enum Json<'a> {
    Null,
    /// With sorted keys.
    Table(std::collections::BTreeMap<&'a str, Json<'a>>),
    Part(&'a Value),
    List(Vec<Json<'a>>),
    Text(&'a str),
}

impl<'a> Json<'a> {
    pub(super) fn table(items: impl IntoIterator<Item = (&'a str, Json<'a>)>) -> Self {
        Self::Table(items.into_iter().collect())
    }

    pub(super) fn or_null(value: Option<&'a Value>) -> Self {
        value.map_or(Self::Null, Self::Part)
    }

    /// An empty table if there is none.
    pub(super) fn or_table(value: Option<&'a Value>) -> Self {
        value.map_or_else(|| Self::table([]), Self::Part)
    }

    pub(super) fn or_list(value: Option<&'a Value>) -> Self {
        value.map_or(Self::List(Vec::new()), Self::Part)
    }

    fn write(&self, style: Style, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Text(text) => string(text, out),
            Self::Part(value) => part(value, style, out),
            Self::List(items) => {
                sequence('[', ']', items, style, out, |item, out| {
                    item.write(style, out);
                });
            }
            Self::Table(items) => sequence('{', '}', items, style, out, |(key, value), out| {
                member(key, style, out);
                value.write(style, out);
            }),
        }
    }
}

fn part(value: &Value, style: Style, out: &mut String) {
    match value {
        Value::String(text) => string(text, out),
        Value::Integer(number) => {
            let _ = write!(out, "{number}");
        }
        Value::Float(number) => {
            let _ = write!(out, "{number:?}");
        }
        Value::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Datetime(time) => string(&time.to_string(), out),
        Value::Array(items) => {
            sequence('[', ']', items, style, out, |item, out| {
                part(item, style, out);
            });
        }
        Value::Table(items) => {
            let mut sorted: Vec<(&String, &Value)> = items.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            sequence('{', '}', sorted, style, out, |(key, value), out| {
                member(key, style, out);
                part(value, style, out);
            });
        }
    }
}

fn sequence<T>(
    open: char,
    close: char,
    items: impl IntoIterator<Item = T>,
    style: Style,
    out: &mut String,
    mut write: impl FnMut(T, &mut String),
) {
    out.push(open);
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push_str(if style == Style::Spaced { ", " } else { "," });
        }
        write(item, out);
    }
    out.push(close);
}

fn member(key: &str, style: Style, out: &mut String) {
    string(key, out);
    out.push_str(if style == Style::Spaced { ": " } else { ":" });
}

/// As in `json.dumps`: only ASCII.
fn string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(character),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_as_python_writes_it() {
        let document: Value = toml::from_str::<toml::Table>(
            "b = [1, 'ü\"\\', true, 1.0]\na = { d = 'x', c = \"\u{1f600}\\u007f\" }\nB = []",
        )
        .unwrap()
        .into();
        let mut text = String::new();
        part(&document, Style::Spaced, &mut text);
        assert_eq!(
            text,
            r#"{"B": [], "a": {"c": "\ud83d\ude00\u007f", "d": "x"}, "b": [1, "\u00fc\"\\", true, 1.0]}"#
        );
        let mut text = String::new();
        Json::table([("x", Json::Null), ("a", Json::Text("y"))]).write(Style::Compact, &mut text);
        assert_eq!(text, r#"{"a":"y","x":null}"#);
    }
}
