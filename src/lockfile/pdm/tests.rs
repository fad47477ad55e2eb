use super::*;

const HASH: &str = "6bc31bbbec6dfaaedc1676dbc11dbda96fe22a2b5c400e9ebad113fec44a9dc6";

fn package(name: &str, version: &str, more: &str) -> String {
    format!(
        "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nfiles = [{{file = \"{name}-{version}-py3-none-any.whl\", hash = \"sha256:{HASH}\"}}]\n{more}\n"
    )
}

fn select(
    pyproject: &str,
    strategy: &str,
    packages: &str,
    groups: &[&str],
) -> Result<Locked, String> {
    let text = format!("[metadata]\nlock_version = \"4.5.0\"\nstrategy = [{strategy}]\n{packages}");
    Document::parse(&text)?.select(
        &toml::from_str(pyproject).unwrap(),
        &groups.iter().map(|group| (*group).to_owned()).collect(),
        &Target::of("3.11.2", ""),
    )
}

fn names(locked: &Locked) -> Vec<&str> {
    locked
        .packages
        .iter()
        .map(|package| package.name.as_str())
        .collect()
}

#[test]
fn groups_and_markers_or_a_walk() {
    let packages = [
            package("uvicorn", "1", "groups = [\"default\"]\ndependencies = [\"click\"]"),
            package("uvicorn", "1", "extras = [\"standard\"]\ngroups = [\"default\"]\ndependencies = [\"uvicorn==1\", \"uvloop; sys_platform != 'win32'\"]"),
            package("click", "1", "groups = [\"default\"]\ndependencies = [\"colorama; sys_platform == 'win32'\"]"),
            package("colorama", "1", "groups = [\"default\"]\nmarker = \"sys_platform == 'win32'\""),
            package("uvloop", "1", "groups = [\"default\"]"),
            package("pytest", "1", "groups = [\"dev\"]"),
        ]
        .concat();
    let pyproject =
        "[project]\ndependencies = ['uvicorn[standard]']\n[dependency-groups]\ndev = ['pytest']\n";
    for strategy in ["\"inherit_metadata\"", ""] {
        let locked = select(pyproject, strategy, &packages, &[]).unwrap();
        assert_eq!(names(&locked), ["click", "uvicorn", "uvloop"], "{strategy}");
        assert_eq!(locked.direct.iter().collect::<Vec<_>>(), ["uvicorn"]);
        let locked = select(pyproject, strategy, &packages, &["dev"]).unwrap();
        assert_eq!(
            names(&locked),
            ["click", "pytest", "uvicorn", "uvloop"],
            "{strategy}"
        );
    }
}

#[test]
fn a_source_that_names_a_package_is_the_only_one_for_it() {
    let source = "[[tool.pdm.source]]\nname = 'corp'\nurl = 'https://corp/simple'\n";
    let of = |more: &str, name: &str| -> Vec<Option<String>> {
        let sources = Sources::of(&toml::from_str(&format!("{source}{more}")).unwrap());
        sources
            .of_name(name)
            .unwrap()
            .into_iter()
            .map(|index| index.url)
            .collect()
    };
    let corp = || Some("https://corp/simple".to_owned());
    assert_eq!(of("include_packages = ['corp*']", "corplib"), [corp()]);
    assert_eq!(
        of(
            "include_packages = ['corp*']\nexclude_packages = ['*']",
            "flask"
        ),
        [None]
    );
    assert_eq!(of("", "flask"), [None, corp()]);
    assert_eq!(of("exclude_packages = ['fl?sk']", "flask"), [None]);
    let links = "[[tool.pdm.source]]\nurl = 'wheels'\ntype = 'find_links'\n";
    assert!(
        Sources::of(&toml::from_str(links).unwrap())
            .of_name("x")
            .is_err()
    );
}

proptest::proptest! {
    #[test]
    fn any_text_is_read(text in ".{0,200}", pattern in "[a*?]{0,12}", name in "[ab]{0,12}") {
        let _ = select("", "", &text, &[]);
        glob(&pattern, &name);
    }
}

#[test]
fn a_lock_for_other_platforms_alone() {
    let select = |targets: &[&str]| {
        let one = |name: &&str| {
            format!("[[metadata.targets]]\nrequires_python = '>=3.11'\nplatform = '{name}'\n")
        };
        let targets: Vec<String> = targets.iter().map(one).collect();
        let targets = targets.join("");
        let text = format!("[metadata]\nlock_version = '4.5.1'\ngroups = ['default']\n{targets}");
        let target = Target::of("3.11.2", "glibc 2.36");
        let document = Document::parse(&text).unwrap();
        document.select(&Table::new(), &BTreeSet::new(), &target)
    };
    let error = select(&["windows_amd64", "macos_arm64"]).unwrap_err();
    assert!(error.contains("windows_amd64"), "{error}");
    for platforms in [
        &[][..],
        &["windows_amd64", "linux"],
        &["manylinux_2_17_x86_64"],
    ] {
        assert!(select(platforms).is_ok(), "{platforms:?}");
    }
}
