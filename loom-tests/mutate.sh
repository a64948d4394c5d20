#!/usr/bin/env bash
# Breaks the sources on purpose, one place at a time, and shows that a model notices, or for what is no matter of orderings a test.
#
# loom-tests/mutations.txt lists the places; its head explains the format. Each mutation is applied to a copy of the working tree below
# target/, never to the tree itself; the models named with it run on the copy; and it counts as killed when one of them fails, deadlocks or
# does not come to an end. A mutation that survives either shows a gap in the models or says in the list why it may.
#
#   loom-tests/mutate.sh [part-of-a-name ...]     all mutations, or those whose name contains one of the parts
#
# The table goes to stdout (loom-tests/MUTATIONS.md is one such table), progress to stderr. The exit status is 0 when all went as the list says.

set -euo pipefail
shopt -u patsub_replacement 2>/dev/null || true

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
list=$root/loom-tests/mutations.txt
copy=$root/target/mutate/tree
log=$root/target/mutate/log
limit=${EDDIES_MUTATE_SECONDS:-240}
export CARGO_TARGET_DIR=${EDDIES_MUTATE_TARGET:-$root/target/mutate/build}
export RUST_BACKTRACE=0
unset EDDIES_LOOM_PREEMPTIONS

# A compilation that was interrupted leaves an incremental cache that does not link.
rm -rf "$copy" "$CARGO_TARGET_DIR/debug/incremental"
mkdir -p "$copy"
(cd "$root" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy")

# Runs the models $1 (names separated by blanks) on the copy, unoptimised but for loom: compiling takes longer than exploring. Or, where it begins with
# `eddies `, the tests of that package that the rest of it tells cargo to run. The exit status is cargo's, 124 when the time ran out.
run_models() {
    local package=eddies-loom-tests
    local -a what=(--lib) names command
    if [[ $1 == 'eddies '* ]]; then
        package=eddies
        read -ra what <<<"${1#eddies }"
        names=(--test-threads=1)
    else
        read -ra names <<<"--test-threads=1 --nocapture $1"
    fi
    command=(cargo test --package "$package" "${what[@]}"
        --config "profile.dev.package.$package.debug=0" --config "profile.dev.package.$package.opt-level=0")
    # The time to compile does not count: it says nothing of the mutation.
    (cd "$copy" && "${command[@]}" --no-run && timeout "$limit" "${command[@]}" -- "${names[@]}") >"$log" 2>&1
}

# The models, or tests, that failed in the last run, a line each.
failed() {
    {
        sed -n 's/.*model \([a-z0-9_:]*\): [0-9]* executions.* FAILED$/\1/p' "$log"
        sed -n 's/^test \([a-z0-9_:]*\) \.\.\. FAILED$/\1/p' "$log" | grep -v '::models::' | sed 's/.*:://' || true
    } | sort -u
}

# Who failed in the last run that does not fail on the unchanged sources ($1; some models are about a failure), and the test that was on when
# the process was aborted (a deadlock, mostly).
killers() {
    local models last
    models=$(comm -23 <(failed) <(echo "$1") | paste -sd ' ')
    if ! grep -q '^test result: ' "$log"; then
        last=$(grep -o '^test [a-z0-9_:]* \.\.\.' "$log" | tail -1 | sed 's/.*::\(.*\) \.\.\./\1/')
        models="${models:+$models }(aborted in $last)"
    fi
    echo "${models:-a test without a name}"
}

bad=0
count=0
# What failed on the unchanged sources, by the models that ran.
declare -A clean

# Tries the mutation in $name, $file, $models, $about, $survives, $old, $new.
try() {
    [[ -n $name ]] || return 0
    local wanted=${parts[*]:+no} part
    for part in "${parts[@]}"; do [[ $name == *"$part"* ]] && wanted=yes; done
    [[ $wanted != no ]] || return 0
    count=$((count + 1))

    local source result by status=0
    source=$(cat "$copy/$file"; echo x)
    source=${source%x}
    local rest=${source#*"$old"}
    if [[ $rest == "$source" || $rest == *"$old"* ]]; then
        echo "$name: the text is not in $file exactly once" >&2
        bad=1
        return 0
    fi
    if [[ ! -v clean[$models] ]]; then
        echo "unchanged: $models" >&2
        if ! run_models "$models"; then
            echo "$models fail on the unchanged sources; see $log" >&2
            exit 1
        fi
        clean[$models]=$(failed)
    fi
    printf '%s' "${source%%"$old"*}$new$rest" >"$copy/$file"
    run_models "$models" || status=$?
    printf '%s' "$source" >"$copy/$file"

    by=
    if ((status == 124)); then
        result=killed by='does not end'
    elif grep -q 'could not compile' "$log"; then
        result='does not compile' bad=1
    elif ((status != 0)); then
        result=killed by=$(killers "${clean[$models]}")
    else
        result=survives by=$survives
        [[ -n $survives ]] || bad=1
    fi
    if [[ $result == killed && -n $survives ]]; then
        bad=1
    fi
    echo "$name: $result $by" >&2
    echo "| $name | \`$file\` | $about | $result | $by |"
}

parts=("$@")
name='' section=''
echo '| mutation | file | what is broken | result | by model, or why it may |'
echo '|---|---|---|---|---|'
while IFS= read -r line || [[ -n $line ]]; do
    case $line in
        '#'*) [[ -z $section ]] && continue ;;&
        'name: '*)
            try
            name=${line#name: } file='' models='' about='' survives='' old='' new='' section=head ;;
        'file: '*) file=${line#file: } ;;
        'models: '*) models=${line#models: } ;;
        'tests: '*) models="eddies ${line#tests: }" ;;
        'about: '*) about=${line#about: } ;;
        'survives: '*) survives=${line#survives: } ;;
        '<<<<') section=old ;;
        '====') section=new ;;
        '>>>>') section=head old=${old%$'\n'} new=${new%$'\n'} ;;
        *)
            case $section in
                old) old+=$line$'\n' ;;
                new) new+=$line$'\n' ;;
            esac ;;
    esac
done <"$list"
try
echo "$count mutations" >&2
exit "$bad"
