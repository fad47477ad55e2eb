//! A source tree of a few files that are cut from one text at lines `=== NAME`.

use std::collections::BTreeMap;

use warpdrive::app::files::{Entry, EntryKind, Files};

#[derive(Default)]
pub struct Memory(BTreeMap<String, Vec<u8>>);

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

pub fn tree(text: &str) -> Memory {
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
