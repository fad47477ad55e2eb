//! Keeps the number of dependencies below a ceiling and their licences on a list: see
//! `crate_policy.toml` beside this file.

use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn policy() -> toml::Table {
    read("tests/crate_policy.toml")
        .parse()
        .expect("tests/crate_policy.toml is TOML")
}

#[test]
fn the_number_of_dependencies_stays_below_its_ceiling() {
    let ceiling = policy()["ceiling"].as_integer().expect("a number");
    let lock: toml::Table = read("Cargo.lock").parse().expect("Cargo.lock is TOML");
    let packages = lock["package"].as_array().expect("a list of packages");
    let count = i64::try_from(packages.len()).expect("a number of packages");
    assert!(
        count <= ceiling,
        "Cargo.lock has {count} packages, the ceiling is {ceiling}: tests/crate_policy.toml"
    );
}

/// What cargo says of a workspace, whose lock has to fit it.
fn metadata(manifest: &str) -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        // What is built on this platform is what is here: nothing has to be downloaded for it.
        .args(["--filter-platform", "x86_64-unknown-linux-gnu"])
        .args(["--manifest-path", manifest])
        .current_dir(root())
        .output()
        .expect("cargo starts");
    assert!(
        output.status.success(),
        "cargo metadata of {manifest}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("cargo speaks JSON")
}

/// The fuzz targets are a workspace of their own. A crate that is new in the other one is missing in their
/// lock until `cargo metadata` was run in `fuzz`.
#[test]
fn the_lock_of_the_fuzz_targets_fits_the_workspace() {
    metadata("fuzz/Cargo.toml");
}

#[test]
fn every_dependency_has_a_licence_of_the_list() {
    let policy = policy();
    let allowed: Vec<&str> = policy["licences"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(toml::Value::as_str)
        .collect();
    let metadata = metadata("Cargo.toml");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    assert!(!packages.is_empty());
    let refused: Vec<String> = packages
        .iter()
        .filter(|package| {
            !package["license"]
                .as_str()
                .is_some_and(|licence| is_allowed(licence, &allowed))
        })
        .map(|package| {
            format!(
                "{} {}: {}",
                package["name"], package["version"], package["license"]
            )
        })
        .collect();
    assert!(
        refused.is_empty(),
        "not on the list of tests/crate_policy.toml:\n{}",
        refused.join("\n")
    );
}

/// Whether an SPDX expression can be met with the licences of the list. AND binds tighter than OR;
/// the slash of old manifests means OR.
fn is_allowed(expression: &str, allowed: &[&str]) -> bool {
    let text = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = text.split_whitespace().peekable();
    let met = any_of(&mut words, allowed);
    met && words.next().is_none()
}

type Words<'text> = std::iter::Peekable<std::str::SplitWhitespace<'text>>;

fn any_of(words: &mut Words, allowed: &[&str]) -> bool {
    let mut met = all_of(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut Words, allowed: &[&str]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words, allowed: &[&str]) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let met = any_of(words, allowed);
        return words.next() == Some(")") && met;
    }
    let Some(mut licence) = words.next().map(String::from) else {
        return false;
    };
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{licence} WITH {}", words.next().unwrap_or_default());
    }
    allowed.contains(&licence.as_str())
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT", "Zlib", "A WITH x"];
    for yes in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/GPL",
        "MIT AND Zlib",
        "(GPL OR MIT) AND Zlib",
        "A WITH x OR B",
    ] {
        assert!(is_allowed(yes, &allowed), "{yes}");
    }
    for no in [
        "GPL",
        "",
        "MIT AND GPL",
        "(MIT OR GPL) AND GPL",
        "A",
        "A WITH y",
        "MIT)",
        "(MIT",
        "MIT Zlib",
    ] {
        assert!(!is_allowed(no, &allowed), "{no}");
    }
    assert!(
        is_allowed("GPL OR MIT AND Zlib", &allowed),
        "AND binds tighter"
    );
}
