//! Files in files: what compressed streams and archives in a file hold is searched too, and what its text
//! stands for, because a build makes wheels, source archives, compressed static files and encoded data of what
//! it finds.
//!
//! A stream may begin anywhere in a file, whatever the file as a whole looks like: so an archive's own
//! directory, what stands before, between and behind its members, and a file that is of two kinds at once
//! need no thought. What is found is a file again, up to [`MAX_DEPTH`]. The work for one file of a layer is
//! bounded; a bound that is reached is told to the [`Sink`], because what lies behind it was not searched.

use std::collections::HashSet;
use std::ops::Range;

use memchr::memmem;

use super::super::unsearched::Bound;
use super::encoded;
use super::packed::{Beginnings, Packing, Unpacker, beginning, stored};

/// A larger file is not looked into.
pub(super) const MOST_PACKED: usize = 64 << 20;
/// The bytes that are inflated or decoded for one file at most, besides [`WORK_OF_A_BYTE`] for each byte of its own.
const MOST_WORK: u64 = 512 << 20;
const WORK_OF_A_BYTE: u64 = 16;
/// The work of a beginning that turns out not to be one of a stream.
const TRIAL: u64 = 256;
/// A file in a file in a file.
pub(super) const MAX_DEPTH: usize = 8;
/// Shorter texts are not searched: no secret is so short.
const SHORTEST: usize = 8;
/// The bytes around an escape that are searched; more if the longest secret is longer.
const REACH: usize = 1024;
/// The magic of a tar's header (POSIX `ustar`, GNU) and its offset.
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");
/// The search gets so many bytes at once.
const PIECE: usize = 64 * 1024;

/// The bytes of a file that may hold others.
#[derive(Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    too_large: bool,
}

impl Kept {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.too_large {
            return;
        }
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() > MOST_PACKED {
            self.too_large = true;
            self.bytes = Vec::new();
        }
    }

    /// The whole file, unless it is too large.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        let bytes = std::mem::take(&mut self.bytes);
        (!std::mem::take(&mut self.too_large)).then_some(bytes)
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
    /// Something in the file that is looked through was not looked at.
    fn not_searched(&mut self, because: Bound);
    /// The length of the longest secret in any form.
    fn longest(&self) -> usize;
}

/// Looks through what a file holds. What cannot be unpacked holds nothing that could be read.
pub(super) fn look(search: &mut dyn Sink, bytes: &[u8]) {
    let mut look = Look {
        reach: REACH.max(search.longest()),
        search,
        left: MOST_WORK + WORK_OF_A_BYTE * bytes.len() as u64,
        beginnings: Beginnings::get(),
        unpacker: Some(Unpacker::new()),
    };
    look.file(bytes, 0);
    if look.left == 0 {
        look.search.not_searched(Bound::Work);
    }
}

struct Look<'s> {
    search: &'s mut dyn Sink,
    /// How much more is done.
    left: u64,
    reach: usize,
    beginnings: &'static Beginnings,
    /// `None` while it unpacks.
    unpacker: Option<Unpacker>,
}

/// A member of an archive: where it is, and its name.
type Members = Vec<(Range<usize>, String)>;

/// Where a stream begins.
struct Stream<'b> {
    bytes: &'b [u8],
    at: usize,
    packing: Packing,
    name: &'b [u8],
    members: &'b [Members],
}

impl Stream<'_> {
    /// The names of the members that it is in, and its own.
    fn way(&self) -> Vec<String> {
        let member = |members: &Members| {
            let before = members.partition_point(|(range, _)| range.start <= self.at);
            let (range, name) = members.get(before.checked_sub(1)?)?;
            range.contains(&self.at).then(|| name.clone())
        };
        let own = (!self.name.is_empty()).then(|| lossy(self.name));
        self.members.iter().filter_map(member).chain(own).collect()
    }
}

impl Look<'_> {
    /// Whether there is work left, after so much of it.
    fn spend(&mut self, work: u64) -> bool {
        self.left = self.left.saturating_sub(work);
        self.left > 0 && !self.search.is_done()
    }

    fn file(&mut self, bytes: &[u8], depth: usize) {
        if bytes.len() < SHORTEST || !self.spend(bytes.len() as u64) {
            return;
        }
        self.streams(bytes, depth);
        self.encodings(bytes, depth);
    }

    /// Searches the compressed streams in it.
    fn streams(&mut self, bytes: &[u8], depth: usize) {
        let members = [members_of_tar(bytes), stored_members(bytes)];
        // Streams that went on where another one ended, which have been unpacked with it.
        let mut continued = HashSet::new();
        let mut from = 0;
        while let Some(at) = self.beginnings.next(bytes, from) {
            from = at + 1;
            let Some(beginning) = beginning(&bytes[at..]).filter(|_| !continued.contains(&at))
            else {
                continue;
            };
            if !self.spend(TRIAL + beginning.name.len() as u64) {
                return;
            }
            let stream = Stream {
                bytes,
                at,
                packing: beginning.packing,
                name: beginning.name,
                members: &members,
            };
            self.stream(&stream, depth, &mut continued);
        }
    }

    /// One stream, and what follows it of the same kind.
    fn stream(&mut self, stream: &Stream<'_>, depth: usize, continued: &mut HashSet<usize>) {
        let Some(mut unpacker) = self.unpacker.take() else {
            return;
        };
        let packing = stream.packing;
        let mut kept = Kept::default();
        let mut outer = None;
        let mut whole = false;
        let mut next = stream.at;
        while let Some(rest) = stream.bytes.get(next..)
            && let Some(beginning) = beginning(rest).filter(|found| found.packing == packing)
        {
            let end = unpacker.unpack(&beginning, rest, &mut |piece| {
                if outer.is_none() {
                    outer = Some(self.enter(&stream.way(), stream.name.is_empty()));
                }
                self.search.feed(piece);
                kept.push(piece);
                self.spend(piece.len() as u64 * packing.weight())
            });
            whole |= end.whole;
            if end.refused {
                self.search.not_searched(Bound::Size);
            }
            let goes_on = self.spend(end.taken as u64 * packing.weight());
            next += end.taken;
            if !end.whole || !goes_on || !packing.goes_on() {
                break;
            }
            continued.insert(next);
        }
        self.unpacker = Some(unpacker);
        if let Some(outer) = outer {
            self.leave(kept, whole, depth, outer);
        }
    }

    /// Goes to a place inside of the one where it is, and looks at the names that lead there.
    fn enter(&mut self, way: &[String], nameless: bool) -> String {
        let outer = self.search.go_to(String::new());
        let mut place = outer.clone();
        for name in way {
            place.push_str(" (");
            place.push_str(name);
            place.push(')');
        }
        if nameless {
            place.push_str(" (unpacked)");
        }
        self.search.go_to(place);
        for name in way {
            self.spend(name.len() as u64);
            self.search.feed(name.as_bytes());
            self.search.finish_file();
        }
        outer
    }

    /// Ends a file in a file, which was read as far as possible.
    fn leave(&mut self, mut kept: Kept, whole: bool, depth: usize, outer: String) {
        self.search.finish_file();
        match kept.take() {
            None => self.search.not_searched(Bound::Size),
            Some(bytes) if depth < MAX_DEPTH => self.file(&bytes, depth + 1),
            // Bytes that only begin like a stream are in many files.
            Some(_) if whole => self.search.not_searched(Bound::Depth),
            Some(_) => {}
        }
        self.search.go_to(outer);
    }

    /// Searches what its text encodes.
    fn encodings(&mut self, bytes: &[u8], depth: usize) {
        if depth == MAX_DEPTH {
            // Reported only for a text with an encoded text in it; escapes are in bytes of all kinds.
            if std::str::from_utf8(bytes).is_ok_and(goes_on) {
                self.search.not_searched(Bound::Depth);
            }
            return;
        }
        for decoded in encoded::base64(bytes) {
            self.base64(&decoded, depth);
        }
        for decoded in encoded::hexadecimal(bytes) {
            self.decoded(&decoded, depth);
        }
        self.decoded(&encoded::decimal(bytes), depth);
        self.decoded(&encoded::narrow(bytes), depth);
        self.decoded(&encoded::without_escapes(bytes, self.reach), depth);
        if memmem::find(bytes, b"=\n").is_some()
            || memmem::find(bytes, b"=\r\n").is_some()
            || memmem::find(bytes, b"=3D").is_some()
        {
            self.decoded(&encoded::without_quoting(bytes, self.reach), depth);
        }
    }

    /// Any word is base64 of something. A secret in it, as it is, has been found by its base64; so streams are
    /// looked for, and text.
    fn base64(&mut self, bytes: &[u8], depth: usize) {
        if bytes.len() < SHORTEST || !self.spend(bytes.len() as u64) {
            return;
        }
        self.streams(bytes, depth + 1);
        self.decoded(&encoded::texts(bytes), depth);
    }

    fn decoded(&mut self, bytes: &[u8], depth: usize) {
        if bytes.len() < SHORTEST || self.left == 0 || self.search.is_done() {
            return;
        }
        for piece in bytes.chunks(PIECE) {
            self.search.feed(piece);
        }
        self.search.finish_file();
        self.file(bytes, depth + 1);
    }
}

/// Whether a text has another one encoded in it.
fn goes_on(text: &str) -> bool {
    let bytes = text.as_bytes();
    let bases = encoded::base64(bytes).into_iter();
    let others = encoded::hexadecimal(bytes).into_iter().chain([
        encoded::decimal(bytes),
        encoded::narrow(bytes),
        encoded::without_escapes(bytes, 0),
    ]);
    bases
        .map(|decoded| encoded::texts(&decoded))
        .chain(others)
        .any(|decoded| !decoded.is_empty())
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Where the members of a tar file lie: what is in them needs no unpacking, but has a name.
fn members_of_tar(bytes: &[u8]) -> Members {
    let is_tar = bytes
        .get(TAR_MAGIC.0..)
        .is_some_and(|rest| rest.starts_with(TAR_MAGIC.1));
    let mut found = Vec::new();
    if !is_tar {
        return found;
    }
    let mut archive = tar::Archive::new(bytes);
    for entry in archive.entries().into_iter().flatten() {
        let Ok(entry) = entry else {
            break;
        };
        let start = usize::try_from(entry.raw_file_position()).unwrap_or(usize::MAX);
        let size = usize::try_from(entry.size()).unwrap_or(usize::MAX);
        found.push((
            start..start.saturating_add(size),
            lossy(&entry.path_bytes()),
        ));
    }
    found
}

/// The same of members of zip files that are not compressed.
fn stored_members(bytes: &[u8]) -> Members {
    let headers = memmem::find_iter(bytes, b"PK\x03\x04");
    headers
        .filter_map(|at| {
            let (name, range) = stored(&bytes[at..])?;
            Some((at + range.start..at + range.end, lossy(name)))
        })
        .collect()
}
