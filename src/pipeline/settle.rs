//! While a build runs, syncs the trees that earlier builds unpacked, so that a power cut cannot damage them.

use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use crate::store::Store;

use super::error::BuildError;

/// By then the kernel has written what was unpacked, and making sure of it costs little.
const SETTLE_AFTER: Duration = Duration::from_mins(5);

/// Does the work, and that while it is done.
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
