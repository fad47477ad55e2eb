//! The flattened image: which entries of which layer a container would see.
//!
//! Layers are laid over each other as overlayfs does it (image-spec, `layer.md`, "Applying
//! Changesets"): the uppermost entry of a path counts; a whiteout, or anything that is not a directory,
//! hides what lower layers have at and beneath its path; an opaque directory hides what they have
//! beneath its path.

use super::facts::{Content, Item, ItemKind, LayerFacts, PathHasher, Trace};
use super::interest::Interest;
use super::paths::{ancestors, is_beneath, split};

/// Where a container has something else than the image: its engine's file systems, and directories in which
/// every user may put files.
const ELSEWHERE: [&[u8]; 8] = [
    b"dev",
    b"proc",
    b"run",
    b"sys",
    b"tmp",
    b"var/lock",
    b"var/run",
    b"var/tmp",
];

/// Where a path leads that a program opens in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    There(Vec<u8>),
    /// To nothing, and no user but root can put something there.
    Absent,
    /// Out of what the audit knows, or to where a container's user may put a file.
    Outside(Vec<u8>),
}

/// How many symbolic links are followed, as in Linux.
const MAX_LINKS: usize = 40;

/// The layers of an image, the lowest first.
pub(super) struct Flat<'a> {
    layers: &'a [LayerFacts],
    hasher: &'a PathHasher,
}

/// An entry that a rule may care about, and whether the image still has it.
pub(super) struct Seen<'a> {
    pub(super) layer: usize,
    pub(super) path: &'a [u8],
    pub(super) item: &'a Item,
    /// The layer that hides it.
    pub(super) hidden_by: Option<usize>,
}

/// A file that a rule wants to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lookup<'a> {
    Absent,
    Bytes {
        layer: usize,
        bytes: &'a [u8],
    },
    /// Something that cannot be judged, and why.
    Unreadable {
        layer: usize,
        problem: &'static str,
    },
}

impl<'a> Flat<'a> {
    pub(super) fn new(layers: &'a [LayerFacts], hasher: &'a PathHasher) -> Self {
        Self { layers, hasher }
    }

    pub(super) fn layers(&self) -> &'a [LayerFacts] {
        self.layers
    }

    /// All entries that were kept, from the lowest layer up, in the order of their paths.
    pub(super) fn all(&self) -> Vec<Seen<'a>> {
        let mut all = Vec::new();
        for (layer, facts) in self.layers.iter().enumerate() {
            for (path, item) in &facts.items {
                all.push(Seen {
                    layer,
                    path,
                    item,
                    hidden_by: self.hidden_by(layer, path),
                });
            }
        }
        all
    }

    /// The lowest layer above `layer` that removes or replaces the entry of `layer` at `path`.
    pub(super) fn hidden_by(&self, layer: usize, path: &[u8]) -> Option<usize> {
        let hash = self.hasher.hash(path);
        let above: Vec<u64> = ancestors(path).map(|path| self.hasher.hash(path)).collect();
        (layer + 1..self.layers.len()).find(|&upper| {
            let traces = &self.layers[upper].traces;
            let here = [
                Trace::Directory,
                Trace::Other,
                Trace::Whiteout,
                Trace::Opaque,
            ];
            let replaces = traces.has(hash, Trace::Implied)
                && self.layers[layer].traces.has(hash, Trace::Other);
            replaces
                || here.iter().any(|trace| traces.has(hash, *trace))
                || self.hides_beneath(upper, &above)
        })
    }

    fn hides_beneath(&self, layer: usize, ancestors: &[u64]) -> bool {
        let traces = &self.layers[layer].traces;
        ancestors.iter().any(|&hash| {
            [Trace::Other, Trace::Whiteout, Trace::Opaque]
                .iter()
                .any(|trace| traces.has(hash, *trace))
        })
    }

    /// The layer that the image's entry at `path` is from.
    pub(super) fn origin(&self, path: &[u8]) -> Option<usize> {
        let hash = self.hasher.hash(path);
        let above: Vec<u64> = ancestors(path).map(|path| self.hasher.hash(path)).collect();
        // The directory itself, with its owner and mode, may be a lower layer's.
        let mut implied = None;
        for layer in (0..self.layers.len()).rev() {
            let traces = &self.layers[layer].traces;
            if traces.has(hash, Trace::Directory) {
                return Some(layer);
            }
            if traces.has(hash, Trace::Other) {
                return implied.or(Some(layer));
            }
            if traces.has(hash, Trace::Implied) {
                implied = implied.or(Some(layer));
            }
            if traces.has(hash, Trace::Whiteout) || self.hides_beneath(layer, &above) {
                return implied;
            }
        }
        implied
    }

    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.origin(path).is_some()
    }

    /// Whether the image has something else than a directory there.
    pub(super) fn is_other(&self, path: &[u8]) -> bool {
        self.origin(path)
            .is_some_and(|layer| self.layer_has(layer, path))
    }

    /// Whether a layer itself has something at a path.
    pub(super) fn layer_has(&self, layer: usize, path: &[u8]) -> bool {
        let hash = self.hasher.hash(path);
        self.layers[layer].traces.has(hash, Trace::Other)
    }

    /// The image's entry at a path, if it was kept.
    pub(super) fn item(&self, path: &[u8]) -> Option<(usize, &'a Item)> {
        let layer = self.origin(path)?;
        Some((layer, self.layers[layer].items.get(path)?))
    }

    /// Where a path leads in a container, through all symbolic links.
    pub(super) fn reach(&self, path: &[u8]) -> Reach {
        let Some((real, is_known)) = self.resolve(path) else {
            return Reach::Absent;
        };
        if real == b"dev/null" {
            Reach::Absent
        } else if !is_known {
            Reach::Outside(real)
        } else if self.has(&real) {
            Reach::There(real)
        } else if ancestors(&real)
            .filter(|above| self.has(above))
            .last()
            .is_none_or(Interest::guards)
        {
            Reach::Absent
        } else {
            Reach::Outside(real)
        }
    }

    /// The target of a path after following the kept symbolic links. `None` if there is no target.
    pub(super) fn real(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.follow(path).filter(|real| self.has(real))
    }

    /// As [`Self::real`], also for a missing target. `None` if links form a circle.
    pub(super) fn follow(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.resolve(path).map(|(real, _)| real)
    }

    /// The target, and whether the image alone decides what lies there: no engine's file system and no link
    /// that was not kept is on the way.
    fn resolve(&self, path: &[u8]) -> Option<(Vec<u8>, bool)> {
        let mut is_known = true;
        let mut waiting: Vec<Vec<u8>> = parts(path);
        waiting.reverse();
        let mut real: Vec<u8> = Vec::new();
        let mut links = 0;
        while let Some(part) = waiting.pop() {
            if part == b".." {
                real.truncate(split(&real).0.len());
                continue;
            }
            let mut next = real.clone();
            if !next.is_empty() {
                next.push(b'/');
            }
            next.extend_from_slice(&part);
            match self.item(&next) {
                Some((
                    _,
                    Item {
                        kind: ItemKind::Symlink(target),
                        ..
                    },
                )) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    if target.starts_with(b"/") {
                        real.clear();
                    }
                    waiting.extend(parts(target).into_iter().rev());
                }
                Some((_, Item { kind, .. })) => {
                    is_known &= waiting.is_empty() || *kind == ItemKind::Directory;
                    real = next;
                }
                None => {
                    let is_other = |layer: usize| {
                        let traces = &self.layers[layer].traces;
                        traces.has(self.hasher.hash(&next), Trace::Other)
                    };
                    is_known &= waiting.is_empty() || !self.origin(&next).is_some_and(is_other);
                    real = next;
                }
            }
            let is_elsewhere = |place: &&[u8]| is_beneath(&real, place);
            is_known &= !ELSEWHERE.iter().any(is_elsewhere);
        }
        Some((real, is_known))
    }

    /// As [`Self::read`], through symbolic links.
    pub(super) fn read_through_links(&self, path: &[u8]) -> Lookup<'a> {
        match self.reach(path) {
            Reach::Absent => Lookup::Absent,
            Reach::There(real) => self.read(&real),
            Reach::Outside(_) => Lookup::Unreadable {
                layer: self.layer_of(path),
                problem: "it leads to where a container's user may put a file",
            },
        }
    }

    /// The layer to name for a path: that of its entry, or of its nearest ancestor.
    pub(super) fn layer_of(&self, path: &[u8]) -> usize {
        let above: Vec<&[u8]> = ancestors(path).collect();
        self.origin(path)
            .or_else(|| above.iter().rev().find_map(|above| self.origin(above)))
            .unwrap_or(0)
    }

    /// The content of one of the files of [`super::interest::Interest::reads`].
    pub(super) fn read(&self, path: &[u8]) -> Lookup<'a> {
        // The target of a link is not known; a link on the way counts like one at the end.
        for ancestor in ancestors(path).filter(|path| !path.is_empty()) {
            if let Some(layer) = self.origin(ancestor) {
                let hash = self.hasher.hash(ancestor);
                if self.layers[layer].traces.has(hash, Trace::Other) {
                    return Lookup::Unreadable {
                        layer,
                        problem: "it lies behind something that is not a directory",
                    };
                }
            }
        }
        let Some(layer) = self.origin(path) else {
            return Lookup::Absent;
        };
        let unreadable = |problem| Lookup::Unreadable { layer, problem };
        match self.layers[layer].items.get(path) {
            None => {
                let hash = self.hasher.hash(path);
                let traces = &self.layers[layer].traces;
                if traces.has(hash, Trace::Directory) || traces.has(hash, Trace::Implied) {
                    unreadable("it is a directory")
                } else {
                    unreadable("it lies outside the directories that the audit reads")
                }
            }
            Some(item) => match (&item.kind, &item.content) {
                (_, Content::Bytes(bytes)) => Lookup::Bytes { layer, bytes },
                (_, Content::TooLarge) => unreadable("it is far larger than such a file is"),
                (ItemKind::Symlink(_), _) => unreadable("it is a symbolic link"),
                (ItemKind::HardLink(_), _) => unreadable("it is a hard link to another file"),
                _ => unreadable("it is not a file"),
            },
        }
    }

    /// The files in a directory whose content was kept, by their paths.
    pub(super) fn files_in(&self, directory: &[u8]) -> Vec<Vec<u8>> {
        let mut prefix = directory.to_vec();
        prefix.push(b'/');
        let mut paths: Vec<Vec<u8>> = self
            .layers
            .iter()
            .flat_map(|facts| {
                let from = facts.items.range(prefix.clone()..);
                from.map(|(path, _)| path)
                    .take_while(|path| path.starts_with(&prefix))
            })
            .filter(|path| !path[prefix.len()..].contains(&b'/'))
            .cloned()
            .collect();
        paths.sort();
        paths.dedup();
        paths.retain(|path| self.has(path));
        paths
    }
}

/// The names of a path, without `.` and empty ones.
fn parts(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&byte| byte == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(<[u8]>::to_vec)
        .collect()
}
