//! What a Python app is: how it is recognised, what it needs installed, how it is started.
//!
//! Everything here runs in three places: on the host, over a source tree, before any sandbox starts
//! ([`detect()`]); in the image at build ([`assemble`]) and at run time ([`run`]); on a laptop in a
//! virtual environment. It knows neither OCI nor sandboxes. The static executable at
//! `/opt/app-root/bin/warpdrive` contains nothing else.
//!
//! ```text
//!  files ──► settings ──► project ──► detect ──► plan ──► assemble ──► plan.json ──► run
//!  (a tree)  (.warpdrive, (require-   (syntax    (server,  (install,                  (start,
//!            environment)  ments)      trees)     entry)    collectstatic, compile)    setup, …)
//! ```

#![forbid(unsafe_code)]

pub mod adding;
pub mod address;
pub mod advice;
pub mod assemble;
pub mod cli;
pub mod contract;
pub mod declared;
pub mod dependencies;
pub mod detect;
pub mod environment;
pub mod files;
pub mod fixup;
#[cfg(feature = "host")]
pub mod git_version;
pub mod instrument;
pub mod jupyter;
pub mod listed;
pub mod lock;
pub mod metadata;
pub mod package;
pub mod pip_variables;
pub mod plan;
pub mod process;
pub mod progress;
pub mod project;
pub mod python;
pub mod python_version;
pub mod remedy;
pub mod requirement;
pub mod roots;
pub mod run;
pub mod server;
pub mod settings;
mod setup_cfg;
pub mod shell_words;

pub use detect::{DetectError, Detected, Options, detect, detect_project, python_request};
pub use plan::Plan;
