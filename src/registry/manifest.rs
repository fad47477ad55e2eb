//! Manifests and indexes: fetching them, telling them apart, choosing a platform.

use serde_json::Value;

use super::error::{RegistryError, tame};
use super::http::{Method, Request, Response};
use super::progress::Silent;
use super::session::{Call, Client, Repository, scope};
use crate::oci::{
    Descriptor, Digest, ImageIndex, ImageManifest, MAX_METADATA, MediaType, Reference, descriptor,
    docker, from_json, parse_digest, sha256,
};

/// An index may point to an index, but not for ever.
const MAX_DEPTH: usize = 3;
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
                "it has Docker's old schema 1; push the image anew with a current tool".into(),
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
                let manifest: ImageManifest = serde_json::from_value(value)
                    .map_err(|error| bad(tame(&error.to_string(), 300)))?;
                if manifest.layers().len() > MAX_LAYERS {
                    return Err(bad(format!("it has more than {MAX_LAYERS} layers")));
                }
                for blob in manifest.layers().iter().chain([manifest.config()]) {
                    // The types let other algorithms through; this project verifies SHA-256 only.
                    parse_digest(blob.digest().as_ref()).map_err(|error| bad(error.to_string()))?;
                }
                let odd = odd_blob(&manifest);
                if let Some((kind, media_type)) = odd {
                    return Err(bad(format!(
                        "its {kind} has the media type {}, so it is not an image that can be run",
                        tame(media_type, 100)
                    )));
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
const LAYER_TYPES: [&str; 9] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    docker::LAYER,
    docker::LAYER_GZIP,
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
];

const CONFIG_TYPES: [&str; 2] = ["application/vnd.oci.image.config.v1+json", docker::CONFIG];

/// The first blob that no image has: a registry keeps charts, signatures and web pages as well.
fn odd_blob(manifest: &ImageManifest) -> Option<(&'static str, &str)> {
    let layers = manifest.layers().iter();
    let layers = layers.map(|layer| ("layer", layer, LAYER_TYPES.as_slice()));
    layers
        .chain([("configuration", manifest.config(), CONFIG_TYPES.as_slice())])
        .map(|(kind, blob, known)| (kind, blob.media_type().as_ref(), known))
        .find(|(_, media_type, known)| !known.contains(media_type))
        .map(|(kind, media_type, _)| (kind, media_type))
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

/// The platform of this machine in the words of OCI: `linux/amd64`.
pub fn this_platform() -> String {
    format!("linux/{}", crate::oci::this_architecture())
}

/// Chooses the entry of an index for a platform (`OS/ARCH[/VARIANT]`).
pub fn choose<'i>(
    index: &'i ImageIndex,
    platform: &str,
    what: &str,
) -> Result<&'i Descriptor, RegistryError> {
    let mut parts = platform.split('/');
    let os = parts.next().unwrap_or_default();
    let architecture = parts.next().unwrap_or_default();
    let variant = parts.next();
    let fitting: Vec<&Descriptor> = index
        .manifests()
        .iter()
        .filter(|entry| {
            entry.platform().as_ref().is_some_and(|p| {
                p.os().to_string() == os && p.architecture().to_string() == architecture
            })
        })
        .collect();
    let entry_variant = |entry: &Descriptor| {
        entry
            .platform()
            .as_ref()
            .and_then(|platform| platform.variant().clone())
    };
    let found = match variant {
        Some(variant) => fitting
            .iter()
            .find(|entry| entry_variant(entry).as_deref() == Some(variant)),
        // Without one asked for: the entry without one, arm64's only one (v8), else the first.
        None => fitting
            .iter()
            .find(|entry| entry_variant(entry).is_none())
            .or_else(|| fitting.first()),
    };
    // An index of one image that says nothing about platforms means that image.
    let only = match index.manifests().as_slice() {
        [only] if only.platform().is_none() => Some(only),
        _ => None,
    };
    found
        .copied()
        .or(only)
        .ok_or_else(|| RegistryError::Platform {
            what: what.to_owned(),
            wanted: platform.to_owned(),
            found: index
                .manifests()
                .iter()
                .filter_map(|entry| entry.platform().as_ref())
                .map(|p| match p.variant() {
                    Some(variant) => format!("{}/{}/{variant}", p.os(), p.architecture()),
                    None => format!("{}/{}", p.os(), p.architecture()),
                })
                // Attestations of BuildKit.
                .filter(|text| text != "unknown/unknown")
                .map(|text| tame(&text, 60))
                .collect(),
        })
}

fn accept(request: Request) -> Request {
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

impl Client {
    /// What a name points to now, without fetching it: media type, digest and size.
    ///
    /// `None` when the registry does not tell the digest without being asked for the bytes.
    pub fn head(&self, reference: &Reference) -> Result<Option<Descriptor>, RegistryError> {
        let repository = self.repository(reference)?;
        let what = reference.tag_or_digest();
        let request = Request::new(Method::HEAD, repository.url(&format!("manifests/{what}"))?);
        let response = ask(&repository, request, reference.as_given(), "pull")?;
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

    /// Fetches the manifest that a name means: for an index, that of the client's platform.
    pub fn resolve(&self, reference: &Reference) -> Result<Resolved, RegistryError> {
        let repository = self.repository(reference)?;
        let (top, bytes) = fetch(
            &repository,
            reference.as_given(),
            reference.tag_or_digest(),
            None,
        )?;
        self.descend(reference.as_given(), top, bytes, &mut |entry| {
            fetch(
                &repository,
                reference.as_given(),
                entry.digest().as_ref(),
                Some(entry),
            )
            .map(|(_, bytes)| bytes)
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
        let platform = self.platform.clone().unwrap_or_else(this_platform);
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

fn ask<'c>(
    repository: &Repository<'c>,
    request: Request,
    name: &str,
    actions: &str,
) -> Result<Response<'c>, RegistryError> {
    let scopes = [scope(&repository.name, actions)];
    let call = Call {
        action: &format!("the question for {name}"),
        scopes: &scopes,
        repeat: true,
        progress: &Silent,
        sent: &|_| {},
    };
    repository.must(&accept(request), &call)
}

/// Fetches a manifest by tag or digest and verifies it.
pub(super) fn fetch(
    repository: &Repository<'_>,
    name: &str,
    tag_or_digest: &str,
    expected: Option<&Descriptor>,
) -> Result<(Descriptor, Vec<u8>), RegistryError> {
    let request = Request::get(repository.url(&format!("manifests/{tag_or_digest}"))?);
    let response = ask(repository, request, name, "pull")?;
    if response.status() != 200 {
        let thing = format!("`{tag_or_digest}` in {}", repository.name);
        return Err(repository.refusal(
            response,
            &format!("the question for {name}"),
            Some(&thing),
        ));
    }
    verified(repository, response, name, tag_or_digest, expected)
}

/// What is there under this tag or digest before something is pushed to it; `None` where that cannot
/// be told.
pub(super) fn present(
    repository: &Repository<'_>,
    tag_or_digest: &str,
) -> Result<Option<(Descriptor, Vec<u8>)>, RegistryError> {
    let url = repository.url(&format!("manifests/{tag_or_digest}"))?;
    let name = repository.full_name();
    // What the upload asks for, too: it is one login for both.
    let response = match ask(repository, Request::get(url), &name, "pull,push") {
        Ok(response) => response,
        // The upload would wait for it all over again.
        Err(error @ RegistryError::Unreachable { .. }) => return Err(error),
        Err(_) => return Ok(None),
    };
    if response.status() != 200 {
        return Ok(None);
    }
    Ok(verified(repository, response, &name, tag_or_digest, None).ok())
}

fn verified(
    repository: &Repository<'_>,
    mut response: Response<'_>,
    name: &str,
    tag_or_digest: &str,
    expected: Option<&Descriptor>,
) -> Result<(Descriptor, Vec<u8>), RegistryError> {
    let bytes = response
        .bytes(MAX_METADATA)
        .map_err(|failure| repository.lost(failure))?
        .ok_or_else(|| too_large(name))?;
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
    let (media_type, _) = Document::parse(
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

    fn index(platforms: &[(&str, &str, Option<&str>)]) -> ImageIndex {
        let manifests: Vec<Value> = platforms
            .iter()
            .enumerate()
            .map(|(at, (os, architecture, variant))| {
                let mut entry = blob("application/vnd.oci.image.manifest.v1+json");
                entry["size"] = json!(at);
                entry["platform"] = json!({"os": os, "architecture": architecture});
                if let Some(variant) = variant {
                    entry["platform"]["variant"] = json!(variant);
                }
                entry
            })
            .collect();
        serde_json::from_value(json!({"schemaVersion": 2, "manifests": manifests})).unwrap()
    }

    #[test]
    fn platforms_are_chosen() {
        let list = index(&[
            ("linux", "arm", Some("v5")),
            ("linux", "arm", Some("v7")),
            ("linux", "amd64", Some("v3")),
            ("linux", "amd64", None),
            ("unknown", "unknown", None),
            ("linux", "arm64", Some("v8")),
        ]);
        for (platform, place) in [
            ("linux/amd64", 3),
            ("linux/amd64/v3", 2),
            ("linux/arm/v7", 1),
            ("linux/arm", 0),
            ("linux/arm64", 5),
        ] {
            assert_eq!(
                choose(&list, platform, "x").unwrap().size(),
                place,
                "{platform}"
            );
        }
        let error = choose(&list, "linux/s390x", "x").unwrap_err().to_string();
        assert!(
            error.contains("linux/arm/v7") && !error.contains("unknown"),
            "{error}"
        );
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
            (&chart, None, "its configuration has the media type"),
        ] {
            let error = parse(value, claimed).unwrap_err().to_string();
            assert!(error.contains(part), "{value}: {error}");
        }
    }
}
