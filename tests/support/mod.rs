//! Real registries, container engines and users for the integration tests.
//!
//! Every fixture lives in an [`enclosure::Enclosure`]: a process and mount namespace of its own that
//! takes all its processes, mounts, files and control groups with it when the fixture is dropped,
//! when the test panics and when the test is killed. A tool that is not there is a failure that
//! names `make test-deps`, never a skipped test.

// Not every helper has a user in every build.
#![allow(dead_code, unreachable_pub)]
#![allow(
    clippy::must_use_candidate,
    clippy::missing_panics_doc,
    clippy::unwrap_used
)]

pub mod difference;
pub mod docker;
pub mod enclosure;
pub mod fake_registry;
pub mod fixture;
pub mod git_server;

pub mod http;
pub mod images;
pub mod interrupted;
pub mod kept;
pub mod made;
pub mod memory;
pub mod native;
pub mod package_index;
pub mod plain_server;
pub mod pod;
pub mod podman;
pub mod process;
pub mod registry;
pub mod repository;
pub mod run;
pub mod runc;

pub mod s2i;
pub mod s2i_builders;
pub mod secure_git;
pub mod shared_trees;
pub mod skopeo;
pub mod sound;
pub mod sound_registry;
pub mod source_tree;
pub mod stored;
pub mod tunnels;
pub mod users;
pub mod warpdrive;
pub mod websocket;
