//! Digests of one small tree that must never change unnoticed.
//!
//! A layer's digest decides whether it is pulled, pushed and stored again. If a test here fails
//! after an upgrade of a compressor, every layer ever made gets another digest when it is made again:
//! say so in the change log, and then write the new digests down. If only a diff ID changes, the
//! tar writer did it, and that is a mistake.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::*;

fn entry(path: &str, kind: Kind, mode: u32) -> Entry {
    Entry {
        path: path.into(),
        kind,
        mode,
        uid: 1001,
        gid: 0,
        mtime: Mtime::Fixed(315_532_801),
        xattrs: BTreeMap::new(),
    }
}

/// Some of everything, more than two blocks of the parallel gzip, and text that compresses.
fn tree() -> Vec<Entry> {
    let mut text = String::new();
    for line in 0_u32..120_000 {
        let word = line.wrapping_mul(2_654_435_761);
        let _ = writeln!(text, "line {line} of the sample says {word:x}");
    }
    let mut attributes = entry("a/attributes", Kind::Bytes(b"x".to_vec()), 0o600);
    attributes
        .xattrs
        .insert("user.note".into(), b"value".to_vec());
    let mut timed = entry("a/timed.css", Kind::Bytes(b"body {}\n".to_vec()), 0o664);
    timed.mtime = Mtime::OfContent {
        reference: 1_262_304_000,
    };
    vec![
        entry("a", Kind::Directory, 0o775),
        attributes,
        entry("a/gone", Kind::Whiteout, 0o644),
        entry("a/link", Kind::Symlink("text".into()), 0o777),
        entry("a/text", Kind::Bytes(text.into_bytes()), 0o664),
        entry("a/text-too", Kind::HardLink("a/text".into()), 0o664),
        timed,
        entry("b", Kind::Directory, 0o775),
        entry("b", Kind::Opaque, 0o644),
        entry(&format!("b/{}", "ö".repeat(60)), Kind::Bytes(vec![]), 0o775),
    ]
}

#[test]
fn a_known_tree_has_known_digests() {
    let diff_id = "sha256:1912d3117dc644ebac9719aa9ed4d18899cee1937ea4a93b54cefa30d86f2857";
    for (compression, digest) in [
        (Compression::None, diff_id),
        (
            Compression::Gzip(6),
            "sha256:dd703885c73956b9cb70a6f6d6fe8c7f0ec92a68496641e42417309437df2667",
        ),
        (
            Compression::Gzip(9),
            "sha256:ff8d2e4df73fd7eaa183017b42d1d0097816c08546e3ccecb56f3afcc4414761",
        ),
        (
            Compression::Zstd(3),
            "sha256:e0290ec7aa9d2dc3d3950212d274a479b6ce8b30968de246b6a94b839c011fd3",
        ),
    ] {
        let written = write(&tree(), compression, std::io::sink()).unwrap();
        assert_eq!(
            (written.diff_id.to_string(), written.digest.to_string()),
            (diff_id.to_owned(), digest.to_owned()),
            "{compression:?}: see the head of this file"
        );
    }
}
