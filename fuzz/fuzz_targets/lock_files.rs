//! Reads the lock files of a tree of any few files, and chooses from them for one Python: packages or an
//! error, no panic, and no package that is more than one word of a list. The bytes are cut at lines
//! `=== NAME`; a page of an index is read in both its forms.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use warpdrive::app::files::{Entry, EntryKind, Files};
use warpdrive::app::settings::Settings;
use warpdrive::lockfile::{Target, find, links};

#[derive(Default)]
struct Memory(BTreeMap<String, Vec<u8>>);

impl Files for Memory {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.0.get(path).cloned()
    }

    fn list(&self, directory: &str) -> Vec<Entry> {
        let mut entries: BTreeMap<String, EntryKind> = BTreeMap::new();
        for path in self.0.keys() {
            let below = match directory {
                "" => Some(path.as_str()),
                _ => path
                    .strip_prefix(directory)
                    .and_then(|rest| rest.strip_prefix('/')),
            };
            let Some(below) = below else { continue };
            match below.split_once('/') {
                Some((name, _)) => entries.insert(name.to_owned(), EntryKind::Directory),
                None => entries.insert(below.to_owned(), EntryKind::File { executable: false }),
            };
        }
        entries
            .into_iter()
            .map(|(name, kind)| Entry { name, kind })
            .collect()
    }
}

fn tree(text: &str) -> Memory {
    let mut files = Memory::default();
    for part in text.split("=== ").take(12) {
        let (name, content) = part.split_once('\n').unwrap_or((part, ""));
        let plain = !name.is_empty()
            && name.len() < 200
            && name
                .split('/')
                .all(|part| !matches!(part, "" | "." | ".."))
            && !files.0.keys().any(|known| {
                known.starts_with(&format!("{name}/")) || name.starts_with(&format!("{known}/"))
            });
        if plain {
            files.0.insert(name.to_owned(), content.as_bytes().to_vec());
        }
    }
    files
}

fuzz_target!(|text: &str| {
    let files = tree(text);
    links("text/html", text);
    links("application/json", text);
    let Ok(settings) = Settings::load(&files, &BTreeMap::new(), &BTreeMap::new()) else {
        return;
    };
    let Ok(Some(lock)) = find(&files, &settings) else {
        return;
    };
    let _ = lock.preview();
    if let Ok(locked) = lock.select(&Target::of("3.11.2", "glibc 2.36")) {
        for package in locked.packages {
            assert!(!package.name.contains(char::is_whitespace));
            assert!(!package.version.contains(char::is_whitespace));
        }
    }
});
