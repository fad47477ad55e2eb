//! What the thread that watches files and the thread that runs containers share: the running container, and
//! what comes next.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::container::{self, ContainerError, Process, Record};

use super::change::Change;
use super::reload::Reload;

/// How long a server may take to end, when it is to be started again.
const GRACE: Duration = Duration::from_secs(2);

/// The status of a process that a HUP ended.
const HUNG_UP: i32 = 128 + 1;

/// A wait checks so often whether to end.
const LOOK: Duration = Duration::from_millis(50);

/// What to do when the container has ended; the greater includes the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Next {
    Restart,
    Rebuild,
}

/// The state that both threads share.
#[derive(Default)]
pub struct Turns {
    state: Mutex<State>,
    changed: Condvar,
    /// Every change needs a build.
    pub always_rebuild: bool,
}

#[derive(Default)]
struct State {
    running: Option<Running>,
    next: Option<Next>,
    /// The running container was sent a HUP.
    hung_up: bool,
}

/// One run of a container: after a restart it has another process.
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

    /// Notes the container that runs now. It has read all earlier changes; one that needs a build ends it at once.
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

    /// Notes that the container has ended; gives what to do, if it was ended for a change.
    pub fn ended(&self) -> Option<Next> {
        let mut state = self.state();
        state.running = None;
        state.hung_up = false;
        state.next.take()
    }

    /// Notes that the container has ended with this status; gives what to do, if it was ended for a change, or by
    /// a HUP that it did not handle yet.
    pub fn ended_with(&self, status: i32) -> Option<Next> {
        let hung_up = self.state().hung_up;
        self.ended()
            .or((hung_up && status == HUNG_UP).then_some(Next::Restart))
    }

    /// Reports a change: signals or ends the running container, and gives which of these; `None` if the server
    /// sees the change by itself.
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
        // When this has ended, the other thread takes what comes next.
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
