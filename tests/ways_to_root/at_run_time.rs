//! Ways that need the links within one layer, which engines follow, or what root's programs ask while a
//! container runs: the message bus, records of accounts.

use std::fs;

use super::{ACCOUNTS, Case, Engine, Layer, Parts, SU, case, pick, try_each_on};

const PACKAGES: [&str; 5] = ["pkexec", "dbus", "at", "libnss-systemd", "libnss-sss"];

/// The files of [`PACKAGES`] that run as others, and what the name service loads.
fn with_what_asks(parts: &Parts, layer: Layer) -> Layer {
    let read = |package: &str, path: &str| fs::read(parts.path(package).join(path)).unwrap();
    let libraries = "usr/lib/x86_64-linux-gnu";
    let module = |package: &str, name: &str| {
        let path = ["", "usr/"].map(|usr| {
            let path = format!("{usr}lib/x86_64-linux-gnu/{name}");
            parts.path(package).join(path)
        });
        let path = path.iter().find(|path| path.exists());
        fs::read(path.expect("the module")).unwrap()
    };
    let helper = "usr/lib/dbus-1.0/dbus-daemon-launch-helper";
    let layer = layer
        .file("usr/bin/pkexec", 0o4755, read("pkexec", "usr/bin/pkexec"))
        .owned(helper, 0o4754, (0, 101), read("dbus", helper))
        .owned("usr/bin/at", 0o6755, (1, 1), read("at", "usr/bin/at"))
        .dir("var/spool/cron/atjobs", 0o1770, (1, 1))
        .file(
            &format!("{libraries}/libnss_systemd.so.2"),
            0o644,
            module("libnss-systemd", "libnss_systemd.so.2"),
        )
        .file(
            &format!("{libraries}/libnss_sss.so.2"),
            0o644,
            module("libnss-sss", "libnss_sss.so.2"),
        );
    PACKAGES
        .iter()
        .fold(layer, |layer, package| parts.list_of(layer, package))
}

/// The user's own record of root's twin, where the image lets it be written.
const ADD: &str = "echo 'r::0:0::/root:/bin/sh' >>/etc/passwd; su r -c 'id -u'";

pub(super) fn of_links_within_a_layer(parts: &Parts) -> Vec<Case> {
    let passwd = |layer: Layer| layer.file("etc/passwd", 0o644, ACCOUNTS);
    let other = parts.shipped("etc/pam.d/other");
    let own = (1001, 1001);
    vec![
        case("hard-link-through-a-link", "layer-path", ADD, |way| {
            let layer = passwd(Layer::new()).symlink("opt/l", pick(way, "/etc", "/srv"));
            let layer = layer.owned("opt/own/passwd", 0o644, own, "");
            layer.owned_hard_link(
                "opt/own/x",
                0o644,
                own,
                pick(way, "opt/l/passwd", "opt/own/passwd"),
            )
        }),
        case("hard-link-with-dots", "layer-path", ADD, |way| {
            let layer = passwd(Layer::new()).owned("opt/own/passwd", 0o644, own, "");
            let target = pick(way, "opt/../etc/passwd", "opt/own/passwd");
            layer.owned_hard_link("opt/own/x", 0o644, own, target)
        }),
        case("removal-through-a-link", "layer-path", SU, |way| {
            let line = pick(
                way,
                "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n",
                "",
            );
            let other = [line.as_bytes(), &other].concat();
            let layer = Layer::new().file("etc/pam.d/other", 0o644, other);
            let layer = if way {
                layer.symlink("opt/l", "/etc/pam.d")
            } else {
                layer.dir("opt/l", 0o755, (0, 0))
            };
            layer.whiteout("opt/l/su")
        }),
    ]
}

fn of_what_root_asks(parts: &Parts, _: &Engine) -> Vec<Case> {
    let other = parts.shipped("etc/pam.d/other");
    let owner = |way: bool| if way { (1001, 1001) } else { (0, 0) };
    let directory = move |name: &'static str, path: &'static str| {
        case(name, "name-service", "", move |way| {
            Layer::new().dir(path, 0o755, owner(way))
        })
    };
    let records = move |name: &'static str, path: &'static str| {
        case(name, "name-service", "", move |way| {
            Layer::new()
                .file(
                    "etc/nsswitch.conf",
                    0o644,
                    "passwd: files systemd\nshadow: files systemd\n",
                )
                .dir(path, 0o755, owner(way))
        })
    };
    vec![
        directory("bus", "run/dbus"),
        directory("parent-of-the-bus", "run"),
        records("records", "run/userdb"),
        records("records-of-the-host", "run/host/userdb"),
        records("parent-of-records", "run/host"),
        records("sockets-for-records", "run/systemd/userdb"),
        records("local-records", "usr/local/lib/userdb"),
        case("a-link-to-run", "name-service", "", |way| {
            Layer::new().symlink("var/run", pick(way, "/opt/own", "/run"))
        }),
        case("a-link-to-var", "name-service", "", |way| {
            if way {
                Layer::new().symlink("var", "/opt/own")
            } else {
                Layer::new()
            }
        }),
        case("helper-of-the-bus", "account-mapping", "", |way| {
            let members = pick(way, "app", "");
            Layer::new().file(
                "etc/group",
                0o644,
                format!("root:x:0:\nshadow:x:42:\nmessagebus:x:101:{members}\napp:x:1001:\n"),
            )
        }),
        // podman refuses it.
        case("removal-of-what-the-layer-has", "layer-path", "", |way| {
            let line = pick(
                way,
                "auth sufficient pam_permit.so\naccount sufficient pam_permit.so\n",
                "",
            );
            let su = parts.shipped("etc/pam.d/su");
            let other = [line.as_bytes(), &other].concat();
            let layer =
                Layer::new()
                    .file("etc/pam.d/other", 0o644, other)
                    .file("etc/pam.d/su", 0o644, su);
            if way {
                layer.whiteout("etc/pam.d/su")
            } else {
                layer
            }
        }),
        case("new-file-of-accounts", "account-unreadable", "", |way| {
            if way {
                Layer::new().symlink("etc/nshadow", "/opt/own/shadow")
            } else {
                Layer::new().file("etc/nshadow", 0o600, "")
            }
        }),
        case("old-passwords", "account-unreadable", "", |way| {
            let target = "/opt/own/passwords";
            let name = pick(way, "etc/security/nopasswd", "opt/own/nopasswd");
            Layer::new().symlink(name, target)
        }),
        case("memory-of-sssd", "name-service", "", |way| {
            let layer = Layer::new()
                .file("etc/nsswitch.conf", 0o644, "passwd: files sss\n")
                .dir("var/lib/sss/mc", 0o755, (0, 0));
            if way {
                layer.file("var/lib/sss/mc/passwd", 0o644, "x")
            } else {
                layer
            }
        }),
    ]
}

#[test]
fn ways_through_what_root_asks_at_run_time() {
    try_each_on(&PACKAGES, with_what_asks, of_what_root_asks, false);
}
