//! The `MOD_WSGI_*` variables of the original: each is an option of `mod_wsgi-express`.

use std::collections::BTreeMap;

/// Variable without its prefix, options. A flag takes no value.
const OPTIONS: &[(&str, &[&str], bool)] = &[
    ("ACCESS_LOG", &["--access-log"], true),
    ("PROCESSES", &["--processes"], false),
    ("THREADS", &["--threads"], false),
    ("MAX_CLIENTS", &["--max-clients"], false),
    ("INITIAL_WORKERS", &["--initial-workers"], false),
    ("MINIMUM_SPARE_WORKERS", &["--minimum-spare-workers"], false),
    ("MAXIMUM_SPARE_WORKERS", &["--maximum-spare-workers"], false),
    ("LIMIT_REQUEST_BODY", &["--limit-request-body"], false),
    ("MAXIMUM_REQUESTS", &["--maximum-requests"], false),
    ("INACTIVITY_TIMEOUT", &["--inactivity-timeout"], false),
    ("REQUEST_TIMEOUT", &["--request-timeout"], false),
    ("CONNECT_TIMEOUT", &["--connect-timeout"], false),
    ("SOCKET_TIMEOUT", &["--socket-timeout"], false),
    ("QUEUE_TIMEOUT", &["--queue-timeout"], false),
    ("HEADER_TIMEOUT", &["--header-timeout"], false),
    ("HEADER_MAX_TIMEOUT", &["--header-max-timeout"], false),
    ("HEADER_MIN_RATE", &["--header-min-rate"], false),
    ("BODY_TIMEOUT", &["--body-timeout"], false),
    ("BODY_MAX_TIMEOUT", &["--body-max-timeout"], false),
    ("BODY_MIN_RATE", &["--body-min-rate"], false),
    ("SERVER_BACKLOG", &["--server-backlog"], false),
    ("DAEMON_BACKLOG", &["--daemon-backlog"], false),
    ("SERVER_MPM", &["--server-mpm"], false),
    ("LOG_LEVEL", &["--log-level"], false),
    ("RELOAD_ON_CHANGES", &["--reload-on-changes"], true),
    (
        "ENABLE_DEBUGGER",
        &["--debug-mode", "--enable-debugger"],
        true,
    ),
    ("WORKING_DIRECTORY", &["--working-directory"], false),
    ("APPLICATION_TYPE", &["--application-type"], false),
    ("ENTRY_POINT", &["--entry-point"], false),
    ("CALLABLE_OBJECT", &["--callable-object"], false),
    ("SERVER_STATUS", &["--server-status"], true),
];

/// The options that the environment asks for, in the table's order.
pub(super) fn options(environment: &BTreeMap<String, String>) -> Vec<String> {
    let mut arguments = Vec::new();
    for (name, options, flag) in OPTIONS {
        let value = environment
            .get(&format!("MOD_WSGI_{name}"))
            .filter(|value| !value.is_empty());
        if let Some(value) = value {
            arguments.extend(options.iter().map(|option| (*option).to_owned()));
            if !flag {
                arguments.push(value.clone());
            }
        }
    }
    if ["NEW_RELIC_LICENSE_KEY", "NEW_RELIC_CONFIG_FILE"]
        .iter()
        .any(|name| {
            environment
                .get(*name)
                .is_some_and(|value| !value.is_empty())
        })
    {
        arguments.push("--with-newrelic".to_owned());
    }
    arguments
}

/// Every variable, and whether it is a flag.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = (String, bool)> {
    OPTIONS
        .iter()
        .map(|(name, _, flag)| (format!("MOD_WSGI_{name}"), *flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The original's table, unchanged.
    const REFERENCE: &str = "ACCESS_LOG`--access-log` PROCESSES`--processes` THREADS`--threads` MAX_CLIENTS`--max-clients` INITIAL_WORKERS`--initial-workers` MINIMUM_SPARE_WORKERS`--minimum-spare-workers` MAXIMUM_SPARE_WORKERS`--maximum-spare-workers` LIMIT_REQUEST_BODY`--limit-request-body` MAXIMUM_REQUESTS`--maximum-requests` INACTIVITY_TIMEOUT`--inactivity-timeout` REQUEST_TIMEOUT`--request-timeout` CONNECT_TIMEOUT`--connect-timeout` SOCKET_TIMEOUT`--socket-timeout` QUEUE_TIMEOUT`--queue-timeout` HEADER_TIMEOUT`--header-timeout` HEADER_MAX_TIMEOUT`--header-max-timeout` HEADER_MIN_RATE`--header-min-rate` BODY_TIMEOUT`--body-timeout` BODY_MAX_TIMEOUT`--body-max-timeout` BODY_MIN_RATE`--body-min-rate` SERVER_BACKLOG`--server-backlog` DAEMON_BACKLOG`--daemon-backlog` SERVER_MPM`--server-mpm` LOG_LEVEL`--log-level` RELOAD_ON_CHANGES`--reload-on-changes`(flag) ENABLE_DEBUGGER`--debug-mode --enable-debugger`(flag) WORKING_DIRECTORY`--working-directory` APPLICATION_TYPE`--application-type` ENTRY_POINT`--entry-point` CALLABLE_OBJECT`--callable-object` SERVER_STATUS`--server-status`(flag)";

    #[test]
    fn all_thirty_one() {
        let ours: Vec<String> = OPTIONS
            .iter()
            .map(|(name, options, flag)| {
                // A log has no value: the original's table leaves that out.
                let flag = if *flag && *name != "ACCESS_LOG" {
                    "(flag)"
                } else {
                    ""
                };
                format!("{name}`{}`{flag}", options.join(" "))
            })
            .collect();
        assert_eq!(ours.join(" "), REFERENCE);
        assert_eq!(OPTIONS.len(), 31);
        let environment = BTreeMap::from([
            ("MOD_WSGI_PROCESSES".to_owned(), "3".to_owned()),
            ("MOD_WSGI_ENABLE_DEBUGGER".to_owned(), "1".to_owned()),
            ("NEW_RELIC_LICENSE_KEY".to_owned(), "k".to_owned()),
        ]);
        assert_eq!(
            options(&environment).join(" "),
            "--processes 3 --debug-mode --enable-debugger --with-newrelic"
        );
    }
}
