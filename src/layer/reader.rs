//! Reads a tar stream member by member: ustar, PAX and GNU long names.
//!
//! The `tar` crate's own iterator holds extension headers of any size in memory and follows other
//! rules than Go's `archive/tar` (which every container engine uses) where archives are ambiguous;
//! so the header blocks are read here, and `tar::Header` serves as their layout. Where two readers
//! could disagree about what is in the archive, it is refused.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use tar::Header;

use super::LayerError;
use super::limits::{Limits, MAX_EXTENSION, MAX_PATH, MAX_XATTR, MAX_XATTRS};
use super::member::{Member, MemberKind};
use super::number::{number, until_nul};
use super::pax;

pub(super) const BLOCK: usize = 512;

/// Where the checksum stands in a header; blanks take its place while the sum is made.
const CHECKSUM: Range<usize> = 148..156;

/// Whether a block is a member's header: its checksum says so.
pub(super) fn is_header(block: &[u8; BLOCK]) -> bool {
    let sum: i64 = block
        .iter()
        .enumerate()
        .map(|(index, &byte)| {
            i64::from(if CHECKSUM.contains(&index) {
                b' '
            } else {
                byte
            })
        })
        .sum();
    number(&block[CHECKSUM]) == Some(sum)
}

/// Iterates over an uncompressed tar stream. After [`TarReader::next_member`] gave a file, reading
/// from the reader gives its content; what is not read is skipped.
pub struct TarReader<R> {
    inner: R,
    limits: Limits,
    offset: u64,
    entries: u64,
    /// Content of the present member still to come, and the zeros after it.
    remaining: u64,
    padding: u64,
    ended: bool,
    padding_required: bool,
    end_required: bool,
}

/// What extension headers said about the member that follows.
#[derive(Default)]
struct Extensions {
    pax: Option<Vec<u8>>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    pub fn new(inner: R, limits: Limits) -> Self {
        Self {
            inner,
            limits,
            offset: 0,
            entries: 0,
            remaining: 0,
            padding: 0,
            ended: false,
            padding_required: false,
            end_required: false,
        }
    }

    /// Refuses an archive without an end mark: the program that wrote it was interrupted between two members.
    #[must_use]
    pub fn requiring_end(mut self) -> Self {
        self.end_required = true;
        self
    }

    /// Refuses an archive that ends without its last member's padding. `umoci insert` writes such
    /// layers, and Go's reader takes them: a layer that was cut is found by its digest. An archive
    /// that has no digest asks for this.
    #[must_use]
    pub fn requiring_padding(mut self) -> Self {
        self.padding_required = true;
        self
    }

    /// Bytes of the stream read so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next member, or `None` at the archive's end.
    pub fn next_member(&mut self) -> Result<Option<Member>, LayerError> {
        self.skip_content()?;
        let mut extensions = Extensions::default();
        loop {
            let Some(header) = self.header()? else {
                if extensions.pax.is_some()
                    || extensions.long_name.is_some()
                    || extensions.long_link.is_some()
                {
                    return Err(self.malformed("it ends after an extension header"));
                }
                return Ok(None);
            };
            let old = header.as_old();
            let slot = match old.linkflag[0] {
                b'x' => &mut extensions.pax,
                b'L' => &mut extensions.long_name,
                b'K' => &mut extensions.long_link,
                // Global headers hold a comment (git archive); container engines skip them.
                b'g' => {
                    self.extension(&header)?;
                    continue;
                }
                _ => return self.member(&header, &extensions).map(Some),
            };
            if slot.is_some() {
                return Err(self.malformed("two extension headers of one kind before a member"));
            }
            *slot = Some(self.extension(&header)?);
        }
    }

    /// Reads to the stream's end, so that a digest taken below covers all of it. Engines ignore
    /// what stands behind the end mark, and so does this.
    /// Gives the number of bytes.
    pub fn drain(mut self) -> Result<u64, LayerError> {
        self.skip_content()?;
        let mut buffer = vec![0; 64 * 1024];
        while self.read_some(&mut buffer)? > 0 {}
        Ok(self.offset)
    }

    fn malformed(&self, problem: impl Into<String>) -> LayerError {
        LayerError::Malformed {
            problem: problem.into(),
            offset: self.offset,
        }
    }

    /// Reads from the stream and counts.
    fn read_some(&mut self, buffer: &mut [u8]) -> Result<usize, LayerError> {
        loop {
            match self.inner.read(buffer) {
                Ok(count) => {
                    self.offset += count as u64;
                    if self.offset > self.limits.max_bytes {
                        return Err(LayerError::Limit {
                            limit: self.limits.max_bytes,
                            unit: "bytes",
                        });
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => return Err(LayerError::Read { source }),
            }
        }
    }

    fn read_all(&mut self, buffer: &mut [u8]) -> Result<(), LayerError> {
        let mut filled = 0;
        while filled < buffer.len() {
            let count = self.read_some(&mut buffer[filled..])?;
            if count == 0 {
                return Err(self.malformed("it ends in the middle of a member"));
            }
            filled += count;
        }
        Ok(())
    }

    /// Reads content of the present member; 0 at its end.
    pub(super) fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, LayerError> {
        let most = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.read_some(&mut buffer[..most])?;
        if count == 0 {
            return Err(self.malformed("it ends in the middle of a file"));
        }
        self.remaining -= count as u64;
        Ok(count)
    }

    fn skip_content(&mut self) -> Result<(), LayerError> {
        if self.remaining == 0 && self.padding == 0 {
            return Ok(());
        }
        let mut buffer = vec![0; 64 * 1024];
        while self.read_content(&mut buffer)? > 0 {}
        let mut padding = usize::try_from(self.padding).unwrap_or(0);
        self.padding = 0;
        while padding > 0 {
            match self.read_some(&mut buffer[..padding])? {
                0 if self.padding_required => {
                    return Err(self.malformed("it ends before the padding of its last file"));
                }
                0 => {
                    self.ended = true;
                    break;
                }
                count => padding -= count,
            }
        }
        Ok(())
    }

    fn expect_content(&mut self, size: u64) {
        self.remaining = size;
        self.padding = (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
    }

    /// The next header block, checked; `None` at the end mark or the end of the stream.
    fn header(&mut self) -> Result<Option<Header>, LayerError> {
        if self.ended {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            let count = self.read_some(&mut block[filled..])?;
            if count == 0 {
                if filled > 0 {
                    return Err(self.malformed("it ends in the middle of a header"));
                }
                if self.end_required && self.entries > 0 {
                    return Err(self.malformed("it has no end mark"));
                }
                self.ended = true;
                return Ok(None);
            }
            filled += count;
        }
        if block.iter().all(|&byte| byte == 0) {
            self.ended = true;
            // Two zero blocks end an archive; some writers leave one, or none.
            let mut second = [0; BLOCK];
            let mut filled = 0;
            while filled < BLOCK {
                let count = self.read_some(&mut second[filled..])?;
                if count == 0 {
                    break;
                }
                filled += count;
            }
            if second.iter().any(|&byte| byte != 0) {
                return Err(self.malformed("a single zero block stands between members"));
            }
            return Ok(None);
        }
        self.entries += 1;
        if self.entries > self.limits.max_entries {
            return Err(LayerError::Limit {
                limit: self.limits.max_entries,
                unit: "entries",
            });
        }
        if !is_header(&block) {
            return Err(self.malformed("a header's checksum is wrong"));
        }
        Ok(Some(Header::from_byte_slice(&block).clone()))
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, LayerError> {
        let size = self.field(&header.as_old().size, "size")?;
        if size > MAX_EXTENSION {
            return Err(LayerError::Limit {
                limit: MAX_EXTENSION,
                unit: "bytes in one extension header",
            });
        }
        let mut body = vec![0; usize::try_from(size).unwrap_or(0)];
        self.expect_content(size);
        self.remaining = 0;
        self.read_all(&mut body)?;
        self.skip_content()?;
        Ok(body)
    }

    fn field(&self, bytes: &[u8], name: &str) -> Result<u64, LayerError> {
        number(bytes)
            .and_then(|value| u64::try_from(value).ok())
            .ok_or_else(|| self.malformed(format!("a header's {name} is not a number")))
    }

    fn id(&self, value: u64, name: &str) -> Result<u32, LayerError> {
        // 2^32-1 means "leave as it is" to chown.
        u32::try_from(value)
            .ok()
            .filter(|&id| id != u32::MAX)
            .ok_or_else(|| self.malformed(format!("the {name} {value} is out of range")))
    }

    fn member(&mut self, header: &Header, extensions: &Extensions) -> Result<Member, LayerError> {
        let old = header.as_old();
        let mut path = header.path_bytes().into_owned();
        let mut link = header
            .link_name_bytes()
            .map(std::borrow::Cow::into_owned)
            .unwrap_or_default();
        let mut size = self.field(&old.size, "size")?;
        let mut uid = self.field(&old.uid, "owner")?;
        let mut gid = self.field(&old.gid, "group")?;
        let mut mtime = number(&old.mtime)
            .ok_or_else(|| self.malformed("a header's modification time is not a number"))?;
        let mut nanos = 0;
        let mut xattrs = BTreeMap::new();
        let (mut pax_path, mut pax_link) = (false, false);

        let records = pax::parse(extensions.pax.as_deref().unwrap_or_default())
            .map_err(|problem| self.malformed(problem))?;
        for (key, value) in records {
            if key.starts_with(b"GNU.sparse.") {
                return Err(self.malformed("it holds a sparse file"));
            }
            if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                if value.len() > MAX_XATTR
                    || name.is_empty()
                    || name.len() > 255
                    || name.contains(&0)
                {
                    return Err(self.malformed("an extended attribute is too large"));
                }
                xattrs.insert(OsString::from_vec(name.to_vec()), value.to_vec());
                if xattrs.len() > MAX_XATTRS {
                    return Err(self.malformed("a member has too many extended attributes"));
                }
                continue;
            }
            // An empty value takes back what an earlier record said.
            if value.is_empty() {
                continue;
            }
            let wrong = |what: &str| self.malformed(format!("the PAX {what} is not a number"));
            match key {
                b"path" => {
                    path = value.to_vec();
                    pax_path = true;
                }
                b"linkpath" => {
                    link = value.to_vec();
                    pax_link = true;
                }
                b"size" => size = pax::decimal(value).ok_or_else(|| wrong("size"))?,
                b"uid" => uid = pax::decimal(value).ok_or_else(|| wrong("uid"))?,
                b"gid" => gid = pax::decimal(value).ok_or_else(|| wrong("gid"))?,
                b"mtime" => (mtime, nanos) = pax::time(value).ok_or_else(|| wrong("mtime"))?,
                _ => {}
            }
        }
        for (long, from_pax, slot) in [
            (&extensions.long_name, pax_path, &mut path),
            (&extensions.long_link, pax_link, &mut link),
        ] {
            if let Some(long) = long {
                let text = until_nul(long);
                if from_pax && slot != text {
                    return Err(self.malformed("a member has two different long names"));
                }
                *slot = text.to_vec();
            }
        }
        for (text, name) in [(&path, "path"), (&link, "link target")] {
            if text.len() > MAX_PATH {
                return Err(LayerError::Limit {
                    limit: MAX_PATH as u64,
                    unit: "bytes in one path",
                });
            }
            if text.contains(&0) {
                return Err(self.malformed(format!("a member's {name} has a NUL byte")));
            }
        }
        let link = PathBuf::from(OsString::from_vec(link));
        let kind = match old.linkflag[0] {
            // Before POSIX a directory was a file whose name ends with a slash.
            0 if path.ends_with(b"/") => MemberKind::Directory,
            0 | b'0' | b'7' => MemberKind::File,
            b'1' => MemberKind::HardLink(link),
            b'2' => MemberKind::Symlink(link),
            b'3' | b'4' => {
                let (major, minor) = self.device(header)?;
                if old.linkflag[0] == b'3' {
                    MemberKind::CharDevice { major, minor }
                } else {
                    MemberKind::BlockDevice { major, minor }
                }
            }
            b'5' => MemberKind::Directory,
            b'6' => MemberKind::Fifo,
            b'S' => return Err(self.malformed("it holds a sparse file")),
            other => {
                return Err(self.malformed(format!(
                    "it holds a member of the unknown type `{}`",
                    other.escape_ascii()
                )));
            }
        };
        // Whatever size other members state, no content follows them (as in Go's reader).
        if kind != MemberKind::File {
            size = 0;
        }
        self.expect_content(size);
        let mode = self.field(&old.mode, "mode")? & 0o7777;
        Ok(Member {
            path: PathBuf::from(OsStr::from_bytes(&path)),
            kind,
            mode: u32::try_from(mode).unwrap_or(0),
            uid: self.id(uid, "owner")?,
            gid: self.id(gid, "group")?,
            mtime,
            nanos,
            size,
            xattrs,
        })
    }

    fn device(&self, header: &Header) -> Result<(u32, u32), LayerError> {
        let (major, minor) = if let Some(ustar) = header.as_ustar() {
            (ustar.dev_major, ustar.dev_minor)
        } else if let Some(gnu) = header.as_gnu() {
            (gnu.dev_major, gnu.dev_minor)
        } else {
            return Err(self.malformed("it holds a device without numbers"));
        };
        let part = |bytes: &[u8]| -> Result<u32, LayerError> {
            u32::try_from(self.field(bytes, "device number")?)
                .map_err(|_| self.malformed("a device number is out of range"))
        };
        Ok((part(&major)?, part(&minor)?))
    }
}

impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_content(buffer).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            let mut reader = TarReader::new(&bytes[..], Limits::default());
            while let Ok(Some(_)) = reader.next_member() {}
        }
    }
}
