//! Small sources and what they are.

use super::super::advice::Explain;
use super::super::files::Memory;
use super::super::server::Server;
use super::*;

const FLASK: &str = "from flask import Flask\napp = Flask(__name__)\n";

pub(super) fn tree(files: &[(&str, &str)]) -> Memory {
    files
        .iter()
        .fold(Memory::new(), |tree, (path, text)| tree.with(path, text))
}

pub(super) fn plan(tree: &Memory) -> Result<Plan, DetectError> {
    detect(tree, &Options::default()).map(|detected| detected.plan)
}

/// A line for a table: mode, server, application.
pub(super) fn line(tree: &Memory) -> String {
    match plan(tree) {
        Ok(plan) => match &plan.start {
            Start::Shell { program } => format!("shell {program}"),
            Start::Python { program } => format!("python {program}"),
            Start::Command { line } => {
                let port = if plan.web { "" } else { " (no port)" };
                format!("sh {line}{port}")
            }
            Start::Jupyter { interface } => format!("jupyter {}", interface.name()),
            Start::Server {
                server,
                application,
            } => {
                let application = application.as_ref().map_or_else(
                    || "-".to_owned(),
                    |application| {
                        let call = if application.factory { "()" } else { "" };
                        format!(
                            "{}{call} {:?}",
                            application.reference(),
                            application.interface
                        )
                    },
                );
                let path = plan
                    .python_path
                    .iter()
                    .fold(String::new(), |text, path| text + " +" + path);
                format!("{server} {application}{path}")
            }
        },
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn notebooks_are_for_jupyter_where_there_is_no_application() {
    for (files, expected) in [
        (&[("a.ipynb", "")][..], "jupyter lab"),
        (
            &[("week 1/a.ipynb", ""), ("helper.py", "def f(): pass")],
            "jupyter lab",
        ),
        (
            &[("a.ipynb", ""), ("requirements.txt", "notebook")],
            "jupyter notebook",
        ),
        (
            &[("a.ipynb", ""), ("app.py", FLASK)],
            "gunicorn app:app Wsgi",
        ),
        (&[("a.ipynb", ""), ("app.py", "print(1)")], "python app.py"),
        (
            &[
                ("a.ipynb", ""),
                ("app.py", FLASK),
                (".warpdrive/server_type", "jupyter"),
            ],
            "jupyter lab",
        ),
        (
            &[
                ("x.txt", ""),
                (".warpdrive/deploy_mode", "jupyter"),
                (".warpdrive/server_type", "jupyter-notebook"),
            ],
            "jupyter notebook",
        ),
        (
            &[(".ipynb_checkpoints/a.ipynb", "")],
            "error: no application was found",
        ),
    ] {
        assert_eq!(line(&tree(files)), expected, "{files:?}");
    }
    let files = [("a.ipynb", ""), ("requirements.txt", "numpy\n")];
    assert_eq!(plan(&tree(&files)).unwrap().server_packages, ["jupyterlab"]);
}

#[test]
fn one_module() {
    // The source of app.py, and what it is.
    for (source, expected) in [
        (FLASK, "gunicorn app:app Wsgi"),
        (
            "import flask\napplication = flask.Flask('x')",
            "gunicorn app:application Wsgi",
        ),
        (
            "from flask import Flask as F\napi: F = F('x')",
            "gunicorn app:api Wsgi",
        ),
        (
            "from fastapi import FastAPI\napp = FastAPI()",
            "uvicorn app:app Asgi",
        ),
        (
            "import fastapi as f\napp = f.FastAPI(title='x')",
            "uvicorn app:app Asgi",
        ),
        (
            "from starlette.applications import Starlette\napp = Starlette(routes=[])",
            "uvicorn app:app Asgi",
        ),
        (
            "from quart import Quart\napp = Quart('x')",
            "uvicorn app:app Asgi",
        ),
        (
            "from sanic import Sanic\napp = Sanic('x')",
            "uvicorn app:app Asgi",
        ),
        (
            "from litestar import Litestar\napp = Litestar([])",
            "uvicorn app:app Asgi",
        ),
        (
            "import bottle\napp = bottle.Bottle()",
            "gunicorn app:app Wsgi",
        ),
        (
            "import bottle\napp = application = bottle.default_app()",
            "gunicorn app:application Wsgi",
        ),
        ("import falcon\napp = falcon.App()", "gunicorn app:app Wsgi"),
        (
            "import falcon.asgi\napp = falcon.asgi.App()",
            "uvicorn app:app Asgi",
        ),
        (
            "from dash import Dash\napp = Dash('x')\nserver = app.server",
            "gunicorn app:server Wsgi",
        ),
        (
            "from pyramid.config import Configurator\nwith Configurator() as config:\n    app = config.make_wsgi_app()",
            "gunicorn app:app Wsgi",
        ),
        (
            "import web\napplication = web.application((), {}).wsgifunc()",
            "gunicorn app:application Wsgi",
        ),
        (
            "def application(environ, start_response):\n    return []",
            "gunicorn app:application Wsgi",
        ),
        (
            "def app(env, start_response):\n    return []",
            "gunicorn app:app Wsgi",
        ),
        (
            "def app(request, respond):\n    respond('200 OK', [])\n    return []",
            "gunicorn app:app Wsgi",
        ),
        (
            "def app(e, sr):\n    status = '404 Not Found'\n    headers = []\n    if e:\n        sr(status, headers)\n    yield b''",
            "gunicorn app:app Wsgi",
        ),
        (
            "class App:\n    def __call__(self, req, res):\n        res('204 No Content', [])\napp = App()",
            "gunicorn app:app Wsgi",
        ),
        (
            "async def app(s, r, w):\n    await w({'type': 'http.response.start', 'status': 200})",
            "uvicorn app:app Asgi",
        ),
        (
            "async def app(scope, receive, send):\n    pass",
            "uvicorn app:app Asgi",
        ),
        (
            "class App:\n    def __call__(self, environ, start_response): ...\napp = App()",
            "gunicorn app:app Wsgi",
        ),
        (
            "class App:\n    async def __call__(self, scope, receive, send): ...\napp = App()",
            "uvicorn app:app Asgi",
        ),
        // Wrapped, rebound, conditional.
        (
            "from flask import Flask\nfrom whitenoise import WhiteNoise\napp = Flask('x')\napplication = WhiteNoise(app)",
            "gunicorn app:application Wsgi",
        ),
        (
            "from flask import Flask\nfrom x import Thing\napp = Flask('x')\napp = Thing(app, 1)",
            "gunicorn app:app Wsgi",
        ),
        (
            "from flask import Flask\nfrom werkzeug.middleware.proxy_fix import ProxyFix\napp = Flask('x')\napp.wsgi_app = ProxyFix(app.wsgi_app)",
            "gunicorn app:app Wsgi",
        ),
        (
            "import os\nfrom flask import Flask\nif os.environ.get('X'):\n    app = Flask('a')\nelse:\n    app = Flask('b')",
            "gunicorn app:app Wsgi",
        ),
        (
            "try:\n    from flask import Flask\nexcept ImportError:\n    Flask = None\napp = Flask('x')",
            "gunicorn app:app Wsgi",
        ),
        (
            "from flask import Flask\nfrom asgiref.wsgi import WsgiToAsgi\napp = Flask('x')\nasgi = WsgiToAsgi(app)",
            "uvicorn app:asgi Asgi",
        ),
        (
            "import socketio\nfrom fastapi import FastAPI\nsio = socketio.AsyncServer()\napi = FastAPI()\napp = socketio.ASGIApp(sio, api)",
            "uvicorn app:app Asgi",
        ),
        (
            "from flask import Flask\nclass Mine(Flask): pass\napp = Mine('x')",
            "gunicorn app:app Wsgi",
        ),
        // Objects that are made from an application are not applications.
        (
            "from flask import Flask\nfrom flask_sqlalchemy import SQLAlchemy\nfrom flask_migrate import Migrate\napp = Flask('x')\ndb = SQLAlchemy(app)\nmigrate = Migrate(app, db)",
            "gunicorn app:app Wsgi",
        ),
        // Mounted.
        (
            "from fastapi import FastAPI\napp = FastAPI()\nv1 = FastAPI()\napp.mount('/v1', v1)",
            "uvicorn app:app Asgi",
        ),
        // Factories.
        (
            "from flask import Flask\ndef create_app():\n    app = Flask('x')\n    return app",
            "gunicorn app:create_app() Wsgi",
        ),
        (
            "from flask import Flask\ndef create_app(config=None, **more) -> Flask:\n    return build(config)",
            "gunicorn app:create_app() Wsgi",
        ),
        (
            "from fastapi import FastAPI\ndef make_app():\n    if 1:\n        return FastAPI()",
            "uvicorn app:make_app() Asgi",
        ),
        (
            "from flask import Flask\ndef create_app():\n    return Flask('x')\napp = create_app()",
            "gunicorn app:app Wsgi",
        ),
        (
            "from flask import Flask\ndef create_app():\n    return Flask('x')\nif __name__ == '__main__':\n    app = create_app()\n    app.run()",
            "gunicorn app:create_app() Wsgi",
        ),
        // Programs.
        (
            "from http.server import HTTPServer\nHTTPServer(('', 8080), None).serve_forever()",
            "python app.py",
        ),
        (
            "from flask import Flask\napp = Flask('x')\napp.run(host='0.0.0.0', port=8080)",
            "python app.py",
        ),
        (
            "from flask import Flask\napp = Flask('x')\nif __name__ == '__main__':\n    app.run()",
            "gunicorn app:app Wsgi",
        ),
        (
            "from aiohttp import web\napp = web.Application()\nif __name__ == '__main__':\n    web.run_app(app)",
            "sh python -m warpdrive_serve aiohttp app.py",
        ),
        (
            "import uvicorn\nfrom fastapi import FastAPI\napp = FastAPI()\nuvicorn.run(app)",
            "python app.py",
        ),
        // Two.
        (
            "from flask import Flask\nfrom fastapi import FastAPI\nweb = Flask('x')\napi = FastAPI()",
            "error: two applications were found: app:api (app.py:4) and app:web (app.py:3)",
        ),
    ] {
        assert_eq!(line(&tree(&[("app.py", source)])), expected, "{source}");
    }
}

#[test]
fn several_modules() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (
            &[("wsgi.py", "from app import app"), ("app.py", FLASK)],
            "gunicorn wsgi:app Wsgi",
        ),
        (
            &[
                ("wsgi.py", "from app import app as application"),
                ("app.py", FLASK),
            ],
            "gunicorn wsgi:application Wsgi",
        ),
        (
            &[
                ("wsgi.py", "from shop import create_app\napp = create_app()"),
                (
                    "shop/__init__.py",
                    "from flask import Flask\ndef create_app(): return Flask('x')",
                ),
            ],
            "gunicorn wsgi:app Wsgi",
        ),
        (
            &[(
                "shop/__init__.py",
                "from flask import Flask\ndef create_app(): return Flask('x')",
            )],
            "gunicorn shop:create_app() Wsgi",
        ),
        (
            &[
                ("shop/__init__.py", "from .app import app"),
                ("shop/app.py", FLASK),
            ],
            "gunicorn shop:app Wsgi",
        ),
        (
            &[
                ("app/__init__.py", ""),
                (
                    "app/main.py",
                    "from fastapi import FastAPI\nfrom .routers import items\napp = FastAPI()",
                ),
            ],
            "uvicorn app.main:app Asgi",
        ),
        (
            &[
                ("app/main.py", "from app.core import build\napp = build()"),
                (
                    "app/core.py",
                    "from fastapi import FastAPI\ndef build():\n    it = FastAPI()\n    return it",
                ),
            ],
            "uvicorn app.main:app Asgi",
        ),
        (
            &[("src/shop/wsgi.py", FLASK), ("src/shop/__init__.py", "")],
            "gunicorn shop.wsgi:app Wsgi +src",
        ),
        (
            &[(
                "src/main.py",
                "from fastapi import FastAPI\napp = FastAPI()",
            )],
            "uvicorn main:app Asgi +src",
        ),
        (
            &[
                ("pyproject.toml", "[project]\nname='shop'\n"),
                ("src/shop/__init__.py", FLASK),
            ],
            "gunicorn shop:app Wsgi",
        ),
        (
            &[("backend/app.py", FLASK), ("frontend/x.js", "")],
            "gunicorn backend.app:app Wsgi",
        ),
        (
            &[("main.py", "from core import *\n"), ("core.py", FLASK)],
            "gunicorn main:app Wsgi",
        ),
        (
            &[("wsgi.py", FLASK), ("main.py", FLASK)],
            "error: two applications were found: wsgi:app (wsgi.py:2) and main:app (main.py:2)",
        ),
        (
            &[
                ("wsgi.py", FLASK),
                ("asgi.py", "from fastapi import FastAPI\napp = FastAPI()"),
            ],
            "gunicorn wsgi:app Wsgi",
        ),
        (
            &[
                ("wsgi.py", FLASK),
                ("asgi.py", "from fastapi import FastAPI\napp = FastAPI()"),
                ("requirements.txt", "uvicorn"),
            ],
            "uvicorn asgi:app Asgi",
        ),
        (
            &[("tests/app.py", FLASK), ("app.py", FLASK)],
            "gunicorn app:app Wsgi",
        ),
        (
            &[("app.py", FLASK), ("requirements.txt", "flask\nwaitress")],
            "waitress app:app Wsgi",
        ),
        (
            &[("app.py", FLASK), (".warpdrive/server_type", "mod_wsgi")],
            "mod_wsgi app:app Wsgi",
        ),
        (
            &[("app.py", FLASK), (".warpdrive/server_type", "uvicorn")],
            "error: uvicorn cannot serve app:app, which is an WSGI application",
        ),
        (
            &[("app.py", FLASK), (".warpdrive/deploy_mode", "python")],
            "python app.py",
        ),
        (
            &[("app.py", FLASK), (".warpdrive/deploy_mode", "gunicorn")],
            "gunicorn -",
        ),
        (
            &[("web/app.py", FLASK), (".warpdrive/home", "web\n")],
            "gunicorn app:app Wsgi",
        ),
        (
            &[("app.py", FLASK), (".warpdrive/home", "../x")],
            "error: home = \"../x\" (file: .warpdrive/home) lies outside the source",
        ),
        (
            &[("thing.py", FLASK), (".warpdrive/application", "thing:app")],
            "gunicorn thing:app Wsgi",
        ),
        (
            &[
                ("thing.py", "def start(): return x()"),
                (".warpdrive/application", "thing:start()"),
            ],
            "gunicorn thing:start() Wsgi",
        ),
        (
            &[
                ("thing.py", FLASK),
                (".warpdrive/application", "thing:nope"),
            ],
            "error: \"thing:nope\" (file: .warpdrive/application) is not an application: thing.py binds no `nope`",
        ),
        (
            &[
                ("thing.py", FLASK),
                (".warpdrive/wsgi_module_name", "thing"),
                (".warpdrive/wsgi_callable_object", "app"),
            ],
            "gunicorn thing:app Wsgi",
        ),
        (&[("README.md", "")], "error: no application was found"),
        (
            &[("app.py", FLASK), ("requirements.txt", "-r gone.txt")],
            "error: requirements.txt:1 names gone.txt, which is not in the source",
        ),
    ];
    for (files, expected) in cases {
        assert_eq!(line(&tree(files)), *expected, "{files:?}");
    }
}

const MANAGE: &str = "import os, sys\ndef main():\n    os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n    from django.core.management import execute_from_command_line\n    execute_from_command_line(sys.argv)\n";

fn django() -> Memory {
    tree(&[
        ("manage.py", MANAGE),
        ("mysite/__init__.py", ""),
        ("mysite/settings.py", "from .base import *\nDEBUG = False\n"),
        (
            "mysite/base.py",
            "WSGI_APPLICATION = 'mysite.wsgi.application'\nSTATIC_URL = '/assets/'\n",
        ),
        (
            "mysite/wsgi.py",
            "from django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n",
        ),
        (
            "mysite/asgi.py",
            "from django.core.asgi import get_asgi_application\napplication = get_asgi_application()\n",
        ),
    ])
}

#[test]
fn django_projects() {
    assert_eq!(line(&django()), "gunicorn mysite.wsgi:application Wsgi");
    let plan = plan(&django()).unwrap();
    assert_eq!(plan.framework, "django");
    assert_eq!(plan.server_packages, ["gunicorn", "whitenoise"]);
    assert_eq!(
        plan.django.unwrap().settings_module.as_deref(),
        Some("mysite.settings")
    );
    for server in Server::ALL {
        let tree = django().with(".warpdrive/server_type", server.name());
        let expected = if server.is_asynchronous() {
            format!("{server} mysite.asgi:application Asgi")
        } else {
            format!("{server} mysite.wsgi:application Wsgi")
        };
        assert_eq!(line(&tree), expected);
        // Where it can, it serves the other one if that is asked for.
        if server.is_asynchronous() && server.serves(Interface::Wsgi) {
            let expected = format!("{server} mysite.wsgi:application Wsgi");
            assert_eq!(line(&tree.with(".warpdrive/deploy_mode", "wsgi")), expected);
        }
    }
    assert_eq!(
        line(&django().with("requirements.txt", "django\ndaphne")),
        "daphne mysite.asgi:application Asgi"
    );
    assert_eq!(
        line(&django().with("app.py", "print('a tool')")),
        "gunicorn mysite.wsgi:application Wsgi"
    );
    let both = line(&django().with("app.py", FLASK));
    assert!(
        both.starts_with("error: two applications were found"),
        "{both}"
    );
}

/// The original ran the text in `$(…)`.
#[test]
fn a_command_in_server_args_is_refused() {
    for text in ["--workers $(nproc)", "--name `id`"] {
        let tree = tree(&[("app.py", FLASK), (".warpdrive/server_args", text)]);
        let advice = detect(&tree, &Options::default()).unwrap_err().advice();
        assert!(
            advice
                .title
                .starts_with("server_args: command substitution"),
            "{advice}"
        );
    }
}

/// The original installed a server for these, too.
#[test]
fn programs_need_no_server() {
    for tree in [
        tree(&[("app.py", "print(1)")]),
        Memory::new().with_program("app.sh", "#!/bin/sh\n"),
    ] {
        assert_eq!(plan(&tree).unwrap().server_packages, Vec::<String>::new());
    }
}

#[test]
fn programs_in_the_shell() {
    assert_eq!(
        line(&tree(&[("app.py", FLASK)]).with_program("app.sh", "#!/bin/sh\n")),
        "shell app.sh"
    );
    assert_eq!(
        line(&tree(&[("app.py", FLASK), ("app.sh", "#!/bin/sh\n")])),
        "gunicorn app:app Wsgi"
    );
    assert_eq!(
        line(&tree(&[
            ("app.sh", "#!/bin/sh\n"),
            (".warpdrive/deploy_mode", "shell")
        ])),
        "error: app.sh is not executable"
    );
}

#[test]
fn errors_say_what_to_do() {
    let advice = |files: &[(&str, &str)]| plan(&tree(files)).unwrap_err().advice().to_string();
    insta::assert_snapshot!(advice(&[]));
    insta::assert_snapshot!(advice(&[
        ("wsgi.py", "print 'two'\n"),
        (
            "main.py",
            "from flask import Flask\ndef create_app(config): return Flask(config)\n"
        )
    ]));
    insta::assert_snapshot!(advice(&[(
        "app.py",
        "from flask import Flask\na = Flask('a')\nb = Flask('b')"
    )]));
}

#[test]
fn the_builder_must_have_the_python() {
    let tree = tree(&[("app.py", FLASK), (".python-version", "3.12")]);
    let options = Options {
        python: Some(PythonVersion::new(3, 11)),
        ..Options::default()
    };
    let error = detect(&tree, &options).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the app wants Python 3.12 (.python-version:1); the builder has 3.11"
    );
}

#[test]
fn what_the_owner_should_know() {
    let tree = tree(&[
        ("app.py", FLASK),
        (
            "requirements.txt",
            "-e git+https://github.com/x/y.git@master#egg=y",
        ),
        (".warpdrive/action_hooks/build-env", "A=1"),
    ]);
    let detected = detect(&tree, &Options::default()).unwrap();
    assert_eq!(detected.warnings.len(), 1, "{:?}", detected.warnings);
}

/// In the warpdrive before this one: a hook that was not executable was skipped, `build` without a word.
#[test]
fn every_hook_has_to_be_executable() {
    let mut refused = 0;
    for name in HOOKS {
        let path = format!(".warpdrive/action_hooks/{name}");
        let tree = tree(&[("app.py", FLASK), (&path, "#!/bin/sh")]);
        match detect(&tree, &Options::default()) {
            Ok(_) => assert!(name.ends_with("-env"), "{name} is read, not run"),
            Err(error) => {
                let advice = error.advice();
                assert_eq!(advice.title, format!("{path} is not executable"));
                assert_eq!(advice.remedies[0], format!("chmod +x {path}"));
                refused += 1;
            }
        }
    }
    assert_eq!(refused, HOOKS.len() - 2);
}

proptest::proptest! {
    /// Whatever the text, detection ends and does not panic.
    #[test]
    fn any_text_ends(text in "[a-z()=.,:\\[\\]{}'\n @+*-]{0,300}") {
        let _ = plan(&tree(&[("app.py", &text), ("manage.py", &text)]));
    }
}

/// The home is found below, and the list names a directory of the source: that is not a file to fetch.
#[test]
fn a_list_with_what_is_bound_is_read_in_a_home_that_was_found() {
    let tree = tree(&[
        ("services/api/app.py", FLASK),
        (
            "lib/pyproject.toml",
            "[project]\nname = 'rates'\nversion = '1'\n",
        ),
    ]);
    let listed = super::super::listed::Listed {
        file: "pyproject.toml".into(),
        lines: vec!["flask".into(), "-e ./lib".into()],
        open: Some(super::super::listed::Open::default()),
        ..Default::default()
    };
    let options = Options {
        listed: Some(listed),
        ..Options::default()
    };
    let detected = detect(&tree, &options).unwrap();
    assert!(detected.found_below, "{:?}", detected.plan);
    let projects = detected.project.local_projects();
    let paths: Vec<&str> = projects
        .iter()
        .map(|project| project.path.as_str())
        .collect();
    assert_eq!(paths, ["lib"]);
}
