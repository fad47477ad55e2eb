//! Holds a container from its start to its end, in the process that calls: the command line in the
//! foreground, the detached supervisor with `-d`.
//!
//! ```text
//!   bind the host's ports ─► start the sandbox ─► write down that it runs ─► proxy, output, signals
//!                                                          ─► its end ─► write it down (or remove)
//! ```

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::JoinHandle;

use super::ContainerError;
use super::log::{LogWriter, Stream};
use super::output::pump;
use super::ports::PortMapping;
use super::process::Process;
use super::proxy::{self, Dial, Proxy};
use super::record::{self, Record, State};
use super::session::{Session, exit_status, io_failed};
use crate::sandbox::{self, Dialer, Sandbox, Spec};
use crate::store::Store;

/// How the caller is connected to the container.
#[derive(Debug, Clone, Copy)]
pub struct Attach {
    /// What it prints is shown, signals are forwarded.
    pub foreground: bool,
    /// Standard input goes to it.
    pub interactive: bool,
}

impl Dial for Dialer {
    fn dial(&self, port: u16) -> std::io::Result<std::net::TcpStream> {
        Dialer::dial(self, port)
    }
}

/// Runs a prepared container to its end and gives its exit status. `ready` is called when it runs,
/// with its ports, before anything that it prints is shown.
///
/// A container that could not be started is removed, so that its name is free again. To be called
/// from the main thread: the sandbox ends when the thread that started it does.
pub fn run(
    store: &Store,
    record: &Record,
    spec: &Spec,
    attach: Attach,
    ready: &mut dyn FnMut(&[PortMapping]),
) -> Result<i32, ContainerError> {
    let started = start(record, spec, attach);
    let running = match started {
        Ok(running) => running,
        Err(error) => {
            let _ = record.remove(store);
            return Err(error);
        }
    };
    ready(&running.state.ports);
    let status = running.finish(record, attach);
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
    let listeners = proxy::bind(&record.config.ports)?;
    let log = LogWriter::open(&record.log()).map_err(|source| ContainerError::Io {
        doing: "make the log",
        path: record.log(),
        source,
    })?;
    let session = Session::new(record.config.terminal, attach)?;
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
            (false, Some(dialer)) => Proxy::start(listeners, dialer)
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
            sandbox.kill();
            let _ = sandbox.wait();
            Err(error)
        }
    }
}

impl Running {
    /// Waits for the end and writes it down.
    fn finish(mut self, record: &Record, attach: Attach) -> Result<i32, ContainerError> {
        let ended = self.attend(attach);
        drop(self.proxy.take());
        let status = match ended {
            Ok(status) => status,
            Err(error) => {
                self.sandbox.kill();
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
            // Somebody removed it by force while it ended.
            Err(_) if !record.directory().exists() => {}
            other => other?,
        }
        Ok(status)
    }

    fn attend(&mut self, attach: Attach) -> Result<i32, ContainerError> {
        let mut pumps: Vec<JoinHandle<()>> = Vec::new();
        let outputs: [(Option<OwnedFd>, Stream); 3] = [
            (self.session.take_master(&mut self.sandbox)?, Stream::Stdout),
            (self.sandbox.take_stdout(), Stream::Stdout),
            (self.sandbox.take_stderr(), Stream::Stderr),
        ];
        for (from, stream) in outputs {
            if let Some(from) = from {
                let log = Some(Arc::clone(&self.log));
                let pump = pump(from, stream, log, attach.foreground)
                    .map_err(|error| io_failed("read what the container prints", error))?;
                pumps.push(pump);
            }
        }
        let exit = self.session.wait(&mut self.sandbox)?;
        for pump in pumps {
            let _ = pump.join();
        }
        Ok(exit_status(exit))
    }
}
