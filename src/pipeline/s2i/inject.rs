//! Injection: files that exist only while a script runs. They are mounts, so that nothing of them,
//! not even a mount point, is in any layer.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::oci::sha256_hex;
use crate::rootfs::{Merged, Seen, User};
use crate::s2i::Injection;
use crate::sandbox::Mount;

use super::build_root::{self, BuildRoot, MadeForNow, make};
use super::error::S2iBuildError;

/// Files up to this size are held in memory and mounted on a tmpfs; larger ones are copied.
const SMALL: u64 = 1024 * 1024;
/// Most bytes that are held in memory for all injections together.
const MAX_IN_MEMORY: usize = 16 * 1024 * 1024;
/// Most files of one injection.
const MAX_FILES: usize = 20_000;
/// A new directory with more files than these is copied and mounted as a whole.
const MANY: usize = 100;
/// Most mounts that injections make.
const MAX_MOUNTS: usize = 1000;

/// A file or directory to inject, read.
enum Node {
    File(Content),
    Directory(Vec<(String, Node)>),
}

enum Content {
    Bytes(Vec<u8>),
    /// A file of this machine that is too large to be held.
    Large(PathBuf),
}

/// Everything that is injected.
pub(super) struct Injections {
    /// The target directory (absolute, inside), and the entries in it.
    nodes: Vec<(PathBuf, Vec<(String, Node)>)>,
    /// A digest of paths and contents, for cache keys: it does not reveal them.
    pub(super) digest: String,
}

impl Injections {
    /// Reads the injections; relative destinations are below `working_dir`.
    pub(super) fn read(list: &[Injection], working_dir: &Path) -> Result<Self, S2iBuildError> {
        let mut nodes = Vec::new();
        let mut reader = Reader {
            path: Path::new(""),
            files: 0,
            held: 0,
            record: String::new(),
        };
        for injection in list {
            reader.path = &injection.source;
            let target = working_dir.join(&injection.destination);
            reader.note(&target.display().to_string());
            let source = fs::canonicalize(&injection.source)
                .map_err(|error| reader.wrong(error.to_string()))?;
            let children = if source.is_dir() {
                reader.directory(&source, 0)?
            } else {
                let name = injection
                    .source
                    .file_name()
                    .and_then(|name| name.to_str())
                    .ok_or_else(|| reader.wrong("its name is not text".into()))?
                    .to_owned();
                reader.note(&name);
                vec![(name, reader.file(&source)?)]
            };
            nodes.push((target, children));
        }
        Ok(Self {
            nodes,
            digest: sha256_hex(reader.record.as_bytes()),
        })
    }

    /// The mounts for the injections; one mount for each file if the directory exists already.
    /// Missing directories belong to `user`, which may put its own files beside the injected
    /// ones.
    pub(super) fn mounts(&self, place: &BuildRoot, user: &User) -> Result<Injected, S2iBuildError> {
        let mut plan = Plan {
            merged: place.merged(),
            aside: None,
            place,
            user,
            mounts: Vec::new(),
            directories: MadeForNow::default(),
        };
        for (target, children) in &self.nodes {
            place.directory_for_now(target, user, &mut plan.directories)?;
            plan.fill(target, children)?;
        }
        if plan.mounts.len() > MAX_MOUNTS {
            return Err(S2iBuildError::Inject {
                path: self.nodes.first().map(|n| n.0.clone()).unwrap_or_default(),
                problem: format!(
                    "it would take {} mounts to put the files among those that are there, more \
                     than {MAX_MOUNTS}: inject a directory of its own",
                    plan.mounts.len()
                ),
            });
        }
        Ok(Injected {
            mounts: plan.mounts,
            directories: plan.directories,
        })
    }
}

/// The mounts for injected files.
pub(super) struct Injected {
    pub(super) mounts: Vec<Mount>,
    /// The directories that were missing.
    pub(super) directories: MadeForNow,
}

struct Reader<'a> {
    path: &'a Path,
    files: usize,
    held: usize,
    record: String,
}

impl Reader<'_> {
    fn wrong(&self, problem: String) -> S2iBuildError {
        S2iBuildError::Inject {
            path: self.path.to_owned(),
            problem,
        }
    }

    fn note(&mut self, text: &str) {
        self.record.push_str(&text.len().to_string());
        self.record.push(' ');
        self.record.push_str(text);
        self.record.push('\n');
    }

    /// The children of a directory; links are followed, because they belong to the user. Names
    /// such as `..data`, which Kubernetes keeps beside the links of a mounted secret, are left
    /// out.
    fn directory(
        &mut self,
        path: &Path,
        depth: usize,
    ) -> Result<Vec<(String, Node)>, S2iBuildError> {
        if depth > 40 {
            return Err(self.wrong("its directories are nested too deep".into()));
        }
        let failed = |this: &Self, error: std::io::Error| {
            this.wrong(format!("could not read {}: {error}", path.display()))
        };
        let mut names = Vec::new();
        for child in fs::read_dir(path).map_err(|e| failed(self, e))? {
            let child = child.map_err(|e| failed(self, e))?;
            let name = child
                .file_name()
                .into_string()
                .map_err(|name| self.wrong(format!("the name {} is not text", name.display())))?;
            if !name.starts_with("..") {
                names.push(name);
            }
        }
        names.sort();
        let mut children = Vec::new();
        for name in names {
            let child = path.join(&name);
            let metadata = fs::metadata(&child).map_err(|error| {
                self.wrong(format!("could not read {}: {error}", child.display()))
            })?;
            if metadata.is_dir() {
                self.note(&format!("{name}/"));
                children.push((name, Node::Directory(self.directory(&child, depth + 1)?)));
                self.note("..");
            } else {
                self.note(&name);
                children.push((name, self.file(&child)?));
            }
        }
        Ok(children)
    }

    fn file(&mut self, path: &Path) -> Result<Node, S2iBuildError> {
        self.files += 1;
        if self.files > MAX_FILES {
            return Err(self.wrong(format!("there are more than {MAX_FILES} files in it")));
        }
        let failed = |this: &Self, error: std::io::Error| {
            this.wrong(format!("could not read {}: {error}", path.display()))
        };
        let metadata = fs::metadata(path).map_err(|e| failed(self, e))?;
        if !metadata.is_file() {
            return Err(self.wrong(format!(
                "{} is neither a file nor a directory",
                path.display()
            )));
        }
        let mut file = File::open(path).map_err(|e| failed(self, e))?;
        if metadata.len() > SMALL {
            let mut hashed = crate::oci::Sha256Reader::new(&mut file);
            std::io::copy(&mut hashed, &mut std::io::sink()).map_err(|e| failed(self, e))?;
            let digest = hashed.finish().1.to_string();
            self.note(&digest);
            return Ok(Node::File(Content::Large(path.to_owned())));
        }
        let mut bytes = Vec::new();
        file.by_ref()
            .take(SMALL + 1)
            .read_to_end(&mut bytes)
            .map_err(|e| failed(self, e))?;
        self.held += bytes.len();
        if self.held > MAX_IN_MEMORY {
            return Err(self.wrong(format!(
                "its small files are more than {MAX_IN_MEMORY} bytes together; a --volume is the \
                 better way"
            )));
        }
        let digest = sha256_hex(&bytes);
        self.note(&digest);
        Ok(Node::File(Content::Bytes(bytes)))
    }
}

/// Turns nodes into mounts.
struct Plan<'a> {
    place: &'a BuildRoot,
    user: &'a User,
    merged: Merged<'a>,
    /// Where large files and whole directories are copied to.
    aside: Option<PathBuf>,
    mounts: Vec<Mount>,
    directories: MadeForNow,
}

impl Plan<'_> {
    fn fill(&mut self, target: &Path, children: &[(String, Node)]) -> Result<(), S2iBuildError> {
        for (name, node) in children {
            let target = target.join(name);
            match node {
                Node::File(Content::Bytes(bytes)) => self.mounts.push(Mount::File {
                    target,
                    contents: bytes.clone(),
                    mode: 0o666,
                }),
                Node::File(Content::Large(source)) => {
                    let copy = self.copy_of_file(source)?;
                    self.mounts.push(bind(copy, target));
                }
                Node::Directory(children) => {
                    let new = matches!(self.merged.followed(&target), Ok(Seen::Nothing));
                    if new && count(children) > MANY {
                        let copy = self.fresh()?;
                        make(&copy, 0o755)?;
                        lay_out(&copy, children)?;
                        build_root::give_all(&copy, self.user)?;
                        self.mounts.push(bind(copy, target));
                    } else {
                        self.place
                            .directory_for_now(&target, self.user, &mut self.directories)?;
                        self.fill(&target, children)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn fresh(&mut self) -> Result<PathBuf, S2iBuildError> {
        let aside = if let Some(aside) = &self.aside {
            aside.clone()
        } else {
            let aside = self.place.aside("injections")?;
            self.aside = Some(aside.clone());
            aside
        };
        Ok(aside.join(self.mounts.len().to_string()))
    }

    fn copy_of_file(&mut self, source: &Path) -> Result<PathBuf, S2iBuildError> {
        let copy = self.fresh()?;
        copy_file(source, &copy)?;
        build_root::give(&copy, self.user)?;
        Ok(copy)
    }
}

/// Number of files in a directory and below it.
fn count(children: &[(String, Node)]) -> usize {
    children
        .iter()
        .map(|(_, node)| match node {
            Node::File(_) => 1,
            Node::Directory(children) => count(children),
        })
        .sum()
}

fn bind(source: PathBuf, target: PathBuf) -> Mount {
    Mount::Bind {
        source,
        target,
        read_only: false,
    }
}

fn copy_file(source: &Path, target: &Path) -> Result<(), S2iBuildError> {
    let failed = |error| S2iBuildError::io("copy", source, error);
    fs::copy(source, target).map_err(failed)?;
    fs::set_permissions(target, fs::Permissions::from_mode(0o666)).map_err(failed)
}

fn lay_out(directory: &Path, children: &[(String, Node)]) -> Result<(), S2iBuildError> {
    for (name, node) in children {
        let path = directory.join(name);
        match node {
            Node::File(Content::Bytes(bytes)) => {
                let failed = |error| S2iBuildError::io("write", &path, error);
                fs::write(&path, bytes).map_err(failed)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).map_err(failed)?;
            }
            Node::File(Content::Large(source)) => copy_file(source, &path)?,
            Node::Directory(children) => {
                make(&path, 0o755)?;
                lay_out(&path, children)?;
            }
        }
    }
    Ok(())
}
