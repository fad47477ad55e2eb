//! Files that are attached to an image of a registry: an artifact of image-spec 1.1, a manifest whose
//! subject is the image, with the files as its layers.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Seek, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::blobs::{BlobError, BlobSink, Blobs, Incoming};
use super::error::RegistryError;
use super::manifest::{by_digest, fetch};
use super::progress::TransferListener;
use super::push::PushReport;
use super::session::Client;
use crate::oci::{
    Descriptor, Digest, MediaType, Reference, Sha256Writer, descriptor, sha256, to_canonical_json,
};

/// image-spec, "Guidance for an Empty Descriptor".
const EMPTY: &[u8] = b"{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";
const TITLE: &str = "org.opencontainers.image.title";

/// What is attached.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// What it is: `application/spdx+json`.
    pub artifact_type: String,
    /// Files, each with its media type.
    pub files: Vec<(PathBuf, String)>,
    /// Of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// For bytes on their way.
    pub directory: PathBuf,
}

/// What came of it.
#[derive(Debug)]
pub struct Attached {
    /// Of the image.
    pub subject: Digest,
    /// Of the manifest that refers to it.
    pub manifest: Descriptor,
    /// The files, as the manifest names them.
    pub files: Vec<Descriptor>,
    pub report: PushReport,
}

impl Client {
    /// Attaches files to an image: to what the name points to, or of an index, where the client has a
    /// platform, to that platform's image. The same files give the same manifest.
    pub fn attach(
        &self,
        reference: &Reference,
        attachment: &Attachment,
        progress: &dyn TransferListener,
    ) -> Result<Attached, RegistryError> {
        let subject = self.subject(reference, progress)?;
        let empty = sha256(EMPTY);
        let mut parts = Parts {
            directory: attachment.directory.clone(),
            files: HashMap::new(),
            bytes: HashMap::from([(empty.clone(), EMPTY.to_vec())]),
        };
        let mut files = Vec::new();
        for (path, media_type) in &attachment.files {
            let (digest, size) = hash(path)?;
            let mut entry = descriptor(media_type.as_str(), digest.clone(), size);
            if let Some(name) = path.file_name() {
                let title = (TITLE.to_owned(), name.to_string_lossy().into_owned());
                entry.set_annotations(Some([title].into_iter().collect()));
            }
            parts.files.insert(digest, path.clone());
            files.push(entry);
        }
        let config = descriptor(EMPTY_TYPE, empty, EMPTY.len() as u64);
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::ImageManifest,
            "artifactType": attachment.artifact_type,
            "config": config,
            "layers": if files.is_empty() { vec![config.clone()] } else { files.clone() },
            "subject": subject,
        });
        if !attachment.annotations.is_empty() {
            manifest["annotations"] = json!(attachment.annotations);
        }
        let bytes = to_canonical_json(&manifest).map_err(|error| RegistryError::Manifest {
            what: format!("what is attached to {reference}"),
            problem: error.to_string(),
        })?;
        let entry = descriptor(MediaType::ImageManifest, sha256(&bytes), bytes.len() as u64);
        parts.bytes.insert(entry.digest().clone(), bytes);
        let target = by_digest(reference, entry.digest())?;
        let report = self.push(&entry, &parts, &target, progress)?;
        Ok(Attached {
            subject: subject.digest().clone(),
            manifest: entry,
            files,
            report,
        })
    }

    /// What is attached to: it has to be in the very registry that the attachment goes to.
    fn subject(
        &self,
        reference: &Reference,
        progress: &dyn TransferListener,
    ) -> Result<Descriptor, RegistryError> {
        let repository = self.repository(reference, progress)?;
        let name = reference.as_given();
        let get = |what: &str, expected: Option<&Descriptor>| {
            fetch(&repository, name, what, expected, progress)
        };
        let (top, bytes) = get(reference.tag_or_digest(), None)?;
        if self.platform.is_none() {
            return Ok(top);
        }
        let found = self.descend(name, top, bytes, &mut |entry| {
            get(entry.digest().as_ref(), Some(entry)).map(|(_, bytes)| bytes)
        })?;
        Ok(found.descriptor)
    }
}

fn hash(path: &Path) -> Result<(Digest, u64), RegistryError> {
    let failed = |source| RegistryError::Local {
        doing: format!("reading {}", path.display()),
        source,
    };
    let mut file = File::open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        let odd = io::Error::new(io::ErrorKind::InvalidInput, "it is not a file");
        return Err(failed(odd));
    }
    let mut into = Sha256Writer::new(io::sink());
    io::copy(&mut file, &mut into).map_err(failed)?;
    let (_, digest, size) = into.finish();
    Ok((digest, size))
}

/// The blobs of an attachment. What a file has become meanwhile is found out by the registry, which
/// verifies what it takes.
struct Parts {
    directory: PathBuf,
    files: HashMap<Digest, PathBuf>,
    bytes: HashMap<Digest, Vec<u8>>,
}

impl Blobs for Parts {
    fn has(&self, descriptor: &Descriptor) -> bool {
        self.files.contains_key(descriptor.digest()) || self.bytes.contains_key(descriptor.digest())
    }

    fn open(&self, digest: &Digest) -> Result<File, BlobError> {
        if let Some(path) = self.files.get(digest) {
            return Ok(File::open(path)?);
        }
        let mut file = tempfile::tempfile_in(&self.directory)?;
        file.write_all(&self.read(digest, u64::MAX)?)?;
        file.rewind()?;
        Ok(file)
    }

    fn read(&self, digest: &Digest, _max: u64) -> Result<Vec<u8>, BlobError> {
        let found = self.bytes.get(digest).cloned();
        found.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound).into())
    }

    fn writer(&self) -> Result<Box<dyn BlobSink + '_>, BlobError> {
        Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem).into())
    }

    fn incoming(
        &self,
        _blob: &Descriptor,
        _waiting: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Box<dyn Incoming + '_>>, BlobError> {
        Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem).into())
    }
}
