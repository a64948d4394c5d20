#!/usr/bin/env bash
# The hand-over between loops, a million times, under ThreadSanitizer; or as many times as the first argument says.
#
# Needs the nightly toolchain with rust-src: rustup toolchain install nightly --component rust-src
#
# The run queues are our own Chase-Lev deque, whose slots are atomics: crossbeam's are not, by design, and would be reported. The standard library
# is compiled with the sanitizer too, or its locks and channels would be invisible. ThreadSanitizer does not understand fences
# (`fence(SeqCst)`): what they order is the models' to check (loom-tests/), and here nothing but hints hangs on them.
set -euo pipefail
cd "$(dirname "$0")/.."

target="$(rustc +nightly -vV | sed -n 's/^host: //p')"
export EDDIES_HAND_OVERS="${1:-1000000}"
export RUSTFLAGS="-Zsanitizer=thread"
export TSAN_OPTIONS="${TSAN_OPTIONS:-halt_on_error=1 second_deadlock_stack=1}"
exec cargo +nightly test -Zbuild-std --target "$target" --target-dir target/tsan --release \
    -p eddies --no-default-features --features chase-lev --test hand_over -- --nocapture
