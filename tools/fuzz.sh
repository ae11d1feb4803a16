#!/usr/bin/env bash
# Fuzzes everything that parses bytes, each target for SECONDS_EACH (30): `make fuzz`. Prints what each one did, and ends
# with 3 when something was found; the input is then in fuzz/artifacts, with the line that runs it again.
#
#   tools/fuzz.sh [TARGET ...]             these targets; all of them if none is named
#   tools/fuzz.sh --minimise [TARGET ...]  afterwards adds to fuzz/corpus what reaches code that the corpus does not
#
# New inputs stay in fuzz/target and serve the next run. The corpus is committed, and small: the tests of the workspace
# run all of it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly SECONDS_EACH=${SECONDS_EACH:-30}
# A few kilobytes reach all that longer inputs do.
readonly INPUT_BYTES_MAX=4096
# An input may take this many seconds, one allocation and all of them together this many MiB.
readonly INPUT_SECONDS_MAX=10 ALLOCATION_MIB_MAX=256 MEMORY_MIB_MAX=1024

minimise=no
if [ "${1:-}" = --minimise ]; then
    minimise=yes
    shift
fi

[ -f fuzz/Cargo.toml ] || {
    echo "fuzz: fuzz/Cargo.toml is missing from this checkout: there is nothing to fuzz" >&2
    exit 1
}
./tools/setup.sh fuzz

readarray -t all < <(sed -n 's/^name = "\(.*\)"$/\1/p' fuzz/Cargo.toml | grep -v '^evenkeel-fuzz$')
targets=("${@:-${all[@]}}")
for target in "${targets[@]}"; do
    [[ " ${all[*]} " == *" $target "* ]] || {
        echo "fuzz: there is no target $target; there are: ${all[*]}" >&2
        exit 2
    }
done

# What `cargo fuzz build --sanitizer none` passes, so that a stable compiler is all that is needed: without a sanitizer
# it is the code under test that notices, with its assertions and overflow checks on, and it has no unsafe code of ours.
flags=(
    --cfg fuzzing
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
)
host=$(rustc -vV | sed -n 's/^host: //p')
# With --target, the flags are not for build scripts. Not --locked: the crates under test bring their dependencies along.
RUSTFLAGS="${flags[*]}" cargo build --manifest-path fuzz/Cargo.toml --release --target "$host" --bins
readonly binaries=fuzz/target/$host/release

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# The last number behind a word in the log.
last() {
    grep -oE "$1 *[0-9]+" "$log" | tail -n 1 | grep -oE '[0-9]+$' || echo 0
}

run() {
    local target=$1 work=fuzz/target/corpus/$1 artifacts=fuzz/artifacts/$1/ status=0
    mkdir -p "$work" "$artifacts" "fuzz/corpus/$target"
    "$binaries/$target" -max_total_time="$SECONDS_EACH" -max_len=$INPUT_BYTES_MAX -timeout=$INPUT_SECONDS_MAX \
        -malloc_limit_mb=$ALLOCATION_MIB_MAX -rss_limit_mb=$MEMORY_MIB_MAX -print_final_stats=1 \
        -artifact_prefix="$artifacts" "$work" "fuzz/corpus/$target" >"$log" 2>&1 || status=$?
    printf '%-18s %12s %10s %10s %8s\n' "$target" "$(last stat::number_of_executed_units:)" "$(last cov:)" \
        "$(last ft:)" "$(find "fuzz/corpus/$target" -type f | wc -l)"
    # Fewer than two executions would mean that nothing was fuzzed at all.
    if [ "$status" -eq 0 ] && [ "$(last stat::number_of_executed_units:)" -lt 2 ]; then
        status=1
    fi
    if [ "$status" -ne 0 ]; then
        grep -E 'panicked at|ERROR: libFuzzer|SUMMARY|Test unit written' -A 1 "$log" >&2 || cat "$log" >&2
        echo "fuzz: again: $binaries/$target $artifacts<input>" >&2
        return 1
    fi
    if [ "$minimise" = yes ]; then
        "$binaries/$target" -merge=1 -max_len=$INPUT_BYTES_MAX "fuzz/corpus/$target" "$work" >"$log" 2>&1
    fi
}

printf '%-18s %12s %10s %10s %8s\n' target executions coverage features corpus
found=()
for target in "${targets[@]}"; do
    run "$target" || found+=("$target")
done
if [ ${#found[@]} -gt 0 ]; then
    echo "fuzz: something was found by: ${found[*]}; the inputs are in fuzz/artifacts" >&2
    exit 3
fi
echo "fuzz: nothing found"
