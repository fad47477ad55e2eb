//! What ends the work on fragments before there are any.

use super::super::error::BuildError;

pub(super) enum Stop {
    /// Fetching or compiling failed, or the resolution no longer needs the wheels.
    Failed,
    /// The list or its wheels are not plain: another try would give the same.
    NotPlain(String),
    Error(BuildError),
}

impl<E: Into<BuildError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}
