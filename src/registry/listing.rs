//! What a registry can be asked about a repository without fetching an image: its tags, page by page
//! (distribution-spec, "Listing Tags"), and an image's configuration.

use std::collections::HashSet;
use std::io::Read;

use serde::Deserialize;

use super::error::{RegistryError, tame};
use super::http::{HttpRequest, Response, Url};
use super::progress::{Event, TransferListener};
use super::session::{Call, Client, Repository, scope};
use crate::oci::{Descriptor, ImageManifest, MAX_METADATA, Reference, from_json, sha256};

/// A list longer than this is not read.
const MAX_PAGES: usize = 1000;
const MAX_ENTRIES: usize = 200_000;

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Client {
    /// All tags of a repository, sorted: the specification says so, and not all registries do.
    pub fn tags(
        &self,
        reference: &Reference,
        progress: &dyn TransferListener,
    ) -> Result<Vec<String>, RegistryError> {
        self.first_of(reference, progress, &mut |source| {
            let repository = source.repository()?;
            if source.place().is_mirror {
                progress.event(&Event::Warning(&format!(
                    "the tags are those of the mirror {}, which may not have all",
                    repository.full_name()
                )));
            }
            let thing = format!("repository {}", repository.name);
            let mut tags: Vec<String> = Vec::new();
            let what = format!("the list of tags of {}", repository.full_name());
            let mut pages = Pages::new(what);
            let mut next = Some(repository.url("tags/list?n=1000")?);
            while let Some(url) = next {
                let mut response = ask(
                    &repository,
                    HttpRequest::get(url),
                    "the list of tags",
                    progress,
                )?;
                if response.status() != 200 {
                    return Err(repository.refusal(response, "the list of tags", Some(&thing)));
                }
                next = pages.following(&repository, &response)?;
                let bytes = whole(&repository, &mut response, "the list of tags", progress)?;
                let page: Tags = from_json(&bytes, "the list of tags").map_err(|error| {
                    RegistryError::Manifest {
                        what: format!("the list of tags of {}", repository.full_name()),
                        problem: tame(&error.to_string(), 200),
                    }
                })?;
                tags.extend(page.tags.unwrap_or_default());
                pages.check_length(tags.len())?;
            }
            tags.sort();
            tags.dedup();
            Ok(tags)
        })
    }

    /// The configuration of an image.
    pub fn config(
        &self,
        reference: &Reference,
        manifest: &ImageManifest,
        progress: &dyn TransferListener,
    ) -> Result<Vec<u8>, RegistryError> {
        let config = manifest.config();
        let what = format!("the configuration of {reference}");
        whole_config(config, what, || self.stream(reference, config, progress))
    }
}

/// A configuration, which is small and has its digest.
pub(super) fn whole_config<R: Read>(
    config: &Descriptor,
    what: String,
    open: impl FnOnce() -> Result<R, RegistryError>,
) -> Result<Vec<u8>, RegistryError> {
    if config.size() > MAX_METADATA {
        return Err(RegistryError::TooLarge {
            what,
            limit: MAX_METADATA,
        });
    }
    let mut bytes = Vec::new();
    open()?
        .take(MAX_METADATA + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| RegistryError::of_stream(error, format!("reading {what}")))?;
    let found = sha256(&bytes);
    if found == *config.digest() {
        return Ok(bytes);
    }
    Err(RegistryError::Digest {
        what,
        expected: config.digest().to_string(),
        found: found.to_string(),
    })
}

pub(super) fn ask<'c>(
    repository: &Repository<'c>,
    request: HttpRequest,
    action: &str,
    progress: &dyn TransferListener,
) -> Result<Response<'c>, RegistryError> {
    let scopes = [scope(&repository.name, "pull")];
    let request = request
        .header("accept", "application/vnd.oci.image.index.v1+json")
        .header("accept", "application/json");
    repository.must(&request, &Call::new(action, &scopes, progress))
}

pub(super) fn whole(
    repository: &Repository<'_>,
    response: &mut Response<'_>,
    what: &str,
    progress: &dyn TransferListener,
) -> Result<Vec<u8>, RegistryError> {
    response
        .bytes(MAX_METADATA, progress)
        .map_err(|failure| repository.lost(failure))?
        .ok_or_else(|| RegistryError::TooLarge {
            what: what.to_owned(),
            limit: MAX_METADATA,
        })
}

/// The pages of a list that have been read: a list that leads back to itself has no end, and one that is cut
/// off looks as if it were whole.
pub(super) struct Pages {
    /// Of what they are, for errors.
    what: String,
    known: HashSet<Url>,
}

impl Pages {
    pub(super) fn new(what: String) -> Self {
        Self {
            what,
            known: HashSet::new(),
        }
    }

    fn wrong(&self, problem: String) -> RegistryError {
        RegistryError::Manifest {
            what: self.what.clone(),
            problem,
        }
    }

    /// The page that comes after an answer's.
    pub(super) fn following(
        &mut self,
        repository: &Repository<'_>,
        response: &Response<'_>,
    ) -> Result<Option<Url>, RegistryError> {
        self.known.insert(response.url.clone());
        let next = following(repository, response)?;
        if let Some(next) = &next {
            if self.known.contains(next) {
                let problem = format!(
                    "the next page that {} names was read before",
                    repository.host()
                );
                return Err(self.wrong(problem));
            }
            if self.known.len() >= MAX_PAGES {
                return Err(self.wrong(format!("it has more than {MAX_PAGES} pages")));
            }
        }
        Ok(next)
    }

    /// Refuses a list that is too long.
    pub(super) fn check_length(&self, length: usize) -> Result<(), RegistryError> {
        if length > MAX_ENTRIES {
            return Err(self.wrong(format!("it has more than {MAX_ENTRIES} entries")));
        }
        Ok(())
    }
}

/// The next page: `Link: </v2/…>; rel="next"` (RFC 8288), of the same registry.
fn following(
    repository: &Repository<'_>,
    response: &Response<'_>,
) -> Result<Option<Url>, RegistryError> {
    let links = response.headers("link");
    let Some(target) = links.iter().find_map(|link| next_of(link)) else {
        return Ok(None);
    };
    let problem = || format!("{} gave it as the next page of a list", repository.host());
    let url = repository.location(target, &response.url);
    let url = url.map_err(|_| RegistryError::Url {
        url: tame(target, 200),
        problem: problem(),
    })?;
    match repository.own(url.as_str()) {
        Some(url) => Ok(Some(url)),
        None => Err(RegistryError::Url {
            url: super::http::shown(&url),
            problem: problem(),
        }),
    }
}

/// Of a header that may hold several links, `<a>; rel="x", <b>; rel="next"`.
fn next_of(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, link)) = rest.split_once('<') {
        let (target, after) = link.split_once('>')?;
        let (parameters, others) = after.split_at(after.find('<').unwrap_or(after.len()));
        let next = parameters.split([';', ',']).any(|parameter| {
            let Some((name, value)) = parameter.split_once('=') else {
                return false;
            };
            let mut kinds = value.trim().trim_matches('"').split_ascii_whitespace();
            name.trim().eq_ignore_ascii_case("rel")
                && kinds.any(|kind| kind.eq_ignore_ascii_case("next"))
        });
        if next {
            return Some(target);
        }
        rest = others;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        for (link, expected) in [
            (
                r#"</v2/x/tags/list?last=b>; rel="next""#,
                Some("/v2/x/tags/list?last=b"),
            ),
            ("</a>; rel=next", Some("/a")),
            ("</a>; rel = \"next\"", Some("/a")),
            ("</a>; rel=\"first\", </b>; rel=\"next\"", Some("/b")),
            ("</a>; rel=\"last next\"", Some("/a")),
            ("</a>; title=next, </b>", None),
            ("</a>; rel=prev", None),
            ("</a>", None),
            ("a; rel=next", None),
            ("<a; rel=next", None),
            ("", None),
        ] {
            assert_eq!(next_of(link), expected, "{link}");
        }
    }
}
