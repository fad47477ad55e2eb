//! `verify-build`: builds an image again from its own record, and compares.
//!
//! From earlier builds it uses only what a hash verifies: downloads and the builder image. The image's
//! record is hostile: it decides what is built, never what runs outside the sandbox.

use serde::Serialize;

use crate::oci::{Descriptor, parse_digest};
use crate::progress::Progress;
use crate::store::{Image, Store};

use super::collect::Collected;
use super::context::Context;
use super::difference::{self, Difference};
use super::error::BuildError;
use super::last_build::LastBuild;
use super::plan::Reading;
use super::record::BuildRecord;
use super::request::{Pinned, Request};
use super::s2i::{self, Given};
use super::two_phases;

/// The result.
#[derive(Debug, Serialize)]
pub struct Verification {
    pub name: String,
    pub digest: String,
    /// The result of the same build here.
    pub rebuilt: String,
    pub verified: bool,
    /// Empty if the digests are equal.
    pub differences: Vec<Difference>,
    pub record: BuildRecord,
}

/// Rebuilds an image of the store and compares the two. `request` has the caller's part (the source's
/// location, network, limits, build variables, secrets), `given` the caller's part for an S2I builder;
/// everything else comes from the record.
pub fn verify(
    store: &Store,
    name: &str,
    image: &Image,
    mut request: Request,
    given: &Given,
    progress: &dyn Progress,
) -> Result<Verification, BuildError> {
    let _in_use = store.lock_shared()?;
    let record = BuildRecord::of(&image.config)?;
    if record.warpdrive != env!("CARGO_PKG_VERSION") {
        progress.warning(&format!(
            "the image was made by warpdrive {}, and this is {}: the builder layer is another one",
            record.warpdrive,
            env!("CARGO_PKG_VERSION")
        ));
    }
    for (what, were, are) in s2i::not_recorded(&record, &request, given) {
        if were != are {
            progress.warning(&format!(
                "the image was built with {were} {what}, which its record does not contain; this build has {are}"
            ));
        }
    }
    request.no_cache = true;
    record.put_into(&mut request, &image.config)?;
    request.pinned = Some(Pinned {
        builder: parse_digest(&record.builder.digest)?,
        runtime: match &record.runtime {
            Some(runtime) => Some(parse_digest(&runtime.digest)?),
            None => None,
        },
        constraints: record.constraints(),
        source: record.source.digest.clone(),
        commit: record.source.commit.clone(),
        remote: record.source.remote.clone(),
    });
    let context = Context {
        store,
        request: &request,
        progress,
    };
    let descriptor = match &record.s2i {
        Some(options) => s2i::remake(context, options, given)?,
        // A record without S2I options is of a build in two phases, whatever its builder's name means today.
        None => in_two_phases(context)?,
    };
    let digest = image.descriptor.digest();
    let verified = descriptor.digest() == digest;
    let differences = if verified {
        Vec::new()
    } else {
        progress.step("---> Comparing the two images");
        difference::between(store, image, &store.image_at(&descriptor)?)?
    };
    Ok(Verification {
        name: name.to_owned(),
        digest: digest.to_string(),
        rebuilt: descriptor.digest().to_string(),
        verified,
        differences,
        record,
    })
}

/// Builds an image with warpdrive's own builder, for the comparison: it gets no name and is not delivered.
fn in_two_phases(context: Context<'_>) -> Result<Descriptor, BuildError> {
    let source = Collected::take(context)?;
    let reading = Reading::new(context.request, &source.tree)?;
    let built = two_phases::build(
        context,
        &reading,
        &source.digest,
        source.timings,
        &LastBuild::unknown(),
    )?;
    Ok(built.descriptor)
}
