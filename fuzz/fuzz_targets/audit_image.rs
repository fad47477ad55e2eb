//! Audits an image whose two layers are any bytes: an error or a report, which can be written in all
//! its forms; never a panic, and no finding of a rule that is not in the catalogue.
//!
//! Checksums of what looks like a header are put right first: the fuzzer would never find them.

#![no_main]

use std::io::Read;
use std::str::FromStr as _;

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use warpdrive::audit::{AuditError, Date, Image, Layers, Policy, audit, by_id, to_sarif};
use warpdrive::oci::{ImageConfig, sha256};

#[path = "../checksums.rs"]
mod checksums;

struct Memory(Vec<Vec<u8>>);

impl Layers for Memory {
    fn open(&self, index: usize) -> Result<Box<dyn Read + Send + '_>, AuditError> {
        Ok(Box::new(&self.0[index][..]))
    }
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&user, bytes)) = bytes.split_first() else {
        return;
    };
    let bytes = checksums::put_right(bytes);
    let middle = bytes.len() / 1024 * 512;
    let layers = vec![bytes[..middle].to_vec(), bytes[middle..].to_vec()];
    let digests: Vec<_> = layers.iter().map(|layer| sha256(layer)).collect();
    let user = ["1001", "app", "0", "", "1001:app"][usize::from(user) % 5];
    let config = json!({
        "os": "linux", "architecture": "amd64",
        "config": {"User": user, "Env": ["PATH=/usr/bin:/opt/bin:odd"]},
        "rootfs": {"type": "layers", "diff_ids": digests.iter().map(ToString::to_string).collect::<Vec<_>>()},
        "history": [],
    });
    let config = ImageConfig::from_bytes(&serde_json::to_vec(&config).expect("JSON"), "it")
        .expect("a configuration");
    let image = Image::new("fuzz", None, config, &digests, Box::new(Memory(layers)))
        .expect("as many layers as digests");
    let today = Date::from_str("2026-06-01").expect("a date");
    if let Ok(report) = audit(&image, &Policy::default(), today) {
        for finding in &report.findings {
            assert!(by_id(finding.rule).is_some(), "{}", finding.rule);
        }
        let _ = report.to_json();
        let _ = to_sarif(&report);
    }
});
