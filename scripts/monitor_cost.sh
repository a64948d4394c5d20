#!/usr/bin/env bash
# What the monitor costs those who do not need it: yields and echo on one loop, with the monitor's thread and without, in turns.
#
# A runtime of one worker has the monitor only if slow polls are to be reported; a threshold that nothing reaches leaves its ticks alone. The
# first argument is the number of turns (5).
set -euo pipefail
cd "$(dirname "$0")/.."

turns="${1:-5}"
for turn in $(seq "$turns"); do
    for monitor in on off; do
        if [ "$monitor" = on ]; then threshold=60s; else threshold=off; fi
        file="$(mktemp)"
        EDDIES_SLOW_POLL="$threshold" cargo bench -p eddies-benches --bench peers -- --quick --workers 1 --peers eddies --markdown "$file" yield_1000 yield_alone tcp_echo >/dev/null 2>&1 </dev/null
        grep '| eddies |' "$file" | awk -F'|' -v monitor="$monitor" -v turn="$turn" \
            '{ if ($2 !~ /^ *$/) name = $2; printf "turn %s, monitor %-3s %-40s %s\n", turn, monitor, name, $4 }'
        rm -f "$file"
    done
done
