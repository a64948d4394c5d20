//! See `fuzz/checks/addresses.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|tape: &[u8]| eddies::fuzzing::addresses(tape));
