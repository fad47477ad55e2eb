//! Why a builder image could not be made, found or used.

use std::io;
use std::path::PathBuf;

use crate::layer::LayerError;
use crate::oci::OciError;
use crate::rootfs::RootfsError;
use crate::sandbox::SandboxError;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum BuilderError {
    #[error("this warpdrive needs {needed}, and {reference} has {found}")]
    OtherLibc {
        reference: String,
        needed: String,
        found: String,
    },
    #[error("there is no builder image definition `{name}`")]
    UnknownDefinition { name: String, known: Vec<String> },
    #[error("there is no builder image `{reference}`")]
    Misspelt { reference: String, meant: String },
    #[error("the builder image `{name}` has not been made on this machine yet")]
    NotMade { name: String },
    #[error("no builder image has a Python that fits {wanted} ({wanted_by})")]
    NoBuilderFits {
        wanted: String,
        wanted_by: String,
        /// Names and Pythons of the existing builders.
        known: Vec<(String, String)>,
    },
    #[error("could not read {}: {source}", path.display())]
    ReadDefinition { path: PathBuf, source: io::Error },
    #[error("{} is not a builder definition: {problem}", path.display())]
    Definition { path: PathBuf, problem: String },
    #[error(
        "`mmdebstrap` is not installed, and it is what makes a builder image from Debian's packages"
    )]
    NoMmdebstrap,
    #[error(
        "this `mmdebstrap` is too old to make a builder image: that of Debian 12 or a later one is needed"
    )]
    OldMmdebstrap,
    #[error("could not start {program}: {source}")]
    Start { program: String, source: io::Error },
    #[error("mmdebstrap ended with status {status} while making `{name}`")]
    Mmdebstrap {
        name: String,
        status: i32,
        tail: Vec<String>,
    },
    #[error("interrupted")]
    Interrupted,
    #[error("uv could not get Python {version} (status {status})")]
    UvPython {
        version: String,
        status: i32,
        tail: Vec<String>,
    },
    #[error(
        "making the builder image `{name}` needs root, or a range of subordinate ids for this user in /etc/subuid and /etc/subgid"
    )]
    NoSubordinateIds {
        name: String,
        /// An image of a registry with the same Python.
        official: String,
    },
    #[error(
        "making a builder image without root needs a temporary directory that every user may enter, and none of {} is one",
        tried.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoOpenPlace { tried: Vec<PathBuf> },
    #[error("the builder image `{reference}` has no Python 3 on its PATH")]
    NoPython { reference: String, detail: String },
    #[error(
        "the app asks for Python {wanted} ({wanted_by}), but the builder image `{reference}` has Python {found}"
    )]
    WrongPython {
        reference: String,
        wanted: String,
        wanted_by: String,
        found: String,
    },
    #[error("the builder image `{reference}` is for {found}, and this machine is {wanted}")]
    WrongPlatform {
        reference: String,
        found: String,
        wanted: String,
    },
    #[error("could not read {what} of the builder image `{reference}`: {source}")]
    ReadBase {
        what: String,
        reference: String,
        source: io::Error,
    },
    #[error("the builder image's name: {error}")]
    Reference { error: crate::oci::ReferenceError },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Rootfs(#[from] RootfsError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Oci(#[from] OciError),
}
