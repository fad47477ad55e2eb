//! Holds the generated pages and schemas to what the tool itself says, pages that name tests to those that are there,
//! and docs/troubleshooting.md to the messages that the program has.
//! docs/reference/commands.md is the `--help` of every command. `UPDATE=1 cargo test --test integration reference` writes it again.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fmt::Write;
use std::path::Path;
use std::process::Command;

use proc_macro2::{TokenStream, TokenTree};

const INTRODUCTION: &str = "\
# Commands

What `--help` says of every command, in the order of `warpdrive --help`; written by
`UPDATE=1 cargo test --test integration reference`.

Results go to stdout, progress and the build's output to stderr. `--json` gives one JSON object on
stdout, also for a failure. What the exit codes mean: [exit-codes.md](exit-codes.md).
";

fn help(path: &[String], option: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_warpdrive"))
        .args(path)
        .arg(option)
        .env_clear()
        .output()
        .unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{path:?} {option}: {output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

fn subcommands(path: &[String]) -> Vec<String> {
    help(path, "-h")
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next().map(str::to_owned))
        .collect()
}

fn describe(path: &mut Vec<String>, page: &mut String) {
    let level = "#".repeat(path.len().min(2) + 1);
    let title = std::iter::once("warpdrive")
        .chain(path.iter().map(String::as_str))
        .collect::<Vec<_>>()
        .join(" ");
    let words = help(path, "--help");
    let words = words
        .lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n");
    write!(
        page,
        "\n{level} `{title}`\n\n```text\n{}\n```\n",
        words.trim_end()
    )
    .unwrap();
    for name in subcommands(path) {
        path.push(name);
        describe(path, page);
        path.pop();
    }
}

#[test]
fn the_page_of_commands_is_what_the_tool_says() {
    let mut page = INTRODUCTION.to_owned();
    describe(&mut Vec::new(), &mut page);
    let count = page.matches("```text\n").count();
    assert!(count > 70, "only {count} commands are found");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/commands.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, page).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/commands.md is out of date: UPDATE=1 cargo test --test integration reference"
    );
}

/// The names in a text that begin with `WARPDRIVE_`.
fn variables(text: &str) -> std::collections::BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_')
        .filter(|word| word.len() > "WARPDRIVE_".len() && word.starts_with("WARPDRIVE_"))
        .map(str::to_owned)
        .collect()
}

fn sources(directory: &Path, text: &mut String) {
    for item in std::fs::read_dir(directory).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|e| e == "rs" || e == "py") {
            text.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_variable_is_documented() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(root.join("build.rs")).unwrap();
    sources(&root.join("src"), &mut text);
    let page = std::fs::read_to_string(root.join("docs/reference/variables.md")).unwrap();
    let (used, documented) = (variables(&text), variables(&page));
    let missing: Vec<_> = used.difference(&documented).collect();
    assert!(
        missing.is_empty(),
        "not in docs/reference/variables.md: {missing:?}"
    );
}

#[test]
fn every_setting_and_hook_is_documented() {
    use warpdrive::app::settings::{HOOKS, KEYS};
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/reference/files.md")).unwrap();
    for name in KEYS.iter().map(|key| key.name).chain(HOOKS.iter().copied()) {
        assert!(
            page.contains(&format!("| `{name}` |")),
            "{name} is not in docs/reference/files.md"
        );
    }
}

/// A promise in SECURITY.md names the tests that hold it, and docs/original.md those of each difference.
#[test]
fn the_tests_that_pages_name_are_there() {
    for (page, least) in [("SECURITY.md", 30), ("docs/original.md", 20)] {
        named_tests_are_there(page, least);
    }
}

fn named_tests_are_there(page: &str, least: u32) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join(page)).unwrap();
    let mut count = 0;
    for name in text.split('`').skip(1).step_by(2) {
        let Some((place, function)) = name.rsplit_once("::") else {
            continue;
        };
        let function_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !function.chars().all(function_name) || function == "name" {
            continue;
        }
        let file = if place.starts_with("src/") {
            root.join(place)
        } else {
            root.join("tests")
                .join(format!("{}.rs", place.replace("::", "/")))
        };
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("{page}: {}", file.display()));
        let declaration = format!("fn {function}(");
        assert!(
            text.contains(&declaration),
            "{page}: {name} is not in {}",
            file.display()
        );
        count += 1;
    }
    assert!(count > least, "{page} names only {count} tests");
}

/// The texts in source code, with `…` for what is filled in; without documentation.
fn literals(tokens: TokenStream, into: &mut Vec<String>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(sign) if sign.as_char() == '#' => {
                tokens.next_if(
                    |next| matches!(next, TokenTree::Punct(sign) if sign.as_char() == '!'),
                );
                tokens.next_if(|next| {
                    matches!(next, TokenTree::Group(group)
                        if group.stream().to_string().starts_with("doc"))
                });
            }
            TokenTree::Group(group) => literals(group.stream(), into),
            TokenTree::Literal(literal) => {
                if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                    into.push(filled_in(&text.value()));
                }
            }
            _ => {}
        }
    }
}

fn filled_in(format: &str) -> String {
    let mut text = String::new();
    for (number, part) in format.replace('`', "").split('{').enumerate() {
        match part.split_once('}') {
            Some((_, rest)) if number > 0 => {
                text.push('…');
                text.push_str(rest);
            }
            _ => text.push_str(part),
        }
    }
    text
}

/// Whether words are in a text of the program, or at the end of one and, as something that is filled in there,
/// at the beginning of another.
fn is_said(words: &str, texts: &[String]) -> bool {
    let ends = |part: &str| {
        texts
            .iter()
            .any(|text| text.contains(&format!("{part} …")) || text.trim_end().ends_with(part))
    };
    texts.iter().any(|text| text.contains(words))
        || words.match_indices(' ').any(|(at, _)| {
            let rest = &words[at + 1..];
            texts.iter().any(|text| text.starts_with(rest)) && ends(&words[..at])
        })
}

#[test]
fn the_messages_of_troubleshooting_are_said() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts: Vec<String> = (1..134)
        .map(|number| std::io::Error::from_raw_os_error(number).to_string())
        .collect();
    let mut files = Vec::new();
    rust_files(&root.join("src"), &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        literals(text.parse().unwrap(), &mut texts);
    }
    let page = std::fs::read_to_string(root.join("docs/troubleshooting.md")).unwrap();
    let messages: Vec<String> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" |"))
        .map(|(message, _)| message.replace('`', ""))
        .filter(|message| message != "message")
        .collect();
    assert!(messages.len() > 25, "{messages:#?}");
    for message in messages {
        for part in message.split('…') {
            let part = part.trim_matches([' ', ';', ':', ',', '.']);
            assert!(
                is_said(part, &texts),
                "docs/troubleshooting.md: `{message}`: nothing in src says `{part}`"
            );
        }
    }
}

#[test]
fn a_message_that_changed_is_noticed() {
    let mut texts = Vec::new();
    let source = r#"
        /// nothing says this
        #[error("the {phase} phase {}", how(*code))]
        fn how(code: i32) -> String { format!("failed with status {code}") }
        fn other() { println!("{name} ended with status {status}") }
    "#;
    literals(source.parse().unwrap(), &mut texts);
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(is_said("phase failed with status", &texts), "{texts:?}");
    assert!(is_said("ended with status", &texts), "{texts:?}");
    for changed in ["phase ended with status", "nothing says this"] {
        assert!(!is_said(changed, &texts), "{changed}: {texts:?}");
    }
}

/// Those that a release is made of, or that are tests within them.
fn rust_files(directory: &Path, into: &mut Vec<std::path::PathBuf>) {
    for item in std::fs::read_dir(directory).unwrap() {
        let path = item.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs")
            && !path.to_string_lossy().ends_with("tests.rs")
        {
            into.push(path);
        }
    }
}

/// The schemas that editors take: of the table alone, and of a pyproject.toml with it.
#[test]
fn the_schemas_of_the_settings_are_what_the_tool_says() {
    let output = Command::new(env!("CARGO_BIN_EXE_warpdrive"))
        .args(["settings", "--schema"])
        .output()
        .unwrap();
    let table: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut inner = table.clone();
    inner.as_object_mut().unwrap().remove("$schema");
    inner["$id"] = "https://warpdrive.example/partial-warpdrive.json".into();
    let whole = serde_json::json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pyproject.toml with [tool.warpdrive]",
        "allOf": [{"$ref": "https://json.schemastore.org/pyproject.json"}],
        "type": "object",
        "properties": {"tool": {"type": "object", "properties": {"warpdrive": inner}}},
    });
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference");
    for (name, schema) in [
        ("partial-warpdrive.json", &table),
        ("pyproject-warpdrive.json", &whole),
    ] {
        let text = format!("{schema:#}\n");
        let file = directory.join(name);
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&file, text).unwrap();
            continue;
        }
        let written = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            written == text,
            "docs/reference/{name} is out of date: UPDATE=1 cargo test --test integration reference"
        );
    }
}
