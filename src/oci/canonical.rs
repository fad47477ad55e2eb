//! JSON whose bytes depend only on its content: sorted keys, no white space.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, Serialize};

use super::OciError;

/// Serialises with sorted keys and without white space, so that equal content has an equal digest.
///
/// Sorting comes from `serde_json::Value`, whose maps are ordered as long as the crate's
/// `preserve_order` feature is off (a test below holds that).
///
/// # Errors
/// [`OciError::Unwritable`] for a value that JSON cannot express, such as a path that is not UTF-8: no
/// other value may replace it, because keys are made from this.
pub fn to_canonical_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, OciError> {
    let value = serde_json::to_value(value).map_err(|source| OciError::Unwritable { source })?;
    Ok(value.to_string().into_bytes())
}

/// Parses JSON; `what` names the document in the error ("the manifest of `opal`").
///
/// # Errors
/// Also if two names in one object differ only in case: programs differ about which one counts (programs in
/// Go take the last, in any case), so the audit and the container engine could read different images. Free
/// names (of labels, ports, volumes) may differ in case.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, OciError> {
    let parse = || {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        Unambiguous { free: false }.deserialize(&mut reader)?;
        serde_json::from_slice(bytes)
    };
    parse().map_err(|source| OciError::Json {
        what: what.to_owned(),
        source,
    })
}

/// Members whose own members have free names.
const FREE: [&str; 4] = ["labels", "annotations", "exposedports", "volumes"];

/// Reads JSON and refuses duplicate names in one object.
#[derive(Clone, Copy)]
struct Unambiguous {
    /// Names may differ in case here.
    free: bool,
}

impl<'de> DeserializeSeed<'de> for Unambiguous {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unambiguous {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Self { free: false })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            // As in Go's case folding: ſ equals s.
            let folded = name.to_uppercase().to_lowercase();
            let free = FREE.contains(&folded.as_str());
            let known = if self.free { name.clone() } else { folded };
            if !names.insert(known) {
                return Err(A::Error::custom(format_args!(
                    "{name:?} stands twice in one object"
                )));
            }
            members.next_value_seed(Self { free })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{from_json, to_canonical_json};
    use std::collections::HashMap;

    #[test]
    fn what_programs_read_in_two_ways_is_refused() {
        let read = |text: &str| from_json::<serde_json::Value>(text.as_bytes(), "the test");
        for good in [
            r#"{"a":[{"b":null},{"b":1.5}],"c":true,"d":-1}"#,
            r#"{"config":{"Labels":{"Team":"a","team":"b"},"Volumes":{"/A":{},"/a":{}}}}"#,
            r#"{"manifests":[{"annotations":{"x":"1","X":"2"}}]}"#,
        ] {
            assert!(read(good).is_ok(), "{good}");
        }
        for bad in [
            r#"{"User":"1001","user":"0"}"#,
            r#"{"config":{"User":"1001","User":"0"}}"#,
            r#"{"layers":[],"Layers":[]}"#,
            r#"{"layers":[],"layerſ":[]}"#,
            r#"{"a":[{"b":1,"b":1}]}"#,
            r#"{"Labels":{"a":"1","a":"2"}}"#,
            r#"{"Labels":{"a":"1"},"labels":{"b":"2"}}"#,
        ] {
            let error = read(bad).unwrap_err();
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains("stands twice"), "{bad}: {source}");
        }
    }

    #[test]
    fn keys_are_sorted_whatever_the_map() {
        let mut map = HashMap::new();
        for key in ["b", "a", "d", "c", "e", "g", "f"] {
            map.insert(key, 1);
        }
        assert_eq!(
            to_canonical_json(&map).unwrap(),
            br#"{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1}"#
        );
        let value: serde_json::Value = serde_json::from_str(r#"{"z":1,"a":2}"#).unwrap();
        assert_eq!(to_canonical_json(&value).unwrap(), br#"{"a":2,"z":1}"#);
    }

    #[test]
    fn what_cannot_be_written_is_an_error() {
        use std::os::unix::ffi::OsStrExt as _;

        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(b"\xff.pth"));
        assert!(to_canonical_json(path).is_err());
    }
}
