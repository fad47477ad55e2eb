use std::fs;
use std::path::Path;

use super::*;
use crate::plan::PLAN_FILE;

struct Fixture {
    directory: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Fixture {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("src/.warpdrive/action_hooks")).unwrap();
        fs::create_dir_all(directory.path().join("bin")).unwrap();
        Fixture { directory }
    }

    fn root(&self) -> &str {
        self.directory.path().to_str().unwrap()
    }

    fn with(self, path: &str, content: impl AsRef<[u8]>) -> Fixture {
        let path = self.directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    fn plan(self, home: &str) -> Fixture {
        let plan = serde_json::json!({
            "version": 1, "start": {"mode": "python", "program": "app.py"}, "installer": "uv",
            "home": home, "environment": {"DJANGO_SETTINGS_MODULE": "site.settings", "A": "plan"},
        });
        self.with(PLAN_FILE, plan.to_string())
    }

    fn of(&self, variables: &[(&str, &str)]) -> Result<Environment, RunError> {
        let mut all: BTreeMap<OsString, OsString> = variables
            .iter()
            .map(|(n, v)| (n.into(), v.into()))
            .collect();
        all.insert("WARPDRIVE_APP_ROOT".into(), self.root().into());
        all.entry("PATH".into())
            .or_insert_with(|| "/usr/bin:/bin".into());
        Environment::of(&Caller {
            variables: all,
            directory: "/".into(),
        })
    }
}

fn text<'a>(environment: &'a Environment, name: &str) -> &'a str {
    environment
        .value(name)
        .unwrap_or_default()
        .to_str()
        .unwrap()
}

#[test]
fn where_things_lie() {
    let fixture = Fixture::new().plan("web");
    let root = fixture.root();
    let found = fixture.of(&[]).unwrap();
    for (name, expected) in [
        ("WARPDRIVE_PHASE", "deploy".to_owned()),
        ("WARPDRIVE_APP_ROOT", root.to_owned()),
        ("WARPDRIVE_SRC_ROOT", format!("{root}/src")),
        ("WARPDRIVE_APP_HOME", format!("{root}/src/web")),
        ("PATH", format!("{root}/bin:/usr/bin:/bin")),
        ("PYTHONPATH", format!("{root}/src/web:{root}/src")),
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("DJANGO_SETTINGS_MODULE", "site.settings".to_owned()),
        ("PORT", "8080".to_owned()),
        ("WARPDRIVE_HTTP_PORT", "8080".to_owned()),
    ] {
        assert_eq!(text(&found, name), expected, "{name}");
    }
    assert_eq!(
        found.variables[OsStr::new("WARPDRIVE_APP_HOME")].origin,
        Origin::Plan
    );
}

/// BUG of the original: an empty PYTHONPATH left a trailing `:`, the current directory.
#[test]
fn pythonpath_has_no_empty_element() {
    let fixture = Fixture::new();
    let src = format!("{}/src", fixture.root());
    for (old, expected) in [
        ("", src.clone()),
        (":", src.clone()),
        ("/lib:", format!("{src}:/lib")),
        (":/lib::/more", format!("{src}:/lib:/more")),
        (&format!("{src}:/lib"), format!("{src}:/lib")),
    ] {
        let found = fixture.of(&[("PYTHONPATH", old)]).unwrap();
        assert_eq!(text(&found, "PYTHONPATH"), expected, "{old:?}");
    }
}

/// BUG of the original: at deployment the files were evaluated but not exported.
#[test]
fn the_files_are_exported() {
    let fixture = Fixture::new()
        .plan("")
        .with(
            "src/.warpdrive/environment",
            "A=1\nB=${GIVEN:-2}\nunset GONE\n",
        )
        .with(
            "src/.warpdrive/action_hooks/deploy-env",
            "C=\"$A-$B\"\nA=3\n",
        );
    let found = fixture.of(&[("GIVEN", "x"), ("GONE", "1")]).unwrap();
    assert_eq!(text(&found, "A"), "3");
    assert_eq!(text(&found, "B"), "x");
    assert_eq!(text(&found, "C"), "1-x");
    assert!(found.unset.contains(OsStr::new("GONE")));
    assert_eq!(
        found.variables[OsStr::new("B")].origin.to_string(),
        "file: .warpdrive/environment"
    );
    let mut command = Command::new("/usr/bin/env");
    found.give_to(&mut command);
    let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(output.lines().any(|line| line == "B=x"), "{output}");
}

/// The original's order was the other way round.
#[test]
fn the_caller_comes_before_the_files() {
    let fixture = Fixture::new()
        .plan("")
        .with(
            "src/.warpdrive/environment",
            "SAID=file\nADDED=\"$ADDED more\"\nLANG=de_DE.UTF-8\nEMPTY=file\nunset GONE\n",
        )
        .with(
            "src/.warpdrive/action_hooks/deploy-env",
            "SAID=hook\nNEW=1\n",
        );
    let plan = serde_json::json!({
        "version": 1, "start": {"mode": "python", "program": "app.py"}, "installer": "uv",
        "image_environment": {"LANG": "C.UTF-8", "OTHER": "x"},
    });
    let fixture = fixture.with(PLAN_FILE, plan.to_string());
    let caller = [
        ("SAID", "caller"),
        ("ADDED", "caller"),
        ("LANG", "C.UTF-8"),
        ("EMPTY", ""),
        ("GONE", "1"),
    ];
    let found = fixture.of(&caller).unwrap();
    for (name, value, origin) in [
        ("SAID", "caller", "environment"),
        ("ADDED", "caller more", "file: .warpdrive/environment"),
        ("LANG", "de_DE.UTF-8", "file: .warpdrive/environment"),
        ("EMPTY", "", "environment"),
        ("NEW", "1", "file: .warpdrive/action_hooks/deploy-env"),
    ] {
        let variable = &found.variables[OsStr::new(name)];
        assert_eq!(variable.value, value, "{name}");
        assert_eq!(variable.origin.to_string(), origin, "{name}");
    }
    assert!(found.unset.contains(OsStr::new("GONE")));
    // A value that differs from the image's was set by the caller.
    let found = fixture.of(&[("LANG", "fr_FR.UTF-8")]).unwrap();
    assert_eq!(text(&found, "LANG"), "fr_FR.UTF-8");
}

#[test]
fn the_port() {
    let none = Fixture::new();
    let port = Fixture::new().with("src/.warpdrive/environment", "PORT=9001\n");
    let http = Fixture::new().with("src/.warpdrive/environment", "WARPDRIVE_HTTP_PORT=9002\n");
    let looks = Fixture::new().with("src/.warpdrive/environment", "PORT=${GIVEN:-9003}\n");
    for (fixture, variables, expected) in [
        (&none, &[][..], 8080),
        (&none, &[("WARPDRIVE_HTTP_PORT", "81")], 81),
        (&none, &[("WARPDRIVE_HTTP_PORT", "81"), ("PORT", "82")], 82),
        (&none, &[("WARPDRIVE_HTTP_PORT", "81"), ("PORT", "")], 81),
        (&port, &[], 9001),
        (&port, &[("WARPDRIVE_HTTP_PORT", "81")], 81),
        (&http, &[], 9002),
        (&http, &[("PORT", "82")], 82),
        (&looks, &[("PORT", "82")], 82),
        (&looks, &[], 9003),
    ] {
        let found = fixture.of(variables).unwrap();
        assert_eq!(found.port, expected, "{variables:?}");
        assert_eq!(text(&found, "PORT"), expected.to_string());
        assert_eq!(text(&found, "WARPDRIVE_HTTP_PORT"), expected.to_string());
    }
    for wrong in ["0", "65536", "http", "tcp://10.0.0.1:80"] {
        let error = none.of(&[("WARPDRIVE_HTTP_PORT", wrong)]).unwrap_err();
        assert!(
            error.to_string().starts_with("WARPDRIVE_HTTP_PORT="),
            "{error}"
        );
    }
}

#[test]
fn the_plan_gives_way_to_the_environment() {
    let fixture = Fixture::new().plan("");
    assert_eq!(text(&fixture.of(&[]).unwrap(), "A"), "plan");
    assert_eq!(text(&fixture.of(&[("A", "mine")]).unwrap(), "A"), "mine");
}

#[test]
fn a_home_from_three_places() {
    let fixture = Fixture::new().with("src/.warpdrive/home", " web/ \n");
    let root = fixture.root();
    let home = |found: &Environment| found.app_home.to_str().unwrap().to_owned();
    assert_eq!(home(&fixture.of(&[]).unwrap()), format!("{root}/src/web"));
    let said = fixture.of(&[("WARPDRIVE_APP_HOME", "other")]).unwrap();
    assert_eq!(home(&said), format!("{root}/src/other"));
    let absolute = fixture.of(&[("WARPDRIVE_APP_HOME", "/srv")]).unwrap();
    assert_eq!(home(&absolute), "/srv");
}

#[test]
fn a_second_time_changes_nothing() {
    let fixture = Fixture::new()
        .plan("web")
        .with("src/.warpdrive/environment", "A=${A:-1}\n");
    let first = fixture.of(&[("PYTHONPATH", "/lib")]).unwrap();
    let second = Environment::of(&Caller {
        variables: first.values(),
        directory: "/somewhere".into(),
    })
    .unwrap();
    assert_eq!(first.values(), second.values());
}

#[test]
fn mistakes_name_the_file() {
    let fixture = Fixture::new().with("src/.warpdrive/environment", b"A=\xff\n");
    let error = fixture.of(&[]).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("src/.warpdrive/environment is not UTF-8 (byte 2)"),
        "{error}"
    );
    let fixture = Fixture::new().with(PLAN_FILE, "{}");
    assert!(matches!(fixture.of(&[]), Err(RunError::Plan(_))));
}

#[test]
fn home_that_cannot_be_written_to() {
    let fixture = Fixture::new();
    let found = fixture
        .of(&[
            ("HOME", "/nonexistent"),
            ("MPLCONFIGDIR", "/mine"),
            ("TMPDIR", fixture.root()),
        ])
        .unwrap();
    assert_eq!(text(&found, "HOME"), "/nonexistent");
    assert_eq!(text(&found, "MPLCONFIGDIR"), "/mine");
    let cache = Path::new(found.value("XDG_CACHE_HOME").unwrap()).to_owned();
    assert!(cache.starts_with(fixture.root()));
    assert!(!cache.exists(), "looking makes nothing");
    found.give_to(&mut Command::new("/bin/true"));
    assert!(cache.is_dir());
}
