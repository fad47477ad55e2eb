//! The forms of well-known tokens and keys: what they begin with, and what must follow.

use super::SecretKind;

/// One form.
pub(super) struct Form {
    pub(super) prefix: &'static str,
    pub(super) kind: SecretKind,
    /// Bytes that may follow the prefix.
    alphabet: fn(u8) -> bool,
    /// How many must follow, at least and at most.
    length: (usize, usize),
    /// The token stands alone: no letter, digit or `_` before it, no further byte of the alphabet
    /// behind it.
    alone: bool,
}

/// How far a form reaches beyond its beginning, at most.
pub(super) const REACH: usize = 512;

fn alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit()
}

fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn url_safe(byte: u8) -> bool {
    word(byte) || byte == b'-'
}

fn dotted(byte: u8) -> bool {
    url_safe(byte) || byte == b'.'
}

fn hex(byte: u8) -> bool {
    byte.is_ascii_hexdigit()
}

const fn token(
    prefix: &'static str,
    service: &'static str,
    alphabet: fn(u8) -> bool,
    length: (usize, usize),
) -> Form {
    Form {
        prefix,
        kind: SecretKind::Token(service),
        alphabet,
        length,
        alone: true,
    }
}

const fn key(prefix: &'static str) -> Form {
    Form {
        prefix,
        kind: SecretKind::PrivateKey,
        alphabet: alphanumeric,
        length: (0, 0),
        alone: false,
    }
}

pub(super) const FORMS: [Form; 29] = [
    key("-----BEGIN PRIVATE KEY-----"),
    key("-----BEGIN ENCRYPTED PRIVATE KEY-----"),
    key("-----BEGIN RSA PRIVATE KEY-----"),
    key("-----BEGIN EC PRIVATE KEY-----"),
    key("-----BEGIN DSA PRIVATE KEY-----"),
    key("-----BEGIN OPENSSH PRIVATE KEY-----"),
    key("-----BEGIN PGP PRIVATE KEY BLOCK-----"),
    token("AKIA", "AWS", upper, (16, 16)),
    token("ghp_", "GitHub", alphanumeric, (36, 36)),
    token("gho_", "GitHub", alphanumeric, (36, 36)),
    token("ghu_", "GitHub", alphanumeric, (36, 36)),
    token("ghs_", "GitHub", alphanumeric, (36, 36)),
    token("ghr_", "GitHub", alphanumeric, (36, 255)),
    token("github_pat_", "GitHub", word, (60, 255)),
    token("glpat-", "GitLab", url_safe, (20, 60)),
    token("glrt-", "GitLab", url_safe, (20, 60)),
    token("xoxb-", "Slack", url_safe, (20, 200)),
    token("xoxp-", "Slack", url_safe, (20, 200)),
    token("xapp-", "Slack", url_safe, (20, 200)),
    token("sk_live_", "Stripe", alphanumeric, (24, 120)),
    token("rk_live_", "Stripe", alphanumeric, (24, 120)),
    token("pypi-AgEIcHlwaS5vcmc", "PyPI", url_safe, (50, 400)),
    token("npm_", "npm", alphanumeric, (36, 36)),
    token("AIza", "Google", url_safe, (35, 35)),
    token("SG.", "SendGrid", dotted, (66, 66)),
    token("hf_", "Hugging Face", alphanumeric, (34, 37)),
    token("dop_v1_", "DigitalOcean", hex, (64, 64)),
    token("dckr_pat_", "Docker Hub", url_safe, (27, 36)),
    token("sk-ant-api03-", "Anthropic", url_safe, (80, 120)),
];

impl Form {
    /// Whether the text, from its prefix on, and the byte before it fit the form.
    pub(super) fn fits(&self, before: Option<u8>, text: &[u8]) -> bool {
        let rest = &text[self.prefix.len().min(text.len())..];
        if self.kind == SecretKind::PrivateKey {
            return is_key_body(rest);
        }
        if self.alone && before.is_some_and(word) {
            return false;
        }
        let (least, most) = self.length;
        let length = rest
            .iter()
            .take(most + 1)
            .take_while(|&&byte| (self.alphabet)(byte))
            .count();
        let body = &rest[..length.min(most)];
        length >= least && length <= most && is_random(body)
    }
}

/// Programs and documentation have a key's first line too; a key goes on with lines of base64.
fn is_key_body(rest: &[u8]) -> bool {
    // In a program's text or JSON the line feed may be an escape.
    let rest = rest.strip_prefix(b"\r").unwrap_or(rest);
    let body = match rest.strip_prefix(b"\\n") {
        Some(body) => body,
        None => match rest.strip_prefix(b"\n") {
            Some(body) => body.trim_ascii_start(),
            None => return false,
        },
    };
    if [&b"Proc-Type:"[..], b"Version:", b"Comment:"]
        .iter()
        .any(|header| body.starts_with(header))
    {
        return true;
    }
    let line: Vec<u8> = body
        .iter()
        .copied()
        .take_while(|&byte| alphanumeric(byte) || b"+/=".contains(&byte))
        .collect();
    line.len() >= 40 && is_random(&line)
}

/// Tells what was drawn at random from placeholders: `XXXX…`, `…EXAMPLE`, a word repeated.
fn is_random(body: &[u8]) -> bool {
    let mut seen = [false; 256];
    for &byte in body {
        seen[usize::from(byte)] = true;
    }
    let different = seen.iter().filter(|seen| **seen).count();
    let upper = body.to_ascii_uppercase();
    let placeholder = [
        &b"EXAMPLE"[..],
        b"XXXXX",
        b"12345678",
        b"ABCDEFGH",
        b"REDACTED",
    ];
    different >= 8
        && !placeholder
            .iter()
            .any(|word| upper.windows(word.len()).any(|window| window == *word))
}
