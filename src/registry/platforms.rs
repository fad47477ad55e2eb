//! Which images of an index are meant, and an index of these alone.

use serde_json::Value;

use super::error::{RegistryError, tame};
use super::platform::choose;
use crate::oci::{Descriptor, Digest, ImageIndex, from_json, to_canonical_json};

/// By which `BuildKit` says of an attestation which image it is about.
const ABOUT: &str = "vnd.docker.reference.digest";

/// Which images of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Platforms {
    /// The one of this platform (`OS/ARCH[/VARIANT]`); of this machine's when `None`.
    One(Option<String>),
    /// The index, with these alone.
    Several(Vec<String>),
    /// The index as it is.
    All,
}

impl Default for Platforms {
    fn default() -> Self {
        Self::One(None)
    }
}

impl Platforms {
    /// The platform for which an image of an index was chosen, where several are named.
    pub fn asked_for(&self, index: &ImageIndex, entry: &Descriptor) -> Option<&str> {
        let Self::Several(platforms) = self else {
            return None;
        };
        platforms.iter().map(String::as_str).find(|platform| {
            choose(index, platform, "").is_ok_and(|chosen| chosen.digest() == entry.digest())
        })
    }

    /// An image that is in no index is not what was asked for where several platforms are named.
    pub fn check_single(&self, what: &str) -> Result<(), RegistryError> {
        let Self::Several(platforms) = self else {
            return Ok(());
        };
        Err(RegistryError::Manifest {
            what: what.to_owned(),
            problem: format!(
                "it is one image and not an index, so there are not {} platforms of it",
                platforms.len()
            ),
        })
    }
}

/// What is meant of an index, in the index's order, and the bytes of an index of it: those that were given
/// where nothing is left out. What is said about an image that stays, stays.
pub fn reduced(
    index: &ImageIndex,
    bytes: Vec<u8>,
    platforms: &Platforms,
    what: &str,
) -> Result<(Vec<Descriptor>, Vec<u8>), RegistryError> {
    let entries = index.manifests();
    let chosen: Vec<&Digest> = match platforms {
        Platforms::All => return Ok((entries.clone(), bytes)),
        Platforms::One(None) => vec![choose(index, &crate::oci::this_platform(), what)?.digest()],
        Platforms::One(Some(platform)) => vec![choose(index, platform, what)?.digest()],
        Platforms::Several(platforms) => platforms
            .iter()
            .map(|platform| choose(index, platform, what).map(Descriptor::digest))
            .collect::<Result<_, _>>()?,
    };
    let stays = |entry: &Descriptor| {
        let about = entry.annotations().as_ref().and_then(|all| all.get(ABOUT));
        chosen.contains(&entry.digest())
            || about.is_some_and(|about| chosen.iter().any(|one| one.as_ref() == about))
    };
    if entries.iter().all(stays) {
        return Ok((entries.clone(), bytes));
    }
    let bad = |problem: String| RegistryError::Manifest {
        what: what.to_owned(),
        problem: tame(&problem, 300),
    };
    let mut value: Value = from_json(&bytes, what).map_err(|error| bad(error.to_string()))?;
    let listed = value["manifests"].as_array_mut();
    let listed = listed.ok_or_else(|| bad("it has no list of manifests".into()))?;
    // The two are one list: the typed one was read from these bytes.
    let mut keep = entries.iter().map(stays);
    listed.retain(|_| keep.next().unwrap_or(false));
    let kept = entries
        .iter()
        .filter(|entry| stays(entry))
        .cloned()
        .collect();
    let bytes = to_canonical_json(&value).map_err(|error| bad(error.to_string()))?;
    Ok((kept, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_index_keeps_what_was_chosen_and_what_is_said_about_it() {
        let digest = |letter: &str| format!("sha256:{}", letter.repeat(64));
        let entry = |letter: &str, architecture: &str, about: Option<&str>| {
            let mut entry = json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest(letter),
                "size": 2,
                "platform": {"os": "linux", "architecture": architecture},
            });
            if let Some(about) = about {
                entry["platform"] = json!({"os": "unknown", "architecture": "unknown"});
                entry["annotations"] = json!({ABOUT: digest(about)});
            }
            entry
        };
        let value = json!({"schemaVersion": 2, "manifests": [
            entry("a", "amd64", None), entry("b", "arm64", None), entry("c", "s390x", None),
            entry("d", "", Some("a")), entry("e", "", Some("b")),
        ]});
        let bytes = value.to_string().into_bytes();
        let index: ImageIndex = serde_json::from_value(value).unwrap();
        let kept = |platforms: &[&str]| {
            let several = Platforms::Several(platforms.iter().map(|&one| one.to_owned()).collect());
            let (kept, bytes) = reduced(&index, bytes.clone(), &several, "it").unwrap();
            let read: ImageIndex = from_json(&bytes, "it").unwrap();
            assert_eq!(read.manifests(), &kept);
            let letters = kept
                .iter()
                .map(|entry| entry.digest().digest()[..1].to_owned());
            (letters.collect::<String>(), bytes)
        };
        assert_eq!(kept(&["linux/arm64", "linux/amd64"]).0, "abde");
        assert_eq!(kept(&["linux/s390x"]).0, "c");
        let all = ["linux/amd64", "linux/arm64", "linux/s390x"];
        assert_eq!(kept(&all), ("abcde".into(), bytes.clone()));
        let none = Platforms::Several(vec!["linux/amd64".into(), "linux/riscv64".into()]);
        let error = reduced(&index, bytes.clone(), &none, "it").unwrap_err();
        assert!(error.to_string().contains("linux/riscv64"), "{error}");
    }
}
