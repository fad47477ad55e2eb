//! The dynamic linker's own files: `/etc/ld.so.cache` (glibc, `sysdeps/generic/dl-cache.h`) and
//! `/etc/ld.so.preload` (ld.so(8)).

const MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;

/// The cache's older form: magic, count, and entries of three words.
const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const OLD_HEADER: usize = 16;
const OLD_ENTRY: usize = 12;

/// Parts of one file that are read; a cache has one of the newer form.
const MAX_PARTS: usize = 4;

/// What the cache says.
#[derive(Debug, Default)]
pub(super) struct Cache<'a> {
    /// Soname and path of each library.
    pub(super) entries: Vec<(&'a [u8], &'a [u8])>,
    /// Releases of glibc can read the file differently.
    pub(super) is_odd: bool,
}

/// Reads it; without an entry if glibc would not accept it as a cache.
pub(super) fn cache(bytes: &[u8]) -> Cache<'_> {
    // Before glibc 2.32 an older form comes first, with the newer one behind it.
    let starts: Vec<usize> = bytes
        .windows(MAGIC.len())
        .step_by(4)
        .enumerate()
        .filter(|(_, window)| *window == MAGIC)
        .map(|(index, _)| index * 4)
        .take(MAX_PARTS + 1)
        .collect();
    let mut cache = Cache {
        is_odd: starts.len() > 1,
        ..Cache::default()
    };
    for start in &starts {
        let part = &bytes[*start..];
        cache
            .entries
            .extend(entries(part, HEADER, ENTRY, MAGIC.len(), 0));
    }
    if bytes.starts_with(OLD_MAGIC) {
        let count = word(bytes, 12).unwrap_or(0);
        let texts = count.saturating_mul(OLD_ENTRY).saturating_add(OLD_HEADER);
        let old = entries(bytes, OLD_HEADER, OLD_ENTRY, 12, texts);
        cache.entries.extend(old);
    }
    cache
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(word.try_into().ok()?)).ok()
}

/// The entries of one part; a wrong one does not end it.
fn entries(
    bytes: &[u8],
    header: usize,
    entry: usize,
    count: usize,
    texts: usize,
) -> Vec<(&[u8], &[u8])> {
    let text = |at: usize| -> Option<&[u8]> {
        let rest = bytes.get(texts.checked_add(word(bytes, at)?)?..)?;
        rest.split(|&byte| byte == 0).next()
    };
    let count = word(bytes, count).unwrap_or(0).min(bytes.len() / entry);
    (0..count)
        .filter_map(|index| {
            let at = header + index * entry;
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
        let Cache { entries, is_odd } = cache(&bytes);
        assert!(!is_odd);
        let libc = entries.iter().find(|(name, _)| *name == b"libc.so.6");
        assert!(libc.unwrap().1.starts_with(b"/"), "{libc:?}");
        assert!(cache(b"").entries.is_empty());
    }

    /// An entry is a soname and a path; the texts stand behind the entries.
    fn made(entries: &[(u32, u32)], texts: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(u32::try_from(entries.len()).unwrap().to_le_bytes());
        bytes.resize(HEADER, 0);
        let base = u32::try_from(HEADER + ENTRY * entries.len()).unwrap();
        for (name, path) in entries {
            bytes.extend(0x303_u32.to_le_bytes());
            bytes.extend(base.saturating_add(*name).to_le_bytes());
            bytes.extend(base.saturating_add(*path).to_le_bytes());
            bytes.extend([0; 12]);
        }
        bytes.extend(texts);
        bytes
    }

    #[test]
    fn a_wrong_entry_does_not_end_it_and_no_number_of_entries_does() {
        let texts = b"a.so\0/a.so\0b.so\0/b.so\0";
        let read = |entries: &[(u32, u32)]| {
            let bytes = made(entries, texts);
            let wanted: (&[u8], &[u8]) = (b"b.so", b"/b.so");
            cache(&bytes).entries.contains(&wanted)
        };
        assert!(read(&[(u32::MAX, u32::MAX), (11, 16)]));
        let mut many = vec![(0, 5); 55_000];
        assert!(!read(&many));
        many.push((11, 16));
        assert!(read(&many));
        let good = made(&[(11, 16)], texts);
        let mut decoy = OLD_MAGIC.to_vec();
        decoy.extend(b"\0\x08\0\0\0");
        decoy.extend(MAGIC);
        decoy.resize(112, 0);
        decoy.extend(&good);
        let cache = cache(&decoy);
        assert!(cache.is_odd);
        assert!(cache.entries.contains(&(&b"b.so"[..], &b"/b.so"[..])));
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
