//! HTTP/1.1 requests over a plain socket: enough to ask a test's server for a page.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::process;

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// In the server's order and spelling.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A port of the loopback that nobody listens on at the moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port on the loopback");
    listener.local_addr().expect("the port's address").port()
}

/// `GET path` from 127.0.0.1; redirects are answers like any other.
///
/// # Errors
/// When there is no connection or the answer is not HTTP.
pub fn get(port: u16, path: &str) -> io::Result<Response> {
    request("GET", port, path, &[])
}

/// As [`get`], following up to five redirects within the same server.
///
/// # Errors
/// As [`get`], and for a redirect that leads elsewhere or in circles.
pub fn get_following(port: u16, path: &str) -> io::Result<Response> {
    let mut path = path.to_owned();
    for _ in 0..=5 {
        let response = get(port, &path)?;
        let Some(location) = response
            .header("location")
            .filter(|_| (301..=308).contains(&response.status))
        else {
            return Ok(response);
        };
        let own = [
            format!("http://127.0.0.1:{port}"),
            format!("http://localhost:{port}"),
        ];
        let local = own
            .iter()
            .find_map(|prefix| location.strip_prefix(prefix.as_str()))
            .unwrap_or(location);
        if !local.starts_with('/') {
            return Err(io::Error::other(format!("a redirect to {location}")));
        }
        local.clone_into(&mut path);
    }
    Err(io::Error::other(format!(
        "redirects without an end, the last to {path}"
    )))
}

/// A request without a body.
///
/// # Errors
/// As [`get`].
pub fn request(
    method: &str,
    port: u16,
    path: &str,
    headers: &[(&str, &str)],
) -> io::Result<Response> {
    let mut text =
        format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.extend([name, ": ", value, "\r\n"]);
    }
    text.push_str("\r\n");
    exchange(port, text.as_bytes(), method == "HEAD")
}

/// A request as it goes over the wire, which asks for the connection to be closed.
///
/// # Errors
/// As [`get`].
pub fn exchange(port: u16, request: &[u8], no_body: bool) -> io::Result<Response> {
    let mut stream = send(port, request)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    answer(&bytes, no_body)
}

/// As [`get`]. When the text `begin` of the body is there, `meanwhile` is called, and then the rest is read.
///
/// # Errors
/// As [`get`].
pub fn get_and_meanwhile(
    port: u16,
    path: &str,
    begin: &str,
    meanwhile: impl FnOnce(),
) -> io::Result<Response> {
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    let mut stream = send(port, request.as_bytes())?;
    let mut bytes = process::read_until(&mut stream, begin).into_bytes();
    meanwhile();
    stream.read_to_end(&mut bytes)?;
    answer(&bytes, false)
}

fn send(port: u16, request: &[u8]) -> io::Result<TcpStream> {
    let mut stream =
        TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_write_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(request)?;
    Ok(stream)
}

fn answer(bytes: &[u8], no_body: bool) -> io::Result<Response> {
    parse(bytes, no_body).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("not HTTP: {:?}", String::from_utf8_lossy(bytes)),
        )
    })
}

/// Waits until `/` is answered, with whatever status.
///
/// # Panics
/// When it is not within `timeout`.
#[track_caller]
pub fn wait_until_serving(port: u16, timeout: Duration) -> Response {
    process::poll(timeout, || get(port, "/").ok())
        .unwrap_or_else(|| panic!("nothing answers on 127.0.0.1:{port} after {timeout:?}"))
}

fn parse(bytes: &[u8], no_body: bool) -> Option<Response> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()?
        .strip_prefix("HTTP/1.")?
        .split(' ')
        .nth(1)?
        .parse()
        .ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let mut response = Response {
        status,
        headers,
        body: Vec::new(),
    };
    if no_body {
        return Some(response);
    }
    let rest = &bytes[end + 4..];
    response.body = if response
        .header("transfer-encoding")
        .is_some_and(|value| value.contains("chunked"))
    {
        unchunk(rest)?
    } else if let Some(length) = response.header("content-length") {
        rest.get(..length.parse().ok()?)?.to_vec() // a body that was cut is an error
    } else {
        rest.to_vec()
    };
    Some(response)
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&rest[..end])
            .ok()?
            .split(';')
            .next()?
            .trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        rest = &rest[end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
