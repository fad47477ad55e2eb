//! The context that every step of a build gets.

use crate::progress::Progress;
use crate::store::Store;

use super::request::Request;

/// The store, the request, and the listener for progress.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) store: &'a Store,
    pub(super) request: &'a Request,
    pub(super) progress: &'a dyn Progress,
}

impl<'a> Context<'a> {
    /// The same with another request.
    pub(super) fn with(self, request: &'a Request) -> Self {
        Self { request, ..self }
    }

    /// The same with another listener.
    pub(super) fn telling(self, progress: &'a dyn Progress) -> Self {
        Self { progress, ..self }
    }
}
