//! What an image is made of, collected from its layers, the store and the audit; and the HTML page about it.
//!
//! ```text
//!  image ─► contents (one pass over each layer) ─► files, distributions ─┐
//!  store ─► shared layers, notes of the build ───────────────────────────┼─► Inspection ─► page (HTML)
//!  audit ─► findings ────────────────────────────────────────────────────┘        └─ changes ─┘
//! ```
//!
//! Here: facts, and the page for a browser. Not here: output on a terminal (`cli`). Names of files and
//! the metadata of packages are hostile: counts and lengths are bounded, and the template escapes all
//! text in the page.

mod changes;
mod contents;
mod distributions;
mod map;
mod page;

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::Value;

use crate::audit::{self, AuditError, Date, Policy, Report};
use crate::pipeline::{BuildNotes, PLAN_LABEL};
use crate::store::{Image, Store, StoreError};

pub use changes::{Changes, DistributionChange};
pub use contents::Contents;
pub use distributions::Distribution;
pub use page::page;

/// Why an image could not be inspected.
#[derive(Debug, thiserror::Error)]
pub enum InspectionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error("layer {number} of `{name}` could not be read")]
    Layer {
        name: String,
        /// From 1, the lowest.
        number: usize,
        #[source]
        source: crate::layer::LayerError,
    },
    #[error("the report of `{name}` could not be written: {problem}")]
    Page { name: String, problem: String },
}

/// A layer, the lowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    pub digest: String,
    /// Compressed.
    pub size: u64,
    /// `base`, `builder`, `dependencies` or `application`; `base` if it is not known.
    pub kind: &'static str,
    pub made_by: String,
    /// Names of other images in the store that share it.
    pub shared: Vec<String>,
}

/// The kinds of layers, in their order.
pub const KINDS: [&str; 4] = ["base", "builder", "dependencies", "application"];

/// The layers of an image, only from its documents and the store; no layer is read.
pub fn layers(store: &Store, name: &str, image: &Image) -> Result<Vec<Layer>, InspectionError> {
    let judged = audit::from_store(store, name, image)?;
    let mut users: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for named in store.images()? {
        // An unreadable image counts as sharing nothing.
        let Ok(other) = store.image_at(&named.descriptor) else {
            continue;
        };
        if other.descriptor.digest() == image.descriptor.digest() {
            continue;
        }
        for layer in other.manifest.layers() {
            let names = users.entry(layer.digest().to_string()).or_default();
            if names.last() != Some(&named.name) {
                names.push(named.name.clone());
            }
        }
    }
    let blobs = image.manifest.layers().iter();
    Ok(blobs
        .zip(judged.layers)
        .map(|(blob, info)| {
            let made_by = info.created_by.unwrap_or_default();
            let digest = blob.digest().to_string();
            Layer {
                size: blob.size(),
                kind: info.kind.unwrap_or(KINDS[0]),
                made_by: made_by
                    .strip_prefix("warpdrive: ")
                    .unwrap_or(&made_by)
                    .to_owned(),
                shared: users.get(&digest).cloned().unwrap_or_default(),
                digest,
            }
        })
        .collect())
}

/// Everything that an image is made of.
#[derive(Debug)]
pub struct Inspection {
    /// As it was asked for.
    pub name: String,
    pub image: Image,
    pub layers: Vec<Layer>,
    pub contents: Contents,
    pub distributions: Vec<Distribution>,
    pub plan: Vec<(String, String)>,
    pub notes: Option<BuildNotes>,
    pub audit: Report,
}

impl Inspection {
    /// Reads all layers. With `content`, files of the same size can be compared.
    pub fn of(
        store: &Store,
        name: &str,
        image: Image,
        content: bool,
    ) -> Result<Self, InspectionError> {
        let judged = audit::from_store(store, name, &image)?;
        let contents = Contents::read(name, &judged, content)?;
        let today = Date::of(SystemTime::now()).ok_or(AuditError::Clock)?;
        let audit = audit::audit_remembering(store, &judged, &Policy::default(), today)?;
        drop(judged);
        Ok(Self {
            name: name.to_owned(),
            layers: layers(store, name, &image)?,
            distributions: distributions::of(&contents),
            contents,
            plan: plan(&image),
            notes: BuildNotes::of(store, image.descriptor.digest())?,
            audit,
            image,
        })
    }
}

/// The distributions of an image.
pub fn packages(
    store: &Store,
    name: &str,
    image: &Image,
) -> Result<Vec<Distribution>, InspectionError> {
    let judged = audit::from_store(store, name, image)?;
    Ok(distributions::of(&Contents::read(name, &judged, false)?))
}

/// The start plan from the build's record, one line for each fact.
pub fn plan(image: &Image) -> Vec<(String, String)> {
    let text = image.config.label(PLAN_LABEL).unwrap_or_default();
    let mut rows = Vec::new();
    if let Ok(Value::Object(plan)) = serde_json::from_str(text) {
        for (key, value) in &plan {
            flatten(key, value, &mut rows);
        }
    }
    rows
}

fn flatten(key: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(&format!("{key}.{name}"), value, rows);
            }
        }
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            if !items.is_empty() {
                rows.push((key.to_owned(), items.join(", ")));
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                flatten(&format!("{key}.{}", index + 1), value, rows);
            }
        }
        Value::String(text) if text.is_empty() => {}
        Value::String(text) => rows.push((key.to_owned(), text.clone())),
        other => rows.push((key.to_owned(), other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_a_line_for_each_thing() {
        let plan = serde_json::json!({"start": {"mode": "server", "server": "gunicorn"},
            "hooks": ["build", "deploy"], "home": "", "static_files": [{"url": "/s/"}], "version": 1});
        let mut rows = Vec::new();
        for (key, value) in plan.as_object().unwrap() {
            flatten(key, value, &mut rows);
        }
        let rows: Vec<String> = rows.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            rows,
            [
                "hooks=build, deploy",
                "start.mode=server",
                "start.server=gunicorn",
                "static_files.1.url=/s/",
                "version=1"
            ]
        );
    }
}
