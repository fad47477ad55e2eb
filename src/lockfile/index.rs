//! Package indexes: their pages (PEP 503, PEP 691), and the logins that the managers' variables give.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::packages::{File, Index, is_file_name, sha256};

/// A file that an index has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub file: File,
    /// As on the page: may be relative to the page.
    pub href: String,
    /// Yanked: must not be chosen (PEP 592).
    pub withdrawn: bool,
    /// Its Python versions (PEP 345), if the page has them.
    requires_python: Option<String>,
}

impl Link {
    /// Whether it is for this version of Python.
    pub fn is_for(&self, python: &str) -> bool {
        self.requires_python
            .as_deref()
            .is_none_or(|condition| super::requirement::allows(condition, python))
    }
}

#[derive(Deserialize)]
struct Document {
    files: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    size: Option<u64>,
    #[serde(default)]
    yanked: serde_json::Value,
    #[serde(rename = "requires-python")]
    requires_python: Option<String>,
}

/// The files on an index's page with a SHA-256. Unreadable entries are ignored.
pub fn links(content_type: &str, text: &str) -> Vec<Link> {
    let json = content_type.contains("json");
    let found = if json { of_json(text) } else { of_html(text) };
    found
        .into_iter()
        .filter(|link| is_file_name(&link.file.name))
        .collect()
}

fn of_json(text: &str) -> Vec<Link> {
    let Ok(document) = serde_json::from_str::<Document>(text) else {
        return Vec::new();
    };
    let entries = document.files.into_iter();
    entries
        .filter_map(|entry| {
            let hash = entry.hashes.get("sha256")?;
            Some(Link {
                file: File {
                    name: entry.filename,
                    url: None,
                    sha256: sha256(&format!("sha256:{hash}"))?,
                    size: entry.size,
                },
                href: entry.url,
                // A reason, or `true`.
                withdrawn: !matches!(
                    entry.yanked,
                    serde_json::Value::Null | serde_json::Value::Bool(false)
                ),
                requires_python: entry.requires_python,
            })
        })
        .collect()
}

/// The `href`s of the anchors; by PEP 503, a page has nothing else.
fn of_html(text: &str) -> Vec<Link> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("<a") {
        rest = &rest[at + 2..];
        let end = end_of_tag(rest);
        let attributes = &rest[..end];
        let attribute = |name: &str| {
            let at = attributes.find(name)? + name.len();
            let value = attributes[at..]
                .trim_start()
                .strip_prefix('=')?
                .trim_start();
            let quote = value.chars().next().filter(|c| *c == '"' || *c == '\'')?;
            let text = value[1..].split(quote).next()?;
            let text = text.replace("&lt;", "<").replace("&gt;", ">");
            Some(text.replace("&amp;", "&"))
        };
        let Some(href) = attribute("href") else {
            continue;
        };
        let Some((url, fragment)) = href.split_once('#') else {
            continue;
        };
        let hash = fragment
            .split('&')
            .find_map(|part| part.strip_prefix("sha256="))
            .and_then(|hash| sha256(&format!("sha256:{hash}")));
        if let Some(sha256) = hash {
            found.push(Link {
                file: File {
                    name: File::name_of(url),
                    url: None,
                    sha256,
                    size: None,
                },
                href: url.to_owned(),
                withdrawn: attributes.contains("data-yanked"),
                requires_python: attribute("data-requires-python"),
            });
        }
    }
    found
}

/// The end of a tag: the first `>` outside of an attribute's value.
fn end_of_tag(text: &str) -> usize {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match quote {
            None if c == '>' => return at,
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
    }
    text.len()
}

/// The name of an index as it stands in the names of variables.
pub fn variable_name(name: &str) -> String {
    let letter = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    name.trim().chars().map(letter).collect()
}

/// The login that the managers' variables give for an index: `UV_INDEX_NAME_USERNAME` and `…_PASSWORD`,
/// `POETRY_HTTP_BASIC_NAME_USERNAME` and `…_PASSWORD`.
pub fn credentials(
    index: &Index,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Option<(String, String)> {
    let name = variable_name(index.name.as_ref()?);
    ["UV_INDEX", "POETRY_HTTP_BASIC"].iter().find_map(|start| {
        let user = variables(&format!("{start}_{name}_USERNAME"));
        let password = variables(&format!("{start}_{name}_PASSWORD"));
        (user.is_some() || password.is_some())
            .then(|| (user.unwrap_or_default(), password.unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "6bc31bbbec6dfaaedc1676dbc11dbda96fe22a2b5c400e9ebad113fec44a9dc6";

    #[test]
    fn pages_in_both_forms() {
        let html = format!(
            "<a class='x' href=\"../../f/a-1-py3-none-any.whl#sha256={HASH}\" data-x='>'>a</a>\n<a href='b.whl'>b</a><a href=\"x.whl#md5=1\">"
        );
        let found = links("text/html", &html);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].file.name, "a-1-py3-none-any.whl");
        assert_eq!(found[0].href, "../../f/a-1-py3-none-any.whl");
        assert!(!found[0].withdrawn && found[0].is_for("3.9"));
        let html = format!(
            "<a href=\"a-2.tar.gz#sha256={HASH}\" data-requires-python=\"&gt;=3.10\" data-yanked=\"\">a</a>"
        );
        let found = links("text/html", &html);
        assert!(found[0].withdrawn && found[0].is_for("3.11") && !found[0].is_for("3.9.2"));
        let json = format!(
            r#"{{"files": [{{"filename": "a-1.tar.gz", "url": "https://f/a-1.tar.gz", "hashes": {{"sha256": "{HASH}"}}, "size": 7}}, {{"filename": "../x", "url": "y", "hashes": {{"sha256": "{HASH}"}}}}]}}"#
        );
        let found = links("application/vnd.pypi.simple.v1+json", &json);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].file.size, Some(7));
        let yanked = json.replace("\"size\"", "\"yanked\": \"broken\", \"size\"");
        assert!(links("application/vnd.pypi.simple.v1+json", &yanked)[0].withdrawn);
    }

    #[test]
    fn logins_by_name() {
        let index = Index {
            name: Some("my-corp".into()),
            url: None,
        };
        let variables = |name: &str| match name {
            "UV_INDEX_MY_CORP_USERNAME" => Some("ci".to_owned()),
            "UV_INDEX_MY_CORP_PASSWORD" => Some("x".to_owned()),
            _ => None,
        };
        assert_eq!(
            credentials(&index, &variables),
            Some(("ci".into(), "x".into()))
        );
        assert_eq!(credentials(&Index::default(), &variables), None);
    }

    proptest::proptest! {
        #[test]
        fn any_page_is_read(text in ".{0,200}") {
            links("text/html", &text);
            links("application/json", &text);
        }
    }
}
