//! The image in the hands of others: podman, a real dockerd, runc on an umoci bundle. As uid 1001
//! and as an arbitrary uid with group 0, with a read-only root, without any capability.

mod support;

use support::docker::Docker;
use support::podman::Podman;
use support::run::{RunOptions, Running};
use support::runc::Runc;
use support::warpdrive::{PYTHON_311, Warpdrive, example};
use support::{process, skopeo};

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
    let warpdrive = Warpdrive::with(PYTHON_311);
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
    let warpdrive = Warpdrive::with(PYTHON_311);
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
    let warpdrive = Warpdrive::with(PYTHON_311);
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
