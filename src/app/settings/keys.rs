//! The table of settings, files and hooks.

use super::super::contract;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Separated by white space.
    List,
    OneOf(&'static [&'static str]),
    Switch,
    /// One of [`AGENTS`], or `autowrapt:NAME,NAME`.
    Instrument,
}

/// The agents that [`Kind::Instrument`] knows besides `autowrapt`.
pub const AGENTS: &[&str] = &["opentelemetry", "newrelic", "ddtrace"];

/// A setting. Its name is that of the file in `.warpdrive` and of the key in `[tool.warpdrive]`.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    /// Environment variables, the preferred one first.
    pub variables: &'static [&'static str],
    pub kind: Kind,
    pub default: Option<&'static str>,
    /// Whether `.warpdrive/NAME` can set it, too.
    pub file: bool,
    pub help: &'static str,
}

const fn key(
    name: &'static str,
    variables: &'static [&'static str],
    kind: Kind,
    default: Option<&'static str>,
    help: &'static str,
) -> Key {
    Key {
        name,
        variables,
        kind,
        default,
        file: true,
        help,
    }
}

/// Every setting.
pub const KEYS: &[Key] = &[
    key(
        "home",
        &[contract::APP_HOME, "APP_HOME"],
        Kind::Text,
        None,
        "directory of the application inside the source",
    ),
    key(
        "deploy_mode",
        &["WARPDRIVE_DEPLOY_MODE"],
        Kind::OneOf(&[
            "auto",
            "shell",
            "python",
            "django",
            "wsgi",
            "asgi",
            "gunicorn",
            "mod_wsgi",
            "uwsgi",
            "waitress",
            "uvicorn",
            "hypercorn",
            "daphne",
            "granian",
            "jupyter",
        ]),
        Some("auto"),
        "how the application is started",
    ),
    key(
        "server_type",
        &["WARPDRIVE_SERVER_TYPE"],
        Kind::OneOf(&[
            "gunicorn",
            "mod_wsgi",
            "uwsgi",
            "waitress",
            "uvicorn",
            "hypercorn",
            "daphne",
            "granian",
            "jupyter",
            "jupyter_lab",
            "jupyter_notebook",
        ]),
        None,
        "the server; by default what the requirements bring, else gunicorn or uvicorn",
    ),
    key(
        "server_args",
        &["WARPDRIVE_SERVER_ARGS"],
        Kind::Text,
        None,
        "more arguments for the server; $V, ${V} and ${V:-default} are expanded at start",
    ),
    key(
        "instrument",
        &[contract::INSTRUMENT],
        Kind::Instrument,
        None,
        "the agent that watches the application: opentelemetry, newrelic, ddtrace or autowrapt:NAME,NAME",
    ),
    key(
        "application",
        &["WARPDRIVE_APPLICATION", "APP_MODULE"],
        Kind::Text,
        None,
        "the WSGI or ASGI application as module:object, or module:function() for a factory",
    ),
    key(
        "installer",
        &["WARPDRIVE_INSTALLER"],
        Kind::OneOf(&["uv", "pip"]),
        Some("uv"),
        "what installs the dependencies",
    ),
    key(
        "requirements",
        &["WARPDRIVE_PIP_PACKAGES"],
        Kind::List,
        None,
        "requirement files (default requirements.txt)",
    ),
    key(
        "dependencies",
        &["WARPDRIVE_DEPENDENCIES"],
        Kind::OneOf(&["uv", "poetry", "pdm", "pipenv", "pylock", "pip"]),
        None,
        "whose list of packages counts, where there are several; pip is requirements.txt",
    ),
    key(
        "dependency_extras",
        &["WARPDRIVE_DEPENDENCY_EXTRAS"],
        Kind::List,
        None,
        "extras of the project that are installed",
    ),
    key(
        "dependency_groups",
        &["WARPDRIVE_DEPENDENCY_GROUPS"],
        Kind::List,
        None,
        "groups (of Pipenv: sections) that are installed besides the default",
    ),
    key(
        "python",
        &["WARPDRIVE_PYTHON"],
        Kind::Text,
        None,
        "the wanted Python version, as 3.12 or >=3.10,<3.13",
    ),
    key(
        "builder_image",
        &["WARPDRIVE_BUILDER_IMAGE"],
        Kind::Text,
        None,
        "the builder image",
    ),
    key(
        "runtime",
        &["WARPDRIVE_RUNTIME"],
        Kind::Text,
        None,
        "the image that the application runs on; builder is the builder image itself",
    ),
    key(
        "packages",
        &["WARPDRIVE_PACKAGES"],
        Kind::List,
        None,
        "packages of Debian for the image",
    ),
    key(
        "build_packages",
        &["WARPDRIVE_BUILD_PACKAGES"],
        Kind::List,
        None,
        "packages of Debian for the build, which the image does not have",
    ),
    key(
        "collectstatic",
        &["WARPDRIVE_COLLECTSTATIC"],
        Kind::Switch,
        Some("on"),
        "whether Django's static files are collected",
    ),
    key(
        "assets",
        &["WARPDRIVE_ASSETS"],
        Kind::List,
        None,
        "directories whose package.json is built for the front end, or off",
    ),
    key(
        "assets_builder",
        &["WARPDRIVE_ASSETS_BUILDER"],
        Kind::Text,
        None,
        "the image with Node that builds the front end",
    ),
    key(
        "smoke",
        &["WARPDRIVE_SMOKE"],
        Kind::Switch,
        Some("on"),
        "whether a build loads the application before it makes the image",
    ),
    key(
        "pre_build_reads",
        &["WARPDRIVE_PRE_BUILD_READS"],
        Kind::List,
        None,
        "files that the pre-build hook reads; without it all the source counts",
    ),
    key(
        "python_file",
        &["WARPDRIVE_PYTHON_FILE", "APP_FILE"],
        Kind::Text,
        Some("app.py"),
        "the program of mode python",
    ),
    key(
        "shell_file",
        &["WARPDRIVE_SHELL_FILE", "APP_SCRIPT"],
        Kind::Text,
        Some("app.sh"),
        "the program of mode shell",
    ),
    key(
        "wsgi_module_name",
        &["WARPDRIVE_WSGI_MODULE_NAME"],
        Kind::Text,
        None,
        "module of the WSGI application (original name; see application)",
    ),
    key(
        "wsgi_callable_object",
        &["WARPDRIVE_WSGI_CALLABLE_OBJECT"],
        Kind::Text,
        None,
        "object in that module (original name; see application)",
    ),
    key(
        "wsgi_static_url",
        &["WARPDRIVE_WSGI_STATIC_URL"],
        Kind::Text,
        None,
        "URL below which static files are served",
    ),
    key(
        "wsgi_static_root",
        &["WARPDRIVE_WSGI_STATIC_ROOT"],
        Kind::Text,
        None,
        "directory of these files",
    ),
];

/// The names for which `server_args` may be set: the servers and the other ways to start.
pub const STARTED: &[&str] = &[
    "gunicorn",
    "mod_wsgi",
    "uwsgi",
    "waitress",
    "uvicorn",
    "hypercorn",
    "daphne",
    "granian",
    "jupyter",
    "python",
    "shell",
    "process",
];

/// The other files in `.warpdrive`.
pub(super) const OTHER_FILES: &[&str] =
    &["environment", "action_hooks", "wheelhouse", "server_args"];

/// Every hook in `.warpdrive/action_hooks`.
pub const HOOKS: &[&str] = &[
    "pre-build",
    "install",
    "build-env",
    "build",
    "deploy-cfg",
    "deploy-env",
    "deploy",
    "setup",
    "migrate",
    "verify",
    "alive",
    "ready",
];
