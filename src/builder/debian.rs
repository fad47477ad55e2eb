//! Makes a builder image from Debian's signed packages with `mmdebstrap`, without a registry.
//!
//! `builder-images/README.md` says what goes in and why the result is the same for everyone.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::layer::{self, Budget, Compression, Edit, Member};
use crate::oci::{Descriptor, HistoryEntry, ImageConfig, descriptor, this_architecture};
use crate::progress::{Progress, printable};
use crate::sandbox::{self, IdMode};
use crate::store::{Scratch, Store};

use super::debian_output::Counter;
use super::definition::Definition;
use super::image;
use super::{APP_UID, BuilderError, FIXED_TIME, FIXED_TIME_RFC3339};

/// Runs in the new tree before it becomes an archive. mmdebstrap is given the text and not a file: with
/// subordinate ids its uids may read no file of this user's, and a temporary directory may forbid programs.
const FINISH: &str = include_str!("../../builder-images/finish.sh");
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const MIRROR: &str = "http://deb.debian.org/debian";
/// Hooks that make `/bin` a link to `/usr/bin` if the suite needs it. The mmdebstrap of Debian 11 does not
/// have them.
pub const HOOKS: &str = "/usr/share/mmdebstrap/hooks/maybe-merged-usr";
/// How long mmdebstrap may take to end after a request.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);
/// Lines that are repeated below an error.
const TAIL: usize = 20;

/// How mmdebstrap may work for this user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    Root,
    /// With a range of subordinate ids.
    Unshare,
}

/// Where packages come from.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mirror<'a> {
    /// `None`: Debian's own mirror.
    pub url: Option<&'a str>,
    /// It is a snapshot of an earlier day: its signatures are checked, but not their expiry date.
    pub expired: bool,
}

/// How this process can run mmdebstrap. `None`: it has neither root nor subordinate ids.
pub fn privilege(mode: IdMode) -> Option<Privilege> {
    match mode {
        IdMode::Root => Some(Privilege::Root),
        IdMode::Subuid => Some(Privilege::Unshare),
        IdMode::SingleUid => None,
    }
}

/// Makes the image and gives it the definition's name.
pub fn build(
    store: &Store,
    definition: &Definition,
    privilege: Privilege,
    mirror: Mirror<'_>,
    architecture: &str,
    progress: &dyn Progress,
) -> Result<Descriptor, BuilderError> {
    let _in_use = store.lock_shared()?;
    let (target, suite) = (Target::Stream, suite(definition)?);
    let start = start(
        store,
        definition,
        privilege,
        mirror,
        architecture,
        &target,
        progress,
    )?;
    let (blob, written) = start.read(definition, progress, |stdout| {
        let mut blob = store.blob_writer()?;
        let budget = Budget::new(u64::MAX, u64::MAX, None, sandbox::interrupted);
        let written = layer::rewrite(
            stdout,
            &mut keep,
            Compression::default(),
            &mut blob,
            &budget,
        );
        Ok((blob, written))
    })?;
    let written = written?;
    blob.commit(Some(&written.digest))?;
    let layer = descriptor(written.media_type, written.digest, written.size);
    let config = config(definition, &written.diff_id, &suite, architecture);
    image::commit(store, definition, vec![layer], &config)
}

/// Unpacks the definition's root file system to a directory, as root.
pub(super) fn unpack(
    store: &Store,
    definition: &Definition,
    target: &Target<'_>,
    mirror: Mirror<'_>,
    progress: &dyn Progress,
) -> Result<(), BuilderError> {
    let architecture = this_architecture();
    let root = Privilege::Root;
    let start = start(
        store,
        definition,
        root,
        mirror,
        architecture,
        target,
        progress,
    )?;
    start.read(definition, progress, |mut stdout| {
        // Its output is empty; only its end matters.
        let _ = io::copy(&mut stdout, &mut io::sink());
        Ok(())
    })
}

fn suite(definition: &Definition) -> Result<String, BuilderError> {
    definition.suite().ok_or_else(|| BuilderError::Definition {
        path: definition.name.clone().into(),
        problem: format!("`from = \"{}\"` is not `debian:SUITE`", definition.from),
    })
}

/// The target of mmdebstrap's result.
pub(super) enum Target<'a> {
    /// To its output, as a tar.
    Stream,
    Directory(&'a Path),
}

/// A running mmdebstrap.
struct Started {
    child: Child,
    /// All processes that it started end with it.
    together: bool,
    /// Its scratch directory.
    _scratch: Scratch,
}

fn start(
    store: &Store,
    definition: &Definition,
    privilege: Privilege,
    mirror: Mirror<'_>,
    architecture: &str,
    target: &Target<'_>,
    progress: &dyn Progress,
) -> Result<Started, BuilderError> {
    let suite = suite(definition)?;
    let scratch = store.scratch("mmdebstrap")?;
    progress.step(&format!(
        "---> Making {} from Debian's packages ({suite})",
        definition.name
    ));
    if !is_installed("mmdebstrap") {
        return Err(BuilderError::NoMmdebstrap);
    }
    if !Path::new(HOOKS).exists() {
        return Err(BuilderError::OldMmdebstrap);
    }
    let place = match privilege {
        Privilege::Root => scratch.path().to_owned(),
        Privilege::Unshare => open_place()?,
    };
    let mut command = tied(privilege);
    command
        .args(arguments(
            definition,
            &suite,
            privilege,
            mirror,
            architecture,
            target,
        ))
        .env("SOURCE_DATE_EPOCH", FIXED_TIME.to_string())
        .env("TMPDIR", place)
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().map_err(|source| BuilderError::Start {
        program: "mmdebstrap".into(),
        source,
    })?;
    Ok(Started {
        child,
        together: privilege == Privilege::Root && is_tied(),
        _scratch: scratch,
    })
}

impl Started {
    /// Returns the result of `read` for its output, after a successful end.
    fn read<T>(
        mut self,
        definition: &Definition,
        progress: &dyn Progress,
        read: impl FnOnce(Output) -> Result<T, BuilderError>,
    ) -> Result<T, BuilderError> {
        let stdout = self.child.stdout.take();
        let stderr = self.child.stderr.take();
        let mut tail = VecDeque::new();
        let made = std::thread::scope(|scope| {
            let tail = &mut tail;
            if let Some(stderr) = stderr {
                scope.spawn(move || tell(stderr, tail, progress));
            }
            let made = match stdout {
                Some(stdout) => read(Output(stdout)),
                None => unreachable!("stdout is piped"),
            };
            // It may run much longer without any output.
            if sandbox::interrupted() {
                stop(&mut self.child, self.together);
            }
            made
        });
        let status = self.child.wait().map_err(|source| BuilderError::Start {
            program: "mmdebstrap".into(),
            source,
        })?;
        if sandbox::interrupted() {
            return Err(BuilderError::Interrupted);
        }
        if !status.success() {
            return Err(BuilderError::Mmdebstrap {
                name: definition.name.clone(),
                status: status.code().unwrap_or(-1),
                tail: tail.into(),
            });
        }
        made
    }
}

/// The output of mmdebstrap; an error once this process is asked to end.
struct Output(ChildStdout);

impl Read for Output {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut waiting = vec![PollFd::new(&self.0, PollFlags::IN)];
        let interrupts = sandbox::interrupt_fd();
        if let Some(interrupts) = &interrupts {
            waiting.push(PollFd::new(interrupts, PollFlags::IN));
        }
        loop {
            if sandbox::interrupted() {
                return Err(io::Error::other("interrupted"));
            }
            match poll(&mut waiting, None) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if sandbox::interrupted() {
            return Err(io::Error::other("interrupted"));
        }
        self.0.read(into)
    }
}

/// Asks a program to end, so that it removes its unfinished work, and kills it if this takes too long.
/// (`unshare` ignores such a request; the programs that it kills leave nothing behind: `together`.)
fn stop(child: &mut Child, together: bool) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let (Some(pid), false) = (pid, together) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let end = Instant::now() + PATIENCE;
    while !together && Instant::now() < end {
        if !matches!(child.try_wait(), Ok(None)) {
            return;
        }
        std::thread::sleep(POLL);
    }
    let _ = child.kill();
}

/// Passes on mmdebstrap's messages, and keeps the last lines.
fn tell(stderr: ChildStderr, tail: &mut VecDeque<String>, progress: &dyn Progress) {
    let mut counter = Counter::default();
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
        let line = printable(&String::from_utf8_lossy(&line));
        // An error of the hook quotes the complete hook.
        if !line.trim().is_empty() && FINISH.lines().any(|own| own == line) {
            continue;
        }
        progress.detail(&line);
        if let Some((what, done, total)) = counter.read(&line) {
            progress.counted(what, done, total);
        }
        if tail.len() == TAIL {
            tail.pop_front();
        }
        tail.push_back(line);
    }
}

/// mmdebstrap's scratch directory for work with subordinate ids, which must be able to enter it: they
/// cannot enter the store and many home directories. It is on a disk and not in memory, because it
/// takes a gigabyte.
fn open_place() -> Result<PathBuf, BuilderError> {
    let wished = std::env::var_os("TMPDIR").map(PathBuf::from);
    let places: Vec<PathBuf> = wished
        .into_iter()
        .chain(["/var/tmp".into(), "/tmp".into()])
        .collect();
    places
        .iter()
        .find(|place| is_open(place))
        .cloned()
        .ok_or(BuilderError::NoOpenPlace { tried: places })
}

/// Whether this user may write there and all users may enter it.
fn is_open(place: &Path) -> bool {
    let Ok(place) = place.canonicalize() else {
        return false;
    };
    let entered = |path: &Path| path.metadata().is_ok_and(|data| data.mode() & 0o001 != 0);
    let writable = rustix::fs::access(
        &place,
        rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK,
    );
    writable.is_ok() && place.ancestors().all(entered)
}

/// Whether this machine has the programs that make builders.
pub fn is_possible() -> bool {
    is_installed("mmdebstrap") && Path::new(HOOKS).exists()
}

/// Whether a program is in the search path.
fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|place| place.join(program).is_file()))
}

/// Whether util-linux is installed, so that mmdebstrap ends with this process.
fn is_tied() -> bool {
    is_installed("setpriv") && is_installed("unshare")
}

/// The command line of `mmdebstrap`. With util-linux, it ends together with this process, even if this
/// process is killed. As root it gets its own process and mount namespaces: all processes that it
/// started end with it, and the host never sees its mounts. (Otherwise a `/dev` that is left in the
/// store would be removed together with the store.) Without root, mmdebstrap makes both namespaces
/// itself, and its helpers use the process numbers outside.
fn tied(privilege: Privilege) -> Command {
    const TOGETHER: [&str; 7] = [
        "unshare",
        "--mount",
        "--propagation=private",
        "--pid",
        "--fork",
        "--kill-child=KILL",
        "--",
    ];
    if !is_tied() {
        return Command::new("mmdebstrap");
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]);
    if privilege == Privilege::Root {
        command.args(TOGETHER);
    }
    command.arg("mmdebstrap");
    command
}

fn arguments(
    definition: &Definition,
    suite: &str,
    privilege: Privilege,
    mirror: Mirror<'_>,
    architecture: &str,
    target: &Target<'_>,
) -> Vec<OsString> {
    let expired = mirror.expired;
    let mirror = mirror.url.unwrap_or(MIRROR).trim_end_matches('/');
    let mode = match privilege {
        Privilege::Root => "root",
        Privilege::Unshare => "unshare",
    };
    let (format, place) = match target {
        Target::Stream => ("tar", OsString::from("-")),
        Target::Directory(place) => ("directory", place.as_os_str().to_owned()),
    };
    let mut arguments: Vec<OsString> = vec![
        format!("--mode={mode}").into(),
        "--variant=essential".into(),
        format!("--hook-dir={HOOKS}").into(),
        format!("--format={format}").into(),
        format!("--architectures={architecture}").into(),
        format!("--include={}", definition.packages.join(",")).into(),
    ];
    for option in [
        "Apt::Install-Recommends \"false\"",
        "Acquire::Languages \"none\"",
        "Acquire::Retries \"5\"",
    ] {
        arguments.push(format!("--aptopt={option}").into());
    }
    if expired {
        arguments.push("--aptopt=Acquire::Check-Valid-Until \"false\"".into());
    }
    for option in [
        "path-exclude=/usr/share/man/*",
        "path-exclude=/usr/share/info/*",
        "path-exclude=/usr/share/locale/*",
        "path-include=/usr/share/locale/locale.alias",
        "path-exclude=/usr/share/doc/*",
        "path-include=/usr/share/doc/*/copyright",
        "path-exclude=/usr/share/lintian/*",
    ] {
        arguments.push(format!("--dpkgopt={option}").into());
    }
    arguments.push(format!("--customize-hook={FINISH}").into());
    // The messages of apt and dpkg show the progress.
    arguments.extend(["--verbose".into(), suite.into(), place]);
    for source in &definition.suites {
        // Security updates are beside the main archive, on every mirror that has them.
        let archive = if source.ends_with("-security") {
            format!("{mirror}-security")
        } else {
            mirror.to_owned()
        };
        arguments.push(format!("deb [signed-by={KEYRING}] {archive} {source} main").into());
    }
    arguments
}

/// Device nodes come from the container engine, not from an image.
fn keep(member: &mut Member) -> Edit {
    if is_device_file(&member.path) {
        Edit::Drop
    } else {
        Edit::Keep
    }
}

fn is_device_file(path: &Path) -> bool {
    let relative = path.strip_prefix("./").unwrap_or(path);
    relative.starts_with("dev") && relative != Path::new("dev")
}

fn config(
    definition: &Definition,
    diff_id: &crate::oci::Digest,
    suite: &str,
    architecture: &str,
) -> ImageConfig {
    let mut config = ImageConfig::new("linux", architecture);
    config.set_created(FIXED_TIME_RFC3339);
    config.set("Cmd", json!(["python3"]));
    // The default user is not root, also in the builder.
    config.set("User", json!(APP_UID.to_string()));
    config.set_env(
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    image::describe(definition, &mut config);
    config.push_layer(
        diff_id,
        &HistoryEntry {
            created: FIXED_TIME_RFC3339.into(),
            created_by: format!("mmdebstrap {suite}"),
            empty_layer: false,
        },
    );
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_nodes_are_dropped_and_dev_is_kept() {
        for (path, dropped) in [
            ("./dev/", false),
            ("dev", false),
            ("./dev/null", true),
            ("./usr/lib/dev/x", false),
            ("./development", false),
        ] {
            assert_eq!(is_device_file(Path::new(path)), dropped, "{path}");
        }
    }

    #[test]
    fn a_closed_directory_is_not_open_to_subordinate_ids() {
        use std::os::unix::fs::PermissionsExt;
        let place = tempfile::tempdir().unwrap();
        let below = place.path().join("below");
        std::fs::create_dir(&below).unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        for (outer, inner, open) in [
            (0o755, 0o755, true),
            (0o711, 0o1777, true),
            (0o700, 0o755, false),
            (0o755, 0o700, false),
        ] {
            mode(place.path(), outer);
            mode(&below, inner);
            assert_eq!(is_open(&below), open, "{outer:o} {inner:o}");
        }
        assert!(!is_open(&place.path().join("missing")));
    }

    /// `mmdebstrap(1)`: a hook with a shell's characters in it is a program for `sh -c`.
    #[test]
    fn the_last_step_is_given_as_text() {
        let definition = super::super::definition::find("debian-12-python-3.11").unwrap();
        let words = arguments(
            &definition,
            "bookworm",
            Privilege::Unshare,
            Mirror::default(),
            "amd64",
            &Target::Stream,
        );
        let hook = words
            .iter()
            .find_map(|word| word.to_str()?.strip_prefix("--customize-hook="))
            .unwrap();
        assert!(hook.starts_with("#!/bin/sh\n") && hook.contains("cd \"$1\""));
        assert!(hook.len() < 128 * 1024, "the longest argument of Linux");
    }

    #[test]
    fn security_updates_come_from_beside_the_mirror() {
        let definition = super::super::definition::find("debian-12-python-3.11").unwrap();
        let words: Vec<String> = arguments(
            &definition,
            "bookworm",
            Privilege::Root,
            Mirror {
                url: Some("https://mirror.example/debian/"),
                expired: false,
            },
            "amd64",
            &Target::Stream,
        )
        .into_iter()
        .map(|word| word.into_string().unwrap())
        .collect();
        let sources: Vec<&String> = words.iter().filter(|w| w.starts_with("deb ")).collect();
        assert!(sources[0].ends_with("https://mirror.example/debian bookworm main"));
        assert!(
            sources[2].ends_with("https://mirror.example/debian-security bookworm-security main")
        );
    }
}
