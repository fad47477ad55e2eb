//! Turns dependencies that are neither in `requirements.txt` nor in standard metadata into lines of
//! requirements: Poetry's and Pipenv's tables, PEP 735 groups, `requirements/`, `requirements.in`,
//! `environment.yml`, PEP 723's comments in a program. Nothing is left out silently: what cannot become a
//! line is a [`Doubt`].

pub mod binding;
mod conda;
pub mod groups;
mod pipfile;
mod poetry;
mod poetry_versions;
mod script;
mod several;
pub mod unheard;

use super::files::{Below, Files};

/// The requirements that a file of the source states.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Existing requirement files, to be read as such.
    pub files: Vec<String>,
    /// The file that the lines are from.
    pub file: String,
    /// Lines of requirements.
    pub lines: Vec<String>,
    pub doubts: Vec<Doubt>,
}

/// Something that cannot be installed as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    pub place: String,
    pub text: String,
    pub wrong: String,
    pub write: String,
}

impl Declared {
    fn of(file: &str) -> Declared {
        Declared {
            file: file.to_owned(),
            ..Declared::default()
        }
    }

    fn doubt(&mut self, text: &str, wrong: impl Into<String>, write: impl Into<String>) {
        self.doubts.push(Doubt {
            place: self.file.clone(),
            text: text.to_owned(),
            wrong: wrong.into(),
            write: write.into(),
        });
    }
}

/// `[tool.poetry.dependencies]`, where `[project]` has no dependencies.
pub fn of_poetry(document: &toml::Table) -> Option<Declared> {
    let standard = document.get("project").is_some_and(|project| {
        project.get("dependencies").is_some() || project.get("dynamic").is_some()
    });
    if standard {
        None
    } else {
        poetry::read(document)
    }
}

/// Whether Poetry's project is a package, and not only a list of dependencies.
pub fn is_poetry_package(document: &toml::Table) -> bool {
    let mode = document
        .get("tool")
        .and_then(|tool| tool.get("poetry"))
        .and_then(|poetry| poetry.get("package-mode"))
        .and_then(toml::Value::as_bool);
    document.contains_key("build-system") && mode != Some(false)
}

/// Lists of requirements of other names than the usual one.
pub fn lists(files: &dyn Files, home: &str) -> Option<Declared> {
    several::read(files, home)
}

/// The same in the application's directory, of which the top of the tree says nothing.
pub fn find_in(files: &dyn Files, home: &str) -> Option<Declared> {
    if home.is_empty() {
        return None;
    }
    let below = Below {
        files,
        directory: home,
    };
    let document = below.text("pyproject.toml").unwrap_or_default();
    let document: toml::Table = toml::from_str(&document).unwrap_or_default();
    let mut declared = of_poetry(&document).or_else(|| pipfile::read(&below))?;
    declared.file = format!("{home}/{}", declared.file);
    for doubt in &mut declared.doubts {
        doubt.place = format!("{home}/{}", doubt.place);
    }
    Some(declared)
}

/// The Python that a program asks for in its own comment, if its list is the one that counts: path, line and text.
pub fn python_of_program(files: &dyn Files) -> Option<(String, usize, String)> {
    if ["requirements.txt", "setup.py"]
        .iter()
        .any(|file| files.is_file(file))
    {
        return None;
    }
    let document = files.text("pyproject.toml").unwrap_or_default();
    let document: toml::Table = toml::from_str(&document).unwrap_or_default();
    if document.contains_key("project") {
        return None;
    }
    let declared = find(files, "", Some(&document))?;
    let is_program = std::path::Path::new(&declared.file)
        .extension()
        .is_some_and(|end| end == "py");
    is_program.then(|| script::requires_python(files, ""))?
}

/// The file that counts if neither `requirements.txt` nor metadata name requirements.
pub fn find(files: &dyn Files, home: &str, document: Option<&toml::Table>) -> Option<Declared> {
    document
        .and_then(of_poetry)
        .or_else(|| document.and_then(groups::read))
        .or_else(|| pipfile::read(files))
        .or_else(|| several::read(files, home))
        .or_else(|| conda::read(files))
}
