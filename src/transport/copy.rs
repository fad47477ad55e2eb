//! Bytes from here to there, counted and told, and the list of what an image consists of.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use super::error::TransportError;
use crate::oci::{Descriptor, Digest, MAX_METADATA, Sha256Writer};
use crate::registry::{Direction, Document, Event, Transfer, TransferListener};
use crate::store::Store;

/// Copies a blob of a known size; more or less of it is an error.
pub(super) fn blob(
    from: &mut dyn Read,
    into: &mut dyn Write,
    entry: &Descriptor,
    direction: Direction,
    path: &Path,
    progress: &dyn TransferListener,
) -> Result<(), TransportError> {
    let (digest, size) = (entry.digest(), entry.size());
    progress.event(&Event::Start {
        digest,
        size,
        direction,
    });
    let mut buffer = vec![0; 256 * 1024];
    let mut bytes = 0;
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(TransportError::io("read a blob of", path, source)),
        };
        bytes += count as u64;
        if bytes > size {
            break;
        }
        into.write_all(&buffer[..count])
            .map_err(|source| TransportError::io("write", path, source))?;
        progress.event(&Event::Advance { digest, bytes });
    }
    if bytes != size {
        let word = if bytes > size { "more than" } else { "only" };
        let bytes = bytes.min(size);
        return Err(TransportError::malformed(
            path,
            format!("{digest} should have {size} bytes and has {word} {bytes}"),
        ));
    }
    progress.event(&Event::Done {
        digest,
        outcome: Transfer::Transferred,
    });
    Ok(())
}

/// Copies a blob into the store, unless it is there. Only the right bytes are kept.
pub(super) fn into_store(
    store: &Store,
    from: &mut dyn Read,
    entry: &Descriptor,
    path: &Path,
    progress: &dyn TransferListener,
) -> Result<(), TransportError> {
    let mut writer = store.blob_writer()?;
    blob(from, &mut writer, entry, Direction::In, path, progress)?;
    match writer.commit(Some(entry.digest())) {
        Ok(_) => Ok(()),
        Err(crate::store::StoreError::Mismatch { expected, found }) => {
            Err(TransportError::Digest {
                path: path.to_owned(),
                what: "a blob".into(),
                expected: expected.to_string(),
                found: found.to_string(),
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether the store has a blob of this digest and size.
pub(super) fn is_here(store: &Store, entry: &Descriptor) -> bool {
    std::fs::metadata(store.blob_path(entry.digest()))
        .is_ok_and(|metadata| metadata.len() == entry.size())
}

/// Whether a file that is there already has the bytes of this blob: a copy that was broken off, or a disk, may
/// have left others of the same size.
pub(super) fn is_right(file: &Path, entry: &Descriptor) -> bool {
    let same = fs::symlink_metadata(file).is_ok_and(|m| m.is_file() && m.len() == entry.size());
    let hashed = || {
        let mut into = Sha256Writer::new(io::sink());
        io::copy(&mut File::open(file)?, &mut into)?;
        Ok::<_, io::Error>(into.finish().1)
    };
    same && hashed().is_ok_and(|found| found == *entry.digest())
}

/// All that an image (or an index of images) consists of, itself first, each blob once.
pub(super) fn parts(store: &Store, image: &Descriptor) -> Result<Vec<Descriptor>, TransportError> {
    let (mut documents, blobs) = parts_by_kind(store, image)?;
    let blobs: Vec<Descriptor> = blobs
        .into_iter()
        .filter(|blob| !is_known(&documents, blob.digest()))
        .collect();
    documents.extend(blobs);
    Ok(documents)
}

/// The same: manifests and indexes, and what they name.
pub(super) fn parts_by_kind(
    store: &Store,
    image: &Descriptor,
) -> Result<(Vec<Descriptor>, Vec<Descriptor>), TransportError> {
    let mut documents: Vec<Descriptor> = Vec::new();
    let mut blobs: Vec<Descriptor> = Vec::new();
    let mut open = vec![image.clone()];
    while let Some(entry) = open.pop() {
        if is_known(&documents, entry.digest()) {
            continue;
        }
        let bytes = store.read_blob(entry.digest(), MAX_METADATA)?;
        let media_type = entry.media_type().to_string();
        let what = format!("the manifest {}", entry.digest());
        let (_, document) = Document::parse_any(&bytes, Some(&media_type), &what)?;
        documents.push(entry);
        match document {
            Document::Index(index) => open.extend(index.manifests().iter().rev().cloned()),
            Document::Manifest(manifest) => {
                for blob in [manifest.config()].into_iter().chain(manifest.layers()) {
                    if !is_known(&blobs, blob.digest()) {
                        blobs.push(blob.clone());
                    }
                }
            }
        }
    }
    Ok((documents, blobs))
}

/// Whether what lies at this descriptor in the store lists several images.
pub(super) fn is_index(store: &Store, image: &Descriptor) -> Result<bool, TransportError> {
    let bytes = store.read_blob(image.digest(), MAX_METADATA)?;
    let claimed = image.media_type().to_string();
    let what = format!("the manifest {}", image.digest());
    let (_, document) = Document::parse_any(&bytes, Some(&claimed), &what)?;
    Ok(matches!(document, Document::Index(_)))
}

fn is_known(found: &[Descriptor], digest: &Digest) -> bool {
    found.iter().any(|known| known.digest() == digest)
}
