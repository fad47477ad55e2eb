//! `base.json`: what the pod's image knows about its base, so that nothing of the base has to be fetched.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::builder::layer::StoredLayer;
use crate::builder::python::Python;
use crate::oci::{
    Descriptor, Digest, ImageConfig, ImageManifest, OciError, from_json, sha256, to_canonical_json,
};
use crate::store::Image;

use super::error::PodError;
use super::{BASE_FILE, PLACE};

/// The version of the format.
const VERSION: u32 = 1;
/// Largest file, in bytes: a base has at most some hundred lines of history.
const MAX: u64 = 16 * 1024 * 1024;

/// The file's content.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseFile {
    version: u32,
    /// The name of the base in the labels of images on it.
    pub reference: String,
    /// `REGISTRY/REPOSITORY`, which has the layers.
    pub repository: String,
    /// Of the base's manifest.
    descriptor: Descriptor,
    /// The exact bytes.
    manifest: String,
    config: String,
    pub python: Python,
    pub builder_layer: StoredLayer,
    /// The audit's findings in the base and the builder layer.
    pub audit: Findings,
    /// The release that wrote it.
    warpdrive: String,
}

/// Numbers of findings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Findings {
    pub refused: bool,
    pub high: usize,
    pub medium: usize,
    pub low: usize,
    pub info: usize,
}

impl BaseFile {
    /// Of a base in the store.
    ///
    /// # Errors
    /// If its documents are not text.
    pub fn new(
        reference: &str,
        repository: &str,
        image: &Image,
        python: &Python,
        builder_layer: &StoredLayer,
        audit: Findings,
    ) -> Result<Self, PodError> {
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec()).map_err(|_| PodError::BaseFile {
                path: Path::new(PLACE).join(BASE_FILE),
                problem: format!("the manifest or the configuration of {reference} is not text"),
            })
        };
        Ok(Self {
            version: VERSION,
            reference: reference.to_owned(),
            repository: repository.to_owned(),
            descriptor: image.descriptor.clone(),
            manifest: text(&image.manifest_bytes)?,
            config: text(&image.config_bytes)?,
            python: python.clone(),
            builder_layer: builder_layer.clone(),
            audit,
            warpdrive: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    /// The file's bytes, the same for the same base.
    pub fn to_bytes(&self) -> Result<Vec<u8>, OciError> {
        to_canonical_json(self)
    }

    /// Reads the file of this process's own image; `None` if it is missing.
    pub fn of_this_image() -> Result<Option<Self>, PodError> {
        Self::read(&Path::new(PLACE).join(BASE_FILE))
    }

    fn read(path: &Path) -> Result<Option<Self>, PodError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(PodError::io("could not read", path)(source)),
        };
        let mut bytes = Vec::new();
        file.take(MAX)
            .read_to_end(&mut bytes)
            .map_err(PodError::io("could not read", path))?;
        let bad = |problem: String| PodError::BaseFile {
            path: path.to_owned(),
            problem,
        };
        let read: Self = serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        if read.version != VERSION {
            return Err(bad(format!("it is of version {}", read.version)));
        }
        if read.warpdrive != env!("CARGO_PKG_VERSION") {
            return Err(bad(format!(
                "it is of warpdrive {}, and this is {}",
                read.warpdrive,
                env!("CARGO_PKG_VERSION")
            )));
        }
        read.image()?;
        Ok(Some(read))
    }

    /// The base, as the store would load it.
    pub fn image(&self) -> Result<Image, PodError> {
        let bad = |problem: &str| PodError::BaseFile {
            path: Path::new(PLACE).join(BASE_FILE),
            problem: problem.to_owned(),
        };
        let manifest_bytes = self.manifest.clone().into_bytes();
        let config_bytes = self.config.clone().into_bytes();
        if sha256(&manifest_bytes) != *self.descriptor.digest() {
            return Err(bad("the base's manifest has another digest"));
        }
        let manifest: ImageManifest = from_json(&manifest_bytes, "the base's manifest")?;
        if sha256(&config_bytes) != *manifest.config().digest() {
            return Err(bad("the base's configuration has another digest"));
        }
        let config = ImageConfig::from_bytes(&config_bytes, "the base's configuration")?;
        if config.diff_ids().len() != manifest.layers().len() {
            return Err(bad("the base's configuration names other layers"));
        }
        Ok(Image {
            descriptor: self.descriptor.clone(),
            manifest,
            manifest_bytes,
            config,
            config_bytes,
        })
    }

    /// The layers that every image on this base begins with: digest and size, and the diff id.
    pub fn layers(&self) -> Result<Vec<(Descriptor, Digest)>, PodError> {
        let image = self.image()?;
        let diff_ids = image.config.diff_ids();
        let base = image.manifest.layers().iter().cloned().zip(diff_ids);
        let own = (
            self.builder_layer.descriptor.clone(),
            self.builder_layer.diff_id(),
        );
        Ok(base.chain([own]).collect())
    }

    /// The blobs that are in the repository and not here.
    pub fn elsewhere(&self) -> Result<BTreeSet<String>, PodError> {
        let layers = self.layers()?;
        let digests = layers.iter().map(|(layer, _)| layer.digest().to_string());
        Ok(digests.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{MediaType, descriptor};
    use serde_json::json;

    type Change<'a> = &'a dyn Fn(&mut BaseFile);

    fn example() -> BaseFile {
        let layer = descriptor(MediaType::ImageLayerGzip, sha256(b"layer"), 5);
        let config = json!({"os": "linux", "architecture": "amd64", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest()]}})
        .to_string();
        let config_entry = descriptor(
            MediaType::ImageConfig,
            sha256(config.as_bytes()),
            config.len() as u64,
        );
        let manifest = json!({"schemaVersion": 2, "config": config_entry, "layers": [layer]});
        let manifest = manifest.to_string();
        BaseFile {
            version: VERSION,
            reference: "base".into(),
            repository: "r.example/builders".into(),
            descriptor: descriptor(
                MediaType::ImageManifest,
                sha256(manifest.as_bytes()),
                manifest.len() as u64,
            ),
            manifest,
            config,
            python: Python {
                executable: "/usr/bin/python3.11".into(),
                version: "3.11.2".into(),
                minor: "3.11".into(),
                abi: String::new(),
                libc: String::new(),
            },
            builder_layer: StoredLayer {
                descriptor: descriptor(MediaType::ImageLayerGzip, sha256(b"own"), 3),
                diff_id: sha256(b"tar").to_string(),
            },
            audit: Findings::default(),
            warpdrive: env!("CARGO_PKG_VERSION").into(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(BASE_FILE);
        assert!(BaseFile::read(&path).unwrap().is_none());
        std::fs::write(&path, example().to_bytes().unwrap()).unwrap();
        let read = BaseFile::read(&path).unwrap().unwrap();
        assert_eq!(read.layers().unwrap().len(), 2);
        assert!(
            read.elsewhere()
                .unwrap()
                .contains(sha256(b"layer").as_ref())
        );
    }

    #[test]
    fn a_file_that_contradicts_itself_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(BASE_FILE);
        let cases: [(Change<'_>, &str); 4] = [
            (&|file| file.version = 2, "version 2"),
            (&|file| file.warpdrive = "0.0.1".into(), "warpdrive 0.0.1"),
            (&|file| file.manifest.push(' '), "another digest"),
            (&|file| file.config.push(' '), "another digest"),
        ];
        for (change, part) in cases {
            let mut file = example();
            change(&mut file);
            std::fs::write(&path, file.to_bytes().unwrap()).unwrap();
            let error = BaseFile::read(&path).unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
