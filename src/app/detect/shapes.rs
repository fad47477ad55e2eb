//! The shapes that applications have, and what warpdrive makes of each.

use std::fmt::Write as _;

use super::super::advice::Explain as _;
use super::tests::{line, plan, tree};
use super::*;

const FLASK: &str = "from flask import Flask\napp = Flask(__name__)\n";
const MAIN: &str = "def main():\n    print(1)\n\nif __name__ == '__main__':\n    main()\n";

#[test]
fn entry_points_by_all_the_names_that_there_are() {
    for (files, expected) in [
        // Any module of the root, any of a package.
        (&[("coolapi.py", FLASK)][..], "gunicorn coolapi:app Wsgi"),
        (
            &[("shop/__init__.py", ""), ("shop/api.py", FLASK)],
            "gunicorn shop.api:app Wsgi",
        ),
        (
            &[
                ("shop/__init__.py", ""),
                ("shop/web/__init__.py", ""),
                ("shop/web/site.py", FLASK),
            ],
            "gunicorn shop.web.site:app Wsgi",
        ),
        (
            &[("app.py", FLASK), ("other.py", FLASK)],
            "gunicorn app:app Wsgi",
        ),
        (
            &[("test_app.py", FLASK), ("service.py", FLASK)],
            "gunicorn service:app Wsgi",
        ),
        (
            &[
                ("setup.py", "from setuptools import setup\nsetup()"),
                ("testapp.py", FLASK),
            ],
            "gunicorn testapp:app Wsgi",
        ),
        (
            &[
                (
                    "setup.py",
                    "from setuptools import setup\nsetup(package_dir={'': 'lib'})",
                ),
                ("lib/shop/__init__.py", ""),
                ("lib/shop/site.py", FLASK),
            ],
            "gunicorn shop.site:app Wsgi",
        ),
        // A project that nothing installs is found by its path.
        (
            &[
                ("pyproject.toml", "[project]\nname = 'shop'\n"),
                ("requirements.txt", "flask\n"),
                ("src/shop/__init__.py", ""),
                ("src/shop/site.py", FLASK),
            ],
            "gunicorn shop.site:app Wsgi +src",
        ),
        (
            &[
                ("pyproject.toml", "[project]\nname = 'shop'\n"),
                ("src/shop/__init__.py", ""),
                ("src/shop/site.py", FLASK),
            ],
            "gunicorn shop.site:app Wsgi",
        ),
        // Tools' files.
        (
            &[
                ("gunicorn.conf.py", "wsgi_app = 'service.entry:api'\n"),
                (
                    "service/entry.py",
                    "from flask import Flask\napi = Flask('x')",
                ),
                ("service/__init__.py", ""),
            ],
            "gunicorn service.entry:api Wsgi",
        ),
        (
            &[
                (
                    "pyproject.toml",
                    "[tool.fastapi]\nentrypoint = \"depot.api:service\"\n",
                ),
                ("depot/__init__.py", ""),
                (
                    "depot/api.py",
                    "from fastapi import FastAPI\nservice = FastAPI()",
                ),
                ("demo.py", "from fastapi import FastAPI\napp = FastAPI()"),
            ],
            "uvicorn depot.api:service Asgi",
        ),
        (
            &[
                (".flaskenv", "FLASK_APP=hello\n"),
                ("hello.py", FLASK),
                ("b.py", FLASK),
            ],
            "gunicorn hello:app Wsgi",
        ),
        (
            &[
                (".flaskenv", "export FLASK_APP='src/hello.py'\n"),
                ("src/hello.py", FLASK),
                ("src/__init__.py", ""),
            ],
            "gunicorn src.hello:app Wsgi",
        ),
        (
            &[
                (".flaskenv", "FLASK_APP=shop\n"),
                (
                    "shop/__init__.py",
                    "from flask import Flask\ndef create_app(x=1):\n    return Flask('x')\n",
                ),
                ("b.py", FLASK),
            ],
            "gunicorn shop:create_app() Wsgi",
        ),
        (
            &[(".env.example", "FLASK_APP=hello\n"), ("hello.py", FLASK)],
            "gunicorn hello:app Wsgi",
        ),
        // `uvicorn.run("a:b")` decides between two.
        (
            &[
                ("one.py", "from fastapi import FastAPI\napp = FastAPI()"),
                ("two.py", "from fastapi import FastAPI\napp = FastAPI()"),
                (
                    "run.py",
                    "import uvicorn\nif __name__ == '__main__':\n    uvicorn.run('two:app', reload=True)",
                ),
            ],
            "uvicorn two:app Asgi",
        ),
        // Programs.
        (&[("main.py", MAIN)], "python main.py"),
        (&[("run.py", MAIN)], "python run.py"),
        (
            &[("server.py", MAIN), ("helper.py", "x = 1")],
            "python server.py",
        ),
        (&[("index.py", "print(1)")], "python index.py"),
        (&[("application.py", "print(1)")], "python application.py"),
        (&[("anything.py", MAIN)], "python anything.py"),
        (
            &[("anything.py", "x = 1")],
            "error: no application was found",
        ),
        // Scripts.
        (
            &[
                (
                    "pyproject.toml",
                    "[project]\nname = 'depot'\n[project.scripts]\nserve = 'depot.cli:main'\n",
                ),
                ("src/depot/__init__.py", ""),
                ("src/depot/cli.py", MAIN),
            ],
            "sh serve",
        ),
        (
            &[(
                "pyproject.toml",
                "[project]\nname = 'd'\n[project.scripts]\na = 'd:a'\nb = 'd:b'\n",
            )],
            "error: pyproject.toml names several processes, and none is `web`: a, b",
        ),
        (
            &[(
                "pyproject.toml",
                "[project]\nname = 'd'\n[project.scripts]\nadmin = 'd:a'\nserve = 'd:b'\n",
            )],
            "sh serve",
        ),
    ] {
        assert_eq!(line(&tree(files)), expected, "{files:?}");
    }
}

#[test]
fn frameworks_with_servers_of_their_own() {
    for (files, expected) in [
        (
            &[("streamlit_app.py", "import streamlit as st\nst.write(1)")][..],
            "sh streamlit run streamlit_app.py --server.address=0.0.0.0 --server.port=$PORT --server.headless=true --server.fileWatcherType=none --browser.gatherUsageStats=false",
        ),
        (
            &[
                ("helpers.py", "import streamlit"),
                ("app.py", "import streamlit as st\nst.write(1)"),
            ],
            "sh streamlit run app.py --server.address=0.0.0.0 --server.port=$PORT --server.headless=true --server.fileWatcherType=none --browser.gatherUsageStats=false",
        ),
        (
            &[(
                "app.py",
                "import gradio as gr\ndemo = gr.Interface(f, 'text', 'text')\ndemo.launch()",
            )],
            "sh GRADIO_ANALYTICS_ENABLED=False exec python -m warpdrive_serve gradio app.py",
        ),
        (
            &[(
                "app.py",
                "import gradio as gr\nfrom fastapi import FastAPI\napp = FastAPI()\napp = gr.mount_gradio_app(app, demo, path='/')",
            )],
            "uvicorn app:app Asgi",
        ),
        (
            &[("main.py", "from nicegui import ui\nui.label('x')\nui.run()")],
            "sh python -m warpdrive_serve nicegui main.py",
        ),
        (
            &[("app.py", "from shiny import App\napp = App(ui, server)")],
            "uvicorn app:app Asgi",
        ),
        (
            &[("app.py", "from shiny.express import ui\nui.h1('x')")],
            "sh shiny run --host 0.0.0.0 --port $PORT app.py",
        ),
        (
            &[("board.py", "import marimo\napp = marimo.App()")],
            "sh marimo --quiet run board.py --host 0.0.0.0 --port $PORT --headless",
        ),
        (
            &[("app.py", "import panel as pn\npn.panel('x').servable()")],
            "sh panel serve app.py --address 0.0.0.0 --port $PORT --allow-websocket-origin='*'",
        ),
        (
            &[(
                "app.py",
                "import cherrypy\nclass Root: pass\nif __name__ == '__main__':\n    cherrypy.quickstart(Root())",
            )],
            "sh python -m warpdrive_serve cherrypy app.py",
        ),
        (
            &[(
                "app.py",
                "from bottle import route, run\n@route('/')\ndef index(): return 'x'\nrun(host='localhost')",
            )],
            "sh python -m warpdrive_serve bottle app.py",
        ),
        (
            &[("app.py", "from bottle import Bottle\napp = Bottle()")],
            "gunicorn app:app Wsgi",
        ),
        (
            &[(
                "app.py",
                "from aiohttp import web\napp = web.Application()\nif __name__ == '__main__':\n    web.run_app(app)",
            )],
            "sh python -m warpdrive_serve aiohttp app.py",
        ),
        (
            &[(
                "main.py",
                "from aiohttp import web\nasync def create_app():\n    return web.Application()",
            )],
            "sh python -m warpdrive_serve aiohttp main:create_app",
        ),
        (
            &[(
                "main.py",
                "from aiohttp import web\ndef init(argv):\n    return web.Application()\nif __name__ == '__main__':\n    web.run_app(init(None), host='127.0.0.1', port=5)",
            )],
            "sh python -m warpdrive_serve aiohttp main.py",
        ),
        (
            &[
                (
                    "handlers.py",
                    "from aiohttp import web\ndef routes():\n    return []\n",
                ),
                (
                    "main.py",
                    "import handlers\nif __name__ == '__main__':\n    handlers.routes()",
                ),
            ],
            "python main.py",
        ),
        (
            &[(
                "bot.py",
                "import aiohttp\nif __name__ == '__main__':\n    aiohttp.request('GET', 'x')",
            )],
            "python bot.py",
        ),
        (
            &[
                (
                    "client.py",
                    "from aiohttp import web\nif __name__ == '__main__':\n    web.run_app(None)",
                ),
                ("app.py", "print(1)"),
            ],
            "python app.py",
        ),
        (
            &[
                (
                    "handlers.py",
                    "from aiohttp import web\nfrom dotenv import load_dotenv\nload_dotenv()\n",
                ),
                ("main.py", MAIN),
            ],
            "python main.py",
        ),
        (
            &[
                (
                    "service.py",
                    "from aiohttp import web\nif __name__ == '__main__':\n    web.run_app(None)",
                ),
                ("words.py", "WORDS = 1\n"),
            ],
            "sh python -m warpdrive_serve aiohttp service.py",
        ),
        (
            &[(
                "main.py",
                "from tornado.httpclient import HTTPClient\nif __name__ == '__main__':\n    HTTPClient().fetch('x')",
            )],
            "python main.py",
        ),
        (
            &[(
                "main.py",
                "import tornado.web, tornado.ioloop\ndef main():\n    tornado.web.Application([]).listen(8888)\nif __name__ == '__main__':\n    main()",
            )],
            "sh python -m warpdrive_serve tornado main.py",
        ),
        (
            &[(
                "main.py",
                "import tornado.web\ndef make_app():\n    return tornado.web.Application([])\n",
            )],
            "sh python -m warpdrive_serve tornado main:make_app",
        ),
        (
            &[("app.py", "from sanic import Sanic\napp = Sanic('x')")],
            "uvicorn app:app Asgi",
        ),
        (
            &[("app.py", "from quart import Quart\napp = Quart('x')")],
            "uvicorn app:app Asgi",
        ),
        (
            &[(
                "main.py",
                "from fasthtml.common import *\napp, rt = fast_app()\nserve()",
            )],
            "uvicorn main:app Asgi",
        ),
        (
            &[("app.py", "import dash\napp = dash.Dash('x')")],
            "gunicorn app:app.server Wsgi",
        ),
        (
            &[(
                "app.py",
                "import dash\napp = dash.Dash('x')\nserver = app.server",
            )],
            "gunicorn app:server Wsgi",
        ),
        (
            &[
                (
                    "webapp.py",
                    "import dash\napp = dash.Dash('x')\nserver = app.server",
                ),
                ("index.py", "from webapp import app, server\napp.layout = 1"),
            ],
            "gunicorn index:server Wsgi",
        ),
        (
            &[
                ("webapp.py", "import dash\napp = dash.Dash('x')"),
                ("index.py", "from webapp import app\napp.layout = 1"),
            ],
            "gunicorn index:app.server Wsgi",
        ),
        (
            &[(
                "app.py",
                "from flask import Flask\nfrom flask_socketio import SocketIO\napp = Flask('x')\nsocketio = SocketIO(app)\nif __name__ == '__main__':\n    socketio.run(app)",
            )],
            "gunicorn app:app Wsgi",
        ),
        (
            &[
                ("production.ini", "[app:main]\nuse = egg:shop\n"),
                ("setup.py", ""),
                ("shop/__init__.py", "def main(g, **s):\n    return make()"),
            ],
            "sh gunicorn --paste production.ini --bind 0.0.0.0:$PORT --access-logfile -",
        ),
        (
            &[(
                "tasks_app.py",
                "from celery import Celery\napp = Celery('x')",
            )],
            "sh celery -A tasks_app worker --loglevel=INFO (no port)",
        ),
        (
            &[("jobs.py", "from rq import get_current_job\ndef f(): pass")],
            "sh rq worker --url ${RQ_REDIS_URL:-${REDIS_URL:-redis://localhost:6379}} (no port)",
        ),
        (
            &[(
                "work.py",
                "from rq import Worker\nif __name__ == '__main__':\n    Worker(['x']).work()",
            )],
            "sh python work.py (no port)",
        ),
        (
            &[
                ("a_tasks.py", "from celery import shared_task\n"),
                ("queue.py", "from celery import Celery\napp = Celery('x')"),
            ],
            "sh celery -A queue worker --loglevel=INFO (no port)",
        ),
        (
            &[("jobs.py", "import dramatiq\n@dramatiq.actor\ndef f(): pass")],
            "sh dramatiq jobs (no port)",
        ),
        (
            &[(
                "main.py",
                "import functions_framework\n@functions_framework.http\ndef hello(request):\n    return 'x'",
            )],
            "sh functions-framework --target=hello --source=main.py --host=0.0.0.0 --port=$PORT",
        ),
        (
            &[
                (
                    "app.yaml",
                    "runtime: python311\nentrypoint: 'gunicorn -b :$PORT custom:app'\n",
                ),
                ("custom.py", ""),
                ("other.py", ""),
            ],
            "sh gunicorn -b :$PORT custom:app",
        ),
        (
            &[
                ("app.yaml", "runtime: nodejs20\nentrypoint: node x.js\n"),
                ("main.py", "if __name__ == '__main__':\n    print(1)"),
            ],
            "python main.py",
        ),
        (
            &[
                (
                    "railway.json",
                    "{\"deploy\": {\"startCommand\": \"python serve.py\"}}",
                ),
                ("serve.py", ""),
            ],
            "sh python serve.py",
        ),
        (
            &[
                (
                    "railway.toml",
                    "[deploy]\nstartCommand = 'python serve.py'\n",
                ),
                ("serve.py", ""),
            ],
            "sh python serve.py",
        ),
        (
            &[
                (
                    "railpack.json",
                    "{\"deploy\": {\"startCommand\": \"python -m serve\"}}",
                ),
                ("serve.py", ""),
            ],
            "sh python -m serve",
        ),
        (
            &[
                (
                    "nixpacks.toml",
                    "[phases.setup]\nnixPkgs = ['...']\n[start]\ncmd = 'hypercorn shop:app'\n",
                ),
                ("shop.py", ""),
            ],
            "sh hypercorn shop:app",
        ),
        (
            &[("tasks.py", "from celery import Celery\napp = Celery('x')")],
            "sh celery -A tasks worker --loglevel=INFO (no port)",
        ),
        (
            &[
                ("shop/__init__.py", ""),
                (
                    "shop/tasks.py",
                    "from huey import RedisHuey\nqueue = RedisHuey('x')",
                ),
            ],
            "sh python -m huey.bin.huey_consumer shop.tasks.queue (no port)",
        ),
        (
            &[
                ("jobs.py", "class WorkerSettings:\n    functions = []"),
                ("requirements.txt", "arq\n"),
            ],
            "sh arq jobs.WorkerSettings (no port)",
        ),
        (
            &[
                (
                    "jobs.py",
                    "from taskiq_redis import ListQueueBroker\nbroker = ListQueueBroker('x')",
                ),
                ("requirements.txt", "taskiq\ntaskiq-redis\n"),
            ],
            "sh taskiq worker jobs:broker (no port)",
        ),
        (
            &[(
                "stream.py",
                "from faststream import FastStream\napp = FastStream(None)",
            )],
            "sh faststream run stream:app (no port)",
        ),
        (
            &[
                ("src/depot/__init__.py", ""),
                ("src/depot/__main__.py", "from .cli import main\nmain()"),
            ],
            "sh python -m depot",
        ),
        (
            &[
                (
                    "setup.py",
                    "from setuptools import setup\nsetup(name='d', packages=['depot'], entry_points={'console_scripts': ['depot = depot.cli:main']})",
                ),
                ("depot/__init__.py", ""),
                ("depot/cli.py", "def main(): pass"),
            ],
            "sh depot",
        ),
        (
            &[
                (
                    "setup.py",
                    "from setuptools import setup\nsetup(name='d', entry_points='[console_scripts]\\ndepot=depot:main')",
                ),
                ("depot/__init__.py", ""),
            ],
            "sh depot",
        ),
        (
            &[
                ("setup.py", "from setuptools import setup\nsetup()"),
                (
                    "setup.cfg",
                    "[metadata]\nname = d\n[options.entry_points]\nconsole_scripts =\n    depot-x = depot:x\n    serve = depot:main\n",
                ),
                ("depot/__init__.py", ""),
            ],
            "sh serve",
        ),
        (
            &[("bot.py", "import discord\nclient = discord.Client()")],
            "sh python bot.py (no port)",
        ),
        (
            &[(
                "bot.py",
                "import discord\nfrom aiohttp import web\nif __name__ == '__main__':\n    discord.Client().run('x')",
            )],
            "sh python bot.py (no port)",
        ),
        (
            &[("main.py", "from telegram.ext import Application")],
            "sh python main.py (no port)",
        ),
    ] {
        assert_eq!(line(&tree(files)), expected, "{files:?}");
    }
    let needs = |files: &[(&str, &str)]| plan(&tree(files)).unwrap().server_packages;
    let app = ("app.py", "import streamlit as st");
    assert_eq!(needs(&[app]), ["streamlit"]);
    assert!(needs(&[app, ("requirements.txt", "streamlit==1.40")]).is_empty());
}

#[test]
fn processes() {
    let bot = ("bot.py", "print('up')");
    for (files, expected, others) in [
        (
            &[
                (
                    "Procfile",
                    "release: python m.py\nweb: cd backend && gunicorn core:app\nworker: celery -A x worker\n",
                ),
                ("app.py", FLASK),
            ][..],
            "sh cd backend && gunicorn core:app",
            "release worker",
        ),
        (
            &[("Procfile", "worker: python bot.py --loop"), bot],
            "sh python bot.py --loop (no port)",
            "worker",
        ),
        (
            &[("Procfile", "worker: python w.py"), ("app.py", FLASK)],
            "gunicorn app:app Wsgi",
            "worker",
        ),
        (
            &[("Procfile", "bot: python bot.py"), bot],
            "sh python bot.py (no port)",
            "bot",
        ),
        (
            &[("Procfile", "beat: python b.py\nworker: python w.py"), bot],
            "sh python w.py (no port)",
            "beat worker",
        ),
        (
            &[("Procfile", "a: python bot.py\nb: python bot.py"), bot],
            "error: Procfile names several processes, and none is `web`: a, b",
            "",
        ),
        (
            &[
                (
                    "pyproject.toml",
                    "[tool.warpdrive.processes]\nweb = 'python serve.py'\nclock = 'python c.py'\n",
                ),
                ("app.py", FLASK),
            ],
            "sh python serve.py",
            "clock",
        ),
        (
            &[
                (
                    "pyproject.toml",
                    "[tool.warpdrive.processes]\nclock = 'python c.py'\n",
                ),
                ("Procfile", "clock: python old.py\n"),
                ("app.py", FLASK),
            ],
            "gunicorn app:app Wsgi",
            "clock",
        ),
        (
            &[("Procfile", "# nothing: here\n\nweb:\n"), ("app.py", FLASK)],
            "gunicorn app:app Wsgi",
            "",
        ),
        (
            &[
                ("Procfile", "web: python x.py"),
                (".warpdrive/application", "app:app"),
                ("app.py", FLASK),
            ],
            "gunicorn app:app Wsgi",
            "",
        ),
    ] {
        let tree = tree(files);
        assert_eq!(line(&tree), expected, "{files:?}");
        let names = plan(&tree).map_or(String::new(), |plan| {
            plan.processes.into_keys().collect::<Vec<_>>().join(" ")
        });
        assert_eq!(names, others, "{files:?}");
    }
    let with = |text| {
        let files = [("Procfile", text), ("requirements.txt", "flask")];
        plan(&tree(&files)).unwrap().server_packages
    };
    assert_eq!(with("web: gunicorn app:app"), ["gunicorn"]);
    assert!(with("web: python app.py").is_empty());
}

#[test]
fn celery_beside_an_application_is_two_processes() {
    let names = |files: &[(&str, &str)]| {
        let plan = plan(&tree(files)).unwrap();
        let lines = plan.processes.into_iter();
        lines
            .map(|(name, line)| format!("{name}: {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let app = ("app.py", FLASK);
    let list = ("requirements.txt", "flask\ncelery\n");
    let queue = (
        "queue.py",
        "from celery import Celery\nqueue = Celery('x')\n",
    );
    let worker = "worker: celery -A queue worker --loglevel=INFO";
    assert_eq!(names(&[app, list, queue]), worker);
    let timed = (
        "queue.py",
        "from celery import Celery\nqueue = Celery('x')\nqueue.conf.beat_schedule = {}\n",
    );
    let beat = "beat: celery -A queue beat --loglevel=INFO --schedule=/tmp/celerybeat";
    assert_eq!(names(&[app, list, timed]), format!("{beat}\n{worker}"));
    // What the owner says stays.
    let said = ("Procfile", "worker: celery -A other worker\n");
    assert_eq!(
        names(&[app, list, queue, said]),
        "worker: celery -A other worker"
    );
    assert_eq!(names(&[app, queue, ("requirements.txt", "flask\n")]), "");
}

#[test]
fn what_is_for_developers_is_in_the_plan() {
    let settings =
        |debug: &str| format!("DEBUG = {debug}\nWSGI_APPLICATION = 's.wsgi.application'\n");
    let manage = "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 's.settings')\n";
    for (files, expected) in [
        (
            &[(
                "app.py",
                "import x\nif __name__ == '__main__':\n    x.run(debug=True)\n",
            )][..],
            Some("app.py: debug=True"),
        ),
        (&[("app.py", "import x\nx.run(debug=False)\n")], None),
        (
            &[
                ("Procfile", "web: python go.py\n"),
                ("go.py", "import x\nx.run_app(reload=True)\n"),
            ],
            Some("go.py: reload=True"),
        ),
        // A server serves it without its main block.
        (
            &[(
                "app.py",
                &format!("{FLASK}if __name__ == '__main__':\n    app.run(debug=True)\n"),
            )],
            None,
        ),
        (
            &[("manage.py", manage), ("s/settings.py", &settings("True"))],
            Some("s.settings: DEBUG = True"),
        ),
        (
            &[
                ("manage.py", manage),
                ("s/settings.py", &settings("env('X')")),
            ],
            None,
        ),
    ] {
        assert_eq!(
            plan(&tree(files)).unwrap().development.as_deref(),
            expected,
            "{files:?}"
        );
    }
}

#[test]
fn applications_below() {
    let detected = |files: &[(&str, &str)]| detect(&tree(files), &Options::default());
    let home = |files: &[(&str, &str)]| match detected(files) {
        Ok(detected) => format!("{} {}", detected.plan.home, line(&tree(files))),
        Err(error) => error.to_string(),
    };
    for (files, expected) in [
        (
            &[
                ("backend/app.py", FLASK),
                ("backend/requirements.txt", "flask"),
                ("web/package.json", "{}"),
            ][..],
            "backend gunicorn app:app Wsgi",
        ),
        (
            &[("services/api/app.py", FLASK)],
            "services/api gunicorn app:app Wsgi",
        ),
        (
            &[("backend/Procfile", "web: python x.py")],
            "backend sh python x.py",
        ),
        (
            &[("site/manage.py", "DJANGO = 'DJANGO_SETTINGS_MODULE'")],
            "site gunicorn wsgi:application Wsgi",
        ),
        (
            &[
                ("a/app.py", FLASK),
                ("a/requirements.txt", ""),
                ("b/app.py", FLASK),
                ("b/requirements.txt", ""),
            ],
            "2 directories have an application: a, b",
        ),
        (&[("examples/app.py", FLASK)], "no application was found"),
        (
            &[("tests/app.py", FLASK), ("x/y.txt", "")],
            "no application was found",
        ),
        // A program below is not taken for it.
        (&[("tools2/app.py", "print(1)")], "no application was found"),
    ] {
        assert_eq!(home(files), expected, "{files:?}");
    }
    let files = [
        ("backend/app.py", FLASK),
        ("backend/requirements.txt", "flask\n../shared\n./own\n"),
        ("backend/own/setup.py", ""),
        ("shared/pyproject.toml", "[project]\nname = 'shared'\n"),
    ];
    let found = detected(&files).unwrap();
    assert_eq!(found.plan.home, "backend");
    assert!(found.found_below);
    let locals: Vec<String> = found
        .project
        .local_projects()
        .into_iter()
        .map(|one| one.path)
        .collect();
    assert_eq!(locals, ["shared", "backend/own"]);
    assert!(
        found
            .dependency_files
            .contains(&"backend/requirements.txt".to_owned())
    );
    assert!(
        found
            .phase_one_environment()
            .contains(&(APP_HOME.to_owned(), "backend".to_owned()))
    );

    let files = [
        (
            "api/pyproject.toml",
            "[project]\nname = 'api'\ndependencies = ['flask']\n",
        ),
        ("api/app.py", FLASK),
    ];
    let found = detected(&files).unwrap();
    assert_eq!(found.project.local_projects()[0].path, "api");
    assert!(found.project.names().contains("flask"));
    assert!(
        found
            .dependency_files
            .contains(&"api/pyproject.toml".to_owned())
    );
}

#[test]
fn every_decision_says_why() {
    for (files, expected) in [
        (
            &[("app.py", "\n\nfrom flask import Flask\napp = Flask('x')\n")][..],
            "app.py:4: `app` is an application (flask)",
        ),
        (
            &[("Procfile", "\nweb: x\n")],
            "Procfile:2: the process `web`",
        ),
        (&[("main.py", MAIN)], "main.py: a program"),
        (
            &[("streamlit_app.py", "import streamlit")],
            "streamlit_app.py: imports streamlit",
        ),
        (
            &[(".flaskenv", "# x\nFLASK_APP=app\n"), ("app.py", FLASK)],
            ".flaskenv:2: app:app",
        ),
        (
            &[(".warpdrive/application", "app:app"), ("app.py", FLASK)],
            "file: .warpdrive/application: app:app",
        ),
    ] {
        let found = detect(&tree(files), &Options::default()).unwrap();
        assert_eq!(found.because, expected);
    }
}

#[test]
fn refusals_fit() {
    let mut all = String::new();
    for (title, files) in [
        ("an empty tree", &[][..]),
        ("no Python", &[("README.md", "x")]),
        ("two applications", &[("one.py", FLASK), ("two.py", FLASK)]),
        (
            "a conda project",
            &[("environment.yml", "name: x\n"), ("a/b.py", "")],
        ),
        ("a library", &[("lib.py", "x = 1\n")]),
        (
            "several homes",
            &[
                ("api/app.py", FLASK),
                ("api/Pipfile", ""),
                ("admin/app.py", FLASK),
                ("admin/setup.py", ""),
            ],
        ),
        ("several processes", &[("Procfile", "a: x\nb: y\n")]),
        ("a syntax error", &[("app2.py", "def f(:\n")]),
        (
            "a wrong entry point",
            &[(".flaskenv", "FLASK_APP=gone:app\n"), ("app.py", FLASK)],
        ),
        (
            "a factory with arguments",
            &[(
                "shop.py",
                "from flask import Flask\ndef create_app(config):\n    return Flask('x')\n",
            )],
        ),
        (
            "a framework that no module imports",
            &[("requirements.txt", "streamlit\n"), ("lib.py", "x = 1\n")],
        ),
        (
            "requirements misspelt",
            &[("requirement.txt", "flask\n"), ("lib.py", "x = 1\n")],
        ),
    ] {
        let error = detect(&tree(files), &Options::default()).err();
        let words = error.map_or_else(|| "built\n".to_owned(), |error| error.advice().to_string());
        writeln!(all, "# {title}\n{words}").unwrap();
    }
    insta::assert_snapshot!(all);
}
