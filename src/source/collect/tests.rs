use super::*;
use crate::oci::Digest;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

/// A directory with these files; a name that ends in `/` is a directory.
fn source(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        put(dir.path(), name, content);
    }
    dir
}

fn put(dir: &Path, name: &str, content: &str) {
    let path = dir.join(name);
    if name.ends_with('/') {
        fs::create_dir_all(path).unwrap();
    } else {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn git(dir: &Path, arguments: &[&str]) {
    let output = Command::new("git")
        .args([
            "-c",
            "user.name=Jo Doe",
            "-c",
            "user.email=jo@example.com",
            "-c",
            "init.defaultBranch=main",
        ])
        .args(["-c", "protocol.file.allow=always"])
        .args(arguments)
        .current_dir(dir)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_COMMITTER_DATE", "1700000000 +0100")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn take(dir: &Path) -> Tree {
    collect(dir, &CollectOptions::default()).unwrap()
}

/// Giving files to others is for root only.
#[track_caller]
fn is_root() {
    assert!(
        rustix::process::geteuid().is_root(),
        "this test gives files to others; run it as root, as `make test` is"
    );
}

fn paths(tree: &Tree) -> Vec<&str> {
    tree.entries()
        .iter()
        .map(|entry| entry.path.to_str().unwrap())
        .collect()
}

#[test]
fn a_plain_directory() {
    let dir = source(&[
        ("app.py", "x"),
        ("pkg/__init__.py", ""),
        ("pkg/__pycache__/a.pyc", "12345"),
        ("stale/__pycache__/b.pyc", ""),
        ("deep/stale/.venv/x", ""),
        ("logs/", ""),
        (".venv/bin/python", "123"),
        ("env-of-any-name/pyvenv.cfg", ""),
        ("env-of-any-name/bin/x", ""),
        (".gitignore", "*.tmp\n"),
        ("a.tmp", ""),
        ("pkg/.gitignore", "local.py\n"),
        ("pkg/local.py", ""),
    ]);
    let tree = take(dir.path());
    assert_eq!(
        paths(&tree),
        [
            ".gitignore",
            "app.py",
            "logs",
            "pkg",
            "pkg/.gitignore",
            "pkg/__init__.py"
        ]
    );
    assert_eq!(tree.commit, None);
    assert!(tree.warnings.is_empty(), "{:?}", tree.warnings);
    assert_eq!(tree.left_out.files, 8);
    let left: Vec<_> = tree
        .left_out
        .paths
        .iter()
        .map(|(path, why)| (path.to_str().unwrap(), why.as_str()))
        .collect();
    assert_eq!(
        left,
        [
            (".venv", "a virtual environment"),
            ("a.tmp", ".gitignore"),
            ("deep/stale/.venv", "a virtual environment"),
            ("env-of-any-name", "a virtual environment"),
            ("pkg/__pycache__", "a cache"),
            ("pkg/local.py", "pkg/.gitignore"),
            ("stale/__pycache__", "a cache"),
        ]
    );
    assert_eq!(tree.totals(), (4, 1 + 6 + 9));
}

#[test]
fn a_virtual_environment_that_git_tracks_stays_out_and_is_named() {
    let dir = source(&[
        ("app.py", "x"),
        ("env/pyvenv.cfg", "home = /usr/bin"),
        ("env/lib/x.py", ""),
        (".venv/pyvenv.cfg", ""),
        ("asked/pyvenv.cfg", ""),
        (".dockerignore", "!asked/\n!asked/pyvenv.cfg\n"),
    ]);
    for words in [&["init", "-q"][..], &["add", "-A", "-f"]] {
        let git = std::process::Command::new("git")
            .args(words)
            .current_dir(dir.path())
            .status();
        assert!(git.unwrap().success());
    }
    let tree = take(dir.path());
    assert_eq!(
        paths(&tree),
        [".dockerignore", "app.py", "asked", "asked/pyvenv.cfg"]
    );
    let warned = tree.warnings.join("\n");
    for name in ["`env` is", "`.venv` is"] {
        assert!(warned.contains(name), "{warned}");
    }
    assert!(!warned.contains("`asked`"), "{warned}");
}

#[test]
fn links_in_and_out() {
    let dir = source(&[("a/file", "x"), ("settings.py", "")]);
    let link = |target: &str, name: &str| symlink(target, dir.path().join(name)).unwrap();
    link("../settings.py", "a/inside");
    link("nowhere", "dangling");
    link("/usr/bin/python3", "python");
    let tree = take(dir.path());
    assert_eq!(tree.entries().len(), 6);
    assert_eq!(tree.warnings.len(), 1, "{:?}", tree.warnings);
    assert!(tree.warnings[0].contains("/usr/bin/python3"));
    link("../../etc/passwd", "a/out");
    let error = collect(dir.path(), &CollectOptions::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`a/out`") && error.contains(".s2iignore"),
        "{error}"
    );
    // The remedy works.
    put(dir.path(), ".s2iignore", "a/out\n");
    take(dir.path());
    let local = dir.path().canonicalize().unwrap().join("settings.py");
    link(local.to_str().unwrap(), "local");
    let error = collect(dir.path(), &CollectOptions::default()).unwrap_err();
    assert!(matches!(error, SourceError::LinkIsLocal { .. }), "{error}");
}

#[test]
fn sockets_and_fifos_are_left_out_with_a_warning() {
    let dir = source(&[("app.py", "")]);
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("sock")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path().join("pipe"),
        FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let tree = take(dir.path());
    assert_eq!(paths(&tree), ["app.py"]);
    assert_eq!(tree.warnings.len(), 2);
}

#[test]
fn names_that_are_not_utf8_are_carried() {
    let dir = source(&[]);
    let name = OsString::from_vec(b"caf\xe9.py".to_vec());
    fs::write(dir.path().join(&name), "x").unwrap();
    let tree = take(dir.path());
    assert_eq!(tree.entries()[0].path, Path::new(&name));
    tree.digest(None).unwrap();
    let dest = tempfile::tempdir().unwrap();
    tree.stage(dest.path(), None).unwrap();
    assert!(dest.path().join(&name).exists());
}

#[test]
fn a_git_clone() {
    let dir = source(&[
        ("app.py", "x"),
        (".gitignore", "*.log\ntracked.log\n"),
        ("tracked.log", ""),
        (".env", "SECRET=1"),
        ("tests/t.py", ""),
        (".dockerignore", "tests\n"),
    ]);
    git(dir.path(), &["init", "-q"]);
    git(dir.path(), &["add", "-f", "."]);
    git(dir.path(), &["commit", "-qm", "First version\n\nlong text"]);
    git(
        dir.path(),
        &[
            "remote",
            "add",
            "origin",
            "https://jo:token@example.com/team/app.git",
        ],
    );
    put(dir.path(), "empty/", "");
    put(dir.path(), "noise.log", "");
    let tree = take(dir.path());
    assert_eq!(
        paths(&tree),
        [
            ".dockerignore",
            ".env",
            ".gitignore",
            "app.py",
            "tracked.log"
        ]
    );
    assert!(
        tree.warnings
            .iter()
            .any(|w| w.contains("`.env`") && w.contains("git tracks it"))
    );
    let commit = tree.commit.clone().unwrap();
    assert_eq!(commit.id.len(), 40);
    assert_eq!(commit.author, "Jo Doe <jo@example.com>");
    assert_eq!(commit.time, 1_700_000_000);
    assert_eq!(commit.message, "First version");
    assert_eq!(commit.reference.as_deref(), Some("main"));
    assert_eq!(
        commit.remote.as_deref(),
        Some("https://example.com/team/app.git")
    );
    assert!(!commit.dirty);
    // A second clone in another directory, with modes of another umask, is the same source.
    let other = tempfile::tempdir().unwrap();
    let clone = other.path().join("clone");
    git(
        other.path(),
        &["clone", "-q", dir.path().to_str().unwrap(), "clone"],
    );
    fs::set_permissions(clone.join("app.py"), fs::Permissions::from_mode(0o600)).unwrap();
    let second = take(&clone);
    assert_eq!(second.digest(None).unwrap(), tree.digest(None).unwrap());
    assert_eq!(second.commit.as_ref().unwrap().remote, None, "a local path");
    assert!(!second.commit.unwrap().dirty);
    // Changed, deleted, or not known to git: dirty. A detached head has no branch.
    put(&clone, "app.py", "changed");
    assert!(take(&clone).commit.unwrap().dirty);
    git(&clone, &["checkout", "-q", "--detach", "HEAD"]);
    git(&clone, &["checkout", "-q", "app.py"]);
    let detached = take(&clone).commit.unwrap();
    assert_eq!((detached.dirty, detached.reference), (false, None));
    put(&clone, "new.py", "");
    assert!(take(&clone).commit.unwrap().dirty);
}

#[test]
fn a_subdirectory_of_a_repository() {
    let dir = source(&[
        (".gitignore", "*.py\n"),
        ("service/app.py", "x"),
        ("other/dirty.py", ""),
    ]);
    git(dir.path(), &["init", "-q"]);
    git(dir.path(), &["add", "-f", "."]);
    git(dir.path(), &["commit", "-qm", "one"]);
    put(dir.path(), "other/dirty.py", "changed");
    put(
        dir.path(),
        "service/new.py",
        "not ignored by a parent's list",
    );
    let tree = take(&dir.path().join("service"));
    assert_eq!(paths(&tree), ["app.py", "new.py"]);
    assert!(tree.entries()[0].tracked && !tree.entries()[1].tracked);
    assert!(tree.commit.is_some());
    fs::remove_file(dir.path().join("service/new.py")).unwrap();
    assert!(!take(&dir.path().join("service")).commit.unwrap().dirty);
    // A repository that knows nothing of the directory has nothing to say about it.
    put(dir.path(), "unknown/app.txt", "");
    assert_eq!(take(&dir.path().join("unknown")).commit, None);
}

#[test]
fn submodules_are_part_of_the_source() {
    let library = source(&[("lib.py", "x"), ("ignored.log", "")]);
    git(library.path(), &["init", "-q"]);
    git(library.path(), &["add", "-f", "."]);
    git(library.path(), &["commit", "-qm", "lib"]);
    let dir = source(&[("app.py", "x"), (".gitignore", "*.log\n")]);
    git(dir.path(), &["init", "-q"]);
    git(
        dir.path(),
        &[
            "submodule",
            "--quiet",
            "add",
            library.path().to_str().unwrap(),
            "lib",
        ],
    );
    git(dir.path(), &["add", "."]);
    git(dir.path(), &["commit", "-qm", "app"]);
    let tree = take(dir.path());
    assert_eq!(
        paths(&tree),
        [
            ".gitignore",
            ".gitmodules",
            "app.py",
            "lib",
            "lib/ignored.log",
            "lib/lib.py"
        ]
    );
    assert!(tree.entries().iter().all(|entry| entry.tracked));
    assert!(!tree.commit.unwrap().dirty);
    let other = tempfile::tempdir().unwrap();
    git(
        other.path(),
        &["clone", "-q", dir.path().to_str().unwrap(), "clone"],
    );
    let tree = take(&other.path().join("clone"));
    assert!(
        tree.warnings.iter().any(|w| w.contains("submodule `lib`")),
        "{:?}",
        tree.warnings
    );
}

#[test]
fn a_repositorys_own_configuration_runs_nothing() {
    let dir = source(&[("app.py", "x"), (".gitattributes", "* filter=evil\n")]);
    git(dir.path(), &["init", "-q"]);
    git(dir.path(), &["add", "."]);
    git(dir.path(), &["commit", "-qm", "one"]);
    let mark = dir.path().join(".git/ran");
    let run = format!("touch {}; cat", mark.display());
    for key in [
        "filter.evil.clean",
        "filter.evil.smudge",
        "filter.evil.process",
        "core.fsmonitor",
        "core.sshCommand",
        "core.pager",
        "gpg.program",
    ] {
        git(dir.path(), &["config", key, &run]);
    }
    git(dir.path(), &["config", "log.showSignature", "true"]);
    let _ = fs::remove_file(&mark);
    // Another time stamp makes git look at the content, through the filter.
    let touched = fs::File::options()
        .write(true)
        .open(dir.path().join("app.py"))
        .unwrap();
    touched
        .set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    let tree = take(dir.path());
    assert!(!tree.commit.unwrap().dirty);
    assert!(!mark.exists());
}

/// `-c filter.a=b.clean=` would set `filter.a`.
#[test]
fn a_filter_that_cannot_be_switched_off_is_not_run() {
    for name in ["a=b", "a\u{301}=", "="] {
        let dir = source(&[("app.py", "x")]);
        git(dir.path(), &["init", "-q"]);
        git(dir.path(), &["add", "."]);
        git(dir.path(), &["commit", "-qm", "one"]);
        let mark = dir.path().join(".git/ran");
        let config = format!(
            "[filter \"{name}\"]\n\tclean = \"touch {}; cat\"\n",
            mark.display()
        );
        fs::write(dir.path().join(".git/config"), config).unwrap();
        fs::write(
            dir.path().join(".git/info/attributes"),
            format!("* filter={name}\n"),
        )
        .unwrap();
        fs::File::options()
            .write(true)
            .open(dir.path().join("app.py"))
            .and_then(|file| file.set_modified(std::time::SystemTime::UNIX_EPOCH))
            .unwrap();
        let tree = take(dir.path());
        assert_eq!(paths(&tree), ["app.py"]);
        assert!(tree.commit.is_none());
        assert!(!mark.exists(), "{name}");
    }
}

/// A local user's `/tmp/.git` says nothing about what others build in `/tmp/app`.
#[test]
fn a_repository_of_another_user_further_up_is_not_asked() {
    is_root();
    let dir = source(&[("app/app.py", "x")]);
    git(dir.path(), &["init", "-q"]);
    git(dir.path(), &["add", "."]);
    git(dir.path(), &["commit", "-qm", "one"]);
    for path in [dir.path().to_owned(), dir.path().join(".git")] {
        std::os::unix::fs::chown(path, Some(4711), Some(4711)).unwrap();
    }
    let tree = take(&dir.path().join("app"));
    assert!(tree.commit.is_none());
    assert_eq!(tree.warnings.len(), 1, "{:?}", tree.warnings);
}

#[test]
fn a_broken_repository_is_warned_about() {
    let dir = source(&[("app.py", "x"), (".git/HEAD", "nonsense")]);
    let tree = take(dir.path());
    assert_eq!(paths(&tree), ["app.py"]);
    assert_eq!(tree.commit, None);
    assert!(
        tree.warnings[0].contains("there is a `.git`"),
        "{:?}",
        tree.warnings
    );
    let dir = source(&[("app.py", "x")]);
    git(dir.path(), &["init", "-q"]);
    assert_eq!(take(dir.path()).commit, None);
    git(dir.path(), &["add", "."]);
    git(dir.path(), &["commit", "-qm", "one"]);
    fs::write(dir.path().join(".git/index"), "nonsense").unwrap();
    let tree = take(dir.path());
    assert_eq!(
        (paths(&tree), tree.commit.is_none()),
        (vec!["app.py"], true)
    );
    assert_eq!(tree.warnings.len(), 1, "{:?}", tree.warnings);
}

#[test]
fn a_repository_of_another_user_is_read() {
    is_root();
    let dir = source(&[("app.py", "x")]);
    git(dir.path(), &["init", "-q"]);
    git(dir.path(), &["add", "."]);
    git(dir.path(), &["commit", "-qm", "one"]);
    for path in [dir.path().to_owned(), dir.path().join(".git")] {
        std::os::unix::fs::chown(path, Some(4711), Some(4711)).unwrap();
    }
    assert!(take(dir.path()).commit.is_some());
}

#[test]
fn what_cannot_be_read_is_named() {
    let error = SourceError::io(
        "read",
        Path::new("private/key"),
        io::Error::from(io::ErrorKind::PermissionDenied),
    );
    assert!(error.to_string().contains("`private/key`") && error.to_string().contains("chmod"));
}

/// Root reads everything: this is done by a thread of another user.
#[test]
fn a_file_that_its_user_may_not_read_is_named() {
    is_root();
    let dir = source(&[("app.py", "x")]);
    let user = rustix::process::Uid::from_raw(4711);
    std::os::unix::fs::chown(dir.path(), Some(user.as_raw()), None).unwrap();
    fs::set_permissions(dir.path().join("app.py"), fs::Permissions::from_mode(0o000)).unwrap();
    // The kernel's user ids belong to threads, and the files of a tree are read by those of a pool.
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .start_handler(move |_| rustix::thread::set_thread_res_uid(user, user, user).unwrap())
        .build()
        .unwrap();
    let error = pool.install(|| take(dir.path()).digest(None).unwrap_err());
    assert!(matches!(error, SourceError::Unreadable { .. }), "{error}");
}

#[test]
fn reading_and_subsets_follow_links_within_the_tree() {
    let dir = source(&[
        ("requirements/base.txt", "flask"),
        ("requirements/dev.txt", "pytest"),
        ("lib/pyproject.toml", ""),
        ("lib/src/x.py", ""),
        (".env", "SECRET"),
        ("app.py", ""),
    ]);
    let link = |target: &str, name: &str| symlink(target, dir.path().join(name)).unwrap();
    link("requirements/base.txt", "requirements.txt");
    link("requirements", "reqs");
    link(".env", "leak");
    link("loop", "loop");
    let tree = take(dir.path());
    let read = |path: &str| tree.read(Path::new(path), 100).unwrap();
    for (path, expected) in [
        ("requirements.txt", Some("flask")),
        ("./requirements/base.txt", Some("flask")),
        ("reqs/dev.txt", Some("pytest")),
        ("app.py", Some("")),
        ("requirements", None),
        (".env", None),
        ("leak", None),
        ("loop", None),
        ("missing", None),
        ("../x", None),
        ("/etc/passwd", None),
    ] {
        assert_eq!(
            read(path),
            expected.map(|text| text.as_bytes().to_vec()),
            "{path}"
        );
    }
    assert!(matches!(
        tree.read(Path::new("requirements.txt"), 3),
        Err(SourceError::TooLarge { .. })
    ));
    for (wanted, expected) in [
        (
            vec!["requirements.txt"],
            vec!["requirements", "requirements.txt", "requirements/base.txt"],
        ),
        (
            vec!["lib"],
            vec!["lib", "lib/pyproject.toml", "lib/src", "lib/src/x.py"],
        ),
        (
            vec!["reqs/dev.txt"],
            vec!["reqs", "requirements", "requirements/dev.txt"],
        ),
        (vec!["loop", "missing", "../x"], vec!["loop"]),
        (vec![], vec![]),
    ] {
        assert_eq!(paths(&tree.subset(&wanted)), expected, "{wanted:?}");
    }
}

/// The digest of a tree made in the order given, with these modes and times.
fn digest_of(files: &[(String, Vec<u8>, bool)], reverse: bool, mode: u32, time: u64) -> Digest {
    let dir = tempfile::tempdir().unwrap();
    let mut files: Vec<_> = files.iter().collect();
    if reverse {
        files.reverse();
    }
    for (name, content, executable) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let bit = if *executable { 0o100 } else { 0 };
        fs::set_permissions(&path, fs::Permissions::from_mode((mode & !0o100) | bit)).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(time);
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
    }
    take(dir.path()).digest(None).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn the_digest_knows_content_and_nothing_else(
        contents in proptest::collection::btree_map(
            "([d-f]{1,2}/)?[a-c]{1,2}",
            (proptest::collection::vec(any::<u8>(), 0..40), any::<bool>()),
            1..8,
        ),
        time in 0u64..2_000_000_000,
    ) {
        let files: Vec<_> = contents
            .into_iter()
            .map(|(name, (content, executable))| (name, content, executable))
            .collect();
        let digest = digest_of(&files, false, 0o644, 1);
        prop_assert_eq!(&digest, &digest_of(&files, true, 0o466, time));
        let mut other = files.clone();
        other[0].1.push(b'x');
        prop_assert_ne!(&digest, &digest_of(&other, false, 0o644, 1));
        let mut other = files.clone();
        other[0].2 = !other[0].2;
        prop_assert_ne!(&digest, &digest_of(&other, false, 0o644, 1));
        let mut other = files.clone();
        other[0].0.push('z');
        prop_assert_ne!(&digest, &digest_of(&other, false, 0o644, 1));
    }
}

/// An unpacked source brings its own `.git`, which can name a private repository of this machine.
#[test]
fn an_unpacked_source_tells_nothing_of_other_repositories() {
    type Make<'a> = &'a dyn Fn(&Path);

    let private = source(&[("secret.py", "x")]);
    git(private.path(), &["init", "-q"]);
    git(private.path(), &["add", "."]);
    git(private.path(), &["commit", "-q", "-m", "private words"]);
    let url = "https://example.com/private.git";
    git(private.path(), &["remote", "add", "origin", url]);
    let there = private.path().join(".git");
    let id = fs::read_to_string(there.join("refs/heads/main")).unwrap();
    let own = |dir: &Path| {
        git(dir, &["init", "-q"]);
        git(dir, &["add", "."]);
    };
    let objects = there.join("objects");
    let file = there.join("config");
    let ways: [(&str, Make<'_>, &str); 6] = [
        (
            "a file",
            &|dir| fs::write(dir.join(".git"), format!("gitdir: {}", there.display())).unwrap(),
            "outside of the source",
        ),
        (
            "a link",
            &|dir| symlink(&there, dir.join(".git")).unwrap(),
            "is a link",
        ),
        (
            "commondir",
            &|dir| {
                put(dir, ".git/HEAD", "ref: refs/heads/main\n");
                put(dir, ".git/commondir", &there.display().to_string());
            },
            "names another repository",
        ),
        (
            "borrowed objects",
            &|dir| {
                own(dir);
                put(
                    dir,
                    ".git/objects/info/alternates",
                    &objects.display().to_string(),
                );
                put(dir, ".git/HEAD", &id);
            },
            "names another repository",
        ),
        (
            "a link inside",
            &|dir| {
                own(dir);
                fs::remove_dir_all(dir.join(".git/objects")).unwrap();
                symlink(&objects, dir.join(".git/objects")).unwrap();
                put(dir, ".git/HEAD", &id);
            },
            "neither a file nor a directory",
        ),
        (
            "an included configuration",
            &|dir| {
                own(dir);
                git(dir, &["commit", "-q", "-m", "own words"]);
                git(dir, &["config", "include.path", file.to_str().unwrap()]);
            },
            "includes another file",
        ),
    ];
    for (way, make, reason) in ways {
        let dir = source(&[("app.py", "x")]);
        make(dir.path());
        // The positive control: a directory that the user has named is asked.
        let tree = take(dir.path());
        let commit = tree
            .commit
            .as_ref()
            .unwrap_or_else(|| panic!("{way}: {:?}", tree.warnings));
        assert!(
            commit.message == "private words" || commit.remote.as_deref() == Some(url),
            "{way}: {commit:?}"
        );
        let options = CollectOptions {
            unpacked: Some(dir.path().to_owned()),
            ..CollectOptions::default()
        };
        let tree = collect(dir.path(), &options).unwrap();
        assert_eq!(tree.commit, None, "{way}");
        assert!(
            tree.warnings.iter().any(|warning| warning.contains(reason)),
            "{way}: {:?}",
            tree.warnings
        );
    }
}

#[test]
fn an_unpacked_repository_with_a_submodule_is_known() {
    let library = source(&[("lib.py", "x")]);
    let dir = source(&[("app.py", "x"), ("sub/more.py", "y")]);
    for dir in [library.path(), dir.path()] {
        git(dir, &["init", "-q"]);
        git(dir, &["add", "."]);
        git(dir, &["commit", "-q", "-m", "words"]);
    }
    let from = library.path().to_str().unwrap();
    git(dir.path(), &["submodule", "--quiet", "add", from, "lib"]);
    git(dir.path(), &["commit", "-q", "-m", "with lib"]);
    let options = CollectOptions {
        unpacked: Some(dir.path().to_owned()),
        ..CollectOptions::default()
    };
    for place in ["", "sub"] {
        let tree = collect(&dir.path().join(place), &options).unwrap();
        let commit = tree.commit.as_ref().unwrap();
        assert_eq!(commit.message, "with lib", "{:?}", tree.warnings);
        assert!(tree.entries().iter().all(|entry| entry.tracked), "{place}");
    }
    // A repository above the source is not used for it.
    let options = CollectOptions {
        unpacked: Some(dir.path().join("sub")),
        ..CollectOptions::default()
    };
    let tree = collect(&dir.path().join("sub"), &options).unwrap();
    assert_eq!(tree.commit, None);
}

#[test]
fn a_fifo_in_a_git_directory_is_not_waited_for() {
    let dir = source(&[("app.py", "x")]);
    git(dir.path(), &["init", "-q"]);
    let path = dir.path().join(".git/index");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let tree = take(dir.path());
    assert_eq!(tree.commit, None);
    let said = tree.warnings.join("\n");
    assert!(said.contains(".git/index` is neither a file"), "{said}");
}
