//! Images of the content store.

use std::io::Read;

use crate::oci::{Digest, ImageConfig};
use crate::store::{self, Store};

use super::super::error::AuditError;
use super::{Image, Layers, uncompressed};

struct StoreLayers<'a> {
    store: &'a Store,
    digests: Vec<Digest>,
}

impl Layers for StoreLayers<'_> {
    fn open(&self, index: usize) -> Result<Box<dyn Read + Send + '_>, AuditError> {
        let digest = &self.digests[index];
        Ok(uncompressed(self.store.open_blob(digest)?, digest))
    }
}

/// An image that the store has loaded.
pub fn from_store<'a>(
    store: &'a Store,
    name: &str,
    image: &store::Image,
) -> Result<Image<'a>, AuditError> {
    let digests: Vec<Digest> = image
        .manifest
        .layers()
        .iter()
        .map(|layer| layer.digest().clone())
        .collect();
    let mut judged = of_blobs(store, name, image.config.clone(), &digests)?;
    judged.digest = Some(image.descriptor.digest().clone());
    Ok(judged)
}

/// An image that does not exist yet: a configuration, and blobs of the store as its layers.
pub fn of_blobs<'a>(
    store: &'a Store,
    name: &str,
    config: ImageConfig,
    digests: &[Digest],
) -> Result<Image<'a>, AuditError> {
    let layers = StoreLayers {
        store,
        digests: digests.to_vec(),
    };
    Image::new(name, None, config, digests, Box::new(layers))
}
