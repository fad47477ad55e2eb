//! Why a build cannot run in place.

use std::io;
use std::path::PathBuf;

use crate::oci::OciError;
use crate::rootfs::RootfsError;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum PodError {
    #[error("there is no {}: this is not an image of `warpdrive builder push`", path.display())]
    NoBaseFile { path: PathBuf },
    #[error("{} is not what `warpdrive builder push` writes: {problem}", path.display())]
    BaseFile { path: PathBuf, problem: String },
    #[error("{} is in /opt/app-root, and would go into the image", path.display())]
    Dirty {
        path: PathBuf,
        /// By its name, it contains a login.
        login: bool,
    },
    #[error("{} is not as the image has it", path.display())]
    Changed { path: PathBuf },
    #[error("HOME is {}, in the application's root: what programs write there would go into the image", home.display())]
    Home { home: PathBuf },
    #[error("this process is root, and a build in place is done as an ordinary user")]
    Root,
    #[error("{} cannot be written to", path.display())]
    NotWritable { path: PathBuf, source: io::Error },
    #[error("{doing} {}: {source}", path.display())]
    Io {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "there is no fence for the code of the application: this kernel has no Landlock that could fence it"
    )]
    NoFence {
        /// What the code could read.
        credentials: Vec<PathBuf>,
    },
    #[error("{what} is not possible in place")]
    NotHere { what: String, instead: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    #[error(transparent)]
    Oci(#[from] OciError),
}

impl PodError {
    pub(super) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            doing,
            path,
            source,
        }
    }
}
