//! Finds what is needed: everything that names and containers lead to, through indexes, manifests
//! and configurations.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;
use walkdir::WalkDir;

use crate::oci::{Digest, MAX_METADATA, parse_digest};

use super::super::{Store, StoreError, names};

/// What is needed: blobs by their hexadecimal digits, trees by their keys.
#[derive(Debug, Default, Clone)]
pub(super) struct Live {
    pub(super) blobs: HashSet<String>,
    pub(super) trees: HashSet<String>,
}

impl Store {
    /// What names and containers need.
    pub(super) fn rooted(&self) -> Result<Live, StoreError> {
        let mut live = Live::default();
        for entry in self.read_index()?.manifests() {
            if names::ref_name(entry).is_some() {
                self.need(entry.digest(), &mut live);
            }
        }
        for file in WalkDir::new(self.containers_dir()).max_depth(2) {
            let Ok(file) = file else { continue };
            let is_record = file.path().extension().is_some_and(|e| e == "json");
            if !is_record || !file.file_type().is_file() {
                continue;
            }
            if let Some(value) = read_json(file.path(), 4 * MAX_METADATA) {
                for text in strings(&value) {
                    let last = text.rsplit('/').next().unwrap_or(text);
                    live.trees.insert(last.to_owned());
                    if let Ok(digest) = parse_digest(text) {
                        live.trees.insert(digest.digest().to_owned());
                        self.need(&digest, &mut live);
                    }
                }
            }
        }
        Ok(live)
    }

    /// Adds a blob and, if it is an index, a manifest or a configuration, everything that it names: every
    /// `digest` and everything in `diff_ids`. Labels and annotations need nothing.
    pub(super) fn need(&self, digest: &Digest, live: &mut Live) {
        if !live.blobs.insert(digest.digest().to_owned()) {
            return;
        }
        let Some(document) = read_json(&self.blob_path(digest), MAX_METADATA) else {
            return;
        };
        let mut found = (Vec::new(), Vec::new());
        named(&document, &mut found);
        let (digests, diff_ids) = found;
        live.trees
            .extend(diff_ids.iter().map(|id| id.digest().to_owned()));
        for digest in digests {
            self.need(&digest, live);
        }
    }
}

/// The document of a file, if it is a JSON object or list of at most `max` bytes.
fn read_json(path: &Path, max: u64) -> Option<Value> {
    let mut file = File::open(path).ok()?;
    let metadata = file.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > max {
        return None;
    }
    let mut first = [0];
    file.read_exact(&mut first).ok()?;
    if !matches!(first, [b'{' | b'[']) {
        return None; // a layer
    }
    let mut bytes = first.to_vec();
    file.read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// The values of all `digest` fields, and of all `diff_ids` lists.
fn named(value: &Value, found: &mut (Vec<Digest>, Vec<Digest>)) {
    let digest = |value: &Value| parse_digest(value.as_str()?).ok();
    match value {
        Value::Array(items) => items.iter().for_each(|item| named(item, found)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match (key.as_str(), value) {
                    ("digest", Value::String(_)) => found.0.extend(digest(value)),
                    ("diff_ids", Value::Array(ids)) => {
                        found.1.extend(ids.iter().filter_map(digest));
                    }
                    ("annotations" | "Labels", _) => {}
                    _ => named(value, found),
                }
            }
        }
        _ => {}
    }
}

fn strings(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(strings).collect(),
        Value::Object(fields) => fields.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}
