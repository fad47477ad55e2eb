//! `dir:DIR`: manifest and blobs of one image side by side in a directory, as skopeo's transport of this
//! name has them: `manifest.json`, `version`, each blob under the hexadecimal digits of its digest, and the
//! further manifests of an index as `HEX.manifest.json`.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::content::{self, Layout, Wanted, read_small};
use super::directory::{Directory, place};
use super::error::TransportError;
use super::{Imported, copy};
use crate::oci::{Descriptor, descriptor, sha256};
use crate::registry::{Direction, Document, Event, Transfer, TransferListener};
use crate::store::Store;

/// What skopeo looks for before it writes into a directory that is not empty.
const VERSION: &[u8] = b"Directory Transport Version: 1.1\n";
const VERSION_FILE: &str = "version";
const MANIFEST: &str = "manifest.json";

/// Such a directory, to be read.
pub(super) struct Flat {
    directory: Directory,
    /// Of the document that is in `manifest.json`.
    top: String,
}

impl Layout for Flat {
    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, TransportError> {
        self.directory.open(name)
    }

    fn document(&self, hex: &str) -> String {
        if hex == self.top {
            MANIFEST.into()
        } else {
            format!("{hex}.{MANIFEST}")
        }
    }

    fn blob(&self, hex: &str) -> String {
        hex.to_owned()
    }
}

/// Opens a directory, and says what its `manifest.json` is.
pub(super) fn open(path: &Path) -> Result<(Flat, Descriptor), TransportError> {
    let directory = Directory::open(path)?;
    // skopeo itself reads directories without the file.
    if let Some(version) = read_small(&directory, VERSION_FILE)?
        && !is_version(&version)
    {
        let problem = "its file version is not that of `dir:`, version 1";
        return Err(TransportError::malformed(path, problem));
    }
    let bytes = read_small(&directory, MANIFEST)?.ok_or_else(|| {
        let problem = "it is not an image as `dir:` has it: it has no manifest.json";
        TransportError::malformed(path, problem)
    })?;
    let what = format!("the manifest.json of {}", path.display());
    let (media_type, _) = Document::parse_any(&bytes, None, &what)?;
    let entry = descriptor(media_type, sha256(&bytes), bytes.len() as u64);
    let top = entry.digest().digest().to_owned();
    Ok((Flat { directory, top }, entry))
}

fn is_version(bytes: &[u8]) -> bool {
    bytes.starts_with(b"Directory Transport Version: 1.")
}

pub(super) fn import(
    store: &Store,
    path: &Path,
    wanted: &Wanted<'_>,
    progress: &dyn TransferListener,
) -> Result<Imported, TransportError> {
    let (flat, entry) = open(path)?;
    Ok(Imported {
        descriptor: content::tree(store, &flat, &entry, wanted, progress)?,
        name: None,
    })
}

/// Writes an image into a directory, in place of the one that is there.
pub(super) fn export(
    store: &Store,
    image: &Descriptor,
    path: &Path,
    progress: &dyn TransferListener,
) -> Result<(), TransportError> {
    check_is_ours(path)?;
    fs::create_dir_all(path).map_err(|source| TransportError::io("create", path, source))?;
    let directory = Directory::open(path)?;
    directory.lock()?;
    let write = |name: &str, bytes: &[u8]| {
        place(&path.join(name), |into| {
            into.write_all(bytes)
                .map_err(|source| TransportError::io("write", &path.join(name), source))
        })
    };
    // First of all: a directory whose writing was broken off can be written again.
    write(VERSION_FILE, VERSION)?;
    let mut names = BTreeSet::from([VERSION_FILE.to_owned(), MANIFEST.to_owned()]);
    let (documents, blobs) = copy::parts_by_kind(store, image)?;
    let further = documents.iter().filter(|entry| *entry != image);
    let files = further
        .map(|entry| (entry, format!("{}.{MANIFEST}", entry.digest().digest())))
        .chain(
            blobs
                .iter()
                .map(|entry| (entry, entry.digest().digest().to_owned())),
        );
    for (entry, name) in files {
        let target = path.join(&name);
        names.insert(name);
        if copy::is_right(&target, entry) {
            progress.event(&Event::Done {
                digest: entry.digest(),
                outcome: Transfer::Existing,
            });
            continue;
        }
        let mut from = store.open_verified(entry.digest())?;
        place(&target, |into| {
            copy::blob(&mut from, into, entry, Direction::Out, &target, progress)
        })?;
    }
    let bytes = store.read_blob(image.digest(), crate::oci::MAX_METADATA)?;
    write(MANIFEST, &bytes)?;
    remove_others(path, &names)
}

/// A directory with other things in it is not written to.
fn check_is_ours(path: &Path) -> Result<(), TransportError> {
    let mut entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(TransportError::io("open", path, source)),
    };
    if entries.next().is_none() {
        return Ok(());
    }
    let version = read_small(&Directory::open(path)?, VERSION_FILE)?;
    if version.is_some_and(|version| is_version(&version)) {
        return Ok(());
    }
    let problem =
        "it has files in it and is not an image as `dir:` has it; name an empty or a new directory";
    Err(TransportError::malformed(path, problem))
}

/// What the image that was here before has left; other people's files stay.
fn remove_others(path: &Path, names: &BTreeSet<String>) -> Result<(), TransportError> {
    let entries = fs::read_dir(path).map_err(|source| TransportError::io("open", path, source))?;
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let stem = name.strip_suffix(".manifest.json").unwrap_or(&name);
        let is_blob = stem.len() == 64 && stem.bytes().all(|byte| byte.is_ascii_hexdigit());
        let of_image = is_blob || name.starts_with("signature-");
        if of_image && !names.contains(&name) {
            fs::remove_file(entry.path())
                .map_err(|source| TransportError::io("remove", &entry.path(), source))?;
        }
    }
    Ok(())
}
