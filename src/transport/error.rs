//! Why an image could not be brought in or out.

use std::io;
use std::path::PathBuf;

use crate::layer::LayerError;
use crate::oci::OciError;
use crate::registry::RegistryError;
use crate::store::StoreError;

/// What `Location::parse` reads.
const FORMS: &str = "a place is oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:REF], dir:DIR, docker-daemon:REF, containers-storage:REF or docker://REF";

#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    #[error("`{given}` is not a place for an image: {problem}")]
    Location { given: String, problem: String },
    #[error("could not {doing} {}: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("there is no {}", path.display())]
    Missing { path: PathBuf },
    #[error("{} cannot be used: {problem}", path.display())]
    Malformed { path: PathBuf, problem: String },
    #[error("{} has no image {}; it has {}", path.display(), wanted.as_deref().map_or("without a name".to_owned(), |name| format!("`{name}`")), list(found))]
    NoSuchImage {
        path: PathBuf,
        wanted: Option<String>,
        found: Vec<String>,
    },
    #[error("{} has {} images: say which, of {}", path.display(), found.len(), list(found))]
    Ambiguous { path: PathBuf, found: Vec<String> },
    #[error("{} is damaged: {what} has the digest {found} instead of {expected}", path.display())]
    Digest {
        path: PathBuf,
        what: String,
        expected: String,
        found: String,
    },
    #[error("{} cannot be read: {source}", path.display())]
    Archive { path: PathBuf, source: LayerError },
    #[error("the image cannot be given that shape: {problem}")]
    Shape { problem: String },
    #[error("{place} takes an image of one platform, and this is an index of several")]
    Index { place: String },
    #[error("`{program}` {problem}")]
    Program {
        program: &'static str,
        problem: String,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Oci(#[from] OciError),
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        return "none with a name".into();
    }
    let mut text: Vec<String> = names
        .iter()
        .take(10)
        .map(|name| format!("`{name}`"))
        .collect();
    if names.len() > 10 {
        text.push("…".into());
    }
    text.join(", ")
}

impl TransportError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Location { .. } => Some(FORMS.into()),
            Self::Missing { .. } => {
                Some("check the path; it is taken from the current directory on".into())
            }
            Self::Archive { .. } | Self::Digest { .. } => {
                Some("the file may have been cut or changed on its way: copy it again".into())
            }
            Self::Program { program, .. } => Some(format!(
                "is {program} installed, and does it work for this user? An archive (docker-archive:FILE) is the other way"
            )),
            Self::Shape { .. } => {
                Some("take --compression gzip with --format docker, or --format oci".into())
            }
            Self::Index { .. } => Some(
                "name one platform with --platform, or copy to oci:DIR, oci-archive:FILE, dir:DIR or docker://REF"
                    .into(),
            ),
            Self::Registry(error) => error.hint(),
            _ => None,
        }
    }

    pub(super) fn io(doing: &'static str, path: &std::path::Path, source: io::Error) -> Self {
        let path = path.to_owned();
        if doing == "open" && source.kind() == io::ErrorKind::NotFound {
            return Self::Missing { path };
        }
        Self::Io {
            doing,
            path,
            source,
        }
    }

    pub(super) fn malformed(path: &std::path::Path, problem: impl Into<String>) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}
