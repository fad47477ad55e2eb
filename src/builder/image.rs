//! The last step of every builder: its configuration records the definition, and the image goes into
//! the store.

use crate::oci::{
    Descriptor, ImageConfig, ImageManifestBuilder, MediaType, OciError, descriptor,
    to_canonical_json,
};
use crate::store::Store;

use super::definition::Definition;
use super::{BuilderError, LABEL_KIND, LABEL_NAME, LABEL_PYTHON};

/// The definition's variables and labels.
pub(super) fn describe(definition: &Definition, config: &mut ImageConfig) {
    for (name, value) in &definition.env {
        config.set_env(name, value);
    }
    for (name, value) in &definition.labels {
        config.set_label(name, value);
    }
    config.set_label(LABEL_NAME, &definition.name);
    config.set_label(LABEL_PYTHON, &definition.python);
    config.set_label(LABEL_KIND, definition.kind.name());
}

/// Gives the definition's name to an image of these layers, which are in the store.
pub(super) fn commit(
    store: &Store,
    definition: &Definition,
    layers: Vec<Descriptor>,
    config: &ImageConfig,
) -> Result<Descriptor, BuilderError> {
    let (digest, size) = store.put_blob(&config.to_bytes())?;
    let manifest = ImageManifestBuilder::default()
        .schema_version(2u32)
        .media_type(MediaType::ImageManifest)
        .config(descriptor(MediaType::ImageConfig, digest, size))
        .layers(layers)
        .build()
        .map_err(|error| OciError::Shape {
            what: "the builder image's manifest".into(),
            problem: error.to_string(),
        })?;
    let (digest, size) = store.put_blob(&to_canonical_json(&manifest)?)?;
    let image = descriptor(MediaType::ImageManifest, digest, size);
    store.tag(&definition.name, &image)?;
    Ok(image)
}
