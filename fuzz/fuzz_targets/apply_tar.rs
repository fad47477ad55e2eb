//! Unpacks any bytes as a layer next to a directory that must not change.
//!
//! Checksums of what looks like a header are put right first: the fuzzer would never find them.

#![no_main]

use std::fs;
use std::os::unix::fs::MetadataExt;

use libfuzzer_sys::fuzz_target;
use warpdrive::layer::{ApplyOptions, apply, remove_tree, scan};

#[path = "../checksums.rs"]
mod checksums;

fuzz_target!(|bytes: &[u8]| {
    let bytes = checksums::put_right(bytes);
    let place = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let (root, outside) = (place.path().join("root"), place.path().join("outside"));
    for directory in [&root, &outside] {
        fs::create_dir(directory).expect("a directory");
    }
    fs::write(outside.join("keep"), "keep").expect("a file");
    let look = || {
        let stamp = |path| {
            let meta = fs::symlink_metadata(path).expect("it is still there");
            (
                meta.mode(),
                meta.uid(),
                meta.ctime(),
                meta.ctime_nsec(),
                meta.nlink(),
            )
        };
        (stamp(outside.clone()), stamp(outside.join("keep")))
    };
    let before = look();
    let options = ApplyOptions {
        ownership: false,
        userxattr: true,
        devices: false,
        max_bytes: 8 << 20,
        max_entries: 1000,
        ..ApplyOptions::default()
    };
    let _ = apply(&bytes[..], &root, &options);
    // Paths beyond PATH_MAX are an error here, never a panic.
    let _ = scan(&root, &[]);
    assert_eq!(look(), before);
    assert_eq!(
        fs::read_dir(place.path())
            .expect("it is still there")
            .count(),
        2
    );
    remove_tree(&root).expect("what was unpacked can be removed");
});
