//! Ways to root that a layer can open for the user 1001, and their near twins: the audit and a real run
//! agree on each.
//!
//! All lie on one base: Debian 12 with a setuid su, sudo and a database for the name service, whose
//! package database knows every file.

#![allow(clippy::unwrap_used, reason = "a test")]

mod at_run_time;
mod base;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::str::FromStr as _;
use std::sync::Mutex;

use md5::{Digest as _, Md5};
use serde_json::json;
use warpdrive::audit::{self, Date, Policy, Report, Severity};
use warpdrive::oci::{HistoryEntry, ImageConfig, MediaType, descriptor, sha256, to_canonical_json};
use warpdrive::store::Store;

use crate::support::made::{Layer, on_top};
use crate::support::podman::Podman;
use crate::support::process;
use crate::support::run::RunOptions;
use crate::support::warpdrive::Warpdrive;

const BASE: &str = "corpus-base";
const ACCOUNTS: &str = "root:x:0:0:root:/root:/bin/bash\napp:x:1001:1001::/home/app:/bin/bash\n";
const GROUPS: &str = "root:x:0:\nshadow:x:42:\nsudo:x:27:\nops:x:1500:\napp:x:1001:\n";
const SHADOW: &str = "root:*:19000::::::\napp:!:19000::::::\n";
const LIBRARIES: &str = "usr/lib/x86_64-linux-gnu";

/// `openssl passwd -6` of a word that is on no list.
const HASH: &str = "$6$Zk3vRr0qTq8xW1pe$T//5xe5d.jp5.UXF0YhLGIBt1sxp./IxC80FxOk2x7Ugqd1eCVTqU30Ov8OBiaLKmRrkcBlz8gU8RTEpkyYc1.";

const SU: &str = "su -c 'id -u' </dev/null";
const SU_WITH_WORD: &str = "echo 'correct horse battery' | su -c 'id -u'";
const SU_TO_OWN: &str = "echo 'correct horse battery' | su app -c 'cat /tmp/told'";
const CHSH: &str = "chsh -s /bin/sh app </dev/null";
const PASSWD: &str = "passwd </dev/null";
const SUDO_WITH_WORD: &str = "echo 'correct horse battery' | sudo -S id -u";
const SUDO_FOR_ROOT: &str = "echo 'correct horse battery' | sudo -S -u root id -u";
const SUDO: &str = "sudo -n id -u";
const SUDO_ASKING: &str = "sudo -S id -u </dev/null";

/// What runs as root when it is loaded by a program that is root, once.
const OWN: &str = "int geteuid(), setuid(), setgid(), execl(), putenv(); char *getenv();\n\
    int misc_conv() { return 0; }\n\
    __attribute__((constructor)) static void begin(void) {\n\
    if (geteuid() == 0 && !getenv(\"OWN\")) { putenv(\"OWN=1\"); setgid(0); setuid(0);\n\
    execl(\"/usr/bin/id\", \"id\", \"-u\", (char *)0); } }\n";

/// What the base has besides the distribution's own.
const PACKAGES: [&str; 4] = ["sudo", "libnss-db", "passwd", "libpam-cap"];

/// What the cases are made of.
struct Parts {
    files: base::Files,
    /// With links to the packages' directories.
    directory: tempfile::TempDir,
}

impl Parts {
    fn new(more: &[&str]) -> Self {
        let files = base::Files::of(&[&PACKAGES[..], more].concat());
        let directory = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(files.packages()).unwrap() {
            let entry = entry.unwrap();
            let link = directory.path().join(entry.file_name());
            std::os::unix::fs::symlink(entry.path(), link).unwrap();
        }
        Self { files, directory }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A file of the base.
    fn shipped(&self, path: &str) -> Vec<u8> {
        let mut archive = tar::Archive::new(fs::File::open(self.files.base()).unwrap());
        for entry in archive.entries_with_seek().unwrap() {
            let mut entry = entry.unwrap();
            if entry.path().unwrap().strip_prefix("./").ok() == Some(Path::new(path)) {
                let mut bytes = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
                return bytes;
            }
        }
        panic!("{path} is not in the base");
    }

    /// The files of the packages, with their lists.
    fn layer(&self, add: impl FnOnce(&Self, Layer) -> Layer) -> Vec<u8> {
        let mut layer = add(self, Layer::new())
            .file("etc/passwd", 0o644, ACCOUNTS)
            .file("etc/group", 0o644, GROUPS)
            .owned("etc/shadow", 0o640, (0, 42), SHADOW)
            .file("etc/sudoers", 0o440, "root ALL=(ALL:ALL) ALL\n")
            .owned("etc/gshadow", 0o640, (0, 42), "root:*::\nsudo:*::\n")
            .file("usr/bin/su", 0o4755, self.shipped("usr/bin/su"))
            .file("usr/bin/newgrp", 0o4755, self.shipped("usr/bin/newgrp"))
            .dir("opt/own", 0o755, (0, 0))
            .symlink(&format!("{LIBRARIES}/libnss_db.so.2"), "libnss_db-2.2.3.so")
            .symlink(
                "usr/libexec/sudo/libsudo_util.so.0",
                "libsudo_util.so.0.0.0",
            );
        for (package, path, mode) in [
            ("sudo", "usr/bin/sudo", 0o4755),
            ("sudo", "usr/libexec/sudo/libsudo_util.so.0.0.0", 0o644),
            ("sudo", "usr/libexec/sudo/sudoers.so", 0o644),
            ("sudo", "usr/libexec/sudo/group_file.so", 0o644),
            ("sudo", "etc/pam.d/sudo", 0o644),
            ("sudo", "etc/sudo.conf", 0o644),
            ("libnss-db", "usr/bin/makedb", 0o755),
            ("passwd", "usr/bin/chsh", 0o4755),
            ("passwd", "usr/bin/passwd", 0o4755),
            ("passwd", "usr/bin/gpasswd", 0o4755),
            ("passwd", "etc/pam.d/chsh", 0o644),
            ("passwd", "etc/pam.d/passwd", 0o644),
        ] {
            layer = layer.file(path, mode, fs::read(self.path(package).join(path)).unwrap());
        }
        let module = self.path("libnss-db/lib/x86_64-linux-gnu/libnss_db-2.2.3.so");
        layer = layer.file(
            &format!("{LIBRARIES}/libnss_db-2.2.3.so"),
            0o644,
            fs::read(module).unwrap(),
        );
        let module = self.path("libpam-cap/lib/x86_64-linux-gnu/security/pam_cap.so");
        layer = layer.file(
            &format!("{LIBRARIES}/security/pam_cap.so"),
            0o644,
            fs::read(module).unwrap(),
        );
        for package in PACKAGES {
            layer = self.list_of(layer, package);
        }
        layer.bytes()
    }

    /// The base's layer with this one on it.
    fn on_the_base(&self, layer: &[u8]) -> Vec<u8> {
        let base = fs::read(self.files.base()).unwrap();
        // Engines refuse an archive that has a path twice: what is replaced is cut out.
        let replaced: BTreeSet<PathBuf> = tar::Archive::new(layer)
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().into_owned())
            .collect();
        let mut tar = Vec::with_capacity(base.len() + layer.len());
        let mut kept = 0;
        let mut end = 0;
        for entry in tar::Archive::new(&base[..]).entries().unwrap() {
            let entry = entry.unwrap();
            let path = entry.path().unwrap().into_owned();
            let begin = usize::try_from(entry.raw_header_position()).unwrap();
            let content = usize::try_from(entry.raw_file_position()).unwrap();
            let size = usize::try_from(entry.size()).unwrap();
            end = content + size.div_ceil(512) * 512;
            if replaced.contains(path.strip_prefix("./").unwrap_or(&path)) {
                tar.extend_from_slice(&base[kept..begin]);
                kept = end;
            }
        }
        tar.extend_from_slice(&base[kept..end]);
        tar.extend_from_slice(layer);
        tar
    }

    /// Adds what the package database says of a package.
    fn list_of(&self, layer: Layer, package: &str) -> Layer {
        let list = fs::read(self.path(&format!("{package}.control/md5sums"))).unwrap();
        layer.file(&format!("var/lib/dpkg/info/{package}.md5sums"), 0o644, list)
    }

    /// A library of one's own, under this soname.
    fn own(&self, soname: &str) -> Vec<u8> {
        let (source, target) = (self.path("own.c"), self.path(soname));
        fs::write(&source, OWN).unwrap();
        process::run(
            Command::new("cc")
                .args(["-shared", "-fPIC", "-nostartfiles", "-O1"])
                .arg(format!("-Wl,-soname,{soname}"))
                .arg("-o")
                .arg(&target)
                .arg(&source),
        );
        fs::read(target).unwrap()
    }

    /// As [`Self::own`], for sudo's own library: with all names that sudo takes from it.
    fn standing_in(&self) -> Vec<u8> {
        let soname = "libsudo_util.so.0";
        let names = Command::new("nm")
            .args(["-D", "--defined-only", "--format=posix"])
            .arg(self.path("sudo/usr/libexec/sudo/libsudo_util.so.0.0.0"))
            .output()
            .unwrap()
            .stdout;
        let names = String::from_utf8(names).unwrap();
        let names: String = names
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ');
                let name = words.next()?.split('@').next()?;
                Some((name, words.next()?.eq_ignore_ascii_case("T")))
            })
            .fold(String::new(), |text, (name, is_code)| {
                let made = if is_code {
                    format!("void {name}() {{}}\n")
                } else {
                    format!("char {name}[64];\n")
                };
                text + &made
            });
        assert!(!names.is_empty());
        let (source, target) = (self.path("standing.c"), self.path(soname));
        fs::write(&source, format!("{OWN}{names}")).unwrap();
        process::run(
            Command::new("cc")
                .args(["-shared", "-fPIC", "-nostartfiles", "-O1", "-fno-builtin"])
                .arg(format!("-Wl,-soname,{soname}"))
                .arg("-o")
                .arg(&target)
                .arg(&source),
        );
        fs::read(target).unwrap()
    }

    /// `/etc/ld.so.cache` of a system where libraries lie in `/opt/own`.
    fn cache(&self, soname: &str) -> Vec<u8> {
        let root = self.path(&format!("cache-{soname}"));
        fs::create_dir_all(root.join("opt/own")).unwrap();
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("opt/own").join(soname), self.own(soname)).unwrap();
        fs::write(root.join("etc/ld.so.conf"), "/opt/own\n").unwrap();
        process::run(Command::new("ldconfig").arg("-r").arg(&root));
        fs::read(root.join("etc/ld.so.cache")).unwrap()
    }
}

fn md5(bytes: &[u8]) -> String {
    Md5::digest(bytes)
        .iter()
        .fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        })
}

/// The base as an image of one layer.
fn put_base(store: &Store, tar: &[u8]) {
    let mut config = ImageConfig::new("linux", "amd64");
    config.set("User", json!("1001"));
    config.set("WorkingDir", json!("/opt"));
    config.set(
        "Env",
        json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]),
    );
    let history = HistoryEntry {
        created: "1980-01-01T00:00:01Z".into(),
        created_by: "mmdebstrap".into(),
        empty_layer: false,
    };
    config.push_layer(&sha256(tar), &history);
    let (digest, size) = store.put_blob(tar).unwrap();
    let layer = descriptor(MediaType::ImageLayer, digest, size);
    let (digest, size) = store.put_blob(&config.to_bytes()).unwrap();
    let config = descriptor(MediaType::ImageConfig, digest, size);
    let manifest = to_canonical_json(&json!({
        "schemaVersion": 2, "mediaType": MediaType::ImageManifest.to_string(),
        "config": config, "layers": [layer],
    }))
    .unwrap();
    let (digest, size) = store.put_blob(&manifest).unwrap();
    store
        .tag(BASE, &descriptor(MediaType::ImageManifest, digest, size))
        .unwrap();
}

/// The engine with the images of a store.
struct Engine {
    podman: Podman,
    layout: PathBuf,
}

impl Engine {
    /// Takes an image out of the store: its layers that are new, so that the base's is taken once.
    fn take(&self, name: &str) -> String {
        let image = format!("localhost/corpus:{name}");
        process::run(self.podman.other("skopeo").args([
            "--insecure-policy",
            "copy",
            "--quiet",
            &format!("oci:{}:{name}", self.layout.display()),
            &format!("containers-storage:{image}"),
        ]));
        image
    }

    fn run(&self, name: &str, script: &str) -> Output {
        let image = self.take(name);
        self.podman
            .output(&RunOptions::new(image).command(["sh", "-c", script]))
    }
}

fn judged(store: &Store, name: &str, base: Option<&str>) -> Report {
    let open = |name: &str| {
        let image = store.image(name).unwrap().unwrap();
        audit::from_store(store, name, &image).unwrap()
    };
    let mut image = open(name);
    if let Some(base) = base {
        image.trust(&open(base)).unwrap();
    }
    let today = Date::from_str("2026-06-01").unwrap();
    audit::audit_remembering(store, &image, &Policy::default(), today).unwrap()
}

/// What the audit has to say of a way.
#[derive(Clone, Copy)]
enum Says {
    /// A finding of high severity of this rule.
    High(&'static str),
    /// The image alone cannot tell: `self-vouched`, and this rule once the base is named.
    WithBase(&'static str),
}

/// A way to root, and its near twin, which is none: layers, and what is tried.
struct Case {
    name: &'static str,
    says: Says,
    script: &'static str,
    way: Layer,
    twin: Layer,
}

fn case(
    name: &'static str,
    rule: &'static str,
    script: &'static str,
    make: impl Fn(bool) -> Layer,
) -> Case {
    Case {
        name,
        says: Says::High(rule),
        script,
        way: make(true),
        twin: make(false),
    }
}

fn pick<'t>(is_way: bool, way: &'t str, twin: &'t str) -> &'t str {
    if is_way { way } else { twin }
}

fn of_pam(parts: &Parts) -> Vec<Case> {
    let shipped = |path: &str| String::from_utf8(parts.shipped(path)).unwrap();
    let su = shipped("etc/pam.d/su");
    let common = shipped("etc/pam.d/common-auth");
    let open = "auth sufficient pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n";
    let rule = "app ALL=(ALL) ALL\n";
    let modules = format!("{LIBRARIES}/security");
    vec![
        case("pam-su", "pam", SU, |way| {
            let line = pick(
                way,
                "auth sufficient pam_permit.so",
                "session sufficient pam_permit.so",
            );
            Layer::new().file("etc/pam.d/su", 0o644, format!("{line}\n{su}"))
        }),
        case("pam-common-auth", "pam", SU, |way| {
            let control = pick(way, "sufficient", "optional");
            let text = format!("auth {control} pam_permit.so\n{common}");
            Layer::new().file("etc/pam.d/common-auth", 0o644, text)
        }),
        case("pam-link", "account-unreadable", SU, |way| {
            let layer = Layer::new().file("opt/own/su", 0o644, open);
            if way {
                layer.symlink("etc/pam.d/su", "/opt/own/su")
            } else {
                // A link within the directory is followed.
                layer
                    .file("etc/pam.d/su-own", 0o644, &su)
                    .symlink("etc/pam.d/su", "su-own")
            }
        }),
        case("pam-below-usr-lib", "pam", SU, |way| {
            let layer = Layer::new().file("usr/lib/pam.d/su", 0o644, open);
            if way {
                layer.whiteout("etc/pam.d/su")
            } else {
                layer
            }
        }),
        case("pam-sudo", "pam", SUDO_ASKING, |way| {
            Layer::new().file("etc/pam.d/sudo", 0o644, open).file(
                "etc/sudoers",
                0o440,
                pick(way, rule, "ops ALL=(ALL) ALL\n"),
            )
        }),
        case("pam-unix", "library", SU, |way| {
            let path = format!("{modules}/{}", pick(way, "pam_unix.so", "pam_unused.so"));
            Layer::new().file(&path, 0o644, parts.own("pam_unix.so"))
        }),
        case("pam-exec", "pam", SU, |way| {
            let line = "optional pam_exec.so seteuid stdout /usr/bin/id -u";
            let kind = pick(way, "auth", "session");
            Layer::new().file("etc/pam.d/su", 0o644, format!("{kind} {line}\n{su}"))
        }),
        case("libpam-misc", "library", SU, |way| {
            let bytes = if way {
                parts.own("libpam_misc.so.0")
            } else {
                parts.shipped(&format!("{LIBRARIES}/libpam_misc.so.0.82.1"))
            };
            Layer::new().file(&format!("{LIBRARIES}/libpam_misc.so.0.82.1"), 0o644, bytes)
        }),
    ]
}

/// A program that tells the id it has.
const TELLS: &str = "#!/bin/sh\n/usr/bin/id -u | tee /tmp/told\n";

fn of_all_stacks_of_pam(parts: &Parts) -> Vec<Case> {
    let shipped = |path: &str| String::from_utf8(parts.shipped(path)).unwrap();
    let su = shipped("etc/pam.d/su");
    let session = shipped("etc/pam.d/common-session");
    let password = shipped("etc/pam.d/common-password");
    let own = parts.own("own.so");
    let runs = "optional pam_exec.so seteuid stdout /opt/own/tells";
    let told = |path: &str, text: String| {
        Layer::new()
            .file("opt/own/tells", 0o755, TELLS)
            .file(path, 0o644, text)
    };
    let shadow = |field: &str| format!("root:*:19000::::::\napp:{field}:19000::::::\n");
    vec![
        case("pam-module-of-a-session", "library", SU, |way| {
            let comment = pick(way, "", "# ");
            let text = format!("{session}{comment}session optional /opt/own/own.so\n");
            Layer::new().file("opt/own/own.so", 0o644, &own).file(
                "etc/pam.d/common-session",
                0o644,
                text,
            )
        }),
        case("pam-module-of-an-included-session", "library", SU, |way| {
            // Of a file that is included for a session, the lines of other kinds are nothing.
            let kind = pick(way, "session", "account");
            Layer::new()
                .file("opt/own/own.so", 0o644, &own)
                .file(
                    "etc/pam.d/own",
                    0o644,
                    format!("{kind} optional /opt/own/own.so\n"),
                )
                .file("etc/pam.d/su", 0o644, format!("{su}session include own\n"))
        }),
        case("pam-module-of-a-password", "library", PASSWD, |way| {
            let comment = pick(way, "", "# ");
            let text = format!("{password}{comment}password optional /opt/own/own.so\n");
            Layer::new().file("opt/own/own.so", 0o644, &own).file(
                "etc/pam.d/common-password",
                0o644,
                text,
            )
        }),
        case("pam-program-of-a-password", "pam", PASSWD, |way| {
            let first = pick(way, "required pam_permit.so", "required pam_deny.so");
            let text = format!("password {first}\npassword {runs}\n");
            told("etc/pam.d/passwd", text)
        }),
        case("pam-program-of-an-account", "pam", CHSH, |way| {
            let first = pick(way, "sufficient pam_permit.so", "required pam_deny.so");
            let text = format!("auth {first}\naccount {runs}\naccount required pam_permit.so\n");
            told("etc/pam.d/chsh", text)
        }),
        case("pam-program-without-seteuid", "pam", CHSH, |way| {
            let first = pick(way, "sufficient pam_permit.so", "required pam_deny.so");
            let runs = "account required pam_exec.so stdout /usr/bin/id -u";
            told("etc/pam.d/chsh", format!("auth {first}\n{runs}\n"))
        }),
        case("pam-program-of-an-own-session", "pam", SU_TO_OWN, |way| {
            let lock = pick(way, "", "!");
            told("etc/pam.d/su", format!("{su}session {runs}\n")).owned(
                "etc/shadow",
                0o640,
                (0, 42),
                shadow(&format!("{lock}{HASH}")),
            )
        }),
    ]
}

fn of_groups_and_passwords(parts: &Parts) -> Vec<Case> {
    let rule = "%sudo ALL=(ALL) NOPASSWD: ALL\n";
    let secrets = |text: &str| {
        Layer::new().file("etc/sudoers", 0o440, rule).owned(
            "etc/gshadow",
            0o640,
            (0, 42),
            format!("root:*::\n{text}\n"),
        )
    };
    let shadow = |app: &str, ops: &str, rules: &str| {
        let accounts = format!("{ACCOUNTS}ops:x:1500:1500::/home/ops:/bin/bash\n");
        let text = format!("root:*:19000::::::\napp:{app}:19000::::::\nops:{ops}:19000::::::\n");
        Layer::new()
            .file("etc/passwd", 0o644, accounts)
            .owned("etc/shadow", 0o640, (0, 42), text)
            .file("etc/sudoers", 0o440, rules)
    };
    let locked = format!("!{HASH}");
    let app_rule = "app ALL=(ALL) ALL\n";
    let ops_rule = "ops ALL=(ALL) NOPASSWD: ALL\n";
    let su_ops = "echo 'correct horse battery' | su ops -c 'sudo -n id -u'";
    vec![
        case(
            "group-member-of-gshadow",
            "sudo-nopasswd",
            "echo 'sudo -n id -u' | newgrp sudo",
            |way| secrets(pick(way, "sudo:*::app", "sudo:*::ops")),
        ),
        case(
            "group-administrator",
            "sudo-nopasswd",
            "gpasswd -a app sudo >/dev/null; echo 'sudo -n id -u' | newgrp sudo",
            |way| secrets(pick(way, "sudo:*:app:", "sudo:*:ops:")),
        ),
        case(
            "sudo-with-a-known-password",
            "sudo-rule",
            SUDO_WITH_WORD,
            |way| shadow(pick(way, HASH, &locked), "!", app_rule),
        ),
        case(
            "sudo-with-an-empty-password",
            "sudo-rule",
            SUDO_ASKING,
            |way| shadow(pick(way, "", "!"), "!", app_rule),
        ),
        case("sudo-as-no-root", "sudo-rule", SUDO_WITH_WORD, |way| {
            let rule = pick(way, "app ALL=(root) ALL\n", "app ALL=(ops) ALL\n");
            shadow(HASH, "!", rule)
        }),
        case("sudo-of-another-account", "sudo-rule", su_ops, |way| {
            shadow("!", pick(way, HASH, &locked), ops_rule)
        }),
        case(
            "sudo-asking-for-another",
            "sudo-rule",
            SUDO_FOR_ROOT,
            |way| {
                let default = pick(way, "Defaults runaspw,runas_default=ops\n", "");
                shadow("!", HASH, &format!("{default}{app_rule}"))
            },
        ),
        case("sudo-rules-elsewhere", "account-unreadable", SUDO, |way| {
            let file = pick(way, "/opt/own/rules", "/etc/sudoers");
            Layer::new()
                .file("opt/own/rules", 0o440, "app ALL=(ALL) NOPASSWD: ALL\n")
                .file(
                    "etc/sudo.conf",
                    0o644,
                    format!("Plugin sudoers_policy sudoers.so sudoers_file={file}\n"),
                )
        }),
        case(
            "sudo-settings-behind-a-link",
            "account-unreadable",
            SUDO,
            |way| {
                let layer = Layer::new().file(
                    "opt/own/sudo.conf",
                    0o644,
                    "Plugin sudoers_policy sudoers.so sudoers_file=/opt/own/rules\n",
                );
                let layer = layer.file("opt/own/rules", 0o440, "app ALL=(ALL) NOPASSWD: ALL\n");
                if way {
                    layer.symlink("etc/sudo.conf", "/opt/own/sudo.conf")
                } else {
                    layer
                }
            },
        ),
        case("sudo-rules-of-a-directory", "library", SUDO, |way| {
            Layer::new()
                .file(
                    &format!("{LIBRARIES}/libsss_sudo.so"),
                    0o644,
                    parts.own("libsss_sudo.so"),
                )
                .file(
                    "etc/nsswitch.conf",
                    0o644,
                    format!(
                        "passwd: files\ngroup: files\nshadow: files\nsudoers: {}\n",
                        pick(way, "sss files", "files")
                    ),
                )
        }),
    ]
}

fn of_the_linker_and_the_name_service(parts: &Parts, database: &[u8]) -> Vec<Case> {
    let own = parts.own("libown.so");
    let switch = |passwd: &str, shadow: &str| {
        format!("passwd: {passwd}\ngroup: files\nshadow: {shadow}\nhosts: files\n")
    };
    vec![
        case("preload", "preload", SU, |way| {
            let text = pick(way, "/opt/own/libown.so\n", "# /opt/own/libown.so\n");
            Layer::new().file("opt/own/libown.so", 0o644, &own).file(
                "etc/ld.so.preload",
                0o644,
                text,
            )
        }),
        case("preload-behind-a-link", "account-unreadable", SU, |way| {
            let layer = Layer::new().file("opt/own/libown.so", 0o644, &own).file(
                "opt/own/preload",
                0o644,
                "/opt/own/libown.so\n",
            );
            if way {
                layer.symlink("etc/ld.so.preload", "/opt/own/preload")
            } else {
                layer
            }
        }),
        case("linker-cache", "library", SU, |way| {
            let soname = pick(way, "libpam_misc.so.0", "libunused.so.0");
            Layer::new()
                .file(&format!("opt/own/{soname}"), 0o644, parts.own(soname))
                .file("etc/ld.so.cache", 0o644, parts.cache(soname))
        }),
        case("name-service-module", "library", SU, |way| {
            Layer::new()
                .file(
                    &format!("{LIBRARIES}/libnss_own.so.2"),
                    0o644,
                    parts.own("libnss_own.so.2"),
                )
                .file(
                    "etc/nsswitch.conf",
                    0o644,
                    switch(pick(way, "own files", "files"), "files"),
                )
        }),
        case(
            "name-service-database",
            "name-service",
            SU_WITH_WORD,
            |way| {
                Layer::new()
                    .file("var/lib/misc/shadow.db", 0o644, database)
                    .file(
                        "etc/nsswitch.conf",
                        0o644,
                        switch("files", pick(way, "db files", "files")),
                    )
            },
        ),
        case(
            "acl",
            "account-writable",
            "echo 'own::0:0::/:/bin/sh' >>/etc/passwd; su own -c 'id -u' </dev/null",
            |way| {
                let mut list = 2_u32.to_le_bytes().to_vec();
                let permissions: u16 = if way { 6 } else { 4 };
                for (tag, permissions, id) in [
                    (1_u16, 6, u32::MAX),
                    (2, permissions, 1001_u32),
                    (4, 4, u32::MAX),
                    (0x10, permissions, u32::MAX),
                    (0x20, 4, u32::MAX),
                ] {
                    list.extend(tag.to_le_bytes());
                    list.extend(permissions.to_le_bytes());
                    list.extend(id.to_le_bytes());
                }
                Layer::new().xattr("system.posix_acl_access", &list).file(
                    "etc/passwd",
                    0o644,
                    ACCOUNTS,
                )
            },
        ),
    ]
}

/// A catalogue of messages (gettext's `.mo`) in a character set.
fn catalogue(charset: &str, messages: &[(&str, &str)]) -> Vec<u8> {
    let header = format!("Content-Type: text/plain; charset={charset}\n");
    let all: Vec<(&str, &str)> = [("", header.as_str())]
        .into_iter()
        .chain(messages.iter().copied())
        .collect();
    let count = u32::try_from(all.len()).unwrap();
    let words = |of: &[u32]| {
        of.iter()
            .flat_map(|word| word.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    let (originals, translations) = (28, 28 + 8 * count);
    let mut file = words(&[0x9504_12de, 0, count, originals, translations, 0, 0]);
    let mut at = translations + 8 * count;
    let (mut tables, mut texts) = (Vec::new(), Vec::new());
    let of_originals = all.iter().map(|(original, _)| original);
    for text in of_originals.chain(all.iter().map(|(_, translation)| translation)) {
        let length = u32::try_from(text.len()).unwrap();
        tables.extend(words(&[length, at]));
        texts.extend_from_slice(text.as_bytes());
        texts.push(0);
        at += length + 1;
    }
    file.extend(tables);
    file.extend(texts);
    file
}

/// su asks for a password in the caller's language, whose character set is converted by a module.
fn of_conversions(parts: &Parts) -> Vec<Case> {
    const SU_IN_A_LANGUAGE: &str = "echo | LANG=C.UTF-8 LANGUAGE=xx su -c 'id -u'";
    let list = "module OWN// INTERNAL /opt/own/own 1\nmodule INTERNAL OWN// /opt/own/own 1\n";
    let gconv = format!("{LIBRARIES}/gconv");
    let messages = catalogue("OWN", &[("Password: ", "Word: ")]);
    let language = || {
        Layer::new()
            .file("opt/own/own.so", 0o644, parts.own("own.so"))
            .file(
                "usr/share/locale/xx/LC_MESSAGES/Linux-PAM.mo",
                0o644,
                &messages,
            )
    };
    let shipped = String::from_utf8(parts.shipped(&format!("{gconv}/gconv-modules"))).unwrap();
    vec![
        case("conversions", "library", SU_IN_A_LANGUAGE, |way| {
            // Without the list that iconvconfig made, the text counts.
            let text = format!("{shipped}{}", pick(way, list, ""));
            language()
                .whiteout(&format!("{gconv}/gconv-modules.cache"))
                .file(&format!("{gconv}/gconv-modules"), 0o644, text)
        }),
        case(
            "conversions-of-a-directory",
            "library",
            SU_IN_A_LANGUAGE,
            |way| {
                let place = pick(way, "gconv/gconv-modules.d", "gconv-modules.d");
                language()
                    .whiteout(&format!("{gconv}/gconv-modules.cache"))
                    .file(&format!("{LIBRARIES}/{place}/own.conf"), 0o644, list)
            },
        ),
    ]
}

fn of_sudo(parts: &Parts) -> Vec<Case> {
    let sudoers = |text: &str| Layer::new().file("etc/sudoers", 0o440, text);
    vec![
        case("sudo-plugin", "library", SUDO, |way| {
            let name = pick(way, "own.so", "sudoers.so");
            Layer::new()
                .file("usr/libexec/sudo/own.so", 0o644, parts.own("own.so"))
                .file(
                    "etc/sudo.conf",
                    0o644,
                    format!("Plugin sudoers_policy {name}\n"),
                )
        }),
        case("sudo-exempt-group", "sudo-nopasswd", SUDO, |way| {
            let group = pick(way, "app", "ops");
            sudoers(&format!(
                "Defaults exempt_group={group}\napp ALL=(ALL) ALL\n"
            ))
        }),
        case("sudo-netgroup", "sudo-nopasswd", SUDO, |way| {
            let user = pick(way, "app", "ops");
            sudoers("+admins ALL=(ALL) NOPASSWD: ALL\n")
                .file("etc/netgroup", 0o644, format!("admins (,{user},)\n"))
                .file(
                    "etc/nsswitch.conf",
                    0o644,
                    "passwd: files\ngroup: files\nshadow: files\nnetgroup: files\n",
                )
        }),
        case("root-password", "password-usable", SU_WITH_WORD, |way| {
            let lock = pick(way, "", "!");
            let text = format!("root:{lock}{HASH}:19000::::::\napp:!:19000::::::\n");
            Layer::new().owned("etc/shadow", 0o640, (0, 42), text)
        }),
    ]
}

/// sudo writes an account of root's into passwd: what it breaks off, or repeats as it was given.
const SUDO_WRITES: &str = "long=$(printf 'x%.0s' $(seq 100)); line='own::0:0::/:/bin/sh'; \
    echo none | sudo -S -p \"$(printf 'x\\n%s\\nx' $line)\" id $long $line; su own -c 'id -u' </dev/null";

/// The record of a password that was given: a lock, then one for all terminals (`struct timestamp_entry`).
const SUDO_RECORD: &str = "mkdir -m 700 /tmp/ts; python3 -c 'import os, struct, time\n\
def entry(kind): return struct.pack(\"@HHHHIiqqqqQ\", 2, 56, kind, 0, 1001, 0, 0, 0, int(time.monotonic()), 0, 0)\n\
os.umask(0o77)\n\
for name in [\"app\", \"1001\"]: open(\"/tmp/ts/\" + name, \"wb\").write(entry(4) + entry(1))'; sudo -n id -u";

fn of_settings_of_sudo() -> Vec<Case> {
    let sudoers = |text: &str| Layer::new().file("etc/sudoers", 0o440, text);
    let root = "root ALL=(ALL) ALL\n";
    vec![
        case("sudo-log", "sudo-setting", SUDO_WRITES, |way| {
            let file = pick(way, "/etc/passwd", "/var/log/sudo.log");
            sudoers(&format!("Defaults logfile={file},!syslog\n{root}"))
        }),
        case("sudo-log-of-a-user", "sudo-setting", SUDO_WRITES, |way| {
            let file = pick(way, "/etc/passwd", "/var/log/sudo.log");
            sudoers(&format!(
                "Defaults:root, app !syslog, logfile = \"{file}\"\n{root}"
            ))
        }),
        case(
            "sudo-log-behind-a-link",
            "sudo-setting",
            SUDO_WRITES,
            |way| {
                let target = pick(way, "/etc/passwd", "/var/log/other");
                let name = pick(way, "var/log/sudo.log", "var/log/unused.log");
                sudoers(&format!(
                    "Defaults logfile=/var/log/sudo.log,!syslog\n{root}"
                ))
                .symlink(name, target)
            },
        ),
        case("sudo-debugging", "sudo-setting", SUDO_WRITES, |way| {
            let comment = pick(way, "", "# ");
            sudoers("").file(
                "etc/sudo.conf",
                0o644,
                format!("{comment}Debug sudo /etc/passwd all@debug\n"),
            )
        }),
        case("sudo-record", "sudo-setting", SUDO_RECORD, |way| {
            let place = pick(way, "timestampowner=app,timestampdir=/tmp/ts,", "");
            sudoers(&format!(
                "Defaults {place}timestamp_type=global,timestamp_timeout=-1\napp ALL=(ALL) ALL\n"
            ))
        }),
    ]
}

fn of_steps_of_sudo() -> Vec<Case> {
    let accounts = format!("{ACCOUNTS}ops:x:1500:1500::/home/ops:/bin/bash\n");
    let with = |app: &str, ops: &str, rules: &str| {
        let text = format!("root:*:19000::::::\napp:{app}:19000::::::\nops:{ops}:19000::::::\n");
        Layer::new()
            .file("etc/passwd", 0o644, &accounts)
            .owned("etc/shadow", 0o640, (0, 42), text)
            .file("etc/sudoers", 0o440, rules)
            .whiteout("usr/bin/su")
    };
    let by_ops = "echo 'correct horse battery' | sudo -S -u ops sudo -n id -u";
    let rules = "app ALL=(ops) ALL\nops ALL=(ALL) NOPASSWD: ALL\n";
    vec![
        case("sudo-asking-for-the-target", "sudo-rule", by_ops, |way| {
            let default = pick(way, "Defaults targetpw\n", "Defaults !targetpw\n");
            with("!", HASH, &format!("{default}{rules}"))
        }),
        case("sudo-by-way-of-another", "sudo-rule", by_ops, |way| {
            let last = pick(way, "ops ALL=(ALL) NOPASSWD: ALL\n", "ops ALL=(ALL) ALL\n");
            with(HASH, "!", &format!("app ALL=(ops) ALL\n{last}"))
        }),
    ]
}

fn of_files_of_pam_modules(parts: &Parts) -> Vec<Case> {
    const GROUPS: &str = "echo 'correct horse battery' | su app -c 'sudo -n id -u'";
    const CAPABILITIES: &str = "echo 'correct horse battery' | \
        su app -c \"python3 -c 'import os; os.setuid(0); print(os.getuid())'\"";
    const HOME: &str = "echo 'correct horse battery' | \
        su app -c 'cp /opt/own/* /usr/libexec/sudo/glibc-hwcaps/x86-64-v2/'; sudo -n id -u";
    let su = String::from_utf8(parts.shipped("etc/pam.d/su")).unwrap();
    let known = format!("root:*:19000::::::\napp:{HASH}:19000::::::\n");
    let with = |line: &str| {
        Layer::new()
            .owned("etc/shadow", 0o640, (0, 42), &known)
            .file("etc/pam.d/su", 0o644, format!("{line}\n{su}"))
    };
    let root = "root ALL=(ALL) ALL\n";
    vec![
        case("pam-groups", "pam", GROUPS, |way| {
            let group = pick(way, "sudo", "audio");
            with("auth optional pam_group.so")
                .file(
                    "etc/security/group.conf",
                    0o644,
                    format!("su;*;app;Al0000-2400;{group}\n"),
                )
                .file("etc/sudoers", 0o440, "%sudo ALL=(ALL) NOPASSWD: ALL\n")
        }),
        case("pam-capabilities", "pam", CAPABILITIES, |way| {
            let line = pick(way, "^cap_setuid app", "none *");
            with("auth optional pam_cap.so keepcaps defer").file(
                "etc/security/capability.conf",
                0o644,
                format!("{line}\n"),
            )
        }),
        case("pam-home", "pam", HOME, |way| {
            let home = pick(way, "/usr/libexec/sudo/glibc-hwcaps/x86-64-v2", "/home/app");
            with("session optional pam_mkhomedir.so")
                .file("etc/passwd", 0o644, ACCOUNTS.replace("/home/app", home))
                .file("etc/sudoers", 0o440, root)
                .file("opt/own/libsudo_util.so.0", 0o644, parts.standing_in())
        }),
    ]
}

fn of_programs(parts: &Parts) -> Vec<Case> {
    let (bash, su) = (parts.shipped("usr/bin/bash"), parts.shipped("usr/bin/su"));
    let python = parts.shipped("usr/bin/python3.11");
    let capability = |bit: u32| {
        let mut value = 0x0200_0001_u32.to_le_bytes().to_vec();
        value.extend((1_u32 << bit).to_le_bytes());
        value.extend([0; 12]);
        value
    };
    let mode = |way: bool| if way { 0o4755 } else { 0o755 };
    let named = |name: &'static str, path: &'static str, script: &'static str| {
        case(name, "setuid-unowned", script, |way| {
            Layer::new().file(path, mode(way), &bash)
        })
    };
    let lists: Vec<&str> = vec!["util-linux", "util-linux-extra", "login"];
    let forged = case(
        "forged-database",
        "setuid-changed",
        "/usr/bin/chsh -p -c 'id -u'",
        |way| {
            Layer::new()
                .file("usr/bin/chsh", mode(way), &bash)
                .file(
                    "var/lib/dpkg/status",
                    0o644,
                    "Package: passwd\nStatus: install ok installed\n",
                )
                .file(
                    "var/lib/dpkg/info/passwd.md5sums",
                    0o644,
                    format!("{}  usr/bin/chsh\n", md5(&bash)),
                )
        },
    );
    vec![
        named("pkexec", "usr/bin/pkexec", "pkexec -p -c 'id -u'"),
        named(
            "ssh-keysign",
            "usr/lib/openssh/ssh-keysign",
            "/usr/lib/openssh/ssh-keysign -p -c 'id -u'",
        ),
        case(
            "lists-taken-away",
            "setuid-changed",
            "su -p -c 'id -u' </dev/null",
            |way| {
                let bytes = if way { &bash } else { &su };
                lists.iter().fold(
                    Layer::new().file("usr/bin/su", 0o4755, bytes),
                    |layer, list| layer.whiteout(&format!("var/lib/dpkg/info/{list}.md5sums")),
                )
            },
        ),
        case(
            "ping",
            "capability",
            "ping -c 'import os; os.setuid(0); print(os.getuid())'",
            |way| {
                Layer::new()
                    .xattr("security.capability", &capability(if way { 7 } else { 13 }))
                    .file("usr/bin/ping", 0o755, &python)
            },
        ),
        Case {
            says: Says::WithBase("setuid-changed"),
            ..forged
        },
    ]
}

/// What is absent in the image, and there as soon as it runs.
fn of_what_a_container_adds(parts: &Parts) -> Vec<Case> {
    let su = String::from_utf8(parts.shipped("etc/pam.d/su")).unwrap();
    let own = || Layer::new().file("opt/own/own.so", 0o644, parts.own("own.so"));
    vec![
        case("module-by-proc", "library", SU, |way| {
            let path = pick(way, "/proc/self/root/opt/own/own.so", "/usr/lib/none.so");
            own().file("etc/pam.d/su", 0o644, format!("auth optional {path}\n{su}"))
        }),
        case("preload-by-proc", "account-unreadable", SU, |way| {
            let layer = own().file("opt/own/preload", 0o644, "/opt/own/own.so\n");
            let path = pick(way, "etc/ld.so.preload", "etc/ld.so.none");
            layer.symlink(path, "/proc/self/root/opt/own/preload")
        }),
        case(
            "sudoers-in-tmp",
            "account-unreadable",
            "ln -s /opt/own/rules /tmp/x; sudo -n id -u",
            |way| {
                let path = pick(way, "/tmp/x", "/etc/none");
                Layer::new()
                    .file("opt/own/rules", 0o440, "app ALL=(ALL) NOPASSWD: ALL\n")
                    .file(
                        "etc/sudoers",
                        0o440,
                        format!("@include {path}\nroot ALL=(ALL) ALL\n"),
                    )
            },
        ),
    ]
}

fn of_links_out_of_the_image(parts: &Parts) -> Vec<Case> {
    let out = |name: &'static str, rule, path: &'static str, target: &'static str| {
        case(name, rule, SU, move |way| {
            let layer = Layer::new().file("opt/own/x", 0o644, "x");
            let twin = if path.contains(".so.0") {
                "usr/lib/libown.so"
            } else {
                "etc/own"
            };
            layer.symlink(if way { path } else { twin }, target)
        })
    };
    let soname = "libpam_misc.so.0";
    let conf = |name: &'static str, rule, way: &'static str, twin: &'static str| {
        case(name, rule, SUDO, move |is_way| {
            let layer = Layer::new().file("opt/own/own.so", 0o644, "x");
            layer.file("etc/sudo.conf", 0o644, pick(is_way, way, twin))
        })
    };
    let usual = "Plugin sudoers_policy sudoers.so\n";
    vec![
        out(
            "service-in-tmp",
            "account-unreadable",
            "etc/pam.d/su",
            "/tmp/su",
        ),
        out(
            "service-by-proc",
            "account-unreadable",
            "etc/pam.d/su",
            "/proc/self/root/opt/own/su",
        ),
        out(
            "sudo-conf-by-proc",
            "account-unreadable",
            "etc/sudo.conf",
            "/proc/self/root/opt/own/x",
        ),
        out(
            "cache-in-tmp",
            "account-unreadable",
            "etc/ld.so.cache",
            "/tmp/cache",
        ),
        out(
            "switch-by-proc",
            "account-unreadable",
            "etc/nsswitch.conf",
            "/proc/self/root/opt/own/x",
        ),
        out(
            "library-in-tmp",
            "library",
            "usr/lib/x86_64-linux-gnu/libpam_misc.so.0",
            "/tmp/m",
        ),
        conf(
            "plugin-by-proc",
            "library",
            "Plugin sudoers_policy /proc/self/root/opt/own/own.so\n",
            usual,
        ),
        conf(
            "plugin-glued",
            "library",
            "Path plugin_dir /opt/ow\nPlugin sudoers_policy n/own.so\n",
            usual,
        ),
        conf(
            "conf-comment",
            "library",
            "# note \\\nPlugin sudoers_policy /opt/own/own.so\n",
            "# note \\\n#Plugin sudoers_policy /opt/own/own.so\n",
        ),
        conf(
            "audit-of-sudo",
            "account-unreadable",
            "Plugin audit_json audit_json.so logfile=passwd\n",
            usual,
        ),
        case("cache-by-proc", "library", SU, |way| {
            let name = pick(way, soname, "libnone.so.0");
            let texts = format!("{name}\0/proc/self/root/opt/own/{name}\0");
            Layer::new()
                .file(
                    "etc/ld.so.cache",
                    0o644,
                    linker_cache(&[(0, name.len() + 1)], &texts),
                )
                .file(&format!("opt/own/{name}"), 0o644, parts.own(soname))
        }),
        case("database-directory", "account-writable", SU, |way| {
            let owner = if way { (1001, 1001) } else { (0, 0) };
            Layer::new().dir("var/lib/misc", 0o755, owner).file(
                "etc/nsswitch.conf",
                0o644,
                "passwd: files\nshadow: db files\n",
            )
        }),
        case("database-link", "name-service", SU, |way| {
            let sources = pick(way, "db files", "files");
            Layer::new().symlink("var/lib/misc", "/tmp").file(
                "etc/nsswitch.conf",
                0o644,
                format!("shadow: {sources}\n"),
            )
        }),
    ]
}

/// `/etc/ld.so.cache` with these places of names and paths in the texts.
fn linker_cache(entries: &[(usize, usize)], texts: &str) -> Vec<u8> {
    let base = 48 + 24 * entries.len();
    let number = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    let mut bytes = b"glibc-ld.so.cache1.1".to_vec();
    bytes.extend(number(entries.len()));
    bytes.extend(number(texts.len()));
    bytes.push(2);
    bytes.resize(48, 0);
    for (name, path) in entries {
        bytes.extend(0x303_u32.to_le_bytes());
        bytes.extend(number(base + name));
        bytes.extend(number(base + path));
        bytes.extend([0; 12]);
    }
    bytes.extend(texts.as_bytes());
    bytes
}

/// A file of `/etc/pam.d/su` before what is shipped, and its twin's.
fn before_su(parts: &Parts, name: &'static str, way: &str, twin: &str) -> Case {
    let su = String::from_utf8(parts.shipped("etc/pam.d/su")).unwrap();
    case(name, "pam", SU, |is_way| {
        let open = pick(
            is_way,
            "auth sufficient pam_permit.so\n",
            "auth optional pam_warn.so\n",
        );
        Layer::new()
            .file(
                "etc/pam.d/su",
                0o644,
                format!("{}{su}", pick(is_way, way, twin)),
            )
            .file("etc/pam.d/own", 0o644, open)
            .file("etc/pam.d/none", 0o644, "account required pam_permit.so\n")
    })
}

fn of_readers_of_pam(parts: &Parts) -> Vec<Case> {
    let open = "auth sufficient pam_permit.so\n";
    let su = String::from_utf8(parts.shipped("etc/pam.d/su")).unwrap();
    let long = format!("#{}{open}", "A".repeat(1022));
    let mut long = before_su(parts, "long-comment", &long, "# short\n");
    long.says = Says::High("account-unreadable");
    vec![
        before_su(
            parts,
            "comment",
            &format!("# note \\\n{open}"),
            &format!("# note \\\n#{open}"),
        ),
        before_su(
            parts,
            "include-two-words",
            "@include own x\n",
            "@include own x\n",
        ),
        before_su(
            parts,
            "include-in-capitals",
            "@INCLUDE own\n",
            "@INCLUDE own\n",
        ),
        before_su(
            parts,
            "control-in-brackets",
            "auth [sufficient] pam_permit.so\n",
            "auth [optional] pam_permit.so\n",
        ),
        before_su(
            parts,
            "module-in-brackets",
            "auth sufficient [pam_permit.so]\n",
            "auth sufficient [pam_deny.so]\n",
        ),
        before_su(
            parts,
            "kind-in-brackets",
            "[auth] sufficient pam_permit.so\n",
            "[auth] sufficient pam_deny.so\n",
        ),
        before_su(
            parts,
            "control-with-blanks",
            "auth [success = done default = ignore] pam_permit.so\n",
            "auth [success = ignore default = ignore] pam_permit.so\n",
        ),
        before_su(
            parts,
            "empty-substack",
            &format!("auth substack none\n{open}"),
            "auth substack none\n",
        ),
        long,
        case("many-includes", "pam", SU, |way| {
            let count = if way { 600 } else { 60 };
            let many: String = (0..count).fold(String::new(), |text, n| {
                text + &format!("session include n{n}\n")
            });
            Layer::new().file("etc/pam.d/many", 0o644, many).file(
                "etc/pam.d/su",
                0o644,
                format!("session include many\n{su}"),
            )
        }),
        case("conf-behind-a-decoy", "pam", SU, |way| {
            let module = pick(way, "pam_permit.so", "pam_deny.so");
            let text =
                format!("su auth sufficient {module}\nsu account sufficient pam_permit.so\n");
            Layer::new()
                .whiteout("etc/pam.d")
                .file("usr/etc/pam.d/su", 0o644, "auth required pam_deny.so\n")
                .file("etc/pam.conf", 0o644, text)
        }),
    ]
}

fn of_answers_of_modules(parts: &Parts) -> Vec<Case> {
    let auth = |name, way: &str, twin: &str| {
        before_su(
            parts,
            name,
            &format!("auth sufficient {way}\n"),
            &format!("auth sufficient {twin}\n"),
        )
    };
    let modules = format!("{LIBRARIES}/security");
    let su = String::from_utf8(parts.shipped("etc/pam.d/su")).unwrap();
    let rest = su.replace("@include common-auth", "");
    let su_with = |name, way: &str, twin: &str| {
        case(name, "pam", SU, |is_way| {
            let head = pick(is_way, way, twin);
            Layer::new().file("etc/pam.d/su", 0o644, format!("{head}{rest}"))
        })
    };
    vec![
        auth("ftp", "pam_ftp.so users=root", "pam_none.so"),
        auth("lastlog", "pam_lastlog.so", "pam_none.so"),
        auth("nologin", "pam_nologin.so successok", "pam_nologin.so"),
        auth(
            "usertype",
            "pam_usertype.so use_uid isregular",
            "pam_usertype.so isregular",
        ),
        auth(
            "succeed-if",
            "pam_succeed_if.so uid >= -1",
            "pam_succeed_if.so uid >= 1000",
        ),
        auth("rhosts", "pam_rhosts.so", "pam_none.so"),
        su_with(
            "other-errors",
            "auth [success=ok auth_err=die user_unknown=die default=ignore] pam_unix.so nullok\n\
             auth required pam_permit.so\n",
            "auth [success=ok default=die] pam_unix.so nullok\nauth required pam_permit.so\n",
        ),
        su_with(
            "faillock-in-etc",
            "auth required pam_faillock.so preauth dir=/etc\n@include common-auth\n",
            "auth required pam_faillock.so preauth dir=/run/faillock\n@include common-auth\n",
        ),
        case("faillock-conf", "pam", SU, |way| {
            let dir = pick(way, "/etc", "/var/run/faillock");
            let head = "auth required pam_faillock.so preauth\n";
            Layer::new()
                .file(
                    "etc/security/faillock.conf",
                    0o644,
                    format!("dir = {dir}\n"),
                )
                .file("etc/pam.d/su", 0o644, format!("{head}{su}"))
        }),
        case("link-to-another-module", "pam", SU, |way| {
            let name = pick(way, "pam_unix.so", "pam_none.so");
            Layer::new().symlink(&format!("{modules}/{name}"), "pam_permit.so")
        }),
        case("group-of-another-gid", "pam", SU, |way| {
            let gid = pick(way, "27", "29");
            Layer::new()
                .file(
                    "etc/security/group.conf",
                    0o644,
                    "su;*;app;Al0000-2400;audio\n",
                )
                .file("etc/group", 0o644, format!("root:x:0:\naudio:x:{gid}:\n"))
                .file(
                    "etc/pam.d/su",
                    0o644,
                    format!("auth optional pam_group.so\n{su}"),
                )
        }),
    ]
}

fn of_readers_of_accounts() -> Vec<Case> {
    let shadow = |name, rule, way: &'static str, twin: &'static str| {
        case(name, rule, SU_WITH_WORD, move |is_way| {
            let text = format!("{}\n{}", pick(is_way, way, twin), "app:!:19000::::::\n");
            Layer::new().owned("etc/shadow", 0o640, (0, 42), text)
        })
    };
    vec![
        shadow(
            "vertical-tab",
            "password-empty",
            "\u{b}root::19000::::::",
            "\u{b}root:*:19000::::::",
        ),
        shadow(
            "bigcrypt",
            "password-weak",
            "root:abhfCpXqd4GrIatlJWV.Y872XzhaZhBwF9c:19000::::::",
            "root:!abhfCpXqd4GrIatlJWV.Y872XzhaZhBwF9c:19000::::::",
        ),
        shadow(
            "aged",
            "password-weak",
            "root:abhfCpXqd4GrI,..:19000::::::",
            "root:*,..:19000::::::",
        ),
        shadow(
            "sunmd5",
            "password-weak",
            "root:$md5,rounds=5000$abcdefgh$$y6y8ASz28gb3dkLcv.bWO1:19000::::::",
            "root:*md5:19000::::::",
        ),
        case("switch-without-colon", "library", SU, |way| {
            let sources = pick(way, "own files", "files");
            Layer::new()
                .file(&format!("{LIBRARIES}/libnss_own.so.2"), 0o644, "x")
                .file("etc/nsswitch.conf", 0o644, format!("passwd {sources}\n"))
        }),
        case("compat", "name-service", SU_WITH_WORD, |way| {
            let source = pick(way, "compat", "files");
            Layer::new()
                .file("etc/nsswitch.conf", 0o644, format!("passwd: {source}\n"))
                .file(
                    "etc/passwd",
                    0o644,
                    format!("+root:{HASH}:::::\n{ACCOUNTS}"),
                )
        }),
        case("another-source", "name-service", SU, |way| {
            let database = pick(way, "shadow", "hosts");
            Layer::new()
                .file(&format!("{LIBRARIES}/libnss_nis.so.2"), 0o644, "x")
                .file(
                    "etc/nsswitch.conf",
                    0o644,
                    format!("{database}: nis files\n"),
                )
        })
        .says_of_database(),
    ]
}

impl Case {
    /// Its twin has the library, too, which belongs to no package.
    fn says_of_database(mut self) -> Self {
        self.twin = Layer::new().file("etc/nsswitch.conf", 0o644, "shadow: nis files\n");
        self
    }
}

fn of_readers_of_sudo() -> Vec<Case> {
    let rules = |name, way: &'static str, twin: &'static str| {
        case(name, "sudo-nopasswd", SUDO, move |is_way| {
            let text = pick(is_way, way, twin);
            Layer::new().file("etc/sudoers", 0o440, text)
        })
    };
    vec![
        rules(
            "name-in-capitals",
            "App ALL=(ALL) NOPASSWD: ALL\n",
            "Ops ALL=(ALL) NOPASSWD: ALL\n",
        ),
        rules(
            "group-in-capitals",
            "%App ALL=(ALL) NOPASSWD: ALL\n",
            "%Ops ALL=(ALL) NOPASSWD: ALL\n",
        ),
        rules(
            "escape",
            "ap\\x70 ALL=(ALL) NOPASSWD: ALL\n",
            "ap\\x71 ALL=(ALL) NOPASSWD: ALL\n",
        ),
        rules(
            "uid-with-zero",
            "#01001 ALL=(ALL) NOPASSWD: ALL\n",
            "#01002 ALL=(ALL) NOPASSWD: ALL\n",
        ),
        rules(
            "gid-with-zero",
            "%#01001 ALL=(ALL) NOPASSWD: ALL\n",
            "%#01002 ALL=(ALL) NOPASSWD: ALL\n",
        ),
        rules(
            "alias-twice",
            "User_Alias X = app\nX ALL=(ALL) NOPASSWD: ALL\nUser_Alias X = ops\n",
            "User_Alias X = ops\nX ALL=(ALL) NOPASSWD: ALL\nUser_Alias X = ops\n",
        ),
        rules(
            "comment-of-sudoers",
            "# note \\\napp ALL=(ALL) NOPASSWD: ALL\n",
            "# note \\\n#app ALL=(ALL) NOPASSWD: ALL\n",
        ),
        case("service-in-capitals", "pam", SUDO_ASKING, |way| {
            let module = pick(way, "pam_permit.so", "pam_deny.so");
            Layer::new()
                .file(
                    "etc/sudoers",
                    0o440,
                    "Defaults pam_service=OWN\napp ALL=(ALL) ALL\n",
                )
                .file(
                    "etc/pam.d/own",
                    0o644,
                    format!("auth sufficient {module}\n"),
                )
                .file("etc/pam.d/OWN", 0o644, "auth required pam_deny.so\n")
        }),
    ]
}

fn of_other_ids(parts: &Parts) -> Vec<Case> {
    let bash = parts.shipped("usr/bin/bash");
    vec![
        case("another-uid", "account-writable", SU, |way| {
            let owner = if way { (5, 0) } else { (0, 0) };
            Layer::new()
                .owned("opt/own/b", 0o4755, (5, 5), &bash)
                .owned("etc/passwd", 0o644, owner, ACCOUNTS)
        }),
        case("another-gid", "account-writable", SU, |way| {
            let mode = if way { 0o664 } else { 0o644 };
            Layer::new()
                .owned("opt/own/b", 0o2755, (0, 50), &bash)
                .owned("etc/passwd", mode, (0, 50), ACCOUNTS)
        }),
        case("another-account", "account-writable", SU, |way| {
            let owner = if way { 1500 } else { 0 };
            let accounts = format!("{ACCOUNTS}ops:x:1500:1500::/home/ops:/bin/bash\n");
            let shadow = format!("{SHADOW}ops:{HASH}:19000::::::\n");
            Layer::new()
                .owned("etc/passwd", 0o644, (owner, 0), accounts)
                .owned("etc/shadow", 0o640, (0, 42), shadow)
        }),
    ]
}

fn of_programs_that_change_accounts() -> Vec<Case> {
    let program = "#!/bin/sh\nid -u\n";
    vec![
        case("nscd", "library", SU, |way| {
            Layer::new().file(pick(way, "usr/sbin/nscd", "usr/sbin/nscd2"), 0o755, program)
        }),
        case("sss-cache", "library", SU, |way| {
            Layer::new().file(
                pick(way, "usr/sbin/sss_cache", "usr/sbin/sss_other"),
                0o755,
                program,
            )
        }),
        case("copy-of-group", "account-unreadable", SU, |way| {
            let path = pick(way, "etc/group-", "etc/group.old");
            Layer::new().symlink(path, "/etc/ld.so.preload")
        }),
        case("directory-of-nscd", "account-writable", SU, |way| {
            let owner = if way { (1001, 1001) } else { (0, 0) };
            Layer::new().dir("run/nscd", 0o755, owner)
        }),
    ]
}

fn of_layers(parts: &Parts) -> Vec<Case> {
    let su = String::from_utf8(parts.shipped("etc/pam.d/su")).unwrap();
    let bash = parts.shipped("usr/bin/bash");
    let mut capability = 0x0200_0001_u32.to_le_bytes().to_vec();
    capability.extend((1_u32 << 7).to_le_bytes());
    capability.extend([0; 12]);
    let list: Vec<u8> = [
        (1_u16, 7_u16, u32::MAX),
        (2, 6, 1001),
        (4, 5, u32::MAX),
        (0x10, 7, u32::MAX),
        (0x20, 5, u32::MAX),
    ]
    .into_iter()
    .fold(
        2_u32.to_le_bytes().to_vec(),
        |mut list, (tag, permissions, id)| {
            list.extend(tag.to_le_bytes());
            list.extend(permissions.to_le_bytes());
            list.extend(id.to_le_bytes());
            list
        },
    );
    vec![
        case("opaque-root", "pam", SU, |way| {
            let line = pick(way, "auth sufficient pam_permit.so\n", "");
            let layer = if way {
                Layer::new().file(".wh..wh..opq", 0o600, "")
            } else {
                Layer::new()
            };
            layer.file("etc/pam.d/su", 0o644, format!("{line}{su}"))
        }),
        case("redirect", "layer-path", SU, |way| {
            let name = if way {
                "trusted.overlay.redirect"
            } else {
                "user.redirect"
            };
            Layer::new()
                .xattr(name, b"/opt/pam")
                .dir("etc/pam.d", 0o755, (0, 0))
        }),
        case("list-of-new-files", "path-writable", SU, |way| {
            let name = if way {
                "system.posix_acl_default"
            } else {
                "user.posix_acl_default"
            };
            Layer::new().xattr(name, &list).dir("etc", 0o755, (0, 0))
        }),
        case("owner-of-a-hard-link", "setuid", SU, |way| {
            let mode = if way { 0o4755 } else { 0o755 };
            Layer::new()
                .owned("opt/own/a", mode, (1001, 1001), &bash)
                .hard_link("opt/own/b", mode, "opt/own/a")
        }),
        case("capability-of-a-hard-link", "capability", SU, |way| {
            let layer = Layer::new().file("usr/lib/own/a.so", 0o755, &bash);
            let layer = if way {
                layer.xattr("security.capability", &capability)
            } else {
                layer
            };
            layer.hard_link("opt/own/p", 0o755, "usr/lib/own/a.so")
        }),
        case("implied-parents", "library", SU, |way| {
            let directory = pick(way, "lib", "opt/lib");
            let library = parts.own("libpam_misc.so.0");
            Layer::new().file(
                &format!("{directory}/x86_64-linux-gnu/libpam_misc.so.0"),
                0o644,
                library,
            )
        }),
    ]
}

fn of_the_cache(parts: &Parts) -> Vec<Case> {
    let name = "libpam_misc.so.0";
    let texts = format!("{name}\0/opt/own/{name}\0libz.so\0/usr/lib/libz.so\0");
    let (path, z) = (name.len() + 1, name.len() * 2 + 11);
    let with = move |way: bool, cache: Vec<u8>| {
        let name = if way {
            "opt/own/libpam_misc.so.0"
        } else {
            "opt/own/libnone.so.0"
        };
        let cache = if way { cache } else { Vec::new() };
        Layer::new()
            .file("etc/ld.so.cache", 0o644, cache)
            .file(name, 0o644, parts.own("x.so"))
    };
    vec![
        case("wrong-first-entry", "library", SU, |way| {
            with(way, linker_cache(&[(1 << 30, 1 << 30), (0, path)], &texts))
        }),
        case("many-entries", "library", SU, |way| {
            let mut entries = vec![(z, z + 8); 55_000];
            entries.push((0, path));
            with(way, linker_cache(&entries, &texts))
        }),
        case("decoy-in-the-older-part", "library", SU, |way| {
            let mut cache = b"ld.so-1.7.0\0\x08\0\0\0glibc-ld.so.cache1.1".to_vec();
            cache.resize(112, 0);
            cache.extend(linker_cache(&[(0, path)], &texts));
            with(way, cache)
        }),
        case(
            "kinds-of-processors-below-a-runpath",
            "library",
            SUDO,
            |way| {
                let kind = pick(way, "x86-64-v2", "none");
                let name = pick(way, "libsudo_util.so.0", "libnone.so.0");
                let path = format!("usr/libexec/sudo/glibc-hwcaps/{kind}/{name}");
                Layer::new().file(&path, 0o644, "x")
            },
        ),
    ]
}

fn high(report: &Report) -> Vec<&'static str> {
    let grave = report
        .findings
        .iter()
        .filter(|finding| finding.severity == Severity::High);
    grave.map(|finding| finding.rule).collect()
}

// Each of these has a podman of its own, which takes the base once: few tests of many cases.

#[test]
fn ways_through_pam_and_their_near_twins() {
    try_all(|parts, _| {
        let mut cases = of_pam(parts);
        cases.extend(of_all_stacks_of_pam(parts));
        cases.extend(of_files_of_pam_modules(parts));
        cases
    });
}

#[test]
fn ways_through_groups_passwords_and_sudo_and_their_near_twins() {
    try_all(|parts, _| {
        let mut cases = of_groups_and_passwords(parts);
        cases.extend(of_sudo(parts));
        cases.extend(of_settings_of_sudo());
        cases.extend(of_steps_of_sudo());
        cases
    });
}

#[test]
fn ways_through_the_linker_and_the_name_service_and_their_near_twins() {
    try_all(|parts, engine| {
        let database = database(parts, engine);
        let mut cases = of_the_linker_and_the_name_service(parts, &database);
        cases.extend(of_conversions(parts));
        cases
    });
}

#[test]
fn ways_through_programs_links_and_what_a_container_adds_and_their_near_twins() {
    try_all(|parts, _| {
        let mut cases = of_programs(parts);
        cases.extend(of_what_a_container_adds(parts));
        cases.extend(at_run_time::of_links_within_a_layer(parts));
        cases
    });
}

#[test]
fn more_ways_through_what_a_container_adds() {
    judge_all(of_links_out_of_the_image);
}

#[test]
fn more_ways_through_pam() {
    judge_all(|parts| {
        let mut cases = of_readers_of_pam(parts);
        cases.extend(of_answers_of_modules(parts));
        cases
    });
}

#[test]
fn more_ways_through_accounts_and_sudo() {
    judge_all(|parts| {
        let mut cases = of_readers_of_accounts();
        cases.extend(of_readers_of_sudo());
        cases.extend(of_other_ids(parts));
        cases
    });
}

#[test]
fn more_ways_through_programs_layers_and_the_linker() {
    judge_all(|parts| {
        let mut cases = of_programs_that_change_accounts();
        cases.extend(of_layers(parts));
        cases.extend(of_the_cache(parts));
        cases
    });
}

/// A database for the name service in which root has a password.
fn database(parts: &Parts, engine: &Engine) -> Vec<u8> {
    let line =
        format!("printf '.root root:{HASH}:19000::::::\\n00 root:{HASH}:19000::::::\\n' >/tmp/in");
    let made = engine.run(
        BASE,
        &format!("{line}; makedb -o /tmp/out /tmp/in >&2; base64 -w 0 /tmp/out"),
    );
    let text = parts.path("database.txt");
    fs::write(&text, &made.stdout).unwrap();
    let database = Command::new("base64")
        .arg("-d")
        .arg(&text)
        .output()
        .unwrap()
        .stdout;
    assert!(!database.is_empty(), "{}", process::words(&made));
    database
}

/// Cases of a test that are tried at once.
const AT_ONCE: usize = 2;

/// Judges each case by the audit and by a real run.
fn try_all(make: impl Fn(&Parts, &Engine) -> Vec<Case>) {
    try_each(make, true);
}

/// The same by the audit alone, for cases whose like has been run.
fn judge_all(make: impl Fn(&Parts) -> Vec<Case>) {
    try_each(|parts, _| make(parts), false);
}

fn try_each(make: impl Fn(&Parts, &Engine) -> Vec<Case>, is_run: bool) {
    try_each_on(&[], |_, layer| layer, make, is_run);
}

/// The same on a base with more packages, of which `add` takes files.
fn try_each_on(
    packages: &[&str],
    add: impl FnOnce(&Parts, Layer) -> Layer,
    make: impl Fn(&Parts, &Engine) -> Vec<Case>,
    is_run: bool,
) {
    let parts = Parts::new(packages);
    let warpdrive = Warpdrive::new();
    base::link(&parts, &parts.layer(add), &warpdrive.store());
    let store = Store::open(Some(&warpdrive.store())).unwrap();
    let engine = Engine {
        podman: Podman::new(),
        layout: warpdrive.store(),
    };
    assert_eq!(
        high(&judged(&store, BASE, None)),
        [""; 0],
        "the base itself"
    );
    if is_run {
        engine.take(BASE);
    }

    let cases = make(&parts, &engine);
    assert!(!cases.is_empty());
    let names: BTreeSet<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    let cases = Mutex::new(cases.into_iter());
    let wrong = Mutex::new(String::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = cases.lock().unwrap().next();
                    let Some(case) = next else {
                        break;
                    };
                    let words = tried(&store, is_run.then_some(&engine), case);
                    wrong.lock().unwrap().push_str(&words);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong}");
}

/// What is wrong with a case, with its name.
fn tried(store: &Store, engine: Option<&Engine>, case: Case) -> String {
    let mut wrong = String::new();
    for (is_way, layer) in [(true, case.way), (false, case.twin)] {
        let name = format!("{}-{}", case.name, if is_way { "way" } else { "twin" });
        on_top(store, BASE, &name, vec![layer], |_| {});
        let output = engine.map(|engine| engine.run(&name, case.script));
        let becomes_root = output.as_ref().map_or(is_way, |output| {
            String::from_utf8_lossy(&output.stdout)
                .lines()
                .any(|line| line == "0")
        });
        let alone = judged(store, &name, None);
        let trusting = judged(store, &name, Some(BASE));
        let agrees = match case.says {
            _ if !is_way => high(&alone).is_empty() && high(&trusting).is_empty(),
            Says::High(rule) => high(&alone).contains(&rule) && high(&trusting).contains(&rule),
            Says::WithBase(rule) => {
                alone
                    .findings
                    .iter()
                    .any(|finding| finding.rule == "self-vouched")
                    && high(&trusting).contains(&rule)
            }
        };
        if becomes_root != is_way || !agrees {
            writeln!(
                wrong,
                "{name}: root: {becomes_root}; high: {:?}, with the base: {:?}\n{}\n",
                high(&alone),
                high(&trusting),
                output.as_ref().map(process::words).unwrap_or_default(),
            )
            .unwrap();
        }
    }
    wrong
}
