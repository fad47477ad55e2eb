//! The caller's side of a running command: standard streams, terminal, signals, and the wait.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::ContainerError;
use super::attach::Attach;
use super::log::{LogWriter, Stream as LogStream};
use super::output::{Pump, Show, pump};
use super::terminal::{self, RawTerminal};
use crate::sandbox::{Exit, Io, Sandbox, SignalQueue, Size, Stream};

const HUP: i32 = 1;
const INT: i32 = 2;
const QUIT: i32 = 3;
const USR1: i32 = 10;
const USR2: i32 = 12;
const TERM: i32 = 15;
const WINCH: i32 = 28;

/// This number of interrupts kills a command that ignores them.
const PATIENCE: u32 = 3;

/// The size of a terminal that is not shown.
const DEFAULT_SIZE: Size = Size {
    rows: 24,
    columns: 80,
};

/// Connects the caller with a command.
pub(super) struct Session {
    attach: Attach,
    terminal: bool,
    signals: SignalQueue,
    /// The signal for a detached container when its supervisor is asked to end.
    stop_signal: i32,
    master: Option<File>,
    pumps: Vec<Pump>,
    /// A signal came with which the caller asks for the end.
    asked: bool,
    /// Last field: the terminal is restored after all writers have ended.
    raw: Option<RawTerminal>,
}

impl Session {
    /// From here on signals are forwarded; the caller's terminal, if there is one, is in raw mode.
    pub(super) fn new(
        terminal: bool,
        attach: Attach,
        stop_signal: i32,
    ) -> Result<Self, ContainerError> {
        let raw = if terminal && attach.foreground && attach.interactive {
            Some(RawTerminal::enter()?)
        } else {
            None
        };
        let signals = SignalQueue::install(&[HUP, INT, QUIT, USR1, USR2, TERM, WINCH])
            .map_err(|error| io_failed("watch for signals", error))?;
        Ok(Self {
            attach,
            terminal,
            signals,
            stop_signal,
            master: None,
            pumps: Vec::new(),
            asked: false,
            raw,
        })
    }

    /// The command's standard streams: pipes. It never gets a descriptor of the caller's, by which it
    /// could read the caller's terminal, or change and lengthen a file that was opened for appending
    /// (`container exec … >> log`), or reach the file's directory.
    pub(super) fn io(&self) -> Io {
        if self.terminal {
            let size = terminal::size().map_or(DEFAULT_SIZE, |size| Size {
                rows: size.ws_row,
                columns: size.ws_col,
            });
            return Io::Terminal(if self.raw.is_some() {
                size
            } else {
                DEFAULT_SIZE
            });
        }
        Io::Streams {
            stdin: if self.attach.interactive {
                Stream::Piped
            } else {
                Stream::Null
            },
            stdout: Stream::Piped,
            stderr: Stream::Piped,
        }
    }

    /// Starts to copy the command's input and output.
    pub(super) fn connect(
        &mut self,
        sandbox: &mut Sandbox,
        log: Option<&Arc<LogWriter>>,
    ) -> Result<(), ContainerError> {
        let failed = |error| io_failed("carry what the command reads and prints", error);
        if let Some(stdin) = sandbox.take_stdin() {
            terminal::feed(stdin).map_err(failed)?;
        }
        let master = sandbox.take_terminal();
        if let Some(master) = &master {
            if self.attach.foreground && self.attach.interactive {
                terminal::feed(master.try_clone().map_err(failed)?).map_err(failed)?;
            }
            self.master = Some(master.try_clone().map_err(failed)?);
        }
        let outputs = [
            (master, LogStream::Stdout),
            (sandbox.take_stdout(), LogStream::Stdout),
            (sandbox.take_stderr(), LogStream::Stderr),
        ];
        for (from, stream) in outputs {
            if let Some(from) = from {
                let show = match (self.attach.foreground, self.attach.folded && !self.terminal) {
                    (false, _) => Show::Nothing,
                    (true, false) => Show::Everything,
                    (true, true) => Show::Folded,
                };
                let pump = pump(from, stream, log.cloned(), show);
                self.pumps.push(pump.map_err(failed)?);
            }
        }
        Ok(())
    }

    /// Waits for the command's end or for its time limit, and forwards signals meanwhile.
    pub(super) fn wait(&mut self, sandbox: &mut Sandbox) -> Result<Exit, ContainerError> {
        let mut interrupts = 0;
        loop {
            let left = sandbox
                .deadline()
                .map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(sandbox.time_out()?);
            }
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let ended = sandbox.as_fd();
            let mut polled = [
                PollFd::new(&ended, PollFlags::IN),
                PollFd::new(&self.signals, PollFlags::IN),
            ];
            match poll(&mut polled, left.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(io_failed("wait for the command", error.into())),
            }
            if let Some(exit) = sandbox.try_wait()? {
                return Ok(exit);
            }
            while let Some(signal) = self.signals.next() {
                self.asked |= matches!(signal, HUP | INT | QUIT | TERM);
                self.forward(signal, sandbox, &mut interrupts);
            }
        }
    }

    /// Whether the caller asked for the end.
    pub(super) fn was_asked(&self) -> bool {
        self.asked
    }

    fn forward(&self, signal: i32, sandbox: &Sandbox, interrupts: &mut u32) {
        if signal == WINCH {
            if let (Some(master), Some(_)) = (&self.master, &self.raw) {
                terminal::follow_size(master.as_fd());
            }
            return;
        }
        if matches!(signal, INT | TERM) {
            *interrupts += 1;
        }
        // An ended process needs no signal.
        let _ = if *interrupts >= PATIENCE {
            sandbox.kill()
        } else if self.attach.foreground {
            sandbox.signal(signal)
        } else {
            sandbox.signal(self.stop_signal)
        };
    }

    /// Waits until all output is copied; with `linger` only for the present output, because a
    /// command's children may keep its streams open.
    pub(super) fn drain(&mut self, linger: Option<Duration>) {
        for pump in self.pumps.drain(..) {
            match linger {
                None => pump.finish(),
                Some(linger) => pump.finish_what_is_there(linger),
            }
        }
    }
}

pub(super) fn io_failed(doing: &'static str, source: io::Error) -> ContainerError {
    ContainerError::System { doing, source }
}

/// The status as in a shell: 128 plus the signal's number for a killed command.
pub(super) fn exit_status(exit: Exit) -> i32 {
    match exit {
        Exit::Code(code) => code,
        Exit::Signal(signal) => 128 + signal,
        Exit::TimedOut => 124,
        Exit::WroteTooMuch => 153,
        Exit::Interrupted => 130,
    }
}
