//! The sandbox from outside: the real executable runs busybox in a root of its own, as root, as a
//! user with subordinate ids (`warpdrive-tester`) and as one without (`warpdrive-single`).
//!
//! Needs root, busybox-static and the two users (`scripts/install-test-dependencies`).

// The attacks of `inside` are raw system calls; what is skipped is said aloud.
#![allow(
    unsafe_code,
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout
)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::support::fixture::{Fixture, Ran, Who, eventually, executables, processes_with};
use warpdrive::sandbox::{Mount, Network};

#[test]
fn a_command_runs_as_the_user_without_any_power() {
    for who in Who::all() {
        let fixture = Fixture::new(
            who,
            "id -u; id -g; hostname; umask; grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; \
             echo $$; env | grep -v -E '^(SHLVL|PWD)='; exit 7",
        );
        let ran = fixture.run();
        assert_eq!(ran.status, 7, "{who:?} {ran:?}");
        let expected = "1001\n0\nbox\n0022\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n\
            CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n\
            NoNewPrivs:\t1\nSeccomp:\t2\n2\nPATH=/bin\n";
        assert!(ran.out.starts_with(expected), "{who:?} {ran:?}");
    }
}

/// Kernels before 5.6 do not have it, and filters around containers of old engines refuse it.
#[test]
fn a_sandbox_starts_where_openat2_is_refused() {
    // As root, before the change of user: a filter of another user's would forbid newuidmap.
    const BEHIND_A_FILTER: &str = r"
import ctypes, os, struct, sys
OPENAT2 = 437
code = struct.pack('HBBI' * 4,
                   0x20, 0, 0, 0,                 # the number of the call
                   0x15, 0, 1, OPENAT2,
                   0x06, 0, 0, 0x00050000 | 38,   # ENOSYS
                   0x06, 0, 0, 0x7fff0000)
code = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack('HP', 4, ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(22, 2, program) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
if libc.syscall(OPENAT2, -100, b'/', program, 24) != -1 or ctypes.get_errno() != 38:
    sys.exit('openat2 is not refused')
os.execvp(sys.argv[1], sys.argv[1:])
";
    let behind = |command: &Command| {
        let mut filtered = Command::new("python3");
        filtered.args(["-I", "-c", BEHIND_A_FILTER]);
        filtered.arg(command.get_program()).args(command.get_args());
        filtered.stdin(Stdio::null());
        filtered
    };
    for who in Who::all() {
        let mut fixture = Fixture::new(who, "cat /var/in && cat /missing/place/in; echo done");
        let data = fixture.place.path().join("data");
        fs::write(&data, "mounted\n").unwrap();
        // One place behind a link that leads to the root, and one that is not there.
        fs::create_dir_all(fixture.base("srv")).unwrap();
        symlink("/srv", fixture.base("var")).unwrap();
        for target in ["/var/in", "/missing/place/in"] {
            fixture.spec.mounts.push(Mount::Bind {
                source: data.clone(),
                target: target.into(),
                read_only: true,
            });
        }
        let ran = Ran::from(behind(&fixture.command(&[])).output().unwrap());
        assert_eq!(ran.out, "mounted\nmounted\ndone\n", "{who:?} {ran:?}");
    }
}

#[test]
fn a_user_gets_one_id_where_there_are_no_others() {
    for who in Who::all().into_iter().filter(|who| *who == Who::Subuid) {
        let fixture = Fixture::new(who, "id -u; wc -l < /proc/self/uid_map");
        assert_eq!(fixture.run().out, "1001\n2\n");
        let forced = fixture
            .command(&[])
            .env("WARPDRIVE_ID_MODE", "single")
            .output();
        assert_eq!(Ran::from(forced.unwrap()).out, "1001\n1\n");
        let broken = fixture.place.path().join("newuidmap");
        fs::write(&broken, "#!/bin/sh\nexit 1\n").unwrap();
        let mut command = fixture.command(&[]);
        fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:/usr/bin:/bin", fixture.place.path().display());
        let ran = Ran::from(command.env("PATH", path).output().unwrap());
        assert_eq!(ran.out, "1001\n1\n", "{ran:?}");
    }
}

#[test]
fn it_runs_where_memfds_may_not_be_executed() {
    assert!(
        Path::new("/proc/sys/vm/memfd_noexec").exists(),
        "vm.memfd_noexec, which this test sets, came with Linux 6.3"
    );
    for who in Who::all() {
        let fixture = Fixture::new(who, "echo ran; cat /proc/self/mounts > /dev/null");
        let command = fixture.command(&[]);
        // The setting belongs to a pid namespace: this test's own.
        let script = "echo 2 > /proc/sys/vm/memfd_noexec || exit 77; exec \"$@\"";
        let output = Command::new("unshare")
            .args([
                "--fork",
                "--pid",
                "--mount-proc",
                "sh",
                "-c",
                script,
                "sh",
                "setpriv",
            ])
            .args(command.get_args())
            .output();
        let ran = Ran::from(output.unwrap());
        assert_eq!(
            (ran.status, ran.out.as_str()),
            (0, "ran\n"),
            "{who:?} {ran:?}"
        );
    }
}

#[test]
fn without_an_init_the_command_is_pid_1() {
    for who in Who::all() {
        let mut fixture = Fixture::new(who, "echo $$; exit 3");
        fixture.spec.init = false;
        let ran = fixture.run();
        assert_eq!(
            (ran.status, ran.out.as_str()),
            (3, "1\n"),
            "{who:?} {ran:?}"
        );
    }
}

#[test]
fn signals_and_failures_have_a_shell_s_statuses() {
    for who in Who::all() {
        for (script, expected) in [
            ("kill -TERM $$", 143),
            ("kill -KILL $$", 137),
            ("exit 255", 255),
        ] {
            assert_eq!(
                Fixture::new(who, script).run().status,
                expected,
                "{who:?} {script}"
            );
        }
        let mut fixture = Fixture::new(who, "");
        fs::write(fixture.base("bin/no-interpreter"), "#!/nowhere\n").unwrap();
        fs::write(fixture.base("bin/no-program"), "junk").unwrap();
        fs::write(fixture.base("bin/closed"), "#!/bin/sh\n").unwrap();
        for name in ["no-interpreter", "no-program"] {
            fs::set_permissions(
                fixture.base("bin").join(name),
                fs::Permissions::from_mode(0o755),
            )
            .unwrap();
        }
        for (program, status, words) in [
            ("nope", 127, "no such program"),
            ("/bin/nope", 127, "no such program"),
            ("no-interpreter", 126, "interpreter"),
            ("no-program", 126, "#! line"),
            ("closed", 126, "denied"),
        ] {
            fixture.spec.command = vec![program.to_owned()];
            let ran = fixture.run();
            assert_eq!(ran.status, status, "{who:?} {program} {ran:?}");
            assert!(ran.err.contains(words), "{who:?} {program} {ran:?}");
        }
    }
}

#[test]
fn only_named_paths_can_be_written_and_the_upper_directory_stays_clean() {
    for who in Who::all() {
        let mut fixture = Fixture::new(
            who,
            "touch /etc/x && exit 1; touch /x && exit 2; touch /opt/x && exit 3; \
             touch /opt/app-root/x || exit 4; touch /run/y || exit 5; touch /mnt/ro/z && exit 6; \
             cat /run/warpdrive/secret /etc/resolv.conf; stat -c '%u:%g %a' /run/warpdrive/secret; \
             ls /mnt/ro; exit 0",
        );
        let host = fixture.place.path().join("host");
        fs::create_dir(&host).unwrap();
        fs::write(host.join("file"), "").unwrap();
        fixture.spec.mounts = vec![
            Mount::Tmpfs {
                target: "/run".into(),
                size: Some(1 << 20),
                mode: 0o1777,
            },
            Mount::File {
                target: "/run/warpdrive/secret".into(),
                contents: b"s3\n".to_vec(),
                mode: 0o400,
            },
            Mount::File {
                target: "/etc/resolv.conf".into(),
                contents: b"ns\n".to_vec(),
                mode: 0o444,
            },
            Mount::Bind {
                source: host,
                target: "/mnt/ro".into(),
                read_only: true,
            },
        ];
        let ran = fixture.run();
        assert_eq!(ran.status, 0, "{who:?} {ran:?}");
        assert_eq!(ran.out, "s3\nns\n1001:0 400\nfile\n", "{who:?}");
        assert_eq!(
            fixture.upper(),
            ["opt", "opt/app-root", "opt/app-root/x"],
            "{who:?}"
        );
    }
}

#[test]
fn a_root_without_an_upper_directory_is_read_only() {
    for who in Who::all() {
        let mut fixture = Fixture::new(who, "touch /opt/app-root/x || echo refused");
        fixture.spec.root.upper = None;
        fixture.spec.root.writable_only = None;
        let ran = fixture.run();
        assert_eq!(ran.out, "refused\n", "{who:?} {ran:?}");
    }
}

#[test]
fn hostile_links_do_not_lead_mounts_out_of_the_root() {
    for who in Who::all() {
        let mut fixture = Fixture::new(who, "cat /etc/a /run/b /run/systemd/c /dir/d /up/etc/e");
        let outside = fixture.place.path().join("outside");
        fs::create_dir(&outside).unwrap();
        // Absolute, relative and dangling links, and one that climbs.
        symlink(outside.join("a"), fixture.base("etc/a")).unwrap();
        symlink("/var/run", fixture.base("run")).unwrap();
        fs::create_dir_all(fixture.base("var/run/systemd")).unwrap();
        symlink(
            "../../../../../../../etc/hostile",
            fixture.base("var/run/systemd/c"),
        )
        .unwrap();
        symlink(&outside, fixture.base("dir")).unwrap();
        symlink("../../../..", fixture.base("up")).unwrap();
        fixture.spec.mounts = ["/etc/a", "/run/b", "/run/systemd/c", "/dir/d", "/up/etc/e"]
            .map(|target| Mount::File {
                target: target.into(),
                contents: format!("{target}\n").into_bytes(),
                mode: 0o444,
            })
            .to_vec();
        let ran = fixture.run();
        assert_eq!(
            ran.out, "/etc/a\n/run/b\n/run/systemd/c\n/dir/d\n/up/etc/e\n",
            "{who:?} {ran:?}"
        );
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{who:?}");
        assert!(fixture.upper().is_empty(), "{who:?} {:?}", fixture.upper());
    }
}

#[test]
fn what_an_image_s_layer_hides_can_be_mounted_on() {
    for who in Who::all() {
        let mut fixture = Fixture::new(
            who,
            "cat /run/a/b /etc/gone; ls /run; stat -c %a /run /etc; stat -c %Y /run",
        );
        let top = fixture.place.path().join("top");
        fs::create_dir_all(top.join("run")).unwrap();
        fs::create_dir_all(top.join("etc")).unwrap();
        fs::create_dir_all(fixture.base("run/hidden")).unwrap();
        fs::write(fixture.base("etc/gone"), "").unwrap();
        for (name, mode) in [("run", 0o775), ("etc", 0o751)] {
            fs::set_permissions(top.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let attribute = if who == Who::Root {
            "trusted.overlay.opaque"
        } else {
            "user.overlay.opaque"
        };
        rustix::fs::setxattr(
            top.join("run"),
            attribute,
            b"y",
            rustix::fs::XattrFlags::empty(),
        )
        .unwrap();
        let white_out = Command::new("mknod")
            .arg(top.join("etc/gone"))
            .args(["c", "0", "0"])
            .status();
        assert!(white_out.unwrap().success());
        let touched = Command::new("touch")
            .args(["-d", "@1000000000"])
            .arg(top.join("run"))
            .status();
        assert!(touched.unwrap().success());
        fixture.spec.root.lowers.insert(0, top);
        fixture.spec.mounts = ["/run/a/b", "/etc/gone"]
            .map(|target| Mount::File {
                target: target.into(),
                contents: format!("{target}\n").into_bytes(),
                mode: 0o444,
            })
            .to_vec();
        let ran = fixture.run();
        assert_eq!(
            ran.out, "/run/a/b\n/etc/gone\na\n775\n751\n1000000000\n",
            "{who:?} {ran:?}"
        );
        assert!(fixture.upper().is_empty(), "{who:?} {:?}", fixture.upper());
    }
}

#[test]
fn impossible_mounts_and_directories_are_refused_in_words() {
    for who in Who::all() {
        let file = |target: &str| Mount::File {
            target: target.into(),
            contents: Vec::new(),
            mode: 0o444,
        };
        for (target, words) in [
            ("etc/x", "absolute"),
            ("/a/../b", "without `..`"),
            ("/etc", "a file on a directory"),
            ("/sys/x", "may be made"),
        ] {
            let mut fixture = Fixture::new(who, "exit 0");
            fixture.spec.mounts = vec![file(target)];
            let ran = fixture.run();
            assert_eq!(ran.status, 125, "{who:?} {target} {ran:?}");
            assert!(ran.err.contains(words), "{who:?} {target} {ran:?}");
        }
        for cwd in [
            "/nowhere",
            "/proc/self/fd/3",
            "/proc/self/fd/4/..",
            "/proc/self/fd/9",
        ] {
            let mut fixture = Fixture::new(who, "ls");
            fixture.spec.cwd = cwd.into();
            let ran = fixture.run();
            assert_eq!(ran.status, 125, "{who:?} {cwd} {ran:?}");
            assert!(
                ran.err.contains("working directory"),
                "{who:?} {cwd} {ran:?}"
            );
        }
    }
}

#[test]
fn a_missing_id_is_explained() {
    for who in Who::all() {
        let mut fixture = Fixture::new(who, "id -u; id -g");
        (fixture.spec.uid, fixture.spec.gid) = (33, 33);
        let ran = fixture.run();
        if who == Who::Single {
            assert_eq!(ran.status, 125, "{ran:?}");
            assert!(ran.err.contains("/etc/subuid"), "{ran:?}");
        } else {
            assert_eq!(ran.out, "33\n33\n", "{who:?} {ran:?}");
        }
    }
}

#[test]
fn odd_paths_and_many_layers_are_mounted() {
    for who in Who::all() {
        let mut fixture = Fixture::new(who, "ls / | grep -c layer; cat /which");
        let long = "x".repeat(200);
        let mut lowers = Vec::new();
        for number in 0..130 {
            let layer = fixture
                .place
                .path()
                .join(format!("a:b,c\\d e{long}/{number}"));
            fs::create_dir_all(&layer).unwrap();
            fs::write(layer.join(format!("layer{number}")), "").unwrap();
            fs::write(layer.join("which"), format!("{number}\n")).unwrap();
            lowers.push(layer);
        }
        lowers.append(&mut fixture.spec.root.lowers);
        fixture.spec.root.lowers = lowers;
        let ran = fixture.run();
        assert_eq!(ran.out, "130\n0\n", "{who:?} {ran:?}");
    }
}

#[test]
fn a_time_out_an_interrupt_and_a_kill_leave_nothing() {
    for who in Who::all() {
        for init in [true, false] {
            let mark = format!("31415.{}{}", who as u8, u8::from(init));
            // One that ignores SIGTERM, in a session of its own.
            let script =
                format!("(trap '' TERM; sleep {mark}) & trap '' TERM; sleep {mark}; sleep {mark}");
            let mut fixture = Fixture::new(who, &script);
            fixture.spec.init = init;
            fixture.spec.limits.timeout = Some(Duration::from_millis(300));
            // Without the time limit it would take hours.
            assert_eq!(fixture.run().status, 124, "{who:?} {init}");
            assert_eq!(
                processes_with(&format!("sleep {mark}")),
                [""; 0],
                "{who:?} {init}"
            );

            fixture.spec.limits.timeout = None;
            for (signal, expected) in [("-INT", Some(130)), ("-TERM", Some(130)), ("-KILL", None)] {
                let mut driver = fixture.command(&[]).spawn().unwrap();
                eventually("it runs", || {
                    processes_with(&format!("sleep {mark}")).len() >= 2
                });
                let kill = Command::new("kill")
                    .arg(signal)
                    .arg(driver.id().to_string())
                    .status();
                assert!(kill.unwrap().success());
                let status = driver.wait().unwrap();
                assert_eq!(status.code(), expected, "{who:?} {init} {signal}");
                eventually("all are gone", || {
                    processes_with(&format!("sleep {mark}")).is_empty()
                });
                let spec = fixture.place.path().display().to_string();
                eventually("we are gone", || processes_with(&spec).is_empty());
            }
        }
    }
}

#[test]
fn what_the_command_leaves_behind_is_killed() {
    for who in Who::all() {
        let mark = format!("27182.{}", who as u8);
        let fixture = Fixture::new(who, &format!("sleep {mark} > /dev/null 2>&1 & exit 5"));
        assert_eq!(fixture.run().status, 5, "{who:?}");
        assert_eq!(processes_with(&format!("sleep {mark}")), [""; 0], "{who:?}");
    }
}

#[test]
fn a_script_cannot_get_at_our_executable() {
    for who in Who::all() {
        let mut fixture = Fixture::new(who, "");
        let before = fs::metadata(executables().join("warpdrive")).unwrap();
        for (name, text) in [
            ("attack", "#!/proc/self/exe\n"),
            ("attack-run", "#!/proc/self/exe __sandbox-run\n{}"),
        ] {
            fs::write(fixture.base("bin").join(name), text).unwrap();
            fs::set_permissions(
                fixture.base("bin").join(name),
                fs::Permissions::from_mode(0o755),
            )
            .unwrap();
            fixture.spec.command = vec![name.to_owned()];
            for init in [true, false] {
                fixture.spec.init = init;
                let _ = fixture.run();
            }
        }
        let after = fs::metadata(executables().join("warpdrive")).unwrap();
        assert_eq!(
            (before.len(), before.mtime_nsec(), before.ino()),
            (after.len(), after.mtime_nsec(), after.ino())
        );
        // The supervisor in the same pid namespace, with the same user, keeps its secrets.
        let fixture = Fixture::new(
            who,
            "for f in exe environ maps mem; do cat /proc/1/$f > /dev/null && echo $f; done; \
             ls /proc/1/fd > /dev/null && echo descriptors; ls /proc/1/root/ > /dev/null && echo root; echo end",
        );
        let ran = fixture.run();
        assert_eq!(ran.out.lines().last(), Some("end"), "{who:?} {ran:?}");
        assert_eq!(ran.out.lines().count(), 1, "{who:?} {ran:?}");
    }
}

#[test]
fn a_terminal_is_the_sandbox_s_own() {
    for who in Who::all() {
        let ran = Fixture::new(
            who,
            "tty; stat -c %u /dev/pts/0; echo hi > /dev/tty; exit 6",
        )
        .run_with(&["--terminal"]);
        assert_eq!(ran.status, 6, "{who:?} {ran:?}");
        assert_eq!(ran.out, "/dev/pts/0\r\n1001\r\nhi\r\n", "{who:?} {ran:?}");
    }
}

#[test]
fn streams_can_be_opened_again() {
    for who in Who::all() {
        let fixture = Fixture::new(who, "echo out > /dev/stdout; echo err > /dev/stderr");
        // Pipes of the user's own making, as a shell makes them.
        let command = fixture.command(&[]);
        let words: Vec<_> = command.get_args().collect();
        let (setpriv, program) = words.split_at(5);
        let output = Command::new("setpriv")
            .args(setpriv)
            .args(["sh", "-c", r#"{ "$@" 2>&1; } | cat"#, "sh"])
            .args(program)
            .output()
            .unwrap();
        assert_eq!(Ran::from(output).out, "out\nerr\n", "{who:?}");
    }
}

#[test]
fn a_port_inside_is_reached_through_the_dialer() {
    for who in Who::all() {
        let ran =
            Fixture::new(who, "echo hello | nc -l -p 8000; sleep 9").run_with(&["--dial", "8000"]);
        assert_eq!(ran.out, "hello\n", "{who:?} {ran:?}");
    }
}

#[test]
fn a_command_with_a_private_network_runs_with_a_note_of_it() {
    for who in Who::all() {
        let mut fixture = Fixture::new(who, "echo ran");
        fixture.spec.network = Network::Private;
        let ran = fixture.run();
        assert_eq!(ran.out, "ran\n", "{who:?} {ran:?}");
        assert!(ran.err.contains("outbound network"), "{who:?} {ran:?}");
    }
}

/// Starts a sandbox that stays, and says its process id.
fn start(fixture: &Fixture) -> (Child, String) {
    let mut driver = fixture
        .command(&["--pid"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(driver.stderr.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let pid = line
        .trim()
        .strip_prefix("pid ")
        .unwrap_or_else(|| panic!("{line}"))
        .to_owned();
    (driver, pid)
}

#[test]
fn another_command_joins_a_sandbox() {
    for who in Who::all() {
        for init in [true, false] {
            let mut first = Fixture::new(who, "echo first > /opt/app-root/file; sleep 60; exit 0");
            first.spec.init = init;
            let (mut driver, pid) = start(&first);
            let second = Fixture::new(
                who,
                "cat /opt/app-root/file; hostname; id -u; grep -E '^(CapEff|Seccomp:)' /proc/self/status; \
                 cat /proc/1/comm; exit 9",
            );
            eventually("the file is there", || {
                first.place.path().join("upper/opt/app-root/file").exists()
            });
            let ran = second.run_with(&["--join", &pid]);
            assert_eq!(ran.status, 9, "{who:?} {ran:?}");
            assert!(
                ran.out
                    .starts_with("first\nbox\n1001\nCapEff:\t0000000000000000\nSeccomp:\t2\n"),
                "{who:?} {ran:?}"
            );
            driver.kill().unwrap();
            driver.wait().unwrap();
            let ran = second.run_with(&["--join", &pid]);
            assert_eq!(ran.status, 125, "{who:?} {ran:?}");
        }
        let ran =
            Fixture::new(who, "exit 0").run_with(&["--join", &std::process::id().to_string()]);
        assert_eq!(ran.status, 125, "a process in no sandbox: {who:?} {ran:?}");
    }
}

#[test]
fn limits_are_enforced_or_refused() {
    for who in Who::all() {
        let mut fixture = Fixture::new(
            who,
            "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 1 & done; echo all; exit 0",
        );
        fixture.spec.limits.pids = Some(8);
        let ran = fixture.run();
        // A user to whom no control group was delegated; with one, the limit holds.
        if ran.status == 125 && who != Who::Root {
            assert!(
                ran.err
                    .contains("the limit on pids cannot be enforced here"),
                "{ran:?}"
            );
            fixture.spec.limits.best_effort = true;
            fixture.spec.command[2] = "echo ran".to_owned();
            let ran = fixture.run();
            assert_eq!((ran.status, ran.out.as_str()), (0, "ran\n"), "{ran:?}");
            assert!(ran.err.contains("no limit: the limit on pids"), "{ran:?}");
            continue;
        }
        assert!(
            !ran.out.contains("all") || ran.err.contains("fork"),
            "{who:?} {ran:?}"
        );
        let mut fixture = Fixture::new(
            who,
            "head -c 200000000 /dev/zero | tail -c 150000000 > /dev/null",
        );
        fixture.spec.limits.memory = Some(64 << 20);
        fixture.spec.limits.cpus = Some(1.5);
        let ran = fixture.run();
        assert_ne!(ran.status, 0, "{who:?} {ran:?}");
    }
}

/// Not a test: the program that a test runs inside of a sandbox, with this machine's libraries; it tries what must
/// be refused. Without the variable it does nothing.
#[test]
fn helper_inside() {
    let Some(name) = std::env::var_os("WARPDRIVE_TEST_ABSTRACT") else {
        return;
    };
    // SAFETY: the arguments are junk on purpose; each call has to be refused before it looks.
    let refused = |number: i64| unsafe {
        let result = libc::syscall(number, 0_usize, 0_usize, 0_usize, 0_usize, 0_usize);
        (result < 0)
            .then(|| std::io::Error::last_os_error().raw_os_error())
            .flatten()
    };
    for (name, number) in [
        ("mount", libc::SYS_mount),
        ("umount2", libc::SYS_umount2),
        ("unshare", libc::SYS_unshare),
        ("setns", libc::SYS_setns),
        ("pivot_root", libc::SYS_pivot_root),
        ("ptrace", libc::SYS_ptrace),
        ("keyctl", libc::SYS_keyctl),
        ("add_key", libc::SYS_add_key),
        ("bpf", libc::SYS_bpf),
        ("userfaultfd", libc::SYS_userfaultfd),
        ("perf_event_open", libc::SYS_perf_event_open),
        ("io_uring_setup", libc::SYS_io_uring_setup),
        ("kexec_load", libc::SYS_kexec_load),
        ("process_vm_readv", libc::SYS_process_vm_readv),
        ("fsopen", libc::SYS_fsopen),
        ("x32 write", 0x4000_0001),
    ] {
        let errno = refused(number);
        let expected = if number > 0x4000_0000 {
            libc::ENOSYS
        } else {
            libc::EPERM
        };
        println!(
            "{name} {}",
            if errno == Some(expected) {
                "refused"
            } else {
                "NOT REFUSED"
            }
        );
    }
    println!("clone3 {:?}", refused(libc::SYS_clone3));
    println!("future {:?}", refused(9999));
    // SAFETY: a clone of a new user namespace with no stack is a fork, if it were not refused.
    let cloned = unsafe {
        libc::syscall(
            libc::SYS_clone,
            libc::CLONE_NEWUSER | libc::SIGCHLD,
            0,
            0,
            0,
            0,
        )
    };
    println!(
        "clone {}",
        if cloned < 0 { "refused" } else { "NOT REFUSED" }
    );
    // SAFETY: only a socket is made.
    let vsock = unsafe { libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0) };
    println!(
        "vsock {}",
        if vsock < 0 { "refused" } else { "NOT REFUSED" }
    );
    let address = SocketAddr::from_abstract_name(name.as_encoded_bytes()).unwrap();
    let connected = UnixStream::connect_addr(&address).map_err(|error| error.raw_os_error());
    println!("abstract {connected:?}");
    let thread = std::thread::spawn(|| 5).join().unwrap();
    println!("threads {thread}");
}

#[test]
fn dangerous_system_calls_and_foreign_abstract_sockets_are_out_of_reach() {
    for who in Who::all() {
        let name = format!("warpdrive-test-{}-{who:?}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let _listener = UnixListener::bind_addr(&address).unwrap();
        assert!(UnixStream::connect_addr(&address).is_ok());
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
        fixture.spec.network = Network::Host;
        fixture.spec.command = vec![
            "/probe/tests".into(),
            "--exact".into(),
            "sandbox::helper_inside".into(),
            "--nocapture".into(),
        ];
        fixture
            .spec
            .env
            .push(("WARPDRIVE_TEST_ABSTRACT".into(), name));
        let ran = fixture.run();
        assert_eq!(ran.status, 0, "{who:?} {ran:?}");
        assert!(!ran.out.contains("NOT REFUSED"), "{who:?} {}", ran.out);
        for line in [
            "mount refused",
            "clone3 Some(38)",
            "future Some(38)",
            "clone refused",
            "vsock refused",
            "abstract Err(Some(1))",
            "threads 5",
        ] {
            assert!(ran.out.contains(line), "{who:?} {line}: {}", ran.out);
        }
    }
}

#[test]
fn the_machine_s_own_mounts_are_untouched() {
    let read = || {
        let mut text = String::new();
        fs::File::open("/proc/self/mountinfo")
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    };
    let before = read();
    for who in Who::all() {
        assert_eq!(Fixture::new(who, "exit 0").run().status, 0);
    }
    assert_eq!(before, read());
}
