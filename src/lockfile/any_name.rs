//! The indexes of a project that are asked for every name, and that its installer does not know: those of PDM and
//! Poetry, and those of uv where it does not read them. (It reads `pyproject.toml` and `uv.toml` at the top.)

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::app::address::Address;
use crate::app::declared::binding::glob;
use crate::app::files::{self, Files};
use crate::app::pip_variables::{DEFAULT_INDEX, address, key};

use super::fit::at;
use super::packages::Index;

/// Variables with indexes that uv asks besides the usual one.
const OF_UV: [&str; 3] = ["UV_INDEX", "UV_EXTRA_INDEX_URL", "PIP_EXTRA_INDEX_URL"];

/// An index that is asked for every name.
#[derive(Debug, Clone)]
pub(super) struct AnyName {
    pub(super) manager: &'static str,
    pub(super) table: &'static str,
    /// The file with the table.
    pub(super) place: String,
    /// Its name, or else its host.
    pub(super) name: String,
    /// Without login.
    pub(super) address: String,
    /// What the table may say instead.
    pub(super) or: &'static str,
}

impl AnyName {
    fn new(
        manager: &'static str,
        (table, place): (&'static str, &str),
        name: Option<&str>,
        url: &str,
    ) -> Self {
        Self {
            manager,
            table,
            place: place.to_owned(),
            name: name
                .filter(|name| !name.is_empty())
                .map_or_else(|| shown_place(url).to_owned(), str::to_owned),
            address: address(url),
            or: match manager {
                "pdm" => "include_packages in it names the packages",
                "poetry" => {
                    "priority = \"explicit\" in it, and `source` at each package that is from there"
                }
                _ => {
                    "explicit = true in it, and [tool.uv.sources] names the packages that are from there"
                }
            },
        }
    }

    /// As a value of `UV_INDEX`.
    pub(super) fn option(&self) -> String {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.chars().all(is_name) {
            format!("{}={}", self.name, self.address)
        } else {
            self.address.clone()
        }
    }
}

/// Whether a name of PDM's sources is a pattern that fits this one.
pub(super) fn is_pattern(pattern: &str, name: &str) -> bool {
    pattern.contains(['*', '?', '[']) && glob(pattern, name)
}

/// The program that installs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Installer<'a> {
    pub(super) is_pip: bool,
    /// The variables of the build.
    pub(super) environment: &'a BTreeMap<String, String>,
}

impl Installer<'_> {
    /// Whether uv reads its tables in this directory.
    pub(super) fn reads(&self, directory: &str) -> bool {
        directory.is_empty() && !self.is_pip
    }

    /// Whether it asks this index for every name.
    fn asks(&self, url: &str) -> bool {
        let wanted = key(url);
        let more: &[&str] = if self.is_pip { &[] } else { &OF_UV };
        url.is_empty()
            || Index::at(None, url).url.is_none()
            || DEFAULT_INDEX
                .iter()
                .chain(more)
                .filter_map(|name| self.environment.get(*name))
                .flat_map(|value| value.split_whitespace())
                .any(|known| key(known) == wanted)
    }
}

/// The indexes of the project in a directory.
pub(super) fn of_directory(
    files: &dyn Files,
    directory: &str,
    installer: Installer<'_>,
) -> Vec<AnyName> {
    let table = |name: &str| {
        let path = files::join(directory, name).unwrap_or_default();
        let text = files.text(&path).unwrap_or_default();
        toml::from_str::<Table>(&text).unwrap_or_default()
    };
    let place = |name: &str| files::join(directory, name).unwrap_or_default();
    let mut found = Vec::new();
    let document = table("pyproject.toml");
    let of_uv = table("uv.toml");
    let settings = at(&document, &["tool", "uv"]).and_then(Value::as_table);
    if !installer.reads(directory) {
        for (table, file, settings) in [
            ("[[tool.uv.index]]", "pyproject.toml", settings),
            ("[[index]]", "uv.toml", Some(&of_uv)),
        ] {
            for (name, url) in settings.into_iter().flat_map(indexes_of_uv) {
                let place = place(file);
                add(&mut found, installer, ("uv", table, &place), name, url);
            }
        }
    }
    for (manager, table) in [
        ("pdm", "[[tool.pdm.source]]"),
        ("poetry", "[[tool.poetry.source]]"),
    ] {
        let sources = at(&document, &["tool", manager, "source"]).and_then(Value::as_array);
        for source in sources.into_iter().flatten() {
            let text = |key: &str| source.get(key).and_then(Value::as_str);
            let names_its_packages = match manager {
                "pdm" => source
                    .get("include_packages")
                    .and_then(Value::as_array)
                    .is_some_and(|names| !names.iter().any(|name| name.as_str() == Some("*"))),
                _ => text("priority") == Some("explicit"),
            };
            if !names_its_packages {
                let url = text("url").unwrap_or_default();
                let place = place("pyproject.toml");
                let of = (manager, table, place.as_str());
                add(&mut found, installer, of, text("name"), url);
            }
        }
    }
    found
}

fn add(
    found: &mut Vec<AnyName>,
    installer: Installer<'_>,
    (manager, table, place): (&'static str, &'static str, &str),
    name: Option<&str>,
    url: &str,
) {
    if !installer.asks(url) {
        found.push(AnyName::new(manager, (table, place), name, url));
    }
}

/// The patterns of names of PDM's sources that the installer does not ask first, with these sources.
pub(super) fn of_patterns(
    (document, place): (&Table, &str),
    installer: Installer<'_>,
) -> Vec<(String, AnyName)> {
    let mut found = Vec::new();
    let sources = at(document, &["tool", "pdm", "source"]).and_then(Value::as_array);
    for source in sources.into_iter().flatten() {
        let text = |key: &str| source.get(key).and_then(Value::as_str);
        let url = text("url").unwrap_or_default();
        let names = source.get("include_packages").and_then(Value::as_array);
        let names = names.into_iter().flatten().filter_map(Value::as_str);
        if installer.asks(url) {
            continue;
        }
        let table = ("[[tool.pdm.source]]", place);
        let one = AnyName::new("pdm", table, text("name"), url);
        found.extend(names.map(|name| (name.to_owned(), one.clone())));
    }
    found
}

/// Name and address of each index in uv's settings that is asked for every name.
fn indexes_of_uv(settings: &Table) -> Vec<(Option<&str>, &str)> {
    let mut found = Vec::new();
    let list = settings.get("index").and_then(Value::as_array);
    for index in list.into_iter().flatten() {
        let text = |key: &str| index.get(key).and_then(Value::as_str);
        if index.get("explicit").and_then(Value::as_bool) != Some(true) {
            found.push((text("name"), text("url").unwrap_or_default()));
        }
    }
    let old = [
        Some(settings),
        settings.get("pip").and_then(Value::as_table),
    ];
    for settings in old.into_iter().flatten() {
        let one = settings.get("index-url").and_then(Value::as_str);
        let more = settings.get("extra-index-url").and_then(Value::as_array);
        let more = more.into_iter().flatten().filter_map(Value::as_str);
        found.extend(one.into_iter().chain(more).map(|url| (None, url)));
    }
    found
}

/// The host of an address with its port, without a login.
fn shown_place(url: &str) -> &str {
    Address::of_scheme("https", url).shown_place()
}
