//! A manifest on its way out (distribution-spec, "Pushing Manifests").

use super::error::RegistryError;
use super::http::{HttpRequest, Method, Payload};
use super::progress::TransferListener;
use super::session::{Call, Repository, scope};
use crate::oci::Descriptor;

impl Repository<'_> {
    /// Puts a manifest under a tag or its digest. Whether the registry says that it lists it by its subject.
    pub(super) fn put_manifest(
        &self,
        entry: &Descriptor,
        bytes: Vec<u8>,
        tag_or_digest: &str,
        progress: &dyn TransferListener,
    ) -> Result<bool, RegistryError> {
        let repository = self;
        let request = HttpRequest::new(
            Method::PUT,
            repository.url(&format!("manifests/{tag_or_digest}"))?,
        )
        .header("content-type", entry.media_type().to_string())
        .payload(Payload::Bytes(bytes));
        let scopes = [scope(&repository.name, "pull,push")];
        let action = format!("the upload of the manifest to {}", repository.full_name());
        let response = repository.must(&request, &Call::new(&action, &scopes, progress))?;
        if !matches!(response.status(), 200..=202) {
            return Err(repository.refusal(response, &action, None));
        }
        match response.header("docker-content-digest") {
            Some(told) if told != entry.digest().to_string() => Err(RegistryError::Digest {
                what: format!("the manifest that {} has taken", repository.full_name()),
                expected: entry.digest().to_string(),
                found: super::error::tame(told, 100),
            }),
            _ => Ok(response.header("oci-subject").is_some()),
        }
    }
}
