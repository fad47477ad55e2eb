//! Reads a wheel (PEP 427) and says what it installs, file by file, before any of it is written.
//!
//! What is installed is what the wheel's RECORD lists, no more, to places that a package may have, with
//! the bytes that RECORD's hashes name. Byte-code that came along is left out. Everything else than a
//! plain wheel is either [`Unfit::Odd`], which is left to the installer and not shared, or
//! [`Unfit::Hostile`].
//!
//! The result is the same to the byte as uv's, once that has its normal form
//! ([`crate::app::assemble::records`]).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::app::assemble::records::{self, Entry, INSTALLER, is_protected, record_hash};
use crate::builder::APP_ROOT;

use super::super::locked_wheel::Pin;
use super::super::split::parse_dist_info;
use super::archive::{Archive, MAX_TEXT};
use super::entry_points::{self, Script};
use super::unfit::{Unfit, odd};

/// Where packages are installed.
#[derive(Debug, Clone)]
pub(super) struct Site {
    /// Relative to the application's root: `lib/python3.11/site-packages`.
    packages: PathBuf,
    headers: PathBuf,
}

impl Site {
    /// That of Python `minor`, for example `3.11`.
    pub(super) fn of(minor: &str) -> Self {
        Self {
            packages: format!("lib/python{minor}/site-packages").into(),
            headers: format!("include/site/python{minor}").into(),
        }
    }

    /// The path of a place from the directory of packages, as RECORD has it.
    fn relative(&self, place: &Path) -> String {
        let common = self
            .packages
            .components()
            .zip(place.components())
            .take_while(|(a, b)| a == b)
            .count();
        let up = self.packages.components().count() - common;
        let mut path: PathBuf = std::iter::repeat_n("..", up).collect();
        path.extend(place.components().skip(common));
        path.to_string_lossy().into_owned()
    }
}

/// A file that a wheel installs.
#[derive(Debug)]
pub(super) struct Planned {
    /// Relative to the application's root.
    pub(super) place: PathBuf,
    pub(super) executable: bool,
    content: Content,
}

#[derive(Debug)]
enum Content {
    /// A member of the archive, and its hash as RECORD has it.
    Member {
        name: String,
        hash: String,
    },
    Made(Vec<u8>),
}

/// A wheel, and what it installs.
pub(super) struct Wheel {
    archive: Archive,
    pub(super) files: Vec<Planned>,
}

impl Wheel {
    /// Reads a wheel whose bytes are those of the pin, and judges all that is in it.
    pub(super) fn read(file: File, pin: &Pin, site: &Site) -> Result<Self, Unfit> {
        let mut archive = Archive::open(file)?;
        let info = dist_info(&archive, pin)?;
        let scheme = Scheme {
            site,
            data: format!("{}.data", info.trim_end_matches(".dist-info")),
            name: &pin.name,
        };
        // Whether RECORD lists them or not, and what is hostile before what is only odd.
        let mut strange = None;
        for name in archive.members.keys() {
            match scheme.place(name) {
                Err(hostile @ Unfit::Hostile(_)) => return Err(hostile),
                Err(odd) => strange = strange.or(Some(odd)),
                Ok(_) => {}
            }
        }
        if let Some(odd) = strange {
            return Err(odd);
        }
        let record = archive.text(&format!("{info}/RECORD"))?;
        let commands = format!("{info}/entry_points.txt");
        let scripts = if archive.members.contains_key(&commands) {
            entry_points::scripts(&archive.text(&commands)?).map_err(Unfit::Odd)?
        } else {
            Vec::new()
        };
        let mut wheel = Self {
            archive,
            files: Vec::new(),
        };
        wheel.plan(&scheme, &info, &record, &scripts)?;
        wheel.fits_on_a_disk()?;
        wheel.no_other_directory(&scheme)?;
        Ok(wheel)
    }

    fn plan(
        &mut self,
        scheme: &Scheme<'_>,
        info: &str,
        record: &str,
        scripts: &[Script],
    ) -> Result<(), Unfit> {
        let own = format!("{info}/RECORD");
        let mut entries = Vec::new();
        let mut listed: HashSet<String> = HashSet::new();
        for mut entry in records::parse(record) {
            let name = entry.path.clone();
            if !listed.insert(name.clone()) {
                return odd(format!("its RECORD lists {name} twice"));
            }
            if is_code_that_came_along(Path::new(&name)) {
                continue;
            }
            let Some(member) = self.archive.members.get(&name) else {
                return odd(format!("its RECORD lists {name}, which is not in it"));
            };
            let executable = member.executable;
            let (place, is_script) = scheme.place(&name)?;
            entry.path = scheme.site.relative(&place);
            if name == own {
                // It is written again, below.
                entries.push(entry);
                continue;
            }
            let plain_size = entry.size.parse::<u64>().map(|size| size.to_string());
            if !entry.size.is_empty() && plain_size.as_ref() != Ok(&entry.size) {
                return odd(format!("its RECORD has a strange size of {name}"));
            }
            let mut content = Content::Member {
                name,
                hash: entry.hash.clone(),
            };
            if is_script {
                let command = place.file_name().and_then(|name| name.to_str());
                if scripts
                    .iter()
                    .any(|script| Some(script.name.as_str()) == command)
                {
                    return odd("it has a script of the name of an entry point");
                }
                if let Some(bytes) = self.python_script(&content)? {
                    entry.hash = record_hash(&bytes);
                    entry.size = bytes.len().to_string();
                    content = Content::Made(bytes);
                }
            }
            entries.push(entry);
            self.files.push(Planned {
                place,
                executable: executable || is_script,
                content,
            });
        }
        let mut names = self.archive.members.keys();
        let unlisted =
            |name: &&String| !listed.contains(*name) && !is_code_that_came_along(Path::new(name));
        if let Some(name) = names.find(unlisted) {
            return odd(format!("{name} is in no RECORD"));
        }
        for script in scripts {
            let place = Path::new("bin").join(&script.name);
            judge(&place)?;
            entries.push(self.make(place, script.text().into_bytes(), true, scheme));
        }
        let info = scheme.site.packages.join(info);
        let installer = INSTALLER.as_bytes().to_vec();
        entries.push(self.make(info.join("INSTALLER"), installer, false, scheme));
        entries.sort();
        entries.dedup();
        let record = records::write(&entries).into_bytes();
        self.make(info.join("RECORD"), record, false, scheme);
        Ok(())
    }

    /// Adds a file of ours; gives its line of RECORD.
    fn make(
        &mut self,
        place: PathBuf,
        content: Vec<u8>,
        executable: bool,
        scheme: &Scheme<'_>,
    ) -> Entry {
        let entry = Entry {
            path: scheme.site.relative(&place),
            hash: record_hash(&content),
            size: content.len().to_string(),
        };
        self.files.push(Planned {
            place,
            executable,
            content: Content::Made(content),
        });
        entry
    }

    /// The text of a script that asks for Python (`#!python`), with the environment's.
    fn python_script(&mut self, content: &Content) -> Result<Option<Vec<u8>>, Unfit> {
        const WISH: &[u8] = b"#!python";
        let begins = match content {
            Content::Member { name, .. } => self.archive.begins_with(name, WISH)?,
            Content::Made(bytes) => bytes.starts_with(WISH),
        };
        if !begins {
            return Ok(None);
        }
        let bytes = self.bytes(content)?;
        let Some(rest) = bytes.strip_prefix(WISH) else {
            return Ok(None);
        };
        let rest = rest.strip_prefix(b"w").unwrap_or(rest);
        Ok(Some([entry_points::SHEBANG.as_bytes(), rest].concat()))
    }

    fn bytes(&mut self, content: &Content) -> Result<Vec<u8>, Unfit> {
        let mut text = Text(Vec::new());
        copy(&mut self.archive, content, &mut text)?;
        Ok(text.0)
    }

    fn fits_on_a_disk(&self) -> Result<(), Unfit> {
        let places = self.files.iter().map(|file| (0, file.place.as_path()));
        if let Some(place) = contested(places) {
            return odd(format!("it has {} twice", place.display()));
        }
        let is_cache = |file: &Planned| file.place.ends_with("__pycache__");
        if self.files.iter().any(is_cache) {
            return odd("it has a file called __pycache__");
        }
        Ok(())
    }

    /// An empty directory is in no RECORD, but an installer makes it.
    fn no_other_directory(&self, scheme: &Scheme<'_>) -> Result<(), Unfit> {
        let above: HashSet<&Path> = self
            .files
            .iter()
            .flat_map(|file| file.place.ancestors().skip(1))
            .collect();
        for name in &self.archive.directories {
            let place = scheme.directory(name)?;
            let known = place.is_none_or(|place| {
                above.contains(place.as_path()) || place.ends_with("__pycache__")
            });
            if !known {
                return odd(format!("its directory {name} is empty"));
            }
        }
        Ok(())
    }

    /// Writes one of its files, and holds it against RECORD; gives how many bytes it has.
    pub(super) fn write(&mut self, number: usize, into: &mut dyn Write) -> Result<u64, Unfit> {
        let Some(file) = self.files.get(number) else {
            return Ok(0);
        };
        copy(&mut self.archive, &file.content, into)
    }
}

/// What is read as a whole, and so has a bound.
struct Text(Vec<u8>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.0.len() + bytes.len()) as u64 > MAX_TEXT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn copy(archive: &mut Archive, content: &Content, into: &mut dyn Write) -> Result<u64, Unfit> {
    match content {
        Content::Made(bytes) => {
            into.write_all(bytes)?;
            Ok(bytes.len() as u64)
        }
        Content::Member { name, hash } => archive.copy(name, hash, into),
    }
}

/// Byte-code is ours to write, whatever a RECORD says.
fn is_code_that_came_along(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "pyc")
        && path
            .parent()
            .is_some_and(|parent| parent.ends_with("__pycache__"))
}

/// The one `dist-info` directory, which is that of the pin.
fn dist_info(archive: &Archive, pin: &Pin) -> Result<String, Unfit> {
    let members = &archive.members;
    let tops: BTreeSet<&str> = members
        .keys()
        .filter_map(|name| name.split('/').next())
        .filter(|top| top.ends_with(".dist-info"))
        .collect();
    let mut tops = tops.into_iter();
    let (Some(info), None) = (tops.next(), tops.next()) else {
        return odd("it has not exactly one directory *.dist-info");
    };
    let is_pinned = parse_dist_info(info)
        .is_some_and(|(name, version)| name == pin.name && version == pin.version);
    if !is_pinned {
        return odd("it brings another distribution than its name says");
    }
    for name in [
        "INSTALLER",
        "REQUESTED",
        "direct_url.json",
        "uv_cache.json",
        "uv_build.json",
    ] {
        if members.contains_key(&format!("{info}/{name}")) {
            return odd(format!("it brings {name}, which an installer writes"));
        }
    }
    if !members.contains_key(&format!("{info}/WHEEL")) || pin.name == "pip" {
        // uv names pip's scripts after the Python that they are for.
        return odd("it is not a wheel of the usual kind");
    }
    Ok(info.to_owned())
}

/// Where the members of a wheel go.
struct Scheme<'a> {
    site: &'a Site,
    /// `NAME-VERSION.data`
    data: String,
    name: &'a str,
}

impl Scheme<'_> {
    /// The place of a member relative to the application's root, and whether it is a script.
    fn place(&self, name: &str) -> Result<(PathBuf, bool), Unfit> {
        let (place, is_script) = match self.in_data(name) {
            None => (self.site.packages.join(name), false),
            Some(rest) => {
                let Some((kind, path)) = rest.split_once('/') else {
                    return odd(format!("{name} belongs nowhere"));
                };
                match kind {
                    "scripts" if path.contains('/') => {
                        return odd(format!("{name} is not a script"));
                    }
                    _ => match self.root(kind) {
                        Some(root) => (root.join(path), kind == "scripts"),
                        None => return odd(format!("{name} belongs nowhere")),
                    },
                }
            }
        };
        judge(&place)?;
        if place.starts_with("lib") && !place.starts_with(&self.site.packages) {
            let interpreter = place.iter().nth(1).and_then(|name| name.to_str());
            if interpreter.is_some_and(|name| name.starts_with("python")) {
                return odd(format!("{name} is for the interpreter's library"));
            }
        }
        if is_code_that_came_along(&place) && !place.starts_with(&self.site.packages) {
            return odd(format!("{name} is byte-code of no package"));
        }
        let in_packages = place.strip_prefix(&self.site.packages).ok();
        let top = in_packages
            .and_then(|path| path.iter().next())
            .and_then(|top| top.to_str());
        if top.is_some_and(|top| top.ends_with(".dist-info")) && self.in_data(name).is_some() {
            return odd(format!("{name} is for a distribution's metadata"));
        }
        Ok((place, is_script))
    }

    /// The same of a directory; `None` for those that are only in the archive.
    fn directory(&self, name: &str) -> Result<Option<PathBuf>, Unfit> {
        if name == self.data {
            return Ok(None);
        }
        let place = match self.in_data(name) {
            None => self.site.packages.join(name),
            Some(rest) => match rest.split_once('/') {
                None => return Ok(None),
                Some((kind, path)) => match self.root(kind) {
                    Some(root) => root.join(path),
                    None => return odd(format!("{name} belongs nowhere")),
                },
            },
        };
        judge_directory(&place)?;
        Ok(Some(place))
    }

    fn in_data<'n>(&self, name: &'n str) -> Option<&'n str> {
        name.strip_prefix(&self.data)?.strip_prefix('/')
    }

    fn root(&self, kind: &str) -> Option<PathBuf> {
        Some(match kind {
            "purelib" | "platlib" => self.site.packages.clone(),
            "scripts" => "bin".into(),
            "headers" => self.site.headers.join(self.name),
            "data" => PathBuf::new(),
            _ => return None,
        })
    }
}

/// The same of a directory: some archives name each that leads to a file.
pub(super) fn judge_directory(place: &Path) -> Result<(), Unfit> {
    let usual = ["bin", "etc", "include", "lib", "man", "share"];
    if usual.iter().any(|top| place == Path::new(top)) {
        return Ok(());
    }
    judge(place)
}

/// Whether a package may have this place in a virtual environment.
pub(super) fn judge(place: &Path) -> Result<(), Unfit> {
    if is_protected(place) {
        return Err(Unfit::Hostile(format!(
            "would write {APP_ROOT}/{}, which belongs to the image",
            place.display()
        )));
    }
    let parts: Vec<_> = place.iter().collect();
    let usual = match parts.as_slice() {
        [top, _] => ["bin", "etc", "include", "lib", "man", "share"]
            .iter()
            .any(|name| top == name),
        [top, _, ..] => ["etc", "include", "lib", "man", "share"]
            .iter()
            .any(|name| top == name),
        _ => false,
    };
    if usual {
        Ok(())
    } else {
        odd(format!(
            "{} is nothing of a virtual environment",
            place.display()
        ))
    }
}

/// The first path that two of these wheels have, or that one has as a file and another as a directory.
pub(super) fn contested<'a>(
    files: impl Iterator<Item = (usize, &'a Path)> + Clone,
) -> Option<&'a Path> {
    let mut owners: HashMap<&Path, usize> = HashMap::new();
    for (owner, path) in files.clone() {
        if owners.insert(path, owner).is_some() {
            return Some(path);
        }
    }
    let mut known: HashSet<&Path> = HashSet::new();
    for (_, path) in files {
        for above in path.ancestors().skip(1) {
            if !known.insert(above) {
                break;
            }
            if owners.contains_key(above) {
                return Some(above);
            }
        }
    }
    None
}
