//! Copies from registry to registry when something goes wrong on one side: they do what pull and push do.

use crate::support::process;
use crate::support::registry::Registry;
use crate::support::stored::image_for;
use crate::support::warpdrive::Warpdrive;
use warpdrive::store::Store;

#[test]
fn copy_and_inspect_refuse_another_platform() {
    let registry = Registry::start();
    let here = Warpdrive::new();
    let store = Store::open(Some(&here.store())).unwrap();
    let other = image_for(&store, "linux/arm64", &[b"x"], &[]);
    store.tag("crew/arm:1", &other).unwrap();
    let (from, to) = (registry.reference("crew/arm:1"), registry.reference("x:1"));
    here.run(&["push", "crew/arm:1", &from]);
    let (from, to) = (format!("docker://{from}"), format!("docker://{to}"));
    for (arguments, platform, code) in [
        (&["copy", &from, &to][..], "linux/amd64", 5),
        (&["copy", &from, &to], "linux/x86_64", 5),
        (&["copy", &from, &to], "linux/aarch64", 0),
        (&["inspect", &from], "linux/amd64", 5),
        (&["inspect", &from], "linux/arm64", 0),
    ] {
        let mut all = arguments.to_vec();
        all.extend(["--platform", platform]);
        let output = process::output(&mut here.command(&all));
        let words = process::words(&output);
        assert_eq!(output.status.code(), Some(code), "{all:?}: {words}");
        assert_eq!(
            words.contains("is for linux/arm64, not for linux/amd64"),
            code == 5,
            "{all:?}: {words}"
        );
    }
}
