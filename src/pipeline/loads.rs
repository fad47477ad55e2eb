//! Whether an application loads as it did before: then the smoke gate ([`super::smoke`]) need not load it.
//!
//! A load gives [`Loaded`]: which functions it ran and which files it read. With the files of the
//! application's layer this becomes a [`Load`], which the build cache keeps under all that may not change:
//! every file but the application's modules. Of these count: the names; that they compile; of one that was
//! loaded what runs at its load (`app::detect::at_load`); the whole of one that was read in another way.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::app::detect::at_load;
use crate::builder::APP_ROOT;
use crate::layer::{Entry, Kind};
use crate::oci::sha256_hex;
use crate::rootfs::read_beneath;
use crate::store::{Needs, Record, Store};

use super::error::BuildError;
use super::inputs::Inputs;

/// Of what is kept, and of what the in-image tool sees of a load.
const FORMAT: u32 = 2;

/// Most bytes of other files that are hashed for this, and of one module: with more, the application is
/// loaded.
const MAX: u64 = 32 << 20;
const MAX_MODULE: u64 = 4 << 20;

/// What the in-image tool saw of a load (`app/run/smoke.py`). Paths are relative to the source.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Loaded {
    /// Module → the first lines of functions that were run.
    ran: BTreeMap<String, Vec<usize>>,
    /// Python files that were opened otherwise.
    read: BTreeSet<String>,
}

/// A load that went well.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Load {
    modules: BTreeMap<String, Module>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Module {
    /// The functions that were run; `None`: the file was read.
    functions: Option<BTreeSet<String>>,
    digest: String,
}

impl Record for Load {
    const KIND: &'static str = "load";

    fn needs(&self) -> Needs {
        Needs::nothing()
    }
}

/// The files that a load can depend on.
pub(super) struct Files {
    key: String,
    upper: PathBuf,
    /// Relative to the source → relative to `upper`; those that compile.
    modules: BTreeMap<String, PathBuf>,
}

impl Files {
    /// Of the entries of the application's layer in `upper`; `inputs` is all else that decides the load.
    /// `None` if they are too large to be hashed for this.
    pub(super) fn of(
        mut inputs: Inputs,
        upper: &Path,
        entries: &[Entry],
    ) -> Result<Option<Self>, BuildError> {
        let source = Path::new(APP_ROOT.trim_start_matches('/')).join("src");
        let compiled: BTreeSet<PathBuf> = entries
            .iter()
            .filter(|entry| is_byte_code(&entry.path))
            .filter_map(|entry| compiled_from(&entry.path))
            .collect();
        let mut modules = BTreeMap::new();
        let mut hash = Sha256::new();
        let mut left = MAX;
        for entry in entries {
            let relative = entry.path.strip_prefix(&source).ok();
            if relative.is_some() && is_byte_code(&entry.path) {
                continue;
            }
            field(&mut hash, entry.path.as_os_str().as_bytes());
            field(&mut hash, &entry.mode.to_le_bytes());
            match &entry.kind {
                Kind::File { source: file, size } => {
                    let module = relative
                        .filter(|path| path.extension().is_some_and(|end| end == "py"))
                        .and_then(Path::to_str);
                    if let Some(name) = module {
                        field(&mut hash, b"module");
                        if compiled.contains(&entry.path) {
                            modules.insert(name.to_owned(), entry.path.clone());
                        }
                        continue;
                    }
                    let Some(rest) = left.checked_sub(*size) else {
                        return Ok(None);
                    };
                    left = rest;
                    field(&mut hash, b"file");
                    let content = read_beneath(upper, &entry.path, MAX);
                    let content = content.map_err(|source| BuildError::Read {
                        path: file.clone(),
                        source,
                    })?;
                    field(&mut hash, &content.unwrap_or_default());
                }
                Kind::Bytes(bytes) => field(&mut hash, bytes),
                Kind::Symlink(target) | Kind::HardLink(target) => {
                    field(&mut hash, b"link");
                    field(&mut hash, target.as_os_str().as_bytes());
                }
                Kind::Directory => field(&mut hash, b"directory"),
                Kind::Whiteout => field(&mut hash, b"whiteout"),
                Kind::Opaque => field(&mut hash, b"opaque"),
            }
        }
        inputs.add("the other files of the application", &hash.finalize()[..])?;
        Ok(Some(Self {
            key: sha256_hex(format!("load {FORMAT} {}", inputs.key()?).as_bytes()),
            upper: upper.to_owned(),
            modules,
        }))
    }

    /// Whether a load would do the same as an earlier one, which went well.
    pub(super) fn load_as_before(&self, store: &Store) -> Result<bool, BuildError> {
        let Some(load) = store.cached::<Load>(&self.key)? else {
            return Ok(false);
        };
        Ok(load.modules.iter().all(|(name, module)| {
            let now = self.text(name).and_then(|text| match &module.functions {
                Some(functions) => digest(&text, functions),
                None => Some(sha256_hex(text.as_bytes())),
            });
            now.as_ref() == Some(&module.digest)
        }))
    }

    /// Keeps what a load depended on.
    pub(super) fn remember(&self, store: &Store, loaded: &Loaded) -> Result<(), BuildError> {
        let ran = loaded
            .ran
            .iter()
            .filter(|(name, _)| !loaded.read.contains(*name))
            .map(|(name, lines)| (name, Some(lines)));
        let read = loaded.read.iter().map(|name| (name, None));
        let modules: Option<BTreeMap<String, Module>> = ran
            .chain(read)
            .map(|(name, lines)| Some((name.clone(), self.module(name, lines)?)))
            .collect();
        // What is not in this layer, or does not compile, cannot be compared later.
        let Some(modules) = modules else {
            return Ok(());
        };
        Ok(store.remember(&self.key, &Load { modules })?)
    }

    /// A module, with the lines of functions that were run, or as one that was read.
    fn module(&self, name: &str, ran: Option<&Vec<usize>>) -> Option<Module> {
        let text = self.text(name)?;
        let (functions, digest) = match ran {
            Some(lines) => {
                let functions = at_load::functions_at(&text, lines)?;
                let digest = digest(&text, &functions)?;
                (Some(functions), digest)
            }
            None => (None, sha256_hex(text.as_bytes())),
        };
        Some(Module { functions, digest })
    }

    fn text(&self, module: &str) -> Option<String> {
        let path = self.modules.get(module)?;
        let bytes = read_beneath(&self.upper, path, MAX_MODULE).ok()??;
        String::from_utf8(bytes).ok()
    }
}

fn digest(text: &str, functions: &BTreeSet<String>) -> Option<String> {
    at_load::digest(text, functions).map(|digest| sha256_hex(&digest))
}

/// Adds bytes in such a way that they are not mixed up with those that follow.
fn field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update(bytes.len().to_le_bytes());
    hash.update(bytes);
}

fn is_byte_code(path: &Path) -> bool {
    let directory = path.parent().and_then(Path::file_name);
    directory.is_some_and(|name| name == "__pycache__")
}

/// The module whose byte-code this is: `shop/cart.py` of `shop/__pycache__/cart.cpython-311.pyc`.
fn compiled_from(path: &Path) -> Option<PathBuf> {
    let directory = path.parent()?.parent()?;
    let (module, _tag) = path.file_stem()?.to_str()?.rsplit_once('.')?;
    Some(directory.join(format!("{module}.py")))
}
