//! Keeps docs/reference/servers.md correct: the tables of command lines between its markers
//! are written by `UPDATE=1 cargo test -p warpdrive-app server::page` and compared otherwise, and every option
//! in which a line differs from the original's has its reason on the page.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::super::adding::Adding;
use super::super::contract;
use super::super::detect::Interface;
use super::super::environment::quote_words;
use super::super::plan::{Application, Plan, Start, StaticMap};
use super::{Concurrency, Context, DEFAULT_GRACE, GRACE, Limits, Server, command, extra, mod_wsgi};

use Interface::{Asgi, Wsgi};

/// What is served.
#[derive(Clone, Copy)]
enum Served {
    Django(Interface),
    Object(Interface),
    Factory(Interface),
    Nothing,
}

/// A row: the setting in words, and the resulting command line.
struct Row {
    words: String,
    served: Served,
    variables: Vec<(String, String)>,
    arguments: Option<&'static str>,
    version: Option<&'static str>,
}

impl Row {
    fn new(words: impl Into<String>, served: Served) -> Row {
        Row {
            words: words.into(),
            served,
            variables: Vec::new(),
            arguments: None,
            version: Some("99.0"),
        }
    }

    fn variable(served: Served, name: &str, value: &str) -> Row {
        let mut row = Row::new(format!("`{name}={value}`"), served);
        row.variables.push((name.to_owned(), value.to_owned()));
        row
    }

    fn arguments(served: Served, text: &'static str) -> Row {
        let mut row = Row::new(format!("`server_args`: `{text}`"), served);
        row.arguments = Some(text);
        row
    }
}

fn plan(start: Start) -> Plan {
    Plan {
        version: Plan::VERSION,
        start,
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
        server_version: None,
        hooks: Vec::new(),
        instrument: None,
        service: None,
        image_environment: BTreeMap::new(),
        processes: BTreeMap::new(),
        web: true,
        adding: Adding::default(),
        development: None,
    }
}

fn served_by(server: Server, what: Served) -> Plan {
    let application = |module: &str, object: &str, factory, interface| {
        Some(Application {
            module: module.to_owned(),
            object: object.to_owned(),
            factory,
            interface,
            wrapper: None,
        })
    };
    let mut static_files = Vec::new();
    let application = match what {
        Served::Django(interface) => {
            let (module, wrapper) = match interface {
                Asgi => ("mysite.asgi", "whitenoise_asgi"),
                _ => ("mysite.wsgi", "whitenoise_wrapper"),
            };
            static_files.push(StaticMap {
                url: "/static/".to_owned(),
                root: "/opt/app-root/static/django/".to_owned(),
            });
            let mut found = application(module, "application", false, interface);
            if let Some(found) = found.as_mut().filter(|_| !server.serves_static_files()) {
                found.wrapper = Some(wrapper.to_owned());
            }
            found
        }
        Served::Object(Asgi) => application("main", "app", false, Asgi),
        Served::Object(interface) => application("wsgi", "application", false, interface),
        Served::Factory(interface) => {
            let mut found = application("shop", "create_app", true, interface);
            let cannot = matches!(server, Server::ModWsgi | Server::Uwsgi | Server::Daphne);
            if let Some(found) = found.as_mut().filter(|_| cannot) {
                found.wrapper = Some("warpdrive_factory".to_owned());
            }
            found
        }
        Served::Nothing => None,
    };
    Plan {
        static_files,
        ..plan(Start::Server {
            server,
            application,
        })
    }
}

fn line(plan: &Plan, variables: &[(String, String)]) -> String {
    let environment: BTreeMap<String, String> = variables.iter().cloned().collect();
    let grace = environment
        .get(GRACE)
        .and_then(|text| text.parse::<u16>().ok());
    let limits = Limits {
        cpus: 2000,
        quota: false,
        memory: None,
    };
    let extra = extra(plan, &environment).unwrap();
    let concurrency = plan.server().map(|server| {
        let interface = plan.application().map_or(Wsgi, |one| one.interface);
        Concurrency::choose(server, interface, &extra, &environment, &limits).unwrap()
    });
    let context = Context {
        port: contract::port(&|name| environment.get(name).cloned()),
        home: contract::SOURCE,
        run_directory: "/tmp/warpdrive-1001",
        worker_directory: Some("/dev/shm"),
        concurrency: concurrency.as_ref(),
        grace: grace.map_or(DEFAULT_GRACE, u32::from),
        environment: &environment,
    };
    let words = quote_words(&command(plan, &context).unwrap());
    let variable = plan.server().and_then(Server::reads_concurrency);
    match (variable, concurrency.and_then(|found| found.number)) {
        (Some(variable), Some(number)) => format!("{variable}={number} {words}"),
        _ => words,
    }
}

fn render(server: Server, row: &Row) -> String {
    let plan = Plan {
        server_args: row.arguments.map(str::to_owned),
        server_version: row.version.map(str::to_owned),
        ..served_by(server, row.served)
    };
    line(&plan, &row.variables)
}

fn rows(server: Server) -> Vec<Row> {
    let main = if server.is_asynchronous() { Asgi } else { Wsgi };
    let other = if main == Asgi { Wsgi } else { Asgi };
    let file = |interface| {
        if interface == Asgi {
            "`main.py` with `app`"
        } else {
            "`wsgi.py` with `application`"
        }
    };
    let django = Served::Django(main);
    let mut rows = vec![
        Row::new("a Django project `mysite`", django),
        Row::new(file(main), Served::Object(main)),
        Row::new("a factory `shop:create_app`", Served::Factory(main)),
    ];
    if server.serves(other) {
        let (mode, name) = match other {
            Asgi => ("`deploy_mode`: `asgi`", "ASGI"),
            _ => ("`deploy_mode`: `wsgi`", "WSGI"),
        };
        rows.push(Row::new(
            format!("a Django project, {mode}"),
            Served::Django(other),
        ));
        rows.push(Row::new(
            format!("{} ({name})", file(other)),
            Served::Object(other),
        ));
    }
    rows.push(Row::variable(django, "PORT", "9000"));
    rows.push(Row::variable(django, "WEB_CONCURRENCY", "4"));
    rows.push(Row::variable(django, GRACE, "60"));
    let mut own = match server {
        Server::Gunicorn => {
            let mut old = Row::new("a gunicorn older than 25.1", django);
            old.version = Some("23.0.0");
            vec![
                Row::arguments(django, "--workers ${W:-3} --preload"),
                Row::arguments(django, "--worker-class gthread --threads 8"),
                old,
            ]
        }
        Server::ModWsgi => vec![
            Row::arguments(django, "--processes 3 --threads 15"),
            Row::variable(django, "MOD_WSGI_PROCESSES", "3"),
            Row::variable(django, "LANG", "de_DE.UTF-8"),
        ],
        Server::Uwsgi => vec![
            Row::arguments(django, "--processes 3 --harakiri 60"),
            Row::variable(django, "UWSGI_PROCESSES", "3"),
        ],
        Server::Waitress => vec![Row::arguments(django, "--threads=9 --url-prefix=/shop")],
        Server::Uvicorn => {
            let mut old = Row::new("an uvicorn older than 0.22", django);
            old.version = Some("0.21.1");
            vec![Row::arguments(django, "--workers 3 --proxy-headers"), old]
        }
        Server::Hypercorn => vec![Row::arguments(django, "--workers 3 --keep-alive 10")],
        Server::Daphne => vec![
            Row::arguments(django, "--proxy-headers"),
            Row::variable(django, "ASGI_THREADS", "3"),
        ],
        Server::Granian => vec![
            Row::arguments(django, "--workers 3 --http 1"),
            Row::variable(django, "GRANIAN_WORKERS", "3"),
        ],
    };
    rows.append(&mut own);
    let mut bare = Row::arguments(Served::Nothing, "other:app");
    bare.words = format!("`deploy_mode`: `{server}`, {}", bare.words);
    rows.push(bare);
    rows
}

fn table(server: Server) -> String {
    let mut text = "| what is there and said | command line |\n|---|---|\n".to_owned();
    for row in rows(server) {
        writeln!(text, "| {} | `{}` |", row.words, render(server, &row)).unwrap();
    }
    text
}

/// `MOD_WSGI_*`, each by itself.
fn variables() -> String {
    let mut text = "| variable | options |\n|---|---|\n".to_owned();
    let mut count = 0;
    for (name, flag) in mod_wsgi::names() {
        let value = if flag { "1" } else { "X" };
        let environment = BTreeMap::from([(name.clone(), value.to_owned())]);
        let options = mod_wsgi::options(&environment).join(" ");
        writeln!(text, "| `{name}={value}` | `{options}` |").unwrap();
        count += 1;
    }
    assert_eq!(count, 31);
    for name in ["NEW_RELIC_LICENSE_KEY", "NEW_RELIC_CONFIG_FILE"] {
        let environment = BTreeMap::from([(name.to_owned(), "X".to_owned())]);
        let options = mod_wsgi::options(&environment).join(" ");
        writeln!(text, "| `{name}=X` | `{options}` |").unwrap();
    }
    text
}

/// The original's command lines as its scripts printed them, A being `/opt/app-root`.
const GOLDEN: &[(&str, Option<Server>, &str)] = &[
    (
        "a Django project",
        Some(Server::Gunicorn),
        "gunicorn --log-file - --bind 0.0.0.0:8080 whitenoise_wrapper:application",
    ),
    (
        "`wsgi.py`",
        Some(Server::Gunicorn),
        "gunicorn --log-file - --bind 0.0.0.0:8080 wsgi:application",
    ),
    (
        "a Django project",
        Some(Server::ModWsgi),
        "mod_wsgi-express start-server --server-root A/mod_wsgi --log-to-terminal --startup-log --port 8080 --application-type module --entry-point mysite.wsgi --callable-object application --url-alias /static/ A/tmp/django/static/",
    ),
    (
        "a Django project",
        Some(Server::Uwsgi),
        "uwsgi --master --http-socket :8080 --enable-threads --threads=5 --thunder-lock --single-interpreter --die-on-term --module mysite.wsgi --callable application --static-map /static/=A/tmp/django/static/",
    ),
    (
        "a Django project",
        Some(Server::Waitress),
        "waitress-serve --port 8080 --threads=5 whitenoise_wrapper:application",
    ),
    ("`app.py`", None, "python app.py"),
    ("`app.sh`", None, "A/src/app.sh"),
    (
        "`deploy_mode`: `gunicorn`",
        Some(Server::Gunicorn),
        "gunicorn --log-file - --bind 0.0.0.0:8080",
    ),
];

/// The lines side by side, and the options in which they differ.
fn golden() -> (String, BTreeSet<String>) {
    let mut text = String::new();
    let mut different = BTreeSet::new();
    for (words, server, original) in GOLDEN {
        let plan = match server {
            Some(server) => {
                let what = match *words {
                    "a Django project" => Served::Django(Wsgi),
                    "`wsgi.py`" => Served::Object(Wsgi),
                    _ => Served::Nothing,
                };
                Plan {
                    server_version: Some("99.0".to_owned()),
                    ..served_by(*server, what)
                }
            }
            None if words.contains(".sh") => plan(Start::Shell {
                program: "app.sh".to_owned(),
            }),
            None => plan(Start::Python {
                program: "app.py".to_owned(),
            }),
        };
        let now = line(&plan, &[]);
        let server = server.map_or(String::new(), |server| format!(", {server}"));
        writeln!(
            text,
            "{words}{server}:\n\n```text\nwas  {original}\nis   {now}\n```\n"
        )
        .unwrap();
        let set = |line: &str| -> BTreeSet<String> {
            let words = line.replace("A/", "/opt/app-root/");
            let (mut previous, mut option) = ("", "");
            let mut found = BTreeSet::new();
            for word in words.split(' ') {
                let name = word.split('=').next().unwrap_or(word);
                // An option with its value, the program, or the application.
                found.insert(if word.starts_with('-') {
                    option = word;
                    word.to_owned()
                } else if word.starts_with('/') || word.ends_with('\'') {
                    format!("{option} {word}")
                } else if previous.starts_with('-') && !word.ends_with(":application") {
                    format!("{previous} {word}")
                } else {
                    name.to_owned()
                });
                previous = word;
            }
            found
        };
        let (was, is) = (set(original), set(&now));
        different.extend(was.symmetric_difference(&is).map(|word| {
            let name = word.split([' ', '=']).next().unwrap_or(word);
            name.to_owned()
        }));
    }
    (text, different)
}

#[test]
fn the_page_is_what_servers_are_given() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/servers.md");
    let written = std::fs::read_to_string(&file).unwrap();
    let (golden, different) = golden();
    let mut blocks: Vec<(String, String)> = Server::ALL
        .iter()
        .map(|server| (server.name().to_owned(), table(*server)))
        .collect();
    blocks.push(("MOD_WSGI".to_owned(), variables()));
    blocks.push(("golden".to_owned(), golden));
    let mut page = written.clone();
    for (name, text) in blocks {
        let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end {name} -->"));
        let (before, rest) = page
            .split_once(&begin)
            .unwrap_or_else(|| panic!("{begin} is missing"));
        let (_, after) = rest.split_once(&end).unwrap();
        page = format!("{before}{begin}\n{text}\n{end}{after}");
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, &page).unwrap();
    } else {
        assert!(
            page == written,
            "docs/reference/servers.md is out of date: UPDATE=1 cargo test -p warpdrive-app server::page"
        );
    }
    let reasons = page.split("## What differs").nth(1).unwrap();
    for word in different {
        assert!(
            reasons.contains(&format!("`{word}")),
            "docs/reference/servers.md does not say why `{word}` differs from the original"
        );
    }
}
