//! Makes the executable that lies in every image, for the host tool to carry: static, small, and
//! the same bytes wherever the sources lie.
//!
//! A debug build carries one that is made in seconds and is larger. `WARPDRIVE_APP_TOOL=FILE` takes that
//! file instead and saves all the time.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// What the executable is made of.
const SOURCES: &[&str] = &["build.rs", "src/app", "Cargo.toml", "Cargo.lock"];

/// The profile of the executable in released images.
const RELEASE: &str = "in-image";

/// Variables of cargo that say where things come from, not what is made: these stay.
const KEPT: &[&str] = &[
    "CARGO_HOME",
    "CARGO_MAKEFLAGS",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
];

/// What cargo tells build scripts, and what users tell cargo for the outer build.
const CLEARED: &[&str] = &[
    "DEBUG",
    "HOST",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PROFILE",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
    "TARGET",
];

fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed=WARPDRIVE_APP_TOOL");
    println!("cargo::rerun-if-env-changed=WARPDRIVE_APP_TOOL_PROFILE");
    match app_tool() {
        Ok(path) => {
            println!(
                "cargo::rustc-env=WARPDRIVE_APP_TOOL_PATH={}",
                path.display()
            );
            ExitCode::SUCCESS
        }
        Err(reason) => {
            println!("cargo::error=the executable for images: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Of the executable inside images, in a release.
const LARGEST: u64 = 4 << 20;

fn app_tool() -> Result<PathBuf, String> {
    if let Some(path) = env::var_os("WARPDRIVE_APP_TOOL").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path)
            .canonicalize()
            .map_err(|error| format!("WARPDRIVE_APP_TOOL: {error}"))?;
        println!("cargo::rerun-if-changed={}", path.display());
        return Ok(path);
    }
    let source = directory("CARGO_MANIFEST_DIR")?;
    for path in SOURCES {
        println!("cargo::rerun-if-changed={path}");
    }
    let out = directory("OUT_DIR")?;
    let target = env::var("TARGET").map_err(|error| error.to_string())?;
    // The same bytes in every image, whichever C library the host tool is linked with.
    let target = target.replace("-linux-musl", "-linux-gnu");
    // `target/PROFILE/build/warpdrive-HASH/out`: beside the profiles, so that all of them share it.
    let shared = out
        .ancestors()
        .nth(4)
        .ok_or("OUT_DIR does not lie in a target directory")?
        .join("in-image");
    let made = build(&source, &shared, &target)?;
    let copy = out.join("warpdrive-app");
    // A new file each time: the old one may be running, or have other names.
    let _ = std::fs::remove_file(&copy);
    std::fs::copy(&made, &copy)
        .map_err(|error| format!("{} cannot be copied: {error}", made.display()))?;
    Ok(copy)
}

fn directory(variable: &str) -> Result<PathBuf, String> {
    env::var_os(variable)
        .map(PathBuf::from)
        .ok_or_else(|| format!("cargo has not set {variable}"))
}

fn build(source: &Path, out: &Path, target: &str) -> Result<PathBuf, String> {
    // Debug builds carry one that is made quickly. Set WARPDRIVE_APP_TOOL_PROFILE for the other.
    let profile = match env::var("WARPDRIVE_APP_TOOL_PROFILE") {
        Ok(profile) if !profile.is_empty() => profile,
        _ if env::var("PROFILE").is_ok_and(|profile| profile == "debug") => {
            "in-image-dev".to_owned()
        }
        _ => RELEASE.to_owned(),
    };
    let profile = profile.as_str();
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let cargos = text.starts_with("CARGO") && !KEPT.iter().any(|kept| text.starts_with(kept));
        if cargos || CLEARED.contains(&&*text) {
            command.env_remove(&name);
        }
    }
    command
        .args([
            "build",
            "--quiet",
            "--locked",
            "--profile",
            profile,
            "--package",
            "warpdrive-app",
        ])
        .args(["--bin", "warpdrive-app", "--target", target])
        .arg("--manifest-path")
        .arg(source.join("Cargo.toml"))
        .current_dir(source)
        .env("CARGO_TARGET_DIR", out)
        .env("CARGO_ENCODED_RUSTFLAGS", rust_flags(source, out)?);
    if profile == RELEASE {
        command.env("CARGO_INCREMENTAL", "0");
    }
    let status = command
        .status()
        .map_err(|error| format!("cargo cannot be started: {error}"))?;
    if !status.success() {
        return Err(format!("cargo ended with {status}"));
    }
    let made = out.join(target).join(profile).join("warpdrive-app");
    let size = std::fs::metadata(&made)
        .map_err(|error| format!("cargo has made no {}: {error}", made.display()))?
        .len();
    if profile == RELEASE && size > LARGEST {
        return Err(format!(
            "{} has {size} bytes, and every image carries it: at most {LARGEST}",
            made.display()
        ));
    }
    starts(&made, target)?;
    Ok(made)
}

/// An older glibc leaves packed relocations as they are: the executable would crash in each image.
fn starts(made: &Path, target: &str) -> Result<(), String> {
    let machine = |triple: &str| {
        let architecture = triple.split('-').next().unwrap_or_default().to_owned();
        (architecture, triple.contains("-linux-"))
    };
    if env::var("HOST").is_ok_and(|host| machine(&host) != machine(target)) {
        return Ok(());
    }
    let status = Command::new(made)
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .map_err(|error| format!("{} cannot be started: {error}", made.display()))?;
    if status.success() {
        return Ok(());
    }
    Err(format!(
        "the executable for images does not start ({status}); if it crashed: glibc 2.36 or newer is needed to \
         build it (Debian 12, Ubuntu 24.04)"
    ))
}

/// Static, and with no path of this machine in it.
fn rust_flags(source: &Path, out: &Path) -> Result<OsString, String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let sysroot = ask(&rustc, &["--print", "sysroot"])?;
    let version = ask(&rustc, &["-vV"])?;
    let commit = version
        .lines()
        .find_map(|line| line.strip_prefix("commit-hash: "))
        .unwrap_or("unknown");
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")))
        .ok_or("neither CARGO_HOME nor HOME is set")?;
    // rustc takes the last that fits.
    let remapped = [
        (home, "/cargo".to_owned()),
        (PathBuf::from(&sysroot), "/rust".to_owned()),
        // Where the library's sources are installed rustc names them instead of its own name.
        (
            PathBuf::from(sysroot).join("lib/rustlib/src/rust"),
            format!("/rustc/{commit}"),
        ),
        (source.to_owned(), "/warpdrive".to_owned()),
        (out.to_owned(), "/out".to_owned()),
    ];
    let mut flags = OsString::from("-Ctarget-feature=+crt-static");
    flags.push("\x1f-Clink-arg=-Wl,--build-id=none");
    // It aborts where it panics: nothing unwinds, and nothing looks for tables to do it by.
    flags.push("\x1f-Clink-arg=-Wl,--no-eh-frame-hdr");
    // 110 KiB of relocations in 3 (glibc 2.36 starts such an executable).
    flags.push("\x1f-Clink-arg=-Wl,-z,pack-relative-relocs");
    for (from, to) in remapped {
        flags.push("\x1f--remap-path-prefix=");
        flags.push(from);
        flags.push("=");
        flags.push(to);
    }
    Ok(flags)
}

fn ask(rustc: &OsString, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(rustc)
        .args(arguments)
        .output()
        .map_err(|error| format!("rustc cannot be started: {error}"))?;
    String::from_utf8(output.stdout)
        .map(|text| text.trim().to_owned())
        .map_err(|error| error.to_string())
}
