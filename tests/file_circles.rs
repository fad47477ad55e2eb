//! No circle of files: what a file names lies below it, within modules too.
//!
//! Reads every file below `src/` with a real parser, follows what `use` brings in to the file that defines
//! it (through re-exports), and looks for circles. One kind is left aside: a `mod.rs` names its own children,
//! and they name what it defines. Test modules do not count.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// A path of modules below the crate's root: `["app", "detect"]`.
type ModulePath = Vec<String>;

/// One file of the crate.
struct Source {
    file: PathBuf,
    /// What `use` brings in: the name here, and the path that it stands for.
    brought_in: Vec<(String, ModulePath)>,
    /// All that comes in by `use x::*`.
    globs: Vec<ModulePath>,
    /// All paths that the file names, as they are written.
    named: BTreeSet<Vec<String>>,
}

/// The root of the crate that a module is in: two folders are crates of their own.
fn root(module: &ModulePath) -> ModulePath {
    match module.first().map(String::as_str) {
        Some(own @ ("app" | "sandbox")) => vec![own.to_owned()],
        _ => Vec::new(),
    }
}

/// Collects the names of one file.
struct Reader {
    module: ModulePath,
    source: Source,
}

impl Reader {
    /// `crate::a::b`, `super::b` and `self::b` as a path from the root; others as they are.
    fn absolute(&self, path: &[String]) -> Option<ModulePath> {
        let mut absolute = match path.first()?.as_str() {
            "crate" => root(&self.module),
            "self" => self.module.clone(),
            "super" => {
                let mut up = self.module.clone();
                up.pop();
                up
            }
            _ => return None,
        };
        for name in &path[1..] {
            if name == "super" {
                absolute.pop();
            } else {
                absolute.push(name.clone());
            }
        }
        Some(absolute)
    }

    fn bring_in(&mut self, before: &mut Vec<String>, tree: &syn::UseTree) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.bring_in(before, &path.tree);
                before.pop();
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.bring_in(before, tree);
                }
            }
            syn::UseTree::Glob(_) => {
                let absolute = self
                    .absolute(before)
                    .unwrap_or_else(|| [self.module.clone(), before.clone()].concat());
                self.source.globs.push(absolute);
            }
            syn::UseTree::Name(name) => {
                self.name(before, &name.ident.to_string(), &name.ident.to_string());
            }
            syn::UseTree::Rename(rename) => {
                self.name(
                    before,
                    &rename.ident.to_string(),
                    &rename.rename.to_string(),
                );
            }
        }
    }

    fn name(&mut self, before: &[String], name: &str, here: &str) {
        let mut path = before.to_vec();
        let mut here = here.to_owned();
        if name == "self" {
            if here == "self" {
                here = before.last().cloned().unwrap_or_default();
            }
        } else {
            path.push(name.to_owned());
        }
        let absolute = self
            .absolute(&path)
            .unwrap_or_else(|| [self.module.clone(), path.clone()].concat());
        self.source.brought_in.push((here, absolute));
        self.source.named.insert(path);
    }

    /// Paths within a macro's words, which are not parsed.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end(&mut path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                }
                TokenTree::Group(group) => {
                    self.end(&mut path);
                    self.tokens(group.stream());
                }
                _ => self.end(&mut path),
            }
        }
        self.end(&mut path);
    }

    fn end(&mut self, path: &mut Vec<String>) {
        if path.len() > 1 {
            self.source.named.insert(path.clone());
        }
        path.clear();
    }
}

fn for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && matches!(&attribute.meta, syn::Meta::List(list) if list.tokens.to_string() == "test")
    })
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !for_tests(&item.attrs) {
            self.bring_in(&mut Vec::new(), &item.tree);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !for_tests(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        if !for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    // `pub(super)` names nothing.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let words = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.source.named.insert(words);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, found: &'ast syn::Macro) {
        self.tokens(found.tokens.clone());
    }
}

/// The files below `directory`, by their module.
fn read(directory: &Path, module: &ModulePath, sources: &mut BTreeMap<ModulePath, Source>) {
    for item in fs::read_dir(directory).unwrap() {
        let path = item.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            let below = [module.clone(), vec![stem]].concat();
            read(&path, &below, sources);
            continue;
        }
        let tests = stem == "tests" || stem.ends_with("_tests");
        if path.extension().is_none_or(|extension| extension != "rs") || tests {
            continue;
        }
        let module = match stem.as_str() {
            "mod" | "lib" => module.clone(),
            _ => [module.clone(), vec![stem]].concat(),
        };
        let text = fs::read_to_string(&path).unwrap();
        let mut reader = Reader {
            module: module.clone(),
            source: Source {
                file: path.clone(),
                brought_in: Vec::new(),
                globs: Vec::new(),
                named: BTreeSet::new(),
            },
        };
        reader.visit_file(&syn::parse_file(&text).unwrap());
        sources.insert(module, reader.source);
    }
}

/// The module that defines what `path` names, through re-exports.
fn defining(
    sources: &BTreeMap<ModulePath, Source>,
    path: &[String],
    depth: usize,
) -> Option<ModulePath> {
    let mut known = 0;
    for end in (1..=path.len()).rev() {
        if sources.contains_key(&path[..end]) {
            known = end;
            break;
        }
    }
    if known == 0 {
        return None;
    }
    let module = &path[..known];
    let Some(name) = path.get(known) else {
        return Some(module.to_vec());
    };
    if depth < 8 {
        for (here, target) in &sources[module].brought_in {
            if here == name && target.as_slice() != path {
                let rest = [target.clone(), path[known + 1..].to_vec()].concat();
                if let Some(found) = defining(sources, &rest, depth + 1) {
                    return Some(found);
                }
            }
        }
        for glob in &sources[module].globs {
            let all = [glob.clone(), path[known..].to_vec()].concat();
            if let Some(found) = defining(sources, &all, depth + 1)
                && found != *glob
            {
                return Some(found);
            }
        }
    }
    Some(module.to_vec())
}

/// File → the files that it names.
fn arrows(sources: &BTreeMap<ModulePath, Source>) -> BTreeMap<ModulePath, BTreeSet<ModulePath>> {
    let mut arrows: BTreeMap<ModulePath, BTreeSet<ModulePath>> = BTreeMap::new();
    for (module, source) in sources {
        let reader = Reader {
            module: module.clone(),
            source: Source {
                file: PathBuf::new(),
                brought_in: Vec::new(),
                globs: Vec::new(),
                named: BTreeSet::new(),
            },
        };
        let into = arrows.entry(module.clone()).or_default();
        for path in &source.named {
            let absolute = reader
                .absolute(path)
                .unwrap_or_else(|| [module.clone(), path.clone()].concat());
            let Some(target) = defining(sources, &absolute, 0) else {
                continue;
            };
            let own_child = target.len() == module.len() + 1 && target.starts_with(module);
            if target != *module && !target.is_empty() && !own_child {
                into.insert(target);
            }
        }
    }
    arrows
}

/// The groups of files that reach each other (Tarjan's strongly connected components).
struct Circles<'a> {
    arrows: &'a BTreeMap<ModulePath, BTreeSet<ModulePath>>,
    index: BTreeMap<&'a ModulePath, usize>,
    low: BTreeMap<&'a ModulePath, usize>,
    stack: Vec<&'a ModulePath>,
    found: Vec<Vec<&'a ModulePath>>,
}

impl<'a> Circles<'a> {
    fn of(arrows: &'a BTreeMap<ModulePath, BTreeSet<ModulePath>>) -> Vec<Vec<&'a ModulePath>> {
        let mut circles = Self {
            arrows,
            index: BTreeMap::new(),
            low: BTreeMap::new(),
            stack: Vec::new(),
            found: Vec::new(),
        };
        for module in arrows.keys() {
            if !circles.index.contains_key(module) {
                circles.look(module);
            }
        }
        circles.found
    }

    fn look(&mut self, module: &'a ModulePath) {
        let number = self.index.len();
        self.index.insert(module, number);
        self.low.insert(module, number);
        self.stack.push(module);
        for next in self.arrows.get(module).into_iter().flatten() {
            let reached = if !self.index.contains_key(next) {
                self.look(next);
                self.low[next]
            } else if self.stack.contains(&next) {
                self.index[next]
            } else {
                continue;
            };
            let low = self.low[module].min(reached);
            self.low.insert(module, low);
        }
        if self.low[module] == number {
            let at = self.stack.iter().position(|m| *m == module).unwrap();
            let group = self.stack.split_off(at);
            if group.len() > 1 {
                self.found.push(group);
            }
        }
    }
}

#[test]
fn no_file_names_a_file_above_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = BTreeMap::new();
    read(&src, &Vec::new(), &mut sources);
    assert!(
        sources.len() > 300,
        "the test reads the sources: {}",
        sources.len()
    );
    let arrows = arrows(&sources);
    let number: usize = arrows.values().map(BTreeSet::len).sum();
    assert!(number > 1000, "the test follows the names: {number}");
    let mut words = String::new();
    for circle in Circles::of(&arrows) {
        let mut fresh = String::new();
        for module in &circle {
            let into: Vec<String> = arrows[*module]
                .iter()
                .filter(|target| circle.contains(target))
                .map(|target| target.join("::"))
                .collect();
            let file = sources[*module].file.strip_prefix(&src).unwrap();
            let file = file.to_str().unwrap().to_owned();
            writeln!(fresh, "  src/{file} names {}", into.join(", ")).unwrap();
        }
        write!(words, "\nin a circle of {} files:\n{fresh}", circle.len()).unwrap();
    }
    assert!(words.is_empty(), "{words}");
}
