//! Byte-code that Python believes by its source's time (PEP 552, flags 0): layers give files other
//! times, so the header gets the new time. Otherwise every such file would be stale, and a
//! container that may not write it would compile it again at every start.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::layer::{self, Entry, Kind, Mtime};

use super::super::BuildError;
use super::super::split;
use super::error::S2iBuildError;

/// Magic number, flags, time and size of the source.
const HEADER: usize = 16;
/// Largest file of byte-code that is rewritten, in bytes.
const MAX: u64 = 16 * 1024 * 1024;

/// Rewrites the headers of byte-code whose source is among the same entries.
pub(super) fn correct(mut entries: Vec<Entry>) -> Result<Vec<Entry>, BuildError> {
    let sources: HashMap<PathBuf, (PathBuf, u64, Mtime)> = entries
        .iter()
        .filter(|entry| entry.path.extension().is_some_and(|e| e == "py"))
        .filter_map(|entry| match &entry.kind {
            Kind::File { source, size } => {
                Some((entry.path.clone(), (source.clone(), *size, entry.mtime)))
            }
            _ => None,
        })
        .collect();
    if sources.is_empty() {
        return Ok(entries);
    }
    for entry in &mut entries {
        let Kind::File { source, size } = &entry.kind else {
            continue;
        };
        let Some((script, script_size, time)) =
            split::source_of(&entry.path).and_then(|path| sources.get(&path))
        else {
            continue;
        };
        if *size < HEADER as u64 || *size > MAX {
            continue;
        }
        if let Some(bytes) = rewritten(source, script, *script_size, *time)? {
            entry.kind = Kind::Bytes(bytes);
        }
    }
    Ok(entries)
}

/// The byte-code with its source's new time, if its header has the source's present time.
fn rewritten(
    code: &Path,
    script: &Path,
    script_size: u64,
    time: Mtime,
) -> Result<Option<Vec<u8>>, BuildError> {
    let failed = |error| S2iBuildError::io("read", code, error);
    let mut file = File::open(code).map_err(failed)?;
    let mut header = [0; HEADER];
    file.read_exact(&mut header).map_err(failed)?;
    let word = |at: usize| {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(&header[at..at + 4]);
        u32::from_le_bytes(bytes)
    };
    let now = std::fs::symlink_metadata(script)
        .map_err(|error| S2iBuildError::io("examine", script, error))?;
    let (seconds, size) = (
        low(now.mtime()),
        low(i64::try_from(script_size).unwrap_or(0)),
    );
    if word(4) != 0 || word(8) != seconds || word(12) != size {
        return Ok(None);
    }
    let new = layer::time_of(script, time)?;
    if low(new) == seconds {
        return Ok(None);
    }
    let mut bytes = header.to_vec();
    bytes[8..12].copy_from_slice(&low(new).to_le_bytes());
    file.take(MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(bytes))
}

/// The low 32 bits, as Python compares them.
fn low(number: i64) -> u32 {
    u32::try_from(number & 0xffff_ffff).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn byte_code_follows_its_source() {
        let place = tempfile::tempdir().unwrap();
        let script = place.path().join("a.py");
        std::fs::write(&script, "x = 1\n").unwrap();
        let at = |path: &Path| low(std::fs::metadata(path).unwrap().mtime());
        let code = |flags: u32, time: u32, size: u32| {
            let mut bytes = vec![1, 2, 13, 10];
            for word in [flags, time, size] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.extend(b"code");
            bytes
        };
        let entry = |path: &str, source: &Path, mtime| Entry {
            path: path.into(),
            kind: Kind::File {
                source: source.to_owned(),
                size: std::fs::metadata(source).unwrap().len(),
            },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime,
            xattrs: BTreeMap::new(),
        };
        let pyc = place.path().join("a.pyc");
        let new = Mtime::OfContent { reference: 1 << 30 };
        for (bytes, changed) in [
            (code(0, at(&script), 6), true),
            (code(0, at(&script) - 1, 6), false),
            (code(0, at(&script), 7), false),
            (code(3, at(&script), 6), false),
        ] {
            std::fs::write(&pyc, bytes).unwrap();
            let entries = correct(vec![
                entry("x/__pycache__/a.cpython-311.pyc", &pyc, new),
                entry("x/a.py", &script, new),
            ])
            .unwrap();
            match &entries[0].kind {
                Kind::Bytes(bytes) => {
                    assert!(changed);
                    let time = layer::time_of(&script, new).unwrap();
                    assert_eq!(bytes[8..12], low(time).to_le_bytes());
                    assert!(bytes.ends_with(b"code"));
                }
                _ => assert!(!changed),
            }
        }
    }
}
