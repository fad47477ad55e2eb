//! The first moments of a detached container: a container that does not begin to serve is a failure.
//!
//! A web application: wait until it answers, as long as the caller says. Any other program: look for a
//! moment whether the command ends at once, and whether a port has no listener yet.

use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::ContainerError;
use super::control::stop;
use super::logs::read_logs;
use super::prepare::Serves;
use super::process::Process;
use super::record::{Record, State, Status};
use crate::sandbox::Network;

/// How long a container is watched.
const MOMENT: Duration = Duration::from_secs(1);
/// The same for one with published ports that nothing listens on yet: imports take their time.
const UNTIL_IT_LISTENS: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);
/// How often an application is asked, and how long it gets for each answer except the last.
const ASK_EVERY: Duration = Duration::from_millis(100);
const ANSWER: Duration = Duration::from_secs(5);
/// How long an application may answer with a server error before this counts.
const UNWELL: Duration = Duration::from_secs(2);
/// Number of log lines that are repeated if no cause is found in them.
const TAIL: usize = 20;
/// Number of log lines that are searched for the cause.
const SEARCHED: usize = 400;
/// If this number of workers have ended before any has answered, and the log has errors, the
/// server restarts them in a loop.
const LOOP: usize = 5;
/// Messages of servers and Python about a worker that ended by itself.
const LAMENTS: [&str; 6] = [
    "Traceback (most recent call last):",
    "Unexpected exit",
    "DAMN ! worker",
    "Child process",
    "was sent SIG",
    "Respawned uWSGI worker",
];

/// How long it may take until the application answers.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    pub serves: Serves,
    pub limit: Duration,
}

/// The state of a container right after its start.
#[derive(Debug)]
pub enum Early {
    /// It runs, or has ended successfully.
    Well,
    /// It answers with a server's error.
    Unwell(u16),
    /// It was removed with its log (`--rm`): it is not known how it ended.
    Removed,
}

/// Watches a container until its application answers. Without an application, until something
/// listens on a published port, or for a moment.
pub fn look(record: &Record, patience: Option<Patience>) -> Result<Early, ContainerError> {
    match patience {
        Some(patience) => until_it_answers(record, patience),
        None => for_a_moment(record),
    }
}

fn for_a_moment(record: &Record) -> Result<Early, ContainerError> {
    let ports: Vec<u16> = match record.config.network {
        // Another program may listen there.
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
        let (state, over) = has_ended(record, false)?;
        if let Some(over) = over {
            return Ok(over);
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

fn until_it_answers(record: &Record, patience: Patience) -> Result<Early, ContainerError> {
    let begun = Instant::now();
    let mut workers = Workers::default();
    let mut unwell: Option<(Instant, u16)> = None;
    while begun.elapsed() < patience.limit {
        let (state, over) = has_ended(record, patience.serves.certain)?;
        if let Some(over) = over {
            return Ok(over);
        }
        let left = patience.limit.saturating_sub(begun.elapsed());
        if !patience.serves.certain
            && begun.elapsed() >= UNTIL_IT_LISTENS
            && state
                .process
                .as_ref()
                .is_none_or(|process| listening(process).is_empty())
        {
            return Ok(Early::Well);
        }
        match answer(record, &state, patience.serves.port, left.min(ANSWER)) {
            Answer::None => {}
            Answer::Status(status) if status < 500 => return Ok(Early::Well),
            Answer::Status(status) => {
                let (since, _) = *unwell.get_or_insert((Instant::now(), status));
                if since.elapsed() >= UNWELL {
                    return Ok(Early::Unwell(status));
                }
            }
        }
        if let Some(process) = &state.process
            && workers.lost(process) >= LOOP
            && laments(record)
        {
            // An error of the kill does not matter here.
            let _ = stop(record, Duration::from_secs(5));
            return Err(ContainerError::WorkersDie {
                name: record.config.name.clone(),
                tail: tail(record),
                adding: record.config.adding.clone(),
            });
        }
        std::thread::sleep(ASK_EVERY);
    }
    let (state, _) = has_ended(record, patience.serves.certain)?;
    let listens = match (record.config.network, &state.process) {
        (Network::Host, _) | (_, None) => Vec::new(),
        (_, Some(process)) => listening(process),
    };
    Err(ContainerError::NoAnswer {
        name: record.config.name.clone(),
        port: patience.serves.port,
        waited: patience.limit,
        listens: listens
            .into_iter()
            .filter(|port| *port != patience.serves.port)
            .collect(),
        tail: tail(record),
        adding: record.config.adding.clone(),
    })
}

/// The state, and the result if the container has ended well or is gone. `serves`: it is a web
/// application, which had to answer.
fn has_ended(record: &Record, serves: bool) -> Result<(State, Option<Early>), ContainerError> {
    let (status, state) = record.status()?;
    let over = match status {
        Status::Exited(0) => Some(Early::Well),
        Status::Exited(status) => {
            return Err(ContainerError::EndedEarly {
                name: record.config.name.clone(),
                status,
                tail: tail(record),
                adding: record.config.adding.clone(),
                removed: record.config.remove,
                serves,
            });
        }
        Status::Dead if !record.directory().exists() => Some(Early::Removed),
        _ => None,
    };
    Ok((state, over))
}

/// The last lines of its log: enough to find the cause.
fn tail(record: &Record) -> Vec<String> {
    let mut tail = Vec::new();
    let _ = read_logs(record, Some(SEARCHED), false, &mut |line| {
        tail.push(line.log.trim_end().to_owned());
        true
    });
    tail
}

/// The last of these lines, to show if no cause is found in them.
pub fn last_lines(mut lines: Vec<String>) -> Vec<String> {
    lines.split_off(lines.len().saturating_sub(TAIL))
}

fn laments(record: &Record) -> bool {
    let mut found = 0;
    let _ = read_logs(record, Some(SEARCHED), false, &mut |line| {
        found += usize::from(LAMENTS.iter().any(|lament| line.log.contains(lament)));
        found < 3
    });
    found >= 3
}

/// The workers of a server: the grandchildren of process 1.
#[derive(Default)]
struct Workers {
    seen: HashSet<i32>,
}

impl Workers {
    /// How many of those that were seen are gone.
    fn lost(&mut self, process: &Process) -> usize {
        let there: HashSet<i32> = children(process.pid)
            .into_iter()
            .flat_map(children)
            .collect();
        self.seen.extend(&there);
        self.seen.difference(&there).count()
    }
}

/// `proc_pid_task(5)`.
fn children(pid: i32) -> Vec<i32> {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))
        .unwrap_or_default()
        .split_ascii_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect()
}

enum Answer {
    None,
    Status(u16),
}

/// The application's answer to `GET /`. If its port is not published, it is enough that it listens.
fn answer(record: &Record, state: &State, port: u16, limit: Duration) -> Answer {
    let address = if record.config.network == Network::Host {
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
    } else {
        let listening = state
            .process
            .as_ref()
            .is_some_and(|process| listens(process, port));
        if !listening {
            return Answer::None;
        }
        match state.ports.iter().find(|mapping| mapping.port == port) {
            Some(mapping) => reachable(mapping.listen()),
            None => return Answer::Status(200),
        }
    };
    get(address, limit).map_or(Answer::None, Answer::Status)
}

/// A wildcard address cannot be connected to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let address: IpAddr = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(address, listen.port())
}

/// The status of the answer to `GET /`.
fn get(address: SocketAddr, limit: Duration) -> Option<u16> {
    let mut stream = TcpStream::connect_timeout(&address, limit).ok()?;
    stream.set_read_timeout(Some(limit)).ok()?;
    stream.set_write_timeout(Some(limit)).ok()?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nUser-Agent: warpdrive\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).ok()?;
    status_of(&start)
}

/// `HTTP/1.1 200`
fn status_of(start: &[u8; 12]) -> Option<u16> {
    let text = std::str::from_utf8(start).ok()?;
    text.strip_prefix("HTTP/1.")?.get(2..)?.trim().parse().ok()
}

/// Whether something in the process's network listens on a port (`proc_pid_net(5)`).
fn listens(process: &Process, port: u16) -> bool {
    listening(process).contains(&port)
}

/// The ports of the process's network that something listens on.
fn listening(process: &Process) -> Vec<u16> {
    let mut ports: Vec<u16> = ["tcp", "tcp6"]
        .iter()
        .filter_map(|family| fs::read_to_string(format!("/proc/{}/net/{family}", process.pid)).ok())
        .flat_map(|table| listening_in(&table))
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

/// A line is `N: ADDRESS:PORT REMOTE:PORT STATE …` in hexadecimal; 0A is LISTEN.
fn listening_in(table: &str) -> Vec<u16> {
    let port = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (address, _, state) = (words.next()?, words.next()?, words.next()?);
        let (_, port) = address.rsplit_once(':')?;
        (state == "0A").then(|| u16::from_str_radix(port, 16).ok())?
    };
    table.lines().skip(1).filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_the_kernel() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000\n\
            \x20  1: 0100007F:0050 0100007F:9999 01 00000000:00000000\n";
        assert_eq!(listening_in(table), [8080], "a connection is not one");
        assert!(listening_in("").is_empty());
    }

    #[test]
    fn the_status_line() {
        assert_eq!(status_of(b"HTTP/1.1 200"), Some(200));
        assert_eq!(status_of(b"HTTP/1.0 503"), Some(503));
        for other in [
            b"SSH-2.0-Open",
            b"HTTP/1.1 2x0",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(status_of(other), None);
        }
    }

    #[test]
    fn every_address_is_asked_at_one_that_can_be_connected_to() {
        for (listen, asked) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.1:80", "10.0.0.1:80"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }

    #[test]
    fn workers_that_are_gone_are_counted() {
        let mut workers = Workers {
            seen: HashSet::from([1, 2, 3]),
        };
        let nobody = Process {
            pid: i32::MAX,
            start: 0,
            boot: String::new(),
        };
        assert_eq!(workers.lost(&nobody), 3);
    }
}
