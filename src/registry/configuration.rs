//! `registries.conf` (containers-registries.conf(5), version 2; of version 1, its three lists): where
//! images really come from. Mirrors, places that prefixes stand for, registries that are blocked or may
//! be spoken to without TLS, aliases for short names, and where short names are looked for.
//!
//! Read are `$CONTAINERS_REGISTRIES_CONF`, or the user's `~/.config/containers/registries.conf`, or
//! `/etc/containers/registries.conf`, then `registries.conf.d/*.conf` in `/etc/containers` and in the
//! user's directory, by name: a later file's entry replaces an earlier one's of the same prefix; within one
//! file the first one counts, as for podman and skopeo.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::{RegistryError, tame};
use super::file;
use crate::oci::Reference;

/// Such files are small; a larger one is something else.
const MAX_FILE: u64 = 1024 * 1024;

/// What all files say together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Configuration {
    /// By prefix.
    entries: BTreeMap<String, Entry>,
    /// Short name → full name.
    aliases: BTreeMap<String, String>,
    search: Vec<String>,
}

/// One `[[registry]]`.
#[derive(Debug, Clone, Default)]
struct Entry {
    location: Option<String>,
    insecure: bool,
    blocked: bool,
    mirrors_by_digest_only: bool,
    mirrors: Vec<Mirror>,
    /// The file that says it.
    from: PathBuf,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mirror {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default, rename = "pull-from-mirror")]
    when: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    unqualified_search_registries: Option<Vec<String>>,
    #[serde(default)]
    registry: Vec<Written>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    /// Version 1.
    #[serde(default)]
    registries: BTreeMap<String, Listed>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    #[serde(default)]
    prefix: Option<String>,
    #[serde(default)]
    location: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<Mirror>,
}

#[derive(Debug, Default, Deserialize)]
struct Listed {
    #[serde(default)]
    registries: Vec<String>,
}

/// A repository of a registry, as it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub registry: String,
    pub repository: String,
    /// Not the registry of the name, but one that has copies.
    pub is_mirror: bool,
    /// It may be spoken to without TLS or with any certificate.
    pub insecure: bool,
}

/// The places of one image: a short name may mean several.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// In this order; mirrors come before the registry itself.
    pub places: Vec<Endpoint>,
    /// The registry itself, or a mirror, may not be asked.
    pub blocked: Option<RegistryError>,
}

impl Configuration {
    /// What the usual files say. One that is there and cannot be read is an error.
    pub(crate) fn load(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Result<Self, RegistryError> {
        let mut found = Self::default();
        for path in files(variable) {
            if let Some(text) = read(&path)? {
                found.add(&path, &text)?;
            }
        }
        Ok(found)
    }

    /// Takes one file in.
    pub(crate) fn add(&mut self, path: &Path, text: &str) -> Result<(), RegistryError> {
        let bad = |problem: String| RegistryError::File {
            path: path.to_owned(),
            problem,
        };
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error
                .span()
                .map_or(1, |span| text[..span.start.min(text.len())].lines().count());
            bad(format!("line {line}: {}", tame(error.message(), 200)))
        })?;
        if let Some(search) = file.unqualified_search_registries {
            self.search = search;
        }
        for (short, full) in file.aliases {
            // An empty one takes an earlier one back.
            if full.is_empty() {
                self.aliases.remove(&short);
            } else {
                self.aliases.insert(short, full);
            }
        }
        check_agreement(&file.registry).map_err(bad)?;
        let mut own = HashSet::new();
        for written in file.registry {
            let prefix = written
                .prefix
                .clone()
                .filter(|prefix| !prefix.is_empty())
                .or_else(|| written.location.clone())
                .ok_or_else(|| bad("a [[registry]] has neither prefix nor location".into()))?;
            if let Some(domain) = prefix.strip_prefix("*.")
                && (domain.is_empty() || domain.contains(['/', ':', '@', '*']))
            {
                return Err(bad(format!(
                    "a [[registry]] has prefix = \"{}\", and after `*.` there can be a domain only, without port and path",
                    tame(&prefix, 100)
                )));
            }
            for mirror in &written.mirror {
                if let Some(when) = mirror.when.as_deref()
                    && !["", "all", "digest-only", "tag-only"].contains(&when)
                {
                    return Err(bad(format!(
                        "the mirror `{}` has pull-from-mirror = \"{}\", which is not all, digest-only or tag-only",
                        tame(&mirror.location, 100),
                        tame(when, 50)
                    )));
                }
            }
            let bare = |location: String| location.trim_end_matches('/').to_owned();
            let mut mirrors = written.mirror;
            for mirror in &mut mirrors {
                mirror.location = bare(std::mem::take(&mut mirror.location));
            }
            let location = written.location.map(bare);
            let entry = Entry {
                location: location.filter(|location| !location.is_empty()),
                insecure: written.insecure,
                blocked: written.blocked,
                mirrors_by_digest_only: written.mirror_by_digest_only,
                mirrors,
                from: path.to_owned(),
            };
            let prefix = prefix.trim_end_matches('/').to_owned();
            if own.insert(prefix.clone()) {
                self.entries.insert(prefix, entry);
            }
        }
        for (kind, listed) in file.registries {
            if kind == "search" {
                self.search = listed.registries;
                continue;
            }
            for name in listed.registries {
                let entry = self.entries.entry(name).or_default();
                path.clone_into(&mut entry.from);
                entry.insecure |= kind == "insecure";
                entry.blocked |= kind == "block";
            }
        }
        Ok(())
    }

    /// Hosts that an [`Endpoint`] may reach without TLS or with any certificate, if it says so. `*.example.com` stands for all hosts of a domain.
    pub(crate) fn insecure_hosts(&self) -> impl Iterator<Item = String> {
        let host = |location: &str| location.split('/').next().unwrap_or_default().to_owned();
        let mut hosts = Vec::new();
        for (prefix, entry) in &self.entries {
            if entry.insecure {
                hosts.push(host(entry.location.as_deref().unwrap_or(prefix)));
            }
            let mirrors = entry.mirrors.iter().filter(|mirror| mirror.insecure);
            hosts.extend(mirrors.map(|mirror| host(&mirror.location)));
        }
        hosts.into_iter()
    }

    /// A registry itself, no repository of it.
    pub(crate) fn registry(&self, host: &str) -> Result<Endpoint, RegistryError> {
        let entry = self.entry(host, host).map(|(_, entry)| entry);
        entry.map_or(Ok(()), |entry| entry.check(host))?;
        Ok(Endpoint {
            registry: host.to_owned(),
            repository: String::new(),
            is_mirror: false,
            insecure: entry.is_some_and(|entry| entry.insecure),
        })
    }

    /// Where a name leads to, for what is written there: never a mirror.
    pub(crate) fn place(&self, reference: &Reference) -> Result<Endpoint, RegistryError> {
        let full = format!("{}/{}", reference.registry(), reference.repository());
        self.own_place(&full, reference)
    }

    /// The place of a name in full itself, and not of its mirrors. What it leads to may be blocked as well.
    fn own_place(&self, full: &str, reference: &Reference) -> Result<Endpoint, RegistryError> {
        let Some((rest, entry)) = self.entry(&whole(full, reference), full) else {
            return split(full, false, false);
        };
        entry.check(full.split('/').next().unwrap_or(full))?;
        match &entry.location {
            Some(location) => {
                let full = format!("{location}{rest}");
                self.allowed(&full, reference, false, entry.insecure)
            }
            None => split(full, false, entry.insecure),
        }
    }

    /// A place that an entry leads to, unless it is blocked itself.
    fn allowed(
        &self,
        full: &str,
        reference: &Reference,
        is_mirror: bool,
        insecure: bool,
    ) -> Result<Endpoint, RegistryError> {
        let place = split(full, is_mirror, insecure)?;
        if let Some((_, entry)) = self.entry(&whole(full, reference), full) {
            entry.check(&place.registry)?;
        }
        Ok(place)
    }

    /// Where an image may be fetched from: for each image that the name may mean, in this order. A registry that
    /// is blocked is not asked, and its mirrors are, unless they are blocked themselves.
    pub(crate) fn sources(&self, reference: &Reference) -> Result<Vec<Sources>, RegistryError> {
        let mut images = Vec::new();
        let mut blocked = None;
        for name in self.in_full(reference) {
            let mut found = Sources::default();
            for place in self.places(&name, reference)? {
                match place {
                    Ok(place) => found.places.push(place),
                    Err(error @ RegistryError::Blocked { .. }) => found.blocked = Some(error),
                    Err(error) => return Err(error),
                }
            }
            if found.places.is_empty() {
                // Of several that are searched, the others may be used.
                blocked = blocked.or(found.blocked);
            } else {
                images.push(found);
            }
        }
        match blocked {
            Some(blocked) if images.is_empty() => Err(blocked),
            _ => Ok(images),
        }
    }

    /// The places of a name in full, each with what is wrong with it.
    fn places(
        &self,
        name: &str,
        reference: &Reference,
    ) -> Result<Vec<Result<Endpoint, RegistryError>>, RegistryError> {
        name.parse::<Reference>().map_err(|_| RegistryError::Url {
            url: tame(name, 200),
            problem: "registries.conf makes this of the name, and it is not one".into(),
        })?;
        let mut places = Vec::new();
        if let Some((rest, entry)) = self.entry(&whole(name, reference), name) {
            let by_digest = reference.digest().is_some();
            for mirror in &entry.mirrors {
                let when = mirror.when.as_deref();
                let fits = match when {
                    Some("digest-only") => by_digest,
                    Some("tag-only") => !by_digest,
                    _ => by_digest || !entry.mirrors_by_digest_only,
                };
                if fits {
                    let full = format!("{}{rest}", mirror.location);
                    places.push(self.allowed(&full, reference, true, mirror.insecure));
                }
            }
        }
        places.push(self.own_place(name, reference));
        Ok(places)
    }

    /// A short name's full ones.
    fn in_full(&self, reference: &Reference) -> Vec<String> {
        let own = format!("{}/{}", reference.registry(), reference.repository());
        if reference.has_host() {
            return vec![own];
        }
        let given = reference.as_given();
        let bare = given.split('@').next().unwrap_or(given);
        let bare = match bare.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => name,
            _ => bare,
        };
        if let Some(full) = self.aliases.get(bare) {
            return vec![full.clone()];
        }
        if self.search.is_empty() {
            return vec![own];
        }
        let full = |registry: &String| {
            if registry == "docker.io" {
                own.clone()
            } else {
                format!("{}/{bare}", registry.trim_end_matches('/'))
            }
        };
        self.search.iter().map(full).collect()
    }

    /// The entry of the longest prefix, and what comes after the prefix in `full`.
    fn entry<'f>(&self, whole: &str, full: &'f str) -> Option<(&'f str, &Entry)> {
        let fitting = self.entries.iter().filter(|(prefix, _)| {
            if let Some(domain) = prefix.strip_prefix('*') {
                let host = whole.split(['/', '@']).next().unwrap_or_default();
                // Of a domain, all ports are meant.
                let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
                return host.ends_with(domain);
            }
            whole
                .strip_prefix(prefix.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']))
        });
        let (prefix, entry) = fitting.max_by_key(|(prefix, _)| prefix.len())?;
        // With a wildcard, a location stands for the whole host with its port.
        let length = if prefix.starts_with('*') {
            full.find('/').unwrap_or(full.len())
        } else {
            prefix.len()
        };
        Some((full.get(length..).unwrap_or_default(), entry))
    }
}

impl Entry {
    /// Refuses what it blocks.
    fn check(&self, host: &str) -> Result<(), RegistryError> {
        if !self.blocked {
            return Ok(());
        }
        Err(RegistryError::Blocked {
            host: host.to_owned(),
            by: self.from.clone(),
        })
    }
}

/// One place has one rule: podman and skopeo refuse a file that says of a location that it is blocked, or insecure,
/// and that it is not. We do not guess which one was meant.
fn check_agreement(entries: &[Written]) -> Result<(), String> {
    let mut known: BTreeMap<&str, &Written> = BTreeMap::new();
    for entry in entries {
        let place = entry.location.as_deref().or(entry.prefix.as_deref());
        let place = place.unwrap_or_default().trim_end_matches('/');
        if place.is_empty() || place.starts_with('*') {
            continue;
        }
        let first = *known.entry(place).or_insert(entry);
        let word = if first.blocked != entry.blocked {
            "blocked"
        } else if first.insecure != entry.insecure {
            "insecure"
        } else {
            continue;
        };
        return Err(format!(
            "two [[registry]] entries for the location `{}` do not agree on `{word}`: say it in both, or in neither",
            tame(place, 100)
        ));
    }
    Ok(())
}

/// `host/path:tag@digest`, which prefixes are compared with.
fn whole(full: &str, reference: &Reference) -> String {
    let given = reference.as_given();
    let tag = reference
        .tag()
        .map_or_else(String::new, |tag| format!(":{tag}"));
    let digest = given.split_once('@').map_or("", |(_, digest)| digest);
    let digest = if digest.is_empty() {
        String::new()
    } else {
        format!("@{digest}")
    };
    format!("{full}{tag}{digest}")
}

fn split(full: &str, is_mirror: bool, insecure: bool) -> Result<Endpoint, RegistryError> {
    let bad = || RegistryError::Url {
        url: tame(full, 200),
        problem: "registries.conf makes this of the name, and it is not a repository of a registry"
            .into(),
    };
    let (registry, repository) = full.split_once('/').ok_or_else(bad)?;
    let harmless = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-._:/[]".contains(&b))
    };
    let parts = || repository.split('/');
    if !harmless(registry)
        || !harmless(repository)
        || parts().any(|part| part.is_empty() || part == "..")
    {
        return Err(bad());
    }
    Ok(Endpoint {
        registry: registry.to_owned(),
        repository: repository.to_owned(),
        is_mirror,
        insecure,
    })
}

fn files(variable: &dyn Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let system = Path::new("/etc/containers");
    let own = variable("XDG_CONFIG_HOME")
        .or_else(|| variable("HOME").map(|home| home.join(".config")))
        .map(|config| config.join("containers"));
    let mut files = Vec::new();
    let mut candidates = own.iter().map(|own| own.join("registries.conf"));
    let user = candidates.find(|path| path.is_file());
    let named = variable("CONTAINERS_REGISTRIES_CONF").or(user);
    files.push(named.unwrap_or_else(|| system.join("registries.conf")));
    for directory in [Some(system.to_owned()), own].into_iter().flatten() {
        let Ok(entries) = std::fs::read_dir(directory.join("registries.conf.d")) else {
            continue;
        };
        let mut parts: Vec<PathBuf> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|extension| extension == "conf")
            })
            .collect();
        parts.sort();
        files.extend(parts);
    }
    files
}

fn read(path: &Path) -> Result<Option<String>, RegistryError> {
    let Some(bytes) = file::read(path, MAX_FILE)? else {
        return Ok(None);
    };
    let text = String::from_utf8(bytes).map_err(|_| RegistryError::File {
        path: path.to_owned(),
        problem: "it is not text in UTF-8".to_owned(),
    })?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str = r#"
        unqualified-search-registries = ["reg.example", "docker.io"]
        short-name-mode = "enforcing"
        [aliases]
        "fedora" = "registry.fedoraproject.org/fedora"
        [[registry]]
        prefix = "docker.io"
        location = "docker.io"
        [[registry.mirror]]
        location = "mirror.example:5000/hub"
        insecure = true
        [[registry.mirror]]
        location = "digests.example"
        pull-from-mirror = "digest-only"
        [[registry]]
        prefix = "corp.example/team"
        location = "inner.example:5000/t"
        insecure = true
        [[registry]]
        location = "bad.example"
        blocked = true
        [[registry]]
        prefix = "*.evil.example"
        blocked = true
        [[registry]]
        prefix = "*.wild.example"
        insecure = true
        [[registry.mirror]]
        location = "mirror.example:5000/wild"
        [[registry]]
        prefix = "shared.example/dev"
        insecure = true
    "#;

    fn configuration(text: &str) -> Configuration {
        let mut found = Configuration::default();
        found.add(Path::new("registries.conf"), text).unwrap();
        found
    }

    fn sources(found: &Configuration, name: &str) -> Vec<String> {
        let images = found.sources(&name.parse().unwrap()).unwrap();
        let places = images.iter().flat_map(|image| &image.places);
        let shown = places.map(|place| {
            let mirror = if place.is_mirror { " (mirror)" } else { "" };
            format!("{}/{}{mirror}", place.registry, place.repository)
        });
        shown.collect()
    }

    #[test]
    fn names_lead_to_places() {
        let found = configuration(TEXT);
        let digest = format!("@sha256:{}", "a".repeat(64));
        for (name, expected) in [
            (
                "docker.io/library/python:3",
                vec![
                    "mirror.example:5000/hub/library/python (mirror)",
                    "docker.io/library/python",
                ],
            ),
            (
                &format!("docker.io/library/python{digest}"),
                vec![
                    "mirror.example:5000/hub/library/python (mirror)",
                    "digests.example/library/python (mirror)",
                    "docker.io/library/python",
                ],
            ),
            ("corp.example/team/opal", vec!["inner.example:5000/t/opal"]),
            ("corp.example/teams/opal", vec!["corp.example/teams/opal"]),
            (
                "a.b.wild.example/team/opal",
                vec![
                    "mirror.example:5000/wild/team/opal (mirror)",
                    "a.b.wild.example/team/opal",
                ],
            ),
            ("fedora:41", vec!["registry.fedoraproject.org/fedora"]),
            (
                "opal:1",
                vec![
                    "reg.example/opal",
                    "mirror.example:5000/hub/library/opal (mirror)",
                    "docker.io/library/opal",
                ],
            ),
        ] {
            assert_eq!(sources(&found, name), expected, "{name}");
        }
        for blocked in ["bad.example/x", "bad.example/x:1", "a.evil.example/x"] {
            let reference: Reference = blocked.parse().unwrap();
            assert!(matches!(
                found.place(&reference),
                Err(RegistryError::Blocked { .. })
            ));
            assert!(found.sources(&reference).is_err(), "{blocked}");
        }
        let other: Reference = "good.example/x".parse().unwrap();
        assert_eq!(found.place(&other).unwrap().registry, "good.example");
        let mut hosts: Vec<_> = found.insecure_hosts().collect();
        hosts.sort();
        assert_eq!(
            hosts,
            [
                "*.wild.example",
                "inner.example:5000",
                "mirror.example:5000",
                "shared.example"
            ]
        );
    }

    #[test]
    fn what_is_insecure_is_said_of_an_endpoint() {
        let found = configuration(TEXT);
        for (name, expected) in [
            ("docker.io/library/python", vec![true, false, false]),
            ("corp.example/team/opal", vec![true]),
            ("corp.example/opal", vec![false]),
            ("shared.example/dev/opal", vec![true]),
            ("shared.example/development/opal", vec![false]),
            ("shared.example/prod/opal", vec![false]),
            ("a.wild.example/opal", vec![false, true]),
        ] {
            let name = match name {
                "docker.io/library/python" => format!("{name}@sha256:{}", "a".repeat(64)),
                name => name.to_owned(),
            };
            let images = found.sources(&name.parse().unwrap()).unwrap();
            let places = images.iter().flat_map(|image| &image.places);
            let insecure: Vec<bool> = places.map(|place| place.insecure).collect();
            assert_eq!(insecure, expected, "{name}");
        }
        for (host, insecure) in [
            ("shared.example", false),
            ("a.wild.example", true),
            ("wild.example", false),
        ] {
            assert_eq!(found.registry(host).unwrap().insecure, insecure, "{host}");
        }
    }

    /// As podman and skopeo read them.
    #[test]
    fn a_wildcard_counts_for_every_port_and_may_lead_elsewhere() {
        let found = configuration(
            "[[registry]]\nprefix = '*.corp.example'\nblocked = true\n\
             [[registry]]\nprefix = '*.dev.example'\ninsecure = true\n\
             [[registry.mirror]]\nlocation = 'm.example/dev/'\n\
             [[registry]]\nprefix = '*.hub.example'\nlocation = 'inner.example/hub/'\n\
             [[registry]]\nprefix = 'plain.example'\nlocation = 'inner.example/x//'\n",
        );
        for name in [
            "a.corp.example:5000/x",
            "a.corp.example/x:1",
            "a.b.corp.example:1/x",
        ] {
            let place = found.place(&name.parse().unwrap());
            assert!(
                matches!(place, Err(RegistryError::Blocked { .. })),
                "{name}"
            );
        }
        for host in ["a.corp.example:5000", "a.corp.example"] {
            assert!(found.registry(host).is_err(), "{host}");
        }
        assert!(found.registry("a.dev.example:5000").unwrap().insecure);
        for (name, expected) in [
            (
                "a.dev.example:5000/x",
                vec!["m.example/dev/x (mirror)", "a.dev.example:5000/x"],
            ),
            ("a.hub.example:5000/x/y", vec!["inner.example/hub/x/y"]),
            ("a.hub.example/x:1", vec!["inner.example/hub/x"]),
            ("plain.example/y", vec!["inner.example/x/y"]),
            ("corp.example/x", vec!["corp.example/x"]),
            ("acorp.example/x", vec!["acorp.example/x"]),
        ] {
            assert_eq!(sources(&found, name), expected, "{name}");
        }
    }

    #[test]
    fn a_blocked_registry_is_passed_by_in_a_search() {
        let text = "unqualified-search-registries = ['bad.example', 'good.example']\n\
                    [[registry]]\nlocation = 'bad.example'\nblocked = true\n";
        assert_eq!(sources(&configuration(text), "opal"), ["good.example/opal"]);
        let all = "[[registry]]\nlocation = 'good.example'\nblocked = true\n";
        let found = configuration(&format!("{text}{all}"));
        let error = found.sources(&"opal".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("bad.example"), "{error}");
    }

    /// Each row is what skopeo does with the same file.
    #[test]
    fn what_is_blocked_is_not_asked_and_its_mirrors_are() {
        let mirror = "[[registry.mirror]]\nlocation = 'm.example/x'\n";
        let a = "[[registry]]\nprefix = 'a.example'\nlocation = 'b.example/z'\n";
        let blocks = |place: &str| format!("[[registry]]\nlocation = '{place}'\nblocked = true\n");
        for (text, expected) in [
            // The registry of the name, its mirror not.
            (
                format!("{}{mirror}", blocks("a.example")),
                vec!["m.example/x/opal (mirror)"],
            ),
            (
                format!("[[registry]]\nprefix = '*.example'\nblocked = true\n{mirror}"),
                vec![],
            ),
            // A mirror by another entry.
            (
                format!("{a}{mirror}{}", blocks("m.example")),
                vec!["b.example/z/opal"],
            ),
            (
                format!("{a}{mirror}{}", blocks("m.example/x/opal")),
                vec!["b.example/z/opal"],
            ),
            (
                format!("{a}{mirror}{}", blocks("m.example/y")),
                vec!["m.example/x/opal (mirror)", "b.example/z/opal"],
            ),
            // The location by another entry.
            (
                format!("{a}{mirror}{}", blocks("b.example")),
                vec!["m.example/x/opal (mirror)"],
            ),
            (format!("{a}{}", blocks("b.example")), vec![]),
            (
                format!("{a}[[registry]]\nprefix = '*.example'\nblocked = true\n"),
                vec![],
            ),
        ] {
            let found = configuration(&text);
            if expected.is_empty() {
                let error = found
                    .sources(&"a.example/opal".parse().unwrap())
                    .unwrap_err();
                assert!(matches!(error, RegistryError::Blocked { .. }), "{text}");
            } else {
                assert_eq!(sources(&found, "a.example/opal"), expected, "{text}");
            }
        }
        // What is written goes to no mirror, and not where nothing may be.
        let found = configuration(&format!("{a}{}", blocks("b.example")));
        let place = found.place(&"a.example/opal".parse().unwrap());
        assert!(matches!(place, Err(RegistryError::Blocked { host, .. }) if host == "b.example"));
    }

    /// Of one file the first entry of a prefix counts, of several files the last one, as for skopeo.
    #[test]
    fn entries_of_one_prefix() {
        let entry = |prefix: &str, location: &str, more: &str| {
            format!("[[registry]]\nprefix = '{prefix}'\nlocation = '{location}'\n{more}\n")
        };
        let (one, two) = (
            entry("a.example", "one.example", ""),
            entry("a.example/", "two.example", ""),
        );
        let mut found = configuration(&format!("{one}{two}"));
        assert_eq!(sources(&found, "a.example/opal"), ["one.example/opal"]);
        let later = format!("{two}{one}");
        found.add(Path::new("later.conf"), &later).unwrap();
        assert_eq!(sources(&found, "a.example/opal"), ["two.example/opal"]);
        // Of another file it may be another rule; of the same one it is a mistake.
        let (free, blocked) = (
            entry("b.example", "b.example", ""),
            entry("b.example", "b.example", "blocked = true"),
        );
        for text in [&free, &blocked] {
            found.add(Path::new("part.conf"), text).unwrap();
        }
        assert!(found.sources(&"b.example/opal".parse().unwrap()).is_err());
        found.add(Path::new("part.conf"), &free).unwrap();
        assert_eq!(sources(&found, "b.example/opal"), ["b.example/opal"]);
        for (text, word) in [
            (format!("{free}{blocked}"), "`blocked`"),
            (
                format!("{blocked}{}", entry("c.example", "b.example", "")),
                "`blocked`",
            ),
            (
                format!(
                    "{free}{}",
                    entry("b.example", "b.example", "insecure = true")
                ),
                "`insecure`",
            ),
        ] {
            let mut found = Configuration::default();
            let error = found
                .add(Path::new("r.conf"), &text)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(word) && error.contains("`b.example`"),
                "{error}"
            );
        }
    }

    #[test]
    fn parts_of_the_configuration_count_beside_a_file_that_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let parts = dir.path().join("containers/registries.conf.d");
        std::fs::create_dir_all(&parts).unwrap();
        let part = parts.join("block.conf");
        std::fs::write(&part, "").unwrap();
        let variable = |name: &str| match name {
            "CONTAINERS_REGISTRIES_CONF" => Some(PathBuf::from("/named.conf")),
            "XDG_CONFIG_HOME" => Some(dir.path().to_owned()),
            _ => None,
        };
        let found = files(&variable);
        assert_eq!(found.first().unwrap(), Path::new("/named.conf"));
        assert_eq!(found.last().unwrap(), &part);
    }

    #[test]
    fn nothing_is_said_and_nothing_changes() {
        let found = configuration("");
        assert_eq!(sources(&found, "opal"), ["docker.io/library/opal"]);
    }

    #[test]
    fn the_lists_of_version_1_count() {
        let found = configuration(
            "[registries.search]\nregistries = ['reg.example']\n[registries.block]\nregistries = ['bad.example']\n[registries.insecure]\nregistries = ['dev.example']\n",
        );
        assert_eq!(sources(&found, "opal"), ["reg.example/opal"]);
        assert!(found.place(&"bad.example/x".parse().unwrap()).is_err());
        assert_eq!(found.insecure_hosts().collect::<Vec<_>>(), ["dev.example"]);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, part) in [
            ("\n\nx = [", "line 3"),
            (
                "[[registry]]\nblocked = true",
                "neither prefix nor location",
            ),
            (
                "[[registry]]\nprefix = '*.x.example:5000'",
                "prefix = \"*.x.example:5000\"",
            ),
            (
                "[[registry]]\nprefix = '*.x.example/team'",
                "prefix = \"*.x.example/team\"",
            ),
            (
                "[[registry]]\nprefix = 'x'\n[[registry.mirror]]\nlocation = 'm'\npull-from-mirror = 'digests'",
                "pull-from-mirror = \"digests\"",
            ),
        ] {
            let mut found = Configuration::default();
            let error = found.add(Path::new("r.conf"), text).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(part) && error.contains("r.conf"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}", name in "[a-z.]{1,8}/[a-z]{1,8}") {
            let mut found = Configuration::default();
            if found.add(Path::new("r.conf"), &text).is_ok()
                && let Ok(reference) = name.parse::<Reference>()
            {
                let _ = found.sources(&reference);
            }
        }
    }
}
