//! What makes an image one that can be trusted, seen from outside: no secret of the build in it, an
//! audit before it gets a name, a base without setuid programs, limits, and a second making that gives
//! the same.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::git_server::GitServer;
use crate::support::made::{Layer, on_top};
use crate::support::package_index::{PackageIndex, WSGI, Wheel};
use crate::support::process::{self, says, words};
use crate::support::users::User;
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive, copy_of, example, layers};

const TOKEN: &str = "s3cr3t/t0ken+with=odd&chars%20";

/// The flask example as a repository, with files changed in the commit.
fn flask(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = copy_of(&example("flask"), false);
    for (path, text) in files {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        if text.starts_with("#!") {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    crate::support::warpdrive::commit(directory.path());
    directory
}

fn hook(text: &str) -> (&'static str, String) {
    (
        ".warpdrive/action_hooks/build",
        format!("#!/bin/sh\nset -e\n{text}\n"),
    )
}

fn images(warpdrive: &Warpdrive) -> String {
    warpdrive.run(&["images"])
}

fn run(warpdrive: &Warpdrive, directory: &Path, env: &[&str], more: &[&str]) -> Output {
    let mut arguments = warpdrive.image_arguments("opal");
    arguments.extend_from_slice(more);
    process::output_within(
        &mut warpdrive.command_in(directory, env, &arguments),
        std::time::Duration::from_mins(5),
    )
}

#[test]
fn a_secret_in_a_layer_fails_the_build_and_is_not_told() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let place = warpdrive.place();
    let file = place.join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    let secret = format!("id=token,src={}", file.display());
    let from = "/run/secrets/token";
    let out = "/opt/app-root/src/found.txt";
    let python = |code: &str| {
        format!(
            "python - <<'END'\nimport base64, urllib.parse\ns = open('{from}').read().strip()\n{code}\nEND"
        )
    };
    let cases = [
        (
            "as it is",
            format!("cat {from} > {out}"),
            "/opt/app-root/src/found.txt",
        ),
        (
            "in base64",
            format!("(printf 'ab'; cat {from}; head -c 5000 /dev/zero) | base64 -w 20 > {out}"),
            "/opt/app-root/src/found.txt",
        ),
        (
            "percent-encoded",
            python(&format!(
                "open('{out}', 'w').write('x=' + urllib.parse.quote(s, safe=''))"
            )),
            "/opt/app-root/src/found.txt",
        ),
        (
            "as it is",
            python("import os; os.symlink(s, '/opt/app-root/src/link')"),
            "/opt/app-root/src/link",
        ),
        (
            "as it is",
            python("open('/opt/app-root/src/key.py', 'w').write('KEY = %r' % s)"),
            "/opt/app-root/src/",
        ),
    ];
    for (form, text, path) in &cases {
        let (name, text) = hook(text);
        let source = flask(&[(name, &text)]);
        let output = run(
            &warpdrive,
            source.path(),
            &[],
            &["--secret", &secret, "--json"],
        );
        let said = words(&output);
        assert_eq!(output.status.code(), Some(4), "{text}: {said}");
        for part in ["secret-in-image", "the secret `token`", form, path] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(!said.contains("t0ken"), "{said}");
        assert!(!images(&warpdrive).contains("opal"), "it has no name");
    }
    // In the configuration.
    let source = flask(&[]);
    let output = run(
        &warpdrive,
        source.path(),
        &[],
        &["--secret", &secret, "-e", &format!("TOKEN=x{TOKEN}y")],
    );
    let said = words(&output);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("the image's configuration"), "{said}");
    assert!(!said.contains("t0ken"), "{said}");

    // The twin: used, and not left behind. A short one is not searched for; a warning says so.
    let (name, text) = hook(&format!(
        "test $(wc -c < {from}) = 31; sha256sum {from} > {out}; cat /run/secrets/pin > /opt/app-root/src/pin"
    ));
    let source = flask(&[(name, &text)]);
    fs::write(place.join("pin"), "1234567").unwrap();
    let pin = format!("id=pin,src={}", place.join("pin").display());
    let output = run(
        &warpdrive,
        source.path(),
        &[],
        &["--secret", &secret, "--secret", &pin],
    );
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("`pin` has fewer than 8 bytes"), "{said}");
    assert!(images(&warpdrive).contains("opal"));
}

/// Logins in the variables of an index and a proxy, in all the places of a URL where parsers differ.
#[test]
fn logins_of_indexes_and_proxies_are_shown_nowhere() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = flask(&[(
        "requirements.txt",
        "--extra-index-url http://inline:inl1nepass@127.0.0.1:9/simple\nflask==3.1.3\nno-such-thing-at-all==1\n",
    )]);
    let variables = [
        "UV_DEFAULT_INDEX=http://me:ind3xpass@127.0.0.1:9/simple",
        "UV_EXTRA_INDEX_URL=http://tok3nalone@127.0.0.1:9/a http://u:s3cond%40pass@127.0.0.1:9/b",
        "PIP_INDEX_URL=http://me:p@ss@w0rdat@127.0.0.1:9/simple",
        "HTTP_PROXY=http://px:pr0xypass@127.0.0.1:9",
        "https_proxy=px:n0scheme@127.0.0.1:9",
    ];
    let hidden = [
        "ind3xpass",
        "tok3nalone",
        "s3cond%40pass",
        "s3cond@pass",
        "w0rdat",
        "pr0xypass",
        "n0scheme",
        "inl1nepass",
    ];
    // The hook prints them all, as a build with `set -x` would.
    let (name, text) = hook("env | sort; exit 9");
    fs::create_dir_all(source.path().join(".warpdrive/action_hooks")).unwrap();
    fs::write(source.path().join(name).with_file_name("pre-build"), &text).unwrap();
    fs::set_permissions(
        source.path().join(name).with_file_name("pre-build"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let exposed = ["--no-cache", "--expose-index-credentials"];
    for (more, seen) in [
        (&["--json", "--no-cache"][..], ""),
        (&["--no-cache"], ""),
        (&exposed, "****@"),
    ] {
        let output = run(&warpdrive, source.path(), &variables, more);
        assert!(!output.status.success());
        let said = words(&output);
        assert!(
            said.contains(&format!("UV_DEFAULT_INDEX=http://{seen}127.0.0.1:9/simple")),
            "{said}"
        );
        for word in hidden {
            assert!(!said.contains(word), "{word}: {said}");
        }
    }
    // The installer's own words, where it fails.
    fs::remove_file(source.path().join(name).with_file_name("pre-build")).unwrap();
    let output = run(&warpdrive, source.path(), &variables, &["--json"]);
    assert!(!output.status.success());
    let said = words(&output);
    for word in hidden {
        assert!(!said.contains(word), "{word}: {said}");
    }
    // Nothing of them stays in the store, the cache's keys and records included.
    let kept = process::output(
        Command::new("grep")
            .args([
                "--recursive",
                "--text",
                "--files-with-matches",
                "--extended-regexp",
            ])
            .arg(hidden.join("|"))
            .arg(warpdrive.store().join("cache"))
            .arg(warpdrive.store().join("index.json")),
    );
    assert_eq!(String::from_utf8_lossy(&kept.stdout), "");
}

/// A secret of several fields: each is looked for, also where it was packed.
#[test]
fn a_field_of_a_secret_in_a_layer_fails_the_build() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let file = warpdrive.place().join("env");
    fs::write(
        &file,
        "# Of the shop.\nDEBUG=false\nAPI_TOKEN=\"t0ken-of-api\"\nDB=postgres://me:db-passw0rd@h/x\n",
    )
    .unwrap();
    let secret = format!("id=env,src={}", file.display());
    let out = "/opt/app-root/src/found";
    let from = "/run/secrets/env";
    let token = format!("sed -n 's/API_TOKEN=\"\\(.*\\)\"/\\1/p' {from}");
    let packed = |code: &str| {
        format!(
            "python - <<'END'\nimport gzip, io, tarfile, zipfile\nline = open('{from}','rb').read().splitlines()[2]\n{code}\nEND"
        )
    };
    for (text, parts) in [
        (
            format!("{token} > {out}"),
            ["a value in the secret `env`", "as it is", "found"],
        ),
        (
            format!("{token} | tr -d '\\n' | od -An -tx1 | tr -d ' ' > {out}"),
            ["a value in the secret `env`", "in hexadecimal", "found"],
        ),
        (
            format!("{token} | iconv -t UTF-16LE > {out}"),
            ["a value in the secret `env`", "in UTF-16", "found"],
        ),
        (
            format!("grep -o 'db-pass[^@]*' {from} > {out}"),
            ["a password in the secret `env`", "as it is", "found"],
        ),
        (
            packed(&format!(
                "zipfile.ZipFile('{out}.whl', 'w', 8).writestr('in/key', line * 3)"
            )),
            ["the secret `env`", "as it is", "found.whl (in/key)"],
        ),
        (
            packed(&format!(
                "data = gzip.compress(line * 3)\nt = tarfile.open('{out}.tar.gz', 'w:gz')\ni = tarfile.TarInfo('k.gz')\ni.size = len(data)\nt.addfile(i, io.BytesIO(data))\nt.close()"
            )),
            [
                "the secret `env`",
                "as it is",
                "found.tar.gz (unpacked) (k.gz)",
            ],
        ),
    ] {
        let (name, hook) = hook(&text);
        let source = flask(&[(name, &hook)]);
        let output = run(&warpdrive, source.path(), &[], &["--secret", &secret]);
        let said = words(&output);
        assert_eq!(output.status.code(), Some(4), "{text}: {said}");
        for part in parts {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(
            !said.contains("t0ken") && !said.contains("passw0rd"),
            "{said}"
        );
        // The positive control: without the secret nothing is searched.
        if text.contains("iconv") {
            let without = hook.replace(from, "/dev/null");
            let source = flask(&[(name, &without)]);
            let output = run(&warpdrive, source.path(), &[], &[]);
            assert!(output.status.success(), "{}", words(&output));
        }
    }
    // The twin: what all files of this kind have is not a find; and output shows no field.
    let (name, text) = hook(&format!(
        "cat {from}; {token} | od -An -tx1 | tr -d ' '; {token} | base64; echo DEBUG=false > {out}"
    ));
    let source = flask(&[(name, &text)]);
    let output = run(&warpdrive, source.path(), &[], &["--secret", &secret]);
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("API_TOKEN=") || said.contains("****"),
        "{said}"
    );
    for hidden in ["t0ken", "passw0rd", "74306b656e", "dDBrZW4tb2YtYX"] {
        assert!(!said.contains(hidden), "{hidden}: {said}");
    }
}

/// The host's login to its index is the installer's alone.
#[test]
fn logins_of_indexes_do_not_reach_the_code_of_the_app() {
    const LOGIN: &str = "me:ind3x-passw0rd";
    let index = PackageIndex::private(LOGIN);
    for wheel in [Wheel::new("gunicorn", "27.0.1"), Wheel::new("small", "1.0")] {
        index.add(&wheel);
    }
    let variable = format!("UV_INDEX_URL={}", index.url_with(LOGIN));
    let look = "#!/bin/sh\nword=ind3x-pass\nword=${word}w0rd\n\
        case \"$UV_INDEX_URL\" in *@*) echo VARIABLE-SEEN;; http*) echo VARIABLE-WITHOUT;; esac\n\
        if grep -qs $word /proc/[0-9]*/environ; then echo PROCESS-SEEN; fi\n\
        if grep -rqs $word /run/warpdrive; then echo CACHE-SEEN; fi\n\
        echo LOOKED\n";
    for warpdrive in [
        Warpdrive::with(PYTHON_311_RUN),
        Warpdrive::as_user(User::with_subids(), PYTHON_311_RUN),
        Warpdrive::as_user(User::single_id(), PYTHON_311_RUN),
    ] {
        let build = |files: &[(&str, &str)], more: &[&str]| {
            let place = index.app(&["small==1.0"]);
            fs::write(place.path().join("requirements.txt"), "small==1.0\n").unwrap();
            for (path, text) in files {
                let path = place.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            }
            let source = warpdrive.give(place.path(), "source");
            run(&warpdrive, &source, &[&variable], more)
        };
        // Wheels alone: nothing of the app runs, and the index gets its login.
        let output = build(&[], &[]);
        assert!(output.status.success(), "{}", words(&output));
        // A hook in either phase: it sees where the index is, and what was fetched is installed.
        for hook in [
            ".warpdrive/action_hooks/pre-build",
            ".warpdrive/action_hooks/build",
        ] {
            let output = build(&[(hook, look)], &["--no-cache"]);
            let said = words(&output);
            assert!(output.status.success(), "{hook}: {said}");
            assert!(
                said.contains("LOOKED") && said.contains("VARIABLE-WITHOUT"),
                "{said}"
            );
            assert!(!said.contains("-SEEN"), "{said}");
        }
        // The positive control.
        let output = build(
            &[(".warpdrive/action_hooks/pre-build", look)],
            &["--no-cache", "--expose-index-credentials"],
        );
        let said = words(&output);
        assert!(output.status.success(), "{said}");
        assert!(
            said.contains("VARIABLE-SEEN") && said.contains("PROCESS-SEEN"),
            "{said}"
        );
        assert!(!said.contains("passw0rd"), "{said}");
        // What cannot be had without the login says what to do.
        let output = build(
            &[(
                ".warpdrive/action_hooks/pre-build",
                "#!/bin/sh\nuv pip install --no-cache small==1.0\n",
            )],
            &["--no-cache"],
        );
        let said = words(&output);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("--expose-index-credentials"), "{said}");
    }
}

/// What one application's installer has fetched from a private index is in no cache that another's code
/// sees, though the other has the same login.
#[test]
fn wheels_of_a_private_index_are_seen_by_their_own_application_alone() {
    const LOGIN: &str = "me:ind3x-passw0rd";
    let index = PackageIndex::private(LOGIN);
    index.add(&Wheel::new("gunicorn", "27.0.1"));
    index.add(&Wheel::new("theirs", "1.0").file("theirs_data.py", b"WORD = 'pr1vate-c0de'\n"));
    let variable = format!("UV_INDEX_URL={}", index.url_with(LOGIN));
    let look = "#!/bin/sh\nword=pr1vate\nword=$word-c0de\n\
        if grep -rqs $word /run/warpdrive/cache; then echo WHEEL-SEEN; fi\n\
        if grep -rqs theirs /run/warpdrive/cache; then echo NAME-SEEN; fi\n\
        if find /run/warpdrive/cache | grep -q theirs; then echo PATH-SEEN; fi\n\
        echo LOOKED\n";
    for warpdrive in [
        Warpdrive::with(PYTHON_311_RUN),
        Warpdrive::as_user(User::with_subids(), PYTHON_311_RUN),
        Warpdrive::as_user(User::single_id(), PYTHON_311_RUN),
    ] {
        let build = |name: &str, requirement: &str| {
            let place = index.app(&[]);
            fs::write(place.path().join("requirements.txt"), requirement).unwrap();
            let hooks = place.path().join(".warpdrive/action_hooks");
            fs::create_dir_all(&hooks).unwrap();
            for hook in ["pre-build", "build"] {
                fs::write(hooks.join(hook), look).unwrap();
                fs::set_permissions(hooks.join(hook), fs::Permissions::from_mode(0o755)).unwrap();
            }
            let source = warpdrive.give(place.path(), "source");
            let mut arguments = warpdrive.image_arguments(name);
            arguments.push("--no-cache");
            let output = process::output_within(
                &mut warpdrive.command_in(&source, &[&variable], &arguments),
                std::time::Duration::from_mins(5),
            );
            let said = words(&output);
            assert!(output.status.success(), "{name}: {said}");
            assert_eq!(said.matches("LOOKED").count(), 2, "{name}: {said}");
            said
        };
        // The control: the application that asks for it finds it in its own cache.
        let said = build("first", "theirs==1.0\n");
        for seen in ["WHEEL-SEEN", "NAME-SEEN", "PATH-SEEN"] {
            assert!(said.contains(seen), "{seen}: {said}");
        }
        let said = build("second", "gunicorn==27.0.1\n");
        assert!(!said.contains("-SEEN"), "{said}");
    }
}

/// What is remembered of an index is for builds that ask the very same address with the same login.
#[test]
fn what_one_application_was_offered_is_not_given_to_another() {
    const LOGIN: &str = "me:ind3x-passw0rd";
    let public = PackageIndex::start();
    public.add(&Wheel::new("gunicorn", "27.0.1"));
    public.add(&Wheel::new("theirs", "1.0").file("theirs_data.py", b"WORD = 'stranger'\n"));
    let corp = PackageIndex::private(LOGIN);
    corp.add(&Wheel::new("theirs", "1.0").file("theirs_data.py", b"WORD = 'corp'\n"));
    let usual = format!("UV_INDEX_URL={}", public.url());
    let named = [
        "UV_INDEX_CORP_USERNAME=me",
        "UV_INDEX_CORP_PASSWORD=ind3x-passw0rd",
    ];
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let bound = |url: &str| {
        let place = public.app(&[]);
        fs::remove_file(place.path().join("requirements.txt")).unwrap();
        let text = format!(
            "[project]\nname = 'a'\nversion = '1'\ndependencies = ['gunicorn', 'theirs']\n\
             [tool.uv]\npackage = false\n\
             [tool.uv.sources]\ntheirs = {{ index = 'corp' }}\n\
             [[tool.uv.index]]\nname = 'corp'\nurl = '{url}'\nexplicit = true\n"
        );
        fs::write(place.path().join("pyproject.toml"), text).unwrap();
        place
    };
    let login = [usual.as_str(), named[0], named[1]];
    let without = [usual.as_str()];
    let word = || {
        let look = "import theirs_data; print(theirs_data.WORD)";
        warpdrive.run(&["run", "--rm", "opal", "--", "python", "-c", look])
    };
    // Programs differ in which host this names: those of browsers ask the stranger's.
    let host = |url: &str| url.trim_start_matches("http://").to_owned();
    let stranger = host(&public.url()).replace("/simple", "");
    let odd = format!("http://{stranger}\\@{}", host(&corp.url()));
    let output = run(&warpdrive, bound(&odd).path(), &login, &[]);
    let said = words(&output);
    assert!(
        !output.status.success() && said.contains("differ in which host"),
        "{said}"
    );

    let output = run(&warpdrive, bound(&corp.url()).path(), &login, &[]);
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(word().trim(), "corp");
    // Another application has no login.
    let output = run(&warpdrive, bound(&corp.url()).path(), &without, &[]);
    assert!(!output.status.success(), "{}", words(&output));

    // The same of a list that is not bound.
    let only = PackageIndex::private(LOGIN);
    only.add(&Wheel::new("private-thing", "1.0"));
    let list = |extra: String| {
        let place = public.app(&[]);
        fs::write(
            place.path().join("requirements.txt"),
            "gunicorn\nprivate-thing\n",
        )
        .unwrap();
        let extra = format!("UV_EXTRA_INDEX_URL={extra}");
        let output = run(&warpdrive, place.path(), &[&usual, &extra], &[]);
        (output.status.success(), words(&output))
    };
    let (built, said) = list(only.url_with(LOGIN));
    assert!(built, "{said}");
    let (built, said) = list(only.url());
    assert!(!built && !said.contains("Dependencies unchanged"), "{said}");
}

/// What code of the application makes of a secret, or of the index that it is shown, is for no other application.
#[test]
fn what_code_made_of_a_secret_or_an_index_is_not_given_to_another() {
    let (ours, theirs) = (PackageIndex::start(), PackageIndex::start());
    for index in [&ours, &theirs] {
        index.add(&Wheel::new("gunicorn", "27.0.1"));
    }
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let file = warpdrive.place().join("conf");
    let told = format!("id=conf,src={}", file.display());
    let sources = tempfile::tempdir().unwrap();
    let build = |image: &str, index: &PackageIndex, secret: Option<&str>, forgotten: &str| {
        let place = sources.path().join(image);
        let (name, text) =
            hook("echo $UV_INDEX_URL > made.txt; wc -c < /run/secrets/conf >> made.txt || true");
        let path = place.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(place.join("wsgi.py"), WSGI).unwrap();
        fs::write(place.join("requirements.txt"), "").unwrap();
        let mut arguments = warpdrive.image_arguments(image);
        if let Some(secret) = secret {
            fs::write(&file, secret).unwrap();
            arguments.extend(["--secret", &told]);
        }
        let index = format!("UV_INDEX_URL={}", index.url());
        let forgotten = format!("TEST_FORGOTTEN_INPUT={forgotten}");
        let env = [index.as_str(), &forgotten, "SOURCE_DATE_EPOCH=1700000000"];
        let output = process::output(&mut warpdrive.command_in(&place, &env, &arguments));
        assert!(output.status.success(), "{}", words(&output));
        warpdrive.run(&["run", "--rm", image, "--", "cat", "made.txt"])
    };
    build("first", &ours, None, "");
    assert_eq!(
        build("second", &theirs, None, ""),
        format!("{}\n", theirs.url())
    );
    let (short, long) = ("a-secret-of-20-bytes", "another-secret-which-is-longer");
    let of = |index: &PackageIndex, length: usize| format!("{}\n{length}\n", index.url());
    assert_eq!(build("third", &ours, Some(short), ""), of(&ours, 20));
    assert_eq!(build("fourth", &ours, Some(long), ""), of(&ours, 30));
    // The same application has what it has made, whatever the secret is today.
    assert_eq!(build("fourth", &ours, Some(short), ""), of(&ours, 30));

    // Without the defence.
    let index = "the variable UV_INDEX_URL";
    build("fifth", &ours, None, index);
    assert_eq!(
        build("sixth", &theirs, None, index),
        format!("{}\n", ours.url())
    );
    let application = "the application that has";
    build("seventh", &ours, Some(short), application);
    assert_eq!(
        build("eighth", &ours, Some(long), application),
        of(&ours, 20)
    );
}

/// The project says where the index of a name is, and the caller where its login may go.
#[test]
fn a_login_by_name_goes_where_the_caller_says() {
    const LOGIN: &str = "me:ind3x-passw0rd";
    let public = PackageIndex::start();
    public.add(&Wheel::new("gunicorn", "27.0.1"));
    // It knows the login, and so says whether it was sent.
    let corp = PackageIndex::private(LOGIN);
    corp.add(&Wheel::new("theirs", "1.0"));
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let place = public.app(&[]);
    fs::remove_file(place.path().join("requirements.txt")).unwrap();
    let text = format!(
        "[project]\nname = 'a'\nversion = '1'\ndependencies = ['gunicorn', 'theirs']\n\
         [tool.uv]\npackage = false\n\
         [tool.uv.sources]\ntheirs = {{ index = 'corp' }}\n\
         [[tool.uv.index]]\nname = 'corp'\nurl = '{}'\nexplicit = true\n",
        corp.url()
    );
    fs::write(place.path().join("pyproject.toml"), text).unwrap();
    let usual = format!("UV_INDEX_URL={}", public.url());
    let login = [
        usual.as_str(),
        "UV_INDEX_CORP_USERNAME=me",
        "UV_INDEX_CORP_PASSWORD=ind3x-passw0rd",
    ];
    let origin = corp.url().replace("/simple", "");
    let attempt = |more: &str| {
        let mut variables = login.to_vec();
        variables.extend((!more.is_empty()).then_some(more));
        let output = run(&warpdrive, place.path(), &variables, &["--no-cache"]);
        (output.status.success(), words(&output))
    };
    for elsewhere in [
        "WARPDRIVE_INDEX_LOGINS=corp=pypi.corp.example",
        "WARPDRIVE_INDEX_LOGINS=other=pypi.corp.example",
        "UV_INDEX=corp=https://pypi.corp.example/simple",
    ] {
        let (built, said) = attempt(elsewhere);
        let refused = format!("the login of the index corp is not sent to {origin}");
        assert!(!built && said.contains(&refused), "{elsewhere}: {said}");
        assert!(!said.contains("ind3x-passw0rd"), "{said}");
    }
    let goes = format!("The login of the index corp goes to {origin}");
    for here in [
        String::new(),
        format!("WARPDRIVE_INDEX_LOGINS=corp={origin}"),
    ] {
        let (built, said) = attempt(&here);
        assert!(built && said.contains(&goes), "{here}: {said}");
    }
}

/// A source distribution of an index with a login is built by code that has none: it was fetched before, with
/// what builds it and what it needs.
#[test]
fn an_sdist_of_a_private_index_is_built_without_the_login() {
    const LOGIN: &str = "me:ind3x-passw0rd";
    const BACKEND: &str = r"
import os, zipfile

def look():
    word = 'ind3x-pass' + 'w0rd'
    seen = []
    if any(word in value for value in os.environ.values()):
        seen.append('VARIABLE')
    for root, _, files in os.walk('/run/warpdrive'):
        for name in files:
            try:
                if word.encode() in open(os.path.join(root, name), 'rb').read():
                    seen.append('FILE')
            except OSError:
                pass
    return seen

def build_wheel(directory, config_settings=None, metadata_directory=None):
    name, info = 'odd-1.0-py3-none-any.whl', 'odd-1.0.dist-info/'
    with zipfile.ZipFile(os.path.join(directory, name), 'w') as wheel:
        wheel.writestr('odd.py', 'SEEN = %r\n' % look())
        wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\nName: odd\nVersion: 1.0\nRequires-Dist: small\n')
        wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n')
        wheel.writestr(info + 'RECORD', 'odd.py,,\n%sMETADATA,,\n%sWHEEL,,\n%sRECORD,,\n' % (info, info, info))
    return name
";
    let index = PackageIndex::private(LOGIN);
    index.add(&Wheel::new("gunicorn", "27.0.1"));
    index.add(&Wheel::new("small", "1.0"));
    index.add(&Wheel::new("tinybuild", "1.0").file("tinybuild.py", BACKEND.as_bytes()));
    let mut sdist = tar::Builder::new(Vec::new());
    for (name, text) in [
        (
            "odd-1.0/PKG-INFO",
            "Metadata-Version: 2.1\nName: odd\nVersion: 1.0\nRequires-Dist: small\n",
        ),
        (
            "odd-1.0/pyproject.toml",
            "[build-system]\nrequires = [\"tinybuild==1.0\"]\nbuild-backend = \"tinybuild\"\n",
        ),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        sdist
            .append_data(&mut header, name, text.as_bytes())
            .unwrap();
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, &sdist.into_inner().unwrap()).unwrap();
    index.add_file("odd", "odd-1.0.tar.gz", packed.finish().unwrap());
    let variable = format!("UV_INDEX_URL={}", index.url_with(LOGIN));
    for warpdrive in [
        Warpdrive::with(PYTHON_311_RUN),
        Warpdrive::as_user(User::with_subids(), PYTHON_311_RUN),
        Warpdrive::as_user(User::single_id(), PYTHON_311_RUN),
    ] {
        let place = index.app(&[]);
        fs::write(place.path().join("requirements.txt"), "gunicorn\nodd>=1\n").unwrap();
        let source = warpdrive.give(place.path(), "source");
        let seen = |more: &[&str]| {
            let output = run(&warpdrive, &source, &[&variable], more);
            let said = words(&output);
            assert!(output.status.success(), "{said}");
            assert!(!said.contains("passw0rd"), "{said}");
            let look = "import odd, small; print(small.VERSION, odd.SEEN)";
            warpdrive.run(&["run", "--rm", "opal", "--", "python", "-c", look])
        };
        assert_eq!(seen(&[]).trim(), "1.0 []");
        // The control.
        let seen = seen(&["--no-cache", "--expose-index-credentials"]);
        assert!(seen.contains("VARIABLE"), "{seen}");
    }
}

/// An sdist is built by code that has no login: the index's refusal is not taken for an absence.
#[test]
fn a_refusal_of_an_index_is_said_as_one() {
    const LOGIN: &str = "me:ind3x-passw0rd";
    let index = PackageIndex::private(LOGIN);
    index.add(&Wheel::new("gunicorn", "27.0.1"));
    index.add_sdist("odd", "1.0");
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let place = index.app(&["gunicorn==27.0.1"]);
    fs::write(
        place.path().join("requirements.txt"),
        "gunicorn==27.0.1\nodd==1.0\n",
    )
    .unwrap();
    let variable = format!("UV_INDEX_URL={}", index.url_with(LOGIN));
    let output = run(&warpdrive, place.path(), &[&variable], &[]);
    let said = words(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    for part in [
        "refused the request (401 Unauthorized)",
        "sees UV_INDEX_URL without the login",
        "--expose-index-credentials",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for wrong in ["No package index has", "correct the name", "passw0rd"] {
        assert!(!said.contains(wrong), "{wrong}: {said}");
    }
    // The twin: what no index has is still said so.
    let public = PackageIndex::start();
    public.add(&Wheel::new("gunicorn", "27.0.1"));
    let variable = format!("UV_INDEX_URL={}", public.url());
    let output = run(&warpdrive, place.path(), &[&variable], &["--no-cache"]);
    let said = words(&output);
    assert!(said.contains("No package index has odd"), "{said}");
}

/// Logins that uv and pip find by themselves on a machine: in a netrc file, by a keyring.
#[test]
fn a_netrc_file_and_a_keyring_do_not_reach_the_code_of_the_app() {
    let index = PackageIndex::start();
    for wheel in [Wheel::new("gunicorn", "27.0.1"), Wheel::new("small", "1.0")] {
        index.add(&wheel);
    }
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let home = tempfile::tempdir().unwrap();
    let netrc = home.path().join(".netrc");
    fs::write(
        &netrc,
        "machine 127.0.0.1 login me password netrc-passw0rd\n",
    )
    .unwrap();
    let place = index.app(&["small==1.0"]);
    fs::write(place.path().join("requirements.txt"), "small==1.0\n").unwrap();
    let hook = place.path().join(".warpdrive/action_hooks/pre-build");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    let look = format!(
        "#!/bin/sh\nword=netrc-pass\nword=${{word}}w0rd\n\
         if test -n \"$NETRC\"; then echo VARIABLE-SEEN; fi\n\
         if env | grep -q KEYRING; then echo KEYRING-SEEN; fi\n\
         for file in \"$NETRC\" \"$HOME/.netrc\" /root/.netrc {}; do\n\
         if test -n \"$file\" && grep -qs $word \"$file\"; then echo FILE-SEEN; fi\ndone\n\
         echo LOOKED\n",
        netrc.display()
    );
    fs::write(&hook, look).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let env = [
        format!("UV_INDEX_URL={}", index.url()),
        format!("HOME={}", home.path().display()),
        format!("NETRC={}", netrc.display()),
        "UV_KEYRING_PROVIDER=subprocess".to_owned(),
        "PIP_KEYRING_PROVIDER=subprocess".to_owned(),
    ];
    let env: Vec<&str> = env.iter().map(String::as_str).collect();
    let output = run(&warpdrive, place.path(), &env, &[]);
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("LOOKED") && !said.contains("SEEN"), "{said}");
    // The positive control: what the caller gives away.
    let secret = format!("id=netrc,src={}", netrc.display());
    let given = [
        "--no-cache",
        "--secret",
        &secret,
        "--build-env",
        "NETRC=/run/secrets/netrc",
        "--build-env",
        "UV_KEYRING_PROVIDER=subprocess",
    ];
    let output = run(&warpdrive, place.path(), &env, &given);
    let said = words(&output);
    for seen in ["VARIABLE-SEEN", "KEYRING-SEEN", "FILE-SEEN"] {
        assert!(said.contains(seen), "{seen}: {said}");
    }
}

/// What was made under one policy is not let pass under another because it is in the cache.
#[test]
fn policies_are_asked_before_the_cache() {
    let warpdrive = Warpdrive::as_user(User::single_id(), PYTHON_311_RUN);
    let key = "-----BEGIN PRIVATE KEY-----\n\
        MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n\
        MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu\n\
        -----END PRIVATE KEY-----\n";
    let source = flask(&[("server.pem", key)]);
    let source = warpdrive.give(source.path(), "source");
    // The positive control: without a policy it is built, and then found in the cache.
    let output = run(&warpdrive, &source, &[], &[]);
    assert!(output.status.success(), "{}", words(&output));
    let output = run(&warpdrive, &source, &[], &[]);
    says(&output, "Application unchanged");
    for (more, code, said) in [
        (&["--require-audit"][..], 4, "server.pem"),
        (
            &["--policy", "strict", "--require-audit"],
            4,
            "does not pass",
        ),
        (
            &["--memory", "1g"],
            1,
            "the limit on memory cannot be enforced",
        ),
        (
            &["--pids", "100"],
            1,
            "the limit on pids cannot be enforced",
        ),
    ] {
        let output = run(&warpdrive, &source, &[], more);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{more:?}: {}",
            words(&output)
        );
        says(&output, said);
    }
}

#[test]
fn an_image_is_audited_before_it_has_a_name() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let key = "-----BEGIN PRIVATE KEY-----\n\
        MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n\
        MzEfYyjiWA4R4/M2bS1GB4t7NXp98C3SC6dVMvDuictGeurT8jNbvJZHtCSuYEvu\n\
        -----END PRIVATE KEY-----\n";
    let source = flask(&[("server.pem", key)]);
    let archive = warpdrive.place().join("out.tar");
    let output = format!("docker-archive:{}", archive.display());
    for more in [
        &["--require-audit", "--output", &output][..],
        &["--policy", "strict", "--output", &output],
    ] {
        let refused = run(
            &warpdrive,
            source.path(),
            &[],
            &[more, &["--json"]].concat(),
        );
        let said = words(&refused);
        assert_eq!(refused.status.code(), Some(4), "{said}");
        assert!(said.contains("audit-refused"), "{said}");
        assert!(
            said.contains("secret-key: /opt/app-root/src/server.pem"),
            "{said}"
        );
        assert!(said.contains("application"), "the layer is told: {said}");
        assert!(!images(&warpdrive).contains("opal"));
        assert!(!archive.exists());
    }
    // Without the gate it is built, and the build says what is wrong with it.
    let output = run(&warpdrive, source.path(), &[], &["--json"]);
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("does not pass the audit: 1 finding, 0 of them from the base"),
        "{said}"
    );
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["audit"]["verdict"], "refused");
    assert_eq!(report["audit"]["high"], 1);
    // With an exception that has a reason it passes the gate.
    let policy = warpdrive.place().join("policy.toml");
    fs::write(
        &policy,
        "[[exception]]\nrule = 'secret-key'\npath = '/opt/app-root/src/server.pem'\n\
         reason = 'a test key'\nexpires = 2999-01-01\n",
    )
    .unwrap();
    let policy = policy.display().to_string();
    let output = run(
        &warpdrive,
        source.path(),
        &[],
        &["--require-audit", "--policy", &policy, "--json"],
    );
    assert!(output.status.success(), "{}", words(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["audit"]["verdict"], "passed");
    // The twin, and a policy that is none.
    let plain = flask(&[]);
    let report = warpdrive.image("plain", plain.path(), &["--policy", "strict"]);
    assert_eq!(report["audit"]["verdict"], "passed");
    fs::write(
        warpdrive.place().join("policy.toml"),
        "[rules]\nsetiud = 'off'\n",
    )
    .unwrap();
    let wrong = run(&warpdrive, plain.path(), &[], &["--policy", &policy]);
    assert_eq!(wrong.status.code(), Some(2), "{}", words(&wrong));
}

/// The builder image with one more file: a copy of bash with mode 4711.
fn with_a_backdoor(warpdrive: &Warpdrive) {
    let store = ::warpdrive::store::Store::open(Some(&warpdrive.store())).unwrap();
    let layer = Layer::new().file("usr/bin/.bash", 0o4711, "ELF");
    on_top(&store, PYTHON_311_RUN, "backdoor", vec![layer], |_| {});
}

#[test]
fn a_base_is_judged_and_hardened() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    with_a_backdoor(&warpdrive);
    let source = flask(&[]);
    let path = source.path().display().to_string();
    let build = |name: &str, more: &[&str]| {
        let arguments = [
            &["image", name, "--path", &path, "--builder", "backdoor"][..],
            more,
        ]
        .concat();
        warpdrive.output(&arguments)
    };
    // Before anything runs on it.
    let refused = build("strict", &["--policy", "strict"]);
    let said = words(&refused);
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(
        said.contains("the builder image `backdoor` does not pass"),
        "{said}"
    );
    assert!(said.contains("setuid: /usr/bin/.bash"), "{said}");
    assert!(!said.contains("Installing dependencies"), "{said}");
    let output = build("plain", &["--json"]);
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("1 finding, 1 of them from the base backdoor"),
        "{said}"
    );

    let output = build("hard", &["--harden", "--require-audit", "--json"]);
    assert!(output.status.success(), "{}", words(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["audit"]["high"], 0);
    assert_eq!(report["audit"]["info"], 0, "no setuid program is left");
    assert_eq!(layers(&report, "builder").len(), 2);
    // Only the layers of kind `builder` differ from those of the image that was not hardened.
    let plain: serde_json::Value =
        serde_json::from_slice(&build("plain", &["--json"]).stdout).unwrap();
    for kind in ["base", "dependencies", "application"] {
        assert_eq!(layers(&plain, kind), layers(&report, kind), "{kind}");
    }
    // As a container sees it.
    let shell = |name: &str, script: &str| {
        process::run(&mut warpdrive.command(&["run", "--rm", name, "--", "sh", "-c", script]))
    };
    let script = "find / -xdev -perm /6000 -type f 2>/dev/null | wc -l; ls /usr/bin/su /usr/bin/passwd \
        /usr/sbin/useradd 2>/dev/null | wc -l; stat -c '%a %u' /usr/bin/.bash /usr/bin";
    assert_eq!(shell("hard", script), "0\n0\n711 0\n755 0\n");
    let lines = shell("plain", script);
    assert!(!lines.starts_with("0\n"), "{lines}");
    // Again: nothing is made anew, and it is the same for a user with one id.
    let again: serde_json::Value =
        serde_json::from_slice(&build("hard", &["--harden", "--json"]).stdout).unwrap();
    assert_eq!(again["digest"], report["digest"]);
    let root = Warpdrive::with(PYTHON_311_RUN);
    let expected = root.image("opal", source.path(), &["--harden"]);
    let single = Warpdrive::as_user(User::single_id(), PYTHON_311_RUN);
    let place = single.give(source.path(), "source");
    let report = single.image("opal", &place, &["--harden"]);
    assert_eq!(report["digest"], expected["digest"]);
}

#[test]
fn limits_of_builds_and_containers() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let (name, text) = hook(
        "python -c \"x = bytearray(400_000_000); x[::4096] = b'1' * len(x[::4096])\"; echo ALL",
    );
    let hungry = flask(&[(name, &text)]);
    let output = run(&warpdrive, hungry.path(), &[], &["--memory", "200m"]);
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
    let (name, text) = hook("for i in $(seq 60); do sleep 1 & done; wait; echo ALL");
    let many = flask(&[(name, &text)]);
    let output = run(&warpdrive, many.path(), &[], &["--pids", "40"]);
    let said = words(&output);
    assert!(said.contains("fork"), "{said}");
    // The positive controls: without the limits both are built.
    for source in [&hungry, &many] {
        let output = run(&warpdrive, source.path(), &[], &["--cpus", "1.5"]);
        assert!(output.status.success(), "{}", words(&output));
        assert!(words(&output).contains("ALL"));
    }
    let (name, text) = hook("sleep 100");
    let slow = flask(&[(name, &text)]);
    let output = run(&warpdrive, slow.path(), &[], &["--timeout", "1s"]);
    assert_eq!(output.status.code(), Some(3), "{}", words(&output));
    says(&output, "time limit");

    // Containers.
    let container = |more: &[&str], script: &str| {
        let arguments = [
            &["run", "--rm"][..],
            more,
            &["opal", "--", "sh", "-c", script],
        ]
        .concat();
        warpdrive.output(&arguments)
    };
    let output = container(&["--timeout", "1s"], "sleep 100");
    assert_eq!(output.status.code(), Some(124), "{}", words(&output));
    let output = container(&["--timeout", "1m"], "exit 7");
    assert_eq!(output.status.code(), Some(7), "{}", words(&output));
    let eat = "python -c \"x = bytearray(200_000_000); x[::4096] = b'1' * len(x[::4096])\"";
    let output = container(&["--memory", "64m"], eat);
    assert!(!output.status.success(), "{}", words(&output));
    let output = container(&[], eat);
    assert!(output.status.success(), "{}", words(&output));
}

/// A user to whom nobody has delegated a control group.
#[test]
fn a_limit_that_cannot_be_enforced_is_refused() {
    let warpdrive = Warpdrive::as_user(User::single_id(), PYTHON_311_RUN);
    let source = flask(&[]);
    let source = warpdrive.give(source.path(), "source");
    for limit in [["--memory", "1g"], ["--pids", "1000"], ["--cpus", "1"]] {
        let refused = run(
            &warpdrive,
            &source,
            &[],
            &[&limit[..], &["--json"]].concat(),
        );
        let said = words(&refused);
        assert_eq!(refused.status.code(), Some(1), "{said}");
        assert!(said.contains("limit-not-enforceable"), "{said}");
        assert!(said.contains("--best-effort-limits"), "{said}");
    }
    let all = [
        "--memory",
        "1g",
        "--pids",
        "1000",
        "--cpus",
        "1",
        "--best-effort-limits",
    ];
    let output = run(&warpdrive, &source, &[], &all);
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    for what in ["memory", "pids", "cpus"] {
        assert!(
            said.contains(&format!("no limit: the limit on {what}")),
            "{said}"
        );
    }
    let run = |more: &[&str]| {
        warpdrive.output(
            &[
                &["run", "--rm", "--memory", "1g"][..],
                more,
                &["opal", "--", "true"],
            ]
            .concat(),
        )
    };
    let refused = run(&[]);
    assert_eq!(refused.status.code(), Some(125), "{}", words(&refused));
    let warned = run(&["--best-effort-limits"]);
    assert!(warned.status.success(), "{}", words(&warned));
    says(&warned, "no limit");
}

#[test]
fn an_image_is_made_again_from_its_own_record() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    // Versions that are not pinned are those of the record, not today's.
    let source = flask(&[("requirements.txt", "flask\nclick<8.2\n")]);
    let url = GitServer::new(source.path()).url();
    process::run(
        Command::new("git")
            .current_dir(source.path())
            .args(["remote", "add", "origin", &url]),
    );
    let report = warpdrive.image(
        "opal",
        source.path(),
        &[
            "-e",
            "GREETING=a=b",
            "--harden",
            "--build-env",
            "NOBODY=knows",
        ],
    );
    let config = warpdrive.run(&["inspect", "opal", "--json"]);
    let record: serde_json::Value = {
        let inspected: serde_json::Value = serde_json::from_str(&config).unwrap();
        let text = find(&inspected, "io.warpdrive.build").expect("the record is in the image");
        serde_json::from_str(&text).unwrap()
    };
    assert_eq!(record["source"]["commit"].as_str().unwrap().len(), 40);
    assert_eq!(record["builder"]["digest"], report["builder"]["digest"]);
    assert_eq!(record["source"]["remote"], url);
    assert_eq!(record["build_env"], 1);
    let resolved = record["resolved"].to_string();
    assert!(resolved.contains("[\"flask\",\"3."), "{resolved}");
    for word in [
        "NOBODY",
        "knows",
        source.path().to_str().unwrap(),
        warpdrive.store().to_str().unwrap(),
    ] {
        assert!(!config.contains(word), "{word}");
    }

    let verify = |directory: &Path, more: &[&str]| {
        let directory = directory.display().to_string();
        let arguments = [
            &["verify-build", "opal", "--json", "--source", &directory][..],
            more,
        ]
        .concat();
        process::output_within(
            &mut warpdrive.command(&arguments),
            std::time::Duration::from_mins(5),
        )
    };
    let same = verify(source.path(), &["--build-env", "NOBODY=knows"]);
    assert!(same.status.success(), "{}", words(&same));
    let value: serde_json::Value = serde_json::from_slice(&same.stdout).unwrap();
    assert_eq!(value["verified"], true);
    assert_eq!(value["rebuilt"], report["digest"]);
    // A name that stands for another builder today does not matter.
    warpdrive.run(&["tag", PYTHON_311_RUN, "kept"]);
    with_a_backdoor(&warpdrive);
    warpdrive.run(&["tag", "backdoor", PYTHON_311_RUN]);
    // From the repository, at its commit, though the branch has gone on.
    fs::write(source.path().join("more.txt"), "more\n").unwrap();
    process::run(
        Command::new("git")
            .current_dir(source.path())
            .args(["-c", "user.name=T", "-c", "user.email=t@example.com"])
            .args([
                "-c",
                "core.hooksPath=/dev/null",
                "commit",
                "--quiet",
                "--allow-empty",
                "-m",
                "on",
            ]),
    );
    let other = verify(source.path(), &[]);
    let said = words(&other);
    assert_eq!(other.status.code(), Some(1), "{said}");
    assert!(
        said.contains("source-differs") && said.contains("git checkout"),
        "{said}"
    );
    let cloned = warpdrive.output(&[
        "verify-build",
        "opal",
        "--json",
        "--build-env",
        "NOBODY=knows",
    ]);
    let value: serde_json::Value = serde_json::from_slice(&cloned.stdout).unwrap_or_default();
    assert_eq!(value["verified"], true, "{}", words(&cloned));
    // Another repository is asked instead, and that it has the commit is not taken for granted.
    let without = flask(&[("more.txt", "more\n")]);
    let url = format!("file://{}", without.path().display());
    let missing = warpdrive.output(&["verify-build", "opal", "--json", "--git", &url]);
    let said = words(&missing);
    assert_eq!(missing.status.code(), Some(1), "{said}");
    let commit = record["source"]["commit"].as_str().unwrap();
    assert!(said.contains(commit), "{said}");

    // An image whose maker lied: another variable, and a file that no source has.
    fs::remove_file(source.path().join("more.txt")).unwrap();
    process::run(
        Command::new("git")
            .current_dir(source.path())
            .args(["reset", "--quiet", "--hard", "HEAD~1"]),
    );
    tamper(&warpdrive);
    let lied = warpdrive.output(&[
        "verify-build",
        "lied",
        "--json",
        "--build-env",
        "NOBODY=knows",
        "--source",
        source.path().to_str().unwrap(),
    ]);
    let said = words(&lied);
    assert_eq!(lied.status.code(), Some(4), "{said}");
    let value: serde_json::Value = serde_json::from_slice(&lied.stdout).unwrap();
    let differences = value["differences"].to_string();
    assert_eq!(value["verified"], false);
    for part in [
        "/opt/app-root/src/app.py",
        "from line",
        "/opt/app-root/src/evil.py",
        "is not in the rebuilt image",
    ] {
        assert!(differences.contains(part), "{part}: {differences}");
    }
    let text = warpdrive.output(&["verify-build", PYTHON_311_RUN, "--source", "."]);
    says(&text, "io.warpdrive.build");
}

/// The text of a field, wherever it is.
fn find(value: &serde_json::Value, key: &str) -> Option<String> {
    match value {
        serde_json::Value::Object(map) => map
            .get(key)
            .and_then(|value| value.as_str().map(str::to_owned))
            .or_else(|| map.values().find_map(|value| find(value, key))),
        serde_json::Value::Array(list) => list.iter().find_map(|value| find(value, key)),
        _ => None,
    }
}

/// The image `opal` as `lied`, its application layer with a line more in `app.py` and a file more.
fn tamper(warpdrive: &Warpdrive) {
    use ::warpdrive::oci::{MediaType, descriptor, sha256, to_canonical_json};
    use std::io::Read as _;
    let store = ::warpdrive::store::Store::open(Some(&warpdrive.store())).unwrap();
    let image = store.image("opal").unwrap().unwrap();
    let last = image.manifest.layers().last().unwrap();
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(store.open_blob(last.digest()).unwrap())
        .read_to_end(&mut bytes)
        .unwrap();
    let mut changed = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut header = entry.header().clone();
        let path = entry.path().unwrap().into_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if path.ends_with("src/app.py") {
            content.extend_from_slice(b"import evil\n");
            header.set_size(content.len() as u64);
            header.set_cksum();
        }
        changed.append(&header, &content[..]).unwrap();
    }
    let mut header = tar::Header::new_ustar();
    header.set_size(2);
    header.set_mode(0o664);
    header.set_path("opt/app-root/src/evil.py").unwrap();
    header.set_cksum();
    changed.append(&header, &b"x\n"[..]).unwrap();
    let tar = changed.into_inner().unwrap();
    let (digest, size) = store.put_blob(&tar).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&image.config_bytes).unwrap();
    *config["rootfs"]["diff_ids"]
        .as_array_mut()
        .unwrap()
        .last_mut()
        .unwrap() = sha256(&tar).to_string().into();
    let (config, config_size) = store
        .put_blob(&to_canonical_json(&config).unwrap())
        .unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&image.manifest_bytes).unwrap();
    manifest["config"]["digest"] = config.to_string().into();
    manifest["config"]["size"] = config_size.into();
    *manifest["layers"]
        .as_array_mut()
        .unwrap()
        .last_mut()
        .unwrap() = serde_json::to_value(descriptor(MediaType::ImageLayer, digest, size)).unwrap();
    let (digest, size) = store
        .put_blob(&to_canonical_json(&manifest).unwrap())
        .unwrap();
    store
        .tag("lied", &descriptor(MediaType::ImageManifest, digest, size))
        .unwrap();
}

/// A result of the cache was searched for what was secret then, and was written under the bounds of then.
#[test]
fn what_is_kept_is_held_against_todays_secrets_and_bounds() {
    const WORD: &str = "correct-horse-battery";
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let file = warpdrive.place().join("token");
    let secret = format!("id=token,src={}", file.display());
    let source = flask(&[("notes.txt", WORD)]);
    fs::write(&file, "another-word-altogether").unwrap();
    for _ in 0..2 {
        let output = run(&warpdrive, source.path(), &[], &["--secret", &secret]);
        assert!(output.status.success(), "{}", words(&output));
    }
    says(
        &run(&warpdrive, source.path(), &[], &["--secret", &secret]),
        "Application unchanged",
    );
    fs::write(&file, WORD).unwrap();
    let output = run(&warpdrive, source.path(), &[], &["--secret", &secret]);
    assert_eq!(output.status.code(), Some(4), "{}", words(&output));
    says(&output, "notes.txt");
    let output = run(&warpdrive, source.path(), &[], &["--max-layer", "1k"]);
    assert!(!output.status.success(), "{}", words(&output));
    says(&output, "1024 bytes");
}
