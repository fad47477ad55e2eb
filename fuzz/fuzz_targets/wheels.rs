//! Judges a wheel: what it installs, or why it is left to the installer. No panic, and no place that a
//! package may not have. The bytes are the archive, or, where they begin with `=== NAME`, its members,
//! cut at such lines: an archive's checksums are not to be guessed.

#![no_main]

use std::io::{Seek, Write};
use std::path::Component;

use libfuzzer_sys::fuzz_target;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// Names that come twice are left out, as the writer refuses them.
fn archive(text: &str) -> Vec<u8> {
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for part in text.split("=== ").skip(1).take(24) {
        let (name, content) = part.split_once('\n').unwrap_or((part, ""));
        if archive.start_file(name, SimpleFileOptions::default()).is_ok() {
            archive.write_all(content.as_bytes()).expect("it is memory");
        }
    }
    archive.finish().expect("it is memory").into_inner()
}

fuzz_target!(|bytes: &[u8]| {
    let mut file = tempfile::tempfile().expect("a file");
    match std::str::from_utf8(bytes) {
        Ok(text) if text.starts_with("=== ") => file.write_all(&archive(text)),
        _ => file.write_all(bytes),
    }
    .expect("it is written");
    file.rewind().expect("it is read from the start");
    let Some(places) = warpdrive::pipeline::places_of_wheel(file, "evil", "1", "3.11") else {
        return;
    };
    for place in places {
        assert!(
            place.components().all(|part| matches!(part, Component::Normal(_))),
            "{place:?}"
        );
        let first = place.components().next().expect("a path");
        assert!(
            !matches!(
                first.as_os_str().to_str(),
                None | Some(".s2i" | "s2i" | "src" | ".warpdrive" | "pyvenv.cfg")
            ),
            "{place:?}"
        );
        assert!(!place.starts_with("bin/warpdrive") && !place.starts_with("bin/python"));
        assert!(place.extension().is_none_or(|extension| extension != "pyc"), "{place:?}");
    }
});
