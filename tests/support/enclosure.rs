//! A process and mount namespace that cleans up after itself, even when the test is killed.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::process::{self, PATH};

/// Holds the namespaces and a directory; see `enclosure.sh` beside this file.
///
/// It hangs on a pipe and not on a parent-death signal: that one fires when the *thread* that
/// started the child ends, which for a test is long before its process does.
pub struct Enclosure {
    holder: Child,
    namespaces: String,
    directory: PathBuf,
}

/// A process that runs inside: ended by the enclosure, which has to be dropped first, and reaped here.
pub struct Inside(Child);

impl Inside {
    /// Starts a command of an enclosure in the background, with both streams going to `log`.
    #[track_caller]
    pub fn spawn(command: &mut Command, log: &Path) -> Self {
        let file = std::fs::File::create(log).expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a log file"))
            .stderr(file)
            .spawn();
        Self(child.unwrap_or_else(|error| panic!("{command:?} did not start: {error}")))
    }

    /// The exit code, once the process has ended.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.0
            .try_wait()
            .ok()
            .flatten()
            .and_then(|status| status.code())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let _ = self.0.wait();
    }
}

/// Whose process it is.
#[derive(Clone, Copy)]
pub enum Identity<'a> {
    Root,
    /// A user of the password file, with that user's groups and no capability.
    User(&'a str),
}

impl Enclosure {
    /// # Panics
    /// When the namespaces cannot be made: not root, and no `sudo` without a password either.
    #[track_caller]
    pub fn new() -> Self {
        for name in ["bash", "setpriv", "unshare", "nsenter", "mount", "env"] {
            process::tool(name);
        }
        // Short, since the path of a socket has 108 bytes at most.
        let directory = tempfile::Builder::new()
            .prefix("wd-test-")
            .permissions(std::fs::Permissions::from_mode(0o711)) // other users' homes lie below
            .tempdir()
            .expect("a temporary directory")
            .keep();
        let log =
            std::fs::File::create(directory.join("enclosure.log")).expect("the enclosure's log");
        let mut holder = process::as_root("bash")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/enclosure.sh"))
            .arg(&directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .process_group(0) // a Ctrl-C for the tests must not keep it from cleaning up
            .spawn()
            .expect("bash starts");
        let mut line = String::new();
        if let Some(stdout) = holder.stdout.take() {
            let _ = BufReader::new(stdout).read_line(&mut line);
        }
        let Some(pid) = line.trim().strip_prefix("ready ") else {
            let log = std::fs::read_to_string(directory.join("enclosure.log")).unwrap_or_default();
            let _ = holder.kill();
            let _ = holder.wait();
            let _ = std::fs::remove_dir_all(&directory);
            panic!(
                "no private namespaces for the tests (they need root, or sudo without a password): {log}"
            );
        };
        Self {
            holder,
            namespaces: format!("/proc/{pid}/ns"),
            directory,
        }
    }

    /// Lives as long as the enclosure.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The name of the control groups that go with the enclosure, as an absolute path.
    pub fn cgroup(&self) -> String {
        format!(
            "/{}",
            self.directory
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
        )
    }

    /// `program`, to be run inside by `identity` in `cwd` (the file system is the host's), with the
    /// environment `env` and nothing else but `PATH` and the variables for certificates and proxies.
    #[track_caller]
    pub fn command(
        &self,
        identity: Identity,
        cwd: &Path,
        env: &[String],
        program: impl AsRef<OsStr>,
    ) -> Command {
        let mut command = process::as_root("nsenter");
        command
            .arg(format!("--mount={}/mnt", self.namespaces))
            .arg(format!("--pid={}/pid_for_children", self.namespaces))
            .arg("--");
        if let Identity::User(name) = identity {
            command
                .arg("setpriv")
                .args([format!("--reuid={name}"), format!("--regid={name}")])
                .args(["--init-groups", "--inh-caps=-all", "--"]);
        }
        // Entering a mount namespace moves to its root, hence the directory here.
        command
            .arg("env")
            .arg("--ignore-environment")
            .arg("--chdir")
            .arg(cwd);
        command
            .arg(format!("PATH={PATH}"))
            .args(process::kept_environment())
            .args(env)
            .arg(program);
        command
    }

    /// `program` as root with the enclosure's directory as home.
    #[track_caller]
    pub fn root(&self, program: &str) -> Command {
        let home = format!("HOME={}", self.directory.display());
        self.command(
            Identity::Root,
            &self.directory,
            &[home],
            process::tool(program),
        )
    }

    /// The command lines of all processes inside but the first one and `ps` itself.
    #[track_caller]
    pub fn processes(&self) -> Vec<String> {
        process::run(self.root("ps").args(["-e", "-o", "pid=,args="]))
            .lines()
            .filter_map(|line| line.trim().split_once(' '))
            .filter(|(pid, args)| *pid != "1" && !args.contains("ps -e -o pid=,args="))
            .map(|(_, args)| args.trim().to_owned())
            .collect()
    }

    /// The mount points inside that lie below `path`.
    #[track_caller]
    pub fn mounts_below(&self, path: &Path) -> Vec<PathBuf> {
        process::run(self.root("cat").arg("/proc/self/mounts"))
            .lines()
            .filter_map(|line| line.split(' ').nth(1))
            .map(PathBuf::from)
            .filter(|mount| mount.starts_with(path))
            .collect()
    }
}

impl Drop for Enclosure {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
