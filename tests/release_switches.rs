//! The switches by which tests leave a defence out are in no release: all code that names one is compiled
//! with debug assertions only. `scripts/check-release` says it of a finished executable, and `scripts/dist` asks
//! it; this reads the sources, compiles nothing, and tries the script.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use syn::visit::{self, Visit};

use crate::support::process;

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scripts")
        .join(name)
}

/// What `scripts/check-release` looks for.
fn switches() -> Vec<String> {
    let text = fs::read_to_string(script("check-release")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("words=("));
    let line = line.unwrap().strip_suffix(')').unwrap();
    line.split_whitespace()
        .map(|word| word.trim_matches('\'').to_owned())
        .collect()
}

/// Code that a release has, as far as it names a switch.
struct Released<'w> {
    words: &'w [String],
    found: BTreeSet<String>,
    /// Modules in files of their own that a release does not have.
    left_out: Vec<String>,
}

fn in_tests_alone(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|path| path.is_ident("debug_assertions") || path.is_ident("test"))
    })
}

impl Released<'_> {
    fn see(&mut self, text: &str) {
        let seen = self.words.iter().filter(|word| text.contains(*word));
        self.found.extend(seen.cloned());
    }
}

macro_rules! only_released {
    ($($method:ident: $kind:ident),*) => {
        $(fn $method(&mut self, part: &'ast syn::$kind) {
            if !in_tests_alone(&part.attrs) {
                visit::$method(self, part);
            }
        })*
    };
}

impl<'ast> Visit<'ast> for Released<'_> {
    only_released! {
        visit_item_fn: ItemFn, visit_item_const: ItemConst, visit_item_static: ItemStatic,
        visit_item_impl: ItemImpl, visit_item_use: ItemUse, visit_impl_item_fn: ImplItemFn,
        visit_local: Local, visit_expr_if: ExprIf, visit_expr_block: ExprBlock,
        visit_field_value: FieldValue, visit_arm: Arm, visit_variant: Variant, visit_field: Field
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if !in_tests_alone(&module.attrs) {
            visit::visit_item_mod(self, module);
        } else if module.content.is_none() {
            self.left_out.push(module.ident.to_string());
        }
    }

    fn visit_ident(&mut self, name: &'ast proc_macro2::Ident) {
        self.see(&name.to_string());
    }

    fn visit_lit_str(&mut self, text: &'ast syn::LitStr) {
        self.see(&text.value());
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.see(&call.tokens.to_string());
    }

    // Documentation is not code.
    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}
}

fn released(text: &str, words: &[String]) -> (BTreeSet<String>, Vec<String>) {
    let mut released = Released {
        words,
        found: BTreeSet::new(),
        left_out: Vec::new(),
    };
    released.visit_file(&syn::parse_file(text).unwrap());
    (released.found, released.left_out)
}

fn sources(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn no_code_of_a_release_names_a_switch_of_the_tests() {
    let words = switches();
    let mut files = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut files,
    );
    let (mut named, mut left_out) = (Vec::new(), BTreeSet::new());
    let mut everywhere = String::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let (found, modules) = released(&text, &words);
        left_out.extend(
            modules
                .iter()
                .map(|module| file.with_file_name(format!("{module}.rs"))),
        );
        if !found.is_empty() {
            named.push((file, found));
        }
        everywhere.push_str(&text);
    }
    named.retain(|(file, _)| !left_out.contains(file));
    assert!(named.is_empty(), "{named:#?}");
    // A switch of another name now would be looked for in vain.
    for word in &words {
        assert!(everywhere.contains(word), "{word} is in no source");
    }
}

#[test]
fn a_switch_in_a_release_is_found() {
    let words = ["SWITCH".to_owned(), "leave".to_owned()];
    for (text, found) in [
        ("fn f() { g(\"SWITCH\") }", true),
        ("fn f() { leave() }", true),
        ("fn f() { println!(\"SWITCH\") }", true),
        ("#[cfg(unix)] fn f() { leave() }", true),
        ("#[cfg(not(debug_assertions))] fn f() { leave() }", true),
        ("#[cfg(debug_assertions)] fn f() { leave() }", false),
        ("fn f() { #[cfg(debug_assertions)] { leave() } }", false),
        (
            "fn f() { #[cfg(debug_assertions)] let a = leave(); }",
            false,
        ),
        ("/// SWITCH\nfn f() {}", false),
    ] {
        assert_eq!(!released(text, &words).0.is_empty(), found, "{text}");
    }
}

/// The program of the tests has all switches. A release has no symbols, so what is searched here has none.
#[test]
fn the_script_names_every_switch_in_a_program_without_symbols() {
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("warpdrive");
    process::run(
        Command::new(process::tool("strip"))
            .arg("-o")
            .arg(&program)
            .arg(env!("CARGO_BIN_EXE_warpdrive")),
    );
    let output = process::output(Command::new(script("check-release")).arg(&program));
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    for word in switches() {
        process::says(&output, &format!("`{word}` is in {}", program.display()));
    }

    // Only a program of warpdrive without switches passes.
    for (content, status) in [("warpdrive-sandbox", 0), ("another program", 1)] {
        fs::write(&program, content).unwrap();
        let output = process::output(Command::new(script("check-release")).arg(&program));
        assert_eq!(output.status.code(), Some(status), "{output:?}");
    }
}

#[test]
fn what_people_install_is_searched_for_switches() {
    let text = fs::read_to_string(script("dist")).unwrap();
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("no `{part}`"));
    let searched = at("\nscripts/check-release \"$program\"\n");
    assert!(searched > at("\nprogram="));
    assert!(searched < at("install -m 755 \"$program\""));
}
