//! Between the thread that watches and the one that runs containers: what runs, and what comes next.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::container::{self, ContainerError, Record};

use super::change::Change;
use super::reload::Reload;

/// How long a server may take to end, when it is to be started again.
const GRACE: Duration = Duration::from_secs(2);

/// How often a wait looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// What follows when what runs has ended; the greater includes the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    Restart,
    Rebuild,
}

/// What both threads know.
#[derive(Default)]
pub struct Turns {
    state: Mutex<State>,
    changed: Condvar,
    /// Every change is one of the build.
    pub always_rebuild: bool,
}

#[derive(Default)]
struct State {
    running: Option<(Record, Reload)>,
    next: Option<Next>,
}

impl Turns {
    pub fn new(always_rebuild: bool) -> Self {
        Self {
            always_rebuild,
            ..Self::default()
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This runs from here on. It has read what changed before; what has to be built ends it at once.
    pub fn runs(&self, record: &Record, reload: Reload) {
        let mut state = self.state();
        state.running = Some((record.clone(), reload));
        match state.next {
            Some(Next::Restart) => state.next = None,
            Some(Next::Rebuild) => {
                let record = record.clone();
                // The calling thread is the one that sees the end.
                std::thread::spawn(move || container::stop(&record, GRACE));
            }
            None => {}
        }
    }

    /// It has ended: what is to be done, if it was ended for that.
    pub fn ended(&self) -> Option<Next> {
        let mut state = self.state();
        state.running = None;
        state.next.take()
    }

    /// Something has changed. What runs is told, or ended; gives what comes of it, `None` where the
    /// server sees it by itself.
    pub fn change(&self, change: Change) -> Result<Option<Reload>, ContainerError> {
        let mut state = self.state();
        let next = if self.always_rebuild || change >= Change::Settings {
            Next::Rebuild
        } else {
            Next::Restart
        };
        let Some((record, reload)) = state.running.clone() else {
            state.next = state.next.max(Some(next));
            self.changed.notify_all();
            return Ok(Some(Reload::Restart));
        };
        if next == Next::Restart && change == Change::Code && reload == Reload::Own {
            return Ok(None);
        }
        if next == Next::Restart && reload == Reload::Signal {
            container::hang_up(&record)?;
            return Ok(Some(Reload::Signal));
        }
        state.next = state.next.max(Some(next));
        // The other thread takes what comes next when this has ended.
        drop(state);
        container::stop(&record, GRACE)?;
        Ok(Some(Reload::Restart))
    }

    /// Waits for a change, as long as `goes_on`.
    pub fn wait(&self, goes_on: impl Fn() -> bool) -> Option<Next> {
        let mut state = self.state();
        loop {
            if let Some(next) = state.next.take() {
                return Some(next);
            }
            if !goes_on() {
                return None;
            }
            state = match self.changed.wait_timeout(state, LOOK) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}
