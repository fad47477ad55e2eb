//! `warpdrive login` and `warpdrive logout`: verifies and keeps the login of a registry, or removes it.

use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::PathBuf;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::json;

use crate::pipeline::Transfers;
use crate::registry::{AuthStore, Client};

use super::access::RegistryArgs;
use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::progress::Console;

/// Longest password.
const MAX_PASSWORD: u64 = 64 * 1024;

/// Log in to a registry
///
/// The login is shown to the registry first, and kept only if it is right: in the file where `podman
/// login` keeps it (`$XDG_RUNTIME_DIR/containers/auth.json`, else `~/.config/containers/auth.json`), or with
/// the credential helper that the file names.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  warpdrive login registry.example.com
  echo \"$TOKEN\" | warpdrive login -u robot --password-stdin registry.example.com
  warpdrive login registry.example.com/team
")]
pub(super) struct LoginArgs {
    /// Host of the registry, with its port where that is not the usual one; HOST/NAMESPACE for the
    /// repositories below it alone
    registry: String,
    /// Name of the user
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Keep it in Docker's file (~/.docker/config.json)
    #[arg(long, conflicts_with = "authfile")]
    docker: bool,
    #[command(flatten)]
    access: RegistryArgs,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

/// Forget the login of a registry
#[derive(Debug, clap::Args)]
pub(super) struct LogoutArgs {
    /// Host of the registry, or HOST/NAMESPACE, as for `login`
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    registry: Option<String>,
    /// Forget all logins of the file
    #[arg(short, long)]
    all: bool,
    /// File that the login is in [default: as for `login`]
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// It is in Docker's file (~/.docker/config.json)
    #[arg(long, conflicts_with = "authfile")]
    docker: bool,
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
}

/// What a login is for: a registry, or what lies below a name of it.
struct Target {
    host: String,
    /// `host` or `host/namespace`.
    key: String,
}

impl Target {
    fn parse(text: &str) -> Result<Self, CommandError> {
        let schemes = ["docker://", "https://", "http://"];
        let bare = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
        // As the address of a registry's interface, it has no namespace.
        let is_address = bare.is_some();
        let bare = bare.unwrap_or(text).trim_end_matches('/');
        let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
        let is_interface = matches!(path, "v1" | "v2");
        let allowed = |text: &str, more: &[u8]| {
            let letter = |b: u8| b.is_ascii_alphanumeric() || more.contains(&b);
            !text.is_empty() && text.bytes().all(letter)
        };
        let is_path = !is_address && path.split('/').all(|part| allowed(part, b"-._"));
        if !allowed(host, b"-._:[]") || !(path.is_empty() || is_interface || is_path) {
            return Err(
                CommandError::usage(format!("`{text}` is not the host of a registry")).with_hint(
                    "give HOST, HOST:PORT or HOST/NAMESPACE, as in registry.example.com:5000",
                ),
            );
        }
        let host = match host {
            "index.docker.io" | "registry-1.docker.io" => "docker.io",
            host => host,
        };
        Ok(Self {
            key: match path {
                _ if is_interface || path.is_empty() => host.to_owned(),
                path => format!("{host}/{path}"),
            },
            host: host.to_owned(),
        })
    }

    /// Docker looks for logins of whole registries.
    fn check_docker(&self, docker: bool) -> Result<(), CommandError> {
        if docker && self.key != self.host {
            return Err(CommandError::usage(format!(
                "Docker's file has no logins for a part of a registry, as `{}` is one",
                self.key
            ))
            .with_hint("leave --docker out, or give the registry alone"));
        }
        Ok(())
    }
}

fn store(given: Option<&PathBuf>, docker: bool) -> Result<AuthStore, CommandError> {
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from);
    AuthStore::find(given.map(PathBuf::as_path), docker, &variable).ok_or_else(|| {
        CommandError::new(
            ExitStatus::Failure,
            "login-place",
            "there is no place for a login: HOME is not set",
        )
        .with_hint("name a file with --authfile FILE")
    })
}

pub(super) fn login(args: &LoginArgs, context: &Context) -> Result<u8, CommandError> {
    let target = Target::parse(&args.registry)?;
    target.check_docker(args.docker)?;
    let (registry, host) = (target.key.as_str(), target.host.as_str());
    let store = store(args.access.access.authfile.as_ref(), args.docker)?;
    let user = match &args.username {
        Some(user) => user.clone(),
        None if args.password_stdin => {
            return Err(CommandError::usage(
                "--password-stdin needs --username NAME",
            ));
        }
        None => ask("Username: ", true)?,
    };
    if user.is_empty() || user.contains(':') || user.contains(char::is_control) {
        return Err(CommandError::usage(
            "the name of a user is not empty and has no colon in it",
        ));
    }
    let password = if args.password_stdin {
        let mut text = String::new();
        std::io::stdin()
            .lock()
            .take(MAX_PASSWORD)
            .read_to_string(&mut text)
            .map_err(|error| unread(&error))?;
        text.trim_end_matches(['\r', '\n']).to_owned()
    } else {
        ask("Password: ", false)?
    };
    if password.is_empty() {
        return Err(CommandError::usage("the password is empty"));
    }
    // A file that this command makes may not exist yet.
    let mut options = args.access.options();
    options.auth_files.clear();
    let console = Console::new(&context.printer);
    let listener = Transfers::new(&console);
    let known = Client::new(options)?.verify_login(host, &user, &password, &listener)?;
    if !known {
        context.printer.warning(format!(
            "{host} asks for no login, so it is not known whether this one is right"
        ));
    }
    let helper = store.keep(registry, &user, &password)?;
    if args.json {
        context.printer.json(&json!({
            "registry": registry,
            "user": user,
            "verified": known,
            "file": store.path(),
            "helper": helper,
        }));
        return Ok(0);
    }
    let place = match helper {
        Some(helper) => format!("with docker-credential-{helper}"),
        None => format!("in {}", store.path().display()),
    };
    context
        .printer
        .result(format!("logged in to {registry}; kept {place}"));
    Ok(0)
}

pub(super) fn logout(args: &LogoutArgs, context: &Context) -> Result<u8, CommandError> {
    let store = store(args.authfile.as_ref(), args.docker)?;
    let Some(registry) = &args.registry else {
        return logout_all(&store, args.json, context);
    };
    let target = Target::parse(registry)?;
    let registry = &target.key;
    if !store.forget(registry)? {
        return Err(CommandError::new(
            ExitStatus::Failure,
            "login-missing",
            format!(
                "there is no login for {registry} in {}",
                store.path().display()
            ),
        )
        .with_hint("name the file with --authfile FILE, or --docker for Docker's; a login for HOST/NAMESPACE has a name of its own"));
    }
    if args.json {
        let file = store.path();
        context
            .printer
            .json(&json!({"registry": registry, "file": file}));
    } else {
        context.printer.result(format!("logged out of {registry}"));
    }
    Ok(0)
}

fn logout_all(store: &AuthStore, json: bool, context: &Context) -> Result<u8, CommandError> {
    let registries = store.forget_all()?;
    if json {
        let file = store.path();
        context
            .printer
            .json(&json!({"registries": registries, "file": file}));
        return Ok(0);
    }
    if registries.is_empty() {
        let file = store.path().display();
        context
            .printer
            .result(format!("there is no login in {file}"));
    }
    for registry in registries {
        context.printer.result(format!("logged out of {registry}"));
    }
    Ok(0)
}

fn unread(error: &std::io::Error) -> CommandError {
    CommandError::new(
        ExitStatus::Failure,
        "login-input",
        format!("standard input could not be read: {error}"),
    )
}

/// Asks the user, with or without echo.
fn ask(question: &str, shown: bool) -> Result<String, CommandError> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(
            CommandError::usage("there is no terminal to ask for the login at").with_hint(
                "give --username NAME and the password on standard input: --password-stdin",
            ),
        );
    }
    let _ = std::io::stderr().write_all(question.as_bytes());
    let before = tcgetattr(&input).map_err(|error| unread(&error.into()))?;
    if !shown {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&input, OptionalActions::Flush, &silent)
            .map_err(|error| unread(&error.into()))?;
    }
    let mut line = String::new();
    let read = input.lock().take(MAX_PASSWORD).read_line(&mut line);
    if !shown {
        let _ = tcsetattr(&input, OptionalActions::Flush, &before);
        let _ = std::io::stderr().write_all(b"\n");
    }
    read.map_err(|error| unread(&error))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
