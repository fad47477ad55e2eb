//! Writes entries as a layer: tar, hashed, compressed on all cores, hashed again, in one pass.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path};

use oci_spec::image::{Digest, MediaType};
use rustix::fs::OFlags;

use super::budget::{Budget, Spending};
use super::compress::{Compressor, threads};
use super::entry::by_path;
use super::error::quoted;
use super::header::{write_end, write_header, write_padding};
use super::limits::{MAX_NAME, MAX_PATH};
use super::member::{Member, MemberKind};
use super::{Compression, Entry, Kind, LayerError, Mtime, WHITEOUT_PREFIX};
use crate::oci::{Sha256Writer, sha256};

/// Files up to this size are read once into memory; larger ones are streamed.
const SMALL: u64 = 1024 * 1024;

const BUFFER: usize = 128 * 1024;

/// A finished layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Digest of the uncompressed tar.
    pub diff_id: Digest,
    /// Digest and size of what was written.
    pub digest: Digest,
    pub size: u64,
    pub uncompressed: u64,
    pub media_type: MediaType,
}

/// Writes a layer, sorted by path whatever the order of `entries`.
///
/// Two entries of one path, a hard link to something that is not a file of this layer and comes before
/// it, and paths that are not plain relative ones are errors; so is a file that changes meanwhile.
pub fn write(
    entries: &[Entry],
    compression: Compression,
    out: impl Write,
) -> Result<Written, LayerError> {
    write_with(entries, compression, threads(), out, None, None)
}

/// Sees everything that goes into a layer while it is written, without a pass of its own.
pub trait Witness {
    /// The next member begins: its path, what it links to, its attributes.
    fn member(&mut self, member: &Member);
    /// The next bytes of the member's content.
    fn content(&mut self, bytes: &[u8]);
    /// The member's content was whole.
    fn end(&mut self);
}

/// As [`write`], on so many threads (the bytes are the same on any number), perhaps with a witness,
/// and within a budget. What the witness thinks of it is the caller's business, before it keeps the
/// blob.
pub fn write_with(
    entries: &[Entry],
    compression: Compression,
    threads: usize,
    out: impl Write,
    witness: Option<&mut dyn Witness>,
    budget: Option<&Budget>,
) -> Result<Written, LayerError> {
    let mut writer = LayerWriter::new(compression, out, threads)?;
    writer.witness = witness;
    if let Some(budget) = budget {
        writer.spending = budget.begin();
    }
    write_entries(entries, writer)
}

fn write_entries<W: Write>(
    entries: &[Entry],
    mut layer: LayerWriter<'_, W>,
) -> Result<Written, LayerError> {
    let mut sorted: Vec<(std::path::PathBuf, &Entry)> = entries
        .iter()
        .map(|entry| (entry.archived_path(), entry))
        .collect();
    sorted.sort_by(|a, b| by_path(&a.0, &b.0));
    check(&sorted)?;
    for (_, entry) in &sorted {
        // All of it before the first byte: most that is too large can be told from its size.
        match &entry.kind {
            Kind::File { size, .. } => layer.spending.member(*size)?,
            Kind::Bytes(bytes) => layer.spending.member(bytes.len() as u64)?,
            _ => {}
        }
    }
    for (path, entry) in sorted {
        layer.spending.block()?;
        write_entry(&mut layer, path, entry)?;
    }
    layer.finish()
}

/// The pipe from tar to blob, shared with [`super::rewrite`].
pub(super) struct LayerWriter<'w, W: Write> {
    tar: Sha256Writer<Compressor<Sha256Writer<BufWriter<W>>>>,
    compression: Compression,
    witness: Option<&'w mut dyn Witness>,
    pub(super) spending: Spending,
}

/// Content on its way into the archive, under the eyes of a witness.
struct Seen<'a> {
    out: &'a mut dyn Write,
    witness: &'a mut dyn Witness,
}

impl Write for Seen<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.witness.content(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> LayerWriter<'_, W> {
    pub(super) fn new(
        compression: Compression,
        out: W,
        threads: usize,
    ) -> Result<Self, LayerError> {
        let out = Sha256Writer::new(BufWriter::with_capacity(BUFFER, out));
        let compressor = Compressor::new(out, compression, threads).map_err(output)?;
        Ok(Self {
            tar: Sha256Writer::new(compressor),
            compression,
            witness: None,
            spending: Spending::unlimited(),
        })
    }

    /// Writes a member and `size` bytes of content; `content` says what it reads too little of.
    pub(super) fn member(
        &mut self,
        member: &Member,
        content: &mut dyn FnMut(&mut dyn Write, &Spending) -> Result<u64, LayerError>,
    ) -> Result<(), LayerError> {
        write_header(&mut self.tar, member).map_err(output)?;
        let written = match &mut self.witness {
            None => content(&mut self.tar, &self.spending)?,
            Some(witness) => {
                witness.member(member);
                let mut seen = Seen {
                    out: &mut self.tar,
                    witness: &mut **witness,
                };
                let written = content(&mut seen, &self.spending)?;
                witness.end();
                written
            }
        };
        if written != member.size {
            return Err(LayerError::Changed {
                path: member.path.clone(),
            });
        }
        write_padding(&mut self.tar, member.size).map_err(output)
    }

    pub(super) fn finish(mut self) -> Result<Written, LayerError> {
        write_end(&mut self.tar).map_err(output)?;
        let (compressor, diff_id, uncompressed) = self.tar.finish();
        let (mut out, digest, size) = compressor.finish().map_err(output)?.finish();
        out.flush().map_err(output)?;
        Ok(Written {
            diff_id,
            digest,
            size,
            uncompressed,
            media_type: self.compression.media_type(),
        })
    }
}

pub(super) fn output(source: io::Error) -> LayerError {
    LayerError::Output { source }
}

/// Refuses what no reader would read as it was meant.
fn check(sorted: &[(std::path::PathBuf, &Entry)]) -> Result<(), LayerError> {
    for pair in sorted.windows(2) {
        if pair[0].0 == pair[1].0 {
            return Err(LayerError::entry(&pair[1].0, "it is there twice"));
        }
    }
    for (_, entry) in sorted {
        check_path(&entry.path)?;
        match &entry.kind {
            Kind::HardLink(target) => {
                let earlier = sorted
                    .binary_search_by(|(path, _)| by_path(path, target))
                    .ok()
                    .map(|index| sorted[index].1)
                    .filter(|_| by_path(target, &entry.path).is_lt());
                if !earlier
                    .is_some_and(|entry| matches!(entry.kind, Kind::File { .. } | Kind::Bytes(_)))
                {
                    return Err(LayerError::entry(
                        &entry.path,
                        format!(
                            "it is a hard link to {}, which is not a file before it",
                            quoted(target)
                        ),
                    ));
                }
            }
            Kind::Symlink(target) => {
                let target = target.as_os_str().as_bytes();
                if target.is_empty() || target.len() > MAX_PATH || target.contains(&0) {
                    return Err(LayerError::entry(&entry.path, "its target is not a path"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn check_path(path: &Path) -> Result<(), LayerError> {
    let bytes = path.as_os_str().as_bytes();
    let wrong = |problem: &str| Err(LayerError::entry(path, problem));
    if bytes.is_empty() || bytes.len() > MAX_PATH || bytes.contains(&0) {
        return wrong("its path is empty, too long, or has a NUL byte");
    }
    // `components` would pass over `a//b`, `a/.` and `a/`.
    let mut rebuilt = Vec::with_capacity(bytes.len());
    for component in path.components() {
        let Component::Normal(name) = component else {
            return wrong("its path is not a plain relative one");
        };
        if name.as_bytes().starts_with(WHITEOUT_PREFIX.as_bytes()) {
            return wrong("names that begin with `.wh.` mean deletions in a layer");
        }
        if name.len() > MAX_NAME {
            return wrong("a name in its path is longer than 255 bytes");
        }
        if !rebuilt.is_empty() {
            rebuilt.push(b'/');
        }
        rebuilt.extend_from_slice(name.as_bytes());
    }
    if rebuilt != bytes {
        return wrong("its path is not a plain relative one");
    }
    Ok(())
}

fn write_entry<W: Write>(
    layer: &mut LayerWriter<'_, W>,
    path: std::path::PathBuf,
    entry: &Entry,
) -> Result<(), LayerError> {
    let kind = match &entry.kind {
        Kind::Directory => MemberKind::Directory,
        Kind::Symlink(target) => MemberKind::Symlink(target.clone()),
        Kind::HardLink(target) => MemberKind::HardLink(target.clone()),
        Kind::File { .. } | Kind::Bytes(_) | Kind::Whiteout | Kind::Opaque => MemberKind::File,
    };
    let mut member = Member {
        path,
        kind,
        mode: entry.mode & 0o7777,
        uid: entry.uid,
        gid: entry.gid,
        mtime: match entry.mtime {
            Mtime::Fixed(mtime) => mtime,
            Mtime::OfContent { reference } => reference,
        },
        nanos: 0,
        size: 0,
        xattrs: entry.xattrs.clone(),
    };
    match &entry.kind {
        Kind::Bytes(bytes) => write_bytes(layer, &mut member, entry.mtime, bytes),
        Kind::File { source, size } => {
            let mut file = Watched::open(source, *size)?;
            if *size <= SMALL {
                let mut bytes = Vec::with_capacity(usize::try_from(*size).unwrap_or(0));
                file.copy(&mut bytes, &layer.spending)?;
                write_bytes(layer, &mut member, entry.mtime, &bytes)
            } else {
                write_large(layer, &mut member, entry.mtime, &mut file)
            }
        }
        _ => layer.member(&member, &mut |_, _| Ok(0)),
    }
}

fn write_bytes<W: Write>(
    layer: &mut LayerWriter<'_, W>,
    member: &mut Member,
    mtime: Mtime,
    bytes: &[u8],
) -> Result<(), LayerError> {
    member.size = bytes.len() as u64;
    if let Mtime::OfContent { reference } = mtime {
        member.mtime = of_content(reference, &sha256(bytes));
    }
    layer.member(member, &mut |out, _| {
        out.write_all(bytes).map_err(output)?;
        Ok(bytes.len() as u64)
    })
}

fn write_large<W: Write>(
    layer: &mut LayerWriter<'_, W>,
    member: &mut Member,
    mtime: Mtime,
    file: &mut Watched<'_>,
) -> Result<(), LayerError> {
    member.size = file.size;
    let Mtime::OfContent { reference } = mtime else {
        return layer.member(member, &mut |out, spending| file.copy(out, spending));
    };
    let mut hash = Sha256Writer::new(io::sink());
    file.copy(&mut hash, &layer.spending)?;
    let (_, digest, _) = hash.finish();
    member.mtime = of_content(reference, &digest);
    file.rewind()?;
    // The time is a promise about the content: times alone do not tell of every change.
    layer.member(member, &mut |out, spending| {
        let mut hash = Sha256Writer::new(out);
        let copied = file.copy(&mut hash, spending)?;
        if hash.finish().1 != digest {
            return Err(file.changed());
        }
        Ok(copied)
    })
}

/// The time that a file on disk gets in a layer.
pub fn time_of(path: &Path, mtime: Mtime) -> Result<i64, LayerError> {
    let reference = match mtime {
        Mtime::Fixed(time) => return Ok(time),
        Mtime::OfContent { reference } => reference,
    };
    let failed = |error| LayerError::io("read", path, error);
    let mut hash = Sha256Writer::new(io::sink());
    io::copy(&mut std::fs::File::open(path).map_err(failed)?, &mut hash).map_err(failed)?;
    Ok(of_content(reference, &hash.finish().1))
}

/// See [`Mtime::OfContent`].
fn of_content(reference: i64, digest: &Digest) -> i64 {
    let bits = digest
        .digest()
        .get(..4)
        .and_then(|hex| i64::from_str_radix(hex, 16).ok())
        .unwrap_or(0);
    reference.saturating_sub(bits)
}

/// A file that is read to its end, once or twice, and must stay the same meanwhile.
struct Watched<'a> {
    path: &'a Path,
    file: File,
    size: u64,
    stamp: Stamp,
}

/// What changes when a file is written to: size, modification and change time, and the inode. The
/// change time counts only while the file has one name: a further name changes it, too, and a build that
/// links the same wheel's file adds one.
struct Stamp {
    content: (u64, i64, i64, u64),
    changed: (i64, i64),
    names: u64,
}

impl Stamp {
    fn is_that_of(&self, other: &Self) -> bool {
        let linked = self.names > 1 || other.names > 1;
        self.content == other.content && (linked || self.changed == other.changed)
    }
}

fn stamp(path: &Path, file: &File) -> Result<(Stamp, bool), LayerError> {
    let meta = file
        .metadata()
        .map_err(|error| LayerError::io("examine", path, error))?;
    let stamp = Stamp {
        content: (meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino()),
        changed: (meta.ctime(), meta.ctime_nsec()),
        names: meta.nlink(),
    };
    Ok((stamp, meta.is_file()))
}

impl<'a> Watched<'a> {
    fn open(path: &'a Path, size: u64) -> Result<Self, LayerError> {
        // NONBLOCK: a FIFO in the file's place must not make this wait.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
            .map_err(|error| LayerError::io("open", path, error))?;
        let (stamp, is_file) = stamp(path, &file)?;
        if !is_file || stamp.content.0 != size {
            return Err(LayerError::Changed {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            path,
            file,
            size,
            stamp,
        })
    }

    /// Copies all of the file; gives its size.
    fn copy(
        &mut self,
        out: &mut (impl Write + ?Sized),
        spending: &Spending,
    ) -> Result<u64, LayerError> {
        let mut buffer = vec![0; BUFFER.min(usize::try_from(self.size).unwrap_or(BUFFER) + 1)];
        let mut copied = 0;
        loop {
            spending.block()?;
            let count = match self.file.read(&mut buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(LayerError::io("read", self.path, error)),
            };
            copied += count as u64;
            if copied > self.size || (count == 0 && copied < self.size) {
                return Err(self.changed());
            }
            if count == 0 {
                break;
            }
            out.write_all(&buffer[..count]).map_err(output)?;
        }
        if !stamp(self.path, &self.file)?.0.is_that_of(&self.stamp) {
            return Err(self.changed());
        }
        Ok(copied)
    }

    fn rewind(&mut self) -> Result<(), LayerError> {
        io::Seek::rewind(&mut self.file).map_err(|error| LayerError::io("read", self.path, error))
    }

    fn changed(&self) -> LayerError {
        LayerError::Changed {
            path: self.path.to_owned(),
        }
    }
}
