//! Zip archives (PKWARE's APPNOTE), with the rules of [`super`].

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::super::SourceError;
use super::super::zip_directory::{Header, Window, contradiction};
use super::{MAX_BYTES, MAX_ENTRIES, Unpacker};

/// Longest target of a link.
const MAX_TARGET: u64 = 4096;

pub(super) fn unpack(unpacker: &mut Unpacker<'_>, file: File) -> Result<(), SourceError> {
    let broken = |unpacker: &Unpacker<'_>, problem: String| SourceError::Archive {
        path: unpacker.archive.to_owned(),
        problem,
    };
    let declared =
        declared_entries(&file).map_err(|e| SourceError::io("read", unpacker.archive, e))?;
    // Before its directory is read into memory.
    if declared > MAX_ENTRIES {
        return Err(unpacker.too_much(MAX_ENTRIES, "entries"));
    }
    let directory = file
        .try_clone()
        .map_err(|e| SourceError::io("read", unpacker.archive, e))?;
    let mut archive =
        ::zip::ZipArchive::new(Window::new(file)).map_err(|e| broken(unpacker, e.to_string()))?;
    if archive.len() as u64 > MAX_ENTRIES {
        return Err(unpacker.too_much(MAX_ENTRIES, "entries"));
    }
    let start = archive.central_directory_start();
    each_name_once(unpacker, &directory, start, archive.len())?;
    match contradiction(&mut archive, &directory) {
        Ok(None) => {}
        Ok(Some(problem)) => return Err(broken(unpacker, problem.to_owned())),
        Err(e) => return Err(broken(unpacker, e.to_string())),
    }
    for index in 0..archive.len() {
        unpacker.count()?;
        let mut member = archive
            .by_index(index)
            .map_err(|e| broken(unpacker, e.to_string()))?;
        let name = member.name_raw().to_vec();
        if std::str::from_utf8(&name).is_err() {
            return Err(unpacker.refused(&name, "its name is not UTF-8"));
        }
        if name.contains(&b'\\') {
            return Err(unpacker.refused(&name, "its name has a backslash in it"));
        }
        let Some(path) = unpacker.clean(&name)? else {
            if name.ends_with(b"/") {
                continue;
            }
            return Err(unpacker.refused(&name, "it has no name"));
        };
        let mode = member.unix_mode().unwrap_or(0o100_644);
        let is_dir = name.ends_with(b"/");
        match mode & 0o170_000 {
            0o040_000 | 0o100_000 | 0 if is_dir => unpacker.directory(&path)?,
            0o100_000 | 0 => {
                if member.size() > MAX_BYTES - unpacker.bytes.min(MAX_BYTES) {
                    return Err(unpacker.too_much(MAX_BYTES, "bytes"));
                }
                unpacker.file(&path, mode & 0o100 != 0, &mut member)?;
            }
            0o040_000 => unpacker.directory(&path)?,
            0o120_000 => {
                let mut target = Vec::new();
                (&mut member)
                    .take(MAX_TARGET)
                    .read_to_end(&mut target)
                    .map_err(|e| unpacker.unreadable(&e))?;
                unpacker.symlink(&path, Path::new(std::ffi::OsStr::from_bytes(&target)))?;
            }
            0o010_000 => return Err(unpacker.refused(&name, "it is a FIFO")),
            0o020_000 | 0o060_000 => return Err(unpacker.refused(&name, "it is a device node")),
            _ => return Err(unpacker.refused(&name, "it is of an unknown kind")),
        }
    }
    Ok(())
}

/// Refuses an archive with a duplicate name. [`::zip`] merges duplicates, so it has only `merged`
/// members then.
fn each_name_once(
    unpacker: &Unpacker<'_>,
    file: &File,
    start: u64,
    merged: usize,
) -> Result<(), SourceError> {
    let reading = |e| SourceError::io("read", unpacker.archive, e);
    let mut directory = Window::new(file.try_clone().map_err(reading)?);
    directory.seek(SeekFrom::Start(start)).map_err(reading)?;
    let mut names = HashSet::new();
    while let Some(header) = Header::read(&mut directory).map_err(reading)? {
        if names.len() as u64 >= MAX_ENTRIES {
            return Err(unpacker.too_much(MAX_ENTRIES, "entries"));
        }
        if let Some(name) = names.replace(header.name) {
            return Err(unpacker.refused(&name, "there are two members of this name"));
        }
    }
    if names.len() == merged {
        Ok(())
    } else {
        Err(SourceError::Archive {
            path: unpacker.archive.to_owned(),
            problem: "its directory can be read in two ways".to_owned(),
        })
    }
}

/// The number of members that the record at the end of a zip file states (APPNOTE 4.3.16, 4.3.14);
/// 0 if there is none; the reader's error explains that better.
pub(super) fn declared_entries(mut file: &File) -> io::Result<u64> {
    const LONGEST_END: u64 = 22 + 65_535;
    let size = file.metadata()?.len();
    let start = size.saturating_sub(LONGEST_END + 20);
    file.seek(SeekFrom::Start(start))?;
    let mut end = Vec::new();
    file.take(LONGEST_END + 20).read_to_end(&mut end)?;
    let mut found = 0;
    let number = |at: usize, length: usize| -> Option<u64> {
        let bytes = end.get(at..at + length)?;
        Some(
            bytes
                .iter()
                .rev()
                .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        )
    };
    // The largest of all candidates: readers differ about which one counts.
    for at in 0..end.len().saturating_sub(3) {
        if end[at..].starts_with(b"PK\x05\x06") {
            found = found.max(number(at + 10, 2).unwrap_or(0));
        } else if end[at..].starts_with(b"PK\x06\x06") {
            found = found.max(number(at + 32, 8).unwrap_or(0));
        } else if end[at..].starts_with(b"PK\x06\x07")
            && let Some(offset) = number(at + 8, 8)
        {
            let mut record = Vec::new();
            if file.seek(SeekFrom::Start(offset)).is_ok() {
                file.take(56).read_to_end(&mut record)?;
            }
            if let Some(bytes) = record
                .get(32..40)
                .filter(|_| record.starts_with(b"PK\x06\x06"))
            {
                found = found.max(
                    bytes
                        .iter()
                        .rev()
                        .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
                );
            }
        }
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(found)
}
