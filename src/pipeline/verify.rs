//! `verify-build`: makes an image again from what it says of its own making, and compares.
//!
//! Nothing of earlier builds is used but what is verified by its hash: downloads and the builder image.
//! The image's own words are those of whoever made it: they decide what is built, never what runs
//! outside of the sandbox.

use serde::Serialize;

use crate::oci::{Digest, parse_digest};
use crate::progress::Progress;
use crate::source::Tree;
use crate::store::{Image, Store};

use super::difference::{self, Difference};
use super::error::BuildError;
use super::record::Record;
use super::request::Request;
use super::s2i::{self, Given};

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Verification {
    pub name: String,
    pub digest: String,
    /// What the same making gives here.
    pub rebuilt: String,
    pub verified: bool,
    /// Empty where the digests are the same.
    pub differences: Vec<Difference>,
    pub record: Record,
}

/// The images that a build has to use, whatever their names stand for today.
#[derive(Debug, Clone)]
pub struct Pinned {
    pub builder: Digest,
    pub runtime: Option<Digest>,
    /// Versions of distributions, as a list of constraints.
    pub constraints: String,
    /// What the source has to be.
    pub source: String,
    pub commit: Option<String>,
    /// Where the image says that its source is; it may be taken from elsewhere.
    pub remote: Option<String>,
}

impl Pinned {
    /// Refuses a source that the image was not made from.
    pub(super) fn check(&self, found: &Digest, tree: &mut Tree) -> Result<(), BuildError> {
        let commit = tree.commit.as_ref().map(|commit| commit.id.clone());
        if found.to_string() == self.source && commit == self.commit {
            if let Some(commit) = &mut tree.commit {
                commit.remote.clone_from(&self.remote);
            }
            return Ok(());
        }
        Err(BuildError::OtherSource {
            wanted: described(self.commit.as_deref(), &self.source),
            found: described(commit.as_deref(), found.as_ref()),
            commit: self
                .commit
                .clone()
                .filter(|wanted| commit.as_ref() != Some(wanted)),
        })
    }
}

fn described(commit: Option<&str>, digest: &str) -> String {
    match commit {
        Some(commit) => format!("commit {commit} ({digest})"),
        None => format!("no commit ({digest})"),
    }
}

/// Rebuilds an image of the store and compares the two. `request` has what a caller decides (where the
/// source is, network, limits, build variables, secrets), `given` what it decides with an S2I builder;
/// all else comes from the record.
pub fn verify(
    store: &Store,
    name: &str,
    image: &Image,
    mut request: Request,
    given: &Given,
    progress: &dyn Progress,
) -> Result<Verification, BuildError> {
    let _in_use = store.lock_shared()?;
    let record = Record::of(&image.config)?;
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
                "the image was built with {were} {what}, which it does not tell, and this is done \
                 with {are}"
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
    let descriptor = if let Some(options) = &record.s2i {
        s2i::remake(store, &request, options, given, progress)?
    } else {
        match super::make(store, &request, progress)? {
            super::Made::Here(made) => made.0,
            super::Made::Foreign(_) => {
                return Err(BuildError::NoRecord {
                    problem: "its builder is an S2I builder today".into(),
                });
            }
        }
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
