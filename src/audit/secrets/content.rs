//! Searches a stream for tokens and keys, in one pass and a bounded amount of memory.

use std::sync::OnceLock;

use aho_corasick::packed;
use aho_corasick::{AhoCorasick, Input, Match, MatchKind, Span};

use super::SecretKind;
use super::tokens::{self, FORMS, Form, REACH};

/// Bytes that are searched at once; [`REACH`] bytes are kept from one round to the next.
const WINDOW: usize = 128 * 1024;

/// Different kinds that are kept of one stream.
const MAX_KINDS: usize = 16;

/// Longest beginning of a prefix that is looked for: few of these, and none very short, are found by
/// vector instructions, ten times as fast as all whole prefixes.
const STEM: usize = 8;
const SHORT: usize = 3;
/// What the labels of keys in PEM form have in common, and where.
const LABEL: (usize, &str) = (5, "BEGIN ");

/// Some beginnings of forms, looked for together.
struct Stems {
    search: Search,
    /// Of each pattern.
    of: Vec<Stem>,
    /// In UTF-16.
    wide: bool,
}

struct Stem {
    /// How many bytes of a form stand before it.
    offset: usize,
    forms: Vec<&'static Form>,
}

impl Stems {
    fn of(forms: impl Iterator<Item = &'static Form>, wide: bool) -> Option<Self> {
        let mut patterns: Vec<Vec<u8>> = Vec::new();
        let mut of: Vec<Stem> = Vec::new();
        for form in forms {
            let (offset, text) = stem(form);
            let (offset, text) = if wide {
                (2 * offset, tokens::wide(text))
            } else {
                (offset, text.as_bytes().to_vec())
            };
            if let Some(known) = patterns.iter().position(|known| *known == text) {
                of[known].forms.push(form);
            } else {
                patterns.push(text);
                let forms = vec![form];
                of.push(Stem { offset, forms });
            }
        }
        Some(Self {
            search: Search::of(&patterns)?,
            of,
            wide,
        })
    }
}

/// The automaton would look for one rare byte first, which in UTF-16 is zero: half of a program's bytes.
/// So the vector instructions are asked by themselves, where the machine has them.
enum Search {
    Packed(packed::Searcher),
    Automaton(AhoCorasick),
}

impl Search {
    fn of(patterns: &[Vec<u8>]) -> Option<Self> {
        let packed = packed::Config::new()
            .match_kind(packed::MatchKind::LeftmostFirst)
            .builder()
            .extend(patterns)
            .build();
        // A single pattern is searched for in a way of its own.
        if let Some(packed) = packed.filter(|_| patterns.len() > 1) {
            return Some(Self::Packed(packed));
        }
        let mut automaton = AhoCorasick::builder();
        let automaton = automaton.match_kind(MatchKind::LeftmostFirst);
        Some(Self::Automaton(automaton.build(patterns).ok()?))
    }

    fn find(&self, text: &[u8], from: usize) -> Option<Match> {
        match self {
            Self::Packed(packed) => packed.find_in(text, Span::from(from..text.len())),
            Self::Automaton(automaton) => automaton.find(Input::new(text).range(from..)),
        }
    }
}

/// Where in the prefix of a form its stem begins, and the stem.
fn stem(form: &Form) -> (usize, &'static str) {
    let (offset, label) = LABEL;
    let prefix = form.prefix;
    match prefix.get(offset..offset + label.len()) {
        Some(text) if text == label => (offset, text),
        _ => (0, prefix.get(..STEM).unwrap_or(prefix)),
    }
}

/// `None` if the constant table did not give automatons; a test makes sure that it does.
fn stems() -> Option<&'static [Stems; 3]> {
    static STEMS: OnceLock<Option<[Stems; 3]>> = OnceLock::new();
    let is_short = |form: &&Form| form.prefix.len() < SHORT;
    STEMS
        .get_or_init(|| {
            Some([
                Stems::of(FORMS.iter().filter(|form| !is_short(form)), false)?,
                Stems::of(FORMS.iter().filter(is_short), false)?,
                Stems::of(FORMS.iter(), true)?,
            ])
        })
        .as_ref()
}

/// Takes a stream's bytes as they come, and reports the kinds of secrets in it.
pub(crate) struct Scanner {
    /// The byte before `window`, then bytes that are not searched yet.
    window: Vec<u8>,
    before: Option<u8>,
    found: Vec<SecretKind>,
}

impl Scanner {
    pub(crate) fn new() -> Self {
        Self {
            window: Vec::with_capacity(WINDOW + REACH),
            before: None,
            found: Vec::new(),
        }
    }

    /// Prepares it for another stream; keeps the memory.
    pub(crate) fn reset(&mut self) {
        self.window.clear();
        self.before = None;
        self.found.clear();
    }

    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = (WINDOW + REACH).saturating_sub(self.window.len());
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.window.extend_from_slice(now);
            bytes = later;
            if self.window.len() >= WINDOW + REACH {
                self.search(false);
            }
        }
    }

    /// The kinds that were found, each once. The scanner is ready for another stream.
    pub(crate) fn finish(&mut self) -> Vec<SecretKind> {
        self.search(true);
        let mut found = std::mem::take(&mut self.found);
        found.sort_unstable();
        found.dedup();
        self.reset();
        found
    }

    /// Searches the window; a match that begins in its last bytes waits for what follows.
    fn search(&mut self, last: bool) {
        let end = if last {
            self.window.len()
        } else {
            self.window.len().saturating_sub(REACH)
        };
        for stems in stems().into_iter().flatten() {
            self.search_for(stems, end);
        }
        if let Some(at) = end.checked_sub(1) {
            self.before = self.window.get(at).copied();
        }
        self.window.drain(..end);
    }

    fn search_for(&mut self, stems: &Stems, end: usize) {
        let mut from = 0;
        while let Some(found) = stems.search.find(&self.window, from) {
            from = found.end();
            let Some(stem) = stems.of.get(found.pattern().as_usize()) else {
                continue;
            };
            let Some(start) = found.start().checked_sub(stem.offset) else {
                continue;
            };
            if start >= end || self.found.len() >= MAX_KINDS {
                break;
            }
            let text = &self.window[start..];
            let width = 1 + usize::from(stems.wide);
            let before = match start.checked_sub(width) {
                Some(at) => self.window.get(at).copied(),
                None if stems.wide => None,
                None => self.before,
            };
            let narrowed = stems.wide.then(|| narrow(text));
            let text = narrowed.as_deref().unwrap_or(text);
            let fits = |form: &&&Form| {
                !self.found.contains(&form.kind)
                    && text.starts_with(form.prefix.as_bytes())
                    && form.fits(before, text)
            };
            if let Some(form) = stem.forms.iter().find(fits) {
                self.found.push(form.kind);
            }
        }
    }
}

/// The letters of UTF-16 text, as far as they are ASCII.
fn narrow(text: &[u8]) -> Vec<u8> {
    text.chunks(2)
        .take(REACH / 2)
        .take_while(|pair| pair.get(1).is_none_or(|high| *high == 0))
        .map(|pair| pair[0])
        .collect()
}

#[cfg(test)]
pub(in super::super) mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// False secrets, put together here so that scanners of repositories do not report them.
    pub(in super::super::super) fn samples() -> Vec<(SecretKind, String)> {
        let body = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5k";
        let digits = |text: &str| {
            text.bytes().fold(String::new(), |mut digits, byte| {
                let _ = write!(digits, "{byte:02x}");
                digits
            })
        };
        vec![
            (
                SecretKind::Token("GitHub"),
                format!("ghp{}{}", "_", &body[..36]),
            ),
            (
                SecretKind::Token("AWS"),
                format!("AK{}", "IAQ3EGRT5UZ7PX2LMN"),
            ),
            (
                SecretKind::Token("GitLab"),
                format!("glpat{}{}", "-", &body[..20]),
            ),
            (
                SecretKind::PrivateKey,
                format!("-----BEGIN RSA {}-----\n{body}{body}\n", "PRIVATE KEY"),
            ),
            (
                SecretKind::PrivateKey,
                format!("-----BEGIN {}-----\\n{body}{body}\\n", "PRIVATE KEY"),
            ),
            (
                SecretKind::PrivateKey,
                format!("-----BEGIN {}-----{body}{body}-----END", "PRIVATE KEY"),
            ),
            (
                SecretKind::PrivateKey,
                format!("# -----BEGIN {}-----\n# {body}\n# {body}\n", "PRIVATE KEY"),
            ),
            (
                SecretKind::PrivateKey,
                format!(
                    "  // -----BEGIN {}-----\n  // {body}\n  // {body}\n",
                    "PRIVATE KEY"
                ),
            ),
            (
                SecretKind::PrivateKey,
                format!(
                    ">> -----BEGIN {}-----\r\n>> {body}\r\n>> {body}\r\n",
                    "PRIVATE KEY"
                ),
            ),
            (
                SecretKind::PrivateKey,
                format!(
                    "-----BEGIN {}----- {body} {body} -----END",
                    "EC PRIVATE KEY"
                ),
            ),
            (
                SecretKind::PrivateKey,
                format!(
                    "-----BEGIN {}-----\\\\n{}\\\\n{body}",
                    "PRIVATE KEY",
                    &body[..20]
                ),
            ),
            (
                SecretKind::PrivateKey,
                format!(
                    "-----BEGIN {}-----\\n\" \"{body}\\n\" \"{body}",
                    "PRIVATE KEY"
                ),
            ),
            (
                SecretKind::PrivateKey,
                format!(
                    "LS0tLS1CRUdJTiBQ{}{body}{body}{body}",
                    "UklWQVRFIEtFWS0tLS0t"
                ),
            ),
            (
                SecretKind::PrivateKey,
                format!(
                    "LS0tLS1CRUdJTiBQ{}{body}\n{body}\n{body}\n",
                    "UklWQVRFIEtFWS0tLS0t"
                ),
            ),
            (
                SecretKind::PrivateKey,
                format!(
                    "-----BEGIN%20RSA%20{}-----%0A{body}%0A{body}",
                    "PRIVATE%20KEY"
                ),
            ),
            (
                SecretKind::PrivateKey,
                format!("-----BEGIN+{}-----%0D%0A{body}%2B{body}", "PRIVATE+KEY"),
            ),
            (
                SecretKind::PrivateKey,
                format!("-----BEGIN {}-----&#10;{body}&#10;{body}", "PRIVATE KEY"),
            ),
            (
                SecretKind::PrivateKey,
                format!(
                    "&#45;&#45;&#45;&#45;&#45;BEGIN&#32;{}&#45;&#45;&#45;&#45;&#45;&#10;{body}{body}",
                    "PRIVATE&#32;KEY"
                ),
            ),
            (
                SecretKind::PrivateKey,
                format!(
                    "-----BEGIN\\u0020{}-----\\u000a{body}\\u000a{body}",
                    "PRIVATE\\u0020KEY"
                ),
            ),
            (
                SecretKind::PrivateKey,
                digits(&format!(
                    "-----BEGIN {}-----\n{body}\n{body}",
                    "PRIVATE KEY"
                )),
            ),
            (
                SecretKind::PrivateKey,
                digits(&format!(
                    "-----BEGIN {}-----\n{body}\n{body}",
                    "EC PRIVATE KEY"
                ))
                .to_uppercase(),
            ),
            (
                SecretKind::PrivateKey,
                format!(
                    "{}:\n    00:{}\n    {}",
                    "priv",
                    "1a:2b:3c:4d:5e:6f:70:81:92:a3:b4:c5:d6:e7:",
                    "f8:09:1b:2d:3f:40:52:63:75:86:97:a8:b9:ca:db:ec:fd:0e"
                ),
            ),
            (
                SecretKind::Token("OpenAI"),
                format!("sk-pro{}{body}{}", "j-", &body[..20]),
            ),
            (
                SecretKind::Token("Twilio"),
                format!("S{}0a1b2c3d4e5f60718293a4b5c6d7e8f9", "K"),
            ),
            (
                SecretKind::Token("AWS"),
                format!("aws_secret_access_key = {body}/+9"),
            ),
            (
                SecretKind::Token("Azure"),
                format!(
                    "DefaultEndpointsProtocol=https;AccountName=app;Account{}={body}{body}{}==;EndpointSuffix=x",
                    "Key",
                    &body[..12]
                ),
            ),
            (
                SecretKind::PrivateKey,
                format!(
                    "PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-{}: 1\n{body}{}=\n",
                    "Lines",
                    &body[..6]
                ),
            ),
            (
                SecretKind::PrivateKey,
                format!("MIIEvgIBADAN{}{body}{body}", "BgkqhkiG9w0BAQEFAASCBKgw"),
            ),
            (
                SecretKind::PrivateKey,
                format!("MIIEpAIB{}{body}\n{body}", "AAKCAQEAw7Zd"),
            ),
            (
                SecretKind::Token("AWS"),
                format!("\"SecretAccessKey\": \"{body}/+9\""),
            ),
            (
                SecretKind::PrivateKey,
                format!("b3BlbnNzaC1rZXkt{}AAAABG5vbmUAAAAE{body}", "djEA"),
            ),
            (
                SecretKind::PrivateKey,
                format!("Private{} = {body}{}=\n", "Key", &body[..6]),
            ),
            (
                SecretKind::PrivateKey,
                format!("{{\"kty\":\"EC\",\"d\":\"{body}{}\"}}", &body[..6]),
            ),
        ]
    }

    fn kinds(text: &str) -> Vec<SecretKind> {
        super::super::in_text(text.as_bytes())
    }

    #[test]
    fn tokens_and_keys_are_found_and_their_twins_are_not() {
        assert!(stems().is_some());
        for (kind, sample) in samples() {
            assert_eq!(kinds(&sample), [kind], "{sample}");
            assert_eq!(kinds(&format!("x = \"{sample}\"\n")), [kind], "{sample}");
            let wide = |order: fn(u16) -> [u8; 2]| -> Vec<u8> {
                let text = format!("x = {sample}\r\n");
                text.encode_utf16().flat_map(order).collect()
            };
            assert_eq!(
                super::super::in_text(&wide(u16::to_le_bytes)),
                [kind],
                "{sample}"
            );
            assert_eq!(
                super::super::in_text(&wide(u16::to_be_bytes)),
                [kind],
                "{sample}"
            );
        }
        let github = format!("ghp{}", "_");
        for text in [
            String::new(),
            format!("{github}short"),
            format!("{github}{}", "x".repeat(36)),
            format!("a{github}aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5"),
            format!("{github}aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5kLM"),
            format!("AK{}", "IAIOSFODNN7EXAMPLE"),
            "-----BEGIN RSA PRIVATE KEY-----".into(),
            "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            "aws_secret_access_key = os.environ['AWS_SECRET_ACCESS_KEY_OF_PRODUCTION_1']".into(),
            "AWS_SECRET_ACCESS_KEY aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5k/+9".into(),
            "-----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY----- stand around 1 key in Base64".into(),
            "-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----".into(),
            "# -----BEGIN RSA PRIVATE KEY-----\n# stands before the key, which is\n# base64 in 27 Lines".into(),
            // Public keys and certificates, and the key of Azure's emulator.
            "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAaB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5kaB3dE5gH7jK9mN".into(),
            "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5kaB3dE5gH7jK9mN1pQ3sT".into(),
            format!(
                "Account{}=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
                "Key"
            ),
            "AccountKey=${AZURE_KEY}".into(),
            "Private-Lines: 14\nare the lines of a key".into(),
            format!("PublicKey = {}=", &"aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5kaB3dE5gH"[..43]),
            "PrivateKey = ${WG_KEY}".into(),
            "b3BlbnNzaC1rZXktdjEA is where a key begins".into(),
            "{\"d\":\"M12 2C6.48 2 2 6.48 2 12s4.48 10 10 10 10-4.48 10-10S17.52 2\"}".into(),
            "{\"d\":\"aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5k\"}".into(),
            "-----BEGIN PUBLIC KEY-----\naB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5kaB3d\n".into(),
        ] {
            assert_eq!(kinds(&text), [], "{text}");
        }
    }

    #[test]
    fn a_secret_across_the_edges_of_windows_and_reads_is_found() {
        let (kind, sample) = &samples()[0];
        for at in [
            WINDOW - 20,
            WINDOW - 1,
            WINDOW,
            WINDOW + REACH - 5,
            2 * WINDOW + 7,
        ] {
            for step in [1009, 64 * 1024] {
                let mut text = vec![b' '; at];
                text.extend_from_slice(sample.as_bytes());
                text.extend_from_slice(&vec![b' '; 3 * WINDOW]);
                let mut scanner = Scanner::new();
                for part in text.chunks(step) {
                    scanner.feed(part);
                }
                assert_eq!(scanner.finish(), [*kind], "{at} {step}");
                assert_eq!(scanner.finish(), [], "used again");
            }
        }
        // A letter at the end of one window keeps what follows from being a token.
        let mut text = vec![b'a'; WINDOW];
        text.extend_from_slice(sample.as_bytes());
        let mut scanner = Scanner::new();
        scanner.feed(&text);
        scanner.feed(&vec![b' '; 2 * WINDOW]);
        assert_eq!(scanner.finish(), []);
    }

    #[test]
    fn stems_are_few_and_hide_no_other_stem() {
        for stems in stems().unwrap() {
            // More are not found by vector instructions.
            assert!(stems.of.len() <= 64, "{}", stems.of.len());
        }
        let texts: Vec<&str> = FORMS.iter().map(|form| stem(form).1).collect();
        for one in &texts {
            for other in &texts {
                assert!(one == other || !other.contains(one), "{one} {other}");
            }
        }
    }

    #[test]
    fn no_form_reaches_further_than_what_is_kept() {
        for form in &FORMS {
            assert!(2 * (form.prefix.len() + 414) < REACH, "{}", form.prefix);
        }
    }
}
