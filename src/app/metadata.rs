//! What a project says about itself in `pyproject.toml`: `[project] name`, `version`, `description`
//! (PEP 621), for an image's labels.

use super::files::Files;

/// Longest value that becomes a label.
const MAX_LENGTH: usize = 256;

/// Values of the `[project]` table; all of them may be missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    pub name: Option<String>,
    pub version: Option<String>,
    pub description: Option<String>,
}

/// Reads them; a value that cannot be read counts as missing (detection reports a broken file).
pub fn read(files: &dyn Files) -> Metadata {
    let project = files
        .text("pyproject.toml")
        .and_then(|text| text.parse::<toml::Table>().ok())
        .and_then(|table| table.get("project")?.as_table().cloned())
        .unwrap_or_default();
    let word = |key: &str| {
        let text = project.get(key)?.as_str()?;
        let good = !text.is_empty() && text.len() <= MAX_LENGTH && !text.contains(char::is_control);
        good.then(|| text.to_owned())
    };
    Metadata {
        name: word("name"),
        version: word("version"),
        description: word("description"),
    }
}
