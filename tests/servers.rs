//! The servers: one Django project under each of the eight, from its image, as an arbitrary uid on a
//! read-only root: pages, static files, access log, and how it stops.
//!
//! What each is started with is a unit test (`app::server::page`), which holds
//! docs/reference/servers.md; the statuses here are those of that page.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use warpdrive::app::server::Server;

use crate::support::http::{self, Response};
use crate::support::podman::Podman;
use crate::support::process::{self, poll};
use crate::support::run::RunOptions;
use crate::support::warpdrive::{PYTHON_311, Warpdrive, copy_of, example};

/// The servers of `app::server::Server::ALL`; whether one is a single process; which
/// stream has its access log.
const SERVERS: [(&str, bool, Stream); 8] = [
    ("gunicorn", false, Stream::Out),
    ("mod_wsgi", false, Stream::Out),
    ("uwsgi", false, Stream::Err),
    ("waitress", true, Stream::Out),
    ("uvicorn", false, Stream::Out),
    ("hypercorn", false, Stream::Out),
    ("daphne", true, Stream::Out),
    ("granian", false, Stream::Out),
];

#[derive(Clone, Copy, PartialEq)]
enum Stream {
    Out,
    Err,
}

#[test]
fn every_server_is_tried() {
    let tried = SERVERS.map(|(name, ..)| name);
    assert_eq!(tried, Server::ALL.map(Server::name));
}

/// As a strict cluster runs it, and with two workers.
const STRICT: [&str; 5] = [
    "-u",
    "1000650000:0",
    "--read-only",
    "-e",
    "WEB_CONCURRENCY=2",
];

const STYLE: &str = "/static/website/style.css";
/// What a stop may take, on a machine that has other things to do: less than what a server grants.
const GRACE: Duration = Duration::from_secs(25);

/// The project with one line changed.
fn project(server: &str) -> tempfile::TempDir {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/projects/servers");
    let copy = copy_of(&source, false);
    let settings = copy.path().join(".warpdrive");
    fs::create_dir_all(&settings).unwrap();
    fs::write(settings.join("server_type"), format!("{server}\n")).unwrap();
    copy
}

/// A container in the foreground of a process of ours.
struct Container<'w> {
    warpdrive: &'w Warpdrive,
    process: Child,
    name: String,
    port: u16,
    out: PathBuf,
    err: PathBuf,
}

impl<'w> Container<'w> {
    fn start(warpdrive: &'w Warpdrive, image: &str, what: &str, more: &[&str]) -> Self {
        let port = http::free_port();
        let name = format!("servers-{image}-{what}-{}", std::process::id());
        let out = warpdrive.place().join(format!("{name}.out"));
        let err = warpdrive.place().join(format!("{name}.err"));
        let publish = format!("{port}:8080");
        let mut arguments = vec!["run", "--rm", "--name", &name, "-p", &publish];
        arguments.extend(more);
        arguments.push(image);
        let process = warpdrive
            .command(&arguments)
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let mut container = Self {
            warpdrive,
            process,
            name,
            port,
            out,
            err,
        };
        let answer = poll(Duration::from_mins(1), || {
            let ended = container.process.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "{}: {ended:?}\n{}",
                what,
                container.words()
            );
            http::get(port, "/").ok()
        });
        let answer = answer.unwrap_or_else(|| panic!("no answer\n{}", container.words()));
        assert_eq!(answer.status, 200, "{}", container.words());
        container
    }

    fn words(&self) -> String {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        format!("{}:\n{}{}", self.name, read(&self.err), read(&self.out))
    }

    fn get(&self, path: &str) -> Response {
        http::get(self.port, path)
            .unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.words()))
    }

    /// Asks for a response of three seconds, sends TERM in the midst of it, and gives the response and the
    /// status.
    fn stop_while_streaming(self) -> (Response, i32, String) {
        let response = streamed(self.port, || {
            let pid = self.process.id().to_string();
            process::run(Command::new("kill").args(["-TERM", &pid]));
        });
        let (status, words) = self.end();
        (
            response.unwrap_or_else(|error| panic!("{error}\n{words}")),
            status,
            words,
        )
    }

    /// Waits for the end.
    fn end(mut self) -> (i32, String) {
        let status = poll(GRACE, || self.process.try_wait().unwrap());
        let words = self.words();
        let Some(status) = status else {
            let _ = self.process.kill();
            let _ = self.process.wait();
            panic!("it still runs after {GRACE:?}\n{words}");
        };
        (status.code().unwrap_or(-1), words)
    }

    /// The process that serves, by its own number.
    fn server_process(&self) -> String {
        self.get("/process").text()
    }

    fn kill(&self, pid: &str) {
        let script = format!("import os; os.kill({pid}, 9)");
        // It may end with the container.
        let words = [
            "container",
            "exec",
            &self.name,
            "--",
            "python",
            "-c",
            &script,
        ];
        self.warpdrive.output(&words);
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// Fetches the long response and calls `meanwhile` when its first lines are there.
fn streamed(port: u16, meanwhile: impl FnOnce()) -> std::io::Result<Response> {
    http::get_and_meanwhile(port, "/stream", "line 3\n", meanwhile)
}

fn is_complete(response: &Response) -> bool {
    let text = response.text();
    response.status == 200 && text.lines().count() == 31 && text.ends_with("line 29\nend\n")
}

/// Page, static file, access log, and a stop in the middle of a response.
fn serves_and_stops(warpdrive: &Warpdrive, server: &str, log: Stream) {
    let container = Container::start(warpdrive, server, "stop", &STRICT);
    assert!(container.get("/").text().contains("It works"));
    let style = container.get(STYLE);
    assert_eq!(style.status, 200, "{}", container.words());
    let kind = style.header("content-type").unwrap_or("");
    assert!(kind.starts_with("text/css"), "{server}: {kind}");
    let modified = style.header("last-modified").unwrap_or("").to_owned();
    let again = http::request(
        "GET",
        container.port,
        STYLE,
        &[("If-Modified-Since", &modified)],
    );
    assert_eq!(again.unwrap().status, 304, "{server}: {modified}");
    assert_eq!(container.get("/static/website/none.css").status, 404);
    let (out, err) = (container.out.clone(), container.err.clone());
    wait_for_workers(server, 2, || container.words());
    let (response, status, words) = container.stop_while_streaming();
    assert!(
        is_complete(&response),
        "{server}: {}\n{words}",
        response.text()
    );
    assert_eq!(status, 0, "{words}");
    let number = if matches!(server, "waitress" | "daphne") {
        "2 threads"
    } else {
        "2 worker processes"
    };
    let told = format!(" -----> {number}, as WEB_CONCURRENCY says\n");
    assert!(words.contains(&told), "{words}");
    let log = fs::read_to_string(if log == Stream::Out { out } else { err }).unwrap();
    // Two workers need not log in the order of the requests.
    let mut lines = log.lines().filter(|line| line.contains(STYLE));
    assert!(lines.any(|line| line.contains("200")), "{words}");
}

/// A worker of granian's that is told to stop before it has started does not hear it, and is killed
/// when its time is over: waits until so many have started. (The others hear it at any time.)
fn wait_for_workers(server: &str, number: usize, words: impl Fn() -> String) {
    if server.contains("granian") {
        let started = || words().matches("Started worker").count();
        let all = poll(Duration::from_secs(30), || {
            (started() == number).then_some(())
        });
        all.unwrap_or_else(|| panic!("{}", words()));
    }
}

/// Process 1 ends with the server, or the server replaces the worker and stops as ever.
fn survives_a_worker(warpdrive: &Warpdrive, server: &str, single: bool) {
    let container = Container::start(warpdrive, server, "kill", &STRICT);
    let killed = container.server_process();
    container.kill(&killed);
    if single {
        let (status, words) = container.end();
        assert_eq!(status, 137, "{words}");
        return;
    }
    // Enough answers that the new one has to be among them, were the old one missing for good.
    let answers = poll(Duration::from_secs(30), || {
        let pids: Vec<String> = (0..8)
            .map_while(|_| http::get(container.port, "/process").ok())
            .filter(|response| response.status == 200)
            .map(|response| response.text())
            .collect();
        (pids.len() == 8).then_some(pids)
    });
    let answers = answers.unwrap_or_else(|| panic!("it does not recover\n{}", container.words()));
    assert!(!answers.contains(&killed), "{server}: {answers:?}");
    wait_for_workers(server, 3, || container.words());
    let (response, status, words) = container.stop_while_streaming();
    assert!(
        is_complete(&response),
        "{server}: {}\n{words}",
        response.text()
    );
    assert_eq!(status, 0, "{words}");
}

fn stopped_by_podman(podman: &Podman, server: &str) {
    let options = RunOptions::restricted(server).env("WEB_CONCURRENCY", "2");
    let running = podman.run(&options);
    assert_eq!(running.get("/").status, 200, "{}", running.logs());
    assert_eq!(running.get(STYLE).status, 200, "{}", running.logs());
    wait_for_workers(server, 2, || running.logs());
    let (port, mut end) = (running.port, None);
    let words = running.logs();
    let response = streamed(port, || end = Some(running.stop()));
    let response = response.unwrap_or_else(|error| panic!("{server}: {error}\n{words}"));
    assert!(
        is_complete(&response),
        "{server}: {}\n{words}",
        response.text()
    );
    // 137 would mean that podman killed it.
    assert_eq!(end.unwrap().code, 0, "{server}\n{words}");
}

/// Runs the work for every server, some at a time, and tells of every failure.
fn for_each(work: impl Fn(&'static str, bool, Stream) + Sync) {
    let failed: Vec<&str> = thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = SERVERS
            .iter()
            .map(|(server, single, log)| {
                (*server, scope.spawn(move || work(server, *single, *log)))
            })
            .collect();
        running
            .into_iter()
            .filter_map(|(server, handle)| handle.join().is_err().then_some(server))
            .collect()
    });
    assert!(failed.is_empty(), "failed: {failed:?}");
}

/// Daphne brings a package that has a key in its documentation.
const POLICY: &str = r#"
[[exception]]
rule = "secret-key"
path = "/opt/app-root/lib/**/autobahn/wamp/**"
reason = "an example of autobahn's, which everybody has"
expires = 2126-01-01
"#;

#[test]
fn a_django_project_under_every_server() {
    let warpdrive = Warpdrive::with(PYTHON_311);
    // The first makes the layers that they share; the others, two at a time.
    let build = |(server, ..): &(&str, bool, Stream)| {
        let source = project(server);
        let policy = source.path().with_extension("policy.toml");
        fs::write(&policy, POLICY).unwrap();
        let more = ["--policy", policy.to_str().unwrap()];
        warpdrive.image(server, source.path(), &more);
        fs::remove_file(policy).unwrap();
    };
    build(&SERVERS[0]);
    let (some, others) = SERVERS[1..].split_at(3);
    thread::scope(|scope| {
        scope.spawn(|| some.iter().for_each(build));
        others.iter().for_each(build);
    });
    for_each(|server, single, log| {
        serves_and_stops(&warpdrive, server, log);
        survives_a_worker(&warpdrive, server, single);
    });
    writes_nothing_and_counts_alone(&warpdrive);

    let podman = Podman::new();
    for (server, ..) in SERVERS {
        let layout = warpdrive.layout(server);
        // Into podman's storage as it stands: an archive of each would be a gigabyte of copies.
        process::run(podman.other(process::tool("skopeo")).args([
            "--insecure-policy",
            "copy",
            "--quiet",
            &format!("oci:{}:{server}", layout.display()),
            &format!("containers-storage:localhost/{server}:latest"),
        ]));
    }
    for_each(|server, _, _| stopped_by_podman(&podman, &format!("localhost/{server}:latest")));
    follows_the_control_group(&podman);
}

/// With a root that can be written to, gunicorn makes no control socket in HOME; with one worker
/// uvicorn is the server itself, and ends by the signal.
fn writes_nothing_and_counts_alone(warpdrive: &Warpdrive) {
    let container = Container::start(warpdrive, "gunicorn", "home", &[]);
    let files = warpdrive.run(&[
        "container",
        "exec",
        &container.name,
        "--",
        "sh",
        "-c",
        "find /opt/app-root -newer /proc/1 -print; ls -A /opt/app-root",
    ]);
    assert!(!files.contains(".gunicorn"), "{files}");
    let (response, status, words) = container.stop_while_streaming();
    assert!(is_complete(&response) && status == 0, "{words}");
    assert!(words.contains(" CPU"), "the arithmetic: {words}");
    assert!(!words.contains("ontrol socket"), "{words}");

    let container = Container::start(warpdrive, "uvicorn", "one", &["-e", "WEB_CONCURRENCY=1"]);
    let (response, status, words) = container.stop_while_streaming();
    assert!(is_complete(&response), "{words}");
    assert_eq!(status, 143, "{words}");
}

/// The engine's limits, as they are in this machine's kind of control groups.
fn follows_the_control_group(podman: &Podman) {
    let line = |limits: &[&str]| {
        let mut command = podman.command();
        command.args(["run", "--rm", "--pull=never", "--network=host"]);
        command.args(["--cgroup-parent", &podman.enclosure().cgroup()]);
        command.args(limits).arg("localhost/uwsgi:latest");
        process::run(command.args(["warpdrive", "start", "--dry-run"]))
    };
    let cpus = thread::available_parallelism().unwrap().get().min(12);
    assert!(line(&[]).contains(&format!(" --processes {cpus} ")));
    for limits in [["--cpus", "0.7"], ["--memory", "200m"]] {
        let line = line(&limits);
        assert!(line.contains(" --processes 1 "), "{limits:?}: {line}");
    }
    let line = line(&["--env", "WEB_CONCURRENCY=5"]);
    assert!(line.contains(" --processes 5 "), "{line}");
}

/// The same source, built and started on a laptop and from the image: the same command line but for
/// where things lie.
#[test]
fn the_same_command_line_on_a_laptop_and_in_the_image() {
    let warpdrive = Warpdrive::with(PYTHON_311);
    let laptop = tempfile::tempdir().unwrap();
    for (name, server) in [("flask", "gunicorn"), ("fastapi", "uvicorn")] {
        let source = copy_of(&example(name), false);
        warpdrive.image(name, source.path(), &[]);
        let dry_run = ["run", "--rm", name, "--", "warpdrive", "start", "--dry-run"];
        let in_image = warpdrive.run(&dry_run);

        let local = |arguments: &[&str]| {
            let script = r#"eval "$("$W" project --create "$N")" && exec "$W" "$@""#;
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh"]).args(arguments);
            command
                .current_dir(source.path())
                .env("W", crate::support::warpdrive::binary())
                .env("N", name)
                .env("WARPDRIVE_VIRTUALENVS", laptop.path());
            command
        };
        let output = process::output_within(&mut local(&["build"]), Duration::from_mins(5));
        assert!(output.status.success(), "{}", process::words(&output));
        let environment = laptop.path().join(format!("warpdrive+{name}"));
        let on_laptop = process::run(&mut local(&["start", "--dry-run"]))
            .replace(&source.path().display().to_string(), "/opt/app-root/src")
            .replace(&environment.display().to_string(), "/opt/app-root");
        assert_eq!(on_laptop, in_image, "{name}");
        assert!(in_image.starts_with(&format!("{server} ")), "{in_image}");

        // And that is what runs: the server has taken warpdrive's place.
        let port = http::free_port();
        let mut server = local(&["start"])
            .env("PORT", port.to_string())
            .spawn()
            .unwrap();
        let answer = http::wait_until_serving(port, Duration::from_mins(1));
        assert_eq!(answer.status, 200);
        let running = fs::read_to_string(format!("/proc/{}/cmdline", server.id())).unwrap();
        let words: Vec<&str> = running.trim_end_matches('\0').split('\0').collect();
        let expected = in_image.trim().replace("8080", &port.to_string());
        let expected: Vec<&str> = expected.split(' ').collect();
        assert!(words.ends_with(&expected[1..]), "{words:?}");
        process::run(Command::new("kill").arg(server.id().to_string()));
        server.wait().unwrap();
    }
}
