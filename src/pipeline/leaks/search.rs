//! Looks for patterns in one file after the other, piece by piece.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::layer::{Member, MemberKind, Witness};
use crate::progress::shown;

use super::super::error::BuildError;
use super::super::secrets::Form;
use super::super::unsearched::{Bound, Note};
use super::Leaks;
use super::inside::{self, Kept, Sink};
use super::unwrap::{Decoder, Unwrapper};

/// Which secret a pattern is of, and how it is written.
type Owner = (usize, Form);

/// Patterns that are looked for in one reading of a text.
pub(super) struct Patterns {
    machine: AhoCorasick,
    owners: Vec<Owner>,
    longest: usize,
}

impl Patterns {
    pub(super) fn new(mut patterns: Vec<(Vec<u8>, Owner)>) -> Option<Self> {
        patterns.retain(|(bytes, _)| !bytes.is_empty());
        patterns.sort();
        patterns.dedup_by(|a, b| a.0 == b.0);
        let longest = patterns.iter().map(|(bytes, _)| bytes.len()).max()?;
        let machine = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .build(patterns.iter().map(|(bytes, _)| bytes))
            .ok()?;
        Some(Self {
            machine,
            owners: patterns.into_iter().map(|(_, owner)| owner).collect(),
            longest,
        })
    }
}

/// A stream that is searched piece by piece: the end of one piece is kept for the next.
struct Stream<'a> {
    patterns: &'a Patterns,
    kept: Vec<u8>,
}

impl Stream<'_> {
    fn feed(&mut self, bytes: &[u8]) -> Option<Owner> {
        self.kept.extend_from_slice(bytes);
        let found = self.patterns.machine.find(&self.kept);
        let rest = self.kept.len().saturating_sub(self.patterns.longest - 1);
        self.kept.drain(..rest);
        found.map(|found| self.patterns.owners[found.pattern().as_usize()])
    }
}

fn stream(patterns: Option<&Patterns>) -> Option<Stream<'_>> {
    patterns.map(|patterns| Stream {
        patterns,
        kept: Vec::new(),
    })
}

/// Looks for the secrets in one file after the other.
pub(in super::super) struct Search<'a> {
    leaks: &'a Leaks,
    plain: Option<Stream<'a>>,
    unwrapped: Option<Stream<'a>>,
    decoded: Option<Stream<'a>>,
    unwrapper: Unwrapper,
    decoder: Decoder,
    place: String,
    /// The file of the layer that the place is in.
    file: String,
    found: Option<(Owner, String)>,
    buffer: Vec<u8>,
    /// The bytes of a file that may hold others.
    archive: Kept,
    /// What was not looked through.
    notes: Vec<Note>,
}

impl<'a> Search<'a> {
    pub(super) fn new(leaks: &'a Leaks) -> Self {
        Self {
            leaks,
            plain: stream(leaks.plain.as_ref()),
            unwrapped: stream(leaks.unwrapped.as_ref()),
            decoded: stream(leaks.decoded.as_ref()),
            unwrapper: Unwrapper::default(),
            decoder: Decoder::default(),
            place: String::new(),
            file: String::new(),
            found: None,
            buffer: Vec::new(),
            archive: Kept::default(),
            notes: Vec::new(),
        }
    }

    /// The next file begins.
    pub(super) fn file(&mut self, path: &Path) {
        self.place = format!("/{}", path.display());
        self.file.clone_from(&self.place);
        self.archive = Kept::default();
        self.feed(path.as_os_str().as_bytes());
        self.finish_file();
    }

    /// What a link leads to.
    pub(super) fn target(&mut self, target: &Path) {
        self.feed(target.as_os_str().as_bytes());
        self.finish_file();
    }

    /// A whole document, not one of a layer.
    pub(super) fn document(&mut self, place: &str, bytes: &[u8]) {
        place.clone_into(&mut self.place);
        self.file.clone_from(&self.place);
        self.feed(bytes);
        self.finish_file();
        inside::look(self, bytes);
    }

    /// What was not looked through, until now.
    pub(in super::super) fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// An error if anything was found.
    pub(in super::super) fn verdict(&self) -> Result<(), BuildError> {
        let Some(((owner, form), place)) = &self.found else {
            return Ok(());
        };
        Err(BuildError::SecretInImage {
            secret: self.leaks.names[*owner].clone(),
            // A name of a file may have the secret in it.
            place: self.leaks.redactor.clean(&shown(place)),
            form: form.words(),
        })
    }
}

impl Sink for Search<'_> {
    fn feed(&mut self, bytes: &[u8]) {
        if self.found.is_some() {
            return;
        }
        let mut found = None;
        if let Some(stream) = &mut self.plain {
            found = stream.feed(bytes);
        }
        if let Some(stream) = &mut self.unwrapped {
            self.buffer.clear();
            self.unwrapper.feed(bytes, &mut self.buffer);
            let other = stream.feed(&self.buffer);
            found = found.or(other);
        }
        if let Some(stream) = &mut self.decoded {
            let other = stream.feed(&self.decoder.feed(bytes));
            found = found.or(other);
        }
        self.found = found.map(|owner| (owner, self.place.clone()));
    }

    fn finish_file(&mut self) {
        let rest = self.decoder.finish();
        if let (Some(stream), None) = (&mut self.decoded, &self.found)
            && let Some(owner) = stream.feed(&rest)
        {
            self.found = Some((owner, self.place.clone()));
        }
        self.unwrapper = Unwrapper::default();
        for stream in [&mut self.plain, &mut self.unwrapped, &mut self.decoded]
            .into_iter()
            .flatten()
        {
            stream.kept.clear();
        }
    }

    fn go_to(&mut self, place: String) -> String {
        std::mem::replace(&mut self.place, place)
    }

    fn is_done(&self) -> bool {
        // What an interrupted build has written is not kept.
        self.found.is_some() || crate::sandbox::interrupted()
    }

    fn not_searched(&mut self, because: Bound) {
        let place = self.leaks.redactor.clean(&shown(&self.file));
        let note = Note { because, place };
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    fn longest(&self) -> usize {
        let all = [&self.plain, &self.unwrapped, &self.decoded];
        let lengths = all
            .into_iter()
            .flatten()
            .map(|stream| stream.patterns.longest);
        lengths.max().unwrap_or(0)
    }
}

impl Witness for Search<'_> {
    fn member(&mut self, member: &Member) {
        self.file(&member.path);
        if let MemberKind::Symlink(target) | MemberKind::HardLink(target) = &member.kind {
            self.target(Path::new(target));
        }
        for value in member.xattrs.values() {
            self.feed(value);
            self.finish_file();
            inside::look(self, value);
        }
    }

    fn content(&mut self, bytes: &[u8]) {
        self.feed(bytes);
        self.archive.push(bytes);
    }

    fn end(&mut self) {
        self.finish_file();
        match self.archive.take() {
            Some(bytes) => inside::look(self, &bytes),
            None => self.not_searched(Bound::Size),
        }
    }
}
