//! What takes the place of the base image where its files are not here: an interpreter of this machine, the
//! places that the builder layer has files in, and the resolver without a sandbox around it.

use std::fs::{self, DirBuilder};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::app::contract::RUN;
use crate::layer::{Limits, MemberKind, TarReader, decompressor};
use crate::sandbox::Exit;
use crate::store::Scratch;

use super::super::assemble::PhaseEnd;
use super::super::base::Base;
use super::super::context::Context;
use super::super::environment;
use super::super::error::BuildError;
use super::super::sandbox_inputs::SandboxInputs;
use super::super::trusted::{Job, add_defaults, choose_index};
use super::super::without_sandbox::Interpreter;
use super::Given;
use super::stop::Stop;

/// Most bytes and members of the builder layer, which is ours.
const BUILDER_LAYER: Limits = Limits {
    max_bytes: 1 << 30,
    max_entries: 10_000,
};
/// glibc's versions that uv knows as platforms.
const GLIBC: [u32; 12] = [17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40];

/// What takes the place of the base image.
pub(super) struct Here {
    pub(super) interpreter: Interpreter,
    /// Where the builder layer has files, which are empty.
    pub(super) below: Vec<PathBuf>,
    /// For uv's cache and its home.
    scratch: Scratch,
}

impl Here {
    pub(super) fn new(
        context: Context<'_>,
        base: &Base,
        interpreter: Interpreter,
    ) -> Result<Self, BuildError> {
        let scratch = context.store.scratch("beside")?;
        Ok(Self {
            below: vec![skeleton(context, base, scratch.path())?],
            interpreter,
            scratch,
        })
    }
}

/// A directory with an empty file where the builder layer has one.
fn skeleton(context: Context<'_>, base: &Base, scratch: &Path) -> Result<PathBuf, BuildError> {
    let place = scratch.join("below");
    let failed = |source: io::Error| BuildError::Write {
        path: place.clone(),
        source,
    };
    let blob = context
        .store
        .open_verified(base.builder_layer.descriptor.digest())?;
    let mut tar = TarReader::new(decompressor(blob), BUILDER_LAYER);
    let directory = |path: &Path| {
        DirBuilder::new()
            .recursive(true)
            .create(path)
            .map_err(failed)
    };
    directory(&place)?;
    while let Some(member) = tar.next_member()? {
        let path = place.join(&member.path);
        if member.kind == MemberKind::Directory {
            directory(&path)?;
            continue;
        }
        directory(path.parent().unwrap_or(&place))?;
        fs::write(&path, "").map_err(failed)?;
    }
    Ok(place)
}

/// What uv calls the platform of the base image; `None` where it has no word for it.
fn platform(base: &Base) -> Option<String> {
    let machine @ ("x86_64" | "aarch64") = std::env::consts::ARCH else {
        return None;
    };
    let minor: u32 = base.python.libc.strip_prefix("glibc 2.")?.parse().ok()?;
    let known = GLIBC.iter().rev().find(|known| **known <= minor)?;
    Some(format!("{machine}-manylinux_2_{known}"))
}

/// Runs uv here: it resolves for the base image's Python, and starts nothing but a Python to ask it.
pub(super) fn resolver(given: Given<'_>, here: &Here, job: Job) -> Result<PhaseEnd, Stop> {
    let (context, base, tools) = (given.context, given.base, given.tools);
    let Some(platform) = platform(base) else {
        return Err(Stop::NotPlain(
            "the base image is of another platform".into(),
        ));
    };
    let place = here.scratch.path();
    let failed = |source: io::Error| BuildError::Write {
        path: place.to_owned(),
        source,
    };
    // What a sandbox would have mounted.
    let mut places: Vec<(String, String)> = vec![(
        format!("{RUN}/tools"),
        tools.directory.display().to_string(),
    )];
    let inputs = SandboxInputs::of_shared_stage(context.request);
    let home = place.join("home");
    fs::create_dir_all(&home).map_err(failed)?;
    let mut env = environment::of_the_resolver(&inputs, &home)?;
    choose_index(&mut env, &job.files);
    add_defaults(&mut env, job.defaults);
    for (number, (inside, text)) in job.files.into_iter().enumerate() {
        let path = place.join(format!("file-{number}.txt"));
        fs::write(&path, text).map_err(failed)?;
        places.push((inside, path.display().to_string()));
    }
    if let Some((directory, inside)) = job.output {
        places.push((inside, directory.display().to_string()));
    }
    let python = format!("{}/bin/python", crate::builder::APP_ROOT);
    places.push((python, here.interpreter.path.display().to_string()));
    let mut words = job.command.into_iter().map(|word| {
        let place = places
            .iter()
            .find(|(inside, _)| word.starts_with(inside.as_str()));
        match place {
            Some((inside, path)) => word.replacen(inside.as_str(), path, 1),
            None => word,
        }
    });
    let program = words.next().unwrap_or_default();
    let output = Command::new(program)
        .args(words)
        .args(["--python-version", &base.python.version])
        .args(["--python-platform", &platform])
        .env_clear()
        .envs(env)
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(failed)?;
    if crate::sandbox::interrupted() {
        return Err(BuildError::Interrupted.into());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let tail = said.lines().map(|line| inputs.redactor.clean(line));
    Ok(PhaseEnd {
        exit: Exit::Code(output.status.code().unwrap_or(1)),
        tail: tail.collect(),
    })
}
