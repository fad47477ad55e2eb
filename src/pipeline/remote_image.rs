//! An image of a registry for the audit: its layers are read as streams, one by one, and not stored.

use std::io::Read;

use crate::audit::{self, AuditError, Image, Layers};
use crate::oci::{Descriptor, Digest, ImageConfig, MAX_METADATA, Reference, sha256};
use crate::registry::{Client, Document, RegistryError, TransferListener};

use super::error::BuildError;

struct RemoteLayers<'c> {
    client: &'c Client,
    progress: &'c dyn TransferListener,
    reference: Reference,
    layers: Vec<Descriptor>,
}

impl Layers for RemoteLayers<'_> {
    fn open(&self, index: usize) -> Result<Box<dyn Read + Send + '_>, AuditError> {
        let layer = &self.layers[index];
        let stream = self
            .client
            .stream(&self.reference, layer, self.progress)
            .map_err(|error| AuditError::LayerBytes {
                digest: layer.digest().clone(),
                source: std::io::Error::other(error),
            })?;
        Ok(audit::uncompressed(stream, layer.digest()))
    }
}

/// Opens an image of a registry for the audit, without storing anything of it.
pub fn remote_image<'c>(
    client: &'c Client,
    reference: &Reference,
    progress: &'c dyn TransferListener,
) -> Result<Image<'c>, BuildError> {
    let resolved = client.resolve(reference, progress)?;
    let what = format!("the manifest of {reference}");
    let media_type = resolved.descriptor.media_type().to_string();
    let (_, document) = Document::parse(&resolved.bytes, Some(&media_type), &what)?;
    let Document::Manifest(manifest) = document else {
        return Err(RegistryError::Manifest {
            what,
            problem: "it is an index".into(),
        }
        .into());
    };
    let wanted = manifest.config();
    let mut bytes = Vec::new();
    client
        .stream(reference, wanted, progress)?
        .take(MAX_METADATA + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| RegistryError::Local {
            doing: format!("reading the configuration of {reference}"),
            source,
        })?;
    let found = sha256(&bytes);
    if found != *wanted.digest() {
        return Err(RegistryError::Digest {
            what: format!("the configuration of {reference}"),
            expected: wanted.digest().to_string(),
            found: found.to_string(),
        }
        .into());
    }
    let config = ImageConfig::from_bytes(&bytes, &format!("the configuration of {reference}"))?;
    let layers = manifest.layers().clone();
    let digests: Vec<Digest> = layers.iter().map(|layer| layer.digest().clone()).collect();
    let digest = resolved.descriptor.digest().clone();
    let source = RemoteLayers {
        client,
        progress,
        reference: reference.clone(),
        layers,
    };
    Ok(Image::new(
        reference.as_given(),
        Some(digest),
        config,
        &digests,
        Box::new(source),
    )?)
}
