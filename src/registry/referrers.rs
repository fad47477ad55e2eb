//! What refers to an image (distribution-spec, "Listing Referrers" and "Pushing Manifests with Subject"):
//! by the registry's own list, and where it keeps none, by an index under the tag `sha256-HEX`.

use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{RegistryError, tame};
use super::http::{HttpRequest, Response};
use super::listing::{Pages, ask, whole};
use super::progress::TransferListener;
use super::retry::pause;
use super::session::{Client, Repository};
use crate::oci::{
    Descriptor, Digest, ImageIndex, MediaType, Reference, descriptor, from_json, parse_digest,
    sha256, to_canonical_json,
};

/// Another program may write the same list at the same time; the one that was overwritten is written again.
const TRIES: usize = 8;

impl Client {
    /// What refers to an image (signatures, lists of parts, attestations).
    pub fn referrers(
        &self,
        reference: &Reference,
        subject: &Digest,
        progress: &dyn TransferListener,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        self.first_of(reference, progress, &mut |source| {
            of_subject(&source.repository()?, subject, progress)
        })
    }
}

/// The parts of a manifest, or of an index, that say what it refers to.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referring {
    artifact_type: Option<String>,
    annotations: Option<Value>,
    subject: Option<Descriptor>,
    config: Option<Descriptor>,
}

pub(super) fn of_subject(
    repository: &Repository<'_>,
    subject: &Digest,
    progress: &dyn TransferListener,
) -> Result<Vec<Descriptor>, RegistryError> {
    match by_the_registry(repository, subject, progress)? {
        Some(found) => Ok(found),
        None => by_the_tag(repository, subject, progress),
    }
}

/// Lists a manifest that was put and names a subject, where the registry did not do so itself.
pub(super) fn list(
    repository: &Repository<'_>,
    entry: &Descriptor,
    bytes: &[u8],
    progress: &dyn TransferListener,
) -> Result<(), RegistryError> {
    let what = format!("the manifest {}", entry.digest());
    let found: Referring = from_json(bytes, &what).map_err(|error| bad(&what, &error))?;
    let Some(subject) = found.subject else {
        return Ok(());
    };
    let subject = parse_digest(subject.digest().as_ref()).map_err(|error| bad(&what, &error))?;
    if by_the_registry(repository, &subject, progress)?.is_some() {
        return Ok(());
    }
    let own_type = found
        .artifact_type
        .or_else(|| found.config.map(|config| config.media_type().to_string()));
    let mut own = json!({
        "mediaType": entry.media_type(),
        "digest": entry.digest(),
        "size": entry.size(),
    });
    if let Some(own_type) = own_type {
        own["artifactType"] = own_type.into();
    }
    if let Some(annotations) = found.annotations {
        own["annotations"] = annotations;
    }
    let tag = fallback_tag(&subject);
    let what = action(&subject);
    for tries in 0..=TRIES {
        let begin = Instant::now();
        let listed = by_the_tag(repository, &subject, progress)?;
        if listed.iter().any(|known| known.digest() == entry.digest()) {
            return Ok(());
        }
        if tries == TRIES {
            break;
        }
        let mut entries: Vec<Value> = Vec::new();
        for known in &listed {
            entries.push(serde_json::to_value(known).map_err(|error| bad(&what, &error))?);
        }
        entries.push(own.clone());
        let index = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::ImageIndex,
            "manifests": entries,
        });
        let bytes = to_canonical_json(&index).map_err(|error| bad(&what, &error))?;
        let index = descriptor(MediaType::ImageIndex, sha256(&bytes), bytes.len() as u64);
        repository.send_manifest(&index, bytes, &tag, progress)?;
        // Another client may have read the list before this one wrote it: when it writes the list now, this entry is
        // gone. That is seen only after the time that the other one may need. The time is random, or two clients
        // could undo each other again and again.
        let agent = repository.agent();
        let settling = begin
            .elapsed()
            .mul_f32(2.0)
            .max(agent.retry.wait(1, None) / 2);
        pause(agent.at_most(settling), None);
    }
    Err(RegistryError::Manifest {
        what,
        problem: format!(
            "{TRIES} times another program has written the tag {tag} of {} at the same time; try again",
            repository.full_name()
        ),
    })
}

fn bad(what: &str, error: &dyn std::fmt::Display) -> RegistryError {
    RegistryError::Manifest {
        what: what.to_owned(),
        problem: tame(&error.to_string(), 200),
    }
}

/// The tag of the index of what refers to an image.
fn fallback_tag(subject: &Digest) -> String {
    format!("sha256-{}", subject.digest())
}

/// The registry's own list; `None` where it keeps none, as registries of before version 1.1 of the
/// specification.
fn by_the_registry(
    repository: &Repository<'_>,
    subject: &Digest,
    progress: &dyn TransferListener,
) -> Result<Option<Vec<Descriptor>>, RegistryError> {
    let action = action(subject);
    let mut found = Vec::new();
    let mut next = Some(repository.url(&format!("referrers/{subject}"))?);
    let mut pages = Pages::new(format!("{action} in {}", repository.full_name()));
    while let Some(url) = next {
        let mut response = ask(repository, HttpRequest::get(url), &action, progress)?;
        match response.status() {
            200 => {}
            404 | 405 if found.is_empty() => return Ok(None),
            _ => return Err(repository.refusal(response, &action, None)),
        }
        next = pages.following(repository, &response)?;
        found.extend(entries(repository, &mut response, &action, progress)?);
        pages.check_length(found.len())?;
    }
    Ok(Some(found))
}

fn by_the_tag(
    repository: &Repository<'_>,
    subject: &Digest,
    progress: &dyn TransferListener,
) -> Result<Vec<Descriptor>, RegistryError> {
    let action = action(subject);
    let url = repository.url(&format!("manifests/{}", fallback_tag(subject)))?;
    let mut response = ask(repository, HttpRequest::get(url), &action, progress)?;
    match response.status() {
        200 => entries(repository, &mut response, &action, progress),
        404 => Ok(Vec::new()),
        _ => Err(repository.refusal(response, &action, None)),
    }
}

fn action(subject: &Digest) -> String {
    format!("the list of what refers to {subject}")
}

fn entries(
    repository: &Repository<'_>,
    response: &mut Response<'_>,
    action: &str,
    progress: &dyn TransferListener,
) -> Result<Vec<Descriptor>, RegistryError> {
    let bytes = whole(repository, response, action, progress)?;
    let index: ImageIndex = from_json(&bytes, action).map_err(|error| bad(action, &error))?;
    Ok(index.manifests().clone())
}
