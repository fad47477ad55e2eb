//! `warpdrive dev`: the application from its source tree, in the environment of its image.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap_complete::engine::ArgValueCandidates;

use crate::app::contract::{DEFAULT_PORT, PLAN_LABEL};
use crate::app::plan::Plan;
use crate::builder::APP_ROOT;
use crate::container::{
    self, Attach, Ended, PortMapping, Prepared, RunOptions, Variable, Volume, VolumeSource,
    parse_variable,
};
use crate::dev::{self, DevError, Next, Reload, Turns, Warm, Watch, Way};
use crate::pipeline;
use crate::sandbox::{self, IdMode, Limits, Network};
use crate::source::OwnOutput;
use crate::store::Store;

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::image;
use super::progress::Console;
use super::run::{APPLICATIONS, announce, caller_env, own_failure};
use super::source::catch_signals;

/// How long a browser waits for a server that is being started.
const PATIENCE: Duration = Duration::from_secs(3);

const PYTHON_PATH: &str = "PYTHONPATH";

/// Run the application from its source tree, and again when a file of it changes
///
/// Builds the image NAME:dev and runs it with the source tree in the place of the image's own copy.
/// Changed code is loaded at once. Changed dependencies or settings are built first. Ctrl-C ends it all.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "Examples:
  warpdrive dev                           http://127.0.0.1:8080
  warpdrive dev -p 9000:8080 -e DEBUG=1
  warpdrive dev --path ~/opal opal
  warpdrive dev --watch --builder registry.example.com/s2i/python-312

The application may write to the source tree, and what it writes is yours. Static files come from the
source. The server is forked again with each change and keeps the packages in memory;
`-e WARPDRIVE_DEV_PRELOAD=0` has it import all of them again.")]
pub(super) struct Args {
    /// Name of the image [default: that of the directory]
    name: Option<String>,
    /// The source tree
    #[arg(long, value_name = "DIR", default_value = ".")]
    path: PathBuf,
    /// Builder image, in the store or in a registry
    #[arg(long, value_name = "IMAGE", add = ArgValueCandidates::new(super::complete::builders))]
    builder: Option<String>,
    /// Publish a port; the address is 127.0.0.1 unless given [default: 8080:8080]
    #[arg(short = 'p', long = "publish", value_name = "[ADDR:]HOST:PORT")]
    ports: Vec<PortMapping>,
    /// Set a variable; a name alone takes your value of it
    #[arg(short = 'e', long = "env", value_name = "K=V", value_parser = parse_variable)]
    env: Vec<Variable>,
    /// Build and start again with each change, and mount nothing: for S2I builders of other makers
    #[arg(long)]
    watch: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<u8, CommandError> {
    let source = args.path.canonicalize().map_err(|error| {
        CommandError::usage(format!("--path {}: {error}", args.path.display()))
            .with_hint("name the directory of your application")
    })?;
    image::refuse_home(&source)?;
    let name = name(args.name.as_deref(), &source)?;
    sandbox::enter()?;
    catch_signals()?;
    let store = context.open_store()?;
    let warm = Warm::new().map_err(|error| {
        CommandError::new(
            ExitStatus::Failure,
            "dev-directory",
            format!("could not write what the server is kept warm with: {error}"),
        )
        .with_hint("set TMPDIR to a directory that can be written")
    })?;
    let turns = Arc::new(Turns::new(args.watch));
    // Watched before the first build, so that no change is missed while it runs.
    let meaning = if args.watch {
        dev::Change::of_any
    } else {
        dev::Change::of
    };
    let own_output = OwnOutput::of_this_process();
    let is_ours = move |path: &Path| own_output.is_at(path);
    tell(Watch::of(&source, meaning, is_ours)?, Arc::clone(&turns));
    Session {
        args,
        context,
        store,
        source,
        name,
        turns,
        warm,
    }
    .run()
}

/// The thread that tells of changes. It ends with the program.
fn tell(mut watch: Watch, turns: Arc<Turns>) {
    std::thread::spawn(move || {
        while let Some((change, _)) = watch.wait() {
            if let Err(error) = turns.change(change) {
                tracing::warn!("a change could not be passed on: {error}");
            }
        }
    });
}

/// `NAME:dev`, so that the image that is shipped keeps its name.
fn name(given: Option<&str>, source: &Path) -> Result<String, CommandError> {
    if let Some(name) = given {
        let last = name.rsplit('/').next().unwrap_or(name);
        return Ok(if last.contains(':') {
            name.to_owned()
        } else {
            format!("{name}:dev")
        });
    }
    let directory = source.file_name().unwrap_or_default().to_string_lossy();
    let plain: String = directory
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let plain = plain.split('-').filter(|part| !part.is_empty());
    let plain = plain.collect::<Vec<_>>().join("-");
    if plain.is_empty() {
        return Err(CommandError::usage(format!(
            "the directory {} gives no name for an image",
            source.display()
        ))
        .with_hint("give one: `warpdrive dev shop`"));
    }
    Ok(format!("{plain}:dev"))
}

struct Session<'a> {
    args: &'a Args,
    context: &'a Context,
    store: Store,
    source: PathBuf,
    name: String,
    turns: Arc<Turns>,
    warm: Warm,
}

impl Session<'_> {
    /// Builds and runs until it is ended.
    fn run(&self) -> Result<u8, CommandError> {
        loop {
            // What changed before this point is in the build.
            self.turns.ended();
            let next = match self.build() {
                Ok(()) => self.serve()?,
                Err(error) if sandbox::interrupted() => return Err(error),
                Err(error) => {
                    error.report(&self.context.printer, false);
                    self.wait("The next change of a file builds it again")
                }
            };
            if next.is_none() {
                return Ok(0);
            }
        }
    }

    /// Until a file changes; `None` after Ctrl-C.
    fn wait(&self, words: &str) -> Option<Next> {
        self.context.printer.progress(format!("---> {words}"));
        self.turns.wait(|| !sandbox::interrupted())
    }

    fn build(&self) -> Result<(), CommandError> {
        let path = self.source.display().to_string();
        let mut words = vec![
            self.name.clone(),
            format!("--path={path}"),
            "--no-smoke".into(),
        ];
        if let Some(builder) = &self.args.builder {
            words.push(format!("--builder={builder}"));
        }
        let request = image::request_of(&words)?;
        pipeline::image(&self.store, &request, &Console::new(&self.context.printer))?;
        Ok(())
    }

    /// Runs the image until it has to be built again; `None` at the end of all.
    fn serve(&self) -> Result<Option<Next>, CommandError> {
        let way = self.way()?;
        let printer = &self.context.printer;
        // A free port is said when it has been found.
        let addresses = self
            .ports()
            .iter()
            .filter(|mapping| mapping.host != 0)
            .map(|mapping| format!(" at http://{}", mapping.listen()))
            .collect::<Vec<_>>()
            .concat();
        if self.args.watch {
            printer.progress(format!("---> Running{addresses}"));
        } else {
            printer.progress(format!(
                "---> Running from {}{addresses}; when code changes, {}",
                self.source.display(),
                way.words
            ));
        }
        let words = Console::new(printer);
        let prepared = container::prepare(
            &self.store,
            &self.options(&way),
            APPLICATIONS,
            caller_env,
            &words,
        );
        // From here on the application speaks.
        drop(words);
        let mut prepared = prepared.map_err(own_failure)?;
        let record = prepared.record.clone();
        let next = loop {
            let ended = self.once(&prepared, way.reload);
            let next = match &ended {
                Ok(ended) => self.turns.ended_with(ended.status),
                Err(_) => self.turns.ended(),
            };
            let ended = match ended {
                Ok(ended) => ended,
                Err(error) => {
                    let _ = record.remove(&self.store);
                    return Err(own_failure(error));
                }
            };
            catch_signals()?;
            let next = match next {
                _ if ended.asked => None,
                Some(next) => Some(next),
                None => self.wait(&format!(
                    "The application ended with the status {}; the next change starts it again",
                    ended.status
                )),
            };
            if next != Some(Next::Restart) {
                break next;
            }
            prepared = container::prepare_restart(&self.store, record.clone(), APPLICATIONS)
                .map_err(own_failure)?;
        };
        record.remove(&self.store).map_err(own_failure)?;
        Ok(next)
    }

    fn once(
        &self,
        prepared: &Prepared,
        reload: Reload,
    ) -> Result<Ended, container::ContainerError> {
        let attach = Attach {
            foreground: true,
            interactive: false,
            folded: !self.context.printer.is_verbose(),
            patience: PATIENCE,
        };
        let (record, spec) = (&prepared.record, &prepared.spec);
        container::run_to_end(&self.store, record, spec, attach, &mut |ports, notes| {
            announce(record, ports, notes, self.context);
            self.turns.runs(record, reload);
        })
    }

    /// How the image that was built is run.
    fn way(&self) -> Result<Way, CommandError> {
        if self.args.watch {
            return Ok(Way {
                reload: Reload::Restart,
                command: Vec::new(),
                env: Vec::new(),
                warm: false,
                words: String::new(),
            });
        }
        let image = super::images::find(&self.store, &self.name)?;
        let plan = image.config.label(PLAN_LABEL).map(str::as_bytes);
        match plan.map(Plan::from_json) {
            Some(Ok(plan)) => Ok(dev::way(
                &plan,
                &format!("{APP_ROOT}/bin/warpdrive"),
                &format!("{APP_ROOT}/src"),
            )),
            Some(Err(_)) | None => Err(CommandError::new(
                ExitStatus::Failure,
                "dev-foreign",
                format!(
                    "`{}` was built by the scripts of its builder image: how its server loads new code is \
                     not known",
                    self.name
                ),
            )
            .with_hint("with `--watch` it is built and started again with each change")),
        }
    }

    /// As the caller or the image has it.
    fn python_path(&self) -> Option<String> {
        let said = self.args.env.iter().rev();
        if let Some(variable) = said.clone().find(|variable| variable.name == PYTHON_PATH) {
            return variable.value.clone().or_else(|| caller_env(PYTHON_PATH));
        }
        let image = super::images::find(&self.store, &self.name).ok()?;
        let found = image.config.env().into_iter();
        found
            .rev()
            .find_map(|(name, value)| (name == PYTHON_PATH).then_some(value))
    }

    fn ports(&self) -> Vec<PortMapping> {
        if self.args.ports.is_empty() {
            vec![PortMapping {
                address: std::net::Ipv4Addr::LOCALHOST.into(),
                host: DEFAULT_PORT,
                port: DEFAULT_PORT,
            }]
        } else {
            self.args.ports.clone()
        }
    }

    fn options(&self, way: &Way) -> RunOptions {
        let mut variables: Vec<Variable> = Vec::new();
        let mut volumes = Vec::new();
        let mut user = None;
        if !self.args.watch {
            // No byte-code of the host's source; that of the packages is in the image.
            let quiet = ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned());
            let own = way.env.iter().cloned().chain([quiet]);
            variables.extend(own.map(|(name, value)| Variable {
                name,
                value: Some(value),
            }));
            if way.warm {
                let (source, target) = self.warm.mount();
                volumes.push(Volume {
                    source: VolumeSource::Path(source.to_owned()),
                    target: target.to_owned(),
                    read_only: true,
                });
            }
            let in_image = Path::new(APP_ROOT).join("src");
            volumes.push(Volume {
                source: VolumeSource::Path(self.source.clone()),
                target: in_image.clone(),
                read_only: false,
            });
            volumes.extend(dev::read_only(&self.source).into_iter().map(|path| Volume {
                source: VolumeSource::Path(self.source.join(&path)),
                target: in_image.join(path),
                read_only: true,
            }));
            user = dev::user_for(&self.source, IdMode::current());
        }
        variables.extend(self.args.env.iter().cloned());
        if way.warm {
            variables.push(Variable {
                name: PYTHON_PATH.to_owned(),
                value: Some(Warm::python_path(self.python_path().as_deref())),
            });
        }
        RunOptions {
            image: self.name.clone(),
            name: None,
            ports: self.ports(),
            variables,
            user,
            volumes,
            read_only: false,
            network: Network::Private,
            detached: false,
            interactive: false,
            terminal: false,
            remove: false,
            entrypoint: None,
            command: way.command.clone(),
            cwd: None,
            hostname: None,
            stop_signal: None,
            limits: Limits::default(),
        }
    }
}

impl From<DevError> for CommandError {
    fn from(error: DevError) -> Self {
        let told = Self::new(ExitStatus::Failure, "watch", error.to_string());
        told.with_hint(
            "the kernel's bound is fs.inotify.max_user_watches; a directory without build output has fewer",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_for_development_has_a_name_of_its_own() {
        let of = |given: Option<&str>, source: &str| name(given, Path::new(source)).ok();
        for (given, source, expected) in [
            (None, "/home/me/My App", Some("my-app:dev")),
            (None, "/home/me/shop_2", Some("shop-2:dev")),
            (None, "/", None),
            (Some("shop"), "/x", Some("shop:dev")),
            (Some("shop:1"), "/x", Some("shop:1")),
            (
                Some("r.example:5000/shop"),
                "/x",
                Some("r.example:5000/shop:dev"),
            ),
        ] {
            assert_eq!(of(given, source).as_deref(), expected, "{source}");
        }
    }
}
