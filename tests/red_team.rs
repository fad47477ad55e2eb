//! Attacks on the sandbox. Each first succeeds where the one defence that stops it is left out (or
//! outside of the sandbox, where several would stop it), so that the test can fail; then it fails with
//! the expected error. In all three ways to have ids.

#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test whose attacks are raw system calls, and report on standard output"
)]

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::fixture::{Fixture, Ran, Who, eventually, executables, processes_with};
use warpdrive::sandbox::{Defence, Mount, Network};

/// Does it in a child, since it may change what the process is; gives the errno, 0 for success.
fn tried(attack: impl FnOnce() -> bool) -> i32 {
    // SAFETY: the child makes system calls and ends.
    match unsafe { libc::fork() } {
        0 => {
            let code = if attack() {
                0
            } else {
                std::io::Error::last_os_error().raw_os_error().unwrap_or(99)
            };
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(code) }
        }
        pid => {
            let mut status = 0;
            // SAFETY: waits for that child.
            unsafe { libc::waitpid(pid, &raw mut status, libc::WUNTRACED) };
            if libc::WIFSTOPPED(status) {
                // SAFETY: ends that child.
                unsafe { libc::kill(pid, libc::SIGKILL) };
                // SAFETY: as above.
                unsafe { libc::waitpid(pid, &raw mut status, 0) };
                return 0;
            }
            libc::WEXITSTATUS(status)
        }
    }
}

fn connected(result: std::io::Result<impl Sized>) -> i32 {
    result.map_or_else(|error| error.raw_os_error().unwrap_or(99), |_| 0)
}

/// Not a test of its own: what runs inside of the sandbox, and outside for the controls.
#[test]
fn attacks() {
    let Ok(target) = std::env::var("WARPDRIVE_ATTACK") else {
        return;
    };
    let say = |name: &str, errno: i32| println!("\nATTACK {name} {errno}");
    // SAFETY: it only asks.
    say("euid", i32::try_from(unsafe { libc::geteuid() }).unwrap());
    let none = std::ptr::null::<libc::c_char>();
    // SAFETY: each is a system call with valid arguments, in a process of its own.
    unsafe {
        say("unshare", tried(|| libc::unshare(libc::CLONE_NEWUSER) == 0));
        say(
            "mount",
            tried(|| {
                libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS) == 0
                    && libc::mount(
                        c"none".as_ptr(),
                        c"/tmp".as_ptr(),
                        c"tmpfs".as_ptr(),
                        0,
                        none.cast(),
                    ) == 0
            }),
        );
        say(
            "ptrace",
            tried(|| libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) == 0),
        );
        // KEYCTL_GET_KEYRING_ID of the session keyring, to be made if there is none.
        say(
            "keyctl",
            tried(|| libc::syscall(libc::SYS_keyctl, 0, -3, 1, 0, 0) >= 0),
        );
        say(
            "userfaultfd",
            tried(|| libc::syscall(libc::SYS_userfaultfd, 1) >= 0),
        );
        // BPF_MAP_CREATE of an array with one element.
        let attributes: [u32; 18] = {
            let mut attributes = [0; 18];
            attributes[..4].copy_from_slice(&[2, 4, 4, 1]);
            attributes
        };
        say(
            "bpf",
            tried(|| {
                libc::syscall(
                    libc::SYS_bpf,
                    0,
                    attributes.as_ptr(),
                    size_of_val(&attributes),
                ) >= 0
            }),
        );
        say(
            "raw",
            tried(|| libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP) >= 0),
        );
        say("chroot", tried(|| libc::chroot(c"/".as_ptr()) == 0));
    }
    let (port, name) = target.split_once(' ').unwrap();
    say(
        "loopback",
        connected(TcpStream::connect((
            "127.0.0.1",
            port.parse::<u16>().unwrap(),
        ))),
    );
    let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
    say("abstract", connected(UnixStream::connect_addr(&address)));
}

fn results(ran: &Ran) -> BTreeMap<String, i32> {
    ran.out
        .lines()
        .filter_map(|line| line.strip_prefix("ATTACK ")?.split_once(' '))
        .map(|(name, errno)| (name.to_owned(), errno.parse().unwrap()))
        .collect()
}

/// The host's services that must not be reached.
struct Services {
    _tcp: TcpListener,
    _abstract: UnixListener,
    target: String,
}

impl Services {
    fn new(who: Who) -> Self {
        let name = format!("warpdrive-red-team-{}-{who:?}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let tcp = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = tcp.local_addr().unwrap().port();
        Self {
            _tcp: tcp,
            _abstract: UnixListener::bind_addr(&address).unwrap(),
            target: format!("{port} {name}"),
        }
    }

    /// A sandbox with this machine's libraries in which [`attacks`] runs.
    fn fixture(&self, who: Who, network: Network, without: &[Defence]) -> Fixture {
        let mut fixture = Fixture::new(who, "");
        fixture.spec.mounts = [
            (Path::new("/usr"), "/usr"),
            (Path::new("/lib"), "/lib"),
            (Path::new("/lib64"), "/lib64"),
            (executables(), "/probe"),
        ]
        .into_iter()
        .filter(|(source, _)| source.exists())
        .map(|(source, target)| Mount::Bind {
            source: source.into(),
            target: target.into(),
            read_only: true,
        })
        .collect();
        fixture.spec.network = network;
        fixture.spec.without = without.to_vec();
        fixture.spec.command = ["/probe/tests", "--exact", "attacks", "--nocapture"]
            .map(str::to_owned)
            .to_vec();
        fixture
            .spec
            .env
            .push(("WARPDRIVE_ATTACK".into(), self.target.clone()));
        fixture
    }

    fn attack(&self, who: Who, network: Network, without: &[Defence]) -> BTreeMap<String, i32> {
        let ran = self.fixture(who, network, without).run();
        assert_eq!(ran.status, 0, "{who:?} {ran:?}");
        results(&ran)
    }

    /// As root of this machine, outside.
    fn outside(&self) -> BTreeMap<String, i32> {
        let output = Command::new(executables().join("tests"))
            .args(["--exact", "attacks", "--nocapture"])
            .env("WARPDRIVE_ATTACK", &self.target)
            .output();
        results(&Ran::from(output.unwrap()))
    }
}

#[test]
fn system_calls_and_services_of_the_host() {
    for who in Who::all() {
        let services = Services::new(who);
        let outside = services.outside();
        let sound = services.attack(who, Network::None, &[]);
        let unfiltered = services.attack(who, Network::None, &[Defence::SystemCalls]);
        // Only the filter stops these.
        for name in ["unshare", "mount", "ptrace", "keyctl", "userfaultfd"] {
            assert_eq!(
                unfiltered[name], 0,
                "control, {who:?} {name}: {unfiltered:?}"
            );
            assert_eq!(sound[name], libc::EPERM, "{who:?} {name}: {sound:?}");
        }
        // The lack of capabilities stops these even without the filter; bpf is for those of the
        // machine itself, and stops at a user namespace, too.
        let both = [Defence::SystemCalls, Defence::Capabilities];
        let mighty = services.attack(who, Network::None, &both);
        for name in ["bpf", "raw", "chroot"] {
            let control = if name == "bpf" && !matches!(who, Who::Root) {
                assert_eq!(mighty[name], libc::EPERM, "{who:?} {name}: {mighty:?}");
                &outside
            } else {
                &mighty
            };
            assert_eq!(control[name], 0, "control, {who:?} {name}: {control:?}");
            assert_eq!(
                unfiltered[name],
                libc::EPERM,
                "{who:?} {name}: {unfiltered:?}"
            );
            assert_eq!(sound[name], libc::EPERM, "{who:?} {name}: {sound:?}");
        }
        // A network namespace of its own stops these.
        for name in ["loopback", "abstract"] {
            assert_eq!(outside[name], 0, "control, outside, {name}");
            assert_eq!(sound[name], libc::ECONNREFUSED, "{who:?} {name}: {sound:?}");
        }
        // With the host's network, Landlock stops the one; the other is what was asked for.
        let shared = services.attack(who, Network::Host, &[]);
        let unfenced = services.attack(who, Network::Host, &[Defence::AbstractSockets]);
        assert_eq!(
            (unfenced["loopback"], unfenced["abstract"]),
            (0, 0),
            "control, {who:?}"
        );
        assert_eq!(
            (shared["loopback"], shared["abstract"]),
            (0, libc::EPERM),
            "{who:?}"
        );
    }
}

#[test]
fn masked_and_read_only_parts_of_proc_and_sys() {
    let script = "stat -c %F /proc/keys /proc/timer_list; ls /sys/firmware | wc -l; \
                  grep -c -E '^[^ ]+ /proc/(sys|irq|bus|fs|sysrq-trigger) ' /proc/self/mounts";
    for who in Who::all() {
        let mut fixture = Fixture::new(who, script);
        let sound = fixture.run();
        fixture.spec.without = vec![Defence::Masks];
        let unmasked = fixture.run();
        let files = "regular empty file\nregular empty file\n";
        assert!(
            unmasked.out.starts_with(files),
            "control, {who:?} {unmasked:?}"
        );
        assert!(
            !unmasked.out.contains("\n0\n0\n"),
            "control, {who:?} {unmasked:?}"
        );
        assert!(
            unmasked.out.ends_with("\n0\n"),
            "control, {who:?} {unmasked:?}"
        );
        let files = "character special file\ncharacter special file\n0\n";
        assert!(sound.out.starts_with(files), "{who:?} {sound:?}");
        assert!(!sound.out.ends_with("\n0\n0\n"), "{who:?} {sound:?}");
    }
    // Uid 0 of the machine owns /proc/sys, capabilities or not; the value stays as it is.
    let script =
        "v=$(cat /proc/sys/vm/swappiness) && echo $v > /proc/sys/vm/swappiness && echo written";
    let mut fixture = Fixture::new(Who::Root, script);
    fixture.spec.uid = 0;
    let sound = fixture.run();
    assert!(sound.err.contains("Read-only file system"), "{sound:?}");
    fixture.spec.without = vec![Defence::Masks];
    assert_eq!(fixture.run().out, "written\n", "control");
}

#[test]
fn files_of_the_host() {
    for who in Who::all() {
        let mut fixture = Fixture::new(who, "");
        let secret = fixture.place.path().join("secret");
        let upper = fixture.place.path().join("upper");
        fs::write(&secret, "of the host\n").unwrap();
        fs::set_permissions(fixture.base("etc"), fs::Permissions::from_mode(0o777)).unwrap();
        let script = format!(
            "cat {0}; cat /proc/1/root{0}; cat /proc/self/cwd/../../../../..{0}; ls {1}; \
             touch /etc/planted && echo planted; exit 0",
            secret.display(),
            upper.display()
        );
        // Outside, all of it is there.
        let seen = Command::new("sh")
            .arg("-c")
            .arg(
                script
                    .replace("/proc/1/root", "")
                    .replace("touch /etc/planted && echo planted;", ""),
            )
            .output();
        let seen = Ran::from(seen.unwrap());
        assert_eq!(
            seen.out.matches("of the host").count(),
            3,
            "control, {seen:?}"
        );
        fixture.spec.command[2] = script;
        let sound = fixture.run();
        assert_eq!(
            (sound.status, sound.out.as_str()),
            (0, ""),
            "{who:?} {sound:?}"
        );
        assert_eq!(
            sound.err.matches("No such file").count(),
            3,
            "{who:?} {sound:?}"
        );
        assert!(
            sound.err.contains("Read-only file system"),
            "{who:?} {sound:?}"
        );
        assert!(fixture.upper().is_empty(), "{who:?} {:?}", fixture.upper());
        // Without the read-only root the file is written, into the upper directory.
        fixture.spec.root.writable_only = None;
        assert_eq!(fixture.run().out, "planted\n", "control, {who:?}");
        assert!(
            fixture.upper().contains(&"etc/planted".to_owned()),
            "control, {who:?}"
        );
    }
}

#[test]
fn links_in_layers() {
    for who in Who::all() {
        let mut fixture = Fixture::new(who, "cat /etc/link /dir/file");
        let outside = fixture.place.path().join("outside");
        fs::create_dir(&outside).unwrap();
        symlink(outside.join("target"), fixture.base("etc/link")).unwrap();
        symlink(&outside, fixture.base("dir")).unwrap();
        // Whoever follows them as they stand writes outside.
        fs::write(fixture.base("etc/link"), "x").unwrap();
        fs::write(fixture.base("dir/file"), "x").unwrap();
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 2, "control");
        for file in ["target", "file"] {
            fs::remove_file(outside.join(file)).unwrap();
        }
        fixture.spec.mounts = ["/etc/link", "/dir/file"]
            .map(|target| Mount::File {
                target: target.into(),
                contents: format!("{target}\n").into_bytes(),
                mode: 0o444,
            })
            .to_vec();
        let ran = fixture.run();
        assert_eq!(ran.out, "/etc/link\n/dir/file\n", "{who:?} {ran:?}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{who:?}");
    }
}

/// Kills the processes whose command line ends so.
fn end(words: &str) {
    for process in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if line.trim_end().ends_with(words) {
            let pid = process.file_name().to_string_lossy().into_owned();
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        }
    }
}

#[test]
fn what_is_left_running() {
    for who in Who::all() {
        let mark = format!("16180.{}{}", std::process::id(), who as u8);
        let running = || processes_with(&format!("sleep {mark}"));
        let script = format!("(trap '' HUP TERM; setsid sleep {mark} > /dev/null 2>&1 &) ; exit 0");
        // Outside, it survives the shell that started it.
        let status = Command::new("/bin/busybox")
            .args(["sh", "-c", &script])
            .stdin(Stdio::null())
            .status();
        assert!(status.unwrap().success());
        eventually("it runs", || !running().is_empty());
        eventually("it is gone", || {
            end(&format!("sleep {mark}"));
            running().is_empty()
        });
        let mut fixture = Fixture::new(who, &script);
        symlink("busybox", fixture.base("bin/setsid")).unwrap();
        fixture.spec.init = true;
        assert_eq!(fixture.run().status, 0, "{who:?}");
        assert_eq!(running(), [""; 0], "{who:?}");
        fixture.spec.init = false;
        assert_eq!(fixture.run().status, 0, "{who:?}");
        assert_eq!(running(), [""; 0], "{who:?}");
    }
}

/// A setuid program of the image, run by the user: outside it gives root.
#[test]
fn setuid_programs() {
    let services = Services::new(Who::Root);
    let mut fixture = services.fixture(Who::Root, Network::None, &[]);
    let program = fixture.base("bin/root");
    fs::copy(executables().join("tests"), &program).unwrap();
    fixture.spec.command[0] = "/bin/root".to_owned();
    let mut inside = fixture.command(&[]);
    // After everything was given to root.
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let outside = Command::new("setpriv")
        .args(["--reuid", "1001", "--regid", "1001", "--clear-groups"])
        .arg(&program)
        .args(["--exact", "attacks", "--nocapture"])
        .env("WARPDRIVE_ATTACK", &services.target)
        .output();
    let outside = Ran::from(outside.unwrap());
    assert_eq!(results(&outside)["euid"], 0, "control, {outside:?}");
    let inside = Ran::from(inside.output().unwrap());
    assert_eq!(results(&inside)["euid"], 1001, "{inside:?}");
}

/// What an image can bring with it and have loaded into whatever its command turns out to be: it gives
/// the program that it finds itself in to everybody, with the setuid bit, and tries to write to it.
const PRELOADED: &str = r#"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
__attribute__((constructor)) static void attack(void) {
    struct stat self;
    int fd = open("/proc/self/exe", O_RDONLY);
    fstat(fd, &self);
    fchmod(fd, 04777);
    printf("ATTACK inode %lu\n", (unsigned long) (self.st_ino & 0x3fffffff));
    printf("ATTACK write %d\n", open("/proc/self/exe", O_WRONLY) < 0 ? errno : 0);
    fflush(stdout);
    _Exit(0);
}
"#;

/// An image's command that is a link to `/proc/self/exe` is *our* program, run inside with the image's
/// own libraries (CVE-2019-5736).
#[test]
fn our_own_executable() {
    use std::os::unix::fs::MetadataExt;
    let place = crate::support::fixture::public_directory();
    let (source, library) = (place.path().join("x.c"), place.path().join("x.so"));
    fs::write(&source, PRELOADED).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .output()
        .expect("cc: run `make test-deps`");
    assert!(compiled.status.success(), "{compiled:?}");
    for who in Who::all() {
        let attack = |without: &[Defence]| {
            let services = Services::new(who);
            let mut fixture = services.fixture(who, Network::None, without);
            symlink("/proc/self/exe", fixture.base("bin/attack")).unwrap();
            fs::copy(&library, fixture.base("bin/x.so")).unwrap();
            fixture.spec.command = vec!["/bin/attack".to_owned()];
            fixture
                .spec
                .env
                .push(("LD_PRELOAD".to_owned(), "/bin/x.so".to_owned()));
            // Whoever runs the sandbox, which is who may change the program's mode.
            if who != Who::Single {
                fixture.spec.uid = 0;
            }
            // A program of their own, which the fixture gives to them with all the rest.
            let program = fixture.place.path().join("warpdrive");
            fs::copy(executables().join("warpdrive"), &program).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            let command = fixture.command(&[]);
            let shared = executables().join("warpdrive");
            let words = command.get_args().map(|word| {
                if word == shared {
                    program.as_os_str()
                } else {
                    word
                }
            });
            let ran = Command::new("setpriv").args(words).output().unwrap();
            let ran = Ran::from(ran);
            let seen = results(&ran);
            let after = fs::metadata(&program).unwrap();
            let is_ours = u64::try_from(seen["inode"]).unwrap() == after.ino() & 0x3fff_ffff;
            (is_ours, after.mode() & 0o7777, seen["write"])
        };
        assert_eq!(
            attack(&[Defence::SealedCopy]),
            (true, 0o4777, libc::ETXTBSY),
            "control, {who:?}"
        );
        let (is_ours, mode, error) = attack(&[]);
        assert_eq!((is_ours, mode), (false, 0o755), "{who:?}");
        assert!(
            [libc::EACCES, libc::ETXTBSY, libc::EPERM].contains(&error),
            "{who:?} {error}"
        );
    }
}

/// What a build leaves in the upper directory lies on the host, under the ids that it had: a setuid
/// program of root, for whoever can get at it, and links to anything.
#[test]
fn what_lies_in_the_upper_directory() {
    use warpdrive::layer::{Kind, scan};
    for who in Who::all() {
        let script = "cp /bin/own-id /opt/app-root/root && chmod 4755 /opt/app-root/root && \
                      ln -s /etc/shadow /opt/app-root/link && echo made";
        let mut fixture = Fixture::new(who, script);
        symlink("busybox", fixture.base("bin/cp")).unwrap();
        // Busybox itself gives up what the bit gives.
        fs::copy("/usr/bin/id", fixture.base("bin/own-id")).unwrap();
        if who != Who::Single {
            fixture.spec.uid = 0;
        }
        let parent = fixture.place.path().join("store");
        drop(warpdrive::store::Store::open(Some(&parent)).unwrap());
        let upper = parent.join("tmp/upper");
        for directory in [&upper, &parent.join("tmp/work")] {
            fs::create_dir_all(directory).unwrap();
        }
        fixture.spec.root.upper = Some(warpdrive::sandbox::Upper {
            upper: upper.clone(),
            work: parent.join("tmp/work"),
        });
        let ran = fixture.run();
        assert_eq!(ran.out, "made\n", "{who:?} {ran:?}");

        // Another user of the machine, and the program that gives the ids of who ran the build.
        let program = upper.join("opt/app-root/root");
        let owner = fs::metadata(&program).map(|meta| std::os::unix::fs::MetadataExt::uid(&meta));
        let euid = || {
            let output = Command::new("setpriv")
                .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
                // setpriv itself has root's capabilities until it starts another program.
                .arg("env")
                .arg(&program)
                .arg("-u")
                .output();
            Ran::from(output.unwrap())
        };
        let sound = euid();
        assert_ne!(sound.status, 0, "{who:?} {sound:?}");
        assert!(sound.err.contains("Permission denied"), "{sound:?}");
        fs::set_permissions(&parent, fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(parent.join("tmp"), fs::Permissions::from_mode(0o755)).unwrap();
        let open = euid();
        assert_eq!(
            open.out.trim().parse(),
            Ok(owner.unwrap()),
            "control, {who:?} {open:?}"
        );

        // Who follows the link reads the host's file; what is made into a layer is the link.
        let link = upper.join("opt/app-root/link");
        assert!(
            fs::read(&link).is_ok_and(|bytes| !bytes.is_empty()),
            "control, {who:?}"
        );
        let found = scan(&upper, &[]).unwrap();
        let link = found
            .entries
            .iter()
            .find(|entry| entry.path == Path::new("opt/app-root/link"));
        assert_eq!(
            link.map(|entry| &entry.kind),
            Some(&Kind::Symlink("/etc/shadow".into())),
            "{who:?}"
        );
    }
}
