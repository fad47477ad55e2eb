//! Files in files: what gzip, zip and tar files of a layer hold is searched too, up to a bound, because
//! a build makes wheels, source archives and compressed static files of what it finds.

use std::collections::HashMap;
use std::io::{Cursor, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::source::zip_directory::Header;

/// A larger file is not looked into.
const MOST_PACKED: usize = 64 << 20;
/// Of one file of the layer so much is looked at, in bytes, whatever it unpacks to.
const MOST_UNPACKED: u64 = 512 << 20;
/// A file in a file in a file in a file.
const MAX_DEPTH: usize = 3;
/// Where a tar's header says so (POSIX `ustar`, GNU).
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");
/// So much of a file says what it is.
const HEAD: usize = TAR_MAGIC.0 + TAR_MAGIC.1.len();

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gzip,
    Zip,
    Tar,
}

fn kind(head: &[u8], named_zip: bool) -> Option<Kind> {
    let tar = head
        .get(TAR_MAGIC.0..)
        .is_some_and(|rest| rest.starts_with(TAR_MAGIC.1));
    match head {
        [0x1f, 0x8b, 8, ..] => Some(Kind::Gzip),
        _ if tar => Some(Kind::Tar),
        // A zip file may begin with anything: an interpreter line (PEP 441), an executable.
        [b'P', b'K', 3 | 5, 4 | 6, ..] | [b'#', b'!', ..] | [b'M', b'Z', ..] => Some(Kind::Zip),
        _ => named_zip.then_some(Kind::Zip),
    }
}

/// The bytes of a file that may hold others.
#[derive(Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    named_zip: bool,
    /// It holds none, or is too large.
    given_up: bool,
}

impl Kept {
    pub(super) fn of(path: &Path) -> Self {
        let named = |extension: &std::ffi::OsStr| {
            ["zip", "whl", "egg", "pyz", "jar"]
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        };
        Self {
            named_zip: path.extension().is_some_and(named),
            ..Self::default()
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.given_up {
            return;
        }
        let decided = self.bytes.len() >= HEAD;
        self.bytes.extend_from_slice(bytes);
        let none = !decided && self.bytes.len() >= HEAD && self.kind().is_none();
        if none || self.bytes.len() > MOST_PACKED {
            self.given_up = true;
            self.bytes = Vec::new();
        }
    }

    fn kind(&self) -> Option<Kind> {
        kind(&self.bytes, self.named_zip)
    }

    /// The whole file, if it may hold others.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let bytes = std::mem::take(&mut self.bytes);
        (!self.given_up && kind(&bytes, self.named_zip).is_some()).then_some(bytes)
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
    look.file(bytes, true, 0);
}

struct Look<'s> {
    search: &'s mut dyn Sink,
    /// How many more bytes are looked at.
    left: u64,
}

impl Look<'_> {
    fn file(&mut self, bytes: &[u8], named_zip: bool, depth: usize) {
        if depth > MAX_DEPTH || self.search.is_done() {
            return;
        }
        match kind(bytes, named_zip) {
            Some(Kind::Gzip) => self.member("", MultiGzDecoder::new(bytes), depth),
            Some(Kind::Zip) => {
                let Ok(mut archive) = zip::ZipArchive::new(Cursor::new(bytes)) else {
                    return;
                };
                for index in 0..archive.len() {
                    if let Ok(file) = archive.by_index(index) {
                        let name = file.name().to_owned();
                        self.member(&name, file, depth);
                    }
                }
                self.hidden(bytes, &archive, depth);
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
            None => {}
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
        let mut kept = Kept::of(Path::new(name));
        let named_zip = kept.named_zip;
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
        if let Some(bytes) = kept.take() {
            self.file(&bytes, named_zip, depth + 1);
        }
        self.search.go_to(outer);
    }
}
