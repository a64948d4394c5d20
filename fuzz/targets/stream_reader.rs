//! See `fuzz/checks/stream_reader.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|tape: &[u8]| eddies::fuzzing::stream_reader(tape));
