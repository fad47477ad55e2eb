//! One pass over one layer: from a tar stream to [`LayerFacts`]. Nothing is unpacked.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicUsize, Ordering};

use md5::{Digest as _, Md5 as Hasher};

use crate::layer::{
    LayerError, Limits, Member, MemberKind, OPAQUE_NAME, TarReader, WHITEOUT_PREFIX,
};

use super::facts::{Content, Item, ItemKind, LayerFacts, PathHasher, Secret, Trace};
use super::interest::{Interest, PathKind};
use super::paths::{self, split};
use super::secrets::{self, Scanner, SecretKind};
use super::{acl, capability, dpkg, elf};

/// Largest account file that is read, in bytes.
const MAX_ACCOUNT_FILE: u64 = 256 * 1024;

/// The same of the linker's cache, which has a line for each library.
const MAX_CACHE: u64 = 2 * 1024 * 1024;

/// Bytes of account files that are kept of one layer.
const MAX_KEPT: u64 = 4 * 1024 * 1024;

/// Largest program or library whose links are read, in bytes.
const MAX_ELF: u64 = 32 * 1024 * 1024;

/// Largest list of a package's digests that is read, in bytes.
const MAX_MD5SUMS: u64 = 4 * 1024 * 1024;

/// Entries that are kept of one layer, and among them unusable app files.
pub(super) const MAX_ITEMS: usize = 100_000;
const MAX_APP_FILES: usize = 20_000;

/// Secrets and odd names that are kept of one layer.
const MAX_SECRETS: usize = 5000;
const MAX_ODD_NAMES: usize = 20;

const CAPABILITY: &str = "security.capability";

/// Most memory for all layers' facts together, roughly, in bytes. A large image needs a tenth.
const MAX_FACTS: usize = 80 * 1024 * 1024;

/// The memory of an entry without its path, and of a trace, roughly.
const ITEM_COST: usize = 256;
const TRACE_COST: usize = 12;

/// How much of [`MAX_FACTS`] is taken; one per audit, shared by all layers.
#[derive(Default)]
pub(super) struct Budget(AtomicUsize);

impl Budget {
    fn take(&self, bytes: usize) -> Result<(), ScanError> {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > MAX_FACTS {
            return Err(ScanError::TooMany(
                MAX_FACTS,
                "bytes of facts about entries",
            ));
        }
        Ok(())
    }
}

/// Why a layer could not be judged.
#[derive(Debug)]
pub(super) enum ScanError {
    Layer(LayerError),
    TooMany(usize, &'static str),
}

impl From<LayerError> for ScanError {
    fn from(error: LayerError) -> Self {
        Self::Layer(error)
    }
}

/// Reads an uncompressed layer to its end.
pub(super) fn scan(
    tar: impl Read,
    interest: &Interest,
    hasher: &PathHasher,
    budget: &Budget,
) -> Result<LayerFacts, ScanError> {
    let mut scan = Scan {
        interest,
        hasher,
        budget,
        facts: LayerFacts::default(),
        scanner: Scanner::new(),
        buffer: vec![0; 128 * 1024],
        kept: 0,
        app_files: 0,
        parents: Parents::default(),
    };
    let mut tar = TarReader::new(tar, Limits::default());
    while let Some(member) = tar.next_member()? {
        scan.member(&mut tar, &member)?;
    }
    let mut facts = scan.facts;
    facts.bytes = tar.drain()?;
    facts.traces.finish();
    Ok(facts)
}

struct Scan<'a> {
    interest: &'a Interest,
    hasher: &'a PathHasher,
    budget: &'a Budget,
    facts: LayerFacts,
    scanner: Scanner,
    buffer: Vec<u8>,
    kept: u64,
    app_files: usize,
    parents: Parents,
}

/// Directories that a layer's members are in, and members that are not directories, by the hashes of their paths.
#[derive(Default)]
struct Parents {
    last: Vec<u8>,
    directories: HashSet<u64>,
    others: HashSet<u64>,
}

impl Scan<'_> {
    fn member<R: Read>(
        &mut self,
        tar: &mut TarReader<R>,
        member: &Member,
    ) -> Result<(), ScanError> {
        let Some(path) = paths::normal(member.path.as_os_str()) else {
            if self.facts.odd_names.len() < MAX_ODD_NAMES {
                let name = paths::text(member.path.as_os_str().as_bytes());
                self.facts.odd_names.push(name);
            }
            // Its content is searched all the same.
            return self
                .content(tar, member, member.path.as_os_str().as_bytes())
                .map(drop);
        };
        let (directory, name) = split(&path);
        if name == OPAQUE_NAME.as_bytes() {
            if directory.is_empty() {
                // Engines differ about it: what would be hidden is judged.
                self.odd(
                    &path,
                    "would hide all lower layers, and engines differ about it",
                );
                return Ok(());
            }
            self.marker(&path);
            return self.trace(directory, Trace::Opaque);
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX.as_bytes()) {
            // Names such as `.wh..wh.plnk` are AUFS's own and mean nothing.
            if !hidden.starts_with(WHITEOUT_PREFIX.as_bytes()) {
                let path = [
                    directory,
                    if directory.is_empty() { b"" } else { b"/" },
                    hidden,
                ]
                .concat();
                self.marker(&path);
                if self.has(&path) {
                    self.odd(&path, "is in the layer, which removes it afterwards");
                }
                self.trace(&path, Trace::Whiteout)?;
            }
            return Ok(());
        }
        let trace = match member.kind {
            MemberKind::Directory => Trace::Directory,
            _ => Trace::Other,
        };
        self.trace(&path, trace)?;
        self.parents(&path, trace)?;
        if let MemberKind::HardLink(target) = &member.kind {
            self.hard_link(&path, target.as_os_str());
        }
        if let Some(name) = member.xattrs.keys().find(|name| is_of_overlay(name)) {
            let what = format!(
                "has the attribute {}, by which the kernel shows something else there",
                paths::text(name.as_bytes())
            );
            self.odd(&path, &what);
        }
        // Of several members with one name, the last one stays.
        self.facts.items.remove(&path);
        self.facts.md5sums.remove(&path);
        let read = self.content(tar, member, &path)?;
        self.keep(path, member, read)
    }

    fn trace(&mut self, path: &[u8], trace: Trace) -> Result<(), ScanError> {
        self.budget.take(TRACE_COST)?;
        let hash = self.hasher.hash(path);
        self.facts.traces.add(hash, trace);
        Ok(())
    }

    /// Marks the directories that a member lies in: those without an entry come to be all the same.
    fn parents(&mut self, path: &[u8], trace: Trace) -> Result<(), ScanError> {
        let hash = self.hasher.hash(path);
        let is_mixed = if trace == Trace::Other {
            self.parents.others.insert(hash);
            self.parents.directories.contains(&hash)
        } else {
            self.parents.others.contains(&hash)
        };
        let (directory, _) = split(path);
        let mut is_behind = false;
        if self.parents.last != directory || self.parents.directories.is_empty() {
            let above: Vec<&[u8]> = paths::ancestors(path).collect();
            for above in above.into_iter().rev() {
                let hash = self.hasher.hash(above);
                is_behind |= self.parents.others.contains(&hash);
                if !self.parents.directories.insert(hash) {
                    break;
                }
                self.budget.take(TRACE_COST)?;
                self.facts.traces.add(hash, Trace::Implied);
            }
            directory.clone_into(&mut self.parents.last);
        }
        if trace == Trace::Directory {
            self.parents.directories.insert(hash);
        }
        if is_mixed || is_behind {
            let what = "is, or lies in, what the layer has as a directory and as something else";
            self.odd(path, what);
        }
        Ok(())
    }

    /// Looks where a mark of a removal lies: engines follow a link that the layer has in its directory's place.
    fn marker(&mut self, path: &[u8]) {
        let is_other = |above| self.parents.others.contains(&self.hasher.hash(above));
        if paths::ancestors(path).any(is_other) {
            let what = "lies in what the layer has as something else than a directory";
            self.odd(path, what);
        }
    }

    /// Whether the layer had something there before this member.
    fn has(&self, path: &[u8]) -> bool {
        let hash = self.hasher.hash(path);
        self.parents.others.contains(&hash) || self.parents.directories.contains(&hash)
    }

    /// A further name is one of what the layer has already. Engines look for anything else in the files that
    /// they have unpacked so far: behind links, in lower layers, or nowhere.
    fn hard_link(&mut self, path: &[u8], target: &OsStr) {
        let is_there = paths::normal(target)
            .is_some_and(|target| self.parents.others.contains(&self.hasher.hash(&target)));
        if !is_there {
            let target = paths::text(target.as_bytes());
            let what = format!(
                "is a further name of `{target}`, which the layer does not have before it under that path"
            );
            self.odd(path, &what);
        }
    }

    fn odd(&mut self, path: &[u8], what: &str) {
        if self.facts.odd_entries.len() < MAX_ODD_NAMES {
            self.facts
                .odd_entries
                .push((path.to_vec(), what.to_owned()));
        }
    }

    fn keep(&mut self, path: Vec<u8>, member: &Member, read: Known) -> Result<(), ScanError> {
        let own = capability_of(member);
        let acl = acl_of(member);
        let mut wanted = self.interest.keeps(&path, member) || own.is_some() || acl.is_some();
        let mut item = Item {
            kind: kind(&member.kind),
            mode: member.mode,
            uid: member.uid,
            gid: member.gid,
            capability: own,
            acl,
            md5: read.md5,
            links: read.links,
            content: read.content,
        };
        let mut differs = false;
        if let ItemKind::HardLink(target) = &item.kind
            && let Some(known) = self.facts.items.get_mut(target)
        {
            // One file with two names. Engines set on it what a link's header has, some of them all of it.
            differs = (known.uid, known.gid) != (item.uid, item.gid)
                || item.mode & !known.mode & 0o6022 != 0
                || (item.capability.is_some() && item.capability != known.capability)
                || (item.acl.is_some() && item.acl != known.acl);
            known.mode |= item.mode & 0o6022;
            known.capability = known.capability.or(item.capability);
            known.acl = known.acl.take().or(item.acl.take());
            let (uid, gid) = (item.uid, item.gid);
            item = Item {
                uid,
                gid,
                ..known.clone()
            };
            wanted = true;
        }
        if differs {
            let what = "is a further name of a file, with another owner, mode or attribute than the file's";
            self.odd(&path, what);
        }
        if !wanted {
            return Ok(());
        }
        if self.is_app_file_only(&path, &item) {
            if self.app_files >= MAX_APP_FILES {
                self.facts.app_files_cut = true;
                return Ok(());
            }
            self.app_files += 1;
        }
        if self.facts.items.len() >= MAX_ITEMS {
            return Err(ScanError::TooMany(MAX_ITEMS, "remarkable entries"));
        }
        let links = item.links.as_ref().map_or(0, |links| {
            let names = links.needed.iter().chain(&links.search);
            names.map(|name| name.len() + 32).sum()
        });
        self.budget.take(ITEM_COST + path.len() + links)?;
        self.facts.items.insert(path, item);
        Ok(())
    }

    /// Kept only because it is an unusable file of the app.
    fn is_app_file_only(&self, path: &[u8], item: &Item) -> bool {
        self.interest.place(path) == PathKind::App
            && item.capability.is_none()
            && !matches!(item.kind, ItemKind::Device { .. })
            && !item.is_setuid()
            && !item.is_setgid()
            && (!item.is_directory() || item.mode & 0o002 == 0)
    }

    /// Reads a file's content once, for all rules that need it.
    fn content<R: Read>(
        &mut self,
        tar: &mut TarReader<R>,
        member: &Member,
        path: &[u8],
    ) -> Result<Known, ScanError> {
        if member.kind != MemberKind::File {
            return Ok(Known::default());
        }
        if let Some(kind) = secrets::by_name(path) {
            self.secret(path, kind, member.size)?;
        }
        let reads = Interest::reads(path);
        let looks_into = Interest::looks_into(path);
        let limit = match (reads, looks_into) {
            (true, _) if path == b"etc/ld.so.cache" => MAX_CACHE.min(MAX_KEPT - self.kept),
            (true, _) => MAX_ACCOUNT_FILE.min(MAX_KEPT - self.kept),
            (false, true) if dpkg::is_md5sums(path) => MAX_MD5SUMS,
            (false, true) => secrets::MAX_FILE,
            (false, false) => 0,
        };
        let mut bytes = ((reads || looks_into) && member.size <= limit).then(Vec::new);
        let privileged = member.mode & 0o6000 != 0 || capability_of(member).is_some();
        let verified = privileged || dpkg::is_verified(path);
        let mut hasher = verified.then(Hasher::new);
        let mut key = (member.size <= secrets::keys::MAX_FILE).then(Vec::new);
        let mut program = (verified && member.size <= MAX_ELF).then(Vec::new);
        loop {
            let count = tar
                .read(&mut self.buffer)
                .map_err(|source| ScanError::Layer(LayerError::Read { source }))?;
            if count == 0 {
                break;
            }
            let part = &self.buffer[..count];
            self.scanner.feed(part);
            if let Some(bytes) = &mut bytes {
                bytes.extend_from_slice(part);
            }
            if let Some(hasher) = &mut hasher {
                hasher.update(part);
            }
            if let Some(all) = &mut key {
                if all.is_empty() && !secrets::keys::may_be(part) {
                    key = None;
                } else {
                    all.extend_from_slice(part);
                }
            }
            if let Some(all) = &mut program {
                all.extend_from_slice(part);
                if !all.starts_with(&b"\x7fELF"[..all.len().min(4)]) {
                    program = None;
                }
            }
        }
        for kind in self.scanner.finish() {
            self.secret(path, kind, member.size)?;
        }
        if key.is_some_and(|bytes| secrets::keys::is_private_key(&bytes)) {
            self.secret(path, SecretKind::PrivateKey, member.size)?;
        }
        let md5 = hasher.map(|hasher| hasher.finalize().into());
        let content = match bytes {
            None if reads => Content::TooLarge,
            None => Content::NotRead,
            Some(bytes) if reads => {
                self.kept += bytes.len() as u64;
                Content::Bytes(bytes)
            }
            Some(bytes) => {
                self.look_into(path, &bytes, member.size)?;
                Content::NotRead
            }
        };
        Ok(Known {
            content,
            md5,
            links: program.and_then(|bytes| elf::parse(&bytes)),
        })
    }

    fn look_into(&mut self, path: &[u8], bytes: &[u8], size: u64) -> Result<(), ScanError> {
        if dpkg::is_md5sums(path) {
            let sums = dpkg::parse(bytes);
            if !sums.is_empty() {
                let paths: usize = sums.iter().map(|(path, _)| path.len() + 64).sum();
                self.budget.take(ITEM_COST + path.len() + paths)?;
                self.facts.md5sums.insert(path.to_vec(), sums);
            }
        } else if let Some(kind) = secrets::by_content(path, bytes) {
            self.secret(path, kind, size)?;
        }
        Ok(())
    }

    fn secret(&mut self, path: &[u8], kind: SecretKind, size: u64) -> Result<(), ScanError> {
        // An empty file has no content to judge.
        if size == 0 {
            return Ok(());
        }
        if self.facts.secrets.len() >= MAX_SECRETS {
            return Err(ScanError::TooMany(MAX_SECRETS, "files with secrets"));
        }
        self.budget.take(ITEM_COST + path.len())?;
        self.facts.secrets.push(Secret {
            path: path.to_vec(),
            kind,
        });
        Ok(())
    }
}

/// The results of reading a file.
#[derive(Default)]
struct Known {
    content: Content,
    md5: Option<dpkg::Md5>,
    links: Option<elf::Links>,
}

/// By what of them, what lies in a directory can be written: its own list, and that of new files in it.
fn acl_of(member: &Member) -> Option<acl::Acl> {
    let list = |name: &str| acl::parse(member.xattrs.get(std::ffi::OsStr::new(name))?);
    let new = list(acl::OF_NEW_FILES);
    match (list(acl::ATTRIBUTE), new) {
        (Some(own), Some(new)) => Some(own.and(new)),
        (own, new) => own.or(new),
    }
}

/// An attribute that overlayfs reads: it can show another directory in a directory's place.
fn is_of_overlay(name: &std::ffi::OsStr) -> bool {
    [&b"trusted.overlay."[..], b"user.overlay."]
        .iter()
        .any(|prefix| name.as_bytes().starts_with(prefix))
}

fn capability_of(member: &Member) -> Option<capability::Capability> {
    let value = member.xattrs.get(std::ffi::OsStr::new(CAPABILITY))?;
    capability::parse(value)
}

fn kind(kind: &MemberKind) -> ItemKind {
    match kind {
        MemberKind::File => ItemKind::File,
        MemberKind::Directory => ItemKind::Directory,
        MemberKind::Symlink(target) => ItemKind::Symlink(target.as_os_str().as_bytes().to_vec()),
        MemberKind::HardLink(target) => {
            ItemKind::HardLink(paths::normal(target.as_os_str()).unwrap_or_default())
        }
        MemberKind::Fifo => ItemKind::Fifo,
        MemberKind::CharDevice { major, minor } => ItemKind::Device {
            block: false,
            major: *major,
            minor: *minor,
        },
        MemberKind::BlockDevice { major, minor } => ItemKind::Device {
            block: true,
            major: *major,
            minor: *minor,
        },
    }
}
