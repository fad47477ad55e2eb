//! The files for Tekton, Shipwright, `OpenShift`, `GitHub` and `GitLab`: each against a schema that knows every
//! field, and the steps of the Task run as the file says.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::pods::Cluster;
use crate::support::pod::{Step as Container, readable};
use crate::support::process::{self, words};
use crate::support::warpdrive::{PYTHON_311, copy_of, example};

fn read<T: DeserializeOwned>(file: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let text = fs::read_to_string(path).unwrap();
    serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

// Fields that several kinds share.

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    name: String,
    value: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SecurityContext {
    allow_privilege_escalation: bool,
    run_as_non_root: bool,
    capabilities: Capabilities,
    seccomp_profile: Seccomp,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Capabilities {
    drop: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seccomp {
    r#type: String,
}

impl SecurityContext {
    /// What Pod Security's `restricted` asks for.
    fn is_restricted(&self) -> bool {
        !self.allow_privilege_escalation
            && self.run_as_non_root
            && self.capabilities.drop == ["ALL"]
            && self.seccomp_profile.r#type == "RuntimeDefault"
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resources {
    #[serde(default)]
    requests: BTreeMap<String, String>,
    limits: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct VolumeMount {
    name: String,
    mount_path: String,
    #[serde(default)]
    read_only: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Volume {
    name: String,
    #[expect(dead_code, reason = "its form is what counts")]
    empty_dir: Nothing,
}

// tekton.dev/v1

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Task {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: TaskSpec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TaskSpec {
    description: String,
    params: Vec<Parameter>,
    workspaces: Vec<Workspace>,
    results: Vec<Described>,
    volumes: Vec<Volume>,
    step_template: StepTemplate,
    steps: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameter {
    name: String,
    r#type: Type,
    description: String,
    default: Option<Value>,
    /// Shipwright's word for an array's.
    defaults: Option<Vec<String>>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Type {
    String,
    Array,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Workspace {
    name: String,
    #[expect(dead_code, reason = "its form is what counts")]
    description: String,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    read_only: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    name: String,
    #[expect(dead_code, reason = "its form is what counts")]
    description: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StepTemplate {
    working_dir: String,
    env: Vec<Variable>,
    security_context: SecurityContext,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Step {
    name: String,
    image: String,
    command: Vec<String>,
    args: Vec<String>,
    #[serde(default)]
    env: Vec<Variable>,
    compute_resources: Resources,
    workspaces: Vec<Named>,
    volume_mounts: Vec<VolumeMount>,
}

/// What of a step may hold variables.
fn texts<'s>(
    image: &'s String,
    command: &'s [String],
    args: &'s [String],
    env: &'s [Variable],
) -> impl Iterator<Item = &'s String> {
    let values = env.iter().map(|variable| &variable.value);
    args.iter().chain(command).chain(values).chain([image])
}

/// The variables `$(…)` of a text.
fn variables(text: &str) -> Vec<&str> {
    text.split("$(")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(name, _)| name)
        .collect()
}

/// Holds a Task against what Tekton takes, and against what its steps may have.
fn check_task(task: &Task) {
    assert_eq!(
        (task.api_version.as_str(), task.kind.as_str()),
        ("tekton.dev/v1", "Task")
    );
    assert!(
        task.metadata
            .labels
            .contains_key("app.kubernetes.io/version")
    );
    assert!(
        task.metadata
            .annotations
            .contains_key("tekton.dev/pipelines.minVersion")
    );
    let spec = &task.spec;
    assert!(!spec.description.is_empty() && spec.step_template.security_context.is_restricted());
    assert_eq!(spec.step_template.working_dir, "/");
    let mut known = BTreeSet::new();
    for parameter in &spec.params {
        assert!(!parameter.description.is_empty() && parameter.defaults.is_none());
        let is_array = parameter.default.as_ref().is_some_and(Value::is_array);
        assert_eq!(
            is_array,
            parameter.r#type == Type::Array,
            "{}",
            parameter.name
        );
        let star = if is_array { "[*]" } else { "" };
        known.insert(format!("params.{}{star}", parameter.name));
    }
    let of_workspaces = spec
        .workspaces
        .iter()
        .map(|it| format!("workspaces.{}.path", it.name));
    let of_results = spec
        .results
        .iter()
        .map(|it| format!("results.{}.path", it.name));
    known.extend(of_workspaces.chain(of_results));
    for step in &spec.steps {
        for text in texts(&step.image, &step.command, &step.args, &step.env) {
            for variable in variables(text) {
                assert!(known.contains(variable), "$({variable}) of {}", step.name);
                // A workspace of another step is not there.
                if let Some(rest) = variable.strip_prefix("workspaces.") {
                    let name = rest.trim_end_matches(".path");
                    assert!(
                        step.workspaces.iter().any(|it| it.name == name),
                        "{variable}"
                    );
                }
            }
        }
        for mount in &step.volume_mounts {
            assert!(spec.volumes.iter().any(|volume| volume.name == mount.name));
        }
        assert!(step.compute_resources.limits.contains_key("memory"));
        assert!(step.compute_resources.requests.contains_key("cpu"));
    }
    // A step that runs code has no login, and a step with a login runs no code.
    let (push, build) = spec.steps.split_last().unwrap();
    assert_eq!(push.name, "push");
    for step in build {
        assert!(step.workspaces.iter().all(|it| it.name == "source"));
    }
    assert!(push.workspaces.iter().all(|it| it.name != "source"));
    for workspace in &spec.workspaces {
        assert!(workspace.read_only && workspace.optional == (workspace.name != "source"));
    }
    // What is handed on is written by one step, and each has a place for temporary files of its own.
    for volume in &spec.volumes {
        let writes = |step: &&Step| {
            let mut mounts = step.volume_mounts.iter();
            mounts.any(|mount| mount.name == volume.name && !mount.read_only)
        };
        assert_eq!(
            spec.steps.iter().filter(writes).count(),
            1,
            "{}",
            volume.name
        );
    }
}

#[test]
fn the_tasks_are_ones_that_tekton_takes() {
    for (file, name, steps) in [
        ("tekton/task.yaml", "warpdrive", vec!["build", "push"]),
        (
            "tekton/task-phases.yaml",
            "warpdrive-phases",
            vec!["dependencies", "application", "push"],
        ),
    ] {
        let task: Task = read(file);
        check_task(&task);
        assert_eq!(task.metadata.name, name);
        let found: Vec<&str> = task.spec.steps.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(found, steps);
    }
}

/// The steps of the Task as Tekton runs them: variables put in, an isolated workspace in its steps only,
/// results in one directory.
struct Run<'c> {
    cluster: &'c Cluster,
    params: BTreeMap<String, Vec<String>>,
    /// Name → directory here.
    bound: BTreeMap<String, PathBuf>,
    volumes: BTreeMap<String, PathBuf>,
    results: PathBuf,
    /// System calls that these nodes do not have.
    refused: Vec<&'static str>,
}

impl<'c> Run<'c> {
    /// A run of a Task on the source in a directory.
    fn new(cluster: &'c Cluster, task: &Task, name: &str, source: &Path) -> Self {
        let target = cluster.registry.reference(&format!("team/{name}:1"));
        let mut params = BTreeMap::from([
            ("IMAGE".to_owned(), vec![target]),
            ("BUILDER_IMAGE".to_owned(), vec!["the pod's".to_owned()]),
        ]);
        for parameter in &task.spec.params {
            let Some(default) = &parameter.default else {
                continue;
            };
            let words = match default {
                Value::Array(words) => words
                    .iter()
                    .map(|word| word.as_str().unwrap().to_owned())
                    .collect(),
                one => vec![one.as_str().unwrap().to_owned()],
            };
            params.entry(parameter.name.clone()).or_insert(words);
        }
        let login = cluster.pod.directory().join(format!("{name}-login"));
        fs::create_dir(&login).unwrap();
        fs::write(login.join("config.json"), r#"{"auths": {}}"#).unwrap();
        readable(&login);
        readable(source);
        let volumes = task.spec.volumes.iter().map(|volume| {
            let place = format!("{name}-{}", volume.name);
            (volume.name.clone(), cluster.pod.empty_directory(&place))
        });
        Self {
            volumes: volumes.collect(),
            results: cluster.pod.empty_directory(&format!("{name}-results")),
            bound: BTreeMap::from([
                ("source".to_owned(), source.to_owned()),
                ("dockerconfig".to_owned(), login),
            ]),
            cluster,
            params,
            refused: Vec::new(),
        }
    }

    /// All steps, and what the results are held against.
    fn succeeds(&self, task: &Task, expected: &Value) -> Vec<String> {
        // The result of an earlier step is overwritten.
        fs::write(self.results.join("IMAGE_URL"), "evil.example/app").unwrap();
        let mut said = Vec::new();
        for step in &task.spec.steps {
            let output = self.run(task, step);
            assert!(output.status.success(), "{}: {}", step.name, words(&output));
            said.push(words(&output));
        }
        assert_eq!(self.result("IMAGE_DIGEST"), expected["digest"]);
        assert_eq!(self.result("IMAGE_URL"), self.params["IMAGE"][0]);
        assert_eq!(self.result("CHAINS-GIT_COMMIT").len(), 40);
        for described in &task.spec.results {
            let file = self.results.join(&described.name);
            assert!(file.exists(), "{}", described.name);
        }
        said
    }

    fn result(&self, name: &str) -> String {
        fs::read_to_string(self.results.join(name)).unwrap()
    }

    fn fill(&self, text: &str) -> Vec<String> {
        if let Some(name) = text
            .strip_prefix("$(params.")
            .and_then(|t| t.strip_suffix("[*])"))
        {
            return self.params[name].clone();
        }
        let mut filled = text.to_owned();
        for variable in variables(text) {
            let value = if let Some(name) = variable.strip_prefix("params.") {
                self.params[name][0].clone()
            } else if let Some(rest) = variable.strip_prefix("results.") {
                format!("/tekton/results/{}", rest.trim_end_matches(".path"))
            } else {
                let name = variable
                    .trim_start_matches("workspaces.")
                    .trim_end_matches(".path");
                if self.bound.contains_key(name) {
                    format!("/workspace/{name}")
                } else {
                    String::new()
                }
            };
            filled = filled.replace(&format!("$({variable})"), &value);
        }
        vec![filled]
    }

    fn run(&self, task: &Task, step: &Step) -> std::process::Output {
        let words = step.command.iter().chain(&step.args);
        let mut container = Container::new(words.flat_map(|word| self.fill(word)));
        container.read_only = false;
        container.refused.clone_from(&self.refused);
        for variable in task.spec.step_template.env.iter().chain(&step.env) {
            let value = self.fill(&variable.value).concat();
            container = container.env(format!("{}={value}", variable.name));
        }
        for mount in &step.volume_mounts {
            let place = &self.volumes[&mount.name];
            container = if mount.read_only {
                container.mount_read_only(place, &mount.mount_path)
            } else {
                container.mount(place, &mount.mount_path)
            };
        }
        for workspace in &step.workspaces {
            if let Some(place) = self.bound.get(&workspace.name) {
                let inside = format!("/workspace/{}", workspace.name);
                container = container.mount_read_only(place, &inside);
            }
        }
        container = container.mount(&self.results, "/tekton/results");
        self.cluster.pod.run(&container)
    }
}

/// The step that has the login writes the cache, of wheels alone.
#[test]
fn the_step_that_pushes_fills_the_cache_and_takes_nothing_but_wheels() {
    for file in ["tekton/task.yaml", "tekton/task-phases.yaml"] {
        let task: Task = read(file);
        let cluster = Cluster::new(PYTHON_311);
        let source = copy_of(&example("flask"), true);
        let expected = cluster.warpdrive.image("flask", source.path(), &[]);
        let cache = cluster.registry.reference("team/cache");
        let with_cache = |name: &str, write: &str| {
            let mut run = Run::new(&cluster, &task, name, source.path());
            run.params.insert("CACHE".into(), vec![cache.clone()]);
            run.params.insert("CACHE_WRITE".into(), vec![write.into()]);
            run
        };
        let fragments = || {
            let mut tags = cluster.registry.tags("team/cache");
            tags.retain(|tag| tag.starts_with("f1-"));
            tags.sort();
            tags
        };
        // Builds that are not to be trusted write nothing.
        with_cache("untrusted", "false").succeeds(&task, &expected);
        assert!(fragments().is_empty());
        with_cache("trusted", "true").succeeds(&task, &expected);
        let written = fragments();
        assert!(written.len() > 5, "{written:?}");
        // What root's build writes is the same: other content under one of these names would be an error.
        let options = ["--cache-to", cache.as_str(), "--no-smoke"];
        cluster.warpdrive.image("again", source.path(), &options);
        assert_eq!(fragments(), written);
        // The next one makes nothing.
        let said = with_cache("next", "true").succeeds(&task, &expected);
        assert!(
            said[0].contains("distributions from the cache"),
            "{}",
            said[0]
        );
        assert!(!said[0].contains("Installed "), "{}", said[0]);

        // A step before has put another content in the place of a wheel.
        let more = copy_of(&example("flask"), true);
        let list = more.path().join("requirements.txt");
        fs::write(&list, "flask==3.1.3\nhumanize==4.17.0\n").unwrap();
        let mut run = with_cache("forged", "true");
        run.bound.insert("source".into(), more.path().to_owned());
        readable(more.path());
        let (push, before) = task.spec.steps.split_last().unwrap();
        for step in before {
            let output = run.run(&task, step);
            assert!(output.status.success(), "{}: {}", step.name, words(&output));
        }
        let volume = if before.len() == 1 {
            "out"
        } else {
            "dependencies"
        };
        let wheels = run.volumes[volume].join("wheels");
        let [wheel] = &fs::read_dir(&wheels).unwrap().collect::<Vec<_>>()[..] else {
            panic!("one wheel is new")
        };
        let wheel = wheel.as_ref().unwrap().path();
        fs::remove_file(&wheel).unwrap();
        fs::write(&wheel, "evil").unwrap();
        readable(&wheels);
        let output = run.run(&task, push);
        assert!(output.status.success(), "{}", words(&output));
        let expected =
            "humanize 4.17.0 is not written to the cache: its content is not that of its hash";
        assert!(words(&output).contains(expected), "{}", words(&output));
        assert_eq!(fragments(), written);
    }
}

#[test]
fn the_tasks_steps_build_and_push_the_image_that_root_has() {
    let task: Task = read("tekton/task.yaml");
    let cluster = Cluster::new(PYTHON_311);
    let source = copy_of(&example("flask"), true);
    let run = Run::new(&cluster, &task, "task", source.path());
    let expected = cluster.warpdrive.image("flask", source.path(), &[]);
    run.succeeds(&task, &expected);
}

/// What code of an application tries in a step that has no fence within.
const REACHES: &str = r#"
import glob, os, sys

def read(path):
    return lambda: bool(open(path, "rb").read(1))

def write(path):
    def attempt():
        open(path, "ab").write(b"evil")
        return True
    return attempt

for name, attempt in [
    ("login", read("/workspace/dockerconfig/config.json")),
    ("variable", lambda: bool(os.environ.get("DOCKER_CONFIG"))),
    ("dependencies", write("/dependencies/dependencies.json")),
    ("layer", write(glob.glob("/dependencies/blobs/sha256/*")[0])),
    ("source", write("/workspace/source/app.py")),
    ("results", write("/tekton/results/IMAGE_DIGEST")),
]:
    try:
        done = attempt()
    except OSError:
        done = False
    print("reaches %s %s" % (name, done), flush=True)
"#;

/// On nodes without Landlock.
#[test]
fn the_steps_of_the_phases_build_the_image_that_root_has_and_have_only_what_they_need() {
    let task: Task = read("tekton/task-phases.yaml");
    let cluster = Cluster::new(PYTHON_311);
    // With packages that are built from source.
    let source = copy_of(&example("sdist"), true);
    let mut run = Run::new(&cluster, &task, "sdist", source.path());
    run.refused = vec!["landlock_create_ruleset"];
    let expected = cluster.warpdrive.image("sdist", source.path(), &[]);
    let said = run.succeeds(&task, &expected);
    assert!(
        said[1].contains("as the step before has made them"),
        "{}",
        said[1]
    );
    assert!(said[2].contains("mounted"), "{}", said[2]);

    // With an application that looks around.
    let source = copy_of(&example("flask"), false);
    fs::write(source.path().join("reaches.py"), REACHES).unwrap();
    let hooks = source.path().join(".warpdrive/action_hooks");
    fs::create_dir_all(&hooks).unwrap();
    fs::write(hooks.join("build"), "#!/bin/sh\nexec python reaches.py\n").unwrap();
    process::run(Command::new("chmod").arg("755").arg(hooks.join("build")));
    let mut run = Run::new(&cluster, &task, "curious", source.path());
    run.refused = vec!["landlock_create_ruleset"];
    let [dependencies, application, push] = &task.spec.steps[..] else {
        panic!("three steps")
    };
    let output = run.run(&task, dependencies);
    assert!(output.status.success(), "{}", words(&output));
    let output = run.run(&task, application);
    assert!(output.status.success(), "{}", words(&output));
    let found = words(&output);
    for (name, reached) in [
        ("login", "False"),
        ("variable", "False"),
        ("dependencies", "False"),
        ("layer", "False"),
        ("source", "False"),
        // All steps share it, which is why the last one writes each of them anew.
        ("results", "True"),
    ] {
        let line = format!("reaches {name} {reached}");
        assert!(found.contains(&line), "{line}: {found}");
    }
    let output = run.run(&task, push);
    assert!(output.status.success(), "{}", words(&output));
    let digest = run.result("IMAGE_DIGEST");
    assert!(digest.len() == 71 && !digest.contains("evil"), "{digest}");
}

// shipwright.io/v1beta1

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Strategy {
    api_version: String,
    kind: String,
    metadata: Metadata,
    spec: StrategySpec,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StrategySpec {
    parameters: Vec<Parameter>,
    steps: Vec<StrategyStep>,
    volumes: Vec<Volume>,
    security_context: Option<User>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct User {
    run_as_user: u32,
    run_as_group: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StrategyStep {
    name: String,
    image: String,
    working_dir: String,
    command: Vec<String>,
    args: Vec<String>,
    env: Vec<Variable>,
    security_context: SecurityContext,
    resources: Resources,
    volume_mounts: Vec<VolumeMount>,
}

#[test]
fn the_strategies_are_ones_that_shipwright_takes() {
    let given = [
        "params.shp-output-image",
        "params.shp-source-context",
        "results.shp-image-digest.path",
        "results.shp-image-size.path",
        "results.shp-error-reason.path",
        "results.shp-error-message.path",
    ];
    let nonroot = User {
        run_as_user: 1001,
        run_as_group: 0,
    };
    for (file, name, user) in [
        ("shipwright/buildstrategy.yaml", "warpdrive", None),
        (
            "shipwright/buildstrategy-nonroot.yaml",
            "warpdrive-nonroot",
            Some(nonroot),
        ),
    ] {
        let strategy: Strategy = read(file);
        let kind = (strategy.api_version.as_str(), strategy.kind.as_str());
        assert_eq!(kind, ("shipwright.io/v1beta1", "ClusterBuildStrategy"));
        assert_eq!(strategy.metadata.name, name);
        assert_eq!(strategy.spec.security_context, user);
        let mut known: BTreeSet<String> = given.map(str::to_owned).into();
        for parameter in &strategy.spec.parameters {
            let is_array = parameter.r#type == Type::Array;
            assert_eq!(parameter.defaults.is_some(), is_array, "{}", parameter.name);
            let star = if is_array { "[*]" } else { "" };
            known.insert(format!("params.{}{star}", parameter.name));
        }
        for step in &strategy.spec.steps {
            assert!(step.security_context.is_restricted() && step.working_dir == "/");
            assert!(step.resources.limits.contains_key("memory"));
            for text in texts(&step.image, &step.command, &step.args, &step.env) {
                for variable in variables(text) {
                    assert!(known.contains(variable), "$({variable}) of {}", step.name);
                }
            }
            for mount in &step.volume_mounts {
                assert!(
                    strategy
                        .spec
                        .volumes
                        .iter()
                        .any(|volume| volume.name == mount.name)
                );
            }
        }
        // What the Task can do it can do, too. The commit is for Chains, which does not sign what Shipwright
        // pushes; its certificates are those of the pod.
        let ours: BTreeSet<&String> = strategy.spec.steps.iter().flat_map(|it| &it.args).collect();
        let task: Task = read("tekton/task.yaml");
        for option in task.spec.steps.iter().flat_map(|it| &it.args) {
            assert!(
                !option.starts_with("--") || ours.contains(option),
                "{option}"
            );
        }
        // Its push secret is in every step.
        let build = &strategy.spec.steps[0].args;
        let fence = build.iter().position(|word| word == "--fence").unwrap();
        assert_eq!(build[fence + 1], "require");
    }
}

impl Strategy {
    /// A Task that does the same: Shipwright makes one of a strategy, with the source in every step.
    fn as_task(&self) -> Task {
        let step = |step: &StrategyStep| Step {
            name: step.name.clone(),
            image: step.image.clone(),
            command: step.command.clone(),
            args: step.args.clone(),
            env: step
                .env
                .iter()
                .map(|it| Variable {
                    name: it.name.clone(),
                    value: it.value.clone(),
                })
                .collect(),
            compute_resources: Resources {
                requests: BTreeMap::new(),
                limits: BTreeMap::new(),
            },
            workspaces: vec![Named {
                name: "source".to_owned(),
            }],
            volume_mounts: step
                .volume_mounts
                .iter()
                .map(|it| VolumeMount {
                    name: it.name.clone(),
                    mount_path: it.mount_path.clone(),
                    read_only: it.read_only,
                })
                .collect(),
        };
        let parameter = |it: &Parameter| Parameter {
            name: it.name.clone(),
            r#type: match it.r#type {
                Type::String => Type::String,
                Type::Array => Type::Array,
            },
            description: it.description.clone(),
            default: match &it.defaults {
                Some(words) => Some(words.clone().into()),
                None => it.default.clone(),
            },
            defaults: None,
        };
        Task {
            api_version: String::new(),
            kind: String::new(),
            metadata: Metadata {
                name: self.metadata.name.clone(),
                labels: BTreeMap::new(),
                annotations: BTreeMap::new(),
            },
            spec: TaskSpec {
                description: String::new(),
                params: self.spec.parameters.iter().map(parameter).collect(),
                workspaces: Vec::new(),
                results: Vec::new(),
                volumes: self
                    .spec
                    .volumes
                    .iter()
                    .map(|it| Volume {
                        name: it.name.clone(),
                        empty_dir: Nothing {},
                    })
                    .collect(),
                step_template: StepTemplate {
                    working_dir: "/".to_owned(),
                    env: Vec::new(),
                    security_context: SecurityContext {
                        allow_privilege_escalation: false,
                        run_as_non_root: true,
                        capabilities: Capabilities {
                            drop: vec!["ALL".to_owned()],
                        },
                        seccomp_profile: Seccomp {
                            r#type: "RuntimeDefault".to_owned(),
                        },
                    },
                },
                steps: self.spec.steps.iter().map(step).collect(),
            },
        }
    }
}

/// The steps of the strategy as Shipwright runs them. The cache is read, and written where that is asked for.
#[test]
fn the_strategys_steps_build_the_image_that_root_has_and_fill_the_cache() {
    let strategy: Strategy = read("shipwright/buildstrategy.yaml");
    let task = strategy.as_task();
    let cluster = Cluster::new(PYTHON_311);
    let source = copy_of(&example("flask"), true);
    let expected = cluster.warpdrive.image("flask", source.path(), &[]);
    let cache = cluster.registry.reference("team/cache");
    let written = || {
        let mut tags = cluster.registry.tags("team/cache");
        tags.retain(|tag| tag.starts_with("f1-"));
        tags.len()
    };
    let mut filled = 0;
    for (name, write) in [
        ("untrusted", "false"),
        ("trusted", "true"),
        ("next", "true"),
    ] {
        let mut run = Run::new(&cluster, &task, name, source.path());
        for (parameter, value) in [
            ("shp-output-image", run.params["IMAGE"][0].clone()),
            ("shp-source-context", "/workspace/source".to_owned()),
            ("builder-image", "the pod's".to_owned()),
            ("cache", cache.clone()),
            ("cache-write", write.to_owned()),
        ] {
            run.params.insert(parameter.to_owned(), vec![value]);
        }
        for step in &task.spec.steps {
            let output = run.run(&task, step);
            let said = words(&output);
            assert!(output.status.success(), "{}: {said}", step.name);
            if (name, step.name.as_str()) == ("next", "build") {
                assert!(said.contains("distributions from the cache"), "{said}");
                assert!(!said.contains("Installed "), "{said}");
            }
        }
        assert_eq!(run.result("shp-image-digest"), expected["digest"]);
        assert!(run.result("shp-image-size").parse::<u64>().unwrap() > 0);
        match name {
            "untrusted" => assert_eq!(written(), 0),
            "trusted" => filled = written(),
            _ => assert_eq!(written(), filled),
        }
    }
    assert!(filled > 5, "{filled}");
}

/// Every line for warpdrive in the files is one that it takes.
#[test]
fn every_option_in_the_files_is_one_of_the_commands() {
    let tasks: [Task; 2] = ["tekton/task.yaml", "tekton/task-phases.yaml"].map(read);
    let strategy: Strategy = read("shipwright/buildstrategy.yaml");
    let steps = tasks.iter().flat_map(|task| &task.spec.steps);
    let steps = steps.map(|step| step.args.clone());
    let others = strategy.spec.steps.iter().map(|step| step.args.clone());
    let mut lines: Vec<Vec<String>> = steps.chain(others).collect();
    for file in ["ci/github.yaml", "ci/gitlab.yaml"] {
        let mut texts = Vec::new();
        scripts(&read::<Value>(file), &mut texts);
        let lines_of_file = texts.iter().flat_map(|text| text.split(['|', '\n']));
        for line in lines_of_file {
            let line = line
                .split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>();
            if line.first().is_some_and(|word| word.ends_with("warpdrive")) {
                lines.push(line[1..].to_vec());
            }
        }
    }
    assert!(lines.len() >= 12, "{lines:?}");
    let page = include_str!("../docs/reference/commands.md");
    for line in lines {
        let command = format!("warpdrive {}", line[0]);
        let section = page
            .split("\n## ")
            .find(|section| {
                section
                    .trim_start_matches(['#', ' ', '`'])
                    .starts_with(&command)
            })
            .unwrap_or_else(|| panic!("{command} is in no section"));
        for option in line.iter().filter(|word| word.starts_with("--")) {
            let name = option.split('=').next().unwrap();
            assert!(section.contains(name), "{command} {option}");
        }
    }
}

/// All that is run in a job.
fn scripts(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("run", Value::String(text)) => found.push(text.clone()),
                    ("script", Value::Array(lines)) => {
                        found.extend(lines.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    _ => scripts(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| scripts(value, found)),
        _ => {}
    }
}

// build.openshift.io/v1, image.openshift.io/v1

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct List {
    api_version: String,
    kind: String,
    items: Vec<Object>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
enum Object {
    ImageStream {
        #[serde(rename = "apiVersion")]
        api_version: String,
        metadata: Metadata,
        spec: ImageStream,
    },
    BuildConfig {
        #[serde(rename = "apiVersion")]
        api_version: String,
        metadata: Metadata,
        spec: Box<BuildConfig>,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ImageStream {
    #[expect(dead_code, reason = "its form is what counts")]
    lookup_policy: LookupPolicy,
    #[serde(default)]
    tags: Vec<StreamTag>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "its form is what counts")]
struct LookupPolicy {
    local: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "its form is what counts")]
struct StreamTag {
    name: String,
    annotations: BTreeMap<String, String>,
    from: ObjectReference,
    reference_policy: BTreeMap<String, String>,
    import_policy: BTreeMap<String, bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectReference {
    kind: String,
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "its form is what counts")]
struct BuildConfig {
    source: Source,
    strategy: S2iStrategy,
    output: Output,
    resources: Resources,
    triggers: Vec<Trigger>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "its form is what counts")]
struct Source {
    r#type: String,
    git: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "its form is what counts")]
struct S2iStrategy {
    r#type: String,
    source_strategy: SourceStrategy,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "its form is what counts")]
struct SourceStrategy {
    from: ObjectReference,
    incremental: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Output {
    to: ObjectReference,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "its form is what counts")]
struct Trigger {
    r#type: String,
    image_change: Option<Nothing>,
}

#[test]
fn the_build_configuration_is_one_that_openshift_takes() {
    let list: List = read("openshift/buildconfig.yaml");
    assert_eq!(
        (list.api_version.as_str(), list.kind.as_str()),
        ("v1", "List")
    );
    let mut streams = BTreeSet::new();
    let mut wanted = Vec::new();
    for object in list.items {
        match object {
            Object::ImageStream {
                api_version,
                metadata,
                spec,
            } => {
                assert_eq!(api_version, "image.openshift.io/v1");
                assert!(spec.tags.iter().all(|tag| tag.from.kind == "DockerImage"));
                streams.insert(metadata.name);
            }
            Object::BuildConfig {
                api_version,
                metadata,
                spec,
            } => {
                assert_eq!(api_version, "build.openshift.io/v1");
                assert!(!metadata.name.is_empty());
                wanted.push(spec.output.to);
                wanted.push(spec.strategy.source_strategy.from);
            }
        }
    }
    for reference in wanted {
        let (stream, _) = reference.name.split_once(':').unwrap();
        assert!(
            reference.kind == "ImageStreamTag" && streams.contains(stream),
            "{stream}"
        );
    }
}
