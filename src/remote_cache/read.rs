//! Reads items and their layers from the cache.

use std::io::{self, Read as _};
use std::sync::atomic::Ordering;

use crate::oci::{Descriptor, Reference};
use crate::progress::Progress;
use crate::registry::Silent;
use crate::store::Store;

use super::{CacheError, RemoteCache, item, tagged};

/// An item that is in a repository.
#[derive(Debug, Clone)]
pub struct Found {
    pub record: Vec<u8>,
    pub layers: Vec<Descriptor>,
    /// Of the repository that has it.
    pub repository: Reference,
}

impl RemoteCache {
    /// The item under this tag, from the first repository with a usable one. An unusable item, or a
    /// registry that does not answer, gives one warning and counts as absent.
    pub fn find(&self, tag: &str, kind: &str, progress: &dyn Progress) -> Option<Found> {
        for place in &self.0.from {
            if place.is_out.load(Ordering::Relaxed) {
                continue;
            }
            let name = place.reference.as_given();
            match self.ask(&place.reference, tag, kind) {
                Ok(Some(found)) => return Some(found),
                Ok(None) => {}
                Err(error @ CacheError::Registry(_)) => {
                    if !place.is_out.swap(true, Ordering::Relaxed) {
                        progress.warning(&format!(
                            "the cache {name} cannot be read, and is not used: {error}"
                        ));
                    }
                }
                Err(error) => progress.warning(&format!("{error}; it is not used")),
            }
        }
        None
    }

    fn ask(
        &self,
        repository: &Reference,
        tag: &str,
        kind: &str,
    ) -> Result<Option<Found>, CacheError> {
        let name = tagged(repository, tag)?;
        let Some((_, bytes)) = self.client()?.manifest(&name)? else {
            return Ok(None);
        };
        let (record, layers) = item::read(kind, &bytes).map_err(|problem| CacheError::Bad {
            what: name.as_given().to_owned(),
            problem,
        })?;
        Ok(Some(Found {
            record,
            layers,
            repository: repository.clone(),
        }))
    }

    /// Loads a layer into the store, from the first repository that has it.
    ///
    /// # Errors
    /// The error of the last repository.
    pub fn bring(&self, layer: &Descriptor, store: &Store) -> Result<(), CacheError> {
        let mut outcome = Err(CacheError::Bad {
            what: layer.digest().to_string(),
            problem: "it is not in the store, and there is no cache to ask".to_owned(),
        });
        for place in &self.0.from {
            outcome = self.fetch(&place.reference, layer, store);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    /// Loads a layer into the store, from this repository if it is missing; verified.
    pub fn fetch(
        &self,
        repository: &Reference,
        layer: &Descriptor,
        store: &Store,
    ) -> Result<(), CacheError> {
        if store.has_whole_blob(layer) {
            return Ok(());
        }
        let bad = |problem: String| CacheError::Bad {
            what: format!("{} of {}", layer.digest(), repository.as_given()),
            problem,
        };
        item::check(layer).map_err(bad)?;
        let mut from = self
            .client()?
            .stream(repository, layer, &Silent)?
            .take(layer.size().saturating_add(1));
        let mut into = store.blob_writer()?;
        io::copy(&mut from, &mut into).map_err(|error| bad(error.to_string()))?;
        into.commit(Some(layer.digest()))?;
        note(store, repository, layer);
        Ok(())
    }
}

/// Notes for a push where a blob can be mounted from.
pub(super) fn note(store: &Store, repository: &Reference, layer: &Descriptor) {
    store.note_repository(
        layer.digest(),
        repository.registry(),
        &repository.repository(),
    );
}

impl Found {
    /// Notes for a push where the item's layers can be mounted from, although they are not here.
    pub fn note(&self, store: &Store) {
        for layer in &self.layers {
            note(store, &self.repository, layer);
        }
    }
}
