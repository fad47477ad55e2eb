//! Plans the build of a source tree of any few files, its settings, requirements and Python modules
//! among them: a plan or an error, no panic. The bytes are cut at lines `=== NAME`.

#![no_main]

#[path = "../memory.rs"]
mod memory;

use libfuzzer_sys::fuzz_target;
use warpdrive::app::{Options, detect, environment, metadata, requirement};

fuzz_target!(|text: &str| {
    let files = memory::tree(text);
    let requirements = requirement::read(&files, "requirements.txt");
    assert!(requirements.lines.iter().all(|line| line.number >= 1));
    let _ = requirements.names();
    let _ = environment::plain(&files, environment::FILE);
    let _ = metadata::read(&files);
    if let Ok(detected) = detect(&files, &Options::default()) {
        let _ = serde_json::to_string(&detected.plan).expect("a plan can be written");
    }
});
