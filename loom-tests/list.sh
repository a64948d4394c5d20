#!/usr/bin/env bash
# Runs all models and prints the table of what each explored, for docs/CORRECTNESS.md.
# A word as argument limits it to the models with that in their path; EDDIES_LOOM_PREEMPTIONS goes deeper (CONTRIBUTING.md).
set -euo pipefail
cd "$(dirname "$0")/.."

log="$(mktemp)"
trap 'rm -f "$log"' EXIT
if ! RUST_BACKTRACE=0 cargo test -p eddies-loom-tests --lib "$@" -- --nocapture --test-threads=1 >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi

# The harness's own models are left out: they are about the harness. A planted bug is a model that has to fail, under `should_panic`.
sed -nE 's/.*model ([a-z0-9_:]+): ([0-9]+) executions, (.*), ([0-9.]+) s(, the last one FAILED)?$/\1|\2|\3|\4|\5/p' "$log" |
    grep -v '^harness_' |
    sort |
    awk -F'|' '
        BEGIN { print "| model | executions | explored | seconds |"; print "|---|---:|---|---:|" }
        { printf "| `%s` | %d | %s | %s |\n", $1, $2, $5 == "" ? $3 : "finds the planted bug", $4 }
        { models++; executions += $2; seconds += $4 }
        END { printf "\n%d models, %d executions, %.0f s.\n", models, executions, seconds }'
