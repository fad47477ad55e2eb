//! Agents without touching the application's code: one application under each of them, in the image,
//! with a read-only root and an arbitrary uid.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::http;
use crate::support::process::{self, words};
use crate::support::run::OPENSHIFT_USER;
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive};

const PYPROJECT: &str = r#"
[project]
name = "shop"
version = "1"
dependencies = ["flask==3.1.3"]
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"
[tool.setuptools]
py-modules = ["shop", "hooks"]
[project.entry-points."shop.hooks"]
shop = "hooks:imported"
"#;

/// Says which process answers, and which agents are in it.
const SHOP: &str = r"
import os
import sys

from flask import Flask

app = Flask(__name__)
MARK = 'nobody'


@app.get('/item/<number>')
def item(number):
    agents = [name for name in ('ddtrace', 'newrelic', 'opentelemetry', 'autowrapt') if name in sys.modules]
    return f'{os.getpid()} {os.getppid()} {MARK} {agents}'
";

const HOOKS: &str = "def imported(module):\n    module.MARK = 'hooks'\n";

/// An OTLP receiver (HTTP, protobuf): a line for each span.
const RECEIVER: &str = r"
import gzip, http.server, sys
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        if self.headers.get('Content-Encoding') == 'gzip':
            body = gzip.decompress(body)
        if self.path == '/v1/traces':
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                said = {a.key: a.value.string_value for a in resource.resource.attributes}
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        path = [a.value.string_value for a in span.attributes if a.key in ('url.path', 'http.target')]
                        print('span', said.get('service.name'), scope.scope.name, span.name, *path, flush=True)
        self.send_response(200)
        self.send_header('Content-Type', 'application/x-protobuf')
        self.send_header('Content-Length', '0')
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
";

struct Container<'a> {
    warpdrive: &'a Warpdrive,
    name: String,
    port: u16,
}

impl<'a> Container<'a> {
    fn start(
        warpdrive: &'a Warpdrive,
        image: &str,
        name: &str,
        env: &[&str],
        command: &[&str],
    ) -> Self {
        let port = http::free_port();
        let own = format!("PORT={port}");
        let text = port.to_string();
        let mut arguments = vec!["run", "--detach", "--read-only", "--network", "host"];
        arguments.extend(["--user", OPENSHIFT_USER, "--name", name, "--env", &own]);
        for pair in env {
            arguments.extend(["--env", pair]);
        }
        arguments.push(image);
        if !command.is_empty() {
            arguments.push("--");
            arguments.extend_from_slice(command);
            arguments.push(&text);
        }
        warpdrive.run(&arguments);
        let this = Self {
            warpdrive,
            name: name.to_owned(),
            port,
        };
        http::wait_until_serving(port, Duration::from_mins(1));
        this
    }

    fn logs(&self) -> String {
        words(&self.warpdrive.output(&["container", "logs", &self.name]))
    }

    /// Process, its parent, whose mark it bears, and its agents.
    fn item(&self, number: usize) -> (String, String, String, String) {
        let response = http::get(self.port, &format!("/item/{number}")).unwrap();
        assert_eq!(response.status, 200, "{}", self.logs());
        let text = response.text();
        let mut words = text.splitn(4, ' ').map(str::to_owned);
        let mut next = || words.next().unwrap();
        (next(), next(), next(), next())
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let _ = self
            .warpdrive
            .output(&["container", "rm", "--force", &self.name]);
    }
}

fn shop() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = directory.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("pyproject.toml", PYPROJECT);
    write("shop.py", SHOP);
    write("hooks.py", HOOKS);
    write(".warpdrive/application", "shop:app\n");
    write(".warpdrive/server_args", "--workers 2\n");
    directory
}

/// Builds the shop with an agent.
fn image(warpdrive: &Warpdrive, source: &Path, agent: &str) -> serde_json::Value {
    fs::write(source.join(".warpdrive/instrument"), format!("{agent}\n")).unwrap();
    warpdrive.image("shop", source, &[])
}

#[test]
fn every_agent_is_in_the_workers() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = shop();

    let report = image(&warpdrive, source.path(), "opentelemetry");
    assert_eq!(report["plan"]["instrument"], "opentelemetry");
    let receiver = Container::start(
        &warpdrive,
        "shop",
        "receiver",
        &[],
        &["warpdrive", "exec", "python", "-c", RECEIVER],
    );
    let endpoint = format!(
        "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{}",
        receiver.port
    );
    let env = [
        endpoint.as_str(),
        "OTEL_BSP_SCHEDULE_DELAY=200",
        "OTEL_METRICS_EXPORTER=none",
    ];
    let watched = Container::start(&warpdrive, "shop", "watched", &env, &[]);
    // Until both workers have answered.
    let mut workers = BTreeSet::new();
    let mut requests = 0;
    while workers.len() < 2 && requests < 200 {
        let (process, parent, _, agents) = watched.item(requests);
        assert_ne!(parent, "1", "a worker's parent is gunicorn's master");
        assert!(agents.contains("opentelemetry"), "{agents}");
        workers.insert(process);
        requests += 1;
    }
    assert_eq!(workers.len(), 2);
    let expected = |number: usize| {
        format!("span shop opentelemetry.instrumentation.flask GET /item/<number> /item/{number}")
    };
    let all = process::poll(Duration::from_secs(30), || {
        let logs = receiver.logs();
        (0..requests)
            .all(|number| logs.lines().any(|line| line.trim() == expected(number)))
            .then_some(())
    });
    assert!(
        all.is_some(),
        "{requests} requests\n{}\n{}",
        receiver.logs(),
        watched.logs()
    );
    // The agent is the server's; other programs are watched by nobody.
    let plain = warpdrive.run(&[
        "container",
        "exec",
        "watched",
        "warpdrive",
        "exec",
        "python",
        "-c",
        "import sys; print('opentelemetry' in sys.modules)",
    ]);
    assert_eq!(plain, "False\n");
    drop(watched);
    drop(receiver);

    for (agent, module, mark, env) in [
        (
            "newrelic",
            "newrelic",
            "nobody",
            &["NEW_RELIC_DEVELOPER_MODE=true", "NEW_RELIC_LOG=stderr"][..],
        ),
        (
            "ddtrace",
            "ddtrace",
            "nobody",
            &[
                "DD_TRACE_ENABLED=true",
                "DD_INSTRUMENTATION_TELEMETRY_ENABLED=false",
            ],
        ),
        ("autowrapt:shop.hooks", "autowrapt", "hooks", &[]),
    ] {
        image(&warpdrive, source.path(), agent);
        let name = format!("with-{module}");
        let watched = Container::start(&warpdrive, "shop", &name, env, &[]);
        let (_, parent, found, agents) = watched.item(1);
        assert_ne!(parent, "1");
        assert!(
            agents.contains(module),
            "{agent}: {agents}\n{}",
            watched.logs()
        );
        assert_eq!(found, mark, "{agent}\n{}", watched.logs());
        let logs = watched.logs();
        assert!(!logs.contains("Read-only"), "{agent}\n{logs}");
    }

    let (code, text) = {
        fs::write(
            source.path().join(".warpdrive/instrument"),
            "opentelemtry\n",
        )
        .unwrap();
        warpdrive.refuses(source.path(), &[])
    };
    assert_eq!(code, 2, "{text}");
    assert!(text.contains("did you mean `opentelemetry`?"), "{text}");
}
