//! Names of images: the entries of `index.json` with `org.opencontainers.image.ref.name`.
//!
//! A name is stored exactly as given, because `skopeo` looks it up exactly; several names may
//! point to one digest. Writers take a lock, read, and replace the complete file. Entries of
//! other tools (also those without a name) are not changed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use crate::oci::{
    Descriptor, ImageIndex, ImageIndexBuilder, MAX_METADATA, MediaType, OciError, REF_NAME,
    from_json, to_canonical_json,
};

use super::locks::{self, Mode};
use super::{Store, StoreError, sync_dir};

/// A large store has some thousand names of some 300 bytes each.
const MAX_INDEX: u64 = 16 * MAX_METADATA;

/// An image under one of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub name: String,
    pub descriptor: Descriptor,
}

impl Store {
    /// All names, sorted.
    pub fn images(&self) -> Result<Vec<Named>, StoreError> {
        let mut images: Vec<Named> = self
            .read_index()?
            .manifests()
            .iter()
            .filter_map(|descriptor| {
                Some(Named {
                    name: ref_name(descriptor)?.to_owned(),
                    descriptor: descriptor.clone(),
                })
            })
            .collect();
        images.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(images)
    }

    /// The image with exactly this name, else with `:latest` added or removed. A digest, or
    /// a name with a digest, finds the image of that digest, whatever its name.
    pub fn resolve(&self, name: &str) -> Result<Option<Descriptor>, StoreError> {
        let index = self.read_index()?;
        let by_name = |wanted: &str| {
            let mut found = index.manifests().iter();
            found.find(|descriptor| ref_name(descriptor) == Some(wanted))
        };
        let found = by_name(name)
            .or_else(|| match name.strip_suffix(":latest") {
                Some(bare) => by_name(bare),
                None => by_name(&format!("{name}:latest")),
            })
            .or_else(|| {
                let digest = name.rsplit_once('@').map_or(name, |(_, digest)| digest);
                let mut found = index.manifests().iter();
                found.find(|descriptor| descriptor.digest().as_ref() == digest)
            });
        Ok(found.cloned())
    }

    /// Gives an image a name; another image with this name loses it.
    pub fn tag(&self, name: &str, descriptor: &Descriptor) -> Result<(), StoreError> {
        check_name(name)?;
        let _content = self.lock_shared()?;
        if !self.has_blob(descriptor.digest()) {
            return Err(StoreError::Missing {
                digest: descriptor.digest().clone(),
            });
        }
        let mut entry = descriptor.clone();
        let mut annotations = entry.annotations().clone().unwrap_or_default();
        annotations.insert(REF_NAME.to_owned(), name.to_owned());
        entry.set_annotations(Some(annotations));
        sync_dir(&self.root().join("blobs/sha256"))?;
        self.edit_index(|entries| {
            entries.retain(|known| ref_name(known) != Some(name));
            entries.push(entry);
        })
    }

    /// Makes an image without a name reachable by its digest. `prune` frees it.
    pub fn keep_nameless(&self, descriptor: &Descriptor) -> Result<(), StoreError> {
        let _content = self.lock_shared()?;
        sync_dir(&self.root().join("blobs/sha256"))?;
        self.edit_index(|entries| {
            if !entries
                .iter()
                .any(|known| known.digest() == descriptor.digest())
            {
                entries.push(descriptor.clone());
            }
        })
    }

    /// Removes a name; false if it did not exist. The content stays until `prune`.
    pub fn untag(&self, name: &str) -> Result<bool, StoreError> {
        let mut found = false;
        self.edit_index(|entries| {
            let before = entries.len();
            entries.retain(|known| ref_name(known) != Some(name));
            found = entries.len() < before;
        })?;
        Ok(found)
    }

    /// Removes the entries without a name; only under the exclusive lock.
    pub(super) fn drop_nameless(&self) -> Result<(), StoreError> {
        if self
            .read_index()?
            .manifests()
            .iter()
            .all(|entry| ref_name(entry).is_some())
        {
            return Ok(());
        }
        self.edit_index(|entries| entries.retain(|known| ref_name(known).is_some()))
    }

    pub(super) fn create_index(&self) -> Result<(), StoreError> {
        if self.index_path().exists() {
            return Ok(());
        }
        let _lock = self.index_lock()?;
        if self.index_path().exists() {
            return Ok(());
        }
        self.write_index(Vec::new(), None)
    }

    pub(super) fn index_path(&self) -> PathBuf {
        self.root().join("index.json")
    }

    fn index_lock(&self) -> Result<locks::Lock, StoreError> {
        let path = self.root().join("index.json.lock");
        locks::acquire(&path, Mode::Exclusive, "the list of images", locks::limit())
    }

    fn edit_index(&self, edit: impl FnOnce(&mut Vec<Descriptor>)) -> Result<(), StoreError> {
        let _lock = self.index_lock()?;
        let index = self.read_index()?;
        let mut entries = index.manifests().clone();
        edit(&mut entries);
        if entries == *index.manifests() {
            return Ok(());
        }
        // One order for one content. A nameless entry keeps its place before the named ones.
        entries.sort_by(|a, b| ref_name(a).cmp(&ref_name(b)));
        self.write_index(entries, index.annotations().clone())
    }

    fn write_index(
        &self,
        entries: Vec<Descriptor>,
        annotations: Option<HashMap<String, String>>,
    ) -> Result<(), StoreError> {
        let mut builder = ImageIndexBuilder::default()
            .schema_version(2u32)
            .media_type(MediaType::ImageIndex)
            .manifests(entries);
        if let Some(annotations) = annotations {
            builder = builder.annotations(annotations);
        }
        let index = builder.build().map_err(|error| OciError::Shape {
            what: "index.json".into(),
            problem: error.to_string(),
        })?;
        self.replace(&self.index_path(), &to_canonical_json(&index)?)
    }

    pub(super) fn read_index(&self) -> Result<ImageIndex, StoreError> {
        let path = self.index_path();
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => return Err(StoreError::io("read", &path, error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_INDEX)
            .read_to_end(&mut bytes)
            .map_err(|e: io::Error| StoreError::io("read", &path, e))?;
        Ok(from_json(&bytes, &path.display().to_string())?)
    }
}

pub(super) fn ref_name(descriptor: &Descriptor) -> Option<&str> {
    descriptor
        .annotations()
        .as_ref()?
        .get(REF_NAME)
        .map(String::as_str)
}

/// [`crate::oci::Reference`] checks names where they are given; this check is only against damage.
fn check_name(name: &str) -> Result<(), StoreError> {
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.len() > 4096 {
        "it is longer than 4096 bytes"
    } else if name.chars().any(|c| c.is_control() || c.is_whitespace()) {
        "it has white space or control characters"
    } else {
        return Ok(());
    };
    Err(StoreError::Name {
        name: name.chars().take(300).collect(),
        problem,
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::store;
    use super::*;
    use crate::oci::descriptor;
    use std::fs;

    fn manifest(store: &Store, content: &[u8]) -> Descriptor {
        let (digest, size) = store.put_blob(content).unwrap();
        descriptor(MediaType::ImageManifest, digest, size)
    }

    #[test]
    fn names_are_kept_to_the_letter_and_found_with_and_without_latest() {
        let (_dir, store) = store();
        let one = manifest(&store, b"{\"1\":1}");
        let two = manifest(&store, b"{\"2\":2}");
        store.tag("opal", &one).unwrap();
        store.tag("beryl:latest", &two).unwrap();
        store
            .tag("registry.example.com:5000/team/opal:1.2", &one)
            .unwrap();
        let digest = two.digest().to_string();
        let by_digest = format!("beryl@{digest}");
        for (name, expected) in [
            ("opal", Some(&one)),
            ("opal:latest", Some(&one)),
            ("beryl", Some(&two)),
            ("beryl:latest", Some(&two)),
            ("registry.example.com:5000/team/opal:1.2", Some(&one)),
            (digest.as_str(), Some(&two)),
            (by_digest.as_str(), Some(&two)),
            ("opal:1", None),
            ("team/opal:1.2", None),
            ("", None),
        ] {
            let found = store.resolve(name).unwrap();
            assert_eq!(
                found.as_ref().map(Descriptor::digest),
                expected.map(Descriptor::digest),
                "{name}"
            );
        }
        let names: Vec<_> = store
            .images()
            .unwrap()
            .into_iter()
            .map(|n| n.name)
            .collect();
        assert_eq!(
            names,
            [
                "beryl:latest",
                "opal",
                "registry.example.com:5000/team/opal:1.2"
            ]
        );
    }

    #[test]
    fn a_name_moves_and_goes() {
        let (_dir, store) = store();
        let one = manifest(&store, b"{\"1\":1}");
        let two = manifest(&store, b"{\"2\":2}");
        store.tag("opal", &one).unwrap();
        store.tag("opal", &two).unwrap();
        assert_eq!(store.images().unwrap().len(), 1);
        assert_eq!(
            store.resolve("opal").unwrap().unwrap().digest(),
            two.digest()
        );
        assert!(store.untag("opal").unwrap());
        assert!(!store.untag("opal").unwrap());
        let absent = descriptor(MediaType::ImageManifest, crate::oci::sha256(b"no"), 2);
        assert!(matches!(
            store.tag("opal", &absent),
            Err(StoreError::Missing { .. })
        ));
        for bad in ["", "a b", "a\nb"] {
            assert!(store.tag(bad, &one).is_err());
        }
    }

    #[test]
    fn many_writers_lose_no_name() {
        let (_dir, store) = store();
        let one = manifest(&store, b"{}");
        std::thread::scope(|scope| {
            for writer in 0..6 {
                let (store, one) = (&store, &one);
                scope.spawn(move || {
                    for number in 0..4 {
                        store.tag(&format!("image-{writer}-{number}"), one).unwrap();
                    }
                });
            }
        });
        assert_eq!(store.images().unwrap().len(), 24);
    }

    #[test]
    fn entries_of_other_tools_survive() {
        let (_dir, store) = store();
        let foreign = r#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"annotations":{"x":"y"}}],"annotations":{"k":"v"}}"#;
        fs::write(store.index_path(), foreign).unwrap();
        store.tag("opal", &manifest(&store, b"{}")).unwrap();
        let index = store.read_index().unwrap();
        assert_eq!(index.manifests().len(), 2);
        assert_eq!(index.annotations().as_ref().unwrap()["k"], "v");
        store.drop_nameless().unwrap();
        assert_eq!(store.read_index().unwrap().manifests().len(), 1);
    }
}
