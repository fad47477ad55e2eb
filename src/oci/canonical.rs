//! JSON whose bytes depend on its content only: sorted keys, no white space.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::OciError;

/// Serialises with sorted keys and without white space, so that equal content has an equal digest.
///
/// Sorting comes from `serde_json::Value`, whose maps are ordered as long as the crate's
/// `preserve_order` feature is off (a test below holds that).
///
/// # Errors
/// [`OciError::Unwritable`] for what JSON cannot say, such as a path that is not UTF-8: no other value may
/// stand in for it, for keys are made of this.
pub fn to_canonical_json<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, OciError> {
    let value = serde_json::to_value(value).map_err(|source| OciError::Unwritable { source })?;
    Ok(value.to_string().into_bytes())
}

/// Parses JSON; `what` names the document in the error ("the manifest of `opal`").
pub fn from_json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, OciError> {
    serde_json::from_slice(bytes).map_err(|source| OciError::Json {
        what: what.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::to_canonical_json;
    use std::collections::HashMap;

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
