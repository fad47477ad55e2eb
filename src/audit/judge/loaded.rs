//! What programs that run as root load (rules `library`, `preload`, `self-vouched`): their libraries, by
//! the way of the dynamic linker, and the modules of PAM, of the name service and of sudo.
//!
//! The linker's order is not considered: every file that it could take must come from the distribution.

use std::collections::BTreeSet;

use super::super::facts::{Item, ItemKind};
use super::super::finding::{Finding, Severity};
use super::super::flatten::{Flat, Lookup, Reach, Seen};
use super::super::linker;
use super::super::paths::{join, shown, split, text};
use super::super::shipped_setuid;
use super::trust::{Trust, Vouch};
use super::{Bundle, visible};

/// Directories in which libraries outside the cache are searched.
const DEFAULT: [&[u8]; 10] = [
    b"lib",
    b"lib64",
    b"lib32",
    b"libx32",
    b"usr/lib",
    b"usr/lib64",
    b"usr/lib32",
    b"usr/libx32",
    b"usr/local/lib",
    b"usr/local/lib64",
];

/// The programs that run as root, and everything that they load.
pub(super) struct Loaded<'a> {
    flat: &'a Flat<'a>,
    trust: &'a Trust<'a>,
    /// Visible libraries: name, directory, path.
    libraries: Vec<(&'a [u8], &'a [u8], &'a [u8])>,
    cache: linker::Cache<'a>,
    /// Visible lists of modules for character sets.
    conversions: Vec<&'a [u8]>,
    /// Default directories that are links, and their targets.
    linked: Vec<Vec<u8>>,
    /// Programs that give root to a user who runs them.
    programs: Vec<&'a [u8]>,
    seen: BTreeSet<Vec<u8>>,
    bundles: Vec<Bundle>,
    graves: Vec<Bundle>,
}

impl<'a> Loaded<'a> {
    pub(super) fn new(flat: &'a Flat<'a>, trust: &'a Trust<'a>, all: &[Seen<'a>]) -> Self {
        let libraries = visible(all)
            .filter(|seen| !seen.item.is_directory() && shipped_setuid::is_library(seen.path))
            .map(|seen| {
                let (directory, name) = split(seen.path);
                (name, directory, seen.path)
            })
            .collect();
        let cache = match flat.read_through_links(b"etc/ld.so.cache") {
            Lookup::Bytes { bytes, .. } => linker::cache(bytes),
            _ => linker::Cache::default(),
        };
        let conversions = visible(all)
            .filter(|seen| {
                !seen.item.is_directory() && shipped_setuid::is_conversion_list(seen.path)
            })
            .map(|seen| seen.path)
            .collect();
        let programs = visible(all)
            .filter(|seen| seen.item.gives_root())
            .map(|seen| seen.path)
            .collect();
        Self {
            flat,
            trust,
            libraries,
            cache,
            conversions,
            linked: linked(flat),
            programs,
            seen: BTreeSet::new(),
            bundles: Vec::new(),
            graves: Vec::new(),
        }
    }

    /// Whether a user can become root by running a program at all.
    pub(super) fn has_way(&self) -> bool {
        !self.programs.is_empty()
    }

    /// Whether a program of this name gives root; links are followed.
    pub(super) fn has_program(&self, name: &str) -> bool {
        self.programs_named(name).next().is_some()
    }

    /// The paths of programs of this name that give root.
    pub(super) fn programs_named(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let is_named = move |path: &&[u8]| split(path).1 == name.as_bytes();
        self.programs.iter().copied().filter(is_named)
    }

    /// The libraries of all programs that run as root, and the programs that these run.
    pub(super) fn programs(&mut self) {
        for path in self.programs.clone() {
            if let Some((_, item)) = self.flat.item(path) {
                self.needed(path, item);
            }
        }
        // Messages are converted to the character set of the caller's language.
        if self.has_way() {
            let conversions: Vec<&[u8]> = self
                .libraries
                .iter()
                .filter(|(_, directory, _)| directory.ends_with(b"/gconv"))
                .map(|(.., path)| *path)
                .collect();
            for path in conversions {
                self.file(path, "is loaded by programs that run as root (iconv)");
            }
            for path in self.conversions.clone() {
                let how = "names modules that programs load which run as root (iconv)";
                self.file(path, how);
            }
            self.linked_conversions();
        }
        for (name, owner) in [
            ("sbin/unix_chkpwd", "PAM"),
            ("sbin/unix_update", "PAM"),
            ("sbin/mkhomedir_helper", "PAM"),
            ("sbin/pam_namespace_helper", "PAM"),
        ] {
            self.helper(format!("usr/{name}").as_bytes(), owner);
            self.helper(name.as_bytes(), owner);
        }
        if self.has_way() {
            for name in ["sbin/nscd", "sbin/sss_cache"] {
                let owner = "programs that change accounts";
                self.helper(format!("usr/{name}").as_bytes(), owner);
                self.helper(name.as_bytes(), owner);
            }
        }
    }

    /// A link in place of the directory of modules for character sets: its lists and modules were not kept,
    /// because they have other paths.
    fn linked_conversions(&mut self) {
        for directory in DEFAULT {
            for kind in KINDS {
                let path = [directory, kind, b"/gconv"].concat();
                self.linked_lists(&join(&path, b"gconv-modules.d").unwrap_or_default());
                let Some(target) = self.flat.follow(&path).filter(|target| *target != path) else {
                    continue;
                };
                if is_default(split(&target).0) && target.ends_with(b"/gconv") {
                    continue;
                }
                let is_link = |item: &Item| matches!(item.kind, ItemKind::Symlink(_));
                let is_link = self.flat.item(&path).is_some_and(|(_, item)| is_link(item));
                let has = |name: &[u8]| self.flat.real(&join(&path, name)?);
                if !is_link
                    && has(b"gconv-modules")
                        .or(has(b"gconv-modules.cache"))
                        .is_none()
                {
                    continue;
                }
                let layer = self.flat.origin(&path).unwrap_or(0);
                let message = format!(
                    "leads to {}, from where programs that run as root load modules (iconv)",
                    shown(&target)
                );
                let finding = Finding::of_path("library", Severity::High, layer, &path, message);
                Bundle::add(&mut self.graves, finding);
            }
        }
    }

    /// The same for the directory in it that has lists, which can name modules at any path. If a parent
    /// directory is a link, the finding names the whole directory.
    fn linked_lists(&mut self, path: &[u8]) {
        let is_link = |item: &Item| matches!(item.kind, ItemKind::Symlink(_));
        let Some((layer, item)) = self.flat.item(path) else {
            return;
        };
        if !is_link(item) {
            return;
        }
        let target = self.flat.follow(path).unwrap_or_default();
        let message = format!(
            "leads to {}, whose lists name modules that programs load which run as root (iconv)",
            shown(&target)
        );
        let finding = Finding::of_path("library", Severity::High, layer, path, message);
        Bundle::add(&mut self.graves, finding);
    }

    /// A program that a privileged one runs as root.
    fn helper(&mut self, path: &[u8], owner: &str) {
        self.reached(path, &format!("is run as root by {owner}"));
    }

    /// A file by the path by which a program opens it. What is missing in the image may be there in a container.
    fn reached(&mut self, path: &[u8], how: &str) -> Option<Vouch> {
        match self.flat.reach(path) {
            Reach::Absent => None,
            Reach::There(real) => Some(self.file(&real, how)),
            Reach::Outside(target) => {
                if self.seen.insert(path.to_vec()) {
                    let layer = self.flat.layer_of(path);
                    let path = join(b"", path).unwrap_or_default();
                    let message = format!(
                        "{how}, and leads to {}, where a container's user may put a file",
                        shown(&target)
                    );
                    let rule = "library";
                    let finding = Finding::of_path(rule, Severity::High, layer, &path, message);
                    Bundle::add(&mut self.graves, finding);
                }
                Some(Vouch::Unowned)
            }
        }
    }

    /// A library by its name, as `dlopen` finds it; returns whether there is one.
    pub(super) fn by_name(&mut self, name: &[u8], owner: &str) -> bool {
        let found = self.candidates(name, b"", &[]);
        for path in &found {
            self.reached(path, &format!("is loaded by {owner}, which runs as root"));
        }
        !found.is_empty()
    }

    /// A library by its path.
    pub(super) fn by_path(&mut self, path: &[u8], owner: &str) -> Option<Vouch> {
        self.reached(path, &format!("is loaded by {owner}, which runs as root"))
    }

    /// The libraries that a loaded file needs itself.
    fn needed(&mut self, path: &[u8], item: &'a Item) {
        let Some(links) = &item.links else { return };
        let (directory, _) = split(path);
        let owner = shown(path);
        if let Some(interpreter) = &links.interpreter {
            self.by_path(interpreter, &owner);
        }
        for name in &links.needed {
            for found in self.candidates(name, directory, &links.search) {
                self.reached(&found, &format!("is loaded by {owner}, which runs as root"));
            }
        }
    }

    /// Every path at which the linker may find a library.
    fn candidates(&self, name: &[u8], origin: &[u8], search: &[Vec<u8>]) -> BTreeSet<Vec<u8>> {
        let mut paths: BTreeSet<Vec<u8>> = BTreeSet::new();
        if name.contains(&b'/') {
            paths.insert(name.to_vec());
        } else {
            let near = self
                .libraries
                .iter()
                .filter(|(own, directory, _)| *own == name && is_default(directory));
            paths.extend(near.map(|(_, _, path)| path.to_vec()));
            let linked = self.linked.iter();
            paths.extend(linked.map(|directory| [directory, &b"/"[..], name].concat()));
            let cached = self.cache.entries.iter().filter(|(own, _)| *own == name);
            paths.extend(cached.map(|(_, path)| path.to_vec()));
            for directory in search {
                let directory = String::from_utf8_lossy(directory).replace("${ORIGIN}", "$ORIGIN");
                let origin = format!("/{}", String::from_utf8_lossy(origin));
                let directory = directory.replace("$ORIGIN", &origin);
                for part in PARTS.iter().filter(|part| **part != b"/security") {
                    paths.insert([directory.as_bytes(), *part, b"/", name].concat());
                }
                // Those for other kinds of processors.
                let directory = join(b"", directory.as_bytes()).unwrap_or_default();
                let kinds = self.libraries.iter().filter(|(own, lies_in, _)| {
                    *own == name && without_kinds(lies_in).contains(&&directory[..])
                });
                paths.extend(kinds.map(|(.., path)| path.to_vec()));
            }
        }
        paths.retain(|path| self.flat.reach(path) != Reach::Absent);
        paths
    }

    /// Judges a file that root's programs load or run.
    fn file(&mut self, path: &[u8], how: &str) -> Vouch {
        let layer = self.flat.origin(path).unwrap_or(0);
        let item = self.flat.item(path).map(|(_, item)| item);
        let vouch = self.trust.vouch(layer, path, item);
        if !self.seen.insert(path.to_vec()) {
            return vouch;
        }
        let (rule, severity) = match vouch {
            Vouch::AsShipped | Vouch::Unknown => {
                if let Some(item) = item {
                    self.needed(path, item);
                }
                return vouch;
            }
            Vouch::SelfVouched => ("self-vouched", Severity::Medium),
            Vouch::Changed | Vouch::Unowned => ("library", Severity::High),
        };
        let message = format!("{how}, and {}", vouch.problem());
        let finding = Finding::of_path(rule, severity, layer, path, message);
        if vouch == Vouch::SelfVouched {
            Bundle::add(&mut self.bundles, finding);
            if let Some(item) = item {
                self.needed(path, item);
            }
        } else {
            Bundle::add(&mut self.graves, finding);
        }
        vouch
    }

    /// `/etc/ld.so.preload`.
    pub(super) fn preload(&mut self, findings: &mut Vec<Finding>) {
        let path = b"etc/ld.so.preload";
        for path in [&path[..], b"etc/ld.so.cache"] {
            if let Lookup::Unreadable { layer, problem } = self.flat.read_through_links(path)
                && self.has_way()
            {
                findings.push(Finding::of_unreadable(layer, path, problem));
            }
        }
        if self.cache.is_odd && self.has_way() {
            let path = b"etc/ld.so.cache";
            let message = "has more than one list of libraries: it is not clear which counts";
            let (rule, layer) = ("account-unreadable", self.flat.layer_of(path));
            let finding = Finding::of_path(rule, Severity::High, layer, path, message.to_owned());
            findings.push(finding);
        }
        let Lookup::Bytes { layer, bytes } = self.flat.read_through_links(path) else {
            return;
        };
        let names = linker::preload(bytes);
        if names.is_empty() {
            return;
        }
        let shipped = names.iter().all(|name| {
            if name.starts_with(b"/") && !name.contains(&b'$') {
                self.by_path(name, "the dynamic linker")
                    .is_some_and(|vouch| vouch == Vouch::AsShipped)
            } else {
                false
            }
        });
        let names: Vec<String> = names.iter().take(5).map(|name| text(name)).collect();
        let (severity, note) = match (self.has_way(), shipped) {
            (false, _) => (Severity::Low, ", though none here runs as root"),
            (true, true) => (Severity::Medium, ", and the distribution ships them"),
            (true, false) => (Severity::High, ", those that run as root too"),
        };
        let message = format!("loads {} into every program{note}", names.join(", "));
        findings.push(Finding::of_path("preload", severity, layer, path, message));
    }

    /// All findings about them.
    pub(super) fn finish(self, findings: &mut Vec<Finding>) {
        Bundle::finish(self.graves, findings);
        Bundle::finish(self.bundles, findings);
    }

    /// Every path at which PAM may find a module.
    pub(super) fn modules(&self, name: &[u8]) -> BTreeSet<Vec<u8>> {
        let listed = self
            .libraries
            .iter()
            .filter(|(own, directory, _)| *own == name && directory.ends_with(b"/security"))
            .map(|(_, _, path)| path.to_vec());
        let linked = self.linked.iter().flat_map(|directory| {
            [&b"/"[..], b"/security/"].map(|between| [directory, between, name].concat())
        });
        listed
            .chain(linked)
            .filter(|path| self.flat.reach(path) != Reach::Absent)
            .collect()
    }

    pub(super) fn flat(&self) -> &'a Flat<'a> {
        self.flat
    }
}

/// The library directories that are links: libraries in them were not kept, because they have other
/// paths.
fn linked(flat: &Flat<'_>) -> Vec<Vec<u8>> {
    let mut linked = Vec::new();
    for directory in DEFAULT {
        for kind in KINDS {
            for part in PARTS {
                let path = [directory, kind, part].concat();
                let Some(target) = flat.follow(&path).filter(|target| *target != path) else {
                    continue;
                };
                if !is_default(target.strip_suffix(b"/security").unwrap_or(&target)) {
                    linked.push(target);
                }
            }
        }
    }
    linked.sort();
    linked.dedup();
    linked
}

/// Debian's directory names for kinds of machines.
const KINDS: [&[u8]; 8] = [
    b"",
    b"/x86_64-linux-gnu",
    b"/aarch64-linux-gnu",
    b"/i386-linux-gnu",
    b"/arm-linux-gnueabihf",
    b"/riscv64-linux-gnu",
    b"/s390x-linux-gnu",
    b"/powerpc64le-linux-gnu",
];

const PARTS: [&[u8]; 6] = [
    b"",
    b"/security",
    b"/glibc-hwcaps",
    b"/glibc-hwcaps/x86-64-v2",
    b"/glibc-hwcaps/x86-64-v3",
    b"/glibc-hwcaps/x86-64-v4",
];

/// `lib`, `usr/lib/x86_64-linux-gnu`, and what lies beneath them for kinds of processors.
fn is_default(directory: &[u8]) -> bool {
    let beneath = |directory: &[u8]| {
        DEFAULT.contains(&directory) || {
            let (above, name) = split(directory);
            DEFAULT.contains(&above) && name.windows(7).any(|part| part == b"-linux-")
        }
    };
    without_kinds(directory).into_iter().any(beneath)
}

/// A directory, and those of which it is a part for a kind of processors.
fn without_kinds(directory: &[u8]) -> Vec<&[u8]> {
    let mut all = vec![directory];
    let mut directory = directory;
    for _ in 0..4 {
        let (above, name) = split(directory);
        let special = [
            &b"glibc-hwcaps"[..],
            b"tls",
            b"haswell",
            b"x86_64",
            b"xeon_phi",
            b"atomics",
        ];
        let is_kind = special.contains(&name)
            || above.ends_with(b"/glibc-hwcaps")
            || name.starts_with(b"avx");
        if !is_kind {
            break;
        }
        all.push(above);
        directory = above;
    }
    all
}
