//! The result of the dependency phase: layers, and facts about the distributions in them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::oci::{sha256_hex, to_canonical_json};
use crate::rootfs::{self, read_beneath};
use crate::store::{Needs, Record};

use super::base::Base;
use super::deferred::Deferred;
use super::error::BuildError;
use super::locked_wheel::LockedWheel;
use super::split::{self, Distribution};
use super::titled_layer::TitledLayer;
use super::tree::APP_ROOT;

/// Largest RECORD that is read, in bytes.
const MAX_RECORD: u64 = 64 * 1024 * 1024;

/// The result of phase 1, as the build cache keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Dependencies {
    pub(super) layers: Vec<TitledLayer>,
    pub(super) deferred: Vec<Deferred>,
    /// Normalized names and versions.
    pub(super) resolved: Vec<(String, String)>,
    /// Seconds since 1970.
    pub(super) resolved_at: u64,
    /// The trees of the distributions, if each was installed separately ([`super::fragments`]).
    pub(super) trees: Vec<String>,
    /// Names the tree of everything that was installed at once. No other build finds it by its
    /// layers: a tree can contain more than they do.
    #[serde(default)]
    pub(super) tree: Option<String>,
    /// Their wheels, if the resolver named them.
    #[serde(default)]
    pub(super) wheels: Vec<LockedWheel>,
}

impl Record for Dependencies {
    const KIND: &'static str = "dependencies";

    fn needs(&self) -> Needs {
        let layers = self.layers.iter();
        Needs {
            trees: self.trees.clone(),
            ..Needs::blobs(layers.map(|titled| &titled.layer.descriptor))
        }
    }
}

impl Dependencies {
    /// The same with these layers.
    pub(super) fn with(mut self, layers: Vec<TitledLayer>) -> Self {
        self.layers = layers;
        self
    }

    /// The digest of everything that phase 2 sees of phase 1.
    pub(super) fn digest(&self) -> Result<String, BuildError> {
        /// It is a part of keys.
        #[derive(Serialize)]
        struct Document<'d> {
            trees: &'d [String],
            layers: Vec<&'d str>,
            #[serde(rename = "carried")]
            deferred: &'d [Deferred],
        }
        let mut document = Document {
            trees: &self.trees,
            layers: Vec::new(),
            deferred: &self.deferred,
        };
        // The layers may not be written yet; the trees determine them.
        if self.trees.is_empty() {
            let layers = self.layers.iter();
            document.layers = layers.map(|titled| titled.layer.diff_id.as_str()).collect();
        }
        Ok(sha256_hex(&to_canonical_json(&document)?))
    }
}

/// Where distributions are installed, relative to the image's root.
pub(super) fn site_packages(base: &Base) -> PathBuf {
    Path::new(APP_ROOT).join(format!("lib/python{}/site-packages", base.python.minor))
}

/// The installed distributions, by name.
pub(super) fn distributions(upper: &Path, site: &Path) -> Result<Vec<Distribution>, BuildError> {
    let failed = |source| BuildError::Read {
        path: upper.join(site),
        source,
    };
    let mut found = Vec::new();
    for item in rootfs::names_beneath(upper, site).map_err(failed)? {
        let Some((name, version)) = item.to_str().and_then(split::parse_dist_info) else {
            continue;
        };
        let record = site.join(&item).join("RECORD");
        if let Some(bytes) = read_beneath(upper, &record, MAX_RECORD).map_err(failed)? {
            found.push(Distribution {
                name,
                version,
                files: split::parse_record(&String::from_utf8_lossy(&bytes), site),
            });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
