//! Takes the compression off a layer: none, gzip (also several members), zstd (also several frames).

use std::io::{self, BufReader, Chain, Cursor, Read};

/// Largest zstd window that is accepted, as a power of two: 128 MiB, zstd's own default limit.
const MAX_WINDOW_LOG: u32 = 27;

const BUFFER: usize = 128 * 1024;

/// RFC 1952, section 2.3.1.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// RFC 8878, section 3.1.1.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Gives the uncompressed bytes. The compression is told from the first bytes and not from a media
/// type: container engines do the same, and there are images whose media type is wrong. The reader
/// below is read to its end. Bytes behind a gzip member or zstd frame that are no further one are
/// an error, and so is a stream that ends early.
pub fn decompressor<'a>(reader: impl Read + Send + 'a) -> Box<dyn Read + Send + 'a> {
    Box::new(Decompressor::Start(Some(reader)))
}

/// The first bytes, and what comes after them.
type Input<R> = BufReader<Chain<Cursor<Vec<u8>>, R>>;

/// Looks at the first bytes only when somebody reads.
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
    let mut first = Vec::with_capacity(4);
    reader.by_ref().take(4).read_to_end(&mut first)?;
    let (gzip, zstd) = (first.starts_with(&GZIP), first == ZSTD);
    let input = BufReader::with_capacity(BUFFER, Cursor::new(first).chain(reader));
    Ok(if gzip {
        Decompressor::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(input)))
    } else if zstd {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
        decoder.window_log_max(MAX_WINDOW_LOG)?;
        Decompressor::Zstd(decoder)
    } else {
        Decompressor::Plain(input)
    })
}
