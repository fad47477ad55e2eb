//! Writes entries as a layer to the store, and searches it for the build's secrets meanwhile.

use serde::{Deserialize, Serialize};

use crate::builder::layer::StoredLayer;
use crate::layer::{self, Budget, Compression, Entry, Witness};
use crate::oci::descriptor;
use crate::store::Store;

use super::error::BuildError;
use super::leaks::Leaks;
use super::request::Request;

/// A layer of warpdrive and a short description of its content.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TitledLayer {
    pub(super) layer: StoredLayer,
    pub(super) title: String,
    /// It existed before this build.
    #[serde(skip)]
    pub(super) cached: bool,
}

/// Writes the layers of one build.
pub(super) struct LayerWriter<'a> {
    store: &'a Store,
    compression: Compression,
    budget: &'a Budget,
    /// Texts that must not be in any of them.
    leaks: Leaks,
}

impl<'a> LayerWriter<'a> {
    /// Refuses the build's secrets.
    pub(super) fn new(store: &'a Store, request: &'a Request) -> Self {
        Self::refusing(store, request, Leaks::new(request))
    }

    /// Refuses the texts that the caller names.
    pub(super) fn refusing(store: &'a Store, request: &'a Request, leaks: Leaks) -> Self {
        Self {
            store,
            compression: request.compression,
            budget: &request.budget,
            leaks,
        }
    }

    /// A description, for keys.
    pub(super) fn compression(&self) -> String {
        self.compression.to_string()
    }

    /// Writes entries as a layer into the store, on this number of threads.
    pub(super) fn write(
        &self,
        entries: &[Entry],
        threads: usize,
    ) -> Result<StoredLayer, BuildError> {
        let mut blob = self.store.blob_writer()?;
        let mut search = self.leaks.search();
        let witness = search.as_mut().map(|search| search as &mut dyn Witness);
        let written = layer::write_with(
            entries,
            self.compression,
            threads,
            &mut blob,
            witness,
            Some(self.budget),
        )?;
        if let Some(search) = &search {
            search.verdict()?;
        }
        blob.commit(Some(&written.digest))?;
        let descriptor = descriptor(written.media_type, written.digest, written.size);
        let notes = search.as_ref().map_or(&[][..], |search| search.notes());
        self.leaks.has_searched(self.store, &descriptor, notes)?;
        Ok(StoredLayer {
            descriptor,
            diff_id: written.diff_id.to_string(),
        })
    }
}
