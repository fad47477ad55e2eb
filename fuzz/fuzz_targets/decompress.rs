//! Takes the compression off any bytes, and lists what is inside as if it were an archive.

#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use warpdrive::layer::{Limits, TarReader, decompressor};

const MOST: u64 = 32 << 20;

fuzz_target!(|bytes: &[u8]| {
    let _ = std::io::copy(&mut decompressor(bytes).take(MOST), &mut std::io::sink());
    let limits = Limits {
        max_bytes: MOST,
        max_entries: 10_000,
    };
    let mut reader = TarReader::new(decompressor(bytes), limits);
    while let Ok(Some(_)) = reader.next_member() {}
});
