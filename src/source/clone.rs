//! A commit of a git repository, fetched into an empty directory by the `git` program.
//!
//! ```text
//! ls-remote (what the reference is) ─► init ─► fetch --depth=1 ─► count ─► check out ─► submodules
//! ```
//!
//! The repository is hostile, its server too. So: URLs and references are checked before
//! (`location`); git speaks the allowed protocols only, also for submodules; hooks, templates and
//! whatever a repository's configuration or attributes could make git run are off (the directory's
//! configuration is ours, and there are no filters); nothing asks for a password; what the commit
//! holds is counted before it is written to disk; every command has a deadline and ends with us.
//! Of the user's own configuration git sees what says *how to reach a server* (`credential.*`,
//! `http.*`, `url.*`) and nothing that changes what is checked out: everyone gets the same files.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::location::{Protocol, is_commit_id, redacted};
use super::unpack::{MAX_BYTES, MAX_ENTRIES};
use super::{FetchOptions, GitUrl, SourceError};

/// Most output of one command that is kept.
const MAX_OUTPUT: u64 = 64 * 1024 * 1024;
/// Lines of git's own words that an error repeats.
const TAIL: usize = 12;
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
const LOGIN_HELPER: &str = "!f() { test \"$1\" = get && printf 'username=%s\\npassword=%s\\n' \"$GIT_SOURCE_USER\" \"$GIT_SOURCE_PASSWORD\"; }; f";

/// Fetches the commit that `source` names into the empty directory `into`, with a `.git` of its own
/// as a fresh clone has one.
pub(super) fn clone(
    source: &GitUrl,
    into: &Path,
    options: &FetchOptions<'_>,
) -> Result<(), SourceError> {
    let into = std::fs::canonicalize(into).map_err(|e| SourceError::io("find", into, e))?;
    let mut git = Git::new(source, &into, options)?;
    git.take_over_users_settings();
    let wanted = git.resolve()?;
    let format = if wanted.id().is_some_and(|id| id.len() == 64) {
        "sha256"
    } else {
        "sha1"
    };
    git.run(&[
        "init",
        "--quiet",
        "--template=",
        "--initial-branch=main",
        &format!("--object-format={format}"),
    ])?;
    // The URL has no credentials in it; `Commit::remote` is made of this.
    git.run(&["config", "remote.origin.url", &source.url])?;
    let id = git.fetch(&wanted)?;
    git.count(&id)?;
    match &wanted {
        Wanted::Branch { name, .. } => {
            let branch = format!("refs/heads/{name}");
            git.run(&["update-ref", &branch, &id])?;
            git.run(&["symbolic-ref", "HEAD", &branch])?;
        }
        _ => {
            git.run(&["update-ref", "--no-deref", "HEAD", &id])?;
        }
    }
    git.run(&["reset", "--hard", "--quiet"])?;
    if options.submodules && into.join(".gitmodules").symlink_metadata().is_ok() {
        git.submodules()?;
    }
    Ok(())
}

/// What a reference is, in the repository's own words.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Branch {
        name: String,
        id: String,
    },
    /// A tag or another full name.
    Name {
        name: String,
        id: String,
    },
    Commit(String),
    /// The beginning of a commit's id.
    Short(String),
}

impl Wanted {
    fn id(&self) -> Option<&str> {
        match self {
            Self::Branch { id, .. } | Self::Name { id, .. } | Self::Commit(id) => Some(id),
            Self::Short(_) => None,
        }
    }
}

struct Git<'a> {
    source: &'a GitUrl,
    into: &'a Path,
    options: &'a FetchOptions<'a>,
    deadline: Instant,
    /// `GIT_CONFIG_KEY_n` and `GIT_CONFIG_VALUE_n`.
    settings: Vec<(OsString, OsString)>,
    /// Where git's "global" configuration lies: ours.
    global: tempfile::NamedTempFile,
}

impl<'a> Git<'a> {
    fn new(
        source: &'a GitUrl,
        into: &'a Path,
        options: &'a FetchOptions<'a>,
    ) -> Result<Self, SourceError> {
        let global = global_configuration(source)?;
        let mut settings: Vec<(OsString, OsString)> = Vec::new();
        if source.login.is_some() {
            let host: String = source
                .url
                .splitn(4, '/')
                .take(3)
                .collect::<Vec<_>>()
                .join("/");
            settings.push((
                format!("credential.{host}.helper").into(),
                LOGIN_HELPER.into(),
            ));
        }
        Ok(Self {
            source,
            into,
            options,
            deadline: Instant::now() + options.timeout,
            settings,
            global,
        })
    }

    /// `credential.*`, `http.*` and `url.*` of the user and the machine.
    fn take_over_users_settings(&mut self) {
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

    /// Asks the repository what the reference is.
    fn resolve(&self) -> Result<Wanted, SourceError> {
        let reference = self.source.reference.as_deref();
        if let Some(id) = reference.filter(|text| is_commit_id(text)) {
            return Ok(Wanted::Commit(id.to_ascii_lowercase()));
        }
        let name = reference.unwrap_or("HEAD");
        let mut arguments = vec!["ls-remote", "--quiet", "--symref", "--", &self.source.url];
        let patterns: Vec<String> = if name == "HEAD" || name.starts_with("refs/") {
            vec![name.to_owned()]
        } else {
            vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")]
        };
        arguments.extend(patterns.iter().map(String::as_str));
        let listed = self.run(&arguments)?;
        let answer = Listed::read(&String::from_utf8_lossy(&listed));
        if let Some(wanted) = answer.find(name) {
            if answer.id(&format!("refs/heads/{name}")).is_some()
                && answer.id(&format!("refs/tags/{name}")).is_some()
            {
                self.options.progress.warning(&format!(
                    "`{name}` is a branch and a tag of {}; the branch is taken, `refs/tags/{name}` names the tag",
                    self.source.url
                ));
            }
            return Ok(wanted);
        }
        match reference {
            None => Err(SourceError::EmptyRepository {
                url: self.source.url.clone(),
            }),
            Some(text)
                if (4..40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit()) =>
            {
                Ok(Wanted::Short(text.to_ascii_lowercase()))
            }
            Some(text) => Err(self.no_such(text)),
        }
    }

    fn no_such(&self, reference: &str) -> SourceError {
        SourceError::NoSuchReference {
            reference: reference.to_owned(),
            url: self.source.url.clone(),
        }
    }

    /// Fetches what is wanted, alone where the server can; gives the commit's id.
    fn fetch(&self, wanted: &Wanted) -> Result<String, SourceError> {
        let asked = match wanted {
            Wanted::Branch { name, .. } => format!("refs/heads/{name}"),
            Wanted::Name { name, .. } => name.clone(),
            Wanted::Commit(id) => id.clone(),
            Wanted::Short(_) => String::new(),
        };
        if !asked.is_empty() {
            let into = "refs/source/wanted";
            match self.fetch_refs(&format!("+{asked}:{into}"), true) {
                Ok(()) => return self.commit_of(into),
                Err(
                    error @ (SourceError::TimedOut { .. }
                    | SourceError::Interrupted
                    | SourceError::NoGit),
                ) => return Err(error),
                // Servers that speak without shallow fetches, or give no commit that no branch ends at.
                Err(error) if !may_work_in_full(&error, wanted) => return Err(error),
                Err(_) => {}
            }
        }
        self.options
            .progress
            .step("---> Fetching all of the history: the server gives no single commits");
        for everything in [
            "+refs/heads/*:refs/source/heads/*",
            "+refs/tags/*:refs/source/tags/*",
        ] {
            self.fetch_refs(everything, false)?;
        }
        let revision = match wanted {
            Wanted::Short(id) => id.clone(),
            known => known.id().unwrap_or_default().to_owned(),
        };
        self.commit_of(&revision)
            .map_err(|_| self.no_such(self.source.reference.as_deref().unwrap_or("HEAD")))
    }

    fn fetch_refs(&self, refspec: &str, shallow: bool) -> Result<(), SourceError> {
        let mut arguments = vec![
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-recurse-submodules",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--update-head-ok",
        ];
        if shallow {
            arguments.push("--depth=1");
        }
        arguments.extend(["--", &self.source.url, refspec]);
        self.run(&arguments).map(drop)
    }

    fn commit_of(&self, revision: &str) -> Result<String, SourceError> {
        let commit = format!("{revision}^{{commit}}");
        let output = self.run(&[
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            &commit,
        ])?;
        Ok(String::from_utf8_lossy(output.trim_ascii()).into_owned())
    }

    /// Refuses a commit that would fill the disk: a tree of a few kilobytes can name a billion files.
    fn count(&self, id: &str) -> Result<(), SourceError> {
        let mut command = self.command();
        command.args(["ls-tree", "-r", "-l", "-z", "--full-tree", id]);
        let mut child = self.spawn(command)?;
        let stdout = child.stdout.take();
        let (mut entries, mut bytes) = (0u64, 0u64);
        let mut limit = None;
        if let Some(stdout) = stdout {
            // A record is `MODE TYPE ID SIZE TAB PATH NUL`.
            for record in BufReader::with_capacity(128 * 1024, stdout).split(0) {
                let record = record.map_err(|e| SourceError::io("list", self.into, e))?;
                let head = record
                    .split(|byte| *byte == b'\t')
                    .next()
                    .unwrap_or_default();
                let size = head.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
                let size: u64 = std::str::from_utf8(size)
                    .ok()
                    .and_then(|text| text.parse().ok())
                    .unwrap_or(0);
                entries += 1;
                bytes = bytes.saturating_add(size);
                if entries > MAX_ENTRIES {
                    limit = Some((MAX_ENTRIES, "entries"));
                } else if bytes > MAX_BYTES {
                    limit = Some((MAX_BYTES, "bytes"));
                }
                if limit.is_some() || (self.options.cancelled)() {
                    break;
                }
            }
        }
        if limit.is_some() || (self.options.cancelled)() {
            end(&mut child);
        }
        let status = child
            .wait()
            .map_err(|e| SourceError::io("list", self.into, e))?;
        if let Some((limit, unit)) = limit {
            return Err(SourceError::TooMuch {
                what: self.source.url.clone(),
                limit,
                unit,
            });
        }
        if (self.options.cancelled)() {
            return Err(SourceError::Interrupted);
        }
        if !status.success() {
            return Err(self.failed("ls-tree", "the commit cannot be listed", Vec::new()));
        }
        Ok(())
    }

    fn submodules(&self) -> Result<(), SourceError> {
        self.options.progress.step("---> Fetching submodules");
        let update = [
            "submodule",
            "--quiet",
            "update",
            "--init",
            "--recursive",
            "--checkout",
        ];
        let shallow: Vec<&str> = update.iter().copied().chain(["--depth=1"]).collect();
        match self.run(&shallow) {
            Ok(_) => Ok(()),
            Err(error @ (SourceError::TimedOut { .. } | SourceError::Interrupted)) => Err(error),
            Err(error) if error.to_string().contains("not allowed") => Err(error),
            Err(_) => self.run(&update).map(drop),
        }
    }

    /// Runs a command to its end; its standard output.
    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, SourceError> {
        let mut command = self.command();
        command.args(arguments);
        let doing = arguments.first().copied().unwrap_or_default();
        let (status, output) = self.watch(command, doing)?;
        if status.success() {
            Ok(output)
        } else {
            Err(self.failed(doing, "", Vec::new()))
        }
    }

    /// Waits for a command, until it is done, late, or nobody wants it any more.
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
        let said = std::thread::spawn(move || last_lines(stderr));
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
        let said = said.join().unwrap_or_default();
        if status.success() || doing.starts_with("config") {
            return Ok((status, output));
        }
        let line = said
            .iter()
            .find(|line| {
                line.starts_with("fatal:")
                    || line.starts_with("ERROR")
                    || line.starts_with("error:")
            })
            .or(said.last())
            .cloned()
            .unwrap_or_else(|| status.to_string());
        Err(self.failed(doing, &line, said))
    }

    fn failed(&self, doing: &str, message: &str, said: Vec<String>) -> SourceError {
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

    fn spawn(&self, mut command: Command) -> Result<Child, SourceError> {
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
                    .filter_map(|name| Some((name, std::env::var_os(name)?))),
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
        if std::env::var_os("GIT_SSH_COMMAND").is_none() && std::env::var_os("GIT_SSH").is_none() {
            command.env("GIT_SSH_COMMAND", "ssh -oBatchMode=yes -oConnectTimeout=20");
        }
        if std::env::var_os("GIT_SSL_CAINFO").is_none()
            && let Some(file) = std::env::var_os("SSL_CERT_FILE")
        {
            command.env("GIT_SSL_CAINFO", file);
        }
        command
    }

    fn command(&self) -> Command {
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

    /// For submodules too. A repository from elsewhere has no business with this machine's files.
    fn protocols(&self) -> Vec<&'static str> {
        let mut protocols = vec!["https", "http", "ssh"];
        if self.source.protocol == Protocol::File {
            protocols.push("file");
        }
        protocols
    }
}

/// A configuration for the programs that git starts for a repository of this machine: whoever names
/// it trusts it so far that it is read, whoever owns it.
fn global_configuration(source: &GitUrl) -> Result<tempfile::NamedTempFile, SourceError> {
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

/// Whether fetching everything may do what fetching one commit did not.
fn may_work_in_full(error: &SourceError, wanted: &Wanted) -> bool {
    let SourceError::Fetch { tail, .. } = error else {
        return false;
    };
    let said = tail.join("\n");
    said.contains("shallow")
        || (matches!(wanted, Wanted::Commit(_))
            && [
                "not our ref",
                "unadvertised",
                "not allow",
                "no such remote ref",
                "couldn't find remote ref",
            ]
            .iter()
            .any(|words| said.contains(words)))
}

fn end(child: &mut Child) {
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

/// The answer of `git ls-remote --symref`.
#[derive(Debug, Default)]
struct Listed {
    ids: Vec<(String, String)>,
    /// What `HEAD` points to.
    head: Option<String>,
}

impl Listed {
    fn read(text: &str) -> Self {
        let mut listed = Self::default();
        for line in text.lines() {
            let Some((first, name)) = line.split_once('\t') else {
                continue;
            };
            if let Some(target) = first.strip_prefix("ref: ") {
                if name == "HEAD" {
                    listed.head = Some(target.to_owned());
                }
            } else if is_commit_id(first) {
                listed.ids.push((name.to_owned(), first.to_owned()));
            }
        }
        listed
    }

    fn id(&self, name: &str) -> Option<&str> {
        self.ids
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, id)| id.as_str())
    }

    fn find(&self, name: &str) -> Option<Wanted> {
        if name == "HEAD" {
            let id = self.id("HEAD")?.to_owned();
            let branch = self
                .head
                .as_deref()
                .and_then(|head| head.strip_prefix("refs/heads/"));
            return Some(match branch {
                Some(branch) if super::location::check_reference(branch).is_ok() => {
                    Wanted::Branch {
                        name: branch.to_owned(),
                        id,
                    }
                }
                _ => Wanted::Name {
                    name: "HEAD".into(),
                    id,
                },
            });
        }
        let branch = name.strip_prefix("refs/heads/").unwrap_or(name);
        if let Some(id) = self.id(&format!("refs/heads/{branch}")) {
            return Some(Wanted::Branch {
                name: branch.to_owned(),
                id: id.to_owned(),
            });
        }
        [name.to_owned(), format!("refs/tags/{name}")]
            .into_iter()
            .find_map(|full| {
                let id = self.id(&full)?.to_owned();
                Some(Wanted::Name { name: full, id })
            })
    }
}

/// A file that says that contents lie elsewhere (git-lfs): without its filter, pointers are checked out.
pub(super) fn uses_lfs(root: &Path) -> bool {
    let attributes: PathBuf = root.join(".gitattributes");
    let Ok(file) = std::fs::File::open(attributes) else {
        return false;
    };
    let mut text = String::new();
    let _ = file.take(1024 * 1024).read_to_string(&mut text);
    text.contains("filter=lfs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_ls_remote() {
        let id = |digit: &str| digit.repeat(40);
        let text = format!(
            "ref: refs/heads/trunk\tHEAD\n{}\tHEAD\n{}\trefs/heads/x\n{}\trefs/tags/x\n{}\trefs/tags/v1\n{}\trefs/evil/refs/heads/y\n",
            id("a"),
            id("b"),
            id("c"),
            id("d"),
            id("e")
        );
        let listed = Listed::read(&text);
        assert_eq!(
            listed.find("HEAD"),
            Some(Wanted::Branch {
                name: "trunk".into(),
                id: id("a")
            })
        );
        assert_eq!(
            listed.find("x"),
            Some(Wanted::Branch {
                name: "x".into(),
                id: id("b")
            })
        );
        assert_eq!(listed.find("refs/heads/x"), listed.find("x"));
        assert_eq!(
            listed.find("refs/tags/x"),
            Some(Wanted::Name {
                name: "refs/tags/x".into(),
                id: id("c")
            })
        );
        assert_eq!(
            listed.find("v1"),
            Some(Wanted::Name {
                name: "refs/tags/v1".into(),
                id: id("d")
            })
        );
        assert_eq!(listed.find("y"), None);
        assert_eq!(Listed::read("garbage\n\t\nxyz\tHEAD").find("HEAD"), None);
    }
}
