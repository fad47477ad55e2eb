//! Which lock counts, and the error where none can.

use std::collections::BTreeMap;

use crate::app::advice::Explain as _;
use crate::app::files::Memory;
use crate::app::project::Project;
use crate::app::settings::Settings;

use super::{Found, Lock, LockfileError, Target, find};

const UV: &str = "version = 1\nrequires-python = \">=3.10\"\n\n\
    [[package]]\nname = \"app\"\nversion = \"1\"\nsource = { virtual = \".\" }\ndependencies = [{ name = \"flask\" }]\n\n\
    [package.metadata]\nrequires-dist = [{ name = \"flask\", specifier = \">=3\" }]\n\n\
    [[package]]\nname = \"flask\"\nversion = \"3.0\"\nsource = { registry = \"https://pypi.org/simple\" }\n\
    wheels = [{ url = \"https://f/flask-3.0-py3-none-any.whl\", hash = \"sha256:6bc31bbbec6dfaaedc1676dbc11dbda96fe22a2b5c400e9ebad113fec44a9dc6\" }]\n";
const PROJECT: &str = "[project]\nname = \"app\"\nversion = \"1\"\nrequires-python = \">=3.10\"\ndependencies = [\"flask>=3\"]\n";
const POETRY: &str = "package = []\n[metadata]\nlock-version = \"2.1\"\npython-versions = \">=3.10\"\ncontent-hash = \"0\"\n";

/// The result for a tree, with these variables.
pub(super) fn found_in(
    files: &Memory,
    variables: &BTreeMap<String, String>,
) -> Result<Option<Found>, LockfileError> {
    let settings = Settings::load(files, variables, &BTreeMap::new()).unwrap();
    let project = Project::read(files, settings.clone(), variables);
    find(files, &settings, variables, || {
        Ok(project.as_ref().unwrap())
    })
}

fn found(files: &Memory) -> Result<Option<Lock>, LockfileError> {
    Ok(match found_in(files, &BTreeMap::new())? {
        Some(Found::Lock(lock)) => Some(*lock),
        _ => None,
    })
}

fn uv() -> Memory {
    Memory::new()
        .with("uv.lock", UV)
        .with("pyproject.toml", PROJECT)
}

#[test]
fn the_lock_of_a_tree() {
    let with_setting =
        |value: &str| format!("{PROJECT}[tool.warpdrive]\ndependencies = \"{value}\"\n");
    for (files, expected) in [
        (uv(), Some("uv.lock")),
        (
            uv().with(
                "requirements.txt",
                "# uv export\n-e .\nflask==3.0 ; python_version > '3' --hash=sha256:0\n",
            ),
            Some("uv.lock"),
        ),
        (
            uv().with("requirements.txt", "flask\n")
                .with("pyproject.toml", with_setting("uv")),
            Some("uv.lock"),
        ),
        (
            uv().with("poetry.lock", POETRY)
                .with("pyproject.toml", with_setting("uv")),
            Some("uv.lock"),
        ),
        (
            uv().with("requirements.txt", "flask\n")
                .with("pyproject.toml", with_setting("pip")),
            None,
        ),
        (
            uv().with(".warpdrive/requirements", "a.txt")
                .with("a.txt", "flask"),
            None,
        ),
        (Memory::new().with("requirements.txt", "flask\n"), None),
        (Memory::new().with("pyproject.toml", PROJECT), None),
        (
            Memory::new().with(
                "pylock.prod.toml",
                "lock-version = \"1.0\"\npackages = []\n",
            ),
            Some("pylock.prod.toml"),
        ),
    ] {
        let lock = found(&files).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(lock.as_ref().map(Lock::file), expected, "{files:?}");
    }
    let lock = found(&uv()).unwrap().unwrap();
    assert_eq!(
        lock.preview().names.into_iter().collect::<Vec<_>>(),
        ["flask"]
    );
    let locked = lock.select(&Target::of("3.11.2", "glibc 2.36")).unwrap();
    assert_eq!(locked.packages.len(), 1);
    let error = lock.select(&Target::of("3.9.2", "glibc 2.31")).unwrap_err();
    assert!(
        error.to_string().contains("uv.lock is for Python >=3.10"),
        "{error}"
    );
}

#[test]
fn what_is_said_where_no_lock_can_count() {
    let bound = format!("{PROJECT}[tool.uv.sources]\nrates = {{ path = \"libs/rates\" }}\n");
    for (files, words) in [
        (
            uv().with("requirements.txt", "flask==2.0\n"),
            &["uv.lock, requirements.txt", "\"uv\" or \"pip\""][..],
        ),
        (
            uv().with("poetry.lock", POETRY),
            &["uv.lock, poetry.lock", "\"uv\" or \"poetry\""],
        ),
        (
            uv().with("pyproject.toml", PROJECT.replace("flask>=3", "flask>=4")),
            &["uv.lock does not fit pyproject.toml", "flask", "`uv lock`"],
        ),
        (
            uv().with("uv.lock", "x"),
            &["uv.lock cannot be read", "`uv lock`"],
        ),
        (
            Memory::new()
                .with("poetry.lock", POETRY)
                .with("pyproject.toml", PROJECT),
            &["poetry.lock does not fit", "`poetry lock`"],
        ),
        (
            uv().with(".warpdrive/dependency_groups", "prod"),
            &["no group `prod`"],
        ),
        (
            Memory::new().with(".warpdrive/dependencies", "pdm"),
            &["there is no pdm.lock", "`pdm lock`"],
        ),
        // pip cannot be prevented from looking elsewhere.
        (
            Memory::new()
                .with("pyproject.toml", &bound)
                .with("libs/rates/pyproject.toml", "")
                .with(".warpdrive/installer", "pip"),
            &["[tool.uv.sources]", "`rates`", "`uv lock`"],
        ),
        (
            Memory::new().with("pyproject.toml", &bound),
            &["`rates` is bound to the path libs/rates, which is not there"],
        ),
        (
            Memory::new().with("pyproject.toml", bound.replace("libs", "..")),
            &["../rates, which is not inside the source"],
        ),
        (
            Memory::new().with(
                "pyproject.toml",
                bound.replace("path = \"libs/rates\"", "index = \"corp\""),
            ),
            &[
                "pyproject.toml cannot be installed: `rates` is bound to the index corp, which [[tool.uv.index]] does not define: there are none",
            ],
        ),
    ] {
        let error = found(&files).unwrap_err();
        let advice = error.advice();
        let said = format!("{} {}", advice.title, advice.remedies.join(" "));
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    }
}

/// In the application's directory, if the top names no packages.
#[test]
fn a_lock_below_the_top_is_that_of_the_applications_directory() {
    let home = || Memory::new().with(".warpdrive/home", "backend");
    let below = || {
        home()
            .with(
                "backend/uv.lock",
                UV.replace("virtual = \".\"", "editable = \".\""),
            )
            .with("backend/pyproject.toml", PROJECT)
    };
    let lock = found(&below()).unwrap().unwrap();
    assert_eq!(lock.file(), "backend/uv.lock");
    assert_eq!(
        lock.preview().files,
        ["backend/uv.lock", "backend/pyproject.toml"]
    );
    let locked = lock.select(&Target::of("3.11.2", "glibc 2.36")).unwrap();
    assert_eq!(locked.packages.len(), 1);
    assert_eq!(locked.projects.len(), 1);
    assert_eq!(locked.projects[0].path, "backend");

    let said = below().with(
        "pyproject.toml",
        "[tool.warpdrive]\ndependencies = \"uv\"\n",
    );
    assert_eq!(found(&said).unwrap().unwrap().file(), "backend/uv.lock");
    // The top counts, and two that name packages are a conflict.
    let top = below().with("uv.lock", UV).with("pyproject.toml", PROJECT);
    assert_eq!(found(&top).unwrap().unwrap().file(), "uv.lock");
    let top = below().with("pyproject.toml", PROJECT);
    assert!(found(&top).unwrap().is_none());
    let two = found(&below().with("requirements.txt", "flask\n")).unwrap_err();
    assert!(
        two.to_string().contains("requirements.txt") && two.to_string().contains("backend/uv.lock"),
        "{two}"
    );
    let two = found(&below().with("backend/requirements.txt", "flask\n")).unwrap_err();
    assert!(
        two.to_string().contains("backend/requirements.txt"),
        "{two}"
    );
    let stale = below().with(
        "backend/pyproject.toml",
        PROJECT.replace("flask>=3", "flask>=4"),
    );
    let stale = found(&stale).unwrap_err().to_string();
    assert!(
        stale.contains("backend/uv.lock") && stale.contains("backend/pyproject.toml"),
        "{stale}"
    );
    // Without a home, it belongs to another project.
    assert!(
        found(&below().with(".warpdrive/home", ""))
            .unwrap()
            .is_none()
    );
}

#[test]
fn variables_of_uv_choose_groups() {
    let project = format!(
        "{PROJECT}[dependency-groups]\ndev = [\"flask\"]\nweb = [\"flask\"]\n[tool.uv]\ndefault-groups = [\"dev\", \"web\"]\n"
    );
    let lock = UV.replace(
        "[package.metadata]\nrequires-dist",
        "[package.dev-dependencies]\ndev = [{ name = \"flask\" }]\nweb = [{ name = \"flask\" }]\n\n\
         [package.metadata.requires-dev]\ndev = [{ name = \"flask\" }]\nweb = [{ name = \"flask\" }]\n\n\
         [package.metadata]\nrequires-dist",
    );
    let files = Memory::new()
        .with("uv.lock", lock)
        .with("pyproject.toml", project);
    let groups = |variables: &[(&str, &str)]| {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        match found_in(&files, &variables).unwrap() {
            Some(Found::Lock(lock)) => lock.groups().cloned().collect::<Vec<String>>(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(groups(&[]), ["web"]);
    assert_eq!(groups(&[("UV_NO_GROUP", "web")]), [] as [&str; 0]);
    assert_eq!(groups(&[("UV_NO_DEFAULT_GROUPS", "1")]), [] as [&str; 0]);
    assert_eq!(groups(&[("UV_DEV", "1")]), ["dev", "web"]);
}

#[test]
fn of_a_workspace_whose_root_is_no_project_the_member_at_home_is_installed() {
    let member = |name: &str, needs: &str| {
        format!(
            "[[package]]\nname = \"{name}\"\nversion = \"1\"\nsource = {{ virtual = \"services/{name}\" }}\ndependencies = [{{ name = \"{needs}\" }}]\n\n\
             [package.metadata]\nrequires-dist = [{{ name = \"{needs}\" }}]\n\n\
             [[package]]\nname = \"{needs}\"\nversion = \"3.0\"\nsource = {{ registry = \"https://pypi.org/simple\" }}\n\
             wheels = [{{ url = \"https://f/{needs}-3.0-py3-none-any.whl\", hash = \"sha256:6bc31bbbec6dfaaedc1676dbc11dbda96fe22a2b5c400e9ebad113fec44a9dc6\" }}]\n\n"
        )
    };
    let lock = format!(
        "version = 1\nrequires-python = \">=3.10\"\n\n[manifest]\nmembers = [\"api\", \"jobs\"]\n\n{}{}",
        member("api", "flask"),
        member("jobs", "celery")
    );
    let project = |name: &str, needs: &str| {
        format!(
            "[project]\nname = \"{name}\"\nversion = \"1\"\nrequires-python = \">=3.10\"\ndependencies = [\"{needs}\"]\n"
        )
    };
    let files = Memory::new()
        .with("uv.lock", &lock)
        .with(
            "pyproject.toml",
            "[tool.uv.workspace]\nmembers = [\"services/*\"]\n",
        )
        .with("services/api/pyproject.toml", project("api", "flask"))
        .with("services/jobs/pyproject.toml", project("jobs", "celery"));
    let installed = |home: &str| {
        let mut lock = found(&files).unwrap().unwrap();
        lock.take_member(home);
        let listed = lock.preview();
        listed.names.into_iter().collect::<Vec<String>>()
    };
    assert_eq!(installed("services/api"), ["flask"]);
    assert_eq!(installed("services/jobs"), ["celery"]);
    // If the application is not a member, all members are installed.
    assert_eq!(installed("scripts"), ["celery", "flask"]);

    // A root that is a project, but does not need the member where the application is.
    let root = |needs: &str| {
        let of_lock = format!(
            "[[package]]\nname = \"root\"\nversion = \"1\"\nsource = {{ virtual = \".\" }}\ndependencies = [{{ name = \"{needs}\" }}]\n\n\
             [package.metadata]\nrequires-dist = [{{ name = \"{needs}\", virtual = \"services/{needs}\" }}]\n\n"
        );
        let of_project = project("root", needs)
            + &format!(
                "[tool.uv.sources]\n{needs} = {{ workspace = true }}\n[tool.uv.workspace]\nmembers = [\"services/*\"]\n"
            );
        let lock = lock.replace("members = [", "members = [\"root\", ") + &of_lock;
        let files = Memory::new()
            .with("uv.lock", lock)
            .with("pyproject.toml", of_project)
            .with("services/api/pyproject.toml", project("api", "flask"))
            .with("services/jobs/pyproject.toml", project("jobs", "celery"));
        let mut lock = found(&files).unwrap().unwrap();
        lock.take_member("services/api");
        lock.preview().names.into_iter().collect::<Vec<String>>()
    };
    assert_eq!(root("jobs"), ["flask"]);
    assert_eq!(root("api"), ["api", "celery", "flask"]);
}

#[test]
fn the_member_that_is_installed_has_its_own_default_groups() {
    let lock = "version = 1\nrequires-python = \">=3.10\"\n\n[manifest]\nmembers = [\"api\", \"root\"]\n\n\
        [[package]]\nname = \"api\"\nversion = \"1\"\nsource = { virtual = \"services/api\" }\n\n\
        [package.dev-dependencies]\nweb = []\n\n\
        [[package]]\nname = \"root\"\nversion = \"1\"\nsource = { virtual = \".\" }\n\n\
        [package.dev-dependencies]\ntop = []\n";
    let project = |name: &str, group: &str| {
        format!(
            "[project]\nname = \"{name}\"\nversion = \"1\"\nrequires-python = \">=3.10\"\n\
             [dependency-groups]\n{group} = []\n[tool.uv]\ndefault-groups = [\"{group}\"]\n"
        )
    };
    let files = |more: &str| {
        let workspace = "workspace = { members = [\"services/*\"] }\n";
        Memory::new()
            .with("uv.lock", lock)
            .with(
                "pyproject.toml",
                format!("{}{workspace}{more}", project("root", "top")),
            )
            .with("services/api/pyproject.toml", project("api", "web"))
    };
    let groups = |lock: &Lock| lock.groups().cloned().collect::<Vec<String>>();
    let said = found(&files("[tool.warpdrive]\nhome = \"services/api\"\n"));
    assert_eq!(groups(&said.unwrap().unwrap()), ["web"]);
    // The same if the application was found there.
    let mut seen = found(&files("")).unwrap().unwrap();
    assert_eq!(groups(&seen), ["top"]);
    seen.take_member("services/api");
    assert_eq!(groups(&seen), ["web"]);
}

/// The root needs the member by an extra or a group of its own, or by an extra of another project.
#[test]
fn a_root_that_needs_the_member_by_a_choice_is_installed() {
    let api = "[{ name = \"api\" }]";
    let member = |place: &str| {
        let extra = format!("[package.optional-dependencies]\nweb = {api}\n");
        let extra = if place == "core" { &extra } else { "" };
        format!(
            "[[package]]\nname = \"{place}\"\nversion = \"1\"\nsource = {{ editable = \"{place}\" }}\n{extra}\n"
        )
    };
    let installs_root = |edges: &str, choice: &[(&str, &str)]| {
        let lock = format!(
            "version = 1\nrequires-python = \">=3.10\"\n\n[manifest]\nmembers = [\"api\", \"core\", \"root\"]\n\n{}{}\
             [[package]]\nname = \"root\"\nversion = \"1\"\nsource = {{ virtual = \".\" }}\n{edges}\n",
            member("api"),
            member("core")
        );
        let document = super::uv::Document::parse(&lock).unwrap();
        let names = |kind: &str| {
            let named = choice.iter().filter(|(known, _)| *known == kind);
            named.map(|(_, name)| (*name).to_owned()).collect()
        };
        document.root_needs("api", &names("extra"), &names("group"))
    };
    let extra = format!("[package.optional-dependencies]\nweb = {api}\n");
    let group = format!("[package.dev-dependencies]\nweb = {api}\n");
    assert!(installs_root(&extra, &[("extra", "web")]));
    assert!(installs_root(&group, &[("group", "web")]));
    assert!(!installs_root(&extra, &[]));
    assert!(!installs_root(&extra, &[("group", "web")]));
    let core = "dependencies = [{ name = \"core\", extra = [\"web\"] }]";
    assert!(installs_root(core, &[]));
    assert!(!installs_root("dependencies = [{ name = \"core\" }]", &[]));
}

#[test]
fn a_lock_below_the_top_may_name_a_sibling_within_the_source() {
    let place = |path: &str| {
        let shared = format!(
            "dependencies = [{{ name = \"flask\" }}, {{ name = \"shared\" }}]\n\n\
             [package.metadata]\nrequires-dist = [{{ name = \"flask\", specifier = \">=3\" }}, {{ name = \"shared\", directory = \"{path}\" }}]\n\n\
             [[package]]\nname = \"shared\"\nversion = \"1\"\nsource = {{ directory = \"{path}\" }}\n\n"
        );
        let (before, rest) = UV.split_once("dependencies = ").unwrap();
        let (_, after) = rest.split_once("specifier = \">=3\" }]\n\n").unwrap();
        let project = format!(
            "{}\n[tool.uv.sources]\nshared = {{ path = \"{path}\" }}\n",
            PROJECT.replace("\"flask>=3\"", "\"flask>=3\", \"shared\"")
        );
        let files = Memory::new()
            .with(".warpdrive/home", "services/api")
            .with("services/api/uv.lock", format!("{before}{shared}{after}"))
            .with("services/api/pyproject.toml", project);
        found(&files)
            .unwrap()
            .unwrap()
            .select(&Target::of("3.11.2", "glibc 2.36"))
    };
    let locked = place("../../libs/shared").unwrap();
    let paths: Vec<&str> = locked
        .projects
        .iter()
        .map(|one| one.path.as_str())
        .collect();
    assert!(paths.contains(&"libs/shared"), "{paths:?}");
    let error = place("../../../shared").unwrap_err();
    assert!(error.to_string().contains("outside the source"), "{error}");
}

/// A setting that no list of the project can honour is not ignored.
#[test]
fn extras_and_groups_that_cannot_be_honoured() {
    let chosen = |file: &str, text: &str| {
        Memory::new()
            .with(".warpdrive/dependency_extras", "pg\n")
            .with(file, text)
    };
    let project = "[project]\nname = 'app'\nversion = '1'\ndependencies = ['six']\n\
        [project.optional-dependencies]\npg = ['psycopg']\n";
    for files in [
        chosen("requirements.txt", "six\n"),
        chosen("requirements.txt", "six\n").with("pyproject.toml", project),
        chosen("Pipfile", "[packages]\nsix = '*'\n"),
        chosen("setup.py", "from setuptools import setup\nsetup()\n"),
        chosen(
            "pyproject.toml",
            "[tool.poetry]\nname = 'app'\n[tool.poetry.dependencies]\nsix = '*'\n",
        ),
        chosen("api/pyproject.toml", project).with(".warpdrive/home", "api\n"),
    ] {
        let error = found_in(&files, &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("dependency-extras"), "{error}");
    }
    let files = chosen("pyproject.toml", project);
    assert!(found_in(&files, &BTreeMap::new()).unwrap().is_none());
    let groups = Memory::new()
        .with(".warpdrive/dependency_groups", "prod\n")
        .with("pyproject.toml", "[dependency-groups]\nprod = ['six']\n");
    assert!(found_in(&groups, &BTreeMap::new()).unwrap().is_none());
}

/// A lock that lacks what its project asks for is an old one.
#[test]
fn a_pylock_that_lacks_a_requirement() {
    let lock = "lock-version = '1.0'\ncreated-by = 'x'\n[[packages]]\nname = 'six'\nversion = '1.17.0'\n\
        [[packages.wheels]]\nname = 'six-1.17.0-py3-none-any.whl'\nurl = 'https://h/six-1.17.0-py3-none-any.whl'\n\
        hashes = { sha256 = '0000000000000000000000000000000000000000000000000000000000000000' }\n";
    let find = |list: &str| {
        let project = format!("[project]\nname = 'app'\nversion = '1'\ndependencies = [{list}]\n");
        let files = Memory::new()
            .with("pylock.toml", lock)
            .with("pyproject.toml", project);
        found_in(&files, &BTreeMap::new())
    };
    assert!(
        find("'Six>=1', 'idna ; os_name == \"nt\"'")
            .unwrap()
            .is_some()
    );
    let error = find("'six', 'idna'").unwrap_err();
    assert!(error.to_string().contains("idna"), "{error}");
}
