//! Sources in git repositories.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::process;
use crate::support::repository::{Place, Repository, preview};
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive, commit, copy_of, example, layers};

#[test]
fn branches_tags_commits_submodules_and_directories_of_a_repository() {
    let place = Place::new();
    let repository = Repository::new();
    let url = repository.url();
    let id = |name: &str| {
        repository
            .git(&["rev-parse", &format!("{name}^{{commit}}")])
            .trim()
            .to_owned()
    };
    let (main, first, feature) = (id("main"), id("v1"), id("feature/x"));

    for (more, files, commit, branch) in [
        // app.py, link, run.sh, web/wsgi.py, .gitmodules, lib/lib.py
        (vec![], 6, &main, Some("main")),
        (vec!["--ref", "main"], 6, &main, Some("main")),
        (vec!["--ref", "refs/heads/main"], 6, &main, Some("main")),
        (vec!["--ref", "v1"], 4, &first, None),
        (vec!["--ref", "refs/tags/v1"], 4, &first, None),
        (vec!["--ref", "feature/x"], 4, &feature, Some("feature/x")),
        (vec!["--ref", &first], 4, &first, None),
        (vec!["--ref", &first[..9]], 4, &first, None),
        (vec!["--ignore-submodules"], 5, &main, Some("main")),
        (vec!["--context-dir", "web"], 1, &main, Some("main")),
    ] {
        let mut arguments = vec!["--git", &url];
        arguments.extend(&more);
        let (found, words) = place.files(&arguments);
        assert_eq!(found, files, "{more:?}: {words}");
        let at = match branch {
            Some(branch) => format!("At commit {} ({branch})\n", &commit[..12]),
            None => format!("At commit {}\n", &commit[..12]),
        };
        assert!(words.contains(&at), "{more:?}: {words}");
    }
    // The option is stronger than the fragment.
    let (_, words) = place.files(&["--git", &format!("{url}#feature/x"), "--ref", "v1"]);
    assert!(words.contains(&first[..12]), "{words}");
    let (_, words) = place.files(&["--git", &format!("{url}#feature/x")]);
    assert!(words.contains("(feature/x)"), "{words}");

    // A commit that no branch and no tag ends at.
    repository.git(&["commit", "--quiet", "--allow-empty", "-m", "more"]);
    let (_, words) = place.files(&["--git", &url, "--ref", &main]);
    assert!(words.contains(&main[..12]), "{words}");

    for (reference, exit, reason) in [
        ("nowhere", 1, "no branch, tag or commit `nowhere`"),
        ("--upload-pack=touch /tmp/x", 2, "begins with `-`"),
        ("a..b", 2, "not the name of a branch"),
        (&"0".repeat(40), 1, "no branch, tag or commit `0000"),
    ] {
        let (code, words) = place.refuses(&["--git", &url, "--ref", reference]);
        assert_eq!(code, exit, "{words}");
        assert!(words.contains(reason), "{words}");
    }
    // Nothing was ever committed: by its URL an error, as a directory what is in it.
    let empty = place.directory.path().join("empty");
    fs::create_dir(&empty).unwrap();
    fs::write(empty.join("app.py"), "").unwrap();
    process::run(Command::new("git").arg("init").arg("--quiet").arg(&empty));
    let (code, words) = place.refuses(&["--git", &format!("file://{}", empty.display())]);
    assert_eq!(code, 1, "{words}");
    assert!(words.contains("has no commit to build from"), "{words}");
    let (files, words) = place.files(&["--path", empty.to_str().unwrap()]);
    assert_eq!(files, 1, "{words}");
    let (code, words) = place.refuses(&["--git", &format!("{url}-missing")]);
    assert_eq!(code, 5, "{words}");
    assert!(words.contains("git could not reach file://"), "{words}");
    let (code, words) = place.refuses(&["--git", &url, "--context-dir", "../x"]);
    assert_eq!(code, 2, "{words}");
    assert!(words.contains("leads out of the source"), "{words}");
}

#[test]
fn a_directory_says_its_commit_and_whether_it_is_changed() {
    let place = Place::new();
    let repository = Repository::new();
    let path = repository.root();
    let path = path.to_str().unwrap();
    let (files, words) = place.files(&["--path", path]);
    assert_eq!(files, 6);
    assert!(words.contains("(main)\n"), "{words}");
    fs::write(repository.root().join("app.py"), "changed\n").unwrap();
    let (_, words) = place.files(&["--path", path]);
    assert!(
        words.contains("(main), with changes that are not committed"),
        "{words}"
    );
    // Of a directory, too, any commit can be had; the working tree stays as it is.
    let (files, words) = place.files(&["--path", path, "--ref", "v1"]);
    assert_eq!(files, 4, "{words}");
    assert!(!words.contains("not committed"), "{words}");
}

/// Programs that a repository or its server would have run: each leaves a mark.
#[test]
fn nothing_of_a_repository_is_run() {
    let place = Place::new();
    let repository = Repository::new();
    let root = repository.root();
    let mark = place.directory.path().join("pwned");
    let touch = format!("touch {}", mark.display());
    // Attributes that name filters; the source repository's own configuration and hooks.
    fs::write(
        root.join(".gitattributes"),
        "* filter=evil diff=evil merge=evil\n",
    )
    .unwrap();
    repository.git(&["add", ".gitattributes"]);
    repository.git(&["commit", "--quiet", "-m", "attributes"]);
    for name in [
        "filter.evil.clean",
        "filter.evil.smudge",
        "core.fsmonitor",
        "core.sshCommand",
        "uploadpack.packObjectsHook",
        "core.pager",
    ] {
        repository.git(&["config", name, &touch]);
    }
    for hook in [
        "post-checkout",
        "post-merge",
        "reference-transaction",
        "pre-receive",
        "post-index-change",
    ] {
        let path = root.join(".git/hooks").join(hook);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, format!("#!/bin/sh\n{touch}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    // The user's own configuration has filters and hooks as well; they change no image.
    let home = place.directory.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(
        home.join(".gitconfig"),
        format!(
            "[filter \"evil\"]\n\tsmudge = {touch}\n\trequired = true\n[core]\n\thooksPath = {}\n\
             [protocol \"file\"]\n\tallow = always\n",
            root.join(".git/hooks").display()
        ),
    )
    .unwrap();
    let _ = fs::remove_file(&mark);
    let output = preview(
        &place.store(),
        &[("HOME", home.to_str().unwrap())],
        None,
        &["--git", &repository.url()],
    );
    assert!(output.status.success(), "{}", process::words(&output));
    assert!(!mark.exists(), "something of the repository was run");
}

#[test]
fn a_repository_cannot_reach_for_this_machine_or_for_programs() {
    let place = Place::new();
    let mark = place.directory.path().join("pwned");
    for (address, transport) in [
        (format!("ext::sh -c touch% {}", mark.display()), "ext"),
        ("fd::7".to_owned(), "fd"),
        ("git://127.0.0.1/x".to_owned(), "git"),
    ] {
        let (code, words) = place.refuses(&["--git", &address]);
        assert_eq!(code, 2, "{words}");
        assert!(
            words.contains(&format!("the transport `{transport}`, which is refused")),
            "{words}"
        );
    }
    for (arguments, reason) in [
        (vec!["--git=--upload-pack=touch x"], "begins with `-`"),
        (vec!["--git=-oProxyCommand=x:y"], "begins with `-`"),
        (
            vec!["--git", "ssh://-oProxyCommand=x/y"],
            "host begins with `-`",
        ),
        (vec!["--git", "https://example.com/x#-y"], "begins with `-`"),
    ] {
        let (code, words) = place.refuses(&arguments);
        assert_eq!(code, 2, "{words}");
        assert!(words.contains(reason), "{words}");
    }
    // The same by a submodule, whose address nobody has looked at.
    let repository = Repository::new();
    for address in [
        format!("ext::sh -c touch% {}", mark.display()),
        "fd::7".to_owned(),
    ] {
        repository.git(&["config", "-f", ".gitmodules", "submodule.lib.url", &address]);
        repository.git(&["commit", "--quiet", "--all", "-m", "evil"]);
        let (code, words) = place.refuses(&["--git", &repository.url()]);
        assert_eq!(code, 5, "{words}");
        assert!(
            words.contains("git could not fetch the submodules") && words.contains("not allowed"),
            "{words}"
        );
    }
    assert!(!mark.exists(), "a transport ran a program");
}

#[test]
fn a_link_of_a_repository_leads_nowhere_outside() {
    let place = Place::new();
    let repository = Repository::new();
    std::os::unix::fs::symlink("../../../../etc/passwd", repository.root().join("evil")).unwrap();
    repository.git(&["add", "evil"]);
    repository.git(&["commit", "--quiet", "-m", "evil"]);
    let (_, words) = place.refuses(&["--git", &repository.url()]);
    assert!(
        words.contains("`evil` is a link to `../../../../etc/passwd`"),
        "{words}"
    );
}

/// One commit, however it came: the same image.
#[test]
fn a_commit_gives_one_image_from_its_url_and_from_a_clean_checkout() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = copy_of(&example("flask"), true);
    let checkout = tempfile::tempdir().unwrap();
    let url = format!("file://{}", source.path().display());
    process::run(
        Command::new("git")
            .args(["clone", "--quiet", &url])
            .arg(checkout.path()),
    );
    let from_checkout = warpdrive.image("one", checkout.path(), &[]);
    let from_git = warpdrive.image("one", &warpdrive.place(), &["--git", &url]);
    assert_eq!(from_git["cache"]["application"], "hit", "{from_git}");
    assert_eq!(from_git["digest"], from_checkout["digest"]);

    // An archive knows no commit, so the time of the files and the labels differ; told the time, the
    // layers are the same.
    let archive = warpdrive.place().join("flask.tar.gz");
    process::run(
        Command::new("git")
            .arg("-C")
            .arg(checkout.path())
            .args(["archive", "--format=tar.gz", "--prefix=flask-1.0/", "-o"])
            .arg(&archive)
            .arg("HEAD"),
    );
    let time = process::run(Command::new("git").arg("-C").arg(checkout.path()).args([
        "log",
        "-1",
        "--format=%ct",
    ]));
    let epoch = format!("SOURCE_DATE_EPOCH={}", time.trim());
    let from_archive = warpdrive.image_with(
        "two",
        &warpdrive.place(),
        &[&epoch],
        &["--path", archive.to_str().unwrap()],
    );
    assert_eq!(
        from_archive["cache"]["application"], "hit",
        "{from_archive}"
    );
    for kind in ["dependencies", "application"] {
        assert_eq!(layers(&from_archive, kind), layers(&from_checkout, kind));
    }
}

/// Trees of a few kilobytes that name a million files, or terabytes: counted before anything of them
/// is on the disk, those of submodules too.
#[test]
fn what_a_commit_would_put_on_the_disk_is_counted_before() {
    use std::fmt::Write as _;
    let place = Place::new();
    let bomb = |name: &str, width: usize, levels: usize, content: &[u8]| {
        let root = place.directory.path().join(name);
        fs::create_dir(&root).unwrap();
        let git = |arguments: &[&str], stdin: &[u8]| -> String {
            use std::io::Write as _;
            let mut child = Command::new("git")
                .current_dir(&root)
                .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
                .args(arguments)
                .stdin(std::process::Stdio::piped())
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(stdin).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{arguments:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        git(&["init", "--quiet", "--initial-branch=main"], b"");
        let mut below = format!(
            "100644 blob {}",
            git(&["hash-object", "-w", "--stdin"], content)
        );
        for _ in 0..levels {
            let mut tree = String::new();
            for number in 0..width {
                writeln!(tree, "{below}\t{number:04}").unwrap();
            }
            below = format!("040000 tree {}", git(&["mktree"], tree.as_bytes()));
        }
        let tree = below.rsplit(' ').next().unwrap();
        let id = git(&["commit-tree", tree, "-m", "bomb"], b"");
        git(&["update-ref", "refs/heads/main", &id], b"");
        (format!("file://{}", root.display()), id)
    };
    // A million files; twelve gigabytes.
    let files = bomb("files", 1000, 2, b"x");
    let bytes = bomb("bytes", 3000, 1, &vec![0; 4 << 20]);
    for ((url, id), limit) in [(&files, "500000 entries"), (&bytes, "8589934592 bytes")] {
        let (code, words) = place.refuses(&["--git", url]);
        assert_eq!(code, 1, "{words}");
        assert!(words.contains(limit), "{words}");
        // As a submodule, and the one that is counted faster as a submodule's, too.
        let mut inner = (url.clone(), id.clone());
        let levels: &[&str] = if limit.ends_with("bytes") {
            &["outer", "outermost"]
        } else {
            &["outer"]
        };
        for level in levels {
            let root = place
                .directory
                .path()
                .join(format!("{level}-{}", &inner.1[..9]));
            fs::create_dir(&root).unwrap();
            let modules = format!(
                "[submodule \"{level}\"]\n\tpath = lib\n\turl = {}\n",
                inner.0
            );
            fs::write(root.join(".gitmodules"), modules).unwrap();
            fs::write(root.join("app.py"), "").unwrap();
            commit(&root);
            let git = |arguments: &[&str]| {
                process::run(
                    Command::new("git")
                        .current_dir(&root)
                        .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
                        .args(arguments),
                )
            };
            let link = format!("160000,{},lib", inner.1);
            git(&["update-index", "--add", "--cacheinfo", &link]);
            git(&["commit", "--quiet", "-m", "submodule"]);
            let url = format!("file://{}", root.display());
            let (code, words) = place.refuses(&["--git", &url]);
            assert_eq!(code, 1, "{words}");
            assert!(words.contains(limit), "{words}");
            let (files, words) = place.files(&["--git", &url, "--ignore-submodules"]);
            assert_eq!(files, 2, "{words}");
            let id = git(&["rev-parse", "HEAD"]).trim().to_owned();
            inner = (url, id);
        }
    }
}

/// A commit names any repository as its submodule: what lies on this machine is this user's, not its author's.
#[test]
fn a_submodule_brings_no_other_repository_of_this_machine() {
    let place = Place::new();
    let repository = Repository::new();
    let path = repository.root();
    let path = path.to_str().unwrap();
    let ways = [
        vec!["--git".to_owned(), repository.url()],
        vec![
            "--path".to_owned(),
            path.to_owned(),
            "--ref".to_owned(),
            "main".to_owned(),
        ],
    ];
    for way in &ways {
        let arguments: Vec<&str> = way.iter().map(String::as_str).collect();
        // The control: with the user's `.gitconfig`, git allows them.
        assert_eq!(place.files(&arguments).0, 6, "{way:?}");
    }
    fs::remove_file(place.directory.path().join(".gitconfig")).unwrap();
    for way in &ways {
        let mut arguments: Vec<&str> = way.iter().map(String::as_str).collect();
        let (code, words) = place.refuses(&arguments);
        assert_eq!(code, 5, "{words}");
        assert!(words.contains("transport 'file' not allowed"), "{words}");
        arguments.push("--ignore-submodules");
        assert_eq!(place.files(&arguments).0, 5);
    }
    // By a plain and by a relative path, too.
    for address in [
        "../library",
        repository.place.path().join("library").to_str().unwrap(),
    ] {
        repository.git(&["config", "-f", ".gitmodules", "submodule.lib.url", address]);
        repository.git(&["commit", "--quiet", "--all", "-m", "another address"]);
        let (code, words) = place.refuses(&["--git", &repository.url()]);
        assert!(
            code == 5 && words.contains("not allowed"),
            "{address}: {words}"
        );
    }
}

/// A name that git makes a link of leads to a device, which never ends.
#[test]
fn what_says_where_contents_lie_is_read_as_a_file_alone() {
    let place = Place::new();
    let repository = Repository::new();
    std::os::unix::fs::symlink("/dev/ptmx", repository.root().join(".gitattributes")).unwrap();
    repository.git(&["add", "--all"]);
    repository.git(&["commit", "--quiet", "-m", "link"]);
    // Reading it would ignore the time limit.
    let output = place.preview(&["--git", &repository.url(), "--timeout", "2m"]);
    let words = process::words(&output);
    assert!(
        output.status.success() && words.contains("`.gitattributes` is a link to `/dev/ptmx`"),
        "{words}"
    );
}

#[test]
fn repositories_that_name_their_objects_by_sha_256() {
    let place = Place::new();
    let root = place.directory.path().join("app");
    let git = |directory: &std::path::Path, arguments: &[&str]| {
        process::run(
            Command::new("git")
                .current_dir(directory)
                .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
                .args(["-c", "protocol.file.allow=always"])
                .args(arguments),
        )
    };
    let library = place.directory.path().join("library");
    for directory in [&library, &root] {
        fs::create_dir(directory).unwrap();
        git(
            directory,
            &[
                "init",
                "--quiet",
                "--object-format=sha256",
                "--initial-branch=main",
            ],
        );
        fs::write(directory.join("app.py"), "one\n").unwrap();
        git(directory, &["add", "--all"]);
        git(directory, &["commit", "--quiet", "-m", "First"]);
    }
    git(&root, &["tag", "-a", "v1", "-m", "v1"]);
    let module = format!("file://{}", library.display());
    git(&root, &["submodule", "--quiet", "add", &module, "lib"]);
    git(&root, &["commit", "--quiet", "-m", "Second"]);
    let first = git(&root, &["rev-parse", "v1^{commit}"]).trim().to_owned();
    assert_eq!(first.len(), 64);
    let url = format!("file://{}", root.display());
    for (reference, files) in [
        ("main", 3),
        ("v1", 1),
        (&first, 1),
        (&first[..10], 1),
        (&first[..50], 1),
    ] {
        let (found, words) = place.files(&["--git", &url, "--ref", reference]);
        assert_eq!(found, files, "{reference}: {words}");
        if files == 1 {
            assert!(words.contains(&first[..12]), "{words}");
        }
    }
    // The label has all of the id.
    let warpdrive = crate::support::s2i::with_a_box();
    warpdrive.run(&["s2i", "build", &format!("{url}#v1"), "box", "app"]);
    let key = "io.openshift.s2i.build.commit.id";
    assert_eq!(
        crate::support::s2i::label(&warpdrive, "app", key),
        Some(first)
    );
}
