//! The directory of a zip archive (PKWARE's APPNOTE 4.3.12), header by header as it was written.
//!
//! The reader of the archive's members merges those of one name, and the last counts; other readers take
//! the first. A reader of a hostile archive looks here for names that occur twice.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;

const BUFFER: usize = 64 * 1024;

/// The directory's entry for a member.
pub struct Header {
    fixed: [u8; 46],
    /// As written.
    pub name: Vec<u8>,
}

impl Header {
    /// The next one; `None` at the end of the directory.
    pub fn read(from: &mut (impl Read + Seek)) -> io::Result<Option<Self>> {
        let mut fixed = [0; 46];
        if from.read_exact(&mut fixed).is_err() || !fixed.starts_with(b"PK\x01\x02") {
            return Ok(None);
        }
        let mut header = Self {
            fixed,
            name: Vec::new(),
        };
        header.name.resize(header.number(28).into(), 0);
        from.read_exact(&mut header.name)?;
        let more = i64::from(header.number(30)) + i64::from(header.number(32));
        from.seek(SeekFrom::Current(more))?;
        Ok(Some(header))
    }

    fn number(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.fixed[at], self.fixed[at + 1]])
    }

    fn long(&self, at: usize) -> u32 {
        u32::from(self.number(at)) | u32::from(self.number(at + 2)) << 16
    }

    /// The unpacked bytes of the member, in an archive of less than 4 GiB that begins at `start` of
    /// `bytes`; `None` for methods other than "stored" and "deflated", and for truncated data.
    pub fn member<'b>(&self, bytes: &'b [u8], start: usize) -> Option<Box<dyn Read + 'b>> {
        const LOCAL: usize = 30;
        let at = start.checked_add(usize::try_from(self.long(42)).ok()?)?;
        let local = bytes.get(at..)?;
        let number = |at: usize| {
            Some(usize::from(u16::from_le_bytes([
                *local.get(at)?,
                *local.get(at + 1)?,
            ])))
        };
        let packed = local.get(LOCAL + number(26)? + number(28)?..)?;
        match self.number(10) {
            0 => {
                let size = usize::try_from(self.long(20)).ok()?.min(packed.len());
                Some(Box::new(&packed[..size]))
            }
            8 => Some(Box::new(flate2::read::DeflateDecoder::new(packed))),
            _ => None,
        }
    }

    /// Whether it says that its name is UTF-8.
    pub fn says_utf8(&self) -> bool {
        self.number(8) & (1 << 11) != 0
    }

    /// Whether any user may execute it, if the archive has modes.
    pub fn executable(&self) -> bool {
        const UNIX: u8 = 3;
        self.fixed[5] == UNIX && self.number(40) & 0o111 != 0
    }
}

/// A file that is read in large pieces. Seeking within the present piece costs nothing, and a wheel's
/// members follow each other.
pub struct Window {
    file: File,
    position: u64,
    piece: Vec<u8>,
    start: u64,
}

impl Window {
    pub fn new(file: File) -> Self {
        Self {
            file,
            position: 0,
            piece: Vec::new(),
            start: 0,
        }
    }

    fn here(&self) -> &[u8] {
        let at = self.position.checked_sub(self.start);
        let at = at.and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.piece.get(at..)).unwrap_or_default()
    }
}

impl Read for Window {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.here().is_empty() {
            self.piece.resize(BUFFER, 0);
            let count = self.file.read_at(&mut self.piece, self.position)?;
            self.piece.truncate(count);
            self.start = self.position;
        }
        let mut here = self.here();
        let count = here.read(into)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Window {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let place = match to {
            SeekFrom::Start(place) => Some(place),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        self.position = place.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
