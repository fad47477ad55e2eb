//! The root file system: overlay, mount points, writable islands, mounts, pivot.
//!
//! Works with descriptors: everything of the host's (layers, sources of binds, device nodes) is
//! opened before anything is mounted, so that nothing that is mounted can come in between; every
//! target is resolved beneath the new root (`openat2` with `RESOLVE_IN_ROOT`), so that a symbolic
//! link of an image leads nowhere else.
//!
//! A mount point that the root does not have is made in a *skeleton*: a directory on a tmpfs that is
//! the overlay's lowest layer. The upper directory stays clean, and since overlayfs takes a
//! directory's attributes from its uppermost layer, no directory of the image is changed by it.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    OpenTreeFlags, UnmountFlags,
};

use super::error::{Doing, Failure};
use super::spec::{Mount, Spec, Upper};
use super::{device, sys};

/// What every mount of ours has: neither setuid bits nor device nodes of an image count.
pub(super) const SAFE: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// Links in a path to a mount point.
const MAX_LINKS: usize = 40;

/// Everything of the host's that the sandbox needs, opened.
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

/// How the root is to be built.
pub(super) struct Settings<'a> {
    pub(super) spec: &'a Spec,
    pub(super) userxattr: bool,
    /// The network namespace is our own, so sysfs may be mounted.
    pub(super) own_network: bool,
}

/// Builds the root file system, moves into it and lets go of the old one. The caller has a mount
/// namespace of its own.
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
    let mut builder = Builder {
        root,
        staging,
        tmpfs: Vec::new(),
    };
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
        devices: device::Nodes::open()?,
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

fn is_directory(fd: impl AsFd) -> Result<bool, Failure> {
    let stat = rustix::fs::fstat(fd).doing("looking at a mount")?;
    Ok(FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

/// A tmpfs of our own in the mount namespace: skeleton, contents of small files, an empty directory.
pub(super) struct Staging(OwnedFd);

impl Staging {
    fn new() -> Result<Self, Failure> {
        let tmpfs = new_mount("tmpfs", &[("mode", "0755")], SAFE)?;
        // Any directory of the host's will do: it is covered in this mount namespace only, and all
        // that is needed of the host is open.
        let place = ["/tmp", "/run", "/mnt", "/var", "/usr"]
            .iter()
            .find_map(|place| open_directory(Path::new(place), "").ok())
            .ok_or_else(|| {
                Failure::new("finding a directory to mount on among /tmp, /run, /mnt")
            })?;
        attach(&tmpfs, &place).doing("mounting a tmpfs for set-up")?;
        for name in ["skeleton", "root", "files", "empty"] {
            rustix::fs::mkdirat(&tmpfs, name, Mode::from_raw_mode(0o755))
                .doing("preparing the set-up tmpfs")?;
        }
        Ok(Self(tmpfs))
    }

    fn open(&self, name: &str) -> Result<OwnedFd, Failure> {
        rustix::fs::openat(
            &self.0,
            name,
            OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
        )
        .doing("opening a directory of the set-up tmpfs")
    }

    /// A detached, read-only, empty directory.
    pub(super) fn empty(&self) -> Result<OwnedFd, Failure> {
        let tree = clone_mount(&self.open("empty")?, false)?;
        set_attributes(&tree, SAFE | MountAttrFlags::MOUNT_ATTR_RDONLY)?;
        Ok(tree)
    }

    /// Adds a mount point to the skeleton.
    fn add_mount_point(&self, path: &Path, directory: bool) -> Result<(), Failure> {
        make_path(&self.open("skeleton")?, path, directory)
    }
}

/// Makes a path of normal components below a directory where no one else writes.
fn make_path(below: &OwnedFd, path: &Path, directory: bool) -> Result<(), Failure> {
    let names: Vec<_> = path
        .components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    let mut walked = PathBuf::new();
    for (index, name) in names.iter().enumerate() {
        walked.push(name);
        let made = if directory || index + 1 < names.len() {
            rustix::fs::mkdirat(below, &walked, Mode::from_raw_mode(0o755))
        } else {
            rustix::fs::openat(
                below,
                &walked,
                OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC,
                Mode::from_raw_mode(0o644),
            )
            .map(drop)
        };
        match made {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error).doing_at("making the mount point", path),
        }
    }
    Ok(())
}

/// Mounts the overlay; again with a fuller skeleton if a link of the image's moved a mount point.
fn mount_root(
    settings: &Settings<'_>,
    sources: &Sources,
    staging: &Staging,
) -> Result<OwnedFd, Failure> {
    let spec = settings.spec;
    let mut wanted = vec![
        (PathBuf::from("/proc"), true),
        (PathBuf::from("/dev"), true),
        (PathBuf::from("/sys"), true),
    ];
    for (mount, source) in spec.mounts.iter().zip(&sources.mounts) {
        let target = target_of(mount);
        if !target.is_absolute()
            || target
                .components()
                .any(|component| component == Component::ParentDir)
        {
            return Err(Failure::new("a mount's target is to be absolute, without ..:").at(target));
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
    for (target, directory) in &wanted {
        staging.add_mount_point(target, *directory)?;
    }
    // A skeleton that an image's link or opaque directory hides may need a second and third look.
    for _ in 0..3 {
        let root = mount_overlay_once(settings, sources, staging)?;
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
        if missing.is_empty() {
            return Ok(root);
        }
        drop(root);
        rustix::mount::unmount(
            format!("/proc/self/fd/{}/root", staging.0.as_raw_fd()),
            UnmountFlags::DETACH,
        )
        .doing("unmounting the root for another try")?;
        for (place, directory) in &missing {
            staging.add_mount_point(place, *directory)?;
        }
        wanted.extend(missing);
        wanted.dedup();
    }
    let missing = wanted
        .last()
        .map(|(path, _)| path.clone())
        .unwrap_or_default();
    Err(Failure::new("making the mount point")
        .at(&missing)
        .remedy("a layer above hides it (opaque directory or whiteout): make it in the image"))
}

fn target_of(mount: &Mount) -> &Path {
    match mount {
        Mount::Bind { target, .. }
        | Mount::Tmpfs { target, .. }
        | Mount::Overlay { target, .. }
        | Mount::File { target, .. } => target,
    }
}

fn mount_overlay_once(
    settings: &Settings<'_>,
    sources: &Sources,
    staging: &Staging,
) -> Result<OwnedFd, Failure> {
    let skeleton = staging.open("skeleton")?;
    let mut lowers: Vec<BorrowedFd<'_>> = sources.lowers.iter().map(AsFd::as_fd).collect();
    lowers.push(skeleton.as_fd());
    let upper = sources
        .upper
        .as_ref()
        .map(|(upper, work)| (upper.as_fd(), work.as_fd()));
    let place = staging.open("root")?;
    mount_overlay(&lowers, upper, settings.userxattr, &place)?;
    staging.open("root")
}

/// Mounts an overlay on a directory. Layers are named by descriptor (`12` in `/proc/self/fd`), so
/// that neither their number nor odd characters nor the length of their paths matter: the kernel
/// takes 500 layers, 255 bytes each by `lowerdir+` and 4095 bytes altogether by mount(2).
fn mount_overlay(
    lowers: &[BorrowedFd<'_>],
    upper: Option<(BorrowedFd<'_>, BorrowedFd<'_>)>,
    userxattr: bool,
    place: &OwnedFd,
) -> Result<(), Failure> {
    rustix::process::chdir("/proc/self/fd").doing("entering /proc/self/fd (is /proc mounted?)")?;
    let number = |fd: BorrowedFd<'_>| fd.as_raw_fd().to_string();
    // Said aloud, so that a distribution's defaults cannot change what ends up in the upper
    // directory. With user.* attributes the kernel wants `nofollow`, which is never a redirect too.
    let redirect = if userxattr { "nofollow" } else { "off" };
    let mut options = vec![
        ("redirect_dir", redirect.to_owned()),
        ("metacopy", "off".to_owned()),
        ("index", "off".to_owned()),
    ];
    if let Some((upper, work)) = upper {
        options.push(("upperdir", number(upper)));
        options.push(("workdir", number(work)));
    }
    let layers: Vec<String> = lowers.iter().map(|lower| number(*lower)).collect();
    match overlay_by_fsopen(&layers, &options, userxattr) {
        Ok(mount) => attach(&mount, place).doing("mounting the root overlay"),
        // Before Linux 6.7 there is no `lowerdir+`.
        Err(Refused::NoAppending) => {
            let mut text = format!("lowerdir={}", layers.join(":"));
            for (name, value) in &options {
                let _ = write!(text, ",{name}={value}");
            }
            if userxattr {
                text.push_str(",userxattr");
            }
            let text = std::ffi::CString::new(text).doing("naming layers")?;
            rustix::mount::mount(
                "overlay",
                place.as_raw_fd().to_string(),
                "overlay",
                MountFlags::NODEV | MountFlags::NOSUID,
                text.as_c_str(),
            )
            .map_err(|error| overlay_failure(error, ""))
        }
        Err(Refused::Failed(failure)) => Err(failure),
    }
}

enum Refused {
    NoAppending,
    Failed(Failure),
}

fn overlay_by_fsopen(
    layers: &[String],
    options: &[(&str, String)],
    userxattr: bool,
) -> Result<OwnedFd, Refused> {
    let context = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(|error| Refused::Failed(overlay_failure(error, "")))?;
    let failed = |error| Refused::Failed(overlay_failure(error, &kernel_words(&context)));
    rustix::mount::fsconfig_set_string(&context, "source", "overlay").map_err(failed)?;
    for (index, layer) in layers.iter().enumerate() {
        match rustix::mount::fsconfig_set_string(&context, "lowerdir+", layer) {
            Ok(()) => {}
            Err(Errno::INVAL) if index == 0 => return Err(Refused::NoAppending),
            Err(error) => return Err(failed(error)),
        }
    }
    for (name, value) in options {
        rustix::mount::fsconfig_set_string(&context, *name, value.as_str()).map_err(failed)?;
    }
    if userxattr {
        rustix::mount::fsconfig_set_flag(&context, "userxattr").map_err(failed)?;
    }
    rustix::mount::fsconfig_create(&context).map_err(failed)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, SAFE).map_err(failed)
}

/// What the kernel says about a file system context beyond the errno.
fn kernel_words(context: &OwnedFd) -> String {
    let mut words = Vec::new();
    let mut line = [0_u8; 512];
    while let Ok(length) = rustix::io::read(context, &mut line) {
        if length == 0 || words.len() > 8 {
            break;
        }
        let text = String::from_utf8_lossy(line.get(..length).unwrap_or_default());
        words.push(text.trim().to_owned());
    }
    words.join("; ")
}

fn overlay_failure(error: Errno, kernel: &str) -> Failure {
    let failure = Failure::new(if kernel.is_empty() {
        "mounting the root overlay".to_owned()
    } else {
        format!("mounting the root overlay ({kernel})")
    })
    .errno(error);
    match error {
        Errno::PERM => failure.remedy(
            "overlayfs in a user namespace needs Linux 5.11 or newer, outside of a restricted \
             container",
        ),
        Errno::NODEV => failure.remedy("load the kernel module: modprobe overlay"),
        Errno::INVAL | Errno::OPNOTSUPP => failure.remedy(
            "the upper directory's file system may not carry an overlay (NFS, overlayfs itself, \
             eCryptfs): set WARPDRIVE_STORE to a directory on ext4, xfs, btrfs or tmpfs",
        ),
        _ => failure,
    }
}

/// Makes a mount of a file system by its name and options; detached.
pub(super) fn new_mount(
    name: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, Failure> {
    let doing = format!("making a file system of type {name}");
    let context = rustix::mount::fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC).doing(&doing)?;
    let _ = rustix::mount::fsconfig_set_string(&context, "source", name);
    for (option, value) in options {
        if value.is_empty() {
            rustix::mount::fsconfig_set_flag(&context, *option)
        } else {
            rustix::mount::fsconfig_set_string(&context, *option, *value)
        }
        .doing(&doing)?;
    }
    rustix::mount::fsconfig_create(&context).doing(&doing)?;
    rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).doing(&doing)
}

/// Attaches a detached mount to what a descriptor stands for.
pub(super) fn attach(mount: impl AsFd, place: impl AsFd) -> rustix::io::Result<()> {
    rustix::mount::move_mount(
        mount,
        "",
        place,
        "",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
}

/// A detached copy of the mount at a descriptor.
pub(super) fn clone_mount(of: impl AsFd, recursive: bool) -> Result<OwnedFd, Failure> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(of, "", flags).doing("copying a mount")
}

pub(super) fn set_attributes(mount: &OwnedFd, attributes: MountAttrFlags) -> Result<(), Failure> {
    sys::mount_setattr(
        mount,
        true,
        attributes,
        Some(MountPropagationFlags::PRIVATE),
    )
    .map_err(|error| {
        let missing = error.raw_os_error() == Some(libc::ENOSYS);
        let failure = Failure::new("restricting a mount").errno(error);
        if missing {
            failure.remedy("this needs Linux 5.12 or newer")
        } else {
            failure
        }
    })
}

/// Opens a path as the sandbox will see it: links are followed, but never out of the root.
pub(super) fn open_beneath(root: impl AsFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    let relative = path.strip_prefix("/").unwrap_or(path);
    let relative = if relative.as_os_str().is_empty() {
        Path::new(".")
    } else {
        relative
    };
    // EAGAIN: a rename or mount somewhere else raced with the look-up.
    let mut tries = 0;
    loop {
        match rustix::fs::openat2(
            &root,
            relative,
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        ) {
            Err(Errno::AGAIN) if tries < 64 => tries += 1,
            other => return other,
        }
    }
}

/// Where a path that does not exist would be made: its links resolved within the root, as far as
/// they lead somewhere.
fn resolve_missing(root: &OwnedFd, path: &Path) -> Result<PathBuf, Failure> {
    let mut left: Vec<OsString> = Vec::new();
    let queue = |path: &Path, left: &mut Vec<OsString>| {
        let names = path
            .components()
            .rev()
            .filter_map(|component| match component {
                Component::Normal(name) => Some(name.to_owned()),
                Component::ParentDir => Some("..".into()),
                _ => None,
            });
        left.extend(names);
    };
    queue(path, &mut left);
    let mut resolved = PathBuf::from("/");
    let mut links = 0;
    while let Some(name) = left.pop() {
        if name == ".." {
            resolved.pop();
            continue;
        }
        let candidate = resolved.join(&name);
        let link = read_link(root, &candidate).doing_at("resolving the mount point", path)?;
        match link {
            Some(target) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP).doing_at("resolving the mount point", path);
                }
                if target.is_absolute() {
                    resolved = PathBuf::from("/");
                }
                queue(&target, &mut left);
            }
            None => resolved = candidate,
        }
    }
    Ok(resolved)
}

/// The target of a link; `None` for anything else, also if it does not exist.
fn read_link(root: &OwnedFd, path: &Path) -> rustix::io::Result<Option<PathBuf>> {
    use std::os::unix::ffi::OsStringExt;
    let relative = path.strip_prefix("/").unwrap_or(path);
    let opened = rustix::fs::openat2(
        root,
        relative,
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
    );
    let fd = match opened {
        Ok(fd) => fd,
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error),
    };
    let stat = rustix::fs::fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return Ok(None);
    }
    let target = rustix::fs::readlinkat(&fd, "", Vec::new())?;
    Ok(Some(PathBuf::from(OsString::from_vec(target.into_bytes()))))
}

/// The root under construction.
pub(super) struct Builder {
    pub(super) root: OwnedFd,
    pub(super) staging: Staging,
    /// Device numbers of tmpfs mounts of ours: mount points may be made there.
    tmpfs: Vec<u64>,
}

impl Builder {
    /// Makes the root read-only but for what the spec names.
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
        device::mount_proc(self, nodes)?;
        device::mount_sys(self, nodes, settings.own_network)?;
        let dev = device::mount_dev(self, nodes)?;
        self.remember_tmpfs(&dev)
    }

    pub(super) fn remember_tmpfs(&mut self, mount: &OwnedFd) -> Result<(), Failure> {
        let stat = rustix::fs::fstat(mount).doing("looking at a tmpfs")?;
        self.tmpfs.push(stat.st_dev);
        Ok(())
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
                let size = size.map(|size| size.to_string());
                if let Some(size) = &size {
                    options.push(("size", size));
                }
                let tmpfs = new_mount("tmpfs", &options, SAFE)?;
                attach(&tmpfs, &place).doing_at("mounting a tmpfs on", target)?;
                self.remember_tmpfs(&tmpfs)
            }
            (Mount::Overlay { target, .. }, Source::Overlay { lower, upper, work }) => {
                let place = self.place(target, true)?;
                mount_overlay(
                    &[lower.as_fd()],
                    Some((upper.as_fd(), work.as_fd())),
                    settings.userxattr,
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

    /// A detached, read-only file with these contents.
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
            &self.staging.0,
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
        set_attributes(
            &tree,
            SAFE | MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOEXEC,
        )?;
        Ok(tree)
    }

    /// The place to mount on; made if it is missing on a tmpfs of ours.
    pub(super) fn place(&self, target: &Path, directory: bool) -> Result<OwnedFd, Failure> {
        let place = match open_beneath(&self.root, target) {
            Err(Errno::NOENT) => {
                self.make_on_tmpfs(target, directory)?;
                open_beneath(&self.root, target)
            }
            other => other,
        }
        .doing_at("finding the mount point", target)?;
        if is_directory(&place)? != directory {
            let (is, wants) = if directory {
                ("a file", "a directory")
            } else {
                ("a directory", "a file")
            };
            return Err(Failure::new(format!("mounting {wants} on {is},")).at(target));
        }
        Ok(place)
    }

    fn make_on_tmpfs(&self, target: &Path, directory: bool) -> Result<(), Failure> {
        let place = resolve_missing(&self.root, target)?;
        // The deepest directory that is there.
        for parent in place.ancestors().skip(1) {
            let Ok(fd) = open_beneath(&self.root, parent) else {
                continue;
            };
            let stat = rustix::fs::fstat(&fd).doing_at("looking at", parent)?;
            if !self.tmpfs.contains(&stat.st_dev) {
                return Err(Failure::new("making the mount point")
                    .at(target)
                    .remedy(format!(
                        "{} is a mount where nothing may be made",
                        parent.display()
                    )));
            }
            let rest = place.strip_prefix(parent).unwrap_or(&place);
            return make_path(&fd, rest, directory);
        }
        Err(Errno::NOENT).doing_at("making the mount point", target)
    }

    /// Covers something that is there, without a trace if it is not.
    pub(super) fn cover(
        &self,
        target: &Path,
        file: impl FnOnce() -> Result<OwnedFd, Failure>,
    ) -> Result<(), Failure> {
        let Ok(place) = open_beneath(&self.root, target) else {
            return Ok(());
        };
        let cover = if is_directory(&place)? {
            self.staging.empty()?
        } else {
            file()?
        };
        attach(&cover, &place).doing_at("masking", target)
    }

    /// Makes something that is there read-only.
    pub(super) fn read_only(&self, target: &Path) -> Result<(), Failure> {
        let Ok(place) = open_beneath(&self.root, target) else {
            return Ok(());
        };
        let copy = clone_mount(&place, true)?;
        set_attributes(
            &copy,
            SAFE | MountAttrFlags::MOUNT_ATTR_NOEXEC | MountAttrFlags::MOUNT_ATTR_RDONLY,
        )?;
        attach(&copy, &place).doing_at("making read-only", target)
    }
}

/// Makes the new root the root, and the old one unreachable.
fn pivot(root: &OwnedFd) -> Result<(), Failure> {
    rustix::process::fchdir(root).doing("entering the new root")?;
    rustix::process::pivot_root(".", ".").doing("changing the root")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).doing("letting go of the old root")?;
    rustix::process::chdir("/").doing("entering the new root")?;
    Ok(())
}
