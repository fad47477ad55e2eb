//! The root file system: overlay, mount points, writable islands, mounts, pivot.
//!
//! Works with descriptors: everything of the host (layers, sources of binds, device nodes) is
//! opened before anything is mounted, so that a mount cannot change what a path means; every
//! target is resolved beneath the new root (`openat2` with `RESOLVE_IN_ROOT`), so that a symbolic
//! link of an image cannot lead out of it.
//!
//! `mount_points` makes missing mount points, `new_root` opens them, `device` makes the mounts
//! that every sandbox has.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountPropagationFlags, OpenTreeFlags, UnmountFlags};

use super::attach::{SAFE, attach, clone_mount, new_mount, set_attributes};
use super::error::{Doing, Failure};
use super::mount_points::{Staging, is_directory, open_beneath, resolve_missing};
use super::new_root::Builder;
use super::spec::{Defence, Mount, Spec, Upper};
use super::{device, overlay, sys};

/// Open descriptors of everything of the host that the sandbox needs.
struct Sources {
    lowers: Vec<OwnedFd>,
    upper: Option<(OwnedFd, OwnedFd)>,
    mounts: Vec<Source>,
    devices: device::Nodes,
}

enum Source {
    /// A detached copy of the mount tree.
    Tree {
        tree: OwnedFd,
        directory: bool,
    },
    Overlay {
        lower: OwnedFd,
        upper: OwnedFd,
        work: OwnedFd,
    },
    Nothing,
}

/// How to build the root.
pub(super) struct Settings<'a> {
    pub(super) spec: &'a Spec,
    pub(super) userxattr: bool,
    /// The network namespace is our own, so sysfs may be mounted.
    pub(super) own_network: bool,
}

impl Settings<'_> {
    fn overlay(&self) -> overlay::Flags {
        overlay::Flags {
            userxattr: self.userxattr,
            volatile: self.spec.volatile,
        }
    }
}

/// Builds the root file system, moves into it and detaches the old one. The caller has its own
/// mount namespace.
pub(super) fn enter_root(settings: &Settings<'_>) -> Result<(), Failure> {
    rustix::mount::mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .doing("making mounts private")?;
    let spec = settings.spec;
    let sources = open_sources(spec)?;
    let staging = Staging::new()?;
    let root = mount_root(settings, &sources, &staging)?;
    let mut builder = Builder::new(root, staging);
    builder.restrict_writing(spec)?;
    builder.system(settings, &sources.devices)?;
    for (number, (mount, source)) in spec.mounts.iter().zip(&sources.mounts).enumerate() {
        builder.mount(settings, number, mount, source)?;
    }
    pivot(&builder.root)
}

fn open_sources(spec: &Spec) -> Result<Sources, Failure> {
    let mut lowers = Vec::with_capacity(spec.root.lowers.len());
    for lower in &spec.root.lowers {
        lowers.push(open_directory(lower, "opening the layer")?);
    }
    let upper = match &spec.root.upper {
        Some(upper) => Some(open_upper(upper)?),
        None => None,
    };
    let mut mounts = Vec::with_capacity(spec.mounts.len());
    for mount in &spec.mounts {
        mounts.push(match mount {
            Mount::Bind { source, .. } => {
                let tree = rustix::mount::open_tree(
                    rustix::fs::CWD,
                    source,
                    OpenTreeFlags::OPEN_TREE_CLONE
                        | OpenTreeFlags::OPEN_TREE_CLOEXEC
                        | OpenTreeFlags::AT_RECURSIVE,
                )
                .doing_at("opening what is to be mounted,", source)?;
                let directory = is_directory(&tree)?;
                Source::Tree { tree, directory }
            }
            Mount::Overlay { lower, upper, .. } => {
                let lower = open_directory(lower, "opening the lower directory")?;
                let (upper, work) = open_upper(upper)?;
                Source::Overlay { lower, upper, work }
            }
            Mount::Tmpfs { .. } | Mount::File { .. } => Source::Nothing,
        });
    }
    Ok(Sources {
        lowers,
        upper,
        mounts,
        devices: device::Nodes::open(spec.lacks(Defence::Devices))?,
    })
}

fn open_directory(path: &Path, what: &str) -> Result<OwnedFd, Failure> {
    rustix::fs::open(
        path,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .doing_at(what, path)
}

fn open_upper(upper: &Upper) -> Result<(OwnedFd, OwnedFd), Failure> {
    Ok((
        open_directory(&upper.upper, "opening the upper directory")?,
        open_directory(&upper.work, "opening overlayfs's work directory")?,
    ))
}

/// Mounts the overlay so that every mount point exists. If a link of the image moves a mount
/// point, the skeleton gets it at its real path; if that path is hidden, the crown gets it.
fn mount_root(
    settings: &Settings<'_>,
    sources: &Sources,
    staging: &Staging,
) -> Result<OwnedFd, Failure> {
    let mut wanted = wanted_mount_points(settings.spec, sources)?;
    for (target, directory) in &wanted {
        staging.add_to_skeleton(target, *directory)?;
    }
    let mut crowned = false;
    for last_try in [false, false, true] {
        let root = mount_layers(settings, sources, staging, crowned)?;
        let mut missing = Vec::new();
        for (target, directory) in &wanted {
            if let Err(Errno::NOENT) = open_beneath(&root, target) {
                let place = resolve_missing(&root, target)?;
                let covered = wanted
                    .iter()
                    .any(|(other, _)| place.starts_with(other) && place != *other);
                if !covered {
                    missing.push((place, *directory));
                }
            }
        }
        let Some((first, _)) = missing.first() else {
            return Ok(root);
        };
        if last_try {
            return Err(Failure::new("making the mount point").at(first).remedy(
                "the upper directory hides it (an opaque directory or a whiteout): make it there",
            ));
        }
        for (place, directory) in &missing {
            if staging.add_to_skeleton(place, *directory)? {
                continue;
            }
            staging.add_to_crown(&root, place, *directory)?;
            crowned = true;
        }
        drop(root);
        staging.unmount_root()?;
        wanted.extend(missing);
    }
    Err(Failure::new("making mount points"))
}

/// Mount points that the root itself needs, and whether they are directories: a mount point below
/// an earlier mount is made in that mount.
fn wanted_mount_points(spec: &Spec, sources: &Sources) -> Result<Vec<(PathBuf, bool)>, Failure> {
    let mut wanted: Vec<(PathBuf, bool)> = ["/proc", "/dev", "/sys"]
        .map(|path| (path.into(), true))
        .to_vec();
    for (mount, source) in spec.mounts.iter().zip(&sources.mounts) {
        let target = target_of(mount);
        if !target.is_absolute()
            || target
                .components()
                .any(|component| component == Component::ParentDir)
        {
            return Err(
                Failure::new("a mount's target must be absolute, without `..`:").at(target),
            );
        }
        let directory = match source {
            Source::Tree { directory, .. } => *directory,
            Source::Overlay { .. } => true,
            Source::Nothing => matches!(mount, Mount::Tmpfs { .. }),
        };
        let covered = wanted
            .iter()
            .any(|(earlier, _)| target.starts_with(earlier) && target != earlier);
        if !covered {
            wanted.push((target.to_owned(), directory));
        }
    }
    Ok(wanted)
}

fn mount_layers(
    settings: &Settings<'_>,
    sources: &Sources,
    staging: &Staging,
    crowned: bool,
) -> Result<OwnedFd, Failure> {
    let (crown, skeleton) = (staging.crown()?, staging.skeleton()?);
    let crown = crowned.then(|| crown.as_fd());
    let lowers: Vec<BorrowedFd<'_>> = crown
        .into_iter()
        .chain(sources.lowers.iter().map(AsFd::as_fd))
        .chain([skeleton.as_fd()])
        .collect();
    let upper = sources
        .upper
        .as_ref()
        .map(|(upper, work)| (upper.as_fd(), work.as_fd()));
    overlay::mount(&lowers, upper, settings.overlay(), &staging.root()?)?;
    // Looked up again, to get the new mount.
    staging.root()
}

/// Bytes of memory that this machine has.
fn memory() -> u64 {
    let found = rustix::system::sysinfo();
    found.totalram.saturating_mul(found.mem_unit.into())
}

fn target_of(mount: &Mount) -> &Path {
    match mount {
        Mount::Bind { target, .. }
        | Mount::Tmpfs { target, .. }
        | Mount::Overlay { target, .. }
        | Mount::File { target, .. } => target,
    }
}

impl Builder {
    /// Makes the root read-only, except for the paths in the spec.
    fn restrict_writing(&self, spec: &Spec) -> Result<(), Failure> {
        let Some(writable) = &spec.root.writable_only else {
            return Ok(());
        };
        for path in writable {
            let place = open_beneath(&self.root, path).map_err(|error| {
                Failure::new("finding the writable path")
                    .at(path)
                    .errno(error)
            })?;
            let island = clone_mount(&place, false)?;
            attach(&island, &place).doing_at("making an island of the writable path", path)?;
        }
        sys::mount_setattr(&self.root, false, MountAttrFlags::MOUNT_ATTR_RDONLY, None)
            .doing("making the root read-only")
    }

    /// `/proc`, `/dev`, `/sys`.
    fn system(&mut self, settings: &Settings<'_>, nodes: &device::Nodes) -> Result<(), Failure> {
        let masked = !settings.spec.lacks(Defence::Masks);
        device::mount_proc(self, nodes, masked)?;
        device::mount_sys(self, nodes, settings.own_network, masked)?;
        let bounded = !settings.spec.lacks(Defence::Bounds);
        let dev = device::mount_dev(self, nodes, bounded)?;
        self.remember_tmpfs(&dev)
    }

    fn mount(
        &mut self,
        settings: &Settings<'_>,
        number: usize,
        mount: &Mount,
        source: &Source,
    ) -> Result<(), Failure> {
        match (mount, source) {
            (
                Mount::Bind {
                    target, read_only, ..
                },
                Source::Tree { tree, directory },
            ) => {
                let mut attributes = SAFE;
                if *read_only {
                    attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
                }
                set_attributes(tree, attributes)?;
                let place = self.place(target, *directory)?;
                attach(tree, &place).doing_at("mounting on", target)
            }
            (Mount::Tmpfs { target, size, mode }, _) => {
                let place = self.place(target, true)?;
                let mode = format!("{:o}", mode & 0o7777);
                let mut options = vec![("mode", mode.as_str())];
                let size = size.unwrap_or_else(|| memory() / 4).to_string();
                if !settings.spec.lacks(Defence::Bounds) {
                    options.push(("size", &size));
                }
                let tmpfs = new_mount("tmpfs", &options, SAFE)?;
                attach(&tmpfs, &place).doing_at("mounting a tmpfs on", target)?;
                self.remember_tmpfs(&tmpfs)
            }
            (Mount::Overlay { target, .. }, Source::Overlay { lower, upper, work }) => {
                let place = self.place(target, true)?;
                overlay::mount(
                    &[lower.as_fd()],
                    Some((upper.as_fd(), work.as_fd())),
                    settings.overlay(),
                    &place,
                )
                .map_err(|failure| failure.at(target))
            }
            (
                Mount::File {
                    target,
                    contents,
                    mode,
                },
                _,
            ) => {
                let spec = settings.spec;
                let tree = self.small_file(number, contents, *mode, spec.uid, spec.gid)?;
                let place = self.place(target, false)?;
                attach(&tree, &place).doing_at("mounting a file on", target)
            }
            _ => Err(Failure::new("mounting on").at(target_of(mount))),
        }
    }

    /// A detached file with these contents; read-only, unless its mode lets all write.
    fn small_file(
        &self,
        number: usize,
        contents: &[u8],
        mode: u32,
        uid: u32,
        gid: u32,
    ) -> Result<OwnedFd, Failure> {
        let name = format!("files/{number}");
        let file = rustix::fs::openat(
            self.staging.tmpfs(),
            &name,
            OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC,
            Mode::from_raw_mode(0o600),
        )
        .doing("making a small file")?;
        let mut file = std::fs::File::from(file);
        file.write_all(contents).doing("writing a small file")?;
        rustix::fs::fchown(
            &file,
            Some(rustix::fs::Uid::from_raw(uid)),
            Some(rustix::fs::Gid::from_raw(gid)),
        )
        .doing("giving a small file to the command's user")?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o777))
            .doing("setting a small file's mode")?;
        drop(file);
        let tree = clone_mount(&self.staging.open(&name)?, false)?;
        let mut attributes = SAFE | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        if mode & 0o002 == 0 {
            attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
        }
        set_attributes(&tree, attributes)?;
        Ok(tree)
    }
}

/// Makes the new root the root, and the old one unreachable.
fn pivot(root: &OwnedFd) -> Result<(), Failure> {
    rustix::process::fchdir(root).doing("entering the new root")?;
    match rustix::process::pivot_root(".", ".") {
        Ok(()) => {
            rustix::mount::unmount(".", UnmountFlags::DETACH)
                .doing("letting go of the old root")?;
        }
        // containerd's list of system calls does not allow it. A process that may unmount could reach what
        // a mount covers; the command may not unmount.
        Err(Errno::PERM | Errno::NOSYS) => {
            rustix::mount::mount_move(".", "/").doing("moving the new root over the old one")?;
            rustix::process::chroot(".").doing("changing the root")?;
        }
        Err(error) => return Err(error).doing("changing the root"),
    }
    rustix::process::chdir("/").doing("entering the new root")?;
    Ok(())
}
