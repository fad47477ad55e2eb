//! Works on a list with several threads. They are not those of rayon's pool: such a thread takes up other work
//! while it waits, and what is worked on here may hold a lock meanwhile.

use std::cmp::Reverse;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The results so far, by the items' numbers, and the first error.
struct Done<R, E> {
    results: Vec<(usize, R)>,
    error: Option<E>,
}

/// Runs `work` on all items, the largest first, with a limit on how many run at once; the first error
/// ends it. The results are in the items' order.
pub fn largest_first<T: Sync, R: Send, E: Send>(
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items_and_the_largest_comes_first() {
        let begun = Mutex::new(Vec::new());
        let done = largest_first(
            &[1_u64, 3, 2],
            1,
            |item| *item,
            |item| {
                begun.lock().unwrap().push(*item);
                Ok::<_, ()>(item * 2)
            },
        );
        assert_eq!(done, Ok(vec![2, 6, 4]));
        assert_eq!(begun.into_inner().unwrap(), [3, 2, 1]);
        let none = largest_first(&[] as &[u64], 4, |item| *item, |_| Ok::<(), ()>(()));
        assert_eq!(none, Ok(vec![]));
    }

    /// Each waits for the other: one thread for both would never end.
    #[test]
    fn items_are_worked_on_at_the_same_time() {
        let both = std::sync::Barrier::new(2);
        let work = |_: &u64| {
            both.wait();
            Ok::<(), ()>(())
        };
        assert_eq!(
            largest_first(&[1, 1], 2, |item| *item, work),
            Ok(vec![(); 2])
        );
    }

    #[test]
    fn the_first_error_ends_it() {
        let done = AtomicUsize::new(0);
        let failed = largest_first(
            &[3_u64, 2, 1],
            1,
            |item| *item,
            |item| {
                done.fetch_add(1, Ordering::Relaxed);
                if *item == 2 { Err("two") } else { Ok(()) }
            },
        );
        assert_eq!(failed, Err("two"));
        assert_eq!(done.into_inner(), 2);
    }
}
