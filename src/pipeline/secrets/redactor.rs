//! Output without secrets.

use std::collections::{BTreeMap, BTreeSet};

use aho_corasick::{AhoCorasick, MatchKind};

use crate::progress::without_logins;

use super::fields::{LEAST, fields};
use super::forms::{Form, forms, printed};
use super::logins::{credentials, is_secret, passwords};

/// Shorter words would make the output unreadable and are not secrets worth the name.
const SHORTEST: usize = 4;

/// Longest word whose further forms are looked for: each form is several times as long.
const LONGEST_PRINTED: usize = 256;

/// Replaces what must not be shown: secrets and the credentials of URLs.
pub(in super::super) struct Redactor {
    /// `None`: there is nothing to look for.
    words: Option<AhoCorasick>,
}

impl Redactor {
    /// Of the logins in variables, of those whose name says that they are secret, and of secrets.
    pub(in super::super) fn new<'a>(
        host_env: &BTreeMap<String, String>,
        build_env: &[(String, String)],
        secrets: impl Iterator<Item = &'a [u8]>,
    ) -> Self {
        let mut words: BTreeSet<Vec<u8>> = BTreeSet::new();
        let said = build_env.iter().map(|(name, value)| (name, value));
        for (name, value) in host_env.iter().chain(said) {
            let found = credentials(value).into_iter().chain(passwords(value));
            words.extend(found.map(String::into_bytes));
            if is_secret(name) {
                words.insert(value.trim().as_bytes().to_vec());
            }
        }
        for secret in secrets {
            if let Ok(text) = std::str::from_utf8(secret) {
                // A line is masked although it is too short to be looked for in an image.
                let lines = text.lines().map(str::trim);
                let short = lines.filter(|line| line.len() < LEAST);
                words.extend(short.map(|line| line.as_bytes().to_vec()));
            }
            for (_, field) in fields(secret) {
                for (form, bytes) in forms(&field) {
                    // What the program printed was made text before it comes here.
                    if form != Form::Utf16 {
                        words.insert(bytes);
                    }
                }
                if field.len() <= LONGEST_PRINTED {
                    words.extend(printed(&field));
                }
                words.insert(field);
            }
        }
        Self::of(words)
    }

    pub(in super::super) fn of(words: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let words: Vec<Vec<u8>> = words
            .into_iter()
            .filter(|word| word.len() >= SHORTEST && !word.contains(&b'\n'))
            .collect();
        let words = (!words.is_empty()).then(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(words)
                .ok()
        });
        Self {
            words: words.flatten(),
        }
    }

    pub(in super::super) fn clean(&self, line: &str) -> String {
        let line = without_logins(line);
        let Some(words) = &self.words else {
            return line.into_owned();
        };
        let mut clean = Vec::with_capacity(line.len());
        words.replace_all_with_bytes(line.as_bytes(), &mut clean, |_, _, into| {
            into.extend_from_slice(b"****");
            true
        });
        String::from_utf8_lossy(&clean).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_a_secret_is_escaped_it_is_not_shown() {
        let secret = br#"hunter2-Xyz"q\z&<'>"#;
        let redactor = Redactor::new(&BTreeMap::new(), &[], [&secret[..]].into_iter());
        for written in [
            r#"hunter2-Xyz"q\\z&<\'>"#,
            r#"hunter2-Xyz\"q\\z&<'>"#,
            r"hunter2-Xyz&quot;q\z&amp;&lt;&#39;&gt;",
            r"hunter2-Xyz&#34;q\z&amp;&lt;&#39;&gt;",
            "%68%75%6e%74%65%72%32%2d%58%79%7a%22%71%5c%7a%26%3c%27%3e",
        ] {
            assert_eq!(redactor.clean(&format!("got {written}!")), "got ****!");
        }
    }

    #[test]
    fn whatever_prints_a_secret_it_is_not_shown() {
        let secret = b"s3/t0 k+";
        let redactor = Redactor::new(&BTreeMap::new(), &[], [&secret[..]].into_iter());
        for written in [
            "s3/t0%20k%2B",
            "s3/t0%20k%2b",
            "s3%2Ft0+k%2B",
            "s3%2Ft0%20k%2B",
            r"\x73\x33\x2f\x74\x30\x20\x6b\x2b",
            "&#115;&#51;&#47;&#116;&#48;&#32;&#107;&#43;",
            "73 33 2f 74 30 20 6b 2b",
            "73:33:2F:74:30:20:6B:2B",
            "0x73, 0x33, 0x2f, 0x74, 0x30, 0x20, 0x6b, 0x2b",
            "115, 51, 47, 116, 48, 32, 107, 43",
        ] {
            assert_eq!(redactor.clean(&format!("got {written}!")), "got ****!");
        }
    }

    #[test]
    fn output_shows_no_secret() {
        let redactor = Redactor::of([b"hunter22".to_vec(), b"hunter22 long".to_vec()]);
        assert_eq!(redactor.clean("got hunter22!"), "got ****!");
        assert_eq!(redactor.clean("got hunter22 long!"), "got ****!");
        assert_eq!(redactor.clean("é"), "é");
        let nothing = Redactor::of([b"abc".to_vec()]);
        assert_eq!(nothing.clean("abc https://u:p@h/"), "abc https://****@h/");
    }
}
