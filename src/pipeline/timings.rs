//! How long the steps take, and what time it is.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The time of application files if neither `SOURCE_DATE_EPOCH` nor a commit gives one:
/// 2010-01-01T00:00:00Z.
pub(super) const DEFAULT_SOURCE_TIME: i64 = 1_262_304_000;

/// Measures the steps for the report.
#[derive(Clone)]
pub(super) struct Timings {
    started: Instant,
    pub(super) steps: BTreeMap<String, u64>,
}

impl Timings {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            steps: BTreeMap::new(),
        }
    }

    /// Ends a step and begins the next.
    pub(super) fn step(&mut self, name: &str) {
        let took = self.started.elapsed().as_millis();
        self.steps
            .insert(name.to_owned(), u64::try_from(took).unwrap_or(u64::MAX));
        self.started = Instant::now();
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
