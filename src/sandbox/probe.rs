//! What this machine allows, for `doctor`. Each ability is tried where that is cheap and harmless.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::id_map::{self, IdMode, Plan, State};
use super::limits::{self, Groups};
use super::spec::Limits;
use super::{capabilities, exe, landlock, network, start, sys};

/// One feature that a sandbox needs or can use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub name: &'static str,
    pub verdict: Verdict,
    /// What was found.
    pub detail: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Ok,
    /// It works, with less.
    Warn,
    /// Nothing can be built or run.
    Fail,
}

impl Finding {
    fn new(name: &'static str, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self {
            name,
            verdict,
            detail: detail.into(),
            remedy: None,
        }
    }

    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Verdict::Ok, detail)
    }

    fn warn(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Verdict::Warn, detail)
    }

    fn fail(name: &'static str, detail: impl Into<String>) -> Self {
        Self::new(name, Verdict::Fail, detail)
    }

    fn remedy(mut self, words: impl Into<String>) -> Self {
        self.remedy = Some(words.into());
        self
    }
}

/// Looks at everything. To be called before [`super::enter`].
pub fn probe() -> Vec<Finding> {
    vec![
        kernel(),
        user_namespace(),
        ids(),
        overlay(),
        own_copy(),
        system_call_filter(),
        landlock(),
        outbound(),
        control_groups(),
    ]
}

/// Why a user namespace may have been refused, and what to do about it.
pub(super) fn user_namespace_remedy() -> String {
    if in_pod() {
        return POD_REMEDY.to_owned();
    }
    remedy_for(&|path| fs::read_to_string(path).ok())
}

/// Whether this is a container of a pod.
#[must_use]
pub fn in_pod() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        || Path::new("/var/run/secrets/kubernetes.io").exists()
        || Path::new("/tekton").exists()
}

/// Only the last one needs an administrator.
const POD_REMEDY: &str = "this is a pod, which rarely may make namespaces: build in place, which needs none \
     (`warpdrive image NAME --in-place` in an image of `warpdrive builder push`); an administrator who wants \
     nested builds can allow a pod with a user namespace of its own (`hostUsers: false`), root in it, and the \
     capabilities SYS_ADMIN, NET_ADMIN, SETUID and SETGID";

fn remedy_for(read: &dyn Fn(&str) -> Option<String>) -> String {
    let is = |path: &str, value: &str| read(path).is_some_and(|text| text.trim() == value);
    let mut remedies = Vec::new();
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        remedies.push(
            "Debian's kernel.unprivileged_userns_clone is 0; an administrator can: \
             sysctl kernel.unprivileged_userns_clone=1",
        );
    }
    if is("/proc/sys/user/max_user_namespaces", "0") {
        remedies.push(
            "user.max_user_namespaces is 0; an administrator can: \
             sysctl user.max_user_namespaces=10000",
        );
    }
    if is(
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
    ) {
        remedies.push(
            "AppArmor restricts user namespaces (Ubuntu 23.10 and later); an administrator can \
             add a profile for warpdrive with `userns,`, or: \
             sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        );
    }
    if read("/run/.containerenv").is_some() || read("/.dockerenv").is_some() {
        remedies.push(
            "this is inside of a container: it has to allow user namespaces and mounts (docker: \
             --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt \
             systempaths=unconfined)",
        );
    }
    if remedies.is_empty() {
        "run it as root, or ask the administrator what forbids user namespaces here (seccomp, \
         SELinux, a kernel without CONFIG_USER_NS)"
            .to_owned()
    } else {
        remedies.join("\n  ")
    }
}

fn kernel() -> Finding {
    let release = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    match version(&release) {
        Some(version) if version < (5, 12) => Finding::fail("kernel", release)
            .remedy("Linux 5.12 or newer is needed (mount_setattr, overlays in user namespaces)"),
        Some(_) => Finding::ok("kernel", release),
        None => Finding::warn("kernel", format!("cannot make sense of {release}")),
    }
}

/// Major and minor number.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn user_namespace() -> Finding {
    const NAME: &str = "user namespaces";
    match State::current() {
        State::Ready(IdMode::Root) => return Finding::ok(NAME, "not needed: this is root"),
        State::Ready(_) => return Finding::ok(NAME, "this is inside of one that will do"),
        State::Outside => {}
    }
    match try_child("probe-userns") {
        Ok(()) => Finding::ok(NAME, "a user may make one and mount in it"),
        Err(reason) => Finding::fail(NAME, reason).remedy(user_namespace_remedy()),
    }
}

fn overlay() -> Finding {
    let known = fs::read_to_string("/proc/filesystems")
        .is_ok_and(|text| text.lines().any(|line| line.ends_with("\toverlay")));
    if known || Path::new("/sys/module/overlay").exists() {
        Finding::ok("overlayfs", "the kernel has it")
    } else {
        Finding::warn("overlayfs", "the kernel does not have it loaded")
            .remedy("an administrator can: modprobe overlay")
    }
}

/// Runs a small child of this program that tries something and reports why it fails.
fn try_child(verb: &str) -> Result<(), String> {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(exe::path().map_err(|error| error.to_string())?);
    let output = command
        .arg0(start::MAGIC)
        .arg(verb)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

/// That child, for user namespaces.
pub(super) fn try_user_namespace() -> i32 {
    use rustix::thread::UnshareFlags;
    use std::io::Write;
    let uid = rustix::process::geteuid().as_raw();
    let tried = sys::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS | UnshareFlags::NEWPID)
        .map_err(|error| format!("creating one: {error}"))
        .and_then(|()| {
            fs::write("/proc/self/setgroups", "deny")
                .and_then(|()| fs::write("/proc/self/uid_map", format!("1001 {uid} 1")))
                .map_err(|error| format!("mapping ids in it: {error}"))
        })
        .and_then(|()| {
            let private = rustix::mount::MountPropagationFlags::PRIVATE
                | rustix::mount::MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private)
                .and_then(|()| {
                    let flags = rustix::mount::MountFlags::empty();
                    rustix::mount::mount("tmpfs", "/tmp", "tmpfs", flags, None)
                })
                .map_err(|error| format!("mounting in it: {error}"))
        })
        .and_then(|()| try_proc());
    match tried {
        Ok(()) => 0,
        Err(reason) => {
            let _ = std::io::stderr().write_all(reason.as_bytes());
            1
        }
    }
}

/// Mounts /proc as every sandbox does, in the first process of the new pid namespace. The kernel refuses it
/// where parts of the one that is there are masked.
fn try_proc() -> Result<(), String> {
    match sys::fork() {
        Ok(sys::Forked::Child) => {
            let flags = rustix::mount::MountFlags::empty();
            let status = match rustix::mount::mount("proc", "/proc", "proc", flags, None) {
                Ok(()) => 0,
                Err(error) => error.raw_os_error() & 0xff,
            };
            sys::exit_now(status);
        }
        Ok(sys::Forked::Parent(child)) => {
            let status = sys::wait(Some(child), false).ok().flatten();
            match status.map(|(_, status)| libc::WEXITSTATUS(status)) {
                Some(0) => Ok(()),
                Some(error) => Err(format!(
                    "mounting /proc in it: {} (parts of /proc are masked here, as containers have it)",
                    std::io::Error::from_raw_os_error(error)
                )),
                None => Err("mounting /proc in it failed".to_owned()),
            }
        }
        Err(error) => Err(format!("starting a process in it: {error}")),
    }
}

fn ids() -> Finding {
    const NAME: &str = "subordinate ids";
    if let State::Ready(mode) = State::current() {
        return match mode {
            IdMode::SingleUid => Finding::warn(NAME, "one user only"),
            _ => Finding::ok(NAME, "not needed: all ids are there"),
        };
    }
    match id_map::plan() {
        Plan::Subuid {
            newuidmap, uids, ..
        } => {
            let count: u32 = uids.iter().map(|range| range.count).sum();
            Finding::ok(NAME, format!("{count} of them, by {}", newuidmap.display()))
        }
        Plan::Single(reason) => Finding::warn(NAME, reason).remedy(
            "without them, images run and are built with one user (1001:0): enough for our own \
             builder images, not for foreign ones whose scripts need other users, nor for \
             mmdebstrap",
        ),
    }
}

fn own_copy() -> Finding {
    const NAME: &str = "sealed executable";
    let policy = fs::read_to_string("/proc/sys/vm/memfd_noexec").unwrap_or_default();
    match exe::sealed() {
        Ok(copy) if exe::is_sealed(copy) => Finding::ok(NAME, "memfds may be executed"),
        Ok(_) => Finding::ok(
            NAME,
            format!(
                "a copy without a name (vm.memfd_noexec is {})",
                policy.trim()
            ),
        ),
        Err(error) => Finding::fail(NAME, error.to_string()),
    }
}

fn system_call_filter() -> Finding {
    const NAME: &str = "seccomp";
    let actions = "/proc/sys/kernel/seccomp/actions_avail";
    match fs::read_to_string(actions) {
        Ok(text) if text.split_whitespace().any(|action| action == "errno") => {
            Finding::ok(NAME, "filters are available")
        }
        _ => Finding::fail(NAME, "no filters").remedy("a kernel with CONFIG_SECCOMP_FILTER"),
    }
}

fn landlock() -> Finding {
    match landlock::version() {
        0 => Finding::warn("landlock", "not there").remedy(
            "builds that share the host's network can reach its abstract Unix sockets: Linux 6.12 \
             with landlock in lsm= prevents it, and so does --network none",
        ),
        abi if abi < 6 => Finding::warn("landlock", format!("version {abi}, without scopes"))
            .remedy(
                "Linux 6.12 or newer keeps builds that share the host's network from its abstract \
             Unix sockets",
            ),
        abi => Finding::ok("landlock", format!("version {abi}")),
    }
}

fn outbound() -> Finding {
    const NAME: &str = "private network";
    let tried = network::outbound().and_then(|name| try_child("probe-network").map(|()| name));
    match tried {
        Ok(name) => Finding::ok(NAME, format!("outbound through {name}")),
        Err(reason) => Finding::warn(NAME, format!("no outbound traffic: {reason}")).remedy(
            "install slirp4netns, 1.1 or newer (and give access to /dev/net/tun): without it, code of applications \
             and of packages is built on this machine's network and reaches services on 127.0.0.1, \
             unless with --network none; containers keep their published ports, and get outbound \
             traffic with --network host",
        ),
    }
}

/// Whether commands on this machine's network cannot reach its abstract Unix sockets.
pub fn fences_abstract_sockets() -> bool {
    landlock::version() >= 6
}

/// That child, for a network: a namespace, and the helper for its outbound traffic.
pub(super) fn try_network() -> i32 {
    match network_works() {
        Ok(()) => 0,
        Err(reason) => {
            use std::io::Write;
            let _ = std::io::stderr().write_all(reason.as_bytes());
            1
        }
    }
}

fn network_works() -> Result<(), String> {
    use rustix::thread::UnshareFlags;
    if matches!(State::current(), State::Outside) {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        sys::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS)
            .and_then(|()| fs::write("/proc/self/setgroups", "deny"))
            .and_then(|()| fs::write("/proc/self/uid_map", format!("1001 {uid} 1")))
            .and_then(|()| fs::write("/proc/self/gid_map", format!("0 {gid} 1")))
            .and_then(|()| capabilities::keep())
            .map_err(|error| format!("making a user namespace: {error}"))?;
    }
    let failed = |error: std::io::Error| format!("making a network namespace: {error}");
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
    let forked = sys::fork().map_err(failed)?;
    let pid = match forked {
        sys::Forked::Parent(pid) => pid,
        sys::Forked::Child => {
            use std::io::{Read, Write};
            drop(ours);
            let made = sys::unshare(UnshareFlags::NEWNET).is_ok();
            let _ = (&theirs).write_all(&[u8::from(made)]);
            // Until the other end is closed.
            let _ = (&theirs).read(&mut [0]);
            sys::exit_now(0);
        }
    };
    drop(theirs);
    let mut made = [0];
    let read = std::io::Read::read_exact(&mut &ours, &mut made);
    let result = match (read, made) {
        (Ok(()), [1]) => {
            let pid = Some(pid.as_raw_nonzero().get());
            network::start_outbound(pid, network::Way::Outward).map(|(mut child, _)| {
                let _ = child.kill();
                let _ = child.wait();
            })
        }
        _ => Err("a network namespace is refused".to_owned()),
    };
    drop(ours);
    let _ = sys::wait(Some(pid), false);
    result
}

fn control_groups() -> Finding {
    const NAME: &str = "limits";
    let refused: Vec<String> = [
        Limits {
            memory: Some(1 << 30),
            ..Limits::default()
        },
        Limits {
            pids: Some(1000),
            ..Limits::default()
        },
        Limits {
            cpus: Some(1.0),
            ..Limits::default()
        },
    ]
    .iter()
    .filter_map(|limits| Groups::create(limits).err().map(|error| error.to_string()))
    .collect();
    if refused.is_empty() {
        Finding::ok(NAME, "memory, pids and cpus can be limited")
    } else {
        Finding::warn(NAME, refused.join("; ")).remedy(limits::REMEDY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_follow_from_the_machine_s_settings() {
        for (path, value, word) in [
            (
                "/proc/sys/kernel/unprivileged_userns_clone",
                "0\n",
                "unprivileged_userns_clone=1",
            ),
            (
                "/proc/sys/user/max_user_namespaces",
                "0\n",
                "max_user_namespaces=10000",
            ),
            (
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
                "1\n",
                "AppArmor",
            ),
            ("/.dockerenv", "", "inside of a container"),
            ("/nothing", "", "as root"),
        ] {
            let read = |asked: &str| (asked == path).then(|| value.to_owned());
            let remedy = remedy_for(&read);
            assert!(remedy.contains(word), "{path}: {remedy}");
        }
    }

    #[test]
    fn releases_are_compared_as_numbers() {
        for (release, expected) in [
            ("6.18.44-fc", Some((6, 18))),
            ("5.4.0", Some((5, 4))),
            ("5.15-rc1", Some((5, 15))),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
    }
}
