//! What is in the layers and what is not.

use crate::support::s2i::{Looked, assembling, build, contains, hello, image, refused, walk, with};
use crate::support::s2i_builders;
use crate::support::s2i_builders::source;
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive, copy_of, example, layers};

#[test]
fn what_is_injected_is_there_for_assemble_and_nowhere_else() {
    const WORD: &str = "injected-secret-0xC0FFEE";
    let script = format!(
        "grep -q {WORD} /opt/new/deep/token
grep -q {WORD} /opt/app/conf/token
grep -q {WORD} /opt/app/token
grep -q {WORD} /etc/there/token
grep -q {WORD} /etc/there/sub/more
[ -e /etc/there/kept ]
ls /opt/app/conf /etc/there > /opt/app/result"
    );
    let script = script.replace(&format!("grep -q {WORD}"), "grep -q 0xC0FFEE");
    let warpdrive = with(assembling(&script).files(|layer| {
        layer
            .dir("etc/there", 0o755, (0, 0))
            .file("etc/there/kept", 0o644, "kept")
    }));
    let secrets = source(&[("token", WORD), ("sub/more", WORD)]);
    std::fs::set_permissions(
        secrets.path().join("token"),
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let token = secrets.path().join("token");
    let token = token.to_str().unwrap();
    let all = secrets.path().to_str().unwrap();
    let arguments = [
        format!("{token}:/opt/new/deep"),
        format!("{token}:conf"),
        token.to_owned(),
        format!("{all}:/etc/there"),
    ];
    let mut more = Vec::new();
    for argument in &arguments {
        more.extend(["-i", argument.as_str()]);
    }
    let report = build(&warpdrive, "box", hello().path(), &more);
    let looked = Looked::at(&warpdrive, "app");
    let files = looked.files();
    for path in [
        "opt/new",
        "opt/app/conf",
        "opt/app/token",
        "etc/there",
        "run/warpdrive",
    ] {
        assert!(!files.contains_key(path), "{path} is in a layer: {files:?}");
    }
    for layer in looked.layers() {
        assert!(!contains(&layer, "0xC0FFEE"));
    }
    // Nor anywhere in the store: not in a configuration, a cache key or a record.
    for file in walk(&warpdrive.store()) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let path = file.display().to_string();
        let scripts_own = path.contains("/unpacked/") || path.contains("/blobs/");
        assert!(scripts_own || !contains(&bytes, "0xC0FFEE"), "{path}");
        assert!(!contains(&bytes, WORD), "{path}");
    }
    assert_eq!(
        build(&warpdrive, "box", hello().path(), &more)["digest"],
        report["digest"]
    );
    // Another secret is another build.
    std::fs::write(secrets.path().join("token"), "other 0xC0FFEE").unwrap();
    let other = build(&warpdrive, "box", hello().path(), &more);
    assert_eq!(other["cache"]["application"], "miss");
    assert_eq!(other["digest"], report["digest"]);
    let missing = refused(
        &warpdrive,
        "box",
        hello().path(),
        &["-i", "/no/such/file:/x"],
    );
    assert_eq!(missing.0, 2, "{}", missing.2);
    warpdrive.leaves_nothing();
}

#[test]
fn volumes_and_hosts_are_there_for_the_build_only() {
    let warpdrive = with(assembling(
        "grep -q '10.1.2.3.*somewhere' /etc/hosts; cat /mnt/data/file > result; ! touch /mnt/data/x",
    ));
    let data = source(&[("file", "from the volume")]);
    let volume = format!("{}:/mnt/data:ro", data.path().display());
    let more = ["-v", &volume, "--add-host", "somewhere:10.1.2.3"];
    build(&warpdrive, "box", hello().path(), &more);
    let files = Looked::at(&warpdrive, "app").files();
    assert_eq!(files["opt/app/result"].3, "from the volume");
    assert!(
        !files
            .keys()
            .any(|path| path.starts_with("mnt") || path.starts_with("etc")),
        "{files:?}"
    );
    // Another content is another image, and what is mounted is not looked at.
    std::fs::write(data.path().join("file"), "changed").unwrap();
    let second = build(&warpdrive, "box", hello().path(), &more);
    assert_eq!(second["cache"]["application"], "miss");
    assert_eq!(
        Looked::at(&warpdrive, "app").content("opt/app/result"),
        "changed"
    );
}

#[test]
fn assemble_may_write_beside_what_is_injected_and_into_it() {
    let warpdrive = with(assembling(
        "echo more > /opt/new/deep/own
echo added >> /opt/new/deep/token
mkdir /opt/new/other
cat /opt/new/deep/token | wc -l > /opt/app/result",
    ));
    let secrets = source(&[("token", "injected-0xC0FFEE\n"), ("sub/more", "0xC0FFEE")]);
    let all = format!("{}:/opt/new/deep", secrets.path().display());
    build(&warpdrive, "box", hello().path(), &["-i", &all]);
    let looked = Looked::at(&warpdrive, "app");
    let files = looked.files();
    assert_eq!(files["opt/app/result"].3.trim(), "2");
    assert_eq!(files["opt/new/deep/own"].3, "more\n");
    assert_eq!((files["opt/new"].1, files["opt/new"].2), (1001, 0));
    for path in ["opt/new/deep/token", "opt/new/deep/sub"] {
        assert!(!files.contains_key(path), "{path} is in a layer: {files:?}");
    }
    // The user's own file is as it was.
    assert_eq!(
        std::fs::read_to_string(secrets.path().join("token")).unwrap(),
        "injected-0xC0FFEE\n"
    );
}

#[test]
fn the_sources_modes_are_kept_where_somebody_chose_them() {
    use std::os::unix::fs::PermissionsExt;
    let warpdrive = with(assembling("mv /tmp/src/* /opt/app/"));
    let source = source(&[
        ("key", "k"),
        ("fixed", "f"),
        ("plain", "p"),
        ("own/x", "x"),
        ("go*", "#!/bin/sh"),
    ]);
    let modes = |list: &[(&str, u32)]| {
        for (name, mode) in list {
            let mode = std::fs::Permissions::from_mode(*mode);
            std::fs::set_permissions(source.path().join(name), mode).unwrap();
        }
    };
    modes(&[
        ("key", 0o600),
        ("fixed", 0o444),
        ("plain", 0o644),
        ("own", 0o700),
        ("go", 0o755),
    ]);
    build(&warpdrive, "box", source.path(), &[]);
    let files = Looked::at(&warpdrive, "app").files();
    for (name, mode) in [
        ("key", 0o600),
        ("fixed", 0o444),
        ("plain", 0o664),
        ("own", 0o700),
        ("go", 0o775),
    ] {
        assert_eq!(files[&format!("opt/app/{name}")].0, mode, "{name}");
    }
    // They decide what is built; what a umask does to a checkout does not.
    modes(&[("plain", 0o664)]);
    let same = build(&warpdrive, "box", source.path(), &[]);
    assert_eq!(same["cache"]["application"], "hit");
    modes(&[("key", 0o400)]);
    let other = build(&warpdrive, "box", source.path(), &[]);
    assert_eq!(other["cache"]["application"], "miss");
    // Nor what the strictest umask does to all of it.
    let all = ["key", "fixed", "plain", "own/x"];
    modes(&all.map(|name| (name, 0o644)));
    modes(&[("own", 0o755)]);
    let usual = build(&warpdrive, "box", source.path(), &[]);
    modes(&all.map(|name| (name, 0o600)));
    modes(&[("own", 0o700), ("go", 0o700)]);
    let strict = build(&warpdrive, "box", source.path(), &[]);
    assert_eq!(strict["digest"], usual["digest"]);
}

/// However large: assemble's user owns it.
#[test]
fn a_large_directory_that_is_injected_can_be_written_to() {
    let warpdrive = with(assembling(
        "echo more > /opt/new/many/own
mkdir /opt/new/many/sub/own
echo more >> /opt/new/many/large
echo more >> /opt/new/alone
stat -c %u:%g /opt/new/many /opt/new/many/sub/f7 /opt/new/alone > /opt/app/owners",
    ));
    let many: Vec<(String, String)> = (0..150)
        .map(|number| (format!("sub/f{number}"), number.to_string()))
        .chain([("large".to_owned(), "x".repeat(2 << 20))])
        .collect();
    let named: Vec<(&str, &str)> = many.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    let directory = source(&named);
    let alone = source(&[("alone", &"x".repeat(2 << 20))]);
    let all = format!("{}:/opt/new/many", directory.path().display());
    let file = format!("{}:/opt/new", alone.path().join("alone").display());
    build(
        &warpdrive,
        "box",
        hello().path(),
        &["-i", &all, "-i", &file],
    );
    let owners = Looked::at(&warpdrive, "app").content("opt/app/owners");
    assert_eq!(owners, "1001:0\n1001:0\n1001:0\n");
}

/// What is kept was made under other bounds, and with another network.
#[test]
fn bounds_and_networks_hold_for_what_is_kept() {
    let warpdrive = with(assembling("head -c 100000 /dev/urandom > /opt/app/noise"));
    let source = hello();
    let kept = build(&warpdrive, "box", source.path(), &["--network", "host"]);
    assert_eq!(
        build(&warpdrive, "box", source.path(), &["--network", "host"])["digest"],
        kept["digest"]
    );
    let other = build(&warpdrive, "box", source.path(), &["--network", "none"]);
    assert_eq!(other["cache"]["application"], "miss");
    for bound in ["--max-layer", "--max-written"] {
        let more = ["--network", "none", bound, "1k"];
        let (code, _, said) = refused(&warpdrive, "box", source.path(), &more);
        assert_ne!(code, 0, "{bound}: {said}");
    }
}

#[test]
fn two_apps_on_one_s2i_builder_share_their_dependencies() {
    let mut warpdrive = Warpdrive::new();
    warpdrive.take(PYTHON_311_RUN);
    s2i_builders::python(&warpdrive.store(), PYTHON_311_RUN, "box");
    let app = |text: &str, requirements: &str| {
        source(&[
            ("requirements.txt", requirements),
            ("wsgi.py", text),
            ("package/node_modules/left/index.js", "module.exports = 1"),
        ])
    };
    let flask = "flask==3.0.3\nwerkzeug==3.0.4\njinja2==3.1.4\nclick==8.1.7\nitsdangerous==2.2.0\n\
                 blinker==1.8.2\nmarkupsafe==2.1.5\ngunicorn==23.0.0\npackaging==24.1\n";
    let first = image(
        &warpdrive,
        "box",
        app("import flask\n", flask).path(),
        &["-e", "APP_MODULE=wsgi"],
    );
    let one = layers(&first, "dependencies");
    assert!(one.len() > 1, "{first:#}");
    assert_eq!(layers(&first, "application").len(), 1);
    // Byte-code is believed: its source's time is what the layer says.
    let check = "import sys, pathlib, struct, importlib.util
bad = []
for code in pathlib.Path('/opt/app-root').rglob('*.pyc'):
    head = code.read_bytes()[:16]
    flags, time, size = struct.unpack('<III', head[4:])
    script = pathlib.Path(importlib.util.source_from_cache(str(code)))
    if flags == 0 and script.exists() and int(script.stat().st_mtime) & 0xffffffff != time:
        bad.append(str(code))
print(len(bad), bad[:3])
import flask, wsgi";
    let said = warpdrive.run(&[
        "run",
        "--rm",
        "app",
        "--",
        "/opt/app-root/bin/python",
        "-c",
        check,
    ]);
    assert!(said.starts_with("0 []"), "{said}");

    let second = image(
        &warpdrive,
        "box",
        app("import flask # two\n", flask).path(),
        &[],
    );
    assert_eq!(layers(&second, "dependencies"), one);
    assert_ne!(
        layers(&second, "application"),
        layers(&first, "application")
    );
    // A builder of our own is built on in two phases, whoever asks.
    let own = copy_of(&example("flask"), false);
    let ours = build(&warpdrive, PYTHON_311_RUN, own.path(), &["-u", "1-"]);
    assert_eq!(layers(&ours, "builder").len(), 1, "{ours:#}");

    // Without splitting there is one layer, as the s2i tool makes it; the files are the same.
    let single = build(
        &warpdrive,
        "box",
        app("import flask # two\n", flask).path(),
        &[],
    );
    assert_eq!(layers(&single, "dependencies").len(), 0);
    assert_eq!(layers(&single, "application").len(), 1);
}

/// A secret's volume of Kubernetes, and names that shells and the `s2i` tool stumble over.
#[test]
fn what_is_injected_may_be_links_and_have_any_name() {
    let names = [
        "we ird",
        "semi;colon",
        "$(id)",
        "quo\"te'",
        "star*?[x]",
        "-rf",
    ];
    let warpdrive = with(assembling(
        "for f in /opt/app/conf/*; do echo \"$f\"; cat \"$f\" > /dev/null; done > /opt/app/result",
    ));
    let volume = tempfile::tempdir().unwrap();
    let data = volume.path().join("..2024_05_06");
    std::fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink("..2024_05_06", volume.path().join("..data")).unwrap();
    for name in names {
        std::fs::write(data.join(name), "s3cret").unwrap();
        std::os::unix::fs::symlink(format!("..data/{name}"), volume.path().join(name)).unwrap();
    }
    let inject = format!("{}:conf", volume.path().display());
    build(&warpdrive, "box", hello().path(), &["-i", &inject]);
    let looked = Looked::at(&warpdrive, "app");
    let mut expected: Vec<String> = names
        .iter()
        .map(|name| format!("/opt/app/conf/{name}"))
        .collect();
    expected.sort();
    let mut found: Vec<String> = looked
        .content("opt/app/result")
        .lines()
        .map(str::to_owned)
        .collect();
    found.sort();
    assert_eq!(found, expected);
    assert!(!looked.files().keys().any(|path| path.contains("conf")));
}
