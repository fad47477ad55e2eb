//! `verify-build`: makes an image again from what it says of its own making, and compares.
//!
//! Nothing of earlier builds is used but what is verified by its hash: downloads and the builder image.
//! The image's own words are those of whoever made it: they decide what is built, never what runs
//! outside of the sandbox.

use serde::Serialize;

use crate::oci::{Digest, ImageConfig, parse_digest};
use crate::progress::Progress;
use crate::source::Commit;
use crate::store::{Image, Store};

use super::difference::{self, Difference};
use super::error::BuildError;
use super::record::Record;
use super::request::Request;

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
}

impl Pinned {
    /// Whether this is the source that the image was made from.
    pub(super) fn check(&self, found: &Digest, commit: Option<&Commit>) -> Result<(), BuildError> {
        let commit = commit.map(|commit| commit.id.clone());
        if found.to_string() == self.source && commit == self.commit {
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
/// source is, network, limits, build variables, secrets); all else comes from the record.
pub fn verify(
    store: &Store,
    name: &str,
    image: &Image,
    mut request: Request,
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
    for (what, were, are) in [
        (
            "build variables (--build-env)",
            record.build_env,
            request.build_env.len(),
        ),
        ("secrets (--secret)", record.secrets, request.secrets.len()),
    ] {
        if were != are {
            progress.warning(&format!(
                "the image was built with {were} {what}, which it does not tell, and this is done \
                 with {are}"
            ));
        }
    }
    request.no_cache = true;
    request.builder = Some(record.builder.reference.clone());
    request.runtime_image = record
        .runtime
        .as_ref()
        .map(|runtime| runtime.reference.clone());
    request.harden = record.harden;
    request.compression = record
        .compression
        .parse()
        .map_err(|problem| BuildError::NoRecord { problem })?;
    request.source_date_epoch = record.source_date_epoch;
    request.env = environment(&record, &image.config)?;
    request.pinned = Some(Pinned {
        builder: parse_digest(&record.builder.digest)?,
        runtime: match &record.runtime {
            Some(runtime) => Some(parse_digest(&runtime.digest)?),
            None => None,
        },
        constraints: record.constraints(),
        source: record.source.digest.clone(),
        commit: record.source.commit.clone(),
    });
    let super::Made::Here(made) = super::make(store, &request, progress)? else {
        return Err(BuildError::NoRecord {
            problem: "its builder is an S2I builder today".into(),
        });
    };
    let descriptor = made.0;
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

/// The variables of `--env`, with the values that the image has.
fn environment(record: &Record, config: &ImageConfig) -> Result<Vec<(String, String)>, BuildError> {
    let env = config.env();
    record
        .env
        .iter()
        .map(|name| {
            env.iter()
                .find(|(own, _)| own == name)
                .cloned()
                .ok_or_else(|| BuildError::NoRecord {
                    problem: format!(
                        "its record names the variable `{}`, which it has not",
                        name.escape_debug()
                    ),
                })
        })
        .collect()
}
