//! Platforms (image-spec, `image-index.md`): which image of an index fits one.

use serde::Deserialize;

use super::{Descriptor, ImageIndex, this_architecture};

/// The platform of this machine in the words of OCI: `linux/amd64`.
pub fn this_platform() -> String {
    format!("linux/{}", this_architecture())
}

/// `OS/ARCH[/VARIANT]`, as an index, a configuration or a user gives it. Its text is not fit for a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PlatformName {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl std::fmt::Display for PlatformName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(formatter, "/{variant}"),
            None => Ok(()),
        }
    }
}

/// The names that `uname -m` has for architectures, and OCI has others for.
const OTHER_NAMES: [(&str, &str); 3] = [
    ("x86_64", "amd64"),
    ("x86-64", "amd64"),
    ("aarch64", "arm64"),
];

/// `OS/ARCH[/VARIANT]` in the words of OCI: `linux/x86_64` is `linux/amd64`.
pub fn in_words_of_oci(text: &str) -> String {
    let mut parts: Vec<&str> = text.split('/').collect();
    if let Some(architecture) = parts.get_mut(1)
        && let Some((_, own)) = OTHER_NAMES.iter().find(|(other, _)| other == architecture)
    {
        *architecture = own;
    }
    parts.join("/")
}

impl PlatformName {
    pub fn read(text: &str) -> Self {
        let text = in_words_of_oci(text);
        let mut parts = text.splitn(3, '/').map(str::to_owned);
        Self {
            os: parts.next().unwrap_or_default(),
            architecture: parts.next().unwrap_or_default(),
            variant: parts.next().filter(|variant| !variant.is_empty()),
        }
    }

    /// What an image's configuration says of itself; `None` when it says nothing.
    pub fn of_config(bytes: &[u8]) -> Option<Self> {
        let found: Self = serde_json::from_slice(bytes).ok()?;
        let said = !found.os.is_empty() && !found.architecture.is_empty();
        said.then_some(Self {
            variant: found.variant.filter(|variant| !variant.is_empty()),
            ..found
        })
    }

    fn of_entry(entry: &Descriptor) -> Option<Self> {
        let platform = entry.platform().as_ref()?;
        Some(Self {
            os: platform.os().to_string(),
            architecture: platform.architecture().to_string(),
            variant: platform.variant().clone().filter(|v| !v.is_empty()),
        })
    }

    /// How much a machine of this variant has; every machine has 0.
    fn level(&self) -> u32 {
        let number = |variant: &String| variant.trim_start_matches('v').parse().ok();
        let level = self.variant.as_ref().and_then(number).unwrap_or(0);
        // arm64's first version is called v8, amd64's v1.
        match (self.architecture.as_str(), level) {
            ("arm64", 8) | ("amd64", 1) => 0,
            (_, level) => level,
        }
    }

    /// Whether an image of the platform `image` runs on this one. If no variant was requested, any is
    /// accepted: the variant of this machine is not known.
    pub fn runs(&self, image: &Self) -> bool {
        self.os == image.os
            && self.architecture == image.architecture
            && (self.variant.is_none() || image.level() <= self.level())
    }
}

/// The entry of an index for a platform (`OS/ARCH[/VARIANT]`).
pub fn for_platform<'i>(index: &'i ImageIndex, platform: &str) -> Option<&'i Descriptor> {
    let wanted = PlatformName::read(platform);
    let mut fitting: Vec<_> = entries(index)
        .filter(|(_, found)| wanted.runs(found))
        .collect();
    // The best that the variant has; without one asked for, the plainest, which is the first of equals.
    fitting.sort_by_key(|(_, found)| found.level());
    let found = if wanted.variant.is_some() {
        let best = fitting.last().map(|(_, found)| found.level());
        fitting
            .iter()
            .find(|(_, found)| Some(found.level()) == best)
    } else {
        fitting.first()
    };
    // An index of one image that says nothing about platforms means that image.
    let only = match index.manifests().as_slice() {
        [only] if only.platform().is_none() => Some(only),
        _ => None,
    };
    found.map(|(entry, _)| *entry).or(only)
}

/// The platforms of an index's images.
pub fn platforms_of(index: &ImageIndex) -> Vec<PlatformName> {
    entries(index)
        .map(|(_, found)| found)
        // Attestations of BuildKit.
        .filter(|found| found.to_string() != "unknown/unknown")
        .collect()
}

fn entries(index: &ImageIndex) -> impl Iterator<Item = (&Descriptor, PlatformName)> {
    let entries = index.manifests().iter();
    entries.filter_map(|entry| Some((entry, PlatformName::of_entry(entry)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn index(platforms: &[(&str, &str, Option<&str>)]) -> ImageIndex {
        let manifests: Vec<Value> = platforms
            .iter()
            .enumerate()
            .map(|(at, (os, architecture, variant))| {
                let mut entry = json!({
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": format!("sha256:{}", "a".repeat(64)),
                    "size": at,
                    "platform": {"os": os, "architecture": architecture},
                });
                if let Some(variant) = variant {
                    entry["platform"]["variant"] = json!(variant);
                }
                entry
            })
            .collect();
        serde_json::from_value(json!({"schemaVersion": 2, "manifests": manifests})).unwrap()
    }

    #[test]
    fn platforms_are_chosen() {
        let list = index(&[
            ("linux", "arm", Some("v5")),
            ("linux", "arm", Some("v7")),
            ("linux", "amd64", Some("v3")),
            ("linux", "amd64", None),
            ("unknown", "unknown", None),
            ("linux", "arm64", Some("v8")),
        ]);
        for (platform, place) in [
            ("linux/amd64", 3),
            ("linux/amd64/v4", 2),
            ("linux/amd64/v3", 2),
            ("linux/amd64/v2", 3),
            ("linux/arm/v8", 1),
            ("linux/arm/v7", 1),
            ("linux/arm/v6", 0),
            ("linux/arm", 0),
            ("linux/arm64", 5),
            ("linux/arm64/v8", 5),
            ("linux/arm64/v9", 5),
            ("linux/x86_64", 3),
            ("linux/x86_64/v3", 2),
            ("linux/aarch64", 5),
        ] {
            let found = for_platform(&list, platform).unwrap();
            assert_eq!(found.size(), place, "{platform}");
        }
        assert_eq!(for_platform(&list, "linux/s390x"), None);
        let all: Vec<String> = platforms_of(&list)
            .iter()
            .map(ToString::to_string)
            .collect();
        let all = all.join(" ");
        assert!(
            all.contains("linux/arm/v7") && !all.contains("unknown"),
            "{all}"
        );
    }

    #[test]
    fn an_image_runs_where_it_says() {
        for (machine, image, runs) in [
            (
                "linux/amd64",
                r#"{"os":"linux","architecture":"amd64"}"#,
                true,
            ),
            (
                "linux/amd64",
                r#"{"os":"linux","architecture":"arm64"}"#,
                false,
            ),
            (
                "linux/amd64",
                r#"{"os":"windows","architecture":"amd64"}"#,
                false,
            ),
            (
                "linux/amd64/v2",
                r#"{"os":"linux","architecture":"amd64","variant":"v3"}"#,
                false,
            ),
            (
                "linux/arm/v7",
                r#"{"os":"linux","architecture":"arm","variant":"v6"}"#,
                true,
            ),
            (
                "linux/arm64",
                r#"{"os":"linux","architecture":"arm64","variant":"v8"}"#,
                true,
            ),
        ] {
            let found = PlatformName::of_config(image.as_bytes()).unwrap();
            assert_eq!(
                PlatformName::read(machine).runs(&found),
                runs,
                "{machine} {image}"
            );
        }
        assert_eq!(PlatformName::of_config(b"{}"), None);
        assert_eq!(PlatformName::of_config(b"[]"), None);
    }
}
