//! One wheel file: name, version, hash, and the address to fetch it from.

use serde::{Deserialize, Serialize};

use super::secrets::without_credentials;

/// One wheel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Pin {
    /// Normalized (PEP 503).
    pub(super) name: String,
    pub(super) version: String,
    /// SHA-256 of the wheel, hexadecimal.
    pub(super) wheel: String,
}

/// A wheel and its address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct LockedWheel {
    #[serde(flatten)]
    pub(super) pin: Pin,
    #[serde(flatten)]
    pub(super) artifact: Artifact,
}

impl LockedWheel {
    /// The same, from this index unless another is known.
    pub(super) fn in_index(mut self, index: Option<&str>) -> Self {
        if self.artifact.index.is_none() {
            self.artifact.index = index.map(without_credentials);
        }
        self
    }
}

/// The address of a wheel, without credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Artifact {
    pub(super) file: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    /// The address in this build: the URL with everything, such as a login.
    #[serde(skip)]
    pub(super) download: Option<String>,
}

impl Artifact {
    /// As the resolver names them. A URL loses its login, its query (which may be a login) and its fragment.
    pub(super) fn new(
        name: Option<&str>,
        url: Option<&str>,
        index: Option<&str>,
        size: Option<u64>,
    ) -> Self {
        let clean = |url: &str| {
            let url = url.split(['?', '#']).next().unwrap_or(url);
            let web = url.starts_with("https://") || url.starts_with("http://");
            web.then(|| without_credentials(url))
        };
        let download = url.map(str::to_owned);
        let url = url.and_then(clean);
        let last = url.as_deref().and_then(|url| url.rsplit('/').next());
        Self {
            file: name.or(last).unwrap_or_default().to_owned(),
            index: index.and_then(clean),
            url,
            size,
            download,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_credential_gets_into_an_artifact() {
        let artifact = Artifact::new(
            None,
            Some("https://me:secret@x.example/a/y-1-py3-none-any.whl?token=t#sha256=0"),
            Some("https://me:secret@x.example/simple"),
            None,
        );
        assert_eq!(artifact.file, "y-1-py3-none-any.whl");
        assert_eq!(
            artifact.url.as_deref(),
            Some("https://x.example/a/y-1-py3-none-any.whl")
        );
        assert_eq!(artifact.index.as_deref(), Some("https://x.example/simple"));
        assert_eq!(
            Artifact::new(None, Some("file:///x.whl"), None, None).url,
            None
        );
    }
}
