//! A sandbox of the real executable with busybox in a root of its own, as root, as a user with
//! subordinate ids (`warpdrive-tester`) and as one without (`warpdrive-single`).

#![allow(unsafe_code)] // one `atexit`

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use warpdrive::sandbox::{Limits, Network, Root, Spec, Upper};

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Who {
    Root,
    Subuid,
    Single,
}

impl Who {
    pub fn user(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Subuid => "warpdrive-tester",
            Self::Single => "warpdrive-single",
        }
    }

    pub fn ids(self) -> Option<(u32, u32)> {
        let passwd = fs::read_to_string("/etc/passwd").ok()?;
        passwd.lines().find_map(|line| {
            let fields: Vec<_> = line.split(':').collect();
            (fields[0] == self.user())
                .then(|| (fields[2].parse().unwrap(), fields[3].parse().unwrap()))
        })
    }

    /// All three ways to have ids.
    ///
    /// # Panics
    /// When one cannot be tried here.
    pub fn all() -> Vec<Self> {
        assert!(
            rustix::process::geteuid().is_root() && Path::new("/bin/busybox").exists(),
            "these tests need root and /bin/busybox: run `make test-deps`"
        );
        let all = vec![Self::Root, Self::Subuid, Self::Single];
        for who in &all {
            let name = who.user();
            assert!(
                who.ids().is_some(),
                "there is no user {name}: run `make test-deps`"
            );
        }
        all
    }
}

static COPIES: OnceLock<TempDir> = OnceLock::new();

/// Statics are never dropped.
extern "C" fn remove_copies() {
    if let Some(copies) = COPIES.get() {
        let _ = fs::remove_dir_all(copies.path());
    }
}

/// The executables, where every user can read them.
pub fn executables() -> &'static Path {
    COPIES
        .get_or_init(|| {
            let place = public_directory();
            // SAFETY: the function touches nothing that is gone when the process ends.
            unsafe { libc::atexit(remove_copies) };
            fs::copy(
                env!("CARGO_BIN_EXE_warpdrive"),
                place.path().join("warpdrive"),
            )
            .unwrap();
            fs::copy(std::env::current_exe().unwrap(), place.path().join("tests")).unwrap();
            place
        })
        .path()
}

pub fn public_directory() -> TempDir {
    let place = tempfile::Builder::new()
        .prefix("warpdrive-sandbox-")
        .tempdir_in("/tmp")
        .unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    place
}

const APPLETS: &[&str] = &[
    "sh", "ls", "id", "cat", "mount", "stat", "touch", "echo", "sleep", "hostname", "kill",
    "mkdir", "rm", "tty", "find", "grep", "env", "umask", "ln", "head", "tail", "nc", "unshare",
    "printf", "mv", "chmod", "wc", "timeout",
];

pub struct Fixture {
    pub place: TempDir,
    pub who: Who,
    pub spec: Spec,
}

impl Fixture {
    /// A root file system with busybox, and a command in it.
    pub fn new(who: Who, script: &str) -> Self {
        let place = public_directory();
        let path = |name: &str| place.path().join(name);
        for directory in [
            "base/bin",
            "base/etc",
            "base/opt/app-root",
            "base/tmp",
            "upper",
            "work",
        ] {
            fs::create_dir_all(path(directory)).unwrap();
        }
        fs::copy("/bin/busybox", path("base/bin/busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", path("base/bin").join(applet)).unwrap();
        }
        fs::set_permissions(path("base/tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::set_permissions(path("base/opt/app-root"), fs::Permissions::from_mode(0o777)).unwrap();
        let spec = Spec {
            root: Root {
                lowers: vec![path("base")],
                upper: Some(Upper {
                    upper: path("upper"),
                    work: path("work"),
                }),
                writable_only: Some(vec!["/opt/app-root".into()]),
            },
            mounts: Vec::new(),
            network: Network::None,
            host_services: Vec::new(),
            hostname: "box".to_owned(),
            command: ["sh", "-c", script].map(str::to_owned).to_vec(),
            env: vec![("PATH".to_owned(), "/bin".to_owned())],
            cwd: "/".into(),
            uid: 1001,
            gid: 0,
            groups: Vec::new(),
            capabilities: Vec::new(),
            umask: 0o22,
            init: true,
            volatile: true,
            limits: Limits::default(),
            without: Vec::new(),
        };
        Self { place, who, spec }
    }

    pub fn base(&self, path: &str) -> PathBuf {
        self.place.path().join("base").join(path)
    }

    pub fn command(&self, extra: &[&str]) -> Command {
        let (uid, gid) = self.who.ids().unwrap();
        let file = self.place.path().join("spec.json");
        fs::write(&file, serde_json::to_vec(&self.spec).unwrap()).unwrap();
        let chown = Command::new("chown")
            .arg("-hR")
            .arg(format!("{uid}:{gid}"))
            .arg(self.place.path())
            .status();
        assert!(chown.unwrap().success());
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid",
                &uid.to_string(),
                "--regid",
                &gid.to_string(),
                "--clear-groups",
            ])
            .arg(executables().join("warpdrive"))
            .arg("__sandbox-run")
            .arg(file)
            .args(extra)
            .stdin(Stdio::null());
        command
    }

    pub fn run(&self) -> Ran {
        self.run_with(&[])
    }

    pub fn run_with(&self, extra: &[&str]) -> Ran {
        Ran::from(self.command(extra).output().unwrap())
    }

    /// Everything in the upper directory, sorted.
    pub fn upper(&self) -> Vec<String> {
        fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(directory).unwrap() {
                let entry = entry.unwrap();
                found.push(entry.path());
                if entry.file_type().unwrap().is_dir() {
                    walk(&entry.path(), found);
                }
            }
        }
        let upper = self.place.path().join("upper");
        let mut found = Vec::new();
        walk(&upper, &mut found);
        found.sort();
        let names = found
            .iter()
            .map(|path| path.strip_prefix(&upper).unwrap().display().to_string());
        names.collect()
    }
}

#[derive(Debug)]
pub struct Ran {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Processes whose command line contains the text.
pub fn processes_with(text: &str) -> Vec<String> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(text))
        .collect()
}

pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "still not: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
