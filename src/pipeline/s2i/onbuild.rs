//! Runs `ONBUILD` triggers in their order on the source. Also does what S2I does with builders that
//! have only triggers: a shell runs `assemble` of the source, and an executable of the source becomes
//! the entry point.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::rootfs::{Merged, Seen, User, find_user};
use crate::s2i::onbuild::{self, Command, Trigger, expand};
use crate::s2i::scripts::ASSEMBLE;
use crate::s2i::{AllowedUids, S2iError, Where};

use super::super::BuildError;
use super::base_image::{self, BaseImage};
use super::build_root::BuildRoot;
use super::commit::Changes;
use super::copy::{Look, copy};
use super::error::S2iBuildError;
use super::plan::Plan;
use super::run::{self, Job};
use super::scripts::Places;

/// The possible start programs of an application, in order.
const ENTRYPOINTS: [&str; 8] = [
    "run",
    "run.sh",
    "start",
    "start.sh",
    "exec",
    "exec.sh",
    "execute",
    "execute.sh",
];

/// Whether there are S2I scripts besides the builder's triggers: the user's, or the builder's own.
pub(super) fn has_scripts(places: &Places<'_>) -> Result<bool, BuildError> {
    Ok(places.given.is_some() || places.of_the_image_alone().find(ASSEMBLE)?.is_some())
}

/// Checks every user that a trigger names against `--allowed-uids`.
pub(super) fn check_users(
    builder: &BaseImage,
    allowed: Option<&AllowedUids>,
) -> Result<(), BuildError> {
    let triggers =
        onbuild::read(&builder.image.config, &builder.reference).map_err(S2iBuildError::S2i)?;
    for trigger in &triggers {
        if let Trigger::User(user) = trigger {
            let what = format!("ONBUILD USER of `{}`", builder.reference);
            base_image::check(allowed, user, &what)?;
        }
    }
    Ok(())
}

/// Runs the triggers. Returns true if the build is then complete, without the protocol's assemble.
pub(super) fn carry_out(
    plan: &Plan<'_>,
    place: &BuildRoot,
    changes: &mut Changes,
) -> Result<bool, BuildError> {
    let progress = plan.context.progress;
    let builder = plan.builder;
    let config = &builder.image.config;
    let triggers = onbuild::read(config, &builder.reference).map_err(S2iBuildError::S2i)?;
    if triggers.is_empty() {
        return Ok(false);
    }
    let alone = plan.triggers_alone;
    let context = place.aside("context")?;
    plan.source.tree.stage_with(&context, None, &plan.modes)?;
    if alone {
        for (name, script) in &plan.scripts {
            if let Where::External { content, .. } = script {
                let path = context.join(name);
                let _ = std::fs::remove_file(&path);
                super::build_root::write(&path, content, 0o755, &root())?;
            }
        }
    }
    let mut state = State {
        plan,
        place,
        context: [context],
        changes,
        user: config.user().to_owned(),
        directory: builder.working_dir(),
    };
    for (trigger, text) in triggers.iter().zip(onbuild::triggers(config)) {
        let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
        progress.step(&format!("---> ONBUILD {text}"));
        state.carry_out(trigger)?;
    }
    if !alone {
        return Ok(false);
    }
    let assemble = Path::new("/").join(ASSEMBLE);
    if matches!(state.files().at(&assemble), Ok(Seen::File(..))) {
        progress.step("---> Running assemble of the source");
        state.run(ASSEMBLE, ["sh", ASSEMBLE].map(str::to_owned).to_vec())?;
    }
    let entrypoint = ENTRYPOINTS.iter().find(|name| {
        let path = Path::new("/").join(name);
        matches!(state.files().at(&path),
            Ok(Seen::File(_, metadata)) if metadata.mode() & 0o100 != 0)
    });
    match entrypoint {
        Some(name) => changes.entrypoint = Some(vec![format!("./{name}")]),
        None if config.words("Cmd").is_empty() && config.words("Entrypoint").is_empty() => {
            return Err(S2iBuildError::NoEntrypoint {
                names: ENTRYPOINTS.join(", "),
            }
            .into());
        }
        None => {}
    }
    Ok(true)
}

fn root() -> User {
    User {
        uid: 0,
        gid: 0,
        groups: Vec::new(),
        home: "/root".into(),
    }
}

struct State<'a, 'b> {
    plan: &'a Plan<'a>,
    place: &'a BuildRoot,
    /// The source on disk, as the one layer of a tree.
    context: [PathBuf; 1],
    changes: &'b mut Changes,
    user: String,
    directory: PathBuf,
}

impl State<'_, '_> {
    fn files(&self) -> Merged<'_> {
        Merged(&self.context)
    }

    /// The variables that instructions see.
    fn env(&self) -> Vec<(String, String)> {
        let mut env = self.plan.builder.image.config.env();
        env.extend(self.changes.env.iter().cloned());
        env
    }

    fn expanded(&self, text: &str) -> Result<String, S2iBuildError> {
        let env = self.env();
        let variable = |name: &str| {
            env.iter()
                .rev()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
        };
        expand(text, &variable).map_err(|problem| self.wrong(text, problem))
    }

    fn wrong(&self, trigger: &str, problem: String) -> S2iBuildError {
        S2iBuildError::S2i(S2iError::OnBuild {
            image: self.plan.builder.reference.clone(),
            trigger: trigger
                .chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect(),
            problem,
        })
    }

    fn inside(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }

    fn carry_out(&mut self, trigger: &Trigger) -> Result<(), BuildError> {
        match trigger {
            Trigger::Env(pairs) => {
                let expanded = pairs
                    .iter()
                    .map(|(name, value)| Ok((name.clone(), self.expanded(value)?)))
                    .collect::<Result<Vec<_>, S2iBuildError>>()?;
                self.changes.env.extend(expanded);
            }
            Trigger::User(user) => {
                let user = self.expanded(user)?;
                let what = format!("ONBUILD USER of `{}`", self.plan.builder.reference);
                base_image::check(self.plan.request.allowed_uids.as_ref(), &user, &what)?;
                self.user.clone_from(&user);
                self.changes.user = Some(user);
            }
            Trigger::WorkDir(path) => {
                let path = self.expanded(path)?;
                let path = self.inside(&path);
                let clean =
                    crate::s2i::mappings::absolute(&path.to_string_lossy()).map_err(|problem| {
                        self.wrong(&format!("WORKDIR {}", path.display()), problem)
                    })?;
                self.place.directory(Path::new(&clean), &root())?;
                self.directory = clean.clone().into();
                self.changes.working_dir = Some(clean);
            }
            Trigger::Copy {
                sources,
                destination,
                chown,
                chmod,
            } => self.copy(sources, destination, chown.as_deref(), *chmod)?,
            Trigger::Run(command) => {
                let command = match command {
                    Command::Exec(words) => words.clone(),
                    Command::Shell(text) => {
                        let mut words = self.plan.builder.image.config.words("Shell");
                        if words.is_empty() {
                            words = vec!["/bin/sh".into(), "-c".into()];
                        }
                        words.push(text.clone());
                        words
                    }
                };
                self.run("ONBUILD RUN", command)?;
            }
        }
        Ok(())
    }

    fn copy(
        &self,
        sources: &[String],
        destination: &str,
        chown: Option<&str>,
        chmod: Option<u32>,
    ) -> Result<(), S2iBuildError> {
        let owner = match chown {
            Some(name) => find_user(&self.place.layers, &self.expanded(name)?)?,
            None => root(),
        };
        let look = Look {
            owner: &owner,
            mode: chmod,
        };
        let destination = self.expanded(destination)?;
        let files = self.files();
        let mut found = Vec::new();
        for source in sources {
            let source = self.expanded(source)?;
            let before = found.len();
            matching(&files, &source, &mut found)
                .map_err(|error| S2iBuildError::io("look for", &source, error))?;
            if found.len() == before {
                return Err(self.wrong(
                    &format!("COPY {source}"),
                    "there is no such file in the source".into(),
                ));
            }
        }
        let target = self.inside(&destination);
        let into = destination.ends_with('/')
            || matches!(destination.as_str(), "." | "./")
            || destination.ends_with("/.")
            || found.len() > 1
            || matches!(
                self.place.merged().followed(&target),
                Ok(Seen::Directory(..))
            );
        for path in &found {
            let directory = matches!(files.at(path), Ok(Seen::Directory(..)));
            let to = match path.file_name() {
                Some(name) if into && !directory => target.join(name),
                _ => target.clone(),
            };
            // Without `.`, which `Path` leaves out only in the middle.
            let to: PathBuf = to.components().collect();
            copy(&files, path, self.place, &to, &look)?;
        }
        Ok(())
    }

    fn run(&self, name: &str, command: Vec<String>) -> Result<(), BuildError> {
        let builder = self.plan.builder;
        let user = find_user(&self.place.layers, &self.user).map_err(S2iBuildError::User)?;
        base_image::must_exist(&user, &builder.reference, "the user of ONBUILD RUN")?;
        self.place.directory(&self.directory, &root())?;
        let mut mounts = run::mounts(self.plan.request)?;
        let injected = self.plan.injections.mounts(self.place, &user)?;
        mounts.extend(injected.mounts);
        Job {
            name,
            image: &builder.reference,
            command,
            cwd: self.directory.clone(),
            user: &user,
            env: run::variables(
                self.plan.request,
                &self.env(),
                &user,
                &self.plan.env,
                self.plan.time,
            ),
            lowers: &builder.lowers,
            upper: self.place.upper.clone(),
            mounts,
        }
        .run(self.plan.request, self.plan.context.progress)?;
        injected.directories.remove_empty();
        Ok(())
    }
}

/// The paths of the context that a source of `COPY` matches; it may contain patterns.
fn matching(files: &Merged<'_>, source: &str, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut paths = vec![PathBuf::from("/")];
    for part in source.split('/').filter(|part| !matches!(*part, "" | ".")) {
        let mut next = Vec::new();
        for path in paths {
            if part.contains(['*', '?', '[']) {
                for name in files.names(&path)? {
                    if pattern(part.as_bytes(), name.as_encoded_bytes()) {
                        next.push(path.join(name));
                    }
                }
            } else if files.exists(&path.join(part)) {
                next.push(path.join(OsStr::new(part)));
            }
        }
        paths = next;
    }
    found.extend(paths);
    Ok(())
}

/// Go's `filepath.Match` for one name: `*`, `?`, `[a-z]`, `[^a]`, `\c`.
fn pattern(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            (0..=name.len()).any(|skip| self::pattern(rest, name.get(skip..).unwrap_or_default()))
        }
        (Some((b'?', rest)), Some((_, name))) => self::pattern(rest, name),
        (Some((b'[', rest)), Some((c, name))) => {
            let Some(end) = rest.iter().position(|b| *b == b']') else {
                return false;
            };
            let (set, rest) = (&rest[..end], &rest[end + 1..]);
            let (negated, set) = match set.split_first() {
                Some((b'^', set)) => (true, set),
                _ => (false, set),
            };
            let mut inside = false;
            let mut at = 0;
            while at < set.len() {
                if at + 2 < set.len() && set[at + 1] == b'-' {
                    inside |= (set[at]..=set[at + 2]).contains(c);
                    at += 3;
                } else {
                    inside |= set[at] == *c;
                    at += 1;
                }
            }
            inside != negated && self::pattern(rest, name)
        }
        (Some((b'\\', rest)), Some((c, name))) => match rest.split_first() {
            Some((literal, rest)) => literal == c && self::pattern(rest, name),
            None => false,
        },
        (Some((literal, rest)), Some((c, name))) => literal == c && self::pattern(rest, name),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::pattern;

    #[test]
    fn patterns_match_as_in_a_dockerfile() {
        for (text, name, expected) in [
            ("*.txt", "a.txt", true),
            ("*.txt", "a.py", false),
            ("a?c", "abc", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("*", "", true),
            ("a", "", false),
            ("[a", "a", false),
        ] {
            assert_eq!(
                pattern(text.as_bytes(), name.as_bytes()),
                expected,
                "{text}"
            );
        }
    }
}
