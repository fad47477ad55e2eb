//! What a proxy says to a `CONNECT` that it does not do: the HTTP library passes on no more than that it did
//! not.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use base64::Engine;
use reqwest::Url;

use super::error::tame;
use super::proxy::Proxy;

const PATIENCE: Duration = Duration::from_secs(5);
/// More of a head is not read.
const MAX_HEAD: u64 = 4096;

/// The status line with which a proxy refuses to connect to the host of `url`; `None` when it does not
/// refuse, or cannot be asked so within what is left of the user's time.
pub(super) fn refusal(proxy: &Proxy, url: &Url, left: Option<Duration>) -> Option<String> {
    let patience = left.map_or(PATIENCE, |left| left.min(PATIENCE));
    let end = Instant::now() + patience;
    let text = match proxy.url.split_once("://") {
        Some(_) => proxy.url.clone(),
        None => format!("http://{}", proxy.url),
    };
    let address = Url::parse(&text).ok()?;
    if address.scheme() != "http" {
        return None;
    }
    let host = address.host_str()?.trim_matches(['[', ']']);
    let place = (host, address.port_or_known_default()?);
    let place = place.to_socket_addrs().ok()?.next()?;
    let mut stream = TcpStream::connect_timeout(&place, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    stream.set_write_timeout(Some(patience)).ok()?;
    let target = format!("{}:{}", url.host_str()?, url.port_or_known_default()?);
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if !address.username().is_empty() {
        let pair = format!(
            "{}:{}",
            address.username(),
            address.password().unwrap_or_default()
        );
        // What is written with percents would be another login.
        if pair.contains('%') {
            return None;
        }
        let pair = base64::engine::general_purpose::STANDARD.encode(pair);
        let _ = write!(request, "Proxy-Authorization: Basic {pair}\r\n");
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut head = Vec::new();
    let mut piece = [0; 512];
    while !head.contains(&b'\n') && (head.len() as u64) < MAX_HEAD && Instant::now() < end {
        match stream.read(&mut piece).ok()? {
            0 => break,
            count => head.extend_from_slice(&piece[..count]),
        }
    }
    let head = String::from_utf8_lossy(&head);
    status(head.lines().next()?)
}

/// `HTTP/1.1 403 Forbidden` → `403 Forbidden`; `None` for success.
fn status(line: &str) -> Option<String> {
    let (version, rest) = line.trim().split_once(' ')?;
    let code = rest.split(' ').next()?;
    let is_code = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    (version.starts_with("HTTP/") && is_code && !code.starts_with('2')).then(|| tame(rest, 100))
}

#[cfg(test)]
mod tests {
    use super::status;

    #[test]
    fn a_refusal_is_read_from_its_first_line() {
        for (line, expected) in [
            ("HTTP/1.1 403 Forbidden", Some("403 Forbidden")),
            (
                "HTTP/1.0 407 Proxy Authentication Required\r",
                Some("407 Proxy Authentication Required"),
            ),
            ("HTTP/1.1 502", Some("502")),
            ("HTTP/1.1 200 Connection established", None),
            ("SSH-2.0-x 403 y", None),
            ("HTTP/1.1 teapot", None),
            ("", None),
        ] {
            assert_eq!(status(line).as_deref(), expected, "{line}");
        }
    }
}
