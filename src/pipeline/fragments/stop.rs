//! What ends the work on fragments before there are any.

use super::super::error::BuildError;

pub(super) enum Stop {
    /// The wheels could not be had or not be compiled, or nobody wants them any more.
    Failed,
    /// The list or its wheels are not as plain as they should be: it is no use to try it again.
    NotPlain(String),
    Error(BuildError),
}

impl<E: Into<BuildError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}
