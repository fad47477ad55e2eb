//! What was not looked through for secrets because a bound was reached. It is printed: without a warning,
//! everything was searched.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::progress::Progress;

/// Names that are said; of more, how many.
const MOST_NAMED: usize = 3;

/// Why something was not looked through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Bound {
    Size,
    Depth,
    Work,
}

impl Bound {
    fn words(self) -> &'static str {
        match self {
            Self::Size => "larger than 64 MiB, or needs too much memory",
            Self::Depth => "files in files, more than 8 deep",
            Self::Work => "more than can be unpacked and decoded in a reasonable time",
        }
    }
}

/// A file, and why what is packed or encoded in it was not looked through, or not all of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Note {
    pub(super) because: Bound,
    /// As it may be shown.
    pub(super) place: String,
}

/// All of a build. Clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Unsearched(Arc<Mutex<BTreeSet<Note>>>);

impl Unsearched {
    pub(super) fn add(&self, notes: &[Note]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.extend(notes.iter().cloned());
    }

    /// Says what was added since the last time.
    pub(super) fn warn(&self, progress: &dyn Progress) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = std::mem::take(&mut *all);
        for because in [Bound::Size, Bound::Depth, Bound::Work] {
            let places = all.iter().filter(|note| note.because == because);
            let mut places: Vec<&str> = places.map(|note| note.place.as_str()).collect();
            let more = places.len().saturating_sub(MOST_NAMED);
            places.truncate(MOST_NAMED);
            let and = match more {
                0 => String::new(),
                1 => " and one more file".to_owned(),
                more => format!(" and {more} more files"),
            };
            if !places.is_empty() {
                progress.warning(&format!(
                    "not searched for secrets: some compressed or encoded content of {}{and} ({}). Plain text in \
                     these files was searched",
                    places.join(", "),
                    because.words()
                ));
            }
        }
    }
}
