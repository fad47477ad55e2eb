//! A manifest on its way out (distribution-spec, "Pushing Manifests").

use super::detail::page;
use super::error::{RegistryError, tame};
use super::http::{HttpRequest, Method, Payload, authority};
use super::manifest::{fetch, head};
use super::parallel::Stop;
use super::progress::TransferListener;
use super::retry::Tries;
use super::session::{Call, Repository, scope};
use super::upload::SETTLING;
use crate::oci::Descriptor;

/// Most bytes that are read of an answer, which should be short.
const MAX_ANSWER: u64 = 64 * 1024;

/// The registry has not said what it has taken.
pub(super) struct Doubt {
    /// It answered with a page.
    page: Option<RegistryError>,
}

impl Repository<'_> {
    /// Puts a manifest under a tag or its digest, and makes sure that it is there. Whether the registry says that it
    /// lists it by its subject.
    pub(super) fn put_manifest(
        &self,
        entry: &Descriptor,
        bytes: Vec<u8>,
        tag_or_digest: &str,
        progress: &dyn TransferListener,
    ) -> Result<bool, RegistryError> {
        let (listed, doubt) = self.send_manifest(entry, bytes, tag_or_digest, progress)?;
        if let Some(Doubt { page }) = doubt {
            self.must_have(entry, tag_or_digest, page, progress)?;
        }
        Ok(listed)
    }

    /// The same, for a caller that reads it again in any case.
    pub(super) fn send_manifest(
        &self,
        entry: &Descriptor,
        bytes: Vec<u8>,
        tag_or_digest: &str,
        progress: &dyn TransferListener,
    ) -> Result<(bool, Option<Doubt>), RegistryError> {
        let repository = self;
        let request = HttpRequest::new(
            Method::PUT,
            repository.url(&format!("manifests/{tag_or_digest}"))?,
        )
        .header("content-type", entry.media_type().to_string())
        .payload(Payload::Bytes(bytes));
        let scopes = [scope(&repository.name, "pull,push")];
        let action = format!("the upload of the manifest to {}", repository.full_name());
        let mut response = repository.must(&request, &Call::new(&action, &scopes, progress))?;
        if !matches!(response.status(), 200..=202) {
            return Err(repository.refusal(response, &action, None));
        }
        let listed = response.header("oci-subject").is_some();
        let digest = entry.digest().to_string();
        match response.header("docker-content-digest") {
            Some(told) if told == digest => return Ok((listed, None)),
            Some(told) => {
                return Err(RegistryError::Digest {
                    what: format!("the manifest that {} has taken", repository.full_name()),
                    expected: digest,
                    found: tame(told, 100),
                });
            }
            None => {}
        }
        // Registries say what they have taken; a page to log in at, or a proxy, says nothing but "OK".
        let body = response.bytes(MAX_ANSWER, progress);
        let title = body.ok().flatten().and_then(|bytes| page(&bytes));
        let page = title.map(|title| RegistryError::Manifest {
            what: action,
            problem: format!(
                "{} answered with a page of HTML or XML{}; a proxy or a login page may stand before the registry",
                authority(&response.url),
                if title.is_empty() { title } else { format!(", `{title}`") },
            ),
        });
        Ok((listed, Some(Doubt { page })))
    }

    /// Asks whether a manifest is there that was put. `page`: the error where it is not, or may not be asked for.
    fn must_have(
        &self,
        entry: &Descriptor,
        tag_or_digest: &str,
        page: Option<RegistryError>,
        progress: &dyn TransferListener,
    ) -> Result<(), RegistryError> {
        let what = format!("the manifest {} of {}", entry.digest(), self.full_name());
        let agent = self.agent();
        let mut tries = Tries::new(&agent.retry.at_most(SETTLING));
        loop {
            let found = match head(self, &what, tag_or_digest, progress) {
                Ok(Some(found)) => Ok(found),
                // It does not say it, or not so.
                Ok(None) => {
                    fetch(self, &what, tag_or_digest, None, progress).map(|(found, _)| found)
                }
                Err(error) => Err(error),
            };
            let reason = match found {
                Ok(found) if found.digest() == entry.digest() => return Ok(()),
                Ok(found) => format!("it has {} there", found.digest()),
                Err(RegistryError::NotFound { .. }) => "it does not show what it has taken".into(),
                // A login that may only write.
                Err(RegistryError::Unauthorized(_)) if page.is_none() => return Ok(()),
                Err(error) => return Err(page.unwrap_or(error)),
            };
            let told = (what.as_str(), reason.as_str(), None);
            if !agent.try_again(&mut tries, told, progress, &Stop::new())? {
                return Err(page.unwrap_or_else(|| RegistryError::Lost {
                    host: self.host().to_owned(),
                    what,
                }));
            }
        }
    }
}
