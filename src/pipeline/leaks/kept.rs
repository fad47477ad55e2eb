//! What was written before this build is searched too, for what was not known as secret then: layers of
//! the cache, once for each layer and each set of secrets, and what scripts keep for the next build.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::layer::{LayerError, Limits, MemberKind, TarReader, Witness, decompressor};
use crate::oci::Descriptor;
use crate::store::{Needs, Record, Store};

use super::super::error::BuildError;
use super::super::unsearched::Note;
use super::Leaks;

const BUFFER: usize = 256 * 1024;
/// Raised when a search finds more than before.
const FORMAT: u32 = 3;

/// A layer that was searched and in which nothing was found.
#[derive(Serialize, Deserialize)]
struct Searched {
    layer: Descriptor,
    /// Of which parts that cannot be said.
    unsearched: Vec<Note>,
}

impl Record for Searched {
    const KIND: &'static str = "searched";

    fn needs(&self) -> Needs {
        Needs::blobs([&self.layer])
    }
}

impl Leaks {
    /// Looks through a layer that an earlier build has written, unless one has looked for the same.
    pub(in super::super) fn check_layer(
        &self,
        store: &Store,
        layer: &Descriptor,
    ) -> Result<(), BuildError> {
        let Some(key) = self.key(store, layer)? else {
            return Ok(());
        };
        if let Some(known) = store.cached::<Searched>(&key)? {
            self.unsearched.add(&known.unsearched);
            return Ok(());
        }
        let blob = BufReader::with_capacity(BUFFER, store.open_blob(layer.digest())?);
        let mut tar = TarReader::new(decompressor(blob), Limits::default());
        let Some(mut search) = self.search() else {
            return Ok(());
        };
        let mut buffer = vec![0; BUFFER];
        while let Some(member) = tar.next_member()? {
            search.member(&member);
            if matches!(member.kind, MemberKind::File) {
                loop {
                    if crate::sandbox::interrupted() {
                        return Err(LayerError::Interrupted.into());
                    }
                    let count = tar
                        .read(&mut buffer)
                        .map_err(|source| LayerError::Read { source })?;
                    if count == 0 {
                        break;
                    }
                    search.content(&buffer[..count]);
                }
            }
            search.end();
            search.verdict()?;
        }
        self.has_searched(store, layer, search.notes())
    }

    /// Remembers that nothing of what is looked for is in the layer, but for what was not looked through.
    pub(in super::super) fn has_searched(
        &self,
        store: &Store,
        layer: &Descriptor,
        notes: &[Note],
    ) -> Result<(), BuildError> {
        self.unsearched.add(notes);
        if let Some(key) = self.key(store, layer)? {
            let searched = Searched {
                layer: layer.clone(),
                unsearched: notes.to_vec(),
            };
            store.remember(&key, &searched)?;
        }
        Ok(())
    }

    fn key(&self, store: &Store, layer: &Descriptor) -> Result<Option<String>, BuildError> {
        let Some(fingerprint) = self.fingerprint() else {
            return Ok(None);
        };
        let text = format!("searched {FORMAT} {fingerprint} {}", layer.digest());
        Ok(Some(store.salted(text.as_bytes())?))
    }

    /// Looks through the files of a directory of ours; links are not followed. What cannot be read is an
    /// error: something might be there.
    pub(in super::super) fn check_tree(&self, directory: &Path) -> Result<(), BuildError> {
        let Some(mut search) = self.search() else {
            return Ok(());
        };
        let mut buffer = vec![0; BUFFER];
        for entry in walkdir::WalkDir::new(directory) {
            let failed = |source| BuildError::Read {
                path: directory.to_owned(),
                source,
            };
            let entry = entry.map_err(|error| failed(error.into()))?;
            let name = entry.path().strip_prefix(directory).unwrap_or(entry.path());
            search.file(name);
            if entry.path_is_symlink() {
                search.target(&std::fs::read_link(entry.path()).map_err(failed)?);
            }
            if entry.file_type().is_file() {
                let mut file = File::open(entry.path()).map_err(failed)?;
                loop {
                    if crate::sandbox::interrupted() {
                        return Err(BuildError::Interrupted);
                    }
                    let count = file.read(&mut buffer).map_err(failed)?;
                    if count == 0 {
                        break;
                    }
                    search.content(&buffer[..count]);
                }
            }
            search.end();
            search.verdict()?;
        }
        self.unsearched.add(search.notes());
        Ok(())
    }
}
