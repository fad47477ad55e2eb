//! Turns the changes of the scripts into an outcome: layers, labels, configuration.

use std::path::Path;

use crate::rootfs::Stacked;
use crate::s2i::metadata;

use super::super::context::Context;
use super::super::error::BuildError;
use super::super::leaks::Leaks;
use super::super::titled_layer::LayerWriter;
use super::base_image::BaseImage;
use super::build_root::BuildRoot;
use super::commit::{Changes, S2iResult};
use super::error::S2iBuildError;
use super::layers;
use super::owners::Owners;
use super::plan::Plan;

/// The labels that a script has written for the image.
pub(super) fn metadata_labels(place: &BuildRoot) -> Result<Vec<(String, String)>, S2iBuildError> {
    let path = Path::new("/").join(metadata::PATH);
    match place.merged().read(&path, metadata::MAX) {
        Ok(Some(bytes)) => Ok(metadata::parse(&bytes)?),
        Ok(None) => Ok(Vec::new()),
        Err(error) => Err(S2iBuildError::io("read", path, error)),
    }
}

/// Turns the changes above an image into an outcome.
pub(super) fn finish(
    plan: &Plan<'_>,
    on: &BaseImage,
    place: &BuildRoot,
    labels: Vec<(String, String)>,
    changes: Changes,
) -> Result<S2iResult, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = plan.context;
    let layers = layers::make(
        &place.upper.upper,
        &layers::Plan {
            below: Stacked::new(&on.lowers),
            owners: &Owners::of(store, on)?,
            time: plan.time,
            split: plan.request.split,
            writer: &LayerWriter::refusing(store, request, Leaks::of_scripts(request)),
        },
        progress,
    )?;
    Ok(S2iResult {
        layers,
        labels,
        changes,
        restored: false,
    })
}
