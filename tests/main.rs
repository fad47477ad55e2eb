//! All integration tests as one program: they share their set-up, which is compiled and linked once.
//!
//! `cargo test --test integration registry::` runs those of a file.

mod app_commands;
mod applications;
mod architecture;
mod audit;
mod audit_rules;
mod audited_images_run;
mod bad_input;
mod bounds;
mod build_cache;
mod command_line;
mod consumers;
mod declared_dependencies;
mod dependencies;
mod file_circles;
mod fixtures;
mod image;
mod instrument;
mod laptop_and_image;
mod local;
mod lockfiles;
mod locks;
mod notebooks;
mod opal;
mod poisoned_packages;
mod red_team;
mod reference;
mod registry;
mod registry_base;
mod registry_commands;
mod registry_faults;
mod release_switches;
mod run;
mod s2i;
mod sandbox;
mod secrets_and_policies;
mod servers;
mod store;
mod support;
mod transport;
mod ways_to_root;
