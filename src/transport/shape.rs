//! An image in another shape: its layers compressed otherwise, its documents in Docker's media types. What
//! it unpacks to stays the same, and so does its configuration; the manifest and its digest do not.
//!
//! `docker save` writes layers without compression, and registries should get them compressed. The layers
//! that are made here lie in the store, and are remembered (`cache/compressed`).

use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::TransportError;
use crate::layer::{self, Compression};
use crate::oci::{
    Descriptor, Digest, ImageConfig, MAX_METADATA, MediaType, Sha256Reader, descriptor, docker,
    from_json, parse_digest, to_canonical_json,
};
use crate::registry::{Direction, Document, Event, Transfer, TransferListener};
use crate::store::{Needs, Record, Store};

/// What an image shall be like.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shape {
    /// Of all layers; `None`: those that have none get gzip, and the others stay.
    pub compression: Option<Compression>,
    /// Also of layers that are compressed so already, maybe with another level.
    pub anew: bool,
    /// `None`: as it is.
    pub format: Option<Format>,
}

/// Whose media types an image has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Oci,
    Docker,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "oci" => Ok(Self::Oci),
            "docker" => Ok(Self::Docker),
            _ => Err(format!("`{text}` is neither oci nor docker")),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Compressed {
    layer: Descriptor,
}

impl Record for Compressed {
    const KIND: &'static str = "compressed";

    fn needs(&self) -> Needs {
        Needs::blobs([&self.layer])
    }
}

/// The image in this shape: itself, where it has it already. What is made is in the store and has no name.
pub fn shaped(
    store: &Store,
    image: &Descriptor,
    shape: Shape,
    progress: &dyn TransferListener,
) -> Result<Descriptor, TransportError> {
    let bytes = store.read_blob(image.digest(), MAX_METADATA)?;
    let what = format!("the manifest {}", image.digest());
    let claimed = image.media_type().to_string();
    let (_, document) = Document::parse(&bytes, Some(&claimed), &what)?;
    let mut value: Value = from_json(&bytes, &what)?;
    let before = value.clone();
    let own = match document {
        Document::Index(index) => {
            for (at, child) in index.manifests().iter().enumerate() {
                if !is_image(store, child)? {
                    continue;
                }
                let new = shaped(store, child, shape, progress)?;
                replace(&mut value["manifests"][at], &new);
            }
            let types = [
                "application/vnd.oci.image.index.v1+json",
                docker::MANIFEST_LIST,
            ];
            media_type(&claimed, shape.format, types)
        }
        Document::Manifest(manifest) => {
            let config = store.read_blob(manifest.config().digest(), MAX_METADATA)?;
            let config = ImageConfig::from_bytes(&config, "the configuration")?;
            let ids = config.diff_ids();
            let is_docker = media_type(&claimed, shape.format, MANIFESTS) == docker::MANIFEST;
            for (at, layer) in manifest.layers().iter().enumerate() {
                let new = compressed(store, layer, ids.get(at), shape, progress)?;
                let kind = layer_type(new.media_type(), is_docker)?;
                let new = descriptor(kind, new.digest().clone(), new.size());
                replace(&mut value["layers"][at], &new);
            }
            if shape.format.is_some() {
                let kind = if is_docker {
                    docker::CONFIG
                } else {
                    "application/vnd.oci.image.config.v1+json"
                };
                value["config"]["mediaType"] = kind.into();
            }
            media_type(&claimed, shape.format, MANIFESTS)
        }
    };
    if shape.format.is_some() {
        value["mediaType"] = own.clone().into();
    }
    if value == before {
        return Ok(image.clone());
    }
    let (digest, size) = store.put_blob(&to_canonical_json(&value)?)?;
    Ok(descriptor(own.as_str(), digest, size))
}

/// An index lists attestations too, which stay as they are.
fn is_image(store: &Store, entry: &Descriptor) -> Result<bool, TransportError> {
    let bytes = store.read_blob(entry.digest(), MAX_METADATA)?;
    let claimed = entry.media_type().to_string();
    let what = format!("the manifest {}", entry.digest());
    Document::parse_any(&bytes, Some(&claimed), &what)?;
    Ok(Document::parse(&bytes, Some(&claimed), &what).is_ok())
}

const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    docker::MANIFEST,
];

fn media_type(now: &str, format: Option<Format>, [oci, docker]: [&str; 2]) -> String {
    match format {
        None => now.to_owned(),
        Some(Format::Oci) => oci.to_owned(),
        Some(Format::Docker) => docker.to_owned(),
    }
}

/// The media type of a layer with the same compression in an image of Docker or of OCI.
fn layer_type(now: &MediaType, is_docker: bool) -> Result<&'static str, TransportError> {
    let packed = Packed::of(now);
    match (packed, is_docker) {
        (Packed::Plain, false) => Ok("application/vnd.oci.image.layer.v1.tar"),
        (Packed::Gzip, false) => Ok("application/vnd.oci.image.layer.v1.tar+gzip"),
        (Packed::Zstd, false) => Ok("application/vnd.oci.image.layer.v1.tar+zstd"),
        (Packed::Plain, true) => Ok(docker::LAYER),
        (Packed::Gzip, true) => Ok(docker::LAYER_GZIP),
        (Packed::Zstd, true) => Err(TransportError::Shape {
            problem: "Docker's format has no layers that are compressed with zstd".into(),
        }),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Packed {
    Plain,
    Gzip,
    Zstd,
}

impl Packed {
    fn of(media_type: &MediaType) -> Self {
        let name = media_type.to_string();
        if name.ends_with("zstd") {
            Self::Zstd
        } else if name.ends_with("gzip") {
            Self::Gzip
        } else {
            Self::Plain
        }
    }
}

/// Media type, digest and size of a descriptor; what else stands there stays.
fn replace(entry: &mut Value, new: &Descriptor) {
    entry["mediaType"] = new.media_type().to_string().into();
    entry["digest"] = new.digest().to_string().into();
    entry["size"] = new.size().into();
}

/// A layer with the compression of the shape.
fn compressed(
    store: &Store,
    layer: &Descriptor,
    diff_id: Option<&Digest>,
    shape: Shape,
    progress: &dyn TransferListener,
) -> Result<Descriptor, TransportError> {
    let wanted = match (shape.compression, Packed::of(layer.media_type())) {
        (None, Packed::Plain) => Compression::default(),
        (Some(wanted), Packed::Gzip | Packed::Zstd) if shape.anew => wanted,
        (None, _)
        | (Some(Compression::Gzip(_)), Packed::Gzip)
        | (Some(Compression::Zstd(_)), Packed::Zstd)
        | (Some(Compression::None), Packed::Plain) => return Ok(layer.clone()),
        (Some(wanted), _) => wanted,
    };
    parse_digest(layer.digest().as_ref())?;
    let key = format!("{}-{wanted}", layer.digest());
    if let Some(known) = store.cached::<Compressed>(&key)? {
        return Ok(known.layer);
    }
    progress.event(&Event::Start {
        digest: layer.digest(),
        size: layer.size(),
        direction: Direction::Out,
    });
    let path = store.blob_path(layer.digest());
    let failed = |source| TransportError::io("compress", &path, source);
    let plain = layer::decompressor(store.open_verified(layer.digest())?);
    let mut plain = Sha256Reader::new(Bounded {
        inner: plain,
        left: layer::Limits::default().max_bytes,
    });
    let writer = layer::compress(&mut plain, store.blob_writer()?, wanted).map_err(failed)?;
    let (_, found, _) = plain.finish();
    if let Some(expected) = diff_id
        && found != *expected
    {
        return Err(TransportError::Digest {
            path,
            what: "a layer".into(),
            expected: expected.to_string(),
            found: found.to_string(),
        });
    }
    let (digest, size) = writer.commit(None)?;
    let new = descriptor(wanted.media_type(), digest, size);
    let record = Compressed { layer: new.clone() };
    store.remember(&key, &record)?;
    progress.event(&Event::Done {
        digest: layer.digest(),
        outcome: Transfer::Transferred,
    });
    Ok(new)
}

/// No layer is larger than what is unpacked.
struct Bounded<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            io::Error::other("it is larger without compression than a layer may be")
        })?;
        Ok(count)
    }
}
