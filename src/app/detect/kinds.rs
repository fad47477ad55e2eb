//! What the names of web frameworks mean: which constructors make a WSGI or an ASGI application.

use serde::{Deserialize, Serialize};

/// How a server talks to an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// PEP 3333.
    Wsgi,
    /// <https://asgi.readthedocs.io>
    Asgi,
    /// Neither: the framework brings its own server (aiohttp, Tornado).
    Own,
}

use Interface::{Asgi, Own, Wsgi};

/// Callables, by their full dotted names, and what calling them gives: interface and framework.
const CONSTRUCTORS: &[(&str, Interface, &str)] = &[
    ("aiohttp.web.Application", Own, "aiohttp"),
    ("apiflask.APIFlask", Wsgi, "flask"),
    ("ariadne.asgi.GraphQL", Asgi, "ariadne"),
    ("ariadne.wsgi.GraphQL", Wsgi, "ariadne"),
    ("blacksheep.Application", Asgi, "blacksheep"),
    ("blacksheep.server.Application", Asgi, "blacksheep"),
    ("bottle.Bottle", Wsgi, "bottle"),
    ("bottle.app", Wsgi, "bottle"),
    ("bottle.default_app", Wsgi, "bottle"),
    ("channels.routing.ProtocolTypeRouter", Asgi, "django"),
    ("channels.routing.get_default_application", Asgi, "django"),
    ("cherrypy.Application", Wsgi, "cherrypy"),
    ("cherrypy.tree.mount", Wsgi, "cherrypy"),
    ("connexion.AsyncApp", Asgi, "connexion"),
    ("connexion.App", Asgi, "connexion"),
    ("connexion.FlaskApp", Asgi, "connexion"),
    ("django.core.asgi.get_asgi_application", Asgi, "django"),
    ("django.core.handlers.wsgi.WSGIHandler", Wsgi, "django"),
    ("django.core.wsgi.get_wsgi_application", Wsgi, "django"),
    ("falcon.API", Wsgi, "falcon"),
    ("falcon.App", Wsgi, "falcon"),
    ("falcon.app.App", Wsgi, "falcon"),
    ("falcon.asgi.App", Asgi, "falcon"),
    ("fastapi.FastAPI", Asgi, "fastapi"),
    ("fastapi.applications.FastAPI", Asgi, "fastapi"),
    ("flask.Flask", Wsgi, "flask"),
    ("flask.app.Flask", Wsgi, "flask"),
    ("flask_openapi3.OpenAPI", Wsgi, "flask"),
    ("gradio.mount_gradio_app", Asgi, "fastapi"),
    ("litestar.Litestar", Asgi, "litestar"),
    ("fasthtml.common.FastHTML", Asgi, "fasthtml"),
    ("fasthtml.common.fast_app", Asgi, "fasthtml"),
    ("fasthtml.FastHTML", Asgi, "fasthtml"),
    ("fasthtml.fastapp.fast_app", Asgi, "fasthtml"),
    ("esmerald.Esmerald", Asgi, "esmerald"),
    ("emmett.App", Asgi, "emmett"),
    ("microdot.asgi.Microdot", Asgi, "microdot"),
    ("microdot.wsgi.Microdot", Wsgi, "microdot"),
    ("shiny.App", Asgi, "shiny"),
    ("starlite.Starlite", Asgi, "starlite"),
    ("quart.Quart", Asgi, "quart"),
    ("quart.app.Quart", Asgi, "quart"),
    ("responder.API", Asgi, "responder"),
    ("robyn.Robyn", Own, "robyn"),
    ("sanic.Sanic", Asgi, "sanic"),
    ("sanic.app.Sanic", Asgi, "sanic"),
    ("socketio.ASGIApp", Asgi, "socketio"),
    ("socketio.WSGIApp", Wsgi, "socketio"),
    ("spyne.server.wsgi.WsgiApplication", Wsgi, "spyne"),
    ("starlette.applications.Starlette", Asgi, "starlette"),
    ("strawberry.asgi.GraphQL", Asgi, "strawberry"),
    ("tornado.web.Application", Own, "tornado"),
    ("webapp2.WSGIApplication", Wsgi, "webapp2"),
    // One interface to the other.
    ("a2wsgi.ASGIMiddleware", Wsgi, ""),
    ("a2wsgi.WSGIMiddleware", Asgi, ""),
    ("asgiref.wsgi.WsgiToAsgi", Asgi, ""),
    ("uvicorn.middleware.wsgi.WSGIMiddleware", Asgi, ""),
];

/// Methods that make an application, whatever object they belong to.
const METHODS: &[(&str, Interface, &str)] = &[
    ("make_wsgi_app", Wsgi, "pyramid"),
    ("wsgifunc", Wsgi, "web.py"),
    ("streamable_http_app", Asgi, "mcp"),
    ("sse_app", Asgi, "mcp"),
];

/// Constructors of objects that are not an application but have one: attribute and interface.
const HOLDERS: &[(&str, &str, Interface, &str)] = &[
    ("dash.Dash", "server", Wsgi, "dash"),
    ("dash.dash.Dash", "server", Wsgi, "dash"),
    ("dash_extensions.enrich.DashProxy", "server", Wsgi, "dash"),
    ("jupyter_dash.JupyterDash", "server", Wsgi, "dash"),
];

/// Attributes of an application that are an application.
const ATTRIBUTES: &[(&str, Interface)] = &[("wsgi_app", Wsgi), ("asgi_app", Asgi)];

/// Callables whose result is an application of the kind of their argument. Anything whose name ends
/// in `Middleware` is one, too.
const WRAPPERS: &[&str] = &[
    "Cling",
    "MediaCling",
    "ProxyFix",
    "WhiteNoise",
    "WSGIApplicationWrapper",
    "ASGIApplicationWrapper",
    "DebuggedApplication",
    "AuthMiddlewareStack",
];

pub(super) fn constructor(dotted: &str) -> Option<(Interface, &'static str)> {
    CONSTRUCTORS
        .iter()
        .find(|(name, ..)| *name == dotted)
        .map(|(_, interface, framework)| (*interface, *framework))
}

/// All of them, for the page.
#[cfg(test)]
pub(super) fn constructors() -> impl Iterator<Item = (&'static str, Interface, &'static str)> {
    let holders = HOLDERS
        .iter()
        .map(|(name, _, interface, framework)| (*name, *interface, *framework));
    CONSTRUCTORS.iter().copied().chain(holders)
}

pub(super) fn method(name: &str) -> Option<(Interface, &'static str)> {
    METHODS
        .iter()
        .find(|(known, ..)| *known == name)
        .map(|(_, interface, framework)| (*interface, *framework))
}

/// The attribute that is an application, and of which kind.
pub(super) fn holder(dotted: &str) -> Option<(&'static str, Interface, &'static str)> {
    HOLDERS
        .iter()
        .find(|(name, ..)| *name == dotted)
        .map(|(_, attribute, interface, framework)| (*attribute, *interface, *framework))
}

pub(super) fn attribute(name: &str) -> Option<Interface> {
    ATTRIBUTES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, interface)| *interface)
}

pub(super) fn wraps(dotted: &str) -> bool {
    let name = dotted.rsplit('.').next().unwrap_or(dotted);
    WRAPPERS.contains(&name) || name.ends_with("Middleware")
}

/// Functions of these names that return an application are factories.
pub(super) const FACTORIES: &[&str] = &[
    "create_app",
    "make_app",
    "create_application",
    "make_application",
    "build_app",
    "get_app",
    "app_factory",
];

/// Calls that serve and do not return.
pub(super) fn serves(dotted: &str) -> bool {
    matches!(
        dotted,
        "uvicorn.run"
            | "waitress.serve"
            | "hypercorn.run"
            | "aiohttp.web.run_app"
            | "bottle.run"
            | "granian.Granian.serve"
            | "gevent.pywsgi.WSGIServer.serve_forever"
            | "cherrypy.quickstart"
            | "cherrypy.engine.block"
            | "asyncio.run"
            | "tornado.ioloop.IOLoop.current.start"
    )
}
