//! A repository of notebooks becomes an image with Jupyter: who may come in, that a cell runs, and
//! that nothing of it needs a writable root or a uid of its own.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::time::Duration;

use crate::support::http::{self, Response};
use crate::support::process;
use crate::support::run::OPENSHIFT_USER;
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive, copy_of, example};

const TOKEN: &str = "a-token-of-this-test";
const PASSWORD: &str = "a password's \"words\"";

/// A container that goes when the test ends.
struct Container<'a> {
    warpdrive: &'a Warpdrive,
    name: &'static str,
    port: u16,
}

impl<'a> Container<'a> {
    fn start(warpdrive: &'a Warpdrive, name: &'static str, image: &str, env: &[&str]) -> Self {
        let port = http::free_port();
        let own = format!("PORT={port}");
        let mut arguments = vec!["run", "--detach", "--read-only", "--network", "host"];
        arguments.extend(["--user", OPENSHIFT_USER, "--name", name, "--env", &own]);
        for pair in env {
            arguments.extend(["--env", pair]);
        }
        arguments.push(image);
        warpdrive.run(&arguments);
        let this = Self {
            warpdrive,
            name,
            port,
        };
        http::wait_until_serving(port, Duration::from_mins(1));
        this
    }

    fn get(&self, path: &str, token: Option<&str>) -> Response {
        let header = token.map(|token| format!("token {token}"));
        let headers: Vec<(&str, &str)> = header
            .iter()
            .map(|value| ("Authorization", value.as_str()))
            .collect();
        http::request("GET", self.port, path, &headers).unwrap()
    }

    fn exec(&self, command: &[&str]) -> String {
        let mut arguments = vec!["container", "exec", self.name];
        arguments.extend_from_slice(command);
        self.warpdrive.run(&arguments)
    }

    fn logs(&self) -> String {
        process::words(&self.warpdrive.output(&["container", "logs", self.name]))
    }

    /// The command lines of all processes.
    fn processes(&self) -> String {
        self.exec(&["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"])
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self
            .warpdrive
            .output(&["container", "rm", "--force", self.name]);
    }
}

/// Starts a kernel by the API and runs a cell in it, as a browser does.
const CELL: &str = r#"
import json, sys, uuid
import requests, websocket
port, token = sys.argv[1:]
base = f'127.0.0.1:{port}/api/kernels'
headers = {'Authorization': f'token {token}'}
kernel = requests.post(f'http://{base}', headers=headers).json()['id']
socket = websocket.create_connection(f'ws://{base}/{kernel}/channels', header=headers, timeout=60)
message = uuid.uuid4().hex
code = 'import os; print(6 * 7, os.getuid()); print(os.listdir().count("logistic-map.ipynb"))'
socket.send(json.dumps({
    'channel': 'shell', 'header': {'msg_id': message, 'msg_type': 'execute_request', 'session': 's',
    'username': '', 'version': '5.3', 'date': ''}, 'parent_header': {}, 'metadata': {},
    'content': {'code': code, 'silent': False, 'store_history': False, 'user_expressions': {},
    'allow_stdin': False}}))
text = ''
while True:
    answer = json.loads(socket.recv())
    if answer['parent_header'].get('msg_id') != message:
        continue
    if answer['msg_type'] == 'stream':
        text += answer['content']['text']
    if answer['msg_type'] == 'error':
        raise SystemExit(answer)
    if answer['msg_type'] == 'status' and answer['content']['execution_state'] == 'idle':
        break
print(text, end='')
"#;

/// Logs in by the form, as a browser does; prints the status of the API before, after a wrong and
/// after the right password.
const LOGIN: &str = r"
import sys
import requests
port, password = sys.argv[1:]
base = f'http://127.0.0.1:{port}'
for word in ('', 'wrong', password):
    session = requests.Session()
    session.get(base + '/login')
    if word:
        session.post(base + '/login', data={'password': word, '_xsrf': session.cookies['_xsrf']})
    print(session.get(base + '/api/status').status_code)
";

#[test]
fn a_course_is_served_to_those_who_may_come_in() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let course = copy_of(&example("notebook"), false);
    let report = warpdrive.image("course", course.path(), &[]);
    assert_eq!(report["plan"]["start"]["mode"], "jupyter");
    assert_eq!(report["plan"]["start"]["interface"], "lab");

    let token = format!("JUPYTER_TOKEN={TOKEN}");
    let with_token = Container::start(&warpdrive, "with-token", "course", &[&token]);
    for path in ["/api", "/api/status", "/api/contents"] {
        for (given, expected) in [(None, 403), (Some("wrong"), 403), (Some(TOKEN), 200)] {
            let response = with_token.get(path, given);
            assert_eq!(
                response.status,
                expected,
                "{path} {given:?}: {}",
                response.text()
            );
        }
    }
    assert_eq!(
        with_token.get(&format!("/lab?token={TOKEN}"), None).status,
        200
    );
    let file = with_token.get("/api/contents/logistic-map.ipynb?content=0", Some(TOKEN));
    assert!(
        file.text().contains("\"type\": \"notebook\""),
        "{}",
        file.text()
    );
    let port = with_token.port.to_string();
    let cell = with_token.exec(&["warpdrive", "exec", "python", "-c", CELL, &port, TOKEN]);
    assert_eq!(cell, "42 1000650000\n1\n", "{}", with_token.logs());
    // What Jupyter writes is below /tmp.
    let runtime = with_token.exec(&["warpdrive", "exec", "jupyter", "--runtime-dir"]);
    assert!(runtime.starts_with("/tmp/"), "{runtime}");
    let (processes, logs) = (with_token.processes(), with_token.logs());
    assert!(
        processes.contains("ipykernel") && !processes.contains(TOKEN),
        "{processes}"
    );
    assert!(
        logs.contains("Starting jupyter lab on port") && !logs.contains(TOKEN),
        "{logs}"
    );
    for word in ["Traceback", "Read-only", "Permission denied"] {
        assert!(!logs.contains(word), "{logs}");
    }
    drop(with_token);

    let password = format!("JUPYTER_PASSWORD={PASSWORD}");
    let with_password = Container::start(&warpdrive, "with-password", "course", &[&password]);
    let port = with_password.port.to_string();
    let login = with_password.exec(&["warpdrive", "exec", "python", "-c", LOGIN, &port, PASSWORD]);
    assert_eq!(login, "403\n403\n200\n", "{}", with_password.logs());
    assert!(!with_password.processes().contains("words"));
    assert!(
        !with_password.logs().contains("words"),
        "{}",
        with_password.logs()
    );
    drop(with_password);

    // Nobody has said who may come in: a token is made up, and nobody comes in without it.
    let without = Container::start(&warpdrive, "without", "course", &["JUPYTER_TOKEN="]);
    assert_eq!(without.get("/api/status", None).status, 403);
    let logs = without.logs();
    let made_up = logs.split("lab?token=").nth(1).unwrap();
    let made_up: String = made_up
        .chars()
        .take_while(char::is_ascii_alphanumeric)
        .collect();
    assert_eq!(
        without.get("/api/status", Some(&made_up)).status,
        200,
        "{logs}"
    );
    drop(without);

    // The other interface is one line.
    fs::create_dir(course.path().join(".warpdrive")).unwrap();
    fs::write(
        course.path().join(".warpdrive/server_type"),
        "jupyter_notebook\n",
    )
    .unwrap();
    warpdrive.image("classic", course.path(), &[]);
    let classic = Container::start(&warpdrive, "classic", "classic", &[&token]);
    let page = classic.get(&format!("/tree?token={TOKEN}"), None);
    assert_eq!(page.status, 200, "{}", classic.logs());
    assert_eq!(classic.get("/api/status", None).status, 403);
}
