//! Reads any text as an image's name and as a place (`oci:DIR:TAG`): no panic; what is accepted shows
//! as it was given, is no option, and its full form is a name again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use warpdrive::oci::{Reference, parse_digest};
use warpdrive::transport::Location;

fuzz_target!(|text: &str| {
    if let Ok(reference) = text.parse::<Reference>() {
        assert_eq!(reference.to_string(), text);
        assert!(!text.starts_with('-') && !text.contains(char::is_control));
        let full: Reference = reference.canonical().parse().expect("its own full form");
        assert_eq!(full.canonical(), reference.canonical());
        assert_eq!(full.registry(), reference.registry());
        assert_eq!(full.repository(), reference.repository());
        assert!(!reference.repository().split('/').any(|part| part == ".." || part.is_empty()));
        if let Some(digest) = reference.digest() {
            parse_digest(digest.as_ref()).expect("a digest");
        }
    }
    if let Ok(place) = Location::parse(text) {
        let again = Location::parse(&place.to_string()).expect("its own text");
        assert_eq!(again, place);
    }
});
