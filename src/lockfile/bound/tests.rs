use crate::app::files::Memory;

use super::super::Found;
use super::super::tests::found_in;
use super::*;

fn list(files: &Memory) -> (Listed, Vec<FromIndex>) {
    let found = found_in(files, &BTreeMap::new()).unwrap();
    let Some(Found::Bound(bound)) = found else {
        panic!("nothing is bound: {found:?}");
    };
    bound.select(&Target::of("3.11.2", "glibc 2.36")).unwrap()
}

const SOURCES: &str = "[project]\nname = 'app'\nversion = '1'\n\
    dependencies = ['flask>=3', 'Rates>=2', 'fork[x] ; python_version > \"3\"', 'corplib>=1,<2', 'old ; python_version < \"3\"', 'tool']\n\
    [tool.uv]\npackage = false\n\
    [tool.uv.sources]\n\
    rates = { path = 'libs/rates', editable = true }\n\
    fork = { git = 'https://h/fork.git', tag = 'v1', subdirectory = 'python' }\n\
    corplib = { index = 'corp' }\n\
    old = { index = 'corp' }\n\
    tool = [{ url = 'https://h/tool.whl', marker = \"os_name == 'posix'\" }]\n\
    unused = { path = 'libs/unused' }\n\
    other = { index = 'corp' }\n\
    [[tool.uv.index]]\nname = 'corp'\nurl = 'https://corp.example/simple'\nexplicit = true\n";

#[test]
fn each_name_is_from_its_place() {
    let files = Memory::new()
        .with("pyproject.toml", SOURCES)
        .with(
            "libs/rates/pyproject.toml",
            "[build-system]\n[project]\nname = 'rates'\ndependencies = ['six', 'deep']\n[tool.uv.sources]\ndeep = { path = '../deep' }\n",
        )
        .with("libs/deep/setup.py", "")
        .with("libs/unused/setup.py", "");
    let (listed, chosen) = list(&files);
    assert_eq!(
        listed.lines,
        [
            "flask>=3",
            "six",
            "./libs/deep",
            "-e ./libs/rates",
            "fork[x] @ git+https://h/fork.git@v1#subdirectory=python ; python_version > \"3\"",
            "tool @ https://h/tool.whl ; os_name == 'posix'",
        ]
    );
    let [one] = chosen.as_slice() else {
        panic!("{chosen:?}")
    };
    assert_eq!(one.text(), "corplib<2,>=1");
    assert_eq!(one.index.name.as_deref(), Some("corp"));
    assert!(one.allows("1.5") && !one.allows("2.0"));
    let open = listed.open.unwrap();
    assert_eq!(
        open.directories.iter().collect::<Vec<_>>(),
        ["deep", "rates"]
    );
    assert_eq!(
        open.others,
        [
            ("other".to_owned(), None),
            ("unused".to_owned(), Some("libs/unused".to_owned()))
        ]
    );
    assert_eq!(
        listed.settled,
        ["corplib", "deep", "fork", "old", "rates", "tool"]
    );
    assert_eq!(open.project, None);
}

#[test]
fn other_managers_and_lists() {
    let poetry = "[tool.poetry]\nname = 'app'\n[tool.poetry.dependencies]\npython = '^3.9'\nflask = '^3'\n\
        corplib = { version = '^1.2', source = 'corp' }\nlib = { path = 'lib', develop = true }\n\
        [[tool.poetry.source]]\nname = 'corp'\nurl = 'https://corp.example/simple'\npriority = 'explicit'\n";
    let pipfile = "[[source]]\nname = 'main'\nurl = 'https://main.example/simple'\n\
        [[source]]\nname = 'corp'\nurl = 'https://corp.example/simple'\n\
        [packages]\nflask = '*'\ncorplib = { version = '*', index = 'corp' }\nlib = { path = './lib' }\n";
    let pdm = "[project]\nname = 'app'\nversion = '1'\ndependencies = ['flask', 'corplib']\n\
        [[tool.pdm.source]]\nname = 'corp'\nurl = 'https://corp.example/simple'\ninclude_packages = ['corplib']\n";
    let lib = "[project]\nname = 'lib'\n[build-system]\n";
    for (files, lines, text) in [
        (
            Memory::new().with("pyproject.toml", poetry),
            vec!["flask>=3,<4", "-e ./lib"],
            "corplib<2,>=1.2",
        ),
        (
            Memory::new().with("Pipfile", pipfile),
            vec!["--index-url https://main.example/simple", "flask", "./lib"],
            "corplib",
        ),
        (
            Memory::new().with("pyproject.toml", pdm),
            vec!["flask"],
            "corplib",
        ),
        (
            Memory::new()
                .with("pyproject.toml", SOURCES)
                .with("requirements.txt", "-c pins.txt\ncorplib==1.1\nflask\n")
                .with("pins.txt", "six<2\n")
                .with("libs/rates/setup.py", "")
                .with("libs/unused/setup.py", ""),
            vec!["-c pins.txt", "flask"],
            "corplib==1.1",
        ),
    ] {
        let (listed, chosen) = list(&files.with("lib/pyproject.toml", lib));
        assert_eq!(listed.lines, lines);
        assert_eq!(chosen.len(), 1);
        assert_eq!(chosen[0].text(), text);
        assert_eq!(
            chosen[0].index.url.as_deref(),
            Some("https://corp.example/simple")
        );
        assert!(listed.settled.contains(&"corplib".to_owned()));
    }
}

#[test]
fn an_index_that_is_asked_for_every_name_needs_a_lock() {
    let project = "[project]\nname = 'app'\nversion = '1'\ndependencies = ['corplib']\n";
    let corp = "name = 'corp'\nurl = 'https://corp.example/simple'\n";
    for (more, refused) in [
        (format!("[[tool.pdm.source]]\n{corp}"), Some("`pdm lock`")),
        (
            "[[tool.pdm.source]]\nname = 'pypi'\nurl = 'https://corp.example/simple'\n".to_owned(),
            Some("include_packages"),
        ),
        (
            format!("[[tool.pdm.source]]\n{corp}exclude_packages = ['x']\n"),
            Some("`pdm lock`"),
        ),
        (
            format!("[[tool.poetry.source]]\n{corp}"),
            Some("`poetry lock`"),
        ),
        (
            format!("[[tool.poetry.source]]\n{corp}priority = 'supplemental'\n"),
            Some("explicit"),
        ),
        (
            format!("[[tool.poetry.source]]\n{corp}priority = 'explicit'\n"),
            None,
        ),
        (
            "[[tool.poetry.source]]\nname = 'pypi'\npriority = 'primary'\n".to_owned(),
            None,
        ),
        (
            "[[tool.pdm.source]]\nname = 'pypi'\nurl = 'https://pypi.org/simple/'\n".to_owned(),
            None,
        ),
        (
            "[[tool.pdm.source]]\nurl = 'https://me:pw@corp.example/simple'\n".to_owned(),
            Some("include_packages"),
        ),
        (
            "[[tool.pdm.source]]\nname = 'pypi'\nurl = 'https://pypi.python.org/simple'\n"
                .to_owned(),
            None,
        ),
    ] {
        let files = Memory::new().with("pyproject.toml", format!("{project}{more}"));
        let found = found_in(&files, &BTreeMap::new());
        match (refused, found) {
            (Some(words), Err(error)) => {
                let said = crate::app::advice::Explain::advice(&error);
                let text = format!("{}\n{}", said.title, said.remedies.join("\n"));
                assert!(text.contains("corp") || text.contains("pypi"), "{text}");
                assert!(text.contains(words) && !text.contains("pw"), "{text}");
                // It is the build's index, or there is nothing to look for.
                for (name, value) in [
                    ("UV_DEFAULT_INDEX", "main=https://x:y@corp.example/simple/"),
                    ("PIP_INDEX_URL", "https://corp.example/simple"),
                ] {
                    let build = BTreeMap::from([(name.to_owned(), value.to_owned())]);
                    assert!(found_in(&files, &build).unwrap().is_none(), "{more}");
                }
                let nothing = files.clone().with(
                    "pyproject.toml",
                    format!("[project]\nname = 'app'\nversion = '1'\n{more}"),
                );
                assert!(
                    found_in(&nothing, &BTreeMap::new()).unwrap().is_none(),
                    "{more}"
                );
            }
            (None, Ok(found)) => assert!(found.is_none(), "{more}"),
            (_, other) => panic!("{more}: {other:?}"),
        }
        // The list of another tool does not have these sources.
        let files = files.with("requirements.txt", "flask\n");
        assert!(
            found_in(&files, &BTreeMap::new()).unwrap().is_none(),
            "{more}"
        );
    }
}

#[test]
fn what_the_directory_of_the_application_binds() {
    let poetry = "[tool.poetry]\nname = 'app'\n[tool.poetry.dependencies]\npython = '^3.9'\n\
        corplib = { version = '^1.2', source = 'corp' }\nwords = { path = '../libs/words', develop = true }\n\
        [[tool.poetry.source]]\nname = 'corp'\nurl = 'https://corp.example/simple'\npriority = 'explicit'\n";
    let pipfile = "[[source]]\nname = 'main'\nurl = 'https://pypi.org/simple'\n\
        [[source]]\nname = 'corp'\nurl = 'https://corp.example/simple'\n\
        [packages]\ncorplib = { version = '>=1.2,<2', index = 'corp' }\nwords = { path = '../libs/words', editable = true }\n";
    for (name, text) in [("api/pyproject.toml", poetry), ("api/Pipfile", pipfile)] {
        let files = Memory::new()
            .with(".warpdrive/home", "api\n")
            .with(name, text)
            .with("libs/words/setup.py", "");
        let (listed, chosen) = list(&files);
        assert_eq!(listed.lines, ["-e ./libs/words"], "{name}");
        assert_eq!(chosen.len(), 1, "{name}");
        assert_eq!(chosen[0].text(), "corplib<2,>=1.2", "{name}");
        assert_eq!(
            chosen[0].index.url.as_deref(),
            Some("https://corp.example/simple"),
            "{name}"
        );
    }
}

/// The list of the home is not used where the project at the top has its own.
#[test]
fn the_source_itself_and_a_list_that_is_not_used() {
    let pipfile = "[packages]\napp = { path = '..', editable = true }\n";
    let files = Memory::new()
        .with(".warpdrive/home", "example\n")
        .with("example/Pipfile", pipfile);
    let dynamic = files
        .clone()
        .with("setup.py", "from setuptools import setup\nsetup()\n");
    assert!(found_in(&dynamic, &BTreeMap::new()).unwrap().is_none());
    let project = "[project]\nname = 'app'\nversion = '1'\ndependencies = ['six']\n\
        [build-system]\nrequires = ['setuptools']\n";
    let (listed, _) = list(&files.clone().with("pyproject.toml", project));
    assert_eq!(listed.lines, ["six"]);
    let itself = files
        .with("pyproject.toml", project)
        .with("example/requirements.txt", "app\nsix\n");
    let (listed, _) = list(&itself);
    assert_eq!(listed.lines, ["-e .", "six"]);
}

/// What is bound for an extra or a group is never looked for elsewhere when these are installed.
#[test]
fn what_is_bound_for_a_chosen_extra_or_group() {
    let project = "[project]\nname = 'app'\nversion = '1'\ndependencies = ['six']\n\
        [project.optional-dependencies]\nweb = ['corplib>=1']\n\
        [dependency-groups]\nweb = ['corplib>=1']\nall = [{ include-group = 'web' }]\n\
        [[tool.uv.index]]\nname = 'corp'\nurl = 'https://corp.example/simple'\nexplicit = true\n";
    for (kind, key) in [
        ("extra", "dependency_extras"),
        ("group", "dependency_groups"),
    ] {
        let sources =
            format!("[tool.uv.sources]\ncorplib = {{ index = 'corp', {kind} = 'Web' }}\n");
        let files = Memory::new().with("pyproject.toml", format!("{project}{sources}"));
        let (listed, chosen) = list(&files.clone().with(&format!(".warpdrive/{key}"), "web\n"));
        assert_eq!(listed.lines, ["six"], "{kind}");
        assert_eq!(chosen.len(), 1, "{kind}");
        assert_eq!(chosen[0].index.name.as_deref(), Some("corp"), "{kind}");
        let (listed, chosen) = list(&files);
        assert_eq!(listed.lines, ["six"], "{kind}");
        assert!(chosen.is_empty(), "{kind}");
        if kind == "group" {
            let (_, chosen) = list(&files.with(&format!(".warpdrive/{key}"), "all\n"));
            assert_eq!(chosen.len(), 1, "a group that includes it");
        }
    }
}

#[test]
fn a_member_binds_other_members_of_its_workspace() {
    let files = Memory::new()
        .with(".warpdrive/home", "apps/api\n")
        .with("pyproject.toml", "[tool.uv.workspace]\nmembers = ['apps/*', 'libs/*']\n")
        .with(
            "apps/api/pyproject.toml",
            "[project]\nname = 'api'\nversion = '1'\ndependencies = ['words', 'six']\n[tool.uv.sources]\nwords = { workspace = true }\n",
        )
        .with(
            "libs/words/pyproject.toml",
            "[project]\nname = 'words'\nversion = '1'\n[build-system]\n",
        )
        .with("libs/words/setup.py", "");
    let (listed, _) = list(&files);
    assert_eq!(listed.lines, ["-e ./libs/words", "six"]);
    assert!(listed.settled.contains(&"words".to_owned()));
}

#[test]
fn projects_of_a_workspace() {
    let root = "[project]\nname = 'root'\nversion = '1'\ndependencies = ['core', 'plain']\n\
        [tool.uv.sources]\ncore = { workspace = true }\nplain = { workspace = true }\nweb = { workspace = true }\n\
        [tool.uv.workspace]\nmembers = ['packages/*']\nexclude = ['packages/old']\n";
    let member = |name: &str, more: &str| {
        format!("[project]\nname = '{name}'\nversion = '1'\ndependencies = ['six']\n{more}")
    };
    let files = Memory::new()
        .with("pyproject.toml", root)
        .with(
            "packages/a/pyproject.toml",
            member("core", "[build-system]\n"),
        )
        .with("packages/b/pyproject.toml", member("plain", ""))
        .with("packages/web/pyproject.toml", member("web", ""))
        .with("packages/old/pyproject.toml", member("core", ""));
    let (listed, _) = list(&files);
    // Of a project that is not a package, only the requirements count.
    assert_eq!(listed.lines, ["six", "-e ./packages/a"]);
    let alone = Memory::new().with(
        "pyproject.toml",
        "[project]\nname = 'web'\ndependencies = ['core']\n[tool.uv.sources]\ncore = { workspace = true }\n",
    );
    let error = found_in(&alone, &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("build the root"), "{error}");
}

#[test]
fn what_cannot_be_told_apart_is_refused() {
    let pdm = "[project]\nname = 'app'\nversion = '1'\ndependencies = ['acme-web']\n\
        [[tool.pdm.source]]\nname = 'corp'\nurl = 'https://corp.example/simple'\ninclude_packages = ['acme-*']\n";
    let files = Memory::new().with("pyproject.toml", pdm);
    let error = found_in(&files, &BTreeMap::new()).unwrap_err();
    assert!(error.to_string().contains("acme-*"), "{error}");
    // A requirement that a list cannot express is not dropped silently.
    let odd = "[tool.poetry]\nname = 'app'\n[tool.poetry.dependencies]\nodd = '^1 || ^3'\nlib = { path = 'lib' }\n";
    let files = Memory::new()
        .with("pyproject.toml", odd)
        .with("lib/setup.py", "");
    assert!(found_in(&files, &BTreeMap::new()).unwrap().is_none());
    let project = Project::load(&files, &BTreeMap::new(), &BTreeMap::new()).unwrap();
    assert!(!project.requirements.problems.is_empty());
}

/// Only the backend of a project knows what it needs: uv follows its table where it reads it.
#[test]
fn what_only_a_build_backend_knows() {
    let sources = "[tool.uv.sources]\nx = { path = 'x' }\n";
    let standard = format!("[project]\nname = 'app'\ndynamic = ['dependencies']\n{sources}");
    let top = Memory::new().with("pyproject.toml", standard.as_str());
    assert!(found_in(&top, &BTreeMap::new()).unwrap().is_none());
    let script = "from setuptools import setup\nsetup()\n";
    for (files, words) in [
        (top.with(".warpdrive/installer", "pip\n"), "`uv lock`"),
        (
            Memory::new()
                .with("pyproject.toml", sources)
                .with("setup.py", script),
            "[project] dependencies",
        ),
        (
            Memory::new()
                .with(".warpdrive/home", "api\n")
                .with("api/pyproject.toml", standard.as_str()),
            "`uv lock`",
        ),
        (
            Memory::new()
                .with(".warpdrive/home", "api\n")
                .with("api/pyproject.toml", sources)
                .with("api/setup.py", script),
            "[project] dependencies",
        ),
    ] {
        assert!(said(&files).contains(words), "{files:?}");
    }
}

fn said(files: &Memory) -> String {
    let error = found_in(files, &BTreeMap::new()).unwrap_err();
    let said = crate::app::advice::Explain::advice(&error);
    format!("{}\n{}", said.title, said.remedies.join("\n"))
}

/// An index that is asked for every name, where the installer does not know it.
#[test]
fn indexes_of_every_name_in_each_form_of_project() {
    let pdm = "[[tool.pdm.source]]\nname = 'corp'\nurl = 'https://corp.example/simple'\n";
    let uv = "[[tool.uv.index]]\nname = 'corp'\nurl = 'https://corp.example/simple'\n";
    let project = "[project]\nname = 'app'\nversion = '1'\ndependencies = ['corplib']\n";
    let script = "from setuptools import setup\nsetup()\n";
    let home = || Memory::new().with(".warpdrive/home", "api\n");
    for files in [
        Memory::new().with(
            "pyproject.toml",
            format!("[dependency-groups]\nprod = ['corplib']\n{pdm}"),
        ),
        Memory::new()
            .with("pyproject.toml", pdm)
            .with("setup.py", script)
            .with("setup.cfg", "[options]\ninstall_requires =\n  corplib\n"),
        Memory::new()
            .with("pyproject.toml", pdm)
            .with("setup.py", script),
        home().with("api/pyproject.toml", format!("{project}{uv}")),
        home()
            .with("api/pyproject.toml", uv)
            .with("api/requirements.txt", "corplib\n"),
        Memory::new()
            .with("pyproject.toml", format!("{project}{uv}"))
            .with(".warpdrive/installer", "pip\n"),
    ] {
        assert!(said(&files).contains("`corp`"), "{files:?}");
        let build = BTreeMap::from([(
            "UV_DEFAULT_INDEX".to_owned(),
            "https://corp.example/simple".to_owned(),
        )]);
        assert!(found_in(&files, &build).unwrap().is_none(), "{files:?}");
    }
    // uv reads its tables at the top, and a list for pip has pip's rules.
    for files in [
        Memory::new().with("pyproject.toml", format!("{project}{uv}")),
        Memory::new()
            .with("pyproject.toml", uv)
            .with("requirements.txt", "corplib\n")
            .with(".warpdrive/installer", "pip\n"),
        home().with(
            "api/pyproject.toml",
            format!("{project}{uv}explicit = true\n"),
        ),
    ] {
        assert!(found_in(&files, &BTreeMap::new()).unwrap().is_none());
    }
}

/// uv does not know the tables of other managers in the projects that a list names.
#[test]
fn what_a_library_of_the_tree_binds() {
    let poetry = "[tool.poetry]\nname = 'rates'\n[tool.poetry.dependencies]\ncorplib = { version = '*', source = 'corp' }\n\
        [[tool.poetry.source]]\nname = 'corp'\nurl = 'https://corp.example/simple'\npriority = 'explicit'\n\
        [build-system]\nrequires = ['poetry-core']\n";
    let files = Memory::new()
        .with("requirements.txt", "./libs/rates\n")
        .with("libs/rates/pyproject.toml", poetry);
    let (listed, chosen) = list(&files);
    assert_eq!(listed.lines, ["./libs/rates"]);
    assert_eq!(chosen[0].text(), "corplib");
    assert!(listed.settled.contains(&"corplib".to_owned()));
    let uv = "[project]\nname = 'rates'\ndependencies = ['x']\n[tool.uv.sources]\nx = { path = 'none' }\n";
    let files = files.with("libs/rates/pyproject.toml", uv);
    assert!(found_in(&files, &BTreeMap::new()).unwrap().is_none());
}

/// Where the place of a name is for other environments, the usual index has it.
#[test]
fn a_place_for_another_platform() {
    let project = |marker: &str| {
        let text = format!(
            "[project]\nname = 'app'\nversion = '1'\ndependencies = ['six>=1']\n\
             [tool.uv.sources]\nsix = {{ git = 'https://h/six', marker = \"{marker}\" }}\n"
        );
        list(&Memory::new().with("pyproject.toml", text)).0
    };
    let elsewhere = project("sys_platform == 'darwin'");
    assert!(
        elsewhere.lines.contains(&"six>=1".to_owned()),
        "{elsewhere:?}"
    );
    assert!(!elsewhere.settled.contains(&"six".to_owned()));
    let here = project("sys_platform == 'linux'");
    assert!(!here.lines.contains(&"six>=1".to_owned()), "{here:?}");
    assert!(here.settled.contains(&"six".to_owned()));
}

#[test]
fn extras_of_a_bound_name_are_joined() {
    assert_eq!(joined("[b,a]", "[c,a]"), "[a,b,c]");
    assert_eq!(joined("", "[c]"), "[c]");
    assert_eq!(joined("", ""), "");
}

/// What must be built with a name of the project's own index is not built with a stranger's package.
#[test]
fn what_builds_a_package() {
    let own = "[build-system]\nrequires = ['Corp_Build>=1', 'setuptools']\n";
    let project = format!("[project]\nname = 'app'\nversion = '1'\n{own}");
    let pdm = "[[tool.pdm.source]]\nname = 'corp'\nurl = 'https://corp.example/simple'\n";
    let poetry = "[[tool.poetry.source]]\nname = 'corp'\nurl = 'https://corp.example/simple'\n";
    let uv = "[[tool.uv.index]]\nname = 'corp'\nurl = 'https://corp.example/simple'\n";
    let bound = "[tool.uv.sources]\ncorp-build = { index = 'corp' }\n";
    let check = |text: &str, directory: &str, build: &BTreeMap<String, String>| {
        let path = files::join(directory, "pyproject.toml").unwrap();
        let files = Memory::new().with(&path, text);
        let installer = Installer {
            is_pip: false,
            environment: build,
        };
        let builders = Builders::read(&files, directory, installer);
        let local = crate::app::listed::LocalProject {
            path: directory.to_owned(),
            extras: String::new(),
            editable: true,
            named_in: path,
            is_listed: false,
        };
        let archive = builders.check_archive("x 1", ["corp.build", "wheel"].into_iter());
        (
            builders.check_projects(&files, &[local]).is_ok(),
            archive.is_ok(),
        )
    };
    let usual = BTreeMap::new();
    for (more, directory, expected) in [
        (
            format!("{pdm}include_packages = ['corp*']\n"),
            "",
            (false, false),
        ),
        (
            format!("{pdm}include_packages = ['acme*']\n"),
            "",
            (true, true),
        ),
        (pdm.to_owned(), "", (false, false)),
        (
            format!("{poetry}priority = 'primary'\n"),
            "",
            (false, false),
        ),
        (
            format!("{poetry}priority = 'supplemental'\n"),
            "",
            (true, true),
        ),
        (format!("{poetry}priority = 'explicit'\n"), "", (true, true)),
        (uv.to_owned(), "", (true, true)),
        (uv.to_owned(), "api", (false, false)),
        (format!("{uv}explicit = true\n{bound}"), "", (true, false)),
        (String::new(), "", (true, true)),
    ] {
        let text = format!("{project}{more}");
        assert_eq!(check(&text, directory, &usual), expected, "{more}");
    }
    // The build knows the index.
    let build = BTreeMap::from([(
        "UV_INDEX".to_owned(),
        "corp=https://me:pw@corp.example/simple/".to_owned(),
    )]);
    assert_eq!(check(&format!("{project}{pdm}"), "", &build), (true, true));
    // Nothing is looked for.
    let alone = BTreeMap::from([("PIP_NO_INDEX".to_owned(), "1".to_owned())]);
    assert_eq!(check(&format!("{project}{pdm}"), "", &alone), (true, true));
}

#[test]
fn the_index_of_a_workspaces_member_is_named_with_its_file() {
    let member = "[project]\nname = 'api'\nversion = '1'\ndependencies = ['corplib']\n\
        [[tool.uv.index]]\nname = 'corp'\nurl = 'https://corp.example/simple'\n";
    let alone = Memory::new()
        .with(".warpdrive/home", "api")
        .with("api/pyproject.toml", member);
    assert_eq!(
        said(&alone),
        "any package may come from [[tool.uv.index]] `corp` of api/pyproject.toml, and only a uv.lock says which ones do: there is none\n\
         run `uv lock` and commit what it writes; or explicit = true in it, and [tool.uv.sources] names the packages that are from there"
    );
    let workspace = "[tool.uv.workspace]\nmembers = ['api']\n";
    let of_workspace = alone.clone().with("pyproject.toml", workspace);
    assert_eq!(
        said(&of_workspace),
        "any package may come from [[tool.uv.index]] `corp` of api/pyproject.toml, and only a uv.lock says which ones do: there is none\n\
         move it from api/pyproject.toml to the pyproject.toml of the workspace's root, where uv reads it, run `uv lock` and \
         commit what it writes; or explicit = true in it, and [tool.uv.sources] names the packages that are from there"
    );
}

#[test]
fn a_member_may_name_an_index_of_its_workspaces_root() {
    let files = Memory::new()
        .with(".warpdrive/home", "api")
        .with(
            "pyproject.toml",
            "[tool.uv.workspace]\nmembers = ['api']\n[[tool.uv.index]]\nname = 'corp'\n\
             url = 'https://corp.example/simple'\nexplicit = true\n",
        )
        .with(
            "api/pyproject.toml",
            "[project]\nname = 'api'\nversion = '1'\ndependencies = ['corplib']\n\
             [tool.uv.sources]\ncorplib = { index = 'corp' }\n",
        );
    let (_, chosen) = list(&files);
    let url = chosen[0].index.url.as_deref();
    assert_eq!(url, Some("https://corp.example/simple"));
}

#[test]
fn a_pipfile_that_names_an_index_without_defining_it() {
    let pipfile = |sources: &str| {
        let text = format!("{sources}[packages]\ncorplib = {{ version = '*', index = 'corp' }}\n");
        Memory::new().with("Pipfile", text)
    };
    let remedy =
        "define it (name = \"corp\" and its url, in [[source]]), or name one that is defined";
    let main = "[[source]]\nname = 'main'\nurl = 'https://main.example/simple'\n";
    let pypi = "[[source]]\nname = 'pypi'\nurl = 'https://pypi.org/simple'\n";
    for (sources, defined) in [
        (String::new(), "there are none"),
        (main.to_owned(), "the only one is main"),
        (format!("{main}{pypi}"), "they are main and pypi"),
    ] {
        assert_eq!(
            said(&pipfile(&sources)),
            format!(
                "Pipfile cannot be installed: `corplib` is bound to the index corp, which [[source]] does not define: {defined}\n{remedy}"
            )
        );
    }
}
