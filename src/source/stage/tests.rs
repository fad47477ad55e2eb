use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::super::index::{Fingerprint, until_changes_are_later_than};
use super::super::{CollectOptions, StatIndex, collect};
use super::*;
use crate::oci::sha256;

fn tree(dir: &Path) -> Tree {
    collect(dir, &CollectOptions::default()).unwrap()
}

fn small() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("bin/empty")).unwrap();
    fs::write(dir.path().join("app.py"), b"print()").unwrap();
    fs::write(dir.path().join("bin/run"), b"#!/bin/sh").unwrap();
    for (name, mode) in [("app.py", 0o600), ("bin/run", 0o4711), ("bin", 0o700)] {
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("bin/run", dir.path().join("link")).unwrap();
    dir
}

#[test]
fn copies_have_the_modes_of_an_image() {
    let (dir, dest) = (small(), tempfile::tempdir().unwrap());
    let source = tree(dir.path());
    let digest = source.digest(None).unwrap();
    source.stage(dest.path(), None).unwrap();
    for (name, mode) in [
        ("app.py", 0o664),
        ("bin/run", 0o775),
        ("bin", 0o775),
        ("bin/empty", 0o775),
    ] {
        let metadata = fs::symlink_metadata(dest.path().join(name)).unwrap();
        assert_eq!(metadata.mode() & 0o7777, mode, "{name}");
    }
    assert_eq!(
        fs::read_link(dest.path().join("link")).unwrap(),
        Path::new("bin/run")
    );
    assert_eq!(fs::read(dest.path().join("app.py")).unwrap(), b"print()");
    assert_eq!(tree(dest.path()).digest(None).unwrap(), digest);
    // Existing files are not overwritten.
    assert!(source.stage(dest.path(), None).is_err());
}

#[test]
fn owners_are_set_where_that_is_allowed() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test gives files to others; run it as root, as `make test` is"
    );
    let (dir, dest) = (small(), tempfile::tempdir().unwrap());
    tree(dir.path())
        .stage(dest.path(), Some((1001, 0)))
        .unwrap();
    for name in ["app.py", "bin", "link"] {
        let metadata = fs::symlink_metadata(dest.path().join(name)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (1001, 0), "{name}");
    }
}

#[test]
fn an_edit_between_hashing_and_copying_is_an_error() {
    let (dir, dest) = (small(), tempfile::tempdir().unwrap());
    let source = tree(dir.path());
    source.digest(None).unwrap();
    fs::write(dir.path().join("app.py"), b"edited!").unwrap();
    let error = source.stage(dest.path(), None).unwrap_err();
    assert!(
        matches!(&error, SourceError::Changed { path } if path == Path::new("app.py")),
        "{error}"
    );
}

#[test]
fn a_file_that_became_a_link_is_not_followed() {
    let (dir, dest) = (small(), tempfile::tempdir().unwrap());
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), b"print()").unwrap();
    let source = tree(dir.path());
    fs::remove_file(dir.path().join("app.py")).unwrap();
    symlink(outside.path(), dir.path().join("app.py")).unwrap();
    assert!(source.digest(None).is_err());
    assert!(source.stage(dest.path(), None).is_err());
}

#[test]
fn an_index_spares_reading_and_sees_edits() {
    let dir = small();
    let saved = tempfile::NamedTempFile::new().unwrap();
    let path = dir.path().join("app.py");
    let first = tree(dir.path()).digest(None).unwrap();
    // What is just written is not remembered: as if it had been hashed an hour later. The hash of what is
    // known comes from the index, which a wrong one proves.
    let metadata = fs::metadata(&path).unwrap();
    let print = Fingerprint::of(&metadata);
    let later = SystemTime::now() + Duration::from_hours(1);
    let index = StatIndex::default();
    index.learn(Path::new("app.py"), print, &sha256(b"another"), later);
    index.save(saved.path()).unwrap();
    let index = StatIndex::load(saved.path());
    let known = tree(dir.path()).digest(Some(&index)).unwrap();
    assert_ne!(known, first);
    // Same size, same mtime: only ctime tells.
    until_changes_are_later_than(&metadata);
    fs::write(&path, b"PRINT()").unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(metadata.modified().unwrap()).unwrap();
    let index = StatIndex::load(saved.path());
    let edited = tree(dir.path()).digest(Some(&index)).unwrap();
    assert_ne!(edited, known);
    assert_ne!(edited, first);
    assert_eq!(edited, tree(dir.path()).digest(None).unwrap());
}

#[test]
fn a_store_keeps_the_index() {
    let (dir, place) = (small(), tempfile::tempdir().unwrap());
    let store = crate::store::Store::open(Some(&place.path().join("store"))).unwrap();
    let source = tree(dir.path());
    assert_eq!(
        source.digest_with(&store).unwrap(),
        source.digest(None).unwrap()
    );
}
