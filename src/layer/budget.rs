//! What ends the writing of a layer early: an interrupt, too much time, too much of it. Asked before
//! every member and at every block, so that a sparse file of a terabyte is not a way to keep a build busy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::LayerError;

/// What the layers of one build may come to. Clones share what is left.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Most bytes of one layer's content.
    layer: u64,
    /// Most of all layers that are written.
    build: u64,
    written: Arc<AtomicU64>,
    /// Longest time for one layer.
    timeout: Option<Duration>,
    interrupted: fn() -> bool,
}

impl Budget {
    /// [`Budget::bounds`] where the caller says nothing.
    pub const USUAL: (u64, u64) = (16 << 30, 32 << 30);

    pub fn new(
        layer: u64,
        build: u64,
        timeout: Option<Duration>,
        interrupted: fn() -> bool,
    ) -> Self {
        Self {
            layer,
            build,
            written: Arc::default(),
            timeout,
            interrupted,
        }
    }

    /// Most bytes of one layer, and of all of a build.
    pub fn bounds(&self) -> (u64, u64) {
        (self.layer, self.build)
    }

    /// The same bounds for another account: of what is unpacked to make layers of it, say.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self {
            written: Arc::default(),
            ..self.clone()
        }
    }

    /// One layer's share.
    pub fn begin(&self) -> Spending {
        Spending {
            budget: Some(self.clone()),
            end: self
                .timeout
                .and_then(|time| Instant::now().checked_add(time)),
            layer: 0,
        }
    }
}

/// One layer that is being written.
pub struct Spending {
    budget: Option<Budget>,
    end: Option<Instant>,
    layer: u64,
}

impl Spending {
    pub fn unlimited() -> Self {
        Self {
            budget: None,
            end: None,
            layer: 0,
        }
    }

    /// Before a member with so many bytes of content.
    ///
    /// # Errors
    /// If that is too much, too late, or not wanted any more.
    pub fn member(&mut self, size: u64) -> Result<(), LayerError> {
        self.block()?;
        let Some(budget) = &self.budget else {
            return Ok(());
        };
        let too_large = |limit, what| Err(LayerError::TooLarge { limit, what });
        self.layer = self.layer.saturating_add(size);
        if self.layer > budget.layer {
            return too_large(budget.layer, "layer");
        }
        let before = budget.written.fetch_add(size, Ordering::Relaxed);
        if before.saturating_add(size) > budget.build {
            return too_large(budget.build, "build");
        }
        Ok(())
    }

    /// Before a block of a file.
    ///
    /// # Errors
    /// If it is too late, or not wanted any more.
    pub fn block(&self) -> Result<(), LayerError> {
        if self
            .budget
            .as_ref()
            .is_some_and(|budget| (budget.interrupted)())
        {
            return Err(LayerError::Interrupted);
        }
        if self.end.is_some_and(|end| Instant::now() >= end) {
            return Err(LayerError::TimedOut);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io;
    use std::sync::atomic::AtomicUsize;

    use super::super::{Compression, Entry, Kind, Mtime, write_with};
    use super::*;

    fn never() -> bool {
        false
    }

    /// A layer of sparse files of these sizes, on one thread.
    fn written(sizes: &[u64], budget: Option<&Budget>) -> Result<u64, LayerError> {
        let place = tempfile::tempdir().unwrap();
        let entries: Vec<Entry> = sizes
            .iter()
            .enumerate()
            .map(|(number, size)| {
                let source = place.path().join(number.to_string());
                fs::File::create(&source).unwrap().set_len(*size).unwrap();
                Entry {
                    path: number.to_string().into(),
                    kind: Kind::File {
                        source,
                        size: *size,
                    },
                    mode: 0o644,
                    uid: 0,
                    gid: 0,
                    mtime: Mtime::OfContent { reference: 0 },
                    xattrs: std::collections::BTreeMap::new(),
                }
            })
            .collect();
        write_with(&entries, Compression::None, 1, io::sink(), None, budget)
            .map(|written| written.uncompressed)
    }

    #[test]
    fn a_layer_and_a_build_are_bounded() {
        const MIB: u64 = 1 << 20;
        // Without a bound, all of it is written.
        assert!(written(&[3 * MIB, 2 * MIB], None).unwrap() > 5 * MIB);
        let budget = Budget::new(4 * MIB, 7 * MIB, None, never);
        assert!(matches!(
            written(&[3 * MIB, 2 * MIB], Some(&budget)),
            Err(LayerError::TooLarge { what: "layer", .. })
        ));
        let budget = Budget::new(4 * MIB, 7 * MIB, None, never);
        assert!(written(&[4 * MIB], Some(&budget)).is_ok());
        assert!(matches!(
            written(&[4 * MIB], Some(&budget.clone())),
            Err(LayerError::TooLarge { what: "build", .. })
        ));
    }

    #[test]
    fn an_interrupt_is_heeded_within_a_file() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        fn soon() -> bool {
            ASKED.fetch_add(1, Ordering::Relaxed) > 10
        }
        // Hashed for its time and then read again: a terabyte would take the night.
        let budget = Budget::new(u64::MAX, u64::MAX, None, soon);
        assert!(matches!(
            written(&[1 << 40], Some(&budget)),
            Err(LayerError::Interrupted)
        ));
        assert!(ASKED.load(Ordering::Relaxed) < 20);
    }

    #[test]
    fn the_time_of_a_layer_is_bounded_within_a_file() {
        let budget = Budget::new(u64::MAX, u64::MAX, Some(Duration::from_millis(20)), never);
        assert!(matches!(
            written(&[1 << 40], Some(&budget)),
            Err(LayerError::TimedOut)
        ));
        assert!(
            written(&[10], Some(&budget)).is_ok(),
            "each has its own time"
        );
    }
}
