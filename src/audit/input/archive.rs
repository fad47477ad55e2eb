//! Images in a tar file: of `docker save` (`docker-archive:`), and OCI layouts (`oci-archive:`).
//!
//! One pass over the file finds where each member lies; layers are then read in place.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::layer::{Limits, MemberKind, TarReader, decompressor};
use crate::oci::{ImageConfig, from_json};

use super::super::error::AuditError;
use super::super::paths;
use super::layout::{Files, from_layout};
use super::{Image, Layers, layers};

/// Members of an archive; a thousand layers have three each.
const MAX_MEMBERS: u64 = 20_000;

/// How many links a member's name may lead through.
const MAX_LINKS: usize = 4;

enum Member {
    File {
        offset: u64,
        size: u64,
    },
    /// Older releases of docker store a layer once and link to it.
    Link(Vec<u8>),
}

struct Archive {
    path: PathBuf,
    file: File,
    members: BTreeMap<Vec<u8>, Member>,
}

impl Archive {
    fn open(path: &Path, what: &'static str) -> Result<Self, AuditError> {
        let io = |source| AuditError::io(path, source);
        let file = File::open(path).map_err(io)?;
        if !file.metadata().map_err(io)?.is_file() {
            return Err(AuditError::NotAnImage {
                path: path.to_owned(),
                what,
                problem: "it is no file".into(),
            });
        }
        let members = members(&file).map_err(|problem| AuditError::NotAnImage {
            path: path.to_owned(),
            what,
            problem,
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            members,
        })
    }

    fn find(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = paths::normal(name.as_ref())?;
        for _ in 0..MAX_LINKS {
            match self.members.get(&name)? {
                Member::File { offset, size } => return Some((*offset, *size)),
                Member::Link(target) => name.clone_from(target),
            }
        }
        None
    }
}

fn members(file: &File) -> Result<BTreeMap<Vec<u8>, Member>, String> {
    let limits = Limits {
        max_entries: MAX_MEMBERS,
        ..Limits::default()
    };
    let reader = BufReader::with_capacity(256 * 1024, file);
    let mut tar = TarReader::new(reader, limits);
    let mut members = BTreeMap::new();
    while let Some(member) = tar.next_member().map_err(|error| error.to_string())? {
        let Some(name) = paths::normal(member.path.as_os_str()) else {
            continue;
        };
        let directory = paths::split(&name).0.to_vec();
        let bytes = |path: &Path| {
            use std::os::unix::ffi::OsStrExt;
            path.as_os_str().as_bytes().to_vec()
        };
        let found = match &member.kind {
            MemberKind::File => Member::File {
                offset: tar.offset(),
                size: member.size,
            },
            MemberKind::Symlink(target) => match paths::join(&directory, &bytes(target)) {
                Some(target) => Member::Link(target),
                None => continue,
            },
            MemberKind::HardLink(target) => match paths::normal(target.as_os_str()) {
                Some(target) => Member::Link(target),
                None => continue,
            },
            _ => continue,
        };
        members.insert(name, found);
    }
    Ok(members)
}

/// A part of a file, read by position, so that several threads can read at once.
struct Part<'a> {
    file: &'a File,
    offset: u64,
    left: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let count = self.file.read_at(&mut buffer[..most], self.offset)?;
        self.offset += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

impl Files for Archive {
    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send + '_>>, AuditError> {
        Ok(self.find(name).map(|(offset, left)| {
            let part = Part {
                file: &self.file,
                offset,
                left,
            };
            Box::new(part) as Box<dyn Read + Send>
        }))
    }

    fn place(&self) -> &Path {
        &self.path
    }
}

/// An image of an OCI layout in a tar file.
pub fn oci_archive(file: &Path, tag: Option<&str>) -> Result<Image<'static>, AuditError> {
    from_layout(Archive::open(file, "an archive of an OCI layout")?, tag)
}

/// One image of `manifest.json` (Docker image specification v1.2, "Combined Image JSON +
/// Filesystem Changeset Format").
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

struct ArchiveLayers {
    archive: Archive,
    names: Vec<String>,
}

impl Layers for ArchiveLayers {
    fn open(&self, index: usize) -> Result<Box<dyn Read + Send + '_>, AuditError> {
        let name = &self.names[index];
        let Some(part) = self.archive.open(name)? else {
            let name = paths::text(name.as_bytes());
            return Err(self.archive.no_image(format!("it has no layer `{name}`")));
        };
        Ok(decompressor(BufReader::with_capacity(256 * 1024, part)))
    }
}

/// An image of an archive of `docker save`: the one of this name, or the only one.
pub fn docker_archive(file: &Path, name: Option<&str>) -> Result<Image<'static>, AuditError> {
    let archive = Archive::open(file, "an archive of `docker save`")?;
    let place = file.display().to_string();
    let what = format!("the manifest of {place}");
    let entries: Vec<Entry> = from_json(&archive.read("manifest.json")?, &what)?;
    let named = |entry: &Entry, name: &str| {
        let tags = entry.repo_tags.as_deref().unwrap_or_default();
        tags.iter()
            .any(|tag| tag == name || tag.strip_suffix(":latest") == Some(name))
    };
    let found = match name {
        Some(name) => entries.iter().find(|entry| named(entry, name)),
        None if entries.len() == 1 => entries.first(),
        None => None,
    };
    let Some(entry) = found else {
        let known: Vec<String> = entries
            .iter()
            .flat_map(|entry| entry.repo_tags.iter().flatten())
            .take(20)
            .map(|tag| format!("`{}`", paths::text(tag.as_bytes())))
            .collect();
        return Err(AuditError::NoSuchImage {
            place,
            name: name.unwrap_or("(none was given)").to_owned(),
            known: if known.is_empty() {
                "no names".into()
            } else {
                known.join(", ")
            },
        });
    };
    let bytes = archive.read(&entry.config)?;
    let config = ImageConfig::from_bytes(&bytes, &format!("the configuration in {place}"))?;
    let diff_ids = config.diff_ids();
    if diff_ids.len() != entry.layers.len() {
        return Err(AuditError::LayerCount {
            layers: entry.layers.len(),
            diff_ids: diff_ids.len(),
        });
    }
    Ok(Image {
        name: match name {
            Some(name) => format!("{place}:{name}"),
            None => place,
        },
        digest: None,
        layers: layers(&config, &diff_ids)?,
        config,
        source: Box::new(ArchiveLayers {
            names: entry.layers.clone(),
            archive,
        }),
    })
}
