//! The table of settings as JSON Schema (draft 2020-12): what `[tool.warpdrive]` may hold, for
//! editors, and for a check of a `pyproject.toml` without warpdrive.

use serde_json::{Map, Value, json};

use super::keys::{AGENTS, KEYS, Kind, STARTED};

/// Describes exactly what the reader of `pyproject.toml` accepts.
pub fn schema() -> Value {
    let mut properties = Map::new();
    let mut definitions = Map::new();
    for key in KEYS {
        let mut definition = of_kind(key.kind);
        if key.name == "server_args" {
            definition = json!({"anyOf": [{"type": "string"}, by_server()]});
        }
        if let Some(object) = definition.as_object_mut() {
            object.insert("description".into(), json!(key.help));
            let default = match (key.kind, key.default) {
                (Kind::Switch, Some(text)) => Some(json!(text == "on")),
                (_, Some(text)) => Some(json!(text)),
                _ => None,
            };
            if let Some(default) = default {
                object.insert("default".into(), default);
            }
        }
        definitions.insert(key.name.to_owned(), definition);
        for name in spellings(key.name) {
            properties.insert(name, json!({"$ref": format!("#/$defs/{}", key.name)}));
        }
    }
    properties.insert(
        "environment".into(),
        json!({
            "description": "variables for the build and the running application",
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
            "additionalProperties": {"type": "string"},
        }),
    );
    properties.insert(
        "processes".into(),
        json!({
            "description": "what can be started, by name: lines for the shell, as in a Procfile",
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z0-9_-]+$"},
            "additionalProperties": {"type": "string"},
        }),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "[tool.warpdrive] in pyproject.toml",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "$defs": definitions,
    })
}

fn of_kind(kind: Kind) -> Value {
    match kind {
        Kind::Text => json!({"type": "string"}),
        Kind::List => json!({
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        }),
        Kind::OneOf(allowed) => {
            let all: Vec<String> = allowed.iter().flat_map(|name| spellings(name)).collect();
            json!({"enum": all})
        }
        Kind::Switch => json!({"enum": [true, false, "on", "off"]}),
        Kind::Instrument => json!({
            "type": "string",
            "pattern": format!(
                "^({}|autowrapt:\\s*[A-Za-z0-9_.-]+(\\s*[,\\s]\\s*[A-Za-z0-9_.-]+)*|)$",
                AGENTS.join("|")
            ),
        }),
    }
}

/// Arguments by what is started.
fn by_server() -> Value {
    let mut properties = Map::new();
    for name in STARTED.iter().flat_map(|name| spellings(name)) {
        properties.insert(name, json!({"type": "string"}));
    }
    json!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// A name with `_`, and with `-` if that differs.
fn spellings(name: &str) -> Vec<String> {
    let mut all = vec![name.to_owned()];
    if name.contains('_') {
        all.push(name.replace('_', "-"));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_in_it() {
        let schema = schema();
        for key in KEYS {
            let definition = &schema["$defs"][key.name];
            assert_eq!(definition["description"], key.help, "{}", key.name);
            assert!(schema["properties"][key.name].is_object(), "{}", key.name);
        }
        assert_eq!(
            schema["properties"]["server-type"]["$ref"],
            "#/$defs/server_type"
        );
        assert_eq!(schema["$defs"]["collectstatic"]["default"], true);
    }
}
