//! What git knows about a directory: tracked files, commit, branch, remote.
//!
//! It uses only plumbing commands of the `git` program. A repository that came in an archive brings its
//! own `.git/config`, which can name programs to run (filters, fsmonitor, hooks, a pager, gpg); all
//! of these are switched off, and neither the user's nor the system's configuration is read, so that
//! two clones look the same everywhere.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{Commit, SourceError};
use super::{enclosed, remote};

/// Most output of one call: some million paths.
const MAX_OUTPUT: u64 = 512 * 1024 * 1024;
/// Longest time for all questions about one directory. A repository from outside can have a named
/// pipe or a slow mount at any path that git reads, and git would wait for ever.
const LIMIT: Duration = Duration::from_mins(1);
/// How often the code checks whether the answer is still wanted.
const POLL: Duration = Duration::from_millis(50);

/// Whether the answer is not wanted any more.
pub(super) type Cancelled<'a> = &'a (dyn Fn() -> bool + Sync);

/// A directory in a git work tree.
pub(super) struct Repository<'a> {
    directory: PathBuf,
    /// The directory above which git looks for nothing.
    ceiling: Option<PathBuf>,
    /// The deadline for git's answers.
    end: Instant,
    /// Its answer is not wanted any more.
    cancelled: Cancelled<'a>,
    /// Options that switch the repository's own filters off.
    options: Vec<OsString>,
    tracked: HashSet<PathBuf>,
    /// Directories with something tracked below them.
    parents: HashSet<PathBuf>,
    /// Submodules that are not checked out.
    pub(super) missing_submodules: Vec<PathBuf>,
}

/// What was found.
pub(super) enum Found<'a> {
    /// Not in a work tree, or in one that does not track this directory.
    Nothing,
    /// There is a `.git`, but `git` is missing on this machine or refuses to read it; the reason.
    Unusable(String),
    Repository(Repository<'a>),
}

/// `unpacked`: the directory that the source was unpacked into. Git reads nothing outside of it.
pub(super) fn find<'a>(
    directory: &Path,
    unpacked: Option<&Path>,
    cancelled: Cancelled<'a>,
) -> Found<'a> {
    find_within(directory, unpacked, LIMIT, cancelled)
}

fn find_within<'a>(
    directory: &Path,
    unpacked: Option<&Path>,
    limit: Duration,
    cancelled: Cancelled<'a>,
) -> Found<'a> {
    let git = directory.join(".git");
    let has_git = git.symlink_metadata().is_ok();
    let root = unpacked.map(|root| std::fs::canonicalize(root).unwrap_or_else(|_| root.into()));
    let reason = match &root {
        Some(root) => enclosed::refusal(root),
        None => enclosed::obstacle(&git),
    };
    if let Some(reason) = reason {
        return Found::Unusable(reason);
    }
    let mut repository = Repository {
        directory: directory.to_owned(),
        ceiling: root.and_then(|root| root.parent().map(Path::to_owned)),
        end: Instant::now() + limit,
        cancelled,
        options: Vec::new(),
        tracked: HashSet::new(),
        parents: HashSet::new(),
        missing_submodules: Vec::new(),
    };
    if let Some(path) = pipe_in(directory) {
        return Found::Unusable(format!(
            "{} is neither a file nor a directory",
            path.display()
        ));
    }
    // A user who names a directory trusts its `.git` this far, even if another user owns it. The user
    // did not choose a repository above it (`/tmp/.git`): there git's own check of the owner applies.
    if has_git {
        let mut option = OsString::from("safe.directory=");
        option.push(directory);
        repository.options.push(option);
    }
    match repository.run(&["rev-parse", "--is-inside-work-tree"]) {
        Ok(answer) if answer.trim_ascii() == b"true" => {}
        Err(error) if has_git || error.to_string().contains("dubious ownership") => {
            return Found::Unusable(error.to_string());
        }
        _ => return Found::Nothing,
    }
    if let Err(reason) = repository.disarm() {
        return Found::Unusable(reason);
    }
    if let Err(error) = repository.list() {
        return Found::Unusable(error.to_string());
    }
    // A home directory may be a repository of dotfiles: it is not used for files that it does not track.
    if repository.tracked.is_empty() && !has_git {
        return Found::Nothing;
    }
    Found::Repository(repository)
}

impl Repository<'_> {
    /// Whether git knows this file, or something below this directory.
    pub(super) fn tracks(&self, path: &Path) -> bool {
        self.tracked.contains(path) || self.parents.contains(path)
    }

    /// The commit that is checked out; `None` before the first one.
    ///
    /// `untracked` says whether the tree has files that git does not know.
    pub(super) fn commit(&self, untracked: bool) -> Result<Option<Commit>, SourceError> {
        let Ok(id) = self.run(&["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]) else {
            return Ok(None);
        };
        let id = String::from_utf8_lossy(id.trim_ascii()).into_owned();
        let object = self.run(&["cat-file", "commit", &id])?;
        let (author, time, message) = parse_commit(&object);
        let text = |arguments: &[&str]| {
            let output = self.run(arguments).ok()?;
            let text = String::from_utf8_lossy(output.trim_ascii()).into_owned();
            (!text.is_empty()).then_some(text)
        };
        let changed = self.run(&[
            "status",
            "--porcelain",
            "-z",
            "--untracked-files=no",
            "--ignore-submodules=dirty",
            "--no-renames",
            "--",
            ".",
        ])?;
        let described = text(&["describe", "--tags", "--long", "--match", "*[0-9]*", "HEAD"]);
        // `TAG-DISTANCE-gCOMMIT`; the tag may have hyphens of its own.
        let tagged = described.as_deref().and_then(|text| {
            let (text, _) = text.rsplit_once("-g")?;
            let (tag, distance) = text.rsplit_once('-')?;
            Some((tag.to_owned(), distance.parse().ok()?))
        });
        let (tag, distance) = if let Some((tag, distance)) = tagged {
            (Some(tag), distance)
        } else {
            let count = text(&["rev-list", "--count", "HEAD"]);
            (
                None,
                count.and_then(|count| count.parse().ok()).unwrap_or(0),
            )
        };
        Ok(Some(Commit {
            tag,
            distance,
            changed: !changed.is_empty(),
            author,
            time,
            message,
            reference: text(&["symbolic-ref", "--short", "--quiet", "HEAD"]),
            dirty: untracked || !changed.is_empty(),
            remote: text(&["config", "--get", "remote.origin.url"])
                .and_then(|url| remote::normalized(&url)),
            id,
        }))
    }

    /// Finds the filters that the repository's configuration defines, to switch them off. A filter
    /// that `-c NAME=VALUE` cannot name (`[filter "a=b"]`: the first `=` ends the name) would stay
    /// active, and run as the user who builds: such a repository is not asked any further.
    fn disarm(&mut self) -> Result<(), String> {
        let listed = self.run(&[
            "config",
            "--name-only",
            "-z",
            "--get-regexp",
            r"^filter\..*\.(clean|smudge|process|required)$",
        ]);
        for key in listed.unwrap_or_default().split(|byte| *byte == 0) {
            if key.is_empty() {
                continue;
            }
            if key.contains(&b'=') || key.contains(&b'\n') {
                let name = String::from_utf8_lossy(key).escape_debug().to_string();
                return Err(format!(
                    "its configuration defines `{name}`, which cannot be switched off"
                ));
            }
            let off: &[u8] = if key.ends_with(b"required") {
                b"=false"
            } else {
                b"="
            };
            self.options.push(OsString::from_vec([key, off].concat()));
        }
        Ok(())
    }

    fn list(&mut self) -> Result<(), SourceError> {
        let files = self.run(&["ls-files", "-z", "--recurse-submodules"])?;
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        for name in files
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
        {
            let file = path(name);
            // A submodule that is not checked out is listed itself.
            if std::fs::symlink_metadata(self.directory.join(&file)).is_ok_and(|m| m.is_dir()) {
                self.missing_submodules.push(file.clone());
            }
            for parent in file.ancestors().skip(1) {
                if parent.as_os_str().is_empty() || !self.parents.insert(parent.to_owned()) {
                    break;
                }
            }
            self.tracked.insert(file);
        }
        Ok(())
    }

    fn run(&self, arguments: &[&str]) -> Result<Vec<u8>, SourceError> {
        let failed = |message: String| SourceError::Git {
            command: arguments.join(" "),
            path: self.directory.clone(),
            message,
        };
        let mut child = self
            .command(arguments)
            // Its helper processes end with it.
            .process_group(0)
            .spawn()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => failed("there is no `git` on this machine".into()),
                _ => failed(error.to_string()),
            })?;
        let stderr = child.stderr.take();
        let said = std::thread::spawn(move || {
            let mut text = String::new();
            if let Some(stderr) = stderr {
                let _ = stderr.take(64 * 1024).read_to_string(&mut text);
            }
            text
        });
        let stdout = child.stdout.take();
        let (sender, answer) = mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let mut output = Vec::new();
            let read = match stdout {
                Some(stdout) => stdout.take(MAX_OUTPUT).read_to_end(&mut output),
                None => Ok(0),
            };
            let whole = read.is_ok() && (output.len() as u64) < MAX_OUTPUT;
            let _ = sender.send((output, whole));
        });
        let (output, whole) = loop {
            let left = self.end.saturating_duration_since(Instant::now());
            match answer.recv_timeout(left.min(POLL)) {
                Ok(answer) => break answer,
                Err(RecvTimeoutError::Disconnected) => {
                    end(&mut child);
                    return Err(failed("its answer could not be read".into()));
                }
                Err(RecvTimeoutError::Timeout) if (self.cancelled)() => {
                    end(&mut child);
                    return Err(SourceError::Interrupted);
                }
                Err(RecvTimeoutError::Timeout) if left.is_zero() => {
                    end(&mut child);
                    return Err(failed("it did not answer in time".into()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        if !whole {
            end(&mut child);
        }
        let status = child.wait().map_err(|error| failed(error.to_string()))?;
        if status.success() {
            return Ok(output);
        }
        let said = said.join().unwrap_or_default();
        let line = said.lines().find(|line| !line.trim().is_empty());
        Err(failed(
            line.map_or_else(|| status.to_string(), str::to_owned),
        ))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("HOME", "/nonexistent")
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_OPTIONAL_LOCKS", "0")
            .env("GIT_NO_LAZY_FETCH", "1")
            .env("GIT_ALLOW_PROTOCOL", "")
            .envs(
                self.ceiling
                    .as_ref()
                    .map(|path| ("GIT_CEILING_DIRECTORIES", path)),
            )
            .current_dir(&self.directory)
            .arg("--no-pager")
            .arg("--no-replace-objects")
            .arg("--literal-pathspecs");
        let fixed = [
            "core.hooksPath=/dev/null",
            "core.fsmonitor=false",
            "core.untrackedCache=false",
            "core.quotePath=false",
            "core.attributesFile=/dev/null",
            "core.sshCommand=false",
            "log.showSignature=false",
        ];
        for option in fixed
            .iter()
            .map(OsStr::new)
            .chain(self.options.iter().map(OsString::as_os_str))
        {
            command.arg("-c").arg(option);
        }
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

/// Ends git and what it has started.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Something that git would wait for, at the paths that it always reads: in `.git`, in its `info`,
/// and beside it. For other paths there is the deadline.
fn pipe_in(directory: &Path) -> Option<PathBuf> {
    let git = Path::new(".git");
    let mut candidates: Vec<PathBuf> = [".git", ".gitattributes", ".gitmodules"]
        .map(PathBuf::from)
        .to_vec();
    for place in [git.to_owned(), git.join("info")] {
        let entries = std::fs::read_dir(directory.join(&place));
        candidates.extend(
            entries
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| place.join(entry.file_name())),
        );
    }
    candidates.into_iter().find(|path| {
        std::fs::metadata(directory.join(path)).is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
    })
}

/// Author, committer's time and subject of a commit object (gitformat-commit in git's sources; the
/// time of the committer is what `git log %ct` shows).
fn parse_commit(object: &[u8]) -> (String, i64, String) {
    let text = String::from_utf8_lossy(object);
    let (headers, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let header = |name: &str| {
        let mut lines = headers.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
    };
    // `Name <mail> SECONDS ZONE`
    let person = |line: &str| {
        let (who, when) = line
            .rsplit_once("> ")
            .map_or((line, ""), |(who, when)| (who, when));
        let seconds = when.split(' ').next().and_then(|word| word.parse().ok());
        let closed = if when.is_empty() { "" } else { ">" };
        (format!("{who}{closed}"), seconds.unwrap_or(0))
    };
    let (author, _) = person(header("author").unwrap_or_default());
    let (_, time) = person(header("committer").unwrap_or_default());
    let subject = body.trim_start().lines().next().unwrap_or_default().trim();
    (author, time, subject.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A repository with a commit, and a named pipe in place of a file.
    fn with_a_pipe(at: &str) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        let git = |arguments: &[&str]| {
            let mut command = Command::new("git");
            command.current_dir(place.path()).args(arguments);
            assert!(command.output().unwrap().status.success(), "{arguments:?}");
        };
        std::fs::create_dir(place.path().join("below")).unwrap();
        std::fs::write(place.path().join("below/file"), "x").unwrap();
        git(&["init", "--quiet", "."]);
        git(&["add", "."]);
        let author = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
        git(&[&author[..], &["commit", "--quiet", "-m", "x"]].concat());
        let pipe = place.path().join(at);
        let _ = std::fs::remove_file(&pipe);
        std::fs::create_dir_all(pipe.parent().unwrap()).unwrap();
        // Untouched, so that git has to look into the file.
        std::fs::write(place.path().join("below/file"), "y").unwrap();
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::Mode::from_raw_mode(0o600),
        )
        .unwrap();
        place
    }

    #[test]
    fn a_named_pipe_where_git_looks_keeps_no_build_waiting() {
        for at in [
            ".git/index",
            ".git/HEAD",
            ".git/config",
            ".git/packed-refs",
            ".git/info/exclude",
            ".git/info/attributes",
            ".gitattributes",
            ".gitmodules",
            ".git/refs/heads/x",
            ".git/objects/info/alternates",
            ".git/objects/pack/pack-x.idx",
            // A loose object, whether or not it belongs to the commit.
            ".git/objects/00/a3a1c2d3e4f5a6b7c8d9e0f1a2b3c4d5e6f7a8",
        ] {
            let place = with_a_pipe(at);
            let Found::Unusable(reason) = find(place.path(), None, &|| false) else {
                panic!("{at}");
            };
            assert!(reason.contains(at), "{reason}");
        }
        // Deep in the tree only the deadline helps: git waits until then.
        let place = with_a_pipe("below/.gitattributes");
        let limit = Duration::from_secs(2);
        let begun = Instant::now();
        if let Found::Repository(repository) = find_within(place.path(), None, limit, &|| false) {
            let error = repository.commit(false).unwrap_err();
            assert!(
                error.to_string().contains("did not answer in time"),
                "{error}"
            );
        }
        assert!(begun.elapsed() >= limit, "git did not look there");
        // The code does not wait for an answer that is not wanted any more.
        let asked = AtomicBool::new(false);
        let cancelled = || asked.swap(true, Ordering::Relaxed);
        let answer = match find(place.path(), None, &cancelled) {
            Found::Repository(repository) => repository.commit(false).map(drop),
            Found::Unusable(reason) => {
                assert_eq!(reason, "interrupted");
                Err(SourceError::Interrupted)
            }
            Found::Nothing => Ok(()),
        };
        assert!(
            matches!(answer, Err(SourceError::Interrupted)),
            "{answer:?}"
        );
    }

    #[test]
    fn commits_are_read_by_their_headers() {
        let object = b"tree 1\nparent 2\nauthor J\xc3\xb6rg X <j@example.com> 1700000000 +0100\ncommitter C <c@example.com> 1700000500 -0200\ngpgsig -----BEGIN\n author fake <f> 1 +0\n\nSubject line\n\nauthor body <b> 2 +0\n";
        let (author, time, subject) = parse_commit(object);
        assert_eq!(author, "Jörg X <j@example.com>");
        assert_eq!(time, 1_700_000_500);
        assert_eq!(subject, "Subject line");
        assert_eq!(parse_commit(b""), (String::new(), 0, String::new()));
    }
}
