//! How far something is that many threads do together, for [`Progress::passing`].

use std::sync::{Mutex, PoisonError};

use crate::progress::{Progress, Unit};

/// Counts, and tells. It is over when it is dropped, however far it came.
pub(super) struct Tally<'a> {
    progress: &'a dyn Progress,
    what: &'static str,
    done: Mutex<u64>,
    total: u64,
    unit: Unit,
}

impl<'a> Tally<'a> {
    /// Of nothing where the total is not known.
    pub(super) fn new(
        progress: &'a dyn Progress,
        what: &'static str,
        total: impl TryInto<u64>,
        unit: Unit,
    ) -> Self {
        Self {
            progress,
            what,
            done: Mutex::new(0),
            total: total.try_into().unwrap_or(0),
            unit,
        }
    }

    /// So many more are done.
    pub(super) fn add(&self, more: u64) {
        if self.total == 0 {
            return;
        }
        // Told under the lock: the greater number comes last.
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        // What was announced may be wrong. The end is told once, and by `drop`.
        *done = done.saturating_add(more).min(self.total - 1);
        self.progress
            .passing(self.what, *done, self.total, self.unit);
    }
}

impl Drop for Tally<'_> {
    fn drop(&mut self) {
        let done = self.done.get_mut().unwrap_or_else(PoisonError::into_inner);
        if *done > 0 {
            self.progress
                .passing(self.what, self.total, self.total, self.unit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Told(Mutex<Vec<(u64, u64)>>);

    impl Progress for Told {
        fn step(&self, _: &str) {}
        fn warning(&self, _: &str) {}
        fn output(&self, _: &str) {}
        fn moved(&self, _: &str, _: u64, _: Option<u64>) {}
        fn passing(&self, _: &str, done: u64, total: u64, _: Unit) {
            self.0.lock().unwrap().push((done, total));
        }
    }

    #[test]
    fn the_end_is_told_once_whatever_was_announced() {
        let told = Told::default();
        let tally = Tally::new(&told, "fetching", 10_u64, Unit::Bytes);
        for more in [4, 4, 4, 4] {
            tally.add(more);
        }
        drop(tally);
        // Given up.
        Tally::new(&told, "fetching", 10_u64, Unit::Bytes).add(3);
        // Not begun, and of an unknown total.
        drop(Tally::new(&told, "fetching", 10_u64, Unit::Bytes));
        Tally::new(&told, "fetching", 0_u64, Unit::Bytes).add(3);
        let expected = [
            (4, 10),
            (8, 10),
            (9, 10),
            (9, 10),
            (10, 10),
            (3, 10),
            (10, 10),
        ];
        assert_eq!(*told.0.lock().unwrap(), expected);
    }
}
