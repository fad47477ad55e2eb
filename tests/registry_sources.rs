//! Where an image comes from when there are several places: what `registries.conf` blocks is not asked, and no other
//! image is taken for the one that is meant.

#![allow(clippy::unwrap_used)] // outside of #[test] functions too

use std::fs;
use std::process::Command;

use crate::support::fake_registry::{FakeRegistry, Reply};
use crate::support::process;
use crate::support::sound_registry::{Held, SoundRegistry};
use crate::support::stored::{image, store};
use crate::support::warpdrive::Warpdrive;
use warpdrive::oci::Descriptor;
use warpdrive::store::Store;

/// A manifest, and not its layers.
fn hollow(store: &Store, manifest: &Descriptor) -> Held {
    let image = store.image_at(manifest).unwrap();
    let mut held = Held::of(store, manifest);
    for layer in image.manifest.layers() {
        held.blobs.remove(layer.digest().as_ref());
    }
    held
}

fn sound(held: Held) -> SoundRegistry {
    SoundRegistry::start(Vec::new(), held)
}

struct There {
    here: Warpdrive,
}

impl There {
    fn new() -> Self {
        let here = Warpdrive::new();
        Self { here }
    }

    /// Runs it with a configuration.
    fn run(&self, text: &str, arguments: &[&str]) -> (i32, String) {
        let place = self.here.place();
        let conf = place.join("registries.conf");
        fs::write(&conf, text).unwrap();
        let env = format!("CONTAINERS_REGISTRIES_CONF={}", conf.display());
        let mut command = self.here.command_in(&place, &[&env], arguments);
        let output = process::output(&mut command);
        (output.status.code().unwrap(), process::words(&output))
    }
}

/// The same file for skopeo, which is what podman uses: whom it asks is what counts.
fn skopeo(text: &str, name: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let conf = dir.path().join("registries.conf");
    fs::write(&conf, text).unwrap();
    let mut command = Command::new("skopeo");
    command.arg("--registries-conf").arg(&conf).args([
        "inspect",
        "--raw",
        &format!("docker://{name}"),
    ]);
    process::output(&mut command).status.success()
}

/// Mirrors of what is blocked are asked, and what is blocked is not, wherever it stands.
#[test]
fn what_is_blocked_is_not_asked() {
    let (_dir, store) = store();
    let manifest = image(&store, &[b"x"], &[]);
    let [one, two] = [(); 2].map(|()| sound(Held::of(&store, &manifest)));
    let (a, b) = (one.address(), two.address());
    let entry = |more: &str| {
        format!(
            "[[registry]]\nprefix = 'a.invalid'\nlocation = '{b}/crew'\ninsecure = true\n{more}\n\
             [[registry.mirror]]\nlocation = '{a}/crew'\ninsecure = true\n"
        )
    };
    let block = |place: &str| {
        format!("[[registry]]\nlocation = '{place}'\ninsecure = true\nblocked = true\n")
    };
    let name = "a.invalid/opal:1";
    for (text, asked) in [
        (entry(""), Some(a)),
        (entry("blocked = true"), Some(a)),
        (format!("{}{}", entry(""), block(a)), Some(b)),
        (
            format!("{}{}", entry(""), block(&format!("{a}/crew/opal"))),
            Some(b),
        ),
        (format!("{}{}", entry(""), block(b)), Some(a)),
        (format!("{}{}{}", entry(""), block(a), block(b)), None),
        // Of one prefix, the first counts.
        (
            format!(
                "{}[[registry]]\nprefix = 'a.invalid'\nlocation = 'c.invalid'\n",
                entry("")
            ),
            Some(a),
        ),
        // What is said twice and not in the same way is a mistake.
        (
            format!(
                "{}[[registry]]\nlocation = '{b}/crew'\ninsecure = true\nblocked = true\n",
                entry("")
            ),
            None,
        ),
    ] {
        let counts = || [&one, &two].map(|registry| registry.asked().len());
        let before = counts();
        let (code, words) = There::new().run(&text, &["pull", name]);
        assert_eq!(code == 0, asked.is_some(), "{text}{words}");
        let after = counts();
        let [first, second] = [0, 1].map(|n| before[n] != after[n]);
        assert_eq!(
            (first, second),
            (asked == Some(a), asked == Some(b)),
            "{text}{words}"
        );
        assert_eq!(skopeo(&text, name), asked.is_some(), "{text}");
        let [first, second] = [0, 1].map(|n| after[n] != counts()[n]);
        assert_eq!(
            (first, second),
            (asked == Some(a), asked == Some(b)),
            "skopeo: {text}"
        );
    }
}

/// A mirror that lacks the image of a blocked registry: both are told.
#[test]
fn what_blocks_the_rest_is_told() {
    let empty = sound(Held::default());
    let text = format!(
        "[[registry]]\nlocation = 'a.invalid'\nblocked = true\n\
         [[registry.mirror]]\nlocation = '{}/crew'\n",
        empty.address()
    );
    let (code, words) = There::new().run(&text, &["pull", "a.invalid/opal:1"]);
    assert_eq!(code, 5, "{words}");
    assert!(
        words.contains(empty.address()) && words.contains("a.invalid may not be used"),
        "{words}"
    );
}

/// The registry that has the name decides which image is meant.
#[test]
fn another_registrys_image_is_not_taken_for_one_that_lacks_a_layer() {
    let (_dir, store) = store();
    let images = [image(&store, &[b"a"], &[]), image(&store, &[b"b"], &[])];
    let first = sound(hollow(&store, &images[0]));
    let second = sound(Held::of(&store, &images[1]));
    let (a, b) = (first.address(), second.address());
    let search = format!("unqualified-search-registries = ['{a}/crew', '{b}/crew']\n");
    let there = There::new();
    let target = format!("oci:{}", there.here.place().join("layout").display());
    for arguments in [
        &["pull", "opal:1"][..],
        &["copy", "docker://opal:1", &target],
    ] {
        let (code, words) = there.run(&search, arguments);
        assert_eq!(code, 5, "{arguments:?}: {words}");
        assert!(words.contains(a), "{words}");
        assert!(
            words.contains(&format!("{b} is not asked")),
            "{arguments:?}: {words}"
        );
    }
    assert!(second.asked().is_empty(), "{:?}", second.lines());
    // Without the manifest, the next one is asked.
    first.held().manifests.clear();
    let (code, words) = there.run(&search, &["pull", "opal:1"]);
    assert_eq!(code, 0, "{words}");
    assert!(words.contains(images[1].digest().as_ref()), "{words}");
    assert!(words.contains("is asked instead"), "{words}");
}

/// A first registry whose manifest is cut or is not one does not hand the name on to the next.
#[test]
fn another_registrys_image_is_not_taken_for_one_that_is_not_sound() {
    let (_dir, store) = store();
    let own = image(&store, &[b"b"], &[]);
    let first = FakeRegistry::start(|asked| {
        if asked.target == "/v2/" {
            return Reply::new(200).body("{}");
        }
        Reply::new(200).body("<html><title>Welcome</title></html>")
    });
    let second = sound(Held::of(&store, &own));
    let (a, b) = (first.address(), second.address());
    let search = format!("unqualified-search-registries = ['{a}/crew', '{b}/crew']\n");
    let (code, words) = There::new().run(&search, &["pull", "opal:1"]);
    assert_eq!(code, 5, "{words}");
    assert!(words.contains(a), "{words}");
    assert!(words.contains(&format!("{b} is not asked")), "{words}");
    assert!(second.asked().is_empty(), "{:?}", second.lines());
}

/// A mirror serves the rest of an image if the name means the same image there, and the registry of the name in any
/// case.
#[test]
fn mirrors_serve_the_same_image() {
    let (_dir, store) = store();
    let images = [image(&store, &[b"a"], &[]), image(&store, &[b"b"], &[])];
    let first = sound(hollow(&store, &images[0]));
    for (second, third, expected) in [
        (&images[0], &images[1], &images[0]),
        (&images[1], &images[0], &images[0]),
        (&images[1], &images[1], &images[1]),
    ] {
        let mirror = sound(Held::of(&store, second));
        let own = sound(Held::of(&store, third));
        let text = format!(
            "[[registry]]\nlocation = '{}'\n[[registry.mirror]]\nlocation = '{}'\n\
             [[registry.mirror]]\nlocation = '{}'\n",
            own.address(),
            first.address(),
            mirror.address()
        );
        let name = format!("{}/crew/opal:1", own.address());
        let (code, words) = There::new().run(&text, &["pull", &name]);
        assert_eq!(code, 0, "{words}");
        assert!(words.contains(expected.digest().as_ref()), "{words}");
        assert_eq!(own.asked().is_empty(), *second == images[0], "{words}");
    }
}
