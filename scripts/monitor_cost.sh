#!/usr/bin/env bash
# What the monitor costs those who do not need it: yields and echo on one loop, with the monitor's thread and without.
#
# A runtime of one worker has the monitor only if slow polls are to be reported; a threshold that nothing reaches leaves its ticks alone. Two figures
# that a busy machine does not spoil:
#
# - the instructions that the loop's own thread executes for one yield, or one echo (the difference between a long and a short run, counted by
#   callgrind), with the monitor and without, each the middle of N runs;
# - the share of a CPU that the monitor's thread has while a loop is busy, as the kernel counts it, in the middle of N runs.
#
# With an argument, N (default 3) runs. Needs valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."

runs="${1:-3}"
cargo bench -q -p eddies-benches --bench monitor_cost --no-run
# The newest: each change of a flag or of a dependency leaves another beside it.
# shellcheck disable=SC2012
program="$(ls -t "${CARGO_TARGET_DIR:-target}"/release/deps/monitor_cost-* | grep -v '\.d$' | head -1)"
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

# The instructions of the main thread, which is the worker, in a run of the workload $1 with $2 operations and the threshold $3.
instructions() {
    EDDIES_SLOW_POLL="$3" valgrind --tool=callgrind --separate-threads=yes --callgrind-out-file="$folder/out" \
        "$program" "$1" "$2" >/dev/null 2>"$folder/log"
    awk '/^(totals|summary):/ { print $2; exit }' "$folder/out-01"
    rm -f "$folder"/out*
}

# A few differ: a busy loop looks at the clock, and acts by it. The middle of N differs by half a percent.
for workload in yields:20000:120000 echo:1000:11000; do
    IFS=: read -r name short long <<<"$workload"
    for _ in $(seq "$runs"); do
        for monitor in off 60s; do
            few="$(instructions "$name" "$short" "$monitor")"
            many="$(instructions "$name" "$long" "$monitor")"
            echo "$monitor $few $many"
        done
    done | awk -v n="$((long - short))" '{ print $1, ($3 - $2) / n }' | sort -k1,1 -k2,2n |
        awk -v name="$name" '{ each[$1, ++count[$1]] = $2 }
            END {
                off = each["off", int((count["off"] + 1) / 2)]; on = each["60s", int((count["60s"] + 1) / 2)]
                printf "%-7s %8.1f instructions of the loop for each without the monitor, %8.1f with it: %+.2f %%\n", name, off, on, 100 * (on / off - 1)
            }'
done

for workload in yields:20000000 echo:400000; do
    IFS=: read -r name count <<<"$workload"
    for _ in $(seq "$runs"); do
        EDDIES_SLOW_POLL=60s "$program" "$name" "$count"
    done | awk -v name="$name" '{ print 100 * $5 / $1 }' | sort -n |
        awk -v name="$name" '{ share[NR] = $1 } END { printf "%-7s monitor has %.3f %% of a CPU (%.3f .. %.3f)\n", name, share[int((NR + 1) / 2)], share[1], share[NR] }'
done
