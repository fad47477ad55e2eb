//! Puts fragments together: which of them share a layer, and those layers, each written once.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::builder::FIXED_TIME;
use crate::builder::layer::{StoredLayer, parent_directory};
use crate::layer::{self, Entry, Mtime};
use crate::oci::{sha256_hex, to_canonical_json};
use crate::progress::Unit;
use crate::sandbox::IdMode;
use crate::store::{Needs, Record, Store};

use super::super::context::Context;
use super::super::error::BuildError;
use super::super::locked_wheel::Pin;
use super::super::parallel::two_workers;
use super::super::split::{Distribution, Group, groups};
use super::super::tally::Tally;
use super::super::titled_layer::{LayerWriter, TitledLayer};
use super::super::tree::{normalize, without_implied_directories};
use super::Fragment;

/// A layer that was written before.
#[derive(Serialize, Deserialize)]
struct Written {
    layer: TitledLayer,
}

impl Record for Written {
    const KIND: &'static str = "fragment-layer";

    fn needs(&self) -> Needs {
        Needs::blobs([&self.layer.layer.descriptor])
    }
}

/// The layers of these fragments, which are sorted by name. Those that are large share none.
pub(in super::super) fn layers(
    context: Context<'_>,
    fragments: &[Fragment],
    writer: &LayerWriter<'_>,
    no_cache: bool,
) -> Result<Vec<TitledLayer>, BuildError> {
    let present: Vec<&Fragment> = fragments
        .iter()
        .filter(|fragment| !fragment.files.is_empty())
        .collect();
    let sizes: Vec<(&str, u64)> = present
        .iter()
        .map(|fragment| (fragment.pin.name.as_str(), fragment.size))
        .collect();
    let groups = groups(&sizes);
    let done = Tally::new(context.progress, "compressing", groups.len(), Unit::Things);
    two_workers(&groups, |group, threads| {
        let members: Vec<&Fragment> = group.members().iter().map(|at| present[*at]).collect();
        let layer = layer(context.store, group, &members, writer, threads, no_cache)?;
        done.add(1);
        Ok(layer)
    })
}

/// The layer of one fragment by itself; `None` where it has no file for one.
pub(super) fn of_one(
    store: &Store,
    fragment: &Fragment,
    writer: &LayerWriter<'_>,
) -> Result<Option<StoredLayer>, BuildError> {
    let Some(group) = alone(fragment) else {
        return Ok(None);
    };
    let titled = layer(store, &group, &[fragment], writer, 1, false)?;
    Ok(Some(titled.layer))
}

/// Remembers that this is the layer of one fragment by itself.
pub(super) fn remember_one(
    store: &Store,
    fragment: &Fragment,
    layer: StoredLayer,
    writer: &LayerWriter<'_>,
) -> Result<(), BuildError> {
    let Some(group) = alone(fragment) else {
        return Ok(());
    };
    let layer = TitledLayer {
        layer,
        title: title(&group, &[fragment]),
        cached: false,
    };
    Ok(store.remember(&key(&[fragment], writer)?, &Written { layer })?)
}

/// The group that it is by itself.
fn alone(fragment: &Fragment) -> Option<Group> {
    if fragment.files.is_empty() {
        return None;
    }
    groups(&[(fragment.pin.name.as_str(), fragment.size)])
        .into_iter()
        .next()
}

/// The format of the layers of fragments; a change of their content raises it.
const FORMAT: u32 = 2;

/// What decides the bytes of the layer of these fragments.
fn key(members: &[&Fragment], writer: &LayerWriter<'_>) -> Result<String, BuildError> {
    let trees: Vec<&str> = members.iter().map(|member| member.tree.as_str()).collect();
    let document = serde_json::json!({
        "format": FORMAT,
        "fragments": trees,
        "compression": writer.compression(),
    });
    Ok(sha256_hex(&to_canonical_json(&document)?))
}

fn title(group: &Group, members: &[&Fragment]) -> String {
    let pins: Vec<&Pin> = members.iter().map(|member| &member.pin).collect();
    title_of(group, &pins)
}

/// The same, of distributions that are not here.
pub(super) fn title_of(group: &Group, pins: &[&Pin]) -> String {
    let named: Vec<Distribution> = pins
        .iter()
        .map(|pin| Distribution {
            name: pin.name.clone(),
            version: pin.version.clone(),
            files: Vec::new(),
        })
        .collect();
    group.title(&named.iter().collect::<Vec<_>>())
}

/// The layer of these fragments: as it was written before, or written now.
pub(super) fn layer(
    store: &Store,
    group: &Group,
    members: &[&Fragment],
    writer: &LayerWriter<'_>,
    threads: usize,
    no_cache: bool,
) -> Result<TitledLayer, BuildError> {
    let key = key(members, writer)?;
    if !no_cache && let Some(written) = store.cached::<Written>(&key)? {
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
    let layer = TitledLayer {
        layer: writer.write(&entries, threads)?,
        title: title(group, members),
        cached: false,
    };
    let written = Written { layer };
    store.remember(&key, &written)?;
    Ok(written.layer)
}

/// The entries of a fragment's own tree.
fn files(store: &Store, fragment: &Fragment) -> Result<Vec<Entry>, BuildError> {
    let map = IdMode::current().map_name();
    let tree: PathBuf = store
        .find_unpacked(map, &fragment.tree)
        .ok_or(BuildError::TreesGone)?;
    let wanted: std::collections::HashSet<&Path> =
        fragment.files.iter().map(PathBuf::as_path).collect();
    let scan = layer::scan(&tree, &[])?;
    let entries = normalize(scan.entries, Mtime::Fixed(FIXED_TIME));
    Ok(without_implied_directories(entries)
        .into_iter()
        .filter(|entry| wanted.contains(entry.path.as_path()))
        .collect())
}
