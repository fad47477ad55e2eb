//! Reads any bytes as a manifest, an index and a configuration: no panic; digests are of SHA-256 and
//! have the form that keeps file names within a store; a configuration that is edited is one again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpdrive::oci::{
    HistoryEntry, ImageConfig, ImageIndex, ImageManifest, from_json, parse_digest, sha256,
};
use warpdrive::registry::{Document, choose};
use warpdrive::s2i::{labels, metadata, onbuild};

fuzz_target!(|bytes: &[u8]| {
    let _ = from_json::<ImageIndex>(bytes, "it");
    let _ = from_json::<ImageManifest>(bytes, "it");
    let _ = metadata::parse(bytes);
    match Document::parse(bytes, None, "it") {
        Ok((_, Document::Manifest(manifest))) => {
            for blob in manifest.layers().iter().chain([manifest.config()]) {
                parse_digest(blob.digest().as_ref()).expect("a checked digest");
            }
        }
        Ok((_, Document::Index(index))) => {
            let _ = choose(&index, "linux/arm64/v8", "it");
        }
        Err(_) => {}
    }
    if let Ok(mut config) = ImageConfig::from_bytes(bytes, "it") {
        let _ = labels::has_scripts(&config);
        let _ = onbuild::read(&config, "it");
        let before = config.diff_ids().len();
        config.set_env("NAME", "value");
        let history = HistoryEntry {
            created: "1980-01-01T00:00:01Z".into(),
            created_by: "warpdrive: application".into(),
            empty_layer: false,
        };
        config.push_layer(&sha256(b"layer"), &history);
        let again = ImageConfig::from_bytes(&config.to_bytes(), "it").expect("what it wrote");
        assert_eq!(again, config);
        assert_eq!(again.diff_ids().len(), before + 1);
        assert!(again.env().iter().any(|(name, value)| name == "NAME" && value == "value"));
    }
});
