//! How a source is fetched, for every kind of location.

use std::time::Duration;

use crate::progress::Progress;

/// How a source is fetched.
pub(super) struct FetchOptions<'a> {
    pub(super) submodules: bool,
    pub(super) timeout: Duration,
    pub(super) progress: &'a dyn Progress,
    /// Called often; the work ends when it returns true.
    pub(super) cancelled: &'a (dyn Fn() -> bool + Sync),
}
