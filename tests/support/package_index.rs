//! A package index (PEP 503) on the loopback, with wheels that a test makes up.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Cursor, Write as _};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use warpdrive::oci::sha256;

use super::fake_registry::{FakeRegistry, Reply};

/// An application that needs a server alone: `wsgi.py`.
pub const WSGI: &str = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'1']\n";

/// A wheel in the making; `py3-none-any`.
#[derive(Clone)]
pub struct Wheel {
    name: String,
    version: String,
    metadata: String,
    files: BTreeMap<String, Vec<u8>>,
    /// In the archive, and in no RECORD.
    unlisted: BTreeMap<String, Vec<u8>>,
}

impl Wheel {
    /// With one module of the distribution's name that knows its version.
    pub fn new(name: &str, version: &str) -> Self {
        let module = name.replace('-', "_");
        Self {
            name: module.clone(),
            version: version.into(),
            metadata: format!("Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"),
            files: BTreeMap::new(),
            unlisted: BTreeMap::new(),
        }
        .file(
            &format!("{module}.py"),
            format!("VERSION = {version:?}\n").as_bytes(),
        )
    }

    /// A file, relative to `site-packages`.
    pub fn file(mut self, path: &str, content: &[u8]) -> Self {
        self.files.insert(path.into(), content.into());
        self
    }

    /// As it stands in a list of requirements.
    pub fn name(&self) -> String {
        self.name.replace('_', "-")
    }

    /// A file that its RECORD does not list.
    pub fn unlisted(mut self, path: &str, content: &[u8]) -> Self {
        self.unlisted.insert(path.into(), content.into());
        self
    }

    pub fn requires(mut self, requirement: &str) -> Self {
        let _ = writeln!(self.metadata, "Requires-Dist: {requirement}");
        self
    }

    pub fn file_name(&self) -> String {
        format!("{}-{}-py3-none-any.whl", self.name, self.version)
    }

    pub fn bytes(&self) -> Vec<u8> {
        let info = format!("{}-{}.dist-info", self.name, self.version);
        let mut files = self.files.clone();
        files.insert(format!("{info}/METADATA"), self.metadata.clone().into());
        files.insert(
            format!("{info}/WHEEL"),
            b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
                .to_vec(),
        );
        let mut record = String::new();
        for (path, content) in &files {
            let digest = sha256(content);
            let digest: Vec<u8> = (0..digest.digest().len())
                .step_by(2)
                .map(|at| {
                    u8::from_str_radix(&digest.digest()[at..at + 2], 16).expect("hexadecimal")
                })
                .collect();
            let hash = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
            let _ = writeln!(record, "{path},sha256={hash},{}", content.len());
        }
        let _ = writeln!(record, "{info}/RECORD,,");
        files.insert(format!("{info}/RECORD"), record.into());
        files.extend(self.unlisted.clone());
        let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
        for (path, content) in files {
            let mode = if content.starts_with(b"#!") {
                0o755
            } else {
                0o644
            };
            let options = zip::write::SimpleFileOptions::default().unix_permissions(mode);
            zip.start_file(path, options).expect("an entry");
            zip.write_all(&content).expect("its content");
        }
        zip.finish().expect("a wheel").into_inner()
    }
}

/// What has to be before an answer is given.
type Condition = Box<dyn Fn() -> bool + Send>;

type Files = BTreeMap<String, BTreeMap<String, Vec<u8>>>;

/// The index; wheels can be added while it serves.
pub struct PackageIndex {
    server: FakeRegistry,
    /// Name → file name → content, and what the index says its hash is.
    files: Arc<Mutex<Files>>,
    spoiled: Arc<Mutex<Option<String>>>,
    condition: Arc<Mutex<Option<Condition>>>,
}

impl PackageIndex {
    pub fn start() -> Self {
        Self::for_all_with(None)
    }

    /// One that asks for a login, `user:password`.
    pub fn private(login: &str) -> Self {
        let encoded = base64::engine::general_purpose::STANDARD.encode(login);
        Self::for_all_with(Some(format!("Basic {encoded}")))
    }

    fn for_all_with(login: Option<String>) -> Self {
        let files: Arc<Mutex<Files>> = Arc::default();
        let spoiled: Arc<Mutex<Option<String>>> = Arc::default();
        let condition: Arc<Mutex<Option<Condition>>> = Arc::default();
        let (shelf, bad) = (Arc::clone(&files), Arc::clone(&spoiled));
        let patience = Arc::clone(&condition);
        let server = FakeRegistry::start(move |asked| {
            if !comes(&patience) {
                return Reply::new(500);
            }
            if login.is_some() && asked.header("authorization") != login.as_deref() {
                return Reply::new(401).header("www-authenticate", "Basic realm=\"index\"");
            }
            let files = shelf.lock().expect("the files");
            let path = asked.target.trim_matches('/');
            if let Some(name) = path.strip_prefix("simple/") {
                let Some(found) = files.get(name) else {
                    return Reply::new(404);
                };
                let mut page = String::from("<!DOCTYPE html><html><body>\n");
                for (file, content) in found {
                    let hash = sha256(content);
                    let _ = writeln!(
                        page,
                        "<a href=\"/files/{file}#sha256={}\">{file}</a><br>",
                        hash.digest()
                    );
                }
                page.push_str("</body></html>\n");
                return Reply::new(200)
                    .header("content-type", "text/html")
                    .header("cache-control", "no-cache")
                    .body(page);
            }
            let file = path.strip_prefix("files/").unwrap_or_default();
            let Some(content) = files.values().find_map(|files| files.get(file)) else {
                return Reply::new(404);
            };
            let mut content = content.clone();
            if bad.lock().expect("the bad one").as_deref() == Some(file) {
                // Another archive, as good as the first but for its hash.
                content = Wheel::new("spoiled", "1").bytes();
            }
            Reply::new(200)
                .header("content-type", "application/octet-stream")
                .body(content)
        });
        Self {
            server,
            files,
            spoiled,
            condition,
        }
    }

    /// From now on nothing is answered before this holds; what never comes is an error after a while.
    pub fn wait_for(&self, condition: impl Fn() -> bool + Send + 'static) {
        *self.condition.lock().expect("the condition") = Some(Box::new(condition));
    }

    pub fn add(&self, wheel: &Wheel) {
        let name = wheel.name();
        let mut files = self.files.lock().expect("the files");
        files
            .entry(name)
            .or_default()
            .insert(wheel.file_name(), wheel.bytes());
    }

    /// A source distribution, of which the name alone counts: nobody gets to build it.
    pub fn add_sdist(&self, name: &str, version: &str) {
        let mut files = self.files.lock().expect("the files");
        let file = format!("{name}-{version}.tar.gz");
        files
            .entry(name.to_owned())
            .or_default()
            .insert(file, b"\x1f\x8b".to_vec());
    }

    /// Any file of a distribution.
    pub fn add_file(&self, name: &str, file: &str, content: Vec<u8>) {
        let mut files = self.files.lock().expect("the files");
        let of_name = files.entry(name.to_owned()).or_default();
        of_name.insert(file.to_owned(), content);
    }

    /// From now on another file is served in place of this wheel.
    pub fn spoil(&self, wheel: &Wheel) {
        *self.spoiled.lock().expect("the bad one") = Some(wheel.file_name());
    }

    /// The lines of all requests so far: `GET /simple/flask/`.
    pub fn asked(&self) -> Vec<String> {
        self.server.lines()
    }

    /// The address of a wheel.
    pub fn file_url(&self, wheel: &Wheel) -> String {
        format!(
            "http://{}/files/{}",
            self.server.address(),
            wheel.file_name()
        )
    }

    /// The SHA-256 of a wheel, hexadecimal.
    pub fn hash(wheel: &Wheel) -> String {
        sha256(&wheel.bytes()).digest().to_owned()
    }

    /// A `requirements.txt` that has everything from here.
    pub fn list(&self, requirements: &[&str]) -> String {
        let lines = requirements.join("\n");
        format!("--index-url {}\n{lines}\n", self.url())
    }

    /// [`WSGI`] with such a list.
    pub fn app(&self, requirements: &[&str]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        fs::write(place.path().join("wsgi.py"), WSGI).unwrap();
        fs::write(
            place.path().join("requirements.txt"),
            self.list(requirements),
        )
        .unwrap();
        place
    }

    /// Its address with a login.
    pub fn url_with(&self, login: &str) -> String {
        format!("http://{login}@{}/simple", self.server.address())
    }

    /// For `--index-url`.
    pub fn url(&self) -> String {
        format!("http://{}/simple", self.server.address())
    }
}

/// Waits for the condition, if there is one.
fn comes(condition: &Mutex<Option<Condition>>) -> bool {
    let end = Instant::now() + Duration::from_secs(30);
    while Instant::now() < end {
        let condition = condition.lock().expect("the condition");
        if condition.as_ref().is_none_or(|holds| holds()) {
            return true;
        }
        drop(condition);
        thread::sleep(Duration::from_millis(20));
    }
    false
}
