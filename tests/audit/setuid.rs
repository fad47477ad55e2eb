//! Programs that run as somebody else, capabilities, devices.

use warpdrive::audit::Severity::{High, Low, Medium};

use crate::audit::verdict::{breaks, keeps};
use crate::support::made::Layer;
use crate::support::sound::{SU, audit_of, found, md5_of, with};

#[test]
fn known_setuid_programs_by_path_and_content() {
    breaks(
        &with(Layer::new().file("usr/bin/su", 0o4755, "bash")),
        "setuid-changed",
        High,
    );
    breaks(
        &with(Layer::new().file("usr/bin/mount", 0o4755, "mount")),
        "setuid-unowned",
        High,
    );
    // A list of digests without a run of dpkg proves nothing, and takes no proof away.
    let forged = Layer::new().file("usr/bin/su", 0o4755, "bash").file(
        "var/lib/dpkg/info/login.md5sums",
        0o644,
        format!("{}  bin/su\n", md5_of(b"bash")),
    );
    breaks(&with(forged), "setuid-changed", High);
    let taken = || Layer::new().whiteout("var/lib/dpkg/info/login.md5sums");
    assert_eq!(found(&audit_of(&with(taken()))), []);
    let changed = taken().file("usr/bin/su", 0o4755, "bash");
    breaks(&with(changed), "setuid-changed", High);
    let upgraded = Layer::new()
        .file("usr/bin/su", 0o4755, "su 2")
        .file("var/lib/dpkg/status", 0o644, "Package: login\n")
        .file(
            "var/lib/dpkg/info/login.md5sums",
            0o644,
            format!("{}  usr/bin/su\n", md5_of(b"su 2")),
        );
    // An upgrade and an exchange look alike.
    assert_eq!(
        found(&audit_of(&with(upgraded))),
        [("self-vouched", Medium)]
    );
    // The content is the package's, the bit is not.
    let bash = Layer::new()
        .file("usr/bin/bash", 0o4711, "bash")
        .file("var/lib/dpkg/status", 0o644, "")
        .file(
            "var/lib/dpkg/info/bash.md5sums",
            0o644,
            format!("{}  bin/bash\n", md5_of(b"bash")),
        );
    breaks(&with(bash), "setuid", High);
    breaks(
        &with(Layer::new().owned("usr/bin/x", 0o4755, (7, 0), "")),
        "setuid",
        Medium,
    );
    // Not where the distribution has it.
    breaks(
        &with(Layer::new().file("usr/local/bin/su", 0o4755, SU)),
        "setuid",
        High,
    );
}

#[test]
fn setgid_capabilities_and_links() {
    breaks(
        &with(Layer::new().file("usr/bin/x", 0o2755, "")),
        "setgid",
        High,
    );
    breaks(
        &with(Layer::new().owned("usr/bin/x", 0o2755, (0, 42), "")),
        "setgid",
        High,
    );
    breaks(
        &with(Layer::new().owned("usr/bin/x", 0o2755, (0, 50), "")),
        "setgid",
        Medium,
    );
    keeps(
        &with(Layer::new().owned("usr/bin/x", 0o2644, (0, 0), "")),
        "setgid",
    );
    keeps(
        &with(Layer::new().dir("srv/shared", 0o2755, (0, 0))),
        "setgid",
    );
    let capability = |bit: u32, name: &str| {
        let mut value = 0x0200_0001_u32.to_le_bytes().to_vec();
        value.extend((1_u32 << bit).to_le_bytes());
        value.extend([0; 12]);
        with(
            Layer::new()
                .xattr("security.capability", &value)
                .file(name, 0o755, "x"),
        )
    };
    breaks(&capability(7, "usr/bin/python3"), "capability", High);
    breaks(&capability(13, "usr/bin/python3"), "capability", Medium);
    breaks(&capability(13, "usr/bin/ping"), "setuid-unowned", Medium);
    breaks(&capability(7, "usr/bin/ping"), "capability", High);
    let plain = Layer::new()
        .xattr("user.note", b"x")
        .file("usr/bin/python3", 0o755, "x");
    keeps(&with(plain), "capability");

    // A second name of a setuid file, and a bit that comes with the second name.
    let link = Layer::new()
        .file("usr/bin/su", 0o4755, SU)
        .hard_link("opt/su", 0o755, "usr/bin/su");
    breaks(&with(link), "setuid", High);
    let link = Layer::new()
        .file("opt/a", 0o755, "x")
        .hard_link("opt/b", 0o4755, "opt/a");
    breaks(&with(link), "setuid", High);
    let link = Layer::new()
        .file("opt/a", 0o755, "x")
        .hard_link("opt/b", 0o755, "opt/a");
    keeps(&with(link), "setuid");
}

#[test]
fn devices() {
    breaks(
        &with(Layer::new().device("srv/disk", true, 8, 0)),
        "device",
        High,
    );
    breaks(
        &with(Layer::new().device("dev/mem", false, 1, 1)),
        "device",
        High,
    );
    breaks(
        &with(Layer::new().device("dev/null", false, 1, 3)),
        "device",
        Low,
    );
    keeps(
        &with(Layer::new().device("dev/mem", false, 1, 1)).layer(Layer::new().whiteout("dev/mem")),
        "device",
    );
}

/// Directories of libraries and modules that are links to elsewhere.
#[test]
fn libraries_behind_links() {
    let switch = "passwd: own files\n";
    let library = |link: &str, name: &str| {
        with(
            Layer::new()
                .symlink(link, "/opt/own")
                .file(&format!("opt/own/{name}"), 0o644, "x")
                .file("etc/nsswitch.conf", 0o644, switch),
        )
    };
    for link in [
        "usr/lib/x86_64-linux-gnu",
        "usr/lib/x86_64-linux-gnu/glibc-hwcaps/x86-64-v3",
        "lib64",
    ] {
        breaks(&library(link, "libnss_own.so.2"), "library", High);
        // What is missing there may be put there.
        breaks(&library(link, "libnss_other.so.2"), "library", High);
    }
    let module = |place: &str, name: &str| {
        with(
            Layer::new()
                .symlink("usr/lib/x86_64-linux-gnu/security", &format!("/{place}"))
                .file(&format!("{place}/pam_permit.so"), 0o644, "x")
                .file("etc/pam.d/su", 0o644, format!("auth sufficient {name}\n")),
        )
    };
    breaks(&module("opt/own", "pam_permit.so"), "pam", High);
    breaks(&module("opt/own", "pam_permit.so"), "library", High);
    breaks(&module("opt/own", "pam_other.so"), "pam", High);
    keeps(&module("usr/lib/own", "pam_other.so"), "pam");
}

/// Where PAM's rules lie that no directory of rules has.
#[test]
fn rules_of_pam_in_odd_places() {
    let modules = || {
        let directory = "usr/lib/x86_64-linux-gnu/security";
        Layer::new()
            .file(&format!("{directory}/pam_permit.so"), 0o644, "x")
            .file(&format!("{directory}/pam_deny.so"), 0o644, "x")
    };
    let include = |line: &str, file: &str| {
        with(
            modules()
                .file("etc/pam.d/su", 0o644, format!("{line}\n"))
                .file(file, 0o644, "auth sufficient pam_permit.so\n"),
        )
    };
    for line in [
        "@include /opt/x",
        "@include ../../opt/x",
        "auth substack ../../opt/x",
    ] {
        breaks(&include(line, "opt/x"), "account-unreadable", High);
        let within = line.replace("opt", "etc");
        keeps(&include(&within, "opt/y"), "account-unreadable");
    }
    breaks(&include("@include ../pam.d/x", "etc/pam.d/x"), "pam", High);
    let link = |to: &str| {
        with(
            modules()
                .symlink("etc/pam.d", to)
                .file("opt/rules/su", 0o644, "auth sufficient pam_permit.so\n")
                .file("usr/lib/pam.d/su", 0o644, "auth required pam_deny.so\n"),
        )
    };
    breaks(&link("/opt/rules"), "account-unreadable", High);
    keeps(&link("/usr/lib/pam.d"), "account-unreadable");
    let one_file = |line: &str| with(modules().file("etc/pam.conf", 0o644, format!("{line}\n")));
    breaks(&one_file("su auth sufficient pam_permit.so"), "pam", High);
    keeps(&one_file("su auth required pam_deny.so"), "pam");
}

/// Character sets are converted by modules, and which one is the caller's choice.
#[test]
fn conversions_of_character_sets() {
    let module =
        |directory: &str| with(Layer::new().file(&format!("{directory}/IBM037.so"), 0o644, "x"));
    breaks(&module("usr/lib/x86_64-linux-gnu/gconv"), "library", High);
    keeps(&module("opt/app-root/lib/gconv-of-mine"), "library");
    // The lists name modules in any place.
    let list = |path: &str| with(Layer::new().file(path, 0o644, "module X// INTERNAL /opt/x 1\n"));
    for path in [
        "usr/lib/x86_64-linux-gnu/gconv/gconv-modules",
        "usr/lib/x86_64-linux-gnu/gconv/gconv-modules.cache",
        "usr/lib/x86_64-linux-gnu/gconv/gconv-modules.d/own.conf",
        "usr/lib64/gconv/gconv-modules",
    ] {
        breaks(&list(path), "library", High);
    }
    for path in [
        "opt/app-root/gconv/gconv-modules",
        "usr/lib/x86_64-linux-gnu/gconv/README",
        "usr/lib/x86_64-linux-gnu/gconv-modules",
        "usr/share/gconv-modules.d/own.conf",
    ] {
        keeps(&list(path), "library");
    }
    let file = Layer::new()
        .file("opt/own/modules", 0o644, "module X// INTERNAL /opt/x 1\n")
        .symlink(
            "usr/lib/x86_64-linux-gnu/gconv/gconv-modules",
            "/opt/own/modules",
        );
    breaks(&with(file), "library", High);
    let directory = |to: &str| {
        with(
            Layer::new()
                .file(
                    &format!("{to}/gconv-modules"),
                    0o644,
                    "module X// INTERNAL /opt/x 1\n",
                )
                .symlink("usr/lib/x86_64-linux-gnu/gconv", &format!("/{to}")),
        )
    };
    breaks(&directory("opt/own"), "library", High);
    // The lists in a directory of their own, which is a link.
    let lists = |to: &str| {
        with(
            Layer::new()
                .file(
                    &format!("{to}/own.conf"),
                    0o644,
                    "module X// INTERNAL /opt/x 1\n",
                )
                .symlink(
                    "usr/lib/x86_64-linux-gnu/gconv/gconv-modules.d",
                    &format!("/{to}"),
                ),
        )
    };
    breaks(&lists("opt/mods"), "library", High);
}
