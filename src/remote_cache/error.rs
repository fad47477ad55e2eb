//! Errors of a cache in a registry.

use crate::oci::OciError;
use crate::registry::RegistryError;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    #[error("`{name}` cannot be used as a cache: {problem}")]
    Name { name: String, problem: &'static str },
    #[error(
        "{tag} holds {found}, and this build made {made} of the same inputs: one of the two was not made \
         as it should be"
    )]
    Conflict {
        /// The tag, with its repository.
        tag: String,
        found: String,
        made: String,
    },
    #[error("{what} is not what the cache should hold: {problem}")]
    Bad { what: String, problem: String },
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Oci(#[from] OciError),
}
