//! Unpacks one layer into a directory of its own, as a lower directory for overlayfs.
//!
//! Deletions become what overlayfs understands: `.wh.NAME` a character device 0:0 (which may be
//! made without privileges too), `.wh..wh..opq` an `overlay.opaque` attribute of its directory.
//! A layer knows nothing of those below it; where it deletes and adds the same name, the added one
//! stands and hides all that was below (image-spec, `layer.md`: a whiteout hides what lower layers
//! have, never what its own layer has).
//!
//! Everything happens beneath the root ([`super::root`]); what an entry replaces is removed before,
//! never written through. Order: owner, attributes, mode, time, because chown clears setuid bits
//! and capabilities; directories' times at the end.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use rustix::io::Errno;

use crate::beneath::open_child;

use super::apply_options::ApplyOptions;
use super::error::quoted;
use super::member::{Member, MemberKind};
use super::metadata::{self, times};
use super::reader::TarReader;
use super::remove::remove_at;
use super::root::{Root, below_whiteout, clean, is_whiteout, stat_at};
use super::xattr::opaque_name;
use super::{LayerError, Limits, OPAQUE_NAME, WHITEOUT_PREFIX};

/// So many bytes are unpacked between two looks at what is free.
const BETWEEN_LOOKS: u64 = 16 << 20;
/// What an entry takes on a disk besides its content.
const PER_ENTRY: u64 = 4096;

/// An error where less than `reserve` bytes, and `needed` ones on top, are free where `directory` is.
pub fn check_space(directory: impl AsFd, needed: u64, reserve: u64) -> Result<(), LayerError> {
    let found = rustix::fs::fstatvfs(directory)
        .map_err(|error| LayerError::io("ask for the free space of", ".", error))?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free < reserve.saturating_add(needed) {
        return Err(LayerError::NoSpace { free, reserve });
    }
    Ok(())
}

/// What became of a layer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    pub entries: u64,
    /// Bytes of the uncompressed stream.
    pub bytes: u64,
    /// Entries and attributes that are not in the directory, and why. At most 1000 are named.
    pub skipped: Vec<Skipped>,
    /// Directories that no entry describes; they are 0755 and 0:0, and in the merged tree they hide
    /// the mode and owner that lower layers give them. At most 1000 are named.
    pub implied: Vec<PathBuf>,
}

/// Something that was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub path: PathBuf,
    pub reason: String,
}

const MAX_REPORTED: usize = 1000;

/// Unpacks an uncompressed tar stream into the existing, empty directory `root`, and reads the
/// stream to its end (so that a digest taken of it is the diff ID).
///
/// The stream is hostile: see the module. On an error the directory is half full; remove it.
pub fn apply(tar: impl Read, root: &Path, options: &ApplyOptions) -> Result<Applied, LayerError> {
    apply_checked(tar, root, options, &mut |_| Ok(()), false)
}

/// The same for an archive that is not a layer and comes without a digest: it has to be whole, and
/// `check` may refuse a member before anything of it is made.
pub fn apply_checked(
    tar: impl Read,
    root: &Path,
    options: &ApplyOptions,
    check: &mut dyn FnMut(&Member) -> Result<(), String>,
    whole: bool,
) -> Result<Applied, LayerError> {
    let limits = Limits {
        max_bytes: options.max_bytes,
        max_entries: options.max_entries,
    };
    let mut reader = TarReader::new(BufReader::with_capacity(128 * 1024, tar), limits);
    if whole {
        reader = reader.requiring_padding().requiring_end();
    }
    let mut applier = Applier {
        root: Root::open(root)?,
        options,
        parent: None,
        directory_times: BTreeMap::new(),
        applied: Applied::default(),
        buffer: vec![0; 128 * 1024],
        since_look: 0,
    };
    while let Some(member) = reader.next_member()? {
        applier.applied.entries += 1;
        applier.go_on(PER_ENTRY)?;
        check(&member).map_err(|problem| LayerError::refused(&member.path, problem))?;
        applier.member(&member, &mut reader)?;
    }
    applier.applied.bytes = reader.drain()?;
    applier.finish()
}

/// True if an unpacked layer's very root is opaque (`.wh..wh..opq` at the top). Overlayfs looks for
/// that mark only on directories inside: a caller that stacks layers must leave out those below this one.
pub fn hides_all_below(root: &Path) -> Result<bool, LayerError> {
    Ok(super::xattr::read_all(root)?
        .iter()
        .any(|(name, value)| super::xattr::is_overlay(name, "opaque") && value == b"y"))
}

struct Applier<'a> {
    root: Root,
    options: &'a ApplyOptions,
    /// The last parent directory; entries mostly come directory by directory.
    parent: Option<(PathBuf, Rc<OwnedFd>)>,
    directory_times: BTreeMap<PathBuf, (i64, u32)>,
    applied: Applied,
    buffer: Vec<u8>,
    /// Bytes since the free space was looked at.
    since_look: u64,
}

/// A cleaned path, its parent opened.
struct Target<'p> {
    path: &'p Path,
    parent: Rc<OwnedFd>,
    name: &'p OsStr,
}

impl Target<'_> {
    fn failed(&self, action: &'static str) -> impl Fn(Errno) -> LayerError + '_ {
        move |error| LayerError::io(action, self.path, error)
    }
}

impl Applier<'_> {
    fn member<R: Read>(
        &mut self,
        member: &Member,
        reader: &mut TarReader<R>,
    ) -> Result<(), LayerError> {
        let refuse = |problem: &str| LayerError::refused(&member.path, problem);
        let path = clean(&member.path).map_err(refuse)?;
        if below_whiteout(&path) {
            return Err(refuse("it lies in a directory whose name means a deletion"));
        }
        let Some(name) = path.file_name() else {
            return self.root_directory(member);
        };
        if name.as_bytes().starts_with(WHITEOUT_PREFIX.as_bytes()) {
            return self.whiteout(member, &path, name);
        }
        let place = Target {
            path: &path,
            parent: self.parent_of(&path)?,
            name,
        };
        match &member.kind {
            MemberKind::Directory => self.directory(member, &place),
            MemberKind::File => self.file(member, &place, reader),
            MemberKind::Symlink(target) => self.symlink(member, &place, target),
            MemberKind::HardLink(target) => self.hard_link(member, &place, target),
            MemberKind::Fifo => self.node(member, &place, FileType::Fifo, (0, 0)),
            MemberKind::CharDevice { major: 0, minor: 0 } => {
                self.skip(&path, "a device 0:0 would mean a deletion to overlayfs");
                Ok(())
            }
            MemberKind::CharDevice { major, minor } => {
                self.node(member, &place, FileType::CharacterDevice, (*major, *minor))
            }
            MemberKind::BlockDevice { major, minor } => {
                self.node(member, &place, FileType::BlockDevice, (*major, *minor))
            }
        }
    }

    fn finish(mut self) -> Result<Applied, LayerError> {
        for (path, (seconds, nanos)) in std::mem::take(&mut self.directory_times) {
            let opened = match (path.parent(), path.file_name()) {
                (Some(parent), Some(name)) => self
                    .root
                    .open_dir(parent)
                    .and_then(|parent| open_child(&parent, name)),
                _ => self.root.open_dir(&path),
            };
            match opened {
                Ok(fd) => rustix::fs::futimens(&fd, &times(seconds, nanos))
                    .map_err(|error| LayerError::io("set the time of", &path, error))?,
                // A later entry took its place.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(LayerError::io("open", &path, error)),
            }
        }
        Ok(self.applied)
    }

    fn metadata(&mut self, fd: &OwnedFd, member: &Member, path: &Path) -> Result<(), LayerError> {
        let left_out = metadata::set(fd, member, path, self.options)?;
        self.left_out(path, left_out);
        Ok(())
    }

    fn metadata_by_name(&mut self, member: &Member, place: &Target<'_>) -> Result<(), LayerError> {
        let (parent, name) = (&place.parent, place.name);
        let left_out = metadata::set_by_name(parent, name, member, place.path, self.options)?;
        self.left_out(place.path, left_out);
        Ok(())
    }

    fn left_out(&mut self, path: &Path, reasons: Vec<String>) {
        for reason in reasons {
            self.skip(path, &reason);
        }
    }

    fn skip(&mut self, path: &Path, reason: &str) {
        if self.applied.skipped.len() < MAX_REPORTED {
            self.applied.skipped.push(Skipped {
                path: path.to_owned(),
                reason: reason.to_owned(),
            });
        }
    }

    fn parent_of(&mut self, path: &Path) -> Result<Rc<OwnedFd>, LayerError> {
        self.open_dir(path.parent().unwrap_or(Path::new("")))
    }

    /// Opens a directory of this layer, and makes it if no entry did.
    fn open_dir(&mut self, path: &Path) -> Result<Rc<OwnedFd>, LayerError> {
        if let Some((known, fd)) = &self.parent
            && known == path
        {
            return Ok(Rc::clone(fd));
        }
        let (fd, made) = self.root.ensure_dir(path)?;
        for made in made {
            if self.options.ownership || made.over_whiteout {
                let fd = self
                    .root
                    .open_dir(&made.path)
                    .map_err(|error| LayerError::io("open", &made.path, error))?;
                if self.options.ownership {
                    rustix::fs::fchown(&fd, Some(Uid::ROOT), Some(Gid::ROOT)).map_err(|error| {
                        LayerError::io("change the owner of", &made.path, error)
                    })?;
                }
                if made.over_whiteout {
                    self.make_opaque(&fd, &made.path)?;
                }
            }
            self.directory_times.insert(made.path.clone(), (0, 0));
            if self.applied.implied.len() < MAX_REPORTED {
                self.applied.implied.push(made.path);
            }
        }
        let fd = Rc::new(fd);
        self.parent = Some((path.to_owned(), Rc::clone(&fd)));
        Ok(fd)
    }

    /// Removes what stands in an entry's place. True if it was a whiteout.
    fn clear(&mut self, place: &Target<'_>) -> Result<bool, LayerError> {
        let Some(stat) = stat_at(&place.parent, place.name).map_err(place.failed("examine"))?
        else {
            return Ok(false);
        };
        // The open parent might be, or lie in, what goes, or be reached through a link that does.
        self.parent = None;
        remove_at(place.parent.as_fd(), place.name).map_err(place.failed("replace"))?;
        Ok(is_whiteout(&stat))
    }

    fn make_opaque(&self, fd: &OwnedFd, path: &Path) -> Result<(), LayerError> {
        let name = opaque_name(self.options.userxattr);
        rustix::fs::fsetxattr(fd, name, b"y", XattrFlags::empty())
            .map_err(|error| LayerError::io("mark as opaque", path, error))
    }

    fn root_directory(&mut self, member: &Member) -> Result<(), LayerError> {
        if member.kind != MemberKind::Directory {
            return Err(LayerError::refused(
                &member.path,
                "the root can only be a directory",
            ));
        }
        let path = Path::new("");
        let fd = self
            .root
            .open_dir(path)
            .map_err(|error| LayerError::io("open", "/", error))?;
        self.metadata(&fd, member, Path::new("/"))?;
        self.directory_times
            .insert(path.to_owned(), (member.mtime, member.nanos));
        Ok(())
    }

    fn whiteout(&mut self, member: &Member, path: &Path, name: &OsStr) -> Result<(), LayerError> {
        let refuse = |problem: &str| Err(LayerError::refused(&member.path, problem));
        if member.kind == MemberKind::Directory {
            return refuse("it is a directory, and its name means a deletion");
        }
        if name == OPAQUE_NAME {
            let parent_path = path.parent().unwrap_or(Path::new(""));
            let parent = self.parent_of(path)?;
            return self.make_opaque(&parent, parent_path);
        }
        let hidden = &name.as_bytes()[WHITEOUT_PREFIX.len()..];
        if hidden.starts_with(WHITEOUT_PREFIX.as_bytes()) {
            self.skip(path, "aufs's own bookkeeping");
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return refuse("it is a whiteout of nothing that can be deleted");
        }
        let place = Target {
            path,
            parent: self.parent_of(path)?,
            name: OsStr::from_bytes(hidden),
        };
        match stat_at(&place.parent, place.name).map_err(place.failed("examine"))? {
            None => {
                let kind = FileType::CharacterDevice;
                rustix::fs::mknodat(&place.parent, place.name, kind, Mode::empty(), 0)
                    .map_err(place.failed("make the whiteout of"))
            }
            // This layer has it: what is below is hidden, what is here stays.
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                let fd = open_child(&place.parent, place.name).map_err(place.failed("open"))?;
                self.make_opaque(&fd, path)
            }
            Some(_) => Ok(()),
        }
    }

    fn directory(&mut self, member: &Member, place: &Target<'_>) -> Result<(), LayerError> {
        let fd = match open_child(&place.parent, place.name) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                let over_whiteout = self.clear(place)?;
                rustix::fs::mkdirat(&place.parent, place.name, Mode::RWXU)
                    .map_err(place.failed("make the directory"))?;
                let fd = open_child(&place.parent, place.name).map_err(place.failed("open"))?;
                if over_whiteout {
                    self.make_opaque(&fd, place.path)?;
                }
                fd
            }
            Err(error) => return Err(place.failed("open")(error)),
        };
        self.metadata(&fd, member, place.path)?;
        self.directory_times
            .insert(place.path.to_owned(), (member.mtime, member.nanos));
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        member: &Member,
        place: &Target<'_>,
        reader: &mut TarReader<R>,
    ) -> Result<(), LayerError> {
        let create = || {
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&place.parent, place.name, flags, Mode::RUSR | Mode::WUSR)
        };
        let fd = match create() {
            Err(Errno::EXIST) => {
                self.clear(place)?;
                create()
            }
            other => other,
        }
        .map_err(place.failed("create"))?;
        let mut file = File::from(fd);
        loop {
            let count = reader.read_content(&mut self.buffer)?;
            if count == 0 {
                break;
            }
            self.go_on(count as u64)?;
            file.write_all(&self.buffer[..count])
                .map_err(|error| LayerError::io("write", place.path, error))?;
        }
        let fd = OwnedFd::from(file);
        self.metadata(&fd, member, place.path)?;
        rustix::fs::futimens(&fd, &times(member.mtime, member.nanos))
            .map_err(place.failed("set the time of"))
    }

    /// Before so many bytes more: not when the process is to end, nor when the disk is nearly full.
    fn go_on(&mut self, bytes: u64) -> Result<(), LayerError> {
        if (self.options.interrupted)() {
            return Err(LayerError::Interrupted);
        }
        self.since_look += bytes;
        if self.options.reserve > 0 && self.since_look >= BETWEEN_LOOKS {
            self.since_look = 0;
            check_space(self.root.as_fd(), 0, self.options.reserve)?;
        }
        Ok(())
    }

    fn symlink(
        &mut self,
        member: &Member,
        place: &Target<'_>,
        target: &Path,
    ) -> Result<(), LayerError> {
        if target.as_os_str().is_empty() {
            return Err(LayerError::refused(&member.path, "it is a link to nothing"));
        }
        self.clear(place)?;
        rustix::fs::symlinkat(target, &place.parent, place.name)
            .map_err(place.failed("make the link"))?;
        self.metadata_by_name(member, place)
    }

    /// The link's own owner, mode and time are those of the file it links to, and stay.
    fn hard_link(
        &mut self,
        member: &Member,
        place: &Target<'_>,
        target: &Path,
    ) -> Result<(), LayerError> {
        let refuse = |problem: String| LayerError::refused(&member.path, problem);
        let target = clean(target).map_err(|problem| {
            refuse(format!(
                "its target {} is refused: {problem}",
                quoted(target)
            ))
        })?;
        let missing = || {
            refuse(format!(
                "it is a hard link to {}, which this layer does not have before it",
                quoted(&target)
            ))
        };
        let Some(target_name) = target.file_name() else {
            return Err(missing());
        };
        let target_parent = match self.root.open_dir(target.parent().unwrap_or(Path::new(""))) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(missing()),
            Err(error) => return Err(LayerError::io("open", &target, error)),
        };
        let Some(stat) = stat_at(&target_parent, target_name)
            .map_err(|error| LayerError::io("examine", &target, error))?
        else {
            return Err(missing());
        };
        // A link to a symbolic link makes another name for it; it is not followed.
        if !matches!(
            FileType::from_raw_mode(stat.st_mode),
            FileType::RegularFile | FileType::Symlink
        ) {
            return Err(refuse(format!(
                "it is a hard link to {}, which is not a file",
                quoted(&target)
            )));
        }
        if let Some(present) =
            stat_at(&place.parent, place.name).map_err(place.failed("examine"))?
            && (present.st_dev, present.st_ino) == (stat.st_dev, stat.st_ino)
        {
            return Ok(());
        }
        // Removing a directory in the link's place may take the target with it.
        self.clear(place)?;
        match rustix::fs::linkat(
            &target_parent,
            target_name,
            &place.parent,
            place.name,
            AtFlags::empty(),
        ) {
            Ok(()) => Ok(()),
            Err(Errno::NOENT) => Err(missing()),
            Err(error) => Err(place.failed("make the hard link")(error)),
        }
    }

    fn node(
        &mut self,
        member: &Member,
        place: &Target<'_>,
        kind: FileType,
        (major, minor): (u32, u32),
    ) -> Result<(), LayerError> {
        if kind != FileType::Fifo && !self.options.devices {
            self.skip(place.path, "device nodes cannot be made here");
            return Ok(());
        }
        self.clear(place)?;
        let device = rustix::fs::makedev(major, minor);
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(&place.parent, place.name, kind, mode, device)
            .map_err(place.failed("make the device or pipe"))?;
        self.metadata_by_name(member, place)
    }
}
