//! The options of `Defaults` in sudoers (sudoers(5), "SUDOERS OPTIONS"): what each makes sudo do.

/// One option as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// `!name`: it is off.
    pub(super) negated: bool,
    pub(super) name: String,
    /// Without quotes.
    pub(super) value: Option<String>,
}

/// What an option can do to the system, apart from what the rules allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Root writes, reads or runs what the option names; and how.
    Acts(&'static str),
    /// The audit does not know the option as harmless.
    Unknown,
}

/// Options that neither give anybody a right nor make root write, read or run what they name. With those
/// that are judged elsewhere (`authenticate`, `exempt_group`, `targetpw` …).
const HARMLESS: [&str; 114] = [
    "always_query_group_plugin",
    "always_set_home",
    "authenticate",
    "authfail_message",
    "badpass_message",
    "case_insensitive_group",
    "case_insensitive_user",
    "closefrom",
    "closefrom_override",
    "cmddenial_message",
    "command_timeout",
    "compress_io",
    "env_editor",
    "env_reset",
    "exec_background",
    "exempt_group",
    "fast_glob",
    "fqdn",
    "group_plugin",
    "ignore_audit_errors",
    "ignore_dot",
    "ignore_iolog_errors",
    "ignore_local_sudoers",
    "ignore_logfile_errors",
    "ignore_unknown_defaults",
    "insults",
    "lecture",
    "legacy_group_processing",
    "listpw",
    "log_allowed",
    "log_denied",
    "log_exit_status",
    "log_format",
    "log_host",
    "log_passwords",
    "log_subcmds",
    "log_year",
    "loglinelen",
    "long_otp_prompt",
    "mail_all_cmnds",
    "mail_always",
    "mail_badpass",
    "mail_no_host",
    "mail_no_perms",
    "mail_no_user",
    "mailfrom",
    "mailsub",
    "mailto",
    "match_group_by_gid",
    "netgroup_tuple",
    "noexec",
    "noninteractive_auth",
    "pam_acct_mgmt",
    "pam_askpass_service",
    "pam_login_service",
    "pam_rhost",
    "pam_ruser",
    "pam_service",
    "pam_session",
    "pam_setcred",
    "pam_silent",
    "passprompt",
    "passprompt_override",
    "passwd_timeout",
    "passwd_tries",
    "path_info",
    "preserve_groups",
    "pwfeedback",
    "requiretty",
    "rlimit_as",
    "rlimit_core",
    "rlimit_cpu",
    "rlimit_data",
    "rlimit_fsize",
    "rlimit_locks",
    "rlimit_memlock",
    "rlimit_nofile",
    "rlimit_nproc",
    "rlimit_rss",
    "rlimit_stack",
    "root_sudo",
    "rootpw",
    "runas_default",
    "runaspw",
    "secure_path",
    "selinux",
    "server_timeout",
    "set_home",
    "set_logname",
    "set_utmp",
    "shell_noargs",
    "stay_setuid",
    "sudoedit_checkdir",
    "sudoers_locale",
    "syslog",
    "syslog_badpri",
    "syslog_goodpri",
    "syslog_maxlen",
    "syslog_pid",
    "targetpw",
    "timestamp_timeout",
    "timestamp_type",
    "tty_tickets",
    "umask",
    "umask_override",
    "use_loginclass",
    "use_netgroups",
    "use_pty",
    "user_command_timeouts",
    "utmp_runas",
    "verifypw",
    "visiblepw",
    "intercept_verify",
    "intercept_authenticate",
];

/// Options that make root write, read or run what they name.
const ACTING: [(&str, &str); 14] = [
    ("admin_flag", "sudo makes the file"),
    ("iolog_dir", "sudo writes there as root"),
    ("iolog_file", "sudo writes it as root"),
    ("iolog_group", "sudo gives the group what it writes as root"),
    (
        "iolog_mode",
        "sudo lets others write what it writes as root",
    ),
    ("iolog_user", "sudo gives the user what it writes as root"),
    ("lecture_file", "sudo reads it as root and shows it"),
    ("lecture_status_dir", "sudo writes there as root"),
    ("logfile", "sudo writes it as root"),
    ("mailerflags", "sudo hands it to its program for mail"),
    (
        "mailerpath",
        "sudo runs it, as root unless it was built otherwise",
    ),
    ("runchroot", "sudo runs commands as root in that tree"),
    (
        "timestampdir",
        "sudo keeps there who has given a password already",
    ),
    (
        "timestampowner",
        "the user can write down who has given a password already",
    ),
];

/// `None` if it is harmless, or off.
pub(super) fn effect(option: &Written) -> Option<Effect> {
    if HARMLESS.contains(&option.name.as_str()) {
        return None;
    }
    if is_as_usual(option) {
        return None;
    }
    let acts = ACTING.iter().find(|(name, _)| *name == option.name);
    match (acts, option.negated) {
        // `!logfile`: it writes none. `!env_check` and others are not that simple.
        (Some(_), true) => None,
        (Some((_, how)), false) => Some(Effect::Acts(how)),
        (None, _) => Some(Effect::Unknown),
    }
}

/// Values that are sudo's own, or stricter; variables that no program takes for its own.
fn is_as_usual(option: &Written) -> bool {
    let Some(value) = option.value.as_deref() else {
        return false;
    };
    match option.name.as_str() {
        "timestampowner" | "iolog_user" | "iolog_group" => matches!(value, "root" | "#0"),
        "iolog_mode" => u32::from_str_radix(value, 8).is_ok_and(|mode| mode & 0o022 == 0),
        "env_keep" => value.split_whitespace().all(is_plain_variable),
        _ => false,
    }
}

/// Of a language, a display, a colour, say.
fn is_plain_variable(name: &str) -> bool {
    const USUAL: [&str; 22] = [
        "COLORS",
        "DISPLAY",
        "HOSTNAME",
        "HISTSIZE",
        "KDEDIR",
        "LS_COLORS",
        "MAIL",
        "QTDIR",
        "USERNAME",
        "LANG",
        "LANGUAGE",
        "LINGUAS",
        "XAUTHORITY",
        "XDG_SESSION_COOKIE",
        "_XKB_CHARSET",
        "SSH_AUTH_SOCK",
        "TZ",
        "http_proxy",
        "https_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
    ];
    USUAL.contains(&name) || name.starts_with("LC_")
}

/// The options of one line, behind `Defaults` and its scope; and whether its quotes are odd.
pub(super) fn options(text: &str) -> (Vec<Written>, bool) {
    let (parts, odd) = parts(text);
    let options = parts.iter().filter_map(|part| written(part)).collect();
    (options, odd)
}

/// Splits at commas outside quotes.
fn parts(text: &str) -> (Vec<String>, bool) {
    let mut parts = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for letter in text.chars() {
        if letter == ',' && !quoted && !escaped {
            parts.push(String::new());
            continue;
        }
        quoted ^= letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        if let Some(last) = parts.last_mut() {
            last.push(letter);
        }
    }
    if quoted {
        // sudo may end the text elsewhere: what stands behind a comma counts too.
        parts.extend(text.split(',').skip(1).map(str::to_owned));
    }
    (parts, quoted)
}

fn written(part: &str) -> Option<Written> {
    let (head, value) = match part.split_once('=') {
        Some((head, value)) => (head, Some(value)),
        None => (part, None),
    };
    let head = head.trim().trim_end_matches(['+', '-']).trim_end();
    // Before the first option may stand the rest of a scope: `Defaults:app, ops logfile=…`.
    let name = head.rsplit([' ', '\t', '!']).next().unwrap_or_default();
    if name.is_empty() {
        return None;
    }
    let before = head[..head.len() - name.len()].trim_end();
    let signs = before
        .chars()
        .rev()
        .take_while(|letter| *letter == '!' || letter.is_whitespace())
        .filter(|letter| *letter == '!')
        .count();
    let value = value.map(|value| {
        let value = value.trim();
        let value = value.strip_prefix('"').unwrap_or(value);
        value.strip_suffix('"').unwrap_or(value).replace('\\', "")
    });
    Some(Written {
        negated: signs % 2 == 1,
        name: name.to_owned(),
        value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effects(text: &str) -> Vec<Option<Effect>> {
        let (options, _) = options(text);
        options.iter().map(effect).collect()
    }

    #[test]
    fn what_debian_ships_is_harmless() {
        for text in [
            "env_reset",
            "mail_badpass",
            "secure_path=\"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\"",
            "use_pty",
            "env_reset, timestamp_timeout = 15, !lecture",
            "badpass_message=\"no, logfile=/etc/passwd\"",
            "!logfile",
            "! mailerpath",
            "passprompt=\"Password\\\", please: \"",
        ] {
            assert!(effects(text).iter().all(Option::is_none), "{text}");
        }
    }

    #[test]
    fn what_makes_root_write_or_run_is_told() {
        let acts = |text: &str| {
            let told = effects(text);
            told.iter()
                .any(|told| matches!(told, Some(Effect::Acts(_))))
        };
        for text in [
            "logfile=/etc/passwd,!syslog",
            "!syslog , logfile = /etc/passwd",
            "!!logfile=/etc/passwd",
            "ops logfile=/etc/passwd",
            "badpass_message=\"no\",logfile=/etc/passwd",
            "badpass_message=\"no,logfile=/etc/passwd",
            "timestampowner=app",
            "mailerpath=/opt/own",
        ] {
            assert!(acts(text), "{text}");
        }
        for text in [
            "env_keep += \"LANG LC_TIME DISPLAY\"",
            "timestampowner=root",
            "iolog_user = root, iolog_mode=0600",
        ] {
            assert!(effects(text).iter().all(Option::is_none), "{text}");
        }
        for text in ["timestampowner=app", "iolog_mode=0666"] {
            assert!(
                matches!(effects(text)[..], [Some(Effect::Acts(_))]),
                "{text}"
            );
        }
        for text in [
            "env_keep+=LD_PRELOAD",
            "env_keep += \"LANG *\"",
            "!env_check",
            "what_is_this",
        ] {
            assert_eq!(effects(text), [Some(Effect::Unknown)], "{text}");
        }
    }

    #[test]
    fn values_are_read_without_quotes() {
        let (options, odd) = options("logfile = \"/var/log/a b\", editor=/usr/bin/v\\i");
        let values: Vec<Option<&str>> = options.iter().map(|it| it.value.as_deref()).collect();
        assert_eq!(values, [Some("/var/log/a b"), Some("/usr/bin/vi")]);
        assert!(!odd);
    }
}
