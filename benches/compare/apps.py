"""The applications that everybody builds, and what is done to them between two builds."""

import shutil
from pathlib import Path

FLASK = """\
from flask import Flask

app = Flask(__name__)


@app.route("/")
def index():
    return "hello"
"""

SETTINGS = """\
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent
SECRET_KEY = "measured, never served"
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "mysite.urls"
WSGI_APPLICATION = "mysite.wsgi.application"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "static_root"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
"""

URLS = """\
from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
"""

WSGI = """\
import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
application = get_wsgi_application()
"""

MANAGE = """\
import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
"""

FASTAPI = """\
import numpy
import pandas
from fastapi import FastAPI
from sklearn.linear_model import LinearRegression

app = FastAPI()


@app.get("/")
async def index():
    frame = pandas.DataFrame({"x": numpy.arange(9)})
    return {"score": LinearRegression().fit(frame, frame["x"]).score(frame, frame["x"])}
"""

# What one more small requirement is.
SMALL = "humanize==4.17.0"


class App:
    """A source tree, its requirements, and the file whose line changes."""

    def __init__(self, name, requirements, files, edited, collectstatic=False):
        self.name, self.requirements, self.files = name, requirements, files
        self.edited, self.collectstatic = edited, collectstatic

    def write(self, directory: Path, requirements=None):
        """A fresh tree, as it is before every edit."""
        shutil.rmtree(directory, ignore_errors=True)
        files = dict(self.files)
        files["requirements.txt"] = "".join(f"{line}\n" for line in requirements or self.requirements)
        for path, content in files.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_text(content)

    def another(self, directory: Path):
        """Another application with the same packages, in a list that is its own."""
        self.write(directory, list(reversed(self.requirements)))
        self.edit_line(directory, "another application")

    def edit_line(self, directory: Path, words):
        with (directory / self.edited).open("a") as file:
            file.write(f"# {words}\n")

    def add_requirement(self, directory: Path):
        with (directory / "requirements.txt").open("a") as file:
            file.write(f"{SMALL}\n")


FLASK_LIST = ["flask==3.1.3", "gunicorn==27.0.1"]

APPS = {
    app.name: app
    for app in [
        App("flask", FLASK_LIST, {"app.py": FLASK}, "app.py"),
        App(
            "django",
            ["django==5.2.19", "whitenoise==6.12.0", "gunicorn==27.0.1"],
            {
                "manage.py": MANAGE,
                "mysite/__init__.py": "",
                "mysite/settings.py": SETTINGS,
                "mysite/urls.py": URLS,
                "mysite/wsgi.py": WSGI,
            },
            "mysite/urls.py",
            collectstatic=True,
        ),
        App(
            "heavy",
            ["fastapi==0.165.0", "uvicorn==0.54.0", "numpy==2.4.6", "pandas==3.1.1", "scikit-learn==1.9.1"],
            {"main.py": FASTAPI},
            "main.py",
        ),
        # 500 files: what it costs to see that nothing has changed.
        App(
            "files",
            FLASK_LIST,
            {"app.py": FLASK, **{f"package/m{n:03}.py": f"VALUE = {n}\n" * 50 for n in range(499)}},
            "app.py",
        ),
    ]
}
