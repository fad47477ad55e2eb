//! Puts fragments together: which of them share a layer, and those layers, each written once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::builder::FIXED_TIME;
use crate::builder::layer::parent_directory;
use crate::layer::{self, Entry, Mtime};
use crate::oci::{Descriptor, sha256_hex, to_canonical_json};
use crate::sandbox::IdMode;
use crate::store::{Store, StoreError};

use super::super::dependencies::{Dependencies, TitledLayer, now, store_layer};
use super::super::error::BuildError;
use super::super::request::Request;
use super::super::split::{Distribution, Group, groups};
use super::super::tree::{normalize, without_implied_directories};
use super::super::two_at_a_time::two_at_a_time;
use super::{Fragment, Outcome};

/// A layer that was written before.
#[derive(Serialize, Deserialize)]
struct Written {
    layer: TitledLayer,
    blobs: Vec<Descriptor>,
}

/// The dependency phase's result; or why these cannot be stacked. The fragments are sorted by name.
pub(super) fn combine(
    store: &Store,
    fragments: Vec<Fragment>,
    request: &Request,
) -> Result<Outcome, BuildError> {
    let mut seen: HashMap<&Path, &str> = HashMap::new();
    for fragment in &fragments {
        for path in &fragment.files {
            if let Some(other) = seen.insert(path, &fragment.pin.name) {
                return Ok(Err(format!(
                    "{other} and {} both have {}",
                    fragment.pin.name,
                    path.display()
                )));
            }
        }
    }
    let present: Vec<&Fragment> = fragments
        .iter()
        .filter(|fragment| !fragment.files.is_empty())
        .collect();
    let sizes: Vec<(&str, u64)> = present
        .iter()
        .map(|fragment| (fragment.pin.name.as_str(), fragment.size))
        .collect();
    let groups = groups(&sizes);
    let layers = two_at_a_time(&groups, |group, threads| {
        let members: Vec<&Fragment> = group.members().iter().map(|at| present[*at]).collect();
        layer(store, group, &members, request, threads)
    })?;
    let mut resolved = Vec::new();
    let mut carried = Vec::new();
    let mut unpacked = Vec::new();
    for fragment in fragments {
        resolved.push((fragment.pin.name, fragment.pin.version));
        carried.extend(fragment.carried);
        unpacked.extend(fragment.unpacked);
    }
    // In the order of a scan of the whole tree.
    carried.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Ok(Dependencies {
        blobs: layers
            .iter()
            .map(|titled| titled.layer.descriptor.clone())
            .collect(),
        layers,
        carried,
        resolved,
        resolved_at: now(),
        unpacked,
        wheels: Vec::new(),
    }))
}

/// The layer of these fragments: as it was written before, or written now.
fn layer(
    store: &Store,
    group: &Group,
    members: &[&Fragment],
    request: &Request,
    threads: usize,
) -> Result<TitledLayer, BuildError> {
    let trees: Vec<&str> = members.iter().map(|member| member.tree()).collect();
    let document = serde_json::json!({
        "format": 1,
        "fragments": trees,
        "compression": request.compression.to_string(),
    });
    let key = sha256_hex(&to_canonical_json(&document));
    if !request.no_cache
        && let Some(written) = store.cached::<Written>("fragment-layer", &key)?
    {
        return Ok(TitledLayer {
            cached: true,
            ..written.layer
        });
    }
    let mut entries: Vec<Entry> = Vec::new();
    for member in members {
        entries.extend(files(store, member)?);
    }
    let entries = layer::with_parents(entries, parent_directory);
    let named: Vec<Distribution> = members
        .iter()
        .map(|member| Distribution {
            name: member.pin.name.clone(),
            version: member.pin.version.clone(),
            files: Vec::new(),
        })
        .collect();
    let layer = TitledLayer {
        layer: store_layer(store, &entries, request, threads)?,
        title: group.title(&named.iter().collect::<Vec<_>>()),
        cached: false,
    };
    let written = Written {
        blobs: vec![layer.layer.descriptor.clone()],
        layer,
    };
    store.remember("fragment-layer", &key, &written)?;
    Ok(written.layer)
}

/// The entries of a fragment's own tree.
fn files(store: &Store, fragment: &Fragment) -> Result<Vec<Entry>, BuildError> {
    let map = IdMode::current().map_name();
    let tree: PathBuf = store
        .find_unpacked(map, fragment.tree())
        .ok_or(StoreError::NoPlace)?;
    let wanted: std::collections::HashSet<&Path> =
        fragment.files.iter().map(PathBuf::as_path).collect();
    let scan = layer::scan(&tree, &[])?;
    let entries = normalize(scan.entries, Mtime::Fixed(FIXED_TIME));
    Ok(without_implied_directories(entries)
        .into_iter()
        .filter(|entry| wanted.contains(entry.path.as_path()))
        .collect())
}
