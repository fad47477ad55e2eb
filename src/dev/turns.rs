//! Between the thread that watches and the one that runs containers: what runs, and what comes next.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::container::{self, ContainerError, Process, Record};

use super::change::Change;
use super::reload::Reload;

/// How long a server may take to end, when it is to be started again.
const GRACE: Duration = Duration::from_secs(2);

/// The status of what a HUP has ended.
const HUNG_UP: i32 = 128 + 1;

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
    running: Option<Running>,
    next: Option<Next>,
    /// What runs was sent a HUP.
    hung_up: bool,
}

/// One run of a container: it may be started again, and then is another process.
#[derive(Clone)]
struct Running {
    record: Record,
    process: Process,
    reload: Reload,
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
        let Some(process) = record.state().ok().and_then(|state| state.process) else {
            // It has ended already.
            return;
        };
        let mut state = self.state();
        let running = Running {
            record: record.clone(),
            process,
            reload,
        };
        match state.next {
            Some(Next::Restart) => state.next = None,
            Some(Next::Rebuild) => {
                let Running {
                    record, process, ..
                } = running.clone();
                // The calling thread is the one that sees the end.
                std::thread::spawn(move || container::end(&record, &process, GRACE));
            }
            None => {}
        }
        state.running = Some(running);
    }

    /// It has ended: what is to be done, if it was ended for that.
    pub fn ended(&self) -> Option<Next> {
        let mut state = self.state();
        state.running = None;
        state.hung_up = false;
        state.next.take()
    }

    /// It has ended with this status: what is to be done, if it was ended for that, or by a HUP that it did
    /// not know yet.
    pub fn ended_with(&self, status: i32) -> Option<Next> {
        let hung_up = self.state().hung_up;
        self.ended()
            .or((hung_up && status == HUNG_UP).then_some(Next::Restart))
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
        let Some(running) = state.running.clone() else {
            state.next = state.next.max(Some(next));
            self.changed.notify_all();
            return Ok(Some(Reload::Restart));
        };
        if next == Next::Restart && change == Change::Code && running.reload == Reload::Own {
            return Ok(None);
        }
        if next == Next::Restart && running.reload == Reload::Signal {
            state.hung_up = true;
            container::hang_up(&running.process)?;
            return Ok(Some(Reload::Signal));
        }
        state.next = state.next.max(Some(next));
        // The other thread takes what comes next when this has ended.
        drop(state);
        container::end(&running.record, &running.process, GRACE)?;
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
