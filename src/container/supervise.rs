//! Holds a container from its start to its end, in the process that calls: the command line in the
//! foreground, the detached supervisor with `-d`.
//!
//! ```text
//!   bind the host's ports ─► start the sandbox ─► write down that it runs ─► proxy, output, signals
//!                                                          ─► its end ─► write it down (or remove)
//! ```

use std::sync::Arc;

use super::ContainerError;
use super::attach::Attach;
use super::log::LogWriter;
use super::ports::PortMapping;
use super::process::Process;
use super::proxy::{self, Dial, Proxy};
use super::record::{self, Record, State};
use super::session::{Session, exit_status, io_failed};
use crate::sandbox::{self, Dialer, Sandbox, Spec};
use crate::store::Store;

impl Dial for Dialer {
    fn dial(&self, port: u16) -> std::io::Result<std::net::TcpStream> {
        self.connect(port)
    }
}

/// Runs a prepared container to its end and returns its exit status. When it runs, `ready` is
/// called with its ports and with notes for the user, before any of its output is shown.
///
/// A container that could not be started is removed, so that its name is free again, unless it ran
/// before. Call it from the main thread: the sandbox ends with the thread that started it.
pub fn run(
    store: &Store,
    record: &Record,
    spec: &Spec,
    attach: Attach,
    ready: &mut dyn FnMut(&[PortMapping], &[String]),
) -> Result<i32, ContainerError> {
    run_to_end(store, record, spec, attach, ready).map(|ended| ended.status)
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// As a shell has it.
    pub status: i32,
    /// The caller of this process ended it (Ctrl-C).
    pub asked: bool,
}

/// As [`run`], for a caller that needs to know whether the user ended it.
pub fn run_to_end(
    store: &Store,
    record: &Record,
    spec: &Spec,
    attach: Attach,
    ready: &mut dyn FnMut(&[PortMapping], &[String]),
) -> Result<Ended, ContainerError> {
    let before = record.state().ok().filter(|state| state.started.is_some());
    let started = start(record, spec, attach);
    let running = match started {
        Ok(running) => running,
        Err(error) => {
            let _ = match &before {
                Some(state) => record.write_state(state),
                None => record.remove(store),
            };
            return Err(error);
        }
    };
    ready(&running.state.ports, running.sandbox.notes());
    let status = running.finish(record);
    if record.config.remove {
        record.remove(store)?;
    }
    status
}

struct Running {
    sandbox: Sandbox,
    session: Session,
    proxy: Option<Proxy>,
    log: Arc<LogWriter>,
    state: State,
}

fn start(record: &Record, spec: &Spec, attach: Attach) -> Result<Running, ContainerError> {
    // Until the command runs, the container ends with this process.
    record.write_state(&State {
        supervisor: Process::this(),
        ..State::default()
    })?;
    let listeners = proxy::bind(&record.config.ports)?;
    let log = LogWriter::open(&record.log()).map_err(|source| ContainerError::Io {
        doing: "make the log",
        path: record.log(),
        source,
    })?;
    let session = Session::new(record.config.terminal, attach, record.config.stop_signal)?;
    let mut sandbox = sandbox::spawn(spec, session.io())?;
    let ports: Vec<PortMapping> = listeners.iter().map(|(mapping, _)| *mapping).collect();
    let state = State {
        supervisor: Process::this(),
        process: Process::of(sandbox.pid()),
        ports,
        started: Some(record::now()),
        ..State::default()
    };
    let begin = || -> Result<Option<Proxy>, ContainerError> {
        record.write_state(&state)?;
        match (listeners.is_empty(), sandbox.take_dialer()) {
            (false, Some(dialer)) => Proxy::start(listeners, dialer, attach.patience)
                .map(Some)
                .map_err(|error| io_failed("start the port proxy", error)),
            _ => Ok(None),
        }
    };
    match begin() {
        Ok(proxy) => Ok(Running {
            sandbox,
            session,
            proxy,
            log: Arc::new(log),
            state,
        }),
        Err(error) => {
            let _ = sandbox.kill();
            let _ = sandbox.wait();
            Err(error)
        }
    }
}

impl Running {
    /// Waits for the end and records it.
    fn finish(mut self, record: &Record) -> Result<Ended, ContainerError> {
        let ended = self.attend();
        drop(self.proxy.take());
        let status = match ended {
            Ok(status) => status,
            Err(error) => {
                let _ = self.sandbox.kill();
                self.state.error = Some(error.to_string());
                self.state.exit = Some(125);
                self.state.finished = Some(record::now());
                record.write_state(&self.state)?;
                return Err(error);
            }
        };
        self.state.exit = Some(status);
        self.state.finished = Some(record::now());
        match record.write_state(&self.state) {
            // Another process removed it by force while it ended.
            Err(_) if !record.directory().exists() => {}
            other => other?,
        }
        Ok(Ended {
            status,
            asked: self.session.was_asked(),
        })
    }

    fn attend(&mut self) -> Result<i32, ContainerError> {
        self.session.connect(&mut self.sandbox, Some(&self.log))?;
        let exit = self.session.wait(&mut self.sandbox)?;
        self.session.drain(None);
        Ok(exit_status(exit))
    }
}
