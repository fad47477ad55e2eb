//! What an image records about its own build, for `verify-build`: label [`LABEL_BUILD`].
//!
//! It is enough to build the image again, and contains nothing private: no path of the machine,
//! no credential, neither name nor value of a build variable or secret, only their number.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::oci::{Digest, ImageConfig, to_canonical_json};
use crate::source::Commit;

use super::error::BuildError;
use super::report::NameAndDigest;
use super::request::Request;
use super::s2i::Options;

/// Label: how the image was built, as JSON.
pub const LABEL_BUILD: &str = "io.warpdrive.build";

/// The version of the record that this release writes and reads.
const VERSION: u32 = 1;

/// How an image was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildRecord {
    pub version: u32,
    /// The release that made it.
    pub warpdrive: String,
    pub source: SourceRecord,
    pub builder: NameAndDigest,
    /// The image below the application, if it is another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<NameAndDigest>,
    /// `SOURCE_DATE_EPOCH`, where it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_date_epoch: Option<i64>,
    pub harden: bool,
    /// The compression of the layers that the build wrote.
    pub compression: String,
    /// Names of the variables of `--env`; the values are in the image's environment.
    pub env: Vec<String>,
    /// How many variables were for the build only.
    pub build_env: usize,
    /// How many secrets were for the build only.
    pub secrets: usize,
    /// Distributions, by name: normalized name and version.
    pub resolved: Vec<(String, String)>,
    /// The files that they were installed from, where the resolver named them: name of the wheel and
    /// its SHA-256.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub wheels: BTreeMap<String, String>,
    /// With an S2I builder: the protocol's own options.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s2i: Option<Options>,
}

/// What was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRecord {
    /// The digest of the build's input: paths, content, modes, links.
    pub digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// The files differed from the commit.
    #[serde(default)]
    pub dirty: bool,
    /// Without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The directory of the repository that is the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_dir: Option<String>,
    /// Its submodules were not fetched.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub without_submodules: bool,
}

impl BuildRecord {
    pub(super) fn new(
        request: &Request,
        source: &Digest,
        commit: Option<&Commit>,
        builder: NameAndDigest,
        runtime: Option<NameAndDigest>,
    ) -> Self {
        Self {
            version: VERSION,
            warpdrive: env!("CARGO_PKG_VERSION").to_owned(),
            source: SourceRecord {
                digest: source.to_string(),
                commit: commit.map(|commit| commit.id.clone()),
                dirty: commit.is_some_and(|commit| commit.dirty),
                remote: commit.and_then(|commit| commit.remote.clone()),
                context_dir: request
                    .source
                    .context_dir
                    .as_ref()
                    .map(|path| path.to_string_lossy().into_owned()),
                without_submodules: !request.source.submodules,
            },
            builder,
            runtime,
            source_date_epoch: request.source_date_epoch,
            harden: request.harden,
            compression: request.compression.to_string(),
            env: request.env.iter().map(|(name, _)| name.clone()).collect(),
            build_env: request.build_env.len(),
            secrets: request.secrets.len(),
            resolved: Vec::new(),
            wheels: BTreeMap::new(),
            s2i: None,
        }
    }

    pub(super) fn to_label(&self) -> Result<String, BuildError> {
        Ok(String::from_utf8_lossy(&to_canonical_json(self)?).into_owned())
    }

    /// Reads it from an image.
    pub fn of(config: &ImageConfig) -> Result<Self, BuildError> {
        let wrong = |problem: String| BuildError::NoRecord { problem };
        let text = config
            .label(LABEL_BUILD)
            .ok_or_else(|| wrong(format!("it has no label {LABEL_BUILD}")))?;
        let record: Self = serde_json::from_str(text)
            .map_err(|error| wrong(format!("its label {LABEL_BUILD} is not readable: {error}")))?;
        if record.version != VERSION {
            return Err(wrong(format!(
                "its record is of form {}, and this release reads {VERSION}",
                record.version
            )));
        }
        Ok(record)
    }

    /// The parts of a request that the image decides: everything that does not depend on the
    /// machine or the time.
    pub fn put_into(&self, request: &mut Request, config: &ImageConfig) -> Result<(), BuildError> {
        request.builder = Some(self.builder.reference.clone());
        request.runtime_image = self
            .runtime
            .as_ref()
            .map(|runtime| runtime.reference.clone());
        request.harden = self.harden;
        request.compression = self
            .compression
            .parse()
            .map_err(|problem| BuildError::NoRecord { problem })?;
        request.source_date_epoch = self.source_date_epoch;
        request.env = self.variables(config)?;
        Ok(())
    }

    /// The variables of `--env`, with the values that the image has.
    fn variables(&self, config: &ImageConfig) -> Result<Vec<(String, String)>, BuildError> {
        let env = config.env();
        self.env
            .iter()
            .map(|name| {
                env.iter()
                    .find(|(own, _)| own == name)
                    .cloned()
                    .ok_or_else(|| BuildError::NoRecord {
                        problem: format!(
                            "its record names the variable `{}`, which it does not have",
                            name.escape_debug()
                        ),
                    })
            })
            .collect()
    }

    /// The resolved versions as a list of constraints.
    pub(super) fn constraints(&self) -> String {
        let good = |text: &str, more: &str| {
            !text.is_empty()
                && text
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || more.contains(c))
        };
        let mut list = String::new();
        for (name, version) in &self.resolved {
            if good(name, "-") && good(version, ".+!-_") {
                let _ = writeln!(list, "{name}=={version}");
            }
        }
        list
    }
}
