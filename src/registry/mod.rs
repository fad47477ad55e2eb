//! Registries: pulling, pushing and resolving images (OCI distribution-spec 1.1), and the few other
//! things that come over HTTP. The only place that speaks HTTP to other
//! machines.
//!
//! A [`Client`] owns a private `tokio` runtime; every call blocks, and several threads may call at
//! once. The way of a request, which is also the order in which to read:
//!
//! ```text
//!  pull, push/upload, manifest, fetch    which requests, in which order, and how answers are verified
//!      │
//!  session    one registry and repository: https or http, repetition, the meaning of refusals
//!      │ └── auth ── token, credentials, helper, challenge    the login
//!  agent      sends a request, and repeats what may be repeated
//!      │
//!  http       one exchange: connections, redirects, bodies, time limits (the `async` code of requests)
//! ```
//!
//! Not here: where blobs lie (they come and go through [`Blobs`]), files in other formats
//! (`transport`), words for the user beyond an error's text and [`RegistryError::hint`] (`cli`).
//! Whatever a registry says is taken as hostile: sizes are bounded, digests verified, texts tamed,
//! and a login goes nowhere but to the registry it is for and to its token server.

mod agent;
mod attach;
mod auth;
mod blobs;
mod caller_url;
mod certificates;
mod challenge;
mod configuration;
mod connect;
mod credential;
mod credentials;
mod daemon;
mod detail;
mod error;
mod fetch;
mod file;
pub mod foreign;
mod helper;
mod http;
mod index;
mod listing;
mod local;
mod login;
mod manifest;
mod parallel;
mod platform;
mod platforms;
mod progress;
mod proxy;
mod pull;
mod pull_several;
mod push;
mod put;
mod range;
mod referrers;
mod remote;
mod retry;
mod session;
mod stream;
mod token;
mod upload;

pub use attach::{Attached, Attachment};
pub use blobs::{BlobError, BlobSink, Blobs, Incoming};
pub use caller_url::host_and_port;
pub use daemon::Daemon;
pub use error::{Denied, Detail, RegistryError, Unreachable};
pub use fetch::{Page, is_ambiguous, join_url, with_login_of};
pub use index::IndexReport;
pub use login::AuthStore;
pub use manifest::{Document, Resolved};
pub use platform::{check_platform, choose};
pub use platforms::{Platforms, reduced};
pub use progress::{Direction, Event, Silent, Transfer, TransferListener};
pub use push::PushReport;
pub use remote::CopyOptions;
pub use retry::{Patience, Retry};
pub use session::{Client, ClientOptions, set_defaults};
