#!/usr/bin/env bash
# Measures what the tests reach, with cargo-llvm-cov (cargo install cargo-llvm-cov; rustup component add llvm-tools), and prints for
# docs/CORRECTNESS.md: lines of each layer, and every line with `unsafe {` that no test reached. Models are not counted: they are another build.
# Arguments go to `cargo test` in place of all tests. With `report` alone the last measurement is printed again.
set -euo pipefail
cd "$(dirname "$0")/.."

lcov="target/coverage.lcov"
if [ "${1:-}" != report ]; then
    # The examples are programs that tests start.
    [ $# -gt 0 ] || set -- --tests --examples
    cargo llvm-cov --no-report -p eddies --features tls "$@"
    cargo llvm-cov report --lcov --output-path "$lcov"
fi

awk -v root="$PWD/" '
    BEGIN {
        split("loom error rand coop report", names, " "); for (i in names) layer[names[i]] = "0 foundations"
        split("task queue reactor blocking", names, " "); for (i in names) layer[names[i]] = "1 " names[i]
        layer["scheduler"] = "2 scheduler"
        split("runtime spawn event_loop runner policy standing", names, " "); for (i in names) layer[names[i]] = "3 runtime"
    }
    /^SF:/ {
        file = substr($0, 4); sub(root, "", file); module = file; sub("^src/", "", module); sub("[./].*", "", module)
        is_ours = file ~ "^src/" && file !~ "(/tests|/stress|/histories)[.]rs$|[.][.]/"
        at = (module in layer) ? layer[module] : "4 " module
    }
    /^DA:/ && is_ours {
        split(substr($0, 4), of, ","); total[at]++; all++
        if (of[2] > 0) { hit[at]++; reached++ } else { missed[file ":" of[1]] = 1 }
    }
    END {
        print "| part | lines | reached |"; print "|---|---:|---:|"
        for (at in total) printf "| %s | %d | %.1f %% |\n", at, total[at], 100 * hit[at] / total[at] | "sort"
        close("sort")
        printf "| all | %d | %.1f %% |\n\n", all, 100 * reached / all
        while (("grep -rn \"unsafe {\" src --include=*.rs" | getline line) > 0) {
            split(line, of, ":"); text = line; sub("^[^:]*:[^:]*:", "", text)
            # Inside of a multi-line block the first line may carry no code.
            place = of[1] ":" of[2]
            if (text !~ "^ *//" && place in missed) { print "not reached: " place ":" text; bad++ }
        }
        printf "%d lines with unsafe that no test reached\n", bad
    }' "$lcov"
