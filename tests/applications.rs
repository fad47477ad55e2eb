//! The shapes that applications have: each small one is built, run as an arbitrary user on a read-only
//! root and asked, or refused with the words of a snapshot. One store, one cache of wheels; most need
//! the standard library alone, so that what is tried is how they are found and started.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::http;
use crate::support::process::{self, poll};
use crate::support::run::OPENSHIFT_USER;
use crate::support::warpdrive::{PYTHON_311, Warpdrive};

/// `application` and `app` of PEP 3333, and an ASGI one.
const WSGI: &str = "def application(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [b'pong']\n";
const APP: &str = "def app(environ, start_response):\n    start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [b'pong']\n";
const ASGI: &str = "async def app(scope, receive, send):\n    if scope['type'] != 'http':\n        return\n    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n    await send({'type': 'http.response.body', 'body': b'pong'})\n";
/// A program that serves on `$PORT`.
const SERVER: &str = "import http.server, os, sys\nclass H(http.server.BaseHTTPRequestHandler):\n    def do_GET(self):\n        self.send_response(200)\n        self.end_headers()\n        self.wfile.write(b'pong ' + ' '.join(sys.argv[1:]).encode())\ndef main():\n    http.server.HTTPServer(('', int(os.environ['PORT'])), H).serve_forever()\nif __name__ == '__main__':\n    main()\n";
/// A program that prints and stays.
const WORKER: &str = "import sys, time\nprint('at work', *sys.argv[1:], flush=True)\nwhile True:\n    time.sleep(1)\n";
const FLASK: &str = "from flask import Flask\napp = Flask(__name__)\n@app.get('/')\ndef index():\n    return 'pong'\n";
const MANAGE: &str = "import os, sys\nif __name__ == '__main__':\n    os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n    from django.core.management import execute_from_command_line\n    execute_from_command_line(sys.argv)\n";
const SETTINGS: &str = "SECRET_KEY = 'x'\nALLOWED_HOSTS = ['*']\nROOT_URLCONF = 'mysite.urls'\nINSTALLED_APPS = []\nDATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': '/tmp/x.sqlite'}}\n";
const URLS: &str = "from django.http import HttpResponse\nfrom django.urls import path\nurlpatterns = [path('', lambda request: HttpResponse('pong'))]\n";
const DJANGO_WSGI: &str = "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\nfrom django.core.wsgi import get_wsgi_application\napplication = get_wsgi_application()\n";

#[derive(Clone, Copy)]
enum Ask {
    /// The page `/` holds this.
    Page(&'static str),
    /// The container prints this.
    Says(&'static str),
    /// The build is refused; the words are in the snapshot.
    Refused,
}

use Ask::{Page, Refused, Says};

struct App {
    name: &'static str,
    files: &'static [(&'static str, &'static str)],
    arguments: &'static [&'static str],
    run: &'static [&'static str],
    /// In place of what the image starts.
    command: &'static [&'static str],
    ask: Ask,
}

const fn app(name: &'static str, files: &'static [(&'static str, &'static str)], ask: Ask) -> App {
    App {
        name,
        files,
        arguments: &[],
        run: &[],
        command: &[],
        ask,
    }
}

impl App {
    const fn built(mut self, arguments: &'static [&'static str]) -> App {
        self.arguments = arguments;
        self
    }

    const fn run(mut self, arguments: &'static [&'static str]) -> App {
        self.run = arguments;
        self
    }

    const fn with_command(mut self, command: &'static [&'static str]) -> App {
        self.command = command;
        self
    }
}

/// Django with `wsgi.py` alone, served by every server.
const DJANGO: &[(&str, &str)] = &[
    ("manage.py", MANAGE),
    ("mysite/__init__.py", ""),
    ("mysite/settings.py", SETTINGS),
    ("mysite/urls.py", URLS),
    ("mysite/wsgi.py", DJANGO_WSGI),
    ("requirements.txt", "django<5\n"),
];
/// The same with accounts.
const ACCOUNTS: &[(&str, &str)] = &[
    ("manage.py", MANAGE),
    ("mysite/__init__.py", ""),
    (
        "mysite/settings.py",
        "SECRET_KEY = 'x'\nALLOWED_HOSTS = ['*']\nROOT_URLCONF = 'mysite.urls'\nINSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes']\nDATABASES = {'default': {'ENGINE': 'django.db.backends.sqlite3', 'NAME': '/tmp/x.sqlite'}}\n",
    ),
    ("mysite/urls.py", URLS),
    ("mysite/wsgi.py", DJANGO_WSGI),
    ("requirements.txt", "django<5\n"),
];

const APPS: &[App] = &[
    // Entry points.
    app("wsgi", &[("wsgi.py", WSGI)], Page("pong")),
    app("asgi", &[("asgi.py", ASGI)], Page("pong")),
    app("main-app", &[("main.py", APP)], Page("pong")),
    app("any-module", &[("coolapi.py", APP)], Page("pong")),
    app("package", &[("shop/__init__.py", ""), ("shop/web.py", APP)], Page("pong")),
    app("deep-package", &[("a/__init__.py", ""), ("a/b/__init__.py", ""), ("a/b/c.py", APP)], Page("pong")),
    app("src-layout", &[("src/shop/__init__.py", ""), ("src/shop/site.py", APP)], Page("pong")),
    app("setup-py", &[("setup.py", "from setuptools import setup\nsetup(name='testapp', py_modules=['testapp'])\n"), ("testapp.py", APP)], Page("pong")),
    app("factory", &[("shop.py", "import inner\ndef create_app():\n    return inner.app\n"), ("inner.py", APP)], Page("pong")),
    app("gunicorn-conf", &[("gunicorn.conf.py", "wsgi_app = 'entry:api'\nbind = '127.0.0.1:5000'\n"), ("entry.py", "def api(environ, start_response):\n    start_response('200 OK', [])\n    return [b'pong']\n"), ("other.py", WSGI)], Page("pong")),
    app("fastapi-entrypoint", &[("pyproject.toml", "[tool.fastapi]\nentrypoint = 'depot:app'\n"), ("depot.py", ASGI), ("demo.py", ASGI)], Page("pong")),
    app("flaskenv", &[(".flaskenv", "FLASK_APP=hello.py\n"), ("hello.py", APP), ("other.py", APP)], Page("pong")),
    app("uvicorn-run", &[("one.py", ASGI), ("two.py", ASGI), ("go.py", "import uvicorn\nif __name__ == '__main__':\n    uvicorn.run('two:app', reload=True)\n")], Page("pong")),
    app("flask", &[("app.py", FLASK), ("requirements.txt", "flask\n")], Page("pong")),
    app("dotted-object", &[("web.py", "class Holder:\n    pass\nholder = Holder()\ndef _app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'pong']\nholder.app = _app\n"), (".warpdrive/application", "web:holder.app")], Page("pong")),
    app("setup-py-lib", &[("setup.py", "from setuptools import setup\nsetup(name='shop', packages=['shop'], package_dir={'': 'lib'})\n"), ("lib/shop/__init__.py", ""), ("lib/shop/site.py", APP)], Page("pong")),
    app("src-layout-not-installed", &[("pyproject.toml", "[project]\nname = 'shop'\nversion = '1'\n"), ("requirements.txt", ""), ("src/shop/__init__.py", ""), ("src/shop/site.py", "from shop import words\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [words.TEXT]\n"), ("src/shop/words.py", "TEXT = b'pong'\n")], Page("pong")),
    // Programs and scripts.
    app("app-py", &[("app.py", SERVER)], Page("pong")),
    app("main-py", &[("main.py", SERVER)], Page("pong")),
    app("run-py", &[("run.py", SERVER)], Page("pong")),
    app("server-py", &[("server.py", SERVER)], Page("pong")),
    app("only-module", &[("anything.py", SERVER)], Page("pong")),
    app("app-sh", &[("app.sh", "#!/bin/sh\nexec python serve.py from shell\n"), ("serve.py", SERVER)], Page("pong from shell")),
    app("script", &[("pyproject.toml", "[project]\nname = 'depot'\nversion = '1'\n[project.scripts]\nserve = 'depot.cli:main'\n[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n[tool.setuptools]\npackages = ['depot']\npackage-dir = {'' = 'src'}\n"), ("src/depot/__init__.py", ""), ("src/depot/cli.py", SERVER)], Page("pong")),
    app("ends", &[("main.py", "if __name__ == '__main__':\n    print('hello and goodbye')\n")], Says("hello and goodbye")),
    // Processes.
    app("procfile", &[("Procfile", "web: cd inner && python serve.py for $PORT\nworker: python work.py\n"), ("inner/serve.py", SERVER), ("work.py", WORKER)], Page("pong for 8080")),
    app("procfile-worker-by-name", &[("Procfile", "web: python serve.py\nworker: python work.py hard\n"), ("serve.py", SERVER), ("work.py", WORKER)], Says("at work hard")).run(&["--process", "worker"]),
    app("procfile-gunicorn", &[("Procfile", "web: gunicorn shop:app --bind 0.0.0.0:$PORT"), ("shop.py", APP)], Page("pong")),
    app("worker-only", &[("Procfile", "worker: python bot.py --loop\n"), ("bot.py", WORKER)], Says("at work --loop")),
    app("setting-web", &[("pyproject.toml", "[tool.warpdrive.processes]\nweb = 'python serve.py by setting'\n"), ("serve.py", SERVER), ("wsgi.py", "def application(environ, start_response):\n    raise SystemExit\n")], Page("pong by setting")),
    app("bot", &[("bot.py", WORKER)], Says("at work")),
    app("loopback-only", &[("app.py", "import http.server, os\nhttp.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])), http.server.SimpleHTTPRequestHandler).serve_forever()\n")], Says("can't reach it; let it listen on 0.0.0.0 (host=\"0.0.0.0\" in its program)")),
    // Directories below.
    app("workspace-member", &[("pyproject.toml", "[tool.uv.workspace]\nmembers = ['apps/*']\n"), ("apps/api/pyproject.toml", "[project]\nname = 'api'\nversion = '1'\ndependencies = []\n"), ("apps/api/main.py", APP), ("apps/words/pyproject.toml", "[project]\nname = 'words'\nversion = '1'\n"), ("apps/words/words.py", "x = 1\n")], Page("pong")),
    app("backend", &[("backend/app.py", APP), ("backend/requirements.txt", ""), ("web/package.json", "{}")], Page("pong")),
    app("deep-below", &[("services/api/Procfile", "web: python serve.py below"), ("services/api/serve.py", SERVER)], Page("pong below")),
    app("sibling-package", &[("backend/app.py", "import shared\napp = shared.app\n"), ("backend/requirements.txt", "../shared\n"), ("shared/pyproject.toml", "[project]\nname = 'shared'\nversion = '1'\n[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n[tool.setuptools]\npy-modules = ['shared']\n"), ("shared/shared.py", APP)], Page("pong")),
    app("poetry-below", &[("services/api/pyproject.toml", "[tool.poetry]\npackage-mode = false\n[tool.poetry.dependencies]\npython = '~3.11'\nwords = { path = '../../libs/words' }\n"), ("services/api/main.py", "import words\napp = words.app\n"), ("libs/words/setup.py", "from setuptools import setup\nsetup(name='words', version='1', py_modules=['words'])\n"), ("libs/words/words.py", APP)], Page("pong")),
    app("uv-workspace-below", &[("pyproject.toml", "[tool.uv.workspace]\nmembers = ['apps/*', 'libs/*']\n"), ("apps/api/pyproject.toml", "[project]\nname = 'api'\nversion = '1'\ndependencies = ['words']\n[tool.uv.sources]\nwords = { workspace = true }\n"), ("apps/api/main.py", "import words\napp = words.app\n"), ("libs/words/pyproject.toml", "[project]\nname = 'words'\nversion = '1'\n[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n[tool.setuptools]\npy-modules = ['words']\n"), ("libs/words/words.py", APP)], Page("pong")),
    app("pipfile-below", &[("api/Pipfile", "[packages]\nflask = '*'\n[requires]\npython_version = '3.11'\n"), ("api/app.py", FLASK)], Page("pong")),
    app("python-below", &[("api/.python-version", "3.9\n"), ("api/app.py", APP), ("api/requirements.txt", "")], Refused),
    app("python-below-a-lock", &[("uv.lock", "version = 1\nrequires-python = \">=3.8\"\n\n[[package]]\nname = \"app\"\nversion = \"1\"\nsource = { virtual = \".\" }\n"), ("pyproject.toml", "[project]\nname = 'app'\nversion = '1'\ndependencies = []\n"), ("services/api/.python-version", "3.9\n"), ("services/api/Procfile", "web: python serve.py"), ("services/api/serve.py", SERVER)], Refused),
    app("two-below", &[("api/app.py", APP), ("api/Procfile", "web: x"), ("admin/app.py", APP), ("admin/Procfile", "web: x")], Refused),
    // OpenShift's variables.
    app("app-module", &[(".s2i/environment", "APP_MODULE=inner:thing\n"), ("inner.py", "from other import app as thing\n"), ("other.py", APP), ("wsgi.py", "1/0\n")], Page("pong")),
    app("app-file", &[(".s2i/environment", "APP_FILE=go.py\n"), ("go.py", SERVER), ("wsgi.py", WSGI)], Page("pong")),
    app("app-script", &[("go.sh", "#!/bin/sh\nexec python serve.py by script\n"), ("serve.py", SERVER)], Page("pong by script")).built(&["-e", "APP_SCRIPT=go.sh"]),
    app("app-home", &[(".s2i/environment", "APP_HOME=inner\n"), ("inner/app.py", APP)], Page("pong")),
    app("app-config", &[(".s2i/environment", "APP_CONFIG=own.py\n"), ("own.py", "raw_env = ['A=1']\n"), ("app.py", "import os\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'pong ' + os.environ['A'].encode()]\n")], Page("pong 1")),
    app("port", &[(".s2i/environment", "PORT=8080\nGREETING=pong of the file\n"), ("app.py", "import os\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [os.environ['GREETING'].encode()]\n")], Page("pong of the file")),
    app("enable-pipenv", &[(".s2i/environment", "ENABLE_PIPENV=true\nPIN_PIPENV_VERSION=2024.1\nUPGRADE_PIP_TO_LATEST=true\n"), ("Pipfile", "[packages]\n"), ("Pipfile.lock", "{\"_meta\": {\"hash\": {\"sha256\": \"ebffa69a1fa192d1cef7cb42ad79231ca976565c5ce371a70160b3048d3cbc06\"}, \"pipfile-spec\": 6, \"requires\": {}, \"sources\": [{\"name\": \"pypi\", \"url\": \"https://pypi.org/simple\", \"verify_ssl\": true}]}, \"default\": {}, \"develop\": {}}"), ("requirements.txt", "no-such-package-as-this==1\n"), ("app.py", APP)], Page("pong")),
    app("enable-micropipenv", &[("requirements.txt", ""), ("Pipfile", "[packages]\n"), ("app.py", APP)], Page("pong")).built(&["-e", "ENABLE_MICROPIPENV=1"]),
    app("enable-pipenv-without-lock", &[("Pipfile", "[packages]\n"), ("app.py", APP)], Refused).built(&["-e", "ENABLE_PIPENV=1"]),
    // Django.
    app("django-gunicorn", DJANGO, Page("pong")).built(&["--set", "server_type=gunicorn"]),
    app("django-mod-wsgi", DJANGO, Page("pong")).built(&["--set", "server_type=mod_wsgi"]),
    app("django-uwsgi", DJANGO, Page("pong")).built(&["--set", "server_type=uwsgi"]),
    app("django-waitress", DJANGO, Page("pong")).built(&["--set", "server_type=waitress"]),
    app("django-hypercorn", DJANGO, Page("pong")).built(&["--set", "server_type=hypercorn"]),
    app("django-daphne", DJANGO, Page("pong")).built(&["--set", "server_type=daphne"]),
    app("django-granian", DJANGO, Page("pong")).built(&["--set", "server_type=granian"]),
    app("django-migrate", ACCOUNTS, Says("Applying auth.0001_initial")).with_command(&["warpdrive", "migrate"]),
    app("django-does-not-migrate", ACCOUNTS, Says("DISABLE_MIGRATE is set: manage.py migrate is not run")).run(&["-e", "DISABLE_MIGRATE=1"]).with_command(&["warpdrive", "migrate"]),
    app("django-setup", ACCOUNTS, Says("Superuser created successfully")).run(&["-e", "DJANGO_SUPERUSER_USERNAME=me", "-e", "DJANGO_SUPERUSER_PASSWORD=word", "-e", "DJANGO_SUPERUSER_EMAIL=me@example.com"]).with_command(&["warpdrive", "setup"]),
    app("django-two-managers", &[("manage.py", MANAGE), ("mysite/__init__.py", ""), ("mysite/settings.py", SETTINGS), ("mysite/urls.py", URLS), ("mysite/wsgi.py", DJANGO_WSGI), ("demo/manage.py", "import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'demo.settings')\n"), ("requirements.txt", "django<5\n")], Page("pong")),
    app("django-managers-below", &[("shop/manage.py", MANAGE), ("shop/mysite/settings.py", SETTINGS), ("blog/manage.py", MANAGE), ("blog/mysite/settings.py", SETTINGS), ("requirements.txt", "django<5\n")], Refused),
    app("django", &[("manage.py", MANAGE), ("mysite/__init__.py", ""), ("mysite/settings.py", SETTINGS), ("mysite/urls.py", URLS), ("mysite/wsgi.py", DJANGO_WSGI), ("requirements.txt", "django<5\n")], Page("pong")),
    app("django-below", &[("site/manage.py", MANAGE), ("site/mysite/__init__.py", ""), ("site/mysite/settings.py", SETTINGS), ("site/mysite/urls.py", URLS), ("site/mysite/wsgi.py", DJANGO_WSGI), ("requirements.txt", "django<5\n")], Page("pong")),
    app("django-asgi-server", &[("manage.py", MANAGE), ("mysite/__init__.py", ""), ("mysite/settings.py", SETTINGS), ("mysite/urls.py", URLS), ("mysite/wsgi.py", DJANGO_WSGI), ("requirements.txt", "django<5\n")], Page("pong")).built(&["--set", "server_type=uvicorn"]),
    app("django-settings-package", &[("manage.py", "import os, sys\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.local')\nfrom django.core.management import execute_from_command_line\nexecute_from_command_line(sys.argv)\n"), ("mysite/__init__.py", ""), ("mysite/local.py", "import debug_toolbar\n"), ("mysite/settings.py", SETTINGS), ("mysite/urls.py", URLS), ("mysite/wsgi.py", DJANGO_WSGI), ("requirements.txt", "django<5\n")], Page("pong")),
    app("django-in-a-directory-of-its-own", &[("manage.py", MANAGE), ("code/mysite/__init__.py", ""), ("code/mysite/settings.py", SETTINGS), ("code/mysite/urls.py", URLS), ("code/mysite/wsgi.py", DJANGO_WSGI), ("code/manage.py", MANAGE), ("requirements.txt", "django<5\n")], Page("pong")),
    // Frameworks with servers of their own.
    app("aiohttp", &[("app.py", "from aiohttp import web\nasync def index(request):\n    return web.Response(text='pong')\napp = web.Application()\napp.add_routes([web.get('/', index)])\nif __name__ == '__main__':\n    web.run_app(app, host='127.0.0.1', port=9)\n"), ("requirements.txt", "aiohttp\n")], Page("pong")),
    app("aiohttp-factory", &[("main.py", "from aiohttp import web\nasync def index(request):\n    return web.Response(text='pong')\nasync def create_app():\n    app = web.Application()\n    app.add_routes([web.get('/', index)])\n    return app\n"), ("requirements.txt", "aiohttp\n")], Page("pong")),
    app("tornado", &[("main.py", "import tornado.web\nclass Index(tornado.web.RequestHandler):\n    def get(self):\n        self.write('pong')\ndef make_app():\n    return tornado.web.Application([('/', Index)])\n"), ("requirements.txt", "tornado\n")], Page("pong")),
    app("aiohttp-program", &[("main.py", "from aiohttp import web\nasync def index(request):\n    return web.Response(text='pong')\ndef init(argv):\n    app = web.Application()\n    app.router.add_get('/', index)\n    return app\nif __name__ == '__main__':\n    web.run_app(init(None), host='127.0.0.1', port=5)\n"), ("requirements.txt", "aiohttp\n")], Page("pong")),
    app("aiohttp-two-ports", &[("main.py", "import asyncio\nfrom aiohttp import web\nasync def index(request):\n    return web.Response(text='pong')\nasync def main():\n    for port, path in ((5000, '/'), (9090, '/metrics')):\n        app = web.Application()\n        app.router.add_get(path, index)\n        runner = web.AppRunner(app)\n        await runner.setup()\n        await web.TCPSite(runner, 'localhost', port).start()\n    await asyncio.Event().wait()\nif __name__ == '__main__':\n    asyncio.run(main())\n"), ("requirements.txt", "aiohttp\n")], Page("pong")),
    app("tornado-two-ports", &[("main.py", "import asyncio, tornado.web\nclass Index(tornado.web.RequestHandler):\n    def get(self):\n        self.write('pong')\nasync def main():\n    tornado.web.Application([('/', Index)]).listen(8888, address='127.0.0.1')\n    tornado.web.Application([('/metrics', Index)]).listen(9090)\n    await asyncio.Event().wait()\nif __name__ == '__main__':\n    asyncio.run(main())\n"), ("requirements.txt", "tornado\n")], Page("pong")),
    app("tornado-program", &[("main.py", "import asyncio, tornado.web\nclass Index(tornado.web.RequestHandler):\n    def get(self):\n        self.write('pong')\nasync def main():\n    tornado.web.Application([('/', Index)], debug=True).listen(8888, address='127.0.0.1')\n    await asyncio.Event().wait()\nif __name__ == '__main__':\n    asyncio.run(main())\n"), ("requirements.txt", "tornado\n")], Page("pong")),
    app("sanic", &[("server.py", "from sanic import Sanic\nfrom sanic.response import text\napp = Sanic('x')\n@app.get('/')\nasync def index(request):\n    return text('pong')\nif __name__ == '__main__':\n    app.run(host='127.0.0.1', port=1, debug=True)\n"), ("requirements.txt", "sanic\n")], Page("pong")),
    app("quart", &[("app.py", "from quart import Quart\napp = Quart(__name__)\n@app.get('/')\nasync def index():\n    return 'pong'\nif __name__ == '__main__':\n    app.run(debug=True)\n"), ("requirements.txt", "quart\n")], Page("pong")),
    app("pyramid", &[("production.ini", "[app:main]\nuse = egg:shop\n[server:main]\nuse = egg:waitress#main\nlisten = localhost:6543\n"), ("setup.py", "from setuptools import setup\nsetup(name='shop', version='1', packages=['shop'], install_requires=['pyramid'], entry_points={'paste.app_factory': ['main = shop:main']})\n"), ("shop/__init__.py", "from pyramid.config import Configurator\nfrom pyramid.response import Response\ndef main(config, **settings):\n    made = Configurator(settings=settings)\n    made.add_route('home', '/')\n    made.add_view(lambda request: Response('pong'), route_name='home')\n    return made.make_wsgi_app()\n")], Page("pong")),
    app("dramatiq", &[("actors.py", "import dramatiq\nfrom dramatiq.brokers.stub import StubBroker\ndramatiq.set_broker(StubBroker())\n@dramatiq.actor\ndef job():\n    pass\n"), ("requirements.txt", "dramatiq\n")], Says("ramatiq")),
    app("bottle", &[("app.py", "from bottle import route, run\n@route('/')\ndef index():\n    return 'pong'\nrun(host='localhost', port=9, reloader=True)\n"), ("requirements.txt", "bottle\n")], Page("pong")),
    app("cherrypy", &[("app.py", "import cherrypy\nclass Root:\n    @cherrypy.expose\n    def index(self):\n        return 'pong'\nif __name__ == '__main__':\n    cherrypy.quickstart(Root())\n"), ("requirements.txt", "cherrypy\n")], Page("pong")),
    app("celery", &[("jobs.py", "from celery import Celery\nqueue = Celery('x', broker='memory://')\n"), ("requirements.txt", "celery\n")], Says("celery@")),
    // Refused.
    app("only-required", &[("requirements.txt", "streamlit\n"), ("helpers/words.py", "x = 1\n")], Refused),
    app("empty", &[("README.md", "x")], Refused),
    app("library", &[("lib.py", "x = 1\n")], Refused),
    app("two", &[("one.py", APP), ("two.py", APP)], Refused),
    app("conda", &[("environment.yml", "name: x\ndependencies: [flask]\n"), ("app.py", FLASK)], Refused),
    app("processes-without-web", &[("Procfile", "a: python x.py\nb: python y.py\n"), ("x.py", "x = 1\n"), ("y.py", "x = 1\n")], Refused),
    app("syntax", &[("app.py", "from flask import Flask\napp = Flask(__name__\n")], Refused),
    app("factory-with-arguments", &[("shop.py", "from flask import Flask\ndef create_app(config):\n    return Flask(config)\n")], Refused),
    app("app-sh-not-executable", &[("public/index.html", "x"), ("shell/app.sh", "#!/bin/sh\n"), (".warpdrive/shell_file", "shell/app.sh")], Refused),
    app("wrong-flaskenv", &[(".flaskenv", "\nFLASK_APP=gone:app\n"), ("app.py", FLASK)], Refused),
    // Refused before the image is made.
    app("missing-module", &[("app.py", "import yaml\ndef app(environ, start_response):\n    pass\n")], Refused),
    app("misspelt-requirements", &[("app.py", FLASK), ("requirement.txt", "flask==3.0\n")], Refused),
    app("missing-variables", &[("app.py", "import os\nA = os.environ['FIRST_KEY']\nB = os.environ['SECOND_KEY']\ndef app(environ, start_response):\n    pass\n")], Refused),
    app("given-variable", &[("app.py", "import os\nA = os.environ['FIRST_KEY']\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'pong ' + A.encode()]\n")], Page("pong mine")).built(&["--build-env", "FIRST_KEY=x"]).run(&["-e", "FIRST_KEY=mine"]),
    app("raises", &[("app.py", "def app(environ, start_response):\n    pass\nraise ValueError('boom')\n")], Refused),
    app("raises-without-smoke", &[("app.py", "import os\nif 'HERE' not in os.environ:\n    raise ValueError('boom')\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'pong']\n")], Page("pong")).built(&["--no-smoke"]).run(&["-e", "HERE=1"]),
    app("other-names", &[("web.py", "def handle(request, respond):\n    respond('200 OK', [('Content-Type', 'text/plain')])\n    return [b'pong']\n")], Page("pong")),
    app("other-names-asgi", &[("web.py", "async def handle(s, r, w):\n    if s['type'] == 'http':\n        await w({'type': 'http.response.start', 'status': 200, 'headers': []})\n        await w({'type': 'http.response.body', 'body': b'pong'})\n")], Page("pong")),
    app("fasthtml-session-key", &[("main.py", "from fasthtml.common import *\napp, rt = fast_app()\n@rt('/')\ndef get():\n    return P('pong')\nserve()\n"), ("requirements.txt", "python-fasthtml\n")], Page("pong")),
    app("console-script", &[("setup.py", "from setuptools import setup\nsetup(name='depot', version='1', py_modules=['depot_cli'], entry_points={'console_scripts': ['depot=depot_cli:main']})\n"), ("depot_cli.py", SERVER)], Page("pong")),
    app("package-main", &[("depot/__init__.py", ""), ("depot/__main__.py", SERVER)], Page("pong")),
    app("src-package-main", &[("src/depot/__init__.py", ""), ("src/depot/cli.py", SERVER), ("src/depot/__main__.py", "from .cli import main\nmain()\n")], Page("pong")),
    app("inline-list", &[("main.py", "# /// script\n# dependencies = ['flask']\n# ///\nfrom flask import Flask\napp = Flask(__name__)\n@app.get('/')\ndef index():\n    return 'pong'\n")], Page("pong")),
    app("group-not-installed", &[("pyproject.toml", "[project]\nname = 'x'\nversion = '1'\ndependencies = []\n[dependency-groups]\nweb = ['flask>=3']\n"), ("app.py", FLASK)], Refused),
    app("extra-not-installed", &[("pyproject.toml", "[project]\nname = 'x'\nversion = '1'\ndependencies = []\n[project.optional-dependencies]\nweb = ['flask']\n"), ("app.py", FLASK)], Refused),
    app("app-engine", &[("app.yaml", "runtime: python311\nentrypoint: gunicorn -b :$PORT custom:app\n"), ("custom.py", APP), ("other.py", APP)], Page("pong")),
    app("railpack", &[("railpack.json", "{\"deploy\": {\"startCommand\": \"python serve.py by railpack\"}}"), ("serve.py", SERVER), ("wsgi.py", WSGI)], Page("pong by railpack")),
    app("function", &[("main.py", "import functions_framework\n@functions_framework.http\ndef hello(request):\n    return 'pong'\n"), ("requirements.txt", "functions-framework\n")], Page("pong")),
    app("start-sh", &[("start.sh", "#!/bin/sh\nexec python serve.py from start.sh\n"), ("serve.py", SERVER), ("other.py", "")], Page("pong from start.sh")),
    app("procfile-script-not-executable", &[("Procfile", "web: ./go.py now\n"), ("go.py", SERVER)], Refused),
    app("procfile-names-no-module", &[("Procfile", "web: gunicorn gone.web:app -b 0.0.0.0:$PORT\n"), ("app.py", FLASK), ("requirements.txt", "flask\n")], Refused),
    app("procfile-wsgi-module", &[("Procfile", "web: gunicorn shop.wsgi --log-file -\n"), ("shop/__init__.py", ""), ("shop/wsgi.py", "import nosuch\n")], Refused),
    app("procfile-elsewhere", &[("Procfile", "web: gunicorn --chdir inner web:app -b 0.0.0.0:$PORT\n"), ("inner/web.py", APP)], Page("pong")),
    app("procfile-factory", &[("Procfile", "web: gunicorn 'web:make()' -b 0.0.0.0:$PORT\n"), ("web.py", "def make():\n    return app\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'pong']\n")], Page("pong")),
    app("two-programs", &[("one.py", SERVER), ("two.py", SERVER)], Refused),
    app("binder", &[("binder/requirements.txt", "flask\n"), ("app.py", FLASK)], Page("pong")),
    app("binder-conda", &[("binder/environment.yml", "name: x\n"), ("app.py", FLASK)], Refused),
    app("only-module-acts", &[("job.py", "import time\nprint('tick', flush=True)\nwhile True:\n    time.sleep(1)\n")], Says("tick")),
    app("thread-at-import", &[("app.py", "import threading, time\ndef work():\n    while True:\n        time.sleep(1)\nthreading.Thread(target=work).start()\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'pong']\n")], Page("pong")),
    app("thread-and-raises", &[("app.py", "import threading, time\ndef work():\n    while True:\n        time.sleep(1)\nthreading.Thread(target=work).start()\nraise ValueError('boom')\ndef app(environ, start_response):\n    pass\n")], Refused),
    app("exits-at-import", &[("app.py", "import sys\nsys.exit()\ndef app(environ, start_response):\n    pass\n")], Refused),
    app("smoke-off", &[("pyproject.toml", "[tool.warpdrive]\nsmoke = false\n"), ("app.py", "import os\nif 'HERE' not in os.environ:\n    raise ValueError('boom')\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'pong']\n")], Page("pong")).run(&["-e", "HERE=1"]),
    app("database-at-import", &[("app.py", "import os, socket\nif 'HERE' not in os.environ:\n    socket.create_connection(('127.0.0.1', 9))\ndef app(environ, start_response):\n    start_response('200 OK', [])\n    return [b'pong']\n")], Page("pong")).run(&["-e", "HERE=1"]),
    app("crlf", &[("app.sh", "#!/bin/sh\r\nexec python serve.py\r\n"), ("serve.py", SERVER)], Refused),
    app("no-interpreter", &[("app.sh", "#!/usr/bin/nothing\n"), ("serve.py", SERVER)], Refused),
    app("program-misses-module", &[("main.py", "import requests\nif __name__ == '__main__':\n    print(1)\n")], Refused),
    app("django-urls", &[("manage.py", MANAGE), ("mysite/__init__.py", ""), ("mysite/settings.py", SETTINGS), ("mysite/urls.py", "from mysite import gone\nurlpatterns = []\n"), ("mysite/wsgi.py", DJANGO_WSGI), ("requirements.txt", "django<5\n")], Refused),
];

fn lay_out(app: &App, to: &Path) {
    for (path, text) in app.files {
        let path = to.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let program =
            path.extension().is_some_and(|end| end == "sh") && !path.starts_with(to.join("shell"));
        if program {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
}

/// Builds one, and asks it. Gives the words of a refusal.
fn attempt(warpdrive: &Warpdrive, app: &App) -> Result<Option<String>, String> {
    let source = tempfile::tempdir().unwrap();
    lay_out(app, source.path());
    let image = format!("shape-{}", app.name);
    let mut arguments = warpdrive.image_arguments(&image);
    arguments.push("--json");
    arguments.extend(app.arguments);
    // uWSGI and mod_wsgi are compiled.
    let mut command = warpdrive.command_in(source.path(), &[], &arguments);
    let built = process::output_within(&mut command, Duration::from_mins(9));
    let words = process::words(&built);
    if matches!(app.ask, Refused) {
        if built.status.success() {
            return Err("it was built".to_owned());
        }
        let report: serde_json::Value =
            serde_json::from_slice(&built.stdout).map_err(|error| format!("{error}: {words}"))?;
        let error = &report["error"];
        let said = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        return Ok(Some(format!("{}\nhint: {}", said("message"), said("hint"))));
    }
    if !built.status.success() {
        return Err(words);
    }
    let port = http::free_port();
    let publish = format!("{port}:8080");
    let mut arguments = vec![
        "run",
        "--detach",
        "--read-only",
        "--user",
        OPENSHIFT_USER,
        "--name",
        &image,
    ];
    arguments.extend(["--publish", &publish]);
    arguments.extend(app.run);
    arguments.push(&image);
    if !app.command.is_empty() {
        arguments.push("--");
        arguments.extend(app.command);
    }
    let started = process::output(&mut warpdrive.command(&arguments));
    let log = || process::words(&warpdrive.output(&["container", "logs", &image]));
    let right = started.status.success()
        && poll(Duration::from_mins(1), || match app.ask {
            Page(text) => http::get(port, "/")
                .is_ok_and(|answer| answer.status == 200 && answer.text().contains(text))
                .then_some(()),
            Says(text) => log().contains(text).then_some(()),
            Refused => None,
        })
        .is_some();
    let words = format!("{words}\n{}\n{}", process::words(&started), log());
    let _ = warpdrive.output(&["container", "rm", "--force", &image]);
    if right { Ok(None) } else { Err(words) }
}

#[test]
fn what_writes_into_its_root_is_built_with_a_warning() {
    let warpdrive = Warpdrive::with(PYTHON_311);
    let source = tempfile::tempdir().unwrap();
    let logs = "import logging.config\nlogging.config.dictConfig({'version': 1, 'handlers': {'file': {'class': 'logging.FileHandler', 'filename': 'logs.txt'}}, 'root': {'handlers': ['file']}})\n";
    fs::write(source.path().join("wsgi.py"), format!("{logs}{WSGI}")).unwrap();
    let path = source.path().display().to_string();
    let image = || warpdrive.output(&["image", "writes", "--path", &path]);
    let built = image();
    let words = process::words(&built);
    assert!(built.status.success(), "{words}");
    let log = Path::new("/opt/app-root/src/logs.txt");
    assert!(
        words.contains(&format!(
            "the application writes {} when it is loaded",
            log.display()
        )),
        "{words}"
    );
    // What fails with a root that can be written, too, is refused for its own reason.
    fs::write(
        source.path().join("wsgi.py"),
        format!("{logs}import nosuchmodule\n{WSGI}"),
    )
    .unwrap();
    let refused = image();
    let words = process::words(&refused);
    assert!(
        !refused.status.success() && words.contains("nosuchmodule"),
        "{words}"
    );
    assert!(!words.contains("when it is loaded"), "{words}");
}

#[test]
fn every_shape_is_found_started_or_refused() {
    let warpdrive = Warpdrive::with(PYTHON_311);
    let only = std::env::var("ONLY").unwrap_or_default();
    let apps: Vec<&App> = APPS.iter().filter(|app| app.name.contains(&only)).collect();
    let next = AtomicUsize::new(0);
    let (wrong, refused) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(app) = apps.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match attempt(&warpdrive, app) {
                        Ok(None) => {}
                        Ok(Some(words)) => refused.lock().unwrap().push((app.name, words)),
                        Err(words) => wrong
                            .lock()
                            .unwrap()
                            .push(format!("## {}\n{words}", app.name)),
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} of {} are not right:\n{}",
        wrong.len(),
        apps.len(),
        wrong.join("\n")
    );
    if only.is_empty() {
        assert!(apps.len() >= 60, "{}", apps.len());
        let mut refused = refused.into_inner().unwrap();
        refused.sort();
        let text: Vec<String> = refused
            .iter()
            .map(|(name, words)| format!("# {name}\n{words}\n"))
            .collect();
        insta::assert_snapshot!(text.join("\n"));
    }
}
