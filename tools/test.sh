#!/usr/bin/env bash
# All tests: `make test`. Prints the minutes of each stage, and ends with one line `N passed, N failed, N skipped` over
# all of them; a stage that is no test (formatting, lints, building) counts as one failure when it fails.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

readonly COUNT_LINE='^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$'

passed=0
failed=0
skipped=0
minutes=()
broken=""
readonly began=$EPOCHREALTIME
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Runs a stage; its output goes to the terminal and to the log that the counts are read from. The counts that a stage
# prints are kept from the terminal: there is one such line, and it is the last.
stage() {
    local name=$1 start=$EPOCHREALTIME status
    shift
    echo "== $name"
    "$@" 2>&1 | tee "$log" | grep --line-buffered -Ev "$COUNT_LINE"
    status=${PIPESTATUS[0]}
    took "$name" "$start"
    echo "== ${minutes[-1]} min"
    return "$status"
}

took() {
    local name=$1 start=$2 tenths
    # Times in microseconds; tenths of a minute, rounded.
    tenths=$(((${EPOCHREALTIME/[.,]/} - ${start/[.,]/} + 3000000) / 6000000))
    minutes+=("$name $((tenths / 10)).$((tenths % 10))")
}

# A stage that counts as a failure, and as nothing when it is well.
check() {
    stage "$@" || failed=$((failed + 1))
}

# A stage without which the others make no sense.
need() {
    stage "$@" || {
        failed=$((failed + 1))
        finish
    }
}

# The sum of the numbers before a word in the log's lines that match a pattern; colours are taken out first.
sum() {
    local lines=$1 word=$2
    sed -E 's/\x1b\[[0-9;]*m//g' "$log" | grep -E "$lines" | grep -oE "[0-9]+ $word" |
        awk '{ total += $1 } END { print total + 0 }'
}

# What failed in the stage just run, and what it said when it gave up: repeated at the end, where it is looked for.
failures_of_stage() {
    sed -E 's/\x1b\[[0-9;]*m//g' "$log" |
        grep -E -A 3 '^ +(FAIL|TIMEOUT|SIG[A-Z]+|ABORT) \[|panicked at |^test .* FAILED$' |
        grep -v '^--$' | awk 'NF && !seen[$0]++' | cut -c 1-300 | head -n 40
}

# Adds the counts of a stage. One that failed without a failed test (it did not compile, a runner was killed) has one.
add() {
    local status=$1 lines=$2 failures=0 word
    shift 2
    passed=$((passed + $(sum "$lines" passed)))
    skipped=$((skipped + $(sum "$lines" '(skipped|ignored)')))
    for word; do
        failures=$((failures + $(sum "$lines" "$word")))
    done
    if [ "$status" -ne 0 ] && [ "$failures" -eq 0 ]; then
        failures=1
    fi
    failed=$((failed + failures))
    if [ "$failures" -ne 0 ]; then
        broken+=$(failures_of_stage)$'\n'
    fi
}

finish() {
    took total "$began"
    if [ -n "$broken" ]; then
        printf '== what failed\n%s' "$broken"
    fi
    printf 'minutes: %s\n' "$(printf '%s, ' "${minutes[@]}" | sed 's/, $//')"
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

need setup ./tools/setup.sh test
check format cargo fmt --all --check
need build cargo build --workspace --all-targets --locked
check lints cargo clippy --workspace --all-targets --locked -- -D warnings

if cargo nextest --version >/dev/null 2>&1; then
    stage tests cargo nextest run --workspace --locked --profile ci
    add $? '^ *Summary \[' failed 'exec failed' 'timed out'
else
    # The same tests; building nextest first would take longer than they do. One at a time: a scenario runs a whole group
    # with its load, and to name packages would compile them again with other features.
    stage tests cargo test --workspace --locked --no-fail-fast --lib --bins --tests -- --test-threads 1
    add $? '^test result:' failed
fi

stage "documented examples" cargo test --workspace --locked --doc
add $? '^test result:' failed

finish
