//! What every sandbox has: a masked `/proc`, a minimal `/dev`, a masked read-only `/sys`.
//!
//! The lists are those of docker's and containerd's default OCI specification.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::mount::{MountAttrFlags, OpenTreeFlags};

use super::attach::{SAFE, attach, clone_mount, new_mount};
use super::error::{Doing, Failure};
use super::mounts::Builder;

/// Nodes that a program may expect in `/dev`; the flag says whether it cannot do without.
const NODES: [(&str, bool); 6] = [
    ("null", true),
    ("zero", true),
    ("full", false),
    ("random", true),
    ("urandom", true),
    ("tty", false),
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

/// Detached copies of the host's device nodes.
pub(super) struct Nodes(Vec<(&'static str, OwnedFd)>);

impl Nodes {
    pub(super) fn open() -> Result<Self, Failure> {
        let mut nodes = Vec::new();
        for (name, needed) in NODES {
            let path = format!("/dev/{name}");
            let tree = rustix::mount::open_tree(
                rustix::fs::CWD,
                &path,
                OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
            );
            match tree {
                Ok(tree) => nodes.push((name, tree)),
                Err(_) if !needed => {}
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
                    "a container that masks parts of its own /proc lets nobody mount another: \
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

/// sysfs shows the network devices of the namespace that mounts it, so it is there with a network
/// namespace of our own only; else (and where the kernel refuses) `/sys` is empty.
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
pub(super) fn mount_dev(builder: &Builder, nodes: &Nodes) -> Result<OwnedFd, Failure> {
    let place = builder.place(Path::new("/dev"), true)?;
    // `nodev` is for what else may be made there: the nodes are mounts of their own.
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
        new_mount(
            "tmpfs",
            &[("mode", "1777")],
            SAFE | MountAttrFlags::MOUNT_ATTR_NOEXEC,
        )
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
