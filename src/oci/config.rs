//! The image configuration (image-spec, `config.md`), edited as JSON so that nothing is lost.

use std::collections::BTreeMap;

use oci_spec::image::Digest;
use serde_json::{Map, Value, json};

use super::{OciError, from_json, parse_digest};

/// An image configuration: architecture, environment, command, labels, history, `diff_ids`.
///
/// Fields that this project does not know (`Healthcheck`, `OnBuild`, `Shell` …) pass through
/// untouched, and the bytes depend on the content only.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageConfig {
    document: Map<String, Value>,
}

/// One line of `history`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// RFC 3339.
    pub created: String,
    pub created_by: String,
    /// True for a step that made no layer.
    pub empty_layer: bool,
}

impl ImageConfig {
    /// A configuration with no layer, for a platform such as `linux` / `amd64`.
    pub fn new(os: &str, architecture: &str) -> Self {
        let document = json!({
            "os": os,
            "architecture": architecture,
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": []},
            "history": [],
        });
        match document {
            Value::Object(document) => Self { document },
            _ => unreachable!("a JSON object literal"),
        }
    }

    /// Parses a configuration blob; `what` names it in errors.
    pub fn from_bytes(bytes: &[u8], what: &str) -> Result<Self, OciError> {
        let shape = |problem: &str| OciError::Shape {
            what: what.to_owned(),
            problem: problem.to_owned(),
        };
        let document: Map<String, Value> = from_json(bytes, what)?;
        let config = Self { document };
        match config.document.get("config") {
            None | Some(Value::Null | Value::Object(_)) => {}
            Some(_) => return Err(shape("`config` is not an object")),
        }
        let ids = config
            .document
            .get("rootfs")
            .and_then(|rootfs| rootfs.get("diff_ids"))
            .and_then(Value::as_array)
            .ok_or_else(|| shape("`rootfs.diff_ids` is missing"))?;
        for id in ids {
            let text = id
                .as_str()
                .ok_or_else(|| shape("`rootfs.diff_ids` holds something that is not text"))?;
            parse_digest(text)?;
        }
        Ok(config)
    }

    /// The bytes to store: sorted keys, no white space.
    pub fn to_bytes(&self) -> Vec<u8> {
        Value::Object(self.document.clone())
            .to_string()
            .into_bytes()
    }

    pub fn os(&self) -> &str {
        self.text("os")
    }

    pub fn architecture(&self) -> &str {
        self.text("architecture")
    }

    fn text(&self, key: &str) -> &str {
        self.document
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// The uncompressed layers' digests, lowest first.
    pub fn diff_ids(&self) -> Vec<Digest> {
        self.document
            .get("rootfs")
            .and_then(|rootfs| rootfs.get("diff_ids"))
            .and_then(Value::as_array)
            .map(|ids| {
                ids.iter()
                    .filter_map(|id| parse_digest(id.as_str()?).ok())
                    .collect()
            })
            .unwrap_or_default()
    }

    /// Puts a layer on top, with its line of history.
    pub fn push_layer(&mut self, diff_id: &Digest, history: &HistoryEntry) {
        if let Some(Value::Array(ids)) = self
            .document
            .get_mut("rootfs")
            .and_then(|rootfs| rootfs.get_mut("diff_ids"))
        {
            ids.push(json!(diff_id.to_string()));
        }
        self.push_history(history);
    }

    pub fn push_history(&mut self, history: &HistoryEntry) {
        let mut entry = json!({"created": history.created, "created_by": history.created_by});
        if history.empty_layer {
            entry["empty_layer"] = json!(true);
        }
        let list = self.document.entry("history").or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(entry);
        }
    }

    /// The lines of `history`, the oldest first; missing values are empty.
    pub fn history(&self) -> Vec<HistoryEntry> {
        let list = self.document.get("history").and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .map(|entry| {
                let text = |key: &str| {
                    let text = entry.get(key).and_then(Value::as_str);
                    text.unwrap_or_default().to_owned()
                };
                HistoryEntry {
                    created: text("created"),
                    created_by: text("created_by"),
                    empty_layer: entry.get("empty_layer") == Some(&Value::Bool(true)),
                }
            })
            .collect()
    }

    /// Sets `created` (RFC 3339).
    pub fn set_created(&mut self, created: &str) {
        self.document.insert("created".into(), json!(created));
    }

    /// A field of the inner `config` object.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.document.get("config")?.get(key)
    }

    fn inner(&mut self) -> &mut Map<String, Value> {
        let inner = self.document.entry("config").or_insert_with(|| json!({}));
        if !inner.is_object() {
            *inner = json!({});
        }
        match inner {
            Value::Object(map) => map,
            _ => unreachable!("made an object above"),
        }
    }

    /// Sets or, with `Value::Null`, removes a field of the inner `config` object.
    pub fn set(&mut self, key: &str, value: Value) {
        if value.is_null() {
            self.inner().remove(key);
        } else {
            self.inner().insert(key.to_owned(), value);
        }
    }

    /// `User`, empty when missing.
    pub fn user(&self) -> &str {
        self.get("User").and_then(Value::as_str).unwrap_or_default()
    }

    /// `WorkingDir`, empty when missing.
    pub fn working_dir(&self) -> &str {
        self.get("WorkingDir")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// `Entrypoint` or `Cmd`; empty when missing.
    pub fn words(&self, key: &str) -> Vec<String> {
        self.get(key)
            .and_then(Value::as_array)
            .map(|words| {
                words
                    .iter()
                    .filter_map(|word| word.as_str().map(str::to_owned))
                    .collect()
            })
            .unwrap_or_default()
    }

    /// The environment in its order; text without `=` is dropped.
    pub fn env(&self) -> Vec<(String, String)> {
        self.words("Env")
            .into_iter()
            .filter_map(|pair| {
                let (name, value) = pair.split_once('=')?;
                Some((name.to_owned(), value.to_owned()))
            })
            .collect()
    }

    /// Sets a variable in its place, or adds it at the end.
    pub fn set_env(&mut self, name: &str, value: &str) {
        let mut env = self.env();
        match env.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => env.push((name.to_owned(), value.to_owned())),
        }
        let words: Vec<String> = env.iter().map(|(n, v)| format!("{n}={v}")).collect();
        self.set("Env", json!(words));
    }

    /// The keys of `ExposedPorts`: `8080/tcp`.
    pub fn exposed_ports(&self) -> Vec<String> {
        let ports = self.get("ExposedPorts").and_then(Value::as_object);
        ports.map_or_else(Vec::new, |ports| ports.keys().cloned().collect())
    }

    pub fn labels(&self) -> BTreeMap<String, String> {
        self.get("Labels")
            .and_then(Value::as_object)
            .map(|labels| {
                labels
                    .iter()
                    .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                    .collect()
            })
            .unwrap_or_default()
    }

    pub fn label(&self, key: &str) -> Option<&str> {
        self.get("Labels")?.get(key)?.as_str()
    }

    pub fn set_label(&mut self, key: &str, value: &str) {
        let mut labels = self.labels();
        labels.insert(key.to_owned(), value.to_owned());
        self.set("Labels", json!(labels));
    }

    /// Removes a label, if it exists.
    pub fn remove_label(&mut self, key: &str) {
        let mut labels = self.labels();
        if labels.remove(key).is_some() {
            self.set("Labels", json!(labels));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_of_docker_survive_an_edit() {
        let bytes = br#"{"architecture":"amd64","os":"linux","config":{"Healthcheck":{"Test":["CMD","x"]},"OnBuild":["RUN x"],"Env":["A=1","B=x=y"]},"rootfs":{"type":"layers","diff_ids":[]},"docker_version":"20"}"#;
        let mut config = ImageConfig::from_bytes(bytes, "test").unwrap();
        config.set_env("A", "2");
        config.set_env("C", "3");
        config.set_label("k", "v");
        let text = String::from_utf8(config.to_bytes()).unwrap();
        for part in [
            r#""Healthcheck":{"Test":["CMD","x"]}"#,
            r#""OnBuild":["RUN x"]"#,
            r#""docker_version":"20""#,
            r#""Env":["A=2","B=x=y","C=3"]"#,
            r#""Labels":{"k":"v"}"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn a_config_without_diff_ids_is_refused() {
        for bytes in [
            &b"{}"[..],
            b"[]",
            b"{\"rootfs\":{\"diff_ids\":[\"sha256:x\"]}}",
        ] {
            assert!(ImageConfig::from_bytes(bytes, "test").is_err());
        }
    }

    #[test]
    fn layers_are_pushed_with_history() {
        let mut config = ImageConfig::new("linux", "amd64");
        let id = super::super::sha256(b"layer");
        config.push_layer(
            &id,
            &HistoryEntry {
                created: "1980-01-01T00:00:01Z".into(),
                created_by: "test".into(),
                empty_layer: false,
            },
        );
        let again = ImageConfig::from_bytes(&config.to_bytes(), "again").unwrap();
        assert_eq!(again.diff_ids(), vec![id]);
        let history = again.history();
        assert_eq!(history.len(), 1);
        assert_eq!(history[0].created_by, "test");
        assert_eq!(again, config);
    }
}
