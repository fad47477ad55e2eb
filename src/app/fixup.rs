//! `warpdrive fixup PATH`: gives the group the permissions that an image needs which runs as any
//! uid with gid 0.
//!
//! The rule: everything belongs to group 0; the group may read and write every file, enter every
//! directory, and execute each file that any user may execute. Only files that need a change are
//! changed, so that an overlay copies up as little as possible. Links are not followed, so that
//! nothing outside changes (the original followed them). Without root, only the caller's own files
//! are examined.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, chmodat, chownat, fchmod, fstat, openat,
    statat,
};
use rustix::process::geteuid;

#[derive(Debug, thiserror::Error)]
pub enum FixupError {
    #[error("{}: {source}", path.display())]
    Missing { path: PathBuf, source: io::Error },
    #[error("{count} of the files below {} could not be changed; the first: {}: {source}",
            root.display(), path.display())]
    Unchanged {
        root: PathBuf,
        count: u64,
        path: PathBuf,
        source: io::Error,
    },
}

/// What was done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    pub groups: u64,
    pub modes: u64,
}

/// Applies the rule to `root` (a link given here is followed) and everything below it.
///
/// # Errors
/// If `root` does not exist; if something could not be changed (everything else is changed first).
pub fn fixup(root: &Path) -> Result<Fixed, FixupError> {
    let missing = |source: rustix::io::Errno| FixupError::Missing {
        path: root.to_owned(),
        source: source.into(),
    };
    let resolved = root.canonicalize().map_err(|source| FixupError::Missing {
        path: root.to_owned(),
        source,
    })?;
    let uid = geteuid().as_raw();
    let mut walk = Walk {
        uid: (uid != 0).then_some(uid),
        fixed: Fixed::default(),
        failures: 0,
        first: None,
        path: resolved.clone(),
    };
    let stat = statat(CWD, &resolved, AtFlags::SYMLINK_NOFOLLOW).map_err(missing)?;
    walk.entry(CWD, &resolved, &stat);
    match walk.first {
        None => Ok(walk.fixed),
        Some((path, source)) => Err(FixupError::Unchanged {
            root: root.to_owned(),
            count: walk.failures,
            path,
            source: source.into(),
        }),
    }
}

/// The mode that the rule asks for.
fn wanted_mode(stat: &Stat) -> u32 {
    let mode = stat.st_mode & 0o7777;
    let executable = mode & 0o111 != 0 || is_directory(stat);
    mode | 0o060 | if executable { 0o010 } else { 0 }
}

fn is_directory(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

struct Walk {
    /// Only files of this user; `None` means all.
    uid: Option<u32>,
    fixed: Fixed,
    failures: u64,
    first: Option<(PathBuf, rustix::io::Errno)>,
    path: PathBuf,
}

impl Walk {
    fn failed(&mut self, source: rustix::io::Errno) {
        self.failures += 1;
        if self.first.is_none() {
            self.first = Some((self.path.clone(), source));
        }
    }

    fn entry(&mut self, parent: BorrowedFd<'_>, name: impl rustix::path::Arg + Copy, stat: &Stat) {
        let ours = self.uid.is_none_or(|uid| uid == stat.st_uid);
        if ours && let Err(error) = self.fix(parent, name, stat) {
            self.failed(error);
        }
        if is_directory(stat)
            && let Err(error) = self.children(parent, name)
            && ours
        {
            self.failed(error);
        }
    }

    fn fix(
        &mut self,
        parent: BorrowedFd<'_>,
        name: impl rustix::path::Arg + Copy,
        stat: &Stat,
    ) -> rustix::io::Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if matches!(kind, FileType::BlockDevice | FileType::CharacterDevice) {
            return Ok(());
        }
        let mut result = Ok(());
        if stat.st_gid != 0 {
            result = chownat(
                parent,
                name,
                None,
                Some(Gid::ROOT),
                AtFlags::SYMLINK_NOFOLLOW,
            );
            self.fixed.groups += u64::from(result.is_ok());
        }
        if kind != FileType::Symlink && wanted_mode(stat) != stat.st_mode & 0o7777 {
            change_mode(parent, name, stat)?;
            self.fixed.modes += 1;
        }
        result
    }

    fn children(
        &mut self,
        parent: BorrowedFd<'_>,
        name: impl rustix::path::Arg + Copy,
    ) -> rustix::io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = openat(parent, name, flags, Mode::empty())?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                names.push(entry.file_name().to_owned());
            }
        }
        for name in &names {
            let name: &CStr = name;
            self.path.push(crate_path(name));
            match statat(directory.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => self.entry(directory.as_fd(), name, &stat),
                // Gone meanwhile.
                Err(rustix::io::Errno::NOENT) => {}
                Err(error) => self.failed(error),
            }
            self.path.pop();
        }
        Ok(())
    }
}

fn crate_path(name: &CStr) -> &Path {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()))
}

/// Changes the mode of exactly the file that `stat` describes, not of a link that has replaced it.
fn change_mode(
    parent: BorrowedFd<'_>,
    name: impl rustix::path::Arg + Copy,
    stat: &Stat,
) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(parent, name, flags, Mode::empty())?;
    let now = fstat(&file)?;
    if (now.st_dev, now.st_ino) != (stat.st_dev, stat.st_ino) {
        return Ok(());
    }
    let mode = Mode::from_raw_mode(wanted_mode(&now));
    let through_proc = format!("/proc/self/fd/{}", file.as_raw_fd());
    match chmodat(CWD, through_proc, mode, AtFlags::empty()) {
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            fchmod(openat(parent, name, flags, Mode::empty())?, mode)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn the_rule() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("sub/deep")).unwrap();
        for (name, before) in [
            ("a", 0o600),
            ("b", 0o700),
            ("c", 0o644),
            ("d", 0o664),
            ("e", 0o401),
            ("sub/deep/f", 0o000),
        ] {
            fs::write(root.join(name), name).unwrap();
            set(&root.join(name), before);
        }
        set(&root.join("sub/deep"), 0o700);
        set(&root.join("sub"), 0o000);
        fixup(&root).unwrap();
        for (name, after) in [
            ("a", 0o660),
            ("b", 0o770),
            ("c", 0o664),
            ("d", 0o664),
            ("e", 0o471),
            ("sub/deep/f", 0o060),
            ("sub/deep", 0o770),
            ("sub", 0o070),
            ("", 0o775),
        ] {
            assert_eq!(mode(&root.join(name)), after, "{name}");
        }
        set(&root.join("sub"), 0o770);
        assert_eq!(
            fixup(&root).unwrap(),
            Fixed::default(),
            "a second time changes nothing"
        );
    }

    /// BUG of the original: `find -L` went through links out of the tree.
    #[test]
    fn links_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (root, outside) = (
            directory.path().join("root"),
            directory.path().join("outside"),
        );
        fs::create_dir_all(&root).unwrap();
        fs::create_dir_all(&outside).unwrap();
        fs::write(outside.join("file"), "x").unwrap();
        set(&outside.join("file"), 0o600);
        set(&outside, 0o700);
        symlink(outside.join("file"), root.join("file")).unwrap();
        symlink(&outside, root.join("directory")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        fixup(&root).unwrap();
        assert_eq!(mode(&outside.join("file")), 0o600);
        assert_eq!(mode(&outside), 0o700);
    }

    /// BUG of the original: for a missing path it printed an error and ended with success.
    #[test]
    fn a_missing_path_is_a_failure() {
        let error = fixup(Path::new("/nonexistent/path")).unwrap_err();
        assert!(matches!(error, FixupError::Missing { .. }));
    }

    #[test]
    fn the_group_becomes_root() {
        assert!(
            geteuid().is_root(),
            "this test gives files to others; run it as root, as `make test` is"
        );
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "x").unwrap();
        set(&file, 0o664);
        std::os::unix::fs::chown(&file, Some(1001), Some(1001)).unwrap();
        let fixed = fixup(directory.path()).unwrap();
        assert_eq!(fixed.groups, 1);
        assert_eq!(fs::metadata(&file).unwrap().gid(), 0);
        assert_eq!(fs::metadata(&file).unwrap().uid(), 1001);
    }
}
