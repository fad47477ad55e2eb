//! `warpdrive run`: an image of the store as a container.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use clap_complete::engine::ArgValueCandidates;
use serde::Deserialize as _;

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::limits::LimitArgs;
use super::progress::Console;
use crate::app::adding::Adding;
use crate::app::advice::Advice;
use crate::app::contract;
use crate::app::run::of_log;
use crate::container::{
    self, Applications, Attach, ContainerError, Early, Patience, PortMapping, Prepared, Record,
    RunOptions, Variable, Volume, last_lines, parse_signal, parse_variable, read_env_file,
};
use crate::sandbox;
use crate::store::Store;

/// Run an image of the store locally: rootless or as root, no daemon
///
/// The command is process 1 of the container and gets the signals. Exits with the command's own
/// status; 125, 126 and 127 are failures to start it, as with docker.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
#[command(after_long_help = "Examples:
  warpdrive run opal -p 8080:8080              foreground, http://127.0.0.1:8080
  warpdrive run opal -d -p 0:8080 --name web   in the background, on a free port
  warpdrive ps                                 what runs; then: logs web, stop web
  warpdrive run opal -v data:/data --rm        a volume of the store survives the container
  warpdrive run opal -it -- bash               a shell instead of the app
  warpdrive run opal --process worker          the worker of its Procfile

A volume without a slash (`data:/data`) lies in the store and belongs to the container's user. A
path of the host is mounted as it is, with the host's owners: rootless, the container's user can
write there only where its mapped uid may. --read-only gives a writable /tmp (docker does not).")]
pub(super) struct Args {
    /// Name of the image, as `warpdrive images` lists it
    #[arg(add = ArgValueCandidates::new(super::complete::images))]
    image: String,
    /// Name of the container [default: the image's, with a few digits]
    #[arg(long)]
    name: Option<String>,
    /// Publish a port; the address is 127.0.0.1 unless given, and port 0 of the host is a free one
    #[arg(short = 'p', long = "publish", value_name = "[ADDR:]HOST:PORT")]
    ports: Vec<PortMapping>,
    /// Set a variable; a name alone takes your value of it
    #[arg(short = 'e', long = "env", value_name = "K=V", value_parser = parse_variable)]
    env: Vec<Variable>,
    /// Set variables from a file, a line each
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Run as this user of the image, by number or name
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    // As for all commands, but `-v` is docker's here.
    #[arg(long, help = "Say more: all that other programs print")]
    verbose: bool,
    /// Mount a volume of the store or a path of the host
    #[arg(short, long = "volume", value_name = "SRC:DST[:ro]")]
    volumes: Vec<Volume>,
    /// Mount, the long way: type=bind|volume|tmpfs,source=…,target=…[,readonly]
    #[arg(long, value_name = "SPEC", value_parser = Volume::from_mount_option)]
    mount: Vec<Volume>,
    /// The root file system cannot be written to; /tmp can
    #[arg(long)]
    read_only: bool,
    /// The container's network
    #[arg(long, value_enum, default_value = "private")]
    network: Network,
    /// Run in the background, and print the container's id once the application answers
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    waiting: WaitArgs,
    /// Give the command your standard input
    #[arg(short, long)]
    interactive: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// Remove the container when it ends
    #[arg(long)]
    rm: bool,
    /// Replace the image's entry point
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Working directory inside
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<PathBuf>,
    /// Host name inside [default: the container's short id]
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// What `container stop` sends first [default: the image's, else TERM]
    #[arg(long, value_name = "SIGNAL", value_parser = signal)]
    stop_signal: Option<i32>,
    #[command(flatten)]
    limits: LimitArgs,
    /// Stop the container after this time, for example 90s or 15m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Start this process of the image in place of `web`, as its Procfile or settings name it
    #[arg(long, value_name = "NAME", conflicts_with_all = ["command", "entrypoint"])]
    process: Option<String>,
    /// Replaces the image's command
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// How long to wait for the application of a detached container.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct WaitArgs {
    /// How long the application in the background may take until it answers, for example 5m
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "60s")]
    wait: Duration,
    /// Do not wait until the application in the background answers
    #[arg(long, conflicts_with = "wait")]
    no_wait: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Network {
    /// Its own; -p leads in, pasta or slirp4netns (where there is one) out
    Private,
    /// The host's
    Host,
    /// Its own, with nothing but loopback
    None,
}

impl From<Network> for sandbox::Network {
    fn from(network: Network) -> Self {
        match network {
            Network::Private => Self::Private,
            Network::Host => Self::Host,
            Network::None => Self::None,
        }
    }
}

fn signal(text: &str) -> Result<i32, String> {
    parse_signal(text).ok_or_else(|| format!("`{text}` is not a signal: write TERM, SIGINT or 15"))
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let options = options(args).map_err(own_failure)?;
    sandbox::enter().map_err(|error| own_failure(error.into()))?;
    let store = context.open_store().map_err(|error| CommandError {
        exit: ExitStatus::Program(125),
        ..error
    })?;
    start(&store, &options, &args.waiting, context).map_err(own_failure)
}

/// Runs an image in the foreground with every port that it exposes on a free one of this machine.
pub(super) fn with_all_ports(image: &str, context: &Context) -> Result<u8, CommandError> {
    let ports = context
        .open_store()?
        .image(image)?
        .map(|image| image.config.exposed_ports())
        .unwrap_or_default();
    let mut arguments = vec!["run".to_owned(), "--rm".to_owned()];
    for port in ports {
        // UDP ports are not published.
        if let Some(port) = port
            .strip_suffix("/tcp")
            .or((!port.contains('/')).then_some(&port))
        {
            arguments.push(format!("--publish=0:{port}"));
        }
    }
    arguments.push(image.to_owned());
    let command = <Args as clap::Args>::augment_args(clap::Command::new("run"));
    let args = command
        .try_get_matches_from(arguments)
        .and_then(|matches| <Args as clap::FromArgMatches>::from_arg_matches(&matches))
        .map_err(|error| CommandError::usage(error.to_string()))?;
    run(&args, context)
}

fn start(
    store: &Store,
    options: &RunOptions,
    waiting: &WaitArgs,
    context: &Context,
) -> Result<u8, ContainerError> {
    let words = Console::new(&context.printer);
    let prepared = container::prepare(store, options, APPLICATIONS, caller_env, &words)?;
    // From here on the application speaks.
    drop(words);
    if options.detached {
        return detached(store, &prepared, waiting, context);
    }
    let attach = Attach {
        foreground: true,
        interactive: options.interactive,
        folded: !context.printer.is_verbose(),
        patience: Duration::ZERO,
    };
    let (record, spec) = (&prepared.record, &prepared.spec);
    let status = container::run(store, record, spec, attach, &mut |ports, notes| {
        announce(record, ports, notes, context);
    })?;
    Ok(u8::try_from(status).unwrap_or(u8::MAX))
}

/// Starts a container in the background and waits until its application answers.
pub(super) fn detached(
    store: &Store,
    prepared: &Prepared,
    waiting: &WaitArgs,
    context: &Context,
) -> Result<u8, ContainerError> {
    let started = container::start_detached(store, prepared)?;
    let (record, printer) = (&prepared.record, &context.printer);
    let name = &record.config.name;
    printer.result(&record.config.id);
    announce(record, &started.ports, &started.notes, context);
    if waiting.no_wait {
        return Ok(0);
    }
    let patience = prepared.serves.map(|serves| Patience {
        serves,
        limit: waiting.wait,
    });
    match container::look_early(record, patience)? {
        Early::Well => {}
        Early::Unwell(status) => printer.warning(format!(
            "`{name}` answers GET / with the status {status}; `warpdrive logs {name}` shows why"
        )),
        Early::Removed => printer.warning(format!(
            "`{name}` has ended already, and --rm removed it with its log"
        )),
    }
    Ok(0)
}

/// Notes for the user about a new container.
pub(super) fn announce(
    record: &Record,
    ports: &[PortMapping],
    notes: &[String],
    context: &Context,
) {
    // Success is not reported.
    for note in notes.iter().filter(|note| note.starts_with("no ")) {
        if !said_today(record, note) {
            context.printer.progress(note);
        }
    }
    for (asked, got) in record.config.ports.iter().zip(ports) {
        if asked.host == 0 {
            let (port, listen) = (got.port, got.listen());
            context
                .printer
                .progress(format!("port {port} of the container is at {listen}"));
        }
    }
}

/// Whether the note was shown to this store's user within a day. A note about the machine is not
/// repeated for every container.
fn said_today(record: &Record, note: &str) -> bool {
    const DAY: Duration = Duration::from_hours(24);
    let Some(store) = record.directory().ancestors().nth(2) else {
        return false;
    };
    let place = store.join("cache/said-today");
    let recent = std::fs::metadata(&place)
        .and_then(|data| data.modified())
        .ok()
        .and_then(|time| time.elapsed().ok())
        .is_some_and(|age| age < DAY);
    if recent && std::fs::read_to_string(&place).is_ok_and(|text| text == note) {
        return true;
    }
    // If the file cannot be written, the note is shown again.
    let _ = std::fs::write(&place, note);
    false
}

fn options(args: &Args) -> Result<RunOptions, ContainerError> {
    let mut variables = Vec::new();
    for file in &args.env_file {
        variables.extend(read_env_file(file)?);
    }
    variables.extend(args.env.iter().cloned());
    Ok(RunOptions {
        image: args.image.clone(),
        name: args.name.clone(),
        ports: args.ports.clone(),
        variables,
        user: args.user.clone(),
        volumes: [args.volumes.as_slice(), &args.mount].concat(),
        read_only: args.read_only,
        network: args.network.into(),
        detached: args.detach,
        interactive: args.interactive,
        terminal: args.tty,
        remove: args.rm,
        entrypoint: args.entrypoint.clone(),
        command: match &args.process {
            Some(name) => vec![
                format!("{}/s2i/bin/run", crate::builder::APP_ROOT),
                name.clone(),
            ],
            None => args.command.clone(),
        },
        cwd: args.workdir.clone(),
        hostname: args.hostname.clone(),
        stop_signal: args.stop_signal,
        limits: args.limits.limits(args.timeout),
    })
}

/// What containers have to know of images of applications.
pub(super) const APPLICATIONS: Applications = Applications {
    plan: contract::PLAN_LABEL,
    port: contract::port,
};

/// A variable of the caller, for `-e NAME`.
pub(super) fn caller_env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl CommandError {
    /// Adds the cause from a container's last lines: the diagnosis of the in-image tool, else the
    /// meaning of the last traceback, else the lines themselves.
    fn diagnosed(&mut self, log: Vec<String>, adding: Adding) {
        let by_traceback = || of_log(String::new(), &log.join("\n"), adding);
        let found = Advice::read(&log).or_else(by_traceback);
        let Some(advice) = found else {
            self.tail = last_lines(log);
            return;
        };
        let told = Self::from(advice);
        if !told.message.is_empty() {
            self.causes.push(told.message);
        }
        self.causes.extend(told.causes);
        self.tail = told.tail;
        let own = self.hint.take();
        let mut hints = told.hint.into_iter().chain(told.more_hints).chain(own);
        self.hint = hints.next();
        self.more_hints = hints.collect();
    }
}

/// A failure of warpdrive itself in a command that ends with a program's status: 125 to 127, as
/// in docker; for an early end, see `ContainerError::status`.
pub(super) fn own_failure(error: ContainerError) -> CommandError {
    let exit = error.status();
    let status = match &error {
        ContainerError::EndedEarly { status, .. } => *status,
        _ => i32::from(exit),
    };
    let mut error = CommandError::from(error);
    error.exit = ExitStatus::Program(exit);
    error.status = Some(status);
    error
}

impl From<ContainerError> for CommandError {
    fn from(error: ContainerError) -> Self {
        match error {
            ContainerError::Store(error) => error.into(),
            ContainerError::Sandbox(error) if error.shell_status() == 125 => error.into(),
            ContainerError::Rootfs(error) => (*error).into(),
            error => {
                let mut told = Self::new(ExitStatus::Failure, error.code(), error.to_string());
                told.hint = error.hint();
                if let ContainerError::EndedEarly { tail, adding, .. }
                | ContainerError::WorkersDie { tail, adding, .. }
                | ContainerError::NoAnswer { tail, adding, .. } = error
                {
                    told.diagnosed(tail, Adding::deserialize(adding).unwrap_or_default());
                }
                told
            }
        }
    }
}
