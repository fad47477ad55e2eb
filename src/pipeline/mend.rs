//! Fetches a layer again that the store has lost.

use crate::oci::{Digest, Reference};
use crate::progress::Progress;
use crate::registry::{Client, ClientOptions};
use crate::store::Store;

use super::error::BuildError;
use super::transfers::Transfers;

/// Runs `work`, and runs it again if a layer from a registry was damaged in the store and could be
/// fetched again.
pub(super) fn mending<T>(
    store: &Store,
    progress: &dyn Progress,
    work: impl Fn() -> Result<T, BuildError>,
) -> Result<T, BuildError> {
    let error = match work() {
        Err(error) => error,
        done => return done,
    };
    let Some(lost) = error.lost_blob() else {
        return Err(error);
    };
    let Some(exact) = where_from(store, lost)? else {
        return Err(error);
    };
    progress.warning(&format!(
        "the layer {lost} was damaged or gone in the store; it is fetched again"
    ));
    let client = Client::new(ClientOptions::default())?;
    match client.pull(&exact, store, &Transfers::new(progress)) {
        Ok(_) => work(),
        Err(again) => {
            progress.warning(&format!("{exact} could not be fetched: {again}"));
            Err(error)
        }
    }
}

/// An image of a registry that has this layer, by its digest.
fn where_from(store: &Store, layer: &Digest) -> Result<Option<Reference>, BuildError> {
    for named in store.images()? {
        let Ok(reference) = named.name.parse::<Reference>() else {
            continue;
        };
        if !reference.has_host() {
            continue;
        }
        // A broken other image does not matter here.
        let Ok(image) = store.image_at(&named.descriptor) else {
            continue;
        };
        if image.manifest.layers().iter().any(|l| l.digest() == layer) {
            let (registry, repository) = (reference.registry(), reference.repository());
            let exact = format!("{registry}/{repository}@{}", named.descriptor.digest());
            return Ok(exact.parse().ok());
        }
    }
    Ok(None)
}
