//! The image in the hands of others: podman, a real dockerd, runc on an umoci bundle. As uid 1001
//! and as an arbitrary uid with group 0, with a read-only root, without any capability.

use crate::support::docker::Docker;
use crate::support::podman::Podman;
use crate::support::run::{OPENSHIFT_USER, RunOptions, Running};
use crate::support::runc::Runc;
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive, copy_of, example};
use crate::support::{http, process, skopeo};

fn serves(running: Running<'_>, who: &str) {
    let page = running.get("/");
    assert_eq!(
        page.status,
        200,
        "{who}: {}\n{}",
        page.text(),
        running.logs()
    );
    let css = running.get("/static/style.css");
    assert_eq!(css.status, 200, "{who}: {}", running.logs());
    assert!(
        css.header("content-type")
            .unwrap_or("")
            .starts_with("text/css"),
        "{who}"
    );
    let end = running.stop();
    assert_eq!(end.code, 0, "{who}: SIGTERM ends the server");
}

/// The ways in which an image is run: as it says, and as a strict cluster does.
fn ways(image: &str) -> [RunOptions; 2] {
    [RunOptions::new(image), RunOptions::restricted(image)]
}

#[test]
fn podman_runs_it() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    warpdrive.image("flask", &example("flask"), &[]);
    let podman = Podman::new();
    let image = podman.pull(&format!(
        "oci:{}:flask",
        warpdrive.layout("flask").display()
    ));
    for options in ways(&image) {
        serves(podman.run(&options), "podman");
    }
}

#[test]
fn docker_runs_it_from_an_archive_and_through_its_socket() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    warpdrive.image("flask", &example("flask"), &[]);
    let docker = Docker::start();
    docker.load(&warpdrive.docker_archive("flask"));
    let inspected = docker.inspect("flask:latest");
    assert_eq!(inspected["Config"]["User"], "1001");
    for options in ways("flask:latest") {
        serves(docker.run(&options), "docker");
    }
    let socket = format!("DOCKER_HOST={}", docker.host());
    process::run(&mut warpdrive.command_in(
        &warpdrive.place(),
        &[&socket],
        &["export", "flask", "docker-daemon:flask:sent"],
    ));
    serves(docker.run(&RunOptions::new("flask:sent")), "docker-daemon:");
}

#[test]
fn runc_runs_it_from_an_umoci_bundle() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    warpdrive.image("flask", &example("flask"), &[]);
    let layout = warpdrive.layout("flask");
    let output =
        process::output(skopeo::command("inspect").arg(format!("oci:{}:flask", layout.display())));
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        process::words(&output)
    );
    let runc = Runc::unpack(&layout, "flask");
    for options in ways("flask") {
        serves(runc.run(&options), "runc");
    }
}

/// Three frameworks as a strict cluster runs them, under every engine and under `warpdrive run`, which
/// drops all capabilities by itself.
#[test]
fn the_examples_run_restricted_everywhere() {
    // Django's database is prepared before it starts; the others pass over the command.
    const START: &str = "warpdrive migrate && exec /opt/app-root/s2i/bin/run";
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let (podman, docker) = (Podman::new(), Docker::start());
    for name in ["flask", "django", "fastapi"] {
        let env = [
            ("DJANGO_SECRET_KEY", "x1y2z3"),
            ("DATABASE", "/tmp/g.sqlite3"),
            ("WEB_CONCURRENCY", workers(name)),
        ];
        let source = copy_of(&example(name), false);
        warpdrive.image(name, source.path(), &["--require-audit"]);
        let command: &[&str] = if name == "django" {
            &["sh", "-c", START]
        } else {
            &[]
        };
        let restricted = |image: &str| {
            let options = RunOptions::restricted(image).command(command.iter().copied());
            env.iter()
                .fold(options, |options, (name, value)| options.env(*name, *value))
        };
        let layout = format!("oci:{}:{name}", warpdrive.layout(name).display());
        let image = podman.pull(&layout);
        docker.load(&warpdrive.docker_archive(name));
        answers(podman.run(&restricted(&image)), name, "podman");
        answers(
            docker.run(&restricted(&format!("{name}:latest"))),
            name,
            "docker",
        );

        let port = http::free_port();
        let publish = format!("{port}:8080");
        let container = format!("strict-{name}-{port}");
        let env = env.map(|(name, value)| format!("--env={name}={value}"));
        let mut arguments = vec![
            "run",
            "-d",
            "--name",
            &container,
            "-p",
            &publish,
            "--read-only",
            "--user",
            OPENSHIFT_USER,
            &env[0],
            &env[1],
            &env[2],
            name,
            "--",
        ];
        arguments.extend(command);
        warpdrive.run(&arguments);
        let page = http::wait_until_serving(port, std::time::Duration::from_mins(1));
        let facts = warpdrive.run(&[
            "container",
            "exec",
            &container,
            "--",
            "sh",
            "-c",
            "id -u; id -g; grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/self/status; \
             touch /opt/app-root/src/x || echo read-only",
        ]);
        warpdrive.run(&["container", "stop", &container]);
        warpdrive.run(&["container", "rm", &container]);
        assert_eq!(page.status, 200, "run, {name}: {}", page.text());
        assert_eq!(
            facts,
            "1000650000\n0\nCapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\n\
             read-only\n",
            "run, {name}"
        );
    }
}

/// A worker that still boots does not hear that it is to stop, and its server waits for it longer than an engine
/// does. Of gunicorn's the one that answers is the only one; uvicorn alone ends with 143, and tells of each worker.
fn workers(name: &str) -> &'static str {
    if name == "fastapi" { "2" } else { "1" }
}

fn answers(running: Running<'_>, name: &str, engine: &str) {
    let page = running.get("/");
    assert_eq!(
        page.status,
        200,
        "{engine}, {name}: {}\n{}",
        page.text(),
        running.logs()
    );
    if name == "fastapi" {
        let ready = || {
            running
                .logs()
                .matches("Application startup complete")
                .count()
        };
        let all = process::poll(std::time::Duration::from_mins(1), || {
            (ready() == 2).then_some(())
        });
        assert!(all.is_some(), "{engine}: {}", running.logs());
    }
    let end = running.stop();
    assert_eq!(end.code, 0, "{engine}, {name}: SIGTERM ends the server");
}
