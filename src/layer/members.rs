//! An archive of files that are read by name where they lie: OCI layouts and `docker save` in a tar.
//!
//! Nothing is unpacked: one pass finds where each member's content is, so that a path in an archive
//! leads nowhere but to another member.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};

use super::LayerError;
use super::decompress::Packing;
use super::limits::Limits;
use super::member::MemberKind;
use super::reader::TarReader;

/// Members of an archive of images; each is a blob or a few small files.
const MAX_MEMBERS: u64 = 100_000;

/// How many links may lead to a file.
const MAX_LINKS: usize = 8;

/// Where the members of an uncompressed archive are.
#[derive(Debug)]
pub struct Members(BTreeMap<PathBuf, Found>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    File {
        offset: u64,
        size: u64,
    },
    /// A link to another member, by its path in the archive. Older releases of docker store a layer
    /// once and link to it.
    Link(PathBuf),
}

impl Members {
    /// Looks through an archive. One that has a name twice is refused: programs differ in which of the
    /// two they take.
    pub fn of(file: &File) -> Result<Self, LayerError> {
        let limits = Limits {
            max_entries: MAX_MEMBERS,
            ..Limits::default()
        };
        let whole = Section::new(file, 0, u64::MAX);
        let mut reader =
            TarReader::new(BufReader::with_capacity(256 * 1024, whole), limits).requiring_padding();
        let mut members = BTreeMap::new();
        while let Some(member) = reader.next_member()? {
            let Some(name) = normal(&member.path) else {
                continue;
            };
            let found = match member.kind {
                MemberKind::File => Found::File {
                    offset: reader.offset(),
                    size: member.size,
                },
                MemberKind::HardLink(target) => match normal(&target) {
                    Some(target) => Found::Link(target),
                    None => continue,
                },
                MemberKind::Symlink(target) => {
                    let parent = name.parent().unwrap_or(Path::new(""));
                    match normal(&parent.join(target)) {
                        Some(target) => Found::Link(target),
                        None => continue,
                    }
                }
                _ => continue,
            };
            if members.insert(name, found).is_some() {
                return Err(LayerError::refused(&member.path, "it is there twice"));
            }
        }
        Ok(Self(members))
    }

    /// A member of the file that was looked through; links within the archive are followed.
    pub fn open<'f>(&self, file: &'f File, name: &str) -> Option<Section<'f>> {
        let mut name = &normal(Path::new(name))?;
        for _ in 0..MAX_LINKS {
            match self.0.get(name)? {
                Found::File { offset, size } => return Some(Section::new(file, *offset, *size)),
                Found::Link(target) => name = target,
            }
        }
        None
    }
}

/// A path inside the archive without `.` and `..`; `None` when it leads out of it.
fn normal(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    (!clean.as_os_str().is_empty()).then_some(clean)
}

/// A part of a file, read by position, so that several threads can read at once.
pub struct Section<'f> {
    file: &'f File,
    position: u64,
    left: u64,
}

impl<'f> Section<'f> {
    /// So many bytes, or what there is of them.
    pub fn new(file: &'f File, offset: u64, size: u64) -> Self {
        Self {
            file,
            position: offset,
            left: size,
        }
    }

    /// Bytes still to be read.
    pub fn size(&self) -> u64 {
        self.left
    }

    /// How it is compressed, by its first bytes.
    pub fn packing(self) -> io::Result<Packing> {
        let mut first = Vec::with_capacity(Packing::LENGTH);
        self.take(Packing::LENGTH as u64).read_to_end(&mut first)?;
        Ok(Packing::of(&first))
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let most = left.min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.position)?;
        self.position += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Option<String> {
        normal(Path::new(text)).map(|path| path.display().to_string())
    }

    #[test]
    fn paths_stay_in_the_archive() {
        for (text, expected) in [
            ("a/b", Some("a/b")),
            ("./a", Some("a")),
            ("a/../b", Some("b")),
            ("../a", None),
            ("a/../../b", None),
            ("/etc/passwd", None),
            (".", None),
            ("", None),
        ] {
            assert_eq!(names(text).as_deref(), expected, "{text}");
        }
    }
}
