//! What a registry may do wrong, and what the client makes of it.

#![allow(clippy::unwrap_used)] // outside of #[test] functions too

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::fake_registry::{Asked, FakeRegistry, Reply};
use crate::support::sound_registry::{self, Held};
use warpdrive::oci::{Descriptor, Digest, MediaType, Reference, descriptor, sha256};
use warpdrive::registry::{Client, ClientOptions, Patience, RegistryError, Retry, Silent};
use warpdrive::store::Store;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn options() -> ClientOptions {
    ClientOptions {
        retry: Retry {
            attempts: 4,
            first_wait: Duration::from_millis(5),
            ..Retry::default()
        },
        ..ClientOptions::default()
    }
}

fn client() -> Client {
    Client::new(options()).unwrap()
}

/// A client that has one login, and the text that must never be seen.
fn client_with_login(address: &str) -> (tempfile::TempDir, Client) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.json");
    // captain:hunter2
    let json = format!(r#"{{"auths": {{"{address}": {{"auth": "Y2FwdGFpbjpodW50ZXIy"}}}}}}"#);
    fs::write(&path, json).unwrap();
    let mut options = options();
    options.auth_files.push(path);
    (dir, Client::new(options).unwrap())
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Some(&dir.path().join("store"))).unwrap();
    (dir, store)
}

fn name(registry: &FakeRegistry) -> Reference {
    format!("{}/crew/opal:1", registry.address())
        .parse()
        .unwrap()
}

/// An image with one layer of these bytes (which need not be a layer for a registry).
#[derive(Clone)]
struct Image {
    layer: Vec<u8>,
    config: Vec<u8>,
    manifest: Vec<u8>,
}

fn image(layer: Vec<u8>) -> Image {
    let config =
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#
            .to_vec();
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(MediaType::ImageConfig, sha256(&config), config.len() as u64),
        "layers": [descriptor(MediaType::ImageLayerGzip, sha256(&layer), layer.len() as u64)],
    });
    Image {
        layer,
        config,
        manifest: manifest.to_string().into_bytes(),
    }
}

impl Image {
    fn descriptor(&self) -> Descriptor {
        descriptor(
            MediaType::ImageManifest,
            sha256(&self.manifest),
            self.manifest.len() as u64,
        )
    }

    fn put(&self, store: &Store) -> Descriptor {
        for bytes in [&self.layer, &self.config, &self.manifest] {
            store.put_blob(bytes).unwrap();
        }
        self.descriptor()
    }

    fn layer_path(&self) -> String {
        format!("/v2/crew/opal/blobs/{}", sha256(&self.layer))
    }

    /// What a good registry that has this image answers to a pull.
    fn serve(&self, asked: &Asked) -> Reply {
        let blob = |digest: Digest| asked.target == format!("/v2/crew/opal/blobs/{digest}");
        if asked.target.starts_with("/v2/crew/opal/manifests/") {
            Reply::new(200)
                .header("content-type", MANIFEST)
                .body(self.manifest.clone())
        } else if blob(sha256(&self.layer)) {
            Reply::new(200).body(self.layer.clone())
        } else if blob(sha256(&self.config)) {
            Reply::new(200).body(self.config.clone())
        } else if asked.target == "/v2/" {
            Reply::new(200)
        } else {
            Reply::new(404)
        }
    }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|n| u8::try_from(n * 7 % 251).unwrap())
        .collect()
}

fn nothing_secret(text: &str) {
    for secret in ["hunter2", "Y2FwdGFpbjpodW50ZXIy", "t0ken"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[test]
fn a_token_is_fetched_once_and_used() {
    let good = image(bytes(1000));
    let served = good.clone();
    let registry = FakeRegistry::start(move |asked| {
        let host = asked.header("host").unwrap().to_owned();
        if asked.target.starts_with("/token?") {
            // captain:hunter2
            assert_eq!(
                asked.header("authorization"),
                Some("Basic Y2FwdGFpbjpodW50ZXIy")
            );
            return Reply::new(200).body(r#"{"token": "t0ken", "expires_in": 300}"#);
        }
        if asked.header("authorization") != Some("Bearer t0ken") {
            return Reply::new(401).header(
                "WWW-Authenticate",
                format!(r#"Bearer realm="http://{host}/token",service="test""#),
            );
        }
        served.serve(asked)
    });
    let (_dir, client) = client_with_login(registry.address());
    let (_b, store) = store();
    client.pull(&name(&registry), &store, &Silent).unwrap();
    let lines = registry.lines();
    let tokens: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("/token"))
        .collect();
    assert_eq!(
        tokens,
        ["GET /token?service=test&scope=repository%3Acrew%2Fopal%3Apull"],
        "{lines:#?}"
    );
}

#[test]
fn an_identity_token_is_exchanged() {
    let good = image(bytes(10));
    let served = good.clone();
    let registry = FakeRegistry::start(move |asked| {
        let host = asked.header("host").unwrap().to_owned();
        if asked.target == "/token" {
            if !asked.body.is_empty() {
                let form = String::from_utf8(asked.body.clone()).unwrap();
                assert!(form.contains("grant_type=refresh_token"), "{form}");
                assert!(form.contains("refresh_token=hunter2"), "{form}");
                assert_eq!(asked.header("authorization"), None);
            }
            return Reply::new(200).body(r#"{"access_token": "t0ken"}"#);
        }
        if asked.header("authorization") != Some("Bearer t0ken") {
            return Reply::new(401).header(
                "WWW-Authenticate",
                format!(r#"Bearer realm="http://{host}/token""#),
            );
        }
        served.serve(asked)
    });
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    let json = format!(
        r#"{{"auths": {{"{}/crew": {{"identitytoken": "hunter2"}}}}}}"#,
        registry.address()
    );
    fs::write(&path, json).unwrap();
    let mut options = options();
    options.auth_files.push(path);
    let client = Client::new(options).unwrap();
    assert_eq!(
        client
            .resolve(&name(&registry), &Silent)
            .unwrap()
            .descriptor,
        good.descriptor()
    );
}

#[test]
fn a_login_goes_to_no_other_host() {
    // The registry redirects a blob to another origin, which asks for a login.
    let good = image(bytes(5000));
    let layer = good.layer.clone();
    let other = FakeRegistry::start(move |asked| match asked.target.as_str() {
        "/blob?signature=hunter2" => Reply::new(200).body(layer.clone()),
        _ => Reply::new(401).header("WWW-Authenticate", r#"Basic realm="give""#),
    });
    for (place, works) in [("/blob?signature=hunter2", true), ("/login", false)] {
        let served = good.clone();
        let location = format!("http://{}{place}", other.address());
        let registry = FakeRegistry::start(move |asked| {
            if asked.header("authorization") != Some("Basic Y2FwdGFpbjpodW50ZXIy") {
                return Reply::new(401).header("WWW-Authenticate", r#"Basic realm="test""#);
            }
            if asked.target == served.layer_path() {
                return Reply::new(307).header("Location", location.clone());
            }
            served.serve(asked)
        });
        let (_dir, client) = client_with_login(registry.address());
        let (_b, store) = store();
        let outcome = client.pull(&name(&registry), &store, &Silent);
        assert_eq!(outcome.is_ok(), works, "{outcome:?}");
        if let Err(error) = outcome {
            nothing_secret(&format!("{error} {error:?} {:?}", error.hint()));
        }
    }
    // What refuses is asked once more, by a new redirect.
    assert_eq!(other.asked().len(), 3);
    for asked in other.asked() {
        assert_eq!(asked.header("authorization"), None);
    }
}

#[test]
fn a_wrong_login_is_said_without_the_password() {
    let registry = FakeRegistry::start(|_| {
        Reply::new(401)
            .header("WWW-Authenticate", r#"Basic realm="test""#)
            .body(r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#)
    });
    let (_dir, client) = client_with_login(registry.address());
    let error = client.resolve(&name(&registry), &Silent).unwrap_err();
    let text = format!("{error} {}", error.hint().unwrap());
    assert!(
        text.contains("captain") && text.contains("authentication required"),
        "{text}"
    );
    nothing_secret(&format!("{text} {error:?}"));
    let anonymous = Client::new(options())
        .unwrap()
        .resolve(&name(&registry), &Silent)
        .unwrap_err();
    assert!(
        anonymous.to_string().contains("without a login"),
        "{anonymous}"
    );
    assert!(
        anonymous.hint().unwrap().contains("podman login"),
        "{anonymous}"
    );
}

#[test]
fn a_token_server_that_refuses_is_no_endless_loop() {
    let registry = FakeRegistry::start(|asked| {
        let host = asked.header("host").unwrap();
        if asked.target.starts_with("/token") {
            return Reply::new(200).body(r#"{"token": "t0ken"}"#);
        }
        Reply::new(401).header(
            "WWW-Authenticate",
            format!(r#"Bearer realm="http://{host}/token""#),
        )
    });
    let error = client().resolve(&name(&registry), &Silent).unwrap_err();
    assert!(matches!(error, RegistryError::Unauthorized(_)), "{error}");
    nothing_secret(&format!("{error} {error:?}"));
    assert!(registry.asked().len() < 12, "{:#?}", registry.lines());
}

#[test]
fn what_may_pass_is_tried_again() {
    let good = image(bytes(3000));
    let served = good.clone();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let registry = FakeRegistry::start(move |asked| {
        let blob = asked.target == served.layer_path();
        match (blob, asked.before) {
            (true, 0) => Reply::new(429).header("Retry-After", "1"),
            (true, 1) => {
                log.lock().unwrap().push(Instant::now());
                Reply::new(500)
            }
            (true, 2) => Reply::hang_up_after(0),
            _ => served.serve(asked),
        }
    });
    let (_a, store) = store();
    let begin = Instant::now();
    client().pull(&name(&registry), &store, &Silent).unwrap();
    assert!(
        seen.lock().unwrap()[0] - begin >= Duration::from_secs(1),
        "Retry-After counts"
    );
    store
        .verify_blob(&descriptor(
            MediaType::ImageLayerGzip,
            sha256(&good.layer),
            3000,
        ))
        .unwrap();
}

#[test]
fn a_registry_that_stays_broken_is_given_up() {
    let registry = FakeRegistry::start(|asked| match asked.target.as_str() {
        "/v2/" => Reply::new(200),
        _ => Reply::new(503).body("<html>no</html>"),
    });
    let error = client().resolve(&name(&registry), &Silent).unwrap_err();
    assert!(error.to_string().contains("answered 503"), "{error}");
    assert!(registry.asked().len() <= 6, "{:?}", registry.lines());
}

#[test]
fn a_cut_download_goes_on_where_it_was_cut() {
    for ranges in [true, false] {
        let good = image(bytes(400_000));
        let served = good.clone();
        let registry = FakeRegistry::start(move |asked| {
            if asked.target != served.layer_path() {
                return served.serve(asked);
            }
            let whole = served.layer.len();
            match asked.header("range") {
                Some(range) if ranges => {
                    let first: usize = range
                        .strip_prefix("bytes=")
                        .and_then(|r| r.strip_suffix(&format!("-{}", whole - 1)))
                        .unwrap()
                        .parse()
                        .unwrap();
                    let rest = &served.layer[first..];
                    let reply = Reply::new(206).header(
                        "Content-Range",
                        format!("bytes {first}-{}/{whole}", whole - 1),
                    );
                    // Cut once more.
                    if asked.before == 1 {
                        reply
                            .body(&rest[..rest.len() / 2])
                            .length(rest.len() as u64)
                    } else {
                        reply.body(rest)
                    }
                }
                Some(_) => Reply::new(200).body(served.layer.clone()),
                None => Reply::new(200)
                    .body(&served.layer[..150_000])
                    .length(whole as u64),
            }
        });
        let (_a, store) = store();
        client().pull(&name(&registry), &store, &Silent).unwrap();
        store
            .verify_blob(&descriptor(
                MediaType::ImageLayerGzip,
                sha256(&good.layer),
                400_000,
            ))
            .unwrap();
    }
}

#[test]
fn a_download_that_is_always_cut_leaves_no_image() {
    let good = image(bytes(4000));
    let served = good.clone();
    let registry = FakeRegistry::start(move |asked| {
        if asked.target == served.layer_path() {
            return Reply::new(200).body(&served.layer[..100]).length(4000);
        }
        served.serve(asked)
    });
    let (_a, store) = store();
    let error = client()
        .pull(&name(&registry), &store, &Silent)
        .unwrap_err();
    assert!(matches!(error, RegistryError::Truncated { .. }), "{error}");
    assert_eq!(fs::read_dir(store.root().join("tmp")).unwrap().count(), 0);
    assert!(!store.has_blob(&sha256(&good.manifest)));
}

/// A server that is never idle, and never comes to an end.
#[test]
fn a_body_that_comes_a_byte_at_a_time_ends() {
    let good = image(bytes(4000));
    for (what, part) in [("manifest", "/manifests/"), ("layer", "/blobs/")] {
        let served = good.clone();
        let registry = FakeRegistry::start(move |asked| {
            let reply = served.serve(asked);
            if asked.target.contains(part) {
                // Some minutes for the layer.
                reply.drip(Duration::from_millis(50))
            } else {
                reply
            }
        });
        let patience = |grace, least_pace| Patience {
            idle: Duration::from_secs(30),
            grace,
            least_pace,
        };
        let pull = |patience| {
            let mut options = options();
            options.retry.attempts = 2;
            options.patience = patience;
            let (_a, store) = store();
            Client::new(options)
                .unwrap()
                .pull(&name(&registry), &store, &Silent)
        };
        let error = pull(patience(Duration::from_millis(300), 1000)).unwrap_err();
        assert!(
            error.to_string().contains("it sent only"),
            "{what}: {error}"
        );
        // The positive control: it is the pace, and nothing else, that ends it.
        if what == "manifest" {
            pull(patience(Duration::from_mins(5), 1000)).unwrap();
        }
    }
}

#[test]
fn what_is_no_layer_is_not_fetched() {
    let good = image(bytes(500));
    let text = String::from_utf8(good.manifest.clone()).unwrap();
    for (from, to, said) in [
        ("", "", None),
        (
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "text/html",
            Some("its layer has the media type text/html"),
        ),
        (
            "application/vnd.oci.image.config.v1+json",
            "application/vnd.example+json",
            Some("its configuration has the media type"),
        ),
    ] {
        let served = Image {
            manifest: text.replace(from, to).into_bytes(),
            ..good.clone()
        };
        let served = if from.is_empty() {
            good.clone()
        } else {
            served
        };
        let registry = FakeRegistry::start(move |asked| served.serve(asked));
        let (_a, store) = store();
        let outcome = client().pull(&name(&registry), &store, &Silent);
        match said {
            None => drop(outcome.unwrap()),
            Some(said) => {
                let error = outcome.unwrap_err().to_string();
                assert!(error.contains(said), "{error}");
                assert!(!store.has_blob(&sha256(&good.layer)));
            }
        }
    }
}

#[test]
fn an_index_says_the_right_size() {
    for (more, works) in [(0, true), (1, false)] {
        let served = image(bytes(500));
        let registry = FakeRegistry::start(move |asked| {
            if asked.target != "/v2/crew/opal/manifests/1" {
                return served.serve(asked);
            }
            let index = serde_json::json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [{
                    "mediaType": MANIFEST,
                    "digest": sha256(&served.manifest),
                    "size": served.manifest.len() + more,
                }],
            });
            Reply::new(200)
                .header("content-type", "application/vnd.oci.image.index.v1+json")
                .body(index.to_string())
        });
        let (_a, store) = store();
        let outcome = client().pull(&name(&registry), &store, &Silent);
        assert_eq!(outcome.is_ok(), works, "{outcome:?}");
        if let Err(error) = outcome {
            assert!(error.to_string().contains("its index says"), "{error}");
        }
    }
}

#[test]
fn huge_and_ambiguous_manifests_are_refused() {
    let huge = FakeRegistry::start(|asked| match asked.target.as_str() {
        "/v2/" => Reply::new(200),
        _ => Reply::new(200)
            .header("content-type", MANIFEST)
            .length(300 << 20)
            .body(bytes(1 << 16)),
    });
    let error = client().resolve(&name(&huge), &Silent).unwrap_err();
    assert!(matches!(error, RegistryError::TooLarge { .. }), "{error}");

    // Without a length told, it ends at the limit.
    let lists = FakeRegistry::start(|asked| match asked.target.as_str() {
        "/v2/" => Reply::new(200),
        _ => Reply::new(200)
            .header("content-type", "application/vnd.oci.image.index.v1+json")
            .body(r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#),
    });
    let error = client().resolve(&name(&lists), &Silent).unwrap_err();
    assert!(
        error.to_string().contains("as an image and as an index"),
        "{error}"
    );
}

#[test]
fn indexes_of_indexes_end() {
    let registry = FakeRegistry::start(|asked| {
        // Each index names the next one; digests are right, so that only the depth can stop it.
        let index = |digest: &Digest, size: usize| {
            serde_json::json!({
                "schemaVersion": 2,
                "mediaType": "application/vnd.oci.image.index.v1+json",
                "manifests": [{
                    "mediaType": "application/vnd.oci.image.index.v1+json",
                    "digest": digest, "size": size,
                }],
            })
            .to_string()
            .into_bytes()
        };
        let mut chain = vec![index(&sha256(b"end"), 3)];
        for _ in 0..10 {
            let last = chain.last().unwrap();
            chain.push(index(&sha256(last), last.len()));
        }
        let top = chain.last().unwrap();
        let asked = asked.target.rsplit('/').next().unwrap();
        let found = chain
            .iter()
            .find(|bytes| sha256(bytes).as_ref() == asked)
            .unwrap_or(top);
        Reply::new(200)
            .header("content-type", "application/vnd.oci.image.index.v1+json")
            .body(found.clone())
    });
    let error = client().resolve(&name(&registry), &Silent).unwrap_err();
    assert!(error.to_string().contains("index of indexes"), "{error}");
}

/// A registry that takes one image, for uploads that are cut.
#[derive(Default)]
struct Uploads {
    received: Vec<u8>,
}

#[test]
fn a_cut_upload_goes_on_where_it_was_cut() {
    let good = image(bytes(600_000));
    let state: Arc<Mutex<Uploads>> = Arc::default();
    let (config, layer) = (sha256(&good.config), sha256(&good.layer));
    let manifest = sha256(&good.manifest).to_string();
    let inner = Arc::clone(&state);
    let registry = FakeRegistry::start(move |asked| {
        let mut state = inner.lock().unwrap();
        let target = asked.target.as_str();
        match asked.method.as_str() {
            "GET" if target == "/v2/" => Reply::new(200),
            "HEAD" if target.ends_with(config.as_ref()) => Reply::new(200).length(78),
            "POST" => Reply::new(202).header("Location", "/v2/crew/opal/blobs/uploads/1?state=a"),
            "HEAD" if target.ends_with(layer.as_ref()) && state.received.len() == 600_000 => {
                Reply::new(200).length(600_000)
            }
            "PUT" if target.contains("/manifests/") => {
                Reply::new(201).header("Docker-Content-Digest", manifest.clone())
            }
            "PUT" if target.contains("state=a") => Reply::hang_up_after(200_000),
            "GET" => {
                state.received = bytes(600_000)[..100_000].to_vec();
                Reply::new(204)
                    .header("Range", "0-99999")
                    .header("Location", "/v2/crew/opal/blobs/uploads/1?state=b")
            }
            "PATCH" => {
                assert_eq!(asked.header("content-range"), Some("100000-599999"));
                if !asked.body.is_empty() {
                    state.received.extend_from_slice(&asked.body);
                }
                Reply::new(202).header("Location", "/v2/crew/opal/blobs/uploads/1?state=c")
            }
            "PUT" => {
                assert!(target.contains("state=c&digest=sha256%3A"), "{target}");
                assert!(asked.body.is_empty());
                Reply::new(201)
            }
            _ => Reply::new(404),
        }
    });
    let (_a, store) = store();
    let report = client()
        .push(&good.put(&store), &store, &name(&registry), &Silent)
        .unwrap();
    assert_eq!((report.uploaded, report.existing), (1, 1));
    assert!(state.lock().unwrap().received == good.layer);
}

#[test]
fn an_upload_that_is_lost_begins_anew() {
    let good = image(bytes(50_000));
    let held = Mutex::new(Held::default());
    let registry = FakeRegistry::start(move |asked| {
        let mut held = held.lock().unwrap();
        if asked.method == "PUT" && asked.target.contains("/uploads/1?") {
            held.uploads.remove(&1);
            return Reply::new(502);
        }
        sound_registry::answer(asked, &mut held)
    });
    let (_a, store) = store();
    let report = client()
        .push(&good.put(&store), &store, &name(&registry), &Silent)
        .unwrap();
    assert_eq!(report.uploaded, 2);
}

#[test]
fn a_registry_that_stores_another_manifest_is_found_out() {
    let good = image(bytes(10));
    let there = good.clone();
    let registry = FakeRegistry::start(move |asked| match asked.method.as_str() {
        "HEAD" => Reply::new(200),
        "GET" => there.serve(asked),
        _ => Reply::new(201).header("Docker-Content-Digest", sha256(b"other").to_string()),
    });
    let (_a, store) = store();
    let error = client()
        .push(&good.put(&store), &store, &name(&registry), &Silent)
        .unwrap_err();
    assert!(matches!(error, RegistryError::Digest { .. }), "{error}");
}

/// As Harbor and ECR keep tags that are not to change: they refuse even what is there.
#[test]
fn an_unchanged_image_is_pushed_to_a_tag_that_may_not_change() {
    let (good, other) = (image(bytes(10)), image(bytes(11)));
    let there = good.clone();
    let registry = FakeRegistry::start(move |asked| match asked.method.as_str() {
        "PUT" => Reply::new(412),
        "HEAD" => Reply::new(200),
        _ => there.serve(asked),
    });
    let (_a, store) = store();
    let push = |image: &Image| client().push(&image.put(&store), &store, &name(&registry), &Silent);
    assert_eq!(push(&good).unwrap().existing, 2);
    let error = push(&other).unwrap_err();
    assert!(matches!(error, RegistryError::Status { .. }), "{error}");
}

#[test]
fn files_are_downloaded_and_verified() {
    let content = bytes(300_000);
    let served = content.clone();
    let index =
        FakeRegistry::start(
            move |asked| match (asked.target.as_str(), asked.header("range")) {
                ("/file", None) => Reply::new(200).body(&served[..100_000]).length(300_000),
                ("/file", Some(range)) => {
                    assert_eq!(range, "bytes=100000-");
                    Reply::new(206)
                        .header("Content-Range", "bytes 100000-299999/300000")
                        .body(&served[100_000..])
                }
                ("/moved", _) => Reply::new(302).header("Location", "/file"),
                ("/simple/uv/", _) => Reply::new(200)
                    .header("content-type", "application/vnd.pypi.simple.v1+json")
                    .body(r#"{"files": []}"#),
                _ => Reply::new(404),
            },
        );
    let at = |path: &str| format!("http://{}{path}", index.address());
    let mut into = Vec::new();
    client()
        .download(&at("/moved"), &sha256(&content), 1 << 20, &mut into)
        .unwrap();
    assert!(into == content);
    let download = |path: &str, digest: &Digest, max| {
        client()
            .download(&at(path), digest, max, &mut Vec::new())
            .unwrap_err()
    };
    // The digest of what came is not said.
    assert!(matches!(
        download("/file", &sha256(b"x"), 1 << 20),
        RegistryError::Url { problem, .. } if problem.contains("does not have the digest")
    ));
    assert!(matches!(
        download("/file", &sha256(&content), 299_999),
        RegistryError::TooLarge { .. }
    ));
    assert!(
        download("/none", &sha256(&content), 10)
            .to_string()
            .contains("404")
    );
    let page = client()
        .fetch_text(
            &at("/simple/uv/"),
            "application/vnd.pypi.simple.v1+json",
            1000,
        )
        .unwrap();
    assert_eq!(
        (page.text.as_str(), page.url),
        (r#"{"files": []}"#, at("/simple/uv/"))
    );
    assert!(client().fetch_text(&at("/simple/uv/"), "*/*", 3).is_err());
}

/// A list that leads back to itself has no end, and one that is cut off looks as if it were whole.
#[test]
fn a_list_without_an_end_is_an_error() {
    let subject = sha256(b"x");
    let loops = FakeRegistry::start(|asked| {
        let (path, _) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        let next = format!("<{path}?last=b>; rel=\"next\"");
        let reply = Reply::new(200).header("link", next);
        if path.ends_with("/tags/list") {
            reply.body(r#"{"tags": ["a", "b"]}"#)
        } else if path.contains("/referrers/") {
            reply.body(r#"{"schemaVersion": 2, "manifests": []}"#)
        } else {
            Reply::new(200)
        }
    });
    let grows = FakeRegistry::start(|asked| {
        let Some((path, query)) = asked.target.split_once('?') else {
            return Reply::new(200);
        };
        let at: usize = query.rsplit('=').next().unwrap().parse().unwrap();
        Reply::new(200)
            .header("link", format!("<{path}?n={}>; rel=next", at + 1))
            .body(r#"{"tags": []}"#)
    });
    for (registry, most, words) in [(&loops, 3, "read before"), (&grows, 1001, "1000 pages")] {
        let error = client().tags(&name(registry), &Silent).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("the list of tags of") && text.contains(words),
            "{text}"
        );
        assert!(error.is_remote());
        assert!(registry.asked().len() <= most + 1, "{words}");
    }
    let error = client()
        .referrers(&name(&loops), &subject, &Silent)
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("what refers to") && text.contains("read before"),
        "{text}"
    );
}

#[test]
fn a_page_instead_of_a_manifest_is_told_by_its_title() {
    for (body, title) in [
        (
            "\n<!doctype html><title>Sign in &amp; go on</title>",
            "`Sign in & go on`",
        ),
        ("<html></html>", "a page of HTML"),
    ] {
        let registry = FakeRegistry::start(move |asked| match asked.target.as_str() {
            "/v2/" => Reply::new(200),
            _ => Reply::new(200)
                .header("content-type", "text/html")
                .body(body),
        });
        let text = client()
            .resolve(&name(&registry), &Silent)
            .unwrap_err()
            .to_string();
        assert!(
            text.contains(title) && text.contains(registry.address()) && !text.contains("JSON"),
            "{text}"
        );
    }
}

#[test]
fn a_cdns_own_words_are_told() {
    let good = image(bytes(1000));
    let served = good.clone();
    let registry = FakeRegistry::start(move |asked| {
        if asked.target == served.layer_path() {
            return Reply::new(404).body(
                "<?xml version=\"1.0\"?><Error><Code>NoSuchKey</Code><Message>R&amp;D has no such key</Message></Error>",
            );
        }
        served.serve(asked)
    });
    let (_dir, store) = store();
    let error = client().pull(&name(&registry), &store, &Silent);
    let text = error.unwrap_err().to_string();
    assert!(text.contains("R&D has no such key (NoSuchKey)"), "{text}");
}

/// The size of pieces has nothing to do with manifests.
#[test]
fn a_manifest_that_is_too_large_has_its_own_hint() {
    let good = image(bytes(1000));
    let (_dir, store) = store();
    let manifest = good.put(&store);
    let registry = FakeRegistry::start(move |asked| {
        if asked.target.contains("/manifests/") {
            return Reply::new(413);
        }
        match asked.method.as_str() {
            "HEAD" => Reply::new(200),
            _ => good.serve(asked),
        }
    });
    let error = client()
        .push(&manifest, &store, &name(&registry), &Silent)
        .unwrap_err();
    let hint = error.hint().unwrap();
    assert!(
        hint.contains("manifests") && !hint.contains("--chunk-size"),
        "{error}: {hint}"
    );
}
