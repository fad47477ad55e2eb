//! Holds the arrows between the modules: a part knows nothing of the parts above it.
//!
//! Reads every `use crate::…` and `crate::…::` path below `src/` and compares it with the table
//! below, which is the one in `src/lib.rs` and docs/architecture.md in another form.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Module → the modules that it may name.
const ARROWS: &[(&str, &[&str])] = &[
    ("oci", &[]),
    ("beneath", &[]),
    ("parallel", &[]),
    ("progress", &[]),
    ("layer", &["beneath", "oci", "progress"]),
    ("store", &["oci", "layer"]),
    (
        "rootfs",
        &["beneath", "layer", "store", "sandbox", "oci", "parallel"],
    ),
    ("sandbox", &[]),
    ("app", &[]),
    ("lockfile", &["app"]),
    (
        "source",
        &["beneath", "oci", "store", "layer", "app", "progress"],
    ),
    ("s2i", &["oci", "layer", "source"]),
    ("registry", &["oci", "store", "layer", "progress"]),
    ("audit", &["oci", "store", "layer", "app", "progress"]),
    ("remote_cache", &["oci", "store", "registry", "progress"]),
    (
        "transport",
        &["beneath", "oci", "store", "layer", "registry", "progress"],
    ),
    (
        "container",
        &["oci", "store", "layer", "rootfs", "sandbox", "progress"],
    ),
    (
        "builder",
        &[
            "oci", "store", "layer", "rootfs", "sandbox", "app", "progress",
        ],
    ),
    (
        "pod",
        &["oci", "store", "layer", "rootfs", "sandbox", "builder"],
    ),
    (
        "pipeline",
        &[
            "beneath",
            "oci",
            "store",
            "layer",
            "rootfs",
            "sandbox",
            "app",
            "lockfile",
            "source",
            "s2i",
            "registry",
            "transport",
            "builder",
            "audit",
            "remote_cache",
            "pod",
            "parallel",
            "progress",
        ],
    ),
    ("doctor", &["sandbox", "store", "builder", "pod"]),
    (
        "inspection",
        &["oci", "store", "layer", "audit", "pipeline", "progress"],
    ),
    ("dev", &["app", "container", "sandbox", "store"]),
    (
        "cli",
        &[
            "beneath",
            "dev",
            "inspection",
            "doctor",
            "oci",
            "store",
            "layer",
            "rootfs",
            "sandbox",
            "app",
            "source",
            "s2i",
            "registry",
            "transport",
            "builder",
            "lockfile",
            "pipeline",
            "remote_cache",
            "container",
            "audit",
            "pod",
            "progress",
        ],
    ),
];

fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for item in fs::read_dir(directory).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

/// The modules that a line names behind `crate::`.
fn named(line: &str) -> Vec<String> {
    line.match_indices("crate::")
        .map(|(at, word)| {
            line[at + word.len()..]
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect()
        })
        .collect()
}

#[test]
fn a_part_names_only_parts_below_it() {
    let arrows: BTreeMap<&str, &[&str]> = ARROWS.iter().copied().collect();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    let mut checked = 0;
    for path in rust_files(&src) {
        let relative = path.strip_prefix(&src).unwrap();
        let module = relative
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs");
        // These are crates of their own, which depend on nothing here: the compiler holds that.
        if matches!(module, "app" | "sandbox") {
            continue;
        }
        let Some(allowed) = arrows.get(module) else {
            // lib.rs, main.rs and bin/ stand above everything.
            assert!(matches!(module, "lib" | "main"), "new module {module}");
            continue;
        };
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            if line.trim_start().starts_with("//") {
                continue;
            }
            for name in named(line) {
                checked += 1;
                let known = arrows.contains_key(name.as_str());
                if known && name != module && !allowed.contains(&name.as_str()) {
                    wrong.push(format!(
                        "src/{}:{}: {module} must not know {name}",
                        relative.display(),
                        number + 1
                    ));
                }
            }
        }
    }
    assert!(checked > 50, "the test reads the sources: {checked}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Where the source is has nothing to do with what is in it; and an audit is of any image.
#[test]
fn of_applications_some_parts_know_one_file() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (module, file) in [("source", "::address::"), ("audit", "::contract::")] {
        for path in rust_files(&src.join(module)) {
            let text = fs::read_to_string(&path).unwrap();
            for (at, word) in text.match_indices("crate::app") {
                let what = &text[at + word.len()..];
                assert!(what.starts_with(file), "{}", path.display());
            }
        }
    }
}

/// What a project says is read in one place of a build, with all that the caller says, and passed on.
#[test]
fn a_build_reads_the_project_once() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let loaders = [
        (
            "Settings::load(",
            vec!["pipeline/local.rs", "pipeline/plan.rs"],
        ),
        (
            "Project::read(",
            vec!["pipeline/local.rs", "pipeline/plan.rs"],
        ),
        ("Project::load(", vec![]),
        ("Project::load_listed(", vec![]),
        // It reads the project by itself, as the in-image tool does, for which a laptop is made ready.
        ("app::detect(", vec!["pipeline/local.rs"]),
    ];
    for (loader, wanted) in loaders {
        let mut found = Vec::new();
        for path in rust_files(&src) {
            let relative = path.strip_prefix(&src).unwrap();
            // The part that runs in images reads what is there.
            if relative.starts_with("app") || relative.ends_with("tests.rs") {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap();
            for _ in code.matches(loader) {
                found.push(relative.to_str().unwrap().to_owned());
            }
        }
        found.sort();
        assert_eq!(found, wanted, "{loader}");
    }
}

/// What the host and the executable in images say to each other has its names in one file.
#[test]
fn host_and_image_have_one_contract() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let contract = fs::read_to_string(src.join("app/contract.rs")).unwrap();
    let names: Vec<String> = contract
        .lines()
        .filter_map(|line| line.split_once(": &str = "))
        .map(|(_, value)| value.trim_end_matches(';'))
        .filter(|value| value.starts_with('"'))
        // A path may also begin without its slash.
        .flat_map(|value| {
            let relative = value.strip_prefix("\"/").map(|path| format!("\"{path}"));
            [value.to_owned()].into_iter().chain(relative)
        })
        .collect();
    assert!(names.len() > 10, "{names:?}");
    for path in rust_files(&src) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.ends_with("app/contract.rs") || name.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for name in &names {
            assert!(!code.contains(name.as_str()), "{}: {name}", path.display());
        }
    }
}

/// docs/architecture.md says of every file of tests which part it is of.
#[test]
fn every_file_of_tests_is_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/architecture.md")).unwrap();
    let (_, table) = page.split_once("## Which part, which tests").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let files = fs::read_to_string(root.join("tests/main.rs")).unwrap();
    let modules = files.lines().filter_map(|line| {
        let name = line.strip_prefix("mod ")?.strip_suffix(';')?;
        (!matches!(name, "support" | "fixtures")).then_some(name)
    });
    for name in modules {
        assert!(table.contains(&format!("`{name}`")), "{name}");
    }
}

/// A function that needs more takes a struct that says what they are together.
#[test]
fn no_function_of_the_pipeline_takes_too_much() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pipeline");
    for path in rust_files(&src) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("too_many_arguments"), "{}", path.display());
    }
}

/// Which of the two is which has names in an enum.
#[test]
fn no_result_is_in_a_result() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in rust_files(&src) {
        let text = fs::read_to_string(&path).unwrap();
        let text: String = text.split_whitespace().collect();
        for (at, word) in text.match_indices("Result<") {
            let inner = text[at + word.len()..].split(['<', ',', '>']).next();
            let inner = inner.unwrap().rsplit("::").next().unwrap();
            assert_ne!(inner, "Result", "{}", path.display());
        }
    }
}

/// The compiler forbids it elsewhere, as long as the crates say so.
#[test]
fn unsafe_code_lies_in_the_sandbox_only() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for root in [
        "lib.rs",
        "main.rs",
        "app/lib.rs",
        "app/main.rs",
        "beneath/lib.rs",
    ] {
        let text = fs::read_to_string(src.join(root)).unwrap();
        assert!(
            text.lines().any(|line| line == "#![forbid(unsafe_code)]"),
            "{root}"
        );
    }
}

/// Only tests leave a defence out ([`warpdrive::sandbox::Defence`]).
#[test]
fn no_defence_of_the_sandbox_is_left_out() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in rust_files(&src) {
        let relative = path.strip_prefix(&src).unwrap();
        if relative.starts_with("sandbox") {
            continue;
        }
        for line in fs::read_to_string(&path).unwrap().lines() {
            let code = line.split("//").next().unwrap_or("").trim();
            assert!(
                !code.contains("Defence")
                    && (!code.starts_with("without: ")
                        || code == "without: Vec::new(),"
                        || code == "without: &str,"),
                "{}: {line}",
                relative.display()
            );
        }
    }
}
