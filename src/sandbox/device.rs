//! What every sandbox has: a masked `/proc`, a minimal `/dev`, a masked read-only `/sys`.
//!
//! The lists are those of docker's and containerd's default OCI specification.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags};

use super::attach::{SAFE, attach, clone_mount, new_mount, set_attributes};
use super::error::{Doing, Failure};
use super::id_map::IdMode;
use super::new_root::Builder;

/// A node that a program may expect in `/dev`.
struct Node {
    name: &'static str,
    /// Required.
    needed: bool,
    /// Numbers from the kernel's `Documentation/admin-guide/devices.txt`.
    major: u32,
    minor: u32,
}

const fn node(name: &'static str, needed: bool, major: u32, minor: u32) -> Node {
    Node {
        name,
        needed,
        major,
        minor,
    }
}

const NODES: [Node; 6] = [
    node("null", true, 1, 3),
    node("zero", true, 1, 5),
    node("full", false, 1, 7),
    node("random", true, 1, 8),
    node("urandom", true, 1, 9),
    node("tty", false, 5, 0),
];

const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];

const MASKED_PROC: [&str; 10] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
];

const READ_ONLY_PROC: [&str; 5] = [
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

const MASKED_SYS: [&str; 6] = [
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/fs/selinux",
    "/sys/kernel/debug",
    "/sys/kernel/security",
];

/// Detached mounts of device nodes.
///
/// Root makes new nodes: user 0 could change the mode, owner or time of the host's inodes, also from
/// inside. Other users cannot make nodes and get the host's through a read-only mount, which
/// prevents such changes, but not writing to the device.
pub(super) struct Nodes(Vec<(&'static str, OwnedFd)>);

impl Nodes {
    /// `as_they_are` mounts the host's nodes without this defence.
    pub(super) fn open(as_they_are: bool) -> Result<Self, Failure> {
        if as_they_are {
            return Self::of_host(false);
        }
        match Self::make() {
            Some(nodes) => Ok(nodes),
            None => Self::of_host(true),
        }
    }

    /// On a private tmpfs; `None` if it is not allowed (in a user namespace, without `CAP_MKNOD`,
    /// by a device cgroup).
    fn make() -> Option<Self> {
        let options = [("mode", "0755"), ("size", "64k")];
        let safe = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        if IdMode::current() != IdMode::Root {
            return None;
        }
        let tmpfs = new_mount("tmpfs", &options, safe).ok()?;
        let mut nodes = Vec::new();
        for node in NODES {
            rustix::fs::mknodat(
                &tmpfs,
                node.name,
                FileType::CharacterDevice,
                Mode::from_raw_mode(0o666),
                rustix::fs::makedev(node.major, node.minor),
            )
            .ok()?;
            let file = rustix::fs::openat(
                &tmpfs,
                node.name,
                OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW,
                Mode::empty(),
            )
            .ok()?;
            // A cgroup may allow making a node, but not using it.
            let usable = rustix::fs::openat(
                &tmpfs,
                node.name,
                OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NOFOLLOW,
                Mode::empty(),
            );
            if let Err(Errno::PERM | Errno::ACCESS) = usable {
                return None;
            }
            nodes.push((node.name, clone_mount(&file, false).ok()?));
        }
        Some(Self(nodes))
    }

    fn of_host(read_only: bool) -> Result<Self, Failure> {
        let mut nodes = Vec::new();
        for node in NODES {
            let path = format!("/dev/{}", node.name);
            let tree = rustix::mount::open_tree(
                rustix::fs::CWD,
                &path,
                OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
            );
            match tree {
                Ok(tree) => {
                    if read_only {
                        set_attributes(&tree, MountAttrFlags::MOUNT_ATTR_RDONLY)?;
                    }
                    nodes.push((node.name, tree));
                }
                Err(_) if !node.needed => {}
                Err(error) => return Err(error).doing_at("opening", Path::new(&path)),
            }
        }
        Ok(Self(nodes))
    }

    /// A copy of `/dev/null`, to cover a file with.
    fn null(&self) -> Result<OwnedFd, Failure> {
        let (_, null) = self
            .0
            .iter()
            .find(|(name, _)| *name == "null")
            .ok_or_else(|| Failure::new("finding /dev/null"))?;
        clone_mount(null, false)
    }
}

pub(super) fn mount_proc(builder: &Builder, nodes: &Nodes, masked: bool) -> Result<(), Failure> {
    let place = builder.place(Path::new("/proc"), true)?;
    let proc =
        new_mount("proc", &[], SAFE | MountAttrFlags::MOUNT_ATTR_NOEXEC).map_err(|failure| {
            if failure.errno == Some(libc::EPERM) {
                failure.remedy(
                    "a container that masks parts of its own /proc does not let a process mount another: \
                     start that one with an unmasked /proc (docker run --security-opt \
                     systempaths=unconfined, procMount: Unmasked)",
                )
            } else {
                failure
            }
        })?;
    attach(&proc, &place).doing("mounting proc on /proc")?;
    if !masked {
        return Ok(());
    }
    for path in READ_ONLY_PROC {
        builder.read_only(Path::new(path))?;
    }
    for path in MASKED_PROC {
        builder.cover(Path::new(path), || nodes.null())?;
    }
    Ok(())
}

/// sysfs shows the network devices of the namespace that mounts it, so it is mounted only with a
/// private network namespace; otherwise (and if the kernel refuses) `/sys` is empty.
pub(super) fn mount_sys(
    builder: &Builder,
    nodes: &Nodes,
    own_network: bool,
    masked: bool,
) -> Result<(), Failure> {
    let place = builder.place(Path::new("/sys"), true)?;
    let read_only = SAFE | MountAttrFlags::MOUNT_ATTR_NOEXEC | MountAttrFlags::MOUNT_ATTR_RDONLY;
    let sysfs = if own_network {
        new_mount("sysfs", &[], read_only).ok()
    } else {
        None
    };
    let Some(sysfs) = sysfs else {
        return attach(builder.staging.empty()?, &place).doing("mounting on /sys");
    };
    attach(&sysfs, &place).doing("mounting sysfs on /sys")?;
    if !masked {
        return Ok(());
    }
    for path in MASKED_SYS {
        builder.cover(Path::new(path), || nodes.null())?;
    }
    Ok(())
}

/// The tmpfs on `/dev` and what is in it.
pub(super) fn mount_dev(
    builder: &Builder,
    nodes: &Nodes,
    bounded: bool,
) -> Result<OwnedFd, Failure> {
    let place = builder.place(Path::new("/dev"), true)?;
    // `nodev` is for other nodes that may be made there: the allowed nodes are separate mounts.
    let dev = new_mount(
        "tmpfs",
        &[("mode", "0755"), ("size", "1m")],
        SAFE | MountAttrFlags::MOUNT_ATTR_NOEXEC,
    )?;
    attach(&dev, &place).doing("mounting a tmpfs on /dev")?;
    for (name, tree) in &nodes.0 {
        let file = rustix::fs::openat(
            &dev,
            *name,
            OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o666),
        )
        .doing_at("making a place in /dev for", Path::new(name))?;
        let copy = clone_mount(tree, false)?;
        attach(&copy, &file).doing_at("mounting in /dev", Path::new(name))?;
    }
    for (name, target) in LINKS {
        rustix::fs::symlinkat(target, &dev, name).doing_at("linking in /dev", Path::new(name))?;
    }
    let nosuid_noexec = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let options = [("ptmxmode", "0666"), ("mode", "0620")];
    directory_in(&dev, "pts", || {
        // Group 5 is tty everywhere, but it exists only where ids are mapped.
        let mut with_group = vec![("newinstance", ""), ("gid", "5")];
        with_group.extend(options);
        new_mount("devpts", &with_group, nosuid_noexec).or_else(|_| {
            let mut plain = vec![("newinstance", "")];
            plain.extend(options);
            new_mount("devpts", &plain, nosuid_noexec)
        })
    })?;
    directory_in(&dev, "shm", || {
        // Docker's size.
        let options = [("mode", "1777"), ("size", "64m")];
        let options = if bounded { &options[..] } else { &options[..1] };
        new_mount("tmpfs", options, SAFE | MountAttrFlags::MOUNT_ATTR_NOEXEC)
    })?;
    // POSIX message queues: nice to have.
    let _ = directory_in(&dev, "mqueue", || {
        new_mount("mqueue", &[], SAFE | MountAttrFlags::MOUNT_ATTR_NOEXEC)
    });
    Ok(dev)
}

fn directory_in(
    dev: &OwnedFd,
    name: &str,
    mount: impl FnOnce() -> Result<OwnedFd, Failure>,
) -> Result<(), Failure> {
    rustix::fs::mkdirat(dev, name, Mode::from_raw_mode(0o755))
        .doing_at("making a directory in /dev", Path::new(name))?;
    let place = rustix::fs::openat(
        dev,
        name,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .doing_at("opening a directory in /dev", Path::new(name))?;
    attach(mount()?, &place).doing_at("mounting in /dev", Path::new(name))
}
