//! A wheel's zip archive (PKWARE's APPNOTE), of which only what all readers agree about is taken.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

use libdeflater::Decompressor;
use sha2::{Digest, Sha256, Sha384, Sha512};
use zip::{CompressionMethod, ZipArchive};

use crate::app::assemble::records::base64;
use crate::source::zip_directory::{Header, Window, contradiction};

use super::unfit::{Unfit, odd};

/// Largest file that is read as a whole, in bytes.
pub(super) const MAX_TEXT: u64 = 64 * 1024 * 1024;
/// Most bytes that a member may unpack to, and most members of a wheel.
const MAX_MEMBER: u64 = 16 * 1024 * 1024 * 1024;
const MAX_MEMBERS: usize = 1_000_000;
/// Longest path and longest name in one.
const MAX_PATH: usize = 3000;
const MAX_NAME: usize = 255;

const BUFFER: usize = 64 * 1024;

/// Bytes of all wheels' members that are unpacked at once, which takes half the time of a stream. What finds no
/// room is a stream.
const ROOM: usize = 96 * 1024 * 1024;
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// A part of [`ROOM`].
struct Taken(usize);

impl Taken {
    fn of(packed: u64, size: u64) -> Option<Self> {
        let bytes = usize::try_from(packed.checked_add(size)?).ok()?;
        if bytes > ROOM {
            return None;
        }
        let taken = Self(bytes);
        let before = TAKEN.fetch_add(bytes, Ordering::Relaxed);
        (before.saturating_add(bytes) <= ROOM).then_some(taken)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        TAKEN.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// A member that is not a directory.
#[derive(Debug)]
pub(super) struct Member {
    index: usize,
    pub(super) executable: bool,
}

pub(super) struct Archive {
    zip: ZipArchive<Window>,
    inflate: Decompressor,
    pub(super) members: BTreeMap<String, Member>,
    /// The names of directories, without the slash at their end.
    pub(super) directories: Vec<String>,
}

impl Archive {
    /// Reads the directory of an archive, and refuses one that has a name twice, or other members than its
    /// directory says: what counts differs between readers.
    pub(super) fn open(file: File) -> Result<Self, Unfit> {
        let second = file.try_clone()?;
        let zip = ZipArchive::new(Window::new(file))?;
        if zip.len() > MAX_MEMBERS {
            return odd("it has too many members");
        }
        let mut directory = Window::new(second.try_clone()?);
        directory.seek(SeekFrom::Start(zip.central_directory_start()))?;
        let mut archive = Self {
            members: BTreeMap::new(),
            directories: Vec::new(),
            zip,
            inflate: Decompressor::new(),
        };
        let mut names = HashSet::new();
        while let Some(header) = Header::read(&mut directory)? {
            let name = name(&header)?;
            if !names.insert(name.clone()) {
                return Err(Unfit::Hostile(format!("has {name} twice in its archive")));
            }
            archive.add(name, &header)?;
        }
        if names.len() != archive.zip.len() {
            return odd("its archive has two directories");
        }
        match contradiction(&mut archive.zip, &second)? {
            Some(problem) => odd(problem),
            None => Ok(archive),
        }
    }

    fn add(&mut self, name: String, header: &Header) -> Result<(), Unfit> {
        if name.starts_with('/') || name.split('/').any(|part| part == "..") {
            return Err(Unfit::Hostile(format!("has {name} in its archive")));
        }
        let plain = name.strip_suffix('/').unwrap_or(&name);
        let strange = |part: &str| part.is_empty() || part == "." || part.len() > MAX_NAME;
        if plain.split('/').any(strange)
            || plain.contains(['\0', '\\', '\n', '\r'])
            || plain.len() > MAX_PATH
        {
            return odd(format!("{name} is not a plain path"));
        }
        let Some(index) = self.zip.index_for_name(&name) else {
            return odd(format!("{name} has another name as well"));
        };
        if name.ends_with('/') {
            self.directories.push(plain.to_owned());
        } else {
            let executable = header.executable();
            self.members.insert(name, Member { index, executable });
        }
        Ok(())
    }

    /// A member as text.
    pub(super) fn text(&mut self, name: &str) -> Result<String, Unfit> {
        let Some(member) = self.members.get(name) else {
            return odd(format!("it has no {name}"));
        };
        let mut bytes = Vec::new();
        self.zip
            .by_index(member.index)?
            .take(MAX_TEXT + 1)
            .read_to_end(&mut bytes)?;
        match String::from_utf8(bytes) {
            Ok(text) if text.len() as u64 <= MAX_TEXT => Ok(text),
            _ => odd(format!("its {name} cannot be read")),
        }
    }

    /// Whether a member begins so.
    pub(super) fn begins_with(&mut self, name: &str, start: &[u8]) -> Result<bool, Unfit> {
        let Some(member) = self.members.get(name) else {
            return odd(format!("it has no {name}"));
        };
        let mut bytes = Vec::new();
        let mut from = self.zip.by_index(member.index)?;
        from.by_ref()
            .take(start.len() as u64)
            .read_to_end(&mut bytes)?;
        Ok(bytes == start)
    }

    /// A member as a whole; `None` if there is no room, or if it is not what the directory says of it.
    fn whole(&mut self, index: usize) -> Result<Option<(Vec<u8>, Taken)>, Unfit> {
        let mut member = self.zip.by_index_raw(index)?;
        let size = member.size();
        if member.compression() != CompressionMethod::Deflated || member.encrypted() {
            return Ok(None);
        }
        let Some(taken) = Taken::of(member.compressed_size(), size) else {
            return Ok(None);
        };
        let mut packed = Vec::new();
        member.read_to_end(&mut packed)?;
        let mut whole = vec![0; usize::try_from(size).unwrap_or(0)];
        let count = self.inflate.deflate_decompress(&packed, &mut whole);
        let is_good = count.is_ok_and(|count| count as u64 == size)
            && libdeflater::crc32(&whole) == member.crc32();
        Ok(is_good.then_some((whole, taken)))
    }

    /// Copies a member that must have this hash, as RECORD has it; gives its length.
    pub(super) fn copy(
        &mut self,
        name: &str,
        hash: &str,
        into: &mut dyn Write,
    ) -> Result<u64, Unfit> {
        let Some(member) = self.members.get(name) else {
            return odd(format!("it has no {name}"));
        };
        let index = member.index;
        let (kind, named) = hash.split_once('=').unwrap_or_default();
        let copy = match kind {
            "sha256" => hashed::<Sha256>,
            "sha384" => hashed::<Sha384>,
            "sha512" => hashed::<Sha512>,
            _ => {
                return odd(format!(
                    "its RECORD has no hash of {name} that can be trusted"
                ));
            }
        };
        let (length, found) = match self.whole(index)? {
            Some((whole, _taken)) => copy(Bytes::Whole(&whole), into)?,
            None => copy(Bytes::Stream(&mut self.zip.by_index(index)?), into)?,
        };
        // Some tools pad it.
        if named.trim_end_matches('=') == found {
            Ok(length)
        } else {
            odd(format!("{name} has not the bytes that its RECORD names"))
        }
    }
}

/// What a member has.
enum Bytes<'a> {
    Whole(&'a [u8]),
    Stream(&'a mut dyn Read),
}

fn hashed<D: Digest>(from: Bytes<'_>, into: &mut dyn Write) -> io::Result<(u64, String)> {
    let mut digest = D::new();
    let mut length = 0;
    match from {
        Bytes::Whole(whole) => {
            length = whole.len() as u64;
            digest.update(whole);
            into.write_all(whole)?;
        }
        Bytes::Stream(from) => {
            let mut buffer = vec![0; BUFFER];
            loop {
                let count = from.read(&mut buffer)?;
                if count == 0 {
                    break;
                }
                length += count as u64;
                if length > MAX_MEMBER {
                    return Err(io::ErrorKind::FileTooLarge.into());
                }
                digest.update(&buffer[..count]);
                into.write_all(&buffer[..count])?;
            }
        }
    }
    Ok((length, base64(&digest.finalize())))
}

fn name(header: &Header) -> Result<String, Unfit> {
    match std::str::from_utf8(&header.name) {
        Ok(name) if header.says_utf8() || name.is_ascii() => Ok(name.to_owned()),
        _ => odd(format!(
            "the name {} in it has no encoding",
            String::from_utf8_lossy(&header.name)
        )),
    }
}
