//! The first moments of a detached container: one whose command dies at once is no success.

use std::fs;
use std::time::{Duration, Instant};

use super::ContainerError;
use super::logs::read_logs;
use super::process::Process;
use super::record::{Record, Status};
use crate::sandbox::Network;

/// How long a container is looked at.
const MOMENT: Duration = Duration::from_secs(1);
/// The same for one with published ports that nothing listens on yet: imports take their time.
const UNTIL_IT_LISTENS: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);
/// Lines of its log that are repeated.
const TAIL: usize = 20;

/// What became of a container that was started just now.
#[derive(Debug)]
pub enum Early {
    /// It runs, or has done its work.
    Well,
    /// It was removed with its log (`--rm`): nobody knows how it ended.
    Removed,
}

/// Looks at a container until something listens on a published port, or for a moment.
pub fn look(record: &Record) -> Result<Early, ContainerError> {
    let ports: Vec<u16> = match record.config.network {
        // What listens there may be anybody's.
        Network::Host => Vec::new(),
        _ => record.config.ports.iter().map(|port| port.port).collect(),
    };
    let limit = if ports.is_empty() {
        MOMENT
    } else {
        UNTIL_IT_LISTENS
    };
    let begun = Instant::now();
    while begun.elapsed() < limit {
        let (status, state) = record.status()?;
        match status {
            Status::Exited(0) => return Ok(Early::Well),
            Status::Exited(status) => return Err(ended(record, status)),
            Status::Dead if !record.directory().exists() => return Ok(Early::Removed),
            _ => {}
        }
        if state
            .process
            .is_some_and(|process| ports.iter().any(|port| listens(&process, *port)))
        {
            return Ok(Early::Well);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(Early::Well)
}

fn ended(record: &Record, status: i32) -> ContainerError {
    let mut tail = Vec::new();
    let _ = read_logs(record, Some(TAIL), false, &mut |line| {
        tail.push(line.log.trim_end().to_owned());
        true
    });
    ContainerError::EndedEarly {
        name: record.config.name.clone(),
        status,
        tail,
        removed: record.config.remove,
    }
}

/// Whether something in the process's network listens on a port (`proc_pid_net(5)`).
fn listens(process: &Process, port: u16) -> bool {
    ["tcp", "tcp6"].iter().any(|family| {
        fs::read_to_string(format!("/proc/{}/net/{family}", process.pid))
            .is_ok_and(|table| is_listening(&table, port))
    })
}

/// A line is `N: ADDRESS:PORT REMOTE:PORT STATE …` in hexadecimal; 0A is LISTEN.
fn is_listening(table: &str, port: u16) -> bool {
    let local = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (address, _, state) = (words.next(), words.next(), words.next());
        address.is_some_and(|address| address.ends_with(&local)) && state == Some("0A")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_the_kernel() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
            \x20  1: 0100007F:0050 0100007F:9999 01 00000000:00000000\n";
        assert!(is_listening(table, 8080));
        assert!(!is_listening(table, 80), "a connection");
        assert!(!is_listening(table, 8081));
        assert!(!is_listening("", 8080));
    }
}
