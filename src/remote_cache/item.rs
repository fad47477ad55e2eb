//! An item as a manifest: how it is written, and what is accepted when it is read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use crate::oci::{Descriptor, MediaType, OciError, descriptor, sha256, to_canonical_json};

/// Largest record that is read or written, in bytes. Twice in base64 it still fits into a manifest.
pub(super) const MAX_RECORD: u64 = 2 * 1024 * 1024;
/// Most layers of an item.
pub(super) const MAX_LAYERS: usize = 400;
/// Largest layer, in bytes.
pub(super) const MAX_LAYER: u64 = 16 * 1024 * 1024 * 1024;

/// The tag of an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tag {
    /// Named after everything that decides the content: written once.
    Fixed(String),
    /// The result of the last build of its name: replaced.
    Moving(String),
}

impl Tag {
    pub fn name(&self) -> &str {
        match self {
            Self::Fixed(name) | Self::Moving(name) => name,
        }
    }
}

/// Something to keep in the cache.
#[derive(Debug, Clone)]
pub struct Item {
    pub tag: Tag,
    /// A word that says what it is: `fragment`.
    pub kind: &'static str,
    /// Canonical JSON.
    pub record: Vec<u8>,
    /// The layers that the record needs, in its order.
    pub layers: Vec<Descriptor>,
}

fn artifact_type(kind: &str) -> String {
    format!("application/vnd.warpdrive.{kind}.v1")
}

fn config_type(kind: &str) -> String {
    format!("application/vnd.warpdrive.{kind}.config.v1+json")
}

impl Item {
    /// The manifest and its descriptor. The same item gives the same bytes.
    pub(super) fn manifest(&self) -> Result<(Descriptor, Vec<u8>), OciError> {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::ImageManifest,
            "artifactType": artifact_type(self.kind),
            "config": {
                "mediaType": config_type(self.kind),
                "digest": sha256(&self.record),
                "size": self.record.len(),
                "data": STANDARD.encode(&self.record),
            },
            "layers": self.layers,
        });
        let bytes = to_canonical_json(&manifest)?;
        let entry = descriptor(MediaType::ImageManifest, sha256(&bytes), bytes.len() as u64);
        Ok((entry, bytes))
    }
}

/// The parts of an item's manifest that are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    artifact_type: Option<String>,
    config: Config,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Config {
    digest: String,
    size: u64,
    data: String,
}

/// The record and the layers of a manifest of this kind, or an error.
pub(super) fn read(kind: &str, bytes: &[u8]) -> Result<(Vec<u8>, Vec<Descriptor>), String> {
    let manifest: Manifest =
        serde_json::from_slice(bytes).map_err(|_| "it is not a manifest of an item".to_owned())?;
    if manifest.artifact_type.as_deref() != Some(&artifact_type(kind)) {
        return Err(format!("it is not a {}", artifact_type(kind)));
    }
    if manifest.config.size > MAX_RECORD {
        return Err(format!("its record is larger than {MAX_RECORD} bytes"));
    }
    let record = STANDARD
        .decode(&manifest.config.data)
        .map_err(|_| "its record is not in base64".to_owned())?;
    let is_whole = record.len() as u64 == manifest.config.size
        && sha256(&record).to_string() == manifest.config.digest;
    if !is_whole {
        return Err("its record does not have the digest that the manifest names".to_owned());
    }
    if manifest.layers.len() > MAX_LAYERS {
        return Err(format!("it has more than {MAX_LAYERS} layers"));
    }
    for layer in &manifest.layers {
        check(layer)?;
    }
    Ok((record, manifest.layers))
}

/// Whether a descriptor can describe a layer.
pub(super) fn check(layer: &Descriptor) -> Result<(), String> {
    crate::oci::parse_digest(layer.digest().as_ref())
        .map_err(|_| "a layer has no digest of SHA-256".to_owned())?;
    let known = matches!(
        layer.media_type(),
        MediaType::ImageLayer | MediaType::ImageLayerGzip | MediaType::ImageLayerZstd
    );
    if !known {
        return Err("a layer has another media type than layers have".to_owned());
    }
    if layer.size() > MAX_LAYER {
        return Err(format!("a layer is larger than {MAX_LAYER} bytes"));
    }
    let has_more = layer.urls().as_ref().is_some_and(|urls| !urls.is_empty());
    if has_more {
        return Err("a layer has `urls`, which a cache may not have".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item() -> Item {
        Item {
            tag: Tag::Fixed("f1-0".into()),
            kind: "fragment",
            record: br#"{"a":1}"#.to_vec(),
            layers: vec![descriptor(MediaType::ImageLayerZstd, sha256(b"x"), 1)],
        }
    }

    #[test]
    fn an_item_comes_back_and_is_the_same_every_time() {
        let (entry, bytes) = item().manifest().unwrap();
        assert_eq!(item().manifest().unwrap(), (entry, bytes.clone()));
        let (record, layers) = read("fragment", &bytes).unwrap();
        assert_eq!(record, item().record);
        assert_eq!(layers, item().layers);
        assert!(read("index", &bytes).is_err());
    }

    #[test]
    fn what_lies_about_itself_is_none() {
        let (_, bytes) = item().manifest().unwrap();
        let good: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let changed = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut value = good.clone();
            change(&mut value);
            read("fragment", value.to_string().as_bytes()).is_err()
        };
        assert!(!changed(&|_| {}));
        assert!(changed(&|v| v["config"]["data"] = "e30=".into()));
        assert!(changed(&|v| v["config"]["data"] = "no base64".into()));
        assert!(changed(&|v| v["config"]["size"] = (MAX_RECORD + 1).into()));
        assert!(changed(&|v| v["layers"][0]["size"] = (MAX_LAYER + 1).into()));
        assert!(changed(
            &|v| v["layers"][0]["mediaType"] = "text/html".into()
        ));
        assert!(changed(&|v| v["layers"][0]["digest"] = "sha512:00".into()));
        assert!(changed(&|v| {
            v["layers"][0]["urls"] = json!(["https://evil.example"]);
        }));
        assert!(changed(&|v| {
            let one = v["layers"][0].clone();
            v["layers"] = vec![one; MAX_LAYERS + 1].into();
        }));
        assert!(changed(&|v| *v = json!([])));
    }
}
