//! What a layer is compressed with, and the writer that does it.

use std::fmt;
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::str::FromStr;

use oci_spec::image::MediaType;
use zstd::zstd_safe::CParameter;

use super::gzip::GzipWriter;

/// A layer's compression and its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    /// 0 (stored) to 12 of libdeflate; 5, which is as small as zlib's 6, unless there is a reason.
    Gzip(u32),
    /// 1 to 19; 3 unless there is a reason.
    Zstd(i32),
}

impl Default for Compression {
    fn default() -> Self {
        Self::Gzip(5)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Gzip(level) => write!(formatter, "gzip:{level}"),
            Self::Zstd(level) => write!(formatter, "zstd:{level}"),
        }
    }
}

impl FromStr for Compression {
    type Err = String;

    /// `gzip`, `gzip:9`, `zstd`, `zstd:19`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, level) = match text.split_once(':') {
            Some((name, level)) => (name, Some(level)),
            None => (text, None),
        };
        let level = |usual: u8, range: RangeInclusive<u8>| match level {
            None => Ok(usual),
            Some(level) => level
                .parse()
                .ok()
                .filter(|level| range.contains(level))
                .ok_or_else(|| {
                    format!(
                        "the level of {name} is a number from {} to {}, not `{level}`",
                        range.start(),
                        range.end()
                    )
                }),
        };
        match name {
            "gzip" => Ok(Self::Gzip(level(5, 1..=12)?.into())),
            "zstd" => Ok(Self::Zstd(level(3, 1..=19)?.into())),
            _ => Err(format!("`{name}` is neither gzip nor zstd")),
        }
    }
}

impl Compression {
    /// The OCI media type of a layer so compressed.
    pub fn media_type(self) -> MediaType {
        match self {
            Self::None => MediaType::ImageLayer,
            Self::Gzip(_) => MediaType::ImageLayerGzip,
            Self::Zstd(_) => MediaType::ImageLayerZstd,
        }
    }
}

/// zstd's threads hold several jobs each; more of them would be more memory than use.
const MAX_ZSTD_WORKERS: usize = 4;
/// Up to this level, jobs are as small as may be and see half a window of what comes before: a fifth of the memory for
/// the same size, and no slower. Higher levels would be slower by half.
const SMALL_JOBS: i32 = 4;
const JOB: u32 = 1024 * 1024;
/// Of `ZSTD_c_overlapLog`: half a window.
const OVERLAP: u32 = 8;

/// A writer that compresses into the one below.
pub(super) enum Compressor<W: Write> {
    None(W),
    Gzip(GzipWriter<W>),
    Zstd(zstd::stream::write::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    pub(super) fn new(out: W, compression: Compression, threads: usize) -> io::Result<Self> {
        Ok(match compression {
            Compression::None => Self::None(out),
            Compression::Gzip(level) => Self::Gzip(GzipWriter::new(out, level, threads)?),
            Compression::Zstd(level) => {
                let level = level.clamp(1, 19);
                let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
                // With workers the bytes do not depend on how many; without any they differ.
                let workers = threads.clamp(1, MAX_ZSTD_WORKERS);
                encoder.multithread(u32::try_from(workers).unwrap_or(1))?;
                if level <= SMALL_JOBS {
                    encoder.set_parameter(CParameter::JobSize(JOB))?;
                    encoder.set_parameter(CParameter::OverlapSizeLog(OVERLAP))?;
                }
                encoder.include_checksum(true)?;
                Self::Zstd(encoder)
            }
        })
    }

    pub(super) fn finish(self) -> io::Result<W> {
        match self {
            Self::None(out) => Ok(out),
            Self::Gzip(writer) => writer.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::None(out) => out.write(bytes),
            Self::Gzip(writer) => writer.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    /// Does nothing: a flush in the middle would change the bytes.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Compresses all that can be read, and gives the writer back. The bytes do not depend on the number of
/// threads.
pub fn compress<W: Write>(
    from: &mut dyn io::Read,
    into: W,
    compression: Compression,
) -> io::Result<W> {
    let mut compressor = Compressor::new(into, compression, threads())?;
    io::copy(from, &mut compressor)?;
    compressor.finish()
}

/// As many threads as `RAYON_NUM_THREADS` or the machine (its cgroup's quota counted) give.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_levels() {
        for (text, expected) in [
            ("gzip", Compression::Gzip(5)),
            ("gzip:1", Compression::Gzip(1)),
            ("zstd", Compression::Zstd(3)),
            ("zstd:19", Compression::Zstd(19)),
        ] {
            let parsed: Compression = text.parse().unwrap();
            assert_eq!(parsed, expected);
            assert_eq!(parsed.to_string().parse(), Ok(expected));
        }
        for bad in ["", "xz", "gzip:0", "gzip:13", "zstd:20", "zstd:-1", "gzip:"] {
            assert!(bad.parse::<Compression>().is_err(), "{bad}");
        }
    }
}
