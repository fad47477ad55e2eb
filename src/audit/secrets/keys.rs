//! Private keys in binary forms: DER (PKCS #1, RFC 8017; PKCS #8, RFC 5958; SEC 1, RFC 5915), PKCS #12
//! (RFC 7292), Java's key store, Microsoft's PVK and key blobs; also behind certificates in PEM form, as a file
//! in base64, and PEM in UTF-32.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode as _, Reader as _, SliceReader, Tag, Tagged as _};

/// Largest file that is looked into, in bytes; a key store of many keys is smaller.
pub(crate) const MAX_FILE: u64 = 256 * 1024;

/// Parts of a sequence that are looked at; an RSA key of many primes has few more.
const MAX_PARTS: usize = 32;

/// `pkcs-12` bags that hold a key: in the clear, and behind a password (or an empty one).
const BAGS: [&[u8]; 2] = [
    b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x01",
    b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x0a\x01\x02",
];

const JAVA: &[u8] = b"\xfe\xed\xfe\xed";

/// Microsoft's PVK file, and the key in it (`PRIVATEKEYBLOB`, version 2).
const PVK: &[u8] = b"\x1e\xf1\xb5\xb0";
const BLOB: &[u8] = b"\x07\x02\0\0\0";

const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
const END: &[u8] = b"-----END CERTIFICATE-----";

/// The beginnings of text in UTF-32: its mark, or the first dash of PEM.
const WIDE: [&[u8]; 4] = [b"\xff\xfe\0\0", b"\0\0\xfe\xff", b"-\0\0\0", b"\0\0\0-"];

/// Whether a file with this beginning may be one.
pub(crate) fn may_be(beginning: &[u8]) -> bool {
    let signs = [JAVA, PVK, BLOB, b"MI", CERTIFICATE];
    beginning.first() == Some(&0x30)
        || signs
            .iter()
            .chain(&WIDE)
            .any(|sign| beginning.starts_with(&sign[..beginning.len().min(sign.len())]))
}

/// Whether the whole file is a private key, or a store with one.
pub(crate) fn is_private_key(bytes: &[u8]) -> bool {
    is_binary_key(bytes)
        || behind_certificates(bytes).is_some_and(is_binary_key)
        || of_base64(bytes).is_some_and(|bytes| is_binary_key(&bytes))
        || is_wide_key(bytes)
}

fn is_binary_key(bytes: &[u8]) -> bool {
    is_der_key(bytes).unwrap_or(false) || is_key_store(bytes) || is_microsofts(bytes)
}

/// A PVK file has its key behind a head of 24 bytes and a salt; a blob says its algorithm and `RSA2` or `DSS2`.
fn is_microsofts(bytes: &[u8]) -> bool {
    let number = |at: usize| -> Option<u32> {
        let bytes = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    if bytes.starts_with(PVK) {
        let length = |at| number(at).and_then(|length| usize::try_from(length).ok());
        return number(4) == Some(0)
            && length(16)
                .zip(length(20))
                .and_then(|(salt, key)| 24_usize.checked_add(salt)?.checked_add(key))
                .is_some_and(|end| end > 24 && end <= bytes.len());
    }
    bytes.starts_with(BLOB) && matches!(bytes.get(8..12), Some(b"RSA2" | b"DSS2"))
}

/// What follows the last certificate in PEM form.
fn behind_certificates(bytes: &[u8]) -> Option<&[u8]> {
    if !bytes.starts_with(CERTIFICATE) {
        return None;
    }
    let at = bytes.windows(END.len()).rposition(|window| window == END)?;
    let rest = bytes[at + END.len()..].trim_ascii_start();
    (!rest.is_empty()).then_some(rest)
}

/// The content of a file that is one text in base64.
fn of_base64(bytes: &[u8]) -> Option<Vec<u8>> {
    if !bytes.starts_with(b"MI") {
        return None;
    }
    let text: Vec<u8> = bytes
        .iter()
        .copied()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    STANDARD.decode(text).ok()
}

/// PEM in UTF-32: in each four bytes, one counts.
fn is_wide_key(bytes: &[u8]) -> bool {
    let at = match bytes {
        [0xff, 0xfe, 0, 0, ..] | [b'-', 0, 0, 0, ..] => 0,
        [0, 0, 0xfe, 0xff, ..] | [0, 0, 0, b'-', ..] => 3,
        _ => return false,
    };
    let narrow: Vec<u8> = bytes
        .chunks_exact(4)
        .map(|letter| {
            let others = letter.iter().enumerate().filter(|(place, _)| *place != at);
            if others.map(|(_, byte)| byte).all(|byte| *byte == 0) {
                letter[at]
            } else {
                b' '
            }
        })
        .collect();
    super::in_text(&narrow).contains(&super::SecretKind::PrivateKey)
}

fn is_der_key(bytes: &[u8]) -> Option<bool> {
    // Some tools write a line feed behind it.
    let bytes = bytes
        .strip_suffix(b"\n")
        .filter(|bytes| AnyRef::from_der(bytes).is_ok())
        .unwrap_or(bytes);
    let parts = sequence(&AnyRef::from_der(bytes).ok()?)?;
    let version = match parts.first()?.tag() {
        Tag::Integer => parts[0].value(),
        // `EncryptedPrivateKeyInfo`: how it is encrypted, and the bytes.
        Tag::Sequence if parts.len() == 2 && parts[1].tag() == Tag::OctetString => {
            let algorithm = oid(sequence(&parts[0])?.first()?)?.to_string();
            let by_password = ["1.2.840.113549.1.5.", "1.2.840.113549.1.12.1."]
                .map(|tree| algorithm.starts_with(tree));
            return Some(by_password.contains(&true));
        }
        _ => return Some(false),
    };
    let tags: Vec<Tag> = parts[1..].iter().map(der::Tagged::tag).collect();
    Some(match (version, tags.as_slice()) {
        // `PrivateKeyInfo`: the algorithm, the key.
        ([0 | 1], [Tag::Sequence, Tag::OctetString, ..]) => {
            sequence(&parts[1])?.first().and_then(oid).is_some()
        }
        // `RSAPrivateKey` has eight numbers, a DSA key five.
        (
            [0 | 1],
            [
                Tag::Integer,
                Tag::Integer,
                Tag::Integer,
                Tag::Integer,
                Tag::Integer,
                rest @ ..,
            ],
        ) => rest.is_empty() || rest.len() >= 3,
        // `ECPrivateKey`: the key, parameters, the public key.
        ([1], [Tag::OctetString, rest @ ..]) => {
            !rest.is_empty() && rest.iter().all(|tag| tag.is_context_specific())
                || (rest.is_empty() && matches!(parts[1].value().len(), 28 | 32 | 48 | 66))
        }
        _ => false,
    })
}

fn oid(value: &AnyRef<'_>) -> Option<ObjectIdentifier> {
    value.decode_as().ok()
}

fn sequence<'a>(value: &AnyRef<'a>) -> Option<Vec<AnyRef<'a>>> {
    if value.tag() != Tag::Sequence {
        return None;
    }
    let mut reader = SliceReader::new(value.value()).ok()?;
    let mut parts = Vec::new();
    while !reader.is_finished() && parts.len() < MAX_PARTS {
        parts.push(AnyRef::decode(&mut reader).ok()?);
    }
    Some(parts)
}

/// A key store that holds a private key, and not certificates alone.
fn is_key_store(bytes: &[u8]) -> bool {
    let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    if bytes.starts_with(JAVA) {
        // Version, count, and the first entry's kind: 1 is a key, 2 a certificate.
        return bytes.get(12..16) == Some(&[0, 0, 0, 1]);
    }
    // `PFX` begins with version 3. Its length may be open (BER), which `der` does not read.
    let version = bytes
        .get(..bytes.len().min(10))
        .is_some_and(|start| start.windows(3).any(|part| part == [2, 1, 3]));
    bytes.first() == Some(&0x30) && version && BAGS.iter().any(|bag| has(bag))
}

#[cfg(test)]
mod tests {
    use super::super::SecretKind;
    use super::*;
    use proptest::prelude::*;
    use std::process::{Command, Stdio};

    /// The output of openssl with these arguments.
    fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
        use std::io::Write as _;
        let mut child = Command::new("openssl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        output.stdout
    }

    /// A certificate of a key, in PEM.
    fn certificate_of(key: &[u8]) -> Vec<u8> {
        let request = "req -x509 -new -key /dev/stdin -subj /CN=x -days 1";
        openssl(&request.split(' ').collect::<Vec<_>>(), key)
    }

    #[test]
    fn keys_as_openssl_writes_them_and_what_goes_with_them() {
        let ec = openssl(
            &["ecparam", "-name", "prime256v1", "-genkey", "-noout"],
            b"",
        );
        let rsa = openssl(&["genrsa", "2048"], b"");
        let certificate = certificate_of(&ec);
        let both = [&ec[..], &certificate].concat();
        let store = |more: &[&str]| {
            let arguments = [&["pkcs12", "-export", "-passout", "pass:"][..], more].concat();
            openssl(&arguments, &both)
        };
        for (what, bytes, is_key) in [
            ("SEC 1", openssl(&["ec", "-outform", "DER"], &ec), true),
            (
                "PKCS #1",
                openssl(&["rsa", "-traditional", "-outform", "DER"], &rsa),
                true,
            ),
            (
                "PKCS #8",
                openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &rsa),
                true,
            ),
            (
                "PKCS #8 with a password",
                openssl(
                    &["pkcs8", "-topk8", "-outform", "DER", "-passout", "pass:x"],
                    &ec,
                ),
                true,
            ),
            ("PKCS #12", store(&[]), true),
            (
                "PKCS #12 without encryption",
                store(&["-keypbe", "NONE", "-certpbe", "NONE"]),
                true,
            ),
            ("PKCS #12 of certificates", store(&["-nokeys"]), false),
            (
                "a public key",
                openssl(&["rsa", "-pubout", "-outform", "DER"], &rsa),
                false,
            ),
            (
                "a certificate",
                openssl(&["x509", "-outform", "DER"], &certificate),
                false,
            ),
        ] {
            assert!(may_be(&bytes[..1]), "{what}");
            assert_eq!(is_private_key(&bytes), is_key, "{what}");
            assert!(
                !is_private_key(&bytes[..bytes.len() / 3]),
                "{what}, cut short"
            );
        }
        for key in [&ec, &rsa] {
            let text = |more: &[&str]| {
                let arguments = [&["pkey", "-noout"][..], more].concat();
                openssl(&arguments, key)
            };
            assert_eq!(
                super::super::in_text(&text(&["-text"])),
                [SecretKind::PrivateKey]
            );
            assert_eq!(super::super::in_text(&text(&["-text_pub"])), []);
        }
        assert!(is_private_key(
            b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\x01a"
        ));
        assert!(!is_private_key(
            b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\x01a"
        ));
    }

    #[test]
    fn keys_in_other_clothes() {
        let pem = openssl(&["genrsa", "2048"], b"");
        let certificate = certificate_of(&pem);
        let key = openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &pem);
        let both = [&pem[..], &certificate].concat();
        let store = |more: &[&str]| {
            let arguments = [&["pkcs12", "-export", "-passout", "pass:x"][..], more].concat();
            let store = openssl(&arguments, &both);
            openssl(&["base64"], &store)
        };
        let wide =
            |bytes: &[u8]| -> Vec<u8> { bytes.iter().flat_map(|byte| [*byte, 0, 0, 0]).collect() };
        let big =
            |bytes: &[u8]| -> Vec<u8> { bytes.iter().flat_map(|byte| [0, 0, 0, *byte]).collect() };
        let mut pvk = [
            PVK,
            &[0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0],
        ]
        .concat();
        let blob = b"\x07\x02\0\0\0\xa4\0\0RSA2\0\x08\0\0\x01\0\x01\0";
        pvk.extend_from_slice(blob);
        for (what, bytes, is_key) in [
            (
                "DER behind a certificate",
                [&certificate[..], &key].concat(),
                true,
            ),
            ("a certificate", certificate.clone(), false),
            (
                "two certificates",
                [&certificate[..], &certificate].concat(),
                false,
            ),
            ("PKCS #12 in base64", store(&[]), true),
            ("certificates in base64", store(&["-nokeys"]), false),
            ("DER in base64", openssl(&["base64"], &key), true),
            ("PVK", pvk.clone(), true),
            ("PVK, cut short", pvk[..30].to_vec(), false),
            ("a blob", blob.to_vec(), true),
            ("UTF-32", [&b"\xff\xfe\0\0"[..], &wide(&pem)].concat(), true),
            ("UTF-32 without its mark", wide(&pem), true),
            (
                "UTF-32, big",
                [&b"\0\0\xfe\xff"[..], &big(&pem)].concat(),
                true,
            ),
            ("a certificate in UTF-32", wide(&certificate), false),
        ] {
            for length in [1, 3, bytes.len()] {
                assert!(may_be(&bytes[..length]), "{what}");
            }
            assert_eq!(is_private_key(&bytes), is_key, "{what}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = is_private_key(&bytes);
            for sign in [PVK, CERTIFICATE, b"MI"].into_iter().chain(WIDE) {
                let _ = is_private_key(&[sign, &bytes].concat());
            }
            let _ = is_private_key(&[&[0x30, 0x82, 1, 0, 2, 1, 0], &bytes[..]].concat());
        }
    }
}
