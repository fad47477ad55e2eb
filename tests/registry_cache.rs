//! A cache in a registry: machines with an empty disk find there what another one made.

#![allow(clippy::unwrap_used)] // outside of #[test] functions too

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::process;
use crate::support::registry::Registry;
use crate::support::warpdrive::{PYTHON_311, Warpdrive, example};

/// A registry with the builder in it, and a machine that has made an image and filled the cache.
struct Setting {
    registry: Registry,
    builder: String,
    cache: String,
    name: String,
    first: Value,
}

impl Setting {
    fn new(source: &Path) -> Self {
        let registry = Registry::start();
        let local = Warpdrive::with(PYTHON_311);
        let builder = registry.reference("team/python:3.11");
        local.run(&["push", PYTHON_311, &format!("docker://{builder}")]);
        let cache = registry.reference("team/cache");
        let name = registry.reference("team/app:1");
        let writer = Warpdrive::new();
        let arguments = ["--builder", &builder, "--cache-to", &cache, "--push"];
        let first = writer.image(&name, source, &arguments);
        Self {
            registry,
            builder,
            cache,
            name,
            first,
        }
    }

    /// A build on a machine with an empty disk.
    fn fresh(&self, source: &Path, more: &[&str]) -> (Value, String) {
        let machine = Warpdrive::new();
        let path = source.to_str().unwrap();
        let fixed = [
            "image",
            &self.name,
            "--path",
            path,
            "--builder",
            &self.builder,
            "--cache-from",
            &self.cache,
            "--push",
            "--json",
        ];
        let output = machine.output(&[&fixed[..], more].concat());
        let words = process::words(&output);
        assert!(output.status.success(), "{words}");
        (serde_json::from_slice(&output.stdout).unwrap(), words)
    }

    fn tags(&self, kind: &str) -> Vec<String> {
        let tags = self.registry.tags("team/cache");
        tags.into_iter()
            .filter(|tag| tag.starts_with(kind))
            .collect()
    }
}

fn flask() -> PathBuf {
    example("flask")
}

#[test]
fn an_empty_disk_has_distributions_from_the_registry_and_gives_the_same_image() {
    let setting = Setting::new(&flask());
    assert!(
        setting.tags("f1-").len() > 3,
        "{:?}",
        setting.registry.tags("team/cache")
    );
    let (second, words) = setting.fresh(&flask(), &[]);
    assert_eq!(second["digest"], setting.first["digest"], "{words}");
    assert!(words.contains("distributions from the cache"), "{words}");
    assert!(
        !words.contains("Installed "),
        "nothing was made anew: {words}"
    );
}
