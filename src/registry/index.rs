//! An index of images that are in registries already: what is in another repository of the same registry is
//! mounted, what is in the same one stays where it is, and only what is in another registry is sent.

use serde_json::{Map, Value, json};

use super::error::{RegistryError, tame};
use super::manifest::{Document, by_digest};
use super::progress::{Event, TransferListener};
use super::push::PushReport;
use super::remote::Remote;
use super::session::Client;
use crate::oci::{
    Descriptor, ImageManifest, PlatformName, Reference, descriptor, docker, from_json, sha256,
    to_canonical_json,
};
use crate::store::Store;

/// More would not be read by all registries: an index has to be small.
const MAX_ENTRIES: usize = 1000;

/// What came of it: the index, and what had to be moved for it.
#[derive(Debug)]
pub struct IndexReport {
    pub index: Descriptor,
    /// As the index has them: media type, digest, size, platform.
    pub manifests: Vec<Value>,
    /// The name in full, the digest of the index, and all blobs that were sent, mounted or there.
    pub pushed: PushReport,
}

impl Client {
    /// Makes an index of the images of `sources` (of an index, all that it lists) and puts it under `target`.
    pub fn create_index(
        &self,
        target: &Reference,
        sources: &[Reference],
        store: &Store,
        progress: &dyn TransferListener,
    ) -> Result<IndexReport, RegistryError> {
        let mut making = Making {
            client: self,
            target,
            store,
            progress,
            manifests: Vec::new(),
            pushed: PushReport {
                reference: target.canonical(),
                digest: String::new(),
                uploaded: 0,
                uploaded_bytes: 0,
                mounted: 0,
                existing: 0,
            },
        };
        for source in sources {
            making.add(source)?;
        }
        making.put()
    }
}

struct Making<'a> {
    client: &'a Client,
    target: &'a Reference,
    store: &'a Store,
    progress: &'a dyn TransferListener,
    manifests: Vec<Value>,
    pushed: PushReport,
}

impl Making<'_> {
    /// Adds what a name points to, and has it in the target's repository.
    fn add(&mut self, source: &Reference) -> Result<(), RegistryError> {
        let (client, target) = (self.client, self.target);
        let found = client.first_of(source, self.progress, &mut |place| {
            let remote = Remote::new(place.repository()?, self.store, self.progress);
            let name = source.as_given();
            let (top, bytes) = remote.top(name, source.tag_or_digest())?;
            place.saw(top.digest())?;
            let claimed = top.media_type().to_string();
            let (_, document) = Document::parse_any(&bytes, Some(&claimed), name)?;
            let entries = match document {
                Document::Manifest(_) => vec![top],
                Document::Index(index) => index.manifests().clone(),
            };
            if entries.len() > MAX_ENTRIES {
                return Err(too_many(target));
            }
            let mut described = Vec::new();
            for entry in entries {
                described.push((self.describe(&remote, name, &entry)?, entry));
            }
            Ok((remote, described))
        });
        let (remote, described) = found?;
        let target = client.repository(self.target, self.progress)?;
        let is_there =
            (remote.repository.host(), &remote.repository.name) == (target.host(), &target.name);
        for (value, entry) in described {
            let digest = entry.digest();
            let is_known = |known: &Value| known["digest"] == value["digest"];
            if self.manifests.iter().any(is_known) {
                continue;
            }
            if self.manifests.len() == MAX_ENTRIES {
                return Err(too_many(self.target));
            }
            if !is_there {
                let name = by_digest(self.target, digest)?;
                let report = client.push(&entry, &remote, &name, self.progress)?;
                self.pushed.uploaded += report.uploaded;
                self.pushed.uploaded_bytes += report.uploaded_bytes;
                self.pushed.mounted += report.mounted;
                self.pushed.existing += report.existing;
            }
            let platform = value.get("platform");
            if let Some(platform) = platform
                && platform["os"] != "unknown"
                && self
                    .manifests
                    .iter()
                    .any(|known| known.get("platform") == Some(platform))
            {
                self.progress.event(&Event::Warning(&format!(
                    "{} has two images for {}: a pull takes the first of them",
                    self.target,
                    words(platform)
                )));
            }
            self.manifests.push(value);
        }
        Ok(())
    }

    /// The entry of a manifest: its platform is what its configuration says, else what its index said.
    fn describe(
        &self,
        remote: &Remote<'_>,
        name: &str,
        entry: &Descriptor,
    ) -> Result<Value, RegistryError> {
        let what = format!("the manifest {} of {name}", entry.digest());
        let bad = |problem: String| RegistryError::Manifest {
            what: what.clone(),
            problem: tame(&problem, 200),
        };
        let mut value = serde_json::to_value(entry).map_err(|error| bad(error.to_string()))?;
        let bytes = remote.manifest(entry.digest())?;
        let claimed = entry.media_type().to_string();
        let (media_type, document) = Document::parse_any(&bytes, Some(&claimed), &what)?;
        value["mediaType"] = json!(media_type);
        value["size"] = bytes.len().into();
        let Document::Manifest(manifest) = document else {
            return Ok(value);
        };
        if let Some(platform) = platform(remote, &manifest, &what)? {
            value["platform"] = platform;
        } else if value.get("platform").is_none() {
            self.progress.event(&Event::Warning(&format!(
                "{what} says nothing about its platform: it is in the index without one"
            )));
        }
        Ok(value)
    }

    /// The index itself goes last: it names nothing that is not there.
    fn put(mut self) -> Result<IndexReport, RegistryError> {
        let all_of_docker = self
            .manifests
            .iter()
            .all(|entry| entry["mediaType"] == docker::MANIFEST);
        let media_type = if all_of_docker {
            docker::MANIFEST_LIST
        } else {
            "application/vnd.oci.image.index.v1+json"
        };
        let index = json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "manifests": self.manifests,
        });
        let bytes = to_canonical_json(&index).map_err(|error| RegistryError::Manifest {
            what: format!("the index {}", self.target),
            problem: error.to_string(),
        })?;
        let index = descriptor(media_type, sha256(&bytes), bytes.len() as u64);
        if let Some(wanted) = self.target.digest()
            && wanted != *index.digest()
        {
            return Err(RegistryError::Digest {
                what: format!("the index to be put at {}", self.target),
                expected: wanted.to_string(),
                found: index.digest().to_string(),
            });
        }
        self.client
            .repository(self.target, self.progress)?
            .put_manifest(&index, bytes, self.target.tag_or_digest(), self.progress)?;
        self.pushed.digest = index.digest().to_string();
        Ok(IndexReport {
            index,
            manifests: self.manifests,
            pushed: self.pushed,
        })
    }
}

/// `linux/arm64/v8`
fn words(platform: &Value) -> String {
    let keys = ["os", "architecture", "variant"].iter();
    let parts: Vec<&str> = keys.filter_map(|key| platform[key].as_str()).collect();
    tame(&parts.join("/"), 100)
}

fn too_many(target: &Reference) -> RegistryError {
    RegistryError::Manifest {
        what: format!("the index {target}"),
        problem: format!("it would have more than {MAX_ENTRIES} images"),
    }
}

/// What a configuration says about where the image runs, in an index's words.
fn platform(
    remote: &Remote<'_>,
    manifest: &ImageManifest,
    what: &str,
) -> Result<Option<Value>, RegistryError> {
    let bytes = remote.config(manifest, what)?;
    if PlatformName::of_config(&bytes).is_none() {
        return Ok(None);
    }
    let config: Map<String, Value> =
        from_json(&bytes, what).map_err(|error| RegistryError::Manifest {
            what: what.to_owned(),
            problem: tame(&error.to_string(), 200),
        })?;
    let keys = ["os", "architecture", "variant", "os.version", "os.features"];
    let said = keys.iter().filter_map(|key| {
        let value = config.get(*key)?;
        let empty = value.as_str() == Some("") || value.is_null();
        (!empty).then(|| ((*key).to_owned(), value.clone()))
    });
    Ok(Some(Value::Object(said.collect())))
}
