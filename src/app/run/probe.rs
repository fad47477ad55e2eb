//! `alive` and `ready` without a hook: does the application answer `GET /`?

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::error::RunError;

/// All of it, from connecting to the status line, where `WARPDRIVE_PROBE_TIMEOUT` says nothing.
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
