//! Identifies a process so that a later process with the same number is not mistaken for it.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process: its number, its start (clock ticks since boot, `proc_pid_stat(5)` field 22) and the
/// boot in which both mean something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: i32,
    pub start: u64,
    pub boot: String,
}

impl Process {
    /// Describes a process that runs now; `None` if there is none with this number.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self {
            pid,
            start: start_of(pid)?,
            boot: boot_id(),
        })
    }

    pub fn this() -> Option<Self> {
        Self::of(i32::try_from(std::process::id()).ok()?)
    }

    /// Whether it still runs. A zombie does not.
    pub fn is_alive(&self) -> bool {
        start_of(self.pid) == Some(self.start) && boot_id() == self.boot
    }

    /// A handle for exactly this process; `None` if it is gone.
    fn handle(&self) -> io::Result<Option<OwnedFd>> {
        let Some(pid) = Pid::from_raw(self.pid) else {
            return Ok(None);
        };
        match pidfd_open(pid, PidfdFlags::empty()) {
            // The handle belongs to the process that had the number a moment ago: compare it afterwards.
            Ok(handle) if self.is_alive() => Ok(Some(handle)),
            Ok(_) | Err(rustix::io::Errno::SRCH) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a signal; `false` when the process is gone.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        let Some(handle) = self.handle()? else {
            return Ok(false);
        };
        match pidfd_send_signal(&handle, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until it is gone; `false` when it is not after `limit`.
    pub fn wait_gone(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    }
}

/// Field 22 of `/proc/PID/stat`; `None` for a missing process and for a zombie.
fn start_of(pid: i32) -> Option<u64> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse_stat(&String::from_utf8_lossy(&text))
}

fn parse_stat(text: &str) -> Option<u64> {
    // The second field is the program's name in parentheses and may hold anything.
    let (_, rest) = text.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_found_behind_any_name() {
        let rest = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20";
        assert_eq!(parse_stat(&format!("1 (a) b (c)) S {rest}")), Some(4242));
        assert_eq!(parse_stat(&format!("1 (a) Z {rest}")), None);
        for text in ["", "1 (a) S 1", "1 a S"] {
            assert_eq!(parse_stat(text), None, "{text}");
        }
    }

    #[test]
    fn another_process_with_the_number_is_not_it() {
        let this = Process::this().unwrap();
        assert!(this.is_alive());
        let earlier = Process {
            start: this.start - 1,
            ..this.clone()
        };
        assert!(!earlier.is_alive());
        assert!(!earlier.signal(Signal::KILL).unwrap());
        let other_boot = Process {
            boot: "x".into(),
            ..this
        };
        assert!(!other_boot.is_alive());
    }

    #[test]
    fn a_killed_process_is_gone() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let process = Process::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(!process.wait_gone(Duration::from_millis(20)));
        assert!(process.signal(Signal::KILL).unwrap());
        assert!(process.wait_gone(Duration::from_secs(10)));
        child.wait().unwrap();
        assert!(!process.signal(Signal::KILL).unwrap());
    }
}
