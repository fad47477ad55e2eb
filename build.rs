//! Compiles the in-image executable (`src/bin/warpdrive-app.rs`) before the host tool, which embeds
//! it. The same bytes on every machine: static, an explicit target, remapped paths.
//!
//! `WARPDRIVE_APP_TOOL=FILE` takes a finished executable instead.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

/// All that the in-image executable is made of.
const INPUTS: &[&str] = &[
    "build.rs",
    "Cargo.lock",
    "src/app",
    "src/bin",
    "src/cli/app",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    // The in-image executable itself has nothing to embed.
    if env::var_os("CARGO_FEATURE_HOST").is_none() {
        return Ok(());
    }
    println!("cargo::rerun-if-env-changed=WARPDRIVE_APP_TOOL");
    let file = match env::var_os("WARPDRIVE_APP_TOOL").filter(|value| !value.is_empty()) {
        Some(file) => {
            println!("cargo::rerun-if-changed={}", file.display());
            PathBuf::from(file).canonicalize()?
        }
        None => compile()?,
    };
    println!(
        "cargo::rustc-env=WARPDRIVE_APP_TOOL_FILE={}",
        file.display()
    );
    Ok(())
}

fn compile() -> Result<PathBuf, Box<dyn Error>> {
    for input in INPUTS {
        println!("cargo::rerun-if-changed={input}");
    }
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // One directory for debug and release builds of the host tool: the outermost target directory.
    let target_directory = out
        .ancestors()
        .filter(|path| path.join("CACHEDIR.TAG").is_file())
        .last()
        .unwrap_or(&out)
        .join("in-image");
    let architecture = env::var("CARGO_CFG_TARGET_ARCH")?;
    let target = format!("{architecture}-unknown-linux-gnu");
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let sysroot = Command::new(&rustc).args(["--print", "sysroot"]).output()?;
    let sysroot = String::from_utf8(sysroot.stdout)?;
    let cargo_home = env::var("CARGO_HOME")
        .or_else(|_| env::var("HOME").map(|home| format!("{home}/.cargo")))?;
    let flags = [
        "-Ctarget-feature=+crt-static".to_owned(),
        "-Clink-arg=-Wl,--build-id=none".to_owned(),
        format!("--remap-path-prefix={}=/warpdrive", manifest.display()),
        format!("--remap-path-prefix={cargo_home}=/cargo"),
        format!("--remap-path-prefix={}=/rust", sysroot.trim()),
    ];
    let mut cargo = Command::new(env::var("CARGO")?);
    // Nothing of the outer build may reach the inner one.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        let inherited = ["CARGO_HOME", "CARGO_MAKEFLAGS", "CARGO_NET_OFFLINE"];
        if (name.starts_with("CARGO") && !inherited.contains(&name.as_str()))
            || (name.starts_with("RUST")
                && !matches!(name.as_str(), "RUSTUP_HOME" | "RUSTUP_TOOLCHAIN"))
            || matches!(
                name.as_str(),
                "TARGET" | "HOST" | "OUT_DIR" | "PROFILE" | "OPT_LEVEL" | "DEBUG" | "NUM_JOBS"
            )
        {
            cargo.env_remove(name);
        }
    }
    let status = cargo
        .current_dir(&manifest)
        .args([
            "build",
            "--locked",
            "--profile",
            "in-image",
            "--no-default-features",
        ])
        .args(["--bin", "warpdrive-app", "--target", &target])
        .arg("--target-dir")
        .arg(&target_directory)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .status()?;
    if !status.success() {
        return Err(format!("the in-image executable was not built ({status})").into());
    }
    let built = target_directory.join(target).join("in-image/warpdrive-app");
    // A copy of our own, so that another build cannot change it while it is embedded.
    let file = out.join("warpdrive-app");
    std::fs::copy(&built, &file)?;
    check_size(&file)?;
    Ok(file)
}

/// At most 4 MiB: it lies in every image.
fn check_size(file: &Path) -> Result<(), Box<dyn Error>> {
    let size = file.metadata()?.len();
    if size > 4 << 20 {
        return Err(format!("the in-image executable has {size} bytes, more than 4 MiB").into());
    }
    Ok(())
}
