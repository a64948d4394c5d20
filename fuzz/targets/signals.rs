//! See `fuzz/checks/signals.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|tape: &[u8]| eddies::fuzzing::signals(tape));
