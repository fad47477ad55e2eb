//! Why a wheel makes no fragment.

use std::io;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is not all that a wheel should be: an installer may make something of it.
    Odd(String),
    /// It tries what no package may.
    Hostile(String),
}

impl From<io::Error> for Unfit {
    fn from(error: io::Error) -> Self {
        Self::Odd(error.to_string())
    }
}

impl From<zip::result::ZipError> for Unfit {
    fn from(error: zip::result::ZipError) -> Self {
        Self::Odd(error.to_string())
    }
}

pub(super) fn odd<T>(reason: impl Into<String>) -> Result<T, Unfit> {
    Err(Unfit::Odd(reason.into()))
}
