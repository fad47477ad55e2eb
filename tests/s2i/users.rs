//! Who runs what, whoever builds.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::process::words;
use crate::support::s2i::{Looked, assembling, build, hello, refused, with};
use crate::support::s2i_builders::Builder;
use crate::support::users::User;
use crate::support::warpdrive::{Warpdrive, binary, commit};
use crate::support::{process, s2i_builders};

#[test]
fn assemble_runs_as_the_images_user_whom_the_result_keeps() {
    let id = "id > /opt/app/result; touch /opt/app/mine";
    for (builder, more, expected, owner) in [
        (
            assembling(id).set("User", "builder"),
            vec![],
            "uid=1001(builder) gid=0(root) groups=0(root)",
            (1001, 0),
        ),
        (
            assembling(id)
                .set("User", "member")
                .files(|layer| layer.dir("opt/app", 0o777, (0, 0))),
            vec![],
            "uid=1002(member) gid=1002 groups=44(media),50(staff),1002",
            (1002, 1002),
        ),
        (
            assembling(id),
            vec!["--assemble-user", "0"],
            "uid=0(root) gid=0(root)",
            (0, 0),
        ),
        (
            assembling(id).label("io.openshift.s2i.assemble-user", "0"),
            vec![],
            "uid=0(root) gid=0(root)",
            (0, 0),
        ),
        (
            assembling(id).label("io.openshift.s2i.assemble-user", "0"),
            vec!["--assemble-user", "1001"],
            "uid=1001(builder) gid=0(root)",
            (1001, 0),
        ),
    ] {
        let user = builder.user().to_owned();
        let warpdrive = with(builder);
        build(&warpdrive, "box", hello().path(), &more);
        let looked = Looked::at(&warpdrive, "app");
        let result = looked.content("opt/app/result");
        assert!(result.starts_with(expected), "{result}");
        let mine = &looked.files()["opt/app/mine"];
        assert_eq!((mine.1, mine.2), owner);
        assert_eq!(*looked.inner("User"), json!(user));
    }
}

#[test]
fn root_in_assemble_can_do_what_installing_takes() {
    let script =
        "chown 33:33 /opt/app; echo x > /etc/new; chmod 4755 /etc/new; chown 1002 /tmp/src/a.txt
chmod 600 /etc/passwd
grep Cap /proc/self/status > /opt/app/result";
    let warpdrive = with(assembling(script).set("User", "0"));
    build(&warpdrive, "box", hello().path(), &[]);
    let looked = Looked::at(&warpdrive, "app");
    let files = looked.files();
    assert_eq!((files["opt/app"].1, files["opt/app"].2), (33, 33));
    assert_eq!(files["etc/new"].0, 0o4755);
    assert_eq!(files["etc/passwd"].0, 0o600);
    assert_eq!(files["tmp/src/a.txt"].1, 1002);
    // And no more: neither devices nor the network's raw sockets nor tracing.
    let result = looked.content("opt/app/result");
    assert!(result.contains("CapEff:\t00000000800005fb"), "{result}");
    let (code, _, words) = refused(
        &warpdrive,
        "box",
        hello().path(),
        &["--cap-drop", "CAP_CHOWN,kill"],
    );
    assert_eq!(code, 3, "{words}");
    // Those that no build has are dropped already.
    let absent = ["--cap-drop", "SYS_ADMIN,net_admin,CAP_SETPCAP"];
    build(&warpdrive, "box", hello().path(), &absent);
    let (code, _, words) = refused(&warpdrive, "box", hello().path(), &["--cap-drop", "FLYING"]);
    assert_eq!(code, 2, "{words}");
}

#[test]
fn allowed_uids_hold_for_all_who_run() {
    let plain = |user: &str| Builder::plain().set("User", user);
    for (builder, more, part) in [
        // The Go tool looks at the first user that it finds: the result runs as root.
        (
            plain("0"),
            vec!["--assemble-user", "1001"],
            "USER of `box` is \"0\"",
        ),
        (plain(""), vec![], "names no user, which means root"),
        (plain("root"), vec![], "only a number can be checked"),
        (plain("0:1001"), vec![], "uid 0 is outside"),
        (
            plain("1001"),
            vec!["--assemble-user", "0"],
            "the user of assemble is \"0\"",
        ),
        (
            plain("1001").label("io.openshift.s2i.assemble-user", "builder"),
            vec![],
            "the user of assemble is \"builder\"",
        ),
        (
            plain("1001").set("OnBuild", json!(["USER 0", "RUN true", "USER 1001"])),
            vec![],
            "ONBUILD USER of `box` is \"0\"",
        ),
        (
            plain("1001").set("OnBuild", json!(["ENV WHO=0", "USER $WHO"])),
            vec![],
            "ONBUILD USER of `box`",
        ),
    ] {
        let warpdrive = with(builder);
        let mut arguments = vec!["--allowed-uids", "1-"];
        arguments.extend(more);
        let (code, _, words) = refused(&warpdrive, "box", hello().path(), &arguments);
        assert_eq!(code, 4, "{words}");
        assert!(words.contains(part), "{part}: {words}");
    }
    let warpdrive = with(plain("1001:0"));
    build(&warpdrive, "box", hello().path(), &["-u", "1-10,1001"]);

    // The runtime image's user is the result's.
    Builder::plain()
        .set("User", "0")
        .put(&warpdrive.store(), "runtime");
    let runtime = [
        "--allowed-uids",
        "1-",
        "--runtime-image",
        "runtime",
        "--runtime-artifact",
        "/opt/app",
    ];
    let (code, _, words) = refused(&warpdrive, "box", hello().path(), &runtime);
    assert_eq!(code, 4, "{words}");
    assert!(words.contains("USER of `runtime` is \"0\""), "{words}");
    Builder::plain()
        .label("io.openshift.s2i.assemble-runtime-user", "0")
        .put(&warpdrive.store(), "runtime");
    let (code, _, words) = refused(&warpdrive, "box", hello().path(), &runtime);
    assert_eq!(code, 4, "{words}");
}

/// What another policy has let pass is in the cache, and is refused under this one all the same.
#[test]
fn allowed_uids_are_asked_before_the_cache() {
    for (builder, more, part) in [
        (
            Builder::plain().set("User", "1001"),
            vec!["--assemble-user", "0"],
            "the user of assemble is \"0\"",
        ),
        (
            Builder::plain()
                .set("User", "1001")
                .label("io.openshift.s2i.assemble-user", "0"),
            vec![],
            "the user of assemble is \"0\"",
        ),
        (
            Builder::plain()
                .set("User", "1001")
                .set("OnBuild", json!(["USER 0", "RUN true", "USER 1001"])),
            vec![],
            "ONBUILD USER of `box` is \"0\"",
        ),
    ] {
        let warpdrive = with(builder);
        let source = hello();
        // The positive control: without the policy it is built, twice.
        build(&warpdrive, "box", source.path(), &more);
        let again = build(&warpdrive, "box", source.path(), &more);
        assert_eq!(again["cache"]["application"], "hit", "{again}");
        let mut arguments = vec!["--allowed-uids", "1-"];
        arguments.extend(more);
        let (code, _, words) = refused(&warpdrive, "box", source.path(), &arguments);
        assert_eq!(code, 4, "{words}");
        assert!(words.contains(part), "{part}: {words}");
    }
}

/// What a build as somebody else gives: root, one with subordinate ids, one with one id.
fn as_each(builder: impl Fn() -> Builder, more: &[&str]) -> Vec<(&'static str, Output)> {
    let place = tempfile::tempdir().unwrap();
    let archive = place.path().join("box.tar");
    builder().archive(&archive, "box");
    let source = hello();
    let own = source.path().join("own");
    std::fs::write(&own, "x").unwrap();
    std::fs::set_permissions(&own, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    [
        ("root", None),
        ("subuid", Some(User::with_subids())),
        ("single", Some(User::single_id())),
    ]
    .into_iter()
    .map(|(who, user)| {
        let (warpdrive, archive) = match user {
            None => (Warpdrive::new(), archive.clone()),
            Some(user) => {
                let archive = user.give(&archive, "box.tar");
                (Warpdrive::of_user(user), archive)
            }
        };
        let source = warpdrive.give(source.path(), "source");
        warpdrive.run(&[
            "import",
            &format!("docker-archive:{}", archive.display()),
            "box",
        ]);
        let path = source.to_str().unwrap();
        let mut arguments = vec!["s2i", "build", path, "box", "app", "--json"];
        arguments.extend_from_slice(more);
        (who, warpdrive.output(&arguments))
    })
    .collect()
}

#[test]
fn the_image_is_the_same_whoever_builds_it() {
    let script = "cp -R /tmp/src/. /opt/app/
rm /opt/app/old
echo more >> /opt/app/kept
chmod 700 /opt/app/sub
ln /opt/app/a.txt /opt/app/again
ln -s a.txt /opt/app/link
mkdir -p /opt/app/new/dir
chmod -R g=u /opt/app";
    let builder = || {
        assembling(script).files(|layer| {
            layer
                .dir("opt", 0o755, (0, 0))
                .dir("opt/app", 0o775, (1001, 0))
                .owned("opt/app/old", 0o664, (1001, 0), "x")
                .owned("opt/app/kept", 0o664, (1001, 0), "x")
                .owned("opt/app/still", 0o600, (1001, 0), "x")
        })
    };
    let built = as_each(builder, &["--split"]);
    let digests: Vec<String> = built
        .iter()
        .map(|(who, output)| {
            assert!(output.status.success(), "{who}: {}", words(output));
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            report["digest"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(digests[1], digests[0], "subuid");
    assert_eq!(digests[2], digests[0], "single");
}

#[test]
fn who_has_one_uid_gets_no_other_image_but_an_error_that_names_subuid() {
    // As another user; as this one, but where it may not write.
    for (script, user, elsewhere) in [
        ("chown 5:6 /tmp/src/a.txt", "0", 0),
        ("echo x > /opt/app/mine", "1002", 1),
        ("echo x > /etc/new", "1001", 3),
        ("rm /etc/group", "1001", 3),
        ("chmod 777 /usr/libexec", "1001", 3),
        ("echo x >> /etc/group", "1001", 3),
    ] {
        let builder = || {
            assembling(script).set("User", user).files(|layer| {
                layer.dir("opt", 0o755, (0, 0)).dir(
                    "opt/app",
                    if elsewhere == 1 { 0o777 } else { 0o775 },
                    (1001, 0),
                )
            })
        };
        for (who, output) in as_each(builder, &[]) {
            let words = words(&output);
            let code = output.status.code();
            if who == "single" {
                assert_eq!(code, Some(1), "{script}: {words}");
                assert!(words.contains("subuid"), "{script}: {words}");
            } else {
                let expected = if elsewhere == 3 { 3 } else { 0 };
                assert_eq!(code, Some(expected), "{who}, {script}: {words}");
            }
        }
    }
}

/// In a user namespace nobody knows who the user is; git is run before.
#[test]
fn users_without_root_build_from_git() {
    let place = tempfile::tempdir().unwrap();
    let archive = place.path().join("box.tar");
    Builder::plain().archive(&archive, "box:1");
    let source = s2i_builders::source(&[("a.txt", "hello")]);
    commit(source.path());
    for user in [User::with_subids(), User::single_id()] {
        let program = user.give(binary(), "warpdrive");
        let archive = user.give(&archive, "box.tar");
        let repository = user.give(source.path(), "repository");
        let store = user.home().join("store");
        let run = |arguments: &[&str]| {
            process::run(
                user.command(&program)
                    .arg("--store")
                    .arg(&store)
                    .args(arguments),
            )
        };
        run(&[
            "import",
            &format!("docker-archive:{}:box:1", archive.display()),
            "box",
        ]);
        let url = format!("file://{}", repository.display());
        let report = run(&["s2i", "build", &url, "box", "app", "--json"]);
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert_eq!(report["user"], "1001", "{report}");
        assert!(run(&["run", "--rm", "--network", "none", "app"]).starts_with("uid=1001"));
        // What was fetched outside of the namespace is gone.
        let left = process::run(process::as_root("ls").arg("-A").arg(store.join("tmp")));
        assert_eq!(left, "");
    }
}
