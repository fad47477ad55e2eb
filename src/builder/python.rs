//! Finds the Python in a base image, by asking it, once per image.

use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::app::python_version::PythonVersion;
use crate::rootfs;
use crate::sandbox::{self, IdMode, Io, Limits, Network, Root, SandboxError, Spec, Stream};
use crate::store::{self, Image, Needs, Store};

use super::{APP_GID, APP_UID, BuilderError};

/// What a base image's interpreter reports about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Python {
    /// Real path of the executable, `/usr/bin/python3.11`.
    pub executable: String,
    /// `3.11.2`.
    pub version: String,
    /// `3.11`.
    pub minor: String,
    /// `cpython-311-x86_64-linux-gnu`.
    pub abi: String,
    /// `glibc 2.36`, or empty.
    pub libc: String,
}

impl Python {
    /// Whether all values are safe in paths and messages. The image may be hostile.
    pub fn is_usable(&self) -> bool {
        check(self).is_ok()
    }

    /// `3.11` as a version. The probe returns nothing else.
    pub fn minor(&self) -> PythonVersion {
        self.minor.parse().unwrap_or(PythonVersion::new(3, 0))
    }
}

#[derive(Serialize, Deserialize)]
struct PythonRecord {
    python: Python,
}

impl store::Record for PythonRecord {
    const KIND: &'static str = "python";

    fn needs(&self) -> Needs {
        Needs::nothing()
    }
}

const QUESTION: &str = "import json, os, platform, sys, sysconfig
print(json.dumps({
    'executable': os.path.realpath(sys.executable),
    'version': '.'.join(map(str, sys.version_info[:3])),
    'minor': '.'.join(map(str, sys.version_info[:2])),
    'abi': sysconfig.get_config_var('SOABI') or '',
    'libc': ' '.join(platform.libc_ver(sys.executable)).strip(),
}))";

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The search path that an image's configuration gives, else the usual one.
pub fn search_path(image: &Image) -> String {
    image
        .config
        .env()
        .into_iter()
        .find(|(name, _)| name == "PATH")
        .map_or_else(|| DEFAULT_PATH.to_owned(), |(_, value)| value)
}

/// The values from the image's program become part of paths, of `pyvenv.cfg` and of messages: a
/// `python3` with unsafe values is refused.
fn check(python: &Python) -> Result<(), String> {
    let numbers = |text: &str, parts: usize| {
        text.split('.').count() == parts
            && text.split('.').all(|part| {
                (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
            })
    };
    let word = |text: &str| {
        text.len() <= 100
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_. +".contains(&b))
    };
    let path = Path::new(&python.executable);
    let plain = path.is_absolute()
        && python.executable.len() <= 1000
        && !python.executable.chars().any(char::is_control)
        && !path
            .components()
            .any(|part| matches!(part, Component::ParentDir));
    if !(numbers(&python.version, 3)
        && numbers(&python.minor, 2)
        && python.version.starts_with(&format!("{}.", python.minor))
        && word(&python.abi)
        && word(&python.libc)
        && plain)
    {
        return Err("`python3` said nothing usable".into());
    }
    if !python.minor.starts_with("3.") {
        return Err(format!("it has Python {}", python.version));
    }
    Ok(())
}

/// The known values of the image's Python, if it was asked before.
pub fn known(store: &Store, image: &Image) -> Result<Option<Python>, BuilderError> {
    let record = store.cached::<PythonRecord>(image.manifest.config().digest().digest())?;
    Ok(record.map(|record| record.python))
}

/// Asks the image's `python3`; the answer is kept with the image's configuration digest.
pub fn find(store: &Store, image: &Image, reference: &str) -> Result<Python, BuilderError> {
    let key = image.manifest.config().digest().digest().to_owned();
    if let Some(record) = store.cached::<PythonRecord>(&key)? {
        return Ok(record.python);
    }
    let mode = IdMode::current();
    let lowers: Vec<PathBuf> = rootfs::lowers(store, image, mode.into())?;
    let spec = Spec {
        root: Root {
            lowers,
            upper: None,
            writable_only: None,
        },
        mounts: Vec::new(),
        network: Network::None,
        host_services: Vec::new(),
        hostname: "warpdrive".into(),
        command: ["python3", "-I", "-S", "-c", QUESTION]
            .map(str::to_owned)
            .to_vec(),
        env: vec![("PATH".into(), search_path(image))],
        cwd: "/".into(),
        uid: APP_UID,
        gid: APP_GID,
        groups: Vec::new(),
        capabilities: Vec::new(),
        umask: 0o022,
        init: true,
        volatile: true,
        limits: Limits {
            timeout: Some(Duration::from_mins(1)),
            ..Limits::default()
        },
        #[cfg(debug_assertions)]
        without: Vec::new(),
    };
    let no_python = |detail: String| BuilderError::NoPython {
        reference: reference.to_owned(),
        detail,
    };
    let io = Io::Streams {
        stdin: Stream::Null,
        stdout: Stream::Piped,
        stderr: Stream::Null,
    };
    let mut sandbox = match sandbox::spawn(&spec, io) {
        Ok(sandbox) => sandbox,
        Err(
            error @ (SandboxError::CommandNotFound { .. }
            | SandboxError::CommandNotExecutable { .. }),
        ) => return Err(no_python(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    let mut answer = Vec::new();
    if let Some(stdout) = sandbox.take_stdout() {
        let _ = stdout.take(64 * 1024).read_to_end(&mut answer);
    }
    let exit = sandbox.wait()?;
    let python: Python = serde_json::from_slice(&answer).map_err(|_| {
        no_python(format!(
            "`python3` ended with {exit:?} and said nothing usable"
        ))
    })?;
    if let Err(problem) = check(&python) {
        return Err(no_python(problem));
    }
    let record = PythonRecord {
        python: python.clone(),
    };
    store.remember(&key, &record)?;
    Ok(python)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_that_lies_is_none() {
        let honest = Python {
            executable: "/usr/local/bin/python3.13".into(),
            version: "3.13.1".into(),
            minor: "3.13".into(),
            abi: "cpython-313-x86_64-linux-gnu".into(),
            libc: "glibc 2.36".into(),
        };
        assert_eq!(check(&honest), Ok(()));
        let changed = |change: &dyn Fn(&mut Python)| {
            let mut python = honest.clone();
            change(&mut python);
            check(&python)
        };
        assert_eq!(
            changed(&|p| (p.version, p.minor) = ("2.7.18".into(), "2.7".into())),
            Err("it has Python 2.7.18".into())
        );
        for lie in ["3./../../../../etc", "3.13/x", "3.", "3", "3.1.2", "3.13\n"] {
            assert!(changed(&|p| p.minor = lie.into()).is_err(), "{lie}");
        }
        assert!(changed(&|p| p.version = "3.13.1\nhome = /evil".into()).is_err());
        assert!(changed(&|p| p.executable = "/usr/bin/../x".into()).is_err());
        assert!(changed(&|p| p.executable = "/usr/bin/x\n".into()).is_err());
        assert!(changed(&|p| p.executable = "python".into()).is_err());
        assert!(changed(&|p| p.abi = "\u{1b}[2J".into()).is_err());
    }
}
