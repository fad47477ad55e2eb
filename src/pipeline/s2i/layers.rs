//! Makes layers from the changes of scripts: the differences between the merged tree and the
//! image that they ran on.
//!
//! Owners, modes and attributes are as the scripts left them. Times are not: two builds at different
//! hours must give the same layer. A file of the image keeps its time if the scripts did not change
//! its content and time; every other file gets a time that follows from its content (or, in a
//! dependency layer, one fixed time), and byte-code that contains its source's time gets the new one
//! ([`super::bytecode`]).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::builder::FIXED_TIME;
use crate::layer::{self, Entry, Kind, Mtime};
use crate::progress::Progress;
use crate::rootfs::{Seen, Stacked, read_beneath};

use super::super::BuildError;
use super::super::report::LayerKind;
use super::super::split::{self, Distribution};
use super::super::titled_layer::{LayerWriter, TitledLayer};
use super::super::tree::without_implied_directories;
use super::bytecode;
use super::error::S2iBuildError;
use super::owners::Owners;

/// Largest RECORD that is read, in bytes, and most bytes of all of them: beyond it nothing is split.
const MAX_RECORD: u64 = 64 * 1024 * 1024;
const MAX_RECORDS: u64 = 256 * 1024 * 1024;

/// A layer that warpdrive makes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Made {
    #[serde(flatten)]
    pub(super) titled: TitledLayer,
    pub(super) dependencies: bool,
}

impl Made {
    pub(super) fn kind(&self) -> LayerKind {
        if self.dependencies {
            LayerKind::Dependencies
        } else {
            LayerKind::Application
        }
    }
}

/// How changes become layers.
pub(super) struct Plan<'a> {
    /// The layers of the image that the scripts ran on.
    pub(super) below: Stacked<'a>,
    pub(super) owners: &'a Owners,
    /// Reference time of the application's files.
    pub(super) time: i64,
    pub(super) split: bool,
    pub(super) writer: &'a LayerWriter<'a>,
}

/// Writes the changes in an upper directory as layers into the store.
pub(super) fn make(
    upper: &Path,
    plan: &Plan<'_>,
    progress: &dyn Progress,
) -> Result<Vec<Made>, BuildError> {
    let mut scan = layer::scan(upper, &[])?;
    for path in &scan.skipped {
        progress.warning(&format!(
            "{} is neither a file, a directory nor a link, and is left out",
            path.display()
        ));
    }
    let inside = |path: &Path| Path::new("/").join(path);
    layer::retain_opaque(&mut scan.entries, |path| {
        matches!(plan.below.at(&inside(path)), Ok(Seen::Directory(..)))
    });
    scan.entries
        .retain(|entry| entry.kind != Kind::Whiteout || plan.below.exists(&inside(&entry.path)));
    let mut entries = plan.owners.correct(scan.entries)?;
    let directories: HashMap<PathBuf, Entry> = entries
        .iter()
        .filter(|entry| entry.kind == Kind::Directory)
        .map(|entry| (entry.path.clone(), entry.clone()))
        .collect();
    entries = without_unchanged_directories(entries, plan);

    let mut made = Vec::new();
    let mut write = |entries: Vec<Entry>, title: String, dependencies: bool| {
        let time = if dependencies {
            Mtime::Fixed(FIXED_TIME)
        } else {
            Mtime::OfContent {
                reference: plan.time,
            }
        };
        let entries = layer::with_parents(entries, |path| {
            directories.get(path).cloned().unwrap_or_else(|| {
                // Only needed for an entry in a directory that is missing in the upper one; there is none.
                Entry::directory(path, 0o755, Mtime::Fixed(FIXED_TIME))
            })
        });
        let entries = bytecode::correct(dated(entries, time, plan)?)?;
        made.push(Made {
            titled: TitledLayer {
                layer: plan.writer.write(&entries, layer::threads())?,
                title,
                cached: false,
            },
            dependencies,
        });
        Ok::<(), BuildError>(())
    };
    if plan.split {
        let (shares, rest) = sort_out(upper, entries);
        for share in shares {
            write(share.entries, share.title, true)?;
        }
        entries = rest;
    }
    write(entries, "what assemble left".into(), false)?;
    Ok(made)
}

/// Leaves out directories that are the same as in the image and contain no change.
fn without_unchanged_directories(entries: Vec<Entry>, plan: &Plan<'_>) -> Vec<Entry> {
    let mut above: HashSet<PathBuf> = HashSet::new();
    for entry in &entries {
        let first = match entry.kind {
            // An opaque directory is a change.
            Kind::Opaque => Some(entry.path.as_path()),
            Kind::Directory => None,
            _ => entry.path.parent(),
        };
        for path in first.into_iter().flat_map(Path::ancestors) {
            if !above.insert(path.to_owned()) {
                break;
            }
        }
    }
    // From below: a directory that stays keeps those above it.
    let mut kept = Vec::with_capacity(entries.len());
    for entry in entries.into_iter().rev() {
        let unchanged = entry.kind == Kind::Directory
            && !above.contains(&entry.path)
            && plan.owners.is_as_before(&entry, &plan.below);
        if !unchanged {
            for path in entry.path.ancestors().skip(1) {
                if !above.insert(path.to_owned()) {
                    break;
                }
            }
            kept.push(entry);
        }
    }
    kept.reverse();
    kept
}

/// Gives every entry its time.
fn dated(mut entries: Vec<Entry>, time: Mtime, plan: &Plan<'_>) -> Result<Vec<Entry>, BuildError> {
    for entry in &mut entries {
        let kept = match (&entry.kind, entry.mtime) {
            (Kind::File { source, size }, Mtime::Fixed(seconds)) => {
                let path = Path::new("/").join(&entry.path);
                let below = plan.below.at(&path);
                let now = std::fs::symlink_metadata(source)
                    .map_err(|error| S2iBuildError::io("examine", source, error))?;
                match below {
                    Ok(Seen::File(_, before))
                        if before.len() == *size
                            && before.mtime() == now.mtime()
                            && before.mtime_nsec() == now.mtime_nsec() =>
                    {
                        Some(Mtime::Fixed(seconds))
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        entry.mtime = kept.unwrap_or(time);
    }
    Ok(entries)
}

/// Sorts entries into shares of dependencies and files of the application.
fn sort_out(upper: &Path, entries: Vec<Entry>) -> (Vec<split::Share>, Vec<Entry>) {
    // Entries of a directory that hides the image's must be in the layer that hides it.
    let opaque: HashSet<PathBuf> = entries
        .iter()
        .filter(|entry| entry.kind == Kind::Opaque)
        .map(|entry| entry.path.clone())
        .collect();
    // All hard links of a file must be in one layer.
    let mut tied: HashSet<PathBuf> = HashSet::new();
    for entry in &entries {
        if let Kind::HardLink(target) = &entry.kind {
            tied.insert(entry.path.clone());
            tied.insert(target.clone());
        }
    }
    let (mut modules, mut free, mut application) = (Vec::new(), Vec::new(), Vec::new());
    for entry in entries {
        let hidden = !opaque.is_empty() && entry.path.ancestors().any(|p| opaque.contains(p));
        let plain = !matches!(entry.kind, Kind::Whiteout | Kind::Opaque);
        if hidden || !plain || tied.contains(&entry.path) {
            application.push(entry);
        } else if in_node_modules(&entry.path) {
            modules.push(entry);
        } else {
            free.push(entry);
        }
    }
    let sites = distributions(upper, &free);
    let mut shares = Vec::new();
    if sites.is_empty() {
        application.extend(free);
    } else {
        let owned: HashSet<&Path> = sites
            .values()
            .flatten()
            .flat_map(|distribution| distribution.files.iter().map(PathBuf::as_path))
            .collect();
        let belongs = |path: &Path| {
            owned.contains(path)
                || split::source_of(path).is_some_and(|source| owned.contains(source.as_path()))
        };
        // The interpreter runs these at every start, in the order of all of them.
        let startup = |path: &Path| {
            path.extension().is_some_and(|e| e == "pth")
                && path
                    .parent()
                    .is_some_and(|parent| sites.contains_key(parent))
        };
        let (dependencies, rest): (Vec<Entry>, Vec<Entry>) = free.into_iter().partition(|entry| {
            entry.kind != Kind::Directory && belongs(&entry.path) && !startup(&entry.path)
        });
        application.extend(rest);
        let all: Vec<Distribution> = sites.values().flatten().cloned().collect();
        if let Some(site) = sites.keys().next() {
            let split = split::split(dependencies, &all, site);
            shares.extend(split.shares);
            application.extend(split.for_application);
        }
    }
    if !modules.is_empty() {
        shares.push(split::Share {
            title: "node_modules".into(),
            entries: modules,
        });
    }
    let shares: Vec<split::Share> = shares
        .into_iter()
        .map(|share| split::Share {
            entries: without_implied_directories(share.entries),
            ..share
        })
        .collect();
    // The directories of dependencies are in their layers.
    let implied: HashSet<&Path> = shares
        .iter()
        .flat_map(|share| &share.entries)
        .flat_map(|entry| entry.path.ancestors().skip(1))
        .collect();
    application
        .retain(|entry| entry.kind != Kind::Directory || !implied.contains(entry.path.as_path()));
    (shares, application)
}

/// Whether a path is in a `node_modules` directory.
fn in_node_modules(path: &Path) -> bool {
    path.parent().is_some_and(|parent| {
        parent
            .components()
            .any(|c| c == Component::Normal(OsStr::new("node_modules")))
    })
}

/// The distributions that were installed, by the directory that holds them.
fn distributions(upper: &Path, entries: &[Entry]) -> BTreeMap<PathBuf, Vec<Distribution>> {
    let mut sites: BTreeMap<PathBuf, Vec<Distribution>> = BTreeMap::new();
    let mut left = MAX_RECORDS;
    for entry in entries {
        if !matches!(entry.kind, Kind::File { .. })
            || entry.path.file_name() != Some(OsStr::new("RECORD"))
        {
            continue;
        }
        let Some(info) = entry.path.parent() else {
            continue;
        };
        let (Some(name), Some(site)) = (info.file_name().and_then(OsStr::to_str), info.parent())
        else {
            continue;
        };
        let Some((name, version)) = split::parse_dist_info(name) else {
            continue;
        };
        // Scripts that write more of them get no separate layers.
        let Ok(record) = read_beneath(upper, &entry.path, MAX_RECORD.min(left)) else {
            return BTreeMap::new();
        };
        if let Some(bytes) = record {
            left = left.saturating_sub(bytes.len() as u64);
            sites
                .entry(site.to_owned())
                .or_default()
                .push(Distribution {
                    name,
                    version,
                    files: split::parse_record(&String::from_utf8_lossy(&bytes), site),
                });
        }
    }
    sites
}
