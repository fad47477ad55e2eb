//! Works on a list, two items at once: while one waits for the disk or for a single thread, the
//! other continues.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

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

/// The results so far, by the items' numbers, and the first error.
struct Done<R, E> {
    results: Vec<(usize, R)>,
    error: Option<E>,
}

/// Runs `work` on all items, the largest first, with a limit on how many run at once; the first error
/// ends it. The results are in the items' order.
pub(super) fn largest_first<T: Sync, R: Send, E: Send>(
    items: &[T],
    at_once: usize,
    weight: impl Fn(&T) -> u64,
    work: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|at| Reverse(weight(&items[*at])));
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Done {
        results: Vec::new(),
        error: None,
    });
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(items.len()) {
            scope.spawn(|| {
                while let Some(at) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = work(&items[*at]);
                    let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                    match result {
                        Ok(result) => done.results.push((*at, result)),
                        Err(error) => {
                            done.error.get_or_insert(error);
                            next.store(order.len(), Ordering::Relaxed);
                        }
                    }
                }
            });
        }
    });
    let Done { mut results, error } = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = error {
        return Err(error);
    }
    results.sort_by_key(|(at, _)| *at);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}
