//! Finds the likely cause of a Python traceback, and what to do about it.

use super::adding::Adding;
use super::advice::Advice;
use super::contract::SOURCE;

/// Distributions whose name differs from their module's.
const MODULES: &[(&str, &str)] = &[
    ("attr", "attrs"),
    ("bs4", "beautifulsoup4"),
    ("corsheaders", "django-cors-headers"),
    ("crispy_forms", "django-crispy-forms"),
    ("cv2", "opencv-python-headless"),
    ("dateutil", "python-dateutil"),
    ("decouple", "python-decouple"),
    ("discord", "discord.py"),
    ("dj_database_url", "dj-database-url"),
    ("django_filters", "django-filter"),
    ("docx", "python-docx"),
    ("dotenv", "python-dotenv"),
    ("environ", "django-environ"),
    ("fitz", "PyMuPDF"),
    ("flask_cors", "Flask-Cors"),
    ("flask_login", "Flask-Login"),
    ("flask_migrate", "Flask-Migrate"),
    ("flask_socketio", "Flask-SocketIO"),
    ("flask_sqlalchemy", "Flask-SQLAlchemy"),
    ("flask_wtf", "Flask-WTF"),
    ("jose", "python-jose"),
    ("jwt", "PyJWT"),
    ("magic", "python-magic"),
    ("markdown", "Markdown"),
    ("multipart", "python-multipart"),
    ("MySQLdb", "mysqlclient"),
    ("OpenSSL", "pyOpenSSL"),
    ("PIL", "Pillow"),
    ("pkg_resources", "setuptools<82"),
    ("psycopg2", "psycopg2-binary"),
    ("pydantic_settings", "pydantic-settings"),
    ("rest_framework", "djangorestframework"),
    ("serial", "pyserial"),
    ("skimage", "scikit-image"),
    ("sklearn", "scikit-learn"),
    ("slugify", "python-slugify"),
    ("telegram", "python-telegram-bot"),
    ("telebot", "pyTelegramBotAPI"),
    ("yaml", "PyYAML"),
];

/// Debian's packages with libraries that wheels expect in the system.
const LIBRARIES: &[(&str, &str)] = &[
    ("libGL.so.1", "libgl1"),
    ("libgthread-2.0.so.0", "libglib2.0-0"),
    ("libglib-2.0.so.0", "libglib2.0-0"),
    ("libSM.so.6", "libsm6"),
    ("libX11.so.6", "libx11-6"),
    ("libXext.so.6", "libxext6"),
    ("libxcb.so.1", "libxcb1"),
    ("libXrender.so.1", "libxrender1"),
    ("libpq.so.5", "libpq5"),
    ("libmariadb.so.3", "libmariadb3"),
    ("libmagic.so.1", "libmagic1"),
    ("libgomp.so.1", "libgomp1"),
    ("libsndfile.so.1", "libsndfile1"),
    ("libpango-1.0-0", "libpango-1.0-0"),
    ("libpango-1.0.so.0", "libpango-1.0-0"),
    ("libcairo.so.2", "libcairo2"),
    ("libgobject-2.0-0", "libglib2.0-0"),
    ("libldap.so.2", "libldap-2.5-0"),
    ("libxml2.so.2", "libxml2"),
    ("libxslt.so.1", "libxslt1.1"),
    ("libodbc.so.2", "unixodbc"),
    ("libgdal.so", "libgdal-dev"),
    ("libgeos_c.so", "libgeos-c1v5"),
    ("libzbar.so.0", "libzbar0"),
    ("libtesseract.so.5", "libtesseract5"),
];

/// Why an import failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Variables that are not set.
    Variables(Vec<String>),
    /// A missing module.
    Module(String),
    /// A missing shared library.
    Library(String),
    /// File, line and the parser's message.
    Syntax(String),
    /// A connection to a database or another machine failed.
    Network,
    Other,
}

/// The last line of a traceback that names the exception.
pub fn last_line(traceback: &str) -> &str {
    traceback
        .lines()
        .map(str::trim_end)
        .rev()
        .find(|line| {
            let kind = line.split([':', ' ']).next().unwrap_or_default();
            !line.starts_with(' ')
                && !kind.is_empty()
                && kind
                    .chars()
                    .all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'))
                && (kind.ends_with("Error")
                    || kind.ends_with("Exception")
                    || kind.contains("Configured")
                    || kind.contains("NotFound")
                    || kind == "SystemExit"
                    || line.contains(": "))
        })
        .unwrap_or_default()
}

impl Cause {
    /// Reads it from a traceback.
    pub fn of(traceback: &str) -> Cause {
        // pydantic's message has lines after the one that names the exception.
        let fields = pydantic_fields(traceback);
        if !fields.is_empty() {
            return Cause::Variables(fields);
        }
        let last = last_line(traceback);
        let (kind, message) = last.split_once(": ").unwrap_or((last, ""));
        let kind = kind.rsplit('.').next().unwrap_or(kind);
        let lower = last.to_lowercase();
        if kind == "SyntaxError" || kind == "IndentationError" || kind == "TabError" {
            return Cause::Syntax(place_of_syntax(traceback, message));
        }
        if lower.contains("cannot open shared object file") || lower.contains("cannot load library")
        {
            let word = message
                .split([' ', ':', '\'', '"'])
                .find(|word| {
                    word.starts_with("lib") && (word.contains(".so") || word.contains('-'))
                })
                .unwrap_or("a library");
            return Cause::Library(word.to_owned());
        }
        if kind == "ModuleNotFoundError" {
            let name = message.split('\'').nth(1).unwrap_or(message);
            return Cause::Module(name.to_owned());
        }
        if let Some(name) = variable(kind, message) {
            return Cause::Variables(vec![name]);
        }
        let network = [
            "operationalerror",
            "connection refused",
            "connectionrefusederror",
            "gaierror",
            "name resolution",
            "name or service not known",
            "could not translate host name",
            "network is unreachable",
            "connectionerror",
            "connecttimeout",
            "serverselectiontimeouterror",
            "nodename nor servname",
            "max retries exceeded",
        ];
        if network.iter().any(|words| lower.contains(words)) {
            return Cause::Network;
        }
        Cause::Other
    }

    /// Adds the cause and what to do. `named_in`: files that name a missing module's distribution
    /// and were not installed.
    pub fn explain(&self, advice: Advice, named_in: &[String], adding: Adding) -> Advice {
        match self {
            Cause::Variables(names) => {
                let (what, is) = match names.as_slice() {
                    [_] => ("variable", "is"),
                    _ => ("variables", "are"),
                };
                let list = names.join(", ");
                let options: Vec<String> = names
                    .iter()
                    .map(|name| format!("--build-env {name}=build-only"))
                    .collect();
                let lines: Vec<String> = names
                    .iter()
                    .map(|name| format!("  {name}=build-only"))
                    .collect();
                advice
                    .cause(format!("The {what} {list} {is} not set in the build."))
                    .remedy(format!(
                        "give the build a value that the image does not keep:\n  warpdrive image NAME {}",
                        options.join(" ")
                    ))
                    .remedy(format!(
                        "or in .warpdrive/action_hooks/build-env:\n{}",
                        lines.join("\n")
                    ))
            }
            Cause::Module(name) => {
                let top = name.split('.').next().unwrap_or(name);
                let distribution = distribution(top);
                let advice = advice.cause(format!(
                    "{name} is neither in the source nor among what was installed."
                ));
                match named_in {
                    [file, ..] if adding != Adding::List => advice
                        .cause(format!("{file} names {distribution}, and was not installed from."))
                        .remedy(adding.remedy(distribution)),
                    [] => advice.remedy(adding.remedy(distribution)),
                    [file, ..] => advice
                        .cause(format!("{file} names {distribution}, and was not installed from."))
                        .remedy(format!(
                            "install from it: requirements = \"{}\" in [tool.warpdrive], or move {distribution} to \
                             requirements.txt",
                            file.split(':').next().unwrap_or(file)
                        )),
                }
            }
            Cause::Library(name) => {
                let package = LIBRARIES
                    .iter()
                    .find(|(library, _)| name.starts_with(library))
                    .map_or("the package that has it", |(_, package)| package);
                let advice = advice
                    .cause(format!("The system library {name} is not in the image."))
                    .remedy(format!("name {package} in a file Aptfile beside the source, or use a builder with it"));
                let of_a_screen = ["libGL", "libxcb", "libX11", "libSM", "libXext", "libgthread"];
                if of_a_screen.iter().any(|library| name.starts_with(library)) {
                    advice.remedy(
                        "if it is OpenCV's: take opencv-python-headless, which needs neither libGL nor X11",
                    )
                } else if name.starts_with("libpq") {
                    advice.remedy("or take psycopg2-binary, which brings it")
                } else {
                    advice
                }
            }
            Cause::Syntax(place) => advice.cause(format!("{place} is not valid for this Python.")),
            Cause::Network => advice
                .cause("Its import opens a connection; during a build there is no database and no network.")
                .remedy("connect when the first request comes, or only if WARPDRIVE_PHASE is not \"build\""),
            Cause::Other => advice,
        }
    }
}

/// The distribution that has a module, if it is known.
pub fn distribution(module: &str) -> &str {
    MODULES
        .iter()
        .find(|(name, _)| *name == module)
        .map_or(module, |(_, distribution)| distribution)
}

fn is_variable(name: &str) -> bool {
    name.len() > 1
        && name
            .chars()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit())
}

/// The name of a variable in an exception.
fn variable(kind: &str, message: &str) -> Option<String> {
    let trimmed = |word: &str| {
        word.trim_matches(|c: char| !c.is_alphanumeric() && c != '_')
            .to_owned()
    };
    let first = || {
        message
            .split_whitespace()
            .map(trimmed)
            .find(|word| is_variable(word))
    };
    let found = match kind {
        // Starlette's: `"Config 'NAME' is missing, and has no default."`
        "KeyError" => Some(trimmed(message))
            .filter(|name| is_variable(name))
            .or_else(first),
        "UndefinedValueError" => first(),
        _ if message.contains("SECRET_KEY setting must not be empty") => {
            Some("SECRET_KEY".to_owned())
        }
        _ if message.to_lowercase().contains("environment variable")
            || message.contains("Set the ")
            || message.contains("must be set")
            || message.contains("is not set")
            || message.contains("is required in env")
            || message.contains("not set in") =>
        {
            first()
        }
        _ => None,
    }?;
    is_variable(&found).then_some(found)
}

/// The fields that pydantic's settings miss: lines without indent, each before one that says so.
fn pydantic_fields(traceback: &str) -> Vec<String> {
    let lines: Vec<&str> = traceback.lines().collect();
    let Some(start) = lines
        .iter()
        .rposition(|line| line.contains("validation error") && line.contains(" for "))
    else {
        return Vec::new();
    };
    lines[start..]
        .windows(2)
        .filter(|pair| {
            let second = pair[1].trim_start().to_lowercase();
            second.starts_with("field required")
        })
        .map(|pair| pair[0].trim().to_uppercase())
        .filter(|name| is_variable(name))
        .collect()
}

/// `app.py:3: invalid syntax`
fn place_of_syntax(traceback: &str, message: &str) -> String {
    let place = traceback.lines().rev().find_map(|line| {
        let rest = line.trim().strip_prefix("File \"")?;
        let (path, rest) = rest.split_once("\", line ")?;
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let path = path
            .rsplit_once(SOURCE)
            .and_then(|(_, path)| path.strip_prefix('/'))
            .unwrap_or(path);
        Some(format!("{path}:{number}"))
    });
    match place {
        Some(place) => format!("{place} ({message})"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes() {
        let variables = |names: &[&str]| {
            Cause::Variables(names.iter().map(|name| (*name).to_owned()).collect())
        };
        for (text, expected) in [
            ("KeyError: 'DATABASE_URL'", variables(&["DATABASE_URL"])),
            ("KeyError: 'name'", Cause::Other),
            (
                "django.core.exceptions.ImproperlyConfigured: Set the DJANGO_SECRET_KEY environment variable",
                variables(&["DJANGO_SECRET_KEY"]),
            ),
            (
                "django.core.exceptions.ImproperlyConfigured: The SECRET_KEY setting must not be empty.",
                variables(&["SECRET_KEY"]),
            ),
            (
                "decouple.UndefinedValueError: API_TOKEN not found. Declare it as envvar or define a default value.",
                variables(&["API_TOKEN"]),
            ),
            (
                "pydantic_core._pydantic_core.ValidationError: 2 validation errors for Settings\ndatabase_url\n  Field required [type=missing, input_value={}, input_type=dict]\n    For further information visit x\nsecret\n  Field required [type=missing]\n",
                variables(&["DATABASE_URL", "SECRET"]),
            ),
            ("RuntimeError: API_KEY must be set", variables(&["API_KEY"])),
            (
                "KeyError: \"Config 'MAIL_HOST' is missing, and has no default.\"",
                variables(&["MAIL_HOST"]),
            ),
            (
                "environs.exceptions.EnvError: Environment variable \"API_URL\" not set",
                variables(&["API_URL"]),
            ),
            (
                "dynaconf.validator.ValidationError: API_URL is required in env main",
                variables(&["API_URL"]),
            ),
            (
                "ModuleNotFoundError: No module named 'yaml'",
                Cause::Module("yaml".into()),
            ),
            (
                "ImportError: libGL.so.1: cannot open shared object file: No such file or directory",
                Cause::Library("libGL.so.1".into()),
            ),
            (
                "OSError: cannot load library 'libpango-1.0-0': libpango-1.0-0: cannot open shared object file: No such file or directory.  Additionally, ctypes.util.find_library() did not manage to locate a library called 'libpango-1.0-0'",
                Cause::Library("libpango-1.0-0".into()),
            ),
            (
                "  File \"/opt/app-root/src/app.py\", line 3\n    def f(:\n          ^\nSyntaxError: invalid syntax",
                Cause::Syntax("app.py:3 (invalid syntax)".into()),
            ),
            (
                "psycopg2.OperationalError: could not translate host name \"db\" to address: Temporary failure in name resolution",
                Cause::Network,
            ),
            (
                "ConnectionRefusedError: [Errno 111] Connection refused",
                Cause::Network,
            ),
            ("ValueError: boom", Cause::Other),
            ("", Cause::Other),
        ] {
            assert_eq!(Cause::of(text), expected, "{text}");
        }
        assert_eq!(distribution("PIL"), "Pillow");
        assert_eq!(distribution("flask"), "flask");
    }
}
