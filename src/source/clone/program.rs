//! The `git` program as it is run for a repository from elsewhere: its environment, its settings, its
//! deadline and its end.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::super::location::{Protocol, redacted};
use super::super::{GitUrl, SourceError};
use super::Git;

/// Most output of one command that is kept.
const MAX_OUTPUT: u64 = 64 * 1024 * 1024;
/// Lines of git's own words that an error repeats.
const TAIL: usize = 12;
/// How long to wait for them once git has ended.
const LAST_WORDS: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(20);

/// The user's variables that say how to reach a server.
const PASSED_ON: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
    "SSH_AUTH_SOCK",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "GIT_SSH_VARIANT",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];

/// `git` asks this for the login that stood in the URL, which so shows in no list of processes. The
/// text is fixed; what it prints comes from the environment.
pub(super) const LOGIN_HELPER: &str = "!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \"$GIT_SOURCE_USER\" \"$GIT_SOURCE_PASSWORD\"; }; f";

impl Git<'_> {
    /// `credential.*`, `http.*` and `url.*` of the user and the machine.
    pub(super) fn take_over_users_settings(&mut self) {
        if self.source.protocol == Protocol::File {
            return;
        }
        let mut command = self.bare_command();
        command
            .env_remove("GIT_CONFIG_GLOBAL")
            .env_remove("GIT_CONFIG_NOSYSTEM")
            .args([
                "config",
                "--null",
                "--get-regexp",
                r"^(credential|http|url)\.",
            ]);
        // No such setting, or a file that cannot be read: then without.
        let Ok((status, output)) = self.watch(command, "config --get-regexp") else {
            return;
        };
        if !status.success() {
            return;
        }
        for entry in output
            .split(|byte| *byte == 0)
            .filter(|entry| !entry.is_empty())
        {
            use std::os::unix::ffi::OsStringExt;
            let mut parts = entry.splitn(2, |byte| *byte == b'\n');
            if let (Some(key), Some(value)) = (parts.next(), parts.next()) {
                self.settings.push((
                    OsString::from_vec(key.to_vec()),
                    OsString::from_vec(value.to_vec()),
                ));
            }
        }
    }

    /// Whether the user lets submodules be fetched from this machine's disk, by git's own setting for it. Without
    /// it, a commit could name any repository of this user's as its submodule (CVE-2022-39253).
    pub(super) fn lets_submodules_be_local(&self) -> bool {
        let mut command = self.bare_command();
        command
            .env_remove("GIT_CONFIG_GLOBAL")
            .env_remove("GIT_CONFIG_NOSYSTEM")
            .args(["config", "--null", "--get", "protocol.file.allow"]);
        let said = self.watch(command, "config --get");
        said.is_ok_and(|(status, output)| status.success() && output == b"always\0")
    }

    /// Runs a command to its end; its standard output.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, SourceError> {
        self.run_in(self.into, arguments)
    }

    /// The same in the directory of a submodule.
    pub(super) fn run_in(
        &self,
        directory: &Path,
        arguments: &[&str],
    ) -> Result<Vec<u8>, SourceError> {
        let mut command = self.command();
        command.current_dir(directory).args(arguments);
        let doing = arguments.first().copied().unwrap_or_default();
        let (status, output) = self.watch(command, doing)?;
        if status.success() {
            Ok(output)
        } else {
            Err(self.failed(doing, "", Vec::new()))
        }
    }

    /// Waits until a command ends, takes too long, or is no longer needed.
    fn watch(&self, command: Command, doing: &str) -> Result<(ExitStatus, Vec<u8>), SourceError> {
        let mut child = self.spawn(command)?;
        let stdout = child.stdout.take();
        let read = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(stdout) = stdout {
                let _ = stdout.take(MAX_OUTPUT).read_to_end(&mut bytes);
            }
            bytes
        });
        let stderr = child.stderr.take();
        // What git has started (ssh, a cache of credentials) may stay and hold this end open.
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(last_lines(stderr)));
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => {}
                Err(source) => return Err(SourceError::io("wait for git in", self.into, source)),
            }
            let late = Instant::now() > self.deadline;
            if late || (self.options.cancelled)() {
                end(&mut child);
                let _ = child.wait();
                return Err(if late {
                    SourceError::TimedOut {
                        url: self.source.url.clone(),
                        after: self.options.timeout,
                    }
                } else {
                    SourceError::Interrupted
                });
            }
            std::thread::sleep(POLL);
        };
        let output = read.join().unwrap_or_default();
        let said = told.recv_timeout(LAST_WORDS).unwrap_or_default();
        if status.success() || doing.starts_with("config") {
            return Ok((status, output));
        }
        let line = said
            .iter()
            .find(|line| is_cause(line))
            .or(said.iter().find(|line| line.starts_with("fatal:")))
            .or(said.last())
            .cloned()
            .unwrap_or_else(|| status.to_string());
        Err(self.failed(doing, &line, said))
    }

    pub(super) fn failed(&self, doing: &str, message: &str, said: Vec<String>) -> SourceError {
        let message = message
            .trim_start_matches("fatal: ")
            .trim_start_matches("error: ");
        SourceError::Fetch {
            url: self.source.url.clone(),
            command: doing.to_owned(),
            message: message.to_owned(),
            tail: said,
        }
    }

    pub(super) fn spawn(&self, mut command: Command) -> Result<Child, SourceError> {
        command.spawn().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SourceError::NoGit,
            _ => SourceError::io("run git in", self.into, error),
        })
    }

    /// A process group of its own, so that `git`'s helpers end with it.
    fn bare_command(&self) -> Command {
        let mut command = Command::new("git");
        command
            .env_clear()
            .envs(
                PASSED_ON
                    .iter()
                    .filter_map(|name| Some((name, variable(name)?))),
            )
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", self.global.path())
            .env(
                "GIT_CEILING_DIRECTORIES",
                self.into.parent().unwrap_or(Path::new("/")),
            )
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ASKPASS", "")
            .env("SSH_ASKPASS_REQUIRE", "never")
            .env("GIT_TEMPLATE_DIR", "")
            .env("GIT_LFS_SKIP_SMUDGE", "1")
            .env("GIT_ALLOW_PROTOCOL", self.protocols().join(":"))
            .current_dir(self.into)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        if variable("GIT_SSH_COMMAND").is_none() && variable("GIT_SSH").is_none() {
            command.env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oConnectTimeout=20");
        }
        if variable("GIT_SSL_CAINFO").is_none()
            && let Some(file) = variable("SSL_CERT_FILE")
        {
            command.env("GIT_SSL_CAINFO", file);
        }
        command
    }

    pub(super) fn command(&self) -> Command {
        let mut command = self.bare_command();
        if let Some((user, password)) = &self.source.login {
            command
                .env("GIT_SOURCE_USER", user)
                .env("GIT_SOURCE_PASSWORD", password);
        }
        command.env("GIT_CONFIG_COUNT", self.settings.len().to_string());
        for (index, (key, value)) in self.settings.iter().enumerate() {
            command
                .env(format!("GIT_CONFIG_KEY_{index}"), key)
                .env(format!("GIT_CONFIG_VALUE_{index}"), value);
        }
        command.args(["--no-pager", "--no-replace-objects", "--literal-pathspecs"]);
        let fixed = [
            "protocol.allow=never",
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.untrackedCache=false",
            "core.attributesFile=/dev/null",
            "core.excludesFile=/dev/null",
            "core.autocrlf=false",
            "core.eol=lf",
            "core.askPass=",
            "init.templateDir=",
            "init.defaultBranch=main",
            "submodule.recurse=false",
            "gc.auto=0",
            "maintenance.auto=false",
            "http.lowSpeedLimit=1000",
            "http.lowSpeedTime=60",
            "advice.detachedHead=false",
        ];
        for option in fixed {
            command.arg("-c").arg(option);
        }
        for protocol in self.protocols() {
            command
                .arg("-c")
                .arg(format!("protocol.{protocol}.allow=always"));
        }
        command
    }

    /// A repository from elsewhere has no business with this machine's files, and a submodule none unless the
    /// user lets it.
    fn protocols(&self) -> Vec<&'static str> {
        let mut protocols = vec!["https", "http", "ssh"];
        if self.source.protocol == Protocol::File && self.may_be_local {
            protocols.push("file");
        }
        protocols
    }
}

/// A variable of the user's that says something.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Lines that say more than git's own last word ("Could not read from remote repository").
fn is_cause(line: &str) -> bool {
    let begins = [
        "ssh:",
        "ERROR",
        "error:",
        "remote: ",
        "Host key verification failed",
    ];
    begins.iter().any(|word| line.starts_with(word)) || line.contains("Permission denied (")
}

/// A configuration for the programs that git starts for a repository of this machine: a user who names a
/// repository trusts it enough to read it, even if another user owns it.
pub(super) fn global_configuration(
    source: &GitUrl,
) -> Result<tempfile::NamedTempFile, SourceError> {
    use std::io::Write;
    let failed = |error| SourceError::io("write", &std::env::temp_dir(), error);
    let mut file = tempfile::NamedTempFile::new().map_err(failed)?;
    if let Some(path) = source.url.strip_prefix("file://") {
        let quoted = path.replace('\\', "\\\\").replace('"', "\\\"");
        // Repositories beside it: relative submodules.
        write!(
            file,
            "[safe]\n\tdirectory = \"{quoted}\"\n\tdirectory = \"{quoted}/.git\"\n\tdirectory = \"{quoted}.git\"\n"
        )
        .map_err(failed)?;
    }
    file.flush().map_err(failed)?;
    Ok(file)
}

pub(super) fn end(child: &mut Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(group) = group {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
}

/// The last lines that a program said, without credentials.
fn last_lines(stream: Option<impl Read>) -> Vec<String> {
    let mut lines = std::collections::VecDeque::new();
    let Some(stream) = stream else {
        return Vec::new();
    };
    for line in BufReader::new(stream.take(MAX_OUTPUT))
        .split(b'\n')
        .map_while(Result::ok)
    {
        let line = redacted(&crate::progress::printable(&String::from_utf8_lossy(&line)));
        if line.trim().is_empty() {
            continue;
        }
        if lines.len() == TAIL {
            lines.pop_front();
        }
        lines.push_back(line.chars().take(500).collect());
    }
    lines.into()
}
