//! Reports transfers of blobs as progress.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use crate::progress::Progress;
use crate::registry::{Event, TransferListener};

/// After a wait of this length, users want to know when it ends.
const LONG: Duration = Duration::from_mins(1);

/// Turns a transfer's events into lines and bars.
pub struct Transfers<'a> {
    progress: &'a dyn Progress,
    sizes: Mutex<HashMap<String, u64>>,
}

impl<'a> Transfers<'a> {
    pub fn new(progress: &'a dyn Progress) -> Self {
        Self {
            progress,
            sizes: Mutex::default(),
        }
    }

    fn size(&self, digest: &str) -> Option<u64> {
        self.sizes.lock().ok()?.get(digest).copied()
    }
}

/// A blob's short name: the first twelve digits, as docker shows them.
fn short(digest: &crate::oci::Digest) -> String {
    digest.digest().chars().take(12).collect()
}

impl TransferListener for Transfers<'_> {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Start { digest, size, .. } => {
                if let Ok(mut sizes) = self.sizes.lock() {
                    sizes.insert(short(digest), *size);
                }
            }
            Event::Advance { digest, bytes } => {
                let name = short(digest);
                let total = self.size(&name);
                // `Done` reports the end, once.
                if total.is_none_or(|total| *bytes < total) {
                    self.progress.moved(&name, *bytes, total);
                }
            }
            Event::Done { digest, .. } => {
                let name = short(digest);
                if let Some(size) = self.size(&name) {
                    self.progress.moved(&name, size, Some(size));
                }
            }
            Event::Retry { what, reason, wait } => {
                let seconds = wait.as_secs_f32().ceil();
                let mut text = format!("{what}: {reason}; trying again in {seconds} s");
                if *wait >= LONG
                    && let Some(time) = SystemTime::now().checked_add(*wait)
                {
                    let time = humantime::format_rfc3339_seconds(time);
                    let _ = write!(text, ", at {time}");
                }
                self.progress.warning(&text);
            }
            Event::Quiet { what, waited } => self.progress.warning(&format!(
                "{what}: nothing has come for {} s; still waiting",
                waited.as_secs()
            )),
            Event::Warning(text) => self.progress.warning(text),
        }
    }
}
