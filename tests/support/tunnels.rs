//! A machine whose users may carry traffic out of namespaces, whatever the one that the tests run on allows.

use std::process::{Command, Stdio};

use super::process;

/// A machine has `/dev/net/tun` for everybody, but the one that the tests run on may not: the command
/// gets a mount namespace in which it is so, and no program to carry traffic but this one.
pub fn with_a_device_for_tunnels(command: &Command, carrier: &str) -> Command {
    let mut wrapped = Command::new("unshare");
    wrapped
        .args(["--mount", "sh", "-c"])
        .arg(
            "set -e; mkdir -p /dev/net; mount -t tmpfs none /dev/net; \
             mknod -m 666 /dev/net/tun c 10 200; \
             while test $1 != --; do mount --bind /dev/null $1; shift; done; shift; exec \"$@\"",
        )
        .arg("sh");
    for program in ["slirp4netns", "pasta"] {
        if program != carrier {
            wrapped.arg(process::tool(program).canonicalize().unwrap());
        }
    }
    wrapped
        .arg("--")
        .arg(command.get_program())
        .args(command.get_args())
        .stdin(Stdio::null());
    wrapped
}
