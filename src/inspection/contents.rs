//! The files of an image: its layers, laid over each other.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::audit;
use crate::layer::{LayerError, Limits, MemberKind, OPAQUE_NAME, TarReader, WHITEOUT_PREFIX};

use super::InspectionError;

/// Most files that are kept; a large image has a third of this.
const MAX_FILES: usize = 300_000;

/// Largest document of a distribution that is read, and all of them, in bytes.
const MAX_DOCUMENT: u64 = 8 * 1024 * 1024;
const MAX_DOCUMENTS: u64 = 96 * 1024 * 1024;

/// A file of the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Which layer has it, from the lowest, 0.
    pub layer: usize,
    pub size: u64,
    /// The digest of its content, if it was requested.
    pub digest: Option<[u8; 32]>,
}

/// The content of all layers together.
#[derive(Debug, Default)]
pub struct Contents {
    /// By path, relative to the root, without directories.
    pub files: BTreeMap<PathBuf, File>,
    /// There are more files than are kept.
    pub cut: bool,
    /// Bytes of content in each layer, whether they are seen or not.
    pub bytes: Vec<u64>,
    /// `METADATA` and `RECORD` of distributions.
    pub(super) documents: BTreeMap<PathBuf, Vec<u8>>,
}

impl Contents {
    pub(super) fn read(
        name: &str,
        image: &audit::Image<'_>,
        content: bool,
    ) -> Result<Self, InspectionError> {
        let mut contents = Self::default();
        let mut room = MAX_DOCUMENTS;
        for index in 0..image.layers.len() {
            let stream = image.source.open(index)?;
            contents
                .layer(index, stream, content, &mut room)
                .map_err(|source| InspectionError::Layer {
                    name: name.to_owned(),
                    number: index + 1,
                    source,
                })?;
        }
        Ok(contents)
    }

    fn layer(
        &mut self,
        index: usize,
        stream: impl Read,
        content: bool,
        room: &mut u64,
    ) -> Result<(), LayerError> {
        let mut bytes = 0;
        let mut tar = TarReader::new(stream, Limits::default());
        while let Some(member) = tar.next_member()? {
            let Some(path) = normal(&member.path) else {
                continue;
            };
            let file_name = path.file_name().unwrap_or_default().as_bytes();
            if file_name == OPAQUE_NAME.as_bytes() {
                self.hide(path.parent().unwrap_or(Path::new("")), index, true);
                continue;
            }
            if let Some(hidden) = file_name.strip_prefix(WHITEOUT_PREFIX.as_bytes()) {
                self.hide(
                    &path.with_file_name(OsStr::from_bytes(hidden)),
                    index,
                    false,
                );
                continue;
            }
            if member.kind == MemberKind::Directory {
                self.files.remove(&path);
                continue;
            }
            bytes += member.size;
            let mut digest = None;
            if member.kind == MemberKind::File {
                let wanted = is_document(&path) && member.size <= MAX_DOCUMENT.min(*room);
                let mut document = Vec::new();
                if wanted {
                    *room -= member.size;
                    read_to_end(&mut tar, &mut document)
                        .map_err(|error| LayerError::io("read the file", &path, error))?;
                    digest = content.then(|| Sha256::digest(&document).into());
                    self.documents.insert(path.clone(), document);
                } else if content {
                    let mut hasher = Sha256::new();
                    std::io::copy(&mut tar, &mut Hashed(&mut hasher))
                        .map_err(|error| LayerError::io("read the file", &path, error))?;
                    digest = Some(hasher.finalize().into());
                }
            }
            if self.files.len() >= MAX_FILES && !self.files.contains_key(&path) {
                self.cut = true;
                continue;
            }
            let file = File {
                layer: index,
                size: member.size,
                digest,
            };
            if self.files.insert(path.clone(), file).is_none() {
                self.hide(&path, index, true);
            }
        }
        tar.drain()?;
        self.bytes.push(bytes);
        Ok(())
    }

    /// Removes what lower layers have at a path, or only what they have below it.
    fn hide(&mut self, path: &Path, layer: usize, below_only: bool) {
        let hidden: Vec<PathBuf> = self
            .files
            .range::<Path, _>((std::ops::Bound::Included(path), std::ops::Bound::Unbounded))
            .take_while(|(found, _)| found.starts_with(path))
            .filter(|(found, file)| file.layer < layer && !(below_only && *found == path))
            .map(|(found, _)| found.clone())
            .collect();
        for path in hidden {
            self.files.remove(&path);
            self.documents.remove(&path);
        }
    }

    /// Bytes of all files that are seen.
    pub fn size(&self) -> u64 {
        self.files.values().map(|file| file.size).sum()
    }
}

/// The bytes of the present member; its size was checked.
fn read_to_end(tar: &mut impl Read, into: &mut Vec<u8>) -> std::io::Result<()> {
    tar.take(MAX_DOCUMENT).read_to_end(into).map(|_| ())
}

struct Hashed<'h>(&'h mut Sha256);

impl std::io::Write for Hashed<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn is_document(path: &Path) -> bool {
    let in_info = path
        .parent()
        .and_then(Path::extension)
        .is_some_and(|extension| extension == "dist-info");
    in_info
        && matches!(
            path.file_name().and_then(OsStr::to_str),
            Some("METADATA" | "RECORD")
        )
}

/// A path without `.`; `None` for one that leads out of the root, and for the root.
pub(super) fn normal(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir => {
                if !clean.pop() {
                    return None;
                }
            }
            Component::Prefix(_) => return None,
        }
    }
    (!clean.as_os_str().is_empty()).then_some(clean)
}
