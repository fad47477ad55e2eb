//! Connections that are cut between a client and a real registry (distribution 2.8): at the border of two
//! pieces of an upload, where this registry can go on, and inside a download.

#![allow(clippy::unwrap_used)] // outside of #[test] functions too

use std::fs;
use std::process::Stdio;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::support::fake_registry::{Asked, FakeRegistry, Reply};
use crate::support::http;
use crate::support::registry::Registry;
use crate::support::skopeo;
use crate::support::stored::{image, noise, store};
use crate::support::warpdrive::Warpdrive;
use warpdrive::oci::{Descriptor, Reference};
use warpdrive::registry::{Client, ClientOptions, Retry, Silent};
use warpdrive::store::Store;

const PIECE: u64 = 512 * 1024;
/// A layer of so many bytes goes in four pieces and a bit.
const SIZE: usize = 2_200_000;

fn patient() -> Client {
    Client::new(ClientOptions {
        chunk_size: Some(PIECE),
        retry: Retry {
            first_wait: Duration::from_millis(1),
            ..Retry::default()
        },
        ..ClientOptions::default()
    })
    .unwrap()
}

/// Asks the registry what the proxy was asked.
fn forward(port: u16, asked: &Asked) -> Reply {
    let mut request = format!(
        "{} {} HTTP/1.1\r\nConnection: close\r\n",
        asked.method, asked.target
    );
    for (name, value) in &asked.headers {
        if name != "connection" {
            request.extend([name, ": ", value, "\r\n"]);
        }
    }
    request.push_str("\r\n");
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(&asked.body);
    let head = asked.method == "HEAD";
    let answer = http::exchange(port, &bytes, head).unwrap();
    let mut reply = Reply::new(answer.status).body(answer.body.clone());
    for (name, value) in &answer.headers {
        match name.to_ascii_lowercase().as_str() {
            "connection" | "transfer-encoding" => {}
            "content-length" if head => reply = reply.length(value.parse().unwrap()),
            "content-length" => {}
            _ => reply = reply.header(name, value.clone()),
        }
    }
    reply
}

/// Where the connection ends, at one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// It is closed after the answer, which does not say so.
    AfterAnswer,
    /// The registry has what was sent, and its answer gets lost.
    LostAnswer,
    /// Nothing of the request gets through.
    Before,
}

/// A proxy before the registry that cuts once, at the `nth` request (from 0) of a method whose target holds
/// `part`.
fn cutting(
    registry: &Registry,
    (method, part, nth): (&'static str, &'static str, usize),
    cut: Cut,
) -> FakeRegistry {
    let port = registry.port();
    let seen = Mutex::new(0);
    FakeRegistry::start(move |asked| {
        if !asked.complete {
            return Reply::new(100);
        }
        let fits = asked.method == method && asked.target.contains(part);
        let hit = fits && {
            let mut seen = seen.lock().unwrap();
            *seen += 1;
            *seen == nth + 1
        };
        match (hit, cut) {
            (false, _) => forward(port, asked),
            (true, Cut::AfterAnswer) => forward(port, asked).close(),
            (true, Cut::LostAnswer) => {
                forward(port, asked);
                Reply::raw("")
            }
            (true, Cut::Before) => Reply::raw(""),
        }
    })
}

fn with_layer(store: &Store) -> Descriptor {
    image(store, &[&noise(SIZE, 21)], &[])
}

/// How many bytes of pieces were taken in by the proxy.
fn sent(proxy: &FakeRegistry) -> u64 {
    let asked = proxy.asked();
    let pieces = asked.iter().filter(|asked| asked.method == "PATCH");
    pieces.map(|asked| asked.body.len() as u64).sum()
}

fn layer_size(store: &Store, manifest: &Descriptor) -> u64 {
    store.image_at(manifest).unwrap().manifest.layers()[0].size()
}

#[test]
fn an_upload_goes_on_at_the_border_of_its_pieces() {
    let (dir, here) = store();
    let manifest = with_layer(&here);
    let size = layer_size(&here, &manifest);
    let places = [
        ("POST", "/blobs/uploads/", 0),
        ("PATCH", "/blobs/uploads/", 0),
        ("PATCH", "/blobs/uploads/", 2),
        ("PATCH", "/blobs/uploads/", 4),
        ("PUT", "/blobs/uploads/", 0),
        ("PUT", "/manifests/", 0),
    ];
    for place in places {
        for cut in [Cut::AfterAnswer, Cut::LostAnswer, Cut::Before] {
            let registry = Registry::start();
            let proxy = cutting(&registry, place, cut);
            let name = format!("{}/crew/opal:1", proxy.address());
            let target: Reference = name.parse().unwrap();
            let report = patient().push(&manifest, &here, &target, &Silent);
            let report = report.unwrap_or_else(|error| panic!("{place:?} {cut:?}: {error}"));
            assert_eq!(report.digest, manifest.digest().to_string());
            let direct = registry.reference("crew/opal:1");
            let whole = format!("dir:{}", dir.path().join("whole").display());
            skopeo::copy(&format!("docker://{direct}"), &whole);
            let found = skopeo::inspect(&whole);
            assert_eq!(found["Digest"], report.digest, "{place:?} {cut:?}");
            // What the registry has is not sent again: the config is one piece, too, and is not counted.
            let config = here.image_at(&manifest).unwrap().manifest.config().size();
            let again = sent(&proxy).saturating_sub(size + config);
            let most = match (place.0, cut) {
                // This registry says where an upload is only to the one that has its last answer.
                ("PATCH", Cut::LostAnswer) => size,
                // The piece came as far as the proxy.
                ("PATCH", Cut::Before) => PIECE,
                _ => 0,
            };
            assert!(again <= most, "{place:?} {cut:?}: {again} bytes twice");
        }
    }
}

/// The process is killed between two pieces; the next one sends the rest.
#[test]
fn another_process_goes_on_at_the_border() {
    let registry = Registry::start();
    let port = registry.port();
    let gate = Arc::new((Mutex::new((0, true)), Condvar::new()));
    let state = Arc::clone(&gate);
    let proxy = FakeRegistry::start(move |asked| {
        if asked.complete && asked.method == "PATCH" {
            let (lock, changed) = &*state;
            let mut held = lock.lock().unwrap();
            held.0 += 1;
            changed.notify_all();
            // The third piece waits until the first process is dead.
            let is_first = held.1;
            if held.0 >= 3 && is_first {
                let _still = changed.wait_while(held, |held| held.1).unwrap();
                return Reply::raw("");
            }
        }
        if asked.complete {
            forward(port, asked)
        } else {
            Reply::new(100)
        }
    });
    let here = Warpdrive::new();
    let store = Store::open(Some(&here.store())).unwrap();
    let manifest = with_layer(&store);
    store.tag("opal", &manifest).unwrap();
    let name = format!("{}/crew/opal:1", proxy.address());
    let arguments = ["push", "opal", &name, "--chunk-size", "512k", "--jobs", "1"];
    let mut first = here
        .command(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (lock, changed) = &*gate;
    let wait = Duration::from_secs(60);
    let (reached, _) = changed
        .wait_timeout_while(lock.lock().unwrap(), wait, |held| held.0 < 3)
        .unwrap();
    assert_eq!(reached.0, 3);
    drop(reached);
    first.kill().unwrap();
    first.wait().unwrap();
    lock.lock().unwrap().1 = false;
    changed.notify_all();
    let before = proxy.asked().len();
    let said = here.run(&arguments);
    assert!(said.contains(manifest.digest().as_ref()), "{said}");
    let rest: Vec<Asked> = proxy.asked().split_off(before);
    let pieces: Vec<&str> = rest
        .iter()
        .filter(|asked| asked.method == "PATCH" && asked.body.len() > 10_000)
        .filter_map(|asked| asked.header("content-range"))
        .collect();
    let begin = format!("{}-", 2 * PIECE);
    let resumed = pieces.iter().any(|range| range.starts_with(&begin));
    let anew = pieces.iter().any(|range| range.starts_with("0-"));
    assert!(resumed && !anew, "{pieces:?}");
    let direct = format!("docker://{}", registry.reference("crew/opal:1"));
    let whole = format!("dir:{}", here.place().join("whole").display());
    skopeo::copy(&direct, &whole);
}

/// A download that is cut goes on by a range of this registry.
#[test]
fn a_download_goes_on_inside_a_blob() {
    let registry = Registry::start();
    let (_dir, here) = store();
    let manifest = with_layer(&here);
    let target: Reference = registry.reference("crew/opal:1").parse().unwrap();
    patient().push(&manifest, &here, &target, &Silent).unwrap();
    let layer = here.image_at(&manifest).unwrap().manifest.layers()[0].clone();
    let digest = layer.digest().to_string();
    let port = registry.port();
    let cuts = Mutex::new(0);
    let proxy = FakeRegistry::start(move |asked| {
        let mut reply = forward(port, asked);
        let mut cuts = cuts.lock().unwrap();
        if asked.method == "GET" && asked.target.ends_with(&digest) && *cuts < 3 {
            *cuts += 1;
            let whole = reply.body.len();
            reply.body.truncate(whole / 3);
            reply = reply.length(whole as u64);
        }
        reply
    });
    let (_other, there) = store();
    let name: Reference = format!("{}/crew/opal:1", proxy.address()).parse().unwrap();
    let pulled = patient().pull(&name, &there, &Silent).unwrap();
    assert_eq!(pulled.digest(), manifest.digest());
    there.verify_blob(&layer).unwrap();
    let asked = proxy.asked();
    let ranges: Vec<&str> = asked.iter().filter_map(|a| a.header("range")).collect();
    assert_eq!(ranges.len(), 3, "{ranges:?}");
    assert!(fs::read_dir(there.root().join("cache/downloads")).map_or(0, Iterator::count) == 0);
}
