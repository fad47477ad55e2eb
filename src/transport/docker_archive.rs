//! `docker-archive:FILE[:REF]`: what `docker save` writes and `docker load` and `podman load` read
//! (the Docker image specification 1.2, "Combined Image JSON + Filesystem Changeset Format").
//!
//! The archive has a `manifest.json`, the configurations and the layers. Layers stay as they are when
//! they are plain or gzipped, both ways; an archive that is an OCI layout as well (Docker 25 and later
//! write both) gives the layout's manifest, so that the image keeps its digest; only zstd, which old loaders do not know, is unpacked.

use std::io::{self, Read, Write};
use std::path::Path;

use serde::Deserialize;
use serde_json::json;

use super::archive::{Output, TarFile, TarWriter, not_added_to, or_unread};
use super::content::Saved;
use super::error::TransportError;
use super::{Imported, content, copy};
use crate::layer::{self, Limits, Packing};
use crate::oci::{
    Descriptor, Digest, ImageConfig, MAX_METADATA, MediaType, Reference, Selected, Sha256Reader,
    descriptor, from_json, in_saved, sha256, to_canonical_json,
};
use crate::registry::{Direction, TransferListener};
use crate::store::Store;

const MANIFEST: &str = "manifest.json";

/// One image in `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

impl Item {
    fn names(&self) -> &[String] {
        self.repo_tags.as_deref().unwrap_or_default()
    }
}

/// Adds an image to an archive, which is made when it is missing. Another image of the same name in it
/// loses its place; a file of something else is replaced.
pub(super) fn export(
    store: &Store,
    image: &Descriptor,
    name: &str,
    file: &Path,
    progress: &dyn TransferListener,
) -> Result<(), TransportError> {
    let others = Others::of(store, file, name)?;
    let mut output = Output::create(file)?;
    write(
        store,
        image,
        name,
        output.writer(),
        (file, others.as_ref()),
        progress,
    )?;
    output.commit()
}

/// The images that an archive has already and keeps.
pub(super) struct Others {
    archive: TarFile,
    items: Vec<Item>,
}

impl Others {
    /// `None` where there are none. A file that is something else is not replaced.
    fn of(store: &Store, file: &Path, name: &str) -> Result<Option<Self>, TransportError> {
        if !std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.len() > 0) {
            return Ok(None);
        }
        let other = || not_added_to(file, "what `docker save` writes");
        let archive = TarFile::open(store, file).map_err(or_unread(other))?;
        let manifest = small(&archive, MANIFEST)?.ok_or_else(other)?;
        let mut items: Vec<Item> = serde_json::from_slice(&manifest).map_err(|_| other())?;
        let own = repo_tag(name);
        items.retain_mut(|item| {
            let before = item.names().len();
            if let (Some(own), Some(names)) = (&own, &mut item.repo_tags) {
                names.retain(|name| name != own);
            }
            // One that had this name alone makes room, and so does one without a name for another such.
            !item.names().is_empty() || (before == 0 && own.is_some())
        });
        Ok((!items.is_empty()).then_some(Self { archive, items }))
    }

    /// Copies their members that are not there yet. Gives what `manifest.json` says of them.
    fn write(
        &self,
        tar: &mut TarWriter<'_>,
        written: &mut Vec<String>,
    ) -> Result<Vec<serde_json::Value>, TransportError> {
        let path = self.archive.path();
        let mut said = Vec::new();
        for item in &self.items {
            let layers = item.layers.as_deref().unwrap_or_default();
            for name in [&item.config].into_iter().chain(layers) {
                if written.contains(name) {
                    continue;
                }
                let mut content = self.archive.member(name).ok_or_else(|| {
                    let problem = format!("{} is missing in it", name.escape_debug());
                    TransportError::malformed(path, problem)
                })?;
                tar.file(name, content.size(), |into| {
                    io::copy(&mut content, into)
                        .map(|_| ())
                        .map_err(|source| TransportError::io("copy from", path, source))
                })?;
                written.push(name.clone());
            }
            said.push(json!({
                "Config": item.config,
                "RepoTags": item.names(),
                "Layers": layers,
            }));
        }
        Ok(said)
    }
}

/// Writes the archive itself; the path is for messages.
pub(super) fn write(
    store: &Store,
    image: &Descriptor,
    name: &str,
    into: &mut dyn Write,
    (path, others): (&Path, Option<&Others>),
    progress: &dyn TransferListener,
) -> Result<(), TransportError> {
    let image = store.image_at(image)?;
    let mut tar = TarWriter::new(into, path);
    let mut written = Vec::new();
    let mut said = match others {
        Some(others) => others.write(&mut tar, &mut written)?,
        None => Vec::new(),
    };
    let config = format!("{}.json", image.manifest.config().digest().digest());
    if !written.contains(&config) {
        tar.bytes(&config, &image.config_bytes)?;
    }
    let mut layers: Vec<String> = Vec::new();
    for (layer, diff_id) in image.manifest.layers().iter().zip(image.config.diff_ids()) {
        let member = format!("{}.tar", layer.digest().digest());
        if !layers.contains(&member) && !written.contains(&member) {
            let plain = if layer.media_type().to_string().ends_with("zstd") {
                Some(unpacked_size(store, layer, &diff_id)?)
            } else {
                None
            };
            tar.file(
                &member,
                plain.unwrap_or_else(|| layer.size()),
                |into| match plain {
                    None => {
                        let mut from = store.open_verified(layer.digest())?;
                        copy::blob(&mut from, into, layer, Direction::Out, path, progress)
                    }
                    Some(size) => {
                        let mut from = layer::decompressor(store.open_blob(layer.digest())?);
                        let entry = descriptor(MediaType::ImageLayer, diff_id.clone(), size);
                        copy::blob(&mut from, into, &entry, Direction::Out, path, progress)
                    }
                },
            )?;
        }
        layers.push(member);
    }
    said.push(json!({
        "Config": config,
        "RepoTags": repo_tag(name).into_iter().collect::<Vec<_>>(),
        "Layers": layers,
    }));
    tar.bytes(MANIFEST, &to_canonical_json(&said)?)?;
    tar.finish()
}

/// Docker's names have a tag and no digest.
fn repo_tag(name: &str) -> Option<String> {
    let reference: Reference = name.parse().ok()?;
    let bare = name.split('@').next().unwrap_or(name);
    if reference.tag().is_some() {
        Some(bare.to_owned())
    } else if reference.digest().is_some() {
        None
    } else {
        Some(format!("{bare}:latest"))
    }
}

/// The size of a layer without compression; its content is compared with the diff ID.
fn unpacked_size(
    store: &Store,
    layer: &Descriptor,
    diff_id: &Digest,
) -> Result<u64, TransportError> {
    let path = store.blob_path(layer.digest());
    let (found, size) = hash(layer::decompressor(store.open_blob(layer.digest())?))
        .map_err(|source| TransportError::io("read", &path, source))?;
    if found == *diff_id {
        Ok(size)
    } else {
        Err(wrong(&path, "a layer", diff_id, &found))
    }
}

fn wrong(path: &Path, what: &str, expected: &Digest, found: &Digest) -> TransportError {
    TransportError::Digest {
        path: path.to_owned(),
        what: what.to_owned(),
        expected: expected.to_string(),
        found: found.to_string(),
    }
}

/// The digest and the size of all that can be read, up to the limit of a layer.
fn hash(from: impl Read) -> io::Result<(Digest, u64)> {
    let limit = Limits::default().max_bytes;
    let mut reader = Sha256Reader::new(from.take(limit + 1));
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let (_, digest, size) = reader.finish();
    if size > limit {
        return Err(io::Error::other(format!("it has more than {limit} bytes")));
    }
    Ok((digest, size))
}

/// Copies an image out of an archive; without `wanted`, the only one.
pub(super) fn import(
    store: &Store,
    file: &Path,
    wanted: Option<&str>,
    progress: &dyn TransferListener,
) -> Result<Imported, TransportError> {
    let archive = TarFile::open(store, file)?;
    let manifest = small(&archive, MANIFEST)?.ok_or_else(|| {
        TransportError::malformed(
            file,
            "it has no manifest.json, so it is not what `docker save` writes",
        )
    })?;
    let items: Vec<Item> = from_json(&manifest, "its manifest.json")?;
    let item = select(file, &items, wanted)?;
    let name = wanted
        .map(str::to_owned)
        .or_else(|| item.names().first().cloned());
    let config_bytes = small(&archive, &item.config)?.ok_or_else(|| {
        TransportError::malformed(
            file,
            "the configuration that its manifest.json names is missing",
        )
    })?;
    check_name(file, &item.config, &config_bytes)?;
    let saved = Saved {
        names: item.names(),
        config: &sha256(&config_bytes),
        layers: item.layers.as_deref().unwrap_or_default(),
    };
    if let Some(descriptor) = content::same_image(store, &archive, &saved, progress)? {
        return Ok(Imported { descriptor, name });
    }
    let what = format!("the configuration in {}", file.display());
    let config = ImageConfig::from_bytes(&config_bytes, &what)?;
    let members = item.layers.as_deref().unwrap_or_default();
    let ids = config.diff_ids();
    if members.len() != ids.len() {
        let problem = format!(
            "it has {} layers, and the configuration names {}",
            members.len(),
            ids.len()
        );
        return Err(TransportError::malformed(file, problem));
    }
    let mut layers = Vec::new();
    for (member, diff_id) in members.iter().zip(&ids) {
        layers.push(layer(store, &archive, member, diff_id, progress)?);
    }
    let (digest, size) = store.put_blob(&config_bytes)?;
    let manifest = to_canonical_json(&json!({
        "schemaVersion": 2,
        "mediaType": MediaType::ImageManifest,
        "config": descriptor(MediaType::ImageConfig, digest, size),
        "layers": layers,
    }))?;
    let (digest, size) = store.put_blob(&manifest)?;
    Ok(Imported {
        descriptor: descriptor(MediaType::ImageManifest, digest, size),
        name,
    })
}

fn small(archive: &TarFile, name: &str) -> Result<Option<Vec<u8>>, TransportError> {
    let Some(content) = archive.member(name) else {
        return Ok(None);
    };
    let size = content.size();
    if size > MAX_METADATA {
        let problem = format!(
            "its {} is larger than {MAX_METADATA} bytes",
            name.escape_debug()
        );
        return Err(TransportError::malformed(archive.path(), problem));
    }
    let mut bytes = Vec::new();
    content
        .take(size)
        .read_to_end(&mut bytes)
        .map_err(|source| TransportError::io("read", archive.path(), source))?;
    Ok(Some(bytes))
}

/// The image of a name (`opal` and `opal:latest` are one), else the only image.
fn select<'i>(
    file: &Path,
    items: &'i [Item],
    wanted: Option<&str>,
) -> Result<&'i Item, TransportError> {
    let names = || {
        items
            .iter()
            .flat_map(Item::names)
            .cloned()
            .collect::<Vec<_>>()
    };
    match in_saved(
        items,
        Item::names,
        |item| (&item.config, &item.layers),
        wanted,
    ) {
        Selected::One(item) => Ok(item),
        Selected::Missing => Err(TransportError::NoSuchImage {
            path: file.to_owned(),
            wanted: wanted.map(str::to_owned),
            found: names(),
        }),
        Selected::Several => Err(content::several_images(file, wanted, names())),
    }
}

/// `HEX.json` and `blobs/sha256/HEX` say what the content's digest is.
fn check_name(file: &Path, name: &str, bytes: &[u8]) -> Result<(), TransportError> {
    let last = name.rsplit('/').next().unwrap_or(name);
    let hex = last.strip_suffix(".json").unwrap_or(last);
    let Ok(expected) = crate::oci::parse_digest(&format!("sha256:{hex}")) else {
        return Ok(());
    };
    let found = sha256(bytes);
    if found == expected {
        Ok(())
    } else {
        Err(wrong(file, "the configuration", &expected, &found))
    }
}

/// Copies one layer as it is, when its content has the diff ID that the configuration names.
fn layer(
    store: &Store,
    archive: &TarFile,
    name: &str,
    diff_id: &Digest,
    progress: &dyn TransferListener,
) -> Result<Descriptor, TransportError> {
    let path = archive.path();
    let open = || {
        archive.member(name).ok_or_else(|| {
            let problem = format!("the layer {} is missing", name.escape_debug());
            TransportError::malformed(path, problem)
        })
    };
    let unreadable = |source| TransportError::io("read a layer of", path, source);
    let content = open()?;
    let size = content.size();
    let media_type = match content.packing().map_err(unreadable)? {
        Packing::Gzip => MediaType::ImageLayerGzip,
        Packing::Zstd => MediaType::ImageLayerZstd,
        Packing::None => MediaType::ImageLayer,
    };
    let (found, _) = hash(layer::decompressor(open()?)).map_err(unreadable)?;
    if found != *diff_id {
        return Err(wrong(path, "a layer", diff_id, &found));
    }
    let digest = if media_type == MediaType::ImageLayer {
        found
    } else {
        hash(open()?).map_err(unreadable)?.0
    };
    let entry = descriptor(media_type, digest, size);
    if !copy::is_here(store, &entry) {
        copy::into_store(store, &mut open()?, &entry, path, progress)?;
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_a_tag() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (name, expected) in [
            ("opal", Some("opal:latest".to_owned())),
            ("opal:1", Some("opal:1".to_owned())),
            (
                "r.example:5000/a/b",
                Some("r.example:5000/a/b:latest".to_owned()),
            ),
            (&format!("opal:1@{digest}"), Some("opal:1".to_owned())),
            (&format!("opal@{digest}"), None),
            ("", None),
            ("NOT A NAME", None),
        ] {
            assert_eq!(repo_tag(name), expected, "{name}");
        }
    }

    #[test]
    fn images_are_selected() {
        let item = |names: &[&str]| Item {
            config: names.concat(),
            repo_tags: Some(names.iter().map(|&name| name.to_owned()).collect()),
            layers: None,
        };
        let items = [
            item(&["opal:latest", "opal:1"]),
            item(&["docker.io/library/python:3"]),
            item(&[]),
        ];
        let path = Path::new("x.tar");
        for (wanted, config) in [
            ("opal", "opal:latestopal:1"),
            ("opal:1", "opal:latestopal:1"),
            ("python:3", "docker.io/library/python:3"),
        ] {
            assert_eq!(select(path, &items, Some(wanted)).unwrap().config, config);
        }
        assert!(matches!(
            select(path, &items, Some("x")),
            Err(TransportError::NoSuchImage { .. })
        ));
        assert!(matches!(
            select(path, &items, None),
            Err(TransportError::Ambiguous { .. })
        ));
        assert!(select(path, &items[1..2], None).is_ok());
        assert!(select(path, &[], None).is_err());
    }
}
