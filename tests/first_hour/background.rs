//! `run -d` of an application: it answers, or it is said why not; and a stop while workers start.

use std::time::Duration;

use super::tree;
use crate::support::http;
use crate::support::process::{self, words};
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive};

const REQUIREMENTS: (&str, &str) = ("requirements.txt", "flask\ngunicorn\n");

/// The arguments of `run -d` with a free port.
fn run<'a>(image: &'a str, name: &'a str, publish: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [
        &[
            "run",
            image,
            "-d",
            "--name",
            name,
            "-p",
            publish,
            "--read-only",
        ],
        more,
    ]
    .concat()
}

#[test]
fn run_in_the_background_comes_back_when_the_application_answers() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tree(&[
        REQUIREMENTS,
        (
            "app.py",
            "import os, time\nif os.environ.get('WARPDRIVE_PHASE') != 'build':\n    time.sleep(2)\nfrom flask import Flask\napp = Flask(__name__)\n@app.get('/')\ndef home():\n    return 'pong'\n",
        ),
    ]);
    warpdrive.image("slow", source.path(), &[]);
    let port = http::free_port();
    let publish = format!("{port}:8080");
    warpdrive.run(&run("slow", "web", &publish, &[]));
    // The first request after it: no second attempt.
    assert_eq!(http::get(port, "/").unwrap().text(), "pong");
    assert!(warpdrive.run(&["ps"]).contains("web"));
    assert!(warpdrive.run(&["ps", "-a"]).contains("web"));
    assert!(words(&warpdrive.output(&["logs", "web"])).contains("Listening at"));

    // The same container again, with another port of this machine for a free one.
    warpdrive.run(&["stop", "web"]);
    warpdrive.run(&["container", "start", "web"]);
    assert_eq!(http::get(port, "/").unwrap().text(), "pong");
    warpdrive.run(&["container", "restart", "web"]);
    assert_eq!(http::get(port, "/").unwrap().text(), "pong");
    let inspected = warpdrive.run(&["container", "inspect", "web"]);
    assert!(
        inspected.contains("slow") && inspected.contains("running"),
        "{inspected}"
    );
    warpdrive.run(&["container", "rm", "-f", "web"]);

    // `--no-wait` returns at once.
    warpdrive.run(&run("slow", "web", &publish, &["--no-wait"]));
    assert!(
        http::get(port, "/").is_err(),
        "it takes two seconds to start"
    );
    // After the time of `--wait` a warning says so; the container runs on.
    warpdrive.run(&["container", "rm", "-f", "web"]);
    let output = warpdrive.output(&run("slow", "web", &publish, &["--wait", "1s"]));
    let said = words(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("does not answer on its port 8080 after 1 s"),
        "{said}"
    );
    assert!(warpdrive.run(&["ps", "--running"]).contains("web"));
    warpdrive.run(&["container", "rm", "-f", "web"]);
}

#[test]
fn an_application_that_listens_elsewhere_is_told_where() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tree(&[(
        "app.py",
        "import http.server\nif __name__ == '__main__':\n    http.server.HTTPServer(('0.0.0.0', 5050), http.server.SimpleHTTPRequestHandler).serve_forever()\n",
    )]);
    warpdrive.image("elsewhere", source.path(), &["--no-smoke"]);
    let output = warpdrive.output(&run("elsewhere", "web", "0:8080", &["--wait", "5s"]));
    let said = words(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("it listens on 5050 instead") && said.contains("PORT=5050"),
        "{said}"
    );
    warpdrive.run(&["container", "rm", "-f", "web"]);
}

#[test]
fn a_crash_at_start_is_told_once_with_its_cause() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tree(&[
        REQUIREMENTS,
        (
            "app.py",
            "import os\nfrom flask import Flask\napp = Flask(__name__)\nif os.environ.get('WARPDRIVE_PHASE') != 'build':\n    app.config['X'] = os.environ['DATABASE_HOST']\n",
        ),
    ]);
    warpdrive.image("crash", source.path(), &["--no-smoke"]);
    let output = warpdrive.output(&run("crash", "web", "0:8080", &[]));
    let said = words(&output);
    // Not gunicorn's 3, which is there only if it gives up before five of its workers have been seen to end.
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("DATABASE_HOST"), "{said}");
    assert!(said.contains("warpdrive run -e DATABASE_HOST="), "{said}");
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
    assert!(said.lines().count() < 35, "{said}");
    assert!(said.contains("warpdrive logs web"), "{said}");
    warpdrive.run(&["container", "prune"]);
    let output = warpdrive.output(&["run", "--rm", "crash"]);
    let said = words(&output);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("DATABASE_HOST") && said.contains("tracebacks left out"),
        "{said}"
    );
    assert!(!said.contains("Traceback (most recent"), "{said}");
    assert!(said.lines().count() < 70, "{said}");
    assert!(!warpdrive.run(&["ps"]).contains("web"));
}

/// Granian replaces a worker that ends, again and again.
#[test]
fn workers_that_crash_in_a_loop_count_as_dead() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tree(&[
        ("requirements.txt", "flask\ngranian\n"),
        (".warpdrive/server_type", "granian\n"),
        (
            "app.py",
            "import os\nfrom flask import Flask\napp = Flask(__name__)\nif os.environ.get('WARPDRIVE_PHASE') != 'build':\n    os.environ['DATABASE_HOST']\n",
        ),
    ]);
    warpdrive.image("loop", source.path(), &["--no-smoke"]);
    let output = warpdrive.output(&run("loop", "web", "0:8080", &[]));
    let said = words(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("DATABASE_HOST"), "{said}");
    assert_eq!(said.matches("error: ").count(), 1, "{said}");
    assert!(!warpdrive.run(&["ps", "--running"]).contains("web"));
    warpdrive.run(&["container", "rm", "-f", "web"]);
}

/// A worker that has only just been forked has the handlers of its parent, and loses what it is told.
#[test]
fn gunicorn_that_is_told_to_stop_while_its_workers_start_ends_within_its_grace() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = tree(&[
        REQUIREMENTS,
        (
            "gunicorn.conf.py",
            "import time\nworkers = 2\ndef post_fork(server, worker):\n    print('booting', flush=True)\n    time.sleep(3)\n",
        ),
        ("app.py", "from flask import Flask\napp = Flask(__name__)\n"),
    ]);
    warpdrive.image("booting", source.path(), &["--no-smoke"]);
    let more = ["--no-wait", "-e", "WARPDRIVE_GRACEFUL_TIMEOUT=60"];
    warpdrive.run(&run("booting", "web", "0:8080", &more));
    let logs = || words(&warpdrive.output(&["logs", "web"]));
    let booting = process::poll(Duration::from_mins(1), || {
        logs().contains("booting").then_some(())
    });
    assert!(booting.is_some(), "{}", logs());
    warpdrive.run(&["stop", "-t", "40", "web"]);
    // What is killed at the end of its grace has another status.
    let ended = warpdrive.run(&["ps"]);
    assert!(ended.contains("exited(0)"), "{ended}\n{}", logs());
    warpdrive.run(&["container", "rm", "web"]);
}
