//! Runs assemble on the builder image, by the protocol: puts source and scripts where it looks
//! for them, and makes layers from its changes. `runtime` does the same for the runtime image.

use std::path::{Path, PathBuf};

use crate::rootfs::{User, exists_beneath};
use crate::s2i::scripts::{ASSEMBLE, MAX_SCRIPT, RUN};

use super::super::context::Context;
use super::super::error::BuildError;
use super::super::leaks::Leaks;
use super::base_image;
use super::build_root::BuildRoot;
use super::commit::{Changes, S2iResult};
use super::error::S2iBuildError;
use super::finished::{finish, metadata_labels};
use super::package_cache::{Owner, PackageCache};
use super::plan::Plan;
use super::run::{self, Job};
use super::{incremental, onbuild, runtime, scripts};

/// Runs the builder's scripts, and then those of the runtime image on the result.
pub(super) fn assembled(
    plan: &Plan<'_>,
    artifacts: Option<incremental::Artifacts>,
) -> Result<S2iResult, BuildError> {
    let (request, builder) = (plan.request, plan.builder);
    let place = BuildRoot::new(plan.context.store, builder, "assemble")?;
    let mut changes = Changes::default();
    let finished = onbuild::carry_out(plan, &place, &mut changes)?;
    // After the variables of triggers, because these replace them.
    changes.env.extend(plan.env.iter().cloned());
    if !finished {
        let user_name = base_image::check_assemble_user(request, builder, changes.user.as_deref())?;
        let user = builder.user(user_name, "the user of assemble")?;
        upload(plan, &place, &user)?;
        if let Some(artifacts) = artifacts {
            artifacts.put(&place, &plan.destination, &user)?;
        }
        assemble(plan, &place, &user, &changes)?;
    }
    let labels = metadata_labels(&place)?;
    if let Some(runtime) = plan.runtime {
        return runtime::assembled(plan, runtime, &place, labels);
    }
    if !finished {
        changes.cmd = plan
            .scripts
            .get(RUN)
            .map(|run| vec![run.path(&plan.destination.to_string_lossy(), RUN)]);
    }
    finish(plan, builder, &place, labels, changes)
}

/// Puts source and scripts where assemble looks for them.
fn upload(plan: &Plan<'_>, place: &BuildRoot, user: &User) -> Result<(), BuildError> {
    let parent = place.directory(&plan.destination, user)?;
    let src = BuildRoot::child(&parent, "src", user, 0o775)?;
    let owner = crate::sandbox::IdMode::current()
        .chown_allowed()
        .then_some((user.uid, user.gid));
    plan.source.tree.stage_with(&src, owner, &plan.modes)?;
    // The scripts in use are beside the source, not in it.
    for (name, script) in &plan.scripts {
        let crate::s2i::Where::External { content, .. } = script else {
            continue;
        };
        for directory in crate::s2i::scripts::IN_SOURCE {
            let path = Path::new(directory).join(name);
            let same = plan.source.tree.read(&path, MAX_SCRIPT)?.as_ref() == Some(content);
            // There is no link on the way.
            if same && exists_beneath(&src, &path) {
                let path = src.join(path);
                std::fs::remove_file(&path)
                    .map_err(|error| S2iBuildError::io("move", &path, error))?;
            }
        }
    }
    place.scripts(&plan.destination, &plan.scripts, user)?;
    Ok(())
}

/// Runs assemble.
fn assemble(
    plan: &Plan<'_>,
    place: &BuildRoot,
    user: &User,
    changes: &Changes,
) -> Result<(), BuildError> {
    let Context {
        store, progress, ..
    } = plan.context;
    let Some(script) = plan.scripts.get(ASSEMBLE) else {
        return Ok(());
    };
    let path = script.path(&plan.destination.to_string_lossy(), ASSEMBLE);
    let command = scripts::command(&path, script, &plan.builder.merged())?;
    let cwd = match &changes.working_dir {
        Some(path) => PathBuf::from(path),
        None => plan.builder.working_dir(),
    };
    place.directory(&cwd, user)?;
    let mut mounts = run::mounts(plan.request)?;
    let owner = Owner {
        request: plan.request,
        source: plan.source,
        builder: plan.builder,
        user,
    };
    let injected = plan.injections.mounts(place, user)?;
    // Last, because it is away from its place until it is closed.
    let packages = PackageCache::open(store, owner, place)?;
    mounts.push(packages.mount());
    mounts.extend(injected.mounts);
    scripts::announce(ASSEMBLE, script, user.uid, progress);
    let image_env: Vec<(String, String)> = plan
        .builder
        .image
        .config
        .env()
        .into_iter()
        .chain(changes.env.iter().cloned())
        .collect();
    let mut env = run::variables(plan.request, &image_env, user, &plan.env, plan.time);
    PackageCache::tell(&mut env);
    let ran = Job {
        name: ASSEMBLE,
        image: &plan.builder.reference,
        command,
        cwd,
        user,
        env,
        lowers: &plan.builder.lowers,
        upper: place.upper.clone(),
        mounts,
    }
    .run(plan.request, progress);
    injected.directories.remove_empty();
    packages.close(&Leaks::of_scripts(&plan.request.common), progress);
    ran
}
