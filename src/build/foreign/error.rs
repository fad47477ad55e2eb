//! Why a build with a foreign builder did not give an image.

use crate::s2i::S2iError;

#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    #[error(transparent)]
    S2i(#[from] S2iError),
    #[error("builds with S2I builders are being written")]
    NotYet,
}
