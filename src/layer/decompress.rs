//! Takes the compression off a layer: none, gzip (also several members), zstd (also several frames).

use std::io::{self, BufReader, Chain, Cursor, Read};

use super::reader::{BLOCK, is_header};

/// Largest zstd window that is accepted, as a power of two: 128 MiB, zstd's own default limit.
const MAX_WINDOW_LOG: u32 = 27;

const BUFFER: usize = 128 * 1024;

/// RFC 1952, section 2.3.1.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// RFC 8878, section 3.1.1.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    None,
    Gzip,
    Zstd,
}

impl Packing {
    /// How many of a stream's first bytes tell it.
    pub const LENGTH: usize = BLOCK;

    /// Tells it from the first bytes, all of them where there are fewer. A tar header with its
    /// checksum is one, whatever the name in it begins with.
    pub fn of(first: &[u8]) -> Self {
        if first.first_chunk().is_some_and(is_header) {
            Self::None
        } else if first.starts_with(&GZIP) {
            Self::Gzip
        } else if first.starts_with(&ZSTD) {
            Self::Zstd
        } else {
            Self::None
        }
    }
}

/// Gives the uncompressed bytes. The first bytes tell the compression, not the media type: container
/// engines do the same, and there are images whose media type is wrong. The diff id shows whether it is the
/// right layer. The reader below is read to its end. Bytes behind a gzip member or zstd frame that are not
/// another one are an error, and so is a stream that ends early.
pub fn decompressor<'a>(reader: impl Read + Send + 'a) -> Box<dyn Read + Send + 'a> {
    Box::new(Decompressor::Start(Some(reader)))
}

/// The first bytes, and what comes after them.
type Input<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

/// Looks at the first bytes only at the first read.
enum Decompressor<'a, R: Read> {
    /// Empty after an error.
    Start(Option<R>),
    Plain(Input<R>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<Input<R>>>),
    Zstd(zstd::stream::read::Decoder<'a, Input<R>>),
}

impl<R: Read> Read for Decompressor<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Self::Start(reader) = self {
            let reader = reader
                .take()
                .ok_or_else(|| io::Error::other("reading failed before"))?;
            *self = open(reader)?;
        }
        match self {
            Self::Start(_) => Ok(0),
            Self::Plain(reader) => reader.read(buffer),
            Self::Gzip(reader) => reader.read(buffer),
            Self::Zstd(reader) => reader.read(buffer),
        }
    }
}

fn open<'a, R: Read>(mut reader: R) -> io::Result<Decompressor<'a, R>> {
    let mut first = Vec::with_capacity(Packing::LENGTH);
    reader
        .by_ref()
        .take(Packing::LENGTH as u64)
        .read_to_end(&mut first)?;
    let packing = Packing::of(&first);
    let input = BufReader::with_capacity(BUFFER, Cursor::new(first).chain(reader));
    Ok(match packing {
        Packing::None => Decompressor::Plain(input),
        Packing::Gzip => Decompressor::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(input))),
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(MAX_WINDOW_LOG)?;
            Decompressor::Zstd(decoder)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Compression, Entry, Kind, Mtime, write};
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    fn decompressed(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decompressor(bytes).read_to_end(&mut out).map(|_| out)
    }

    /// The name of an archive's first member is its first bytes.
    #[test]
    fn names_that_begin_as_compressed_streams_do() {
        for name in [
            &b"\x1f\x8b\x08 name"[..],
            &ZSTD,
            b"\x28\xb5\x2f\xfdname",
            &GZIP,
        ] {
            let entry = Entry {
                kind: Kind::Bytes(b"content".to_vec()),
                ..Entry::directory(OsStr::from_bytes(name), 0o644, Mtime::Fixed(0))
            };
            let made = |compression| {
                let mut out = Vec::new();
                write(std::slice::from_ref(&entry), compression, &mut out).unwrap();
                out
            };
            let plain = made(Compression::None);
            assert!(plain.starts_with(name));
            for compression in [
                Compression::None,
                Compression::Gzip(6),
                Compression::Zstd(3),
            ] {
                let read = decompressed(&made(compression)).unwrap();
                assert!(read == plain, "{} {compression:?}", name.escape_ascii());
            }
            // Without its checksum it is not a header, and what it looks like.
            let mut odd = plain;
            odd[148] ^= 1;
            assert!(decompressed(&odd).is_err());
        }
    }

    #[test]
    fn what_is_shorter_than_a_header() {
        assert_eq!(decompressed(b"").unwrap(), b"");
        assert_eq!(decompressed(b"text").unwrap(), b"text");
        assert!(decompressed(&GZIP).is_err() && decompressed(&ZSTD).is_err());
        let packed = zstd::encode_all(&b"text"[..], 3).unwrap();
        assert_eq!(decompressed(&packed).unwrap(), b"text");
    }
}
