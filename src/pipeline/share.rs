//! After a build, writes its results to the caches in registries that `--cache-to` names.

use std::path::Path;

use crate::oci::Descriptor;
use crate::parallel::largest_first;
use crate::pod::BaseFile;
use crate::progress::{Progress, human_size};
use crate::remote_cache::{CacheError, Item, Written};
use crate::store::Store;

use super::application_result::Application;
use super::base::Base;
use super::context::Context;
use super::error::BuildError;
use super::fragments;
use super::installed::Dependencies;
use super::last_build::{Keyed, LastBuild};
use super::part::Part;
use super::request::Request;
use super::transfers::Transfers;

/// How many items are written at once.
const AT_ONCE: usize = 8;

/// The result of a build: each phase's result with its key.
pub(super) struct Results<'a> {
    pub(super) base: &'a Base,
    pub(super) dependencies: (&'a str, &'a Dependencies),
    /// The facts about the distributions.
    pub(super) parts: &'a [Part],
    pub(super) application: (&'a str, &'a Application),
}

/// Writes the fragments of a build, and the build as the last one of its name. If a registry refuses them,
/// this is a warning. Different content under the name of a fragment is an error.
pub(super) fn share(
    context: Context<'_>,
    last: &LastBuild,
    (builder, branch): (Option<&str>, &str),
    results: &Results<'_>,
) -> Result<(), BuildError> {
    let Context {
        request, progress, ..
    } = context;
    let cache = &request.cache;
    if !cache.is_written() {
        return Ok(());
    }
    progress.step("---> Writing to the cache in the registry");
    let Results {
        base,
        dependencies,
        parts,
        application,
    } = *results;
    let fragments = fragments::shared_items(context, base, &dependencies.1.wheels)?;
    let mut build = Vec::new();
    // Only if the next build can use it: no layer of --harden, a single base, and its files are here.
    let in_place = request.place.base_file().is_some();
    if base.hardening.is_none() && request.runtime_image.is_none() && !in_place {
        build.extend(last.item(
            context,
            (builder, branch),
            base,
            Keyed {
                key: dependencies.0.to_owned(),
                result: dependencies.1,
            },
            parts,
            Keyed {
                key: application.0.to_owned(),
                result: application.1,
            },
        )?);
    }
    // The build has the same layers as its fragments, so it is written after them: a registry that gets one layer
    // twice at the same time may refuse the manifest.
    write(context, &[&fragments, &build])
}

/// Writes the fragments of an image that another step of a pipeline built. It uses the wheels that the
/// step handed over, and nothing else that the step made.
///
/// # Errors
/// If the image does not record its parts, or the cache has different content under the same name.
pub fn share_wheels(
    store: &Store,
    request: &Request,
    image: &Descriptor,
    base: &BaseFile,
    wheels: &Path,
    progress: &dyn Progress,
) -> Result<(), BuildError> {
    let record = super::record::BuildRecord::of(&store.image_at(image)?.config)?;
    let compression = record.compression.parse();
    let compression = compression.map_err(|problem| BuildError::NoRecord { problem })?;
    let request = &Request {
        compression,
        ..request.clone()
    };
    let context = Context {
        store,
        request,
        progress,
    };
    if !request.cache.is_written() {
        return Ok(());
    }
    progress.step("---> Writing to the cache in the registry");
    super::place::take_builder_layer(store, base)?;
    let base = super::base::of_file(base, &request.place)?;
    let made = fragments::of_wheels(context, &base, &record, wheels)?;
    write(context, &[&fragments::shared_items(context, &base, &made)?])
}

/// Writes items in rounds; each round begins when the previous one is complete.
fn write(context: Context<'_>, rounds: &[&[Item]]) -> Result<(), BuildError> {
    let Context {
        store,
        request,
        progress,
    } = context;
    let cache = &request.cache;
    let listener = Transfers::new(progress);
    let size = |item: &Item| item.layers.iter().map(Descriptor::size).sum();
    let mut total = Written::default();
    for items in rounds {
        let written = largest_first(items, AT_ONCE, size, |item| {
            cache.put(item, store, &listener)
        });
        match written {
            Ok(all) => all.into_iter().for_each(|one| total += one),
            Err(CacheError::Registry(error)) => {
                progress.warning(&format!("the cache could not be written: {error}"));
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    progress.step(&format!(
        "        {} new, {} there already, {} sent",
        total.new,
        total.known,
        human_size(total.bytes)
    ));
    Ok(())
}
