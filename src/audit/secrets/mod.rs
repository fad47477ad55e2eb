//! Secrets in layers: by the name of a file, and by what any file holds.
//!
//! A secret is reported by its kind and its file's path; its bytes never leave this module.

mod content;
mod files;
pub(super) mod keys;
mod tokens;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) use content::Scanner;
pub(super) use files::{
    MAX_FILE, by_content, by_name, has_login, has_login_in_url, is_read, is_secret_name, is_value,
};
pub use tokens::tokens_in;

/// What kind of secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SecretKind {
    /// A private key in PEM or DER form, an SSH key, or a key store.
    PrivateKey,
    /// A token of this service, told by its form.
    Token(&'static str),
    /// A file that is there to hold secrets (`.env`, `.netrc` …), and what it is.
    File(&'static str),
    /// A login in a file that may be without one (`pip.conf`, `.npmrc` …).
    Credentials(&'static str),
    /// The `.git` directory: all that ever was in the repository.
    Repository,
}

const PLAIN: [(SecretKind, &str); 2] = [
    (SecretKind::PrivateKey, "private-key"),
    (SecretKind::Repository, "repository"),
];

impl SecretKind {
    /// The word under which it can be written down and read again, if there is one.
    pub(super) fn word(self) -> Option<&'static str> {
        PLAIN
            .iter()
            .find(|(kind, _)| *kind == self)
            .map(|(_, word)| *word)
    }
}

impl Serialize for SecretKind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.word().unwrap_or_default().serialize(to)
    }
}

impl<'de> Deserialize<'de> for SecretKind {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        PLAIN
            .iter()
            .find(|(_, word)| *word == text)
            .map(|(kind, _)| *kind)
            .ok_or_else(|| D::Error::custom("no kind of secret that is written down"))
    }
}

/// Tells which tokens stand in a text that is held in memory (labels, variables, history).
pub(super) fn in_text(text: &[u8]) -> Vec<SecretKind> {
    let mut scanner = Scanner::new();
    scanner.feed(text);
    scanner.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
            let _ = in_text(&bytes);
            for name in [".env", "root/.netrc", "etc/pip.conf", ".docker/config.json", ".npmrc"] {
                let _ = by_content(name.as_bytes(), &bytes);
            }
        }
    }
}
