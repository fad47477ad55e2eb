//! A server that does what a test says, for faults that no real registry shows on demand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What came in.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// With the query.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// How often this method and target have been asked before.
    pub before: usize,
    /// Whether the body is here; before, the answer may say that it hangs up.
    pub complete: bool,
    /// How many bytes of bodies this connection has brought before.
    pub taken: usize,
    /// We hung up in the middle of the body; no answer goes out.
    pub cut: bool,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// `GET /v2/`
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// What goes out.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// `Content-Length`, when it is not that of the body; the connection is closed after the body then.
    pub length: Option<u64>,
    /// Take only so many bytes of the request's body, then close without an answer.
    pub hang_up_after: Option<usize>,
    /// The body goes out a byte at a time, with this pause between them.
    pub drip: Option<Duration>,
    /// The connection is closed after the answer, which does not say so.
    pub close: bool,
    /// What goes out instead of an answer of HTTP; the connection is closed after it.
    pub raw: Option<Vec<u8>>,
    /// Nothing goes out; the connection stays open for so long.
    pub stall: Option<Duration>,
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn length(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }

    /// The connection ends without a word.
    pub fn close(mut self) -> Self {
        self.close = true;
        self
    }

    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            raw: Some(bytes.into()),
            ..Self::default()
        }
    }

    pub fn stall(time: Duration) -> Self {
        Self {
            stall: Some(time),
            ..Self::default()
        }
    }

    pub fn drip(mut self, pause: Duration) -> Self {
        self.drip = Some(pause);
        self
    }

    /// The connection ends after so many bytes of the request's body.
    pub fn hang_up_after(bytes: usize) -> Self {
        Self {
            hang_up_after: Some(bytes),
            ..Self::default()
        }
    }
}

type Answer = dyn Fn(&Asked) -> Reply + Send + Sync;

/// A server on the loopback, until the test's process ends.
pub struct FakeRegistry {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl FakeRegistry {
    pub fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_on("127.0.0.1:0", answer)
    }

    pub fn start_on(
        address: &str,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a port on the loopback");
        let address = listener.local_addr().expect("its address").to_string();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let answer: Arc<Answer> = Arc::new(answer);
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                thread::spawn(move || {
                    let _ = serve(&stream, &*answer, &log);
                    let _ = stream.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, asked }
    }

    /// `127.0.0.1:PORT`
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("the log").clone()
    }

    /// The requests as `METHOD /path` in order.
    pub fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }
}

fn serve(stream: &TcpStream, answer: &Answer, log: &Mutex<Vec<Asked>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut taken = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Ok(()); // not HTTP: a TLS greeting, say
        };
        let (method, target) = (method.to_owned(), target.to_owned());
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut asked = Asked {
            method,
            target,
            headers,
            body: Vec::new(),
            before: 0,
            complete: false,
            taken,
            cut: false,
        };
        {
            let log = log.lock().expect("the log");
            asked.before = log.iter().filter(|a| a.line() == asked.line()).count();
        }
        let length: u64 = asked
            .header("content-length")
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        // The body is not known to the answer when it hangs up in the middle of it.
        asked.complete = length == 0;
        let mut reply = answer(&asked);
        if let Some(limit) = reply.hang_up_after {
            (&mut reader)
                .take(limit as u64)
                .read_to_end(&mut asked.body)?;
            asked.cut = true;
            answer(&asked);
            log.lock().expect("the log").push(asked);
            return Ok(());
        }
        if length > 0 {
            (&mut reader).take(length).read_to_end(&mut asked.body)?;
            asked.complete = true;
            taken += asked.body.len();
            reply = answer(&asked);
        }
        if let Some(time) = reply.stall {
            log.lock().expect("the log").push(asked);
            thread::sleep(time);
            return Ok(());
        }
        if let Some(raw) = &reply.raw {
            log.lock().expect("the log").push(asked);
            let mut writer = stream;
            writer.write_all(raw)?;
            return writer.flush();
        }
        let head = asked.method == "HEAD";
        log.lock().expect("the log").push(asked);
        let mut writer = stream;
        write!(writer, "HTTP/1.1 {} X\r\n", reply.status)?;
        for (name, value) in &reply.headers {
            write!(writer, "{name}: {value}\r\n")?;
        }
        let told = reply.length.unwrap_or(reply.body.len() as u64);
        write!(writer, "Content-Length: {told}\r\n\r\n")?;
        if let (Some(pause), false) = (reply.drip, head) {
            for byte in &reply.body {
                writer.write_all(&[*byte])?;
                thread::sleep(pause);
            }
        } else if !head {
            writer.write_all(&reply.body)?;
        }
        writer.flush()?;
        if (reply.length.is_some() && !head) || reply.close {
            return Ok(());
        }
    }
}
