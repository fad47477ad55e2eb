//! The commands of a laptop: projects in real shells, wheels and a build without an index, settings
//! and their schema, precedence.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

const TOOL: &str = env!("WARPDRIVE_APP_TOOL_PATH");

/// A home and a source directory, both with characters that shells care about in their names.
struct Laptop {
    directory: tempfile::TempDir,
}

impl Laptop {
    fn new() -> Laptop {
        let laptop = Laptop {
            directory: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(laptop.home()).unwrap();
        fs::create_dir_all(laptop.source()).unwrap();
        laptop
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("it's $HOME; \"home\"")
    }

    fn source(&self) -> PathBuf {
        self.directory.path().join("my source\\x")
    }

    fn file(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.source().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn program(&self, path: &str, content: &str) {
        self.file(path, content);
        fs::set_permissions(self.source().join(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.source())
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", self.home())
            .env("SHELL", program);
        command
    }

    fn tool(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(TOOL);
        command.args(arguments);
        command
    }

    /// Makes a project's environment; its directory.
    fn project(&self, name: &str) -> PathBuf {
        let output = self.tool(&["project", "--create", name]).output().unwrap();
        assert!(output.status.success(), "{}", words(&output));
        self.home()
            .join(".warpdrive")
            .join(format!("warpdrive+{name}"))
    }
}

fn words(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What every shell has to do, in words that bash, zsh and (after `fish_words`) fish understand.
const SESSION: &str = r#"
before="$PATH"
warpdrive project nonesuch; echo "status $?"
warpdrive project --create "my app"; echo "status $?"
printf '<%s>\n' "$WARPDRIVE_ENV_NAME" "$WARPDRIVE_APP_ROOT" "$WARPDRIVE_SRC_ROOT"
python -c 'import sys; print("prefix", sys.prefix)'
warpdrive exec printf '[%s]' 'a  b' '' '*' '$HOME' 'two
lines'
echo
warpdrive exec sh -c 'exit 42'; echo "status $?"
warpdrive destroy "my app"; echo "status $?"
warpdrive project --help | grep -c '^Usage: '
warpdrive project "my app"; echo "status $?"
warpdrive project --create other; echo "status $? $WARPDRIVE_ENV_NAME"
warpdrive deactivate; echo "status $?"
echo "left ${WARPDRIVE_ENV_NAME-} ${VIRTUAL_ENV-}"
if [ "$PATH" = "$before" ]; then echo same path; fi
warpdrive deactivate; echo "status $?"
warpdrive destroy "my app"; echo "status $?"
warpdrive destroy "my app"; echo "status $?"
"#;

fn fish_words(session: &str) -> String {
    session
        .replace("before=\"$PATH\"", "set before (string join : $PATH)")
        .replace("$?", "$status")
        .replace(
            "${WARPDRIVE_ENV_NAME-} ${VIRTUAL_ENV-}",
            "$WARPDRIVE_ENV_NAME $VIRTUAL_ENV",
        )
        .replace(
            "if [ \"$PATH\" = \"$before\" ]; then echo same path; fi",
            "if test (string join : $PATH) = $before; echo same path; end",
        )
}

/// BUG of the original: `$*` without quotes in the shell function broke arguments with spaces, and
/// an `eval` without quotes lost newlines.
#[test]
fn projects_in_every_shell() {
    let laptop = Laptop::new();
    for (shell, session) in [
        (
            "/bin/bash",
            format!("set -u\neval \"$('{TOOL}' rcfile)\"\n{SESSION}"),
        ),
        (
            "/bin/zsh",
            format!("set -u\neval \"$('{TOOL}' rcfile)\"\n{SESSION}"),
        ),
        (
            "/usr/bin/fish",
            format!("'{TOOL}' rcfile | source\n{}", fish_words(SESSION)),
        ),
    ] {
        let output = laptop
            .command(shell)
            .args(["-c", &session])
            .output()
            .unwrap();
        let environment = laptop.home().join(".warpdrive/warpdrive+my app");
        let source = laptop.source().canonicalize().unwrap();
        let expected = format!(
            "status 1\nstatus 0\n<my app>\n<{0}>\n<{1}>\nprefix {0}\n\
             [a  b][][*][$HOME][two\nlines]\nstatus 42\nstatus 1\n1\nstatus 0\nstatus 0 other\n\
             status 0\nleft  \nsame path\nstatus 1\nstatus 0\nstatus 1\n",
            environment.display(),
            source.display(),
        );
        assert_eq!(stdout(&output), expected, "{shell}: {}", words(&output));
        let errors = String::from_utf8_lossy(&output.stderr);
        for line in [
            "there is no project 'nonesuch'",
            "warpdrive project --create 'nonesuch'",
            "Initializing warpdrive project 'my app'.",
            "Switching to warpdrive project 'my app'.",
            "the project 'my app' is active",
            "Removed warpdrive project 'my app'.",
        ] {
            assert!(errors.contains(line), "{shell}: {line}: {errors}");
        }
        assert!(!environment.exists());
    }
}

/// BUG of the original: `eval $(warpdrive env)` lost newlines; here in every shell.
#[test]
fn the_environment_survives_every_shell() {
    let laptop = Laptop::new();
    laptop.project("p");
    laptop.file(
        ".warpdrive/environment",
        "A='one\ntwo  three \\ \\\\'\nB=\"it's \\$HOME * \\\"\"\n",
    );
    for (shell, prepare) in [
        ("/bin/bash", "eval \"$(warpdrive env)\""),
        ("/bin/zsh", "eval \"$(warpdrive env)\""),
        ("/bin/sh", "eval \"$(warpdrive env)\""),
        ("/usr/bin/fish", "warpdrive env --shell fish | source"),
    ] {
        let source = if shell.ends_with("fish") {
            format!("'{TOOL}' rcfile fish | source")
        } else {
            format!("eval \"$('{TOOL}' rcfile bash)\"")
        };
        let script =
            format!("{source}\nwarpdrive project p\n{prepare}\nprintf '%s|%s' \"$A\" \"$B\"");
        let output = laptop
            .command(shell)
            .args(["-c", &script])
            .output()
            .unwrap();
        let expected = "one\ntwo  three \\ \\\\|it's $HOME * \"";
        assert_eq!(stdout(&output), expected, "{shell}: {}", words(&output));
    }
}

#[test]
fn a_project_that_is_no_environment_is_not_removed() {
    let laptop = Laptop::new();
    let directory = laptop.home().join(".warpdrive/warpdrive+photos");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("1.jpg"), "x").unwrap();
    let output = laptop.tool(&["destroy", "photos"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert!(directory.join("1.jpg").exists());
    for name in ["../x", "$(id)", "", "a'b"] {
        let output = laptop
            .tool(&["project", "--create", name])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {}", words(&output));
    }
    let output = laptop
        .tool(&["project", "--create", "--python", "python9.9", "x"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        words(&output).contains("--python PYTHON"),
        "{}",
        words(&output)
    );
}

impl Laptop {
    /// The tool in a project's environment.
    fn in_project(&self, environment: &std::path::Path, arguments: &[&str]) -> Command {
        let mut command = self.tool(arguments);
        command
            .env("WARPDRIVE_APP_ROOT", environment)
            .env("WARPDRIVE_SRC_ROOT", self.source());
        for name in [
            "PIP_INDEX_URL",
            "PIP_TRUSTED_HOST",
            "SSL_CERT_FILE",
            "HTTPS_PROXY",
            "https_proxy",
        ] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }
}

const APPLICATION: &str = "import itsdangerous\n\n\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'hello']\n";

/// `wheels`, then a build that asks no index; with the hook `install`, the old name of `pre-build`.
/// BUG of the original: `build` ran `pre-build`, `wheels` ran `install`.
#[test]
fn a_wheelhouse_is_all_that_a_build_needs() {
    let laptop = Laptop::new();
    let environment = laptop.project("p");
    laptop.file("requirements.txt", "itsdangerous==2.2.0\n");
    laptop.file("wsgi.py", APPLICATION);
    let hook = "#!/bin/sh\necho \"$WARPDRIVE_ACTION in $WARPDRIVE_PHASE\" >> hooks.log\n";
    laptop.program(".warpdrive/action_hooks/install", hook);
    let output = laptop
        .in_project(&environment, &["wheels"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let wheelhouse = laptop.source().join(".warpdrive/wheelhouse");
    let names: Vec<String> = fs::read_dir(&wheelhouse)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    for expected in ["itsdangerous-2.2.0-", "gunicorn-"] {
        assert!(
            names.iter().any(|name| name.starts_with(expected)),
            "{names:?}"
        );
    }
    let build = || {
        let mut command = laptop.in_project(&environment, &["build"]);
        command
            .env("WARPDRIVE_PIP_NO_INDEX", "1")
            // Whoever asks an index all the same gets no answer.
            .env("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
            .env("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple");
        command.output().unwrap()
    };
    let output = build();
    assert!(output.status.success(), "{}", words(&output));
    let line = laptop
        .in_project(&environment, &["start", "--dry-run"])
        .output()
        .unwrap();
    assert!(stdout(&line).starts_with("gunicorn "), "{}", words(&line));
    let log = || fs::read_to_string(laptop.source().join("hooks.log")).unwrap();
    assert_eq!(log(), "install in build\ninstall in build\n");
    // With both names there the new one is run, in both commands.
    laptop.program(".warpdrive/action_hooks/pre-build", hook);
    let output = build();
    assert!(
        words(&output).contains("it is the old name of pre-build"),
        "{}",
        words(&output)
    );
    assert!(
        log().ends_with("install in build\npre-build in build\n"),
        "{}",
        log()
    );
    // A failure of the hook is the command's.
    laptop.program(".warpdrive/action_hooks/pre-build", "#!/bin/sh\nexit 7\n");
    for command in ["wheels", "build"] {
        let output = laptop
            .in_project(&environment, &[command])
            .output()
            .unwrap();
        assert_eq!(
            output.status.code(),
            Some(7),
            "{command}: {}",
            words(&output)
        );
    }
}

/// Compares, for each table, what the validator says of the schema with what the tool says.
const AGREEMENT: &str = r#"
import json, pathlib, subprocess, sys, tempfile, tomllib
import jsonschema
tool = sys.argv[1]
schema = json.loads(subprocess.check_output([tool, 'settings', '--schema']))
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
cases = [
    ('', True), ('server_type = "gunicorn"', True), ('server-type = "mod-wsgi"', True),
    ('server_type = "gunicron"', False), ('server_type = "Gunicorn"', False), ('server_type = 3', False),
    ('sevrer_type = "gunicorn"', False), ('deploy_mode = "jupyter"', True), ('deploy_mode = ""', False),
    ('home = "web"', True), ('home = ["web"]', False), ('collectstatic = false', True),
    ('collectstatic = "off"', True), ('collectstatic = "maybe"', False), ('collectstatic = 0', False),
    ('requirements = "a.txt b.txt"', True), ('requirements = ["a.txt"]', True), ('requirements = [1]', False),
    ('requirements = {}', False), ('instrument = "opentelemetry"', True),
    ('instrument = "autowrapt:one, two three"', True), ('instrument = "autowrapt:"', False),
    ('instrument = "opentelemtry"', False), ('instrument = true', False), ('instrument = ""', True),
    ('server_args = "--threads 2"', True), ('server_args = {gunicorn = "-w 2", mod-wsgi = "x"}', True),
    ('server_args = {gunicron = "-w 2"}', False), ('server_args = {gunicorn = 2}', False),
    ('environment = {A = "1"}', True), ('environment = {1A = "1"}', False), ('environment = {A = 1}', False),
    ('environment = "A=1"', False), ('installer = "pip"', True), ('installer = "conda"', False),
]
for text, expected in cases:
    table = tomllib.loads(text)
    by_schema = validator.is_valid(table)
    with tempfile.TemporaryDirectory() as place:
        head, _, rest = text.partition(' = {')
        pathlib.Path(place, 'pyproject.toml').write_text('[tool.warpdrive]\n' + text + '\n')
        ended = subprocess.run([tool, 'settings', '--json'], cwd=place, capture_output=True, text=True, env={})
    by_tool = ended.returncode == 0
    assert by_schema == by_tool == expected, (text, by_schema, by_tool, ended.stderr)
print(len(cases), 'cases')
"#;

#[test]
fn the_schema_is_one_and_agrees_with_the_tool() {
    let laptop = Laptop::new();
    let environment = laptop.project("p");
    let pip = laptop
        .in_project(
            &environment,
            &[
                "exec",
                "python",
                "-m",
                "pip",
                "install",
                "--quiet",
                "jsonschema",
            ],
        )
        .output()
        .unwrap();
    assert!(pip.status.success(), "{}", words(&pip));
    let output = laptop
        .in_project(&environment, &["exec", "python", "-c", AGREEMENT, TOOL])
        .output()
        .unwrap();
    assert_eq!(stdout(&output), "35 cases\n", "{}", words(&output));
}

/// The command line comes first (for `start`, that is `-e` of whoever runs the container), then the
/// environment, then the files, then `pyproject.toml`, then the default; and each value says so.
#[test]
fn settings_say_where_they_come_from() {
    let laptop = Laptop::new();
    laptop.file(
        "pyproject.toml",
        "[tool.warpdrive]\nserver_type = 'waitress'\nhome = 'web'\npython_file = 'toml.py'\n",
    );
    laptop.file(
        ".warpdrive/environment",
        "WARPDRIVE_PYTHON_FILE=file.py\nWARPDRIVE_SHELL_FILE=file.sh\n",
    );
    laptop.file(".warpdrive/server_type", "uwsgi\n");
    laptop.file(".warpdrive/shell_file", "own.sh\n");
    let settings = |variables: &[(&str, &str)]| -> serde_json::Value {
        let output = laptop
            .tool(&["settings", "--json"])
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", words(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let found = settings(&[]);
    for (name, value, origin) in [
        ("server_type", "uwsgi", "file: .warpdrive/server_type"),
        ("home", "web", "file: pyproject.toml [tool.warpdrive]"),
        ("python_file", "file.py", "file: .warpdrive/environment"),
        ("shell_file", "own.sh", "file: .warpdrive/shell_file"),
        ("installer", "uv", "default"),
    ] {
        assert_eq!(found[name]["value"], value, "{name}");
        assert_eq!(found[name]["origin"], origin, "{name}");
    }
    let found = settings(&[
        ("WARPDRIVE_SERVER_TYPE", "gunicorn"),
        ("WARPDRIVE_PYTHON_FILE", ""),
    ]);
    assert_eq!(found["server_type"]["value"], "gunicorn");
    assert_eq!(
        found["server_type"]["origin"],
        "environment: WARPDRIVE_SERVER_TYPE"
    );
    assert_eq!(
        found["python_file"]["value"], "file.py",
        "an empty variable says nothing"
    );
    let output = laptop
        .tool(&["settings", "--set", "server-type=daphne"])
        .env("WARPDRIVE_SERVER_TYPE", "gunicorn")
        .output()
        .unwrap();
    assert!(
        stdout(&output).contains("server_type = daphne  # command line\n"),
        "{}",
        words(&output)
    );
    for command in ["settings", "build"] {
        let environment = laptop.home();
        let output = laptop
            .in_project(&environment, &[command, "--set", "sevrer_type=daphne"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", words(&output));
        assert!(words(&output).contains("did you mean `server_type`?"));
    }
    laptop.file(".warpdrive/server_type", "gunicron\n");
    let output = laptop.tool(&["settings"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        words(&output).contains("did you mean `gunicorn`?"),
        "{}",
        words(&output)
    );
}
