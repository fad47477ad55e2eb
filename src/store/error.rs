//! Errors of the store, with the remedy in the text.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::statvfs;

use crate::oci::{Digest, OciError};

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "no place for the store: neither WARPDRIVE_STORE nor XDG_DATA_HOME nor HOME names a directory (set WARPDRIVE_STORE)"
    )]
    NoPlace,
    #[error(
        "{} has files in it and is not a warpdrive store or OCI layout (no `oci-layout`); give --store or WARPDRIVE_STORE an empty or new directory",
        path.display()
    )]
    Foreign { path: PathBuf },
    #[error("{} is an OCI layout of version `{version}`; this release knows 1.0.0", path.display())]
    LayoutVersion { path: PathBuf, version: String },
    #[error("could not {doing} {}: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "no space left to write {}: the file system mounted at {} has {} free; free some with `warpdrive prune`, or point WARPDRIVE_STORE to another disk",
        path.display(), mount.display(), bytes(*free)
    )]
    Full {
        path: PathBuf,
        mount: PathBuf,
        free: u64,
    },
    #[error(
        "waited {} s for {what} ({}), which another warpdrive process holds; try again when it has ended, or set WARPDRIVE_LOCK_TIMEOUT to more seconds",
        waited.as_secs(), path.display()
    )]
    Locked {
        what: &'static str,
        path: PathBuf,
        waited: Duration,
    },
    #[error(
        "blob {digest} in the store is damaged (its bytes have digest {found}); it was set aside as {}: pull or build the image again to get a sound copy",
        aside.display()
    )]
    Corrupt {
        digest: Digest,
        found: Digest,
        aside: PathBuf,
    },
    #[error(
        "blob {digest} has {actual} bytes in the store and should have {expected}: pull or build the image again"
    )]
    Size {
        digest: Digest,
        expected: u64,
        actual: u64,
    },
    #[error("blob {digest} is not in the store: pull or build the image again")]
    Missing { digest: Digest },
    #[error("blob {digest} has {size} bytes, more than the {limit} allowed for a document")]
    TooLarge {
        digest: Digest,
        size: u64,
        limit: u64,
    },
    #[error("the bytes have digest {found} and {expected} was expected")]
    Mismatch { expected: Digest, found: Digest },
    #[error("`{name}` cannot name an image in the store: {problem}")]
    Name { name: String, problem: &'static str },
    #[error("the store {} belongs to the user {owner}, who could change what is in it: name another with --store", path.display())]
    Owner { path: PathBuf, owner: u32 },
    #[error("in the store, which was open to others, {} belongs to the user {owner}: remove it, or name another store with --store", path.display())]
    ForeignEntry { path: PathBuf, owner: u32 },
    #[error(
        "cannot open the store {}: {source}; it belongs to another user, or lies in a directory of another user: name one of your own with --store or WARPDRIVE_STORE",
        path.display()
    )]
    Closed { path: PathBuf, source: io::Error },
    #[error("`{key}` cannot be a key in the store: {problem}")]
    Key { key: String, problem: &'static str },
    #[error("`{name}` is {what}, not an image")]
    NotAnImage { name: String, what: String },
    #[error("{name} has no image for {platform}; it has {available}")]
    Platform {
        name: String,
        platform: String,
        available: String,
    },
    #[error("could not remove {}: {message}", path.display())]
    Remove { path: PathBuf, message: String },
    #[error(transparent)]
    Oci(#[from] OciError),
}

impl StoreError {
    /// Whether the content was wrong.
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::Mismatch { .. } | Self::Size { .. })
    }

    /// Wraps an I/O error; a full disk becomes [`StoreError::Full`], which names the file system.
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        // The error is a [`StoreError`] that already passed through a `Read` or `Write`.
        let source = match source.downcast::<Self>() {
            Ok(ours) => return ours,
            Err(source) => source,
        };
        if matches!(
            source.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        ) {
            let mount = mount_point(path);
            let free =
                statvfs(&mount).map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
            return Self::Full {
                path: path.to_owned(),
                mount,
                free,
            };
        }
        Self::Io {
            doing,
            path: path.to_owned(),
            source,
        }
    }

    /// A stable word for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoPlace
            | Self::Foreign { .. }
            | Self::Owner { .. }
            | Self::ForeignEntry { .. }
            | Self::Closed { .. }
            | Self::LayoutVersion { .. } => "store-place",
            Self::Full { .. } => "disk-full",
            Self::Locked { .. } => "store-busy",
            Self::Corrupt { .. } | Self::Size { .. } | Self::Mismatch { .. } => "blob-damaged",
            Self::Missing { .. } => "blob-missing",
            Self::Name { .. } => "name-invalid",
            Self::NotAnImage { .. } | Self::TooLarge { .. } | Self::Oci(_) => "image-malformed",
            Self::Platform { .. } => "platform-missing",
            Self::Io { .. } | Self::Key { .. } | Self::Remove { .. } => "store",
        }
    }

    /// The form in which the error passes through `Read` and `Write`.
    pub(crate) fn into_io(self) -> io::Error {
        let kind = match &self {
            Self::Full { .. } => io::ErrorKind::StorageFull,
            Self::Corrupt { .. } | Self::Mismatch { .. } => io::ErrorKind::InvalidData,
            Self::Io { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, self)
    }
}

/// The highest directory above `path` on the same device.
fn mount_point(path: &Path) -> PathBuf {
    let device = |path: &Path| rustix::fs::stat(path).ok().map(|stat| stat.st_dev);
    let mut known = path.ancestors().skip_while(|path| device(path).is_none());
    let Some(first) = known.next() else {
        return PathBuf::from("/");
    };
    let mut mount = first;
    for parent in known {
        if device(parent) != device(first) {
            break;
        }
        mount = parent;
    }
    mount.to_owned()
}

/// Bytes for people: `12.3 MB`.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if count < 1000 {
        return format!("{count} bytes");
    }
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_names_the_file_system_and_the_remedy() {
        let full = io::Error::from_raw_os_error(rustix::io::Errno::NOSPC.raw_os_error());
        let text = StoreError::io("write", Path::new("/proc/self/nowhere"), full).to_string();
        assert!(text.contains("mounted at /proc"), "{text}");
        assert!(text.contains("warpdrive prune"), "{text}");
    }

    #[test]
    fn an_error_survives_its_way_through_a_reader() {
        let error = StoreError::NoPlace.into_io();
        assert!(matches!(
            StoreError::io("read", Path::new("/x"), error),
            StoreError::NoPlace
        ));
    }

    #[test]
    fn bytes_are_readable() {
        for (count, text) in [
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (12_345_678, "12.3 MB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
