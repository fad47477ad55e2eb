//! The servers' command lines. A pure function of the plan and what is known at start, so that
//! every line can be a snapshot in a test. Order: our own arguments, `MOD_WSGI_*`, `server_args`,
//! the application.

use std::collections::BTreeMap;

use super::super::detect::Interface;
use super::super::plan::{Application, Plan, Start, StaticMap};
use super::{ArgumentsError, Server, expand, mod_wsgi};

/// What is known at start.
#[derive(Debug, Clone)]
pub struct Context<'c> {
    pub port: u16,
    /// Absolute; for `app.sh`.
    pub home: &'c str,
    /// A directory that can be written: `mod_wsgi`'s server root lies in it.
    pub run_directory: &'c str,
    /// For the heartbeat files of gunicorn's workers: memory, not a disk.
    pub worker_directory: Option<&'c str>,
    pub environment: &'c BTreeMap<String, String>,
}

/// The program and its arguments.
///
/// # Errors
/// If `server_args` cannot be understood.
pub fn command(plan: &Plan, context: &Context<'_>) -> Result<Vec<String>, ArgumentsError> {
    let extra = match &plan.server_args {
        Some(text) => expand(text, context.environment)?,
        None => Vec::new(),
    };
    let mut line: Vec<String> = Vec::new();
    match &plan.start {
        Start::Shell { program } => {
            line.push(format!("{}/{program}", context.home));
            line.extend(extra);
        }
        Start::Python { program } => {
            line.extend(["python".to_owned(), program.clone()]);
            line.extend(extra);
        }
        Start::Jupyter { interface } => {
            line = interface.command(context.port, context.home);
            line.extend(extra);
        }
        Start::Server {
            server,
            application,
        } => {
            let application = application.as_ref();
            line = base(*server, context, application);
            if *server == Server::ModWsgi {
                line.extend(mod_wsgi::options(context.environment));
            }
            line.extend(extra);
            if let Some(application) = application {
                line.extend(target(*server, application, &plan.static_files));
            }
        }
    }
    Ok(line)
}

/// The part before the extra arguments.
fn base(server: Server, context: &Context<'_>, application: Option<&Application>) -> Vec<String> {
    let port = context.port;
    let asgi = application.is_some_and(|application| application.interface == Interface::Asgi);
    let text = match server {
        Server::Gunicorn => {
            let mut text =
                format!("gunicorn --log-file - --bind 0.0.0.0:{port} --access-logfile -");
            if let Some(directory) = context.worker_directory {
                text.push_str(" --worker-tmp-dir ");
                text.push_str(directory);
            }
            if asgi {
                text.push_str(" --worker-class uvicorn_worker.UvicornWorker");
            }
            text
        }
        Server::ModWsgi => format!(
            "mod_wsgi-express start-server --server-root {}/mod_wsgi --log-to-terminal --startup-log --port {port}",
            context.run_directory
        ),
        Server::Uwsgi => format!(
            "uwsgi --master --http-socket :{port} --enable-threads --threads=5 --thunder-lock --single-interpreter --die-on-term"
        ),
        Server::Waitress => format!("waitress-serve --port {port} --threads=5"),
        Server::Uvicorn => format!("uvicorn --host 0.0.0.0 --port {port}"),
        Server::Hypercorn => {
            format!("hypercorn --bind 0.0.0.0:{port} --access-logfile - --error-logfile -")
        }
        Server::Daphne => format!("daphne --bind 0.0.0.0 --port {port} --access-log -"),
        Server::Granian => {
            let interface = if asgi { "asgi" } else { "wsgi" };
            format!("granian --interface {interface} --host 0.0.0.0 --port {port} --access-log")
        }
    };
    text.split(' ').map(str::to_owned).collect()
}

/// The arguments that name the application and, where the server does that itself, static files.
fn target(server: Server, application: &Application, static_files: &[StaticMap]) -> Vec<String> {
    let (reference, factory) = match &application.wrapper {
        Some(module) => (format!("{module}:application"), false),
        None => (application.reference(), application.factory),
    };
    let (module, object) = reference
        .split_once(':')
        .unwrap_or((&reference, "application"));
    let call = |text: &str| {
        if factory {
            format!("{text}()")
        } else {
            text.to_owned()
        }
    };
    let mut line = Vec::new();
    match server {
        Server::ModWsgi => {
            for (name, value) in [
                ("--application-type", "module"),
                ("--entry-point", module),
                ("--callable-object", object),
            ] {
                line.extend([name.to_owned(), value.to_owned()]);
            }
            for map in static_files {
                line.extend(["--url-alias".to_owned(), map.url.clone(), map.root.clone()]);
            }
        }
        Server::Uwsgi => {
            if factory {
                line.extend(["--module".to_owned(), call(&reference)]);
            } else {
                line.extend(["--module".to_owned(), module.to_owned()]);
                line.extend(["--callable".to_owned(), object.to_owned()]);
            }
            for map in static_files {
                line.extend([
                    "--static-map".to_owned(),
                    format!("{}={}", map.url, map.root),
                ]);
            }
        }
        Server::Waitress => {
            if factory {
                line.push("--call".to_owned());
            }
            line.push(reference);
        }
        Server::Uvicorn | Server::Granian => {
            if factory {
                line.push("--factory".to_owned());
            }
            line.push(reference);
        }
        Server::Hypercorn if application.interface == Interface::Wsgi => {
            line.push(format!("wsgi:{}", call(&reference)));
        }
        Server::Hypercorn | Server::Gunicorn | Server::Daphne => line.push(call(&reference)),
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(server: Server, interface: Interface) -> Plan {
        let needs_wrapper = !server.serves_static_files();
        let module = if interface == Interface::Asgi {
            "mysite.asgi"
        } else {
            "mysite.wsgi"
        };
        let wrapper = if interface == Interface::Asgi {
            "whitenoise_asgi"
        } else {
            "whitenoise_wrapper"
        };
        Plan {
            start: Start::Server {
                server,
                application: Some(Application {
                    module: module.to_owned(),
                    object: "application".to_owned(),
                    factory: false,
                    interface,
                    wrapper: needs_wrapper.then(|| wrapper.to_owned()),
                }),
            },
            static_files: vec![StaticMap {
                url: "/static/".to_owned(),
                root: "A/static/django/".to_owned(),
            }],
            ..empty()
        }
    }

    fn empty() -> Plan {
        Plan {
            version: 1,
            start: Start::Python {
                program: "app.py".to_owned(),
            },
            framework: String::new(),
            django: None,
            static_files: Vec::new(),
            home: String::new(),
            python_path: Vec::new(),
            server_args: None,
            environment: BTreeMap::new(),
            installer: "uv".to_owned(),
            python_request: None,
            python: None,
            server_packages: Vec::new(),
            hooks: Vec::new(),
            instrument: None,
            service: None,
            image_environment: BTreeMap::new(),
        }
    }

    fn line(plan: &Plan, variables: &[(&str, &str)]) -> String {
        let environment = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let context = Context {
            port: 8080,
            home: "/opt/app-root/src",
            run_directory: "A",
            worker_directory: Some("/dev/shm"),
            environment: &environment,
        };
        command(plan, &context).unwrap().join(" ")
    }

    #[test]
    fn django_under_every_server() {
        let lines: Vec<String> = Server::ALL
            .iter()
            .map(|server| {
                let interface = if server.serves(Interface::Wsgi) {
                    Interface::Wsgi
                } else {
                    Interface::Asgi
                };
                line(&plan(*server, interface), &[])
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn an_asgi_application_under_every_server_that_can() {
        let lines: Vec<String> = Server::ALL
            .iter()
            .filter(|server| server.serves(Interface::Asgi))
            .map(|server| {
                let mut plan = plan(*server, Interface::Asgi);
                if let Start::Server {
                    application: Some(application),
                    ..
                } = &mut plan.start
                {
                    *application = Application {
                        module: "main".to_owned(),
                        object: "create_app".to_owned(),
                        factory: *server != Server::Daphne,
                        interface: Interface::Asgi,
                        wrapper: None,
                    };
                }
                plan.static_files.clear();
                line(&plan, &[])
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn programs_and_bare_servers() {
        let shell = Plan {
            start: Start::Shell {
                program: "app.sh".to_owned(),
            },
            ..empty()
        };
        let bare = |server| Plan {
            start: Start::Server {
                server,
                application: None,
            },
            ..empty()
        };
        let arguments = Plan {
            server_args: Some("--workers ${W:-3}\n--preload".to_owned()),
            ..plan(Server::Gunicorn, Interface::Wsgi)
        };
        insta::assert_snapshot!(
            [
                line(&empty(), &[]),
                line(&shell, &[]),
                line(&bare(Server::Gunicorn), &[]),
                line(
                    &bare(Server::ModWsgi),
                    &[("MOD_WSGI_PROCESSES", "3"), ("MOD_WSGI_SERVER_STATUS", "1")]
                ),
                line(&arguments, &[("W", "7")]),
            ]
            .join("\n")
        );
    }

    #[test]
    fn factories() {
        let lines: Vec<String> = [
            Server::Gunicorn,
            Server::Uwsgi,
            Server::Waitress,
            Server::Granian,
            Server::Hypercorn,
        ]
        .into_iter()
        .map(|server| {
            let start = Start::Server {
                server,
                application: Some(Application {
                    module: "shop".to_owned(),
                    object: "create_app".to_owned(),
                    factory: true,
                    interface: Interface::Wsgi,
                    wrapper: None,
                }),
            };
            line(&Plan { start, ..empty() }, &[])
        })
        .collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
