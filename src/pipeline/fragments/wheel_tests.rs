//! Wheels of all kinds, and what each makes of a tree.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use proptest::prelude::*;
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use super::super::locked_wheel::Pin;
use super::tree::{NotWritten, Tree};
use super::unfit::Unfit;
use super::wheel::{Site, Wheel, judge_directory};
use crate::app::assemble::records::{parse, record_hash};

/// A member of a wheel in the making.
#[derive(Debug, Clone)]
struct Member {
    name: String,
    content: String,
    kind: Kind,
    record: Record,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    File,
    Executable,
    Link,
}

/// What RECORD says of it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Record {
    Right,
    NoHash,
    WrongHash,
    Nothing,
}

fn file(name: &str, content: &str) -> Member {
    Member {
        name: name.into(),
        content: content.into(),
        kind: Kind::File,
        record: Record::Right,
    }
}

/// The wheel `evil` 1 with these members, as a file.
fn wheel(members: &[Member]) -> fs::File {
    let mut all: BTreeMap<&str, &Member> = BTreeMap::new();
    let own = [
        file(
            "evil-1.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: evil\nVersion: 1\n",
        ),
        file("evil-1.dist-info/WHEEL", "Wheel-Version: 1.0\n"),
    ];
    for member in own.iter().chain(members) {
        all.insert(&member.name, member);
    }
    let mut record = String::new();
    let mut zip = ZipWriter::new(tempfile::tempfile().unwrap());
    for member in all.values() {
        let path = if member.name.contains([',', '"']) {
            format!("\"{}\"", member.name.replace('"', "\"\""))
        } else {
            member.name.clone()
        };
        add(&mut zip, member);
        let hash = match member.record {
            Record::Right => record_hash(member.content.as_bytes()),
            Record::NoHash => String::new(),
            Record::WrongHash => record_hash(b"something else"),
            Record::Nothing => continue,
        };
        let _ = writeln!(record, "{path},{hash},{}", member.content.len());
    }
    record.push_str("evil-1.dist-info/RECORD,,\n");
    add(&mut zip, &file("evil-1.dist-info/RECORD", &record));
    let mut file = zip.finish().unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file
}

/// Adds the member to the archive.
fn add(zip: &mut ZipWriter<fs::File>, member: &Member) {
    let options = SimpleFileOptions::default();
    match member.kind {
        Kind::Link => zip
            .add_symlink(&*member.name, &*member.content, options)
            .unwrap(),
        kind => {
            let mode = if kind == Kind::Executable {
                0o755
            } else {
                0o644
            };
            zip.start_file(&*member.name, options.unix_permissions(mode))
                .unwrap();
            zip.write_all(member.content.as_bytes()).unwrap();
        }
    }
}

fn pin() -> Pin {
    Pin {
        name: "evil".into(),
        version: "1".into(),
        wheel: String::new(),
    }
}

/// Installs it below `place`.
fn install(file: fs::File, place: &Path) -> Result<Tree, Unfit> {
    let mut wheel = Wheel::read(file, &pin(), &Site::of("3.11"))?;
    let mut spending = crate::layer::Spending::unlimited();
    Tree::write(place.to_owned(), &mut wheel, &mut spending).map_err(|error| match error {
        NotWritten::Unfit(unfit) => unfit,
        NotWritten::Error(error) => panic!("{error}"),
    })
}

/// A package's author fills no disk and no memory, and holds up no build.
#[test]
fn what_a_wheel_unpacks_to_is_bounded() {
    use crate::layer::{Budget, LayerError};
    use crate::pipeline::BuildError;
    const MIB: u64 = 1 << 20;
    let zeros = "\0".repeat(3 << 20);
    let place = tempfile::tempdir().unwrap();
    let mut number = 0;
    let mut write = |budget: &Budget| {
        number += 1;
        let file = wheel(&[file("evil/data.bin", &zeros)]);
        let mut wheel = Wheel::read(file, &pin(), &Site::of("3.11")).unwrap();
        let place = place.path().join(number.to_string());
        match Tree::write(place, &mut wheel, &mut budget.begin()) {
            Ok(_) => None,
            Err(NotWritten::Error(BuildError::Layer(error))) => Some(error),
            Err(other) => panic!("{other:?}"),
        }
    };
    let never = || false;
    assert!(write(&Budget::new(4 * MIB, 4 * MIB, None, never)).is_none());
    let refused = write(&Budget::new(2 * MIB, 9 * MIB, None, never));
    assert!(matches!(
        refused,
        Some(LayerError::TooLarge { what: "layer", .. })
    ));
    // What one installation unpacks is one account, and the build's layers are another.
    let budget = Budget::new(4 * MIB, 5 * MIB, None, never);
    assert!(write(&budget).is_none());
    assert!(write(&budget.anew()).is_none());
    let refused = write(&budget);
    assert!(matches!(
        refused,
        Some(LayerError::TooLarge { what: "build", .. })
    ));
    let refused = write(&Budget::new(9 * MIB, 9 * MIB, None, || true));
    assert!(matches!(refused, Some(LayerError::Interrupted)));
    // What is read as a whole is text of a size that people write.
    let large = |start: &str| format!("{start}{}", " ".repeat(65 << 20));
    let script = "evil-1.data/scripts/run";
    for (name, content, fits) in [
        (script, large("#!python\n"), false),
        (script, large("\x7fELF"), true),
        ("evil/code.py", large("#"), false),
        ("evil/data.txt", large("#"), true),
    ] {
        let installed = tempfile::tempdir().unwrap();
        let result = install(
            wheel(&[file(name, &content)]),
            &installed.path().join("tree"),
        );
        assert_eq!(result.is_ok(), fits, "{name}");
        if !fits {
            assert!(matches!(result.err(), Some(Unfit::Odd(_))), "{name}");
        }
    }
}

/// All files below a directory, from there.
fn files(place: &Path) -> Vec<String> {
    let mut found: Vec<String> = walkdir::WalkDir::new(place)
        .into_iter()
        .map(Result::unwrap)
        .filter(|entry| !entry.file_type().is_dir())
        .map(|entry| {
            let metadata = entry.metadata().unwrap();
            assert!(metadata.is_file() && metadata.nlink() == 1, "{entry:?}");
            entry
                .path()
                .strip_prefix(place)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    found.sort();
    found
}

const SITE: &str = "opt/app-root/lib/python3.11/site-packages";

fn is_byte_code(name: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|extension| extension == "pyc")
}

/// The tree is what its RECORD lists, and that is what the wheel's lists, in places for packages.
fn assert_holds(place: &Path, members: &[Member]) {
    let site = place.join(SITE);
    let record = fs::read_to_string(site.join("evil-1.dist-info/RECORD")).unwrap();
    let mut listed = Vec::new();
    for entry in parse(&record) {
        let path = site.join(&entry.path).canonicalize().unwrap();
        let path = path
            .strip_prefix(place)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if !path.ends_with("evil-1.dist-info/RECORD") {
            let content = fs::read(place.join(&path)).unwrap();
            assert_eq!(entry.hash, record_hash(&content), "{path}");
        }
        listed.push(path);
    }
    listed.sort();
    let found = files(place);
    assert_eq!(found, listed);
    for path in &found {
        let inside = path.strip_prefix("opt/app-root/").unwrap();
        let first = inside.split('/').next().unwrap();
        assert!(!first.starts_with('.'), "{path}");
        assert!(
            !["src", "s2i", "pyvenv.cfg", "uv.toml", "pip.conf"].contains(&first),
            "{path}"
        );
        assert!(
            !inside.starts_with("bin/python") && inside != "bin/warpdrive",
            "{path}"
        );
        assert!(
            !(path.contains("__pycache__") && is_byte_code(path)),
            "{path}"
        );
        assert!(
            !path.starts_with("opt/app-root/lib/python3.11/site-packages/six-1"),
            "{path}"
        );
    }
    let brought = members
        .iter()
        .filter(|member| !(member.name.contains("__pycache__/") && is_byte_code(&member.name)));
    for member in brought {
        assert_eq!(member.record, Record::Right, "{member:?} was accepted");
    }
}

fn members() -> impl Strategy<Value = Vec<Member>> {
    let place = prop_oneof![
        6 => Just(""),
        2 => Just("evil-1.data/purelib/"),
        1 => Just("evil-1.data/platlib/"),
        2 => Just("evil-1.data/scripts/"),
        2 => Just("evil-1.data/data/"),
        1 => Just("evil-1.data/data/share/"),
        1 => Just("evil-1.data/headers/"),
        1 => Just("evil-1.data/other/"),
        1 => Just("evil-1.dist-info/"),
    ];
    let part = prop_oneof![
        12 => prop::sample::select(vec!["a", "b", "pkg", "c.py", "d.so", "with,comma.py", "é.py", "share"]),
        1 => prop::sample::select(vec![
            "..", ".", "", ".s2i", "s2i", "src", "bin", "python3", "pyvenv.cfg", "uv.toml", "warpdrive",
            "pip.conf", "lib",
            "python3.11", "site-packages", "__pycache__", "six-1.dist-info", "INSTALLER", ".hidden",
            "six.cpython-311.opt-1.pyc", "c.cpython-311.pyc", "entry_points.txt", "a\\b", "new\nline", "\"q\"",
        ]),
    ];
    let content = prop_oneof![
        Just("x = 1\n"),
        Just("#!python\nprint()\n"),
        Just("[console_scripts]\nx = a:b\n../y = a:b\n"),
        Just("../../../../etc/passwd"),
        Just(""),
    ];
    let kind =
        prop_oneof![6 => Just(Kind::File), 1 => Just(Kind::Executable), 1 => Just(Kind::Link)];
    let record = prop_oneof![
        30 => Just(Record::Right),
        1 => Just(Record::NoHash),
        1 => Just(Record::WrongHash),
        1 => Just(Record::Nothing),
    ];
    let member = (
        place,
        prop::collection::vec(part, 1..4),
        content,
        kind,
        record,
    )
        .prop_map(|(place, parts, content, kind, record)| Member {
            name: format!("{place}{}", parts.join("/")),
            content: content.into(),
            kind,
            record,
        });
    prop::collection::vec(member, 0..6).prop_map(|members| {
        let mut once = BTreeMap::new();
        for member in members {
            // A name that ends in a slash is a directory's.
            if !member.name.ends_with('/') && member.name != "evil-1.dist-info/RECORD" {
                once.insert(member.name.clone(), member);
            }
        }
        once.into_values().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_tree_is_what_the_record_lists(members in members()) {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap().join("tree");
        match install(wheel(&members), &place) {
            Ok(_) => assert_holds(&place, &members),
            // All of it was judged before.
            Err(Unfit::Hostile(_)) => assert!(!place.exists()),
            Err(Unfit::Odd(_)) => {}
        }
    }
}

#[test]
fn what_becomes_of_each() {
    let unlisted = |name: &str| Member {
        record: Record::Nothing,
        ..file(name, "x")
    };
    for (member, expected) in [
        (
            file("a/b.py", "x"),
            Some("lib/python3.11/site-packages/a/b.py"),
        ),
        (
            file("evil-1.data/purelib/b.py", "x"),
            Some("lib/python3.11/site-packages/b.py"),
        ),
        (
            file("evil-1.data/scripts/tool", "#!python\n"),
            Some("bin/tool"),
        ),
        (
            file("evil-1.data/data/share/man/x.1", "x"),
            Some("share/man/x.1"),
        ),
        (
            file("evil-1.data/data/etc/jupyter/x.json", "x"),
            Some("etc/jupyter/x.json"),
        ),
        (
            file("evil-1.data/headers/x.h", "x"),
            Some("include/site/python3.11/evil/x.h"),
        ),
        (
            file("other-1.data/data/.s2i/x", "x"),
            Some("lib/python3.11/site-packages/other-1.data/data/.s2i/x"),
        ),
        (
            file(".hidden/x.py", "x"),
            Some("lib/python3.11/site-packages/.hidden/x.py"),
        ),
        (
            file("six.pyc", "x"),
            Some("lib/python3.11/site-packages/six.pyc"),
        ),
        // Left to the installer.
        (unlisted("a.py"), None),
        (file("evil-1.data/data/LICENSE", "x"), None),
        (file("evil-1.data/data/lib/python3.11/os.py", "x"), None),
        (file("evil-1.data/data/lib64/x", "x"), None),
        (
            file(
                "evil-1.data/data/lib/python3.11/site-packages/six-1.dist-info/RECORD",
                "x",
            ),
            None,
        ),
        (file("six-1.dist-info/RECORD", "x"), None),
        (file("evil-1.dist-info/INSTALLER", "x"), None),
        (file("a\\b", "x"), None),
        (file("x/__pycache__", "x"), None),
    ] {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap().join("tree");
        let result = install(wheel(std::slice::from_ref(&member)), &place);
        match expected {
            Some(path) => {
                assert!(result.is_ok(), "{member:?}: {:?}", result.err());
                let path = format!("opt/app-root/{path}");
                assert!(
                    files(&place).contains(&path),
                    "{member:?}: {:?}",
                    files(&place)
                );
            }
            None => assert!(matches!(result.err(), Some(Unfit::Odd(_))), "{member:?}"),
        }
    }
}

#[test]
fn directories_on_the_way_to_a_file() {
    for (place, good) in [
        ("share", true),
        ("share/man", true),
        ("lib", true),
        ("src", false),
        ("s2i", false),
        ("", false),
    ] {
        assert_eq!(judge_directory(Path::new(place)).is_ok(), good, "{place}");
    }
}

#[test]
fn what_no_package_may() {
    for name in [
        "../x",
        "/etc/passwd",
        "a/../../x",
        "evil-1.data/data/.s2i/bin/assemble",
        "evil-1.data/data/s2i/bin/run",
        "evil-1.data/data/src/app.py",
        "evil-1.data/data/.warpdrive/environment",
        "evil-1.data/data/pyvenv.cfg",
        "evil-1.data/data/uv.toml",
        "evil-1.data/data/pip.conf",
        "evil-1.data/data/bin/python3.11",
        "evil-1.data/data/.profile",
        "evil-1.data/data/etc/warpdrive/plan.json",
        "evil-1.data/scripts/warpdrive",
        "evil-1.data/scripts/python",
        "evil-1.data/scripts/activate",
    ] {
        for record in [Record::Right, Record::Nothing] {
            let member = Member {
                record,
                ..file(name, "x")
            };
            let place = tempfile::tempdir().unwrap();
            let place = place.path().join("tree");
            let refused = install(wheel(&[member]), &place).err();
            assert!(
                matches!(refused, Some(Unfit::Hostile(_))),
                "{name}: {refused:?}"
            );
            assert!(!place.exists(), "{name}");
        }
    }
}

#[test]
fn byte_code_that_came_along_is_dropped() {
    let code = |record| Member {
        record,
        ..file("__pycache__/six.cpython-311.opt-1.pyc", "x")
    };
    for record in [Record::Right, Record::Nothing, Record::WrongHash] {
        let place = tempfile::tempdir().unwrap();
        let place = place.path().canonicalize().unwrap().join("tree");
        let members = [code(record), file("a.py", "x")];
        assert!(install(wheel(&members), &place).is_ok());
        assert_holds(&place, &members);
    }
}

#[test]
fn an_archive_names_nothing_twice() {
    let mut file = wheel(&[file("aaaa.py", "x"), file("bbbb.py", "y")]);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
    let mut changed = 0;
    for at in 0..bytes.len() - 7 {
        if &bytes[at..at + 7] == b"bbbb.py" {
            bytes[at..at + 7].copy_from_slice(b"aaaa.py");
            changed += 1;
        }
    }
    assert!(changed >= 2);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let place = tempfile::tempdir().unwrap();
    let refused = install(file, &place.path().join("tree")).err();
    let twice = |words: &str| words.contains("aaaa.py twice");
    assert!(
        matches!(&refused, Some(Unfit::Hostile(words)) if twice(words)),
        "{refused:?}"
    );
}

/// An installer that reads a stream takes the name before the data.
#[test]
fn a_wheel_whose_members_have_two_names_is_not_shared() {
    let mut file = wheel(&[file("aaaa.py", "x"), file("bbbb.py", "y")]);
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut file, &mut bytes).unwrap();
    let local = bytes.windows(7).position(|it| it == b"bbbb.py").unwrap();
    bytes[local..local + 7].copy_from_slice(b"cccc.py");
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let place = tempfile::tempdir().unwrap();
    let refused = install(file, &place.path().join("tree")).err();
    assert!(
        matches!(&refused, Some(Unfit::Odd(words)) if words.contains("before its data")),
        "{refused:?}"
    );
}
