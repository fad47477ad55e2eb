//! Reads any bytes as an archive of `docker save` and of an OCI layout: an error or an image, which
//! is then audited; no panic. Checksums of what looks like a header are put right first.

#![no_main]

use std::fs;
use std::str::FromStr as _;

use libfuzzer_sys::fuzz_target;
use warpdrive::audit::{Date, Policy, audit, docker_archive, oci_archive};

#[path = "../checksums.rs"]
mod checksums;

fuzz_target!(|bytes: &[u8]| {
    let place = tempfile::tempdir_in("/dev/shm").expect("a temporary directory");
    let file = place.path().join("archive.tar");
    fs::write(&file, checksums::put_right(bytes)).expect("a file");
    let today = Date::from_str("2026-06-01").expect("a date");
    for image in [docker_archive(&file, None), oci_archive(&file, None)]
        .into_iter()
        .flatten()
    {
        let _ = audit(&image, &Policy::default(), today);
    }
});
