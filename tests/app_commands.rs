//! The app commands as an image runs them: `start`, hooks, `exec`, `env`, `fixup`, process 1.
//!
//! The defects of the original shell scripts that concern these commands are tests in the opposite
//! sense; they say BUG.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const TOOL: &str = env!("WARPDRIVE_APP_TOOL_PATH");

/// An application with a build's record, as it lies in an image.
struct App {
    directory: tempfile::TempDir,
}

impl App {
    fn new() -> App {
        let app = App {
            directory: tempfile::tempdir().unwrap(),
        };
        for path in [
            "root/bin",
            "root/s2i/bin",
            "root/src/.warpdrive/action_hooks",
            "tmp",
        ] {
            fs::create_dir_all(app.path(path)).unwrap();
        }
        app
    }

    fn path(&self, relative: &str) -> PathBuf {
        self.directory.path().join(relative)
    }

    fn file(&self, relative: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn program(&self, relative: &str, content: &str) {
        let path = self.file(relative, content);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn hook(&self, name: &str, content: &str) {
        let text = format!("#!/bin/sh\n{content}");
        self.program(&format!("root/src/.warpdrive/action_hooks/{name}"), &text);
    }

    /// A record that starts the script `app.sh` of `home`.
    fn plan(&self, home: &str, server_args: &str) {
        let plan = serde_json::json!({
            "version": 1, "start": {"mode": "shell", "program": "app.sh"}, "installer": "uv",
            "home": home, "server_args": server_args,
        });
        self.file("root/etc/warpdrive/plan.json", plan.to_string());
    }

    /// The tool with an environment of its own; `before` goes in front of it.
    fn command(&self, before: &[&str], arguments: &[&str]) -> Command {
        let mut words = before
            .iter()
            .copied()
            .chain([TOOL])
            .chain(arguments.iter().copied());
        let mut command = Command::new(words.next().unwrap());
        command
            .args(words)
            .current_dir(self.directory.path())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.path("root"))
            .env("TMPDIR", self.path("tmp"))
            .env("WARPDRIVE_APP_ROOT", self.path("root"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(&[], arguments).output().unwrap()
    }

    /// As process 1 of a PID namespace.
    fn run_as_process_one(&self, arguments: &[&str]) -> Output {
        self.command(&UNSHARE, arguments).output().unwrap()
    }
}

const UNSHARE: [&str; 6] = [
    "timeout",
    "20",
    "unshare",
    "--pid",
    "--fork",
    "--mount-proc",
];

fn status(output: &Output) -> i32 {
    output.status.code().unwrap_or(-1)
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Every file below a directory, with its time.
fn listing(root: &Path) -> Vec<(PathBuf, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        let data = entry.metadata().unwrap();
        found.push((entry.path(), data.modified().unwrap()));
        if data.is_dir() {
            found.extend(listing(&entry.path()));
        }
    }
    found.sort();
    found
}

#[test]
fn start_runs_the_server_in_its_home_with_everything_exported() {
    let app = App::new();
    app.plan("web", "--workers ${W:-3} $EXTRA");
    app.program(
        "root/src/web/app.sh",
        "#!/bin/sh\npwd; env | grep -E '^(A|B|PORT|WARPDRIVE_ACTION)=' | sort; for a; do echo \"<$a>\"; done\nexit 9\n",
    );
    // In the warpdrive before this one: at deployment `.warpdrive/environment` was evaluated but not exported.
    app.file("root/src/.warpdrive/environment", "A=1\nEXTRA='--x --y'\n");
    app.file(
        "root/src/.warpdrive/action_hooks/deploy-env",
        "B=\"$A 2\"\n",
    );
    let before = listing(&app.path("root"));
    let output = app.command(&[], &["start"]).env("W", "7").output().unwrap();
    assert_eq!(status(&output), 9, "{}", stderr(&output));
    let home = app.path("root/src/web").canonicalize().unwrap();
    // In the warpdrive before this one: server_args was looked up in APP_HOME and ignored when `home` was set.
    let expected = format!(
        "{}\nA=1\nB=1 2\nPORT=8080\nWARPDRIVE_ACTION=start\n<--workers>\n<7>\n<--x>\n<--y>\n",
        home.display()
    );
    assert_eq!(stdout(&output), expected);
    let words = stderr(&output);
    assert!(
        words.contains(" -----> Configuring for deployment mode: 'shell'\n"),
        "{words}"
    );
    assert!(
        words.contains(" -----> Starting app.sh on port 8080\n"),
        "{words}"
    );
    assert_eq!(
        listing(&app.path("root")),
        before,
        "a start writes nothing into the image"
    );
}

/// What whoever starts the container says comes before the application's files, and before what the
/// build has recorded. In the original the files had the last word.
#[test]
fn the_caller_has_the_first_word() {
    let app = App::new();
    app.plan("", "--built");
    app.program(
        "root/src/app.sh",
        "#!/bin/sh\necho \"$A $B $C\"; for a; do echo \"<$a>\"; done\n",
    );
    app.file(
        "root/src/.warpdrive/environment",
        "A=file\nB=\"$B and file\"\nC=${C:-file}\n",
    );
    app.file("root/src/.warpdrive/action_hooks/deploy-env", "A=hook\n");
    let output = app.run(&["start"]);
    assert_eq!(stdout(&output), "hook  and file file\n<--built>\n");
    let said = [
        ("A", "said"),
        ("B", "said"),
        ("C", "said"),
        ("WARPDRIVE_SERVER_ARGS", "--said '$A'"),
    ];
    let output = app.command(&[], &["start"]).envs(said).output().unwrap();
    assert_eq!(stdout(&output), "said said and file said\n<--said>\n<$A>\n");
    let explained = app.command(&[], &["env", "--explain"]).envs(said).output();
    let explained = stdout(&explained.unwrap());
    assert!(
        explained.contains("B='said and file'  # file: .warpdrive/environment\n"),
        "{explained}"
    );
    assert!(
        explained.contains("server_args = --said '$A'  # environment: WARPDRIVE_SERVER_ARGS\n")
    );
}

/// An agent is the server's, not that of hooks and other commands.
#[test]
fn an_agent_is_set_up_for_the_server_alone() {
    let app = App::new();
    let plan = |agent: serde_json::Value| {
        let plan = serde_json::json!({
            "version": 1, "start": {"mode": "shell", "program": "app.sh"}, "installer": "uv",
            "instrument": agent, "service": "shop",
        });
        app.file("root/etc/warpdrive/plan.json", plan.to_string());
    };
    plan(serde_json::json!({"autowrapt": ["one", "two"]}));
    let words =
        "echo \"$0: ${AUTOWRAPT_BOOTSTRAP-none} ${OTEL_SERVICE_NAME-none}\" | sed 's,.*/,,'\n";
    app.hook("deploy", words);
    app.hook("setup", words);
    app.program("root/src/app.sh", &format!("#!/bin/sh\n{words}"));
    assert_eq!(
        stdout(&app.run(&["start"])),
        "deploy: none none\napp.sh: one,two none\n"
    );
    assert_eq!(stdout(&app.run(&["setup"])), "setup: none none\n");
    // Its program runs the server; without it nothing starts unwatched.
    plan(serde_json::json!("opentelemetry"));
    let output = app.run(&["start"]);
    assert_eq!(status(&output), 127);
    assert!(
        stderr(&output).contains("opentelemetry, the agent of this application, is not installed"),
        "{}",
        stderr(&output)
    );
    app.program(
        "root/bin/opentelemetry-instrument",
        "#!/bin/sh\nexec \"$@\"\n",
    );
    assert_eq!(
        stdout(&app.run(&["start"])),
        "deploy: none none\napp.sh: none shop\n"
    );
}

#[test]
fn start_without_a_build_says_what_to_do() {
    let output = App::new().run(&["start"]);
    assert_eq!(status(&output), 125);
    assert!(
        stderr(&output).contains("warpdrive build"),
        "{}",
        stderr(&output)
    );
}

/// In the warpdrive before this one: a failing `deploy` hook did not stop the start.
#[test]
fn a_failing_hook_stops_the_start() {
    for name in ["deploy", "deploy-cfg"] {
        let app = App::new();
        app.plan("", "");
        app.program("root/src/app.sh", "#!/bin/sh\necho started\n");
        app.hook(name, "exit 6\n");
        let output = app.run(&["start"]);
        assert_eq!(
            (status(&output), stdout(&output)),
            (6, String::new()),
            "{name}"
        );
        assert!(stderr(&output).contains(&format!("the hook {name} failed with status 6")));
    }
}

/// In the warpdrive before this one: a hook that was not executable was skipped, `build` silently.
#[test]
fn a_hook_that_is_not_executable_is_named() {
    for (command, name) in [
        ("start", "deploy"),
        ("start", "deploy-cfg"),
        ("setup", "setup"),
        ("migrate", "migrate"),
        ("verify", "verify"),
        ("alive", "alive"),
        ("ready", "ready"),
    ] {
        let app = App::new();
        app.plan("", "");
        app.program("root/src/app.sh", "#!/bin/sh\necho started\n");
        let hook = format!("root/src/.warpdrive/action_hooks/{name}");
        let path = app.file(&hook, "#!/bin/sh\n");
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        let output = app.run(&[command]);
        let words = stderr(&output);
        assert_eq!(status(&output), 126, "{name}: {words}");
        assert!(
            words.contains("chmod +x") && words.contains(&hook),
            "{words}"
        );
    }
}

#[test]
fn hooks_get_the_environment_and_give_their_status() {
    let app = App::new();
    app.hook(
        "setup",
        "pwd\necho $WARPDRIVE_ACTION $WARPDRIVE_PHASE\nexit 4\n",
    );
    let output = app.run(&["setup"]);
    let source = app.path("root/src").canonicalize().unwrap();
    assert_eq!(status(&output), 4);
    assert_eq!(
        stdout(&output),
        format!("{}\nsetup deploy\n", source.display())
    );
    for name in ["migrate", "verify"] {
        assert_eq!(
            status(&app.run(&[name])),
            0,
            "no hook is not a failure: {name}"
        );
    }
    // No `#!` line: a shell runs it, as a shell would.
    app.program("root/src/.warpdrive/action_hooks/verify", "exit 5\n");
    assert_eq!(status(&app.run(&["verify"])), 5);
    app.program(
        "root/src/.warpdrive/action_hooks/verify",
        "#!/bin/sh\r\nexit 5\r\n",
    );
    let output = app.run(&["verify"]);
    assert_eq!(status(&output), 127);
    assert!(
        stderr(&output).contains("Windows line ends"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn deploy_cfg_runs_once_in_a_containers_life() {
    let app = App::new();
    let log = app.path("log");
    app.hook("deploy-cfg", &format!("echo x >> {}\n", log.display()));
    for name in ["setup", "migrate", "setup"] {
        assert_eq!(status(&app.run(&[name])), 0);
    }
    assert_eq!(fs::read_to_string(&log).unwrap(), "x\n");
    fs::create_dir(app.path("tmp2")).unwrap();
    app.command(&[], &["migrate"])
        .env("TMPDIR", app.path("tmp2"))
        .output()
        .unwrap();
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        "x\nx\n",
        "another container"
    );
    // A failure is not remembered.
    app.hook("deploy-cfg", "exit 3\n");
    fs::create_dir(app.path("tmp3")).unwrap();
    for _ in 0..2 {
        let output = app
            .command(&[], &["migrate"])
            .env("TMPDIR", app.path("tmp3"))
            .output();
        assert_eq!(status(&output.unwrap()), 3);
    }
}

#[test]
fn exec_is_faithful() {
    let app = App::new();
    // BUG: `$*` without quotes broke arguments with spaces.
    let output = app.run(&[
        "exec",
        "printf",
        "<%s>",
        "a b",
        "",
        "--version",
        "*",
        "$HOME",
    ]);
    assert_eq!(stdout(&output), "<a b><><--version><*><$HOME>");
    let output = app.run(&["exec", "pwd"]);
    assert_eq!(
        Path::new(stdout(&output).trim()),
        app.directory.path().canonicalize().unwrap(),
        "exec does not change the directory"
    );
    for (arguments, expected) in [
        (&["exec", "sh", "-c", "exit 42"][..], 42),
        (&["exec", "/nonexistent/program"], 127),
        (&["exec", "no-such-program"], 127),
        (&["exec", "/etc/passwd"], 126),
        (&["exec"], 2),
        // In the warpdrive before this one: an unknown action printed the help and succeeded.
        (&["nonsense"], 2),
    ] {
        assert_eq!(status(&app.run(arguments)), expected, "{arguments:?}");
    }
}

#[test]
fn an_environment_file_that_fails_is_named() {
    let app = App::new();
    app.file("root/src/.warpdrive/environment", "A=1\nexit 3\n");
    let output = app.run(&["exec", "true"]);
    let words = stderr(&output);
    assert_eq!(status(&output), 125);
    assert!(
        words.contains(".warpdrive/environment failed") && words.contains("status 3"),
        "{words}"
    );
    app.file("root/src/.warpdrive/environment", b"A=\xe9\n");
    let words = stderr(&app.run(&["exec", "true"]));
    assert!(
        words.contains(".warpdrive/environment is not UTF-8 (byte 2)"),
        "{words}"
    );
}

/// BUG: `eval $(warpdrive env)` lost newlines.
#[test]
fn env_is_for_eval() {
    let app = App::new();
    app.file("root/src/.warpdrive/environment", "A='one\ntwo  three'\n");
    let output = app.run(&["env"]);
    let evaluated = Command::new("/bin/sh")
        .args([
            "-c",
            "eval \"$1\"; printf %s \"$A\"",
            "sh",
            &stdout(&output),
        ])
        .output()
        .unwrap();
    assert_eq!(stdout(&evaluated), "one\ntwo  three");
    let json: serde_json::Value =
        serde_json::from_slice(&app.run(&["env", "--json"]).stdout).unwrap();
    assert_eq!(json["A"], "one\ntwo  three");
    let explained = app.run(&["env", "--explain", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&explained.stdout).unwrap();
    assert_eq!(
        json["variables"]["A"]["origin"],
        "file: .warpdrive/environment"
    );
    assert_eq!(json["variables"]["PORT"]["origin"], "default");
    assert_eq!(json["settings"]["installer"]["origin"], "default");
    assert!(stdout(&app.run(&["env", "--explain"])).contains("PORT='8080'  # default\n"));
}

#[test]
fn alive_asks_the_application() {
    let app = App::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    std::thread::spawn(move || {
        for answer in ["204 No Content", "503 Busy"] {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = write!(stream, "HTTP/1.1 {answer}\r\n\r\n");
        }
    });
    for (name, expected) in [("alive", 0), ("ready", 1), ("alive", 1)] {
        let output = app
            .command(&[], &[name])
            .env("PORT", &port)
            .output()
            .unwrap();
        assert_eq!(status(&output), expected, "{name}: {}", stderr(&output));
    }
}

/// An application that takes the connection and says nothing.
#[test]
fn alive_does_not_wait_for_ever() {
    let app = App::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    for (seconds, expected, word) in [
        ("0.2", 1, "no answer within 0.2 s"),
        ("soon", 125, "WARPDRIVE_PROBE_TIMEOUT=soon"),
    ] {
        let output = app
            .command(&[], &["ready"])
            .envs([
                ("PORT", port.as_str()),
                ("WARPDRIVE_PROBE_TIMEOUT", seconds),
            ])
            .output()
            .unwrap();
        assert_eq!(status(&output), expected, "{}", stderr(&output));
        assert!(stderr(&output).contains(word), "{}", stderr(&output));
    }
}

/// The original booted Django at every start, to ask for its settings, and wrote a wrapper module
/// and a passwd file into the image.
#[test]
fn a_start_asks_the_record_and_not_the_application() {
    let app = App::new();
    let plan = serde_json::json!({
        "version": 1, "installer": "uv", "framework": "django",
        "start": {"mode": "server", "server": "gunicorn", "application": {
            "module": "site.wsgi", "object": "application", "interface": "wsgi",
            "wrapper": "whitenoise_wrapper"}},
        "django": {"manage": "manage.py", "settings_module": "site.settings"},
        "static_files": [{"url": "/static/", "root": "/opt/app-root/static/django/"}],
    });
    app.file("root/etc/warpdrive/plan.json", plan.to_string());
    app.file(
        "root/src/manage.py",
        "raise SystemExit('Django is booted')\n",
    );
    let asked = app.path("asked");
    for name in ["python", "python3"] {
        let script = format!("#!/bin/sh\necho \"$0 $*\" >> {}\n", asked.display());
        app.program(&format!("root/bin/{name}"), &script);
    }
    app.program(
        "root/bin/gunicorn",
        "#!/bin/sh\necho \"$DJANGO_SETTINGS_MODULE $*\"\n",
    );
    let before = listing(&app.path("root"));
    let output = app.run(&["start"]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let line = stdout(&output);
    assert!(
        line.starts_with("site.settings --") && line.ends_with(" whitenoise_wrapper:application\n"),
        "{line}"
    );
    assert!(!asked.exists(), "{:?}", fs::read_to_string(asked));
    assert_eq!(listing(&app.path("root")), before);
}

#[test]
fn fixup_says_when_there_is_nothing() {
    let app = App::new();
    let path = app.file("root/src/private", "x");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(status(&app.run(&["fixup", "root"])), 0);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o770
    );
    // BUG: an error in words, success in status.
    assert_eq!(status(&app.run(&["fixup", "nowhere"])), 1);
}

/// The original passed TERM on and nothing else.
#[test]
fn process_one_passes_signals_on() {
    let app = App::new();
    for signal in [
        "TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "WINCH", "ALRM", "TSTP", "PIPE", "40",
    ] {
        let script = format!(
            "test $$ -ne 1 || exit 99; trap 'exit 7' {signal}; kill -{signal} 1; sleep 10 & wait"
        );
        let output = app.run_as_process_one(&["exec", "sh", "-c", &script]);
        assert_eq!(status(&output), 7, "{signal}: {}", stderr(&output));
    }
}

#[test]
fn process_one_buries_orphans_and_gives_the_status() {
    let app = App::new();
    let script = "(sh -c 'sleep 0.2' &); sleep 1; ! grep -l 'State:.Z' /proc/[0-9]*/status";
    let output = app.run_as_process_one(&["exec", "sh", "-c", script]);
    assert_eq!(status(&output), 0, "a zombie is left: {}", stdout(&output));
    for (script, expected) in [
        ("kill -KILL $$", 137),
        ("kill -TERM $$", 143),
        ("exit 3", 3),
    ] {
        let output = app.run_as_process_one(&["exec", "sh", "-c", script]);
        assert_eq!(status(&output), expected, "{script}");
    }
    // BUG: with the shell's trap, stdin was lost.
    let mut child = app
        .command(&UNSHARE, &["exec", "cat"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"hello").unwrap();
    assert_eq!(stdout(&child.wait_with_output().unwrap()), "hello");
}

#[test]
fn process_one_can_be_the_program_itself() {
    let app = App::new();
    let output = app
        .command(&UNSHARE, &["exec", "sh", "-c", "echo $$"])
        .env("WARPDRIVE_RUN_AS_PID1", "1")
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "1\n");
}

/// A container that is stopped while `deploy` still runs does not go on to start.
#[test]
fn a_stop_during_a_hook_stops_the_start() {
    let app = App::new();
    app.plan("", "");
    app.program("root/src/app.sh", "#!/bin/sh\necho started\n");
    app.hook(
        "deploy",
        "trap 'exit 0' TERM\nkill -TERM 1\nsleep 10 & wait\n",
    );
    let output = app.run_as_process_one(&["start"]);
    assert_eq!((status(&output), stdout(&output)), (143, String::new()));
}

#[test]
fn s2i_scripts_call_the_tool() {
    let app = App::new();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("s2i/bin");
    app.program("root/bin/warpdrive", "#!/bin/sh\necho \"warpdrive $*\"\n");
    let run = |name: &str| {
        let output = Command::new(scripts.join(name))
            .env("WARPDRIVE_APP_ROOT", app.path("root"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {}", stderr(&output));
        output
    };
    assert_eq!(stdout(&run("assemble")), "warpdrive assemble\n");
    assert_eq!(stdout(&run("run")), "warpdrive start\n");
    assert!(stdout(&run("usage")).contains("warpdrive image"));
    // An empty archive, but an archive.
    assert!(run("save-artifacts").stdout.iter().all(|byte| *byte == 0));
    app.file("root/src/.warpdrive/wheelhouse/a.whl", "wheel");
    let output = run("save-artifacts");
    assert!(output.stdout.starts_with(b"wheelhouse/"));
    // An image may override them, so that it can be a builder itself.
    app.program(
        "root/.s2i/bin/run",
        "#!/bin/sh\necho own $WARPDRIVE_S2I_PHASE\n",
    );
    assert_eq!(stdout(&run("run")), "own run\n");
}

impl App {
    /// A record that starts a server, whose program is this script.
    fn server(&self, name: &str, program: &str, script: &str) {
        let plan = serde_json::json!({
            "version": 1, "installer": "uv", "home": "",
            "start": {
                "mode": "server", "server": name,
                "application": {"module": "wsgi", "object": "application", "interface": "wsgi"},
            },
        });
        self.file("root/etc/warpdrive/plan.json", plan.to_string());
        self.program(
            &format!("root/bin/{program}"),
            &format!("#!/bin/sh\n{script}"),
        );
    }
}

/// Apache cuts its responses on TERM and finishes them on WINCH, which a terminal sends as well.
#[test]
fn apache_is_stopped_in_its_own_way() {
    let app = App::new();
    let traps = "trap 'exit 7' WINCH; trap 'exit 8' TERM; trap 'exit 9' USR1\n";
    for (signal, expected) in [("TERM", 7), ("INT", 7), ("USR1", 9)] {
        // The window's size first, which has to be kept back.
        let script =
            format!("{traps}kill -WINCH $PPID; sleep 0.3; kill -{signal} $PPID; sleep 10 & wait\n");
        app.server("mod_wsgi", "mod_wsgi-express", &script);
        // As any process, and as process 1.
        for output in [app.run(&["start"]), app.run_as_process_one(&["start"])] {
            assert_eq!(status(&output), expected, "{signal}: {}", stderr(&output));
        }
    }
}

#[test]
fn the_number_of_workers_is_told_and_given() {
    let app = App::new();
    app.server(
        "gunicorn",
        "gunicorn",
        "echo \"<$WEB_CONCURRENCY>\" \"$@\"\n",
    );
    let output = app.run(&["start"]);
    let words = stderr(&output);
    assert!(
        words.contains(" CPU") && words.contains("; at least 1, at most 12\n"),
        "{words}"
    );
    let number = words
        .lines()
        .find_map(|line| line.split_once(" worker process"))
        .map(|(before, _)| before.rsplit(' ').next().unwrap().to_owned());
    let given = format!("<{}> ", number.unwrap());
    assert!(
        stdout(&output).starts_with(&given),
        "{given}: {}",
        stdout(&output)
    );

    let with = |name: &str, value: &str| {
        app.command(&[], &["start"])
            .env(name, value)
            .output()
            .unwrap()
    };
    let output = with("WEB_CONCURRENCY", "7");
    assert!(stdout(&output).starts_with("<7> "), "{}", stdout(&output));
    assert!(stderr(&output).contains("7 worker processes, as WEB_CONCURRENCY says"));
    for (name, value, remedy) in [
        ("WEB_CONCURRENCY", "many", "unset WEB_CONCURRENCY"),
        ("WARPDRIVE_GRACEFUL_TIMEOUT", "-1", "whole seconds"),
    ] {
        let output = with(name, value);
        let words = stderr(&output);
        assert_eq!(status(&output), 125, "{words}");
        assert!(
            words.contains(&format!("{name}={value}")) && words.contains(remedy),
            "{words}"
        );
    }
    app.file("root/src/gunicorn.conf.py", "workers = 3\n");
    let words = stderr(&app.run(&["start"]));
    assert!(
        words.contains("unless gunicorn.conf.py says otherwise"),
        "{words}"
    );
}

/// What `--dry-run` prints can be given to a shell.
#[test]
fn a_dry_run_quotes_what_needs_it() {
    let app = App::new();
    app.server("uwsgi", "uwsgi", "exit 0\n");
    let line = stdout(&app.run(&["start", "--dry-run"]));
    assert!(
        line.contains(" 'unix_signal:15 gracefully_kill_them_all' "),
        "{line}"
    );
}
