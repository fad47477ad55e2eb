//! The forms of well-known tokens and keys: what they begin with, and what must follow.

use super::SecretKind;
use super::disguised;

pub(super) struct Form {
    pub(super) prefix: &'static str,
    pub(super) kind: SecretKind,
    /// Bytes that may follow the prefix.
    alphabet: fn(u8) -> bool,
    /// How many must follow, at least and at most.
    length: (usize, usize),
    body: Body,
}

/// What follows a prefix.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Body {
    /// The token stands alone: no letter, digit or `_` before it, no further byte of the alphabet
    /// behind it.
    Token,
    /// A key's lines of base64, however they are wrapped.
    Pem,
    /// The base64 of the rest of a key in PEM form.
    Encoded,
    /// `NAME = value`: a sign of assignment, then a token that stands alone.
    Assigned,
    /// As `Token`, with any text before it, and with base64's `=` at its end.
    Padded,
    /// A number of lines, and a key's lines of base64.
    Counted,
    /// The value of a member of a JSON object, of one of the lengths of [`MEMBERS`].
    Member,
    /// A key in PEM form, with the escapes of another language, or as hexadecimal digits.
    Disguised,
    /// Numbers as `openssl pkey -text` writes them: `1a:2b:…`, in lines.
    Numbers,
}

/// How far a form reaches beyond its beginning, at most.
///
/// In UTF-16 all is twice as long.
pub(super) const REACH: usize = 1536;

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

fn base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
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
        body: Body::Token,
    }
}

const fn key(prefix: &'static str) -> Form {
    Form {
        prefix,
        kind: SecretKind::PrivateKey,
        alphabet: alphanumeric,
        length: (0, 0),
        body: Body::Pem,
    }
}

const fn disguised(prefix: &'static str) -> Form {
    Form {
        body: Body::Disguised,
        ..key(prefix)
    }
}

const fn numbers(prefix: &'static str) -> Form {
    Form {
        body: Body::Numbers,
        ..key(prefix)
    }
}

const fn encoded(prefix: &'static str) -> Form {
    Form {
        prefix,
        kind: SecretKind::PrivateKey,
        alphabet: base64,
        length: (80, 400),
        body: Body::Encoded,
    }
}

/// The secret half of an AWS key, which has no form of its own.
const fn assigned(prefix: &'static str) -> Form {
    Form {
        prefix,
        kind: SecretKind::Token("AWS"),
        alphabet: base64,
        length: (40, 40),
        body: Body::Assigned,
    }
}

/// The base64 of a private key in DER form; its first bytes are unique.
const fn der(prefix: &'static str) -> Form {
    key(prefix)
}

/// A key of Azure's in a connection string.
const fn azure(prefix: &'static str, length: usize) -> Form {
    Form {
        prefix,
        kind: SecretKind::Token("Azure"),
        alphabet: base64,
        length: (length, length),
        body: Body::Padded,
    }
}

/// A key of `WireGuard`'s.
const fn wireguard(prefix: &'static str) -> Form {
    Form {
        kind: SecretKind::PrivateKey,
        ..azure(prefix, 43)
    }
}

/// The private part of a JSON Web Key (RFC 7518, section 6).
const fn jwk(prefix: &'static str) -> Form {
    Form {
        prefix,
        kind: SecretKind::PrivateKey,
        alphabet: url_safe,
        length: (43, 342),
        body: Body::Member,
    }
}

/// Lengths of `d` in base64: 32, 48, 57 and 66 bytes, RSA of 2048 bits or more.
const MEMBERS: [usize; 5] = [43, 64, 76, 88, 342];

pub(super) const FORMS: [Form; 80] = [
    key("-----BEGIN PRIVATE KEY-----"),
    key("-----BEGIN ENCRYPTED PRIVATE KEY-----"),
    key("-----BEGIN RSA PRIVATE KEY-----"),
    key("-----BEGIN EC PRIVATE KEY-----"),
    key("-----BEGIN DSA PRIVATE KEY-----"),
    key("-----BEGIN OPENSSH PRIVATE KEY-----"),
    key("-----BEGIN PGP PRIVATE KEY BLOCK-----"),
    key("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----"),
    disguised("BEGIN%20"),
    disguised("BEGIN+"),
    disguised("BEGIN\\"),
    disguised("BEGIN&#"),
    disguised("424547494e20"),
    disguised("424547494E20"),
    numbers("privateExponent:"),
    numbers("priv:"),
    encoded("LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t"),
    encoded("LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVkt"),
    encoded("LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFWS0t"),
    encoded("LS0tLS1CRUdJTiBEU0EgUFJJVkFURSBLRVkt"),
    encoded("LS0tLS1CRUdJTiBPUEVOU1NIIFBSSVZBVEUg"),
    encoded("LS0tLS1CRUdJTiBFTkNSWVBURUQgUFJJVkFU"),
    // PKCS #8: RSA, NIST's curves (with the public key and without), Ed25519 and X25519.
    der("IBADANBgkqhkiG9w0BAQEFAASC"),
    der("AgEAMBMGByqGSM49AgEG"),
    der("AgEAMBAGByqGSM49AgEG"),
    der("MEECAQAwEwYHKoZIzj0CAQYI"),
    der("MC4CAQAwBQYDK2VwBCIEI"),
    der("MC4CAQAwBQYDK2VuBCIEI"),
    // PKCS #1 of 1024, 2048, 3072 and 4096 bits.
    der("IBAAKBgQ"),
    der("IBAAKCAQEA"),
    der("IBAAKCAYEA"),
    der("IBAAKCAgEA"),
    // SEC 1: P-256, P-384, P-521.
    der("MHcCAQEEI"),
    der("MIGkAgEBBD"),
    der("MIHcAgEBBE"),
    Form {
        prefix: "Private-Lines: ",
        kind: SecretKind::PrivateKey,
        alphabet: alphanumeric,
        length: (0, 0),
        body: Body::Counted,
    },
    // OpenSSH's own form without the lines around it.
    der("b3BlbnNzaC1rZXktdjEA"),
    wireguard("PrivateKey = "),
    wireguard("PrivateKey="),
    jwk("\"d\":\""),
    jwk("\"d\": \""),
    jwk("'d': '"),
    azure("AccountKey=", 86),
    azure("SharedAccessKey=", 43),
    assigned("aws_secret_access_key"),
    assigned("AWS_SECRET_ACCESS_KEY"),
    assigned("aws_secret_key"),
    assigned("AWS_SECRET_KEY"),
    assigned("awsSecretKey"),
    assigned("secretAccessKey"),
    assigned("SecretAccessKey"),
    token("AGE-SECRET-KEY-1", "age", upper, (58, 58)),
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
    token("sk-proj-", "OpenAI", url_safe, (40, 200)),
    token("hvs.", "Vault", url_safe, (90, 200)),
    token("shpat_", "Shopify", hex, (32, 32)),
    token("tskey-auth-", "Tailscale", url_safe, (20, 80)),
    token("tskey-api-", "Tailscale", url_safe, (20, 80)),
    token("SK", "Twilio", hex, (32, 32)),
];

impl Form {
    /// Whether the text, from its prefix on, and the byte before it fit the form.
    pub(super) fn fits(&self, before: Option<u8>, text: &[u8]) -> bool {
        let rest = &text[self.prefix.len().min(text.len())..];
        let rest = match self.body {
            Body::Pem => {
                return is_key_body(rest) || is_key_body(&disguised::plain(rest, false));
            }
            Body::Disguised => return is_disguised_key(text),
            Body::Numbers => return is_number(rest),
            Body::Counted => {
                let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                return (1..=3).contains(&digits) && is_key_body(&rest[digits..]);
            }
            Body::Token if before.is_some_and(word) => return false,
            Body::Token | Body::Encoded | Body::Padded | Body::Member => rest,
            Body::Assigned => match assigned_value(rest) {
                Some(value) => value,
                None => return false,
            },
        };
        let (least, most) = self.length;
        if self.body == Body::Encoded {
            // Programs cut it into lines.
            let body: Vec<u8> = rest
                .iter()
                .filter(|byte| !byte.is_ascii_whitespace())
                .take(most)
                .take_while(|&&byte| (self.alphabet)(byte))
                .copied()
                .collect();
            return body.len() >= least && is_random(&body);
        }
        let length = rest
            .iter()
            .take(most + 1)
            .take_while(|&&byte| (self.alphabet)(byte))
            .count();
        let body = &rest[..length.min(most)];
        match self.body {
            Body::Member => {
                let ends = matches!(rest.get(length), Some(b'"' | b'\''));
                let fits = length > most || (ends && MEMBERS.contains(&length));
                fits && is_mixed(body) && is_random(body)
            }
            // The emulator's key is the same everywhere.
            Body::Padded => {
                let ends = rest.get(length) == Some(&b'=');
                length == least
                    && ends
                    && is_mixed(body)
                    && is_random(body)
                    && !body.starts_with(b"Eby8vdM02xNOcqFl")
            }
            Body::Assigned => {
                let ends = rest.get(length) != Some(&b'=');
                length == least && ends && is_mixed(body) && is_random(body)
            }
            _ => length >= least && length <= most && is_random(body),
        }
    }

    /// The secret part of a matching text, from its prefix on: a token, or the complete value of a key.
    fn secret_of<'t>(&self, before: Option<u8>, text: &'t [u8]) -> Option<&'t [u8]> {
        if !self.fits(before, text) {
            return None;
        }
        if self.body != Body::Token {
            return Some(text);
        }
        let rest = text.get(self.prefix.len()..)?;
        let length = rest
            .iter()
            .take_while(|&&byte| (self.alphabet)(byte))
            .count();
        text.get(..self.prefix.len() + length)
    }
}

/// A text in UTF-16, in both byte orders, from its first to its last letter.
pub(super) fn wide(text: &str) -> Vec<u8> {
    let mut wide: Vec<u8> = text.bytes().flat_map(|byte| [byte, 0]).collect();
    wide.pop();
    wide
}

/// The services whose tokens are known.
pub(super) fn services() -> impl Iterator<Item = &'static str> {
    FORMS.iter().filter_map(|form| match form.kind {
        SecretKind::Token(service) => Some(service),
        _ => None,
    })
}

/// The tokens and keys in a short text, such as a variable's value, by their forms.
pub fn tokens_in(text: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    for at in 0..text.len() {
        let (before, here) = (at.checked_sub(1).map(|at| text[at]), &text[at..]);
        for form in &FORMS {
            if here.starts_with(form.prefix.as_bytes()) {
                found.extend(form.secret_of(before, here));
            }
        }
    }
    found
}

/// The text behind `=`, `:` or `=>`, and behind the quotes around them.
fn assigned_value(rest: &[u8]) -> Option<&[u8]> {
    let sign = |byte: u8| b"=:>,".contains(&byte);
    let length = rest
        .iter()
        .take(12)
        .take_while(|&&byte| sign(byte) || b" \t\"'\\".contains(&byte))
        .count();
    let (between, value) = rest.split_at(length);
    between.iter().any(|&byte| sign(byte)).then_some(value)
}

/// Letters of both cases and digits: not a word or a name.
fn is_mixed(body: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| body.iter().any(is);
    has(u8::is_ascii_digit) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase)
}

/// Numbers in hexadecimal digits, in lines: a key has 32 bytes or more, of which the first may be zero.
fn is_number(rest: &[u8]) -> bool {
    let body: Vec<u8> = rest
        .iter()
        .filter(|byte| !byte.is_ascii_whitespace())
        .take(96)
        .take_while(|&&byte| hex(byte) || byte == b':')
        .copied()
        .collect();
    let mut pairs = body.split(|byte| *byte == b':');
    body.len() >= 94 && pairs.by_ref().take(31).all(|pair| pair.len() == 2) && is_random(&body)
}

/// A label of a private key behind `BEGIN `, and a key's lines.
fn is_disguised_key(text: &[u8]) -> bool {
    let text = match text {
        [b'4', ..] => disguised::of_hex(text),
        [_, _, _, _, _, sign, ..] => disguised::plain(text, *sign == b'+'),
        _ => return false,
    };
    let labels = FORMS.iter().filter(|form| form.body == Body::Pem);
    labels
        .filter_map(|form| form.prefix.strip_prefix("-----"))
        .filter_map(|label| text.strip_prefix(label.as_bytes()))
        .any(is_key_body)
}

/// Programs and documentation have a key's first line too; a key goes on with base64, in lines, on one
/// line, or with the line feeds and quotes of a program's text. Its lines may be comments, or quoted.
fn is_key_body(rest: &[u8]) -> bool {
    let mut body = Vec::new();
    let mut piece = 0;
    let mut first = None;
    let mut at = 0;
    let mut begins_line = false;
    while let Some(&byte) = rest.get(at) {
        at += 1;
        if begins_line && byte == b'/' && rest.get(at) == Some(&b'/') {
            at += 1;
            continue;
        }
        if begins_line && b"#;*|>%!".contains(&byte) {
            continue;
        }
        begins_line = byte == b'\n' || begins_line && byte.is_ascii_whitespace();
        if base64(byte) || byte == b'=' {
            body.push(byte);
            piece += 1;
            if body.len() >= 64 {
                break;
            }
            continue;
        }
        if piece > 0 {
            first.get_or_insert(piece);
            piece = 0;
        }
        match byte {
            // `\n`, also where the backslash is itself escaped.
            b'\\' => {
                while rest.get(at) == Some(&b'\\') {
                    at += 1;
                }
                if rest.get(at).is_some_and(|byte| b"nrt".contains(byte)) {
                    at += 1;
                }
            }
            b':' if body.len() <= 16 => {
                return [&b"Type"[..], b"Version", b"Comment"]
                    .iter()
                    .any(|header| body.ends_with(header));
            }
            b'"' | b'\'' | b',' | b'-' => {}
            byte if byte.is_ascii_whitespace() => {}
            _ => break,
        }
    }
    // Words of prose are short.
    first.unwrap_or(piece) >= 16 && body.len() >= 40 && is_mixed(&body) && is_random(&body)
}

/// Distinguishes random text from placeholders: `XXXX…`, `…EXAMPLE`, a word repeated.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_a_value_are_cut_out_of_it() {
        let token = "ghp_aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5";
        for (text, expected) in [
            (token.to_owned(), vec![token]),
            (format!("https://h/?key={token}&x=1 "), vec![token]),
            (format!("{token},{token}"), vec![token, token]),
            (format!("x{token}"), vec![]),
            ("ghp_short".to_owned(), vec![]),
            (String::new(), vec![]),
        ] {
            let found = tokens_in(text.as_bytes());
            let expected: Vec<&[u8]> = expected.into_iter().map(str::as_bytes).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
