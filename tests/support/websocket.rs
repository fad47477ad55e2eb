//! A WebSocket's client: enough to be a browser that has a page open, and to see what it is sent.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

pub struct WebSocket {
    stream: TcpStream,
}

impl WebSocket {
    /// # Panics
    /// When there is no such connection to be had.
    pub fn open(port: u16, path: &str) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head);
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Self { stream }
    }

    /// One short message of bytes.
    pub fn send(&mut self, message: &[u8]) {
        let length = u8::try_from(message.len()).unwrap();
        assert!(length < 126, "a short message");
        // With a mask of zeros the bytes are what they are.
        let mut frame = vec![0x82, 0x80 | length, 0, 0, 0, 0];
        frame.extend_from_slice(message);
        self.stream.write_all(&frame).unwrap();
    }

    /// Waits for a message with this text in it; gives how long it took.
    pub fn says(&mut self, text: &str, within: Duration) -> Duration {
        let begun = Instant::now();
        loop {
            let frame = self.frame(begun, within);
            let frame = frame.unwrap_or_else(|error| panic!("nobody says {text}: {error}"));
            let mut windows = frame.windows(text.len());
            if windows.any(|window| window == text.as_bytes()) {
                return begun.elapsed();
            }
        }
    }

    /// Waits for the end of the connection.
    pub fn ends(&mut self, within: Duration) {
        let begun = Instant::now();
        loop {
            match self.frame(begun, within) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("the connection does not end")
                }
                Err(_) => return,
            }
        }
    }

    fn frame(&mut self, begun: Instant, within: Duration) -> io::Result<Vec<u8>> {
        let left = within.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        // 8: the other side closes.
        if head[0] & 0x0f == 8 {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        let length = match head[1] {
            126 => {
                let mut bytes = [0; 2];
                self.stream.read_exact(&mut bytes)?;
                u64::from(u16::from_be_bytes(bytes))
            }
            127 => {
                let mut bytes = [0; 8];
                self.stream.read_exact(&mut bytes)?;
                u64::from_be_bytes(bytes)
            }
            short => u64::from(short),
        };
        let mut content = Vec::new();
        (&self.stream).take(length).read_to_end(&mut content)?;
        Ok(content)
    }
}
