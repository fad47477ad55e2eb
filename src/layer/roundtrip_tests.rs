//! Writing and unpacking are each other's inverse, and other programs read what is written.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;

use super::write::write_with;
use super::*;
use crate::oci::sha256;

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

fn options() -> ApplyOptions {
    ApplyOptions {
        ownership: root(),
        userxattr: !root(),
        devices: root(),
        ..ApplyOptions::default()
    }
}

fn ids() -> (u32, u32) {
    if root() {
        return (1001, 0);
    }
    let gid = rustix::process::getegid().as_raw();
    (rustix::process::geteuid().as_raw(), gid)
}

fn entry(path: &str, kind: Kind, mode: u32) -> Entry {
    let (uid, gid) = ids();
    Entry {
        path: path.into(),
        kind,
        mode,
        uid,
        gid,
        mtime: Mtime::Fixed(1_000_000),
        xattrs: BTreeMap::new(),
    }
}

/// A layer with one of everything.
fn sample() -> Vec<Entry> {
    let mut attributes = entry("dir/attributes", Kind::Bytes(b"x".to_vec()), 0o644);
    attributes
        .xattrs
        .insert("user.note".into(), b"\0binary\xff".to_vec());
    let mut gone = entry("dir/gone", Kind::Whiteout, 0o644);
    (gone.uid, gone.gid) = (0, 0);
    let mut opaque = entry("empty", Kind::Opaque, 0o644);
    (opaque.uid, opaque.gid) = (0, 0);
    vec![
        entry("dir", Kind::Directory, 0o2775),
        attributes,
        gone,
        entry("dir/file", Kind::Bytes(b"content".to_vec()), 0o4755),
        entry("dir/link", Kind::Symlink("../dir/file".into()), 0o777),
        entry("dir/same", Kind::HardLink("dir/file".into()), 0o4755),
        entry(
            &format!("dir/{}", "long".repeat(60)),
            Kind::Bytes(vec![]),
            0o600,
        ),
        entry("dir/öl ☃", Kind::Bytes(vec![0; 3000]), 0o444),
        entry("empty", Kind::Directory, 0o700),
        opaque,
    ]
}

/// Entries whose content is in memory, so that they can be compared.
fn loaded(entries: Vec<Entry>) -> Vec<Entry> {
    entries
        .into_iter()
        .map(|entry| match &entry.kind {
            Kind::File { source, .. } => Entry {
                kind: Kind::Bytes(fs::read(source).unwrap()),
                ..entry
            },
            // Times of whiteouts mean nothing.
            Kind::Whiteout | Kind::Opaque => Entry {
                mtime: Mtime::Fixed(1_000_000),
                ..entry
            },
            _ => entry,
        })
        .collect()
}

fn packed(entries: &[Entry], compression: Compression) -> (Vec<u8>, Written) {
    let mut out = Vec::new();
    let written = write(entries, compression, &mut out).unwrap();
    (out, written)
}

fn unpack(bytes: &[u8], directory: &Path) -> Applied {
    apply(decompressor(bytes), directory, &options()).unwrap()
}

/// One name for every file: hard links compare as "the first in order is the file".
fn normal(mut entries: Vec<Entry>) -> Vec<Entry> {
    entries.sort_by(|a, b| {
        (a.path.as_os_str(), a.kind == Kind::Opaque)
            .cmp(&(b.path.as_os_str(), b.kind == Kind::Opaque))
    });
    entries
}

#[test]
fn unpacking_and_scanning_gives_back_what_was_written() {
    for compression in [
        Compression::None,
        Compression::Gzip(6),
        Compression::Zstd(3),
    ] {
        let (bytes, written) = packed(&sample(), compression);
        assert_eq!(written.size, bytes.len() as u64);
        assert_eq!(written.digest, sha256(&bytes));
        let directory = tempfile::tempdir().unwrap();
        let applied = unpack(&bytes, directory.path());
        assert_eq!(applied.skipped, []);
        assert_eq!(applied.implied, Vec::<PathBuf>::new());
        assert_eq!(applied.bytes, written.uncompressed);
        let scan = scan(directory.path(), &[]).unwrap();
        assert_eq!(loaded(scan.entries), normal(sample()));
        assert_eq!(scan.skipped, Vec::<PathBuf>::new());
    }
}

#[test]
fn system_tools_read_what_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layer.tar.gz");
    let written = write(
        &sample(),
        Compression::Gzip(6),
        fs::File::create(&path).unwrap(),
    )
    .unwrap();
    let gzip = Command::new("gzip").arg("-t").arg(&path).output().unwrap();
    assert!(gzip.status.success(), "{gzip:?}");
    assert!(gzip.stderr.is_empty(), "{gzip:?}");
    let list = Command::new("tar")
        .args(["--utc", "--numeric-owner", "-tvzf"])
        .arg(&path)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    assert!(list.status.success() && list.stderr.is_empty(), "{list:?}");
    let list = String::from_utf8(list.stdout).unwrap();
    let names: Vec<_> = list
        .lines()
        .map(|line| &line[line.len().min(48)..])
        .collect();
    assert_eq!(names.len(), sample().len(), "{list}");
    for part in [
        "drwxrwsr-x",
        "-rwsr-xr-x",
        "dir/.wh.gone\n",
        "dir/link -> ../dir/file\n",
        "dir/same link to dir/file\n",
        "empty/.wh..wh..opq\n",
        "dir/öl ☃\n",
        "1970-01-12 13:46",
    ] {
        assert!(list.contains(part), "{part} in {list}");
    }
    assert_eq!(written.digest, sha256(&fs::read(&path).unwrap()));
}

#[test]
fn archives_of_gnu_tar_unpack_as_they_were_packed() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    fs::create_dir(&tree).unwrap();
    let script = r#"
        long=$(printf 'n%.0s' $(seq 200))
        mkdir -p "d/$long/$long" empty sticky
        echo text >"d/$long/$long/$long"; echo x >plain; ln plain other; ln -s plain link
        ln -s "$long/$long" longlink; chmod 4751 plain; chmod 1777 sticky; mkfifo pipe
        printf x >'odd name: ü\n'; touch -d '1969-12-31 23:00:00.25 UTC' old; truncate -s 100000 zeros
        touch -d '2001-02-03 04:05:06 UTC' d empty "d/$long"
    "#;
    let made = Command::new("sh")
        .args(["-ec", script])
        .current_dir(&tree)
        .status();
    assert!(made.unwrap().success());
    let look = |directory: &Path| {
        let list = Command::new("find")
            .args([".", "-printf", "%p|%y|%m|%U:%G|%n|%l|%Ts\\n"])
            .current_dir(directory)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&list.stdout).into_owned();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    for format in ["gnu", "pax"] {
        let packed = Command::new("tar")
            .arg(format!("--format={format}"))
            .args(["-c", "."])
            .current_dir(&tree)
            .output()
            .unwrap();
        assert!(packed.status.success());
        let unpacked = place.path().join(format);
        fs::create_dir(&unpacked).unwrap();
        let applied = unpack(&packed.stdout, &unpacked);
        assert_eq!(applied.skipped, []);
        assert_eq!(look(&unpacked), look(&tree), "{format}");
        for file in ["plain", "other", "zeros"] {
            let read = |directory: &Path| fs::read(directory.join(file)).unwrap();
            assert!(read(&tree) == read(&unpacked), "{format}: {file}");
        }
    }
}

#[test]
fn the_number_of_threads_and_the_order_of_entries_change_nothing() {
    let mut entries = sample();
    let noise: Vec<u8> = (0..9_000_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8 & 0x1f)
        .collect();
    entries.push(entry("noise", Kind::Bytes(noise), 0o644));
    for compression in [
        Compression::None,
        Compression::Gzip(6),
        Compression::Zstd(3),
    ] {
        let mut results = Vec::new();
        for threads in [1, 2, 4, 9] {
            let mut out = Vec::new();
            let written = write_with(&entries, compression, threads, &mut out, None, None).unwrap();
            results.push((written.digest.to_string(), written.diff_id.to_string()));
            entries.reverse();
        }
        results.dedup();
        assert_eq!(results.len(), 1, "{compression:?}");
    }
}

#[test]
fn times_of_content_change_with_the_content_only() {
    let directory = tempfile::tempdir().unwrap();
    let mut times = Vec::new();
    let big = vec![7; 3_000_000];
    for (name, content) in [("a", &b"one"[..]), ("b", b"two"), ("big", &big)] {
        let source = directory.path().join(name);
        fs::write(&source, content).unwrap();
        let size = content.len() as u64;
        for kind in [Kind::File { source, size }, Kind::Bytes(content.to_vec())] {
            let mut entry = entry(name, kind, 0o644);
            entry.mtime = Mtime::OfContent {
                reference: 1_700_000_000,
            };
            let (bytes, _) = packed(&[entry], Compression::None);
            let member = TarReader::new(&bytes[..], Limits::default())
                .next_member()
                .unwrap()
                .unwrap();
            let hex = sha256(content).digest()[..4].to_owned();
            let bits = i64::from_str_radix(&hex, 16).unwrap();
            assert_eq!(member.mtime, 1_700_000_000 - bits, "{name}");
            times.push(member.mtime);
        }
    }
    assert_ne!(times[0], times[2]);
    let mut link = entry("l", Kind::Symlink("x".into()), 0o777);
    link.mtime = Mtime::OfContent { reference: 5 };
    let (bytes, _) = packed(&[link], Compression::None);
    let member = TarReader::new(&bytes[..], Limits::default()).next_member();
    assert_eq!(member.unwrap().unwrap().mtime, 5);
}

#[test]
fn files_that_are_not_what_they_were_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("file");
    fs::write(&source, "four").unwrap();
    let fifo = directory.path().join("fifo");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(&source, &link).unwrap();
    for (source, size) in [
        (&source, 3),
        (&source, 5),
        (&source, 9_000_000),
        (&fifo, 0),
        (&link, 4),
    ] {
        let kind = Kind::File {
            source: source.clone(),
            size,
        };
        let error = write(
            &[entry("f", kind, 0o644)],
            Compression::None,
            std::io::sink(),
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains(source.to_str().unwrap()), "{error}");
    }
    // Grows while it is read: more bytes come than the file said it has.
    let endless = entry(
        "f",
        Kind::File {
            source: "/proc/self/status".into(),
            size: 0,
        },
        0o644,
    );
    let error = write(&[endless], Compression::None, std::io::sink()).unwrap_err();
    assert!(matches!(error, LayerError::Changed { .. }), "{error}");
}

#[test]
fn entries_that_no_reader_would_understand_are_refused() {
    let file = || Kind::Bytes(vec![]);
    for entries in [
        vec![entry("", file(), 0)],
        vec![entry("/a", file(), 0)],
        vec![entry("../a", file(), 0)],
        vec![entry("a/../b", file(), 0)],
        vec![entry("./a", file(), 0)],
        vec![entry("a/", file(), 0)],
        vec![entry("a//b", file(), 0)],
        vec![entry("a\0b", file(), 0)],
        vec![entry(".wh.a", file(), 0)],
        vec![entry("a/.wh..wh..opq", file(), 0)],
        vec![entry(".wh.d/a", file(), 0)],
        vec![entry(&"n".repeat(256), file(), 0)],
        vec![entry(&"n/".repeat(2048), file(), 0)],
        vec![entry("a", file(), 0), entry("a", Kind::Directory, 0)],
        vec![
            entry("a", Kind::HardLink("b".into()), 0),
            entry("b", file(), 0),
        ],
        vec![entry("b", Kind::HardLink("a".into()), 0)],
        vec![entry("b", Kind::HardLink("b".into()), 0)],
        vec![
            entry("a", Kind::Directory, 0),
            entry("b", Kind::HardLink("a".into()), 0),
        ],
        vec![entry("a", Kind::Symlink("".into()), 0)],
    ] {
        let result = write(&entries, Compression::None, std::io::sink());
        assert!(
            matches!(result, Err(LayerError::Entry { .. })),
            "{entries:?}"
        );
    }
}

#[test]
fn a_rewritten_stream_has_what_was_kept() {
    let (bytes, _) = packed(&sample(), Compression::None);
    let mut out = Vec::new();
    let written = rewrite(
        &bytes[..],
        &mut |member| {
            member.mtime = 7;
            match member.path.to_str().unwrap() {
                "dir/file" => Edit::Replace(b"other".to_vec()),
                "dir/link" => Edit::Drop,
                _ => Edit::Keep,
            }
        },
        Compression::Gzip(1),
        &mut out,
        &Budget::new(u64::MAX, u64::MAX, None, || false),
    )
    .unwrap();
    assert_eq!(written.digest, sha256(&out));
    let directory = tempfile::tempdir().unwrap();
    unpack(&out, directory.path());
    let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap();
    assert_eq!(
        (read("dir/file"), read("dir/same")),
        ("other".into(), "other".into())
    );
    assert!(!directory.path().join("dir/link").is_symlink());
    assert_eq!(
        fs::metadata(directory.path().join("dir")).unwrap().mtime(),
        7
    );
    let again = rewrite(
        &bytes[..],
        &mut |_| Edit::Keep,
        Compression::None,
        std::io::sink(),
        &Budget::new(u64::MAX, u64::MAX, None, || false),
    );
    assert_eq!(again.unwrap().digest, sha256(&bytes));
}

#[test]
fn a_rewritten_stream_ends_with_its_budget() {
    let (bytes, _) = packed(&sample(), Compression::None);
    let rewritten = |edit: &Edit, budget: &Budget| {
        rewrite(
            &bytes[..],
            &mut |_| edit.clone(),
            Compression::None,
            std::io::sink(),
            budget,
        )
    };
    let most = |layer, build| Budget::new(layer, build, None, || false);
    for budget in [most(4, u64::MAX), most(u64::MAX, 4)] {
        let result = rewritten(&Edit::Keep, &budget);
        assert!(
            matches!(result, Err(LayerError::TooLarge { limit: 4, .. })),
            "{result:?}"
        );
    }
    // What is left out counts nothing, and is not a way to go on after an interrupt.
    rewritten(&Edit::Drop, &most(0, 0)).unwrap();
    for edit in [Edit::Keep, Edit::Drop] {
        let budget = Budget::new(u64::MAX, u64::MAX, None, || true);
        let result = rewritten(&edit, &budget);
        assert!(matches!(result, Err(LayerError::Interrupted)), "{result:?}");
    }
    let budget = Budget::new(u64::MAX, u64::MAX, Some(std::time::Duration::ZERO), || {
        false
    });
    let result = rewritten(&Edit::Keep, &budget);
    assert!(matches!(result, Err(LayerError::TimedOut)), "{result:?}");
}

#[test]
fn compressed_streams_that_are_damaged_are_errors() {
    use std::io::Read;
    let (plain, _) = packed(&sample(), Compression::None);
    let (gzip, _) = packed(&sample(), Compression::Gzip(6));
    let (zstd, _) = packed(&sample(), Compression::Zstd(3));
    let read = |bytes: &[u8]| {
        let mut out = Vec::new();
        decompressor(bytes).read_to_end(&mut out).map(|_| out)
    };
    assert_eq!(read(b"").unwrap(), b"");
    for packed in [&plain, &gzip, &zstd] {
        assert!(read(packed).unwrap() == plain);
    }
    for packed in [&gzip, &zstd] {
        let twice = [&packed[..], &packed[..]].concat();
        assert_eq!(read(&twice).unwrap().len(), plain.len() * 2);
        for length in [4, 5, packed.len() / 2, packed.len() - 1] {
            assert!(read(&packed[..length]).is_err(), "{length} bytes");
        }
        assert!(read(&[&packed[..], b"garbage"].concat()).is_err());
        let mut flipped = packed.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 0x55;
        assert!(read(&flipped).is_err());
    }
    // The reader below is read to its end, so that its digest covers all of it.
    let mut counted = crate::oci::Sha256Reader::new(&gzip[..]);
    decompressor(&mut counted)
        .read_to_end(&mut Vec::new())
        .unwrap();
    assert_eq!(counted.finish().1, sha256(&gzip));
}

#[test]
fn mounts_made_by_overlayfs_scan_as_the_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    for name in ["lower/d/sub", "upper", "work", "merged"] {
        fs::create_dir_all(path(name)).unwrap();
    }
    for name in ["lower/gone", "lower/d/old", "lower/d/sub/x"] {
        fs::write(path(name), "old").unwrap();
    }
    let options = format!(
        "lowerdir={0}/lower,upperdir={0}/upper,workdir={0}/work,metacopy=off,index=off",
        directory.path().display()
    );
    let (namespaces, option) = namespaces();
    let script = "mount -t overlay overlay -o \"$1\" merged && touch mounted && cd merged && \
                  rm gone d/old && rm -r d/sub && mkdir d/sub new && echo x >d/sub/y && \
                  ln d/sub/y new/z && mkfifo pipe";
    let done = Command::new("unshare")
        .args([namespaces, "sh", "-c", script, "sh"])
        // With `userxattr` the kernel takes `nofollow` only, and refuses `off`.
        .arg(format!("{options},redirect_dir=nofollow{option}"))
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(path("mounted").exists(), "{CANNOT_MOUNT}: {done:?}");
    assert!(done.status.success(), "{done:?}");
    let mut scan = scan(&path("upper"), &[]).unwrap();
    assert_eq!(scan.skipped, [PathBuf::from("pipe")]);
    let lower = path("lower");
    retain_opaque(&mut scan.entries, |dir| lower.join(dir).is_dir());
    let seen: Vec<_> = scan
        .entries
        .iter()
        .map(|entry| {
            let kind = match &entry.kind {
                Kind::HardLink(target) => format!("={}", target.display()),
                Kind::Directory => "/".into(),
                Kind::Whiteout => " gone".into(),
                Kind::Opaque => " opaque".into(),
                _ => String::new(),
            };
            assert!(entry.xattrs.is_empty());
            format!("{}{kind}", entry.path.display())
        })
        .collect();
    assert_eq!(
        seen,
        [
            "d/",
            "d/old gone",
            "d/sub/",
            "d/sub opaque",
            "d/sub/y",
            "gone gone",
            "new/",
            "new/z=d/sub/y"
        ]
    );
    remove_tree(&path("work")).unwrap();
}

/// A name that is no other's prefix problem: any bytes but NUL and slash, not `.`, `..`, `.wh.*`.
fn name() -> impl Strategy<Value = OsString> {
    prop::collection::vec(1_u8..=255, 1..40)
        .prop_map(|bytes| {
            bytes
                .into_iter()
                .map(|b| if b == b'/' { b'_' } else { b })
                .collect::<Vec<_>>()
        })
        .prop_filter("special", |bytes| {
            bytes != b"." && bytes != b".." && !bytes.starts_with(b".wh.")
        })
        .prop_map(OsString::from_vec)
}

fn leaf() -> impl Strategy<Value = Kind> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..2000).prop_map(Kind::Bytes),
        name().prop_map(|target| Kind::Symlink(target.into())),
        Just(Kind::Whiteout),
        Just(Kind::Directory),
        Just(Kind::Opaque),
    ]
}

fn tree(name: impl Strategy<Value = OsString>) -> impl Strategy<Value = Vec<Entry>> {
    let one = (
        prop::collection::vec(name, 1..5),
        leaf(),
        0_u32..0o10000,
        0_i64..5_000_000_000,
    );
    prop::collection::vec(one, 0..12).prop_map(|items| {
        let mut by_path: BTreeMap<PathBuf, Entry> = BTreeMap::new();
        for (names, kind, mode, mtime) in items {
            let path: PathBuf = names.iter().collect();
            // Nothing below what is not a directory, and no directory in a leaf's place.
            let clash = path.ancestors().skip(1).any(|above| {
                by_path
                    .get(above)
                    .is_some_and(|e| !matches!(e.kind, Kind::Directory | Kind::Opaque))
            }) || by_path.keys().any(|known| known.starts_with(&path));
            if clash {
                continue;
            }
            let mode = match kind {
                Kind::Symlink(_) => 0o777,
                Kind::Whiteout | Kind::Opaque => 0o644,
                // The user who runs the tests must be able to read and remove it.
                _ => mode | 0o700,
            };
            let mut new = entry("x", kind, mode);
            if matches!(new.kind, Kind::Whiteout | Kind::Opaque) {
                (new.uid, new.gid) = (0, 0);
            } else {
                new.mtime = Mtime::Fixed(mtime);
            }
            new.path.clone_from(&path);
            by_path.insert(path, new);
        }
        let entries = by_path.into_values().collect();
        normal(with_parents(entries, |path| {
            let mut parent = entry("x", Kind::Directory, 0o751);
            parent.path = path.to_owned();
            parent
        }))
    })
}

/// Paths, kinds, modes and sizes as the kernel shows the layers, the lowest first. Without root it is
/// done in a user namespace, with `userxattr`.
fn merged(layers: &[Vec<u8>]) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let mut lowers = Vec::new();
    for (index, bytes) in layers.iter().enumerate() {
        let lower = directory.path().join(index.to_string());
        fs::create_dir(&lower).unwrap();
        unpack(bytes, &lower);
        lowers.insert(0, lower.display().to_string());
    }
    fs::create_dir(directory.path().join("merged")).unwrap();
    let (namespaces, option) = namespaces();
    // A whiteout of nothing, in a directory that only one layer has, is listed by the kernel,
    // though it is not there: `find` complains, and its message is ignored.
    let script = "mount -t overlay overlay -o \"$1\" merged && cd merged && echo mounted && \
                  find . -mindepth 1 -printf '%P %y %m %s\\n'";
    let output = Command::new("unshare")
        .args([namespaces, "sh", "-c", script, "sh"])
        .arg(format!("lowerdir={}{option}", lowers.join(":")))
        .current_dir(directory.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let listed = text.strip_prefix("mounted\n");
    let mut seen: Vec<_> = listed
        .unwrap_or_else(|| panic!("{CANNOT_MOUNT}: {output:?}"))
        .lines()
        .map(|line| {
            let parts: Vec<_> = line.split(' ').collect();
            let size = if parts[1] == "f" { parts[3] } else { "0" };
            format!("{} {} {} {size}", parts[0], parts[1], parts[2])
        })
        .collect();
    seen.sort();
    seen
}

const CANNOT_MOUNT: &str = "overlayfs cannot be mounted here; run this test as root, as `make test` \
                            is, or allow user namespaces";

/// The namespaces in which a process may mount, and the mount option without real root.
fn namespaces() -> (&'static str, &'static str) {
    if root() {
        ("-m", "")
    } else {
        ("-Urm", ",userxattr")
    }
}

fn flattened(layers: &[Vec<u8>]) -> Vec<String> {
    let flat = flatten(layers.iter().map(Vec::as_slice), Limits::default()).unwrap();
    let mut seen: Vec<_> = flat
        .iter()
        .map(|(path, flat)| {
            let kind = match flat.member.kind {
                MemberKind::Directory => 'd',
                MemberKind::Symlink(_) => 'l',
                _ => 'f',
            };
            let (path, member) = (path.display(), &flat.member);
            format!("{path} {kind} {:o} {}", member.mode, member.size)
        })
        .collect();
    seen.sort();
    seen
}

/// Trees on disk take their time: few cases, unless `PROPTEST_CASES` asks for more.
fn few() -> ProptestConfig {
    let asked = ProptestConfig::default();
    ProptestConfig {
        cases: match std::env::var_os("PROPTEST_CASES") {
            Some(_) => asked.cases,
            None => 48,
        },
        failure_persistence: None,
        ..asked
    }
}

proptest! {
    #![proptest_config(few())]

    /// The kernel's overlayfs is the judge of whiteouts and opaque directories.
    #[test]
    fn stacked_layers_look_as_the_kernel_shows_them(
        trees in prop::collection::vec(tree("[abc]".prop_map(OsString::from)), 3)
    ) {
        let layers: Vec<_> = trees
            .iter()
            .map(|entries| packed(entries, Compression::None).0)
            .collect();
        prop_assert_eq!(flattened(&layers), merged(&layers));
    }

    #[test]
    fn any_tree_survives_writing_and_unpacking(entries in tree(name())) {
        let (bytes, _) = packed(&entries, Compression::None);
        let directory = tempfile::tempdir().unwrap();
        let applied = unpack(&bytes, directory.path());
        prop_assert_eq!(applied.skipped, vec![]);
        let found = scan(directory.path(), &[]).unwrap();
        prop_assert_eq!(loaded(found.entries), entries);
    }
}
