//! `warpdrive inspect`: the page in a real browser, with names that are hostile; the tree on a terminal.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::json;
use warpdrive::store::Store;

use crate::support::made::{Layer, Made};
use crate::support::process::{self, words};
use crate::support::warpdrive::{PYTHON_311_RUN, Warpdrive, copy_of, example};

const BROWSER: Duration = Duration::from_mins(2);

/// What a script would do that a name brought in.
const ATTACK: &str = "<img src=x onerror=\"document.title='owned'\">";

/// Debian's Chromium without a window, on a file, with these arguments; gives what it prints.
fn chromium(page: &Path, arguments: &[&str]) -> String {
    let profile = tempfile::tempdir().unwrap();
    let mut command = Command::new(process::tool("chromium"));
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--hide-scrollbars",
            "--window-size=1000,1400",
            "--no-first-run",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(arguments)
        .arg(format!("file://{}", page.display()))
        .env("HOME", profile.path());
    let output = process::output_within(&mut command, BROWSER);
    assert!(output.status.success(), "{}", words(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn hostile(store: &Store, name: &str, version: &str) {
    let site = "opt/app-root/lib/python3.11/site-packages";
    let metadata = format!(
        "Metadata-Version: 2.1\nName: {ATTACK}\nVersion: {version}\nLicense: </style><script>document.title='owned'</script>\n\n"
    );
    Made::new(&json!({"User": "1001", "Cmd": ["run", ATTACK], "Labels": {
        "io.warpdrive.plan": json!({"version": 1, "framework": ATTACK}).to_string(),
    }}))
    .layer_by(
        Layer::new().file("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\n"),
        &format!("</svg>{ATTACK}"),
    )
    .layer_by(
        Layer::new()
            .file(&format!("{site}/a-1.dist-info/METADATA"), 0o644, metadata)
            .file(&format!("{site}/a-1.dist-info/RECORD"), 0o644, "a.py,,\n")
            .file(&format!("{site}/a.py"), 0o644, "x = 1\n")
            .file(
                "opt/app-root/src/<script>document.title='owned'",
                0o644,
                version,
            )
            .file("opt/app-root/src/\u{202e}gpj", 0o644, "x"),
        "warpdrive: application",
    )
    .put(store, name);
}

#[test]
fn hostile_names_are_text_in_the_page_and_nothing_else() {
    let warpdrive = Warpdrive::new();
    let store = Store::open(Some(&warpdrive.store())).unwrap();
    hostile(&store, "before", "1.0");
    hostile(&store, "bad", "2.0");
    let page = warpdrive.place().join("bad.html");
    let file = page.display().to_string();
    warpdrive.run(&["inspect", "bad", "--html", &file, "--against", "before"]);
    let text = fs::read_to_string(&page).unwrap();
    assert!(text.len() < 200_000, "{}", text.len());
    for wrong in [
        "<img",
        "<script",
        "</svg><img",
        "javascript:",
        "http://",
        "\u{202e}",
    ] {
        assert!(!text.contains(wrong), "{wrong}");
    }

    // As the browser has read it: the names are there, as text, and nothing ran.
    let dom = chromium(&page, &["--dump-dom"]);
    assert!(dom.contains("default-src 'none'"), "{dom}");
    assert!(dom.contains("<title>bad: what"), "{dom}");
    assert!(!dom.contains("<img") && !dom.contains("<script"), "{dom}");
    assert!(dom.contains("&lt;img src=x onerror="), "{dom}");
    // What changed: the distribution's version, and a file whose size is the same.
    assert!(dom.contains("Changes against before"), "{dom}");
    assert!(dom.contains("<td>1.0</td><td>2.0</td>"), "{dom}");
    assert!(dom.contains("Files changed, 2"), "{dom}");

    // Control characters in names are escaped, and lines fit the terminal.
    let output = process::output(warpdrive.command(&["inspect", "bad"]).env("COLUMNS", "60"));
    let said = words(&output);
    assert!(
        said.lines().all(|line| line.chars().count() <= 60),
        "{said}"
    );
}

#[test]
fn the_page_of_an_example_is_a_page_in_light_and_dark_and_on_paper() {
    let warpdrive = Warpdrive::with(PYTHON_311_RUN);
    let source = copy_of(&example("flask"), false);
    warpdrive.image("flask", source.path(), &[]);
    fs::write(source.path().join("more.py"), "x = 1\n").unwrap();
    warpdrive.image("flask2", source.path(), &[]);
    let page = warpdrive.place().join("flask.html");
    let file = page.display().to_string();
    warpdrive.run(&["inspect", "flask2", "--html", &file, "--against", "flask"]);
    let dom = chromium(&page, &["--dump-dom"]);
    for part in [
        "<h2>Layers</h2>",
        "Shared with",
        "flask",
        "gunicorn",
        "BSD",
        "It is started like this because of",
        "<h2>Steps of the build</h2>",
        "<meter",
        "application: run, because",
        "What to do:",
        "/opt/app-root/src/more.py",
    ] {
        assert!(dom.contains(part), "{part}: {dom}");
    }
    let mut shots = Vec::new();
    // Blink's numbers for prefers-color-scheme.
    for (scheme, name) in [("1", "light"), ("0", "dark")] {
        let shot = warpdrive.place().join(format!("{name}.png"));
        chromium(
            &page,
            &[
                &format!("--blink-settings=preferredColorScheme={scheme}"),
                &format!("--screenshot={}", shot.display()),
            ],
        );
        let bytes = fs::read(&shot).unwrap();
        assert!(
            bytes.starts_with(b"\x89PNG") && bytes.len() > 20_000,
            "{name}"
        );
        shots.push(bytes);
        if let Ok(kept) = std::env::var("KEEP_SCREENSHOTS") {
            fs::copy(&shot, Path::new(&kept).join(format!("flask-{name}.png"))).unwrap();
        }
    }
    assert_ne!(
        shots[0], shots[1],
        "the colours do not follow the reader's wish"
    );
    let paper = warpdrive.place().join("page.pdf");
    chromium(&page, &[&format!("--print-to-pdf={}", paper.display())]);
    assert!(fs::read(&paper).unwrap().starts_with(b"%PDF"));

    let tree = warpdrive.run(&["inspect", "flask2"]);
    for part in [
        "├─ base",
        "├─ dependencies",
        "├─ application",
        "runs as 1001",
        "(also in",
    ] {
        assert!(tree.contains(part), "{part}: {tree}");
    }
    let packages = warpdrive.run(&["inspect", "flask2", "--packages"]);
    assert!(
        packages.contains("Flask") || packages.contains("flask"),
        "{packages}"
    );
    let plan = warpdrive.run(&["inspect", "flask2", "--plan"]);
    assert!(plan.contains("framework") && !plan.contains('{'), "{plan}");
    let layers = warpdrive.run(&["inspect", "flask2", "--layers"]);
    assert!(layers.starts_with("LAYER"), "{layers}");
    assert!(
        warpdrive
            .run(&["inspect", "flask2", "--config"])
            .contains("/opt/app-root/src")
    );
    let output = warpdrive.output(&["inspect", "flask2", "--html", "/nowhere/x.html"]);
    let said = words(&output);
    assert!(
        !output.status.success() && said.contains("could not write /nowhere/x.html"),
        "{said}"
    );
}
