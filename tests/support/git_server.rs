//! A repository over HTTP: git's own `http-backend` behind a socket of the test's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// The repository's path at the server.
const NAME: &str = "/app.git";

/// Serves a repository for as long as the test's process lives.
pub struct GitServer {
    port: u16,
}

impl GitServer {
    #[track_caller]
    pub fn new(repository: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on the loopback");
        let port = listener.local_addr().expect("the port's address").port();
        let repository = repository.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let repository = repository.clone();
                std::thread::spawn(move || answer(stream, &repository));
            }
        });
        Self { port }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{NAME}", self.port)
    }
}

/// One request of HTTP/1.1, carried out as CGI (RFC 3875).
fn answer(mut stream: TcpStream, repository: &Path) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let path = path.strip_prefix(NAME)?;
    let mut backend = Command::new("git");
    backend
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", repository)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        // Whoever the test runs as may serve what it made.
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("REQUEST_METHOD", &method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("REMOTE_ADDR", "127.0.0.1");
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                length = value.parse().ok()?;
                backend.env("CONTENT_LENGTH", value)
            }
            "content-type" => backend.env("CONTENT_TYPE", value),
            "content-encoding" => backend.env("HTTP_CONTENT_ENCODING", value),
            "git-protocol" => backend.env("GIT_PROTOCOL", value),
            _ => &mut backend,
        };
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut child = backend
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut stdin = child.stdin.take()?;
    let writer = std::thread::spawn(move || stdin.write_all(&body));
    let output = child.wait_with_output().ok()?;
    let _ = writer.join();
    let text = String::from_utf8_lossy(&output.stdout);
    let status = text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("Status: "))
        .unwrap_or("200 OK")
        .to_owned();
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n").ok()?;
    stream.write_all(&output.stdout).ok()
}
