//! A sealed copy of this program to run children from.
//!
//! An image's script that starts `#!/proc/self/exe` runs *our* program inside the container, and a
//! process that can reach `/proc/PID/exe` could write to it (CVE-2019-5736). So children are
//! started from a memfd that no process can write to or, where memfds may not be executed
//! (`vm.memfd_noexec=2`), from a copy without a name.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use rustix::fs::{MemfdFlags, SealFlags};

use super::error::SandboxError;

/// The copy, made at first use and kept until the process ends.
static COPY: OnceLock<OwnedFd> = OnceLock::new();

const SEALS: SealFlags = SealFlags::WRITE
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// The sealed copy; its path while it is open is `/proc/self/fd/N`.
pub(super) fn sealed() -> Result<BorrowedFd<'static>, SandboxError> {
    // Two sandboxes that start at once share one.
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(copy) = COPY.get() {
        return Ok(copy.as_fd());
    }
    let copy = make()?;
    Ok(COPY.get_or_init(|| copy).as_fd())
}

/// Uses the program's own file instead of the copy: see [`super::spec::Defence::SealedCopy`].
#[cfg(debug_assertions)]
pub(super) fn leave_unsealed() -> Result<(), SandboxError> {
    // With this function's name: `scripts/check-release` looks for it in a program without symbols.
    let ours = File::open("/proc/self/exe")
        .map_err(|error| SandboxError::io("leave_unsealed: opening /proc/self/exe", error))?;
    let _ = COPY.set(ours.into());
    Ok(())
}

/// `/proc/self/fd/N` of the copy, valid in children until they close it.
pub(super) fn path() -> Result<PathBuf, SandboxError> {
    Ok(PathBuf::from(format!(
        "/proc/self/fd/{}",
        sealed()?.as_raw_fd()
    )))
}

fn make() -> Result<OwnedFd, SandboxError> {
    let ours = File::open("/proc/self/exe")
        .map_err(|error| SandboxError::io("opening /proc/self/exe (is /proc mounted?)", error))?;
    // After `enter` this process runs from a sealed copy already.
    if is_sealed(&ours) {
        return Ok(ours.into());
    }
    match in_memory(&ours) {
        Ok(copy) => Ok(copy),
        Err(_) => without_a_name(&ours),
    }
}

pub(super) fn is_sealed(copy: impl AsFd) -> bool {
    rustix::fs::fcntl_get_seals(copy).is_ok_and(|seals| seals.contains(SEALS))
}

fn in_memory(ours: &File) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = rustix::fs::memfd_create("warpdrive", flags | MemfdFlags::EXEC)
        // MFD_EXEC came with Linux 6.3; before, every memfd could be executed.
        .or_else(|error| match error {
            rustix::io::Errno::INVAL => rustix::fs::memfd_create("warpdrive", flags),
            other => Err(other),
        })?;
    let mut copy = File::from(memory);
    copy_all(ours, &mut copy)?;
    rustix::fs::fchmod(&copy, rustix::fs::Mode::from_raw_mode(0o555))?;
    rustix::fs::fcntl_add_seals(&copy, SEALS)?;
    // With vm.memfd_noexec=2 an executable one was refused above.
    Ok(copy.into())
}

/// A copy in a directory that allows execution, removed at once and open for reading only.
fn without_a_name(ours: &File) -> Result<OwnedFd, SandboxError> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let places = runtime
        .iter()
        .map(PathBuf::as_path)
        .chain(["/dev/shm", "/tmp", "/var/tmp"].map(Path::new));
    for place in places {
        match copy_into(ours, place) {
            Ok(copy) => return Ok(copy),
            Err(error) => last = error,
        }
    }
    Err(SandboxError::io(
        "making a protected copy of this program (memfd refused, and no temporary directory \
         allows execution: set vm.memfd_noexec to 1, or mount one of /dev/shm, /tmp, /var/tmp \
         without noexec)",
        last,
    ))
}

fn copy_into(ours: &File, place: &Path) -> io::Result<OwnedFd> {
    let directory = rustix::fs::statvfs(place)?;
    if directory
        .f_flag
        .contains(rustix::fs::StatVfsMountFlags::NOEXEC)
    {
        return Err(io::Error::from_raw_os_error(libc::EACCES));
    }
    let path = place.join(format!(
        ".warpdrive-{}-{:x}",
        std::process::id(),
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos())
    ));
    let mut copy = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o700)
        .open(&path)?;
    let readable = copy_all(ours, &mut copy).and_then(|()| {
        copy.set_permissions(std::fs::Permissions::from_mode(0o555))?;
        File::open(&path)
    });
    std::fs::remove_file(&path)?;
    // A file that is open for writing cannot be executed.
    drop(copy);
    Ok(readable?.into())
}

fn copy_all(mut from: &File, to: &mut File) -> io::Result<()> {
    io::copy(&mut from, to).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_cannot_be_written_to() {
        let copy = sealed().unwrap();
        let seals = rustix::fs::fcntl_get_seals(copy).unwrap();
        assert!(seals.contains(SEALS), "{seals:?}");
        // Root may open it all the same, but not write.
        if let Ok(mut file) = OpenOptions::new().write(true).open(path().unwrap()) {
            assert!(io::Write::write(&mut file, b"x").is_err());
        }
    }

    #[test]
    fn the_copy_without_a_name_has_none() {
        let ours = File::open("/proc/self/exe").unwrap();
        let copy = without_a_name(&ours).unwrap();
        assert_eq!(rustix::fs::fstat(&copy).unwrap().st_nlink, 0);
        assert!(rustix::io::write(&copy, b"x").is_err());
    }
}
