//! Manifests and indexes: fetching them, telling them apart, going down to a platform's.

use std::cell::RefCell;
use std::ptr;

use serde_json::Value;

use super::configuration::Endpoint;
use super::detail::page;
use super::error::{RegistryError, Unreachable, tame};
use super::http::{HttpRequest, Method, Response};
use super::platform::choose;
use super::progress::{Event, Silent, TransferListener};
use super::session::{Call, Client, Repository, scope};
use crate::oci::{
    Descriptor, Digest, ImageIndex, ImageManifest, MAX_METADATA, MediaType, Reference, descriptor,
    docker, from_json, parse_digest, sha256,
};

/// An index may point to an index, but not for ever.
pub(super) const MAX_DEPTH: usize = 3;
/// More layers than this cannot be mounted anyway.
const MAX_LAYERS: usize = 1000;

/// An image's manifest, as a registry has it.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// Of the manifest for one platform.
    pub descriptor: Descriptor,
    pub bytes: Vec<u8>,
    /// What the name itself points to, when that is an index.
    pub index: Option<Descriptor>,
}

/// What a manifest's bytes turn out to be.
#[derive(Debug, Clone)]
pub enum Document {
    Manifest(Box<ImageManifest>),
    Index(Box<ImageIndex>),
}

impl Document {
    /// Reads a manifest or an index; `claimed` is the media type it was said to have.
    ///
    /// What could be read as either is refused (CVE-2021-41190), and so is Docker's schema 1.
    pub fn parse(
        bytes: &[u8],
        claimed: Option<&str>,
        what: &str,
    ) -> Result<(MediaType, Self), RegistryError> {
        Self::read(bytes, claimed, what, false)
    }

    /// The same for what goes from one place to another as it is: charts, signatures and attestations are
    /// manifests, too.
    pub fn parse_any(
        bytes: &[u8],
        claimed: Option<&str>,
        what: &str,
    ) -> Result<(MediaType, Self), RegistryError> {
        Self::read(bytes, claimed, what, true)
    }

    fn read(
        bytes: &[u8],
        claimed: Option<&str>,
        what: &str,
        any: bool,
    ) -> Result<(MediaType, Self), RegistryError> {
        let bad = |problem: String| RegistryError::Manifest {
            what: what.to_owned(),
            problem,
        };
        let json = |error: crate::oci::OciError| bad(tame(&error.to_string(), 300));
        let value: Value = from_json(bytes, "it").map_err(json)?;
        let own = value
            .get("mediaType")
            .and_then(Value::as_str)
            .map(str::to_owned);
        let own = own.as_deref();
        let claimed = claimed
            .map(|text| text.split(';').next().unwrap_or_default().trim())
            .filter(|text| {
                !matches!(
                    *text,
                    "" | "application/json" | "application/octet-stream" | "text/plain"
                )
            });
        if let (Some(own), Some(claimed)) = (own, claimed)
            && own != claimed
        {
            return Err(bad(format!(
                "it was sent as {} but calls itself {}",
                tame(claimed, 100),
                tame(own, 100)
            )));
        }
        if value.get("schemaVersion").and_then(Value::as_u64) == Some(1) {
            return Err(bad(
                "it has Docker's old schema 1; push the image again with a current tool".into(),
            ));
        }
        let media_type = own.or(claimed);
        match (
            value.get("manifests").is_some(),
            value.get("layers").is_some(),
        ) {
            (true, true) => Err(bad("it could be read as an image and as an index".into())),
            (true, false) => {
                let media_type = media_type.unwrap_or("application/vnd.oci.image.index.v1+json");
                if !matches!(
                    media_type,
                    docker::MANIFEST_LIST | "application/vnd.oci.image.index.v1+json"
                ) {
                    return Err(bad(format!(
                        "it has the media type {}",
                        tame(media_type, 100)
                    )));
                }
                let index = serde_json::from_value(value)
                    .map_err(|error| bad(tame(&error.to_string(), 300)))?;
                Ok((media_type.into(), Self::Index(Box::new(index))))
            }
            (false, _) => {
                let media_type = media_type.unwrap_or("application/vnd.oci.image.manifest.v1+json");
                if !matches!(
                    media_type,
                    docker::MANIFEST | "application/vnd.oci.image.manifest.v1+json"
                ) {
                    return Err(bad(format!(
                        "it has the media type {}",
                        tame(media_type, 100)
                    )));
                }
                let artifact = value
                    .get("artifactType")
                    .and_then(Value::as_str)
                    .map(str::to_owned);
                let manifest: ImageManifest = serde_json::from_value(value)
                    .map_err(|error| bad(tame(&error.to_string(), 300)))?;
                if manifest.layers().len() > MAX_LAYERS {
                    return Err(bad(format!("it has more than {MAX_LAYERS} layers")));
                }
                for blob in manifest.layers().iter().chain([manifest.config()]) {
                    // The types let other algorithms through; this project verifies SHA-256 only.
                    parse_digest(blob.digest().as_ref()).map_err(|error| bad(error.to_string()))?;
                }
                if let Some(problem) = no_image(&manifest, artifact.as_deref()).filter(|_| !any) {
                    return Err(bad(problem));
                }
                if manifest.config().size() > MAX_METADATA {
                    return Err(bad(format!(
                        "its configuration is larger than {MAX_METADATA} bytes"
                    )));
                }
                Ok((media_type.into(), Self::Manifest(Box::new(manifest))))
            }
        }
    }
}

/// What a layer may be (image-spec, "Layer"; Docker's manifest, version 2, schema 2).
const LAYER_TYPES: [&str; 6] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    docker::LAYER,
    docker::LAYER_GZIP,
    docker::LAYER_ZSTD,
];

const CONFIG_TYPES: [&str; 2] = ["application/vnd.oci.image.config.v1+json", docker::CONFIG];

/// Why a manifest is not that of an image: a registry keeps charts, signatures and web pages as well.
fn no_image(manifest: &ImageManifest, artifact: Option<&str>) -> Option<String> {
    let config = manifest.config().media_type().as_ref();
    let unusual = !CONFIG_TYPES.contains(&config);
    if config == "application/vnd.cncf.helm.config.v1+json" {
        return Some("it is a Helm chart, not an image: `helm pull oci://…` fetches it".into());
    }
    if unusual && let Some(artifact) = artifact {
        return Some(format!(
            "it is an artifact of the type {}, not an image",
            tame(artifact, 100)
        ));
    }
    let layers = manifest.layers().iter();
    let mut layers = layers.map(|layer| layer.media_type().as_ref());
    let odd = layers.find(|media_type| !LAYER_TYPES.contains(media_type));
    match odd {
        Some(odd) if odd.ends_with("+encrypted") => Some(format!(
            "its layer is encrypted ({}), and warpdrive has no key for it",
            tame(odd, 100)
        )),
        Some(odd) if odd.contains(".nondistributable.") || odd.contains(".foreign.") => {
            Some(format!(
                "its layer is a foreign one ({}), which registries do not keep",
                tame(odd, 100)
            ))
        }
        Some(odd) => Some(format!(
            "its layer has the media type {}, so it is not an image that can be run",
            tame(odd, 100)
        )),
        None => unusual.then(|| {
            format!(
                "its configuration has the media type {}, so it is not an image that can be run",
                tame(config, 100)
            )
        }),
    }
}

/// The blobs of an image, each once; the layers first: they take longest.
pub(super) fn blobs_of(manifest: &ImageManifest) -> Vec<&Descriptor> {
    let mut wanted: Vec<&Descriptor> = Vec::new();
    for blob in manifest.layers().iter().chain([manifest.config()]) {
        if !wanted.iter().any(|known| known.digest() == blob.digest()) {
            wanted.push(blob);
        }
    }
    wanted
}

fn accept(request: HttpRequest) -> HttpRequest {
    let types = [
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
        docker::MANIFEST,
        docker::MANIFEST_LIST,
    ];
    types.iter().fold(request, |request, media_type| {
        request.header("accept", *media_type)
    })
}

/// A manifest in the repository of a name, by its digest.
pub(super) fn by_digest(name: &Reference, digest: &Digest) -> Result<Reference, RegistryError> {
    let full = format!("{}/{}@{digest}", name.registry(), name.repository());
    full.parse().map_err(|_| RegistryError::Url {
        url: tame(&full, 300),
        problem: "it is not the name of a manifest".into(),
    })
}

impl Client {
    /// Does something at the first place that has an image: mirrors come before the registry itself.
    pub(super) fn first_of<'c, T>(
        &'c self,
        reference: &Reference,
        progress: &dyn TransferListener,
        work: &mut dyn FnMut(&Source<'c, '_>) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let images = self.configuration.sources(reference)?;
        let places = images
            .iter()
            .flat_map(|image| image.places.iter().map(move |place| (image, place)));
        let mut places = places.peekable();
        // What the name stood for at a place of the same image.
        let mut seen = None;
        while let Some((image, place)) = places.next() {
            let source = Source {
                client: self,
                place,
                progress,
                wanted: seen.clone().filter(|_| place.is_mirror),
                seen: RefCell::new(seen),
            };
            let error = match work(&source) {
                Err(error) if elsewhere(&error) => error,
                outcome => return outcome,
            };
            let next = places.peek();
            let ends = next.is_none_or(|(other, _)| !ptr::eq(*other, image));
            if ends && let Some(blocked) = &image.blocked {
                progress.event(&Event::Warning(&blocked.to_string()));
            }
            let Some((_, next)) = next else {
                return Err(error);
            };
            seen = source.seen.into_inner();
            // A digest is the same image everywhere. An answer that was cut or is not sound does not say that the
            // name is not there.
            if ends && reference.digest().is_none() && (seen.is_some() || !is_absent(&error)) {
                progress.event(&Event::Warning(&format!(
                    "{} is not asked: what has the same name there may be another image",
                    next.registry
                )));
                return Err(error);
            }
            progress.event(&Event::Warning(&format!(
                "{error}; {} is asked instead",
                next.registry
            )));
        }
        Err(RegistryError::Url {
            url: reference.as_given().to_owned(),
            problem: "there is no registry to ask for it".into(),
        })
    }

    /// What a name points to now, without fetching it: media type, digest and size.
    ///
    /// `None` when the registry does not tell the digest without being asked for the bytes.
    pub fn head(
        &self,
        reference: &Reference,
        progress: &dyn TransferListener,
    ) -> Result<Option<Descriptor>, RegistryError> {
        self.first_of(reference, progress, &mut |source| {
            let name = reference.as_given();
            head(
                &source.repository()?,
                name,
                reference.tag_or_digest(),
                progress,
            )
        })
    }

    /// The bytes of what a name points to, whatever that is, verified; `None` where the registry has
    /// nothing of that name. Of the registry itself: a mirror may have what was there before.
    pub fn manifest(
        &self,
        reference: &Reference,
    ) -> Result<Option<(Descriptor, Vec<u8>)>, RegistryError> {
        let repository = self.repository(reference, &Silent)?;
        let name = reference.as_given();
        match fetch(&repository, name, reference.tag_or_digest(), None, &Silent) {
            Err(RegistryError::NotFound { .. }) => Ok(None),
            found => found.map(Some),
        }
    }

    /// Fetches the manifest that a name means: for an index, that of the client's platform.
    pub fn resolve(
        &self,
        reference: &Reference,
        progress: &dyn TransferListener,
    ) -> Result<Resolved, RegistryError> {
        self.first_of(reference, progress, &mut |source| {
            let repository = source.repository()?;
            let (top, bytes) = fetch(
                &repository,
                reference.as_given(),
                reference.tag_or_digest(),
                None,
                progress,
            )?;
            source.saw(top.digest())?;
            self.descend(reference.as_given(), top, bytes, &mut |entry| {
                fetch(
                    &repository,
                    reference.as_given(),
                    entry.digest().as_ref(),
                    Some(entry),
                    progress,
                )
                .map(|(_, bytes)| bytes)
            })
        })
    }

    /// Goes from what a name points to down to one platform's manifest.
    pub(super) fn descend(
        &self,
        what: &str,
        top: Descriptor,
        bytes: Vec<u8>,
        get: &mut dyn FnMut(&Descriptor) -> Result<Vec<u8>, RegistryError>,
    ) -> Result<Resolved, RegistryError> {
        let platform = self
            .platform
            .clone()
            .unwrap_or_else(crate::oci::this_platform);
        let mut index = None;
        let mut current = (top, bytes);
        for _ in 0..MAX_DEPTH {
            let (found, bytes) = current;
            let (_, document) = Document::parse(&bytes, Some(found.media_type().as_ref()), what)?;
            let Document::Index(list) = document else {
                return Ok(Resolved {
                    descriptor: found,
                    bytes,
                    index,
                });
            };
            let entry = choose(&list, &platform, what)?;
            if entry.size() > MAX_METADATA {
                return Err(too_large(what));
            }
            parse_digest(entry.digest().as_ref()).map_err(|error| RegistryError::Manifest {
                what: what.to_owned(),
                problem: error.to_string(),
            })?;
            let next = descriptor(
                entry.media_type().clone(),
                entry.digest().clone(),
                entry.size(),
            );
            let bytes = get(&next)?;
            must_have_size(&bytes, &next, what)?;
            index = index.or(Some(found));
            current = (next, bytes);
        }
        Err(RegistryError::Manifest {
            what: what.to_owned(),
            problem: format!("it is an index of indexes, more than {MAX_DEPTH} deep"),
        })
    }
}

/// An index says digest and size of what it points to, and both have to be right.
fn must_have_size(bytes: &[u8], entry: &Descriptor, what: &str) -> Result<(), RegistryError> {
    if bytes.len() as u64 == entry.size() {
        return Ok(());
    }
    Err(RegistryError::Manifest {
        what: what.to_owned(),
        problem: format!(
            "its index says that {} has {} bytes, and it has {}",
            entry.digest(),
            entry.size(),
            bytes.len()
        ),
    })
}

fn too_large(what: &str) -> RegistryError {
    RegistryError::TooLarge {
        what: format!("the manifest of {what}"),
        limit: MAX_METADATA,
    }
}

/// A place that may have an image; the first request connects to it.
pub(super) struct Source<'c, 'p> {
    client: &'c Client,
    place: &'p Endpoint,
    progress: &'p dyn TransferListener,
    /// What another place of the same image has, in parts. A mirror that has something else has another image, or
    /// that of another day.
    wanted: Option<Digest>,
    seen: RefCell<Option<Digest>>,
}

impl<'c> Source<'c, '_> {
    pub(super) fn repository(&self) -> Result<Repository<'c>, RegistryError> {
        self.client.repository_at(self.place, self.progress)
    }

    pub(super) fn place(&self) -> &Endpoint {
        self.place
    }

    /// The name stands for this manifest here: from now on, only other places of the same image are of use.
    pub(super) fn saw(&self, digest: &Digest) -> Result<(), RegistryError> {
        if let Some(wanted) = &self.wanted
            && wanted != digest
        {
            return Err(RegistryError::Manifest {
                what: format!("the image at the mirror {}", self.place.registry),
                problem: format!(
                    "it is {digest} there, and {wanted} where it was asked for before"
                ),
            });
        }
        *self.seen.borrow_mut() = Some(digest.clone());
        Ok(())
    }
}

/// Whether the error says that a registry has no image of the name, or cannot be asked for it.
fn is_absent(error: &RegistryError) -> bool {
    matches!(
        error,
        RegistryError::NotFound { .. }
            | RegistryError::Unauthorized(_)
            | RegistryError::Unreachable { .. }
            | RegistryError::Blocked { .. }
    )
}

/// Whether another place may do better.
fn elsewhere(error: &RegistryError) -> bool {
    error.is_remote()
        && !matches!(
            error,
            RegistryError::Platform { .. }
                | RegistryError::OtherPlatform { .. }
                | RegistryError::Unreachable {
                    kind: Unreachable::Limit,
                    ..
                }
        )
}

fn ask<'c>(
    repository: &Repository<'c>,
    request: HttpRequest,
    name: &str,
    actions: &str,
    progress: &dyn TransferListener,
) -> Result<Response<'c>, RegistryError> {
    let scopes = [scope(&repository.name, actions)];
    let action = format!("the question for {name}");
    repository.must(&accept(request), &Call::new(&action, &scopes, progress))
}

/// What a tag or digest stands for in a repository.
pub(super) fn head(
    repository: &Repository<'_>,
    name: &str,
    tag_or_digest: &str,
    progress: &dyn TransferListener,
) -> Result<Option<Descriptor>, RegistryError> {
    let url = repository.url(&format!("manifests/{tag_or_digest}"))?;
    let request = HttpRequest::new(Method::HEAD, url);
    let scopes = [scope(&repository.name, "pull")];
    let response = match ask(repository, request.clone(), name, "pull", progress) {
        // Others than a HEAD may be allowed.
        Err(RegistryError::Unauthorized(_))
            if repository.is_forbidden(&request, &Call::new("", &scopes, progress)) =>
        {
            return Ok(None);
        }
        response => response?,
    };
    if response.status() != 200 {
        // A HEAD has no body that could explain it: let the GET do that.
        return Ok(None);
    }
    let told = response
        .header("docker-content-digest")
        .and_then(|text| parse_digest(text).ok())
        .zip(response.content_length())
        .zip(response.header("content-type"));
    Ok(told.map(|((digest, size), media_type)| descriptor(media_type, digest, size)))
}

/// Fetches a manifest by tag or digest and verifies it.
pub(super) fn fetch(
    repository: &Repository<'_>,
    name: &str,
    tag_or_digest: &str,
    expected: Option<&Descriptor>,
    progress: &dyn TransferListener,
) -> Result<(Descriptor, Vec<u8>), RegistryError> {
    let request = HttpRequest::get(repository.url(&format!("manifests/{tag_or_digest}"))?);
    let response = ask(repository, request, name, "pull", progress)?;
    if response.status() != 200 {
        let thing = format!("`{tag_or_digest}` in {}", repository.name);
        return Err(repository.refusal(
            response,
            &format!("the question for {name}"),
            Some(&thing),
        ));
    }
    verified(
        repository,
        response,
        name,
        tag_or_digest,
        expected,
        progress,
    )
}

fn verified(
    repository: &Repository<'_>,
    mut response: Response<'_>,
    name: &str,
    tag_or_digest: &str,
    expected: Option<&Descriptor>,
    progress: &dyn TransferListener,
) -> Result<(Descriptor, Vec<u8>), RegistryError> {
    let bytes = response
        .bytes(MAX_METADATA, progress)
        .map_err(|failure| RegistryError::Manifest {
            what: format!("the manifest of {name}"),
            problem: format!(
                "{} did not send all of it: {}",
                repository.host(),
                failure.cause
            ),
        })?
        .ok_or_else(|| too_large(name))?;
    if let Some(page) = page(&bytes) {
        let title = match page.as_str() {
            "" => String::new(),
            title => format!(", `{title}`"),
        };
        return Err(RegistryError::Manifest {
            what: format!("the manifest of {name}"),
            problem: format!(
                "{} sent a page of HTML or XML instead of it{title}; a proxy or a login page may stand before the registry",
                super::http::authority(&response.url)
            ),
        });
    }
    let digest = sha256(&bytes);
    let told = response.header("docker-content-digest").map(str::to_owned);
    let wanted: Option<Digest> = expected
        .map(|entry| entry.digest().clone())
        .or_else(|| parse_digest(tag_or_digest).ok())
        .or_else(|| told.and_then(|told| parse_digest(&told).ok()));
    if let Some(wanted) = wanted
        && wanted != digest
    {
        return Err(RegistryError::Digest {
            what: format!("the manifest of {name} from {}", repository.host()),
            expected: wanted.to_string(),
            found: digest.to_string(),
        });
    }
    if let Some(expected) = expected {
        must_have_size(&bytes, expected, name)?;
    }
    let claimed = response.header("content-type").map(str::to_owned);
    let (media_type, _) = Document::parse_any(
        &bytes,
        claimed.as_deref(),
        &format!("the manifest of {name}"),
    )?;
    let size = bytes.len() as u64;
    Ok((descriptor(media_type, digest, size), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn blob(media_type: &str) -> Value {
        json!({"mediaType": media_type, "digest": format!("sha256:{}", "a".repeat(64)), "size": 2})
    }

    #[test]
    fn documents_are_told_apart() {
        let config = blob("application/vnd.oci.image.config.v1+json");
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": []});
        let parse =
            |value: &Value, claimed| Document::parse(value.to_string().as_bytes(), claimed, "it");
        assert!(matches!(
            parse(&manifest, None),
            Ok((_, Document::Manifest(_)))
        ));
        let list = json!({"schemaVersion": 2, "manifests": []});
        assert!(matches!(
            parse(&list, Some("application/json")),
            Ok((_, Document::Index(_)))
        ));
        let mut both = manifest.clone();
        both["manifests"] = json!([]);
        let mut lying = manifest.clone();
        lying["mediaType"] = json!(docker::MANIFEST);
        let mut sha512 = manifest.clone();
        sha512["config"]["digest"] = json!(format!("sha512:{}", "a".repeat(128)));
        let page = json!({"schemaVersion": 2, "config": config, "layers": [blob("text/html")]});
        let mut chart = manifest.clone();
        chart["config"] = blob("application/vnd.cncf.helm.config.v1+json");
        let mut artifact = manifest.clone();
        artifact["config"] = blob("application/vnd.oci.empty.v1+json");
        artifact["artifactType"] = json!("application/vnd.example.sbom");
        let layered = |media_type: &str| {
            let layers = [blob(media_type)];
            json!({"schemaVersion": 2, "config": config, "layers": layers})
        };
        for known in LAYER_TYPES {
            let found = parse(&layered(known), None);
            assert!(matches!(found, Ok((_, Document::Manifest(_)))), "{known}");
        }
        let secret = layered("application/vnd.oci.image.layer.v1.tar+gzip+encrypted");
        let foreign = layered("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        let nowhere = layered("application/vnd.oci.image.layer.nondistributable.v1.tar");
        let mut huge = manifest.clone();
        huge["config"]["size"] = json!(MAX_METADATA + 1);
        for (value, claimed, part) in [
            (&both, None, "as an image and as an index"),
            (
                &lying,
                Some("application/vnd.oci.image.manifest.v1+json"),
                "calls itself",
            ),
            (&manifest, Some(docker::MANIFEST_LIST), "has the media type"),
            (
                &json!({"schemaVersion": 1, "fsLayers": []}),
                None,
                "schema 1",
            ),
            (&json!([]), None, "cannot be used"),
            (&sha512, None, "not a digest"),
            (&huge, None, "larger than"),
            (&page, None, "its layer has the media type text/html"),
            (&chart, None, "it is a Helm chart"),
            (
                &artifact,
                None,
                "an artifact of the type application/vnd.example.sbom",
            ),
            (&secret, None, "its layer is encrypted"),
            (&foreign, None, "its layer is a foreign one"),
            (&nowhere, None, "its layer is a foreign one"),
        ] {
            let error = parse(value, claimed).unwrap_err().to_string();
            assert!(error.contains(part), "{value}: {error}");
        }
    }
}
