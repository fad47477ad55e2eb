//! `oci-archive:FILE[:TAG]`: an OCI image layout in a tar.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;

use serde_json::{Value, json};

use super::archive::{Output, TarFile, TarWriter, not_added_to, or_unread};
use super::content::{self, Layout, Wanted, read_small};
use super::error::TransportError;
use super::layout::{VERSION, with_entry};
use super::{Imported, copy};
use crate::oci::{Descriptor, MAX_INDEXES, REF_NAME, parse_digest, to_canonical_json};
use crate::registry::{Direction, TransferListener};
use crate::store::Store;

impl Layout for TarFile {
    fn path(&self) -> &Path {
        TarFile::path(self)
    }

    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + '_>>, TransportError> {
        Ok(self
            .member(name)
            .map(|content| Box::new(content) as Box<dyn Read>))
    }
}

pub(super) fn import(
    store: &Store,
    file: &Path,
    tag: Option<&str>,
    wanted: &Wanted<'_>,
    progress: &dyn TransferListener,
) -> Result<Imported, TransportError> {
    content::import(store, &TarFile::open(store, file)?, tag, wanted, progress)
}

/// Adds an image to an archive, which is written anew. An image of the same name there (or without a name, if it
/// shall have none) loses its place.
pub(super) fn export(
    store: &Store,
    image: &Descriptor,
    file: &Path,
    tag: Option<&str>,
    progress: &dyn TransferListener,
) -> Result<(), TransportError> {
    let others = Others::of(store, file, tag)?;
    let mut output = Output::create(file)?;
    let mut tar = TarWriter::new(output.writer(), file);
    tar.bytes("oci-layout", VERSION)?;
    let before = others.as_ref().map_or(json!({}), |o| o.index.clone());
    let index = with_entry(before, image, tag);
    tar.bytes("index.json", &to_canonical_json(&index)?)?;
    tar.directory("blobs/")?;
    tar.directory("blobs/sha256/")?;
    let mut written = BTreeSet::new();
    for entry in copy::parts(store, image)? {
        let mut from = store.open_verified(entry.digest())?;
        let name = blob(entry.digest().digest());
        tar.file(&name, entry.size(), |into| {
            copy::blob(&mut from, into, &entry, Direction::Out, file, progress)
        })?;
        written.insert(name);
    }
    if let Some(others) = others {
        others.write(&mut tar, &written)?;
    }
    tar.finish()?;
    output.commit()
}

fn blob(hex: &str) -> String {
    format!("blobs/sha256/{hex}")
}

/// The images that an archive has already and keeps.
struct Others {
    archive: TarFile,
    index: Value,
    /// The members with their bytes.
    names: BTreeSet<String>,
}

impl Others {
    /// `None` where there are none. A file that is something else is not replaced.
    fn of(store: &Store, file: &Path, tag: Option<&str>) -> Result<Option<Self>, TransportError> {
        if !std::fs::metadata(file).is_ok_and(|found| found.is_file() && found.len() > 0) {
            return Ok(None);
        }
        let other = || not_added_to(file, "an OCI archive");
        let archive = TarFile::open(store, file).map_err(or_unread(other))?;
        let index = read_small(&archive, "index.json")?.ok_or_else(other)?;
        let mut index: Value = serde_json::from_slice(&index).map_err(|_| other())?;
        let entries = index["manifests"].as_array_mut().ok_or_else(other)?;
        entries.retain(|entry| entry["annotations"][REF_NAME].as_str() != tag);
        if entries.is_empty() {
            return Ok(None);
        }
        let mut others = Self {
            archive,
            index: json!({}),
            names: BTreeSet::new(),
        };
        others.collect(&index, MAX_INDEXES)?;
        others.index = index;
        Ok(Some(others))
    }

    /// What a document names, and what the documents among that name.
    fn collect(&mut self, document: &Value, depth: usize) -> Result<(), TransportError> {
        let list = |key: &str| document[key].as_array().into_iter().flatten();
        for entry in list("layers").chain([&document["config"]]) {
            self.add(entry);
        }
        for entry in list("manifests") {
            let Some(name) = self.add(entry) else {
                continue;
            };
            // What is not there, or no document, names nothing.
            if depth > 0
                && let Some(bytes) = read_small(&self.archive, &name)?
                && let Ok(document) = serde_json::from_slice(&bytes)
            {
                self.collect(&document, depth - 1)?;
            }
        }
        Ok(())
    }

    /// Gives the name of what is new.
    fn add(&mut self, entry: &Value) -> Option<String> {
        let digest = parse_digest(entry["digest"].as_str()?).ok()?;
        let name = blob(digest.digest());
        self.names.insert(name.clone()).then_some(name)
    }

    fn write(
        &self,
        tar: &mut TarWriter<'_>,
        written: &BTreeSet<String>,
    ) -> Result<(), TransportError> {
        let path = self.archive.path();
        for name in self.names.difference(written) {
            let Some(mut content) = self.archive.member(name) else {
                continue;
            };
            tar.file(name, content.size(), |into| {
                io::copy(&mut content, into)
                    .map(|_| ())
                    .map_err(|source| TransportError::io("copy from", path, source))
            })?;
        }
        Ok(())
    }
}
