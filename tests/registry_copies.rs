//! Copies from registry to registry when something goes wrong on one side: they do what pull and push do.

#![allow(clippy::unwrap_used)] // outside of #[test] functions too

use std::collections::BTreeMap;
use std::fs;
use std::sync::Mutex;
use std::time::Duration;

use crate::support::fake_registry::{Asked, Reply};
use crate::support::process;
use crate::support::registry::Registry;
use crate::support::sound_registry::{Fault, Held, SoundRegistry};
use crate::support::stored::{image, image_for, index, noise, store};
use crate::support::warpdrive::Warpdrive;
use warpdrive::oci::{Descriptor, MAX_METADATA, Reference, this_architecture};
use warpdrive::registry::{
    Client, ClientOptions, CopyOptions, Document, Event, Platforms, RegistryError, Retry, Silent,
    TransferListener,
};
use warpdrive::store::Store;

const ALWAYS: usize = usize::MAX;

fn client(attempts: u32, platform: Option<&str>) -> Client {
    Client::new(ClientOptions {
        retry: Retry {
            attempts,
            first_wait: Duration::from_millis(2),
            ..Retry::default()
        },
        platform: platform.map(str::to_owned),
        ..ClientOptions::default()
    })
    .unwrap()
}

/// What a registry holds that has an image, or an index with its images, under the tag `1`.
fn held(store: &Store, top: &Descriptor) -> Held {
    let mut held = Held::default();
    let mut open = vec![top.clone()];
    while let Some(entry) = open.pop() {
        let bytes = store.read_blob(entry.digest(), MAX_METADATA).unwrap();
        let media_type = entry.media_type().to_string();
        match Document::parse(&bytes, None, "it").unwrap().1 {
            Document::Index(index) => open.extend(index.manifests().clone()),
            Document::Manifest(manifest) => {
                for blob in manifest.layers().iter().chain([manifest.config()]) {
                    let bytes = fs::read(store.blob_path(blob.digest())).unwrap();
                    held.blobs.insert(blob.digest().to_string(), bytes);
                }
            }
        }
        let value = (media_type, bytes);
        if entry.digest() == top.digest() {
            held.manifests.insert("1".into(), value.clone());
        }
        held.manifests.insert(entry.digest().to_string(), value);
    }
    held
}

fn name(registry: &SoundRegistry) -> Reference {
    format!("{}/crew/opal:1", registry.address())
        .parse()
        .unwrap()
}

/// Keeps what it is told of waits and warnings.
#[derive(Default)]
struct Ears(Mutex<Vec<String>>);

impl TransferListener for Ears {
    fn event(&self, event: &Event<'_>) {
        let text = match event {
            Event::Warning(text) => (*text).to_owned(),
            Event::Retry { what, reason, .. } => format!("{what}: {reason}"),
            Event::Quiet { what, .. } => format!("{what} is quiet"),
            Event::Start { direction, .. } => format!("{direction:?}"),
            Event::Advance { .. } => "further".to_owned(),
            Event::Done { .. } => return,
        };
        self.0.lock().unwrap().push(text);
    }
}

fn copy(
    client: &Client,
    from: &SoundRegistry,
    to: &SoundRegistry,
    platforms: &Platforms,
    progress: &dyn TransferListener,
    store: &Store,
) -> Result<(), RegistryError> {
    let options = CopyOptions {
        platforms,
        referrers: false,
        store,
    };
    client
        .copy(&name(from), client, &name(to), options, progress)
        .map(drop)
}

fn fault(part: &'static str, times: usize, reply: fn(&Asked, &mut Held) -> Option<Reply>) -> Fault {
    Fault {
        method: "GET",
        part,
        times,
        reply,
    }
}

/// The large blob of the image, as it is asked for.
fn large<'h>(asked: &Asked, held: &'h Held) -> Option<&'h [u8]> {
    let digest = asked.target.rsplit('/').next()?;
    let bytes = held.blobs.get(digest)?;
    (bytes.len() > 1_000_000).then_some(bytes.as_slice())
}

fn cut(asked: &Asked, held: &mut Held) -> Option<Reply> {
    let bytes = large(asked, held)?;
    let first = asked.header("range").is_none();
    first.then(|| {
        Reply::new(200)
            .body(&bytes[..1_000_000])
            .length(bytes.len() as u64)
    })
}

/// Everything that the image consists of is in the other registry, byte by byte.
fn assert_whole(from: &SoundRegistry, to: &SoundRegistry, what: &str) {
    let (from, to) = (from.held(), to.held());
    assert!(from.blobs == to.blobs, "{what}: the blobs differ");
    let tag = |held: &Held| held.manifests.get("1").map(|(_, bytes)| bytes.clone());
    assert!(tag(&from) == tag(&to), "{what}: the manifests differ");
}

#[test]
fn a_copy_is_of_the_platform_that_was_asked_for() {
    let (_a, here) = store();
    let other = image_for(&here, "linux/s390x", &[b"x"], &[]);
    let this = format!("linux/{}", this_architecture());
    let lying = index(&here, &[(&this, &other), ("linux/ppc64le", &other)]);
    for (what, top) in [("an image", &other), ("an index that lies", &lying)] {
        let from = SoundRegistry::start(Vec::new(), held(&here, top));
        let to = SoundRegistry::start(Vec::new(), Held::default());
        let (_b, way) = store();
        let asked = Platforms::One(Some(this.clone()));
        let error = copy(&client(1, Some(&this)), &from, &to, &asked, &Silent, &way).unwrap_err();
        assert!(
            matches!(error, RegistryError::OtherPlatform { .. }),
            "{what}: {error}"
        );
        assert!(to.held().manifests.is_empty() && to.held().blobs.is_empty());
        // The layer was not even fetched, and so it is where it is.
        if what != "an image" {
            let several = Platforms::Several(vec![this.clone(), "linux/ppc64le".into()]);
            let error = copy(&client(1, None), &from, &to, &several, &Silent, &way).unwrap_err();
            assert!(
                matches!(error, RegistryError::OtherPlatform { .. }),
                "{error}"
            );
            let error = client(1, None)
                .pull_of(&name(&from), &several, &way, &Silent)
                .unwrap_err();
            assert!(
                matches!(error, RegistryError::OtherPlatform { .. }),
                "{error}"
            );
        }
        let ears = Ears::default();
        let any = Platforms::One(None);
        copy(&client(1, None), &from, &to, &any, &ears, &way).unwrap();
        let heard = ears.0.into_inner().unwrap();
        assert!(
            heard.iter().any(|text| text.contains("will not run here")),
            "{what}: {heard:?}"
        );
    }
}

#[test]
fn copy_and_inspect_refuse_another_platform() {
    let registry = Registry::start();
    let here = Warpdrive::new();
    let store = Store::open(Some(&here.store())).unwrap();
    let other = image_for(&store, "linux/arm64", &[b"x"], &[]);
    store.tag("crew/arm:1", &other).unwrap();
    let (from, to) = (registry.reference("crew/arm:1"), registry.reference("x:1"));
    here.run(&["push", "crew/arm:1", &from]);
    let (from, to) = (format!("docker://{from}"), format!("docker://{to}"));
    for (arguments, platform, code) in [
        (&["copy", &from, &to][..], "linux/amd64", 5),
        (&["copy", &from, &to], "linux/x86_64", 5),
        (&["copy", &from, &to], "linux/aarch64", 0),
        (&["inspect", &from], "linux/amd64", 5),
        (&["inspect", &from], "linux/arm64", 0),
    ] {
        let mut all = arguments.to_vec();
        all.extend(["--platform", platform]);
        let output = process::output(&mut here.command(&all));
        let words = process::words(&output);
        assert_eq!(output.status.code(), Some(code), "{all:?}: {words}");
        assert_eq!(
            words.contains("is for linux/arm64, not for linux/amd64"),
            code == 5,
            "{all:?}: {words}"
        );
    }
}

#[test]
fn the_waits_of_a_copy_are_told() {
    let (_a, here) = store();
    let made = image(&here, &[b"x"], &[]);
    let this = format!("linux/{}", this_architecture());
    let top = index(&here, &[(&this, &made)]);
    let busy = |_: &Asked, _: &mut Held| Some(Reply::new(429).header("retry-after", "0"));
    let faults = vec![
        fault("/manifests/sha256:", 1, busy),
        fault("/blobs/sha256:", 1, busy),
    ];
    let from = SoundRegistry::start(faults, held(&here, &top));
    let to = SoundRegistry::start(Vec::new(), Held::default());
    let ears = Ears::default();
    let (_b, way) = store();
    copy(&client(3, None), &from, &to, &Platforms::All, &ears, &way).unwrap();
    let heard = ears.0.into_inner().unwrap();
    let told = heard.iter().filter(|text| text.contains("429")).count();
    assert_eq!(told, 2, "{heard:?}");
}

#[test]
fn both_ways_of_a_copy_are_told() {
    let (_a, here) = store();
    let made = image(&here, &[&noise(2_000_000, 5)], &[]);
    let from = SoundRegistry::start(Vec::new(), held(&here, &made));
    let to = SoundRegistry::start(Vec::new(), Held::default());
    let ears = Ears::default();
    let (_b, way) = store();
    copy(
        &client(3, None),
        &from,
        &to,
        &Platforms::default(),
        &ears,
        &way,
    )
    .unwrap();
    let heard = ears.0.into_inner().unwrap();
    let count = |word: &str| heard.iter().filter(|text| *text == word).count();
    assert_eq!((count("In"), count("Out")), (2, 2), "{heard:?}");
    assert!(count("further") >= 6, "{heard:?}");
}

/// Another process that sends the same is not taken its upload from.
#[test]
fn two_pushes_at_once_have_two_uploads() {
    let (dir, here) = store();
    let made = image(&here, &[&noise(3_000_000, 4)], &[]);
    let to = SoundRegistry::start(vec![Fault::cut_upload()], Held::default());
    let error = client(1, None).push(&made, &here, &name(&to), &Silent);
    assert!(error.is_err());
    let found = here.image_at(&made).unwrap();
    let layer = found.manifest.layers()[0].digest();
    let key = format!("{}/crew/opal@{layer}", to.address());
    let other = Store::open(Some(&dir.path().join("store"))).unwrap();
    let claim = other.claim("upload-locks", &key).unwrap().unwrap();
    let resumed = || {
        let lines = to.lines();
        let resumes = |line: &&String| line.starts_with("GET /v2/crew/opal/blobs/uploads/");
        lines.iter().filter(resumes).count()
    };
    let before = resumed();
    client(1, None)
        .push(&made, &here, &name(&to), &Silent)
        .unwrap();
    assert_eq!(resumed(), before, "{:#?}", to.lines());
    drop(claim);
    assert_eq!(
        fs::read_dir(here.root().join("cache/upload-locks"))
            .unwrap()
            .count(),
        0
    );
}

#[test]
fn each_fault_of_a_copy_ends_well() {
    let (_a, here) = store();
    let made = image(&here, &[&noise(2_000_000, 5), b"x"], &[]);
    let rows: BTreeMap<&str, Vec<Fault>> = BTreeMap::from([
        ("a cut", vec![fault("/blobs/", 1, cut)]),
        (
            "a cut, then no range",
            vec![
                fault("/blobs/", 1, cut),
                fault("/blobs/", 1, |asked, _| {
                    asked.header("range").map(|_| Reply::new(416))
                }),
            ],
        ),
        (
            "a cut, then a refusal of the range",
            vec![
                fault("/blobs/", 1, cut),
                fault("/blobs/", ALWAYS, |asked, _| {
                    asked.header("range").map(|_| Reply::new(403))
                }),
            ],
        ),
        (
            "a cut, then another range",
            vec![
                fault("/blobs/", 1, cut),
                fault("/blobs/", 1, |asked, held| {
                    let bytes = large(asked, held)?;
                    asked.header("range")?;
                    let range = format!("bytes 5-{}/{}", bytes.len() - 1, bytes.len());
                    let reply = Reply::new(206).header("content-range", range);
                    Some(reply.body(&bytes[5..]))
                }),
            ],
        ),
        (
            "a cut, then all of it",
            vec![
                fault("/blobs/", 1, cut),
                fault("/blobs/", 1, |asked, held| {
                    let bytes = large(asked, held)?;
                    asked.header("range").map(|_| Reply::new(200).body(bytes))
                }),
            ],
        ),
        (
            "a cut, then other bytes",
            vec![
                fault("/blobs/", 1, cut),
                fault("/blobs/", 1, |asked, held| {
                    let bytes = large(asked, held)?;
                    asked.header("range")?;
                    let range = format!("bytes 1000000-{}/{}", bytes.len() - 1, bytes.len());
                    let reply = Reply::new(206).header("content-range", range);
                    Some(reply.body(vec![7; bytes.len() - 1_000_000]))
                }),
            ],
        ),
        (
            "a server that is busy",
            vec![fault("/", 3, |asked, _| {
                asked.target.contains("/blobs/").then(|| Reply::new(503))
            })],
        ),
    ]);
    for (what, faults) in rows {
        let from = SoundRegistry::start(faults, held(&here, &made));
        let to = SoundRegistry::start(Vec::new(), Held::default());
        let (_b, way) = store();
        let any = Platforms::default();
        copy(&client(5, None), &from, &to, &any, &Silent, &way)
            .unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_whole(&from, &to, what);
        let left = fs::read_dir(way.root().join("cache/downloads")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{what}: nothing is kept");
        assert_eq!(
            fs::read_dir(way.root().join("blobs/sha256")).map_or(0, Iterator::count),
            0,
            "{what}: nothing is stored"
        );
    }
}

#[test]
fn the_registry_that_failed_is_blamed() {
    let (_a, here) = store();
    let made = image(&here, &[&noise(2_000_000, 5)], &[]);
    for (what, reply) in [
        (
            "a refusal",
            (|asked, held| large(asked, held).map(|_| Reply::new(403)))
                as fn(&Asked, &mut Held) -> Option<Reply>,
        ),
        ("damaged bytes", |asked, held| {
            let mut bytes = large(asked, held)?.to_vec();
            bytes[5] ^= 1;
            Some(Reply::new(200).body(bytes))
        }),
        ("cuts", |asked, held| {
            let bytes = large(asked, held)?;
            let length = bytes.len() as u64;
            Some(Reply::new(200).body(&bytes[..1]).length(length))
        }),
        ("another size", |asked, held| {
            large(asked, held).map(|bytes| Reply::new(200).body(&bytes[1..]))
        }),
    ] {
        let from = SoundRegistry::start(vec![fault("/blobs/", ALWAYS, reply)], held(&here, &made));
        let to = SoundRegistry::start(Vec::new(), Held::default());
        let (_b, way) = store();
        let any = Platforms::default();
        let error = copy(&client(2, None), &from, &to, &any, &Silent, &way).unwrap_err();
        let text = error.to_string();
        assert!(error.is_remote(), "{what}: {error:?}");
        assert!(
            !text.contains("from the store") && !text.contains(to.address()),
            "{what}: {text}"
        );
        if what != "cuts" {
            assert!(text.contains(from.address()), "{what}: {text}");
        }
        assert!(error.hint().is_some() || what == "another size", "{what}");
    }
}

/// What has come of a blob is not fetched again, and what was sent of it is not sent again.
#[test]
fn a_copy_goes_on_in_another_process() {
    let (_a, here) = store();
    let made = image(&here, &[&noise(3_000_000, 4)], &[]);
    let from = SoundRegistry::start(vec![fault("/blobs/", 1, cut)], held(&here, &made));
    let to = SoundRegistry::start(vec![Fault::cut_upload()], Held::default());
    let (dir, way) = store();
    let any = Platforms::default();
    let step = |way: &Store| copy(&client(1, None), &from, &to, &any, &Silent, way);
    let error = step(&way).unwrap_err();
    assert!(matches!(error, RegistryError::Truncated { .. }), "{error}");
    // Another store on the same directory, as another process has it.
    let again = || Store::open(Some(&dir.path().join("store"))).unwrap();
    let error = step(&again()).unwrap_err().to_string();
    assert!(error.contains(to.address()), "{error}");
    step(&again()).unwrap();
    let headers = |registry: &SoundRegistry, name: &str| -> Vec<String> {
        let asked = registry.asked();
        let found = asked.iter().filter_map(|asked| asked.header(name));
        found.map(str::to_owned).collect()
    };
    let ranges = headers(&from, "range");
    assert_eq!(ranges.len(), 1, "{ranges:?}");
    assert!(ranges[0].starts_with("bytes=1000000-"), "{ranges:?}");
    let sent = headers(&to, "content-range");
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].starts_with("1000000-"), "{sent:?}");
    assert_whole(&from, &to, "in the end");
    let left = fs::read_dir(way.root().join("cache/downloads")).unwrap();
    assert_eq!(left.count(), 0);
}

/// What a repository of the other registry has got by an earlier copy is mounted from there.
#[test]
fn a_copy_mounts_what_an_earlier_one_has_brought() {
    let (one, two) = (Registry::start(), Registry::start());
    let (_a, here) = store();
    let made = image(&here, &[&noise(300_000, 9), b"x"], &[]);
    let source: Reference = one.reference("crew/opal:1").parse().unwrap();
    let client = client(3, None);
    client.push(&made, &here, &source, &Silent).unwrap();
    let (_b, way) = store();
    let any = Platforms::default();
    for (target, sent, mounted) in [("x:1", 3, 0), ("x2:1", 0, 3)] {
        let options = CopyOptions {
            platforms: &any,
            referrers: false,
            store: &way,
        };
        let target = two.reference(target).parse().unwrap();
        let (report, _) = client
            .copy(&source, &client, &target, options, &Silent)
            .unwrap();
        assert_eq!(
            (report.uploaded, report.mounted),
            (sent, mounted),
            "{target}"
        );
    }
}
