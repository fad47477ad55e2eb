//! Files that hold secrets by their kind or by their content.

use std::borrow::Cow;

use super::super::paths::split;
use super::SecretKind;

/// The names of the kinds found here, for kinds that can be stored and read again.
pub(super) const LABELS: [&str; 18] = [
    "git's stored logins",
    "PostgreSQL passwords",
    "passwords of a web server",
    "an SSH key",
    "AWS credentials",
    "Google Cloud credentials",
    "a Kubernetes login",
    "a Vault token",
    "a Terraform state",
    "logins for many hosts",
    "an environment file with secrets",
    "a package index",
    "npm",
    "MySQL",
    "a container registry",
    "PHP's packages",
    "a database",
    IN_CODE,
];

/// A secret key or a login that a program's own code sets.
pub(crate) const IN_CODE: &str = "what the program's own code names";

/// Largest of these files that is read, in bytes; none is anywhere near it.
pub(crate) const MAX_FILE: u64 = 256 * 1024;

/// A secret that the name alone shows.
pub(crate) fn by_name(path: &[u8]) -> Option<SecretKind> {
    let (directory, name) = split(path);
    let (_, parent) = split(directory);
    let kind = match name {
        // Every repository has one; the rest of `.git` need not be reported.
        b"HEAD" if parent == b".git" => return Some(SecretKind::Repository),
        b".git-credentials" => "git's stored logins",
        b".pgpass" => "PostgreSQL passwords",
        b".htpasswd" => "passwords of a web server",
        b"id_rsa" | b"id_dsa" | b"id_ecdsa" | b"id_ed25519" if parent == b".ssh" => "an SSH key",
        b"credentials" if parent == b".aws" => "AWS credentials",
        b"application_default_credentials.json" => "Google Cloud credentials",
        b"config" if parent == b".kube" => "a Kubernetes login",
        b".vault-token" => "a Vault token",
        b"terraform.tfstate" => "a Terraform state",
        _ => return None,
    };
    Some(SecretKind::File(kind))
}

/// Whether [`by_content`] wants to see the file.
pub(crate) fn is_read(path: &[u8]) -> bool {
    let (directory, name) = split(path);
    let (_, parent) = split(directory);
    match name {
        b".netrc" | b"_netrc" | b".pypirc" | b".npmrc" | b".yarnrc" | b".dockercfg"
        | b"pip.conf" | b".my.cnf" | b"uv.toml" | b"auth.json" => true,
        b"config.json" => parent == b".docker" || parent == b"containers",
        b"auth.toml" | b"config.toml" => parent == b"pypoetry",
        _ => {
            is_env_file(name)
                || is_kubeconfig(name)
                || is_client_of_google(name)
                || is_own_code(path)
                || is_own_configuration(path)
        }
    }
}

/// `kubeconfig`, `prod.kubeconfig`, `kubeconfig-prod.yaml`.
fn is_kubeconfig(name: &[u8]) -> bool {
    name.windows(10).any(|part| part == b"kubeconfig")
        && ![&b".py"[..], b".md", b".go", b".js"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// What Google's console gives to an application: `credentials.json`, `client_secret_….json`.
fn is_client_of_google(name: &[u8]) -> bool {
    name == b"credentials.json" || (name.starts_with(b"client_secret") && name.ends_with(b".json"))
}

/// Python that is neither a package's nor of the standard library.
fn is_own_code(path: &[u8]) -> bool {
    path.ends_with(b".py") && is_own(path)
}

/// Configuration of the application.
fn is_own_configuration(path: &[u8]) -> bool {
    const ENDS: [&[u8]; 7] = [
        b".ini", b".cfg", b".conf", b".yml", b".yaml", b".toml", b".json",
    ];
    ENDS.iter().any(|end| path.ends_with(end)) && is_own(path)
}

/// Whether a file is neither a package's nor of the system; tests have false secrets.
fn is_own(path: &[u8]) -> bool {
    let (directory, name) = split(path);
    let system = [&b"usr"[..], b"lib", b"bin"];
    let first = path.split(|&byte| byte == b'/').next().unwrap_or_default();
    let foreign = directory.split(|&byte| byte == b'/').any(|part| {
        [
            &b"site-packages"[..],
            b"dist-packages",
            b"test",
            b"tests",
            b"examples",
            b"docs",
        ]
        .contains(&part)
            || part.starts_with(b"python3")
    });
    !name.starts_with(b"test_")
        && !foreign
        && (!system.contains(&first) || path.starts_with(b"usr/src/"))
}

/// `.env`, `.env.production`, `prod.env`, but not `.env.example`.
fn is_env_file(name: &[u8]) -> bool {
    if let Some(stem) = name.strip_suffix(b".env")
        && !stem.is_empty()
    {
        let template: [&[u8]; 8] = [
            b"example",
            b"sample",
            b"template",
            b"dist",
            b"tmpl",
            b"default",
            b"defaults",
            b"test",
        ];
        let mut parts = stem.split(|byte| b"._-".contains(byte));
        return !parts.any(|part| template.contains(&part));
    }
    let at = name.windows(5).position(|part| part == b".env.");
    let Some(rest) = name
        .strip_prefix(b".env")
        .or_else(|| at.map(|at| &name[at + 4..]))
    else {
        return false;
    };
    let template = [
        &b".example"[..],
        b".sample",
        b".template",
        b".dist",
        b".tmpl",
        b".defaults",
        b".test",
    ];
    rest.is_empty() || (rest.starts_with(b".") && !template.iter().any(|end| rest.ends_with(end)))
}

/// A secret in one of the files of [`is_read`].
pub(crate) fn by_content(path: &[u8], bytes: &[u8]) -> Option<SecretKind> {
    let (directory, name) = split(path);
    let (_, parent) = split(directory);
    let bytes = &plain(bytes);
    let credentials = |what| Some(SecretKind::Credentials(what));
    match name {
        b".netrc" | b"_netrc" => has_word_with_value(bytes, b"password")
            .then_some(SecretKind::File("logins for many hosts")),
        b"pip.conf" | b"uv.toml" if has_login_in_url(bytes) => credentials("a package index"),
        b".pypirc" if has_setting(bytes, &[b"password"]) => credentials("a package index"),
        b".npmrc" | b".yarnrc" if has_setting(bytes, &[b"_authtoken", b"_password", b"_auth"]) => {
            credentials("npm")
        }
        b".my.cnf" if has_setting(bytes, &[b"password"]) => credentials("MySQL"),
        b"auth.json" if has_composer_login(bytes) => credentials("PHP's packages"),
        b"auth.json" if !matches!(parent, b"containers" | b"pypoetry") => None,
        b"config.json" | b"auth.json" | b".dockercfg" if has_json_login(bytes) => {
            credentials("a container registry")
        }
        b"auth.toml" | b"config.toml" if has_setting(bytes, &[b"password"]) => {
            credentials("a package index")
        }
        _ if is_env_file(name) && has_secret_variable(bytes) => {
            Some(SecretKind::File("an environment file with secrets"))
        }
        _ if is_kubeconfig(name) && has_cluster_login(bytes) => {
            Some(SecretKind::File("a Kubernetes login"))
        }
        _ if is_client_of_google(name) && has_client_secret(bytes) => {
            Some(SecretKind::File("Google Cloud credentials"))
        }
        _ if is_own_code(path) && has_secret_in_code(bytes) => credentials(IN_CODE),
        _ if is_own_configuration(path) && has_login_in_configuration(bytes) => {
            credentials("a database")
        }
        _ => None,
    }
}

/// Text in UTF-16 as UTF-8, by its mark; other bytes as they are, without the mark of UTF-8.
fn plain(bytes: &[u8]) -> Cow<'_, [u8]> {
    let decode = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.as_chunks().0.iter().map(|pair| unit(*pair)).collect();
        Cow::Owned(String::from_utf16_lossy(&units).into_bytes())
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => decode(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => decode(rest, u16::from_be_bytes),
        [_, 0, _, 0, ..] => decode(bytes, u16::from_le_bytes),
        [0, _, 0, _, ..] => decode(bytes, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => Cow::Borrowed(rest),
        _ => Cow::Borrowed(bytes),
    }
}

/// `token: …` of a user in a kubeconfig; a key in it is found by its form.
fn has_cluster_login(bytes: &[u8]) -> bool {
    let has = |word: &[u8]| bytes.windows(word.len()).any(|part| part == word);
    has(b"clusters")
        && has(b"users")
        && bytes.split(|&byte| byte == b'\n').any(|line| {
            let line = line.trim_ascii();
            let line = line.strip_prefix(b"- ").unwrap_or(line).trim_ascii_start();
            let line = line.strip_suffix(b",").unwrap_or(line);
            [&b"token"[..], b"\"token\"", b"password", b"\"password\""]
                .iter()
                .filter_map(|key| {
                    line.strip_prefix(*key)?
                        .trim_ascii_start()
                        .strip_prefix(b":")
                })
                .any(is_value)
        })
}

/// Composer's `auth.json`: its kinds of logins, by host.
fn has_composer_login(bytes: &[u8]) -> bool {
    const KINDS: [&str; 7] = [
        "http-basic",
        "bearer",
        "github-oauth",
        "gitlab-oauth",
        "gitlab-token",
        "bitbucket-oauth",
        "custom-headers",
    ];
    fn holds(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::String(text) => is_value(text.as_bytes()),
            serde_json::Value::Array(list) => list.iter().any(holds),
            serde_json::Value::Object(map) => map.values().any(holds),
            _ => false,
        }
    }
    let value: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
    value.is_ok_and(|value| KINDS.iter().any(|kind| value.get(*kind).is_some_and(holds)))
}

/// `SECRET_KEY = '…'`, or an address of a database with a login, in Python.
fn has_secret_in_code(bytes: &[u8]) -> bool {
    bytes.split(|&byte| byte == b'\n').any(|line| {
        let line = line.trim_ascii();
        !line.starts_with(b"#") && (sets_a_key(line) || has_database_login(line))
    })
}

/// An address of a database with a login, in a file of configuration.
fn has_login_in_configuration(bytes: &[u8]) -> bool {
    bytes.split(|&byte| byte == b'\n').any(|line| {
        let line = line.trim_ascii();
        !line.starts_with(b"#") && !line.starts_with(b";") && has_database_login(line)
    })
}

/// `{"web": {"client_secret": "…"}}`, as Google's console gives it.
fn has_client_secret(bytes: &[u8]) -> bool {
    let value: Result<serde_json::Value, _> = serde_json::from_slice(bytes);
    value.is_ok_and(|value| {
        ["web", "installed"].iter().any(|kind| {
            let secret = value.get(kind).and_then(|it| it.get("client_secret"));
            secret
                .and_then(serde_json::Value::as_str)
                .is_some_and(|text| is_value(text.as_bytes()))
        })
    })
}

fn sets_a_key(line: &[u8]) -> bool {
    let names: [&[u8]; 2] = [b"SECRET_KEY", b"JWT_SECRET_KEY"];
    let value = names.iter().find_map(|name| {
        line.strip_prefix(*name)?
            .trim_ascii_start()
            .strip_prefix(b"=")
    });
    let Some([quote @ (b'"' | b'\''), rest @ ..]) = value.map(<[u8]>::trim_ascii_start) else {
        return false;
    };
    let end = rest.iter().position(|byte| byte == quote);
    let value = &rest[..end.unwrap_or(0)];
    let lower = value.to_ascii_lowercase();
    // `django-insecure-…` is what `startproject` writes, and Django itself warns of it.
    let placeholder: [&[u8]; 8] = [
        b"insecure",
        b"change",
        b"example",
        b"secret",
        b"your",
        b"dev",
        b"test",
        b"replace",
    ];
    let has = |is: fn(&u8) -> bool| value.iter().any(is);
    value.len() >= 16
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_alphabetic)
        && is_value(value)
        && !placeholder
            .iter()
            .any(|word| lower.windows(word.len()).any(|part| part == *word))
}

/// `postgresql://app:word@db/app`; a password for the own machine is mostly a developer's.
fn has_database_login(line: &[u8]) -> bool {
    const SCHEMES: [&[u8]; 8] = [
        b"postgres",
        b"postgresql",
        b"mysql",
        b"mariadb",
        b"mongodb",
        b"redis",
        b"rediss",
        b"amqp",
    ];
    const PLACEHOLDERS: [&[u8]; 8] = [
        b"pass",
        b"password",
        b"pw",
        b"pwd",
        b"secret",
        b"user",
        b"postgres",
        b"p",
    ];
    line.windows(3).enumerate().any(|(at, window)| {
        if window != b"://" {
            return false;
        }
        let ends = |byte: &u8| !byte.is_ascii_alphanumeric() && *byte != b'+';
        let begin = line[..at].iter().rposition(ends).map_or(0, |at| at + 1);
        let scheme = line[begin..at].split(|&byte| byte == b'+').next();
        if !scheme.is_some_and(|scheme| SCHEMES.contains(&scheme)) {
            return false;
        }
        let rest = &line[at + 3..];
        let end = rest
            .iter()
            .position(|byte| b"/\"'\\ ?#".contains(byte))
            .unwrap_or(rest.len());
        let Some(sign) = rest[..end].iter().rposition(|&byte| byte == b'@') else {
            return false;
        };
        let (user, host) = (&rest[..sign], &rest[sign + 1..end]);
        let host = host.split(|&byte| byte == b':').next().unwrap_or_default();
        let near: [&[u8]; 4] = [b"localhost", b"127.0.0.1", b"host", b"hostname"];
        let Some(colon) = user.iter().position(|&byte| byte == b':') else {
            return false;
        };
        let word = &user[colon + 1..];
        is_value(word)
            && !word.contains(&b'{')
            && !word.contains(&b'%')
            && !PLACEHOLDERS.contains(&word.to_ascii_lowercase().as_slice())
            && !near.contains(&host)
            && !host.windows(7).any(|part| part == b"example")
    })
}

/// `Bearer …`, as a header has it.
fn has_bearer(value: &[u8]) -> bool {
    const SIGN: &[u8] = b"bearer ";
    let lower = value.to_ascii_lowercase();
    lower
        .windows(SIGN.len())
        .position(|part| part == SIGN)
        .is_some_and(|at| {
            let token = value[at + SIGN.len()..].trim_ascii_start();
            let length = token
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte))
                .count();
            let has = |is: fn(&u8) -> bool| token[..length].iter().any(is);
            length >= 16 && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
        })
}

/// A JSON object with a member for a password.
fn has_json_password(value: &[u8]) -> bool {
    fn search(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Object(map) => map.iter().any(|(key, value)| {
                let key = key.to_ascii_lowercase();
                let is_login = ["password", "passwd", "pwd"]
                    .iter()
                    .any(|word| key.ends_with(word));
                (is_login && value.as_str().is_some_and(|text| is_value(text.as_bytes())))
                    || search(value)
            }),
            serde_json::Value::Array(list) => list.iter().any(search),
            _ => false,
        }
    }
    let value = value.trim_ascii();
    matches!(value.first(), Some(b'{' | b'['))
        && serde_json::from_slice(value).is_ok_and(|value| search(&value))
}

/// A login in a variable's value: in an address, or as `password=…` among other pairs.
pub(crate) fn has_login(value: &[u8]) -> bool {
    let pair = |part: &[u8]| {
        let Some(at) = part.iter().position(|&byte| byte == b'=') else {
            return false;
        };
        let name = part[..at].to_ascii_lowercase();
        let words: [&[u8]; 3] = [b"password", b"passwd", b"pwd"];
        words.iter().any(|word| name.ends_with(word)) && is_value(&part[at + 1..])
    };
    has_login_in_url(value)
        || has_login_of_go(value)
        || has_bearer(value)
        || has_json_password(value)
        || value
            .split(|byte| byte.is_ascii_whitespace() || b";,&?".contains(byte))
            .any(pair)
}

/// `user:password@tcp(host:port)/database`, as Go's drivers have it.
fn has_login_of_go(bytes: &[u8]) -> bool {
    [&b"@tcp("[..], b"@tcp6(", b"@unix("].iter().any(|sign| {
        let mut places = bytes
            .windows(sign.len())
            .enumerate()
            .filter(|(_, window)| window == sign);
        places.any(|(at, _)| {
            let before = &bytes[at.saturating_sub(1024)..at];
            let ends = |byte: &u8| byte.is_ascii_whitespace() || b"\"'=`".contains(byte);
            let begin = before.iter().rposition(ends).map_or(0, |at| at + 1);
            let login = &before[begin..];
            let colon = login.iter().position(|&byte| byte == b':');
            colon.is_some_and(|colon| is_value(&login[colon + 1..]))
        })
    })
}

/// A DSN of Sentry's, whose key is public: it lets programs report, and read nothing.
fn is_public_key(user: &[u8], host: &[u8]) -> bool {
    let host = host.split(|&byte| byte == b':').next().unwrap_or_default();
    user.len() == 32 && user.iter().all(u8::is_ascii_hexdigit) && host.ends_with(b".sentry.io")
}

/// `scheme://user:password@host`, where the password is not a variable to be filled in.
pub(crate) fn has_login_in_url(bytes: &[u8]) -> bool {
    bytes.windows(3).enumerate().any(|(at, window)| {
        if window != b"://" {
            return false;
        }
        let rest = &bytes[at + 3..];
        let end = rest
            .iter()
            .take(1024)
            .position(|&b| b"/\"'\\".contains(&b) || b.is_ascii_whitespace());
        let authority = &rest[..end.unwrap_or(rest.len().min(1024))];
        let Some(sign) = authority.iter().rposition(|&b| b == b'@') else {
            return false;
        };
        let user = &authority[..sign];
        let secret = match user.iter().position(|&b| b == b':') {
            Some(colon) => &user[colon + 1..],
            // A token alone, as in `https://TOKEN@host`; a mere user name is short.
            None if is_public_key(user, &authority[sign + 1..]) => return false,
            None if user.len() >= 20 || (user.len() >= 12 && is_mixed(user)) => user,
            None => return false,
        };
        is_value(secret)
    })
}

/// Letters of both cases and digits: not a name.
fn is_mixed(text: &[u8]) -> bool {
    let has = |is: fn(&u8) -> bool| text.iter().any(is);
    has(u8::is_ascii_digit) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase)
}

/// `NAME=value`, `name: value`, in an INI-like file; the name may have a prefix that ends with `:`.
fn has_setting(bytes: &[u8], names: &[&[u8]]) -> bool {
    bytes.split(|&byte| byte == b'\n').any(|line| {
        let Some(at) = line.iter().position(|&byte| byte == b'=') else {
            return false;
        };
        let name = line[..at].trim_ascii().to_ascii_lowercase();
        let name = name.rsplit(|&byte| byte == b':').next().unwrap_or_default();
        names.contains(&name) && is_value(&line[at + 1..])
    })
}

fn has_word_with_value(bytes: &[u8], word: &[u8]) -> bool {
    let mut words = bytes
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty());
    words.any(|found| found == word) && words.next().is_some()
}

/// `"auth": "…"`, `"identitytoken": "…"` in docker's or podman's configuration.
fn has_json_login(bytes: &[u8]) -> bool {
    fn search(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Object(map) => map.iter().any(|(key, value)| {
                let is_login = ["auth", "identitytoken", "registrytoken", "password"]
                    .contains(&key.to_ascii_lowercase().as_str());
                (is_login && value.as_str().is_some_and(|text| !text.is_empty())) || search(value)
            }),
            serde_json::Value::Array(list) => list.iter().any(search),
            _ => false,
        }
    }
    serde_json::from_slice(bytes).is_ok_and(|value| search(&value))
}

fn has_secret_variable(bytes: &[u8]) -> bool {
    bytes.split(|&byte| byte == b'\n').any(|line| {
        let line = line.trim_ascii();
        let line = line.strip_prefix(b"export ").unwrap_or(line);
        if line.starts_with(b"#") {
            return false;
        }
        let Some(at) = line.iter().position(|&byte| byte == b'=') else {
            return false;
        };
        let value = &line[at + 1..];
        (is_secret_name(&String::from_utf8_lossy(&line[..at])) && is_value(value))
            || has_login_in_url(value)
            || has_login_of_go(value)
    })
}

/// Whether a variable of this name holds a secret. `PYTHON_GPG_KEY` and the like do not.
pub(crate) fn is_secret_name(name: &str) -> bool {
    let name = name.trim().to_ascii_uppercase();
    let public = [
        "_FILE",
        "_PATH",
        "_URL",
        "_ID",
        "_NAME",
        "_HEADER",
        "_ALGORITHM",
        "_EXPIRY",
    ];
    let secret = [
        "PASSWORD",
        "PASSWD",
        "SECRET",
        "TOKEN",
        "PRIVATE_KEY",
        "API_KEY",
        "APIKEY",
        "ACCESS_KEY",
        "CREDENTIAL",
    ];
    // `MYSQL_PWD`; `PWD` and `OLDPWD` are directories.
    name.ends_with("_PWD")
        || !public.iter().any(|end| name.ends_with(end))
            && secret.iter().any(|word| name.contains(word))
}

/// Whether the value is real, not a placeholder to be filled in later.
pub(crate) fn is_value(value: &[u8]) -> bool {
    let value = value.trim_ascii();
    let quote = |byte: &u8| *byte == b'"' || *byte == b'\'';
    let value = value
        .split_first()
        .filter(|(f, _)| quote(f))
        .map_or(value, |(_, rest)| rest);
    let value = value
        .split_last()
        .filter(|(l, _)| quote(l))
        .map_or(value, |(_, rest)| rest);
    let lower = value.to_ascii_lowercase();
    let placeholder = [
        &b"changeme"[..],
        b"change-me",
        b"change_me",
        b"true",
        b"false",
        b"none",
        b"null",
        b"xxx",
        b"****",
        b"password",
    ];
    !(value.is_empty()
        || value.starts_with(b"$")
        || value.starts_with(b"<")
        || value.starts_with(b"{")
        || value.starts_with(b"%(")
        || placeholder.contains(&lower.as_slice()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kind that is not in the list could be stored, but not read again.
    fn is_listed(kind: SecretKind) -> bool {
        match kind {
            SecretKind::File(label) | SecretKind::Credentials(label) => LABELS.contains(&label),
            _ => true,
        }
    }

    #[test]
    fn names_that_tell() {
        for (path, found) in [
            ("opt/app/.git/HEAD", true),
            ("opt/app/HEAD", false),
            ("root/.ssh/id_ed25519", true),
            ("root/.ssh/id_ed25519.pub", false),
            ("srv/id_rsa", false),
            ("root/.aws/credentials", true),
            ("usr/lib/python3/credentials", false),
            ("root/.git-credentials", true),
        ] {
            let kind = by_name(path.as_bytes());
            assert_eq!(kind.is_some(), found, "{path}");
            assert!(kind.is_none_or(is_listed), "{path}");
        }
    }

    #[test]
    fn contents_that_tell() {
        for (path, text, found) in [
            ("app/.env", "DEBUG=1\nSECRET_KEY=abc\n", true),
            ("app/.env", "DEBUG=1\n", false),
            ("app/.env", "SECRET_KEY=${SECRET_KEY}\n", false),
            ("app/.env", "SECRET_KEY=\n", false),
            ("app/.env", "# SECRET_KEY=abc\n", false),
            (
                "app/.env",
                "export DATABASE_URL='postgres://u:pw@db/x'\n",
                true,
            ),
            ("app/.env.production", "API_KEY=\"abc\"\n", true),
            ("app/.env.example", "API_KEY=abc\n", false),
            ("app/.environment", "API_KEY=abc\n", false),
            ("root/.netrc", "machine h login u password p", true),
            ("root/.netrc", "machine h login u\n", false),
            (
                "etc/pip.conf",
                "[global]\nindex-url = https://u:pw@pypi.example.com/simple\n",
                true,
            ),
            (
                "etc/pip.conf",
                "[global]\nindex-url = https://u:${PW}@pypi.example.com/\n",
                false,
            ),
            (
                "etc/pip.conf",
                "[global]\nindex-url = https://pypi.example.com/simple\n",
                false,
            ),
            (
                "etc/pip.conf",
                "[global]\nindex-url = https://u@pypi.example.com/simple\n",
                false,
            ),
            ("root/.pypirc", "[pypi]\nusername = u\npassword = p\n", true),
            ("root/.pypirc", "[pypi]\nusername = u\n", false),
            (
                "root/.npmrc",
                "//registry.npmjs.org/:_authToken=abc\n",
                true,
            ),
            (
                "root/.npmrc",
                "//registry.npmjs.org/:_authToken=${NPM}\n",
                false,
            ),
            (
                "root/.docker/config.json",
                r#"{"auths":{"h":{"auth":"dTpw"}}}"#,
                true,
            ),
            (
                "root/.docker/config.json",
                r#"{"auths":{"h":{}},"credsStore":"x"}"#,
                false,
            ),
            ("srv/config.json", r#"{"auth":"x"}"#, false),
            ("app/prod.env", "API_KEY=abc\n", true),
            ("app/prod.env.local", "API_KEY=abc\n", true),
            ("app/prod.env.example", "API_KEY=abc\n", false),
            (
                "app/client_secret_1.json",
                r#"{"web":{"client_id":"x","client_secret":"GOCSPX-abc"}}"#,
                true,
            ),
            (
                "app/credentials.json",
                r#"{"web":{"client_id":"x"}}"#,
                false,
            ),
            (
                "app/alembic.ini",
                "sqlalchemy.url = postgresql://app:hunter22@db.shop.internal/app\n",
                true,
            ),
            (
                "app/alembic.ini",
                "sqlalchemy.url = driver://user:pass@localhost/dbname\n",
                false,
            ),
            (
                "app/config/application.yml",
                "url: \"mysql://app:hunter22@db/app\"\n",
                true,
            ),
            (
                "opt/app-root/lib/python3.11/site-packages/x/a.yml",
                "url: mysql://app:hunter22@db/app\n",
                false,
            ),
            ("app/prod.env", "DEBUG=1\n", false),
            ("app/app-example.env", "API_KEY=abc\n", false),
            (
                "app/auth.json",
                r#"{"http-basic":{"repo.example.com":{"username":"u","password":"w0rd"}}}"#,
                true,
            ),
            (
                "app/auth.json",
                r#"{"github-oauth":{"github.com":"abc"}}"#,
                true,
            ),
            ("app/auth.json", r#"{"github-oauth":{}}"#, false),
            ("app/auth.json", r#"{"auth":"x"}"#, false),
            (
                "app/kubeconfig.yaml",
                "clusters:\n- name: c\nusers:\n- name: u\n  user:\n    token: abc\n",
                true,
            ),
            (
                "app/kubeconfig.yaml",
                "clusters:\n- name: c\nusers:\n- name: u\n  user:\n    tokenFile: /run/t\n",
                false,
            ),
            (
                "app/settings.py",
                "SECRET_KEY = 'k3!x9v_q2m#8wz7p0a5d'\n",
                true,
            ),
            (
                "app/settings.py",
                "SECRET_KEY = 'django-insecure-k3!x9v_q2m#8wz7'\n",
                false,
            ),
            (
                "app/settings.py",
                "SECRET_KEY = os.environ['SECRET_KEY']\n",
                false,
            ),
            (
                "app/settings.py",
                "# SECRET_KEY = 'k3!x9v_q2m#8wz7p0a5d'\n",
                false,
            ),
            ("app/settings.py", "SECRET_KEY = 'dev'\n", false),
            (
                "app/settings.py",
                "DB = 'postgresql+psycopg://app:w0rd@db/app'\n",
                true,
            ),
            (
                "app/settings.py",
                "DB = f'postgres://app:{word}@db/app'\n",
                false,
            ),
            (
                "app/settings.py",
                "DB = 'postgres://app:w0rd@localhost/app'\n",
                false,
            ),
            (
                "app/settings.py",
                "DB = 'postgres://user:password@host/app'\n",
                false,
            ),
            ("app/settings.py", "URL = 'https://db/app'\n", false),
            (
                "opt/app-root/lib/python3.11/site-packages/x.py",
                "SECRET_KEY = 'k3!x9v_q2m#8wz7p0a5d'\n",
                false,
            ),
            (
                "app/tests/x.py",
                "DB = 'postgres://app:w0rd@db/app'\n",
                false,
            ),
        ] {
            let kind = is_read(path.as_bytes())
                .then(|| by_content(path.as_bytes(), text.as_bytes()))
                .flatten();
            assert_eq!(kind.is_some(), found, "{path}: {text}");
            assert!(kind.is_none_or(is_listed), "{path}: {text}");
        }
    }

    #[test]
    fn contents_in_utf_16() {
        let text = "DEBUG=1\r\nSECRET_KEY=abc\r\n";
        let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [
            [&b"\xff\xfe"[..], &little].concat(),
            [&b"\xfe\xff"[..], &big].concat(),
            [&b"\xef\xbb\xbf"[..], text.as_bytes()].concat(),
            little,
            big,
        ] {
            assert!(by_content(b"app/.env", &bytes).is_some(), "{bytes:?}");
        }
    }

    #[test]
    fn logins_in_values() {
        for (value, found) in [
            ("postgres://app:s3cret@db:5432/app", true),
            ("mysql+pymysql://u:pw@db/x?charset=utf8", true),
            ("redis://:pw@cache:6379/0", true),
            ("host=db user=app password=s3cret", true),
            ("Server=db;User Id=sa;Password=s3cret;", true),
            ("app:s3cret@tcp(db:3306)/app?parseTime=true", true),
            ("dsn=app:s3:cret@unix(/run/mysqld.sock)/app", true),
            ("app@tcp(db:3306)/app", false),
            ("app:$PW@tcp(db:3306)/app", false),
            ("see user:x at tcp(db)", false),
            (
                "https://0123456789abcdef0123456789abcdef@o1.ingest.sentry.io/2",
                false,
            ),
            (
                "https://0123456789abcdef0123456789abcdef@o1.ingest.de.sentry.io/2",
                false,
            ),
            (
                "https://0123456789abcdef0123456789abcdef:s3cret@o1.ingest.sentry.io/2",
                true,
            ),
            (
                "https://0123456789abcdef0123456789abcdef@git.example.com/2",
                true,
            ),
            ("postgres://db/app", false),
            ("postgres://app@db/app", false),
            ("postgres://app:${PW}@db/app", false),
            ("host=db password=$PW", false),
            ("https://example.com/a:b@c", false),
            ("/usr/bin:/bin", false),
            ("https://aB3dE5gH7jK9m@git.example.com/x", true),
            ("https://deploy-user-1@git.example.com/x", false),
            (r#"{"host":"db","password":"w0rd"}"#, true),
            (r#"{"host":"db","password":""}"#, false),
            (r#"{"host":"db"}"#, false),
            ("Authorization: Bearer aB3dE5gH7jK9mN1pQ3sT", true),
            ("the bearer of this letter", false),
            ("Bearer $TOKEN", false),
        ] {
            assert_eq!(has_login(value.as_bytes()), found, "{value}");
        }
    }

    #[test]
    fn variables_by_name() {
        for (name, secret) in [
            ("SECRET_KEY", true),
            ("db_password", true),
            ("AWS_SECRET_ACCESS_KEY", true),
            ("GITHUB_TOKEN", true),
            ("GPG_KEY", false),
            ("PYTHON_SHA256", false),
            ("PASSWORD_FILE", false),
            ("AWS_ACCESS_KEY_ID", false),
            ("PATH", false),
            ("MYSQL_PWD", true),
            ("PWD", false),
            ("OLDPWD", false),
        ] {
            assert_eq!(is_secret_name(name), secret, "{name}");
        }
    }
}
