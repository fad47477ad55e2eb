//! `warpdrive run` and `warpdrive container` on a small image of busybox, as root, as a user with
//! subordinate ids and as a user with its own id only. Afterwards no process and no mount is left.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::enclosure::{Enclosure, Identity};
use support::users::User;
use support::{http, process};
use warpdrive::layer::{self, Compression, Entry, Kind, Mtime, with_parents};
use warpdrive::oci::{
    HistoryEntry, ImageConfig, ImageManifestBuilder, MediaType, descriptor, to_canonical_json,
};
use warpdrive::store::Store;

const SOON: Duration = Duration::from_secs(20);
const PAGE: &str = "engage\n";

/// Ends on SIGTERM, says so, and counts until then.
const SERVICE: &str = "trap 'echo bye; exit 3' TERM; echo begin; echo problem >&2; \
                       while :; do sleep 0.1; done";

fn image(store: &Store) {
    let entry = |path: &str, kind: Kind, mode: u32| Entry {
        kind,
        ..Entry::directory(path, mode, Mtime::Fixed(1))
    };
    let file = |path: &str, text: &str| entry(path, Kind::Bytes(text.into()), 0o644);
    let busybox = process::tool("busybox");
    let mut entries = vec![
        entry(
            "bin/busybox",
            Kind::Bytes(fs::read(busybox).unwrap()),
            0o755,
        ),
        entry(
            "bin/not-executable",
            Kind::Bytes(b"#!/bin/sh\n".to_vec()),
            0o644,
        ),
        file(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\napp:x:1001:0::/home/app:/bin/sh\n",
        ),
        file("www/index.html", PAGE),
        entry("tmp", Kind::Directory, 0o1777),
        entry("work", Kind::Directory, 0o777),
    ];
    for applet in [
        "cat", "echo", "env", "hostname", "httpd", "id", "ls", "mkdir", "nc", "pwd", "sh", "sleep",
        "stat", "touch", "wc", "yes", "head", "stty", "kill", "wget",
    ] {
        entries.push(entry(
            &format!("bin/{applet}"),
            Kind::Symlink("busybox".into()),
            0o777,
        ));
    }
    let mut entries = with_parents(entries, |path| {
        Entry::directory(path, 0o755, Mtime::Fixed(1))
    });
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let mut blob = store.blob_writer().unwrap();
    let written = layer::write(&entries, Compression::Gzip(1), &mut blob).unwrap();
    let (digest, size) = blob.commit(Some(&written.digest)).unwrap();
    let layer = descriptor(MediaType::ImageLayerGzip, digest, size);

    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let mut config = ImageConfig::new("linux", architecture);
    let history = HistoryEntry {
        created: "1980-01-01T00:00:01Z".into(),
        created_by: "test".into(),
        empty_layer: false,
    };
    config.push_layer(&written.diff_id, &history);
    config.set("User", json!("app"));
    config.set("WorkingDir", json!("/work"));
    config.set("Env", json!(["PATH=/bin", "FROM_IMAGE=1"]));
    config.set("Cmd", json!(["sh", "-c", SERVICE]));
    let (digest, size) = store.put_blob(&config.to_bytes()).unwrap();
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(descriptor(MediaType::ImageConfig, digest, size))
        .layers(vec![layer])
        .build()
        .unwrap();
    let bytes = to_canonical_json(&manifest);
    let (digest, size) = store.put_blob(&bytes).unwrap();
    let manifest = descriptor(MediaType::ImageManifest, digest, size);
    store.tag("busy", &manifest).unwrap();
}

/// Who runs warpdrive, and where.
enum Who {
    Root(Enclosure),
    User(User),
}

struct Host {
    who: Who,
    store: PathBuf,
    program: PathBuf,
}

impl Host {
    fn root() -> Self {
        Self::new(Who::Root(Enclosure::new()))
    }

    fn subids() -> Self {
        Self::new(Who::User(User::with_subids()))
    }

    fn single() -> Self {
        Self::new(Who::User(User::single_id()))
    }

    fn new(who: Who) -> Self {
        let made = tempfile::tempdir().unwrap();
        let source = made.path().join("store");
        image(&Store::open(Some(&source)).unwrap());
        let program = Path::new(env!("CARGO_BIN_EXE_warpdrive"));
        let (store, program) = match &who {
            Who::Root(enclosure) => {
                let store = enclosure.directory().join("store");
                process::run(process::as_root("cp").arg("-R").arg(&source).arg(&store));
                (store, program.to_owned())
            }
            Who::User(user) => (user.give(&source, "store"), user.give(program, "warpdrive")),
        };
        Self {
            who,
            store,
            program,
        }
    }

    fn enclosure(&self) -> &Enclosure {
        match &self.who {
            Who::Root(enclosure) => enclosure,
            Who::User(user) => user.enclosure(),
        }
    }

    /// A directory of its own.
    fn home(&self) -> PathBuf {
        match &self.who {
            Who::Root(enclosure) => enclosure.directory().to_owned(),
            Who::User(user) => user.home().to_owned(),
        }
    }

    fn is_single(&self) -> bool {
        matches!(&self.who, Who::User(user) if user.name() == "warpdrive-single")
    }

    fn any(&self, program: impl AsRef<std::ffi::OsStr>, env: &[&str]) -> Command {
        match &self.who {
            Who::Root(enclosure) => {
                let mut env: Vec<String> = env.iter().map(ToString::to_string).collect();
                env.push(format!("HOME={}", enclosure.directory().display()));
                enclosure.command(Identity::Root, enclosure.directory(), &env, program)
            }
            Who::User(user) => user.command_in(user.home(), env, program),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let store = format!("WARPDRIVE_STORE={}", self.store.display());
        let mut command = self.any(&self.program, &[&store, "CALLERS=value"]);
        command.args(words).stdin(Stdio::null());
        command
    }

    fn warpdrive(&self, words: &[&str]) -> Output {
        process::output_within(&mut self.command(words), Duration::from_mins(1))
    }

    /// What a command prints that has to succeed.
    #[track_caller]
    fn ok(&self, words: &[&str]) -> String {
        let output = self.warpdrive(words);
        assert!(output.status.success(), "{words:?}: {}", text(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The status and both outputs of a command that has to fail.
    #[track_caller]
    fn fails(&self, status: i32, words: &[&str]) -> String {
        let output = self.warpdrive(words);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{words:?}: {}",
            text(&output)
        );
        text(&output)
    }

    #[track_caller]
    fn listed(&self, name: &str) -> Option<Value> {
        let list: Value = serde_json::from_str(&self.ok(&["container", "ls", "--json"])).unwrap();
        list["containers"]
            .as_array()
            .unwrap()
            .iter()
            .find(|container| container["name"] == name)
            .cloned()
    }

    #[track_caller]
    fn status(&self, name: &str) -> String {
        let listed = self.listed(name);
        listed.map_or_else(String::new, |it| it["status"].as_str().unwrap().to_owned())
    }

    /// Nothing is left over: no process, no mount, no half-made container.
    #[track_caller]
    fn is_clean(&self) {
        let clean = process::poll(SOON, || {
            self.enclosure().processes().is_empty().then_some(())
        });
        assert!(
            clean.is_some(),
            "left over: {:?}",
            self.enclosure().processes()
        );
        let mounts = self.enclosure().mounts_below(&self.store);
        assert!(mounts.is_empty(), "{mounts:?}");
        let left = process::run(
            process::as_root("ls")
                .arg("-A")
                .arg(self.store.join("containers")),
        );
        assert_eq!(left.trim(), ".lock", "containers are left");
    }
}

fn text(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    format!("{out}{}", without_notes(&output.stderr))
}

/// Whether there is an outbound network depends on the machine.
fn without_notes(err: &[u8]) -> String {
    String::from_utf8_lossy(err)
        .lines()
        .filter(|line| !line.starts_with("no outbound network"))
        .flat_map(|line| [line, "\n"])
        .collect()
}

fn foreground(host: &Host) {
    let script = "echo out; echo err >&2; pwd; env; id -u; id -g; hostname; exit 7";
    let output = host.warpdrive(&[
        "run",
        "busy",
        "--rm",
        "-e",
        "A=1",
        "-e",
        "CALLERS",
        "--hostname",
        "here",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output));
    let out = String::from_utf8(output.stdout).unwrap();
    for line in [
        "out",
        "/work",
        "A=1",
        "CALLERS=value",
        "FROM_IMAGE=1",
        "HOME=/home/app",
        "1001",
        "0",
        "here",
    ] {
        assert!(out.lines().any(|it| it == line), "{line} in {out}");
    }
    assert!(!out.contains("err"));
    assert_eq!(without_notes(&output.stderr), "err\n");

    // The command is process 1 and gets no input.
    assert_eq!(
        host.ok(&["run", "busy", "--rm", "--", "sh", "-c", "echo $$; cat"]),
        "1\n"
    );
    let mut with_input = host.command(&["run", "busy", "--rm", "-i", "--", "cat"]);
    let mut child = with_input
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"hello");

    assert!(
        host.fails(127, &["run", "busy", "--", "nonesuch"])
            .contains("nonesuch")
    );
    host.fails(126, &["run", "busy", "--", "/bin/not-executable"]);
    assert!(host.fails(125, &["run", "nonesuch"]).contains("nonesuch"));
    assert!(
        host.fails(125, &["run", "busy", "-u", "nobody"])
            .contains("nobody")
    );

    let file = host.home().join("variables");
    process::run(
        host.any("sh", &[])
            .args(["-c", "printf '# no\\nB=two words\\nCALLERS\\n' > \"$0\""])
            .arg(&file),
    );
    let file = file.display().to_string();
    let out = host.ok(&[
        "run",
        "busy",
        "--rm",
        "--env-file",
        &file,
        "-e",
        "C=3",
        "--",
        "env",
    ]);
    for line in ["B=two words", "CALLERS=value", "C=3"] {
        assert!(out.lines().any(|it| it == line), "{line} in {out}");
    }
    host.is_clean();
}

fn detached(host: &Host) {
    let id = host.ok(&["run", "busy", "-d", "--name", "web"]);
    let id = id.trim();
    assert_eq!(host.status("web"), "running");
    assert_eq!(host.listed("web").unwrap()["id"], id);
    let clash = host.fails(125, &["run", "busy", "-d", "--name", "web"]);
    assert!(
        clash.contains("`web`") && clash.contains("rm -f"),
        "{clash}"
    );
    assert!(
        host.fails(1, &["container", "rm", "web"])
            .contains("running")
    );

    let mut follow = host.command(&["container", "logs", "-f", "web"]);
    let follow = follow
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let started = Instant::now();
    host.ok(&["container", "stop", "web"]);
    assert!(started.elapsed() < Duration::from_secs(8));
    // Ends because the container does.
    let followed = follow.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(followed.stdout).unwrap(), "begin\nbye\n");
    assert_eq!(String::from_utf8(followed.stderr).unwrap(), "problem\n");

    let listed = host.listed("web").unwrap();
    assert_eq!(
        (&listed["status"], &listed["exit"]),
        (&json!("exited"), &json!(3))
    );
    assert!(host.ok(&["container", "ls"]).contains("exited(3)"));
    assert_eq!(
        host.ok(&["container", "logs", "-n", "1", &id[..8]]),
        "bye\n"
    );
    let stamped = host.ok(&["container", "logs", "--timestamps", "web"]);
    assert!(
        stamped.lines().all(|line| line.starts_with("20")),
        "{stamped}"
    );
    host.ok(&["container", "stop", "web"]);
    host.ok(&["container", "rm", "web"]);
    assert!(host.listed("web").is_none());
    host.fails(1, &["container", "logs", "web"]);

    // One that takes no notice of TERM is killed; --rm takes it away at once.
    host.ok(&[
        "run", "busy", "-d", "--rm", "--name", "deaf", "--", "sleep", "1000",
    ]);
    host.ok(&["container", "stop", "-t", "0", "deaf"]);
    assert!(host.listed("deaf").is_none());
    host.ok(&["run", "busy", "-d", "--name", "deaf", "--", "sleep", "1000"]);
    host.ok(&["container", "rm", "-f", "deaf"]);
    // One whose command dies at once is no success: its status, its last words, and it is there still.
    let dying = ["run", "busy", "-d", "--name", "dying", "-p", "0:8080", "--"];
    let said = host.fails(
        7,
        &[
            &dying[..],
            &["sh", "-c", "echo the cause >&2; sleep 0.2; exit 7"],
        ]
        .concat(),
    );
    assert!(
        said.contains("ended with status 7") && said.contains("the cause"),
        "{said}"
    );
    assert_eq!(host.status("dying"), "exited");
    host.ok(&["container", "rm", "dying"]);
    // With --rm it may be gone before anybody has looked.
    let gone = host.warpdrive(&["run", "busy", "-d", "--rm", "--", "sh", "-c", "exit 7"]);
    let said = text(&gone);
    let told = match gone.status.code() {
        Some(0) => "has ended already, and --rm removed it",
        Some(7) => "--rm removed it: without that its log stays",
        _ => "nothing of the kind",
    };
    assert!(said.contains(told), "{said}");
    // One that has done its work is well.
    host.ok(&[
        "run", "busy", "-d", "--name", "done", "--", "sh", "-c", "exit 0",
    ]);
    host.ok(&["container", "rm", "done"]);
    // The status of a command that cannot start reaches the caller, and its name is free again.
    for _ in 0..2 {
        host.fails(
            127,
            &["run", "busy", "-d", "--name", "bad", "--", "nonesuch"],
        );
    }
    host.is_clean();
}

fn exec(host: &Host) {
    host.ok(&["run", "busy", "-d", "--name", "app", "-e", "OF_RUN=1"]);
    let out = host.ok(&[
        "container",
        "exec",
        "-e",
        "MORE=2",
        "-w",
        "/tmp",
        "app",
        "sh",
        "-c",
        "env; pwd; id -u; echo x > /tmp/made",
    ]);
    for line in ["OF_RUN=1", "MORE=2", "FROM_IMAGE=1", "/tmp", "1001"] {
        assert!(out.lines().any(|it| it == line), "{line} in {out}");
    }
    assert_eq!(
        host.ok(&["container", "exec", "app", "cat", "/tmp/made"]),
        "x\n"
    );
    host.fails(9, &["container", "exec", "app", "sh", "-c", "exit 9"]);
    host.fails(127, &["container", "exec", "app", "nonesuch"]);
    if host.is_single() {
        assert!(
            host.fails(125, &["container", "exec", "-u", "0", "app", "id"])
                .contains("1001:0")
        );
    } else {
        assert_eq!(
            host.ok(&["container", "exec", "-u", "root", "app", "id", "-u"]),
            "0\n"
        );
    }
    host.ok(&["container", "rm", "-f", "app"]);
    host.fails(125, &["container", "exec", "app", "id"]);
    host.is_clean();
}

fn ports(host: &Host) {
    let serve = ["--", "httpd", "-f", "-p", "8080", "-h", "/www"];
    let port = http::free_port();
    let mapping = format!("{port}:8080");
    let run = |mapping: &str, name: &str| {
        let words = [
            &["run", "busy", "-d", "--name", name, "-p", mapping][..],
            &serve,
        ]
        .concat();
        host.warpdrive(&words)
    };
    assert!(run(&mapping, "web").status.success());
    let page = http::wait_until_serving(port, SOON);
    assert_eq!((page.status, page.text().as_str()), (200, PAGE));
    // Many at once.
    let clients: Vec<_> = (0..100)
        .map(|_| std::thread::spawn(move || http::get(port, "/").map(|page| page.text())))
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap().unwrap(), PAGE);
    }
    // A half-closed connection is answered.
    let mut half = TcpStream::connect(("127.0.0.1", port)).unwrap();
    half.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    half.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with(PAGE), "{answer}");
    // Only on the loopback address.
    let listed = host.listed("web").unwrap();
    assert_eq!(listed["ports"][0]["address"], "127.0.0.1");

    let other = run(&mapping, "other");
    assert_eq!(other.status.code(), Some(125));
    assert!(
        text(&other).contains(&format!("127.0.0.1:{port}")),
        "{}",
        text(&other)
    );
    assert!(host.listed("other").is_none());

    let free = run("0:8080", "free");
    assert!(free.status.success());
    let chosen = host.listed("free").unwrap()["ports"][0]["host"]
        .as_u64()
        .unwrap();
    let chosen = u16::try_from(chosen).unwrap();
    assert!(
        text(&free).contains(&format!("127.0.0.1:{chosen}")),
        "{}",
        text(&free)
    );
    assert_eq!(http::wait_until_serving(chosen, SOON).text(), PAGE);

    host.ok(&["container", "stop", "-t", "0", "web", "free"]);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    // The host's ports are free again.
    drop(TcpListener::bind(("127.0.0.1", port)).unwrap());
    host.ok(&["container", "rm", "web", "free"]);
    let refused = host.fails(125, &["run", "busy", "--network", "host", "-p", "1234:80"]);
    assert!(refused.contains("--network"), "{refused}");
    host.is_clean();
}

fn volumes(host: &Host) {
    let run = |volume: &str, script: &str| {
        host.warpdrive(&[
            "run", "busy", "--rm", "-v", volume, "--", "sh", "-c", script,
        ])
    };
    let wrote = run(
        "data:/srv/data",
        "echo kept > /srv/data/file && stat -c %a,%u,%g /srv/data",
    );
    assert_eq!(text(&wrote), "2775,1001,0\n");
    assert_eq!(
        text(&run("data:/elsewhere", "cat /elsewhere/file")),
        "kept\n"
    );
    let denied = run("data:/d:ro", "echo x > /d/file");
    assert!(!denied.status.success(), "{}", text(&denied));
    assert_eq!(text(&run("data:/d", "cat /d/file")), "kept\n");

    let path = host.home().join("host");
    process::run(host.any("mkdir", &[]).arg(&path));
    process::run(
        host.any("sh", &[])
            .args(["-c", "echo here > \"$0\"/file; chmod 777 \"$0\""])
            .arg(&path),
    );
    let mount = format!("{}:/h", path.display());
    assert_eq!(
        text(&run(&mount, "cat /h/file; echo x > /h/made")),
        "here\n"
    );
    assert_eq!(
        process::run(process::as_root("cat").arg(path.join("made"))),
        "x\n"
    );
    let missing = format!("{}:/h", host.home().join("missing").display());
    let made = run(&missing, "ls -A /h");
    assert!(
        made.status.success() && text(&made).contains("did not exist"),
        "{}",
        text(&made)
    );
    let mount = "type=tmpfs,target=/t,tmpfs-size=64k";
    let out = host.ok(&[
        "run",
        "busy",
        "--rm",
        "--mount",
        mount,
        "--",
        "sh",
        "-c",
        "yes | head -c 100000 > /t/f; wc -c < /t/f",
    ]);
    assert_eq!(out.trim(), "65536");
    host.is_clean();
}

fn read_only(host: &Host) {
    let script = "echo x > /work/f || echo denied; echo x > /tmp/f && cat /tmp/f";
    let output = host.warpdrive(&[
        "run",
        "busy",
        "--rm",
        "--read-only",
        "--",
        "sh",
        "-c",
        script,
    ]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "denied\nx\n");
    // Without it the root can be written to, and the image is not changed by that.
    let write = "test -e /work/f && exit 1; echo x > /work/f";
    for _ in 0..2 {
        host.ok(&["run", "busy", "--rm", "--", "sh", "-c", write]);
    }
    host.is_clean();
}

fn users(host: &Host) {
    let id = |user: &str| {
        host.warpdrive(&[
            "run",
            "busy",
            "--rm",
            "-u",
            user,
            "--",
            "sh",
            "-c",
            "id -u; id -g; echo $HOME",
        ])
    };
    assert_eq!(text(&id("app")), "1001\n0\n/home/app\n");
    if host.is_single() {
        for user in ["0", "1001:5", "1002"] {
            let output = id(user);
            assert_eq!(output.status.code(), Some(125));
            assert!(text(&output).contains("subuid"), "{}", text(&output));
        }
    } else {
        assert_eq!(text(&id("0")), "0\n0\n/root\n");
        assert_eq!(text(&id("1234:56")), "1234\n56\n/\n");
    }
    host.is_clean();
}

fn killed_supervisor(host: &Host) {
    host.ok(&["run", "busy", "-d", "--name", "orphan"]);
    let record = host
        .store
        .join("containers")
        .join(host.listed("orphan").unwrap()["id"].as_str().unwrap());
    let state = process::run(process::as_root("cat").arg(record.join("state.json")));
    let state: Value = serde_json::from_str(&state).unwrap();
    let pid = state["supervisor"]["pid"].to_string();
    process::run(host.any("kill", &[]).args(["-9", &pid]));
    let dead = process::poll(SOON, || (host.status("orphan") == "dead").then_some(()));
    assert!(dead.is_some(), "{}", host.status("orphan"));
    // What it held is gone with it.
    let clean = process::poll(SOON, || {
        host.enclosure().processes().is_empty().then_some(())
    });
    assert!(clean.is_some(), "{:?}", host.enclosure().processes());
    host.fails(125, &["container", "exec", "orphan", "id"]);
    host.ok(&["container", "logs", "-f", "orphan"]);
    host.ok(&["container", "stop", "orphan"]);
    host.ok(&["container", "rm", "orphan"]);
    host.is_clean();
}

fn umask(host: &Host) {
    let words = [
        "run",
        "busy",
        "--rm",
        "--",
        "sh",
        "-c",
        "umask; ls / > /work/f && cat /etc/hostname",
    ];
    for option in ["--network=private", "--read-only"] {
        let words = [&words[..2], &[option], &words[2..]].concat();
        let store = format!("WARPDRIVE_STORE={}", host.store.display());
        let mut command = host.any("sh", &[&store]);
        let command = command
            .args(["-c", "umask 077; exec \"$0\" \"$@\""])
            .arg(&host.program)
            .args(words);
        let out = text(&process::output(command));
        assert!(out.starts_with("0022\n"), "{out}");
        assert_eq!(
            out.contains("denied") || out.contains("Read-only"),
            option == "--read-only",
            "{out}"
        );
    }
    host.is_clean();
}

fn interrupted(host: &Host) {
    for (signal, status) in [("-TERM", 3), ("-KILL", 137)] {
        let mut child = host
            .command(&["run", "busy", "--rm", "--name", "front"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = process::poll(SOON, || (host.status("front") == "running").then_some(()));
        assert!(running.is_some());
        std::thread::sleep(Duration::from_millis(300));
        // The outermost of warpdrive's processes, as a terminal's user or `timeout` would.
        let pids = process::run(
            host.any("pgrep", &[])
                .args(["-o", "-f", "--", "run busy --rm"]),
        );
        process::run(host.any("kill", &[]).args([signal, pids.trim()]));
        let mut out = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut out)
            .unwrap();
        let ended = child.wait().unwrap();
        assert_eq!(ended.code().unwrap_or(137), status, "{out}");
        if signal == "-TERM" {
            assert_eq!(out, "begin\nbye\n");
        } else {
            let dead = process::poll(SOON, || (host.status("front") == "dead").then_some(()));
            assert!(dead.is_some(), "{}", host.status("front"));
            host.ok(&["container", "rm", "front"]);
        }
        host.is_clean();
    }
}

fn terminal(host: &Host) {
    // `script` gives a terminal; what it reads are the keys.
    let typed = |words: &str, keys: &[&str]| {
        let line = format!(
            "stty rows 33 cols 99; WARPDRIVE_STORE={} {} {words}; echo status $?; stty -a",
            host.store.display(),
            host.program.display()
        );
        let mut child = host
            .any("script", &[])
            .args(["-qec", &line, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        for key in keys {
            std::thread::sleep(Duration::from_secs(1));
            stdin.write_all(key.as_bytes()).unwrap();
        }
        let output = child.wait_with_output().unwrap();
        text(&output).replace('\r', "")
    };
    let script = "'stty size; trap \"echo int; exit 5\" INT; read x; echo got $x; sleep 9 & wait'";
    let out = typed(
        &format!("run busy -it --rm --name tty -- sh -c {script}"),
        &["hello\n", "\u{3}"],
    );
    for part in ["33 99\n", "got hello\n", "int\n", "status 5\n", " icanon"] {
        assert!(out.contains(part), "{part} in {out}");
    }
    host.ok(&["run", "busy", "-d", "--name", "shell"]);
    let out = typed("container exec -it shell sh", &["stty size; exit 4\n"]);
    for part in ["33 99\n", "status 4\n"] {
        assert!(out.contains(part), "{part} in {out}");
    }
    host.ok(&["container", "rm", "-f", "shell"]);
    let refused = host.fails(125, &["run", "busy", "-it"]);
    assert!(refused.contains("terminal"), "{refused}");
    host.is_clean();
}

macro_rules! as_each {
    ($($name:ident)*) => {$(
        mod $name {
            use super::Host;

            #[test]
            fn as_root() {
                super::$name(&Host::root());
            }

            #[test]
            fn with_subordinate_ids() {
                super::$name(&Host::subids());
            }

            #[test]
            fn with_a_single_id() {
                super::$name(&Host::single());
            }
        }
    )*};
}

as_each! { foreground detached exec ports volumes read_only users killed_supervisor interrupted terminal umask }
