//! Which image of several is meant: of a layout's `index.json`, or of an archive of `docker save`.
//!
//! All that read such a place choose here (and in `platform`), so that the image that is judged is the one that
//! is copied. Two different images of one name are refused: programs do not agree on which of them it is.

use super::{Descriptor, ImageIndex, REF_NAME, Reference};

/// The name that containerd and `BuildKit` give beside `ref.name`, which is only a tag there.
pub const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// How many indexes lead from `index.json` to an image, at most.
pub const MAX_INDEXES: usize = 3;

/// What a name leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Selected<T> {
    One(T),
    /// Different images have this name, or there are several and none was named.
    Several,
    Missing,
}

impl<T> Selected<T> {
    /// Of candidates that are the same image where `key` is equal.
    fn of<K: PartialEq>(candidates: impl IntoIterator<Item = T>, key: impl Fn(&T) -> K) -> Self {
        let mut candidates = candidates.into_iter();
        let Some(first) = candidates.next() else {
            return Self::Missing;
        };
        let is_one = candidates.all(|other| key(&other) == key(&first));
        if is_one {
            Self::One(first)
        } else {
            Self::Several
        }
    }
}

/// The entry of an `index.json` with this name; without one, the only entry.
pub fn in_index<'i>(index: &'i ImageIndex, tag: Option<&str>) -> Selected<&'i Descriptor> {
    let entries = index.manifests();
    let Some(tag) = tag else {
        return match entries.as_slice() {
            [] => Selected::Missing,
            [only] => Selected::One(only),
            _ => Selected::Several,
        };
    };
    let named = |key: &str| {
        let named = entries
            .iter()
            .filter(|entry| annotation(entry, key) == Some(tag));
        Selected::of(named, |entry| entry.digest().clone())
    };
    match named(REF_NAME) {
        Selected::Missing => named(CONTAINERD_NAME),
        found => found,
    }
}

/// The image of a `manifest.json` with this name (`opal` and `opal:latest` are one); without one, the only
/// image. `names` gives an image's names, `key` what makes two of them different.
pub fn in_saved<'i, T, K: PartialEq>(
    images: &'i [T],
    names: impl Fn(&T) -> &[String],
    key: impl Fn(&'i T) -> K,
    wanted: Option<&str>,
) -> Selected<&'i T> {
    let Some(wanted) = wanted else {
        return match images {
            [] => Selected::Missing,
            [only] => Selected::One(only),
            _ => Selected::Several,
        };
    };
    let full = in_full(wanted);
    let is_it = |name: &String| name == wanted || (full.is_some() && in_full(name) == full);
    let found = images.iter().filter(|image| names(image).iter().any(is_it));
    Selected::of(found, |image| key(image))
}

/// The entry of an `index.json` for the image that the `manifest.json` beside it has under these names.
pub fn named_as_saved<'i>(index: &'i ImageIndex, names: &[String]) -> Option<&'i Descriptor> {
    let wanted: Vec<String> = names.iter().filter_map(|name| in_full(name)).collect();
    let fits = |entry: &&Descriptor| {
        [CONTAINERD_NAME, REF_NAME].iter().any(|key| {
            let name = annotation(entry, key).and_then(in_full);
            name.is_some_and(|name| wanted.contains(&name))
        })
    };
    match index.manifests().as_slice() {
        [only] => Some(only),
        several => several.iter().find(fits),
    }
}

fn annotation<'d>(entry: &'d Descriptor, key: &str) -> Option<&'d str> {
    entry.annotations().as_ref()?.get(key).map(String::as_str)
}

fn in_full(name: &str) -> Option<String> {
    name.parse::<Reference>().ok().map(|name| name.canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn index(entries: &[(&str, &str, char)]) -> ImageIndex {
        let entries: Vec<Value> = entries
            .iter()
            .map(|(key, name, digit)| {
                json!({
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "digest": format!("sha256:{}", digit.to_string().repeat(64)),
                    "size": 1,
                    "annotations": {*key: name},
                })
            })
            .collect();
        serde_json::from_value(json!({"schemaVersion": 2, "manifests": entries})).unwrap()
    }

    fn digit(found: &Selected<&Descriptor>) -> Option<char> {
        match found {
            Selected::One(entry) => entry.digest().digest().chars().next(),
            _ => None,
        }
    }

    #[test]
    fn a_name_in_an_index() {
        let all = index(&[
            (CONTAINERD_NAME, "b", 'd'),
            (REF_NAME, "a", 'a'),
            (REF_NAME, "b", 'b'),
            (REF_NAME, "twice", 'c'),
            (REF_NAME, "twice", 'c'),
            (REF_NAME, "odd", 'e'),
            (REF_NAME, "odd", 'f'),
            (CONTAINERD_NAME, "docker.io/library/c:1", 'c'),
        ]);
        for (name, expected) in [
            ("a", 'a'),
            ("b", 'b'),
            ("twice", 'c'),
            ("docker.io/library/c:1", 'c'),
        ] {
            assert_eq!(digit(&in_index(&all, Some(name))), Some(expected), "{name}");
        }
        assert_eq!(in_index(&all, Some("odd")), Selected::Several);
        assert_eq!(in_index(&all, Some("c")), Selected::Missing);
        assert_eq!(in_index(&all, None), Selected::Several);
        assert_eq!(
            digit(&in_index(&index(&[(REF_NAME, "a", 'a')]), None)),
            Some('a')
        );
        assert_eq!(in_index(&index(&[]), None), Selected::Missing);
    }

    #[test]
    fn a_name_in_an_archive_of_docker() {
        let image = |names: &[&str], id: u8| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            (names, id)
        };
        let all = [
            image(&["docker.io/library/opal:latest"], 1),
            image(&["rates:1"], 2),
            image(&["costs:1", "rates:1"], 3),
            image(&["same:1"], 4),
            image(&["same:1"], 4),
        ];
        let find = |wanted: Option<&str>| match in_saved(
            &all,
            |image| &image.0,
            |image| image.1,
            wanted,
        ) {
            Selected::One(image) => Some(image.1),
            Selected::Several => Some(0),
            Selected::Missing => None,
        };
        for (wanted, expected) in [
            ("opal", Some(1)),
            ("opal:latest", Some(1)),
            ("costs:1", Some(3)),
            ("rates:1", Some(0)),
            ("same:1", Some(4)),
            ("gone", None),
        ] {
            assert_eq!(find(Some(wanted)), expected, "{wanted}");
        }
        assert_eq!(find(None), Some(0));
    }
}
