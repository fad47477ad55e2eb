//! An OCI image layout to be read, whatever it lies in (image-spec, `image-layout.md`), and what is like it.

use std::collections::{BTreeSet, HashSet};
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::error::TransportError;
use super::{Imported, copy};
use crate::oci::{
    CONTAINERD_NAME, Descriptor, Digest, ImageIndex, ImageManifest, MAX_INDEXES, MAX_METADATA,
    REF_NAME, Selected, descriptor, from_json, in_index, named_as_saved, parse_digest,
    this_platform,
};
use crate::registry::{
    Document, Event, Platforms, Transfer, TransferListener, check_platform, choose, reduced,
};
use crate::store::Store;

/// The files of a layout.
pub(super) trait Layout {
    /// For messages.
    fn path(&self) -> &Path;
    /// A file of the layout (`index.json`, `blobs/sha256/HEX`); `None` when it is not there.
    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, TransportError>;
    /// The file of a manifest or an index, by the digest's hexadecimal digits.
    fn document(&self, hex: &str) -> String {
        self.blob(hex)
    }
    /// The file of a blob.
    fn blob(&self, hex: &str) -> String {
        format!("blobs/sha256/{hex}")
    }
}

/// What is taken of a layout.
#[derive(Debug, Default)]
pub(super) struct Wanted<'w> {
    /// Of an index.
    pub platforms: Platforms,
    /// Digests of blobs that may be missing.
    pub left_out: Option<&'w BTreeSet<String>>,
}

/// Reads a small file of a layout.
pub(super) fn read_small(
    layout: &dyn Layout,
    name: &str,
) -> Result<Option<Vec<u8>>, TransportError> {
    let Some(file) = layout.open(name)? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    file.take(MAX_METADATA + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| TransportError::io("read", layout.path(), source))?;
    if bytes.len() as u64 > MAX_METADATA {
        let problem = format!("its {name} is larger than {MAX_METADATA} bytes");
        return Err(TransportError::malformed(layout.path(), problem));
    }
    Ok(Some(bytes))
}

/// Copies the image called `tag` (or the only one) into the store.
pub(super) fn import(
    store: &Store,
    layout: &dyn Layout,
    tag: Option<&str>,
    wanted: &Wanted<'_>,
    progress: &dyn TransferListener,
) -> Result<Imported, TransportError> {
    let entry = entry(layout, tag)?;
    let name = name(&entry);
    let descriptor = tree(store, layout, &entry, wanted, progress)?;
    Ok(Imported { descriptor, name })
}

/// What `index.json` says of the image called `tag`, or of the only one.
pub(super) fn entry(layout: &dyn Layout, tag: Option<&str>) -> Result<Descriptor, TransportError> {
    let path = layout.path();
    check_version(layout)?;
    let index = read_small(layout, "index.json")?
        .ok_or_else(|| TransportError::malformed(path, "it has no index.json"))?;
    let index: ImageIndex = from_json(&index, &format!("the index.json of {}", path.display()))?;
    select(path, &index, tag).cloned()
}

fn check_version(layout: &dyn Layout) -> Result<(), TransportError> {
    let path = layout.path();
    let mark = read_small(layout, "oci-layout")?.ok_or_else(|| {
        TransportError::malformed(
            path,
            "it is not an OCI image layout: it has no file oci-layout",
        )
    })?;
    let mark: Value = from_json(&mark, &format!("the oci-layout of {}", path.display()))?;
    match mark.get("imageLayoutVersion").and_then(Value::as_str) {
        Some(version) if version.starts_with("1.") => Ok(()),
        _ => Err(TransportError::malformed(
            path,
            "it is an OCI image layout of a version other than 1",
        )),
    }
}

fn annotation<'d>(entry: &'d Descriptor, key: &str) -> Option<&'d str> {
    entry.annotations().as_ref()?.get(key).map(String::as_str)
}

fn name(entry: &Descriptor) -> Option<String> {
    annotation(entry, CONTAINERD_NAME)
        .or_else(|| annotation(entry, REF_NAME))
        .map(str::to_owned)
}

/// The entry of a name; without one, the only one there is.
fn select<'i>(
    path: &Path,
    index: &'i ImageIndex,
    tag: Option<&str>,
) -> Result<&'i Descriptor, TransportError> {
    let entries = index.manifests();
    let names = || {
        let names = entries
            .iter()
            .filter_map(|entry| annotation(entry, REF_NAME));
        names.map(|name| name.chars().take(200).collect()).collect()
    };
    match in_index(index, tag) {
        Selected::One(entry) => Ok(entry),
        Selected::Missing => Err(TransportError::NoSuchImage {
            path: path.to_owned(),
            wanted: tag.map(str::to_owned),
            found: names(),
        }),
        Selected::Several => Err(several_images(path, tag, names())),
    }
}

/// Of images with one name, or of images of which none was named.
pub(super) fn several_images(
    path: &Path,
    named: Option<&str>,
    found: Vec<String>,
) -> TransportError {
    match named {
        Some(name) => {
            let problem = format!(
                "it has different images with the name {}",
                name.escape_debug()
            );
            TransportError::malformed(path, problem)
        }
        None => TransportError::Ambiguous {
            path: path.to_owned(),
            found,
        },
    }
}

/// An image as the `manifest.json` of an archive has it.
pub(super) struct Saved<'s> {
    pub names: &'s [String],
    /// Of the configuration.
    pub config: &'s Digest,
    /// The members with the layers.
    pub layers: &'s [String],
}

impl Saved<'_> {
    /// Whether a manifest of the layout in the same archive has the very same files.
    fn is(&self, manifest: &ImageManifest) -> bool {
        let layers = manifest.layers();
        manifest.config().digest() == self.config
            && layers.len() == self.layers.len()
            && layers.iter().zip(self.layers).all(|(layer, member)| {
                *member == format!("blobs/sha256/{}", layer.digest().digest())
            })
    }
}

/// The manifest of an image of `manifest.json`, where an archive of Docker is an OCI layout, too; `None` where it
/// is not, or has not all of the image in that form.
pub(super) fn same_image(
    store: &Store,
    layout: &dyn Layout,
    saved: &Saved<'_>,
    progress: &dyn TransferListener,
) -> Result<Option<Descriptor>, TransportError> {
    if check_version(layout).is_err() {
        return Ok(None);
    }
    let Some(index) = read_small(layout, "index.json")? else {
        return Ok(None);
    };
    let what = format!("the index.json of {}", layout.path().display());
    let index: ImageIndex = from_json(&index, &what)?;
    let Some(entry) = named_as_saved(&index, saved.names) else {
        return Ok(None);
    };
    match one(layout, entry, None) {
        // Programs that read `manifest.json` would have another image, and so would the audit.
        Ok((_, _, manifest)) if !saved.is(&manifest) => {
            let problem = "its index.json and its manifest.json name different images";
            return Err(TransportError::malformed(layout.path(), problem));
        }
        _ => {}
    }
    match tree(store, layout, entry, &Wanted::default(), progress) {
        Ok(found) => Ok(Some(found)),
        // Docker names the images of other platforms, and does not write them.
        Err(TransportError::Malformed { .. } | TransportError::Registry(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Copies what is wanted of an image with its blobs, each manifest after its own.
pub(super) fn tree(
    store: &Store,
    layout: &dyn Layout,
    entry: &Descriptor,
    wanted: &Wanted<'_>,
    progress: &dyn TransferListener,
) -> Result<Descriptor, TransportError> {
    if let Platforms::One(platform) = &wanted.platforms {
        let (found, bytes, manifest) = one(layout, entry, platform.as_deref())?;
        if let Some(platform) = platform {
            check(platform, &config(layout, &manifest)?, layout.path())?;
        }
        blobs(store, layout, &manifest, wanted.left_out, progress)?;
        store.put_blob(&bytes)?;
        return Ok(found);
    }
    several(store, layout, entry, (wanted, None), 0, progress)
}

/// Goes down to the manifest of a platform; without one, of this machine's.
pub(super) fn one(
    layout: &dyn Layout,
    entry: &Descriptor,
    platform: Option<&str>,
) -> Result<(Descriptor, Vec<u8>, ImageManifest), TransportError> {
    let path = layout.path();
    let mut current = bare(entry);
    for _ in 0..MAX_INDEXES {
        let bytes = document(layout, &current)?;
        let what = format!("the manifest {} in {}", current.digest(), path.display());
        let claimed = current.media_type().to_string();
        let (media_type, document) = Document::parse(&bytes, Some(&claimed), &what)?;
        match document {
            Document::Index(index) => {
                let own = this_platform();
                current = bare(choose(&index, platform.unwrap_or(&own), &what)?);
            }
            Document::Manifest(manifest) => {
                let size = bytes.len() as u64;
                let found = descriptor(media_type, current.digest().clone(), size);
                return Ok((found, bytes, *manifest));
            }
        }
    }
    Err(too_deep(path))
}

/// Copies an index as it is, or with some of its images.
fn several(
    store: &Store,
    layout: &dyn Layout,
    entry: &Descriptor,
    (wanted, asked): (&Wanted<'_>, Option<&str>),
    depth: usize,
    progress: &dyn TransferListener,
) -> Result<Descriptor, TransportError> {
    let path = layout.path();
    if depth >= MAX_INDEXES {
        return Err(too_deep(path));
    }
    let bytes = document(layout, entry)?;
    let what = format!("the manifest {} in {}", entry.digest(), path.display());
    let claimed = entry.media_type().to_string();
    let (media_type, document) = Document::parse_any(&bytes, Some(&claimed), &what)?;
    let bytes = match document {
        Document::Manifest(manifest) => {
            if depth == 0 {
                wanted.platforms.check_single(&what)?;
            }
            if let Some(asked) = asked {
                check(asked, &config(layout, &manifest)?, path)?;
            }
            blobs(store, layout, &manifest, wanted.left_out, progress)?;
            bytes
        }
        Document::Index(index) => {
            // What lies in an index that was chosen is taken as it is.
            let all = Platforms::All;
            let platforms = if depth == 0 { &wanted.platforms } else { &all };
            let (kept, bytes) = reduced(&index, bytes, platforms, &what)?;
            let mut done = HashSet::new();
            for child in kept.iter().filter(|child| done.insert(child.digest())) {
                let wanted = (wanted, platforms.asked_for(&index, child));
                several(store, layout, &bare(child), wanted, depth + 1, progress)?;
            }
            bytes
        }
    };
    let (digest, size) = store.put_blob(&bytes)?;
    Ok(descriptor(media_type, digest, size))
}

fn too_deep(path: &Path) -> TransportError {
    let problem = format!("it has indexes of indexes, more than {MAX_INDEXES} deep");
    TransportError::malformed(path, problem)
}

/// Without annotations and platform.
fn bare(entry: &Descriptor) -> Descriptor {
    descriptor(
        entry.media_type().clone(),
        entry.digest().clone(),
        entry.size(),
    )
}

fn blobs(
    store: &Store,
    layout: &dyn Layout,
    manifest: &ImageManifest,
    left_out: Option<&BTreeSet<String>>,
    progress: &dyn TransferListener,
) -> Result<(), TransportError> {
    for blob in [manifest.config()].into_iter().chain(manifest.layers()) {
        let may_be_missing = left_out.is_some_and(|out| out.contains(blob.digest().as_ref()));
        if may_be_missing && layout.open(&layout.blob(&hex(layout, blob)?))?.is_none() {
            continue;
        }
        self::blob(store, layout, blob, progress)?;
    }
    Ok(())
}

/// Compares what an image says of itself with the platform that was asked for.
pub(super) fn check(wanted: &str, config: &[u8], path: &Path) -> Result<(), TransportError> {
    let what = format!("the image in {}", path.display());
    check_platform(&what, Some(wanted), config)?;
    Ok(())
}

/// The configuration of an image, verified.
pub(super) fn config(
    layout: &dyn Layout,
    manifest: &ImageManifest,
) -> Result<Vec<u8>, TransportError> {
    let entry = manifest.config();
    verified(layout, entry, &layout.blob(&hex(layout, entry)?))
}

fn hex(layout: &dyn Layout, entry: &Descriptor) -> Result<String, TransportError> {
    let digest = parse_digest(entry.digest().as_ref())
        .map_err(|error| TransportError::malformed(layout.path(), error.to_string()))?;
    Ok(digest.digest().to_owned())
}

/// A manifest or an index, verified.
fn document(layout: &dyn Layout, entry: &Descriptor) -> Result<Vec<u8>, TransportError> {
    verified(layout, entry, &layout.document(&hex(layout, entry)?))
}

fn verified(
    layout: &dyn Layout,
    entry: &Descriptor,
    file: &str,
) -> Result<Vec<u8>, TransportError> {
    let path = layout.path();
    let bytes = read_small(layout, file)?
        .ok_or_else(|| TransportError::malformed(path, format!("{} is missing", entry.digest())))?;
    let found = crate::oci::sha256(&bytes);
    if found != *entry.digest() {
        return Err(TransportError::Digest {
            path: path.to_owned(),
            what: file.escape_debug().to_string(),
            expected: entry.digest().to_string(),
            found: found.to_string(),
        });
    }
    if bytes.len() as u64 != entry.size() {
        return Err(TransportError::malformed(
            path,
            format!(
                "{} should have {} bytes and has {}",
                entry.digest(),
                entry.size(),
                bytes.len()
            ),
        ));
    }
    Ok(bytes)
}

fn blob(
    store: &Store,
    layout: &dyn Layout,
    entry: &Descriptor,
    progress: &dyn TransferListener,
) -> Result<(), TransportError> {
    if copy::is_here(store, entry) {
        progress.event(&Event::Done {
            digest: entry.digest(),
            outcome: Transfer::Existing,
        });
        return Ok(());
    }
    let path = layout.path();
    let mut file = layout
        .open(&layout.blob(&hex(layout, entry)?))?
        .ok_or_else(|| TransportError::malformed(path, format!("{} is missing", entry.digest())))?;
    copy::into_store(store, &mut file, entry, path, progress)
}
