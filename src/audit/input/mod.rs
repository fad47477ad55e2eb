//! Where an image comes from: the store, an OCI layout in a directory or a tar file, an archive of
//! `docker save`. All give the same [`Image`]: a configuration and layers that can be opened as
//! uncompressed tar streams, nothing unpacked and nothing copied.

mod archive;
mod layout;
mod store;

use std::io::{self, Read};

use crate::layer::{Spending, decompressor};
use crate::oci::{Digest, ImageConfig, Sha256Reader};

use super::error::AuditError;
use super::report::LayerInfo;

pub use archive::{docker_archive, oci_archive};
pub use layout::oci_layout;
pub use store::{from_store, of_blobs};

/// Opens layers, several at a time.
pub trait Layers: Sync {
    /// The layer's uncompressed tar stream, from the lowest (0) up. Reading it to the end verifies
    /// the blob, where there is one: bytes of another digest end in an error. The reader compares it
    /// with the diff id.
    fn open(&self, index: usize) -> Result<Box<dyn Read + Send + '_>, AuditError>;
}

/// An image that can be judged.
pub struct Image<'a> {
    pub name: String,
    /// The digest of the manifest, if there is one.
    pub digest: Option<Digest>,
    pub config: ImageConfig,
    /// The lowest first.
    pub layers: Vec<LayerInfo>,
    pub source: Box<dyn Layers + 'a>,
    /// How many layers, from the lowest, the caller trusts; `None` if the caller did not say.
    pub trusted: Option<usize>,
    /// How many layers, from the lowest, are not here and were judged elsewhere.
    pub absent: usize,
    /// What ends the reading of layers early: a signal, too much time.
    pub spending: Spending,
}

impl<'a> Image<'a> {
    /// An image from anywhere: `digests` are those of the layers' blobs, the lowest first.
    pub fn new(
        name: &str,
        digest: Option<Digest>,
        config: ImageConfig,
        digests: &[Digest],
        source: Box<dyn Layers + 'a>,
    ) -> Result<Self, AuditError> {
        Ok(Self {
            name: name.to_owned(),
            digest,
            layers: layers(&config, digests)?,
            config,
            source,
            trusted: None,
            absent: 0,
            spending: Spending::unlimited(),
        })
    }

    /// Trusts the layers of `base`: later layers cannot vouch for themselves. An error if the image
    /// is not on this base.
    pub fn trust(&mut self, base: &Image<'_>) -> Result<(), AuditError> {
        let own = self.layers.iter().map(|layer| &layer.diff_id);
        let theirs = base.layers.iter().map(|layer| &layer.diff_id);
        let same = own
            .zip(theirs)
            .take_while(|(own, base)| own == base)
            .count();
        if same < base.layers.len() || same == 0 {
            return Err(AuditError::NotOnBase {
                image: self.name.clone(),
                base: base.name.clone(),
                same,
                layers: base.layers.len(),
            });
        }
        self.trusted = Some(same);
        Ok(())
    }
}

/// Names the layers from the configuration and the manifest; `digests` are the blobs'.
fn layers(config: &ImageConfig, digests: &[Digest]) -> Result<Vec<LayerInfo>, AuditError> {
    let diff_ids = config.diff_ids();
    if diff_ids.len() != digests.len() {
        return Err(AuditError::LayerCount {
            layers: digests.len(),
            diff_ids: diff_ids.len(),
        });
    }
    let history = config.history();
    let mut made: Vec<Option<String>> = history
        .into_iter()
        .filter(|entry| !entry.empty_layer)
        .map(|entry| Some(super::paths::text(entry.created_by.as_bytes())))
        .map(|line| line.filter(|text| !text.is_empty()))
        .collect();
    // A history that does not match the layers is ignored.
    if made.len() != digests.len() {
        made = vec![None; digests.len()];
    }
    let ours = made.iter().flatten().any(|line| kind(line).is_some());
    Ok(digests
        .iter()
        .zip(diff_ids)
        .zip(made)
        .map(|((digest, diff_id), created_by)| LayerInfo {
            digest: digest.clone(),
            diff_id,
            kind: match created_by.as_deref().and_then(kind) {
                None if ours => Some("base"),
                kind => kind,
            },
            created_by,
        })
        .collect())
}

/// The kind of a layer that warpdrive made, by the line of history that `pipeline` writes.
fn kind(created_by: &str) -> Option<&'static str> {
    match created_by.strip_prefix("warpdrive: ")? {
        "builder layer" | "hardening" => Some("builder"),
        "application" | "what assemble left" => Some("application"),
        _ => Some("dependencies"),
    }
}

/// A stream that ends with an error when there is no more time, or a signal came.
pub(super) struct Watched<'s, R> {
    pub(super) reader: R,
    pub(super) spending: &'s Spending,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.spending.block().map_err(io::Error::other)?;
        self.reader.read(buffer)
    }
}

/// A stream that fails at its end if the digest is wrong.
pub(super) struct Verified<R> {
    reader: Option<Sha256Reader<R>>,
    expected: Digest,
}

impl<R: Read> Verified<R> {
    pub(super) fn new(reader: R, expected: Digest) -> Self {
        Self {
            reader: Some(Sha256Reader::new(reader)),
            expected,
        }
    }
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(reader) = &mut self.reader else {
            return Ok(0);
        };
        let count = reader.read(buffer)?;
        if count == 0
            && !buffer.is_empty()
            && let Some(reader) = self.reader.take()
        {
            let (_, found, _) = reader.finish();
            if found != self.expected {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("its bytes have the digest {found}, not {}", self.expected),
                ));
            }
        }
        Ok(count)
    }
}

/// A compressed layer's uncompressed stream; the blob's digest is verified on the way.
pub fn uncompressed<'a>(blob: impl Read + Send + 'a, digest: &Digest) -> Box<dyn Read + Send + 'a> {
    let blob = io::BufReader::with_capacity(256 * 1024, Verified::new(blob, digest.clone()));
    decompressor(blob)
}
