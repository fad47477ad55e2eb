//! `oci-archive:FILE[:TAG]`: an OCI image layout in a tar.

use std::io::Read;
use std::path::Path;

use serde_json::json;

use super::archive::{Output, TarFile, TarWriter};
use super::content::{self, Layout, Wanted};
use super::error::TransportError;
use super::layout::{VERSION, with_entry};
use super::{Imported, copy};
use crate::oci::{Descriptor, to_canonical_json};
use crate::registry::{Direction, Progress};
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
    progress: &dyn Progress,
) -> Result<Imported, TransportError> {
    content::import(store, &TarFile::open(store, file)?, tag, wanted, progress)
}

/// Writes an archive with one image; a file of that name is replaced.
pub(super) fn export(
    store: &Store,
    image: &Descriptor,
    file: &Path,
    tag: Option<&str>,
    progress: &dyn Progress,
) -> Result<(), TransportError> {
    let mut output = Output::create(file)?;
    let mut tar = TarWriter::new(output.writer(), file);
    tar.bytes("oci-layout", VERSION)?;
    let index = with_entry(json!({}), image, tag);
    tar.bytes("index.json", &to_canonical_json(&index)?)?;
    tar.directory("blobs/")?;
    tar.directory("blobs/sha256/")?;
    for entry in copy::parts(store, image)? {
        let mut from = store.open_verified(entry.digest())?;
        let name = format!("blobs/sha256/{}", entry.digest().digest());
        tar.file(&name, entry.size(), |into| {
            copy::blob(&mut from, into, &entry, Direction::Out, file, progress)
        })?;
    }
    tar.finish()?;
    output.commit()
}
