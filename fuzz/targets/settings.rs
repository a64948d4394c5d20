//! See `fuzz/checks/settings.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|tape: &[u8]| eddies::fuzzing::settings(tape));
