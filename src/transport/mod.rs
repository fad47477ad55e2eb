//! Images in other people's forms: files, directories, and tools on this machine.
//!
//! ```text
//!  oci:DIR[:TAG]              an OCI image layout            layout        ┐
//!  oci-archive:FILE[:TAG]     the same in a tar              oci_archive   │ export: store → there
//!  docker-archive:FILE[:REF]  what `docker save` writes      docker_archive│ import: there → store
//!  docker-daemon:REF          a Docker daemon's images       daemon        │
//!  containers-storage:REF     podman's and buildah's images  podman        │
//!  docker://REF               a registry                     (registry)    ┘
//! ```
//!
//! The names and their meaning are those of containers/image (containers-transports(5)). Everything
//! that is written depends on the image and its name only, and appears under its final name when it is
//! whole. Everything that is read is taken as hostile: sizes are bounded, digests verified, names
//! inside archives never used as paths. Not here: HTTP (`registry`), what is in a layer (`layer`).

mod archive;
mod content;
mod copy;
mod daemon;
mod docker_archive;
mod error;
mod layout;
mod oci_archive;
mod place;
mod podman;
mod shape;

use std::collections::BTreeSet;
use std::path::Path;

use crate::oci::{Descriptor, Reference};
use crate::registry::{Client, ClientOptions, Progress};
use crate::store::Store;

pub use error::TransportError;
pub use place::{Destination, Place, Source};
pub use shape::{Format, Shape, shaped};

/// What an import brought.
#[derive(Debug, Clone)]
pub struct Imported {
    /// Of the manifest.
    pub descriptor: Descriptor,
    /// What it was called there; nothing is named in the store yet.
    pub name: Option<String>,
}

/// Copies an image out of the store. `name` is what it is called there, where `destination` does not say.
pub fn export(
    store: &Store,
    image: &Descriptor,
    name: &str,
    destination: &Destination,
    progress: &dyn Progress,
) -> Result<(), TransportError> {
    let _in_use = store.lock_shared()?;
    match destination {
        Place::Oci { directory, tag } => {
            let nothing = BTreeSet::new();
            layout::export(store, image, directory, tag.as_deref(), &nothing, progress)
        }
        Place::OciArchive { file, tag } => {
            oci_archive::export(store, image, file, tag.as_deref(), progress)
        }
        Place::DockerArchive { file, reference } => {
            let name = reference.as_ref().map_or(name, Reference::as_given);
            docker_archive::export(store, image, name, file, progress)
        }
        Place::DockerDaemon(reference) => daemon::export(store, image, reference, progress),
        Place::ContainersStorage(reference) => podman::export(store, image, reference, progress),
        Place::Registry(reference) => {
            let client = Client::new(ClientOptions::default())?;
            let image = shaped(store, image, Shape::default(), progress)?;
            client.push(&image, store, reference, progress)?;
            Ok(())
        }
    }
}

/// Copies an image into a layout, without the blobs of these digests.
pub fn export_without(
    store: &Store,
    image: &Descriptor,
    directory: &Path,
    tag: Option<&str>,
    left_out: &BTreeSet<String>,
    progress: &dyn Progress,
) -> Result<(), TransportError> {
    let _in_use = store.lock_shared()?;
    layout::export(store, image, directory, tag, left_out, progress)
}

/// Copies an image out of a layout, in which the blobs of these digests may be missing.
pub fn import_without(
    store: &Store,
    directory: &Path,
    tag: Option<&str>,
    left_out: &BTreeSet<String>,
    progress: &dyn Progress,
) -> Result<Imported, TransportError> {
    let _in_use = store.lock_shared()?;
    layout::import(store, directory, tag, left_out, progress)
}

/// Copies an image into the store, for this machine's platform where there are several.
pub fn import(
    store: &Store,
    source: &Source,
    progress: &dyn Progress,
) -> Result<Imported, TransportError> {
    let _in_use = store.lock_shared()?;
    match source {
        Place::Oci { directory, tag } => {
            let nothing = BTreeSet::new();
            layout::import(store, directory, tag.as_deref(), &nothing, progress)
        }
        Place::OciArchive { file, tag } => {
            oci_archive::import(store, file, tag.as_deref(), progress)
        }
        Place::DockerArchive { file, reference } => {
            let wanted = reference.as_ref().map(Reference::as_given);
            docker_archive::import(store, file, wanted, progress)
        }
        Place::DockerDaemon(reference) => daemon::import(store, reference, progress),
        Place::ContainersStorage(reference) => podman::import(store, reference, progress),
        Place::Registry(reference) => {
            let client = Client::new(ClientOptions::default())?;
            Ok(Imported {
                descriptor: client.pull(reference, store, progress)?,
                name: Some(reference.as_given().to_owned()),
            })
        }
    }
}
