//! Small Python modules that a build writes: some stand between a server and the application
//! (static files, a call of the factory for servers that take only objects), others start a server
//! that would not stop correctly by itself.

use std::path::Path;

use super::super::detect::Interface;
use super::super::plan::{Application, MODULES_DIRECTORY, Plan, Start, StaticMap};
use super::super::server::Server;
use super::AssembleError;

/// Gives the installed release of the first of these packages that is there.
type Release<'a> = dyn Fn(&[&str]) -> Result<Option<String>, AssembleError> + 'a;

/// Writes the modules that the server of a plan needs, and completes the plan with them.
pub fn complete(
    plan: &mut Plan,
    app_root: &Path,
    release: &Release<'_>,
) -> Result<(), AssembleError> {
    if let Start::Server {
        server,
        application,
    } = &mut plan.start
    {
        write_launcher(app_root, *server)?;
        if let Some(application) = application {
            application.wrapper = write(app_root, *server, application, &plan.static_files)?;
        }
        plan.server_version = release(server.packages())?;
    }
    if matches!(&plan.start, Start::Command { line } if line.contains("warpdrive_serve")) {
        write_serve(app_root)?;
    }
    Ok(())
}

/// Writes the module that the server needs and returns its name.
fn write(
    app_root: &Path,
    server: Server,
    application: &Application,
    static_files: &[StaticMap],
) -> Result<Option<String>, AssembleError> {
    let asgi = application.interface == Interface::Asgi;
    let wrapped = !static_files.is_empty() && !server.serves_static_files();
    // A dotted object (`main:app.server`) is more than a name.
    let cannot_call = application.object.contains('.')
        || (application.factory
            && matches!(server, Server::ModWsgi | Server::Daphne | Server::Uwsgi));
    let (name, template) = match (wrapped, asgi, cannot_call) {
        (true, true, _) => ("whitenoise_asgi", include_str!("wrapper_asgi.py")),
        (true, false, _) => ("whitenoise_wrapper", include_str!("wrapper_wsgi.py")),
        (false, _, true) => ("warpdrive_factory", include_str!("wrapper_factory.py")),
        (false, ..) => return Ok(None),
    };
    let variable = if asgi { "static" } else { "application" };
    let maps: Vec<String> = static_files
        .iter()
        .map(|map| {
            let (root, url) = (literal(&map.root), literal(&map.url));
            format!("{variable}.add_files({root}, prefix={url})")
        })
        .collect();
    let call = if application.factory { "()" } else { "" };
    let text = template
        .replace("{module!r}", &literal(&application.module))
        .replace("{object!r}", &literal(&application.object))
        .replace("{call}", call)
        .replace("{maps}", &maps.join("\n"));
    save(app_root, name, &text)?;
    Ok(Some(name.to_owned()))
}

/// Writes the module that starts frameworks which only have a function for serving.
fn write_serve(app_root: &Path) -> Result<(), AssembleError> {
    save(app_root, "warpdrive_serve", include_str!("launch_own.py"))
}

/// Writes the module that starts the server, if it needs one.
fn write_launcher(app_root: &Path, server: Server) -> Result<(), AssembleError> {
    let Some(name) = server.launcher() else {
        return Ok(());
    };
    let text = match server {
        Server::Waitress => include_str!("launch_waitress.py"),
        Server::Daphne => include_str!("launch_daphne.py"),
        Server::Hypercorn => include_str!("launch_hypercorn.py"),
        Server::Gunicorn | Server::ModWsgi | Server::Uwsgi | Server::Uvicorn | Server::Granian => {
            return Ok(());
        }
    };
    save(app_root, name, text)
}

fn save(app_root: &Path, name: &str, text: &str) -> Result<(), AssembleError> {
    let path = app_root.join(MODULES_DIRECTORY).join(format!("{name}.py"));
    let failed = |source| AssembleError::Io {
        doing: "write",
        path: path.clone(),
        source,
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    std::fs::write(&path, text).map_err(failed)
}

/// A Python string literal.
fn literal(text: &str) -> String {
    let mut out = String::from("'");
    for character in text.chars() {
        match character {
            '\'' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
    out.push('\'');
    out
}
