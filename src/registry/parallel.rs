//! Several transfers at once, each on a thread of its own; the first failure stops the others.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Says whether another transfer has failed meanwhile, so that going on is of no use.
pub(super) struct Stop(AtomicBool);

impl Stop {
    pub(super) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Does `work` on all items with at most `jobs` threads. The first error is the result; a worker
/// that stops because [`Stop`] is set returns `Ok(None)`.
pub(super) fn each<T: Sync, R: Send, E: Send>(
    items: &[T],
    jobs: usize,
    work: impl Fn(&T, &Stop) -> Result<Option<R>, E> + Sync,
) -> Result<Vec<R>, E> {
    let stop = Stop::new();
    let next = AtomicUsize::new(0);
    let outcome: Mutex<(Vec<R>, Option<E>)> = Mutex::new((Vec::new(), None));
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(items.len()) {
            scope.spawn(|| {
                while !stop.is_set() {
                    let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        return;
                    };
                    let done = work(item, &stop);
                    let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
                    match done {
                        Ok(result) => outcome.0.extend(result),
                        Err(error) => {
                            stop.0.store(true, Ordering::Relaxed);
                            outcome.1.get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    let (results, error) = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
    error.map_or(Ok(results), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_done_or_the_first_error_told() {
        let items: Vec<u32> = (0..100).collect();
        let mut done = each(&items, 4, |n, _| Ok::<_, ()>(Some(n * 2))).unwrap();
        done.sort_unstable();
        assert_eq!(done, items.iter().map(|n| n * 2).collect::<Vec<_>>());
        let failed = each(&items, 4, |n, _| {
            if *n == 50 { Err("fifty") } else { Ok(Some(())) }
        });
        assert_eq!(failed, Err("fifty"));
        assert_eq!(
            each(&[] as &[u32], 4, |_, _| Ok::<Option<()>, ()>(None)),
            Ok(vec![])
        );
    }
}
