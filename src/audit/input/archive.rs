//! Images in a tar file: of `docker save` (`docker-archive:`), and OCI layouts (`oci-archive:`).

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::layer::{Members, Spending, decompressor};
use crate::oci::{ImageConfig, Selected, from_json, in_saved, sha256};

use super::super::error::AuditError;
use super::super::paths;
use super::layout::{Files, as_layout, from_layout, no_such_image};
use super::{Image, Layers, layers};

struct Archive {
    path: PathBuf,
    file: File,
    members: Members,
}

impl Archive {
    fn open(path: &Path, what: &'static str) -> Result<Self, AuditError> {
        let io = |source| AuditError::io(path, source);
        let file = File::open(path).map_err(io)?;
        if !file.metadata().map_err(io)?.is_file() {
            return Err(AuditError::NotAnImage {
                path: path.to_owned(),
                what,
                problem: "it is not a file".into(),
            });
        }
        let members = Members::of(&file).map_err(|error| AuditError::NotAnImage {
            path: path.to_owned(),
            what,
            problem: error.to_string(),
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            members,
        })
    }
}

impl Files for Archive {
    fn open(&self, name: &str) -> Result<Option<Box<dyn Read + Send + '_>>, AuditError> {
        let content = self.members.open(&self.file, name);
        Ok(content.map(|content| Box::new(content) as Box<dyn Read + Send>))
    }

    fn size(&self, name: &str) -> Result<Option<u64>, AuditError> {
        let content = self.members.open(&self.file, name);
        Ok(content.map(|content| content.size()))
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

impl Entry {
    fn names(&self) -> &[String] {
        self.repo_tags.as_deref().unwrap_or_default()
    }
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
    let entry = match in_saved(
        &entries,
        Entry::names,
        |entry| (&entry.config, &entry.layers),
        name,
    ) {
        Selected::One(entry) => entry,
        Selected::Several if name.is_some() => {
            return Err(archive.no_image("it has different images with this name".into()));
        }
        Selected::Several | Selected::Missing => {
            let known: Vec<String> = entries
                .iter()
                .flat_map(Entry::names)
                .take(20)
                .cloned()
                .collect();
            return Err(no_such_image(&archive, name, &known));
        }
    };
    let bytes = archive.read(&entry.config)?;
    let config = ImageConfig::from_bytes(&bytes, &format!("the configuration in {place}"))?;
    let config_blob = format!("blobs/sha256/{}", sha256(&bytes).digest());
    let own = [&config_blob].into_iter().chain(&entry.layers);
    if as_layout(&archive, entry.names())?.is_some_and(|other| !other.iter().eq(own)) {
        let problem = "its index.json and its manifest.json name different images";
        return Err(archive.no_image(problem.into()));
    }
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
        trusted: None,
        absent: 0,
        spending: Spending::unlimited(),
    })
}
