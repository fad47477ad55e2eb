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
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::fixture::{Fixture, Ran, Who, eventually, executables, processes_with};
use crate::support::tunnels::with_a_device_for_tunnels;
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

/// Not a test: the program that other tests run inside of the sandbox, and outside for the controls. Without
/// the variable it does nothing.
#[test]
fn helper_attacks() {
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
        fixture.spec.command = [
            "/probe/tests",
            "--exact",
            "red_team::helper_attacks",
            "--nocapture",
        ]
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
            .args(["--exact", "red_team::helper_attacks", "--nocapture"])
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

/// Mode, owner and the times of a file's content and of its inode.
fn stamp(path: &str) -> (u32, u32, i64, i64, i64, i64) {
    let meta = fs::metadata(path).unwrap();
    (
        meta.mode(),
        meta.uid(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    )
}

#[test]
fn device_nodes_of_the_host() {
    // The mode that it has, so that the control does no harm: the inode's time tells.
    let attack = "touch /dev/full; chmod 666 /dev/full; echo x > /dev/null; head -c 3 /dev/zero | wc -c; \
                  echo x > /dev/full || echo full; \
                  chmod 666 /proc/self/fd/0; exit 0";
    for who in Who::all() {
        let mut fixture = Fixture::new(who, attack);
        if matches!(who, Who::Root) {
            fixture.spec.uid = 0;
        }
        let before = stamp("/dev/full");
        let standard_input = stamp("/dev/null");
        let sound = fixture.run();
        assert_eq!(stamp("/dev/full"), before, "{who:?} {sound:?}");
        assert_eq!(stamp("/dev/null"), standard_input, "{who:?} {sound:?}");
        // They are of use all the same.
        assert_eq!(sound.out, "3\nfull\n", "{who:?} {sound:?}");
        fixture.spec.without = vec![Defence::Devices];
        let control = fixture.run();
        assert_ne!(stamp("/dev/full"), before, "control, {who:?} {control:?}");
        assert!(
            !matches!(who, Who::Root) || stamp("/dev/null") != standard_input,
            "control, {control:?}"
        );
    }
}

/// What answers `reached` on all addresses of this thread's machine, IPv6 as well.
fn service() -> u16 {
    let listener = TcpListener::bind("[::]:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let _ = connection.unwrap().write_all(b"reached\n");
        }
    });
    port
}

/// Of clouds: it is another machine's, and this one leads to it.
const METADATA: &str = "169.254.169.254";
/// The machine that [`on_a_machine_of_its_own`] makes.
const GATEWAY: &str = "198.51.100.1";
const ADDRESS: &str = "198.51.100.2";
const ADDRESS_6: &str = "2001:db8::2";
const LINK_LOCAL: &str = "fe80::c0ff:ee";

/// Does it on a thread with a network of its own, which is a machine with an address of each kind and
/// somebody who answers for [`METADATA`] without that address being an interface's.
fn on_a_machine_of_its_own(body: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: it changes this thread's network alone, which nothing else uses.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
            let script = format!(
                "set -e; ip link set lo up; ip link add eth0 type veth peer name far; \
                 ip link set eth0 addrgenmode none; ip link set far up; ip link set eth0 up; \
                 ip address add {ADDRESS}/24 dev eth0; ip route add default via {GATEWAY}; \
                 ip -6 address add {ADDRESS_6}/64 dev eth0 nodad; \
                 ip -6 address add {LINK_LOCAL}/64 dev eth0 nodad; \
                 ip -6 route add default via fe80::1 dev eth0; \
                 ip route add local {METADATA}/32 dev lo"
            );
            let ran = Command::new("sh").args(["-c", &script]).output();
            let ran = Ran::from(ran.unwrap());
            assert_eq!(ran.status, 0, "{ran:?}");
            body();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Every way to this machine that a network of one's own may have: its loopback, each of its addresses,
/// and what slirp4netns and pasta have in their place; and to what a cloud has for this machine alone.
#[test]
fn this_machine_from_a_network_that_leads_outward() {
    on_a_machine_of_its_own(|| {
        let port = service();
        // An address that may still be another's is not sent from.
        let script = format!(
            "while grep -qE ' [4-7c-f][0-9a-f] +[a-z0-9]+$' /proc/net/if_inet6; do sleep 0.1; done; \
             devices=$(sed -n 's/^ *\\([^:]*\\):.*/\\1/p' /proc/net/dev); \
             ways='127.0.0.1 127.0.0.53 0.0.0.0 ::1 10.0.2.2 10.0.2.3 {GATEWAY} {ADDRESS} {ADDRESS_6} \
             {METADATA} {LINK_LOCAL}'; \
             for device in $devices; do ways=\"$ways {LINK_LOCAL}%$device\"; done; \
             for way in $ways; do (test \"$(timeout 5 nc $way {port} < /dev/null 2> /dev/null)\" = reached \
             && echo $way) & done; wait",
        );
        let outside = Command::new("busybox").args(["sh", "-c", &script]).output();
        let outside = Ran::from(outside.unwrap());
        for way in [ADDRESS, ADDRESS_6, METADATA, "fe80::c0ff:ee%eth0"] {
            assert!(
                outside.out.lines().any(|line| line == way),
                "control, outside, {way}: {outside:?}"
            );
        }
        for who in Who::all() {
            for carrier in ["slirp4netns", "pasta"] {
                reached_through(who, carrier, port, &script);
            }
        }
    });
}

fn reached_through(who: Who, carrier: &str, port: u16, script: &str) {
    let mut fixture = Fixture::new(who, script);
    fixture.spec.network = Network::Outward;
    let run = |fixture: &Fixture| {
        let command = fixture.command(&[]);
        let ran = with_a_device_for_tunnels(&command, carrier).output();
        let ran = Ran::from(ran.unwrap());
        assert_eq!(ran.status, 0, "{who:?} {carrier} {ran:?}");
        let mut ways: Vec<_> = ran.out.lines().map(str::to_owned).collect();
        ways.sort();
        ways
    };
    assert_eq!(run(&fixture), [""; 0], "{who:?} {carrier}");
    // What the caller names is reached, by the address that it is named by.
    let named = [
        format!("127.0.0.1:{port}"),
        format!("{METADATA}:{port}"),
        "192.0.2.200:80".to_owned(),
    ];
    fixture.spec.host_services = named.map(|service| service.parse().unwrap()).to_vec();
    // An address without a name is the loopback of one's own.
    assert_eq!(
        run(&fixture),
        ["0.0.0.0", "127.0.0.1", METADATA],
        "{who:?} {carrier}"
    );
    fixture.spec.host_services.clear();
    fixture.spec.without = vec![Defence::HostAddresses];
    // Each by its own ways, so that traffic does flow.
    let expected: &[&str] = if carrier == "pasta" {
        // This machine's other addresses are the namespace's as well.
        &[METADATA, GATEWAY, "fe80::c0ff:ee%eth0"]
    } else {
        &["10.0.2.2", METADATA, ADDRESS]
    };
    // A carrier that has only just come up may lose the first packet of one: it is asked again.
    let mut missing: Vec<&&str> = expected.iter().collect();
    for _ in 0..3 {
        let open = run(&fixture);
        missing.retain(|way| !open.iter().any(|open| open == **way));
        if missing.is_empty() {
            return;
        }
    }
    panic!("control, {who:?} {carrier}: {missing:?} are not reached");
}

#[test]
fn a_network_that_cannot_be_had_is_refused_before_anything_runs() {
    for who in Who::all() {
        let mut fixture = Fixture::new(who, "echo ran");
        fixture.spec.network = Network::Outward;
        let command = fixture.command(&[]);
        let run = |carrier| {
            let ran = with_a_device_for_tunnels(&command, carrier).output();
            Ran::from(ran.unwrap())
        };
        let ran = run("slirp4netns");
        assert_eq!(
            (ran.status, ran.out.as_str()),
            (0, "ran\n"),
            "control, {who:?}: {ran:?}"
        );
        let ran = run("none");
        assert_eq!((ran.status, ran.out.as_str()), (125, ""), "{who:?} {ran:?}");
        assert!(
            ran.err
                .contains("the sandbox cannot have a network of its own"),
            "{who:?} {ran:?}"
        );
    }
}

#[test]
fn memory_by_a_tmpfs_of_which_nobody_said_the_size() {
    let script = "head -c 100m /dev/zero > /dev/shm/x && echo whole; \
                  grep -c 'tmpfs /tmp .*size=' /proc/self/mounts; exit 0";
    for who in Who::all() {
        let mut fixture = Fixture::new(who, script);
        fixture.spec.mounts = vec![Mount::Tmpfs {
            target: "/tmp".into(),
            size: None,
            mode: 0o1777,
        }];
        let sound = fixture.run();
        assert_eq!(sound.out, "1\n", "{who:?} {sound:?}");
        assert!(sound.err.contains("standard output"), "{who:?} {sound:?}");
        fixture.spec.without = vec![Defence::Bounds];
        let control = fixture.run();
        assert_eq!(control.out, "whole\n0\n", "control, {who:?} {control:?}");
    }
}

/// Not a test: the program of `processes_without_end`. Without the variable it does nothing.
#[test]
fn helper_forks() {
    if std::env::var_os("WARPDRIVE_FORKS").is_none() {
        return;
    }
    let mut made = 0;
    while made < 4500 {
        // SAFETY: the child waits for its end, which comes with the sandbox's.
        match unsafe { libc::fork() } {
            // SAFETY: as above.
            0 => unsafe {
                libc::pause();
                libc::_exit(0);
            },
            -1 => break,
            _ => made += 1,
        }
    }
    println!("\nFORKS {made}");
}

#[test]
fn processes_without_end() {
    for who in Who::all() {
        let services = Services::new(who);
        let forks = |without: &[Defence]| -> u32 {
            let mut fixture = services.fixture(who, Network::None, without);
            fixture.spec.command[2] = "red_team::helper_forks".into();
            fixture
                .spec
                .env
                .push(("WARPDRIVE_FORKS".into(), "1".into()));
            let ran = fixture.run();
            let line = ran.out.lines().find_map(|line| line.strip_prefix("FORKS "));
            line.unwrap_or_else(|| panic!("{who:?} {ran:?}"))
                .parse()
                .unwrap()
        };
        let made = forks(&[]);
        assert!((3000..4096).contains(&made), "{who:?} {made}");
        assert_eq!(forks(&[Defence::Bounds]), 4500, "control, {who:?}");
    }
}

#[test]
fn a_disk_that_is_filled() {
    const MIB: u64 = 1 << 20;
    let one_file =
        "head -c 100m /dev/zero > /opt/app-root/file; ls -l /opt/app-root/file | wc -l; exit 0";
    let many = "for i in 0 1 2 3 4 5 6 7 8 9; do head -c 9m /dev/zero > /opt/app-root/$i; done; echo done; sleep 20";
    for who in Who::all() {
        let size = |fixture: &Fixture, name: &str| {
            let path = fixture.place.path().join("upper/opt/app-root").join(name);
            fs::metadata(path).map_or(0, |meta| meta.len())
        };
        let fixture = Fixture::new(who, one_file);
        fixture.run();
        assert_eq!(size(&fixture, "file"), 100 * MIB, "control, {who:?}");
        let mut fixture = Fixture::new(who, one_file);
        fixture.spec.limits.written = Some(10 * MIB);
        fixture.run();
        assert_eq!(size(&fixture, "file"), 10 * MIB, "{who:?}");

        let mut fixture = Fixture::new(who, many);
        fixture.spec.limits.written = Some(30 * MIB);
        let ran = fixture.run();
        assert_eq!(ran.status, 153, "{who:?} {ran:?}");
        let fixture = Fixture::new(who, &many.replace("; sleep 20", ""));
        let ran = fixture.run();
        assert_eq!(
            (ran.status, ran.out.as_str()),
            (0, "done\n"),
            "control, {who:?}"
        );
    }
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
        // The status comes before the kernel has taken the last process away.
        eventually("nothing is left", || running().is_empty());
        fixture.spec.init = false;
        assert_eq!(fixture.run().status, 0, "{who:?}");
        eventually("nothing is left", || running().is_empty());
    }
}

/// A setuid program of the image, run by the user: outside it gives what its owner is, who is root inside.
#[test]
fn setuid_programs() {
    for who in Who::all() {
        let services = Services::new(who);
        let mut fixture = services.fixture(who, Network::None, &[]);
        let program = fixture.base("bin/root");
        fs::copy(executables().join("tests"), &program).unwrap();
        fixture.spec.command[0] = "/bin/root".to_owned();
        let mut inside = fixture.command(&[]);
        // After everything was given to whoever runs the sandbox.
        fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
        let outside = Command::new("setpriv")
            .args(["--reuid", "1001", "--regid", "1001", "--clear-groups"])
            .arg(&program)
            .args(["--exact", "red_team::helper_attacks", "--nocapture"])
            .env("WARPDRIVE_ATTACK", &services.target)
            .output();
        let outside = Ran::from(outside.unwrap());
        let (owner, _) = who.ids().unwrap();
        assert_ne!(owner, 1001, "control, {who:?}");
        let euid = u32::try_from(results(&outside)["euid"]).unwrap();
        assert_eq!(euid, owner, "control, {who:?} {outside:?}");
        let inside = Ran::from(inside.output().unwrap());
        assert_eq!(results(&inside)["euid"], 1001, "{who:?} {inside:?}");
    }
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
