#!/usr/bin/env bash
# Runs the checks of `fuzz/checks/` under libFuzzer, with AddressSanitizer: scripts/fuzz.sh [target|all] [seconds for each target, or 60].
#
# Takes a nightly toolchain and a C++ compiler, for libFuzzer is C++ (the crate libfuzzer-sys brings it). The flags are those of cargo-fuzz, which does
# no more than to set them, so that this needs nothing installed. Where the code branches is in the corpus, fuzz/corpus/TARGET/, from which the next
# run goes on and `cargo test -p eddies --lib fuzz::` begins; what fails is kept in fuzz/artifacts/TARGET/. To see a failure again:
# scripts/fuzz.sh TARGET fuzz/artifacts/TARGET/crash-...
#
# The table goes to stdout, what libFuzzer says to target/fuzz/TARGET.log. The exit status is 1 when something failed.
set -euo pipefail
cd "$(dirname "$0")/.."

wanted="${1:-all}"
seconds="${2:-60}"
toolchain="${EDDIES_NIGHTLY:-nightly}"
host="$(rustc "+$toolchain" -vV | sed -n 's/^host: //p')"
mapfile -t targets < <(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | grep -v '^eddies-fuzz$')
if [ "$wanted" != all ]; then
    if [[ " ${targets[*]} " != *" $wanted "* ]]; then
        echo "there is no target $wanted: all ${targets[*]}" >&2
        exit 2
    fi
    targets=("$wanted")
fi

# With --target the flags are for the programs alone, and not for build scripts.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
coverage+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
export CARGO_TARGET_DIR="$PWD/target/fuzz"
RUSTFLAGS="$coverage --cfg fuzzing -Zsanitizer=address -Ccodegen-units=1 -Cdebug-assertions" \
    cargo "+$toolchain" build --release --manifest-path fuzz/Cargo.toml --target "$host" "${targets[@]/#/--bin=}"

export ASAN_OPTIONS="detect_odr_violation=0 ${ASAN_OPTIONS:-}"
if [ -f "$seconds" ]; then
    exec "$CARGO_TARGET_DIR/$host/release/$wanted" "$seconds"
fi

failures=0
echo '| target | executions | seconds | counters reached | of | inputs in the corpus | failed |'
echo '|---|---:|---:|---:|---:|---:|---|'
for target in "${targets[@]}"; do
    log="$CARGO_TARGET_DIR/$target.log"
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    failed=nothing
    # What takes five seconds is a failure too: no check needs a millisecond.
    "$CARGO_TARGET_DIR/$host/release/$target" "fuzz/corpus/$target" "-artifact_prefix=fuzz/artifacts/$target/" \
        "-max_total_time=$seconds" -timeout=5 -print_final_stats=1 >"$log" 2>&1 || failed="see $log"
    [ "$failed" = nothing ] || failures=1
    awk -v target="$target" -v failed="$failed" '
        /Loaded .* PC tables/ { counters = $0; sub(/.*PC tables [(]/, "", counters); sub(/ PCs.*/, "", counters) }
        / cov: / { for (at = 1; at < NF; at++) { if ($at == "cov:") reached = $(at + 1); if ($at == "corp:") corpus = $(at + 1) } }
        /^Done / { took = $5 }
        /^stat::number_of_executed_units/ { executions = $2 }
        END { sub("/.*", "", corpus); printf "| `%s` | %d | %d | %d | %d | %d | %s |\n", target, executions, took, reached, counters, corpus, failed }' "$log"
done
exit "$failures"
