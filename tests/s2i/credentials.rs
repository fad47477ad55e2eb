//! What of the host's environment reaches scripts, and what of that may be in an image.

use crate::support::process::{self, words};
use crate::support::s2i::{Looked, assembling, build, hello, refused, with};
use crate::support::s2i_builders::Builder;
use crate::support::warpdrive::Warpdrive;

const URL: &str = "https://u:s3cret-passw0rd@pypi.example/simple";
/// Too short to be searched for by itself.
const SHORT: &str = "https://u:pw@pypi.example/simple";
/// Of GitHub's form, in a variable whose name says nothing.
const TOKEN: &str = "ghp_aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5";
const PLAIN: &str = "https://pypi.example/simple";

/// Builds with such an environment; gives exit code and words.
fn attempt(warpdrive: &Warpdrive, env: &[&str], arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = warpdrive.command_in(&warpdrive.place(), env, arguments);
    let output = process::output(&mut command);
    (output.status.code(), words(&output))
}

#[test]
fn nothing_of_the_hosts_environment_reaches_scripts_unnamed() {
    let warpdrive = with(Builder::configuring());
    let source = hello();
    let path = source.path().to_str().unwrap();
    let index = format!("PIP_INDEX_URL={URL}");
    let env = [
        index.as_str(),
        "HTTPS_PROXY=http://me:proxy-passw0rd@127.0.0.1:9",
        "NPM_TOKEN=x",
    ];
    for arguments in [
        &["s2i", "build", path, "box", "app"][..],
        &[
            "image",
            "app",
            "--builder",
            "box",
            "--path",
            path,
            "--no-cache",
        ],
    ] {
        let (code, said) = attempt(&warpdrive, &env, arguments);
        assert_eq!(code, Some(0), "{said}");
        assert!(
            said.contains("Not given to the builder's scripts: PIP_INDEX_URL, HTTPS_PROXY"),
            "{said}"
        );
        let files = Looked::at(&warpdrive, "app").files();
        for file in ["opt/app/pip.ini", "opt/app/.npmrc"] {
            assert!(!files.contains_key(file), "{file}: {files:?}");
        }
        for layer in Looked::at(&warpdrive, "app").layers() {
            for word in ["s3cret-passw0rd", "proxy-passw0rd"] {
                assert!(!crate::support::s2i::contains(&layer, word), "{word}");
            }
        }
    }
}

#[test]
fn a_login_that_was_passed_and_is_left_in_a_file_fails_the_build() {
    let warpdrive = with(Builder::configuring());
    let source = hello();
    let path = source.path().to_str().unwrap();
    let build_of = |more: &[&str], env: &[&str]| {
        let all = [&["s2i", "build", path, "box", "app"], more].concat();
        attempt(&warpdrive, env, &all)
    };
    let index = format!("PIP_INDEX_URL={URL}");
    let short = format!("PIP_INDEX_URL={SHORT}");
    let greeting = format!("GREETING={TOKEN}");
    for (more, env, file) in [
        (&["--build-env", &index][..], &[][..], "/opt/app/pip.ini"),
        // Nothing of the refused build is there for the next one.
        (&["--build-env", &index], &[], "/opt/app/pip.ini"),
        (
            &["--build-env", "PIP_INDEX_URL"],
            &[index.as_str()][..],
            "/opt/app/pip.ini",
        ),
        (&["--build-env", &short], &[], "/opt/app/pip.ini"),
        (&["-e", &index], &[], "/opt/app/pip.ini"),
        (
            &["--build-env", "NPM_TOKEN=npm_0123456789ab"],
            &[],
            "/opt/app/.npmrc",
        ),
        // Known by its form, whatever the variable's name.
        (&["--build-env", &greeting], &[], "/opt/app/greeting"),
        (&["-e", &greeting], &[], "/opt/app/greeting"),
    ] {
        let (code, said) = build_of(more, env);
        assert_eq!(code, Some(4), "{more:?}: {said}");
        assert!(said.contains(file), "{more:?}: {said}");
        for word in ["s3cret-passw0rd", "u:pw@", "npm_0123456789ab", TOKEN] {
            assert!(!said.contains(word), "{said}");
        }
    }
    let (code, said) = build_of(&["--build-env", "NOT_SET_ANYWHERE"], &[]);
    assert_eq!(code, Some(2), "{said}");

    let file = warpdrive.place().join("variables");
    std::fs::write(&file, format!("{index}\n")).unwrap();
    let (code, said) = build_of(&["-E", file.to_str().unwrap()], &[]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("-e or -E PIP_INDEX_URL"), "{said}");
    build(
        &warpdrive,
        "box",
        source.path(),
        &["--build-env", "GREETING=hello-to-all"],
    );

    // The twin: without a login it may be left there. What was passed is part of the key.
    let plain = format!("PIP_INDEX_URL={PLAIN}");
    build(&warpdrive, "box", source.path(), &["--build-env", &plain]);
    assert!(
        Looked::at(&warpdrive, "app")
            .content("opt/app/pip.ini")
            .contains(PLAIN)
    );
    let without = build(&warpdrive, "box", source.path(), &[]);
    assert_eq!(without["cache"]["application"], "miss");
    assert!(
        !Looked::at(&warpdrive, "app")
            .files()
            .contains_key("opt/app/pip.ini")
    );
    for file in crate::support::s2i::walk(&warpdrive.store().join("cache")) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        assert!(
            !crate::support::s2i::contains(&bytes, "pypi.example"),
            "{}",
            file.display()
        );
    }
}

/// An index of this machine is let through where the caller names it to the scripts, and nowhere else.
#[test]
fn scripts_reach_an_index_of_this_machine_by_its_name_alone() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let _ = std::io::Write::write_all(&mut connection.unwrap(), b"reached\n");
        }
    });
    let warpdrive = with(assembling(&format!(
        "cp -R /tmp/src/. /opt/app/\n\
         echo \"answer: $(timeout 5 nc 127.0.0.1 {port} < /dev/null 2> /dev/null)\""
    )));
    let source = hello();
    let path = source.path().to_str().unwrap();
    let url = format!("http://127.0.0.1:{port}/simple");
    let index = format!("PIP_INDEX_URL={url}");
    let mirror = format!("NPM_MIRROR={url}");
    let other = format!("GREETING={url}");
    let uv = format!("UV_INDEX_URL={url}");
    for (env, more, reached) in [
        (&[][..], &[][..], false),
        // What is not given to them opens nothing.
        (&[uv.as_str()], &[], false),
        (&[index.as_str()], &[], false),
        (&[], &["-e", other.as_str()], false),
        (&[], &["-e", index.as_str()], true),
        (&[], &["--build-env", index.as_str()], true),
        (&[index.as_str()], &["--build-env", "PIP_INDEX_URL"], true),
        (&[], &["-e", mirror.as_str()], true),
    ] {
        let all = [&["s2i", "build", path, "box", "app", "--no-cache"], more].concat();
        let (code, said) = attempt(&warpdrive, env, &all);
        assert_eq!(code, Some(0), "{env:?} {more:?} {said}");
        assert_eq!(
            said.contains("answer: reached"),
            reached,
            "{env:?} {more:?} {said}"
        );
        assert!(said.contains("answer:"), "{said}");
    }
    // Nor does what the source says.
    std::fs::create_dir(source.path().join(".s2i")).unwrap();
    std::fs::write(source.path().join(".s2i/environment"), format!("{index}\n")).unwrap();
    let all = ["s2i", "build", path, "box", "app", "--no-cache"];
    let (code, said) = attempt(&warpdrive, &[], &all);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("answer:") && !said.contains("answer: reached"),
        "{said}"
    );
}

/// A result of the cache was searched for what was secret then.
#[test]
fn what_is_secret_today_is_looked_for_in_what_was_built_before() {
    const WORD: &str = "correct-horse-battery";
    let warpdrive = with(assembling("cp /tmp/src/a.txt /opt/app/"));
    let source = crate::support::s2i_builders::source(&[("a.txt", WORD)]);
    let file = warpdrive.place().join("secret");
    let secret = format!("id=word,src={}", file.display());
    std::fs::write(&file, "another-word-altogether").unwrap();
    let more = ["--secret", secret.as_str()];
    build(&warpdrive, "box", source.path(), &more);
    assert_eq!(
        build(&warpdrive, "box", source.path(), &more)["cache"]["application"],
        "hit"
    );
    std::fs::write(&file, WORD).unwrap();
    for _ in 0..2 {
        let (code, _, said) = refused(&warpdrive, "box", source.path(), &more);
        assert_eq!(code, 4, "{said}");
        assert!(
            said.contains("/opt/app/a.txt") && !said.contains(WORD),
            "{said}"
        );
    }
    // So is a password of this machine's index that nothing was given.
    let path = source.path().to_str().unwrap();
    let index = format!("PIP_INDEX_URL=https://u:{WORD}@pypi.example/simple");
    build(&warpdrive, "box", source.path(), &[]);
    let all = ["s2i", "build", path, "box", "app"];
    let (code, said) = attempt(&warpdrive, &[&index], &all);
    assert_eq!(code, Some(4), "{said}");
}

/// Names and places of logins that others use.
#[test]
fn logins_of_many_forms_are_known() {
    let warpdrive = with(assembling("env > /opt/app/environment"));
    let source = hello();
    for variable in [
        "npm_config__auth=dTpwYXNzd29yZA==",
        "DB_PASS=hunter2hunter2",
        "REGISTRY_AUTH=hunter2hunter2",
        "AWS_ACCESS_KEY=AKIDhunter2hunter2",
        "NPM_TOKEN=hunter2hun",
        "CHANNEL=https://conda.example/t?token=hunter2hunter2",
    ] {
        let (code, _, said) = refused(&warpdrive, "box", source.path(), &["--build-env", variable]);
        assert_eq!(code, 4, "{variable}: {said}");
        assert!(
            !said.contains("hunter2") && !said.contains("dTpw"),
            "{said}"
        );
    }
    for variable in [
        "AUTH_BACKEND=ldap.backend",
        "PWD_MODE=of-the-house",
        "AWS_ACCESS_KEY_ID=AKID-anything",
    ] {
        build(&warpdrive, "box", source.path(), &["--build-env", variable]);
    }
}
