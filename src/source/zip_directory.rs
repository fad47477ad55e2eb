//! The directory of a zip archive (PKWARE's APPNOTE 4.3.12), header by header as it was written.
//!
//! The reader of the archive's members merges those of one name, and the last counts; other readers take
//! the first, and those of a stream do not read the directory at all. A reader of a hostile archive looks
//! here for names that occur twice, and for what the directory and the members say differently.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;

use zip::ZipArchive;
use zip::result::ZipResult;

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

/// What a reader that goes from member to member, as one of a stream does, sees otherwise than the directory
/// has it (APPNOTE 4.3.6 to 4.3.9): text for the end of a sentence. `None` if both see the same.
pub fn contradiction(
    archive: &mut ZipArchive<Window>,
    file: &File,
) -> ZipResult<Option<&'static str>> {
    const LOCAL: u64 = 30;
    const LOCAL_SIGNATURE: &[u8] = b"PK\x03\x04";
    /// Without, and with a signature and sizes of four or of eight bytes.
    const DESCRIPTORS: [u64; 5] = [0, 12, 16, 20, 24];
    const BEFORE: &str =
        "something stands before its first member, as where two archives are joined";
    if archive.offset() != 0 {
        return Ok(Some(BEFORE));
    }
    let mut members = Vec::with_capacity(archive.len());
    let mut name = Vec::new();
    for index in 0..archive.len() {
        let member = archive.by_index_raw(index)?;
        let (start, Some(data)) = (member.header_start(), member.data_start()) else {
            return Ok(Some("a member of it has no data"));
        };
        let mut length = [0; 2];
        file.read_exact_at(&mut length, start.saturating_add(LOCAL - 4))?;
        name.resize(u16::from_le_bytes(length).into(), 0);
        file.read_exact_at(&mut name, start.saturating_add(LOCAL))?;
        if name != member.name_raw() {
            return Ok(Some(
                "a member has one name in its directory and another before its data",
            ));
        }
        members.push((start, data.saturating_add(member.compressed_size())));
    }
    members.sort_unstable();
    if members.first().is_some_and(|(start, _)| *start != 0) {
        return Ok(Some(BEFORE));
    }
    let next = members.iter().skip(1).map(|(start, _)| *start);
    let next = next.chain([archive.central_directory_start()]);
    for ((_, end), next) in members.iter().zip(next) {
        let Some(gap) = next.checked_sub(*end) else {
            return Ok(Some("two of its members share their bytes"));
        };
        for behind in DESCRIPTORS {
            let mut signature = [0; LOCAL_SIGNATURE.len()];
            if behind + signature.len() as u64 > gap {
                break;
            }
            file.read_exact_at(&mut signature, end + behind)?;
            if signature == LOCAL_SIGNATURE {
                return Ok(Some("it has a member that its directory does not have"));
            }
        }
    }
    Ok(None)
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
