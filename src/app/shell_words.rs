//! `server_args`: text with `$V`, `${V}` and `${V:-default}`, split into words as in a shell, and
//! nothing more: no command runs.

use std::collections::BTreeMap;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArgumentsError {
    #[error("server_args: command substitution is not run: {0}")]
    CommandSubstitution(String),
    #[error("server_args: a quote is not closed")]
    OpenQuote,
    #[error("server_args: `{0}` is not closed")]
    OpenBrace(String),
}

/// Expands and splits. An unset variable is empty.
///
/// # Errors
/// For command substitution and open quotes.
pub fn expand(
    text: &str,
    environment: &BTreeMap<String, String>,
) -> Result<Vec<String>, ArgumentsError> {
    words(text, Some(environment))
}

/// Splits only.
///
/// # Errors
/// For open quotes.
pub fn split(text: &str) -> Result<Vec<String>, ArgumentsError> {
    words(text, None)
}

fn words(
    text: &str,
    environment: Option<&BTreeMap<String, String>>,
) -> Result<Vec<String>, ArgumentsError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (Some('\''), _) => word.get_or_insert_default().push(character),
            (None, '\'' | '"') => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => {
                rest = after.find('\n').map_or("", |end| &after[end..]);
                continue;
            }
            (_, '\\') => {
                let Some(next) = after.chars().next() else {
                    break;
                };
                if next != '\n' {
                    if quote.is_some() && !matches!(next, '"' | '\\' | '$' | '`') {
                        word.get_or_insert_default().push('\\');
                    }
                    word.get_or_insert_default().push(next);
                }
                rest = &after[next.len_utf8()..];
                continue;
            }
            (_, '`') if environment.is_some() => {
                return Err(ArgumentsError::CommandSubstitution(first_line(rest)));
            }
            (_, '$') if environment.is_some() => {
                let environment = environment.unwrap_or(const { &BTreeMap::new() });
                if after.starts_with('(') {
                    return Err(ArgumentsError::CommandSubstitution(first_line(rest)));
                }
                let (value, remaining) = variable(rest, environment)?;
                if quote.is_some() {
                    word.get_or_insert_default().push_str(&value);
                } else {
                    // Unquoted values split, as in a shell.
                    let mut pieces = value.split_whitespace().peekable();
                    if value.starts_with(char::is_whitespace) {
                        words.extend(word.take());
                    }
                    while let Some(piece) = pieces.next() {
                        word.get_or_insert_default().push_str(piece);
                        if pieces.peek().is_some() {
                            words.extend(word.take());
                        }
                    }
                    if value.ends_with(char::is_whitespace) {
                        words.extend(word.take());
                    }
                }
                rest = remaining;
                continue;
            }
            (None, white) if white.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(character),
        }
        rest = after;
    }
    if quote.is_some() {
        return Err(ArgumentsError::OpenQuote);
    }
    words.extend(word);
    Ok(words)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or("").chars().take(80).collect()
}

/// Reads `$V`, `${V}` or `${V:-default}` at the beginning of `text`. Other text does not change.
pub(crate) fn variable<'t>(
    text: &'t str,
    environment: &BTreeMap<String, String>,
) -> Result<(String, &'t str), ArgumentsError> {
    let name_end = |text: &str| {
        text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(text.len())
    };
    let after = &text[1..];
    if let Some(inner) = after.strip_prefix('{') {
        let Some(close) = inner.find('}') else {
            return Err(ArgumentsError::OpenBrace(first_line(text)));
        };
        let (body, remaining) = (&inner[..close], &inner[close + 1..]);
        let end = name_end(body);
        let value = environment.get(&body[..end]);
        let value = match body[end..].strip_prefix(":-") {
            Some(default) => value
                .filter(|value| !value.is_empty())
                .cloned()
                .unwrap_or(default.to_owned()),
            None => match body[end..].strip_prefix('-') {
                Some(default) => value.cloned().unwrap_or(default.to_owned()),
                None => value.cloned().unwrap_or_default(),
            },
        };
        return Ok((value, remaining));
    }
    let end = name_end(after);
    if end == 0 || after.starts_with(|c: char| c.is_ascii_digit()) {
        return Ok(("$".to_owned(), after));
    }
    Ok((
        environment.get(&after[..end]).cloned().unwrap_or_default(),
        &after[end..],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expansion() {
        let environment = BTreeMap::from([
            ("W".to_owned(), "7".to_owned()),
            ("OPTS".to_owned(), "--a --b".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ]);
        for (text, expected) in [
            ("--workers ${W:-3}", vec!["--workers", "7"]),
            (
                "--workers ${X:-3}\n--threads=$W",
                vec!["--workers", "3", "--threads=7"],
            ),
            ("${EMPTY:-5} ${EMPTY-6}", vec!["5"]),
            ("$OPTS x", vec!["--a", "--b", "x"]),
            ("\"$OPTS\" '$W'", vec!["--a --b", "$W"]),
            ("a\\ b \"c\\\"d\" e#f # comment", vec!["a b", "c\"d", "e#f"]),
            ("$ $1 100%", vec!["$", "$1", "100%"]),
            ("''", vec![""]),
        ] {
            assert_eq!(expand(text, &environment).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn commands_are_never_run() {
        for text in ["--x $(id)", "`id`", "\"$(id)\""] {
            assert!(matches!(
                expand(text, &BTreeMap::new()),
                Err(ArgumentsError::CommandSubstitution(_))
            ));
        }
        assert_eq!(
            expand("'a", &BTreeMap::new()),
            Err(ArgumentsError::OpenQuote)
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text(text in ".{0,80}") {
            let _ = expand(&text, &BTreeMap::new());
        }
    }
}
