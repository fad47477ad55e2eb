//! The test fixtures themselves, tried on an image that owes nothing to warpdrive: when one of these
//! fails, it is the machine or the fixture that is at fault.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::docker::Docker;
use crate::support::enclosure::Enclosure;
use crate::support::images::{PAGE, Tiny};
use crate::support::podman::Podman;
use crate::support::registry::Registry;
use crate::support::run::{RunOptions, Running};
use crate::support::runc::Runc;
use crate::support::users::User;
use crate::support::{http, process, skopeo};

/// Serves, has the right user, and ends on SIGTERM.
fn serves(running: Running<'_>, user: &str) {
    let page = running.get("/");
    assert_eq!((page.status, page.text().as_str()), (200, PAGE));
    let id = running.exec(&["id"]);
    assert!(
        process::words(&id).contains(user),
        "{}",
        process::words(&id)
    );
    let stopped = running.stop();
    assert_eq!(stopped.code, 0, "{stopped:?}");
}

/// What a restricted container may and may not do.
const PROBE: &str = "id; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status; \
    touch /www/x || echo read-only; touch /tmp/x && echo tmp";

fn is_restricted(output: &std::process::Output) {
    let words = process::words(output);
    for part in [
        "uid=1000650000",
        "gid=0",
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
    ] {
        assert!(words.contains(part), "{part} is missing:\n{words}");
    }
    for part in ["NoNewPrivs:\t1", "read-only\n", "tmp\n"] {
        assert!(words.contains(part), "{part} is missing:\n{words}");
    }
}

fn probe(image: &str) -> RunOptions {
    RunOptions::restricted(image).command(["sh", "-c", PROBE])
}

#[test]
fn podman_runs_an_image() {
    let (tiny, podman) = (Tiny::new(), Podman::new());
    podman.load(&tiny.docker_archive());
    let image = "docker.io/library/tiny:latest";
    serves(podman.run(&RunOptions::new(image)), "uid=1001");
    serves(podman.run(&RunOptions::restricted(image)), "uid=1000650000");
    is_restricted(&podman.output(&probe(image)));
    let id = podman.pull(&tiny.reference());
    assert_eq!(podman.inspect(&id)["Config"]["User"], "1001");
}

#[test]
fn docker_runs_an_image() {
    let (tiny, docker) = (Tiny::new(), Docker::start());
    assert!(docker.load(&tiny.docker_archive()).contains("tiny:latest"));
    skopeo::copy_to_daemon(&tiny.reference(), "copied:1", &docker.host());
    for image in ["tiny:latest", "copied:1"] {
        serves(docker.run(&RunOptions::new(image)), "uid=1001");
    }
    serves(
        docker.run(&RunOptions::restricted("copied:1")),
        "uid=1000650000",
    );
    is_restricted(&docker.output(&probe("copied:1")));
    assert_eq!(docker.inspect("tiny:latest")["Config"]["User"], "1001");
}

#[test]
fn runc_runs_an_unpacked_image() {
    let tiny = Tiny::new();
    let runc = Runc::unpack(&tiny.layout(), "tiny");
    assert!(runc.rootfs().join("www/index.html").exists());
    serves(runc.run(&RunOptions::default()), "uid=1001");
    serves(runc.run(&RunOptions::restricted("")), "uid=1000650000");
    is_restricted(&runc.output(&probe("")));
}

#[test]
fn a_registry_takes_and_gives_an_image() {
    let (tiny, registry) = (Tiny::new(), Registry::start());
    let name = format!("docker://{}", registry.reference("crew/tiny:1"));
    skopeo::copy(&tiny.reference(), &name);
    assert_eq!(registry.tags("crew/tiny"), ["1"]);
    assert_eq!(skopeo::config(&name)["config"]["User"], "1001");
    assert_eq!(skopeo::manifest(&name), skopeo::manifest(&tiny.reference()));

    let podman = Podman::new();
    let image = podman.pull(&name);
    serves(podman.run(&RunOptions::new(image)), "uid=1001");
    let docker = Docker::start();
    docker.pull(&registry.reference("crew/tiny:1"));
    serves(
        docker.run(&RunOptions::new(registry.reference("crew/tiny:1"))),
        "uid=1001",
    );
    assert!(registry.log().contains("crew/tiny"));
}

#[test]
fn a_container_that_ends_is_reported_with_its_log() {
    let (tiny, podman) = (Tiny::new(), Podman::new());
    podman.load(&tiny.docker_archive());
    let options =
        RunOptions::new("docker.io/library/tiny").command(["sh", "-c", "echo no fuel; exit 3"]);
    let running = podman.run(&options);
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| running.wait()))
        .expect_err("nothing is served");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(
        message.contains("ended with 3") && message.contains("no fuel"),
        "{message}"
    );
}

#[test]
fn users_are_what_they_are_called() {
    let tester = User::with_subids();
    let words = process::run(
        tester
            .command("sh")
            .args(["-c", "id -un; pwd; env; grep CapPrm /proc/self/status"]),
    );
    let home = tester.home().display().to_string();
    for part in [
        "warpdrive-tester\n",
        &home,
        "CapPrm:\t0000000000000000",
        "XDG_DATA_HOME=",
    ] {
        assert!(words.contains(part), "{part} is missing:\n{words}");
    }
    assert!(
        !words.contains("CARGO"),
        "the environment is not clean:\n{words}"
    );
    process::run(
        tester
            .command("sh")
            .args(["-c", "echo ok >out; mkdir $XDG_RUNTIME_DIR/x $TMPDIR/x"]),
    );
    assert_eq!(tester.read("out"), "ok\n");
    let mapped =
        "unshare --user --map-root-user --map-auto sh -c 'chown 1001:1001 out && stat -c %u out'";
    assert_eq!(
        process::run(tester.command("sh").args(["-c", mapped])),
        "1001\n"
    );
    let given = tester.give(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("LICENSE")
            .as_path(),
        "licence",
    );
    process::run(tester.command("test").args([Path::new("-O"), &given]));

    let single = User::single_id();
    assert_eq!(
        process::run(single.command("id").arg("-un")),
        "warpdrive-single\n"
    );
    let refused = process::output(single.command("sh").args(["-c", mapped]));
    assert!(!refused.status.success(), "{}", process::words(&refused));
    // A mount namespace of its own, with /proc, is what it can have.
    let own = "unshare --user --map-root-user --pid --fork --mount-proc sh -c 'mount -t tmpfs t /mnt && id -u'";
    assert_eq!(process::run(single.command("sh").args(["-c", own])), "0\n");
}

#[test]
fn an_enclosure_leaves_nothing() {
    let enclosure = Enclosure::new();
    let directory = enclosure.directory().to_owned();
    let marker = "3941.25";
    let script = format!(
        "mkdir m && mount -t tmpfs t m && touch m/x && mkdir -p /sys/fs/cgroup/pids{0}/a 2>/dev/null; setsid sleep {marker} & setsid sh -c 'sleep {marker} & exit' & exit 0",
        enclosure.cgroup()
    );
    process::run(
        enclosure
            .root("sh")
            .args(["-c", &format!("({script}) >/dev/null 2>&1")]),
    );
    assert_eq!(enclosure.mounts_below(&directory), [directory.join("m")]);
    let inside = process::poll(Duration::from_secs(5), || {
        let inside = enclosure.processes();
        (inside.iter().filter(|line| line.contains(marker)).count() == 2).then_some(inside)
    })
    .expect("two sleepers");
    process::run(enclosure.root("sh").args(["-c", "(sh -c true &)"]));
    let inside = [inside, enclosure.processes()].concat();
    assert!(
        !inside.iter().any(|line| line.contains("defunct")),
        "orphans are reaped: {inside:?}"
    );
    drop(enclosure);
    assert_clean(&directory, marker);
}

/// The test process is killed while its fixtures run.
#[test]
fn an_enclosure_ends_with_its_test() {
    let marker = "3941.75";
    if std::env::var_os("HARNESS_ABANDON").is_some() {
        let enclosure = Enclosure::new();
        let line = format!("abandon {}\n", enclosure.directory().display());
        std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).expect("a pipe");
        process::output(enclosure.root("sleep").arg(marker));
    }
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "fixtures::an_enclosure_ends_with_its_test",
            "--nocapture",
        ])
        .env("HARNESS_ABANDON", "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("this test, again");
    let stdout = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    let directory = std::io::BufRead::lines(stdout)
        .map_while(Result::ok)
        .find_map(|line| {
            line.split_once("abandon ")
                .map(|(_, path)| std::path::PathBuf::from(path))
        })
        .expect("the enclosure's directory");
    let sleeps = process::poll(Duration::from_secs(10), || running(marker).then_some(()));
    child.kill().expect("a kill");
    child.wait().expect("an end");
    sleeps.expect("the sleeper sleeps");
    process::poll(Duration::from_secs(10), || {
        (!directory.exists() && !running(marker)).then_some(())
    });
    assert_clean(&directory, marker);
}

fn running(marker: &str) -> bool {
    process::run(Command::new("ps").args(["-e", "-o", "args="]))
        .lines()
        .any(|line| line.ends_with(&format!("sleep {marker}")))
}

fn assert_clean(directory: &Path, marker: &str) {
    assert!(!running(marker), "a process is left");
    assert!(!directory.exists(), "{} is left", directory.display());
    let name = directory
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let mounts = fs::read_to_string("/proc/mounts").expect("the mounts");
    assert!(!mounts.contains(&name), "a mount is left");
    let groups =
        process::run(Command::new("find").args(["/sys/fs/cgroup", "-name", &format!("*{name}*")]));
    assert_eq!(groups, "", "control groups are left");
}

#[test]
fn http_answers_are_understood() {
    use std::io::{Read, Write};
    let answer = |text: &'static str| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(text.as_bytes());
        });
        http::get(port, "/")
    };
    let chunked = answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n3\r\nabc\r\n2;e\r\nde\r\n0\r\n\r\n")
        .expect("an answer");
    assert_eq!(
        (chunked.text().as_str(), chunked.header("x-a")),
        ("abcde", Some("b"))
    );
    let plain = answer("HTTP/1.0 404 Not Found\r\nContent-Length: 2\r\n\r\nno").expect("an answer");
    assert_eq!((plain.status, plain.text().as_str()), (404, "no"));
    assert!(
        answer("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nno").is_err(),
        "a body that was cut"
    );
    assert!(answer("SSH-2.0\r\n\r\n").is_err());
}
