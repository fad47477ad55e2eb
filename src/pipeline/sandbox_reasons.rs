//! Why a build needs a sandbox. [`super::without_sandbox`] finds out.

use super::error::BuildError;

/// Text that says what needs a sandbox.
#[derive(Debug, Clone, Default)]
pub(super) struct Reasons {
    /// Even if everything is in a cache.
    pub(super) always: Vec<String>,
    /// Only if the application's layer has to be made.
    pub(super) to_make: Vec<String>,
}

impl Reasons {
    pub(super) fn all(&self) -> Vec<String> {
        [self.to_make.as_slice(), &self.always].concat()
    }

    /// Refuses to make the application's layer where that runs something.
    pub(super) fn refuse_to_make(&self) -> Result<(), BuildError> {
        if self.to_make.is_empty() {
            return Ok(());
        }
        Err(BuildError::NeedsSandbox {
            because: self.to_make.clone(),
        })
    }
}
