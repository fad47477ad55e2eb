use super::*;

const HASH: &str = "6bc31bbbec6dfaaedc1676dbc11dbda96fe22a2b5c400e9ebad113fec44a9dc6";

fn package(name: &str, version: &str, more: &str) -> String {
    format!(
        "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\noptional = false\npython-versions = \">=3.8\"\n\
             files = [{{file = \"{name}-{version}-py3-none-any.whl\", hash = \"sha256:{HASH}\"}}]\n{more}\n"
    )
}

fn select(
    pyproject: &str,
    version: &str,
    lock: &str,
    extras: &[&str],
    groups: &[&str],
) -> Result<Locked, String> {
    let set = |list: &[&str]| list.iter().map(|one| (*one).to_owned()).collect();
    Document::parse(&format!(
            "{lock}\n[metadata]\nlock-version = \"{version}\"\npython-versions = \"^3.8\"\ncontent-hash = \"x\"\n"
        ))?
        .select(&toml::from_str(pyproject).unwrap(), &set(extras), &set(groups), &Target::of("3.11.2", ""))
}

fn names(locked: &Locked) -> Vec<&str> {
    locked
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect()
}

#[test]
fn poetry_2_says_it_for_each_package() {
    let lock = [
            package("flask", "3", "groups = [\"main\"]"),
            package("win", "3", "groups = [\"main\"]\nmarkers = \"sys_platform == 'win32'\""),
            package("pytest", "3", "groups = [\"dev\"]"),
            package("both", "3", "groups = [\"dev\", \"main\"]\nmarkers = {main = \"python_version < '3'\", dev = \"python_version > '3'\"}"),
            package("pg", "3", "groups = [\"main\"]\nmarkers = \"extra == \\\"pg\\\"\""),
        ]
        .concat();
    let pyproject = "[project]\ndependencies = ['Flask (>=3)']\n";
    let locked = select(pyproject, "2.1", &lock, &[], &[]).unwrap();
    assert_eq!(names(&locked), ["flask"]);
    assert_eq!(locked.direct.iter().collect::<Vec<_>>(), ["flask"]);
    let locked = select(pyproject, "2.1", &lock, &["pg"], &["dev"]).unwrap();
    assert_eq!(names(&locked), ["both", "flask", "pg", "pytest"]);
}

#[test]
fn poetry_1_is_walked() {
    let lock = [
            package("uvicorn", "1", "[package.dependencies]\nclick = \">=7\"\nuvloop = {version = \">=0.1\", optional = true, markers = \"sys_platform != 'win32' and extra == 'standard'\"}\n[package.extras]\nstandard = [\"uvloop (>=0.1)\"]\n"),
            package("click", "8", "[package.dependencies]\ncolorama = {version = \"*\", markers = \"platform_system == 'Windows'\"}\n"),
            package("colorama", "1", ""),
            package("uvloop", "1", ""),
            package("pytest", "1", ""),
            package("psycopg", "1", ""),
            package("numpy", "1.0", "").replace(">=3.8", ">=3.8,<3.10"),
            package("numpy", "2.0", "").replace(">=3.8", ">=3.10"),
        ]
        .concat();
    let pyproject = "[tool.poetry.dependencies]\npython = '^3.8'\nuvicorn = '^1'\npsycopg = {version = '*', optional = true}\nnumpy = '*'\n\
                         [tool.poetry.extras]\npg = ['psycopg']\n[tool.poetry.group.dev.dependencies]\npytest = '*'\n";
    assert_eq!(
        names(&select(pyproject, "2.0", &lock, &[], &[]).unwrap()),
        ["click", "numpy", "uvicorn"]
    );
    assert_eq!(
        names(&select(pyproject, "2.0", &lock, &["pg"], &["dev"]).unwrap()),
        ["click", "numpy", "psycopg", "pytest", "uvicorn"]
    );
    let with_extra = pyproject.replace(
        "uvicorn = '^1'",
        "uvicorn = {version = '^1', extras = ['standard']}",
    );
    let locked = select(&with_extra, "2.0", &lock, &[], &[]).unwrap();
    assert_eq!(names(&locked), ["click", "numpy", "uvicorn", "uvloop"]);
    assert_eq!(locked.packages[1].version, "2.0");
    let old = "[[package]]\nname = \"a\"\nversion = \"1\"\ncategory = \"main\"\noptional = false\npython-versions = \"*\"\n";
    let files = format!(
        "[metadata]\nlock-version = \"1.1\"\npython-versions = \"*\"\ncontent-hash = \"x\"\n[metadata.files]\na = [{{file = \"a-1.tar.gz\", hash = \"sha256:{HASH}\"}}]\n"
    );
    let locked = Document::parse(&format!("{old}\n{files}")).unwrap().select(
        &toml::from_str("[tool.poetry.dependencies]\na = '*'").unwrap(),
        &BTreeSet::new(),
        &BTreeSet::new(),
        &Target::of("3.11.2", ""),
    );
    assert_eq!(names(&locked.unwrap()), ["a"]);
}

#[test]
fn origins_other_than_the_usual_index() {
    let source = |text: &str| format!("groups = [\"main\"]\n[package.source]\n{text}\n");
    let lock = [
            package("a", "1", &source("type = \"legacy\"\nurl = \"https://corp/simple\"\nreference = \"corp\"")),
            package("b", "1", &source("type = \"git\"\nurl = \"https://x/b\"\nreference = \"main\"\nresolved_reference = \"0123\"")),
            package("c", "1", &format!("develop = true\n{}", source("type = \"directory\"\nurl = \"libs/c\""))),
            package("d", "1", &source("type = \"url\"\nurl = \"https://x/d-1-py3-none-any.whl\"")),
        ]
        .concat();
    let locked = select("", "2.1", &lock, &[], &[]).unwrap();
    assert!(
        matches!(&locked.packages[0].origin, Origin::Index { indexes, .. } if indexes[0].name.as_deref() == Some("corp") && indexes[0].url.is_some())
    );
    assert!(matches!(&locked.packages[1].origin, Origin::Git { commit, .. } if commit == "0123"));
    assert!(matches!(&locked.packages[2].origin, Origin::Archive { .. }));
    assert!(locked.projects[0].editable);
    // A sibling of the lock's directory: the code that knows the source checks whether it is inside.
    let beside = package(
        "c",
        "1",
        &source("type = \"directory\"\nurl = \"../libs/./c\""),
    );
    let locked = select("", "2.1", &beside, &[], &[]).unwrap();
    assert_eq!(locked.projects[0].path, "../libs/c");
    for url in ["/c", "c/../../d", "../ c"] {
        let outside = package(
            "c",
            "1",
            &source(&format!("type = \"directory\"\nurl = \"{url}\"")),
        );
        assert!(select("", "2.1", &outside, &[], &[]).is_err(), "{url}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_is_read(text in ".{0,200}") {
        let _ = select("", "2.1", &text, &[], &[]);
    }
}

#[test]
fn conditions_on_the_platform_and_the_old_group_for_developers() {
    for (text, expected) in [
        ("linux", true),
        ("win32", false),
        ("!=win32", true),
        ("!=linux", false),
        ("darwin || linux", true),
        ("win32|darwin", false),
        ("!=win32,!=darwin", true),
    ] {
        assert_eq!(is_here(text), expected, "{text}");
    }
    let project: Table = toml::from_str(
        "[tool.poetry.dependencies]\nsix = '*'\n[tool.poetry.dev-dependencies]\npluggy = '*'\n",
    )
    .unwrap();
    let names = |groups: &[&str]| {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Document::direct(&project, &groups)
    };
    assert_eq!(names(&["main"]).len(), 1);
    assert!(names(&["main", "dev"]).contains("pluggy"));
}
