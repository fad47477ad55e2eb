//! While a build runs, syncs the trees that earlier builds unpacked, so that a power cut cannot damage them.

use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use crate::store::Store;

use super::error::BuildError;

/// After this time the kernel has written the unpacked files, so a sync costs little.
const SETTLE_AFTER: Duration = Duration::from_mins(5);

/// Runs the work, and syncs while it runs.
pub(super) fn beside<T>(
    store: &Store,
    work: impl FnOnce() -> Result<T, BuildError>,
) -> Result<T, BuildError> {
    thread::scope(|scope| {
        let settling = scope.spawn(|| store.settle(SETTLE_AFTER));
        let done = work()?;
        settling
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))?;
        Ok(done)
    })
}
