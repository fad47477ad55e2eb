//! Work on a list, two items at once: while one waits for the disk or for a single thread, the other
//! goes on.

use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use crate::layer;

use super::error::BuildError;

/// Does the same with all items, and says to each how many threads it may use: half of the machine's.
/// The results are in their order.
///
/// # Errors
/// One of those of `work`, or [`BuildError::Threads`].
pub(super) fn two_at_a_time<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T, usize) -> Result<R, BuildError> + Sync,
) -> Result<Vec<R>, BuildError> {
    let threads = (layer::threads() / 2).max(1);
    let pool = ThreadPoolBuilder::new().num_threads(2).build();
    pool.map_err(BuildError::Threads)?.install(|| {
        // One by one: the items are few, and not of one size.
        let items = items.par_iter().with_max_len(1);
        items.map(|item| work(item, threads)).collect()
    })
}
