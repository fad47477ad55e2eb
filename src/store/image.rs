//! Loading an image: descriptor → (index →) manifest → configuration.

use crate::oci::{
    Descriptor, ImageConfig, ImageIndex, ImageManifest, MAX_METADATA, MediaType, OciError, docker,
    from_json, this_architecture,
};

use super::{Store, StoreError};

/// How deep indexes may nest; more is a loop or an attack.
const MAX_DEPTH: usize = 4;

/// An image's documents, verified and checked against each other.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of the manifest, even if the name points to an index of several platforms.
    pub descriptor: Descriptor,
    pub manifest: ImageManifest,
    pub manifest_bytes: Vec<u8>,
    pub config: ImageConfig,
    pub config_bytes: Vec<u8>,
}

/// The kind of a document, from its own content (OCI image-spec, and Docker's schema 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Document {
    Index,
    Manifest,
}

impl Store {
    /// The image of a name (see [`Store::resolve`]), for this machine's platform.
    pub fn image(&self, name: &str) -> Result<Option<Image>, StoreError> {
        match self.resolve(name)? {
            Some(descriptor) => self.load(&descriptor, name, this_architecture()).map(Some),
            None => Ok(None),
        }
    }

    /// The image at a descriptor, for this machine's platform.
    pub fn image_at(&self, descriptor: &Descriptor) -> Result<Image, StoreError> {
        self.load(
            descriptor,
            descriptor.digest().as_ref(),
            this_architecture(),
        )
    }

    fn load(
        &self,
        descriptor: &Descriptor,
        name: &str,
        architecture: &str,
    ) -> Result<Image, StoreError> {
        let mut descriptor = descriptor.clone();
        for _ in 0..MAX_DEPTH {
            let bytes = self.read_blob(descriptor.digest(), MAX_METADATA)?;
            if bytes.len() as u64 != descriptor.size() {
                return Err(StoreError::Size {
                    digest: descriptor.digest().clone(),
                    expected: descriptor.size(),
                    actual: bytes.len() as u64,
                });
            }
            match classify(&descriptor, &bytes, name)? {
                Document::Index => {
                    let index: ImageIndex = from_json(&bytes, &format!("the index of `{name}`"))?;
                    descriptor = choose(&index, name, architecture)?;
                }
                Document::Manifest => return self.load_manifest(descriptor, bytes, name),
            }
        }
        Err(StoreError::NotAnImage {
            name: name.to_owned(),
            what: format!("more than {MAX_DEPTH} indexes in each other"),
        })
    }

    fn load_manifest(
        &self,
        descriptor: Descriptor,
        manifest_bytes: Vec<u8>,
        name: &str,
    ) -> Result<Image, StoreError> {
        let manifest: ImageManifest =
            from_json(&manifest_bytes, &format!("the manifest of `{name}`"))?;
        let config_type = manifest.config().media_type().to_string();
        if ![MediaType::ImageConfig.to_string().as_str(), docker::CONFIG]
            .contains(&config_type.as_str())
        {
            return Err(StoreError::NotAnImage {
                name: name.to_owned(),
                what: format!("an artifact of type `{config_type}`"),
            });
        }
        let what = format!("the configuration of `{name}`");
        let config_bytes = self.read_blob(manifest.config().digest(), MAX_METADATA)?;
        let config = ImageConfig::from_bytes(&config_bytes, &what)?;
        let (layers, ids) = (manifest.layers().len(), config.diff_ids().len());
        if layers != ids {
            return Err(OciError::Shape {
                what,
                problem: format!("it names {ids} layers and the manifest {layers}"),
            }
            .into());
        }
        Ok(Image {
            descriptor,
            manifest,
            manifest_bytes,
            config,
            config_bytes,
        })
    }
}

/// The kind of a document. Content that could be read as both kinds is refused: two readers could
/// see two different images (CVE-2021-41190).
fn classify(descriptor: &Descriptor, bytes: &[u8], name: &str) -> Result<Document, StoreError> {
    let what = format!("the manifest of `{name}`");
    let value: serde_json::Value = from_json(bytes, &what)?;
    let has = |key: &str| value.get(key).is_some_and(|value| !value.is_null());
    let shape = |problem: String| OciError::Shape {
        what: what.clone(),
        problem,
    };
    let document = match (has("manifests"), has("layers") || has("config")) {
        (true, false) => Document::Index,
        (false, true) => Document::Manifest,
        (true, true) => return Err(shape("it is both a manifest and an index".into()).into()),
        (false, false) => return Err(shape("it has neither layers nor manifests".into()).into()),
    };
    let inner = value.get("mediaType").and_then(serde_json::Value::as_str);
    let outer = descriptor.media_type().to_string();
    for media_type in [Some(outer.as_str()), inner].into_iter().flatten() {
        let said = match media_type {
            "application/vnd.oci.image.index.v1+json" | docker::MANIFEST_LIST => Document::Index,
            "application/vnd.oci.image.manifest.v1+json" | docker::MANIFEST => Document::Manifest,
            other => return Err(shape(format!("its type `{other}` is unknown")).into()),
        };
        if said != document {
            return Err(shape(format!("its type `{media_type}` is not what it holds")).into());
        }
    }
    Ok(document)
}

/// The entry for linux and `architecture`, the first where several fit.
fn choose(index: &ImageIndex, name: &str, architecture: &str) -> Result<Descriptor, StoreError> {
    let mut available = Vec::new();
    for entry in index.manifests() {
        let Some(platform) = entry.platform() else {
            continue;
        };
        let (os, arch) = (
            platform.os().to_string(),
            platform.architecture().to_string(),
        );
        if os == "linux" && arch == architecture {
            return Ok(entry.clone());
        }
        // BuildKit's attestations are listed as `unknown/unknown`.
        if os != "unknown" {
            available.push(format!("{os}/{arch}"));
        }
    }
    // An index of one entry without a platform, as some tools write it.
    if let [only] = index.manifests().as_slice()
        && only.platform().is_none()
    {
        return Ok(only.clone());
    }
    Err(StoreError::Platform {
        name: name.to_owned(),
        platform: format!("linux/{architecture}"),
        available: match available.join(", ") {
            none if none.is_empty() => "none with a platform".to_owned(),
            some => some,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;
    use super::*;
    use crate::oci::descriptor;
    use serde_json::json;

    fn put(store: &Store, media_type: &str, value: &serde_json::Value) -> Descriptor {
        let (digest, size) = store.put_blob(value.to_string().as_bytes()).unwrap();
        descriptor(media_type, digest, size)
    }

    fn manifest_of(store: &Store, architecture: &str, layers: usize, docker: bool) -> Descriptor {
        let (config_type, layer_type, manifest_type) = if docker {
            (docker::CONFIG, docker::LAYER_GZIP, docker::MANIFEST)
        } else {
            (
                "application/vnd.oci.image.config.v1+json",
                "application/vnd.oci.image.layer.v1.tar+gzip",
                "application/vnd.oci.image.manifest.v1+json",
            )
        };
        let layer = put(store, layer_type, &json!("not looked at"));
        let config = json!({"os": "linux", "architecture": architecture, "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest()]}});
        let config = put(store, config_type, &config);
        let manifest = json!({"schemaVersion": 2, "mediaType": manifest_type,
            "config": config, "layers": vec![layer; layers]});
        put(store, manifest_type, &manifest)
    }

    #[test]
    fn manifests_of_both_families_load() {
        let (_dir, store) = store();
        for docker in [false, true] {
            let manifest = manifest_of(&store, "amd64", 1, docker);
            store.tag("opal", &manifest).unwrap();
            let image = store.image("opal").unwrap().unwrap();
            assert_eq!(image.descriptor.digest(), manifest.digest());
            assert_eq!(image.config.architecture(), "amd64");
            assert_eq!(
                crate::oci::sha256(&image.manifest_bytes),
                *manifest.digest()
            );
        }
        assert!(store.image("beryl").unwrap().is_none());
    }

    #[test]
    fn an_index_gives_the_machines_image() {
        let (_dir, store) = store();
        let entry = |architecture: &str| {
            let manifest = manifest_of(&store, architecture, 1, false);
            json!({"mediaType": manifest.media_type(), "digest": manifest.digest(),
                "size": manifest.size(), "platform": {"os": "linux", "architecture": architecture}})
        };
        for index_type in [
            "application/vnd.oci.image.index.v1+json",
            docker::MANIFEST_LIST,
        ] {
            let index = json!({"schemaVersion": 2, "mediaType": index_type,
                "manifests": [entry("arm64"), entry("amd64")]});
            let index = put(&store, index_type, &index);
            let image = store.load(&index, "opal", "amd64").unwrap();
            assert_eq!(image.config.architecture(), "amd64");
            let error = store.load(&index, "opal", "s390x").unwrap_err().to_string();
            assert!(error.contains("linux/arm64, linux/amd64"), "{error}");
        }
    }

    #[test]
    fn what_is_no_image_says_what_it_is() {
        let (_dir, store) = store();
        let oci = "application/vnd.oci.image.manifest.v1+json";
        let index = "application/vnd.oci.image.index.v1+json";
        let good = manifest_of(&store, "amd64", 1, false);
        let empty = put(&store, "application/vnd.oci.empty.v1+json", &json!({}));
        let cases = [
            (
                manifest_of(&store, "amd64", 2, false),
                "names 1 layers and the manifest 2",
            ),
            (
                put(
                    &store,
                    oci,
                    &json!({"config": good, "layers": [], "manifests": []}),
                ),
                "both",
            ),
            (put(&store, oci, &json!({"schemaVersion": 2})), "neither"),
            (
                put(&store, index, &json!({"config": good, "layers": []})),
                "not what it holds",
            ),
            (
                put(&store, "text/plain", &json!({"manifests": []})),
                "`text/plain` is unknown",
            ),
            (
                put(
                    &store,
                    oci,
                    &json!({"schemaVersion": 2, "config": empty, "layers": []}),
                ),
                "an artifact of type `application/vnd.oci.empty.v1+json`",
            ),
            (descriptor(oci, good.digest().clone(), 3), "should have 3"),
        ];
        for (descriptor, part) in cases {
            let error = store.image_at(&descriptor).unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
