//! An image without fault, and what the audit says of such images with something more on them.

use md5::{Digest as _, Md5};
use serde_json::json;
use warpdrive::audit::{self, Date, Policy, Report, Severity};
use warpdrive::store::Store;

use super::made::{Layer, Made};

pub const SU: &[u8] = b"\x7fELF su";
pub const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/usr/sbin:/usr/sbin/nologin\n\
    default:x:1001:0::/opt/app-root:/bin/bash\n";
pub const SHADOW: &str = "root:*:19000:0:99999:7:::\ndefault:!:19000::::::\n";
pub const GROUP: &str = "root:x:0:\nshadow:x:42:\nsudo:x:27:\ndocker:x:999:\n";

pub fn md5_of(bytes: &[u8]) -> String {
    Md5::digest(bytes)
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// A base image as Debian's: su with its bit, and a package database that knows it.
pub fn debian() -> Layer {
    Layer::new()
        .dir("./", 0o755, (0, 0))
        .dir("etc/", 0o755, (0, 0))
        .file("etc/passwd", 0o644, PASSWD)
        .owned("etc/shadow", 0o640, (0, 42), SHADOW)
        .file("etc/group", 0o644, GROUP)
        .dir("tmp/", 0o1777, (0, 0))
        .dir("var/mail/", 0o2775, (0, 8))
        .file("usr/bin/su", 0o4755, SU)
        .file("usr/bin/bash", 0o755, "bash")
        .symlink("bin", "usr/bin")
        .file("var/lib/dpkg/status", 0o644, "Package: login\n")
        .file(
            "var/lib/dpkg/info/login.md5sums",
            0o644,
            format!("{}  bin/su\n", md5_of(SU)),
        )
}

pub fn app() -> Layer {
    Layer::new()
        .dir("opt/app-root/", 0o775, (1001, 0))
        .dir("opt/app-root/src/", 0o775, (1001, 0))
        .owned("opt/app-root/src/app.py", 0o664, (1001, 0), "app = 1\n")
}

/// Without any layer.
pub fn bare() -> Made {
    Made::new(&json!({
        "User": "1001",
        "WorkingDir": "/opt/app-root/src",
        "Env": ["PATH=/opt/app-root/bin:/usr/local/bin:/usr/bin:/bin", "HOME=/opt/app-root"],
    }))
}

/// An image without fault.
pub fn sound() -> Made {
    bare()
        .layer_by(debian(), "debootstrap")
        .layer_by(app(), "warpdrive: application")
}

pub fn with(layer: Layer) -> Made {
    sound().layer(layer)
}

pub fn today() -> Date {
    "2026-06-01".parse().unwrap()
}

pub fn audit_with(made: &Made, policy: &Policy) -> Report {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(Some(directory.path())).unwrap();
    made.put(&store, "made");
    let loaded = store.image("made").unwrap().unwrap();
    let image = audit::from_store(&store, "made", &loaded).unwrap();
    audit::audit(&image, policy, today()).unwrap()
}

pub fn audit_of(made: &Made) -> Report {
    audit_with(made, &Policy::default())
}

/// The findings but for the base's own su, which the base alone vouches for.
pub fn found(report: &Report) -> Vec<(&'static str, Severity)> {
    report
        .findings
        .iter()
        .filter(|finding| !["setuid-known", "base-unproven"].contains(&finding.rule))
        .map(|finding| (finding.rule, finding.severity))
        .collect()
}

/// Put together here so that no scanner of repositories takes it for one.
pub fn key() -> String {
    let body = "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5kL7n";
    format!("-----BEGIN {} KEY-----\n{body}\n{body}\n", "PRIVATE")
}

pub fn token() -> String {
    format!("ghp{}{}", "_", "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1eF3hJ5")
}
