//! Images in other people's forms: files, directories, and tools on this machine.
//!
//! ```text
//!  oci:DIR[:TAG]              an OCI image layout            layout        ┐
//!  oci-archive:FILE[:TAG]     the same in a tar              oci_archive   │ export: store → there
//!  docker-archive:FILE[:REF]  what `docker save` writes      docker_archive│ import: there → store
//!  dir:DIR                    manifest and blobs         dir           │
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
mod dir;
mod directory;
mod docker_archive;
mod error;
mod layout;
mod location;
mod oci_archive;
mod podman;
mod shape;

use std::collections::BTreeSet;
use std::path::Path;

use crate::oci::{Descriptor, ImageConfig, ImageManifest, Reference};
use crate::registry::{Client, ClientOptions, Platforms, TransferListener};
use crate::store::{Image, Store};

use content::{Layout, Wanted};

pub use error::TransportError;
pub use location::{Destination, Location, Source};
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
    progress: &dyn TransferListener,
) -> Result<(), TransportError> {
    let _in_use = store.lock_shared()?;
    if holds_one(destination) && copy::is_index(store, image)? {
        return Err(TransportError::Index {
            place: destination.to_string(),
        });
    }
    match destination {
        Location::Dir(directory) => dir::export(store, image, directory, progress),
        Location::Oci { directory, tag } => {
            let nothing = BTreeSet::new();
            layout::export(store, image, directory, tag.as_deref(), &nothing, progress)
        }
        Location::OciArchive { file, tag } => {
            oci_archive::export(store, image, file, tag.as_deref(), progress)
        }
        Location::DockerArchive { file, reference } => {
            let name = reference.as_ref().map_or(name, Reference::as_given);
            docker_archive::export(store, image, name, file, progress)
        }
        Location::DockerDaemon(reference) => daemon::export(store, image, reference, progress),
        Location::ContainersStorage(reference) => podman::export(store, image, reference, progress),
        Location::Registry(reference) => {
            let client = Client::new(ClientOptions::default())?;
            let image = shaped(store, image, Shape::default(), progress)?;
            client.push(&image, store, reference, progress)?;
            Ok(())
        }
    }
}

/// Whether there are no indexes there: an image is for one platform.
fn holds_one(place: &Location) -> bool {
    matches!(
        place,
        Location::DockerArchive { .. } | Location::DockerDaemon(_) | Location::ContainersStorage(_)
    )
}

/// Copies an image into a layout, without the blobs of these digests.
pub fn export_without(
    store: &Store,
    image: &Descriptor,
    directory: &Path,
    tag: Option<&str>,
    left_out: &BTreeSet<String>,
    progress: &dyn TransferListener,
) -> Result<(), TransportError> {
    let _in_use = store.lock_shared()?;
    layout::export(store, image, directory, tag, left_out, progress)
}

/// Copies an image into the store out of a directory in which the blobs of these digests may be missing.
pub fn import_without(
    store: &Store,
    source: &Source,
    left_out: &BTreeSet<String>,
    progress: &dyn TransferListener,
) -> Result<Imported, TransportError> {
    let _in_use = store.lock_shared()?;
    let wanted = Wanted {
        left_out: Some(left_out),
        ..Wanted::default()
    };
    match source {
        Location::Oci { directory, tag } => {
            layout::import(store, directory, tag.as_deref(), &wanted, progress)
        }
        Location::Dir(directory) => dir::import(store, directory, &wanted, progress),
        _ => import(store, source, progress),
    }
}

/// Copies an image into the store, for this machine's platform where there are several.
pub fn import(
    store: &Store,
    source: &Source,
    progress: &dyn TransferListener,
) -> Result<Imported, TransportError> {
    import_of(store, source, &Platforms::default(), progress)
}

/// The same for other platforms, or several. Of a registry, one platform is that of the client.
pub fn import_of(
    store: &Store,
    source: &Source,
    platforms: &Platforms,
    progress: &dyn TransferListener,
) -> Result<Imported, TransportError> {
    let _in_use = store.lock_shared()?;
    let wanted = Wanted {
        platforms: platforms.clone(),
        left_out: None,
    };
    if holds_one(source) {
        platforms.check_single(&source.to_string())?;
    }
    match source {
        Location::Dir(directory) => dir::import(store, directory, &wanted, progress),
        Location::Oci { directory, tag } => {
            layout::import(store, directory, tag.as_deref(), &wanted, progress)
        }
        Location::OciArchive { file, tag } => {
            oci_archive::import(store, file, tag.as_deref(), &wanted, progress)
        }
        Location::DockerArchive { file, reference } => {
            let wanted = reference.as_ref().map(Reference::as_given);
            docker_archive::import(store, file, wanted, progress)
        }
        Location::DockerDaemon(reference) => daemon::import(store, reference, progress),
        Location::ContainersStorage(reference) => podman::import(store, reference, progress),
        Location::Registry(reference) => {
            let client = Client::new(ClientOptions::default())?;
            Ok(Imported {
                descriptor: client.pull_of(reference, platforms, store, progress)?,
                name: Some(reference.as_given().to_owned()),
            })
        }
    }
}

/// Manifest and configuration of an image outside the store, which stays as it is: where an image cannot
/// be read in place, it goes through a store of its own that is thrown away.
pub fn look(
    store: &Store,
    source: &Source,
    platform: Option<&str>,
    progress: &dyn TransferListener,
) -> Result<Image, TransportError> {
    let of_layout = |layout: &dyn Layout, entry: &Descriptor| {
        let (descriptor, manifest_bytes, manifest) = content::one(layout, entry, platform)?;
        let config_bytes = content::config(layout, &manifest)?;
        if let Some(platform) = platform {
            content::check(platform, &config_bytes, layout.path())?;
        }
        image(descriptor, manifest, manifest_bytes, config_bytes)
    };
    match source {
        Location::Dir(directory) => {
            let (flat, entry) = dir::open(directory)?;
            of_layout(&flat, &entry)
        }
        Location::Oci { directory, tag } => {
            let layout = directory::Directory::open(directory)?;
            of_layout(&layout, &content::entry(&layout, tag.as_deref())?)
        }
        Location::OciArchive { file, tag } => {
            let layout = archive::TarFile::open(store, file)?;
            of_layout(&layout, &content::entry(&layout, tag.as_deref())?)
        }
        _ => {
            let scratch = store.scratch("look")?;
            let other = Store::open(Some(&scratch.path().join("store")))?;
            let platforms = Platforms::One(platform.map(str::to_owned));
            let found = import_of(&other, source, &platforms, progress)?;
            Ok(other.image_at(&found.descriptor)?)
        }
    }
}

fn image(
    descriptor: Descriptor,
    manifest: ImageManifest,
    manifest_bytes: Vec<u8>,
    config_bytes: Vec<u8>,
) -> Result<Image, TransportError> {
    Ok(Image {
        config: ImageConfig::from_bytes(&config_bytes, "the configuration")?,
        descriptor,
        manifest,
        manifest_bytes,
        config_bytes,
    })
}
