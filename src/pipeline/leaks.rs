//! No secret of the build in the image: every new layer is searched while it is written, and the
//! configuration before it is.
//!
//! A secret is looked for as it is, with the line ends of another system or of a string literal, in
//! base64 (RFC 4648, both alphabets) wherever in a longer text it may begin and however its lines are
//! wrapped, and with any of its characters percent-encoded (RFC 3986). What was compressed, encrypted
//! or hashed with it is not found, nor are secrets of fewer than [`LEAST`] bytes: they would be found
//! everywhere.
//!
//! A find is an error that names the file, never the bytes.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use crate::layer::{Member, MemberKind, Witness};
use crate::progress::printable;

use super::environment::{self, Redactor};
use super::error::BuildError;
use super::request::Request;

/// Shorter secrets are not looked for, in bytes.
pub(super) const LEAST: usize = 8;

/// A password of an index's or a proxy's URL is looked for from this length on: nobody said that it
/// is a secret that stands nowhere by chance.
const LEAST_PASSWORD: usize = 12;

/// How a secret was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Base64,
    UrlEncoded,
}

impl Form {
    fn words(self) -> &'static str {
        match self {
            Self::Plain => "as it is",
            Self::Base64 => "in base64",
            Self::UrlEncoded => "percent-encoded",
        }
    }
}

/// Patterns of one form, and whose each is.
struct Patterns {
    machine: AhoCorasick,
    owners: Vec<usize>,
    longest: usize,
}

impl Patterns {
    fn new(mut patterns: Vec<(Vec<u8>, usize)>) -> Option<Self> {
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
    fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        self.kept.extend_from_slice(bytes);
        let found = self.patterns.machine.find(&self.kept);
        let rest = self.kept.len().saturating_sub(self.patterns.longest - 1);
        self.kept.drain(..rest);
        found.map(|found| self.patterns.owners[found.pattern().as_usize()])
    }
}

/// The secrets of a build, ready to be looked for.
pub(super) struct Leaks {
    names: Vec<String>,
    plain: Option<Patterns>,
    base64: Option<Patterns>,
    decoded: Option<Patterns>,
    redactor: Redactor,
}

impl Leaks {
    pub(super) fn new(request: &Request) -> Self {
        Self::of(secrets(request), Redactor::new(request))
    }

    /// What is looked for in what an S2I builder's scripts left: besides the secrets, the credentials
    /// in variables that the caller has passed to them.
    pub(super) fn of_scripts(request: &Request) -> Self {
        let mut all = secrets(request);
        for (option, variables) in [("--build-env", &request.build_env), ("-e", &request.env)] {
            for (name, value) in variables {
                for word in environment::credentials_in(value) {
                    all.push((format!("the login in {option} {name}"), word.into_bytes()));
                }
                let value = value.trim();
                if option == "--build-env"
                    && environment::is_secret(name)
                    && value.len() >= LEAST_PASSWORD
                {
                    all.push((format!("the value of {option} {name}"), value.into()));
                }
            }
        }
        Self::of(all, Redactor::new(request))
    }

    fn of(secrets: Vec<(String, Vec<u8>)>, redactor: Redactor) -> Self {
        let (mut plain, mut base64, mut decoded) = (Vec::new(), Vec::new(), Vec::new());
        let mut names = Vec::new();
        for (name, secret) in secrets {
            if secret.len() < LEAST {
                continue;
            }
            let owner = names.len();
            names.push(name);
            for variant in variants(&secret) {
                for pattern in encoded(&variant) {
                    base64.push((pattern, owner));
                }
                if variant.contains(&b' ') {
                    let pluses = variant.iter().map(|&b| if b == b' ' { b'+' } else { b });
                    decoded.push((pluses.collect(), owner));
                }
                decoded.push((variant.clone(), owner));
                plain.push((variant, owner));
            }
        }
        Self {
            names,
            plain: Patterns::new(plain),
            base64: Patterns::new(base64),
            decoded: Patterns::new(decoded),
            redactor,
        }
    }

    /// Somebody who watches a layer being written; nobody where there is nothing to look for.
    pub(super) fn search(&self) -> Option<Search<'_>> {
        (!self.names.is_empty()).then(|| Search::new(self))
    }

    /// Looks through a document that is not a layer.
    pub(super) fn check(&self, place: &str, bytes: &[u8]) -> Result<(), BuildError> {
        let Some(mut search) = self.search() else {
            return Ok(());
        };
        place.clone_into(&mut search.place);
        search.feed(bytes);
        search.finish_file();
        search.verdict()
    }

    /// A word for each secret that is too short to be looked for.
    pub(super) fn too_short(request: &Request) -> Vec<String> {
        request
            .secrets
            .iter()
            .filter(|secret| secret.contents.trim_ascii().len() < LEAST)
            .map(|secret| {
                format!(
                    "the secret `{}` has fewer than {LEAST} bytes: the image is not searched for it",
                    secret.id
                )
            })
            .collect()
    }
}

/// What is looked for in images of all kinds, with its name.
fn secrets(request: &Request) -> Vec<(String, Vec<u8>)> {
    let mut secrets: Vec<(String, Vec<u8>)> = Vec::new();
    for secret in &request.secrets {
        let whole = secret.contents.trim_ascii();
        secrets.push((format!("the secret `{}`", secret.id), whole.to_vec()));
        for word in environment::passwords(&String::from_utf8_lossy(&secret.contents)) {
            if word.len() >= LEAST {
                secrets.push((
                    format!("a password in the secret `{}`", secret.id),
                    word.into_bytes(),
                ));
            }
        }
    }
    for (name, value) in &request.host_env {
        for word in environment::passwords(value) {
            if word.len() >= LEAST_PASSWORD {
                secrets.push((format!("the password in {name}"), word.into_bytes()));
            }
        }
    }
    secrets
}

/// The secret as it may stand in a text: with line feeds, with CR LF, and as string literals of JSON,
/// Python and shells have it.
fn variants(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut variants = vec![secret.to_vec()];
    if let Ok(text) = std::str::from_utf8(secret) {
        let unix = text.replace("\r\n", "\n");
        variants.push(unix.replace('\n', "\r\n").into_bytes());
        variants.push(unix.replace('\n', "\\n").into_bytes());
        if let Ok(json) = serde_json::to_string(&unix) {
            variants.push(json.as_bytes()[1..json.len() - 1].to_vec());
        }
        variants.push(unix.into_bytes());
    }
    variants.sort();
    variants.dedup();
    variants
}

/// What of the secret's base64 does not depend on the bytes around it, for each of the three places
/// in a group of three bytes where it may begin.
fn encoded(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for before in 0..3_usize {
        let mut padded = vec![0; before];
        padded.extend_from_slice(secret);
        // Characters that hold a bit of what stands before; whole ones before what comes after.
        let first = (before * 8).div_ceil(6);
        let last = padded.len() * 8 / 6;
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let text = engine.encode(&padded);
            found.push(text.as_bytes()[first..last].to_vec());
        }
    }
    found.sort();
    found.dedup();
    found
}

/// What is left out of text before base64 is looked for in it: white space, quotation marks, and
/// the line ends of string literals.
#[derive(Default)]
struct Unwrapper {
    backslash: bool,
}

impl Unwrapper {
    fn feed(&mut self, bytes: &[u8], into: &mut Vec<u8>) {
        for &byte in bytes {
            let escaped = std::mem::replace(&mut self.backslash, byte == b'\\');
            match byte {
                b'\n' | b'\r' | b' ' | b'\t' | b'"' | b'\'' | b'\\' => {}
                b'n' | b'r' if escaped => {}
                _ => into.push(byte),
            }
        }
    }
}

/// Takes percent-encoding back, also where a piece ends within one.
#[derive(Default)]
struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    fn feed<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.pending.is_empty() && !bytes.contains(&b'%') {
            return Cow::Borrowed(bytes);
        }
        let mut out = Vec::with_capacity(bytes.len() + 2);
        for &byte in bytes {
            match (self.pending.len(), byte) {
                (0, b'%') => self.pending.push(byte),
                (0, _) => out.push(byte),
                (1, _) if byte.is_ascii_hexdigit() => self.pending.push(byte),
                (2, _) if byte.is_ascii_hexdigit() => {
                    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0);
                    let value = digit(self.pending[1]) * 16 + digit(byte);
                    out.push(u8::try_from(value).unwrap_or(0));
                    self.pending.clear();
                }
                _ => {
                    out.append(&mut self.pending);
                    if byte == b'%' {
                        self.pending.push(byte);
                    } else {
                        out.push(byte);
                    }
                }
            }
        }
        Cow::Owned(out)
    }

    fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.pending)
    }
}

/// Looks for the secrets in one file after the other.
pub(super) struct Search<'a> {
    leaks: &'a Leaks,
    plain: Option<Stream<'a>>,
    base64: Option<Stream<'a>>,
    decoded: Option<Stream<'a>>,
    unwrapper: Unwrapper,
    decoder: Decoder,
    place: String,
    found: Option<(usize, Form, String)>,
    buffer: Vec<u8>,
}

fn stream(patterns: Option<&Patterns>) -> Option<Stream<'_>> {
    patterns.map(|patterns| Stream {
        patterns,
        kept: Vec::new(),
    })
}

impl<'a> Search<'a> {
    fn new(leaks: &'a Leaks) -> Self {
        Self {
            leaks,
            plain: stream(leaks.plain.as_ref()),
            base64: stream(leaks.base64.as_ref()),
            decoded: stream(leaks.decoded.as_ref()),
            unwrapper: Unwrapper::default(),
            decoder: Decoder::default(),
            place: String::new(),
            found: None,
            buffer: Vec::new(),
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        if self.found.is_some() {
            return;
        }
        let mut found = None;
        if let Some(stream) = &mut self.plain {
            found = stream.feed(bytes).map(|owner| (owner, Form::Plain));
        }
        if let Some(stream) = &mut self.base64 {
            self.buffer.clear();
            self.unwrapper.feed(bytes, &mut self.buffer);
            let other = stream.feed(&self.buffer);
            found = found.or(other.map(|owner| (owner, Form::Base64)));
        }
        if let Some(stream) = &mut self.decoded {
            let other = stream.feed(&self.decoder.feed(bytes));
            found = found.or(other.map(|owner| (owner, Form::UrlEncoded)));
        }
        self.found = found.map(|(owner, form)| (owner, form, self.place.clone()));
    }

    /// Nothing of one file joins with the next.
    fn finish_file(&mut self) {
        let rest = self.decoder.finish();
        if let (Some(stream), None) = (&mut self.decoded, &self.found)
            && let Some(owner) = stream.feed(&rest)
        {
            self.found = Some((owner, Form::UrlEncoded, self.place.clone()));
        }
        self.unwrapper = Unwrapper::default();
        for stream in [&mut self.plain, &mut self.base64, &mut self.decoded]
            .into_iter()
            .flatten()
        {
            stream.kept.clear();
        }
    }

    /// An error if anything was found.
    pub(super) fn verdict(&self) -> Result<(), BuildError> {
        let Some((owner, form, place)) = &self.found else {
            return Ok(());
        };
        Err(BuildError::SecretInImage {
            secret: self.leaks.names[*owner].clone(),
            // A name of a file may have the secret in it.
            place: self.leaks.redactor.clean(&printable(place)),
            form: form.words(),
        })
    }
}

impl Witness for Search<'_> {
    fn member(&mut self, member: &Member) {
        self.place = format!("/{}", member.path.display());
        self.feed(member.path.as_os_str().as_bytes());
        self.finish_file();
        if let MemberKind::Symlink(target) | MemberKind::HardLink(target) = &member.kind {
            self.feed(Path::new(target).as_os_str().as_bytes());
            self.finish_file();
        }
        for value in member.xattrs.values() {
            self.feed(value);
            self.finish_file();
        }
    }

    fn content(&mut self, bytes: &[u8]) {
        self.feed(bytes);
    }

    fn end(&mut self) {
        self.finish_file();
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use proptest::prelude::*;

    const SECRET: &[u8] = b"hunter2:correct horse/battery?staple=100%&more";

    fn leaks(secret: &[u8]) -> Leaks {
        Leaks::of(
            vec![("the secret `it`".into(), secret.to_vec())],
            Redactor::of(vec![String::from_utf8_lossy(secret).into_owned()]),
        )
    }

    /// Finds it when fed in pieces of this size.
    fn finds(leaks: &Leaks, text: &[u8], piece: usize) -> bool {
        let mut search = leaks.search().unwrap();
        for piece in text.chunks(piece) {
            search.content(piece);
        }
        search.end();
        search.verdict().is_err()
    }

    fn percent(secret: &[u8], lower: bool) -> Vec<u8> {
        let mut out = String::new();
        for byte in secret {
            if byte.is_ascii_alphanumeric() {
                out.push(char::from(*byte));
            } else if lower {
                write!(out, "%{byte:02x}").unwrap();
            } else {
                write!(out, "%{byte:02X}").unwrap();
            }
        }
        out.into_bytes()
    }

    fn wrapped(text: &str, width: usize, end: &str) -> Vec<u8> {
        let lines: Vec<&str> = text
            .as_bytes()
            .chunks(width)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        lines.join(end).into_bytes()
    }

    /// All the ways in which it may stand in a file.
    fn hidden(secret: &[u8]) -> Vec<Vec<u8>> {
        let mut texts = vec![
            secret.to_vec(),
            percent(secret, true),
            percent(secret, false),
            String::from_utf8_lossy(&percent(secret, false))
                .replace("%20", "+")
                .into_bytes(),
        ];
        for before in 0..4 {
            let mut bytes = vec![b'x'; before];
            bytes.extend_from_slice(secret);
            bytes.extend_from_slice(b"tail");
            for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                let text = engine.encode(&bytes);
                for (width, end) in [
                    (4, "\n"),
                    (19, "\r\n"),
                    (76, "\n"),
                    (20, "\\n"),
                    (17, "'\n '"),
                ] {
                    texts.push(wrapped(&text, width, end));
                }
                texts.push(text.into_bytes());
            }
        }
        texts
    }

    #[test]
    fn a_secret_is_found_in_every_form_and_across_every_edge() {
        let leaks = leaks(SECRET);
        for text in hidden(SECRET) {
            let mut file = b"some text before it: ".to_vec();
            file.extend_from_slice(&text);
            file.extend_from_slice(b"\nand after it\n");
            for piece in [1, 2, 3, 7, 16, 31, 1 << 20] {
                assert!(
                    finds(&leaks, &file, piece),
                    "{} in pieces of {piece}",
                    String::from_utf8_lossy(&file)
                );
            }
            // The twin: one byte of it is another.
            let middle = file.len() / 2;
            let mut twin = file.clone();
            twin[middle] = if twin[middle] == b'Q' { b'R' } else { b'Q' };
            assert!(
                !finds(&leaks, &twin, 16),
                "{}",
                String::from_utf8_lossy(&twin)
            );
        }
        assert!(!finds(&leaks, &SECRET[..SECRET.len() - 1], 16));
    }

    #[test]
    fn lines_may_end_in_other_ways() {
        let key = b"-----BEGIN X-----\nabcdefgh\nijklmnop\n-----END X-----";
        let leaks = leaks(key);
        let text = std::str::from_utf8(key).unwrap();
        assert!(finds(&leaks, text.replace('\n', "\r\n").as_bytes(), 5));
        assert!(finds(&leaks, format!("{text:?}").as_bytes(), 5));
        assert!(!finds(&leaks, text.replace('\n', "").as_bytes(), 5));
    }

    #[test]
    fn eight_bytes_are_enough_and_seven_are_not() {
        let eight = leaks(b"8 bytes!");
        for text in hidden(b"8 bytes!") {
            assert!(
                finds(&eight, &text, 3),
                "{}",
                String::from_utf8_lossy(&text)
            );
        }
        assert!(leaks(b"7 bytes").search().is_none());
    }

    #[test]
    fn two_files_are_two_and_names_count() {
        let leaks = leaks(SECRET);
        let mut search = leaks.search().unwrap();
        let member = |path: &[u8], kind| Member {
            path: std::ffi::OsStr::from_bytes(path).into(),
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: 0,
            nanos: 0,
            size: 0,
            xattrs: std::collections::BTreeMap::new(),
        };
        let half = SECRET.len() / 2;
        for part in [&SECRET[..half], &SECRET[half..]] {
            search.member(&member(b"a", MemberKind::File));
            search.content(part);
            search.end();
        }
        assert!(search.verdict().is_ok());
        let link = MemberKind::Symlink(std::ffi::OsStr::from_bytes(SECRET).into());
        search.member(&member(b"etc/link", link));
        let told = search.verdict().unwrap_err().to_string();
        assert!(
            told.contains("/etc/link") && !told.contains("hunter2"),
            "{told}"
        );

        let mut search = leaks.search().unwrap();
        let name = [b"etc/", SECRET].concat();
        search.member(&member(&name, MemberKind::File));
        let told = search.verdict().unwrap_err().to_string();
        assert!(
            told.contains("/etc/****") && !told.contains("hunter2"),
            "{told}"
        );
    }

    proptest! {
        #[test]
        fn any_secret_is_found_in_any_bytes(
            secret in prop::collection::vec(any::<u8>(), LEAST..60),
            before in prop::collection::vec(any::<u8>(), 0..50),
            piece in 1_usize..40,
        ) {
            prop_assume!(secret.trim_ascii().len() >= LEAST);
            let leaks = leaks(&secret);
            let plain = [&before[..], &secret, b"end"].concat();
            prop_assert!(finds(&leaks, &plain, piece));
            let encoded = STANDARD_NO_PAD.encode(&plain);
            prop_assert!(finds(&leaks, &wrapped(&encoded, 7, "\n"), piece));
            prop_assert!(finds(&leaks, &percent(&plain, true), piece));
        }
    }
}
