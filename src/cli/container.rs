//! `warpdrive container ls|inspect|exec|port|start|restart|stop|logs|rm|prune`, and `ps`, `stop` and `logs`
//! for short.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::Subcommand;
use clap_complete::engine::ArgValueCandidates;
use serde_json::{Value, json};

use super::context::Context;
use super::error::CommandError;
use super::run::{APPLICATIONS, WaitArgs, caller_env, detached, own_failure};
use crate::container::{
    self, ContainerError, ExecOptions, Line, Record, State, Status, Stream, Variable, VolumeSource,
    parse_variable,
};
use crate::progress::largest_unit;
use crate::sandbox;

/// List, enter, start, stop and remove containers
#[derive(Debug, clap::Args)]
#[command(disable_help_subcommand = true)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(visible_alias = "list")]
    Ls(Ls),
    Inspect(Inspect),
    Exec(Exec),
    Port(Port),
    Start(Start),
    Restart(Restart),
    Stop(Stop),
    Logs(Logs),
    Rm(Rm),
    Prune(Prune),
    /// Hold a container (what `run -d` starts; not for people)
    #[command(hide = true)]
    Supervise,
}

/// List containers, those that have ended too
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  warpdrive ps
  warpdrive ps --running --json | jq -r '.containers[].name'")]
pub(super) struct Ls {
    /// One JSON object on stdout
    #[arg(long)]
    pub(super) json: bool,
    /// Running ones only
    #[arg(long)]
    running: bool,
    /// They are listed in any case: for people who type it out of habit
    #[arg(short, long, hide = true)]
    all: bool,
}

/// Show what a container was started with and what became of it; of its variables the names only
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  warpdrive container inspect web
  warpdrive container inspect web --json | jq .ports")]
struct Inspect {
    /// Name or id of the container
    #[arg(add = ArgValueCandidates::new(super::complete::containers))]
    container: String,
    /// One JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// Start containers that have ended, in the background, with what they wrote
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  warpdrive container start web
  warpdrive container start --wait 5m web")]
struct Start {
    #[command(flatten)]
    waiting: WaitArgs,
    /// Names or ids of the containers
    #[arg(required = true, value_name = "CONTAINER", add = ArgValueCandidates::new(super::complete::containers))]
    containers: Vec<String>,
}

/// Stop containers and start them again
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  warpdrive container restart web")]
struct Restart {
    /// Seconds until KILL
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10)]
    time: u64,
    #[command(flatten)]
    waiting: WaitArgs,
    /// Names or ids of the containers
    #[arg(required = true, value_name = "CONTAINER", add = ArgValueCandidates::new(super::complete::containers))]
    containers: Vec<String>,
}

/// Remove all containers that have ended
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  warpdrive container prune")]
struct Prune {
    /// One JSON object on stdout
    #[arg(long)]
    json: bool,
}

/// Run a command in a running container; exits with its status
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  warpdrive container exec web warpdrive setup
  warpdrive container exec -it web bash
  warpdrive container exec -u 0 web id")]
struct Exec {
    /// Give the command your standard input
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// Run as this user of the image [default: the container's]
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// Set a variable on top of the container's; a name alone takes your value of it
    #[arg(short = 'e', long = "env", value_name = "K=V", value_parser = parse_variable)]
    env: Vec<Variable>,
    /// Working directory inside
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// Name or id of the container
    #[arg(add = ArgValueCandidates::new(super::complete::containers))]
    container: String,
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    command: Vec<String>,
}

/// Show where a running container's ports are published
///
/// With PORT, prints the host's address alone; without, one line for each port.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  warpdrive container port web
  curl http://$(warpdrive container port web 8080)/")]
struct Port {
    /// Name or id of the container
    #[arg(add = ArgValueCandidates::new(super::complete::containers))]
    container: String,
    /// Port of the container
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
}

/// Stop containers: the image's stop signal, then KILL
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  warpdrive stop web
  warpdrive stop -t 60 web worker")]
pub(super) struct Stop {
    /// Seconds until KILL
    #[arg(short, long, value_name = "SECONDS", default_value_t = 10)]
    time: u64,
    /// Names or ids of the containers
    #[arg(required = true, value_name = "CONTAINER", add = ArgValueCandidates::new(super::complete::containers))]
    containers: Vec<String>,
}

/// Show what a container printed
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  warpdrive logs web
  warpdrive logs -f -n 20 web")]
pub(super) struct Logs {
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// The last lines only
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<usize>,
    /// Put the time before each line
    #[arg(short, long)]
    timestamps: bool,
    /// Name or id of the container
    #[arg(add = ArgValueCandidates::new(super::complete::containers))]
    container: String,
}

/// Remove containers that have ended
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  warpdrive container rm web
  warpdrive container rm -f web")]
struct Rm {
    /// Kill running ones
    #[arg(short, long)]
    force: bool,
    /// Names or ids of the containers
    #[arg(required = true, value_name = "CONTAINER", add = ArgValueCandidates::new(super::complete::containers))]
    containers: Vec<String>,
}

impl Args {
    pub(super) fn json(&self) -> bool {
        match &self.command {
            Command::Ls(args) => args.json,
            Command::Inspect(args) => args.json,
            Command::Prune(args) => args.json,
            _ => false,
        }
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    match &args.command {
        Command::Ls(args) => list(args, context),
        Command::Inspect(args) => inspect(args, context),
        Command::Start(args) => start(&args.containers, &args.waiting, context),
        Command::Restart(args) => restart(args, context),
        Command::Prune(args) => prune(args, context),
        Command::Exec(args) => exec(args, context).map_err(own_failure),
        Command::Port(args) => port(args, context),
        Command::Stop(args) => stop(args, context),
        Command::Logs(args) => logs(args, context),
        Command::Rm(args) => remove(args, context),
        Command::Supervise => {
            let status = container::supervise(&context.open_store()?)?;
            Ok(u8::try_from(status).unwrap_or(u8::MAX))
        }
    }
}

pub(super) fn list(args: &Ls, context: &Context) -> Result<u8, CommandError> {
    let store = context.open_store()?;
    let mut rows = Vec::new();
    let mut objects: Vec<Value> = Vec::new();
    for record in container::list(&store)? {
        // A container that is being removed is not an error.
        let Ok((status, state)) = record.status() else {
            continue;
        };
        if args.running && status != Status::Running {
            continue;
        }
        if args.json {
            objects.push(object(&record, status, &state));
        } else {
            rows.push(row(&record, status, &state));
        }
    }
    if args.json {
        context.printer.json(&json!({"containers": objects}));
    } else {
        context
            .printer
            .table(&["ID", "NAME", "IMAGE", "STATUS", "PORTS"], &rows);
    }
    Ok(0)
}

fn object(record: &Record, status: Status, state: &State) -> Value {
    let config = &record.config;
    let word = match status {
        Status::Created => "created",
        Status::Running => "running",
        Status::Exited(_) => "exited",
        Status::Dead => "dead",
    };
    json!({
        "id": config.id,
        "name": config.name,
        "image": config.image,
        "digest": config.manifest.digest().to_string(),
        "command": config.command,
        "user": format!("{}:{}", config.uid, config.gid),
        "status": word,
        "exit": state.exit,
        "error": state.error,
        "pid": (status == Status::Running).then(|| state.process.as_ref().map(|it| it.pid)),
        "created": config.created,
        "started": state.started,
        "finished": state.finished,
        "ports": state.ports.iter().map(|mapping| json!({
            "address": mapping.address.to_string(),
            "host": mapping.host,
            "port": mapping.port,
        })).collect::<Vec<_>>(),
    })
}

fn row(record: &Record, status: Status, state: &State) -> Vec<String> {
    let config = &record.config;
    let since = |time: &Option<String>| time.as_deref().and_then(age).unwrap_or_default();
    let words = match status {
        Status::Created => "created".to_owned(),
        Status::Running => format!("running{}", since(&state.started)),
        Status::Exited(code) => format!("exited({code}){}", since(&state.finished)),
        Status::Dead => "dead".to_owned(),
    };
    let ports: Vec<String> = match status {
        Status::Running => state
            .ports
            .iter()
            .map(|mapping| format!("{}->{}", mapping.listen(), mapping.port))
            .collect(),
        _ => Vec::new(),
    };
    vec![
        container::short(&config.id).to_owned(),
        config.name.clone(),
        config.image.clone(),
        words,
        ports.join(", "),
    ]
}

/// ` 3m` for a time three minutes ago: the largest unit is enough.
fn age(time: &str) -> Option<String> {
    let then = humantime::parse_rfc3339(time).ok()?;
    let seconds = SystemTime::now().duration_since(then).ok()?.as_secs();
    let (count, unit) = largest_unit(seconds);
    Some(format!(" {count}{}", unit.get(..1).unwrap_or(unit)))
}

fn exec(args: &Exec, context: &Context) -> Result<u8, ContainerError> {
    let store = crate::store::Store::open(context.store.as_deref())?;
    let record = container::find(&store, &args.container)?;
    let options = ExecOptions {
        command: args.command.clone(),
        user: args.user.clone(),
        variables: args.env.clone(),
        cwd: args.workdir.clone(),
        interactive: args.interactive,
        terminal: args.tty,
    };
    let status = container::exec(&record, &options, caller_env)?;
    Ok(u8::try_from(status).unwrap_or(u8::MAX))
}

fn port(args: &Port, context: &Context) -> Result<u8, CommandError> {
    let record = container::find(&context.open_store()?, &args.container)?;
    let (status, state) = record.status()?;
    let name = record.config.name;
    if status != Status::Running {
        return Err(ContainerError::NotRunning { name }.into());
    }
    let Some(port) = args.port else {
        for mapping in &state.ports {
            context
                .printer
                .result(format!("{}/tcp -> {}", mapping.port, mapping.listen()));
        }
        return Ok(0);
    };
    let mut found = state.ports.iter().filter(|mapping| mapping.port == port);
    let Some(first) = found.next() else {
        return Err(ContainerError::NotPublished { name, port }.into());
    };
    context.printer.result(first.listen().to_string());
    for mapping in found {
        context.printer.result(mapping.listen().to_string());
    }
    Ok(0)
}

pub(super) fn stop(args: &Stop, context: &Context) -> Result<u8, CommandError> {
    let store = context.open_store()?;
    for name in &args.containers {
        let record = container::find(&store, name)?;
        container::stop(&record, Duration::from_secs(args.time))?;
        context.printer.result(name);
    }
    Ok(0)
}

fn start(containers: &[String], waiting: &WaitArgs, context: &Context) -> Result<u8, CommandError> {
    sandbox::enter().map_err(ContainerError::from)?;
    let store = context.open_store()?;
    for name in containers {
        let record = container::find(&store, name)?;
        let prepared = container::prepare_restart(&store, record, APPLICATIONS)?;
        detached(&store, &prepared, waiting, context)?;
    }
    Ok(0)
}

fn restart(args: &Restart, context: &Context) -> Result<u8, CommandError> {
    let store = context.open_store()?;
    // Before entering the user namespace: inside it, no process of a container can be signalled.
    // The second call, inside, has nothing to stop.
    for name in &args.containers {
        let record = container::find(&store, name)?;
        if record.config.remove {
            return Err(ContainerError::GoneWhenStopped {
                name: record.config.name,
            }
            .into());
        }
        container::stop(&record, Duration::from_secs(args.time))?;
    }
    start(&args.containers, &args.waiting, context)
}

fn prune(args: &Prune, context: &Context) -> Result<u8, CommandError> {
    let store = context.open_store()?;
    let ended = |record: &Record| {
        record
            .status()
            .is_ok_and(|(status, _)| matches!(status, Status::Exited(_) | Status::Dead))
    };
    for record in container::list(&store)?.iter().filter(|it| ended(it)) {
        container::release(record, false)?;
    }
    sandbox::enter().map_err(ContainerError::from)?;
    let mut removed = Vec::new();
    for record in container::list(&store)?.iter().filter(|it| ended(it)) {
        container::remove(&store, record)?;
        removed.push(record.config.name.clone());
    }
    if args.json {
        context.printer.json(&json!({"removed": removed}));
        return Ok(0);
    }
    if removed.is_empty() {
        context.printer.progress("no container has ended");
    }
    for name in removed {
        context.printer.result(name);
    }
    Ok(0)
}

fn inspect(args: &Inspect, context: &Context) -> Result<u8, CommandError> {
    let record = container::find(&context.open_store()?, &args.container)?;
    let (status, state) = record.status()?;
    let mut object = object(&record, status, &state);
    let config = &record.config;
    // Their values may be secrets.
    let names: Vec<&str> = config.env.iter().map(|(name, _)| name.as_str()).collect();
    let volumes: Vec<String> = config
        .volumes
        .iter()
        .map(|volume| {
            let source = match &volume.source {
                VolumeSource::Path(path) => path.display().to_string(),
                VolumeSource::Name(name) => name.clone(),
                VolumeSource::Tmpfs(_) => "tmpfs".to_owned(),
            };
            let end = if volume.read_only { ":ro" } else { "" };
            format!("{source}:{}{end}", volume.target.display())
        })
        .collect();
    if let Some(fields) = object.as_object_mut() {
        fields.insert("variables".into(), json!(names));
        fields.insert("volumes".into(), json!(volumes));
        fields.insert("directory".into(), json!(config.cwd));
        fields.insert("hostname".into(), json!(config.hostname));
        fields.insert("network".into(), json!(config.network));
        fields.insert("read_only".into(), json!(config.read_only));
        fields.insert("remove".into(), json!(config.remove));
    }
    if args.json {
        context.printer.json(&object);
        return Ok(0);
    }
    let words = row(&record, status, &state);
    let yes = |value: bool| if value { "yes" } else { "" };
    for (key, value) in [
        ("name", config.name.as_str()),
        ("id", config.id.as_str()),
        ("image", config.image.as_str()),
        ("digest", config.manifest.digest().as_ref()),
        ("status", words[3].as_str()),
        ("error", state.error.as_deref().unwrap_or_default()),
        ("ports", words[4].as_str()),
        ("command", config.command.join(" ").as_str()),
        ("user", format!("{}:{}", config.uid, config.gid).as_str()),
        ("directory", config.cwd.display().to_string().as_str()),
        ("volumes", volumes.join(", ").as_str()),
        ("read-only", yes(config.read_only)),
        ("created", config.created.as_str()),
        ("started", state.started.as_deref().unwrap_or_default()),
        ("finished", state.finished.as_deref().unwrap_or_default()),
        ("variables", names.join(", ").as_str()),
    ] {
        if !value.is_empty() {
            context.printer.result(format!("{key:<11} {value}"));
        }
    }
    Ok(0)
}

pub(super) fn logs(args: &Logs, context: &Context) -> Result<u8, CommandError> {
    let store = context.open_store()?;
    let record = container::find(&store, &args.container)?;
    container::read_logs(&record, args.tail, args.follow, &mut |line| {
        show(line, args.timestamps).is_ok()
    })?;
    Ok(0)
}

/// Each line goes to the stream that it came from; a closed pipe ends the reading.
fn show(line: &Line, timestamps: bool) -> io::Result<()> {
    let mut text = String::new();
    if timestamps {
        text.push_str(&line.time);
        text.push(' ');
    }
    text.push_str(&line.log);
    match line.stream {
        Stream::Stdout => {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()
        }
        Stream::Stderr => io::stderr().lock().write_all(text.as_bytes()),
    }
}

fn remove(args: &Rm, context: &Context) -> Result<u8, CommandError> {
    let store = context.open_store()?;
    let find = |name: &str| match container::find(&store, name) {
        // A container with --rm is removed when it has ended.
        Err(ContainerError::NoSuch { .. }) if args.force => Ok(None),
        found => found.map(Some),
    };
    for name in &args.containers {
        if let Some(record) = find(name)? {
            container::release(&record, args.force)?;
        }
    }
    // Files in a container may belong to subordinate ids.
    sandbox::enter().map_err(ContainerError::from)?;
    for name in &args.containers {
        if let Some(record) = find(name)? {
            container::remove(&store, &record)?;
        }
        context.printer.result(name);
    }
    Ok(0)
}
