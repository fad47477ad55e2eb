//! The local content store.

use std::path::Path;

/// The local content store.
pub struct Store {}

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {}

impl Store {
    pub fn open(_root: Option<&Path>) -> Result<Self, StoreError> {
        Ok(Self {})
    }
}
