//! What a stack of layers holds once they are laid over one another, without unpacking any.
//!
//! The same rules as in [`super::apply`] and overlayfs, on paths alone: a link in a layer is not
//! followed when a later entry goes through it (no engine writes such layers).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{BufReader, Read};
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::member::{Member, MemberKind};
use super::reader::TarReader;
use super::root::{below_whiteout, clean};
use super::{LayerError, Limits, OPAQUE_NAME, WHITEOUT_PREFIX};

/// One path of the flattened image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flat {
    /// Its path is plain and relative. A hard link is shown as the file that it is.
    pub member: Member,
    /// Which layer it comes from, 0 the lowest: read that one again for the content.
    pub layer: usize,
}

/// Lists what is seen of uncompressed `layers`, the lowest first. `limits.max_entries` is for all
/// layers together (the list is held in memory), `limits.max_bytes` for each.
pub fn flatten<R: Read>(
    layers: impl IntoIterator<Item = R>,
    limits: Limits,
) -> Result<BTreeMap<PathBuf, Flat>, LayerError> {
    let mut tree = Tree(BTreeMap::new());
    let mut entries = 0_u64;
    for (layer, tar) in layers.into_iter().enumerate() {
        let mut reader = TarReader::new(BufReader::with_capacity(128 * 1024, tar), limits);
        while let Some(member) = reader.next_member()? {
            entries += 1;
            if entries > limits.max_entries {
                return Err(LayerError::Limit {
                    limit: limits.max_entries,
                    unit: "entries",
                });
            }
            tree.lay(member, layer)?;
        }
        reader.drain()?;
    }
    Ok(tree.0)
}

struct Tree(BTreeMap<PathBuf, Flat>);

impl Tree {
    fn lay(&mut self, mut member: Member, layer: usize) -> Result<(), LayerError> {
        let path =
            clean(&member.path).map_err(|problem| LayerError::refused(&member.path, problem))?;
        if below_whiteout(&path) {
            return Err(LayerError::refused(
                &member.path,
                "it lies in a directory whose name means a deletion",
            ));
        }
        let Some(name) = path.file_name() else {
            return Ok(());
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        self.make_way(parent, layer);
        if name == OPAQUE_NAME {
            self.remove_below(parent, Some(layer));
            return Ok(());
        }
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT_PREFIX.as_bytes()) {
            let hidden = parent.join(OsStr::from_bytes(hidden));
            self.remove_below(&hidden, Some(layer));
            if self.0.get(&hidden).is_some_and(|flat| flat.layer < layer) {
                self.0.remove(&hidden);
            }
            return Ok(());
        }
        if let MemberKind::HardLink(target) = &member.kind {
            let known = clean(target)
                .ok()
                .and_then(|target| self.0.get(&target))
                .filter(|flat| flat.layer == layer);
            let Some(known) = known else {
                return Err(LayerError::refused(
                    &member.path,
                    "it is a hard link to what its layer does not have before it",
                ));
            };
            member = known.member.clone();
        }
        if member.kind != MemberKind::Directory {
            self.remove_below(&path, None);
        }
        member.path.clone_from(&path);
        self.0.insert(path, Flat { member, layer });
        Ok(())
    }

    /// Files of lower layers in a directory's place go.
    fn make_way(&mut self, directory: &Path, layer: usize) {
        for above in directory.ancestors() {
            let in_the_way = self.0.get(above).is_some_and(|flat| {
                flat.layer < layer && flat.member.kind != MemberKind::Directory
            });
            if in_the_way {
                self.0.remove(above);
            }
        }
    }

    /// Removes what is below a path, if it comes from a layer lower than the given one.
    fn remove_below(&mut self, path: &Path, layer: Option<usize>) {
        let from = (Bound::Excluded(path), Bound::Unbounded);
        let gone: Vec<PathBuf> = self
            .0
            .range::<Path, _>(from)
            .take_while(|(below, _)| below.starts_with(path))
            .filter(|(_, flat)| layer.is_none_or(|layer| flat.layer < layer))
            .map(|(below, _)| below.clone())
            .collect();
        for below in gone {
            self.0.remove(&below);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::{Compression, Entry, Kind, Mtime, write};

    fn layer(entries: &[(&str, Kind)]) -> Vec<u8> {
        let entries: Vec<_> = entries
            .iter()
            .map(|(path, kind)| Entry {
                kind: kind.clone(),
                ..Entry::directory(*path, 0o755, Mtime::Fixed(0))
            })
            .collect();
        let mut out = Vec::new();
        write(&entries, Compression::None, &mut out).unwrap();
        out
    }

    #[test]
    fn later_layers_hide_and_delete() {
        let file = |text: &str| Kind::Bytes(text.into());
        let lowest = layer(&[
            ("both", Kind::Directory),
            ("both/old", file("1")),
            ("both/same", file("1")),
            ("file", file("1")),
            ("gone", Kind::Directory),
            ("gone/x", file("1")),
            ("gone-not", file("1")),
            ("link", Kind::Symlink("both".into())),
            ("opaque", Kind::Directory),
            ("opaque/old", file("1")),
        ]);
        let middle = layer(&[
            ("both/new", file("22")),
            ("both/same", file("22")),
            ("both/same-too", Kind::HardLink("both/same".into())),
            ("file", Kind::Directory),
            ("file/below", file("22")),
            ("gone", Kind::Whiteout),
            ("link/through", file("22")),
            ("opaque", Kind::Directory),
            ("opaque", Kind::Opaque),
            ("opaque/new", file("22")),
        ]);
        let upper = layer(&[
            ("both/old", Kind::Whiteout),
            ("file", file("333")),
            ("gone", Kind::Directory),
        ]);
        let flat = flatten([&lowest[..], &middle[..], &upper[..]], Limits::default()).unwrap();
        let seen: Vec<_> = flat
            .iter()
            .map(|(path, flat)| {
                let path = path.to_str().unwrap();
                format!("{path} {} {}", flat.layer, flat.member.size)
            })
            .collect();
        let expected = [
            "both 0 0",
            "both/new 1 2",
            "both/same 1 2",
            "both/same-too 1 2",
            "file 2 3",
            "gone 2 0",
            "gone-not 0 1",
            "link/through 1 2",
            "opaque 1 0",
            "opaque/new 1 2",
        ];
        assert_eq!(seen, expected);
        let few = Limits {
            max_entries: 12,
            ..Limits::default()
        };
        assert!(flatten([&lowest[..], &middle[..]], few).is_err());
    }
}
