//! The source of a build, and what its labels say of where it came from.

use std::path::Path;

use crate::progress::Progress;
use crate::source::{CollectOptions, Origin, SourceRequest, Tree};
use crate::store::Store;

use super::super::{BuildError, collect};
use super::Source;

impl Source {
    /// Fetches and collects a source; `excluded` says which of its paths are left out besides.
    pub fn take(
        store: &Store,
        request: &SourceRequest,
        options: &CollectOptions,
        excluded: &dyn Fn(&Path) -> bool,
        progress: &dyn Progress,
    ) -> Result<Self, BuildError> {
        let tree = collect(store, request, options, progress)?.without(excluded);
        Ok(Self::of_request(tree, request))
    }

    /// A source that was collected as the request says.
    pub fn of_request(tree: Tree, request: &SourceRequest) -> Self {
        let context = request.context_dir.as_deref();
        let mut source = Self::of_tree(tree, context);
        if let Origin::Git(url) = &request.origin {
            // A tag; the label has room for a commit's id already.
            source.reference = url
                .reference()
                .filter(|reference| {
                    let commit = source.tree.commit.as_ref();
                    commit.is_some_and(|commit| {
                        commit.reference.is_none() && !commit.id.starts_with(reference)
                    })
                })
                .map(str::to_owned);
        }
        source
    }
}
