//! Translates pip's environment variables to uv's: users have set them for years, and uv reads
//! only its own. uv's own variables come first.

use std::collections::BTreeMap;

use super::address::{Address, name_and_address};

/// pip's variable, uv's, and other variables of uv with the same meaning.
const SAME: &[(&str, &str, &[&str])] = &[
    ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", &["UV_INDEX_URL"]),
    ("PIP_EXTRA_INDEX_URL", "UV_INDEX", &["UV_EXTRA_INDEX_URL"]),
    ("PIP_TRUSTED_HOST", "UV_INSECURE_HOST", &[]),
    ("PIP_CONSTRAINT", "UV_CONSTRAINT", &[]),
    ("PIP_DEFAULT_TIMEOUT", "UV_HTTP_TIMEOUT", &[]),
    ("PIP_TIMEOUT", "UV_HTTP_TIMEOUT", &[]),
    ("PIP_CLIENT_CERT", "SSL_CLIENT_CERT", &[]),
];

/// The variables with the index that is asked for every name.
pub const DEFAULT_INDEX: [&str; 3] = ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"];
const PYPI: [&str; 2] = ["https://pypi.org/simple", "https://pypi.python.org/simple"];

/// Whether one of these lines of a list names an index that counts instead of the variables' one. pip does it like
/// that; for uv the variables come first, and a private name would be asked of their index. A list that names `PyPI`, or
/// the variables' index without its login, changes nothing.
pub fn has_own_index<'l>(
    lines: impl IntoIterator<Item = &'l str>,
    environment: &BTreeMap<String, String>,
) -> bool {
    let known: Vec<String> = DEFAULT_INDEX
        .iter()
        .filter_map(|name| environment.get(*name))
        .map(|value| key(value))
        .chain(PYPI.map(key))
        .collect();
    lines.into_iter().any(|line| {
        let mut options = ["--index-url", "--pypi-url", "-i"].iter();
        let value = options.find_map(|option| line.trim().strip_prefix(option));
        let url = value.map(|value| value.trim_start_matches(['=', ' ', '\t']));
        url.is_some_and(|url| url.contains("://") && !known.contains(&key(url)))
    })
}

/// Whether it is the address of the public index.
pub fn is_pypi(index: &str) -> bool {
    let wanted = key(index);
    PYPI.iter().any(|known| key(known) == wanted)
}

/// The address of an index without its name (`corp=https://…`), its login, and the slash at its end.
pub fn address(index: &str) -> String {
    let (_, url) = name_and_address(index);
    let bare = Address::of(url).map_or_else(|| url.to_owned(), |url| url.without_login());
    bare.trim_end_matches('/').to_owned()
}

/// The same for people.
pub fn shown(index: &str) -> String {
    let (_, url) = name_and_address(index);
    let bare = Address::of(url).map_or_else(|| url.to_owned(), |url| url.shown());
    bare.trim_end_matches('/').to_owned()
}

/// Equal for two ways to write the address of one index.
pub fn key(index: &str) -> String {
    let (_, url) = name_and_address(index);
    Address::of(url).map_or_else(|| url.trim_end_matches('/').to_owned(), |url| url.key())
}

/// The variables that uv needs beside these.
pub fn for_uv(environment: &BTreeMap<String, String>) -> Vec<(String, String)> {
    let said = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let mut found: Vec<(String, String)> = SAME
        .iter()
        .filter(|(_, own, others)| said(own).is_none() && others.iter().all(|o| said(o).is_none()))
        .filter_map(|(pip, own, _)| Some(((*own).to_owned(), said(pip)?.clone())))
        // pip takes fractions of seconds, uv does not.
        .filter(|(own, value)| own != "UV_HTTP_TIMEOUT" || value.parse::<u64>().is_ok())
        .collect();
    if let Some(links) = said("PIP_FIND_LINKS").filter(|_| said("UV_FIND_LINKS").is_none()) {
        let links: Vec<&str> = links.split_whitespace().collect();
        found.push(("UV_FIND_LINKS".to_owned(), links.join(",")));
    }
    if let Some(proxy) = said("PIP_PROXY") {
        for name in ["HTTP_PROXY", "HTTPS_PROXY"] {
            if said(name).is_none() && said(&name.to_lowercase()).is_none() {
                found.push((name.to_owned(), proxy.clone()));
            }
        }
    }
    found
}

/// Options for uv's command line, for what it has no variables for.
pub fn options_for_uv(environment: &BTreeMap<String, String>) -> Vec<String> {
    let mut options = Vec::new();
    if is_on(environment, "PIP_PRE") {
        options.extend(["--prerelease", "allow"].map(str::to_owned));
    }
    if is_on(environment, "PIP_REQUIRE_HASHES") {
        options.push("--require-hashes".to_owned());
    }
    for (name, option) in [
        ("PIP_NO_BINARY", "--no-binary"),
        ("PIP_ONLY_BINARY", "--only-binary"),
    ] {
        let names = environment.get(name).map_or("", String::as_str);
        for one in names
            .split(',')
            .map(str::trim)
            .filter(|one| !one.is_empty())
        {
            options.extend([option.to_owned(), one.to_owned()]);
        }
    }
    options
}

/// Whether no index may be asked.
pub fn without_index(environment: &BTreeMap<String, String>) -> bool {
    // The first as the original has it: any text.
    environment
        .get("WARPDRIVE_PIP_NO_INDEX")
        .is_some_and(|value| !value.is_empty())
        || is_on(environment, "PIP_NO_INDEX")
}

/// Reads a switch as pip does.
fn is_on(environment: &BTreeMap<String, String>, name: &str) -> bool {
    environment.get(name).is_some_and(|value| {
        ["1", "y", "yes", "t", "true", "on"].contains(&value.to_lowercase().as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn words_of_pip() {
        let pip = environment(&[
            ("PIP_INDEX_URL", "https://a/"),
            ("PIP_EXTRA_INDEX_URL", "https://b/ https://c/"),
            ("PIP_FIND_LINKS", "x y"),
            ("PIP_NO_INDEX", "true"),
            ("PIP_TIMEOUT", "1.5"),
            ("PIP_PRE", "1"),
            ("PIP_ONLY_BINARY", "a,b"),
        ]);
        let found = for_uv(&pip);
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(
            found,
            [
                ("UV_DEFAULT_INDEX", "https://a/"),
                ("UV_INDEX", "https://b/ https://c/"),
                ("UV_FIND_LINKS", "x,y")
            ]
        );
        assert_eq!(
            options_for_uv(&pip).join(" "),
            "--prerelease allow --only-binary a --only-binary b"
        );
        assert!(without_index(&pip));
    }

    #[test]
    fn the_index_of_a_list_comes_first() {
        let mirror = environment(&[(
            "UV_DEFAULT_INDEX",
            "main=https://me:pw@mirror.example/simple/",
        )]);
        for (line, own) in [
            ("--index-url https://corp.example/simple", true),
            ("-i https://corp.example/simple", true),
            (
                "--index-url=https://${USER}:${TOKEN}@corp.example/simple",
                true,
            ),
            ("--index-url https://mirror.example/simple", false),
            ("--index-url https://pypi.org/simple/", false),
            ("--index-url https://PyPI.org:443/simple", false),
            // The host of this one ends at the `?`.
            ("--index-url https://corp.example?@pypi.org/simple", true),
            ("--extra-index-url https://corp.example/simple", false),
            ("flask", false),
        ] {
            assert_eq!(has_own_index([line], &mirror), own, "{line}");
        }
    }

    #[test]
    fn uv_has_the_last_word() {
        let both = environment(&[
            ("PIP_INDEX_URL", "https://a/"),
            ("UV_INDEX_URL", "https://u/"),
            ("PIP_EXTRA_INDEX_URL", ""),
            ("PIP_NO_INDEX", "0"),
        ]);
        assert_eq!(for_uv(&both), []);
        assert!(!without_index(&both));
    }
}
