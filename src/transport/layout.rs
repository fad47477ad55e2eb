//! `oci:DIR[:TAG]`: an OCI image layout in a directory (image-spec, `image-layout.md`).

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags, flock, fstat, openat};
use rustix::io::Errno;
use serde_json::{Value, json};

use super::content::{self, Layout, read_small};
use super::error::TransportError;
use super::{Imported, copy};
use crate::oci::{Descriptor, REF_NAME, from_json, to_canonical_json};
use crate::registry::{Direction, Event, Outcome, Progress};
use crate::store::Store;

pub(super) const VERSION: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// A directory whose files are opened without following any link in it.
struct Directory {
    path: PathBuf,
    fd: OwnedFd,
}

impl Directory {
    fn open(path: &Path) -> Result<Self, TransportError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = openat(CWD, path, flags, Mode::empty())
            .map_err(|error| TransportError::io("open", path, error.into()))?;
        Ok(Self {
            path: path.to_owned(),
            fd,
        })
    }
}

impl Layout for Directory {
    fn path(&self) -> &Path {
        &self.path
    }

    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, TransportError> {
        let failed = |error: io::Error| TransportError::io("open", &self.path.join(name), error);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (folders, file) = name.rsplit_once('/').unwrap_or(("", name));
        let mut parent: Option<OwnedFd> = None;
        let mut step = |name: &str, flags: OFlags| {
            let opened = match &parent {
                Some(parent) => openat(parent, name, flags, Mode::empty()),
                None => openat(&self.fd, name, flags, Mode::empty()),
            };
            match opened {
                Ok(fd) => {
                    parent = Some(fd);
                    Ok(true)
                }
                Err(Errno::NOENT | Errno::NOTDIR) => Ok(false),
                Err(error) => Err(failed(error.into())),
            }
        };
        for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
            if !step(folder, flags | OFlags::DIRECTORY)? {
                return Ok(None);
            }
        }
        // NONBLOCK: a FIFO in the place of a file would wait for ever.
        if !step(file, flags | OFlags::NONBLOCK)? {
            return Ok(None);
        }
        let Some(fd) = parent else {
            return Ok(None);
        };
        let stat = fstat(&fd).map_err(|error| failed(error.into()))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(TransportError::malformed(
                &self.path,
                format!("its {name} is not a file"),
            ));
        }
        Ok(Some(Box::new(File::from(fd))))
    }
}

pub(super) fn import(
    store: &Store,
    directory: &Path,
    tag: Option<&str>,
    left_out: &BTreeSet<String>,
    progress: &dyn Progress,
) -> Result<Imported, TransportError> {
    let layout = Directory::open(directory)?;
    content::import_without(store, &layout, tag, left_out, progress)
}

/// Adds an image to a layout, which is made when it is missing. An image of the same name there (or
/// without a name, if it shall have none) loses its place. The blobs of `left_out` are not copied.
pub(super) fn export(
    store: &Store,
    image: &Descriptor,
    directory: &Path,
    tag: Option<&str>,
    left_out: &BTreeSet<String>,
    progress: &dyn Progress,
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
        if fs::symlink_metadata(&target).is_ok_and(|m| m.is_file() && m.len() == entry.size()) {
            progress.event(&Event::Done {
                digest: entry.digest(),
                outcome: Outcome::Existing,
            });
            continue;
        }
        let mut from = store.open_verified(entry.digest())?;
        place(&target, |into| {
            copy::blob(&mut from, into, &entry, Direction::Out, &target, progress)
        })?;
    }
    // Two exports at once: the index is read and written by one of them at a time.
    flock(&layout.fd, FlockOperation::LockExclusive)
        .map_err(|error| TransportError::io("lock", directory, error.into()))?;
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

/// Writes a file whole or not at all.
fn place(
    target: &Path,
    fill: impl FnOnce(&mut dyn Write) -> Result<(), TransportError>,
) -> Result<(), TransportError> {
    let mut output = super::archive::Output::beside(target)?;
    fill(output.writer())?;
    output.commit()
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

    #[test]
    fn links_in_a_layout_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::write(&outside, b"{}").unwrap();
        let root = dir.path().join("layout");
        fs::create_dir_all(root.join("blobs")).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("index.json")).unwrap();
        std::os::unix::fs::symlink(dir.path(), root.join("blobs/sha256")).unwrap();
        fs::create_dir(root.join("oci-layout")).unwrap();
        let layout = Directory::open(&root).unwrap();
        assert!(layout.open("index.json").is_err());
        assert!(!matches!(layout.open("blobs/sha256/outside"), Ok(Some(_))));
        assert!(layout.open("oci-layout").is_err());
        assert!(layout.open("missing/x").unwrap().is_none());
    }
}
