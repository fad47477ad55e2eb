//! Files in files: what gzip, zip and tar files of a layer hold is searched too, up to a bound, because
//! a build makes wheels, source archives and compressed static files of what it finds.

use std::collections::HashMap;
use std::io::{Cursor, Read};

use flate2::read::{GzDecoder, MultiGzDecoder, ZlibDecoder};
use memchr::{memchr2_iter, memmem};

use crate::source::zip_directory::Header;

/// A larger file is not looked into.
const MOST_PACKED: usize = 64 << 20;
/// Of one file of the layer so much is looked at, in bytes, whatever it unpacks to.
const MOST_UNPACKED: u64 = 512 << 20;
/// A file in a file in a file in a file.
const MAX_DEPTH: usize = 3;
/// Where a tar's header says so (POSIX `ustar`, GNU).
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");

/// A zip file's end (APPNOTE 4.3.16), which has a comment of at most 65,535 bytes.
const ZIP_END: (&[u8], usize) = (b"PK\x05\x06", 22 + 65_535);
/// So many beginnings of streams are tried in one file.
const MOST_TRIED: usize = 1 << 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gzip,
    Zlib,
    Zip,
    Tar,
}

/// What a whole file is.
fn kind(bytes: &[u8]) -> Option<Kind> {
    let tar = bytes
        .get(TAR_MAGIC.0..)
        .is_some_and(|rest| rest.starts_with(TAR_MAGIC.1));
    if tar {
        return Some(Kind::Tar);
    }
    match stream(bytes) {
        Some(Kind::Gzip) => return Some(Kind::Gzip),
        Some(kind) if !has_zip_end(bytes) => return Some(kind),
        _ => {}
    }
    // A zip file may begin with anything: an interpreter line (PEP 441), an executable.
    has_zip_end(bytes).then_some(Kind::Zip)
}

fn has_zip_end(bytes: &[u8]) -> bool {
    let tail = &bytes[bytes.len().saturating_sub(ZIP_END.1)..];
    memmem::rfind(tail, ZIP_END.0).is_some()
}

/// What compressed stream begins so: gzip's magic (RFC 1952), or zlib's header (RFC 1950), which is a multiple
/// of 31.
fn stream(bytes: &[u8]) -> Option<Kind> {
    match *bytes {
        [0x1f, 0x8b, 8, ..] => Some(Kind::Gzip),
        [0x78, flags @ (0x01 | 0x5e | 0x9c | 0xda), ..] => {
            debug_assert_eq!((0x7800 + u32::from(flags)) % 31, 0);
            Some(Kind::Zlib)
        }
        _ => None,
    }
}

/// The bytes of a file that may hold others.
#[derive(Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    /// It is too large.
    given_up: bool,
}

impl Kept {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.given_up {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > MOST_PACKED {
            self.given_up = true;
            self.bytes = Vec::new();
        }
    }

    /// The whole file, unless it is too large.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.given_up = false;
        std::mem::take(&mut self.bytes)
    }
}

/// What looks at the bytes.
pub(super) trait Sink {
    fn feed(&mut self, bytes: &[u8]);
    /// Nothing of one file joins with the next.
    fn finish_file(&mut self);
    /// What comes next lies in this place; gives the one before.
    fn go_to(&mut self, place: String) -> String;
    /// More need not be looked at.
    fn is_done(&self) -> bool;
}

/// Looks through what a file holds. What cannot be unpacked holds nothing that could be read.
pub(super) fn look(search: &mut dyn Sink, bytes: &[u8]) {
    let mut look = Look {
        search,
        left: MOST_UNPACKED,
    };
    look.file(bytes, 0);
}

struct Look<'s> {
    search: &'s mut dyn Sink,
    /// How many more bytes are looked at.
    left: u64,
}

impl Look<'_> {
    fn file(&mut self, bytes: &[u8], depth: usize) {
        if depth > MAX_DEPTH || self.search.is_done() {
            return;
        }
        match kind(bytes) {
            Some(Kind::Gzip) => self.member("", MultiGzDecoder::new(bytes), depth),
            Some(Kind::Zlib) => self.member("", ZlibDecoder::new(bytes), depth),
            Some(Kind::Zip) => {
                let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(bytes)) else {
                    return self.streams(bytes, depth);
                };
                for index in 0..archive.len() {
                    if let Ok(file) = archive.by_index(index) {
                        let name = file.name().to_owned();
                        self.member(&name, file, depth);
                    }
                }
                self.hidden(bytes, &archive, depth);
                let before = usize::try_from(archive.offset()).unwrap_or(0);
                self.streams(&bytes[..before.min(bytes.len())], depth);
            }
            Some(Kind::Tar) => {
                let mut archive = tar::Archive::new(bytes);
                for entry in archive.entries().into_iter().flatten() {
                    let Ok(entry) = entry else {
                        return;
                    };
                    let name = entry.path_bytes();
                    let name = String::from_utf8_lossy(&name).into_owned();
                    self.member(&name, entry, depth);
                }
            }
            None => self.streams(bytes, depth),
        }
    }

    /// Streams in a file of another kind: what an executable, a PDF or a pickle has in it. What begins like one
    /// by chance is an error after a few bytes.
    fn streams(&mut self, bytes: &[u8], depth: usize) {
        let mut tried = 0;
        for at in memchr2_iter(0x1f, 0x78, bytes) {
            let rest = &bytes[at..];
            match stream(rest) {
                Some(Kind::Gzip) => self.member("", GzDecoder::new(rest), depth),
                Some(Kind::Zlib) => self.member("", ZlibDecoder::new(rest), depth),
                _ => continue,
            }
            tried += 1;
            if tried == MOST_TRIED || self.search.is_done() || self.left == 0 {
                return;
            }
        }
    }

    /// Members of a zip file that another of the same name hides from its reader.
    fn hidden(&mut self, bytes: &[u8], archive: &zip::ZipArchive<Cursor<&[u8]>>, depth: usize) {
        let mut directory = Cursor::new(bytes);
        directory.set_position(archive.central_directory_start());
        let Ok(start) = usize::try_from(archive.offset()) else {
            return;
        };
        let mut seen = HashMap::<Vec<u8>, Header>::new();
        // The last of a name is the one that the reader has.
        while let Ok(Some(header)) = Header::read(&mut directory) {
            let Some(before) = seen.insert(header.name.clone(), header) else {
                continue;
            };
            if let Some(member) = before.member(bytes, start) {
                let name = String::from_utf8_lossy(&before.name);
                self.member(&name, member, depth);
            }
        }
    }

    /// One file in a file, and those in it.
    fn member(&mut self, name: &str, mut from: impl Read, depth: usize) {
        if self.search.is_done() {
            return;
        }
        let outer = self.search.go_to(String::new());
        let place = if name.is_empty() {
            format!("{outer} (unpacked)")
        } else {
            format!("{outer} ({name})")
        };
        self.search.go_to(place);
        self.search.feed(name.as_bytes());
        self.search.finish_file();
        let mut kept = Kept::default();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let most = usize::try_from(self.left).map_or(buffer.len(), |n| n.min(buffer.len()));
            let Ok(count) = from.read(&mut buffer[..most]) else {
                break;
            };
            if count == 0 {
                break;
            }
            self.left -= count as u64;
            self.search.feed(&buffer[..count]);
            kept.push(&buffer[..count]);
        }
        self.search.finish_file();
        self.file(&kept.take(), depth + 1);
        self.search.go_to(outer);
    }
}
