//! While the resolver waits for the package index, installs what the index answered the last time.
//!
//! The resolver answers from its cache in a few milliseconds, and mostly the same as with the index. A
//! fragment depends on the hash of its wheel alone: a wrong guess is work for nothing (or for another
//! application), and never changes an image.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::progress::Progress;

use super::super::error::BuildError;
use super::super::locked_wheel::{LockedWheel, Pin};
use super::install::Installation;
use super::resolve;
use super::stop::Stop;
use super::{Given, Lookup, find_all, missing};

/// Most bytes of the installer's words that are kept.
const MAX_WORDS: usize = 1024 * 1024;

/// What was installed, and what could not be.
#[derive(Default)]
pub(super) struct Ahead {
    pins: BTreeSet<Pin>,
    /// Why these wheels cannot be fragments, though they can be installed.
    inseparable: Option<String>,
    said: Said,
}

impl Ahead {
    /// Whether this was installed.
    pub(super) fn made(&self, pin: &Pin) -> bool {
        self.inseparable.is_none() && self.pins.contains(pin)
    }

    /// Why these very wheels, all that are missing, cannot be told apart, if that was found out.
    pub(super) fn inseparable(&self, missing: &[&LockedWheel]) -> Option<&str> {
        let same = missing.iter().map(|wheel| &wheel.pin).eq(&self.pins);
        self.inseparable.as_deref().filter(|_| same)
    }

    /// Shows what the installer said where all that it installed is in the image.
    pub(super) fn tell(self, wheels: &[LockedWheel], progress: &dyn Progress) {
        let in_image = |pin: &Pin| wheels.iter().any(|wheel| wheel.pin == *pin);
        let used = self.pins.iter().all(in_image);
        for word in self.said.0.into_inner().unwrap_or_default().words {
            match word {
                Word::Warning(text) => progress.warning(&text),
                Word::Output(line) if used => progress.output(&line),
                Word::Output(_) => {}
            }
        }
    }
}

/// Installs what is not there of what the list stood for the last time, for as long as it is not known
/// that it stands for something else. What is wrong with it is found out, and said, once the index has
/// answered.
pub(super) fn install(
    given: Given<'_>,
    wanted: &(dyn Fn(&[&LockedWheel]) -> bool + Sync),
) -> Result<Ahead, BuildError> {
    let request = given.context.request;
    let limits = &request.limits;
    let limited = limits.memory.is_some() || limits.cpus.is_some() || limits.pids.is_some();
    // Not with `--no-cache` and `--upgrade`, which ask for a fresh answer, nor with limits, which are those of
    // one sandbox. A lock needs no guess.
    if request.no_cache || request.upgrade || limited || given.asked.locked.is_some() {
        return Ok(Ahead::default());
    }
    let guess = || {
        let lookup = Lookup::Cache;
        let wheels = match resolve::resolve(given, lookup) {
            Ok(wheels) => wheels,
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Failed | Stop::NotPlain(_)) => return Ok(Ahead::default()),
        };
        let found = find_all(*given, &wheels)?;
        let missing = missing(&wheels, &found);
        if missing.is_empty() {
            return Ok(Ahead::default());
        }
        let said = Said::default();
        let installation = Installation {
            inputs: *given,
            lookup,
            wanted: &|| wanted(&missing),
            progress: &said,
        };
        let inseparable = match installation.of(&missing) {
            Ok(_) => None,
            Err(Stop::Failed) => return Ok(Ahead::default()),
            Err(Stop::NotPlain(reason)) => Some(reason),
            Err(Stop::Error(error)) => return Err(error),
        };
        Ok(Ahead {
            pins: missing.iter().map(|wheel| wheel.pin.clone()).collect(),
            inseparable,
            said,
        })
    };
    match guess() {
        Err(error) if !matches!(error, BuildError::Interrupted) => {
            tracing::debug!(%error, "nothing is installed ahead");
            Ok(Ahead::default())
        }
        other => other,
    }
}

/// Keeps what is said until it is known whether it belongs to this build.
#[derive(Default)]
struct Said(Mutex<Words>);

#[derive(Default)]
struct Words {
    words: Vec<Word>,
    /// Of all words together.
    bytes: usize,
}

enum Word {
    Warning(String),
    Output(String),
}

impl Said {
    fn keep(&self, text: &str, word: fn(String) -> Word) {
        if let Ok(mut kept) = self.0.lock()
            && kept.bytes < MAX_WORDS
        {
            kept.bytes += text.len().max(1);
            kept.words.push(word(text.to_owned()));
        }
    }
}

impl Progress for Said {
    fn step(&self, _line: &str) {}
    fn moved(&self, _what: &str, _done: u64, _total: Option<u64>) {}

    fn warning(&self, text: &str) {
        self.keep(text, Word::Warning);
    }

    fn output(&self, line: &str) {
        self.keep(line, Word::Output);
    }
}
