//! Where a source may come from, by the command line: git, archives, standard input; and that what is
//! hostile is refused, each with its own words.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::s2i_builders::{self, Builder};
use support::users::User;
use support::warpdrive::{PYTHON_311_RUN, Warpdrive, binary, commit, copy_of, example, layers};
use support::{fake_registry, process};

/// A place with a repository: `main` with a submodule, a tag, another branch, a commit that no
/// branch ends at.
struct Repository {
    place: tempfile::TempDir,
}

impl Repository {
    fn new() -> Self {
        let this = Self {
            place: tempfile::tempdir().unwrap(),
        };
        let library = this.place.path().join("library");
        fs::create_dir(&library).unwrap();
        fs::write(library.join("lib.py"), "lib\n").unwrap();
        commit(&library);
        let root = this.root();
        fs::create_dir_all(root.join("web/static")).unwrap();
        fs::write(root.join("app.py"), "one\n").unwrap();
        fs::write(
            root.join("web/wsgi.py"),
            "def application(environ, start_response): ...\n",
        )
        .unwrap();
        fs::write(root.join("run.sh"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink("app.py", root.join("link")).unwrap();
        commit(&root);
        this.git(&["tag", "-a", "v1", "-m", "v1"]);
        this.git(&["checkout", "--quiet", "-b", "feature/x"]);
        fs::write(root.join("app.py"), "feature\n").unwrap();
        this.git(&["commit", "--quiet", "--all", "-m", "feature"]);
        this.git(&["checkout", "--quiet", "main"]);
        let module = format!("file://{}", library.display());
        this.git(&[
            "-c",
            "protocol.file.allow=always",
            "submodule",
            "--quiet",
            "add",
            &module,
            "lib",
        ]);
        this.git(&["commit", "--quiet", "--all", "-m", "submodule"]);
        this
    }

    fn root(&self) -> PathBuf {
        self.place.path().join("app")
    }

    fn url(&self) -> String {
        format!("file://{}", self.root().display())
    }

    fn git(&self, arguments: &[&str]) -> String {
        process::run(
            Command::new("git")
                .current_dir(self.root())
                .args(["-c", "user.name=Test", "-c", "user.email=test@example.com"])
                .args(arguments)
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .env("GIT_AUTHOR_DATE", "2024-05-06T07:08:09Z")
                .env("GIT_COMMITTER_DATE", "2024-05-06T07:08:09Z"),
        )
    }
}

/// `image app --dry-run --json` of a source: its files, and all words.
fn preview(store: &Path, env: &[(&str, &str)], stdin: Option<&[u8]>, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command
        .arg("--store")
        .arg(store)
        .args(["image", "app", "--dry-run", "--json"])
        .args(arguments)
        .current_dir(store.parent().unwrap())
        .envs(env.iter().copied())
        .stdin(if stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    if let Some(bytes) = stdin {
        // A refusal closes the pipe early.
        let _ = child.stdin.take().unwrap().write_all(bytes);
    }
    child.wait_with_output().unwrap()
}

struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn store(&self) -> PathBuf {
        self.directory.path().join("store")
    }

    fn preview(&self, arguments: &[&str]) -> Output {
        preview(&self.store(), &[], None, arguments)
    }

    /// The number of files of a source.
    fn files(&self, arguments: &[&str]) -> (u64, String) {
        let output = self.preview(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            process::words(&output)
        );
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        (report["source"]["files"].as_u64().unwrap(), words)
    }

    fn refuses(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.preview(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        // Nothing temporary stays.
        let left: Vec<_> = fs::read_dir(self.store().join("tmp"))
            .into_iter()
            .flatten()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(left.is_empty(), "{left:?}");
        (output.status.code().unwrap(), process::words(&output))
    }
}

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
            "[filter \"evil\"]\n\tsmudge = {touch}\n\trequired = true\n[core]\n\thooksPath = {}\n",
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

/// A `git` server over plain HTTP that asks for a login and has files only: shallow fetches are not
/// possible there, and the client has to fetch everything.
#[test]
fn http_with_a_login_that_shows_nowhere() {
    let place = Place::new();
    let repository = Repository::new();
    let bare = repository.place.path().join("bare.git");
    process::run(
        Command::new("git")
            .args(["clone", "--quiet", "--bare"])
            .arg(repository.root())
            .arg(&bare),
    );
    process::run(
        Command::new("git")
            .arg("-C")
            .arg(&bare)
            .arg("update-server-info"),
    );
    let files = bare.clone();
    let server = fake_registry::FakeRegistry::start(move |asked| {
        // user:s3cretpw
        if asked.header("authorization") != Some("Basic dXNlcjpzM2NyZXRwdw==") {
            return fake_registry::Reply::new(401).header("www-authenticate", "Basic realm=\"x\"");
        }
        let path = asked
            .target
            .split('?')
            .next()
            .unwrap()
            .trim_start_matches("/app.git/")
            .to_owned();
        match fs::read(files.join(path)) {
            Ok(bytes) => fake_registry::Reply::new(200).body(bytes),
            Err(_) => fake_registry::Reply::new(404),
        }
    });
    let host = server.address().to_owned();
    let with_login = format!("http://user:s3cretpw@{host}/app.git");
    let id = repository
        .git(&["rev-parse", "v1^{commit}"])
        .trim()
        .to_owned();
    for reference in ["v1", &id] {
        let (files, words) = place.files(&["--git", &with_login, "--ref", reference]);
        assert_eq!(files, 4, "{words}");
        assert!(!words.contains("s3cretpw"), "{words}");
        assert!(
            words.contains(&format!("---> Fetching http://{host}/app.git#{reference}")),
            "{words}"
        );
    }
    // A credential helper of the user's is asked, and an address of the user's own making is known.
    let home = place.directory.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(
        home.join(".gitconfig"),
        format!(
            "[credential]\n\thelper = \"!f() {{ echo username=user; echo password=s3cretpw; }}; f\"\n[url \"http://{host}/\"]\n\tinsteadOf = https://forge.example/\n"
        ),
    )
    .unwrap();
    for url in [
        &format!("http://{host}/app.git"),
        "https://forge.example/app.git",
    ] {
        let output = preview(
            &place.store(),
            &[("HOME", home.to_str().unwrap())],
            None,
            &["--git", url, "--ref", "v1"],
        );
        assert!(output.status.success(), "{}", process::words(&output));
    }
    let (code, words) = place.refuses(&["--git", &format!("http://user:wr0ng@{host}/app.git")]);
    assert_eq!(code, 5, "{words}");
    assert!(!words.contains("wr0ng"), "{words}");
    let (code, words) = place.refuses(&["--git", &format!("http://{host}/app.git")]);
    assert_eq!(code, 5, "{words}");
    assert!(
        words.contains("nothing asks for a password here"),
        "{words}"
    );
}

/// An `ssh` of the test's own in front of the real one: what it is given, and the repository by it.
#[test]
fn ssh_is_asked_in_batch_mode_with_the_agent() {
    let place = Place::new();
    let repository = Repository::new();
    let bin = place.directory.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let log = place.directory.path().join("log");
    fs::write(
        bin.join("ssh"),
        format!(
            "#!/bin/sh\nfor word; do last=$word; done\necho \"agent=$SSH_AUTH_SOCK $*\" >> {}\nexec sh -c \"$last\"\n",
            log.display()
        ),
    )
    .unwrap();
    fs::set_permissions(bin.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let env = [
        ("PATH", path.as_str()),
        ("SSH_AUTH_SOCK", "/run/agent.sock"),
    ];
    let root = repository.root();
    for url in [
        format!("git@example.com:{}", root.display()),
        format!("ssh://git@example.com:2222{}", root.display()),
    ] {
        // The submodule is a file of this machine, which a repository from elsewhere has no business with.
        let output = preview(&place.store(), &env, None, &["--git", &url, "--ref", "v1"]);
        assert!(output.status.success(), "{}", process::words(&output));
        let output = preview(&place.store(), &env, None, &["--git", &url]);
        assert_eq!(output.status.code(), Some(5));
        assert!(
            process::words(&output).contains("transport 'file' not allowed"),
            "{}",
            process::words(&output)
        );
    }
    let log = fs::read_to_string(log).unwrap();
    assert!(
        log.contains("agent=/run/agent.sock -oBatchMode=yes"),
        "{log}"
    );
    assert!(
        log.contains("-p 2222 git@example.com git-upload-pack"),
        "{log}"
    );
}

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
    assert!(
        process::words(&output).contains("give it as a file"),
        "{}",
        process::words(&output)
    );

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

/// One terabyte that is not there, as GNU tar packs it: kilobytes.
#[test]
fn a_terabyte_of_nothing_is_refused() {
    let place = Place::new();
    let source = place.directory.path().join("source");
    fs::create_dir(&source).unwrap();
    let file = fs::File::create(source.join("huge")).unwrap();
    file.set_len(1 << 40).unwrap();
    let archive = place.directory.path().join("huge.tar");
    process::run(
        Command::new("tar")
            .args(["--create", "--sparse", "--file"])
            .arg(&archive)
            .arg("-C")
            .arg(&source)
            .arg("."),
    );
    let (code, words) = place.refuses(&["--path", archive.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(words.contains("sparse file"), "{words}");
}

/// A server that takes connections and never answers.
fn silent_server() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let held: Vec<_> = listener.incoming().collect();
        drop(held);
    });
    format!("http://{address}/app.git")
}

#[test]
fn a_server_that_never_answers_is_waited_for_no_longer_than_told() {
    let place = Place::new();
    let (code, words) = place.refuses(&["--git", &silent_server(), "--timeout", "1s"]);
    assert_eq!(code, 5, "{words}");
    assert!(words.contains("took longer than 1 s"), "{words}");
}

#[test]
fn an_interrupted_fetch_leaves_nothing() {
    let warpdrive = Warpdrive::new();
    let url = silent_server();
    let child = warpdrive
        .command(&["s2i", "build", &url, "builder", "app"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let tmp = warpdrive.store().join("tmp");
    // Its git has begun.
    let begun = process::poll(std::time::Duration::from_mins(1), || {
        fs::read_dir(&tmp).ok()?.flatten().find_map(|entry| {
            let source = entry.path().join("source");
            source.is_dir().then_some(())
        })
    });
    assert!(begun.is_some(), "nothing was fetched");
    process::run(
        Command::new("kill")
            .arg("-TERM")
            .arg(child.id().to_string()),
    );
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(130),
        "{}",
        process::words(&output)
    );
    warpdrive.leaves_nothing();
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
    let tmp = warpdrive.store().join("tmp");
    let begun = process::poll(std::time::Duration::from_mins(1), || {
        let mut entries = fs::read_dir(&tmp).ok()?.flatten();
        entries.find_map(|entry| entry.path().join("source").is_dir().then_some(()))
    });
    assert!(begun.is_some(), "nothing was begun");
    process::run(
        Command::new("kill")
            .arg("-TERM")
            .arg(child.id().to_string()),
    );
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    assert_eq!(
        output.status.code(),
        Some(130),
        "{}",
        process::words(&output)
    );
    warpdrive.leaves_nothing();
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

/// In a user namespace nobody knows who the user is; git is run before.
#[test]
fn users_without_root_build_from_git() {
    let place = tempfile::tempdir().unwrap();
    let archive = place.path().join("box.tar");
    Builder::plain().archive(&archive, "box:1");
    let source = s2i_builders::source(&[("a.txt", "hello")]);
    commit(source.path());
    for user in [User::with_subids(), User::single_id()] {
        let program = user.give(binary(), "warpdrive");
        let archive = user.give(&archive, "box.tar");
        let repository = user.give(source.path(), "repository");
        let store = user.home().join("store");
        let run = |arguments: &[&str]| {
            process::run(
                user.command(&program)
                    .arg("--store")
                    .arg(&store)
                    .args(arguments),
            )
        };
        run(&[
            "import",
            &format!("docker-archive:{}:box:1", archive.display()),
            "box",
        ]);
        let url = format!("file://{}", repository.display());
        let report = run(&["s2i", "build", &url, "box", "app", "--json"]);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["user"], "1001", "{report}");
        assert!(run(&["run", "--rm", "--network", "none", "app"]).starts_with("uid=1001"));
        // What was fetched outside of the namespace is gone.
        let left = process::run(process::as_root("ls").arg("-A").arg(store.join("tmp")));
        assert_eq!(left, "");
    }
}
