//! Installs, while the package index is being asked, what it said the last time.
//!
//! The resolver answers from its cache in a few milliseconds, and mostly as it does when the index has
//! been heard. A fragment is made of a wheel by its hash, whoever asked for it: a guess that was wrong
//! is work for nothing (or for another application), and never another image.

use std::collections::HashSet;
use std::sync::Mutex;

use crate::app::Detected;
use crate::progress::Progress;
use crate::store::Store;

use super::super::base::Base;
use super::super::error::BuildError;
use super::super::request::Request;
use super::super::tools::Tools;
use super::plain::Asked;
use super::{Reach, find_all, install, key, missing, resolve};

/// What was installed, and what the installer said.
#[derive(Default)]
pub(super) struct Ahead {
    keys: HashSet<String>,
    said: Said,
}

impl Ahead {
    pub(super) fn made(&self, key: &str) -> bool {
        self.keys.contains(key)
    }

    /// Shows what the installer said.
    pub(super) fn tell(self, progress: &dyn Progress) {
        for word in self.said.0.into_inner().unwrap_or_default() {
            match word {
                Word::Warning(text) => progress.warning(&text),
                Word::Output(line) => progress.output(&line),
            }
        }
    }
}

/// Installs what is not there of what the list stood for the last time. What is wrong with it is found
/// out, and said, once the index has answered.
pub(super) fn install(
    store: &Store,
    asked: &Asked,
    detected: &Detected,
    base: &Base,
    request: &Request,
    tools: &Tools,
) -> Result<Ahead, BuildError> {
    // Both want to hear nothing of what was before.
    if request.no_cache || request.upgrade {
        return Ok(Ahead::default());
    }
    match guess(store, asked, detected, base, request, tools) {
        Ok(ahead) => Ok(ahead.unwrap_or_default()),
        Err(BuildError::Interrupted) => Err(BuildError::Interrupted),
        Err(error) => {
            tracing::debug!(%error, "nothing is installed ahead");
            Ok(Ahead::default())
        }
    }
}

fn guess(
    store: &Store,
    asked: &Asked,
    detected: &Detected,
    base: &Base,
    request: &Request,
    tools: &Tools,
) -> Result<Option<Ahead>, BuildError> {
    let resolved = resolve::resolve(store, asked, detected, base, request, tools, Reach::Cache)?;
    let Ok(wheels) = resolved else {
        return Ok(None);
    };
    let found = find_all(store, &wheels, base, request)?;
    let missing = missing(&wheels, &found);
    if missing.is_empty() {
        return Ok(None);
    }
    let said = Said::default();
    let reach = Reach::Cache;
    let made = install::install(store, &missing, asked, base, request, tools, reach, &said)?;
    Ok(made.ok().map(|_| Ahead {
        keys: missing.into_iter().map(|pin| key(pin, base)).collect(),
        said,
    }))
}

/// Keeps what is said until it is known whether it belongs to this build.
#[derive(Default)]
struct Said(Mutex<Vec<Word>>);

enum Word {
    Warning(String),
    Output(String),
}

impl Said {
    fn keep(&self, word: Word) {
        if let Ok(mut words) = self.0.lock() {
            words.push(word);
        }
    }
}

impl Progress for Said {
    fn step(&self, _line: &str) {}
    fn moved(&self, _what: &str, _done: u64, _total: Option<u64>) {}

    fn warning(&self, text: &str) {
        self.keep(Word::Warning(text.to_owned()));
    }

    fn output(&self, line: &str) {
        self.keep(Word::Output(line.to_owned()));
    }
}
