//! Memory, CPU and process limits by control groups: version 1 as root, version 2 as root or where a
//! user manager has delegated a subtree. No daemon is needed.
//!
//! A group is made beside or below our own and gets the limit; pid 1 of the sandbox writes itself
//! into it. It is removed after the sandbox has ended.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::error::SandboxError;
use super::id_map::IdMode;
use super::spec::Limits;

/// How a user gets permission to set limits.
pub(super) const REMEDY: &str =
    "run it as root, or in a delegated scope: systemd-run --user --scope -p Delegate=yes";
const PREFIX: &str = "warpdrive-";
/// A younger group may soon get its first process.
const FRESH: Duration = Duration::from_mins(1);
/// Default number of processes and threads of a sandbox.
const DEFAULT_PROCESSES: u64 = 4096;
/// Microseconds of a CPU quota's period, the kernel's default.
const PERIOD: u32 = 100_000;

/// An error where a limit cannot be enforced on this machine, as [`super::spawn`] would give it: for a
/// caller that may not need to start anything.
pub fn check_limits(limits: &Limits) -> Result<(), SandboxError> {
    Groups::create(limits).map(drop)
}

/// The control groups of one sandbox.
#[derive(Debug, Default)]
pub(super) struct Groups {
    made: Vec<PathBuf>,
    /// Limits that could not be enforced, if that is acceptable.
    notes: Vec<String>,
}

impl Groups {
    /// Makes the groups for the limits that are set.
    pub(super) fn create(limits: &Limits) -> Result<Self, SandboxError> {
        let mut groups = Self::default();
        let wanted = settings(limits);
        if wanted.is_empty() {
            return Ok(groups);
        }
        let read = |path: &str| {
            fs::read_to_string(path)
                .map_err(|error| SandboxError::io(format!("reading {path}"), error))
        };
        let tree = Tree::parse(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?);
        for setting in &wanted {
            match groups.add(&tree, setting) {
                Err(error @ SandboxError::LimitNotEnforceable { .. }) if limits.best_effort => {
                    groups.notes.push(format!("no limit: {error}"));
                }
                other => other?,
            }
        }
        Ok(groups)
    }

    /// The groups for the limits that are set, and the bound on processes for `RLIMIT_NPROC`.
    /// Without a requested bound, there is a default one, by the available means.
    ///
    /// A user's limit counts in the user namespace, which has only sandboxes. Root's limit would count
    /// the processes of user 1001 on the whole machine, and would not hold for user 0: so root makes a
    /// group if it can.
    pub(super) fn of(limits: &Limits) -> Result<(Self, Option<u64>), SandboxError> {
        if limits.pids.is_some() {
            return Ok((Self::create(limits)?, None));
        }
        let bounded = Limits {
            pids: Some(DEFAULT_PROCESSES),
            ..limits.clone()
        };
        if IdMode::current() == IdMode::Root
            && let Ok(groups) = Self::create(&bounded)
            && groups.notes.is_empty()
        {
            return Ok((groups, None));
        }
        Ok((Self::create(limits)?, Some(DEFAULT_PROCESSES)))
    }

    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// `cgroup.procs` of each.
    pub(super) fn procs(&self) -> Vec<PathBuf> {
        self.made
            .iter()
            .map(|group| group.join("cgroup.procs"))
            .collect()
    }

    fn add(&mut self, tree: &Tree, setting: &Setting) -> Result<(), SandboxError> {
        let refused = |reason: String| SandboxError::LimitNotEnforceable {
            which: setting.which,
            reason,
        };
        let group = match tree.home(setting.controller) {
            Some(Home::V1(own)) => self
                .make(&own)
                .map_err(|error| refused(format!("{}: {error}", own.display())))?,
            Some(Home::V2(own)) => self.make_v2(&own, setting.controller).map_err(refused)?,
            None => {
                return Err(refused(format!(
                    "no control group hierarchy has the {} controller",
                    setting.controller
                )));
            }
        };
        let v2 = group.join("cgroup.controllers").exists();
        let files = if v2 { &setting.v2 } else { &setting.v1 };
        for (file, value, needed) in files {
            match fs::write(group.join(file), value) {
                Err(error) if *needed => return Err(refused(format!("{file}: {error}"))),
                _ => {}
            }
        }
        Ok(())
    }

    /// A group below `parent`: an existing one of this process, or a new one.
    fn make(&mut self, parent: &Path) -> io::Result<PathBuf> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if let Some(group) = self
            .made
            .iter()
            .find(|group| group.parent() == Some(parent))
        {
            return Ok(group.clone());
        }
        remove_stale(parent);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let group = parent.join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&group)?;
        self.made.push(group.clone());
        Ok(group)
    }

    /// Version 2 has processes in leaves only, so the group goes beside our own where it cannot go
    /// below it.
    fn make_v2(&mut self, own: &Path, controller: &str) -> Result<PathBuf, String> {
        let mut reason = format!("{} has no {controller} controller", own.display());
        for parent in own.ancestors().take(2) {
            let control = parent.join("cgroup.subtree_control");
            let Ok(enabled) = fs::read_to_string(&control) else {
                break;
            };
            if !enabled.split_whitespace().any(|name| name == controller)
                && let Err(error) = fs::write(&control, format!("+{controller}"))
            {
                reason = format!("{}: {error}", control.display());
                continue;
            }
            match self.make(parent) {
                Ok(group) => return Ok(group),
                Err(error) => reason = format!("{}: {error}", parent.display()),
            }
        }
        Err(format!("{reason} ({REMEDY})"))
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        for group in &self.made {
            // The kernel takes a moment to let the last process go.
            for _ in 0..50 {
                match fs::remove_dir(group) {
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    _ => break,
                }
            }
        }
    }
}

/// Empty groups of killed warpdrive processes can be removed.
fn remove_stale(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| {
            name.strip_prefix(PREFIX)?
                .split('-')
                .next()?
                .parse::<i32>()
                .ok()
        });
        // A process in another pid namespace, which is not visible here, may have made it just now.
        let old = entry
            .metadata()
            .and_then(|data| data.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > FRESH));
        if old && owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// This program's groups that a process is in: their `cgroup.procs`, for a command that joins it.
pub(super) fn procs_of(pid: i32) -> Vec<PathBuf> {
    let read = |path: String| fs::read_to_string(path).unwrap_or_default();
    let tree = Tree::parse(
        &read("/proc/self/mountinfo".to_owned()),
        &read(format!("/proc/{pid}/cgroup")),
    );
    tree.0
        .into_iter()
        .map(|(_, home)| match home {
            Home::V1(path) | Home::V2(path) => path,
        })
        .filter(|path| {
            path.file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(PREFIX))
        })
        .map(|path| path.join("cgroup.procs"))
        .collect()
}

/// One limit: its controller, the files to write in each version, and whether they are required.
struct Setting {
    which: &'static str,
    controller: &'static str,
    v1: Vec<(&'static str, String, bool)>,
    v2: Vec<(&'static str, String, bool)>,
}

fn settings(limits: &Limits) -> Vec<Setting> {
    let mut settings = Vec::new();
    if let Some(bytes) = limits.memory {
        let bytes = bytes.to_string();
        settings.push(Setting {
            which: "memory",
            controller: "memory",
            v1: vec![
                ("memory.limit_in_bytes", bytes.clone(), true),
                ("memory.memsw.limit_in_bytes", bytes.clone(), false),
            ],
            v2: vec![
                ("memory.max", bytes, true),
                ("memory.swap.max", "0".to_owned(), false),
                ("memory.oom.group", "1".to_owned(), false),
            ],
        });
    }
    if let Some(pids) = limits.pids {
        let files = vec![("pids.max", pids.to_string(), true)];
        settings.push(Setting {
            which: "pids",
            controller: "pids",
            v1: files.clone(),
            v2: files,
        });
    }
    if let Some(cpus) = limits.cpus {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let quota = (cpus.clamp(0.01, 100_000.0) * f64::from(PERIOD)).round() as u64;
        settings.push(Setting {
            which: "cpus",
            controller: "cpu",
            v1: vec![
                ("cpu.cfs_period_us", PERIOD.to_string(), true),
                ("cpu.cfs_quota_us", quota.to_string(), true),
            ],
            v2: vec![("cpu.max", format!("{quota} {PERIOD}"), true)],
        });
    }
    settings
}

/// The group of this process, for each hierarchy's controllers.
#[derive(Debug, PartialEq, Eq)]
struct Tree(Vec<(Vec<String>, Home)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Home {
    V1(PathBuf),
    V2(PathBuf),
}

impl Tree {
    fn parse(mountinfo: &str, cgroup: &str) -> Self {
        let own: Vec<(Vec<&str>, &str)> = cgroup
            .lines()
            .filter_map(|line| {
                let mut fields = line.splitn(3, ':');
                let _hierarchy = fields.next()?;
                let controllers = fields.next()?;
                let path = fields.next()?;
                let controllers = controllers
                    .split(',')
                    .filter(|name| !name.is_empty())
                    .collect();
                Some((controllers, path))
            })
            .collect();
        let homes = mountinfo.lines().filter_map(|line| {
            let (mount, system) = line.split_once(" - ")?;
            let mut mount = mount.split(' ').skip(3);
            let (root, point) = (mount.next()?, mount.next()?);
            let mut system = system.split(' ');
            let kind = system.next()?;
            let options: Vec<&str> = system.nth(1)?.split(',').collect();
            let (controllers, path) = own.iter().find(|(controllers, _)| match kind {
                "cgroup" => {
                    !controllers.is_empty()
                        && controllers
                            .iter()
                            .all(|controller| options.contains(controller))
                }
                "cgroup2" => controllers.is_empty(),
                _ => false,
            })?;
            let home = inside(root, point, path)?;
            Some(if kind == "cgroup" {
                (
                    controllers.iter().map(ToString::to_string).collect(),
                    Home::V1(home),
                )
            } else {
                (Vec::new(), Home::V2(home))
            })
        });
        Self(homes.collect())
    }

    fn home(&self, controller: &str) -> Option<Home> {
        let v1 = self
            .0
            .iter()
            .find(|(controllers, _)| controllers.iter().any(|name| name == controller));
        if let Some((_, home)) = v1 {
            return Some(home.clone());
        }
        self.0.iter().find_map(|(_, home)| match home {
            Home::V2(path) => {
                let there = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
                there
                    .split_whitespace()
                    .any(|name| name == controller)
                    .then(|| home.clone())
            }
            Home::V1(_) => None,
        })
    }
}

/// The directory of a group: the mount at `point` shows the hierarchy below `root`.
fn inside(root: &str, point: &str, path: &str) -> Option<PathBuf> {
    let below = if root == "/" {
        path.strip_prefix('/')?
    } else {
        path.strip_prefix(root)?.trim_start_matches('/')
    };
    let normal = Path::new(below)
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    normal.then(|| {
        if below.is_empty() {
            PathBuf::from(point)
        } else {
            Path::new(point).join(below)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_group_is_found_in_hybrid_mounts() {
        let mountinfo = "\
30 25 0:26 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
33 25 0:29 / /tmp rw - tmpfs tmpfs rw
";
        let cgroup = "4:memory:/a/b\n3:cpu,cpuacct:/\n1:name=systemd:/x\n0::/u\n";
        let tree = Tree::parse(mountinfo, cgroup);
        for (controller, expected) in [
            ("memory", Some("/sys/fs/cgroup/memory/a/b")),
            ("cpu", Some("/sys/fs/cgroup/cpu,cpuacct")),
            ("pids", None),
        ] {
            let home = tree.home(controller).map(|home| match home {
                Home::V1(path) | Home::V2(path) => path,
            });
            assert_eq!(home.as_deref(), expected.map(Path::new), "{controller}");
        }
        assert!(
            tree.0
                .contains(&(Vec::new(), Home::V2("/sys/fs/cgroup/unified/u".into())))
        );
    }

    #[test]
    fn groups_outside_of_the_mount_are_not_ours_to_use() {
        for (root, path, expected) in [
            ("/", "/", Some("/p")),
            ("/", "/a", Some("/p/a")),
            ("/a", "/a/b", Some("/p/b")),
            ("/a", "/a", Some("/p")),
            ("/a", "/c", None),
            ("/", "/../x", None),
        ] {
            assert_eq!(
                inside(root, "/p", path),
                expected.map(PathBuf::from),
                "{root} {path}"
            );
        }
    }

    #[test]
    fn damaged_tables_give_no_group() {
        for text in [
            "",
            "x",
            " - ",
            "1 2 3 - cgroup",
            "1 2 3 / /p rw - cgroup2 c rw",
        ] {
            assert_eq!(Tree::parse(text, ":"), Tree(Vec::new()), "{text}");
        }
    }

    #[test]
    fn half_a_cpu_is_half_of_the_period() {
        let limits = Limits {
            cpus: Some(0.5),
            ..Limits::default()
        };
        let settings = settings(&limits);
        assert_eq!(
            settings[0].v2,
            [("cpu.max", "50000 100000".to_owned(), true)]
        );
    }

    proptest::proptest! {
        #[test]
        fn tables_of_any_content_are_read(mounts in "[ -~\n]{0,300}", groups in "[ -~\n]{0,100}") {
            let _ = Tree::parse(&mounts, &groups);
        }
    }
}
