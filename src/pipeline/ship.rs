//! Step 7: copies the finished image to the places that the user names.

use crate::oci::Descriptor;
use crate::pod::{BaseFile, PodError};
use crate::registry::{Client, ClientOptions, RegistryError};
use crate::transport::{self, Destination, Shape};

use super::context::Context;
use super::elsewhere::OnBase;
use super::error::BuildError;
use super::transfers::Transfers;

/// Writes every `--output` and pushes; returns the pushed references.
pub(super) fn ship(context: Context<'_>, image: &Descriptor) -> Result<Vec<String>, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    for output in &request.outputs {
        progress.step(&format!("---> Writing {output}"));
        if let Some(base) = request.place.base_file() {
            write_without_base(context, image, output, base)?;
            continue;
        }
        transport::export(
            store,
            image,
            request.name.as_given(),
            output,
            &Transfers::new(progress),
        )?;
    }
    let mut pushed = Vec::new();
    if request.push {
        progress.step(&format!("---> Pushing {}", request.name.canonical()));
        let client = Client::new(ClientOptions::default())?;
        let listener = Transfers::new(progress);
        if let Some(base) = request.place.base_file() {
            client.push(image, &OnBase::new(store, base)?, &request.name, &listener)?;
            pushed.push(request.name.canonical());
            return Ok(pushed);
        }
        // A base that was imported may have layers without compression.
        let image = transport::shaped(store, image, Shape::default(), &listener)?;
        match client.push(&image, store, &request.name, &listener) {
            // The registry did not mount blobs that are not here.
            Err(RegistryError::Store { .. }) if brings_absent(context, &image)? => {
                client.push(&image, store, &request.name, &listener)?;
            }
            outcome => drop(outcome?),
        }
        pushed.push(request.name.canonical());
    }
    Ok(pushed)
}

/// Fetches the layers of an image that are still in a cache's registry; false if all are here.
fn brings_absent(context: Context<'_>, image: &Descriptor) -> Result<bool, BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    let image = store.image_at(image)?;
    let layers = image.manifest.layers().iter();
    let absent: Vec<&Descriptor> = layers
        .filter(|layer| !store.has_whole_blob(layer))
        .collect();
    if absent.is_empty() {
        return Ok(false);
    }
    progress.step(&format!(
        "        {} layers could not be mounted, and are fetched to be sent",
        absent.len()
    ));
    for layer in absent {
        request.cache.bring(layer, store)?;
    }
    Ok(true)
}

/// The base of an image that was built in place is only in a registry.
fn write_without_base(
    context: Context<'_>,
    image: &Descriptor,
    output: &Destination,
    base: &BaseFile,
) -> Result<(), BuildError> {
    let Context {
        store, progress, ..
    } = context;
    let Destination::Oci { directory, tag } = output else {
        return Err(PodError::NotHere {
            what: format!("--output {output}"),
            instead: "write `oci:DIR`, or push the image".to_owned(),
        }
        .into());
    };
    let mut left_out = base.elsewhere()?;
    left_out.remove(base.builder_layer.descriptor.digest().as_ref());
    transport::export_without(
        store,
        image,
        directory,
        tag.as_deref(),
        &left_out,
        &Transfers::new(progress),
    )?;
    progress.step(&format!(
        "        without the {} layers of the base, which {} has",
        left_out.len(),
        base.repository
    ));
    Ok(())
}
