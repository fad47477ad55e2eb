//! Runs a command of an image's in the sandbox: never its `ENTRYPOINT`, always the user, the
//! variables and the working directory that docker would give it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use crate::progress::Progress;
use crate::rootfs::User;
use crate::sandbox::{Capability, Exit, IdMode, Mount, Root, Sandbox, Spec, Upper};

use super::super::BuildError;
use super::super::assemble::{PhaseEnd, attend};
use super::super::environment;
use super::super::network::{self, Code};
use super::super::place::Place;
use super::super::sandbox_inputs::SandboxInputs;
use super::error::S2iBuildError;
use super::request::S2iRequest;

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command, and the root file system that it runs on.
pub(super) struct Job<'a> {
    /// For messages: `assemble`.
    pub(super) name: &'a str,
    /// For messages: the image.
    pub(super) image: &'a str,
    pub(super) command: Vec<String>,
    pub(super) cwd: PathBuf,
    pub(super) user: &'a User,
    /// Beside what every job has.
    pub(super) env: BTreeMap<String, String>,
    /// The uppermost first, without `upper`.
    pub(super) lowers: &'a [PathBuf],
    pub(super) upper: Upper,
    pub(super) mounts: Vec<Mount>,
}

/// The variables of a job: the image's and those of the request. They contain nothing of the host's
/// environment except where its certificates are mounted.
pub(super) fn variables(
    request: &S2iRequest,
    image: &[(String, String)],
    user: &User,
    env: &[(String, String)],
    time: i64,
) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    all.insert("PATH".into(), DEFAULT_PATH.into());
    all.insert("HOME".into(), user.home.clone());
    // Then byte-code that tools compile is checked by its source's content, not by its time.
    all.insert("SOURCE_DATE_EPOCH".into(), time.to_string());
    for (name, value) in environment::certificates(&inputs(request)) {
        all.insert(name.into(), value);
    }
    for (name, value) in image.iter().chain(env).chain(&request.common.build_env) {
        all.insert(name.clone(), value.clone());
    }
    all
}

/// What scripts of a builder may know.
fn inputs(request: &S2iRequest) -> SandboxInputs {
    SandboxInputs::of_application(&request.common, None)
}

/// The host's files that every job sees: certificates, resolver, secrets, volumes.
pub(super) fn mounts(request: &S2iRequest) -> Result<Vec<Mount>, BuildError> {
    let mut hosts = String::new();
    for (host, address) in &request.add_hosts {
        hosts.extend([address, "\t", host, "\n"]);
    }
    let mut mounts = environment::mounts_of_the_host(&inputs(request), &hosts)?;
    for volume in &request.volumes {
        let source =
            std::fs::canonicalize(&volume.source).map_err(|error| S2iBuildError::Volume {
                path: volume.source.clone(),
                problem: error.to_string(),
            })?;
        mounts.push(Mount::Bind {
            source,
            target: volume.destination.clone().into(),
            read_only: volume.read_only,
        });
    }
    Ok(mounts)
}

/// The capabilities of a root command: those of a build, without those of `--cap-drop`.
fn capabilities(request: &S2iRequest) -> Result<Vec<Capability>, S2iBuildError> {
    let mut kept = Capability::ALL.to_vec();
    for name in &request.cap_drop {
        let upper = name.trim().to_ascii_uppercase();
        let wanted = upper.strip_prefix("CAP_").unwrap_or(&upper);
        if wanted == "ALL" {
            return Ok(Vec::new());
        }
        kept.retain(|capability| capability.name() != wanted);
        // Capabilities that no build has are dropped already.
        if !KNOWN.contains(&wanted) {
            return Err(S2iBuildError::Capability {
                name: name.chars().filter(|c| !c.is_control()).collect(),
                known: Capability::ALL.map(Capability::name).join(", "),
            });
        }
    }
    Ok(kept)
}

/// The capabilities of Linux (capabilities(7)); most of them no build here ever has.
const KNOWN: [&str; 41] = [
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];

/// Supplementary groups as docker gives them: the user's own among them.
fn groups(user: &User) -> Vec<u32> {
    if !IdMode::current().chown_allowed() {
        return user.groups.clone();
    }
    let mut groups = vec![user.gid];
    groups.extend(&user.groups);
    groups
}

impl Job<'_> {
    fn start(self, request: &S2iRequest, progress: &dyn Progress) -> Result<Sandbox, BuildError> {
        let spec = Spec {
            root: Root {
                lowers: self.lowers.to_vec(),
                upper: Some(self.upper),
                writable_only: None,
            },
            mounts: self.mounts,
            network: request.common.network,
            host_services: Vec::new(),
            hostname: "warpdrive".into(),
            command: self.command,
            env: self.env.into_iter().collect(),
            cwd: self.cwd,
            uid: self.user.uid,
            gid: self.user.gid,
            groups: groups(self.user),
            capabilities: capabilities(request)?,
            umask: 0o022,
            init: true,
            volatile: true,
            limits: request.common.limits.clone(),
            #[cfg(debug_assertions)]
            without: Vec::new(),
        };
        let started = network::start(
            spec,
            Code::Foreign,
            &environment::named_for_scripts(&request.common),
            &Place::Sandbox,
            progress,
        )?;
        Ok(started.sandbox)
    }

    /// Runs it and shows what it prints; a status that is not 0 is an error.
    pub(super) fn run(
        self,
        request: &S2iRequest,
        progress: &dyn Progress,
    ) -> Result<(), BuildError> {
        let (name, image) = (self.name.to_owned(), self.image.to_owned());
        let mut sandbox = self.start(request, progress)?;
        let redactor = request.common.redactor();
        let outcome = if request.quiet {
            attend(&mut sandbox, &redactor, &Quietly(progress))?
        } else {
            attend(&mut sandbox, &redactor, progress)?
        };
        ended(name, image, outcome)
    }

    /// Runs it and passes its standard output to `reader` as it comes.
    pub(super) fn read<T: Send>(
        self,
        request: &S2iRequest,
        progress: &dyn Progress,
        reader: impl FnOnce(File) -> T + Send,
    ) -> Result<(T, Result<(), BuildError>), BuildError> {
        let (name, image) = (self.name.to_owned(), self.image.to_owned());
        let mut sandbox = self.start(request, progress)?;
        let redactor = request.common.redactor();
        let stdout = sandbox.take_stdout();
        let (outcome, read) = std::thread::scope(|scope| {
            let reading = stdout.map(|stdout| scope.spawn(move || reader(stdout)));
            let outcome = attend(&mut sandbox, &redactor, progress);
            (outcome, reading.and_then(|reading| reading.join().ok()))
        });
        let outcome = outcome?;
        let read = read.ok_or_else(|| {
            S2iBuildError::io(
                "read what was printed by",
                &name,
                std::io::Error::other("there was nothing to read from"),
            )
        })?;
        Ok((read, ended(name, image, outcome)))
    }
}

fn ended(script: String, image: String, outcome: PhaseEnd) -> Result<(), BuildError> {
    if outcome.exit == Exit::Code(0) {
        return Ok(());
    }
    Err(S2iBuildError::Script {
        script,
        image,
        exit: outcome.exit,
        tail: outcome.tail,
    }
    .into())
}

/// `--quiet`: the output of scripts is not shown.
struct Quietly<'a>(&'a dyn Progress);

impl Progress for Quietly<'_> {
    fn step(&self, line: &str) {
        self.0.step(line);
    }

    fn warning(&self, text: &str) {
        self.0.warning(text);
    }

    fn output(&self, _line: &str) {}

    fn moved(&self, what: &str, done: u64, total: Option<u64>) {
        self.0.moved(what, done, total);
    }
}
