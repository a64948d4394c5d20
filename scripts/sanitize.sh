#!/usr/bin/env bash
# Runs tests under a sanitizer: scripts/sanitize.sh thread|address|miri [arguments of `cargo test`, in place of the selection below].
#
# All three take a nightly toolchain: rustup toolchain install nightly --component rust-src,miri
# Run queues on crossbeam's deque are left out: it reads slots that are being written, on purpose, which a sanitizer has to report.
# docs/CORRECTNESS.md says what each of them sees and what it found.
set -euo pipefail
cd "$(dirname "$0")/.."

mode="${1:-}"
[ $# -gt 0 ] && shift
toolchain="${EDDIES_NIGHTLY:-nightly}"
target="$(rustc "+$toolchain" -vV | sed -n 's/^host: //p')"
export RUST_BACKTRACE=0

# Threads, locks, sockets, timers, processes' ends: everything but load tests, and what measures time that a sanitizer stretches.
selection=(--lib --test runtime --test regressions --test panics --test cancel --test context --test gather --test wait --test futures
    --test event_loop --test sync_locks --test sync_queues --test net_tcp --test net_udp --test net_unix --test time
    --test shutdown_stress --test lessons)

case "$mode" in
thread | address)
    [ $# -gt 0 ] && selection=("$@")
    # The standard library is built with the sanitizer too: its locks and channels are what the threads meet at.
    export RUSTFLAGS="-Zsanitizer=$mode" CARGO_TARGET_DIR="target/sanitize-$mode"
    export TSAN_OPTIONS="halt_on_error=0 die_after_fork=0 report_thread_leaks=0 suppressions=$PWD/scripts/tsan.supp ${TSAN_OPTIONS:-}"
    export ASAN_OPTIONS="detect_leaks=1 detect_stack_use_after_return=1 ${ASAN_OPTIONS:-}"
    export LSAN_OPTIONS="suppressions=$PWD/scripts/lsan.supp ${LSAN_OPTIONS:-}"
    cargo "+$toolchain" test -Zbuild-std --target "$target" -p eddies --no-fail-fast "${selection[@]}"
    ;;
miri)
    # The unit tests of the unsafe islands with several schedules each (without crossbeam's deque, whose pointers are numbers at times), and a runtime with threads, timers and channels.
    # Sockets are the machine's, and so the clock beside them is. Whatever does without them runs in isolation, on a clock that counts steps: on the
    # machine's clock a limit of some seconds says how busy the machine is, for Miri runs programs a thousand times slower.
    strict="-Zmiri-strict-provenance ${MIRIFLAGS:-}"
    export CARGO_TARGET_DIR="target/sanitize-miri"
    if [ $# -gt 0 ]; then
        MIRIFLAGS="-Zmiri-disable-isolation $strict" cargo "+$toolchain" miri test -p eddies "$@"
    else
        MIRIFLAGS="-Zmiri-disable-isolation $strict -Zmiri-many-seeds=0..4" \
            cargo "+$toolchain" miri test -p eddies --lib -- task:: queue:: --skip crossbeam
        MIRIFLAGS="$strict -Zmiri-many-seeds=0..4" \
            cargo "+$toolchain" miri test -p eddies --test one_of_each -- --skip socket
        MIRIFLAGS="-Zmiri-disable-isolation $strict" \
            cargo "+$toolchain" miri test -p eddies --test one_of_each -- socket
    fi
    ;;
*)
    echo "usage: $0 thread|address|miri [arguments of cargo test]" >&2
    exit 2
    ;;
esac
