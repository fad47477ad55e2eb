//! Secrets in layers: found by the name of a file, and by the content of any file.
//!
//! A secret is reported by its kind and its file's path; its bytes are in no report.

mod content;
mod disguised;
mod files;
pub(super) mod keys;
mod tokens;

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) use content::Scanner;
pub(super) use files::{
    IN_CODE, MAX_FILE, by_content, by_name, has_login, has_login_in_url, is_read, is_secret_name,
    is_value,
};
pub use tokens::tokens_in;

/// What kind of secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum SecretKind {
    /// A private key in PEM or DER form, an SSH key, or a key store.
    PrivateKey,
    /// A token of this service, recognised by its form.
    Token(&'static str),
    /// A file whose purpose is to hold secrets (`.env`, `.netrc` …), and its kind.
    File(&'static str),
    /// A login in a file that does not always have one (`pip.conf`, `.npmrc` …).
    Credentials(&'static str),
    /// The `.git` directory: the complete history of the repository.
    Repository,
}

impl SecretKind {
    /// The stored form: its name, and the service or file.
    fn written(self) -> (Cow<'static, str>, Cow<'static, str>) {
        let (name, label) = match self {
            Self::PrivateKey => ("private-key", ""),
            Self::Repository => ("repository", ""),
            Self::Token(service) => ("token", service),
            Self::File(what) => ("file", what),
            Self::Credentials(of) => ("credentials", of),
        };
        (name.into(), label.into())
    }
}

impl Serialize for SecretKind {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.written().serialize(to)
    }
}

impl<'de> Deserialize<'de> for SecretKind {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (name, label) = <(String, String)>::deserialize(from)?;
        let label = || {
            tokens::services()
                .chain(files::LABELS)
                .find(|known| *known == label)
                .ok_or_else(|| D::Error::custom("a kind of secret that is not known"))
        };
        match name.as_str() {
            "private-key" => Ok(Self::PrivateKey),
            "repository" => Ok(Self::Repository),
            "token" => Ok(Self::Token(label()?)),
            "file" => Ok(Self::File(label()?)),
            "credentials" => Ok(Self::Credentials(label()?)),
            _ => Err(D::Error::custom("a kind of secret that is not known")),
        }
    }
}

/// Finds the tokens in a text in memory (labels, variables, history).
pub(super) fn in_text(text: &[u8]) -> Vec<SecretKind> {
    let mut scanner = Scanner::new();
    scanner.feed(text);
    scanner.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn kinds_are_read_as_they_were_written() {
        let files = files::LABELS
            .into_iter()
            .flat_map(|label| [SecretKind::File(label), SecretKind::Credentials(label)]);
        let kinds = [SecretKind::PrivateKey, SecretKind::Repository]
            .into_iter()
            .chain(tokens::services().map(SecretKind::Token))
            .chain(files);
        for kind in kinds {
            let bytes = postcard::to_stdvec(&kind).unwrap();
            assert_eq!(postcard::from_bytes::<SecretKind>(&bytes), Ok(kind));
        }
        let unknown = postcard::to_stdvec(&("token", "of nobody")).unwrap();
        assert!(postcard::from_bytes::<SecretKind>(&unknown).is_err());
    }

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
