//! Extended attributes of a layer's file, any names and values, and PAX headers of any bytes: read
//! as written or refused; judged without a panic; and unpacked without one that belongs to overlayfs
//! or to a machine.

#![no_main]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use warpdrive::audit::capability;
use warpdrive::layer::{ApplyOptions, Limits, TarReader, apply, remove_tree, scan};

/// A header block of ustar with its checksum.
fn header(name: &str, kind: u8, size: usize) -> [u8; 512] {
    let mut block = [0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000000");
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

/// `LEN KEY=VALUE\n`, the length counting itself.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

type Attributes = BTreeMap<OsString, Vec<u8>>;

/// The bytes as names and values, each behind its length; `None` where they are to be taken as they
/// stand.
fn attributes(mut bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut all = Vec::new();
    while let [name, value, rest @ ..] = bytes {
        let name = usize::from(*name).min(rest.len());
        let (name, rest) = rest.split_at(name);
        let value = usize::from(*value).min(rest.len());
        let (value, rest) = rest.split_at(value);
        all.push((name, value));
        bytes = rest;
    }
    all
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&how, bytes)) = bytes.split_first() else {
        return;
    };
    let (body, expected): (Vec<u8>, Option<Attributes>) = if how & 1 == 0 {
        (bytes.to_vec(), None)
    } else {
        let all = attributes(bytes);
        let body = all
            .iter()
            .flat_map(|(name, value)| record(&[b"SCHILY.xattr.", *name].concat(), value))
            .collect();
        // An equals sign ends a key: what a name has behind it belongs to the value.
        let plain = all
            .iter()
            .all(|(name, _)| !name.is_empty() && !name.contains(&b'=') && !name.contains(&0));
        let read = all
            .iter()
            .map(|(name, value)| (OsString::from_vec(name.to_vec()), value.to_vec()));
        (body, plain.then(|| read.collect()))
    };
    let mut tar = header("pax", b'x', body.len()).to_vec();
    tar.extend_from_slice(&body);
    tar.resize(tar.len().next_multiple_of(512), 0);
    tar.extend_from_slice(&header("file", b'0', 0));
    tar.resize(tar.len() + 1024, 0);

    let mut reader = TarReader::new(&tar[..], Limits::default());
    match (reader.next_member(), expected) {
        (Ok(Some(member)), expected) => {
            for value in member.xattrs.values() {
                if let Some(found) = capability::parse(value) {
                    assert!(!found.words().is_empty());
                    assert!(found.is_dangerous() || !found.malformed);
                }
            }
            if let Some(expected) = expected {
                assert_eq!(member.xattrs, expected);
            }
        }
        (Ok(None), _) => panic!("the member is gone"),
        (Err(_), Some(expected)) => {
            assert!(expected.len() > 200, "refused: {expected:?}");
        }
        (Err(_), None) => {}
    }

    let place = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let options = ApplyOptions {
        ownership: how & 2 != 0,
        userxattr: how & 4 != 0,
        devices: false,
        max_bytes: 1 << 20,
        max_entries: 10,
        ..ApplyOptions::default()
    };
    let root = place.path().join("root");
    fs::create_dir(&root).expect("a directory");
    if apply(&tar[..], &root, &options).is_ok() {
        only_of_layers(&root);
        for entry in scan(&root, &[]).expect("what was unpacked can be read").entries {
            assert!(entry.xattrs.keys().all(|name| {
                let name = name.as_bytes();
                name == b"security.capability"
                    || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
            }));
        }
    }
    remove_tree(&root).expect("what was unpacked can be removed");
});

/// No attribute on disk is one of overlayfs's or of this machine's.
fn only_of_layers(root: &Path) {
    for child in fs::read_dir(root).expect("it is there").flatten() {
        let mut names = vec![0_u8; 1 << 16];
        let used = rustix::fs::llistxattr(child.path(), &mut names[..]).expect("its attributes");
        for name in names[..used].split(|&byte| byte == 0) {
            assert!(!name.starts_with(b"user.overlay.") && !name.starts_with(b"trusted."));
        }
    }
}
