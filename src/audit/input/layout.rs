//! OCI image layouts (image-spec, `image-layout.md`), in a directory or in a tar file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::layer::Spending;
use crate::oci::{
    Descriptor, Digest, ImageConfig, ImageIndex, ImageManifest, MAX_INDEXES, MAX_METADATA,
    REF_NAME, Selected, docker, for_platform, from_json, in_index, named_as_saved, sha256,
    this_platform,
};

use super::super::error::AuditError;
use super::super::paths::text;
use super::{Image, Layers, layers, uncompressed};

/// The beginnings of layers' media types (image-spec; Docker's, "Image Manifest V 2, Schema 2").
const LAYERS: [&str; 2] = [
    "application/vnd.oci.image.layer.",
    "application/vnd.docker.image.rootfs.diff.",
];
/// What a manifest, an index and a configuration may be called (image-spec; Docker's, version 2, schema 2).
const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    docker::MANIFEST,
];
const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    docker::MANIFEST_LIST,
];
const CONFIGS: [&str; 2] = ["application/vnd.oci.image.config.v1+json", docker::CONFIG];

/// Named files: those of a directory, or the members of an archive.
pub(super) trait Files: Sync {
    /// Opens a file; `None` if it is missing.
    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send + '_>>, AuditError>;

    /// The size of a file in bytes; `None` if it is missing.
    fn size(&self, name: &str) -> Result<Option<u64>, AuditError>;

    /// For errors.
    fn place(&self) -> &Path;

    /// Reads a small file whole.
    fn read(&self, name: &str) -> Result<Vec<u8>, AuditError> {
        let path = self.place().join(name);
        let Some(file) = self.open(name)? else {
            return Err(self.no_image(format!("it has no {name}")));
        };
        let mut bytes = Vec::new();
        file.take(MAX_METADATA + 1)
            .read_to_end(&mut bytes)
            .map_err(|source| AuditError::io(&path, source))?;
        if bytes.len() as u64 > MAX_METADATA {
            return Err(AuditError::TooLarge {
                path,
                limit: MAX_METADATA,
            });
        }
        Ok(bytes)
    }

    fn no_image(&self, problem: String) -> AuditError {
        AuditError::NotAnImage {
            path: self.place().to_owned(),
            what: "an image",
            problem,
        }
    }
}

struct Directory(PathBuf);

impl Files for Directory {
    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send + '_>>, AuditError> {
        let path = self.0.join(name);
        // Checked first, because opening a FIFO would wait. Build tools make layouts with links;
        // their targets do not matter, because every blob is compared with its digest.
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(AuditError::io(path, error)),
        }
        let file = File::open(&path).map_err(|source| AuditError::io(path, source))?;
        Ok(Some(Box::new(file)))
    }

    fn size(&self, name: &str) -> Result<Option<u64>, AuditError> {
        let path = self.0.join(name);
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(AuditError::io(path, error)),
        }
    }

    fn place(&self) -> &Path {
        &self.0
    }
}

/// An image of a layout in a directory: the one of this name, or the only one.
pub fn oci_layout(directory: &Path, tag: Option<&str>) -> Result<Image<'static>, AuditError> {
    from_layout(Directory(directory.to_owned()), tag)
}

struct LayoutLayers<F> {
    files: F,
    digests: Vec<Digest>,
}

impl<F: Files> Layers for LayoutLayers<F> {
    fn open(&self, index: usize) -> Result<Box<dyn Read + Send + '_>, AuditError> {
        let digest = &self.digests[index];
        let name = blob(digest);
        let Some(file) = self.files.open(&name)? else {
            return Err(self.files.no_image(format!("it has no {name}")));
        };
        Ok(uncompressed(file, digest))
    }
}

/// Reads index, manifest and configuration of a layout.
pub(super) fn from_layout<F: Files + 'static>(
    files: F,
    tag: Option<&str>,
) -> Result<Image<'static>, AuditError> {
    let place = files.place().display().to_string();
    check_version(&files)?;
    let index: ImageIndex =
        from_json(&files.read("index.json")?, &format!("the index of {place}"))?;
    let (manifest, digest) = manifest_of(&files, choose_name(&index, &files, tag)?)?;
    let kind = manifest.config().media_type().to_string();
    if !CONFIGS.contains(&kind.as_str()) {
        let kind = text(kind.as_bytes());
        return Err(files.no_image(format!("its configuration has the type `{kind}`")));
    }
    let bytes = verified(&files, manifest.config())?;
    let config = ImageConfig::from_bytes(&bytes, &format!("the configuration in {place}"))?;
    let digests: Vec<Digest> = manifest
        .layers()
        .iter()
        .map(|layer| layer.digest().clone())
        .collect();
    for layer in manifest.layers() {
        crate::oci::parse_digest(layer.digest().as_ref())?;
        let media_type = layer.media_type().to_string();
        if !LAYERS.iter().any(|known| media_type.starts_with(known)) {
            let media_type = text(media_type.as_bytes());
            return Err(files.no_image(format!("it has a layer of the type `{media_type}`")));
        }
        let name = blob(layer.digest());
        if let Some(size) = files.size(&name)? {
            sized(&files, layer, size)?;
        }
    }
    Ok(Image {
        name: match tag {
            Some(tag) => format!("{place}:{tag}"),
            None => place,
        },
        digest: Some(digest),
        layers: layers(&config, &digests)?,
        config,
        source: Box::new(LayoutLayers { files, digests }),
        trusted: None,
        absent: 0,
        spending: Spending::unlimited(),
    })
}

/// Without this file it is not a layout, whatever else it has.
fn check_version<F: Files>(files: &F) -> Result<(), AuditError> {
    let what = format!("the oci-layout of {}", files.place().display());
    let mark: Value = from_json(&files.read("oci-layout")?, &what)?;
    match mark.get("imageLayoutVersion").and_then(Value::as_str) {
        Some(version) if version.starts_with("1.") => Ok(()),
        _ => Err(files.no_image("it is an OCI image layout of a version other than 1".into())),
    }
}

/// The manifest to which an entry of an index leads, with its digest.
fn manifest_of<F: Files>(
    files: &F,
    entry: &Descriptor,
) -> Result<(ImageManifest, Digest), AuditError> {
    let place = files.place().display();
    let what = format!("the manifest in {place}");
    let mut descriptor = entry.clone();
    for _ in 0..MAX_INDEXES {
        let bytes = verified(files, &descriptor)?;
        let value: Value = from_json(&bytes, &what)?;
        if value.get("manifests").is_none() {
            documented(files, &descriptor, &value, &MANIFESTS)?;
            return Ok((from_json(&bytes, &what)?, descriptor.digest().clone()));
        }
        if value.get("layers").is_some() {
            // CVE-2021-41190: another program would read it as the other kind.
            return Err(files.no_image("it could be read as an image and as an index".into()));
        }
        documented(files, &descriptor, &value, &INDEXES)?;
        let index: ImageIndex = from_json(&bytes, &format!("the index of {place}"))?;
        descriptor = choose_platform(&index)
            .ok_or_else(|| files.no_image("it has no image for this platform".into()))?
            .clone();
    }
    Err(files.no_image(format!(
        "it has indexes of indexes, more than {MAX_INDEXES} deep"
    )))
}

/// The files that an image of an archive of `docker save` with these names has as an OCI layout, the
/// configuration first; `None` where the archive is not one.
pub(super) fn as_layout<F: Files>(
    files: &F,
    names: &[String],
) -> Result<Option<Vec<String>>, AuditError> {
    if files.size("oci-layout")?.is_none() || files.size("index.json")?.is_none() {
        return Ok(None);
    }
    let what = format!("the index of {}", files.place().display());
    let index: ImageIndex = from_json(&files.read("index.json")?, &what)?;
    let Some(entry) = named_as_saved(&index, names) else {
        return Ok(None);
    };
    // Docker names the images of other platforms, and does not write them.
    if files.size(&blob(entry.digest()))?.is_none() {
        return Ok(None);
    }
    let (manifest, _) = manifest_of(files, entry)?;
    let parts = [manifest.config()].into_iter().chain(manifest.layers());
    Ok(Some(parts.map(|part| blob(part.digest())).collect()))
}

/// A document is what its descriptor and the document itself call it: other programs go by that, and would
/// read the same bytes as something else, or refuse them.
fn documented<F: Files>(
    files: &F,
    descriptor: &Descriptor,
    value: &Value,
    known: &[&str],
) -> Result<(), AuditError> {
    let claimed = descriptor.media_type().to_string();
    let own = value.get("mediaType").map(|own| own.as_str().unwrap_or(""));
    for kind in [Some(claimed.as_str()), own].into_iter().flatten() {
        if !known.contains(&kind) || kind != claimed {
            let kind = text(kind.as_bytes());
            return Err(files.no_image(format!(
                "{} has the type `{kind}`, which is not what it is",
                descriptor.digest()
            )));
        }
    }
    if value.get("schemaVersion").and_then(Value::as_u64) != Some(2) {
        return Err(files.no_image(format!(
            "{} does not have the schemaVersion 2",
            descriptor.digest()
        )));
    }
    Ok(())
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.digest())
}

/// Other programs refuse a blob whose size differs from its descriptor.
fn sized<F: Files>(files: &F, descriptor: &Descriptor, size: u64) -> Result<(), AuditError> {
    if size == descriptor.size() {
        return Ok(());
    }
    Err(files.no_image(format!(
        "{} has {size} bytes, and its descriptor says {}",
        descriptor.digest(),
        descriptor.size()
    )))
}

fn verified<F: Files>(files: &F, descriptor: &Descriptor) -> Result<Vec<u8>, AuditError> {
    // Only SHA-256 is known; its form also keeps the file's name within the layout.
    crate::oci::parse_digest(descriptor.digest().as_ref())?;
    let name = blob(descriptor.digest());
    let bytes = files.read(&name)?;
    sized(files, descriptor, bytes.len() as u64)?;
    let found = sha256(&bytes);
    if found == *descriptor.digest() {
        Ok(bytes)
    } else {
        Err(AuditError::Corrupt {
            what: files.place().join(name).display().to_string(),
            expected: descriptor.digest().clone(),
            found,
        })
    }
}

fn choose_name<'i, F: Files>(
    index: &'i ImageIndex,
    files: &F,
    tag: Option<&str>,
) -> Result<&'i Descriptor, AuditError> {
    match in_index(index, tag) {
        Selected::One(entry) => Ok(entry),
        Selected::Several if tag.is_some() => {
            Err(files.no_image("it has different images with this name".into()))
        }
        Selected::Several | Selected::Missing => {
            let name_of = |descriptor: &Descriptor| {
                let annotations = descriptor.annotations().as_ref()?;
                annotations.get(REF_NAME).cloned()
            };
            let all = index.manifests().iter();
            let known: Vec<String> = all.filter_map(name_of).take(20).collect();
            Err(no_such_image(files, tag, &known))
        }
    }
}

/// The error where a place has no image of a name, or several images and no name was given.
pub(super) fn no_such_image<F: Files>(
    files: &F,
    name: Option<&str>,
    known: &[String],
) -> AuditError {
    let known: Vec<String> = known
        .iter()
        .map(|name| format!("`{}`", text(name.as_bytes())))
        .collect();
    AuditError::NoSuchImage {
        place: files.place().display().to_string(),
        name: name.unwrap_or("(none was given)").to_owned(),
        known: if known.is_empty() {
            "no names".into()
        } else {
            known.join(", ")
        },
    }
}

/// The image for this machine, else the only one for Linux.
fn choose_platform(index: &ImageIndex) -> Option<&Descriptor> {
    for_platform(index, &this_platform()).or_else(|| {
        let of_linux = |entry: &&Descriptor| {
            let platform = entry.platform().as_ref();
            platform.is_some_and(|platform| platform.os().to_string() == "linux")
        };
        let mut all = index.manifests().iter().filter(of_linux);
        all.next().filter(|_| all.next().is_none())
    })
}
