use super::zip::declared_entries;
use super::*;
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;

/// Builds a tar entry by entry, with names that no tool would write.
struct Tar(Vec<u8>);

impl Tar {
    fn new() -> Self {
        Self(Vec::new())
    }

    fn entry(
        mut self,
        kind: u8,
        name: &str,
        link: &str,
        content: &[u8],
        size: Option<u64>,
    ) -> Self {
        let mut header = tar::Header::new_gnu();
        let raw = header.as_mut_bytes();
        raw[..name.len()].copy_from_slice(name.as_bytes());
        raw[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size.unwrap_or(content.len() as u64));
        if kind == b'3' {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
        }
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        let padding = (512 - content.len() % 512) % 512;
        self.0.extend(std::iter::repeat_n(0, padding));
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(b'0', name, "", content.as_bytes(), None)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

fn unpack(bytes: &[u8]) -> Result<(tempfile::TempDir, PathBuf), String> {
    let place = tempfile::tempdir().unwrap();
    let top = stream(bytes, place.path(), &|| false).map_err(|error| error.to_string())?;
    Ok((place, top))
}

#[test]
fn a_tree_comes_out_as_it_went_in() {
    let tar = Tar::new()
        .entry(b'5', "./", "", b"", None)
        .file("./app.py", "print()")
        .entry(b'5', "pkg/", "", b"", None)
        .file("deep/er/file", "x")
        .entry(b'2', "link", "pkg/../app.py", b"", None)
        .entry(b'1', "hard", "app.py", b"", None)
        .end();
    for bytes in [
        tar.clone(),
        zstd::encode_all(&tar[..], 3).unwrap(),
        gzip(&tar),
    ] {
        let (place, top) = unpack(&bytes).unwrap();
        assert_eq!(top, place.path());
        assert_eq!(
            std::fs::read_to_string(top.join("link")).unwrap(),
            "print()"
        );
        assert_eq!(
            std::fs::read_to_string(top.join("hard")).unwrap(),
            "print()"
        );
        assert!(top.join("deep/er/file").is_file() && top.join("pkg").is_dir());
        let mode = std::fs::metadata(top.join("app.py"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o7777, 0o755);
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

#[test]
fn a_single_directory_is_the_source() {
    let (place, top) = unpack(&Tar::new().file("app-1.0/app.py", "x").end()).unwrap();
    assert_eq!(top, place.path().join("app-1.0"));
    let (place, top) = unpack(&Tar::new().file(".s2i/bin/run", "x").end()).unwrap();
    assert_eq!(top, place.path());
    let (place, top) = unpack(&Tar::new().file("app/x", "x").file("setup.py", "x").end()).unwrap();
    assert_eq!(top, place.path());
}

#[test]
fn what_no_source_has_is_refused_each_with_its_reason() {
    let huge = 1 << 40;
    for (tar, reason) in [
        (Tar::new().file("../x", ""), "`..`"),
        (Tar::new().file("a/../../x", ""), "`..`"),
        (Tar::new().file("/etc/x", ""), "its name is absolute"),
        (
            Tar::new().entry(b'2', "x", "/etc/passwd", b"", None),
            "absolute path",
        ),
        (
            Tar::new().entry(b'2', "x", "../../etc/passwd", b"", None),
            "leads out",
        ),
        (
            Tar::new().entry(b'2', "a/x", "../../b", b"", None),
            "leads out",
        ),
        (
            Tar::new()
                .entry(b'2', "d", "sub", b"", None)
                .entry(b'5', "sub", "", b"", None)
                .file("d/x", ""),
            "below a symbolic link",
        ),
        (
            Tar::new().entry(b'1', "x", "/etc/passwd", b"", None),
            "hard link that leads out",
        ),
        (
            Tar::new().entry(b'1', "x", "../x", b"", None),
            "hard link that leads out",
        ),
        (
            Tar::new()
                .entry(b'1', "x", "later", b"", None)
                .file("later", ""),
            "no file that came before",
        ),
        (Tar::new().entry(b'3', "null", "", b"", None), "device node"),
        (Tar::new().entry(b'4', "sda", "", b"", None), "device node"),
        (Tar::new().entry(b'6', "pipe", "", b"", None), "FIFO"),
        (Tar::new().file("x", "1").file("x", "2"), "two members"),
        (Tar::new().file("x", "1").file("./x", "2"), "two members"),
        (
            Tar::new().file("x", "1").file("x/y", "2"),
            "not a directory",
        ),
        (
            Tar::new()
                .entry(b'2', "x", "y", b"", None)
                .entry(b'5', "x", "", b"", None),
            "two members",
        ),
        (
            Tar::new().entry(b'0', "x", "", b"", Some(huge)),
            "more than 8589934592 bytes",
        ),
        (Tar::new().entry(b'S', "x", "", b"", Some(512)), "sparse"),
        (Tar::new().entry(b'Z', "x", "", b"", None), "unknown type"),
    ] {
        let error = unpack(&tar.end()).map(|(_, top)| top).expect_err(reason);
        assert!(error.contains(reason), "{reason}: {error}");
    }
    for (bytes, reason) in [
        (&b""[..], "it is empty"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\0\0", "xz"),
        (b"PK\x03\x04xxxx", "zip archive, whose directory"),
        (&[7; 2000], "checksum"),
        (&[0; 1024], "nothing in it"),
    ] {
        let error = unpack(bytes).map(|(_, top)| top).expect_err(reason);
        assert!(error.contains(reason), "{reason}: {error}");
    }
    let whole = Tar::new().file("x", "some content").end();
    let error = unpack(&whole[..700]).map(|(_, top)| top).unwrap_err();
    assert!(error.contains("cannot be read"), "{error}");
}

#[test]
fn nothing_is_written_outside_whatever_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let inside = place.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    for tar in [
        Tar::new().file("../escaped", "x"),
        Tar::new()
            .entry(b'2', "up", "..", b"", None)
            .file("up/escaped", "x"),
    ] {
        assert!(stream(&tar.end()[..], &inside, &|| false).is_err());
    }
    let names: Vec<_> = std::fs::read_dir(place.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["inside"]);
}

#[test]
fn a_million_entries_are_too_many() {
    /// Headers of empty directories without an end.
    struct Endless(Vec<u8>, usize);
    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(self.0.len() - self.1);
            buffer[..count].copy_from_slice(&self.0[self.1..self.1 + count]);
            self.1 = (self.1 + count) % self.0.len();
            Ok(count)
        }
    }
    let one = Tar::new().entry(b'5', "d", "", b"", None).0;
    let place = tempfile::tempdir().unwrap();
    let error = stream(Endless(one, 0), place.path(), &|| false)
        .unwrap_err()
        .to_string();
    assert!(error.contains("more than 500000 entries"), "{error}");
}

/// A zip with the members given: name, mode, content.
fn zip_of(members: &[(&str, u32, &[u8])]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = ::zip::ZipWriter::new(file.reopen().unwrap());
    for (name, mode, content) in members {
        let options = ::zip::write::SimpleFileOptions::default().unix_permissions(*mode);
        if name.ends_with('/') {
            writer.add_directory(*name, options).unwrap();
        } else if mode & 0o170_000 == 0o120_000 {
            writer
                .add_symlink(*name, std::str::from_utf8(content).unwrap(), options)
                .unwrap();
        } else {
            writer.start_file(*name, options).unwrap();
            writer.write_all(content).unwrap();
        }
    }
    writer.finish().unwrap();
    file
}

fn unzip(file: &tempfile::NamedTempFile) -> Result<(tempfile::TempDir, PathBuf), String> {
    let place = tempfile::tempdir().unwrap();
    let top =
        super::file(file.path(), place.path(), &|| false).map_err(|error| error.to_string())?;
    Ok((place, top))
}

#[test]
fn zip_archives() {
    let archive = zip_of(&[
        ("app/", 0o755, b""),
        ("app/run.sh", 0o755, b"#!"),
        ("app/app.py", 0o644, b"x"),
        ("app/link", 0o120_777, b"app.py"),
    ]);
    let (_place, top) = unzip(&archive).unwrap();
    assert!(top.ends_with("app"));
    assert_eq!(std::fs::read_to_string(top.join("link")).unwrap(), "x");
    let mode = |name: &str| {
        std::fs::metadata(top.join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode("run.sh"), mode("app.py")), (0o755, 0o644));

    for (members, reason) in [
        (&[("../x", 0o644, &b""[..])][..], "`..`"),
        (&[("/x", 0o644, b"")], "absolute"),
        (&[("a\\..\\x", 0o644, b"")], "backslash"),
        (&[("x", 0o120_777, b"/etc/passwd")], "absolute path"),
        (&[("x", 0o120_777, b"../y")], "leads out"),
        (
            &[("d", 0o120_777, b"."), ("d/x", 0o644, b"")],
            "below a symbolic link",
        ),
    ] {
        let error = unzip(&zip_of(members))
            .map(|(_, top)| top)
            .expect_err(reason);
        assert!(error.contains(reason), "{reason}: {error}");
    }
}

#[test]
fn a_zip_with_one_name_twice_is_refused() {
    // The writer refuses it too: so two names of the same length are used, and one is overwritten afterwards.
    for (other, name) in [("app.pz", "app.py"), ("pkf/", "pkg/")] {
        let archive = zip_of(&[(other, 0o644, b"first"), (name, 0o644, b"last")]);
        assert!(unzip(&archive).is_ok(), "control");
        let mut bytes = std::fs::read(archive.path()).unwrap();
        for at in 0..bytes.len() - other.len() {
            if bytes[at..].starts_with(other.as_bytes()) {
                bytes[at..at + name.len()].copy_from_slice(name.as_bytes());
            }
        }
        std::fs::write(archive.path(), &bytes).unwrap();
        let error = unzip(&archive).map(|(_, top)| top).expect_err(name);
        assert!(error.contains("two members of this name"), "{error}");
        assert!(error.contains(name.trim_end_matches('/')), "{error}");
    }
    // Two directories beside each other; readers differ about which one they use.
    let archive = zip_of(&[("a", 0o644, b""), ("b", 0o644, b"")]);
    let mut bytes = std::fs::read(archive.path()).unwrap();
    let second = bytes
        .windows(4)
        .rposition(|bytes| bytes == b"PK\x01\x02")
        .unwrap();
    let end = bytes.len() - 22;
    let header = bytes[second..end].to_vec();
    bytes.splice(end..end, header);
    std::fs::write(archive.path(), &bytes).unwrap();
    assert!(unzip(&archive).is_err());
}

/// A reader of a stream takes what stands before the data of each member.
#[test]
fn a_zip_whose_members_are_not_what_its_directory_says_is_refused() {
    let whole = |members: &[_]| std::fs::read(zip_of(members).path()).unwrap();
    let position = |bytes: &[u8], what: &[u8]| {
        let mut windows = bytes.windows(what.len());
        windows.position(|window| window == what).unwrap()
    };
    let app = whole(&[("app.py", 0o644, b"one"), ("z", 0o644, b"")]);
    // Another name before the data than in the directory.
    let mut renamed = app.clone();
    let at = position(&renamed, b"app.py");
    renamed[at..at + 6].copy_from_slice(b"apq.py");
    // Two archives, one behind the other: the directory at the end has the members of the second.
    let other = whole(&[("other.py", 0o644, b"two")]);
    let joined = [&app[..], &other].concat();
    // A member that the directory no longer has.
    let mut hidden = app.clone();
    let at = position(&hidden, b"PK\x01\x02") + 46 + 6;
    let (header, end) = (hidden[at..hidden.len() - 22].to_vec(), hidden.len() - 22);
    let directory = u32::try_from(position(&hidden, b"PK\x01\x02")).unwrap();
    let mut last = hidden.split_off(end);
    hidden.truncate(directory as usize);
    hidden.extend(&header);
    last[8] = 1;
    last[10] = 1;
    last[12..16].copy_from_slice(&u32::try_from(header.len()).unwrap().to_le_bytes());
    hidden.extend(&last);
    for (bytes, reason) in [
        (renamed, "one name in its directory"),
        (joined, "can be read in two ways"),
        (hidden, "before its first member"),
    ] {
        let archive = zip_of(&[]);
        std::fs::write(archive.path(), &bytes).unwrap();
        let error = unzip(&archive).map(|(_, top)| top).expect_err(reason);
        assert!(error.contains(reason), "{reason}: {error}");
    }
    // In the middle as at the start.
    let app = whole(&[
        ("a", 0o644, b"one"),
        ("b", 0o644, b"two"),
        ("c", 0o644, b"three"),
    ]);
    let first = position(&app, b"PK\x01\x02");
    let second = first + 47;
    let mut hidden = [&app[..second], &app[second + 47..]].concat();
    let end = hidden.len() - 22;
    hidden[end + 8] = 2;
    hidden[end + 10] = 2;
    let size = u32::try_from(end - first).unwrap();
    hidden[end + 12..end + 16].copy_from_slice(&size.to_le_bytes());
    let archive = zip_of(&[]);
    std::fs::write(archive.path(), &hidden).unwrap();
    let error = unzip(&archive).map(|(_, top)| top).expect_err("hidden");
    assert!(
        error.contains("a member that its directory does not have"),
        "{error}"
    );
}

#[test]
fn a_zip_says_how_many_it_has_before_it_is_read() {
    let archive = zip_of(&[("x", 0o644, b"x")]);
    let mut bytes = std::fs::read(archive.path()).unwrap();
    assert_eq!(
        declared_entries(&File::open(archive.path()).unwrap()).unwrap(),
        1
    );
    // A zip64 end record with a million, and its locator, before the plain end record.
    let at = bytes.len() - 22;
    let mut record = b"PK\x06\x06".to_vec();
    record.resize(32, 0);
    record.extend(1_000_000u64.to_le_bytes());
    record.resize(56, 0);
    bytes.splice(at..at, record);
    std::fs::write(archive.path(), &bytes).unwrap();
    let error = unzip(&archive).map(|(_, top)| top).unwrap_err();
    assert!(error.contains("more than 500000 entries"), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_leave_the_directory(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let place = tempfile::tempdir().unwrap();
        let inside = place.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        let _ = stream(&bytes[..], &inside, &|| false);
        prop_assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn no_name_leaves_the_directory(name in "[./a]{1,12}", link in "[./a]{0,8}", kind in "[01256]") {
        let place = tempfile::tempdir().unwrap();
        let inside = place.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        let tar = Tar::new()
            .entry(b'2', "a", "a.", b"", None)
            .entry(kind.as_bytes()[0], &name, &link, b"", None)
            .file(&format!("{name}/x"), "x");
        let _ = stream(&tar.end()[..], &inside, &|| false);
        prop_assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }
}
