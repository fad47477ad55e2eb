//! What differs between an image and an earlier one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Inspection;

/// A distribution that was added, removed, or has another version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DistributionChange {
    pub name: String,
    /// `None`: it was added.
    pub before: Option<String>,
    /// `None`: it was removed.
    pub after: Option<String>,
}

/// From one image to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Number and bytes of the layers that both have.
    pub same_layers: usize,
    pub same_bytes: u64,
    pub new_layers: usize,
    pub new_bytes: u64,
    pub gone_layers: usize,
    pub distributions: Vec<DistributionChange>,
    /// Changes of the configuration: the key, and its value before and after.
    pub configuration: Vec<(String, String, String)>,
    pub added: Vec<PathBuf>,
    pub removed: Vec<PathBuf>,
    pub changed: Vec<PathBuf>,
}

impl Changes {
    /// From `before` to `after`. Files are compared by their content if both were hashed, else by
    /// their size.
    pub fn between(before: &Inspection, after: &Inspection) -> Self {
        let mut changes = Self {
            distributions: distributions(before, after),
            configuration: configuration(before, after),
            ..Self::default()
        };
        for layer in &after.layers {
            if before
                .layers
                .iter()
                .any(|known| known.digest == layer.digest)
            {
                changes.same_layers += 1;
                changes.same_bytes += layer.size;
            } else {
                changes.new_layers += 1;
                changes.new_bytes += layer.size;
            }
        }
        let gone = before.layers.iter();
        changes.gone_layers = gone
            .filter(|layer| {
                after
                    .layers
                    .iter()
                    .all(|known| known.digest != layer.digest)
            })
            .count();
        let (old, new) = (&before.contents.files, &after.contents.files);
        for (path, file) in new {
            match old.get(path) {
                None => changes.added.push(path.clone()),
                Some(known) if (known.size, known.digest) != (file.size, file.digest) => {
                    changes.changed.push(path.clone());
                }
                Some(_) => {}
            }
        }
        let gone = old.keys().filter(|path| !new.contains_key::<Path>(path));
        changes.removed = gone.cloned().collect();
        changes
    }
}

fn distributions(before: &Inspection, after: &Inspection) -> Vec<DistributionChange> {
    let versions = |inspection: &Inspection| -> BTreeMap<String, String> {
        let all = inspection.distributions.iter();
        all.map(|found| (found.name.clone(), found.version.clone()))
            .collect()
    };
    let (old, new) = (versions(before), versions(after));
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .filter(|name| old.get(*name) != new.get(*name))
        .map(|name| DistributionChange {
            name: name.clone(),
            before: old.get(name).cloned(),
            after: new.get(name).cloned(),
        })
        .collect()
}

fn configuration(before: &Inspection, after: &Inspection) -> Vec<(String, String, String)> {
    let facts = |inspection: &Inspection| -> BTreeMap<String, String> {
        let config = &inspection.image.config;
        let mut facts: BTreeMap<String, String> = config
            .env()
            .into_iter()
            .map(|(name, value)| (format!("env {name}"), value))
            .collect();
        facts.insert("user".into(), config.user().to_owned());
        facts.insert("directory".into(), config.working_dir().to_owned());
        facts.insert("entrypoint".into(), config.words("Entrypoint").join(" "));
        facts.insert("command".into(), config.words("Cmd").join(" "));
        facts.insert("ports".into(), config.exposed_ports().join(", "));
        for (key, value) in &inspection.plan {
            facts.insert(format!("plan {key}"), value.clone());
        }
        facts
    };
    let (old, new) = (facts(before), facts(after));
    let keys: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| {
            let of = |map: &BTreeMap<String, String>| map.get(key).cloned().unwrap_or_default();
            (key.clone(), of(&old), of(&new))
        })
        .collect()
}
