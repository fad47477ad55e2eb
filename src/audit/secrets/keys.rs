//! Private keys in binary forms: DER (PKCS #1, RFC 8017; PKCS #8, RFC 5958; SEC 1, RFC 5915), PKCS #12
//! (RFC 7292) and Java's key store.

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

/// Whether a file with this beginning may be one.
pub(crate) fn may_be(beginning: &[u8]) -> bool {
    match beginning {
        [0x30, ..] => true,
        beginning => beginning.starts_with(&JAVA[..beginning.len().min(4)]),
    }
}

/// Whether the whole file is a private key, or a store with one.
pub(crate) fn is_private_key(bytes: &[u8]) -> bool {
    is_der_key(bytes).unwrap_or(false) || is_key_store(bytes)
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

    #[test]
    fn keys_as_openssl_writes_them_and_what_goes_with_them() {
        let ec = openssl(
            &["ecparam", "-name", "prime256v1", "-genkey", "-noout"],
            b"",
        );
        let rsa = openssl(&["genrsa", "2048"], b"");
        let certificate = openssl(
            &[
                "req",
                "-x509",
                "-new",
                "-key",
                "/dev/stdin",
                "-subj",
                "/CN=x",
                "-days",
                "1",
            ],
            &ec,
        );
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
        assert!(is_private_key(
            b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01\0\0\0\x01\0\x01a"
        ));
        assert!(!is_private_key(
            b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01\0\0\0\x02\0\x01a"
        ));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = is_private_key(&bytes);
            let _ = is_private_key(&[&[0x30, 0x82, 1, 0, 2, 1, 0], &bytes[..]].concat());
        }
    }
}
