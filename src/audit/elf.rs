//! What an ELF file says of the files that are loaded with it (elf(5), ld.so(8)).

use ::elf::ElfBytes;
use ::elf::abi::{DT_NEEDED, DT_RPATH, DT_RUNPATH, DT_STRSZ, DT_STRTAB, PT_INTERP, PT_LOAD};
use ::elf::endian::AnyEndian;
use ::elf::string_table::StringTable;
use serde::{Deserialize, Serialize};

/// Most names that are read of one file; real ones have a few dozen.
const MAX_NAMES: usize = 256;

/// The libraries that are loaded with a program or library.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Links {
    /// Sonames of the libraries.
    pub(super) needed: Vec<Vec<u8>>,
    /// Directories that are searched first, with `$ORIGIN` as written.
    pub(super) search: Vec<Vec<u8>>,
    /// The dynamic linker.
    pub(super) interpreter: Option<Vec<u8>>,
}

/// Reads them; `None` if the file breaks the format's rules.
pub(super) fn parse(bytes: &[u8]) -> Option<Links> {
    let file = ElfBytes::<AnyEndian>::minimal_parse(bytes).ok()?;
    let segments = file.segments()?;
    let mut links = Links::default();
    if let Some(header) = segments.iter().find(|header| header.p_type == PT_INTERP) {
        let text = file.segment_data(&header).ok()?;
        links.interpreter = text.split(|&byte| byte == 0).next().map(<[u8]>::to_vec);
    }
    let Some(dynamic) = file.dynamic().ok()? else {
        return Some(links);
    };
    let value = |tag: i64| {
        dynamic
            .iter()
            .find(|entry| entry.d_tag == tag)
            .map(|entry| entry.d_val())
    };
    let (Some(address), Some(length)) = (value(DT_STRTAB), value(DT_STRSZ)) else {
        return Some(links);
    };
    // As the dynamic linker does it: by the address in memory. The section headers need not be true.
    let segment = segments.iter().find(|header| {
        header.p_type == PT_LOAD
            && address >= header.p_vaddr
            && address - header.p_vaddr < header.p_filesz
    })?;
    let start = usize::try_from(segment.p_offset.checked_add(address - segment.p_vaddr)?).ok()?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    let strings = StringTable::new(bytes.get(start..end.min(bytes.len()))?);
    for entry in dynamic.iter() {
        let text = || {
            let at = usize::try_from(entry.d_val()).ok()?;
            strings.get_raw(at).ok().map(<[u8]>::to_vec)
        };
        match entry.d_tag {
            DT_NEEDED if links.needed.len() < MAX_NAMES => links.needed.extend(text()),
            DT_RPATH | DT_RUNPATH => {
                let Some(text) = text() else { continue };
                let parts = text.split(|&byte| byte == b':').map(<[u8]>::to_vec);
                links.search.extend(parts.take(MAX_NAMES));
            }
            _ => {}
        }
    }
    Some(links)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_test_program_itself() {
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let links = parse(&bytes).unwrap();
        assert!(links.needed.iter().any(|name| name.starts_with(b"libc.so")));
        assert!(links.interpreter.unwrap().starts_with(b"/lib"));
        assert_eq!(parse(b"\x7fELF"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(at in 0_usize..2000, byte in any::<u8>(), length in 0_usize..3000) {
            use std::io::Read as _;
            let mut bytes = Vec::new();
            let program = std::fs::File::open("/proc/self/exe").unwrap();
            program.take(4000).read_to_end(&mut bytes).unwrap();
            bytes.truncate(length.max(at + 1));
            bytes[at] = byte;
            let _ = parse(&bytes);
        }
    }
}
