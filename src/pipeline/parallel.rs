//! Works on a list, two items at once: while one waits for the disk or for a single thread, the
//! other continues.

use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use crate::layer;

use super::error::BuildError;

/// Runs `work` on all items. Each may use half of the machine's threads. The results are in the
/// items' order.
///
/// # Errors
/// One of those of `work`, or [`BuildError::Threads`].
pub(super) fn two_workers<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T, usize) -> Result<R, BuildError> + Sync,
) -> Result<Vec<R>, BuildError> {
    let threads = (layer::threads() / 2).max(1);
    let pool = ThreadPoolBuilder::new().num_threads(2).build();
    pool.map_err(BuildError::Threads)?.install(|| {
        // One by one: the items are few, and of different sizes.
        let items = items.par_iter().with_max_len(1);
        items.map(|item| work(item, threads)).collect()
    })
}
