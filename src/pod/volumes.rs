//! The volumes: what is mounted into this container besides its image, as `/proc/self/mountinfo` lists it
//! (proc(5)).
//!
//! A fence is laid around directories, and includes what is mounted below them. So a directory that has a
//! volume below it is split into its entries ([`Volumes::without`]).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::builder::APP_ROOT;

use super::error::PodError;

const TABLE: &str = "/proc/self/mountinfo";

/// The kernel's own file systems, which are not volumes.
const KERNEL: [&str; 2] = ["/proc", "/sys"];

/// Volumes of a step that builds in place: their content is the build's own. What is mounted below is not.
const OWN: [&str; 2] = [APP_ROOT, super::PLACE];

/// Files of the container engine in each root file system, and the administrators' directories for
/// certificates. Paths below these count too.
const KNOWN: [&str; 13] = [
    "/etc/hosts",
    "/etc/hostname",
    "/etc/resolv.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/localtime",
    "/etc/timezone",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
];

/// In each directory that Kubernetes writes a Secret or a projected token to.
const WRITTEN_BY_KUBERNETES: &str = "..data";

struct Volume {
    /// Where it is.
    point: PathBuf,
    /// The mounted part of its file system.
    root: PathBuf,
    /// The file system's kind.
    kind: String,
}

/// The mounts of this process's container.
pub struct Volumes(Vec<Volume>);

impl Volumes {
    /// # Errors
    /// If the kernel does not list them.
    pub fn of_this_process() -> Result<Self, PodError> {
        let table = fs::read(TABLE).map_err(PodError::io("reading", TABLE))?;
        Ok(Self::parse(&table))
    }

    fn parse(table: &[u8]) -> Self {
        let volumes = table.split(|byte| *byte == b'\n').filter_map(|line| {
            let mut fields = line.split(|byte| *byte == b' ').skip(3);
            let (root, point) = (unescaped(fields.next()?), unescaped(fields.next()?));
            let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
            Some(Volume {
                point,
                root,
                kind: String::from_utf8_lossy(kind).into_owned(),
            })
        });
        Self(volumes.collect())
    }

    /// The directories. If a volume is mounted below one: its entries without the volume. Links are not
    /// listed, because their targets count by themselves.
    ///
    /// # Errors
    /// If a directory cannot be listed.
    pub fn without<'p>(
        &self,
        directories: impl IntoIterator<Item = &'p Path>,
    ) -> Result<Vec<PathBuf>, PodError> {
        let mut found = Vec::new();
        for directory in directories {
            // `/lib` is a link in most images, and a volume is mounted where it leads. What is not there is not
            // reached either.
            if let Ok(real) = fs::canonicalize(directory) {
                self.take(&real, &mut found)?;
            }
        }
        found.sort();
        found.dedup();
        Ok(found)
    }

    fn take(&self, path: &Path, found: &mut Vec<PathBuf>) -> Result<(), PodError> {
        let is_foreign = |volume: &&Volume| {
            let known = KNOWN.iter().chain(&KERNEL);
            let mut known = known.map(Path::new);
            let mut own = OWN.iter().map(Path::new);
            volume.point != Path::new("/")
                && !own.any(|own| volume.point == own)
                && !known.any(|known| volume.point.starts_with(known))
        };
        let mut foreign = self.0.iter().filter(is_foreign).map(|volume| &volume.point);
        if foreign.clone().any(|point| path.starts_with(point)) {
            return Ok(());
        }
        if !foreign.any(|point| point.starts_with(path)) {
            found.push(path.to_owned());
            return Ok(());
        }
        let entries = match fs::read_dir(path) {
            // What this process cannot list, the fenced code cannot either.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            listed => listed.map_err(PodError::io("listing", path))?,
        };
        for entry in entries {
            let entry = entry.map_err(PodError::io("listing", path))?;
            let kind = entry
                .file_type()
                .map_err(PodError::io("looking at", path))?;
            if !kind.is_symlink() {
                self.take(&entry.path(), found)?;
            }
        }
        Ok(())
    }

    /// Files and directories that Kubernetes keeps in memory: Secrets and tokens, wherever they are mounted.
    pub(super) fn secrets(&self) -> impl Iterator<Item = PathBuf> {
        self.0.iter().filter_map(|volume| {
            let Volume { point, root, kind } = volume;
            let known = KNOWN.iter().any(|known| point.starts_with(known));
            let is_one = kind == "tmpfs"
                && !known
                && (point.join(WRITTEN_BY_KUBERNETES).exists()
                    // One file of it (`subPath`).
                    || root.components().any(|part| {
                        let name = part.as_os_str().as_bytes();
                        name.len() > 2 && name.starts_with(b"..")
                    }));
            is_one.then(|| point.clone())
        })
    }
}

/// A field, in which blanks and backslashes are written in octal.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| {
            let text = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(text, 8).ok()
        });
        if let (b'\\', Some(byte)) = (first, digits) {
            bytes.push(byte);
            rest = &after[3..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_below_a_directory_is_left_out_of_it() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        for directory in ["etc/app/keys", "etc/app/plain", "usr/lib", "opt"] {
            fs::create_dir_all(path(directory)).unwrap();
        }
        fs::write(path("etc/passwd"), "").unwrap();
        std::os::unix::fs::symlink("app", path("etc/link")).unwrap();
        let table = format!(
            "1 0 0:1 / / rw - overlay overlay rw\n\
             2 1 0:2 / {}/etc/app/keys ro,relatime shared:1 - tmpfs tmpfs ro\n\
             3 1 0:3 / {}/opt rw - ext4 /dev/x rw\n\
             4 1 0:4 / {}/with\\040blank rw - ext4 /dev/x rw\n",
            root.path().display(),
            root.path().display(),
            root.path().display(),
        );
        let volumes = Volumes::parse(table.as_bytes());
        assert_eq!(volumes.0[3].point, path("with blank"));
        let (etc, usr, opt) = (path("etc"), path("usr"), path("opt"));
        let all = [&etc, &usr, &opt].map(PathBuf::as_path);
        let mut found = volumes.without(all).unwrap();
        found.sort();
        assert_eq!(found, [path("etc/app/plain"), path("etc/passwd"), usr]);
        // Where a link leads.
        fs::create_dir_all(path("system/lib/keys")).unwrap();
        fs::create_dir_all(path("system/lib/plain")).unwrap();
        std::os::unix::fs::symlink("system/lib", path("lib")).unwrap();
        let table = format!(
            "1 0 0:1 / {}/system/lib/keys rw - ext4 /dev/x rw\n",
            root.path().display()
        );
        let found = Volumes::parse(table.as_bytes()).without([path("lib").as_path()]);
        assert_eq!(found.unwrap(), [path("system/lib/plain")]);
        // The engine's own files are not volumes.
        let plain = Volumes::parse(b"1 0 0:1 /r /etc/resolv.conf rw - ext4 /dev/x rw\n");
        assert_eq!(
            plain.without([Path::new("/etc")]).unwrap(),
            [Path::new("/etc")]
        );
    }

    #[test]
    fn what_kubernetes_keeps_in_memory_is_a_secret() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("secret/..2026")).unwrap();
        fs::create_dir_all(path("scratch")).unwrap();
        std::os::unix::fs::symlink("..2026", path("secret/..data")).unwrap();
        let line = |root: &str, name: &str, kind: &str| {
            format!("1 0 0:1 {root} {} ro - {kind} x ro\n", path(name).display())
        };
        let table = [
            line("/", "secret", "tmpfs"),
            line("/", "scratch", "tmpfs"),
            line("/..2026/a/key", "one-key", "tmpfs"),
            line("/run/x", "of-the-engine", "tmpfs"),
            line("/", "secret", "ext4"),
        ];
        let found: Vec<PathBuf> = Volumes::parse(table.concat().as_bytes())
            .secrets()
            .collect();
        assert_eq!(found, [path("secret"), path("one-key")]);
    }
}
