//! `oci:DIR[:TAG]`: an OCI image layout in a directory (image-spec, `image-layout.md`).

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};

use super::content::{self, Wanted, read_small};
use super::directory::{Directory, place};
use super::error::TransportError;
use super::{Imported, copy};
use crate::oci::{Descriptor, REF_NAME, from_json, to_canonical_json};
use crate::registry::{Direction, Event, Transfer, TransferListener};
use crate::store::Store;

pub(super) const VERSION: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

pub(super) fn import(
    store: &Store,
    directory: &Path,
    tag: Option<&str>,
    wanted: &Wanted<'_>,
    progress: &dyn TransferListener,
) -> Result<Imported, TransportError> {
    let layout = Directory::open(directory)?;
    content::import(store, &layout, tag, wanted, progress)
}

/// Adds an image to a layout, which is made when it is missing. An image of the same name there (or
/// without a name, if it shall have none) loses its place. The blobs of `left_out` are not copied.
pub(super) fn export(
    store: &Store,
    image: &Descriptor,
    directory: &Path,
    tag: Option<&str>,
    left_out: &BTreeSet<String>,
    progress: &dyn TransferListener,
) -> Result<(), TransportError> {
    let blobs = directory.join("blobs/sha256");
    check_is_layout(directory)?;
    fs::create_dir_all(&blobs).map_err(|source| TransportError::io("create", &blobs, source))?;
    let layout = Directory::open(directory)?;
    for entry in copy::parts(store, image)? {
        if left_out.contains(entry.digest().as_ref()) {
            continue;
        }
        let target = blobs.join(entry.digest().digest());
        if copy::is_right(&target, &entry) {
            progress.event(&Event::Done {
                digest: entry.digest(),
                outcome: Transfer::Existing,
            });
            continue;
        }
        let mut from = store.open_verified(entry.digest())?;
        place(&target, |into| {
            copy::blob(&mut from, into, &entry, Direction::Out, &target, progress)
        })?;
    }
    // Two exports at once: the index is read and written by one of them at a time.
    layout.lock()?;
    if !directory.join("oci-layout").exists() {
        place(&directory.join("oci-layout"), |into| {
            write(into, VERSION, directory)
        })?;
    }
    let index = match read_small(&layout, "index.json")? {
        Some(bytes) => from_json(
            &bytes,
            &format!("the index.json of {}", directory.display()),
        )?,
        None => json!({}),
    };
    let index = to_canonical_json(&with_entry(index, image, tag))?;
    place(&directory.join("index.json"), |into| {
        write(into, &index, directory)
    })
}

/// A directory with other things in it is not filled with blobs.
fn check_is_layout(directory: &Path) -> Result<(), TransportError> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(TransportError::io("open", directory, source)),
    };
    let names: Vec<_> = entries.flatten().map(|entry| entry.file_name()).collect();
    let known = ["oci-layout", "blobs", "index.json"];
    if names.is_empty()
        || names
            .iter()
            .any(|name| known.iter().any(|known| name == known))
    {
        Ok(())
    } else {
        let problem =
            "it has files in it and is not an OCI image layout; name an empty or a new directory";
        Err(TransportError::malformed(directory, problem))
    }
}

fn write(into: &mut dyn Write, bytes: &[u8], path: &Path) -> Result<(), TransportError> {
    into.write_all(bytes)
        .map_err(|source| TransportError::io("write", path, source))
}

/// An `index.json` with one more image.
pub(super) fn with_entry(mut index: Value, image: &Descriptor, tag: Option<&str>) -> Value {
    let mut entry = json!({
        "mediaType": image.media_type(),
        "digest": image.digest().to_string(),
        "size": image.size(),
    });
    if let Some(tag) = tag {
        entry["annotations"] = json!({ REF_NAME: tag });
    }
    let mut entries = match index.get_mut("manifests").map(Value::take) {
        Some(Value::Array(entries)) => entries,
        _ => Vec::new(),
    };
    entries.retain(|known| known["annotations"][REF_NAME].as_str() != tag);
    entries.push(entry);
    if !index.is_object() {
        index = json!({});
    }
    index["schemaVersion"] = json!(2);
    index["mediaType"] = json!("application/vnd.oci.image.index.v1+json");
    index["manifests"] = Value::Array(entries);
    index
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{MediaType, descriptor, sha256};

    #[test]
    fn a_name_has_one_image() {
        let image = |what: &[u8]| descriptor(MediaType::ImageManifest, sha256(what), 1);
        let mut index = json!({});
        for (what, tag) in [
            (&b"1"[..], Some("a")),
            (b"2", Some("b")),
            (b"3", None),
            (b"4", Some("a")),
            (b"5", None),
        ] {
            index = with_entry(index, &image(what), tag);
        }
        let left: Vec<_> = index["manifests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["digest"].as_str().unwrap().to_owned())
            .collect();
        let expected = [b"2", b"4", b"5"].map(|what| sha256(what).to_string());
        assert_eq!(left, expected);
    }
}
