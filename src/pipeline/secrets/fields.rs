//! The parts of a secret that are secret by themselves: a file of several (`.env`, JSON, netrc, a key)
//! seldom leaves its build whole.
//!
//! Every line, value and quoted string counts, but for what stands in files of that kind everywhere and
//! would be found where nothing is amiss: comments, headings, `true`, the public addresses that such a
//! file names, the first line that all keys of OpenSSH have in common.

use std::collections::BTreeSet;

use serde_json::Value;

use super::logins::passwords;

/// Shorter parts are not looked for, in bytes: they would be found everywhere.
pub(in super::super) const LEAST: usize = 8;
/// More parts of one secret are not looked for, beyond the whole.
const MOST: usize = 4096;
/// How often a part is looked into: JSON in a value of JSON, lines in it.
const MAX_DEPTH: usize = 3;

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Part {
    Whole,
    Password,
    Value,
    Line,
    /// What is armoured in lines, without their ends.
    Body,
}

impl Part {
    /// The part of a secret, in words.
    pub(in super::super) fn of(self, secret: &str) -> String {
        match self {
            Self::Whole => format!("the secret `{secret}`"),
            Self::Password => format!("a password in the secret `{secret}`"),
            Self::Value => format!("a value in the secret `{secret}`"),
            Self::Line => format!("a line of the secret `{secret}`"),
            Self::Body => format!("the body of the secret `{secret}`"),
        }
    }
}

/// The parts of at least [`LEAST`] bytes, each once, the whole first.
pub(in super::super) fn fields(secret: &[u8]) -> Vec<(Part, Vec<u8>)> {
    let whole = secret.trim_ascii();
    let mut parts = Parts::default();
    parts.add(Part::Whole, whole);
    if let Ok(text) = std::str::from_utf8(whole) {
        parts.text(text, 0);
    }
    parts.found
}

#[derive(Default)]
struct Parts {
    found: Vec<(Part, Vec<u8>)>,
    known: BTreeSet<Vec<u8>>,
}

impl Parts {
    fn add(&mut self, part: Part, bytes: &[u8]) {
        let bytes = bytes.trim_ascii();
        if bytes.len() >= LEAST && self.found.len() < MOST && self.known.insert(bytes.to_vec()) {
            self.found.push((part, bytes.to_vec()));
        }
    }

    fn value(&mut self, text: &str) {
        let text = text.trim();
        if !is_public(text) {
            self.add(Part::Value, text.as_bytes());
        }
    }

    fn text(&mut self, text: &str, depth: usize) {
        if depth >= MAX_DEPTH {
            return;
        }
        for word in passwords(text) {
            self.add(Part::Password, word.as_bytes());
        }
        if let Ok(document) = serde_json::from_str::<Value>(text) {
            self.json(&document, depth);
            for number in numbers(text) {
                self.add(Part::Value, number.as_bytes());
            }
        }
        self.netrc(text);
        let mut body: Option<Vec<u8>> = None;
        for line in text.lines().map(str::trim) {
            if line.starts_with("-----") {
                // The lines between two of these belong together, however they are wrapped.
                if let Some(body) = body.replace(Vec::new()) {
                    self.add(Part::Body, &body);
                }
                continue;
            }
            if let Some(body) = &mut body {
                body.extend_from_slice(line.as_bytes());
            }
            self.line(line);
        }
    }

    fn line(&mut self, line: &str) {
        let comment = ["#", ";", "//"].iter().any(|start| line.starts_with(start));
        let heading = line.starts_with('[') && line.ends_with(']') && !line.contains(['"', '\'']);
        // An address of npm's registry begins like a comment: `//host/:_authToken=…`.
        if (comment && !line.contains('=')) || heading {
            return;
        }
        let values: Vec<&str> = ['=', ':']
            .iter()
            .filter_map(|separator| line.split_once(*separator))
            .filter(|(name, _)| is_name(name))
            .map(|(_, value)| unquoted(value))
            .collect();
        if !values.iter().any(|value| is_trivial(value)) && !is_public(line) && !comment {
            self.add(Part::Line, line.as_bytes());
        }
        for value in values {
            self.value(value);
        }
        for string in quoted(line) {
            self.value(string);
        }
    }

    fn json(&mut self, value: &Value, depth: usize) {
        match value {
            Value::String(text) => {
                self.value(text);
                self.text(text, depth + 1);
            }
            Value::Array(items) => items.iter().for_each(|item| self.json(item, depth)),
            Value::Object(fields) => fields.values().for_each(|item| self.json(item, depth)),
            // Numbers as they are written: [`numbers`].
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// `machine HOST login ME password WORD`, in one line or in several.
    fn netrc(&mut self, text: &str) {
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            if matches!(word, "password" | "passwd" | "account")
                && let Some(value) = words.next()
            {
                self.value(unquoted(value));
            }
        }
    }
}

/// The numbers of a JSON text with [`LEAST`] digits or more: PINs, and ids that open something.
fn numbers(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut in_string, mut escaped, mut start) = (false, false, None);
    for (at, byte) in text.bytes().enumerate().chain([(text.len(), b' ')]) {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        let part = byte.is_ascii_digit() || b"+-.eE".contains(&byte);
        match (start, part) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                start = None;
                let number = text[from..at].trim_start_matches(['-', '+']);
                if number.bytes().filter(u8::is_ascii_digit).count() >= LEAST {
                    found.push(number);
                }
            }
            _ => {}
        }
        in_string = byte == b'"';
    }
    found
}

/// Whether what stands before a `=` or `:` names what comes behind it.
fn is_name(text: &str) -> bool {
    let text = unquoted(text.trim().trim_start_matches("export "));
    !text.is_empty()
        && text.len() <= 200
        && !matches!(text, "http" | "https" | "git+https")
        && !text.contains(char::is_whitespace)
        && !text.contains(['"', '\'', '{'])
}

/// Without the comma of JSON and one pair of quotation marks.
fn unquoted(text: &str) -> &str {
    let text = text.trim().trim_end_matches([',', ';']).trim();
    for mark in ['"', '\''] {
        if let Some(inner) = text
            .strip_prefix(mark)
            .and_then(|text| text.strip_suffix(mark))
        {
            return inner;
        }
    }
    text
}

/// The strings in quotation marks in a line that are not names in JSON.
fn quoted(line: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = line;
    while let Some(start) = rest.find(['"', '\'']) {
        let mark = &rest[start..=start];
        let inner = &rest[start + 1..];
        let mut escaped = false;
        let end = inner.char_indices().find(|(_, c)| {
            let here = !escaped && mark.starts_with(*c);
            escaped = !escaped && *c == '\\';
            here
        });
        let Some((end, _)) = end else {
            break;
        };
        rest = &inner[end + 1..];
        if !rest.trim_start().starts_with(':') {
            found.push(&inner[..end]);
        }
    }
    found
}

/// A value that many projects have, so that its line identifies nothing: `DEBUG=false`.
fn is_trivial(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    value.is_empty()
        || is_public(value)
        || matches!(
            lower.as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "none" | "null" | "{" | "["
        )
        || (value.len() <= 5 && value.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What files of secrets have in common: it stands in programs that read them, too.
fn is_public(value: &str) -> bool {
    const WORDS: [&str; 5] = [
        "service_account",
        "authorized_user",
        "external_account",
        "impersonated_service_account",
        "googleapis.com",
    ];
    // The head of every key of OpenSSH without a passphrase, in base64.
    const OPENSSH: &str = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAAB";
    WORDS.contains(&value) || value.starts_with(OPENSSH) || is_public_address(value)
}

/// An address with no login, no query and only plain words in its path. (An address of a webhook is a
/// secret.)
fn is_public_address(value: &str) -> bool {
    let Some(rest) = ["https://", "http://"]
        .iter()
        .find_map(|scheme| value.strip_prefix(scheme))
    else {
        return false;
    };
    let mut parts = rest.split('/');
    let host = parts.next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
    let host_is_plain = host.chars().all(|c| plain(c) || c == ':');
    host_is_plain
        && parts.all(|part| {
            part.len() <= 16
                && part.chars().all(plain)
                && part.chars().filter(char::is_ascii_digit).count() <= 2
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(secret: &str) -> Vec<String> {
        fields(secret.as_bytes())
            .into_iter()
            .map(|(_, bytes)| String::from_utf8(bytes).unwrap())
            .collect()
    }

    fn has(secret: &str, part: &str) -> bool {
        found(secret).iter().any(|found| found == part)
    }

    #[test]
    fn every_field_counts() {
        let json = "{\"type\": \"service_account\",\n \"private_key_id\": \"1f2e3d4c5b6a\", \"nested\": [{\"x\": \"deep \\\"word\\\" \\u0041\"}],\n \"auth_uri\": \"https://accounts.google.com/o/oauth2/auth\",\n\"key\": \"-----BEGIN X-----\\nAbcdefghij\\nKlmnopqrst\\n-----END X-----\\n\"}";
        for (secret, part) in [
            ("A=first-word\nB=second-word\n", "second-word"),
            ("A=first-word\nexport B='second word'\n", "second word"),
            ("A=first-word\nB=second-word\n", "B=second-word"),
            ("a: \"yaml-word\"\nb: x", "yaml-word"),
            ("x = [\"in-a-list\", 'and-another']", "and-another"),
            ("//registry.npmjs.org/:_authToken=npm_word\nx=y", "npm_word"),
            ("{\"a\":[1,12345678],\"b\":2}", "12345678"),
            (
                "{\"pin\":-1234567890123456789012,\"b\":2}",
                "1234567890123456789012",
            ),
            ("machine h login me password netrc-word\n", "netrc-word"),
            (
                "machine h\n  login me\n  password netrc-word\n",
                "netrc-word",
            ),
            (
                "DATABASE_URL=postgres://me:db-password@h/x\nA=b",
                "db-password",
            ),
            (
                "URL=https://hooks.example.com/services/T0001/x\nA=b",
                "https://hooks.example.com/services/T0001/x",
            ),
            ("line one is long\nline two is long", "line two is long"),
            (json, "1f2e3d4c5b6a"),
            (json, "deep \"word\" A"),
            (json, "Klmnopqrst"),
            (json, "AbcdefghijKlmnopqrst"),
            (
                "-----BEGIN X-----\nAbcdefghij\nKlmnopqrst\n-----END X-----\n",
                "AbcdefghijKlmnopqrst",
            ),
            ("\u{feff}A=with-a-mark\r\nB=second\r\n", "B=second"),
        ] {
            assert!(has(secret, part), "{part}: {:?}", found(secret));
        }
    }

    #[test]
    fn what_stands_everywhere_does_not_count() {
        let json = "{\n\"type\": \"service_account\",\n\"project_identifier\": \"opal-project\",\n\"auth_uri\": \"https://accounts.google.com/o/oauth2/auth\"\n}";
        for (secret, part) in [
            ("DEBUG_MODE=false\nA=long-enough", "DEBUG_MODE=false"),
            ("[global-section]\nA=long-enough", "[global-section]"),
            ("# a comment here\nA=long-enough", "# a comment here"),
            (
                "index-url = https://pypi.org/simple\nA=long-enough",
                "https://pypi.org/simple",
            ),
            (
                "index-url = https://pypi.org/simple\nA=long-enough",
                "index-url = https://pypi.org/simple",
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nAbcdefghij\n-----END PRIVATE KEY-----",
                "-----BEGIN PRIVATE KEY-----",
            ),
            (json, "service_account"),
            (json, "project_identifier"),
            (json, "\"type\": \"service_account\","),
            (json, "https://accounts.google.com/o/oauth2/auth"),
            ("A=seven77\nB=long-enough", "seven77"),
        ] {
            assert!(!has(secret, part), "{part}: {:?}", found(secret));
        }
        assert!(has(json, "opal-project"));
        assert!(fields(b"seven77").is_empty());
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_fields(text in "[ -~\n\"':={}]{0,200}") {
            for (_, field) in fields(text.as_bytes()) {
                proptest::prop_assert!(field.len() >= LEAST);
            }
        }
    }
}
