//! The fault suite: each row is something that goes wrong between a client and a registry, and ends in
//! success or in a clear error, within its limit.

#![allow(clippy::unwrap_used)] // outside of #[test] functions too

use std::fmt::Write as _;
use std::fs;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::support::fake_registry::{Asked, FakeRegistry, Reply};
use crate::support::sound_registry::{Fault, Held, SoundRegistry, part};
use crate::support::stored::{noise, store};
use warpdrive::oci::{Descriptor, MediaType, Reference, descriptor, sha256};
use warpdrive::registry::{
    Client, ClientOptions, Event, Patience, Retry, Silent, TransferListener,
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const SIZE: usize = 400_000;
const ALWAYS: usize = usize::MAX;
/// captain:hunter2
const LOGIN: &str = "Basic Y2FwdGFpbjpodW50ZXIy";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Pull,
    /// To an empty registry.
    Push,
    /// To one that has the image.
    PushAgain,
}
use Way::{Pull, Push, PushAgain};

enum Ends {
    Well,
    /// With all of these words.
    Badly(&'static [&'static str]),
}
use Ends::{Badly, Well};

struct Row {
    name: &'static str,
    way: Way,
    faults: Vec<Fault>,
    ends: Ends,
    login: bool,
    /// The most requests whose target holds this text.
    most: Option<(&'static str, usize)>,
    /// The login is right at `/v2/`, and refused below it.
    taken: bool,
}

fn row(name: &'static str, way: Way, faults: Vec<Fault>, ends: Ends) -> Row {
    Row {
        name,
        way,
        faults,
        ends,
        login: false,
        most: None,
        taken: false,
    }
}

impl Row {
    fn with_login(mut self) -> Self {
        self.login = true;
        self
    }

    fn taken_at_first(mut self) -> Self {
        self.taken = true;
        self
    }

    fn at_most(mut self, text: &'static str, times: usize) -> Self {
        self.most = Some((text, times));
        self
    }
}

fn on(
    method: &'static str,
    part: &'static str,
    times: usize,
    reply: fn(&Asked, &mut Held) -> Option<Reply>,
) -> Vec<Fault> {
    vec![Fault {
        method,
        part,
        times,
        reply,
    }]
}

fn layer() -> Vec<u8> {
    noise(SIZE, 11)
}

fn blob_of<'h>(asked: &Asked, held: &'h Held) -> &'h [u8] {
    let digest = asked.target.rsplit('/').next().unwrap();
    held.blobs.get(digest).map_or(&[], Vec::as_slice)
}

/// The bytes of the layer and of no other blob.
fn large<'h>(asked: &Asked, held: &'h Held) -> Option<&'h [u8]> {
    let bytes = blob_of(asked, held);
    (bytes.len() == SIZE).then_some(bytes)
}

/// Whether this is the upload of the layer in one piece.
fn large_length(asked: &Asked) -> bool {
    asked.header("content-length") == Some("400000")
}

/// The layer is cut once; the rest is answered otherwise, and the whole as it should be.
fn cut_once(asked: &Asked, held: &mut Held, rest: Reply) -> Option<Reply> {
    let bytes = large(asked, held)?.to_vec();
    if asked.header("range").is_some() {
        return Some(rest);
    }
    (asked.before == 0).then(|| Reply::new(200).body(&bytes[..9]).length(SIZE as u64))
}

fn config() -> Vec<u8> {
    let architecture = warpdrive::oci::this_platform()
        .split_once('/')
        .unwrap()
        .1
        .to_owned();
    serde_json::json!({
        "architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
    })
    .to_string()
    .into_bytes()
}

fn manifest() -> Vec<u8> {
    let (layer, config) = (layer(), config());
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(MediaType::ImageConfig, sha256(&config), config.len() as u64),
        "layers": [descriptor(MediaType::ImageLayerGzip, sha256(&layer), layer.len() as u64)],
    })
    .to_string()
    .into_bytes()
}

fn held() -> Held {
    let mut held = Held::default();
    for bytes in [layer(), config()] {
        held.blobs.insert(sha256(&bytes).to_string(), bytes);
    }
    let bytes = manifest();
    for name in ["1".to_owned(), sha256(&bytes).to_string()] {
        held.manifests
            .insert(name, (MANIFEST.to_owned(), bytes.clone()));
    }
    held
}

fn json(media_type: &str, text: impl Into<Vec<u8>>) -> Reply {
    Reply::new(200)
        .header("Content-Type", media_type)
        .body(text)
}

fn changed(from: &str, to: &str) -> Reply {
    let text = String::from_utf8(manifest()).unwrap();
    assert!(text.contains(from), "{from}");
    json(MANIFEST, text.replace(from, to))
}

fn bearer(asked: &Asked) -> Reply {
    let host = asked.header("host").unwrap();
    Reply::new(401).header(
        "WWW-Authenticate",
        format!(r#"Bearer realm="http://{host}/token",service="test""#),
    )
}

/// To another place of the same registry, once.
fn sent_on(asked: &Asked, status: u16) -> Option<Reply> {
    let target = format!("{}?again", asked.target);
    (asked.complete && !asked.target.contains("again"))
        .then(|| Reply::new(status).header("Location", target))
}

/// A registry that wants tokens of its own token server, which answers `token`.
fn tokens(token: fn(&Asked, &mut Held) -> Option<Reply>) -> Vec<Fault> {
    let wants = |asked: &Asked, _: &mut Held| {
        let has = asked.header("authorization") == Some("Bearer t0ken");
        (!has && !asked.target.starts_with("/token")).then(|| bearer(asked))
    };
    let mut faults = on("GET", "/token", ALWAYS, token);
    faults.extend(on("*", "/v2/", ALWAYS, wants));
    faults
}

#[expect(clippy::unnecessary_wraps, reason = "the answer of a fault")]
fn good_token(_: &Asked, _: &mut Held) -> Option<Reply> {
    Some(Reply::new(200).body(r#"{"token": "t0ken", "expires_in": 3}"#))
}

fn basic(asked: &Asked, _: &mut Held) -> Option<Reply> {
    (asked.header("authorization") != Some(LOGIN))
        .then(|| Reply::new(401).header("WWW-Authenticate", r#"Basic realm="test""#))
}

fn soon(seconds: u64) -> String {
    httpdate(Duration::from_secs(seconds))
}

fn httpdate(after: Duration) -> String {
    // As `date -R` would write it, for the time after now.
    let time = std::time::SystemTime::now() + after;
    let seconds = time
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let out = std::process::Command::new("date")
        .args([
            "-u",
            "-d",
            &format!("@{seconds}"),
            "+%a, %d %b %Y %H:%M:%S GMT",
        ])
        .env("LC_ALL", "C")
        .output()
        .unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// A request with more than so many bytes is refused by a proxy, which has not read it.
fn at_most<const LIMIT: usize>(asked: &Asked, status: u16) -> Option<Reply> {
    let length: usize = asked.header("content-length")?.parse().ok()?;
    (length > LIMIT).then(|| Reply::new(status).body("<html><title>413 too large</title>"))
}

fn pulls() -> Vec<Row> {
    let blobs = "/blobs/sha256:";
    vec![
        row(
            "a 500 to the first questions",
            Pull,
            on("*", "/manifests/", 2, |_, _| Some(Reply::new(500))),
            Well,
        ),
        row(
            "a 503 that asks for no wait",
            Pull,
            on("GET", "/manifests/", 1, |_, _| {
                Some(Reply::new(503).header("Retry-After", "0"))
            }),
            Well,
        ),
        row(
            "a 429 that asks for a second",
            Pull,
            on("GET", blobs, 1, |_, _| {
                Some(Reply::new(429).header("Retry-After", "1"))
            }),
            Well,
        ),
        row(
            "a 429 with a date",
            Pull,
            on("GET", blobs, 1, |_, _| {
                Some(Reply::new(429).header("Retry-After", soon(1)))
            }),
            Well,
        ),
        row(
            "a 429 with a date that has gone by",
            Pull,
            on("GET", blobs, 1, |_, _| {
                Some(Reply::new(429).header("Retry-After", "Fri, 31 Dec 1999 23:59:59 GMT"))
            }),
            Well,
        ),
        row(
            "a 429 that asks for an hour",
            Pull,
            on("GET", "/manifests/", ALWAYS, |_, _| {
                Some(Reply::new(429).header("Retry-After", "3600"))
            }),
            Badly(&["asks to wait 1h", "until 20"]),
        )
        .at_most("/manifests/", 2),
        row(
            "a 503 with a date of tomorrow",
            Pull,
            on("GET", blobs, ALWAYS, |_, _| {
                Some(Reply::new(503).header("Retry-After", soon(86_400)))
            }),
            Badly(&["asks to wait", "waits 10m at most"]),
        ),
        row(
            "a 408",
            Pull,
            on("GET", blobs, 1, |_, _| Some(Reply::new(408))),
            Well,
        ),
        row(
            "a 504 that stays",
            Pull,
            on("GET", blobs, ALWAYS, |_, _| {
                Some(Reply::new(504).body("<html><head><title>504 Gateway Time-out</title></head>"))
            }),
            Badly(&["answered 504", "504 Gateway Time-out"]),
        ),
        row(
            "a connection that ends without an answer",
            Pull,
            on("GET", "/manifests/", 1, |_, _| {
                Some(Reply::hang_up_after(0))
            }),
            Well,
        ),
        row(
            "connections that end without an answer, always",
            Pull,
            on("GET", "/manifests/", ALWAYS, |_, _| {
                Some(Reply::hang_up_after(0))
            }),
            Badly(&["cannot reach"]),
        ),
        row(
            "keep-alive that ends after each answer",
            Pull,
            on("*", "", ALWAYS, |asked, held| {
                Some(crate::support::sound_registry::answer(asked, held).close())
            }),
            Well,
        ),
        row(
            "a manifest that is cut",
            Pull,
            on("GET", "/manifests/", ALWAYS, |_, _| {
                Some(json(MANIFEST, &manifest()[..100]).length(900))
            }),
            Badly(&["did not send all of it"]),
        ),
        row(
            "a cut, then a drop of each question for a part",
            Pull,
            on("GET", blobs, ALWAYS, |asked, held| {
                let bytes = large(asked, held)?.to_vec();
                if asked.header("range").is_some() {
                    return Some(Reply::hang_up_after(0));
                }
                (asked.before == 0).then(|| Reply::new(200).body(&bytes[..9]).length(SIZE as u64))
            }),
            Well,
        ),
        row(
            "a layer that is cut in the middle",
            Pull,
            on("GET", blobs, 1, |asked, held| {
                large(asked, held).map(|b| Reply::new(200).body(&b[..150_000]).length(SIZE as u64))
            }),
            Well,
        ),
        row(
            "a layer that is cut before its first byte",
            Pull,
            on("GET", blobs, 2, |asked, held| {
                large(asked, held).map(|_| Reply::new(200).length(SIZE as u64))
            }),
            Well,
        ),
        row(
            "a layer that is cut before its last byte",
            Pull,
            on("GET", blobs, 1, |asked, held| {
                large(asked, held).map(|b| Reply::new(200).body(&b[..SIZE - 1]).length(SIZE as u64))
            }),
            Well,
        ),
        row(
            "a layer that is cut every 50 kB",
            Pull,
            on("GET", blobs, 20, |asked, held| {
                large(asked, held)?;
                let mut reply = part(asked, blob_of(asked, held));
                let whole = reply.body.len();
                reply.body.truncate(50_000);
                (whole > 50_000).then(|| reply.length(whole as u64))
            }),
            Well,
        ),
        row(
            "a layer that is always cut at once",
            Pull,
            on("GET", blobs, ALWAYS, |asked, held| {
                large(asked, held).map(|_| Reply::new(200).length(SIZE as u64))
            }),
            Badly(&["ended after 0 of 400000 bytes"]),
        ),
        row(
            "ranges that are ignored",
            Pull,
            on("GET", blobs, 2, |asked, held| {
                large(asked, held).map(|b| {
                    if asked.header("range").is_some() {
                        Reply::new(200).body(b)
                    } else {
                        Reply::new(200).body(&b[..9]).length(SIZE as u64)
                    }
                })
            }),
            Well,
        ),
        row(
            "a 416 to the rest",
            Pull,
            on("GET", blobs, 2, |asked, held| {
                large(asked, held).map(|b| {
                    if asked.header("range").is_some() {
                        Reply::new(416)
                    } else {
                        Reply::new(200).body(&b[..9]).length(SIZE as u64)
                    }
                })
            }),
            Well,
        ),
        row(
            "another range than asked for",
            Pull,
            on("GET", blobs, ALWAYS, |asked, held| {
                large(asked, held).map(|b| {
                    if asked.header("range").is_some() {
                        Reply::new(206)
                            .header("Content-Range", "bytes 5-399999/400000")
                            .body(&b[5..])
                    } else {
                        Reply::new(200).body(&b[..9]).length(SIZE as u64)
                    }
                })
            }),
            Badly(&["ended after 9 of 400000 bytes"]),
        ),
        row(
            "a range that a proxy forbids",
            Pull,
            on("GET", blobs, ALWAYS, |asked, held| {
                cut_once(
                    asked,
                    held,
                    Reply::new(403).body("<title>no ranges</title>"),
                )
            }),
            Well,
        ),
        row(
            "a range that always fails",
            Pull,
            on("GET", blobs, ALWAYS, |asked, held| {
                cut_once(asked, held, Reply::new(500))
            }),
            Well,
        ),
        row(
            "a part that does not say which",
            Pull,
            on("GET", blobs, ALWAYS, |asked, held| {
                cut_once(asked, held, Reply::new(206).body(b"xyz"))
            }),
            Well,
        ),
        row(
            "other bytes after a cut",
            Pull,
            on("GET", blobs, 2, |asked, held| {
                large(asked, held).map(|b| {
                    if asked.header("range").is_some() {
                        part(asked, &vec![7; SIZE])
                    } else {
                        Reply::new(200).body(&b[..9]).length(SIZE as u64)
                    }
                })
            }),
            Well,
        ),
        row(
            "slow, but with some pace",
            Pull,
            on("GET", "/manifests/", ALWAYS, |_, _| {
                Some(json(MANIFEST, manifest()).drip(Duration::from_micros(500)))
            }),
            Well,
        ),
        row(
            "a byte at a time",
            Pull,
            on("GET", blobs, ALWAYS, |asked, held| {
                large(asked, held).map(|b| Reply::new(200).body(b).drip(Duration::from_millis(20)))
            }),
            Badly(&["sent only"]),
        ),
        row(
            "no answer at all",
            Pull,
            on("GET", "/manifests/", ALWAYS, |_, _| {
                Some(Reply::stall(Duration::from_secs(4)))
            }),
            Badly(&["nothing happened for"]),
        ),
        row(
            "something else than HTTP",
            Pull,
            on("GET", "/manifests/", ALWAYS, |_, _| {
                Some(Reply::raw("SSH-2.0-OpenSSH_9.9\r\n"))
            }),
            Badly(&["cannot reach"]),
        ),
        row(
            "a header that never ends",
            Pull,
            on("GET", "/manifests/", ALWAYS, |_, _| {
                Some(Reply::raw(
                    [b"HTTP/1.1 200 OK\r\nX: ".as_slice(), &[b'a'; 2_000_000]].concat(),
                ))
            }),
            Badly(&["cannot reach"]),
        ),
        row(
            "a manifest of 10 GB",
            Pull,
            on("GET", "/manifests/", ALWAYS, |_, _| {
                Some(json(MANIFEST, "{").length(10_000_000_000))
            }),
            Badly(&["larger than 4194304 bytes"]),
        ),
        row(
            "a manifest without end",
            Pull,
            on("GET", "/manifests/", ALWAYS, |_, _| {
                Some(Reply::raw(
                    [
                        format!("HTTP/1.1 200 OK\r\nContent-Type: {MANIFEST}\r\n\r\n").as_bytes(),
                        &[b' '; 5 << 20],
                    ]
                    .concat(),
                ))
            }),
            Badly(&["larger than 4194304 bytes"]),
        ),
        row(
            "a manifest of another digest",
            Pull,
            on("GET", "/manifests/", ALWAYS, |_, _| {
                Some(
                    json(MANIFEST, manifest())
                        .header("Docker-Content-Digest", sha256(b"x").to_string()),
                )
            }),
            Badly(&["arrived with the digest"]),
        ),
        row(
            "a page for a manifest",
            Pull,
            on("GET", "/manifests/", ALWAYS, |_, _| {
                Some(json("text/html", "<html>"))
            }),
            Badly(&["cannot be used"]),
        ),
        row(
            "a Helm chart",
            Pull,
            on("GET", "/manifests/", ALWAYS, |_, _| {
                Some(changed(
                    "application/vnd.oci.image.config.v1+json",
                    "application/vnd.cncf.helm.config.v1+json",
                ))
            }),
            Badly(&["Helm chart"]),
        ),
        row(
            "an encrypted layer",
            Pull,
            on("GET", "/manifests/", ALWAYS, |_, _| {
                Some(changed("tar+gzip", "tar+gzip+encrypted"))
            }),
            Badly(&["encrypted"]),
        ),
        row(
            "a foreign layer",
            Pull,
            on("GET", "/manifests/", ALWAYS, |_, _| {
                Some(changed(
                    "layer.v1.tar+gzip",
                    "layer.nondistributable.v1.tar+gzip",
                ))
            }),
            Badly(&["foreign"]),
        ),
        row(
            "schema 1",
            Pull,
            on("GET", "/manifests/", ALWAYS, |_, _| {
                Some(json("application/json", r#"{"schemaVersion":1}"#))
            }),
            Badly(&["schema 1"]),
        ),
        row(
            "an index without this machine",
            Pull,
            on("GET", "/manifests/", ALWAYS, |_, _| {
                let entry = serde_json::json!({"mediaType": MANIFEST, "digest": sha256(b"x"), "size": 1, "platform": {"os": "plan9", "architecture": "mips"}});
                let index =
                    serde_json::json!({"schemaVersion": 2, "manifests": [entry]}).to_string();
                Some(json("application/vnd.oci.image.index.v1+json", index))
            }),
            Badly(&["but for plan9/mips"]),
        ),
        row(
            "a tag that is not there",
            Pull,
            on("*", "/manifests/", ALWAYS, |_, _| Some(Reply::new(404))),
            Badly(&["has no `1` in crew/opal"]),
        )
        .at_most("/manifests/", 2),
        row(
            "a layer that is not there",
            Pull,
            on("GET", blobs, ALWAYS, |asked, held| {
                large(asked, held).map(|_| Reply::new(404))
            }),
            Badly(&["though the manifest names it"]),
        ),
        row(
            "a layer that is not allowed",
            Pull,
            on("GET", blobs, ALWAYS, |asked, held| {
                large(asked, held)
                    .map(|_| Reply::new(403).body(r#"{"errors":[{"code":"DENIED"}]}"#))
            }),
            Badly(&["did not allow", "without a login", "DENIED"]),
        ),
        row(
            "a layer of other bytes",
            Pull,
            on("GET", blobs, ALWAYS, |asked, held| {
                large(asked, held).map(|_| part(asked, &vec![7; SIZE]))
            }),
            Badly(&["arrived with the digest"]),
        ),
        row(
            "a layer that is too short",
            Pull,
            on("GET", blobs, ALWAYS, |asked, held| {
                large(asked, held).map(|b| Reply::new(200).body(&b[..9]))
            }),
            Badly(&["9 bytes or more in the registry, and 400000"]),
        ),
        row(
            "a layer that is too long",
            Pull,
            on("GET", blobs, ALWAYS, |asked, held| {
                large(asked, held).map(|b| Reply::new(200).body([b, b"x"].concat()))
            }),
            Badly(&["400001 bytes or more"]),
        ),
        row(
            "a redirect within the registry",
            Pull,
            on("GET", blobs, 2, |asked, _| {
                Some(Reply::new(307).header("Location", format!("{}?again", asked.target)))
            }),
            Well,
        ),
        row(
            "a redirect in a circle",
            Pull,
            on("GET", blobs, ALWAYS, |asked, _| {
                Some(Reply::new(307).header("Location", asked.target.clone()))
            }),
            Badly(&["redirects more than 8 times"]),
        ),
        row(
            "a redirect to nowhere",
            Pull,
            on("GET", blobs, ALWAYS, |_, _| Some(Reply::new(302))),
            Badly(&["redirects to nowhere"]),
        ),
        row(
            "a redirect to a net address in the clear",
            Pull,
            on("GET", blobs, ALWAYS, |_, _| {
                Some(Reply::new(302).header("Location", "http://registry.invalid/x"))
            }),
            Badly(&["neither https nor"]),
        ),
        row(
            "a redirect to a file",
            Pull,
            on("GET", blobs, ALWAYS, |_, _| {
                Some(Reply::new(302).header("Location", "file:///etc/passwd"))
            }),
            Badly(&["neither https nor"]),
        ),
        row(
            "tokens that live for seconds",
            Pull,
            tokens(good_token),
            Well,
        )
        .at_most("/token", 1),
        row(
            "a token that expires in the middle",
            Pull,
            {
                let mut faults = on("GET", blobs, 1, |asked, held| {
                    large(asked, held).map(|_| bearer(asked))
                });
                faults.extend(tokens(good_token));
                faults
            },
            Well,
        )
        .at_most("/token", 2),
        row(
            "a token server that fails first",
            Pull,
            {
                let mut faults = on("GET", "/token", 2, |_, _| Some(Reply::new(500)));
                faults.extend(tokens(good_token));
                faults
            },
            Well,
        ),
        row(
            "a token server with a page",
            Pull,
            tokens(|_, _| Some(Reply::new(200).body("<html>"))),
            Badly(&["not a token in JSON"]),
        ),
        row(
            "a token server without a token",
            Pull,
            tokens(|_, _| Some(Reply::new(200).body("{}"))),
            Badly(&["without a token"]),
        ),
        row(
            "a token with a line feed",
            Pull,
            tokens(|_, _| Some(Reply::new(200).body(r#"{"token": "a\nb"}"#))),
            Badly(&["does not fit into a header"]),
        ),
        row(
            "a token that is never right",
            Pull,
            tokens(|_, _| Some(Reply::new(200).body(r#"{"token": "other"}"#))),
            Badly(&["did not allow"]),
        )
        .at_most("/token", 6),
        row(
            "a token server that refuses the login",
            Pull,
            tokens(|_, _| {
                Some(Reply::new(401).body(r#"{"details":"incorrect username or password"}"#))
            }),
            Badly(&["for captain", "incorrect username"]),
        )
        .with_login()
        .at_most("/token", 1),
        row(
            "a token server in the clear elsewhere",
            Pull,
            on("*", "/v2/", ALWAYS, |_, _| {
                Some(Reply::new(401).header(
                    "WWW-Authenticate",
                    r#"Bearer realm="http://tokens.invalid/""#,
                ))
            }),
            Badly(&["cannot be trusted"]),
        )
        .with_login(),
        row(
            "a password that is right",
            Pull,
            on("*", "/v2/", ALWAYS, basic),
            Well,
        )
        .with_login(),
        row(
            "a password that is wrong",
            Pull,
            on("*", "/v2/", ALWAYS, |_, _| {
                Some(Reply::new(401).header("WWW-Authenticate", r#"Basic realm="test""#))
            }),
            Badly(&["did not allow", "for captain"]),
        )
        .with_login(),
        row(
            "a password that is taken at /v2/ and refused below",
            Pull,
            on("*", "/v2/", ALWAYS, |asked, _| {
                let shown = asked.header("authorization").is_some();
                (asked.target != "/v2/" || !shown)
                    .then(|| Reply::new(401).header("WWW-Authenticate", r#"Basic realm="test""#))
            }),
            Badly(&["did not allow", "for captain"]),
        )
        .with_login()
        .taken_at_first()
        .at_most("/v2/crew", 1),
        row(
            "no password",
            Pull,
            on("*", "/v2/", ALWAYS, basic),
            Badly(&["without a login"]),
        ),
        row(
            "a login by Negotiate",
            Pull,
            on("*", "/v2/", ALWAYS, |_, _| {
                Some(Reply::new(401).header("WWW-Authenticate", "Negotiate"))
            }),
            Badly(&[
                "negotiate, which warpdrive does not know",
                "without a login",
            ]),
        )
        .with_login(),
        row(
            "a 401 that does not say how",
            Pull,
            on("*", "/v2/crew", ALWAYS, |_, _| Some(Reply::new(401))),
            Badly(&["without a login"]),
        )
        .with_login(),
    ]
}

fn pushes() -> Vec<Row> {
    let uploads = "/blobs/uploads/";
    let manifests = "/manifests/";
    let blobs = "/blobs/sha256:";
    vec![
        row(
            "an upload that is cut before its first byte",
            Push,
            on("PUT", uploads, 1, |_, _| Some(Reply::hang_up_after(0))),
            Well,
        ),
        row(
            "an upload that is cut in the middle",
            Push,
            on("PUT", uploads, 1, |_, _| {
                Some(Reply::hang_up_after(100_000))
            }),
            Well,
        )
        .at_most("state=100000", 3),
        row(
            "an upload that is cut and forgotten",
            Push,
            on("PUT", uploads, 1, |_, held| {
                held.forgetful = true;
                Some(Reply::hang_up_after(100_000))
            }),
            Well,
        ),
        row(
            "a proxy that cuts each request at 300 kB",
            Push,
            on("*", uploads, ALWAYS, |asked, held| {
                held.forgetful = true;
                let length: usize = asked.header("content-length")?.parse().ok()?;
                (length > 300_000).then(|| Reply::hang_up_after(300_000))
            }),
            Well,
        ),
        row(
            "a proxy that cuts each connection at 300 kB, and all of an upload is lost",
            Push,
            on("*", uploads, ALWAYS, |asked, held| {
                held.forgetful = true;
                let length: usize = asked.header("content-length")?.parse().ok()?;
                if asked.taken + length <= 300_000 {
                    return None;
                }
                if asked.cut {
                    held.uploads.clear();
                }
                Some(Reply::hang_up_after(300_000 - asked.taken))
            }),
            Well,
        ),
        row(
            "a proxy that cuts each request at 10 kB",
            Push,
            on("*", uploads, ALWAYS, |asked, held| {
                held.forgetful = true;
                let length: usize = asked.header("content-length")?.parse().ok()?;
                (length > 10_000).then(|| Reply::hang_up_after(10_000))
            }),
            Badly(&["ended after"]),
        ),
        row(
            "a proxy that takes 100 kB at most",
            Push,
            on("*", uploads, ALWAYS, |asked, _| {
                at_most::<100_000>(asked, 413)
            }),
            Well,
        ),
        row(
            "a proxy that takes nothing",
            Push,
            on("*", uploads, ALWAYS, |asked, _| at_most::<1>(asked, 413)),
            Badly(&["413", "even in pieces of"]),
        ),
        row(
            "a registry that takes no blob in a PUT",
            Push,
            on("PUT", uploads, ALWAYS, |asked, _| at_most::<1>(asked, 405)),
            Well,
        ),
        row(
            "a registry that has not implemented a blob in a PUT",
            Push,
            on("PUT", uploads, ALWAYS, |asked, _| at_most::<1>(asked, 501)),
            Well,
        ),
        row(
            "a registry that fails on a blob in a PUT",
            Push,
            on("PUT", uploads, ALWAYS, |asked, _| at_most::<1>(asked, 500)),
            Well,
        ),
        row(
            "a registry that says how many bytes it has where the last of them belongs",
            Push,
            {
                let mut faults = on("PATCH", uploads, ALWAYS, |asked, held| {
                    if !asked.complete {
                        return None;
                    }
                    let right = crate::support::sound_registry::answer(asked, held);
                    let last = right.headers.iter().find(|(name, _)| name == "Range")?;
                    let last: usize = last.1.split_once('-')?.1.parse().ok()?;
                    let mut odd = right.clone();
                    odd.headers.retain(|(name, _)| name != "Range");
                    Some(odd.header("Range", format!("0-{}", last + 1)))
                });
                faults.extend(on("PUT", uploads, ALWAYS, |asked, _| {
                    at_most::<150_000>(asked, 413)
                }));
                faults
            },
            Well,
        ),
        row(
            "a registry that takes no end of an upload",
            Push,
            on("PUT", uploads, ALWAYS, |_, _| Some(Reply::new(405))),
            Badly(&["answered 405 to the end of the upload"]),
        ),
        row(
            "pieces may not be small",
            Push,
            {
                let mut faults = on("POST", uploads, ALWAYS, |asked, held| {
                    Some(
                        crate::support::sound_registry::answer(asked, held)
                            .header("OCI-Chunk-Min-Length", "150000"),
                    )
                });
                faults.extend(on("PATCH", uploads, ALWAYS, |asked, _| {
                    let range = asked.header("content-range")?;
                    let (first, last) = range.split_once('-')?;
                    let length = last.parse::<usize>().ok()? + 1 - first.parse::<usize>().ok()?;
                    (length < 150_000 && !last.ends_with("399999"))
                        .then(|| Reply::new(400).body("too small"))
                }));
                faults.extend(on("PUT", uploads, ALWAYS, |asked, _| {
                    at_most::<200_000>(asked, 413)
                }));
                faults
            },
            Well,
        ),
        row(
            "a piece whose answer is lost",
            Push,
            {
                let mut faults = on("PATCH", uploads, 1, |asked, held| {
                    if !asked.complete {
                        return None;
                    }
                    crate::support::sound_registry::answer(asked, held);
                    Some(Reply::raw(""))
                });
                faults.extend(on("PUT", uploads, ALWAYS, |asked, _| {
                    at_most::<200_000>(asked, 413)
                }));
                faults
            },
            Well,
        ),
        row(
            "a piece that is cut in the middle",
            Push,
            {
                let mut faults = on("PATCH", uploads, 1, |_, _| {
                    Some(Reply::hang_up_after(50_000))
                });
                faults.extend(on("PUT", uploads, ALWAYS, |asked, _| {
                    at_most::<200_000>(asked, 413)
                }));
                faults
            },
            Well,
        ),
        row(
            "a piece that is taken in part",
            Push,
            {
                let mut faults = on("PATCH", uploads, 1, |asked, held| {
                    if !asked.complete {
                        return None;
                    }
                    let mut half = asked.clone();
                    half.body.truncate(asked.body.len() / 2);
                    Some(crate::support::sound_registry::answer(&half, held))
                });
                faults.extend(on("PUT", uploads, ALWAYS, |asked, _| {
                    at_most::<200_000>(asked, 413)
                }));
                faults
            },
            Well,
        ),
        row(
            "more is told to be there than was sent",
            Push,
            {
                let mut faults = on("PATCH", uploads, 1, |asked, held| {
                    if !asked.complete {
                        return None;
                    }
                    let mut reply = crate::support::sound_registry::answer(asked, held);
                    for (name, value) in &mut reply.headers {
                        if name == "Range" {
                            *value = "0-399998".into();
                        }
                    }
                    Some(reply)
                });
                faults.extend(on("PUT", uploads, ALWAYS, |asked, _| {
                    at_most::<200_000>(asked, 413)
                }));
                faults
            },
            Well,
        ),
        row(
            "a 416 to a piece",
            Push,
            {
                let mut faults = on("PATCH", uploads, 1, |_, _| Some(Reply::new(416)));
                faults.extend(on("PUT", uploads, ALWAYS, |asked, _| {
                    at_most::<200_000>(asked, 413)
                }));
                faults
            },
            Well,
        ),
        row(
            "a 404 to a piece",
            Push,
            {
                let mut faults = on("PATCH", uploads, 1, |_, held| {
                    held.uploads.clear();
                    Some(Reply::new(404))
                });
                faults.extend(on("PUT", uploads, ALWAYS, |asked, _| {
                    at_most::<200_000>(asked, 413)
                }));
                faults
            },
            Well,
        ),
        row(
            "an expired token at a piece",
            Push,
            {
                let mut faults = on("PATCH", uploads, 1, |asked, _| Some(bearer(asked)));
                faults.extend(on("PUT", uploads, ALWAYS, |asked, _| {
                    at_most::<200_000>(asked, 413)
                }));
                faults.extend(tokens(good_token));
                faults
            },
            Well,
        ),
        row(
            "a lost answer to the end of an upload",
            Push,
            on("PUT", uploads, 2, |asked, held| {
                if !asked.complete {
                    return None;
                }
                crate::support::sound_registry::answer(asked, held);
                Some(Reply::raw(""))
            }),
            Well,
        )
        .at_most("digest=", 2),
        row(
            "a 502 to the end of an upload that came",
            Push,
            on("PUT", uploads, 2, |asked, held| {
                if !asked.complete {
                    return None;
                }
                crate::support::sound_registry::answer(asked, held);
                Some(Reply::new(502))
            }),
            Well,
        )
        .at_most("digest=", 2),
        row(
            "a 500 to the end of an upload",
            Push,
            on("PUT", uploads, 1, |_, _| Some(Reply::new(500))),
            Well,
        ),
        row(
            "a disk that is full",
            Push,
            on("PUT", uploads, ALWAYS, |_, _| {
                Some(
                    Reply::new(500).body(
                        r#"{"errors":[{"code":"UNKNOWN","message":"no space left on device"}]}"#,
                    ),
                )
            }),
            Badly(&["no space left on device"]),
        ),
        row(
            "a 507",
            Push,
            on("PUT", uploads, ALWAYS, |_, _| {
                Some(Reply::new(507).body("quota exceeded"))
            }),
            Badly(&["answered 507", "quota exceeded"]),
        ),
        row(
            "a digest that is said to be wrong",
            Push,
            on("PUT", uploads, ALWAYS, |_, _| {
                Some(Reply::new(400).body(r#"{"errors":[{"code":"DIGEST_INVALID"}]}"#))
            }),
            Badly(&["DIGEST_INVALID"]),
        ),
        row(
            "a 500 to the begin of an upload",
            Push,
            on("POST", uploads, 2, |_, _| Some(Reply::new(500))),
            Well,
        ),
        row(
            "a 307 to the begin of an upload, and a 308 to the manifest",
            Push,
            {
                let mut faults = on("POST", uploads, ALWAYS, |asked, _| sent_on(asked, 307));
                faults.extend(on("PUT", manifests, ALWAYS, |asked, _| sent_on(asked, 308)));
                faults
            },
            Well,
        ),
        row(
            "a 307 of the manifest to another host",
            Push,
            on("PUT", manifests, ALWAYS, |_, _| {
                Some(Reply::new(307).header("Location", "http://127.0.0.2:1/"))
            }),
            Badly(&["to another host"]),
        ),
        row(
            "an upload without a place",
            Push,
            on("POST", uploads, ALWAYS, |_, _| Some(Reply::new(202))),
            Badly(&["without saying where"]),
        ),
        row(
            "an upload at a place in the clear",
            Push,
            on("POST", uploads, ALWAYS, |_, _| {
                Some(Reply::new(202).header("Location", "http://registry.invalid/u"))
            }),
            Badly(&["neither https nor"]),
        ),
        row(
            "a blob that is said to be there without being sent",
            Push,
            on("POST", uploads, ALWAYS, |_, _| Some(Reply::new(201))),
            Badly(&["says that it has the blob"]),
        ),
        row(
            "a push that is not allowed",
            Push,
            on("POST", uploads, ALWAYS, |_, _| {
                Some(
                    Reply::new(403).body(r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#),
                )
            }),
            Badly(&["did not allow", "read only"]),
        ),
        row(
            "a blob that is taken and not there then",
            Push,
            on("PUT", uploads, ALWAYS, |asked, _| {
                asked.complete.then(|| Reply::new(201))
            }),
            Badly(&[
                "said that it has taken the blob sha256:",
                "does not have it",
            ]),
        ),
        row(
            "a blob that is taken and shown after a while",
            Push,
            on("HEAD", blobs, ALWAYS, |asked, held| {
                let is_here = !blob_of(asked, held).is_empty();
                // One question before the upload, two after it.
                (is_here && asked.before < 3).then(|| Reply::new(404))
            }),
            Well,
        ),
        row(
            "a manifest that is answered with a page",
            Push,
            on("PUT", manifests, ALWAYS, |asked, _| {
                asked
                    .complete
                    .then(|| Reply::new(200).body("<html><title>Please log in</title></html>"))
            }),
            Badly(&[
                "a page of HTML or XML, `Please log in`",
                "the upload of the manifest",
            ]),
        ),
        row(
            "a manifest that is answered with a page, as are questions for it",
            Push,
            on("*", manifests, ALWAYS, |asked, _| {
                asked
                    .complete
                    .then(|| Reply::new(200).body("<html><title>Please log in</title></html>"))
            }),
            Badly(&["a page of HTML or XML, `Please log in`"]),
        ),
        row(
            "a manifest that is taken and not there then",
            Push,
            on("PUT", manifests, ALWAYS, |asked, _| {
                asked.complete.then(|| Reply::new(201))
            }),
            Badly(&[
                "said that it has taken the manifest sha256:",
                "does not have it",
            ]),
        ),
        row(
            "a manifest of which the digest is not told",
            Push,
            on("PUT", manifests, ALWAYS, |asked, held| {
                if !asked.complete {
                    return None;
                }
                let mut reply = crate::support::sound_registry::answer(asked, held);
                reply.headers.clear();
                Some(reply)
            }),
            Well,
        )
        .at_most(manifests, 2),
        row(
            "another manifest under the tag",
            Push,
            on("PUT", manifests, ALWAYS, |asked, held| {
                if !asked.complete {
                    return None;
                }
                let other = (MANIFEST.to_owned(), b"{}".to_vec());
                held.manifests.insert("1".to_owned(), other);
                Some(Reply::new(201))
            }),
            Badly(&["does not have it"]),
        ),
        row(
            "a registry that is gone in the middle of an upload",
            Push,
            {
                let mut faults = on("PUT", uploads, ALWAYS, |asked, _| {
                    large_length(asked).then(|| Reply::hang_up_after(1000))
                });
                faults.extend(on("GET", uploads, ALWAYS, |_, _| Some(Reply::new(502))));
                faults
            },
            Badly(&["the upload of sha256:"]),
        )
        // Four tries, and a question after each.
        .at_most("/blobs/uploads/1", 8),
        row(
            "a wrong password at a push",
            Push,
            on("*", "/v2/", ALWAYS, |_, _| {
                Some(Reply::new(401).header("WWW-Authenticate", r#"Basic realm="test""#))
            }),
            Badly(&["for captain"]),
        )
        .with_login(),
        row(
            "an upload that is to wait for an hour",
            Push,
            on("PUT", uploads, ALWAYS, |asked, _| {
                let busy = || Reply::new(503).header("Retry-After", "3600");
                asked.complete.then(busy)
            }),
            Badly(&["127.0.0.1:", "asks to wait 1h"]),
        ),
        row(
            "a name that is not allowed",
            Push,
            on("POST", uploads, ALWAYS, |_, _| {
                Some(Reply::new(404).body(r#"{"errors":[{"code":"NAME_UNKNOWN"}]}"#))
            }),
            Badly(&["answered 404", "NAME_UNKNOWN"]),
        ),
        row(
            "a 500 to the question for a blob",
            Push,
            on("HEAD", blobs, 3, |_, _| Some(Reply::new(500))),
            Well,
        ),
        row(
            "a manifest that names blobs that are gone",
            PushAgain,
            on("HEAD", blobs, 1, |asked, held| {
                if asked.before == 0 {
                    let gone = asked.target.rsplit('/').next().unwrap().to_owned();
                    held.blobs.remove(&gone);
                }
                None
            }),
            Well,
        ),
        row(
            "a blob of another size",
            PushAgain,
            on("HEAD", blobs, 2, |_, _| Some(Reply::new(200).body("short"))),
            Well,
        ),
        row(
            "a blob that a full disk has left empty",
            PushAgain,
            on("HEAD", blobs, 1, |asked, held| {
                if asked.before == 0 {
                    let digest = asked.target.rsplit('/').next().unwrap().to_owned();
                    held.blobs.insert(digest, Vec::new());
                }
                None
            }),
            Well,
        ),
        row(
            "a damaged blob that stays",
            PushAgain,
            on("*", blobs, ALWAYS, |_, _| {
                Some(Reply::new(200).body("short"))
            }),
            Badly(&["keeps a damaged copy of sha256:"]),
        ),
        row(
            "a damaged blob of another repository, which is kept",
            Push,
            on("PUT", uploads, ALWAYS, |asked, held| {
                if !asked.complete {
                    return None;
                }
                let digest = asked.target.split("digest=").nth(1)?.replace("%3A", ":");
                held.blobs.insert(digest, Vec::new());
                Some(Reply::new(201))
            }),
            Badly(&["keeps a damaged copy of sha256:"]),
        ),
        row(
            "a blob that looks damaged for a while after it was sent",
            Push,
            on("HEAD", blobs, 6, |asked, held| {
                (!blob_of(asked, held).is_empty()).then(|| Reply::new(200).body("short"))
            })
            .into_iter()
            .chain(on("GET", blobs, 2, |asked, held| {
                (!blob_of(asked, held).is_empty()).then(|| Reply::new(200).body("short"))
            }))
            .collect(),
            Well,
        ),
        row(
            "a manifest whose blobs are seen only after a while",
            Push,
            on("PUT", "/manifests/", 3, |asked, _| {
                let unknown = r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN"}]}"#;
                asked.complete.then(|| Reply::new(400).body(unknown))
            }),
            Well,
        ),
        row(
            "an empty blob, of which a HEAD tells no length",
            PushAgain,
            on("HEAD", blobs, ALWAYS, |asked, held| {
                if asked.before == 0 {
                    let digest = asked.target.rsplit('/').next()?.to_owned();
                    held.blobs.insert(digest, Vec::new());
                }
                Some(Reply::raw("HTTP/1.1 200 X\r\nConnection: close\r\n\r\n"))
            }),
            Well,
        ),
        row(
            "an empty blob, of which a GET tells no length either",
            PushAgain,
            on("HEAD", blobs, ALWAYS, |asked, held| {
                if asked.before == 0 {
                    let digest = asked.target.rsplit('/').next()?.to_owned();
                    held.blobs.insert(digest, Vec::new());
                }
                Some(Reply::new(200))
            })
            .into_iter()
            .chain(on("GET", blobs, ALWAYS, |asked, held| {
                blob_of(asked, held).is_empty().then(|| {
                    let head = "HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n";
                    Reply::raw(format!("{head}Connection: close\r\n\r\n0\r\n\r\n"))
                })
            }))
            .collect(),
            Well,
        ),
        row(
            "a blob that a HEAD finds and a GET does not",
            PushAgain,
            on("HEAD", blobs, ALWAYS, |asked, held| {
                if asked.before == 0 {
                    let digest = asked.target.rsplit('/').next()?.to_owned();
                    held.blobs.remove(&digest);
                }
                Some(Reply::new(200))
            }),
            Well,
        ),
        row(
            "a token server that fails",
            Push,
            tokens(|_, _| Some(Reply::new(500))),
            Badly(&["answered 500 to the question for a token"]),
        )
        .with_login()
        .at_most("/token", 4),
        row(
            "a token server that is busy for an hour",
            Push,
            tokens(|_, _| Some(Reply::new(429).header("Retry-After", "3600"))),
            Badly(&["asks to wait 1h"]),
        )
        .at_most("/token", 1),
        row(
            "a gateway that tells another size",
            PushAgain,
            on("HEAD", blobs, ALWAYS, |_, _| {
                Some(Reply::new(200).body("short"))
            }),
            Well,
        )
        .at_most(uploads, 0),
        row(
            "a token that is forbidden",
            Push,
            tokens(|_, _| Some(Reply::new(403))),
            Badly(&["did not allow", "for captain"]),
        )
        .with_login()
        .at_most("/token", 1),
        row(
            "a token that is a bad request without a login",
            Push,
            tokens(|_, _| Some(Reply::new(400))),
            Badly(&["did not allow", "without a login"]),
        )
        .at_most("/token", 1),
        row(
            "a gateway that tells no size",
            PushAgain,
            on("HEAD", blobs, ALWAYS, |_, _| Some(Reply::new(200))),
            Well,
        )
        .at_most(uploads, 0),
        row(
            "a blob that is lost after the question",
            PushAgain,
            on("PUT", "/manifests/", 1, |asked, held| {
                if !asked.complete || asked.before > 0 {
                    return None;
                }
                held.blobs.clear();
                None
            }),
            Well,
        ),
        row(
            "a manifest that is stored as another",
            Push,
            on("PUT", "/manifests/", ALWAYS, |_, _| {
                Some(Reply::new(201).header("Docker-Content-Digest", sha256(b"x").to_string()))
            }),
            Badly(&["arrived with the digest"]),
        ),
        row(
            "a manifest that is not taken",
            Push,
            on("PUT", "/manifests/", ALWAYS, |_, _| {
                Some(Reply::new(400).body(r#"{"errors":[{"code":"MANIFEST_INVALID"}]}"#))
            }),
            Badly(&["MANIFEST_INVALID"]),
        ),
        row(
            "a 503 to the manifest",
            Push,
            on("PUT", "/manifests/", 2, |_, _| Some(Reply::new(503))),
            Well,
        ),
        row(
            "a tag that may not change, unchanged",
            PushAgain,
            on("PUT", "/manifests/", ALWAYS, |_, _| Some(Reply::new(412))),
            Well,
        ),
        row(
            "a tag that may not change, unchanged, by a 403",
            PushAgain,
            on("PUT", "/manifests/", ALWAYS, |_, _| Some(Reply::new(403))),
            Well,
        ),
        row(
            "a manifest that may not be put",
            Push,
            on("PUT", "/manifests/", ALWAYS, |_, _| Some(Reply::new(403))),
            Badly(&["did not allow"]),
        ),
        row(
            "keep-alive that ends after each answer, pushed",
            Push,
            on("*", "", ALWAYS, |asked, held| {
                if !asked.complete {
                    return None;
                }
                Some(crate::support::sound_registry::answer(asked, held).close())
            }),
            Well,
        ),
    ]
}

fn play(row: &Row, faults: Vec<Fault>) -> Result<(), String> {
    let start = match row.way {
        Push => Held::default(),
        Pull | PushAgain => held(),
    };
    let registry = SoundRegistry::start(faults, start);
    let name: Reference = format!("{}/crew/opal:1", registry.address())
        .parse()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut options = ClientOptions {
        retry: Retry {
            attempts: 4,
            first_wait: Duration::from_millis(5),
            ..Retry::default()
        },
        patience: Patience {
            idle: Duration::from_secs(1),
            grace: Duration::from_secs(1),
            least_pace: 10_000,
        },
        ..ClientOptions::default()
    };
    if row.login {
        let path = dir.path().join("auth.json");
        let auth = LOGIN.strip_prefix("Basic ").unwrap();
        let json = format!(
            r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#,
            registry.address()
        );
        fs::write(&path, json).unwrap();
        options.auth_files.push(path);
    }
    let (_dir, store) = store();
    let client = Client::new(options).unwrap();
    let begin = Instant::now();
    let outcome = if row.way == Pull {
        client.pull(&name, &store, &Silent).map(drop)
    } else {
        for bytes in [layer(), config(), manifest()] {
            store.put_blob(&bytes).unwrap();
        }
        client.push(&image(), &store, &name, &Silent).map(drop)
    };
    let took = begin.elapsed();
    let mut wrong = String::new();
    if took > Duration::from_secs(15) {
        let _ = write!(wrong, "it took {took:?}; ");
    }
    match (&outcome, &row.ends) {
        (Ok(()), Well) => {
            let whole = if row.way == Pull {
                let image = [sha256(&layer()), sha256(&config()), sha256(&manifest())];
                image.iter().all(|digest| store.has_blob(digest))
            } else {
                let held = registry.held();
                let blobs = [layer(), config()];
                blobs
                    .iter()
                    .all(|bytes| held.blobs.get(&sha256(bytes).to_string()) == Some(bytes))
                    && held.manifests["1"].1 == manifest()
            };
            if !whole {
                wrong.push_str("it ended well, and the image is not whole; ");
            }
        }
        (Err(error), Badly(words)) => {
            let text = format!("{error}");
            for part in *words {
                if !text.contains(part) {
                    let _ = write!(wrong, "`{part}` is not in: {text}; ");
                }
            }
            if row.way == Pull && store.has_blob(&sha256(&manifest())) {
                wrong.push_str("the manifest is in the store; ");
            }
        }
        (outcome, _) => {
            let _ = write!(wrong, "it ended in {outcome:?}; ");
        }
    }
    if let Err(error) = &outcome {
        let all = format!("{error} {error:?} {:?}", error.hint());
        for secret in ["hunter2", "Y2FwdGFpbjpodW50ZXIy", "t0ken"] {
            if all.contains(secret) {
                let _ = write!(wrong, "it tells {secret}; ");
            }
        }
        if let RegistryDenied(Some(_)) = denied(error)
            && registry
                .asked()
                .iter()
                .filter(|asked| asked.header("authorization") == Some(LOGIN))
                .count()
                != 1 + usize::from(row.taken)
        {
            wrong.push_str("a refused login was sent more than once, or never; ");
        }
    }
    if let Some((text, most)) = row.most {
        let count = registry
            .lines()
            .iter()
            .filter(|line| line.contains(text))
            .count();
        if count > most {
            let _ = write!(
                wrong,
                "{count} requests for {text}: {:#?}",
                registry.lines()
            );
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("{} ({:?}): {wrong}", row.name, row.way))
    }
}

struct RegistryDenied(Option<String>);

fn denied(error: &warpdrive::registry::RegistryError) -> RegistryDenied {
    RegistryDenied(match error {
        warpdrive::registry::RegistryError::Unauthorized(denied) => denied.login.clone(),
        _ => None,
    })
}

fn image() -> Descriptor {
    let bytes = manifest();
    descriptor(MediaType::ImageManifest, sha256(&bytes), bytes.len() as u64)
}

/// Plays all rows, some at a time.
fn play_all(rows: Vec<Row>) {
    let wrong = Mutex::new(Vec::new());
    let rows = Mutex::new(rows.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let Some(mut row) = rows.lock().unwrap().next() else {
                        return;
                    };
                    let faults = std::mem::take(&mut row.faults);
                    if let Err(words) = play(&row, faults) {
                        wrong.lock().unwrap().push(words);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn each_fault_of_a_pull_ends_well_or_clearly() {
    play_all(pulls());
}

#[test]
fn each_fault_of_a_push_ends_well_or_clearly() {
    play_all(pushes());
}

#[test]
fn there_are_enough_faults() {
    assert!(pulls().len() + pushes().len() >= 60);
}

/// A client with a login, and an image of many small layers in a store.
fn many_layers(
    address: &str,
) -> (
    tempfile::TempDir,
    tempfile::TempDir,
    warpdrive::store::Store,
    Client,
    Descriptor,
    Reference,
) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.json");
    let auth = LOGIN.strip_prefix("Basic ").unwrap();
    let logins = serde_json::json!({"auths": {address: {"auth": auth}}});
    fs::write(&path, logins.to_string()).unwrap();
    let client = Client::new(ClientOptions {
        auth_files: vec![path],
        ..ClientOptions::default()
    })
    .unwrap();
    let (keep, store) = store();
    let layers: Vec<Descriptor> = (0..40)
        .map(|number| {
            let bytes = noise(100, number);
            let (digest, size) = store.put_blob(&bytes).unwrap();
            descriptor(MediaType::ImageLayerGzip, digest, size)
        })
        .collect();
    let mut image: serde_json::Value = serde_json::from_slice(&manifest()).unwrap();
    image["layers"] = serde_json::to_value(layers).unwrap();
    let bytes = image.to_string().into_bytes();
    for bytes in [&config(), &bytes] {
        store.put_blob(bytes).unwrap();
    }
    let manifest = descriptor(MediaType::ImageManifest, sha256(&bytes), bytes.len() as u64);
    let name: Reference = format!("{address}/crew/opal:1").parse().unwrap();
    (dir, keep, store, client, manifest, name)
}

/// A registry that answers 403 to a wrong password locks the user out after some of them.
#[test]
fn a_password_that_is_forbidden_is_not_sent_by_all_threads() {
    let registry = FakeRegistry::start(|asked| match asked.header("authorization") {
        Some(LOGIN) => Reply::new(403),
        _ => Reply::new(401).header("WWW-Authenticate", r#"Basic realm="test""#),
    });
    let (_dir, _keep, store, client, manifest, name) = many_layers(registry.address());
    let error = client.push(&manifest, &store, &name, &Silent).unwrap_err();
    assert!(error.to_string().contains("for captain"), "{error}");
    let tries = registry
        .asked()
        .iter()
        .filter(|asked| asked.header("authorization") == Some(LOGIN))
        .count();
    assert!(tries <= 3, "{:#?}", registry.lines());
}

/// What answers everybody at `/v2/`, or answers it with something else, says nothing of a password.
#[test]
fn a_refused_password_stops_all_threads() {
    type Rule = fn(&Asked) -> Option<Reply>;
    let wants = |asked: &Asked| -> Option<Reply> {
        let refused = Reply::new(401).header("WWW-Authenticate", r#"Basic realm="test""#);
        // The others come meanwhile.
        if asked.header("authorization").is_some() {
            std::thread::sleep(Duration::from_millis(30));
        }
        Some(refused)
    };
    let sends = |asked: &Asked| asked.header("authorization").is_some();
    let rules: [(&str, usize, Rule); 6] = [
        ("an open /v2/", 1, |_| None),
        ("reading is open", 1, |asked| {
            matches!(asked.method.as_str(), "GET" | "HEAD").then(|| Reply::new(404))
        }),
        ("429 at /v2/", 2, |asked| {
            let shown = asked.target == "/v2/" && asked.header("authorization").is_some();
            shown.then(|| Reply::new(429))
        }),
        ("a lost connection at /v2/", 3, |asked| {
            let shown = asked.target == "/v2/" && asked.header("authorization").is_some();
            shown.then(|| Reply::hang_up_after(0))
        }),
        ("200 at /v2/, 401 below", 2, |asked| {
            let shown = asked.target == "/v2/" && asked.header("authorization").is_some();
            shown.then(|| Reply::new(200))
        }),
        ("200 at /v2/, 403 below", 3, |asked| {
            let shown = asked.header("authorization").is_some();
            shown.then(|| Reply::new(if asked.target == "/v2/" { 200 } else { 403 }))
        }),
    ];
    for (what, most, rule) in rules {
        let open = matches!(what, "an open /v2/" | "reading is open");
        let registry = FakeRegistry::start(move |asked| {
            if open && asked.target == "/v2/" {
                return Reply::new(200);
            }
            rule(asked).or_else(|| wants(asked)).unwrap()
        });
        let (_dir, _keep, store, client, manifest, name) = many_layers(registry.address());
        let error = client.push(&manifest, &store, &name, &Silent).unwrap_err();
        assert!(error.to_string().contains("for captain"), "{what}: {error}");
        let tries = registry.asked().iter().filter(|asked| sends(asked)).count();
        assert!(tries <= most, "{what}: {tries} {:#?}", registry.lines());
    }
}

/// Whoever may write and not read pushes nevertheless.
#[test]
fn a_login_that_may_only_write_is_enough_for_a_push() {
    let held = Mutex::new(Held::default());
    let registry = FakeRegistry::start(move |asked| {
        if asked.header("authorization") != Some(LOGIN) {
            return Reply::new(401).header("WWW-Authenticate", r#"Basic realm="test""#);
        }
        if asked.target != "/v2/" && matches!(asked.method.as_str(), "GET" | "HEAD") {
            return Reply::new(403);
        }
        crate::support::sound_registry::answer(asked, &mut held.lock().unwrap())
    });
    let (_dir, _keep, store, client, manifest, name) = many_layers(registry.address());
    client.push(&manifest, &store, &name, &Silent).unwrap();
}

/// The registry sends uploads to a host that does not answer: that one is named, and each try is one.
#[test]
fn a_dead_host_for_uploads_is_named() {
    let closed = crate::support::http::free_port();
    let dead = format!("127.0.0.1:{closed}");
    let place = format!("http://{dead}/upload");
    let registry = FakeRegistry::start(move |asked| match asked.target.as_str() {
        "/v2/" => Reply::new(200),
        "/v2/crew/opal/blobs/uploads/" => Reply::new(202).header("Location", place.clone()),
        _ => Reply::new(404),
    });
    let (_dir, store) = store();
    for blob in [layer(), config(), manifest()] {
        store.put_blob(&blob).unwrap();
    }
    let name: Reference = format!("{}/crew/opal:1", registry.address())
        .parse()
        .unwrap();
    let retry = Retry {
        attempts: 5,
        first_wait: Duration::from_millis(1),
        ..Retry::default()
    };
    let client = Client::new(ClientOptions {
        retry,
        jobs: Some(1),
        ..ClientOptions::default()
    })
    .unwrap();
    let waits = Waits::default();
    let error = client.push(&image(), &store, &name, &waits).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("cannot reach {dead}: "))
            && text.contains(&format!("{} sends uploads there", registry.address())),
        "{text}"
    );
    let waits = waits.0.into_inner().unwrap();
    assert_eq!(waits.len(), 4, "{waits:#?}");
    assert!(waits.iter().all(|wait| wait.contains(&dead)), "{waits:#?}");
}

/// The reasons of waits.
#[derive(Default)]
struct Waits(Mutex<Vec<String>>);

impl TransferListener for Waits {
    fn event(&self, event: &Event<'_>) {
        if let Event::Retry { reason, .. } = event {
            self.0.lock().unwrap().push((*reason).to_owned());
        }
    }
}

/// `0-0` is one byte after one byte was sent, and the word for none before.
#[test]
fn a_blob_of_one_byte_goes_in_pieces() {
    for (chunk, faults) in [
        (Some(1), Vec::new()),
        (
            None,
            on("PUT", "/blobs/uploads/", ALWAYS, |asked, _| {
                let whole = asked.header("content-length") == Some("1");
                (whole && asked.complete).then(|| Reply::new(405))
            }),
        ),
        // What a try that was cut has left is one byte, or none: it is begun anew.
        (
            None,
            on("PUT", "/blobs/uploads/", 1, |asked, _| {
                let whole = asked.header("content-length") == Some("1");
                whole.then(|| Reply::hang_up_after(1))
            }),
        ),
    ] {
        let registry = SoundRegistry::start(faults, Held::default());
        let (_dir, store) = store();
        let one = b"x".to_vec();
        let layer = descriptor(MediaType::ImageLayer, sha256(&one), 1);
        let mut image: serde_json::Value = serde_json::from_slice(&manifest()).unwrap();
        image["layers"] = serde_json::json!([layer]);
        let bytes = image.to_string().into_bytes();
        for blob in [&one, &config(), &bytes] {
            store.put_blob(blob).unwrap();
        }
        let manifest = descriptor(MediaType::ImageManifest, sha256(&bytes), bytes.len() as u64);
        let name: Reference = format!("{}/crew/opal:1", registry.address())
            .parse()
            .unwrap();
        let retry = Retry {
            attempts: 4,
            first_wait: Duration::from_millis(1),
            ..Retry::default()
        };
        let client = Client::new(ClientOptions {
            retry,
            chunk_size: chunk,
            ..ClientOptions::default()
        })
        .unwrap();
        client.push(&manifest, &store, &name, &Silent).unwrap();
        assert_eq!(registry.held().blobs[sha256(&one).as_ref()], one);
    }
}

/// The registry says that the digest is wrong, and is right: the store is to blame.
#[test]
fn a_blob_that_is_damaged_or_cut_here_is_not_the_registrys_fault() {
    let mut flipped = layer();
    flipped[7] ^= 1;
    let of_length = |length| {
        let mut bytes = layer();
        bytes.resize(length, 0);
        bytes
    };
    for bytes in [flipped, of_length(0), of_length(7), of_length(SIZE + 9)] {
        let length = bytes.len();
        let registry = SoundRegistry::start(Vec::new(), Held::default());
        let (_dir, store) = store();
        for blob in [layer(), config(), manifest()] {
            store.put_blob(&blob).unwrap();
        }
        let path = store.blob_path(&sha256(&layer()));
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let name: Reference = format!("{}/crew/opal:1", registry.address())
            .parse()
            .unwrap();
        let client = Client::new(ClientOptions::default()).unwrap();
        let error = client.push(&image(), &store, &name, &Silent).unwrap_err();
        assert!(
            error.to_string().contains("in the store is damaged") && !error.is_remote(),
            "{length}: {error}"
        );
    }
}

/// A place that the registry sends us to refuses: it is asked for a new one, once, and neither the
/// registry nor the login is blamed.
#[test]
fn a_cdn_that_refuses_is_asked_again_once_and_blamed() {
    for (refusals, works) in [(1, true), (ALWAYS, false)] {
        let cdn = FakeRegistry::start(move |asked| {
            if asked.before < refusals {
                return Reply::new(403).body("<html><title>Request has expired</title>");
            }
            Reply::new(200).body(layer())
        });
        let address = cdn.address().to_owned();
        let registry = FakeRegistry::start(move |asked| {
            if asked.header("authorization") != Some(LOGIN) {
                return Reply::new(401).header("WWW-Authenticate", r#"Basic realm="test""#);
            }
            if asked.target.ends_with(sha256(&layer()).as_ref()) {
                return Reply::new(307)
                    .header("Location", format!("http://{address}/signed?s=hunter2"));
            }
            let asked = Asked {
                complete: true,
                ..asked.clone()
            };
            crate::support::sound_registry::answer(&asked, &mut held())
        });
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        let auth = LOGIN.strip_prefix("Basic ").unwrap();
        fs::write(
            &path,
            format!(
                r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#,
                registry.address()
            ),
        )
        .unwrap();
        let client = Client::new(ClientOptions {
            auth_files: vec![path],
            ..ClientOptions::default()
        })
        .unwrap();
        let (_dir, store) = store();
        let name: Reference = format!("{}/crew/opal:1", registry.address())
            .parse()
            .unwrap();
        let outcome = client.pull(&name, &store, &Silent);
        assert_eq!(outcome.is_ok(), works, "{outcome:?}");
        assert_eq!(cdn.asked().len(), 2);
        if let Err(error) = outcome {
            let text = error.to_string();
            assert!(
                text.contains(&format!("{} answered 403", cdn.address()))
                    && text.contains("Request has expired")
                    && text.contains(registry.address()),
                "{text}"
            );
            assert!(
                !text.contains("captain") && !text.contains("hunter2"),
                "{text}"
            );
        }
    }
}
