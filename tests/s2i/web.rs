//! Scripts by http(s) are fetched by this machine: only those that the caller asks for.

use super::scripts::by_proxy;
use crate::support::fake_registry::{FakeRegistry, Reply};
use crate::support::process::{says, words};
use crate::support::s2i::{hello, printed, s2i};
use crate::support::s2i_builders::Builder;
use crate::support::warpdrive::Warpdrive;

const ASSEMBLE: &str = "#!/bin/sh\necho fetched > /opt/app/result\n";
const LABEL: &str = "io.openshift.s2i.scripts-url";

fn naming(warpdrive: &Warpdrive, name: &str, url: &str) {
    Builder::plain()
        .label(LABEL, url)
        .put(&warpdrive.store(), name);
}

#[test]
fn an_image_makes_this_machine_ask_nobody() {
    let warpdrive = Warpdrive::new();
    let local = FakeRegistry::start(|_| Reply::new(200).body(ASSEMBLE));
    let to = format!("http://{}/x", local.address());
    let proxy = FakeRegistry::start(move |asked| match asked.target.as_str() {
        "http://scripts.example/s2i/assemble" | "http://scripts.example/s2i/usage" => {
            Reply::new(200).body(ASSEMBLE)
        }
        "http://scripts.example/s2i/run" => Reply::new(200).body("#!/bin/sh\n"),
        "http://moved.example/assemble" => Reply::new(302).header("location", &to),
        _ => Reply::new(404),
    });
    let here = format!("http://{}/s2i", local.address());
    naming(&warpdrive, "here", &here);
    naming(&warpdrive, "named", "http://localhost:9/s2i");
    naming(&warpdrive, "cloud", "http://169.254.169.254/latest");
    naming(&warpdrive, "web", "http://scripts.example/s2i");
    naming(&warpdrive, "moved", "http://moved.example");
    let source = hello();
    let path = source.path().to_str().unwrap();
    let by = |arguments: &[&str]| by_proxy(&warpdrive, &proxy, arguments);

    // Unasked: refused, with the way to ask.
    for builder in ["here", "named", "cloud", "web", "moved"] {
        let output = by(&[path, builder, "app"]);
        assert_eq!(
            output.status.code(),
            Some(4),
            "{builder}: {}",
            words(&output)
        );
        says(&output, "fetched only if you ask for them");
        says(&output, "--scripts-host");
    }
    let dockerfile = warpdrive.place().join("out/Dockerfile");
    std::fs::create_dir_all(dockerfile.parent().unwrap()).unwrap();
    let dockerfile = dockerfile.to_str().unwrap();
    let output = by(&[path, "web", "app", "--as-dockerfile", dockerfile]);
    assert_eq!(output.status.code(), Some(4), "{}", words(&output));
    for arguments in [
        &["s2i", "usage", "here"][..],
        &["image", "app", "--builder", "here", "--path", path],
    ] {
        let output = warpdrive.output(arguments);
        assert_eq!(output.status.code(), Some(4), "{}", words(&output));
    }
    // Asked for, but of this machine: never.
    for (builder, host) in [
        ("here", "127.0.0.1"),
        ("named", "localhost"),
        ("cloud", "169.254.169.254"),
        ("moved", "moved.example"),
    ] {
        let output = by(&[path, builder, "app", "--scripts-host", host]);
        assert!(!output.status.success());
        says(&output, "an address of this machine or of its own link");
    }
    let output = by(&[path, "web", "app", "--scripts-url", &here]);
    assert!(!output.status.success());
    says(&output, "an address of this machine or of its own link");
    // `--network none` also forbids fetching scripts.
    for more in [
        &["--scripts-host", "scripts.example"][..],
        &["--scripts-url", "http://scripts.example/s2i"],
    ] {
        let output = by(&[&[path, "web", "app", "--network", "none"], more].concat());
        assert_eq!(output.status.code(), Some(2), "{}", words(&output));
        says(&output, "--network none");
    }
    let before: Vec<String> = proxy.lines();
    assert!(
        before.iter().all(|line| line.contains("moved.example")),
        "{before:?}"
    );
    assert_eq!(local.asked().len(), 0, "{:?}", local.lines());

    // The twin: what was asked for is fetched.
    for (name, more) in [
        ("one", &["--scripts-host", "scripts.example"][..]),
        ("two", &["--scripts-host", "SCRIPTS.example:80"]),
        ("three", &["--scripts-url", "http://scripts.example/s2i"]),
    ] {
        let output = by(&[&[path, "web", name], more].concat());
        assert!(output.status.success(), "{}", words(&output));
        assert_eq!(
            printed(&warpdrive, name, &["/bin/cat", "/opt/app/result"]),
            "fetched\n"
        );
    }
    // A URL in an image's record counts as chosen by the image.
    let output = warpdrive.output(&["verify-build", "three", "--source", path]);
    assert_eq!(output.status.code(), Some(4), "{}", words(&output));
    says(&output, "fetched only if you ask for them");
    let output = s2i(&warpdrive, &["usage", "web"]);
    assert_eq!(output.status.code(), Some(4), "{}", words(&output));
}
