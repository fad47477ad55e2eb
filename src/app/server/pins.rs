//! The releases of the servers' packages that warpdrive installs where an app names none: one table,
//! so that a build today and in a year gives the same image. Raised with warpdrive's own releases.

use super::super::instrument::release;
use super::super::python_version::PythonVersion;

/// (package, from this Python on, release); the last row that fits wins.
const PINS: &[(&str, (u32, u32), &str)] = &[
    ("daphne", (3, 9), "4.2.3"),
    ("granian", (3, 9), "2.5.7"),
    ("granian", (3, 10), "2.8.7"),
    ("gunicorn", (3, 7), "23.0.0"),
    ("gunicorn", (3, 10), "27.0.1"),
    ("hypercorn", (3, 8), "0.17.3"),
    ("hypercorn", (3, 10), "0.18.0"),
    ("jupyterlab", (3, 9), "4.5.11"),
    ("jupyterlab", (3, 10), "4.6.6"),
    ("mod-wsgi", (3, 8), "5.0.2"),
    ("mod-wsgi", (3, 10), "6.1.1"),
    ("notebook", (3, 9), "7.5.8"),
    ("notebook", (3, 10), "7.6.5"),
    ("uvicorn", (3, 9), "0.39.0"),
    ("uvicorn", (3, 10), "0.54.0"),
    ("uvicorn-worker", (3, 9), "0.4.0"),
    ("uwsgi", (3, 6), "2.0.31"),
    ("waitress", (3, 9), "3.0.2"),
    ("whitenoise", (3, 9), "6.11.0"),
    ("whitenoise", (3, 10), "6.12.0"),
];

/// `gunicorn==23.0.0`; the bare name for a Python that is older than the table.
pub fn pinned(package: &str, python: PythonVersion) -> String {
    PINS.iter()
        .rev()
        .find(|(name, (major, minor), _)| {
            *name == package && python >= PythonVersion::new(*major, *minor)
        })
        .map(|(_, _, release)| *release)
        .or_else(|| release(package, python))
        .map_or_else(
            || package.to_owned(),
            |release| format!("{package}=={release}"),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_server_is_pinned_for_every_supported_python() {
        for server in super::super::Server::ALL {
            for minor in 9..=14 {
                let package = server.packages()[0];
                let text = pinned(package, PythonVersion::new(3, minor));
                assert!(text.contains("=="), "{text} for 3.{minor}");
            }
        }
        assert_eq!(
            pinned("gunicorn", PythonVersion::new(3, 9)),
            "gunicorn==23.0.0"
        );
    }
}
