//! Builds with any S2I builder image, by the protocol's letter and without a daemon: the image's own
//! scripts decide, and their work is opaque.
//!
//! [`build`] reads as the story: the builder and its labels, the scripts, the artifacts of the
//! previous image, assemble, what it changed, the runtime image if there is one, commit, ship.

mod error;
mod request;

use crate::progress::Progress;
use crate::store::Store;

use super::BuildError;

pub use error::ForeignError;
pub use request::{Built, PullPolicies, PullPolicy, Request, Source};

/// Builds an image with the scripts of an S2I builder, gives it its name in the store, ships it.
pub fn build(
    _store: &Store,
    _request: &Request,
    _source: &Source,
    _progress: &dyn Progress,
) -> Result<Built, BuildError> {
    Err(ForeignError::NotYet.into())
}
