//! Wheels as files: kept in the store by their hash, or fetched from where the resolver found them.
//!
//! Here the bytes are verified by the hash of the resolution, each time that they are read. No sandbox sees the
//! directory with them.

use std::fs::{self, File};
use std::io::{self, Seek as _, Write};
use std::path::{Path, PathBuf};

use crate::oci::{Digest, Sha256Writer, parse_digest};
use crate::progress::{Progress, human_size};
use crate::registry::{Client, ClientOptions, with_login_of};
use crate::sandbox::interrupted;
use crate::store::Store;

use super::super::error::BuildError;
use super::super::locked_wheel::LockedWheel;
use super::super::sandbox_inputs::PASSED_ON;
use super::super::tally::Tally;
use super::plain::Asked;
use super::{InstallInputs, Lookup};

/// Largest wheel, in bytes.
pub(super) const MAX_WHEEL: u64 = 16 * 1024 * 1024 * 1024;
/// From this size on it is said that a wheel is fetched.
const LARGE: u64 = 1024 * 1024;

/// Where the wheels of a build come from.
pub(super) struct Wheels<'a> {
    place: PathBuf,
    scratch: &'a Path,
    client: Client,
    /// URLs with logins of the indexes.
    logins: Vec<String>,
    lookup: Lookup,
    progress: &'a dyn Progress,
    fetched: &'a Tally<'a>,
}

impl<'a> Wheels<'a> {
    pub(super) fn new(
        inputs: InstallInputs<'_>,
        lookup: Lookup,
        scratch: &'a Path,
        (progress, fetched): (&'a dyn Progress, &'a Tally<'a>),
    ) -> Result<Self, BuildError> {
        Ok(Self {
            place: directory(inputs.context.store)?,
            scratch,
            client: Client::new(ClientOptions::default())?,
            logins: logins(inputs),
            lookup,
            progress,
            fetched,
        })
    }

    /// The wheel, open at its start; `None` if it cannot be fetched in this way.
    pub(super) fn open(&self, wheel: &LockedWheel) -> Result<Option<File>, BuildError> {
        let digest = parse_digest(&format!("sha256:{}", wheel.pin.wheel))?;
        let kept = self.place.join(format!("{}.whl", wheel.pin.wheel));
        if let Some(file) = verified(&kept, &digest) {
            self.fetched.add(wheel.artifact.size.unwrap_or(0));
            return Ok(Some(file));
        }
        if self.lookup == Lookup::Cache {
            return Ok(None);
        }
        let Some(url) = &wheel.artifact.download else {
            return Ok(None);
        };
        if let Some(size) = wheel.artifact.size.filter(|size| *size >= LARGE) {
            let file = &wheel.artifact.file;
            let line = format!("Downloading {file} ({})", human_size(size));
            self.progress.output(&line);
        }
        let path = self.scratch.join(&wheel.pin.wheel);
        let failed = |source| BuildError::Write {
            path: path.clone(),
            source,
        };
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(failed)?;
        let url = with_login_of(url, &self.logins);
        let fetched = self.client.download(
            &url,
            &digest,
            MAX_WHEEL,
            &mut Heedful {
                file: &file,
                fetched: self.fetched,
            },
        );
        if interrupted() {
            return Err(BuildError::Interrupted);
        }
        if let Err(error) = fetched {
            // The installer says what is wrong, if it has no other way.
            tracing::debug!(%error, "a wheel could not be fetched");
            let _ = fs::remove_file(&path);
            return Ok(None);
        }
        fs::rename(&path, &kept).map_err(failed)?;
        (&file).rewind().map_err(failed)?;
        Ok(Some(file))
    }
}

/// Where the store keeps wheels.
pub(super) fn directory(store: &Store) -> Result<PathBuf, BuildError> {
    Ok(store.cache_dir("wheel-files")?)
}

/// The file, if it is what its name says.
fn verified(path: &Path, digest: &Digest) -> Option<File> {
    let mut file = File::open(path).ok()?;
    let mut hash = Sha256Writer::new(io::sink());
    io::copy(&mut file, &mut hash).ok()?;
    if hash.finish().1 == *digest {
        file.rewind().ok()?;
        return Some(file);
    }
    let _ = fs::remove_file(path);
    None
}

/// The URLs with a login among those of the indexes.
fn logins(inputs: InstallInputs<'_>) -> Vec<String> {
    let request = inputs.context.request;
    let variables = request.build_env.iter().map(|(name, value)| (name, value));
    let values = variables
        .chain(&request.host_env)
        .filter(|(name, _)| PASSED_ON.contains(&name.as_str()) && name.contains("INDEX"))
        .map(|(_, value)| value.as_str());
    let indexes = inputs.asked.into_iter().flat_map(Asked::indexes);
    indexes
        .chain(values)
        .flat_map(str::split_whitespace)
        .filter_map(|word| word.find("http").map(|at| &word[at..]))
        .filter(|url| url.contains('@'))
        .map(str::to_owned)
        .collect()
}

/// Takes no more when the user has had enough.
struct Heedful<'f> {
    file: &'f File,
    fetched: &'f Tally<'f>,
}

impl Write for Heedful<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if interrupted() {
            return Err(io::Error::other("interrupted"));
        }
        let written = self.file.write(bytes)?;
        self.fetched.add(written as u64);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
