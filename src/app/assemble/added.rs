//! What is wrong if a package that warpdrive adds to the project's own cannot be installed.

use std::collections::BTreeMap;

use toml::Value;

use super::super::adding::Adding;
use super::super::advice::Advice;
use super::super::files::Files;
use super::super::pip_variables;
use super::super::project::Project;
use super::super::requirement::{LineKind, name_of, normalize};

/// A package that the indexes do not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    pub status: i32,
    /// `gunicorn==27.0.1`
    pub(super) package: String,
    /// The package that warpdrive adds, if it is not the same: this one needs it.
    pub(super) needed_by: Option<String>,
    /// The indexes that were asked, without logins. Empty: none may be asked.
    pub(super) indexes: Vec<String>,
    pub(super) adding: Adding,
    /// The installer's last lines.
    pub tail: Vec<String>,
}

/// The indexes of a build, as pip and uv take them.
fn indexes(
    project: &Project,
    files: &dyn Files,
    environment: &BTreeMap<String, String>,
) -> Vec<String> {
    let lines = &project.requirements.lines;
    let options = lines.iter().filter(|line| line.kind == LineKind::Option);
    let texts: Vec<&str> = options.map(|line| line.text.as_str()).collect();
    if pip_variables::without_index(environment) || texts.contains(&"--no-index") {
        return Vec::new();
    }
    let listed = |names: &[&str]| -> Vec<String> {
        let values = texts.iter().filter_map(|text| {
            let mut rests = names.iter().filter_map(|name| text.strip_prefix(name));
            let value = rests.next()?.trim_start_matches(['=', ' ']);
            value.contains("://").then(|| value.to_owned())
        });
        values.collect()
    };
    let said = |names: &[&str]| -> Vec<String> {
        let values = names.iter().filter_map(|name| environment.get(*name));
        let words = values.flat_map(|value| value.split_whitespace());
        words.map(str::to_owned).collect()
    };
    let of_uv = |default: bool| -> Vec<String> {
        let text = files.text("pyproject.toml").unwrap_or_default();
        let document = toml::from_str::<toml::Table>(&text).unwrap_or_default();
        let uv = document.get("tool").and_then(|tool| tool.get("uv"));
        let list = uv.and_then(|uv| uv.get("index")?.as_array());
        let is = |index: &Value, key: &str| index.get(key).and_then(Value::as_bool) == Some(true);
        let indexes = list.into_iter().flatten().filter(|index| {
            !project.uses_pip() && is(index, "default") == default && !is(index, "explicit")
        });
        indexes
            .filter_map(|index| index.get("url")?.as_str())
            .map(str::to_owned)
            .collect()
    };
    let mut found = listed(&["--extra-index-url"]);
    found.extend(said(&[
        "UV_INDEX",
        "UV_EXTRA_INDEX_URL",
        "PIP_EXTRA_INDEX_URL",
    ]));
    found.extend(of_uv(false));
    let firsts = [
        listed(&["--index-url", "-i"]),
        said(&pip_variables::DEFAULT_INDEX),
        of_uv(true),
    ];
    let first = firsts.into_iter().find_map(|mut found| {
        found.truncate(1);
        found.pop()
    });
    found.push(first.unwrap_or_else(|| "https://pypi.org/simple".to_owned()));
    let mut shown: Vec<String> = found.iter().map(|url| pip_variables::shown(url)).collect();
    let mut seen = std::collections::BTreeSet::new();
    shown.retain(|url| seen.insert(url.clone()));
    shown
}

impl Added {
    /// Of the packages that warpdrive wants to add, and the one that was not found.
    pub(super) fn of(
        wanted: &[String],
        missing: &str,
        project: &Project,
        files: &dyn Files,
        environment: &BTreeMap<String, String>,
    ) -> Self {
        let name = |text: &str| name_of(text).map(|(name, _)| normalize(name));
        let own = wanted.iter().find(|one| name(one) == name(missing));
        Self {
            status: 0,
            needed_by: own.is_none().then(|| wanted.join(" ")),
            package: own.map_or(missing, String::as_str).to_owned(),
            indexes: indexes(project, files, environment),
            adding: Adding::of(files, &project.settings),
            tail: Vec::new(),
        }
    }

    /// One line.
    pub fn title(&self) -> String {
        let Self { package, .. } = self;
        match self.indexes.as_slice() {
            [] => format!("{package} is not there, and no index is asked"),
            [index] => format!("the package index {index} does not have {package}"),
            several => format!(
                "none of the package indexes has {package}: {}",
                several.join(", ")
            ),
        }
    }

    pub(super) fn explain(&self, advice: Advice) -> Advice {
        let added = self.needed_by.as_ref().unwrap_or(&self.package);
        let needs = match &self.needed_by {
            Some(added) => format!(" {added} needs {}.", self.package),
            None => String::new(),
        };
        let name = name_of(added).map_or(added.as_str(), |(name, _)| name);
        let advice = advice.cause(format!(
            "warpdrive adds {added}, which starts the application: the project's own packages do not have it.{needs}"
        ));
        let place = if self.indexes.is_empty() {
            "the wheelhouse".to_owned()
        } else {
            "the index".to_owned()
        };
        advice
            .remedy(format!("put {} into {place}", self.package))
            .remedy(format!(
                "or let the project choose the release that is there: {}",
                self.adding.remedy(name)
            ))
            .remedy("or take a server that is there: server_type = \"waitress\", for example, in [tool.warpdrive] of pyproject.toml")
            .remedy("or start the application with a command of its own: web = \"COMMAND\" in [tool.warpdrive.processes] of pyproject.toml")
            .tail(self.tail.iter().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::files::Memory;
    use super::*;

    fn said(files: &Memory, environment: &[(&str, &str)], missing: &str) -> String {
        let environment: BTreeMap<String, String> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let project = Project::load(files, &environment, &BTreeMap::new()).unwrap();
        let wanted = ["gunicorn==27.0.1".to_owned()];
        let added = Added::of(&wanted, missing, &project, files, &environment);
        added.explain(Advice::new(added.title())).to_string()
    }

    #[test]
    fn who_wants_a_server_and_which_index_lacks_it() {
        let listed = Memory::new().with(
            "requirements.txt",
            "--index-url https://me:pw@corp.example/simple\nflask\n",
        );
        let locked = Memory::new().with("poetry.lock", "").with(
            "pyproject.toml",
            "[project]\nname = 'x'\n[[tool.uv.index]]\nurl = 'https://two.example/simple'\n",
        );
        let mirror = [("UV_DEFAULT_INDEX", "corp=https://mirror.example/simple")];
        let offline = [("PIP_NO_INDEX", "1")];
        let all = [
            said(&listed, &[], "gunicorn"),
            said(&locked, &mirror, "packaging>=22"),
            said(&locked, &offline, "gunicorn==27.0.1"),
        ];
        insta::assert_snapshot!(all.join("\n"));
    }
}
