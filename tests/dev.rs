//! `warpdrive dev` with real servers: a file is saved, and the application answers with it. Nothing is
//! left when it has ended.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::http;
use crate::support::process::{self, words};
use crate::support::s2i_builders::Builder;
use crate::support::source_tree::tree;
use crate::support::users::User;
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive, copy_of, example};
use crate::support::websocket::WebSocket;

/// For what is built first.
const BUILT: Duration = Duration::from_mins(5);
/// For a change that is loaded: far above what is aimed at, because this machine does other things, too.
const LOADED: Duration = Duration::from_secs(30);

/// As long a request waits for a server that is being started.
const PATIENCE: Duration = Duration::from_secs(3);

struct Dev<'w> {
    warpdrive: &'w Warpdrive,
    child: Child,
    port: u16,
    source: PathBuf,
    log: PathBuf,
    /// Requests that got no answer, and did not wait for one as long as they should.
    refused: u32,
}

impl<'w> Dev<'w> {
    fn start(warpdrive: &'w Warpdrive, source: &Path, more: &[&str]) -> Self {
        let log = warpdrive.place().join("dev.log");
        Self::start_with_log(warpdrive, source, log, more)
    }

    fn start_with_log(
        warpdrive: &'w Warpdrive,
        source: &Path,
        log: PathBuf,
        more: &[&str],
    ) -> Self {
        let port = http::free_port();
        let publish = format!("{port}:8080");
        let path = source.display().to_string();
        let mut words = vec!["dev", "shop", "--path", &path, "-p", &publish];
        words.extend_from_slice(more);
        let file = fs::File::create(&log).unwrap();
        let child = warpdrive
            .command(&words)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self {
            warpdrive,
            child,
            port,
            source: source.to_owned(),
            log,
            refused: 0,
        }
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until this path answers with this text; gives how long it took.
    fn answers(&mut self, path: &str, text: &str, within: Duration) -> Duration {
        let begun = Instant::now();
        let port = self.port;
        let found = process::poll(within, || {
            assert!(self.child.try_wait().unwrap().is_none(), "{}", self.said());
            let asked = Instant::now();
            let Ok(response) = http::get(port, path) else {
                if asked.elapsed() < PATIENCE {
                    self.refused += 1;
                }
                return None;
            };
            (response.text().contains(text)).then_some(())
        });
        assert!(found.is_some(), "{path} never says {text}: {}", self.said());
        begun.elapsed()
    }

    fn says(&mut self, text: &str) {
        let found = process::poll(LOADED, || self.said().contains(text).then_some(()));
        assert!(found.is_some(), "{text}: {}", self.said());
    }

    /// As Ctrl-C does it.
    fn end(mut self) {
        // As a terminal does it: to the program, not to what has put it into a user's namespaces.
        let source = self.source.as_os_str().as_encoded_bytes();
        for entry in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
            let words = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let program = words.split(|byte| *byte == 0).next().unwrap_or_default();
            let is_ours = program.ends_with(b"/warpdrive")
                && words.split(|byte| *byte == 0).any(|word| word == source);
            let name = entry.file_name();
            if let Some(pid) = name
                .to_str()
                .and_then(|name| name.parse().ok())
                .filter(|_| is_ours)
            {
                let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::INT);
            }
        }
        let ended = process::poll(LOADED, || self.child.try_wait().unwrap());
        assert!(
            ended.is_some_and(|status| status.success()),
            "{ended:?}: {}",
            self.said()
        );
        assert!(http::get(self.port, "/").is_err());
        let listed = self.warpdrive.run(&["ps"]);
        assert!(!listed.contains("shop"), "{listed}");
        self.warpdrive.leaves_nothing();
    }
}

impl Drop for Dev<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the test measures, where it is asked for.
#[expect(clippy::print_stderr, reason = "shown by --no-capture")]
fn measured(server: &str, took: Duration) {
    eprintln!(
        "measured: {server}: {} ms from save to answer",
        took.as_millis()
    );
}

fn flask(word: &str) -> String {
    format!(
        "from flask import Flask\napp = Flask(__name__)\n@app.get('/')\ndef home():\n    return '{word}'\n\
         @app.get('/write')\ndef write():\n    open('written.log', 'w').write('x')\n    return 'wrote'\n\
         @app.get('/repository')\ndef repository():\n    try:\n        open('.git/config', 'a').write('x')\n    \
         except OSError as error:\n        return error.strerror\n    return 'wrote'\n"
    )
}

#[test]
fn gunicorn_loads_what_is_saved_and_builds_what_is_required() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tree(&[
        ("requirements.txt", "flask\ngunicorn\n"),
        ("app.py", &flask("one")),
        ("static/site.css", "a { color: red }"),
    ]);
    let save = |path: &str, text: &str| fs::write(source.path().join(path), text).unwrap();
    let mut dev = Dev::start(&warpdrive, source.path(), &[]);
    dev.answers("/", "one", BUILT);
    for round in 0..3 {
        let word = format!("round {round}");
        save("app.py", &flask(&word));
        let took = dev.answers("/", &word, LOADED);
        measured("gunicorn", took);
    }
    // Static files come from the source.
    save("static/site.css", "a { color: green }");
    dev.answers("/static/site.css", "green", LOADED);
    // The application writes, and its file is the owner's.
    dev.answers("/write", "wrote", LOADED);
    let owner = |path: &str| fs::metadata(source.path().join(path)).unwrap().uid();
    assert_eq!(owner("written.log"), owner("app.py"));
    // A mistake ends the server, and the next save starts it again.
    save("app.py", "def broken(:\n");
    dev.says("the next change starts it again");
    save("app.py", &flask("mended"));
    dev.answers("/", "mended", LOADED);
    // What is not installed is installed when it is required.
    let with = flask("two").replace(
        "return 'two'",
        "import itsdangerous, six; return 'six ' + six.__version__",
    );
    save("requirements.txt", "flask\ngunicorn\nsix==1.16.0\n");
    save("app.py", &with);
    dev.answers("/", "six 1.16.0", BUILT);
    // So are settings: another server.
    fs::create_dir_all(source.path().join(".warpdrive")).unwrap();
    save(".warpdrive/server_args", "--threads 3 --name renamed\n");
    let found = process::poll(BUILT, || {
        (dev.said()
            .matches("Building application from source")
            .count()
            >= 3)
            .then_some(())
    });
    assert!(found.is_some(), "{}", dev.said());
    dev.answers("/", "six", BUILT);
    dev.end();
    assert!(!source.path().join("__pycache__").exists());
}

/// `warpdrive dev >dev.log` in the directory of the application.
#[test]
fn what_it_says_may_go_to_a_file_of_the_source() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tree(&[
        ("requirements.txt", "flask\ngunicorn\n"),
        ("app.py", &flask("one")),
    ]);
    let save = |path: &str, text: &str| fs::write(source.path().join(path), text).unwrap();
    let log = source.path().join("dev.log");
    // Each way of the build looks at the source anew.
    for (more, first, word) in [(&[][..], "one", "two"), (&["--watch"], "two", "three")] {
        let mut dev = Dev::start_with_log(&warpdrive, source.path(), log.clone(), more);
        dev.answers("/", first, BUILT);
        save("requirements.txt", &format!("flask\ngunicorn\n# {word}\n"));
        save("app.py", &flask(word));
        dev.answers("/", word, BUILT);
        let said = dev.said();
        assert!(!said.contains("error: "), "{said}");
        dev.end();
    }
    let listed = warpdrive.run(&["run", "--rm", "shop:dev", "--", "ls"]);
    assert!(
        listed.contains("app.py") && !listed.contains("dev.log"),
        "{listed}"
    );
}

/// It says whether its packages were there before it was loaded, and notes when it ends.
fn fastapi(word: &str) -> String {
    format!(
        "import sys
warm = 'warm' if 'fastapi' in sys.modules else 'cold'
from contextlib import asynccontextmanager
from fastapi import FastAPI
@asynccontextmanager
async def lifespan(app):
    yield
    open('ended.log', 'a').write('{word} ended\\n')
app = FastAPI(lifespan=lifespan)
@app.get('/')
def home():
    return '{word}, ' + warm
"
    )
}

#[test]
fn uvicorn_loads_what_is_saved_with_its_packages_in_memory() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = copy_of(&example("fastapi"), false);
    let main = source.path().join("main.py");
    let ended = source.path().join("ended.log");
    fs::write(&main, fastapi("one")).unwrap();
    // Long enough for the old server to end in order on a loaded machine.
    let grace = ["-e", "WARPDRIVE_DEV_GRACE=600"];
    let mut dev = Dev::start(&warpdrive, source.path(), &grace);
    dev.answers("/", "one, cold", BUILT);
    dev.says("The packages are kept in memory");
    dev.refused = 0;
    for word in ["two", "three", "four"] {
        fs::write(&main, fastapi(word)).unwrap();
        let took = dev.answers("/", &format!("{word}, warm"), LOADED);
        measured("uvicorn", took);
    }
    // Requests wait for the new server. One that the old server had queued is cut with it: at most one for each
    // change, because they come one after the other.
    assert!(dev.refused <= 3, "{}: {}", dev.refused, dev.said());
    // Each has ended in order, before the next one answered.
    let lines = fs::read_to_string(&ended).unwrap();
    assert_eq!(lines, "one ended\ntwo ended\nthree ended\n");
    // A module that is not there ends it, and the next save starts it again.
    fs::write(&main, "import does_not_exist\n").unwrap();
    dev.says("the next change starts it again");
    fs::write(&main, fastapi("five")).unwrap();
    dev.answers("/", "five, warm", LOADED);
    dev.end();
}

/// It is not waited for longer than is said.
#[test]
fn a_server_that_does_not_end_is_ended() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = copy_of(&example("fastapi"), false);
    let main = source.path().join("main.py");
    let code = |word: &str| {
        fastapi(word).replace(
            "    open('ended.log'",
            "    import asyncio; await asyncio.sleep(3600)\n    open('ended.log'",
        )
    };
    fs::write(&main, code("one")).unwrap();
    let mut dev = Dev::start(&warpdrive, source.path(), &[]);
    dev.answers("/", "one, cold", BUILT);
    fs::write(&main, code("two")).unwrap();
    dev.answers("/", "two", LOADED);
    assert!(!source.path().join("ended.log").exists());
    // The server is not ended in order at the end either.
    dev.end();
    assert!(!source.path().join("ended.log").exists());
}

/// A page that is open in a browser shows what was saved, in the file itself and in a module beside it.
#[test]
fn streamlit_runs_the_page_again() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let page =
        |word: &str| format!("import streamlit as st, beside\nst.write('{word} ' + beside.word)\n");
    let beside = |word: &str| format!("word = '{word}'\n");
    let source = tree(&[
        ("requirements.txt", "streamlit\n"),
        ("streamlit_app.py", &page("one")),
        ("beside.py", &beside("left")),
    ]);
    let save = |path: &str, text: &str| fs::write(source.path().join(path), text).unwrap();
    let mut dev = Dev::start(&warpdrive, source.path(), &[]);
    dev.answers("/_stcore/health", "ok", BUILT);
    // Streamlit itself names the port of the container.
    let address = format!(" at http://127.0.0.1:{}; when code changes", dev.port);
    assert!(dev.said().contains(&address), "{}", dev.said());
    // `BackMsg { rerun_script: ClientState {} }`: what a browser asks first.
    let ask = [0x5a, 0];
    let mut browser = WebSocket::open(dev.port, "/_stcore/stream");
    browser.send(&ask);
    browser.says("one left", LOADED);
    for word in ["two", "three"] {
        save("streamlit_app.py", &page(word));
        let took = browser.says(&format!("{word} left"), LOADED);
        measured("Streamlit", took);
    }
    save("beside.py", &beside("right"));
    browser.says("three right", LOADED);
    // A mistake is shown where the page was, and the server goes on.
    save("streamlit_app.py", "def broken(:\n");
    browser.says("SyntaxError", LOADED);
    save("streamlit_app.py", &page("mended"));
    browser.says("mended right", LOADED);
    // Its settings are read at its start.
    fs::create_dir(source.path().join(".streamlit")).unwrap();
    save(
        ".streamlit/config.toml",
        "[client]\nshowErrorDetails = false\n",
    );
    browser.ends(LOADED);
    dev.answers("/_stcore/health", "ok", LOADED);
    let mut browser = WebSocket::open(dev.port, "/_stcore/stream");
    browser.send(&ask);
    browser.says("mended right", LOADED);
    assert!(!dev.said().contains("external IP"), "{}", dev.said());
    dev.end();
}

#[test]
fn packages_are_not_kept_in_memory_where_the_caller_does_not_want_it() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = copy_of(&example("fastapi"), false);
    let main = source.path().join("main.py");
    fs::write(&main, fastapi("one")).unwrap();
    let mut dev = Dev::start(
        &warpdrive,
        source.path(),
        &["-e", "WARPDRIVE_DEV_PRELOAD=0"],
    );
    dev.answers("/", "one, cold", BUILT);
    for word in ["two", "three"] {
        fs::write(&main, fastapi(word)).unwrap();
        dev.answers("/", &format!("{word}, cold"), LOADED);
    }
    dev.end();
}

#[test]
fn the_other_servers_load_what_is_saved() {
    let asgi = |word: &str| {
        format!(
            "from fastapi import FastAPI\napp = FastAPI()\n@app.get('/')\ndef home():\n    return '{word}'\n"
        )
    };
    for (server, packages) in [
        ("hypercorn", "fastapi\nhypercorn\n"),
        ("daphne", "fastapi\ndaphne\n"),
        ("waitress", "flask\nwaitress\n"),
        ("uwsgi", "flask\npyuwsgi\n"),
    ] {
        let warpdrive = Warpdrive::with(PYTHON_311_RUN);
        let code = |word: &str| {
            if packages.starts_with("fastapi") {
                asgi(word)
            } else {
                flask(word)
            }
        };
        let source = tree(&[
            ("requirements.txt", packages),
            (".warpdrive/server_type", server),
            ("app.py", &code("one")),
        ]);
        let mut dev = Dev::start(&warpdrive, source.path(), &[]);
        dev.answers("/", "one", BUILT);
        for word in ["two", "three", "four"] {
            fs::write(source.path().join("app.py"), code(word)).unwrap();
            let took = dev.answers("/", word, LOADED);
            measured(server, took);
        }
        dev.end();
    }
}

/// What warpdrive knows nothing of is ended and started: each time, and none that it has just started.
#[test]
fn a_program_of_its_own_is_started_again() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tree(&[
        ("requirements.txt", "flask\ngunicorn\n"),
        ("app.py", &flask("one")),
        (
            "app.sh",
            "#!/bin/sh\nexec gunicorn --bind 0.0.0.0:8080 app:app\n",
        ),
    ]);
    let script = source.path().join("app.sh");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut dev = Dev::start(&warpdrive, source.path(), &[]);
    dev.answers("/", "one", BUILT);
    for word in ["two", "three", "four", "five"] {
        fs::write(source.path().join("app.py"), flask(word)).unwrap();
        dev.answers("/", word, LOADED);
    }
    assert!(!dev.said().contains("the next change"), "{}", dev.said());
    dev.end();
}

#[test]
fn an_image_of_a_foreign_builder_is_built_again() {
    let warpdrive = Warpdrive::new();
    Builder::new()
        .script(
            "assemble",
            "#!/bin/sh\nset -e\ncp -R /tmp/src/. /opt/app/\n",
        )
        .script(
            "run",
            "#!/bin/sh\ntrap 'exit 0' TERM INT\necho \"it says $(cat /opt/app/words.txt)\"\n\
             while :; do sleep 0.1; done\n",
        )
        .put(&warpdrive.store(), "box");
    let source = tree(&[("words.txt", "one")]);
    let mut dev = Dev::start(&warpdrive, source.path(), &["--watch", "--builder", "box"]);
    dev.says("it says one");
    for word in ["two", "three"] {
        fs::write(source.path().join("words.txt"), word).unwrap();
        dev.says(&format!("it says {word}"));
    }
    dev.end();
    // Without `--watch`, the error says that the way of reloading is unknown.
    let path = source.path().display().to_string();
    let refused = warpdrive.output(&["dev", "shop", "--builder", "box", "--path", &path]);
    let said = words(&refused);
    assert!(!refused.status.success(), "{said}");
    assert!(
        said.contains("with `--watch` it is built and started again"),
        "{said}"
    );
}

#[test]
fn django_loads_what_is_saved_with_static_files_of_the_source() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = copy_of(&example("django"), false);
    let urls = source.path().join("mysite/urls.py");
    let before = fs::read_to_string(&urls).unwrap();
    let code = |word: &str| {
        format!(
            "{before}\nfrom django.http import HttpResponse\nurlpatterns.append(path('said/', lambda request: HttpResponse('{word}')))\n"
        )
    };
    fs::write(&urls, code("one")).unwrap();
    let mut dev = Dev::start(
        &warpdrive,
        source.path(),
        &["-e", "DJANGO_SECRET_KEY=x", "-e", "DJANGO_ALLOWED_HOSTS=*"],
    );
    dev.answers("/said/", "one", BUILT);
    for word in ["two", "three", "four"] {
        fs::write(&urls, code(word)).unwrap();
        let took = dev.answers("/said/", word, LOADED);
        measured("Django", took);
    }
    let own = source.path().join("guestbook/static/guestbook");
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("new.css"), "of the source").unwrap();
    dev.answers("/static/guestbook/new.css", "of the source", LOADED);
    dev.end();
}

/// The user's files, and nothing that only root could remove.
#[test]
fn what_an_ordinary_users_application_writes_is_the_users() {
    for user in [User::with_subids(), User::single_id()] {
        let warpdrive = Warpdrive::as_user(user, PYTHON_311_RUN);
        let plain = tree(&[
            ("requirements.txt", "flask\ngranian\n"),
            ("app.py", &flask("one")),
            (".git/config", ""),
        ]);
        let source = warpdrive.give(plain.path(), "source");
        let mut dev = Dev::start(&warpdrive, &source, &[]);
        dev.answers("/", "one", BUILT);
        dev.answers("/write", "wrote", LOADED);
        // What the machine's own git would run.
        dev.answers("/repository", "Read-only file system", LOADED);
        let owner = |path: &str| fs::metadata(source.join(path)).unwrap().uid();
        assert_eq!(owner("written.log"), owner("app.py"));
        fs::write(source.join("app.py"), flask("two")).unwrap();
        let took = dev.answers("/", "two", LOADED);
        measured("granian", took);
        dev.end();
    }
}
