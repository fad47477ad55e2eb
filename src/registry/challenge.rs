//! The `WWW-Authenticate` header (RFC 9110 §11.6.1): scheme names with parameters, several in one line.

use std::collections::BTreeMap;

/// A way to log in that a server offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// In lower case: `basic`, `bearer`.
    pub scheme: String,
    /// Names in lower case; the first of two equal names counts.
    pub parameters: BTreeMap<String, String>,
}

/// Longer headers are cut here.
const MAX_HEADER: usize = 16 * 1024;

/// Reads what can be read; what makes no sense is skipped, never an error.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let bytes = header.as_bytes();
    let mut cursor = Cursor {
        bytes: &bytes[..bytes.len().min(MAX_HEADER)],
        at: 0,
    };
    let mut found: Vec<Challenge> = Vec::new();
    loop {
        cursor.skip(|b| matches!(b, b' ' | b'\t' | b','));
        if cursor.done() {
            return found;
        }
        let word = cursor.token();
        if word.is_empty() {
            // A byte that begins nothing: go on behind the next comma.
            cursor.skip(|b| b != b',');
            continue;
        }
        let after_word = cursor.at;
        cursor.skip(is_space);
        if cursor.peek() == Some(b'=') {
            cursor.at += 1;
            cursor.skip(is_space);
            let value = cursor.value();
            if let Some(challenge) = found.last_mut() {
                challenge
                    .parameters
                    .entry(word.to_ascii_lowercase())
                    .or_insert(value);
            }
            continue;
        }
        found.push(Challenge {
            scheme: word.to_ascii_lowercase(),
            parameters: BTreeMap::new(),
        });
        if cursor.at > after_word {
            cursor.skip_token68();
        }
    }
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

impl Cursor<'_> {
    fn done(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip(&mut self, which: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&which) {
            self.at += 1;
        }
    }

    fn token(&mut self) -> String {
        let start = self.at;
        self.skip(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned()
    }

    /// A token or a quoted string.
    fn value(&mut self) -> String {
        if self.peek() != Some(b'"') {
            let start = self.at;
            self.skip(|b| !matches!(b, b' ' | b'\t' | b','));
            return String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned();
        }
        self.at += 1;
        let mut value = Vec::new();
        while let Some(byte) = self.peek() {
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    value.extend(self.peek());
                    self.at += 1;
                }
                byte => value.push(byte),
            }
        }
        String::from_utf8_lossy(&value).into_owned()
    }

    /// `Negotiate YII=`: bytes that belong to the scheme, up to a comma. Goes back if it is something else.
    fn skip_token68(&mut self) {
        let start = self.at;
        self.skip(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b));
        self.skip(|b| b == b'=');
        self.skip(is_space);
        if !(self.done() || self.peek() == Some(b',')) {
            self.at = start;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Expected<'a> = &'a [(&'a str, &'a [(&'a str, &'a str)])];

    #[test]
    fn challenges_as_registries_send_them() {
        let cases: &[(&str, Expected<'_>)] = &[
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/python:pull,push""#,
                &[(
                    "bearer",
                    &[
                        ("realm", "https://auth.docker.io/token"),
                        ("service", "registry.docker.io"),
                        ("scope", "repository:library/python:pull,push"),
                    ],
                )],
            ),
            ("basic realm=x", &[("basic", &[("realm", "x")])]),
            (
                r#"Negotiate YIIa==, Basic realm="a \"b\", c", Bearer realm = "r""#,
                &[
                    ("negotiate", &[]),
                    ("basic", &[("realm", "a \"b\", c")]),
                    ("bearer", &[("realm", "r")]),
                ],
            ),
            ("Negotiate, Basic", &[("negotiate", &[]), ("basic", &[])]),
            (
                r#"Bearer realm="unfinished"#,
                &[("bearer", &[("realm", "unfinished")])],
            ),
            (r#"x="1""#, &[]),
            ("", &[]),
            (",,\u{1};=", &[]),
        ];
        for (header, expected) in cases {
            let found = parse(header);
            let found: Vec<(&str, Vec<(&str, &str)>)> = found
                .iter()
                .map(|c| {
                    let p = c.parameters.iter();
                    (
                        c.scheme.as_str(),
                        p.map(|(k, v)| (k.as_str(), v.as_str())).collect(),
                    )
                })
                .collect();
            let mut sorted: Vec<(&str, Vec<(&str, &str)>)> =
                expected.iter().map(|(s, p)| (*s, p.to_vec())).collect();
            for (_, parameters) in &mut sorted {
                parameters.sort_unstable();
            }
            assert_eq!(found, sorted, "{header}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics_or_hangs(header in any::<String>()) {
            parse(&header);
        }

        #[test]
        fn what_is_quoted_comes_back(
            values in proptest::collection::btree_map("[a-z]{1,8}", "\\PC{0,30}", 0..5),
            scheme in "[A-Z][a-z]{1,8}",
        ) {
            let parameters: Vec<String> = values
                .iter()
                .map(|(k, v)| format!("{k}=\"{}\"", v.replace('\\', "\\\\").replace('"', "\\\"")))
                .collect();
            let found = parse(&format!("{scheme} {}", parameters.join(", ")));
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(&found[0].scheme, &scheme.to_lowercase());
            prop_assert_eq!(&found[0].parameters, &values);
        }
    }
}
