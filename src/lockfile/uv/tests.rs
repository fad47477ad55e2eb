use super::*;

const HASH: &str = "6bc31bbbec6dfaaedc1676dbc11dbda96fe22a2b5c400e9ebad113fec44a9dc6";

fn registry(name: &str, version: &str, more: &str) -> String {
    format!(
        "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nsource = {{ registry = \"https://pypi.org/simple\" }}\n{more}\nwheels = [\n  {{ url = \"https://files/{}-{version}-py3-none-any.whl\", hash = \"sha256:{HASH}\", size = 5 }},\n]\n\n",
        name.replace('-', "_")
    )
}

fn select(text: &str, wanted: &Wanted) -> Result<Locked, String> {
    Document::parse(&format!("version = 1\nrequires-python = \">=3.9\"\n{text}"))?
        .select(wanted, &Target::of("3.11.2", "glibc 2.36"))
}

fn names(locked: &Locked) -> Vec<String> {
    locked
        .packages
        .iter()
        .map(|package| format!("{} {}", package.name, package.version))
        .collect()
}

#[test]
fn what_one_environment_needs() {
    let text = [
            "[[package]]\nname = \"app\"\nversion = \"0.1\"\nsource = { virtual = \".\" }\n\
             dependencies = [\n { name = \"uvicorn\", extra = [\"standard\"] },\n { name = \"win\", marker = \"sys_platform == 'win32'\" },\n { name = \"lib\" },\n]\n\
             [package.optional-dependencies]\npg = [{ name = \"psycopg\" }]\n\
             [package.dev-dependencies]\ndev = [{ name = \"pytest\" }]\nprod = [{ name = \"sentry\" }]\n\n".to_owned(),
            registry("uvicorn", "1.0", "dependencies = [{ name = \"click\" }]\n"),
            "[package.optional-dependencies]\nstandard = [{ name = \"numpy\", version = \"2.0\" , source = { registry = \"https://pypi.org/simple\" }, marker = \"python_full_version >= '3.10'\" }, { name = \"numpy\", version = \"1.0\", marker = \"python_full_version < '3.10'\" }]\n\n".to_owned(),
            registry("click", "8", ""),
            registry("win", "1", ""),
            registry("numpy", "1.0", "resolution-markers = [\"python_full_version < '3.10'\"]\n"),
            registry("numpy", "2.0", "resolution-markers = [\"python_full_version >= '3.10'\"]\n"),
            registry("psycopg", "3", ""),
            registry("pytest", "8", ""),
            registry("sentry", "2", ""),
            "[[package]]\nname = \"lib\"\nversion = \"1\"\nsource = { editable = \"libs/lib\" }\ndependencies = [{ name = \"click\" }]\n".to_owned(),
        ]
        .concat();
    let locked = select(&text, &Wanted::default()).unwrap();
    assert_eq!(names(&locked), ["click 8", "numpy 2.0", "uvicorn 1.0"]);
    assert_eq!(
        locked.direct.iter().collect::<Vec<_>>(),
        ["lib", "uvicorn", "win"]
    );
    assert_eq!(locked.projects.len(), 1);
    assert!(locked.projects[0].editable && locked.projects[0].path == "libs/lib");
    let wanted = Wanted {
        extras: ["pg".to_owned()].into(),
        groups: ["prod".to_owned()].into(),
        ..Wanted::default()
    };
    assert_eq!(
        names(&select(&text, &wanted).unwrap()),
        [
            "click 8",
            "numpy 2.0",
            "psycopg 3",
            "sentry 2",
            "uvicorn 1.0"
        ]
    );
    let Origin::Index { indexes, files } = &locked.packages[0].origin else {
        panic!("{locked:?}");
    };
    assert_eq!(
        (indexes[0].url.as_deref(), files[0].name.as_str()),
        (None, "click-8-py3-none-any.whl")
    );
}

#[test]
fn origins_other_than_an_index() {
    let text = "[[package]]\nname = \"app\"\nversion = \"0.1\"\nsource = { editable = \".\" }\ndependencies = [{ name = \"a\" }, { name = \"b\" }, { name = \"c\" }]\n\n\
            [[package]]\nname = \"a\"\nversion = \"1\"\nsource = { git = \"https://x/a?subdirectory=py&rev=main#0123abc\" }\n\n\
            [[package]]\nname = \"b\"\nversion = \"1\"\nsource = { url = \"https://x/b-1-py3-none-any.whl\" }\nwheels = [{ url = \"https://x/b-1-py3-none-any.whl\", hash = \"sha256:HASH\" }]\n\n\
            [[package]]\nname = \"c\"\nversion = \"1\"\nsource = { registry = \"https://corp/simple\" }\nwheels = [{ url = \"https://corp/f/c-1-py3-none-any.whl\", hash = \"sha256:HASH\" }]\n"
            .replace("HASH", HASH);
    let locked = select(&text, &Wanted::default()).unwrap();
    let origins: Vec<&Origin> = locked
        .packages
        .iter()
        .map(|package| &package.origin)
        .collect();
    assert!(
        matches!(origins[0], Origin::Git { commit, subdirectory: Some(sub), .. } if commit == "0123abc" && sub == "py")
    );
    assert!(matches!(origins[1], Origin::Archive { .. }));
    assert!(
        matches!(origins[2], Origin::Index { indexes, .. } if indexes[0].url.as_deref() == Some("https://corp/simple"))
    );
    assert_eq!(locked.projects[0].path, "");
}

#[test]
fn what_cannot_be_installed_is_refused() {
    let app = "[[package]]\nname = \"app\"\nversion = \"0.1\"\nsource = { virtual = \".\" }\ndependencies = [{ name = \"a\" }]\n\n";
    for more in [
        String::new(),
        "[[package]]\nname = \"a\"\nversion = \"1\"\nsource = { editable = \"/a\" }\n".into(),
        "[[package]]\nname = \"a\"\nversion = \"1\"\nsource = { registry = \"https://x\" }\n"
            .into(),
        "[[package]]\nname = \"a\"\nversion = \"1\"\nsource = { registry = \"../wheels\" }\n"
            .into(),
        registry("a", "1 --x", ""),
        registry("a", "1", "").replace("sha256:", "md5:"),
        registry("a", "1", "") + &registry("a", "2", ""),
        "[[package]]\nname = \"a\"\nversion = \"1\"\nsource = { git = \"https://x/y z#1\" }\n"
            .into(),
    ] {
        assert!(
            select(&format!("{app}{more}"), &Wanted::default()).is_err(),
            "{more}"
        );
    }
    assert!(Document::parse("version = 2").is_err());
    assert!(Document::parse("x").is_err());
}

proptest::proptest! {
    #[test]
    fn any_text_is_read(text in ".{0,200}") {
        let _ = select(&text, &Wanted::default());
    }
}
