//! What is wrong with the lists of requirements, before anything is installed.

use super::super::environment;
use super::super::files::{EntryKind, Files};
use super::super::project::{Project, Source};
use super::super::requirement::{LineKind, Problem};
use super::error::DetectError;

/// Misspelt names of the usual list.
const USUAL: &str = "requirements.txt";

/// Refuses lists that cannot be installed as written; returns warnings about the others.
pub(super) fn check(
    files: &dyn Files,
    project: &Project,
    left_out: &[(String, String)],
) -> Result<Vec<String>, DetectError> {
    let requirements = &project.requirements;
    if let Some((named_in, file)) = requirements.missing.first() {
        return Err(DetectError::MissingRequirements {
            named_in: named_in.clone(),
            file: file.clone(),
            ignored: left_out
                .iter()
                .find(|(path, _)| path == file)
                .map(|(_, rule)| rule.clone()),
        });
    }
    let pip = project.uses_pip();
    let mut problems: Vec<Problem> = requirements
        .problems
        .iter()
        .filter(|problem| !(problem.uv_only && pip))
        .cloned()
        .collect();
    // A script that has not run yet may set them.
    if ![environment::FILE, environment::BUILD_FILE]
        .iter()
        .any(|path| files.is_file(path))
    {
        for (place, name) in &requirements.unset {
            problems.push(Problem {
                place: place.clone(),
                text: format!("${{{name}}}"),
                wrong: format!("the variable {name} is not set for the build"),
                write: format!("give it: --build-env {name}=VALUE"),
                uv_only: false,
            });
        }
    }
    if !problems.is_empty() {
        return Err(DetectError::Requirements { problems });
    }
    if project.source == Source::None {
        if let Some((file, rule)) = left_out.iter().find(|(path, _)| declares(path)) {
            return Err(DetectError::IgnoredRequirements {
                file: file.clone(),
                rule: rule.clone(),
            });
        }
        if let Some(file) = misspelt(files, project) {
            return Err(DetectError::MisspeltRequirements { file });
        }
    }
    let mut warnings = Vec::new();
    for line in &requirements.lines {
        let place = format!("{}:{}", line.file, line.number);
        if line.kind == LineKind::Option && !pip {
            if line.text == "--prefer-binary" {
                warnings.push(format!(
                    "{place}: uv has no --prefer-binary: wheels alone are tried first, and then all"
                ));
            } else if line.text.starts_with("--use-feature") {
                warnings.push(format!(
                    "{place}: uv has none of pip's features: {}",
                    line.text
                ));
            }
        }
        if line.names_a_list() || line.names_constraints() {
            warnings.push(format!(
                "{place}: {} is fetched in each build, and may have changed then",
                line.text
            ));
        }
    }
    Ok(warnings)
}

/// Whether a path at the top states an application's requirements.
fn declares(path: &str) -> bool {
    const NAMES: &[&str] = &[
        USUAL,
        "pyproject.toml",
        "setup.py",
        "setup.cfg",
        "Pipfile",
        "Pipfile.lock",
        "uv.lock",
        "poetry.lock",
        "pdm.lock",
        "pylock.toml",
        "requirements",
        "requirements.in",
    ];
    NAMES.contains(&path)
}

/// A file that only looks like a list of requirements.
fn misspelt(files: &dyn Files, project: &Project) -> Option<String> {
    let home = project.home();
    let mut directories = vec![String::new()];
    if !home.is_empty() {
        directories.push(home);
    }
    directories.iter().find_map(|directory| {
        files
            .list(directory)
            .into_iter()
            .filter(|entry| matches!(entry.kind, EntryKind::File { .. }))
            .map(|entry| entry.name)
            .find(|name| name != USUAL && is_like(name))
            .map(|name| match directory.as_str() {
                "" => name,
                directory => format!("{directory}/{name}"),
            })
    })
}

/// `requirement.txt`, `Requirements.txt`, `requirments.txt`, `requirements.text`, `requirements`.
fn is_like(name: &str) -> bool {
    let lower = name.to_lowercase().replace('_', "-");
    if lower == USUAL || lower == "requirements" || lower == "reqs.txt" {
        return true;
    }
    // `requirements-dev.txt` is another list, not a typing error.
    lower.len() >= USUAL.len() - 3 && strsim::damerau_levenshtein(&lower, USUAL) <= 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_slip() {
        for name in [
            "requirement.txt",
            "Requirements.txt",
            "requirments.txt",
            "requirements.text",
            "requirements",
            "requirements.tx",
            "requierments.txt",
        ] {
            assert!(is_like(name), "{name}");
        }
        for name in [
            "requirements-dev.txt",
            "requirements.yml",
            "README.txt",
            "robots.txt",
            "app.py",
        ] {
            assert!(!is_like(name), "{name}");
        }
    }
}
