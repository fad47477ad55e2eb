//! Compressed streams: where one begins, and what it holds. Nothing here knows of files or secrets.

use std::io::{self, BufRead as _, Read};
use std::sync::LazyLock;

use flate2::{Decompress, FlushDecompress, Status};

/// What a stream may use of memory, in KiB: `xz -9` needs 65 MiB.
const MOST_MEMORY: u32 = 128 << 10;
/// Bytes that are unpacked at once.
const PIECE: usize = 64 * 1024;
/// The longest name of a zip file's member: longer ones are in no file system, and headers of a few bytes could
/// each name the same 64 KiB.
const MAX_NAME: usize = 4096;
/// A local header of a zip file (APPNOTE 4.3.7) without its name.
const LOCAL: usize = 30;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// RFC 1952.
    Gzip,
    /// RFC 1950, with any window.
    Zlib,
    Bzip2,
    Xz,
    /// The format before xz.
    Lzma,
    /// RFC 8878.
    Zstd,
    /// A zip file's member that is deflated.
    Deflated,
    /// A zip file's member that is compressed as in [`Packing::Lzma`].
    ZipLzma,
}

/// The beginning of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning<'b> {
    pub(super) packing: Packing,
    /// What the archive calls it.
    pub(super) name: &'b [u8],
    /// So many bytes after the beginning, the stream itself.
    skip: usize,
}

/// How the reading of a stream has ended.
pub(super) struct End {
    /// So many bytes belong to it.
    pub(super) taken: usize,
    /// It was whole, by its own word.
    pub(super) whole: bool,
    /// It needs more memory than it may have.
    pub(super) refused: bool,
}

/// The decompressors are made once, because most beginnings are false.
pub(super) struct Unpacker {
    zlib: Decompress,
    raw: Decompress,
    piece: Vec<u8>,
}

/// What may be the first two bytes.
pub(super) struct Beginnings {
    pairs: Vec<bool>,
}

impl Beginnings {
    /// Made once: a build has many small files.
    pub(super) fn get() -> &'static Self {
        static THEM: LazyLock<Beginnings> = LazyLock::new(Beginnings::new);
        &THEM
    }

    fn new() -> Self {
        let mut pairs = vec![false; 1 << 16];
        for first in 0..=255 {
            for second in 0..=255 {
                let begins = is_zlib(first, second)
                    || matches!(
                        [first, second],
                        [0x1f, 0x8b] | [b'B', b'Z'] | [0xfd, b'7'] | [0x28, 0xb5] | [b'P', b'K']
                    )
                    || (first < LZMA_PROPERTIES && second == 0);
                pairs[usize::from(first) << 8 | usize::from(second)] = begins;
            }
        }
        Self { pairs }
    }

    /// The next place at or after this one where a stream may begin.
    pub(super) fn next(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let pairs = bytes.get(from..)?.windows(2);
        let found = pairs
            .into_iter()
            .position(|pair| self.pairs[usize::from(pair[0]) << 8 | usize::from(pair[1])])?;
        Some(from + found)
    }
}

/// A deflated stream behind a header whose check is right, and which needs no dictionary.
fn is_zlib(first: u8, second: u8) -> bool {
    const DICTIONARY: u8 = 0x20;
    first & 15 == 8
        && first >> 4 <= 7
        && second & DICTIONARY == 0
        && (u32::from(first) * 256 + u32::from(second)).is_multiple_of(31)
}

/// The properties that programs write.
const USUAL: u8 = 0x5d;
/// Properties of lzma are less than this.
const LZMA_PROPERTIES: u8 = 225;

/// As `file` and `xz` tell such a stream: a size of the dictionary that is written by programs, and no size of
/// the content, or one beside the usual properties. Nothing in it says that it was read right.
fn is_lzma(rest: &[u8]) -> bool {
    const LEAST: u32 = 1 << 16;
    const LARGEST: u64 = 1 << 38;
    let Some(header) = rest.first_chunk::<14>() else {
        return false;
    };
    let dictionary = u32::from_le_bytes([header[1], header[2], header[3], header[4]]);
    let size = header[5..13]
        .iter()
        .rev()
        .fold(0, |size: u64, byte| size << 8 | u64::from(*byte));
    let high = dictionary.checked_ilog2().unwrap_or(0);
    let round =
        dictionary == u32::MAX || (dictionary >= LEAST && dictionary & !(3 << (high - 1)) == 0);
    header[0] < LZMA_PROPERTIES
        && round
        && (size == u64::MAX || (header[0] == USUAL && size > 0 && size < LARGEST))
        && header[13] == 0
}

/// Whether a deflated stream (RFC 1951) may begin so: it is cheaper to see than to try.
fn is_deflate(rest: &[u8]) -> bool {
    let Some(first) = rest.first() else {
        return false;
    };
    match first >> 1 & 3 {
        // Stored: a length and its complement.
        0 => rest
            .get(1..5)
            .is_some_and(|at| at[0] == !at[2] && at[1] == !at[3]),
        1 => true,
        2 => has_code_lengths(rest),
        _ => false,
    }
}

/// The lengths of the first codes of a block with codes of its own: together they are a whole code.
fn has_code_lengths(rest: &[u8]) -> bool {
    // 3 bits of the block, 5, 5 and 4 of numbers, 19 times 3 at most.
    let bits = rest.iter().take(10).rev();
    let bits = bits.fold(0, |bits: u128, byte| bits << 8 | u128::from(*byte));
    let number = |at: u32, count: u32| (bits >> at) & ((1 << count) - 1);
    let (literals, distances, lengths) = (number(3, 5), number(8, 5), number(13, 4) + 4);
    let mut sum = 0_u32;
    for index in 0..u32::try_from(lengths).unwrap_or(0) {
        let length = number(17 + 3 * index, 3);
        if length > 0 {
            sum += 128 >> length;
        }
    }
    literals < 30 && distances < 30 && sum == 128
}

/// The stream that begins here.
pub(super) fn beginning(rest: &[u8]) -> Option<Beginning<'_>> {
    let packing = match rest {
        [0x1f, 0x8b, 8, ..] => Packing::Gzip,
        [
            b'B',
            b'Z',
            b'h',
            b'1'..=b'9',
            0x31,
            0x41,
            0x59,
            0x26,
            0x53,
            0x59,
            ..,
        ] => Packing::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Packing::Xz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Packing::Zstd,
        [b'P', b'K', 3, 4, ..] => return member(rest),
        [first, second, stream @ ..] if is_zlib(*first, *second) && is_deflate(stream) => {
            Packing::Zlib
        }
        _ if is_lzma(rest) => Packing::Lzma,
        _ => return None,
    };
    Some(Beginning {
        packing,
        name: &[],
        skip: 0,
    })
}

/// A zip file's member by its own header: the directory at the end may say another thing, or not be there.
/// What is stored is in the file as it is, and streams of other methods begin as they do elsewhere.
fn member(rest: &[u8]) -> Option<Beginning<'_>> {
    let number = |at: usize| {
        let bytes = rest.get(at..at + 2)?;
        Some(usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))
    };
    let packing = match number(8)? {
        8 => Packing::Deflated,
        14 => Packing::ZipLzma,
        _ => return None,
    };
    let name = number(26).filter(|length| *length <= MAX_NAME)?;
    Some(Beginning {
        packing,
        name: rest.get(LOCAL..LOCAL + name)?,
        skip: LOCAL + name + number(28)?,
    })
}

/// A zip file's member that is stored: its name, and where it is.
pub(super) fn stored(rest: &[u8]) -> Option<(&[u8], std::ops::Range<usize>)> {
    let header = rest.first_chunk::<LOCAL>()?;
    let number = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
    if !header.starts_with(b"PK\x03\x04") || number(8) != 0 || number(26) > MAX_NAME {
        return None;
    }
    let size = number(18) | number(20) << 16;
    let start = LOCAL + number(26) + number(28);
    Some((rest.get(LOCAL..LOCAL + number(26))?, start..start + size))
}

impl Packing {
    /// Whether programs write several of them for one content.
    pub(super) fn goes_on(self) -> bool {
        matches!(self, Self::Gzip | Self::Bzip2 | Self::Zstd)
    }

    /// How much longer a byte takes than one that is inflated.
    pub(super) fn weight(self) -> u64 {
        match self {
            Self::Gzip | Self::Zlib | Self::Deflated | Self::Zstd => 1,
            Self::Bzip2 | Self::Xz | Self::Lzma | Self::ZipLzma => 4,
        }
    }
}

impl Unpacker {
    pub(super) fn new() -> Self {
        Self {
            zlib: Decompress::new(true),
            raw: Decompress::new(false),
            piece: vec![0; PIECE],
        }
    }

    /// Gives the stream's content, piece by piece, as long as the taker wants more. Where streams of a kind
    /// follow each other, this is one of them.
    pub(super) fn unpack(
        &mut self,
        beginning: &Beginning<'_>,
        rest: &[u8],
        take: &mut dyn FnMut(&[u8]) -> bool,
    ) -> End {
        let stream = rest.get(beginning.skip..).unwrap_or_default();
        let mut input = stream;
        let read = match beginning.packing {
            Packing::Zlib => Ok(inflate(
                &mut self.zlib,
                true,
                &mut self.piece,
                &mut input,
                take,
            )),
            Packing::Deflated => Ok(inflate(
                &mut self.raw,
                false,
                &mut self.piece,
                &mut input,
                take,
            )),
            Packing::Gzip => {
                let decoder = flate2::bufread::GzDecoder::new(&mut input);
                copy(decoder, &mut self.piece, take)
            }
            Packing::Bzip2 => {
                let decoder = bzip2::bufread::BzDecoder::new(&mut input);
                copy(decoder, &mut self.piece, take)
            }
            Packing::Zstd => zstd::stream::read::Decoder::with_buffer(&mut input)
                .and_then(|decoder| copy(decoder.single_frame(), &mut self.piece, take)),
            Packing::Xz => {
                let decoder = lzma_rust2::XzReader::new_mem_limit(&mut input, true, MOST_MEMORY);
                copy(decoder, &mut self.piece, take)
            }
            Packing::Lzma => lzma_rust2::LzmaReader::new_mem_limit(&mut input, MOST_MEMORY, None)
                .and_then(|decoder| copy(decoder, &mut self.piece, take)),
            Packing::ZipLzma => {
                zip_lzma(&mut input).and_then(|decoder| copy(decoder, &mut self.piece, take))
            }
        };
        End {
            taken: beginning.skip + stream.len() - input.len(),
            whole: matches!(read, Ok(true)),
            // Most bytes that look like a header of lzma are not one.
            refused: (beginning.packing != Packing::Lzma || stream.first() == Some(&USUAL))
                && read.is_err_and(|error| is_too_much(&error)),
        }
    }
}

/// Whether a stream was not unpacked because of the memory that it needs. zstd has words for it only.
fn is_too_much(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::OutOfMemory || error.to_string().contains("too much memory")
}

/// APPNOTE 5.8.8: two bytes of a version, two of a length, then the properties.
fn zip_lzma<'i, 'b>(
    input: &'i mut &'b [u8],
) -> io::Result<lzma_rust2::LzmaReader<&'i mut &'b [u8]>> {
    let mut header = [0; 9];
    input.read_exact(&mut header)?;
    let dictionary = u32::from_le_bytes([header[5], header[6], header[7], header[8]]);
    let needed = lzma_rust2::lzma_get_memory_usage_by_props(dictionary, header[4])?;
    if needed > MOST_MEMORY {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    lzma_rust2::LzmaReader::new_with_props(input, u64::MAX, header[4], dictionary, None)
}

/// As far as it can be read; whether that was all.
fn copy(
    mut from: impl Read,
    piece: &mut [u8],
    take: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<bool> {
    loop {
        match from.read(piece)? {
            0 => return Ok(true),
            count if take(&piece[..count]) => {}
            _ => return Ok(false),
        }
    }
}

fn inflate(
    state: &mut Decompress,
    zlib: bool,
    piece: &mut [u8],
    input: &mut &[u8],
    take: &mut dyn FnMut(&[u8]) -> bool,
) -> bool {
    state.reset(zlib);
    loop {
        let (before, given) = (state.total_in(), state.total_out());
        let status = state.decompress(input, piece, FlushDecompress::None);
        let difference = |now: u64, then: u64| usize::try_from(now - then).unwrap_or(usize::MAX);
        let taken = difference(state.total_in(), before);
        let count = difference(state.total_out(), given);
        input.consume(taken.min(input.len()));
        if count > 0 && !take(&piece[..count.min(piece.len())]) {
            return false;
        }
        match status {
            Ok(Status::StreamEnd) => return true,
            Ok(_) if taken > 0 || count > 0 => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deflated_is_taken_for_it() {
        use flate2::{Compress, Compression, FlushCompress};
        let mut text = Vec::new();
        let mut seed = 1_u32;
        for length in 0..3000_u32 {
            for level in [0, 1, 6, 9] {
                let mut packed = Vec::with_capacity(2 * text.len() + 100);
                Compress::new(Compression::new(level), false)
                    .compress_vec(&text, &mut packed, FlushCompress::Finish)
                    .unwrap();
                assert!(is_deflate(&packed), "{length} {level}");
            }
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Of few letters and of many.
            text.push(seed.to_be_bytes()[0] % if length % 1000 < 500 { 5 } else { 255 });
        }
    }

    #[test]
    fn a_beginning_is_told_by_its_header() {
        let beginnings = Beginnings::get();
        let of = |bytes: &[u8]| {
            let at = beginnings.next(bytes, 0)?;
            Some((at, beginning(&bytes[at..])?.packing))
        };
        assert_eq!(of(b"..\x1f\x8b\x08\0"), Some((2, Packing::Gzip)));
        // `zlib.compressobj(wbits=9)` and its like; a dictionary is needed by another.
        for header in [*b"\x18\x95", *b"\x28\x91", *b"\x68\xde", *b"\x78\x9c"] {
            let stream = |rest: &[u8]| of(&[&header[..], rest].concat());
            let found = Some((0, Packing::Zlib));
            assert_eq!(stream(b"\x03\0"), found, "{header:x?}");
            assert_eq!(stream(b"\x01\x01\0\xfe\xff."), found, "{header:x?}");
            assert_eq!(stream(b"\x01\x01\0\xfe\xfe."), None, "{header:x?}");
            assert_eq!(stream(b"\x07\0"), None, "{header:x?}");
        }
        assert_eq!(of(b"\x78\xbb\x03\0"), None);
        assert_eq!(
            of(b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0"),
            Some((0, Packing::Lzma))
        );
        assert_eq!(of(&[0; 100]), None);
        assert_eq!(of(b"BZh91AY&SY"), Some((0, Packing::Bzip2)));
    }
}
