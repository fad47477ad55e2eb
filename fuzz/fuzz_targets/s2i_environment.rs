//! Reads any bytes as `.s2i/environment`: no panic, and no variable that could break a configuration.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpdrive::s2i::environment;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(variables) = environment::parse("fuzz", bytes) {
        let settled = environment::settled(variables.clone());
        assert!(settled.len() <= variables.len());
        for (name, value) in variables {
            assert!(!name.is_empty() && !name.contains(['=', ' ', '\n', '\0']));
            assert!(!value.chars().any(|c| c.is_control() && c != '\t'));
        }
    }
});
