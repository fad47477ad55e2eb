//! Pulling and pushing against the reference implementation of the distribution specification.

#![allow(clippy::unwrap_used)] // outside of #[test] functions too

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::registry::Registry;
use crate::support::stored::{image, layer, leftovers, noise, store};
use crate::support::{process, skopeo};
use warpdrive::oci::{Descriptor, MediaType, Reference, descriptor, sha256, to_canonical_json};
use warpdrive::registry::{
    Client, ClientOptions, Event, RegistryError, Retry, Silent, Transfer, TransferListener,
};

fn client() -> Client {
    Client::new(ClientOptions::default()).unwrap()
}

fn name(registry: &Registry, name: &str) -> Reference {
    registry.reference(name).parse().unwrap()
}

#[derive(Default)]
struct Ears(Mutex<Vec<Transfer>>);

impl TransferListener for Ears {
    fn event(&self, event: &Event<'_>) {
        if let Event::Done { outcome, .. } = event {
            self.0.lock().unwrap().push(*outcome);
        }
    }
}

#[test]
fn an_image_goes_there_and_back() {
    let registry = Registry::start();
    let (_a, here) = store();
    let (_b, there) = store();
    let big = noise(3_000_000, 1);
    let manifest = image(&here, &[b"one", &big, b"one"], &[]);
    let target = name(&registry, "crew/opal:1.2");

    let report = client().push(&manifest, &here, &target, &Silent).unwrap();
    assert_eq!(report.digest, manifest.digest().to_string());
    assert_eq!(
        (report.uploaded, report.mounted, report.existing),
        (3, 0, 0)
    );
    assert_eq!(registry.tags("crew/opal"), ["1.2"]);

    // Other people's tool reads it.
    let inspected = skopeo::inspect(&format!("docker://{target}"));
    assert_eq!(inspected["Digest"], manifest.digest().to_string());
    assert_eq!(inspected["Layers"].as_array().unwrap().len(), 3);

    let head = client().head(&target, &Silent).unwrap().unwrap();
    assert_eq!(head, manifest);
    let resolved = client().resolve(&target, &Silent).unwrap();
    assert_eq!((&resolved.descriptor, resolved.index), (&manifest, None));

    let ears = Ears::default();
    let pulled = client().pull(&target, &there, &ears).unwrap();
    assert_eq!(pulled, manifest);
    assert_eq!(ears.0.into_inner().unwrap(), [Transfer::Transferred; 3]);
    let parsed: serde_json::Value =
        serde_json::from_slice(&there.read_blob(manifest.digest(), 1 << 20).unwrap()).unwrap();
    for blob in parsed["layers"]
        .as_array()
        .unwrap()
        .iter()
        .chain([&parsed["config"]])
    {
        let blob: Descriptor = serde_json::from_value(blob.clone()).unwrap();
        there.verify_blob(&blob).unwrap();
    }
    assert_eq!(leftovers(&there), 0);

    // Again: nothing travels, in either direction.
    let report = client().push(&manifest, &here, &target, &Silent).unwrap();
    assert_eq!((report.uploaded, report.existing), (0, 3));
    let before = registry.log().matches("blobs/sha256").count();
    let ears = Ears::default();
    client().pull(&target, &there, &ears).unwrap();
    assert_eq!(ears.0.into_inner().unwrap(), [Transfer::Existing; 3]);
    assert_eq!(registry.log().matches("blobs/sha256").count(), before);
}

#[test]
fn by_digest_what_is_here_needs_no_network() {
    let registry = Registry::start();
    let (_a, store) = store();
    let manifest = image(&store, &[b"x"], &[]);
    let target = name(&registry, "opal:1");
    client().push(&manifest, &store, &target, &Silent).unwrap();
    let by_digest: Reference = registry
        .reference(&format!("opal@{}", manifest.digest()))
        .parse()
        .unwrap();
    assert_eq!(
        client().resolve(&by_digest, &Silent).unwrap().descriptor,
        manifest
    );
    drop(registry);
    assert_eq!(
        client().pull(&by_digest, &store, &Silent).unwrap().digest(),
        manifest.digest()
    );
    assert!(client().pull(&target, &store, &Silent).is_err());
}

#[test]
fn layers_of_the_base_are_mounted() {
    let registry = Registry::start();
    let (_a, other) = store();
    let (_b, store) = store();
    let base = name(&registry, "crew/python:3.13");
    client()
        .push(&image(&other, &[b"base"], &[]), &other, &base, &Silent)
        .unwrap();
    let app = image(
        &store,
        &[b"base", b"app"],
        &[("org.opencontainers.image.base.name", &base.canonical())],
    );
    let report = client()
        .push(&app, &store, &name(&registry, "crew/opal"), &Silent)
        .unwrap();
    assert_eq!((report.mounted, report.uploaded), (1, 2));
    assert_eq!(registry.tags("crew/opal"), ["latest"]);
}

#[test]
fn what_the_registry_has_elsewhere_is_mounted_from_there() {
    let registry = Registry::start();
    let (_a, here) = store();
    let (_b, there) = store();
    let push = |store, layers: &[&[u8]], to: &str| {
        let report = client().push(
            &image(store, layers, &[]),
            store,
            &name(&registry, to),
            &Silent,
        );
        let report = report.unwrap();
        (report.uploaded, report.mounted, report.existing)
    };
    assert_eq!(push(&here, &[b"base", b"a"], "crew/a"), (3, 0, 0));
    assert_eq!(push(&here, &[b"base", b"b"], "crew/b"), (2, 1, 0));
    // A store that pulled it knows as well; what it knows may be out of date.
    let a = name(&registry, "crew/a");
    client().pull(&a, &there, &Silent).unwrap();
    for content in [&b"base"[..], b"a"] {
        registry.remove_blob("crew/a", sha256(&layer(content).1).as_ref());
    }
    assert_eq!(push(&there, &[b"base", b"c"], "crew/c"), (3, 0, 0));
}

/// What the tag's manifest names proves nothing: each blob is asked for once, and what is gone is sent.
#[test]
fn every_blob_is_asked_for_and_what_is_lost_is_sent_again() {
    let registry = Registry::start();
    let (_a, store) = store();
    let target = name(&registry, "crew/opal");
    let push = |layers: &[&[u8]]| {
        let report = client().push(&image(&store, layers, &[]), &store, &target, &Silent);
        let report = report.unwrap();
        (report.uploaded, report.existing)
    };
    let asked = || {
        registry
            .log()
            .matches("\"HEAD /v2/crew/opal/blobs/")
            .count()
    };
    assert_eq!(push(&[b"base", b"one"]), (3, 0));
    assert_eq!(push(&[b"base", b"one"]), (0, 3));
    // What was sent is asked for once more.
    assert_eq!(asked(), 9);
    assert_eq!(push(&[b"base", b"two"]), (2, 1));
    let lose = || registry.remove_blob("crew/opal", sha256(&layer(b"base").1).as_ref());
    lose();
    assert_eq!(push(&[b"base", b"three"]), (3, 0));
    // The same image mends it, too.
    lose();
    assert_eq!(push(&[b"base", b"three"]), (1, 2));
    let (_b, there) = crate::support::stored::store();
    client().pull(&target, &there, &Silent).unwrap();
}

#[test]
fn an_index_is_pushed_whole_and_pulled_for_this_machine() {
    let registry = Registry::start();
    let (_a, here) = store();
    let (_b, there) = store();
    let this = image(&here, &[b"mine"], &[]);
    let other = image(&here, &[b"other"], &[("other", "yes")]);
    let (os, architecture) = warpdrive::oci::this_platform()
        .split_once('/')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let mut entries = Vec::new();
    for (entry, architecture) in [(&other, "s390x"), (&this, architecture.as_str())] {
        let mut entry = serde_json::to_value(entry).unwrap();
        entry["platform"] = serde_json::json!({"os": os, "architecture": architecture});
        entries.push(entry);
    }
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": MediaType::ImageIndex, "manifests": entries});
    let (digest, size) = here.put_blob(&to_canonical_json(&index).unwrap()).unwrap();
    let index = descriptor(MediaType::ImageIndex, digest, size);
    let target = name(&registry, "multi:1");
    client().push(&index, &here, &target, &Silent).unwrap();

    let resolved = client().resolve(&target, &Silent).unwrap();
    assert_eq!(resolved.descriptor, this);
    assert_eq!(resolved.index, Some(index));
    assert_eq!(client().pull(&target, &there, &Silent).unwrap(), this);

    let other_client = |platform: &str| {
        Client::new(ClientOptions {
            platform: Some(platform.into()),
            ..ClientOptions::default()
        })
        .unwrap()
    };
    assert_eq!(
        other_client("linux/s390x")
            .resolve(&target, &Silent)
            .unwrap()
            .descriptor,
        other
    );
    let error = other_client("linux/riscv64")
        .resolve(&target, &Silent)
        .unwrap_err();
    assert!(error.to_string().contains("linux/s390x"), "{error}");
}

/// A registry whose storage the test can reach.
fn reachable(storage: &Path) -> Registry {
    Registry::start_with(&[&format!(
        "REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY={}",
        storage.display()
    )])
}

fn stored(storage: &Path, hex: &str) -> std::path::PathBuf {
    storage.join(format!(
        "docker/registry/v2/blobs/sha256/{}/{hex}/data",
        &hex[..2]
    ))
}

#[test]
fn damaged_blobs_are_refused() {
    let storage = tempfile::tempdir().unwrap();
    let registry = reachable(storage.path());
    let (_a, here) = store();
    let content = noise(100_000, 7);
    let manifest = image(&here, &[&content], &[]);
    let target = name(&registry, "opal:1");
    client().push(&manifest, &here, &target, &Silent).unwrap();
    let (_, gzip) = layer(&content);
    let layer_path = stored(storage.path(), sha256(&gzip).digest());

    let mut changed = gzip.clone();
    changed[50_000] ^= 1;
    fs::write(&layer_path, &changed).unwrap();
    let (_b, there) = store();
    let error = client().pull(&target, &there, &Silent).unwrap_err();
    assert!(matches!(error, RegistryError::Digest { .. }), "{error}");
    assert!(
        error.to_string().contains(sha256(&gzip).as_ref()),
        "{error}"
    );
    assert!(!there.has_blob(&sha256(&gzip)));
    assert!(
        !there.has_blob(manifest.digest()),
        "the manifest comes last"
    );
    assert_eq!(leftovers(&there), 0);

    for wrong in [&gzip[..60_000], &[gzip.as_slice(), b"more"].concat()] {
        fs::write(&layer_path, wrong).unwrap();
        let error = client().pull(&target, &there, &Silent).unwrap_err();
        assert!(error.to_string().contains("in the manifest"), "{error}");
        assert_eq!(leftovers(&there), 0);
    }

    let manifest_path = stored(storage.path(), manifest.digest().digest());
    let mut bytes = fs::read(&manifest_path).unwrap();
    bytes.push(b' ');
    fs::write(&manifest_path, &bytes).unwrap();
    assert!(client().pull(&target, &there, &Silent).is_err());
}

#[test]
fn a_refusal_names_registry_and_repository() {
    let registry = Registry::start();
    let missing = name(&registry, "crew/nothing:9");
    let error = client().resolve(&missing, &Silent).unwrap_err();
    let text = error.to_string();
    for part in [
        registry.address(),
        "crew/nothing",
        "`9`",
        "MANIFEST_UNKNOWN",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(error.hint().unwrap().contains("check the name"));
    let closed: Reference = format!("127.0.0.1:{}/x", crate::support::http::free_port())
        .parse()
        .unwrap();
    let error = client().resolve(&closed, &Silent).unwrap_err();
    assert!(
        error.to_string().contains("cannot reach 127.0.0.1"),
        "{error}"
    );
    assert!(error.to_string().contains("refused"), "{error}");
}

#[test]
fn images_of_skopeo_come_in() {
    let registry = Registry::start();
    let (dir, here) = store();
    // Docker's media types, from another tool.
    let manifest = image(&here, &[b"x"], &[]);
    client()
        .push(&manifest, &here, &name(&registry, "a:1"), &Silent)
        .unwrap();
    process::run(skopeo::command("copy").args([
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--format=v2s2",
        &format!("docker://{}", registry.reference("a:1")),
        &format!("docker://{}", registry.reference("b:1")),
    ]));
    let docker = client()
        .pull(&name(&registry, "b:1"), &here, &Silent)
        .unwrap();
    assert_eq!(
        docker.media_type().to_string(),
        warpdrive::oci::docker::MANIFEST
    );
    let report = client()
        .push(&docker, &here, &name(&registry, "c:1"), &Silent)
        .unwrap();
    assert_eq!(report.digest, docker.digest().to_string());
    drop(dir);
}

#[test]
fn a_registry_with_a_certificate_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    process::run(
        std::process::Command::new(process::tool("openssl"))
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ])
            .args(["-nodes", "-days", "2", "-subj", "/CN=registry", "-addext"])
            .arg("subjectAltName=IP:127.0.0.1,DNS:localhost")
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", &path("key.pem"), "-out", &path("cert.pem")]),
    );
    let registry = Registry::start_with(&[
        &format!("REGISTRY_HTTP_TLS_CERTIFICATE={}", path("cert.pem")),
        &format!("REGISTRY_HTTP_TLS_KEY={}", path("key.pem")),
    ]);
    let (_a, store) = store();
    let manifest = image(&store, &[&noise(2_000_000, 4)], &[]);
    let target = name(&registry, "opal:1");
    let push = |options: ClientOptions| {
        Client::new(options)
            .unwrap()
            .push(&manifest, &store, &target, &Silent)
    };

    // Unknown: refused, and not tried again without encryption.
    let error = push(ClientOptions::default()).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    assert!(
        error
            .hint()
            .unwrap()
            .contains("/etc/containers/certs.d/127.0.0.1:"),
        "{error}"
    );

    // Laid down for this very host and port.
    let certificates = dir.path().join("certs.d");
    let host = certificates.join(registry.address());
    fs::create_dir_all(&host).unwrap();
    fs::copy(path("cert.pem"), host.join("ca.crt")).unwrap();
    let report = push(ClientOptions {
        certificate_dirs: vec![certificates],
        ..ClientOptions::default()
    })
    .unwrap();
    assert_eq!(report.uploaded, 2);

    // Listed as insecure.
    let report = push(ClientOptions {
        insecure_registries: vec![registry.address().to_owned()],
        ..ClientOptions::default()
    })
    .unwrap();
    assert_eq!(report.existing, 2);
}

/// A key in a directory, a certificate for this machine, and one that was good on a day of 2020.
fn certificates(directory: &Path) {
    let path = |name: &str| directory.join(name).display().to_string();
    let openssl = || std::process::Command::new(process::tool("openssl"));
    let names = "subjectAltName=IP:127.0.0.1\nbasicConstraints=critical,CA:FALSE\n";
    let configuration = format!(
        "[ca]\ndefault_ca=own\n[own]\ndatabase={}\nnew_certs_dir={}\nrand_serial=yes\n\
         default_md=sha256\npolicy=any\n[any]\ncommonName=supplied\n[names]\n{names}",
        path("index.txt"),
        directory.display(),
    );
    fs::write(directory.join("ca.cnf"), configuration).unwrap();
    fs::write(directory.join("index.txt"), "").unwrap();
    process::run(
        openssl()
            .args(["req", "-new", "-newkey", "ec", "-pkeyopt"])
            .args(["ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-subj", "/CN=registry", "-keyout", &path("key.pem")])
            .args(["-out", &path("request.pem")]),
    );
    let now = ["-days", "2"].map(str::to_owned).to_vec();
    let before = [
        "-startdate",
        "20200101000000Z",
        "-enddate",
        "20200102000000Z",
    ];
    let before = before.map(str::to_owned).to_vec();
    for (name, days) in [("cert.pem", now), ("old.pem", before)] {
        // The same subject again is not a concern of a list that nobody reads.
        fs::write(directory.join("index.txt"), "").unwrap();
        process::run(
            openssl()
                .args(["ca", "-batch", "-notext", "-selfsign"])
                .args(["-config", &path("ca.cnf"), "-extensions", "names"])
                .args(["-keyfile", &path("key.pem"), "-in", &path("request.pem")])
                .args(days)
                .args(["-out", &path(name)]),
        );
    }
}

#[test]
fn certificates_that_are_amiss_have_their_own_words() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    certificates(dir.path());
    let serve = |certificate: &str, more: &[&str]| {
        let certificate = format!("REGISTRY_HTTP_TLS_CERTIFICATE={}", path(certificate));
        let key = format!("REGISTRY_HTTP_TLS_KEY={}", path("key.pem"));
        let mut env = vec![certificate.as_str(), key.as_str()];
        env.extend(more);
        Registry::start_with(&env)
    };
    let resolve = |registry: &Registry, ca: &str, dirs: Vec<std::path::PathBuf>| {
        let client = Client::new(ClientOptions {
            authorities: vec![dir.path().join(ca)],
            certificate_dirs: dirs,
            ..ClientOptions::default()
        });
        let error = client
            .unwrap()
            .resolve(&name(registry, "opal:1"), &Silent)
            .unwrap_err();
        format!("{error} / {}", error.hint().unwrap_or_default())
    };
    let expired = serve("old.pem", &[]);
    let words = resolve(&expired, "old.pem", Vec::new());
    assert!(
        words.contains("its certificate expired at 2020-01-02T00:00:00Z")
            && words.contains("clock"),
        "{words}"
    );
    // With --ca alone; a certificate that is good leads to the registry's own answer.
    let good = serve("cert.pem", &[]);
    let words = resolve(&good, "cert.pem", Vec::new());
    assert!(words.contains("has no `1`"), "{words}");
    let error = Client::new(ClientOptions {
        authorities: vec!["/nonexistent.pem".into()],
        ..ClientOptions::default()
    })
    .unwrap()
    .resolve(&name(&good, "opal:1"), &Silent)
    .unwrap_err();
    assert!(error.to_string().contains("/nonexistent.pem"), "{error}");

    let asks = format!("REGISTRY_HTTP_TLS_CLIENTCAS=[{}]", path("cert.pem"));
    let wants = serve("cert.pem", &[&asks]);
    let words = resolve(&wants, "cert.pem", Vec::new());
    assert!(
        words.contains("wants a certificate of this client") && words.contains("client.cert"),
        "{words}"
    );
    let dirs = dir.path().join("certs.d");
    let host = dirs.join(wants.address());
    fs::create_dir_all(&host).unwrap();
    fs::copy(path("cert.pem"), host.join("client.cert")).unwrap();
    fs::copy(path("key.pem"), host.join("client.key")).unwrap();
    let words = resolve(&wants, "cert.pem", vec![dirs]);
    assert!(words.contains("has no `1`"), "{words}");

    // One that openssl makes when no extensions are asked for.
    let dirs = dir.path().join("old.d");
    let host = dirs.join(wants.address());
    fs::create_dir_all(&host).unwrap();
    let own = |file: &str| host.join(file).display().to_string();
    let (key, asks, made) = (own("client.key"), own("client.csr"), own("client.cert"));
    let (ca, ca_key) = (path("cert.pem"), path("key.pem"));
    let request = [
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=captain",
    ];
    let sign = ["x509", "-req", "-days", "2", "-set_serial", "7"];
    for (command, files) in [
        (request, vec!["-keyout", &key, "-out", &asks]),
        (
            sign,
            vec!["-CA", &ca, "-CAkey", &ca_key, "-in", &asks, "-out", &made],
        ),
    ] {
        let output = std::process::Command::new("openssl")
            .args(command)
            .args(files)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let words = resolve(&wants, "cert.pem", vec![dirs]);
    assert!(
        words.contains("client.cert cannot be used") && words.contains("version 3"),
        "{words}"
    );
}

/// Passes bytes on to a registry, and cuts the first connections that carry more than `limit` bytes
/// in one direction. Gives its address and the number of connections that it has cut.
fn scissors(to: &str, limit: u64, cuts: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let cut = Arc::new(AtomicUsize::new(0));
    let (to, done) = (to.to_owned(), Arc::clone(&cut));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(server) = TcpStream::connect(&to) else {
                return;
            };
            for (mut from, mut into) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                let done = Arc::clone(&done);
                std::thread::spawn(move || {
                    let mut buffer = vec![0; 64 * 1024];
                    let mut passed = 0;
                    while let Ok(count) = from.read(&mut buffer)
                        && count > 0
                    {
                        passed += count as u64;
                        if passed > limit && done.fetch_add(1, Ordering::SeqCst) < cuts {
                            break;
                        }
                        if into.write_all(&buffer[..count]).is_err() {
                            break;
                        }
                    }
                    let _ = from.shutdown(Shutdown::Both);
                    let _ = into.shutdown(Shutdown::Both);
                });
            }
        }
    });
    (address, cut)
}

#[test]
fn transfers_survive_connections_that_are_cut() {
    let registry = Registry::start();
    let (_a, here) = store();
    let (_b, there) = store();
    let manifest = image(&here, &[&noise(8_000_000, 1), &noise(8_000_000, 2)], &[]);
    let patient = || {
        Client::new(ClientOptions {
            retry: Retry {
                attempts: 6,
                first_wait: Duration::from_millis(10),
                ..Retry::default()
            },
            ..ClientOptions::default()
        })
        .unwrap()
    };
    let through = |limit| {
        let (address, cut) = scissors(registry.address(), limit, 3);
        (
            format!("{address}/opal:1").parse::<Reference>().unwrap(),
            cut,
        )
    };
    let (target, cut) = through(1_000_000);
    patient().push(&manifest, &here, &target, &Silent).unwrap();
    assert!(cut.load(Ordering::SeqCst) >= 3);
    let (target, cut) = through(1_000_000);
    assert_eq!(patient().pull(&target, &there, &Silent).unwrap(), manifest);
    assert!(cut.load(Ordering::SeqCst) >= 3);
    let image = there.image_at(&manifest).unwrap();
    for layer in image.manifest.layers() {
        there.verify_blob(layer).unwrap();
    }
    assert_eq!(leftovers(&there), 0);
}
