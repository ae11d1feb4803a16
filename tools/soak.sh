#!/usr/bin/env bash
# Runs the simulator with one seed after the other for MINUTES (60), from FIRST_SEED (drawn from the time), and beside it
# the deep searches and random walks of the model: `make soak`. Stops at the first seed that fails: that seed alone is
# needed to see it again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly MINUTES=${MINUTES:-60}
# What the states of one search of the model may take, in MiB.
readonly MODEL_MEMORY=${MODEL_MEMORY:-4096}
seed=${FIRST_SEED:-$(($(date +%s) * 1000))}

./tools/setup.sh demo
cargo build --release --locked -p evenkeel-sim -p evenkeel-model
built=${CARGO_TARGET_DIR:-target}/release
sim=$built/evenkeel-sim

log=$(mktemp)
"$built/evenkeel-model" --soak $((MINUTES * 60)) --seed "$seed" --memory "$MODEL_MEMORY" >"$log" &
model=$!
trap 'kill "$model" 2>/dev/null || true; rm -f "$log"' EXIT

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
if ! wait "$model"; then
    cat "$log"
    echo "soak: the model fails: see above" >&2
    exit 3
fi
cat "$log"
echo "soak: $runs seeds passed in $MINUTES minutes, and the model holds"
