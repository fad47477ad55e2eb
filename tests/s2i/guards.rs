//! What guards a build holds with S2I builders too: the search for secrets, the audit, hardening,
//! limits.

use std::fs;

use crate::support::process::words;
use crate::support::s2i::{Looked, assembling, build, hello, refused, try_build, with};
use crate::support::s2i_builders::{Builder, RUN, source};
use crate::support::warpdrive::layers;

const TOKEN: &str = "t0ken-0123456789-abcdef-+/x";

#[test]
fn a_secret_of_the_build_is_found_wherever_scripts_leave_it() {
    // The source has the script, so one builder serves all cases.
    let warpdrive = with(assembling(". /tmp/src/what").files(|layer| {
        layer
            .symlink("bin/base64", "busybox")
            .symlink("bin/tr", "busybox")
    }));
    Builder::plain()
        .script(
            "assemble-runtime",
            "#!/bin/sh\ncat /run/secrets/token > /opt/app/runtime\n",
        )
        .put(&warpdrive.store(), "runtime");
    let file = warpdrive.place().join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let secret = format!("id=token,src={}", file.display());
    for (what, form, path) in [
        (
            "cat /run/secrets/token > found",
            "as it is",
            "/opt/app/found",
        ),
        (
            "(echo x; cat /run/secrets/token) | base64 > found",
            "in base64",
            "/opt/app/found",
        ),
        (
            "sed 's/+/%2B/g; s|/|%2F|g' /run/secrets/token > /tmp/src/sub",
            "percent-encoded",
            "/tmp/src/sub",
        ),
        (
            "ln -s \"$(cat /run/secrets/token | tr / _)\" link; cat /run/secrets/token > /tmp/src/sub",
            "as it is",
            "/tmp/src/sub",
        ),
        (
            "mkdir /tmp/.s2i; printf '{\"labels\":[{\"a\":\"%s\"}]}' \"$(cat /run/secrets/token)\" > /tmp/.s2i/image_metadata.json; rm -r /opt/app/sub 2> /dev/null || true",
            "as it is",
            "image_metadata.json",
        ),
    ] {
        let source = source(&[("what", what)]);
        for more in [&[][..], &["--split"]] {
            let (code, error, said) = refused(
                &warpdrive,
                "box",
                source.path(),
                &[&["--secret", &secret], more].concat(),
            );
            assert_eq!(code, 4, "{what}: {said}");
            assert_eq!(error["code"], "secret-in-image", "{said}");
            for part in ["the secret `token`", form, path] {
                assert!(said.contains(part), "{part}: {said}");
            }
            assert!(!said.contains("0123456789"), "{said}");
        }
    }
    // What the runtime image gets of it, and what the configuration does.
    let plain = source(&[("what", "true")]);
    let runtime = [
        "--secret",
        &secret,
        "--runtime-image",
        "runtime",
        "-a",
        "/tmp/src/what",
    ];
    let variable = format!("TOKEN=x{TOKEN}");
    for (more, place) in [
        (&runtime[..], "/opt/app/runtime"),
        (
            &["--secret", &secret, "-e", &variable],
            "the image's configuration",
        ),
        (
            &["--secret", &secret, "--description", &variable],
            "the image's configuration",
        ),
    ] {
        let (code, _, said) = refused(&warpdrive, "box", plain.path(), more);
        assert_eq!(code, 4, "{said}");
        assert!(said.contains(place), "{said}");
        assert!(!said.contains("0123456789"), "{said}");
    }
    // The twin: used, and nothing of it left.
    let used = source(&[("what", "sha256sum /run/secrets/token > found")]);
    build(&warpdrive, "box", used.path(), &["--secret", &secret]);
    let files = Looked::at(&warpdrive, "app").files();
    assert!(
        !files.keys().any(|path| path.starts_with("run")),
        "{files:?}"
    );
    warpdrive.leaves_nothing();
}

#[test]
fn an_s2i_builder_and_what_it_gives_are_judged_and_hardened() {
    let warpdrive = with(Builder::plain().files(|layer| {
        layer
            .dir("usr/bin", 0o755, (0, 0))
            .file("usr/bin/.odd", 0o4711, "ELF")
            .file("usr/bin/su", 0o4755, "ELF")
    }));
    let key = "-----BEGIN PRIVATE KEY-----\n\
        MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n\
        MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu\n\
        -----END PRIVATE KEY-----\n";
    let keyed = source(&[("server.pem", key)]);
    let plain = hello();
    let archive = warpdrive.place().join("out.tar");
    let output = format!("docker-archive:{}", archive.display());

    // The builder, before anything of it runs.
    let strict = ["--policy", "strict", "--output", &output];
    let (code, error, said) = refused(&warpdrive, "box", plain.path(), &strict);
    assert_eq!(
        (code, &error["code"]),
        (4, &"audit-refused".into()),
        "{said}"
    );
    assert!(
        said.contains("the builder image `box` does not pass") && said.contains("/usr/bin/.odd"),
        "{said}"
    );
    assert!(!said.contains("Running assemble"), "{said}");
    // The image: no name, no copy.
    let required = ["--require-audit", "--output", &output];
    let (code, _, said) = refused(&warpdrive, "box", keyed.path(), &required);
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("secret-key: /opt/app/server.pem"), "{said}");
    assert!(!archive.exists());
    assert!(!warpdrive.run(&["images"]).contains("app"));

    // Without the gate it is built, and the build says what is wrong and whose it is.
    let report = build(&warpdrive, "box", plain.path(), &[]);
    assert_eq!(report["audit"]["verdict"], "refused");
    assert_ne!(report["audit"]["from_base"], 0);
    // Hardened it passes; the only difference is one more layer below the application's.
    let harden = ["--harden", "--require-audit"];
    let hard = build(&warpdrive, "box", plain.path(), &harden);
    assert_eq!(hard["audit"]["verdict"], "passed", "{hard}");
    assert_eq!(layers(&hard, "builder").len(), 1);
    assert_eq!(layers(&hard, "application"), layers(&report, "application"));
    let seen = warpdrive.run(&[
        "run",
        "--rm",
        "--network",
        "none",
        "app",
        "--",
        "/bin/sh",
        "-c",
        "stat -c %a /usr/bin/.odd; ls /usr/bin/su 2> /dev/null || echo gone",
    ]);
    assert_eq!(seen, "711\ngone\n");
    // An exception with a reason.
    let policy = warpdrive.place().join("policy.toml");
    fs::write(
        &policy,
        "[[exception]]\nrule = 'secret-key'\npath = '/opt/app/server.pem'\n\
         reason = 'a test key'\nexpires = 2999-01-01\n\
         [[exception]]\nrule = 'secret-key'\npath = '/tmp/src/server.pem'\n\
         reason = 'a test key'\nexpires = 2999-01-01\n",
    )
    .unwrap();
    let policy = policy.display().to_string();
    let excepted = ["--harden", "--require-audit", "--policy", &policy];
    let report = build(&warpdrive, "box", keyed.path(), &excepted);
    assert_eq!(report["audit"]["verdict"], "passed", "{report}");
    warpdrive.leaves_nothing();
}

#[test]
fn scripts_have_the_limits_that_are_given() {
    let warpdrive = with(
        assembling(". /tmp/src/what; echo ALL")
            .script("save-artifacts", "#!/bin/sh\nsleep 100\n")
            .script("run", RUN),
    );
    let hungry = source(&[(
        "what",
        "busybox dd if=/dev/zero of=/dev/null bs=400M count=1",
    )]);
    let many = source(&[(
        "what",
        "for i in $(busybox seq 60); do sleep 1 & done; wait",
    )]);
    let slow = source(&[("what", "sleep 100")]);
    for (source, more, part) in [
        (&hungry, ["--memory", "200m"], "assemble of `box`"),
        (&many, ["--pids", "40"], "fork"),
        (
            &slow,
            ["--timeout", "1s"],
            "did not finish within the time limit",
        ),
    ] {
        let (code, _, said) = refused(&warpdrive, "box", source.path(), &more);
        assert_eq!(code, 3, "{more:?}: {said}");
        assert!(said.contains(part), "{more:?}: {said}");
        assert!(!said.contains("ALL"), "{said}");
    }
    // The positive controls.
    for source in [&hungry, &many] {
        let output = try_build(&warpdrive, "box", source.path(), &["--cpus", "1.5"]);
        assert!(output.status.success(), "{}", words(&output));
        assert!(words(&output).contains("ALL"));
    }
    // A `save-artifacts` that exceeds the time limit counts as no previous image.
    let plain = source(&[("what", "true")]);
    let slow = ["--incremental", "--timeout", "2s"];
    let output = try_build(&warpdrive, "box", plain.path(), &slow);
    assert!(output.status.success(), "{}", words(&output));
    let said = words(&output);
    assert!(
        said.contains("a clean build: ") && said.contains("time limit"),
        "{said}"
    );
    warpdrive.leaves_nothing();
}
