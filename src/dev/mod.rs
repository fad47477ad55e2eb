//! The development loop: an image's environment with the source tree in place of the image's own copy,
//! and what is to happen when a file of it changes.
//!
//! ```text
//!  source ─► watch (inotify) ─► Change ─► Turns ─┬─► a HUP: the server that has the packages already is
//!                                                │   forked again (`warm`), or loads the code by itself
//!                                                ├─► stop: start again (Restart)
//!                                                └─► stop: build, then start (Rebuild)
//! ```
//!
//! Here: which files mean what, how each server is brought to load new code, who may write to the tree.
//! Not here: building (`pipeline`), containers (`container`), words and the loop's order (`cli`).

mod change;
mod read_only;
mod reload;
mod turns;
mod warm;
mod watch;

pub use change::Change;
pub use read_only::read_only;
pub use reload::{Reload, Way, way};
pub use turns::{Next, Turns};
pub use warm::Warm;
pub use watch::{DevError, Watch};

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::sandbox::IdMode;

/// The user that the application runs as, so that it and the owner of the source can write the same files.
/// `None`: as the image says.
///
/// With subordinate ids the user is 0 inside, and no other id inside may write the user's files. With a
/// single id the image's user is the user already. Capabilities it has none in either case.
pub fn user_for(source: &Path, mode: IdMode) -> Option<String> {
    match mode {
        IdMode::Subuid => Some("0:0".to_owned()),
        IdMode::SingleUid => None,
        IdMode::Root => {
            let owner = std::fs::metadata(source).ok()?.uid();
            Some(format!("{owner}:0"))
        }
    }
}
