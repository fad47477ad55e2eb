//! The libraries that a shared object is loaded with (elf(5), ld.so(8)). Only a few hundred bytes of it are
//! read, wherever they are, because some wheels have libraries of a gigabyte. Each number in the file is
//! bounded before it is used.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use elf::abi::{
    DT_NEEDED, DT_NULL, DT_RPATH, DT_RUNPATH, DT_SONAME, DT_STRTAB, EI_CLASS, EI_DATA, ELFCLASS64,
    ELFDATA2LSB, ELFMAGIC, EM_AARCH64, EM_X86_64, PT_DYNAMIC, PT_LOAD,
};

/// Longest name or list of directories.
const MAX_NAME: usize = 4096;
/// Most names that are read from one file; real files have a few dozen.
const MAX_NAMES: usize = 256;
/// Size of the program header of a 64-bit file, and the largest table of them.
const PROGRAM_HEADER: usize = 56;
const MAX_HEADERS: usize = 1024;
/// Largest dynamic section; real ones have a kilobyte.
const MAX_DYNAMIC: u64 = 64 * 1024;

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    pub(super) needed: Vec<String>,
    /// Directories, with `$ORIGIN` as written.
    pub(super) search: Vec<String>,
    pub(super) soname: Option<String>,
}

/// Reads them; `None` if this machine's dynamic linker would not load the file.
pub(super) fn read(file: &File) -> Option<Links> {
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0).ok()?;
    let machine = if cfg!(target_arch = "aarch64") {
        EM_AARCH64
    } else {
        EM_X86_64
    };
    if header[..4] != ELFMAGIC
        || header[EI_CLASS] != ELFCLASS64
        || header[EI_DATA] != ELFDATA2LSB
        || half(&header, 18)? != machine
    {
        return None;
    }
    let count = usize::from(half(&header, 56)?).min(MAX_HEADERS);
    if usize::from(half(&header, 54)?) != PROGRAM_HEADER {
        return None;
    }
    let mut headers = vec![0; count * PROGRAM_HEADER];
    file.read_exact_at(&mut headers, long(&header, 32)?).ok()?;
    let segments: Vec<Segment> = headers
        .chunks_exact(PROGRAM_HEADER)
        .filter_map(Segment::parse)
        .collect();
    let mut links = Links::default();
    let Some(dynamic) = segments.iter().find(|segment| segment.kind == PT_DYNAMIC) else {
        return Some(links);
    };
    let size = usize::try_from(dynamic.size.min(MAX_DYNAMIC)).ok()?;
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, dynamic.offset).ok()?;
    let entries: Vec<(i64, u64)> = bytes
        .chunks_exact(16)
        .filter_map(|entry| Some((long(entry, 0)?.cast_signed(), long(entry, 8)?)))
        .take_while(|(tag, _)| *tag != DT_NULL)
        .collect();
    let Some((_, strings)) = entries.iter().find(|(tag, _)| *tag == DT_STRTAB) else {
        return Some(links);
    };
    // As the dynamic linker does it: by the address in memory. The section headers may be wrong.
    let strings = segments
        .iter()
        .find_map(|segment| segment.place(*strings))?;
    for (tag, value) in entries {
        let text = || text(file, strings.checked_add(value)?);
        match tag {
            DT_NEEDED if links.needed.len() < MAX_NAMES => links.needed.extend(text()),
            DT_SONAME => links.soname = text(),
            DT_RPATH | DT_RUNPATH => {
                let Some(text) = text() else { continue };
                let parts = text.split(':').filter(|part| !part.is_empty());
                links
                    .search
                    .extend(parts.take(MAX_NAMES).map(str::to_owned));
            }
            _ => {}
        }
    }
    Some(links)
}

struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
}

impl Segment {
    fn parse(header: &[u8]) -> Option<Self> {
        Some(Self {
            kind: u32::from_le_bytes(header.get(..4)?.try_into().ok()?),
            offset: long(header, 8)?,
            address: long(header, 16)?,
            size: long(header, 32)?,
        })
    }

    /// Where in the file this address is.
    fn place(&self, address: u64) -> Option<u64> {
        let within = address.checked_sub(self.address)?;
        (self.kind == PT_LOAD && within < self.size)
            .then(|| self.offset.checked_add(within))
            .flatten()
    }
}

/// A name, up to its zero byte.
fn text(file: &File, at: u64) -> Option<String> {
    let mut bytes = vec![0; MAX_NAME];
    let length = file.read_at(&mut bytes, at).ok()?;
    bytes.truncate(length);
    let end = bytes.iter().position(|&byte| byte == 0)?;
    bytes.truncate(end);
    String::from_utf8(bytes).ok()
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read as _, Write as _};

    #[test]
    fn the_test_program_itself() {
        let links = read(&File::open("/proc/self/exe").unwrap()).unwrap();
        assert!(links.needed.iter().any(|name| name.starts_with("libc.so")));
        let mut none = tempfile::tempfile().unwrap();
        none.write_all(b"\x7fELF").unwrap();
        assert_eq!(read(&none), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(at in 0_usize..1500, byte in any::<u8>(), length in 0_usize..3000) {
            let mut bytes = Vec::new();
            let program = File::open("/proc/self/exe").unwrap();
            program.take(4000).read_to_end(&mut bytes).unwrap();
            bytes.truncate(length.max(at + 1));
            bytes[at] = byte;
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(&bytes).unwrap();
            let _ = read(&file);
        }
    }
}
