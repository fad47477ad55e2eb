//! The pieces of the source-to-image protocol: what a builder image's labels say, which scripts there
//! are and where they come from, which users may run, what is injected, what runtime images get.
//!
//! Here: parsers for texts and files, and rules about their content. Not here: running a build
//! (`pipeline::s2i`), fetching the source (`source`), the command line (`cli::s2i`). Everything
//! from an image or a source tree is hostile: each parser bounds what it accepts and reports what
//! is wrong with the rest.

pub mod artifacts;
pub mod dockerfile;
pub mod environment;
pub mod labels;
pub mod mappings;
pub mod metadata;
pub mod onbuild;
pub mod scaffold;
pub mod scripts;
pub mod uids;

pub use mappings::{Artifact, Injection, Volume};
pub use scripts::{ScriptsUrl, Where};
pub use uids::AllowedUids;

/// Why a piece of the protocol cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum S2iError {
    /// Something that the user gave.
    #[error("{option} {value:?}: {problem}")]
    Option {
        option: &'static str,
        value: String,
        problem: String,
    },
    /// Something that an image says.
    #[error("label {label} of `{image}` is {value:?}: {problem}")]
    Label {
        label: &'static str,
        image: String,
        value: String,
        problem: String,
    },
    /// `.s2i/environment`, or the file of `-E`.
    #[error("{file}, line {line}: {problem}")]
    Environment {
        file: String,
        line: usize,
        problem: String,
    },
    #[error("/tmp/.s2i/image_metadata.json, which assemble wrote, {problem}")]
    Metadata { problem: String },
    #[error("`ONBUILD {trigger}` of `{image}` cannot be carried out: {problem}")]
    OnBuild {
        image: String,
        trigger: String,
        problem: String,
    },
}

/// A text that is safe in a message: without control characters, and of limited length.
pub(crate) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(200).collect();
    shown.retain(|c| !c.is_control());
    shown
}
