//! The scripts of the protocol and where each comes from.
//!
//! Each script comes from the first place that has it: `--scripts-url`, `.s2i/bin` of the source
//! (the old name is `.sti/bin`), the image's own label. Scripts that are not in the image are put at
//! `DESTINATION/scripts`, mode 0755.

use std::collections::BTreeMap;

use super::mappings::absolute;

pub const ASSEMBLE: &str = "assemble";
pub const RUN: &str = "run";
pub const SAVE_ARTIFACTS: &str = "save-artifacts";
pub const ASSEMBLE_RUNTIME: &str = "assemble-runtime";
pub const USAGE: &str = "usage";
/// Directories of a source tree that may hold scripts, the newest first.
pub const IN_SOURCE: [&str; 2] = [".s2i/bin", ".sti/bin"];
/// The default directory of scripts in images.
pub const IN_IMAGE: &str = "/usr/libexec/s2i";
/// Largest script, in bytes.
pub const MAX_SCRIPT: u64 = 16 * 1024 * 1024;

/// Where a set of scripts is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScriptsUrl {
    /// `image:///PATH`: a directory inside the image; absolute, clean.
    Image(String),
    /// `file:///PATH`, `file://RELATIVE`: a directory of this machine.
    File(String),
    /// `http://…` or `https://…`, without a trailing slash.
    Web(String),
}

impl ScriptsUrl {
    /// From the user.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.chars().any(char::is_control) {
            return Err("it has control characters".into());
        }
        if let Some(path) = text.strip_prefix("image://") {
            return absolute(path).map(Self::Image);
        }
        if let Some(path) = text.strip_prefix("file://") {
            if path.is_empty() {
                return Err("there is no path in it".into());
            }
            return Ok(Self::File(path.to_owned()));
        }
        for scheme in ["http://", "https://"] {
            if let Some(rest) = text.strip_prefix(scheme) {
                if rest.is_empty() || rest.starts_with('/') {
                    return Err("there is no host in it".into());
                }
                return Ok(Self::Web(text.trim_end_matches('/').to_owned()));
            }
        }
        Err("it begins with none of image://, file://, http:// and https://".into())
    }

    /// From an image's label, which must not name files of this machine.
    pub fn from_image(text: &str) -> Result<Self, String> {
        match Self::parse(text)? {
            Self::File(_) => Err("an image cannot name files of this machine".into()),
            url => Ok(url),
        }
    }
}

/// Where one script is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Where {
    /// An absolute path in the image.
    Image(String),
    /// A script for `DESTINATION/scripts`.
    External {
        content: Vec<u8>,
        /// Where it was found, for people.
        from: String,
    },
}

impl Where {
    /// The path to execute.
    pub fn path(&self, destination: &str, name: &str) -> String {
        match self {
            Self::Image(path) => path.clone(),
            Self::External { .. } => format!("{destination}/scripts/{name}"),
        }
    }
}

/// Scripts by name.
pub type Scripts = BTreeMap<String, Where>;
