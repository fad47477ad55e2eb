//! Sources in archives and on standard input.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::interrupted;
use crate::support::process;
use crate::support::repository::{Place, preview};
use crate::support::warpdrive::{Warpdrive, copy_of, example};

#[test]
fn archives_and_standard_input() {
    let place = Place::new();
    let source = copy_of(&example("flask"), false);
    let (expected, _) = place.files(&["--path", source.path().to_str().unwrap()]);
    let at = |name: &str| place.directory.path().join(name);
    let tar = |more: &[&str], name: &str| {
        process::run(
            Command::new("tar")
                .arg("--create")
                .args(more)
                .arg("--file")
                .arg(at(name))
                .arg("-C")
                .arg(source.path())
                .arg("."),
        );
    };
    tar(&[], "app.tar");
    tar(&["--gzip"], "app.tar.gz");
    tar(&["--zstd"], "app.tar.zst");
    process::run(
        Command::new(process::tool("zip"))
            .args(["--quiet", "--recurse-paths", "--symlinks"])
            .arg(at("app.zip"))
            .arg(".")
            .current_dir(source.path()),
    );
    for name in ["app.tar", "app.tar.gz", "app.tar.zst", "app.zip"] {
        let (files, words) = place.files(&["--path", at(name).to_str().unwrap()]);
        assert_eq!(files, expected, "{name}: {words}");
    }
    for name in ["app.tar", "app.tar.gz"] {
        let output = preview(
            &place.store(),
            &[],
            Some(&fs::read(at(name)).unwrap()),
            &["--path", "-"],
        );
        assert!(output.status.success(), "{}", process::words(&output));
    }
    let output = preview(
        &place.store(),
        &[],
        Some(&fs::read(at("app.zip")).unwrap()),
        &["--path", "-"],
    );
    assert_eq!(output.status.code(), Some(1));
    process::says(&output, "give it as a file");

    // A member that climbs out, as GNU tar packs it.
    fs::write(place.directory.path().join("outside"), "x").unwrap();
    process::run(
        Command::new("tar")
            .args(["--create", "--absolute-names", "--file"])
            .arg(at("evil.tar"))
            .arg("../outside")
            .current_dir(place.store()),
    );
    let (code, words) = place.refuses(&["--path", at("evil.tar").to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(words.contains("its name has `..` in it"), "{words}");
}

#[test]
fn whoever_waits_for_standard_input_can_be_interrupted() {
    let warpdrive = Warpdrive::new();
    let mut child = warpdrive
        .command(&["s2i", "build", "-", "builder", "app"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take();
    interrupted::wait_for_source(&warpdrive);
    interrupted::interrupt(&warpdrive, child, "-TERM");
    drop(stdin);
}

/// The header of a member of a tar archive.
fn header(name: &str, size: u64) -> [u8; 512] {
    let mut header = tar::Header::new_ustar();
    header.set_path(name).unwrap();
    header.set_mode(0o644);
    header.set_size(size);
    header.set_cksum();
    *header.as_bytes()
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

#[test]
fn a_million_members_are_refused_before_one_is_unpacked() {
    let place = Place::new();
    let archive = place.directory.path().join("million.tar.gz");
    // Members of gzip one after the other are one stream (RFC 1952): a megabyte is a million headers.
    let headers: Vec<u8> = (0..1000)
        .flat_map(|number| header(&format!("{number:03}"), 0))
        .collect();
    let headers = gzipped(&headers);
    let mut file = fs::File::create(&archive).unwrap();
    for _ in 0..1000 {
        file.write_all(&headers).unwrap();
    }
    drop(file);
    let path = archive.to_str().unwrap();
    let (code, words) = place.refuses(&["--path", path]);
    assert_eq!(code, 1, "{words}");
    assert!(
        words.contains("more than 500000 entries, more than a source may have"),
        "{words}"
    );
    // Not as many, and of one name: it is unpacked, and refused for that.
    let mut file = fs::File::create(&archive).unwrap();
    for _ in 0..2 {
        file.write_all(&headers).unwrap();
    }
    drop(file);
    let (code, words) = place.refuses(&["--path", path]);
    assert_eq!(code, 1, "{words}");
    assert!(words.contains("000"), "{words}");
    assert!(!words.contains("entries"), "{words}");
}

/// In all the ways to say it, from a file and from a pipe.
#[test]
fn terabytes_that_are_not_there_are_refused_by_what_they_claim() {
    let place = Place::new();
    let source = place.directory.path().join("source");
    fs::create_dir(&source).unwrap();
    let file = fs::File::create(source.join("huge")).unwrap();
    file.set_len(1 << 40).unwrap();
    let mut archives = Vec::new();
    for format in ["gnu", "posix"] {
        let archive = place.directory.path().join(format!("{format}.tar"));
        process::run(
            Command::new("tar")
                .args(["--create", "--sparse", "--format", format, "--file"])
                .arg(&archive)
                .arg("-C")
                .arg(&source)
                .arg("."),
        );
        archives.push((fs::read(&archive).unwrap(), "sparse file"));
    }
    // A header that claims it, plain and compressed, with nothing behind it.
    let claimed = header("app.py", 1 << 40);
    archives.push((claimed.to_vec(), "8589934592 bytes"));
    archives.push((gzipped(&claimed), "8589934592 bytes"));
    let path = place.directory.path().join("source.tar");
    for (bytes, reason) in archives {
        fs::write(&path, &bytes).unwrap();
        let (code, words) = place.refuses(&["--path", path.to_str().unwrap()]);
        assert_eq!(code, 1, "{words}");
        assert!(words.contains(reason), "{words}");
        let output = preview(&place.store(), &[], Some(&bytes), &["--path", "-"]);
        let words = process::words(&output);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(words.contains(reason), "{words}");
    }
}
