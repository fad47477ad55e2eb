//! The dependency phase's result on its way from one step of a pipeline to the next, for nodes that cannot
//! fence code off: each phase runs in its own container, and the result of the first is read-only for the
//! others.
//!
//! A directory: `dependencies.json`, and the layers in `blobs/sha256`. The reader verifies everything in it;
//! it trusts only that the previous step wrote it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::beneath::open_regular;
use crate::oci::{Descriptor, to_canonical_json};
use crate::pod::BaseFile;
use crate::store::Store;

use super::error::BuildError;
use super::installed::Dependencies;

const FILE: &str = "dependencies.json";
const BLOBS: &str = "blobs/sha256";
/// Wheels and path configuration are listed in it.
const MAX: u64 = 64 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    /// Of all that decided it.
    key: String,
    dependencies: Dependencies,
}

fn write_failed(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::Write { path, source }
}

/// Writes the result of the dependency phase with this key.
pub(super) fn give(
    store: &Store,
    directory: &Path,
    key: &str,
    dependencies: &Dependencies,
) -> Result<(), BuildError> {
    let blobs = directory.join(BLOBS);
    fs::create_dir_all(&blobs).map_err(write_failed(&blobs))?;
    for layer in &dependencies.layers {
        let digest = layer.layer.descriptor.digest();
        let target = blobs.join(digest.digest());
        let mut from = store.open_verified(digest)?;
        let mut to = File::create(&target).map_err(write_failed(&target))?;
        io::copy(&mut from, &mut to).map_err(write_failed(&target))?;
    }
    let document = Document {
        key: key.to_owned(),
        // Trees are this store's.
        dependencies: Dependencies {
            trees: Vec::new(),
            tree: None,
            ..dependencies.clone()
        },
    };
    let path = directory.join(FILE);
    fs::write(&path, to_canonical_json(&document)?).map_err(write_failed(&path))
}

fn read(directory: &Path) -> Result<Document, BuildError> {
    let path = directory.join(FILE);
    let failed = |source| BuildError::Read {
        path: path.clone(),
        source,
    };
    let mut bytes = Vec::new();
    open_regular(&path)
        .and_then(|file| file.take(MAX).read_to_end(&mut bytes))
        .map_err(failed)?;
    serde_json::from_slice(&bytes).map_err(|error| failed(io::Error::other(error)))
}

/// Takes the result of the dependency phase with this key from another step.
pub(super) fn take(store: &Store, directory: &Path, key: &str) -> Result<Dependencies, BuildError> {
    let Document {
        key: found,
        dependencies,
    } = read(directory)?;
    if found != key {
        return Err(BuildError::OtherDependencies {
            directory: directory.to_owned(),
        });
    }
    for layer in &dependencies.layers {
        let descriptor = &layer.layer.descriptor;
        if store.has_whole_blob(descriptor) {
            continue;
        }
        let path = directory.join(BLOBS).join(descriptor.digest().digest());
        let failed = |source| BuildError::Read {
            path: path.clone(),
            source,
        };
        let file = open_regular(&path).map_err(failed)?;
        let mut blob = store.blob_writer()?;
        io::copy(&mut file.take(descriptor.size()), &mut blob).map_err(failed)?;
        blob.commit(Some(descriptor.digest()))?;
    }
    Ok(Dependencies {
        trees: Vec::new(),
        tree: None,
        ..dependencies
    })
}

/// Refuses an image whose dependency layers differ from those of the dependency step.
///
/// # Errors
/// If they differ.
pub fn check_dependencies(
    store: &Store,
    image: &Descriptor,
    base: &BaseFile,
    directory: &Path,
) -> Result<(), BuildError> {
    let Document { dependencies, .. } = read(directory)?;
    let image = store.image_at(image)?;
    let own = image.manifest.layers().iter().skip(base.layers()?.len());
    let own: Vec<&str> = own.map(|layer| layer.digest().as_ref()).collect();
    let wanted = dependencies.layers.iter();
    let wanted: Vec<&str> = wanted
        .map(|layer| layer.layer.descriptor.digest().as_ref())
        .collect();
    // One layer of the application is on top of them.
    match own.split_last() {
        Some((_, below)) if below == wanted => Ok(()),
        _ => Err(BuildError::OtherDependencies {
            directory: directory.to_owned(),
        }),
    }
}
