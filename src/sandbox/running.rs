//! Starts sandboxes and waits for them: the parent's side.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::RecvFlags;
use rustix::pipe::PipeFlags;

use super::error::SandboxError;
use super::id_map::IdMode;
use super::limits::Groups;
use super::network::Dialer;
use super::spec::{Defence, Exit, Spec};
use super::wire::{self, Message, Request, Run, SetUp, Size};
use super::written::{PAUSE, Watch};
use super::{exe, interrupt, start, sys};

/// How long a command may take after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(2);

/// What the command's standard streams are.
#[derive(Debug)]
pub enum Io {
    Streams {
        stdin: Stream,
        stdout: Stream,
        stderr: Stream,
    },
    /// A terminal of the sandbox's own; [`Sandbox::take_terminal`] gives its master side.
    Terminal(Size),
}

impl Io {
    /// This process's own streams.
    pub fn inherit() -> Self {
        Self::Streams {
            stdin: Stream::Inherit,
            stdout: Stream::Inherit,
            stderr: Stream::Inherit,
        }
    }

    /// No input; output through pipes.
    pub fn piped() -> Self {
        Self::Streams {
            stdin: Stream::Null,
            stdout: Stream::Piped,
            stderr: Stream::Piped,
        }
    }
}

/// One standard stream.
#[derive(Debug)]
pub enum Stream {
    Inherit,
    Null,
    Piped,
    Fd(OwnedFd),
}

impl From<Stream> for Stdio {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Inherit => Self::inherit(),
            Stream::Null => Self::null(),
            Stream::Piped => Self::piped(),
            Stream::Fd(fd) => fd.into(),
        }
    }
}

/// A command that runs in a sandbox. Dropping it kills everything inside.
#[derive(Debug)]
pub struct Sandbox {
    monitor: Child,
    control: OwnedFd,
    pid: i32,
    pidfd: OwnedFd,
    terminal: Option<OwnedFd>,
    notes: Vec<String>,
    deadline: Option<Instant>,
    status: Option<i32>,
    ended: Option<Exit>,
    written: Option<Watch>,
    dialer: Option<Dialer>,
    /// Removed with the sandbox, after everything inside has ended.
    _groups: Groups,
}

/// Starts the command in a sandbox. Returns when the command runs (or could not be run).
pub fn spawn(spec: &Spec, io: Io) -> Result<Sandbox, SandboxError> {
    validate(spec)?;
    let deadline = spec.limits.timeout.map(|timeout| Instant::now() + timeout);
    let (groups, processes) = if spec.lacks(Defence::Bounds) {
        (Groups::create(&spec.limits)?, None)
    } else {
        Groups::of(&spec.limits)?
    };
    let written = Watch::of(spec);
    let request = Request::Run(Box::new(Run {
        spec: spec.clone(),
        terminal: terminal_of(&io),
        cgroups: groups.procs(),
        processes,
        parent: own_pid(),
    }));
    let mut sandbox = start(&request, io, deadline, groups)?;
    sandbox.written = written;
    Ok(sandbox)
}

pub(super) fn terminal_of(io: &Io) -> Option<Size> {
    match io {
        Io::Terminal(size) => Some(*size),
        Io::Streams { .. } => None,
    }
}

fn validate(spec: &Spec) -> Result<(), SandboxError> {
    let mode = IdMode::current();
    if !mode.has(spec.uid, spec.gid) {
        return Err(SandboxError::Invalid(format!(
            "the command is to run as user {}:{}, but only 1001:0 exists here: give your user a \
             range of subordinate ids in /etc/subuid and /etc/subgid, or run as root",
            spec.uid, spec.gid
        )));
    }
    if spec.root.lowers.is_empty() {
        return Err(SandboxError::Invalid("the root has no layers".to_owned()));
    }
    if !spec.cwd.is_absolute() {
        return Err(SandboxError::Invalid(format!(
            "the working directory {} is not absolute",
            spec.cwd.display()
        )));
    }
    Ok(())
}

pub(super) fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// Starts the monitor with a request and waits until the command runs.
pub(super) fn start(
    request: &Request,
    io: Io,
    deadline: Option<Instant>,
    groups: Groups,
) -> Result<Sandbox, SandboxError> {
    let failed = |doing: &'static str| move |error: io::Error| SandboxError::io(doing, error);
    let request = wire::request(request).map_err(failed("writing the sandbox's specification"))?;
    let (control, theirs) = wire::seqpacket().map_err(failed("making a pair of sockets"))?;
    let (setup, setup_theirs) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)
        .map_err(|error| SandboxError::io("making a pipe", error))?;
    let numbers = [&request, &theirs, &setup_theirs].map(AsRawFd::as_raw_fd);
    let mut command = Command::new(exe::path()?);
    {
        use std::os::unix::process::CommandExt;
        command.arg0(start::MAGIC);
    }
    command
        .arg("run")
        .args(numbers.map(|number| number.to_string()))
        .env_clear()
        .current_dir("/");
    match io {
        Io::Streams {
            stdin,
            stdout,
            stderr,
        } => command.stdin(stdin).stdout(stdout).stderr(stderr),
        Io::Terminal(_) => command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    };
    start::keep_on_exec(&mut command, numbers.to_vec());
    let mut monitor = on_lasting_thread(command).map_err(failed("starting the sandbox"))?;
    drop((request, theirs, setup_theirs));
    let result = wire::setup_result(File::from(setup)).map_err(failed("hearing from the sandbox"));
    let failure = match result {
        Ok(SetUp::Done) => None,
        Ok(SetUp::Failed(failure)) => Some(failure.into()),
        Ok(SetUp::Silent) => Some(SandboxError::Died("no word from it".to_owned())),
        Err(error) => Some(error),
    };
    let mut greeting = Greeting::default();
    if failure.is_none() {
        while let Ok(Some((message, attached))) =
            wire::receive::<Message>(&control, RecvFlags::DONTWAIT)
        {
            greeting.take(message, attached);
        }
    }
    match (failure, greeting.pid, greeting.pidfd) {
        (None, Some(pid), Some(pidfd)) => Ok(Sandbox {
            monitor,
            control,
            pid,
            pidfd,
            terminal: greeting.terminal,
            notes: [groups.notes(), &greeting.notes].concat(),
            deadline,
            status: greeting.status,
            ended: None,
            written: None,
            dialer: greeting.dialer,
            _groups: groups,
        }),
        (failure, ..) => {
            let _ = monitor.kill();
            let _ = monitor.wait();
            Err(failure.unwrap_or_else(|| SandboxError::Died("no process id".to_owned())))
        }
    }
}

/// The children's messages while the sandbox is set up.
#[derive(Default)]
struct Greeting {
    pid: Option<i32>,
    pidfd: Option<OwnedFd>,
    terminal: Option<OwnedFd>,
    notes: Vec<String>,
    status: Option<i32>,
    dialer: Option<Dialer>,
}

impl Greeting {
    fn take(&mut self, message: Message, attached: Option<OwnedFd>) {
        match message {
            Message::Started { pid } => {
                self.pid = Some(pid);
                self.pidfd = attached;
            }
            Message::Terminal => self.terminal = attached,
            Message::Dialer => self.dialer = attached.map(Dialer::new),
            Message::Note(note) => self.notes.push(note),
            Message::Status(status) => {
                self.status.get_or_insert(status);
            }
        }
    }
}

type Job = (Command, SyncSender<io::Result<Child>>);

/// Spawns on a thread that lives as long as the process: the kernel's parent-death signal is sent
/// when the *thread* that started a child ends.
fn on_lasting_thread(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Job>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts sandboxes is gone");
    let spawner = if let Some(spawner) = SPAWNER.get() {
        spawner
    } else {
        let (sender, jobs) = channel::<Job>();
        std::thread::Builder::new()
            .name("sandbox-spawner".to_owned())
            .spawn(move || {
                for (mut command, answer) in jobs {
                    let _ = answer.send(command.spawn());
                }
            })?;
        SPAWNER.get_or_init(|| sender)
    };
    let (answer, child) = sync_channel(1);
    spawner.send((command, answer)).map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

impl Sandbox {
    /// The same, watched for what it writes.
    pub(super) fn watched(mut self, written: Option<Watch>) -> Self {
        self.written = written;
        self
    }

    /// Process id of the sandbox's pid 1, as seen from here.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    pub fn take_stdin(&mut self) -> Option<File> {
        self.monitor
            .stdin
            .take()
            .map(|pipe| OwnedFd::from(pipe).into())
    }

    pub fn take_stdout(&mut self) -> Option<File> {
        self.monitor
            .stdout
            .take()
            .map(|pipe| OwnedFd::from(pipe).into())
    }

    pub fn take_stderr(&mut self) -> Option<File> {
        self.monitor
            .stderr
            .take()
            .map(|pipe| OwnedFd::from(pipe).into())
    }

    /// The master side of the command's terminal.
    pub fn take_terminal(&mut self) -> Option<File> {
        self.terminal.take().map(File::from)
    }

    /// Reaches ports inside a network namespace of the sandbox's own.
    pub fn take_dialer(&mut self) -> Option<Dialer> {
        self.dialer.take()
    }

    /// Notes for the user, for example that there is no outbound network.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Readable when [`Sandbox::try_wait`] has something to do.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    /// Sends a signal to the sandbox's pid 1, which forwards it to the command if it is an init.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        sys::pidfd_signal(self.pidfd.as_fd(), signal)
    }

    /// Kills everything inside at once.
    pub fn kill(&self) -> io::Result<()> {
        match self.signal(libc::SIGKILL) {
            // Gone already.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
            other => other,
        }
    }

    /// When the command's time limit ends.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Ends a command whose time is up: SIGTERM, and a little later everything inside is killed.
    pub fn time_out(&mut self) -> Result<Exit, SandboxError> {
        self.end(Exit::TimedOut)
    }

    /// How the command ended, if it has.
    pub fn try_wait(&mut self) -> Result<Option<Exit>, SandboxError> {
        self.wait_until(Some(Instant::now()))
    }

    /// Waits for the end of everything inside. When the time is up, or this process is interrupted
    /// (see [`interrupt::install_interrupt_handler`]), the command gets SIGTERM, and a little later
    /// everything inside is killed.
    pub fn wait(&mut self) -> Result<Exit, SandboxError> {
        loop {
            let look = self.written.as_ref().map(|_| Instant::now() + PAUSE);
            let until = look.into_iter().chain(self.deadline).min();
            if let Some(exit) = self.wait_until(until)? {
                return Ok(exit);
            }
            if interrupt::interrupted() {
                return self.end(Exit::Interrupted);
            }
            if self.deadline.is_some_and(|end| Instant::now() >= end) {
                return self.end(Exit::TimedOut);
            }
            if self.written.as_mut().is_some_and(Watch::is_exceeded) {
                return self.end(Exit::WroteTooMuch);
            }
        }
    }

    /// Waits for the end and forwards signals to the command; see [`interrupt::forward_signals`].
    /// A change of the terminal's size calls `resized` and is not forwarded: setting the size of the
    /// command's terminal signals the command.
    pub fn wait_forwarding(&mut self, mut resized: impl FnMut()) -> Result<Exit, SandboxError> {
        loop {
            for signal in interrupt::take_forwarded() {
                if signal == libc::SIGWINCH {
                    resized();
                } else {
                    let _ = self.signal(signal);
                }
            }
            if let Some(exit) = self.ended {
                return Ok(exit);
            }
            let wake = interrupt::forwarded_fd();
            if let Some(status) = self.poll_end(self.deadline, wake)? {
                let exit = exit_of(status);
                self.ended = Some(exit);
                return Ok(exit);
            }
            if self
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline)
            {
                return self.end(Exit::TimedOut);
            }
        }
    }

    /// SIGTERM, a little time, SIGKILL.
    fn end(&mut self, exit: Exit) -> Result<Exit, SandboxError> {
        let _ = self.signal(libc::SIGTERM);
        if self.poll_end(Some(Instant::now() + GRACE), None)?.is_none() {
            self.kill()
                .map_err(|error| SandboxError::io("killing the sandbox", error))?;
            self.poll_end(None, None)?;
        }
        self.ended = Some(exit);
        Ok(exit)
    }

    /// Waits until the end, the time, or an interrupt, whichever comes first.
    fn wait_until(&mut self, until: Option<Instant>) -> Result<Option<Exit>, SandboxError> {
        if let Some(exit) = self.ended {
            return Ok(Some(exit));
        }
        let status = self.poll_end(until, interrupt::interrupt_fd())?;
        self.ended = status.map(exit_of);
        Ok(self.ended)
    }

    /// The raw status after everything inside has ended; `None` if the time or `wake` came first.
    fn poll_end(
        &mut self,
        until: Option<Instant>,
        wake: Option<BorrowedFd<'static>>,
    ) -> Result<Option<i32>, SandboxError> {
        let failed = |error: io::Error| SandboxError::io("waiting for the sandbox", error);
        loop {
            let mut polled = vec![PollFd::new(&self.control, PollFlags::IN)];
            if let Some(wake) = &wake {
                polled.push(PollFd::new(wake, PollFlags::IN));
            }
            let timeout = until.map(|until| {
                Timespec::try_from(until.saturating_duration_since(Instant::now())).unwrap_or(
                    Timespec {
                        tv_sec: 3600,
                        tv_nsec: 0,
                    },
                )
            });
            match rustix::event::poll(&mut polled, timeout.as_ref()) {
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(failed(error.into())),
                Ok(0) => return Ok(None),
                Ok(_) => {}
            }
            let heard = polled.first().is_some_and(|fd| !fd.revents().is_empty());
            if !heard {
                return Ok(None);
            }
            match wire::receive::<Message>(&self.control, RecvFlags::empty()).map_err(failed)? {
                // The init's status comes first and counts; the monitor's comes at the end.
                Some((Message::Status(status), _)) => {
                    self.status.get_or_insert(status);
                }
                Some((Message::Note(note), _)) => self.notes.push(note),
                Some(_) => {}
                None => {
                    let end = self.monitor.wait().map_err(failed)?;
                    return match self.status {
                        Some(status) => Ok(Some(status)),
                        None => Err(SandboxError::Died(end.to_string())),
                    };
                }
            }
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = self.kill();
            let _ = self.monitor.wait();
        }
    }
}

fn exit_of(status: i32) -> Exit {
    if libc::WIFSIGNALED(status) {
        Exit::Signal(libc::WTERMSIG(status))
    } else {
        Exit::Code(libc::WEXITSTATUS(status))
    }
}
