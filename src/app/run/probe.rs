//! `alive` and `ready` without a hook: does the application answer `GET /`?

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::error::RunError;

/// The default for the complete probe, from connecting to the status line, without `WARPDRIVE_PROBE_TIMEOUT`.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest status line.
const MAX_LINE: usize = 4096;

/// Any status below 500 is an answer: a redirect, a login page, `400 Bad Request` for the name of
/// the host.
pub(super) fn get(port: u16, timeout: Duration) -> Result<(), RunError> {
    let status = status_of(port, timeout).map_err(|reason| RunError::NoAnswer { port, reason })?;
    if status < 500 {
        Ok(())
    } else {
        Err(RunError::Unwell { status })
    }
}

/// Where something listens on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listening {
    Nowhere,
    /// On 127.0.0.1 only: nothing outside the container reaches it.
    OnLoopback,
    Anywhere,
}

pub(super) fn listening(port: u16) -> Listening {
    let read = |name: &str| std::fs::read_to_string(name).unwrap_or_default();
    listening_in(&read("/proc/net/tcp"), &read("/proc/net/tcp6"), port)
}

/// The tables of `/proc/net`: `sl local_address rem_address st`, where state 0A listens.
fn listening_in(tcp: &str, tcp6: &str, port: u16) -> Listening {
    let wanted = format!("{port:04X}");
    let mut found = Listening::Nowhere;
    for line in tcp.lines().chain(tcp6.lines()) {
        let mut fields = line.split_whitespace().skip(1);
        let Some((address, of)) = fields.next().and_then(|field| field.split_once(':')) else {
            continue;
        };
        if of != wanted || fields.nth(1) != Some("0A") {
            continue;
        }
        let is_loopback = address.len() == 8 && address.ends_with("7F")
            || address == "00000000000000000000000001000000";
        if !is_loopback {
            return Listening::Anywhere;
        }
        found = Listening::OnLoopback;
    }
    found
}

fn status_of(port: u16, timeout: Duration) -> Result<u16, String> {
    let words = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            format!("no answer within {} s", timeout.as_secs_f32())
        }
        _ => error.to_string(),
    };
    let end = Instant::now() + timeout;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, timeout).map_err(words)?;
    stream.set_write_timeout(Some(timeout)).map_err(words)?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: warpdrive-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(words)?;
    let mut answer = Vec::new();
    let mut received = [0; 512];
    while !answer.contains(&b'\n') && answer.len() < MAX_LINE {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(words(std::io::ErrorKind::TimedOut.into()));
        }
        stream.set_read_timeout(Some(left)).map_err(words)?;
        match stream.read(&mut received) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(&received[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(words(error)),
        }
    }
    parse(&answer).ok_or_else(|| "what answers does not speak HTTP".to_owned())
}

/// The status in `HTTP/1.1 200 OK`.
fn parse(answer: &[u8]) -> Option<u16> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let rest = std::str::from_utf8(line).ok()?.strip_prefix("HTTP/1.")?;
    let code = rest.split_ascii_whitespace().nth(1)?;
    (code.len() == 3).then(|| code.parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn status_lines() {
        for (answer, expected) in [
            (&b"HTTP/1.1 200 OK\r\nx"[..], Some(200)),
            (b"HTTP/1.0 503\r\n", Some(503)),
            (b"SSH-2.0-x\r\n", None),
            (b"HTTP/1.1 abc\r\n", None),
            (b"", None),
        ] {
            assert_eq!(parse(answer), expected);
        }
    }

    #[test]
    fn who_listens_where() {
        let head = "  sl  local_address rem_address   st tx_queue\n";
        let line = |address: &str, state: &str| {
            format!("   0: {address}:1F90 00000000:0000 {state} 00000000:00000000\n")
        };
        let own = line("0100007F", "0A");
        for (tcp, tcp6, expected) in [
            (format!("{head}{own}"), String::new(), Listening::OnLoopback),
            (
                format!("{head}{}", line("00000000", "0A")),
                String::new(),
                Listening::Anywhere,
            ),
            (
                format!("{head}{own}{}", line("00000000", "0A")),
                String::new(),
                Listening::Anywhere,
            ),
            (
                format!("{head}{own}"),
                line("00000000000000000000000000000000", "0A"),
                Listening::Anywhere,
            ),
            (
                format!("{head}{own}"),
                line("00000000000000000000000001000000", "0A"),
                Listening::OnLoopback,
            ),
            // A connection does not listen.
            (
                format!("{head}{}", line("0100007F", "01")),
                String::new(),
                Listening::Nowhere,
            ),
            (head.to_owned(), String::new(), Listening::Nowhere),
        ] {
            assert_eq!(listening_in(&tcp, &tcp6, 8080), expected, "{tcp}{tcp6}");
        }
    }

    fn serve(answer: &'static [u8]) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            for part in answer.chunks(5) {
                let _ = stream.write_all(part);
            }
        });
        port
    }

    #[test]
    fn below_500_is_alive() {
        for (answer, expected) in [
            (&b"HTTP/1.1 302 Found\r\n\r\n"[..], true),
            (b"HTTP/1.1 404 Not Found\r\n\r\n", true),
            (b"HTTP/1.1 500 Oh\r\n\r\n", false),
            (b"nonsense\r\n", false),
        ] {
            assert_eq!(get(serve(answer), TIMEOUT).is_ok(), expected);
        }
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        assert!(matches!(get(free, TIMEOUT), Err(RunError::NoAnswer { .. })));
    }
}
