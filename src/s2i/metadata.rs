//! `/tmp/.s2i/image_metadata.json`: labels that assemble gives to the image.

use serde_json::Value;

use super::{S2iError, shown};

/// The path at which assemble writes it, relative to the image's root.
pub const PATH: &str = "tmp/.s2i/image_metadata.json";
/// Largest file that is read, in bytes.
pub const MAX: u64 = 1024 * 1024;

/// Reads `{"labels": [{"name": "value"}, …]}`.
pub fn parse(bytes: &[u8]) -> Result<Vec<(String, String)>, S2iError> {
    let wrong = |problem: String| S2iError::Metadata { problem };
    let document: Value =
        serde_json::from_slice(bytes).map_err(|error| wrong(format!("is not JSON: {error}")))?;
    let list = document
        .get("labels")
        .ok_or_else(|| wrong("has no \"labels\"".into()))?
        .as_array()
        .ok_or_else(|| wrong("has \"labels\" that are not a list of objects".into()))?;
    let mut labels = Vec::new();
    for item in list {
        let object = item
            .as_object()
            .ok_or_else(|| wrong("has something in \"labels\" that is not an object".into()))?;
        for (name, value) in object {
            let value = value
                .as_str()
                .ok_or_else(|| wrong(format!("has a label {:?} that is not text", shown(name))))?;
            if name.is_empty() || name.chars().any(char::is_control) {
                return Err(wrong(format!(
                    "has a label with the name {:?}",
                    shown(name)
                )));
            }
            labels.push((name.clone(), value.to_owned()));
        }
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_are_read_and_bad_shapes_are_told() {
        assert_eq!(
            parse(br#"{"labels":[{"a":"1"},{"b":"2","c":""}]}"#)
                .unwrap()
                .len(),
            3
        );
        for (text, part) in [
            ("", "not JSON"),
            ("[]", "no \"labels\""),
            ("{}", "no \"labels\""),
            (r#"{"labels":{"a":"b"}}"#, "not a list"),
            (r#"{"labels":["a"]}"#, "not an object"),
            (r#"{"labels":[{"a":1}]}"#, "\"a\" that is not text"),
            (r#"{"labels":[{"":"x"}]}"#, "with the name"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_file_is_a_panic(text in "\\PC{0,60}") {
            let _ = parse(text.as_bytes());
        }
    }
}
