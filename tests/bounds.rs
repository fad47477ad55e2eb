//! What a build may take: memory that does not grow with what is built, bytes that the registry has
//! not got, and a store that many builds use at once.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::interrupted;
use crate::support::memory;
use crate::support::package_index::{PackageIndex, Wheel};
use crate::support::process;
use crate::support::registry::Registry;
use crate::support::stored::noise;
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive, binary};

const MIB: u64 = 1024 * 1024;
/// What warpdrive's own processes may hold together.
const MOST: u64 = 128 * MIB;

/// Nothing of what is built is held as a whole: neither a file of the source nor one of a package.
#[test]
fn memory_does_not_grow_with_what_is_built() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let index = PackageIndex::start();
    index.add(&Wheel::new("gunicorn", "27.0.1"));
    let zeros = vec![0; usize::try_from(200 * MIB).unwrap()];
    index.add(&Wheel::new("vast", "1.0").file("vast/a.bin", &zeros));
    drop(zeros);
    let place = index.app(&["gunicorn", "vast"]);
    let large = File::create(place.path().join("large.bin")).unwrap();
    large.set_len(300 * MIB).unwrap();
    for more in [&["--compression", "gzip"][..], &["--compression", "zstd"]] {
        let mut arguments = warpdrive.image_arguments("app");
        arguments.extend(["--json", "--no-cache"]);
        arguments.extend(more);
        let mut command = warpdrive.command_in(place.path(), &[], &arguments);
        let (output, most) = memory::watched(&mut command, binary());
        assert!(output.status.success(), "{}", process::words(&output));
        assert!(most > 0, "nothing was seen");
        assert!(most * 1024 <= MOST, "{more:?}: {most} KiB");
    }
}

/// Stands before a registry and counts what is sent to it.
fn counting(port: u16) -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let count = Arc::clone(&count);
            thread::spawn(move || forward(from, to, Some(&count)));
            thread::spawn(move || forward(server, client, None));
        }
    });
    (address.port(), sent)
}

fn forward(mut from: TcpStream, mut to: TcpStream, count: Option<&AtomicU64>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if let Some(count) = count {
            count.fetch_add(length as u64, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn only_what_is_new_is_sent_to_the_registry() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let index = PackageIndex::start();
    for wheel in [
        Wheel::new("gunicorn", "27.0.1"),
        Wheel::new("large-one", "1").file("large_one/data", &noise(2 << 20, 1)),
        Wheel::new("large-two", "1").file("large_two/data", &noise(2 << 20, 3)),
        Wheel::new("medium", "1").file("medium/data", &noise(350_000, 5)),
        Wheel::new("small", "1"),
    ] {
        index.add(&wheel);
    }
    let place = index.app(&["gunicorn", "large-one", "medium"]);
    let registry = Registry::start();
    let (port, sent) = counting(registry.port());
    let name = format!("127.0.0.1:{port}/app");
    let push = |line: Option<&[&str]>| {
        if let Some(requirements) = line {
            let list = place.path().join("requirements.txt");
            fs::write(list, index.list(requirements)).unwrap();
        }
        let before = sent.load(Ordering::SeqCst);
        let report = warpdrive.image(&name, place.path(), &["--push"]);
        (report, sent.load(Ordering::SeqCst) - before)
    };
    // Of layers that the build before had not: in all, and the largest.
    let new = |report: &Value| {
        let layers = report["layers"].as_array().unwrap();
        let sizes = layers.iter().filter(|layer| layer["cached"] == false);
        let sizes: Vec<u64> = sizes.map(|layer| layer["size"].as_u64().unwrap()).collect();
        (
            sizes.iter().sum::<u64>(),
            sizes.into_iter().max().unwrap_or(0),
        )
    };
    let (_, first) = push(None);
    assert!(first > 2 * MIB, "{first}");
    let (_, nothing) = push(None);
    assert!(nothing < 64 * 1024, "{nothing}");

    let (report, bytes) = push(Some(&["gunicorn", "large-one", "medium", "small"]));
    let (all, largest) = new(&report);
    assert!(
        largest < MIB,
        "a large distribution has nothing new: {report:#}"
    );
    assert!(bytes <= all + 64 * 1024, "{bytes} of {all}");

    let (report, bytes) = push(Some(&[
        "gunicorn",
        "large-one",
        "large-two",
        "medium",
        "small",
    ]));
    let (all, _) = new(&report);
    assert!(all < 3 * MIB, "one large distribution is new: {report:#}");
    assert!(bytes <= all + 64 * 1024, "{bytes} of {all}");
}

#[test]
fn eight_different_builds_at_once_on_one_store() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let index = PackageIndex::start();
    index.add(&Wheel::new("gunicorn", "27.0.1"));
    let names: Vec<String> = (0..8).map(|n| format!("part-{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        let data = noise(1_200_000 * (n % 2) + 1, n as u64);
        index.add(&Wheel::new(name, "1").file(&format!("part{n}/data"), &data));
    }
    // Each shares wheels with some others, and has all of its neighbours' in another mixture.
    let sources: Vec<tempfile::TempDir> = (0..8)
        .map(|n| {
            let mut list = vec!["gunicorn"];
            list.extend((0..4).map(|more| names[(n + more) % 8].as_str()));
            let place = index.app(&list);
            fs::write(place.path().join("which.txt"), n.to_string()).unwrap();
            place
        })
        .collect();
    let digest = |n: usize, name: &str, more: &[&str]| {
        let report = warpdrive.image(name, sources[n].path(), more);
        report["digest"].as_str().unwrap().to_owned()
    };
    let together: Vec<String> = thread::scope(|scope| {
        let digest = &digest;
        let builds: Vec<_> = (0..8)
            .map(|n| scope.spawn(move || digest(n, &format!("together-{n}"), &[])))
            .collect();
        builds
            .into_iter()
            .map(|build| build.join().unwrap())
            .collect()
    });
    for (n, digest_of_one) in together.iter().enumerate() {
        assert_eq!(*digest_of_one, digest(n, "alone", &["--no-cache"]), "{n}");
        // Each name is there, and means that image.
        let inspected = warpdrive.run(&["inspect", &format!("together-{n}"), "--json"]);
        assert!(inspected.contains(digest_of_one), "{inspected}");
    }
}

/// A file of zeros takes no room on the disk and an hour to write into a layer.
#[test]
fn a_layer_that_is_being_written_ends_with_a_signal_and_with_the_time_limit() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let index = PackageIndex::start();
    index.add(&Wheel::new("gunicorn", "27.0.1"));
    let place = index.app(&["gunicorn"]);
    // The dependencies are there already: what is written from here on is the application's layer.
    let before = warpdrive.image("app", place.path(), &[]);
    let hooks = place.path().join(".warpdrive/action_hooks");
    fs::create_dir_all(&hooks).unwrap();
    let hook = hooks.join("build");
    let script = "#!/bin/sh\nexec truncate -s 500G \"$WARPDRIVE_APP_ROOT/src/vast\"\n";
    fs::write(&hook, script).unwrap();
    process::run(Command::new("chmod").arg("+x").arg(&hook));
    let tmp = warpdrive.store().join("tmp");
    // It is made when the writing begins; the content of a file is read once before.
    let is_begun = || {
        let mut entries = fs::read_dir(&tmp).unwrap().flatten();
        entries.any(|entry| entry.file_name().to_string_lossy().starts_with("blob"))
    };
    let command = || {
        let mut command = warpdrive.command_in(place.path(), &[], &["image", "app"]);
        command.args(["--max-layer", "900g", "--max-written", "900g"]);
        command
    };
    let begin = || {
        let mut child = command()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let written = process::poll(Duration::from_mins(2), || {
            let ended = child.try_wait().unwrap().is_some();
            (ended || is_begun()).then_some(ended)
        });
        if written != Some(false) {
            let _ = child.kill();
            let output = child.wait_with_output().unwrap();
            panic!("no layer was begun: {}", process::words(&output));
        }
        child
    };
    for signal in ["-INT", "-TERM", "-HUP"] {
        interrupted::interrupt(&warpdrive, begin(), signal);
    }
    // Longer than each step before takes on a busy machine.
    let output = process::output(command().args(["--timeout", "30s"]));
    assert_eq!(output.status.code(), Some(1), "{}", process::words(&output));
    insta::assert_snapshot!(process::words(&output).lines().last().unwrap());
    warpdrive.leaves_nothing();
    // Nothing is lost: the name means the image that it meant.
    let kept = warpdrive.run(&["inspect", "app", "--json"]);
    assert!(kept.contains(before["digest"].as_str().unwrap()), "{kept}");
}

/// What a hook, or the file of variables, has started holds the streams open that it was given.
#[test]
fn what_a_hook_leaves_running_holds_nothing_up() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let index = PackageIndex::start();
    index.add(&Wheel::new("gunicorn", "27.0.1"));
    let place = index.app(&["gunicorn"]);
    let hooks = place.path().join(".warpdrive/action_hooks");
    fs::create_dir_all(&hooks).unwrap();
    let mark = format!("sleep 27182.{}", std::process::id());
    for name in ["pre-build", "build"] {
        let script = format!("#!/bin/sh\necho \"$WORD\" > {name}.txt\nsetsid {mark} &\n");
        fs::write(hooks.join(name), script).unwrap();
        process::run(Command::new("chmod").arg("+x").arg(hooks.join(name)));
    }
    let variables = format!("WORD=said\n{mark} &\n");
    fs::write(place.path().join(".warpdrive/environment"), variables).unwrap();
    // Far longer than the build takes, and shorter than that sleep.
    warpdrive.image("app", place.path(), &["--timeout", "4m"]);
    let running = process::run(Command::new("ps").args(["-eo", "args"]));
    assert!(!running.contains(&mark), "{running}");
    let said = warpdrive.run(&[
        "run",
        "--rm",
        "app",
        "--",
        "cat",
        "/opt/app-root/src/build.txt",
    ]);
    assert_eq!(said.trim(), "said");
}
