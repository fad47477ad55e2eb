//! Runs a program as its parent: forwards signals and, as process 1, reaps orphans.
//!
//! For process 1 the kernel has no default action for signals, and process 1 must reap every
//! orphan; a server or a shell script does neither correctly. So warpdrive stays as process 1,
//! and the program is its child in the same session. Otherwise the program replaces warpdrive,
//! see [`super::launch`].

use std::io;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, getpgrp, kill_process, waitpid};
use rustix::termios::tcgetpgrp;
use signal_hook::consts::signal::{
    SIGABRT, SIGALRM, SIGCHLD, SIGCONT, SIGHUP, SIGINT, SIGIO, SIGPIPE, SIGPROF, SIGQUIT, SIGTERM,
    SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::Signals;

/// The forwarded signals: all except SIGCHLD, those that cannot be caught, and those that report
/// a fault of warpdrive itself.
const FORWARDED: &[i32] = &[
    SIGABRT, SIGALRM, SIGCONT, SIGHUP, SIGINT, SIGIO, SIGPIPE, SIGPROF, SIGQUIT, SIGTERM, SIGTSTP,
    SIGTTIN, SIGTTOU, SIGURG, SIGUSR1, SIGUSR2, SIGVTALRM, SIGWINCH, SIGXCPU, SIGXFSZ,
];

/// Real-time signals as a program may use them; those before belong to the C library: two of them, three of
/// musl's.
const REAL_TIME: std::ops::RangeInclusive<i32> = FIRST_REAL_TIME..=64;
const FIRST_REAL_TIME: i32 = if cfg!(target_env = "musl") { 35 } else { 34 };

/// Signals that a terminal sends to all its foreground processes, including the child.
const FROM_TERMINAL: &[i32] = &[SIGINT, SIGQUIT, SIGTSTP, SIGWINCH];

/// How often workers are told again to stop, and how often warpdrive checks whether all have stopped.
const AGAIN: Duration = Duration::from_secs(1);
const LOOK: Duration = Duration::from_millis(50);

/// The signals that ask a program to finish its work and end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopping {
    /// The same signals that warpdrive gets.
    AsTold,
    /// For Apache: TERM would cut running responses; WINCH lets it finish them, so a WINCH from a
    /// terminal whose size changes must not reach it.
    Apache,
    /// For a server that forks workers: a worker that has not yet installed its handlers has those
    /// of its parent, which lose the signal. So workers get the signal again until the server has
    /// ended.
    Workers,
}

impl Stopping {
    /// What to pass on for a signal.
    fn translate(self, number: i32) -> Option<i32> {
        match (self, number) {
            (Self::Apache, SIGTERM | SIGINT) => Some(SIGWINCH),
            (Self::Apache, SIGWINCH) => None,
            _ => Some(number),
        }
    }

    /// Whether a signal asks for the end. A server that forks workers takes a HUP for "load it again".
    fn is_asked_by(self, number: i32) -> bool {
        matches!(number, SIGTERM | SIGINT | SIGQUIT) || (number == SIGHUP && self != Self::Workers)
    }
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    /// Its status; 128 + n if signal n ended it.
    pub(super) status: u8,
    /// The signal that asked warpdrive to end meanwhile.
    pub(super) asked: Option<i32>,
}

/// Receives the signals of this process.
pub(super) struct Supervisor {
    signals: Signals,
}

impl Supervisor {
    pub(super) fn new() -> io::Result<Supervisor> {
        let all = FORWARDED.iter().copied().chain(REAL_TIME).chain([SIGCHLD]);
        Ok(Supervisor {
            signals: Signals::new(all)?,
        })
    }

    /// Starts the program and waits for its end.
    pub(super) fn run(&mut self, command: &mut Command, stopping: Stopping) -> io::Result<Ended> {
        let child = Pid::from_child(&command.spawn()?);
        let mut asked = None;
        let mut told = Instant::now();
        loop {
            let again = asked.is_some() && stopping == Stopping::Workers;
            let signals: Vec<i32> = if again {
                std::thread::sleep(LOOK);
                self.signals.pending().collect()
            } else {
                self.signals.wait().collect()
            };
            for number in signals {
                if number != SIGCHLD {
                    if stopping.is_asked_by(number) {
                        asked = Some(number);
                        told = Instant::now();
                    }
                    if let Some(number) = stopping.translate(number) {
                        forward(child, number);
                    }
                }
            }
            if let Some(status) = bury(child)? {
                return Ok(Ended { status, asked });
            }
            if again && told.elapsed() >= AGAIN {
                told = Instant::now();
                tell_workers(child);
            }
        }
    }

    /// Whether warpdrive was asked to end since the last check.
    pub(super) fn asked(&mut self) -> Option<i32> {
        self.signals
            .pending()
            .find(|number| matches!(*number, SIGTERM | SIGINT | SIGQUIT | SIGHUP))
    }
}

fn forward(child: Pid, number: i32) {
    if FROM_TERMINAL.contains(&number) && in_foreground() {
        return;
    }
    // The program may have ended; then its SIGCHLD is on the way, and nothing is amiss.
    if let Some(signal) = Signal::from_named_raw(number) {
        let _ = kill_process(child, signal);
    } else {
        // The C library chooses the numbers of real-time signals: only unsafe code could send one
        // from here, and they are rare. `bury` reaps the shell.
        let _ = Command::new("/bin/sh")
            .args(["-c", "kill -\"$1\" \"$2\"", "sh"])
            .args([number.to_string(), child.as_raw_nonzero().to_string()])
            .stdin(Stdio::null())
            .spawn();
    }
}

/// Tells the children of a server to finish their work and end.
fn tell_workers(server: Pid) {
    let server = server.as_raw_nonzero();
    let list = std::fs::read_to_string(format!("/proc/{server}/task/{server}/children"));
    for word in list.unwrap_or_default().split_ascii_whitespace() {
        if let Some(worker) = word.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(worker, Signal::TERM);
        }
    }
}

/// Whether we stand in the foreground of a terminal, and so does the child in our process group.
fn in_foreground() -> bool {
    tcgetpgrp(rustix::stdio::stdin()).is_ok_and(|group| group == getpgrp())
}

/// Reaps every child that has ended, its own and orphans; returns the status of `child` if it is among them.
fn bury(child: Pid) -> io::Result<Option<u8>> {
    let mut found = None;
    loop {
        match waitpid(None, WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == child => {
                let status = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => code,
                    (None, Some(signal)) => 128 + signal,
                    (None, None) => continue,
                };
                found = Some(u8::try_from(status & 0xff).unwrap_or(u8::MAX));
            }
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(rustix::io::Errno::CHILD) => return Ok(found),
            Err(error) => return Err(error.into()),
        }
    }
}
