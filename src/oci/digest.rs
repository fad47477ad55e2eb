//! SHA-256 digests: parsing, computing, and hashing while bytes stream by.

use std::io::{self, Read, Write};
use std::str::FromStr;

use oci_spec::image::{Digest, Sha256Digest};
use sha2::{Digest as _, Sha256};

use super::OciError;

/// Parses `sha256:HEX` (64 lower-case hexadecimal digits); every other algorithm is refused.
pub fn parse_digest(value: &str) -> Result<Digest, OciError> {
    let bad = || OciError::Digest {
        value: value.chars().take(120).collect(),
    };
    let hex = value.strip_prefix("sha256:").ok_or_else(bad)?;
    let sha = Sha256Digest::from_str(hex).map_err(|_| bad())?;
    Ok(sha.into())
}

/// The digest of some bytes.
pub fn sha256(bytes: &[u8]) -> Digest {
    finish(Sha256::new_with_prefix(bytes))
}

/// The bare hexadecimal form, for cache keys and file names.
pub fn sha256_hex(bytes: &[u8]) -> String {
    sha256(bytes).digest().to_owned()
}

fn finish(hasher: Sha256) -> Digest {
    let mut hex = String::with_capacity(64);
    for byte in hasher.finalize() {
        use std::fmt::Write as _;
        let _ = write!(hex, "{byte:02x}");
    }
    match Sha256Digest::from_str(&hex) {
        Ok(digest) => digest.into(),
        Err(_) => unreachable!("64 hexadecimal digits are a SHA-256"),
    }
}

/// Hashes and counts what is written through it.
pub struct Sha256Writer<W> {
    inner: W,
    hasher: Sha256,
    written: u64,
}

impl<W: Write> Sha256Writer<W> {
    pub fn new(inner: W) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            written: 0,
        }
    }

    /// Continues after the bytes in `before`, which count as written.
    pub fn behind(inner: W, before: &mut dyn Read) -> io::Result<Self> {
        let mut reader = Sha256Reader::new(before);
        io::copy(&mut reader, &mut io::sink())?;
        Ok(Self {
            inner,
            hasher: reader.hasher,
            written: reader.read,
        })
    }

    /// The number of bytes so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The inner writer, the digest and the number of bytes.
    pub fn finish(self) -> (W, Digest, u64) {
        (self.inner, finish(self.hasher), self.written)
    }
}

impl<W: Write> Write for Sha256Writer<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Hashes and counts what is read through it.
pub struct Sha256Reader<R> {
    inner: R,
    hasher: Sha256,
    read: u64,
}

impl<R: Read> Sha256Reader<R> {
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256::new(),
            read: 0,
        }
    }

    /// The inner reader, the digest and the number of bytes.
    pub fn finish(self) -> (R, Digest, u64) {
        (self.inner, finish(self.hasher), self.read)
    }
}

impl<R: Read> Read for Sha256Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        self.read += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sha256_with_64_digits_is_a_digest() {
        let good = format!("sha256:{}", "a".repeat(64));
        assert_eq!(parse_digest(&good).unwrap().to_string(), good);
        for bad in [
            "",
            "sha256:",
            "sha256:../../etc/passwd",
            "sha512:00",
            &format!("sha256:{}", "A".repeat(64)),
            &format!("sha256:{}", "a".repeat(63)),
        ] {
            assert!(parse_digest(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hashing_while_streaming_equals_hashing_at_once() {
        let mut writer = Sha256Writer::new(Vec::new());
        writer.write_all(b"hello ").unwrap();
        writer.write_all(b"world").unwrap();
        let (bytes, digest, size) = writer.finish();
        assert_eq!(size, 11);
        assert_eq!(digest, sha256(&bytes));
        let mut reader = Sha256Reader::new(&b"hello world"[..]);
        io::copy(&mut reader, &mut io::sink()).unwrap();
        assert_eq!(reader.finish().1, digest);
    }
}
