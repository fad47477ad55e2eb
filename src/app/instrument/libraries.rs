//! Which instrumentation packages OpenTelemetry has for which libraries, and the releases that
//! warpdrive installs: the table of `opentelemetry-bootstrap` (`bootstrap_gen.py`), so that a build
//! decides without running it. Names are enough: an instrumentation package that does not fit the
//! library's release says so at start and does nothing.

use std::collections::BTreeSet;

use super::super::python_version::PythonVersion;

/// Always.
const BASE: &[&str] = &[
    "opentelemetry-distro",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-instrumentation-asyncio",
    "opentelemetry-instrumentation-dbapi",
    "opentelemetry-instrumentation-logging",
    "opentelemetry-instrumentation-sqlite3",
    "opentelemetry-instrumentation-threading",
    "opentelemetry-instrumentation-urllib",
    "opentelemetry-instrumentation-wsgi",
];

/// A distribution and its instrumentation package. (Upstream's table has `pydantic` for Tortoise
/// ORM, too, which is a mistake.)
const LIBRARIES: &[(&str, &str)] = &[
    ("aio-pika", "opentelemetry-instrumentation-aio-pika"),
    ("aiobotocore", "opentelemetry-instrumentation-botocore"),
    ("aiohttp", "opentelemetry-instrumentation-aiohttp-client"),
    ("aiohttp", "opentelemetry-instrumentation-aiohttp-server"),
    ("aiokafka", "opentelemetry-instrumentation-aiokafka"),
    ("aiopg", "opentelemetry-instrumentation-aiopg"),
    ("asgiref", "opentelemetry-instrumentation-asgi"),
    ("asyncclick", "opentelemetry-instrumentation-asyncclick"),
    ("asyncpg", "opentelemetry-instrumentation-asyncpg"),
    ("boto3", "opentelemetry-instrumentation-boto3sqs"),
    ("botocore", "opentelemetry-instrumentation-botocore"),
    (
        "cassandra-driver",
        "opentelemetry-instrumentation-cassandra",
    ),
    ("celery", "opentelemetry-instrumentation-celery"),
    ("click", "opentelemetry-instrumentation-click"),
    (
        "confluent-kafka",
        "opentelemetry-instrumentation-confluent-kafka",
    ),
    ("django", "opentelemetry-instrumentation-django"),
    ("falcon", "opentelemetry-instrumentation-falcon"),
    ("fastapi", "opentelemetry-instrumentation-fastapi"),
    ("flask", "opentelemetry-instrumentation-flask"),
    ("grpcio", "opentelemetry-instrumentation-grpc"),
    ("httpx", "opentelemetry-instrumentation-httpx"),
    ("jinja2", "opentelemetry-instrumentation-jinja2"),
    ("kafka-python", "opentelemetry-instrumentation-kafka-python"),
    (
        "mysql-connector-python",
        "opentelemetry-instrumentation-mysql",
    ),
    ("mysqlclient", "opentelemetry-instrumentation-mysqlclient"),
    ("pika", "opentelemetry-instrumentation-pika"),
    ("psutil", "opentelemetry-instrumentation-system-metrics"),
    ("psycopg", "opentelemetry-instrumentation-psycopg"),
    ("psycopg2", "opentelemetry-instrumentation-psycopg2"),
    ("psycopg2-binary", "opentelemetry-instrumentation-psycopg2"),
    ("pymemcache", "opentelemetry-instrumentation-pymemcache"),
    ("pymongo", "opentelemetry-instrumentation-pymongo"),
    ("pymssql", "opentelemetry-instrumentation-pymssql"),
    ("pymysql", "opentelemetry-instrumentation-pymysql"),
    ("pyramid", "opentelemetry-instrumentation-pyramid"),
    ("redis", "opentelemetry-instrumentation-redis"),
    ("remoulade", "opentelemetry-instrumentation-remoulade"),
    ("requests", "opentelemetry-instrumentation-requests"),
    ("scylla-driver", "opentelemetry-instrumentation-cassandra"),
    ("sqlalchemy", "opentelemetry-instrumentation-sqlalchemy"),
    ("starlette", "opentelemetry-instrumentation-starlette"),
    ("tornado", "opentelemetry-instrumentation-tornado"),
    ("tortoise-orm", "opentelemetry-instrumentation-tortoiseorm"),
    ("urllib3", "opentelemetry-instrumentation-urllib3"),
];

/// The packages for an environment with these distributions, sorted.
pub(super) fn packages(present: &BTreeSet<String>) -> Vec<&'static str> {
    let chosen = LIBRARIES
        .iter()
        .filter(|(library, _)| present.contains(*library))
        .map(|(_, package)| *package);
    let all: BTreeSet<&str> = BASE.iter().copied().chain(chosen).collect();
    all.into_iter().collect()
}

/// The release of an agent's package: OpenTelemetry's packages are released together, with
/// matching numbers.
pub(crate) fn release(package: &str, python: PythonVersion) -> Option<&'static str> {
    let old = python < PythonVersion::new(3, 10);
    Some(match package {
        "opentelemetry-exporter-otlp-proto-http" if old => "1.41.1",
        "opentelemetry-exporter-otlp-proto-http" => "1.45.1",
        _ if package.starts_with("opentelemetry-") => {
            if old {
                "0.62b1"
            } else {
                "0.66b1"
            }
        }
        "newrelic" if old => "13.6.1",
        "newrelic" => "14.1.0",
        "ddtrace" => "4.16.0",
        "autowrapt" => "2.0.0",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_application_has_decides() {
        let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        let none = packages(&names("pydantic"));
        assert_eq!(none, BASE);
        let some = packages(&names(
            "flask requests psycopg2-binary boto3 botocore aiobotocore",
        ));
        assert_eq!(some.len(), BASE.len() + 5, "{some:?}");
        assert!(some.contains(&"opentelemetry-instrumentation-flask"));
    }

    #[test]
    fn all_have_a_release() {
        for package in BASE
            .iter()
            .chain(LIBRARIES.iter().map(|(_, package)| package))
        {
            for minor in [9, 14] {
                assert!(release(package, PythonVersion::new(3, minor)).is_some());
            }
        }
        assert_eq!(release("flask", PythonVersion::new(3, 12)), None);
    }
}
