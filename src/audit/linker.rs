//! The dynamic linker's own files: `/etc/ld.so.cache` (glibc, `sysdeps/generic/dl-cache.h`) and
//! `/etc/ld.so.preload` (ld.so(8)).

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// Most entries that are read; a desktop's cache has 4000.
const MAX_ENTRIES: usize = 50_000;

/// Soname and path of each library in the cache. Empty if glibc would not accept it as a cache.
pub(super) fn cache(bytes: &[u8]) -> Vec<(&[u8], &[u8])> {
    // Before glibc 2.32 an older form comes first, with the newer one behind it.
    let Some(start) = bytes
        .windows(MAGIC.len())
        .step_by(4)
        .position(|window| window == MAGIC)
    else {
        return Vec::new();
    };
    let bytes = &bytes[start * 4..];
    let word = |at: usize| -> Option<usize> {
        let word = bytes.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_le_bytes(word.try_into().ok()?)).ok()
    };
    let text = |at: usize| -> Option<&[u8]> {
        let rest = bytes.get(word(at)?..)?;
        rest.split(|&byte| byte == 0).next()
    };
    let count = word(MAGIC.len()).unwrap_or(0).min(MAX_ENTRIES);
    (0..count)
        .map_while(|index| {
            let at = HEADER + index * ENTRY;
            Some((text(at + 4)?, text(at + 8)?))
        })
        .collect()
}

/// The libraries that a preload file names.
pub(super) fn preload(bytes: &[u8]) -> Vec<&[u8]> {
    bytes
        .split(|&byte| byte == b'\n')
        .flat_map(|line| {
            let line = line.split(|&byte| byte == b'#').next().unwrap_or_default();
            line.split(|&byte| byte == b':' || byte.is_ascii_whitespace())
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn this_machines_cache() {
        let bytes = std::fs::read("/etc/ld.so.cache").unwrap();
        let entries = cache(&bytes);
        let libc = entries.iter().find(|(name, _)| *name == b"libc.so.6");
        assert!(libc.unwrap().1.starts_with(b"/"), "{libc:?}");
        assert!(cache(b"").is_empty());
    }

    #[test]
    fn preload_files() {
        for (text, names) in [
            ("", 0),
            ("\n  \n", 0),
            ("# /usr/lib/x.so\n", 0),
            ("/usr/lib/x.so\n", 1),
            ("/a.so:/b.so /c.so # d.so", 3),
        ] {
            assert_eq!(preload(text.as_bytes()).len(), names, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = cache(&[MAGIC, &bytes].concat());
            let _ = preload(&bytes);
        }
    }
}
