//! Layers: what a higher one hides, and that each is the one that the configuration names.

use serde_json::Value;
use warpdrive::audit::Severity::{High, Medium};
use warpdrive::audit::{self, Policy};
use warpdrive::store::Store;

use crate::audit::verdict::{breaks, keeps};
use crate::support::made::Layer;
use crate::support::sound::{SU, audit_of, found, sound, today, with};

#[test]
fn what_a_higher_layer_hides() {
    let backdoor = || {
        with(
            Layer::new()
                .dir("srv/tools", 0o755, (0, 0))
                .file("srv/tools/id", 0o4711, "id"),
        )
    };
    for (what, hide) in [
        ("a whiteout", Layer::new().whiteout("srv/tools/id")),
        (
            "a whiteout of the directory",
            Layer::new().whiteout("srv/tools"),
        ),
        ("a whiteout further up", Layer::new().whiteout("srv")),
        ("an opaque directory", Layer::new().opaque("srv/tools")),
        (
            "a file in the directory's place",
            Layer::new().file("srv/tools", 0o644, ""),
        ),
        ("chmod u-s", Layer::new().file("srv/tools/id", 0o711, "id")),
    ] {
        let image = backdoor().layer(hide);
        let report = audit_of(&image);
        assert_eq!(found(&report), [("setuid-hidden", Medium)], "{what}");
        assert_eq!(report.findings[0].layer, Some(2), "{what}");
    }
    for (what, other) in [
        ("another file", Layer::new().whiteout("srv/tools/idx")),
        (
            "the directory again",
            Layer::new().dir("srv/tools", 0o755, (0, 0)),
        ),
        (
            "AUFS's own marks",
            Layer::new().file("srv/tools/.wh..wh.plnk", 0o644, ""),
        ),
        ("a whiteout below", Layer::new().whiteout("srv/tools/id/x")),
    ] {
        breaks(&backdoor().layer(other), "setuid", High);
        keeps(
            &backdoor().layer(Layer::new().whiteout("srv/tools/id")),
            "setuid",
        );
        let _ = what;
    }
    // Within one layer, a whiteout is about lower layers only.
    let same = Layer::new().whiteout("srv/id").file("srv/id", 0o4711, "id");
    breaks(&with(same), "setuid", High);
    // The last of two entries of one name stays.
    let twice = Layer::new()
        .file("srv/id", 0o4711, "id")
        .file("srv/id", 0o711, "id");
    keeps(&with(twice), "setuid");
    // Known programs of the base that a builder hardened are no finding.
    assert_eq!(
        audit_of(&with(Layer::new().file("usr/bin/su", 0o755, SU))).findings,
        []
    );
    // Other spellings of a name.
    breaks(
        &with(Layer::new().file("/./srv//id", 0o4711, "id")),
        "setuid",
        High,
    );
    breaks(
        &with(Layer::new().file("srv/../id", 0o644, "id")),
        "layer-path",
        High,
    );
}

/// A blob can be one layer to who goes by its first bytes and another to who goes by its media type:
/// what is judged has to be the layer that the configuration names.
#[test]
fn a_layer_that_is_not_the_one_of_its_diff_id_is_no_pass() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("store");
    let store = Store::open(Some(&root)).unwrap();
    sound().put(&store, "sound");
    let mut image = store.image("sound").unwrap().unwrap();
    let judged = |image: &warpdrive::store::Image| {
        let image = audit::from_store(&store, "sound", image).unwrap();
        audit::audit(&image, &Policy::default(), today())
    };
    assert!(judged(&image).is_ok());
    let mut config: Value = serde_json::from_slice(&image.config_bytes).unwrap();
    config["rootfs"]["diff_ids"][1] = warpdrive::oci::sha256(b"another").to_string().into();
    let bytes = serde_json::to_vec(&config).unwrap();
    image.config = warpdrive::oci::ImageConfig::from_bytes(&bytes, "it").unwrap();
    let error = judged(&image).unwrap_err().to_string();
    assert!(error.contains("its bytes have the digest"), "{error}");
}
