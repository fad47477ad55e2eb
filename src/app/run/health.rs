//! `alive` and `ready` without a hook: one HTTP request to the app's own port. An address, never a
//! name: a static executable must not ask the C library's resolver.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::super::advice::{Advice, Explain};

const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    #[error("nothing answers on port {port}")]
    Connect {
        port: u16,
        #[source]
        source: io::Error,
    },
    #[error("the application on port {port} did not answer within {} seconds", TIMEOUT.as_secs())]
    Slow { port: u16 },
    #[error("the application on port {port} answers {line}")]
    Status { port: u16, line: String },
}

impl Explain for HealthError {
    fn advice(&self) -> Advice {
        let advice = Advice::new(self.to_string());
        match self {
            HealthError::Connect { source, .. } => advice.cause(source.to_string()),
            HealthError::Slow { .. } => advice,
            HealthError::Status { .. } => {
                advice.remedy("an app whose / cannot answer says what healthy means in the hook .warpdrive/action_hooks/alive")
            }
        }
    }
}

/// Asks for `/`. Any answer below 500 is a living application.
///
/// # Errors
/// If there is none.
pub fn probe(port: u16) -> Result<(), HealthError> {
    let connect = |source| HealthError::Connect { port, source };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).map_err(connect)?;
    stream.set_write_timeout(Some(TIMEOUT)).map_err(connect)?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: warpdrive\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(connect)?;
    let end = Instant::now() + TIMEOUT;
    let mut answer = Vec::new();
    let mut block = [0; 512];
    while !answer.contains(&b'\n') && answer.len() < 4096 {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(HealthError::Slow { port });
        }
        stream.set_read_timeout(Some(left)).map_err(connect)?;
        match stream.read(&mut block) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&block[..read]),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) =>
            {
                return Err(HealthError::Slow { port });
            }
            Err(error) => return Err(connect(error)),
        }
    }
    let line = String::from_utf8_lossy(
        answer
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default(),
    )
    .trim()
    .to_owned();
    let code = line
        .strip_prefix("HTTP/")
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.parse::<u16>().ok());
    match code {
        Some(code) if code < 500 => Ok(()),
        _ => Err(HealthError::Status { port, line }),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn serve(answer: &'static str) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut block = [0; 1024];
            let _ = stream.read(&mut block);
            let _ = stream.write_all(answer.as_bytes());
        });
        port
    }

    #[test]
    fn answers() {
        assert!(probe(serve("HTTP/1.1 200 OK\r\n\r\n")).is_ok());
        assert!(probe(serve("HTTP/1.1 404 Not Found\r\n\r\n")).is_ok());
        let error = probe(serve("HTTP/1.1 500 Oh\r\n\r\n")).unwrap_err();
        assert!(
            error.to_string().ends_with("answers HTTP/1.1 500 Oh"),
            "{error}"
        );
        assert!(matches!(probe(serve("")), Err(HealthError::Status { .. })));
        let port = {
            TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port()
        };
        assert!(matches!(probe(port), Err(HealthError::Connect { .. })));
    }
}
