//! `warpdrive image` on real apps: what is in the image, that it is the same for everyone, and that
//! nothing is done twice.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::users::User;
use crate::support::warpdrive::{PYTHON_311, PYTHON_311_RUN, Warpdrive, copy_of, example, layers};
use crate::support::{process, skopeo};

#[test]
fn the_configuration_is_what_the_contract_says() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = copy_of(&example("flask"), true);
    let report = warpdrive.image("flask", source.path(), &["-e", "GREETING=a=b,c"]);
    assert_eq!(report["user"], "1001");
    assert_eq!(report["cache"]["dependencies"], "miss");

    let layout = warpdrive.layout("flask");
    let image = format!("oci:{}:flask", layout.display());
    let config: serde_json::Value = serde_json::from_str(&process::run(
        skopeo::command("inspect").args(["--config", &image]),
    ))
    .unwrap();
    let inner = &config["config"];
    assert_eq!(inner["User"], "1001");
    assert_eq!(inner["WorkingDir"], "/opt/app-root/src");
    assert_eq!(
        inner["Cmd"],
        serde_json::json!(["/opt/app-root/s2i/bin/run"])
    );
    assert_eq!(inner["Entrypoint"], serde_json::Value::Null);
    assert_eq!(inner["ExposedPorts"], serde_json::json!({"8080/tcp": {}}));
    assert_eq!(inner["StopSignal"], "SIGTERM");
    let env: Vec<&str> = inner["Env"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|e| e.as_str())
        .collect();
    assert!(env.contains(&"HOME=/opt/app-root"), "{env:?}");
    assert!(env.contains(&"GREETING=a=b,c"), "{env:?}");
    assert_eq!(config["created"], "2024-05-06T07:08:09Z");
    assert_eq!(
        inner["Labels"]["io.openshift.s2i.scripts-url"],
        "image:///opt/app-root/s2i/bin"
    );
    let text = config.to_string();
    for local in [source.path(), warpdrive.store().as_path()] {
        assert!(
            !text.contains(&local.display().to_string()),
            "a local path is in the configuration"
        );
    }

    let inspected: serde_json::Value =
        serde_json::from_str(&process::run(skopeo::command("inspect").arg(&image))).unwrap();
    assert_eq!(inspected["Digest"], report["digest"]);
    let manifest: serde_json::Value = serde_json::from_str(&process::run(
        skopeo::command("inspect").args(["--raw", &image]),
    ))
    .unwrap();
    let annotations = &manifest["annotations"];
    assert_eq!(
        annotations["org.opencontainers.image.base.name"],
        PYTHON_311_RUN
    );
    assert_eq!(
        annotations["org.opencontainers.image.created"],
        "2024-05-06T07:08:09Z"
    );
    assert!(
        annotations["org.opencontainers.image.revision"]
            .as_str()
            .unwrap()
            .len()
            == 40
    );
}

#[test]
fn the_store_is_an_oci_layout_as_it_stands() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let report = warpdrive.image("flask", &example("flask"), &[]);
    let elsewhere = warpdrive.place().join("elsewhere");
    skopeo::copy(
        &format!("oci:{}:flask", warpdrive.store().display()),
        &format!("oci:{}:copy", elsewhere.display()),
    );
    let raw =
        process::run(skopeo::command("inspect").arg(format!("oci:{}:copy", elsewhere.display())));
    let raw: serde_json::Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(raw["Digest"], report["digest"]);
}

/// Every file of the image's new layers, as `tar --list` shows it.
fn listing(warpdrive: &Warpdrive, digest: &str) -> String {
    let blob = warpdrive
        .store()
        .join("blobs/sha256")
        .join(digest.trim_start_matches("sha256:"));
    process::run(
        Command::new("tar")
            .args(["--list", "--verbose", "--numeric-owner", "--gzip", "--file"])
            .arg(blob),
    )
}

#[test]
fn files_belong_to_1001_0_with_two_modes_and_no_special_bits() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let report = warpdrive.image("django", &example("django"), &[]);
    for kind in ["dependencies", "application"] {
        for digest in layers(&report, kind) {
            for line in listing(&warpdrive, &digest).lines() {
                let path = line.split_whitespace().nth(5).unwrap();
                let mode = &line[..10];
                if path == "opt/" {
                    assert!(line.starts_with("drwxr-xr-x 0/0"), "{line}");
                    continue;
                }
                assert!(path.starts_with("opt/app-root"), "{line}");
                assert!(line.contains(" 1001/0 "), "{line}");
                assert!(
                    ["drwxrwxr-x", "-rwxrwxr-x", "-rw-rw-r--", "lrwxrwxrwx"].contains(&mode),
                    "{line}"
                );
            }
        }
    }
}

#[test]
fn what_never_belongs_into_an_image_is_left_out() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = copy_of(&example("flask"), true);
    for path in [
        ".env",
        ".venv/bin/python",
        "venv/x",
        "node_modules/x/y.js",
        "__pycache__/app.cpython-311.pyc",
        "db.sqlite3",
        "ignored.txt",
        "kept.txt",
        ".git/hooks/x",
    ] {
        let path = source.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    fs::write(source.path().join(".dockerignore"), "ignored.txt\n").unwrap();
    let report = warpdrive.image("flask", source.path(), &[]);
    let listing = listing(&warpdrive, &layers(&report, "application")[0]);
    let has = |name: &str| {
        listing
            .lines()
            .any(|line| line.ends_with(&format!("/src/{name}")))
    };
    assert!(has("kept.txt") && has("app.py"), "{listing}");
    for name in [
        ".env",
        ".venv/",
        "venv/",
        "node_modules/",
        "db.sqlite3",
        "ignored.txt",
        ".git/",
    ] {
        assert!(!has(name), "{name} is in the image");
    }
    let dry =
        process::run(&mut warpdrive.command_in(source.path(), &[], &["image", "x", "--dry-run"]));
    assert!(dry.contains("db.sqlite3"), "{dry}");
}

/// Digests of one app built in one way.
fn digest(report: &serde_json::Value) -> String {
    report["digest"].as_str().unwrap().to_owned()
}

/// Builds `name` in all the ways that must not matter and compares the digests.
fn same_digest_for_everyone(name: &str, builder: &'static str) {
    let source = copy_of(&example(name), true);
    let clone = tempfile::tempdir().unwrap();
    let clone = clone.path().join("another-place");
    process::run(
        Command::new("git")
            .args(["clone", "--quiet"])
            .arg(source.path())
            .arg(&clone),
    );

    let root = Warpdrive::with(builder);
    let expected = root.image(name, source.path(), &[]);
    let same = |way: &str, warpdrive: &Warpdrive, report: &serde_json::Value| {
        if digest(report) == digest(&expected) {
            return;
        }
        let mut differences = String::new();
        for kind in ["base", "builder", "dependencies", "application"] {
            let (ours, theirs) = (layers(&expected, kind), layers(report, kind));
            for (a, b) in ours.iter().zip(&theirs).filter(|(a, b)| a != b) {
                let (a, b) = (listing(&root, a), listing(warpdrive, b));
                for (a, b) in a.lines().zip(b.lines()).filter(|(a, b)| a != b).take(10) {
                    writeln!(differences, "{kind}: {a}\n{kind}: {b}").unwrap();
                }
                writeln!(differences, "{kind}: the bytes differ").unwrap();
            }
        }
        panic!("{name}, {way}: another digest\n{differences}\n{expected:#}\n{report:#}");
    };

    let another = Warpdrive::with(builder);
    let report = another.image_with(name, &clone, &["TZ=Asia/Tokyo"], &[]);
    same("another clone, store and time zone", &another, &report);

    let one_cpu = Warpdrive::with(builder);
    let mut command = Command::new("sh");
    command
        .current_dir(source.path())
        .args(["-c", "umask 077; exec taskset 1 \"$@\"", "sh"])
        .arg(crate::support::warpdrive::binary())
        .arg("--store")
        .arg(one_cpu.store())
        .args(one_cpu.image_arguments(name))
        .arg("--json");
    // Nothing that an earlier umask made is there to help.
    let cache = one_cpu.store().join("cache");
    fs::remove_dir_all(&cache).unwrap();
    let output = process::output_within(&mut command, std::time::Duration::from_mins(9));
    assert!(output.status.success(), "{}", process::words(&output));
    let report = serde_json::from_slice(&output.stdout).unwrap();
    same("one CPU and umask 077", &one_cpu, &report);

    for user in [User::with_subids(), User::single_id()] {
        let way = user.name().to_owned();
        let warpdrive = Warpdrive::as_user(user, builder);
        let source = warpdrive.give(source.path(), "source");
        let report = warpdrive.image(name, &source, &[]);
        same(&way, &warpdrive, &report);
    }
    let again = root.image(name, source.path(), &["--no-cache"]);
    same("without the cache", &root, &again);
}

#[test]
fn flask_has_one_digest() {
    same_digest_for_everyone("flask", PYTHON_311_RUN);
}

#[test]
fn fastapi_has_one_digest() {
    same_digest_for_everyone("fastapi", PYTHON_311_RUN);
}

#[test]
fn an_app_with_an_sdist_in_c_has_one_digest() {
    same_digest_for_everyone("sdist", PYTHON_311);
}

/// How often a program is executed below a command, by `strace`.
fn sandboxes(warpdrive: &Warpdrive, source: &Path, name: &str) -> (usize, String) {
    let log = warpdrive.place().join("strace.log");
    let mut command = Command::new(process::tool("strace"));
    command
        .current_dir(source)
        .args(["-f", "-e", "trace=execve", "-o"])
        .arg(&log)
        .arg(crate::support::warpdrive::binary())
        .arg("--store")
        .arg(warpdrive.store())
        .args(warpdrive.image_arguments(name))
        .arg("--json");
    let report: serde_json::Value = serde_json::from_str(&process::run(&mut command)).unwrap();
    let trace = fs::read_to_string(log).unwrap();
    let count = trace
        .lines()
        .filter(|line| line.contains("execve(") && line.ends_with("= 0") && !line.contains("git"))
        .count();
    // The first is warpdrive itself.
    (count - 1, digest(&report))
}

#[test]
fn with_nothing_changed_no_sandbox_is_started() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = copy_of(&example("flask"), true);
    let first = digest(&warpdrive.image("flask", source.path(), &[]));
    assert_eq!(
        sandboxes(&warpdrive, source.path(), "flask"),
        (0, first.clone())
    );

    process::run(
        Command::new("find")
            .arg(source.path())
            .args(["-name", ".git", "-prune", "-o", "-exec", "touch", "{}", "+"]),
    );
    assert_eq!(
        sandboxes(&warpdrive, source.path(), "flask"),
        (0, first.clone())
    );

    let clone = tempfile::tempdir().unwrap();
    let clone = clone.path().join("clone");
    process::run(
        Command::new("git")
            .args(["clone", "--quiet"])
            .arg(source.path())
            .arg(&clone),
    );
    assert_eq!(sandboxes(&warpdrive, &clone, "flask"), (0, first));
}

#[test]
fn an_edit_that_keeps_size_and_time_is_seen() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = copy_of(&example("flask"), true);
    let first = warpdrive.image("flask", source.path(), &[]);
    let app = source.path().join("app.py");
    let reference = source.path().join("../reference-time");
    process::run(
        Command::new("touch")
            .arg("--reference")
            .arg(&app)
            .arg(&reference),
    );
    let text = fs::read_to_string(&app).unwrap();
    let edited = text.replacen("Flask(", "Flask (", 1);
    assert_ne!(text, edited);
    // One blank more, one less: the size stays.
    let edited = edited.replacen("\n\n", "\n", 1);
    assert_eq!(text.len(), edited.len());
    fs::write(&app, edited).unwrap();
    process::run(
        Command::new("touch")
            .arg("--reference")
            .arg(&reference)
            .arg(&app),
    );
    fs::remove_file(reference).unwrap();
    let second = warpdrive.image("flask", source.path(), &[]);
    assert_ne!(
        layers(&first, "application"),
        layers(&second, "application")
    );
    assert_eq!(
        layers(&first, "dependencies"),
        layers(&second, "dependencies")
    );
    assert_eq!(second["cache"]["dependencies"], "hit");
}

/// The files of an app's static directory, by extension.
fn find(directory: &Path, extension: &str) -> PathBuf {
    process::run(
        Command::new("find")
            .arg(directory)
            .arg("-name")
            .arg(format!("*.{extension}")),
    )
    .lines()
    .next()
    .unwrap()
    .into()
}

#[test]
fn a_static_file_of_the_same_size_gets_another_time() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = copy_of(&example("django"), true);
    let first = warpdrive.image("django", source.path(), &[]);
    let css = find(source.path(), "css");
    let text = fs::read_to_string(&css).unwrap();
    let edited: String = text
        .chars()
        .map(|c| if c.is_ascii_digit() { '7' } else { c })
        .collect();
    assert_ne!(text, edited, "the stylesheet has a digit");
    fs::write(&css, &edited).unwrap();
    let second = warpdrive.image("django", source.path(), &[]);
    for kind in ["base", "builder", "dependencies"] {
        assert_eq!(layers(&first, kind), layers(&second, kind), "{kind}");
    }
    let name = css.file_name().unwrap().to_str().unwrap().to_owned();
    let time = |report: &serde_json::Value| {
        listing(&warpdrive, &layers(report, "application")[0])
            .lines()
            .filter(|line| line.ends_with(&name))
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                (
                    words[2].to_owned(),
                    words[3].to_owned(),
                    words[4].to_owned(),
                )
            })
            .collect::<Vec<_>>()
    };
    let (before, after) = (time(&first), time(&second));
    assert!(!before.is_empty());
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.0, after.0, "the size stays");
        assert_ne!(
            (&before.1, &before.2),
            (&after.1, &after.2),
            "the time changes"
        );
    }
}

/// What makes a builder image has many helpers; none of them stays when warpdrive is killed.
#[test]
fn the_making_of_a_builder_ends_with_the_one_who_asked_for_it() {
    let place = tempfile::tempdir().unwrap();
    let bin = place.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let mark = format!("{}.987", std::process::id());
    fs::write(
        bin.join("mmdebstrap"),
        format!("#!/bin/sh\n(exec setsid sleep {mark}) &\nsleep {mark} &\necho begun >&2\nwait\n"),
    )
    .unwrap();
    fs::set_permissions(
        bin.join("mmdebstrap"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let helpers = || {
        fs::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|entry| fs::read_to_string(entry.path().join("cmdline")).ok())
            .filter(|line| line.starts_with("sleep\0") && line.contains(&mark))
            .count()
    };
    let warpdrive = Warpdrive::new();
    let mut child = warpdrive
        .command_in(
            place.path(),
            &[&format!("PATH={path}")],
            &["builder", "build", PYTHON_311_RUN],
        )
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let minute = std::time::Duration::from_mins(1);
    let begun = process::poll(minute, || (helpers() == 2).then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(begun.is_some(), "mmdebstrap was not started");
    let gone = process::poll(minute, || (helpers() == 0).then_some(()));
    assert!(gone.is_some(), "{} helpers stay", helpers());
}

/// A `/dev` that stays mounted in the store would be taken away with it.
#[test]
fn what_the_making_of_a_builder_mounts_is_not_mounted_on_the_host() {
    let place = tempfile::tempdir().unwrap();
    let bin = place.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let (at, seen) = (place.path().join("left"), place.path().join("seen"));
    fs::create_dir(&at).unwrap();
    fs::write(
        bin.join("mmdebstrap"),
        format!(
            "#!/bin/sh\nmount -t tmpfs tmpfs {at}\ncp /proc/self/mountinfo {seen}\nexit 1\n",
            at = at.display(),
            seen = seen.display(),
        ),
    )
    .unwrap();
    fs::set_permissions(
        bin.join("mmdebstrap"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let warpdrive = Warpdrive::new();
    let made = warpdrive
        .command_in(
            place.path(),
            &[&format!("PATH={path}")],
            &["builder", "build", PYTHON_311_RUN],
        )
        .output()
        .unwrap();
    assert!(!made.status.success());
    let mounted = |table: &Path| {
        let table = fs::read_to_string(table).unwrap();
        table.contains(at.to_str().unwrap())
    };
    // Another user's mmdebstrap makes a namespace itself before it mounts.
    assert_eq!(mounted(&seen), process::is_root(), "{made:?}");
    assert!(!mounted(Path::new("/proc/self/mountinfo")));
}

/// Nothing comes from mmdebstrap for minutes, and what the builder's twin lacks is a warning otherwise.
#[test]
fn the_making_of_builders_and_of_their_twins_heeds_a_signal() {
    for twin in [false, true] {
        let place = tempfile::tempdir().unwrap();
        let bin = place.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let (tree, begun) = (place.path().join("tree"), place.path().join("begun"));
        fs::create_dir_all(tree.join("etc")).unwrap();
        let waits = format!("echo begun > {}\nexec sleep 1000\n", begun.display());
        let tar = format!("exec tar -C {} -c .\n", tree.display());
        let twin_of_it = "case \"$*\" in *g++*) exec_tar;; esac\n";
        let script = if twin {
            format!("#!/bin/sh\nexec_tar() {{ {tar} }}\n{twin_of_it}{waits}")
        } else {
            format!("#!/bin/sh\n{waits}")
        };
        fs::write(bin.join("mmdebstrap"), script).unwrap();
        fs::set_permissions(
            bin.join("mmdebstrap"),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        let path = format!("PATH={}:{}", bin.display(), std::env::var("PATH").unwrap());
        let warpdrive = Warpdrive::new();
        let source = copy_of(&example("flask"), false);
        let arguments = ["image", "app", "--builder", PYTHON_311];
        let child = warpdrive
            .command_in(source.path(), &[&path], &arguments)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let started = process::poll(std::time::Duration::from_mins(1), || {
            begun.is_file().then_some(())
        });
        assert!(started.is_some(), "twin: {twin}");
        crate::support::interrupted::interrupt(&warpdrive, child, "-TERM");
    }
}
