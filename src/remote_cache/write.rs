//! Writes items to the cache.

use crate::oci::Reference;
use crate::registry::TransferListener;
use crate::store::Store;

use super::item::{Item, MAX_LAYERS, MAX_RECORD, Tag};
use super::on_the_way::OnTheWay;
use super::{CacheError, RemoteCache, tagged};

/// The result of writing, over all repositories.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Number of new items.
    pub new: usize,
    /// Number of existing items.
    pub known: usize,
    /// Bytes of layers and records that went over the wire.
    pub bytes: u64,
}

impl std::ops::AddAssign for Written {
    fn add_assign(&mut self, other: Self) {
        self.new += other.new;
        self.known += other.known;
        self.bytes += other.bytes;
    }
}

impl RemoteCache {
    /// Writes an item to each repository of `--cache-to`; its layers are in the store, or noted there.
    ///
    /// # Errors
    /// [`CacheError::Conflict`] if a fixed tag has other content, which is not changed.
    pub fn put(
        &self,
        item: &Item,
        store: &Store,
        transfers: &dyn TransferListener,
    ) -> Result<Written, CacheError> {
        let mut written = Written::default();
        if item.record.len() as u64 > MAX_RECORD || item.layers.len() > MAX_LAYERS {
            // A reader would refuse it.
            return Ok(written);
        }
        for repository in &self.0.to {
            written += self.put_in(repository, item, store, transfers)?;
        }
        Ok(written)
    }

    fn put_in(
        &self,
        repository: &Reference,
        item: &Item,
        store: &Store,
        transfers: &dyn TransferListener,
    ) -> Result<Written, CacheError> {
        let (entry, bytes) = item.manifest()?;
        let name = tagged(repository, item.tag.name())?;
        let client = self.client()?;
        if let Some((found, _)) = client.manifest(&name)? {
            if found.digest() == entry.digest() {
                return Ok(Written {
                    known: 1,
                    ..Written::default()
                });
            }
            if let Tag::Fixed(_) = item.tag {
                return Err(CacheError::Conflict {
                    tag: name.as_given().to_owned(),
                    found: found.digest().to_string(),
                    made: entry.digest().to_string(),
                });
            }
        }
        let blobs = OnTheWay {
            store,
            manifest: &bytes,
            record: &item.record,
        };
        let report = client.push(&entry, &blobs, &name, transfers)?;
        Ok(Written {
            new: 1,
            known: 0,
            bytes: report.uploaded_bytes,
        })
    }
}
