//! The hostile-layer corpus: whatever an archive holds, unpacking it is an error or stays inside.
//!
//! Each case is unpacked next to a directory that must not change. Cases with a number are known
//! vulnerabilities of other programs.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tar::Header;

use super::*;

/// Raw bytes of a member, so that they may be as wrong as they like.
fn raw(flag: u8, path: &[u8], link: &[u8], body: &[u8], edit: impl Fn(&mut Header)) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
    header.as_old_mut().linkflag = [flag];
    header.set_mode(if flag == b'5' { 0o755 } else { 0o644 });
    header.set_uid(rustix::process::geteuid().as_raw().into());
    header.set_gid(rustix::process::getegid().as_raw().into());
    header.set_mtime(1);
    header.set_size(body.len() as u64);
    header.set_device_major(0).unwrap();
    header.set_device_minor(0).unwrap();
    edit(&mut header);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(path: &str, body: &str) -> Vec<u8> {
    raw(b'0', path.as_bytes(), b"", body.as_bytes(), |_| {})
}

fn dir(path: &str) -> Vec<u8> {
    raw(b'5', path.as_bytes(), b"", b"", |_| {})
}

fn dir_mode(path: &str, mode: u32) -> Vec<u8> {
    raw(b'5', path.as_bytes(), b"", b"", |header| {
        header.set_mode(mode);
    })
}

fn link(path: &str, target: &str) -> Vec<u8> {
    raw(b'2', path.as_bytes(), target.as_bytes(), b"", |_| {})
}

fn hard(path: &str, target: &str) -> Vec<u8> {
    raw(b'1', path.as_bytes(), target.as_bytes(), b"", |_| {})
}

fn device(flag: u8, path: &str, major: u32, minor: u32) -> Vec<u8> {
    raw(flag, path.as_bytes(), b"", b"", |header| {
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
    })
}

fn extended(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in records {
        pax::push(&mut body, key.as_bytes(), value);
    }
    raw(b'x', b"x", b"", &body, |_| {})
}

fn long(flag: u8, text: &[u8]) -> Vec<u8> {
    raw(flag, b"././@LongLink", b"", text, |_| {})
}

/// A root to unpack into, and what lies beside it.
struct Scratch {
    temporary: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let outside = temporary.path().join("outside");
        fs::create_dir_all(outside.join("dir")).unwrap();
        fs::create_dir(temporary.path().join("root")).unwrap();
        fs::write(outside.join("keep"), "keep").unwrap();
        fs::set_permissions(outside.join("keep"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o700)).unwrap();
        Self { temporary }
    }

    fn root(&self) -> PathBuf {
        self.temporary.path().join("root")
    }

    /// All that can be seen from outside: names, modes, owners, sizes, links, times.
    fn surroundings(&self) -> Vec<String> {
        let mut seen = Vec::new();
        let mut names: Vec<_> = fs::read_dir(self.temporary.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        for path in [
            PathBuf::new(),
            "outside".into(),
            "outside/dir".into(),
            "outside/keep".into(),
        ] {
            let meta = fs::symlink_metadata(self.temporary.path().join(&path)).unwrap();
            seen.push(format!(
                "{path:?} {:o} {} {} {} {} {}",
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.nlink(),
                meta.mtime(),
                meta.mtime_nsec()
            ));
        }
        seen.push(format!("{names:?}"));
        seen.push(fs::read_to_string(self.temporary.path().join("outside/keep")).unwrap());
        seen.push(format!(
            "{}",
            fs::read_dir(self.temporary.path().join("outside"))
                .unwrap()
                .count()
        ));
        seen
    }

    fn unpack(&self, parts: &[Vec<u8>]) -> Result<Applied, LayerError> {
        self.unpack_with(parts, &options())
    }

    fn unpack_with(
        &self,
        parts: &[Vec<u8>],
        options: &ApplyOptions,
    ) -> Result<Applied, LayerError> {
        let mut bytes = parts.concat();
        bytes.resize(bytes.len() + 1024, 0);
        apply(&bytes[..], &self.root(), options)
    }
}

fn options() -> ApplyOptions {
    let root = rustix::process::geteuid().is_root();
    ApplyOptions {
        ownership: root,
        userxattr: !root,
        devices: false,
        ..ApplyOptions::default()
    }
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|meta| meta.file_type().is_char_device() && meta.rdev() == 0)
}

fn is_opaque(path: &Path) -> bool {
    let name = xattr::opaque_name(options().userxattr);
    let mut value = [0; 8];
    rustix::fs::lgetxattr(path, name, &mut value[..]).is_ok_and(|length| value[..length] == *b"y")
}

#[test]
fn refused() {
    let cases: Vec<(&str, Vec<Vec<u8>>, &str)> = vec![
        ("parent directory", vec![file("../evil", "x")], "`..`"),
        (
            "parent in the middle",
            vec![dir("a"), file("a/../../evil", "x")],
            "`..`",
        ),
        ("parent directory itself", vec![dir("..")], "`..`"),
        ("root as a file", vec![file("./", "x")], ""),
        (
            "root as a link",
            vec![link("/", "../outside")],
            "the root can only",
        ),
        (
            "hard link to parent",
            vec![hard("h", "../outside/keep")],
            "`..`",
        ),
        (
            "hard link to nothing",
            vec![hard("h", "nothing")],
            "does not have",
        ),
        (
            "hard link to the root",
            vec![hard("h", "/")],
            "does not have",
        ),
        ("hard link to itself", vec![hard("h", "h")], "does not have"),
        (
            "hard link to a directory",
            vec![dir("d"), hard("h", "d")],
            "not a file",
        ),
        (
            "hard link to a whiteout",
            vec![file(".wh.gone", ""), hard("h", "gone")],
            "not a file",
        ),
        (
            "hard link into what it replaces",
            vec![file("d/f", "x"), hard("d", "d/f")],
            "does not have",
        ),
        (
            "file as a parent",
            vec![file("f", "x"), file("f/g", "x")],
            "not a directory",
        ),
        (
            "link to a file as a parent",
            vec![file("f", "x"), link("l", "f"), file("l/g", "x")],
            "not a directory",
        ),
        (
            "links in a circle as a parent",
            vec![link("a", "b"), link("b", "a"), file("a/f", "x")],
            "",
        ),
        (
            "whiteout of nothing",
            vec![file(".wh.", "")],
            "whiteout of nothing",
        ),
        (
            "whiteout of the directory",
            vec![file("d/.wh..", "")],
            "whiteout of nothing",
        ),
        (
            "whiteout of the parent",
            vec![file("d/.wh...", "")],
            "whiteout of nothing",
        ),
        (
            "below a whiteout",
            vec![file(".wh.d/f", "x")],
            "means a deletion",
        ),
        (
            "below an opaque mark",
            vec![file(".wh..wh..opq/f", "x")],
            "means a deletion",
        ),
        (
            "a directory as a whiteout",
            vec![dir(".wh.d")],
            "means a deletion",
        ),
        ("link to nothing", vec![link("l", "")], "link to nothing"),
        (
            "a long name",
            vec![long(b'L', &[b'n'; 256]), file("x", "")],
            "longer than 255",
        ),
        (
            "a long path",
            vec![long(b'L', "d/".repeat(2048).as_bytes()), file("x", "")],
            "bytes in one path",
        ),
        (
            "a long link target",
            vec![long(b'K', &[b'n'; 5000]), link("x", "y")],
            "bytes in one path",
        ),
        (
            "NUL in a PAX path",
            vec![extended(&[("path", b"good\0/../evil")]), file("x", "")],
            "NUL",
        ),
        (
            "NUL in a PAX link target",
            vec![extended(&[("linkpath", b"a\0b")]), link("x", "y")],
            "NUL",
        ),
        (
            "PAX path with ..",
            vec![extended(&[("path", b"../evil")]), file("x", "")],
            "`..`",
        ),
        (
            "sparse file, PAX 1.0",
            vec![
                extended(&[("GNU.sparse.major", b"1"), ("GNU.sparse.name", b"x")]),
                file("GNUSparseFile.1/x", "0\n"),
            ],
            "sparse",
        ),
        (
            "sparse file, old GNU",
            vec![raw(b'S', b"x", b"", b"", |_| {})],
            "sparse",
        ),
        (
            "unknown type",
            vec![raw(b'V', b"x", b"", b"", |_| {})],
            "unknown type",
        ),
        (
            "unknown type Z",
            vec![raw(b'Z', b"x", b"", b"", |_| {})],
            "unknown type",
        ),
        (
            "two PAX headers",
            vec![
                extended(&[("path", b"a")]),
                extended(&[("path", b"b")]),
                file("x", ""),
            ],
            "two extension headers",
        ),
        (
            "two long names that differ",
            vec![
                extended(&[("path", b"a")]),
                long(b'L', b"b\0"),
                file("x", ""),
            ],
            "two different long names",
        ),
        (
            // CVE-2025-62518 (TARmageddon) and GHSA-3pv8: content read as headers.
            "PAX size larger than the archive",
            vec![
                extended(&[("size", b"4096")]),
                raw(b'0', b"x", b"", &[0; 512], |_| {}),
            ],
            "ends in the middle",
        ),
        (
            "PAX size of the wrong form",
            vec![extended(&[("size", b"-1")]), file("x", "")],
            "not a number",
        ),
        (
            "negative size",
            vec![raw(b'0', b"x", b"", b"", |h| {
                h.as_old_mut().size = [0xff; 12];
            })],
            "not a number",
        ),
        (
            "huge size",
            vec![raw(b'0', b"x", b"", b"", |h| {
                h.as_old_mut().size = *b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff";
            })],
            "ends in the middle",
        ),
        (
            "huge extension header",
            vec![raw(b'x', b"x", b"", b"", |h| h.set_size(1 << 33 | 1))],
            "in one extension header",
        ),
        (
            "extension header at the end",
            vec![extended(&[("path", b"a")])],
            "after an extension header",
        ),
        (
            "owner -1",
            vec![extended(&[("uid", b"4294967295")]), file("x", "")],
            "out of range",
        ),
        (
            "large attribute",
            vec![
                extended(&[("SCHILY.xattr.user.x", &[b'x'; 70_000])]),
                file("x", ""),
            ],
            "too large",
        ),
        (
            "many attributes",
            vec![
                extended(
                    &(0..300)
                        .map(|at| Box::leak(format!("SCHILY.xattr.user.{at}").into_boxed_str()))
                        .map(|key| (&*key, &b"v"[..]))
                        .collect::<Vec<_>>(),
                ),
                file("x", ""),
            ],
            "too many",
        ),
        (
            "a lone zero block",
            vec![file("a", ""), vec![0; 512], file("b", "")],
            "single zero block",
        ),
        ("garbage", vec![vec![b'g'; 2048]], "checksum"),
        ("half a header", vec![file("a", ""), vec![1; 100]], ""),
    ];
    for (name, parts, problem) in cases {
        let place = Scratch::new();
        let before = place.surroundings();
        let error = match place.unpack(&parts) {
            Ok(applied) => panic!("{name}: {applied:?}"),
            Err(error) => error.to_string(),
        };
        assert!(error.contains(problem), "{name}: {error}");
        assert_eq!(place.surroundings(), before, "{name}");
        remove_tree(&place.root()).unwrap();
    }
}

#[test]
fn stays_inside() {
    type Check = fn(&Path) -> bool;
    let cases: Vec<(&str, Vec<Vec<u8>>, Check)> = vec![
        ("absolute path", vec![file("/abs", "x")], |root| {
            root.join("abs").is_file()
        }),
        ("many slashes", vec![file("//a///./b", "x")], |root| {
            root.join("a/b").is_file()
        }),
        (
            "write through an absolute link",
            vec![link("var", "/run"), dir("run"), file("var/x", "x")],
            |root| root.join("run/x").is_file() && root.join("var").is_symlink(),
        ),
        (
            "write through a link that leads nowhere yet",
            vec![link("var", "/run/a"), file("var/x", "x")],
            |root| root.join("run/a/x").is_file(),
        ),
        (
            "write through a link upwards",
            vec![link("up", "../../outside"), file("up/evil", "x")],
            |root| root.join("outside/evil").is_file(),
        ),
        (
            "write through a relative link that leads nowhere yet",
            vec![dir("a"), link("a/l", "../b/c"), file("a/l/x", "x")],
            |root| root.join("b/c/x").is_file(),
        ),
        (
            "write through a link to an absolute path of the host",
            vec![link("etc", "/proc/self/root/tmp"), file("etc/evil", "x")],
            |root| root.join("proc/self/root/tmp/evil").is_file(),
        ),
        (
            "file over a link",
            vec![link("l", "../outside/keep"), file("l", "new")],
            |root| !root.join("l").is_symlink() && root.join("l").is_file(),
        ),
        (
            // CVE-2026-33056
            "directory over a link to a directory",
            vec![link("l", "../outside"), dir_mode("l", 0o777)],
            |root| !root.join("l").is_symlink() && root.join("l").is_dir(),
        ),
        (
            "link over a directory with content",
            vec![
                file("d/f", "x"),
                link("d", "../outside"),
                file("d/evil", "x"),
            ],
            |root| root.join("d").is_symlink() && root.join("outside/evil").is_file(),
        ),
        (
            "directory, file, directory",
            vec![file("d/f", "x"), file("d", "x"), dir("d"), file("d/g", "x")],
            |root| root.join("d/g").is_file() && !root.join("d/f").exists(),
        ),
        (
            "link, directory, link: the open parent does not linger",
            vec![
                dir("a"),
                file("a/1", "x"),
                link("a", "b"),
                file("a/2", "x"),
                dir("a"),
                file("a/3", "x"),
            ],
            |root| {
                root.join("b/2").is_file()
                    && root.join("a/3").is_file()
                    && !root.join("a/1").exists()
            },
        ),
        (
            "hard link through a link stays at the link",
            vec![
                link("l", "../outside/keep"),
                hard("h", "l"),
                file("h", "new"),
            ],
            |root| root.join("l").is_symlink() && !root.join("h").is_symlink(),
        ),
        (
            "hard link to an absolute path",
            vec![file("f", "x"), hard("h", "/f")],
            |root| fs::metadata(root.join("h")).unwrap().nlink() == 2,
        ),
        (
            "a link's other name does not change the first",
            vec![file("f", "old"), hard("h", "f"), file("h", "new")],
            |root| fs::read_to_string(root.join("f")).unwrap() == "old",
        ),
        (
            "the same hard link twice",
            vec![
                file("f", "x"),
                hard("h", "f"),
                hard("h", "f"),
                hard("f", "h"),
            ],
            |root| fs::metadata(root.join("f")).unwrap().nlink() == 2,
        ),
        (
            "the same file twice: the last one counts",
            vec![file("f", "first"), file("f", "second")],
            |root| fs::read_to_string(root.join("f")).unwrap() == "second",
        ),
        (
            "a hard link that states a size has no content",
            vec![
                file("f", "x"),
                raw(b'1', b"h", b"f", b"", |header| header.set_size(512)),
                file("g", "y"),
            ],
            |root| root.join("g").is_file(),
        ),
        (
            "PAX size counts, not the header's",
            vec![
                extended(&[("size", b"512")]),
                raw(b'0', b"f", b"", &[b'a'; 512], |header| header.set_size(0)),
                file("g", "y"),
            ],
            |root| fs::metadata(root.join("f")).unwrap().len() == 512 && root.join("g").is_file(),
        ),
        (
            // GHSA-3cv2: the size is the member's, not that of the long name between.
            "PAX size before a GNU long name",
            vec![
                extended(&[("size", b"5")]),
                long(b'L', b"long\0"),
                raw(b'0', b"f", b"", b"hello", |header| header.set_size(0)),
                file("g", "y"),
            ],
            |root| {
                fs::read_to_string(root.join("long")).unwrap() == "hello"
                    && root.join("g").is_file()
            },
        ),
        (
            "global PAX headers are passed over",
            vec![
                raw(b'g', b"pax_global_header", b"", b"13 path=evil\n", |_| {}),
                file("f", "x"),
            ],
            |root| root.join("f").is_file() && !root.join("evil").exists(),
        ),
        (
            "names that are not UTF-8",
            vec![raw(b'0', b"\xff\xfe\x01\n", b"", b"x", |_| {})],
            |root| fs::read_dir(root).unwrap().count() == 1,
        ),
        (
            "deep directories",
            vec![long(b'L', "d/".repeat(2000).as_bytes()), dir("x")],
            |root| root.join("d/d/d/d").is_dir(),
        ),
        (
            "old directories are files with a slash",
            vec![raw(0, b"d/", b"", b"", |_| {}), file("d/f", "x")],
            |root| root.join("d/f").is_file(),
        ),
        (
            "negative and huge times",
            vec![
                extended(&[("mtime", b"-99999999999.5")]),
                file("old", "x"),
                extended(&[("mtime", b"9223372036854775807")]),
                dir("new"),
                raw(b'2', b"l", b"x", b"", |header| {
                    header.as_old_mut().mtime = [0xff; 12];
                }),
            ],
            |root| root.join("old").is_file() && root.join("new").is_dir(),
        ),
        (
            "setuid after the owner",
            vec![raw(b'0', b"su", b"", b"x", |header| {
                header.set_mode(0o6755);
            })],
            |root| fs::metadata(root.join("su")).unwrap().mode() & 0o7777 == 0o6755,
        ),
        (
            "a device 0:0 is not a deletion",
            vec![device(b'3', "etc", 0, 0)],
            |root| !is_whiteout(&root.join("etc")),
        ),
        (
            "devices are left out",
            vec![
                device(b'3', "dev/null", 1, 3),
                device(b'4', "dev/sda", 8, 0),
            ],
            |root| fs::read_dir(root.join("dev")).unwrap().count() == 0,
        ),
        (
            "a pipe is a pipe",
            vec![raw(b'6', b"p", b"", b"", |h| {
                h.as_ustar_mut().unwrap().dev_major = [0; 8];
            })],
            |root| fs::metadata(root.join("p")).unwrap().file_type().is_fifo(),
        ),
        (
            "a layer cannot forge overlayfs's marks",
            vec![
                extended(&[
                    ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                    ("SCHILY.xattr.user.overlay.opaque", b"y"),
                    ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
                    ("SCHILY.xattr.user.overlay.metacopy", b""),
                    ("SCHILY.xattr.trusted.x", b"y"),
                    ("SCHILY.xattr.security.selinux", b"y"),
                ]),
                dir("d"),
                extended(&[("SCHILY.xattr.user.overlay.whiteout", b"y")]),
                file("f", ""),
            ],
            |root| {
                xattr::read_all(&root.join("d")).unwrap().is_empty()
                    && xattr::read_all(&root.join("f")).unwrap().is_empty()
            },
        ),
        (
            "an attribute of a link is not set on what it leads to",
            vec![
                file("f", "x"),
                extended(&[("SCHILY.xattr.user.x", b"y")]),
                link("l", "f"),
            ],
            |root| xattr::read_all(&root.join("f")).unwrap().is_empty(),
        ),
        ("whiteout", vec![file("d/.wh.f", "")], |root| {
            is_whiteout(&root.join("d/f"))
        }),
        (
            "whiteout of an odd name",
            vec![file(".wh....", "")],
            |root| is_whiteout(&root.join("...")),
        ),
        (
            "whiteout of a file of this layer hides nothing of this layer",
            vec![file("f", "x"), file(".wh.f", "")],
            |root| root.join("f").is_file(),
        ),
        (
            "whiteout of a directory of this layer makes it opaque",
            vec![file("d/f", "x"), file(".wh.d", "")],
            |root| root.join("d/f").is_file() && is_opaque(&root.join("d")),
        ),
        (
            "a directory in a whiteout's place is opaque",
            vec![file(".wh.d", ""), dir("d"), file("d/f", "x")],
            |root| root.join("d/f").is_file() && is_opaque(&root.join("d")),
        ),
        (
            "so is one that only its content implies",
            vec![file(".wh.d", ""), file("d/e/f", "x")],
            |root| {
                root.join("d/e/f").is_file()
                    && is_opaque(&root.join("d"))
                    && !is_opaque(&root.join("d/e"))
                    && !hides_all_below(root).unwrap()
            },
        ),
        (
            "a file in a whiteout's place",
            vec![file(".wh.f", ""), file("f", "x")],
            |root| root.join("f").is_file(),
        ),
        (
            "the same whiteout twice",
            vec![file(".wh.f", ""), file(".wh.f", "")],
            |root| is_whiteout(&root.join("f")),
        ),
        (
            "whiteout through a link",
            vec![link("l", "../outside"), file("l/.wh.keep", "")],
            |root| is_whiteout(&root.join("outside/keep")),
        ),
        (
            "opaque through a link",
            vec![link("l", "../outside"), file("l/.wh..wh..opq", "")],
            |root| is_opaque(&root.join("outside")),
        ),
        (
            "opaque directory",
            vec![file("d/.wh..wh..opq", "")],
            |root| is_opaque(&root.join("d")),
        ),
        ("opaque root", vec![file(".wh..wh..opq", "")], |root| {
            hides_all_below(root).unwrap()
        }),
        (
            "aufs's bookkeeping",
            vec![file(".wh..wh.plnk", ""), file(".wh..wh.aufs", "")],
            |root| fs::read_dir(root).unwrap().count() == 0,
        ),
        (
            "a whiteout that is a link",
            vec![link(".wh.x", "../outside")],
            |root| is_whiteout(&root.join("x")),
        ),
    ];
    for (name, parts, check) in cases {
        let place = Scratch::new();
        let before = place.surroundings();
        let applied = place.unpack(&parts);
        assert!(applied.is_ok(), "{name}: {applied:?}");
        assert!(check(&place.root()), "{name}: {applied:?}");
        assert_eq!(place.surroundings(), before, "{name}");
        remove_tree(&place.root()).unwrap();
    }
}

#[test]
fn what_is_left_out_or_implied_is_reported() {
    let place = Scratch::new();
    let applied = place
        .unpack(&[
            device(b'3', "null", 1, 3),
            device(b'3', "zero", 0, 0),
            file("a/b/c", "x"),
            extended(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")]),
            dir("d"),
        ])
        .unwrap();
    let skipped: Vec<_> = applied
        .skipped
        .iter()
        .map(|skipped| &skipped.path)
        .collect();
    assert_eq!(
        skipped,
        ["null", "zero", "d"]
            .map(PathBuf::from)
            .iter()
            .collect::<Vec<_>>()
    );
    assert_eq!(applied.implied, ["a", "a/b"].map(PathBuf::from));
    assert_eq!(applied.entries, 4);
    let mode = fs::metadata(place.root().join("a")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn limits_hold() {
    let place = Scratch::new();
    let few = ApplyOptions {
        max_entries: 3,
        ..options()
    };
    let parts = [file("a", ""), file("b", ""), file("c", ""), file("d", "")];
    assert!(place.unpack_with(&parts[..3], &few).is_ok());
    let error = place.unpack_with(&parts, &few).unwrap_err();
    assert!(
        matches!(error, LayerError::Limit { limit: 3, .. }),
        "{error}"
    );
    let small = ApplyOptions {
        max_bytes: 4096,
        ..options()
    };
    assert!(
        place
            .unpack_with(&[file("a", &"x".repeat(1024))], &small)
            .is_ok()
    );
    let bomb = file("a", &"x".repeat(5000));
    let error = place.unpack_with(&[bomb], &small).unwrap_err();
    assert!(
        matches!(error, LayerError::Limit { limit: 4096, .. }),
        "{error}"
    );
    // Bytes behind the end mark count too.
    let error = place.unpack_with(&[vec![0; 8192]], &small).unwrap_err();
    assert!(matches!(error, LayerError::Limit { .. }), "{error}");
    // A bomb of zeros in few kilobytes of gzip stops at the limit, and not at the disk's.
    let mut packed = Vec::new();
    let huge = std::io::repeat(0).take(64 << 20);
    let mut encoder = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::best());
    std::io::copy(&mut huge.chain(&b""[..]), &mut encoder).unwrap();
    encoder.finish().unwrap();
    let error = apply(decompressor(&packed[..]), &place.root(), &small).unwrap_err();
    assert!(matches!(error, LayerError::Limit { .. }), "{error}");
}

#[test]
fn errors_show_hostile_names_escaped() {
    let place = Scratch::new();
    let error = place
        .unpack(&[raw(b'0', b"../\x1b[2J\n", b"", b"", |_| {})])
        .unwrap_err()
        .to_string();
    assert!(
        !error.contains('\x1b') && !error.contains('\n'),
        "{error:?}"
    );
}

#[test]
fn without_ownership_trees_stay_usable_by_their_owner() {
    let place = Scratch::new();
    let single = ApplyOptions {
        ownership: false,
        userxattr: true,
        devices: false,
        ..options()
    };
    let applied = place
        .unpack_with(
            &[
                dir_mode("closed", 0),
                raw(b'0', b"closed/shadow", b"", b"x", |header| {
                    header.set_mode(0);
                    header.set_uid(1_999_999);
                }),
                extended(&[("SCHILY.xattr.security.capability", b"x")]),
                raw(b'0', b"ping", b"", b"x", |header| header.set_mode(0o755)),
                file(".wh.gone", ""),
                file("closed/.wh..wh..opq", ""),
            ],
            &single,
        )
        .unwrap();
    let mode = |path: &str| fs::metadata(place.root().join(path)).unwrap().mode() & 0o7777;
    assert_eq!(mode("closed"), 0o700);
    assert_eq!(mode("closed/shadow"), 0o400);
    assert_eq!(mode("ping"), 0o755);
    let owner = fs::metadata(place.root().join("closed/shadow"))
        .unwrap()
        .uid();
    assert_eq!(owner, rustix::process::geteuid().as_raw());
    assert_eq!(applied.skipped.len(), 1);
    assert!(is_whiteout(&place.root().join("gone")));
}

#[test]
fn capabilities_and_owners_survive() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test gives files to others, which is for root only; run it as root, as `make test` is"
    );
    let place = Scratch::new();
    // cap_net_raw, effective (linux/capability.h, vfs_cap_data revision 2)
    let capability = [
        1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    place
        .unpack(&[
            extended(&[("SCHILY.xattr.security.capability", &capability)]),
            raw(b'0', b"ping", b"", b"x", |header| {
                header.set_mode(0o4755);
                header.set_uid(33);
                header.set_gid(44);
            }),
            raw(b'2', b"l", b"/etc/passwd", b"", |header| header.set_uid(33)),
        ])
        .unwrap();
    let path = place.root().join("ping");
    let meta = fs::metadata(&path).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & 0o7777),
        (33, 44, 0o4755)
    );
    let scan = scan(&place.root(), &[]).unwrap();
    let ping = scan
        .entries
        .iter()
        .find(|entry| entry.path == Path::new("ping"));
    let attributes = &ping.unwrap().xattrs;
    assert_eq!(
        attributes[std::ffi::OsStr::new("security.capability")],
        capability
    );
    assert_eq!(
        fs::symlink_metadata(place.root().join("l")).unwrap().uid(),
        33
    );
}

/// Linux takes an empty value, does not give it back, and copies no file that has one.
#[test]
fn capabilities_of_no_known_form_are_left_out() {
    for value in [&b""[..], b"x", &[0; 20], &[1, 0, 0, 2, 0, 0x20, 0, 0]] {
        let place = Scratch::new();
        let applied = place
            .unpack(&[
                extended(&[("SCHILY.xattr.security.capability", value)]),
                file("ping", "x"),
            ])
            .unwrap();
        assert_eq!(applied.skipped.len(), 1, "{value:?}");
        let scan = scan(&place.root(), &[]).unwrap();
        assert!(scan.entries[0].xattrs.is_empty(), "{value:?}");
    }
}

#[test]
fn a_root_that_is_a_link_or_missing() {
    let place = Scratch::new();
    let missing = place.root().join("missing");
    assert!(apply(&[0; 1024][..], &missing, &options()).is_err());
    let linked = place.temporary.path().join("linked");
    symlink(place.root(), &linked).unwrap();
    apply(
        &[file("f", "x"), vec![0; 1024]].concat()[..],
        &linked,
        &options(),
    )
    .unwrap();
    assert!(place.root().join("f").is_file());
}

#[test]
fn unpacking_ends_when_the_disk_gets_full_or_the_process_is_to_end() {
    let place = tempfile::tempdir().unwrap();
    let source = place.path().join("large");
    std::fs::File::create(&source)
        .unwrap()
        .set_len(40 << 20)
        .unwrap();
    let entry = super::Entry {
        path: "large".into(),
        kind: super::Kind::File {
            source,
            size: 40 << 20,
        },
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: super::Mtime::Fixed(0),
        xattrs: std::collections::BTreeMap::new(),
    };
    let mut tar = Vec::new();
    super::write(&[entry], super::Compression::None, &mut tar).unwrap();
    let unpack = |options: &ApplyOptions| {
        let place = tempfile::tempdir().unwrap();
        let result = super::apply(tar.as_slice(), place.path(), options);
        let size = std::fs::metadata(place.path().join("large")).map_or(0, |meta| meta.len());
        (result, size)
    };
    assert_eq!(unpack(&options()).1, 40 << 20, "control");
    let full = ApplyOptions {
        reserve: 1 << 60,
        ..options()
    };
    let (result, size) = unpack(&full);
    assert!(matches!(result, Err(LayerError::NoSpace { .. })));
    assert!(size < 20 << 20, "{size}");
    let interrupted = ApplyOptions {
        interrupted: || true,
        ..options()
    };
    assert!(matches!(
        unpack(&interrupted).0,
        Err(LayerError::Interrupted)
    ));
}
