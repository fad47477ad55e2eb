//! Images of the content store.

use std::io::Read;

use crate::oci::Digest;
use crate::store::{self, Store};

use super::super::error::AuditError;
use super::{Image, Layers, layers, uncompressed};

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
    Ok(Image {
        name: name.to_owned(),
        digest: Some(image.descriptor.digest().clone()),
        config: image.config.clone(),
        layers: layers(&image.config, &digests)?,
        source: Box::new(StoreLayers { store, digests }),
    })
}
