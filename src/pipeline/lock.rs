//! What was installed, to the file: recorded in the image, and as a lock file (PEP 751) for
//! `image --write-lock`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::dependencies::Dependencies;
use super::fragments::Pin;
use super::secrets::without_credentials;

/// A wheel, and where it is to be had.
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

/// Where a wheel is to be had; no credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Artifact {
    pub(super) file: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    /// Where it is fetched from in this build: the URL with all that it may have.
    #[serde(skip)]
    pub(super) download: Option<String>,
}

impl Artifact {
    /// As the resolver has them. A URL loses its login, its query (which may be one) and its fragment.
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

/// The wheels' file names and their SHA-256, for the image's record.
pub(super) fn files(dependencies: &Dependencies) -> BTreeMap<String, String> {
    let wheels = dependencies.wheels.iter();
    wheels
        .map(|wheel| (wheel.artifact.file.clone(), wheel.pin.wheel.clone()))
        .collect()
}

/// The lock file of what was installed. `list` is the digest of the list that it came from. `None`
/// where a file is not known: something was built, or is not from an index.
pub(super) fn text(dependencies: &Dependencies, python: &str, list: &str) -> Option<String> {
    if dependencies.wheels.len() != dependencies.resolved.len() {
        return None;
    }
    let mut text = format!(
        "# Written by `warpdrive image --write-lock`; `warpdrive image` goes by it, and so does\n\
         # `uv pip install -r`.\n\
         lock-version = \"1.0\"\n\
         created-by = \"warpdrive\"\n\
         requires-python = \"=={python}.*\"\n"
    );
    if dependencies.wheels.is_empty() {
        text.push_str("packages = []\n");
    }
    for LockedWheel { pin, artifact } in &dependencies.wheels {
        let _ = write!(
            text,
            "\n[[packages]]\nname = {}\nversion = {}\n",
            quoted(&pin.name),
            quoted(&pin.version)
        );
        if let Some(index) = &artifact.index {
            let _ = writeln!(text, "index = {}", quoted(index));
        }
        let url = artifact.url.as_ref()?;
        let _ = write!(
            text,
            "wheels = [{{ name = {}, url = {}, ",
            quoted(&artifact.file),
            quoted(url)
        );
        if let Some(size) = artifact.size {
            let _ = write!(text, "size = {size}, ");
        }
        let _ = writeln!(text, "hashes = {{ sha256 = {} }} }}]", quoted(&pin.wheel));
    }
    let _ = write!(
        text,
        "\n# Of the list of requirements that this was resolved from.\n[tool.warpdrive]\nlist = {}\n",
        quoted(list)
    );
    Some(text)
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
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
