//! A registry in memory that does all things right, as distribution 3 does, but for the faults that a
//! test gives it: the bytes of an upload that was cut stay, and it says how many there are.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use warpdrive::oci::{Descriptor, MediaType, sha256};
use warpdrive::store::Store;

use super::fake_registry::{Asked, FakeRegistry, Reply};

/// What the registry holds, of one repository.
#[derive(Default)]
pub struct Held {
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// By tag and by digest: media type and bytes.
    pub manifests: BTreeMap<String, (String, Vec<u8>)>,
    pub uploads: BTreeMap<usize, Vec<u8>>,
    /// Bytes of an upload that was cut are thrown away, as distribution 2 does.
    pub forgetful: bool,
    /// It lists what refers to a manifest itself, as version 1.1 of the specification says.
    pub lists: bool,
    next: usize,
}

impl Held {
    /// What a registry holds after an image was pushed to it as `1`.
    pub fn of(store: &Store, manifest: &Descriptor) -> Self {
        let image = store.image_at(manifest).unwrap();
        let mut held = Self::default();
        let layers = image.manifest.layers().iter();
        for blob in layers.chain([image.manifest.config()]) {
            let bytes = fs::read(store.blob_path(blob.digest())).unwrap();
            held.blobs.insert(blob.digest().to_string(), bytes);
        }
        let media_type = MediaType::ImageManifest.to_string();
        for name in ["1".to_owned(), manifest.digest().to_string()] {
            let entry = (media_type.clone(), image.manifest_bytes.clone());
            held.manifests.insert(name, entry);
        }
        held
    }

    /// Nothing, of a registry that lists what refers to a manifest.
    pub fn listing() -> Self {
        Self {
            lists: true,
            ..Self::default()
        }
    }
}

/// One thing that goes wrong.
pub struct Fault {
    /// Of the request: how its method and its target begin or what is in it.
    pub method: &'static str,
    pub part: &'static str,
    /// How often, from the first time on.
    pub times: usize,
    pub reply: fn(&Asked, &mut Held) -> Option<Reply>,
}

impl Fault {
    /// The first upload of a blob of more than 2 MB is cut after one.
    pub fn cut_upload() -> Self {
        Self {
            method: "PUT",
            part: "/blobs/uploads/",
            times: 1,
            reply: |asked, _| {
                let length: usize = asked.header("content-length")?.parse().ok()?;
                (length > 2_000_000).then(|| Reply::hang_up_after(1_000_000))
            },
        }
    }
}

/// The registry on the loopback.
pub struct SoundRegistry {
    server: FakeRegistry,
    held: Arc<Mutex<Held>>,
}

impl SoundRegistry {
    pub fn start(faults: Vec<Fault>, held: Held) -> Self {
        let held = Arc::new(Mutex::new(held));
        let state = Arc::clone(&held);
        let faults: Vec<(Fault, AtomicUsize)> = faults
            .into_iter()
            .map(|fault| (fault, AtomicUsize::new(0)))
            .collect();
        let server = FakeRegistry::start(move |asked| {
            let mut held = state.lock().expect("what is held");
            let fits = |fault: &Fault| {
                (fault.method == "*" || asked.method == fault.method)
                    && asked.target.contains(fault.part)
            };
            for (fault, done) in &faults {
                if !fits(fault) || done.load(Ordering::SeqCst) >= fault.times {
                    continue;
                }
                let Some(reply) = (fault.reply)(asked, &mut held) else {
                    continue;
                };
                let hangs_up = reply.hang_up_after.is_some();
                if asked.cut {
                    done.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                // What is said before the body counts only if it is the end.
                if asked.complete && !hangs_up {
                    done.fetch_add(1, Ordering::SeqCst);
                }
                return reply;
            }
            answer(asked, &mut held)
        });
        Self { server, held }
    }

    pub fn address(&self) -> &str {
        self.server.address()
    }

    pub fn lines(&self) -> Vec<String> {
        self.server.lines()
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.server.asked()
    }

    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("what is held")
    }
}

/// What is right.
pub fn answer(asked: &Asked, held: &mut Held) -> Reply {
    let (path, query) = asked
        .target
        .split_once('?')
        .unwrap_or((asked.target.as_str(), ""));
    let rest = path.strip_prefix("/v2/").and_then(|rest| {
        let at = ["/blobs/", "/manifests/", "/referrers/"]
            .iter()
            .find_map(|part| rest.find(part))?;
        Some((&rest[..at], &rest[at + 1..]))
    });
    let Some((repository, rest)) = rest else {
        return Reply::new(if path == "/v2/" { 200 } else { 404 });
    };
    let upload = rest
        .strip_prefix("blobs/uploads/")
        .and_then(|number| number.parse::<usize>().ok());
    if asked.cut {
        if let (Some(number), false) = (upload, held.forgetful)
            && let Some(bytes) = held.uploads.get_mut(&number)
        {
            bytes.extend_from_slice(&asked.body);
        }
        return Reply::new(500);
    }
    if !asked.complete {
        return Reply::new(100);
    }
    let place = |number: usize, bytes: &[u8]| {
        let location = format!(
            "/v2/{repository}/blobs/uploads/{number}?state={}",
            bytes.len()
        );
        let last = bytes.len().saturating_sub(1);
        Reply::new(202)
            .header("Location", location)
            .header("Range", format!("0-{last}"))
    };
    match (asked.method.as_str(), rest) {
        ("POST", "blobs/uploads/") => {
            held.next += 1;
            held.uploads.insert(held.next, Vec::new());
            place(held.next, &[])
        }
        ("GET", _) if upload.is_some() => {
            match upload.and_then(|n| Some((n, held.uploads.get(&n)?))) {
                Some((number, bytes)) => Reply {
                    status: 204,
                    ..place(number, bytes)
                },
                None => unknown("BLOB_UPLOAD_UNKNOWN"),
            }
        }
        ("PATCH", _) => {
            let Some(bytes) = upload.and_then(|number| held.uploads.get_mut(&number)) else {
                return unknown("BLOB_UPLOAD_UNKNOWN");
            };
            let first = asked
                .header("content-range")
                .and_then(|range| range.split('-').next()?.parse::<usize>().ok());
            if first != Some(bytes.len()) {
                return Reply::new(416);
            }
            bytes.extend_from_slice(&asked.body);
            place(upload.unwrap_or_default(), bytes)
        }
        ("PUT", _) if upload.is_some() => {
            let Some(mut bytes) = upload.and_then(|number| held.uploads.remove(&number)) else {
                return unknown("BLOB_UPLOAD_UNKNOWN");
            };
            bytes.extend_from_slice(&asked.body);
            let digest = sha256(&bytes).to_string();
            if !query.replace("%3A", ":").contains(&digest) {
                return Reply::new(400)
                    .body(r#"{"errors":[{"code":"DIGEST_INVALID","message":"wrong digest"}]}"#);
            }
            held.blobs.insert(digest, bytes);
            Reply::new(201)
        }
        ("PUT", _) => put_manifest(rest, asked, held),
        ("GET", _) if rest.starts_with("referrers/") => {
            let subject = rest.rsplit('/').next().unwrap_or_default();
            if held.lists {
                referrers(subject, held)
            } else {
                Reply::new(404).body("404 page not found")
            }
        }
        ("HEAD" | "GET", _) => {
            let name = rest.rsplit('/').next().unwrap_or_default();
            if rest.starts_with("manifests/") {
                match held.manifests.get(name) {
                    Some((media_type, bytes)) => Reply::new(200)
                        .header("Content-Type", media_type.clone())
                        .header("Docker-Content-Digest", sha256(bytes).to_string())
                        .body(bytes.clone()),
                    None => unknown("MANIFEST_UNKNOWN"),
                }
            } else {
                match held.blobs.get(name) {
                    Some(bytes) => part(asked, bytes),
                    None => unknown("BLOB_UNKNOWN"),
                }
            }
        }
        _ => Reply::new(405),
    }
}

fn unknown(code: &str) -> Reply {
    Reply::new(404).body(format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#))
}

/// A blob, or the part of it that is asked for.
pub fn part(asked: &Asked, bytes: &[u8]) -> Reply {
    let first = asked.header("range").and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .split('-')
            .next()?
            .parse()
            .ok()
    });
    match first {
        None => Reply::new(200).body(bytes),
        Some(first) if first < bytes.len() => Reply::new(206)
            .header(
                "Content-Range",
                format!("bytes {first}-{}/{}", bytes.len() - 1, bytes.len()),
            )
            .body(&bytes[first..]),
        Some(_) => Reply::new(416),
    }
}

fn put_manifest(rest: &str, asked: &Asked, held: &mut Held) -> Reply {
    let value: serde_json::Value = serde_json::from_slice(&asked.body).unwrap_or_default();
    let named: HashSet<&str> = value["layers"]
        .as_array()
        .into_iter()
        .flatten()
        .chain([&value["config"]])
        .filter_map(|blob| blob["digest"].as_str())
        .collect();
    if named.iter().any(|digest| !held.blobs.contains_key(*digest)) {
        return Reply::new(400).body(r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}"#);
    }
    let media_type = asked.header("content-type").unwrap_or_default().to_owned();
    let digest = sha256(&asked.body).to_string();
    let name = rest.rsplit('/').next().unwrap_or_default().to_owned();
    let entry = (media_type, asked.body.clone());
    held.manifests.insert(name, entry.clone());
    held.manifests.insert(digest.clone(), entry);
    let reply = Reply::new(201).header("Docker-Content-Digest", digest);
    match value["subject"]["digest"].as_str() {
        Some(subject) if held.lists => reply.header("OCI-Subject", subject),
        _ => reply,
    }
}

/// What names this subject, as an index.
fn referrers(subject: &str, held: &Held) -> Reply {
    let entries: Vec<serde_json::Value> = held
        .manifests
        .iter()
        .filter(|(name, _)| name.starts_with("sha256:"))
        .filter_map(|(digest, (media_type, bytes))| {
            let value: serde_json::Value = serde_json::from_slice(bytes).ok()?;
            (value["subject"]["digest"] == subject).then(|| {
                serde_json::json!({
                    "mediaType": media_type,
                    "digest": digest,
                    "size": bytes.len(),
                    "artifactType": value["artifactType"],
                    "annotations": value["annotations"].as_object().cloned().unwrap_or_default(),
                })
            })
        })
        .collect();
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": entries,
    });
    Reply::new(200)
        .header("Content-Type", "application/vnd.oci.image.index.v1+json")
        .body(index.to_string())
}
