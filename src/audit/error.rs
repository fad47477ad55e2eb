//! Why an image could not be judged.

use std::io;
use std::path::PathBuf;

use crate::layer::LayerError;
use crate::oci::{Digest, OciError};
use crate::store::StoreError;

use super::policy::PolicyError;

/// Why an image could not be judged; none of these means that it passed.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Oci(#[from] OciError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("the clock shows no valid day, and exceptions expire by the day")]
    Clock,
    #[error("could not read {path}: {source}", path = path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("interrupted")]
    Interrupted,
    #[error("the image could not be judged within the time limit")]
    TimedOut,
    #[error("layer {digest}: {source}")]
    Layer { digest: Digest, source: LayerError },
    #[error("layer {digest}: {source}")]
    LayerBytes { digest: Digest, source: io::Error },
    #[error("{what} should have the digest {expected}, but its bytes have {found}")]
    Corrupt {
        what: String,
        expected: Digest,
        found: Digest,
    },
    #[error("the image has {layers} layers and {diff_ids} diff_ids: it is malformed")]
    LayerCount { layers: usize, diff_ids: usize },
    #[error("{path} is not {what}: {problem}", path = path.display())]
    NotAnImage {
        path: PathBuf,
        what: &'static str,
        problem: String,
    },
    #[error("{place} has no image `{name}`; it has {known}")]
    NoSuchImage {
        place: String,
        name: String,
        known: String,
    },
    #[error(
        "{image} does not lie on the trusted base {base}: {same} of the base's {layers} layers are its lowest ones"
    )]
    NotOnBase {
        image: String,
        base: String,
        same: usize,
        layers: usize,
    },
    #[error("{path} is more than {limit} bytes, which is the limit", path = path.display())]
    TooLarge { path: PathBuf, limit: u64 },
    #[error("layer {digest} has more than {limit} {what}, which is the limit of what is judged")]
    TooMany {
        digest: Digest,
        limit: usize,
        what: &'static str,
    },
}

impl AuditError {
    pub(super) fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source,
        }
    }
}
