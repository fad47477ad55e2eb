//! What a commit would put on the disk, before it does: a tree of a few kilobytes can name a billion
//! files.

use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::super::SourceError;
use super::super::unpack::{MAX_BYTES, MAX_ENTRIES};
use super::Git;
use super::program::end;

/// What was counted so far of a source, its submodules' files among it.
#[derive(Debug, Default)]
pub(super) struct Totals {
    entries: u64,
    bytes: u64,
}

impl Totals {
    /// Gives the limit that is passed, if one is.
    fn add(&mut self, size: u64) -> Option<(u64, &'static str)> {
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(size);
        if self.entries > MAX_ENTRIES {
            Some((MAX_ENTRIES, "entries"))
        } else if self.bytes > MAX_BYTES {
            Some((MAX_BYTES, "bytes"))
        } else {
            None
        }
    }
}

/// A submodule as a commit names it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) path: PathBuf,
    pub(super) id: String,
}

/// A line of `ls-tree -l -z`: `MODE TYPE ID SIZE TAB PATH`. Gives the size, or the submodule.
fn read(record: &[u8]) -> (u64, Option<Link>) {
    let mut halves = record.splitn(2, |byte| *byte == b'\t');
    let head = String::from_utf8_lossy(halves.next().unwrap_or_default()).into_owned();
    let mut words = head.split_ascii_whitespace();
    let (mode, _, id, size) = (words.next(), words.next(), words.next(), words.next());
    let link = match (mode, id, halves.next()) {
        (Some("160000"), Some(id), Some(path)) => Some(Link {
            path: std::ffi::OsString::from_vec(path.to_vec()).into(),
            id: id.to_owned(),
        }),
        _ => None,
    };
    (size.and_then(|size| size.parse().ok()).unwrap_or(0), link)
}

impl Git<'_> {
    /// Adds a commit of the repository in `directory`; refuses one that is too much. Gives its
    /// submodules.
    pub(super) fn count(
        &self,
        directory: &Path,
        id: &str,
        totals: &mut Totals,
    ) -> Result<Vec<Link>, SourceError> {
        let mut command = self.command();
        command
            .current_dir(directory)
            .args(["ls-tree", "-r", "-l", "-z", "--full-tree", id]);
        let mut child = self.spawn(command)?;
        let stdout = child.stdout.take();
        let mut limit = None;
        let mut links = Vec::new();
        if let Some(stdout) = stdout {
            for record in BufReader::with_capacity(128 * 1024, stdout).split(0) {
                let record = record.map_err(|e| SourceError::io("list", directory, e))?;
                let (size, link) = read(&record);
                limit = totals.add(size);
                links.extend(link);
                if limit.is_some() || (self.options.cancelled)() {
                    break;
                }
            }
        }
        if limit.is_some() || (self.options.cancelled)() {
            end(&mut child);
        }
        let status = child
            .wait()
            .map_err(|e| SourceError::io("list", directory, e))?;
        if let Some((limit, unit)) = limit {
            return Err(self.too_much(limit, unit));
        }
        if (self.options.cancelled)() {
            return Err(SourceError::Interrupted);
        }
        if !status.success() {
            return Err(self.failed("ls-tree", "the commit cannot be listed", Vec::new()));
        }
        Ok(links)
    }

    pub(super) fn too_much(&self, limit: u64, unit: &'static str) -> SourceError {
        SourceError::TooMuch {
            what: self.source.url.clone(),
            limit,
            unit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ls_tree() {
        let id = "a".repeat(40);
        assert_eq!(
            read(format!("100644 blob {id}    1234\tsub/a file").as_bytes()),
            (1234, None)
        );
        assert_eq!(
            read(format!("160000 commit {id}       -\tlib/x\ty").as_bytes()),
            (
                0,
                Some(Link {
                    path: "lib/x\ty".into(),
                    id
                })
            )
        );
        for odd in [
            &b""[..],
            b"\t",
            b"160000",
            b"160000 commit\t",
            b"\xff\xff \t\xff",
        ] {
            assert_eq!(read(odd), (0, None));
        }
    }

    #[test]
    fn entries_and_bytes_have_a_limit() {
        let mut totals = Totals::default();
        assert_eq!(totals.add(MAX_BYTES), None);
        assert_eq!(totals.add(1), Some((MAX_BYTES, "bytes")));
        let mut totals = Totals {
            entries: MAX_ENTRIES - 1,
            bytes: 0,
        };
        assert_eq!(totals.add(0), None);
        assert_eq!(totals.add(0), Some((MAX_ENTRIES, "entries")));
    }
}
