//! `login` and `logout` as a user types them: what proves a login, where it is kept, and for what.

#![allow(clippy::unwrap_used)] // outside of #[test] functions too

use std::fs;
use std::path::Path;

use crate::support::fake_registry::{Asked, FakeRegistry, Reply};
use crate::support::process;
use crate::support::warpdrive::Warpdrive;
use serde_json::Value;

/// captain:engage
const RIGHT: &str = "Basic Y2FwdGFpbjplbmdhZ2U=";

fn login(here: &Warpdrive, registry: &str, password: &str, file: &Path) -> (i32, String) {
    let mut command = here.command(&["login", "-u", "captain", "--password-stdin", registry]);
    command.arg("--authfile").arg(file);
    process::with_input(command, password)
}

fn logout(here: &Warpdrive, arguments: &[&str], file: &Path) -> (i32, String) {
    let mut command = here.command(&["logout"]);
    command.args(arguments).arg("--authfile").arg(file);
    let output = process::output(&mut command);
    (output.status.code().unwrap_or(-1), process::words(&output))
}

fn wants_basic() -> Reply {
    Reply::new(401).header("WWW-Authenticate", r#"Basic realm="test""#)
}

/// A token server that knows everybody, and a registry that takes the tokens of those whom it knows.
fn generous(asked: &Asked) -> Reply {
    let login = asked.header("authorization");
    if asked.target.starts_with("/token") {
        let token = if login == Some(RIGHT) {
            "captains"
        } else {
            "anybodys"
        };
        return Reply::new(200).body(format!(r#"{{"token": "{token}"}}"#));
    }
    if login == Some("Bearer captains") {
        return Reply::new(200).body("{}");
    }
    let host = asked.header("host").unwrap();
    Reply::new(401).header(
        "WWW-Authenticate",
        format!(r#"Bearer realm="http://{host}/token",service="test""#),
    )
}

/// To a form, which answers everybody with 200.
fn form(asked: &Asked) -> Reply {
    match (asked.target.as_str(), asked.header("authorization")) {
        ("/v2/", Some(RIGHT)) => Reply::new(200).body("{}"),
        ("/v2/", Some(_)) => Reply::new(302).header("Location", "/users/sign_in"),
        ("/users/sign_in", _) => Reply::new(200).body("<html><title>Sign in</title>"),
        _ => wants_basic(),
    }
}

/// The same page, without another address.
fn page(asked: &Asked) -> Reply {
    match asked.header("authorization") {
        Some(RIGHT) => Reply::new(200).body("true"),
        Some(_) => Reply::new(200).body("<!DOCTYPE html><title>Sign in</title>"),
        None => wants_basic(),
    }
}

/// Only the registry's own answer says that a login is right.
#[test]
fn a_login_that_proves_nothing_is_not_kept() {
    type Answer = fn(&Asked) -> Reply;
    for (answer, words) in [
        (generous as Answer, "did not allow the login for captain"),
        (form, "/users/sign_in, and that answered 200"),
        (page, "it answers with a page of HTML"),
    ] {
        let registry = FakeRegistry::start(answer);
        let here = Warpdrive::new();
        let file = here.place().join("auth.json");
        let (code, told) = login(&here, registry.address(), "hunter2", &file);
        assert_eq!(code, 5, "{told}");
        assert!(told.contains(words) && !told.contains("hunter2"), "{told}");
        assert!(!file.exists(), "{words}");
        let (code, told) = login(&here, registry.address(), "engage", &file);
        assert_eq!(code, 0, "{words}: {told}");
        assert!(!told.contains("not known"), "{told}");
        let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let kept = &kept["auths"][registry.address()]["auth"];
        assert_eq!(format!("Basic {}", kept.as_str().unwrap()), RIGHT);
    }
}

/// What answers at first with an error or a page has not said that it asks for no login.
#[test]
fn an_error_is_no_registry_that_asks_for_no_login() {
    type Answer = fn(&Asked) -> Reply;
    let nothing = |_: &Asked| Reply::new(403);
    let gone = |_: &Asked| Reply::new(404);
    let form = |_: &Asked| {
        Reply::new(200)
            .header("content-type", "text/html")
            .body("<!doctype html><html><title>Sign in</title></html>")
    };
    for answer in [nothing as Answer, gone, form] {
        let registry = FakeRegistry::start(answer);
        let here = Warpdrive::new();
        let file = here.place().join("auth.json");
        let kept = format!(
            r#"{{"auths": {{"{}": {{"auth": "YTox"}}}}}}"#,
            registry.address()
        );
        fs::write(&file, &kept).unwrap();
        let (code, told) = login(&here, registry.address(), "hunter2", &file);
        assert_eq!(code, 5, "{told}");
        assert_eq!(fs::read_to_string(&file).unwrap(), kept, "{told}");
    }
    let open = FakeRegistry::start(|_| Reply::new(200).body("{}"));
    let here = Warpdrive::new();
    let (code, told) = login(
        &here,
        open.address(),
        "hunter2",
        &here.place().join("auth.json"),
    );
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("asks for no login"), "{told}");
}

/// Each namespace with its own login, as podman keeps them.
#[test]
fn a_namespace_has_a_login_of_its_own() {
    // captain:engage may read `crew`, robot:hunter2 the rest.
    let registry = FakeRegistry::start(|asked| {
        let wanted = match asked.target.as_str() {
            "/v2/" => asked.header("authorization"),
            target if target.starts_with("/v2/crew/") => Some(RIGHT),
            _ => Some("Basic cm9ib3Q6aHVudGVyMg=="),
        };
        if wanted.is_none() || asked.header("authorization") != wanted {
            return wants_basic();
        }
        Reply::new(200).body(r#"{"tags": ["1"]}"#)
    });
    let address = registry.address();
    let here = Warpdrive::new();
    let file = here.place().join("auth.json");
    let crew = format!("{address}/crew");
    let (code, told) = login(&here, &crew, "engage", &file);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains(&format!("logged in to {crew}")), "{told}");
    let tags = |name: &str| {
        let mut command = here.command(&["tags", &format!("{address}/{name}")]);
        process::output(command.arg("--authfile").arg(&file))
            .status
            .code()
    };
    assert_eq!((tags("crew/opal"), tags("other/opal")), (Some(0), Some(5)));
    let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert!(kept["auths"][&crew].is_object(), "{kept}");
    let (code, told) = logout(&here, &[address], &file);
    assert_eq!(code, 1, "{told}");
    let (code, told) = logout(&here, &[&crew], &file);
    assert_eq!(code, 0, "{told}");
    assert_eq!(tags("crew/opal"), Some(5));
}

#[test]
fn all_logins_are_forgotten_at_once() {
    let here = Warpdrive::new();
    let file = here.place().join("auth.json");
    let text = r#"{"auths": {"r.example": {"auth": "YTox"}, "https://index.docker.io/v1/": {"auth": "YTox"},
        "r.example/crew": {"auth": "YTox"}}, "HttpHeaders": {"x": "y"}}"#;
    fs::write(&file, text).unwrap();
    let (code, told) = logout(&here, &["--all", "--json"], &file);
    assert_eq!(code, 0, "{told}");
    let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(
        kept,
        serde_json::json!({"auths": {}, "HttpHeaders": {"x": "y"}})
    );
    for name in ["docker.io", "r.example", "r.example/crew"] {
        assert!(told.contains(&format!("\"{name}\"")), "{told}");
    }
    let (code, told) = logout(&here, &["--all"], &file);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("there is no login in"), "{told}");
    for wrong in [&[][..], &["r.example", "--all"], &["r.example/Crew?"]] {
        assert_eq!(logout(&here, wrong, &file).0, 2, "{wrong:?}");
    }
    let arguments = [
        "login",
        "-u",
        "a",
        "--password-stdin",
        "--docker",
        "r.example/crew",
    ];
    let (code, told) = process::with_input(here.command(&arguments), "x");
    assert_eq!(code, 2, "{told}");
    assert!(told.contains("Docker's file"), "{told}");
}

/// Processes that log in at the same time do not take each other's entries.
#[test]
fn logins_at_the_same_time_are_all_kept() {
    let registries: Vec<FakeRegistry> = (0..8)
        .map(|_| {
            FakeRegistry::start(|asked| match asked.header("authorization") {
                Some(_) => Reply::new(200),
                None => wants_basic(),
            })
        })
        .collect();
    let here = Warpdrive::new();
    let file = here.place().join("auth.json");
    std::thread::scope(|scope| {
        for registry in &registries {
            scope.spawn(|| {
                let (code, told) = login(&here, registry.address(), "engage", &file);
                assert_eq!(code, 0, "{told}");
            });
        }
    });
    let kept: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    for registry in &registries {
        assert!(kept["auths"][registry.address()].is_object(), "{kept}");
    }
}
