//! The CPUs and the memory that this process may use, from the control groups (version 1, 2
//! and both at once) and the scheduler. Read from `proc` and the mounted hierarchies below a root
//! directory, so that a test can make its own.
//!
//! A group's limit holds for all groups below it, so the smallest limit on the way up counts. A
//! limit that cannot be read is ignored: a start never fails because of it.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// CPUs in thousandths: a quota of one and a half is 1500.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    pub cpus: u64,
    /// Whether a control group limits them; otherwise it is the number of CPUs.
    pub quota: bool,
    /// Bytes; `None` without a limit.
    pub memory: Option<u64>,
}

/// A larger memory limit means "no limit" in version 1.
const UNLIMITED: u64 = 1 << 60;

impl Limits {
    /// Of this process.
    pub fn current() -> Limits {
        let usable = rustix::thread::sched_getaffinity(None)
            .map(|set| set.count())
            .ok()
            .filter(|count| *count > 0)
            .unwrap_or(1);
        Limits::read(Path::new("/"), usable)
    }

    /// With `root` instead of `/`, for a process that may run on this number of CPUs.
    pub fn read(root: &Path, usable: u32) -> Limits {
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
        let mounts = hierarchies(&text("proc/self/mountinfo"));
        let mut quota: Option<u64> = None;
        let mut memory: Option<u64> = None;
        for line in text("proc/self/cgroup").lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            let controllers: Vec<&str> = controllers.split(',').collect();
            for mount in mounts.iter().filter(|mount| mount.is_of(&controllers)) {
                for directory in mount.groups(path) {
                    let directory = root.join(directory.strip_prefix("/").unwrap_or(&directory));
                    let read = |name: &str| fs::read_to_string(directory.join(name)).ok();
                    let (cpu, bytes) = if mount.version_two {
                        let bytes = ["memory.max", "memory.high"]
                            .into_iter()
                            .filter_map(|name| number(&read(name)?))
                            .min();
                        (read("cpu.max").as_deref().and_then(cpu_max), bytes)
                    } else {
                        let cpu = match (read("cpu.cfs_quota_us"), read("cpu.cfs_period_us")) {
                            (Some(quota), Some(period)) => thousandths(&quota, &period),
                            _ => None,
                        };
                        let bytes = read("memory.limit_in_bytes");
                        (cpu, bytes.as_deref().and_then(number))
                    };
                    quota = least(quota, cpu);
                    memory = least(memory, bytes.filter(|bytes| *bytes < UNLIMITED));
                }
            }
        }
        let usable = u64::from(usable.max(1)) * 1000;
        Limits {
            cpus: quota.unwrap_or(usable).min(usable).max(1),
            quota: quota.is_some_and(|quota| quota < usable),
            memory,
        }
    }
}

fn least(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    a.into_iter().chain(b).min()
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// `QUOTA PERIOD` of version 2; the quota may be `max`.
fn cpu_max(text: &str) -> Option<u64> {
    let (quota, period) = text.trim().split_once(' ')?;
    thousandths(quota, period)
}

/// Version 1 writes -1 for no quota.
fn thousandths(quota: &str, period: &str) -> Option<u64> {
    let (quota, period) = (number(quota)?, number(period)?);
    quota.checked_mul(1000)?.checked_div(period)
}

/// A mounted hierarchy.
struct Mount {
    version_two: bool,
    /// The group that is its root, and where it is mounted.
    root: PathBuf,
    point: PathBuf,
    /// Of version 1.
    controllers: Vec<String>,
}

impl Mount {
    /// Whether a line of `/proc/self/cgroup` with these controllers speaks of it.
    fn is_of(&self, controllers: &[&str]) -> bool {
        if self.version_two {
            return controllers == [""];
        }
        controllers.iter().any(|one| {
            matches!(*one, "cpu" | "memory") && self.controllers.iter().any(|c| c == one)
        })
    }

    /// The directories of a group and of its parents, as far as they are mounted.
    fn groups(&self, path: &str) -> Vec<PathBuf> {
        let path = Path::new(path);
        // The group is outside the mounted part (`/../other`, or another namespace's name for it):
        // only the mounted part can be read.
        let inside = path
            .strip_prefix(&self.root)
            .ok()
            .filter(|inside| {
                inside
                    .components()
                    .all(|part| matches!(part, Component::Normal(_)))
            })
            .unwrap_or(Path::new(""));
        inside
            .ancestors()
            .map(|group| self.point.join(group))
            .collect()
    }
}

/// The hierarchies of `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).
fn hierarchies(mountinfo: &str) -> Vec<Mount> {
    let mut found = Vec::new();
    for line in mountinfo.lines() {
        let Some((before, after)) = line.split_once(" - ") else {
            continue;
        };
        let mut after = after.split(' ');
        let version_two = match after.next() {
            Some("cgroup2") => true,
            Some("cgroup") => false,
            _ => continue,
        };
        let mut fields = before.split(' ').skip(3);
        let (Some(root), Some(point)) = (fields.next(), fields.next()) else {
            continue;
        };
        let controllers = after.nth(1).unwrap_or("").split(',').map(str::to_owned);
        found.push(Mount {
            version_two,
            root: PathBuf::from(root),
            point: PathBuf::from(point),
            controllers: controllers.collect(),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str = "30 25 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n";
    const V1: &str = "31 25 0:27 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n\
        32 31 0:28 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n\
        33 31 0:29 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
    const NO_LIMIT: &str = "9223372036854771712\n";

    fn read(files: &[(&str, &str)], usable: u32) -> Limits {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        Limits::read(root.path(), usable)
    }

    fn limits(cpus: u64, quota: bool, memory: Option<u64>) -> Limits {
        Limits {
            cpus,
            quota,
            memory,
        }
    }

    #[test]
    fn version_two() {
        let own = ("proc/self/cgroup", "0::/\n");
        let mounted = ("proc/self/mountinfo", V2);
        for (files, expected) in [
            (vec![], limits(4000, false, None)),
            (
                vec![
                    ("sys/fs/cgroup/cpu.max", "150000 100000\n"),
                    ("sys/fs/cgroup/memory.max", "536870912\n"),
                    ("sys/fs/cgroup/memory.high", "max\n"),
                ],
                limits(1500, true, Some(512 << 20)),
            ),
            (
                vec![
                    ("sys/fs/cgroup/cpu.max", "max 100000\n"),
                    ("sys/fs/cgroup/memory.max", "max\n"),
                ],
                limits(4000, false, None),
            ),
            // More than there are CPUs.
            (
                vec![("sys/fs/cgroup/cpu.max", "800000 100000\n")],
                limits(4000, false, None),
            ),
            (
                vec![("sys/fs/cgroup/memory.high", "268435456\n")],
                limits(4000, false, Some(256 << 20)),
            ),
            // Unrealistic content.
            (
                vec![
                    ("sys/fs/cgroup/cpu.max", "100000 0\n"),
                    ("sys/fs/cgroup/memory.max", "\n"),
                ],
                limits(4000, false, None),
            ),
        ] {
            let mut all = vec![own, mounted];
            all.extend(files);
            assert_eq!(read(&all, 4), expected, "{all:?}");
        }
    }

    /// Without its own namespace, a process sees its group's name in the whole hierarchy.
    #[test]
    fn the_least_on_the_way_up_counts() {
        let found = read(
            &[
                ("proc/self/cgroup", "0::/kubepods/pod1/container\n"),
                ("proc/self/mountinfo", V2),
                ("sys/fs/cgroup/kubepods/cpu.max", "300000 100000\n"),
                ("sys/fs/cgroup/kubepods/pod1/cpu.max", "100000 100000\n"),
                (
                    "sys/fs/cgroup/kubepods/pod1/container/cpu.max",
                    "200000 100000\n",
                ),
                ("sys/fs/cgroup/kubepods/memory.max", "1073741824\n"),
                (
                    "sys/fs/cgroup/kubepods/pod1/container/memory.max",
                    "2147483648\n",
                ),
            ],
            8,
        );
        assert_eq!(found, limits(1000, true, Some(1 << 30)));
        let elsewhere = read(
            &[
                ("proc/self/cgroup", "0::/../../other\n"),
                ("proc/self/mountinfo", V2),
                ("sys/fs/cgroup/memory.max", "1073741824\n"),
            ],
            8,
        );
        assert_eq!(elsewhere, limits(8000, false, Some(1 << 30)));
    }

    #[test]
    fn version_one() {
        let cgroup =
            "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n1:name=systemd:/docker/abc\n";
        let base = [
            ("proc/self/cgroup", cgroup),
            ("proc/self/mountinfo", V1),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ];
        for (quota, memory, expected) in [
            ("50000\n", "268435456\n", limits(500, true, Some(256 << 20))),
            ("-1\n", NO_LIMIT, limits(2000, false, None)),
        ] {
            let mut files = base.to_vec();
            files.push(("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", quota));
            files.push(("sys/fs/cgroup/memory/memory.limit_in_bytes", memory));
            assert_eq!(read(&files, 2), expected);
        }
    }

    /// Controllers of version 1 beside an empty hierarchy of version 2.
    #[test]
    fn both_versions_at_once() {
        let mounts = format!("{V1}40 31 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        let found = read(
            &[
                ("proc/self/cgroup", "4:memory:/docker/abc\n0::/docker/abc\n"),
                ("proc/self/mountinfo", &mounts),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "134217728\n"),
            ],
            2,
        );
        assert_eq!(found, limits(2000, false, Some(128 << 20)));
    }

    #[test]
    fn nothing_is_no_limit() {
        assert_eq!(read(&[], 3), limits(3000, false, None));
        assert_eq!(read(&[], 0), limits(1000, false, None));
        assert!(Limits::current().cpus >= 1000 || Limits::current().quota);
    }

    proptest::proptest! {
        #[test]
        fn any_text(cgroup in ".{0,60}", mounts in ".{0,80}", cpu in ".{0,20}") {
            read(&[
                ("proc/self/cgroup", &cgroup),
                ("proc/self/mountinfo", &mounts),
                ("sys/fs/cgroup/cpu.max", &cpu),
            ], 1);
        }
    }
}
