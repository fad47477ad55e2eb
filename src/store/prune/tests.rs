use std::fs::File;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::tests::store;
use super::super::{Needs, Record};
use super::*;
use crate::oci::{Descriptor, Digest, MediaType, descriptor, sha256};

/// A record that needs blobs.
#[derive(Serialize, Deserialize)]
struct Layers(Vec<Descriptor>);

impl Record for Layers {
    const KIND: &'static str = "dependencies";

    fn needs(&self) -> Needs {
        Needs::blobs(&self.0)
    }
}

/// A record that needs nothing, whatever its fields are called.
#[derive(Serialize, Deserialize)]
struct Resolution {
    blobs: Vec<Descriptor>,
}

impl Record for Resolution {
    const KIND: &'static str = "resolution";

    fn needs(&self) -> Needs {
        Needs::nothing()
    }
}

/// An image of one layer, whose diff ID is the digest of `content` and `"diff"`.
fn image(store: &Store, content: &str) -> (Descriptor, Descriptor) {
    let put = |media_type: MediaType, bytes: &[u8]| {
        let (digest, size) = store.put_blob(bytes).unwrap();
        descriptor(media_type, digest, size)
    };
    let layer = put(MediaType::ImageLayerGzip, content.repeat(1000).as_bytes());
    let config = json!({"os": "linux", "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": [diff_id(content)]}});
    let config = put(MediaType::ImageConfig, config.to_string().as_bytes());
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer],
        "annotations": {"org.opencontainers.image.base.digest": sha256(b"base").to_string()}});
    let manifest = put(MediaType::ImageManifest, manifest.to_string().as_bytes());
    (manifest, layer)
}

fn diff_id(content: &str) -> Digest {
    sha256(format!("{content}diff").as_bytes())
}

fn unpack(store: &Store, key: &str) {
    let made = store.tree("root", key, |root| {
        fs::write(root.join("f"), vec![1; 8192]).unwrap();
        Ok::<_, StoreError>(())
    });
    made.unwrap();
}

fn prune(store: &Store, keep: u64) -> Pruned {
    let options = PruneOptions {
        keep,
        wait: Duration::ZERO,
        ..PruneOptions::default()
    };
    store.prune(&options).unwrap()
}

#[test]
fn what_a_name_needs_stays_and_the_rest_goes() {
    let (_dir, store) = store();
    let (opal, opal_layer) = image(&store, "opal");
    let (beryl, beryl_layer) = image(&store, "beryl");
    store.put_blob(b"base").unwrap(); // named by an annotation only
    store.put_blob(b"stray").unwrap();
    for content in ["opal", "beryl"] {
        unpack(&store, diff_id(content).digest());
    }
    store.tag("opal", &opal).unwrap();
    store.tag("opal:again", &opal).unwrap();
    store.tag("beryl", &beryl).unwrap();
    store.untag("beryl").unwrap();
    store.untag("opal").unwrap();
    let dry = PruneOptions {
        dry_run: true,
        ..PruneOptions::default()
    };
    let would = store.prune(&dry).unwrap();
    let pruned = prune(&store, 0);
    assert_eq!((would.blobs, would.bytes()), (pruned.blobs, pruned.bytes()));
    assert_eq!((pruned.blobs, pruned.unpacked), (5, 1));
    assert!(pruned.left.is_empty());
    store.verify_blob(&opal_layer).unwrap();
    assert!(store.image("opal:again").unwrap().is_some());
    assert!(!store.has_blob(beryl_layer.digest()));
    assert!(
        store
            .find_unpacked("root", diff_id("opal").digest())
            .is_some()
    );
    assert!(
        store
            .find_unpacked("root", diff_id("beryl").digest())
            .is_none()
    );
    assert_eq!(prune(&store, 0).bytes(), 0);
}

#[test]
fn the_most_recently_used_cache_stays_within_keep() {
    let (_dir, store) = store();
    let day = |days: u64| SystemTime::now() - Duration::from_secs(days * 24 * 3600);
    let mut layers = Vec::new();
    for (age, content) in [(1, "aa"), (2, "bb"), (3, "cc"), (100, "")] {
        let (digest, size) = store.put_blob(content.repeat(5000).as_bytes()).unwrap();
        let layer = descriptor(MediaType::ImageLayer, digest, size);
        let blobs = if content.is_empty() {
            vec![]
        } else {
            vec![layer.clone()]
        };
        store.remember(content, &Layers(blobs)).unwrap();
        layers.push(layer);
        let newest = fs::read_dir(store.root().join("cache/dependencies")).unwrap();
        let path = newest
            .map(|entry| entry.unwrap().path())
            .max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap())
            .unwrap();
        File::open(path).unwrap().set_modified(day(age)).unwrap();
    }
    let blobs = vec![layers[2].clone()];
    store.remember("r", &Resolution { blobs }).unwrap();
    let old = store.root().join("cache/resolution/old.json");
    fs::write(&old, r#"{"blobs": []}"#).unwrap();
    let pruned = prune(&store, 25_000);
    // 10,000 bytes each: two fit. The record without blobs that was not used for long is removed, and
    // so is a file without an envelope.
    assert_eq!(pruned.records, 3);
    assert!(!old.exists());
    let kept: Vec<_> = layers.iter().map(|l| store.has_blob(l.digest())).collect();
    assert_eq!(kept, [true, true, false, false]);
    assert!(store.cached::<Resolution>("r").unwrap().is_some());
    prune(&store, 0);
    assert!(store.cached::<Layers>("aa").unwrap().is_none());
    assert!(store.cached::<Resolution>("r").unwrap().is_some());
}

#[test]
fn a_record_of_a_named_image_costs_nothing() {
    let (_dir, store) = store();
    let (opal, _) = image(&store, "opal");
    store.tag("opal", &opal).unwrap();
    store.remember("k", &Layers(vec![opal.clone()])).unwrap();
    prune(&store, 0);
    assert!(store.cached::<Layers>("k").unwrap().is_some());
    store.untag("opal").unwrap();
    prune(&store, 0);
    assert!(store.cached::<Layers>("k").unwrap().is_none());
    assert!(!store.has_blob(opal.digest()));
}

#[test]
fn a_container_keeps_its_image_and_its_trees() {
    let (_dir, store) = store();
    let (opal, layer) = image(&store, "opal");
    unpack(&store, diff_id("opal").digest());
    unpack(&store, "builder-layer-1");
    let lower = store.root().join("unpacked/root/builder-layer-1");
    let record = json!({"image": opal.digest(), "lowers": [lower]});
    fs::create_dir(store.containers_dir().join("c1")).unwrap();
    let path = store.containers_dir().join("c1/container.json");
    fs::write(&path, record.to_string()).unwrap();
    assert_eq!(prune(&store, 0).bytes(), 0);
    assert!(store.has_blob(layer.digest()));
    fs::remove_file(path).unwrap();
    let pruned = prune(&store, 0);
    assert_eq!((pruned.blobs, pruned.unpacked), (3, 2));
    assert!(
        fs::read_dir(store.root().join("unpacked/root"))
            .unwrap()
            .next()
            .is_none()
    );
}

#[test]
fn a_build_at_work_is_not_pruned_under() {
    let (_dir, store) = store();
    let _building = store.lock_shared().unwrap();
    let options = PruneOptions {
        wait: Duration::ZERO,
        ..PruneOptions::default()
    };
    assert!(matches!(
        store.prune(&options),
        Err(StoreError::Locked { .. })
    ));
}

#[test]
fn a_directory_that_is_no_list_of_records_goes_as_a_whole() {
    let (_dir, store) = store();
    let tools = store.root().join("cache/tools-uv-1");
    fs::create_dir_all(tools.join("bin")).unwrap();
    fs::write(tools.join("bin/uv"), vec![0; 20_000]).unwrap();
    prune(&store, 100_000);
    assert!(tools.join("bin/uv").exists());
    prune(&store, 0);
    assert!(!tools.exists());
}

#[test]
fn damaged_blobs_go() {
    let (_dir, store) = store();
    let (digest, _) = store.put_blob(b"hello").unwrap();
    fs::write(store.blob_path(&digest), b"jello").unwrap();
    assert!(store.read_blob(&digest, 5).is_err());
    assert_eq!(prune(&store, 0).blobs, 1);
}
