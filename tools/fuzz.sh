#!/usr/bin/env bash
# Fuzzes every target for SECONDS_EACH (30): `make fuzz`. What it finds stays in fuzz/artifacts; a new input that reaches
# new code stays in the corpus, which the tests run as a regression.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly SECONDS_EACH=${SECONDS_EACH:-30}

[ -f fuzz/Cargo.toml ] || {
    echo "fuzz: fuzz/Cargo.toml is missing from this checkout: there is nothing to fuzz" >&2
    exit 1
}
./tools/setup.sh fuzz

# Without a sanitizer the stable compiler is enough; the code under test has its own checks on in this profile.
build=(--sanitizer none)
found=()
for target in $(cargo fuzz list); do
    echo "== $target"
    cargo fuzz run "${build[@]}" "$target" -- -max_total_time="$SECONDS_EACH" -timeout=10 -rss_limit_mb=2048 ||
        found+=("$target")
done
if [ ${#found[@]} -gt 0 ]; then
    echo "fuzz: something was found by: ${found[*]}; the inputs are in fuzz/artifacts" >&2
    exit 3
fi
echo "fuzz: nothing found"
