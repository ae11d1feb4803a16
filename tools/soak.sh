#!/usr/bin/env bash
# Runs the simulator with one seed after the other for MINUTES (60), from FIRST_SEED (drawn from the time): `make soak`.
# Stops at the first seed that fails: that seed alone is needed to see it again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly MINUTES=${MINUTES:-60}
seed=${FIRST_SEED:-$(($(date +%s) * 1000))}

./tools/setup.sh demo
cargo build --release --locked -p evenkeel-sim
sim=${CARGO_TARGET_DIR:-target}/release/evenkeel-sim
end=$((SECONDS + MINUTES * 60))
runs=0
while [ "$SECONDS" -lt "$end" ]; do
    if ! "$sim" --seed "$seed"; then
        echo "soak: seed $seed fails after $runs that passed: cargo run --release -p evenkeel-sim -- --seed $seed" >&2
        exit 3
    fi
    runs=$((runs + 1))
    seed=$((seed + 1))
done
echo "soak: $runs seeds passed in $MINUTES minutes"
