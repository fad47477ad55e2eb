//! The exact files that were installed: recorded in the image, and as a lock file (PEP 751) for
//! `image --write-lock`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::installed::Dependencies;
use super::locked_wheel::LockedWheel;

/// The wheels' file names and their SHA-256, for the image's record.
pub(super) fn files(dependencies: &Dependencies) -> BTreeMap<String, String> {
    let wheels = dependencies.wheels.iter();
    wheels
        .map(|wheel| (wheel.artifact.file.clone(), wheel.pin.wheel.clone()))
        .collect()
}

/// The lock file of the installation. `list` is the digest of the list that it came from. `None`
/// if a file is not known: something was built, or is not from an index.
pub(super) fn text(dependencies: &Dependencies, python: &str, list: &str) -> Option<String> {
    if dependencies.wheels.len() != dependencies.resolved.len() {
        return None;
    }
    let mut text = format!(
        "# Written by `warpdrive image --write-lock`; `warpdrive image` goes by it, and so does\n\
         # `uv pip install -r`.\n\
         lock-version = \"1.0\"\n\
         created-by = \"warpdrive\"\n\
         requires-python = \"=={python}.*\"\n"
    );
    if dependencies.wheels.is_empty() {
        text.push_str("packages = []\n");
    }
    for LockedWheel { pin, artifact } in &dependencies.wheels {
        let _ = write!(
            text,
            "\n[[packages]]\nname = {}\nversion = {}\n",
            quoted(&pin.name),
            quoted(&pin.version)
        );
        if let Some(index) = &artifact.index {
            let _ = writeln!(text, "index = {}", quoted(index));
        }
        let url = artifact.url.as_ref()?;
        let _ = write!(
            text,
            "wheels = [{{ name = {}, url = {}, ",
            quoted(&artifact.file),
            quoted(url)
        );
        if let Some(size) = artifact.size {
            let _ = write!(text, "size = {size}, ");
        }
        let _ = writeln!(text, "hashes = {{ sha256 = {} }} }}]", quoted(&pin.wheel));
    }
    let _ = write!(
        text,
        "\n# Of the list of requirements that this was resolved from.\n[tool.warpdrive]\nlist = {}\n",
        quoted(list)
    );
    Some(text)
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
